//! The kernel's bonding driver as a whole: which engine a bond gets, the bonds that the driver has, ours or not, and taking
//! them over.
//!
//! The driver tells of some things by a link event and of others (a partner in LACP) not at all, so the bonds on it are read
//! once a second besides, all of them at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use oxbond_core::driver::Picture;
use oxbond_core::engine::{self, Chosen, Engine, EngineChoice};
use oxbond_core::time::Instant;
use oxbond_linux::engine::kernel::{self as linux, KernelEngine, Presence};
use tracing::warn;

use super::kernel::{KernelBond, request_of};
use super::managed::ManagedBond;
use super::service::{Service, now};
use crate::control::protocol::BondRequest;
use crate::driver::picture_named;
use crate::exit::Failure;
use crate::network::{Running, RunningBond};
use crate::refusal::{engine_failure, kernel, refused};
use crate::request::choose_engine;

/// Time between two looks at the bonds on the driver.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What the daemon keeps of the driver.
pub(super) struct Driver {
    /// What `auto` stands for here.
    pub(super) auto: EngineChoice,
    /// When the bonds on it are read next.
    next_look: Option<Instant>,
    /// The last look failed, which was said.
    unread: bool,
}

impl Driver {
    /// `auto` is what that word stands for.
    pub(super) const fn new(auto: EngineChoice) -> Self {
        Self {
            auto,
            next_look: None,
            unread: false,
        }
    }

    /// When [`Service::look_at_driver`] has work.
    pub(super) const fn next_wake(&self) -> Option<Instant> {
        self.next_look
    }
}

/// The driver of the running kernel.
pub(super) fn state() -> engine::Driver {
    // A release without numbers is taken for one that has nothing new.
    let release = linux::release().unwrap_or((4, 0));
    match linux::presence() {
        Presence::Loaded => engine::Driver::There { release },
        Presence::Loadable => engine::Driver::Loadable { release },
        Presence::Missing { why, way_out } => engine::Driver::Missing { why, way_out },
    }
}

impl Service {
    /// The engine for a bond that is to be made, and why that one.
    pub(super) fn choose(&self, wanted: &BondRequest) -> Result<Chosen, Failure> {
        let asked = wanted.engine.or(self.driver.auto);
        choose_engine(asked, &state(), wanted)
    }

    /// What is due once a second.
    pub(super) fn look_at_driver(&mut self, now: Instant) {
        let mut bonds = self.bonds.values();
        let ours = bonds.any(|bond| bond.engine() == Engine::Kernel);
        self.driver.next_look = ours.then(|| now + LOOK_INTERVAL);
        if !ours {
            return;
        }
        let before = std::mem::take(&mut self.driver.unread);
        if let Err(failure) = self.read_driver(now) {
            if !before {
                warn!("cannot read the bonds of the driver, once a second from now on: {failure}");
            }
            self.driver.unread = true;
        }
    }

    /// Reads every bond on the driver, and tells those that are ours what has become of them. Answers the others, as a plan
    /// sees them.
    pub(super) fn read_driver(
        &mut self,
        now: Instant,
    ) -> Result<BTreeMap<String, RunningBond>, Failure> {
        let mut pictures = self.pictures()?;
        let on_driver = |bond: &ManagedBond| bond.engine() == Engine::Kernel;
        for name in self.those(on_driver) {
            self.with_bond(&name, |bond, netlink| {
                if let Some(bond) = bond.as_kernel_mut()
                    && let Some(picture) = pictures.remove(&bond.ifindex())
                {
                    bond.saw(netlink, now, picture);
                }
            });
        }
        let others = pictures.into_values().map(|picture| {
            let request = request_of(&picture);
            (
                picture.name.clone(),
                RunningBond::on_driver(request, &picture),
            )
        });
        Ok(others.collect())
    }

