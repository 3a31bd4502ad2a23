//! Random histories of operations with faults and cancels, against a `Vec<u8>`: on the simulator and on every real driver.
//!
//! Operations in flight never overlap, so the model knows what each must find; a write that failed leaves each of its bytes old or
//! new, and the next read that succeeds says which. On the simulator the power is cut afterwards, many times over: what a
//! successful sync covered is there.
//!
//! `IOFS_SEED` repeats a run, `IOFS_SOAK` makes runs long and different.

use crate::{
    order::sticky_code,
    world::{File, World, accept, core, data, room, soak, turn},
};
use io_engine::{
    Finished, Inflight,
    core::{AlignedBuf, FileHandle, Op, OpKind, RwFlags, Token, Wait, errno},
};
use io_testkit::{Fault, Faults, Rule};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

every_driver!(histories_soak, histories_at_depth_one_soak, histories_and_power_cuts_soak);

/// Cells of the file at first; writes go beyond.
const CELLS: usize = 12;
const CELLS_MAX: usize = 16;

/// What goes wrong with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    /// So many cells are moved at a time, the first time.
    Short(usize),
    Delay,
    PushBack,
    /// It is not done and answers this, once.
    Refused(i32),
    /// It is done and answers this.
    Garbled(i32),
}

#[derive(Clone, Debug)]
enum Step {
    Read { cells: Range<usize>, pieces: bool, trouble: Trouble },
    Write { cells: Range<usize>, pieces: bool, durable: bool, trouble: Trouble },
    Sync { all: bool, trouble: Trouble },
    Truncate(usize),
    Cancel(usize),
    Turn,
    Settle,
}

