//! Moving a bond's name, and all that stands on its device, from one device to another: from the driver's bond to the front
//! device of our engine, or back.
//!
//! Both devices are up meanwhile and lead to the same wire, so everything stands on both for a moment, and nothing is ever on
//! none:
//!
//! ```text
//!   prepare   (slow)    settings copied; a VLAN device on the new one for each on the old one, under other names
//!   turn      (a burst) names ► addresses, routes, neighbours, bridge: on the new ones, behind the old ones
//!                       ► the caller lets frames arrive at the new one ► off the old ones
//! ```
//!
//! Before Linux 6.2 no device is renamed while it is up. Then the traffic goes to and fro once more: to the new ones, under
//! their other names, while the old ones are down and lose theirs; back to the old ones while the new ones are down and get
//! theirs.
//!
//! A handover can be written down (serialised) before [`Handover::turn`], and begun again by another process: what is done
//! already is done no second time.

use serde::{Deserialize, Serialize};

use super::EngineError;
use crate::error::KernelError;
use crate::netlink::{
    ALIAS_MARK, AddressRecord, BridgePortSettings, Link, NeighbourRecord, Netlink, NexthopRecord,
    PortVlan, RouteRecord,
};
use crate::{ipv6, sysctl};

/// Why a bond cannot be moved to another device; nothing was touched.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// A device above it would be lost.
    #[error(
        "{upper} ({kind}) stands on {lower}: only VLAN devices can be moved along; delete it, and make it again afterwards"
    )]
    Upper {
        /// The device above.
        upper: String,
        /// Its kind.
        kind: String,
        /// The device it stands on.
        lower: String,
    },
    /// It is a port of something that cannot be left and joined at once.
    #[error("{device} is a port of {master} ({kind}): only ports of bridges can be moved")]
    Master {
        /// The port.
        device: String,
        /// What it is a port of.
        master: String,
        /// Its kind.
        kind: String,
    },
    /// A bridge above would not forward for half a minute.
    #[error(
        "bridge {bridge} speaks the spanning tree protocol and would let nothing through {device} for {seconds} s after it \
         has been moved; switch it off meanwhile: ip link set {bridge} type bridge stp_state 0"
    )]
    SpanningTree {
        /// The bridge.
        bridge: String,
        /// Its port.
        device: String,
        /// Listening and learning.
        seconds: u32,
    },
    /// The kernel refused something.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// A bond on its way from one device to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Handover {
    /// Devices can be renamed while they are up.
    live: bool,
    /// The bond's own first, then its VLAN devices.
    pairs: Vec<Pair>,
}

/// One of the two devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that the bond leaves.
    Old,
    /// The one that it gets.
    New,
}

/// A device, and the one that takes its place.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pair {
    name: String,
    old: u32,
    new: u32,
    up: bool,
    /// `None` where it has no IPv6.
    ipv6_disabled: Option<bool>,
    address_generation: Option<String>,
    bridge: Option<BridgePort>,
    addresses: Vec<AddressRecord>,
    /// Objects that routes name; these go with them.
    #[serde(default)]
    nexthops: Vec<NexthopRecord>,
    /// Without those that the kernel makes by itself, and those that name an object.
    routes: Vec<RouteRecord>,
    /// Lost with the process: they are found again.
    #[serde(skip)]
    neighbours: Vec<NeighbourRecord>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct BridgePort {
    master: u32,
    settings: BridgePortSettings,
    vlans: Vec<PortVlan>,
}

/// Name under which a device is made that is to have a bond's.
pub const NAME_NEW: &str = "oxnew";
/// Name of such a device until it has; the kernel numbers it.
const NAME_TO_BE: &str = "oxnew%d";
/// Name of a device that had a bond's.
const NAME_GONE: &str = "oxold%d";

impl Handover {
    /// Whether what stands on a device can be moved to another one. Writes nothing.
    ///
    /// # Errors
    /// What stands in the way, with the way out.
    pub fn check(nl: &mut Netlink, from: u32) -> Result<(), HandoverError> {
        let links = nl.links()?;
        check_among(&links, from)
    }

