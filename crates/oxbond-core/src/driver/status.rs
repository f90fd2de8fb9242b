//! What a picture of the driver's bond comes to: the same [`BondStatus`] that our own engine gives.
//!
//! What the driver does not show is left open, never made up. Of its machines it shows the state bits of LACP, from which
//! their states follow as far as bits tell:
//!
//! | bits of our end | receive machine | | bits of our end | mux machine |
//! |---|---|---|---|---|
//! | link not usable | PORT_DISABLED | | no aggregator | DETACHED |
//! | not full duplex, and nobody heard | LACP_DISABLED | | no Sync | WAITING |
//! | not shown | INITIALIZE | | Sync | ATTACHED |
//! | Expired | EXPIRED | | Collecting | COLLECTING |
//! | Defaulted | DEFAULTED | | Distributing | DISTRIBUTING, or COLLECTING_DISTRIBUTING with coupled_control |
//! | neither | CURRENT | | | |

use core::net::IpAddr;
use core::time::Duration;

use oxbond_wire::MacAddr;
use oxbond_wire::lacp::State as Flags;

use super::picture::{Picture, PortAggregation, PortPicture};
use super::watch::Watch;
use crate::engine::Engine;
use crate::event::silence;
use crate::judge::{self, BondFacts, Left, Work};
use crate::lacp::{
    self, AggregatorStatus, Difference, MuxState, Participant, Reason, ReceiveState, Selected,
};
use crate::option::{Mode, OptionId, Switch};
use crate::port::{Duplex, PortIndex};
use crate::status::{BondStatus, MiiStatus, PortRole, PortStatus, STATUS_VERSION};
use crate::time::Instant;
use crate::verdict::Verdict;

/// Options that the driver shows to an administrator alone.
const ADMINISTRATORS: [OptionId; 3] = [
    OptionId::AdActorSysPrio,
    OptionId::AdUserPortKey,
    OptionId::AdActorSystem,
];

/// Modes in which the driver takes no link whose speed or duplex it does not know.
const NEEDS_SPEED: [Mode; 3] = [Mode::Ieee8023ad, Mode::BalanceTlb, Mode::BalanceAlb];

impl Picture {
    /// The bond as it stands. `watch` is who has watched it, and the time now; `expected` are the ports the configuration
    /// names.
    #[must_use]
    pub fn status(&self, watch: Option<(&Watch, Instant)>, expected: &[String]) -> BondStatus {
        let primary = self.options.primary.as_deref();
        let primary = primary.filter(|name| self.port(name).is_some());
        let lacp = self.aggregates().then(|| self.aggregation());
        let hides = |id: &OptionId| self.aggregates() && !self.known.contains(id);
        BondStatus {
            version: STATUS_VERSION,
            name: self.name.clone(),
            carrier: self.carrier,
            verdict: self.bond_verdict(),
            mac: self.mac,
            options: self.options.clone(),
            primary: primary.map(ToOwned::to_owned),
            active_port: self.active_port.clone(),
            failovers: watch.map(|(watch, _)| watch.failovers()),
            lacp,
            ports: self
                .ports
                .iter()
                .enumerate()
                .map(|(index, port)| self.port_status(index, port, watch))
                .collect(),
            expected: expected.to_vec(),
            hidden: ADMINISTRATORS.into_iter().filter(hides).collect(),
            raw: self.raw.clone(),
        }
    }

    pub(super) fn port(&self, name: &str) -> Option<&PortPicture> {
        self.ports.iter().find(|port| port.name == name)
    }

    const fn aggregates(&self) -> bool {
        matches!(self.options.mode, Mode::Ieee8023ad)
    }

