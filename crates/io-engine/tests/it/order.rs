//! A sync comes behind the writes it covers and tells what became of them; what failed once stays failed (I8).

use crate::{
    transfers::spy,
    world::{World, accept, answers, code, core, data, drain, nothing, room, run, turn},
};
use io_engine::{
    SyncFailed, Where,
    core::{FileHandle, Op, OpKind, OpenOptions, RwFlags, Wait, errno},
};
use io_testkit::{Fault, Rule};
use std::{io, time::Duration};

every_driver!(
    a_sync_waits_for_earlier_writes,
    a_sync_waits_for_the_writes_of_another_core,
    later_writes_do_not_delay_a_sync,
    other_files_do_not_delay_a_sync,
    everything_that_changes_a_file_counts,
    a_failed_write_fails_the_sync_that_covers_it,
    a_failed_sync_stays_until_every_handle_is_closed,
    a_failed_durable_write_stays_as_well,
    a_failure_meets_syncs_that_were_on_their_way,
    which_codes_of_a_sync_stay,
    which_codes_of_a_durable_write_stay,
    a_cancelled_sync_blames_nobody,
    a_handle_that_was_open_all_the_time,
);

/// The sticky failure inside an error.
#[track_caller]
pub fn sticky(result: &io::Result<usize>) -> SyncFailed {
    let error = result.as_ref().expect_err("this inode has failed before");
    let code = sticky_code(error).unwrap_or_else(|| panic!("another error than the sticky one: {error:?}"));
    SyncFailed { code }
}

pub fn sticky_code(error: &io::Error) -> Option<i32> {
    error.get_ref().and_then(|e| e.downcast_ref::<SyncFailed>()).map(|failed| failed.code)
}

fn sync_of(kind: OpKind, file: &FileHandle) -> Op {
    match kind {
        OpKind::SyncData => Op::sync_data(file),
        _ => Op::sync_all(file),
    }
}

const SYNCS: [OpKind; 2] = [OpKind::SyncData, OpKind::SyncAll];

fn write(world: &World, file: &FileHandle) -> Op {
    Op::write(file, data(&vec![9; world.unit()]), 0)
}

fn a_sync_waits_for_earlier_writes(world: &World) {
    for kind in SYNCS {
        let file = world.file(&[0; 8192]);
        let (driver, faults) = world.faulty(8);
        let seen = spy(&faults);
        faults.add(Rule::of(OpKind::Write, Fault::Wedge).times(2));
        let mut core = core(driver);
        let writes = [accept(&mut core, write(world, &file.handle)), accept(&mut core, write(world, &file.handle))];
        let sync = accept(&mut core, sync_of(kind, &file.handle));
        nothing(&mut core);
        assert_eq!(core.dump().iter().find(|op| op.token == sync).unwrap().at, Where::Order);
        assert!(seen.lock().unwrap().iter().all(|op| op.kind != kind), "the sync was with the driver");
        assert_eq!(core.stats().ordered, 1);
        faults.unwedge();
        let order: Vec<_> = answers(&mut core, 3).into_iter().map(|f| (f.token, f.result.is_ok())).collect();
        assert_eq!(order[2], (sync, true), "the sync was answered before a write that it covers");
        assert!(order[..2].iter().all(|(token, good)| writes.contains(token) && *good));
    }
}

fn a_sync_waits_for_the_writes_of_another_core(world: &World) {
    let file = world.file(&[0; 8192]);
    let (driver, faults) = world.faulty(8);
    faults.add(Rule::of(OpKind::Write, Fault::Wedge));
    let mut writer = core(driver);
    accept(&mut writer, write(world, &file.handle));
    turn(&mut writer, Wait::No);
    let other = world.again(&file);
    let mut syncer = core(world.driver(8));
    let (early, waited) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        // Its own thread sleeps in its own driver, and is woken by a completion of somebody else's.
        scope.spawn(move || {
            accept(&mut syncer, Op::sync_data(&other));
            early.send(turn(&mut syncer, Wait::AtMost(Duration::from_millis(20))).len()).unwrap();
            let finished = answers(&mut syncer, 1).remove(0);
            early.send(1).unwrap();
            finished.result.unwrap();
        });
        assert_eq!(waited.recv(), Ok(0), "the sync did not wait");
        turn(&mut writer, Wait::No);
        faults.unwedge();
        answers(&mut writer, 1).remove(0).result.unwrap();
        assert_eq!(waited.recv_timeout(crate::world::PATIENCE), Ok(1));
    });
}

