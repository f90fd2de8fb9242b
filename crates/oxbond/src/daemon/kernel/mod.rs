//! One bond of the daemon on the kernel's driver: the driver decides, and the daemon sees to it that it is as its user
//! asked for, and tells what happens.

mod change;
mod patience;
mod rejoin;

use std::collections::BTreeMap;

use oxbond_config::model::Cidr;
use oxbond_core::driver::{Configuration, Picture, Watch};
use oxbond_core::engine::{Engine, EngineChoice};
use oxbond_core::event::Event;
use oxbond_core::option::{OptionId, PortOptionChange};
use oxbond_core::status::BondStatus;
use oxbond_core::time::Instant;
use oxbond_linux::engine::EngineError;
use oxbond_linux::engine::kernel::{KernelEngine, KernelPort, KernelRecord};
use oxbond_linux::inspect::Candidate;
use oxbond_linux::netlink::{Link, Netlink};
use serde::Serialize;
use tracing::{info, warn};

pub(super) use self::patience::Patience;
use self::rejoin::Expected;
use super::managed::{ToMake, created, names_of, places_of, set_network};
use super::state::{BondFiles, STATE_VERSION, SavedKernelBond};
use crate::control::protocol::{BondRequest, PortRequest};
use crate::exit::Failure;
use crate::network::RunningBond;
use crate::refusal::{engine_failure, kernel};
use crate::report::{BondReport, FrameReport};
use crate::request::{parse_addresses, parse_mac, parse_options, parse_port_options};

/// A bond on the kernel's driver.
pub(crate) struct KernelBond {
    wanted: BondRequest,
    engine: KernelEngine,
    /// As it was at the last look.
    picture: Picture,
    watch: Watch,
    /// Why it is on this engine, in words.
    chosen: String,
    files: BondFiles,
    events: Vec<Event>,
    /// Where the ports are that were asked for.
    expected: BTreeMap<String, Expected>,
    /// Its monitor has just begun.
    patience: Option<Patience>,
}

/// Options that name a port, which are set when that is there. The active one is made so once: which it is later, the driver
/// decides.
pub(super) const LATE: [OptionId; 2] = [OptionId::Primary, OptionId::ActiveSlave];

/// Borrowed twin of [`SavedKernelBond`].
#[derive(Serialize)]
struct BorrowedSavedBond<'a> {
    version: u32,
    carried_by: Engine,
    wanted: &'a BondRequest,
    engine: &'a KernelRecord,
    watch: &'a Watch,
    chosen: &'a str,
    patience: Option<Patience>,
}

impl KernelBond {
    /// Makes the bond, its ports, addresses and gateways. Whatever fails, everything is as it was.
    pub(crate) fn create(
        netlink: &mut Netlink,
        now: Instant,
        files: BondFiles,
        make: ToMake,
        taken: &BTreeMap<u32, String>,
    ) -> Result<(Self, Vec<String>), Failure> {
        let wanted = &make.wanted;
        let mac = wanted.mac.as_deref().map(parse_mac).transpose()?;
        let addresses = parse_addresses(&wanted.addresses)?;
        let mut options = parse_options(&wanted.options)?;
        options.retain(|change| !LATE.contains(&change.id));
        let (spec, candidates) = make.inspect(netlink, mac, taken)?;

        files.has_room()?;
        files.begin(Engine::Kernel)?;
        let ToMake { wanted, chosen, .. } = make;
        // The engine itself replaces what the module has made, be it by being loaded for this.
        let made = KernelEngine::create(netlink, &spec, &options).and_then(|engine| {
            let picture = engine.picture(netlink);
            match picture {
                Ok(picture) => Ok((picture, engine)),
                Err(e) => {
                    for complaint in engine.destroy(netlink) {
                        warn!("while undoing: {complaint}");
                    }
                    Err(e)
                }
            }
        });
        let (picture, engine) = match made {
            Ok(made) => made,
            Err(e) => {
                // The failure that counts is the first one.
                if let Err(failure) = files.finish() {
                    warn!("while undoing: {failure}");
                }
                return Err(engine_failure(e));
            }
        };
        let watch = Watch::new(now, &picture);
        let mut bond = Self::new(wanted, engine, picture, watch, chosen, files);
        if let Err(failure) = bond.furnish(netlink, now, &candidates, &addresses) {
            for complaint in bond.remove(netlink) {
                warn!("while undoing: {complaint}");
            }
            return Err(failure);
        }
        let made = created(&bond.wanted, Engine::Kernel, &bond.chosen);
        Ok((bond, vec![made]))
    }

