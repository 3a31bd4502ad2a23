//! The name of one operation in flight.

use std::fmt;

/// Slot index (24 bits) plus generation (40 bits).
///
/// The slot finds the operation without hashing; the generation makes a late or doubled answer visible: it no longer
/// matches the slot, and the core asserts instead of handing a buffer to the wrong owner (I2, I4). A slot would have to be
/// reused 2⁴⁰ times while an answer is on its way for the two to meet again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(u64);

impl Token {
    /// Number of bits of the slot index.
    pub const SLOT_BITS: u32 = 24;
    /// The highest slot that an operation may have; the one above is for the drivers' own use ([`Token::internal`]).
    pub const MAX_SLOT: u32 = (1 << Self::SLOT_BITS) - 2;
    const SLOT_MASK: u64 = (1 << Self::SLOT_BITS) - 1;
    const GENERATION_MASK: u64 = (1 << 40) - 1;

    /// Makes a token; the generation is taken modulo 2⁴⁰.
    ///
    /// # Panics
    /// If `slot` is above [`Token::MAX_SLOT`].
    #[inline]
    pub const fn new(slot: u32, generation: u64) -> Token {
        assert!(slot <= Self::MAX_SLOT, "slot out of range");
        Token((generation & Self::GENERATION_MASK) << Self::SLOT_BITS | slot as u64)
    }

    /// A value that is no operation's token: for what a driver itself puts into its queue (wake-ups, cancel requests).
    #[inline]
    pub const fn internal(what: u64) -> Token {
        Token((what & Self::GENERATION_MASK) << Self::SLOT_BITS | Self::SLOT_MASK)
    }

    /// No operation's token.
    pub const NONE: Token = Token(u64::MAX);

    /// True for the values of [`Token::internal`].
    #[inline]
    pub const fn is_internal(self) -> bool {
        self.0 & Self::SLOT_MASK == Self::SLOT_MASK
    }

    /// Index into the slot table.
    #[inline]
    pub const fn slot(self) -> u32 {
        (self.0 & Self::SLOT_MASK) as u32
    }

    /// How often the slot had been used when this token was made, modulo 2⁴⁰.
    #[inline]
    pub const fn generation(self) -> u64 {
        self.0 >> Self::SLOT_BITS
    }

    /// The number that travels through the kernel (`user_data`, `aio_data`).
    #[inline]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The inverse of [`Token::as_u64`].
    #[inline]
    pub const fn from_u64(raw: u64) -> Token {
        Token(raw)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_internal() {
            write!(f, "Token(internal {})", self.generation())
        } else {
            write!(f, "Token({}g{})", self.slot(), self.generation())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_survive_the_round_trip() {
        for slot in [0, 1, 77, Token::MAX_SLOT] {
            for generation in [0, 1, (1 << 40) - 1] {
                let token = Token::from_u64(Token::new(slot, generation).as_u64());
                assert_eq!((token.slot(), token.generation()), (slot, generation));
                assert!(!token.is_internal());
            }
        }
    }

    #[test]
    fn generations_wrap_at_forty_bits() {
        assert_eq!(Token::new(3, 1 << 40), Token::new(3, 0));
    }

    #[test]
    fn internal_values_are_no_slot() {
        assert!(Token::internal(0).is_internal());
        assert_eq!(Token::internal(9).generation(), 9);
    }

    #[test]
    #[should_panic(expected = "slot out of range")]
    fn the_reserved_slot_is_refused() {
        Token::new(Token::MAX_SLOT + 1, 0);
    }
}
