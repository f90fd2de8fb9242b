//! A bond under the daemon's care, whatever carries it.
//!
//! Every change runs to the end or is undone. After each, the caller collects the events and saves the state.

use std::collections::BTreeMap;
use std::net::IpAddr;

use oxbond_config::model::Cidr;
use oxbond_core::bond::Bond;
use oxbond_core::engine::Engine;
use oxbond_core::event::Event;
use oxbond_core::lacp::ReceiveState;
use oxbond_core::time::Instant;
use oxbond_linux::engine::BondSpec;
use oxbond_linux::inspect::{self, Candidate, Surroundings};
use oxbond_linux::netlink::{Link, Netlink};
use oxbond_wire::MacAddr;
use tracing::warn;

use super::ebpf::EbpfBond;
use super::kernel::KernelBond;
use super::step::Step;
use crate::control::protocol::{BondRequest, PortRequest};
use crate::exit::Failure;
use crate::network::RunningBond;
use crate::refusal::{kernel, refused, refused_as_name, refused_as_port};
use crate::report::{BondReport, FrameReport};
use crate::request::{parse_options, parse_port_options};

/// A bond that is to be made.
pub(crate) struct ToMake {
    /// What was asked for.
    pub(crate) wanted: BondRequest,
    /// Why it is on its engine, in words.
    pub(crate) chosen: String,
    /// Index of a bond of this name that nobody uses, and that is deleted for it once nothing is left to be refused.
    pub(crate) replaces: Option<u32>,
}

impl ToMake {
    /// Looks whether it can be made of what is there: its name, its ports, its MTU. Writes nothing.
    pub(super) fn inspect(
        &self,
        netlink: &mut Netlink,
        mac: Option<MacAddr>,
        taken: &BTreeMap<u32, String>,
    ) -> Result<(BondSpec, Vec<Candidate>), Failure> {
        let name = &self.wanted.name;
        if self.replaces.is_none() {
            inspect::check_bond_name(netlink, name).map_err(refused_as_name)?;
        }
        let around = Surroundings::read(netlink).map_err(kernel)?;
        let ports = self.wanted.ports.iter();
        let candidates = ports
            .map(|port| around.inspect_port(name, &port.name, taken))
            .collect::<Result<Vec<_>, _>>()
            .map_err(refused_as_port)?;
        let mtu = inspect::check_mtus(&candidates, self.wanted.mtu).map_err(refused)?;
        let spec = BondSpec {
            name: name.clone(),
            mac,
            mtu,
            beside: false,
        };
        Ok((spec, candidates))
    }
}

/// A bond and its engine.
pub(crate) enum ManagedBond {
    /// Our own programs, steered by the core.
    Ebpf(Box<EbpfBond>),
    /// The kernel's driver, which decides by itself.
    Kernel(Box<KernelBond>),
}

/// What both have under the same name.
macro_rules! either {
    ($bond:expr, $it:ident => $what:expr) => {
        match $bond {
            ManagedBond::Ebpf($it) => $what,
            ManagedBond::Kernel($it) => $what,
        }
    };
}

impl ManagedBond {
    /// What carries it.
    pub(crate) const fn engine(&self) -> Engine {
        match self {
            Self::Ebpf(_) => Engine::Ebpf,
            Self::Kernel(_) => Engine::Kernel,
        }
    }

    /// Our own engine's bond, where it is one.
    pub(super) fn as_ebpf(&self) -> Option<&EbpfBond> {
        match self {
            Self::Ebpf(bond) => Some(bond),
            Self::Kernel(_) => None,
        }
    }

    /// As [`Self::as_ebpf`].
    pub(super) fn as_ebpf_mut(&mut self) -> Option<&mut EbpfBond> {
        match self {
            Self::Ebpf(bond) => Some(bond),
            Self::Kernel(_) => None,
        }
    }

    /// The driver's bond, where it is one.
    pub(super) fn as_kernel_mut(&mut self) -> Option<&mut KernelBond> {
        match self {
            Self::Kernel(bond) => Some(bond),
            Self::Ebpf(_) => None,
        }
    }

    /// Name of the bond.
    pub(crate) fn name(&self) -> &str {
        &self.wanted().name
    }

    /// What was asked for.
    pub(super) fn wanted(&self) -> &BondRequest {
        either!(self, bond => bond.wanted())
    }

    /// Names of the ports asked for.
    pub(super) fn expected(&self) -> Vec<String> {
        names_of(self.wanted())
    }

