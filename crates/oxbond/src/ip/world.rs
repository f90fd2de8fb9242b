//! What is ours in this network namespace: the bonds and ports of its daemon.

use std::collections::BTreeSet;
use std::path::Path;

use oxbond_linux::netlink::{Link, Netlink};

use super::Complaint;
use crate::control::client::Client;
use crate::control::protocol::{Reply, Request};
use crate::exit::{Blame, Failure};
use crate::paths::RunPaths;
use crate::report::BondReport;

/// The daemon, its bonds, and the interfaces around them.
pub(super) struct World {
    daemon: Result<Client, Failure>,
    /// Bonds that go on without a daemon.
    orphans: BTreeSet<String>,
    /// Bonds of the daemon.
    pub(super) bonds: Vec<BondReport>,
}

impl World {
    /// Asks the daemon. Without one there are no bonds, but the names of those that go on.
    pub(super) fn look(run_root: &Path) -> Self {
        let paths = match RunPaths::here(run_root) {
            Ok(paths) => paths,
            Err(failure) => return Self::without_daemon(failure, BTreeSet::new()),
        };
        let asked = Client::connect(&paths.socket()).and_then(|mut client| {
            let reply = client.call(Request::Status { bond: None })?;
            Ok((client, reply))
        });
        match asked {
            Ok((client, Reply::Bonds { mut bonds, .. })) => {
                bonds.retain(|bond| bond.engine.managed);
                Self {
                    daemon: Ok(client),
                    orphans: BTreeSet::new(),
                    bonds,
                }
            }
            Ok((_, other)) => {
                let why = format!("the daemon gave an answer of the wrong kind: {other:?}");
                Self::without_daemon(Failure::new(Blame::Bug, why), BTreeSet::new())
            }
            Err(failure) => {
                // Those on the driver, too: the next daemon would undo what is done to them behind its back.
                Self::without_daemon(failure, paths.saved_bonds())
            }
        }
    }

    fn without_daemon(failure: Failure, orphans: BTreeSet<String>) -> Self {
        Self {
            daemon: Err(failure),
            orphans,
            bonds: Vec::new(),
        }
    }

    /// Asks the daemon for a change.
    pub(super) fn call(&mut self, request: Request) -> Result<(), Complaint> {
        let client = match &mut self.daemon {
            Ok(client) => client,
            Err(failure) => return Err(failure.clone().into()),
        };
        client.call(request)?;
        Ok(())
    }

    /// All interfaces.
    pub(super) fn links(&self) -> Result<Vec<Link>, Complaint> {
        let links = Netlink::open()
            .map_err(|e| e.to_string())
            .and_then(|mut netlink| netlink.links().map_err(|e| e.to_string()));
        links.map_err(|e| Complaint::ours(format!("cannot list the interfaces: {e}")))
    }

    /// An interface.
    pub(super) fn link(&self, name: &str) -> Result<Option<Link>, Complaint> {
        let links = self.links()?;
        Ok(links.into_iter().find(|link| link.name == name))
    }

    /// The daemon's name of the bond whose front device has this name.
    pub(super) fn bond(&self, device: &str) -> Result<Option<String>, Complaint> {
        if let (Err(failure), true) = (&self.daemon, self.orphans.contains(device)) {
            return Err(failure.clone().into());
        }
        if self.bonds.is_empty() {
            return Ok(None);
        }
        let index = self.link(device)?.map(|link| link.index);
        let bonds = &mut self.bonds.iter();
        let bond = bonds.find(|bond| Some(bond.engine.bond_ifindex) == index);
        Ok(bond.map(|bond| bond.status.name.clone()))
    }

    /// The bond whose port the device is, and the daemon's name of the port.
    pub(super) fn port(&self, device: &str) -> Result<Option<(String, String)>, Complaint> {
        if self.bonds.is_empty() {
            return Ok(None);
        }
        let index = self.link(device)?.map(|link| link.index);
        let found = self.bonds.iter().find_map(|bond| {
            let ports = &mut bond.status.ports.iter();
            let port = ports.find(|port| Some(port.ifindex) == index)?;
            Some((bond.status.name.clone(), port.name.clone()))
        });
        Ok(found)
    }
}
