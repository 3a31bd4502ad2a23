//! Space: sizes, allocation, holes, copies within the kernel, advice.

use crate::{BLOCK, Cx, Mode, bytes::assert_same, pattern};
use io_core::{Advice, Lifetime, Op, OpKind, OpenOptions, errno};

/// What file systems answer that cannot do it.
const CANNOT: [i32; 3] = [errno::EOPNOTSUPP, errno::EINVAL, errno::ENOSYS];

/// Cutting keeps the front, growing adds zeros, and what was cut does not come back.
pub fn truncate_cuts_and_grows(cx: &Cx<'_>) {
    cx.needs_buffered(&[OpKind::Truncate]);
    let mut bench = cx.bench(4);
    let contents = pattern(1, 3 * BLOCK);
    let (name, file) = cx.file(Mode::Buffered, &contents);
    for len in [2 * BLOCK + 17, 100, 100] {
        assert_eq!(bench.run(Op::truncate(&file, len as u64)).0, 0);
        assert_same("the file", &cx.contents(&name), &contents[..len]);
    }
    assert_eq!(bench.run(Op::truncate(&file, 2 * BLOCK as u64)).0, 0);
    let now = cx.contents(&name);
    assert_same("the front", &now[..100], &contents[..100]);
    assert_same("the rest", &now[100..], &vec![0; 2 * BLOCK - 100]);
    assert_eq!(bench.run(Op::truncate(&file, 0)).0, 0);
    assert!(cx.contents(&name).is_empty());
}

/// A size that is none, a file that may not be written: refused, and the file stays.
pub fn truncate_refuses(cx: &Cx<'_>) {
    cx.needs_buffered(&[OpKind::Truncate]);
    let mut bench = cx.bench(4);
    let contents = pattern(1, 100);
    let (name, file) = cx.file(Mode::Buffered, &contents);
    for len in [u64::MAX, 1 << 63] {
        let (result, _) = bench.run(Op::truncate(&file, len));
        assert!([errno::EINVAL, errno::EFBIG].contains(&-result), "{result}");
    }
    let reader = cx.disk().open(&name, OpenOptions::READ).expect("the file is there");
    let (result, _) = bench.run(Op::truncate(&reader, 0));
    assert!([errno::EINVAL, errno::EBADF, errno::EACCES].contains(&-result), "{result}");
    assert_same("the file", &cx.contents(&name), &contents);
}

/// Allocation grows the file with zeros, or only its space.
pub fn allocation_gives_zeros(cx: &Cx<'_>) {
    cx.needs_buffered(&[OpKind::Allocate]);
    let mut bench = cx.bench(4);
    let contents = pattern(2, BLOCK + 10);
    let (name, file) = cx.file(Mode::Buffered, &contents);
    let (result, _) = bench.run(Op::allocate(&file, 0, 8 * BLOCK as u64, true));
    if CANNOT.contains(&-result) {
        return;
    }
    assert_eq!(result, 0);
    assert_same("the file", &cx.contents(&name), &contents);
    assert_eq!(bench.run(Op::allocate(&file, 0, 4 * BLOCK as u64, false)).0, 0);
    let now = cx.contents(&name);
    assert_same("the front", &now[..BLOCK + 10], &contents);
    assert_same("the rest", &now[BLOCK + 10..], &vec![0; 3 * BLOCK - 10]);
    let (result, _) = bench.run(Op::allocate(&file, 0, 0, false));
    assert_eq!(result, -errno::EINVAL, "nothing to allocate");
}

/// A hole reads as zeros and leaves the size and its surroundings alone.
pub fn holes_read_as_zeros(cx: &Cx<'_>) {
    cx.needs_buffered(&[OpKind::PunchHole]);
    let mut bench = cx.bench(4);
    let contents = pattern(3, 8 * BLOCK);
    let (name, file) = cx.file(Mode::Buffered, &contents);
    let (result, _) = bench.run(Op::punch_hole(&file, 2 * BLOCK as u64 + 100, 3 * BLOCK as u64));
    if CANNOT.contains(&-result) {
        assert_same("the file", &cx.contents(&name), &contents);
        return;
    }
    assert_eq!(result, 0);
    let now = cx.contents(&name);
    assert_same("before the hole", &now[..2 * BLOCK + 100], &contents[..2 * BLOCK + 100]);
    assert_same("the hole", &now[2 * BLOCK + 100..5 * BLOCK + 100], &vec![0; 3 * BLOCK]);
    assert_same("behind the hole", &now[5 * BLOCK + 100..], &contents[5 * BLOCK + 100..]);
}

