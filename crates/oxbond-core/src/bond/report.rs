//! The bond's picture for renderers: [`Bond::status`].

use super::{Bond, Port};
use crate::engine::Engine;
use crate::judge::{self, BondFacts, Left, Work};
use crate::lacp::{self, Drain, Lacp};
use crate::mii::Mii;
use crate::option::{Mode, Weight};
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
            failovers: Some(self.failovers),
            lacp: self.lacp.as_ref().map(Lacp::status),
            ports: self
                .ports
                .iter()
                .map(|port| self.port_status(port, now, lacp(port.id).cloned()))
                .collect(),
            expected: expected.to_vec(),
            hidden: Vec::new(),
            raw: Vec::new(),
        }
    }

    fn port_status(&self, port: &Port, now: Instant, lacp: Option<lacp::PortStatus>) -> PortStatus {
        let verdict = self.port_verdict(port, now);
        PortStatus {
            id: port.id.into(),
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
            since: Some(now.saturating_since(port.since)),
            reason: verdict.words,
            health: verdict.health,
            advice: verdict.advice,
            raw: Vec::new(),
        }
    }

    /// Of the bond as a whole.
    fn bond_verdict(&self) -> Verdict {
        let carrying = self.ports.iter().filter(|port| {
            let up = matches!(port.mii, Mii::Up | Mii::GoingDown(_)) && port.drain == Drain::No;
            up && self.role(port) == PortRole::Active
        });
        let lacp = self.lacp.as_ref();
        judge::bond(&BondFacts {
            engine: Engine::Ebpf,
            name: &self.name,
            up: self.admin_up,
            carrier: self.carrier,
            options: &self.options,
            ports: self.ports.len(),
            carrying: carrying.count(),
            distributing: self.distributing().len(),
            alone: lacp.is_some_and(|lacp| !lacp.fallback().is_empty()),
            active: self.active_name().as_deref(),
        })
    }

    /// Of a port.
    fn port_verdict(&self, port: &Port, now: Instant) -> Verdict {
        let name = &port.name;
        let lacking = judge::lacking(name, &port.link);
        let left = |deadline: Instant| Left::Exactly(deadline.saturating_since(now));
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
        match (port.mii, lacking) {
            (Mii::GoingDown(deadline), lacking) => judge::going_down(lacking, left(deadline)),
            (Mii::Down | Mii::Tried, None) => self.unheard(port, now),
            (Mii::Down | Mii::Tried, Some((words, advice))) => Verdict::degraded(words, advice),
            (Mii::GoingBack(deadline), _) => judge::going_back(left(deadline)),
            (Mii::Up, Some(lacking)) if !self.monitored() => {
                judge::unwatched(Engine::Ebpf, &self.name, lacking)
            }
            (Mii::Up, _) => match (self.options.mode, self.role(port)) {
                (Mode::Ieee8023ad, role) => self.aggregation(port, role, now),
                _ => self.work(port),
            },
        }
    }

    /// What a port whose link is up does, in modes without LACP.
    fn work(&self, port: &Port) -> Verdict {
        judge::work(&Work {
            mode: self.options.mode,
            role: self.role(port),
            is_active: self.active == Some(port.id),
            active: self.active_name().as_deref(),
            runner_up: self.runner_up().map(|port| port.name.as_str()),
            part: &self.part(port),
        })
    }

    /// The ARP monitor hears nothing on a port.
    fn unheard(&self, port: &Port, now: Instant) -> Verdict {
        judge::unheard(&self.name, self.silence(port, now))
    }

    /// What a port carries by LACP, or why it carries nothing.
    fn aggregation(&self, port: &Port, role: PortRole, now: Instant) -> Verdict {
        let missing = self
            .lacp
            .as_ref()
            .and_then(|lacp| lacp.reason(now, port.id));
        let Some(reason) = missing else {
            return match role {
                PortRole::Active => self.work(port),
                PortRole::Backup => self.unheard(port, now),
            };
        };
        let named = |number| {
            let port = PortId::numbered(number).and_then(|id| self.port(id));
            port.map(|port| port.name.clone())
        };
        let words = reason.words(named);
        judge::aggregated(&reason, words, role, &self.name, Engine::Ebpf)
    }

    /// What a port carries of that which is spread over all.
    fn part(&self, port: &Port) -> String {
        let mode = self.options.mode;
        match self.balancer.load_of(port.id) {
            (_, 0) if let Some(percent) = self.unequal_share(port) => {
                format!("its share of the {}, {percent} %", judge::spread(mode))
            }
            (_, 0) => {
                let carrying = self
                    .partaking()
                    .filter(|port| port.mii.status() == MiiStatus::Up)
                    .filter(|port| self.role(port) == PortRole::Active)
                    .count();
                judge::equal_part(mode, carrying)
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
