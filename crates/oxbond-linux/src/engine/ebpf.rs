//! The eBPF engine: one value carries one bond.
//!
//! ```text
//!            user's side                      data path's side
//!   stack ──► bond0 ──(pair)── ox.bond0 ──► bond_tx ──► port
//!   stack ◄── bond0 ──(pair)── ox.bond0 ◄── port_rx ◄── port
//! ```
//!
//! The pair is netkit where the kernel has it and the data path can attach to it, veth otherwise. The bond's carrier is
//! the state of its inner end: down there means no carrier here. Everything the engine makes outlives it; a later
//! daemon takes it over with [`EbpfEngine::adopt`] and the [`EngineRecord`] that this one left.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use oxbond_core::action::Action;
use oxbond_core::port::{LinkState, PortId, PortInfo};
use oxbond_core::table::TransmitTable;
use oxbond_datapath::{
    Arrivals, Counters, DataPath, DatapathError, Front, FrontKind, Hooks, Loads, Record,
};
use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use super::drift::{Drift, Kind};
use super::port::{self, Originals, PortRecord, Wanted};
use super::{EngineError, front};
use crate::error::KernelError;
use crate::ethtool::{self, LinkSettings};
use crate::igmp;
use crate::inspect::{self, Candidate};
use crate::netlink::{Link, Netlink};
use crate::packet::FrameSender;

/// What a bond starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BondSpec {
    /// Name of the front device; see [`inspect::check_bond_name`].
    pub name: String,
    /// Address of the front device; the kernel makes one up if there is none.
    pub mac: Option<MacAddr>,
    /// MTU of the front device and its ports, see [`inspect::check_mtus`]; 1500 if there is none.
    pub mtu: Option<u32>,
    /// Another device has the name, and the place on the wire: the front device is made as [`super::NAME_NEW`] and sends
    /// nothing by itself, until a [`super::Handover`].
    pub beside: bool,
}

/// What a later engine must know to take over. Serialised by the daemon after every change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineRecord {
    /// Name of the bond, last known.
    pub bond: String,
    /// Index of the front device.
    pub ifindex: u32,
    /// Index of its inner end.
    pub inner: u32,
    /// MTU of the bond and its ports.
    pub mtu: u32,
    /// The ports were set promiscuous because the bond is.
    pub promisc: bool,
    /// The bond has carrier.
    pub carrier: bool,
    /// Why it has this kind of front device: what the better ones failed by. Empty for the best.
    pub front_why: String,
    /// Its ports, in order of joining.
    pub ports: Vec<PortRecord>,
}

/// What a bond is made of, for status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Kind of the front device.
    pub front: FrontKind,
    /// What the better kinds failed by. Empty for the best.
    pub front_why: String,
    /// How the programs hang on the devices.
    pub hooks: Hooks,
}

/// One bond in the kernel.
#[derive(Debug)]
pub struct EbpfEngine {
    record: EngineRecord,
    data_path: DataPath,
    pin_dir: PathBuf,
    sender: FrameSender,
    settings: Vec<KnownSettings>,
}

/// Speed and duplex of a port, asked again when its carrier has come or gone since.
#[derive(Debug)]
struct KnownSettings {
    port: PortId,
    at_carrier_changes: u32,
    settings: LinkSettings,
}

/// Longest time until the kernel has detached a program whose link lost its last pin.
const LINK_GONE: Duration = Duration::from_secs(1);

