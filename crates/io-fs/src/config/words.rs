//! Settings as words, for serde.

/// A driver by its name, or `auto`.
pub(super) mod driver {
    use io_engine::core::DriverName;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::config) fn serialize<S: Serializer>(
        driver: &Option<DriverName>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(driver.map_or("auto", |name| name.as_str()))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<DriverName>, D::Error> {
        let word = String::deserialize(deserializer)?;
        let expected = "auto, uring, aio or threadpool";
        crate::config::env::driver(&word).ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&word), &expected))
    }
}

/// Where operations enter the kernel: `caller` or `engine`.
pub(super) mod submit_from {
    use io_engine::SubmitFrom;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::config) fn serialize<S: Serializer>(from: &SubmitFrom, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match from {
            SubmitFrom::Caller => "caller",
            SubmitFrom::EngineThread => "engine",
        })
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SubmitFrom, D::Error> {
        let word = String::deserialize(deserializer)?;
        crate::config::env::submit_from(&word)
            .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&word), &"caller or engine"))
    }
}

/// The way of durable writes: `auto`, `dsync`, `sync` or `pool-sync`.
pub(super) mod durable_route {
    use crate::DurableRoute;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::config) fn serialize<S: Serializer>(
        route: &Option<DurableRoute>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match route {
            None => "auto",
            Some(DurableRoute::Dsync) => "dsync",
            Some(DurableRoute::WriteThenSync) => "sync",
            Some(DurableRoute::WriteThenPoolSync) => "pool-sync",
        })
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<DurableRoute>, D::Error> {
        let word = String::deserialize(deserializer)?;
        crate::config::env::durable_route(&word)
            .ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(&word), &"auto, dsync, sync or pool-sync"))
    }
}
