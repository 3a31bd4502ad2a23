//! Files copied.

use crate::fs_kit::*;
use io_fs::{CopyOptions, CopyWay, OpKind, errno};
use io_sim::{SimOptions, Which};
use std::{future::Future, io::ErrorKind};

const OVERWRITE: CopyOptions = CopyOptions::new().overwrite(true);

#[test]
fn copies_are_equal_whatever_their_size() {
    everywhere(|site| {
        for len in [0, 1, 4096, 300_001] {
            let from = site.put("from", &content(9, len));
            site.run(site.fs.set_permissions(&from, 0o640)).unwrap();
            let to = site.at(&format!("to{len}"));
            let copied = site.run(site.fs.copy(&from, &to)).unwrap();
            assert_eq!(copied.bytes, len as u64);
            assert!(len == 0 || !site.is_sim() || copied.way == CopyWay::Reflink);
            assert!(site.get(&format!("to{len}")) == content(9, len));
            #[cfg(unix)]
            assert_eq!(site.mode(&format!("to{len}")), 0o640);
        }
        assert_eq!(site.names(), ["from", "to0", "to1", "to300001", "to4096"]);
    });
}

#[test]
fn nothing_is_overwritten_unless_asked_for() {
    everywhere(|site| {
        let (from, to) = (site.put("from", b"new"), site.put("to", b"old"));
        let error = site.run(site.fs.copy(&from, &to)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(site.get("to"), b"old");
        site.run(site.fs.copy_with(&from, &to, OVERWRITE)).unwrap();
        assert_eq!((site.get("from"), site.get("to")), (b"new".to_vec(), b"new".to_vec()));
        assert_eq!(site.names(), ["from", "to"]);
        site.run(site.fs.create_dir_all(site.at("d"))).unwrap();
        let error = site.run(site.fs.copy_with(&from, site.at("d"), OVERWRITE)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
    });
}

#[cfg(unix)]
#[test]
fn a_file_is_not_copied_onto_itself_by_any_name() {
    everywhere(|site| {
        let file = site.put("f", b"content");
        let link = site.link("f", "link");
        let mut names = vec![file.clone(), link, site.at("./f")];
        if let Disk::Real(_) = site.disk {
            std::fs::hard_link(&file, site.at("hard")).unwrap();
            names.push(site.at("hard"));
        }
        for name in names {
            let error = site.run(site.fs.copy_with(&file, &name, OVERWRITE)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}: {error}");
            assert!(error.to_string().contains("the same file"), "{error}");
        }
        assert_eq!(site.get("f"), b"content");
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    on_real_drivers(|site| {
        let pipe = site.at("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        if !made.is_ok_and(|status| status.success()) {
            return io_testkit::skip("io-fs", "a_pipe_is_refused", "there is no mkfifo");
        }
        let error = site.run(site.fs.copy(&pipe, site.at("to"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert_eq!(site.run(site.fs.replace(&pipe, vec![1])).0.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(site.names(), ["pipe"]);
    });
}

/// Files of /proc say to be empty.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_says_to_be_empty_is_copied_all_the_same() {
    on_real_drivers(|site| {
        let copied = site.run(site.fs.copy("/proc/version", site.at("version"))).unwrap();
        assert_eq!(site.get("version"), std::fs::read("/proc/version").unwrap());
        assert!(copied.bytes > 0);
    });
}

#[test]
fn each_way_that_is_closed_leads_to_the_next() {
    let len = (17 << 20) + 12_345;
    let closed = [
        (vec![(OpKind::Clone, 1)], CopyWay::Range),
        (vec![(OpKind::Clone, 1), (OpKind::CopyRange, 1)], CopyWay::ReadWrite),
        // In the middle of the file: what is copied is copied.
        (vec![(OpKind::Clone, 1), (OpKind::CopyRange, 2)], CopyWay::ReadWrite),
    ];
    for (refused, way) in closed {
        let site = simulated(SimOptions::seeded(2));
        let from = site.put("from", &content(3, len));
        for (kind, nth) in refused {
            site.sim().fail(Which::kind(kind).nth(nth), errno::EXDEV);
        }
        let copied = site.run(site.fs.copy(&from, site.at("to"))).unwrap();
        assert_eq!((copied.bytes, copied.way), (len as u64, way));
        assert!(site.get("to") == content(3, len));
    }
}

#[test]
fn every_error_on_the_way_leaves_both_names_as_they_were() {
    use OpKind::*;
    for kind in [Clone, CopyRange, Read, Write, SetPermissions, SyncAll, Rename] {
        for overwrites in [false, true] {
            let site = simulated(SimOptions::seeded(4));
            let from = site.put("from", &content(3, 10_000));
            site.run(site.fs.set_permissions(&from, 0o640)).unwrap();
            if overwrites {
                site.put("to", b"old");
            }
            let before = site.names();
            if matches!(kind, CopyRange | Read | Write) {
                site.sim().fail(Which::kind(Clone), errno::EOPNOTSUPP);
            }
            if matches!(kind, Read | Write) {
                site.sim().fail(Which::kind(CopyRange), errno::EOPNOTSUPP);
            }
            site.sim().fail(Which::kind(kind), errno::EIO);
            let options = CopyOptions::new().overwrite(overwrites);
            let error = site.run(site.fs.copy_with(&from, site.at("to"), options)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno::EIO), "{kind:?}: {error}");
            site.sim().clear_faults();
            assert_eq!(site.names(), before, "{kind:?}");
            assert!(site.get("from") == content(3, 10_000));
            assert!(!overwrites || site.get("to") == b"old");
        }
    }
}

#[test]
fn a_file_system_that_cannot_refuse_to_replace_is_named() {
    let site = simulated(SimOptions::seeded(4));
    let from = site.put("from", b"content");
    site.sim().fail(Which::kind(OpKind::Rename), errno::EINVAL);
    let error = site.run(site.fs.copy(&from, site.at("to"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(site.names(), ["from"]);
}

/// It is not enough to look before.
#[test]
fn what_comes_to_the_new_name_meanwhile_is_not_overwritten() {
    let (mut refused, mut copied) = (0, 0);
    for polls in 1..40u64 {
        let site = simulated(SimOptions::seeded(polls));
        let from = site.put("from", b"content");
        let mut left = polls;
        let result = site.run(async {
            let mut copy = std::pin::pin!(site.fs.copy(&from, site.at("to")));
            std::future::poll_fn(|cx| {
                left -= 1;
                if left == 0 && !site.sim().files().contains(&site.at("to")) {
                    site.put("to", b"somebody else's");
                }
                left = left.max(1);
                copy.as_mut().poll(cx)
            })
            .await
        });
        match result {
            Ok(_) => {
                assert_eq!(site.get("to"), b"content");
                copied += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
                assert_eq!(site.get("to"), b"somebody else's");
                assert_eq!(site.names(), ["from", "to"]);
                refused += 1;
            }
        }
    }
    assert!(refused > 5 && copied > 5, "{refused} times refused, {copied} times copied");
}

#[test]
fn no_crash_leaves_half_a_copy() {
    for way in [None, Some(OpKind::Clone)] {
        for overwrites in [false, true] {
            let site = simulated(SimOptions { torn: true, ..SimOptions::seeded(8) });
            let from = site.put("from", &content(3, 20_000));
            if overwrites {
                site.put("to", b"old");
            }
            if let Some(kind) = way {
                site.sim().fail(Which::kind(kind), errno::EOPNOTSUPP);
            }
            site.sim().record_crash_points(100_000);
            let options = CopyOptions::new().overwrite(overwrites);
            site.run(site.fs.copy_with(&from, site.at("to"), options)).unwrap();
            let acknowledged = site.sim().moment();
            let mut points = site.sim().take_crash_points();
            points.push(site.sim().crash_point());
            let (mut old, mut new) = (0, 0);
            for point in points {
                for seed in 0..8 {
                    let left = point.after_power_cut(seed).read_file(site.at("to")).ok();
                    match left {
                        Some(left) if left == content(3, 20_000) => new += 1,
                        left => {
                            assert!(point.moment() < acknowledged);
                            assert_eq!(left, overwrites.then(|| b"old".to_vec()));
                            old += 1;
                        }
                    }
                }
            }
            assert!(old > 0 && new > 0);
        }
    }
}
