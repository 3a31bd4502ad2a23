//! A history done by a driver and by the model, compared after each step.

use super::{Doing, FileModel, Reshape, Step, Trouble, What, histories};
use crate::{BLOCK, Bench, Disk, Done, Fault, Faults, Faulty, GuardBuf, Mode, Rig, Rule, pattern, skip};
use io_core::{FileHandle, Op, OpKind, OpSet, OpenOptions, Token, Wait, errno};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use std::time::Duration;

/// Lanes of a file: operations of one step keep to their own.
const LANES: usize = 8;
/// The length of a lane in units, and so of the longest transfer.
const LANE_UNITS: usize = 24;
/// What [`Trouble::Refuse`] and [`Trouble::Garble`] answer: an error that no driver gives by itself here.
const TROUBLE: i32 = errno::EIO;

/// The unit of places and lengths: odd where the mode allows it.
const fn unit(mode: Mode) -> usize {
    match mode {
        Mode::Buffered => 517,
        Mode::Direct => BLOCK,
    }
}

struct Run {
    bench: Bench,
    faults: Faults,
    supports: OpSet,
    file: FileHandle,
    unit: usize,
    model: FileModel,
}

/// An operation of a step while it flies: what the model must know to judge the answer.
struct Flight {
    token: Token,
    write: Option<(usize, Vec<u8>)>,
    read: Option<(usize, usize)>,
    cancel: bool,
    trouble: Option<Trouble>,
    /// The most that it was asked for, where it was made short.
    most: usize,
}

/// Runs a history on a file of the disk, driver and model side by side.
///
/// # Errors
/// Where the two parted.
///
/// # Panics
/// If the driver breaks its word ([`Bench`]).
pub fn run_history(rig: &dyn Rig, disk: &dyn Disk, mode: Mode, history: &[Step]) -> Result<(), String> {
    let unit = unit(mode);
    let contents = pattern(1, LANES * LANE_UNITS * unit / 2 / unit * unit);
    let (driver, faults) = Faulty::new(rig.driver(LANES as u32).map_err(|unavailable| unavailable.to_string())?);
    let supports = io_core::Driver::supports(&driver);
    let name = "history";
    let file = disk.create(name, &contents, mode.of(OpenOptions::READ_WRITE)).map_err(|error| error.to_string())?;
    let bench = Bench::new(Box::new(driver)).with_patience(rig.patience());
    let mut run = Run { bench, faults, supports, file, unit, model: FileModel::new(contents) };
    for (number, step) in history.iter().enumerate() {
        let done = match step {
            Step::Together { doing, submit_first } => run.together(doing, *submit_first),
            Step::Alone(reshape) => run.alone(*reshape),
        };
        done.and_then(|()| run.compare(disk, name)).map_err(|wrong| format!("step {number}: {wrong}"))?;
    }
    Ok(())
}

/// A fraction of `whole` units.
fn part(of: u16, whole: usize) -> usize {
    (of as usize * (whole + 1)) >> 16
}

/// `bytes` in so many pieces of whole units, as even as they come.
fn cut(bytes: &[u8], pieces: u8, unit: usize) -> Vec<GuardBuf> {
    let units = (bytes.len() / unit).div_ceil(pieces.max(1) as usize).max(1);
    bytes.chunks(units * unit).map(GuardBuf::copy_of).collect()
}

impl Run {
    fn compare(&mut self, disk: &dyn Disk, name: &str) -> Result<(), String> {
        self.model.settle(disk.contents(name).map_err(|error| error.to_string())?)
    }

    fn takes(&self, op: &Op) -> bool {
        self.supports.contains(op.kind(), op.class())
    }

    fn together(&mut self, doing: &[Doing], submit_first: bool) -> Result<(), String> {
        let mut flights = Vec::new();
        for (lane, doing) in doing.iter().take(LANES).enumerate() {
            flights.extend(self.start(lane, doing));
        }
        if submit_first {
            self.bench.reap(Wait::No);
        }
        for flight in flights.iter().filter(|flight| flight.cancel) {
            self.bench.cancel(flight.token);
        }
        self.bench.wait_all();
        // Reads may have seen the file grow, but not each other's lanes change.
        let ends = flights.iter().filter_map(|flight| flight.write.as_ref()).map(|(at, data)| at + data.len());
        let len_max = ends.max().unwrap_or(0).max(self.model.bytes().len());
        let before = self.model.clone();
        for flight in flights {
            let done = self.bench.take(flight.token).ok_or("a completion is missing")?;
            let said = format!("{:?} answered {}", done.op, done.result);
            self.judge(flight, done, &before, len_max).map_err(|wrong| format!("{said}: {wrong}"))?;
        }
        Ok(())
    }

