//! One bond of the daemon: the core that decides, the engine that carries it out, and what its user asked for.
//!
//! Every change runs to the end or is undone. After each, the caller collects the events and saves the state.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use oxbond_config::model::Cidr;
use oxbond_core::action::Action;
use oxbond_core::bond::Bond;
use oxbond_core::event::Event;
use oxbond_core::input::{Announced, Input};
use oxbond_core::option::{OptionChange, PortOptionChange};
use oxbond_core::port::{MAX_PORTS, PortId};
use oxbond_core::time::Instant;
use oxbond_linux::engine::{BondSpec, EbpfEngine};
use oxbond_linux::inspect::{self, Candidate};
use oxbond_linux::ipv6;
use oxbond_linux::netlink::{Link, Netlink};
use oxbond_wire::MacAddr;
use tracing::{error, warn};

use super::state::{STATE_VERSION, SavedBond, StateDir};
use crate::control::protocol::{BondRequest, PortRequest};
use crate::exit::{Blame, Failure};
use crate::report::{BondReport, EngineReport};

/// A bond under the daemon's care.
pub(crate) struct ManagedBond {
    wanted: BondRequest,
    core: Bond,
    engine: EbpfEngine,
    events: Vec<Event>,
    next_poll: Option<Instant>,
    /// Text last written to the state file.
    saved: String,
}

