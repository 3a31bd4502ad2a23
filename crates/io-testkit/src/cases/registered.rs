//! Registered files and registered memory: faster, never different.

use crate::{BLOCK, Bench, Cx, bytes::assert_same, pattern, region::Region};
use io_core::{AlignedBuf, FileHandle, IoBuf as _, Op, OpKind};
use std::io;

/// Registers a file; `false` where the driver knows no such thing.
#[track_caller]
fn register(bench: &mut Bench, file: &FileHandle) -> bool {
    match bench.driver().register_file(file) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::Unsupported => false,
        Err(error) => panic!("cannot register {file:?}: {error}"),
    }
}

/// The same operations give the same answers with and without registration, and after it was given back.
pub fn a_registered_file_is_the_same_file(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read, OpKind::Write, OpKind::SyncData]) {
        let mut bench = cx.bench(8);
        let (name, file) = cx.file(mode, &pattern(1, 4 * BLOCK));
        for step in 0..4 {
            match step {
                1 => drop(register(&mut bench, &file)),
                2 => drop(register(&mut bench, &file)),
                3 => bench.driver().unregister_file(file.id()),
                _ => {}
            }
            let new = pattern(10 + step, BLOCK);
            let at = step as usize * BLOCK;
            assert_eq!(bench.run(Op::write(&file, AlignedBuf::copy_of(&new), at as u64)).0, BLOCK as i32);
            assert_eq!(bench.run(Op::sync_data(&file)).0, 0);
            let (read, op) = bench.run(Op::read(&file, AlignedBuf::with_capacity(BLOCK), at as u64));
            assert_eq!(read, BLOCK as i32);
            assert_same("what was read", &op.into_buf::<AlignedBuf>().unwrap(), &new);
            assert_same("the file", &cx.contents(&name)[at..at + BLOCK], &new);
        }
        // Nobody is registered under these any more.
        bench.driver().unregister_file(file.id());
    }
}

/// A registered file is closed by its owner and the number is given to another file: operations go to the file that was
/// opened, not to the one that was registered. fsys 1.1.0 kept its cache by number and wrote to the wrong file.
pub fn a_number_used_again_is_another_file(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read, OpKind::Write]) {
        for unregister in [false, true] {
            let mut bench = cx.bench(8);
            let old = pattern(1, BLOCK);
            let (old_name, file) = cx.file(mode, &old);
            let (number, id) = (file.at().raw, file.id());
            register(&mut bench, &file);
            assert_eq!(bench.run(Op::read(&file, AlignedBuf::with_capacity(BLOCK), 0)).0, BLOCK as i32);
            drop(file);
            if unregister {
                bench.driver().unregister_file(id);
            }
            // Another test may take the number; a few tries get it.
            let mut others = Vec::new();
            while others.len() < 20 && !others.iter().any(|(_, file): &(_, FileHandle)| file.at().raw == number) {
                others.push(cx.file(mode, &pattern(2, BLOCK)));
            }
            for (name, other) in &others {
                let new = pattern(3, BLOCK);
                register(&mut bench, other);
                assert_eq!(bench.run(Op::write(other, AlignedBuf::copy_of(&new), 0)).0, BLOCK as i32);
                assert_same("the file that was written", &cx.contents(name), &new);
                assert_same("the file that was closed", &cx.contents(&old_name), &old);
            }
        }
    }
}

/// More files than any table has room for: those that found none work unregistered.
pub fn more_files_than_places(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(8);
        let files: Vec<FileHandle> = (0..200).map(|i| cx.file(mode, &pattern(i, BLOCK)).1).collect();
        for file in &files {
            // Refused is fine, for whatever reason.
            let _ = bench.driver().register_file(file);
        }
        for (i, file) in files.iter().enumerate() {
            let (read, op) = bench.run(Op::read(file, AlignedBuf::with_capacity(BLOCK), 0));
            assert_eq!(read, BLOCK as i32);
            assert_same("its own contents", &op.into_buf::<AlignedBuf>().unwrap(), &pattern(i as u64, BLOCK));
        }
        for file in &files {
            bench.driver().unregister_file(file.id());
        }
        assert_eq!(bench.run(Op::read(&files[7], AlignedBuf::with_capacity(BLOCK), 0)).0, BLOCK as i32);
    }
}

/// Transfers into, out of and beside registered memory move the same bytes, and so they do when it was given back.
pub fn registered_memory_holds_the_same_bytes(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read, OpKind::Write]) {
        let mut bench = cx.bench(8);
        let contents = pattern(1, 8 * BLOCK);
        let (name, file) = cx.file(mode, &contents);
        let mut region = Region::leak(16 * BLOCK);
        match region.register(bench.driver()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(error) => panic!("cannot register memory: {error}"),
        }
        for step in 0..2 {
            let inside = bench.start(Op::read(&file, region.take(2 * BLOCK), BLOCK as u64));
            let beside = bench.start(Op::read(&file, AlignedBuf::with_capacity(2 * BLOCK), BLOCK as u64));
            let inside = bench.finish(inside).op.into_buf::<crate::region::RegionBuf>().unwrap();
            let beside = bench.finish(beside).op.into_buf::<AlignedBuf>().unwrap();
            let now = cx.contents(&name);
            assert_same("inside", inside.as_bytes(), &now[BLOCK..3 * BLOCK]);
            assert_same("beside", &beside, &now[BLOCK..3 * BLOCK]);
            let new = pattern(5 + step, 2 * BLOCK);
            let at = 4 * BLOCK;
            assert_eq!(bench.run(Op::write(&file, region.take(2 * BLOCK).fill(&new), at as u64)).0, 2 * BLOCK as i32);
            assert_same("the file", &cx.contents(&name)[at..at + 2 * BLOCK], &new);
            region.unregister(bench.driver());
        }
        region.unregister(bench.driver());
    }
}

/// A short transfer in registered memory, and the end of the file.
pub fn registered_memory_at_the_end_of_the_file(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(4);
        let contents = pattern(2, BLOCK + 10);
        let (_, file) = cx.file(mode, &contents);
        let mut region = Region::leak(8 * BLOCK);
        let _ = region.register(bench.driver());
        let (read, op) = bench.run(Op::read(&file, region.take(4 * BLOCK), 0));
        assert_eq!(read, BLOCK as i32 + 10);
        let buf = op.into_buf::<crate::region::RegionBuf>().unwrap();
        assert_same("what was read", &buf.as_bytes()[..BLOCK + 10], &contents);
        assert_same("the rest", &buf.as_bytes()[2 * BLOCK..], &[0; 2 * BLOCK]);
        assert_eq!(bench.run(Op::read(&file, region.take(BLOCK), 2 * BLOCK as u64)).0, 0);
        region.unregister(bench.driver());
    }
}