    fn new(
        wanted: BondRequest,
        engine: KernelEngine,
        picture: Picture,
        watch: Watch,
        chosen: String,
        files: BondFiles,
    ) -> Self {
        Self {
            wanted,
            engine,
            picture,
            watch,
            chosen,
            files,
            events: Vec::new(),
            expected: BTreeMap::new(),
            patience: None,
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
            self.join(netlink, request, candidate)?;
        }
        self.set_late_options(netlink, &LATE)?;
        if self.wanted.down {
            netlink.set_down(self.ifindex()).map_err(kernel)?;
        } else {
            netlink.set_up(self.ifindex()).map_err(kernel)?;
        }
        set_network(netlink, self.ifindex(), addresses, &self.wanted.gateways)?;
        self.look(netlink, now)?;
        self.save()?;
        self.files.finish()
    }

    /// Takes a bond under management that somebody else made, and writes nothing to the driver. Answers what is told.
    pub(crate) fn take_over(
        netlink: &mut Netlink,
        now: Instant,
        files: BondFiles,
        picture: Picture,
    ) -> Result<(Self, Vec<String>), Failure> {
        files.has_room()?;
        let engine = KernelEngine::over(netlink, picture.ifindex).map_err(engine_failure)?;
        let wanted = request_of(&picture);
        let watch = Watch::new(now, &picture);
        let chosen = "it was there when it was taken over".to_owned();
        let mut bond = Self::new(wanted, engine, picture, watch, chosen, files);
        bond.save()?;
        let ports = bond.picture.ports.len();
        let said = format!(
            "{}: taken over from the system as it is: mode {}, {ports} port{}; nothing was changed",
            bond.wanted.name,
            bond.picture.options.mode,
            if ports == 1 { "" } else { "s" }
        );
        Ok((bond, vec![said]))
    }

    /// Ends the management of a bond that was taken over, and leaves the bond itself alone.
    pub(super) fn let_go(self) -> Result<(), Failure> {
        self.files.forget()
    }

    /// A bond that comes from our own engine, with all of its ports.
    pub(super) fn moved_here(
        netlink: &mut Netlink,
        now: Instant,
        files: BondFiles,
        wanted: BondRequest,
        engine: KernelEngine,
    ) -> Result<Self, Failure> {
        let picture = engine.picture(netlink).map_err(engine_failure)?;
        let watch = Watch::new(now, &picture);
        let chosen = "it was asked for".to_owned();
        let mut bond = Self::new(wanted, engine, picture, watch, chosen, files);
        bond.set_late_options(netlink, &LATE)?;
        bond.begin_probing(netlink, now)?;
        bond.save()?;
        bond.files.forget_move()?;
        Ok(bond)
    }

    /// Takes over what an earlier daemon left, with what was to be put right. Writes nothing else.
    pub(crate) fn adopt(
        netlink: &mut Netlink,
        now: Instant,
        files: BondFiles,
        saved: SavedKernelBond,
    ) -> Result<(Self, Vec<String>), EngineError> {
        let mut engine = KernelEngine::adopt(netlink, saved.engine)?;
        end_interruption(netlink, &mut engine, &files);
        let picture = engine.picture(netlink)?;
        let mut bond = Self::new(
            saved.wanted,
            engine,
            // Ports that were renamed since are told from others by what was seen last.
            saved.watch.picture().clone(),
            saved.watch,
            saved.chosen,
            files,
        );
        bond.patience = saved.patience;
        bond.follow_names(&picture);
        let given_back = bond.give_back_strays(netlink);
        match given_back.as_slice() {
            [] => bond.saw(netlink, now, picture),
            _ => {
                let picture = bond.engine.picture(netlink)?;
                bond.saw(netlink, now, picture);
            }
        }
        Ok((bond, given_back))
    }

    /// Gives back the ports that were on their way in when the daemon before died.
    fn give_back_strays(&mut self, netlink: &mut Netlink) -> Vec<String> {
        let wanted = names_of(&self.wanted);
        let ports = self.engine.ports();
        let strays: Vec<_> = ports
            .filter(|port| port.originals.is_some() && !wanted.contains(&port.name))
            .map(|port| (port.ifindex, port.name.clone()))
            .collect();
        let mut told = Vec::new();
        for (ifindex, name) in strays {
            told.push(format!("{name} was halfway in, and was given back"));
            for complaint in self.engine.remove_port(netlink, ifindex) {
                warn!("{}: {complaint}", self.wanted.name);
            }
        }
        told
    }

    /// What was asked for.
    pub(super) const fn wanted(&self) -> &BondRequest {
        &self.wanted
    }

