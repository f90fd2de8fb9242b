//! Steps to what makes a network of devices: their settings, services, addresses and routes.

use std::collections::BTreeSet;

use oxbond_config::model::Cidr;
use oxbond_linux::netlink::{AddressRecord, Route};
use oxbond_linux::resolver::NameService;

use super::{Phase, Planner};
use crate::network::running::{Device, cidr_of};
use crate::network::step::Step;
use crate::network::wanted::{AcceptRa, Family, Settings};

impl<'a> Planner<'a> {
    /// MTU, address, addresses and routes of a wanted device.
    pub(super) fn settings(&mut self, name: &str, settings: &'a Settings) {
        let made = self.made.get(name).copied();
        let device = self.device(name).filter(|_| made.is_none());
        let own = || name.to_owned();
        let phase = made.unwrap_or(Phase::Change);
        if let Some(mtu) = settings
            .mtu
            .filter(|mtu| device.is_none_or(|d| d.mtu != *mtu))
        {
            self.step(phase, Step::Mtu { device: own(), mtu });
        }
        if let Some(mac) = settings
            .mac
            .filter(|mac| device.is_none_or(|d| d.mac != Some(*mac)))
        {
            self.step(phase, Step::Mac { device: own(), mac });
        }
        let have_ra = device.and_then(|device| device.accept_ra);
        let router = device.is_some_and(|device| device.router);
        let value = match settings.accept_ra {
            None => None,
            Some(AcceptRa::Exactly(value)) => Some(value),
            Some(AcceptRa::Ignored) => Some(0),
            Some(AcceptRa::Heard) => match (have_ra, router) {
                (Some(2), _) | (_, true) => Some(2),
                _ => Some(1),
            },
        };
        if let Some(value) =
            value.filter(|value| made.is_some() || have_ra.is_some_and(|have| have != *value))
        {
            self.step(
                phase,
                Step::AcceptRa {
                    device: own(),
                    value,
                },
            );
        }
        let bond_comes_up = self.ports.bonds.contains_key(name) && made.is_some();
        if settings.down {
            if device.is_some_and(|device| device.up) {
                self.step(
                    Phase::Surplus,
                    Step::Up {
                        device: own(),
                        up: false,
                    },
                );
            }
        } else if !bond_comes_up && device.is_none_or(|device| !device.up) {
            self.step(
                phase,
                Step::Up {
                    device: own(),
                    up: true,
                },
            );
        }
        self.network(name, device, &settings.addresses, &settings.routes);
        if let Some(device) = device.filter(|_| !settings.had.is_empty()) {
            self.addresses_as_they_were(name, device, &settings.had);
        }
        self.services(name, &settings.dhcp, &settings.names);
    }

    /// The first IPv4 address of a network is the one that packets leave with, and one that comes back comes last; an IPv6
    /// address of the link alone stays when the link-layer address goes that it was made of.
    fn addresses_as_they_were(&mut self, name: &str, device: &Device, had: &[AddressRecord]) {
        let told = |records: &[AddressRecord]| -> Vec<Cidr> {
            let told = records
                .iter()
                .filter(|record| record.address.address.is_ipv4() || record.is_link_local());
            told.map(cidr_of).collect()
        };
        if told(&device.addresses) != told(had) {
            self.step(
                Phase::Address,
                Step::Order {
                    device: name.to_owned(),
                    addresses: had.to_vec(),
                },
            );
        }
    }

    /// What servers are asked for a device, and what the resolver knows of it.
    fn services(&mut self, name: &str, dhcp: &BTreeSet<Family>, names: &NameService) {
        let running = self.running;
        let (no_family, no_names) = (BTreeSet::new(), NameService::default());
        let gone = dhcp.is_empty() && *names == no_names;
        let phase = if gone { Phase::Clear } else { Phase::Route };
        let device = || name.to_owned();
        if running.dhcp.get(name).unwrap_or(&no_family) != dhcp {
            let families = dhcp.clone();
            let device = device();
            self.step(phase, Step::Dhcp { device, families });
        }
        if running.names.get(name).unwrap_or(&no_names) != names {
            let names = names.clone();
            let device = device();
            self.step(phase, Step::Names { device, names });
        }
    }

