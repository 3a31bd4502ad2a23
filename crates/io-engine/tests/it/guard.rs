//! Buffers that notice who touches them after they were given back: cancels, cores that go, loops that end, with operations that
//! the kernel really has in its hands. No `EFAULT` of an operation in flight, no `SIGSEGV`, no byte changed after its release.

use crate::{
    looping::{Answer, Call, Loop, Req},
    random::Random,
    world::{World, accept, code, drain, soak, turn},
};
use io_engine::{
    Inflight, LoopOptions,
    core::{Op, RwFlags, Wait, errno},
};
use io_testkit::{BLOCK, GuardBuf, Mode, pattern};
use std::{thread, time::Duration};

every_driver!(
    cancelled_at_any_moment_soak,
    a_core_that_is_dropped_in_the_midst,
    a_core_that_is_dropped_after_cancels,
    a_loop_that_must_not_wait,
    a_listener_that_panics_in_the_midst,
    a_shutdown_in_the_midst,
);

const BLOCKS: u64 = 256;

/// Takes the file out of the page cache, so that buffered reads take their time as well.
fn make_cold(world: &World, name: &str) {
    #[cfg(target_os = "linux")]
    if !world.simulated() {
        use std::os::fd::AsRawFd as _;
        let file = std::fs::File::open(world.path(name)).unwrap();
        file.sync_all().unwrap();
        // SAFETY: numbers only, and the file is open.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    }
    let _ = (world, name);
}

fn some_op(random: &mut Random, file: &io_engine::core::FileHandle) -> Op {
    let at = random.below(BLOCKS - 8) * BLOCK as u64;
    let len = BLOCK * (1 + random.below(8) as usize);
    match random.below(6) {
        0 => Op::write(file, GuardBuf::zeroed(len), at),
        1 => Op::write(file, GuardBuf::zeroed(BLOCK), at).with_flags(RwFlags::DSYNC),
        2 => Op::read_vectored(file, vec![GuardBuf::with_capacity(BLOCK), GuardBuf::with_capacity(len)], at),
        _ => Op::read(file, GuardBuf::with_capacity(len), at),
    }
}

/// Every file, in every mode that is worth it here.
fn in_every_mode(world: &World, test: impl Fn(&World, &crate::world::File)) {
    for mode in Mode::ALL {
        let file = world.file_in(mode, &pattern(1, BLOCKS as usize * BLOCK));
        make_cold(world, &file.name);
        test(world, &file);
        GuardBuf::check();
    }
}

fn cancelled_at_any_moment_soak(world: &World) {
    let rounds = if soak() { 200_000 } else { 1500 };
    in_every_mode(world, |world, file| {
        let mut random = Random::new(5);
        let mut core: Inflight<Op> = world.core(32);
        let mut flying = Vec::new();
        let (mut cancelled, mut started) = (0, 0);
        while started < rounds {
            while core.room() > 0 && random.below(8) > 0 {
                flying.push(accept(&mut core, some_op(&mut random, &file.handle)));
                started += 1;
            }
            for _ in 0..random.below(6) {
                if let Some(&victim) = flying.get(random.below(flying.len() as u64) as usize) {
                    core.cancel(victim);
                }
            }
            let wait = if random.below(3) == 0 { Wait::AtMost(Duration::from_micros(200)) } else { Wait::No };
            for finished in turn(&mut core, wait) {
                flying.retain(|&token| token != finished.token);
                if finished.result.is_err() {
                    assert_eq!(code(&finished.result), errno::ECANCELED, "{finished:?}");
                    cancelled += 1;
                }
                // Sealed here.
                drop(finished.carrier);
            }
        }
        drain(&mut core);
        assert!(cancelled <= started);
    });
}

fn a_core_that_is_dropped_in_the_midst(world: &World) {
    in_every_mode(world, |world, file| {
        for round in 0..40 {
            let mut random = Random::new(round);
            let mut core: Inflight<Op> = world.core(32);
            for _ in 0..32 {
                accept(&mut core, some_op(&mut random, &file.handle));
                if random.below(10) == 0 {
                    core.submit(Wait::No);
                }
            }
            if round % 3 > 0 {
                core.submit(Wait::No);
            }
            // What was taken in but not handed out is in the core, too.
            if round % 2 == 0 {
                drop(core.next_finished());
            }
            drop(core);
        }
    });
}

fn a_core_that_is_dropped_after_cancels(world: &World) {
    in_every_mode(world, |world, file| {
        for round in 0..40 {
            let mut random = Random::new(round + 100);
            let mut core: Inflight<Op> = world.core(32);
            let tokens: Vec<_> = (0..32).map(|_| accept(&mut core, some_op(&mut random, &file.handle))).collect();
            core.submit(Wait::No);
            for token in tokens {
                core.cancel(token);
            }
            drop(core);
        }
    });
}

/// Time to drain: none. What the kernel has stays its own for ever.
fn a_loop_that_must_not_wait(world: &World) {
    in_every_mode(world, |world, file| {
        for round in 0..10 {
            let mut random = Random::new(round + 200);
            let mut options = LoopOptions::default();
            options.drain = Some(Duration::ZERO);
            let aloop = Loop::with(world.driver(32), options, None);
            for id in 1..4 {
                let ops: Vec<_> = (0..16).map(|_| some_op(&mut random, &file.handle)).collect();
                aloop.send(Req::all(id, ops));
            }
            for _ in 0..round * 300 {
                std::hint::spin_loop();
            }
            let calls = aloop.finish();
            let ends = |call: &&Call| matches!(call, Call::Complete(..) | Call::Quarantined(..));
            assert_eq!(calls.iter().filter(ends).count(), 48);
            for call in &calls {
                if let Call::Complete(_, Answer::Errno(code), _) = call {
                    assert_eq!(*code, errno::ECANCELED);
                }
            }
        }
        // Time for the kernel to write into what it still holds.
        thread::sleep(Duration::from_millis(5));
    });
}

fn a_listener_that_panics_in_the_midst(world: &World) {
    in_every_mode(world, |world, file| {
        for round in 0..5 {
            let mut random = Random::new(round + 300);
            let mut left = 1 + 5 * round;
            let hook = Box::new(move |call: &Call| {
                if matches!(call, Call::Complete(..)) {
                    left -= 1;
                    if left == 0 {
                        std::panic::resume_unwind(Box::new("quietly"));
                    }
                }
            });
            let mut aloop = Loop::with(world.driver(32), LoopOptions::default(), Some(hook));
            let ops: Vec<_> = (0..32).map(|_| some_op(&mut random, &file.handle)).collect();
            aloop.send(Req::all(1, ops));
            assert!(aloop.join());
        }
    });
}

fn a_shutdown_in_the_midst(world: &World) {
    in_every_mode(world, |world, file| {
        for round in 0..20 {
            let mut random = Random::new(round + 400);
            let aloop = Loop::start(world.driver(32));
            let ops: Vec<_> = (0..32).map(|_| some_op(&mut random, &file.handle)).collect();
            aloop.send(Req::all(1, ops));
            let calls = aloop.finish();
            let errors: Vec<_> =
                calls.iter().filter(|call| matches!(call, Call::Complete(_, Answer::Errno(_), _))).collect();
            assert!(errors.is_empty(), "{errors:?}");
        }
    });
}
