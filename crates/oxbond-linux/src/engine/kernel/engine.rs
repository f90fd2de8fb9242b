//! One value steers one bond of the driver. What it makes outlives it; a later one takes it over with
//! [`KernelEngine::adopt`] and the [`KernelRecord`] that this one left.

use oxbond_core::driver::Picture;
use oxbond_core::option::{BondContext, BondOptions, Mode, OptionChange, PortOptionChange};
use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use super::change::refused;
use super::presence::{Presence, presence};
use super::{difference, read};
use crate::engine::port::{self, Originals};
use crate::engine::{BondSpec, EngineError, NAME_NEW};
use crate::error::KernelError;
use crate::inspect::Candidate;
use crate::ipv6;
use crate::netlink::Netlink;

/// What a later engine must know to take over. Serialised by the daemon after every change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelRecord {
    /// Name of the bond, last known.
    pub bond: String,
    /// Its interface index.
    pub ifindex: u32,
    /// Address that was asked for: the driver gives an empty bond a random one.
    pub mac: Option<MacAddr>,
    /// Its ports, in order of joining.
    pub ports: Vec<KernelPort>,
}

/// A port as the engine remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelPort {
    /// Its name, last known.
    pub name: String,
    /// Its interface index.
    pub ifindex: u32,
    /// How it was; `None` where somebody else made it a port. The driver then gives it back as it does: down, with the MTU
    /// it had.
    pub originals: Option<Originals>,
}

/// One bond of the driver.
#[derive(Debug)]
pub struct KernelEngine {
    record: KernelRecord,
}