    /// Copies settings and makes VLAN devices on the new device, which is up and has the address of the old one already.
    /// Nothing is sent by it: its IPv6 must be off (see [`BondSpec::beside`](super::BondSpec::beside)).
    ///
    /// # Errors
    /// What stands in the way, the kernel's refusals; everything on the new device is then as it was.
    pub fn prepare(nl: &mut Netlink, from: u32, to: u32) -> Result<Self, HandoverError> {
        let links = nl.links()?;
        check_among(&links, from)?;
        let mut handover = Self {
            live: true,
            pairs: Vec::new(),
        };
        let prepared = handover.make(nl, &links, from, to);
        if let Err(error) = prepared {
            // The error that counts is the first one.
            let _ = handover.abandon(nl);
            return Err(error.into());
        }
        Ok(handover)
    }

    fn make(
        &mut self,
        nl: &mut Netlink,
        links: &[Link],
        from: u32,
        to: u32,
    ) -> Result<(), KernelError> {
        let gone = |index: u32| {
            KernelError::new("find device", format!("interface {index}"), libc::ENODEV)
        };
        let front = links
            .iter()
            .find(|link| link.index == from)
            .ok_or_else(|| gone(from))?;
        match nl.rename(to, NAME_TO_BE) {
            Ok(()) => {}
            Err(error) if error.errno == libc::EBUSY => self.live = false,
            Err(error) => return Err(error),
        }
        self.add_pair(nl, front, to)?;
        let vlans = links
            .iter()
            .filter(|link| link.lower == Some(from) && link.kind.as_deref() == Some("vlan"));
        for vlan in vlans {
            let settings = nl
                .vlan_settings(vlan.index)?
                .ok_or_else(|| gone(vlan.index))?;
            // The kernel does not tell which number it chose, and nobody else makes devices of this name.
            let name = format!("oxnew.{}", vlan.index);
            nl.create_vlan_like(&name, to, &settings)?;
            let new = nl.link(&name)?.ok_or_else(|| gone(vlan.index))?;
            self.add_pair(nl, vlan, new.index)?;
            if let Some(mac) = vlan.mac.filter(|mac| new.mac != Some(*mac)) {
                nl.set_mac(new.index, mac)?;
            }
            if new.mtu != vlan.mtu {
                nl.set_mtu(new.index, vlan.mtu)?;
            }
            if let Some(alias) = &vlan.alias {
                nl.set_alias(new.index, alias)?;
            }
            ipv6::set_disabled(nl, &name, true)?;
            if vlan.up {
                nl.set_up(new.index)?;
            }
        }
        Ok(())
    }

    fn add_pair(&mut self, nl: &mut Netlink, old: &Link, new: u32) -> Result<(), KernelError> {
        let new_name = nl
            .link_by_index(new)?
            .ok_or_else(|| KernelError::new("find the new device of", &old.name, libc::ENODEV))?
            .name;
        sysctl::copy(nl, &old.name, &new_name)?;
        self.pairs.push(Pair {
            name: old.name.clone(),
            old: old.index,
            new,
            up: old.up,
            ipv6_disabled: ipv6::is_disabled(&old.name)?,
            address_generation: sysctl::address_generation(&old.name),
            bridge: None,
            addresses: Vec::new(),
            nexthops: Vec::new(),
            routes: Vec::new(),
            neighbours: Vec::new(),
        });
        Ok(())
    }

