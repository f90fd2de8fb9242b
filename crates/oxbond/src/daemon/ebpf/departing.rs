//! A bond that goes to the kernel's driver under traffic: its ports first, one after the other, then its name.
//!
//! | | ours | the driver's bond |
//! |---|---|---|
//! | before | carries all | |
//! | ports | each in turn is drained, given back, and joined there; what it receives still comes to us | made, under another name; speaks LACP on its ports |
//! | relay | carries all, over the driver's ports | |
//! | turned | taken apart | has the name and all that stands on it; carries all |
//!
//! With the last port of ours the core has none any more; what is sent on which of the driver's ports is then decided by a
//! core that aggregates nothing itself: the *relay*.

use std::collections::BTreeMap;
use std::time::Duration;

use oxbond_core::action::Action;
use oxbond_core::bond::Bond;
use oxbond_core::driver::{Pdus, Picture, PortAggregation};
use oxbond_core::engine::{Engine, EngineChoice};
use oxbond_core::event::Cause;
use oxbond_core::input::Input;
use oxbond_core::lacp::Counters;
use oxbond_core::option::{BondOptions, Mode, OptionChange, OptionId};
use oxbond_core::port::PortId;
use oxbond_core::status::MiiStatus;
use oxbond_core::table::{Receive, TransmitTable};
use oxbond_core::time::Instant;
use oxbond_linux::engine::kernel::KernelEngine;
use oxbond_linux::engine::{BondSpec, EngineError, Handover, Side};
use oxbond_linux::inspect;
use oxbond_linux::netlink::Netlink;
use oxbond_wire::lacp::{Information, State};
use tracing::{error, warn};

use super::EbpfBond;
use super::stage::{LOOK_INTERVAL, Stage};
use crate::control::protocol::BondRequest;
use crate::daemon::fault::fault_point;
use crate::daemon::kernel::LATE;
use crate::daemon::managed::options_asked;
use crate::daemon::moving::{MoveNote, gap_of_one, refused_down, refused_handover};
use crate::daemon::step::awake;
use crate::exit::Failure;
use crate::refusal::{engine_failure, kernel, refused, refused_as_port, refused_by_core};
use crate::request::{parse_options, parse_port_options};

/// The driver's bond that is to take the place of ours.
pub(super) struct Departing {
    driver: KernelEngine,
    /// The table is the relay's.
    relayed: bool,
    /// Nothing is left to do but to take ours apart.
    turned: bool,
    stage: Stage,
    /// When the next step is looked at.
    next_look: Instant,
}

/// What is under way to the last port when the others have taken over.
const UNDER_WAY: Duration = Duration::from_millis(300);

impl EbpfBond {
    /// What is asked of the driver: as of us, with the options that were asked for once or differ from our own defaults, as
    /// they are now, where that is not the driver's default.
    pub(in crate::daemon) fn wanted_at_driver(&self) -> BondRequest {
        let now = self.core.options();
        // They could be read when the bond was made.
        let asked = parse_options(&self.wanted.options).unwrap_or_default();
        let changed = now.changes_from(&BondOptions::own());
        let is_meant = |id: &&OptionId| {
            let of_it = |change: &OptionChange| change.id == **id;
            let is_known = id.spec().settable_in(true).contains(now.mode);
            let is_default = now.value(**id) == BondOptions::default().value(**id);
            is_known && !is_default && (asked.iter().any(of_it) || changed.iter().any(of_it))
        };
        let options = OptionId::ALL.iter().filter(is_meant);
        BondRequest {
            engine: EngineChoice::Only(Engine::Kernel),
            options: options.map(|id| (id.to_string(), now.text(*id))).collect(),
            ..self.wanted.clone()
        }
    }

    /// Begins to move the bond to the driver. Nothing of it is touched yet.
    pub(in crate::daemon) fn depart(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
    ) -> Result<Vec<String>, Failure> {
        self.refuse_while_moving()?;
        Handover::check(netlink, self.engine.ifindex()).map_err(refused_handover)?;
        let name = self.wanted.name.clone();
        if self.wanted.down {
            return Err(refused_down(&name));
        }
        let mut options = parse_options(&self.wanted_at_driver().options)?;
        // Its monitor asks nobody and hears nothing before addresses stand on it.
        options.retain(|change| !LATE.contains(&change.id) && change.id != OptionId::ArpInterval);
        let spec = BondSpec {
            name: name.clone(),
            mac: Some(self.core.mac()),
            mtu: Some(self.engine.mtu()),
            beside: true,
        };
        self.files.note_move(&MoveNote::beside(Engine::Kernel))?;
        let driver = match KernelEngine::create(netlink, &spec, &options) {
            Ok(driver) => driver,
            Err(e) => {
                // The failure that counts is the first one.
                if let Err(failure) = self.files.forget_move() {
                    warn!("while undoing: {failure}");
                }
                return Err(engine_failure(e));
            }
        };
        self.departing = Some(Departing {
            driver,
            relayed: false,
            turned: false,
            stage: Stage::Next,
            next_look: now,
        });
        let ports = self.expected();
        let mut said = vec![format!(
            "{name}: {} move{} to the kernel's driver, one after the other, and then its name",
            ports.join(", "),
            if ports.len() == 1 { "s" } else { "" }
        )];
        said.extend(gap_of_one(&name, &ports));
        Ok(said)
    }

