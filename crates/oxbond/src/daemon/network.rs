//! Takes the steps of a plan, reads back whether they led where they should, and goes back if not.
//!
//! ```text
//!   plan ──► check ──► undo.json ──► step, step, ... ──► plan again: empty? ──► network.json, undo.json away
//!                                      └─ fails ─┐             └─ no ─┐
//!                                                ▼                    ▼
//!                                        plan from here to what was before, step, step, ...
//! ```

use std::collections::{BTreeMap, BTreeSet};

use oxbond_core::bond::Bond;
use oxbond_core::input::Input;
use oxbond_datapath::KernelTypes;
use oxbond_linux::error::KernelError;
use oxbond_linux::inspect::{self, PortRefusal, Surroundings};
use oxbond_linux::ipv6;
use oxbond_linux::netlink::{BridgeSetting, Netlink, RouteRecord};
use oxbond_linux::resolver::NameService;
use tracing::{info, warn};

use super::driver;
use super::fault::fault_point;
use super::service::{Service, now};
use super::step::Step as BondStep;
use crate::control::protocol::{PortRequest, Reply};
use crate::exit::{Blame, Failure};
use crate::network::{Family, Planned, Record, Running, Step, Undo, Wanted, plan};
use crate::refusal::{kernel, refused, refused_as_name, refused_as_port, refused_by_core};
use crate::request::{parse_mac, parse_options, parse_port_options};

/// Times that the way back is planned anew: what one round could not see, such as an address that came with the first
/// port, the next one mends.
const ROUNDS_BACK: usize = 3;

impl Service {
    /// What would be done.
    pub(super) fn plan(&mut self, wanted: &Wanted) -> Result<Reply, Failure> {
        let wanted = &self.with_found_ports(wanted)?;
        let running = self.running(wanted)?;
        let (steps, refusals) = plan(wanted, self.keeper.record(), &running);
        all_of(refusals)?;
        Ok(Reply::Plan { steps })
    }

    /// Makes the system be as wanted, or leaves it as it was.
    pub(crate) fn apply(&mut self, wanted: &Wanted) -> Result<Vec<String>, Failure> {
        let wanted = &self.with_found_ports(wanted)?;
        let writes = self.netlink.writes();
        let _types = KernelTypes::keep();
        let Some((said, undo)) = self.take_steps(wanted)? else {
            info!("applied: {} writes", self.netlink.writes() - writes);
            return Ok(Vec::new());
        };
        let settled = self
            .running(wanted)
            .and_then(|running| self.settle_network(wanted, running));
        match settled {
            Ok(()) => {
                info!("applied: {} writes", self.netlink.writes() - writes);
                Ok(said)
            }
            Err(failure) => Err(self.back_after(failure, &undo)),
        }
    }

    /// Takes the steps and reads back. Answers a line for each change and the way back, which lies on disk; `None` when
    /// there was nothing to do.
    pub(super) fn take_steps(
        &mut self,
        wanted: &Wanted,
    ) -> Result<Option<(Vec<String>, Undo)>, Failure> {
        let running = self.running(wanted)?;
        let (steps, refusals) = plan(wanted, self.keeper.record(), &running);
        all_of(refusals)?;
        if steps.is_empty() {
            self.settle_network(wanted, running)?;
            return Ok(None);
        }
        self.check(&steps)?;
        let undo = Undo::new(&steps, wanted, self.keeper.record(), &running);
        self.keeper.set_undo(&undo)?;
        let mut said = Vec::new();
        for (number, planned) in steps.iter().enumerate() {
            fault_point("step", number);
            match self.take(&planned.step) {
                Ok(lines) => said.extend(lines),
                Err(failure) => {
                    let failure = Failure {
                        message: format!("{}: {}", planned.words, failure.message),
                        ..failure
                    };
                    return Err(self.back_after(failure, &undo));
                }
            }
        }
        fault_point("step", steps.len());
        if let Err(failure) = self.verify(wanted, &undo.during) {
            return Err(self.back_after(failure, &undo));
        }
        Ok(Some((said, undo)))
    }

