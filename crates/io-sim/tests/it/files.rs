//! The file system itself: names, locks, direct I/O, and contents against a model.

use crate::kit::{answer, bench, create, done, open, refused};
use io_core::{
    AccessMode, AlignedBuf, FileHandle, FileKind, IoBuf as _, LockHolder, Op, OpenOptions, Output, RawOp, RenameMode,
    RwFlags, Wait, errno,
};
use io_sim::{SimDisk, SimOptions};
use io_testkit::Bench;
use std::path::PathBuf;

fn disk() -> SimDisk {
    SimDisk::new(SimOptions::seeded(51))
}

fn metadata(disk: &SimDisk, op: Op) -> io_core::Metadata {
    match answer(disk, op) {
        Output::Metadata(metadata) => metadata,
        other => panic!("a stat answered {other:?}"),
    }
}

#[test]
fn names_come_and_go() {
    let disk = disk();
    done(&disk, Op::make_dir("/d", 0o750).unwrap());
    drop(create(&disk, "/d/f"));
    assert_eq!(refused(&disk, Op::make_dir("/d", 0o750).unwrap()), errno::EEXIST);
    assert_eq!(refused(&disk, Op::open("/d/f", OpenOptions::CREATE_NEW).unwrap()), errno::EEXIST);
    assert_eq!(refused(&disk, Op::open("/none/f", OpenOptions::CREATE).unwrap()), errno::ENOENT);
    assert_eq!(refused(&disk, Op::remove_dir("/d").unwrap()), errno::ENOTEMPTY);
    disk.symlink("/d/f", "/link").unwrap();
    assert_eq!(refused(&disk, Op::read_dir("/d/f").unwrap()), errno::ENOTDIR);
    let Output::Entries(entries) = answer(&disk, Op::read_dir("/").unwrap()) else { panic!() };
    let found: Vec<_> = entries.iter().map(|entry| (entry.name.to_str().unwrap(), entry.kind)).collect();
    assert_eq!(found, [("d", FileKind::Dir), ("link", FileKind::Symlink)]);
    let Output::Path(real) = answer(&disk, Op::real_path("/d/../link").unwrap()) else { panic!() };
    assert_eq!(real, PathBuf::from("/d/f"));
    done(&disk, Op::access("/link", AccessMode::ReadWrite).unwrap());
    assert_eq!(refused(&disk, Op::access("/nowhere", AccessMode::Exists).unwrap()), errno::ENOENT);
    done(&disk, Op::rename("/d/f", "/g", RenameMode::NoReplace).unwrap());
    assert_eq!(refused(&disk, Op::stat_path("/link", true).unwrap()), errno::ENOENT, "it leads to nothing now");
    assert_eq!(metadata(&disk, Op::stat_path("/link", false).unwrap()).kind, FileKind::Symlink);
    done(&disk, Op::remove_dir("/d").unwrap());
    done(&disk, Op::unlink("/link").unwrap());
    assert_eq!(disk.files(), [PathBuf::from("/g")]);
}

#[test]
fn metadata_tells_what_the_disk_is_like() {
    let disk = disk();
    let file = create(&disk, "/f");
    done(&disk, Op::write(&file, vec![1; 100], 8192));
    let found = metadata(&disk, Op::stat(&file));
    assert_eq!((found.kind, found.size, found.blocks, found.links), (FileKind::File, 8292, 8, 1));
    assert_eq!((found.dio_mem_align, found.dio_offset_align), (512, 512));
    let key = file.facts().inode.unwrap();
    assert_eq!((found.dev, found.ino), (key.dev, key.ino));
    assert!(found.modified > found.created);
    done(&disk, Op::unlink("/f").unwrap());
    assert_eq!(metadata(&disk, Op::stat(&file)).links, 0);
    let Output::StatFs(space) = answer(&disk, Op::stat_fs("/").unwrap()) else { panic!() };
    assert_eq!((space.block_size, space.blocks - space.free), (4096, 1));
    assert_eq!(metadata(&disk, Op::stat_path("/", true).unwrap()).links, 2);
}

#[test]
fn handles_know_what_they_are() {
    let disk = disk();
    disk.write_file("/f", &[1; 8192]).unwrap();
    let file = disk.open("/f", OpenOptions::READ_WRITE.direct()).unwrap();
    let facts = file.facts();
    assert!(facts.direct && facts.seekable && facts.filled == 8192);
    assert!(file.at().raw.get() >= 1 << 40 && file.at().raw.fd() == -1);
    let dir = disk.open("/", OpenOptions::READ).unwrap();
    assert!(!dir.facts().seekable);
    assert_eq!(refused(&disk, Op::read(&dir, vec![0; 1], 0)), errno::EISDIR);
    done(&disk, Op::sync_all(&dir));
    let other = SimDisk::new(SimOptions::seeded(1));
    assert_eq!(refused(&other, Op::read(&file, AlignedBuf::zeroed(512), 0)), errno::EBADF, "another disk's file");
}

