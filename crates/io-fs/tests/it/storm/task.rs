//! One task of a storm.

use super::site::Ground;
use io_fs::{BufResult, BufferPool, File, FileSystem, IoBufMut, OpenOptions, Operation, PoolBuf, Ticket, errno};
use io_testkit::GuardBuf;
use std::{
    future::Future,
    io,
    ops::Deref,
    path::Path,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

pub(super) const BLOCK: usize = 4096;
/// Blocks of a task in each of the files.
pub(super) const BLOCKS: u64 = 4;

/// Each task has blocks of its own, and knows what is in them; what was dropped, cancelled or late leaves a block unknown until all
/// that was begun on the file is over (a sync waits for that) and the block is written anew.
pub(super) async fn task(ground: Ground, id: u64, rounds: u64) {
    let mut random = Random(id + 1);
    let mut known = [[Some(0u8); BLOCKS as usize]; 2];
    let mut late = Late::default();
    let pool = ground.fs.buffer_pool().clone();
    for _ in 0..rounds {
        let (which, slot) = (random.below(2) as usize, random.below(BLOCKS));
        let place = Place { file: &ground.files[which], at: (id * BLOCKS + slot) * BLOCK as u64 };
        let known = &mut known[which][slot as usize];
        let byte = random.below(256) as u8;
        match random.below(32) {
            0 => opened_and_dropped(&ground.fs, &ground.paths[which], &mut random).await,
            1 => late.claim(&mut random).await,
            action if random.below(2) == 0 => {
                let guarded = |byte: u8| std::future::ready(GuardBuf::copy_of(&[byte; BLOCK]));
                place.step(action, byte, known, &mut random, &mut late.guarded, guarded).await;
            }
            action => {
                let pooled = |byte: u8| of_pool(&pool, byte);
                place.step(action, byte, known, &mut random, &mut late.pooled, pooled).await;
            }
        }
    }
}

async fn of_pool(pool: &BufferPool, byte: u8) -> PoolBuf {
    let mut buf = pool.acquire(BLOCK).await;
    buf.extend_from_slice(&[byte; BLOCK]);
    buf
}

/// A block of a file.
struct Place<'a> {
    file: &'a File,
    at: u64,
}

