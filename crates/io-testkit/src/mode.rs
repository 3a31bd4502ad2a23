//! Through the page cache, or past it.

use io_core::{OpClass, OpenOptions};

/// How a case opens its file. Most cases run in every mode that the driver takes, so that a driver for direct I/O only is
/// tested as thoroughly as one for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Through the page cache.
    Buffered,
    /// With `O_DIRECT`; the cases transfer whole [`BLOCK`](crate::BLOCK)s at page-aligned addresses within what is allocated.
    Direct,
}

impl Mode {
    /// Both.
    pub const ALL: [Mode; 2] = [Mode::Buffered, Mode::Direct];

    /// The class of operations within the allocated part of a file of this mode.
    pub const fn class(self) -> OpClass {
        match self {
            Mode::Buffered => OpClass::Buffered,
            Mode::Direct => OpClass::Direct,
        }
    }

    /// `options` in this mode.
    #[must_use]
    pub const fn of(self, options: OpenOptions) -> OpenOptions {
        match self {
            Mode::Buffered => options,
            Mode::Direct => options.direct(),
        }
    }
}