impl ManagedBond {
    /// Makes the bond, its ports, addresses and gateways. Whatever fails, everything is as it was.
    pub(crate) fn create(
        netlink: &mut Netlink,
        now: Instant,
        pins: &Path,
        wanted: BondRequest,
        taken: &BTreeMap<u32, String>,
    ) -> Result<(Self, Vec<String>), Failure> {
        let mac = wanted.mac.as_deref().map(parse_mac).transpose()?;
        let addresses = wanted
            .addresses
            .iter()
            .map(|text| parse_address(text))
            .collect::<Result<Vec<_>, _>>()?;
        let options = parse_options(&wanted.options)?;
        // The core first: it refuses what makes no sense before anything is touched.
        let mut core = Bond::new(now, &wanted.name, mac, &options).map_err(configuration)?;
        inspect::check_bond_name(netlink, &wanted.name).map_err(refused)?;
        let candidates = wanted
            .ports
            .iter()
            .map(|port| {
                inspect::inspect_port(netlink, &wanted.name, &port.name, taken).map_err(refused)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mtu = inspect::check_mtus(&candidates, wanted.mtu).map_err(refused)?;
        let spec = BondSpec {
            name: wanted.name.clone(),
            mac,
            mtu,
        };
        let engine =
            EbpfEngine::create(netlink, &pins.join(&wanted.name), &spec).map_err(engine_failure)?;
        core.set_device_mac(engine.bond_mac(netlink).map_err(engine_failure)?);

        let requests = wanted.ports.clone();
        let mut bond = Self {
            wanted,
            core,
            engine,
            events: Vec::new(),
            next_poll: None,
            saved: String::new(),
        };
        match bond.furnish(netlink, now, &requests, &candidates, &addresses) {
            Ok(()) => {
                let ports: Vec<&str> = bond
                    .wanted
                    .ports
                    .iter()
                    .map(|port| port.name.as_str())
                    .collect();
                let made = format!(
                    "{}: created with {}",
                    bond.wanted.name,
                    if ports.is_empty() {
                        "no port".to_owned()
                    } else {
                        ports.join(", ")
                    }
                );
                Ok((bond, vec![made]))
            }
            Err(failure) => {
                let (_, complaints) = bond.remove(netlink);
                for complaint in complaints {
                    warn!("while undoing: {complaint}");
                }
                Err(failure)
            }
        }
    }

    fn furnish(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        requests: &[PortRequest],
        candidates: &[Candidate],
        addresses: &[Cidr],
    ) -> Result<(), Failure> {
        for (request, candidate) in requests.iter().zip(candidates) {
            self.join(netlink, now, request, candidate)?;
        }
        let ifindex = self.engine.ifindex();
        netlink.set_up(ifindex).map_err(kernel)?;
        self.feed(netlink, now, Input::BondAdmin { up: true })
            .map_err(|e| Failure::new(Blame::Bug, e))?;
        for address in addresses {
            netlink
                .add_address(ifindex, address.address, address.prefix_len)
                .map_err(kernel)?;
        }
        for gateway in &self.wanted.gateways {
            netlink
                .add_default_route(ifindex, *gateway)
                .map_err(kernel)?;
        }
        self.on_addresses(netlink, now);
        self.schedule_poll(now);
        Ok(())
    }

    /// Takes over what an earlier daemon left. Writes nothing when everything is as that daemon recorded it; says what
    /// had to be mended otherwise.
    pub(crate) fn adopt(
        netlink: &mut Netlink,
        now: Instant,
        pins: &Path,
        saved: SavedBond,
        text: String,
    ) -> Result<(Self, Vec<String>), Failure> {
        let pin_dir = pins.join(&saved.wanted.name);
        let (mut engine, drift) =
            EbpfEngine::adopt(netlink, &pin_dir, saved.engine).map_err(engine_failure)?;
        let mended = drift.iter().map(ToString::to_string).collect();
        if !drift.is_empty() {
            engine.repair(netlink, &drift).map_err(engine_failure)?;
        }
        let mut bond = Self {
            wanted: saved.wanted,
            core: saved.core,
            engine,
            events: Vec::new(),
            next_poll: None,
            saved: text,
        };
        bond.schedule_poll(now);
        Ok((bond, mended))
    }

    /// Name of the bond.
    pub(crate) fn name(&self) -> &str {
        &self.wanted.name
    }

    /// Whether it came from a configuration file.
    pub(crate) const fn is_from_file(&self) -> bool {
        self.wanted.from_file
    }

    /// Index of the front device.
    pub(crate) fn ifindex(&self) -> u32 {
        self.engine.ifindex()
    }

    /// Indices of every interface that belongs to it: front, inner end, ports.
    pub(crate) fn interfaces(&self) -> Vec<u32> {
        let mut all = vec![self.engine.ifindex(), self.engine.inner_ifindex()];
        all.extend(self.engine.ports().map(|(_, ifindex)| ifindex));
        all
    }

    /// Readable when the data path has a record.
    pub(crate) fn records_fd(&self) -> BorrowedFd<'_> {
        self.engine.records_fd()
    }

    /// Events since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Writes the state file if anything differs from what it says.
    pub(crate) fn save(&mut self, dir: &StateDir) -> Result<(), Failure> {
        // Borrowed twin of `SavedBond`.
        let text = serde_json::to_string(&serde_json::json!({
            "version": STATE_VERSION,
            "wanted": self.wanted,
            "core": self.core,
            "engine": self.engine.record(),
        }))
        .map_err(|e| {
            Failure::new(
                Blame::Bug,
                format!("cannot encode the state of {}: {e}", self.name()),
            )
        })?;
        if text != self.saved {
            dir.save(&self.wanted.name, &text)?;
            self.saved = text;
        }
        Ok(())
    }

    /// Next time [`ManagedBond::on_timeout`] has work.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.core
            .next_timeout()
            .into_iter()
            .chain(self.next_poll)
            .min()
    }

    /// Monitor interval and the core's timeouts.
    pub(crate) fn on_timeout(&mut self, netlink: &mut Netlink, now: Instant) {
        if self.next_poll.is_some_and(|at| at <= now) {
            self.look_at_ports(netlink, now);
            self.schedule_poll(now);
        }
        self.core.handle_timeout(now);
        self.drain(netlink);
    }

