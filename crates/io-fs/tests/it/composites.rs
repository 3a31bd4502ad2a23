//! Calls of several steps that are cancelled, given a time, or dropped: at each of their steps.

use crate::fs_kit::*;
use io_fs::{AppendFailed, Composite, CopyOptions, DurableRoute, File, OpKind, OpenOptions, Steps, errno};
use io_sim::SimOptions;
use std::{
    future::{Future as _, poll_fn},
    io,
    pin::Pin,
    task::Poll,
    time::Duration,
};

const MS: Duration = Duration::from_millis(1);

/// Each operation takes a millisecond.
fn slow(seed: u64) -> Site {
    simulated(SimOptions { latency: MS..=MS, sync_latency: MS..=MS, ..SimOptions::seeded(seed) })
}

fn is_cancelled(error: &io::Error) -> bool {
    let cause = AppendFailed::in_error(error).map_or(error, |failed| &failed.cause);
    cause.raw_os_error() == Some(errno::ECANCELED)
}

/// Polls so often; true if the call is not over by then.
async fn poll_times<S: Steps>(call: &mut Composite<S>, times: u32) -> Option<S::Output> {
    let mut left = times;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        Pin::new(&mut *call).poll(cx).map(Some)
    })
    .await
}

/// Lets what was given up come to its end.
fn settle(site: &Site) {
    site.run(site.fs.shards().deadline(100 * MS));
    assert_eq!((site.fs.snapshot().in_flight, site.fs.snapshot().orphans), (0, 0));
}

fn open(site: &Site, name: &str) -> File {
    site.run(site.fs.open_with(site.at(name), OpenOptions::CREATE)).unwrap()
}

#[test]
fn cancelled_before_it_begins_nothing_is_done_and_the_buffer_comes_back() {
    everywhere(|site| {
        site.put("f", b"old content");
        let file = open(site, "f");
        site.run(async {
            let mut append = file.append(vec![1; 10]);
            append.cancel();
            let (result, buf) = append.await;
            let error = result.unwrap_err();
            assert!(is_cancelled(&error) && buf == [1; 10], "{error}");
            assert!(AppendFailed::in_error(&error).unwrap().reclaimed);

            let mut durable = file.write_durable_at(vec![1; 10], 0);
            durable.cancel();
            let (result, buf) = durable.await;
            assert!(is_cancelled(&result.unwrap_err()) && buf == [1; 10]);

            let mut replace = site.fs.replace(site.at("f"), vec![1; 10]);
            replace.cancel();
            let (result, buf) = replace.await;
            assert!(is_cancelled(&result.unwrap_err()) && buf == [1; 10]);

            let mut copy = site.fs.copy(site.at("f"), site.at("g"));
            copy.cancel();
            assert!(is_cancelled(&copy.await.unwrap_err()));

            let mut ranges = file.read_ranges(&[(0, 3), (5, 3)]);
            ranges.cancel();
            assert!(ranges.await.into_iter().all(|range| is_cancelled(&range.unwrap_err())));

            let mut shared = open_shared(site).await;
            shared.cancel();
            let (result, buf) = shared.await;
            assert!(is_cancelled(&result.unwrap_err()) && buf == [3; 4]);
            assert_eq!(file.append(vec![2; 3]).await.0.unwrap(), 11, "the place was given back");
        });
        assert_eq!(site.get("f"), b"old content\x02\x02\x02");
        assert_eq!(site.names(), ["f", "s"]);
    });
}

async fn open_shared(site: &Site) -> io_fs::Operation<io_fs::BufResult<(), Vec<u8>>> {
    let file = site.fs.open_with(site.at("s"), OpenOptions::CREATE).await.unwrap();
    file.append_shared(vec![3; 4])
}