#[test]
fn access_modes_are_enforced() {
    let disk = disk();
    disk.write_file("/f", b"x").unwrap();
    let reader = disk.open("/f", OpenOptions::READ).unwrap();
    let writer = disk.open("/f", OpenOptions { read: false, ..OpenOptions::READ_WRITE }).unwrap();
    assert_eq!(refused(&disk, Op::write(&reader, vec![0; 1], 0)), errno::EBADF);
    assert_eq!(refused(&disk, Op::read(&writer, vec![0; 1], 0)), errno::EBADF);
    assert_eq!(refused(&disk, Op::truncate(&reader, 0)), errno::EINVAL);
    assert_eq!(refused(&disk, Op::allocate(&reader, 0, 1, false)), errno::EBADF);
    assert_eq!(refused(&disk, Op::try_lock(&reader, 0, 0, true)), errno::EBADF);
    assert_eq!(refused(&disk, Op::copy_range(&writer, 0, &writer, 10, 1)), errno::EBADF);
}

#[test]
fn absurd_places_are_refused() {
    let disk = disk();
    let file = create(&disk, "/f");
    let far = i64::MAX as u64;
    assert_eq!(refused(&disk, Op::read(&file, vec![0; 1], far + 1)), errno::EINVAL);
    assert_eq!(refused(&disk, Op::write(&file, vec![0; 1], far + 1)), errno::EINVAL);
    assert_eq!(refused(&disk, Op::write(&file, vec![0; 1], far)), errno::EFBIG);
    assert_eq!(refused(&disk, Op::truncate(&file, far + 1)), errno::EINVAL);
    assert_eq!(refused(&disk, Op::truncate(&file, far)), errno::EFBIG);
    assert_eq!(refused(&disk, Op::allocate(&file, 0, 0, false)), errno::EINVAL);
    assert_eq!(refused(&disk, Op::allocate(&file, far, far, false)), errno::EFBIG);
    assert_eq!(refused(&disk, Op::allocate(&file, 0, 1 << 43, false)), errno::ENOSPC);
    assert_eq!(done(&disk, Op::read(&file, vec![0; 1], far)).0, 0);
    assert_eq!(done(&disk, Op::write(&file, vec![0; 0], 5)).0, 0);
    assert_eq!(done(&disk, Op::write(&file, vec![7; 3], 1 << 43)).0, 3, "sparse");
    assert_eq!(metadata(&disk, Op::stat(&file)).blocks, 8);
}

#[test]
fn direct_io_is_aligned_or_refused() {
    let disk = disk();
    disk.write_file("/f", &[1; 5000]).unwrap();
    let file = disk.open("/f", OpenOptions::READ_WRITE.direct()).unwrap();
    let aligned = |len| AlignedBuf::zeroed(len);
    assert_eq!(done(&disk, Op::read(&file, aligned(8192), 0)).0, 5000, "to the end");
    assert_eq!(done(&disk, Op::write(&file, aligned(512), 512)).0, 512);
    for op in [
        Op::read(&file, aligned(512), 100),
        Op::read(&file, aligned(100), 512),
        Op::read(&file, aligned(1024).slice(1..513), 0),
        Op::write(&file, aligned(1024).slice(1..513), 0),
        Op::write(&file, aligned(513), 0),
        Op::write_vectored(&file, vec![aligned(512), aligned(100)], 0),
        Op::write(&file, aligned(512), 0).with_flags(RwFlags::APPEND),
    ] {
        assert_eq!(refused(&disk, op), errno::EINVAL);
    }
    let atomic = |len, at| Op::write(&file, aligned(len), at).with_flags(RwFlags::ATOMIC);
    assert_eq!(refused(&disk, atomic(512, 0)), errno::EOPNOTSUPP);
}

#[test]
fn an_unlinked_file_stays_readable_until_it_is_closed() {
    let disk = disk();
    disk.write_file("/f", b"still here").unwrap();
    let file = open(&disk, "/f");
    done(&disk, Op::unlink("/f").unwrap());
    let (result, op) = done(&disk, Op::read(&file, Vec::<u8>::with_capacity(100), 0));
    assert_eq!((result, op.into_buf::<Vec<u8>>().unwrap()), (10, b"still here".to_vec()));
    done(&disk, Op::close(file).unwrap());
}