    /// Remembers what was asked for.
    pub(crate) fn remember(&mut self, request: BondRequest) {
        either!(self, bond => bond.remember(request));
    }

    /// Waits for a port that is not there.
    pub(super) fn expect_port(&mut self, port: PortRequest) -> Result<Vec<String>, Failure> {
        either!(self, bond => bond.expect_port(port))
    }

    /// As a plan sees it.
    pub(crate) fn running(&self) -> RunningBond {
        either!(self, bond => bond.running())
    }

    /// A copy of the core, to try out what it would say; the driver has none.
    pub(super) fn core(&self) -> Option<Bond> {
        self.as_ebpf().map(|bond| bond.core.clone())
    }

    /// Index of the front device.
    pub(crate) fn ifindex(&self) -> u32 {
        either!(self, bond => bond.ifindex())
    }

    /// Indices of every interface that belongs to it.
    pub(crate) fn interfaces(&self) -> Vec<u32> {
        either!(self, bond => bond.interfaces())
    }

    /// Whether [`ManagedBond::on_link`] has work with this link.
    pub(crate) fn is_concerned(&self, link: &Link) -> bool {
        either!(self, bond => bond.is_concerned(link))
    }

    /// An expected port could not join; [`ManagedBond::on_timeout`] tries again.
    pub(crate) fn is_hindered(&self) -> bool {
        either!(self, bond => bond.is_hindered())
    }

    /// In mode 802.3ad: a partner has been heard.
    pub(super) fn has_partner(&self, now: Instant) -> bool {
        let status = either!(self, bond => bond.status(now));
        let mut lacp = status.ports.iter().filter_map(|port| port.lacp.as_ref());
        lacp.any(|port| port.receive == ReceiveState::Current)
    }

    /// Events since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        either!(self, bond => bond.take_events())
    }

    /// Saves its state where that changed; a failure is logged once and tried again with the next change.
    pub(crate) fn save_or_log(&mut self) {
        either!(self, bond => bond.save_or_log());
    }

    /// Tells how many bonds the daemon has.
    pub(crate) fn pace_saves(&mut self, bonds: u32) {
        if let Self::Ebpf(bond) = self {
            bond.pace_saves(bonds);
        }
    }

    /// Next time [`ManagedBond::on_timeout`] has work.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        either!(self, bond => bond.next_wake())
    }

    /// What was due by now.
    pub(crate) fn on_timeout(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
    ) {
        either!(self, bond => bond.on_timeout(netlink, now, taken));
    }

    /// The link of any interface of the namespace, as it is now.
    pub(crate) fn on_link(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        link: &Link,
        taken: &BTreeMap<u32, String>,
    ) {
        either!(self, bond => bond.on_link(netlink, now, link, taken));
    }

    /// An interface is gone.
    pub(crate) fn on_port_gone(&mut self, netlink: &mut Netlink, now: Instant, index: u32) {
        either!(self, bond => bond.on_port_gone(netlink, now, index));
    }

    /// Addresses changed on the bond or on what stands on it.
    pub(crate) fn on_addresses(&mut self, netlink: &mut Netlink, now: Instant) {
        // The driver sees to its announcements itself.
        if let Self::Ebpf(bond) = self {
            bond.on_addresses(netlink, now);
        }
    }

    /// Everything may have changed.
    pub(crate) fn look_again(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
    ) {
        either!(self, bond => bond.look_again(netlink, now, taken));
    }

    /// Carries out all of it, or undoes what was done; what cannot be undone is logged. Answers a line for each change.
    pub(super) fn carry_out(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
        steps: Vec<Step>,
    ) -> Result<Vec<String>, Failure> {
        either!(&*self, bond => bond.ready_to_change())?;
        let mut undo = Vec::new();
        let mut said = Vec::new();
        for step in steps {
            match self.take_step(netlink, now, taken, step, &mut undo) {
                Ok(lines) => said.extend(lines),
                Err(failure) => {
                    for step in undo.into_iter().rev() {
                        if let Err(e) = self.take_step(netlink, now, taken, step, &mut Vec::new()) {
                            warn!("{}: while undoing: {e}", self.name());
                        }
                    }
                    return Err(failure);
                }
            }
        }
        let name = self.name();
        Ok(said
            .into_iter()
            .map(|line| format!("{name}: {line}"))
            .collect())
    }

    fn take_step(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
        step: Step,
        undo: &mut Vec<Step>,
    ) -> Result<Vec<String>, Failure> {
        either!(self, bond => bond.take_step(netlink, now, taken, step, undo))
    }

    /// Joins a port.
    pub(crate) fn add_port(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        request: PortRequest,
        taken: &BTreeMap<u32, String>,
    ) -> Result<Vec<String>, Failure> {
        self.carry_out(netlink, now, taken, vec![Step::AddPort(request)])
    }

    /// Takes a port out and gives it back as it was.
    pub(crate) fn remove_port(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        port: String,
    ) -> Result<Vec<String>, Failure> {
        self.carry_out(netlink, now, &BTreeMap::new(), vec![Step::RemovePort(port)])
    }

    /// Takes a port out of the traffic, or lets it take part again.
    pub(crate) fn drain_port(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        port: String,
        out: bool,
    ) -> Result<Vec<String>, Failure> {
        let step = Step::Drain { port, out };
        self.carry_out(netlink, now, &BTreeMap::new(), vec![step])
    }

    /// Changes options, all or none.
    pub(crate) fn set_options(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        options: &[(String, String)],
    ) -> Result<Vec<String>, Failure> {
        let step = Step::Options(parse_options(options)?);
        self.carry_out(netlink, now, &BTreeMap::new(), vec![step])
    }

    /// Changes options of a port, all or none.
    pub(crate) fn set_port_options(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        request: PortRequest,
    ) -> Result<Vec<String>, Failure> {
        let changes = parse_port_options(&request.options)?;
        let step = Step::PortOptions {
            port: request.name,
            changes,
        };
        self.carry_out(netlink, now, &BTreeMap::new(), vec![step])
    }

    /// Gives everything back. Goes on to the end; returns what could not be done.
    pub(crate) fn remove(self, netlink: &mut Netlink) -> Vec<String> {
        either!(self, bond => bond.remove(netlink))
    }

    /// The picture that renderers read.
    pub(crate) fn report(&self, now: Instant) -> Result<BondReport, Failure> {
        either!(self, bond => bond.report(now))
    }

    /// The way of a frame as the host would send it.
    pub(super) fn explain_frame(
        &self,
        netlink: &mut Netlink,
        frame: &[u8],
    ) -> Result<FrameReport, Failure> {
        either!(self, bond => bond.explain_frame(netlink, frame))
    }
}

