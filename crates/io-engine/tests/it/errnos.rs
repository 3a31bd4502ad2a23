//! Every errno of every operation on every driver: it comes out as that errno, from that operation, once; what may be repeated
//! is repeated and bounded, what must not be is not.

use crate::{
    puppet::{Puppet, Reply},
    transfers::spy,
    world::{File, World, accept, answers, code, core, data, room, run},
};
use io_engine::{
    Inflight, SyncFailed,
    core::{AccessMode, Advice, FileFacts, Lifetime, Op, OpKind, OpenOptions, RenameMode, RwFlags, Wait, errno},
};
use io_testkit::{Fault, Rule, nobodys_file};
use std::io;

every_driver!(
    every_errno_of_every_operation,
    an_errno_that_goes_away,
    a_refused_operation_between_good_ones,
    what_was_done_and_answered_with_an_error,
    no_repetition_where_the_flags_forbid_it,
);

/// How often the engine repeats what may be repeated.
const REPETITIONS: usize = 16;

/// What systems answer to file operations, and a few that they should not.
const ERRNOS: &[i32] = &[
    libc::EPERM,
    libc::ENOENT,
    libc::EINTR,
    libc::EIO,
    libc::ENXIO,
    libc::E2BIG,
    libc::EBADF,
    libc::EAGAIN,
    libc::ENOMEM,
    libc::EACCES,
    libc::EFAULT,
    libc::EBUSY,
    libc::EEXIST,
    libc::EXDEV,
    libc::ENODEV,
    libc::ENOTDIR,
    libc::EISDIR,
    libc::EINVAL,
    libc::ENFILE,
    libc::EMFILE,
    libc::ENOTTY,
    libc::ETXTBSY,
    libc::EFBIG,
    libc::ENOSPC,
    libc::ESPIPE,
    libc::EROFS,
    libc::EMLINK,
    libc::EPIPE,
    libc::EDOM,
    libc::ERANGE,
    libc::EDEADLK,
    libc::ENAMETOOLONG,
    libc::ENOLCK,
    libc::ENOSYS,
    libc::ENOTEMPTY,
    libc::ELOOP,
    libc::EPROTO,
    libc::EOVERFLOW,
    libc::EOPNOTSUPP,
    libc::ETIMEDOUT,
    libc::ESTALE,
    libc::EDQUOT,
    libc::ECANCELED,
];

/// An operation of this kind on fresh files.
fn op_of(world: &World, kind: OpKind, file: &File) -> Op {
    let path = world.path(&file.name);
    let other = || world.path(&world.fresh());
    let bytes = world.unit();
    match kind {
        OpKind::Read => Op::read(&file.handle, room(bytes), 0),
        OpKind::ReadVectored => Op::read_vectored(&file.handle, vec![room(bytes)], 0),
        OpKind::Write => Op::write(&file.handle, data(&vec![1; bytes]), 0),
        OpKind::WriteVectored => Op::write_vectored(&file.handle, vec![data(&vec![1; bytes])], 0),
        OpKind::SyncData => Op::sync_data(&file.handle),
        OpKind::SyncAll => Op::sync_all(&file.handle),
        OpKind::SyncRange => Op::sync_range(&file.handle, 0, 4096),
        OpKind::Allocate => Op::allocate(&file.handle, 0, 8192, false),
        OpKind::PunchHole => Op::punch_hole(&file.handle, 0, 4096),
        OpKind::ZeroRange => Op::zero_range(&file.handle, 0, 4096, true),
        OpKind::Truncate => Op::truncate(&file.handle, 4096),
        OpKind::Advise => Op::advise(&file.handle, 0, 4096, Advice::Random),
        OpKind::WriteHint => Op::write_hint(&file.handle, Lifetime::Short),
        OpKind::TryLock => Op::try_lock(&file.handle, 0, 1, true),
        OpKind::Unlock => Op::unlock(&file.handle, 0, 1),
        OpKind::QueryLock => Op::query_lock(&file.handle, 0, 1, true),
        OpKind::Open => Op::open(path, OpenOptions::READ).unwrap(),
        OpKind::Close => Op::close(world.again(file)).unwrap(),
        OpKind::Stat => Op::stat(&file.handle),
        OpKind::StatFs => Op::stat_fs(path).unwrap(),
        OpKind::Access => Op::access(path, AccessMode::Read).unwrap(),
        OpKind::RealPath => Op::real_path(path).unwrap(),
        OpKind::SetPermissions => Op::set_permissions(path, 0o600).unwrap(),
        OpKind::Rename => Op::rename(path, other(), RenameMode::NoReplace).unwrap(),
        OpKind::Unlink => Op::unlink(path).unwrap(),
        OpKind::MakeDir => Op::make_dir(other(), 0o700).unwrap(),
        OpKind::RemoveDir => Op::remove_dir(other()).unwrap(),
        OpKind::ReadDir => Op::read_dir(path.parent().unwrap()).unwrap(),
        OpKind::SyncDir => Op::sync_dir(path.parent().unwrap()).unwrap(),
        OpKind::CopyRange => Op::copy_range(&file.handle, 0, &world.again(file), 8192, 4096),
        OpKind::Clone => Op::clone_range(&file.handle, 0, &world.again(file), 8192, 4096),
    }
}