/// A time in the middle of each step in turn. The ticket brings outcome and buffer.
#[test]
fn a_time_that_is_over_gives_a_ticket_for_the_rest() {
    let mut late = 0;
    for step in 0..12 {
        let site = slow(step.into());
        site.put("f", b"old content");
        let at_most = MS * step + MS / 2;
        let file = open(&site, "f");
        let mut check = |was_late: bool, spent: Duration| {
            assert!(!was_late || spent == at_most, "it was late after {spent:?} and not after {at_most:?}");
            late += u32::from(was_late);
        };
        let spent = |since| site.sim().now() - since;
        site.run(async {
            let since = site.sim().now();
            let (result, buf) = match file.append(vec![7; 10]).with_timeout(at_most).await {
                Ok(answer) => (check(false, spent(since)), answer).1,
                Err(out) => (check(true, spent(since)), out.ticket.await).1,
            };
            assert_eq!((result.unwrap(), buf), (11, vec![7; 10]));

            let since = site.sim().now();
            let (result, buf) = match file.write_durable_at(vec![8; 11], 0).with_timeout(at_most).await {
                Ok(answer) => (check(false, spent(since)), answer).1,
                Err(out) => (check(true, spent(since)), out.ticket.await).1,
            };
            assert_eq!((result.unwrap(), buf), (11, vec![8; 11]));

            let since = site.sim().now();
            let ranges = match file.read_ranges(&[(0, 11), (11, 10)]).with_timeout(at_most).await {
                Ok(answer) => (check(false, spent(since)), answer).1,
                Err(out) => (check(true, spent(since)), out.ticket.await).1,
            };
            let ranges: Vec<_> = ranges.into_iter().map(|range| range.unwrap().to_vec()).collect();
            assert_eq!(ranges, [vec![8; 11], vec![7; 10]]);

            let since = site.sim().now();
            let copied = match site.fs.copy(site.at("f"), site.at("g")).with_timeout(at_most).await {
                Ok(answer) => (check(false, spent(since)), answer).1,
                Err(out) => (check(true, spent(since)), out.ticket.await).1,
            };
            assert_eq!(copied.unwrap().bytes, 21);

            let since = site.sim().now();
            let (result, buf) = match site.fs.replace(site.at("f"), b"new".to_vec()).with_timeout(at_most).await {
                Ok(answer) => (check(false, spent(since)), answer).1,
                Err(out) => (check(true, spent(since)), out.ticket.await).1,
            };
            result.unwrap();
            assert_eq!(buf, b"new");
        });
        assert_eq!((site.get("f"), site.names()), (b"new".to_vec(), vec!["f".to_owned(), "g".to_owned()]));
    }
    assert!(late > 20, "{late} times late");
}

#[test]
fn a_ticket_is_claimed_without_waiting_or_turned_into_an_error() {
    for site in [slow(1), Site { fs: io_fs::FileSystem::new().unwrap(), ..real_dir() }] {
        let file = open(&site, "f");
        site.run(async {
            let Err(out) = file.append(vec![1; 1 << 20]).with_timeout(Duration::ZERO).await else { return };
            let mut ticket = out.ticket;
            let (result, buf) = loop {
                match ticket.try_claim() {
                    Ok(outcome) => break outcome,
                    Err(back) => ticket = back,
                }
                site.fs.shards().deadline(MS).await;
            };
            assert_eq!((result.unwrap(), buf.len()), (0, 1 << 20));
            let out = site.fs.replace(site.at("f"), vec![1]).with_timeout(Duration::ZERO).await.unwrap_err();
            assert_eq!(io::Error::from(out).kind(), io::ErrorKind::TimedOut);
        });
    }
}

fn real_dir() -> Site {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().canonicalize().unwrap();
    Site { fs: io_fs::FileSystem::new().unwrap(), dir, disk: Disk::Real(tmp) }
}

/// What is done to a call after so many polls.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Cancelled,
    Dropped,
}