    /// Remembers what is wanted and what of it is ours, of what is there now. From here on there is no way back.
    pub(super) fn settle_network(
        &mut self,
        wanted: &Wanted,
        mut running: Running,
    ) -> Result<(), Failure> {
        let during = self.keeper.undo()?.map(|undo| undo.during);
        // Addresses of bonds made by hand that files name now are listed here from now on.
        let record = during.unwrap_or_else(|| self.keeper.record().clone());
        let mut record = record.with_bonds(&running.bonds_of(wanted));
        for bond in &wanted.bonds {
            self.remember(&bond.request);
            if let Some(running) = running.bonds.get_mut(&bond.request.name) {
                running.request.clone_from(&bond.request);
            }
        }
        record.settle(wanted, &running);
        self.keeper.set_record(record)?;
        self.keeper.forget_undo()
    }

    fn remember(&mut self, request: &crate::control::protocol::BondRequest) {
        self.with_bond(&request.name, |bond, _| bond.remember(request.clone()));
    }

    /// All that runs and is ours, as something to be wanted: settings as they were applied, the rest as it is now.
    pub(super) fn as_wanted(&mut self) -> Result<Wanted, Failure> {
        let nothing = Wanted::default();
        let running = self.running(&nothing)?;
        let record = self.keeper.record();
        let mut wanted = Undo::new(&[], &nothing, record, &running).wanted;
        for (device, settings) in &mut wanted.settings {
            if let Some(applied) = record.settings.get(device) {
                settings.clone_from(applied);
            }
        }
        Ok(wanted)
    }

    /// What a plan needs to see.
    pub(super) fn running(&mut self, wanted: &Wanted) -> Result<Running, Failure> {
        let asked = wanted.settings.iter();
        let advertised: BTreeSet<&str> = asked
            .filter(|(_, settings)| settings.accept_ra.is_some())
            .map(|(name, _)| name.as_str())
            .collect();
        let mut running = Running::read(&mut self.netlink, &advertised).map_err(kernel)?;
        running.others = self.read_driver(now())?;
        running.driver = driver::state();
        running.auto = self.driver.auto;
        for (name, bond) in &self.bonds {
            running.bonds.insert(name.clone(), bond.running());
        }
        running.dhcp = self.leases.wanted();
        running.names.clone_from(&self.names);
        Ok(running)
    }

    /// Finds out what can be found out beforehand: names, whether interfaces can be ports, and, on copies of the cores,
    /// whether those take it.
    fn check(&mut self, steps: &[Planned]) -> Result<(), Failure> {
        let now = now();
        let leaving = Leaving::of(steps);
        let taken = self.taken();
        let around = Surroundings::read(&mut self.netlink).map_err(kernel)?;
        let mut cores: BTreeMap<String, Bond> = BTreeMap::new();
        for planned in steps {
            let name = planned.step.device();
            if let Some(bond) = self.bonds.get(name) {
                let core = bond.core();
                if let Some(core) = core.filter(|_| !cores.contains_key(name)) {
                    cores.insert(name.to_owned(), core);
                }
            }
            let (bond, ports): (&str, &[PortRequest]) = match &planned.step {
                Step::CreateBond {
                    request, engine, ..
                } => {
                    let replaced = leaving.devices.contains(request.name.as_str())
                        || self.pristine(&request.name)?.is_some();
                    if !replaced {
                        inspect::check_bond_name(&mut self.netlink, &request.name)
                            .map_err(refused_as_name)?;
                    }
                    let mac = request.mac.as_deref().map(parse_mac).transpose()?;
                    let options = parse_options(&request.options)?;
                    if engine.is_own() {
                        let core = Bond::new(now, &request.name, mac, &options);
                        cores.insert(request.name.clone(), core.map_err(refused_by_core)?);
                    }
                    (&request.name, &request.ports)
                }
                Step::AddPort { bond, port } => (bond, std::slice::from_ref(port)),
                Step::BondOptions { bond, changes } => {
                    let changes = changes.clone();
                    if let Some(core) = cores.get_mut(bond) {
                        let input = Input::SetOptions { changes };
                        core.handle(now, input).map_err(refused_by_core)?;
                    }
                    continue;
                }
                _ => continue,
            };
            for port in ports {
                let options = parse_port_options(&port.options)?;
                let candidate = around.inspect_port(bond, &port.name, &taken);
                let candidate = match candidate {
                    Ok(candidate) => candidate,
                    Err(refusal) if leaving.is_seen_to(&refusal) => continue,
                    Err(refusal) => return Err(refused_as_port(refusal)),
                };
                if let Some(core) = cores.get_mut(bond) {
                    let info = candidate.port_info();
                    let input = Input::AddPort {
                        info,
                        options,
                        drained: false,
                    };
                    core.handle(now, input).map_err(refused_by_core)?;
                }
            }
        }
        Ok(())
    }

