//! What follows from the state for the data path: the transmit table and the carrier, mode by mode.
//!
//! | mode | spread | order | receives |
//! |---|---|---|---|
//! | balance-rr | buckets by sequence, IGMP exempt | list | every port |
//! | active-backup | failover | the active port, then who follows | the active port |
//! | balance-xor | buckets by hash | list | every port |
//! | broadcast | every port | list, without those that the ARP monitor gave up | every port |
//! | 802.3ad | buckets by hash | distributing ports | collecting ports |
//! | 802.3ad, one port without a partner | failover | that port, then the others | that port |
//! | balance-tlb | buckets by load, or by hash; groups exempt | as active-backup | the active port |
//! | balance-alb | buckets by load; groups, addresses exempt | as active-backup | active port; all, to their own address |
//!
//! A port that is drained is in no order. `all_slaves_active` makes every port of the bond deliver, whatever the mode.

use super::{Bond, Port};
use crate::buckets::Share;
use crate::lacp::Drain;
use crate::mii::Mii;
use crate::option::{Mode, Switch, Weight};
use crate::port::PortId;
use crate::select::failover_order;
use crate::status::PortRole;
use crate::table::{BucketKey, Buckets, Exempt, Receive, Spread, Tap, TransmitTable};

impl Bond {
    /// The table that the state asks for.
    pub(super) fn wanted_table(&self) -> TransmitTable {
        let mode = self.options.mode;
        let alone = self.carries_alone();
        let order = match mode {
            _ if mode.has_active_port() => {
                failover_order(&self.candidates(), self.active, self.primary())
            }
            Mode::Ieee8023ad => self.senders_and_spares(),
            Mode::Broadcast => self.answering(),
            _ => self.takers(),
        };
        let spread = match mode {
            Mode::ActiveBackup => Spread::Failover,
            Mode::Ieee8023ad if alone => Spread::Failover,
            Mode::Broadcast => Spread::Broadcast,
            Mode::BalanceRr => {
                let packets_per_port = self.options.packets_per_slave;
                Spread::Buckets(Buckets {
                    exempt: Exempt::Igmp,
                    ..self.buckets(BucketKey::Sequence { packets_per_port }, &order)
                })
            }
            Mode::BalanceTlb if !self.balances_load() => Spread::Buckets(Buckets {
                exempt: Exempt::Unbalanced,
                // Whoever is active, a flow stays where it is.
                ..self.buckets(self.hashed(), &self.takers())
            }),
            Mode::BalanceTlb => self.by_load(self.hashed(), Exempt::Unbalanced),
            Mode::BalanceAlb => self.by_load(BucketKey::Destination, Exempt::Negotiated),
            _ => Spread::Buckets(self.buckets(self.hashed(), &order)),
        };
        let receive = if self.options.all_slaves_active {
            Receive::Ports(self.everyone())
        } else if mode == Mode::BalanceAlb {
            Receive::ActiveAndOwn
        } else if mode.has_active_port() || alone {
            Receive::Active
        } else if mode == Mode::Ieee8023ad {
            Receive::Ports(self.collecting(&order))
        } else {
            Receive::Ports(self.everyone())
        };
        let first = order.first().copied();
        let probing = self.probing_tap();
        TransmitTable {
            spread,
            linger: if matches!(receive, Receive::Active | Receive::ActiveAndOwn) {
                self.lingering(first)
            } else {
                None
            },
            receive,
            queues: self.queues(),
            stations: self.stations(&order),
            tap: Tap {
                neighbours_received: mode == Mode::BalanceAlb || probing.neighbours_received,
                neighbours_sent: mode == Mode::BalanceAlb,
                slow_protocols: mode == Mode::Ieee8023ad,
                ..probing
            },
            neighbours_to_all: mode == Mode::Ieee8023ad
                && !alone
                && self.options.broadcast_neighbor == Switch::On,
            ..TransmitTable::failover(order)
        }
    }

