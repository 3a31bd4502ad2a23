//! Appenders of a log: each waits for its own record, and the log makes durable together what waits at the same time.

use super::{
    Outcome, Until,
    facade::{Engine, Runtime},
    meter::Meter,
    record::Recorder,
    together::Together,
};
use crate::clock::Ticker;
use bytes::Bytes;
use io_log::Wal;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Appends, ready to be made.
#[derive(Clone, Debug)]
pub(crate) struct Appends {
    pub(crate) wal: Wal,
    /// Bytes of a record.
    pub(crate) bs: usize,
    /// Appenders.
    pub(crate) lanes: u32,
    pub(crate) until: Until,
    /// No more bytes of records than this are kept: what is older is cut off, and its segments are used again.
    pub(crate) kept: u64,
}

/// What the appenders share.
struct Race {
    appends: Appends,
    begun: AtomicU64,
    deadline: u64,
}

impl Engine {
    /// Runs the appenders.
    ///
    /// # Errors
    /// If the runtime gets no threads.
    pub(crate) fn run_appends(&self, appends: &Appends) -> io::Result<Outcome> {
        let ticker = Ticker::new();
        // Records and recorders are made before the clock starts.
        let lanes: Vec<_> =
            (0..appends.lanes).map(|lane| (record(lane, appends.bs), Recorder::new(ticker.clone()))).collect();
        let begin = || {
            let meter = Meter::start();
            let deadline = ticker.after(ticker.now(), appends.until.time);
            let race = Arc::new(Race { appends: appends.clone(), begun: AtomicU64::new(0), deadline });
            let futures: Vec<_> =
                lanes.into_iter().map(|(record, recorder)| run(race.clone(), record, recorder)).collect();
            (futures, meter)
        };
        let (ended, cost) = match self.runtime() {
            Runtime::Local | Runtime::LocalFs => {
                let (futures, meter) = begin();
                (self.block_on(Together::new(futures.into_iter())), meter.stop())
            }
            Runtime::Tokio(workers) => super::facade::on_tokio(workers, begin)?,
            Runtime::Smol(workers) => super::facade::on_smol(workers, begin)?,
        };
        let mut all = Recorder::new(ticker.clone());
        ended.into_iter().for_each(|recorder| all.merge(recorder));
        Ok(all.outcome(appends.bs, cost))
    }
}

/// One record after the other, until the time or the operations are used up, or one fails.
async fn run(race: Arc<Race>, record: Bytes, mut recorder: Recorder) -> Recorder {
    let Appends { wal, bs, until, kept, .. } = &race.appends;
    let bytes = *bs as u64;
    loop {
        let begun = race.begun.fetch_add(1, Ordering::Relaxed);
        if begun >= until.ops {
            return recorder;
        }
        let started = recorder.ticker.now();
        let lsn = match wal.append(record.clone()).await {
            Ok(lsn) => lsn,
            Err(error) => {
                recorder.failed(error.into());
                return recorder;
            }
        };
        if recorder.done(started) >= race.deadline {
            return recorder;
        }
        // Whoever appends the record that makes half as much too many cuts off what is too old.
        if (lsn * bytes) % (kept / 2).max(bytes) < bytes && lsn * bytes > *kept {
            if let Err(error) = wal.truncate_before(lsn - kept / bytes).await {
                recorder.failed(error.into());
                return recorder;
            }
        }
    }
}

/// What a lane appends.
pub(crate) fn record(lane: u32, bs: usize) -> Bytes {
    let mut bytes = vec![0; bs];
    super::pages::prefill(&mut bytes, lane);
    Bytes::from(bytes)
}
