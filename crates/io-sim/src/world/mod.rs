//! The disk behind its lock: accepts operations, lets time pass, hands completions out.

mod effect;

use crate::{
    bell::Bell,
    clock::SimClock,
    codes::Answer,
    counters::Counters,
    crash::{CUTS, CrashPoint},
    disk::Shared,
    faults::{Fault, Rules},
    files::Files,
    flight::{Flight, Plan, State, changes, place},
    image::Image,
    memory::Lent,
    options::SimOptions,
    random::Random,
    source::Copied,
    trace::{Trace, TraceWhat},
};
use effect::handle_of;
use io_core::{Completions, FileHandle, OpKind, Output, RawFile, Token, errno};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    io,
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};

/// Everything that the disk's lock protects.
pub(crate) struct World {
    pub(crate) options: Arc<SimOptions>,
    pub(crate) clock: SimClock,
    pub(crate) image: Image,
    pub(crate) files: Files,
    pub(crate) rules: Rules,
    pub(crate) trace: Trace,
    pub(crate) counters: Counters,
    pub(crate) recording: Recording,
    /// Rung when the lock is free again; `true`: for subscribers too.
    pub(crate) nudges: Vec<(Arc<Bell>, bool)>,
    /// Dropped when the lock is free again.
    pub(crate) trash: Vec<Output>,
    me: Weak<Shared>,
    chance: Random,
    cuts: Random,
    flights: BTreeMap<u64, Flight>,
    /// Moments at which something becomes due, with the operation's number.
    due: BinaryHeap<Reverse<(u64, u64)>>,
    last_op: u64,
    seats: BTreeMap<u32, Seat>,
    last_driver: u32,
    /// Read buffers for reuse.
    spare: Vec<Vec<u8>>,
}

/// A driver's place at the disk.
struct Seat {
    bell: Arc<Bell>,
    armed: bool,
    complete: VecDeque<u64>,
    /// The code that `submit` answers from now on.
    broken: Option<i32>,
}

/// Crash points taken by themselves.
#[derive(Default)]
pub(crate) struct Recording {
    pub(crate) points: Vec<CrashPoint>,
    pub(crate) max: usize,
}

impl World {
    pub(crate) fn new(options: Arc<SimOptions>, clock: SimClock, image: Image, me: Weak<Shared>) -> World {
        let random = |purpose| Random::new(options.seed, purpose);
        World {
            clock,
            image,
            files: Files::default(),
            rules: Rules::new(random(2)),
            trace: Trace::new(options.trace_max),
            counters: Counters::default(),
            recording: Recording::default(),
            nudges: Vec::new(),
            trash: Vec::new(),
            me,
            chance: random(1),
            cuts: random(CUTS),
            flights: BTreeMap::new(),
            due: BinaryHeap::new(),
            last_op: 0,
            seats: BTreeMap::new(),
            last_driver: 0,
            spare: Vec::new(),
            options,
        }
    }

    fn note(&mut self, driver: u32, op: u64, what: TraceWhat) {
        self.trace.note(Duration::from_nanos(self.clock.nanos()), driver, op, what);
    }

    // Drivers

    pub(crate) fn seat(&mut self, bell: Arc<Bell>) -> u32 {
        self.last_driver += 1;
        self.seats.insert(self.last_driver, Seat { bell, armed: false, complete: VecDeque::new(), broken: None });
        self.last_driver
    }

    /// The driver goes, and what it has in flight may or may not happen before, but nothing afterwards.
    pub(crate) fn leave(&mut self, driver: u32) {
        self.seats.remove(&driver);
        self.abandon(|flight| flight.driver == driver);
    }

    /// Errors of a driver that is dead.
    pub(crate) fn alive(&self, driver: u32) -> io::Result<()> {
        match self.seats.get(&driver) {
            Some(Seat { broken: None, .. }) => Ok(()),
            Some(Seat { broken: Some(code), .. }) => Err(io::Error::from_raw_os_error(*code)),
            None => Err(io::Error::from_raw_os_error(errno::EIO)),
        }
    }

