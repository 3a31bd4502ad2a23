//! Damaged files: never a panic, never a wrong record, never an acknowledged record that is missing without a word.

use crate::kit::*;
use io_fs::FileSystem;
use io_log::{
    LogReader, Lsn, Wal, WalError,
    planted::{Bug, plant},
    salvage, verify,
};
use io_sim::{SimDisk, SimOptions};

/// A log of a few segments: closed, or left as a killed process leaves it.
fn made(records: Lsn, closes: bool) -> (Vec<(String, Vec<u8>)>, io_log::WalConfig) {
    let (disk, fs) = sim(1);
    let config = with(|config| (config.segment_size, config.recycle) = (8 << 10, 0));
    fs.block_on(async {
        let wal = Wal::open(&fs, DIR, config.clone()).await.unwrap();
        for lsn in 1..=records {
            wal.append(record(lsn)).await.unwrap();
        }
        if closes {
            wal.close().await.unwrap();
        }
    });
    let names = names(&fs, DIR.as_ref());
    let files = names.into_iter().map(|name| {
        let content = disk.read_file(format!("{DIR}/{name}")).unwrap();
        (name, content)
    });
    (files.collect(), config)
}

fn disk_of(files: &[(String, Vec<u8>)]) -> (SimDisk, FileSystem) {
    let disk = SimDisk::new(SimOptions::seeded(1).without_latency());
    for (name, content) in files {
        disk.write_file(format!("{DIR}/{name}"), content).unwrap();
    }
    let fs = over(&disk);
    (disk, fs)
}

/// What a log of `records` acknowledged records may be after something was done to it: damage by name, or a beginning, and then the
/// rest is reported as a torn tail. Reading, verifying and opening say the same. True if it was damage.
fn judge(fs: &FileSystem, records: Lsn, config: &io_log::WalConfig, what: &str) -> bool {
    fs.block_on(async {
        let read = async {
            let mut reader = LogReader::open(fs, DIR).await?.records(0);
            let mut last = 0;
            while let Some(there) = reader.next().await {
                let there = there?;
                assert!(last == 0 || there.lsn == last + 1, "{what}: record {} after {last}", there.lsn);
                assert_eq!(there.data, record(there.lsn), "{what}: record {}", there.lsn);
                last = there.lsn;
            }
            Ok::<_, WalError>(last)
        };
        let read = read.await;
        let verified = verify(fs, DIR).await;
        match Wal::open(fs, DIR, config.clone()).await {
            Ok(wal) => {
                let found = *wal.recovery();
                assert!(
                    found.last_lsn == records || found.torn_tail_bytes > 0,
                    "{what}: missing without a word: {found:?}"
                );
                assert!(found.last_lsn + 8 >= records, "{what}: more than a group is missing: {found:?}");
                assert_eq!(read.unwrap(), found.last_lsn, "{what}");
                assert_eq!(verified.unwrap().damage, [], "{what}");
                assert_consecutive(&read_all(&wal).await.unwrap(), found.first_lsn);
                let lsn = wal.append(record(found.last_lsn + 1)).await.unwrap();
                assert_eq!(lsn, found.last_lsn + 1, "{what}");
                false
            }
            Err(WalError::Damaged(damage)) => {
                assert!(matches!(&read, Err(WalError::Damaged(_))), "{what}: {damage}, but it reads {read:?}");
                assert!(!verified.unwrap().damage.is_empty(), "{what}");
                true
            }
            Err(error) => panic!("{what}: {error}"),
        }
    })
}

#[test]
fn every_byte_that_flips_is_damage_or_a_torn_tail_or_nothing() {
    let (files, config) = made(16, true);
    let mut damaged = 0;
    for (nth, (name, content)) in files.iter().enumerate().filter(|(_, (name, _))| name.ends_with(".seg")) {
        // Every byte of the headers and of what is written; a few of the zeros behind.
        let used = content.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for at in (0..used).filter(|at| at % 512 < 90 || at % 5 == 0).chain((used..content.len()).step_by(911)) {
            let mut changed = files.clone();
            changed[nth].1[at] ^= 1 << (at % 8);
            damaged += usize::from(judge(&disk_of(&changed).1, 16, &config, &format!("{name}, byte {at}")));
        }
    }
    assert!(damaged > 500, "{damaged}");
}

