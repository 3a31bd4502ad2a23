//! Each error surfaces as itself, on its own operation, once.

use crate::{BLOCK, Cx, Mode, bytes::assert_same, nobodys_file, pattern};
use io_core::{Advice, AlignedBuf, FileFacts, FileHandle, Lifetime, Op, OpClass, OpKind, OpenOptions, errno};

fn read(file: &FileHandle, offset: u64) -> Op {
    Op::read(file, AlignedBuf::with_capacity(BLOCK), offset)
}

fn write(file: &FileHandle, offset: u64) -> Op {
    Op::write(file, AlignedBuf::copy_of(&pattern(99, BLOCK)), offset)
}

/// An operation that the system refuses fails as itself; the others of its batch go on. `io_submit` stops at the first one it
/// refuses, and an engine that gave up there leaked the rest.
pub fn bad_descriptor_between_good_ones(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let contents = pattern(1, 8 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        let bad = nobodys_file(*file.facts());
        for places in [&[0][..], &[3], &[7], &[0, 1, 2], &[5, 6, 7], &[0, 1, 2, 3, 4, 5, 6, 7]] {
            let mut bench = cx.bench(8);
            let tokens: Vec<_> = (0..8)
                .map(|i| bench.start(read(if places.contains(&i) { &bad } else { &file }, (i * BLOCK) as u64)))
                .collect();
            bench.wait_all();
            for (i, token) in tokens.into_iter().enumerate() {
                let done = bench.take(token).expect("all have completed");
                if places.contains(&i) {
                    assert_eq!(done.result, -errno::EBADF);
                } else {
                    assert_eq!(done.result, BLOCK as i32);
                    let at = i * BLOCK;
                    assert_same("a block", &done.op.into_buf::<AlignedBuf>().unwrap(), &contents[at..at + BLOCK]);
                }
            }
        }
    }
}

/// One operation of each kind that works on an open file.
fn one_of_each(file: &FileHandle) -> Vec<Op> {
    vec![
        read(file, 0),
        write(file, 0),
        Op::read_vectored(file, vec![AlignedBuf::with_capacity(BLOCK)], 0),
        Op::write_vectored(file, vec![AlignedBuf::zeroed(BLOCK)], 0),
        Op::sync_data(file),
        Op::sync_all(file),
        Op::sync_range(file, 0, 0),
        Op::allocate(file, 0, BLOCK as u64, false),
        Op::punch_hole(file, 0, BLOCK as u64),
        Op::zero_range(file, 0, BLOCK as u64, false),
        Op::truncate(file, 0),
        Op::advise(file, 0, 0, Advice::Random),
        Op::write_hint(file, Lifetime::Short),
        Op::try_lock(file, 0, 0, true),
        Op::unlock(file, 0, 0),
        Op::query_lock(file, 0, 0, true),
        Op::stat(file),
        Op::copy_range(file, 0, file, 0, BLOCK as u64),
        Op::clone_range(file, 0, file, 0, 0),
    ]
}

