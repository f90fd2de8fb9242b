//! How a bond found running differs from what its record says.

use std::fmt;

use oxbond_core::port::PortId;

use super::port::Setting;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift(pub(super) Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The transmit program is no longer attached.
    FrontHook,
    /// The inner end is up or down where the bond's carrier wants the opposite.
    Carrier {
        /// As it should be.
        up: bool,
    },
    /// The user changed the bond's MTU while nobody watched.
    BondMtu {
        /// MTU it has.
        now: u32,
    },
    /// The bond became promiscuous, or no longer is.
    BondPromisc {
        /// As it is.
        now: bool,
    },
    /// A port is gone.
    PortGone {
        /// Its name.
        name: String,
    },
    /// A port's setting was changed by someone else.
    Port {
        /// The port.
        id: PortId,
        /// Its name.
        name: String,
        /// What differs.
        setting: Setting,
    },
    /// The receive program of a port is no longer attached.
    PortHook {
        /// The port.
        id: PortId,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::FrontHook => f.write_str("the transmit program was taken off"),
            Kind::Carrier { up: true } => {
                f.write_str("the bond had no carrier although ports are usable")
            }
            Kind::Carrier { up: false } => {
                f.write_str("the bond had carrier although no port is usable")
            }
            Kind::BondMtu { now } => write!(f, "the bond's MTU was set to {now}"),
            Kind::BondPromisc { now: true } => f.write_str("the bond became promiscuous"),
            Kind::BondPromisc { now: false } => f.write_str("the bond is no longer promiscuous"),
            Kind::PortGone { name } => write!(f, "port {name} is gone"),
            Kind::Port { name, setting, .. } => {
                write!(f, "the {} of port {name} was changed", setting.words())
            }
            Kind::PortHook { name, .. } => {
                write!(f, "the receive program of port {name} was taken off")
            }
        }
    }
}