impl EbpfEngine {
    /// Makes the front device and its data path, pinned in `pin_dir` (a directory of a BPF file system, made here). The
    /// bond is up, without ports and carrier.
    ///
    /// # Errors
    /// The kernel's refusals; everything is then as it was.
    pub fn create(nl: &mut Netlink, pin_dir: &Path, spec: &BondSpec) -> Result<Self, EngineError> {
        let sender = FrameSender::open()?;
        let mut failures: Vec<(FrontKind, EngineError)> = Vec::new();
        for kind in [FrontKind::Netkit, FrontKind::Veth] {
            match Self::create_front(nl, pin_dir, spec, kind) {
                Ok((mut record, data_path)) => {
                    record.front_why = reasons(&failures);
                    let pin_dir = pin_dir.to_owned();
                    return Ok(Self {
                        record,
                        data_path,
                        pin_dir,
                        sender,
                        settings: Vec::new(),
                    });
                }
                Err(error) if error.spares_another_try() => return Err(error),
                Err(error) => failures.push((kind, error)),
            }
        }
        // A kernel that never heard of a kind is no news beside why the next one failed.
        failures.retain(|(_, error)| {
            !matches!(
                error,
                EngineError::Kernel(KernelError {
                    errno: libc::EOPNOTSUPP,
                    ..
                })
            )
        });
        match failures.pop() {
            Some((_, only)) if failures.is_empty() => Err(only),
            last => {
                failures.extend(last);
                Err(EngineError::NoFront {
                    bond: spec.name.clone(),
                    reasons: reasons(&failures),
                })
            }
        }
    }

    fn create_front(
        nl: &mut Netlink,
        pin_dir: &Path,
        spec: &BondSpec,
        kind: FrontKind,
    ) -> Result<(EngineRecord, DataPath), EngineError> {
        let pair = front::create(nl, kind, spec)?;
        let front = Front {
            kind,
            bond_ifindex: pair.bond,
            inner_ifindex: pair.inner,
        };
        let made = DataPath::install(pin_dir, front)
            .map_err(EngineError::from)
            .and_then(|data_path| {
                let bond = nl
                    .link_by_index(pair.bond)?
                    .ok_or_else(|| EngineError::Vanished {
                        bond: spec.name.clone(),
                    })?;
                Ok((bond, data_path))
            });
        match made {
            Ok((bond, data_path)) => {
                let record = EngineRecord {
                    bond: bond.name,
                    ifindex: pair.bond,
                    inner: pair.inner,
                    mtu: bond.mtu,
                    promisc: false,
                    carrier: false,
                    front_why: String::new(),
                    ports: Vec::new(),
                };
                Ok((record, data_path))
            }
            Err(error) => {
                let left = front::delete(nl, pair.bond).err().map(EngineError::from);
                Err(error.after_undo(left.into_iter().collect()))
            }
        }
    }

    /// Takes over a running bond. Writes nothing; what differs from the record is reported, for
    /// [`EbpfEngine::repair`]. A renamed bond or port is recognised by its index and is no difference.
    ///
    /// # Errors
    /// [`EngineError::Vanished`] when the bond's devices are not those of the record. [`EngineError::DataPath`] when its
    /// pins are gone or another version's; [`EbpfEngine::reinstall`] is the way out.
    pub fn adopt(
        nl: &mut Netlink,
        pin_dir: &Path,
        record: EngineRecord,
    ) -> Result<(Self, Vec<Drift>), EngineError> {
        let (record, bond, inner) = find_devices(nl, record)?;
        let data_path = DataPath::adopt(pin_dir)?;
        let hooks = data_path.hooks()?;
        let attached = |id: PortId| {
            hooks
                .ports
                .iter()
                .any(|(port, hook)| *port == id && hook.is_some())
        };

        let mut drift = Vec::new();
        if hooks.front.is_none() {
            drift.push(Kind::FrontHook);
        }
        if inner.up != record.carrier {
            drift.push(Kind::Carrier { up: record.carrier });
        }
        if bond.mtu != record.mtu {
            drift.push(Kind::BondMtu { now: bond.mtu });
        }
        if (bond.promiscuity > 0) != record.promisc {
            drift.push(Kind::BondPromisc {
                now: bond.promiscuity > 0,
            });
        }
        let mut engine = Self::over(pin_dir, record, data_path)?;
        let wanted = engine.wanted();
        for port in &mut engine.record.ports {
            let Some(link) = nl.link_by_index(port.ifindex)? else {
                drift.push(Kind::PortGone {
                    name: port.name.clone(),
                });
                continue;
            };
            port.name.clone_from(&link.name);
            // With a master it is a borrowed one, and as that bond wants it.
            let differences = match link.master {
                Some(_) => Vec::new(),
                None => port::differences(port, &link, wanted)?,
            };
            for setting in differences {
                drift.push(Kind::Port {
                    id: port.id,
                    name: port.name.clone(),
                    setting,
                });
            }
            if !attached(port.id) {
                drift.push(Kind::PortHook {
                    id: port.id,
                    name: port.name.clone(),
                });
            }
        }
        Ok((engine, drift.into_iter().map(Drift).collect()))
    }

