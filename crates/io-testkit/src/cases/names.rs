//! Names: opening, asking, moving, removing; each with its success and its errors.

use crate::{BLOCK, Bench, Cx, Mode, bytes::assert_same, pattern};
use io_core::{AccessMode, FileHandle, FileKind, Metadata, Op, OpKind, OpenOptions, Output, RenameMode, errno};

/// Runs an operation that must succeed, for its answer.
#[track_caller]
fn answer(bench: &mut Bench, op: Op) -> Output {
    let (result, mut op) = bench.run(op);
    assert_eq!(result, 0, "{op:?}");
    op.take_output()
}

/// Runs an operation that must fail, with one of these.
#[track_caller]
fn refused(bench: &mut Bench, op: Op, with: &[i32]) {
    let (result, mut op) = bench.run(op);
    assert!(with.contains(&-result), "{result} is none of {with:?}: {op:?}");
    assert!(matches!(op.take_output(), Output::None), "an answer beside an error");
}

#[track_caller]
fn open(bench: &mut Bench, cx: &Cx<'_>, name: &str, options: OpenOptions) -> FileHandle {
    match answer(bench, Op::open(cx.path(name), options).unwrap()) {
        Output::File(file) => file,
        other => panic!("{other:?} is no file"),
    }
}

#[track_caller]
fn stat(bench: &mut Bench, op: Op) -> Metadata {
    match answer(bench, op) {
        Output::Metadata(metadata) => metadata,
        other => panic!("{other:?} is no metadata"),
    }
}

fn make_dir(bench: &mut Bench, cx: &Cx<'_>) -> String {
    let name = cx.fresh();
    answer(bench, Op::make_dir(cx.path(&name), 0o755).unwrap());
    name
}

/// An opened file is the file: what it reads is what is there, and the handle says how it was opened.
pub fn open_finds_the_file(cx: &Cx<'_>) {
    cx.needs(&[OpKind::Open]);
    let mut bench = cx.bench(4);
    let contents = pattern(1, 2 * BLOCK);
    let (name, _file) = cx.file(Mode::Buffered, &contents);
    for mode in cx.modes(&[OpKind::Open, OpKind::Read]) {
        let file = open(&mut bench, cx, &name, mode.of(OpenOptions::READ));
        assert_eq!(file.facts().direct, mode == Mode::Direct);
        assert!(file.facts().seekable);
        let (read, op) = bench.run(Op::read(&file, io_core::AlignedBuf::with_capacity(2 * BLOCK), 0));
        assert_eq!(read, 2 * BLOCK as i32);
        assert_same("the file", &op.into_buf::<io_core::AlignedBuf>().unwrap(), &contents);
    }
}

/// `create`, `create_new` and `truncate` do what they say, and no more.
pub fn open_creates_and_truncates(cx: &Cx<'_>) {
    cx.needs(&[OpKind::Open]);
    let mut bench = cx.bench(4);
    let name = cx.fresh();
    refused(&mut bench, Op::open(cx.path(&name), OpenOptions::READ).unwrap(), &[errno::ENOENT]);
    drop(open(&mut bench, cx, &name, OpenOptions::CREATE_NEW));
    assert!(cx.contents(&name).is_empty());
    refused(&mut bench, Op::open(cx.path(&name), OpenOptions::CREATE_NEW).unwrap(), &[errno::EEXIST]);
    cx.create(&name, b"contents", OpenOptions::READ);
    drop(open(&mut bench, cx, &name, OpenOptions::CREATE));
    assert_eq!(cx.contents(&name), b"contents", "opening an existing file cut it");
    drop(open(&mut bench, cx, &name, OpenOptions { truncate: true, ..OpenOptions::READ_WRITE }));
    assert!(cx.contents(&name).is_empty());
}

