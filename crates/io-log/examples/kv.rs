//! A tiny key-value store: a map in memory, a log of its changes, and now and then a snapshot, so that the log does not grow for ever.
//!
//! ```text
//! cargo run --example kv -- DIR set color blue
//! cargo run --example kv -- DIR get color
//! cargo run --example kv -- DIR list
//! ```
//!
//! What makes it safe is little: a change is in the map only after [`Wal::append_many`] has answered; the map is what snapshot and log say
//! together, so that opening is recovery, whether the last run ended well or not; the snapshot is replaced as one step and says up to
//! which record it goes, and only then are records before that given up. A crash between any two of these steps loses nothing.

use bytes::Bytes;
use io_fs::FileSystem;
use io_log::{Lsn, Wal, WalConfig};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// A change: a key, and its new value or none.
type Change = (Bytes, Option<Bytes>);

struct Store {
    fs: FileSystem,
    snapshot: PathBuf,
    map: BTreeMap<Bytes, Bytes>,
    wal: Wal,
    /// Records that may be behind the snapshot before there is another one.
    records_max: u64,
    snapshot_lsn: Lsn,
}

impl Store {
    async fn open(fs: &FileSystem, dir: &Path, config: WalConfig, records_max: u64) -> io::Result<Store> {
        let wal = Wal::open(fs, dir.join("log"), config).await?;
        let snapshot = dir.join("snapshot");
        let (fs, map) = (fs.clone(), BTreeMap::new());
        let mut store = Store { fs, snapshot, map, wal, records_max, snapshot_lsn: 0 };
        store.load_snapshot().await?;
        let mut reader = store.wal.reader(store.wal.first_lsn().max(store.snapshot_lsn + 1));
        while let Some(record) = reader.next().await {
            store.apply(decode(record?.data)?.0);
        }
        Ok(store)
    }

    /// Makes the changes durable, one after the other, then visible. A crash in the middle leaves a beginning of them.
    async fn write(&mut self, changes: Vec<Change>) -> io::Result<()> {
        let written = self.wal.append_many(changes.iter().map(encode)).await?;
        changes.into_iter().for_each(|change| self.apply(change));
        if written.end - 1 - self.snapshot_lsn >= self.records_max {
            self.save_snapshot(written.end - 1).await?;
        }
        Ok(())
    }

    fn apply(&mut self, (key, value): Change) {
        match value {
            Some(value) => self.map.insert(key, value),
            None => self.map.remove(&key),
        };
    }

    async fn save_snapshot(&mut self, lsn: Lsn) -> io::Result<()> {
        let mut bytes = lsn.to_le_bytes().to_vec();
        for (key, value) in &self.map {
            bytes.extend_from_slice(&encode(&(key.clone(), Some(value.clone()))));
        }
        // Old or new as a whole, and durable: only now may the records go.
        self.fs.replace(&self.snapshot, bytes).await.0?;
        self.snapshot_lsn = lsn;
        Ok(self.wal.truncate_before(lsn + 1).await?)
    }

    async fn load_snapshot(&mut self) -> io::Result<()> {
        let file = match self.fs.open(&self.snapshot).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        let len = file.size().await? as usize;
        let (read, bytes) = file.read_at(Vec::with_capacity(len), 0).await;
        read?;
        let mut bytes = Bytes::from(bytes);
        if bytes.len() < 8 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let lsn = bytes.split_to(8);
        self.snapshot_lsn = Lsn::from_le_bytes(lsn[..].try_into().expect("eight bytes"));
        while !bytes.is_empty() {
            let (change, rest) = decode(bytes)?;
            self.apply(change);
            bytes = rest;
        }
        Ok(())
    }
}

