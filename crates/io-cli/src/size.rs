//! Sizes as people write them.

/// Parses `4096`, `4k`, `256m`, `1g`, `2t`: powers of 1024, either case.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        Some((at, 't' | 'T')) => (&text[..at], 1 << 40),
        _ => (text, 1u64),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("a size is a number, with k, m, g or t behind it if you like: 4096, 4k, 256m, 1g".to_owned());
    }
    // File sizes are signed on every system.
    let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).filter(|&n| n <= i64::MAX as u64);
    match bytes {
        None => Err("larger than any file can be".to_owned()),
        Some(0) => Err("a size of 0 leaves nothing to do".to_owned()),
        Some(bytes) => Ok(bytes),
    }
}

/// Prints a size the way it would be read, rounded down.
pub(crate) fn show(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|&(unit, _)| bytes >= unit) {
        Some((unit, name)) if bytes % unit == 0 => format!("{} {name}", bytes / unit),
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse() {
        for (text, bytes) in
            [("1", 1), ("4k", 4096), ("4K", 4096), ("256m", 256 << 20), ("1g", 1 << 30), ("3T", 3 << 40)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "k", "-1", "+1", "1.5g", "4kk", "0", "0g", "9g9", "4 k", "0x10", "ß", "4ß", "9223372036854775808"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("99999999999t").unwrap_err().contains("larger"));
        assert!(parse("18446744073709551616").unwrap_err().contains("larger"));
    }

    #[test]
    fn sizes_print() {
        assert_eq!(show(4096), "4 KiB");
        assert_eq!(show(1536 << 20), "1.5 GiB");
        assert_eq!(show(7), "7 bytes");
    }
}
