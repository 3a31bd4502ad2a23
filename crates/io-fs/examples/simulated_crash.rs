//! A crash test: a journal on a simulated disk, whose power is cut after every step, hundreds of times. Every record that was reported
//! durable has to be there, and a journal that forgets to sync is found out.
//!
//! `cargo run -p io-fs --example simulated_crash`

use io_fs::{FileSystem, OpenOptions};
use io_sim::{SimDisk, SimOptions};
use std::{error::Error, io};

const RECORD: usize = 100;
const RECORDS: u64 = 20;

/// Appends records; gives the disk's moment at which each was reported durable.
async fn journal(fs: &FileSystem, disk: &SimDisk, syncs: bool) -> io::Result<Vec<u64>> {
    let file = fs.open_with("/journal", OpenOptions::CREATE_NEW).await?;
    fs.sync_dir("/").await?;
    let mut durable = Vec::new();
    for record in 0..RECORDS {
        file.write_at(vec![record as u8 + 1; RECORD], record * RECORD as u64).await.0?;
        if syncs {
            file.sync_data().await?;
        }
        durable.push(disk.moment());
    }
    Ok(durable)
}

/// Number of crashes tried, and the first after which a record was missing.
fn crash_everywhere(syncs: bool) -> Result<(u64, Option<String>), Box<dyn Error>> {
    let disk = SimDisk::new(SimOptions { torn: true, ..SimOptions::seeded(7) });
    disk.record_crash_points(1000);
    let fs = FileSystem::with_driver(disk.driver(8))?;
    let durable = fs.block_on(journal(&fs, &disk, syncs))?;
    let mut crashes = 0;
    for point in disk.take_crash_points() {
        for seed in 0..10 {
            crashes += 1;
            let after = point.after_power_cut(seed).read_file("/journal").unwrap_or_default();
            for (record, _) in durable.iter().enumerate().filter(|(_, at)| **at <= point.moment()) {
                let found = after.get(record * RECORD..(record + 1) * RECORD);
                if found != Some(&[record as u8 + 1; RECORD]) {
                    return Ok((crashes, Some(format!("record {record} after {:?}, seed {seed}", point.at()))));
                }
            }
        }
    }
    Ok((crashes, None))
}

fn main() -> Result<(), Box<dyn Error>> {
    let (crashes, lost) = crash_everywhere(true)?;
    println!("with syncs: {crashes} power cuts, lost: {lost:?}");
    assert_eq!(lost, None);
    let (crashes, lost) = crash_everywhere(false)?;
    println!("without: power cut {crashes} lost {}", lost.as_deref().unwrap_or("nothing"));
    assert!(lost.is_some());
    Ok(())
}
