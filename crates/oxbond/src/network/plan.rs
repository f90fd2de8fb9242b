//! The steps from what is there to what is wanted. A pure function: it reads nothing, and the same three arguments give
//! the same steps.
//!
//! Order of the steps, so that nothing is cut that need not be:
//!
//! | phase | what | why here |
//! |---|---|---|
//! | change | options, MTU, settings of what is there already | disturbs no more than itself |
//! | make | new bonds, bridges and VLAN devices, with the ports that nothing else uses | beside what works |
//! | release | addresses and routes off interfaces that become ports; what is unwanted goes | from here traffic may rest |
//! | join | those interfaces into their bonds and bridges; devices whose name was taken | |
//! | clear | routes and addresses of ours that are unwanted | just before the new ones |
//! | address, route | addresses, then routes, by which all works again | from here traffic flows |
//! | surplus | further ports of new bonds; ports that leave a bond which goes on | traffic flows without the former, and no bond ever has fewer ports than before and after |

use std::collections::{BTreeMap, BTreeSet};

use oxbond_config::model::{Cidr, VidRange};
use oxbond_core::driver::interruption;
use oxbond_core::engine::{Chosen, Engine, EngineChoice};
use oxbond_core::option::{BondOptions, Mode, OptionId};
use oxbond_linux::inspect::MtuRefusal;
use oxbond_linux::netlink::{BridgeSettings, Route};
use oxbond_linux::resolver::NameService;
use serde::{Deserialize, Serialize};

use super::record::Record;
use super::running::{Device, Running, RunningBond, cidr_of};
use super::step::Step;
use super::wanted::{
    AcceptRa, Family, Settings, Wanted, WantedBond, WantedBridge, WantedVlan, defaults_of,
};
use crate::control::protocol::{BondRequest, PortRequest};
use crate::exit::{Blame, Failure};
use crate::request::{choose_engine, port_changes};

/// A step with what it means to the traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Planned {
    /// What is to be done, in words.
    pub(crate) words: String,
    /// What of the traffic it interrupts, and for how long; `None` for nothing.
    pub(crate) interrupts: Option<String>,
    /// The step itself.
    pub(crate) step: Step,
}

/// When a step is taken: see the table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Change,
    Make,
    Release,
    Join,
    Clear,
    Address,
    Route,
    Surplus,
}

/// The steps, and why some of what is wanted cannot be. With a refusal, none of the steps should be taken, unless they
/// lead back to where the system has been before.
pub(crate) fn plan(
    wanted: &Wanted,
    ours: &Record,
    running: &Running,
) -> (Vec<Planned>, Vec<Failure>) {
    let ours = ours.clone().with_bonds(&running.bonds);
    let mut planner = Planner {
        wanted,
        ours: &ours,
        running,
        ports: Ports::of(wanted, running),
        made: BTreeMap::new(),
        going: BTreeSet::new(),
        steps: Vec::new(),
        refusals: Vec::new(),
    };
    planner.go();
    let Planner {
        mut steps,
        refusals,
        ..
    } = planner;
    // Stable: within a phase they stay in the order they were found.
    steps.sort_by_key(|(phase, _)| *phase);
    (steps.into_iter().map(|(_, step)| step).collect(), refusals)
}

/// Whose port each interface is, or is to be.
struct Ports<'a> {
    /// The bond that has it.
    held: BTreeMap<&'a str, &'a str>,
    /// The bonds that are to have ports.
    bonds: BTreeMap<&'a str, &'a BondRequest>,
    /// The bond that is to have it.
    bond: BTreeMap<&'a str, &'a str>,
    /// The bridge that is to have it.
    bridge: BTreeMap<&'a str, &'a str>,
}

impl<'a> Ports<'a> {
    fn of(wanted: &'a Wanted, running: &'a Running) -> Self {
        let held = running.bonds.iter().flat_map(|(name, bond)| {
            bond.attached
                .iter()
                .map(move |port| (port.as_str(), name.as_str()))
        });
        let requests = wanted.bonds.iter().map(|bond| &bond.request);
        let bond = requests.clone().flat_map(|bond| {
            bond.ports
                .iter()
                .map(move |port| (port.name.as_str(), bond.name.as_str()))
        });
        let bridge = wanted.bridges.iter().flat_map(|bridge| {
            bridge
                .ports
                .iter()
                .map(move |port| (port.name.as_str(), bridge.name.as_str()))
        });
        Self {
            held: held.collect(),
            bonds: requests.map(|bond| (bond.name.as_str(), bond)).collect(),
            bond: bond.collect(),
            bridge: bridge.collect(),
        }
    }

