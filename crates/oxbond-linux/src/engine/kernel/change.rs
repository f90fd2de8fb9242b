//! Changing the options of a running bond, with the shortest interruption, and all or none of them.
//!
//! ```text
//!   Scene of before ─► down? ports out? ─► options, in one message ─► read back ─► ports in, up, belongings back
//!                                             │ refused, or another value shown
//!                                             └──► the options of before, by the same way ─► the same end
//! ```
//!
//! The driver sets what one message says one by one, in its own order, and keeps what came before a refusal; one that does
//! not know an option passes over it in silence. So everything is read back, and going back is a change like any other.

use oxbond_core::driver::{Picture, PortPicture, interruption};
use oxbond_core::option::{BondContext, BondOptions, Kind, OptionChange, OptionId, OptionValue};

use serde::{Deserialize, Serialize};

use super::belongings::Belongings;
use super::difference;
use super::engine::KernelEngine;
use super::presence::release;
use crate::engine::EngineError;
use crate::error::KernelError;
use crate::netlink::Netlink;

/// Setting `miimon` moves the delays, and a mode some options, that the first message may have set before.
const ROUNDS: usize = 2;

/// A bond as it was before a change, with what the kernel drops while it is set down. Whoever keeps it can put everything back
/// with [`KernelEngine::go_back_to`] where the process that made the change died in the middle.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scene {
    before: Picture,
    /// Taken down before the first interruption.
    belongings: Option<Belongings>,
}

/// Keeps a [`Scene`] until the change is over. Its failure is the change's, before anything is interrupted.
pub type Keep<'a> = dyn FnMut(&Scene) -> Result<(), KernelError> + 'a;

impl KernelEngine {
    /// Sets options, in the order that the driver needs. Those that it takes only while the bond is down, or empty, are
    /// set by setting it down, or taking its ports out, for as long as that takes; [`interruption`] says beforehand which.
    /// Ports join again in their order, with their options; what the kernel drops of addresses and routes is put back.
    /// No write where nothing differs. What is to be interrupted goes to `keep` first.
    ///
    /// # Errors
    /// The driver's refusals; [`EngineError::NotTaken`] when it shows another value than asked for;
    /// [`EngineError::Option`] for a set that no bond could have. Everything is then as it was.
    /// [`EngineError::NotPutBack`] when all is as asked, but for an address or a route.
    pub fn set_options(
        &mut self,
        nl: &mut Netlink,
        changes: &[OptionChange],
        keep: &mut Keep<'_>,
    ) -> Result<(), EngineError> {
        difference::check_the_drivers(self.name(), changes)?;
        let before = self.picture(nl)?;
        let is_active = |change: &&OptionChange| change.id == OptionId::ActiveSlave;
        let active = changes.iter().find(is_active).cloned();
        let lasting: Vec<_> = changes
            .iter()
            .filter(|change| !is_active(change))
            .cloned()
            .collect();
        // As if it were down and empty: that is seen to here.
        let want = before
            .options
            .apply(&lasting, &BondContext::default())?
            .options;
        let ids: Vec<OptionId> = lasting.iter().map(|change| change.id).collect();
        let mut scene = Scene {
            before,
            belongings: None,
        };
        let done = self
            .write(nl, &mut scene, &want, &ids, keep)
            .and_then(|()| self.reinstate(nl, &scene))
            .and_then(|()| match &active {
                Some(change) => self.make_active(nl, change),
                None => Ok(()),
            });
        match done {
            Ok(()) => self.put_back(nl, &scene),
            Err(error) => {
                let left = self.go_back(nl, &mut scene, keep);
                Err(error.after_undo(left))
            }
        }
    }

    /// Makes everything as it was before a change that a process died in the middle of. Goes on to the end; returns what could
    /// not be done.
    pub fn go_back_to(&mut self, nl: &mut Netlink, mut scene: Scene) -> Vec<EngineError> {
        // It is kept already.
        self.go_back(nl, &mut scene, &mut |_| Ok(()))
    }