fn cells() -> impl Strategy<Value = Range<usize>> {
    (0..CELLS_MAX, 1..6usize).prop_map(|(at, len)| at..(at + len).min(CELLS_MAX))
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        6 => Just(Trouble::None),
        3 => (1..4usize).prop_map(Trouble::Short),
        2 => Just(Trouble::Delay),
        1 => Just(Trouble::PushBack),
        2 => prop_oneof![
            Just(errno::EIO), Just(errno::ENOSPC), Just(errno::EINTR), Just(errno::EAGAIN), Just(errno::ECANCELED)
        ].prop_map(Trouble::Refused),
        1 => Just(Trouble::Garbled(errno::EIO)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let any_trouble = prop_oneof![3 => Just(Trouble::None), 1 => trouble()];
    prop_oneof![
        6 => (cells(), any::<bool>(), trouble())
            .prop_map(|(cells, pieces, trouble)| Step::Read { cells, pieces, trouble }),
        8 => (cells(), any::<bool>(), prop::bool::weighted(0.1), trouble())
            .prop_map(|(cells, pieces, durable, trouble)| Step::Write { cells, pieces, durable, trouble }),
        3 => (any::<bool>(), prop_oneof![20 => Just(Trouble::None), 2 => Just(Trouble::Delay), 1 => any_trouble])
            .prop_map(|(all, trouble)| Step::Sync { all, trouble }),
        1 => (0..CELLS_MAX).prop_map(Step::Truncate),
        3 => (0..8usize).prop_map(Step::Cancel),
        4 => Just(Step::Turn),
        1 => Just(Step::Settle),
    ]
}

/// What the file may hold.
struct Model {
    bytes: Vec<u8>,
    /// Bytes of which the last write that touched them failed: any of these.
    unsure: BTreeMap<usize, Vec<u8>>,
    /// A failed write may have made the file longer.
    unsure_size: bool,
    /// Every value that a power cut may leave, oldest first.
    durable: Vec<Vec<Version>>,
    poisoned: Option<i32>,
    now: u64,
}

/// A value of a byte: a sync that was accepted at the moment `since`, or later, covers it, if it was ever there.
#[derive(Clone, Copy, Debug)]
struct Version {
    byte: u8,
    since: u64,
    certain: bool,
}

impl Model {
    fn agrees(&self, at: usize, byte: u8) -> bool {
        match self.unsure.get(&at) {
            Some(may) => may.contains(&byte),
            None => self.bytes.get(at).is_some_and(|&known| known == byte),
        }
    }

    #[track_caller]
    fn observe(&mut self, at: usize, bytes: &[u8]) {
        for (i, &byte) in bytes.iter().enumerate() {
            assert!(self.agrees(at + i, byte), "byte {} is {byte:#04x}, not {:?}", at + i, self.unsure.get(&(at + i)));
            self.bytes[at + i] = byte;
            self.unsure.remove(&(at + i));
        }
    }

    fn grow(&mut self, size: usize) {
        if self.bytes.len() < size {
            self.bytes.resize(size, 0);
        }
        let now = self.now;
        self.durable.resize_with(self.durable.len().max(size), || vec![Version { byte: 0, since: now, certain: true }]);
    }

    /// `new` was written at `at`; `certain`: all of it.
    fn write(&mut self, at: usize, new: &[u8], certain: bool) {
        self.now += 1;
        if certain {
            self.grow(at + new.len());
        } else if self.bytes.len() < at + new.len() {
            self.unsure_size = true;
        }
        for (i, &byte) in new.iter().enumerate() {
            let at = at + i;
            if let Some(versions) = self.durable.get_mut(at) {
                versions.push(Version { byte, since: self.now, certain });
            }
            if certain {
                self.bytes[at] = byte;
                self.unsure.remove(&at);
            } else if let Some(&known) = self.bytes.get(at) {
                let may = self.unsure.entry(at).or_insert_with(|| vec![known]);
                may.push(byte);
            }
        }
    }

    /// A sync that was accepted at `moment` succeeded: what was certain by then is durable.
    fn synced(&mut self, moment: u64) {
        for versions in &mut self.durable {
            let covered = versions.iter().rposition(|version| version.certain && version.since <= moment).unwrap_or(0);
            versions.drain(..covered);
        }
    }
}

/// An operation in flight.
struct Flying {
    kind: OpKind,
    range: Range<usize>,
    new: Vec<u8>,
    durable: bool,
    cancelled: bool,
    trouble: Trouble,
    /// Its trouble is its own: what it did not meet (because the pool did it), nobody else meets.
    armed: Arc<AtomicBool>,
    /// Of a sync: when it was accepted, and the writes that it covers.
    moment: u64,
    covers: Vec<Token>,
    size: usize,
}

struct Run<'a> {
    world: &'a World,
    file: &'a File,
    cell: usize,
    core: Inflight<Op>,
    faults: Faults,
    model: Model,
    flying: BTreeMap<Token, Flying>,
    /// Writes that failed, by token, for the syncs that cover them.
    failed: Vec<Token>,
    seed: u8,
}

