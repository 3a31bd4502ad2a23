//! What is wrong with settings.

use io_engine::core::{DriverName, Unavailable};
use std::{error, fmt, ops::RangeInclusive};

/// Settings that make no sense: which, and what would.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A field is too small or too large.
    OutOfRange {
        /// The field of [`IoConfig`](crate::IoConfig).
        field: &'static str,
        /// What it says.
        value: u64,
        /// What it may say.
        range: RangeInclusive<u64>,
    },
    /// Two fields cannot both be meant.
    Contradiction {
        /// The one field.
        field: &'static str,
        /// What it says.
        value: String,
        /// The other field.
        other: &'static str,
        /// What that one says.
        other_value: String,
    },
    /// A variable of the environment says something that its field cannot be.
    BadVariable {
        /// The variable.
        variable: &'static str,
        /// What it says.
        value: String,
        /// What it may say.
        expected: &'static str,
    },
}

impl ConfigError {
    fn remedy(&self) -> String {
        match self {
            ConfigError::OutOfRange { field, range, .. } => {
                format!("set {field} to {} up to {}", range.start(), range.end())
            }
            ConfigError::Contradiction { field, other, .. } => format!("change {field} or {other}"),
            ConfigError::BadVariable { variable, .. } => format!("correct {variable}, or unset it"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::OutOfRange { field, value, range } => {
                write!(f, "{field} = {value} is not within {} to {}", range.start(), range.end())
            }
            ConfigError::Contradiction { field, value, other, other_value } => {
                write!(f, "{field} = {value} contradicts {other} = {other_value}")
            }
            ConfigError::BadVariable { variable, value, expected } => {
                write!(f, "{variable}={value} in the environment is not {expected}")
            }
        }
    }
}

impl error::Error for ConfigError {}

impl From<ConfigError> for Unavailable {
    /// No driver can be started with these settings, whichever it would be.
    fn from(error: ConfigError) -> Unavailable {
        let remedy = error.remedy();
        Unavailable::new(DriverName::Other("with these settings"), error.to_string(), remedy)
    }
}
