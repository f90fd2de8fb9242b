//! A bond of the driver as it was read: values, and no conclusions.

use oxbond_wire::MacAddr;
use oxbond_wire::lacp::Information;
use serde::{Deserialize, Serialize};

use crate::lacp::{ChurnState, Counters};
use crate::option::{BondOptions, Mode, OptionId, PortOptions};
use crate::port::LinkState;
use crate::status::{MiiStatus, PortRole};

/// A bond. What counts packets is not serialised: it would make another text of a bond at every look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Name of the device.
    pub name: String,
    /// Its interface index.
    pub ifindex: u32,
    /// It is set up.
    pub up: bool,
    /// It has carrier.
    pub carrier: bool,
    /// Its address.
    pub mac: MacAddr,
    /// Its address was made up by the kernel and nobody has set it since: the first port gives the bond its own.
    pub mac_is_random: bool,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// The options it shows; those that it does not show (see `known`) have the driver's defaults. `primary` is the name of
    /// an interface of the namespace.
    pub options: BondOptions,
    /// The options that it shows to us. Some show only in some modes, or to an administrator; one that this kernel's driver
    /// does not have shows never.
    pub known: Vec<OptionId>,
    /// Attributes that we do not know: kept as they are, and shown raw.
    pub raw: Vec<RawAttribute>,
    /// Name of the active port.
    pub active_port: Option<String>,
    /// The aggregator that carries traffic, in mode 802.3ad.
    pub active_aggregator: Option<ActiveAggregator>,
    /// Our system's identity in LACP, in mode 802.3ad and to an administrator: priority and address.
    pub system: Option<(u16, MacAddr)>,
    /// Packets dropped because no port could take them, among others (`tx_dropped` of the device).
    #[serde(skip)]
    pub tx_dropped: u64,
    /// The ports, in list order.
    pub ports: Vec<PortPicture>,
}

/// An attribute that we do not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawAttribute {
    /// Its number (`IFLA_BOND_*`, or `IFLA_BOND_SLAVE_*` of a port).
    pub number: u16,
    /// Its value, in hexadecimal.
    pub value: String,
}

/// The aggregator that carries the bond's traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveAggregator {
    /// Its number.
    pub id: u16,
    /// How many of its ports are enabled.
    pub ports: u16,
    /// Our key.
    pub actor_key: u16,
    /// The partner's key.
    pub partner_key: u16,
    /// The partner's system; zero without one.
    pub partner_system: MacAddr,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortPicture {
    /// Interface name.
    pub name: String,
    /// Interface index.
    pub ifindex: u32,
    /// Its link, as the interface itself shows it.
    pub link: LinkState,
    /// Its link, as the driver's monitor sees it.
    pub mii_status: MiiStatus,
    /// The part it plays.
    pub role: PortRole,
    /// Times its link was lost.
    pub link_failure_count: u32,
    /// Burnt-in address.
    pub permanent_mac: MacAddr,
    /// Address it has now.
    pub mac: MacAddr,
    /// Its options; `actor_port_prio` is the default where the driver does not show it.
    pub options: PortOptions,
    /// Attributes that we do not know.
    pub raw: Vec<RawAttribute>,
    /// Its part in the link aggregation, in mode 802.3ad.
    pub aggregation: Option<PortAggregation>,
    /// Packets and bytes of the interface, sent and received.
    #[serde(skip)]
    pub traffic: Traffic,
}

/// What an interface counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes of them.
    pub tx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes of them.
    pub rx_bytes: u64,
    /// Packets that were received and dropped, those of an inactive port among them.
    pub rx_dropped: u64,
}

/// A port's part in the link aggregation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortAggregation {
    /// Its aggregator; `None` while it has none.
    pub aggregator: Option<u16>,
    /// Our state bits (802.1AX 6.4.2.3), where the driver shows them.
    pub actor_state: Option<u8>,
    /// The partner's.
    pub partner_state: Option<u8>,
    /// Churn of our end, then of the partner's, where the driver shows them.
    pub churn: Option<(ChurnState, ChurnState)>,
    /// How often our end churned, then the partner's.
    pub churned: (u32, u32),
    /// What both ends say of themselves, to an administrator.
    pub pdus: Option<Pdus>,
    /// What the driver counted (`ip -s -s link xstats`); those it does not count are 0.
    #[serde(skip)]
    pub counters: Counters,
}

/// What both ends of a link say of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pdus {
    /// Our end.
    pub actor: Information,
    /// The partner's.
    pub partner: Information,
}

impl Picture {
    /// The link of a port, as far as it means something: with the ARP monitor there are no delays. What the driver calls going
    /// back is then the port that it tries, and going down one that it tried in vain.
    pub(super) fn mii_status(&self, port: &PortPicture) -> MiiStatus {
        match port.mii_status {
            MiiStatus::GoingDown | MiiStatus::GoingBack if self.options.arp_interval > 0 => {
                MiiStatus::Down
            }
            status => status,
        }
    }

    /// It is as the module makes it while it is loaded (`max_bonds`): down, empty, nothing set. Whoever asks for a bond of
    /// this name takes nothing away from anybody by having it.
    pub fn is_pristine(&self) -> bool {
        !self.up
            && self.ports.is_empty()
            && self.mac_is_random
            && self.raw.is_empty()
            && self.options == BondOptions::default()
    }

    /// The bond was read at another moment than its ports, and the driver made another port the active one between the two.
    /// Only active-backup shows it, where no other port says of itself that it is active.
    pub fn is_torn(&self) -> bool {
        let is_active = |port: &PortPicture| self.active_port.as_ref() == Some(&port.name);
        let mut ports = self.ports.iter();
        self.options.mode == Mode::ActiveBackup
            && self.active_port.is_some()
            && ports.any(|port| is_active(port) != (port.role == PortRole::Active))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::bond;
    use super::*;

    #[test]
    fn a_failover_between_bond_and_ports_shows() {
        let whole = bond("mode active-backup miimon 100");
        assert!(!whole.is_torn());
        let mut torn = whole.clone();
        torn.active_port = Some("v1".to_owned());
        assert!(torn.is_torn());
        torn.unplug(0);
        assert!(torn.is_torn());
        torn.ports[1].role = PortRole::Active;
        assert!(!torn.is_torn());
        // The ARP monitor tries a port while none is active.
        torn.active_port = None;
        assert!(!torn.is_torn());
        assert!(!bond("mode balance-alb miimon 100").is_torn());
    }
}
