//! What the machines report, and what they compare to know that there is something to report.

use core::fmt;

use oxbond_wire::lacp::Information;
use serde::{Deserialize, Serialize};

use super::churn;
use super::port::{Looped, Port};
use super::receive::{self, same_port};
use crate::port::{PortId, PortIndex};

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Event {
    /// Another aggregator is active.
    ActiveAggregator {
        /// The one before.
        from: Option<u16>,
        /// The one now.
        to: Option<u16>,
    },
    /// A partner answers on a port, or another one does.
    Partner {
        /// The port.
        port: PortIndex,
        /// What it says of itself.
        partner: Information,
    },
    /// The partner of a port fell silent.
    Silent {
        /// The port.
        port: PortIndex,
    },
    /// A port has no partner.
    NoPartner {
        /// The port.
        port: PortIndex,
    },
    /// A port began or ceased to carry traffic.
    Traffic {
        /// The port.
        port: PortIndex,
        /// It delivers what arrives.
        collecting: bool,
        /// It sends.
        distributing: bool,
        /// Why it does not send; empty if it does.
        reason: String,
    },
    /// A port has been out of sync for a minute.
    Churned {
        /// The port.
        port: PortIndex,
        /// By our Sync; else by the partner's.
        actor: bool,
    },
    /// Our own LACPDUs come back on a port.
    Loopback {
        /// The port.
        port: PortIndex,
        /// Number of our port that they are from; `None` if we have no such port, so that another system has our id.
        from: Option<u16>,
    },
    /// Ports carry traffic without a partner, or no longer do.
    Fallback {
        /// Those that do.
        ports: Vec<PortIndex>,
    },
    /// A marker was answered, or given up.
    Flushed {
        /// The port.
        port: PortIndex,
        /// Number of the marker.
        transaction: u32,
        /// It was answered: the partner has all that was sent before.
        answered: bool,
    },
    /// A port that was drained carries nothing any more.
    Drained {
        /// The port.
        port: PortIndex,
    },
}

impl Event {
    /// The port it is about, if it is about one.
    pub const fn port(&self) -> Option<PortIndex> {
        match self {
            Self::Partner { port, .. }
            | Self::Silent { port }
            | Self::NoPartner { port }
            | Self::Traffic { port, .. }
            | Self::Churned { port, .. }
            | Self::Loopback { port, .. }
            | Self::Flushed { port, .. }
            | Self::Drained { port } => Some(*port),
            Self::ActiveAggregator { .. } | Self::Fallback { .. } => None,
        }
    }

    /// The ports it speaks of besides.
    pub fn others(&self) -> Vec<PortIndex> {
        match self {
            Self::Fallback { ports } => ports.clone(),
            Self::Loopback {
                from: Some(number), ..
            } => PortId::numbered(*number)
                .map(PortIndex::from)
                .into_iter()
                .collect(),
            _ => Vec::new(),
        }
    }

    /// In words, without the name of [`Event::port`], which is the bond's to put in front. `others` are the names of
    /// [`Event::others`].
    pub fn words<'a>(&'a self, others: &'a [String]) -> impl fmt::Display + 'a {
        Words {
            event: self,
            others,
        }
    }
}

struct Words<'a> {
    event: &'a Event,
    others: &'a [String],
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self.others.join(", ");
        match self.event {
            Event::ActiveAggregator { to: Some(to), .. } => write!(f, "aggregator {to} is active"),
            Event::ActiveAggregator { to: None, .. } => write!(f, "no aggregator is active"),
            Event::Partner { partner, .. } => write!(
                f,
                "partner {}, priority {}, port {}, key {}",
                partner.system, partner.system_priority, partner.port, partner.key
            ),
            Event::Silent { .. } => write!(f, "the partner fell silent"),
            Event::NoPartner { .. } => write!(f, "no partner answers"),
            Event::Traffic {
                distributing: true, ..
            } => write!(f, "collecting and distributing"),
            Event::Traffic {
                collecting, reason, ..
            } => {
                let collecting = if *collecting { "collecting, " } else { "" };
                write!(f, "{collecting}not distributing: {reason}")
            }
            Event::Churned { actor, .. } => {
                let side = if *actor { "our end" } else { "the partner" };
                write!(f, "{side} has been out of sync for 60 s")
            }
            Event::Loopback { from: Some(_), .. } => write!(
                f,
                "hears the LACPDUs of our own port {others}: the cable or the bridge behind it is a loop"
            ),
            Event::Loopback { from: None, .. } => write!(
                f,
                "another system uses our system id: give one of the two another ad_actor_system"
            ),
            Event::Fallback { ports } if ports.is_empty() => {
                write!(f, "fallback without a partner has ended")
            }
            Event::Fallback { .. } => {
                write!(f, "no partner on any port: fallback to {others}")
            }
            Event::Flushed {
                transaction,
                answered,
                ..
            } => {
                let how = if *answered { "answered" } else { "given up" };
                write!(f, "marker {transaction} was {how}")
            }
            Event::Drained { .. } => write!(f, "drained"),
        }
    }
}

/// What has been reported of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) receive: receive::State,
    pub(super) partner: Option<Information>,
    pub(super) collecting: bool,
    pub(super) distributing: bool,
    pub(super) actor_churn: churn::State,
    pub(super) partner_churn: churn::State,
    pub(super) looped: Option<Looped>,
}

/// The events that lead from what was told of `port` to what is true. `reason` is why it does not distribute.
pub(super) fn news(
    port: &mut Port,
    carries: (bool, bool),
    reason: impl Fn(&Port) -> String,
) -> Vec<Event> {
    let mut events = Vec::new();
    let id = PortIndex::from(port.id);
    let before = port.told;
    let now = Told {
        receive: port.receive.state,
        partner: port.is_current().then_some(port.partner),
        collecting: carries.0,
        distributing: carries.1,
        actor_churn: port.actor_churn.state,
        partner_churn: port.partner_churn.state,
        looped: port.looped.map(|(looped, _)| looped),
    };
    if let Some(partner) = now.partner {
        let same = before
            .partner
            .is_some_and(|known| same_port(&known, &partner));
        if !same {
            events.push(Event::Partner { port: id, partner });
        }
    }
    if now.receive != before.receive {
        match now.receive {
            receive::State::Expired if before.receive == receive::State::Current => {
                events.push(Event::Silent { port: id });
            }
            receive::State::Defaulted => events.push(Event::NoPartner { port: id }),
            _ => {}
        }
    }
    if (now.collecting, now.distributing) != (before.collecting, before.distributing) {
        let reason = if now.distributing {
            String::new()
        } else {
            reason(port)
        };
        events.push(Event::Traffic {
            port: id,
            collecting: now.collecting,
            distributing: now.distributing,
            reason,
        });
    }
    for (state, told, actor) in [
        (now.actor_churn, before.actor_churn, true),
        (now.partner_churn, before.partner_churn, false),
    ] {
        if state == churn::State::Churned && told != state {
            events.push(Event::Churned { port: id, actor });
        }
    }
    if let Some(looped) = now.looped.filter(|_| now.looped != before.looped) {
        let from = match looped {
            Looped::Port(number) => Some(number),
            Looped::System => None,
        };
        events.push(Event::Loopback { port: id, from });
    }
    port.told = now;
    events
}