/// A zeroed range reads as zeros; past the end it grows the file, if it may.
pub fn zeroed_ranges_read_as_zeros(cx: &Cx<'_>) {
    cx.needs_buffered(&[OpKind::ZeroRange]);
    let mut bench = cx.bench(4);
    let contents = pattern(4, 4 * BLOCK);
    let (name, file) = cx.file(Mode::Buffered, &contents);
    let (result, _) = bench.run(Op::zero_range(&file, 100, BLOCK as u64, true));
    if CANNOT.contains(&-result) {
        assert_same("the file", &cx.contents(&name), &contents);
        return;
    }
    assert_eq!(result, 0);
    let now = cx.contents(&name);
    assert_same("before", &now[..100], &contents[..100]);
    assert_same("the range", &now[100..BLOCK + 100], &[0; BLOCK]);
    assert_same("behind", &now[BLOCK + 100..], &contents[BLOCK + 100..]);
    assert_eq!(bench.run(Op::zero_range(&file, 3 * BLOCK as u64, 3 * BLOCK as u64, true)).0, 0);
    assert_eq!(cx.contents(&name).len(), 4 * BLOCK);
    assert_eq!(bench.run(Op::zero_range(&file, 3 * BLOCK as u64, 3 * BLOCK as u64, false)).0, 0);
    assert_same("the new end", &cx.contents(&name)[3 * BLOCK..], &vec![0; 3 * BLOCK]);
}

/// A copy within the kernel moves the bytes, says how many, and says 0 at the end of the source.
pub fn ranges_are_copied(cx: &Cx<'_>) {
    cx.needs_buffered(&[OpKind::CopyRange]);
    let mut bench = cx.bench(4);
    let contents = pattern(5, 4 * BLOCK + 33);
    let (_, from) = cx.file(Mode::Buffered, &contents);
    let (name, to) = cx.file(Mode::Buffered, &pattern(6, 10));
    let mut copied = 0;
    loop {
        let left = contents.len() as u64;
        let (result, op) = bench.run(Op::copy_range(&from, copied, &to, 5 + copied, left));
        if copied == 0 && CANNOT.contains(&-result) {
            return;
        }
        assert!(result >= 0, "{result}: {op:?}");
        copied += result as u64;
        if result == 0 {
            break;
        }
    }
    assert_eq!(copied, contents.len() as u64);
    let now = cx.contents(&name);
    assert_same("the old start", &now[..5], &pattern(6, 10)[..5]);
    assert_same("the copy", &now[5..], &contents);
    let nobody = crate::nobodys_file(*from.facts());
    assert_eq!(bench.run(Op::copy_range(&nobody, 0, &to, 0, 10)).0, -errno::EBADF);
    assert_eq!(bench.run(Op::copy_range(&from, 0, &nobody, 0, 10)).0, -errno::EBADF);
}

/// A clone shares the extents, all at once, or is refused by file systems that cannot, and then nothing happened.
pub fn ranges_are_cloned_or_refused(cx: &Cx<'_>) {
    cx.needs_buffered(&[OpKind::Clone]);
    let mut bench = cx.bench(4);
    let contents = pattern(7, 4 * BLOCK);
    let (_, from) = cx.file(Mode::Buffered, &contents);
    let (name, to) = cx.file(Mode::Buffered, b"old");
    let (result, _) = bench.run(Op::clone_range(&from, 0, &to, 0, 0));
    #[cfg(unix)]
    let cannot = [&CANNOT[..], &[errno::EXDEV, libc::ENOTTY]].concat();
    #[cfg(not(unix))]
    let cannot = [&CANNOT[..], &[errno::EXDEV]].concat();
    if cannot.contains(&-result) {
        assert_eq!(cx.contents(&name), b"old");
    } else {
        assert_eq!(result, 0);
        assert_same("the clone", &cx.contents(&name), &contents);
    }
}

/// Advice and hints change no data, and are taken by every regular file (or the kernel does not know them: `EINVAL`).
pub fn advice_changes_nothing(cx: &Cx<'_>) {
    cx.needs_buffered(&[OpKind::Advise]);
    let mut bench = cx.bench(4);
    let contents = pattern(8, 4 * BLOCK);
    let (name, file) = cx.file(Mode::Buffered, &contents);
    let all = [Advice::Normal, Advice::Sequential, Advice::Random, Advice::WillNeed, Advice::DontNeed, Advice::NoReuse];
    for advice in all {
        assert_eq!(bench.run(Op::advise(&file, 0, 2 * BLOCK as u64, advice)).0, 0, "{advice:?}");
    }
    let nobody = crate::nobodys_file(*file.facts());
    assert_eq!(bench.run(Op::advise(&nobody, 0, 0, Advice::Random)).0, -errno::EBADF);
    assert_same("the file", &cx.contents(&name), &contents);
}

/// Lifetimes of written data, as hints.
pub fn hints_change_nothing(cx: &Cx<'_>) {
    cx.needs_buffered(&[OpKind::WriteHint]);
    let mut bench = cx.bench(4);
    let contents = pattern(9, BLOCK);
    let (name, file) = cx.file(Mode::Buffered, &contents);
    let all = [Lifetime::NotSet, Lifetime::None, Lifetime::Short, Lifetime::Medium, Lifetime::Long, Lifetime::Extreme];
    for lifetime in all {
        let (result, _) = bench.run(Op::write_hint(&file, lifetime));
        assert!(result == 0 || CANNOT.contains(&-result), "{result} of {lifetime:?}");
    }
    let nobody = crate::nobodys_file(*file.facts());
    assert_eq!(bench.run(Op::write_hint(&nobody, Lifetime::Short)).0, -errno::EBADF);
    assert_same("the file", &cx.contents(&name), &contents);
}
