//! A partition as Kafka has them: producers append messages, consumers read from an offset that they keep themselves, old segments go.
//!
//! ```text
//! seq 1000 | cargo run --example partition -- DIR produce
//! cargo run --example partition -- DIR consume 0
//! ```
//!
//! Offsets are record numbers less one. The [`Wal`] is the end that grows: a produced batch is durable when it is answered, and producers
//! that come at the same time share one durable write. The [`SegmentStore`] reads what is sealed, many messages with one transfer, without
//! copying them; the last, open segment is read by the log. What is too much or too old is cut off in whole segments.

use bytes::Bytes;
use io_fs::FileSystem;
use io_log::{
    Lsn, Record, Wal, WalConfig, WalError,
    store::{Retention, SegmentStore, StoreConfig},
};
use std::{
    io::{self, BufRead as _},
    ops::Range,
    path::Path,
    time::SystemTime,
};

/// Clones are the same partition.
#[derive(Clone)]
struct Partition {
    wal: Wal,
    sealed: SegmentStore,
    retention: Retention,
}

impl Partition {
    async fn open(fs: &FileSystem, dir: &Path, log: WalConfig, retention: Retention) -> Result<Partition, WalError> {
        let wal = Wal::open(fs, dir, log).await?;
        let sealed = SegmentStore::open(fs, dir, StoreConfig::new()).await?;
        Ok(Partition { wal, sealed, retention })
    }

    /// Appends a batch, and answers its offsets when it is durable.
    async fn produce(&self, messages: Vec<Bytes>) -> Result<Range<u64>, WalError> {
        let lsns = self.wal.append_many(messages).await?;
        Ok(lsns.start - 1..lsns.end - 1)
    }

