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

mod bond;
mod device;
mod network;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub(super) use self::bond::is_known;
use super::record::Record;
use super::running::{Device, Running, cidr_of};
use super::step::Step;
use super::wanted::Wanted;
use crate::control::protocol::BondRequest;
use crate::exit::{Blame, Failure};

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
}
