//! What others do to the interfaces of a bond, followed: links, names, addresses, MTU.

use std::collections::BTreeMap;

use oxbond_core::input::{Announced, Input};
use oxbond_core::port::PortId;
use oxbond_core::time::Instant;
use oxbond_linux::error::KernelError;
use oxbond_linux::netlink::{Link, Netlink};
use oxbond_linux::{guests, ipv6, stack};
use tracing::{error, info, warn};

use super::EbpfBond;

impl EbpfBond {
    /// The link of any interface of the namespace, as it is now.
    pub(crate) fn on_link(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        link: &Link,
        taken: &BTreeMap<u32, String>,
    ) {
        if link.index == self.engine.ifindex() {
            self.on_front(netlink, now, link);
        } else if let Some(port) = self.port_at(link.index) {
            if let Some(old) = self.engine.port_name(port)
                && old != link.name
            {
                let old = old.to_owned();
                self.renamed(netlink, now, port, &old, link.name.clone());
            }
            let state = self.engine.link_state(port, link);
            self.tell(netlink, now, Input::Link { port, link: state });
        } else if self.is_missing(&link.name) {
            self.rejoin(netlink, now, &link.name, taken);
        } else if link.lower == Some(self.engine.ifindex()) {
            self.on_addresses(netlink, now);
        }
    }

    /// The wish goes with the interface, not with its name.
    pub(super) fn renamed(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        port: PortId,
        old: &str,
        name: String,
    ) {
        info!("{}: its port {old} is called {name} now", self.name());
        self.engine.rename_port(port, &name);
        if let Some(wanted) = self.wanted.ports.iter_mut().find(|port| port.name == old) {
            wanted.name.clone_from(&name);
        }
        self.tell(netlink, now, Input::PortRenamed { port, name });
    }

    fn on_front(&mut self, netlink: &mut Netlink, now: Instant, link: &Link) {
        if link.mac != Some(self.core.mac())
            && let Some(mac) = link.mac
        {
            self.tell(netlink, now, Input::BondMac { mac });
        }
        self.tell(netlink, now, Input::BondAdmin { up: link.up });
        if link.mtu != self.engine.mtu()
            && let Err(e) = self.engine.follow_bond_mtu(netlink, link.mtu)
        {
            error!(
                "{}: the MTU {} is not possible, back to {}: {e}",
                self.name(),
                link.mtu,
                self.engine.mtu()
            );
        }
        if let Err(e) = self
            .engine
            .follow_bond_promiscuity(netlink, link.promiscuity > 0)
        {
            error!(
                "{}: the ports do not follow its promiscuous mode: {e}",
                self.name()
            );
        }
    }

    /// An interface is gone; if it was a port of ours, the bond goes on without it and takes it back when it returns.
    pub(crate) fn on_port_gone(&mut self, netlink: &mut Netlink, now: Instant, index: u32) {
        let Some(port) = self.port_at(index) else {
            return;
        };
        let name = self.engine.port_name(port).unwrap_or_default().to_owned();
        let drained = self.is_drained(port);
        warn!(
            "{}: its port {name} has vanished; it joins again when it returns{}",
            self.name(),
            if drained { ", drained as it is" } else { "" }
        );
        if drained {
            self.drained_away.insert(name);
        }
        self.part(netlink, now, port);
    }

    /// Addresses of the front, or of VLANs above it, have changed.
    pub(crate) fn on_addresses(&mut self, netlink: &mut Netlink, now: Instant) {
        match self.announced(netlink) {
            Ok((addresses, ids)) => {
                self.tell(netlink, now, Input::Addresses { addresses });
                self.tell(netlink, now, Input::Vlans { ids });
            }
            Err(e) => warn!(
                "{}: cannot read its addresses, failovers will announce older ones: {e}",
                self.name()
            ),
        }
        self.look_at_paths(netlink, now);
    }

    /// The core asks who is behind the bond: stations on its bridges have moved with it to another port.
    pub(super) fn tell_guests(&mut self, netlink: &mut Netlink) {
        match guests::behind(netlink, self.engine.ifindex()) {
            Ok(guests) => {
                let input = Input::Guests { guests };
                if let Err(e) = self.core.handle(self.told, input) {
                    error!("{}: a bug of ours: {e}", self.name());
                }
            }
            Err(e) => warn!(
                "{}: cannot read who is behind it, so nobody is told where they are now: {e}",
                self.name()
            ),
        }
    }

    /// The addresses by which the bond is reached, and the ids of the VLANs directly above it.
    fn announced(&self, netlink: &mut Netlink) -> Result<(Vec<Announced>, Vec<u16>), KernelError> {
        let front = self.engine.ifindex();
        let links = netlink.links()?;
        let ids = links
            .iter()
            .filter(|link| link.lower == Some(front))
            .filter_map(|link| link.vlan_id)
            .collect();
        let mut announced = Vec::new();
        for mut device in stack::above(&links, front) {
            if device.index == front {
                device.mac = self.core.mac();
            }
            let router = ipv6::is_router(&device.name)?;
            for address in netlink.addresses(device.index)? {
                announced.push(Announced {
                    address: address.address,
                    mac: device.mac,
                    vlans: device.vlans.clone(),
                    router,
                });
            }
        }
        Ok((announced, ids))
    }
}