    fn port_status(
        &self,
        index: usize,
        port: &PortPicture,
        watch: Option<(&Watch, Instant)>,
    ) -> PortStatus {
        let verdict = self.port_verdict(port);
        let since = watch.and_then(|(watch, now)| Some((watch.since(&port.name)?, now)));
        PortStatus {
            id: PortIndex(index),
            name: port.name.clone(),
            ifindex: port.ifindex,
            mii_status: port.mii_status,
            role: port.role,
            speed_mbps: port.link.speed_mbps,
            duplex: port.link.duplex,
            link_failure_count: port.link_failure_count,
            permanent_mac: port.permanent_mac,
            mac: port.mac,
            queue_id: port.options.queue_id,
            prio: port.options.prio,
            actor_port_prio: port.options.actor_port_prio,
            weight: port.options.weight,
            lacp: self.aggregates().then(|| self.port_lacp(index, port)),
            drain: lacp::Drain::No,
            since: since.map(|(since, now)| now.saturating_since(since)),
            reason: verdict.words,
            health: verdict.health,
            advice: verdict.advice,
            raw: port.raw.clone(),
        }
    }

    fn bond_verdict(&self) -> Verdict {
        let carrying = |port: &&PortPicture| {
            let up = matches!(self.mii_status(port), MiiStatus::Up | MiiStatus::GoingDown);
            up && port.role == PortRole::Active
        };
        let distributing = self.ports.iter().filter(|port| port.distributes());
        judge::bond(&BondFacts {
            engine: Engine::Kernel,
            name: &self.name,
            up: self.up,
            carrier: self.carrier,
            options: &self.options,
            ports: self.ports.len(),
            carrying: self.ports.iter().filter(carrying).count(),
            distributing: distributing.count(),
            alone: self.ports.iter().any(|port| self.is_alone(port)),
            active: self.active_port.as_deref(),
        })
    }

    fn port_verdict(&self, port: &PortPicture) -> Verdict {
        let options = &self.options;
        let lacking = judge::lacking(&port.name, &port.link);
        let at_most = |delay| Left::AtMost(Duration::from_millis(u64::from(delay)));
        let by_arp = options.arp_interval > 0;
        match (self.mii_status(port), lacking) {
            (MiiStatus::GoingDown, lacking) => {
                judge::going_down(lacking, at_most(options.downdelay))
            }
            (MiiStatus::Down, Some((words, advice))) => Verdict::degraded(words, advice),
            (MiiStatus::Down, None) if by_arp => judge::unheard(&self.name, self.silence(port)),
            (MiiStatus::GoingBack, _) => judge::going_back(at_most(options.updelay)),
            (MiiStatus::Down, None) => self.unused(port),
            (MiiStatus::Up, Some(lacking)) if options.miimon == 0 && !by_arp => {
                judge::unwatched(Engine::Kernel, &self.name, lacking)
            }
            (MiiStatus::Up, Some((words, advice))) if !by_arp => {
                let words = format!("{words}; the driver looks every {} ms", options.miimon);
                Verdict::passing(words, Some(advice))
            }
            (MiiStatus::Up, _) if self.aggregates() => self.port_aggregated(port),
            (MiiStatus::Up, _) => self.work(port),
        }
    }

    /// The interface has a link, and the driver does not use it.
    fn unused(&self, port: &PortPicture) -> Verdict {
        let unknown = port.link.speed_mbps.is_none() || port.link.duplex == Duplex::Unknown;
        if unknown && NEEDS_SPEED.contains(&self.options.mode) {
            return Verdict::degraded(
                format!(
                    "the link is up, but its speed or duplex is not known: in mode {} the driver does not use it",
                    self.options.mode
                ),
                format!(
                    "ethtool -s {} speed 1000 duplex full sets them where the interface lets them be set; our own engine (--engine ebpf) does without",
                    port.name
                ),
            );
        }
        if self.options.miimon == 0 {
            return Verdict::degraded(
                "the link is up, but miimon is 0: nothing takes the port in",
                format!("oxbond set {} --miimon 100", self.name),
            );
        }
        let words = format!(
            "the link is back; the driver looks every {} ms",
            self.options.miimon
        );
        Verdict::passing(words, None)
    }

    /// What the ARP monitor misses on a port.
    fn silence(&self, port: &PortPicture) -> String {
        silence(&self.targets(), None, self.is_validated(port))
    }

