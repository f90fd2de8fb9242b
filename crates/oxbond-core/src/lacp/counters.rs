//! What each port counted: IEEE8023-LAG-MIB (802.1AX-2014, annex D and 7.3.3, 7.3.4), and what was refused, by reason.

use serde::{Deserialize, Serialize};

/// Counters of one port since it joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// dot3adAggPortStatsLACPDUsRx: LACPDUs that the receive machine took.
    pub lacpdus_rx: u64,
    /// dot3adAggPortStatsMarkerPDUsRx.
    pub marker_rx: u64,
    /// dot3adAggPortStatsMarkerResponsePDUsRx.
    pub marker_response_rx: u64,
    /// dot3adAggPortStatsUnknownRx: slow protocol frames of a legal subtype that is not ours, or Marker PDUs of an unknown
    /// kind.
    pub unknown_rx: u64,
    /// dot3adAggPortStatsIllegalRx: slow protocol frames of an illegal subtype, or badly formed.
    pub illegal_rx: u64,
    /// dot3adAggPortStatsLACPDUsTx.
    pub lacpdus_tx: u64,
    /// dot3adAggPortStatsMarkerPDUsTx.
    pub marker_tx: u64,
    /// dot3adAggPortStatsMarkerResponsePDUsTx.
    pub marker_response_tx: u64,
    /// Frames and PDUs that were not processed, by reason.
    pub refused: Refused,
    /// dot3adAggPortDebugActorSyncTransitionCount: times our Sync became true.
    pub actor_sync_transitions: u64,
    /// dot3adAggPortDebugPartnerSyncTransitionCount: times the partner's Sync became true.
    pub partner_sync_transitions: u64,
    /// dot3adAggPortDebugActorChangeCount: times our own information brought the port into another aggregation.
    pub actor_changes: u64,
    /// dot3adAggPortDebugPartnerChangeCount: times the partner's did.
    pub partner_changes: u64,
}

/// Frames that were not processed. The first three are among [`Counters::illegal_rx`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Subtype 0 or above 10.
    pub subtype: u64,
    /// Shorter than its fields.
    pub truncated: u64,
    /// A TLV has a length that it cannot have.
    pub tlv_length: u64,
    /// In a VLAN or priority tagged.
    pub tagged: u64,
    /// Not to the group of the slow protocols, or of another type, or no Ethernet frame at all.
    pub not_slow: u64,
    /// The port's link is down, or LACP does not run on it (half duplex).
    pub port_disabled: u64,
    /// Sent by our own system: a looped cable, or another system with our identity.
    pub own_system: u64,
    /// Markers that came too fast to be answered.
    pub marker_rate: u64,
}
