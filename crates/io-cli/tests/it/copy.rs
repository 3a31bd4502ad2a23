//! `copy`: whole or not at all.

use crate::support::{Ran, bytes, dir, drivers, iofs, names, start, wait_for};
use serde::Deserialize;
use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    path::Path,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    driver: String,
    bytes: u64,
    seconds: f64,
    mibs: f64,
}

/// Of a file system that takes no direct I/O there is nothing to be seen here.
fn takes_direct(dir: &Path) -> bool {
    fs::write(dir.join("probe"), bytes(8192)).unwrap();
    let ran = iofs(dir, ["copy", "probe", "probed", "--direct"]);
    if ran.code != Some(0) {
        ran.refused("refuses O_DIRECT");
        crate::support::skip("copy --direct", "the file system of the build refuses O_DIRECT");
    }
    ran.code == Some(0)
}

#[test]
fn every_size_by_every_driver() {
    let here = dir();
    let at = |name: &str| here.path().join(name);
    let direct = takes_direct(here.path());
    for driver in drivers("copy every driver") {
        for len in [0, 1, 511, 4095, 4096, 4097, 256 << 10, (1 << 20) + 3, 40 << 20] {
            fs::write(at("from"), bytes(len)).unwrap();
            let (small, odd) = (&["--bs", "8k", "--depth", "3"], &["--bs", "999", "--depth", "1"]);
            let (with_loop, past_cache) = (&["--front", "loop"], &["--direct", "--front", "loop"]);
            for extra in [&[][..], &["--direct"], with_loop, past_cache, small, odd] {
                if (extra.contains(&"--direct") && !direct) || (len > 10 << 20 && extra.contains(&"--bs")) {
                    continue;
                }
                let mut args = vec!["copy", "from", "to", "--json", "--force", "--verify", "--driver", driver];
                args.extend(extra);
                let ran = iofs(here.path(), &args).ok();
                let report: Report = ran.json();
                assert_eq!((report.driver.as_str(), report.bytes), (driver, len as u64), "{args:?}");
                assert!(report.seconds > 0.0 && report.mibs >= 0.0);
                assert!(fs::read(at("to")).unwrap() == fs::read(at("from")).unwrap(), "{len} bytes, {args:?}");
            }
        }
    }
    assert!(names(here.path()).iter().all(|name| ["from", "to", "probe", "probed"].contains(&name.as_str())));
}

#[test]
fn holes_read_as_zeros() {
    let here = dir();
    let mut file = fs::File::create(here.path().join("from")).unwrap();
    for (at, what) in [(0, "start"), (3 << 20, "middle"), ((8 << 20) - 1, "end")] {
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(what.as_bytes()).unwrap();
    }
    file.set_len((16 << 20) + 77).unwrap();
    let ran = iofs(here.path(), ["copy", "from", "to", "--verify"]).ok();
    assert!(ran.stdout.contains("16777293 bytes") && ran.stdout.contains("read back and compared"), "{ran:?}");
    assert!(fs::read(here.path().join("to")).unwrap() == fs::read(here.path().join("from")).unwrap());
}

#[cfg(unix)]
#[test]
fn permissions_are_kept_and_set_user_id_is_not() {
    use std::os::unix::fs::PermissionsExt;
    let here = dir();
    let at = |name: &str| here.path().join(name);
    for (mode, kept) in [(0o640, 0o640), (0o755, 0o755), (0o444, 0o444), (0o666, 0o666), (0o4755, 0o755)] {
        let _ = fs::remove_file(at("from"));
        fs::write(at("from"), "x").unwrap();
        fs::set_permissions(at("from"), fs::Permissions::from_mode(mode)).unwrap();
        iofs(here.path(), ["copy", "from", "to", "--force"]).ok();
        assert_eq!(fs::metadata(at("to")).unwrap().permissions().mode() & 0o7777, kept, "{mode:o}");
    }
}

#[test]
fn force_replaces_and_only_force_does() {
    let here = dir();
    let at = |name: &str| here.path().join(name);
    fs::write(at("from"), "new").unwrap();
    fs::write(at("to"), "old content").unwrap();
    fs::hard_link(at("to"), at("keeps")).unwrap();
    iofs(here.path(), ["copy", "from", "to"]).refused("exists");
    assert_eq!(fs::read(at("to")).unwrap(), b"old content");
    iofs(here.path(), ["copy", "from", "to", "--force"]).ok();
    assert_eq!(fs::read(at("to")).unwrap(), b"new");
    assert_eq!(fs::read(at("keeps")).unwrap(), b"old content", "replaced, not written over");
}