    /// Takes one step. Answers what is told of it.
    fn take(&mut self, step: &Step) -> Result<Vec<String>, Failure> {
        let bond_step = match step {
            Step::CreateBond {
                request,
                engine,
                why,
            } => return self.make(request.clone(), *engine, why.clone()),
            Step::TakeOver { bond } => return self.take_over(bond),
            Step::DeleteBond { bond } => return Ok(self.remove(bond)),
            Step::BondOptions { bond, changes } => (bond, BondStep::Options(changes.clone())),
            Step::AddPort { bond, port } => (bond, BondStep::AddPort(port.clone())),
            Step::ExpectPort { bond, port } => {
                self.change(bond, |bond, _, _| bond.expect_port(port.clone()))?;
                return Ok(vec![step.done()]);
            }
            Step::RemovePort { bond, port } => (bond, BondStep::RemovePort(port.clone())),
            Step::PortOptions {
                bond,
                port,
                changes,
            } => {
                let (port, changes) = (port.clone(), changes.clone());
                (bond, BondStep::PortOptions { port, changes })
            }
            Step::BondMtu { bond, mtu } => (bond, BondStep::Mtu(*mtu)),
            Step::BondMac { bond, mac } => (bond, BondStep::Mac(*mac)),
            Step::Dhcp { device, families } => {
                return Ok(self.ask_for_addresses(device, families, step));
            }
            Step::Names { device, names } => return Ok(self.let_know(device, names, step)),
            other => {
                self.take_in_kernel(other)?;
                return Ok(match other {
                    Step::Keep { .. } | Step::Order { .. } => Vec::new(),
                    step => vec![step.done()],
                });
            }
        };
        let (bond, step) = bond_step;
        let taken = self.taken();
        self.change(bond, |bond, netlink, now| {
            bond.carry_out(netlink, now, &taken, vec![step])
        })
    }

    /// From now on a device wants addresses in these families.
    fn ask_for_addresses(
        &mut self,
        device: &str,
        families: &BTreeSet<Family>,
        step: &Step,
    ) -> Vec<String> {
        self.leases.want(&mut self.netlink, device, families);
        self.leases.look(&mut self.netlink);
        let complaint = self.tell_names().err().map(|e| format!("{device}: {e}"));
        [step.done()].into_iter().chain(complaint).collect()
    }

    /// From now on a device brings these names along. A resolver that belongs to another program must not keep the rest
    /// from being as wanted: it is told.
    fn let_know(&mut self, device: &str, names: &NameService, step: &Step) -> Vec<String> {
        if *names == NameService::default() {
            self.names.remove(device);
        } else {
            self.names.insert(device.to_owned(), names.clone());
        }
        vec![match self.tell_names() {
            Ok(()) => step.done(),
            Err(e) => format!("{device}: {e}"),
        }]
    }

    fn index(&mut self, name: &str) -> Result<u32, Failure> {
        match self.netlink.link(name).map_err(kernel)? {
            Some(link) => Ok(link.index),
            None => Err(refused(format!(
                "{name} does not exist any more; somebody else removed it"
            ))),
        }
    }

