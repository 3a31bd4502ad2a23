//! How operations end: cancelled, late, dropped, refused, many at once; and how files do.

use super::Scene;
use futures_util::future::{Either, join_all, select};
use io_fs::{CloseFailed, File, OpKind, SyncFailed, errno};
use io_testkit::{Fault, Faults, GuardBuf, Rule};
use std::{
    future::Future,
    io::{self, ErrorKind},
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

async fn new(scene: &Scene) -> File {
    scene.fs.create(scene.at("f")).await.unwrap()
}

fn begin(future: impl Future + Unpin) {
    let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
}

fn cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(errno::ECANCELED)
}

pub(super) async fn cancelled_before_it_begins(scene: Scene) {
    let file = new(&scene).await;
    let mut write = file.write_at(b"never".to_vec(), 0);
    write.cancel();
    let (result, buf) = write.await;
    assert!(cancelled(&result.unwrap_err()) && buf == b"never");
    assert_eq!(file.size().await.unwrap(), 0);
}

pub(super) async fn cancelled_under_way(scene: Scene) {
    let file = new(&scene).await;
    for round in 0..20u8 {
        let mut write = file.write_at(GuardBuf::copy_of(&[round; 4096]), 0);
        if pin!(&mut write).poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            continue;
        }
        write.cancel();
        let (result, buf) = write.await;
        assert!(result.is_ok() || cancelled(&result.unwrap_err()));
        assert_eq!(buf[..], [round; 4096], "the buffer comes back in any case");
    }
}

pub(super) async fn timed_out(scene: Scene) {
    let file = new(&scene).await;
    let (result, _) = file.write_at(vec![1; 4096], 0).with_timeout(Duration::from_secs(60)).await.unwrap();
    assert_eq!(result.unwrap(), 4096);
    for _ in 0..20 {
        if let Err(late) = file.write_at(GuardBuf::copy_of(&[2; 4096]), 0).with_timeout(Duration::ZERO).await {
            assert_eq!(late.ticket.await.0.unwrap(), 4096, "the ticket claims it");
        }
    }
}

pub(super) async fn dropped_under_way(scene: Scene) {
    let file = new(&scene).await;
    for round in 0..20u64 {
        begin(file.write_at(GuardBuf::copy_of(&[3; 4096]), round * 4096));
        begin(file.read_at(GuardBuf::with_capacity(4096), round * 4096));
        begin(Box::pin(scene.fs.open(scene.at("f"))));
    }
    // It waits for all that was written, orphans included.
    file.sync_data().await.unwrap();
    let (read, bytes) = file.read_exact_at(vec![0; 20 * 4096], 0).await;
    read.unwrap();
    assert!(bytes.iter().all(|&byte| byte == 3), "dropping loses no data");
    GuardBuf::check();
}

pub(super) async fn closed(scene: Scene) {
    let file = new(&scene).await;
    let clone = file.clone();
    let Err(CloseFailed::InUse(file)) = file.close().await else { panic!("a clone is alive") };
    drop(clone);
    file.close().await.unwrap();
}

/// The simulator has no devices; there its disk is full.
pub(super) async fn a_full_device_is_named(scene: Scene) {
    let file = match scene.fs.backend().driver() {
        io_fs::DriverName::Sim => {
            let file = new(&scene).await;
            let refused = file.allocate(0, 17 << 30).await.unwrap_err();
            return assert_eq!(refused.kind(), ErrorKind::StorageFull);
        }
        _ => scene.fs.open_rw("/dev/full").await.unwrap(),
    };
    let (result, back) = file.write_at(b"bytes".to_vec(), 0).await;
    assert_eq!((result.unwrap_err().raw_os_error(), &back[..]), (Some(errno::ENOSPC), &b"bytes"[..]));
}

pub(super) async fn many_at_once(scene: Scene) {
    let file = new(&scene).await;
    // More than are admitted at once: what there is no room for waits in turn.
    let writes = (0..2000u64).map(|i| file.write_at(vec![i as u8; 512], i * 512));
    assert!(join_all(writes).await.into_iter().all(|(result, _)| result.unwrap() == 512));
    let reads = (0..2000u64).map(|i| file.read_at([0u8; 512], i * 512));
    for (i, (result, bytes)) in join_all(reads).await.into_iter().enumerate() {
        assert!(result.unwrap() == 512 && bytes == [i as u8; 512]);
    }
}

pub(super) async fn a_failed_sync_poisons(scene: Scene, faults: Faults) {
    let file = new(&scene).await;
    file.write_at(vec![1; 100], 0).await.0.unwrap();
    faults.add(Rule::of(OpKind::SyncData, Fault::Refuse(errno::EIO)).times(1));
    let error = file.sync_data().await.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(errno::EIO), "the first one hears the system's error");
    let other = scene.fs.open_rw(scene.at("f")).await.unwrap();
    for file in [&file, &other] {
        assert!(SyncFailed::in_error(&file.sync_data().await.unwrap_err()).is_some());
        assert!(file.in_doubt().is_some_and(|doubt| doubt.contains(50)));
    }
    drop((file, other));
    let anew = scene.fs.open_rw(scene.at("f")).await.unwrap();
    anew.sync_data().await.unwrap();
}

pub(super) async fn short_transfers_are_continued(scene: Scene, faults: Faults) {
    let file = new(&scene).await;
    faults.add(Rule::new(Fault::Short(1000)).when(|op| matches!(op.kind(), OpKind::Read | OpKind::Write)));
    let bytes = crate::fs_kit::content(5, 10_000);
    assert_eq!(file.write_at(bytes.clone(), 0).await.0.unwrap(), 10_000);
    let (read, there) = file.read_exact_at(vec![0; 10_000], 0).await;
    read.unwrap();
    assert!(there == bytes);
}

/// What wedges is a sync, which every driver takes itself.
pub(super) async fn a_wedged_one_comes_late(scene: Scene, faults: Faults) {
    let file = new(&scene).await;
    faults.add(Rule::of(OpKind::SyncAll, Fault::Wedge).times(1));
    let late = file.sync_all().with_timeout(Duration::from_millis(20)).await.unwrap_err();
    file.write_at(vec![1; 10], 0).await.0.unwrap();
    let mut ticket = pin!(late.ticket);
    let meanwhile = pin!(file.metadata());
    match select(ticket.as_mut(), meanwhile).await {
        Either::Left(_) => panic!("it is wedged"),
        Either::Right((metadata, _)) => assert_eq!(metadata.unwrap().size, 10, "others go on"),
    }
    faults.unwedge();
    ticket.await.unwrap();
}
