//! What the world tells the core. Inputs are plain data and serialisable, so a recording in the field replays as a test.

use core::net::IpAddr;

use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use crate::option::{OptionChange, PortOptionChange};
use crate::port::{LinkState, PortId, PortInfo};

/// One thing that happened or is asked for.
///
/// `AddPort`, `RemovePort`, `SetOptions` and `SetPortOptions` are requests: the core answers with an error and is
/// unchanged when it refuses one. The others report facts and never fail; a fact about a port that is not (or no
/// longer) in the bond changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Join a port. The core gives it the lowest free [`PortId`].
    AddPort {
        /// The port's facts.
        info: PortInfo,
        /// Options of the port to start with.
        options: Vec<PortOptionChange>,
    },
    /// Take a port out. Unknown ports are an error.
    RemovePort {
        /// The port.
        port: PortId,
    },
    /// The link of a port, by event or by poll. Repeating what is known changes nothing.
    Link {
        /// The port.
        port: PortId,
        /// Its link now.
        link: LinkState,
    },
    /// A port left a dead link in the data path itself, before anyone else knew (`kernel time` of the packet).
    LeftInPath {
        /// The port that was left.
        port: PortId,
    },
    /// A port has another name now.
    PortRenamed {
        /// The port.
        port: PortId,
        /// Its new name.
        name: String,
    },
    /// The user gave the bond's front device another address; ports follow as `fail_over_mac` says.
    BondMac {
        /// The address it has now.
        mac: MacAddr,
    },
    /// The front device was set up or down by its user.
    BondAdmin {
        /// Whether it is up.
        up: bool,
    },
    /// All addresses to be announced after a failover: those of the front device and of VLANs above it.
    Addresses {
        /// The complete list; replaces the one before.
        addresses: Vec<Announced>,
    },
    /// Change options of the bond, all or none.
    SetOptions {
        /// The changes, validated together.
        changes: Vec<OptionChange>,
    },
    /// Change options of one port, all or none.
    SetPortOptions {
        /// The port.
        port: PortId,
        /// The changes, validated together.
        changes: Vec<PortOptionChange>,
    },
}

/// An address that peers should learn anew after a failover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// The address.
    pub address: IpAddr,
    /// Link-layer address it is reached at.
    pub mac: MacAddr,
    /// VLAN ids around it, outermost first; empty for the bond itself.
    pub vlans: Vec<u16>,
    /// The system forwards for its neighbours on that interface (IPv6 only). Neighbours drop a default router whose
    /// advertisement says that it is none (RFC 4861, section 7.2.5), so this must be what the system itself says.
    #[serde(default)]
    pub router: bool,
}