    /// Reads what stands on the old devices now. To be called just before [`Handover::turn`], and written down between the
    /// two.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn look(&mut self, nl: &mut Netlink) -> Result<(), HandoverError> {
        let links = nl.links()?;
        let addresses = nl.all_addresses()?;
        let nexthops = nl.nexthops()?;
        let routes = nl.routes()?;
        let vlans = nl.port_vlans()?;
        for pair in &mut self.pairs {
            let link = links.iter().find(|link| link.index == pair.old);
            pair.up = link.is_some_and(|link| link.up);
            pair.bridge = match link.and_then(|link| link.master) {
                Some(master) => nl.bridge_port(pair.old)?.map(|settings| BridgePort {
                    master,
                    settings,
                    vlans: vlans.get(&pair.old).cloned().unwrap_or_default(),
                }),
                None => None,
            };
            let own = |record: &&AddressRecord| record.address.ifindex == pair.old;
            pair.addresses = addresses.iter().filter(own).cloned().collect();
            let over = |nexthop: &&NexthopRecord| nexthop.ifindex == Some(pair.old);
            pair.nexthops = nexthops.iter().filter(over).cloned().collect();
            let leads = |route: &&RouteRecord| {
                let leads = route.nexthop.is_none() && route.ifindexes.contains(&pair.old);
                leads && (!route.automatic || route.advertised)
            };
            pair.routes = routes.iter().filter(leads).cloned().collect();
            pair.neighbours = nl.neighbours(pair.old)?;
        }
        Ok(())
    }

    /// Gives the new devices the names and everything that stands on the old ones. `arrive` is called whenever frames are to
    /// arrive at another of the two: both then have all that is needed for it. With `down` the old device is down afterwards;
    /// else it is up and has nothing.
    ///
    /// Returns what could not be moved.
    ///
    /// # Errors
    /// The kernel's refusal to change the names; everything is then as it was.
    pub fn turn(
        &self,
        nl: &mut Netlink,
        down: bool,
        mut arrive: impl FnMut(&mut Netlink, Side) -> Vec<EngineError>,
    ) -> Result<Vec<EngineError>, EngineError> {
        let mut complaints = Vec::new();
        if let Err(error) = self.rename(nl, &mut arrive, &mut complaints) {
            let mut left = arrive(nl, Side::Old);
            left.extend(self.rename_back(nl));
            return Err(EngineError::from(error).after_undo(left));
        }
        complaints.extend(self.stand_on(nl, Side::New));
        complaints.extend(arrive(nl, Side::New));
        complaints.extend(self.clear_old(nl, down));
        complaints.extend(self.furnish(nl));
        Ok(complaints)
    }

    /// Names change hands. Where that needs devices that are down, traffic is on the other ones meanwhile: renaming takes
    /// more than 10 ms.
    fn rename(
        &self,
        nl: &mut Netlink,
        arrive: &mut impl FnMut(&mut Netlink, Side) -> Vec<EngineError>,
        complaints: &mut Vec<EngineError>,
    ) -> Result<(), KernelError> {
        let mut done = true;
        for pair in &self.pairs {
            let link = nl.link_by_index(pair.new)?;
            done &= link.is_some_and(|link| link.name == pair.name && link.up == pair.up);
        }
        let Some(front) = self.pairs.first().filter(|_| !done) else {
            return Ok(());
        };
        if !self.live {
            complaints.extend(self.stand_on(nl, Side::New));
            complaints.extend(arrive(nl, Side::New));
            nl.set_down(front.old)?;
        }
        for pair in &self.pairs {
            rename_to(nl, pair.old, &pair.name, NAME_GONE, false)?;
        }
        if !self.live {
            // The VLAN devices above come up with it.
            nl.set_up(front.old)?;
            complaints.extend(self.stand_on(nl, Side::Old));
            complaints.extend(arrive(nl, Side::Old));
            nl.set_down(front.new)?;
            for pair in &self.pairs {
                // Their labels would follow the name, and not all to the one they had.
                for record in &pair.addresses {
                    let _ = nl.take_address(&record.on(pair.new));
                }
            }
        }
        for pair in &self.pairs {
            rename_to(nl, pair.new, &pair.name, &pair.name, true)?;
        }
        if !self.live {
            for pair in self.pairs.iter().filter(|pair| pair.up) {
                nl.set_up(pair.new)?;
            }
        }
        Ok(())
    }

    fn rename_back(&self, nl: &mut Netlink) -> Vec<EngineError> {
        let mut results = Vec::new();
        for pair in &self.pairs {
            if !self.live {
                results.push(nl.set_down(pair.new));
            }
            results.push(rename_to(nl, pair.new, &pair.name, NAME_TO_BE, false));
        }
        for pair in &self.pairs {
            if !self.live {
                results.push(nl.set_down(pair.old));
            }
            results.push(rename_to(nl, pair.old, &pair.name, &pair.name, true));
        }
        if !self.live {
            for pair in self.pairs.iter().filter(|pair| pair.up) {
                results.push(nl.set_up(pair.old));
            }
        }
        let mut left: Vec<EngineError> = results
            .into_iter()
            .filter_map(Result::err)
            .map(EngineError::from)
            .collect();
        if !self.live {
            left.extend(self.stand_on(nl, Side::Old));
        }
        left
    }

    /// Puts everything on the devices of one side, behind what stands on the other.
    fn stand_on(&self, nl: &mut Netlink, side: Side) -> Vec<EngineError> {
        let mut complaints = Vec::new();
        for pair in &self.pairs {
            let to = match side {
                Side::Old => pair.old,
                Side::New => pair.new,
            };
            complaints.extend(pair.stand_on(nl, to));
        }
        complaints
    }

    /// Whatever the old devices have goes: first what frames are routed by, then the rest.
    fn clear_old(&self, nl: &mut Netlink, down: bool) -> Vec<EngineError> {
        let mut results = Vec::new();
        for (at, pair) in self.pairs.iter().enumerate() {
            let several = |route: &&RouteRecord| route.ifindexes.len() > 1;
            if at == 0 && down {
                // With it go its routes, and the VLAN devices above with theirs.
                results.push(nl.set_down(pair.old));
                for route in pair.routes.iter().filter(several) {
                    results.push(nl.take_route(route));
                }
            } else {
                for route in &pair.routes {
                    results.push(nl.take_route(route));
                }
                for record in &pair.addresses {
                    results.push(nl.take_address(record));
                }
            }
            if pair.bridge.is_some() {
                results.push(nl.set_master(pair.old, None));
            }
        }
        for pair in self.pairs.iter().skip(1) {
            results.push(nl.delete_link(pair.old));
        }
        if let Some(front) = self.pairs.first() {
            for record in front.addresses.iter().filter(|_| down) {
                results.push(nl.take_address(record));
            }
            let alias = format!("{ALIAS_MARK} former device of {}", front.name);
            results.push(nl.set_alias(front.old, &alias));
            if let Ok(Some(link)) = nl.link_by_index(front.old) {
                results.push(ipv6::set_disabled(nl, &link.name, true));
            }
            if !down && !self.live {
                results.push(nl.set_up(front.old));
            }
        }
        let not_there = [libc::ESRCH, libc::EADDRNOTAVAIL, libc::ENODEV, libc::ENOENT];
        results
            .into_iter()
            .filter_map(Result::err)
            .filter(|error| !not_there.contains(&error.errno))
            .map(EngineError::from)
            .collect()
    }

    /// What took its time and could wait.
    fn furnish(&self, nl: &mut Netlink) -> Vec<EngineError> {
        let modes = self.pairs.iter().filter_map(|pair| {
            let mode = pair.address_generation.as_ref()?;
            (mode != sysctl::GENERATES_NONE).then_some((pair, mode))
        });
        let modes: Vec<(&Pair, &String)> = modes.collect();
        let mut results = Vec::new();
        for (pair, mode) in &modes {
            results.push(sysctl::set_address_generation(nl, &pair.name, mode));
        }
        match nl.all_addresses() {
            Ok(now) => {
                let generated = modes.iter().flat_map(|(pair, _)| pair.generated(&now));
                results.extend(generated.map(|record| nl.take_address(record)));
            }
            Err(error) => results.push(Err(error)),
        }
        let failed = results.into_iter().filter_map(Result::err);
        failed.map(EngineError::from).collect()
    }

    /// Takes back what [`Handover::prepare`] made on the new device.
    ///
    /// # Errors
    /// What could not be deleted; the rest is.
    pub fn abandon(&self, nl: &mut Netlink) -> Result<(), KernelError> {
        let mut first = Ok(());
        for pair in self.pairs.iter().skip(1) {
            let deleted = match nl.delete_link(pair.new) {
                Err(error) if error.is_gone() => Ok(()),
                other => other,
            };
            first = first.and(deleted);
        }
        first
    }

    /// Index of the device that the bond is moved to.
    pub fn new_device(&self) -> Option<u32> {
        self.pairs.first().map(|pair| pair.new)
    }
}