fn later_writes_do_not_delay_a_sync(world: &World) {
    let file = world.file(&[0; 8192]);
    let (driver, faults) = world.faulty(8);
    faults.add(Rule::of(OpKind::Write, Fault::Delay(Duration::from_millis(5))).times(1));
    faults.add(Rule::of(OpKind::Write, Fault::Wedge).times(1));
    let mut core = core(driver);
    let first = accept(&mut core, write(world, &file.handle));
    let sync = accept(&mut core, Op::sync_data(&file.handle));
    let later = accept(&mut core, write(world, &file.handle));
    let order: Vec<_> = answers(&mut core, 2).into_iter().map(|f| f.token).collect();
    assert_eq!(order, [first, sync], "the sync waited for a write that came after it");
    // The next one does wait.
    accept(&mut core, Op::sync_data(&file.handle));
    nothing(&mut core);
    faults.unwedge();
    assert_eq!(answers(&mut core, 2)[0].token, later);
}

fn other_files_do_not_delay_a_sync(world: &World) {
    let (file, other) = (world.file(&[0; 8192]), world.file(&[0; 8192]));
    let (driver, faults) = world.faulty(8);
    faults.add(Rule::of(OpKind::Write, Fault::Wedge).times(1));
    let mut core = core(driver);
    accept(&mut core, write(world, &other.handle));
    let (result, _) = {
        let token = accept(&mut core, Op::sync_all(&file.handle));
        let finished = answers(&mut core, 1).remove(0);
        assert_eq!(finished.token, token);
        (finished.result, finished.carrier)
    };
    result.unwrap();
    faults.unwedge();
    drain(&mut core);
}

fn everything_that_changes_a_file_counts(world: &World) {
    let changes: [fn(&World, &FileHandle, &FileHandle) -> Op; 8] = [
        |w, f, _| Op::write_vectored(f, vec![data(&vec![1; w.unit()])], 0),
        |w, f, _| Op::write(f, data(&vec![1; w.unit()]), 0).with_flags(RwFlags::DSYNC),
        |_, f, _| Op::truncate(f, 4096),
        |_, f, _| Op::allocate(f, 0, 4096, false),
        |_, f, _| Op::punch_hole(f, 0, 4096),
        |_, f, _| Op::zero_range(f, 0, 4096, true),
        |_, f, g| Op::copy_range(g, 0, f, 0, 4096),
        |_, f, g| Op::clone_range(g, 0, f, 0, 4096),
    ];
    for make in changes {
        let (file, source) = (world.file(&[0; 8192]), world.file(&[1; 8192]));
        let change = make(world, &file.handle, &source.handle);
        let kind = change.kind();
        let (driver, faults) = world.claiming(8);
        let seen = spy(&faults);
        faults.add(Rule::of(kind, Fault::Delay(Duration::from_millis(3))).times(1));
        // Only the order is looked at: not every driver, nor every file system, does each of them.
        faults.add(Rule::of(OpKind::SyncData, Fault::Refuse(errno::EINVAL)));
        let mut core = core(driver);
        let change = accept(&mut core, change);
        let sync = accept(&mut core, Op::sync_data(&file.handle));
        turn(&mut core, Wait::No);
        let staged: Vec<_> = seen.lock().unwrap().iter().map(|op| op.kind).collect();
        assert_eq!(staged, [kind], "the sync did not wait");
        let order: Vec<_> = answers(&mut core, 2).into_iter().map(|f| f.token).collect();
        assert_eq!(order, [change, sync], "{kind:?}");
    }
}

