//! Many ranges of a file at once.

use super::{File, transfer_of};
use crate::composite::{BoxedSteps, Composite, Step, is_cancelled, step};
use io_engine::core::{AlignedBuf, BufResult, IoBuf, IoBufMut, Op, Slice, errno};
use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    ops::{Deref, Range},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

/// How [`File::read_ranges_with`] goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RangeOptions {
    /// Ranges with at most so many bytes between them are read by one transfer, the bytes between included; 0 joins those that touch or
    /// overlap. `None`: each range is a transfer of its own, exactly as it was asked for.
    pub coalesce_gap: Option<u64>,
    /// No transfer is made longer than this, in bytes, by joining.
    pub transfer_max: usize,
}

impl RangeOptions {
    /// Neighbours up to 4 KiB apart are joined, up to 1 MiB: reading a page too much costs less than a transfer more.
    pub const fn new() -> RangeOptions {
        RangeOptions { coalesce_gap: Some(4096), transfer_max: 1 << 20 }
    }

    /// The same, with another gap.
    #[must_use]
    pub const fn coalesce_gap(mut self, gap: Option<u64>) -> RangeOptions {
        self.coalesce_gap = gap;
        self
    }

    /// The same, with another limit of joined transfers.
    #[must_use]
    pub const fn transfer_max(mut self, bytes: usize) -> RangeOptions {
        self.transfer_max = bytes;
        self
    }
}

impl Default for RangeOptions {
    fn default() -> RangeOptions {
        RangeOptions::new()
    }
}

/// The bytes of one range, a window into the memory of the transfer that brought them. Nothing is copied: ranges that were read by one
/// transfer share its memory, which lives as long as any of them. Clones share it, too.
#[derive(Clone)]
pub struct RangeBuf {
    block: Arc<Block>,
    window: Range<usize>,
}

/// The memory of one transfer.
enum Block {
    Heap(Vec<u8>),
    Aligned(AlignedBuf),
}

impl Block {
    fn bytes(&self) -> &[u8] {
        match self {
            Block::Heap(bytes) => bytes,
            Block::Aligned(bytes) => bytes,
        }
    }
}

impl RangeBuf {
    /// The bytes as a vector of their own: without a copy if this is the only range of a buffered transfer, and covers it.
    pub fn into_vec(self) -> Vec<u8> {
        let whole = self.window.start == 0;
        match Arc::try_unwrap(self.block) {
            Ok(Block::Heap(mut bytes)) if whole => {
                bytes.truncate(self.window.end);
                bytes
            }
            Ok(block) => block.bytes()[self.window].to_vec(),
            Err(shared) => shared.bytes()[self.window].to_vec(),
        }
    }
}

impl Deref for RangeBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.block.bytes()[self.window.clone()]
    }
}

impl AsRef<[u8]> for RangeBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for RangeBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RangeBuf({} bytes)", self.len())
    }
}

impl File {
    /// Reads many ranges, each an offset and a length, as one batch; the answers are in the order of the ranges. Neighbours are read by
    /// one transfer ([`RangeOptions::new`]). See [`File::read_ranges_with`].
    pub fn read_ranges(&self, ranges: &[(u64, usize)]) -> Composite<BoxedSteps<Vec<io::Result<RangeBuf>>>> {
        self.read_ranges_with(ranges, RangeOptions::new())
    }

    /// Reads many ranges, each an offset and a length, as one batch: all transfers are begun before one is waited for. A range is shorter
    /// than asked for, or empty, where the file ends. They may overlap, and be in any order.
    ///
    /// On a direct file transfers are widened to what its [geometry](File::dio_geometry) asks for, so any range can be read.
    ///
    /// # Errors
    /// Each range has its own: where a joined transfer fails, its ranges are read once more one by one. Cancelled, those that were not
    /// read in full answer `ECANCELED`.
    pub fn read_ranges_with(
        &self,
        ranges: &[(u64, usize)],
        options: RangeOptions,
    ) -> Composite<BoxedSteps<Vec<io::Result<RangeBuf>>>> {
        Composite::new(self.0.fs.shards(), BoxedSteps::new(read_all(self.clone(), ranges.to_vec(), options)))
    }