impl Pair {
    /// A device that may make addresses makes a link-local one at once. It had none for this link-layer address where that
    /// has changed since it was set up, as the address of a bond that follows its active port does.
    fn generated<'a>(
        &'a self,
        now: &'a [AddressRecord],
    ) -> impl Iterator<Item = &'a AddressRecord> {
        now.iter()
            .filter(|record| record.address.ifindex == self.new && record.is_link_local())
            .filter(|record| {
                let same = |known: &AddressRecord| known.address.address == record.address.address;
                !self.addresses.iter().any(same)
            })
    }

    /// Puts everything on `to`, one of the two. What is there already is left.
    fn stand_on(&self, nl: &mut Netlink, to: u32) -> Vec<EngineError> {
        // It may have come up just now: a bridge that it joins before it transmits lets nothing through it until then.
        let mut results = vec![nl.wait_until_started(to)];
        if self.ipv6_disabled == Some(false)
            && let Ok(Some(link)) = nl.link_by_index(to)
        {
            // Every address is given to it, and none made by itself and looked for on the wire.
            results.push(sysctl::set_address_generation(
                nl,
                &link.name,
                sysctl::GENERATES_NONE,
            ));
            results.push(ipv6::set_disabled(nl, &link.name, false));
        }
        for record in &self.addresses {
            results.push(nl.move_address(to, record));
        }
        for neighbour in &self.neighbours {
            results.push(nl.put_neighbour(to, neighbour));
        }
        for nexthop in &self.nexthops {
            results.push(nl.move_nexthop(to, nexthop));
        }
        for route in &self.routes {
            results.push(nl.move_route(self.old, to, route));
        }
        if let Some(bridge) = &self.bridge {
            let joined = nl
                .set_master(to, Some(bridge.master))
                .and_then(|()| nl.set_bridge_port(to, &bridge.settings))
                .and_then(|()| match bridge.vlans.as_slice() {
                    [] => Ok(()),
                    vlans => nl.set_port_vlans(to, vlans),
                });
            results.push(joined);
        }
        results
            .into_iter()
            .filter_map(Result::err)
            .map(EngineError::from)
            .collect()
    }
}