    /// Makes the options of a bond that was just made those wanted, and reads all of them back.
    pub(super) fn write_new(
        &self,
        nl: &mut Netlink,
        before: Picture,
        want: &BondOptions,
    ) -> Result<(), EngineError> {
        let mut scene = Scene {
            before,
            belongings: None,
        };
        // A bond that is half made is taken apart, whatever it has.
        self.write(nl, &mut scene, want, OptionId::ALL, &mut |_| Ok(()))
    }

    /// Makes the options those wanted, and reads them back. The bond may then be down, and without its ports.
    fn write(
        &self,
        nl: &mut Netlink,
        scene: &mut Scene,
        want: &BondOptions,
        ids: &[OptionId],
        keep: &mut Keep<'_>,
    ) -> Result<(), EngineError> {
        let mut changed = ids.to_vec();
        for _ in 0..ROUNDS {
            let now = self.picture(nl)?;
            let first = difference::parting_changes(&now.options, want);
            let then = difference::changes(&now.options, want);
            let all: Vec<_> = first.iter().chain(&then).cloned().collect();
            if let Some(interruption) = interruption(&all, &now) {
                if scene.belongings.is_none() {
                    scene.belongings = Some(Belongings::of(nl, self.ifindex())?);
                    keep(scene)?;
                }
                if interruption.kind.is_down() {
                    nl.set_down(self.ifindex())?;
                }
                if interruption.kind.is_emptied() {
                    for port in now.ports.iter().rev() {
                        passing_over_gone(nl.set_master(port.ifindex, None))?;
                    }
                }
            }
            for changes in [first, then] {
                if !changes.is_empty() {
                    nl.set_bond_options(self.ifindex(), &changes)
                        .map_err(|cause| refused(cause, &changes))?;
                }
            }
            changed.extend(all.iter().map(|change| change.id));
        }
        difference::check(&self.picture(nl)?, want, changed)
    }

    /// Ports and the up state as before. A port that vanished in the meantime is fine.
    fn reinstate(&self, nl: &mut Netlink, scene: &Scene) -> Result<(), EngineError> {
        let before = &scene.before;
        let now = self.picture(nl)?;
        let is_in =
            |port: &&PortPicture| now.ports.iter().any(|in_it| in_it.ifindex == port.ifindex);
        let out: Vec<_> = before.ports.iter().filter(|port| !is_in(port)).collect();
        if !out.is_empty() && now.ports.is_empty() && now.mac != before.mac {
            // An empty bond has a random one, and would take that of the first port.
            nl.set_mac(self.ifindex(), before.mac)?;
        }
        for port in out {
            passing_over_gone(self.join(nl, port.ifindex))?;
        }
        let now = self.picture(nl)?;
        for port in &now.ports {
            let Some(was) = before.ports.iter().find(|was| was.ifindex == port.ifindex) else {
                continue;
            };
            let mode = now.options.mode;
            let changes = difference::port_changes(&port.options, &was.options, mode);
            if !changes.is_empty() {
                passing_over_gone(nl.set_bond_port_options(port.ifindex, &changes))?;
            }
        }
        if before.up && !now.up {
            nl.set_up(self.ifindex())?;
        }
        if now.up && !before.up {
            nl.set_down(self.ifindex())?;
        }
        self.active_as_before(nl, before)
    }

    /// The driver chose anew while the ports joined. A port that cannot be active now is no reason to fail.
    fn active_as_before(&self, nl: &mut Netlink, before: &Picture) -> Result<(), EngineError> {
        let Some(was) = &before.active_port else {
            return Ok(());
        };
        let now = self.picture(nl)?;
        if now.options.mode.has_active_port()
            && now.options.primary.is_none()
            && now.active_port.as_ref().is_some_and(|active| active != was)
            && now.ports.iter().any(|port| port.name == *was)
        {
            let change = OptionChange {
                id: OptionId::ActiveSlave,
                value: OptionValue::Name(was.clone()),
            };
            let _ = nl.set_bond_options(self.ifindex(), &[change]);
        }
        Ok(())
    }

