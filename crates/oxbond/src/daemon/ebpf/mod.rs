//! One bond of the daemon on our own engine: the core that decides, the engine that carries it out, and what its user
//! asked for.
//!
//! Every change runs to the end or is undone. After each, the caller collects the events and saves the state.

mod change;
mod departing;
mod explain;
mod follow;
mod moving;
mod probing;
mod rejoin;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use oxbond_config::model::Cidr;
use oxbond_core::action::Action;
use oxbond_core::bond::{Bond, InputError};
use oxbond_core::engine::Engine;
use oxbond_core::event::{Cause, Event};
use oxbond_core::input::Input;
use oxbond_core::lacp::Drain;
use oxbond_core::option::Mode;
use oxbond_core::port::{MAX_PORTS, PortId};
use oxbond_core::status::{BondStatus, PortStatus};
use oxbond_core::table::Spread;
use oxbond_core::time::Instant;
use oxbond_datapath::{DatapathError, LeftRecord, Record, TappedFrame};
use oxbond_linux::engine::{EbpfEngine, EngineError, EngineRecord};
use oxbond_linux::inspect::Candidate;
use oxbond_linux::netlink::{Link, Netlink};
use serde::Serialize;
use tracing::{error, warn};

use super::managed::{ToMake, created, names_of, places_of, set_network};
use crate::control::protocol::{BondRequest, PortRequest};
use crate::daemon::state::{BondFiles, STATE_VERSION, SavedEbpfBond};
use crate::exit::{Blame, Failure};
use crate::network::RunningBond;
use crate::refusal::{engine_failure, kernel, refused_by_core};
use crate::report::{BondReport, EngineReport};
use crate::request::{parse_addresses, parse_mac, parse_options, parse_port_options};
use departing::Departing;
pub(super) use moving::Moving;
use probing::Paths;
use rejoin::Hindrance;

/// A bond on our own engine.
pub(crate) struct EbpfBond {
    pub(super) wanted: BondRequest,
    pub(super) core: Bond,
    pub(super) engine: EbpfEngine,
    pub(super) files: BondFiles,
    events: Vec<Event>,
    next_poll: Option<Instant>,
    /// When the data path is asked next what the buckets have carried; `None` before the first time.
    next_measurement: Option<Instant>,
    /// Of the ARP and NS monitor's targets.
    paths: Paths,
    /// Expected ports that are there and could not join.
    hindered: BTreeMap<String, Hindrance>,
    /// Expected ports that were drained when they vanished: they return as they went.
    pub(super) drained_away: BTreeSet<String>,
    /// Why it is on this engine, in words; empty where only one was thought of.
    chosen: String,
    /// The core asked for something else than probes since the last look at this.
    acted: bool,
    /// The work just done changed no more than what protocols asked and heard: see `is_routine`.
    routine: bool,
    /// The state differs from the saved one by no more than that.
    postponed: bool,
    /// When such a state is saved nevertheless.
    next_save: Instant,
    /// How long LACP alone may go on between two saves.
    lacp_save_interval: Duration,
    /// The last moment that the core was told of.
    pub(super) told: Instant,
    /// It comes from the driver, and not all of its ports have followed.
    moving: Option<Moving>,
    /// When the next step of that is looked at.
    next_move: Instant,
    /// It goes to the driver.
    departing: Option<Departing>,
}

/// Time between two saves of a state in which only the ARP monitor went on, and of one in which only LACP did: a later
/// daemon goes on where this one stood, so it should be no more than a PDU or two old.
const ARP_SAVE_INTERVAL: Duration = Duration::from_secs(1);
const LACP_SAVE_INTERVAL: Duration = Duration::from_millis(100);

/// With many bonds the latter is longer, this for each of them and at most [`ARP_SAVE_INTERVAL`]: a thousand saves a second in
/// all.
const SAVE_INTERVAL_PER_BOND: Duration = Duration::from_millis(1);

/// Time between two reports of what the buckets carry.
const MEASUREMENT_INTERVAL: Duration = Duration::from_secs(1);

