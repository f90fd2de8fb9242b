//! What happened to a bond of the driver between two looks at it.
//!
//! The driver tells that something changed, not what. A [`Watch`] keeps the picture of the last look; what differs in the
//! next one becomes events, in this order: options, address, ports gone, ports new, links, LACP, active port, carrier.
//!
//! A port's link between two looks goes the shortest way that ends where it is now, with these events:
//!
//! | from \ to | up | going down | down | going back |
//! |---|---|---|---|---|
//! | up | | LinkGoingDown | LinkDown | LinkDown, LinkComingUp |
//! | going down | LinkUpAgain | | LinkDown | LinkDown, LinkComingUp |
//! | down | LinkUp | LinkUp, LinkGoingDown | | LinkComingUp |
//! | going back | LinkUp | LinkUp, LinkGoingDown | LinkDownAgain | |
//!
//! Each LinkDown raises the driver's count of lost links by one. If the count grew by more, the link flapped unseen:
//! LinkFlapped comes first. With the ARP monitor there are no delays, and all but up is down: what the driver calls going
//! back is then the port that it tries.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::picture::{Picture, PortPicture};
use super::status::place;
use crate::event::{Cause, Event};
use crate::lacp::{self, ChurnState, ReceiveState};
use crate::option::{OptionId, PortOptionId};
use crate::status::{MiiStatus, PortRole};
use crate::time::Instant;

/// What has been seen of a bond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    last: Picture,
    /// Of each port of `last`, in its order: since when its link is as it is, or since when it is watched.
    since: Vec<Instant>,
    failovers: u64,
}

/// What a look found, for the causes of what follows from it.
#[derive(Default)]
struct Found {
    options: Vec<String>,
    removed: Vec<String>,
    added: Vec<String>,
    down: Vec<String>,
    up: Vec<String>,
    /// LACP has something to tell.
    lacp: bool,
}

impl Watch {
    /// Begins with this look, which is no news.
    pub fn new(now: Instant, picture: &Picture) -> Self {
        Self {
            last: picture.clone(),
            since: vec![now; picture.ports.len()],
            failovers: 0,
        }
    }

    /// What the last look showed.
    pub const fn picture(&self) -> &Picture {
        &self.last
    }

    /// Times that the active port was seen to change.
    pub const fn failovers(&self) -> u64 {
        self.failovers
    }

    /// Since when a port's link is as it is, at the latest; `None` for a port that was not seen.
    pub fn since(&self, port: &str) -> Option<Instant> {
        let at = self
            .last
            .ports
            .iter()
            .position(|known| known.name == port)?;
        self.since.get(at).copied()
    }

    /// Takes another look: what happened since the last one.
    pub fn look(&mut self, now: Instant, picture: &Picture) -> Vec<Event> {
        let mut events = Vec::new();
        let mut found = Found::default();
        let before = core::mem::replace(&mut self.last, picture.clone());
        let since_before = core::mem::take(&mut self.since);
        let known = |port: &PortPicture| {
            // Made anew under its name, it is another bond.
            let same_bond = before.ifindex == picture.ifindex;
            let at = before.ports.iter().position(|old| same_port(old, port))?;
            let since = since_before.get(at).copied().unwrap_or(now);
            same_bond.then(|| (&before.ports[at], since))
        };

        tell_options(&before, picture, &mut found, &mut events);
        if before.mac != picture.mac {
            events.push(Event::BondMac { mac: picture.mac });
        }
        let stays = |old: &PortPicture| {
            before.ifindex == picture.ifindex
                && picture.ports.iter().any(|port| same_port(old, port))
        };
        for old in before.ports.iter().filter(|old| !stays(old)) {
            let name = old.name.clone();
            found.removed.push(name.clone());
            events.push(Event::PortRemoved { name });
        }
        for (index, port) in picture.ports.iter().enumerate() {
            if known(port).is_none() {
                found.added.push(port.name.clone());
                events.push(Event::PortAdded {
                    port: place(index),
                    name: port.name.clone(),
                    active: port.role == PortRole::Active,
                    link_up: port.mii_status == MiiStatus::Up,
                });
            }
        }
        for port in &picture.ports {
            let Some((old, since)) = known(port) else {
                self.since.push(now);
                continue;
            };
            let told = events.len();
            let lasted = now.saturating_since(since);
            tell_link(&before, picture, old, port, lasted, &mut found, &mut events);
            let moved = old.mii_status != port.mii_status || told != events.len();
            self.since.push(if moved { now } else { since });
        }
        let told = events.len();
        tell_lacp(&before, picture, |port| Some(known(port)?.0), &mut events);
        found.lacp = told != events.len();
        if before.active_port != picture.active_port {
            self.failovers += u64::from(before.active_port.is_some());
            events.push(Event::ActivePort {
                from: before.active_port.clone(),
                to: picture.active_port.clone(),
                cause: found.of_active_port(&before, picture),
                earlier_by: None,
            });
        }
        if before.carrier != picture.carrier {
            events.push(Event::Carrier {
                up: picture.carrier,
                cause: found.of_carrier(picture),
            });
        }
        events
    }
}

