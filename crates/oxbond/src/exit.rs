//! Errors as the program's user meets them: one message, one exit code that says whose move it is.

use std::fmt;

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
  6  no daemon answers, or another one is already running";

/// An error that ends a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Whose move it is.
    pub(crate) blame: Blame,
    /// What, why, and the way out; lower case, no full stop.
    pub(crate) message: String,
}

impl Failure {
    /// A failure with this blame.
    pub(crate) fn new(blame: Blame, message: impl fmt::Display) -> Self {
        Self {
            blame,
            message: message.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