/// Borrowed twin of [`SavedEbpfBond`].
#[derive(Serialize)]
struct BorrowedSavedBond<'a> {
    version: u32,
    wanted: &'a BondRequest,
    core: &'a Bond,
    engine: &'a EngineRecord,
    drained_away: &'a BTreeSet<String>,
    chosen: &'a str,
    moving: &'a Option<Moving>,
}

impl EbpfBond {
    /// Makes the bond, its ports, addresses and gateways. Whatever fails, everything is as it was.
    pub(crate) fn create(
        netlink: &mut Netlink,
        now: Instant,
        pins: &Path,
        files: BondFiles,
        make: ToMake,
        taken: &BTreeMap<u32, String>,
    ) -> Result<(Self, Vec<String>), Failure> {
        let wanted = &make.wanted;
        let mac = wanted.mac.as_deref().map(parse_mac).transpose()?;
        let addresses = parse_addresses(&wanted.addresses)?;
        let options = parse_options(&wanted.options)?;
        // The core first: it refuses what makes no sense before anything is touched.
        let core = Bond::new(now, &wanted.name, mac, &options).map_err(refused_by_core)?;
        let (spec, candidates) = make.inspect(netlink, mac, taken)?;

        files.has_room()?;
        if let Some(unused) = make.replaces {
            netlink.delete_link(unused).map_err(kernel)?;
        }
        files.begin(Engine::Ebpf)?;
        let ToMake { wanted, chosen, .. } = make;
        let engine = match EbpfEngine::create(netlink, &pins.join(&wanted.name), &spec) {
            Ok(engine) => engine,
            Err(e) => {
                // The failure that counts is the first one.
                if let Err(failure) = files.finish() {
                    warn!("while undoing: {failure}");
                }
                return Err(engine_failure(e));
            }
        };
        let mut bond = Self::new(wanted, core, engine, files);
        bond.chosen = chosen;
        let furnished = bond
            .engine
            .bond_mac(netlink)
            .map_err(engine_failure)
            .and_then(|mac| {
                bond.core.set_device_mac(mac);
                bond.furnish(netlink, now, &candidates, &addresses)
            });
        if let Err(failure) = furnished {
            for complaint in bond.remove(netlink) {
                warn!("while undoing: {complaint}");
            }
            return Err(failure);
        }
        let made = created(&bond.wanted, Engine::Ebpf, &bond.chosen);
        Ok((bond, vec![made]))
    }

    fn new(wanted: BondRequest, core: Bond, engine: EbpfEngine, files: BondFiles) -> Self {
        Self {
            wanted,
            core,
            engine,
            files,
            events: Vec::new(),
            next_poll: None,
            next_measurement: None,
            paths: Paths::default(),
            acted: false,
            routine: false,
            postponed: false,
            next_save: Instant::ZERO,
            lacp_save_interval: LACP_SAVE_INTERVAL,
            told: Instant::ZERO,
            moving: None,
            next_move: Instant::ZERO,
            departing: None,
            hindered: BTreeMap::new(),
            drained_away: BTreeSet::new(),
            chosen: String::new(),
        }
    }

    fn furnish(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        candidates: &[Candidate],
        addresses: &[Cidr],
    ) -> Result<(), Failure> {
        for (request, candidate) in self.wanted.ports.clone().iter().zip(candidates) {
            self.join(netlink, now, request, candidate)?;
        }
        let up = !self.wanted.down;
        if up {
            netlink.set_up(self.engine.ifindex()).map_err(kernel)?;
        } else {
            netlink.set_down(self.engine.ifindex()).map_err(kernel)?;
        }
        self.tell(netlink, now, Input::BondAdmin { up });
        set_network(
            netlink,
            self.engine.ifindex(),
            addresses,
            &self.wanted.gateways,
        )?;
        self.on_addresses(netlink, now);
        self.schedule_poll(now);
        self.save()?;
        self.files.finish()
    }