    /// Something is to have it.
    fn is_wanted(&self, port: &str) -> bool {
        self.bond.contains_key(port) || self.bridge.contains_key(port)
    }
}

struct Planner<'a> {
    wanted: &'a Wanted,
    ours: &'a Record,
    running: &'a Running,
    ports: Ports<'a>,
    /// Devices that are to be deleted.
    going: BTreeSet<&'a str>,
    /// Devices that are to be made, and when.
    made: BTreeMap<&'a str, Phase>,
    steps: Vec<(Phase, Planned)>,
    refusals: Vec<Failure>,
}

impl<'a> Planner<'a> {
    fn go(&mut self) {
        let wanted = self.wanted;
        self.unwanted_devices();
        for bond in &wanted.bonds {
            self.bond(bond);
        }
        for bridge in &wanted.bridges {
            self.bridge_device(bridge);
        }
        self.vlans();
        for bridge in &wanted.bridges {
            self.bridge(bridge);
        }
        self.unwanted_ports();
        for name in wanted.devices() {
            if let Some(settings) = wanted.settings.get(name) {
                self.settings(name, settings);
            }
        }
        self.unwanted_network();
        self.give_back();
    }

    fn step(&mut self, phase: Phase, step: Step) {
        self.interrupting(phase, None, step);
    }

    fn interrupting(&mut self, phase: Phase, interrupts: Option<String>, step: Step) {
        let words = step.to_string();
        let planned = Planned {
            words,
            interrupts,
            step,
        };
        self.steps.push((phase, planned));
    }

    fn refuse(&mut self, why: impl std::fmt::Display) {
        self.refusals.push(Failure::new(Blame::Refused, why));
    }

