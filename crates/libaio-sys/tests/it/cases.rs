//! The cases. Each returns its answers as `(data, res)` or `(step, answer)`, so that two implementations can be compared.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use libaio_sys::*;

use crate::api::Api;
use crate::fixture::{Context, PATIENCE, Page, address, alone, direct_file, eventfd, file, iocb};

/// What a case got: pairs of a mark (the operation's data, or a step) and the answer.
pub(crate) type Answers = Vec<(u64, i64)>;

fn answers(events: &[io_event]) -> Answers {
    events.iter().map(|event| (event.data, event.res)).collect()
}

/// An answer as a number: a count, or the negated errno (which must be positive before that).
fn answer(result: Result<usize, i32>) -> i64 {
    match result {
        Ok(n) => n as i64,
        Err(errno) => {
            assert!(errno > 1, "errno {errno}: -1 of syscall(2), or -errno, taken for an errno");
            -i64::from(errno)
        }
    }
}

pub(crate) fn setup_refuses_what_cannot_be(api: &Api) -> Answers {
    let _alone = alone();
    // SAFETY: no context comes of it.
    let zero = unsafe { (api.io_setup)(0) };
    assert_eq!(zero, Err(libc::EINVAL));
    // SAFETY: as above; more than 2³² / 32 events is refused before anything is allocated.
    let absurd = unsafe { (api.io_setup)(u32::MAX) };
    assert_eq!(absurd, Err(libc::EINVAL));
    vec![(0, answer(zero.map(|_| 0))), (1, answer(absurd.map(|_| 0)))]
}

pub(crate) fn write_then_read(api: &Api) -> Answers {
    let (context, file) = (Context::new(api, 8), file());
    let mut text = *b"every completion is somebody's";
    let mut write = iocb(1, IOCB_CMD_PWRITE, &file, address(&mut text), text.len() as u64, 100);
    assert_eq!(context.submit(&mut [&mut write]), Ok(1));
    let mut events = context.reap(1);
    assert_eq!(events[0].obj, (&raw const write).addr() as u64, "the event names its iocb");
    assert_eq!((events[0].res, events[0].res2), (text.len() as i64, 0));

    let mut seen = [0_u8; 30];
    let mut read = iocb(2, IOCB_CMD_PREAD, &file, address(&mut seen), seen.len() as u64, 100);
    assert_eq!(context.submit(&mut [&mut read]), Ok(1));
    events.extend(context.reap(1));
    assert_eq!(seen, text);
    assert_eq!(file.metadata().unwrap().len(), 130, "offset and length reached the kernel");
    answers(&events)
}

pub(crate) fn vectored_write_then_read(api: &Api) -> Answers {
    let (context, file) = (Context::new(api, 8), file());
    let (mut first, mut second) = (*b"one", *b"and two");
    let mut parts = [iovec(&mut first), iovec(&mut second)];
    let mut write = iocb(1, IOCB_CMD_PWRITEV, &file, address(&mut parts), 2, 0);
    assert_eq!(context.submit(&mut [&mut write]), Ok(1));
    let mut events = context.reap(1);
    assert_eq!(events[0].res, 10);

    let (mut head, mut tail) = ([0_u8; 6], [0_u8; 4]);
    let mut parts = [iovec(&mut head), iovec(&mut tail)];
    let mut read = iocb(2, IOCB_CMD_PREADV, &file, address(&mut parts), 2, 0);
    assert_eq!(context.submit(&mut [&mut read]), Ok(1));
    events.extend(context.reap(1));
    assert_eq!((&head, &tail), (b"oneand", b" two"));
    answers(&events)
}

