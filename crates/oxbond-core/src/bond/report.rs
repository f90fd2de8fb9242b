//! The bond's picture for renderers: [`Bond::status`].

use super::{Bond, Port};
use crate::lacp::{self, Drain, Lacp};
use crate::mii::Mii;
use crate::option::{Mode, Weight};
use crate::port::PortId;
use crate::status::{BondStatus, MiiStatus, PortRole, PortStatus, STATUS_VERSION};
use crate::table::Spread;
use crate::time::Instant;

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
            reason: self.reason(port, now),
        }
    }

    fn reason(&self, port: &Port, now: Instant) -> String {
        let missing = if !port.link.admin_up {
            "the interface is set down"
        } else if !port.link.carrier {
            "no carrier"
        } else {
            "the link was lost a moment ago"
        };
        let left = |deadline: Instant| deadline.saturating_since(now).as_millis();
        match port.drain {
            Drain::No => {}
            Drain::Leaving { .. } => {
                return "being drained: nothing new is sent on it".to_owned();
            }
            Drain::Out => return "drained: it can be detached".to_owned(),
        }
        match port.mii {
            Mii::GoingDown(deadline) => {
                return format!("{missing}; given up in {} ms (downdelay)", left(deadline));
            }
            Mii::Down | Mii::Tried if port.link.is_usable() => return self.silence(port, now),
            Mii::Down | Mii::Tried => return missing.to_owned(),
            Mii::GoingBack(deadline) => {
                return format!("the link is back; used in {} ms (updelay)", left(deadline));
            }
            Mii::Up if !port.link.is_usable() && !self.monitored() => {
                return format!("{missing}, but miimon is 0: only the data path avoids it");
            }
            Mii::Up => {}
        }
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
            (Mode::Ieee8023ad, role) => self.aggregation(port, role, now),
            (Mode::Broadcast, _) => "carries a copy of every frame".to_owned(),
            (Mode::BalanceRr | Mode::BalanceXor, _) => format!("carries {}", self.part(port)),
        }
    }

    /// What a port carries by LACP, or why it carries nothing.
    fn aggregation(&self, port: &Port, role: PortRole, now: Instant) -> String {
        let missing = self
            .lacp
            .as_ref()
            .and_then(|lacp| lacp.reason(now, port.id));
        let named = |number| {
            let port = PortId::numbered(number).and_then(|id| self.port(id));
            port.map(|port| port.name.clone())
        };
        let missing = missing.map(|reason| reason.words(named));
        match (role, missing) {
            (PortRole::Active, None) => format!("carries {}", self.part(port)),
            (PortRole::Active, Some(reason)) => format!("carries the traffic alone: {reason}"),
            (PortRole::Backup, Some(reason)) => reason,
            (PortRole::Backup, None) => self.silence(port, now),
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
