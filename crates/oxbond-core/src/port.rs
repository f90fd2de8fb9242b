//! A port as the rest of the world describes it to the core: identity, link state, fixed facts.

use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

/// Most ports one bond of our own engine may have: its data path keeps sets of ports in one 32-bit word. The driver has no
/// such limit.
pub const MAX_PORTS: usize = 32;

/// A port's place in the tables of our own engine: the lowest number free when it joined, kept until it leaves.
///
/// Always below [`MAX_PORTS`]. List order (the order of joining), not this number, decides ties, as in the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct PortId(u8);

impl PortId {
    /// `None` from [`MAX_PORTS`] on.
    pub const fn new(index: u8) -> Option<Self> {
        if (index as usize) < MAX_PORTS {
            Some(Self(index))
        } else {
            None
        }
    }

    /// The number, below [`MAX_PORTS`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The port of this number in LACP, where ports are counted from 1, as the driver does.
    pub fn numbered(number: u16) -> Option<Self> {
        let index = number.checked_sub(1)?;
        u8::try_from(index).ok().and_then(Self::new)
    }

    /// The set that holds just this port.
    pub const fn bit(self) -> u32 {
        1 << self.0
    }
}

impl From<PortId> for u8 {
    fn from(id: PortId) -> Self {
        id.0
    }
}

impl TryFrom<u8> for PortId {
    type Error = NoPort;

    fn try_from(index: u8) -> Result<Self, NoPort> {
        Self::new(index).ok_or(NoPort(index))
    }
}

/// Which of its bond's ports, in status and events: on our own engine the number of its [`PortId`], on the driver, whose bonds
/// have any number of ports, its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PortIndex(pub usize);

impl From<PortId> for PortIndex {
    fn from(id: PortId) -> Self {
        Self(id.index())
    }
}

impl PartialEq<PortId> for PortIndex {
    fn eq(&self, id: &PortId) -> bool {
        *self == Self::from(*id)
    }
}

/// No port has this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("port {0} is none: they are numbered up to {last}", last = MAX_PORTS - 1)]
pub struct NoPort(u8);

/// Duplex of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplex {
    /// One direction at a time.
    Half,
    /// Both directions at once.
    Full,
    /// The driver does not tell.
    #[default]
    Unknown,
}

/// What the system last said of a port's link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkState {
    /// The interface is administratively up and started (`IFF_UP`, `IFF_RUNNING` aside).
    pub admin_up: bool,
    /// The interface has carrier (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// Speed in Mb/s; `None` when the driver does not tell.
    pub speed_mbps: Option<u32>,
    /// Duplex.
    pub duplex: Duplex,
}

impl LinkState {
    /// Up and with carrier: what the driver's MII monitor tests.
    pub const fn is_usable(&self) -> bool {
        self.admin_up && self.carrier
    }
}

/// Fixed facts about a port at the moment it joins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortInfo {
    /// Interface name, at most 15 bytes.
    pub name: String,
    /// Interface index in the bond's network namespace.
    pub ifindex: u32,
    /// Burnt-in address (`IFLA_PERM_ADDRESS`), or the address it had on joining where the driver has none.
    pub permanent_mac: MacAddr,
    /// The address it has now.
    pub mac: MacAddr,
    /// Link state at joining.
    pub link: LinkState,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bit for each port must fit: a number too high in a state file is refused, and not met later.
    #[test]
    fn a_number_that_is_no_ports_is_not_read() {
        let read: Result<PortId, _> = serde_json::from_str("31");
        assert_eq!(read.ok(), PortId::new(31));
        let refused = serde_json::from_str::<PortId>("32").unwrap_err();
        assert!(refused.to_string().contains("port 32 is none"), "{refused}");
    }
}