/// Segments that were others before, and still have their content behind the end; and a log that does not begin with its first record.
#[test]
fn a_flipped_byte_of_segments_that_were_used_again_is_no_different() {
    let (disk, fs) = sim(1);
    let config = with(|config| (config.segment_size, config.recycle) = (8 << 10, 2));
    fs.block_on(async {
        let wal = Wal::open(&fs, DIR, config.clone()).await.unwrap();
        for lsn in 1..=90 {
            wal.append(record(lsn)).await.unwrap();
            wal.truncate_before(lsn.saturating_sub(5)).await.unwrap();
        }
    });
    let names = names(&fs, DIR.as_ref());
    let content = |name: &String| disk.read_file(format!("{DIR}/{name}")).unwrap();
    let files: Vec<_> = names.iter().map(|name| (name.clone(), content(name))).collect();
    let mut torn = 0;
    for (nth, (name, content)) in files.iter().enumerate().filter(|(_, (name, _))| name.ends_with(".seg")) {
        for at in (0..content.len()).filter(|at| at % 512 < 64 && at % 3 == 0 || at % 37 == 0) {
            let mut changed = files.clone();
            changed[nth].1[at] ^= 1 << (at % 8);
            torn += usize::from(!judge(&disk_of(&changed).1, 90, &config, &format!("{name}, byte {at}")));
        }
    }
    assert!(torn > 100, "{torn}");
}

#[test]
fn every_length_that_a_segment_is_cut_to_is_named() {
    let (files, config) = made(12, false);
    for (nth, (name, content)) in files.iter().enumerate().filter(|(_, (name, _))| name.ends_with(".seg")) {
        for len in (0..content.len()).filter(|len| len % 512 < 2 || len % 61 == 0) {
            let mut changed = files.clone();
            changed[nth].1.truncate(len);
            let what = format!("{name} cut to {len}");
            assert!(judge(&disk_of(&changed).1, 12, &config, &what), "{what}");
        }
    }
}

#[test]
fn segments_that_are_gone_swapped_or_copied_are_named() {
    for closes in [false, true] {
        let (files, config) = made(60, closes);
        let segments: Vec<_> = (0..files.len()).filter(|&n| files[n].0.ends_with(".seg")).collect();
        assert!(segments.len() >= 4, "{}", segments.len());
        for &gone in &segments {
            let mut changed = files.clone();
            let (name, _) = changed.remove(gone);
            let what = format!("without {name}");
            // The last one is empty: it was prepared. That it was there is known if a group was written since.
            let named = judge(&disk_of(&changed).1, 60, &config, &what);
            assert!(named || Some(&gone) == segments.last(), "{what}");
        }
        for (one, other) in [(0, 1), (1, 2), (0, segments.len() - 1)] {
            let mut changed = files.clone();
            changed[segments[one]].1 = files[segments[other]].1.clone();
            assert!(judge(&disk_of(&changed).1, 60, &config, "copied"));
            changed[segments[other]].1 = files[segments[one]].1.clone();
            assert!(judge(&disk_of(&changed).1, 60, &config, "swapped"));
        }
    }
}

/// A segment of another log, of the right number.
#[test]
fn a_segment_of_another_log_is_named() {
    let (files, config) = made(30, true);
    let (disk, fs) = sim(9);
    let other = with(|other| (other.segment_size, other.salt_seed) = (8 << 10, Some(99)));
    fs.block_on(async {
        let wal = Wal::open(&fs, DIR, other).await.unwrap();
        wal.append_many((1..=30).map(record)).await.unwrap();
    });
    let mut changed = files.clone();
    let name = &files.iter().filter(|(name, _)| name.ends_with(".seg")).nth(1).unwrap().0;
    let nth = files.iter().position(|(there, _)| there == name).unwrap();
    changed[nth].1 = disk.read_file(format!("{DIR}/{name}")).unwrap();
    assert!(judge(&disk_of(&changed).1, 30, &config, "of another log"));
}