    fn device(&self, name: &str) -> Option<&'a Device> {
        self.running.devices.get(name)
    }

    /// Anything but a bond of ours stands in the way of what should join something: addresses, routes, a bridge, another
    /// bond.
    fn is_free(&self, port: &str) -> bool {
        let Some(device) = self.device(port) else {
            return false;
        };
        device.master.is_none()
            && self.lendings(port).is_empty()
            && !self.ports.held.contains_key(port)
    }

    /// The addresses and routes of somebody else on an interface, as steps that take them off: routes first, then the
    /// addresses, last first, since with the first of a network the kernel drops the others.
    fn lendings(&self, port: &str) -> Vec<Step> {
        let Some(device) = self.device(port) else {
            return Vec::new();
        };
        let routes = device
            .routes
            .iter()
            .filter(|record| !record.automatic && !self.ours.has_route(port, &record.route));
        let addresses =
            device.addresses.iter().rev().filter(|record| {
                !record.automatic && !self.ours.has_address(port, &cidr_of(record))
            });
        let routes = routes.map(|record| Step::TakeRoute {
            device: port.to_owned(),
            record: record.clone(),
        });
        let addresses = addresses.map(|record| Step::TakeAddress {
            device: port.to_owned(),
            record: record.clone(),
        });
        routes.chain(addresses).collect()
    }

    /// Frees an interface that is to be a port of `owner`. Answers what that interrupts, where it does.
    fn free(&mut self, port: &str, owner: &str) -> Option<String> {
        let lendings = self.lendings(port);
        let mut interrupts = None;
        let carried = lendings.iter().any(|step| match step {
            Step::TakeAddress { record, .. } => record.address.global,
            _ => true,
        });
        if carried {
            let settings = &self.wanted.settings;
            let addressed = |name: &&&str| {
                let settings = settings.get(**name);
                settings.is_some_and(|s| !(s.addresses.is_empty() && s.dhcp.is_empty()))
            };
            let stack = self.wanted.stack_on(owner);
            let heir = stack.iter().find(addressed);
            match heir {
                Some(heir) => {
                    let leased = settings.get(*heir).is_some_and(|s| s.addresses.is_empty());
                    interrupts = Some(match leased {
                        true => format!(
                            "what goes over {port} rests for some seconds, until a server has given {heir} its addresses"
                        ),
                        false => format!(
                            "what goes over {port} rests for some milliseconds, until {heir} has its addresses"
                        ),
                    });
                }
                None => {
                    let what = lendings
                        .first()
                        .map(ToString::to_string)
                        .unwrap_or_default();
                    self.refuse(format!(
                        "{port} is in use ({what}), and neither {owner} nor a device on it would have an address: \
                         this machine would be cut off; give {owner} the address of {port}"
                    ));
                }
            }
        }
        for step in lendings {
            self.interrupting(Phase::Release, interrupts.clone(), step);
        }
        interrupts
    }

    fn bond(&mut self, bond: &'a WantedBond) {
        let request = &bond.request;
        if let Some(running) = self.running.bonds.get(&request.name) {
            self.running_bond(bond, running);
        } else if let Some(other) = self.other(&request.name) {
            let bond_name = request.name.clone();
            self.step(Phase::Change, Step::TakeOver { bond: bond_name });
            self.running_bond(bond, other);
        } else {
            self.new_bond(bond);
        }
    }

    /// A bond of somebody else's on the kernel's driver, unless it is one that the module made and nobody uses.
    fn other(&self, name: &str) -> Option<&'a RunningBond> {
        let other = self.running.others.get(name)?;
        let pristine = other.on_driver.as_ref().is_some_and(|p| p.is_pristine());
        (!pristine || self.running.is_used(name)).then_some(other)
    }

    /// What is to carry a bond that is to be made, and why.
    fn engine_of(&mut self, bond: &WantedBond) -> Option<Chosen> {
        if let Some(exact) = &bond.exactly {
            return Some(Chosen {
                engine: exact.engine,
                why: "as it was before".to_owned(),
            });
        }
        let asked = bond.request.engine.or(self.running.auto);
        match choose_engine(asked, &self.running.driver, &bond.request) {
            Ok(chosen) => Some(chosen),
            Err(failure) => {
                self.refusals.push(failure);
                None
            }
        }
    }

    fn new_bond(&mut self, bond: &'a WantedBond) {
        let name = bond.request.name.as_str();
        let Some(Chosen { engine, why }) = self.engine_of(bond) else {
            return;
        };
        let phase = match self.device(name) {
            // The module made it by itself, and making the bond takes it or does away with it.
            Some(_) if self.running.others.contains_key(name) => Phase::Make,
            Some(device) if !self.replaceable(name, device, "a bond") => return,
            Some(_) => Phase::Join,
            None => Phase::Make,
        };
        self.made.insert(name, phase);
        let mut request = BondRequest {
            addresses: Vec::new(),
            gateways: Vec::new(),
            ..bond.request.clone()
        };
        let ready = |port: &&PortRequest| self.is_free(&port.name);
        let at_once = bond.request.ports.iter().take_while(ready).count();
        let later = request.ports.split_off(at_once);
        if let Some(exact) = &bond.exactly {
            request.mtu = Some(exact.mtu);
            let changes = exact.options.changes_from(&defaults_of(engine));
            let known = changes
                .iter()
                .filter(|change| is_known(engine, change.id, exact.options.mode));
            request.options = known.map(|c| (c.id.to_string(), c.text())).collect();
        } else if request.mtu.is_none() {
            let mtu = self.mtu_of(&bond.request);
            request.mtu = mtu.filter(|_| at_once == 0);
        }
        self.step(
            phase,
            Step::CreateBond {
                request,
                engine,
                why,
            },
        );
        for port in &later {
            // In list order: the first port gives the bond its address, by which neighbours know the machine.
            self.add_port(name, port, Phase::Surplus);
        }
    }

    /// The MTU that a bond takes from its ports.
    fn mtu_of(&mut self, request: &BondRequest) -> Option<u32> {
        let ports = request.ports.iter();
        let mut mtus = ports.filter_map(|p| Some((&p.name, self.device(&p.name)?.mtu)));
        let (one, mtu) = mtus.next()?;
        if let Some((other, mtu_other)) = mtus.find(|(_, other)| *other != mtu) {
            let (one, other) = (one.clone(), other.clone());
            self.refuse(MtuRefusal::Differ {
                one,
                mtu_one: mtu,
                other,
                mtu_other,
            });
        }
        Some(mtu)
    }

    /// Joins a port; one that nothing else uses in the phase `free`.
    fn add_port(&mut self, bond: &str, port: &PortRequest, free: Phase) {
        let step = Step::AddPort {
            bond: bond.to_owned(),
            port: port.clone(),
        };
        if self.device(&port.name).is_none() {
            let made = self.made.get(bond).copied();
            let (bond, port) = (bond.to_owned(), port.clone());
            self.step(
                made.unwrap_or(Phase::Change),
                Step::ExpectPort { bond, port },
            );
            return;
        }
        if self.is_free(&port.name) {
            self.step(free, step);
            return;
        }
        if let Some(holder) = self.ports.held.get(port.name.as_str()).copied()
            && !self.ports.bonds.contains_key(holder)
            && !self.going.contains(holder)
        {
            let name = &port.name;
            self.refuse(format!(
                "port {name} is in {holder} already, which no file names; take it out there first: oxbond remove-port \
                 {holder} {name}"
            ));
        }
        let interrupts = self.free(&port.name, bond);
        let device = self.device(&port.name);
        if let Some((was, device)) = device.and_then(|d| Some((d.master.clone()?, d))) {
            let out = Step::Master {
                port: port.name.clone(),
                master: None,
                was: Some(was),
                vlans: device.vlans.clone(),
            };
            self.interrupting(Phase::Release, interrupts.clone(), out);
        }
        self.interrupting(Phase::Join, interrupts, step);
    }

    /// Whether a bond may stay where it is. Another engine takes over by a command of its own, which says what is lost.
    fn stays_on(&mut self, engine: Engine, bond: &WantedBond) -> bool {
        if bond.exactly.is_some() {
            return true;
        }
        let name = &bond.request.name;
        let asked = bond.request.engine.or(EngineChoice::Only(engine));
        let why = match asked {
            EngineChoice::Only(other) if other != engine => format!("engine {other} is asked for"),
            _ => match choose_engine(asked, &self.running.driver, &bond.request) {
                Ok(_) => return true,
                Err(failure) => failure.message,
            },
        };
        let other = match engine {
            Engine::Ebpf => Engine::Kernel,
            Engine::Kernel => Engine::Ebpf,
        };
        self.refuse(format!(
            "{name} is carried by engine {engine}, and {why}; move it first: oxbond adopt {name} --engine {other}"
        ));
        false
    }

    fn running_bond(&mut self, bond: &'a WantedBond, running: &'a RunningBond) {
        let request = &bond.request;
        let name = || request.name.clone();
        let engine = running.engine();
        if !self.stays_on(engine, bond) {
            return;
        }
        let Some(options) = self.options_of(bond, engine) else {
            return;
        };
        let mut changes = options.changes_from(&running.options);
        // What the mode does not have sleeps until one returns that has it.
        changes.retain(|change| is_known(engine, change.id, options.mode));
        if !changes.is_empty() {
            let new_mode = changes.iter().any(|change| change.id == OptionId::Mode);
            let interrupts = match &running.on_driver {
                Some(picture) => interruption(&changes, picture).map(|i| i.to_string()),
                None => (new_mode && options.mode == Mode::Ieee8023ad).then(|| {
                    format!(
                        "{} carries nothing until the partner answers LACP, up to 3 s at a partner that speaks it",
                        request.name
                    )
                }),
            };
            let bond = name();
            self.interrupting(
                Phase::Change,
                interrupts,
                Step::BondOptions { bond, changes },
            );
        }
        let mtu = bond.exactly.as_ref().map(|exact| exact.mtu).or(request.mtu);
        if let Some(mtu) = mtu.filter(|mtu| *mtu != running.mtu) {
            let bond = name();
            let interrupts =
                Some("ports whose driver restarts for it lose their link for a moment".to_owned());
            self.interrupting(Phase::Change, interrupts, Step::BondMtu { bond, mtu });
        }
        // As long as the file says the same, an address that the user or `fail_over_mac` set since stays.
        let asked = request
            .mac
            .as_ref()
            .filter(|_| request.mac != running.request.mac);
        let asked = asked.and_then(|mac| mac.parse().ok());
        let mac = bond.exactly.as_ref().map(|exact| exact.mac).or(asked);
        if let Some(mac) = mac.filter(|mac| *mac != running.mac) {
            let bond = name();
            let interrupts = Some(
                "neighbours learn the new address first, which they are told at once".to_owned(),
            );
            self.interrupting(Phase::Change, interrupts, Step::BondMac { bond, mac });
        }
        for port in &request.ports {
            let known = running.request.ports.iter().find(|p| p.name == port.name);
            let Some(known) = known else {
                self.add_port(&request.name, port, Phase::Make);
                continue;
            };
            match port_changes(engine, options.mode, &port.options, &known.options) {
                Ok(changes) if changes.is_empty() => {}
                // One that is away gets its options when it returns.
                Ok(_) if !running.attached.contains(&port.name) => {}
                Ok(changes) => {
                    let (bond, port) = (name(), port.name.clone());
                    self.step(
                        Phase::Change,
                        Step::PortOptions {
                            bond,
                            port,
                            changes,
                        },
                    );
                }
                Err(failure) => self.refusals.push(failure),
            }
        }
        for port in &running.request.ports {
            if request.ports.iter().any(|p| p.name == port.name) {
                continue;
            }
            let (bond, port) = (name(), port.name.clone());
            let phase = match self.ports.is_wanted(&port) || self.ours.lent.contains_key(&port) {
                true => Phase::Release,
                false => Phase::Surplus,
            };
            self.step(phase, Step::RemovePort { bond, port });
        }
    }

    /// The options a bond should have.
    fn options_of(&mut self, bond: &WantedBond, engine: Engine) -> Option<BondOptions> {
        match bond.options(engine) {
            Ok(options) => Some(options),
            Err(failure) => {
                self.refusals.push(failure);
                None
            }
        }
    }

    /// Devices and bonds of our making that nobody wants as they are, upper ones first.
    fn unwanted_devices(&mut self) {
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

    /// Takes a bond apart. A port that gets something back, or goes elsewhere, leaves first: taking apart the whole takes
    /// longer, and has time until the rest works again.
    fn unwanted_bond(&mut self, name: &'a str, bond: &'a RunningBond) {
        let needed =
            |port: &&String| self.ours.lent.contains_key(*port) || self.ports.is_wanted(port);
        let leaving: Vec<&String> = bond.attached.iter().filter(needed).collect();
        let renewed = self.wanted.devices().any(|wanted| wanted == name);
        let interrupts = Some(format!("what goes over {name} ends"));
        let own = || name.to_owned();
        let mut last = Phase::Release;
        if !leaving.is_empty() && !renewed {
            for port in leaving {
                let (bond, port) = (own(), port.clone());
                let step = Step::RemovePort { bond, port };
                self.interrupting(Phase::Release, interrupts.clone(), step);
            }
            if let Some(device) = self.device(name) {
                self.network(name, Some(device), &[], &[]);
            }
            last = Phase::Surplus;
        }
        self.interrupting(last, interrupts, Step::DeleteBond { bond: own() });
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

    fn bridge_device(&mut self, bridge: &'a WantedBridge) {
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
    fn replaceable(&mut self, name: &str, device: &Device, as_what: &str) -> bool {
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
    fn vlans(&mut self) {
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
    fn bridge(&mut self, bridge: &'a WantedBridge) {
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
        for VidRange { first, last } in new(false) {
            self.step(
                phase,
                Step::AddVlans {
                    port: port(),
                    bridge,
                    first,
                    last,
                    pvid: false,
                },
            );
        }
        for VidRange { first, last } in new(true) {
            self.step(
                phase,
                Step::AddVlans {
                    port: port(),
                    bridge,
                    first,
                    last,
                    pvid: true,
                },
            );
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
    fn unwanted_ports(&mut self) {
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

    /// MTU, address, addresses and routes of a wanted device.
    fn settings(&mut self, name: &str, settings: &'a Settings) {
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
        self.services(name, &settings.dhcp, &settings.names);
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
    fn network(
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
    fn unwanted_network(&mut self) {
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

    /// What ports lent, once they are ports no longer.
    fn give_back(&mut self) {
        for port in self.ours.lent.keys() {
            let wanted = self.ports.is_wanted(port);
            let holder = self.ports.held.get(port.as_str());
            let by_hand = holder.is_some_and(|bond| {
                !self.running.bonds[*bond].request.from_file && !self.ports.bonds.contains_key(bond)
            });
            if wanted || by_hand {
                continue;
            }
            for step in self.ours.give_back(port, self.running, self.wanted) {
                let phase = match step {
                    Step::PutBackMaster { .. } => Phase::Join,
                    Step::PutBackRoute { .. } => Phase::Route,
                    _ => Phase::Address,
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

/// A mode has an option, on this engine.
pub(super) fn is_known(engine: Engine, id: OptionId, mode: Mode) -> bool {
    id.spec().settable_in(engine.is_own()).contains(mode)
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
