//! The modes in which every port has an address of its own: balance-tlb and balance-alb.
//!
//! | | balance-tlb | balance-alb |
//! |---|---|---|
//! | transmits by | load (`balance`), or hash with `tlb_dynamic_lb=0` | load |
//! | receives on | the active port | the port each client was told (`clients`) |
//! | tells switches | which address is on which port, every `lp_interval` (`learn`) | the same |

use core::time::Duration;

use oxbond_wire::{MacAddr, learning};

use super::Bond;
use crate::action::Action;
use crate::balance::{Balancer, Capacity};
use crate::clients::{Clients, Host};
use crate::event::Cause;
use crate::learn::Learning;
use crate::option::Mode;
use crate::port::PortId;
use crate::table::Stations;
use crate::time::Instant;

impl Bond {
    /// Every port has its own address.
    pub(super) const fn has_stations(&self) -> bool {
        matches!(self.options.mode, Mode::BalanceTlb | Mode::BalanceAlb)
    }

    /// Buckets go by load, not by hash alone.
    pub(super) const fn balances_load(&self) -> bool {
        match self.options.mode {
            Mode::BalanceTlb => self.options.tlb_dynamic_lb,
            Mode::BalanceAlb => true,
            _ => false,
        }
    }

    /// Clients are told on which port to reach us.
    pub(super) fn balances_clients(&self) -> bool {
        self.options.mode == Mode::BalanceAlb
    }

    /// Brings buckets, clients and the learning timer in line with the ports.
    pub(super) fn arrange_stations(&mut self, now: Instant) {
        let capacities = self.capacities();
        if self.balances_load() {
            self.balancer.place(&capacities, self.active);
        } else {
            self.balancer = Balancer::default();
        }
        if self.balances_clients() {
            self.clients.place(&capacities);
        } else {
            self.clients = Clients::default();
        }
        self.keep_learning(now);
    }

    /// What each bucket has carried. A report of no interest is one of a table that is no longer current.
    pub(super) fn loads(&mut self, now: Instant, over: Duration, buckets: &[u64], exempt: u64) {
        if self.balances_load() {
            let capacities = self.capacities();
            self.balancer
                .report(over, buckets, exempt, &capacities, self.active);
            self.settle(now, &Cause::Load);
        }
    }

    /// A neighbour was heard.
    pub(super) fn client_heard(&mut self, now: Instant, frame: &[u8]) {
        self.with_clients(|clients, host| clients.received(now, host, frame));
    }

    /// The host has told or asked a neighbour something.
    pub(super) fn client_told(&mut self, now: Instant, frame: &[u8]) {
        self.with_clients(|clients, host| clients.sent(now, host, frame));
        self.teach(now);
    }

    /// The list of the host's addresses is another.
    pub(super) fn client_addresses_changed(&mut self) {
        self.with_clients(|clients, host| clients.addresses_changed(host));
    }

    /// Where clients are to reach us is another place.
    pub(super) fn client_stations_changed(&mut self, now: Instant) {
        self.with_clients(|clients, host| clients.stations_changed(now, host));
    }

    /// Starts and stops the learning timer; in a bond that is down nobody is told anything.
    pub(super) fn keep_learning(&mut self, now: Instant) {
        if self.has_stations() && self.admin_up {
            let stations = self.learnable();
            self.learning.keep(now, self.lp_interval(), &stations);
        } else {
            self.learning = Learning::default();
        }
    }

    /// Learning frames and lessons that are due.
    pub(super) fn teach(&mut self, now: Instant) {
        let stations = self.learnable();
        if self.learning.take(now, self.lp_interval(), &stations) {
            for (port, mac) in stations {
                let tags = self.vlans.iter().copied().map(Some);
                let frames = core::iter::once(None).chain(tags).map(|vlan| {
                    let frame = learning::frame(mac, vlan);
                    Action::SendOnPort { port, frame }
                });
                self.actions.extend(frames);
            }
        }
        if self.admin_up && self.clients.due().is_some_and(|due| due <= now) {
            let lessons = self.with_clients(|clients, host| clients.lessons(now, host));
            let frames = lessons.into_iter().flatten();
            self.actions
                .extend(frames.map(|(port, frame)| Action::SendOnPort { port, frame }));
        }
    }

    /// When [`Bond::teach`] has work.
    pub(super) fn teach_due(&self) -> impl Iterator<Item = Instant> {
        let lessons = self.clients.due().filter(|_| self.admin_up);
        self.learning.due().into_iter().chain(lessons)
    }

    /// The addresses for the table, where they matter.
    pub(super) fn stations(&self, order: &[PortId]) -> Option<Stations> {
        let mac = |id: &PortId| self.port(*id).map(|port| port.mac);
        self.has_stations().then(|| Stations {
            bond: self.mac,
            ports: order.iter().filter_map(mac).collect(),
            clients: self.clients.ports().to_vec(),
        })
    }

    /// The ports as places for load and clients, in list order.
    fn capacities(&self) -> Vec<Capacity> {
        let capacity = |port: &super::Port| {
            Capacity::new(port.id, port.link.speed_mbps, self.is_usable(port.id))
        };
        self.partaking().map(capacity).collect()
    }

    /// Ports whose switch can learn where they are.
    fn learnable(&self) -> Vec<(PortId, MacAddr)> {
        let usable = self.partaking().filter(|port| self.is_usable(port.id));
        usable.map(|port| (port.id, port.mac)).collect()
    }

    const fn lp_interval(&self) -> Duration {
        Duration::from_secs(self.options.lp_interval as u64)
    }

    /// Lets the clients, if they are balanced, look at the host.
    fn with_clients<T>(&mut self, work: impl FnOnce(&mut Clients, &Host<'_>) -> T) -> Option<T> {
        let host = Host {
            mac: self.mac,
            ports: self.ports.iter().map(|port| (port.id, port.mac)).collect(),
            addresses: &self.addresses,
        };
        (self.options.mode == Mode::BalanceAlb).then(|| work(&mut self.clients, &host))
    }
}
