//! The driver: stages, submits, and moves time while it waits.

use crate::{bell::Bell, disk::Shared, faults::Fault, memory::Lent, random::nanos, world::World};
use io_core::{
    Armed, Clock, Completions, Driver, DriverName, Full, OpSet, Progress, RawOp, Readiness, Token, Wait, errno,
};
use std::{
    collections::VecDeque,
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Duration,
};

/// Waits longer than this (a year) are waits for ever: the clock does not jump to the end of time.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The least virtual time that a wait takes, in nanoseconds: systems round up as well, and a loop of waits for no time at all
/// gets somewhere.
const WAIT_MIN: u64 = 1000;

/// What meets an operation that is cancelled while it is pushed back.
const CANCELLED: Option<Fault> = Some(Fault::Errno(errno::ECANCELED));

/// A driver of a simulated disk; see [`SimDisk::driver`](crate::SimDisk::driver).
///
/// Dropped with operations in flight it lets some of them happen at once and forgets the others: nothing behind it touches
/// their memory afterwards.
pub struct SimDriver {
    shared: Arc<Shared>,
    id: u32,
    depth: u32,
    staged: VecDeque<Staged>,
    /// Accepted and not reaped.
    in_flight: u32,
    cancels: Vec<Token>,
    readiness: Arc<SimReadiness>,
}

struct Staged {
    token: Token,
    lent: Lent,
    /// What the rules said; asked once, when it is first submitted.
    fault: Option<Fault>,
    asked: bool,
    pushes: u32,
}

struct SimReadiness {
    shared: Arc<Shared>,
    id: u32,
    bell: Arc<Bell>,
    /// A submit has answered that the driver is dead: that is no news any more, and time passes for who waits with a time.
    told_dead: AtomicBool,
}

/// How one look at the disk ended.
enum Look {
    /// There is what was waited for.
    Found,
    /// Something happened, but not that.
    Again,
    /// The time is over.
    TimeOver,
    /// Nothing will ever happen by itself.
    Idle,
}

impl SimDriver {
    pub(crate) fn new(shared: Arc<Shared>, bell: Arc<Bell>, id: u32, depth: u32) -> SimDriver {
        assert!(depth > 0, "a driver of depth 0 takes nothing");
        SimDriver {
            staged: VecDeque::with_capacity(depth as usize),
            cancels: Vec::with_capacity(depth as usize),
            readiness: Arc::new(SimReadiness { shared: shared.clone(), id, bell, told_dead: AtomicBool::new(false) }),
            shared,
            id,
            depth,
            in_flight: 0,
        }
    }

    fn submit_and_reap(&mut self, wait: Wait, out: &mut Completions) -> io::Result<Progress> {
        let shared = self.shared.clone();
        let (progress, reaped) = shared.enter(|world| {
            world.alive(self.id)?;
            if wait == Wait::No {
                world.move_to(shared.clock.nanos().saturating_add(nanos(shared.options.tick)));
            }
            let progress = self.accept(world)?;
            while let Some(token) = self.cancels.pop() {
                match self.staged.iter_mut().find(|staged| staged.token == token) {
                    // Never accepted: it goes to the disk only to be answered.
                    Some(staged) => (staged.asked, staged.pushes, staged.fault) = (true, 0, CANCELLED),
                    None => world.cancel(self.id, token),
                }
            }
            world.run_due(self.id);
            io::Result::Ok((progress, self.reap(world, out)))
        })?;
        let at_most = match wait {
            Wait::No => return Ok(progress),
            Wait::AtMost(at_most) => Some(at_most),
            Wait::Forever => None,
        };
        if !reaped && out.room() > 0 && out.is_empty() && progress.staged == 0 {
            let readiness = self.readiness.clone();
            let mut broken = Ok(());
            readiness.sleep(at_most, |world| {
                broken = world.alive(self.id);
                broken.is_err() || self.reap(world, out)
            });
            broken?;
        }
        Ok(progress)
    }

    /// Brings staged operations to the disk, the first ones first, until one is pushed back.
    fn accept(&mut self, world: &mut World) -> io::Result<Progress> {
        let mut accepted = 0;
        while let Some(staged) = self.staged.front_mut() {
            if !staged.asked {
                staged.asked = true;
                staged.fault = world.meet(&staged.lent);
                if let Some(Fault::PushBack(times)) = staged.fault {
                    staged.pushes = times;
                }
            }
            if staged.pushes > 0 {
                staged.pushes -= 1;
                world.push_back(self.id, staged.token);
                break;
            }
            if let Some(Staged { token, lent, fault, .. }) = self.staged.pop_front() {
                accepted += 1;
                self.in_flight += 1;
                world.accept(self.id, token, lent, fault);
                // The operation may have been the one at which the power is cut.
                world.alive(self.id)?;
            }
        }
        Ok(Progress { accepted, staged: self.staged.len() as u32 })
    }

