//! Link aggregation by LACP (IEEE 802.1AX-2014, clauses 6.3 to 6.5), as a machine of its own.
//!
//! A [`Lacp`] holds the ports of one bond in mode 802.3ad. It is told what happens to them ([`Lacp::link`],
//! [`Lacp::received`]) and the time, and says what to send ([`Lacp::poll`]), which ports deliver
//! ([`Lacp::collecting`]) and which may send ([`Lacp::distributing`]):
//!
//! ```text
//!   link, LACPDU, time ──► receive ──► selection ──► mux ──► collecting, distributing
//!                             │            ▲           │
//!                             │          churn         ├──► transmit ──► frames
//!                             └─► periodic ────────────┘
//! ```
//!
//! Each machine is a module with its transition table. Every call runs them until none moves any more, so a PDU is
//! answered in the call that brings it. Serialising a [`Lacp`] takes a snapshot; read back, it continues where it stood.
//!
//! Clause numbers are those of 802.1AX-2014; the version of the protocol is 1.

mod churn;
mod config;
mod counters;
mod drain;
mod event;
mod fallback;
mod key;
mod limit;
mod marker;
mod mux;
mod periodic;
mod port;
mod reason;
mod receive;
mod selection;
mod standing;
mod status;
mod takeover;
mod transmit;

use core::time::Duration;
use std::collections::VecDeque;

use oxbond_wire::ethernet::{EtherType, Header};
use oxbond_wire::lacp::{Lacpdu, State as Flags};
use oxbond_wire::marker::{Kind, Marker};
use oxbond_wire::slow::{GROUP, Subtype};
use oxbond_wire::{DecodeError, MacAddr};
use serde::{Deserialize, Serialize};

pub use self::churn::State as ChurnState;
pub use self::config::{Config, NO_PARTNER};
pub use self::counters::{Counters, Refused};
pub use self::drain::Drain;
pub use self::event::Event;
pub use self::key::{Numbering, actor_key};
pub use self::mux::State as MuxState;
pub use self::port::{Joining, Selected};
use self::port::{Looped, Port};
pub use self::reason::{Difference, Reason};
pub use self::receive::State as ReceiveState;
pub use self::status::{AggregatorStatus, Participant, PortStatus, Status};
pub use self::takeover::Agreed;
pub use crate::option::Fallback;
use crate::option::LacpRate;
use crate::port::{LinkState, PortId};
use crate::standing::{LONGEST, StandingAnswer};
use crate::time::Instant;

/// How late the machines must be called for it to count as an absence.
const ABSENCE: Duration = Duration::from_millis(500);

/// One thing to do or to tell, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Transmit a complete Ethernet frame on a port, at control priority.
    Send {
        /// The port.
        port: PortId,
        /// The frame from destination address on, without FCS.
        frame: Vec<u8>,
    },
    /// Let the data path answer this port's partner in our place, or no longer.
    Standing {
        /// The port.
        port: PortId,
        /// The answer.
        answer: Option<StandingAnswer>,
    },
    /// [`Lacp::collecting`] or [`Lacp::distributing`] answer differently now.
    Changed,
    /// Tell whoever listens.
    Event(Event),
}

/// What every machine is given beside its port.
struct Context<'a> {
    now: Instant,
    config: &'a Config,
}

/// The link aggregation of one bond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacp {
    config: Config,
    /// In list order.
    ports: Vec<Port>,
    /// Number of the active aggregator.
    active: Option<u16>,
    alone: fallback::Alone,
    /// Number of the last marker.
    transaction: u32,
    /// Ports that collect, and that distribute, as told.
    carrying: (Vec<PortId>, Vec<PortId>),
    outputs: VecDeque<Output>,
}