fn a_failed_write_fails_the_sync_that_covers_it(world: &World) {
    for kind in SYNCS {
        let file = world.file(&[0; 8192]);
        let (driver, faults) = world.faulty(8);
        let seen = spy(&faults);
        faults.add(Rule::of(OpKind::Write, Fault::Refuse(errno::ENOSPC)).after(1).times(1));
        faults.add(Rule::of(OpKind::Write, Fault::Delay(Duration::from_millis(5))).times(1));
        let mut core = core(driver);
        let slow = accept(&mut core, write(world, &file.handle));
        let bad = accept(&mut core, write(world, &file.handle));
        let sync = accept(&mut core, sync_of(kind, &file.handle));
        let finished = answers(&mut core, 3);
        let of = |token| finished.iter().find(|f| f.token == token).unwrap();
        assert!(of(slow).result.is_ok());
        assert_eq!(code(&of(bad).result), errno::ENOSPC);
        assert_eq!(code(&of(sync).result), errno::ENOSPC, "the sync hides that a write failed");
        assert!(seen.lock().unwrap().iter().all(|op| op.kind != kind), "it was synced for nothing");
        // The writer was told, so nothing is lost unseen: the next sync is as good as any.
        run(&mut core, sync_of(kind, &file.handle)).0.unwrap();
    }
}

fn a_failed_sync_stays_until_every_handle_is_closed(world: &World) {
    for kind in SYNCS {
        let file = world.file(&[0; 8192]);
        let second = world.again(&file);
        let (driver, faults) = world.claiming(8);
        let seen = spy(&faults);
        faults.add(Rule::of(kind, Fault::Refuse(errno::EIO)).times(1));
        let mut one = core(driver);
        let mut two = core(world.driver(8));
        // The second handle is in use, too: it must share the failure.
        run(&mut two, Op::read(&second, room(world.unit()), 0)).0.unwrap();
        let (result, _) = run(&mut one, sync_of(kind, &file.handle));
        assert_eq!(code(&result), errno::EIO, "the first to hear of it hears what it was");
        seen.lock().unwrap().clear();
        for core in [&mut one, &mut two] {
            for handle in [&file.handle, &second] {
                for again in SYNCS {
                    let (result, _) = run(core, sync_of(again, handle));
                    assert_eq!(sticky(&result), SyncFailed { code: errno::EIO });
                }
                let durable = write(world, handle).with_flags(RwFlags::DSYNC);
                assert_eq!(sticky(&run(core, durable).0), SyncFailed { code: errno::EIO });
                // What promises no durability goes on.
                run(core, write(world, handle)).0.unwrap();
                run(core, Op::read(handle, room(world.unit()), 0)).0.unwrap();
            }
        }
        let staged = seen.lock().unwrap().iter().filter(|op| op.kind.is_sync() || !op.flags.is_empty()).count();
        assert_eq!(staged, 0, "a failed sync was tried again");

        let name = file.name.clone();
        drop(file.handle);
        assert_eq!(sticky(&run(&mut two, Op::sync_data(&second)).0), SyncFailed { code: errno::EIO });
        drop(second);
        let anew = world.again(&crate::world::File { handle: world.file(b"").handle, name });
        run(&mut two, sync_of(kind, &anew)).0.unwrap();
    }
}

