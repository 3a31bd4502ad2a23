//! One system call: what is staged goes in, what has completed comes out, and the wait is in between.

use crate::{UringDriver, answers::Internal, ring::Entered, wake::wait_readable};
use io_core::{Completion, Completions, Progress, Token, Wait};
use io_uring::{EnterFlags, opcode, types};
use std::{
    io,
    time::{Duration, Instant},
};

/// How long a wait is before requests of our own that the kernel pushed back are tried again.
const DOZE: Duration = Duration::from_millis(10);

impl UringDriver {
    pub(crate) fn drive(&mut self, wait: Wait, out: &mut Completions) -> io::Result<Progress> {
        if !self.enabled {
            self.ring.enable()?;
            self.enabled = true;
        }
        let begun = out.len();
        self.deliver(out);
        if !self.cancels.is_empty() {
            self.stage_cancels(out)?;
        }
        let (waits, deadline) = match wait {
            Wait::No | Wait::AtMost(Duration::ZERO) => (false, None),
            Wait::AtMost(most) => (true, Instant::now().checked_add(most)),
            Wait::Forever => (true, None),
        };
        if waits && out.len() == begun && out.room() > 0 {
            self.sleep(deadline, begun, out)?;
        } else {
            if self.armed && self.signals.bell.is_called() {
                // Who watches the descriptor was rung for, and is here now (or somebody is in his place).
                self.signals.bell.answer();
            }
            self.flush(out)?;
        }
        Ok(Progress { accepted: std::mem::take(&mut self.accepted), staged: self.staged })
    }

    /// Enters the kernel and keeps the books: what it took is not staged any more.
    fn enter(
        &mut self,
        staged: u32,
        min_complete: u32,
        flags: EnterFlags,
        at_most: Option<Duration>,
    ) -> io::Result<Entered> {
        let entered = self.ring.enter(staged, min_complete, flags, at_most);
        let left = match entered {
            Ok(Entered::Took(took)) if took == staged => 0,
            // The kernel thread of an SQPOLL ring takes what is in the queue, whatever we do.
            _ if self.setup.sqpoll => 0,
            // Requests of our own may sit among them; a count too high corrects itself with the next enter.
            _ => self.staged.min(self.ring.state().staged),
        };
        self.accepted += self.staged - left;
        self.staged = left;
        entered
    }

    /// Submits without waiting. Enters the kernel only with something to submit, or for completions that it holds back.
    fn flush(&mut self, out: &mut Completions) -> io::Result<()> {
        loop {
            let state = self.ring.state();
            let awaits = state.hidden || (self.setup.iopoll && self.used > 0);
            let awaits = awaits && out.room() > 0;
            let to_submit = if self.setup.sqpoll && !state.needs_wakeup { 0 } else { state.staged };
            if to_submit == 0 && !awaits {
                // Nothing is staged, or the kernel thread takes it.
                self.accepted += std::mem::take(&mut self.staged);
                return Ok(());
            }
            let mut flags = if awaits { EnterFlags::GETEVENTS } else { EnterFlags::empty() };
            if state.needs_wakeup {
                flags |= EnterFlags::SQ_WAKEUP;
            }
            let entered = self.enter(to_submit, 0, flags, None);
            self.reap(out);
            match entered? {
                // Without SUBMIT_ALL a refused request ends the call; it is its own completion, and the others go on.
                Entered::Took(took) if took > 0 && took < to_submit => {}
                Entered::Interrupted => {}
                Entered::Took(_) | Entered::PushedBack | Entered::TimedOut => return Ok(()),
            }
        }
    }

    /// Submits and waits until something is delivered, somebody wakes, the time is over, or the kernel takes no more.
    fn sleep(&mut self, deadline: Option<Instant>, begun: usize, out: &mut Completions) -> io::Result<()> {
        loop {
            if !self.signals.bell.begin_inside() {
                return self.flush(out);
            }
            // From here on wakers ring the inner eventfd. Whatever this says, the notice is looked at afterwards: draining the
            // eventfd in between cannot lose a wake, because a waker leaves its notice before it rings.
            let slept = self.sleep_once(deadline, out);
            let woken = self.signals.bell.end_inside();
            slept?;
            if woken || out.len() > begun || self.staged > 0 {
                return Ok(());
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(());
            }
            // One of our own requests completed: the poll of the eventfd for a wake that ended an earlier wait, or because the
            // thread that armed it has exited (ECANCELED), or a wish to cancel. Nobody outside is interested.
        }
    }