    /// Carries out an action of the core; what it says of the table is not all while some ports, or all, are the driver's.
    pub(super) fn perform(
        &mut self,
        netlink: &mut Netlink,
        action: &Action,
    ) -> Result<(), EngineError> {
        let relayed = self.departing.as_ref().map(|departing| departing.relayed);
        match (action, relayed) {
            (Action::SetTransmitTable { .. } | Action::SetCarrier { .. }, Some(true)) => Ok(()),
            (Action::SetTransmitTable { table, cause }, Some(false)) => {
                let action = Action::SetTransmitTable {
                    table: self.with_lent(table.clone()),
                    cause: cause.clone(),
                };
                self.engine.perform(netlink, &action)
            }
            _ => self.engine.perform(netlink, action),
        }
    }

    /// What arrives on ports that are the driver's is delivered by us until we have turned.
    fn with_lent(&self, mut table: TransmitTable) -> TransmitTable {
        if let Receive::Ports(receivers) = &mut table.receive {
            let lent = self.lent();
            receivers.retain(|id| !lent.contains(id));
            receivers.extend(lent);
        }
        table
    }

    /// Ports of ours that are the driver's.
    fn lent(&self) -> Vec<PortId> {
        let ours = |id: &PortId| self.core.ports().any(|(known, _)| known == *id);
        self.engine
            .ports()
            .map(|(id, _)| id)
            .filter(|id| !ours(id))
            .collect()
    }

    /// When [`EbpfBond::depart_on`] has work.
    pub(super) fn departure_due(&self) -> Option<Instant> {
        self.departing
            .as_ref()
            .filter(|departing| !departing.turned)
            .map(|departing| departing.next_look)
    }

    /// The bond's name is the driver's; see [`EbpfBond::leave`].
    pub(in crate::daemon) fn has_departed(&self) -> bool {
        self.departing
            .as_ref()
            .is_some_and(|departing| departing.turned)
    }

    /// Takes ours apart. Answers what was asked for, the driver's bond, and what could not be done.
    pub(in crate::daemon) fn leave(
        mut self,
        netlink: &mut Netlink,
    ) -> Option<(BondRequest, KernelEngine, Vec<EngineError>)> {
        let Departing { mut driver, .. } = self.departing.take()?;
        let wanted = self.wanted_at_driver();
        let complaints = self.engine.withdraw(netlink);
        driver.rename(&wanted.name);
        Some((wanted, driver, complaints))
    }

    /// The next step of the port whose turn it is, if its time has come.
    pub(super) fn depart_on(&mut self, netlink: &mut Netlink, now: Instant) {
        if self.departure_due().is_none_or(|due| due > now) {
            return;
        }
        let Some(departing) = &mut self.departing else {
            return;
        };
        departing.next_look = now + LOOK_INTERVAL;
        self.acted = true;
        let stage = std::mem::replace(&mut departing.stage, Stage::Next);
        match self.next_departure(netlink, now, stage) {
            Ok(stage) => {
                if let Some(departing) = &mut self.departing {
                    departing.stage = stage;
                }
            }
            Err(failure) => {
                error!(
                    "{}: it stays on our own engine, and its ports come back: {failure}",
                    self.name()
                );
                self.stay(netlink, now);
            }
        }
    }

    fn next_departure(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        stage: Stage,
    ) -> Result<Stage, Failure> {
        match stage {
            Stage::Next => match self.core.status(now, &[]).ports.first() {
                Some(port) => {
                    let port = port.name.clone();
                    self.begin_leaving(netlink, now, port)
                }
                None => {
                    self.turn_away(netlink, now)?;
                    Ok(Stage::Next)
                }
            },
            Stage::Leaving { port, until } if now < until && !self.is_out(&port) => {
                Ok(Stage::Leaving { port, until })
            }
            Stage::Leaving { port, .. } => self.lend(netlink, now, port),
            Stage::Settling { port, until, since } => {
                let carries = works(&self.drivers_picture(netlink)?, &port);
                Ok(Stage::settled(port, until, since, now, carries))
            }
        }
    }