/// How often the driver sees an operation that always answers `code`, and whether the pool does it in the end.
fn submissions(world: &World, kind: OpKind, code: i32) -> (usize, bool) {
    match code {
        // It was cancelled unasked before it began: whatever it is, it can begin again.
        libc::ECANCELED => (1 + REPETITIONS, false),
        libc::EINTR if kind.is_transfer() => (1 + REPETITIONS, false),
        // Where there is a pool, the pool does it; where there is none, it is asked again for a while.
        libc::EAGAIN if kind.is_transfer() && world.has_pool() => (1, true),
        libc::EAGAIN if kind.is_transfer() => (1 + REPETITIONS, false),
        libc::EFAULT if kind.is_transfer() && world.has_pool() => (1, true),
        _ => (1, false),
    }
}

/// Every kind, every errno: the same answer each time it is asked.
fn every_errno_of_every_operation(world: &World) {
    for &kind in OpKind::ALL {
        let (driver, faults) = world.claiming(4);
        let seen = spy(&faults);
        let mut core = core(driver);
        for &errno in ERRNOS {
            // Its own file: a failed sync stays with the inode.
            let file = world.file(&[7; 8192]);
            faults.add(Rule::of(kind, Fault::Refuse(errno)));
            seen.lock().unwrap().clear();
            let (result, _) = run(&mut core, op_of(world, kind, &file));
            let (count, by_pool) = submissions(world, kind, errno);
            if by_pool {
                assert_eq!(result.unwrap_or_else(|e| panic!("{kind:?} {errno}: {e}")), world.unit());
            } else {
                assert_eq!(code(&result), errno, "{kind:?}");
            }
            assert_eq!(seen.lock().unwrap().len(), count, "{kind:?} answered {errno}: submissions");
            assert_eq!(core.in_flight(), 0);
            faults.clear();
            spy_again(&faults, &seen);
        }
    }
}

/// The rules were cleared; the spy is a rule.
fn spy_again(faults: &io_testkit::Faults, seen: &std::sync::Arc<std::sync::Mutex<Vec<crate::puppet::Seen>>>) {
    let log = seen.clone();
    faults.add(Rule::new(Fault::Short(0)).when(move |op| {
        log.lock().unwrap().push(crate::puppet::Seen::of(io_engine::core::Token::internal(0), op));
        false
    }));
}

/// One failure, then none: what is repeated succeeds, what is not has failed.
fn an_errno_that_goes_away(world: &World) {
    let (driver, faults) = world.faulty(4);
    let seen = spy(&faults);
    let mut core = core(driver);
    for kind in [OpKind::Read, OpKind::ReadVectored, OpKind::Write, OpKind::WriteVectored] {
        for errno in [errno::EINTR, errno::EAGAIN, errno::ECANCELED, errno::EFAULT, errno::EIO] {
            let file = world.file(&[7; 8192]);
            faults.add(Rule::of(kind, Fault::Refuse(errno)).times(1));
            seen.lock().unwrap().clear();
            let (result, _) = run(&mut core, op_of(world, kind, &file));
            let (count, by_pool) = submissions(world, kind, errno);
            if count == 1 && !by_pool {
                assert_eq!(code(&result), errno, "{kind:?}");
            } else {
                assert_eq!(result.unwrap(), world.unit(), "{kind:?} {errno}");
                assert_eq!(seen.lock().unwrap().len(), if by_pool { 1 } else { 2 }, "{kind:?} {errno}");
            }
        }
    }
    let failed = core.stats().failed;
    assert_eq!(failed, 4 * if world.has_pool() { 1 } else { 2 });
}

