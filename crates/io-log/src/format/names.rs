//! Names of files in the directory of a log.

/// The file whose lock says that the log is open for writing. It holds the number of the process that has it.
pub const LOCK_NAME: &str = "lock";

/// The file that will be the next segment, while it is being prepared. What is found under this name is of no value.
pub const PREPARED_NAME: &str = "next.prep";

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
}
