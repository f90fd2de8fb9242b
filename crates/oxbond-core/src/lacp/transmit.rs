//! The Transmit machine (802.1AX-2014, 6.4.16): sends when something is to be told, at once, at most three times in a
//! second.
//!
//! | when | then |
//! |---|---|
//! | LACP does not run, or NO_PERIODIC (both ends passive) | nothing is to be told (NTT false) |
//! | NTT, fewer than three sent in the last Fast_Periodic_Time | one PDU with what is true now |
//! | NTT, three sent | the same as soon as the oldest is a second old |
//! | NTT on a port that waits for other ports of its aggregator | the same when it attaches, at the latest after [`HOLD`] |
//!
//! The last is ours: links that come up together hear their partners within milliseconds of each other. A PDU that says
//! "waiting" in between would be one of the three, and the one that says "collecting" would be a second late.

use core::time::Duration;

use oxbond_wire::lacp::{Lacpdu, VERSION};
use serde::{Deserialize, Serialize};

use super::Context;
use super::limit::Limit;
use super::mux;
use super::periodic;
use super::port::{Port, Selected};
use crate::time::Instant;

/// Longest time that a waiting port keeps to itself what is to be told.
const HOLD: Duration = Duration::from_millis(50);

/// Most LACPDUs in one second.
const MOST: usize = 3;

/// The machine of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Transmit {
    /// NTT: something is to be told.
    pub(super) ntt: bool,
    /// Since when.
    since: Option<Instant>,
    sent: Limit,
}

/// When the port may tell what is to be told.
pub(super) fn deadline(port: &Port) -> Option<Instant> {
    let waits = port.mux.state == mux::State::Waiting
        && port.selected == Selected::Selected
        && port.is_current()
        && !port.reidentified;
    let held = port.transmit.since.filter(|_| waits);
    let held = held.map_or(Instant::ZERO, |since| since + HOLD);
    let ntt = port.transmit.ntt;
    ntt.then(|| port.transmit.sent.free_at(MOST).max(held))
}

/// The frame to be sent now, if any.
pub(super) fn advance(port: &mut Port, context: &Context<'_>) -> Option<Vec<u8>> {
    if port.periodic.state == periodic::State::Off {
        port.transmit.ntt = false;
    }
    if port.transmit.ntt {
        port.transmit.since.get_or_insert(context.now);
    } else {
        port.transmit.since = None;
    }
    let may = deadline(port).is_some_and(|at| at <= context.now);
    if !may || !port.transmit.sent.admit(context.now, MOST) {
        return None;
    }
    port.transmit.ntt = false;
    port.transmit.since = None;
    Some(frame(port, context))
}

/// The PDU that tells what is true now.
pub(super) fn frame(port: &mut Port, context: &Context<'_>) -> Vec<u8> {
    port.counters.lacpdus_tx += 1;
    pdu(port, context).frame(port.mac)
}

/// The same, not counted.
pub(super) fn pdu(port: &Port, context: &Context<'_>) -> Lacpdu {
    Lacpdu {
        version: VERSION,
        actor: port.information(context.config),
        partner: port.partner,
        collector_max_delay: context.config.collector_max_delay,
    }
}
