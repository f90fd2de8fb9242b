//! What the world tells the core. Inputs are plain data and serialisable, so a recording in the field replays as a test.

use core::net::IpAddr;
use core::time::Duration;

use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use crate::option::{OptionChange, PortOptionChange};
use crate::port::{LinkState, PortId, PortInfo};
use crate::time::Instant;

/// Most bytes of a tapped frame that are passed on: a LACPDU with two VLAN tags, a neighbour advertisement with its
/// options.
pub const TAPPED_LEN: usize = 192;

/// One thing that happened or is asked for.
///
/// `AddPort`, `RemovePort`, `Drain`, `SetOptions` and `SetPortOptions` are requests: the core answers with an error and is
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
        /// It was drained when it was in the bond before, and stays so until [`Input::Drain`] calls it back.
        #[serde(default)]
        drained: bool,
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
    /// A frame that [`crate::table::Tap`] asked for arrived on a port, VLAN tags in their place. It may be cut off behind
    /// [`TAPPED_LEN`] bytes.
    Received {
        /// The port.
        port: PortId,
        /// The frame from destination address on.
        frame: Vec<u8>,
    },
    /// A frame that [`crate::table::Tap`] asked for was sent by the host through the bond. Form as in `Received`.
    Sent {
        /// The frame from destination address on, as the host made it.
        frame: Vec<u8>,
    },
    /// When frames last arrived on a port. Wanted, for every port, before each [`crate::bond::Bond::handle_timeout`] while
    /// [`crate::table::Tap::arrivals`] is set.
    Arrivals {
        /// The port.
        port: PortId,
        /// The last frame of any kind; `None` while there was none.
        any: Option<Instant>,
        /// The last frame of ARP or IPv6.
        neighbour: Option<Instant>,
    },
    /// What each bucket has carried since the last report, in bytes. Wanted once a second while the table's
    /// [`crate::table::Buckets::measured`] is set; of a table that is no longer current it is worth nothing and not to be
    /// given.
    Loads {
        /// Time since the last report (or since the table became current).
        over: Duration,
        /// Bytes of each bucket, in the sequence of the table.
        buckets: Vec<u64>,
        /// Bytes of exempt frames.
        exempt: u64,
    },
    /// How the system reaches the targets of the ARP and NS monitor. Wanted when targets, addresses or routes have
    /// changed.
    ProbePaths {
        /// One for each target that is reached through the bond or not at all; a target that is reached elsewhere has
        /// none. Replaces the list before.
        paths: Vec<ProbePath>,
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
    /// Every VLAN directly above the front device, those without addresses too: learning frames go out in each.
    Vlans {
        /// The complete list of ids; replaces the one before.
        ids: Vec<u16>,
    },
    /// The answer to [`crate::action::Action::ListGuests`]: stations that are reached through the bond and are not the bond
    /// itself.
    Guests {
        /// The complete list.
        guests: Vec<Guest>,
    },
    /// Take a port out of the traffic, or let it take part again: nothing new is sent on it, what is under way still arrives,
    /// and [`crate::event::Event::Drained`] tells when nothing is left. A request: unknown ports and the last one that
    /// works are refused.
    Drain {
        /// The port.
        port: PortId,
        /// Out; else back.
        out: bool,
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

/// A station behind the bond: a virtual machine on a bridge that the bond is a port of, that bridge itself, a macvlan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Guest {
    /// Its link-layer address.
    pub mac: MacAddr,
    /// VLAN ids around its frames when they leave the bond, outermost first.
    pub vlans: Vec<u16>,
}

/// How probes get to one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePath {
    /// The target, an entry of `arp_ip_target` or `ns_ip6_target`.
    pub target: IpAddr,
    /// Our address towards it; `None` when the system has none or no route (the driver then asks from 0.0.0.0 or `::`).
    pub source: Option<IpAddr>,
    /// VLAN ids on the way, outermost first; empty for the bond itself.
    pub vlans: Vec<u16>,
}
