//! Opening a log: what is there, what is cut, and where it goes on.

use super::{
    Active, Kept, Ready, Recovery, Shared, State,
    maintain::{Trouble, make_segment, next_salt, salt_of, zeros},
};
use crate::{
    WalConfig, WalError,
    disk::{Lock, Place, is_no_space},
    format::{SegmentHeader, record_max},
    host::{Host, Waiters},
    scan::{Outcome, Segment, Survey},
};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    io,
    sync::{Arc, Mutex},
};

pub(super) async fn open(place: Place, config: WalConfig) -> Result<Arc<Shared>, WalError> {
    place.make_dir().await?;
    let guard = place.lock().await?;
    let mut survey = Survey::open(&place, config.direct).await?;
    let found = survey.finish().await?;
    if let Some(damage) = found.damage.first() {
        return Err(WalError::Damaged(damage.clone()));
    }
    // Nobody refers to these any more; if they stay, the next one tries.
    for path in survey.prepared.drain(..).chain(survey.leftovers.iter().map(|&number| place.path(number))) {
        let _ = place.fs.remove_file(path).await;
    }
    let mut salts = config.salt_seed.unwrap_or_else(|| RandomState::new().hash_one(std::process::id()));
    for segment in &survey.segments {
        salts = next_salt(salts ^ segment.header.salt.rotate_left(17)).wrapping_add(u64::from(survey.epoch));
    }
    // Most logs need none of it here, and a piece takes time to be cleared.
    let new = survey.segments.is_empty();
    let zeros = (new || !found.torn.is_empty()).then(|| zeros(&guard, config.segment_size));
    if let Some(zeros) = &zeros {
        cut(&place, zeros, &survey.segments, &found, config.direct).await?;
    }
    if let (true, Some(zeros)) = (new, &zeros) {
        let header = first_segment(&place, &guard, zeros, &config, &mut salts).await?;
        survey.segments.push(Segment { header, first_lsn: None });
    }
    settle(&place, &survey.segments, &found, config.direct).await?;
    let state = state(&place, &config, &survey, &found, salts).await?;
    let waiters = Arc::new(Waiters::default());
    let recovery = Recovery {
        records: found.next_lsn - found.first_lsn,
        first_lsn: found.first_lsn,
        last_lsn: found.next_lsn - 1,
        torn_tail_bytes: found.torn_tail_bytes,
        clean_close: found.clean_close || found.end.is_none(),
    };
    Ok(Arc::new(Shared {
        place,
        config,
        recovery,
        state: Mutex::new(state),
        commit: Host::new(waiters.clone()),
        maintain: Host::new(waiters.clone()),
        waiters,
        lock: Mutex::new(Some(guard)),
        zeros: Mutex::new(zeros),
    }))
}

/// Overwrites what is behind the end with zeros, durably. Done in part, it is done again.
async fn cut(
    place: &Place,
    zeros: &Bytes,
    segments: &[Segment],
    found: &Outcome,
    direct: bool,
) -> Result<(), WalError> {
    for &(number, from, to) in &found.torn {
        let Some(segment) = segments.iter().find(|segment| segment.header.number == number) else { continue };
        let file = place.open_segment(number, segment.header.block_size, direct).await?;
        let failed = |error| WalError::io("cutting the torn tail of", place.path(number), error);
        let mut at = from;
        while at < to {
            let len = (to - at).min(zeros.len() as u64);
            file.write_all_at(zeros.slice(..len as usize), at).await.0.map_err(failed)?;
            at += len;
        }
        file.sync_data().await.map_err(failed)?;
    }
    Ok(())
}

/// Makes durable what was found. After a killed process some of it may only be in the memory of the system, names included, and from
/// now on it counts as durable.
async fn settle(place: &Place, segments: &[Segment], found: &Outcome, direct: bool) -> Result<(), WalError> {
    let end = found.end.map_or(0, |(number, _)| number);
    let used = segments.iter().filter(|segment| segment.header.number <= end);
    for segment in used.rev().take(2) {
        let file = place.open_segment(segment.header.number, segment.header.block_size, direct).await?;
        let synced = file.sync_data().await;
        synced.map_err(|error| WalError::io("syncing", place.path(segment.header.number), error))?;
    }
    place.sync_dir().await.map_err(|error| WalError::io("syncing", &*place.dir, error))
}