    /// What a transfer that is to bring these bytes has to read.
    fn widened(&self, range: Range<u64>) -> Range<u64> {
        match self.dio_geometry() {
            None => range,
            Some(geometry) => {
                let align = u64::from(geometry.read_offset);
                range.start / align * align..range.end.checked_next_multiple_of(align).unwrap_or(range.end)
            }
        }
    }
}

async fn read_all(file: File, ranges: Vec<(u64, usize)>, options: RangeOptions) -> Vec<io::Result<RangeBuf>> {
    let mut answers: Vec<Option<io::Result<RangeBuf>>> = ranges.iter().map(|_| None).collect();
    let mut again = Vec::new();
    for (joined, result) in read_blocks(&file, join(&ranges, options)).await {
        match result {
            Ok(block) => {
                let block = Arc::new(block);
                for &i in &joined.parts {
                    answers[i] = Some(Ok(window(&block, joined.start, ranges[i])));
                }
            }
            Err(error) => match joined.parts[..] {
                [one] => answers[one] = Some(Err(error)),
                _ => again.extend(joined.parts.iter().map(|&i| Joined::alone(i, ranges[i]))),
            },
        }
    }
    for (alone, result) in read_blocks(&file, again).await {
        let i = alone.parts[0];
        answers[i] = Some(result.map(|block| window(&Arc::new(block), alone.start, ranges[i])));
    }
    answers.into_iter().map(|answer| answer.expect("each range is part of one transfer")).collect()
}

/// The part of a block, which begins at `start` in the file, that is this range; as much of it as the file has.
fn window(block: &Arc<Block>, start: u64, (offset, len): (u64, usize)) -> RangeBuf {
    let there = block.bytes().len();
    let begin = usize::try_from(offset - start).unwrap_or(usize::MAX).min(there);
    RangeBuf { block: block.clone(), window: begin..begin.saturating_add(len).min(there) }
}

/// One transfer for these ranges, named by their numbers.
#[derive(Debug, PartialEq, Eq)]
struct Joined {
    start: u64,
    end: u64,
    parts: Vec<usize>,
}

impl Joined {
    fn alone(part: usize, (offset, len): (u64, usize)) -> Joined {
        Joined { start: offset, end: offset.saturating_add(len as u64), parts: vec![part] }
    }
}

/// Which ranges are read together.
fn join(ranges: &[(u64, usize)], options: RangeOptions) -> Vec<Joined> {
    let each = ranges.iter().enumerate().map(|(i, &range)| Joined::alone(i, range));
    let Some(gap) = options.coalesce_gap else { return each.collect() };
    let mut each: Vec<_> = each.collect();
    each.sort_by_key(|joined| joined.start);
    let mut all: Vec<Joined> = Vec::new();
    for next in each {
        match all.last_mut() {
            Some(last)
                if next.start <= last.end.saturating_add(gap)
                    && (next.end <= last.end || next.end - last.start <= options.transfer_max as u64) =>
            {
                last.end = last.end.max(next.end);
                last.parts.extend(next.parts);
            }
            _ => all.push(next),
        }
    }
    all
}

/// A transfer under way.
enum Read {
    Heap(Step<BufResult<usize, Slice<Vec<u8>>>>),
    Aligned(Step<BufResult<usize, AlignedBuf>>),
    Over(io::Result<Block>),
}

impl Read {
    fn new(file: &File, joined: &mut Joined) -> Read {
        let wide = file.widened(joined.start..joined.end);
        joined.start = wide.start;
        let Ok(len) = usize::try_from(wide.end - wide.start) else {
            return Read::Over(Err(io::ErrorKind::InvalidInput.into()));
        };
        if len == 0 {
            return Read::Over(Ok(Block::Heap(Vec::new())));
        }
        match file.dio_geometry() {
            Some(geometry) => {
                let buf = AlignedBuf::with_align(len, geometry.memory.max(512) as usize);
                Read::Aligned(step(file.read_at(buf, wide.start)))
            }
            None => {
                let mut buf = Vec::new();
                if buf.try_reserve_exact(len).is_err() {
                    return Read::Over(Err(io::ErrorKind::OutOfMemory.into()));
                }
                Read::Heap(step(file.run(Op::read(file.handle(), buf.slice(..len), wide.start), transfer_of)))
            }
        }
    }

