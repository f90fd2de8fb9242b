//! A bond that comes from the kernel's driver under traffic: our own engine takes its place at once, then its ports, one after
//! the other.
//!
//! | | the driver's bond | ours |
//! |---|---|---|
//! | before | carries all | |
//! | beside | carries all | made, under another name, with the state of the driver's |
//! | turned | down, has another name, and keeps the ports for now | has the name and all that stands on it; carries all |
//! | ports | each in turn is taken out of the traffic, let go of and joined | |
//! | after | deleted | |
//!
//! The driver lets go of a port only by setting it down, so a link is away for a moment: that of a port that carries nothing
//! then, if there is another.

use std::collections::BTreeMap;
use std::path::Path;

use oxbond_core::action::Action;
use oxbond_core::bond::Bond;
use oxbond_core::driver::Picture;
use oxbond_core::engine::{Engine, EngineChoice};
use oxbond_core::input::Input;
use oxbond_core::lacp::Drain;
use oxbond_core::option::{BondOptions, Mode, OptionChange, OptionId};
use oxbond_core::port::PortId;
use oxbond_core::status::{MiiStatus, PortRole};
use oxbond_core::time::Instant;
use oxbond_datapath::KernelTypes;
use oxbond_linux::engine::kernel::{self as driver, KernelPort};
use oxbond_linux::engine::{BondSpec, EbpfEngine, EngineError, Handover, Side};
use oxbond_linux::netlink::Netlink;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::EbpfBond;
use super::stage::{LOOK_INTERVAL, Stage};
use crate::control::protocol::BondRequest;
use crate::daemon::fault::fault_point;
use crate::daemon::moving::{MoveNote, gap_of_one, refused_down, refused_handover};
use crate::daemon::state::BondFiles;
use crate::exit::Failure;
use crate::refusal::{engine_failure, kernel, refused, refused_by_core};

/// Ports that the driver's bond still has.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::daemon) struct Moving {
    /// Index of the driver's device.
    device: u32,
    /// How the ports were before they were the driver's, where that is known.
    ports: Vec<KernelPort>,
    stage: Stage,
}

impl EbpfBond {
    /// Takes a running bond of the driver over. Whatever fails before it has turned, everything is as it was.
    pub(in crate::daemon) fn take_over(
        netlink: &mut Netlink,
        clock: fn() -> Instant,
        pins: &Path,
        files: BondFiles,
        wanted: BondRequest,
        device: u32,
        ports: Vec<KernelPort>,
    ) -> Result<(Self, Vec<String>), Failure> {
        Handover::check(netlink, device).map_err(refused_handover)?;
        let name = wanted.name.clone();
        let picture = read(netlink, &name, device)?;
        let options = options_of(&picture);
        // The core first: it refuses what makes no sense before anything is touched.
        Bond::take_over(clock(), &picture, &options).map_err(refused_by_core)?;
        if !picture.up {
            return Err(refused_down(&name));
        }
        files.has_room()?;
        files.note_move(&MoveNote::beside(Engine::Ebpf))?;
        let _types = KernelTypes::keep();
        let spec = BondSpec {
            name: name.clone(),
            mac: Some(picture.mac),
            mtu: Some(picture.mtu),
            beside: true,
        };
        let pin_dir = pins.join(&name);
        let engine = match EbpfEngine::create(netlink, &pin_dir, &spec) {
            Ok(engine) => engine,
            Err(e) => {
                // The failure that counts is the first one.
                if let Err(failure) = files.forget_move() {
                    warn!("while undoing: {failure}");
                }
                return Err(engine_failure(e));
            }
        };
        let wanted = BondRequest {
            engine: EngineChoice::Only(Engine::Ebpf),
            options: options
                .iter()
                .map(|change| (change.id.to_string(), change.text()))
                .collect(),
            ..wanted
        };
        // Nothing is decided yet; the state is taken over last, when all that takes time is done.
        let core = Bond::new(clock(), &name, None, &[]).map_err(refused_by_core)?;
        let mut bond = Self::new(wanted, core, engine, files);
        bond.chosen = "it was asked for".to_owned();
        bond.moving = Some(Moving {
            device,
            ports,
            stage: Stage::Next,
        });
        let (mut bond, complaints) = bond.turn(netlink, clock, device, &options)?;
        for complaint in complaints {
            warn!("{name}: while it was moved: {complaint}");
        }
        bond.on_addresses(netlink, clock());
        bond.schedule_poll(clock());
        let ports = bond.expected();
        let mut said = vec![format!(
            "{name}: carried by our own engine now; {} follow{} one after the other",
            ports.join(", "),
            if ports.len() == 1 { "s" } else { "" }
        )];
        said.extend(gap_of_one(&name, &ports));
        Ok((bond, said))
    }

