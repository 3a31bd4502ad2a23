//! Many ranges at once.

use super::{SegmentStore, opened::Opened};
use crate::{Lsn, Record, WalError};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::Poll,
};

impl SegmentStore {
    /// Reads many ranges of records as one batch; the answers are in the order of the ranges. They may overlap and be in any order: what
    /// lies in the same place is read once, neighbours by one transfer, and all transfers are begun before one is waited for.
    ///
    /// # Errors
    /// Each range has its own, as [`SegmentStore::read`] says.
    pub async fn read_ranges(&self, ranges: &[Range<Lsn>]) -> Vec<Result<Vec<Record>, WalError>> {
        let mut places = Vec::with_capacity(ranges.len());
        for range in ranges {
            places.push(self.places(range).await);
        }
        let blocks = self.read_blocks(blocks(&places, self.0.config.transfer_max as u64)).await;
        let mut answers = Vec::with_capacity(ranges.len());
        for (range, places) in ranges.iter().zip(places) {
            answers.push(match places {
                Ok(places) => self.collect(range, &places, &blocks).await,
                Err(error) => Err(error),
            });
        }
        answers
    }

    /// Where the records of a range are.
    async fn places(&self, range: &Range<Lsn>) -> Result<Vec<Place>, WalError> {
        let (sealed, first) = (self.sealed(), self.first_lsn());
        if range.start > 0 && range.start < first && range.start < range.end {
            return Err(WalError::Truncated { first_lsn: first });
        }
        let mut places = Vec::new();
        let begin = sealed.partition_point(|sealed| sealed.next <= range.start);
        for sealed in sealed[begin..].iter().take_while(|sealed| sealed.first < range.end) {
            let of = self.opened(sealed).await?;
            let cells = of.index.cells(range);
            places.push(Place { of, cells });
        }
        Ok(places)
    }

    /// Begins all transfers, then waits for one after the other.
    async fn read_blocks(&self, blocks: Vec<Place>) -> Vec<Block> {
        let mut reads: Vec<Pin<Box<dyn Future<Output = _> + Send>>> = Vec::with_capacity(blocks.len());
        for block in &blocks {
            let (of, pool, cells) = (block.of.clone(), self.0.pool.clone(), block.cells.clone());
            reads.push(Box::pin(async move { of.read(&pool, cells).await }));
        }
        let mut over: Vec<Option<Result<Bytes, WalError>>> = reads.iter().map(|_| None).collect();
        let (mut begun, mut first) = (0, 0);
        poll_fn(|cx| {
            while begun < reads.len() {
                if let Poll::Ready(read) = reads[begun].as_mut().poll(cx) {
                    over[begun] = Some(read);
                }
                begun += 1;
            }
            while first < reads.len() {
                if over[first].is_none() {
                    match reads[first].as_mut().poll(cx) {
                        Poll::Ready(read) => over[first] = Some(read),
                        Poll::Pending => return Poll::Pending,
                    }
                }
                first += 1;
            }
            Poll::Ready(())
        })
        .await;
        let of = |(place, read): (Place, Option<_>)| Block { place, read: read.expect("all were waited for") };
        blocks.into_iter().zip(over).map(of).collect()
    }

    async fn collect(&self, range: &Range<Lsn>, places: &[Place], blocks: &[Block]) -> Result<Vec<Record>, WalError> {
        let mut records = Vec::new();
        for place in places {
            for block in blocks.iter().filter(|block| block.place.number() == place.number()) {
                let (have, of) = (&block.place.cells, &place.of);
                let cells = place.cells.start.max(have.start)..place.cells.end.min(have.end);
                if cells.is_empty() {
                    continue;
                }
                let bytes = block.read.as_ref().map_err(WalError::clone)?;
                let (part, begin) = (of.index.span(&cells), of.index.span(have).start);
                let at = |offset: u64| ((offset - begin) as usize).min(bytes.len());
                let part = bytes.slice(at(part.start)..at(part.end));
                let decoded = of.decode(&part, &cells, range, |record| records.push(record));
                of.explained(&self.0.pool, decoded).await?;
            }
        }
        Ok(records)
    }
}

/// Some cells of a segment.
struct Place {
    of: Arc<Opened>,
    cells: Range<usize>,
}

impl Place {
    fn number(&self) -> u64 {
        self.of.sealed.header.number
    }
}

/// What one transfer brought.
struct Block {
    place: Place,
    read: Result<Bytes, WalError>,
}

/// The transfers that bring all of these places, each cell once.
fn blocks(places: &[Result<Vec<Place>, WalError>], bytes_max: u64) -> Vec<Place> {
    let mut wanted: BTreeMap<u64, (&Arc<Opened>, Vec<Range<usize>>)> = BTreeMap::new();
    for place in places.iter().flatten().flatten() {
        wanted.entry(place.number()).or_insert((&place.of, Vec::new())).1.push(place.cells.clone());
    }
    let mut blocks = Vec::new();
    for (of, cells) in wanted.into_values() {
        for mut run in joined(cells) {
            while !run.is_empty() {
                let now = of.index.fitting(&run, bytes_max);
                run.start = now.end;
                blocks.push(Place { of: of.clone(), cells: now });
            }
        }
    }
    blocks
}

/// The same numbers in ascending ranges that neither touch nor overlap.
fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_touches_is_joined() {
        assert_eq!(joined(vec![5..7, 0..2, 2..3, 6..6, 1..2, 9..10, 6..8]), [0..3, 5..8, 9..10]);
        assert_eq!(joined(vec![]), []);
    }
}
