//! What the kernel drops when a bond is set down: IPv6 addresses, next hops and routes of both families, neighbours set by hand,
//! and the up state of the devices on top of it, with theirs. Kept as the kernel's own messages, and put back.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use crate::engine::EngineError;
use crate::error::KernelError;
use crate::netlink::{AddressRecord, Link, NeighbourRecord, Netlink, NexthopRecord, RouteRecord};

/// Next hops are refused until the bond has a carrier, which in 802.3ad takes the driver some tenths of a second after its
/// ports joined.
const UNTIL_CARRIER: Duration = Duration::from_secs(1);

/// What a bond and the devices on top of it have.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Belongings {
    /// The bond, then what is on top, lower devices first.
    devices: Vec<Device>,
    addresses: Vec<AddressRecord>,
    /// Next hops that routes name, then groups that have such members.
    nexthops: Vec<NexthopRecord>,
    routes: Vec<RouteRecord>,
    /// Those that somebody set by hand: the others are learned anew.
    neighbours: Vec<NeighbourRecord>,
}

/// The bond's device, or one on top of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Device {
    index: u32,
    up: bool,
    mac: Option<MacAddr>,
}

impl Belongings {
    /// Takes down what there is. Reads only.
    pub(super) fn of(nl: &mut Netlink, bond: u32) -> Result<Self, KernelError> {
        let links = nl.links()?;
        let device = |link: &Link| Device {
            index: link.index,
            up: link.up,
            mac: link.mac,
        };
        let mut devices: Vec<Device> = links
            .iter()
            .filter(|link| link.index == bond)
            .map(device)
            .collect();
        let mut at = 0;
        while let Some(lower) = devices.get(at).map(|device| device.index) {
            let upper = |link: &&Link| link.lower == Some(lower) && link.index != bond;
            let new: Vec<Device> = links
                .iter()
                .filter(upper)
                .filter(|link| devices.iter().all(|known| known.index != link.index))
                .map(device)
                .collect();
            devices.extend(new);
            at += 1;
        }
        let is_ours = |index: &u32| devices.iter().any(|device| device.index == *index);
        let mut addresses = nl.all_addresses()?;
        addresses.retain(|record| is_ours(&record.address.ifindex));
        let all = nl.nexthops()?;
        let leads = |record: &&NexthopRecord| record.ifindex.as_ref().is_some_and(is_ours);
        let mut nexthops: Vec<NexthopRecord> = all.iter().filter(leads).cloned().collect();
        let names = |id: &u32| nexthops.iter().any(|known| known.id == *id);
        let groups = all.iter().filter(|record| record.members.iter().any(names));
        let groups: Vec<NexthopRecord> = groups.cloned().collect();
        nexthops.extend(groups);
        let named = |id: &u32| nexthops.iter().any(|known| known.id == *id);
        let mut routes = nl.routes()?;
        routes.retain(|record| {
            let leads = record.nexthop.iter().any(named) || record.ifindexes.iter().any(is_ours);
            !record.automatic && leads
        });
        // Next hops on the link before those that are reached by them.
        routes.sort_by_key(|record| record.route.via.is_some());
        let mut neighbours = nl.neighbours_set_by_hand()?;
        neighbours.retain(|record| is_ours(&record.ifindex()));
        Ok(Self {
            devices,
            addresses,
            nexthops,
            routes,
            neighbours,
        })
    }

