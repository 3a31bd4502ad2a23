//! Names: directories, renames, removals, permissions, and what bad paths answer.

use crate::fs_kit::*;
use io_fs::{AccessMode, FileKind, RenameMode, errno};
use std::io::ErrorKind;

#[test]
fn directories_are_made_listed_renamed_and_removed() {
    everywhere(|site| {
        let fs = &site.fs;
        site.run(async {
            fs.create_dir_all(site.at("a/b/c")).await.unwrap();
            fs.create_dir_all(site.at("a/b/c")).await.unwrap();
            fs.create(site.at("a/file")).await.unwrap();
            let mut entries = fs.read_dir(site.at("a")).await.unwrap();
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            let seen: Vec<_> = entries.iter().map(|entry| (entry.name.to_str().unwrap(), entry.kind)).collect();
            assert_eq!(seen, [("b", FileKind::Dir), ("file", FileKind::File)]);
            fs.sync_dir(site.at("a")).await.unwrap();
            fs.rename(site.at("a/file"), site.at("a/b/moved")).await.unwrap();
            assert_eq!(fs.remove_dir(site.at("a/b")).await.unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
            fs.remove_file(site.at("a/b/moved")).await.unwrap();
            fs.remove_dir(site.at("a/b/c")).await.unwrap();
            fs.remove_dir(site.at("a/b")).await.unwrap();
            assert!(fs.read_dir(site.at("a")).await.unwrap().is_empty());
        });
    });
}

#[test]
fn a_file_in_the_way_of_a_directory_is_an_error_and_stays() {
    everywhere(|site| {
        site.put("f", b"here first");
        for path in ["f", "f/below"] {
            let error = site.run(site.fs.create_dir_all(site.at(path))).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotADirectory), "{error}");
            assert!(error.to_string().contains(site.at(path).to_str().unwrap()), "{error}");
        }
        assert_eq!(site.get("f"), b"here first");
        site.run(site.fs.create_dir_all("")).unwrap();
    });
}

#[test]
fn many_make_the_same_directories_at_once() {
    on_real_drivers(|site| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for round in 0..25 {
                        let path = site.at(&format!("round{round}/x/y/z{}", thread % 2));
                        smol::block_on(site.fs.create_dir_all(&path)).unwrap();
                        assert!(path.is_dir());
                    }
                });
            }
        });
    });
}

