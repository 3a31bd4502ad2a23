//! The order of writes and syncs where only a script can hold the window open: between cores and threads, at the death of a
//! driver, at the end of a core.

use crate::{
    order::sticky,
    puppet::{Cancels, Puppet, Reply},
    world::{PATIENCE, accept, answers, code, core, drain, nothing, run, soak, turn},
};
use io_engine::{
    Inflight, SyncFailed, Where,
    core::{FileFacts, FileHandle, InodeKey, Op, OpKind, RawFile, RwFlags, Wait, errno},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// A handle of an inode that no other test has.
fn inode() -> impl Fn() -> FileHandle {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let key = InodeKey { dev: u64::MAX - 7, ino: NEXT.fetch_add(1, Ordering::Relaxed) };
    move || {
        let facts = FileFacts { inode: Some(key), seekable: true, ..FileFacts::default() };
        // SAFETY: the number is outside the range of descriptors.
        unsafe { FileHandle::from_raw(RawFile::new(1 << 40), Box::new(()), facts) }
    }
}

/// Two cores, two threads, one inode: whatever the interleaving, no sync reaches the driver before a write that was accepted
/// before it has come back from the other one.
#[test]
fn a_sync_never_overtakes_a_write_of_another_thread_soak() {
    let open = inode();
    let rounds = if soak() { 200_000 } else { 4_000 };
    // Writes count up: accepted (published by the writer), and gone from the driver.
    let (accepted, gone) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let over = Arc::new(AtomicBool::new(false));
    let (writing, strings) = Puppet::new(1);
    let going = gone.clone();
    strings.script(move |_| {
        std::hint::spin_loop();
        going.fetch_add(1, Ordering::SeqCst);
        Reply::Answer(1)
    });
    let (syncing, strings) = Puppet::new(1);
    let floor = Arc::new(AtomicU64::new(0));
    let (must, went) = (floor.clone(), gone.clone());
    strings.script(move |_| {
        let (must, went) = (must.load(Ordering::SeqCst), went.load(Ordering::SeqCst));
        assert!(went >= must, "a sync at the driver, while only {went} of {must} writes have come back");
        Reply::Answer(0)
    });
    std::thread::scope(|scope| {
        let (accepted_too, over_too, handle) = (accepted.clone(), over.clone(), open());
        scope.spawn(move || {
            let mut core = core(writing.boxed());
            for round in 0..rounds {
                accept(&mut core, Op::write(&handle, vec![1], 0));
                accepted_too.fetch_add(1, Ordering::SeqCst);
                if round % 3 == 0 {
                    std::thread::yield_now();
                }
                answers(&mut core, 1).remove(0).result.unwrap();
            }
            over_too.store(true, Ordering::SeqCst);
        });
        let handle = open();
        let mut core = core(syncing.boxed());
        let mut syncs = 0;
        while !over.load(Ordering::SeqCst) {
            floor.store(accepted.load(Ordering::SeqCst), Ordering::SeqCst);
            accept(&mut core, Op::sync_data(&handle));
            answers(&mut core, 1).remove(0).result.unwrap();
            syncs += 1;
        }
        assert!(core.stats().ordered > 0, "no sync of {syncs} ever had to wait: nothing was tested");
    });
}

/// Many syncs of many cores wait for one write: each is released once.
#[test]
fn one_write_releases_everybody() {
    let open = inode();
    let (puppet, strings) = Puppet::new(4);
    strings.hold_all();
    let mut writer: Inflight<Op> = core(puppet.boxed());
    let write = accept(&mut writer, Op::write(&open(), vec![1], 0));
    turn(&mut writer, Wait::No);
    let mut cores: Vec<_> = (0..4)
        .map(|_| {
            let (puppet, strings) = Puppet::new(8);
            strings.script(|_| Reply::Answer(0));
            (core::<Op>(puppet.boxed()), strings)
        })
        .collect();
    for (core, _) in &mut cores {
        for _ in 0..8 {
            accept(core, Op::sync_all(&open()));
        }
        assert!(turn(core, Wait::No).is_empty());
    }
    strings.answer(write, 1);
    answers(&mut writer, 1);
    for (core, strings) in &mut cores {
        for finished in answers(core, 8) {
            finished.result.unwrap();
        }
        assert_eq!(strings.seen().len(), 8);
        assert!(drain(core).is_empty());
    }
}

/// Tokens are names within one core: two cores give the same ones.
#[test]
fn a_cancelled_sync_is_not_mistaken_for_another_cores() {
    let open = inode();
    let (puppet, strings) = Puppet::new(4);
    strings.hold_all();
    let mut writer: Inflight<Op> = core(puppet.boxed());
    let write = accept(&mut writer, Op::write(&open(), vec![1], 0));
    turn(&mut writer, Wait::No);
    let mut cores: Vec<_> = (0..3)
        .map(|_| {
            let (puppet, strings) = Puppet::new(2);
            strings.script(|_| Reply::Answer(0));
            core::<Op>(puppet.boxed())
        })
        .collect();
    let tokens: Vec<_> = cores.iter_mut().map(|core| accept(core, Op::sync_data(&open()))).collect();
    assert!(tokens.iter().all(|&token| token == tokens[0]), "they are the same by chance of construction");
    cores[1].cancel(tokens[1]);
    assert_eq!(code(&answers(&mut cores[1], 1)[0].result), errno::ECANCELED);
    strings.answer(write, 1);
    answers(&mut writer, 1);
    answers(&mut cores[0], 1).remove(0).result.unwrap();
    answers(&mut cores[2], 1).remove(0).result.unwrap();
}

/// A core that goes while a write of it waits in a pause: nobody else may wait for that write for ever.
#[test]
fn a_core_that_is_dropped_with_a_paused_write_releases_the_syncs_of_others() {
    let open = inode();
    let (puppet, strings) = Puppet::new(2);
    strings.script(|_| Reply::Answer(-errno::EAGAIN));
    let mut writer: Inflight<Op> = core(puppet.without_pool().boxed());
    accept(&mut writer, Op::write(&open(), vec![1], 0));
    turn(&mut writer, Wait::No);
    assert_eq!(writer.dump()[0].at, Where::Pause);
    let (puppet, strings) = Puppet::new(2);
    strings.script(|_| Reply::Answer(0));
    let mut syncer: Inflight<Op> = core(puppet.boxed());
    accept(&mut syncer, Op::sync_data(&open()));
    assert!(turn(&mut syncer, Wait::No).is_empty());
    drop(writer);
    let finished = within_a_second(&mut syncer);
    assert_eq!(code(&finished.result), errno::ECANCELED, "the write was never done");
}

/// The same for a write whose cancellation nobody came to collect.
#[test]
fn a_core_that_is_dropped_with_an_untold_cancel_releases_the_syncs_of_others() {
    let open = inode();
    let (puppet, strings) = Puppet::new(2);
    strings.refuse_next(u32::MAX);
    let mut writer: Inflight<Op> = core(puppet.boxed());
    let write = accept(&mut writer, Op::write(&open(), vec![1], 0));
    writer.cancel(write);
    let (puppet, strings) = Puppet::new(2);
    strings.script(|_| Reply::Answer(0));
    let mut syncer: Inflight<Op> = core(puppet.boxed());
    accept(&mut syncer, Op::sync_data(&open()));
    assert!(turn(&mut syncer, Wait::No).is_empty());
    drop(writer);
    assert_eq!(code(&within_a_second(&mut syncer).result), errno::ECANCELED);
}

fn within_a_second(core: &mut Inflight<Op>) -> io_engine::Finished<Op> {
    let begun = Instant::now();
    loop {
        if let Some(finished) = turn(core, Wait::AtMost(Duration::from_millis(10))).pop() {
            return finished;
        }
        assert!(begun.elapsed() < Duration::from_secs(1), "it waits for nobody: {:#?}", core.dump());
    }
}

/// A core that goes while the kernel never answers a write (I7: it is leaked): whoever syncs that inode has to hear of it.
#[test]
fn a_write_that_is_leaked_with_its_core_fails_the_syncs_of_others() {
    let open = inode();
    let (puppet, strings) = Puppet::new(2);
    strings.hold_all();
    let mut writer: Inflight<Op> = core(puppet.boxed());
    accept(&mut writer, Op::write(&open(), vec![1], 0));
    turn(&mut writer, Wait::No);
    let (puppet, syncs) = Puppet::new(2);
    syncs.script(|_| Reply::Answer(0));
    let mut syncer: Inflight<Op> = core(puppet.boxed());
    let handle = open();
    accept(&mut syncer, Op::sync_data(&handle));
    assert!(turn(&mut syncer, Wait::No).is_empty());
    drop(writer); // ten seconds of grace
    assert!(!strings.dropped(), "the driver still holds the write's memory (I7)");
    assert!(within_a_second(&mut syncer).result.is_err());
    assert_eq!(sticky(&run(&mut syncer, Op::sync_data(&handle)).0), SyncFailed { code: errno::EIO });
}

/// The driver dies with a write in flight: nobody can say what became of it, so syncs of that inode fail.
#[test]
fn a_quarantined_write_fails_the_sync_that_covers_it() {
    let open = inode();
    let (puppet, strings) = Puppet::new(4);
    strings.hold_all();
    let mut dying: Inflight<Op> = core(puppet.boxed());
    accept(&mut dying, Op::write(&open(), vec![1], 0));
    let own_sync = accept(&mut dying, Op::sync_data(&open()));
    turn(&mut dying, Wait::No);
    let (puppet, syncs) = Puppet::new(4);
    syncs.script(|_| Reply::Answer(0));
    let mut other: Inflight<Op> = core(puppet.boxed());
    let handle = open();
    accept(&mut other, Op::sync_all(&handle));
    nothing(&mut other);

    strings.break_channel(errno::EBADF, true);
    let begun = Instant::now();
    let mut finished = Vec::new();
    while finished.is_empty() {
        finished = turn(&mut dying, Wait::AtMost(Duration::from_millis(100)));
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!(finished.len(), 1);
    assert_eq!(finished[0].token, own_sync);
    assert!(finished[0].result.is_err(), "it covered a lost write");
    assert!(within_a_second(&mut other).result.is_err());
    assert_eq!(sticky(&run(&mut other, Op::sync_data(&handle)).0), SyncFailed { code: errno::EIO });
    let (_, reason) = dying.next_lost().expect("the write is named");
    assert_eq!(reason.raw_os_error(), Some(errno::EBADF));
    assert!(dying.next_lost().is_none());
    assert_eq!((dying.in_flight(), dying.stats().quarantined), (0, 1));
}

/// A sync that was with a driver that died: it may or may not have failed.
#[test]
fn a_quarantined_sync_counts_as_failed() {
    let open = inode();
    let (puppet, strings) = Puppet::new(4);
    strings.hold_all();
    let mut dying: Inflight<Op> = core(puppet.boxed());
    let handle = open();
    accept(&mut dying, Op::sync_data(&handle));
    turn(&mut dying, Wait::No);
    dying.abandon();
    assert!(dying.next_lost().is_some());
    let (puppet, _) = Puppet::new(4);
    let mut other: Inflight<Op> = core(puppet.boxed());
    assert_eq!(sticky(&run(&mut other, Op::sync_data(&handle)).0), SyncFailed { code: errno::EIO });
}

/// A cancelled write is not there: a sync that covers it says so, and nothing sticks, not even to a durable one.
#[test]
fn a_cancelled_write_fails_the_sync_that_covers_it() {
    for flags in [RwFlags::NONE, RwFlags::DSYNC] {
        let handle = inode()();
        let (puppet, strings) = Puppet::new(4);
        strings.hold_all();
        strings.cancels(Cancels::InTime);
        let mut core: Inflight<Op> = core(puppet.boxed());
        let write = accept(&mut core, Op::write(&handle, vec![1], 0).with_flags(flags));
        let sync = accept(&mut core, Op::sync_data(&handle));
        turn(&mut core, Wait::No);
        core.cancel(write);
        let finished = answers(&mut core, 2);
        assert_eq!((finished[0].token, code(&finished[0].result)), (write, errno::ECANCELED));
        assert_eq!((finished[1].token, code(&finished[1].result)), (sync, errno::ECANCELED));
        strings.script(|_| Reply::Answer(0));
        run(&mut core, Op::sync_data(&handle)).0.unwrap();
    }
}

/// A failure that arrives while a sync waits for its writes: the sync must not run and say that all is well.
#[test]
fn a_failure_while_a_sync_waits() {
    let handle = inode()();
    let (puppet, strings) = Puppet::new(8);
    strings.hold_all();
    let mut core: Inflight<Op> = core(puppet.boxed());
    let failing = accept(&mut core, Op::sync_data(&handle));
    let write = accept(&mut core, Op::write(&handle, vec![1], 0));
    let waiting = accept(&mut core, Op::sync_all(&handle));
    turn(&mut core, Wait::No);
    strings.answer(failing, -errno::EIO);
    assert_eq!(answers(&mut core, 1)[0].token, failing);
    strings.answer(write, 1);
    let finished = answers(&mut core, 2);
    assert_eq!(finished[1].token, waiting);
    assert_eq!(sticky(&finished[1].result), SyncFailed { code: errno::EIO });
    assert!(strings.seen().iter().all(|op| op.kind != OpKind::SyncAll));
}

/// A short write is one write: the sync waits for its last part, and for an offloaded part as well.
#[test]
fn a_sync_waits_for_the_rest_of_a_short_write() {
    let handle = inode()();
    let (puppet, strings) = Puppet::new(8);
    let mut nth = 0;
    strings.script(move |seen| {
        nth += 1;
        match seen.kind {
            OpKind::Write if nth <= 3 => Reply::Answer(1),
            OpKind::Write => Reply::Hold,
            _ => Reply::Answer(0),
        }
    });
    let mut core: Inflight<Op> = core(puppet.boxed());
    let write = accept(&mut core, Op::write(&handle, vec![1; 10], 0));
    let sync = accept(&mut core, Op::sync_data(&handle));
    nothing(&mut core);
    assert_eq!(strings.seen().len(), 4);
    strings.answer(write, 7);
    let order: Vec<_> = answers(&mut core, 2).into_iter().map(|f| f.token).collect();
    assert_eq!(order, [write, sync]);
}

/// Writes and syncs in turn, many of them in flight: each sync is released by the writes before it, in spite of those after.
#[test]
fn epochs() {
    let handle = inode()();
    let (puppet, strings) = Puppet::new(64);
    strings.script(|seen| if seen.kind == OpKind::Write { Reply::Hold } else { Reply::Answer(0) });
    let mut core: Inflight<Op> = core(puppet.boxed());
    let mut writes = Vec::new();
    let mut syncs = Vec::new();
    for _ in 0..10 {
        writes.push([(); 3].map(|()| accept(&mut core, Op::write(&handle, vec![1], 0))));
        syncs.push(accept(&mut core, Op::sync_data(&handle)));
    }
    turn(&mut core, Wait::No);
    // Answered from the last to the first: no sync may go before the very first write is there.
    for group in writes[1..].iter().rev() {
        for &write in group {
            strings.answer(write, 1);
        }
        assert_eq!(answers(&mut core, 3).len(), 3);
    }
    strings.answer(writes[0][2], 1);
    strings.answer(writes[0][0], 1);
    answers(&mut core, 2);
    nothing(&mut core);
    strings.answer(writes[0][1], 1);
    let finished = answers(&mut core, 11);
    assert_eq!(finished[0].token, writes[0][1]);
    let mut released: Vec<_> = finished[1..].iter().map(|f| f.token).collect();
    released.sort();
    syncs.sort();
    assert_eq!(released, syncs);
}