/// What cannot be opened says why: nothing there, a file in the place of a directory, a name too long.
pub fn open_refuses_with_the_reason(cx: &Cx<'_>) {
    cx.needs(&[OpKind::Open]);
    let mut bench = cx.bench(4);
    let (name, _file) = cx.file(Mode::Buffered, b"x");
    for options in [OpenOptions::READ, OpenOptions::CREATE] {
        let below_missing = cx.path("missing").join("file");
        refused(&mut bench, Op::open(below_missing, options).unwrap(), &[errno::ENOENT]);
        #[cfg(unix)]
        {
            let below_file = cx.path(&name).join("file");
            refused(&mut bench, Op::open(below_file, options).unwrap(), &[errno::ENOTDIR]);
            let long = cx.path(&"n".repeat(300));
            refused(&mut bench, Op::open(long, options).unwrap(), &[libc::ENAMETOOLONG]);
        }
    }
    if cx.supports().contains_kind(OpKind::MakeDir) && cfg!(unix) {
        let dir = make_dir(&mut bench, cx);
        refused(&mut bench, Op::open(cx.path(&dir), OpenOptions::READ_WRITE).unwrap(), &[errno::EISDIR]);
    }
    let _ = name;
}

/// `no_follow` refuses a symbolic link; without it the link leads to its file, or to `ENOENT`.
pub fn open_and_symbolic_links(cx: &Cx<'_>) {
    #[cfg(not(unix))]
    cx.skip("needs Unix");
    #[cfg(unix)]
    {
        cx.needs_real_files();
        cx.needs(&[OpKind::Open]);
        let mut bench = cx.bench(4);
        let (name, _file) = cx.file(Mode::Buffered, b"behind the link");
        let (link, dangling) = (cx.fresh(), cx.fresh());
        std::os::unix::fs::symlink(cx.path(&name), cx.path(&link)).unwrap();
        std::os::unix::fs::symlink("nowhere", cx.path(&dangling)).unwrap();
        drop(open(&mut bench, cx, &link, OpenOptions::READ));
        let no_follow = OpenOptions { no_follow: true, ..OpenOptions::READ };
        refused(&mut bench, Op::open(cx.path(&link), no_follow).unwrap(), &[libc::ELOOP]);
        refused(&mut bench, Op::open(cx.path(&dangling), OpenOptions::READ).unwrap(), &[errno::ENOENT]);
        drop(open(&mut bench, cx, &name, no_follow));
    }
}

/// Names are bytes: spaces, letters of all scripts and, on Unix, bytes that are no text.
pub fn odd_names(cx: &Cx<'_>) {
    cx.needs(&[OpKind::Open, OpKind::Unlink]);
    let mut bench = cx.bench(4);
    let names = [
        std::ffi::OsString::from("with space  and 'quotes'"),
        "späße-日本-🦀".into(),
        "-n".into(),
        #[cfg(unix)]
        std::os::unix::ffi::OsStringExt::from_vec(b"no \xff\xfe text\n".to_vec()),
    ];
    for name in names {
        let path = cx.path("x").with_file_name(&name);
        let Output::File(file) = answer(&mut bench, Op::open(&path, OpenOptions::CREATE_NEW).unwrap()) else {
            panic!("no file for {name:?}");
        };
        drop(file);
        answer(&mut bench, Op::unlink(&path).unwrap());
        refused(&mut bench, Op::open(&path, OpenOptions::READ).unwrap(), &[errno::ENOENT]);
    }
}

/// The file of an open whose answer nobody takes is closed with the operation.
pub fn an_open_that_nobody_wants_is_closed(cx: &Cx<'_>) {
    cx.needs(&[OpKind::Open]);
    let mut bench = cx.bench(4);
    let (name, file) = cx.file(Mode::Buffered, b"x");
    drop(file);
    let Some(0) = cx.disk().times_open(&name) else { cx.skip("needs to know what this process has open") };
    for _ in 0..3 {
        let (result, op) = bench.run(Op::open(cx.path(&name), OpenOptions::READ).unwrap());
        assert_eq!((result, cx.disk().times_open(&name)), (0, Some(1)));
        drop(op);
        assert_eq!(cx.disk().times_open(&name), Some(0));
    }
}

