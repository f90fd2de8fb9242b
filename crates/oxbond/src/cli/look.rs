//! The bonds there are, with a daemon or without: the daemon's, and those of the kernel's driver, whoever made them.
//!
//! | asked | a daemon answers | none answers, or not to this user |
//! |---|---|---|
//! | all | its bonds and the driver's | the driver's, and the names of ours that go on without a daemon |
//! | one | that, or why not | that if it is the driver's, or why not |

use std::collections::BTreeSet;
use std::path::Path;

use oxbond_linux::netlink::Netlink;

use super::unexpected;
use crate::control::client::Client;
use crate::control::protocol::{Reply, Request};
use crate::driver;
use crate::exit::{Blame, Failure};
use crate::paths::RunPaths;
use crate::refusal::{kernel, refused};
use crate::report::BondReport;

/// What there is.
pub(super) struct Look {
    /// The bonds, by name.
    pub(super) bonds: Vec<BondReport>,
    /// Bonds of our own engine that go on without a daemon, which is all that can be told of them.
    pub(super) orphans: BTreeSet<String>,
    /// The daemon, or why it was not asked.
    pub(super) daemon: Result<Client, Failure>,
}

impl Look {
    /// Every bond.
    ///
    /// # Errors
    /// What the daemon says, or the kernel.
    pub(super) fn at_all(run_root: &Path) -> Result<Self, Failure> {
        Self::new(run_root, None)
    }

    /// One bond.
    ///
    /// # Errors
    /// What the daemon says, or the kernel; there is no such bond.
    pub(super) fn at_one(run_root: &Path, name: &str) -> Result<(BondReport, Self), Failure> {
        let mut look = Self::new(run_root, Some(name))?;
        let place = look.bonds.iter().position(|bond| bond.status.name == name);
        match place {
            Some(place) => Ok((look.bonds.swap_remove(place), look)),
            None => Err(look.absent(name)),
        }
    }

    fn new(run_root: &Path, only: Option<&str>) -> Result<Self, Failure> {
        let paths = RunPaths::here(run_root);
        let socket = paths.as_ref().map(RunPaths::socket).map_err(Clone::clone);
        match socket.and_then(|socket| Client::connect(&socket)) {
            Ok(mut client) => {
                let bond = only.map(str::to_owned);
                let reply = client.call(Request::Status { bond })?;
                let Reply::Bonds { bonds, .. } = reply else {
                    return Err(unexpected(&reply));
                };
                Ok(Self {
                    bonds,
                    orphans: BTreeSet::new(),
                    daemon: Ok(client),
                })
            }
            Err(failure) => {
                let mut netlink = Netlink::open().map_err(kernel)?;
                let one = only.map(|name| driver::unmanaged_one(&mut netlink, name));
                let mut bonds = match one.transpose()?.flatten() {
                    Some(bond) => vec![bond],
                    None => driver::unmanaged(&mut netlink, |_| true)?,
                };
                let mut orphans = paths.map(|paths| paths.saved_bonds()).unwrap_or_default();
                for bond in &mut bonds {
                    if failure.blame == Blame::Permission {
                        "whether a daemon has it under management only root is told"
                            .clone_into(&mut bond.engine.why);
                    }
                    if orphans.remove(&bond.status.name) {
                        "the daemon that has it under management does not run"
                            .clone_into(&mut bond.engine.why);
                    }
                }
                Ok(Self {
                    bonds,
                    orphans,
                    daemon: Err(failure),
                })
            }
        }
    }

    /// Why a bond is not among these.
    fn absent(self, name: &str) -> Failure {
        let Err(failure) = self.daemon else {
            // It is asked, and says so itself.
            return Failure::new(Blame::Bug, format!("the daemon did not tell of {name}"));
        };
        if self.orphans.contains(name) {
            let why = format!("{name} is carried by our own engine and goes on, but {failure}");
            return Failure::new(failure.blame, why);
        }
        if failure.blame == Blame::Permission {
            let why = format!("the kernel's driver has no bond {name}; {failure}");
            return Failure::new(Blame::Permission, why);
        }
        let known: Vec<&str> = self
            .bonds
            .iter()
            .map(|bond| bond.status.name.as_str())
            .collect();
        refused(match known.as_slice() {
            [] => format!("there is no bond {name}, nor any other; no daemon runs here"),
            known => format!(
                "there is no bond {name}; the kernel's driver has {}, and no daemon runs here",
                known.join(", ")
            ),
        })
    }
}
