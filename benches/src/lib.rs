//! What the criterion benches share: a driver that does nothing, and a file that holds what it should.

use io_core::{
    Armed, Completion, Completions, Driver, DriverName, Full, OpSet, Progress, RawOp, Readiness, Token, Wait,
};
use std::{io, sync::Arc, task::Waker, time::Duration};

/// Answers every operation at the next submit with the bytes it asked for, touching nothing: what is left is the core's own cost.
#[derive(Debug)]
pub struct NullDriver {
    depth: u32,
    staged: Vec<Completion>,
}

impl NullDriver {
    /// A driver with room for `depth` operations.
    pub fn new(depth: u32) -> NullDriver {
        NullDriver { depth, staged: Vec::with_capacity(depth as usize) }
    }
}

// SAFETY: no memory and no file is ever touched (I3).
unsafe impl Driver for NullDriver {
    fn name(&self) -> DriverName {
        DriverName::Other("null")
    }
    fn depth(&self) -> u32 {
        self.depth
    }
    fn supports(&self) -> OpSet {
        OpSet::ALL
    }
    unsafe fn prepare(&mut self, token: Token, op: &RawOp) -> Result<(), Full> {
        if self.staged.len() == self.depth as usize {
            return Err(Full);
        }
        let bytes = match op {
            RawOp::Read { len, .. } | RawOp::Write { len, .. } => *len as i32,
            _ => 0,
        };
        self.staged.push(Completion::new(token, bytes));
        Ok(())
    }
    fn submit(&mut self, _: Wait, out: &mut Completions) -> io::Result<Progress> {
        let accepted = self.staged.len() as u32;
        for completion in self.staged.drain(..) {
            out.push(completion);
        }
        Ok(Progress { accepted, staged: 0 })
    }
    fn cancel(&mut self, _: Token) {}
    fn readiness(&self) -> Arc<dyn Readiness> {
        Arc::new(Never)
    }
    fn arm(&mut self, _: bool) -> Armed {
        if self.staged.is_empty() { Armed::Waiting } else { Armed::ReadyNow }
    }
}

struct Never;

impl Readiness for Never {
    #[cfg(unix)]
    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
    fn wait(&self, at_most: Option<Duration>) {
        std::thread::sleep(at_most.unwrap_or(Duration::from_millis(1)));
    }
    fn wake(&self) {}
    fn subscribe(&self, when_ready: Waker) {
        when_ready.wake();
    }
}

/// The content of the bench file at `offset`: eight bytes that name their place.
pub fn content_at(offset: u64) -> [u8; 8] {
    (offset / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()
}