    fn begin_leaving(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        port: String,
    ) -> Result<Stage, Failure> {
        let Some(id) = self.port_named(&port) else {
            return Ok(Stage::Next);
        };
        if self.core.status(now, &[]).ports.len() == 1 && !self.lent().is_empty() {
            self.relay(netlink, now, Some(id))?;
            for frame in self.core.announcements() {
                let sent = self.engine.perform(netlink, &Action::SendFrame { frame });
                sent.map_err(engine_failure)?;
            }
            // Its partner stops sending when it hears that this is no part of the aggregate any more; what is under way
            // still arrives.
            self.tell(netlink, now, Input::RemovePort { port: id });
            return Ok(Stage::Leaving {
                port,
                until: now + UNDER_WAY,
            });
        }
        match self.feed(
            netlink,
            now,
            Input::Drain {
                port: id,
                out: true,
            },
        ) {
            Ok(()) => Ok(Stage::leaving(port, now)),
            Err(_) => self.lend(netlink, now, port),
        }
    }

    /// Gives a port to the driver's bond. What it receives comes here nevertheless.
    fn lend(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        port: String,
    ) -> Result<Stage, Failure> {
        let Some(id) = self.port_named(&port) else {
            return Ok(Stage::Next);
        };
        if self.core.ports().any(|(known, _)| known == id) {
            self.tell(netlink, now, Input::RemovePort { port: id });
        }
        // Not a word of it on the wire: its own address may be the bond's, and switches would look for that there.
        let (originals, complaints) = self.engine.part_with(netlink, id);
        for complaint in complaints {
            warn!("{}: {complaint}", self.name());
        }
        let candidate = inspect::inspect_port(netlink, self.name(), &port, &BTreeMap::new())
            .map_err(refused_as_port)?;
        let mode = self.core.options().mode;
        let options = awake(Engine::Kernel, mode, options_asked(&self.wanted, &port));
        let options = parse_port_options(&options)?;
        let Some(departing) = &mut self.departing else {
            return Ok(Stage::Next);
        };
        let driver = &mut departing.driver;
        let first = driver.ports().next().is_none();
        driver
            .add_port(netlink, &candidate, &options)
            .map_err(engine_failure)?;
        if let Some(originals) = originals.clone() {
            driver.remember(candidate.link.index, originals);
        }
        if first {
            // With its first port the driver waits for 8 s before it aggregates; with its being set up, for a moment.
            let index = driver.ifindex();
            netlink.set_down(index).map_err(kernel)?;
            netlink.set_up(index).map_err(kernel)?;
        }
        let id = self.free_id().unwrap_or(id);
        self.engine
            .borrow_port(netlink, id, candidate.link.index, candidate.mac)
            .map_err(engine_failure)?;
        if let Some(originals) = originals {
            self.engine.remember(id, originals);
        }
        for complaint in self.engine.receive(true, true) {
            warn!("{}: {complaint}", self.name());
        }
        let (table, cause) = (self.core.table().clone(), Cause::Start);
        self.perform(netlink, &Action::SetTransmitTable { table, cause })
            .map_err(engine_failure)?;
        Ok(Stage::settling(port, now))
    }

    fn drivers_picture(&self, netlink: &mut Netlink) -> Result<Picture, Failure> {
        match &self.departing {
            Some(departing) => departing.driver.picture(netlink).map_err(engine_failure),
            None => Err(refused(format!("{} does not move", self.name()))),
        }
    }

    /// From now on all is sent over the ports that are the driver's; what arrives on the last one of ours is delivered too.
    fn relay(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        last: Option<PortId>,
    ) -> Result<(), Failure> {
        let mut picture = self.drivers_picture(netlink)?;
        let aggregates = picture.options.mode == Mode::Ieee8023ad;
        let changes: Vec<(String, String)> = match picture.options.mode.has_active_port() {
            true => vec![("mode".into(), "active-backup".into())],
            false => vec![
                ("mode".into(), "balance-xor".into()),
                (
                    "xmit_hash_policy".into(),
                    picture.options.text(OptionId::XmitHashPolicy),
                ),
            ],
        };
        let changes: Vec<OptionChange> = parse_options(&changes)?;
        for port in &mut picture.ports {
            let place = self
                .port_at(port.ifindex)
                .map_or(0, |id| id.index() as u16 + 1);
            port.aggregation = Some(placed(place));
        }
        let mut relay = Bond::take_over(now, &picture, &changes).map_err(refused_by_core)?;
        while relay.poll_action().is_some() {}
        let mut table = relay.table().clone();
        match (&mut table.receive, last) {
            (Receive::Ports(receivers), Some(last)) => receivers.push(last),
            (Receive::Active, Some(last)) => {
                // In reserve, and heard until everybody looks for the bond elsewhere.
                table.order.push(last);
                table.linger = Some(last);
            }
            _ => {}
        }
        // Lent ports let LACPDUs pass, which only a table makes the programs look for.
        table.tap.slow_protocols = aggregates;
        let cause = Cause::Start;
        self.engine
            .perform(netlink, &Action::SetTransmitTable { table, cause })
            .map_err(engine_failure)?;
        if let Some(departing) = &mut self.departing {
            departing.relayed = true;
        }
        Ok(())
    }

