//! Errors as the program's user meets them: one message, one exit code that says whose move it is.

use std::fmt;

use oxbond_core::option::DriverError;
use serde::{Deserialize, Serialize};

/// Who has to act, and with it the exit code. Documented in `oxbond --help` and the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Blame {
    /// Our bug, or something nobody thought of.
    Bug,
    /// Words on the command line, or a configuration file.
    Configuration,
    /// An interface or a name cannot be used as asked.
    Refused,
    /// The caller may not do this.
    Permission,
    /// The kernel cannot do this or failed doing it.
    Kernel,
    /// No daemon answers, or one is there already.
    Daemon,
    /// Nobody: what was asked about is not, or not yet, as it should be.
    Unready,
}

impl Blame {
    /// The process exit code.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Bug => 1,
            Self::Configuration => 2,
            Self::Refused => 3,
            Self::Permission => 4,
            Self::Kernel => 5,
            Self::Daemon => 6,
            Self::Unready => 7,
        }
    }
}

/// The exit codes in the words of the manual.
pub(crate) const EXIT_CODES: &str = "Exit codes:
  0  done
  1  a bug of ours, or an error with no better home
  2  the command line or a configuration file is wrong
  3  an interface or a name cannot be used as asked
  4  no permission
  5  the kernel cannot do it, or failed doing it
  6  no daemon answers, or another one is already running
  7  what was asked about is not, or not yet, as it should be
  8  converted, and some of it with a change
  9  converted, and some of it is lost";

/// Exit code of a conversion that took something over with a change.
pub(crate) const CHANGED: u8 = 8;

/// Exit code of a conversion that lost something.
pub(crate) const LOST: u8 = 9;

/// An error that ends a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Whose move it is.
    pub(crate) blame: Blame,
    /// What, why, and the way out; lower case, no full stop.
    pub(crate) message: String,
    /// What the kernel's driver answers in the same case, where it has an answer of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) driver: Option<DriverAnswer>,
}

/// An answer of the kernel's driver, which `oxbond ip` repeats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DriverAnswer {
    /// Positive errno number.
    pub(crate) errno: i32,
    /// Its words, without a full stop.
    pub(crate) text: String,
}

impl From<&DriverError> for DriverAnswer {
    fn from(error: &DriverError) -> Self {
        Self {
            errno: error.errno,
            text: error.text.to_owned(),
        }
    }
}

impl Failure {
    /// A failure with this blame.
    pub(crate) fn new(blame: Blame, message: impl fmt::Display) -> Self {
        Self {
            blame,
            message: message.to_string(),
            driver: None,
        }
    }

    /// The same with the driver's answer.
    pub(crate) fn with_driver(self, driver: Option<&DriverError>) -> Self {
        Self {
            driver: driver.map(DriverAnswer::from),
            ..self
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
