//! What the core reports: typed events with their causes, the source of logs, history and `explain`.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use crate::port::{Duplex, PortIndex};

/// Why something changed. One word for machines; [`core::fmt::Display`] says it to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Cause {
    /// The bond starts, or its state was restored.
    Start,
    /// A port joined.
    PortAdded {
        /// Its name.
        port: String,
    },
    /// A port was taken out.
    PortRemoved {
        /// Its name.
        port: String,
    },
    /// A port lost its link (and its down delay ran out).
    LinkDown {
        /// Its name.
        port: String,
    },
    /// A port's link is back (and its up delay ran out).
    LinkUp {
        /// Its name.
        port: String,
    },
    /// The data path left a port whose carrier was gone.
    LeftInPath {
        /// Its name.
        port: String,
    },
    /// A port heard nothing of what the ARP monitor listens for, for too long.
    ProbesUnanswered {
        /// Its name.
        port: String,
    },
    /// A port heard it again.
    ProbesAnswered {
        /// Its name.
        port: String,
    },
    /// No port is active, and it is this one's turn to ask the targets.
    PortTried {
        /// Its name.
        port: String,
    },
    /// Options were changed.
    Options {
        /// Names of the options, comma separated.
        names: String,
    },
    /// The user set the bond's address.
    BondMac,
    /// LACP agreed or disagreed with a partner.
    Lacp,
    /// Ports were not equally busy.
    Load,
    /// A port is being drained.
    Drain {
        /// Its name.
        port: String,
    },
    /// A drained port takes part again.
    Undrain {
        /// Its name.
        port: String,
    },
    /// The bond itself was set up or down.
    BondSet {
        /// Up.
        up: bool,
    },
    /// The kernel's driver did it, and does not tell why.
    Driver,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => write!(f, "the bond starts"),
            Self::PortAdded { port } => write!(f, "{port} joined"),
            Self::PortRemoved { port } => write!(f, "{port} was taken out"),
            Self::LinkDown { port } => write!(f, "{port} lost its link"),
            Self::LinkUp { port } => write!(f, "the link of {port} is up"),
            Self::LeftInPath { port } => {
                write!(f, "{port} lost its link, the data path had left it already")
            }
            Self::ProbesUnanswered { port } => write!(f, "{port} hears no answer"),
            Self::ProbesAnswered { port } => write!(f, "{port} hears answers"),
            Self::PortTried { port } => write!(f, "no port is active, {port} is tried"),
            Self::Options { names } => write!(f, "{names} was set"),
            Self::BondMac => write!(f, "the address of the bond was set"),
            Self::Lacp => write!(f, "by LACP"),
            Self::Load => write!(f, "the load was balanced"),
            Self::Drain { port } => write!(f, "{port} is drained"),
            Self::Undrain { port } => write!(f, "{port} takes part again"),
            Self::BondSet { up: true } => write!(f, "the bond was set up"),
            Self::BondSet { up: false } => write!(f, "the bond was set down"),
            Self::Driver => write!(f, "the driver does not tell why"),
        }
    }
}

