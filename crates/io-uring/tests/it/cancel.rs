//! Cancelling what really waits: reads of a pipe that nobody writes to.

use super::{bench, driver, pipe, setups};
use io_core::{Op, Wait, errno};
use io_testkit::GuardBuf;
use std::io::Write;

/// Until Linux 5.12 a worker of the kernel waits for the pipe, and is interrupted.
fn is_cancelled(result: i32) -> bool {
    [-errno::ECANCELED, -errno::EINTR].contains(&result)
}

fn read(file: &io_core::FileHandle) -> Op {
    Op::read(file, GuardBuf::with_capacity(8), 0)
}

#[test]
fn a_read_that_waits_is_cancelled_before_the_submit_and_after_it() {
    for options in setups() {
        let mut bench = bench(driver!(options));
        let (file, _write) = pipe();
        for submit_first in [false, true] {
            let token = bench.start(read(&file));
            if submit_first {
                bench.reap(Wait::No);
            }
            bench.cancel(token);
            assert!(is_cancelled(bench.finish(token).result));
        }
    }
}

/// All of a full depth wait, all are cancelled, and each answers once; the one that is not cancelled gets its byte.
#[test]
fn a_full_depth_is_cancelled_but_for_one() {
    for options in setups() {
        let mut bench = bench(driver!(options));
        let (file, mut write) = pipe();
        for _ in 0..50 {
            let tokens: Vec<_> = (0..8).map(|_| bench.start(read(&file))).collect();
            bench.reap(Wait::No);
            for &token in &tokens[1..] {
                bench.cancel(token);
                bench.cancel(token);
            }
            bench.wait_for(7);
            assert_eq!(bench.in_flight(), 1);
            assert!(tokens[1..].iter().all(|&token| is_cancelled(bench.take(token).unwrap().result)));
            write.write_all(b"y").unwrap();
            assert_eq!(bench.finish(tokens[0]).result, 1);
        }
    }
}

/// Cancelled at the moment when it completes: the byte is read or it is still in the pipe, never both, never neither.
#[test]
fn a_race_of_the_wish_and_the_byte_has_one_winner() {
    for options in setups() {
        let mut bench = bench(driver!(options));
        let (file, mut write) = pipe();
        let (mut read_it, mut cancelled) = (0, 0);
        for round in 0..1000 {
            let token = bench.start(read(&file));
            bench.reap(Wait::No);
            std::thread::scope(|scope| {
                scope.spawn(|| write.write_all(b"z").unwrap());
                for _ in 0..round % 400 * 20 {
                    std::hint::spin_loop();
                }
                bench.cancel(token);
                bench.wait_all();
            });
            match bench.take(token).unwrap().result {
                1 => read_it += 1,
                code if is_cancelled(code) => {
                    cancelled += 1;
                    assert_eq!(bench.run(read(&file)).0, 1, "the byte was lost");
                }
                other => panic!("{other}"),
            }
        }
        eprintln!("{read_it} read, {cancelled} cancelled");
    }
}