    fn ask(&mut self) {
        match self {
            Read::Heap(read) => read.ask(),
            Read::Aligned(read) => read.ask(),
            Read::Over(_) => {}
        }
    }

    fn poll(&mut self, cx: &mut std::task::Context<'_>) -> Poll<()> {
        let result = match self {
            Read::Over(_) => return Poll::Ready(()),
            Read::Heap(read) => match Pin::new(&mut *read).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready((result, buf)) => {
                    let whole = buf.capacity();
                    result.and_then(|n| unless_cut_short(read, n, whole)).map(|()| Block::Heap(buf.into_inner()))
                }
            },
            Read::Aligned(read) => match Pin::new(&mut *read).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready((result, buf)) => {
                    let whole = buf.capacity();
                    result.and_then(|n| unless_cut_short(read, n, whole)).map(|()| Block::Aligned(buf))
                }
            },
        };
        *self = Read::Over(result);
        Poll::Ready(())
    }
}

/// A read that was cancelled and came back short may have met the end of the file, or not.
fn unless_cut_short<T>(read: &Step<T>, n: usize, whole: usize) -> io::Result<()> {
    if n < whole && read.was_asked() { Err(io::Error::from_raw_os_error(errno::ECANCELED)) } else { Ok(()) }
}

/// Begins all transfers, then waits for one after the other: each is polled when it begins and when its turn has come.
async fn read_blocks(file: &File, mut joined: Vec<Joined>) -> impl Iterator<Item = (Joined, io::Result<Block>)> {
    let mut reads: Vec<_> = joined.iter_mut().map(|joined| Read::new(file, joined)).collect();
    let (mut begun, mut first) = (0, 0);
    poll_fn(|cx| {
        while begun < reads.len() {
            let _ = reads[begun].poll(cx);
            begun += 1;
        }
        if is_cancelled() {
            // All of them, and not only the one whose turn it is to be waited for.
            reads[first..].iter_mut().for_each(Read::ask);
        }
        while first < reads.len() {
            if reads[first].poll(cx).is_pending() {
                return Poll::Pending;
            }
            first += 1;
        }
        Poll::Ready(())
    })
    .await;
    joined.into_iter().zip(reads).map(|(joined, read)| match read {
        Read::Over(result) => (joined, result),
        _ => unreachable!("all were waited for"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(ranges: &[(u64, usize)], options: RangeOptions) -> Vec<(u64, u64, Vec<usize>)> {
        join(ranges, options).into_iter().map(|j| (j.start, j.end, j.parts)).collect()
    }

    #[test]
    fn neighbours_are_joined_up_to_the_gap_and_the_limit() {
        let options = RangeOptions::new().coalesce_gap(Some(10)).transfer_max(100);
        let ranges = [(50, 10), (0, 10), (20, 10), (41, 5), (58, 30), (98, 10), (5, 3)];
        assert_eq!(
            joined(&ranges, options),
            [(0, 30, vec![1, 6, 2]), (41, 108, vec![3, 0, 4, 5])],
            "20 is within the gap of 10, 41 is not within that of 30"
        );
        let options = options.transfer_max(50);
        assert_eq!(joined(&ranges, options).last(), Some(&(98, 108, vec![5])));
    }

    #[test]
    fn exact_is_one_transfer_a_range() {
        let ranges = [(0, 10), (10, 10), (5, 1), (0, 10)];
        assert_eq!(join(&ranges, RangeOptions::new().coalesce_gap(None)).len(), 4);
        assert_eq!(join(&ranges, RangeOptions::new().coalesce_gap(Some(0))).len(), 1);
    }
}