    /// Who the ARP monitor asks.
    pub(super) fn targets(&self) -> Vec<IpAddr> {
        let ipv4 = self.options.arp_ip_target.iter().copied();
        let ipv6 = self.options.ns_ip6_target.iter().copied();
        ipv4.map(IpAddr::from)
            .chain(ipv6.map(IpAddr::from))
            .collect()
    }

    /// Answers are checked on this port.
    pub(super) fn is_validated(&self, port: &PortPicture) -> bool {
        let active = self.options.mode != Mode::ActiveBackup
            || self.active_port.as_ref() == Some(&port.name);
        self.options.arp_validate.checks(active)
    }

    fn work(&self, port: &PortPicture) -> Verdict {
        let carrying =
            |port: &&PortPicture| port.mii_status == MiiStatus::Up && port.role == PortRole::Active;
        let carrying = self.ports.iter().filter(carrying).count();
        let is_active = self.active_port.as_ref() == Some(&port.name);
        // A port that the ARP monitor tried stays marked as active, though it sends nothing.
        let role = match (self.options.mode, is_active) {
            (Mode::ActiveBackup, false) => PortRole::Backup,
            _ => port.role,
        };
        judge::work(&Work {
            mode: self.options.mode,
            role,
            is_active,
            active: self.active_port.as_deref(),
            runner_up: self.runner_up().map(|port| port.name.as_str()),
            part: &judge::equal_part(self.options.mode, carrying.max(1)),
        })
    }

    /// The port that would follow the active one, if one is up: the primary, else the one of the highest `prio`, the first
    /// in the list among equals.
    fn runner_up(&self) -> Option<&PortPicture> {
        let usable = |port: &&PortPicture| {
            let active = self.active_port.as_ref() == Some(&port.name);
            !active && port.mii_status == MiiStatus::Up && port.link.is_usable()
        };
        let primary = self.options.primary.as_deref();
        let rank = |port: &&PortPicture| {
            let is_primary = primary == Some(port.name.as_str());
            core::cmp::Reverse((is_primary, port.options.prio))
        };
        self.ports.iter().filter(usable).min_by_key(rank)
    }
}

/// Link aggregation.
impl Picture {
    fn aggregation(&self) -> lacp::Status {
        let mut aggregators: Vec<AggregatorStatus> = Vec::new();
        for (index, port) in self.ports.iter().enumerate() {
            let Some(part) = &port.aggregation else {
                continue;
            };
            let Some(id) = part.aggregator else {
                continue;
            };
            let linked = usize::from(port.link.is_usable());
            if let Some(known) = aggregators.iter_mut().find(|known| known.id == id) {
                known.ports.push(PortIndex(index));
                known.linked += linked;
                continue;
            }
            let active = self.active_aggregator.filter(|active| active.id == id);
            // Keys and partner, which ports of one aggregator have in common.
            let common = match (active, part.pdus) {
                (Some(it), _) => Some((it.actor_key, it.partner_key, it.partner_system)),
                (None, Some(it)) => Some((it.actor.key, it.partner.key, it.partner.system)),
                (None, None) => None,
            };
            let shares = |state: Option<u8>| state.map(|bits| Flags(bits).has(Flags::AGGREGATION));
            aggregators.push(AggregatorStatus {
                id,
                active: active.is_some(),
                ports: vec![PortIndex(index)],
                linked,
                actor_key: common.map(|(key, _, _)| key),
                partner_key: common.map(|(_, key, _)| key),
                partner_system: common.map(|(_, _, system)| system),
                individual: shares(part.actor_state) == Some(false)
                    || port.is_current() && shares(part.partner_state) == Some(false),
            });
        }
        // The driver counts those that are enabled, not those that have a link.
        for known in &mut aggregators {
            if let Some(active) = self
                .active_aggregator
                .filter(|active| active.id == known.id)
            {
                known.linked = usize::from(active.ports);
            }
        }
        aggregators.sort_by_key(|aggregator| aggregator.id);
        lacp::Status {
            system_priority: self.system.map(|(priority, _)| priority),
            system: self.system.map(|(_, system)| system),
            aggregators,
        }
    }