impl KernelEngine {
    /// Makes a bond with these options; it is up, without ports. The kernel loads its driver for it. A bond of this name
    /// as the module makes it ([`Picture::is_pristine`]) is replaced.
    ///
    /// # Errors
    /// [`EngineError::DriverMissing`]; the driver's refusals; [`EngineError::NotTaken`]. Everything is then as it was.
    pub fn create(
        nl: &mut Netlink,
        spec: &BondSpec,
        options: &[OptionChange],
    ) -> Result<Self, EngineError> {
        difference::check_the_drivers(&spec.name, options)?;
        let want = BondOptions::default()
            .apply(options, &BondContext::default())?
            .options;
        let changes = difference::changes(&BondOptions::default(), &want);
        let name = match spec.beside {
            true => NAME_NEW,
            false => &spec.name,
        };
        let make = |nl: &mut Netlink| nl.create_bond(name, spec.mac, spec.mtu, &changes);
        let replaced = match make(nl) {
            Ok(()) => false,
            Err(error) if error.errno == libc::EEXIST => {
                replace_pristine(nl, name, error)?;
                if let Err(error) = make(nl) {
                    let left = nl.create_bond(name, None, None, &[]).err();
                    let left = left.map(EngineError::from).into_iter().collect();
                    return Err(refused(error, &changes).after_undo(left));
                }
                true
            }
            Err(error) if error.errno == libc::EOPNOTSUPP => return Err(missing(error)),
            Err(error) => return Err(refused(error, &changes)),
        };
        Self::finish(nl, name, spec, &want).map_err(|error| {
            let deleted = match nl.link(name) {
                Ok(Some(link)) => nl.delete_link(link.index),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            let remade = match replaced {
                true => nl.create_bond(name, None, None, &[]),
                false => Ok(()),
            };
            let left = [deleted, remade].into_iter().filter_map(Result::err);
            error.after_undo(left.map(EngineError::from).collect())
        })
    }

    /// What the module's parameters made otherwise, and setting it up.
    fn finish(
        nl: &mut Netlink,
        name: &str,
        spec: &BondSpec,
        want: &BondOptions,
    ) -> Result<Self, EngineError> {
        let gone = || EngineError::Vanished {
            bond: name.to_owned(),
        };
        let link = nl.link(name)?.ok_or_else(gone)?;
        let mut engine = Self::over(nl, link.index)?;
        engine.record.mac = spec.mac;
        let before = engine.picture(nl)?;
        engine.write_new(nl, before, want)?;
        if spec.beside {
            ipv6::set_disabled(nl, name, true)?;
        }
        nl.set_up(engine.ifindex())?;
        let picture = engine.picture(nl)?;
        let asked = |what: &str, asked: String, shown: String| match asked == shown {
            true => Ok(()),
            false => Err(EngineError::NotTaken {
                bond: name.to_owned(),
                option: what.to_owned(),
                asked,
                shown: Some(shown),
                since: None,
            }),
        };
        if let Some(mac) = spec.mac {
            asked("address", mac.to_string(), picture.mac.to_string())?;
        }
        if let Some(mtu) = spec.mtu {
            asked("mtu", mtu.to_string(), picture.mtu.to_string())?;
        }
        Ok(engine)
    }

    /// Takes a bond over that another engine value steered before. Writes nothing. Ports that joined or left since are noted
    /// as they are; one that the record has and the bond has not stays, to be given back with
    /// [`KernelEngine::remove_port`] or added anew.
    ///
    /// # Errors
    /// [`EngineError::Vanished`] when there is no bond of the driver with its index; what the kernel says.
    pub fn adopt(nl: &mut Netlink, record: KernelRecord) -> Result<Self, EngineError> {
        let gone = || EngineError::Vanished {
            bond: record.bond.clone(),
        };
        let picture = read::picture(nl, record.ifindex)?.ok_or_else(gone)?;
        let mut engine = Self { record };
        engine.note(&picture);
        Ok(engine)
    }

    /// Takes over a bond that somebody else made. Writes nothing.
    ///
    /// # Errors
    /// [`EngineError::Vanished`] when there is no bond of the driver with this index; what the kernel says.
    pub fn over(nl: &mut Netlink, ifindex: u32) -> Result<Self, EngineError> {
        let record = KernelRecord {
            bond: format!("interface {ifindex}"),
            ifindex,
            mac: None,
            ports: Vec::new(),
        };
        Self::adopt(nl, record)
    }

    /// Notes the names and ports that the bond has, its ports first.
    fn note(&mut self, picture: &Picture) {
        self.record.bond.clone_from(&picture.name);
        let known = std::mem::take(&mut self.record.ports);
        let of = |ifindex: u32| known.iter().find(|port| port.ifindex == ifindex);
        self.record.ports = picture
            .ports
            .iter()
            .map(|port| KernelPort {
                name: port.name.clone(),
                ifindex: port.ifindex,
                originals: of(port.ifindex).and_then(|known| known.originals.clone()),
            })
            .collect();
        let is_out = |port: &KernelPort| {
            picture
                .ports
                .iter()
                .all(|there| there.ifindex != port.ifindex)
        };
        let out: Vec<_> = known.iter().filter(|port| is_out(port)).cloned().collect();
        self.record.ports.extend(out);
    }

    /// What a later engine must know.
    pub const fn record(&self) -> &KernelRecord {
        &self.record
    }

    /// Index of the bond.
    pub const fn ifindex(&self) -> u32 {
        self.record.ifindex
    }

    /// Name of the bond, last known.
    pub fn name(&self) -> &str {
        &self.record.bond
    }

    /// The ports, in order of joining.
    pub fn ports(&self) -> impl Iterator<Item = &KernelPort> {
        self.record.ports.iter()
    }

    /// The bond was given another name.
    pub fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.record.bond);
    }

    /// A port was given another name.
    pub fn rename_port(&mut self, ifindex: u32, name: &str) {
        let port = self
            .record
            .ports
            .iter_mut()
            .find(|port| port.ifindex == ifindex);
        if let Some(port) = port {
            name.clone_into(&mut port.name);
        }
    }

    /// The bond as it is.
    ///
    /// # Errors
    /// [`EngineError::Vanished`] when it is gone; what the kernel says.
    pub fn picture(&self, nl: &mut Netlink) -> Result<Picture, EngineError> {
        read::picture(nl, self.record.ifindex)?.ok_or_else(|| EngineError::Vanished {
            bond: self.record.bond.clone(),
        })
    }

    /// Takes down how an interface is that is about to be added, and writes nothing. Whoever saves the record before
    /// [`KernelEngine::add_port`] can give the port back even if it is killed halfway.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn note_port(
        &mut self,
        nl: &mut Netlink,
        candidate: &Candidate,
    ) -> Result<(), EngineError> {
        let gone = || KernelError::new("find port", &candidate.link.name, libc::ENODEV);
        let link = nl.link_by_index(candidate.link.index)?.ok_or_else(gone)?;
        self.record.ports.retain(|port| port.ifindex != link.index);
        // One that was unplugged and is there again is another device.
        let namesakes = self
            .record
            .ports
            .iter()
            .filter(|port| port.name == link.name);
        for index in namesakes.map(|port| port.ifindex).collect::<Vec<_>>() {
            if nl.link_by_index(index)?.is_none() {
                self.record.ports.retain(|port| port.ifindex != index);
            }
        }
        self.record.ports.push(KernelPort {
            name: link.name.clone(),
            ifindex: link.index,
            originals: Some(Originals::of(&link, candidate.mac)?),
        });
        Ok(())
    }

    /// Makes an inspected interface a port, with these options. The driver wants it down, and sets it up itself. Without a
    /// [`KernelEngine::note_port`] before, that is done first.
    ///
    /// # Errors
    /// The driver's refusals; [`EngineError::NotTaken`]. The interface, and the bond, are then as they were.
    pub fn add_port(
        &mut self,
        nl: &mut Netlink,
        candidate: &Candidate,
        options: &[PortOptionChange],
    ) -> Result<(), EngineError> {
        let ifindex = candidate.link.index;
        if self.record.ports.iter().all(|port| port.ifindex != ifindex) {
            self.note_port(nl, candidate)?;
        }
        let before = self.picture(nl)?;
        let added = self
            .join_read_back(nl, ifindex)
            .and_then(|()| match options {
                [] => Ok(()),
                options => self.set_port_options(nl, ifindex, options),
            });
        added.map_err(|error| {
            let mut left = self.remove_port(nl, ifindex);
            left.extend(self.mac_as_before(nl, &before));
            error.after_undo(left)
        })
    }

    fn join_read_back(&self, nl: &mut Netlink, ifindex: u32) -> Result<(), EngineError> {
        self.join(nl, ifindex)?;
        let link = nl.link_by_index(ifindex)?;
        let missing = || KernelError::new("find", format!("interface {ifindex}"), libc::ENODEV);
        let link = link.ok_or_else(missing)?;
        if link.master == Some(self.ifindex()) {
            return Ok(());
        }
        Err(EngineError::NotTaken {
            bond: link.name,
            option: "master".to_owned(),
            asked: self.record.bond.clone(),
            shown: Some(
                link.master
                    .map_or_else(String::new, |index| nl.name_of(index)),
            ),
            since: None,
        })
    }

    /// With its last port a bond loses its address.
    fn mac_as_before(&self, nl: &mut Netlink, before: &Picture) -> Option<EngineError> {
        let now = match self.picture(nl) {
            Ok(now) => now,
            Err(error) => return Some(error),
        };
        if !now.ports.is_empty() || before.mac_is_random || now.mac == before.mac {
            return None;
        }
        nl.set_mac(self.ifindex(), before.mac)
            .err()
            .map(EngineError::from)
    }

    /// How a port was before it was anybody's, which is how it is given back.
    pub fn remember(&mut self, ifindex: u32, originals: Originals) {
        let mut ports = self.record.ports.iter_mut();
        if let Some(port) = ports.find(|port| port.ifindex == ifindex) {
            port.originals = Some(originals);
        }
    }

    /// Takes a port out and gives it back as it was. One that has vanished, or is in the bond no longer, is fine. Goes on to
    /// the end and returns what could not be done.
    pub fn remove_port(&mut self, nl: &mut Netlink, ifindex: u32) -> Vec<EngineError> {
        let Some(at) = self
            .record
            .ports
            .iter()
            .position(|port| port.ifindex == ifindex)
        else {
            return vec![self.not_a_port(ifindex)];
        };
        let port = self.record.ports.remove(at);
        let mut complaints = release_port(nl, self.record.ifindex, &port);
        if let Some(mac) = self.record.mac
            && let Ok(picture) = self.picture(nl)
            && picture.ports.is_empty()
            && picture.mac != mac
        {
            let set = nl.set_mac(self.record.ifindex, mac);
            complaints.extend(set.err().map(EngineError::from));
        }
        complaints
    }

    /// Sets options of a port and reads them back. No write where nothing differs.
    ///
    /// # Errors
    /// The driver's refusals; [`EngineError::NotTaken`]; [`EngineError::Option`]. The options are then as they were.
    pub fn set_port_options(
        &self,
        nl: &mut Netlink,
        ifindex: u32,
        changes: &[PortOptionChange],
    ) -> Result<(), EngineError> {
        let picture = self.picture(nl)?;
        let of = |picture: &Picture| {
            let port = picture.ports.iter().find(|port| port.ifindex == ifindex);
            port.cloned().ok_or_else(|| self.not_a_port(ifindex))
        };
        let port = of(&picture)?;
        let not_taken = |change: &PortOptionChange, shown| EngineError::NotTaken {
            bond: format!("port {} of {}", port.name, picture.name),
            option: change.id.name().to_owned(),
            asked: change.text(),
            shown,
            since: change.id.spec().since,
        };
        let others: Vec<_> = picture
            .ports
            .iter()
            .filter(|other| other.ifindex != ifindex)
            .map(|other| (other.name.as_str(), other.options.queue_id))
            .collect();
        let mode = picture.options.mode;
        let want = port.options.apply(changes, mode, &others)?;
        let own = |change: &&PortOptionChange| {
            change.id.spec().netlink.is_none() && port.options.value(change.id) != change.value
        };
        if let Some(change) = changes.iter().find(own) {
            return Err(not_taken(change, None));
        }
        let written = difference::port_changes(&port.options, &want, mode);
        if written.is_empty() {
            return Ok(());
        }
        let done = nl
            .set_bond_port_options(ifindex, &written)
            .map_err(EngineError::from)
            .and_then(|()| {
                let now = of(&self.picture(nl)?)?.options;
                match written
                    .iter()
                    .find(|change| now.value(change.id) != change.value)
                {
                    None => Ok(()),
                    // One that the driver does not know stays at its default.
                    Some(change) => Err(not_taken(change, Some(now.text(change.id)))),
                }
            });
        done.map_err(|error| {
            let left = self.undo_port_options(nl, ifindex, &port.options, mode);
            error.after_undo(left.into_iter().collect())
        })
    }

    fn undo_port_options(
        &self,
        nl: &mut Netlink,
        ifindex: u32,
        before: &oxbond_core::option::PortOptions,
        mode: Mode,
    ) -> Option<EngineError> {
        let now = self.picture(nl).ok()?;
        let now = now.ports.into_iter().find(|port| port.ifindex == ifindex)?;
        let back = difference::port_changes(&now.options, before, mode);
        if back.is_empty() {
            return None;
        }
        let done = nl.set_bond_port_options(ifindex, &back);
        done.err().map(EngineError::from)
    }

    /// Sets the MTU of the bond; the driver sets its ports'.
    ///
    /// # Errors
    /// [`EngineError::MtuImpossible`] with the refusal; the driver has put everything back then.
    pub fn set_mtu(&mut self, nl: &mut Netlink, mtu: u32) -> Result<(), EngineError> {
        let old = self.picture(nl)?.mtu;
        nl.set_mtu(self.ifindex(), mtu)
            .map_err(|cause| EngineError::MtuImpossible {
                bond: self.record.bond.clone(),
                old,
                new: mtu,
                cause,
            })
    }

    /// Sets the address of the bond; the driver sets its ports'.
    ///
    /// # Errors
    /// The driver's refusals; it has put everything back then. [`EngineError::NotTaken`] with `fail_over_mac`, where the
    /// driver passes over it.
    pub fn set_mac(&mut self, nl: &mut Netlink, mac: MacAddr) -> Result<(), EngineError> {
        nl.set_mac(self.ifindex(), mac)?;
        let shown = self.picture(nl)?.mac;
        if shown != mac {
            return Err(EngineError::NotTaken {
                bond: self.record.bond.clone(),
                option: "address".to_owned(),
                asked: mac.to_string(),
                shown: Some(shown.to_string()),
                since: None,
            });
        }
        self.record.mac = Some(mac);
        Ok(())
    }

    /// Takes everything apart: ports as they were, the bond gone with its addresses and routes. Goes on to the end and
    /// returns what could not be done.
    pub fn destroy(self, nl: &mut Netlink) -> Vec<EngineError> {
        take_apart(nl, &self.record)
    }

    /// Takes apart what is left of a bond that cannot be adopted. Ports that the record knows are given back, and its bond
    /// deleted. Without a record nothing says that a bond of this name is ours: only one that is empty is deleted.
    pub fn clear_away(
        nl: &mut Netlink,
        name: &str,
        record: Option<&KernelRecord>,
    ) -> Vec<EngineError> {
        if let Some(record) = record {
            return take_apart(nl, record);
        }
        let deleted = nl.link(name).and_then(|link| {
            let picture = match link {
                Some(link) => read::picture(nl, link.index)?,
                None => None,
            };
            match picture.filter(|picture| picture.ports.is_empty()) {
                Some(picture) => nl.delete_link(picture.ifindex),
                None => Ok(()),
            }
        });
        deleted.err().map(EngineError::from).into_iter().collect()
    }

    fn not_a_port(&self, ifindex: u32) -> EngineError {
        EngineError::NotAPort {
            bond: self.record.bond.clone(),
            ifindex,
        }
    }
}

