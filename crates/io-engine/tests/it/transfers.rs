//! Transfers come to their end: short ones go on at the right offset, pointer and length, large ones are split, and nothing is
//! moved twice.

use crate::{
    puppet::{Puppet, Reply, Seen},
    world::{World, accept, answers, assert_same, code, core, core_with, data, drain, room, run},
};
use io_engine::{
    Inflight, InflightOptions,
    core::{AlignedBuf, FileFacts, IoBuf, Op, OpKind, OpenOptions, RawOp, RwFlags, errno},
};
use io_testkit::{Fault, Faults, Mode, Rule, nobodys_file, pattern};
use std::sync::{Arc, Mutex};

every_driver!(
    a_short_read_goes_on_at_every_split,
    a_short_write_goes_on_at_every_split,
    vectored_transfers_go_on_within_and_between_pieces,
    large_transfers_are_split,
    more_than_two_gigabytes,
    the_end_of_the_file,
    an_error_after_a_part,
    flags_that_forbid_a_continuation,
    nothing_to_transfer,
);

/// Writes down every operation that reaches the driver.
pub fn spy(faults: &Faults) -> Arc<Mutex<Vec<Seen>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let note = Rule::new(Fault::Short(0)).when(move |op| {
        log.lock().unwrap().push(Seen::of(io_engine::core::Token::internal(0), op));
        false
    });
    faults.add(note);
    seen
}

fn joined(bufs: Vec<AlignedBuf>) -> Vec<u8> {
    bufs.iter().flat_map(|buf| buf.iter().copied()).collect()
}

/// What was staged of one transfer at `offset` covers it without gap or overlap, in memory as in the file: each part begins
/// where the one before had moved its bytes.
#[track_caller]
fn assert_covers(seen: &[Seen], offset: u64, moved: &[usize]) {
    assert_eq!(seen.len(), moved.len(), "{seen:#?}");
    let mut done = 0;
    for (part, &bytes) in seen.iter().zip(moved) {
        assert_eq!(part.offset, offset + done as u64, "offset after {done} bytes: {seen:#?}");
        assert_eq!(part.addr, seen[0].addr + done, "pointer after {done} bytes: {seen:#?}");
        assert_eq!(part.len as usize, seen[0].len as usize - done, "length after {done} bytes: {seen:#?}");
        done += bytes;
    }
}

fn a_short_read_goes_on_at_every_split(world: &World) {
    let unit = world.unit();
    let (total, begin) = (24 * unit, 3 * unit);
    let contents = pattern(1, 30 * unit);
    let file = world.file(&contents);
    for split in 1..24 {
        let (driver, faults) = world.faulty(4);
        let seen = spy(&faults);
        faults.add(Rule::of(OpKind::Read, Fault::Short((split * unit) as u32)).times(1));
        let mut core = core(driver);
        let (result, op) = run(&mut core, Op::read(&file.handle, room(total), begin as u64));
        assert_eq!(result.unwrap(), total, "split after {split}");
        assert_same("read", &op.into_buf::<AlignedBuf>().unwrap(), &contents[begin..begin + total]);
        assert_covers(&seen.lock().unwrap(), begin as u64, &[split * unit, total - split * unit]);
        assert_eq!((core.stats().continued, core.stats().bytes_read), (1, total as u64));
    }
    // All parts are short, with a rest at the end.
    for most in [1, 5, 7] {
        let (driver, faults) = world.faulty(4);
        faults.add(Rule::of(OpKind::Read, Fault::Short((most * unit) as u32)));
        let mut core = core(driver);
        let (result, op) = run(&mut core, Op::read(&file.handle, room(total), begin as u64));
        assert_eq!(result.unwrap(), total);
        assert_same("read", &op.into_buf::<AlignedBuf>().unwrap(), &contents[begin..begin + total]);
        assert_eq!(core.stats().continued, 24usize.div_ceil(most) as u64 - 1);
    }
}