/// The refused one answers as itself, its neighbours are done.
fn a_refused_operation_between_good_ones(world: &World) {
    let file = world.file(&[7; 65536]);
    for refused in 0..8 {
        let (driver, faults) = world.faulty(8);
        faults.add(Rule::of(OpKind::Read, Fault::Refuse(libc::ENXIO)).after(refused).times(1));
        let mut core = core(driver);
        let tokens: Vec<_> = (0..8).map(|i| accept(&mut core, Op::read(&file.handle, room(4096), i * 4096))).collect();
        for finished in answers(&mut core, 8) {
            if finished.token == tokens[refused as usize] {
                assert_eq!(code(&finished.result), libc::ENXIO);
            } else {
                assert_eq!(finished.result.unwrap(), 4096);
            }
        }
    }
}

/// What was done although it answered an error: nothing is done twice where that could be seen.
fn what_was_done_and_answered_with_an_error(world: &World) {
    let (driver, faults) = world.claiming(4);
    let seen = spy(&faults);
    let mut core = core(driver);
    for kind in [OpKind::SyncData, OpKind::SyncAll, OpKind::SyncDir, OpKind::Rename, OpKind::MakeDir, OpKind::Unlink] {
        for errno in [errno::EIO, errno::EINTR, errno::EAGAIN, errno::ENOSPC] {
            let file = world.file(&[7; 4096]);
            faults.add(Rule::of(kind, Fault::Garble(errno)).times(1));
            seen.lock().unwrap().clear();
            let (result, _) = run(&mut core, op_of(world, kind, &file));
            assert_eq!(code(&result), errno, "{kind:?}");
            assert_eq!(seen.lock().unwrap().len(), 1, "{kind:?} was repeated after {errno}");
        }
    }
}

fn no_repetition_where_the_flags_forbid_it(world: &World) {
    let (driver, faults) = world.claiming(4);
    let seen = spy(&faults);
    let mut core = core(driver);
    let cases = [
        (OpKind::Read, RwFlags::NOWAIT, errno::EAGAIN),
        (OpKind::Write, RwFlags::NOWAIT, errno::EAGAIN),
        (OpKind::ReadVectored, RwFlags::NOWAIT, errno::EAGAIN),
        (OpKind::Write, RwFlags::APPEND, errno::EINTR),
        (OpKind::Write, RwFlags::APPEND, errno::EFAULT),
        (OpKind::WriteVectored, RwFlags::APPEND, errno::EINTR),
    ];
    for (kind, flags, errno) in cases {
        let file = world.file(&[7; 8192]);
        faults.add(Rule::of(kind, Fault::Refuse(errno)).times(2));
        seen.lock().unwrap().clear();
        let (result, _) = run(&mut core, op_of(world, kind, &file).with_flags(flags));
        assert_eq!(code(&result), errno, "{kind:?} {flags:?}");
        assert_eq!(seen.lock().unwrap().len(), 1, "{kind:?} {flags:?}");
        faults.clear();
        spy_again(&faults, &seen);
    }
}