fn a_failed_durable_write_stays_as_well(world: &World) {
    let file = world.file(&[0; 8192]);
    let second = world.again(&file);
    let (driver, faults) = world.faulty(8);
    faults.add(Rule::of(OpKind::Write, Fault::Refuse(errno::EIO)).times(1));
    let mut core = core(driver);
    let (result, op) = run(&mut core, write(world, &file.handle).with_flags(RwFlags::DSYNC));
    assert_eq!(code(&result), errno::EIO);
    assert_eq!(op.len(), world.unit() as u64, "the buffer comes back");
    for handle in [&file.handle, &second] {
        assert_eq!(sticky(&run(&mut core, Op::sync_all(handle)).0), SyncFailed { code: errno::EIO });
        let durable = write(world, handle).with_flags(RwFlags::DSYNC);
        assert_eq!(sticky(&run(&mut core, durable).0), SyncFailed { code: errno::EIO });
    }
    // An ordinary write's failure is its writer's to deal with.
    let file = world.file(&[0; 8192]);
    faults.add(Rule::of(OpKind::Write, Fault::Refuse(errno::EIO)).times(1));
    assert_eq!(code(&run(&mut core, write(world, &file.handle)).0), errno::EIO);
    run(&mut core, Op::sync_all(&file.handle)).0.unwrap();
}

/// Two syncs and a durable write are with the driver when one of them fails: the kernel says it once, to whoever comes first.
fn a_failure_meets_syncs_that_were_on_their_way(world: &World) {
    for late in [OpKind::SyncAll, OpKind::Write] {
        let file = world.file(&[0; 8192]);
        let (driver, faults) = world.claiming(8);
        faults.add(Rule::of(OpKind::SyncData, Fault::Refuse(errno::EIO)).times(1));
        let mut core = core(driver);
        let slow = match late {
            OpKind::Write => {
                faults.add(Rule::of(late, Fault::Delay(Duration::from_millis(5))).times(1));
                // Before the durable write, or it would wait for it.
                let bad = accept(&mut core, Op::sync_data(&file.handle));
                let slow = accept(&mut core, write(world, &file.handle).with_flags(RwFlags::DSYNC));
                assert_ne!(bad, slow);
                slow
            }
            _ => {
                // Its completion comes after the failure, and says that all is well.
                faults.add(Rule::of(late, Fault::Refuse(0)).times(1));
                accept(&mut core, Op::sync_data(&file.handle));
                accept(&mut core, Op::sync_all(&file.handle))
            }
        };
        let finished = answers(&mut core, 2);
        let slow = finished.iter().find(|f| f.token == slow).unwrap();
        assert_eq!(sticky(&slow.result), SyncFailed { code: errno::EIO }, "{late:?} hides a failure");
    }
}

/// What is said before anything was tried loses nothing; all else may have.
fn which_codes_of_a_sync_stay(world: &World) {
    let stays = [libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::EINTR, libc::EAGAIN, libc::EROFS, libc::ETIMEDOUT];
    // A server that refused the write-back: once, a sync of whose file answered this was followed by one that was good.
    let of_servers = [libc::EACCES, libc::EPERM, libc::EFBIG];
    let goes = [libc::EINVAL, libc::EBADF, libc::EOPNOTSUPP, libc::ENOSYS, libc::ECANCELED];
    let (driver, faults) = world.claiming(8);
    let mut core = core(driver);
    let stays = stays.into_iter().chain(of_servers).map(|e| (e, true));
    for (errno, is_sticky) in stays.chain(goes.map(|e| (e, false))) {
        for kind in SYNCS {
            let file = world.file(&[0; 4096]);
            faults.add(Rule::of(kind, Fault::Refuse(errno)));
            assert_eq!(code(&run(&mut core, sync_of(kind, &file.handle)).0), errno);
            faults.clear();
            faults.add(Rule::of(kind, Fault::Refuse(0)));
            let (again, _) = run(&mut core, sync_of(kind, &file.handle));
            if is_sticky {
                assert_eq!(sticky(&again), SyncFailed { code: errno });
            } else {
                assert_eq!(again.unwrap(), 0, "{errno} stays although nothing was tried");
            }
            faults.clear();
        }
    }
}

