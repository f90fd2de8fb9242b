//! What the core wants done. Actions are plain data: whoever drives the core carries them out, in order.

use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use crate::event::{Cause, Event};
use crate::port::PortId;
use crate::standing::StandingAnswer;
use crate::table::TransmitTable;

/// One thing to do. Every action that changes forwarding carries its cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Make this the table the data path obeys.
    SetTransmitTable {
        /// The table.
        table: TransmitTable,
        /// Why it differs from the one before.
        cause: Cause,
    },
    /// Transmit a complete Ethernet frame through the bond's front device, as the system's own traffic goes.
    SendFrame {
        /// The frame from destination address on, without FCS.
        frame: Vec<u8>,
    },
    /// Transmit a complete Ethernet frame on one port, past the transmit table: probes, learning frames, LACP.
    SendOnPort {
        /// The port.
        port: PortId,
        /// The frame from destination address on, without FCS.
        frame: Vec<u8>,
    },
    /// What the data path may answer a partner of LACP on this port while the daemon is late, stopped or dead; `None` for
    /// nothing any more.
    SetStandingAnswer {
        /// The port.
        port: PortId,
        /// The answer.
        answer: Option<StandingAnswer>,
    },
    /// Let the system repeat its multicast group reports (IGMP and MLD) through the bond.
    RejoinMulticast,
    /// Say which stations are reached through the bond, by [`crate::input::Input::Guests`].
    ListGuests,
    /// Give a port this address.
    SetPortMac {
        /// The port.
        port: PortId,
        /// Its new address.
        mac: MacAddr,
    },
    /// Give the bond's front device this address.
    SetBondMac {
        /// Its new address.
        mac: MacAddr,
    },
    /// Set the carrier of the bond's front device.
    SetCarrier {
        /// Whether the bond can carry traffic.
        up: bool,
        /// Why it changed.
        cause: Cause,
    },
    /// Tell whoever listens.
    Event(Event),
}
