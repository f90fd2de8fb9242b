//! Taking a port out of the traffic without losing a frame.
//!
//! | from | when | to | on entering |
//! |---|---|---|---|
//! | No | asked to, port carries traffic | Leaving | not distributing, Sync off (the partner is told), a marker is sent; still collecting |
//! | No | asked to, port carries none | Out | standby |
//! | Leaving | marker answered or given up, and the partner does not distribute any more; or 2 s over; or link lost | Out | standby |
//! | Leaving, Out | asked back | No | |
//!
//! The partner's Distributing flag tells that it sends nothing any more, and nothing overtakes the PDU that carries it.

use core::time::Duration;

use oxbond_wire::lacp::State as Flags;
use serde::{Deserialize, Serialize};

use super::Context;
use super::port::Port;
use crate::time::Instant;

/// Longest time a port takes to leave: a partner that ignores our Sync must not hold it.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How far a port is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drain {
    /// It takes part.
    #[default]
    No,
    /// It sends nothing any more and collects what is under way.
    Leaving {
        /// When it goes at the latest.
        until: Instant,
    },
    /// It carries nothing and can be detached.
    Out,
}

/// Begins. Whether a marker is to be sent now.
pub(super) fn begin(port: &mut Port, context: &Context<'_>) -> bool {
    if port.drain != Drain::No {
        return false;
    }
    if !port.mux.state.collects() {
        port.drain = Drain::Out;
        return false;
    }
    port.drain = Drain::Leaving {
        until: context.now + PATIENCE,
    };
    port.actor = port.actor.with(Flags::SYNC, false);
    port.transmit.ntt = true;
    port.mux.state.distributes()
}

/// Advances by what the partner says, and by time. Whether it is out now.
pub(super) fn advance(port: &mut Port, context: &Context<'_>) -> bool {
    let Drain::Leaving { until } = port.drain else {
        return false;
    };
    let partner_stopped = port.is_current()
        && !port.partner.state.has(Flags::DISTRIBUTING)
        && !port.marking.is_open();
    let done = partner_stopped || until <= context.now || !port.mux.state.collects();
    if done {
        port.drain = Drain::Out;
    }
    done
}
