//! The kernel's bonding driver, seen from outside: what it shows of a bond, as the same status and events that our own
//! engine gives.
//!
//! The driver decides by itself and tells little of why. This module holds what can be said of it without touching it:
//!
//! ```text
//!   netlink, /proc/net/bonding ──► Picture ─┬─► status
//!                                           ├─► Watch ──► events
//!                                           └─► Configuration
//! ```

mod configuration;
mod interruption;
mod picture;
#[cfg(test)]
mod sample;
mod status;
mod watch;

pub use configuration::Configuration;
pub use interruption::{Interruption, InterruptionKind, interruption};
pub use picture::{
    ActiveAggregator, Pdus, Picture, PortAggregation, PortPicture, RawAttribute, Traffic,
};
pub use watch::Watch;
