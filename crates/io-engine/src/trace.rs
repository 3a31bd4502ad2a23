//! Events for `tracing`, where the feature is on; nothing otherwise.

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
