//! The logs that people use: `--variant okaywal | raft-engine | walrus`. `--qd` threads, each appending records of `--bs` bytes and
//! waiting until its own is durable, so that each log's own group commit is what is measured. wal-append only; the log is a directory
//! beside `--file`.
use harness::*;
use std::{path::PathBuf, sync::Arc};

type Append = Box<dyn Fn(usize, &[u8]) + Send + Sync>;

fn main() {
    let a = Args::parse();
    if a.op != Op::WalAppend {
        unsupported("a log: wal-append only");
    }
    if a.direct {
        unsupported("buffered only");
    }
    let dir = PathBuf::from(format!("{}.{}", a.file, a.variant));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let open: fn(PathBuf) -> Append = match a.variant.as_str() {
        "okaywal" => okaywal,
        "raft-engine" => raft_engine,
        "walrus" => walrus,
        other => die(&format!("no such log: {other:?}")),
    };
    let a = Arc::new(a);
    let log = Arc::new(open(dir.clone()));
    let run = Arc::new(Run::start(&a));
    let threads: Vec<_> = (0..a.qd)
        .map(|id| {
            let (a, log, run) = (a.clone(), log.clone(), run.clone());
            std::thread::spawn(move || {
                let record_of = ABuf::new(a.bs);
                let mut now = tsc();
                while !run.over(now) {
                    log(id, &record_of);
                    now = record(now, a.bs);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    Arc::into_inner(run).unwrap().finish(&format!("{} {}", me(), a.variant), &a);
    drop(log);
    let _ = std::fs::remove_dir_all(&dir);
}

fn okaywal(dir: PathBuf) -> Append {
    let log = okaywal::WriteAheadLog::recover(dir, okaywal::LogVoid).unwrap();
    Box::new(move |_, record| {
        let mut entry = log.begin_entry().unwrap();
        entry.write_chunk(record).unwrap();
        entry.commit().unwrap();
    })
}

fn raft_engine(dir: PathBuf) -> Append {
    use raft_engine::{Config, Engine, LogBatch};
    let config = Config { dir: dir.to_str().unwrap().into(), ..Config::default() };
    let log = Engine::open(config).unwrap();
    // A key for each thread: what is kept in memory stays small, and each record goes to the log all the same.
    Box::new(move |id, record| {
        let mut batch = LogBatch::with_capacity(1);
        batch.put(1, (id as u64).to_be_bytes().to_vec(), record.to_vec()).unwrap();
        log.write(&mut batch, true).unwrap();
    })
}

fn walrus(dir: PathBuf) -> Append {
    // It prints a line for each record unless it is told not to.
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("WALRUS_QUIET", "1") };
    use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus};
    std::env::set_current_dir(&dir).unwrap();
    let consistency = ReadConsistency::StrictlyAtOnce;
    let log = Walrus::with_consistency_and_schedule(consistency, FsyncSchedule::SyncEach).unwrap();
    Box::new(move |_, record| log.append_for_topic("log", record).unwrap())
}
