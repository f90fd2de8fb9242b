//! What is written down while a bond is moved from one engine to another, so that a daemon that is killed meanwhile is
//! followed by one that goes back, or finishes.
//!
//! | the note says | the next daemon |
//! |---|---|
//! | beside | takes the new device away; the bond is as it was |
//! | turning | turns again what is not turned yet, and takes the bond over on its new engine |

use std::path::Path;

use oxbond_core::engine::Engine;
use oxbond_linux::engine::{EbpfEngine, Handover, HandoverError, NAME_NEW, Side, clear_new};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::ebpf::EbpfBond;
use super::managed::ManagedBond;
use super::service::{Service, now};
use super::state::{BondFiles, SavedBond};
use crate::exit::Failure;
use crate::refusal::{kernel, refused};

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
    /// Content of the state file from then on.
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

impl Service {
    /// Moves a bond to the other engine while it works.
    pub(super) fn move_bond(&mut self, name: &str, engine: Engine) -> Result<Vec<String>, Failure> {
        match engine {
            Engine::Ebpf => self.move_to_us(name),
            Engine::Kernel => Err(refused(format!(
                "{name} cannot be moved to the driver while it works; take it apart and make it anew"
            ))),
        }
    }

    fn move_to_us(&mut self, name: &str) -> Result<Vec<String>, Failure> {
        let pins = self.pins()?.to_owned();
        let Some(ManagedBond::Kernel(bond)) = self.bonds.get(name) else {
            return Ok(Vec::new());
        };
        let (wanted, device) = (bond.wanted().clone(), bond.ifindex());
        let ports = bond.ports_as_they_were();
        let files = self.state.of(name);
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
                let mut left = EbpfEngine::clear_away(nl, &pins.join(name), NAME_NEW, None);
                left.extend(clear_new(nl));
                left
            }
            Some(Turning { handover, state }) => {
                info!("{name}: its move to engine {} is finished", note.to);
                let SavedBond::Ebpf(saved) = SavedBond::parse(&state)? else {
                    return Err("the note is of another engine".to_owned());
                };
                let (mut engine, _) =
                    EbpfEngine::adopt(nl, &pins.join(name), saved.engine).map_err(|e| text(&e))?;
                let complaints = handover
                    .turn(nl, true, |_, side| engine.receive(side == Side::New))
                    .map_err(|e| text(&e))?;
                files.save(state).map_err(|e| text(&e))?;
                complaints
            }
        };
        for complaint in complaints {
            warn!("{name}: {complaint}");
        }
        files.forget_move().map_err(|e| text(&e))
    }
}