    /// Takes over the devices of a bond whose data path is lost or of another version, with a new data path. Until the
    /// caller sets a transmit table, frames are dropped.
    ///
    /// # Errors
    /// [`EngineError::Vanished`] when the bond's devices are not those of the record; the kernel's refusals.
    pub fn reinstall(
        nl: &mut Netlink,
        pin_dir: &Path,
        record: EngineRecord,
    ) -> Result<Self, EngineError> {
        let (record, bond, inner) = find_devices(nl, record)?;
        let kind = if bond.kind.as_deref() == Some("netkit") {
            FrontKind::Netkit
        } else {
            FrontKind::Veth
        };
        let front = Front {
            kind,
            bond_ifindex: bond.index,
            inner_ifindex: inner.index,
        };
        let data_path = install_anew(pin_dir, front, &record.ports)?;
        Self::over(pin_dir, record, data_path)
    }

    fn over(
        pin_dir: &Path,
        record: EngineRecord,
        data_path: DataPath,
    ) -> Result<Self, EngineError> {
        let sender = FrameSender::open()?;
        Ok(Self {
            record,
            data_path,
            pin_dir: pin_dir.to_owned(),
            sender,
            settings: Vec::new(),
        })
    }

    /// Mends what [`EbpfEngine::adopt`] found. A port that is gone is left to [`EbpfEngine::remove_port`], because the
    /// core must be told.
    ///
    /// # Errors
    /// The first failure; the rest is mended nonetheless.
    pub fn repair(&mut self, nl: &mut Netlink, drift: &[Drift]) -> Result<(), EngineError> {
        let mut first = None;
        for Drift(kind) in drift {
            let result = match kind {
                Kind::FrontHook => self.hang_front_anew(),
                Kind::Carrier { up } => self.set_carrier(nl, *up),
                Kind::BondMtu { now } => self.follow_bond_mtu(nl, *now),
                Kind::BondPromisc { now } => self.follow_bond_promiscuity(nl, *now),
                Kind::PortGone { .. } => Ok(()),
                Kind::Port { id, .. } => self.settle(nl, *id),
                Kind::PortHook { id, .. } => self.attach_anew(*id),
            };
            first = first.or_else(|| result.err());
        }
        first.map_or(Ok(()), Err)
    }

    fn settle(&mut self, nl: &mut Netlink, id: PortId) -> Result<(), EngineError> {
        let wanted = self.wanted();
        let port = self.port(id)?;
        if let Some(link) = nl.link_by_index(port.ifindex)? {
            port::settle(nl, port, &link, wanted)?;
        }
        Ok(())
    }

    fn attach_anew(&mut self, id: PortId) -> Result<(), EngineError> {
        let ifindex = self.port(id)?.ifindex;
        if self.data_path.ports()?.iter().any(|(port, _)| *port == id) {
            self.data_path.detach_port(id)?;
        }
        // A program whose pin somebody removed hangs on for a moment, and hangs nowhere twice.
        let deadline = std::time::Instant::now() + LINK_GONE;
        loop {
            match self.data_path.attach_port(id, ifindex) {
                Err(error)
                    if error.errno() == Some(libc::EEXIST)
                        && std::time::Instant::now() < deadline =>
                {
                    std::thread::sleep(LINK_GONE / 100);
                }
                done => return Ok(done?),
            }
        }
    }

