//! The daemon's work, free of its event loop: requests, link events and timeouts in, changed bonds and events out.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oxbond_core::engine::{Chosen, Engine, EngineChoice};
use oxbond_core::event::Event;
use oxbond_core::time::Instant;
use oxbond_datapath::KernelTypes;
use oxbond_linux::engine::kernel::{self as linux, KernelEngine, Presence};
use oxbond_linux::engine::{EbpfEngine, EngineError};
use oxbond_linux::events::{Monitor, Notice};
use oxbond_linux::netlink::Netlink;
use oxbond_linux::resolver::{NameService, Resolver, ResolverError};
use oxbond_linux::stack;
use rustix::event::epoll;
use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::sync::{broadcast, mpsc};
use tracing::{error, info, warn};

use super::driver::Driver;
use super::ebpf::EbpfBond;
use super::keeper::Keeper;
use super::kernel::KernelBond;
use super::leases::{ClientNews, Leases};
use super::managed::{ManagedBond, ToMake};
use super::schedule::Schedule;
use super::state::{LeftOver, SavedBond, StateDir};
use super::trial::Trials;
use crate::control::protocol::{BondRequest, Numbered, PortRequest, Reply, Request};
use crate::control::server::{Answer, EVENT_BACKLOG};
use crate::driver;
use crate::exit::{Blame, Failure};
use crate::paths::RunPaths;
use crate::refusal::kernel;
use crate::report::BondReport;

/// Everything the daemon holds.
pub(crate) struct Service {
    pub(super) netlink: Netlink,
    monitor: Monitor,
    /// One descriptor that is readable when the data path of any bond has a record.
    records: OwnedFd,
    /// Where programs are pinned, or why our own engine cannot work here.
    pins: Result<PathBuf, Failure>,
    pub(super) state: StateDir,
    pub(super) bonds: BTreeMap<String, ManagedBond>,
    /// When each of them has work.
    schedule: Schedule,
    /// What is to be known of the kernel's bonding driver.
    pub(super) driver: Driver,
    /// What we made beside bonds.
    pub(super) keeper: Keeper,
    pub(super) trials: Trials,
    /// Addresses by DHCP.
    pub(super) leases: Leases,
    resolver: Resolver,
    /// What udev and systemd-resolved say is of our interfaces.
    pub(super) first_namespace: bool,
    /// What the resolver is let know of devices, but for what servers say.
    pub(super) names: BTreeMap<String, NameService>,
    listeners: broadcast::Sender<Numbered>,
    sequence: u64,
}

/// Most notices of links and addresses in one turn of the event loop: a namespace in uproar must not keep timers waiting.
const NOTICES_AT_ONCE: usize = 256;

/// Most bonds of which records are read in one turn.
const BONDS_AT_ONCE: usize = 64;

/// `CLOCK_MONOTONIC`, which the core's snapshots are kept in: it goes on over a restart of the daemon.
pub(super) fn now() -> Instant {
    let t = clock_gettime(ClockId::Monotonic);
    // The monotonic clock is never negative and its nanoseconds are below 10^9.
    Instant::from_nanos(t.tv_sec.unsigned_abs() * 1_000_000_000 + t.tv_nsec.unsigned_abs())
}

impl Service {
    /// Opens the sockets and takes over the bonds an earlier daemon left.
    ///
    /// `resolv_conf` is the file that tells the system's resolver its servers; news of leases go to `lease_news`, and come
    /// back by [`Service::on_lease_news`].
    pub(crate) fn start(
        paths: &RunPaths,
        run_root: &Path,
        default_engine: EngineChoice,
        resolv_conf: PathBuf,
        lease_news: mpsc::UnboundedSender<ClientNews>,
    ) -> Result<Self, Failure> {
        let kernel = |what: &str, e: &dyn std::fmt::Display| {
            Failure::new(Blame::Kernel, format!("cannot {what}: {e}"))
        };
        let first_namespace = oxbond_linux::netns::is_first();
        // The monitor listens before the first look, so that nothing falls between the two.
        let monitor = Monitor::open().map_err(|e| kernel("listen to link events", &e))?;
        let mut service = Self {
            netlink: Netlink::open().map_err(|e| kernel("talk netlink", &e))?,
            monitor,
            records: epoll::create(epoll::CreateFlags::CLOEXEC)
                .map_err(|e| kernel("make an epoll descriptor", &e))?,
            pins: find_pins(run_root, paths),
            driver: Driver::new(default_engine),
            state: StateDir::open(paths.bonds())?,
            bonds: BTreeMap::new(),
            schedule: Schedule::default(),
            keeper: Keeper::open(paths.dir()),
            trials: Trials::new(),
            leases: Leases::open(paths.dir(), lease_news),
            resolver: Resolver::new(resolv_conf, first_namespace),
            first_namespace,
            names: BTreeMap::new(),
            listeners: broadcast::Sender::new(EVENT_BACKLOG),
            sequence: 0,
        };
        service.adopt_all()?;
        service.serve_as_before();
        service.go_back_at_start();
        Ok(service)
    }

