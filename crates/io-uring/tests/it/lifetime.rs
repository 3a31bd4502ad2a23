//! Drop, fork, and threads.

use super::{bench, driver, memory_file, pipe, ring_fds, setups};
use io_core::{Driver, Op, Wait, errno};
use io_testkit::{GuardBuf, confine::Confinement};
use io_uring_driver::{UringOptions, uring};
use std::{io::Write, time::Duration};

/// Idle, or with operations that the kernel was never given: the ring is closed. With operations in the kernel it stays, and so
/// does everything that the kernel writes to.
#[test]
fn dropped_rings_are_closed_or_left_alone() {
    io_testkit::in_child!("alone", Confinement::none(), || {
        for options in setups() {
            let begun = ring_fds().len();
            let (file, mut write) = pipe();
            let new = || bench(uring(options.clone()).unwrap());
            let mut idle = new();
            idle.reap(Wait::AtMost(Duration::from_millis(1)));
            drop(idle);
            assert_eq!(ring_fds().len(), begun, "idle, with its own poll in flight");
            let mut staged = new();
            staged.start(Op::read(&file, GuardBuf::with_capacity(1), 0));
            staged.abandon();
            assert_eq!(ring_fds().len(), begun, "the kernel never saw the operation");
            let mut unreaped = new();
            let memory = memory_file(b"x");
            unreaped.start(Op::read(&memory, GuardBuf::with_capacity(1), 0));
            unreaped.driver().submit(Wait::No, &mut full()).unwrap();
            std::thread::sleep(Duration::from_millis(50));
            unreaped.abandon();
            assert_eq!(ring_fds().len(), begun, "completed, only not reaped");
            let mut flying = new();
            flying.start(Op::read(&file, GuardBuf::with_capacity(1), 0));
            flying.reap(Wait::No);
            flying.abandon();
            assert_eq!(ring_fds().len(), begun + 1, "an operation is in the kernel");
            // It completes into memory that is still there.
            write.write_all(b"x").unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
    });
}

/// A batch without room.
fn full() -> io_core::Completions {
    let mut batch = io_core::Completions::with_limit(1);
    batch.push(io_core::Completion::new(io_core::Token::new(0, 0), 0));
    batch
}

/// A forked child that drops the driver it inherited takes nothing from its parent: not the ring, not what is in flight.
#[test]
fn a_forked_child_drops_the_driver() {
    for options in setups() {
        let mut bench = bench(driver!(options));
        let (file, mut write) = pipe();
        let token = bench.start(Op::read(&file, vec![0u8; 1], 0));
        bench.reap(Wait::No);
        let mut idle = driver!(UringOptions::default().depth(4));
        idle.register_file(&file).unwrap();
        // SAFETY: the child drops two values, writes no memory of others, and leaves without destructors. It allocates
        // nothing; freeing does not wait for locks of other threads here, because glibc resets them in a child.
        let pid = unsafe {
            let pid = libc::fork();
            if pid == 0 {
                drop(idle);
                bench.abandon();
                libc::_exit(0);
            }
            pid
        };
        assert!(pid > 0);
        let mut status = -1;
        // SAFETY: our own child.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        assert_eq!(status, 0, "the child crashed");
        write.write_all(b"x").unwrap();
        assert_eq!(bench.finish(token).result, 1);
        let memory = memory_file(b"abc");
        for _ in 0..100 {
            assert_eq!(bench.run(Op::read(&memory, vec![0u8; 3], 0)).0, 3);
        }
        drop(idle);
    }
}

/// The thread that first submits owns the ring, and that may be another than the one that made the driver. Everybody else is told so,
/// and takes nothing away.
#[test]
fn the_first_thread_to_submit_owns_the_ring() {
    let driver = driver!(UringOptions::default().depth(8).owner_thread(true));
    if !driver.setup().owner_thread {
        return io_testkit::skip(
            "uring",
            "the_first_thread_to_submit_owns_the_ring",
            "no DEFER_TASKRUN before Linux 6.1",
        );
    }
    let mut bench = bench(driver);
    let memory = memory_file(b"abc");
    std::thread::scope(|scope| {
        let owner = scope.spawn(|| {
            for _ in 0..100 {
                assert_eq!(bench.run(Op::read(&memory, vec![0u8; 3], 0)).0, 3);
            }
            std::thread::scope(|scope| {
                let other = scope.spawn(|| {
                    bench.start(Op::read(&memory, vec![0u8; 3], 0));
                    bench.try_reap(Wait::Forever).unwrap_err()
                });
                assert_eq!(other.join().unwrap().raw_os_error(), Some(errno::EEXIST));
            });
            bench.wait_all();
            assert_eq!(bench.take_done()[0].result, 3, "still there for the owner");
        });
        owner.join().unwrap();
    });
}
