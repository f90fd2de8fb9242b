//! What the kernel drops when a bond is set down: IPv6 addresses, routes of both families, and the up state of the devices on
//! top of it, with theirs. Kept as the kernel's own messages, and put back.

use std::time::{Duration, Instant};

use crate::engine::EngineError;
use crate::error::KernelError;
use crate::netlink::{AddressRecord, Link, Netlink, RouteRecord};

/// A route by way of an address is refused until that has been found to be nobody else's, which takes a second.
const UNTIL_ADDRESSES_ARE_OURS: Duration = Duration::from_secs(3);

/// What a bond and the devices on top of it have.
#[derive(Debug)]
pub(super) struct Belongings {
    /// The bond, then what is on top, lower devices first.
    devices: Vec<Link>,
    addresses: Vec<AddressRecord>,
    routes: Vec<RouteRecord>,
}

impl Belongings {
    /// Takes down what there is. Reads only.
    pub(super) fn of(nl: &mut Netlink, bond: u32) -> Result<Self, KernelError> {
        let links = nl.links()?;
        let mut devices: Vec<Link> = links
            .iter()
            .filter(|link| link.index == bond)
            .cloned()
            .collect();
        let mut at = 0;
        while let Some(lower) = devices.get(at).map(|device| device.index) {
            let upper = |link: &&Link| link.lower == Some(lower) && link.index != bond;
            let new: Vec<Link> = links
                .iter()
                .filter(upper)
                .filter(|link| devices.iter().all(|known| known.index != link.index))
                .cloned()
                .collect();
            devices.extend(new);
            at += 1;
        }
        let is_ours = |index: &u32| devices.iter().any(|device| device.index == *index);
        let mut addresses = nl.all_addresses()?;
        addresses.retain(|record| is_ours(&record.address.ifindex));
        let mut routes = nl.routes()?;
        routes.retain(|record| !record.automatic && record.ifindexes.iter().any(is_ours));
        // Next hops on the link before those that are reached by them.
        routes.sort_by_key(|record| record.route.via.is_some());
        Ok(Self {
            devices,
            addresses,
            routes,
        })
    }

    /// Puts back what is missing, now that the bond is as it was. Goes on to the end and returns what could not be done.
    pub(super) fn put_back(&self, nl: &mut Netlink) -> Vec<EngineError> {
        let mut complaints = self.set_up_and_down(nl);
        complaints.extend(self.put_back_addresses(nl));
        let end = Instant::now() + UNTIL_ADDRESSES_ARE_OURS;
        loop {
            let left = self.put_back_routes(nl);
            if left.is_empty() {
                break;
            }
            if Instant::now() >= end {
                complaints.extend(left);
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
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

    fn put_back_addresses(&self, nl: &mut Netlink) -> Vec<KernelError> {
        let (now, links) = match nl.all_addresses().and_then(|now| Ok((now, nl.links()?))) {
            Ok(found) => found,
            Err(error) => return vec![error],
        };
        let has_its_mac = |index: u32| {
            let of = |links: &[Link]| links.iter().find(|link| link.index == index)?.mac;
            of(&self.devices) == of(&links)
        };
        let mut complaints = Vec::new();
        for record in &self.addresses {
            let index = record.address.ifindex;
            let is_there = now.iter().any(|there| there.address == record.address);
            // One that the kernel made from a link-layer address goes with that.
            if is_there || record.automatic && !has_its_mac(index) {
                continue;
            }
            let done = nl.put_back_address(index, record);
            complaints.extend(done.err().filter(is_news));
        }
        complaints
    }

    fn put_back_routes(&self, nl: &mut Netlink) -> Vec<KernelError> {
        let now = match nl.routes() {
            Ok(now) => now,
            Err(error) => return vec![error],
        };
        let is_there = |wanted: &RouteRecord| {
            now.iter()
                .any(|there| there.route == wanted.route && there.ifindexes == wanted.ifindexes)
        };
        let mut complaints = Vec::new();
        for record in self.routes.iter().filter(|record| !is_there(record)) {
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