impl Run<'_> {
    fn handle(&self) -> &FileHandle {
        &self.file.handle
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Read { cells, pieces, trouble } => {
                let range = self.make_way(cells);
                let (at, len) = (range.start as u64, range.len());
                let op = match pieces {
                    true => Op::read_vectored(self.handle(), vec![room(self.cell), room(len - self.cell)], at),
                    false => Op::read(self.handle(), room(len), at),
                };
                self.start(op, range, Vec::new(), false, *trouble);
            }
            Step::Write { cells, pieces, durable, trouble } => {
                let range = self.make_way(cells);
                self.seed = self.seed.wrapping_add(1);
                let new: Vec<u8> = (0..range.len()).map(|i| (i as u8).wrapping_mul(7) ^ self.seed).collect();
                let at = range.start as u64;
                let op = match pieces {
                    true => {
                        let (head, tail) = new.split_at(self.cell);
                        Op::write_vectored(self.handle(), vec![data(head), data(tail)], at)
                    }
                    false => Op::write(self.handle(), data(&new), at),
                };
                let op = if *durable { op.with_flags(RwFlags::DSYNC) } else { op };
                self.start(op, range, new, *durable, *trouble);
            }
            Step::Sync { all, trouble } => {
                self.room();
                let op = if *all { Op::sync_all(self.handle()) } else { Op::sync_data(self.handle()) };
                self.start(op, 0..0, Vec::new(), false, *trouble);
            }
            Step::Truncate(cells) => {
                self.settle();
                let size = cells * self.cell;
                self.start(Op::truncate(self.handle(), size as u64), 0..0, Vec::new(), false, Trouble::None);
                self.settle();
                self.model.bytes.truncate(size);
                self.model.unsure.split_off(&size);
                // What was cut off may come back, as what it was or as zeros: this test does not follow sizes through power cuts.
                self.model.grow(size);
            }
            Step::Cancel(nth) => {
                let victim = self.flying.keys().nth(*nth).copied();
                if let Some(victim) = victim {
                    self.core.cancel(victim);
                    self.flying.get_mut(&victim).expect("just seen").cancelled = true;
                }
            }
            Step::Turn => self.turn(Wait::No),
            Step::Settle => self.settle(),
        }
    }

    /// Waits until nothing in flight overlaps, and until there is a place.
    fn make_way(&mut self, cells: &Range<usize>) -> Range<usize> {
        let range = cells.start * self.cell..cells.end * self.cell;
        let beyond = range.end > self.model.bytes.len();
        loop {
            // What changes the size is in everybody's way.
            let overlaps = |flying: &Flying| {
                let grows = flying.kind.is_write() && flying.range.end > flying.size;
                flying.range.start < range.end && range.start < flying.range.end
                    || grows
                    || beyond && flying.kind.is_transfer()
            };
            if !self.flying.values().any(overlaps) {
                break;
            }
            self.turn(Wait::AtMost(Duration::from_millis(50)));
        }
        self.room();
        self.look_at_size();
        range
    }

    fn room(&mut self) {
        while self.core.room() == 0 {
            self.turn(Wait::AtMost(Duration::from_millis(50)));
        }
    }

    fn start(&mut self, op: Op, range: Range<usize>, new: Vec<u8>, durable: bool, trouble: Trouble) {
        let (kind, offset) = (op.kind(), range.start as u64);
        let fault = match trouble {
            Trouble::None => None,
            Trouble::Short(cells) => Some(Fault::Short((cells * self.cell) as u32)),
            Trouble::Delay => Some(Fault::Delay(Duration::from_micros(300))),
            Trouble::PushBack => Some(Fault::PushBack(3)),
            Trouble::Refused(errno) => Some(Fault::Refuse(errno)),
            Trouble::Garbled(errno) => Some(Fault::Garble(errno)),
        };
        let armed = Arc::new(AtomicBool::new(true));
        if let Some(fault) = fault {
            let armed = armed.clone();
            let mine = move |op: &io_engine::core::RawOp| {
                let at = crate::puppet::Seen::of(Token::internal(0), op).offset;
                op.kind() == kind && at == offset && armed.load(Ordering::Relaxed)
            };
            self.faults.add(Rule::new(fault).when(mine).times(1));
        }
        let covers = self.flying.iter().filter(|(_, f)| f.kind.is_write()).map(|(&token, _)| token).collect();
        let (moment, size) = (self.model.now, self.model.bytes.len());
        let flying = Flying { kind, range, new, durable, cancelled: false, trouble, armed, moment, covers, size };
        self.flying.insert(accept(&mut self.core, op), flying);
    }

    fn settle(&mut self) {
        while !self.flying.is_empty() {
            self.turn(Wait::AtMost(Duration::from_millis(50)));
        }
        self.look_at_size();
    }

    fn turn(&mut self, wait: Wait) {
        for finished in turn(&mut self.core, wait) {
            self.finished(finished);
        }
    }

    /// What a failed write did to the size is asked from outside.
    fn look_at_size(&mut self) {
        if !self.model.unsure_size || self.flying.values().any(|flying| flying.kind.is_write()) {
            return;
        }
        let contents = self.world.contents(self.file);
        let old = self.model.bytes.len();
        assert!(contents.len() >= old, "a failed write has cut the file");
        self.model.grow(contents.len());
        for (at, &byte) in contents.iter().enumerate().skip(old) {
            self.model.bytes[at] = byte;
            self.model.durable[at].push(Version { byte, since: self.model.now, certain: false });
        }
        self.model.unsure_size = false;
    }

    fn finished(&mut self, finished: Finished<Op>) {
        let flying = self.flying.remove(&finished.token).expect("answered twice, or nobody's");
        flying.armed.store(false, Ordering::Relaxed);
        let what = format!("{:?} of {:?} with {:?}", flying.kind, flying.range, flying.trouble);
        let error = finished.result.as_ref().err();
        let code = error.and_then(std::io::Error::raw_os_error);
        let sticky = error.and_then(sticky_code);
        if let Some(error) = error {
            let asked_for = match flying.trouble {
                Trouble::Refused(errno) | Trouble::Garbled(errno) => code == Some(errno),
                _ => false,
            };
            let cancelled = flying.cancelled && code == Some(errno::ECANCELED);
            // A sync that was cancelled runs into another's trouble as well.
            let failed_before =
                sticky.is_some() && sticky == self.model.poisoned && (flying.kind.is_sync() || flying.durable);
            let covered = flying.covers.iter().any(|token| self.failed.contains(token));
            let shared = flying.kind.is_sync() && (covered || code.is_some());
            assert!(asked_for || cancelled || failed_before || shared, "{what}: {error}");
            if let (Some(code), Trouble::Refused(_)) = (code, flying.trouble) {
                assert!(
                    !flying.kind.is_transfer() || ![errno::EINTR, errno::EAGAIN].contains(&code) || flying.cancelled,
                    "{what}: it was not tried again"
                );
            }
        }
        match flying.kind {
            kind if kind.is_sync() => self.sync_finished(&flying, error.is_none(), code, sticky, &what),
            OpKind::Read | OpKind::ReadVectored => {
                let got = match finished.carrier.into_buf::<AlignedBuf>() {
                    Ok(buf) => buf.to_vec(),
                    Err(op) => op.into_bufs::<AlignedBuf>().expect("one or the other").concat_bytes(),
                };
                self.model.observe(flying.range.start, &got);
                if let Ok(n) = finished.result {
                    let want = flying.range.len().min(flying.size.saturating_sub(flying.range.start));
                    assert!(n == got.len() && (n == want || flying.cancelled && n < want), "{what}: {n} of {want}");
                }
            }
            OpKind::Write | OpKind::WriteVectored => {
                let at = flying.range.start;
                match finished.result {
                    Ok(n) => {
                        assert!(n == flying.new.len() || flying.cancelled, "{what}: {n}");
                        self.model.write(at, &flying.new[..n], true);
                    }
                    Err(_) if sticky.is_some() && code.is_none() && !flying.durable => panic!("{what}: sticky"),
                    Err(_) => {
                        self.failed.push(finished.token);
                        self.model.write(at, &flying.new, false);
                    }
                }
                if flying.durable && code != Some(errno::EAGAIN) {
                    self.note_poison(code);
                }
            }
            _ => assert!(error.is_none(), "{what}"),
        }
    }

    fn note_poison(&mut self, code: Option<i32>) {
        if let Some(code) = code.filter(|&code| code != errno::ECANCELED) {
            self.model.poisoned.get_or_insert(code);
        }
    }

    fn sync_finished(&mut self, flying: &Flying, good: bool, code: Option<i32>, sticky: Option<i32>, what: &str) {
        let covered = flying.covers.iter().any(|token| self.failed.contains(token));
        if good {
            assert!(!covered, "{what} succeeded, although a write that it covers failed");
            assert!(self.model.poisoned.is_none(), "{what} succeeded, although the inode has failed before");
            let in_flight = flying.covers.iter().find(|token| self.flying.contains_key(token));
            assert!(in_flight.is_none(), "{what} succeeded before a write that it covers was answered");
            self.model.synced(flying.moment);
        } else if sticky.is_none() && !covered && !(flying.cancelled && code == Some(errno::ECANCELED)) {
            self.note_poison(code);
        }
    }
}

