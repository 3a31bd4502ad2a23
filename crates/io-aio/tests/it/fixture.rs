//! What the tests stand on: drivers, files with a pattern in them, a clock for what should be over by now.

use io_aio::{AioDriver, AioOptions, aio};
use io_core::{AlignedBuf, Driver, FileHandle, Op, OpSet, OpenOptions, Progress, RawOp, Readiness, Token, Unavailable};
use io_core::{Armed, Completions, DriverName, Full, OpClass, OpKind, Wait};
use io_testkit::{BLOCK, Bench, Disk, RealDisk, pattern, real_disks};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Longer than anything here takes; it ends a test that would otherwise hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn options(depth: u32) -> AioOptions {
    AioOptions { depth, ..AioOptions::default() }
}

/// Each way of running: the ring in user space or by system calls, ringing from the start or from the first arming.
pub(crate) fn every_way(depth: u32) -> [AioOptions; 4] {
    [(true, true), (true, false), (false, true), (false, false)].map(|(user_ring, readiness_fd)| AioOptions {
        depth,
        user_ring,
        readiness_fd,
    })
}

pub(crate) fn driver(options: AioOptions) -> AioDriver {
    aio(options).unwrap_or_else(|unavailable| panic!("{unavailable}"))
}

pub(crate) fn bench(options: AioOptions) -> Bench {
    Bench::new(Box::new(driver(options)))
}

/// A file of so many blocks of [`pattern`] 1, and the directory that it lies in.
pub(crate) struct Blocks {
    disk: Option<RealDisk>,
    pub(crate) contents: Vec<u8>,
    pub(crate) file: FileHandle,
}

impl Blocks {
    pub(crate) fn buffered(blocks: usize) -> Blocks {
        Blocks::open(blocks, OpenOptions::READ_WRITE).expect("a file in the test directory")
    }

    /// Past the page cache where the test directory allows it, so that operations really are in flight for a while.
    pub(crate) fn new(blocks: usize) -> Blocks {
        Blocks::open(blocks, OpenOptions::READ_WRITE.direct()).unwrap_or_else(|_| Blocks::buffered(blocks))
    }

    fn open(blocks: usize, options: OpenOptions) -> io::Result<Blocks> {
        let disk = real_disks().remove(0);
        let contents = pattern(1, blocks * BLOCK);
        let file = disk.create("blocks", &contents, options)?;
        Ok(Blocks { disk: Some(disk), contents, file })
    }

    pub(crate) fn read(&self, block: usize) -> Op {
        Op::read(&self.file, AlignedBuf::with_capacity(BLOCK), (block * BLOCK) as u64)
    }

    /// True if reads have to be aligned. tmpfs takes O_DIRECT and does not mean it.
    pub(crate) fn is_strict(&self) -> bool {
        const TMPFS: i64 = 0x0102_1994;
        self.file.facts().direct && self.file.facts().fs_magic != TMPFS
    }

    /// What the file holds now, read past the driver.
    pub(crate) fn now(&self) -> Vec<u8> {
        self.disk.as_ref().expect("not removed").contents("blocks").expect("the file is there")
    }

    /// Removes the directory now, for a test that does not come to its end; the file stays open.
    pub(crate) fn remove(&mut self) {
        self.disk = None;
    }

    #[track_caller]
    pub(crate) fn assert_read(&self, block: usize, result: i32, op: Op) {
        assert_eq!(result, BLOCK as i32, "block {block}");
        let buf = op.into_buf::<AlignedBuf>().expect("what the op was made with");
        assert!(buf[..] == self.contents[block * BLOCK..][..BLOCK], "block {block} holds something else");
    }
}

/// The driver as a caller sees it who insists on what blocks in io_submit: buffered transfers, and writes that allocate.
#[derive(Debug)]
pub(crate) struct Insisting(pub(crate) AioDriver);

// SAFETY: all promises are the driver's.
unsafe impl Driver for Insisting {
    fn name(&self) -> DriverName {
        self.0.name()
    }
    fn depth(&self) -> u32 {
        self.0.depth()
    }
    fn supports(&self) -> OpSet {
        let transfers = [OpKind::Read, OpKind::ReadVectored, OpKind::Write, OpKind::WriteVectored];
        transfers
            .iter()
            .fold(self.0.supports(), |set, &kind| set.with(kind, OpClass::Buffered).with(kind, OpClass::Allocating))
    }
    unsafe fn prepare(&mut self, token: Token, op: &RawOp) -> Result<(), Full> {
        // SAFETY: passed on.
        unsafe { self.0.prepare(token, op) }
    }
    fn submit(&mut self, wait: Wait, out: &mut Completions) -> io::Result<Progress> {
        self.0.submit(wait, out)
    }
    fn cancel(&mut self, token: Token) {
        self.0.cancel(token);
    }
    fn readiness(&self) -> Arc<dyn Readiness> {
        self.0.readiness()
    }
    fn arm(&mut self, armed: bool) -> Armed {
        self.0.arm(armed)
    }
}

pub(crate) fn insisting(options: AioOptions) -> Result<Box<dyn Driver>, Unavailable> {
    Ok(Box::new(Insisting(aio(options)?)))
}
