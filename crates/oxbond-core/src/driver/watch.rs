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
//! LinkFlapped comes first. With the ARP monitor there are no delays, and all but up is down.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::picture::{Picture, PortPicture};
use crate::event::{Cause, Event};
use crate::lacp::{self, ChurnState, ReceiveState};
use crate::option::{OptionId, PortOptionId};
use crate::port::PortIndex;
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

    /// A port has another name from now on, which is nothing to tell: otherwise it would be one that went and one that came.
    pub fn renamed(&mut self, old: &str, new: &str) {
        let last = &mut self.last;
        let ports = last.ports.iter_mut().map(|port| &mut port.name);
        let named = ports
            .chain(&mut last.active_port)
            .chain(&mut last.options.primary);
        for name in named.filter(|name| *name == old) {
            new.clone_into(name);
        }
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
                    port: PortIndex(index),
                    name: port.name.clone(),
                    active: port.role == PortRole::Active,
                    link_up: joined_up(picture, port),
                });
            }
        }
        for port in &picture.ports {
            let told = events.len();
            let Some((old, since)) = known(port) else {
                let mut joined = port.clone();
                joined.mii_status = match joined_up(picture, port) {
                    true => MiiStatus::Up,
                    false => MiiStatus::Down,
                };
                let lasted = Duration::ZERO;
                tell_link(
                    picture,
                    picture,
                    &joined,
                    port,
                    lasted,
                    &mut found,
                    &mut events,
                );
                self.since.push(now);
                continue;
            };
            let lasted = now.saturating_since(since);
            tell_link(&before, picture, old, port, lasted, &mut found, &mut events);
            self.since
                .push(if told == events.len() { since } else { now });
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
                cause: found.of_carrier(&before, picture),
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
    // The driver shows the primary only while that port is in the bond, and remembers it.
    let absent = |primary: &Option<String>, from: &Picture| match primary {
        Some(name) => from.port(name).is_none(),
        None => false,
    };
    let slept = match (&before.options.primary, &now.options.primary) {
        (gone @ Some(_), None) => absent(gone, now),
        (None, back @ Some(_)) => absent(back, before),
        _ => false,
    };
    let of_bond = now.options.changes_from(&before.options);
    let of_bond = of_bond
        .into_iter()
        .filter(|change| shown(change.id) && !(slept && change.id == OptionId::Primary))
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

/// Whether a port joined with an up link. A delay may run since.
fn joined_up(bond: &Picture, port: &PortPicture) -> bool {
    matches!(bond.mii_status(port), MiiStatus::Up | MiiStatus::GoingDown)
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
    let steps = steps(before.mii_status(old), now.mii_status(port));
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
        let id = PortIndex(index);
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
            // A link that has just come up has yet to look for one.
            ReceiveState::Defaulted
                if matches!(receive, ReceiveState::Expired | ReceiveState::Current) =>
            {
                tell(lacp::Event::NoPartner { port: id });
            }
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
            .map(|(index, _)| PortIndex(index));
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
    fn of_carrier(&self, before: &Picture, now: &Picture) -> Cause {
        if before.up != now.up && now.up == now.carrier {
            return Cause::BondSet { up: now.up };
        }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use oxbond_wire::MacAddr;
    use proptest::prelude::*;

    use super::super::sample::{bond, options};
    use super::*;
    use crate::lacp::Counters;
    use crate::option::Mode;
    use crate::port::Duplex;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// What two looks at a bond, five seconds apart, tell: each event in words.
    fn told(words: &str, change: impl Fn(&mut Picture)) -> Vec<String> {
        let before = bond(words);
        let mut after = before.clone();
        change(&mut after);
        between(&before, &after)
    }

    fn between(before: &Picture, after: &Picture) -> Vec<String> {
        let mut watch = Watch::new(at(0), before);
        let events = watch.look(at(5_000), after);
        assert_eq!(watch.look(at(6_000), after), [], "told once");
        events.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_failover_and_its_cause() {
        let words = "mode active-backup miimon 100";
        let failover = |picture: &mut Picture| {
            picture.unplug(0);
            picture.active_port = Some("v1".to_owned());
            picture.ports[1].role = PortRole::Active;
        };
        assert_eq!(
            told(words, failover),
            [
                "(slave v0): link status definitely down, disabling slave",
                "(slave v1): making interface the new active one (v0 lost its link)"
            ]
        );
        // By hand.
        assert_eq!(
            told(words, |picture| picture.active_port = Some("v1".to_owned())),
            ["(slave v1): making interface the new active one (the driver does not tell why)"]
        );
        // By an option.
        assert_eq!(
            told(words, |picture| {
                picture.active_port = Some("v1".to_owned());
                picture.options.primary = Some("v1".to_owned());
            }),
            [
                "option primary: set to v1",
                "(slave v1): making interface the new active one (primary was set)"
            ]
        );
        // The last link.
        assert_eq!(
            told(words, |picture| {
                picture.unplug(0);
                picture.unplug(1);
                (picture.active_port, picture.carrier) = (None, false);
            }),
            [
                "(slave v0): link status definitely down, disabling slave",
                "(slave v1): link status definitely down, disabling slave",
                "now running without any active interface! (v0 lost its link)",
                "carrier off (v1 lost its link)"
            ]
        );
        // And when it is back, the driver shows it again.
        let mut without = bond("mode active-backup miimon 100 primary v0");
        without.ports.remove(0);
        without.options.primary = None;
        let events = between(&without, &bond("mode active-backup miimon 100 primary v0"));
        assert_eq!(
            events,
            ["(slave v0): Enslaving as an active interface with an up link"]
        );
        // The bond was set down.
        assert_eq!(
            told(words, |picture| (picture.up, picture.carrier) =
                (false, false)),
            ["carrier off (the bond was set down)"]
        );
        // The port was taken out; the driver does not show a primary that is not there.
        assert_eq!(
            told("mode active-backup miimon 100 primary v0", |picture| {
                picture.options.primary = None;
                picture.ports.remove(0);
                picture.active_port = Some("v1".to_owned());
                picture.mac = MacAddr([2; 6]);
            }),
            [
                "address is 02:02:02:02:02:02 now",
                "(slave v0): Releasing interface",
                "(slave v1): making interface the new active one (v0 was taken out)"
            ]
        );
    }

    #[test]
    fn a_new_name_is_no_news() {
        let before = bond("mode active-backup miimon 100 primary v0");
        let mut after = before.clone();
        after.ports[0].name = "lan0".to_owned();
        after.active_port = Some("lan0".to_owned());
        after.options.primary = Some("lan0".to_owned());
        let mut watch = Watch::new(Instant::ZERO, &before);
        watch.renamed("v0", "lan0");
        assert_eq!(watch.look(Instant::from_millis(1000), &after), []);
        assert_eq!(watch.since("lan0"), Some(Instant::ZERO));
    }

    #[test]
    fn a_return_and_a_first_port() {
        let words = "mode active-backup miimon 100 updelay 200 downdelay 300 primary v0";
        let mut before = bond(words);
        before.unplug(0);
        (before.active_port, before.ports[1].role) = (Some("v1".to_owned()), PortRole::Active);
        assert_eq!(
            between(&before, &bond(words)),
            [
                "(slave v0): Releasing interface",
                "(slave v0): Enslaving as an active interface with an up link",
                "(slave v0): making interface the new active one (v0 joined)"
            ],
            "its count began anew: it was away in between"
        );
        let mut after = bond(words);
        after.ports[0].link_failure_count = 1;
        assert_eq!(
            between(&before, &after),
            [
                "(slave v0): link status definitely up, 10000 Mbps full duplex",
                "(slave v0): making interface the new active one (the link of v0 is up)"
            ]
        );
        let mut empty = bond(words);
        empty.ports.clear();
        (empty.active_port, empty.carrier) = (None, false);
        let mut one = bond(words);
        one.ports.truncate(1);
        assert_eq!(
            between(&empty, &one),
            [
                "(slave v0): Enslaving as an active interface with an up link",
                "(slave v0): making interface the new active one (v0 joined)",
                "carrier on (v0 joined)"
            ]
        );
    }

    /// Every cell of the table, and the flaps that only the count shows.
    #[test]
    fn links_go_the_shortest_way() {
        use MiiStatus::{Down, GoingBack, GoingDown, Up};
        let going_down = "link status down for interface, disabling it in 300 ms";
        let up_again = "link status up again after 5000 ms";
        let down = "link status definitely down, disabling slave";
        let coming_up = "link status up, enabling it in 200 ms";
        let down_again = "link status down again after 5000 ms";
        let up = "link status definitely up, 10000 Mbps full duplex";
        let once = "link was lost 1 time more than was seen";
        let twice = "link was lost 2 times more than was seen";
        let cases: &[(MiiStatus, MiiStatus, u32, &[&str])] = &[
            (Up, Up, 0, &[]),
            (Up, Up, 2, &[twice]),
            (Up, GoingDown, 0, &[going_down]),
            (Up, GoingDown, 1, &[once, going_down]),
            (Up, Down, 1, &[down]),
            (Up, Down, 3, &[twice, down]),
            (Up, GoingBack, 1, &[down, coming_up]),
            (GoingDown, GoingDown, 0, &[]),
            (GoingDown, Up, 0, &[up_again]),
            (GoingDown, Up, 1, &[once, up_again]),
            (GoingDown, Down, 1, &[down]),
            (GoingDown, GoingBack, 1, &[down, coming_up]),
            (Down, Down, 0, &[]),
            (Down, Down, 1, &[once]),
            (Down, Up, 0, &[up]),
            (Down, GoingDown, 0, &[up, going_down]),
            (Down, GoingBack, 0, &[coming_up]),
            (GoingBack, GoingBack, 0, &[]),
            (GoingBack, Up, 0, &[up]),
            (GoingBack, GoingDown, 0, &[up, going_down]),
            (GoingBack, Down, 0, &[down_again]),
        ];
        for (from, to, lost, expected) in cases {
            let mut before = bond("mode balance-rr miimon 100 updelay 200 downdelay 300");
            before.ports[0].mii_status = *from;
            let mut after = before.clone();
            after.ports[0].mii_status = *to;
            after.ports[0].link_failure_count += lost;
            let expected: Vec<String> = expected
                .iter()
                .map(|words| format!("(slave v0): {words}"))
                .collect();
            assert_eq!(between(&before, &after), expected, "{from:?} {to:?} {lost}");
        }
    }

    #[test]
    fn the_arp_monitor_knows_up_and_down() {
        let words =
            "mode active-backup arp_interval 200 arp_ip_target 10.9.0.2 arp_validate active";
        let lost = |picture: &mut Picture| {
            picture.ports[0].mii_status = MiiStatus::GoingBack;
            picture.ports[0].link_failure_count += 1;
            picture.active_port = Some("v1".to_owned());
        };
        assert_eq!(
            told(words, lost),
            [
                "(slave v0): no answer from 10.9.0.2",
                "(slave v1): making interface the new active one (v0 hears no answer)"
            ]
        );
        assert_eq!(
            told(words, |picture| picture.unplug(0)),
            ["(slave v0): link status definitely down, disabling slave"]
        );
    }

    #[test]
    fn options_of_bond_and_ports() {
        assert_eq!(
            told("mode balance-xor miimon 100", |picture| {
                picture.options = options("mode balance-xor miimon 50 xmit_hash_policy layer3+4");
                picture.ports[1].options.queue_id = 3;
            }),
            [
                "option miimon: set to 50, option xmit_hash_policy: set to layer3+4, option queue_id of v1: set to 3"
            ]
        );
        // What is seen for the first time has not changed.
        let all = bond("mode 802.3ad ad_actor_sys_prio 9");
        let mut less = bond("mode 802.3ad").seen_by_anybody();
        less.ports = all.ports.clone();
        less.system = all.system;
        assert_eq!(between(&less, &all), [""; 0]);
    }

    #[test]
    fn what_lacp_tells() {
        let words = "mode 802.3ad miimon 100";
        let heard = |picture: &mut Picture| {
            for port in &mut picture.ports {
                port.aggregation.as_mut().unwrap().counters = Counters {
                    lacpdus_rx: 9,
                    ..Counters::default()
                };
            }
        };
        assert_eq!(
            told(words, |picture| {
                heard(picture);
                picture.bits(1, 0x87, 2);
                picture.ports[1].aggregation.as_mut().unwrap().churn =
                    Some((ChurnState::Churned, ChurnState::Monitoring));
            }),
            [
                "(slave v1): the partner fell silent",
                "(slave v1): not distributing: partner fell silent",
                "(slave v1): our end has been out of sync for 60 s"
            ]
        );
        assert_eq!(
            told(words, |picture| {
                picture.bits(0, 0x1f, 0x0f);
                let pdus = picture.ports[1].aggregation.as_mut().unwrap().pdus.as_mut();
                pdus.unwrap().partner.key = 9;
                picture.active_aggregator.as_mut().unwrap().id = 2;
            })[..2],
            [
                "aggregator 2 is active",
                "(slave v0): collecting, not distributing: in aggregator 1, while 2 is active: partner does not let this link aggregate",
            ]
        );
        assert_eq!(
            told(words, |picture| {
                let pdus = picture.ports[1].aggregation.as_mut().unwrap().pdus.as_mut();
                pdus.unwrap().partner.key = 9;
            }),
            ["(slave v1): partner 22:95:f9:49:c7:81, priority 65535, port 2, key 9"]
        );
        // The driver falls back to a port without a partner.
        let alone = |picture: &mut Picture| {
            for index in 0..2 {
                picture.bits(index, 0x45, 0);
            }
            picture.ports[0].role = PortRole::Active;
            picture.active_aggregator.as_mut().unwrap().partner_system = MacAddr::ZERO;
        };
        let events = told(words, alone);
        assert_eq!(
            events.last().map(String::as_str),
            Some("no partner on any port: fallback to v0")
        );
        assert!(events.contains(&"(slave v1): no partner answers".to_owned()));
    }

    #[test]
    fn what_it_counts() {
        let mut picture = bond("mode active-backup miimon 100");
        let mut watch = Watch::new(at(0), &picture);
        picture.active_port = Some("v1".to_owned());
        picture.ports[0].mii_status = MiiStatus::Down;
        picture.ports[0].link_failure_count = 1;
        watch.look(at(3_000), &picture);
        // The daemon starts anew.
        let kept = serde_json::to_string(&watch).unwrap();
        let mut watch: Watch = serde_json::from_str(&kept).unwrap();
        watch.look(at(5_000), &picture);
        let status = picture.status(Some((&watch, at(7_000))), &[]);
        assert_eq!(status.failovers, Some(1));
        let since: Vec<_> = status.ports.iter().map(|port| port.since).collect();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(since, [seconds(4), seconds(7)]);
    }

    /// The daemon saves what it sees of each bond, every second, where that is another text than before.
    #[test]
    fn packets_that_were_counted_are_no_news() {
        let mut picture = bond("mode 802.3ad miimon 100");
        let mut watch = Watch::new(at(0), &picture);
        let kept = serde_json::to_string(&watch).unwrap();
        picture.tx_dropped += 1;
        picture.ports[0].traffic.tx_packets += 1;
        let part = picture.ports[1].aggregation.as_mut().unwrap();
        part.counters.lacpdus_rx += 1;
        assert_eq!(watch.look(at(1_000), &picture), []);
        assert_eq!(serde_json::to_string(&watch).unwrap(), kept);
    }

    /// What whoever only reads events knows.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Known {
        active: Option<String>,
        carrier: bool,
        mac: Option<MacAddr>,
        /// Link, and whether it distributes by LACP.
        ports: BTreeMap<String, (MiiStatus, bool)>,
    }

    impl Known {
        fn of(picture: &Picture) -> Self {
            let ports = picture.ports.iter();
            Self {
                active: picture.active_port.clone(),
                carrier: picture.carrier,
                mac: Some(picture.mac),
                ports: ports
                    .map(|port| {
                        (
                            port.name.clone(),
                            (picture.mii_status(port), port.distributes()),
                        )
                    })
                    .collect(),
            }
        }

        fn hear(&mut self, event: &Event) {
            let mut link = |name: &String, status| {
                self.ports.get_mut(name).unwrap().0 = status;
            };
            match event {
                Event::PortAdded { name, link_up, .. } => {
                    let link = if *link_up {
                        MiiStatus::Up
                    } else {
                        MiiStatus::Down
                    };
                    assert!(self.ports.insert(name.clone(), (link, false)).is_none());
                }
                Event::PortRemoved { name } => assert!(self.ports.remove(name).is_some()),
                Event::LinkGoingDown { name, .. } => link(name, MiiStatus::GoingDown),
                Event::LinkUpAgain { name, .. } | Event::LinkUp { name, .. } => {
                    link(name, MiiStatus::Up);
                }
                Event::LinkDown { name }
                | Event::ProbesUnanswered { name, .. }
                | Event::LinkDownAgain { name, .. } => link(name, MiiStatus::Down),
                Event::LinkComingUp { name, .. } => link(name, MiiStatus::GoingBack),
                Event::ActivePort { from, to, .. } => {
                    assert_eq!(*from, self.active);
                    self.active.clone_from(to);
                }
                Event::Carrier { up, .. } => {
                    assert_ne!(*up, self.carrier);
                    self.carrier = *up;
                }
                Event::BondMac { mac } => self.mac = Some(*mac),
                Event::Lacp {
                    port: Some(name),
                    event: lacp::Event::Traffic { distributing, .. },
                    ..
                } => self.ports.get_mut(name).unwrap().1 = *distributing,
                _ => {}
            }
        }
    }

    fn picture() -> impl Strategy<Value = Picture> {
        use MiiStatus::{Down, GoingBack, GoingDown, Up};
        let port = (
            any::<[u8; 2]>(),
            proptest::sample::select(&[Up, GoingDown, Down, GoingBack][..]),
            0..3u32,
            any::<[bool; 2]>(),
            1..3u16,
        );
        let words = proptest::sample::select(
            &[
                "mode active-backup miimon 100",
                "mode active-backup arp_interval 100 arp_ip_target 10.9.0.2",
                "mode balance-rr",
                "mode 802.3ad miimon 100",
                "mode balance-alb",
            ][..],
        );
        let active = proptest::option::of(0..4usize);
        let ports = proptest::collection::vec(port, 4);
        let order = Just(vec![0usize, 1, 2, 3]).prop_shuffle();
        let bond = (any::<bool>(), 0..3u8, 6..8u32, 0..=4usize);
        (words, active, ports, order, bond).prop_map(|(words, active, ports, order, rest)| {
            let (carrier, mac, ifindex, count) = rest;
            let mut picture = super::super::sample::bond(words);
            let (first, second) = (picture.ports[0].clone(), picture.ports[1].clone());
            picture.ports = order[..count]
                .iter()
                .map(|index| {
                    let (bits, mii_status, lost, [usable, half], aggregator) = ports[*index];
                    let mut port = if index % 2 == 0 {
                        first.clone()
                    } else {
                        second.clone()
                    };
                    port.name = format!("v{index}");
                    port.ifindex = 3 + *index as u32;
                    port.link.carrier = usable;
                    if half {
                        port.link.duplex = Duplex::Half;
                    }
                    (port.mii_status, port.link_failure_count) = (mii_status, lost);
                    if let Some(part) = &mut port.aggregation {
                        part.aggregator = usable.then_some(aggregator);
                        (part.actor_state, part.partner_state) = (Some(bits[0]), Some(bits[1]));
                    }
                    port
                })
                .collect();
            picture.active_port = active
                .and_then(|at| picture.ports.get(at))
                .map(|port| port.name.clone());
            (picture.carrier, picture.ifindex) = (carrier, ifindex);
            picture.mac = MacAddr([2, 0, 0, 0, 0, mac]);
            picture
        })
    }

    proptest! {
        /// Pictures in any order: whoever reads the events knows what the last one shows, and the status never panics.
        #[test]
        fn events_lead_from_picture_to_picture(
            pictures in proptest::collection::vec(picture(), 1..12),
        ) {
            let mut watch = Watch::new(at(0), &pictures[0]);
            let mut known = Known::of(&pictures[0]);
            for (turn, picture) in pictures.iter().enumerate() {
                let now = at(turn as u64 * 100);
                for event in watch.look(now, picture) {
                    known.hear(&event);
                    prop_assert!(!event.to_string().is_empty());
                }
                prop_assert_eq!(&known, &Known::of(picture));
                let status = picture.status(Some((&watch, now)), &["v9".to_owned()]);
                prop_assert_eq!(status.attached(), picture.ports.len());
                let lacp = picture.options.mode == Mode::Ieee8023ad;
                for port in &status.ports {
                    prop_assert!(!port.reason.is_empty() && port.since.is_some());
                    prop_assert_eq!(port.lacp.is_some(), lacp);
                }
                prop_assert_eq!(watch.look(now, picture), []);
            }
        }
    }
}
