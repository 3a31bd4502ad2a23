//! Runs workloads and checks: what they say about one run, one disk, one crash by its name.

use super::{
    Explorer,
    acks::{Acks, Given, Noted, until},
    id::{CrashId, Step, mix},
    report::{CrashFailure, Explored},
};
use crate::{
    crash::CrashPoint,
    disk::SimDisk,
    options::SimOptions,
    trace::{TraceEvent, TraceWhat},
};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The most points of a check that are looked at: one that loops for ever is the store's fault, but not our memory's.
const RECOVERY_POINTS_MAX: usize = 1 << 16;

/// Lines of a story about what happened, and about what is left.
const STORY_MAX: usize = 12;

type Closure<'a, A> = &'a (dyn Fn(&SimDisk, &Acks<A>) -> Result<(), String> + Sync);

/// The explorer with the two closures, and what they have cost.
pub(super) struct Judge<'a, A> {
    pub(super) explorer: &'a Explorer,
    workload: Closure<'a, A>,
    check: Closure<'a, A>,
    states: AtomicU64,
    recoveries_cut: AtomicU64,
}

/// A run of the workload, ready to be cut.
pub(super) struct Run<A> {
    pub(super) seed: u64,
    pub(super) points: Vec<CrashPoint>,
    /// When each of the values was noted.
    moments: Vec<u64>,
    values: Arc<Vec<A>>,
    trace: Vec<TraceEvent>,
}

/// What was wrong, after which cuts.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) steps: Vec<Step>,
    pub(super) what: String,
}

