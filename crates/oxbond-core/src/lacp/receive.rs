//! The Receive machine (802.1AX-2014, 6.4.12): what we know of the partner, and whether it is current.
//!
//! | from | when | to |
//! |---|---|---|
//! | INITIALIZE | at once | PORT_DISABLED |
//! | PORT_DISABLED | the partner's port appeared on another of our ports (port_moved) | INITIALIZE |
//! | PORT_DISABLED | link up, LACP enabled | EXPIRED |
//! | PORT_DISABLED | link up, LACP not enabled (half duplex) | LACP_DISABLED |
//! | LACP_DISABLED | LACP enabled | PORT_DISABLED |
//! | EXPIRED, DEFAULTED, CURRENT | LACP not enabled | PORT_DISABLED |
//! | EXPIRED, DEFAULTED, CURRENT | LACPDU | CURRENT |
//! | EXPIRED | current_while over | DEFAULTED |
//! | CURRENT | current_while over | EXPIRED |
//! | any but INITIALIZE, PORT_DISABLED | link down | PORT_DISABLED |
//!
//! The standard leaves LACP_DISABLED and enters it by BEGIN; going by PORT_DISABLED has the same effect and keeps the
//! other machines running.

use core::time::Duration;

use oxbond_wire::lacp::{Information, Lacpdu, State as Flags};
use serde::{Deserialize, Serialize};

use super::Context;
use super::config::NO_PARTNER;
use super::port::{Port, Selected};
use crate::time::Instant;

/// Short_Timeout_Time (6.4.4): three PDUs at one a second.
pub(super) const SHORT_TIMEOUT: Duration = Duration::from_secs(3);
/// Long_Timeout_Time (6.4.4): three PDUs at one in 30 s.
pub(super) const LONG_TIMEOUT: Duration = Duration::from_secs(90);

/// State of the machine (dot3adAggPortDebugRxState).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Forgets everything.
    #[default]
    Initialize,
    /// The link is down. The partner is remembered.
    PortDisabled,
    /// The link came up, or the partner fell silent: asks for PDUs at the short timeout.
    Expired,
    /// LACP does not run on this link.
    LacpDisabled,
    /// Nobody answers.
    Defaulted,
    /// The partner is as it told.
    Current,
}

/// What decides a transition.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    link: bool,
    lacp: bool,
    moved: bool,
    due: bool,
    pdu: bool,
}

fn next(state: State, when: Conditions) -> Option<State> {
    use State::{Current, Defaulted, Expired, Initialize, LacpDisabled, PortDisabled};
    match state {
        Initialize => Some(PortDisabled),
        PortDisabled if when.moved => Some(Initialize),
        PortDisabled if !when.link => None,
        PortDisabled if when.lacp => Some(Expired),
        PortDisabled => Some(LacpDisabled),
        LacpDisabled if !when.link || when.lacp => Some(PortDisabled),
        LacpDisabled => None,
        Expired | Defaulted | Current if !when.link || !when.lacp => Some(PortDisabled),
        Expired | Defaulted | Current if when.pdu => Some(Current),
        Expired if when.due => Some(Defaulted),
        Current if when.due => Some(Expired),
        Expired | Defaulted | Current => None,
    }
}

/// The machine of one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receive {
    pub(super) state: State,
    /// current_while_timer.
    pub(super) current_while: Option<Instant>,
    /// port_moved.
    pub(super) moved: bool,
}

/// Advances by link and time. Whether anything changed.
pub(super) fn advance(port: &mut Port, context: &Context<'_>) -> bool {
    step(port, context, None)
}

/// Takes a LACPDU of another system. Whether the machine did (it does not where LACP does not run).
pub(super) fn pdu(port: &mut Port, context: &Context<'_>, pdu: &Lacpdu) -> bool {
    // A link that has just come up, and a time that has run out, come first.
    while advance(port, context) {}
    step(port, context, Some(pdu))
}

fn step(port: &mut Port, context: &Context<'_>, pdu: Option<&Lacpdu>) -> bool {
    let due = |at: Instant| at <= context.now;
    let when = Conditions {
        link: port.link.is_usable(),
        lacp: port.lacp_enabled(),
        moved: port.receive.moved,
        due: port.receive.current_while.is_some_and(due),
        pdu: pdu.is_some(),
    };
    let Some(state) = next(port.receive.state, when) else {
        return false;
    };
    port.receive.state = state;
    match state {
        State::Initialize => {
            port.selected = Selected::Unselected;
            record_default(port);
            port.actor = port.actor.with(Flags::EXPIRED, false);
            port.receive.moved = false;
        }
        State::PortDisabled => {
            set_partner_sync(port, false);
            port.receive.current_while = None;
            port.echo = None;
            port.looped = None;
        }
        State::Expired => {
            set_partner_sync(port, false);
            port.partner.state = port.partner.state.with(Flags::TIMEOUT, true);
            port.receive.current_while = Some(context.now + SHORT_TIMEOUT);
            port.actor = port.actor.with(Flags::EXPIRED, true);
            port.transmit.ntt = true;
        }
        State::LacpDisabled => {
            port.selected = Selected::Unselected;
            record_default(port);
            port.actor = port.actor.with(Flags::EXPIRED, false);
        }
        State::Defaulted => {
            // update_Default_Selected
            if !same_identity(&port.partner, &NO_PARTNER) {
                port.selected = Selected::Unselected;
                port.counters.partner_changes += 1;
            }
            record_default(port);
            port.actor = port.actor.with(Flags::EXPIRED, false);
            port.receive.current_while = None;
        }
        State::Current => {
            if let Some(pdu) = pdu {
                record(port, context, pdu);
            }
        }
    }
    true
}