/// Deletes a bond that nobody has used yet. `taken` is the refusal that told of it.
fn replace_pristine(nl: &mut Netlink, name: &str, taken: KernelError) -> Result<(), EngineError> {
    let Some(link) = nl.link(name)? else {
        return Ok(());
    };
    match read::picture(nl, link.index)? {
        Some(picture) if picture.is_pristine() => Ok(nl.delete_link(link.index)?),
        _ => Err(taken.into()),
    }
}

/// The kernel knows no bonds, and loaded no module that does.
fn missing(error: KernelError) -> EngineError {
    let why = match presence() {
        Presence::Missing { why, way_out } => format!("{why}; {way_out}"),
        Presence::Loaded => return error.into(),
        Presence::Loadable => {
            "the kernel did not load its module, which is installed; `modprobe bonding` tells why \
             (a blacklist in /etc/modprobe.d, a signature that is missing)"
                .to_owned()
        }
    };
    EngineError::DriverMissing { why }
}

fn take_apart(nl: &mut Netlink, record: &KernelRecord) -> Vec<EngineError> {
    let mut complaints = Vec::new();
    for port in record.ports.iter().rev() {
        complaints.extend(release_port(nl, record.ifindex, port));
    }
    // The index may be another device's by now.
    let deleted = read::picture(nl, record.ifindex).and_then(|picture| match picture {
        Some(_) => nl.delete_link(record.ifindex),
        None => Ok(()),
    });
    complaints.extend(deleted.err().map(EngineError::from));
    complaints
}

/// Takes a port out of the bond, if it is in it, and gives it back as it was. The driver gives it its address and MTU, and
/// leaves it down. One that is somebody else's by now is left alone.
fn release_port(nl: &mut Netlink, bond: u32, port: &KernelPort) -> Vec<EngineError> {
    let released = match nl.link_by_index(port.ifindex) {
        Ok(Some(link)) if link.master == Some(bond) => nl.set_master(port.ifindex, None),
        Ok(Some(link)) if link.master.is_some() => return Vec::new(),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    let mut complaints: Vec<EngineError> = released
        .err()
        .filter(|error| !error.is_gone())
        .map(EngineError::from)
        .into_iter()
        .collect();
    if let Some(originals) = &port.originals {
        complaints.extend(port::restore(nl, port.ifindex, originals));
    }
    complaints
}
