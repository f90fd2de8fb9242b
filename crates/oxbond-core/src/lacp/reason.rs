//! Why a port does not distribute, in words that name the end at fault and what to look at.

use core::fmt;
use core::time::Duration;

use oxbond_wire::MacAddr;
use oxbond_wire::lacp::State as Flags;
use serde::{Deserialize, Serialize};

use super::Context;
use super::drain::Drain;
use super::mux;
use super::port::{Looped, Port, Selected};
use super::receive::{self, SHORT_TIMEOUT};
use super::selection::LagId;
use crate::engine::Engine;
use crate::time::Instant;
use crate::verdict::Health;

/// Why a port does not distribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Reason {
    /// No link.
    LinkDown,
    /// LACP does not run on half duplex links.
    HalfDuplex,
    /// The driver does not run it on links whose duplex it does not know.
    UnknownDuplex,
    /// It is being taken out.
    Draining,
    /// It was taken out.
    Drained,
    /// Our own LACPDUs come back.
    Loop {
        /// Number of our port that they are from.
        port: u16,
    },
    /// Another system has our id.
    SameSystem {
        /// The id.
        system: MacAddr,
    },
    /// The link is up and nobody has answered, for less time than is given to a partner.
    Looking,
    /// Nobody has answered since the link came up.
    NeverAnswered {
        /// How long that is, where it is known.
        since: Option<Duration>,
        /// We spoke; else we wait to be spoken to (`lacp_active=off`).
        asked: bool,
    },
    /// The partner fell silent.
    Silent {
        /// Time since its last LACPDU, where it is known.
        since: Option<Duration>,
    },
    /// The partner sends at a rate too slow for us.
    HearsSlow {
        /// Time between its last two LACPDUs. The one before was too long too.
        interval: Duration,
    },
    /// Both ends wait to be spoken to.
    BothPassive,
    /// The partner says that it hears nothing from us.
    OneWay,
    /// Our LACPDUs reach the partner too late.
    HeardSlow,
    /// The partner goes by what we were, or takes us for someone else.
    Mistaken {
        /// The system and key it takes us for.
        system: MacAddr,
        /// The key it takes us for.
        key: u16,
    },
    /// Another aggregator is active.
    OtherAggregator {
        /// The port's.
        own: u16,
        /// The active one.
        active: u16,
        /// What the two have not in common; `None` where the driver does not show it to us.
        difference: Option<Difference>,
    },
    /// Enough other ports carry traffic.
    Limit {
        /// Option `max_ports`.
        max_ports: usize,
    },
    /// Waits for other ports to come along.
    Waiting {
        /// How long at most, where it is known.
        remaining: Option<Duration>,
    },
    /// The partner has not attached the port.
    PartnerNotInSync,
    /// The partner does not collect.
    PartnerNotCollecting,
}

/// What sets an aggregator apart from the active one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Difference {
    /// Our own key: another speed, duplex or user key.
    OwnKey {
        /// The port's.
        own: u16,
        /// The active aggregator's.
        active: u16,
    },
    /// Another partner.
    Partner {
        /// The port's.
        own: MacAddr,
        /// The active aggregator's.
        active: MacAddr,
    },
    /// The partner's key.
    PartnerKey {
        /// The port's.
        own: u16,
        /// The active aggregator's.
        active: u16,
    },
    /// One of the two links cannot aggregate.
    Individual,
}

impl Difference {
    fn between(own: &LagId, active: &LagId) -> Self {
        if own.key != active.key {
            let (own, active) = (own.key, active.key);
            Self::OwnKey { own, active }
        } else if own.partner_system != active.partner_system {
            let (own, active) = (own.partner_system, active.partner_system);
            Self::Partner { own, active }
        } else if own.partner_key != active.partner_key {
            let (own, active) = (own.partner_key, active.partner_key);
            Self::PartnerKey { own, active }
        } else {
            Self::Individual
        }
    }
}

/// Why `port` does not distribute; `None` if it does. `active` is the active aggregator.
pub(super) fn of(
    port: &Port,
    active: Option<&(u16, LagId)>,
    context: &Context<'_>,
) -> Option<Reason> {
    if port.mux.state.distributes() {
        return None;
    }
    Some(unlinked(port, context).unwrap_or_else(|| linked(port, active, context)))
}