#[test]
fn appends_go_to_the_end() {
    let disk = disk();
    disk.write_file("/f", b"ab").unwrap();
    let file = open(&disk, "/f");
    done(&disk, Op::write(&file, b"cd".to_vec(), 0).with_flags(RwFlags::APPEND));
    assert_eq!(disk.read_file("/f").unwrap(), b"abcd");
}

#[test]
fn locks_keep_others_out_and_go_with_the_handle() {
    let disk = disk();
    disk.write_file("/f", b"").unwrap();
    let (mine, theirs) = (open(&disk, "/f"), open(&disk, "/f"));
    done(&disk, Op::try_lock(&mine, 0, 100, true));
    assert_eq!(refused(&disk, Op::try_lock(&theirs, 50, 10, false)), errno::EAGAIN);
    let Output::Lock(holder) = answer(&disk, Op::query_lock(&theirs, 0, 0, true)) else { panic!() };
    assert_eq!(holder, Some(LockHolder { exclusive: true, offset: 0, len: 100, pid: None }));
    done(&disk, Op::unlock(&mine, 0, 50));
    done(&disk, Op::try_lock(&theirs, 0, 50, true));
    let clone = mine.clone();
    drop(mine);
    assert_eq!(refused(&disk, Op::try_lock(&theirs, 0, 0, true)), errno::EAGAIN);
    drop(clone);
    done(&disk, Op::try_lock(&theirs, 0, 0, true));
}

/// The output place of an operation may hold a file of the same disk; it is dropped while the disk answers.
#[test]
fn a_file_dropped_while_the_disk_is_busy_is_closed_all_the_same() {
    let disk = disk();
    disk.write_file("/f", b"").unwrap();
    let mut op = Op::open("/f", OpenOptions::READ).unwrap();
    for _ in 0..3 {
        // The answer of the round before is still in its place.
        op = bench(&disk, 1).run(op).1;
    }
    assert_eq!(disk.times_open("/f").unwrap(), 1);
    drop(op);
    assert_eq!(disk.times_open("/f").unwrap(), 0);
}

#[test]
fn copies_and_clones() {
    let disk = disk();
    disk.write_file("/a", &io_testkit::pattern(1, 10_000)).unwrap();
    disk.write_file("/b", b"").unwrap();
    let (a, b) = (open(&disk, "/a"), open(&disk, "/b"));
    assert_eq!(done(&disk, Op::copy_range(&a, 100, &b, 7, 50_000)).0, 9900);
    assert_eq!(disk.read_file("/b").unwrap()[7..], disk.read_file("/a").unwrap()[100..]);
    assert_eq!(done(&disk, Op::copy_range(&a, 10_000, &b, 0, 10)).0, 0);
    assert_eq!(refused(&disk, Op::copy_range(&a, 0, &a, 10, 100)), errno::EINVAL);
    done(&disk, Op::truncate(&b, 0));
    assert_eq!(refused(&disk, Op::clone_range(&a, 100, &b, 0, 0)), errno::EINVAL);
    assert_eq!(refused(&disk, Op::clone_range(&a, 0, &b, 0, 20_000)), errno::EINVAL);
    done(&disk, Op::clone_range(&a, 0, &b, 0, 0));
    assert_eq!(disk.read_file("/b").unwrap(), disk.read_file("/a").unwrap());
    done(&disk, Op::write(&a, vec![0; 10_000], 0));
    assert_eq!(disk.read_file("/b").unwrap(), io_testkit::pattern(1, 10_000), "shared until written");
    let without = SimDisk::new(SimOptions { reflink: false, ..SimOptions::seeded(1) });
    without.write_file("/a", b"").unwrap();
    let file = open(&without, "/a");
    assert_eq!(refused(&without, Op::clone_range(&file, 0, &file, 0, 0)), errno::EOPNOTSUPP);
}