    fn take_in_kernel(&mut self, step: &Step) -> Result<(), Failure> {
        let index = match step {
            Step::CreateVlan { link, .. } => self.index(link)?,
            Step::CreateBridge { .. } => 0,
            // It may have gone along with what it stood on.
            Step::DeleteDevice { name } => match self.netlink.link(name).map_err(kernel)? {
                Some(link) => link.index,
                None => return Ok(()),
            },
            step => self.index(step.device())?,
        };
        let master = match step {
            Step::Master {
                master: Some(master),
                ..
            }
            | Step::PutBackMaster { master, .. } => Some(self.index(master)?),
            _ => None,
        };
        let nl = &mut self.netlink;
        match step {
            Step::CreateVlan { name, id, .. } => nl.create_vlan(name, index, *id),
            Step::CreateBridge { name } => nl.create_bridge(name),
            Step::DeleteDevice { .. } => nl.delete_link(index),
            Step::Stp { on, .. } => nl.set_bridge(index, BridgeSetting::Stp(*on)),
            Step::ForwardDelay { delay, .. } => {
                nl.set_bridge(index, BridgeSetting::ForwardDelay(*delay))
            }
            Step::VlanFiltering { on, .. } => {
                nl.set_bridge(index, BridgeSetting::VlanFiltering(*on))
            }
            Step::Master { .. } => nl.set_master(index, master),
            Step::PutBackMaster { vlans, .. } => {
                nl.set_master(index, master).map_err(kernel)?;
                match vlans.as_slice() {
                    [] => Ok(()),
                    vlans => nl.set_port_vlans(index, vlans),
                }
            }
            Step::AddVlans {
                bridge,
                first,
                last,
                pvid,
                ..
            } => nl.add_port_vlans(index, *bridge, *first..=*last, *pvid),
            Step::DelVlans {
                bridge,
                first,
                last,
                ..
            } => nl.del_port_vlans(index, *bridge, *first..=*last),
            Step::Mtu { mtu, .. } => nl.set_mtu(index, *mtu),
            Step::Mac { mac, .. } => nl.set_mac(index, *mac),
            Step::Up { up: true, .. } => nl.set_up(index),
            Step::Up { up: false, .. } => nl.set_down(index),
            Step::AcceptRa { device, value } => ipv6::set_accept_ra(nl, device, *value),
            Step::AddAddress { address, .. } => {
                nl.add_address(index, address.address, address.prefix_len)
            }
            Step::DelAddress { address, .. } => {
                // It may have gone along with one before.
                let there = nl.addresses(index).map_err(kernel)?;
                let there = there
                    .iter()
                    .any(|a| (a.address, a.prefix_len) == (address.address, address.prefix_len));
                match there {
                    true => nl.del_address(index, address.address, address.prefix_len),
                    false => Ok(()),
                }
            }
            Step::AddRoute { route, .. } => nl.add_route(index, route),
            Step::DelRoute { route, .. } => nl.del_route(index, route),
            Step::Keep {
                addresses, routes, ..
            } => {
                let there = nl.all_addresses().map_err(kernel)?;
                for record in addresses {
                    if !there.iter().any(|have| have.address == record.address) {
                        nl.put_back_address(index, record).map_err(kernel)?;
                    }
                }
                put_back_missing(nl, index, routes)
            }
            Step::Order { addresses, .. } => {
                let mut routes = nl.routes().map_err(kernel)?;
                routes.retain(|record| !record.automatic && record.ifindexes.contains(&index));
                routes.sort_by_key(|record| record.route.via.is_some());
                nl.order_addresses(index, addresses)
                    .and_then(|()| put_back_missing(nl, index, &routes))
            }
            Step::TakeAddress { record, .. } => match nl.take_address(record) {
                Err(e) if e.errno == libc::EADDRNOTAVAIL => Ok(()),
                other => other,
            },
            Step::TakeRoute { record, .. } => match nl.take_route(record) {
                // One with several next hops is on the list of each of its interfaces.
                Err(e) if e.errno == libc::ESRCH => Ok(()),
                other => other,
            },
            Step::PutBackAddress { record, .. } => nl.put_back_address(index, record),
            Step::PutBackRoute { record, .. } => match nl.put_back_route(index, record) {
                Err(e) if e.errno == libc::EEXIST => Ok(()),
                other => other,
            },
            Step::CreateBond { .. }
            | Step::TakeOver { .. }
            | Step::DeleteBond { .. }
            | Step::BondOptions { .. }
            | Step::AddPort { .. }
            | Step::ExpectPort { .. }
            | Step::RemovePort { .. }
            | Step::PortOptions { .. }
            | Step::BondMtu { .. }
            | Step::BondMac { .. }
            | Step::Dhcp { .. }
            | Step::Names { .. } => Ok(()),
        }
        .map_err(kernel)
    }

