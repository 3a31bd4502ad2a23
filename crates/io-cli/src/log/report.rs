//! `iofs log verify`, `stat` and `salvage`: what is in a log, and what is wrong with it.

use super::{
    args::{DirArgs, SalvageArgs},
    opening, reading,
    tail::Tail,
};
use crate::{exit::Failure, output, size};
use io_log::{
    Damage, Lsn, Verified, WalConfig, WalError,
    store::{SegmentStore, StoreConfig},
};
use serde::Serialize;
use std::{fs, path::Path, time::SystemTime};

#[derive(Debug, Serialize)]
struct VerifyReport<'a> {
    records: u64,
    first_lsn: Lsn,
    last_lsn: Lsn,
    torn_tail_bytes: u64,
    damage: Vec<DamageReport<'a>>,
}

#[derive(Debug, Serialize)]
struct DamageReport<'a> {
    segment: u64,
    offset: u64,
    lsn: Lsn,
    what: &'a str,
}

pub(super) fn verify(args: &DirArgs) -> Result<(), Failure> {
    super::there_is_one(&args.dir)?;
    let fs = super::file_system(args.common.driver.as_deref())?;
    let bar = super::bar(Some(super::lengths(&args.dir).iter().sum()), args.common.json);
    let verified = fs.block_on(super::watched(&fs, &bar, io_log::verify(&fs, &args.dir)));
    let verified = verified.map_err(|error| opening(&args.dir, &error))?;
    if args.common.json {
        output::print_json(&report(&verified))?;
    } else {
        output::print(&sentence(&verified))?;
        tell(&verified.damage)?;
    }
    judge(&args.dir, &verified.damage)
}

fn report(verified: &Verified) -> VerifyReport<'_> {
    VerifyReport {
        records: verified.records,
        first_lsn: verified.first_lsn,
        last_lsn: verified.last_lsn,
        torn_tail_bytes: verified.torn_tail_bytes,
        damage: damage_of(&verified.damage),
    }
}

fn damage_of(damage: &[Damage]) -> Vec<DamageReport<'_>> {
    let all = damage.iter();
    all.map(|one| DamageReport { segment: one.segment, offset: one.offset, lsn: one.lsn, what: &one.what }).collect()
}

fn sentence(verified: &Verified) -> String {
    let Verified { records, first_lsn, last_lsn, torn_tail_bytes, .. } = verified;
    let which = if *records == 0 { String::new() } else { format!(", {first_lsn} to {last_lsn}") };
    let torn = match torn_tail_bytes {
        0 => String::new(),
        bytes => format!("; a torn tail of {bytes} bytes, which nobody was told is there"),
    };
    format!("{records} records{which}{torn}")
}

fn tell(damage: &[Damage]) -> Result<(), Failure> {
    damage.iter().try_for_each(|damage| output::print(&format!("damage: {damage}")))
}

fn judge(dir: &Path, damage: &[Damage]) -> Result<(), Failure> {
    match damage {
        [] => Ok(()),
        [one] => Err(Failure::work(format!("{}: damaged: {one}", dir.display()))),
        [first, ..] => {
            Err(Failure::work(format!("{}: damaged in {} places, the first: {first}", dir.display(), damage.len())))
        }
    }
}

#[derive(Debug, Serialize)]
struct Stat {
    records: u64,
    first_lsn: Lsn,
    last_lsn: Lsn,
    /// Bytes of all segments' files.
    file_bytes: u64,
    segments: Vec<SegmentStat>,
}

#[derive(Debug, Serialize)]
struct SegmentStat {
    number: u64,
    first_lsn: Lsn,
    /// 0 if there is none yet.
    last_lsn: Lsn,
    file_bytes: u64,
    sealed: bool,
    /// When it was last written to, in seconds since 1970.
    modified: Option<u64>,
}