/// Nobody listened for the time `late` until now: as long, but no longer than the timeout, the partner has yet to be heard.
pub(super) fn listen_on(port: &mut Port, now: Instant, late: Duration) {
    let timeout = timeout(port);
    if let Some(at) = &mut port.receive.current_while {
        *at = (*at).max(now + late.min(timeout));
    }
}

/// The partner has been heard by whoever had this port before, and is as it told.
pub(super) fn hear(port: &mut Port, context: &Context<'_>) {
    port.receive.state = State::Current;
    port.receive.current_while = Some(context.now + timeout(port));
    port.actor = port.actor.with(Flags::DEFAULTED | Flags::EXPIRED, false);
    port.heard = Some(context.now);
}

/// How long we wait for a PDU, as we have told the partner.
const fn timeout(port: &Port) -> Duration {
    if port.actor.has(Flags::TIMEOUT) {
        SHORT_TIMEOUT
    } else {
        LONG_TIMEOUT
    }
}

/// recordDefault (6.4.9).
fn record_default(port: &mut Port) {
    port.partner = NO_PARTNER;
    port.echo = None;
    port.actor = port.actor.with(Flags::DEFAULTED, true);
}

/// update_Selected, update_NTT, recordPDU and the restart of the timer (6.4.9).
fn record(port: &mut Port, context: &Context<'_>, pdu: &Lacpdu) {
    if !same_identity(&pdu.actor, &port.partner) {
        port.selected = Selected::Unselected;
        port.counters.partner_changes += 1;
    }

    let us = port.information(context.config);
    let compared = Flags::ACTIVITY | Flags::TIMEOUT | Flags::SYNC | Flags::AGGREGATION;
    let told = Flags(pdu.partner.state.0 & compared.0);
    let sees_us = same_port(&pdu.partner, &us);
    if !sees_us || told != Flags(us.state.0 & compared.0) {
        port.transmit.ntt = true;
    }

    // The aggregation flag alone of the flags is part of who we are (recordPDU).
    let knows_us =
        sees_us && pdu.partner.state.has(Flags::AGGREGATION) == us.state.has(Flags::AGGREGATION);
    if knows_us {
        port.reidentified = false;
    }
    let individual = !pdu.actor.state.has(Flags::AGGREGATION);
    let maintained = pdu.actor.state.has(Flags::ACTIVITY)
        || us.state.has(Flags::ACTIVITY) && pdu.partner.state.has(Flags::ACTIVITY);
    let sync = pdu.actor.state.has(Flags::SYNC) && (knows_us || individual) && maintained;

    let had_sync = port.partner.state.has(Flags::SYNC);
    port.partner = pdu.actor;
    port.partner.state = pdu.actor.state.with(Flags::SYNC, had_sync);
    set_partner_sync(port, sync);
    port.echo = Some(pdu.partner);
    port.looped = None;
    port.actor = port.actor.with(Flags::DEFAULTED | Flags::EXPIRED, false);
    if let Some(before) = port.heard {
        let interval = context.now.saturating_since(before);
        port.heard_intervals = [port.heard_intervals[1], interval];
    }
    port.heard = Some(context.now);
    port.receive.current_while = Some(context.now + timeout(port));
}

/// Sets Partner_Oper_Port_State.Synchronization and counts its rise.
pub(super) fn set_partner_sync(port: &mut Port, sync: bool) {
    if sync && !port.partner.state.has(Flags::SYNC) {
        port.counters.partner_sync_transitions += 1;
    }
    port.partner.state = port.partner.state.with(Flags::SYNC, sync);
}

/// The same port of the same system with the same key: flags aside.
pub(super) fn same_port(a: &Information, b: &Information) -> bool {
    let flags_aside = |information: &Information| Information {
        state: Flags(0),
        ..*information
    };
    flags_aside(a) == flags_aside(b)
}

/// The same port, as well able to aggregate: what must stay the same for a port to stay selected.
fn same_identity(a: &Information, b: &Information) -> bool {
    same_port(a, b) && a.state.has(Flags::AGGREGATION) == b.state.has(Flags::AGGREGATION)
}