    /// Puts back what is missing, now that the bond is as it was. Goes on to the end and returns what could not be done.
    ///
    /// The kernel would spend a second on finding out that each IPv6 address is nobody else's, and refuse routes that have it
    /// as their source until then. It was found out when they came, so it is not done again.
    pub(super) fn put_back(&self, nl: &mut Netlink) -> Vec<EngineError> {
        let mut complaints = self.set_up_and_down(nl);
        let mut hasty = Vec::new();
        complaints.extend(self.put_back_addresses(nl, false, &mut hasty));
        let mut left = self.put_back_ways(nl);
        if !left.is_empty() {
            // One may have an address as its source that the kernel made anew, and is still looking for.
            complaints.extend(self.put_back_addresses(nl, true, &mut hasty));
            left = self.put_back_ways(nl);
        }
        let end = Instant::now() + UNTIL_CARRIER;
        while !left.is_empty() && !self.nexthops.is_empty() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
            left = self.put_back_ways(nl);
        }
        complaints.extend(left);
        for record in &self.neighbours {
            let done = nl.put_neighbour(record.ifindex(), record);
            complaints.extend(done.err().filter(is_news));
        }
        for record in hasty {
            let done = nl.finish_address(record);
            complaints.extend(done.err().filter(is_news));
        }
        complaints.into_iter().map(EngineError::from).collect()
    }

    /// The kernel sets VLANs up with the device below, whether they were or not.
    fn set_up_and_down(&self, nl: &mut Netlink) -> Vec<KernelError> {
        let mut complaints = Vec::new();
        for device in &self.devices {
            let done = match nl.link_by_index(device.index) {
                Ok(Some(now)) if now.up && !device.up => nl.set_down(device.index),
                Ok(Some(now)) if !now.up && device.up => nl.set_up(device.index),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            complaints.extend(done.err().filter(|error| !error.is_gone()));
        }
        complaints
    }

    /// Puts back addresses that are missing and, if `anew`, those that the kernel has made anew and that cannot be used yet.
    /// Those that are to be finished go to `hasty`.
    fn put_back_addresses<'a>(
        &'a self,
        nl: &mut Netlink,
        anew: bool,
        hasty: &mut Vec<&'a AddressRecord>,
    ) -> Vec<KernelError> {
        let (now, links) = match nl.all_addresses().and_then(|now| Ok((now, nl.links()?))) {
            Ok(found) => found,
            Err(error) => return vec![error],
        };
        let has_its_mac = |index: u32| {
            let then = self.devices.iter().find(|device| device.index == index);
            let now = links.iter().find(|link| link.index == index);
            then.and_then(|device| device.mac) == now.and_then(|link| link.mac)
        };
        let mut complaints = Vec::new();
        // The kernel lists an IPv4 address behind those that came before, and an IPv6 address before them.
        let (six, four): (Vec<_>, Vec<_>) = self
            .addresses
            .iter()
            .partition(|record| record.address.address.is_ipv6());
        for record in four.into_iter().chain(six.into_iter().rev()) {
            let index = record.address.ifindex;
            let there = now.iter().find(|there| there.address == record.address);
            let unusable = |there: &&AddressRecord| anew && there.tentative && !record.tentative;
            let unusable = there.filter(unusable);
            // One that the kernel made from a link-layer address goes with that.
            if there.is_some() && unusable.is_none() || record.automatic && !has_its_mac(index) {
                continue;
            }
            let parted = unusable.map_or(Ok(()), |there| nl.take_address(there));
            complaints.extend(parted.err().filter(is_news));
            let done = match record.address.address {
                IpAddr::V6(_) if !record.tentative => {
                    hasty.push(record);
                    nl.move_address(index, record)
                }
                _ => nl.put_back_address(index, record),
            };
            complaints.extend(done.err().filter(is_news));
        }
        complaints
    }

    /// Next hops, and the routes by them and by addresses.
    fn put_back_ways(&self, nl: &mut Netlink) -> Vec<KernelError> {
        let mut complaints = self.put_back_nexthops(nl);
        complaints.extend(self.put_back_routes(nl));
        complaints
    }

    fn put_back_nexthops(&self, nl: &mut Netlink) -> Vec<KernelError> {
        let now = match nl.nexthops() {
            Ok(now) => now,
            Err(error) => return vec![error],
        };
        let missing = self.nexthops.iter().filter(|wanted| !now.contains(wanted));
        missing
            .filter_map(|record| nl.put_back_nexthop(record).err().filter(is_news))
            .collect()
    }

    fn put_back_routes(&self, nl: &mut Netlink) -> Vec<KernelError> {
        let now = match nl.routes() {
            Ok(now) => now,
            Err(error) => return vec![error],
        };
        let mut complaints = Vec::new();
        for record in self.routes.iter().filter(|record| !record.is_among(&now)) {
            // The interfaces of several next hops stand in the message.
            let over = record.ifindexes.first().copied().unwrap_or_default();
            complaints.extend(nl.put_back_route(over, record).err().filter(is_news));
        }
        complaints
    }
}

/// Neither gone in the meantime, nor back already.
fn is_news(error: &KernelError) -> bool {
    !error.is_gone() && error.errno != libc::EEXIST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::in_fresh_namespaces;

    fn ip(words: &str) -> String {
        let output = std::process::Command::new("ip")
            .args(words.split_whitespace())
            .output()
            .unwrap();
        assert!(output.status.success(), "ip {words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn seen() -> Vec<String> {
        let all = [
            "-4 route show table all type unicast",
            "-6 route show table all type unicast",
            "nexthop show",
        ];
        let mut lines: Vec<String> = all
            .iter()
            .flat_map(|words| ip(words).lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        lines.sort();
        lines
    }

    /// With the routes' next hops being told, and not.
    #[test]
    fn root_routes_by_next_hop_objects_are_put_back() {
        for compatible in ["1", "0"] {
            in_fresh_namespaces(|| {
                let mut nl = Netlink::open().unwrap();
                std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", compatible).unwrap();
                // To look for an address takes up to two seconds.
                for conf in ["all", "default"] {
                    std::fs::write(format!("/proc/sys/net/ipv6/conf/{conf}/accept_dad"), "0")
                        .unwrap();
                }
                nl.create_veth("bond0", "far0").unwrap();
                nl.create_veth("other", "far1").unwrap();
                for device in ["bond0", "far0", "other", "far1"] {
                    ip(&format!("link set {device} up"));
                }
                for words in [
                    "address add 10.0.0.2/24 dev bond0",
                    "address add 10.0.1.2/24 dev other",
                    "address add fd00::2/64 dev bond0 nodad",
                    "nexthop add id 7 via 10.0.0.1 dev bond0",
                    "nexthop add id 8 via 10.0.1.1 dev other",
                    "nexthop add id 9 group 7,3/8",
                    "nexthop add id 10 group 7",
                    "nexthop add id 11 via fd00::1 dev bond0",
                    "route add 203.0.113.0/24 nhid 7",
                    "route add 198.51.100.0/24 nhid 9",
                    "route add 233.252.0.0/24 nhid 10",
                    "route add default via 10.0.0.1",
                    "route add fd04::/64 nhid 11",
                ] {
                    ip(words);
                }
                crate::test_support::poll_until("every device has its link-local address", || {
                    let said = ip("-6 address show");
                    said.matches("inet6 fe80:").count() == 4 && !said.contains("tentative")
                });
                let before = seen();
                let bond = nl.link("bond0").unwrap().unwrap().index;
                let belongings = Belongings::of(&mut nl, bond).unwrap();
                ip("link set bond0 down");
                assert!(!ip("nexthop show").contains("id 7 "));
                ip("link set bond0 up");
                let complaints = belongings.put_back(&mut nl);
                assert!(complaints.is_empty(), "{complaints:?}");
                crate::test_support::poll_until("all is as before", || seen() == before);
            });
        }
    }
}