/// The port has no partner that is current, or is not to have one.
fn unlinked(port: &Port, context: &Context<'_>) -> Option<Reason> {
    if !port.link.is_usable() {
        return Some(Reason::LinkDown);
    }
    if !port.lacp_enabled() {
        return Some(Reason::HalfDuplex);
    }
    match port.drain {
        Drain::No => {}
        Drain::Leaving { .. } => return Some(Reason::Draining),
        Drain::Out => return Some(Reason::Drained),
    }
    // Without a partner we send every second.
    let still = |(_, at): &(Looped, Instant)| context.now.saturating_since(*at) <= SHORT_TIMEOUT;
    match port.looped.filter(still) {
        None => {}
        Some((Looped::Port(port), _)) => return Some(Reason::Loop { port }),
        Some((Looped::System, _)) => {
            let system = context.config.system();
            return Some(Reason::SameSystem { system });
        }
    }
    let asked = port.actor.has(Flags::ACTIVITY);
    let heard = port.heard.filter(|heard| *heard >= port.link_since);
    match (port.receive.state, heard) {
        (receive::State::Current, _) => None,
        (receive::State::Defaulted, None) => Some(Reason::NeverAnswered {
            since: Some(context.now.saturating_since(port.link_since)),
            asked,
        }),
        (_, None) => Some(Reason::Looking),
        (_, Some(heard)) => {
            let slow = port.actor.has(Flags::TIMEOUT);
            // One long interval may have been an outage.
            let [earlier, interval] = port.heard_intervals;
            let slow = slow && earlier.min(interval) > SHORT_TIMEOUT;
            let since = context.now.saturating_since(heard);
            Some(if slow {
                Reason::HearsSlow { interval }
            } else {
                Reason::Silent { since: Some(since) }
            })
        }
    }
}

/// The port's partner is current.
fn linked(port: &Port, active: Option<&(u16, LagId)>, context: &Context<'_>) -> Reason {
    let partner = port.partner.state;
    let speaks = |flags: Flags| flags.has(Flags::ACTIVITY);
    if !speaks(port.actor) && !speaks(partner) {
        return Reason::BothPassive;
    }
    if let (Some((own, own_lag)), Some((active, active_lag))) = (&port.aggregator, active)
        && own != active
    {
        return Reason::OtherAggregator {
            own: *own,
            active: *active,
            difference: Some(Difference::between(own_lag, active_lag)),
        };
    }
    if port.selected == Selected::Standby {
        let max_ports = context.config.max_ports;
        return Reason::Limit { max_ports };
    }
    if !port.is_seen(context.config) {
        return match port.echo {
            Some(echo) if !echo.system.is_zero() && !partner.has(Flags::DEFAULTED) => {
                Reason::Mistaken {
                    system: echo.system,
                    key: echo.key,
                }
            }
            _ => Reason::OneWay,
        };
    }
    if partner.has(Flags::DEFAULTED) {
        return Reason::OneWay;
    }
    if partner.has(Flags::EXPIRED | Flags::TIMEOUT) {
        return Reason::HeardSlow;
    }
    let remaining = |end: Instant| end.saturating_since(context.now);
    match port.mux.state {
        mux::State::Waiting => Reason::Waiting {
            remaining: Some(port.mux.wait_while.map_or(Duration::ZERO, remaining)),
        },
        _ if !partner.has(Flags::SYNC) => Reason::PartnerNotInSync,
        _ => Reason::PartnerNotCollecting,
    }
}

impl Reason {
    /// In words; `name` knows the names of our ports by their numbers.
    pub fn words(&self, name: impl Fn(u16) -> Option<String>) -> String {
        match self {
            Self::Loop { port } => match name(*port) {
                Some(name) => looped(&name),
                None => self.to_string(),
            },
            _ => self.to_string(),
        }
    }
}

impl Reason {
    /// How well a port is that does not distribute for this reason.
    pub const fn health(&self) -> Health {
        match self {
            Self::Looking | Self::Waiting { .. } | Self::Draining => Health::Passing,
            // It would take over.
            Self::Limit { .. } => Health::Well,
            _ => Health::Degraded,
        }
    }