/// Close closes, once: the number is free for the next file, and the next file is not closed by an owner that comes late.
pub fn close_closes_once(cx: &Cx<'_>) {
    cx.needs(&[OpKind::Close]);
    let mut bench = cx.bench(4);
    for _ in 0..10 {
        let (name, file) = cx.file(Mode::Buffered, b"x");
        let (result, op) = bench.run(Op::close(file).expect("nobody else has the handle"));
        assert_eq!(result, 0);
        let next = cx.file(Mode::Buffered, b"y");
        // If the handle closed a second time, it would close this one.
        drop(op);
        if let Some(open) = cx.disk().times_open(&name) {
            assert_eq!(open, 0);
            assert_eq!(cx.disk().times_open(&next.0), Some(1));
        }
        if cx.supports().contains_kind(OpKind::Stat) {
            assert_eq!(stat(&mut bench, Op::stat(&next.1)).size, 1);
        }
    }
    let nobody = crate::nobodys_file(io_core::FileFacts::default());
    refused(&mut bench, Op::close(nobody).expect("nobody else has the handle"), &[errno::EBADF]);
}

/// Metadata of a path and of an open file agree, and say what is there.
pub fn stat_says_what_is_there(cx: &Cx<'_>) {
    cx.needs(&[OpKind::Stat]);
    let mut bench = cx.bench(4);
    let (name, file) = cx.file(Mode::Buffered, &pattern(1, BLOCK + 5));
    let by_path = stat(&mut bench, Op::stat_path(cx.path(&name), true).unwrap());
    let by_file = stat(&mut bench, Op::stat(&file));
    assert_eq!((by_path.kind, by_path.size, by_path.links), (FileKind::File, BLOCK as u64 + 5, 1));
    assert_eq!((by_path.dev, by_path.ino, by_path.mode), (by_file.dev, by_file.ino, by_file.mode));
    if let Some(inode) = file.facts().inode {
        assert_eq!((by_path.dev, by_path.ino), (inode.dev, inode.ino), "a path's key is the open file's key");
    }
    let dir = cx.path(&name).parent().expect("a file lies in a directory").to_path_buf();
    assert_eq!(stat(&mut bench, Op::stat_path(dir, true).unwrap()).kind, FileKind::Dir);
    refused(&mut bench, Op::stat_path(cx.path("missing"), true).unwrap(), &[errno::ENOENT]);
    let facts = io_core::FileFacts::default();
    refused(&mut bench, Op::stat(&crate::nobodys_file(facts)), &[errno::EBADF]);
}

/// A symbolic link, and what it leads to.
pub fn stat_and_symbolic_links(cx: &Cx<'_>) {
    #[cfg(not(unix))]
    cx.skip("needs Unix");
    #[cfg(unix)]
    {
        cx.needs_real_files();
        cx.needs(&[OpKind::Stat]);
        let mut bench = cx.bench(4);
        let (name, _file) = cx.file(Mode::Buffered, &pattern(1, 77));
        let (link, dangling) = (cx.fresh(), cx.fresh());
        std::os::unix::fs::symlink(cx.path(&name), cx.path(&link)).unwrap();
        std::os::unix::fs::symlink("nowhere", cx.path(&dangling)).unwrap();
        let followed = stat(&mut bench, Op::stat_path(cx.path(&link), true).unwrap());
        assert_eq!((followed.kind, followed.size), (FileKind::File, 77));
        assert_eq!(stat(&mut bench, Op::stat_path(cx.path(&link), false).unwrap()).kind, FileKind::Symlink);
        assert_eq!(stat(&mut bench, Op::stat_path(cx.path(&dangling), false).unwrap()).kind, FileKind::Symlink);
        refused(&mut bench, Op::stat_path(cx.path(&dangling), true).unwrap(), &[errno::ENOENT]);
    }
}