fn which_codes_of_a_durable_write_stay(world: &World) {
    let stays = [libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::EROFS];
    let goes = [libc::EINVAL, libc::EBADF, libc::EOPNOTSUPP, libc::ECANCELED, libc::EFBIG, libc::EPERM];
    let (driver, faults) = world.claiming(8);
    let mut core = core(driver);
    for (errno, is_sticky) in stays.map(|e| (e, true)).into_iter().chain(goes.map(|e| (e, false))) {
        let file = world.file(&[0; 4096]);
        faults.add(Rule::of(OpKind::Write, Fault::Refuse(errno)));
        assert_eq!(code(&run(&mut core, write(world, &file.handle).with_flags(RwFlags::DSYNC)).0), errno);
        faults.clear();
        faults.add(Rule::of(OpKind::SyncData, Fault::Refuse(0)));
        let (sync, _) = run(&mut core, Op::sync_data(&file.handle));
        if is_sticky {
            assert_eq!(sticky(&sync), SyncFailed { code: errno });
        } else {
            assert_eq!(sync.unwrap(), 0, "{errno}");
        }
        faults.clear();
    }
    // EAGAIN is the answer to NOWAIT, and says that nothing was done.
    let file = world.file(&[0; 4096]);
    faults.add(Rule::of(OpKind::Write, Fault::Refuse(errno::EAGAIN)).times(1));
    faults.add(Rule::of(OpKind::SyncData, Fault::Refuse(0)));
    let op = write(world, &file.handle).with_flags(RwFlags::DSYNC | RwFlags::NOWAIT);
    assert_eq!(code(&run(&mut core, op).0), errno::EAGAIN);
    assert_eq!(run(&mut core, Op::sync_data(&file.handle)).0.unwrap(), 0);
}

fn a_cancelled_sync_blames_nobody(world: &World) {
    let file = world.file(&[0; 8192]);
    let (driver, faults) = world.faulty(8);
    faults.add(Rule::of(OpKind::Write, Fault::Wedge).times(1));
    let mut core = core(driver);
    let write = accept(&mut core, write(world, &file.handle));
    let sync = accept(&mut core, Op::sync_data(&file.handle));
    let kept = accept(&mut core, Op::sync_data(&file.handle));
    core.cancel(sync);
    let finished = answers(&mut core, 1).remove(0);
    assert_eq!((finished.token, code(&finished.result)), (sync, errno::ECANCELED));
    faults.unwedge();
    let order: Vec<_> = answers(&mut core, 2).into_iter().map(|f| (f.token, f.result.is_ok())).collect();
    assert_eq!(order, [(write, true), (kept, true)]);
}

/// A handle that was open when the sync failed, and was not used before the failing handle was closed.
fn a_handle_that_was_open_all_the_time(world: &World) {
    if world.simulated() {
        // The simulator's handles are made past the engine; the engine's own ways to open are meant here.
        return;
    }
    let file = world.file(&[0; 8192]);
    let open = || io_engine::open(world.path(&file.name), OpenOptions::READ_WRITE).unwrap();
    let (driver, faults) = world.claiming(8);
    let mut core = core(driver);
    let by_operation = Op::open(world.path(&file.name), OpenOptions::READ_WRITE).unwrap();
    let mut plain = world.core(4);
    let (failing, idle) = (world.for_the_driver(open()), open());
    let (opened, mut op) = run(&mut plain, by_operation);
    opened.unwrap();
    let io_engine::core::Output::File(opened) = op.take_output() else { panic!("no file") };
    let adopted = std::fs::File::options().read(true).write(true).open(world.path(&file.name)).unwrap();
    let adopted = io_engine::adopt(adopted).unwrap();
    drop((op, file));
    faults.add(Rule::of(OpKind::SyncData, Fault::Refuse(errno::EIO)).times(1));
    assert_eq!(code(&run(&mut core, Op::sync_data(&failing)).0), errno::EIO);
    drop(failing);
    for (what, handle) in [("open", idle), ("Op::open", opened), ("adopt", adopted)] {
        let handle = world.for_the_driver(handle);
        let (result, _) = run(&mut core, Op::sync_data(&handle));
        assert!(result.is_err(), "a handle from {what} has forgotten that a sync failed while it was open");
        assert_eq!(sticky(&result), SyncFailed { code: errno::EIO });
    }
}