/// No kind of operation works on a file that is none, and each says `EBADF`.
pub fn bad_descriptor_for_every_kind(cx: &Cx<'_>) {
    let mut bench = cx.bench(8);
    let mut tried = 0;
    for direct in [false, true] {
        let facts = FileFacts { direct, filled: 1 << 20, seekable: true, ..FileFacts::default() };
        for op in one_of_each(&nobodys_file(facts)) {
            if cx.supports().contains(op.kind(), op.class()) {
                let (result, op) = bench.run(op);
                assert_eq!(result, -errno::EBADF, "{op:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 0, "the driver supports nothing");
}

/// What the driver does not support it does all the same, or answers `EOPNOTSUPP`; either way once. The engine relies on the
/// answer where `supports` and the kernel of the day disagree.
pub fn unsupported_kinds_are_answered(cx: &Cx<'_>) {
    let mut bench = cx.bench(8);
    bench.insist();
    for mode in Mode::ALL {
        if mode == Mode::Direct && !cx.disk_is_direct() {
            continue;
        }
        let (_, file) = cx.file(mode, &pattern(1, BLOCK));
        for op in one_of_each(&file) {
            if cx.supports().contains(op.kind(), op.class()) {
                continue;
            }
            let (result, op) = bench.run(op);
            let cannot = [errno::EOPNOTSUPP, errno::EINVAL, errno::ENOSYS].contains(&-result);
            assert!(result >= 0 || cannot, "{result}: {op:?}");
        }
    }
    let (name, _file) = cx.file(Mode::Buffered, b"x");
    for op in [
        Op::open(cx.path(&name), OpenOptions::READ),
        Op::stat_path(cx.path(&name), true),
        Op::stat_fs(cx.path(&name)),
        Op::access(cx.path(&name), io_core::AccessMode::Read),
        Op::real_path(cx.path(&name)),
        Op::read_dir(cx.path(&name).parent().expect("a file lies in a directory")),
        Op::unlink(cx.path(&name)),
    ] {
        let op = op.expect("no path here has a NUL byte");
        if !cx.supports().contains(op.kind(), OpClass::Buffered) {
            let (result, op) = bench.run(op);
            assert!(result == 0 || result == -errno::EOPNOTSUPP, "{result}: {op:?}");
        }
    }
}

/// A file opened for reading is not written, one opened for writing is not read.
pub fn access_of_the_handle_is_kept(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read, OpKind::Write]) {
        let mut bench = cx.bench(4);
        let name = cx.fresh();
        let contents = pattern(1, BLOCK);
        let reader = cx.create(&name, &contents, mode.of(OpenOptions::READ));
        let (result, _) = bench.run(write(&reader, 0));
        assert!([errno::EBADF, errno::EACCES].contains(&-result), "{result}");
        let options = OpenOptions { read: false, ..OpenOptions::READ_WRITE };
        let writer = cx.create(&name, &contents, mode.of(options));
        let (result, op) = bench.run(read(&writer, 0));
        assert!([errno::EBADF, errno::EACCES].contains(&-result), "{result}");
        assert!(op.into_buf::<AlignedBuf>().unwrap().is_empty(), "bytes beside an error");
        assert_same("the file", &cx.contents(&name), &contents);
    }
}

/// A directory has no bytes to read: `EISDIR`, or `EINVAL` from Linux AIO, which does not get as far.
pub fn a_directory_is_not_read(cx: &Cx<'_>) {
    cx.needs_unix();
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(4);
        // A directory's handle is not a direct one; the facts say what makes the driver take the operation.
        let facts = FileFacts { direct: mode == Mode::Direct, ..FileFacts::default() };
        let dir = std::fs::File::open(cx.disk().dir().expect("a real disk")).expect("the directory is there");
        let dir = FileHandle::from_std(dir, facts);
        let (result, _) = bench.run(read(&dir, 0));
        assert!([errno::EISDIR, errno::EINVAL].contains(&-result), "{result}");
    }
}

/// A pipe has no offsets: `ESPIPE`, or (from drivers that read it all the same) the bytes in it.
pub fn a_pipe_has_no_offsets(cx: &Cx<'_>) {
    #[cfg(not(unix))]
    cx.skip("needs Unix");
    #[cfg(unix)]
    {
        cx.needs_real_files();
        for mode in cx.modes(&[OpKind::Read, OpKind::Write]) {
            let mut bench = cx.bench(4);
            let facts = FileFacts { direct: mode == Mode::Direct, filled: 1 << 30, ..FileFacts::default() };
            let Ok((reader, writer)) = crate::handles::pipe(facts) else { cx.skip("needs a pipe") };
            let (written, _) = bench.run(write(&writer, BLOCK as u64));
            assert!([-libc::ESPIPE, BLOCK as i32].contains(&written), "{written}");
            if written < 0 {
                let bytes = pattern(99, BLOCK);
                crate::handles::write_all(&writer, &bytes);
            }
            let (result, op) = bench.run(read(&reader, BLOCK as u64));
            assert!([-libc::ESPIPE, BLOCK as i32].contains(&result), "{result}");
            if result > 0 {
                assert_same("the pipe", &op.into_buf::<AlignedBuf>().unwrap(), &pattern(99, BLOCK));
            }
        }
    }
}

/// Offsets that no file has are refused: above `i64::MAX` always, and writes that would end there. To io_uring, all ones means
/// "at the file's own position": who passes it on reads from the wrong place and succeeds.
pub fn offsets_that_no_file_has(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read, OpKind::Write]) {
        let mut bench = cx.bench(4);
        bench.insist();
        let contents = pattern(1, 2 * BLOCK);
        let (name, file) = cx.file(mode, &contents);
        for offset in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) + BLOCK as u64, u64::MAX - BLOCK as u64 + 1] {
            for op in [read(&file, offset), Op::read_vectored(&file, vec![AlignedBuf::with_capacity(BLOCK)], offset)] {
                let (result, op) = bench.run(op);
                assert!(result < 0, "read {result} bytes: {op:?}");
            }
            for op in [write(&file, offset), Op::write_vectored(&file, vec![AlignedBuf::zeroed(BLOCK)], offset)] {
                let (result, op) = bench.run(op);
                assert!(result < 0, "wrote {result} bytes: {op:?}");
            }
        }
        let last = i64::MAX as u64 & !(BLOCK as u64 - 1);
        let (result, op) = bench.run(read(&file, last));
        assert!(result <= 0, "read {result} bytes: {op:?}");
        let (result, op) = bench.run(write(&file, last));
        assert!(result < 0, "wrote {result} bytes: {op:?}");
        assert_same("the file", &cx.contents(&name), &contents);
    }
}

