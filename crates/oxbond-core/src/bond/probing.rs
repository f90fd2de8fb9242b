//! Links judged by answers instead of carrier: the ARP and NS monitor.
//!
//! Once per `arp_interval` (D): every port is judged by what it has heard, then probes go out. A lost carrier does not
//! wait for that, it takes the port down at once; but only something heard brings it up. There are no up and down delays.
//!
//! | | active-backup | every other mode |
//! |---|---|---|
//! | asks | the active port; while there is none, one port after the other, one per tick | every port whose link is there |
//! | comes up | something heard within 1.5 D | the same, and a probe sent within 1.5 D |
//! | goes down | silent for `arp_missed_max` D and a half, as backup for one D more; never within 2.5 D after it joined, took or lost the active role | silent for `arp_missed_max` D and a half |
//!
//! The driver has the first form in active-backup and the second in balance-rr, balance-xor and broadcast, with this
//! timing. Our engine has the second in 802.3ad, balance-tlb and balance-alb as well. In the last two, ports that have an
//! address of their own ask from 0.0.0.0 (`::`), so that no neighbour takes it for the bond's; their answers come to that
//! port. In 802.3ad, as in any mode behind a switch's own aggregation, the switch chooses the port that an answer
//! comes in on, and a port must hear something: with `arp_validate=none` the partner's LACPDUs are something (with
//! `lacp_rate=fast` one a second).
//!
//! # What counts as heard
//!
//! - On ports that `arp_validate` does not name: any frame, or with `filter` any of ARP or IPv6.
//! - On the active port, the one that is tried, and everywhere in the second form: an answer that is addressed to us, from
//!   a target, to a probe not older than 1.5 D.
//! - On a backup port: our own question, flooded by the switches to everyone, while the active port has heard something
//!   since it became active. In the second form the same, from another port, while any port is answered: behind switches
//!   that do not aggregate, all answers come to one port, and only so are the others known to work (in the driver they
//!   flap). Ours is a question that carries our identity with the number of this round or the last; where something on the
//!   way took the padding off, one with our sender address.
//!
//! # What the driver does otherwise
//!
//! - With no target to ask (none given, or all are reached past the bond) carrier alone decides; the driver takes every
//!   port down.
//! - Time in which nobody ran the monitor (a daemon that was stopped) does not count as silence.
//! - A backup port whose answers are checked hears nothing while the active port's path is dead, through no fault of its
//!   own: its silence counts from the failover. The driver gives it up for an interval or two after each failover.
//! - A port that was tried in vain is down; the driver calls it "going down".

use core::time::Duration;

use oxbond_wire::probe::ProbeIdentity;

use super::{Bond, Port, millis};
use crate::action::Action;
use crate::event::{Cause, Event};
use crate::input::ProbePath;
use crate::lacp::Drain;
use crate::mii::{Mii, Stimulus};
use crate::option::{ArpAllTargets, BondOptions, Mode};
use crate::port::PortId;
use crate::probe::{Asker, Sighting, Target, question, sighting, within};
use crate::table::Tap;
use crate::time::Instant;

/// Bits of `arp_validate`.
const VALIDATE_ACTIVE: u8 = 1;
const VALIDATE_BACKUP: u8 = 2;
const FILTER: u8 = 4;

impl Bond {
    /// Links are judged by answers.
    pub(super) const fn probes(&self) -> bool {
        self.options.arp_interval > 0
    }

    /// What of the frames that arrive the monitor wants to know.
    pub(super) fn probing_tap(&self) -> Tap {
        let validate = self.options.arp_validate.code();
        let roles = if self.one_at_a_time() {
            VALIDATE_ACTIVE | VALIDATE_BACKUP
        } else {
            VALIDATE_ACTIVE
        };
        Tap {
            neighbours_received: self.probes() && validate & roles != 0,
            arrivals: self.probes() && validate & roles != roles,
            ..Tap::default()
        }
    }

    /// What follows for the monitor from options that are another now, or from the bond's being set up or down.
    pub(super) fn monitor_changed(&mut self, now: Instant, before: &BondOptions) {
        let options = &self.options;
        let rules = |options: &BondOptions| {
            let (validate, all) = (options.arp_validate, options.arp_all_targets);
            (options.mode, options.arp_interval, validate, all)
        };
        let others = rules(options) != rules(before);
        let restarted = options.arp_interval != before.arp_interval;
        self.monitor
            .targets
            .retain(|target| asks_for(options, target));
        if restarted {
            self.restart_monitor(now);
        } else if others {
            // Other things count as heard now.
            self.monitor.since = now;
        }
    }

