//! The bond's picture for renderers: [`Bond::status`].

use super::{Bond, Port};
use crate::lacp::{self, Drain, Lacp};
use crate::mii::Mii;
use crate::option::{Mode, Switch, Weight};
use crate::port::PortId;
use crate::status::{BondStatus, MiiStatus, PortRole, PortStatus, STATUS_VERSION};
use crate::table::Spread;
use crate::time::Instant;
use crate::verdict::Verdict;

impl Bond {
    /// The bond as it stands. `expected` are the ports the configuration names.
    #[must_use]
    pub fn status(&self, now: Instant, expected: &[String]) -> BondStatus {
        let name = |id| self.port(id).map(|port| port.name.clone());
        let aggregated = self.lacp.as_ref().map(|lacp| lacp.ports(now));
        let lacp = |id| aggregated.iter().flatten().find(|port| port.id == id);
        BondStatus {
            version: STATUS_VERSION,
            name: self.name.clone(),
            carrier: self.carrier,
            verdict: self.bond_verdict(),
            mac: self.mac,
            options: self.options.clone(),
            primary: self.primary().and_then(name),
            active_port: self.active.and_then(name),
            failovers: self.failovers,
            lacp: self.lacp.as_ref().map(Lacp::status),
            ports: self
                .ports
                .iter()
                .map(|port| self.port_status(port, now, lacp(port.id).cloned()))
                .collect(),
            expected: expected.to_vec(),
        }
    }

    fn port_status(&self, port: &Port, now: Instant, lacp: Option<lacp::PortStatus>) -> PortStatus {
        let verdict = self.port_verdict(port, now);
        PortStatus {
            id: port.id,
            name: port.name.clone(),
            ifindex: port.ifindex,
            mii_status: port.mii.status(),
            role: self.role(port),
            speed_mbps: port.link.speed_mbps,
            duplex: port.link.duplex,
            link_failure_count: port.link_failure_count,
            permanent_mac: port.permanent_mac,
            mac: port.mac,
            queue_id: port.options.queue_id,
            prio: port.options.prio,
            actor_port_prio: port.options.actor_port_prio,
            weight: port.options.weight,
            lacp,
            drain: port.drain,
            since: now.saturating_since(port.since),
            reason: verdict.words,
            health: verdict.health,
            advice: verdict.advice,
        }
    }

    /// Of the bond as a whole.
    fn bond_verdict(&self) -> Verdict {
        let bond = &self.name;
        if !self.admin_up {
            let advice = format!("ip link set {bond} up");
            return Verdict::degraded("it is set down", advice);
        }
        if self.ports.is_empty() {
            let advice = format!("oxbond add-port {bond} PORT");
            return Verdict::degraded("it has no port", advice);
        }
        let carrying = self.ports.iter().filter(|port| {
            let up = matches!(port.mii, Mii::Up | Mii::GoingDown(_)) && port.drain == Drain::No;
            up && self.role(port) == PortRole::Active
        });
        let carrying = carrying.count();
        let all = self.ports.len();
        if self.options.mode == Mode::Ieee8023ad {
            return self.lacp_verdict(carrying);
        }
        let advice = "one port with a link is enough: see below what each of them lacks";
        match (self.carrier, self.options.mode) {
            (false, _) => Verdict::degraded("no carrier: no port can carry anything", advice),
            (true, Mode::ActiveBackup) => match self.active_name() {
                Some(active) => Verdict::well(format!("has carrier: {active} carries the traffic")),
                None => Verdict::degraded("no port is active", advice),
            },
            (true, _) => Verdict::well(format!("has carrier: {carrying} of {all} ports carry")),
        }
    }

