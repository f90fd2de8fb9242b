//! What is told about a running bond: the core's picture of it, and what its engine adds.

use std::collections::BTreeMap;

use oxbond_core::port::{PortId, PortIndex};
use oxbond_core::status::BondStatus;
use serde::{Deserialize, Serialize};

/// A running bond, whole: what renderers format and what the control API hands out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BondReport {
    /// The bond, its options and its ports.
    #[serde(flatten)]
    pub(crate) status: BondStatus,
    /// What carries it.
    pub(crate) engine: EngineReport,
    /// What the data path counted, one entry for each port of `status`.
    pub(crate) counters: Vec<PortCounters>,
    /// Packets of the bond dropped because no port could take them; on the driver those dropped for other reasons too.
    pub(crate) tx_no_port: u64,
    /// How often our data path itself left a port because its link was gone.
    pub(crate) ports_left: u64,
    /// Expected ports that are there and could not join, with the reason.
    #[serde(default)]
    pub(crate) hindered: BTreeMap<String, String>,
}

/// What would become of a frame that is sent through a bond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FrameReport {
    /// Names of the ports that it would leave on. None: it would be dropped.
    pub(crate) ports: Vec<String>,
    /// Name of the port that the table names for it, where it names one.
    pub(crate) planned: Option<String>,
    /// Its bucket, where it goes by bucket.
    pub(crate) bucket: Option<usize>,
    /// How that is decided, in words.
    pub(crate) steps: Vec<String>,
}

/// What carries a bond, and why that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EngineReport {
    /// Name of the engine: `ebpf` or `kernel`.
    pub(crate) engine: String,
    /// It is under a daemon's management. Bonds of the driver that somebody else made are not.
    pub(crate) managed: bool,
    /// Kind of the front device: `veth` or `netkit`; none on the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) front: Option<String>,
    /// Where the programs are attached: `tcx` or `clsact`; none on the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hook: Option<String>,
    /// In words, why it is carried like this.
    pub(crate) why: String,
    /// Interface index of the bond's device.
    pub(crate) bond_ifindex: u32,
    /// MTU of bond and ports in bytes.
    pub(crate) mtu: u32,
}

/// What was counted at one port: by our data path since it joined, on the driver by the interface since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PortCounters {
    /// The port.
    pub(crate) port: PortIndex,
    /// Packets handed to the port; a segmentation-offloaded one counts once.
    pub(crate) tx_packets: u64,
    /// Bytes of them.
    pub(crate) tx_bytes: u64,
    /// Packets accepted from the port.
    pub(crate) rx_packets: u64,
    /// Bytes of them.
    pub(crate) rx_bytes: u64,
    /// Packets that arrived while the port was not active and were dropped for that reason; no errors. The driver does not
    /// tell them apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rx_inactive: Option<u64>,
    /// On the driver: packets that arrived and were dropped, those of an inactive port among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rx_dropped: Option<u64>,
    /// Part of `tx_packets`: sent here although the table named another port, whose link was gone.
    pub(crate) tx_moved: u64,
    /// LACPDUs of the partner that the data path answered because the daemon was late, stopped or dead.
    #[serde(default)]
    pub(crate) lacp_answered: u64,
}

impl From<(PortId, oxbond_datapath::PortCounters)> for PortCounters {
    fn from((port, counted): (PortId, oxbond_datapath::PortCounters)) -> Self {
        Self {
            port: port.into(),
            tx_packets: counted.tx_packets,
            tx_bytes: counted.tx_bytes,
            rx_packets: counted.rx_packets,
            rx_bytes: counted.rx_bytes,
            rx_inactive: Some(counted.rx_inactive),
            rx_dropped: None,
            tx_moved: counted.tx_moved,
            lacp_answered: counted.lacp_answered,
        }
    }
}