    /// The monitor begins anew, or ends.
    pub(super) fn restart_monitor(&mut self, now: Instant) {
        self.monitor.since = now;
        self.monitor.next = (self.probes() && self.admin_up).then_some(now);
    }

    /// How targets are reached.
    pub(super) fn probe_paths(&mut self, now: Instant, paths: Vec<ProbePath>) {
        let before = core::mem::take(&mut self.monitor.targets);
        if before.is_empty() {
            self.monitor.since = now;
        }
        for path in paths {
            let known = before.iter().find(|known| known.path.target == path.target);
            let since = known.map_or(now, |known| known.since);
            let target = Target { path, since };
            let twice = self
                .monitor
                .targets
                .iter()
                .any(|other| other.path.target == target.path.target);
            if asks_for(&self.options, &target) && !twice {
                self.monitor.targets.push(target);
            }
        }
        for port in &mut self.ports {
            port.hearing.retain(&self.monitor.targets);
        }
    }

    /// When frames last arrived on a port.
    pub(super) fn arrivals(
        &mut self,
        id: PortId,
        any: Option<Instant>,
        neighbour: Option<Instant>,
    ) {
        if let Some(port) = self.port_mut(id) {
            port.hearing.any = port.hearing.any.max(any);
            port.hearing.neighbour = port.hearing.neighbour.max(neighbour);
        }
    }

    /// A frame that may be proof of a working path arrived on a port.
    pub(super) fn overheard(&mut self, now: Instant, id: PortId, frame: &[u8]) {
        let Some(port) = self.port(id).filter(|_| self.probes()) else {
            return;
        };
        let Some(sighting) = sighting(frame, &self.monitor.targets, self.asker(port)) else {
            return;
        };
        let recent = |at: Option<Instant>| at.is_some_and(|at| within(now, at, self.interval(), 1));
        let target = match sighting {
            Sighting::Answer { target } => {
                if !recent(port.hearing.sent) || !self.judged_as_active(port) {
                    return;
                }
                self.monitor.answered = Some(now);
                target
            }
            Sighting::Question {
                target,
                sender,
                identity,
            } => {
                let ours = match identity {
                    Some(identity) => self.is_ours(identity) && identity.port != number(id),
                    None => self.asking().any(|asking| {
                        asking.mac == sender && (asking.id != id || !self.one_at_a_time())
                    }),
                };
                let answered = if self.one_at_a_time() {
                    let works = |active: &Port| {
                        active.id != id && self.heard(active) > Some(active.hearing.settled)
                    };
                    self.active.and_then(|id| self.port(id)).is_some_and(works)
                } else {
                    recent(self.monitor.answered)
                };
                if !ours || !answered {
                    return;
                }
                target
            }
        };
        if let Some(port) = self.port_mut(id) {
            port.hearing.proven(target, now);
        }
    }

    /// The active role went from one port (or none) to another (or none).
    pub(super) fn role_moved(
        &mut self,
        now: Instant,
        before: Option<PortId>,
        next: Option<PortId>,
    ) {
        for id in [before, next].into_iter().flatten() {
            if let Some(port) = self.port_mut(id) {
                port.hearing.settled = now;
            }
        }
        self.monitor.tried = next.or(before);
        let tried = |port: &&Port| port.mii == Mii::Tried && Some(port.id) != next;
        if next.is_some()
            && let Some(id) = self.ports.iter().find(tried).map(|port| port.id)
        {
            // The search is over.
            let _ = self.enter(now, id, Stimulus::Silent);
        }
    }

    /// The monitor's tick, if it is due.
    pub(super) fn probe(&mut self, now: Instant) {
        let Some(due) = self.monitor.next.filter(|due| *due <= now) else {
            return;
        };
        let interval = self.interval();
        let missed: u32 = self.options.arp_missed_max.into();
        let late = now.saturating_since(due);
        self.monitor.next = Some(if late < interval / 2 {
            due + interval
        } else {
            now + interval
        });
        if late >= (interval * (missed - 1)).max(interval / 2) {
            // Else one missed tick would do for the silence of a port that was answered at the one before.
            self.monitor.since = now;
        }
        let mut cause = self.judge(now);
        if self.one_at_a_time() && self.active.is_none() && !self.monitor.targets.is_empty() {
            cause = self.try_next(now).or(cause);
        }
        if let Some(cause) = cause {
            self.settle(now, &cause);
        }
        self.monitor.round = self.monitor.round.wrapping_add(1);
        for id in self.asking().map(|port| port.id).collect::<Vec<_>>() {
            self.ask(now, id);
        }
    }