    fn lacp_verdict(&self, carrying: usize) -> Verdict {
        let (bond, least) = (&self.name, self.options.min_links);
        let all = self.ports.len();
        let distributing = match self.distributing().len() {
            1 => "1 port distributes".to_owned(),
            ports => format!("{ports} ports distribute"),
        };
        let alone = self
            .lacp
            .as_ref()
            .is_some_and(|lacp| !lacp.fallback().is_empty());
        let strict = self.options.lacp_strict == Switch::On;
        if self.carrier && alone {
            let policy = match strict {
                true => format!("lacp_fallback={}", self.options.lacp_fallback.word()),
                false => "lacp_strict=off".to_owned(),
            };
            return Verdict::degraded(
                format!(
                    "has carrier without a partner ({policy}): {carrying} of {all} ports carry"
                ),
                "it works without LACP, and so with less: see below what the ports wait for",
            );
        }
        if self.carrier && self.distributing().is_empty() {
            return Verdict::degraded(
                "has carrier, and no port distributes (lacp_strict=off)",
                format!("oxbond set {bond} --lacp-strict on, so that the carrier tells the truth"),
            );
        }
        if self.carrier {
            return Verdict::well(format!("has carrier: {carrying} of {all} ports carry"));
        }
        if !self.distributing().is_empty() {
            return Verdict::degraded(
                format!("no carrier: {distributing}, min_links asks for {least}"),
                format!("bring up the other ports, or oxbond set {bond} --min-links N"),
            );
        }
        Verdict::degraded(
            format!("no carrier: {distributing}"),
            format!(
                "see below what each port lacks; oxbond set {bond} --lacp-fallback active-backup lets one carry while there is no partner"
            ),
        )
    }

    /// Of a port.
    fn port_verdict(&self, port: &Port, now: Instant) -> Verdict {
        let name = &port.name;
        let (missing, advice) = if !port.link.admin_up {
            let advice = format!("ip link set {name} up");
            ("the interface is set down", advice)
        } else if !port.link.carrier {
            let advice = format!(
                "look at the cable, the transceivers and the port at the other end; ethtool {name} tells what it sees"
            );
            ("no carrier", advice)
        } else {
            ("the link was lost a moment ago", String::new())
        };
        let left = |deadline: Instant| deadline.saturating_since(now).as_millis();
        let undrain = || format!("oxbond undrain {} {name}", self.name);
        match port.drain {
            Drain::No => {}
            Drain::Leaving { .. } => {
                let words = "being drained: nothing new is sent on it";
                return Verdict::passing(words, Some(undrain()));
            }
            Drain::Out => {
                let advice = format!("{} brings it back", undrain());
                return Verdict::degraded("drained: it can be detached", advice);
            }
        }
        match port.mii {
            Mii::GoingDown(deadline) => {
                let words = format!("{missing}; given up in {} ms (downdelay)", left(deadline));
                return Verdict::passing(words, Some(advice).filter(|advice| !advice.is_empty()));
            }
            Mii::Down | Mii::Tried if port.link.is_usable() => return self.unheard(port, now),
            Mii::Down | Mii::Tried => return Verdict::degraded(missing, advice),
            Mii::GoingBack(deadline) => {
                let words = format!("the link is back; used in {} ms (updelay)", left(deadline));
                return Verdict::passing(words, None);
            }
            Mii::Up if !port.link.is_usable() && !self.monitored() => {
                let words = format!("{missing}, but miimon is 0: only the data path avoids it");
                let advice = format!("{advice}; oxbond set {} --miimon 100", self.name);
                return Verdict::degraded(words, advice);
            }
            Mii::Up => {}
        }
        match (self.options.mode, self.role(port)) {
            (Mode::Ieee8023ad, role) => self.aggregation(port, role, now),
            _ => Verdict::well(self.work(port)),
        }
    }

