//! Which operations work, found out by doing each of them once per process.

use crate::AioDriver;
use io_core::{
    AlignedBuf, Completions, Driver, DriverName, FileFacts, FileHandle, Op, OpClass, OpKind, OpSet, RawOp, Token,
    Unavailable, Wait,
};
use std::{
    env,
    ffi::CStr,
    fs::{File, OpenOptions},
    os::{
        fd::FromRawFd,
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// Large enough for every device's block.
const BLOCK: usize = 4096;
/// A scratch file's block takes microseconds; who has not answered by then has a sick device under it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the driver takes without blocking its submitter: the kinds that AIO has and that this kernel does.
///
/// Not in it, though they work: buffered transfers, and direct writes that allocate. Both are done inside io_submit, for as
/// long as they take (an extending direct write of 64 KiB blocked it for all of its 130 µs). A sync blocks nobody: the kernel
/// hands it to a worker, whatever the file (Linux 4.18).
///
/// # Errors
/// An operation did not come back. It is still the kernel's, so the driver must be leaked.
pub(crate) fn kinds(driver: &mut AioDriver) -> Result<OpSet, Unavailable> {
    // What works does not stop working, so it is tried once per process. What failed may have failed for the moment's sake
    // (a full disk, a limit), so that is tried again.
    static ALL_WORK: OnceLock<OpSet> = OnceLock::new();
    if let Some(&set) = ALL_WORK.get() {
        return Ok(set);
    }
    let direct = direct_scratch();
    let memory = memory_scratch();
    let mut set = OpSet::EMPTY;
    let mut all = true;
    for kind in [OpKind::Read, OpKind::ReadVectored, OpKind::Write, OpKind::WriteVectored] {
        // Where no place takes O_DIRECT there may be none for the user's files either; that the kernel knows the operation can
        // be seen in memory all the same.
        let works = try_on(driver, direct.as_ref(), kind)? || try_on(driver, memory.as_ref(), kind)?;
        set = if works { set.with(kind, OpClass::Direct) } else { set };
        all &= works;
    }
    for kind in [OpKind::SyncData, OpKind::SyncAll] {
        // In memory: the kernel's way to its worker is the same for every file, and no journal has to be written for it.
        let works = try_on(driver, memory.as_ref(), kind)? || try_on(driver, direct.as_ref(), kind)?;
        set = if works { set.with_kind(kind) } else { set };
        all &= works;
    }
    Ok(if all { *ALL_WORK.get_or_init(|| set) } else { set })
}

/// A file that the operations are tried on.
struct Scratch {
    file: FileHandle,
    place: String,
}

/// True if an operation of this kind does what it should.
fn try_on(driver: &mut AioDriver, scratch: Option<&Scratch>, kind: OpKind) -> Result<bool, Unavailable> {
    let Some(Scratch { file, place }) = scratch else { return Ok(false) };
    let block = || AlignedBuf::copy_of(&[PATTERN; BLOCK]);
    let empty = || AlignedBuf::with_capacity(BLOCK);
    let (op, expected) = match kind {
        OpKind::Read => (Op::read(file, empty(), 0), BLOCK),
        OpKind::ReadVectored => (Op::read_vectored(file, vec![empty(), empty()], 0), 2 * BLOCK),
        OpKind::Write => (Op::write(file, block(), 0), BLOCK),
        OpKind::WriteVectored => (Op::write_vectored(file, vec![block(), block()], 0), 2 * BLOCK),
        OpKind::SyncData => (Op::sync_data(file), 0),
        _ => (Op::sync_all(file), 0),
    };
    let Some((op, result)) = run(driver, op) else {
        let reason = format!("a {kind:?} of a scratch file in {place} has not come back after {PATIENCE:?}");
        let remedy = "set TMPDIR to a directory on a device that works, or use the driver threadpool";
        return Err(Unavailable::new(DriverName::Aio, reason, remedy));
    };
    let right = match kind {
        OpKind::Read => op.into_buf::<AlignedBuf>().is_ok_and(|buf| is_pattern(&buf)),
        OpKind::ReadVectored => op.into_bufs::<AlignedBuf>().is_ok_and(|bufs| bufs.iter().all(|buf| is_pattern(buf))),
        _ => true,
    };
    Ok(result == expected as i32 && right)
}

const PATTERN: u8 = 0xa5;

fn is_pattern(bytes: &[u8]) -> bool {
    bytes.len() == BLOCK && bytes.iter().all(|&byte| byte == PATTERN)
}

/// Does one operation on a driver that has nothing else to do; `None`, with the operation leaked, if it does not come back.
fn run(driver: &mut AioDriver, op: Op) -> Option<(Op, i32)> {
    let mut op = Box::new(op);
    let mut out = Completions::with_limit(1);
    let raw = op.raw(0, RawOp::MAX_TRANSFER);
    // SAFETY: the operation rests in its box, which is left alone until the completion, or leaked.
    unsafe { driver.prepare(Token::new(0, 0), &raw) }.expect("a driver without operations has room");
    let deadline = Instant::now() + PATIENCE;
    while out.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if driver.submit(Wait::AtMost(left), &mut out).is_err() || (out.is_empty() && left.is_zero()) {
            std::mem::forget(op);
            return None;
        }
    }
    let result = out.as_slice()[0].result;
    // SAFETY: completed; it was asked for all at once, so what was transferred is what was answered.
    unsafe { op.settle(result.max(0) as u64, result) };
    Some((*op, result))
}

/// A file without a name that takes direct I/O, with two written blocks: where temporary files go, or here.
fn direct_scratch() -> Option<Scratch> {
    let places = [env::temp_dir(), PathBuf::from("/var/tmp"), PathBuf::from(".")];
    places.iter().find_map(|place| direct_scratch_in(place))
}

fn direct_scratch_in(dir: &Path) -> Option<Scratch> {
    let flags = libc::O_TMPFILE | libc::O_DIRECT | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(flags).open(dir).ok()?;
    scratch(file, true, dir.display().to_string())
}

/// A file in memory, for where there is no other.
fn memory_scratch() -> Option<Scratch> {
    const NAME: &CStr = c"io-aio probe";
    // SAFETY: the name is a literal; a non-negative answer is a new descriptor and nobody else's.
    let file = unsafe {
        let fd = libc::memfd_create(NAME.as_ptr(), libc::MFD_CLOEXEC);
        if fd < 0 {
            return None;
        }
        File::from_raw_fd(fd)
    };
    scratch(file, false, "memory".to_owned())
}

/// Writes the blocks in the plain way, so that what is tried afterwards neither allocates nor grows the file.
fn scratch(file: File, direct: bool, place: String) -> Option<Scratch> {
    let blocks = AlignedBuf::copy_of(&[PATTERN; 2 * BLOCK]);
    file.write_all_at(&blocks, 0).ok()?;
    let facts = FileFacts { direct, seekable: true, filled: 2 * BLOCK as u64, ..FileFacts::default() };
    Some(Scratch { file: FileHandle::from_std(file, facts), place })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AioOptions;

    #[test]
    fn all_kinds_work_in_memory_and_on_a_direct_file() {
        let mut driver = crate::aio(AioOptions { depth: 4, ..AioOptions::default() }).unwrap();
        let memory = memory_scratch().unwrap();
        let direct = direct_scratch();
        for kind in OpKind::ALL.iter().copied().filter(|kind| kind.is_transfer() || kind.is_sync()) {
            assert!(try_on(&mut driver, Some(&memory), kind).unwrap(), "{kind:?} in memory");
            if let Some(direct) = &direct {
                assert!(try_on(&mut driver, Some(direct), kind).unwrap(), "{kind:?} in {}", direct.place);
            }
        }
        assert!(!try_on(&mut driver, None, OpKind::Read).unwrap(), "nothing was done");
    }

    #[test]
    fn a_read_of_the_wrong_bytes_does_not_count() {
        let mut driver = crate::aio(AioOptions { depth: 4, ..AioOptions::default() }).unwrap();
        let memory = memory_scratch().unwrap();
        let mut zeros = Op::write(&memory.file, AlignedBuf::zeroed(BLOCK), 0);
        zeros = run(&mut driver, zeros).unwrap().0;
        assert!(zeros.into_buf::<AlignedBuf>().is_ok());
        assert!(!try_on(&mut driver, Some(&memory), OpKind::Read).unwrap());
    }
}
