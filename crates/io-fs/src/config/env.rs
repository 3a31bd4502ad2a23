//! Settings from the environment.

use super::{ConfigError, IoConfig};
use crate::DurableRoute;
use io_engine::{SubmitFrom, core::DriverName};
use std::{env, ffi::OsString};

impl IoConfig {
    /// The defaults, with what the environment says otherwise (`IOFS_*`, see the table at [`IoConfig`]).
    ///
    /// # Errors
    /// As [`IoConfig::with_env`].
    pub fn from_env() -> Result<IoConfig, ConfigError> {
        IoConfig::default().with_env()
    }

    /// These settings, except where a variable of the environment is set: then what that says.
    ///
    /// # Errors
    /// The first variable whose value makes no sense, or as [`IoConfig::validate`].
    pub fn with_env(self) -> Result<IoConfig, ConfigError> {
        self.with_variables(|name| env::var_os(name))
    }

    fn with_variables(mut self, get: impl Fn(&str) -> Option<OsString>) -> Result<IoConfig, ConfigError> {
        let vars = Variables(get);
        vars.read("IOFS_DRIVER", "auto, uring, aio or threadpool", driver, &mut self.driver)?;
        vars.read("IOFS_ENABLE_IO_URING", "yes or no", yes_or_no, &mut self.enable_io_uring)?;
        vars.read("IOFS_SQ_DEPTH", "a number", number, &mut self.sq_depth)?;
        vars.read("IOFS_QUEUE_DEPTH", "a number", number, &mut self.queue_depth)?;
        vars.read("IOFS_QUEUE_BYTES", "a number of bytes", bytes, &mut self.queue_bytes)?;
        vars.read("IOFS_IO_WORKERS", "a number", number, &mut self.io_workers)?;
        vars.read("IOFS_POOL_THREADS", "a number", number, &mut self.pool_threads)?;
        vars.read("IOFS_SUBMIT_FROM", "caller or engine", submit_from, &mut self.submit_from)?;
        vars.read("IOFS_AT_ONCE_MAX", "a number of bytes", bytes, &mut self.at_once_max)?;
        vars.read("IOFS_DURABLE_ROUTE", "auto, dsync, sync or pool-sync", durable_route, &mut self.durable_route)?;
        vars.read("IOFS_BUFFER_POOL_SIZE", "a number", number, &mut self.buffer_pool_size)?;
        vars.read("IOFS_PREALLOCATE_WAL", "yes or no", yes_or_no, &mut self.preallocate_wal)?;
        vars.read("IOFS_PREALLOCATE_SIZE", "a number of bytes", bytes, &mut self.preallocate_size)?;
        self.validate()?;
        Ok(self)
    }
}

/// Where variables come from.
struct Variables<F>(F);

impl<F: Fn(&str) -> Option<OsString>> Variables<F> {
    fn read<T>(
        &self,
        variable: &'static str,
        expected: &'static str,
        parse: fn(&str) -> Option<T>,
        field: &mut T,
    ) -> Result<(), ConfigError> {
        let Some(value) = (self.0)(variable).filter(|value| !value.is_empty()) else { return Ok(()) };
        match value.to_str().and_then(parse) {
            Some(value) => {
                *field = value;
                Ok(())
            }
            None => {
                let value = value.to_string_lossy().into_owned();
                Err(ConfigError::BadVariable { variable, value, expected })
            }
        }
    }
}

/// A driver, or `auto`.
pub(super) fn driver(text: &str) -> Option<Option<DriverName>> {
    match text {
        "auto" => Some(None),
        name => name.parse().ok().map(Some),
    }
}

pub(super) fn submit_from(text: &str) -> Option<SubmitFrom> {
    match text {
        "caller" => Some(SubmitFrom::Caller),
        "engine" => Some(SubmitFrom::EngineThread),
        _ => None,
    }
}