    /// Everything may have changed: reads front, ports and addresses again.
    pub(crate) fn look_again(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
    ) {
        match self.engine.left() {
            Ok(left) => {
                for port in left {
                    self.tell(netlink, now, Input::LeftInPath { port });
                }
            }
            Err(e) => error!(
                "{}: cannot read which ports the data path left: {e}",
                self.name()
            ),
        }
        for index in self.interfaces() {
            match netlink.link_by_index(index) {
                Ok(Some(link)) => self.on_link(netlink, now, &link, taken),
                Ok(None) => self.on_port_gone(netlink, now, index, ""),
                Err(e) => warn!("{}: cannot read interface {index}: {e}", self.name()),
            }
        }
        self.on_addresses(netlink, now);
        self.on_records(netlink, now);
        self.rejoin_missing(netlink, now, taken);
    }

    /// The data path left a port: say so to the core, then look at the link itself.
    pub(crate) fn on_records(&mut self, netlink: &mut Netlink, now: Instant) {
        for record in self.engine.drain_records() {
            if self.engine.ports().any(|(id, _)| id == record.port) {
                self.tell(netlink, now, Input::LeftInPath { port: record.port });
                self.look_at_port(netlink, now, record.port);
            }
        }
    }

    /// The link of any interface of the namespace, as it is now.
    pub(crate) fn on_link(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        link: &Link,
        taken: &BTreeMap<u32, String>,
    ) {
        if link.index == self.engine.ifindex() {
            self.on_front(netlink, now, link);
        } else if let Some(port) = self.port_at(link.index) {
            if self
                .engine
                .port_name(port)
                .is_some_and(|name| name != link.name)
            {
                self.engine.rename_port(port, &link.name);
                self.tell(
                    netlink,
                    now,
                    Input::PortRenamed {
                        port,
                        name: link.name.clone(),
                    },
                );
            }
            let state = self.engine.link_state(port, link);
            self.tell(netlink, now, Input::Link { port, link: state });
        } else if self.is_missing(&link.name) {
            self.rejoin(netlink, now, &link.name, taken);
        }
    }

    fn on_front(&mut self, netlink: &mut Netlink, now: Instant, link: &Link) {
        if link.mac != Some(self.core.mac())
            && let Some(mac) = link.mac
        {
            self.tell(netlink, now, Input::BondMac { mac });
        }
        self.tell(netlink, now, Input::BondAdmin { up: link.up });
        if link.mtu != self.engine.mtu()
            && let Err(e) = self.engine.follow_bond_mtu(netlink, link.mtu)
        {
            error!(
                "{}: the MTU {} is not possible, back to {}: {e}",
                self.name(),
                link.mtu,
                self.engine.mtu()
            );
        }
        if let Err(e) = self
            .engine
            .follow_bond_promiscuity(netlink, link.promiscuity > 0)
        {
            error!(
                "{}: the ports do not follow its promiscuous mode: {e}",
                self.name()
            );
        }
    }

    /// An interface is gone; if it was a port of ours, the bond goes on without it and takes it back when it returns.
    pub(crate) fn on_port_gone(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        index: u32,
        name: &str,
    ) {
        let Some(port) = self.port_at(index) else {
            return;
        };
        warn!(
            "{}: its port {name} has vanished; it joins again when it returns",
            self.name()
        );
        self.part(netlink, now, port);
    }

    /// Addresses of the front, or of VLANs above it, have changed.
    pub(crate) fn on_addresses(&mut self, netlink: &mut Netlink, now: Instant) {
        match self.announced(netlink) {
            Ok(addresses) => self.tell(netlink, now, Input::Addresses { addresses }),
            Err(e) => warn!(
                "{}: cannot read its addresses, failovers will announce older ones: {e}",
                self.name()
            ),
        }
    }