    /// Reads back: once all is done, a plan has no step.
    fn verify(&mut self, wanted: &Wanted, during: &Record) -> Result<(), Failure> {
        let running = self.running(wanted)?;
        let (left, _) = plan(wanted, during, &running);
        let left: Vec<&str> = left.iter().map(|planned| planned.words.as_str()).collect();
        if left.is_empty() {
            return Ok(());
        }
        let why = format!(
            "the kernel took every step, and yet this is left to do: {}; a feature it lacks, or somebody else who changes \
             the same devices",
            left.join("; ")
        );
        Err(Failure::new(Blame::Kernel, why))
    }

    /// Goes back after a failure, which then also tells what could not be undone.
    fn back_after(&mut self, failure: Failure, undo: &Undo) -> Failure {
        warn!("going back: {failure}");
        let complaints = self.go_back(undo);
        match complaints.as_slice() {
            [] => failure,
            complaints => Failure {
                message: format!(
                    "{} (and not everything is as it was before: {})",
                    failure.message,
                    complaints.join("; ")
                ),
                ..failure
            },
        }
    }

    /// Goes back to what was before, from wherever things are. Goes on to the end; answers what could not be undone.
    pub(super) fn go_back(&mut self, undo: &Undo) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut record = undo.before.clone();
        for _ in 0..ROUNDS_BACK {
            complaints.clear();
            let running = match self.running(&undo.wanted) {
                Ok(running) => running,
                Err(failure) => {
                    complaints.push(failure.message);
                    continue;
                }
            };
            let (steps, refusals) = undo.steps(&running);
            if steps.is_empty() {
                complaints.extend(refusals.into_iter().map(|refusal| refusal.message));
                break;
            }
            for (number, planned) in steps.iter().enumerate() {
                fault_point("back", number);
                match self.take(&planned.step) {
                    Ok(lines) => {
                        lines.iter().for_each(|line| info!("going back: {line}"));
                        // What had to be made anew is another device to the kernel, and ours as the one before.
                        let name = planned.step.device();
                        if record.created.contains_key(name)
                            && let Ok(index) = self.index(name)
                        {
                            record.created.insert(name.to_owned(), Some(index));
                        }
                    }
                    Err(failure) => {
                        complaints.push(format!("{}: {}", planned.words, failure.message));
                    }
                }
            }
        }
        for bond in &undo.wanted.bonds {
            self.remember(&bond.request);
        }
        let let_go = undo.taken_over.iter().map(|bond| self.let_go(bond));
        let mut failures: Vec<Failure> = let_go.filter_map(Result::err).collect();
        let put_back = undo
            .pristine
            .iter()
            .map(|bond| self.put_back_pristine(bond));
        failures.extend(put_back.filter_map(Result::err));
        complaints.extend(failures.into_iter().map(|failure| failure.message));
        let kept = self
            .keeper
            .set_record(record)
            .and_then(|()| self.keeper.forget_undo());
        complaints.extend(kept.err().map(|failure| failure.message));
        complaints
    }

    /// Goes back from what an earlier daemon left half done or on trial.
    pub(super) fn go_back_at_start(&mut self) {
        match self.keeper.undo() {
            Ok(None) => {}
            Ok(Some(undo)) => {
                warn!("the daemon before died before its changes were final: going back");
                for complaint in self.go_back(&undo) {
                    warn!("not as it was before: {complaint}");
                }
            }
            Err(failure) => warn!(
                "the way back is lost, so what the daemon before had done stays; 'oxbond apply' goes on from here: {failure}"
            ),
        }
    }

    /// Gives interfaces that are ports no longer what they lent, and forgets what is gone with a bond.
    pub(super) fn after_parting(&mut self, gone: Option<&str>, ports: &[String]) -> Vec<String> {
        let mut record = self.keeper.record().clone();
        if let Some(bond) = gone {
            record.forget(bond);
        }
        let mut said = Vec::new();
        let wanted = Wanted::addressed(&record);
        let lent = ports.iter().filter(|port| record.lent.contains_key(*port));
        let lent: Vec<String> = lent.cloned().collect();
        if !lent.is_empty() {
            match self.running(&Wanted::default()) {
                Ok(running) => {
                    for port in &lent {
                        for step in record.give_back(port, &running, &wanted) {
                            match self.take(&step) {
                                Ok(lines) => said.extend(lines),
                                Err(failure) => {
                                    said.push(format!("{step}: not done: {failure}"));
                                }
                            }
                        }
                        record.lent.remove(port);
                    }
                }
                Err(failure) => warn!("what ports lent was not given back: {failure}"),
            }
        }
        self.end_services(&record);
        if let Err(failure) = self.keeper.set_record(record) {
            warn!("{failure}");
        }
        said
    }

    /// Ends the services of devices for which the record has none any more.
    fn end_services(&mut self, record: &Record) {
        let settings = &record.settings;
        for device in self.leases.wanted().into_keys() {
            if settings
                .get(&device)
                .is_none_or(|kept| kept.dhcp.is_empty())
            {
                self.leases
                    .want(&mut self.netlink, &device, &BTreeSet::new());
            }
        }
        self.names.retain(|device, _| {
            let kept = settings.get(device).map(|kept| &kept.names);
            kept.is_some_and(|names| *names != NameService::default())
        });
        if let Err(e) = self.tell_names() {
            warn!("{e}");
        }
    }
}