impl Place<'_> {
    async fn step<B, F>(
        &self,
        action: u64,
        byte: u8,
        known: &mut Option<u8>,
        random: &mut Random,
        late: &mut Vec<Ticket<BufResult<usize, B>>>,
        buf: impl Fn(u8) -> F,
    ) where
        B: IoBufMut + Deref<Target = [u8]>,
        F: Future<Output = B>,
    {
        // What is read into has other bytes than any that are written now, so that a read that does nothing is seen.
        let into = || buf(!byte);
        match action {
            2..10 => self.read(action, into().await, *known).await,
            10..18 => {
                self.settle(known).await;
                self.write(action, buf(byte).await).await;
                *known = Some(byte);
            }
            18..21 => {
                let mut op = self.file.write_at(buf(byte).await, self.at);
                let _ = glance(&mut op);
                *known = None;
            }
            21..24 => {
                let mut op = self.file.write_at(buf(byte).await, self.at);
                if glance(&mut op).is_pending() {
                    op.cancel();
                    let (result, buf) = op.await;
                    assert!(result.is_ok() || cancelled(&result.unwrap_err()));
                    assert!(buf.len() == BLOCK && buf.iter().all(|&b| b == byte), "the buffer comes back as it was");
                }
                *known = None;
            }
            24..26 => {
                let mut op = self.file.read_at(into().await, self.at);
                let _ = glance(&mut op);
            }
            26 => {
                let mut op = self.file.read_at(into().await, self.at);
                op.cancel();
                let (result, _) = op.await;
                assert!(cancelled(&result.unwrap_err()), "it had not begun");
            }
            27..30 => {
                let op = self.file.write_at(buf(byte).await, self.at);
                if !self.wait(op, random, late).await {
                    *known = None;
                } else if known.is_some() {
                    *known = Some(byte);
                }
            }
            _ => {
                let op = self.file.read_at(into().await, self.at);
                self.wait(op, random, late).await;
            }
        }
    }

    async fn read<B: IoBufMut + Deref<Target = [u8]>>(&self, action: u64, buf: B, known: Option<u8>) {
        let right = |bytes: &[u8]| bytes.len() == BLOCK && known.is_none_or(|byte| bytes.iter().all(|&b| b == byte));
        match action {
            2 => {
                let (result, buf) = self.file.read_exact_at(buf, self.at).await;
                result.unwrap();
                assert!(right(&buf), "at {}", self.at);
            }
            3 => {
                let (result, bufs) = self.file.read_vectored_at(vec![buf], self.at).await;
                assert_eq!(result.unwrap(), BLOCK);
                assert!(right(&bufs[0]), "at {}", self.at);
            }
            4 => {
                let half = BLOCK / 2;
                let ranges = self.file.read_ranges(&[(self.at + half as u64, half), (self.at, half)]).await;
                let [second, first] = &ranges[..] else { panic!("two ranges") };
                let both = [&first.as_ref().unwrap()[..], second.as_ref().unwrap()].concat();
                assert!(right(&both), "at {}", self.at);
            }
            _ => {
                let (result, buf) = self.file.read_at(buf, self.at).await;
                assert_eq!(result.unwrap(), BLOCK);
                assert!(right(&buf), "at {}", self.at);
            }
        }
    }

    async fn write<B: IoBufMut>(&self, action: u64, buf: B) {
        match action {
            10 => self.file.write_vectored_at(vec![buf], self.at).await.0.map(drop),
            11 => self.file.write_durable_at(buf, self.at).await.0.map(drop),
            _ => self.file.write_all_at(buf, self.at).await.0,
        }
        .unwrap();
    }

    /// Lets what may still write the block come to its end.
    async fn settle(&self, known: &Option<u8>) {
        if known.is_none() {
            // A write that somebody cancelled fails the syncs that cover it, and says nothing about the disk (I8).
            let synced = self.file.sync_data().await;
            assert!(synced.is_ok() || cancelled(&synced.unwrap_err()));
        }
    }

    /// Waits a moment only; true if that was long enough.
    async fn wait<B: IoBufMut>(
        &self,
        op: Operation<BufResult<usize, B>>,
        random: &mut Random,
        late: &mut Vec<Ticket<BufResult<usize, B>>>,
    ) -> bool {
        match op.with_timeout(Duration::from_micros(random.below(300))).await {
            Ok((result, _)) => {
                assert_eq!(result.unwrap(), BLOCK);
                true
            }
            Err(timed_out) => {
                if random.below(2) == 0 {
                    late.push(timed_out.ticket);
                }
                false
            }
        }
    }
}

/// Tickets of what took too long; those that are left at the end are dropped.
#[derive(Debug, Default)]
struct Late {
    guarded: Vec<Ticket<BufResult<usize, GuardBuf>>>,
    pooled: Vec<Ticket<BufResult<usize, PoolBuf>>>,
}

impl Late {
    async fn claim(&mut self, random: &mut Random) {
        if let Some(ticket) = self.guarded.pop() {
            claimed(ticket, random).await;
        }
        if let Some(ticket) = self.pooled.pop() {
            claimed(ticket, random).await;
        }
    }
}

async fn claimed<B: IoBufMut>(mut ticket: Ticket<BufResult<usize, B>>, random: &mut Random) {
    let wished = random.below(2) == 0;
    if wished {
        ticket.cancel();
    }
    match ticket.await {
        (Ok(BLOCK), buf) => assert_eq!(buf.len(), BLOCK),
        (Ok(n), _) => assert!(wished, "{n} bytes: what nobody cancelled is whole"),
        (Err(error), _) => assert!(wished && cancelled(&error), "{error}"),
    }
}

/// Opens a file, or loses interest while that is under way; then the engine closes what it opened.
async fn opened_and_dropped(fs: &FileSystem, path: &Path, random: &mut Random) {
    let mut open = pin!(fs.open_with(path, OpenOptions::READ));
    match random.below(2) {
        0 => drop(open.await.unwrap()),
        _ => drop(open.as_mut().poll(&mut Context::from_waker(Waker::noop()))),
    }
}

fn glance<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(errno::ECANCELED)
}

/// Numbers that look random and repeat with their seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