    fn announced(
        &self,
        netlink: &mut Netlink,
    ) -> Result<Vec<Announced>, oxbond_linux::error::KernelError> {
        let front = self.engine.ifindex();
        // Devices by which the bond's addresses are reached: itself, and VLANs above it, however deep.
        let links = netlink.links()?;
        let mut above: Vec<(&Link, MacAddr, Vec<u16>)> = links
            .iter()
            .filter(|link| link.index == front)
            .map(|link| (link, self.core.mac(), Vec::new()))
            .collect();
        let mut looked = 0;
        while looked < above.len() {
            let (lower, _, tags) = above[looked].clone();
            for link in &links {
                if let (Some(id), Some(mac), true) =
                    (link.vlan_id, link.mac, link.lower == Some(lower.index))
                {
                    above.push((link, mac, tags.iter().copied().chain([id]).collect()));
                }
            }
            looked += 1;
        }
        let mut announced = Vec::new();
        for (link, mac, vlans) in above {
            let router = ipv6::is_router(&link.name)?;
            for address in netlink.addresses(link.index)? {
                announced.push(Announced {
                    address: address.address,
                    mac,
                    vlans: vlans.clone(),
                    router,
                });
            }
        }
        Ok(announced)
    }

    /// Joins a port.
    pub(crate) fn add_port(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        request: &PortRequest,
        taken: &BTreeMap<u32, String>,
    ) -> Result<Vec<String>, Failure> {
        if self.is_missing(&request.name) {
            // Asked for again by hand while it was away: the newer words count.
            self.wanted.ports.retain(|port| port.name != request.name);
        }
        let candidate = inspect::inspect_port(netlink, &self.wanted.name, &request.name, taken)
            .map_err(refused)?;
        if candidate.link.mtu != self.engine.mtu() {
            warn!(
                "{}: the MTU of {} goes from {} to {}",
                self.name(),
                request.name,
                candidate.link.mtu,
                self.engine.mtu()
            );
        }
        self.join(netlink, now, request, &candidate)?;
        self.wanted.ports.push(request.clone());
        Ok(vec![format!("{}: {} joined", self.name(), request.name)])
    }

    /// Takes a port out and gives it back as it was.
    pub(crate) fn remove_port(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        name: &str,
    ) -> Result<Vec<String>, Failure> {
        let Some(port) = self
            .engine
            .ports()
            .map(|(id, _)| id)
            .find(|id| self.engine.port_name(*id) == Some(name))
        else {
            if self.is_missing(name) {
                self.wanted.ports.retain(|port| port.name != name);
                return Ok(vec![format!(
                    "{}: {name} is no longer expected",
                    self.name()
                )]);
            }
            let ports: Vec<_> = self
                .wanted
                .ports
                .iter()
                .map(|port| port.name.as_str())
                .collect();
            let why = format!(
                "{name} is not a port of {}; its ports are: {}",
                self.name(),
                ports.join(", ")
            );
            return Err(Failure::new(Blame::Refused, why));
        };
        self.wanted.ports.retain(|port| port.name != name);
        self.part(netlink, now, port);
        Ok(vec![format!("{}: {name} was taken out", self.name())])
    }

    /// Changes options, all or none.
    pub(crate) fn set_options(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        options: &[(String, String)],
    ) -> Result<Vec<String>, Failure> {
        let changes = parse_options(options)?;
        self.feed(netlink, now, Input::SetOptions { changes })
            .map_err(|e| Failure::new(Blame::Configuration, e))?;
        merge(&mut self.wanted.options, options);
        self.schedule_poll(now);
        Ok(options
            .iter()
            .map(|(name, value)| format!("{}: {name} is now {value}", self.name()))
            .collect())
    }

    /// Changes options of a port, all or none.
    pub(crate) fn set_port_options(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        request: &PortRequest,
    ) -> Result<Vec<String>, Failure> {
        let changes = parse_port_options(&request.options)?;
        let Some(port) = self
            .engine
            .ports()
            .map(|(id, _)| id)
            .find(|id| self.engine.port_name(*id) == Some(request.name.as_str()))
        else {
            return Err(Failure::new(
                Blame::Refused,
                format!("{} is not a port of {}", request.name, self.name()),
            ));
        };
        self.feed(netlink, now, Input::SetPortOptions { port, changes })
            .map_err(|e| Failure::new(Blame::Configuration, e))?;
        if let Some(wanted) = self
            .wanted
            .ports
            .iter_mut()
            .find(|port| port.name == request.name)
        {
            merge(&mut wanted.options, &request.options);
        }
        let said = |(name, value): &(String, String)| {
            format!("{}: {name} of {} is now {value}", self.name(), request.name)
        };
        Ok(request.options.iter().map(said).collect())
    }

