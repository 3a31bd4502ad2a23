//! Syncs.

use crate::{BLOCK, Cx, Mode, pattern};
use io_core::{AlignedBuf, FileFacts, Op, OpKind, OpenOptions, errno};

/// Both syncs of a file that was written answer 0.
pub fn syncs_of_data_and_of_all_succeed(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Write, OpKind::SyncData, OpKind::SyncAll]) {
        let mut bench = cx.bench(4);
        let (_, file) = cx.file(mode, &pattern(1, BLOCK));
        assert_eq!(bench.run(Op::write(&file, AlignedBuf::zeroed(BLOCK), 0)).0, BLOCK as i32);
        assert_eq!(bench.run(Op::sync_data(&file)).0, 0);
        assert_eq!(bench.run(Op::sync_all(&file)).0, 0);
    }
}

/// A clean file, an empty file: nothing to do is no error.
pub fn a_sync_with_nothing_to_do_succeeds(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::SyncData, OpKind::SyncAll]) {
        let mut bench = cx.bench(4);
        for contents in [&[][..], &pattern(1, BLOCK)] {
            let (_, file) = cx.file(mode, contents);
            for _ in 0..2 {
                assert_eq!(bench.run(Op::sync_all(&file)).0, 0);
                assert_eq!(bench.run(Op::sync_data(&file)).0, 0);
            }
        }
    }
}

/// fsync(2) asks for no write access: a reader may make durable what others wrote.
pub fn a_read_only_handle_can_sync(cx: &Cx<'_>) {
    if !cfg!(unix) {
        cx.skip("needs Unix: elsewhere a sync asks for write access");
    }
    for mode in cx.modes(&[OpKind::SyncData, OpKind::SyncAll]) {
        let mut bench = cx.bench(4);
        let name = cx.fresh();
        let file = cx.create(&name, &pattern(1, BLOCK), mode.of(OpenOptions::READ));
        assert_eq!(bench.run(Op::sync_data(&file)).0, 0);
        assert_eq!(bench.run(Op::sync_all(&file)).0, 0);
    }
}

/// Syncs beside one another and beside writes of other files: each answers for itself.
pub fn many_syncs_at_once(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Write, OpKind::SyncData, OpKind::SyncAll]) {
        let mut bench = cx.bench(16);
        let (name, file) = cx.file(mode, &pattern(1, 4 * BLOCK));
        let (other_name, other) = cx.file(mode, &pattern(2, 4 * BLOCK));
        for round in 0..5 {
            let new = pattern(10 + round, BLOCK);
            let at = (round as usize % 4 * BLOCK) as u64;
            assert_eq!(bench.run(Op::write(&file, AlignedBuf::copy_of(&new), at)).0, BLOCK as i32);
            for i in 0..12 {
                bench.start(match i % 3 {
                    0 => Op::sync_data(&file),
                    1 => Op::sync_all(&file),
                    _ => Op::write(&other, AlignedBuf::copy_of(&new), (i / 3 * BLOCK) as u64),
                });
            }
            bench.wait_all();
            for done in bench.take_done() {
                assert_eq!(done.result, if done.op.kind() == OpKind::Write { BLOCK as i32 } else { 0 });
            }
            assert!(cx.contents(&name)[at as usize..].starts_with(&new));
            assert_eq!(cx.contents(&other_name), new.repeat(4));
        }
    }
}

/// sync_file_range(2) starts write-back and answers 0; elsewhere it is not supported.
pub fn a_range_can_be_written_back(cx: &Cx<'_>) {
    cx.needs_buffered(&[OpKind::SyncRange]);
    let mut bench = cx.bench(4);
    let (_, file) = cx.file(Mode::Buffered, &pattern(1, 4 * BLOCK));
    for (offset, len) in [(0, BLOCK), (BLOCK, 2 * BLOCK), (0, 0)] {
        assert_eq!(bench.run(Op::sync_range(&file, offset as u64, len as u64)).0, 0);
    }
}

/// What cannot be synced says so: a pipe is `EINVAL`.
pub fn a_pipe_cannot_be_synced(cx: &Cx<'_>) {
    cx.needs_unix();
    cx.needs(&[OpKind::SyncData, OpKind::SyncAll]);
    let mut bench = cx.bench(4);
    let Ok((reader, _writer)) = crate::handles::pipe(FileFacts::default()) else { cx.skip("needs a pipe") };
    assert_eq!(bench.run(Op::sync_data(&reader)).0, -errno::EINVAL);
    assert_eq!(bench.run(Op::sync_all(&reader)).0, -errno::EINVAL);
}

/// The entries of a directory are made durable by its own sync. object_store#643 never did.
pub fn a_directory_can_be_synced(cx: &Cx<'_>) {
    cx.needs(&[OpKind::SyncDir]);
    let mut bench = cx.bench(4);
    let (name, _file) = cx.file(Mode::Buffered, b"x");
    let dir = cx.path(&name).parent().expect("a file lies in a directory").to_path_buf();
    assert_eq!(bench.run(Op::sync_dir(&dir).unwrap()).0, 0);
    assert_eq!(bench.run(Op::sync_dir(dir.join("missing")).unwrap()).0, -errno::ENOENT);
    if cfg!(unix) {
        assert_eq!(bench.run(Op::sync_dir(cx.path(&name)).unwrap()).0, -errno::ENOTDIR);
    }
}