    fn port_lacp(&self, index: usize, port: &PortPicture) -> lacp::PortStatus {
        let part = port.aggregation.as_ref();
        let (actor, partner) = self.participants(port);
        let aggregator = part.and_then(|part| part.aggregator);
        let active = self.active_aggregator.map(|active| active.id);
        let alone = self.is_alone(port);
        let mux = self.mux(port);
        lacp::PortStatus {
            id: PortIndex(index),
            actor,
            partner,
            aggregator,
            selected: match aggregator {
                None => Selected::Unselected,
                id if id == active => Selected::Selected,
                Some(_) => Selected::Standby,
            },
            receive: port.receive(),
            mux,
            actor_churn: part.and_then(|part| part.churn).map(|(ours, _)| ours),
            actor_churned: part.map_or(0, |part| part.churned.0),
            partner_churn: part.and_then(|part| part.churn).map(|(_, theirs)| theirs),
            partner_churned: part.map_or(0, |part| part.churned.1),
            collecting: mux.collects() || alone,
            distributing: mux.distributes() || alone,
            fallback: alone,
            drain: lacp::Drain::No,
            reason: self.reason(port),
            heard: None,
            counters: part.map(|part| part.counters).unwrap_or_default(),
        }
    }

    /// Both ends of a port, as far as they show: to an administrator wholly, else their flags, and what the active
    /// aggregator tells of its ports.
    fn participants(&self, port: &PortPicture) -> (Participant, Participant) {
        let Some(part) = &port.aggregation else {
            return (Participant::default(), Participant::default());
        };
        if let Some(pdus) = part.pdus {
            return (pdus.actor.into(), pdus.partner.into());
        }
        let state = |bits: Option<u8>| Flags(bits.unwrap_or_default());
        let active = self
            .active_aggregator
            .filter(|active| part.aggregator == Some(active.id));
        let actor = Participant {
            key: active.map(|active| active.actor_key),
            state: state(part.actor_state),
            ..Participant::default()
        };
        let partner = Participant {
            system: active.map(|active| active.partner_system),
            key: active.map(|active| active.partner_key),
            state: state(part.partner_state),
            ..Participant::default()
        };
        (actor, partner)
    }

    fn mux(&self, port: &PortPicture) -> MuxState {
        let Some(part) = &port.aggregation else {
            return MuxState::Detached;
        };
        let actor = Flags(part.actor_state.unwrap_or_default());
        if actor.has(Flags::DISTRIBUTING) {
            match self.options.coupled_control {
                Switch::On => MuxState::CollectingDistributing,
                Switch::Off => MuxState::Distributing,
            }
        } else if actor.has(Flags::COLLECTING) {
            MuxState::Collecting
        } else if actor.has(Flags::SYNC) {
            MuxState::Attached
        } else if part.aggregator.is_some() {
            MuxState::Waiting
        } else {
            MuxState::Detached
        }
    }

    /// The port carries without a partner: so do all of the driver's active aggregator, if that has none.
    pub(super) fn is_alone(&self, port: &PortPicture) -> bool {
        let active = self.active_aggregator;
        let aggregator = port.aggregation.as_ref().and_then(|part| part.aggregator);
        let lacks_partner = active.is_some_and(|active| active.partner_system == MacAddr::ZERO);
        let here = aggregator.is_some() && aggregator == active.map(|active| active.id);
        let carries = port.role == PortRole::Active && port.mii_status == MiiStatus::Up;
        lacks_partner && here && carries && !port.distributes()
    }

    /// What a port carries by LACP, or why it carries nothing.
    fn port_aggregated(&self, port: &PortPicture) -> Verdict {
        let Some(reason) = self.reason(port) else {
            return self.work(port);
        };
        judge::aggregated(
            &reason,
            reason.to_string(),
            port.role,
            &self.name,
            Engine::Kernel,
        )
    }