async fn first_segment(
    place: &Place,
    guard: &Arc<Lock>,
    zeros: &Bytes,
    config: &WalConfig,
    salts: &mut u64,
) -> Result<SegmentHeader, WalError> {
    *salts = next_salt(*salts);
    let log_id = salt_of(*salts ^ 0x6c6f_675f_6964);
    *salts = next_salt(*salts);
    let header = SegmentHeader {
        block_size: config.block_size,
        segment_size: config.segment_size,
        number: 1,
        base_lsn: 1,
        salt: salt_of(*salts),
        log_id,
        recycled: false,
    };
    match make_segment(place, guard, zeros, header, None, config.direct, || false).await {
        Ok(_) => Ok(header),
        Err(Trouble::Other(cause)) if is_no_space(&cause) => Err(WalError::NoSpace { cause: Arc::new(cause) }),
        Err(Trouble::Other(cause) | Trouble::Sync(cause)) => {
            Err(WalError::io("making a segment in", &*place.dir, cause))
        }
    }
}

/// Where the log goes on: in the segment of its last group, with those behind it as the next ones.
async fn state(
    place: &Place,
    config: &WalConfig,
    survey: &Survey,
    found: &Outcome,
    salts: u64,
) -> Result<State, WalError> {
    let first = survey.segments.first().map(|segment| segment.header);
    let Some(first) = first else {
        return Err(WalError::io("opening", &*place.dir, io::Error::other("there is no segment")));
    };
    let (end, offset) = found.end.unwrap_or((first.number, u64::from(first.block_size)));
    let mut kept = VecDeque::new();
    let mut ready = VecDeque::new();
    let mut active = None;
    for (at, segment) in survey.segments.iter().enumerate() {
        let header = segment.header;
        if header.number > end {
            let file = place.open_segment(header.number, header.block_size, config.direct).await?;
            ready.push_back(Ready { header, file });
            continue;
        }
        let later = survey.segments[at..].iter().filter(|later| later.header.number <= end);
        let first_lsn = later.filter_map(|later| later.first_lsn).find(|lsn| *lsn <= found.next_lsn);
        kept.push_back(Kept { number: header.number, header, first_lsn: first_lsn.unwrap_or(found.next_lsn) });
        if header.number == end {
            let file = place.open_segment(end, header.block_size, config.direct).await?;
            active = Some(Active { header, file, offset });
        }
    }
    let Some(active) = active else {
        return Err(WalError::io("opening", &*place.dir, io::Error::other("the last segment is gone")));
    };
    let blocks = ready.iter().map(|ready: &Ready| ready.header.block_size);
    let block = blocks.chain([config.block_size, active.header.block_size]).fold(0, u32::max);
    let sizes = ready.iter().map(|ready| ready.header.segment_size);
    let size = sizes.fold(config.segment_size, u64::min);
    let durable = found.next_lsn - 1;
    Ok(State {
        next_lsn: found.next_lsn,
        acked: durable,
        durable,
        log_start: found.first_lsn,
        start_wanted: found.first_lsn,
        start_said: found.first_lsn,
        queue: VecDeque::new(),
        queue_worst: 0,
        callers: 0,
        crowd: 0,
        used: 0,
        room: VecDeque::new(),
        segments_through: survey.segments.last().map_or(end, |segment| segment.header.number),
        active,
        ready,
        kept,
        segment_needed: false,
        no_segment: None,
        not_removed: None,
        sync_upto: 0,
        hungry: false,
        closing: false,
        closed: false,
        fault: None,
        epoch: survey.epoch.saturating_add(1),
        salts,
        block: u64::from(block),
        record_max: record_max(size, block),
    })
}
