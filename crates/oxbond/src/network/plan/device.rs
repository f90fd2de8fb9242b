//! Steps to the devices above bonds: bridges with their ports, and VLANs.

use std::collections::BTreeMap;

use oxbond_config::model::VidRange;
use oxbond_linux::netlink::BridgeSettings;

use super::{Phase, Planner};
use crate::network::running::Device;
use crate::network::step::Step;
use crate::network::wanted::{WantedBridge, WantedVlan};

impl<'a> Planner<'a> {
    /// Devices and bonds of our making that nobody wants as they are, upper ones first.
    pub(super) fn unwanted_devices(&mut self) {
        let mut gone: Vec<(usize, &'a str)> = Vec::new();
        for name in self.ours.created.keys() {
            let Some(device) = self
                .device(name)
                .filter(|_| self.ours.is_created(name, self.running))
            else {
                continue;
            };
            let mut vlans = self.wanted.vlans.iter();
            let stays = vlans.any(|vlan| vlan.name == *name && is_vlan(device, vlan))
                || (device.bridge.is_some() && self.wanted.bridges.iter().any(|b| b.name == *name));
            if !stays {
                gone.push((self.height(name), name));
            }
        }
        gone.sort_by(|(one, _), (other, _)| other.cmp(one));
        for (_, name) in gone {
            self.going.insert(name);
            let interrupts = Some(format!("what goes over {name} ends"));
            let name = name.to_owned();
            self.interrupting(Phase::Release, interrupts, Step::DeleteDevice { name });
        }
        for (name, bond) in &self.running.bonds {
            if bond.request.from_file && !self.ports.bonds.contains_key(name.as_str()) {
                self.going.insert(name);
                self.unwanted_bond(name, bond);
            }
        }
    }

    /// How many VLAN devices and bridges a device stands on, along the longest way down.
    fn height(&self, name: &str) -> usize {
        let Some(device) = self.device(name) else {
            return 0;
        };
        let below: Vec<&str> = match (&device.lower, device.vlan_id) {
            (Some(lower), Some(_)) => vec![lower],
            _ => {
                let devices = self.running.devices.iter();
                let ports = devices.filter(|(_, port)| port.master.as_deref() == Some(name));
                ports.map(|(port, _)| port.as_str()).collect()
            }
        };
        // The kernel lets no device stand on itself.
        below
            .iter()
            .map(|below| 1 + self.height(below))
            .max()
            .unwrap_or(0)
    }

    pub(super) fn bridge_device(&mut self, bridge: &'a WantedBridge) {
        let name = || bridge.name.clone();
        let (phase, have) = match self.device(&bridge.name) {
            Some(device) if device.bridge.is_some() => (Phase::Change, device.bridge),
            Some(device) => {
                if !self.replaceable(&bridge.name, device, "a bridge") {
                    return;
                }
                (Phase::Join, None)
            }
            None => (Phase::Make, None),
        };
        if have.is_none() {
            self.made.insert(&bridge.name, phase);
            self.step(phase, Step::CreateBridge { name: name() });
        }
        let have = have.unwrap_or_else(|| BridgeSettings {
            forward_delay: 1500,
            ..BridgeSettings::default()
        });
        let stp = |on| Step::Stp { bridge: name(), on };
        if have.stp && !bridge.stp {
            self.step(phase, stp(false));
        }
        if have.forward_delay != bridge.forward_delay {
            let delay = bridge.forward_delay;
            self.step(
                phase,
                Step::ForwardDelay {
                    bridge: name(),
                    delay,
                },
            );
        }
        if !have.stp && bridge.stp {
            let wait = f64::from(bridge.forward_delay) / 50.0;
            let interrupts = Some(format!(
                "the ports of {} listen and learn for {wait} s before they forward",
                bridge.name
            ));
            self.interrupting(phase, interrupts, stp(true));
        }
        if have.vlan_filtering != bridge.vlan_aware {
            let on = bridge.vlan_aware;
            let interrupts = (phase == Phase::Change)
                .then(|| {
                    format!(
                        "frames of VLANs that a port of {} does not have are dropped",
                        bridge.name
                    )
                })
                .filter(|_| on);
            self.interrupting(
                phase,
                interrupts,
                Step::VlanFiltering { bridge: name(), on },
            );
        }
    }

    /// Whether a device may be deleted for one of the same name; it is on the list already then.
    pub(super) fn replaceable(&mut self, name: &str, device: &Device, as_what: &str) -> bool {
        if self.ours.is_created(name, self.running) {
            return true;
        }
        let kind = device.kind.as_deref().unwrap_or("network interface");
        self.refuse(format!(
            "{name} is wanted as {as_what} and is a {kind} that oxbond did not make; remove it first (ip link del {name}), \
             or choose another name"
        ));
        false
    }

    /// VLAN devices, each after what it stands on.
    pub(super) fn vlans(&mut self) {
        let mut left: Vec<&'a WantedVlan> = self.wanted.vlans.iter().collect();
        while !left.is_empty() {
            let before = left.len();
            let waits = |vlan: &WantedVlan, left: &[&WantedVlan]| {
                left.iter().any(|other| other.name == vlan.link)
            };
            let ready: Vec<&'a WantedVlan> = left
                .iter()
                .copied()
                .filter(|vlan| !waits(vlan, &left))
                .collect();
            for vlan in &ready {
                self.vlan(vlan);
            }
            left.retain(|vlan| !ready.iter().any(|done| core::ptr::eq(*done, *vlan)));
            if left.len() == before {
                let names: Vec<&str> = left.iter().map(|vlan| vlan.name.as_str()).collect();
                self.refuse(format!(
                    "the VLAN devices {} stand on each other; let one stand on a bond",
                    names.join(", ")
                ));
                return;
            }
        }
    }

    fn vlan(&mut self, vlan: &'a WantedVlan) {
        let there = self.device(&vlan.name);
        let below = self.made.get(vlan.link.as_str()).copied();
        if let Some(device) = there {
            if is_vlan(device, vlan) && below.is_none() {
                return;
            }
            if !self.replaceable(&vlan.name, device, "a VLAN device") {
                return;
            }
        }
        let going = self.going.contains(vlan.link.as_str());
        if below.is_none() && (self.device(&vlan.link).is_none() || going) {
            self.refuse(format!(
                "the VLAN device {} stands on {}, which does not exist; `ip link` lists the interfaces",
                vlan.name, vlan.link
            ));
            return;
        }
        let own = if there.is_some() {
            Phase::Join
        } else {
            Phase::Make
        };
        let phase = own.max(below.unwrap_or(Phase::Make));
        self.made.insert(&vlan.name, phase);
        let (name, link, id) = (vlan.name.clone(), vlan.link.clone(), vlan.id);
        self.step(phase, Step::CreateVlan { name, link, id });
    }

    /// Ports and VLANs of a bridge.
    pub(super) fn bridge(&mut self, bridge: &'a WantedBridge) {
        let made = self.made.get(bridge.name.as_str()).copied();
        // The kernel gives each new port its bridge's default VLAN.
        let there = self.device(&bridge.name).filter(|_| made.is_none());
        let default = there
            .and_then(|device| device.bridge)
            .map_or(1, |have| have.default_pvid);
        let given: BTreeMap<u16, bool> = BTreeMap::from([(default, true)]);
        let given = if default == 0 { BTreeMap::new() } else { given };
        for port in &bridge.ports {
            let device = self
                .device(&port.name)
                .filter(|_| !self.made.contains_key(port.name.as_str()));
            let port_made = self.made.get(port.name.as_str()).copied();
            if device.is_none() && port_made.is_none() {
                self.refuse(format!(
                    "port {} of the bridge {} does not exist; `ip link` lists the interfaces",
                    port.name, bridge.name
                ));
                continue;
            }
            let was = device.and_then(|device| device.master.clone());
            let mut phase = made
                .unwrap_or(Phase::Change)
                .max(port_made.unwrap_or(Phase::Change))
                .max(Phase::Make);
            let inside = made.is_none() && was.as_deref() == Some(bridge.name.as_str());
            if !inside {
                let ours = self.wanted.settings.contains_key(&port.name);
                let mut interrupts = None;
                if !ours && !self.lendings(&port.name).is_empty() {
                    interrupts = self.free(&port.name, &bridge.name);
                }
                if was.is_some()
                    || interrupts.is_some()
                    || self.ports.held.contains_key(port.name.as_str())
                {
                    phase = phase.max(Phase::Join);
                    interrupts.get_or_insert_with(|| {
                        format!("what goes over {} now takes another way", port.name)
                    });
                }
                let step = Step::Master {
                    port: port.name.clone(),
                    master: Some(bridge.name.clone()),
                    was: was.filter(|was| *was != bridge.name),
                    vlans: device.map(|d| d.vlans.clone()).unwrap_or_default(),
                };
                self.interrupting(phase, interrupts, step);
                if device.is_some_and(|device| !device.up) {
                    let device = port.name.clone();
                    self.step(phase, Step::Up { device, up: true });
                }
            }
            if bridge.vlan_aware {
                let have: BTreeMap<u16, bool> = match device {
                    Some(device) if inside => {
                        device.vlans.iter().map(|v| (v.vid, v.pvid)).collect()
                    }
                    _ => given.clone(),
                };
                let mut want: BTreeMap<u16, bool> = BTreeMap::new();
                for (first, last) in &port.vids {
                    want.extend((*first..=*last).map(|vid| (vid, false)));
                }
                if port.pvid != 0 {
                    want.insert(port.pvid, true);
                }
                self.vlan_steps(phase, &port.name, false, &have, &want);
            }
        }
        if bridge.vlan_aware {
            self.own_vlans(bridge, made);
        }
    }

    /// VLANs of the bridge itself, which the VLAN devices on it need.
    fn own_vlans(&mut self, bridge: &WantedBridge, made: Option<Phase>) {
        let mut have: BTreeMap<u16, bool> =
            match self.device(&bridge.name).filter(|_| made.is_none()) {
                Some(device) => device.vlans.iter().map(|v| (v.vid, v.pvid)).collect(),
                None => BTreeMap::from([(1, true)]),
            };
        let above = self
            .wanted
            .vlans
            .iter()
            .filter(|vlan| vlan.link == bridge.name);
        let mut want: BTreeMap<u16, bool> = above.map(|vlan| (vlan.id, false)).collect();
        let ours = self
            .ours
            .bridge_vids
            .get(&bridge.name)
            .cloned()
            .unwrap_or_default();
        // Only ours are taken away; and one that is there, whatever its flags, will do.
        want.extend(
            have.iter()
                .filter(|(vid, _)| !ours.contains(vid))
                .map(|(v, p)| (*v, *p)),
        );
        for (vid, pvid) in &mut have {
            *pvid = want.get(vid).copied().unwrap_or(*pvid);
        }
        self.vlan_steps(
            made.unwrap_or(Phase::Make),
            &bridge.name,
            true,
            &have,
            &want,
        );
    }

    fn vlan_steps(
        &mut self,
        phase: Phase,
        port: &str,
        bridge: bool,
        have: &BTreeMap<u16, bool>,
        want: &BTreeMap<u16, bool>,
    ) {
        let port = || port.to_owned();
        let new = |pvid: bool| {
            let vids = want.iter().filter(move |(vid, is_pvid)| {
                **is_pvid == pvid && have.get(*vid) != Some(*is_pvid)
            });
            runs(vids.map(|(vid, _)| *vid))
        };
        for pvid in [false, true] {
            for VidRange { first, last } in new(pvid) {
                self.step(
                    phase,
                    Step::AddVlans {
                        port: port(),
                        bridge,
                        first,
                        last,
                        pvid,
                    },
                );
            }
        }
        let gone = have.keys().filter(|vid| !want.contains_key(vid));
        for VidRange { first, last } in runs(gone.copied()) {
            self.step(
                phase,
                Step::DelVlans {
                    port: port(),
                    bridge,
                    first,
                    last,
                },
            );
        }
    }

    /// Interfaces that we made ports of bridges, and that are wanted nowhere.
    pub(super) fn unwanted_ports(&mut self) {
        for (port, bridge) in &self.ours.members {
            let inside = self
                .device(port)
                .is_some_and(|d| d.master.as_ref() == Some(bridge));
            let wanted = self.ports.is_wanted(port);
            let going = [port, bridge]
                .iter()
                .any(|name| self.going.contains(name.as_str()));
            if inside && !wanted && !going {
                let phase = match self.ours.lent.contains_key(port) {
                    true => Phase::Release,
                    false => Phase::Surplus,
                };
                let step = Step::Master {
                    port: port.clone(),
                    master: None,
                    was: Some(bridge.clone()),
                    vlans: Vec::new(),
                };
                self.step(phase, step);
            }
        }
    }
}

/// The device is this VLAN device.
fn is_vlan(device: &Device, vlan: &WantedVlan) -> bool {
    device.vlan_id == Some(vlan.id) && device.lower.as_ref() == Some(&vlan.link)
}

/// Numbers in order as runs.
fn runs(vids: impl Iterator<Item = u16>) -> Vec<VidRange> {
    let mut runs: Vec<VidRange> = Vec::new();
    for vid in vids {
        match runs.last_mut() {
            Some(run) if run.last.checked_add(1) == Some(vid) => run.last = vid,
            _ => runs.push(VidRange {
                first: vid,
                last: vid,
            }),
        }
    }
    runs
}