/// What a file holds, as plain bytes.
fn apply(model: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if model.len() < at + bytes.len() {
        model.resize(at + bytes.len(), 0);
    }
    model[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Runs transfers beside one another to their ends, however short their pieces.
fn run_beside(bench: &mut Bench, ops: Vec<Op>) {
    let mut left: Vec<_> = ops.into_iter().map(|op| (op, 0)).collect();
    while !left.is_empty() {
        let flying: Vec<_> = left
            .into_iter()
            .map(|(op, moved)| (bench.start_rest(op, moved, RawOp::MAX_TRANSFER).expect("the driver has room"), moved))
            .collect();
        let landed = flying.into_iter().map(|(token, moved)| (bench.finish(token), moved));
        let landed: Vec<_> = landed.map(|(done, moved)| (done.op, moved + done.result as u64)).collect();
        left = landed.into_iter().filter(|(op, moved)| *moved < op.len()).collect();
    }
}

/// A long history of operations, one at a time and several beside one another, leaves what plain bytes would hold.
#[test]
fn contents_follow_the_model() {
    for (seed, options) in (0..40).map(|seed| (seed, SimOptions::seeded(seed))).flat_map(|(seed, calm)| {
        [(seed, calm), (seed, SimOptions::hostile(seed)), (seed, SimOptions::hostile(seed).without_latency())]
    }) {
        let disk = SimDisk::new(options);
        let file = create(&disk, "/f");
        let mut bench = bench(&disk, 8);
        let mut model = Vec::new();
        let mut random = seed;
        let mut below = |bound: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % bound
        };
        for step in 0..60 {
            let (at, len) = (below(40_000), below(12_000));
            match below(9) {
                0..=3 => {
                    // Neighbours beside one another: their order does not matter.
                    let flights: Vec<_> = (0..4).map(|n| (at + n * len, vec![(step * 4 + n) as u8 | 1; len])).collect();
                    run_beside(
                        &mut bench,
                        flights.iter().map(|(at, b)| Op::write(&file, b.clone(), *at as u64)).collect(),
                    );
                    if len > 0 {
                        flights.iter().for_each(|(at, bytes)| apply(&mut model, *at, bytes));
                    }
                }
                4 => {
                    bench.run(Op::truncate(&file, at as u64));
                    model.resize(at, 0);
                }
                5 => {
                    assert_eq!(bench.run(Op::punch_hole(&file, at as u64, len as u64 + 1)).0, 0);
                    let end = (at + len + 1).min(model.len());
                    model[at.min(end)..end].fill(0);
                }
                6 => {
                    assert_eq!(bench.run(Op::zero_range(&file, at as u64, len as u64 + 1, false)).0, 0);
                    apply(&mut model, at, &vec![0; len + 1]);
                }
                7 => {
                    assert_eq!(bench.run(Op::allocate(&file, at as u64, len as u64 + 1, false)).0, 0);
                    model.resize(model.len().max(at + len + 1), 0);
                }
                _ => {
                    let (result, _) = bench.run(if step % 2 == 0 { Op::sync_data(&file) } else { Op::sync_all(&file) });
                    assert_eq!(result, 0);
                    assert_eq!(
                        disk.durable_file("/f").map(|bytes| bytes == model).ok(),
                        None,
                        "its name is not durable"
                    );
                }
            }
            let (moved, op) = bench.run_whole(Op::read(&file, Vec::<u8>::with_capacity(len), at as u64));
            let expected = &model[at.min(model.len())..(at + len).min(model.len())];
            assert_eq!(moved, expected.len() as i64, "seed {seed}, step {step}");
            assert!(op.into_buf::<Vec<u8>>().unwrap() == expected, "seed {seed}, step {step}");
        }
        assert!(disk.read_file("/f").unwrap() == model, "seed {seed}");
    }
}

/// More than one transfer may move, in pieces, without the simulator holding a second copy of it all.
#[test]
fn large_transfers_are_capped_and_move() {
    let disk = disk();
    let file = create(&disk, "/f");
    let mut bench = bench(&disk, 2);
    let big = 24 << 20;
    let (moved, op) = bench.run(Op::write(&file, io_testkit::pattern(1, big), 3));
    assert_eq!(moved, big as i32);
    let written = op.into_buf::<Vec<u8>>().unwrap();
    let (moved, op) = bench.run(Op::read(&file, Vec::<u8>::with_capacity(big), 3));
    assert!(moved == big as i32 && op.into_buf::<Vec<u8>>().unwrap() == written);
    let pieces = vec![vec![1u8; 1]; RawOp::MAX_PIECES as usize];
    assert_eq!(bench.run(Op::write_vectored(&file, pieces, 0)).0, RawOp::MAX_PIECES as i32);
}

#[test]
fn a_closed_file_is_no_file() {
    let disk = disk();
    disk.write_file("/f", b"x").unwrap();
    let mut bench = bench(&disk, 2);
    let keep: FileHandle = open(&disk, "/f");
    let gone = open(&disk, "/f");
    let at = gone.at();
    assert_eq!(bench.run(Op::close(gone).unwrap()).0, 0);
    assert_eq!(disk.times_open("/f").unwrap(), 1);
    bench.reap(Wait::No);
    assert_ne!(open(&disk, "/f").at().raw, at.raw, "numbers are not used again");
    drop(keep);
}