#[test]
fn renames_replace_refuse_or_exchange() {
    everywhere(|site| {
        let (one, two) = (site.put("one", b"1"), site.put("two", b"2"));
        let fs = &site.fs;
        let refused = site.run(fs.rename_with(&one, &two, RenameMode::NoReplace)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!((site.get("one"), site.get("two")), (b"1".to_vec(), b"2".to_vec()));
        match site.run(fs.rename_with(&one, &two, RenameMode::Exchange)) {
            Ok(()) => assert_eq!((site.get("one"), site.get("two")), (b"2".to_vec(), b"1".to_vec())),
            Err(error)
                if !site.is_sim() && [Some(errno::EINVAL), Some(errno::EOPNOTSUPP)].contains(&error.raw_os_error()) =>
            {
                io_testkit::skip("io-fs", "exchange", &error.to_string());
                fs.block_on(fs.rename(&one, site.at("free"))).unwrap();
                fs.block_on(fs.rename(&two, &one)).unwrap();
                fs.block_on(fs.rename(site.at("free"), &two)).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        site.run(fs.rename(&one, &two)).unwrap();
        assert_eq!((site.names(), site.get("two")), (vec!["two".to_owned()], b"2".to_vec()));
        site.run(fs.rename_with(&two, site.at("three"), RenameMode::NoReplace)).unwrap();
        assert_eq!(site.names(), ["three"]);
    });
}

#[test]
fn what_is_missing_or_is_no_path_is_said_so_by_every_operation() {
    everywhere(|site| {
        let there = site.put("there", b"untouched");
        let fs = &site.fs;
        for (path, kind) in [(site.at("missing"), ErrorKind::NotFound), (site.at("a\0b"), ErrorKind::InvalidInput)] {
            site.run(async {
                let said = [
                    fs.open(&path).await.map(drop),
                    fs.open_rw(&path).await.map(drop),
                    fs.metadata(&path).await.map(drop),
                    fs.symlink_metadata(&path).await.map(drop),
                    fs.read_dir(&path).await.map(drop),
                    fs.remove_file(&path).await,
                    fs.remove_dir(&path).await,
                    fs.rename(&path, site.at("new")).await,
                    fs.sync_dir(&path).await,
                    fs.access(&path, AccessMode::Exists).await,
                    fs.canonicalize(&path).await.map(drop),
                    fs.set_permissions(&path, 0o600).await,
                    fs.stat_fs(&path).await.map(drop),
                    fs.copy(&path, site.at("new")).await.map(drop),
                    fs.replace(path.join("below"), vec![1]).await.0,
                ];
                for (i, result) in said.into_iter().enumerate() {
                    assert_eq!(result.unwrap_err().kind(), kind, "operation {i} on {path:?}");
                }
                if kind == ErrorKind::InvalidInput {
                    assert_eq!(fs.create(&path).await.unwrap_err().kind(), kind);
                    assert_eq!(fs.create_dir_all(&path).await.unwrap_err().kind(), kind);
                    assert_eq!(fs.rename(&there, &path).await.unwrap_err().kind(), kind);
                    assert_eq!(fs.replace(&path, vec![1]).await.0.unwrap_err().kind(), kind);
                    assert_eq!(fs.copy(&there, &path).await.unwrap_err().kind(), kind);
                }
            });
        }
        assert_eq!((site.names(), site.get("there")), (vec!["there".to_owned()], b"untouched".to_vec()));
    });
}

#[test]
fn a_directory_is_no_file_and_a_file_no_directory() {
    everywhere(|site| {
        site.put("f", b"content");
        let fs = &site.fs;
        site.run(async {
            fs.create_dir_all(site.at("d")).await.unwrap();
            let is_dir = [ErrorKind::IsADirectory, ErrorKind::PermissionDenied];
            assert!(is_dir.contains(&fs.open_rw(site.at("d")).await.unwrap_err().kind()));
            assert!(is_dir.contains(&fs.create(site.at("d")).await.unwrap_err().kind()));
            assert!(is_dir.contains(&fs.remove_file(site.at("d")).await.unwrap_err().kind()));
            assert_eq!(fs.replace(site.at("d"), vec![1]).await.0.unwrap_err().kind(), ErrorKind::IsADirectory);
            assert_eq!(fs.copy(site.at("d"), site.at("new")).await.unwrap_err().kind(), ErrorKind::IsADirectory);
            for result in [
                fs.read_dir(site.at("f")).await.map(drop),
                fs.remove_dir(site.at("f")).await,
                fs.sync_dir(site.at("f")).await,
                fs.open(site.at("f/below")).await.map(drop),
            ] {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::NotADirectory);
            }
        });
        assert_eq!((site.names(), site.get("f")), (vec!["d".to_owned(), "f".to_owned()], b"content".to_vec()));
    });
}

#[cfg(unix)]
#[test]
fn links_are_followed_or_looked_at() {
    everywhere(|site| {
        let file = site.put("f", b"12345");
        let link = site.link("f", "l");
        site.link("nowhere", "dangling");
        let fs = &site.fs;
        site.run(async {
            let followed = fs.metadata(&link).await.unwrap();
            assert_eq!((followed.kind, followed.size), (FileKind::File, 5));
            assert_eq!(fs.symlink_metadata(&link).await.unwrap().kind, FileKind::Symlink);
            assert_eq!(fs.canonicalize(&link).await.unwrap(), file);
            assert_eq!(fs.metadata(site.at("dangling")).await.unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(fs.symlink_metadata(site.at("dangling")).await.unwrap().kind, FileKind::Symlink);
            fs.remove_file(&link).await.unwrap();
        });
        assert_eq!(site.get("f"), b"12345");
    });
}

#[test]
fn permissions_are_set_and_space_is_told() {
    everywhere(|site| {
        let file = site.put("f", b"x");
        let fs = &site.fs;
        site.run(async {
            fs.set_permissions(&file, 0o640).await.unwrap();
            fs.access(&file, AccessMode::ReadWrite).await.unwrap();
            let stat = fs.stat_fs(&site.dir).await.unwrap();
            assert!(stat.block_size > 0 && stat.blocks >= stat.free && stat.free >= stat.available, "{stat:?}");
        });
        #[cfg(unix)]
        assert_eq!(site.mode("f"), 0o640);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn who_has_no_right_is_told_and_changes_nothing() {
    use io_testkit::{confine, in_child};
    use std::os::unix::fs::PermissionsExt;
    if !confine::is_root() {
        return io_testkit::skip("io-fs", "who_has_no_right_is_told", "needs root, to become somebody else");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let file = dir.path().join("f");
    std::fs::write(&file, "root's own").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let new = dir.path().join("new");
    in_child!("nobody", confine::Confinement::none().as_user(65534), || {
        for driver in io_fs::DriverName::REAL {
            let Some(fs) = real(driver, |_| {}) else { continue };
            fs.block_on(async {
                for (i, result) in [
                    fs.open(&file).await.map(drop),
                    fs.open_rw(&file).await.map(drop),
                    fs.create(&new).await.map(drop),
                    fs.create_dir_all(&new).await,
                    fs.remove_file(&file).await,
                    fs.rename(&file, &new).await,
                    fs.access(&file, AccessMode::Read).await,
                    fs.replace(&file, b"mine".to_vec()).await.0,
                    fs.copy(&file, &new).await.map(drop),
                ]
                .into_iter()
                .enumerate()
                {
                    assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied, "operation {i}, {driver}");
                }
            });
        }
    });
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "root's own");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