    /// Changes what differs from `wanted`, nothing else.
    pub(crate) fn become_like(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        wanted: BondRequest,
        taken: &BTreeMap<u32, String>,
    ) -> Result<Vec<String>, Failure> {
        let addresses = wanted
            .addresses
            .iter()
            .map(|text| parse_address(text))
            .collect::<Result<Vec<_>, _>>()?;
        let mut changes = Vec::new();

        let surplus: Vec<String> = self
            .wanted
            .ports
            .iter()
            .filter(|have| !wanted.ports.iter().any(|port| port.name == have.name))
            .map(|port| port.name.clone())
            .collect();
        for name in surplus {
            changes.extend(self.remove_port(netlink, now, &name)?);
        }
        let options: Vec<_> = wanted
            .options
            .iter()
            .filter(|o| !self.wanted.options.contains(o))
            .cloned()
            .collect();
        if !options.is_empty() {
            changes.extend(self.set_options(netlink, now, &options)?);
        }
        for port in &wanted.ports {
            match self.wanted.ports.iter().find(|have| have.name == port.name) {
                None => changes.extend(self.add_port(netlink, now, port, taken)?),
                Some(have) if have != port => {
                    changes.extend(self.set_port_options(netlink, now, port)?)
                }
                Some(_) => {}
            }
        }
        let ifindex = self.engine.ifindex();
        if let Some(mtu) = wanted.mtu.filter(|mtu| *mtu != self.engine.mtu()) {
            netlink.set_mtu(ifindex, mtu).map_err(kernel)?;
            self.engine
                .follow_bond_mtu(netlink, mtu)
                .map_err(engine_failure)?;
            changes.push(format!("{}: MTU is now {mtu}", self.name()));
        }
        for old in self
            .wanted
            .addresses
            .iter()
            .filter(|old| !wanted.addresses.contains(old))
        {
            let cidr = parse_address(old)?;
            netlink
                .del_address(ifindex, cidr.address, cidr.prefix_len)
                .map_err(kernel)?;
            changes.push(format!("{}: address {old} removed", self.name()));
        }
        let present = netlink.addresses(ifindex).map_err(kernel)?;
        for new in addresses.iter().filter(|new| {
            !present
                .iter()
                .any(|have| have.address == new.address && have.prefix_len == new.prefix_len)
        }) {
            netlink
                .add_address(ifindex, new.address, new.prefix_len)
                .map_err(kernel)?;
            changes.push(format!("{}: address {new} added", self.name()));
        }
        for gateway in wanted
            .gateways
            .iter()
            .filter(|gateway| !self.wanted.gateways.contains(gateway))
        {
            netlink
                .add_default_route(ifindex, *gateway)
                .map_err(kernel)?;
            changes.push(format!("{}: gateway {gateway} set", self.name()));
        }
        self.wanted = wanted;
        Ok(changes)
    }

    /// Gives everything back. Goes on to the end; returns what was done and what could not be.
    pub(crate) fn remove(self, netlink: &mut Netlink) -> (Vec<String>, Vec<String>) {
        let name = self.wanted.name;
        let complaints = self
            .engine
            .destroy(netlink)
            .iter()
            .map(ToString::to_string)
            .collect();
        (
            vec![format!("{name}: removed, its ports are as they were")],
            complaints,
        )
    }