/// Length of the key, length of the value plus 1 or 0 for none, both of 4 bytes; key; value.
fn encode((key, value): &Change) -> Bytes {
    let value_len = value.as_ref().map_or(0, |value| value.len() as u32 + 1);
    let head = [(key.len() as u32).to_le_bytes(), value_len.to_le_bytes()];
    Bytes::from([head.as_flattened(), key, value.as_deref().unwrap_or_default()].concat())
}

/// The change at the begin of these bytes, and what is behind it.
fn decode(mut bytes: Bytes) -> io::Result<(Change, Bytes)> {
    let mut take = |len: usize| match bytes.len() >= len {
        true => Ok(bytes.split_to(len)),
        false => Err(io::Error::from(io::ErrorKind::InvalidData)),
    };
    let mut number = || take(4).map(|four| u32::from_le_bytes(four[..].try_into().expect("four bytes")) as usize);
    let (key_len, value_len) = (number()?, number()?);
    let key = take(key_len)?;
    let value = if value_len == 0 { None } else { Some(take(value_len - 1)?) };
    Ok(((key, value), bytes))
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let [dir, command @ ..] = &words[..] else { return Err(io::Error::other("kv DIR set|get|del|list …")) };
    let fs = FileSystem::new()?;
    fs.block_on(async {
        let mut store = Store::open(&fs, Path::new(dir), WalConfig::default(), 10_000).await?;
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        match command {
            ["set", key, value] => store.write(vec![(bytes(key), Some(bytes(value)))]).await?,
            ["del", key] => store.write(vec![(bytes(key), None)]).await?,
            ["get", key] => match store.map.get(key.as_bytes()) {
                Some(value) => println!("{}", String::from_utf8_lossy(value)),
                None => return Err(io::ErrorKind::NotFound.into()),
            },
            ["list"] => store.map.iter().for_each(|(key, value)| println!("{key:?} {value:?}")),
            _ => return Err(io::Error::other("set KEY VALUE, get KEY, del KEY, or list")),
        }
        Ok(store.wal.close().await?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_sim::{Acks, Explorer, SimDisk};

    fn config() -> WalConfig {
        let mut config = WalConfig::default();
        (config.segment_size, config.salt_seed) = (64 << 10, Some(1));
        config
    }

    /// Key `n % 7`, deleted every fifth time.
    fn change(n: u64) -> Change {
        let value = (n % 5 != 4).then(|| Bytes::from(n.to_string()));
        (Bytes::from((n % 7).to_string()), value)
    }

    fn model(changes: u64) -> BTreeMap<Bytes, Bytes> {
        let mut map = BTreeMap::new();
        for (key, value) in (0..changes).map(change) {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        map
    }

    /// The power is cut at every moment, snapshots and recoveries included: what was acknowledged is there, and at most the change that
    /// was under way besides.
    #[test]
    fn a_crash_at_any_moment_loses_nothing() {
        let run = |disk: &SimDisk, acks: &Acks<u64>| {
            let fs = FileSystem::with_driver(disk.driver(8)).map_err(|error| error.to_string())?;
            let work = async {
                let mut store = Store::open(&fs, Path::new("/db"), config(), 10).await?;
                for n in 0..25 {
                    store.write(vec![change(n)]).await?;
                    acks.note(n + 1);
                }
                io::Result::Ok(())
            };
            fs.block_on(work).map_err(|error| error.to_string())
        };
        let check = |disk: &SimDisk, acks: &Acks<u64>| {
            let fs = FileSystem::with_driver(disk.driver(8)).map_err(|error| error.to_string())?;
            let store = fs.block_on(Store::open(&fs, Path::new("/db"), config(), 10));
            let map = store.map_err(|error| error.to_string())?.map;
            let acked = acks.given().iter().copied().max().unwrap_or(0);
            let good = map == model(acked) || map == model(acked + 1);
            if good { Ok(()) } else { Err(format!("after {acked} changes: {map:?}")) }
        };
        let explored = Explorer::new(1).cuts(4).explore(run, check).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(explored.points > 100, "{explored:?}");
    }
}