/// A second fault that meets the pool, too: an address that is really bad answers `EFAULT` in the end, and soon.
#[test]
#[cfg(target_os = "linux")]
fn an_address_that_is_bad_for_everybody() {
    struct Nowhere;
    // SAFETY: on purpose it is not: the memory is not there. Only kernels get to see the address, and they check.
    unsafe impl io_engine::core::IoBuf for Nowhere {
        fn as_ptr(&self) -> *const u8 {
            std::ptr::without_provenance(8)
        }
        fn len(&self) -> usize {
            4096
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let file = io_engine::open(dir.path().join("f"), OpenOptions::CREATE).unwrap();
    let (puppet, strings) = Puppet::new(2);
    let mut core = core(puppet.boxed());
    let (result, _) = run(&mut core, Op::write(&file, Nowhere, 0));
    assert_eq!(code(&result), errno::EFAULT);
    assert_eq!((strings.seen().len(), core.stats().offloaded, core.stats().repeated), (1, 1, 1));
}

/// The kernel says EAGAIN a few times on a driver with nothing beside it: pauses, then success; and the pauses end.
#[test]
fn would_block_without_a_pool_pauses() {
    let (puppet, strings) = Puppet::new(2);
    let mut left = 5;
    strings.script(move |_| {
        left -= 1;
        if left < 0 { Reply::Answer(4) } else { Reply::Answer(-errno::EAGAIN) }
    });
    let mut core = core(puppet.without_pool().boxed());
    let begun = std::time::Instant::now();
    let file = nobodys_file(FileFacts::default());
    let (result, _) = run(&mut core, Op::read(&file, vec![0; 4], 0));
    assert_eq!(result.unwrap(), 4);
    assert_eq!((strings.seen().len(), core.stats().repeated), (6, 5));
    assert!(begun.elapsed() < std::time::Duration::from_secs(1));
    assert!(begun.elapsed() >= std::time::Duration::from_micros(50), "there was no pause at all");
}

/// A sync that the kernel cancelled unasked is begun again for as long as it may, then the truth is told; the inode is not
/// to blame.
#[test]
fn a_sync_that_never_begins() {
    let (puppet, strings) = Puppet::new(2);
    let mut core: Inflight<Op> = core(puppet.boxed());
    let file = nobodys_file(FileFacts::default());
    strings.script(|_| Reply::Answer(-errno::ECANCELED));
    let (result, _) = run(&mut core, Op::sync_data(&file));
    assert_eq!(code(&result), errno::ECANCELED);
    assert_eq!(strings.seen().len(), 1 + REPETITIONS);
    strings.script(|_| Reply::Answer(0));
    assert_eq!(run(&mut core, Op::sync_data(&file)).0.unwrap(), 0);
}

/// Attempts are counted between bytes: an operation that moves on may meet EINTR more often than one that stands still.
#[test]
fn progress_resets_the_count() {
    let (puppet, strings) = Puppet::new(2);
    let mut nth = 0;
    strings.script(move |seen| {
        nth += 1;
        // Ten interruptions before each byte.
        Reply::Answer(if nth % 11 == 0 { 1.min(seen.len as i32) } else { -errno::EINTR })
    });
    let mut core = core(puppet.boxed());
    let file = nobodys_file(FileFacts::default());
    let (result, _) = run(&mut core, Op::read(&file, vec![0; 20], 0));
    assert_eq!(result.unwrap(), 20);
    assert_eq!(strings.seen().len(), 220);
}

/// What a sync's failure says, through `std`'s error and back.
#[test]
fn the_name_of_a_sticky_failure() {
    let error: io::Error = SyncFailed { code: errno::EIO }.into();
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<SyncFailed>());
    assert_eq!(inner, Some(&SyncFailed { code: errno::EIO }));
    assert!(error.to_string().contains("close every handle"), "{error}");
    assert_eq!(error.raw_os_error(), None, "it is not the kernel that says it now");
}

/// Nothing stays behind: a core that has met every error is empty, and its next operation works.
#[test]
fn a_core_survives_any_answer() {
    let (puppet, strings) = Puppet::new(3);
    let mut core: Inflight<Op> = core(puppet.boxed());
    let file = nobodys_file(FileFacts::default());
    for result in [i32::MIN + 1, -4096, -4095, -512, -1, 0] {
        strings.script(move |_| Reply::Answer(result));
        let (answer, _) = run(&mut core, Op::stat(&file));
        assert_eq!(answer.is_ok(), result == 0);
        assert_eq!(answer.err().and_then(|e| e.raw_os_error()), (result < 0).then_some(-result));
    }
    core.submit(Wait::No);
    assert_eq!((core.in_flight(), core.room()), (0, 3));
}