/// The same port, which has been in the bond all the time as far as its count tells.
fn same_port(old: &PortPicture, new: &PortPicture) -> bool {
    old.ifindex == new.ifindex
        && old.name == new.name
        && old.link_failure_count <= new.link_failure_count
}

fn tell_options(before: &Picture, now: &Picture, found: &mut Found, events: &mut Vec<Event>) {
    let shown = |id: OptionId| before.known.contains(&id) && now.known.contains(&id);
    let of_bond = now.options.changes_from(&before.options);
    let of_bond = of_bond
        .into_iter()
        .filter(|change| shown(change.id))
        .map(|change| (change.id.to_string(), change.text()));
    let of_ports = now.ports.iter().flat_map(|port| {
        let old = before.ports.iter().find(|old| same_port(old, port));
        let changes = old.map(|old| port.options.changes_from(&old.options));
        let named = |id: PortOptionId| format!("{id} of {}", port.name);
        changes
            .into_iter()
            .flatten()
            .map(move |change| (named(change.id), change.text()))
    });
    let changes: Vec<(String, String)> = of_bond.chain(of_ports).collect();
    if !changes.is_empty() {
        found.options = changes.iter().map(|(name, _)| name.clone()).collect();
        events.push(Event::OptionsChanged { changes });
    }
}

/// A step of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    GoingDown,
    UpAgain,
    Down,
    ComingUp,
    DownAgain,
    Up,
}

/// The shortest way of a link: the table above.
const fn steps(from: MiiStatus, to: MiiStatus) -> &'static [Step] {
    use MiiStatus::{Down, GoingBack, GoingDown, Up};
    match (from, to) {
        (Up, Up) | (GoingDown, GoingDown) | (Down, Down) | (GoingBack, GoingBack) => &[],
        (Up, GoingDown) => &[Step::GoingDown],
        (Up | GoingDown, Down) => &[Step::Down],
        (Up | GoingDown, GoingBack) => &[Step::Down, Step::ComingUp],
        (GoingDown, Up) => &[Step::UpAgain],
        (Down | GoingBack, Up) => &[Step::Up],
        (Down | GoingBack, GoingDown) => &[Step::Up, Step::GoingDown],
        (Down, GoingBack) => &[Step::ComingUp],
        (GoingBack, Down) => &[Step::DownAgain],
    }
}