fn a_short_write_goes_on_at_every_split(world: &World) {
    let unit = world.unit();
    let (total, begin) = (24 * unit, 3 * unit);
    let old = pattern(1, 30 * unit);
    for split in 1..24 {
        let file = world.file(&old);
        let (driver, faults) = world.faulty(4);
        let seen = spy(&faults);
        faults.add(Rule::of(OpKind::Write, Fault::Short((split * unit) as u32)).times(1));
        let mut core = core(driver);
        let new = pattern(split as u64 + 2, total);
        let (result, op) = run(&mut core, Op::write(&file.handle, data(&new), begin as u64));
        assert_eq!(result.unwrap(), total, "split after {split}");
        assert_same("the buffer", &op.into_buf::<AlignedBuf>().unwrap(), &new);
        let mut want = old.clone();
        want[begin..begin + total].copy_from_slice(&new);
        assert_same("the file", &world.contents(&file), &want);
        assert_covers(&seen.lock().unwrap(), begin as u64, &[split * unit, total - split * unit]);
        assert_eq!((core.stats().continued, core.stats().bytes_written), (1, total as u64));
    }
}

fn vectored_transfers_go_on_within_and_between_pieces(world: &World) {
    let unit = world.unit();
    let sizes = [1, 0, 3, 2, 1];
    let total: usize = sizes.iter().sum::<usize>() * unit;
    let old = pattern(1, 9 * unit);
    for most in 1..=7 {
        let file = world.file(&old);
        let (driver, faults) = world.faulty(4);
        faults.add(Rule::of(OpKind::ReadVectored, Fault::Short((most * unit) as u32)));
        faults.add(Rule::of(OpKind::WriteVectored, Fault::Short((most * unit) as u32)));
        let mut core = core(driver);

        let bufs: Vec<_> = sizes.iter().map(|n| room(n * unit)).collect();
        let (result, op) = run(&mut core, Op::read_vectored(&file.handle, bufs, unit as u64));
        assert_eq!(result.unwrap(), total);
        let bufs = op.into_bufs::<AlignedBuf>().unwrap();
        assert_eq!(bufs.iter().map(|b| b.len()).collect::<Vec<_>>(), sizes.map(|n| n * unit));
        assert_same("read", &joined(bufs), &old[unit..unit + total]);

        let new = pattern(most as u64 + 2, total);
        let mut rest = &new[..];
        let bufs: Vec<_> = sizes
            .map(|n| {
                let (head, tail) = rest.split_at(n * unit);
                rest = tail;
                data(head)
            })
            .into();
        let (result, _) = run(&mut core, Op::write_vectored(&file.handle, bufs, 2 * unit as u64));
        assert_eq!(result.unwrap(), total);
        let mut want = old.clone();
        want.truncate(2 * unit);
        want.extend(&new);
        assert_same("written", &world.contents(&file), &want);
        assert_eq!(core.stats().continued, 2 * (7usize.div_ceil(most) as u64 - 1));
    }
}

fn large_transfers_are_split(world: &World) {
    let len = 5 * 4096 + if world.unit() == 1 { 17 } else { 4096 };
    let contents = pattern(1, len + 4096);
    let file = world.file(&contents);
    let (driver, faults) = world.faulty(4);
    let seen = spy(&faults);
    let mut options = InflightOptions::default();
    options.transfer_max = 8192;
    let mut core = core_with(driver, options);
    let (result, op) = run(&mut core, Op::read(&file.handle, room(len), 4096));
    assert_eq!(result.unwrap(), len);
    assert_same("read", &op.into_buf::<AlignedBuf>().unwrap(), &contents[4096..]);
    let new = pattern(2, len);
    let (result, _) = run(&mut core, Op::write(&file.handle, data(&new), 0));
    assert_eq!(result.unwrap(), len);
    assert_same("written", &world.contents(&file)[..len], &new);
    let halves: Vec<_> = new.chunks(len / 4096 / 2 * 4096).map(data).collect();
    let (result, _) = run(&mut core, Op::write_vectored(&file.handle, halves, 4096));
    assert_eq!(result.unwrap(), len);
    assert_same("written", &world.contents(&file)[4096..], &new);

    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|part| part.len <= 8192), "{seen:#?}");
    assert_eq!(seen.len(), 3 * len.div_ceil(8192), "{seen:#?}");
}

