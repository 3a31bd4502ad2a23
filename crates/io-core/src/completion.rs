//! What a driver answers, and the batch it answers into.

use crate::Token;
use std::io;

/// The answer to one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The token that the operation was prepared with.
    pub token: Token,
    /// Bytes transferred, or 0 for what transfers none, or the negated OS error code (`-errno`).
    pub result: i32,
}

impl Completion {
    /// A completion with this result.
    #[inline]
    pub const fn new(token: Token, result: i32) -> Completion {
        Completion { token, result }
    }

    /// The result as `std` says it. This is the only place where a raw result is decoded.
    ///
    /// # Errors
    /// The OS error whose code the driver answered.
    #[inline]
    pub fn into_io(self) -> io::Result<u32> {
        decode(self.result)
    }
}

/// Decodes a raw result (see [`Completion::result`]).
///
/// # Errors
/// The OS error whose code is negated in `result`.
#[inline]
pub fn decode(result: i32) -> io::Result<u32> {
    if result >= 0 { Ok(result as u32) } else { Err(io::Error::from_raw_os_error(result.wrapping_neg())) }
}

/// Encodes an error for [`Completion::result`]: the OS code negated, `EIO` where the error has none.
pub fn encode(error: &io::Error) -> i32 {
    match error.raw_os_error() {
        Some(code) if code > 0 => -code,
        _ => -crate::errno::EIO,
    }
}

/// A batch of completions of fixed room, brought by the caller so that a steady loop allocates nothing.
#[derive(Debug)]
pub struct Completions {
    items: Vec<Completion>,
    limit: usize,
}

impl Completions {
    /// An empty batch with room for `limit` completions.
    ///
    /// # Panics
    /// If `limit` is 0: a driver could then never answer.
    pub fn with_limit(limit: usize) -> Completions {
        assert!(limit > 0, "a batch without room");
        Completions { items: Vec::with_capacity(limit), limit }
    }

    /// How many more completions fit.
    #[inline]
    pub fn room(&self) -> usize {
        self.limit - self.items.len()
    }

    /// Number of completions in the batch.
    #[inline]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True if nothing is in the batch.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Appends one completion.
    ///
    /// # Panics
    /// If there is no room left: the driver was told how much there is.
    #[inline]
    pub fn push(&mut self, completion: Completion) {
        assert!(self.items.len() < self.limit, "more completions than room");
        self.items.push(completion);
    }

    /// The completions, oldest first.
    #[inline]
    pub fn as_slice(&self) -> &[Completion] {
        &self.items
    }

    /// The completions, oldest first, to be changed in place (fault injection).
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [Completion] {
        &mut self.items
    }

    /// Empties the batch; its room stays allocated.
    #[inline]
    pub fn clear(&mut self) {
        self.items.clear();
    }

    /// Takes the completions out, oldest first.
    #[inline]
    pub fn drain(&mut self) -> std::vec::Drain<'_, Completion> {
        self.items.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errno;

    #[test]
    fn results_are_bytes_or_negated_errno() {
        let token = Token::new(0, 0);
        assert_eq!(Completion::new(token, 512).into_io().unwrap(), 512);
        let error = Completion::new(token, -errno::ENOSPC).into_io().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno::ENOSPC));
        assert_eq!(encode(&error), -errno::ENOSPC);
        assert_eq!(encode(&io::Error::other("no code")), -errno::EIO);
    }

    #[test]
    #[should_panic(expected = "more completions than room")]
    fn a_full_batch_refuses() {
        let mut batch = Completions::with_limit(1);
        batch.push(Completion::new(Token::new(0, 0), 0));
        batch.push(Completion::new(Token::new(1, 0), 0));
    }
}
