//! The Mux machine (802.1AX-2014, 6.4.15): from a selected aggregator, step by step with the partner, to traffic.
//!
//! Independent control, our default (figure 6-22):
//!
//! | from | when | to |
//! |---|---|---|
//! | DETACHED | selected or standby | WAITING |
//! | WAITING | unselected | DETACHED |
//! | WAITING | selected and ready | ATTACHED |
//! | ATTACHED | not selected | DETACHED |
//! | ATTACHED | partner in sync | COLLECTING |
//! | COLLECTING | not selected, or partner not in sync | ATTACHED |
//! | COLLECTING | partner collects | DISTRIBUTING |
//! | DISTRIBUTING | not selected, partner not in sync or not collecting | COLLECTING |
//!
//! Coupled control (figure 6-21):
//!
//! | from | when | to |
//! |---|---|---|
//! | ATTACHED | partner in sync | COLLECTING_DISTRIBUTING |
//! | COLLECTING_DISTRIBUTING | not selected, or partner not in sync | ATTACHED |
//!
//! A partner that shows Expired, because it does not hear us any more, keeps showing Sync for 3 s. Independent control sees
//! that it does not collect; coupled control does not look at that, so there we count it as not in sync (ours).
//!
//! When the control is changed while a port carries traffic, COLLECTING and DISTRIBUTING become COLLECTING_DISTRIBUTING and
//! that becomes DISTRIBUTING.
//!
//! A port that is being drained (ours) goes back to COLLECTING from either, shows no Sync any more so that the partner
//! stops sending, and collects what is under way.

use core::time::Duration;

use oxbond_wire::lacp::State as Flags;
use serde::{Deserialize, Serialize};

use super::Context;
use super::port::{Port, Selected};
use crate::time::Instant;

/// Aggregate_Wait_Time (6.4.4).
const AGGREGATE_WAIT: Duration = Duration::from_secs(2);

/// State of the machine (dot3adAggPortDebugMuxState).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// In no aggregator.
    #[default]
    Detached,
    /// Waits for other ports of its aggregator, or stands by.
    Waiting,
    /// In its aggregator; no traffic.
    Attached,
    /// Delivers what arrives.
    Collecting,
    /// Delivers and sends.
    Distributing,
    /// The same, coupled.
    CollectingDistributing,
}

impl State {
    /// What arrives is delivered.
    pub const fn collects(self) -> bool {
        matches!(
            self,
            Self::Collecting | Self::Distributing | Self::CollectingDistributing
        )
    }

    /// Traffic is sent.
    pub const fn distributes(self) -> bool {
        matches!(self, Self::Distributing | Self::CollectingDistributing)
    }

    /// It is in its aggregator.
    pub const fn is_attached(self) -> bool {
        !matches!(self, Self::Detached | Self::Waiting)
    }
}

/// The machine of one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mux {
    pub(super) state: State,
    /// wait_while_timer.
    pub(super) wait_while: Option<Instant>,
    /// Ready_N: it has run out.
    pub(super) ready_n: bool,
}

/// What decides a transition.
#[derive(Clone, Copy, Debug)]
struct Conditions {
    selected: Selected,
    ready: bool,
    partner_sync: bool,
    partner_collecting: bool,
    partner_expired: bool,
    coupled: bool,
    leaving: bool,
}

fn next(state: State, when: Conditions) -> Option<State> {
    use State::{Attached, Collecting, CollectingDistributing, Detached, Distributing, Waiting};
    let selected = when.selected == Selected::Selected;
    let linked = selected && when.partner_sync && !(when.coupled && when.partner_expired);
    match state {
        Detached => (when.selected != Selected::Unselected).then_some(Waiting),
        Waiting if when.selected == Selected::Unselected => Some(Detached),
        Waiting => (selected && when.ready).then_some(Attached),
        Attached if !selected => Some(Detached),
        Attached if !linked || when.leaving => None,
        Attached if when.coupled => Some(CollectingDistributing),
        Attached => Some(Collecting),
        Collecting if !linked => Some(Attached),
        Collecting if when.leaving => None,
        Collecting if when.coupled => Some(CollectingDistributing),
        Collecting => when.partner_collecting.then_some(Distributing),
        Distributing | CollectingDistributing if when.leaving => Some(Collecting),
        CollectingDistributing if !linked => Some(Attached),
        CollectingDistributing => (!when.coupled).then_some(Distributing),
        Distributing if linked && when.coupled => Some(CollectingDistributing),
        Distributing => (!linked || !when.partner_collecting).then_some(Collecting),
    }
}

/// Advances by selection, partner and `ready` (Ready, 6.4.8, as the selection logic gives it). Whether anything changed.
pub(super) fn advance(port: &mut Port, context: &Context<'_>, ready: bool) -> bool {
    if port.mux.wait_while.is_some_and(|end| end <= context.now) {
        port.mux.wait_while = None;
        port.mux.ready_n = true;
        return true;
    }
    let when = Conditions {
        selected: port.selected,
        ready,
        partner_sync: port.partner.state.has(Flags::SYNC),
        partner_collecting: port.partner.state.has(Flags::COLLECTING),
        partner_expired: port.partner.state.has(Flags::EXPIRED),
        coupled: context.config.coupled_control,
        leaving: port.is_leaving(),
    };
    let Some(state) = next(port.mux.state, when) else {
        return false;
    };
    port.mux.state = state;
    port.mux.wait_while = (state == State::Waiting).then(|| context.now + AGGREGATE_WAIT);
    port.mux.ready_n = false;
    let sync = state.is_attached() && !when.leaving;
    if sync && !port.actor.has(Flags::SYNC) {
        port.counters.actor_sync_transitions += 1;
    }
    let before = port.actor;
    port.actor = port
        .actor
        .with(Flags::SYNC, sync)
        .with(Flags::COLLECTING, state.collects())
        .with(Flags::DISTRIBUTING, state.distributes());
    // Entering DISTRIBUTING alone tells nothing that a partner acts on: the figure has no NTT there.
    let told = Flags::SYNC | Flags::COLLECTING;
    port.transmit.ntt |= (before.0 ^ port.actor.0) & told.0 != 0;
    true
}