    /// The picture that renderers read.
    pub(crate) fn report(&self, now: Instant) -> Result<BondReport, Failure> {
        let expected: Vec<String> = self
            .wanted
            .ports
            .iter()
            .map(|port| port.name.clone())
            .collect();
        let path = self.engine.describe().map_err(engine_failure)?;
        let counted = self.engine.counters().map_err(engine_failure)?;
        let hook = path
            .hooks
            .front
            .map_or_else(|| "none".to_owned(), |hook| hook.to_string());
        let why = match path.front_why.as_str() {
            "" => format!("{} is the best this kernel could have", path.front),
            failed => format!("better ones failed here: {failed}"),
        };
        Ok(BondReport {
            status: self.core.status(now, &expected),
            engine: EngineReport {
                engine: "ebpf".into(),
                front: path.front.to_string(),
                hook,
                why,
                bond_ifindex: self.engine.ifindex(),
                mtu: self.engine.mtu(),
            },
            counters: counted.ports.into_iter().map(Into::into).collect(),
            tx_no_port: counted.tx_no_port,
            ports_left: counted.ports_left,
        })
    }

    /// Joins an inspected interface; undone if the core refuses it.
    fn join(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        request: &PortRequest,
        candidate: &Candidate,
    ) -> Result<(), Failure> {
        let options = parse_port_options(&request.options)?;
        let Some(id) = self.free_id() else {
            let why = format!(
                "{} has {MAX_PORTS} ports already, which is the limit",
                self.name()
            );
            return Err(Failure::new(Blame::Refused, why));
        };
        let info = self
            .engine
            .add_port(netlink, id, candidate)
            .map_err(engine_failure)?;
        if let Err(e) = self.feed(netlink, now, Input::AddPort { info, options }) {
            for complaint in self.engine.remove_port(netlink, id) {
                warn!("while undoing: {complaint}");
            }
            return Err(Failure::new(Blame::Configuration, e));
        }
        Ok(())
    }

    /// The place the core gives the next port: the lowest free one.
    fn free_id(&self) -> Option<PortId> {
        (0..MAX_PORTS)
            .filter_map(|index| u8::try_from(index).ok().and_then(PortId::new))
            .find(|id| !self.engine.ports().any(|(used, _)| used == *id))
    }

    /// Takes a port out: the table first, so that no packet goes to it while it is taken apart.
    fn part(&mut self, netlink: &mut Netlink, now: Instant, port: PortId) {
        self.tell(netlink, now, Input::RemovePort { port });
        for complaint in self.engine.remove_port(netlink, port) {
            warn!("{}: {complaint}", self.name());
        }
    }

    /// A request to the core: it may refuse.
    fn feed(&mut self, netlink: &mut Netlink, now: Instant, input: Input) -> Result<(), String> {
        self.core.handle(now, input).map_err(|e| e.to_string())?;
        self.drain(netlink);
        Ok(())
    }

    /// A fact for the core: a refusal would be our bug.
    fn tell(&mut self, netlink: &mut Netlink, now: Instant, input: Input) {
        if let Err(e) = self.feed(netlink, now, input) {
            error!("{}: a bug of ours: {e}", self.name());
        }
    }

