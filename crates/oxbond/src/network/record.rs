//! What we made, changed and borrowed in the system, kept on disk by the daemon: what is not in here is never deleted.

use std::collections::{BTreeMap, BTreeSet};

use oxbond_config::model::Cidr;
use oxbond_linux::netlink::{AddressRecord, PortVlan, Route, RouteRecord};
use serde::{Deserialize, Serialize};

use super::running::{Running, RunningBond, cidr_of};
use super::step::Step;
use super::wanted::{Settings, Wanted, default_route};

/// Ours, by name of the device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    /// VLAN devices and bridges we made, with their index once it is known. (Bonds have files of their own.)
    pub(crate) created: BTreeMap<String, Option<u32>>,
    /// Addresses we added.
    pub(crate) addresses: BTreeMap<String, Vec<Cidr>>,
    /// Routes we added, as they are read back.
    pub(crate) routes: BTreeMap<String, Vec<Route>>,
    /// Interfaces we made ports of bridges, and those bridges.
    pub(crate) members: BTreeMap<String, String>,
    /// VLANs we let through bridges as their own ports.
    pub(crate) bridge_vids: BTreeMap<String, BTreeSet<u16>>,
    /// What interfaces had before they became ports.
    pub(crate) lent: BTreeMap<String, Lent>,
    /// Settings of devices as they were applied.
    pub(crate) settings: BTreeMap<String, Settings>,
}

/// What an interface gets back when it is a port no longer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lent {
    /// Its addresses.
    pub(crate) addresses: Vec<AddressRecord>,
    /// Routes over it.
    pub(crate) routes: Vec<RouteRecord>,
    /// The bridge it was a port of.
    pub(crate) master: Option<String>,
    /// Its VLANs there.
    pub(crate) vlans: Vec<PortVlan>,
}

impl Record {
    /// With what bonds made by hand (`oxbond up --address --gateway`) know to be ours.
    #[must_use]
    pub(crate) fn with_bonds(mut self, bonds: &BTreeMap<String, RunningBond>) -> Self {
        for (name, bond) in bonds {
            let addresses = bond.request.addresses.iter().filter_map(|a| a.parse().ok());
            for address in addresses {
                insert(&mut self.addresses, name, address);
            }
            for gateway in &bond.request.gateways {
                let route = default_route(*gateway).as_read_back();
                insert(&mut self.routes, name, route);
            }
        }
        self
    }

    /// We made this device, and it is still that one.
    pub(crate) fn is_created(&self, name: &str, running: &Running) -> bool {
        let index = running.devices.get(name).map(|device| device.index);
        self.created
            .get(name)
            .is_some_and(|known| known.is_none() || *known == index)
    }

    /// The address is ours.
    pub(crate) fn has_address(&self, device: &str, address: &Cidr) -> bool {
        self.addresses
            .get(device)
            .is_some_and(|known| known.contains(address))
    }

    /// The route is ours.
    pub(crate) fn has_route(&self, device: &str, route: &Route) -> bool {
        self.routes
            .get(device)
            .is_some_and(|known| known.contains(&route.as_read_back()))
    }

    /// What is ours by this step. What it takes away stays listed until [`Record::settle`]: a record that names too much
    /// makes nobody delete what is not there.
    pub(crate) fn note(&mut self, step: &Step) {
        match step {
            Step::CreateVlan { name, .. } | Step::CreateBridge { name } => {
                self.created.insert(name.clone(), None);
            }
            Step::AddAddress { device, address } => insert(&mut self.addresses, device, *address),
            Step::AddRoute { device, route } => {
                insert(&mut self.routes, device, route.as_read_back());
            }
            Step::Master {
                port,
                master,
                was,
                vlans,
            } => {
                let ours = self.members.get(port) == was.as_ref();
                if let Some(was) = was.as_ref().filter(|_| !ours) {
                    let lent = self.lent.entry(port.clone()).or_default();
                    lent.master = Some(was.clone());
                    lent.vlans.clone_from(vlans);
                }
                if let Some(bridge) = master {
                    self.members.insert(port.clone(), bridge.clone());
                }
            }
            Step::AddVlans {
                port,
                bridge: true,
                first,
                last,
                ..
            } => {
                let known = self.bridge_vids.entry(port.clone()).or_default();
                known.extend(*first..=*last);
            }
            Step::TakeAddress { device, record } => {
                let lent = self.lent.entry(device.clone()).or_default();
                // They are taken last first.
                lent.addresses.insert(0, record.clone());
            }
            Step::TakeRoute { device, record } => {
                let lent = self.lent.entry(device.clone()).or_default();
                lent.routes.push(record.clone());
            }
            _ => {}
        }
    }

