//! Bad input: one clear line, exit code 2, and no file is harmed.

use crate::support::{Ran, bytes, command, dir, iofs, snapshot};
use std::fs;

/// A directory with one of everything.
fn zoo() -> tempfile::TempDir {
    let dir = dir();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), bytes(100_000)).unwrap();
    fs::write(at("other"), bytes(5000)).unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::create_dir(at("dir")).unwrap();
    fs::hard_link(at("file"), at("hard")).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("file", at("soft")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
        std::os::unix::fs::symlink("loop", at("loop")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
    }
    dir
}

#[track_caller]
fn refuses_all(cases: &[(&str, &str)]) {
    let zoo = zoo();
    let before = snapshot(zoo.path());
    for (line, because) in cases {
        let ran = iofs(zoo.path(), line.split(' ').filter(|word| !word.is_empty()).map(|word| word.trim_matches('\'')));
        println!("iofs {line}\n  {}", ran.stderr.trim());
        ran.refused(because);
        assert!(ran.stdout.is_empty() || ran.stdout.starts_with("{\"unsupported\":"), "{ran:?}");
        assert_eq!(snapshot(zoo.path()), before, "iofs {line}");
    }
}

#[test]
fn of_the_command_line() {
    refuses_all(&[
        ("", "no command"),
        ("frobnicate", "frobnicate"),
        ("compare --nope", "--nope"),
        ("compare surplus", "surplus"),
        ("copy", "SRC"),
        ("copy file", "DST"),
        ("bench", "--file"),
    ]);
}

#[test]
fn of_compare() {
    refuses_all(&[
        ("compare --file missing", "missing: "),
        ("compare --file dir", "is a directory"),
        ("compare --file empty", "is empty"),
        ("compare --file file/x", "file/x: "),
        ("compare --file ''", ": "),
        ("compare --dir missing", "missing: "),
        ("compare --dir file", "is not a directory"),
        ("compare --file file --dir dir", "cannot be used with"),
        ("compare --size 0", "size of 0"),
        ("compare --size -1", "--size"),
        ("compare --seconds -1", "--seconds"),
        ("compare --size 1x", "a size is a number"),
        ("compare --size 99999999999t", "larger than any file"),
        ("compare --size 18446744073709551616", "larger than any file"),
        ("compare --size 9223372036854775807", "--size"),
        ("compare --size 8000000t", "free"),
        ("compare --seconds 0", "--seconds"),
        ("compare --seconds nan", "--seconds"),
        ("compare --seconds soon", "not a number"),
        ("compare --driver nosuch", "unknown driver `nosuch`"),
        ("compare --driver uring,,aio", "a name is missing"),
        ("compare --driver sim", "driver sim is not available: the simulator has no real files; remedy: "),
    ]);
    #[cfg(unix)]
    refuses_all(&[
        ("compare --file fifo", "neither a regular file nor a block device"),
        ("compare --file /dev/null", "neither a regular file nor a block device"),
        ("compare --file dangling", "dangling: "),
        ("compare --file loop", "loop: "),
    ]);
}

#[test]
fn of_copy() {
    refuses_all(&[
        ("copy missing new", "missing: "),
        ("copy dir new", "is a directory"),
        ("copy file dir", "is a directory"),
        ("copy file dir --force", "is a directory"),
        ("copy file .", "is a directory"),
        ("copy file other", "exists; --force"),
        ("copy file empty", "exists; --force"),
        ("copy file file", "is the file that is to be copied"),
        ("copy file ./file --force", "is the file that is to be copied"),
        ("copy file hard --force", "is the file that is to be copied"),
        ("copy file new/", "no name for a file"),
        ("copy file missing/new", "missing: "),
        ("copy file other/new", "other/new: "),
        ("copy file new --depth 0", "--depth 0 is out of range"),
        ("copy file new --depth -3", "--depth"),
        ("copy file new --depth 4294967296", "--depth"),
        ("copy file new --depth 100000", "out of range"),
        ("copy file new --bs 0", "size of 0"),
        ("copy file new --bs 1g", "of buffers"),
        ("copy file new --bs 7000000t", "of buffers"),
        ("copy file new --bs 1000 --direct", "not a multiple of 4096"),
        ("copy file new --front callback", "--front callback"),
        ("copy file new --driver nosuch", "unknown driver `nosuch`"),
        ("copy file new --driver std", "baseline"),
        ("copy file new --driver sim", "remedy: "),
    ]);
    #[cfg(unix)]
    refuses_all(&[
        ("copy file soft --force", "is the file that is to be copied"),
        ("copy soft file --force", "is the file that is to be copied"),
        ("copy soft hard --force", "is the file that is to be copied"),
        ("copy file dangling", "leads nowhere"),
        ("copy file fifo --force", "not a regular file"),
        ("copy file /dev/null --force", "not a regular file"),
        ("copy fifo new", "neither a regular file nor a block device"),
        ("copy loop new", "loop: "),
        ("copy file loop --force", "loop: "),
    ]);
}

