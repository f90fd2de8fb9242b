//! The one picture of a bond that every renderer reads: `/proc` text, table, JSON, `ip` grammar, metrics.
//!
//! Both engines fill it. Renderers format it and compute nothing.

use core::time::Duration;

use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use crate::driver::RawAttribute;
use crate::lacp;
use crate::option::{BondOptions, OptionId, Weight};
use crate::port::{Duplex, PortIndex};
use crate::verdict::{Health, Verdict};

/// Version of the JSON form. Raised when a field changes its meaning or goes; new fields do not raise it.
pub const STATUS_VERSION: u32 = 1;

/// State of a port's link as the monitor sees it, with the driver's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MiiStatus {
    /// Usable.
    Up,
    /// Lost, the down delay is running.
    GoingDown,
    /// Not usable.
    Down,
    /// Back, the up delay is running; or, with the ARP monitor and no port active, the one that is tried.
    GoingBack,
}

/// Part a port plays in its bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortRole {
    /// Carries traffic.
    Active,
    /// Waits.
    Backup,
}

/// A bond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BondStatus {
    /// [`STATUS_VERSION`].
    pub version: u32,
    /// Name of the front device.
    pub name: String,
    /// The bond can carry traffic.
    pub carrier: bool,
    /// Why, and what to do about it. Of the bond as a whole: its ports have their own.
    #[serde(default)]
    pub verdict: Verdict,
    /// Address of the front device.
    pub mac: MacAddr,
    /// Every option as it is in force.
    pub options: BondOptions,
    /// Name of the port named `primary` where that port is attached.
    pub primary: Option<String>,
    /// Name of the active port, in the modes that have one.
    pub active_port: Option<String>,
    /// Times the active port changed since the bond began, or since the daemon watches a bond of the driver; `None` where
    /// nobody counts.
    pub failovers: Option<u64>,
    /// The link aggregation, in mode 802.3ad.
    #[serde(default)]
    pub lacp: Option<lacp::Status>,
    /// The ports, in list order.
    pub ports: Vec<PortStatus>,
    /// Ports the configuration names (see [`BondStatus::attached`] and [`BondStatus::carrying`] for the other two of
    /// the three numbers).
    pub expected: Vec<String>,
    /// Options whose values are not known, because the driver shows them to an administrator alone: `options` has its
    /// defaults for them.
    #[serde(default)]
    pub hidden: Vec<OptionId>,
    /// What else the driver shows, as it stands: attributes that we do not know.
    #[serde(default)]
    pub raw: Vec<RawAttribute>,
}

impl BondStatus {
    /// Ports that are in the bond.
    pub fn attached(&self) -> usize {
        self.ports.len()
    }

    /// Names of the ports that are expected and not in the bond.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        let attached = |name: &str| self.ports.iter().any(|port| port.name == name);
        let names = self.expected.iter().map(String::as_str);
        names.filter(move |name| !attached(name))
    }

    /// Ports that carry traffic now.
    pub fn carrying(&self) -> usize {
        self.ports
            .iter()
            .filter(|p| p.role == PortRole::Active && p.mii_status == MiiStatus::Up)
            .count()
    }
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// Which.
    pub id: PortIndex,
    /// Interface name.
    pub name: String,
    /// Interface index.
    pub ifindex: u32,
    /// Link state as the monitor sees it.
    pub mii_status: MiiStatus,
    /// Part it plays.
    pub role: PortRole,
    /// Mb/s, where known.
    pub speed_mbps: Option<u32>,
    /// Duplex.
    pub duplex: Duplex,
    /// Times the link was lost.
    pub link_failure_count: u32,
    /// Burnt-in address.
    pub permanent_mac: MacAddr,
    /// Address it has now.
    pub mac: MacAddr,
    /// `queue_id` option.
    pub queue_id: u16,
    /// `prio` option.
    pub prio: i32,
    /// `actor_port_prio` option.
    pub actor_port_prio: u16,
    /// `weight` option.
    pub weight: Weight,
    /// Its part in the link aggregation, in mode 802.3ad.
    #[serde(default)]
    pub lacp: Option<lacp::PortStatus>,
    /// How far it is drained.
    #[serde(default)]
    pub drain: lacp::Drain,
    /// How long the link has been in this state, at least; `None` where nobody has watched it.
    pub since: Option<Duration>,
    /// In words, why it carries traffic or why not.
    pub reason: String,
    /// Whether that is as it should be.
    #[serde(default)]
    pub health: Health,
    /// What to do about it, where something can be done.
    #[serde(default)]
    pub advice: Option<String>,
    /// What else the driver shows, as it stands: attributes that we do not know.
    #[serde(default)]
    pub raw: Vec<RawAttribute>,
}