/// Names of the ports that are asked for.
pub(super) fn names_of(request: &BondRequest) -> Vec<String> {
    let ports = request.ports.iter();
    ports.map(|port| port.name.clone()).collect()
}

/// The options that a port was asked to have.
pub(super) fn options_asked<'a>(request: &'a BondRequest, port: &str) -> &'a [(String, String)] {
    let mut ports = request.ports.iter();
    let port = ports.find(|known| known.name == port);
    port.map_or(&[], |port| &port.options)
}

/// A bond was not asked to have this port.
pub(super) fn no_such_port(request: &BondRequest, name: &str) -> Failure {
    refused(format!(
        "{name} is not a port of {}; its ports are: {}",
        request.name,
        names_of(request).join(", ")
    ))
}

/// What is told of the ports asked for: their names, and a place for each that no selector has found yet.
pub(super) fn places_of(request: &BondRequest) -> Vec<String> {
    let mut places = names_of(request);
    let missing = request.expected.saturating_sub(places.len());
    places.extend((1..=missing).map(|number| format!("unknown-{number}")));
    places
}

/// What is told of a bond that was just made; `chosen` says why on that engine.
pub(super) fn created(wanted: &BondRequest, engine: Engine, chosen: &str) -> String {
    let ports = match names_of(wanted).as_slice() {
        [] => "no port".to_owned(),
        ports => ports.join(", "),
    };
    let engine = match engine {
        Engine::Ebpf => "our own engine",
        Engine::Kernel => "the kernel's driver",
    };
    format!(
        "{}: created with {ports} on {engine}: {chosen}",
        wanted.name
    )
}

/// Puts addresses and default gateways on a bond that was just made.
pub(super) fn set_network(
    netlink: &mut Netlink,
    ifindex: u32,
    addresses: &[Cidr],
    gateways: &[IpAddr],
) -> Result<(), Failure> {
    for address in addresses {
        netlink
            .add_address(ifindex, address.address, address.prefix_len)
            .map_err(kernel)?;
    }
    for gateway in gateways {
        netlink
            .add_default_route(ifindex, *gateway)
            .map_err(kernel)?;
    }
    Ok(())
}
