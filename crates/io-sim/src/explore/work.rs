//! The work, shared out among threads.

use super::{
    judge::{Judge, Run, Wrong},
    report::Explored,
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Points that a thread takes at a time.
const HANDFUL: usize = 8;

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// A failure, with the number of its run and its seed.
#[derive(Debug)]
pub(super) struct Found {
    run: u64,
    pub(super) seed: u64,
    pub(super) wrong: Wrong,
}

impl Found {
    /// Its place among all that could have failed.
    fn place(&self) -> (u64, Option<u32>) {
        (self.run, self.wrong.steps.first().map(|step| step.point))
    }
}

struct Work<'a, A> {
    judge: &'a Judge<'a, A>,
    queue: Mutex<Queue<A>>,
    changed: Condvar,
    /// The first failure by place, not by time: what is reported does not depend on how fast which thread was.
    found: Mutex<Option<Found>>,
    points: AtomicU64,
    told: Mutex<Instant>,
}

struct Queue<A> {
    batches: VecDeque<Batch<A>>,
    runs_begun: u64,
    runs_done: u64,
    /// Points of the runs that are done.
    points: u64,
}

/// A run, and how far it is given out.
struct Batch<A> {
    number: u64,
    run: Arc<Run<A>>,
    next: usize,
}

/// What there is to do next.
enum Task<A> {
    Run(u64),
    Points { number: u64, run: Arc<Run<A>>, from: usize, to: usize },
    Nothing,
}

/// Explores; answers the first failure.
pub(super) fn explore<A: Clone + Send + Sync>(judge: &Judge<'_, A>) -> (Explored, Option<Found>) {
    let queue = Queue { batches: VecDeque::new(), runs_begun: 0, runs_done: 0, points: 0 };
    let work = Work {
        judge,
        queue: Mutex::new(queue),
        changed: Condvar::new(),
        found: Mutex::new(None),
        points: AtomicU64::new(0),
        told: Mutex::new(Instant::now()),
    };
    thread::scope(|scope| {
        for _ in 1..judge.explorer.threads {
            scope.spawn(|| work.work());
        }
        work.work();
    });
    let explored = work.explored();
    (explored, work.found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<A: Clone + Send + Sync> Work<'_, A> {
    fn work(&self) {
        loop {
            match self.next() {
                Task::Run(number) => self.run(number),
                Task::Points { number, run, from, to } => self.points(number, &run, from..to),
                Task::Nothing => return,
            }
            self.tell();
        }
    }

    fn next(&self) -> Task<A> {
        let explorer = self.judge.explorer;
        let mut queue = lock(&self.queue);
        loop {
            if let Some(batch) = queue.batches.front_mut() {
                let (number, run, from) = (batch.number, batch.run.clone(), batch.next);
                let to = run.points.len().min(from + HANDFUL);
                batch.next = to;
                if to == run.points.len() {
                    queue.batches.pop_front();
                }
                return Task::Points { number, run, from, to };
            }
            let wanted = queue.runs_begun < explorer.runs || queue.points < explorer.points_min;
            if wanted && lock(&self.found).is_none() {
                queue.runs_begun += 1;
                return Task::Run(queue.runs_begun - 1);
            }
            if queue.runs_done == queue.runs_begun {
                return Task::Nothing;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn run(&self, number: u64) {
        let seed = self.judge.explorer.run_seed(number);
        let done = self.judge.run(seed);
        let mut queue = lock(&self.queue);
        queue.runs_done += 1;
        match done {
            Ok(run) => {
                queue.points += run.points.len() as u64;
                queue.batches.push_back(Batch { number, run: Arc::new(run), next: 0 });
            }
            Err(wrong) => self.found(Found { run: number, seed, wrong }),
        }
        self.changed.notify_all();
    }

    fn points(&self, number: u64, run: &Run<A>, points: std::ops::Range<usize>) {
        for point in points.map(|point| point as u32) {
            if lock(&self.found).as_ref().is_some_and(|found| found.place() < (number, Some(point))) {
                return;
            }
            self.points.fetch_add(1, Ordering::Relaxed);
            if let Err(wrong) = self.judge.point(run, point) {
                self.found(Found { run: number, seed: run.seed, wrong });
            }
        }
    }

    fn found(&self, new: Found) {
        let mut found = lock(&self.found);
        if found.as_ref().is_none_or(|old| new.place() < old.place()) {
            *found = Some(new);
        }
    }

    fn explored(&self) -> Explored {
        let (states, recoveries_cut) = self.judge.states();
        let (runs, points) = (lock(&self.queue).runs_done, self.points.load(Ordering::Relaxed));
        Explored { runs, points, states, recoveries_cut }
    }

    fn tell(&self) {
        let Some(tell) = &self.judge.explorer.progress else { return };
        let Ok(mut told) = self.told.try_lock() else { return };
        if told.elapsed() >= TELL_EVERY {
            *told = Instant::now();
            tell(&self.explored());
        }
    }
}