#[cfg(unix)]
#[test]
fn links_are_followed_at_both_ends() {
    let here = dir();
    let at = |name: &str| here.path().join(name);
    fs::create_dir(at("elsewhere")).unwrap();
    fs::write(at("from"), "new").unwrap();
    fs::write(at("elsewhere/real"), "old").unwrap();
    std::os::unix::fs::symlink("elsewhere/real", at("to")).unwrap();
    std::os::unix::fs::symlink("from", at("via")).unwrap();
    iofs(here.path(), ["copy", "via", "to", "--force"]).ok();
    assert!(fs::symlink_metadata(at("to")).unwrap().is_symlink(), "the link is still one");
    assert_eq!(fs::read(at("elsewhere/real")).unwrap(), b"new");
    assert_eq!(names(&at("elsewhere")), ["real"]);
    // A link that leads nowhere is replaced itself: what it would lead to is not made.
    std::os::unix::fs::symlink("elsewhere/not-there", at("dangling")).unwrap();
    iofs(here.path(), ["copy", "from", "dangling", "--force"]).ok();
    assert!(!fs::symlink_metadata(at("dangling")).unwrap().is_symlink());
    assert_eq!(names(&at("elsewhere")), ["real"]);
}

/// A slow copy of a large hole; gives the child once the unfinished copy is there.
fn slow_copy(here: &Path, from: &str, args: &[&str]) -> std::process::Child {
    let mut all = vec!["copy", from, "to", "--bs", "4k", "--depth", "1"];
    all.extend(args);
    let child = start(here, &all);
    wait_for("the unfinished copy", || names(here).iter().any(|name| name.starts_with(".iofs-copy-")));
    child
}

#[test]
fn a_source_that_changes_its_size_is_an_error() {
    let here = dir();
    let at = |name: &str| here.path().join(name);
    let file = fs::File::create(at("from")).unwrap();
    for (len, because) in [(4096, "while it was copied; there is no copy"), ((256 << 20) + 1, "its size changed from")]
    {
        file.set_len(256 << 20).unwrap();
        let child = slow_copy(here.path(), "from", &[]);
        file.set_len(len).unwrap();
        Ran::of(child.wait_with_output().unwrap()).failed(because);
        assert_eq!(names(here.path()), ["from"]);
    }
}

#[test]
fn a_name_that_is_taken_meanwhile_is_not_replaced() {
    let here = dir();
    fs::File::create(here.path().join("from")).unwrap().set_len(64 << 20).unwrap();
    let child = slow_copy(here.path(), "from", &[]);
    fs::write(here.path().join("to"), "somebody else's").unwrap();
    Ran::of(child.wait_with_output().unwrap()).refused("exists by now");
    assert_eq!(names(here.path()), ["from", "to"]);
    assert_eq!(fs::read(here.path().join("to")).unwrap(), b"somebody else's");
}

#[cfg(unix)]
#[test]
fn an_interrupted_copy_leaves_nothing() {
    let here = dir();
    fs::File::create(here.path().join("from")).unwrap().set_len(1 << 30).unwrap();
    fs::write(here.path().join("old"), "old").unwrap();
    for signal in ["INT", "TERM", "HUP"] {
        let child = slow_copy(here.path(), "from", &["--force"]);
        crate::support::signal(&child, signal);
        Ran::of(child.wait_with_output().unwrap()).failed("interrupted");
        assert_eq!(names(here.path()), ["from", "old"], "{signal}");
    }
}

/// Damage between copying and comparing: the verdict comes from the bytes.
#[cfg(unix)]
#[test]
fn verify_sees_a_copy_that_is_not_one() {
    let here = dir();
    fs::write(here.path().join("from"), bytes(48 << 20)).unwrap();
    let child = slow_copy(here.path(), "from", &["--verify"]);
    let unfinished = names(here.path()).into_iter().find(|name| name.starts_with(".iofs-copy-")).unwrap();
    let unfinished = fs::File::options().write(true).open(here.path().join(unfinished)).unwrap();
    // The copy passes over each place once; what is written behind it stays.
    let mut child = child;
    while child.try_wait().unwrap().is_none() {
        let _ = std::os::unix::fs::FileExt::write_at(&unfinished, b"damage", 4096 * 7 + 5);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Ran::of(child.wait_with_output().unwrap()).failed("differs from from at byte 28677");
    assert_eq!(names(here.path()), ["from"]);
}