    /// Judges every port. Answers why something changed.
    fn judge(&mut self, now: Instant) -> Option<Cause> {
        let verdicts: Vec<(PortId, Stimulus)> = self
            .ports
            .iter()
            .filter_map(|port| Some((port.id, self.verdict(now, port)?)))
            .collect();
        let (mut cause, mut reselect) = (None, None);
        for (id, verdict) in verdicts {
            if verdict == Stimulus::Silent {
                self.tell_silence(now, id);
            }
            let changed = self.enter(now, id, verdict);
            let Some(port) = self.port(id) else { continue };
            let name = port.name.clone();
            let why = match changed {
                Some((_, Mii::Up)) if self.monitor.targets.is_empty() => {
                    Cause::LinkUp { port: name }
                }
                Some((_, Mii::Up)) => Cause::ProbesAnswered { port: name },
                Some((Mii::Up | Mii::Tried, _)) => Cause::ProbesUnanswered { port: name },
                _ => continue,
            };
            let up = matches!(changed, Some((_, Mii::Up)));
            let (is_primary, prio) = (self.primary() == Some(id), port.options.prio);
            if !up && self.active == Some(id) {
                reselect = Some(why.clone());
            } else if up && self.may_challenge(is_primary, prio) {
                reselect.get_or_insert_with(|| why.clone());
            }
            cause.get_or_insert(why);
        }
        if let Some(why) = &reselect {
            self.reselect(now, why);
        }
        reselect.or(cause)
    }

    /// What a port's monitor is told, `None` for nothing new. See the table of the module.
    fn verdict(&self, now: Instant, port: &Port) -> Option<Stimulus> {
        let recent = |at: Option<Instant>| at.is_some_and(|at| within(now, at, self.interval(), 1));
        let missed: u32 = self.options.arp_missed_max.into();
        let up = port.mii == Mii::Up;
        if self.monitor.targets.is_empty() {
            return (!up && port.link.is_usable()).then_some(Stimulus::Heard);
        }
        if !up {
            let asked = self.one_at_a_time()
                || recent(port.hearing.sent.filter(|at| *at >= port.hearing.linked));
            return if port.link.is_usable() && asked && recent(self.heard(port)) {
                Some(Stimulus::Heard)
            } else {
                (port.mii == Mii::Tried).then_some(Stimulus::Silent)
            };
        }
        let patience = if !self.one_at_a_time() || self.active == Some(port.id) {
            missed
        } else {
            missed + 1
        };
        let settling =
            self.one_at_a_time() && within(now, port.hearing.settled, self.interval(), 2);
        let silent = !within(now, self.silent_since(port), self.interval(), patience);
        (silent && !settling).then_some(Stimulus::Silent)
    }

    /// No port is active: lets the next one ask whose link is there. Answers why.
    fn try_next(&mut self, now: Instant) -> Option<Cause> {
        let last = self.monitor.tried;
        let last = self.ports.iter().position(|port| Some(port.id) == last);
        let first = last.map_or(0, |at| at + 1);
        let (before, after) = self.ports.split_at(first);
        let next = after
            .iter()
            .chain(before)
            .find(|port| port.link.is_usable() && port.drain == Drain::No)?;
        let (id, name) = (next.id, next.name.clone());
        self.enter(now, id, Stimulus::Try)?;
        self.monitor.tried = Some(id);
        if let Some(port) = self.port_mut(id) {
            port.hearing.settled = now;
        }
        Some(Cause::PortTried { port: name })
    }

    /// Asks every target on one port.
    fn ask(&mut self, now: Instant, id: PortId) {
        let Some(port) = self.port(id) else { return };
        let identity = ProbeIdentity {
            bond: self.mac,
            port: number(id),
            sequence: self.monitor.round,
        };
        let asker = self.asker(port);
        let frames: Vec<Action> = self
            .monitor
            .targets
            .iter()
            .map(|target| Action::SendOnPort {
                port: id,
                frame: question(&target.path, asker, identity),
            })
            .collect();
        self.actions.extend(frames);
        if let Some(port) = self.port_mut(id) {
            port.hearing.sent = Some(now);
        }
    }