/// Deletes devices that were made for a bond ([`NAME_NEW`]) by a process that was killed before they had its name. Returns what
/// could not be done.
pub fn clear_new(nl: &mut Netlink) -> Vec<EngineError> {
    let links = match nl.links() {
        Ok(links) => links,
        Err(error) => return vec![error.into()],
    };
    let new = links
        .iter()
        .filter(|link| link.name.starts_with(NAME_NEW) && link.kind.as_deref() != Some("vlan"));
    new.filter_map(|link| nl.delete_link(link.index).err())
        .filter(|error| !error.is_gone())
        .map(EngineError::from)
        .collect()
}

/// Gives a device this name, if whether it is called `named` is not as it should be already.
fn rename_to(
    nl: &mut Netlink,
    index: u32,
    named: &str,
    name: &str,
    should_be: bool,
) -> Result<(), KernelError> {
    let link = nl
        .link_by_index(index)?
        .ok_or_else(|| KernelError::new("rename", named, libc::ENODEV))?;
    match (link.name == named) == should_be {
        true => Ok(()),
        false => nl.rename(index, name),
    }
}

fn check_among(links: &[Link], from: u32) -> Result<(), HandoverError> {
    let Some(front) = links.iter().find(|link| link.index == from) else {
        return Err(
            KernelError::new("find device", format!("interface {from}"), libc::ENODEV).into(),
        );
    };
    let on = |lower: u32| links.iter().filter(move |link| link.lower == Some(lower));
    let mut devices = vec![front];
    for upper in on(from) {
        match upper.kind.as_deref() {
            Some("vlan") => devices.push(upper),
            // The other end of a pair is no upper device.
            Some("veth" | "netkit") => {}
            kind => return Err(upper_error(upper, kind, front)),
        }
    }
    for device in devices.iter().skip(1) {
        if let Some(upper) = on(device.index).next() {
            return Err(upper_error(upper, upper.kind.as_deref(), device));
        }
    }
    for device in devices {
        let Some(master) = device.master else {
            continue;
        };
        let master = links.iter().find(|link| link.index == master);
        let name = master.map_or_else(|| "another device".to_owned(), |link| link.name.clone());
        match master.and_then(|link| link.bridge.as_ref()) {
            Some(bridge) if bridge.stp => {
                return Err(HandoverError::SpanningTree {
                    bridge: name,
                    device: device.name.clone(),
                    seconds: bridge.forward_delay * 2 / 100,
                });
            }
            Some(_) => {}
            None => {
                let kind = master.and_then(|link| link.kind.clone());
                return Err(HandoverError::Master {
                    device: device.name.clone(),
                    master: name,
                    kind: kind.unwrap_or_else(|| "unknown".to_owned()),
                });
            }
        }
    }
    Ok(())
}