#[cfg(target_os = "linux")]
fn more_than_two_gigabytes(world: &World) {
    if world.simulated() {
        // Its files are real memory; the puppet's test below stands for it.
        return;
    }
    let len = (2 << 30) + 3 * 4096;
    let file = world.file_in(Mode::Direct, b"");
    std::fs::File::options().write(true).open(world.path(&file.name)).unwrap().set_len(len as u64).unwrap();
    let mut core = world.core(4);
    let buf = io_testkit::AliasBuf::new(len).unwrap();
    let (result, op) = run(&mut core, Op::read(&file.handle, buf, 0));
    assert_eq!(result.unwrap(), len);
    assert!(core.stats().continued >= 1);
    assert_eq!(op.into_buf::<io_testkit::AliasBuf>().unwrap().len(), len);
}

#[cfg(not(target_os = "linux"))]
fn more_than_two_gigabytes(_: &World) {}

/// The arithmetic beyond 32 bits, without the memory.
#[test]
#[cfg(target_os = "linux")]
fn five_gigabytes_at_an_offset_beyond_32_bits() {
    let len: usize = (5 << 30) + 12345;
    let (puppet, strings) = Puppet::new(2);
    // Everything that is asked for is moved, but for one part, which is short by an odd number.
    let mut nth = 0;
    strings.script(move |seen| {
        nth += 1;
        Reply::Answer(if nth == 2 { seen.len as i32 - 4097 } else { seen.len as i32 })
    });
    let mut core = core(puppet.boxed());
    let file = nobodys_file(FileFacts::default());
    let offset = (7 << 32) + 5;
    for write in [false, true] {
        let buf = io_testkit::AliasBuf::new(len).unwrap();
        let op = if write { Op::write(&file, buf, offset) } else { Op::read(&file, buf, offset) };
        let (result, _) = run(&mut core, op);
        assert_eq!(result.unwrap(), len);
    }
    let (reads, writes): (Vec<_>, Vec<_>) = strings.seen().into_iter().partition(|seen| seen.kind == OpKind::Read);
    assert_eq!((reads.len(), writes.len()), (3, 3));
    for seen in [reads, writes] {
        let mut done = 0;
        for (nth, part) in seen.iter().enumerate() {
            let short = if part.kind == OpKind::Read && nth == 1 { 4097 } else { 0 };
            assert_eq!(part.offset, offset + done);
            assert_eq!((part.addr - seen[0].addr) as u64, done);
            assert_eq!(part.len as u64, (len as u64 - done).min(RawOp::MAX_TRANSFER as u64));
            done += part.len as u64 - short;
        }
        assert!(done >= len as u64, "{seen:#?}");
    }
}

fn the_end_of_the_file(world: &World) {
    let block = 4096;
    // An end within a block: the read behind it starts where no direct read may start, and must not be an error.
    for (size, offset, len) in
        [(5000, 0, 8192), (5000, 4096, 4096), (8192, 4096, 8192), (8192, 8192, 4096), (0, 0, 4096)]
    {
        for mode in Mode::ALL {
            let contents = pattern(3, size);
            let file = world.file_in(mode, &contents);
            let mut core = world.core(4);
            let (result, op) = run(&mut core, Op::read(&file.handle, room(len), offset as u64));
            let want = &contents[offset..size.min(offset + len)];
            assert_eq!(result.unwrap(), want.len(), "{mode:?}: {len} bytes at {offset} of {size}");
            assert_same("read", &op.into_buf::<AlignedBuf>().unwrap(), want);
            let bufs = vec![room(block), room(len - block)];
            let (result, op) = run(&mut core, Op::read_vectored(&file.handle, bufs, offset as u64));
            assert_eq!(result.unwrap(), want.len());
            assert_same("read", &joined(op.into_bufs().unwrap()), want);
        }
    }
    // Far behind it.
    let file = world.file(b"");
    let mut core = world.core(4);
    let (result, op) = run(&mut core, Op::read(&file.handle, Vec::<u8>::with_capacity(4096), 1 << 40));
    match result {
        Ok(n) => assert_eq!((n, op.into_buf::<Vec<u8>>().unwrap().len()), (0, 0)),
        // The memory of a Vec is aligned to nothing in particular.
        Err(error) => assert_eq!((error.raw_os_error(), world.mode()), (Some(errno::EINVAL), Mode::Direct)),
    }
}