    /// Whether the bond can carry traffic. Within its down delay a port still counts: that delay is there to ride out
    /// short losses.
    pub(super) fn carries(&self) -> bool {
        let mut links = self.partaking();
        match self.options.mode {
            Mode::Ieee8023ad => {
                let least = self.options.min_links as usize;
                // Those that send may be fewer, or others, than LACP alone would have.
                let lacp = self.lacp.as_ref();
                self.distributing().len() >= least.max(1)
                    || !self.probes() && lacp.is_some_and(|lacp| lacp.has_carrier(least))
            }
            _ => links.any(|port| matches!(port.mii, Mii::Up | Mii::GoingDown(_))),
        }
    }

    /// As in the driver: in balance-tlb and balance-alb, and in modes without an active port, every port is active,
    /// whatever its link.
    pub(super) fn role(&self, port: &Port) -> PortRole {
        let carries = match self.options.mode {
            Mode::ActiveBackup => self.active == Some(port.id),
            Mode::Ieee8023ad => self.distributing().contains(&port.id),
            _ => port.drain == Drain::No,
        };
        if carries {
            PortRole::Active
        } else {
            PortRole::Backup
        }
    }

    fn hashed(&self) -> BucketKey {
        BucketKey::Hash(self.options.xmit_hash_policy)
    }

    fn buckets(&self, key: BucketKey, order: &[PortId]) -> Buckets {
        let before = match &self.table.spread {
            Spread::Buckets(before) => Some(before),
            _ => None,
        };
        Buckets::weighted(key, &self.shares(order), before, |id| self.is_usable(id))
    }

    /// The option `weight` of these ports on one scale. Of those that are `auto`, a link of unknown speed counts as the
    /// slowest whose speed is known, and the slowest weighs as much as a fixed weight of 1.
    fn shares(&self, order: &[PortId]) -> Vec<Share> {
        let ports = || order.iter().filter_map(|id| self.port(*id));
        let slowest = ports()
            .filter(|port| port.options.weight == Weight::Auto)
            .filter_map(|port| port.known_speed_mbps)
            .filter(|speed| *speed > 0)
            .min()
            .unwrap_or(1);
        let weight = |port: &Port| match port.options.weight {
            Weight::Auto => port.known_speed_mbps.unwrap_or(slowest).max(slowest).into(),
            Weight::Fixed(weight) => u64::from(weight) * u64::from(slowest),
        };
        ports()
            .map(|port| Share {
                port: port.id,
                weight: weight(port),
            })
            .collect()
    }

    fn by_load(&self, key: BucketKey, exempt: Exempt) -> Spread {
        let now = self.balancer.now().to_vec();
        Spread::Buckets(Buckets {
            key,
            home: now.clone(),
            spare: self.balancer.spare().to_vec(),
            now,
            exempt,
            measured: true,
        })
    }

    /// `queue_id` acts in balance-rr and active-backup.
    fn queues(&self) -> Vec<(u16, PortId)> {
        if !matches!(self.options.mode, Mode::BalanceRr | Mode::ActiveBackup) {
            return Vec::new();
        }
        let named = self.partaking().filter(|port| port.options.queue_id != 0);
        named.map(|port| (port.options.queue_id, port.id)).collect()
    }

    /// Ports that something may be sent on.
    fn takers(&self) -> Vec<PortId> {
        self.partaking().map(|port| port.id).collect()
    }

    fn everyone(&self) -> Vec<PortId> {
        self.ports.iter().map(|port| port.id).collect()
    }

    /// The data path leaves ports without carrier by itself. Of those that only the ARP monitor knows to be dead it has to
    /// be told, unless all are.
    fn answering(&self) -> Vec<PortId> {
        let up = self.partaking().filter(|port| port.mii == Mii::Up);
        let up: Vec<PortId> = up.map(|port| port.id).collect();
        if up.is_empty() || !self.probes() {
            self.takers()
        } else {
            up
        }
    }

    pub(super) fn is_usable(&self, id: PortId) -> bool {
        self.port(id)
            .is_some_and(|port| port.mii == Mii::Up && port.link.is_usable())
    }

    /// The port to go on receiving on while the neighbours learn that `first` is the one now.
    fn lingering(&self, first: Option<PortId>) -> Option<PortId> {
        let before = self.table.order.first().copied();
        let old = if before == first {
            self.table.linger
        } else {
            before
        };
        old.filter(|id| self.port(*id).is_some_and(|port| port.link.is_usable()))
    }
}