    fn reap(&mut self, world: &mut World, out: &mut Completions) -> bool {
        let reaped = world.reap(self.id, out);
        self.in_flight -= reaped;
        reaped > 0
    }
}

// SAFETY: memory and files of an operation are touched through its `Lent` only. That is dropped before the completion is pushed
// (`World::deliver`), and with it dies the last way there (I3); a driver that is dropped takes its `Lent`s out of the disk first.
unsafe impl Driver for SimDriver {
    fn name(&self) -> DriverName {
        DriverName::Sim
    }

    fn depth(&self) -> u32 {
        self.depth
    }

    fn supports(&self) -> OpSet {
        self.shared.options.supports
    }

    unsafe fn prepare(&mut self, token: Token, op: &RawOp) -> Result<(), Full> {
        if self.staged.len() as u32 + self.in_flight >= self.depth {
            return Err(Full);
        }
        // SAFETY: the caller's promise holds until the token's completion is delivered, and the `Lent` is gone before.
        let lent = unsafe { Lent::new(*op) };
        self.staged.push_back(Staged { token, lent, fault: None, asked: false, pushes: 0 });
        Ok(())
    }

    fn submit(&mut self, wait: Wait, out: &mut Completions) -> io::Result<Progress> {
        let progress = self.submit_and_reap(wait, out);
        if progress.is_err() {
            self.readiness.told_dead.store(true, Ordering::Relaxed);
        }
        progress
    }

    fn cancel(&mut self, token: Token) {
        if self.in_flight as usize + self.staged.len() > self.cancels.len() && !self.cancels.contains(&token) {
            self.cancels.push(token);
        }
    }

    fn readiness(&self) -> Arc<dyn Readiness> {
        self.readiness.clone()
    }

    fn arm(&mut self, armed: bool) -> Armed {
        let already = self.shared.enter(|world| world.arm(self.id, armed));
        if armed && already && !self.readiness.is_told() { Armed::ReadyNow } else { Armed::Waiting }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.shared.clock.clone())
    }
}

impl Drop for SimDriver {
    fn drop(&mut self) {
        self.shared.enter(|world| world.leave(self.id));
    }
}

impl SimReadiness {
    /// True if who has the driver knows that it is dead, so that this is no reason any more to come and look.
    fn is_told(&self) -> bool {
        self.told_dead.load(Ordering::Relaxed)
    }

    /// Moves time until `look` finds something, a wake comes, or the time is over. Where nothing is left to happen by itself,
    /// it really sleeps for a wake.
    fn sleep(&self, at_most: Option<Duration>, mut look: impl FnMut(&mut World) -> bool) {
        let clock = &self.shared.clock;
        let at_most = at_most.filter(|&at_most| at_most < FOR_EVER);
        let until = at_most.map(|at_most| clock.nanos().saturating_add(nanos(at_most).max(WAIT_MIN)));
        loop {
            if self.bell.take_wake() {
                return;
            }
            let seen = self.shared.enter(|world| {
                if look(world) {
                    return Look::Found;
                }
                match until {
                    _ if world.step(until, self.id) => Look::Again,
                    Some(until) => {
                        world.move_to(until);
                        Look::TimeOver
                    }
                    None => Look::Idle,
                }
            });
            match seen {
                Look::Found | Look::TimeOver => return,
                Look::Again => {}
                Look::Idle if self.bell.sleep(self.shared.options.idle_max) => {}
                Look::Idle => return,
            }
        }
    }
}

impl Readiness for SimReadiness {
    #[cfg(unix)]
    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }

    fn wait(&self, at_most: Option<Duration>) {
        // Of a dead driver nothing comes, but who waits with a time has other reasons to: time outs, and giving up on what is lost.
        let told_dead = at_most.is_some() && self.is_told();
        self.sleep(at_most, |world| !told_dead && world.has_news(self.id));
    }

    fn wake(&self) {
        self.bell.wake();
    }

    fn subscribe(&self, when_ready: Waker) {
        self.bell.subscribe(when_ready);
        // Subscribed first and looked afterwards, so that nothing falls between the two. Who subscribes is about to sleep, and
        // nobody else may be there to move time: it moves here, to the next completion.
        if !self.is_told() && self.shared.enter(|world| world.await_ready(self.id)) {
            self.bell.nudge(true);
        }
    }
}

impl fmt::Debug for SimDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, depth) = (self.id, self.depth);
        write!(f, "SimDriver({id}, {} staged, {} in flight, depth {depth})", self.staged.len(), self.in_flight)
    }
}