/// Sealed segments are not read, only the rest is: it says what the log looks like, not whether it is good.
pub(super) fn stat(args: &DirArgs) -> Result<(), Failure> {
    super::there_is_one(&args.dir)?;
    let fs = super::file_system(args.common.driver.as_deref())?;
    let stat = fs.block_on(async {
        let store = SegmentStore::open(&fs, &args.dir, StoreConfig::new().index_files(false)).await;
        let store = store.map_err(|error| opening(&args.dir, &error))?;
        let begin = if store.segments().is_empty() { 0 } else { store.next_lsn() };
        let (mut tail, mut first) = (Tail::new(&fs, &args.dir, begin), None);
        let looked = tail.look(|record| {
            first.get_or_insert(record.lsn);
            Ok::<_, WalError>(true)
        });
        looked.await.map_err(|error| reading(&args.dir, &error))?;
        let first = if begin > 0 { store.first_lsn() } else { first.unwrap_or(1) };
        Ok::<_, Failure>(gather(&args.dir, &store, first, tail.next_lsn().max(first)))
    })?;
    if args.common.json {
        return output::print_json(&stat);
    }
    let Stat { records, first_lsn, last_lsn, file_bytes, segments } = &stat;
    let which = if *records == 0 { String::new() } else { format!(", {first_lsn} to {last_lsn}") };
    let count = segments.len();
    output::print(&format!("{records} records{which}; {} in {count} segments", size::show(*file_bytes)))?;
    for segment in segments {
        let state = if segment.sealed { "sealed" } else { "open" };
        let lsns =
            if segment.last_lsn == 0 { "-".into() } else { format!("{} to {}", segment.first_lsn, segment.last_lsn) };
        let line = format!("{:>20}  {state:<6}  {:>10}  {lsns}", segment.number, size::show(segment.file_bytes));
        output::print(&line)?;
    }
    Ok(())
}

fn gather(dir: &Path, store: &SegmentStore, first: Lsn, next: Lsn) -> Stat {
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|age| age.as_secs());
    let mut segments: Vec<_> = store
        .segments()
        .into_iter()
        .map(|segment| SegmentStat {
            number: segment.number,
            first_lsn: segment.lsns.start,
            last_lsn: segment.lsns.end - 1,
            file_bytes: segment.bytes,
            sealed: true,
            modified: segment.modified.and_then(seconds),
        })
        .collect();
    let sealed = segments.last().map_or(0, |last| last.number);
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let mut open: Vec<_> = entries
        .filter_map(|entry| {
            let number = io_log::format::segment_number(entry.file_name().to_str()?)?;
            let metadata = entry.metadata().ok()?;
            (number > sealed).then_some((number, metadata))
        })
        .collect();
    open.sort_unstable_by_key(|(number, _)| *number);
    for (n, (number, metadata)) in open.into_iter().enumerate() {
        // Which of the open ones a record is in does not matter to anybody: all of them are told of the first.
        let has = n == 0 && next > store.next_lsn();
        segments.push(SegmentStat {
            number,
            first_lsn: if has { store.next_lsn().max(first) } else { next },
            last_lsn: if has { next - 1 } else { 0 },
            file_bytes: metadata.len(),
            sealed: false,
            modified: metadata.modified().ok().and_then(seconds),
        });
    }
    let file_bytes = segments.iter().map(|segment| segment.file_bytes).sum();
    Stat { records: next - first, first_lsn: first, last_lsn: next - 1, file_bytes, segments }
}

#[derive(Debug, Serialize)]
struct SalvageReport<'a> {
    records: u64,
    stretches: Vec<Stretch>,
    damage: Vec<DamageReport<'a>>,
}

/// Records that followed one another, and follow one another again.
#[derive(Debug, Serialize)]
struct Stretch {
    first_lsn: Lsn,
    new_first_lsn: Lsn,
    records: u64,
}

pub(super) fn salvage(args: &SalvageArgs) -> Result<(), Failure> {
    super::there_is_one(&args.dir)?;
    if fs::read_dir(&args.out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::usage(format!("{}: is not empty; name a new directory", args.out.display())));
    }
    let fs = super::file_system(args.common.driver.as_deref())?;
    let bar = super::bar(Some(super::lengths(&args.dir).iter().sum()), args.common.json);
    let salvage = io_log::salvage(&fs, &args.dir, &args.out, as_large(&args.dir));
    let salvaged = fs.block_on(super::watched(&fs, &bar, salvage)).map_err(|error| opening(&args.dir, &error))?;
    let stretches = salvaged.stretches.iter();
    let stretches: Vec<_> =
        stretches.map(|&(first_lsn, new_first_lsn, records)| Stretch { first_lsn, new_first_lsn, records }).collect();
    if args.common.json {
        let damage = damage_of(&salvaged.damage);
        output::print_json(&SalvageReport { records: salvaged.records, stretches, damage })?;
    } else {
        output::print(&format!("{} records were copied to {}", salvaged.records, args.out.display()))?;
        for Stretch { first_lsn, new_first_lsn, records } in &stretches {
            output::print(&format!("{records} from {first_lsn} on are now those from {new_first_lsn} on"))?;
        }
        tell(&salvaged.damage)?;
    }
    judge(&args.dir, &salvaged.damage)
}

/// Settings for a log whose segments take whatever those of this one took.
fn as_large(dir: &Path) -> WalConfig {
    let mut config = WalConfig::default();
    let largest = super::lengths(dir).into_iter().max().unwrap_or(0) / 4096 * 4096;
    let usual = config.segment_size;
    config.segment_size = largest;
    if config.validate().is_err() {
        config.segment_size = usual;
    }
    config
}