    fn turn(
        self,
        netlink: &mut Netlink,
        clock: fn() -> Instant,
        device: u32,
        options: &[OptionChange],
    ) -> Result<(Self, Vec<EngineError>), Failure> {
        let mut bond = self;
        let name = bond.wanted.name.clone();
        let front = bond.engine.ifindex();
        let prepared = (|| {
            let handover = Handover::prepare(netlink, device, front).map_err(refused_handover)?;
            let actions = bond.go_on(netlink, clock, device, options)?;
            Ok((handover, actions))
        })();
        let (mut handover, actions) = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => {
                bond.undo(netlink);
                return Err(failure);
            }
        };
        let turned = (|| {
            handover.look(netlink).map_err(refused_handover)?;
            let state = bond.encoded()?;
            bond.files
                .note_move(&MoveNote::turning(Engine::Ebpf, handover.clone(), state))?;
            let engine = &mut bond.engine;
            let mut arrivals = 0;
            fault_point("noted", 0);
            handover
                .turn(netlink, true, |netlink, side| {
                    fault_point("turn", arrivals);
                    arrivals += 1;
                    let mut complaints = engine.receive(side == Side::New, false);
                    if side == Side::New {
                        // A bridge above wants every frame.
                        let link = netlink.link_by_index(front).unwrap_or_default();
                        let promiscuous = link.is_some_and(|link| link.promiscuity > 0);
                        let followed = engine.follow_bond_promiscuity(netlink, promiscuous);
                        complaints.extend(followed.err());
                        for answer in actions.iter().filter(|action| is_answer(action)) {
                            complaints.extend(engine.perform(netlink, answer).err());
                        }
                    }
                    complaints
                })
                .map_err(engine_failure)
        })();
        match turned {
            Ok(mut complaints) => {
                for action in actions.iter().filter(|action| !is_answer(action)) {
                    complaints.extend(bond.engine.perform(netlink, action).err());
                }
                fault_point("turned", 0);
                bond.engine.named(&name);
                // It has turned, and is not given up for a full disk: with the note the next daemon knows what this one does.
                let saved = bond.save().and_then(|()| bond.files.forget_move());
                if let Err(failure) = saved {
                    warn!("{name}: {failure}");
                }
                Ok((bond, complaints))
            }
            Err(failure) => {
                if let Err(e) = handover.abandon(netlink) {
                    warn!("while undoing: {e}");
                }
                bond.undo(netlink);
                Err(failure)
            }
        }
    }

    /// The core goes on where the driver is, and the programs know what to do with frames of the ports. Answers what is to be
    /// done when these come.
    fn go_on(
        &mut self,
        netlink: &mut Netlink,
        clock: fn() -> Instant,
        device: u32,
        options: &[OptionChange],
    ) -> Result<Vec<Action>, Failure> {
        let picture = read(netlink, &self.wanted.name, device)?;
        self.core = Bond::take_over(clock(), &picture, options).map_err(refused_by_core)?;
        let mut later = Vec::new();
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::SetTransmitTable { .. } | Action::SetCarrier { .. } => self
                    .engine
                    .perform(netlink, &action)
                    .map_err(engine_failure)?,
                Action::Event(event) => self.events.push(event),
                action => later.push(action),
            }
        }
        for (id, name) in self.core.ports() {
            let port = picture.ports.iter().find(|port| port.name == name);
            if let Some(port) = port {
                self.engine
                    .borrow_port(netlink, id, port.ifindex, port.permanent_mac)
                    .map_err(engine_failure)?;
            }
        }
        Ok(later)
    }

    /// Takes our side apart again; the driver's bond carries on.
    fn undo(self, netlink: &mut Netlink) {
        for complaint in self.engine.withdraw(netlink) {
            warn!("{}: while undoing: {complaint}", self.wanted.name);
        }
        if let Err(failure) = self.files.forget_move() {
            warn!("{failure}");
        }
    }

    /// It is on its way from one engine to another, and nothing else is done with it meanwhile.
    pub(super) fn refuse_while_moving(&self) -> Result<(), Failure> {
        match self.moving.is_some() || self.departing.is_some() {
            false => Ok(()),
            true => Err(refused(format!(
                "{0} is being moved to another engine, and not all of its ports have followed yet; try again in a few \
                 seconds, 'oxbond status {0}' tells",
                self.name()
            ))),
        }
    }

    /// Lets the driver give back the ports that it still has. Returns what could not be done.
    pub(super) fn give_up_moving(&mut self, netlink: &mut Netlink) -> Vec<EngineError> {
        let Some(Moving { device, .. }) = self.moving.take() else {
            return Vec::new();
        };
        let mut complaints = Vec::new();
        let ports: Vec<(PortId, u32)> = self.engine.ports().collect();
        for (id, ifindex) in ports {
            let link = netlink.link_by_index(ifindex);
            if matches!(link, Ok(Some(link)) if link.master == Some(device)) {
                complaints.extend(self.engine.forget_port(id).err());
            }
        }
        self.delete_device_before(netlink, device);
        complaints
    }

    /// When [`EbpfBond::move_on`] has work.
    pub(super) fn move_due(&self) -> Option<Instant> {
        self.moving.as_ref().map(|_| self.next_move)
    }

    /// The next step of the port whose turn it is, if its time has come.
    pub(super) fn move_on(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
    ) {
        if self.next_move > now {
            return;
        }
        self.next_move = now + LOOK_INTERVAL;
        let Some(Moving {
            device,
            ports,
            stage,
        }) = self.moving.take()
        else {
            return;
        };
        let stage = match stage {
            Stage::Next => match self.next_to_leave(netlink, device) {
                Some(port) => Some(self.send_away(netlink, now, taken, &ports, port)),
                None => {
                    self.delete_device_before(netlink, device);
                    info!(
                        "{}: all of its ports have followed to our own engine",
                        self.name()
                    );
                    None
                }
            },
            Stage::Leaving { port, until } if now < until && !self.is_out(&port) => {
                Some(Stage::Leaving { port, until })
            }
            Stage::Leaving { port, .. } => Some(self.fetch(netlink, now, taken, &ports, port)),
            Stage::Settling { port, until, since } => {
                let carries = self.carries(&port);
                Some(Stage::settled(port, until, since, now, carries))
            }
        };
        self.moving = stage.map(|stage| Moving {
            device,
            ports,
            stage,
        });
        self.acted = true;
    }

    /// The first port that the driver's bond still has, by its name.
    fn next_to_leave(&self, netlink: &mut Netlink, device: u32) -> Option<String> {
        let ports: Vec<u32> = self.engine.ports().map(|(_, ifindex)| ifindex).collect();
        ports.into_iter().find_map(|ifindex| {
            let link = netlink.link_by_index(ifindex).ok()??;
            (link.master == Some(device)).then_some(link.name)
        })
    }

    fn send_away(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
        ports: &[KernelPort],
        port: String,
    ) -> Stage {
        let id = self.port_named(&port);
        let drained = id.map(|id| {
            self.feed(
                netlink,
                now,
                Input::Drain {
                    port: id,
                    out: true,
                },
            )
        });
        match drained {
            Some(Ok(())) => Stage::leaving(port, now),
            // There is no other that could carry the traffic: it is away for as long as the link.
            _ => self.fetch(netlink, now, taken, ports, port),
        }
    }

    /// Makes the driver let go of a port, and joins it.
    fn fetch(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
        ports: &[KernelPort],
        port: String,
    ) -> Stage {
        if let Some(id) = self.port_named(&port) {
            let ifindex = self.engine.ports().find(|(port, _)| *port == id);
            self.tell(netlink, now, Input::RemovePort { port: id });
            if let Err(e) = self.engine.forget_port(id) {
                warn!("{}: {e}", self.name());
            }
            if let Some((_, ifindex)) = ifindex
                && let Err(e) = netlink.set_master(ifindex, None)
            {
                warn!("{}: {e}", self.name());
            }
            self.rejoin(netlink, now, &port, taken);
            let known = ports.iter().find(|known| known.name == port);
            if let Some(id) = self.port_named(&port)
                && let Some(originals) = known.and_then(|known| known.originals.clone())
            {
                self.engine.remember(id, originals);
            }
        }
        Stage::settling(port, now)
    }

    pub(super) fn is_out(&self, port: &str) -> bool {
        let status = self.core.status(self.told, &[]);
        let mut ports = status.ports.iter();
        ports.any(|known| known.name == port && known.drain == Drain::Out)
    }

    /// The port works for the bond again: nothing is lost if the next one goes.
    fn carries(&self, port: &str) -> bool {
        let status = self.core.status(self.told, &[]);
        let aggregates = self.core.options().mode == Mode::Ieee8023ad;
        let mut ports = status.ports.iter();
        ports.any(|known| {
            known.name == port
                && known.mii_status == MiiStatus::Up
                && (!aggregates || known.role == PortRole::Active)
        })
    }

    /// The driver's device, with the ports that it may still have.
    fn delete_device_before(&self, netlink: &mut Netlink, device: u32) {
        match netlink.link_by_index(device) {
            Ok(Some(link)) if link.is_ours() => {
                if let Err(e) = netlink.delete_link(device) {
                    warn!("{}: the device it had before is left: {e}", self.name());
                }
            }
            Ok(_) => {}
            Err(e) => warn!("{}: the device it had before is left: {e}", self.name()),
        }
    }
}

const fn is_answer(action: &Action) -> bool {
    matches!(action, Action::SetStandingAnswer { .. })
}

fn read(netlink: &mut Netlink, name: &str, device: u32) -> Result<Picture, Failure> {
    driver::picture(netlink, device)
        .map_err(kernel)?
        .ok_or_else(|| refused(format!("{name} is no bond of the kernel's driver any more")))
}

/// The options in force, for our own engine: what is not said would be its own default. That is taken where the driver has
/// nothing but its own default too and ports would lose traffic by it whenever they return: with coupled control they send
/// before the partner delivers.
fn options_of(picture: &Picture) -> Vec<OptionChange> {
    let mut options = picture.configuration().options;
    if picture.options.mode == Mode::Ieee8023ad {
        let differing = BondOptions::default().changes_from(&BondOptions::own());
        let unsaid = differing
            .into_iter()
            .filter(|change| change.id != OptionId::CoupledControl)
            .filter(|change| !options.iter().any(|said| said.id == change.id));
        let unsaid: Vec<OptionChange> = unsaid.collect();
        options.extend(unsaid);
    }
    options
}