/// Direct I/O that is out of line (offset, length, memory) is refused with `EINVAL`, or done right by file systems that can.
pub fn misaligned_direct_io(cx: &Cx<'_>) {
    if !cx.modes(&[OpKind::Read]).contains(&Mode::Direct) {
        cx.skip("needs direct I/O");
    }
    let mut bench = cx.bench(4);
    let contents = pattern(1, 4 * BLOCK);
    let (_, file) = cx.file(Mode::Direct, &contents);
    for (offset, len, skew) in [(1, BLOCK, 0), (0, 100, 0), (0, BLOCK, 1), (77, 1000, 3)] {
        let buf = io_core::IoBuf::slice(AlignedBuf::zeroed(2 * BLOCK), skew..skew + len);
        let (result, op) = bench.run(Op::read(&file, buf, offset));
        if result < 0 {
            assert_eq!(result, -errno::EINVAL, "{op:?}");
            continue;
        }
        assert_eq!(result as usize, len);
        let buf = op.into_buf::<io_core::Slice<AlignedBuf>>().unwrap().into_inner();
        assert_same("what was read", &buf[skew..skew + len], &contents[offset as usize..offset as usize + len]);
    }
    // The next one in line is not held up by its predecessors' errors.
    assert_eq!(bench.run(read(&file, 0)).0, BLOCK as i32);
}

/// Memory that cannot be touched is `EFAULT`, and harms nobody else.
pub fn bad_memory(cx: &Cx<'_>) {
    #[cfg(not(unix))]
    cx.skip("needs Unix");
    #[cfg(unix)]
    {
        use crate::guard::SealedBuf;
        cx.needs_real_files();
        for mode in cx.modes(&[OpKind::Read, OpKind::Write]) {
            let mut bench = cx.bench(8);
            let contents = pattern(1, 4 * BLOCK);
            let (name, file) = cx.file(mode, &contents);
            let good = bench.start(read(&file, 0));
            let bad = bench.start(Op::read(&file, SealedBuf::new(BLOCK), 0));
            let bad_write = bench.start(Op::write(&file, SealedBuf::new(BLOCK), BLOCK as u64));
            let also_good = bench.start(read(&file, 2 * BLOCK as u64));
            bench.wait_all();
            for token in [bad, bad_write] {
                assert_eq!(bench.take(token).expect("all have completed").result, -errno::EFAULT);
            }
            for token in [good, also_good] {
                assert_eq!(bench.take(token).expect("all have completed").result, BLOCK as i32);
            }
            assert_same("the file", &cx.contents(&name), &contents);
        }
    }
}

/// With an error comes the buffer, as it was.
pub fn errors_give_the_buffer_back(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read, OpKind::Write]) {
        let mut bench = cx.bench(4);
        let (_, file) = cx.file(mode, &pattern(1, BLOCK));
        let nobody = nobodys_file(*file.facts());
        let own = pattern(2, BLOCK);
        let (result, op) = bench.run(Op::write(&nobody, AlignedBuf::copy_of(&own), 0));
        assert_eq!(result, -errno::EBADF);
        assert_same("the buffer", &op.into_buf::<AlignedBuf>().unwrap(), &own);
        let (result, op) = bench.run(Op::read(&nobody, AlignedBuf::copy_of(&own), 0));
        assert_eq!(result, -errno::EBADF);
        let mut buf = op.into_buf::<AlignedBuf>().unwrap();
        assert!(buf.is_empty(), "bytes beside an error");
        buf.resize(BLOCK);
        assert_same("the buffer", &buf, &own);
    }
}

