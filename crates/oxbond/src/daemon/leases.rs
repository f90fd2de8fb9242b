//! Addresses by DHCP: a client for each device and family that wants one, from the moment the device can carry traffic.
//!
//! A failover is no event here: the bond keeps its carrier and the client its lease. Only when the whole device was
//! without carrier the client begins again, since it may be on another network now; the address stays until the server's
//! word is there, or its time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use oxbond_linux::dhcp::{self, Lease, News};
use oxbond_linux::netlink::{Lifetime, Netlink, Route};
use oxbond_linux::resolver::NameService;
use oxbond_wire::MacAddr;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::keeper::{read, write};
use crate::network::Family;

/// Metric of routes from a server, so that a gateway that was configured comes first.
const METRIC: u32 = 1024;

/// A device and a family in which it wants an address.
pub(crate) type Wish = (String, Family);

/// News of a client; the number tells it from those before it.
pub(crate) type ClientNews = (Wish, u64, News);

/// Every client, and what the servers lent.
pub(super) struct Leases {
    wanted: BTreeSet<Wish>,
    clients: BTreeMap<Wish, Client>,
    held: BTreeMap<Wish, Lease>,
    /// For the next daemon, which has to take away or replace what this one set.
    file: PathBuf,
    news: mpsc::UnboundedSender<ClientNews>,
    started: u64,
}