/// A way for durable writes, or `auto`.
pub(super) fn durable_route(text: &str) -> Option<Option<DurableRoute>> {
    match text {
        "auto" => Some(None),
        "dsync" => Some(Some(DurableRoute::Dsync)),
        "sync" => Some(Some(DurableRoute::WriteThenSync)),
        "pool-sync" => Some(Some(DurableRoute::WriteThenPoolSync)),
        _ => None,
    }
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn number<T: TryFrom<u64>>(text: &str) -> Option<T> {
    T::try_from(text.parse::<u64>().ok()?).ok()
}

/// A number with an optional unit.
fn bytes<T: TryFrom<u64>>(text: &str) -> Option<T> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    T::try_from(digits.trim_end().parse::<u64>().ok()?.checked_mul(unit)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn with(variables: &[(&str, &str)]) -> Result<IoConfig, ConfigError> {
        let map: HashMap<&str, &str> = variables.iter().copied().collect();
        IoConfig::default().with_variables(|name| map.get(name).map(OsString::from))
    }

    #[test]
    fn every_variable_reaches_its_field() {
        let config = with(&[
            ("IOFS_DRIVER", "aio"),
            ("IOFS_ENABLE_IO_URING", "No"),
            ("IOFS_SQ_DEPTH", "7"),
            ("IOFS_QUEUE_DEPTH", "8"),
            ("IOFS_QUEUE_BYTES", "9m"),
            ("IOFS_IO_WORKERS", "3"),
            ("IOFS_POOL_THREADS", "5"),
            ("IOFS_SUBMIT_FROM", "engine"),
            ("IOFS_AT_ONCE_MAX", "16KiB"),
            ("IOFS_DURABLE_ROUTE", "sync"),
            ("IOFS_BUFFER_POOL_SIZE", "11"),
            ("IOFS_PREALLOCATE_WAL", "off"),
            ("IOFS_PREALLOCATE_SIZE", "2g"),
        ]);
        let wanted = IoConfig {
            driver: Some(DriverName::Aio),
            enable_io_uring: false,
            sq_depth: 7,
            queue_depth: 8,
            queue_bytes: 9 << 20,
            io_workers: 3,
            pool_threads: 5,
            submit_from: SubmitFrom::EngineThread,
            at_once_max: 16 << 10,
            durable_route: Some(DurableRoute::WriteThenSync),
            buffer_pool_size: 11,
            preallocate_wal: false,
            preallocate_size: 2 << 30,
        };
        assert_eq!(config, Ok(wanted));
    }

    #[test]
    fn what_is_not_set_or_empty_stays_and_auto_takes_a_driver_back() {
        assert_eq!(with(&[("IOFS_SQ_DEPTH", "")]), Ok(IoConfig::default()));
        let chosen = IoConfig { driver: Some(DriverName::Aio), ..IoConfig::default() };
        let freed = chosen.with_variables(|name| (name == "IOFS_DRIVER").then(|| "auto".into()));
        assert_eq!(freed, Ok(IoConfig::default()));
    }

    #[test]
    fn nonsense_is_named_and_never_ignored() {
        let wrong = [
            ("IOFS_DRIVER", "disk"),
            ("IOFS_ENABLE_IO_URING", "perhaps"),
            ("IOFS_SQ_DEPTH", "-1"),
            ("IOFS_SQ_DEPTH", "4294967296"),
            ("IOFS_QUEUE_DEPTH", "1k"),
            ("IOFS_QUEUE_BYTES", "1 elephant"),
            ("IOFS_QUEUE_BYTES", "99999999999g"),
            ("IOFS_IO_WORKERS", "two"),
            ("IOFS_POOL_THREADS", " 2"),
            ("IOFS_SUBMIT_FROM", "thread"),
            ("IOFS_AT_ONCE_MAX", "k"),
            ("IOFS_DURABLE_ROUTE", "fsync"),
            ("IOFS_BUFFER_POOL_SIZE", "1.5"),
            ("IOFS_PREALLOCATE_WAL", "2"),
            ("IOFS_PREALLOCATE_SIZE", "0x10"),
        ];
        for (variable, value) in wrong {
            let error = with(&[(variable, value)]).unwrap_err();
            assert!(matches!(error, ConfigError::BadVariable { variable: named, .. } if named == variable), "{error}");
            assert!(error.to_string().starts_with(&format!("{variable}={value} ")), "{error}");
        }
        let error = with(&[("IOFS_SQ_DEPTH", "0")]).unwrap_err();
        assert!(matches!(error, ConfigError::OutOfRange { field: "sq_depth", value: 0, .. }), "{error}");
    }
}