/// The file system has blocks, not more free ones than all, and a missing path has none.
pub fn stat_fs_knows_the_space(cx: &Cx<'_>) {
    cx.needs(&[OpKind::StatFs]);
    let mut bench = cx.bench(4);
    let (name, file) = cx.file(Mode::Buffered, b"x");
    let Output::StatFs(found) = answer(&mut bench, Op::stat_fs(cx.path(&name)).unwrap()) else { panic!("no statfs") };
    assert!(found.block_size > 0 && found.blocks > 0, "{found:?}");
    assert!(found.available <= found.free && found.free <= found.blocks, "{found:?}");
    if file.facts().fs_magic != 0 {
        assert_eq!(found.magic, file.facts().fs_magic);
    }
    refused(&mut bench, Op::stat_fs(cx.path("missing")).unwrap(), &[errno::ENOENT]);
}

/// What is there may be read and written by its owner; what is not there is `ENOENT`.
pub fn access_asks_without_opening(cx: &Cx<'_>) {
    cx.needs(&[OpKind::Access]);
    let mut bench = cx.bench(4);
    let (name, _file) = cx.file(Mode::Buffered, b"x");
    for mode in [AccessMode::Exists, AccessMode::Read, AccessMode::ReadWrite] {
        answer(&mut bench, Op::access(cx.path(&name), mode).unwrap());
        refused(&mut bench, Op::access(cx.path("missing"), mode).unwrap(), &[errno::ENOENT]);
    }
}

/// The real path has no dots and no links, and only of what is there.
pub fn real_path_resolves(cx: &Cx<'_>) {
    cx.needs(&[OpKind::RealPath]);
    let mut bench = cx.bench(4);
    let (name, _file) = cx.file(Mode::Buffered, b"x");
    let resolve = |bench: &mut Bench, path: std::path::PathBuf| match answer(bench, Op::real_path(path).unwrap()) {
        Output::Path(path) => path,
        other => panic!("{other:?} is no path"),
    };
    let whole = resolve(&mut bench, cx.path(&name));
    assert!(whole.is_absolute() && whole.ends_with(&name), "{whole:?}");
    let dir = cx.path(&name).parent().expect("a file lies in a directory").to_path_buf();
    assert_eq!(resolve(&mut bench, dir.join(".").join(&name)), whole);
    refused(&mut bench, Op::real_path(cx.path("missing")).unwrap(), &[errno::ENOENT]);
    #[cfg(unix)]
    if !cx.rig().simulated() {
        let link = cx.fresh();
        std::os::unix::fs::symlink(cx.path(&name), cx.path(&link)).unwrap();
        assert_eq!(resolve(&mut bench, cx.path(&link)), whole);
    }
}

/// Permission bits are set as given, and only of what is there.
pub fn permissions_are_set(cx: &Cx<'_>) {
    if !cfg!(unix) {
        cx.skip("needs Unix, for permission bits");
    }
    cx.needs(&[OpKind::SetPermissions, OpKind::Stat]);
    let mut bench = cx.bench(4);
    let (name, file) = cx.file(Mode::Buffered, b"x");
    for mode in [0o600, 0o444, 0o750] {
        answer(&mut bench, Op::set_permissions(cx.path(&name), mode).unwrap());
        assert_eq!(stat(&mut bench, Op::stat(&file)).mode & 0o7777, mode);
    }
    refused(&mut bench, Op::set_permissions(cx.path("missing"), 0o600).unwrap(), &[errno::ENOENT]);
}

/// A file that is created gets the permission bits asked for, less the umask.
pub fn created_files_have_their_mode(cx: &Cx<'_>) {
    if !cfg!(unix) {
        cx.skip("needs Unix, for permission bits");
    }
    cx.needs(&[OpKind::Open, OpKind::Stat]);
    let mut bench = cx.bench(4);
    let file = open(&mut bench, cx, &cx.fresh(), OpenOptions { mode: 0o600, ..OpenOptions::CREATE_NEW });
    assert_eq!(stat(&mut bench, Op::stat(&file)).mode & 0o777, 0o600);
}