    /// True if there is something to reap, or nothing to wait for ever again.
    pub(crate) fn has_news(&self, driver: u32) -> bool {
        self.alive(driver).is_err() || self.seats.get(&driver).is_some_and(|seat| !seat.complete.is_empty())
    }

    /// True if the readiness is ready, after time has passed to where it is: for an armed driver with operations on their way
    /// to the next completion.
    pub(crate) fn await_ready(&mut self, driver: u32) -> bool {
        loop {
            if self.alive(driver).is_err() {
                return true;
            }
            let seat = &self.seats[&driver];
            if !seat.armed || !seat.complete.is_empty() {
                return seat.armed;
            }
            let on_its_way = |flight: &Flight| flight.driver == driver && !flight.plan.wedged;
            if !self.flights.values().any(on_its_way) || !self.step(None, driver) {
                return false;
            }
        }
    }

    /// Arms the readiness; `true`: there is something already.
    pub(crate) fn arm(&mut self, driver: u32, armed: bool) -> bool {
        self.run_due(driver);
        match self.seats.get_mut(&driver) {
            Some(seat) => {
                seat.armed = armed;
                !seat.complete.is_empty()
            }
            None => true,
        }
    }

    /// All drivers are dead from now on; their channel says `code`.
    pub(crate) fn break_drivers(&mut self, code: i32) {
        self.note(0, 0, TraceWhat::Broken);
        for seat in self.seats.values_mut() {
            seat.broken = Some(code);
            seat.complete.clear();
            self.nudges.push((seat.bell.clone(), true));
        }
        self.abandon(|_| true);
    }

    /// Some of these operations take effect now, the others never, and none is heard of again.
    fn abandon(&mut self, which: impl Fn(&Flight) -> bool) {
        let gone: Vec<u64> = self.flights.iter().filter(|(_, flight)| which(flight)).map(|(&op, _)| op).collect();
        for op in gone {
            if self.flights[&op].state == State::Begun && self.chance.chance(0.5) {
                self.take_effect(op);
            }
            self.forget(op);
        }
    }

    fn forget(&mut self, op: u64) -> Option<Flight> {
        let flight = self.flights.remove(&op)?;
        self.counters.in_flight -= 1;
        self.counters.wedged -= flight.plan.wedged as u64;
        Some(flight)
    }

    // Acceptance

    /// What the rules, or chance, say about an operation that is about to be accepted.
    pub(crate) fn meet(&mut self, lent: &Lent) -> Option<Fault> {
        let kind = lent.op().kind();
        let mut fault = None;
        if !self.rules.is_empty() {
            let named = lent.path().map(|path| Path::new("/").join(path));
            let opened = place(lent).0.and_then(|file| self.files.get(file.raw).ok()).map(|open| open.path.clone());
            fault = self.rules.meet(kind, named.as_deref().or(opened.as_ref().map(|path| path.as_path())));
        }
        if fault.is_none() && self.chance.chance(self.options.push_back) {
            fault = Some(Fault::PushBack(1 + self.chance.below(3) as u32));
        }
        fault
    }

    pub(crate) fn push_back(&mut self, driver: u32, token: Token) {
        self.counters.pushed_back += 1;
        self.note(driver, 0, TraceWhat::PushedBack { token });
    }

