//! Operations on names.

use crate::{output, result, scratch};
use io_core::{AccessMode, DirEntry, FileKind, Op, Output, RenameMode, errno};
use std::{collections::BTreeMap, fs, path::Path};

fn rename(from: &Path, to: &Path, mode: RenameMode) -> i32 {
    result(Op::rename(from, to, mode).unwrap())
}

fn read_dir(path: &Path) -> Vec<DirEntry> {
    match output(Op::read_dir(path).unwrap()) {
        Output::Entries(entries) => entries,
        other => panic!("{other:?}"),
    }
}

#[test]
fn renames_replace_or_do_not() {
    let (dir, a) = scratch("a");
    let b = dir.path().join("b");
    fs::write(&a, "a").unwrap();
    assert_eq!(rename(&a, &b, RenameMode::Replace), 0);
    assert_eq!((fs::read(&b).unwrap(), a.exists()), (b"a".to_vec(), false));
    assert_eq!(rename(&a, &b, RenameMode::Replace), -errno::ENOENT);
    fs::write(&a, "new").unwrap();
    assert_eq!(rename(&a, &b, RenameMode::Replace), 0, "onto a file that is there");
    assert_eq!(fs::read(&b).unwrap(), b"new");
    fs::write(&a, "third").unwrap();
    let no_replace = rename(&a, &b, RenameMode::NoReplace);
    let exchange = rename(&a, &b, RenameMode::Exchange);
    if cfg!(any(target_os = "linux", target_vendor = "apple")) {
        assert_eq!((no_replace, exchange), (-errno::EEXIST, 0));
        assert_eq!((fs::read(&a).unwrap(), fs::read(&b).unwrap()), (b"new".to_vec(), b"third".to_vec()));
    } else {
        assert_eq!(no_replace, if cfg!(windows) { -errno::EEXIST } else { -errno::EOPNOTSUPP });
        assert_eq!(exchange, -errno::EOPNOTSUPP);
        assert_eq!((fs::read(&a).unwrap(), fs::read(&b).unwrap()), (b"third".to_vec(), b"new".to_vec()));
    }
    if no_replace != -errno::EOPNOTSUPP {
        let c = dir.path().join("c");
        assert_eq!(rename(&a, &c, RenameMode::NoReplace), 0);
        assert!(c.exists() && !a.exists());
    }
}

/// An old kernel without renameat2(2): what needs it is refused, what does not goes on.
#[cfg(target_os = "linux")]
#[test]
fn renames_without_renameat2() {
    use io_testkit::{confine::Confinement, in_child};
    in_child!("enosys", Confinement::none().refuse(libc::SYS_renameat2, libc::ENOSYS), || {
        let (dir, a) = scratch("a");
        let b = dir.path().join("b");
        fs::write(&a, "a").unwrap();
        assert_eq!(rename(&a, &b, RenameMode::NoReplace), -errno::EOPNOTSUPP);
        assert_eq!(rename(&a, &b, RenameMode::Exchange), -errno::EOPNOTSUPP);
        assert_eq!(rename(&a, &b, RenameMode::Replace), 0);
    });
}

#[test]
fn directories_come_and_go() {
    let (dir, path) = scratch("sub");
    let make = |path: &Path| result(Op::make_dir(path, 0o755).unwrap());
    let remove = |path: &Path| result(Op::remove_dir(path).unwrap());
    assert_eq!(make(&path), 0);
    assert!(path.is_dir());
    assert_eq!(make(&path), -errno::EEXIST);
    assert_eq!(make(&dir.path().join("none/sub")), -errno::ENOENT);
    fs::write(path.join("file"), "").unwrap();
    assert_eq!(remove(&path), -errno::ENOTEMPTY);
    assert!(path.join("file").exists());
    assert_eq!(remove(&path.join("file")), -errno::ENOTDIR);
    fs::remove_file(path.join("file")).unwrap();
    assert_eq!(remove(&path), 0);
    assert!(!path.exists());
    assert_eq!(remove(&path), -errno::ENOENT);
}

#[test]
fn unlink_takes_a_name_away() {
    let (dir, path) = scratch("file");
    fs::write(&path, "").unwrap();
    assert_eq!(result(Op::unlink(&path).unwrap()), 0);
    assert!(!path.exists());
    assert_eq!(result(Op::unlink(&path).unwrap()), -errno::ENOENT);
    let refused = result(Op::unlink(dir.path()).unwrap());
    let expected = if cfg!(target_os = "linux") { errno::EISDIR } else { errno::EPERM };
    assert!([-expected, -errno::EACCES].contains(&refused), "{refused}");
    assert!(dir.path().is_dir());
}