    fn sleep_once(&mut self, deadline: Option<Instant>, out: &mut Completions) -> io::Result<()> {
        if self.setup.iopoll {
            return self.spin(deadline, out);
        }
        let before = out.len();
        // Beside the ring, if it cannot be inside: without timed waits, and where the polling thread of an SQPOLL ring would have to be
        // scheduled for the poll and again for its answer.
        let inside = !self.setup.sqpoll && (deadline.is_none() || self.setup.timed_wait);
        let inside = inside && self.poll_wakes(out)?;
        if out.len() > before {
            // The queue was full, and making room for the poll has brought completions: there may be nothing more to wait for.
            return self.flush(out);
        }
        if !inside {
            return self.doze(deadline, out);
        }
        let staged = self.ring.state().staged;
        let at_most = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let entered = self.enter(staged, 1, EnterFlags::GETEVENTS, at_most);
        self.reap(out);
        match entered? {
            Entered::Took(took) if took < staged => self.flush(out),
            // There is no room for the poll of the eventfd, or for a wish to cancel. Asleep beside the ring neither is needed.
            Entered::PushedBack if self.staged == 0 => {
                let nap = Instant::now() + DOZE;
                self.doze(Some(deadline.map_or(nap, |deadline| deadline.min(nap))), out)
            }
            Entered::Took(_) | Entered::TimedOut | Entered::Interrupted | Entered::PushedBack => Ok(()),
        }
    }

    /// Sees to it that a request polls the inner eventfd; `false` if the queue has no room for it. It stays in flight until a
    /// wake, over many waits.
    fn poll_wakes(&mut self, out: &mut Completions) -> io::Result<bool> {
        if self.wake_polled {
            return Ok(true);
        }
        let poll = opcode::PollAdd::new(types::Fd(self.signals.inside.raw()), libc::POLLIN as u32).build();
        let poll = poll.user_data(Internal::Wake.token(0).as_u64());
        // SAFETY: the request refers to no memory.
        self.wake_polled = unsafe { self.ring.push(&poll) };
        if !self.wake_polled {
            self.flush(out)?;
            // SAFETY: as above.
            self.wake_polled = unsafe { self.ring.push(&poll) };
        }
        Ok(self.wake_polled)
    }

    /// Submits, then sleeps beside the ring: it is readable when there are completions. Two system calls, but no request, so that
    /// no timeouts of waits that ended early pile up where the kernel has no timed wait (before Linux 5.11).
    fn doze(&mut self, deadline: Option<Instant>, out: &mut Completions) -> io::Result<()> {
        let before = out.len();
        self.flush(out)?;
        if out.len() > before || self.staged > 0 {
            return Ok(());
        }
        if wait_readable(&[self.ring.fd(), self.signals.inside.raw()], deadline) && !self.wake_polled {
            self.signals.inside.drain();
        }
        self.reap(out);
        self.flush(out)
    }

    /// A polling ring finds completions only while somebody asks. With nothing in flight there is only the wake to wait for.
    fn spin(&mut self, deadline: Option<Instant>, out: &mut Completions) -> io::Result<()> {
        if self.used == 0 {
            if wait_readable(&[self.signals.inside.raw()], deadline) {
                self.signals.inside.drain();
            }
            return Ok(());
        }
        self.flush(out)?;
        std::thread::yield_now();
        Ok(())
    }

    /// Pushes what is there into the batch, oldest first, as far as it has room.
    fn deliver(&mut self, out: &mut Completions) {
        while out.room() > 0 {
            let Some(completion) = self.ready.pop_front() else { break };
            self.used -= 1;
            out.push(completion);
        }
        self.reap(out);
    }

    #[inline]
    fn reap(&mut self, out: &mut Completions) {
        let room = out.room();
        self.used -= self.take_completions(room, |completion| out.push(completion));
    }

    /// Takes everything out of the completion queue.
    pub(crate) fn collect(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        self.take_completions(usize::MAX, |completion| ready.push_back(completion));
        self.ready = ready;
    }

    /// Takes completions out of the queue until so many operations are answered; says how many.
    #[inline]
    fn take_completions(&mut self, room: usize, mut push: impl FnMut(Completion)) -> u32 {
        let mut answered = 0;
        let mut queue = self.ring.completion();
        while (answered as usize) < room {
            let Some(cqe) = queue.next() else { break };
            let (token, result) = (Token::from_u64(cqe.user_data()), outward(cqe.result()));
            if !token.is_internal() {
                push(Completion::new(token, result));
                answered += 1;
                continue;
            }
            match Internal::of(token) {
                Internal::Answer(_) => {
                    // SAFETY: this is the kernel's completion of the request, and ours is delivered after it.
                    push(unsafe { self.answers.finish(token, result) });
                    answered += 1;
                }
                Internal::Cancel => self.cancels_in_flight -= 1,
                Internal::Wake => {
                    self.wake_polled = false;
                    self.signals.inside.drain();
                }
            }
        }
        answered
    }

    /// Stages the wishes to cancel, behind what they are about.
    fn stage_cancels(&mut self, out: &mut Completions) -> io::Result<()> {
        if self.used == 0 {
            self.cancels.clear();
        }
        let mut flushed = false;
        while let Some(&target) = self.cancels.last() {
            if self.cancels_in_flight >= self.setup.depth {
                // As many answers as the completion queue has room for beside the operations'.
                break;
            }
            let cancel = opcode::AsyncCancel::new(target.as_u64()).build();
            // SAFETY: the request refers to no memory.
            if unsafe { self.ring.push(&cancel.user_data(Internal::Cancel.token(0).as_u64())) } {
                self.cancels.pop();
                self.cancels_in_flight += 1;
            } else if flushed {
                break;
            } else {
                self.flush(out)?;
                flushed = true;
            }
        }
        Ok(())
    }
}