/// The file size limit: the write across it is short for real, its rest is `EFBIG`, a retry does not get further, and a request
/// of more than 2 GiB is just another one that is short.
pub fn writes_at_the_file_size_limit(cx: &Cx<'_>) {
    #[cfg(not(target_os = "linux"))]
    cx.skip("needs Linux, to run in a child under a limit");
    #[cfg(target_os = "linux")]
    {
        cx.needs_real_files();
        let limit = 2 * BLOCK;
        for mode in cx.modes(&[OpKind::Write, OpKind::WriteVectored]) {
            let old = pattern(1, 4 * BLOCK);
            let (name, file) = cx.file(mode, &old);
            // Its memory is a file, too, and falls under the limit.
            let huge = crate::AliasBuf::new(3 << 30).expect("address space");
            cx.in_child(&crate::confine::Confinement::none().file_size(limit as u64), || {
                let mut bench = cx.bench(4);
                let new = pattern(2, 4 * BLOCK);
                let (result, op) = bench.run_whole(Op::write(&file, AlignedBuf::copy_of(&new), 0));
                assert_eq!(result, -i64::from(errno::EFBIG), "{op:?}");
                assert_same("the front", &cx.contents(&name)[..limit], &new[..limit]);
                assert_same("the rest", &cx.contents(&name)[limit..], &old[limit..]);
                let short = bench.run(Op::write(&file, AlignedBuf::copy_of(&new), 0)).0;
                assert_eq!(short, limit as i32);
                let pieces = new.chunks(BLOCK).map(AlignedBuf::copy_of).collect();
                assert_eq!(bench.run(Op::write_vectored(&file, pieces, BLOCK as u64)).0, BLOCK as i32);
                for behind in [limit, 3 * BLOCK] {
                    assert_eq!(bench.run(write(&file, behind as u64)).0, -errno::EFBIG);
                }
                if mode == Mode::Buffered {
                    assert_eq!(bench.run(Op::write(&file, huge, 0)).0, limit as i32);
                }
            });
        }
    }
}

/// A full disk: what fitted is written and said, the rest is `ENOSPC`, and once there is room again, writing goes on.
pub fn writes_on_a_full_disk(cx: &Cx<'_>) {
    #[cfg(not(target_os = "linux"))]
    cx.skip("needs Linux, to mount a small tmpfs in a child");
    #[cfg(target_os = "linux")]
    {
        use crate::{Disk as _, RealDisk, confine};
        const MIB: usize = 1 << 20;
        cx.needs_real_files();
        if !confine::is_root() {
            cx.skip("needs root, to mount a small tmpfs");
        }
        let mode = cx.growing_modes(&[OpKind::Write])[0];
        cx.in_child(&confine::Confinement::none(), || {
            let dir = cx.path("mount-point");
            std::fs::create_dir_all(&dir).expect("a directory to mount on");
            if let Err(error) = confine::private_tmpfs(&dir, MIB as u64) {
                cx.skip(format!("needs root with the right to mount: {error}"));
            }
            let disk = RealDisk::in_dir(&dir).expect("the mount is writable");
            let file = disk.create("file", b"", mode.of(OpenOptions::READ_WRITE)).expect("the mount is empty");
            let mut bench = cx.bench(4);
            let new = pattern(3, 2 * MIB);
            let (result, op) = bench.run_whole(Op::write(&file, AlignedBuf::copy_of(&new), 0));
            assert_eq!(result, -i64::from(errno::ENOSPC), "{op:?}");
            let now = disk.contents("file").expect("the file is there");
            assert!(!now.is_empty() && now.len() <= MIB, "{} bytes", now.len());
            assert_same("what fitted", &now, &new[..now.len()]);
            fill(&mut bench, &file, now.len());
            std::fs::OpenOptions::new()
                .write(true)
                .open(disk.path("file"))
                .and_then(|file| file.set_len(0))
                .expect("the file can be cut");
            assert_eq!(bench.run(write(&file, 0)).0, BLOCK as i32);
        });
    }
}

/// Writes behind what fitted until nothing fits: each answer is some bytes, or `ENOSPC`, and that soon.
#[cfg(target_os = "linux")]
fn fill(bench: &mut crate::Bench, file: &FileHandle, from: usize) {
    let mut at = from.next_multiple_of(BLOCK);
    for _ in 0..300 {
        match bench.run(write(file, at as u64)).0 {
            written if written > 0 => at += BLOCK,
            result => return assert_eq!(result, -errno::ENOSPC),
        }
    }
    panic!("a disk of 1 MiB took another {} bytes", at - from);
}
