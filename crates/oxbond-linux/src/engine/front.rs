//! The front device of a bond and its inner end: a pair of virtual devices, one for the user, one for the data path.

use oxbond_datapath::FrontKind;

use super::{BondSpec, EngineError, NAME_NEW, queues};
use crate::error::KernelError;
use crate::inspect::NAME_MAX;
use crate::ipv6;
use crate::netlink::{ALIAS_MARK, Link, Netlink};

/// The two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// The device that bears the bond's name.
    pub(super) bond: u32,
    /// Its other end, which only the data path uses.
    pub(super) inner: u32,
}

/// Transmit queues of the bond's device, which a user's filter can steer frames to and `queue_id` gives to ports: as many
/// as the driver's bond has.
const QUEUES: u32 = 16;

/// Makes a pair. The bond is up, its inner end is down: the bond has no carrier yet. Undone if anything fails.
///
/// Where frames that nobody steers cannot be kept to the first transmit queue, it has only that one, and `queue_id` does
/// nothing: the kernel would spread them over all, and so over ports that are to have none of them.
pub(super) fn create(
    nl: &mut Netlink,
    kind: FrontKind,
    spec: &BondSpec,
) -> Result<Pair, EngineError> {
    let inner_name = inner_name(nl, &spec.name)?;
    let name = match spec.beside {
        true => NAME_NEW,
        false => &spec.name,
    };
    let bond = match make(nl, kind, name, &inner_name, QUEUES)? {
        bond if queues::keep_to_first(&bond) => bond,
        bond => {
            delete(nl, bond.index)?;
            make(nl, kind, name, &inner_name, 1)?
        }
    };
    furnish(nl, &bond, spec).map_err(|error| {
        let left = delete(nl, bond.index).err().map(EngineError::from);
        EngineError::from(error).after_undo(left.into_iter().collect())
    })
}

fn make(
    nl: &mut Netlink,
    kind: FrontKind,
    name: &str,
    inner_name: &str,
    queues: u32,
) -> Result<Link, KernelError> {
    match kind {
        FrontKind::Netkit => nl.create_netkit(name, inner_name, queues)?,
        FrontKind::Veth => nl.create_veth_with_queues(name, inner_name, queues)?,
    }
    nl.link(name)?
        .ok_or_else(|| KernelError::new("find the new device", name, libc::ENODEV))
}

fn furnish(nl: &mut Netlink, bond: &Link, spec: &BondSpec) -> Result<Pair, KernelError> {
    let name = &spec.name;
    let no_inner = || KernelError::new("find the inner end of", name, libc::ENODEV);
    let inner = nl
        .link_by_index(bond.lower.ok_or_else(no_inner)?)?
        .ok_or_else(no_inner)?;
    nl.set_alias(bond.index, &format!("{ALIAS_MARK} bond {name}"))?;
    nl.set_alias(
        inner.index,
        &format!("{ALIAS_MARK} inner end of {name}, leave alone"),
    )?;
    // Nothing of the host's own stack belongs on the inner end: whatever it sent there would come out of the bond as if
    // received.
    ipv6::set_disabled(nl, &inner.name, true)?;
    nl.set_arp(inner.index, false)?;
    // Frames are measured against the bond's MTU; the inner end must never be the narrower one.
    if inner.max_mtu > inner.mtu {
        nl.set_mtu(inner.index, inner.max_mtu)?;
    }
    if let Some(mac) = spec.mac {
        nl.set_mac(bond.index, mac)?;
    }
    if let Some(mtu) = spec.mtu.filter(|mtu| *mtu != bond.mtu) {
        nl.set_mtu(bond.index, mtu)?;
    }
    if spec.beside {
        ipv6::set_disabled(nl, &bond.name, true)?;
    }
    nl.set_up(bond.index)?;
    Ok(Pair {
        bond: bond.index,
        inner: inner.index,
    })
}

/// Deletes a pair by either end; one that is gone is fine.
pub(super) fn delete(nl: &mut Netlink, index: u32) -> Result<(), KernelError> {
    match nl.delete_link(index) {
        Err(error) if error.is_gone() => Ok(()),
        other => other,
    }
}

/// Whether this device is the front of a pair, finished or not: a daemon that dies between making and marking it leaves
/// one without an alias.
pub(super) fn is_front(link: &Link) -> bool {
    matches!(link.kind.as_deref(), Some("netkit" | "veth"))
        && (link.is_ours() || link.alias.is_none())
}

/// `ox.bond0` tells whose inner end it is. Where that is too long or taken, the kernel numbers one.
fn inner_name(nl: &mut Netlink, bond: &str) -> Result<String, KernelError> {
    let telling = format!("ox.{bond}");
    if telling.len() <= NAME_MAX && nl.link_by_any_name(&telling)?.is_none() {
        Ok(telling)
    } else {
        Ok("ox%d".to_owned())
    }
}