    /// Every bond on the driver, by its interface index.
    fn pictures(&mut self) -> Result<BTreeMap<u32, Picture>, Failure> {
        if linux::presence() != Presence::Loaded {
            return Ok(BTreeMap::new());
        }
        let pictures = linux::pictures(&mut self.netlink).map_err(kernel)?;
        let each = pictures.into_iter();
        Ok(each.map(|picture| (picture.ifindex, picture)).collect())
    }

    /// Name by which the bond with this device is under management.
    pub(super) fn renamed(&self, index: u32) -> Option<&str> {
        let mut ours = self.bonds.values();
        ours.find(|bond| bond.ifindex() == index)
            .map(ManagedBond::name)
    }

    /// A bond on the driver that is not under management.
    fn of_somebody_else(&mut self, name: &str) -> Result<Picture, Failure> {
        let Some(picture) = picture_named(&mut self.netlink, name)? else {
            return Err(refused(format!(
                "there is no bond {name} on the kernel's driver; 'oxbond status' shows those that there are"
            )));
        };
        if let Some(bond) = self.renamed(picture.ifindex) {
            return Err(refused(format!(
                "{name} is under management already, as {bond}, the name that it was made with"
            )));
        }
        self.refuse_left_over(name)?;
        Ok(picture)
    }

    /// Puts a bond under management that somebody else made on the driver.
    pub(super) fn take_over(&mut self, name: &str) -> Result<Vec<String>, Failure> {
        let picture = self.of_somebody_else(name)?;
        let files = self.state.of(name);
        let (bond, said) = KernelBond::take_over(&mut self.netlink, now(), files, picture)?;
        self.hold(ManagedBond::Kernel(Box::new(bond)));
        Ok(said)
    }

    /// Puts a bond under management, and on this engine; `auto` leaves it where it is.
    pub(super) fn adopt_bond(
        &mut self,
        name: &str,
        engine: EngineChoice,
    ) -> Result<Vec<String>, Failure> {
        let Some(bond) = self.bonds.get(name) else {
            return match engine {
                EngineChoice::Only(Engine::Ebpf) => {
                    let picture = self.of_somebody_else(name)?;
                    let device = picture.ifindex;
                    let over = KernelEngine::over(&mut self.netlink, device);
                    let ports = over.map_err(engine_failure)?.ports().cloned().collect();
                    self.take_to_us(request_of(&picture), device, ports)
                }
                _ => self.take_over(name),
            };
        };
        match engine {
            EngineChoice::Only(other) if other != bond.engine() => self.move_bond(name, other),
            _ => Ok(Vec::new()),
        }
    }

    /// Index of the driver's bond of this name, ours or not.
    pub(super) fn index_on_driver(&mut self, name: &str) -> Result<Option<u32>, Failure> {
        let link = self.netlink.link(name).map_err(kernel)?;
        let bond = link.filter(|link| link.kind.as_deref() == Some("bond"));
        Ok(bond.map(|bond| bond.index))
    }

    /// Makes the bond again that the driver's module had made by itself and that was to be replaced, unless it is there.
    pub(super) fn put_back_pristine(&mut self, name: &str) -> Result<(), Failure> {
        match self.netlink.link(name).map_err(kernel)? {
            Some(_) => Ok(()),
            None => {
                let made = self.netlink.create_bond(name, None, None, &[]);
                made.map_err(kernel)
            }
        }
    }

    /// Index of the bond of this name, if it is one that the driver's module made by itself while it was loaded (`max_bonds`)
    /// and that nobody has used since: nothing was set ([`Picture::is_pristine`]), and nothing stands on it.
    pub(super) fn pristine(&mut self, name: &str) -> Result<Option<u32>, Failure> {
        let nl = &mut self.netlink;
        let Some(picture) = picture_named(nl, name)?.filter(Picture::is_pristine) else {
            return Ok(None);
        };
        let running = Running::read(nl, &BTreeSet::new()).map_err(kernel)?;
        Ok((!running.is_used(name)).then_some(picture.ifindex))
    }
}
