//! The engine on the simulator: the same seed gives the same run, and hours of waiting take no time.

use crate::{
    random::Random,
    world::{accept, answers, code, core, data, room, run, turn},
};
use io_engine::{
    Inflight, Where,
    core::{Op, OpKind, OpenOptions, Wait, errno},
};
use io_sim::{Fault, SimDisk, SimOptions, Which};
use io_testkit::BLOCK;
use std::time::{Duration, Instant};

/// A workload with everything in it, on a hostile disk; answers what the disk and the core saw.
fn run_of(seed: u64) -> (u64, String, Duration) {
    let disk = SimDisk::new(SimOptions::hostile(seed));
    disk.write_file("/f", &[7; 64 * BLOCK]).unwrap();
    let file = disk.open("/f", OpenOptions::READ_WRITE).unwrap();
    disk.inject(Which::writes().always().chance(0.05), Fault::Errno(errno::EAGAIN));
    disk.inject(Which::reads().always().chance(0.05), Fault::Errno(errno::EINTR));
    let mut core: Inflight<Op> = core(Box::new(disk.driver(16)));
    let mut random = Random::new(seed);
    let mut tokens = Vec::new();
    let mut answered = Vec::new();
    for nth in 0..500 {
        let at = random.below(60) * BLOCK as u64;
        let op = match random.below(8) {
            0 => Op::sync_data(&file),
            1..=3 => Op::write(&file, data(&[nth as u8; BLOCK]), at),
            4 => Op::read_vectored(&file, vec![room(100), room(BLOCK)], at),
            _ => Op::read(&file, room(BLOCK), at),
        };
        while core.room() == 0 {
            answered
                .extend(turn(&mut core, Wait::Forever).into_iter().map(|f| format!("{:?} {:?}", f.token, f.result)));
        }
        tokens.push(accept(&mut core, op));
        if random.below(10) == 0 {
            core.cancel(tokens[random.below(tokens.len() as u64) as usize]);
        }
    }
    while core.in_flight() > 0 {
        answered.extend(turn(&mut core, Wait::Forever).into_iter().map(|f| format!("{:?} {:?}", f.token, f.result)));
    }
    let stats = format!("{:?}", core.stats());
    drop(core);
    (disk.trace_hash(), answered.join("\n") + &stats, disk.now())
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..10 {
        let (once, again) = (run_of(seed), run_of(seed));
        assert_eq!(once, again, "seed {seed}");
        assert_ne!(once.0, run_of(seed + 100).0);
    }
}

/// Thousands of operations that would block, each until it gives up or is let through: hours of pauses.
#[test]
fn hours_of_back_off_take_no_time() {
    let disk = SimDisk::new(SimOptions { trace_max: 0, ..SimOptions::seeded(1) });
    disk.write_file("/f", &[7; BLOCK]).unwrap();
    let file = disk.open("/f", OpenOptions::READ).unwrap();
    disk.inject(Which::reads().always(), Fault::Errno(errno::EAGAIN));
    let mut core: Inflight<Op> = core(Box::new(disk.driver(4)));
    let begun = Instant::now();
    let mut given_up = 0;
    while disk.now() < Duration::from_secs(2 * 3600) {
        let (result, _) = run(&mut core, Op::read(&file, room(BLOCK), 0));
        assert_eq!(code(&result), errno::EAGAIN);
        given_up += 1;
        assert!(begun.elapsed() < Duration::from_secs(60), "{given_up} operations, {:?} of virtual time", disk.now());
    }
    assert!(given_up > 1000, "two hours for {given_up} operations: the pauses are too long");
    assert_eq!(core.stats().repeated, 16 * given_up);
    disk.clear_faults();
    assert_eq!(run(&mut core, Op::read(&file, room(BLOCK), 0)).0.unwrap(), BLOCK);
}