    /// Why a port does not distribute, as far as the driver tells; `None` if it does.
    pub(super) fn reason(&self, port: &PortPicture) -> Option<Reason> {
        if port.distributes() {
            return None;
        }
        if !port.link.is_usable() || port.mii_status == MiiStatus::Down {
            return Some(Reason::LinkDown);
        }
        let part = port.aggregation.as_ref();
        let actor = Flags(part.and_then(|part| part.actor_state).unwrap_or_default());
        let heard = part.is_some_and(|part| part.counters.lacpdus_rx > 0);
        let asked = self.options.lacp_active == Switch::On;
        Some(match port.receive() {
            ReceiveState::LacpDisabled if port.link.duplex == Duplex::Half => Reason::HalfDuplex,
            ReceiveState::LacpDisabled => Reason::UnknownDuplex,
            ReceiveState::Expired | ReceiveState::Defaulted if heard => {
                Reason::Silent { since: None }
            }
            ReceiveState::Defaulted => Reason::NeverAnswered { since: None, asked },
            ReceiveState::Current => self.linked(part?, actor),
            _ => Reason::Looking,
        })
    }

    /// The port's partner is current.
    fn linked(&self, part: &PortAggregation, actor: Flags) -> Reason {
        let partner = Flags(part.partner_state.unwrap_or_default());
        if !actor.has(Flags::ACTIVITY) && !partner.has(Flags::ACTIVITY) {
            return Reason::BothPassive;
        }
        if let (Some(own), Some(active)) = (part.aggregator, self.active_aggregator)
            && own != active.id
        {
            return Reason::OtherAggregator {
                own,
                active: active.id,
                difference: self.difference(part),
            };
        }
        if partner.has(Flags::DEFAULTED) {
            Reason::OneWay
        } else if partner.has(Flags::EXPIRED | Flags::TIMEOUT) {
            Reason::HeardSlow
        } else if !actor.has(Flags::SYNC) {
            Reason::Waiting { remaining: None }
        } else if !partner.has(Flags::SYNC) {
            Reason::PartnerNotInSync
        } else if !partner.has(Flags::COLLECTING) {
            Reason::PartnerNotCollecting
        } else {
            Reason::Waiting { remaining: None }
        }
    }

    /// What sets a port's aggregator apart from the active one.
    fn difference(&self, part: &PortAggregation) -> Option<Difference> {
        let (pdus, active) = (part.pdus?, self.active_aggregator?);
        Some(if pdus.actor.key != active.actor_key {
            let (own, active) = (pdus.actor.key, active.actor_key);
            Difference::OwnKey { own, active }
        } else if pdus.partner.system != active.partner_system {
            let (own, active) = (pdus.partner.system, active.partner_system);
            Difference::Partner { own, active }
        } else if pdus.partner.key != active.partner_key {
            let (own, active) = (pdus.partner.key, active.partner_key);
            Difference::PartnerKey { own, active }
        } else {
            Difference::Individual
        })
    }
}

impl PortPicture {
    fn actor(&self) -> Option<Flags> {
        let part = self.aggregation.as_ref()?;
        part.actor_state.map(Flags)
    }

    /// It distributes by agreement with a partner.
    pub(super) fn distributes(&self) -> bool {
        self.actor()
            .is_some_and(|actor| actor.has(Flags::DISTRIBUTING))
    }

    /// It collects by agreement with a partner.
    pub(super) fn collects(&self) -> bool {
        self.actor()
            .is_some_and(|actor| actor.has(Flags::COLLECTING))
    }

    /// The partner is as it told.
    pub(super) fn is_current(&self) -> bool {
        self.receive() == ReceiveState::Current
    }