    /// Remembers what was asked for. Whoever asks again asks for the ports that were left alone, too.
    pub(super) fn remember(&mut self, request: BondRequest) {
        self.wanted = request;
        self.forgive();
    }

    /// Waits for a port that is not there.
    pub(super) fn expect_port(&mut self, port: PortRequest) -> Result<Vec<String>, Failure> {
        self.wanted.ports.push(port);
        self.save()?;
        Ok(Vec::new())
    }

    /// As a plan sees it, as of the last look.
    pub(super) fn running(&self) -> RunningBond {
        RunningBond::on_driver(self.wanted.clone(), &self.picture)
    }

    /// Its ports, and how they were before.
    pub(super) fn ports_as_they_were(&self) -> Vec<KernelPort> {
        self.engine.ports().cloned().collect()
    }

    /// Index of the bond's device.
    pub(super) fn ifindex(&self) -> u32 {
        self.engine.ifindex()
    }

    /// Indices of the bond's device and its ports.
    pub(super) fn interfaces(&self) -> Vec<u32> {
        let ports = self.picture.ports.iter().map(|port| port.ifindex);
        std::iter::once(self.ifindex()).chain(ports).collect()
    }

    /// Whether a link is of it, or of a port that it waits for.
    pub(super) fn is_concerned(&self, link: &Link) -> bool {
        self.interfaces().contains(&link.index)
            || link.master == Some(self.ifindex())
            || self.is_missing(&link.name)
    }

    /// The bond as it was at the last look.
    pub(super) fn status(&self, now: Instant) -> BondStatus {
        let status = self
            .picture
            .status(Some((&self.watch, now)), &places_of(&self.wanted));
        // By the name that it was made with it is asked for, whatever its device is called meanwhile.
        BondStatus {
            name: self.wanted.name.clone(),
            ..status
        }
    }

    /// The picture that renderers read.
    pub(super) fn report(&self, now: Instant) -> Result<BondReport, Failure> {
        let status = self.status(now);
        Ok(BondReport {
            hindered: self.hindrances(),
            ..BondReport::of_driver(&self.picture, status, Some(&self.chosen))
        })
    }

    /// The way of a frame as the host would send it, as far as the driver lets one know.
    pub(super) fn explain_frame(
        &self,
        _netlink: &mut Netlink,
        frame: &[u8],
    ) -> Result<FrameReport, Failure> {
        Ok(FrameReport::by_driver(&self.picture, frame))
    }

    /// Events since the last call.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Reads the bond anew.
    pub(super) fn look(&mut self, netlink: &mut Netlink, now: Instant) -> Result<(), Failure> {
        let picture = self.engine.picture(netlink).map_err(engine_failure)?;
        self.saw(netlink, now, picture);
        Ok(())
    }

    /// What the bond was like when it was read.
    pub(super) fn saw(&mut self, netlink: &mut Netlink, now: Instant, picture: Picture) {
        if picture.name != self.picture.name {
            info!(
                "{}: its device is called {} now",
                self.wanted.name, picture.name
            );
        }
        self.follow_names(&picture);
        self.events.extend(self.watch.look(now, &picture));
        self.picture = picture;
        self.note_expected(netlink, now);
    }

    /// A wish goes with the interface, not with its name.
    fn follow_names(&mut self, picture: &Picture) {
        for port in &picture.ports {
            let mut before = self.picture.ports.iter();
            let Some(old) = before
                .find(|old| old.ifindex == port.ifindex && old.name != port.name)
                .map(|old| old.name.clone())
            else {
                continue;
            };
            info!(
                "{}: its port {old} is called {} now",
                self.wanted.name, port.name
            );
            self.engine.rename_port(port.ifindex, &port.name);
            self.watch.renamed(&old, &port.name);
            let mut wanted = self.wanted.ports.iter_mut();
            if let Some(wanted) = wanted.find(|wanted| wanted.name == old) {
                wanted.name.clone_from(&port.name);
            }
            if let Some(expected) = self.expected.remove(&old) {
                self.expected.insert(port.name.clone(), expected);
            }
        }
    }

    /// Content of the state file.
    fn encoded(&self) -> Result<String, Failure> {
        self.files.encode(&BorrowedSavedBond {
            version: STATE_VERSION,
            carried_by: Engine::Kernel,
            wanted: &self.wanted,
            engine: self.engine.record(),
            watch: &self.watch,
            chosen: &self.chosen,
            patience: self.patience,
        })
    }

    fn save(&mut self) -> Result<(), Failure> {
        let text = self.encoded()?;
        self.files.save(text)
    }

