use super::*;

const SECTOR: usize = 512;

fn cut(keep: f64) -> Cut {
    Cut { keep, sector: SECTOR, torn: false }
}

fn content(bytes: &[u8]) -> Content {
    let mut content = Content::default();
    content.write(0, bytes, false);
    content.sync();
    content
}

#[test]
fn a_cut_keeps_what_was_synced_and_nothing_else_for_certain() {
    let mut file = content(&[1; 3 * PAGE]);
    file.write(PAGE as u64, &[2; PAGE], false);
    file.write(3 * PAGE as u64, &[3; 100], false);
    let mut random = Random::new(1, 0);
    assert_eq!(file.after(cut(0.0), &mut random).to_vec(), [1; 3 * PAGE]);
    assert_eq!(file.after(cut(1.0), &mut random).to_vec(), file.to_vec());
    let mut mixed = false;
    for _ in 0..100 {
        let left = file.after(cut(0.5), &mut random).to_vec();
        assert!(left.len() == 3 * PAGE || left.len() == 3 * PAGE + 100);
        assert!(left[..PAGE].iter().chain(&left[2 * PAGE..3 * PAGE]).all(|&b| b == 1));
        for sector in left[PAGE..2 * PAGE].chunks(SECTOR) {
            assert!(sector.iter().all(|&b| b == sector[0]), "a torn sector without `torn`");
        }
        mixed |= left[PAGE..2 * PAGE].contains(&1) && left[PAGE..2 * PAGE].contains(&2);
    }
    assert!(mixed);
}

#[test]
fn versions_between_may_survive_too() {
    let mut file = content(&[1; SECTOR]);
    file.write(0, &[2; SECTOR], false);
    file.write(0, &[3; SECTOR], false);
    let mut random = Random::new(1, 0);
    let mut seen = [0; 4];
    for _ in 0..300 {
        seen[file.after(cut(0.5), &mut random).to_vec()[0] as usize] += 1;
    }
    assert!(seen[0] == 0 && seen[1..].iter().all(|&n| n > 20), "{seen:?}");
}

#[test]
fn torn_sectors_have_a_seam() {
    let mut file = content(&[1; SECTOR]);
    file.write(0, &[2; SECTOR], false);
    let mut random = Random::new(1, 0);
    let torn = Cut { torn: true, ..cut(0.5) };
    let seams = (0..300).filter(|_| {
        let left = file.after(torn, &mut random).to_vec();
        left.windows(2).filter(|pair| pair[0] != pair[1]).count() == 1
    });
    assert!(seams.count() > 10);
}

#[test]
fn an_atomic_write_survives_whole_or_not_at_all() {
    let mut file = content(&[1; PAGE]);
    file.write(0, &[2; PAGE], true);
    let mut random = Random::new(1, 0);
    for _ in 0..200 {
        let left = file.after(Cut { torn: true, ..cut(0.5) }, &mut random).to_vec();
        assert!(left == [1; PAGE] || left == [2; PAGE]);
    }
}

#[test]
fn a_durable_write_takes_its_size_along_but_not_its_neighbours() {
    let mut file = content(b"");
    file.write(PAGE as u64, &[9; PAGE], false);
    file.write(0, &[7; 2 * SECTOR], false);
    file.write(0, &[8; SECTOR], false);
    file.sync_range(0, SECTOR as u64, SECTOR);
    let mut random = Random::new(1, 0);
    let left = file.after(cut(0.0), &mut random).to_vec();
    assert_eq!(left, [8; SECTOR], "size and sector of the durable write");
    for _ in 0..100 {
        let left = file.after(cut(0.5), &mut random).to_vec();
        assert_eq!(left[..SECTOR], [8; SECTOR]);
    }
}

#[test]
fn a_failed_sync_leaves_pages_that_no_later_sync_writes() {
    for how in [FailedSync::KeepsPages, FailedSync::DropsPages] {
        let mut file = content(&[1; PAGE]);
        file.write(0, &[2; PAGE], false);
        file.fail_sync(how);
        let readers_see = if how == FailedSync::KeepsPages { 2 } else { 1 };
        assert_eq!(file.to_vec()[0], readers_see);
        file.sync();
        assert_eq!(file.durable_to_vec()[0], 1, "reported durable by the second sync, and is not");
        file.write(0, &[3; PAGE], false);
        file.sync();
        assert_eq!(file.durable_to_vec()[0], 3, "written anew, it is");
    }
}

#[test]
fn truncation_is_undone_by_a_cut_unless_synced() {
    let mut file = content(&[1; 2 * PAGE]);
    file.truncate(100);
    file.truncate(PAGE as u64);
    assert!(file.to_vec()[100..].iter().all(|&b| b == 0), "what grows again reads as zeros");
    let mut random = Random::new(1, 0);
    assert_eq!(file.after(cut(0.0), &mut random).to_vec(), [1; 2 * PAGE]);
    file.sync();
    let left = file.after(cut(0.0), &mut random).to_vec();
    assert_eq!((left.len(), left[99], left[100]), (PAGE, 1, 0));
    assert!(file.is_durable());
}

#[test]
fn clearing_and_sharing_respect_the_edges() {
    let mut file = content(&[1; 3 * PAGE]);
    file.clear(100, 2 * PAGE as u64 + 50, false);
    let bytes = file.to_vec();
    assert_eq!((bytes[99], bytes[100], bytes[2 * PAGE + 49], bytes[2 * PAGE + 50]), (1, 0, 0, 1));
    assert_eq!(file.pages(), 2);
    file.clear(0, 3 * PAGE as u64, true);
    assert_eq!((file.pages(), file.filled()), (3, 3 * PAGE as u64));
    file.clear(10, 20, false);
    let mut other = content(b"abc");
    other.share(&content(&[5; PAGE + 1]), 0, PAGE as u64, PAGE as u64 + 1);
    let bytes = other.to_vec();
    assert_eq!((bytes.len(), &bytes[..4], bytes[PAGE], bytes[2 * PAGE]), (2 * PAGE + 1, &b"abc\0"[..], 5, 5));
}
