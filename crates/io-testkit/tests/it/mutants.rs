//! Drivers that are broken on purpose, each in one way that was found in the wild or is easy to slip into. The suite has to
//! catch each, by the case that is there for it.

use crate::reference::Reference;
use io_core::{
    Armed, Completion, Completions, Driver, DriverName, FileHandle, Full, OpSet, Progress, RawOp, Readiness, Token,
    Unavailable, Wait, errno,
};
use io_testkit::{Disk, Rig, cases, model::check_histories, real_disks, run_case};
use std::{
    collections::{HashMap, VecDeque},
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::Waker,
    time::Duration,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    LosesACompletion,
    DoublesACompletion,
    DropsWhenFull,
    KnowsNoFull,
    SwapsTokens,
    IgnoresRoom,
    WaitsWithoutRoom,
    ComesBackEarly,
    TouchesReadData,
    WritesElsewhere,
    ShortIsWhole,
    EofIsAnError,
    ErrnoIsPositive,
    OneRefusedAllRefused,
    StopsAtTheRefused,
    CancelAnswersToo,
    CancelForgets,
    LosesEarlyWakes,
    LooksEatWakes,
    WakesAreCompletions,
    LooksWhenArmedOnly,
    NeverRings,
    RingsForEver,
    FilesByNumber,
    KeepsFilesOpen,
    LocksAreStubs,
    OffsetsWrap,
    AppendIgnored,
    AcceptsTwice,
}

/// Each bug, and the cases of which at least one has to catch it.
const CAUGHT_BY: &[(Bug, &[&str])] = &[
    (Bug::LosesACompletion, &["every_op_completes_exactly_once"]),
    (Bug::DoublesACompletion, &["every_op_completes_exactly_once"]),
    (Bug::DropsWhenFull, &["full_loses_nothing"]),
    (Bug::KnowsNoFull, &["full_loses_nothing"]),
    (Bug::SwapsTokens, &["answers_land_on_their_own_op"]),
    (Bug::IgnoresRoom, &["room_of_one_loses_nothing"]),
    (Bug::WaitsWithoutRoom, &["without_room_it_does_not_wait"]),
    (Bug::ComesBackEarly, &["waiting_with_nothing_in_flight_ends_on_time"]),
    (Bug::TouchesReadData, &["what_was_written_is_read"]),
    (Bug::WritesElsewhere, &["what_was_written_is_read"]),
    (Bug::ShortIsWhole, &["reading_across_the_end_is_short"]),
    (Bug::EofIsAnError, &["reading_past_the_end_is_zero_bytes"]),
    (Bug::ErrnoIsPositive, &["bad_descriptor_for_every_kind"]),
    (Bug::OneRefusedAllRefused, &["bad_descriptor_between_good_ones"]),
    (Bug::StopsAtTheRefused, &["bad_descriptor_between_good_ones"]),
    (Bug::CancelAnswersToo, &["before_the_submit"]),
    (Bug::CancelForgets, &["before_the_submit"]),
    (Bug::LosesEarlyWakes, &["before_the_wait"]),
    (Bug::LooksEatWakes, &["a_look_leaves_the_wake"]),
    (Bug::WakesAreCompletions, &["many_wakes_are_one"]),
    (Bug::LooksWhenArmedOnly, &["finished_before_arming_is_said"]),
    (Bug::NeverRings, &["armed_it_rings_for_completions"]),
    (Bug::RingsForEver, &["quiet_when_all_is_reaped"]),
    (Bug::FilesByNumber, &["a_number_used_again_is_another_file"]),
    (Bug::KeepsFilesOpen, &["files_live_as_long_as_their_operations"]),
    (Bug::LocksAreStubs, &["exclusive_keeps_others_out"]),
    (Bug::OffsetsWrap, &["offsets_that_no_file_has"]),
    (Bug::AppendIgnored, &["appending_ignores_the_offset"]),
    (Bug::AcceptsTwice, &["progress_counts_what_was_accepted"]),
];

#[test]
fn every_mutant_is_caught_by_its_case() {
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            CAUGHT_BY.iter().map(|&(bug, names)| (bug, scope.spawn(move || catches(bug, names)))).collect();
        let missed: Vec<Bug> =
            runs.into_iter().filter_map(|(bug, run)| (!run.join().expect("caught inside")).then_some(bug)).collect();
        assert!(missed.is_empty(), "not caught: {missed:?}");
    });
}