fn an_error_after_a_part(world: &World) {
    let unit = world.unit();
    let contents = pattern(4, 8 * unit);
    for kind in [OpKind::Read, OpKind::ReadVectored, OpKind::Write, OpKind::WriteVectored] {
        let file = world.file(&contents);
        let (driver, faults) = world.faulty(4);
        let seen = spy(&faults);
        faults.add(Rule::of(kind, Fault::Short(3 * unit as u32)).times(1));
        faults.add(Rule::of(kind, Fault::Refuse(errno::EIO)).times(1));
        let mut core = core(driver);
        let new = pattern(5, 8 * unit);
        let op = match kind {
            OpKind::Read => Op::read(&file.handle, room(8 * unit), 0),
            OpKind::ReadVectored => Op::read_vectored(&file.handle, vec![room(2 * unit), room(6 * unit)], 0),
            OpKind::Write => Op::write(&file.handle, data(&new), 0),
            _ => Op::write_vectored(&file.handle, vec![data(&new[..unit]), data(&new[unit..])], 0),
        };
        let (result, op) = run(&mut core, op);
        assert_eq!(code(&result), errno::EIO, "{kind:?}");
        assert_eq!(seen.lock().unwrap().len(), 2, "{kind:?} was repeated");
        // On an error the buffer holds what was transferred before it.
        match kind {
            OpKind::Read => assert_same("read", &op.into_buf::<AlignedBuf>().unwrap(), &contents[..3 * unit]),
            OpKind::ReadVectored => {
                assert_same("read", &joined(op.into_bufs().unwrap()), &contents[..3 * unit]);
            }
            _ => assert_same("the file", &world.contents(&file), &[&new[..3 * unit], &contents[3 * unit..]].concat()),
        }
    }
}

fn flags_that_forbid_a_continuation(world: &World) {
    let unit = world.unit();
    for (kind, flags) in
        [(OpKind::Read, RwFlags::NOWAIT), (OpKind::Write, RwFlags::APPEND), (OpKind::Write, RwFlags::ATOMIC)]
    {
        // What the flags make of the transfer is the system's business; that it is not begun again is ours.
        let (puppet, strings) = Puppet::new(4);
        let half = 8 * unit as i32;
        strings.script(move |_| Reply::Answer(half));
        let mut core = core(puppet.boxed());
        let file = world.file(&pattern(1, 16 * unit));
        let op = match kind {
            OpKind::Read => Op::read(&file.handle, room(16 * unit), 0),
            _ => Op::write(&file.handle, data(&pattern(2, 16 * unit)), 0),
        };
        let (result, _) = run(&mut core, op.with_flags(flags));
        assert_eq!(result.unwrap(), 8 * unit, "{kind:?} {flags:?}");
        assert_eq!(strings.seen().len(), 1, "{kind:?} {flags:?} was continued");
    }
}

/// A core that splits large transfers once cut an atomic write: the first piece was written, and its length answered as if that had
/// been asked for. What may not be continued goes out whole.
#[test]
fn what_may_not_be_continued_is_not_cut() {
    let len = 5 * 4096;
    for (kind, flags) in [
        (OpKind::Read, RwFlags::NOWAIT),
        (OpKind::Write, RwFlags::NOWAIT),
        (OpKind::Write, RwFlags::APPEND),
        (OpKind::Write, RwFlags::ATOMIC),
    ] {
        let (puppet, strings) = Puppet::new(2);
        strings.script(move |seen| Reply::Answer(seen.len as i32));
        let mut options = InflightOptions::default();
        options.transfer_max = 4096;
        let mut core = core_with(puppet.boxed(), options);
        let file = io_engine::adopt(tempfile::tempfile().unwrap()).unwrap();
        let op = match kind {
            OpKind::Read => Op::read(&file, room(len), 0),
            _ => Op::write(&file, data(&pattern(2, len)), 0),
        };
        let (result, _) = run(&mut core, op.with_flags(flags));
        assert_eq!(result.unwrap(), len, "{kind:?} {flags:?}");
        assert_eq!(strings.seen().len(), 1, "{kind:?} {flags:?}");
    }
}

