//! The planner against writers whose times are made up.

use super::*;
use std::collections::VecDeque;

const US: Duration = Duration::from_micros(1);

fn key(writers: u32) -> LaneKey {
    LaneKey { device: 1, direct: false, company: Company::of(writers) }
}

/// `writers` that write one after the other in turn; what a write takes depends on how many by each route are under way.
fn run(planner: &Planner, writers: u32, writes: u32, took: impl Fn(DurableRoute, u32) -> Duration) {
    let mut under_way = VecDeque::new();
    let mut now = Duration::ZERO;
    for _ in 0..writes {
        if under_way.len() as u32 == writers {
            let trip: Trip = under_way.pop_front().unwrap();
            let alike = 1 + under_way.iter().filter(|t: &&Trip| t.route == trip.route).count() as u32;
            let took = took(trip.route, alike);
            now += took / writers;
            planner.done(trip, took);
        }
        under_way.push_back(planner.begin(key(writers), writers, true, now));
    }
}

#[test]
fn one_writer_ends_at_the_faster_route_whichever_it_is() {
    for (dsync, sync, wins) in [(90, 150, DurableRoute::Dsync), (150, 90, DurableRoute::WriteThenSync)] {
        let planner = Planner::default();
        run(&planner, 1, 5000, |route, _| if route == DurableRoute::Dsync { dsync * US } else { sync * US });
        let row = planner.table()[0];
        assert_eq!(row.route, wins, "{row}");
        assert!(row.comparisons > 1 && row.dsync.is_some() && row.write_then_sync.is_some(), "{row}");
    }
}

/// A single `RWF_DSYNC` write among others is fast, many of them queue at the inode.
#[test]
fn many_writers_end_at_the_shared_sync_and_seldom_leave_it() {
    let planner = Planner::default();
    let took = |route, alike| match route {
        DurableRoute::Dsync => 90 * US * alike,
        DurableRoute::WriteThenSync => 250 * US,
        DurableRoute::WriteThenPoolSync => 280 * US,
    };
    run(&planner, 16, 20_000, took);
    let row = planner.table()[0];
    assert_eq!(row.route, DurableRoute::WriteThenSync, "{row}");
    assert!((2..=8).contains(&row.comparisons), "{row}");
    assert!(row.dsync.unwrap() > 1000 * US, "measured among its like: {row}");
}

#[test]
fn sizes_of_crowds_are_rounded() {
    let sizes = [1, 2, 3, 5, 6, 11, 12, 16, 22, 23, 100, u32::MAX].map(|n| 1 << Company::of(n).0);
    assert_eq!(sizes, [1, 2, 4, 4, 8, 8, 16, 16, 16, 32, 32, 32]);
}

/// Each of the three is found, wherever one begins.
#[test]
fn the_fastest_of_three_is_found() {
    use DurableRoute::*;
    for fastest in [Dsync, WriteThenSync, WriteThenPoolSync] {
        for writers in [1, 2, 5, 16, 100] {
            let planner = Planner::default();
            run(&planner, writers, 20_000, |route, _| if route == fastest { 90 * US } else { 150 * US });
            let row = planner.table()[0];
            assert_eq!((row.route, row.writers), (fastest, 1 << Company::of(writers).0), "{row}");
        }
    }
}

/// Without a pool it is not tried.
#[test]
fn without_a_pool_two_are_left() {
    let planner = Planner::default();
    for _ in 0..5000 {
        let trip = planner.begin(key(1), 1, false, Duration::ZERO);
        assert_ne!(trip.route, DurableRoute::WriteThenPoolSync);
        planner.done(trip, US);
    }
}

/// An inode's lock is not fair. By `RWF_DSYNC` three of sixteen writers pass it again and again in 100 us while the others wait for
/// 200 of their turns; by shared syncs each write takes 300 us. In one time of sixteen writers more is done by the syncs.
#[test]
fn the_lucky_few_do_not_decide_for_the_crowd() {
    let planner = Planner::default();
    let mut unlucky: VecDeque<(Trip, u32)> = VecDeque::new();
    let mut shared = VecDeque::new();
    let mut dsyncs = 0;
    let mut time = Duration::ZERO;
    for now in 0..60_000u32 {
        while unlucky.front().is_some_and(|(_, due)| *due <= now) {
            let (trip, _) = unlucky.pop_front().unwrap();
            planner.done(trip, 20_000 * US);
        }
        let trip = planner.begin(key(16), 16, false, time);
        if trip.route == DurableRoute::Dsync {
            dsyncs += 1;
            time += 33 * US;
            // The unlucky ones are seldom among those that begin, because they are seldom done.
            if unlucky.len() < 13 { unlucky.push_back((trip, now + 200)) } else { planner.done(trip, 100 * US) }
        } else {
            shared.push_back(trip);
            if shared.len() == 16 {
                time += 300 * US;
                shared.drain(..).for_each(|trip| planner.done(trip, 300 * US));
            }
        }
    }
    let row = planner.table()[0];
    assert_eq!(row.route, DurableRoute::WriteThenSync, "{row}");
    assert!(dsyncs < 6_000, "{dsyncs} of 60000 writes went the slow way: {row}");
}

/// What a writer took that was alone says nothing of a crowd, and the other way round.
#[test]
fn each_size_of_a_crowd_is_measured_for_itself() {
    let planner = Planner::default();
    let took = |route, alike| if route == DurableRoute::Dsync { 90 * US * alike } else { 250 * US };
    for writers in [1, 2, 16] {
        run(&planner, writers, 20_000, took);
    }
    let routes: Vec<_> = planner.table().iter().map(|row| (row.writers, row.route == DurableRoute::Dsync)).collect();
    assert_eq!(routes, [(1, true), (2, true), (16, false)], "{:?}", planner.table());
}

/// A device that is slow for 80 writes and fast for 80 favours whichever route has its turn at the right time.
#[test]
fn a_device_that_is_slow_now_and_then_does_not_mislead() {
    for length in [37, 80, 150] {
        let (planner, mut n) = (Planner::default(), 0);
        for _ in 0..4000 {
            let trip = planner.begin(key(1), 1, true, Duration::ZERO);
            n += 1;
            let base = if trip.route == DurableRoute::Dsync { 90 * US } else { 150 * US };
            planner.done(trip, if n / length % 2 == 0 { base } else { 40 * base });
        }
        let row = planner.table()[0];
        assert_eq!(row.route, DurableRoute::Dsync, "{row}");
    }
}

#[test]
fn a_device_that_changes_is_noticed() {
    let planner = Planner::default();
    run(&planner, 1, 2000, |route, _| if route == DurableRoute::Dsync { 90 * US } else { 150 * US });
    assert_eq!(planner.table()[0].route, DurableRoute::Dsync);
    run(&planner, 1, 300_000, |route, _| if route == DurableRoute::Dsync { 500 * US } else { 150 * US });
    assert_eq!(planner.table()[0].route, DurableRoute::WriteThenSync);
}

#[test]
fn what_is_refused_is_not_tried_again() {
    let planner = Planner::default();
    let trip = planner.begin(key(1), 1, true, Duration::ZERO);
    assert_eq!(trip.route, DurableRoute::Dsync);
    planner.refused(trip);
    run(&planner, 1, 5000, |route, _| {
        assert_ne!(route, DurableRoute::Dsync);
        US
    });
    assert!(planner.table()[0].to_string().contains("dsync refused"));
}