/// Something worth telling. The wording of its [`core::fmt::Display`] follows the driver's log lines, which people
/// search for, with the cause added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Event {
    /// A port joined.
    PortAdded {
        /// The port.
        port: PortIndex,
        /// Its name.
        name: String,
        /// It carries traffic at once.
        active: bool,
        /// Its link is up.
        link_up: bool,
    },
    /// A port was taken out.
    PortRemoved {
        /// Its name.
        name: String,
    },
    /// Another program took a port out of the bond. Told by whoever looks after the bond.
    PortTakenOut {
        /// The port.
        name: String,
        /// How often that has happened in short time.
        times: u32,
        /// When it is taken back; `None`: not any more.
        again: Option<Duration>,
    },
    /// A port is being drained: nothing new is sent on it.
    Draining {
        /// The port.
        name: String,
    },
    /// A port is drained: it can be detached without loss.
    Drained {
        /// The port.
        name: String,
    },
    /// A port that was drained before it vanished has joined again, and carries nothing until it is called back.
    StillDrained {
        /// The port.
        name: String,
    },
    /// A drained port takes part again.
    Undrained {
        /// The port.
        name: String,
    },
    /// A link went away; the port is given up when the delay has passed.
    LinkGoingDown {
        /// The port.
        name: String,
        /// Down delay ahead.
        delay: Duration,
    },
    /// A link came back within its down delay.
    LinkUpAgain {
        /// The port.
        name: String,
        /// How long it was away.
        after: Duration,
    },
    /// A port's link is down for good.
    LinkDown {
        /// The port.
        name: String,
    },
    /// The ARP monitor gives a port up.
    ProbesUnanswered {
        /// The port.
        name: String,
        /// Who was asked.
        targets: Vec<IpAddr>,
        /// How long nothing was heard, where it is known.
        lasted: Option<Duration>,
        /// Answers are checked on it (`arp_validate`): else any frame would have done.
        validated: bool,
    },
    /// The driver's count of lost links grew by more than was seen: the link came and went between two looks.
    LinkFlapped {
        /// The port.
        name: String,
        /// How many times it was lost unseen.
        times: u32,
    },
    /// A link came back; the port is used when the delay has passed.
    LinkComingUp {
        /// The port.
        name: String,
        /// Up delay ahead.
        delay: Duration,
    },
    /// A link was lost again within its up delay.
    LinkDownAgain {
        /// The port.
        name: String,
        /// How long it was there.
        after: Duration,
    },
    /// A port's link is up for good.
    LinkUp {
        /// The port.
        name: String,
        /// Mb/s, where known.
        speed_mbps: Option<u32>,
        /// Duplex.
        duplex: Duplex,
    },
    /// Another port is the active one.
    ActivePort {
        /// The one before, if any.
        from: Option<String>,
        /// The one now, if any.
        to: Option<String>,
        /// Why.
        cause: Cause,
        /// How much of its up delay was cut short.
        earlier_by: Option<Duration>,
    },
    /// The bond can carry traffic, or no longer.
    Carrier {
        /// Whether it can.
        up: bool,
        /// Why it changed.
        cause: Cause,
    },
    /// The bond's address changed.
    BondMac {
        /// The address now.
        mac: MacAddr,
    },
    /// LACP has something to tell.
    Lacp {
        /// The port, if it is about one.
        port: Option<String>,
        /// Other ports that it speaks of.
        #[serde(default)]
        others: Vec<String>,
        /// What.
        event: crate::lacp::Event,
    },
    /// Another program deleted the bond's device. Told by whoever looks after the bond, which has nobody to tell it any more.
    Deleted,
    /// Options were changed.
    OptionsChanged {
        /// Name and new value of each.
        changes: Vec<(String, String)>,
    },
    /// A value was adapted: a delay rounded down to whole monitor intervals, as the driver does, or an option that another
    /// one of the set switched off.
    ValueRounded {
        /// Option name.
        option: String,
        /// What was asked for.
        asked: String,
        /// What is used.
        used: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortAdded {
                name,
                active,
                link_up,
                ..
            } => {
                let role = if *active { "an active" } else { "a backup" };
                let link = if *link_up { "an up" } else { "a down" };
                write!(
                    f,
                    "(slave {name}): Enslaving as {role} interface with {link} link"
                )
            }
            Self::PortTakenOut {
                name,
                times,
                again: Some(delay),
            } => write!(
                f,
                "(slave {name}): another program took it out, {}; taking it back in {delay:?}",
                if *times == 1 {
                    "once".to_owned()
                } else {
                    format!("{times} times")
                }
            ),
            Self::PortTakenOut { name, times, .. } => write!(
                f,
                "(slave {name}): another program took it out {times} times; it is left alone now"
            ),
            Self::PortRemoved { name } => write!(f, "(slave {name}): Releasing interface"),
            Self::Draining { name } => {
                write!(
                    f,
                    "(slave {name}): being drained, nothing new is sent on it"
                )
            }
            Self::Drained { name } => {
                write!(f, "(slave {name}): drained, it can be detached")
            }
            Self::StillDrained { name } => {
                write!(
                    f,
                    "(slave {name}): drained as before it vanished, undrain brings it back"
                )
            }
            Self::Undrained { name } => write!(f, "(slave {name}): takes part again"),
            Self::LinkGoingDown { name, delay } => {
                write!(
                    f,
                    "(slave {name}): link status down for interface, disabling it in {} ms",
                    delay.as_millis()
                )
            }
            Self::LinkUpAgain { name, after } => {
                write!(
                    f,
                    "(slave {name}): link status up again after {} ms",
                    after.as_millis()
                )
            }
            Self::LinkDown { name } => write!(
                f,
                "(slave {name}): link status definitely down, disabling slave"
            ),
            Self::ProbesUnanswered {
                name,
                targets,
                lasted,
                validated,
            } => write!(
                f,
                "(slave {name}): {}",
                silence(targets, *lasted, *validated)
            ),
            Self::LinkFlapped { name, times } => {
                let s = if *times == 1 { "" } else { "s" };
                write!(
                    f,
                    "(slave {name}): link was lost {times} time{s} more than was seen"
                )
            }
            Self::LinkComingUp { name, delay } => {
                write!(
                    f,
                    "(slave {name}): link status up, enabling it in {} ms",
                    delay.as_millis()
                )
            }
            Self::LinkDownAgain { name, after } => {
                write!(
                    f,
                    "(slave {name}): link status down again after {} ms",
                    after.as_millis()
                )
            }
            Self::LinkUp {
                name,
                speed_mbps,
                duplex,
            } => {
                write!(f, "(slave {name}): link status definitely up")?;
                if let Some(speed) = speed_mbps {
                    write!(f, ", {speed} Mbps")?;
                }
                match duplex {
                    Duplex::Full => write!(f, " full duplex"),
                    Duplex::Half => write!(f, " half duplex"),
                    Duplex::Unknown => Ok(()),
                }
            }
            Self::ActivePort {
                to: Some(to),
                cause,
                earlier_by: Some(earlier),
                ..
            } => {
                let earlier = earlier.as_millis();
                write!(
                    f,
                    "(slave {to}): making interface the new active one {earlier} ms earlier ({cause})"
                )
            }
            Self::ActivePort {
                to: Some(to),
                cause,
                ..
            } => {
                write!(
                    f,
                    "(slave {to}): making interface the new active one ({cause})"
                )
            }
            Self::ActivePort {
                to: None, cause, ..
            } => {
                write!(f, "now running without any active interface! ({cause})")
            }
            Self::Carrier { up: true, cause } => write!(f, "carrier on ({cause})"),
            Self::Carrier { up: false, cause } => write!(f, "carrier off ({cause})"),
            Self::Lacp {
                port,
                others,
                event,
            } => {
                if let Some(port) = port {
                    write!(f, "(slave {port}): ")?;
                }
                write!(f, "{}", event.words(others))
            }
            Self::BondMac { mac } => write!(f, "address is {mac} now"),
            Self::Deleted => write!(
                f,
                "another program deleted the bond; its ports are given back"
            ),
            Self::OptionsChanged { changes } => {
                for (index, (name, value)) in changes.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}option {name}: set to {value}")?;
                }
                Ok(())
            }
            Self::ValueRounded {
                option,
                asked,
                used,
            } => {
                write!(f, "option {option}: {asked} adapted to {used}")
            }
        }
    }
}

/// "no answer from 10.0.0.1 for 3.2 s", or what it is where any frame counts.
pub(crate) fn silence(targets: &[IpAddr], lasted: Option<Duration>, validated: bool) -> String {
    let targets = targets
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let lasted = lasted.map_or_else(String::new, |lasted| {
        format!(" for {:.1} s", lasted.as_secs_f64())
    });
    if validated {
        format!("no answer from {targets}{lasted}")
    } else {
        format!("nothing heard{lasted}, though {targets} is asked")
    }
}