/// Renaming replaces in one step.
pub fn rename_replaces(cx: &Cx<'_>) {
    cx.needs(&[OpKind::Rename]);
    let mut bench = cx.bench(4);
    let (from, to) = (cx.fresh(), cx.fresh());
    cx.create(&from, b"new", OpenOptions::READ);
    let rename = |a: &str, b: &str| Op::rename(cx.path(a), cx.path(b), RenameMode::Replace).unwrap();
    answer(&mut bench, rename(&from, &to));
    assert_eq!(cx.contents(&to), b"new");
    cx.create(&from, b"newer", OpenOptions::READ);
    answer(&mut bench, rename(&from, &to));
    assert_eq!(cx.contents(&to), b"newer");
    assert!(cx.disk().contents(&from).is_err());
    refused(&mut bench, rename(&from, &to), &[errno::ENOENT]);
    assert_eq!(cx.contents(&to), b"newer");
}

/// Renaming without replacing fails with `EEXIST` and leaves both as they were (or is not supported: `EINVAL`).
pub fn rename_that_must_not_replace(cx: &Cx<'_>) {
    cx.needs(&[OpKind::Rename]);
    let mut bench = cx.bench(4);
    let [a, b, c] = [cx.fresh(), cx.fresh(), cx.fresh()];
    cx.create(&a, b"a", OpenOptions::READ);
    cx.create(&b, b"b", OpenOptions::READ);
    let rename = |from: &str, to: &str| Op::rename(cx.path(from), cx.path(to), RenameMode::NoReplace).unwrap();
    let (result, _) = bench.run(rename(&a, &b));
    assert_eq!((cx.contents(&a), cx.contents(&b)), (b"a".to_vec(), b"b".to_vec()));
    if [errno::EINVAL, errno::EOPNOTSUPP].contains(&-result) {
        return;
    }
    assert_eq!(result, -errno::EEXIST);
    answer(&mut bench, rename(&a, &c));
    assert_eq!(cx.contents(&c), b"a");
}

/// An exchange swaps two names, and needs both (or is not supported: `EINVAL`).
pub fn rename_that_exchanges(cx: &Cx<'_>) {
    cx.needs(&[OpKind::Rename]);
    let mut bench = cx.bench(4);
    let [a, b, c] = [cx.fresh(), cx.fresh(), cx.fresh()];
    cx.create(&a, b"a", OpenOptions::READ);
    cx.create(&b, b"b", OpenOptions::READ);
    let exchange = |from: &str, to: &str| Op::rename(cx.path(from), cx.path(to), RenameMode::Exchange).unwrap();
    let (result, op) = bench.run(exchange(&a, &b));
    if [errno::EINVAL, errno::EOPNOTSUPP].contains(&-result) {
        assert_eq!((cx.contents(&a), cx.contents(&b)), (b"a".to_vec(), b"b".to_vec()));
        return;
    }
    assert_eq!(result, 0, "{op:?}");
    assert_eq!((cx.contents(&a), cx.contents(&b)), (b"b".to_vec(), b"a".to_vec()));
    refused(&mut bench, exchange(&a, &c), &[errno::ENOENT]);
}

/// A name goes, the open file stays until it is closed; a second time there is nothing to remove, and a directory is none.
pub fn unlink_removes_the_name(cx: &Cx<'_>) {
    cx.needs(&[OpKind::Unlink]);
    let mut bench = cx.bench(4);
    let (name, file) = cx.file(Mode::Buffered, b"still here");
    answer(&mut bench, Op::unlink(cx.path(&name)).unwrap());
    assert!(cx.disk().contents(&name).is_err());
    refused(&mut bench, Op::unlink(cx.path(&name)).unwrap(), &[errno::ENOENT]);
    if cx.supports().contains_kind(OpKind::Stat) && cfg!(unix) {
        let found = stat(&mut bench, Op::stat(&file));
        assert_eq!((found.size, found.links), (10, 0));
    }
    if cx.supports().contains_kind(OpKind::MakeDir) {
        let dir = make_dir(&mut bench, cx);
        refused(&mut bench, Op::unlink(cx.path(&dir)).unwrap(), &[errno::EISDIR, errno::EPERM, errno::EACCES]);
    }
}

