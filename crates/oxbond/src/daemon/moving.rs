//! What is written down while a bond is moved from one engine to another, so that a daemon that is killed meanwhile is
//! followed by one that goes back, or finishes.
//!
//! | the note says | the next daemon |
//! |---|---|
//! | beside | takes the new device away; the bond is as it was |
//! | turning | turns again what is not turned yet, and takes the bond over on its new engine |

use std::path::Path;

use oxbond_core::engine::Engine;
use oxbond_linux::engine::kernel::{KernelEngine, KernelPort};
use oxbond_linux::engine::{
    EbpfEngine, EngineError, Handover, HandoverError, NAME_NEW, PortRecord, Side, clear_new,
};
use oxbond_linux::netlink::Netlink;
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::driver;
use super::ebpf::EbpfBond;
use super::fault::fault_point;
use super::kernel::KernelBond;
use super::managed::ManagedBond;
use super::service::{Service, now};
use super::state::{BondFiles, SavedBond};
use crate::control::protocol::BondRequest;
use crate::exit::Failure;
use crate::refusal::{kernel, refused};
use crate::request::choose_engine;

/// How far a move has come.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MoveNote {
    /// Where it goes.
    pub(super) to: Engine,
    /// What it has when it turns.
    pub(super) turning: Option<Turning>,
}

/// All that is needed to finish.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Turning {
    /// What stands on the devices.
    pub(super) handover: Handover,
    /// At our own engine, the content of the state file from then on; at the driver, what was asked for.
    pub(super) state: String,
}

impl MoveNote {
    /// The new device is about to be made.
    pub(super) const fn beside(to: Engine) -> Self {
        Self { to, turning: None }
    }

    /// It is about to take the place of the old one.
    pub(super) const fn turning(to: Engine, handover: Handover, state: String) -> Self {
        Self {
            to,
            turning: Some(Turning { handover, state }),
        }
    }
}

/// A refusal to hand over: the user's configuration is in the way, or the kernel.
pub(super) fn refused_handover(e: HandoverError) -> Failure {
    match e {
        HandoverError::Kernel(e) => kernel(e),
        other => refused(other),
    }
}

/// A bond that is down carries nothing, so there is nothing to keep up while it moves.
pub(super) fn refused_down(name: &str) -> Failure {
    refused(format!(
        "{name} is down: set it up first, or take it apart and make it anew"
    ))
}

/// What is to be said before the only port of a bond changes hands.
pub(super) fn gap_of_one(name: &str, ports: &[String]) -> Option<String> {
    (ports.len() == 1).then(|| {
        format!(
            "{name}: it has one port, so nothing is carried while that changes hands: until its link is back"
        )
    })
}

impl Service {
    /// Moves a bond to the other engine while it works.
    pub(super) fn move_bond(&mut self, name: &str, engine: Engine) -> Result<Vec<String>, Failure> {
        match engine {
            Engine::Ebpf => self.move_to_us(name),
            Engine::Kernel => self.move_to_driver(name),
        }
    }

    fn move_to_driver(&mut self, name: &str) -> Result<Vec<String>, Failure> {
        let Some(ManagedBond::Ebpf(bond)) = self.bonds.get(name) else {
            return Ok(Vec::new());
        };
        let wanted = bond.wanted_at_driver();
        choose_engine(wanted.engine, &driver::state(), &wanted)?;
        self.change(name, |bond, netlink, now| match bond.as_ebpf_mut() {
            Some(bond) => bond.depart(netlink, now),
            None => Ok(Vec::new()),
        })
    }

    /// A bond whose name is the driver's now is held as that.
    pub(super) fn see_off(&mut self, name: &str) {
        let departed = |bond: &ManagedBond| bond.as_ebpf().is_some_and(EbpfBond::has_departed);
        if !self.bonds.get(name).is_some_and(departed) {
            return;
        }
        let Some(ManagedBond::Ebpf(bond)) = self.bonds.remove(name) else {
            return;
        };
        let Some((wanted, engine, complaints)) = bond.leave(&mut self.netlink) else {
            return;
        };
        for complaint in complaints {
            warn!("{name}: while it was moved: {complaint}");
        }
        fault_point("turned", 0);
        let files = self.state.of(name);
        let nl = &mut self.netlink;
        match KernelBond::moved_here(nl, now(), files, wanted, engine) {
            Ok(bond) => {
                info!("{name}: carried by the kernel's driver now");
                self.hold(ManagedBond::Kernel(Box::new(bond)));
            }
            Err(failure) => {
                error!("{name}: it is the driver's now, but not under our care: {failure}")
            }
        }
    }