    /// What to do about it, at which end. `bond` is the bond's name, `engine` what carries it.
    pub fn advice(&self, bond: &str, engine: Engine) -> Option<String> {
        let advice = match self {
            Self::LinkDown
            | Self::Draining
            | Self::Drained
            | Self::Looking
            | Self::Limit { .. }
            | Self::Waiting { .. } => return None,
            Self::HalfDuplex => {
                "let both ends negotiate (ethtool -s PORT autoneg on), or set both to full duplex".to_owned()
            }
            Self::Loop { .. } => {
                "follow the cable: it must end at the partner, and the bridge behind it must not send LACPDUs on".to_owned()
            }
            Self::SameSystem { .. } => format!(
                "oxbond set {bond} --ad-actor-system ADDRESS, an address of its own; two machines with one configuration or one image need two"
            ),
            Self::UnknownDuplex => {
                "set speed and duplex (ethtool -s PORT speed 1000 duplex full), or let our own engine carry the bond (--engine ebpf): it takes such a link for full duplex".to_owned()
            }
            Self::NeverAnswered { asked: true, .. } => {
                let mut advice = "switch LACP on (active or passive) at the switch's port for this cable; if it has none, use mode active-backup, or balance-xor for a static trunk".to_owned();
                if engine.is_own() {
                    advice += &format!("; oxbond set {bond} --lacp-fallback active-backup carries meanwhile");
                }
                advice
            }
            Self::NeverAnswered { asked: false, .. } | Self::BothPassive => {
                format!("oxbond set {bond} --lacp-active on, or active mode at the partner")
            }
            Self::Silent { .. } => {
                "carrier is there, so something between may hide a dead link (media converter, another switch); look at the partner's port and whether its LACP still runs".to_owned()
            }
            Self::HearsSlow { .. } => format!(
                "set the fast rate at the partner ('lacp rate fast', 'short timeout'), or oxbond set {bond} --lacp-rate slow"
            ),
            Self::OneWay => {
                "what we send does not arrive: look at the fibre that transmits, at receive errors of the partner's port, and for filters of 01:80:c2:00:00:02 on the way".to_owned()
            }
            Self::HeardSlow => {
                "what we send arrives late or in part: look at errors and drops of the partner's port, and at this machine's load".to_owned()
            }
            Self::Mistaken { .. } => {
                "it knows better after its next LACPDU, at most 30 s; if not, the cable ends at another bond, or LACPDUs are changed on the way".to_owned()
            }
            Self::OtherAggregator { difference: None, .. } => {
                "ask as an administrator (root): the driver shows keys and partners to nobody else".to_owned()
            }
            Self::OtherAggregator { difference: Some(difference), .. } => match difference {
                Difference::OwnKey { .. } => {
                    "give all links of the bond one speed and full duplex (ethtool tells both)".to_owned()
                }
                Difference::Partner { .. } => {
                    "one aggregate needs one partner: plug the cables into the same switch, or make the switches one system (stack, MLAG)".to_owned()
                }
                Difference::PartnerKey { .. } => {
                    "put the partner's port into the same channel group as the others, with the same speed and VLANs".to_owned()
                }
                Difference::Individual => {
                    "the partner's port stands alone: put it into the channel group of the others".to_owned()
                }
            },
            Self::PartnerNotInSync => {
                "the partner has its own reason: its limit of ports, another speed or VLANs in its channel group; look there".to_owned()
            }
            Self::PartnerNotCollecting => {
                "the partner holds back: look at the state of its port (minimum of links, spanning tree, error disabled)".to_owned()
            }
        };
        Some(advice)
    }
}