/// Pauses grow, and their sum is bounded.
#[test]
fn pauses_grow_and_end() {
    let disk = SimDisk::new(SimOptions::seeded(1).without_latency());
    disk.write_file("/f", &[7; BLOCK]).unwrap();
    let file = disk.open("/f", OpenOptions::READ).unwrap();
    disk.inject(Which::reads().always(), Fault::Errno(errno::EAGAIN));
    let mut core: Inflight<Op> = core(Box::new(disk.driver(4)));
    accept(&mut core, Op::read(&file, room(BLOCK), 0));
    let mut moments = vec![disk.now()];
    while core.in_flight() > 0 {
        let before = core.stats().repeated;
        let finished = turn(&mut core, Wait::Forever);
        if core.stats().repeated > before {
            moments.push(disk.now());
        }
        if let Some(finished) = finished.first() {
            assert_eq!(code(&finished.result), errno::EAGAIN);
        }
    }
    let pauses: Vec<_> = moments.windows(2).map(|pair| pair[1] - pair[0]).skip(1).collect();
    assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]), "{pauses:?}");
    assert!(pauses.first() < pauses.last(), "they do not grow: {pauses:?}");
    let all = disk.now();
    assert!(all > Duration::from_millis(10) && all < Duration::from_secs(2), "{all:?}");
}

/// A wait with an end, on something that never comes: an hour of virtual time.
#[test]
fn a_wait_with_an_end_ends_in_virtual_time() {
    let disk = SimDisk::new(SimOptions::seeded(1));
    disk.write_file("/f", &[7; BLOCK]).unwrap();
    let file = disk.open("/f", OpenOptions::READ).unwrap();
    disk.wedge(Which::kind(OpKind::Read));
    let mut core: Inflight<Op> = core(Box::new(disk.driver(4)));
    accept(&mut core, Op::read(&file, room(BLOCK), 0));
    let (begun, before) = (Instant::now(), core.now());
    assert!(turn(&mut core, Wait::AtMost(Duration::from_secs(3600))).is_empty());
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(core.now() - before, Duration::from_secs(3600));
    let dump = core.dump();
    assert_eq!((dump[0].at, dump[0].age), (Where::Driver, Duration::from_secs(3600)));
    // What is wedged at the end is leaked after a grace period, which is virtual, too.
    drop(core);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// The disk's power is cut under a core: it hears of it, answers for everything, and its end is quick.
#[test]
fn a_power_cut_under_a_core() {
    for seed in 0..50 {
        let disk = SimDisk::new(SimOptions::hostile(seed));
        disk.write_file("/f", &[7; 8 * BLOCK]).unwrap();
        let file = disk.open("/f", OpenOptions::READ_WRITE).unwrap();
        let mut core: Inflight<Op> = core(Box::new(disk.driver(8)));
        for i in 0..8 {
            accept(&mut core, Op::write(&file, data(&[1; BLOCK]), i * BLOCK as u64));
        }
        let mut done = turn(&mut core, Wait::AtMost(Duration::from_micros(100))).len();
        disk.power_cut();
        let begun = Instant::now();
        let mut lost = 0;
        while core.in_flight() > 0 {
            done += turn(&mut core, Wait::AtMost(Duration::from_secs(1))).len();
            while core.next_lost().is_some() {
                lost += 1;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", core.dump());
        }
        assert_eq!(done + lost, 8, "seed {seed}");
        // Nobody is left to do anything, and that is said at once.
        accept(&mut core, Op::read(&file, room(BLOCK), 0));
        assert_eq!(code(&answers(&mut core, 1)[0].result), errno::EIO);
        drop(core);
        // A new driver on what is left.
        let file = disk.open("/f", OpenOptions::READ).unwrap();
        let mut anew: Inflight<Op> = crate::world::core(Box::new(disk.reopen(8)));
        assert_eq!(run(&mut anew, Op::read(&file, room(BLOCK), 0)).0.unwrap(), BLOCK);
    }
}
