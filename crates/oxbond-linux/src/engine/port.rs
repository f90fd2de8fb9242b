//! What joining a bond does to a port's own settings, and giving them back.

use oxbond_core::port::PortId;
use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use super::EngineError;
use crate::error::KernelError;
use crate::ipv6;
use crate::netlink::{Link, Netlink};

/// How a port was before it joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Originals {
    /// Its address.
    pub mac: MacAddr,
    /// Its MTU.
    pub mtu: u32,
    /// It was up.
    pub up: bool,
    /// Its user wanted all multicast frames.
    pub allmulti: bool,
    /// Its user wanted promiscuous mode.
    pub promisc: bool,
    /// IPv6 was off; `None` where it had none.
    pub ipv6_disabled: Option<bool>,
}

/// A port as the engine remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRecord {
    /// Its place in the tables.
    pub id: PortId,
    /// Its name, last known.
    pub name: String,
    /// Its interface index.
    pub ifindex: u32,
    /// How it was.
    pub originals: Originals,
}

impl Originals {
    /// Takes down how an interface is.
    pub(super) fn of(link: &Link, mac: MacAddr) -> Result<Self, KernelError> {
        Ok(Self {
            mac,
            mtu: link.mtu,
            up: link.up,
            allmulti: link.allmulti,
            promisc: link.promisc,
            ipv6_disabled: ipv6::is_disabled(&link.name)?,
        })
    }
}

impl PortRecord {
    /// Takes down how a port is.
    pub(super) fn of(id: PortId, link: &Link, mac: MacAddr) -> Result<Self, KernelError> {
        Ok(Self {
            id,
            name: link.name.clone(),
            ifindex: link.index,
            originals: Originals::of(link, mac)?,
        })
    }
}

/// How every port of a bond is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The bond's MTU.
    pub(super) mtu: u32,
    /// The bond is promiscuous.
    pub(super) promisc: bool,
}

/// A setting of a port that differs from what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// The MTU follows the bond's.
    Mtu,
    /// IPv6 is off: a port with an address of its own would answer beside the bond.
    Ipv6,
    /// All multicast frames are let in. The bond's multicast list cannot be copied to its ports: no event tells of its
    /// changes, and the groups of a bridge or macvlan above never show in one.
    Allmulti,
    /// Promiscuous as the bond is, or as its user wanted before.
    Promisc,
}

impl Setting {
    /// In words.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Mtu => "MTU",
            Self::Ipv6 => "IPv6 switch",
            Self::Allmulti => "allmulti flag",
            Self::Promisc => "promiscuous mode",
        }
    }
}

/// What of a port is not as wanted. Reads only.
pub(super) fn differences(
    port: &PortRecord,
    link: &Link,
    wanted: Wanted,
) -> Result<Vec<Setting>, KernelError> {
    let mut differing = Vec::new();
    if link.mtu != wanted.mtu {
        differing.push(Setting::Mtu);
    }
    if ipv6::is_disabled(&link.name)? == Some(false) {
        differing.push(Setting::Ipv6);
    }
    if !link.allmulti {
        differing.push(Setting::Allmulti);
    }
    if link.promisc != (wanted.promisc || port.originals.promisc) {
        differing.push(Setting::Promisc);
    }
    Ok(differing)
}

/// Makes a port as wanted, writing only what differs.
pub(super) fn settle(
    nl: &mut Netlink,
    port: &PortRecord,
    link: &Link,
    wanted: Wanted,
) -> Result<(), KernelError> {
    for setting in differences(port, link, wanted)? {
        match setting {
            Setting::Mtu => nl.set_mtu(link.index, wanted.mtu)?,
            Setting::Ipv6 => ipv6::set_disabled(nl, &link.name, true)?,
            Setting::Allmulti => nl.set_allmulti(link.index, true)?,
            Setting::Promisc => {
                nl.set_promisc(link.index, wanted.promisc || port.originals.promisc)?
            }
        }
    }
    Ok(())
}

/// Gives a port back as it was: MAC, MTU, flags, IPv6, up or down. One that has vanished is fine. Goes on to the end.
pub(super) fn restore(nl: &mut Netlink, ifindex: u32, was: &Originals) -> Vec<EngineError> {
    let link = match nl.link_by_index(ifindex) {
        Ok(Some(link)) => link,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![error.into()],
    };
    let mut results = Vec::new();
    // Down first: IPv6 then does not announce addresses that go away in a moment.
    if link.up && !was.up {
        results.push(nl.set_down(link.index));
    }
    if link.mac != Some(was.mac) {
        results.push(set_mac(nl, link.index, was.mac));
    }
    if link.mtu != was.mtu {
        results.push(nl.set_mtu(link.index, was.mtu));
    }
    if link.promisc != was.promisc {
        results.push(nl.set_promisc(link.index, was.promisc));
    }
    if link.allmulti != was.allmulti {
        results.push(nl.set_allmulti(link.index, was.allmulti));
    }
    // Last of all but up: an address is made from the MAC it has now.
    if let Some(disabled) = was.ipv6_disabled {
        results.push(ipv6::set_disabled(nl, &link.name, disabled));
    }
    if !link.up && was.up {
        results.push(nl.set_up(link.index));
    }
    // It may be unplugged between any two of these.
    results
        .into_iter()
        .filter_map(Result::err)
        .filter(|error| !error.is_gone())
        .map(EngineError::from)
        .collect()
}

/// Sets the address; drivers that cannot while up (`EBUSY`) are set down for it. Their link comes back a negotiation
/// later, which is why the kernel's driver demands that ports are down when they join.
pub(super) fn set_mac(nl: &mut Netlink, index: u32, mac: MacAddr) -> Result<(), KernelError> {
    match nl.set_mac(index, mac) {
        Err(error) if error.errno == libc::EBUSY => {
            nl.set_down(index)?;
            let result = nl.set_mac(index, mac);
            nl.set_up(index).and(result)
        }
        other => other,
    }
}
