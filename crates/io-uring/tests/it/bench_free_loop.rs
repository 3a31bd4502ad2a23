//! A round of everything, without a core: for tests that count what the driver itself does.

use io_core::{
    Armed, Completions, Driver, FileHandle, IoVec, OpKind, Output, RawOp, RwFlags, StatTarget, Token, Wait, errno,
};
use io_uring_driver::UringDriver;
use std::sync::OnceLock;

struct Prepared {
    file: FileHandle,
    bytes: [u8; 64],
    out: Output,
    batch: Completions,
}

/// Runs so many rounds on the driver. What is needed is allocated before the first call.
pub(crate) fn run(driver: &mut UringDriver, rounds: u32) {
    static FILE: OnceLock<FileHandle> = OnceLock::new();
    let file = FILE.get_or_init(|| super::memory_file(&[7; 64])).clone();
    thread_local! {
        static BATCH: std::cell::RefCell<Option<Completions>> = const { std::cell::RefCell::new(None) };
    }
    let batch = BATCH.take().unwrap_or_else(|| Completions::with_limit(8));
    let mut prepared = Prepared { file, bytes: [0; 64], out: Output::None, batch };
    (0..rounds).for_each(|round| prepared.round(driver, round));
    BATCH.set(Some(prepared.batch));
}

impl Prepared {
    fn round(&mut self, driver: &mut UringDriver, round: u32) {
        let (file, flags, ioprio) = (self.file.at(), RwFlags::NONE, 0);
        let buf = self.bytes.as_mut_ptr();
        let iov = IoVec { base: buf.wrapping_add(32), len: 16 };
        let generation = u64::from(round);
        let ops = [
            (RawOp::Read { file, buf, len: 16, offset: 0, flags, ioprio }, 16),
            (RawOp::ReadVectored { file, iov: &iov, count: 1, offset: 0, flags, ioprio }, 16),
            (RawOp::Write { file, buf: buf.wrapping_add(16), len: 16, offset: 16, flags, ioprio }, 16),
            (RawOp::SyncData { file }, 0),
            (RawOp::Stat { target: StatTarget::File(file), out: &mut self.out }, 0),
            (RawOp::Unlock { file, offset: 0, len: 0 }, -errno::EOPNOTSUPP),
        ];
        assert!(ops.iter().all(|(op, _)| op.kind() == OpKind::Unlock || driver.supports().contains_kind(op.kind())));
        let token = |slot| Token::new(slot as u32, generation);
        for (slot, (op, _)) in ops.iter().enumerate() {
            // SAFETY: what the operations name lives in `self` and in this frame, which ends when all are answered; nobody
            // else touches it meanwhile.
            unsafe { driver.prepare(token(slot), op).unwrap() };
        }
        driver.cancel(token(77));
        let readiness = round % 8 == 0;
        let mut answered = 0;
        while answered < ops.len() {
            if readiness && answered == 2 && driver.arm(true) == Armed::ReadyNow {
                let _ = driver.arm(false);
            }
            driver.submit(Wait::Forever, &mut self.batch).unwrap();
            for completion in self.batch.drain() {
                let slot = completion.token.slot() as usize;
                assert_eq!((completion.token, completion.result), (token(slot), ops[slot].1), "{:?}", ops[slot].0);
                answered += 1;
            }
        }
        let _ = driver.arm(false);
        assert!(matches!(self.out, Output::Metadata(metadata) if metadata.size == 64));
    }
}
