//! The state of the machines for renderers.

use core::time::Duration;

use oxbond_wire::MacAddr;
use oxbond_wire::lacp::Information;
use serde::{Deserialize, Serialize};

use super::counters::Counters;
use super::drain::Drain;
use super::port::Selected;
use super::reason::Reason;
use super::{churn, mux, receive};
use crate::port::PortId;

/// A bond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Priority of our system.
    pub system_priority: u16,
    /// Identity of our system.
    pub system: MacAddr,
    /// The aggregators that have ports, by number.
    pub aggregators: Vec<AggregatorStatus>,
}

impl Status {
    /// The aggregator that carries the bond's traffic.
    pub fn active(&self) -> Option<&AggregatorStatus> {
        self.aggregators.iter().find(|one| one.active)
    }
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// Which.
    pub id: PortId,
    /// What we say of ourselves on it.
    pub actor: Information,
    /// What we know of the partner, or take for it while none has spoken.
    pub partner: Information,
    /// Its aggregator; `None` while it changes from one to another.
    pub aggregator: Option<u16>,
    /// Whether it is to carry traffic.
    pub selected: Selected,
    /// Receive machine.
    pub receive: receive::State,
    /// Mux machine.
    pub mux: mux::State,
    /// Churn of our end.
    pub actor_churn: churn::State,
    /// Times our end churned.
    pub actor_churned: u32,
    /// Churn of the partner.
    pub partner_churn: churn::State,
    /// Times the partner churned.
    pub partner_churned: u32,
    /// It delivers what arrives, by protocol or by fallback.
    pub collecting: bool,
    /// It sends, by protocol or by fallback.
    pub distributing: bool,
    /// It does so without a partner.
    pub fallback: bool,
    /// How far it is drained.
    pub drain: Drain,
    /// Why it does not distribute by protocol.
    pub reason: Option<Reason>,
    /// Time since the partner's last LACPDU.
    pub heard: Option<Duration>,
    /// What it counted.
    pub counters: Counters,
}

/// An aggregator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregatorStatus {
    /// Its number in the bond, from 1 on.
    pub id: u16,
    /// It carries the bond's traffic.
    pub active: bool,
    /// Its ports, in list order.
    pub ports: Vec<PortId>,
    /// How many of them have a link.
    pub linked: usize,
    /// Our key on all of them.
    pub actor_key: u16,
    /// The partner's key on all of them.
    pub partner_key: u16,
    /// The partner's system; zero without one.
    pub partner_system: MacAddr,
    /// It has one port that cannot share.
    pub individual: bool,
}