/// Directories come and go; only empty ones go.
pub fn directories_come_and_go(cx: &Cx<'_>) {
    cx.needs(&[OpKind::MakeDir, OpKind::RemoveDir]);
    let mut bench = cx.bench(4);
    let dir = make_dir(&mut bench, cx);
    refused(&mut bench, Op::make_dir(cx.path(&dir), 0o755).unwrap(), &[errno::EEXIST]);
    refused(&mut bench, Op::make_dir(cx.path("missing").join("dir"), 0o755).unwrap(), &[errno::ENOENT]);
    answer(&mut bench, Op::make_dir(cx.path(&dir).join("inner"), 0o755).unwrap());
    refused(&mut bench, Op::remove_dir(cx.path(&dir)).unwrap(), &[errno::ENOTEMPTY, errno::EEXIST]);
    answer(&mut bench, Op::remove_dir(cx.path(&dir).join("inner")).unwrap());
    answer(&mut bench, Op::remove_dir(cx.path(&dir)).unwrap());
    refused(&mut bench, Op::remove_dir(cx.path(&dir)).unwrap(), &[errno::ENOENT]);
    let (file, _file) = cx.file(Mode::Buffered, b"x");
    refused(&mut bench, Op::remove_dir(cx.path(&file)).unwrap(), &[errno::ENOTDIR]);
}

/// All entries of a directory, with their kinds, each once; hundreds of them, and none.
pub fn directories_are_listed(cx: &Cx<'_>) {
    cx.needs(&[OpKind::MakeDir, OpKind::ReadDir, OpKind::Open]);
    let mut bench = cx.bench(4);
    let dir = make_dir(&mut bench, cx);
    let list = |bench: &mut Bench| match answer(bench, Op::read_dir(cx.path(&dir)).unwrap()) {
        Output::Entries(mut entries) => {
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            entries
        }
        other => panic!("{other:?} is no list"),
    };
    assert!(list(&mut bench).is_empty(), "dot and dot-dot are no entries");
    let names: Vec<String> = (0..300).map(|i| format!("file-with-quite-a-long-name-{i:04}")).collect();
    for name in &names {
        let op = Op::open(cx.path(&dir).join(name), OpenOptions::CREATE_NEW).unwrap();
        drop(answer(&mut bench, op));
    }
    answer(&mut bench, Op::make_dir(cx.path(&dir).join("zdir"), 0o755).unwrap());
    let entries = list(&mut bench);
    assert_eq!(entries.len(), 301);
    for (entry, name) in entries.iter().zip(&names) {
        assert_eq!((entry.name.to_str(), entry.kind), (Some(name.as_str()), FileKind::File));
    }
    assert_eq!((entries[300].name.to_str(), entries[300].kind), (Some("zdir"), FileKind::Dir));
    refused(&mut bench, Op::read_dir(cx.path("missing")).unwrap(), &[errno::ENOENT]);
    let (file, _file) = cx.file(Mode::Buffered, b"x");
    refused(&mut bench, Op::read_dir(cx.path(&file)).unwrap(), &[errno::ENOTDIR]);
}

/// Operations on names fly beside one another and beside transfers, each with its own answer.
pub fn many_names_at_once(cx: &Cx<'_>) {
    cx.needs(&[OpKind::Open, OpKind::Stat, OpKind::Unlink]);
    let mut bench = cx.bench(16);
    for round in 0..5 {
        let names: Vec<String> = (0..16).map(|_| cx.fresh()).collect();
        for (i, name) in names.iter().enumerate() {
            cx.create(name, &pattern(round, i * 10), OpenOptions::READ);
        }
        let tokens: Vec<_> =
            names.iter().map(|name| bench.start(Op::stat_path(cx.path(name), true).unwrap())).collect();
        for (i, token) in tokens.into_iter().enumerate() {
            let mut done = bench.finish(token);
            let Output::Metadata(found) = done.op.take_output() else { panic!("no metadata: {}", done.result) };
            assert_eq!(found.size, i as u64 * 10);
        }
        let tokens: Vec<_> = names.iter().map(|name| bench.start(Op::unlink(cx.path(name)).unwrap())).collect();
        assert!(tokens.into_iter().all(|token| bench.finish(token).result == 0));
        assert!(names.iter().all(|name| cx.disk().contents(name).is_err()));
    }
}