    fn move_to_us(&mut self, name: &str) -> Result<Vec<String>, Failure> {
        let Some(ManagedBond::Kernel(bond)) = self.bonds.get(name) else {
            return Ok(Vec::new());
        };
        let (wanted, device) = (bond.wanted().clone(), bond.ifindex());
        let ports = bond.ports_as_they_were();
        self.take_to_us(wanted, device, ports)
    }

    /// Moves a bond of the driver to our own engine, whether it is under management or not.
    pub(super) fn take_to_us(
        &mut self,
        wanted: BondRequest,
        device: u32,
        ports: Vec<KernelPort>,
    ) -> Result<Vec<String>, Failure> {
        let pins = self.pins()?.to_owned();
        let files = self.state.of(&wanted.name);
        let nl = &mut self.netlink;
        let (bond, said) = EbpfBond::take_over(nl, now, &pins, files, wanted, device, ports)?;
        self.hold(ManagedBond::Ebpf(Box::new(bond)));
        Ok(said)
    }

    /// A daemon was killed while it moved this bond: goes back or on.
    pub(super) fn finish_move(
        &mut self,
        name: &str,
        files: &mut BondFiles,
        note: MoveNote,
    ) -> Result<(), String> {
        let text = |e: &dyn std::fmt::Display| e.to_string();
        let pins = self.pins().map(Path::to_owned).map_err(|e| text(&e))?;
        let nl = &mut self.netlink;
        let complaints = match note.turning {
            None => {
                info!("{name}: its move to engine {} had not begun yet", note.to);
                let mut left = match note.to {
                    Engine::Ebpf => EbpfEngine::clear_away(nl, &pins.join(name), NAME_NEW, None),
                    Engine::Kernel => Vec::new(),
                };
                left.extend(clear_new(nl));
                left
            }
            Some(Turning { handover, state }) => {
                info!("{name}: its move to engine {} is finished", note.to);
                match note.to {
                    Engine::Ebpf => {
                        let complaints = finish_at_ours(nl, &pins.join(name), &handover, &state)?;
                        files.save(state).map_err(|e| text(&e))?;
                        complaints
                    }
                    Engine::Kernel => {
                        let wanted: BondRequest =
                            serde_json::from_str(&state).map_err(|e| text(&e))?;
                        let (ports, complaints) =
                            finish_at_driver(nl, &pins.join(name), &handover, files)?;
                        let device = handover.new_device().unwrap_or_default();
                        let mut engine = KernelEngine::over(nl, device).map_err(|e| text(&e))?;
                        for port in ports {
                            engine.remember(port.ifindex, port.originals);
                        }
                        let files = self.state.of(name);
                        KernelBond::moved_here(nl, now(), files, wanted, engine)
                            .map_err(|e| text(&e))?;
                        complaints
                    }
                }
            }
        };
        for complaint in complaints {
            warn!("{name}: {complaint}");
        }
        files.forget_move().map_err(|e| text(&e))
    }
}

fn finish_at_ours(
    nl: &mut Netlink,
    pin_dir: &Path,
    handover: &Handover,
    state: &str,
) -> Result<Vec<EngineError>, String> {
    let SavedBond::Ebpf(saved) = SavedBond::parse(state)? else {
        return Err("the note is of another engine".to_owned());
    };
    let (mut engine, _) =
        EbpfEngine::adopt(nl, pin_dir, saved.engine).map_err(|e| e.to_string())?;
    handover
        .turn(nl, true, |_, side| engine.receive(side == Side::New, false))
        .map_err(|e| e.to_string())
}

/// Our own data path goes when the driver's device has everything, as it would have. Answers how the ports were before they
/// were anybody's, and what could not be done.
fn finish_at_driver(
    nl: &mut Netlink,
    pin_dir: &Path,
    handover: &Handover,
    files: &mut BondFiles,
) -> Result<(Vec<PortRecord>, Vec<EngineError>), String> {
    let mut ours = match files.load() {
        Ok(SavedBond::Ebpf(saved)) => EbpfEngine::adopt(nl, pin_dir, saved.engine).ok(),
        _ => None,
    };
    let ports = ours.iter().flat_map(|(engine, _)| &engine.record().ports);
    let ports = ports.cloned().collect();
    let arrive = |_: &mut Netlink, side| match &mut ours {
        Some((engine, _)) => engine.receive(side == Side::Old, true),
        None => Vec::new(),
    };
    let turned = handover.turn(nl, false, arrive);
    let mut complaints = turned.map_err(|e| e.to_string())?;
    if let Some((engine, _)) = ours {
        complaints.extend(engine.withdraw(nl));
    }
    Ok((ports, complaints))
}
