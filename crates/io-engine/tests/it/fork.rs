//! Children that use nothing of ours must not disturb us: rings of both kinds are mappings and descriptors that a fork would
//! share (measured: a forked child moved an AIO ring's head, and the parent lost a completion).

use crate::{
    looping::{Answer, Loop, Req},
    world::{World, accept, assert_same, drain, room, turn},
};
use io_engine::{
    Inflight,
    core::{AlignedBuf, Op, Wait},
};
use io_testkit::{BLOCK, pattern};
use std::time::Duration;

every_driver!(a_child_that_waits_and_goes, a_child_that_becomes_another_program, children_of_a_loops_process);

/// A child of this process that lives for `life`, and then goes without a trace of Rust.
struct Child(libc::pid_t);

impl Child {
    fn that_waits(life: Duration) -> Child {
        // SAFETY: the child calls what may be called after a fork of a process with threads, and nothing else: usleep and _exit.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: as above.
            unsafe {
                libc::usleep(life.as_micros() as u32);
                libc::_exit(0);
            }
        }
        assert!(pid > 0, "fork");
        Child(pid)
    }

    fn that_becomes_sleep() -> Child {
        let program = c"/bin/sleep";
        let args = [program.as_ptr(), c"0.05".as_ptr(), std::ptr::null()];
        let environment = [std::ptr::null()];
        // SAFETY: the child calls execve and _exit only; the strings were made before the fork.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: as above.
            unsafe {
                libc::execve(program.as_ptr(), args.as_ptr(), environment.as_ptr());
                libc::_exit(1);
            }
        }
        assert!(pid > 0, "fork");
        Child(pid)
    }

    fn join(self) {
        let mut status = 0;
        // SAFETY: waits for a child of our own; the status is a local.
        let pid = unsafe { libc::waitpid(self.0, &mut status, 0) };
        assert_eq!((pid, status), (self.0, 0), "the child did not end well");
    }
}

/// So many reads, with a depth of eight in flight; each comes back once, with its own bytes.
fn reads(core: &mut Inflight<Op>, file: &crate::world::File, contents: &[u8], count: usize) {
    let mut started = 0;
    let mut done = 0;
    let mut at_of = std::collections::HashMap::new();
    while done < count {
        while started < count && core.room() > 0 {
            let at = started % 64 * BLOCK;
            at_of.insert(accept(core, Op::read(&file.handle, room(BLOCK), at as u64)), at);
            started += 1;
        }
        for finished in turn(core, Wait::AtMost(Duration::from_secs(10))) {
            let at = at_of.remove(&finished.token).expect("each once");
            assert_eq!(finished.result.unwrap(), BLOCK);
            assert_same("read", &finished.carrier.into_buf::<AlignedBuf>().unwrap(), &contents[at..at + BLOCK]);
            done += 1;
        }
    }
}

fn with_children(world: &World, child: impl Fn() -> Child) {
    let contents = pattern(1, 64 * BLOCK);
    let file = world.file(&contents);
    let mut core: Inflight<Op> = world.core(8);
    reads(&mut core, &file, &contents, 300);
    // In flight at the very moment.
    let mut tokens: Vec<_> =
        (0..8).map(|i| accept(&mut core, Op::read(&file.handle, room(BLOCK), i * BLOCK as u64))).collect();
    tokens.sort();
    core.submit(Wait::No);
    let first = child();
    let mut answered: Vec<_> = drain(&mut core).into_iter().map(|f| f.token).collect();
    answered.sort();
    assert_eq!(answered, tokens);
    reads(&mut core, &file, &contents, 300);
    let second = child();
    reads(&mut core, &file, &contents, 100);
    first.join();
    reads(&mut core, &file, &contents, 100);
    second.join();
    reads(&mut core, &file, &contents, 300);
}

fn a_child_that_waits_and_goes(world: &World) {
    with_children(world, || Child::that_waits(Duration::from_millis(20)));
}

fn a_child_that_becomes_another_program(world: &World) {
    with_children(world, Child::that_becomes_sleep);
}

/// The loop's thread is another one than the one that forks.
fn children_of_a_loops_process(world: &World) {
    let file = world.file(&pattern(1, 64 * BLOCK));
    let aloop = Loop::start(world.driver(8));
    let mut children = Vec::new();
    for id in 1..=1000 {
        aloop.send(Req::one(id, Op::read(&file.handle, room(BLOCK), id % 64 * BLOCK as u64)));
        if id % 100 == 50 {
            children.push(Child::that_waits(Duration::from_millis(10)));
        }
        if id % 100 == 99 {
            children.drain(..).for_each(Child::join);
        }
    }
    for id in 1..=1000 {
        assert_eq!(aloop.record.completed(id * 100), Answer::Moved(BLOCK));
    }
    aloop.finish();
}