impl Lacp {
    /// A bond without ports.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            ports: Vec::new(),
            active: None,
            alone: fallback::Alone::default(),
            transaction: 0,
            carrying: (Vec::new(), Vec::new()),
            outputs: VecDeque::new(),
        }
    }

    /// Joins a port. One that is in the bond already is left as it is.
    pub fn add_port(&mut self, now: Instant, id: PortId, joining: Joining) {
        if self.port(id).is_none() {
            self.push(now, id, joining);
            self.settle(now);
        }
    }

    fn push(&mut self, now: Instant, id: PortId, joining: Joining) {
        let key = actor_key(
            self.config.ad_user_port_key,
            &joining.link,
            self.config.key_numbering,
        );
        self.ports.push(Port {
            id,
            mac: joining.mac,
            priority: joining.priority,
            link: joining.link,
            key,
            actor: Flags::AGGREGATION | Flags::DEFAULTED | actor_flags(&self.config),
            partner: NO_PARTNER,
            echo: None,
            reidentified: false,
            selected: Selected::default(),
            aggregator: None,
            receive: receive::Receive::default(),
            periodic: periodic::Periodic::default(),
            mux: mux::Mux::default(),
            transmit: transmit::Transmit::default(),
            actor_churn: churn::Churn::default(),
            partner_churn: churn::Churn::default(),
            marking: marker::Marking::default(),
            drain: Drain::default(),
            counters: Counters::default(),
            heard: None,
            heard_intervals: [Duration::ZERO; 2],
            link_since: now,
            looped: None,
            standing: None,
            told: event::Told::default(),
        });
    }

    /// Takes a port out. The partner is told that the link is no part of an aggregate any more. Drain it first
    /// ([`Lacp::drain`]) if nothing is to be lost.
    pub fn remove_port(&mut self, now: Instant, id: PortId) {
        let Some(at) = self.ports.iter().position(|port| port.id == id) else {
            return;
        };
        let mut gone = self.ports.remove(at);
        if gone.standing.is_some() {
            self.outputs.push_back(Output::Standing {
                port: id,
                answer: None,
            });
        }
        if gone.periodic.state != periodic::State::Off {
            let carried =
                Flags::SYNC | Flags::COLLECTING | Flags::DISTRIBUTING | Flags::AGGREGATION;
            gone.actor = gone.actor.with(carried, false);
            let context = Context {
                now,
                config: &self.config,
            };
            let frame = transmit::frame(&mut gone, &context);
            self.outputs.push_back(Output::Send { port: id, frame });
        }
        self.settle(now);
    }

    /// The link of a port, by event or by poll. Repeating what is known changes nothing.
    pub fn link(&mut self, now: Instant, id: PortId, link: LinkState) {
        let Some(port) = self.ports.iter_mut().find(|port| port.id == id) else {
            return;
        };
        if port.link.is_usable() != link.is_usable() {
            port.link_since = now;
        }
        port.link = link;
        self.identify();
        self.settle(now);
    }

    /// Changes the options. The machines go on with them; ports whose key or system changes are selected anew.
    pub fn configure(&mut self, now: Instant, config: Config) {
        let before = core::mem::replace(&mut self.config, config);
        let config = &self.config;
        let system = |config: &Config| (config.ad_actor_sys_prio, config.system());
        let flags = actor_flags(config);
        for port in &mut self.ports {
            if system(&before) != system(config) {
                reidentify(port);
            }
            let actor = port.actor.with(Flags::ACTIVITY | Flags::TIMEOUT, false) | flags;
            port.transmit.ntt |=
                actor != port.actor || before.collector_max_delay != config.collector_max_delay;
            port.actor = actor;
        }
        self.identify();
        self.settle(now);
    }

    /// The options in force.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Changes the priority of a port.
    pub fn set_priority(&mut self, now: Instant, id: PortId, priority: u16) {
        if let Some(port) = self.port_mut(id)
            && port.priority != priority
        {
            port.priority = priority;
            port.transmit.ntt = true;
            self.settle(now);
        }
    }

    /// A frame that arrived on a port, from the destination address on. What is no slow protocol, or is malformed, is
    /// counted and changes nothing.
    pub fn received(&mut self, now: Instant, id: PortId, frame: &[u8]) {
        // Timers that ran out before the frame came.
        self.handle_timeout(now);
        let Some(at) = self.ports.iter().position(|port| port.id == id) else {
            return;
        };
        let refused = &mut self.ports[at].counters.refused;
        let (source, pdu) = match Header::parse(frame) {
            Ok((header, _)) if !header.tags.is_empty() => {
                refused.tagged += 1;
                return;
            }
            Ok((header, pdu))
                if header.ether_type == EtherType::SlowProtocols && header.destination == GROUP =>
            {
                (header.source, pdu)
            }
            _ => {
                refused.not_slow += 1;
                return;
            }
        };
        let result = match Subtype::parse(pdu) {
            Ok(Subtype::Lacp) => Lacpdu::parse(pdu).map(|pdu| self.lacpdu(now, at, source, &pdu)),
            Ok(Subtype::Marker) => Marker::parse(pdu).map(|marker| self.marker(now, at, &marker)),
            Ok(Subtype::Unknown(_)) => {
                self.ports[at].counters.unknown_rx += 1;
                Ok(())
            }
            Ok(Subtype::Illegal(_)) => {
                self.ports[at].counters.illegal_rx += 1;
                self.ports[at].counters.refused.subtype += 1;
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            let counters = &mut self.ports[at].counters;
            counters.illegal_rx += 1;
            match error {
                DecodeError::Truncated { .. } => counters.refused.truncated += 1,
                _ => counters.refused.tlv_length += 1,
            }
        }
        self.settle(now);
    }

    fn lacpdu(&mut self, now: Instant, at: usize, source: MacAddr, pdu: &Lacpdu) {
        // Two systems with one id number their ports alike, so the number alone says nothing.
        let ours = |port: &Port| port.mac == source && port.number() == pdu.actor.port;
        let sent_by_us = self.ports.iter().any(ours);
        let context = Context {
            now,
            config: &self.config,
        };
        let port = &mut self.ports[at];
        if !port.speaks() {
            port.counters.refused.port_disabled += 1;
            return;
        }
        if pdu.actor.system == self.config.system() {
            // Neither recorded nor a sign of life: who is at the other end is not known.
            port.counters.refused.own_system += 1;
            let looped = if sent_by_us {
                Looped::Port(pdu.actor.port)
            } else {
                Looped::System
            };
            port.looped = Some((looped, now));
            return;
        }
        port.counters.lacpdus_rx += 1;
        receive::pdu(port, &context, pdu);
        // port_moved (6.4.8): the partner's port was plugged over.
        let (partner, moved) = (port.partner, port.has_partner());
        for (other, port) in self.ports.iter_mut().enumerate() {
            let same = (port.partner.system, port.partner.port) == (partner.system, partner.port);
            if other != at && moved && same {
                port.receive.moved = port.receive.state == receive::State::PortDisabled;
            }
        }
    }

    fn marker(&mut self, now: Instant, at: usize, marker: &Marker) {
        let port = &mut self.ports[at];
        let id = port.id;
        match marker.kind {
            Kind::Information => {
                port.counters.marker_rx += 1;
                let Some(answer) = port.marking.answer(now, marker) else {
                    port.counters.refused.marker_rate += 1;
                    return;
                };
                port.counters.marker_response_tx += 1;
                let frame = answer.frame(port.mac);
                self.outputs.push_back(Output::Send { port: id, frame });
            }
            Kind::Response => {
                port.counters.marker_response_rx += 1;
                let us = port.information(&self.config);
                if let Some(transaction) = port.marking.answered(&us, marker) {
                    self.outputs.push_back(Output::Event(Event::Flushed {
                        port: id.into(),
                        transaction,
                        answered: true,
                    }));
                }
            }
            Kind::Unknown(_) => port.counters.unknown_rx += 1,
        }
    }

    /// Asks the partner to say when it has received all that was sent on a port so far: [`Event::Flushed`] with the number
    /// returned tells, at the latest after a second. `None`, and nothing is sent, if the link is down or five were asked
    /// within the last second.
    pub fn flush(&mut self, now: Instant, id: PortId) -> Option<u32> {
        let transaction = self.transaction.wrapping_add(1);
        let us = self.port(id)?.information(&self.config);
        let port = self.ports.iter_mut().find(|port| port.id == id)?;
        if !port.link.is_usable() {
            return None;
        }
        let marker = port.marking.ask(now, &us, transaction)?;
        port.counters.marker_tx += 1;
        let frame = marker.frame(port.mac);
        self.transaction = transaction;
        self.outputs.push_back(Output::Send { port: id, frame });
        Some(transaction)
    }

    /// Begins to take a port out of the traffic: [`Event::Drained`] tells when nothing is on it any more, at the latest
    /// after two seconds. Afterwards it stands by.
    pub fn drain(&mut self, now: Instant, id: PortId) {
        let context = Context {
            now,
            config: &self.config,
        };
        let Some(port) = self.ports.iter_mut().find(|port| port.id == id) else {
            return;
        };
        let was = port.drain;
        let mark = drain::begin(port, &context);
        let out = was == Drain::No && port.drain == Drain::Out;
        self.settle(now);
        if out {
            let event = Event::Drained { port: id.into() };
            self.outputs.push_back(Output::Event(event));
        }
        if mark {
            // After the table no longer has the port: what is sent on it before is what the marker is about.
            self.flush(now, id);
        }
    }

    /// Lets a drained port take part again.
    pub fn undrain(&mut self, now: Instant, id: PortId) {
        if let Some(port) = self.port_mut(id)
            && port.drain != Drain::No
        {
            port.drain = Drain::No;
            // It showed no Sync while it left.
            port.selected = Selected::Unselected;
            self.settle(now);
        }
    }

    /// Does what is due by `now`. Calling it early or again does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_timeout().is_some_and(|due| due <= now) {
            self.settle(now);
        }
    }

    /// When [`Lacp::handle_timeout`] has something to do, `None` for never.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let timers = |port: &Port| {
            let leaving = match port.drain {
                Drain::Leaving { until } => Some(until),
                Drain::No | Drain::Out => None,
            };
            [
                port.receive.current_while,
                port.periodic.timer,
                port.mux.wait_while,
                transmit::deadline(port),
                port.actor_churn.timer,
                port.partner_churn.timer,
                port.marking.deadline(),
                leaving,
            ]
        };
        let waits = self.alone.at.filter(|_| self.alone.ports.is_empty());
        let ports = self.ports.iter().flat_map(timers).flatten();
        ports.chain(waits).min()
    }

    /// The next thing to do, in order. `None` until the next call that takes the time.
    #[must_use]
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Ports whose frames are delivered, in list order.
    pub fn collecting(&self) -> &[PortId] {
        &self.carrying.0
    }

    /// Ports that may send, in list order.
    pub fn distributing(&self) -> &[PortId] {
        &self.carrying.1
    }

    /// Ports that carry traffic without a partner.
    pub fn fallback(&self) -> &[PortId] {
        &self.alone.ports
    }

    /// One port carries traffic without a partner, and any other could take its place.
    pub fn carries_alone(&self) -> bool {
        let (policy, _) = self.config.effective_fallback();
        policy == Fallback::ActiveBackup && !self.alone.ports.is_empty()
    }

    /// Ports that could carry traffic without a partner, or do: none while there is one.
    pub fn could_carry(&self) -> Vec<PortId> {
        let candidates = fallback::candidates(&self.ports, &self.config);
        let of = candidates.filter(|_| !self.alone.ports.is_empty());
        of.map(|port| port.id).collect()
    }

    /// The ports, in list order.
    pub fn members(&self) -> impl Iterator<Item = PortId> + '_ {
        self.ports.iter().map(|port| port.id)
    }

    /// Whether the bond has carrier: with `lacp_strict`, at least `min_links` ports (and one) distribute. Without, it is
    /// enough, as for the driver, that so many ports of the active aggregator have a link.
    pub fn has_carrier(&self, min_links: usize) -> bool {
        let least = min_links.max(1);
        let linked = || {
            let ours = |port: &&Port| {
                port.aggregator
                    .is_some_and(|(id, _)| Some(id) == self.active)
            };
            let up = |port: &&Port| port.link.is_usable() && port.drain == Drain::No;
            self.ports.iter().filter(ours).filter(up).count()
        };
        self.distributing().len() >= least || !self.config.lacp_strict && linked() >= least
    }

    /// Number of the active aggregator.
    pub const fn active_aggregator(&self) -> Option<u16> {
        self.active
    }

    /// Why a port does not distribute by protocol; `None` if it does, or is not in the bond.
    pub fn reason(&self, now: Instant, id: PortId) -> Option<Reason> {
        let context = Context {
            now,
            config: &self.config,
        };
        reason::of(self.port(id)?, self.active_lag().as_ref(), &context)
    }

    /// The ports, in list order.
    pub fn ports(&self, now: Instant) -> Vec<PortStatus> {
        let active = self.active_lag();
        let context = Context {
            now,
            config: &self.config,
        };
        let status = |port: &Port| PortStatus {
            id: port.id.into(),
            actor: port.information(&self.config).into(),
            partner: port.partner.into(),
            aggregator: port.aggregator.map(|(id, _)| id),
            selected: port.selected,
            receive: port.receive.state,
            mux: port.mux.state,
            actor_churn: Some(port.actor_churn.state),
            actor_churned: port.actor_churn.count,
            partner_churn: Some(port.partner_churn.state),
            partner_churned: port.partner_churn.count,
            collecting: self.collecting().contains(&port.id),
            distributing: self.distributing().contains(&port.id),
            fallback: self.alone.ports.contains(&port.id),
            drain: port.drain,
            reason: reason::of(port, active.as_ref(), &context),
            heard: port.heard.map(|heard| now.saturating_since(heard)),
            counters: port.counters,
        };
        self.ports.iter().map(status).collect()
    }

    /// Our system and the aggregators.
    pub fn status(&self) -> Status {
        Status {
            system_priority: Some(self.config.ad_actor_sys_prio),
            system: Some(self.config.system()),
            aggregators: self.aggregators(),
        }
    }

    /// The aggregators that have ports, by number.
    pub fn aggregators(&self) -> Vec<AggregatorStatus> {
        let mut aggregators: Vec<AggregatorStatus> = Vec::new();
        for port in &self.ports {
            let Some((id, lag)) = port.aggregator else {
                continue;
            };
            let linked = usize::from(port.link.is_usable());
            if let Some(known) = aggregators.iter_mut().find(|known| known.id == id) {
                known.ports.push(port.id.into());
                known.linked += linked;
                continue;
            }
            aggregators.push(AggregatorStatus {
                id,
                active: self.active == Some(id),
                ports: vec![port.id.into()],
                linked,
                actor_key: Some(lag.key),
                partner_key: Some(lag.partner_key),
                partner_system: Some(lag.partner_system),
                individual: lag.individual.is_some(),
            });
        }
        aggregators.sort_by_key(|aggregator| aggregator.id);
        aggregators
    }

    fn active_lag(&self) -> Option<(u16, selection::LagId)> {
        let mut aggregators = self.ports.iter().filter_map(|port| port.aggregator);
        aggregators.find(|(id, _)| Some(*id) == self.active)
    }

    /// Brings the keys in line with links and options.
    fn identify(&mut self) {
        let config = &self.config;
        for port in &mut self.ports {
            // A link that is down has no speed to speak of.
            let user = config.ad_user_port_key;
            let key = if port.link.is_usable() {
                actor_key(user, &port.link, config.key_numbering)
            } else {
                port.key & 0x3f | (user & 0x3ff) << 6
            };
            if key != port.key {
                port.key = key;
                reidentify(port);
            }
        }
    }

    /// While nobody looked after the machines (the daemon was stopped, dead or starved), nobody listened either: the
    /// partner's silence in that time is ours. The data path has answered it meanwhile ([`crate::standing`]); after more than
    /// it does that for, all timers have simply run out.
    fn allow_for_absence(&mut self, now: Instant) {
        let timers = |port: &Port| [port.receive.current_while, port.periodic.timer];
        let due = self.ports.iter().flat_map(timers).flatten().min();
        let late = due.map_or(Duration::ZERO, |due| now.saturating_since(due));
        if (ABSENCE..=LONGEST).contains(&late) {
            for port in &mut self.ports {
                receive::listen_on(port, now, late);
            }
        }
    }

    /// Runs all machines until none moves, then sends and tells what has come of it.
    fn settle(&mut self, now: Instant) {
        self.allow_for_absence(now);
        let active = self.active;
        let alone = self.alone.ports.clone();
        let context = Context {
            now,
            config: &self.config,
        };
        // A port takes a few rounds at most: no machine but the mux goes more than one step without a new cause.
        let mut moved = true;
        let mut done = Vec::new();
        while core::mem::take(&mut moved) {
            for port in &mut self.ports {
                port.forget_loop(now);
                while receive::advance(port, &context) {
                    moved = true;
                }
                for transaction in port.marking.given_up(now) {
                    done.push(Event::Flushed {
                        port: port.id.into(),
                        transaction,
                        answered: false,
                    });
                }
                if drain::advance(port, &context) {
                    done.push(Event::Drained {
                        port: port.id.into(),
                    });
                    moved = true;
                }
            }
            moved |= selection::advance(&mut self.ports, &mut self.active, &context);
            // All who are ready now attach together.
            let ready: Vec<bool> = (0..self.ports.len())
                .map(|at| selection::ready(&self.ports, at))
                .collect();
            for (port, ready) in self.ports.iter_mut().zip(ready) {
                moved |= mux::advance(port, &context, ready);
            }
        }
        fallback::advance(&mut self.alone, &self.ports, &context);
        for port in &mut self.ports {
            periodic::advance(port, &context);
            let link = port.link.is_usable();
            let (ours, theirs) = (port.actor, port.partner.state);
            churn::advance(&mut port.actor_churn, now, link, ours.has(Flags::SYNC));
            churn::advance(&mut port.partner_churn, now, link, theirs.has(Flags::SYNC));
        }

        self.tell(now, active, &alone);
        self.outputs.extend(done.into_iter().map(Output::Event));

        let context = Context {
            now,
            config: &self.config,
        };
        for port in &mut self.ports {
            let spoken = transmit::advance(port, &context);
            let agreed = standing::agreed(port, &context);
            if agreed != port.standing || agreed.is_some() && spoken.is_some() {
                port.standing = agreed;
                self.outputs.push_back(Output::Standing {
                    port: port.id,
                    answer: agreed.map(|_| standing::answer(port, &context)),
                });
            }
            if let Some(frame) = spoken {
                let port = port.id;
                self.outputs.push_back(Output::Send { port, frame });
            }
        }
    }

    /// Tells what has changed. Before PDUs are sent: a partner that reads "collecting" may send at once.
    fn tell(&mut self, now: Instant, active: Option<u16>, alone: &[PortId]) {
        let carries = |which: fn(mux::State) -> bool| -> Vec<PortId> {
            let carries =
                |port: &&Port| which(port.mux.state) || self.alone.ports.contains(&port.id);
            self.ports
                .iter()
                .filter(carries)
                .map(|port| port.id)
                .collect()
        };
        let carrying = (
            carries(mux::State::collects),
            carries(mux::State::distributes),
        );
        if carrying != self.carrying {
            self.carrying = carrying;
            self.outputs.push_back(Output::Changed);
        }
        let mut events = Vec::new();
        if active != self.active {
            let (from, to) = (active, self.active);
            events.push(Event::ActiveAggregator { from, to });
        }
        let lag = self.active_lag();
        let context = Context {
            now,
            config: &self.config,
        };
        for port in &mut self.ports {
            let carries = (
                self.carrying.0.contains(&port.id),
                self.carrying.1.contains(&port.id),
            );
            let reason = |port: &Port| {
                reason::of(port, lag.as_ref(), &context)
                    .map_or_else(String::new, |reason| reason.to_string())
            };
            events.extend(event::news(port, carries, reason));
        }
        if self.alone.ports != alone {
            let ports = self.alone.ports.iter().copied().map(Into::into).collect();
            events.push(Event::Fallback { ports });
        }
        self.outputs.extend(events.into_iter().map(Output::Event));
    }

    fn port(&self, id: PortId) -> Option<&Port> {
        self.ports.iter().find(|port| port.id == id)
    }

    fn port_mut(&mut self, id: PortId) -> Option<&mut Port> {
        self.ports.iter_mut().find(|port| port.id == id)
    }
}

/// The flags that options decide.
fn actor_flags(config: &Config) -> Flags {
    Flags::default()
        .with(Flags::ACTIVITY, config.lacp_active)
        .with(Flags::TIMEOUT, config.lacp_rate == LacpRate::Fast)
}

/// The port has another key or system now: it belongs elsewhere, and the partner has to agree anew.
fn reidentify(port: &mut Port) {
    port.selected = Selected::Unselected;
    port.reidentified = true;
    port.transmit.ntt = true;
    port.counters.actor_changes += 1;
    receive::set_partner_sync(port, false);
}