    /// As `save`; a failure is logged once and tried again with the next change.
    pub(super) fn save_or_log(&mut self) {
        let text = self.encoded();
        self.files.save_or_log(text);
    }

    /// The link of an interface of the namespace, as it is now: reads the whole bond, and joins what it waits for.
    pub(super) fn on_link(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        _link: &Link,
        taken: &BTreeMap<u32, String>,
    ) {
        self.look_again(netlink, now, taken);
    }

    /// An interface is gone: the driver has let go of it.
    pub(super) fn on_port_gone(&mut self, netlink: &mut Netlink, now: Instant, _index: u32) {
        if let Err(failure) = self.look(netlink, now) {
            warn!("{}: {failure}", self.wanted.name);
        }
    }

    /// Everything may have changed.
    pub(super) fn look_again(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
    ) {
        match self.look(netlink, now) {
            Ok(()) => self.rejoin_missing(netlink, now, taken),
            // The end of its device is told by an event of its own.
            Err(failure) => {
                warn!("{}: {failure}", self.wanted.name);
                self.put_off(now);
            }
        }
    }

    /// Next time [`KernelBond::on_timeout`] has work.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let times = self.next_attempt().into_iter().chain(self.patience_ends());
        times.min()
    }

    /// Ports whose time has come, and a monitor that has begun.
    pub(super) fn on_timeout(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
    ) {
        self.lose_patience(netlink, now);
        self.look_again(netlink, now, taken);
    }

    /// Gives everything back. Goes on to the end; returns what could not be done.
    pub(super) fn remove(self, netlink: &mut Netlink) -> Vec<String> {
        let begun = self.files.begin(Engine::Kernel);
        let inside = |index: u32| self.picture.ports.iter().any(|port| port.ifindex == index);
        let others: Vec<String> = self
            .engine
            .ports()
            .filter(|port| port.originals.is_none() && inside(port.ifindex))
            .map(|port| port.name.clone())
            .collect();
        let undone = self.engine.destroy(netlink);
        let forgotten = self.files.forget();
        let failures = [begun, forgotten].into_iter().filter_map(Result::err);
        let unknown = (!others.is_empty()).then(|| {
            format!(
                "somebody else had made {} its port{}, which the driver leaves down",
                others.join(", "),
                if others.len() == 1 { "" } else { "s" }
            )
        });
        undone
            .iter()
            .map(ToString::to_string)
            .chain(failures.map(|failure| failure.message))
            .chain(unknown)
            .collect()
    }

    /// Joins an inspected interface. How it was is saved before it is touched.
    fn join(
        &mut self,
        netlink: &mut Netlink,
        request: &PortRequest,
        candidate: &Candidate,
    ) -> Result<(), Failure> {
        let options = parse_port_options(&request.options)?;
        self.engine
            .note_port(netlink, candidate)
            .map_err(engine_failure)?;
        self.save()?;
        self.engine
            .add_port(netlink, candidate, &options)
            .map_err(engine_failure)
    }
}

/// Makes a bond as it was before a change that the daemon before died in the middle of.
fn end_interruption(netlink: &mut Netlink, engine: &mut KernelEngine, files: &BondFiles) {
    let Some(scene) = files.interrupted() else {
        return;
    };
    let mut complaints = Vec::new();
    match scene {
        Ok(scene) => {
            warn!(
                "{}: the daemon before died while it changed options: going back to those of before",
                engine.name()
            );
            let left = engine.go_back_to(netlink, scene);
            complaints.extend(left.iter().map(ToString::to_string));
        }
        Err(e) => complaints.push(format!(
            "the daemon before died while it changed options, and how it was before cannot be read: {e}"
        )),
    }
    let forgotten = files.forget_interruption();
    complaints.extend(forgotten.err().map(|failure| failure.message));
    for complaint in complaints {
        warn!("{}: {complaint}", engine.name());
    }
}

/// A bond that somebody else made, as if it had been asked for.
pub(in crate::daemon) fn request_of(picture: &Picture) -> BondRequest {
    let Configuration { options, ports, .. } = picture.configuration();
    let port = |(name, options): (String, Vec<PortOptionChange>)| PortRequest {
        name,
        options: options
            .iter()
            .map(|change| (change.id.to_string(), change.text()))
            .collect(),
        found: false,
    };
    BondRequest {
        name: picture.name.clone(),
        engine: EngineChoice::Only(Engine::Kernel),
        options: options
            .iter()
            .map(|change| (change.id.to_string(), change.text()))
            .collect(),
        ports: ports.into_iter().map(port).collect(),
        down: !picture.up,
        ..BondRequest::default()
    }
}