fn tell_link(
    before: &Picture,
    now: &Picture,
    old: &PortPicture,
    port: &PortPicture,
    lasted: Duration,
    found: &mut Found,
    events: &mut Vec<Event>,
) {
    let by_arp = now.options.arp_interval > 0;
    let seen = |status| match status {
        MiiStatus::GoingDown | MiiStatus::GoingBack if by_arp => MiiStatus::Down,
        status => status,
    };
    let steps = steps(seen(old.mii_status), seen(port.mii_status));
    let name = || port.name.clone();
    let counted = steps.iter().filter(|step| **step == Step::Down).count();
    let lost = port.link_failure_count - old.link_failure_count;
    let times = lost.saturating_sub(u32::try_from(counted).unwrap_or(u32::MAX));
    if times > 0 {
        found.down.push(name());
        events.push(Event::LinkFlapped {
            name: name(),
            times,
        });
    }
    let millis = |delay: u32| Duration::from_millis(u64::from(delay));
    for step in steps {
        events.push(match step {
            Step::GoingDown => Event::LinkGoingDown {
                name: name(),
                delay: millis(now.options.downdelay),
            },
            Step::UpAgain => Event::LinkUpAgain {
                name: name(),
                after: lasted,
            },
            Step::Down if by_arp && port.link.is_usable() => {
                found.down.push(name());
                Event::ProbesUnanswered {
                    name: name(),
                    targets: now.targets(),
                    lasted: None,
                    validated: before.is_validated(old),
                }
            }
            Step::Down => {
                found.down.push(name());
                Event::LinkDown { name: name() }
            }
            Step::ComingUp => Event::LinkComingUp {
                name: name(),
                delay: millis(now.options.updelay),
            },
            Step::DownAgain => Event::LinkDownAgain {
                name: name(),
                after: lasted,
            },
            Step::Up => {
                found.up.push(name());
                Event::LinkUp {
                    name: name(),
                    speed_mbps: port.link.speed_mbps,
                    duplex: port.link.duplex,
                }
            }
        });
    }
}

fn tell_lacp<'a>(
    before: &'a Picture,
    now: &Picture,
    known: impl Fn(&PortPicture) -> Option<&'a PortPicture>,
    events: &mut Vec<Event>,
) {
    let active = |picture: &Picture| picture.active_aggregator.map(|active| active.id);
    let (from, to) = (active(before), active(now));
    if from != to {
        let event = lacp::Event::ActiveAggregator { from, to };
        events.push(lacp_event(None, Vec::new(), event));
    }
    for (index, port) in now.ports.iter().enumerate() {
        let id = place(index);
        let old = known(port);
        let mut tell = |event| {
            let name = Some(port.name.clone());
            events.push(lacp_event(name, Vec::new(), event));
        };
        if let Some(partner) = partner(port)
            && old.and_then(self::partner).map(identity) != Some(identity(partner))
        {
            tell(lacp::Event::Partner { port: id, partner });
        }
        let receive = old.map(PortPicture::receive).unwrap_or_default();
        match port.receive() {
            now if now == receive => {}
            ReceiveState::Expired if receive == ReceiveState::Current => {
                tell(lacp::Event::Silent { port: id });
            }
            ReceiveState::Defaulted => tell(lacp::Event::NoPartner { port: id }),
            _ => {}
        }
        let carries = |port: &PortPicture| (port.collects(), port.distributes());
        if old.map(carries).unwrap_or_default() != carries(port) {
            let reason = now.reason(port);
            tell(lacp::Event::Traffic {
                port: id,
                collecting: port.collects(),
                distributing: port.distributes(),
                reason: reason.map_or_else(String::new, |reason| reason.to_string()),
            });
        }
        let [ours, theirs] = churns(port);
        let [ours_before, theirs_before] = old.map(churns).unwrap_or_default();
        for (now, before, actor) in [(ours, ours_before, true), (theirs, theirs_before, false)] {
            if now && !before {
                tell(lacp::Event::Churned { port: id, actor });
            }
        }
    }
    let alone = |picture: &Picture| -> Vec<String> {
        let alone = picture.ports.iter().filter(|port| picture.is_alone(port));
        alone.map(|port| port.name.clone()).collect()
    };
    let others = alone(now);
    if others != alone(before) {
        let among = |port: &PortPicture| others.contains(&port.name);
        let ports = now.ports.iter().enumerate();
        let ports = ports
            .filter(|(_, port)| among(port))
            .map(|(index, _)| place(index));
        let event = lacp::Event::Fallback {
            ports: ports.collect(),
        };
        events.push(lacp_event(None, others, event));
    }
}