    pub(super) fn receive(&self) -> ReceiveState {
        if !self.link.is_usable() {
            return ReceiveState::PortDisabled;
        }
        let heard = |actor: &Flags| actor.0 & (Flags::EXPIRED | Flags::DEFAULTED).0 == 0;
        let actor = self.actor();
        if self.link.duplex != Duplex::Full && !actor.as_ref().is_some_and(heard) {
            return ReceiveState::LacpDisabled;
        }
        match actor {
            None => ReceiveState::Initialize,
            Some(actor) if actor.has(Flags::EXPIRED) => ReceiveState::Expired,
            Some(actor) if actor.has(Flags::DEFAULTED) => ReceiveState::Defaulted,
            Some(_) => ReceiveState::Current,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{PARTNER, US, bond};
    use super::*;
    use crate::verdict::Health;

    /// Verdict of the bond, then of each port.
    fn said(picture: &Picture) -> Vec<String> {
        let status = picture.status(None, &[]);
        let ports = status.ports.iter().map(|port| port.reason.clone());
        core::iter::once(status.verdict.words)
            .chain(ports)
            .collect()
    }

    fn health(picture: &Picture) -> Vec<Health> {
        let status = picture.status(None, &[]);
        let ports = status.ports.iter().map(|port| port.health);
        core::iter::once(status.verdict.health)
            .chain(ports)
            .collect()
    }

    #[test]
    fn active_backup() {
        let mut picture = bond("mode active-backup miimon 100 primary v0");
        let expected = ["v0".to_owned(), "v2".to_owned()];
        let status = picture.status(None, &expected);
        assert_eq!(status.primary.as_deref(), Some("v0"));
        assert_eq!(status.active_port.as_deref(), Some("v0"));
        assert_eq!(status.missing().collect::<Vec<_>>(), ["v2"]);
        assert_eq!((status.failovers, status.ports[0].since), (None, None));
        assert_eq!(
            said(&picture),
            [
                "has carrier: v0 carries the traffic",
                "carries the traffic; v1 would follow",
                "waits; v0 is the active port"
            ]
        );

        picture.unplug(1);
        assert_eq!(
            said(&picture)[1..],
            [
                "carries the traffic; no other port could follow",
                "no carrier"
            ]
        );
        assert_eq!(
            health(&picture),
            [Health::Well, Health::Well, Health::Degraded]
        );
        let advice = picture.status(None, &[]).ports[1].advice.clone();
        assert!(advice.unwrap().contains("ethtool v1"));

        picture.unplug(0);
        (picture.active_port, picture.carrier) = (None, false);
        assert_eq!(said(&picture)[0], "no carrier: no port can carry anything");
    }

    /// Delays run in the driver, which does not tell how long they still do.
    #[test]
    fn delays_are_bounds() {
        let mut picture = bond("mode active-backup miimon 100 updelay 300 downdelay 500");
        picture.unplug(0);
        picture.ports[0].mii_status = MiiStatus::GoingDown;
        picture.ports[1].mii_status = MiiStatus::GoingBack;
        assert_eq!(
            said(&picture)[1..],
            [
                "no carrier; given up within 500 ms (downdelay)",
                "the link is back; used within 300 ms (updelay)"
            ]
        );
        // Between two looks of the driver.
        picture.ports[0].mii_status = MiiStatus::Up;
        picture.ports[1].mii_status = MiiStatus::Down;
        assert_eq!(
            said(&picture)[1..],
            [
                "no carrier; the driver looks every 100 ms",
                "the link is back; the driver looks every 100 ms"
            ]
        );
        assert_eq!(health(&picture)[1..], [Health::Passing; 2]);
    }

    #[test]
    fn without_a_monitor_nothing_is_well() {
        for mode in ["balance-rr", "active-backup", "balance-xor", "broadcast"] {
            let mut picture = bond(&format!("mode {mode}"));
            let status = picture.status(None, &[]);
            assert_eq!(status.verdict.health, Health::Degraded, "{mode}");
            assert!(
                status
                    .verdict
                    .words
                    .starts_with("nothing watches the links of bond1")
            );
            assert_eq!(
                status.verdict.advice.as_deref(),
                Some("oxbond set bond1 --miimon 100")
            );
            picture.unplug(1);
            picture.ports[1].mii_status = MiiStatus::Up;
            assert_eq!(
                said(&picture)[2],
                "no carrier, but miimon is 0: nothing takes it out"
            );
        }
    }

    #[test]
    fn the_arp_monitor_hears_nothing() {
        let mut picture = bond("mode active-backup arp_interval 200 arp_ip_target 10.9.0.2");
        picture.ports[1].mii_status = MiiStatus::Down;
        assert_eq!(said(&picture)[2], "nothing heard, though 10.9.0.2 is asked");
        picture.options = super::super::sample::options(
            "mode active-backup arp_interval 200 arp_ip_target 10.9.0.2 arp_validate all",
        );
        assert_eq!(said(&picture)[2], "no answer from 10.9.0.2");
        // Its turn to ask, and the end of it.
        for turn in [MiiStatus::GoingBack, MiiStatus::GoingDown] {
            picture.ports[1].mii_status = turn;
            picture.ports[1].role = PortRole::Active;
            assert_eq!(said(&picture)[2], "no answer from 10.9.0.2");
        }
        picture.ports[1].mii_status = MiiStatus::Up;
        assert_eq!(said(&picture)[2], "waits; v0 is the active port");
        picture.unplug(1);
        assert_eq!(said(&picture)[2], "no carrier");
    }

    #[test]
    fn an_aggregate() {
        let picture = bond("mode 802.3ad miimon 100 lacp_rate fast");
        let status = picture.status(None, &[]);
        assert_eq!(
            said(&picture),
            [
                "has carrier: 2 of 2 ports carry",
                "carries its share of the flows, 1 of 2",
                "carries its share of the flows, 1 of 2"
            ]
        );
        let lacp = status.lacp.unwrap();
        assert_eq!(
            (lacp.system_priority, lacp.system),
            (Some(65_535), Some(US))
        );
        let active = lacp.active().unwrap();
        assert_eq!((active.id, active.linked, active.ports.len()), (1, 2, 2));
        assert_eq!(
            (active.actor_key, active.partner_system),
            (Some(15), Some(PARTNER))
        );
        assert!(!active.individual);
        let port = status.ports[1].lacp.as_ref().unwrap();
        assert_eq!(port.actor.information().unwrap().port, 2);
        assert_eq!(port.receive, ReceiveState::Current);
        assert_eq!(port.mux, MuxState::CollectingDistributing);
        assert!(port.collecting && port.distributing && !port.fallback);
        assert_eq!((port.reason.clone(), port.heard), (None, None));
        assert!(status.hidden.is_empty());
    }

    #[test]
    fn what_is_hidden_is_not_made_up() {
        let picture = bond("mode 802.3ad miimon 100").seen_by_anybody();
        let status = picture.status(None, &[]);
        assert_eq!(status.hidden, ADMINISTRATORS);
        let lacp = status.lacp.unwrap();
        assert_eq!((lacp.system_priority, lacp.system), (None, None));
        // The active aggregator shows to everybody.
        assert_eq!(lacp.active().unwrap().partner_key, Some(15));
        let port = status.ports[0].lacp.as_ref().unwrap();
        assert_eq!(port.actor.state, Flags(63));
        assert_eq!(port.actor.information(), None);
        assert_eq!(
            (port.partner.system, port.partner.port),
            (Some(PARTNER), None)
        );
        let json = serde_json::to_value(port).unwrap();
        assert!(json["partner"]["port"].is_null() && json["partner"]["state"] == 63);
        // Only mode 802.3ad has them at all.
        let picture = bond("mode active-backup miimon 100").seen_by_anybody();
        assert!(picture.status(None, &[]).hidden.is_empty());
    }

    #[test]
    fn why_a_port_does_not_distribute() {
        let bits = |actor, partner| move |picture: &mut Picture| picture.bits(1, actor, partner);
        let never = |picture: &mut Picture| {
            picture.bits(1, 0x47, 0);
            picture.ports[1].aggregation.as_mut().unwrap().counters = Default::default();
        };
        let half = |picture: &mut Picture| {
            picture.bits(1, 0x44, 0);
            picture.ports[1].link.duplex = Duplex::Half;
        };
        let unknown = |picture: &mut Picture| {
            picture.ports[1].role = PortRole::Backup;
            picture.ports[1].aggregation = None;
            picture.ports[1].link.duplex = Duplex::Unknown;
        };
        let other = |picture: &mut Picture| {
            picture.bits(1, 0x05, 0x05);
            let part = picture.ports[1].aggregation.as_mut().unwrap();
            part.aggregator = Some(2);
            part.pdus.as_mut().unwrap().partner.key = 9;
        };
        type Change<'a> = Box<dyn Fn(&mut Picture) + 'a>;
        let cases: [(Change<'_>, &str); 12] = [
            (Box::new(bits(0xc7, 2)), "partner fell silent"),
            (
                Box::new(never),
                "partner never answered: is LACP on at the other end?",
            ),
            (
                Box::new(bits(0x06, 0x06)),
                "both ends are passive: set lacp_active=on here, or active mode there",
            ),
            (
                Box::new(bits(0x07, 0x07)),
                "waits for other ports to come along",
            ),
            (
                Box::new(bits(0x0f, 0x07)),
                "partner has not attached this port",
            ),
            (
                Box::new(bits(0x0f, 0x0f)),
                "partner is in sync and does not collect",
            ),
            (
                Box::new(bits(0x0f, 0x4f)),
                "we see partner, partner does not see us: one-way link",
            ),
            (
                Box::new(bits(0x0f, 0x8f)),
                "partner expects fast, hears slow: our LACPDUs reach it too late",
            ),
            (
                Box::new(other),
                "in aggregator 2, while 1 is active: partner put this port in another aggregator: key 9, others 15",
            ),
            (
                Box::new(half),
                "half duplex: LACP does not run on this link",
            ),
            (
                Box::new(unknown),
                "the duplex is not known: the driver does not run LACP on this link",
            ),
            (
                Box::new(|picture: &mut Picture| picture.unplug(1)),
                "no carrier",
            ),
        ];
        for (change, words) in cases {
            let mut picture = bond("mode 802.3ad miimon 100");
            change(&mut picture);
            let status = picture.status(None, &[]);
            assert_eq!(status.ports[1].reason, words);
            assert_ne!(status.ports[1].health, Health::Well, "{words}");
            let lacp = status.ports[1].lacp.as_ref().unwrap();
            assert!(
                !lacp.distributing && lacp.reason.is_some() || words == "no carrier",
                "{words}"
            );
        }
    }

    /// The driver carries without a partner; that is said.
    #[test]
    fn alone() {
        let mut picture = bond("mode 802.3ad miimon 100");
        for index in 0..2 {
            picture.bits(index, 0x45, 0);
            let part = picture.ports[index].aggregation.as_mut().unwrap();
            (part.aggregator, part.counters) = (Some(index as u16 + 1), Default::default());
        }
        picture.ports[0].role = PortRole::Active;
        let active = picture.active_aggregator.as_mut().unwrap();
        (active.ports, active.partner_system) = (1, MacAddr::ZERO);
        assert_eq!(
            said(&picture),
            [
                "has carrier without a partner (lacp_strict=off): 1 of 2 ports carry",
                "carries the traffic alone: partner never answered: is LACP on at the other end?",
                "partner never answered: is LACP on at the other end?"
            ]
        );
        let status = picture.status(None, &[]);
        let port = status.ports[0].lacp.as_ref().unwrap();
        assert!(port.fallback && port.distributing);
        let advice = status.ports[0].advice.as_deref().unwrap();
        assert!(
            !advice.contains("lacp-fallback"),
            "the driver has none: {advice}"
        );
    }

    /// More ports than our own engine can have.
    #[test]
    fn a_bond_may_have_many_ports() {
        let mut picture = bond("mode balance-rr miimon 100");
        let port = picture.ports[0].clone();
        picture.ports = vec![port; 40];
        let status = picture.status(None, &[]);
        assert_eq!(status.attached(), 40);
        let last: Vec<PortIndex> = status.ports[30..].iter().map(|port| port.id).collect();
        assert_eq!(last, (30..40).map(PortIndex).collect::<Vec<_>>());
    }
}
