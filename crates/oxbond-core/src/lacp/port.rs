//! One port as its machines see it: its facts, what they know, where they stand.

use core::time::Duration;

use oxbond_wire::MacAddr;
use oxbond_wire::lacp::{Information, State as Flags};
use serde::{Deserialize, Serialize};

use super::churn::Churn;
use super::config::Config;
use super::counters::Counters;
use super::drain::Drain;
use super::event::Told;
use super::marker::Marking;
use super::mux::Mux;
use super::periodic::Periodic;
use super::receive::{self, Receive, SHORT_TIMEOUT, same_port};
use super::selection::LagId;
use super::transmit::Transmit;
use crate::port::{Duplex, LinkState, PortId};
use crate::time::Instant;

/// What a port brings along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// Source of its PDUs: its permanent address, whatever address it has in the bond.
    pub mac: MacAddr,
    /// Option `actor_port_prio`; the lower number is taken first.
    pub priority: u16,
    /// Its link.
    pub link: LinkState,
}

/// What the selection logic decided about a port (Selected, 802.1AX-2014, 6.4.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selected {
    /// No aggregator, or not the right one any more.
    #[default]
    Unselected,
    /// It has one, but is not to carry traffic: another aggregator is active, enough other ports are, or it is drained.
    Standby,
    /// It is to carry traffic.
    Selected,
}

/// Whose PDUs come back to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Looped {
    /// Of one of our ports, by its number.
    Port(u16),
    /// Of our system, but of no port that we have.
    System,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Port {
    pub(super) id: PortId,
    pub(super) mac: MacAddr,
    pub(super) priority: u16,
    pub(super) link: LinkState,
    /// Actor_Oper_Port_Key. That of the last link while the link is down, so that a quick return needs no new selection.
    pub(super) key: u16,
    /// Actor_Oper_Port_State.
    pub(super) actor: Flags,
    /// Partner_Oper variables.
    pub(super) partner: Information,
    /// What the partner last said of us.
    pub(super) echo: Option<Information>,
    /// We have become someone else since, and the partner has not said that it knows.
    pub(super) reidentified: bool,
    pub(super) selected: Selected,
    /// The aggregator, and what a port must have in common with it.
    pub(super) aggregator: Option<(u16, LagId)>,
    pub(super) receive: Receive,
    pub(super) periodic: Periodic,
    pub(super) mux: Mux,
    pub(super) transmit: Transmit,
    pub(super) actor_churn: Churn,
    pub(super) partner_churn: Churn,
    pub(super) marking: Marking,
    pub(super) drain: Drain,
    pub(super) counters: Counters,
    /// When the last LACPDU of a partner came.
    pub(super) heard: Option<Instant>,
    /// Time between the last three, the earlier one first.
    pub(super) heard_intervals: [Duration; 2],
    /// When the link came up or went down.
    pub(super) link_since: Instant,
    /// Our own PDUs come back, or did: the last time, while nothing else was heard on this link.
    pub(super) looped: Option<(Looped, Instant)>,
    /// What the data path's standing answer confirms, if it has one.
    #[serde(default)]
    pub(super) standing: Option<(Information, Information)>,
    /// What has been reported.
    pub(super) told: Told,
}

impl Port {
    /// Actor_Port_Number: unique in the bond and never 0.
    pub(super) const fn number(&self) -> u16 {
        self.id.index() as u16 + 1
    }

    /// What we say of ourselves on this port.
    pub(super) fn information(&self, config: &Config) -> Information {
        Information {
            system_priority: config.ad_actor_sys_prio,
            system: config.system(),
            key: self.key,
            port_priority: self.priority,
            port: self.number(),
            state: self.actor,
        }
    }

    /// LACP_Enabled: not on links that are half duplex (802.1AX-2014, 6.4.8).
    pub(super) const fn lacp_enabled(&self) -> bool {
        !matches!(self.link.duplex, Duplex::Half)
    }

    /// LACP runs on it now.
    pub(super) const fn speaks(&self) -> bool {
        self.link.is_usable() && self.lacp_enabled()
    }

    /// The partner is as it told.
    pub(super) fn is_current(&self) -> bool {
        self.receive.state == receive::State::Current
    }

    /// There is a partner that has an identity: it spoke, and has not been given up.
    pub(super) fn has_partner(&self) -> bool {
        !self.partner.system.is_zero()
    }

    /// Forgets that our own PDUs came in, once none has for the short timeout: without a partner we send every second.
    pub(super) fn forget_loop(&mut self, now: Instant) {
        let lasts = |(_, at): &(Looped, Instant)| now.saturating_since(*at) <= SHORT_TIMEOUT;
        self.looped = self.looped.filter(lasts);
    }

    /// It cannot share an aggregator: one end says so, or there is no one to share with.
    pub(super) fn is_individual(&self) -> bool {
        !self.actor.has(Flags::AGGREGATION)
            || !self.partner.state.has(Flags::AGGREGATION)
            || !self.has_partner()
    }

    /// The partner's last PDU shows that it hears us.
    pub(super) fn is_seen(&self, config: &Config) -> bool {
        let us = self.information(config);
        self.echo.is_some_and(|echo| same_port(&echo, &us))
    }

    /// It is on its way out of the traffic and still collects.
    pub(super) const fn is_leaving(&self) -> bool {
        matches!(self.drain, Drain::Leaving { .. })
    }
}
