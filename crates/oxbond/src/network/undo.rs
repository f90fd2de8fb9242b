//! The way back: what the system was like, taken down before the first step.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::plan::{Planned, plan};
use super::record::Record;
use super::running::{Device, Running, cidr_of};
use super::step::Step;
use super::wanted::{
    AcceptRa, ExactBond, Settings, Wanted, WantedBond, WantedBridge, WantedBridgePort, WantedVlan,
};
use crate::exit::Failure;

/// Enough to go back from wherever the steps got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Undo {
    /// What to go back to.
    pub(crate) wanted: Wanted,
    /// What was ours then.
    pub(crate) before: Record,
    /// What may be ours once steps are taken: all of them.
    pub(crate) during: Record,
    /// Bonds of somebody else's that the steps put under management, which is no more than to note them.
    #[serde(default)]
    pub(crate) taken_over: BTreeSet<String>,
    /// Bonds that the driver's module had made by itself and nobody used, which the steps replace.
    #[serde(default)]
    pub(crate) pristine: BTreeSet<String>,
}

impl Undo {
    /// Of steps that are about to be taken.
    pub(crate) fn new(
        steps: &[Planned],
        wanted: &Wanted,
        before: &Record,
        running: &Running,
    ) -> Self {
        let mut during = before.clone().with_bonds(&running.bonds_of(wanted));
        for planned in steps {
            during.note(&planned.step);
        }
        let taken_over = steps.iter().filter_map(|planned| match &planned.step {
            Step::TakeOver { bond } => Some(bond.clone()),
            _ => None,
        });
        let taken_over: BTreeSet<String> = taken_over.collect();
        let replaced = steps.iter().filter_map(|planned| match &planned.step {
            Step::CreateBond { request, .. } => Some(&request.name),
            _ => None,
        });
        let pristine = replaced.filter(|name| running.others.contains_key(*name));
        Self {
            wanted: as_it_is(steps, wanted, before, running, &taken_over),
            before: before.clone(),
            during,
            pristine: pristine.cloned().collect(),
            taken_over,
        }
    }

    /// The steps of the way back. A bond that was not put under management yet is as it was.
    pub(crate) fn steps(&self, running: &Running) -> (Vec<Planned>, Vec<Failure>) {
        let (mut steps, refusals) = plan(&self.wanted, &self.during, running);
        steps.retain(|planned| match &planned.step {
            Step::TakeOver { bond } => !self.taken_over.contains(bond),
            _ => true,
        });
        (steps, refusals)
    }
}

/// What is there of the devices that are ours or about to be touched, as something to be wanted.
fn as_it_is(
    steps: &[Planned],
    wanted: &Wanted,
    before: &Record,
    running: &Running,
    taken_over: &BTreeSet<String>,
) -> Wanted {
    let ours = before.clone().with_bonds(&running.bonds);
    let mut back = Wanted::default();
    // What is taken over is to be as it was too.
    let taken_over = taken_over
        .iter()
        .filter_map(|bond| running.others.get(bond));
    for bond in running.bonds.values().chain(taken_over) {
        back.bonds.push(WantedBond {
            request: bond.request.clone(),
            exactly: Some(ExactBond {
                engine: bond.engine(),
                options: bond.options.clone(),
                mac: bond.mac,
                mtu: bond.mtu,
            }),
        });
    }
    let created = before
        .created
        .keys()
        .filter(|name| before.is_created(name, running));
    let named = wanted.devices().chain(created.map(String::as_str));
    let named: BTreeSet<&str> = named.collect();
    for (name, device) in named
        .iter()
        .filter_map(|name| Some((*name, running.devices.get(*name)?)))
    {
        if let (Some(id), Some(link)) = (device.vlan_id, &device.lower) {
            back.vlans.push(WantedVlan {
                name: name.to_owned(),
                link: link.clone(),
                id,
            });
        } else if device.bridge.is_some() {
            back.bridges
                .push(bridge(name, device, wanted, before, running));
        }
    }
    let names: Vec<String> = back.devices().map(str::to_owned).collect();
    for name in names {
        if let Some(device) = running.devices.get(&name) {
            let settings = Settings {
                dhcp: running.dhcp.get(&name).cloned().unwrap_or_default(),
                names: running.names.get(&name).cloned().unwrap_or_default(),
                ..settings(&name, device, steps, &ours)
            };
            back.settings.insert(name, settings);
        }
    }
    back
}

/// A bridge with those of its ports that are ours or wanted.
fn bridge(
    name: &str,
    device: &Device,
    wanted: &Wanted,
    before: &Record,
    running: &Running,
) -> WantedBridge {
    let settings = device.bridge.unwrap_or_default();
    let inside = running
        .devices
        .iter()
        .filter(|(_, port)| port.master.as_deref() == Some(name));
    let known = inside
        .filter(|(port, _)| before.members.contains_key(*port) || wanted.bridge_of(port).is_some());
    let ports = known.map(|(port, device)| WantedBridgePort {
        name: port.clone(),
        vids: device
            .vlans
            .iter()
            .filter(|v| !v.pvid)
            .map(|v| (v.vid, v.vid))
            .collect(),
        pvid: device.vlans.iter().find(|v| v.pvid).map_or(0, |v| v.vid),
    });
    WantedBridge {
        name: name.to_owned(),
        vlan_aware: settings.vlan_filtering,
        stp: settings.stp,
        forward_delay: settings.forward_delay,
        ports: ports.collect(),
    }
}

/// What of a device the steps touch, and what of its network is ours.
fn settings(name: &str, device: &Device, steps: &[Planned], ours: &Record) -> Settings {
    let touched = |test: fn(&Step) -> bool| {
        let mut own = steps.iter().filter(|planned| planned.step.device() == name);
        own.any(|planned| test(&planned.step))
    };
    let bond_mtu = steps
        .iter()
        .any(|planned| matches!(planned.step, Step::BondMtu { .. }));
    // A VLAN device follows what it stands on down, and not up again.
    let mtu =
        touched(|step| matches!(step, Step::Mtu { .. })) || (bond_mtu && device.vlan_id.is_some());
    let mac = touched(|step| matches!(step, Step::Mac { .. } | Step::DeleteDevice { .. }));
    let ra = touched(|step| matches!(step, Step::AcceptRa { .. } | Step::DeleteDevice { .. }));
    let addresses = device.addresses.iter().map(cidr_of);
    let routes = device.routes.iter().map(|record| record.route);
    let mut routes: Vec<_> = routes.filter(|route| ours.has_route(name, route)).collect();
    routes.sort_by_key(|route| route.via.is_some());
    Settings {
        mtu: Some(device.mtu).filter(|_| mtu),
        mac: device.mac.filter(|_| mac && device.vlan_id.is_none()),
        addresses: addresses
            .filter(|address| ours.has_address(name, address))
            .collect(),
        routes,
        accept_ra: device.accept_ra.filter(|_| ra).map(AcceptRa::Exactly),
        down: !device.up,
        had: device.addresses.clone(),
        ..Settings::default()
    }
}