    /// The transmit program's hook cannot be had alone: the whole data path is made anew, with the table it had.
    fn hang_front_anew(&mut self) -> Result<(), EngineError> {
        let table = self.data_path.table()?;
        self.data_path = install_anew(&self.pin_dir, self.data_path.front(), &self.record.ports)?;
        self.data_path.set_table(&table)?;
        Ok(())
    }

    /// What a later engine must know.
    pub const fn record(&self) -> &EngineRecord {
        &self.record
    }

    /// The front device has this name now.
    pub fn named(&mut self, name: &str) {
        name.clone_into(&mut self.record.bond);
    }

    /// Notes an interface as a port that another bond has and goes on to have for a while: its settings are that bond's.
    /// [`EbpfEngine::receive`] lets its frames come here, [`EbpfEngine::forget_port`] ends it.
    ///
    /// # Errors
    /// The kernel's refusals.
    pub fn borrow_port(
        &mut self,
        nl: &mut Netlink,
        id: PortId,
        ifindex: u32,
        own_mac: MacAddr,
    ) -> Result<(), EngineError> {
        let gone = || KernelError::new("find port", format!("interface {ifindex}"), libc::ENODEV);
        let link = nl.link_by_index(ifindex)?.ok_or_else(gone)?;
        self.record.ports.push(PortRecord::of(id, &link, own_mac)?);
        Ok(())
    }

    /// Lets frames of borrowed ports come here, or go to the bond that has the ports; what is still sent here leaves on them
    /// all the same. Those first that come first in the table in force, which must be there before: the programs would think
    /// that a port which they do not know yet is dead. With `lent`, what is said there of LACP goes to the bond that has the ports all the same. Goes on to the end and
    /// returns what could not be done.
    pub fn receive(&mut self, here: bool, lent: bool) -> Vec<EngineError> {
        let mut complaints = Vec::new();
        let attached: Vec<PortId> = match self.data_path.ports() {
            Ok(attached) => attached.into_iter().map(|(id, _)| id).collect(),
            Err(error) => return vec![error.into()],
        };
        let order = self
            .data_path
            .table()
            .map_or(Vec::new(), |table| table.order);
        let mut ports: Vec<(PortId, u32)> = self.ports().collect();
        ports.sort_by_key(|(id, _)| {
            order
                .iter()
                .position(|first| first == id)
                .unwrap_or(usize::MAX)
        });
        for (id, ifindex) in ports {
            let result = match (attached.contains(&id), here) {
                (true, _) => self.data_path.set_receiving(id, here),
                (false, true) => {
                    self.data_path
                        .attach_port(id, ifindex)
                        .and_then(|()| match lent {
                            true => self.data_path.lend_port(id),
                            false => Ok(()),
                        })
                }
                (false, false) => Ok(()),
            };
            complaints.extend(result.err().map(EngineError::from));
        }
        complaints
    }

    /// Takes a port out that another bond gets at once: as it was, but down and silent. Answers how it was. Goes on to the
    /// end; returns what could not be done, too.
    pub fn part_with(
        &mut self,
        nl: &mut Netlink,
        id: PortId,
    ) -> (Option<Originals>, Vec<EngineError>) {
        let Ok(port) = self.port(id).cloned() else {
            return (None, Vec::new());
        };
        let mut complaints: Vec<EngineError> = self.forget_port(id).err().into_iter().collect();
        let silent = Originals {
            up: false,
            ipv6_disabled: port.originals.ipv6_disabled.map(|_| true),
            ..port.originals.clone()
        };
        complaints.extend(port::restore(nl, port.ifindex, &silent));
        (Some(port.originals), complaints)
    }

    /// How a port was before it was anybody's, which is how it is given back.
    pub fn remember(&mut self, id: PortId, originals: Originals) {
        if let Some(port) = self.record.ports.iter_mut().find(|port| port.id == id) {
            port.originals = originals;
        }
    }