    pub(crate) fn accept(&mut self, driver: u32, token: Token, lent: Lent, fault: Option<Fault>) {
        self.last_op += 1;
        let (op, kind) = (self.last_op, lent.op().kind());
        let plan = Plan::draw(&lent, fault, &self.options, self.clock.nanos(), &mut self.chance);
        self.count(kind);
        self.counters.wedged += plan.wedged as u64;
        let (file, offset, len) = place(&lent);
        let ino = file.and_then(|file| self.files.get(file.raw).ok()).map(|open| open.ino);
        self.note(driver, op, TraceWhat::Accepted { token, kind, ino, offset, len });
        let copy =
            (kind.is_write() && Flight::copies_at_once(&lent, plan.early)) || (self.recording.max > 0 && changes(kind));
        let copied = copy.then(|| Arc::new(Copied::new(&lent, self.options.direct)));
        let state = State::Begun;
        let flight = Flight { driver, token, lent, copied, plan, state, result: 0, data: None, output: None };
        self.flights.insert(op, flight);
        if fault == Some(Fault::PowerCut) {
            return self.power_cut();
        }
        self.record(kind);
        if plan.effect_at == self.clock.nanos() {
            self.take_effect(op);
        }
        self.schedule(op, plan);
    }

    fn schedule(&mut self, op: u64, plan: Plan) {
        if !plan.wedged {
            if plan.effect_at > self.clock.nanos() && plan.effect_at < plan.complete_at {
                self.due.push(Reverse((plan.effect_at, op)));
            }
            self.due.push(Reverse((plan.complete_at, op)));
        }
    }

    fn count(&mut self, kind: OpKind) {
        self.counters.accepted += 1;
        self.counters.in_flight += 1;
        self.counters.reads += kind.is_read() as u64;
        self.counters.writes += kind.is_write() as u64;
        self.counters.syncs += (kind.is_sync() || kind == OpKind::SyncDir) as u64;
    }

    /// A cancel request: too late for what has had its effect, worth nothing for what is wedged.
    pub(crate) fn cancel(&mut self, driver: u32, token: Token) {
        let waits = |flight: &Flight| {
            flight.driver == driver && flight.token == token && flight.state == State::Begun && !flight.plan.wedged
        };
        let Some(op) = self.flights.iter().find(|(_, flight)| waits(flight)).map(|(&op, _)| op) else { return };
        if self.chance.chance(self.options.cancels) {
            self.counters.cancelled += 1;
            self.note(driver, op, TraceWhat::Cancelled);
            let flight = self.flights.get_mut(&op).expect("found above");
            (flight.state, flight.result) = (State::Effective, -errno::ECANCELED);
            self.complete(op, driver);
        }
    }

    /// Wedged operations go on, as if they had been accepted now.
    pub(crate) fn release_wedged(&mut self) {
        let now = self.clock.nanos();
        let wedged: Vec<u64> =
            self.flights.iter().filter(|(_, flight)| flight.plan.wedged).map(|(&op, _)| op).collect();
        for op in wedged {
            let flight = self.flights.get_mut(&op).expect("listed above");
            let plan = Plan::draw(&flight.lent, None, &self.options, now, &mut self.chance);
            let later = Plan { effect_at: plan.effect_at, complete_at: plan.complete_at, wedged: false, ..flight.plan };
            flight.plan = later;
            self.counters.wedged -= 1;
            self.schedule(op, later);
        }
        self.nudges.extend(self.seats.values().map(|seat| (seat.bell.clone(), false)));
    }

    // Time

    /// The next moment at which something is due.
    fn next_due(&mut self) -> Option<u64> {
        while let Some(&Reverse((at, op))) = self.due.peek() {
            if self.flights.get(&op).is_some_and(|flight| flight.state != State::Complete) {
                return Some(at);
            }
            self.due.pop();
        }
        None
    }

    /// Lets time pass to the next moment at which something is due, unless that is after `until`.
    pub(crate) fn step(&mut self, until: Option<u64>, driver: u32) -> bool {
        let next = self.next_due().filter(|&next| until.is_none_or(|until| next <= until));
        if let Some(next) = next {
            self.move_to(next);
            self.run_due(driver);
        }
        next.is_some()
    }

    pub(crate) fn move_to(&mut self, nanos: u64) {
        self.clock.move_to(nanos);
        self.image.now = Duration::from_nanos(self.clock.nanos());
    }