const fn lacp_event(port: Option<String>, others: Vec<String>, event: lacp::Event) -> Event {
    Event::Lacp {
        port,
        others,
        event,
    }
}

/// The partner, where it is current and shows.
fn partner(port: &PortPicture) -> Option<oxbond_wire::lacp::Information> {
    let pdus = port.aggregation.as_ref()?.pdus?;
    port.is_current().then_some(pdus.partner)
}

/// Who it is, whatever its flags.
const fn identity(
    partner: oxbond_wire::lacp::Information,
) -> (u16, oxbond_wire::MacAddr, u16, u16, u16) {
    (
        partner.system_priority,
        partner.system,
        partner.key,
        partner.port_priority,
        partner.port,
    )
}

/// Whether our end has churned, and the partner's.
fn churns(port: &PortPicture) -> [bool; 2] {
    let churn = port.aggregation.as_ref().and_then(|part| part.churn);
    let churned = |state| state == ChurnState::Churned;
    churn.map_or([false; 2], |(ours, theirs)| {
        [churned(ours), churned(theirs)]
    })
}

impl Found {
    /// Why another port is active, as far as it follows from what else was found.
    fn of_active_port(&self, before: &Picture, now: &Picture) -> Cause {
        let by_arp = now.options.arp_interval > 0;
        let usable = |name: &str| now.port(name).is_some_and(|port| port.link.is_usable());
        if let Some(from) = &before.active_port {
            let port = from.clone();
            if self.removed.contains(from) {
                return Cause::PortRemoved { port };
            }
            if self.down.contains(from) && by_arp && usable(from) {
                return Cause::ProbesUnanswered { port };
            }
            if self.down.contains(from) {
                return Cause::LinkDown { port };
            }
        }
        let Some(to) = &now.active_port else {
            return Cause::Driver;
        };
        let port = to.clone();
        if self.added.contains(to) {
            Cause::PortAdded { port }
        } else if self.up.contains(to) && by_arp {
            Cause::ProbesAnswered { port }
        } else if self.up.contains(to) {
            Cause::LinkUp { port }
        } else if !self.options.is_empty() {
            Cause::Options {
                names: self.options.join(","),
            }
        } else if by_arp
            && now
                .port(to)
                .is_some_and(|port| port.mii_status != MiiStatus::Up)
        {
            Cause::PortTried { port }
        } else {
            Cause::Driver
        }
    }

    /// Why the carrier changed, likewise.
    fn of_carrier(&self, now: &Picture) -> Cause {
        let last = |names: &[String]| names.last().cloned();
        let by_arp = now.options.arp_interval > 0;
        let usable = |name: &str| now.port(name).is_some_and(|port| port.link.is_usable());
        if now.carrier {
            if let Some(port) = last(&self.up) {
                return if by_arp {
                    Cause::ProbesAnswered { port }
                } else {
                    Cause::LinkUp { port }
                };
            }
            if let Some(port) = last(&self.added) {
                return Cause::PortAdded { port };
            }
        } else {
            if let Some(port) = last(&self.down) {
                return if by_arp && usable(&port) {
                    Cause::ProbesUnanswered { port }
                } else {
                    Cause::LinkDown { port }
                };
            }
            if let Some(port) = last(&self.removed) {
                return Cause::PortRemoved { port };
            }
        }
        if self.lacp {
            Cause::Lacp
        } else if !self.options.is_empty() {
            Cause::Options {
                names: self.options.join(","),
            }
        } else {
            Cause::Driver
        }
    }
}