    /// What a port whose link is up does, in modes without LACP.
    fn work(&self, port: &Port) -> String {
        match (self.options.mode, self.role(port)) {
            (Mode::ActiveBackup, PortRole::Active) => match self.runner_up() {
                Some(next) => format!("carries the traffic; {} would follow", next.name),
                None => "carries the traffic; no other port could follow".to_owned(),
            },
            (Mode::ActiveBackup, PortRole::Backup) => {
                match self.active.and_then(|id| self.port(id)) {
                    Some(active) => format!("waits; {} is the active port", active.name),
                    None => "waits".to_owned(),
                }
            }
            (Mode::BalanceTlb, _) if self.active == Some(port.id) => {
                let part = self.part(port);
                format!("the active port: receives, and sends {part}")
            }
            (Mode::BalanceTlb, _) => format!("sends {}", self.part(port)),
            (Mode::BalanceAlb, _) if self.active == Some(port.id) => {
                let part = self.part(port);
                format!(
                    "the active port: receives its clients and what goes to groups, sends {part}"
                )
            }
            (Mode::BalanceAlb, _) => format!("receives its clients, sends {}", self.part(port)),
            (Mode::Broadcast, _) => "carries a copy of every frame".to_owned(),
            (Mode::BalanceRr | Mode::BalanceXor | Mode::Ieee8023ad, _) => {
                format!("carries {}", self.part(port))
            }
        }
    }

    /// The ARP monitor hears nothing on a port.
    fn unheard(&self, port: &Port, now: Instant) -> Verdict {
        let advice = format!(
            "ask from here: arping -I {} TARGET; look at the cable's other end (another switch, another VLAN?) and whether the targets answer anybody; a second arp_ip_target tells a dead target from a dead path",
            self.name
        );
        Verdict::degraded(self.silence(port, now), advice)
    }

    /// What a port carries by LACP, or why it carries nothing.
    fn aggregation(&self, port: &Port, role: PortRole, now: Instant) -> Verdict {
        let missing = self
            .lacp
            .as_ref()
            .and_then(|lacp| lacp.reason(now, port.id));
        let Some(reason) = missing else {
            return match role {
                PortRole::Active => Verdict::well(self.work(port)),
                PortRole::Backup => self.unheard(port, now),
            };
        };
        let named = |number| {
            let port = PortId::numbered(number).and_then(|id| self.port(id));
            port.map(|port| port.name.clone())
        };
        let words = reason.words(named);
        let words = match role {
            PortRole::Active => format!("carries the traffic alone: {words}"),
            PortRole::Backup => words,
        };
        Verdict {
            health: reason.health(),
            words,
            advice: reason.advice(&self.name),
        }
    }

    /// What a port carries of that which is spread over all.
    fn part(&self, port: &Port) -> String {
        let what = match self.options.mode {
            Mode::BalanceRr => "frames",
            _ => "flows",
        };
        match self.balancer.load_of(port.id) {
            (_, 0) if let Some(percent) = self.unequal_share(port) => {
                format!("its share of the {what}, {percent} %")
            }
            (_, 0) => {
                let carrying = self
                    .partaking()
                    .filter(|port| port.mii.status() == MiiStatus::Up)
                    .filter(|port| self.role(port) == PortRole::Active)
                    .count();
                format!("its share of the {what}, 1 of {carrying}")
            }
            (own, all) => {
                let permille = u128::from(own) * 1000 / u128::from(all);
                format!("{}.{} % of the load", permille / 10, permille % 10)
            }
        }
    }

    /// Percent of the buckets that are on a port now, where the ports' shares differ by weight.
    fn unequal_share(&self, port: &Port) -> Option<usize> {
        let Spread::Buckets(buckets) = &self.table.spread else {
            return None;
        };
        let first = self.ports.first()?.options.weight;
        let fixed = |port: &Port| port.options.weight == first && first != Weight::Auto;
        if self.ports.iter().all(fixed) {
            return None;
        }
        let its = buckets.now.iter().filter(|id| **id == port.id).count();
        (its * 100 + buckets.now.len() / 2).checked_div(buckets.now.len())
    }

    /// The port that would follow the active one, if one is up.
    fn runner_up(&self) -> Option<&Port> {
        let next = self
            .table
            .order
            .iter()
            .copied()
            .find(|id| Some(*id) != self.active)?;
        self.port(next)
            .filter(|port| port.mii == Mii::Up && port.link.is_usable())
    }
}