#[test]
fn five_thousand_entries_are_all_listed() {
    let (dir, _) = scratch("");
    let mut expected = BTreeMap::new();
    for i in 0..4_900 {
        let name = format!("{i}-{}", "x".repeat(i % 200));
        fs::write(dir.path().join(&name), "").unwrap();
        expected.insert(name, FileKind::File);
    }
    for i in 0..100 {
        let name = format!("dir{i}");
        fs::create_dir(dir.path().join(&name)).unwrap();
        expected.insert(name, FileKind::Dir);
    }
    let entries = read_dir(dir.path());
    assert_eq!(entries.len(), 5_000, "each once, and neither . nor ..");
    #[cfg(unix)]
    for entry in &entries {
        let std = fs::symlink_metadata(dir.path().join(&entry.name)).unwrap();
        assert_eq!(entry.ino, std::os::unix::fs::MetadataExt::ino(&std));
    }
    let listed: BTreeMap<_, _> = entries.into_iter().map(|e| (e.name.into_string().unwrap(), e.kind)).collect();
    assert_eq!(listed, expected);
}

#[test]
fn listing_what_is_no_directory_fails() {
    let (dir, path) = scratch("file");
    assert_eq!(read_dir(dir.path()), []);
    assert_eq!(result(Op::read_dir(&path).unwrap()), -errno::ENOENT);
    fs::write(&path, "").unwrap();
    assert_eq!(result(Op::read_dir(&path).unwrap()), -errno::ENOTDIR);
}

#[test]
fn access_tells_what_is_allowed() {
    let (_dir, path) = scratch("file");
    let access = |mode| result(Op::access(&path, mode).unwrap());
    for mode in [AccessMode::Exists, AccessMode::Read, AccessMode::ReadWrite] {
        assert_eq!(access(mode), -errno::ENOENT);
    }
    fs::write(&path, "").unwrap();
    for mode in [AccessMode::Exists, AccessMode::Read, AccessMode::ReadWrite] {
        assert_eq!(access(mode), 0);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn access_for_who_may_not() {
    use io_testkit::{confine, in_child, skip};
    if !confine::is_root() {
        return skip("threadpool", "access_for_who_may_not", "only root can become somebody else");
    }
    in_child!("nobody", confine::Confinement::none().as_user(65534), || {
        let access = |mode| result(Op::access("/etc/passwd", mode).unwrap());
        assert_eq!((access(AccessMode::Exists), access(AccessMode::Read)), (0, 0));
        assert_eq!(access(AccessMode::ReadWrite), -errno::EACCES);
        assert_eq!(result(Op::set_permissions("/etc/passwd", 0o644).unwrap()), -errno::EPERM);
        let refused = result(Op::make_dir("/iofs-must-not-be", 0o755).unwrap());
        assert!([-errno::EACCES, -errno::EROFS].contains(&refused), "{refused}");
    });
}

#[cfg(unix)]
#[test]
fn permissions_are_set() {
    use std::os::unix::fs::MetadataExt;
    let (_dir, path) = scratch("file");
    assert_eq!(result(Op::set_permissions(&path, 0o600).unwrap()), -errno::ENOENT);
    fs::write(&path, "").unwrap();
    for mode in [0o600, 0o755, 0o000, 0o4644] {
        assert_eq!(result(Op::set_permissions(&path, mode).unwrap()), 0);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
    }
}

#[test]
fn real_paths_have_no_detours() {
    let (dir, path) = scratch("file");
    fs::write(&path, "").unwrap();
    let detour = dir.path().join("..").join(dir.path().file_name().unwrap()).join("file");
    let Output::Path(real) = output(Op::real_path(&detour).unwrap()) else { panic!() };
    assert_eq!(real, fs::canonicalize(&path).unwrap());
    assert_eq!(result(Op::real_path(dir.path().join("none")).unwrap()), -errno::ENOENT);
    #[cfg(unix)]
    {
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("file", &link).unwrap();
        let Output::Path(real) = output(Op::real_path(&link).unwrap()) else { panic!() };
        assert_eq!(real, fs::canonicalize(&path).unwrap());
        let ring = dir.path().join("ring");
        std::os::unix::fs::symlink("ring", &ring).unwrap();
        assert_eq!(result(Op::real_path(&ring).unwrap()), -libc::ELOOP);
    }
}

/// Names are bytes; not all of them are text.
#[cfg(target_os = "linux")]
#[test]
fn names_need_not_be_text() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let (dir, _) = scratch("");
    let name = OsStr::from_bytes(b"\xff\xfe name\n");
    assert_eq!(result(Op::make_dir(dir.path().join(name), 0o700).unwrap()), 0);
    let entries = read_dir(dir.path());
    assert_eq!((entries.len(), entries[0].name.as_os_str(), entries[0].kind), (1, name, FileKind::Dir));
    let long = dir.path().join("n".repeat(300));
    assert_eq!(result(Op::make_dir(long, 0o700).unwrap()), -libc::ENAMETOOLONG);
}
