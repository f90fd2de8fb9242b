//! Which ports have a standing answer ([`crate::standing`]): those that distribute by agreement with a partner that is heard.

use oxbond_wire::lacp::{Information, State as Flags};

use super::Context;
use super::mux;
use super::periodic;
use super::port::Port;
use super::transmit;
use crate::standing::{GRACE, LONGEST, StandingAnswer};

/// Who we are and whom we know at the other end, if the data path may confirm it on our behalf.
pub(super) fn agreed(port: &Port, context: &Context<'_>) -> Option<(Information, Information)> {
    let stands = mux::State::distributes(port.mux.state)
        && port.is_current()
        && port.periodic.state != periodic::State::Off;
    // Of the partner's flags those that it may change by itself are filled in from its PDU.
    let lasting = Flags::SYNC | Flags::AGGREGATION;
    let partner = Information {
        state: Flags(port.partner.state.0 & lasting.0),
        ..port.partner
    };
    (stands && port.partner.state.has(Flags::SYNC))
        .then(|| (port.information(context.config), partner))
}

/// The answer, valid from now on.
pub(super) fn answer(port: &Port, context: &Context<'_>) -> StandingAnswer {
    StandingAnswer {
        frame: transmit::pdu(port, context).frame(port.mac),
        from: port.periodic.timer.unwrap_or(context.now) + GRACE,
        until: context.now + LONGEST,
    }
}