    /// Takes a port out and leaves it as it is.
    ///
    /// # Errors
    /// The kernel's refusals.
    pub fn forget_port(&mut self, id: PortId) -> Result<(), EngineError> {
        self.record.ports.retain(|port| port.id != id);
        self.settings.retain(|known| known.port != id);
        if self
            .data_path
            .ports()?
            .iter()
            .any(|(known, _)| *known == id)
        {
            self.data_path.detach_port(id)?;
        }
        Ok(())
    }

    /// Index of the front device.
    pub const fn ifindex(&self) -> u32 {
        self.record.ifindex
    }

    /// Index of its inner end.
    pub const fn inner_ifindex(&self) -> u32 {
        self.record.inner
    }

    /// MTU of the bond and its ports.
    pub const fn mtu(&self) -> u32 {
        self.record.mtu
    }

    /// The ports and their interface indices, in order of joining.
    pub fn ports(&self) -> impl Iterator<Item = (PortId, u32)> + '_ {
        self.record.ports.iter().map(|port| (port.id, port.ifindex))
    }

    /// Name of a port, last known.
    pub fn port_name(&self, id: PortId) -> Option<&str> {
        self.port(id).ok().map(|port| port.name.as_str())
    }

    /// A port was given another name.
    pub fn rename_port(&mut self, id: PortId, name: &str) {
        if let Some(port) = self.record.ports.iter_mut().find(|port| port.id == id) {
            name.clone_into(&mut port.name);
        }
    }

    /// What the programs have counted.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn counters(&self) -> Result<Counters, EngineError> {
        Ok(self.data_path.counters()?)
    }

    /// The transmit table in force, as the data path holds it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn table(&self) -> Result<TransmitTable, EngineError> {
        Ok(self.data_path.table()?)
    }

    /// The ports that programs have left by themselves since the table was put in force.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn left(&self) -> Result<Vec<PortId>, EngineError> {
        let left = self.data_path.left()?;
        Ok(self
            .ports()
            .map(|(id, _)| id)
            .filter(|id| left & id.bit() != 0)
            .collect())
    }

    /// Readable when a program has left a port by itself, or tapped a frame.
    pub fn records_fd(&self) -> BorrowedFd<'_> {
        self.data_path.ring_fd()
    }

    /// The ports that programs have left by themselves since the last call, and the frames that they tapped.
    pub fn drain_records(&mut self) -> Vec<Record> {
        self.data_path.drain()
    }

    /// When frames last arrived on each port, see [`DataPath::arrivals`].
    ///
    /// # Errors
    /// What the kernel says.
    pub fn arrivals(&self) -> Result<Vec<Arrivals>, EngineError> {
        Ok(self.data_path.arrivals()?)
    }

    /// What the buckets of a measured table have carried, see [`DataPath::loads`].
    ///
    /// # Errors
    /// What the kernel says.
    pub fn loads(&mut self) -> Result<Option<Loads>, EngineError> {
        Ok(self.data_path.loads()?)
    }

    /// What the bond is made of.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn describe(&self) -> Result<Description, EngineError> {
        Ok(Description {
            front: self.data_path.front().kind,
            front_why: self.record.front_why.clone(),
            hooks: self.data_path.hooks()?,
        })
    }

    /// The address of the front device now.
    ///
    /// # Errors
    /// [`EngineError::Vanished`] when it is gone.
    pub fn bond_mac(&self, nl: &mut Netlink) -> Result<MacAddr, EngineError> {
        let link = nl
            .link_by_index(self.record.ifindex)?
            .and_then(|link| link.mac);
        link.ok_or_else(|| EngineError::Vanished {
            bond: self.record.bond.clone(),
        })
    }

    /// Link state of a port, from what netlink says and what its driver says of speed and duplex. The driver is asked
    /// again when carrier came or went since.
    pub fn link_state(&mut self, id: PortId, link: &Link) -> LinkState {
        if let Some(known) = self.settings.iter().find(|known| known.port == id)
            && known.at_carrier_changes == link.carrier_changes
        {
            return inspect::link_state(link, known.settings);
        }
        // A port that vanished in this moment has no speed either.
        let settings = ethtool::link_settings(link.index, &link.name).unwrap_or_default();
        self.settings.retain(|known| known.port != id);
        self.settings.push(KnownSettings {
            port: id,
            at_carrier_changes: link.carrier_changes,
            settings,
        });
        inspect::link_state(link, settings)
    }

    /// Whether a port is up and has a link, found out by one system call; `None` where its driver does not tell that way.
    pub fn link_detected(&self, id: PortId) -> Option<bool> {
        let port = self.port(id).ok()?;
        ethtool::link_detected(self.sender.as_fd(), &port.name)
    }

    /// Takes down how an interface is that is about to be added, and writes nothing. Whoever saves the record before
    /// [`EbpfEngine::add_port`] can give the port back even if it is killed halfway.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn note_port(
        &mut self,
        nl: &mut Netlink,
        id: PortId,
        candidate: &Candidate,
    ) -> Result<(), EngineError> {
        let gone = || KernelError::new("find port", &candidate.link.name, libc::ENODEV);
        let link = nl.link_by_index(candidate.link.index)?.ok_or_else(gone)?;
        let port = PortRecord::of(id, &link, candidate.mac)?;
        self.record.ports.push(port);
        Ok(())
    }

    /// Makes an inspected interface a port: MTU as the bond's, IPv6 off, all multicast let in, up, receive program
    /// attached. It may be up and in use; no other port notices. Nothing is sent to it before a transmit table names it.
    /// Without an [`EbpfEngine::note_port`] before, that is done first.
    ///
    /// # Errors
    /// The kernel's refusals; the port is then as it was.
    pub fn add_port(
        &mut self,
        nl: &mut Netlink,
        id: PortId,
        candidate: &Candidate,
    ) -> Result<PortInfo, EngineError> {
        if self.port(id).is_err() {
            self.note_port(nl, id, candidate)?;
        }
        match self.join(nl, id) {
            Ok(link) => Ok(PortInfo {
                link: self.link_state(id, &link),
                ..candidate.port_info()
            }),
            Err(error) => Err(error.after_undo(self.remove_port(nl, id))),
        }
    }

    /// Its link when all is done: setting it up may have changed it.
    fn join(&mut self, nl: &mut Netlink, id: PortId) -> Result<Link, EngineError> {
        let wanted = self.wanted();
        let port = self.port(id)?;
        let gone = || KernelError::new("find port", &port.name, libc::ENODEV);
        let link = nl.link_by_index(port.ifindex)?.ok_or_else(gone)?;
        port::settle(nl, port, &link, wanted)?;
        if !link.up {
            nl.set_up(link.index)?;
        }
        self.data_path.attach_port(id, link.index)?;
        Ok(nl.link_by_index(link.index)?.unwrap_or(link))
    }

    /// Takes a port out and gives it back as it was. One that has vanished is fine. Goes on to the end and returns what
    /// could not be done.
    pub fn remove_port(&mut self, nl: &mut Netlink, id: PortId) -> Vec<EngineError> {
        let Some(at) = self.record.ports.iter().position(|port| port.id == id) else {
            return vec![EngineError::NoSuchPort {
                bond: self.record.bond.clone(),
                port: id,
            }];
        };
        let port = self.record.ports.remove(at);
        self.settings.retain(|known| known.port != id);
        self.give_back(nl, &port)
    }

    /// Gives a port back that is not, or no longer, in the record: one that was being added or removed when a daemon
    /// died. Goes on to the end and returns what could not be done.
    pub fn give_back(&mut self, nl: &mut Netlink, port: &PortRecord) -> Vec<EngineError> {
        let detached = self.data_path.ports().and_then(|attached| {
            if attached.iter().any(|(id, _)| *id == port.id) {
                self.data_path.detach_port(port.id)
            } else {
                Ok(())
            }
        });
        let mut complaints: Vec<EngineError> =
            detached.err().map(EngineError::from).into_iter().collect();
        complaints.extend(port::restore(nl, port.ifindex, &port.originals));
        complaints
    }

    /// Carries out one action of the core. [`Action::Event`] is not for the kernel and does nothing here.
    ///
    /// # Errors
    /// The kernel's refusals.
    pub fn perform(&mut self, nl: &mut Netlink, action: &Action) -> Result<(), EngineError> {
        match action {
            Action::SetTransmitTable { table, .. } => {
                self.data_path.set_table(table)?;
                Ok(())
            }
            Action::SendFrame { frame } => Ok(self.sender.send(self.record.ifindex, frame)?),
            Action::SendOnPort { port, frame } => {
                Ok(self.sender.send(self.port(*port)?.ifindex, frame)?)
            }
            Action::SetStandingAnswer { port, answer } => {
                Ok(self.data_path.set_standing_answer(*port, answer.as_ref())?)
            }
            Action::RejoinMulticast => {
                igmp::rejoin(nl, &self.sender, self.record.ifindex)?;
                Ok(())
            }
            Action::SetPortMac { port, mac } => {
                Ok(port::set_mac(nl, self.port(*port)?.ifindex, *mac)?)
            }
            Action::SetBondMac { mac } => Ok(nl.set_mac(self.record.ifindex, *mac)?),
            Action::SetCarrier { up, .. } => self.set_carrier(nl, *up),
            // The caller's to answer.
            Action::ListGuests | Action::Event(_) => Ok(()),
        }
    }

    fn set_carrier(&mut self, nl: &mut Netlink, up: bool) -> Result<(), EngineError> {
        if up {
            nl.set_up(self.record.inner)?;
            // The core's next action may be to announce the bond's addresses through it.
            nl.wait_until_started(self.record.inner)?;
            nl.wait_until_started(self.record.ifindex)?;
        } else {
            nl.set_down(self.record.inner)?;
        }
        self.record.carrier = up;
        Ok(())
    }

    /// The user set the bond's MTU: every port follows. If one cannot, all are set back, and so is the bond.
    ///
    /// # Errors
    /// [`EngineError::MtuImpossible`] with the port's refusal.
    pub fn follow_bond_mtu(&mut self, nl: &mut Netlink, mtu: u32) -> Result<(), EngineError> {
        let old = self.record.mtu;
        let mut done = Vec::new();
        for port in &self.record.ports {
            match nl.set_mtu(port.ifindex, mtu) {
                Ok(()) => done.push(port.ifindex),
                Err(error) if error.is_gone() => {}
                Err(cause) => {
                    let back = done
                        .into_iter()
                        .chain([self.record.ifindex])
                        .map(|index| nl.set_mtu(index, old));
                    let left = back
                        .filter_map(Result::err)
                        .filter(|e| !e.is_gone())
                        .map(EngineError::from)
                        .collect();
                    let bond = self.record.bond.clone();
                    return Err(EngineError::MtuImpossible {
                        bond,
                        old,
                        new: mtu,
                        cause,
                    }
                    .after_undo(left));
                }
            }
        }
        self.record.mtu = mtu;
        Ok(())
    }

    /// The bond became promiscuous (a bridge port, a macvlan above, `tcpdump`) or no longer is: its ports follow. No
    /// write when they did already.
    ///
    /// The bond is promiscuous while [`Link::promiscuity`] of its front device is above zero. A macvlan above raises
    /// that without an event of the bond's; look again whenever a link event names the bond as [`Link::lower`].
    ///
    /// # Errors
    /// The first port's refusal; the others follow nonetheless.
    pub fn follow_bond_promiscuity(
        &mut self,
        nl: &mut Netlink,
        promiscuous: bool,
    ) -> Result<(), EngineError> {
        if self.record.promisc == promiscuous {
            return Ok(());
        }
        self.record.promisc = promiscuous;
        let mut first = None;
        for port in &self.record.ports {
            let result = nl.set_promisc(port.ifindex, promiscuous || port.originals.promisc);
            first = first.or_else(|| result.err().filter(|error| !error.is_gone()));
        }
        first.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Takes everything apart: ports as they were, pins gone, front device gone with its addresses and routes. Goes on
    /// to the end and returns what could not be done.
    pub fn destroy(self, nl: &mut Netlink) -> Vec<EngineError> {
        // The data path first: by it the bond would hear a port look for the IPv6 address that both have, and defend it.
        let removed = self.data_path.remove();
        let mut complaints: Vec<EngineError> =
            removed.err().map(EngineError::from).into_iter().collect();
        for port in &self.record.ports {
            complaints.extend(port::restore(nl, port.ifindex, &port.originals));
        }
        let deleted = front::delete(nl, self.record.ifindex);
        complaints.extend(deleted.err().map(EngineError::from));
        complaints
    }

    /// As [`EbpfEngine::destroy`], but the ports are another bond's, and stay as they are.
    pub fn withdraw(mut self, nl: &mut Netlink) -> Vec<EngineError> {
        self.record.ports.clear();
        self.destroy(nl)
    }

    /// Takes apart what is left of a bond that cannot be adopted: made or destroyed only in part, or its devices gone.
    /// Ports that the record knows are given back, pins and front device removed. `bond` names the front device where
    /// there is no record. Goes on to the end and returns what could not be done.
    pub fn clear_away(
        nl: &mut Netlink,
        pin_dir: &Path,
        bond: &str,
        record: Option<&EngineRecord>,
    ) -> Vec<EngineError> {
        let removed = DataPath::adopt(pin_dir)
            .and_then(DataPath::remove)
            .or_else(|_| DataPath::wipe(pin_dir));
        let mut complaints: Vec<EngineError> =
            removed.err().map(EngineError::from).into_iter().collect();
        for port in record.iter().flat_map(|record| &record.ports) {
            complaints.extend(port::restore(nl, port.ifindex, &port.originals));
        }
        let found = match record {
            Some(record) => nl.link_by_index(record.ifindex),
            None => nl.link(bond),
        };
        let deleted = match found {
            Ok(Some(link)) if front::is_front(&link) => front::delete(nl, link.index),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        complaints.extend(deleted.err().map(EngineError::from));
        complaints
    }

    const fn wanted(&self) -> Wanted {
        Wanted {
            mtu: self.record.mtu,
            promisc: self.record.promisc,
        }
    }

    fn port(&self, id: PortId) -> Result<&PortRecord, EngineError> {
        let missing = || EngineError::NoSuchPort {
            bond: self.record.bond.clone(),
            port: id,
        };
        self.record
            .ports
            .iter()
            .find(|port| port.id == id)
            .ok_or_else(missing)
    }
}

/// The bond and its inner end, if they are the record's: found by index, known by each other and by the alias. The
/// record gets the name that the bond has now.
fn find_devices(
    nl: &mut Netlink,
    mut record: EngineRecord,
) -> Result<(EngineRecord, Link, Link), EngineError> {
    let bond = nl.link_by_index(record.ifindex)?;
    let inner = nl.link_by_index(record.inner)?.filter(Link::is_ours);
    match (bond, inner) {
        (Some(bond), Some(inner)) if bond.lower == Some(inner.index) => {
            record.bond.clone_from(&bond.name);
            Ok((record, bond, inner))
        }
        _ => Err(EngineError::Vanished { bond: record.bond }),
    }
}

/// Replaces whatever is pinned by a new data path with these ports; those that are gone are left out.
fn install_anew(
    pin_dir: &Path,
    front: Front,
    ports: &[PortRecord],
) -> Result<DataPath, DatapathError> {
    DataPath::wipe(pin_dir)?;
    let mut data_path = DataPath::install(pin_dir, front)?;
    for port in ports {
        match data_path.attach_port(port.id, port.ifindex) {
            Ok(()) | Err(DatapathError::NoInterface(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(data_path)
}

fn reasons(failures: &[(FrontKind, EngineError)]) -> String {
    let reason = |(kind, error): &(FrontKind, EngineError)| match kind {
        FrontKind::Netkit => format!("netkit: {error}"),
        FrontKind::Veth => format!("veth: {error}"),
    };
    failures.iter().map(reason).collect::<Vec<_>>().join("; ")
}