/// The properties find broken data and broken bookkeeping by themselves.
#[test]
fn properties_catch_mutants() {
    for bug in [Bug::TouchesReadData, Bug::SwapsTokens, Bug::WritesElsewhere] {
        let check = || check_histories(&Mutants(bug), "mutants", 24, 8, false, false);
        assert!(catch_unwind(AssertUnwindSafe(check)).is_err(), "{bug:?} was not caught");
    }
}

fn catches(bug: Bug, names: &[&str]) -> bool {
    names.iter().any(|name| {
        let (_, body) = cases::ALL.iter().find(|(other, _)| other == name).expect("the case is on the list");
        catch_unwind(AssertUnwindSafe(|| run_case(&Mutants(bug), name, *body, "mutants"))).is_err()
    })
}

struct Mutants(Bug);

impl Rig for Mutants {
    fn name(&self) -> DriverName {
        DriverName::Other("mutant")
    }

    fn driver(&self, depth: u32) -> Result<Box<dyn Driver>, Unavailable> {
        Ok(Box::new(Mutant {
            inner: Reference::new(if self.0 == Bug::KnowsNoFull { 10_000 } else { depth }),
            bug: self.0,
            depth,
            count: 0,
            ops: HashMap::new(),
            extra: VecDeque::new(),
            forgotten: Vec::new(),
            by_number: HashMap::new(),
            kept: Vec::new(),
        }))
    }

    fn disks(&self) -> Vec<Box<dyn Disk>> {
        vec![Box::new(real_disks().remove(0))]
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(3)
    }
}

struct Mutant {
    inner: Reference,
    bug: Bug,
    depth: u32,
    count: u32,
    ops: HashMap<Token, RawOp>,
    extra: VecDeque<Completion>,
    forgotten: Vec<Token>,
    by_number: HashMap<i64, OwnedFd>,
    kept: Vec<OwnedFd>,
}

fn duplicate(fd: i32) -> Option<OwnedFd> {
    // SAFETY: takes numbers; the answer is a new descriptor that nobody else owns.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    // SAFETY: see above.
    (copy >= 0).then(|| unsafe { OwnedFd::from_raw_fd(copy) })
}

impl Mutant {
    /// True every now and then.
    fn now(&mut self) -> bool {
        self.count += 1;
        self.count % 61 == 60
    }

    fn change(&mut self, completion: &mut Completion) {
        let Some(op) = self.ops.remove(&completion.token) else { return };
        match (self.bug, op) {
            (Bug::TouchesReadData, RawOp::Read { buf, len, .. }) if len > 0 => {
                // SAFETY: not completed yet for all the core knows, so the memory is still ours.
                unsafe { *buf ^= 1 };
            }
            (Bug::ShortIsWhole, RawOp::Read { len, .. }) if completion.result > 0 => completion.result = len as i32,
            (Bug::EofIsAnError, RawOp::Read { .. }) if completion.result == 0 => completion.result = -errno::EINVAL,
            (Bug::ErrnoIsPositive, _) => completion.result = completion.result.abs(),
            (Bug::LocksAreStubs, RawOp::TryLock { .. }) => completion.result = 0,
            (Bug::KeepsFilesOpen, RawOp::Read { file, .. }) => self.kept.extend(duplicate(file.raw.fd())),
            _ => {}
        }
    }
}

// SAFETY: none of the bugs touches memory after its completion; all else is what the suite is to find.
unsafe impl Driver for Mutant {
    fn name(&self) -> DriverName {
        DriverName::Other("mutant")
    }

    fn depth(&self) -> u32 {
        self.depth
    }

    fn supports(&self) -> OpSet {
        self.inner.supports()
    }

    unsafe fn prepare(&mut self, token: Token, op: &RawOp) -> Result<(), Full> {
        let mut op = *op;
        if let RawOp::Read { file, offset, .. } | RawOp::Write { file, offset, .. } = &mut op {
            if let Some(wrong) = self.by_number.get(&file.raw.get()) {
                file.raw = io_core::RawFile::new(wrong.as_raw_fd().into());
            }
            if self.bug == Bug::OffsetsWrap {
                *offset &= u64::MAX >> 1;
            }
        }
        if let (Bug::WritesElsewhere, RawOp::Write { offset, .. }) = (self.bug, &mut op) {
            *offset ^= 4096;
        }
        if let (Bug::AppendIgnored, RawOp::Write { flags, .. }) = (self.bug, &mut op) {
            *flags = io_core::RwFlags::NONE;
        }
        // SAFETY: passed on.
        let staged = unsafe { self.inner.prepare(token, &op) };
        if staged.is_ok() {
            self.ops.insert(token, op);
        }
        if self.bug == Bug::DropsWhenFull { Ok(()) } else { staged }
    }

