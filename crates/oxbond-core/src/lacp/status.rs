//! The state of the machines for renderers.

use core::time::Duration;

use oxbond_wire::MacAddr;
use oxbond_wire::lacp::{Information, State};
use serde::{Deserialize, Serialize};

use super::counters::Counters;
use super::drain::Drain;
use super::port::Selected;
use super::reason::Reason;
use super::{churn, mux, receive};
use crate::port::PortIndex;

/// A bond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Priority of our system; `None` where the driver does not show it to us.
    pub system_priority: Option<u16>,
    /// Identity of our system; likewise.
    pub system: Option<MacAddr>,
    /// The aggregators that have ports, by number.
    pub aggregators: Vec<AggregatorStatus>,
}

impl Status {
    /// The aggregator that carries the bond's traffic.
    pub fn active(&self) -> Option<&AggregatorStatus> {
        self.aggregators.iter().find(|one| one.active)
    }
}

/// What is known of one end of a link: [`Information`], of which the driver shows most to an administrator alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// Priority of its system.
    pub system_priority: Option<u16>,
    /// Identity of its system; zero for a partner that there is not.
    pub system: Option<MacAddr>,
    /// Its key.
    pub key: Option<u16>,
    /// Priority of its port.
    pub port_priority: Option<u16>,
    /// Number of its port.
    pub port: Option<u16>,
    /// Its flags.
    pub state: State,
}

impl Participant {
    /// All of it, where all of it is known.
    pub fn information(&self) -> Option<Information> {
        Some(Information {
            system_priority: self.system_priority?,
            system: self.system?,
            key: self.key?,
            port_priority: self.port_priority?,
            port: self.port?,
            state: self.state,
        })
    }
}

impl From<Information> for Participant {
    fn from(all: Information) -> Self {
        Self {
            system_priority: Some(all.system_priority),
            system: Some(all.system),
            key: Some(all.key),
            port_priority: Some(all.port_priority),
            port: Some(all.port),
            state: all.state,
        }
    }
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// Which.
    pub id: PortIndex,
    /// What we say of ourselves on it.
    pub actor: Participant,
    /// What we know of the partner, or take for it while none has spoken.
    pub partner: Participant,
    /// Its aggregator; `None` while it changes from one to another.
    pub aggregator: Option<u16>,
    /// Whether it is to carry traffic.
    pub selected: Selected,
    /// Receive machine.
    pub receive: receive::State,
    /// Mux machine.
    pub mux: mux::State,
    /// Churn of our end, where it shows.
    pub actor_churn: Option<churn::State>,
    /// Times our end churned.
    pub actor_churned: u32,
    /// Churn of the partner, where it shows.
    pub partner_churn: Option<churn::State>,
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
    /// Time since the partner's last LACPDU, where it is known.
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
    pub ports: Vec<PortIndex>,
    /// How many of them have a link.
    pub linked: usize,
    /// Our key on all of them; like the next two it is `None` where the driver does not show it to us.
    pub actor_key: Option<u16>,
    /// The partner's key on all of them.
    pub partner_key: Option<u16>,
    /// The partner's system; zero without one.
    pub partner_system: Option<MacAddr>,
    /// It has one port that cannot share.
    pub individual: bool,
}
