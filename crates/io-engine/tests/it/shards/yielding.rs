//! Answers that are there already and wait only for the task to yield first.

use super::{comes_to_rest, on_every_driver, poll_once, read, scratch};
use std::{task::Poll, time::Duration};

/// Reads from memory until one is answered and yields: the one after some tens.
fn until_one_yields<T>(mut begin: impl FnMut() -> Poll<T>) -> usize {
    (1..200).find(|_| begin().is_pending()).unwrap_or(0)
}

#[test]
fn a_cancel_after_the_answer_leaves_the_answer() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(4096);
        until_one_yields(|| {
            let mut operation = read(&shards, &file, Vec::with_capacity(64), 512);
            let polled = poll_once(&mut operation);
            if polled.is_pending() {
                operation.cancel();
                let (result, buf): (_, Vec<u8>) = shards.block_on(operation);
                // What was not in memory yet may have been cancelled.
                assert!(result.map_or(true, |n| n == 64 && buf == [1; 64]));
            }
            polled
        });
        comes_to_rest(&shards);
    });
}

#[test]
fn a_ticket_claims_an_answer_that_is_there() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(4096);
        let _ = shards.block_on(read(&shards, &file, vec![0; 4096], 0));
        let mut late = 0;
        for _ in 0..200 {
            let timed = read(&shards, &file, Vec::with_capacity(64), 512).with_timeout(Duration::ZERO);
            if let Err(timed_out) = shards.block_on(timed) {
                late += 1;
                let mut ticket = timed_out.ticket;
                ticket.cancel();
                let (result, buf): (_, Vec<u8>) = match ticket.try_claim() {
                    Ok(outcome) => outcome,
                    Err(ticket) => shards.block_on(ticket),
                };
                assert!(result.map_or(true, |n| n == 64 && buf == [1; 64]));
            }
        }
        assert!(late > 0, "nothing yielded");
        comes_to_rest(&shards);
    });
}
