//! Why a bond cannot be as asked, or a request to it is refused.

use crate::option::{DriverError, OptionError};
use crate::port::MAX_PORTS;

/// The configuration asks for what cannot be. Nothing has been changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// An option is wrong, or the set of options does not fit together.
    #[error(transparent)]
    Option(Box<OptionError>),
    /// The name cannot be that of an interface.
    #[error(
        "{name:?} cannot be the name of an interface: use 1 to 15 bytes without blanks, `/` and `:`"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The bond has more ports than our own engine can carry.
    #[error(
        "{bond} has {ports} ports, and our own engine carries at most {MAX_PORTS}: take some out first, or leave {bond} to the kernel's driver"
    )]
    TooManyPorts {
        /// Name of the bond.
        bond: String,
        /// How many it has.
        ports: usize,
    },
}

impl ConfigError {
    /// What the kernel's driver answers in the same case, where it has an answer of its own.
    pub const fn driver(&self) -> Option<&'static DriverError> {
        match self {
            Self::Option(error) => error.driver,
            _ => None,
        }
    }
}

/// A request was refused. The bond is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The configuration is to blame.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port of this name is in the bond.
    #[error("port {name} is already in bond {bond}")]
    AlreadyAPort {
        /// Name of the port.
        name: String,
        /// Name of the bond.
        bond: String,
    },
    /// The bond is full.
    #[error("bond {bond} has {MAX_PORTS} ports, which is the most it can have; {name} cannot join")]
    Full {
        /// Name of the port.
        name: String,
        /// Name of the bond.
        bond: String,
    },
    /// It is the last one that works.
    #[error(
        "{name} is the only port of {bond} that works: without it nothing could be sent; bring up another one first, or take it out with remove-port"
    )]
    LastToDrain {
        /// Name of the port.
        name: String,
        /// Name of the bond.
        bond: String,
    },
    /// No port has this number: whoever drives the core has lost track.
    #[error("bond {bond} has no port number {port}")]
    UnknownPort {
        /// The number.
        port: usize,
        /// Name of the bond.
        bond: String,
    },
}

impl From<OptionError> for InputError {
    fn from(error: OptionError) -> Self {
        Self::Config(error.into())
    }
}

impl From<OptionError> for ConfigError {
    fn from(error: OptionError) -> Self {
        Self::Option(Box::new(error))
    }
}