    fn drain(&mut self, netlink: &mut Netlink) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Event(event) => self.events.push(event),
                action => {
                    if let Err(e) = self.engine.perform(netlink, &action) {
                        error!("{}: {e}", self.name());
                    }
                }
            }
        }
    }

    /// Sets the next look at the links: an interval after the last one was due, so that the rhythm does not drift.
    fn schedule_poll(&mut self, now: Instant) {
        let interval = Duration::from_millis(u64::from(self.core.options().miimon));
        let due = self.next_poll.map_or(now, |last| last + interval);
        let next = if due > now && due <= now + interval {
            due
        } else {
            now + interval
        };
        self.next_poll = (!interval.is_zero()).then_some(next);
    }

    fn look_at_ports(&mut self, netlink: &mut Netlink, now: Instant) {
        let ports: Vec<PortId> = self.engine.ports().map(|(id, _)| id).collect();
        for port in ports {
            self.look_at_port(netlink, now, port);
        }
    }

    fn look_at_port(&mut self, netlink: &mut Netlink, now: Instant, port: PortId) {
        let Some(ifindex) = self
            .engine
            .ports()
            .find(|(id, _)| *id == port)
            .map(|(_, ifindex)| ifindex)
        else {
            return;
        };
        match netlink.link_by_index(ifindex) {
            Ok(Some(link)) => {
                let state = self.engine.link_state(port, &link);
                self.tell(netlink, now, Input::Link { port, link: state });
            }
            Ok(None) => self.on_port_gone(netlink, now, ifindex, ""),
            Err(e) => warn!("{}: cannot read interface {ifindex}: {e}", self.name()),
        }
    }

    fn port_at(&self, ifindex: u32) -> Option<PortId> {
        self.engine
            .ports()
            .find(|(_, index)| *index == ifindex)
            .map(|(id, _)| id)
    }

    /// Whether this interface is expected and not attached.
    fn is_missing(&self, name: &str) -> bool {
        self.wanted.ports.iter().any(|port| port.name == name)
            && !self
                .engine
                .ports()
                .any(|(id, _)| self.engine.port_name(id) == Some(name))
    }

    fn rejoin_missing(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
    ) {
        let expected: Vec<String> = self
            .wanted
            .ports
            .iter()
            .map(|port| port.name.clone())
            .collect();
        for name in expected {
            if self.is_missing(&name) && matches!(netlink.link(&name), Ok(Some(_))) {
                self.rejoin(netlink, now, &name, taken);
            }
        }
    }

    /// An expected port has appeared.
    fn rejoin(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        name: &str,
        taken: &BTreeMap<u32, String>,
    ) {
        let Some(request) = self
            .wanted
            .ports
            .iter()
            .find(|port| port.name == name)
            .cloned()
        else {
            return;
        };
        let joined = inspect::inspect_port(netlink, &self.wanted.name, name, taken)
            .map_err(refused)
            .and_then(|candidate| self.join(netlink, now, &request, &candidate));
        if let Err(failure) = joined {
            warn!("{}: {name} is back but cannot join: {failure}", self.name());
        }
    }
}

/// Later words replace earlier ones of the same name.
fn merge(options: &mut Vec<(String, String)>, newer: &[(String, String)]) {
    options.retain(|(name, _)| !newer.iter().any(|(newer, _)| newer == name));
    options.extend(newer.iter().cloned());
}

fn parse_options(options: &[(String, String)]) -> Result<Vec<OptionChange>, Failure> {
    options
        .iter()
        .map(|(name, value)| OptionChange::parse(name, value))
        .collect::<Result<_, _>>()
        .map_err(configuration)
}

fn parse_port_options(options: &[(String, String)]) -> Result<Vec<PortOptionChange>, Failure> {
    options
        .iter()
        .map(|(name, value)| PortOptionChange::parse(name, value))
        .collect::<Result<_, _>>()
        .map_err(configuration)
}

fn parse_mac(text: &str) -> Result<MacAddr, Failure> {
    let mac: MacAddr = text.parse().map_err(|_| {
        Failure::new(
            Blame::Configuration,
            format!("{text} is no link-layer address; write six pairs like 02:00:5e:00:53:01"),
        )
    })?;
    if mac.is_multicast() || mac.is_zero() {
        let why =
            format!("{mac} cannot be an interface's address: it must be unicast and not zero");
        return Err(Failure::new(Blame::Configuration, why));
    }
    Ok(mac)
}

fn parse_address(text: &str) -> Result<Cidr, Failure> {
    text.parse().map_err(configuration)
}

fn configuration(e: impl std::fmt::Display) -> Failure {
    Failure::new(Blame::Configuration, e)
}

fn refused(e: impl std::fmt::Display) -> Failure {
    Failure::new(Blame::Refused, e)
}

fn kernel(e: oxbond_linux::error::KernelError) -> Failure {
    Failure::new(
        if e.is_permission() {
            Blame::Permission
        } else {
            Blame::Kernel
        },
        e,
    )
}

fn engine_failure(e: oxbond_linux::engine::EngineError) -> Failure {
    Failure::new(
        if e.is_permission() {
            Blame::Permission
        } else {
            Blame::Kernel
        },
        e,
    )
}