    fn put_back(&self, nl: &mut Netlink, scene: &Scene) -> Result<(), EngineError> {
        let left = match &scene.belongings {
            Some(belongings) => belongings.put_back(nl),
            None => Vec::new(),
        };
        if left.is_empty() {
            return Ok(());
        }
        Err(EngineError::NotPutBack {
            bond: self.name().to_owned(),
            left,
        })
    }

    /// Everything as before; what could not be done.
    fn go_back(
        &self,
        nl: &mut Netlink,
        scene: &mut Scene,
        keep: &mut Keep<'_>,
    ) -> Vec<EngineError> {
        let options = scene.before.options.clone();
        let known = scene.before.known.clone();
        let written = self.write(nl, scene, &options, &known, keep);
        let reinstated = self.reinstate(nl, scene);
        let put_back = self.put_back(nl, scene);
        [written, reinstated, put_back]
            .into_iter()
            .filter_map(Result::err)
            .collect()
    }

    /// Makes a port the active one, or lets the driver choose.
    pub(super) fn make_active(
        &self,
        nl: &mut Netlink,
        change: &OptionChange,
    ) -> Result<(), EngineError> {
        nl.set_bond_options(self.ifindex(), std::slice::from_ref(change))?;
        let picture = self.picture(nl)?;
        let asked = change.text();
        if asked.is_empty() || picture.active_port.as_ref() == Some(&asked) {
            return Ok(());
        }
        Err(EngineError::NotTaken {
            bond: picture.name,
            option: change.id.name().to_owned(),
            asked,
            shown: Some(picture.active_port.unwrap_or_default()),
            since: None,
        })
    }

    /// Makes an interface a port, as the driver wants it: down. It sets it up.
    pub(super) fn join(&self, nl: &mut Netlink, port: u32) -> Result<(), KernelError> {
        let missing = || KernelError::new("find", format!("interface {port}"), libc::ENODEV);
        let link = nl.link_by_index(port)?.ok_or_else(missing)?;
        if link.master == Some(self.ifindex()) {
            return Ok(());
        }
        if link.up {
            nl.set_down(port)?;
        }
        nl.set_master(port, Some(self.ifindex()))
    }
}

fn passing_over_gone(result: Result<(), KernelError>) -> Result<(), KernelError> {
    match result {
        Err(error) if error.is_gone() => Ok(()),
        other => other,
    }
}

/// The driver's refusal of one of these, with the kernel that knows it where this one is too old.
pub(super) fn refused(cause: KernelError, changes: &[OptionChange]) -> EngineError {
    let too_new = |change: &&OptionChange| {
        let since = word_since(change)?;
        release().is_some_and(|now| now < since).then_some(since)
    };
    match changes
        .iter()
        .find_map(|change| Some((change, too_new(&change)?)))
    {
        Some((change, since)) if cause.errno == libc::EINVAL => EngineError::TooNew {
            option: change.to_string(),
            since,
            cause,
        },
        _ => cause.into(),
    }
}

/// Kernel that a word came with, where it came after its option.
fn word_since(change: &OptionChange) -> Option<(u8, u8)> {
    let Kind::Words(words) = change.id.spec().kind else {
        return None;
    };
    let word = words
        .iter()
        .find(|word| change.value == OptionValue::Number(word.code.into()))?;
    word.since
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_blames_the_age_of_the_kernel_where_that_is_to_blame() {
        let change = |word: &str| {
            let (name, value) = word.split_once('=').unwrap();
            OptionChange::parse(name, value).unwrap()
        };
        assert_eq!(
            word_since(&change("ad_select=actor_port_prio")),
            Some((6, 18))
        );
        assert_eq!(word_since(&change("ad_select=count")), None);
        assert_eq!(word_since(&change("miimon=100")), None);
        let cause = || KernelError::new("set", "bond0", libc::EBUSY);
        assert!(matches!(
            refused(cause(), &[change("ad_select=actor_port_prio")]),
            EngineError::Kernel(_)
        ));
    }
}
