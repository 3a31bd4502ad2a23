//! Byte-range locks of open files.

use crate::{Bench, Cx, Mode, pattern};
use io_core::{FileHandle, LockHolder, Op, OpKind, OpenOptions, Output, errno};

/// Two opens of one file.
fn two_handles(cx: &Cx<'_>) -> (FileHandle, FileHandle) {
    let (name, first) = cx.file(Mode::Buffered, &pattern(1, 1000));
    let second = cx.disk().open(&name, OpenOptions::READ_WRITE).expect("the file is there");
    (first, second)
}

fn lock(bench: &mut Bench, file: &FileHandle, offset: u64, len: u64, exclusive: bool) -> i32 {
    bench.run(Op::try_lock(file, offset, len, exclusive)).0
}

fn holder(bench: &mut Bench, file: &FileHandle, offset: u64, len: u64, exclusive: bool) -> Option<LockHolder> {
    let (result, mut op) = bench.run(Op::query_lock(file, offset, len, exclusive));
    assert_eq!(result, 0);
    match op.take_output() {
        Output::Lock(holder) => holder,
        other => panic!("{other:?} is no lock"),
    }
}

/// An exclusive lock keeps others out, within one process too, until it is given back. EpilogLite's locks were stubs; POSIX
/// locks of a process are no locks within it.
pub fn exclusive_keeps_others_out(cx: &Cx<'_>) {
    cx.needs(&[OpKind::TryLock, OpKind::Unlock]);
    let mut bench = cx.bench(4);
    let (first, second) = two_handles(cx);
    assert_eq!(lock(&mut bench, &first, 0, 0, true), 0);
    assert_eq!(lock(&mut bench, &second, 0, 0, true), -errno::EAGAIN);
    assert_eq!(lock(&mut bench, &second, 0, 0, false), -errno::EAGAIN);
    assert_eq!(bench.run(Op::unlock(&first, 0, 0)).0, 0);
    assert_eq!(lock(&mut bench, &second, 0, 0, true), 0);
    assert_eq!(lock(&mut bench, &first, 0, 0, false), -errno::EAGAIN);
}

/// Shared locks go together, and keep an exclusive one out until the last of them is gone.
pub fn shared_locks_go_together(cx: &Cx<'_>) {
    cx.needs(&[OpKind::TryLock, OpKind::Unlock]);
    let mut bench = cx.bench(4);
    let (first, second) = two_handles(cx);
    assert_eq!(lock(&mut bench, &first, 0, 100, false), 0);
    assert_eq!(lock(&mut bench, &second, 0, 100, false), 0);
    assert_eq!(lock(&mut bench, &second, 0, 100, true), -errno::EAGAIN);
    assert_eq!(bench.run(Op::unlock(&first, 0, 100)).0, 0);
    if cfg!(unix) {
        // Elsewhere a lock cannot be converted in place.
        assert_eq!(lock(&mut bench, &second, 0, 100, true), 0);
        assert_eq!(lock(&mut bench, &first, 99, 1, false), -errno::EAGAIN);
    }
}

/// Ranges that do not meet do not mind one another; behind the end of the file is as good as before it.
pub fn ranges_are_ranges(cx: &Cx<'_>) {
    cx.needs(&[OpKind::TryLock, OpKind::Unlock]);
    let mut bench = cx.bench(4);
    let (first, second) = two_handles(cx);
    assert_eq!(lock(&mut bench, &first, 0, 10, true), 0);
    assert_eq!(lock(&mut bench, &second, 10, 10, true), 0);
    assert_eq!(lock(&mut bench, &second, 9, 1, true), -errno::EAGAIN);
    assert_eq!(lock(&mut bench, &first, 19, 5, true), -errno::EAGAIN);
    assert_eq!(lock(&mut bench, &first, 1 << 40, 1, true), 0);
    assert_eq!(lock(&mut bench, &second, 1 << 40, 1, false), -errno::EAGAIN);
    assert_eq!(lock(&mut bench, &second, (1 << 40) + 1, 1, false), 0);
}

/// Who asks is told what stands in the way, or that nothing does; asking takes no lock.
pub fn asking_for_the_holder(cx: &Cx<'_>) {
    cx.needs(&[OpKind::TryLock, OpKind::QueryLock]);
    let mut bench = cx.bench(4);
    let (first, second) = two_handles(cx);
    assert_eq!(holder(&mut bench, &second, 0, 0, true), None);
    assert_eq!(lock(&mut bench, &first, 100, 50, true), 0);
    let found = holder(&mut bench, &second, 0, 0, false).expect("the range is locked");
    assert!(found.exclusive);
    if cfg!(unix) {
        assert_eq!((found.offset, found.len), (100, 50));
    }
    assert_eq!(holder(&mut bench, &second, 0, 100, true), None);
    assert_eq!(lock(&mut bench, &first, 0, 10, true), 0, "asking took a lock");
}

/// A lock ends with its open file, whatever the driver has cached.
pub fn a_lock_ends_with_its_file(cx: &Cx<'_>) {
    cx.needs(&[OpKind::TryLock]);
    let mut bench = cx.bench(4);
    for _ in 0..5 {
        let (first, second) = two_handles(cx);
        assert_eq!(lock(&mut bench, &first, 0, 0, true), 0);
        assert_eq!(lock(&mut bench, &second, 0, 0, true), -errno::EAGAIN);
        drop(first);
        // A child that another test of this process has forked holds a copy of the file until it exits.
        let begun = std::time::Instant::now();
        let mut result = lock(&mut bench, &second, 0, 0, true);
        while result == -errno::EAGAIN && begun.elapsed() < cx.patience() / 6 {
            std::thread::sleep(std::time::Duration::from_millis(1));
            result = lock(&mut bench, &second, 0, 0, true);
        }
        assert_eq!(result, 0);
    }
}

/// Locks of no file, and unlocking what is not locked.
pub fn odd_locks(cx: &Cx<'_>) {
    cx.needs(&[OpKind::TryLock, OpKind::Unlock]);
    let mut bench = cx.bench(4);
    let (first, _second) = two_handles(cx);
    if cfg!(unix) {
        assert_eq!(bench.run(Op::unlock(&first, 5, 5)).0, 0, "there was nothing to unlock, and that is fine");
    }
    let nobody = crate::nobodys_file(*first.facts());
    assert_eq!(lock(&mut bench, &nobody, 0, 0, true), -errno::EBADF);
    assert_eq!(bench.run(Op::unlock(&nobody, 0, 0)).0, -errno::EBADF);
}