/// A replacement and a copy that end in the middle, on a hostile simulator, and what a power cut leaves then.
#[test]
fn at_every_step_a_replacement_ends_with_one_content_and_without_a_temporary_file() {
    let (mut given_up, mut done) = (0, 0);
    for seed in 0..6 {
        for (end, polls) in [End::Cancelled, End::Dropped].into_iter().flat_map(|end| (1..40).map(move |n| (end, n))) {
            let options = SimOptions { torn: true, short: 0.2, ..SimOptions::hostile(seed * 100 + u64::from(polls)) };
            let site = simulated(SimOptions { push_back: 0.1, ..options });
            let (old, new) = (content(1, 9_000), content(2, 23_456));
            let path = site.put("f", &old);
            let mut call = site.fs.replace(&path, new.clone());
            let answer = site.run(async {
                if let Some(over) = poll_times(&mut call, polls).await {
                    return Some(over);
                }
                match end {
                    End::Dropped => {
                        drop(call);
                        None
                    }
                    End::Cancelled => {
                        call.cancel();
                        Some(call.await)
                    }
                }
            });
            settle(&site);
            let found = site.get("f");
            match answer {
                Some((Ok(()), buf)) => {
                    assert!(found == new && buf == new);
                    assert!((0..4).all(|n| site.sim().fork_after_power_cut(n).read_file(&path).unwrap() == new));
                    done += 1;
                }
                Some((Err(error), buf)) => {
                    assert!(is_cancelled(&error), "{error}");
                    assert!(found == old && buf == new, "{end:?} after {polls} polls");
                    given_up += 1;
                }
                None => assert!(found == old || found == new, "{end:?} after {polls} polls"),
            }
            assert_eq!(site.names(), ["f"], "{end:?} after {polls} polls");
            for n in 0..4 {
                let found = site.sim().fork_after_power_cut(n).read_file(&path).unwrap();
                assert!(found == old || found == new, "{end:?} after {polls} polls, then a power cut");
            }
        }
    }
    assert!(given_up > 20 && done > 20, "{given_up} given up, {done} done");
}

#[test]
fn at_every_step_a_copy_is_whole_or_not_there() {
    let (mut given_up, mut done) = (0, 0);
    for (end, polls) in [End::Cancelled, End::Dropped].into_iter().flat_map(|end| (1..60).map(move |n| (end, n))) {
        for (reflink, overwrite) in [(false, false), (true, true), (false, true)] {
            let site = simulated(SimOptions { reflink, ..SimOptions::hostile(polls.into()) });
            let (old, new) = (content(1, 9_000), content(2, 23_456));
            let from = site.put("from", &new);
            let to = if overwrite { site.put("to", &old) } else { site.at("to") };
            let mut call = site.fs.copy_with(&from, &to, CopyOptions::new().overwrite(overwrite));
            let answer = site.run(async {
                if let Some(over) = poll_times(&mut call, polls).await {
                    return Some(over);
                }
                match end {
                    End::Dropped => {
                        drop(call);
                        None
                    }
                    End::Cancelled => {
                        call.cancel();
                        Some(call.await)
                    }
                }
            });
            settle(&site);
            let found = site.sim().read_file(&to).ok();
            let untouched = if overwrite { Some(&old) } else { None };
            match answer {
                Some(Ok(copied)) => {
                    assert!(found.as_ref() == Some(&new) && copied.bytes == new.len() as u64);
                    done += 1;
                }
                Some(Err(error)) => {
                    assert!(is_cancelled(&error), "{error}");
                    assert!(found.as_ref() == untouched, "{end:?} after {polls} polls");
                    given_up += 1;
                }
                None => assert!(found.as_ref() == untouched || found.as_ref() == Some(&new)),
            }
            assert_eq!(site.names().len(), 1 + usize::from(found.is_some()), "{end:?} after {polls} polls");
        }
    }
    assert!(given_up > 20 && done > 20, "{given_up} given up, {done} done");
}

/// Of appends that end in the middle, each tells what it left; those behind keep their places.
#[test]
fn at_every_step_an_append_says_what_it_left() {
    let (mut given_up, mut done, mut gaps) = (0, 0, 0);
    for seed in 0..40 {
        for polls in 0..6 {
            let site = simulated(SimOptions::hostile(seed));
            site.put("f", &content(1, 1000));
            let file = open(&site, "f");
            let bytes = content(2, 5000);
            let next = content(3, 700);
            let (first, second) = site.run(async {
                let mut call = file.append(bytes.clone());
                let behind = file.append(next.clone());
                let first = match poll_times(&mut call, polls).await {
                    Some(over) => over,
                    None => {
                        call.cancel();
                        call.await
                    }
                };
                (first, behind.await)
            });
            settle(&site);
            assert!(first.1 == bytes);
            assert_eq!(second.0.unwrap(), 6000);
            let found = site.get("f");
            assert!(found[6000..] == next);
            match first.0 {
                Ok(offset) => {
                    assert!(offset == 1000 && found[1000..6000] == bytes);
                    done += 1;
                }
                Err(error) => {
                    let failed = AppendFailed::in_error(&error).unwrap();
                    let (at, len) = failed.gap().unwrap_or((6000, 0));
                    let written = failed.written as usize;
                    assert_eq!(failed.len, 5000);
                    assert!(found[1000..][..written] == bytes[..written]);
                    assert!(failed.offset.is_none() || at + len == 6000, "{failed}");
                    given_up += 1;
                    gaps += u32::from(len > 0);
                }
            }
        }
    }
    assert!(given_up > 20 && done > 20 && gaps > 10, "{given_up} given up, {done} done, {gaps} gaps");
}