    /// Once a network is as wanted: what is gone, or was there before us, is not ours; what no port lent is nobody's.
    pub(crate) fn settle(&mut self, wanted: &Wanted, running: &Running) {
        let devices = &running.devices;
        self.created.retain(|name, index| {
            let Some(device) = devices
                .get(name)
                .filter(|_| wanted.devices().any(|w| w == name))
            else {
                return false;
            };
            *index.get_or_insert(device.index) == device.index
        });
        self.addresses.retain(|name, addresses| {
            addresses.retain(|address| devices.get(name).is_some_and(|d| d.has_address(address)));
            !addresses.is_empty()
        });
        self.routes.retain(|name, routes| {
            routes.retain(|route| devices.get(name).is_some_and(|d| d.has_route(route)));
            !routes.is_empty()
        });
        self.members.retain(|port, bridge| {
            devices.get(port).and_then(|d| d.master.as_ref()) == Some(bridge)
        });
        self.bridge_vids.retain(|bridge, vids| {
            vids.retain(|vid| {
                devices
                    .get(bridge)
                    .is_some_and(|d| d.vlans.iter().any(|v| v.vid == *vid))
            });
            !vids.is_empty()
        });
        self.settings.clone_from(&wanted.settings);
        self.lent.retain(|port, _| {
            let in_bond = running
                .bonds
                .values()
                .any(|bond| bond.request.ports.iter().any(|known| known.name == *port));
            in_bond || self.members.contains_key(port)
        });
    }

    /// What a port that is free again gets back, as steps: not what somebody has meanwhile.
    pub(crate) fn give_back(&self, port: &str, running: &Running, wanted: &Wanted) -> Vec<Step> {
        let (Some(lent), Some(device)) = (self.lent.get(port), running.devices.get(port)) else {
            return Vec::new();
        };
        let name = || port.to_owned();
        let mut steps = Vec::new();
        if let Some(master) = &lent.master
            && running.devices.contains_key(master)
            && device.master.as_ref() != Some(master)
        {
            steps.push(Step::PutBackMaster {
                port: name(),
                master: master.clone(),
                vlans: lent.vlans.clone(),
            });
        }
        let elsewhere = |address: &Cidr| {
            let mut settings = wanted.settings.values();
            settings.any(|s| s.addresses.iter().any(|a| a.address == address.address))
        };
        for record in &lent.addresses {
            let address = cidr_of(record);
            if !device.has_address(&address) && !elsewhere(&address) {
                steps.push(Step::PutBackAddress {
                    device: name(),
                    record: record.clone(),
                });
            }
        }
        let led_elsewhere = |route: &Route| {
            let routes = wanted.settings.values().flat_map(|s| &s.routes);
            let mut routes = routes.map(|route| route.as_read_back());
            routes.any(|r| {
                (r.to, r.prefix_len, r.metric, r.table)
                    == (route.to, route.prefix_len, route.metric, route.table)
            })
        };
        for record in &lent.routes {
            if !device.has_route(&record.route) && !led_elsewhere(&record.route) {
                steps.push(Step::PutBackRoute {
                    device: name(),
                    record: record.clone(),
                });
            }
        }
        steps
    }

    /// Forgets a device that is gone.
    pub(crate) fn forget(&mut self, device: &str) {
        self.created.remove(device);
        self.addresses.remove(device);
        self.routes.remove(device);
        self.members.remove(device);
        self.bridge_vids.remove(device);
        self.settings.remove(device);
    }
}

fn insert<T: PartialEq>(all: &mut BTreeMap<String, Vec<T>>, device: &str, value: T) {
    let known = all.entry(device.to_owned()).or_default();
    if !known.contains(&value) {
        known.push(value);
    }
}