trait Concat {
    fn concat_bytes(self) -> Vec<u8>;
}

impl Concat for Vec<AlignedBuf> {
    fn concat_bytes(self) -> Vec<u8> {
        self.iter().flat_map(|buf| buf.iter().copied()).collect()
    }
}

/// Runs one history from beginning to end; `after` sees what is left.
fn history(world: &World, depth: u32, steps: &[Step], after: impl Fn(&Run<'_>)) {
    let cell = if world.unit() == 1 { 61 } else { world.unit() };
    let old: Vec<u8> = (0..CELLS * cell).map(|i| (i % 251) as u8).collect();
    let file = world.file(&old);
    let (driver, faults) = world.faulty(depth);
    let durable = old.iter().map(|&byte| vec![Version { byte, since: 0, certain: true }]).collect();
    let unsure = BTreeMap::new();
    let model = Model { bytes: old, unsure, unsure_size: false, durable, poisoned: None, now: 0 };
    let mut run = Run {
        world,
        file: &file,
        cell,
        core: core(driver),
        faults,
        model,
        flying: BTreeMap::new(),
        failed: Vec::new(),
        seed: 0,
    };
    for step in steps {
        run.step(step);
    }
    after(&run);
    run.settle();
    let contents = world.contents(&file);
    run.model.observe(0, &contents);
    assert_eq!(contents.len(), run.model.bytes.len(), "size");
    assert_eq!((run.core.in_flight(), run.core.room()), (0, run.core.depth()));
}

/// Runs histories from a seed that is printed when one fails.
fn search(name: &str, cases: u32, test: impl Fn(&[Step])) {
    let seed = match std::env::var("IOFS_SEED").ok().map(|seed| seed.parse().expect("a number")) {
        Some(seed) => seed,
        None if soak() => std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
        None => 7,
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config {
        cases: if soak() { cases * 20 } else { cases },
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(&vec(step(), 1..80), |steps| {
        test(&steps);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{name}: repeat with IOFS_SEED={seed}\n{error}");
    }
}

fn cases(world: &World) -> u32 {
    if world.simulated() { 200 } else { 40 }
}

fn histories_soak(world: &World) {
    search("histories", cases(world), |steps| history(world, 8, steps, |_| {}));
}

fn histories_at_depth_one_soak(world: &World) {
    search("histories at depth one", cases(world) / 4, |steps| history(world, 1, steps, |_| {}));
}

/// Sizes stay as they are here: the durability of sizes is the simulator's own test.
fn histories_and_power_cuts_soak(world: &World) {
    let Some(sim) = world.sim.clone() else {
        // Real power is cut elsewhere (RELIABILITY of the project: QEMU with blklogwrites).
        return;
    };
    search("histories and power cuts", 100, |steps| {
        let within =
            |cells: &Range<usize>| cells.start.min(CELLS - 1)..cells.end.min(CELLS).max(cells.start.min(CELLS - 1) + 1);
        let steps: Vec<_> = steps
            .iter()
            .filter_map(|step| match step.clone() {
                Step::Truncate(_) => None,
                Step::Write { cells, pieces, durable: _, trouble } => {
                    Some(Step::Write { cells: within(&cells), pieces, durable: false, trouble })
                }
                step => Some(step),
            })
            .collect();
        history(world, 8, &steps, |run| {
            for disk in sim.crash_states(4, 1) {
                let left = disk.read_file(world.path(&run.file.name)).expect("it was there before");
                for (at, &byte) in left.iter().enumerate() {
                    let may = &run.model.durable[at];
                    let flying = run
                        .flying
                        .values()
                        .any(|f| f.kind.is_write() && f.range.contains(&at) && f.new[at - f.range.start] == byte);
                    let good = flying || may.iter().any(|version| version.byte == byte);
                    assert!(good, "after a power cut byte {at} is {byte:#04x}, not one of {may:?}");
                }
            }
        });
    });
}
