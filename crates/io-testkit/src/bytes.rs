//! Contents that tell where they belong.

/// The unit that cases transfer in: what every common device takes for direct I/O.
pub const BLOCK: usize = 4096;

/// `len` bytes that look random, depend on `seed`, and differ at every offset: data at a wrong place shows.
pub fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    let mut word = 0u64;
    while bytes.len() < len {
        // splitmix64 of the position: no state that could repeat.
        let mut z = (seed << 40).wrapping_add(word).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
        word += 1;
    }
    bytes.truncate(len);
    bytes
}

/// Panics with the first difference, instead of with two long byte strings.
#[track_caller]
pub(crate) fn assert_same(what: &str, got: &[u8], want: &[u8]) {
    if got == want {
        return;
    }
    let at = got.iter().zip(want).position(|(a, b)| a != b);
    match at {
        Some(at) => panic!(
            "{what}: byte {at} is {:#04x} instead of {:#04x} ({} and {} bytes)",
            got[at],
            want[at],
            got.len(),
            want.len()
        ),
        None => panic!("{what}: {} bytes instead of {}", got.len(), want.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_differ_from_one_another_and_between_seeds() {
        let bytes = pattern(7, 16 * BLOCK);
        for block in 1..16 {
            assert_ne!(bytes[..BLOCK], bytes[block * BLOCK..(block + 1) * BLOCK]);
        }
        assert_ne!(pattern(1, 100), pattern(2, 100));
        assert_eq!(pattern(1, 5), pattern(1, 100)[..5]);
    }

    #[test]
    #[should_panic(expected = "content: byte 2 is 0x03 instead of 0x04")]
    fn the_first_difference_is_named() {
        assert_same("content", &[1, 2, 3], &[1, 2, 4]);
    }
}
