//! Byte-range locks of one inode, each held by an open file (fcntl(2), `F_OFD_SETLK`).

use crate::codes::Answer;
use io_core::{LockHolder, errno};

/// One held range: `start..end`, where `end` is exclusive and `u64::MAX` stands for the end of the file, wherever that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    owner: i64,
    start: u64,
    end: u64,
    exclusive: bool,
}

/// The locks of one inode.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locks(Vec<Held>);

fn range(offset: u64, len: u64) -> Answer<(u64, u64)> {
    let end = if len == 0 { Some(u64::MAX) } else { offset.checked_add(len) };
    match end {
        Some(end) if offset <= i64::MAX as u64 && (len == 0 || end <= i64::MAX as u64 + 1) => Ok((offset, end)),
        _ => Err(errno::EINVAL),
    }
}

impl Locks {
    fn in_the_way(&self, owner: i64, start: u64, end: u64, exclusive: bool) -> Option<&Held> {
        let overlaps = |held: &&Held| held.owner != owner && held.start < end && start < held.end;
        self.0.iter().filter(overlaps).filter(|held| exclusive || held.exclusive).min_by_key(|held| held.start)
    }

    /// Locks a range, or converts what the owner has of it.
    pub(crate) fn lock(&mut self, owner: i64, offset: u64, len: u64, exclusive: bool) -> Answer<()> {
        let (start, end) = range(offset, len)?;
        if self.in_the_way(owner, start, end, exclusive).is_some() {
            return Err(errno::EAGAIN);
        }
        self.cut(owner, start, end);
        self.0.push(Held { owner, start, end, exclusive });
        Ok(())
    }

    /// Gives a range back; what is not held of it is no error.
    pub(crate) fn unlock(&mut self, owner: i64, offset: u64, len: u64) -> Answer<()> {
        let (start, end) = range(offset, len)?;
        self.cut(owner, start, end);
        Ok(())
    }

    /// The first lock that would refuse this one.
    pub(crate) fn query(&self, owner: i64, offset: u64, len: u64, exclusive: bool) -> Answer<Option<LockHolder>> {
        let (start, end) = range(offset, len)?;
        Ok(self.in_the_way(owner, start, end, exclusive).map(|held| LockHolder {
            exclusive: held.exclusive,
            offset: held.start,
            len: if held.end == u64::MAX { 0 } else { held.end - held.start },
            pid: None,
        }))
    }

    /// Gives back all that an open file holds.
    pub(crate) fn release(&mut self, owner: i64) {
        self.0.retain(|held| held.owner != owner);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn cut(&mut self, owner: i64, start: u64, end: u64) {
        let mut rest = Vec::new();
        self.0.retain(|held| {
            let touched = held.owner == owner && held.start < end && start < held.end;
            if touched && held.start < start {
                rest.push(Held { end: start, ..*held });
            }
            if touched && held.end > end {
                rest.push(Held { start: end, ..*held });
            }
            !touched
        });
        self.0.extend(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_writers_do_not() {
        let mut locks = Locks::default();
        locks.lock(1, 0, 10, false).unwrap();
        locks.lock(2, 5, 10, false).unwrap();
        assert_eq!(locks.lock(1, 0, 10, true), Err(errno::EAGAIN), "an upgrade asks the other reader");
        locks.unlock(2, 0, 0).unwrap();
        locks.lock(1, 0, 10, true).unwrap();
        assert_eq!(locks.lock(2, 9, 1, false), Err(errno::EAGAIN));
        locks.lock(2, 10, 0, true).unwrap();
        locks.release(1);
        locks.lock(2, 0, 0, true).unwrap();
        locks.release(2);
        assert!(locks.is_empty());
    }

    #[test]
    fn a_range_given_back_in_the_middle_leaves_two() {
        let mut locks = Locks::default();
        locks.lock(1, 0, 0, true).unwrap();
        locks.unlock(1, 10, 10).unwrap();
        locks.lock(2, 10, 10, true).unwrap();
        let holder = |offset, len| locks.query(3, offset, len, true).unwrap().map(|h| (h.offset, h.len));
        assert_eq!(holder(0, 1), Some((0, 10)));
        assert_eq!(holder(12, 1), Some((10, 10)));
        assert_eq!(holder(100, 1), Some((20, 0)));
        assert_eq!(locks.query(1, 0, 10, true).unwrap(), None, "one's own lock is never in the way");
        assert_eq!(locks.lock(1, 1, u64::MAX, true), Err(errno::EINVAL));
    }
}
