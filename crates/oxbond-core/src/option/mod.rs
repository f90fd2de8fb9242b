//! Every option of bonds and ports, described once.
//!
//! [`OPTIONS`] is *the* option table: name, values, unit, default, modes, when it can be changed, netlink number,
//! minimum kernel, every dialect's spelling and a sentence of help. Validation, CLI help, importers, exporters, `ip`
//! grammar, documentation and error texts read it; nothing else lists options.
//!
//! ```text
//!   (name, text) ──OptionChange::parse──► OptionChange ──BondOptions::apply──► Applied { options, adapted, .. }
//!        names, aliases, words, numbers        checked against one option        checked as a whole set
//! ```
//!
//! Source of the facts: the driver's behaviour (7.2), measured on 6.1 where it matters.

mod apply;
mod error;
mod options;
mod spec;
mod table;
mod value;
mod words;

pub(crate) use apply::NEED_MIIMON;
pub use apply::{Adapted, Applied, BondContext, TX_QUEUES};
pub use error::{DriverError, OptionError, OptionFault};
pub use options::{BondOptions, PortOptions, Weight};
pub use spec::{
    Changeable, Dialect, Kind, ModeSet, OptionKey, OptionSpec, Spellings, Unit, find,
    find_in_dialect,
};
pub use table::{OPTIONS, OptionId, PortOptionId};
pub(crate) use value::is_interface_name;
pub use value::{OptionChange, OptionValue, PortOptionChange};
pub use words::{
    AdSelect, ArpAllTargets, ArpValidate, FailOverMac, Fallback, HashPolicy, LacpRate, Mode,
    PrimaryReselect, Switch, Word,
};

/// Longest interface name the kernel takes, in bytes (`IFNAMSIZ` less the closing zero).
pub const MAX_NAME: usize = 15;

/// Most ARP targets, and most NS targets, a bond may have.
pub const MAX_TARGETS: usize = 16;
