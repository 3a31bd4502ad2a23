//! fsys' journal (a write-ahead log with framing and CRC): `--qd` threads, each append + sync_through, so its own group
//! commit is what is measured. `--direct 1` uses its direct mode. wal-append only.
use harness::*;
use std::sync::Arc;

fn main() {
    let a = Args::parse();
    if a.op != Op::WalAppend {
        unsupported("a journal: wal-append only");
    }
    let _ = std::fs::remove_file(&a.file);
    let _ = std::fs::remove_file(format!("{}.ready", a.file));
    let fs = fsys::builder().build().unwrap();
    let log = fs.journal_with(&a.file, fsys::JournalOptions::new().direct(a.direct)).unwrap();
    if a.wal != "grow" {
        log.preallocate(0, a.size).unwrap();
    }
    let log = Arc::new(log);
    let a = Arc::new(a);
    let run = Arc::new(Run::start(&a));
    let hs: Vec<_> = (0..a.qd)
        .map(|_| {
            let (a, log, run) = (a.clone(), log.clone(), run.clone());
            std::thread::spawn(move || {
                let b = ABuf::new(a.bs);
                let mut t = tsc();
                while !run.over(t) {
                    let lsn = log.append(&b).unwrap();
                    log.sync_through(lsn).unwrap();
                    t = record(t, a.bs);
                }
            })
        })
        .collect();
    for h in hs {
        h.join().unwrap();
    }
    Arc::into_inner(run).unwrap().finish(&me(), &a);
    drop(log);
    let _ = std::fs::remove_file(&a.file);
}