    /// Takes over what an earlier daemon left. Writes nothing when everything is as that daemon recorded it; says what
    /// was not otherwise, and mends it.
    pub(crate) fn adopt(
        netlink: &mut Netlink,
        now: Instant,
        pins: &Path,
        files: BondFiles,
        saved: SavedEbpfBond,
    ) -> Result<(Self, Vec<String>), EngineError> {
        let SavedEbpfBond {
            wanted,
            core,
            engine: mut record,
            drained_away,
            chosen,
            moving,
            ..
        } = saved;
        let known: Vec<(PortId, String)> = core
            .ports()
            .map(|(id, name)| (id, name.to_owned()))
            .collect();
        // Ports that were on their way in or out when that daemon died.
        let (staying, strays) = std::mem::take(&mut record.ports)
            .into_iter()
            .partition::<Vec<_>, _>(|port| known.iter().any(|(id, _)| *id == port.id));
        record.ports = staying;

        let pin_dir = pins.join(&wanted.name);
        let mut differing = Vec::new();
        let (mut engine, drift) = match EbpfEngine::adopt(netlink, &pin_dir, record.clone()) {
            Err(EngineError::DataPath(
                e @ (DatapathError::NotInstalled(_) | DatapathError::AbiMismatch { .. }),
            )) => {
                differing.push(format!("{e}; made anew"));
                // Its hooks and tables are new; what else differs shows in the second attempt.
                drop(EbpfEngine::reinstall(netlink, &pin_dir, record.clone())?);
                EbpfEngine::adopt(netlink, &pin_dir, record)
            }
            other => other,
        }?;
        differing.extend(drift.iter().map(ToString::to_string));
        if let Err(e) = engine.repair(netlink, &drift) {
            error!("{}: {e}", wanted.name);
        }
        for stray in strays {
            differing.push(format!("{} was halfway in, and was given back", stray.name));
            for complaint in engine.give_back(netlink, &stray) {
                warn!("{}: {complaint}", wanted.name);
            }
        }
        let mut bond = Self::new(wanted, core, engine, files);
        bond.drained_away = drained_away;
        bond.chosen = chosen;
        bond.moving = moving;
        if bond.engine.table()? != *bond.core.table() {
            let table = bond.core.table().clone();
            let cause = Cause::Start;
            bond.engine
                .perform(netlink, &Action::SetTransmitTable { table, cause })?;
            differing.push("the transmit table was another".to_owned());
        }
        for (id, known) in known {
            let name = bond.engine.port_name(id).map(str::to_owned);
            if let Some(name) = name.filter(|name| *name != known) {
                bond.renamed(netlink, now, id, &known, name);
            }
        }
        bond.schedule_poll(now);
        Ok((bond, differing))
    }

    /// An expected port could not join; [`EbpfBond::on_timeout`] tries again.
    pub(crate) fn is_hindered(&self) -> bool {
        !self.hindered.is_empty()
    }

    /// Whether [`EbpfBond::on_link`] has work with this link.
    pub(crate) fn is_concerned(&self, link: &Link) -> bool {
        let front = self.engine.ifindex();
        link.index == front
            || link.lower == Some(front)
            || self.port_at(link.index).is_some()
            || self.is_missing(&link.name)
    }

    /// Name of the bond.
    pub(crate) fn name(&self) -> &str {
        &self.wanted.name
    }

    /// As a plan sees it.
    pub(crate) fn running(&self) -> RunningBond {
        let attached = self.engine.ports().map(|(id, _)| self.engine.port_name(id));
        RunningBond {
            request: self.wanted.clone(),
            options: self.core.options().clone(),
            mac: self.core.mac(),
            mtu: self.engine.mtu(),
            attached: attached.flatten().map(str::to_owned).collect(),
            on_driver: None,
        }
    }

    /// What was asked for.
    pub(super) const fn wanted(&self) -> &BondRequest {
        &self.wanted
    }

    /// Remembers what was asked for.
    pub(crate) fn remember(&mut self, request: BondRequest) {
        self.wanted = request;
    }