    /// Readable when [`Service::on_link_events`] has work.
    pub(crate) fn monitor_fd(&self) -> std::io::Result<OwnedFd> {
        self.monitor.as_fd().try_clone_to_owned()
    }

    /// Readable when [`Service::on_records`] has work.
    pub(crate) fn records_fd(&self) -> std::io::Result<OwnedFd> {
        self.records.try_clone()
    }

    /// When [`Service::on_timeout`] has work.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let bonds = self.schedule.next().into_iter();
        let others = [self.trials.next_wake(), self.driver.next_wake()];
        bonds.chain(others.into_iter().flatten()).min()
    }

    /// Monitor intervals and the core's own timeouts.
    pub(crate) fn on_timeout(&mut self) {
        let now = now();
        if self.trials.next_wake().is_some_and(|at| at <= now) {
            self.look_at_trial(now);
        }
        if self.driver.next_wake().is_some_and(|at| at <= now) {
            self.look_at_driver(now);
        }
        let due = self.schedule.due(now);
        let hindered = |name: &String| self.bonds.get(name).is_some_and(ManagedBond::is_hindered);
        let taken = if due.iter().any(hindered) {
            self.taken()
        } else {
            BTreeMap::new()
        };
        for name in due {
            self.with_bond(&name, |bond, netlink| bond.on_timeout(netlink, now, &taken));
        }
    }

    /// The data path left a port, or has frames for us. Whether there was anything; there may be more.
    pub(crate) fn on_records(&mut self) -> bool {
        let mut ready = Vec::with_capacity(BONDS_AT_ONCE);
        let at_once = Timespec::default();
        let waiting = rustix::buffer::spare_capacity(&mut ready);
        if let Err(e) = epoll::wait(&self.records, waiting, Some(&at_once)) {
            error!("cannot ask which bonds have records: {e}");
            return false;
        }
        let now = now();
        let mut any = false;
        for event in ready {
            let index = event.data.u64();
            let mut bonds = self.bonds.values_mut();
            let Some(bond) = bonds.find(|bond| u64::from(bond.ifindex()) == index) else {
                continue;
            };
            let Some(ours) = bond.as_ebpf_mut() else {
                continue;
            };
            if ours.on_records(&mut self.netlink, now) {
                any = true;
                let name = bond.name().to_owned();
                self.settle(&name);
            }
        }
        any
    }

    /// Link and address events. They are hints: what changed is read again, so that a late event cannot bring back an
    /// older state. Whether there are more.
    pub(crate) fn on_link_events(&mut self) -> bool {
        let mut changed = BTreeSet::new();
        let mut gone = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        let mut overrun = false;
        let mut more = false;
        for turn in 1..=NOTICES_AT_ONCE {
            more = turn == NOTICES_AT_ONCE;
            match self.monitor.next() {
                Ok(Some(Notice::Link(link))) => {
                    changed.insert(link.index);
                    changed.extend(link.lower);
                }
                Ok(Some(Notice::LinkGone { index, .. })) => {
                    gone.insert(index);
                }
                Ok(Some(Notice::Address(change))) => {
                    addresses.insert(change.address.ifindex);
                }
                Ok(Some(Notice::Overrun)) => {
                    warn!("the kernel dropped link events; reading everything again");
                    overrun = true;
                    changed.extend(self.bonds.values().map(ManagedBond::ifindex));
                }
                Ok(None) => break,
                Err(e) => {
                    error!("cannot read link events: {e}");
                    break;
                }
            }
        }
        if !changed.is_empty() {
            self.find_late_ports();
        }
        self.look_at(&changed, &gone, &addresses);
        self.leases.look(&mut self.netlink);
        if overrun {
            self.names().iter().for_each(|name| self.look_again(name));
        }
        more
    }

    /// A server was heard, or not, about an address.
    pub(crate) fn on_lease_news(&mut self, news: ClientNews) {
        if self.leases.on_news(&mut self.netlink, news)
            && let Err(e) = self.tell_names()
        {
            warn!("{e}");
        }
    }

    /// Starts what waits for a device that can carry traffic. To be called from within the event loop.
    pub(crate) fn look_at_leases(&mut self) {
        self.leases.look(&mut self.netlink);
    }

    /// Lets the resolver know what devices bring along, by file and by server.
    pub(super) fn tell_names(&mut self) -> Result<(), ResolverError> {
        let mut names = self.names.clone();
        for (device, leased) in self.leases.name_services() {
            let names = names.entry(device).or_default();
            names.servers.extend(leased.servers);
            names.search.extend(leased.search);
        }
        self.resolver.set(&names).map(drop)
    }

    /// Takes up the services of devices where an earlier daemon left them.
    fn serve_as_before(&mut self) {
        for (device, settings) in &self.keeper.record().settings {
            if !settings.dhcp.is_empty() {
                self.leases.want(&mut self.netlink, device, &settings.dhcp);
            }
            if settings.names != NameService::default() {
                self.names.insert(device.clone(), settings.names.clone());
            }
        }
        if let Err(e) = self.tell_names() {
            warn!("{e}");
        }
    }

    /// What one bond may have missed.
    fn look_again(&mut self, name: &str) {
        let taken = self.taken();
        self.with_bond(name, |bond, netlink| {
            bond.look_again(netlink, now(), &taken)
        });
    }

    fn look_at(
        &mut self,
        changed: &BTreeSet<u32>,
        gone: &BTreeSet<u32>,
        addresses: &BTreeSet<u32>,
    ) {
        let now = now();
        for index in gone {
            self.on_gone(now, *index);
        }
        // All of these changes had happened when a bond of the driver was read, so each is read once.
        let mut read_whole: BTreeSet<String> = BTreeSet::new();
        for index in changed {
            let link = match self.netlink.link_by_index(*index) {
                Ok(Some(link)) => link,
                // Its end is, or will be, told by an event of its own; an overrun may have swallowed it.
                Ok(None) => {
                    self.on_gone(now, *index);
                    continue;
                }
                Err(e) => {
                    warn!("cannot read interface {index}: {e}");
                    continue;
                }
            };
            let concerned =
                self.those(|bond| bond.is_concerned(&link) && !read_whole.contains(bond.name()));
            if concerned.is_empty() {
                continue;
            }
            let taken = self.taken();
            for bond in concerned {
                self.with_bond(&bond, |bond, netlink| {
                    bond.on_link(netlink, now, &link, &taken)
                });
                read_whole.extend(self.on_driver(&bond).then_some(bond));
            }
        }
        if !addresses.is_empty() {
            for bond in self.addressed(addresses) {
                self.with_bond(&bond, |bond, netlink| bond.on_addresses(netlink, now));
            }
        }
    }

    /// Whether a bond of ours is on the driver.
    fn on_driver(&self, bond: &str) -> bool {
        let bond = self.bonds.get(bond);
        bond.is_some_and(|bond| bond.engine() == Engine::Kernel)
    }

    /// Bonds that are reached by addresses of these interfaces: front devices, or what stands on them.
    fn addressed(&mut self, indices: &BTreeSet<u32>) -> Vec<String> {
        let fronts: BTreeSet<u32> = self.bonds.values().map(ManagedBond::ifindex).collect();
        if indices.is_subset(&fronts) {
            return self.those(|bond| indices.contains(&bond.ifindex()));
        }
        let Ok(links) = self.netlink.links() else {
            return self.names();
        };
        let known = |index: &u32| links.iter().any(|link| link.index == *index);
        if !indices.iter().all(known) {
            // It is gone already; whom it stood on is no longer told.
            return self.names();
        }
        self.those(|bond| {
            let above = stack::above(&links, bond.ifindex());
            above.iter().any(|device| indices.contains(&device.index))
        })
    }

    /// Names of the bonds that are meant.
    pub(super) fn those(&self, meant: impl Fn(&ManagedBond) -> bool) -> Vec<String> {
        let meant = self.bonds.iter().filter(|(_, bond)| meant(bond));
        meant.map(|(name, _)| name.clone()).collect()
    }

    fn on_gone(&mut self, now: Instant, index: u32) {
        let front = self.bonds.values().find(|bond| bond.ifindex() == index);
        if let Some(bond) = front.map(|bond| bond.name().to_owned()) {
            let ports = self.ports_of(&bond);
            self.publish(&bond, Event::Deleted);
            let mut said = self.remove(&bond);
            said.extend(self.after_parting(Some(&bond), &ports));
            said.iter().for_each(|line| info!("{line}"));
            return;
        }
        for bond in self.those(|bond| bond.interfaces().contains(&index)) {
            self.with_bond(&bond, |bond, netlink| {
                bond.on_port_gone(netlink, now, index)
            });
        }
    }

    /// Answers a request. A request that fails has changed nothing.
    pub(crate) fn on_request(&mut self, request: Request) -> Answer {
        if request.changes()
            && let Err(failure) = self.trials.refuse_others()
        {
            return Answer::One(Reply::Failed(failure));
        }
        let result = match request {
            Request::Up(wanted) => self.up(wanted),
            Request::Apply { wanted } => self.apply(&wanted),
            Request::Plan { wanted } => {
                let planned = self.plan(&wanted);
                return Answer::One(planned.unwrap_or_else(Reply::Failed));
            }
            Request::Try {
                wanted,
                timeout_ms,
                gates,
                gates_within_ms,
            } => self.try_network(
                wanted,
                Duration::from_millis(timeout_ms),
                &gates,
                Duration::from_millis(gates_within_ms),
            ),
            Request::Confirm => self.confirm(),
            Request::Rollback => self.roll_back(),
            Request::Trial => return Answer::One(Reply::Trial(self.trials.state(now()))),
            Request::Down { bond } => self.down(&bond),
            Request::AddPort { bond, mut port } => {
                let taken = self.taken();
                self.call_by_its_name(&mut port).and_then(|()| {
                    self.change(&bond, |bond, netlink, now| {
                        bond.add_port(netlink, now, port, &taken)
                    })
                })
            }
            Request::RemovePort { bond, port } => self.remove_port(&bond, &port),
            Request::Drain { bond, port, out } => self.change(&bond, |bond, netlink, now| {
                bond.drain_port(netlink, now, port, out)
            }),
            Request::Adopt { bond, engine } => self.adopt_bond(&bond, engine),
            Request::Set { bond, options } => self.change(&bond, |bond, netlink, now| {
                bond.set_options(netlink, now, &options)
            }),
            Request::SetPort { bond, port } => self.change(&bond, |bond, netlink, now| {
                bond.set_port_options(netlink, now, port)
            }),
            Request::Wanted => {
                let wanted = self.as_wanted().map(Box::new);
                return Answer::One(wanted.map_or_else(Reply::Failed, Reply::Wanted));
            }
            Request::Status { bond } => return Answer::One(self.status(bond.as_deref())),
            Request::Frame { bond, frame } => return Answer::One(self.frame(&bond, &frame)),
            Request::Events => {
                return Answer::Stream(self.snapshot(), self.listeners.subscribe());
            }
        };
        Answer::One(match result {
            Ok(changes) => {
                changes.iter().for_each(|change| info!("{change}"));
                Reply::Done { changes }
            }
            Err(failure) => Reply::Failed(failure),
        })
    }

    /// Our bonds and those of the driver that nobody has under management, or one of them.
    fn status(&mut self, only: Option<&str>) -> Reply {
        let mut bonds = match self.reports(only) {
            Ok(bonds) => bonds,
            Err(failure) => return Reply::Failed(failure),
        };
        if only.is_none() || bonds.is_empty() {
            bonds.extend(self.unmanaged(only));
            bonds.sort_by(|a, b| a.status.name.cmp(&b.status.name));
        }
        if let Some(name) = only
            && bonds.is_empty()
            && let Err(failure) = self.existing(name)
        {
            return Reply::Failed(failure);
        }
        Reply::Bonds {
            sequence: self.sequence,
            bonds,
        }
    }

    /// Our bonds.
    fn snapshot(&self) -> Reply {
        match self.reports(None) {
            Ok(bonds) => Reply::Bonds {
                sequence: self.sequence,
                bonds,
            },
            Err(failure) => Reply::Failed(failure),
        }
    }

    fn reports(&self, only: Option<&str>) -> Result<Vec<BondReport>, Failure> {
        let now = now();
        let meant = self.bonds.values();
        let meant = meant.filter(|bond| only.is_none_or(|name| name == bond.name()));
        meant.map(|bond| bond.report(now)).collect()
    }

    /// Bonds of the driver that are not ours.
    fn unmanaged(&mut self, only: Option<&str>) -> Vec<BondReport> {
        let ours: BTreeSet<u32> = self.bonds.values().map(ManagedBond::ifindex).collect();
        let read = match only {
            Some(name) => driver::unmanaged_one(&mut self.netlink, name).map(|bond| {
                let bond = bond.filter(|bond| !ours.contains(&bond.engine.bond_ifindex));
                bond.into_iter().collect()
            }),
            None => driver::unmanaged(&mut self.netlink, |index| !ours.contains(&index)),
        };
        read.unwrap_or_else(|failure| {
            warn!("cannot read the bonds of the kernel's driver: {failure}");
            Vec::new()
        })
    }

    fn frame(&mut self, name: &str, frame: &[u8]) -> Reply {
        let explained = self.existing(name).and_then(|()| {
            let bond = self.bonds.get(name);
            bond.map(|bond| bond.explain_frame(&mut self.netlink, frame))
                .transpose()
        });
        match explained {
            Ok(Some(report)) => Reply::Frame(report),
            // `existing` has looked.
            Ok(None) => Reply::Failed(Failure::new(Blame::Bug, format!("{name} is gone"))),
            Err(failure) => Reply::Failed(failure),
        }
    }

    pub(super) fn pins(&self) -> Result<&Path, Failure> {
        self.pins.as_deref().map_err(Clone::clone)
    }

    /// An interface may be asked for by a name that it has beside its own.
    fn call_by_its_name(&mut self, port: &mut PortRequest) -> Result<(), Failure> {
        if let Some(link) = self.netlink.link_by_any_name(&port.name).map_err(kernel)? {
            port.name = link.name;
        }
        Ok(())
    }

    fn up(&mut self, mut wanted: BondRequest) -> Result<Vec<String>, Failure> {
        for port in &mut wanted.ports {
            self.call_by_its_name(port)?;
        }
        let Chosen { engine, why } = self.choose(&wanted)?;
        self.make(wanted, engine, why)
    }

    /// Makes a bond on this engine, and remembers why on that.
    pub(super) fn make(
        &mut self,
        wanted: BondRequest,
        engine: Engine,
        why: String,
    ) -> Result<Vec<String>, Failure> {
        if self.bonds.contains_key(&wanted.name) {
            let why = format!(
                "{0} is already a bond of this daemon; change it with 'oxbond set {0}', or remove it first with 'oxbond down {0}'",
                wanted.name
            );
            return Err(Failure::new(Blame::Refused, why));
        }
        self.refuse_left_over(&wanted.name)?;
        let name = wanted.name.clone();
        let chosen_here = wanted.engine.or(self.driver.auto) == EngineChoice::Auto;
        let on_ours = (engine == Engine::Kernel && chosen_here).then(|| wanted.clone());
        let replaces = self.pristine(&name)?;
        let make = ToMake {
            wanted,
            chosen: why.clone(),
            replaces,
        };
        let made = self.make_on(engine, make);
        if made.is_err()
            && replaces.is_some()
            && let Err(failure) = self.put_back_pristine(&name)
        {
            warn!("while undoing: {failure}");
        }
        if let (Err(failure), Some(wanted)) = (&made, on_ours)
            && failure.blame == Blame::Kernel
            && linux::presence() == Presence::Loadable
        {
            // A blacklist, say: its module can only be tried.
            warn!("{name}: {failure}; our own engine is tried");
            let why = "the kernel did not load its bonding driver, which is installed".to_owned();
            return self.make(wanted, Engine::Ebpf, why);
        }
        // Where an engine does not work, its user wants to know why it is on that.
        let (bond, changes) = made.map_err(|failure| match failure.blame {
            Blame::Kernel => Failure {
                message: format!("{} (on engine {engine}: {why})", failure.message),
                ..failure
            },
            _ => failure,
        })?;
        self.hold(bond);
        Ok(changes)
    }

    /// Refuses a name of which there are files of a bond that this daemon does not hold: they tell how its ports were.
    pub(super) fn refuse_left_over(&self, name: &str) -> Result<(), Failure> {
        if self.bonds.contains_key(name) || !self.state.of(name).are_there() {
            return Ok(());
        }
        let why = format!(
            "an earlier daemon left a bond {name} that this one could not take over, see its log; take it apart first with 'oxbond down {name}'"
        );
        Err(Failure::new(Blame::Refused, why))
    }

    /// From now on a bond is under our care.
    pub(super) fn hold(&mut self, bond: ManagedBond) {
        let name = bond.name().to_owned();
        self.watch(&bond);
        self.bonds.insert(name.clone(), bond);
        self.pace_saves();
        self.settle(&name);
        if self.driver.next_wake().is_none() {
            self.look_at_driver(now());
        }
    }

    fn make_on(
        &mut self,
        engine: Engine,
        make: ToMake,
    ) -> Result<(ManagedBond, Vec<String>), Failure> {
        let taken = self.taken();
        let files = self.state.of(&make.wanted.name);
        match engine {
            Engine::Ebpf => {
                let pins = self.pins()?.to_owned();
                let nl = &mut self.netlink;
                EbpfBond::create(nl, now(), &pins, files, make, &taken)
                    .map(|(bond, said)| (ManagedBond::Ebpf(Box::new(bond)), said))
            }
            Engine::Kernel => {
                let nl = &mut self.netlink;
                KernelBond::create(nl, now(), files, make, &taken)
                    .map(|(bond, said)| (ManagedBond::Kernel(Box::new(bond)), said))
            }
        }
    }

    fn down(&mut self, name: &str) -> Result<Vec<String>, Failure> {
        if !self.bonds.contains_key(name) && self.state.bonds()?.contains(name) {
            return Ok(self.clear_away(name));
        }
        self.existing(name)?;
        let ports = self.ports_of(name);
        let mut said = self.remove(name);
        said.extend(self.after_parting(Some(name), &ports));
        Ok(said)
    }

    fn remove_port(&mut self, bond: &str, port: &str) -> Result<Vec<String>, Failure> {
        let mut said = self.change(bond, |bond, netlink, now| {
            bond.remove_port(netlink, now, port.to_owned())
        })?;
        said.extend(self.after_parting(None, &[port.to_owned()]));
        Ok(said)
    }

    /// Names of the ports that a bond was asked to have.
    fn ports_of(&self, name: &str) -> Vec<String> {
        let bond = self.bonds.get(name);
        bond.map(ManagedBond::expected).unwrap_or_default()
    }

    fn existing(&mut self, bond: &str) -> Result<(), Failure> {
        if self.bonds.contains_key(bond) {
            return Ok(());
        }
        if let Some(index) = self.index_on_driver(bond)? {
            let why = match self.renamed(index) {
                Some(known) => format!(
                    "{bond} is under management as {known}, the name that it was made with: ask by that one"
                ),
                None => format!(
                    "{bond} is a bond on the kernel's driver that somebody else made; 'oxbond adopt {bond}' takes it under management"
                ),
            };
            return Err(Failure::new(Blame::Refused, why));
        }
        let known = self.names().join(", ");
        let why = match known.as_str() {
            "" => {
                format!("there is no bond {bond}; the daemon has none yet ('oxbond up' makes one)")
            }
            known => format!("there is no bond {bond}; the daemon has {known}"),
        };
        Err(Failure::new(Blame::Refused, why))
    }

    pub(super) fn change(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut ManagedBond, &mut Netlink, Instant) -> Result<Vec<String>, Failure>,
    ) -> Result<Vec<String>, Failure> {
        self.existing(name)?;
        let now = now();
        let mut result = Ok(Vec::new());
        self.with_bond(name, |bond, netlink| result = work(bond, netlink, now));
        result
    }

    /// Ends the management of a bond of the driver that was taken over, and leaves the bond itself alone.
    pub(super) fn let_go(&mut self, name: &str) -> Result<(), Failure> {
        match self.bonds.remove(name) {
            Some(ManagedBond::Kernel(bond)) => {
                self.schedule.set(name, None);
                self.pace_saves();
                info!("{name}: no longer under management, as it was before");
                bond.let_go()
            }
            Some(ours) => {
                self.bonds.insert(name.to_owned(), ours);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Removes a bond and gives its ports back; what could not be undone is told, and the rest is still done.
    pub(super) fn remove(&mut self, name: &str) -> Vec<String> {
        let Some(bond) = self.bonds.remove(name) else {
            return Vec::new();
        };
        self.schedule.set(name, None);
        self.pace_saves();
        let complaints = bond.remove(&mut self.netlink);
        vec![removed(name, "removed", &complaints)]
    }

    /// Takes apart what an earlier daemon left of a bond that this one does not hold.
    fn clear_away(&mut self, name: &str) -> Vec<String> {
        let files = self.state.of(name);
        let (left, recorded) = match files.left_over() {
            LeftOver::Ebpf(record) => {
                let left = self.pins().map(Path::to_owned).map(|pins| {
                    let pins = pins.join(name);
                    EbpfEngine::clear_away(&mut self.netlink, &pins, name, record.as_ref())
                });
                (left.unwrap_or_default(), record.is_some())
            }
            LeftOver::Kernel(record) => (
                KernelEngine::clear_away(&mut self.netlink, name, record.as_ref()),
                record.is_some(),
            ),
        };
        let mut complaints: Vec<String> = left.iter().map(ToString::to_string).collect();
        if !recorded && files.path().exists() {
            complaints.extend(
                self.delete_on_driver(name)
                    .err()
                    .map(|failure| failure.message),
            );
            complaints.push(format!(
                "{} does not tell how its ports were",
                files.path().display()
            ));
        }
        complaints.extend(files.forget().err().map(|failure| failure.message));
        vec![removed(name, "what was left of it is removed", &complaints)]
    }

    /// Deletes a bond of the driver of which no more is known than that it was under our care: its ports are free then.
    fn delete_on_driver(&mut self, name: &str) -> Result<(), Failure> {
        match self.index_on_driver(name)? {
            Some(index) => self.netlink.delete_link(index).map_err(kernel),
            None => Ok(()),
        }
    }

    fn adopt_all(&mut self) -> Result<(), Failure> {
        let _types = KernelTypes::keep();
        for name in self.state.bonds()? {
            self.adopt(&name);
        }
        Ok(())
    }

    fn adopt(&mut self, name: &str) {
        let mut files = self.state.of(name);
        if let Some(note) = files.moved() {
            if let Err(why) = note.and_then(|note| self.finish_move(name, &mut files, note)) {
                error!("{name}: its move to another engine is not finished: {why}");
                return;
            }
            // It was somebody else's, and still is.
            if !files.path().exists() {
                return;
            }
        }
        if files.is_unfinished() {
            warn!("{name}: the daemon before died while it made the bond or took it apart");
            return self.clear_and_tell(name);
        }
        let path = files.path().to_owned();
        let not_taken_over = |why: &dyn std::fmt::Display| {
            error!(
                "{name}: not taken over, it goes on without a daemon: {}: {why}; 'oxbond down {name}' takes it apart",
                path.display()
            );
        };
        let saved = match files.load() {
            Ok(saved) => saved,
            Err(why) => return not_taken_over(&why),
        };
        let writes = self.netlink.writes();
        let pins = self.pins().map(Path::to_owned);
        let nl = &mut self.netlink;
        let adopted = match saved {
            SavedBond::Ebpf(saved) => {
                let pins = match pins {
                    Ok(pins) => pins,
                    Err(why) => return not_taken_over(&why),
                };
                EbpfBond::adopt(nl, now(), &pins, files, *saved)
                    .map(|(bond, differing)| (ManagedBond::Ebpf(Box::new(bond)), differing))
            }
            SavedBond::Kernel(saved) => KernelBond::adopt(nl, now(), files, *saved)
                .map(|(bond, differing)| (ManagedBond::Kernel(Box::new(bond)), differing)),
        };
        let (bond, differing) = match adopted {
            Ok(adopted) => adopted,
            Err(EngineError::Vanished { .. }) => {
                warn!("{name}: its device was deleted while no daemon ran; giving the ports back");
                return self.clear_and_tell(name);
            }
            Err(e) => return not_taken_over(&e),
        };
        for what in differing {
            warn!("{name}: while no daemon ran: {what}");
        }
        self.hold(bond);
        self.look_again(name);
        info!(
            "{name}: taken over from the daemon before, {} writes",
            self.netlink.writes() - writes
        );
    }

    fn clear_and_tell(&mut self, name: &str) {
        for line in self.clear_away(name) {
            info!("{line}");
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.bonds.keys().cloned().collect()
    }

    /// Every interface that belongs to one of our bonds.
    pub(super) fn taken(&self) -> BTreeMap<u32, String> {
        let of = |bond: &ManagedBond| {
            let name = bond.name().to_owned();
            bond.interfaces()
                .into_iter()
                .map(move |index| (index, name.clone()))
                .collect::<Vec<_>>()
        };
        self.bonds.values().flat_map(of).collect()
    }

    fn watch(&self, bond: &ManagedBond) {
        let Some(bond) = bond.as_ebpf() else {
            return;
        };
        let data = epoll::EventData::new_u64(u64::from(bond.ifindex()));
        if let Err(e) = epoll::add(
            &self.records,
            bond.records_fd(),
            data,
            epoll::EventFlags::IN,
        ) {
            // Link events and the monitor still tell; only the earliest of three messengers is missing.
            warn!("{}: cannot wait for data path records: {e}", bond.name());
        }
    }

    /// Lets a bond work, then publishes its events and saves its state.
    pub(super) fn with_bond(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut ManagedBond, &mut Netlink),
    ) {
        if let Some(bond) = self.bonds.get_mut(name) {
            work(bond, &mut self.netlink);
            self.settle(name);
        }
    }

    fn settle(&mut self, name: &str) {
        if let Some(bond) = self.bonds.get_mut(name) {
            bond.save_or_log();
            self.schedule.set(name, bond.next_wake());
            for event in bond.take_events() {
                self.publish(name, event);
            }
        }
        self.see_off(name);
    }

    /// The more bonds there are, the rarer each saves what is routine.
    fn pace_saves(&mut self) {
        let bonds = u32::try_from(self.bonds.len()).unwrap_or(u32::MAX);
        for bond in self.bonds.values_mut() {
            bond.pace_saves(bonds);
        }
    }

    fn publish(&mut self, bond: &str, event: Event) {
        let text = event.to_string();
        info!("{bond}: {text}");
        self.sequence += 1;
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let numbered = Numbered {
            sequence: self.sequence,
            unix_nanos: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            bond: bond.to_owned(),
            event,
            text,
        };
        // No listener is no error.
        let _ = self.listeners.send(numbered);
    }
}

/// Where our own engine pins its programs. A kernel without BPF still has its driver.
fn find_pins(run_root: &Path, paths: &RunPaths) -> Result<PathBuf, Failure> {
    let found = oxbond_linux::bpffs::find_or_mount(run_root);
    let bpffs = found.map_err(|e| {
        let why = format!("our own engine has no place to pin its programs: {e}");
        Failure::new(Blame::Kernel, why)
    })?;
    Ok(bpffs.join("oxbond").join(paths.namespace()))
}

/// What is told of a bond that is gone.
fn removed(name: &str, what: &str, complaints: &[String]) -> String {
    match complaints {
        [] => format!("{name}: {what}, its ports are as they were"),
        complaints => format!(
            "{name}: {what}, but not everything is as it was: {}",
            complaints.join("; ")
        ),
    }
}