#[test]
fn an_unknown_version_is_refused_by_name() {
    let (mut files, config) = made(3, true);
    let segment = files.iter_mut().find(|(name, _)| name.ends_with(".seg")).unwrap();
    segment.1[8] = 2;
    let crc = crc32c_of(&segment.1[..60]);
    segment.1[60..64].copy_from_slice(&crc.to_le_bytes());
    let (_, fs) = disk_of(&files);
    fs.block_on(async {
        let error = Wal::open(&fs, DIR, config).await.unwrap_err();
        assert!(matches!(error, WalError::UnknownVersion { segment: 1, version: 2 }), "{error}");
        assert!(matches!(verify(&fs, DIR).await, Err(WalError::UnknownVersion { .. })));
    });
}

/// CRC32C, bit by bit.
fn crc32c_of(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

#[test]
fn what_is_good_of_a_damaged_log_is_saved() {
    let (files, config) = made(60, true);
    let mut changed = files.clone();
    let second = files.iter().position(|(name, _)| name.ends_with("2.seg")).unwrap();
    changed[second].1[512 + 100] ^= 1;
    let (_, fs) = disk_of(&changed);
    fs.block_on(async {
        let damage = verify(&fs, DIR).await.unwrap().damage;
        assert_eq!((damage.len(), damage[0].segment, damage[0].offset), (1, 2, 512), "{damage:?}");
        let saved = salvage(&fs, DIR, "/saved", config.clone()).await.unwrap();
        assert_eq!(saved.damage, damage);
        assert_eq!(saved.stretches.len(), 2, "{saved:?}");
        let lost = saved.stretches[1].0 - (saved.stretches[0].0 + saved.stretches[0].2);
        assert!(lost >= 1 && saved.records + lost == 60, "{saved:?}");
        let all = read_files(&fs, "/saved").await.unwrap();
        for &(old, new, count) in &saved.stretches {
            for n in 0..count {
                assert_eq!(all[(new + n - 1) as usize].data, record(old + n));
            }
        }
        // Without a whole segment, too.
        let mut changed = files.clone();
        changed.remove(second);
        let (_, fs) = disk_of(&changed);
        let saved = salvage(&fs, DIR, "/saved", config).await.unwrap();
        assert!(saved.records > 30 && !saved.damage.is_empty() && saved.stretches[0].0 == 1, "{saved:?}");
    });
}

/// A planted mistake: the length in a group's header is believed, though no checksum covers it. A flipped bit of it leads past the last
/// group, which is then missing without a word.
#[test]
fn a_length_that_no_checksum_covers_is_caught() {
    plant(Some(Bug::LengthNotCovered));
    let (files, config) = made(3, false);
    let first = files.iter().position(|(name, _)| name.ends_with("1.seg")).unwrap();
    let silent = (0..32).any(|bit| {
        let mut changed = files.clone();
        let second_group = 512 + (64 + 20 + record(1).len()).next_multiple_of(512);
        changed[first].1[second_group + 4 + bit / 8] ^= 1 << (bit % 8);
        let judged = std::panic::catch_unwind(|| judge(&disk_of(&changed).1, 3, &config, "a flipped length"));
        judged.is_err()
    });
    plant(None);
    assert!(silent, "the mistake is not found");
}

/// Of several groups in flight one has not come to be: those behind it are part of the torn tail, and are not counted.
#[test]
fn what_lies_behind_a_torn_group_is_not_counted() {
    let (disk, fs) = sim(3);
    let config = with(|config| (config.sync, config.depth) = (io_log::Sync::Each, 4));
    let block = config.block_size as usize;
    fs.block_on(async {
        let wal = Wal::open(&fs, DIR, config).await.unwrap();
        for lsn in 1..=4 {
            wal.enqueue(record_of(lsn, 100)).await.unwrap();
        }
        wal.flush().await.unwrap();
    });
    let path = format!("{DIR}/{}", names(&fs, DIR.as_ref()).into_iter().find(|name| name.ends_with(".seg")).unwrap());
    let mut content = disk.read_file(&path).unwrap();
    content[2 * block..3 * block].fill(0);
    disk.write_file(&path, &content).unwrap();
    let found = fs.block_on(verify(&fs, DIR)).unwrap();
    assert_eq!((found.records, found.last_lsn, found.damage.len()), (1, 1, 0), "{found:?}");
    assert!(found.torn_tail_bytes > 0, "{found:?}");
    assert_eq!(fs.block_on(read_files(&fs, DIR)).unwrap().len(), 1);
}