    /// Waits for a port that is not there.
    pub(super) fn expect_port(&mut self, port: PortRequest) -> Result<Vec<String>, Failure> {
        self.wanted.ports.push(port);
        self.save()?;
        Ok(Vec::new())
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
    fn save(&mut self) -> Result<(), Failure> {
        let text = self.encoded()?;
        self.files.save(text)
    }

    /// Content of the state file.
    fn encoded(&self) -> Result<String, Failure> {
        self.files.encode(&BorrowedSavedBond {
            version: STATE_VERSION,
            wanted: &self.wanted,
            core: &self.core,
            engine: self.engine.record(),
            drained_away: &self.drained_away,
            chosen: &self.chosen,
            moving: &self.moving,
        })
    }

    /// Tells how many bonds the daemon has.
    pub(crate) fn pace_saves(&mut self, bonds: u32) {
        let each = SAVE_INTERVAL_PER_BOND * bonds;
        self.lacp_save_interval = each.clamp(LACP_SAVE_INTERVAL, ARP_SAVE_INTERVAL);
    }

    /// Whether no more has happened than what an ARP monitor does at every tick, and LACP with every PDU. That is saved now
    /// and then: a later daemon takes the time in between for time in which nobody listened, and a storm of PDUs must not
    /// become one of files.
    fn is_routine(&mut self, now: Instant) -> bool {
        let acted = std::mem::take(&mut self.acted);
        let options = self.core.options();
        let interval = if options.arp_interval > 0 {
            ARP_SAVE_INTERVAL
        } else if options.mode == Mode::Ieee8023ad {
            self.lacp_save_interval
        } else {
            Duration::ZERO
        };
        let routine = !acted && now < self.next_save;
        if !routine {
            self.next_save = now + interval;
        }
        routine
    }

    /// As `save`, but for routine; a failure is logged once and tried again with the next change or look at the links.
    pub(crate) fn save_or_log(&mut self) {
        self.postponed = std::mem::take(&mut self.routine) && !self.files.is_unsaved();
        if self.postponed {
            return;
        }
        let text = self.encoded();
        self.files.save_or_log(text);
    }

    /// Next time [`EbpfBond::on_timeout`] has work.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.core
            .next_timeout()
            .into_iter()
            .chain(self.next_poll)
            .chain(self.measurement_due())
            .chain(self.paths_due())
            .chain(self.move_due())
            .chain(self.departure_due())
            .chain(self.postponed.then_some(self.next_save))
            .chain(self.hindered.values().map(|hindrance| hindrance.again))
            .min()
    }

    /// Monitor interval, the core's timeouts, what the buckets carry, and expected ports that could not join.
    pub(crate) fn on_timeout(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
    ) {
        // What arrived before a time ran out comes first, however late we are ourselves.
        self.read_records(netlink, now);
        if self.next_poll.is_some_and(|at| at <= now) {
            self.look_at_ports(netlink, now);
            self.schedule_poll(now);
        }
        if self.measurement_due().is_some_and(|at| at <= now) {
            self.measure(netlink, now);
        }
        if self.paths_due().is_some_and(|at| at <= now) {
            self.look_at_paths(netlink, now);
        }
        if self.core.lacp().is_some() {
            // A PDU that waits to be read has come in time.
            self.read_records(netlink, now);
        }
        self.tell_arrivals(netlink, now);
        self.told = now;
        self.core.handle_timeout(now);
        self.drain(netlink);
        self.move_on(netlink, now, taken);
        self.depart_on(netlink, now);
        if self
            .hindered
            .values()
            .any(|hindrance| hindrance.again <= now)
        {
            self.rejoin_missing(netlink, now, taken);
            self.acted = true;
        }
        self.routine = self.is_routine(now);
    }

    /// When the loads are to be read, while the table asks for them.
    fn measurement_due(&self) -> Option<Instant> {
        let spread = &self.core.table().spread;
        let measured = matches!(spread, Spread::Buckets(buckets) if buckets.measured);
        measured.then(|| self.next_measurement.unwrap_or(Instant::ZERO))
    }

