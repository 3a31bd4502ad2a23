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
        let mut accepted = std::mem::take(&mut self.refused);
        self.deliver(out);
        if !self.cancels.is_empty() {
            self.stage_cancels(out)?;
        }
        let deadline = match wait {
            Wait::AtMost(most) if !most.is_zero() => Instant::now().checked_add(most),
            Wait::No | Wait::AtMost(_) | Wait::Forever => None,
        };
        let waits = !matches!(wait, Wait::No | Wait::AtMost(Duration::ZERO));
        if waits && out.len() == begun && out.room() > 0 {
            self.sleep(deadline, begun, out)?;
        } else {
            if self.armed && self.signals.bell.is_notified() {
                // Who sleeps on the descriptor was rung for, and is here now (or somebody is in his place).
                self.signals.bell.consume();
            }
            self.flush(out)?;
        }
        let left = self.unsubmitted();
        accepted += self.staged - left;
        self.staged = left;
        Ok(Progress { accepted, staged: left })
    }

    /// Operations that the kernel has not taken. Requests of our own may sit among them; a count too high corrects itself with the
    /// next submit.
    pub(crate) fn unsubmitted(&mut self) -> u32 {
        // The kernel thread of an SQPOLL ring takes what is in the queue, whatever we do.
        if self.setup.sqpoll { 0 } else { self.staged.min(self.ring.state().staged) }
    }

    /// Submits without waiting. Enters the kernel only with something to submit, or for completions that it holds back.
    fn flush(&mut self, out: &mut Completions) -> io::Result<()> {
        loop {
            let state = self.ring.state();
            let awaits = state.hidden || (self.setup.iopoll && self.used > 0);
            let awaits = awaits && out.room() > 0;
            let to_submit = if self.setup.sqpoll && !state.needs_wakeup { 0 } else { state.staged };
            if to_submit == 0 && !awaits {
                return Ok(());
            }
            let mut flags = if awaits { EnterFlags::GETEVENTS } else { EnterFlags::empty() };
            if state.needs_wakeup {
                flags |= EnterFlags::SQ_WAKEUP;
            }
            let entered = self.ring.enter(to_submit, 0, flags, None);
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
            if woken || out.len() > begun || self.unsubmitted() > 0 {
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
        if (deadline.is_some() && !self.setup.timed_wait) || !self.poll_wakes(out)? {
            return self.doze(deadline, out);
        }
        let state = self.ring.state();
        let mut flags = EnterFlags::GETEVENTS;
        if state.needs_wakeup {
            flags |= EnterFlags::SQ_WAKEUP;
        }
        let at_most = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let entered = self.ring.enter(state.staged, 1, flags, at_most);
        self.reap(out);
        match entered? {
            Entered::Took(took) if took < state.staged && !self.setup.sqpoll => self.flush(out),
            // There is no room for the poll of the eventfd, or for a wish to cancel. Asleep beside the ring neither is needed.
            Entered::PushedBack if self.unsubmitted() == 0 => {
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
        if out.len() > before || self.unsubmitted() > 0 {
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
        let mut room = out.room();
        while room > 0 {
            let Some((token, result)) = self.next_completion() else { break };
            if let Some(completion) = self.settle(token, result) {
                self.used -= 1;
                out.push(completion);
                room -= 1;
            }
        }
    }

    /// Takes everything out of the completion queue.
    pub(crate) fn collect(&mut self) {
        while let Some((token, result)) = self.next_completion() {
            if let Some(completion) = self.settle(token, result) {
                self.ready.push_back(completion);
            }
        }
    }

    #[inline]
    fn next_completion(&mut self) -> Option<(Token, i32)> {
        let cqe = self.ring.completion().next()?;
        Some((Token::from_u64(cqe.user_data()), cqe.result()))
    }

    /// Turns the kernel's answer into the operation's, or into nothing if the request was our own.
    #[inline]
    fn settle(&mut self, token: Token, result: i32) -> Option<Completion> {
        if !token.is_internal() {
            return Some(Completion::new(token, result));
        }
        match Internal::of(token) {
            // SAFETY: this is the kernel's completion of the request, and the caller delivers ours after it.
            Internal::Answer(_) => return Some(unsafe { self.answers.finish(token, result) }),
            Internal::Cancel => self.cancels_in_flight -= 1,
            Internal::Wake => {
                self.wake_polled = false;
                self.signals.inside.drain();
            }
        }
        None
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
