//! A driver that does each operation itself, inside `submit`: the least that the contract asks for.

use io_core::{
    Armed, Completion, Completions, Driver, DriverName, FileRef, Full, OpKind, OpSet, Progress, RawOp, Readiness,
    Token, Wait, encode, errno,
};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{BorrowedFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex};
use std::task::Waker;
use std::time::Duration;

/// Reads and writes in place; everything else is left to the engine's thread pool.
pub struct InPlace {
    staged: VecDeque<(Token, RawOp)>,
    depth: u32,
    bell: Arc<Bell>,
}

impl InPlace {
    pub fn new(depth: u32) -> Self {
        Self { staged: VecDeque::with_capacity(depth as usize), depth, bell: Arc::default() }
    }
}

// SAFETY: silence: an operation is over before its completion is pushed, and nothing else ever touches its memory.
unsafe impl Driver for InPlace {
    fn name(&self) -> DriverName {
        DriverName::Other("in-place")
    }

    fn depth(&self) -> u32 {
        self.depth
    }

    fn supports(&self) -> OpSet {
        OpSet::EMPTY.with_kind(OpKind::Read).with_kind(OpKind::Write)
    }

    unsafe fn prepare(&mut self, token: Token, op: &RawOp) -> Result<(), Full> {
        if self.staged.len() as u32 == self.depth {
            return Err(Full);
        }
        self.staged.push_back((token, *op));
        Ok(())
    }

    fn submit(&mut self, wait: Wait, out: &mut Completions) -> io::Result<Progress> {
        let mut accepted = 0;
        while out.room() > 0 {
            let Some((token, op)) = self.staged.pop_front() else { break };
            // SAFETY: `prepare` was promised that memory and file are there until the completion, which comes now.
            out.push(Completion::new(token, unsafe { execute(&op) }));
            accepted += 1;
        }
        if out.is_empty() && self.staged.is_empty() {
            match wait {
                Wait::No => {}
                Wait::AtMost(time) => self.bell.wait(Some(time)),
                Wait::Forever => self.bell.wait(None),
            }
        }
        Ok(Progress { accepted, staged: self.staged.len() as u32 })
    }

    fn cancel(&mut self, _token: Token) {
        // A wish. What is staged is done at the next submit, which is soon enough.
    }

    fn readiness(&self) -> Arc<dyn Readiness> {
        self.bell.clone()
    }

    fn arm(&mut self, _armed: bool) -> Armed {
        // Nothing completes outside of `submit`, so there is nothing that could ring.
        if self.staged.is_empty() { Armed::Waiting } else { Armed::ReadyNow }
    }
}

/// # Safety
/// Memory and file of the operation are valid, and nobody else's.
unsafe fn execute(op: &RawOp) -> i32 {
    let done = match *op {
        RawOp::Read { file, buf, len, offset, .. } => {
            // SAFETY: the caller vouches for `len` writable bytes; zeroing them first makes them a proper slice.
            let target = unsafe {
                buf.write_bytes(0, len as usize);
                std::slice::from_raw_parts_mut(buf, len as usize)
            };
            with_file(file, |file| file.read_at(target, offset))
        }
        RawOp::Write { file, buf, len, offset, .. } => {
            // SAFETY: the caller vouches for `len` initialized bytes that nobody changes meanwhile.
            let source = unsafe { std::slice::from_raw_parts(buf, len as usize) };
            with_file(file, |file| file.write_at(source, offset))
        }
        _ => return -errno::EOPNOTSUPP,
    };
    match done {
        Ok(bytes) => bytes as i32,
        Err(error) => encode(&error),
    }
}

/// Lends the operation's file; it stays the property of its handle.
fn with_file(file: FileRef, with: impl FnOnce(&File) -> io::Result<usize>) -> io::Result<usize> {
    // SAFETY: the operation's owner keeps the file open, and ManuallyDrop keeps us from closing it.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(file.raw.fd()) });
    with(&file)
}

/// A sticky wake: remembered until somebody waits for it.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    ring: Condvar,
    wakers: Mutex<Vec<Waker>>,
}

impl Readiness for Bell {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn wait(&self, at_most: Option<Duration>) {
        let rung = self.rung.lock().unwrap();
        let mut rung = match at_most {
            Some(time) => self.ring.wait_timeout_while(rung, time, |rung| !*rung).unwrap().0,
            None => self.ring.wait_while(rung, |rung| !*rung).unwrap(),
        };
        *rung = false;
    }

    fn wake(&self) {
        *self.rung.lock().unwrap() = true;
        self.ring.notify_all();
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap());
        wakers.into_iter().for_each(Waker::wake);
    }

    fn subscribe(&self, when_ready: Waker) {
        self.wakers.lock().unwrap().push(when_ready);
    }
}