/// What steps take away from where it is.
struct Leaving<'a> {
    /// Interfaces that are ports no longer.
    ports: BTreeSet<&'a str>,
    /// Bonds.
    bonds: BTreeSet<&'a str>,
    /// Other devices.
    devices: BTreeSet<&'a str>,
}

impl<'a> Leaving<'a> {
    fn of(steps: &'a [Planned]) -> Self {
        let mut leaving = Self {
            ports: BTreeSet::new(),
            bonds: BTreeSet::new(),
            devices: BTreeSet::new(),
        };
        for planned in steps {
            match &planned.step {
                Step::RemovePort { port, .. } | Step::Master { port, .. } => {
                    leaving.ports.insert(port);
                }
                Step::DeleteBond { bond } => {
                    leaving.bonds.insert(bond);
                }
                Step::DeleteDevice { name } => {
                    leaving.devices.insert(name);
                }
                _ => {}
            }
        }
        leaving
    }

    /// Whether the plan itself does something about what keeps an interface from being a port.
    fn is_seen_to(&self, refusal: &PortRefusal) -> bool {
        match refusal {
            PortRefusal::DefaultRoute { .. } | PortRefusal::Addressed { .. } => true,
            PortRefusal::InUse { name, .. } => self.ports.contains(name.as_str()),
            PortRefusal::Taken { name, bond } => {
                self.ports.contains(name.as_str()) || self.bonds.contains(bond.as_str())
            }
            PortRefusal::HasUpper { upper, .. } => self.devices.contains(upper.as_str()),
            _ => false,
        }
    }
}

/// Puts routes over an interface back that are there no more.
fn put_back_missing(
    nl: &mut Netlink,
    index: u32,
    routes: &[RouteRecord],
) -> Result<(), KernelError> {
    let there = nl.routes()?;
    let missing = routes.iter().filter(|record| !record.is_among(&there));
    for record in missing {
        nl.put_back_route(index, record)?;
    }
    Ok(())
}

/// All refusals in one.
fn all_of(refusals: Vec<Failure>) -> Result<(), Failure> {
    let Some(first) = refusals.first() else {
        return Ok(());
    };
    let messages: Vec<&str> = refusals.iter().map(|r| r.message.as_str()).collect();
    Err(Failure {
        message: messages.join("\n"),
        ..first.clone()
    })
}
