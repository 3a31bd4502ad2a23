//! Names of files in the directory of a log.

/// The file whose lock says that the log is open for writing. It holds the number of the process that has it.
pub const LOCK_NAME: &str = "lock";

const DIGITS: usize = 20;

/// The name of a segment's file.
pub fn segment_name(number: u64) -> String {
    format!("wal-{number:020}.seg")
}

/// The number in a segment's name; `None` for any other name.
pub fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("wal-")?.strip_suffix(".seg")?;
    if digits.len() != DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The name of a file that will be a segment, while it is prepared. No two are named alike, so that nobody meets what an earlier process
/// has begun.
pub fn prepared_name(salt: u64) -> String {
    format!("next-{salt:016x}.prep")
}

/// Whether this is the name of a file that is being prepared. What is found after a crash is of no value.
pub fn is_prepared(name: &str) -> bool {
    let digits = name.strip_prefix("next-").and_then(|rest| rest.strip_suffix(".prep"));
    digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_the_same_thing() {
        assert_eq!(segment_name(7), "wal-00000000000000000007.seg");
        for number in [0, 1, u64::MAX] {
            assert_eq!(segment_number(&segment_name(number)), Some(number));
        }
        let others = [
            "lock",
            "wal-7.seg",
            "wal-+0000000000000000007.seg",
            "wal-00000000000000000007.seg~",
            "wal-99999999999999999999.seg",
        ];
        for name in others {
            assert_eq!(segment_number(name), None, "{name}");
        }
        assert!(segment_name(9) < segment_name(10), "their order is the order of names");
    }

    #[test]
    fn what_is_prepared_is_known_by_its_name() {
        assert!(is_prepared(&prepared_name(0)) && is_prepared(&prepared_name(u64::MAX)));
        assert!(!is_prepared("next-.prep") && !is_prepared("next-00000000000000zz.prep") && !is_prepared("lock"));
    }
}
