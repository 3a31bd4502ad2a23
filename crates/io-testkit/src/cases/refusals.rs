//! Errors that only a process apart can provoke: no descriptors, no permission, another file system, a read-only one.
#![cfg_attr(not(target_os = "linux"), allow(unused_imports))]

use crate::{BLOCK, Cx, Mode, pattern};
use io_core::{AlignedBuf, FileHandle, Op, OpKind, OpenOptions, Output, RenameMode, errno};

/// With all descriptors in use an open is `EMFILE`, nothing that is open already minds, and with one free again it works.
pub fn no_descriptors_left(cx: &Cx<'_>) {
    #[cfg(not(target_os = "linux"))]
    cx.skip("needs Linux, to run in a child under a limit");
    #[cfg(target_os = "linux")]
    {
        use crate::confine::{Confinement, no_more_files};
        cx.needs_real_files();
        cx.needs(&[OpKind::Open]);
        let mode = cx.modes(&[OpKind::Read])[0];
        let (name, file) = cx.file(mode, &pattern(1, BLOCK));
        cx.in_child(&Confinement::none(), || {
            let mut bench = cx.bench(4);
            let read = || Op::read(&file, AlignedBuf::with_capacity(BLOCK), 0);
            assert_eq!(bench.run(read()).0, BLOCK as i32);
            let open = || Op::open(cx.path(&name), OpenOptions::READ).unwrap();
            let taken = no_more_files().expect("the limit can be lowered");
            for _ in 0..3 {
                assert_eq!(bench.run(open()).0, -errno::EMFILE);
                assert_eq!(bench.run(read()).0, BLOCK as i32);
            }
            drop(taken);
            let (result, mut op) = bench.run(open());
            assert_eq!(result, 0);
            assert!(matches!(op.take_output(), Output::File(_)));
        });
    }
}

/// Who may not, is told so: `EACCES`, for opening, making, removing and renaming.
pub fn no_permission(cx: &Cx<'_>) {
    #[cfg(not(target_os = "linux"))]
    cx.skip("needs Linux, to become another user in a child");
    #[cfg(target_os = "linux")]
    {
        use crate::confine::{self, Confinement};
        cx.needs_real_files();
        cx.needs(&[OpKind::Open]);
        if !confine::is_root() {
            cx.skip("needs root, to become another user");
        }
        let name = cx.fresh();
        cx.create(&name, b"secret", OpenOptions::READ);
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(cx.path(&name), closed).expect("our own file");
        let new = cx.fresh();
        cx.in_child(&Confinement::none().as_user(65534), || {
            let mut bench = cx.bench(4);
            let ops = [
                Op::open(cx.path(&name), OpenOptions::READ),
                Op::open(cx.path(&new), OpenOptions::CREATE_NEW),
                Op::make_dir(cx.path(&new), 0o755),
                Op::unlink(cx.path(&name)),
                Op::rename(cx.path(&name), cx.path(&new), RenameMode::Replace),
                Op::access(cx.path(&name), io_core::AccessMode::Read),
            ];
            for op in ops {
                let op = op.expect("no path here has a NUL byte");
                if cx.supports().contains_kind(op.kind()) {
                    let (result, op) = bench.run(op);
                    assert_eq!(result, -errno::EACCES, "{op:?}");
                }
            }
        });
        assert_eq!(cx.contents(&name), b"secret");
    }
}

/// Names do not move between file systems (`EXDEV`), and nothing changes on a read-only one (`EROFS`), not by name and not
/// through a file that was opened for reading.
pub fn other_file_systems(cx: &Cx<'_>) {
    #[cfg(not(target_os = "linux"))]
    cx.skip("needs Linux, to mount a tmpfs in a child");
    #[cfg(target_os = "linux")]
    {
        use crate::confine::{self, Confinement};
        cx.needs_real_files();
        cx.needs(&[OpKind::Rename, OpKind::Unlink, OpKind::Open]);
        if !confine::is_root() {
            cx.skip("needs root, to mount a tmpfs");
        }
        let (name, _file) = cx.file(Mode::Buffered, b"stays");
        let mount = cx.path(&cx.fresh());
        cx.in_child(&Confinement::none(), || {
            std::fs::create_dir_all(&mount).expect("a directory to mount on");
            if let Err(error) = confine::private_tmpfs(&mount, 1 << 20) {
                cx.skip(format!("needs root with the right to mount: {error}"));
            }
            let inside = mount.join("file");
            std::fs::write(&inside, b"inside").expect("the mount is writable");
            let mut bench = cx.bench(4);
            let across = Op::rename(cx.path(&name), mount.join("new"), RenameMode::Replace).unwrap();
            assert_eq!(bench.run(across).0, -errno::EXDEV);
            confine::remount_read_only(&mount).expect("nothing there is open for writing");
            for op in [
                Op::unlink(&inside),
                Op::rename(&inside, mount.join("new"), RenameMode::Replace),
                Op::open(&inside, OpenOptions::READ_WRITE),
                Op::open(mount.join("new"), OpenOptions::CREATE_NEW),
            ] {
                let (result, op) = bench.run(op.expect("no path here has a NUL byte"));
                assert_eq!(result, -errno::EROFS, "{op:?}");
            }
            let (result, mut op) = bench.run(Op::open(&inside, OpenOptions::READ).unwrap());
            assert_eq!(result, 0);
            let Output::File(file) = op.take_output() else { panic!("no file") };
            still_readable(&mut bench, cx, &file);
        });
        assert_eq!(cx.contents(&name), b"stays");
    }
}

#[cfg(target_os = "linux")]
fn still_readable(bench: &mut crate::Bench, cx: &Cx<'_>, file: &FileHandle) {
    if cx.supports().contains(OpKind::Read, Mode::Buffered.class()) {
        let (read, op) = bench.run(Op::read(file, vec![0u8; 10], 0));
        assert_eq!(read, 6);
        assert_eq!(op.into_buf::<Vec<u8>>().unwrap(), b"inside");
    }
}
