//! Events for `tracing`, where the feature is on; nothing otherwise.
//!
//! Who listens is foreign code, which never runs under a lock: what happens under a shard's lock is noted, and told by the same thread when
//! it has let go.

#[cfg(feature = "tracing")]
mod later;

#[cfg(feature = "tracing")]
pub(crate) use later::{Later, later, slow, tell};

/// A fact that operators want to see once.
macro_rules! event_info {
    ($($arg:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::info!($($arg)*);
    };
}

/// A fact that somebody should look at.
macro_rules! event_warn {
    ($($arg:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::warn!($($arg)*);
    };
}

pub(crate) use {event_info, event_warn};