    /// Starts an operation in its lane, if the driver takes it.
    fn start(&mut self, lane: usize, doing: &Doing) -> Option<Flight> {
        let unit = self.unit;
        let place = |at: u16, len: u16| {
            let at = part(at, LANE_UNITS - 1);
            ((lane * LANE_UNITS + at) * unit, part(len, LANE_UNITS - at) * unit)
        };
        let (mut write, mut read) = (None, None);
        let op = match doing.what {
            What::Read { at, len, pieces } => {
                let (at, len) = *read.insert(place(at, len));
                let room = |bytes: GuardBuf| GuardBuf::with_capacity(bytes.len());
                match pieces {
                    0 => Op::read(&self.file, GuardBuf::with_capacity(len), at as u64),
                    _ => {
                        let room = cut(&vec![0; len], pieces, unit).into_iter().map(room).collect();
                        Op::read_vectored(&self.file, room, at as u64)
                    }
                }
            }
            What::Write { at, len, pieces, seed } => {
                let (at, len) = place(at, len);
                let (_, data) = write.insert((at, pattern(2 + u64::from(seed), len)));
                match pieces {
                    0 => Op::write(&self.file, GuardBuf::copy_of(data), at as u64),
                    _ => Op::write_vectored(&self.file, cut(data, pieces, unit), at as u64),
                }
            }
            What::SyncData => Op::sync_data(&self.file),
            What::SyncAll => Op::sync_all(&self.file),
        };
        if !self.takes(&op) {
            return None;
        }
        let units = op.len() as usize / unit;
        // A transfer made short to nothing would look like the end of the file.
        let most = match doing.trouble {
            Some(Trouble::Short(of)) if units > 0 => part(of, units - 1).max(1) * unit,
            _ => usize::MAX,
        };
        let fault = doing.trouble.map(|trouble| match trouble {
            Trouble::Short(_) => Fault::Short(u32::try_from(most).unwrap_or(u32::MAX)),
            Trouble::Refuse => Fault::Refuse(TROUBLE),
            Trouble::Garble => Fault::Garble(TROUBLE),
            Trouble::Delay => Fault::Delay(Duration::from_micros(300)),
            Trouble::PushBack => Fault::PushBack(2),
        });
        self.faults.clear();
        if let Some(fault) = fault {
            self.faults.add(Rule::new(fault).times(1));
        }
        let token = self.bench.start(op);
        Some(Flight { token, write, read, cancel: doing.cancel, trouble: doing.trouble, most })
    }

    fn judge(&mut self, flight: Flight, done: Done, before: &FileModel, len_max: usize) -> Result<(), String> {
        let result = done.result;
        let cancelled = flight.cancel && result == -errno::ECANCELED;
        let refused = result == -TROUBLE && matches!(flight.trouble, Some(Trouble::Refuse));
        let garbled = result == -TROUBLE && matches!(flight.trouble, Some(Trouble::Garble));
        if result < 0 && !cancelled && !refused && !garbled {
            return Err("there was no reason for an error".to_owned());
        }
        if result >= 0 && matches!(flight.trouble, Some(Trouble::Refuse | Trouble::Garble)) {
            return Err("the error got lost".to_owned());
        }
        if let Some((at, data)) = flight.write {
            let expected = data.len().min(flight.most);
            match usize::try_from(result) {
                Ok(moved) if moved == expected => self.model.write(at, &data[..moved]),
                Ok(_) => return Err(format!("{expected} bytes were to be written")),
                Err(_) if refused => {}
                Err(_) => self.model.maybe_write(at, &data),
            }
        } else if let Some((at, asked)) = flight.read {
            if result >= 0 {
                before.check_read(at, asked.min(flight.most), &read_bytes(done.op), len_max)?;
            }
        } else if result > 0 {
            return Err("a sync has no bytes to answer".to_owned());
        }
        Ok(())
    }