fn nothing_to_transfer(world: &World) {
    let file = world.file(&pattern(1, 4096));
    let mut core = world.core(4);
    for op in [
        Op::read(&file.handle, room(0), 0),
        Op::write(&file.handle, room(0), 0),
        Op::read_vectored(&file.handle, Vec::<AlignedBuf>::new(), 0),
        Op::write_vectored(&file.handle, vec![room(0), room(0)], 0),
    ] {
        let kind = op.kind();
        let (result, _) = run(&mut core, op);
        assert_eq!(result.unwrap(), 0, "{kind:?}");
    }
    assert_same("the file", &world.contents(&file), &pattern(1, 4096));
}

/// A device that takes no more answers 0; to go on asking would be a loop without end.
#[test]
fn a_write_that_moves_nothing_is_no_space() {
    let (puppet, strings) = Puppet::new(2);
    let mut replies = vec![Reply::Answer(0), Reply::Answer(40)];
    strings.script(move |_| replies.pop().expect("asked twice"));
    let mut core = core(puppet.boxed());
    let file = nobodys_file(FileFacts::default());
    let (result, _) = run(&mut core, Op::write(&file, vec![1u8; 100], 0));
    assert_eq!(code(&result), errno::ENOSPC);
    assert_eq!(strings.seen().len(), 2);
}

/// A copy within the kernel goes on like a transfer, at both offsets.
#[test]
fn a_copy_goes_on_at_both_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let contents = pattern(1, 50_000);
    std::fs::write(dir.path().join("from"), &contents).unwrap();
    std::fs::write(dir.path().join("to"), [0; 10]).unwrap();
    let open = |name| io_engine::open(dir.path().join(name), OpenOptions::READ_WRITE).unwrap();
    let (from, to) = (open("from"), open("to"));
    let (puppet, strings) = Puppet::new(2);
    strings.script(|_| Reply::Short(7777));
    let mut core = core(puppet.boxed());
    let (result, _) = run(&mut core, Op::copy_range(&from, 100, &to, 10, 1 << 40));
    assert_eq!(result.unwrap(), 49_900, "to the end of the source");
    let got = std::fs::read(dir.path().join("to")).unwrap();
    assert_same("copied", &got[10..], &contents[100..]);
    assert_eq!(strings.seen().len(), 49_900usize.div_ceil(7777) + 1, "the last one finds the end");
}

/// Continuations have reserved slots: with every slot taken, each operation still comes to its end.
#[test]
fn a_full_core_continues_all_its_operations() {
    let dir = tempfile::tempdir().unwrap();
    let contents = pattern(1, 64 * 100);
    std::fs::write(dir.path().join("f"), &contents).unwrap();
    let file = io_engine::open(dir.path().join("f"), OpenOptions::READ).unwrap();
    let (puppet, strings) = Puppet::new(64);
    strings.script(|_| Reply::Short(9));
    let mut core: Inflight<Op> = core(puppet.boxed());
    let tokens: Vec<_> =
        (0..64).map(|i| accept(&mut core, Op::read(&file, Vec::with_capacity(100), i * 100))).collect();
    assert_eq!(core.room(), 0);
    assert!(core.accept(Op::read(&file, vec![0; 1], 0)).is_err(), "a 65th");
    for finished in answers(&mut core, 64) {
        let at = tokens.iter().position(|&token| token == finished.token).unwrap();
        assert_eq!(finished.result.unwrap(), 100);
        let buf = finished.carrier.into_buf::<Vec<u8>>().unwrap();
        assert_same("read", &buf, &contents[at * 100..at * 100 + 100]);
    }
    assert!(drain(&mut core).is_empty());
    assert_eq!(core.stats().continued, 64 * 11);
}