    /// Does what is due now, on behalf of `driver` (0: of nobody).
    pub(crate) fn run_due(&mut self, driver: u32) {
        let now = self.clock.nanos();
        while let Some(&Reverse((at, op))) = self.due.peek().filter(|Reverse((at, _))| *at <= now) {
            self.due.pop();
            let Some(flight) = self.flights.get(&op).filter(|flight| flight.state != State::Complete) else { continue };
            let completes = at >= flight.plan.complete_at;
            if flight.state == State::Begun {
                self.take_effect(op);
            }
            if completes {
                self.complete(op, driver);
            }
        }
    }

    /// The operation waits to be reaped; `by`: the driver that is reaping anyway.
    fn complete(&mut self, op: u64, by: u32) {
        let flight = self.flights.get_mut(&op).expect("in flight");
        flight.state = State::Complete;
        if let Some(seat) = self.seats.get_mut(&flight.driver) {
            seat.complete.push_back(op);
            if flight.driver != by {
                self.nudges.push((seat.bell.clone(), seat.armed));
            }
        }
    }

    /// Hands completions out, as many as there is room for.
    pub(crate) fn reap(&mut self, driver: u32, out: &mut Completions) -> u32 {
        let mut reaped = 0;
        while out.room() > 0 {
            let Some(op) = self.seats.get_mut(&driver).and_then(|seat| seat.complete.pop_front()) else { break };
            let flight = self.forget(op).expect("complete, and not reaped");
            let kind = flight.lent.op().kind();
            out.push(self.deliver(op, flight));
            self.record(kind);
            reaped += 1;
        }
        if let Some(seat) = self.seats.get(&driver).filter(|seat| seat.armed && !seat.complete.is_empty()) {
            self.nudges.push((seat.bell.clone(), true));
        }
        reaped
    }

    // Files from outside

    pub(crate) fn open(&mut self, path: &Path, options: io_core::OpenOptions) -> Answer<FileHandle> {
        let raw = self.files.open(&mut self.image, path, options)?;
        Ok(handle_of(&self.image, &self.files, raw, self.me.clone()))
    }

    /// Closes a file whose handle was dropped. It may be closed already, or gone with a power cut.
    pub(crate) fn close(&mut self, raw: RawFile) {
        let _ = self.files.close(&mut self.image, raw);
    }

    // Crashes

    pub(crate) fn crash_point(&self) -> CrashPoint {
        let in_flight = self.flights.values().filter(|flight| flight.may_still_happen()).map(|flight| {
            let copied = flight.copied.clone();
            let copied = copied.unwrap_or_else(|| Arc::new(Copied::new(&flight.lent, self.options.direct)));
            (copied, flight.plan.limit)
        });
        CrashPoint {
            moment: self.trace.moment(),
            at: Duration::from_nanos(self.clock.nanos()),
            image: self.image.clone(),
            files: self.files.clone(),
            in_flight: in_flight.collect(),
        }
    }

    /// Takes a crash point if they are recorded and this kind of operation makes a difference.
    fn record(&mut self, kind: OpKind) {
        let matters = changes(kind) || kind.is_sync() || kind == OpKind::SyncDir;
        if matters && self.recording.points.len() < self.recording.max {
            let point = self.crash_point();
            self.recording.points.push(point);
        }
    }

    /// Cuts the power: drivers and open files are dead, what is in flight is never heard of again.
    pub(crate) fn power_cut(&mut self) {
        let left = self.crash_point().left(&mut self.cuts);
        self.note(0, 0, TraceWhat::PowerCut);
        self.counters.power_cuts += 1;
        self.image = left;
        self.files = Files::default();
        self.nudges.extend(std::mem::take(&mut self.seats).into_values().map(|seat| (seat.bell, true)));
        for op in std::mem::take(&mut self.flights).into_values() {
            self.trash.extend(op.output);
        }
        self.due.clear();
        (self.counters.in_flight, self.counters.wedged) = (0, 0);
    }
}