    /// Tells the core what each bucket has carried.
    fn measure(&mut self, netlink: &mut Netlink, now: Instant) {
        let first = self.next_measurement.is_none();
        self.next_measurement = Some(now + MEASUREMENT_INTERVAL);
        if first {
            return;
        }
        match self.engine.loads() {
            Ok(Some(loads)) => {
                let input = Input::Loads {
                    over: loads.over,
                    buckets: loads.buckets,
                    exempt: loads.exempt,
                };
                self.tell(netlink, now, input);
            }
            // Nothing is known since a new daemon took over, until the next time.
            Ok(None) => {}
            Err(e) => error!("{}: cannot read the load of its ports: {e}", self.name()),
        }
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
                Ok(None) => self.on_port_gone(netlink, now, index),
                Err(e) => warn!("{}: cannot read interface {index}: {e}", self.name()),
            }
        }
        self.on_addresses(netlink, now);
        self.read_records(netlink, now);
        self.rejoin_missing(netlink, now, taken);
    }

    /// What the data path tells: of a port that it left, the core hears, then the link itself is looked at; of frames
    /// that the core wanted to see, the core hears.
    ///
    /// Whether there was anything.
    pub(crate) fn on_records(&mut self, netlink: &mut Netlink, now: Instant) -> bool {
        let any = self.read_records(netlink, now);
        if any {
            self.routine = self.is_routine(now);
        }
        any
    }

    pub(super) fn read_records(&mut self, netlink: &mut Netlink, now: Instant) -> bool {
        let records = self.engine.drain_records();
        let any = !records.is_empty();
        for record in records {
            match record {
                Record::Left(LeftRecord { port, .. }) => {
                    if self.engine.ports().any(|(id, _)| id == port) {
                        self.tell(netlink, now, Input::LeftInPath { port });
                        self.look_at_port(netlink, now, port);
                        self.acted = true;
                    }
                }
                Record::Frame(TappedFrame { time, port, frame }) => {
                    let input = match port {
                        Some(port) => Input::Received { port, frame },
                        None => Input::Sent { frame },
                    };
                    // A frame that waited for us came in time all the same.
                    let time = time.min(now).max(self.told);
                    self.tell(netlink, time, input);
                }
            }
        }
        any
    }

    /// Gives everything back. Goes on to the end; returns what could not be done.
    pub(crate) fn remove(mut self, netlink: &mut Netlink) -> Vec<String> {
        let begun = self.files.begin(Engine::Ebpf);
        let mut undone = self.give_up_departing(netlink);
        undone.extend(self.give_up_moving(netlink));
        undone.extend(self.engine.destroy(netlink));
        let forgotten = self.files.forget();
        let failures = [begun, forgotten].into_iter().filter_map(Result::err);
        undone
            .iter()
            .map(ToString::to_string)
            .chain(failures.map(|failure| failure.message))
            .collect()
    }

    /// The bond, without what its engine adds.
    pub(super) fn status(&self, now: Instant) -> BondStatus {
        self.core.status(now, &places_of(&self.wanted))
    }

    /// The picture that renderers read.
    pub(crate) fn report(&self, now: Instant) -> Result<BondReport, Failure> {
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
        let why = match self.chosen.as_str() {
            "" => why,
            chosen => format!("{chosen}; {why}"),
        };
        Ok(BondReport {
            status: self.status(now),
            engine: EngineReport {
                engine: "ebpf".into(),
                managed: true,
                front: Some(path.front.to_string()),
                hook: Some(hook),
                why,
                bond_ifindex: self.engine.ifindex(),
                mtu: self.engine.mtu(),
            },
            counters: counted.ports.into_iter().map(Into::into).collect(),
            tx_no_port: counted.tx_no_port,
            ports_left: counted.ports_left,
            hindered: self.hindrances(),
        })
    }

    /// Joins an inspected interface; undone if the core refuses it. How it was is saved before it is touched.
    pub(super) fn join(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        request: &PortRequest,
        candidate: &Candidate,
    ) -> Result<(), Failure> {
        let options = parse_port_options(&request.options)?;
        let Some(id) = self.free_id() else {
            let why = format!(
                "{0} has {MAX_PORTS} ports already, the most that our own engine carries; 'oxbond adopt {0} --engine kernel' moves \
                 it to the kernel's driver, which has no such limit",
                self.name()
            );
            return Err(Failure::new(Blame::Refused, why));
        };
        self.engine
            .note_port(netlink, id, candidate)
            .map_err(engine_failure)?;
        if let Err(failure) = self.save() {
            self.engine.remove_port(netlink, id);
            return Err(failure);
        }
        let info = self
            .engine
            .add_port(netlink, id, candidate)
            .map_err(engine_failure)?;
        let joining = Input::AddPort {
            info,
            options,
            drained: self.drained_away.contains(&request.name),
        };
        if let Err(e) = self.feed(netlink, now, joining) {
            for complaint in self.engine.remove_port(netlink, id) {
                warn!("while undoing: {complaint}");
            }
            return Err(refused_by_core(e));
        }
        self.drained_away.remove(&request.name);
        Ok(())
    }

    /// The place the core gives the next port: the lowest free one.
    fn free_id(&self) -> Option<PortId> {
        (0..MAX_PORTS)
            .filter_map(|index| u8::try_from(index).ok().and_then(PortId::new))
            .find(|id| !self.engine.ports().any(|(used, _)| used == *id))
    }

    /// Whether it has been drained, or is about to be.
    pub(super) fn is_drained(&self, port: PortId) -> bool {
        let status = self.core.status(self.told, &[]);
        let drained = |known: &PortStatus| known.id == port && known.drain != Drain::No;
        status.ports.iter().any(drained)
    }

    /// Takes a port out: the table first, so that no packet goes to it while it is taken apart. That it is to be given
    /// back is saved before it is touched.
    pub(super) fn part(&mut self, netlink: &mut Netlink, now: Instant, port: PortId) {
        self.tell(netlink, now, Input::RemovePort { port });
        self.save_or_log();
        for complaint in self.engine.remove_port(netlink, port) {
            warn!("{}: {complaint}", self.name());
        }
    }

    /// A request to the core: it may refuse.
    pub(super) fn feed(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        input: Input,
    ) -> Result<(), InputError> {
        self.told = now;
        let handled = self.core.handle(now, input);
        // Timeouts that were due have acted even if the input was refused.
        self.drain(netlink);
        handled.map(|_| ())
    }

    /// A fact for the core: a refusal would be our bug.
    pub(super) fn tell(&mut self, netlink: &mut Netlink, now: Instant, input: Input) {
        if let Err(e) = self.feed(netlink, now, input) {
            error!("{}: a bug of ours: {e}", self.name());
        }
    }

    fn drain(&mut self, netlink: &mut Netlink) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Event(event) => {
                    self.acted = true;
                    self.events.push(event);
                }
                Action::ListGuests => self.tell_guests(netlink),
                action => {
                    self.acted |= !matches!(
                        action,
                        Action::SendOnPort { .. } | Action::SetStandingAnswer { .. }
                    );
                    if let Err(e) = self.perform(netlink, &action) {
                        error!("{}: {e}", self.name());
                    }
                }
            }
        }
    }

    /// Sets the next look at the links: at a multiple of the interval, so that the rhythm does not drift and bonds of one
    /// interval are looked at together.
    pub(super) fn schedule_poll(&mut self, now: Instant) {
        let options = self.core.options();
        // One of the two is 0.
        let interval = Duration::from_millis(options.miimon.max(options.arp_interval).into());
        // Less than 2^31 ms, so that its nanoseconds fit.
        let nanos = interval.as_nanos() as u64;
        let looks = now.as_nanos().checked_div(nanos);
        self.next_poll = looks.map(|looks| Instant::from_nanos((looks + 1) * nanos));
    }

    /// The poll. Nearly always a port is as it was told, which one system call finds out.
    fn look_at_ports(&mut self, netlink: &mut Netlink, now: Instant) {
        let ports: Vec<PortId> = self.engine.ports().map(|(id, _)| id).collect();
        for port in ports {
            let known = self.core.link_of(port).map(|link| link.is_usable());
            if known.is_none() || self.engine.link_detected(port) != known {
                self.look_at_port(netlink, now, port);
            }
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
            Ok(None) => self.on_port_gone(netlink, now, ifindex),
            Err(e) => warn!("{}: cannot read interface {ifindex}: {e}", self.name()),
        }
    }

    pub(super) fn port_at(&self, ifindex: u32) -> Option<PortId> {
        self.engine
            .ports()
            .find(|(_, index)| *index == ifindex)
            .map(|(id, _)| id)
    }

    pub(super) fn port_named(&self, name: &str) -> Option<PortId> {
        self.engine
            .ports()
            .map(|(id, _)| id)
            .find(|id| self.engine.port_name(*id) == Some(name))
    }

    /// Names of the ports asked for.
    pub(super) fn expected(&self) -> Vec<String> {
        names_of(&self.wanted)
    }
}