fn looped(port: &str) -> String {
    format!("we hear our own LACPDUs, from {port}: the cable or the bridge behind it is a loop")
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasting = |f: &mut fmt::Formatter<'_>, time: &Option<Duration>| match time {
            Some(time) => write!(f, ", for {} s", time.as_secs()),
            None => Ok(()),
        };
        match self {
            Self::LinkDown => write!(f, "no link"),
            Self::UnknownDuplex => write!(
                f,
                "the duplex is not known: the driver does not run LACP on this link"
            ),
            Self::HalfDuplex => write!(f, "half duplex: LACP does not run on this link"),
            Self::Draining => write!(f, "being drained"),
            Self::Drained => write!(f, "drained"),
            Self::Loop { port } => f.write_str(&looped(&format!("port {port}"))),
            Self::SameSystem { system } => write!(
                f,
                "the other end has our own system id {system}: set ad_actor_system on one of the two"
            ),
            Self::Looking => write!(f, "link is up, no LACPDU yet"),
            Self::NeverAnswered { since, asked: true } => {
                write!(f, "partner never answered")?;
                lasting(f, since)?;
                write!(f, ": is LACP on at the other end?")
            }
            Self::NeverAnswered {
                since,
                asked: false,
            } => {
                write!(f, "partner never spoke")?;
                lasting(f, since)?;
                write!(f, ", and lacp_active=off lets us not speak first")
            }
            Self::Silent { since: None } => write!(f, "partner fell silent"),
            Self::Silent { since: Some(since) } => {
                write!(f, "partner fell silent {} s ago", since.as_secs())
            }
            Self::HearsSlow { interval } => write!(
                f,
                "we expect fast, hear slow: LACPDUs came {} s apart",
                interval.as_secs()
            ),
            Self::BothPassive => {
                write!(
                    f,
                    "both ends are passive: set lacp_active=on here, or active mode there"
                )
            }
            Self::OneWay => write!(f, "we see partner, partner does not see us: one-way link"),
            Self::HeardSlow => {
                write!(
                    f,
                    "partner expects fast, hears slow: our LACPDUs reach it too late"
                )
            }
            Self::Mistaken { system, key } => {
                write!(f, "partner takes us for system {system}, key {key}")
            }
            Self::OtherAggregator {
                own,
                active,
                difference,
            } => {
                write!(f, "in aggregator {own}, while {active} is active")?;
                let Some(difference) = difference else {
                    return Ok(());
                };
                write!(f, ": ")?;
                match difference {
                    Difference::OwnKey { own, active } => write!(
                        f,
                        "our key is {own}, theirs {active} (speed, duplex or user key differ)"
                    ),
                    Difference::Partner { own, active } => {
                        write!(f, "another partner, {own} instead of {active}")
                    }
                    Difference::PartnerKey { own, active } => write!(
                        f,
                        "partner put this port in another aggregator: key {own}, others {active}"
                    ),
                    Difference::Individual => {
                        write!(f, "partner does not let this link aggregate")
                    }
                }
            }
            Self::Limit { max_ports } => {
                write!(f, "standby: {max_ports} other ports carry traffic")
            }
            Self::Waiting { remaining: None } => write!(f, "waits for other ports to come along"),
            Self::Waiting {
                remaining: Some(remaining),
            } => {
                let tenths = remaining.as_millis().div_ceil(100);
                write!(
                    f,
                    "waits for other ports to come along, at most {}.{} s",
                    tenths / 10,
                    tenths % 10
                )
            }
            Self::PartnerNotInSync => write!(f, "partner has not attached this port"),
            Self::PartnerNotCollecting => write!(f, "partner is in sync and does not collect"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever reads that something is wrong reads what to do.
    #[test]
    fn what_is_degraded_has_advice() {
        let second = Duration::from_secs(1);
        let system = MacAddr::ZERO;
        let differences = [
            Difference::OwnKey { own: 1, active: 2 },
            Difference::Partner {
                own: system,
                active: system,
            },
            Difference::PartnerKey { own: 1, active: 2 },
            Difference::Individual,
        ];
        let others = differences.map(|difference| Reason::OtherAggregator {
            own: 2,
            active: 1,
            difference: Some(difference),
        });
        let mut reasons = vec![
            Reason::HalfDuplex,
            Reason::UnknownDuplex,
            Reason::OtherAggregator {
                own: 2,
                active: 1,
                difference: None,
            },
            Reason::Loop { port: 2 },
            Reason::SameSystem { system },
            Reason::NeverAnswered {
                since: Some(second),
                asked: true,
            },
            Reason::NeverAnswered {
                since: None,
                asked: false,
            },
            Reason::Silent { since: None },
            Reason::HearsSlow { interval: second },
            Reason::BothPassive,
            Reason::OneWay,
            Reason::HeardSlow,
            Reason::Mistaken { system, key: 1 },
            Reason::PartnerNotInSync,
            Reason::PartnerNotCollecting,
        ];
        reasons.extend(others);
        for reason in reasons {
            assert_eq!(reason.health(), Health::Degraded, "{reason}");
            for engine in [Engine::Ebpf, Engine::Kernel] {
                assert!(reason.advice("bond0", engine).is_some(), "{reason}");
            }
        }
        assert_eq!(Reason::Limit { max_ports: 2 }.health(), Health::Well);
        assert_eq!(Reason::Looking.health(), Health::Passing);
    }
}