    fn tell_silence(&mut self, now: Instant, id: PortId) {
        let Some(port) = self.port(id).filter(|port| port.mii == Mii::Up) else {
            return;
        };
        let event = Event::ProbesUnanswered {
            name: port.name.clone(),
            targets: self.target_names(),
            lasted: Some(now.saturating_since(self.silent_since(port))),
            validated: self.is_validated(port),
        };
        self.tell(event);
    }

    /// Why a port whose link is there is not used, for its status.
    pub(super) fn silence(&self, port: &Port, now: Instant) -> String {
        let heard = self.heard(port).unwrap_or(port.since);
        crate::event::silence(
            &self.target_names(),
            Some(now.saturating_since(heard)),
            self.is_validated(port),
        )
    }

    /// The ports that ask now.
    fn asking(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().filter(|port| {
            let turn =
                !self.one_at_a_time() || self.active == Some(port.id) || port.mii == Mii::Tried;
            turn && port.link.is_usable()
        })
    }

    /// How a port asks. In balance-tlb and balance-alb a port that has not the bond's address hides its own from the
    /// neighbours' caches.
    fn asker(&self, port: &Port) -> Asker {
        let own_addresses = matches!(self.options.mode, Mode::BalanceTlb | Mode::BalanceAlb);
        Asker {
            mac: port.mac,
            anonymous: own_addresses && port.mac != self.mac,
        }
    }

    /// A probe of ours, of this round or the one before.
    fn is_ours(&self, identity: ProbeIdentity) -> bool {
        identity.bond == self.mac && self.monitor.round.wrapping_sub(identity.sequence) <= 1
    }

    /// The form of the driver for active-backup.
    fn one_at_a_time(&self) -> bool {
        self.options.mode == Mode::ActiveBackup
    }

    /// `arp_validate` takes it for an active port.
    fn judged_as_active(&self, port: &Port) -> bool {
        !self.one_at_a_time() || self.active == Some(port.id) || port.mii == Mii::Tried
    }

    fn is_validated(&self, port: &Port) -> bool {
        let active = self.judged_as_active(port);
        self.options.arp_validate.checks(active)
    }

    /// When a port last heard what counts. `arp_all_targets=all` acts in active-backup alone.
    fn heard(&self, port: &Port) -> Option<Instant> {
        let hearing = &port.hearing;
        let last = if !self.is_validated(port) {
            if self.options.arp_validate.code() & FILTER != 0 {
                hearing.neighbour
            } else {
                hearing.any
            }
        } else if self.all_must_answer() {
            let answers = self.monitor.targets.iter();
            answers
                .map(|target| hearing.answer(target.path.target))
                .min()
                .flatten()
        } else {
            hearing.valid
        };
        last.filter(|at| *at >= hearing.linked)
    }

    /// From when on a port has heard nothing of what counts.
    fn silent_since(&self, port: &Port) -> Instant {
        let hearing = &port.hearing;
        let heard = if self.is_validated(port) && self.all_must_answer() {
            let last = |target: &Target| hearing.answer(target.path.target).max(Some(target.since));
            self.monitor.targets.iter().map(last).min().flatten()
        } else {
            self.heard(port)
        };
        let mut since = self.monitor.since.max(hearing.settled);
        if self.is_validated(port)
            && !self.judged_as_active(port)
            && let Some(active) = self.active.and_then(|id| self.port(id))
        {
            since = since.max(active.hearing.settled);
        }
        let listening = since - self.interval();
        heard.unwrap_or_default().max(listening)
    }

    fn all_must_answer(&self) -> bool {
        self.one_at_a_time() && self.options.arp_all_targets == ArpAllTargets::All
    }

    fn target_names(&self) -> Vec<core::net::IpAddr> {
        self.monitor
            .targets
            .iter()
            .map(|target| target.path.target)
            .collect()
    }

    fn interval(&self) -> Duration {
        millis(self.options.arp_interval)
    }
}

fn asks_for(options: &BondOptions, target: &Target) -> bool {
    match target.path.target {
        core::net::IpAddr::V4(target) => options.arp_ip_target.contains(&target),
        core::net::IpAddr::V6(target) => options.ns_ip6_target.contains(&target),
    }
}

const fn number(port: PortId) -> u16 {
    port.index() as u16
}