/// A client at work, until it is dropped.
struct Client {
    number: u64,
    ifindex: u32,
    mac: MacAddr,
    /// The device had carrier when it was last looked at.
    carrier: bool,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Leases {
    /// With what an earlier daemon was lent, as kept in `dir`. News come out at the other end of `news`.
    pub(super) fn open(dir: &Path, news: mpsc::UnboundedSender<ClientNews>) -> Self {
        let file = dir.join("leases.json");
        let held: Vec<(Wish, Lease)> = match read(&file) {
            Ok(held) => held.unwrap_or_default(),
            Err(failure) => {
                warn!(
                    "addresses that an earlier daemon was lent stay until their time is over: {failure}"
                );
                Vec::new()
            }
        };
        Self {
            wanted: BTreeSet::new(),
            clients: BTreeMap::new(),
            held: held.into_iter().collect(),
            file,
            news,
            started: 0,
        }
    }

    /// The families in which devices want addresses.
    pub(super) fn wanted(&self) -> BTreeMap<String, BTreeSet<Family>> {
        let mut wanted: BTreeMap<String, BTreeSet<Family>> = BTreeMap::new();
        for (device, family) in &self.wanted {
            wanted.entry(device.clone()).or_default().insert(*family);
        }
        wanted
    }

    /// What the servers say of names, by device.
    pub(super) fn name_services(&self) -> BTreeMap<String, NameService> {
        let mut services: BTreeMap<String, NameService> = BTreeMap::new();
        for ((device, _), lease) in &self.held {
            let service = services.entry(device.clone()).or_default();
            service.servers.extend(&lease.dns);
            service.search.extend(lease.search.iter().cloned());
        }
        services
    }

    /// From now on a device wants addresses in these families. What was lent in others is given up.
    pub(super) fn want(
        &mut self,
        netlink: &mut Netlink,
        device: &str,
        families: &BTreeSet<Family>,
    ) {
        let wanted = &mut self.wanted;
        wanted.retain(|(known, _)| known != device);
        wanted.extend(families.iter().map(|family| (device.to_owned(), *family)));
        self.clients.retain(|wish, _| wanted.contains(wish));
        let over: Vec<Wish> = self
            .held
            .keys()
            .filter(|wish| wish.0 == device && !wanted.contains(wish))
            .cloned()
            .collect();
        for wish in over {
            self.give_up(netlink, &wish);
        }
    }

    /// Starts the clients whose device can carry traffic, and begins again where it is another one. To be called when
    /// links or addresses change.
    pub(super) fn look(&mut self, netlink: &mut Netlink) {
        for wish in self.wanted.clone() {
            let link = match netlink.link(&wish.0) {
                Ok(link) => {
                    link.and_then(|link| Some((link.index, link.mac?, link.up && link.carrier)))
                }
                Err(e) => {
                    warn!("cannot look at {} for its addresses: {e}", wish.0);
                    continue;
                }
            };
            let Some((ifindex, mac, carrier)) = link else {
                self.clients.remove(&wish);
                continue;
            };
            if let Some(client) = self.clients.get_mut(&wish)
                && (client.ifindex, client.mac) == (ifindex, mac)
                && (client.carrier || !carrier)
            {
                client.carrier = carrier;
                continue;
            }
            self.clients.remove(&wish);
            if carrier {
                self.start(netlink, wish, ifindex, mac);
            }
        }
    }

    fn start(&mut self, netlink: &mut Netlink, wish: Wish, ifindex: u32, mac: MacAddr) {
        let device = dhcp::Client {
            name: wish.0.clone(),
            ifindex,
            mac,
        };
        self.started += 1;
        let number = self.started;
        let tell = {
            let (news, wish) = (self.news.clone(), wish.clone());
            // A daemon that is ending hears no more.
            move |said| drop(news.send((wish.clone(), number, said)))
        };
        let task = match wish.1 {
            Family::V4 => tokio::spawn(async move { match dhcp::keep_v4(device, tell).await {} }),
            Family::V6 => {
                // Without one yet, its coming is heard of as a change of addresses.
                let Some(link_local) = link_local(netlink, ifindex) else {
                    return;
                };
                tokio::spawn(async move { match dhcp::keep_v6(device, link_local, tell).await {} })
            }
        };
        let client = Client {
            number,
            ifindex,
            mac,
            carrier: true,
            task,
        };
        self.clients.insert(wish, client);
    }

    /// Does what a client's news ask for. Whether what the servers say of names may have changed.
    pub(super) fn on_news(
        &mut self,
        netlink: &mut Netlink,
        (wish, number, news): ClientNews,
    ) -> bool {
        let Some(ifindex) = self
            .clients
            .get(&wish)
            .filter(|client| client.number == number)
            .map(|client| client.ifindex)
        else {
            return false;
        };
        let (device, protocol) = (&wish.0, wish.1.protocol());
        match news {
            News::Leased(lease) => {
                self.take(netlink, &wish, ifindex, lease);
                true
            }
            News::Lost => {
                warn!(
                    "{device}: the address by {protocol} is not ours any more: nobody prolonged it"
                );
                self.give_up(netlink, &wish);
                true
            }
            News::Trouble(why) => {
                warn!("{device}: no address by {protocol} at the moment: {why}; trying on");
                false
            }
        }
    }

    fn take(&mut self, netlink: &mut Netlink, wish: &Wish, ifindex: u32, lease: Lease) {
        let device = &wish.0;
        let lifetime = Lifetime {
            preferred_secs: lease.preferred_secs,
            valid_secs: lease.valid_secs,
        };
        if let Err(e) = netlink.lend_address(ifindex, lease.address, lease.prefix_len, lifetime) {
            warn!("{device}: the lease of {} is of no use: {e}", lease.address);
            return;
        }
        let before = self.held.insert(wish.clone(), lease.clone());
        let routes = routes(&lease);
        for route in &routes {
            match netlink.add_route(ifindex, route) {
                Err(e) if e.errno != libc::EEXIST => warn!("{device}: {e}"),
                _ => {}
            }
        }
        match &before {
            Some(before) if before.address == lease.address => {}
            _ => info!(
                "{device}: {}/{} by {} from {} for {} s",
                lease.address,
                lease.prefix_len,
                wish.1.protocol(),
                lease.server,
                lease.valid_secs
            ),
        }
        if let Some(before) = before {
            let keep = (lease.address, lease.prefix_len);
            take_away(netlink, ifindex, &before, Some(keep), &routes);
        }
        self.save();
    }

    /// Takes what was lent off the device.
    fn give_up(&mut self, netlink: &mut Netlink, wish: &Wish) {
        let Some(lease) = self.held.remove(wish) else {
            return;
        };
        if let Ok(Some(link)) = netlink.link(&wish.0) {
            take_away(netlink, link.index, &lease, None, &[]);
        }
        self.save();
    }

    fn save(&self) {
        let held: Vec<(&Wish, &Lease)> = self.held.iter().collect();
        if let Err(failure) = write(&self.file, &held) {
            warn!("{failure}");
        }
    }
}

/// Takes the routes of a lease but these, and its address unless it is the one to keep, off a device. What is gone
/// already (its time was over) is no error.
fn take_away(
    netlink: &mut Netlink,
    ifindex: u32,
    lease: &Lease,
    keep: Option<(IpAddr, u8)>,
    kept_routes: &[Route],
) {
    for route in routes(lease) {
        if !kept_routes.contains(&route) {
            drop(netlink.del_route(ifindex, &route));
        }
    }
    if keep != Some((lease.address, lease.prefix_len)) {
        drop(netlink.del_address(ifindex, lease.address, lease.prefix_len));
    }
}

/// The routes of a lease, those on the link first: others may lead through them.
fn routes(lease: &Lease) -> Vec<Route> {
    let route = |(to, prefix_len, via): &(IpAddr, u8, IpAddr)| Route {
        to: *to,
        prefix_len: *prefix_len,
        via: Some(*via).filter(|via| !via.is_unspecified()),
        metric: Some(METRIC),
        table: Route::MAIN,
        on_link: false,
    };
    let mut routes: Vec<Route> = lease.routes.iter().map(route).collect();
    routes.sort_by_key(|route| route.via.is_some());
    routes
}

/// The device's own IPv6 address on the link.
fn link_local(netlink: &mut Netlink, ifindex: u32) -> Option<std::net::Ipv6Addr> {
    let addresses = netlink.addresses(ifindex).unwrap_or_default();
    addresses.iter().find_map(|known| match known.address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(v6),
        _ => None,
    })
}