/// A durable write that was cancelled tells the truth about being durable.
#[test]
fn at_every_step_a_durable_write_that_succeeds_is_durable() {
    let (mut given_up, mut done) = (0, 0);
    for route in [DurableRoute::Dsync, DurableRoute::WriteThenSync] {
        for (seed, polls) in (0..20).flat_map(|seed| (0..8).map(move |polls| (seed, polls))) {
            let disk = io_sim::SimDisk::new(SimOptions::hostile(seed));
            disk.create_dir_all("/dir").unwrap();
            let mut config = io_fs::IoConfig::default();
            config.durable_route = Some(route);
            let fs = io_fs::FileSystem::with_driver_and_config(Box::new(disk.driver(8)), config).unwrap();
            let result = fs.block_on(async {
                let file = fs.open_with("/dir/f", OpenOptions::CREATE).await.unwrap();
                file.sync_all().await.unwrap();
                fs.sync_dir("/dir").await.unwrap();
                let mut call = file.write_durable_at(content(5, 4096), 0);
                match poll_times(&mut call, polls).await {
                    Some(over) => over.0,
                    None => {
                        call.cancel();
                        call.await.0
                    }
                }
            });
            match result {
                Ok(n) => {
                    let found = disk.fork_after_power_cut(seed).read_file("/dir/f").unwrap();
                    assert!(n == 4096 && found == content(5, 4096), "{route:?}, {polls} polls");
                    done += 1;
                }
                Err(error) => {
                    let short = io_fs::ShortWrite::in_error(&error).map(|short| short.code);
                    assert!(is_cancelled(&error) || short == Some(errno::ECANCELED), "{error}");
                    given_up += 1;
                }
            }
        }
    }
    assert!(given_up > 20 && done > 20, "{given_up} given up, {done} done");
}

/// Ranges of a cancelled call are whole or errors: never shorter than the file has them.
#[test]
fn ranges_of_a_cancelled_call_are_whole_or_errors() {
    let (mut errors, mut whole) = (0, 0);
    for (seed, polls) in (0..30).flat_map(|seed| (0..8).map(move |polls| (seed, polls))) {
        let site = simulated(SimOptions { short: 0.5, ..SimOptions::hostile(seed) });
        let all = content(1, 200_000);
        site.put("f", &all);
        let file = open(&site, "f");
        let ranges: Vec<_> = (0..8).map(|n| (n * 25_000, 12_000)).collect();
        let found = site.run(async {
            let mut call = file.read_ranges(&ranges);
            match poll_times(&mut call, polls).await {
                Some(over) => over,
                None => {
                    call.cancel();
                    call.await
                }
            }
        });
        for ((at, len), found) in ranges.into_iter().zip(found) {
            match found {
                Ok(bytes) => {
                    assert!(*bytes == all[at as usize..][..len], "seed {seed}, {polls} polls: {} bytes", bytes.len());
                    whole += 1;
                }
                Err(error) => {
                    assert!(is_cancelled(&error), "{error}");
                    errors += 1;
                }
            }
        }
    }
    assert!(errors > 100 && whole > 100, "{errors} errors, {whole} whole");
}

/// A step that hangs is asked for its end from outside, by who has the ticket.
#[test]
fn a_step_that_hangs_is_left_by_the_clock_and_ended_by_the_ticket() {
    let site = slow(1);
    let path = site.put("f", b"old");
    site.sim().wedge(io_sim::Which::kind(OpKind::Open));
    site.run(async {
        let out = site.fs.replace(&path, b"new".to_vec()).with_timeout(50 * MS).await.unwrap_err();
        assert_eq!(site.sim().now(), 50 * MS);
        let mut ticket = out.ticket;
        ticket.cancel();
        site.sim().release_wedged();
        let (result, buf) = ticket.await;
        assert!(is_cancelled(&result.unwrap_err()) && buf == b"new");
    });
    assert_eq!((site.get("f"), site.names()), (b"old".to_vec(), vec!["f".to_owned()]));
}