impl<'a, A: Clone + Send + Sync> Judge<'a, A> {
    pub(super) fn new(explorer: &'a Explorer, workload: Closure<'a, A>, check: Closure<'a, A>) -> Judge<'a, A> {
        Judge { explorer, workload, check, states: AtomicU64::new(0), recoveries_cut: AtomicU64::new(0) }
    }

    /// The states so far, and those after a cut during recovery.
    pub(super) fn states(&self) -> (u64, u64) {
        (self.states.load(Ordering::Relaxed), self.recoveries_cut.load(Ordering::Relaxed))
    }

    /// Runs the workload.
    pub(super) fn run(&self, seed: u64) -> Result<Run<A>, Wrong> {
        let wrong = |what| Wrong { steps: Vec::new(), what };
        let sector = *self.explorer.sectors.iter().min().expect("there is a sector");
        let disk = SimDisk::new(SimOptions { seed, sector, ..self.explorer.disk.clone() });
        let max = self.explorer.points_max;
        disk.record_crash_points(max.saturating_add(1));
        let acks = Acks::new(seed, &disk, Given::none());
        call(self.workload, &disk, &acks).map_err(|what| wrong(format!("the workload failed: {what}")))?;
        let points = disk.take_crash_points();
        if points.is_empty() {
            return Err(wrong("the workload has no crash points: nothing was explored".to_owned()));
        }
        if points.len() > max.min(u32::MAX as usize) {
            return Err(wrong(format!("the workload has more than {max} crash points")));
        }
        let Noted { moments, values } = acks.take();
        Ok(Run { seed, points, moments, values: Arc::new(values), trace: disk.trace() })
    }

    /// Checks all disks of one point.
    pub(super) fn point(&self, run: &Run<A>, point: u32) -> Result<(), Wrong> {
        let settled = run.points[point as usize].is_settled();
        let (first, cuts) = match self.explorer.cuts {
            _ if settled => (0, 1),
            // Too few for the extremes at each point: now one, now the other, mostly a mixture.
            cuts @ 1..=2 => ((mix(&[run.seed, point.into()]) % 6) as u32, cuts),
            cuts => (0, cuts),
        };
        (first..first + cuts).try_for_each(|cut| self.state(run, Step { point, cut }, self.explorer.recovery_depth))
    }

    /// Checks one disk, and what cuts during the check leave.
    pub(super) fn state(&self, run: &Run<A>, step: Step, depth: u32) -> Result<(), Wrong> {
        let at = &run.points[step.point as usize];
        let given = Given { all: run.values.clone(), len: until(&run.moments, at.moment()) };
        self.descend(run.seed, at, step, run.seed, &given, depth)
    }

    fn descend(
        &self,
        run: u64,
        at: &CrashPoint,
        step: Step,
        above: u64,
        given: &Given<A>,
        depth: u32,
    ) -> Result<(), Wrong> {
        let seed = mix(&[above, step.point.into(), step.cut.into()]);
        let wrong = |what| Wrong { steps: vec![step], what };
        let cuts = if depth > 0 { self.explorer.recovery_cuts } else { 0 };
        let points_max = if cuts > 0 { RECOVERY_POINTS_MAX } else { 0 };
        let (noted, points) = self.ask(run, self.cut(at, step.cut, seed), given, points_max).map_err(wrong)?;
        for n in 0..if points.is_empty() { 0 } else { u64::from(cuts) } {
            let drawn = mix(&[seed, n]);
            let point = (drawn % points.len() as u64) as u32;
            let cut = ((drawn >> 32) % u64::from(self.explorer.cuts.max(3))) as u32;
            self.recoveries_cut.fetch_add(1, Ordering::Relaxed);
            let at = &points[point as usize];
            let given = given.and(&noted, at.moment());
            self.descend(run, at, Step { point, cut }, seed, &given, depth - 1).map_err(|mut wrong| {
                wrong.steps.insert(0, step);
                wrong
            })?;
        }
        Ok(())
    }

    /// Runs the check once; answers what it noted and where it could have been cut.
    fn ask(
        &self,
        run: u64,
        disk: SimDisk,
        given: &Given<A>,
        points_max: usize,
    ) -> Result<(Noted<A>, Vec<CrashPoint>), String> {
        self.states.fetch_add(1, Ordering::Relaxed);
        disk.record_crash_points(points_max);
        let acks = Acks::new(run, &disk, given.clone());
        call(self.check, &disk, &acks)?;
        Ok((acks.take(), disk.take_crash_points()))
    }

    /// The disk that this cut leaves.
    fn cut(&self, at: &CrashPoint, cut: u32, seed: u64) -> SimDisk {
        let sectors = &self.explorer.sectors;
        let sector = sectors[(seed >> 8) as usize % sectors.len()];
        let keep = match cut {
            0 => 0.0,
            1 => 1.0,
            _ => [0.1, 0.5, 0.9][(seed >> 32) as usize % 3],
        };
        at.after_cut_of(seed, keep, sector)
    }

    /// Does one crash by its name, and nothing else.
    pub(super) fn once(&self, id: &CrashId, explored: Explored) -> Result<(), CrashFailure> {
        let failure = |what, story| CrashFailure { id: id.clone(), what, story, explored, repeats: true };
        let run = self.run(id.seed).map_err(|wrong| failure(wrong.what, Vec::new()))?;
        let mut story = Vec::new();
        let Some((last, earlier)) = id.steps.split_last() else { return Ok(()) };
        let mut points = run.points;
        let (mut above, mut given) = (run.seed, Given::none());
        let missing = |step: Step, count| format!("there is no point {}: there are {count}", step.point);
        let mut noted = Noted { moments: run.moments, values: run.values.to_vec() };
        let mut trace = run.trace;
        for step in earlier {
            let Some(at) = points.get(step.point as usize) else {
                return Err(failure(missing(*step, points.len()), story));
            };
            given = given.and(&noted, at.moment());
            above = mix(&[above, step.point.into(), step.cut.into()]);
            tell(&mut story, &trace, at, *step);
            let disk = self.cut(at, step.cut, above);
            let asked = self.ask(id.seed, disk.clone(), &given, RECOVERY_POINTS_MAX);
            (noted, points) = asked.map_err(|what| failure(what, story.clone()))?;
            trace = disk.trace();
        }
        let Some(at) = points.get(last.point as usize) else {
            return Err(failure(missing(*last, points.len()), story));
        };
        given = given.and(&noted, at.moment());
        above = mix(&[above, last.point.into(), last.cut.into()]);
        tell(&mut story, &trace, at, *last);
        let disk = self.cut(at, last.cut, above);
        let files = disk.files();
        for file in files.iter().take(STORY_MAX) {
            let size = disk.read_file(file).map_or_else(|_| "no file".to_owned(), |b| format!("{} bytes", b.len()));
            story.push(format!("left: {}, {size}", file.display()));
        }
        story.extend((files.len() > STORY_MAX).then(|| format!("left: {} more", files.len() - STORY_MAX)));
        story.push(format!("acknowledged: {}", given.len));
        self.ask(id.seed, disk, &given, 0).map(drop).map_err(|what| failure(what, story))
    }
}

/// Calls a closure; a panic is an error.
fn call<A>(closure: Closure<'_, A>, disk: &SimDisk, acks: &Acks<A>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| closure(disk, acks))).unwrap_or_else(|panic| Err(said(&*panic)))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("with something that is no text"))
}

/// The last that happened before a cut.
fn tell(story: &mut Vec<String>, trace: &[TraceEvent], at: &CrashPoint, step: Step) {
    let before = trace.partition_point(|event| event.moment <= at.moment());
    for event in &trace[before.saturating_sub(STORY_MAX)..before] {
        let what = match event.what {
            TraceWhat::Accepted { kind, ino, offset, len, .. } => match ino {
                Some(ino) => format!("{kind:?} of {len} bytes at {offset} of inode {ino} is accepted"),
                None => format!("{kind:?} is accepted"),
            },
            TraceWhat::TookEffect => "has its effect".to_owned(),
            TraceWhat::Completed { result, .. } => format!("answers {result}"),
            other => format!("{other:?}"),
        };
        story.push(format!("{:>10.3} ms  op {} {what}", event.at.as_secs_f64() * 1e3, event.op));
    }
    story.push(format!("the power is cut here: point {}, {} in flight", step.point, at.in_flight.len()));
}