/// Codes from 512 on are the kernel's own, for restarting calls that a signal ended (`ERESTARTSYS` and its like). Cancelled operations of
/// its workers let them out (seen on 5.10); outside they mean `EINTR`.
#[inline]
const fn outward(result: i32) -> i32 {
    if result <= -512 { -libc::EINTR } else { result }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{UringOptions, uring};
    use io_core::{Driver, FileFacts, FileHandle, RawOp, RwFlags};
    use std::{
        fs::File,
        io::Write,
        os::fd::{FromRawFd, OwnedFd},
    };

    fn pipe() -> (FileHandle, File) {
        let mut fds = [0; 2];
        // SAFETY: room for two descriptors, which are nobody else's afterwards.
        let [read, write] = unsafe {
            assert_eq!(libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC), 0);
            fds.map(|fd| File::from(OwnedFd::from_raw_fd(fd)))
        };
        (FileHandle::from_std(read, FileFacts::default()), write)
    }

    /// Kernels before 5.11 have no timed wait; whatever this one is, the driver can be told that it has none.
    #[test]
    fn without_timed_waits_it_sleeps_beside_the_ring() {
        let Ok(mut driver) = uring(UringOptions::default().depth(4)) else { return };
        driver.setup.timed_wait = false;
        let mut batch = Completions::with_limit(4);
        let readiness = driver.readiness();
        let (file, mut write) = pipe();
        let mut bytes = [0u8; 1];
        let (flags, buf) = (RwFlags::NONE, bytes.as_mut_ptr());
        let read = RawOp::Read { file: file.at(), buf, len: 1, offset: 0, flags, ioprio: 0 };
        for round in 0..30 {
            let took = |driver: &mut UringDriver, batch: &mut Completions, ms| {
                let begun = Instant::now();
                driver.submit(Wait::AtMost(Duration::from_millis(ms)), batch).unwrap();
                begun.elapsed()
            };
            assert!(took(&mut driver, &mut batch, 3) >= Duration::from_millis(3), "woken for nothing");
            // SAFETY: file and byte outlive the operation, which is waited for below.
            unsafe { driver.prepare(Token::new(0, round), &read).unwrap() };
            assert!(took(&mut driver, &mut batch, 3) >= Duration::from_millis(3));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(1));
                    readiness.wake();
                });
                assert!(took(&mut driver, &mut batch, 20_000) < Duration::from_secs(10), "the wake was lost");
            });
            assert!(batch.is_empty());
            if round % 2 == 0 {
                // Waits of both kinds take turns: the poll that the other kind leaves in flight disturbs nobody.
                readiness.wake();
                driver.submit(Wait::Forever, &mut batch).unwrap();
            }
            write.write_all(b"x").unwrap();
            while batch.is_empty() {
                assert!(took(&mut driver, &mut batch, 20_000) < Duration::from_secs(10), "the completion was missed");
            }
            assert_eq!(batch.drain().next().unwrap(), Completion::new(Token::new(0, round), 1));
        }
    }

    #[test]
    fn the_kernels_own_codes_stay_inside() {
        assert_eq!(outward(-512), -libc::EINTR);
        assert_eq!(outward(-libc::ECANCELED), -libc::ECANCELED);
        assert_eq!(outward(4096), 4096);
    }

    /// A request of our own that the kernel answers ends no wait.
    #[test]
    fn the_answer_to_a_wish_is_no_completion() {
        for owner_thread in [false, true] {
            let Ok(mut driver) = uring(UringOptions::default().depth(4).owner_thread(owner_thread)) else { return };
            let mut batch = Completions::with_limit(4);
            let (file, write) = pipe();
            let mut bytes = [0u8; 1];
            let (flags, buf) = (RwFlags::NONE, bytes.as_mut_ptr());
            let read = RawOp::Read { file: file.at(), buf, len: 1, offset: 0, flags, ioprio: 0 };
            // SAFETY: file and byte outlive the operation, which is waited for below.
            unsafe { driver.prepare(Token::new(0, 1), &read).unwrap() };
            for _ in 0..20 {
                driver.cancel(Token::new(1, 99));
                driver.cancel(Token::new(1, 98));
                let begun = Instant::now();
                driver.submit(Wait::AtMost(Duration::from_millis(3)), &mut batch).unwrap();
                assert!(begun.elapsed() >= Duration::from_millis(3) && batch.is_empty());
                assert_eq!(driver.cancels_in_flight, 0);
            }
            drop(write);
            driver.submit(Wait::Forever, &mut batch).unwrap();
            assert_eq!(batch.as_slice(), [Completion::new(Token::new(0, 1), 0)]);
        }
    }
}