    /// Addresses and routes of a device that is there, or is made.
    pub(super) fn network(
        &mut self,
        name: &str,
        device: Option<&'a Device>,
        addresses: &[Cidr],
        routes: &[Route],
    ) {
        let own = || name.to_owned();
        let read_back: BTreeSet<Route> = routes.iter().map(|route| route.as_read_back()).collect();
        if let Some(device) = device {
            let ours_gone =
                |route: &Route| self.ours.has_route(name, route) && !read_back.contains(route);
            let gone: BTreeSet<Route> = device
                .routes
                .iter()
                .map(|r| r.route)
                .filter(ours_gone)
                .collect();
            for route in &gone {
                self.step(
                    Phase::Clear,
                    Step::DelRoute {
                        device: own(),
                        route: *route,
                    },
                );
            }
            let unwanted: Vec<Cidr> = device
                .addresses
                .iter()
                .map(cidr_of)
                .filter(|a| self.ours.has_address(name, a) && !addresses.contains(a))
                .collect();
            for address in &unwanted {
                self.step(
                    Phase::Clear,
                    Step::DelAddress {
                        device: own(),
                        address: *address,
                    },
                );
            }
            if !unwanted.is_empty() {
                let addresses = device
                    .addresses
                    .iter()
                    .filter(|a| !a.automatic && !unwanted.contains(&cidr_of(a)));
                let routes = device
                    .routes
                    .iter()
                    .filter(|r| !r.automatic && !gone.contains(&r.route));
                let (addresses, routes): (Vec<_>, Vec<_>) =
                    (addresses.cloned().collect(), routes.cloned().collect());
                if !(addresses.is_empty() && routes.is_empty()) {
                    // After the new addresses, by which the routes may be reached.
                    self.step(
                        Phase::Address,
                        Step::Keep {
                            device: own(),
                            addresses,
                            routes,
                        },
                    );
                }
            }
        }
        let mut found = Vec::new();
        for address in addresses {
            if device.is_none_or(|device| !device.has_address(address)) {
                found.push((
                    Phase::Address,
                    Step::AddAddress {
                        device: own(),
                        address: *address,
                    },
                ));
            }
        }
        for route in routes {
            if device.is_none_or(|device| !device.has_route(route)) {
                found.push((
                    Phase::Route,
                    Step::AddRoute {
                        device: own(),
                        route: *route,
                    },
                ));
            }
        }
        for (phase, step) in found {
            self.step(phase, step);
        }
    }

    /// Addresses, routes and services of ours on devices of which nothing is wanted.
    pub(super) fn unwanted_network(&mut self) {
        let served = self.running.dhcp.keys().chain(self.running.names.keys());
        let served: BTreeSet<&String> = served.collect();
        for name in served {
            if !self.wanted.settings.contains_key(name) {
                self.services(name, &BTreeSet::new(), &NameService::default());
            }
        }
        let names: BTreeSet<&'a String> = self
            .ours
            .addresses
            .keys()
            .chain(self.ours.routes.keys())
            .collect();
        for name in names {
            let stays = self.wanted.settings.contains_key(name);
            let by_hand = self
                .running
                .bonds
                .get(name)
                .is_some_and(|bond| !bond.request.from_file);
            let going = self.goes(name);
            if !stays
                && !by_hand
                && !going
                && let Some(device) = self.device(name)
            {
                self.network(name, Some(device), &[], &[]);
            }
        }
    }

    /// The device is to be deleted, or is a VLAN device on one that is.
    fn goes(&self, name: &str) -> bool {
        let vlan = self.device(name).filter(|device| device.vlan_id.is_some());
        let lower = vlan.and_then(|device| device.lower.as_deref());
        // The kernel lets no VLAN device stand on itself.
        self.going.contains(name) || lower.is_some_and(|lower| self.goes(lower))
    }
}
