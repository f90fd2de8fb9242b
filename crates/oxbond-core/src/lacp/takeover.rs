//! A port whose partner another implementation has come to terms with: it goes on without a word that the partner would not
//! have heard from that one.

use oxbond_wire::lacp::{Information, State as Flags};
use serde::{Deserialize, Serialize};

use super::port::{Joining, Selected};
use super::selection::LagId;
use super::{Context, Lacp, actor_flags, mux, receive};
use crate::port::PortId;
use crate::time::Instant;

/// What both ends of a link have said of themselves last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// Our end.
    pub actor: Information,
    /// The partner.
    pub partner: Information,
    /// Number of the aggregator.
    pub aggregator: u16,
}

/// Our end carries traffic with its partner's consent.
const CARRIES: [Flags; 3] = [Flags::AGGREGATION, Flags::SYNC, Flags::COLLECTING];

impl Lacp {
    /// As [`Lacp::add_port`], for a link that carries traffic already by what was agreed. One that we would speak of in other
    /// words (another number, key, system or flag), or that is not in sync, joins as any other: the partner hears of it
    /// then.
    pub fn take_over(
        &mut self,
        now: Instant,
        id: PortId,
        joining: Joining,
        agreed: &Agreed,
    ) -> bool {
        self.push(now, id, joining);
        let (config, outcome) = (&self.config, agreed.actor.state);
        let coupled = config.coupled_control;
        let Some(port) = self.ports.iter_mut().find(|port| port.id == id) else {
            return false;
        };
        let state = match outcome.has(Flags::DISTRIBUTING) {
            _ if coupled => mux::State::CollectingDistributing,
            true => mux::State::Distributing,
            false => mux::State::Collecting,
        };
        let carried = Flags::SYNC | Flags::COLLECTING;
        let actor = (Flags::AGGREGATION | actor_flags(config))
            .with(carried, true)
            .with(Flags::DISTRIBUTING, state.distributes());
        let before = port.clone();
        port.actor = actor;
        let in_sync = agreed.partner.state.has(Flags::SYNC)
            && agreed.partner.state.has(Flags::AGGREGATION)
            && !agreed.partner.state.has(Flags::EXPIRED);
        let as_said = port.information(config) == agreed.actor
            && CARRIES.iter().all(|flag| outcome.has(*flag));
        if !port.speaks() || !in_sync || !as_said {
            *port = before;
            return false;
        }
        port.partner = agreed.partner;
        port.echo = Some(agreed.actor);
        port.selected = Selected::Selected;
        port.aggregator = Some((agreed.aggregator, LagId::of(port)));
        port.mux.state = state;
        receive::hear(port, &Context { now, config });
        self.active.get_or_insert(agreed.aggregator);
        true
    }
}