    fn submit(&mut self, wait: Wait, out: &mut Completions) -> io::Result<Progress> {
        let wait = match (self.bug, wait) {
            (Bug::ComesBackEarly, _) => Wait::No,
            (Bug::LooksEatWakes, Wait::No) => Wait::AtMost(Duration::ZERO),
            (_, wait) => wait,
        };
        if self.bug == Bug::WaitsWithoutRoom && out.room() == 0 && wait == Wait::Forever {
            // It would hang; a test that hangs is caught by its runner, and takes minutes.
            panic!("it would hang");
        }
        let mut all = Completions::with_limit(if self.bug == Bug::IgnoresRoom { 1000 } else { out.room().max(1) });
        if out.room() == 0 {
            all.push(Completion::new(Token::internal(0), 0));
        }
        let mut progress = self.inner.submit(wait, &mut all)?;
        let mut batch: Vec<Completion> = all.drain().filter(|completion| !completion.token.is_internal()).collect();
        let bad = batch.iter().position(|completion| completion.result == -errno::EBADF);
        for completion in &mut batch {
            self.change(completion);
        }
        let bug = self.bug;
        match bug {
            Bug::LosesACompletion => batch.retain(|_| !self.now()),
            Bug::DoublesACompletion if self.now() => self.extra.extend(batch.first().copied()),
            Bug::SwapsTokens if batch.len() > 1 => {
                let (a, b) = (batch[0].token, batch[1].token);
                (batch[0].token, batch[1].token) = (b, a);
            }
            Bug::OneRefusedAllRefused if bad.is_some() => {
                batch.iter_mut().for_each(|completion| completion.result = -errno::EBADF);
            }
            Bug::StopsAtTheRefused if bad.is_some_and(|bad| bad + 1 < batch.len()) => batch.truncate(bad.unwrap() + 1),
            Bug::CancelForgets => batch.retain(|completion| !self.forgotten.contains(&completion.token)),
            Bug::AcceptsTwice => progress.accepted *= 2,
            _ => {}
        }
        batch.extend(self.extra.drain(..));
        let room = out.room();
        batch.into_iter().take(room).for_each(|completion| out.push(completion));
        Ok(progress)
    }

    fn cancel(&mut self, token: Token) {
        match self.bug {
            Bug::CancelAnswersToo => self.extra.push_back(Completion::new(token, -errno::ECANCELED)),
            Bug::CancelForgets => self.forgotten.push(token),
            _ => self.inner.cancel(token),
        }
    }

    fn readiness(&self) -> Arc<dyn Readiness> {
        Arc::new(Bell { inner: self.inner.readiness(), bug: self.bug })
    }

    fn arm(&mut self, armed: bool) -> Armed {
        match self.bug {
            Bug::NeverRings => Armed::Waiting,
            Bug::LooksWhenArmedOnly => {
                let _ = self.inner.arm(armed);
                Armed::Waiting
            }
            Bug::RingsForEver => {
                self.inner.readiness().wake();
                Armed::Waiting
            }
            _ => self.inner.arm(armed),
        }
    }

    fn register_file(&mut self, file: &FileHandle) -> io::Result<()> {
        if self.bug == Bug::FilesByNumber {
            let copy = duplicate(file.at().raw.fd()).ok_or_else(io::Error::last_os_error)?;
            self.by_number.entry(file.at().raw.get()).or_insert(copy);
        }
        Ok(())
    }
}

struct Bell {
    inner: Arc<dyn Readiness>,
    bug: Bug,
}

impl Readiness for Bell {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.fd()
    }

    fn wait(&self, at_most: Option<Duration>) {
        self.inner.wait(at_most);
    }

    fn wake(&self) {
        match self.bug {
            // Only who sleeps is woken.
            Bug::LosesEarlyWakes => {}
            Bug::WakesAreCompletions => {
                // As if each wake were its own: the next one comes when this one is gone.
                let inner = self.inner.clone();
                inner.wake();
                std::thread::spawn(move || {
                    for _ in 0..20 {
                        std::thread::sleep(Duration::from_millis(5));
                        inner.wake();
                    }
                });
            }
            _ => self.inner.wake(),
        }
    }

    fn subscribe(&self, when_ready: Waker) {
        self.inner.subscribe(when_ready);
    }
}