    fn turn_away(&mut self, netlink: &mut Netlink, now: Instant) -> Result<(), Failure> {
        self.relay(netlink, now, None)?;
        let Some(departing) = &self.departing else {
            return Ok(());
        };
        let (front, device) = (self.engine.ifindex(), departing.driver.ifindex());
        let mut handover = Handover::prepare(netlink, front, device).map_err(refused_handover)?;
        let turned = handover
            .look(netlink)
            .map_err(refused_handover)
            .and_then(|()| {
                let wanted = serde_json::to_string(&self.wanted_at_driver()).unwrap_or_default();
                let note = MoveNote::turning(Engine::Kernel, handover.clone(), wanted);
                self.files.note_move(&note)
            })
            .and_then(|()| {
                let engine = &mut self.engine;
                let mut arrivals = 0;
                fault_point("noted", 0);
                handover
                    .turn(netlink, false, |_, side| {
                        fault_point("turn", arrivals);
                        arrivals += 1;
                        engine.receive(side == Side::Old, true)
                    })
                    .map_err(engine_failure)
            });
        match turned {
            Ok(complaints) => {
                for complaint in complaints {
                    warn!("{}: while it was moved: {complaint}", self.name());
                }
                if let Some(departing) = &mut self.departing {
                    departing.turned = true;
                }
                Ok(())
            }
            Err(failure) => {
                if let Err(e) = handover.abandon(netlink) {
                    warn!("while undoing: {e}");
                }
                Err(failure)
            }
        }
    }

    /// The driver gives back what it has. Returns what could not be done.
    pub(super) fn give_up_departing(&mut self, netlink: &mut Netlink) -> Vec<EngineError> {
        let lent = self.lent();
        let Some(Departing { driver, .. }) = self.departing.take() else {
            return Vec::new();
        };
        let mut complaints = Vec::new();
        for id in lent {
            complaints.extend(self.engine.forget_port(id).err());
        }
        complaints.extend(driver.destroy(netlink));
        complaints
    }

    /// The driver gives back what it has, and the ports join again.
    fn stay(&mut self, netlink: &mut Netlink, now: Instant) {
        for complaint in self.give_up_departing(netlink) {
            warn!("{}: while undoing: {complaint}", self.name());
        }
        let ports: Vec<PortId> = self.core.ports().map(|(id, _)| id).collect();
        for port in ports {
            let _ = self.feed(netlink, now, Input::Drain { port, out: false });
        }
        let (table, cause) = (self.core.table().clone(), Cause::Start);
        if let Err(e) = self.perform(netlink, &Action::SetTransmitTable { table, cause }) {
            warn!("{}: {e}", self.name());
        }
        self.rejoin_missing(netlink, now, &BTreeMap::new());
        if let Err(failure) = self.files.forget_move() {
            warn!("{failure}");
        }
    }
}

/// A port carries, as far as the driver knows.
fn works(picture: &Picture, port: &str) -> bool {
    let agreed = State::SYNC | State::COLLECTING | State::DISTRIBUTING;
    picture.ports.iter().any(|known| {
        known.name == port
            && known.link.is_usable()
            && known.mii_status == MiiStatus::Up
            && (picture.options.mode != Mode::Ieee8023ad
                || known
                    .aggregation
                    .as_ref()
                    .and_then(|part| Some((part.actor_state?, part.partner_state?)))
                    .is_some_and(|(ours, theirs)| ours & theirs & agreed.0 == agreed.0))
    })
}

/// Whatever makes a port of a picture have this place: its number in LACP.
fn placed(number: u16) -> PortAggregation {
    let nobody = Information {
        system_priority: 0,
        system: oxbond_wire::MacAddr::ZERO,
        key: 0,
        port_priority: 0,
        port: number,
        state: State(0),
    };
    PortAggregation {
        aggregator: None,
        actor_state: None,
        partner_state: None,
        churn: None,
        churned: (0, 0),
        pdus: Some(Pdus {
            actor: nobody,
            partner: nobody,
        }),
        counters: Counters::default(),
    }
}
