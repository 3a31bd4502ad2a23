//! How files are opened.

use crate::fs_kit::*;
use io_fs::{FileOptions, OpenOptions};
use std::io::ErrorKind;

#[test]
fn create_makes_or_cuts_and_create_new_does_neither_twice() {
    everywhere(|site| {
        let path = site.put("f", b"old content");
        let fs = &site.fs;
        site.run(async {
            let file = fs.create(&path).await.unwrap();
            assert_eq!(fs.metadata(&path).await.unwrap().size, 0);
            assert_eq!(file.write_at(b"new".to_vec(), 0).await.0.unwrap(), 3);
            let (read, back) = file.read_at(Vec::with_capacity(8), 0).await;
            assert_eq!((read.unwrap(), back), (3, b"new".to_vec()));
            let again = fs.open_with(&path, FileOptions::new().write(true).create_new(true)).await;
            assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
        });
        assert_eq!(site.get("f"), b"new");
        site.run(fs.open_with(site.at("g"), FileOptions::new().write(true).create_new(true).mode(0o600))).unwrap();
        #[cfg(unix)]
        assert_eq!(site.mode("g"), 0o600);
    });
}

#[test]
fn options_without_access_or_that_cut_what_they_may_not_write_are_refused() {
    everywhere(|site| {
        let path = site.put("f", b"content");
        for options in [FileOptions::new(), FileOptions::new().read(true).truncate(true)] {
            for options in [options, options.direct_or_buffered(true)] {
                let error = site.run(site.fs.open_with(&path, options)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{options:?}");
            }
        }
        assert_eq!(site.get("f"), b"content");
    });
}

#[cfg(unix)]
#[test]
fn a_link_is_not_followed_if_so_asked() {
    everywhere(|site| {
        site.put("f", b"content");
        let link = site.link("f", "l");
        site.run(site.fs.open_with(&link, OpenOptions::READ)).unwrap();
        let refused = site.run(site.fs.open_with(&link, FileOptions::new().read(true).no_follow(true)));
        assert!(refused.is_err());
    });
}

#[test]
fn direct_or_buffered_always_opens_and_says_which() {
    everywhere(|site| {
        let path = site.put("f", &content(1, 8192));
        let fs = &site.fs;
        site.run(async {
            let strict = fs.open_with(&path, OpenOptions::READ.direct()).await;
            let lenient = fs.open_with(&path, FileOptions::new().read(true).direct_or_buffered(true)).await.unwrap();
            assert_eq!(lenient.handle().facts().direct, strict.is_ok());
            let options = FileOptions::new().read(true).write(true).create_new(true).direct_or_buffered(true);
            let made = fs.open_with(site.at("made"), options).await.unwrap();
            assert_eq!(made.handle().facts().direct, strict.is_ok());
            let again = fs.open_with(site.at("made"), options).await;
            assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
        });
    });
}

/// Linux makes the file before it refuses `O_DIRECT`, so a second exclusive open would find it there.
#[test]
fn a_new_file_is_opened_where_direct_access_is_refused() {
    let site = simulated(io_sim::SimOptions::seeded(5));
    // The simulator takes direct access everywhere: the second open is refused by rule, as tmpfs would.
    site.sim().fail(io_sim::Which::kind(io_fs::OpKind::Open).nth(2), io_fs::errno::EINVAL);
    let options = FileOptions::new().read(true).write(true).create_new(true).direct_or_buffered(true);
    let file = site.run(site.fs.open_with(site.at("f"), options)).unwrap();
    assert!(!file.handle().facts().direct);
    site.sim().fail(io_sim::Which::kind(io_fs::OpKind::Open), io_fs::errno::EINVAL);
    let options = FileOptions::new().read(true).direct_or_buffered(true);
    assert!(!site.run(site.fs.open_with(site.at("f"), options)).unwrap().handle().facts().direct);
}

#[test]
fn the_append_mode_makes_a_file_and_keeps_its_content() {
    everywhere(|site| {
        let fs = &site.fs;
        site.run(fs.open_append(site.at("new"))).unwrap();
        let path = site.put("old", b"content");
        let first = site.run(fs.open_append(&path)).unwrap();
        assert_eq!(site.get("old"), b"content");
        drop(first);
        site.run(fs.open_append(&path)).unwrap();
    });
}

#[test]
fn a_snapshot_counts_what_was_done_and_ends_at_rest() {
    everywhere(|site| {
        let before = site.fs.snapshot();
        site.run(async {
            let file = site.fs.create(site.at("f")).await.unwrap();
            file.write_at(vec![7; 1000], 0).await.0.unwrap();
            file.sync_data().await.unwrap();
            site.fs.open(site.at("missing")).await.unwrap_err();
        });
        let after = site.fs.snapshot();
        assert!(after.answered() >= before.answered() + 4, "{after:?}");
        assert_eq!((after.failed(), after.bytes().1), (1, 1000));
        assert_eq!((after.waiting, after.orphans, after.orphan_bytes, after.quarantined()), (0, 0, 0, 0));
        assert_eq!((after.ops_max, after.bytes_max), (1024, 1 << 30));
        assert!(site.fs.dump().is_empty());
    });
}
