//! The Periodic Transmission machine (802.1AX-2014, 6.4.13): PDUs as often as the partner asked for them.
//!
//! | from | when | to |
//! |---|---|---|
//! | any | link down, LACP not enabled, or both ends passive | NO_PERIODIC |
//! | NO_PERIODIC | at once | FAST_PERIODIC |
//! | FAST_PERIODIC | the partner's timeout is long | SLOW_PERIODIC |
//! | FAST_PERIODIC, SLOW_PERIODIC | its timer is over | PERIODIC_TX |
//! | SLOW_PERIODIC | the partner's timeout is short | PERIODIC_TX |
//! | PERIODIC_TX | at once, by the partner's timeout | FAST_PERIODIC, SLOW_PERIODIC |
//!
//! PERIODIC_TX takes no time and is no [`State`].

use core::time::Duration;

use oxbond_wire::lacp::State as Flags;
use serde::{Deserialize, Serialize};

use super::Context;
use super::port::Port;
use crate::time::Instant;

/// Fast_Periodic_Time (6.4.4).
const FAST: Duration = Duration::from_secs(1);
/// Slow_Periodic_Time (6.4.4).
const SLOW: Duration = Duration::from_secs(30);

/// State of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// NO_PERIODIC: nothing is sent.
    #[default]
    Off,
    /// FAST_PERIODIC: every second.
    Fast,
    /// SLOW_PERIODIC: every 30 seconds.
    Slow,
}

/// The machine of one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Periodic {
    pub(super) state: State,
    /// periodic_timer.
    pub(super) timer: Option<Instant>,
}

/// Where to go, and whether by PERIODIC_TX.
fn next(state: State, silent: bool, short: bool, due: bool) -> Option<(State, bool)> {
    use State::{Fast, Off, Slow};
    let by_timeout = if short { Fast } else { Slow };
    match state {
        Off => (!silent).then_some((by_timeout, false)),
        Fast | Slow if silent => Some((Off, false)),
        Fast | Slow if due => Some((by_timeout, true)),
        Fast if !short => Some((Slow, false)),
        Slow if short => Some((Fast, true)),
        Fast | Slow => None,
    }
}

/// Advances by what is known of the partner and by time.
pub(super) fn advance(port: &mut Port, context: &Context<'_>) {
    let passive = |flags: Flags| !flags.has(Flags::ACTIVITY);
    let silent = !port.speaks() || passive(port.actor) && passive(port.partner.state);
    let short = port.partner.state.has(Flags::TIMEOUT);
    let due = port.periodic.timer.is_some_and(|at| at <= context.now);
    let Some((state, transmit)) = next(port.periodic.state, silent, short, due) else {
        return;
    };
    port.periodic.state = state;
    port.periodic.timer = match state {
        State::Off => None,
        State::Fast => Some(context.now + FAST),
        State::Slow => Some(context.now + SLOW),
    };
    port.transmit.ntt |= transmit;
}
