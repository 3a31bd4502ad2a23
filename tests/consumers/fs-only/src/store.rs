//! A small store of records over the file system: a log, its index, and a manifest that is replaced as one step.

use io_fs::{DriverName, File, FileSystem, IoConfig};
use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

const RECORDS: usize = 200;

/// Writes records from several threads, and finds them again after everything was closed.
pub fn run(driver: DriverName, dir: &Path) -> Result<(), Box<dyn Error>> {
    let (log, manifest) = (dir.join(format!("log-{driver}")), dir.join(format!("manifest-{driver}")));
    let fs = FileSystem::with_config(IoConfig::builder().driver(driver).io_workers(2).build()?)?;
    assert_eq!(fs.backend().driver(), driver);
    let index = fs.block_on(fs.open_append(&log)).map_err(Into::into).and_then(|file| fill(&fs, file))?;
    fs.block_on(async {
        let (replaced, _text) = fs.replace(&manifest, encode(&index)).await;
        replaced?;
        check(&fs, &log, &manifest).await
    })?;
    let now = fs.snapshot();
    assert_eq!((now.admitted, now.orphans, now.quarantined()), (0, 0, 0));
    println!("{driver}: stored {RECORDS} records, {} operations", now.answered());
    Ok(())
}

fn record(n: usize) -> Vec<u8> {
    vec![n as u8; 10 + n]
}

/// Each thread appends its share, and syncs it; who syncs at the same time shares the sync.
fn fill(fs: &FileSystem, file: File) -> Result<Vec<(u64, usize)>, Box<dyn Error>> {
    let threads: Vec<_> = (0..4)
        .map(|share| {
            let (fs, file) = (fs.clone(), file.clone());
            std::thread::spawn(move || {
                fs.block_on(async {
                    let mut places = Vec::new();
                    for n in (share..RECORDS).step_by(4) {
                        let (at, record) = file.append(record(n)).await;
                        places.push((n, (at?, record.len())));
                    }
                    file.sync_data().await?;
                    io::Result::Ok(places)
                })
            })
        })
        .collect();
    let mut index = vec![(0, 0); RECORDS];
    for thread in threads {
        for (n, place) in thread.join().map_err(|_| "a thread panicked")?? {
            index[n] = place;
        }
    }
    fs.block_on(file.close())?;
    Ok(index)
}

fn encode(index: &[(u64, usize)]) -> Vec<u8> {
    index.iter().flat_map(|&(at, len)| [at.to_le_bytes(), (len as u64).to_le_bytes()].concat()).collect()
}

fn decode(bytes: &[u8]) -> Vec<(u64, usize)> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    bytes.chunks_exact(16).map(|entry| (number(&entry[..8]), number(&entry[8..]) as usize)).collect()
}

async fn check(fs: &FileSystem, log: &Path, manifest: &Path) -> io::Result<()> {
    let size = fs.metadata(manifest).await?.size as usize;
    let reading = fs.open(manifest).await?.read_exact_at(vec![0; size], 0).with_timeout(Duration::from_secs(60)).await;
    let (read, bytes) = reading.map_err(io::Error::from)?;
    read?;
    let index = decode(&bytes);
    assert_eq!(index.len(), RECORDS);
    for (n, found) in fs.open(log).await?.read_ranges(&index).await.into_iter().enumerate() {
        assert_eq!(found?[..], record(n)[..], "record {n}");
    }
    Ok(())
}