#[test]
fn of_bench() {
    refuses_all(&[
        ("bench --file missing", "missing: "),
        ("bench --file dir", "is a directory"),
        ("bench --file dir --op randwrite", "is a directory"),
        ("bench --file file", "has 97.7 KiB"),
        ("bench --file file --size 64k --bs 0", "size of 0"),
        ("bench --file file --size 64k --bs 128k", "larger than --size"),
        ("bench --file file --size 64k --qd 0", "out of range"),
        ("bench --file file --size 64k --qd 40000", "out of range"),
        ("bench --file file --size 64k --bs 64k --qd 30000", "of buffers"),
        ("bench --file file --size 64k --bs 1000 --direct 1", "not a multiple of 512"),
        ("bench --file file --size 64k --direct 2", "--direct"),
        ("bench --file file --size 64k --op write", "--op"),
        ("bench --file file --size 64k --ops 0", "--ops"),
        ("bench --file file --size 64k --driver nosuch", "unknown driver"),
        ("bench --file file --size 64k --runtime async-std", "--runtime"),
        ("bench --file file --size 64k --runtime tokio --workers 0", "--workers 0"),
        ("bench --file file --size 64k --runtime smol --workers 5000", "out of range"),
        ("bench --file file --size 64k --front callback", "--front callback"),
        ("bench --file file --size 64k --front loop --runtime smol --json", "--front loop"),
        ("bench --file file --size 64k --op wal-append --wal grow --group 1 --json", "--wal prealloc"),
        ("bench --file file --size 4m --bs 1m --op wal-append --group 1", "does not fit a segment"),
        ("bench --file file --size 64k --op randwrite", "--overwrite"),
        ("bench --file other --size 64k --op wal-append", "--overwrite"),
        ("bench --file other --size 64k --op wal-append --wal grow", "--overwrite"),
        ("bench --file new --size 8000000t --op randwrite", "are free"),
    ]);
}

#[test]
fn a_driver_named_by_the_environment_is_an_explicit_choice() {
    let zoo = zoo();
    let lines: [&[&str]; 3] =
        [&["compare", "--size", "64k"], &["copy", "file", "new"], &["bench", "--file", "file", "--size", "64k"]];
    for line in lines {
        for (name, because) in [("nosuch", "unknown driver `nosuch`"), ("sim", "driver sim is not available")] {
            let output = command(zoo.path()).args(line).env("IOFS_DRIVER", name).output().unwrap();
            Ran::of(output).refused(because);
        }
    }
    assert!(!zoo.path().join("new").exists());
    let output = command(zoo.path()).args(lines[1]).arg("--json").env("IOFS_DRIVER", "threadpool").output().unwrap();
    assert!(Ran::of(output).ok().stdout.contains("\"threadpool\""));
}

/// Runs as nobody where the test runs as root: root may read and write everything.
#[cfg(unix)]
#[test]
fn without_permission() {
    use crate::support::names;
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};
    let set = |path: &std::path::Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    // Where nobody gets to, unlike the build's directory maybe.
    let dir = tempfile::tempdir().unwrap();
    set(dir.path(), 0o755);
    let binary = dir.path().join("iofs");
    fs::copy(crate::support::IOFS, &binary).unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("secret"), bytes(10_000)).unwrap();
    set(&at("secret"), 0o000);
    fs::write(at("open"), bytes(10_000)).unwrap();
    set(&at("open"), 0o444);
    fs::create_dir(at("closed")).unwrap();
    set(&at("closed"), 0o555);
    let root = fs::read(at("secret")).is_ok();
    let run = |line: &str| {
        let mut command = std::process::Command::new(&binary);
        command.current_dir(dir.path()).args(line.split(' ')).env_remove("IOFS_DRIVER");
        if root {
            command.uid(65534).gid(65534);
        }
        Ran::of(command.output().unwrap())
    };
    if !root {
        set(dir.path(), 0o555);
    }
    let before = names(dir.path());
    for (line, because) in [
        ("compare --file secret", "secret: Permission denied"),
        ("compare --dir closed", "closed: Permission denied"),
        ("copy secret new", "secret: Permission denied"),
        ("copy open closed/new", "closed: Permission denied"),
        ("bench --file secret --size 4k", "secret: Permission denied"),
        ("bench --file closed/new --size 4k --op randwrite", "closed/new: Permission denied"),
    ] {
        run(line).refused(because);
    }
    // What writes has no place here; what reads is compared all the same.
    let ran = run("compare --file open --seconds 0.01 --driver std --json").ok();
    assert!(ran.stdout.contains("\"randread\"") && !ran.stdout.contains("\"randwrite\""), "{ran:?}");
    assert!(ran.stdout.contains("writes are left out: "), "{ran:?}");
    assert_eq!(names(dir.path()), before);
    set(dir.path(), 0o755);
}