    fn alone(&mut self, reshape: Reshape) -> Result<(), String> {
        let whole = LANES * LANE_UNITS;
        let range = |at: u16, len: u16| {
            let at = part(at, whole - 1);
            (at * self.unit, part(len, whole - at).max(1) * self.unit)
        };
        let mut after = self.model.clone();
        let op = match reshape {
            Reshape::Truncate(len) => {
                let len = part(len, whole) * self.unit;
                after.truncate(len);
                Op::truncate(&self.file, len as u64)
            }
            Reshape::Allocate { at, len, keep_size } => {
                let (at, len) = range(at, len);
                if !keep_size {
                    after.grow(at + len);
                }
                Op::allocate(&self.file, at as u64, len as u64, keep_size)
            }
            Reshape::PunchHole { at, len } => {
                let (at, len) = range(at, len);
                after.zero(at, len);
                Op::punch_hole(&self.file, at as u64, len as u64)
            }
            Reshape::ZeroRange { at, len, keep_size } => {
                let (at, len) = range(at, len);
                if !keep_size {
                    after.grow(at + len);
                }
                after.zero(at, len);
                Op::zero_range(&self.file, at as u64, len as u64, keep_size)
            }
        };
        if !self.takes(&op) {
            return Ok(());
        }
        self.faults.clear();
        let (result, op) = self.bench.run(op);
        let cannot = op.kind() != OpKind::Truncate && [errno::EOPNOTSUPP, errno::EINVAL].contains(&-result);
        match result {
            0 => self.model = after,
            _ if cannot => {}
            _ => return Err(format!("{op:?} answered {result}")),
        }
        Ok(())
    }
}

/// What a read brought, from one buffer or several.
fn read_bytes(op: Op) -> Vec<u8> {
    match op.into_buf::<GuardBuf>() {
        Ok(buf) => buf.to_vec(),
        Err(op) => {
            let bufs = op.into_bufs::<GuardBuf>().expect("reads of a history read into guard buffers");
            bufs.iter().flat_map(|buf| buf.to_vec()).collect()
        }
    }
}

/// Draws histories and runs each on every disk in every mode that driver and disk have.
/// [`properties!`](crate::properties) calls it.
///
/// The seed is `IOFS_SEED` if that is set, else random; a failure prints it with the shortest history that fails.
///
/// # Panics
/// If driver and model part ways.
pub fn check_histories(rig: &dyn Rig, property: &str, cases: u32, together: usize, cancels: bool, troubles: bool) {
    let suite = rig.name().to_string();
    let supports = match rig.driver(8) {
        Ok(driver) => driver.supports(),
        Err(unavailable) => return skip(&suite, property, &unavailable.to_string()),
    };
    let seed = match std::env::var("IOFS_SEED") {
        Ok(seed) => seed.parse().expect("IOFS_SEED is a number"),
        Err(_) => random_seed(),
    };
    let mut ran = false;
    for disk in rig.disks() {
        for mode in Mode::ALL {
            let direct = || disk.create("probe", &[0; BLOCK], OpenOptions::READ_WRITE.direct()).is_ok();
            if !supports.contains(OpKind::Read, mode.class()) || (mode == Mode::Direct && !direct()) {
                continue;
            }
            ran = true;
            let config = Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
            let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &expand(seed));
            let mut runner = TestRunner::new_with_rng(config, rng);
            let outcome = runner.run(&histories(12, together, cancels, troubles), |history| {
                run_history(rig, &*disk, mode, &history).map_err(TestCaseError::fail)
            });
            #[cfg(unix)]
            GuardBuf::check();
            if let Err(failure) = outcome {
                panic!("{property} of {suite}, {mode:?} on {}, IOFS_SEED={seed}: {failure}", disk.label());
            }
        }
    }
    if !ran {
        skip(&suite, property, "the driver does not take [Read], neither buffered nor direct");
    }
}

fn random_seed() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

fn expand(seed: u64) -> [u8; 32] {
    let bytes = pattern(seed, 32);
    std::array::from_fn(|i| bytes[i])
}
