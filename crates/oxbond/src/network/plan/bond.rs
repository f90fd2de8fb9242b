//! Steps to the bonds that are wanted, and to their ports.

use oxbond_core::driver::interruption;
use oxbond_core::engine::{Chosen, Engine, EngineChoice};
use oxbond_core::option::{BondOptions, FailOverMac, Mode, OptionId};
use oxbond_linux::inspect::MtuRefusal;

use super::{Phase, Planner};
use crate::control::protocol::{BondRequest, PortRequest};
use crate::network::running::RunningBond;
use crate::network::step::Step;
use crate::network::wanted::{WantedBond, defaults_of};
use crate::request::{choose_engine, port_changes};

impl<'a> Planner<'a> {
    pub(super) fn bond(&mut self, bond: &'a WantedBond) {
        let request = &bond.request;
        for port in &request.ports {
            if let Some(why) = self.device(&port.name).and_then(|d| d.no_port.clone()) {
                self.refuse(why);
            }
        }
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
        // A bond that is set down for its options gets a link-local address of the link-layer address that it has then, which
        // stays: on the way back it has the right one before.
        let mac_first = bond.exactly.is_some()
            && engine == Engine::Kernel
            && running.options.fail_over_mac == FailOverMac::None;
        if mac_first {
            self.bond_mac(bond, running);
        }
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
        if !mac_first {
            self.bond_mac(bond, running);
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

    /// The link-layer address. As long as the file says the same, one that the user or `fail_over_mac` set since stays.
    fn bond_mac(&mut self, bond: &WantedBond, running: &RunningBond) {
        let request = &bond.request;
        let asked = request
            .mac
            .as_ref()
            .filter(|_| request.mac != running.request.mac);
        let asked = asked.and_then(|mac| mac.parse().ok());
        let mac = bond.exactly.as_ref().map(|exact| exact.mac).or(asked);
        if let Some(mac) = mac.filter(|mac| *mac != running.mac) {
            let bond = request.name.clone();
            let interrupts = Some(
                "neighbours learn the new address first, which they are told at once".to_owned(),
            );
            self.interrupting(Phase::Change, interrupts, Step::BondMac { bond, mac });
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

    /// Takes a bond apart. A port that gets something back, or goes elsewhere, leaves first: taking apart the whole takes
    /// longer, and has time until the rest works again.
    pub(super) fn unwanted_bond(&mut self, name: &'a str, bond: &'a RunningBond) {
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

    /// What ports lent, once they are ports no longer.
    pub(super) fn give_back(&mut self) {
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

/// A mode has an option, on this engine.
pub(in crate::network) fn is_known(engine: Engine, id: OptionId, mode: Mode) -> bool {
    id.spec().settable_in(engine.is_own()).contains(mode)
}