fn upper_error(upper: &Link, kind: Option<&str>, lower: &Link) -> HandoverError {
    HandoverError::Upper {
        upper: upper.name.clone(),
        kind: kind.unwrap_or("unknown").to_owned(),
        lower: lower.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::in_fresh_namespaces;

    fn run(program: &str, words: &str) -> String {
        let output = std::process::Command::new(program)
            .args(words.split_whitespace())
            .output()
            .unwrap();
        assert!(output.status.success(), "{program} {words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn ip(words: &str) -> String {
        run("ip", words)
    }

    /// `bond0` with all that a user may have put on it, and a second device beside it. Both reach the same neighbour.
    fn devices(nl: &mut Netlink) -> (u32, u32) {
        nl.create_veth("bond0", "far0").unwrap();
        nl.create_veth(NAME_NEW, "far1").unwrap();
        let mut index = |name: &str| nl.link(name).unwrap().unwrap().index;
        let (old, new) = (index("bond0"), index(NAME_NEW));
        ip("link set oxnew address 02:00:00:00:00:b0");
        ip("link set bond0 address 02:00:00:00:00:b0");
        ipv6::set_disabled(nl, NAME_NEW, true).unwrap();
        std::fs::write("/proc/sys/net/ipv6/conf/bond0/accept_dad", "0").unwrap();
        for device in ["bond0", "far0", NAME_NEW, "far1", "lo"] {
            ip(&format!("link set {device} up"));
        }
        (old, new)
    }

    /// What a user sees, without what differs for good: indices, statistics, the order of routes, the scopes of others.
    fn seen() -> Vec<String> {
        let mut lines: Vec<String> = [
            "-o -4 address show dev bond0",
            "-o -6 address show dev bond0",
            "-4 route show table all",
            "-6 route show table all",
            "-4 neighbour show dev bond0 nud permanent",
            "nexthop show",
        ]
        .iter()
        .flat_map(|words| {
            ip(words)
                .lines()
                .filter(|line| {
                    ["bond0", "lladdr", "group"]
                        .iter()
                        .any(|word| line.contains(word))
                })
                .filter(|line| !line.contains("multicast ff00"))
                .map(|line| {
                    // In front of addresses: the index.
                    let line = line.split_once(": bond0 ").map_or(line, |(_, rest)| rest);
                    line.replace(" nodad", "")
                })
                .collect::<Vec<_>>()
        })
        .collect();
        lines.sort();
        lines
    }

    fn hand_over(live: bool, down: bool) {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            let (old, new) = devices(&mut nl);
            for words in [
                "address add 10.0.0.2/24 brd + dev bond0",
                "address add 10.0.0.3/24 dev bond0",
                "address add 10.0.1.3/24 brd + dev bond0 label bond0:x",
                "address add fd00::2/64 dev bond0",
                "neighbour add 10.0.0.77 lladdr 02:00:00:00:00:77 dev bond0",
                "route add default via 10.0.0.1",
                "route add 192.0.2.0/24 via 10.0.0.1 metric 7 table 100",
                "route add 198.51.100.0/24 nexthop via 10.0.0.1 nexthop via 10.0.1.1",
                "route add fd01::/64 via fd00::1",
                "route add fd03::/64 dev bond0 metric 77",
                "nexthop add id 7 via 10.0.0.1 dev bond0",
                "nexthop add id 8 via 10.0.1.1 dev bond0",
                "nexthop add id 9 group 7,3/8",
                "nexthop add id 10 via fd00::1 dev bond0",
                "nexthop add id 11 group 7 type resilient buckets 8 idle_timer 77",
                "nexthop add id 12 via 192.0.2.99 dev bond0 onlink proto 42",
                "route add 203.0.113.0/24 nhid 7",
                "route add 203.0.113.0/24 metric 9 nhid 9 table 100",
                "route add 233.252.0.0/24 nhid 11",
                "route add fd04::/64 nhid 10",
            ] {
                ip(words);
            }
            std::fs::write("/proc/sys/net/ipv4/conf/bond0/rp_filter", "2").unwrap();
            std::fs::write("/proc/sys/net/ipv6/conf/bond0/accept_ra", "0").unwrap();
            crate::test_support::poll_until("IPv6 has looked for its addresses", || {
                let said = ip("-6 address show");
                said.contains("fe80::ff:fe00:b0/64") && !said.contains("tentative")
            });
            let before = seen();

            let mut handover = Handover::prepare(&mut nl, old, new).unwrap();
            handover.live &= live;
            handover.look(&mut nl).unwrap();
            // Another process may have to go on from what was written down.
            let text = serde_json::to_string(&handover).unwrap();
            let again: Handover = serde_json::from_str(&text).unwrap();
            let mut called = Vec::new();
            for handover in [handover, again] {
                let complaints = handover
                    .turn(&mut nl, down, |_, side| {
                        called.push(side);
                        Vec::new()
                    })
                    .unwrap();
                assert!(complaints.is_empty(), "{complaints:?}");
            }
            assert_eq!(called.last(), Some(&Side::New));
            assert_eq!(nl.link("bond0").unwrap().unwrap().index, new);
            assert_eq!(seen(), before);
            assert_eq!(
                ip("-6 address show dev bond0").matches("tentative").count(),
                0
            );
            let left = nl.link_by_index(old).unwrap().unwrap();
            assert!(left.name.starts_with("oxold"), "{}", left.name);
            assert_eq!(left.up, !down);
            assert_eq!(nl.addresses(old).unwrap(), []);
            for (setting, value) in [
                ("ipv4/conf/bond0/rp_filter", "2"),
                ("ipv6/conf/bond0/accept_ra", "0"),
            ] {
                let path = format!("/proc/sys/net/{setting}");
                assert_eq!(std::fs::read_to_string(path).unwrap().trim(), value);
            }
        });
    }

    #[test]
    fn root_a_device_whose_address_has_changed_gets_no_link_local_address_more() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            let (old, new) = devices(&mut nl);
            for device in ["bond0", NAME_NEW] {
                ip(&format!("link set {device} address 02:00:00:00:00:b1"));
            }
            crate::test_support::poll_until("IPv6 has looked for its addresses", || {
                let said = ip("-6 address show dev bond0");
                said.contains("fe80::ff:fe00:b0/64") && !said.contains("tentative")
            });
            let before = seen();
            let mut handover = Handover::prepare(&mut nl, old, new).unwrap();
            handover.look(&mut nl).unwrap();
            let complaints = handover.turn(&mut nl, true, |_, _| Vec::new()).unwrap();
            assert!(complaints.is_empty(), "{complaints:?}");
            assert_eq!(seen(), before);
            let mode = std::fs::read_to_string("/proc/sys/net/ipv6/conf/bond0/addr_gen_mode");
            assert_eq!(mode.unwrap().trim(), "0");
        });
    }

    #[test]
    fn root_all_that_stands_on_a_device_moves_to_another() {
        hand_over(true, true);
        hand_over(true, false);
    }

    #[test]
    fn root_all_moves_where_devices_are_renamed_only_while_they_are_down() {
        hand_over(false, true);
        hand_over(false, false);
    }

    #[test]
    fn root_a_bridge_keeps_its_port_and_how_it_treats_it() {
        for live in [true, false] {
            in_fresh_namespaces(|| {
                let mut nl = Netlink::open().unwrap();
                let (old, new) = devices(&mut nl);
                ip("link add vmbr0 type bridge");
                ip("link set bond0 master vmbr0");
                ip("link set vmbr0 up");
                ip("link set bond0 type bridge_slave cost 17 learning off hairpin on");
                let settings = nl.bridge_port(old).unwrap();
                let mut handover = Handover::prepare(&mut nl, old, new).unwrap();
                handover.live &= live;
                handover.look(&mut nl).unwrap();
                let complaints = handover.turn(&mut nl, true, |_, _| Vec::new()).unwrap();
                assert!(complaints.is_empty(), "{complaints:?}");
                assert_eq!(nl.bridge_port(new).unwrap(), settings);
                assert_eq!(nl.link_by_index(old).unwrap().unwrap().master, None);
                let said = run("bridge", "-d link show dev bond0");
                assert!(
                    said.contains("state forwarding") && said.contains("cost 17"),
                    "{said}"
                );
            });
        }
    }

    #[test]
    fn root_what_cannot_be_moved_is_refused_beforehand() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            let (old, _) = devices(&mut nl);
            Handover::check(&mut nl, old).unwrap();
            nl.create_macvlan("mv0", old).unwrap();
            let said = Handover::check(&mut nl, old).unwrap_err().to_string();
            assert!(said.starts_with("mv0 (macvlan) stands on bond0"), "{said}");
            ip("link del mv0");
            ip("link add vmbr0 type bridge stp_state 1");
            ip("link set bond0 master vmbr0");
            let said = Handover::check(&mut nl, old).unwrap_err().to_string();
            assert!(said.contains("vmbr0") && said.contains("30 s"), "{said}");
        });
    }
}