fn iovec(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

pub(crate) fn sync_both_ways(api: &Api) -> Answers {
    let (context, file) = (Context::new(api, 8), file());
    file.write_all_at(&[7; 8192], 0).unwrap();
    let mut data = iocb(1, IOCB_CMD_FDSYNC, &file, 0, 0, 0);
    let mut all = iocb(2, IOCB_CMD_FSYNC, &file, 0, 0, 0);
    assert_eq!(context.submit(&mut [&mut data, &mut all]), Ok(2));
    let events = context.reap(2);
    assert_eq!(answers(&events), [(1, 0), (2, 0)]);
    answers(&events)
}

pub(crate) fn end_of_file_is_zero_bytes(api: &Api) -> Answers {
    let (context, file) = (Context::new(api, 8), file());
    file.write_all_at(&[7; 1000], 0).unwrap();
    let (mut over, mut beyond) = ([0_u8; 100], [0_u8; 100]);
    let mut short = iocb(1, IOCB_CMD_PREAD, &file, address(&mut over), 100, 950);
    let mut none = iocb(2, IOCB_CMD_PREAD, &file, address(&mut beyond), 100, 1000);
    assert_eq!(context.submit(&mut [&mut short, &mut none]), Ok(2));
    let events = context.reap(2);
    assert_eq!(answers(&events), [(1, 50), (2, 0)]);
    assert!(over[..50] == [7; 50] && over[50..] == [0; 50] && beyond == [0; 100]);
    answers(&events)
}

pub(crate) fn direct_read_at_a_bad_offset_fails_as_pread_does(api: &Api) -> Answers {
    let Some(file) = direct_file() else { return Vec::new() };
    let context = Context::new(api, 8);
    let mut page = Box::new(Page([9; 4096]));
    let mut write = iocb(1, IOCB_CMD_PWRITE, &file, address(&mut page.0), 4096, 0);
    assert_eq!(context.submit(&mut [&mut write]), Ok(1));
    let mut events = context.reap(1);
    assert_eq!(events[0].res, 4096);

    // Offset 7 suits no device. pread(2) says what this file system makes of it: EINVAL on disks; a few (tmpfs) read on.
    let mut seen = Box::new(Page([0; 4096]));
    let expected = match file.read_at(&mut seen.0, 7) {
        Ok(n) => n as i64,
        Err(error) => -i64::from(error.raw_os_error().unwrap()),
    };
    let mut read = iocb(2, IOCB_CMD_PREAD, &file, address(&mut seen.0), 4096, 7);
    assert_eq!(context.submit(&mut [&mut read]), Ok(1));
    events.extend(context.reap(1));
    assert_eq!(events[1].res, expected, "as pread(2) with the same offset");
    if expected >= 0 {
        eprintln!("no EINVAL seen: {} takes unaligned direct reads", env!("CARGO_TARGET_TMPDIR"));
    }

    // The aligned one beside it works.
    let mut read = iocb(3, IOCB_CMD_PREAD, &file, address(&mut seen.0), 4096, 0);
    assert_eq!(context.submit(&mut [&mut read]), Ok(1));
    events.extend(context.reap(1));
    assert_eq!(events[2].res, 4096);
    assert!(seen.0 == page.0);
    answers(&events)
}

/// Four ways for an iocb to be refused by io_submit itself, and the errno of each.
fn refused(file: &File, buf: &mut [u8]) -> [(iocb, i32); 4] {
    let buf = address(buf);
    let good = iocb(99, IOCB_CMD_PREAD, file, buf, 8, 0);
    [
        (iocb { aio_fildes: u32::MAX, ..good }, libc::EBADF),
        (iocb { aio_lio_opcode: 999, ..good }, libc::EINVAL),
        (iocb { aio_reserved2: 1, ..good }, libc::EINVAL),
        (iocb { aio_offset: -1, ..good }, libc::EINVAL),
    ]
}

pub(crate) fn a_refused_iocb_ends_the_batch_before_it(api: &Api) -> Answers {
    let (context, file) = (Context::new(api, 8), file());
    file.write_all_at(b"abcdefgh", 0).unwrap();
    let mut answered = Vec::new();
    let (mut first, mut last, mut never) = ([0_u8; 4], [0_u8; 4], [0_u8; 8]);
    for (mut bad, errno) in refused(&file, &mut never) {
        let mut before = iocb(1, IOCB_CMD_PREAD, &file, address(&mut first), 4, 0);
        let mut after = iocb(2, IOCB_CMD_PREAD, &file, address(&mut last), 4, 4);
        assert_eq!(context.submit(&mut [&mut before, &mut bad, &mut after]), Ok(1), "stops before the bad one");
        answered.extend(answers(&context.reap(1)));
        // The reason comes only when the bad one is first; and the good one behind it goes through alone.
        let reason = context.submit(&mut [&mut bad, &mut after]);
        assert_eq!(reason, Err(errno));
        answered.push((99, answer(reason)));
        assert_eq!(context.submit(&mut [&mut after]), Ok(1));
        answered.extend(answers(&context.reap(1)));
        assert_eq!((&first, &last, &never), (b"abcd", b"efgh", &[0; 8]));
    }
    assert_eq!(answered.iter().filter(|(data, res)| *data < 99 && *res == 4).count(), 8);
    answered
}

pub(crate) fn a_refused_iocb_at_the_head_fails_the_call(api: &Api) -> Answers {
    let (context, file) = (Context::new(api, 8), file());
    let mut answered = Vec::new();
    for (mut bad, errno) in refused(&file, &mut [0; 8]) {
        let result = context.submit(&mut [&mut bad]);
        assert_eq!(result, Err(errno));
        answered.push((99, answer(result)));
    }
    assert_eq!(context.submit(&mut []), Ok(0));
    assert!(context.getevents(0, 8, Some(Duration::ZERO)).unwrap().is_empty(), "a refused iocb has no completion");
    answered
}

/// Reaps one completion from the ring without a system call.
fn reap_from_ring(context: &Context<'_>) -> io_event {
    let ring = AioRing::of(context.id);
    // SAFETY: the context is alive, so its ring is mapped; only atomics of it change.
    let header = unsafe { &*ring };
    let end = Instant::now() + PATIENCE;
    let head = header.head.load(Ordering::Relaxed);
    while header.tail.load(Ordering::Acquire) == head {
        assert!(Instant::now() < end, "nothing in the ring");
        std::thread::yield_now();
    }
    assert!(head < header.nr);
    // SAFETY: head is below nr and not equal to the tail: the kernel has written this event and leaves it alone until
    // head moves; nobody else reaps, contexts are one at a time.
    let event = unsafe { AioRing::events(ring).add(head as usize).read() };
    header.head.store((head + 1) % header.nr, Ordering::Release);
    event
}

pub(crate) fn completions_are_read_from_the_ring(api: &Api) -> Answers {
    let (context, file) = (Context::new(api, 8), file());
    // SAFETY: the context is alive, so its ring is mapped.
    let header = unsafe { &*AioRing::of(context.id) };
    assert!(header.is_known(), "{header:?}");
    assert_eq!(header.compat_features, AIO_RING_COMPAT_FEATURES);
    assert!(header.nr > 8, "{header:?}");
    assert_eq!((header.head.load(Ordering::Relaxed), header.tail.load(Ordering::Relaxed)), (0, 0));

    file.write_all_at(b"ring", 0).unwrap();
    let mut seen = [0_u8; 4];
    let mut read = iocb(5, IOCB_CMD_PREAD, &file, address(&mut seen), 4, 0);
    assert_eq!(context.submit(&mut [&mut read]), Ok(1));
    let event = reap_from_ring(&context);
    assert_eq!((event.data, event.res, &seen), (5, 4, b"ring"));
    assert_eq!(event.obj, (&raw const read).addr() as u64);
    // The kernel sees that it is gone.
    assert!(context.getevents(0, 8, Some(Duration::ZERO)).unwrap().is_empty());

    // And the other way round: what the call reaps is gone from the ring.
    assert_eq!(context.submit(&mut [&mut read]), Ok(1));
    let by_call = context.reap(1);
    assert_eq!(header.head.load(Ordering::Relaxed), header.tail.load(Ordering::Acquire));
    assert_eq!(header.head.load(Ordering::Relaxed), 2);
    answers(&[event, by_call[0]])
}

pub(crate) fn the_ring_wraps(api: &Api) -> Answers {
    let (context, file) = (Context::new(api, 4), file());
    file.write_all_at(&[3; 64], 0).unwrap();
    // SAFETY: the context is alive, so its ring is mapped.
    let rounds = u64::from(unsafe { (*AioRing::of(context.id)).nr }) * 3 + 1;
    let mut sum = 0;
    for round in 0..rounds {
        let mut seen = [0_u8; 64];
        let length = round % 64 + 1;
        let mut read = iocb(round, IOCB_CMD_PREAD, &file, address(&mut seen), length, 0);
        assert_eq!(context.submit(&mut [&mut read]), Ok(1), "round {round}: room again after reaping in user space");
        let event = reap_from_ring(&context);
        assert_eq!((event.data, event.res), (round, length as i64));
        sum += event.res;
    }
    vec![(rounds, sum)]
}

pub(crate) fn a_completion_signals_its_eventfd(api: &Api) -> Answers {
    let (context, file, signal) = (Context::new(api, 8), file(), eventfd());
    let mut seen = [0_u8; 4];
    let plain = iocb(1, IOCB_CMD_PREAD, &file, address(&mut seen), 4, 0);
    let signalled = iocb { aio_flags: IOCB_FLAG_RESFD, aio_resfd: signal.as_raw_fd() as u32, ..plain };
    let (mut a, mut b, mut c) = (signalled, iocb { aio_data: 2, ..plain }, iocb { aio_data: 3, ..signalled });
    assert_eq!(context.submit(&mut [&mut a, &mut b, &mut c]), Ok(3));
    let events = context.reap(3);
    let mut count = [0_u8; 8];
    File::from(signal).read_exact(&mut count).unwrap();
    assert_eq!(u64::from_ne_bytes(count), 2, "two of three asked for it");
    answers(&events)
}

pub(crate) fn a_cancelled_poll_completes_once(api: &Api) -> Answers {
    let (context, quiet) = (Context::new(api, 8), eventfd());
    let mut poll = iocb(1, IOCB_CMD_POLL, &quiet, libc::POLLIN as u64, 0, 0);
    assert_eq!(context.submit(&mut [&mut poll]), Ok(1));
    assert!(context.getevents(0, 1, Some(Duration::ZERO)).unwrap().is_empty(), "an eventfd at 0 is not readable");

    let mark = io_event { data: 77, obj: 77, res: 77, res2: 77 };
    let mut result = mark;
    // SAFETY: the context is alive, both structs live through the call.
    let cancelled = unsafe { (api.io_cancel)(context.id, &raw mut poll, &raw mut result) }.map(|()| 0);
    assert_eq!(cancelled, Err(libc::EINPROGRESS));
    assert_eq!((result.data, result.res), (mark.data, mark.res), "the kernel does not fill the result");
    let events = context.reap(1);

    // What is no longer in flight cannot be cancelled.
    // SAFETY: as above.
    let again = unsafe { (api.io_cancel)(context.id, &raw mut poll, &raw mut result) }.map(|()| 0);
    assert_eq!(again, Err(libc::EINVAL));
    [answers(&events), vec![(2, answer(cancelled)), (3, answer(again))]].concat()
}

pub(crate) fn a_wait_ends_on_time(api: &Api) -> Answers {
    let context = Context::new(api, 8);
    let begin = Instant::now();
    let events = context.getevents(1, 1, Some(Duration::from_millis(30)));
    assert!(begin.elapsed() >= Duration::from_millis(30), "{:?}", begin.elapsed());
    assert!(begin.elapsed() < PATIENCE);
    let nothing = answer(events.map(|events| events.len()));
    assert_eq!(nothing, 0);

    // More wanted than there is room for. (With a zero timeout libaio would see the empty ring and not ask the kernel.)
    let odd = answer(context.getevents(2, 1, Some(Duration::from_millis(1))).map(|events| events.len()));
    assert_eq!(odd, -i64::from(libc::EINVAL));
    vec![(1, nothing), (2, odd)]
}

extern "C" fn ignore(_signal: i32) {}

pub(crate) fn a_signal_mask_is_taken(api: &Api) -> Answers {
    let context = Context::new(api, 8);
    // SAFETY: plain calls on locals of the right types; the handler does nothing, so it may run anywhere. The signal goes
    // to this thread only, which has it blocked but for the time of the call below.
    let (outside, inside) = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as extern "C" fn(i32) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut blocked);
        libc::sigaddset(&raw mut blocked, libc::SIGUSR1);
        let mut before: libc::sigset_t = std::mem::zeroed();
        assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before), 0);
        assert_eq!(libc::raise(libc::SIGUSR1), 0);
        (blocked, before)
    };
    let soon = Some(Duration::from_millis(20));
    let count = |result: Result<Vec<io_event>, i32>| answer(result.map(|events| events.len()));
    let none = count(context.pgetevents(1, 1, soon, None));
    let blocked = count(context.pgetevents(1, 1, soon, Some(&outside)));
    assert_eq!((none, blocked), (0, 0), "a blocked signal ends no wait");
    let open = count(context.pgetevents(1, 1, Some(PATIENCE), Some(&inside)));
    assert_eq!(open, -i64::from(libc::EINTR), "the pending signal ends the wait that lets it in");
    let after = count(context.pgetevents(1, 1, soon, Some(&inside)));
    assert_eq!(after, 0, "it came once");
    // SAFETY: restores this thread's own mask from a local.
    assert_eq!(unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const inside, std::ptr::null_mut()) }, 0);

    // And a mask does not keep completions away.
    let file = file();
    let mut seen = [0_u8; 4];
    let mut read = iocb(9, IOCB_CMD_PREAD, &file, address(&mut seen), 4, 0);
    assert_eq!(context.submit(&mut [&mut read]), Ok(1));
    let events = context.pgetevents(1, 4, Some(PATIENCE), Some(&outside)).unwrap();
    assert_eq!(answers(&events), [(9, 0)]);
    vec![(1, none), (2, blocked), (3, open), (4, after), (9, events[0].res)]
}

pub(crate) fn destroy_ends_the_context(api: &Api) -> Answers {
    let (mut context, file) = (Context::new(api, 8), file());
    let mut seen = [0_u8; 4];
    let mut read = iocb(1, IOCB_CMD_PREAD, &file, address(&mut seen), 4, 0);
    assert_eq!(context.submit(&mut [&mut read]), Ok(1));
    // A poll that never gets ready: destroying cancels it instead of waiting for ever.
    let quiet = eventfd();
    let mut poll = iocb(2, IOCB_CMD_POLL, &quiet, libc::POLLIN as u64, 0, 0);
    assert_eq!(context.submit(&mut [&mut poll]), Ok(1));
    assert_eq!(context.destroy(), Ok(()));

    let again = answer(context.destroy().map(|()| 0));
    let submitted = answer(context.submit(&mut [&mut read]));
    // Nothing is reaped here: libaio reads the ring's header first, and that is unmapped.
    let gone = -i64::from(libc::EINVAL);
    assert_eq!((submitted, again), (gone, gone));
    vec![(1, again), (2, submitted)]
}