    /// Messages from an offset on, up to so many bytes, one at least; none at the end.
    ///
    /// A consumer that was away for too long gets [`WalError::Truncated`], which says where to go on.
    async fn fetch(&self, offset: u64, bytes_max: usize) -> Result<Vec<Record>, WalError> {
        let from = offset + 1;
        if from >= self.sealed.next_lsn() {
            self.sealed.refresh().await?;
        }
        if from < self.sealed.next_lsn() {
            return self.sealed.fetch(from, bytes_max).await;
        }
        let (mut reader, mut records, mut bytes) = (self.wal.reader(from), Vec::new(), 0);
        while let Some(record) = reader.next().await {
            let record = record?;
            bytes += record.data.len();
            if bytes > bytes_max && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        Ok(records)
    }

    /// The first offset that there is.
    fn begin(&self) -> u64 {
        self.wal.first_lsn() - 1
    }

    /// The offset that the next message will get.
    fn end(&self) -> u64 {
        self.wal.next_lsn() - 1
    }

    /// Cuts off what the retention does not keep.
    async fn clean(&self, now: SystemTime) -> Result<(), WalError> {
        self.sealed.refresh().await?;
        let Some(lsn) = self.sealed.expired(&self.retention, now) else { return Ok(()) };
        self.wal.truncate_before(lsn).await?;
        // It keeps some of the files, to use them again.
        self.sealed.forget_before(self.wal.first_lsn());
        self.sealed.refresh().await
    }
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let fs = FileSystem::new()?;
    let retention = Retention { bytes_max: Some(1 << 30), age_max: None };
    let open = |dir| Partition::open(&fs, Path::new(dir), WalConfig::default(), retention);
    fs.block_on(async {
        match words[..] {
            [dir, "produce"] => {
                let partition = open(dir).await?;
                let lines: Result<Vec<_>, _> = io::stdin().lock().lines().map(|line| line.map(Bytes::from)).collect();
                println!("{:?}", partition.produce(lines?).await?);
                partition.clean(SystemTime::now()).await?;
                Ok(partition.wal.close().await?)
            }
            [dir, "consume", offset] => {
                let partition = open(dir).await?;
                let mut next: Lsn = offset.parse().map_err(io::Error::other)?;
                loop {
                    let records = partition.fetch(next, 1 << 20).await?;
                    let Some(last) = records.last() else { break Ok(partition.wal.close().await?) };
                    next = last.lsn;
                    records.iter().for_each(|r| println!("{} {}", r.lsn - 1, String::from_utf8_lossy(&r.data)));
                }
            }
            [dir, "offsets"] => {
                let partition = open(dir).await?;
                println!("{}..{}", partition.begin(), partition.end());
                Ok(partition.wal.close().await?)
            }
            _ => Err(io::Error::other("partition DIR produce, consume OFFSET, or offsets")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::time::Duration;

    fn message(n: u64) -> Bytes {
        Bytes::from(format!("message {n} {}", "x".repeat((n % 100) as usize)))
    }

    async fn open(fs: &FileSystem, dir: &Path, retention: Retention) -> Partition {
        let mut config = WalConfig::default();
        config.segment_size = 256 << 10;
        Partition::open(fs, dir, config, retention).await.unwrap()
    }

    /// Reads from an offset to the end; each message once, in order.
    async fn consume(partition: &Partition, mut offset: u64, end: u64) {
        while offset < end {
            for record in partition.fetch(offset, 20_000).await.unwrap() {
                assert_eq!((record.lsn - 1, record.data), (offset, message(offset)));
                offset += 1;
            }
        }
    }

    #[test]
    fn consumers_read_what_was_produced_across_segments_and_openings() {
        let (dir, fs) = (tempfile::tempdir().unwrap(), FileSystem::new().unwrap());
        fs.block_on(async {
            let partition = open(&fs, dir.path(), Retention::default()).await;
            for batch in 0..200 {
                let offsets = partition.produce((batch * 50..batch * 50 + 50).map(message).collect()).await.unwrap();
                assert_eq!(offsets, batch * 50..batch * 50 + 50);
            }
            assert!(partition.fetch(partition.end(), 1).await.unwrap().is_empty());
            consume(&partition, 0, 10_000).await;
            assert!(partition.sealed.segments().len() >= 3, "{:?}", partition.sealed);
            // Not closed: the next opening is a recovery.
            drop(partition);
            let partition = open(&fs, dir.path(), Retention::default()).await;
            assert_eq!((partition.begin(), partition.end()), (0, 10_000));
            join_all([0, 10, 5000, 9990].map(|offset| consume(&partition, offset, 10_000))).await;
        });
    }

    #[test]
    fn consumers_follow_producers() {
        let (dir, fs) = (tempfile::tempdir().unwrap(), FileSystem::new().unwrap());
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        tokio.block_on(async {
            let partition = open(&fs, dir.path(), Retention::default()).await;
            let producing = partition.clone();
            let producer = tokio::spawn(async move {
                for n in 0..3000 {
                    producing.produce(vec![message(n)]).await.unwrap();
                }
            });
            let following = partition.clone();
            let consumer = tokio::spawn(async move {
                let (mut tail, mut next) = (following.wal.tail(1), 0);
                while next < 3000 {
                    let record = tail.next().await.unwrap().unwrap();
                    assert_eq!(record.data, message(next));
                    next += 1;
                }
            });
            producer.await.unwrap();
            consumer.await.unwrap();
            consume(&partition, 0, 3000).await;
        });
    }

    #[test]
    fn what_is_too_much_goes_and_who_is_late_is_told() {
        let (dir, fs) = (tempfile::tempdir().unwrap(), FileSystem::new().unwrap());
        fs.block_on(async {
            let retention = Retention { bytes_max: Some(512 << 10), age_max: None };
            let partition = open(&fs, dir.path(), retention).await;
            for batch in 0..200 {
                partition.produce((batch * 50..batch * 50 + 50).map(message).collect()).await.unwrap();
                partition.clean(SystemTime::now()).await.unwrap();
            }
            // Saying where the log begins may have sealed one more.
            assert!(partition.begin() > 0 && partition.sealed.segments().len() <= 3, "{:?}", partition.sealed);
            match partition.fetch(0, 1).await {
                Err(WalError::Truncated { first_lsn }) => consume(&partition, first_lsn - 1, 10_000).await,
                other => panic!("{other:?}"),
            }
            let old = Partition { retention: Retention { age_max: Some(Duration::ZERO), ..retention }, ..partition };
            old.clean(SystemTime::now() + Duration::from_secs(60)).await.unwrap();
            assert!(old.sealed.segments().len() <= 1 && old.begin() < 10_000, "what was not sealed stays");
            consume(&old, old.begin(), 10_000).await;
        });
    }
}
