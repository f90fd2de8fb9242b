//! What bridges have learned: which station is behind which of their ports.

use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use oxbond_wire::MacAddr;

use super::attributes::attributes;
use super::link::mac_of;
use super::{Netlink, body_of, named};
use crate::error::KernelError;

/// A station in a bridge's forwarding table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Station {
    /// Its link-layer address.
    pub mac: MacAddr,
    /// Interface index of the bridge's port that it is behind.
    pub port: u32,
    /// Interface index of the bridge.
    pub bridge: u32,
    /// Its VLAN, where the bridge looks at VLANs.
    pub vlan: Option<u16>,
    /// The address is the port's own, so of this system.
    pub local: bool,
}

/// Length of `struct ndmsg`: the index is at byte 4, the state at 8, the flags at 10.
const HEADER_LEN: usize = 12;
const NUD_PERMANENT: u16 = 0x80;
const NDA_LLADDR: u16 = 2;
const NDA_VLAN: u16 = 5;
const NDA_MASTER: u16 = 9;

impl Netlink {
    /// The stations of every bridge.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn stations(&mut self) -> Result<Vec<Station>, KernelError> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        let request = RouteNetlinkMessage::GetNeighbour(message);
        // Read by hand: tunnels have entries of a form that the crate refuses, and with them all others.
        let station = |_, body: &[u8]| station_of(body);
        self.transport
            .dump(request.message_type(), &body_of(&request), station)
            .map_err(|failure| named(failure, "list", "stations of bridges"))
    }
}

/// `None` for what is no entry of a bridge, such as the filter of a network card.
fn station_of(body: &[u8]) -> Option<Station> {
    let (header, rest) = body.split_first_chunk::<HEADER_LEN>()?;
    let [_, _, _, _, i0, i1, i2, i3, s0, s1, ..] = *header;
    let (mut mac, mut bridge, mut vlan) = (None, None, None);
    for (number, value) in attributes(rest) {
        match number {
            NDA_LLADDR => mac = mac_of(value),
            NDA_MASTER => bridge = value.try_into().ok().map(u32::from_ne_bytes),
            NDA_VLAN => vlan = value.try_into().ok().map(u16::from_ne_bytes),
            _ => {}
        }
    }
    Some(Station {
        mac: mac?,
        port: u32::from_ne_bytes([i0, i1, i2, i3]),
        bridge: bridge?,
        vlan,
        local: u16::from_ne_bytes([s0, s1]) & NUD_PERMANENT != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::FrameSender;
    use crate::test_support::{in_fresh_namespaces, poll_until};

    #[test]
    fn root_a_bridge_learns_where_a_station_is() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_bridge("br0").unwrap();
            nl.create_veth("p0", "q0").unwrap();
            let index = |nl: &mut Netlink, name: &str| nl.link(name).unwrap().unwrap().index;
            let (br0, p0, q0) = (
                index(&mut nl, "br0"),
                index(&mut nl, "p0"),
                index(&mut nl, "q0"),
            );
            nl.set_master(p0, Some(br0)).unwrap();
            for index in [br0, p0, q0] {
                nl.set_up(index).unwrap();
            }
            let own = nl.link("p0").unwrap().unwrap().mac.unwrap();
            let mac = MacAddr([2, 0, 0, 0, 0, 9]);
            let sender = FrameSender::open().unwrap();
            let learned = |nl: &mut Netlink| {
                sender
                    .send(q0, &oxbond_wire::rarp::announcement(mac, &[]))
                    .unwrap();
                let stations = nl.stations().unwrap();
                stations.into_iter().find(|station| station.mac == mac)
            };
            poll_until("it is learned", || learned(&mut nl).is_some());
            let wanted = Station {
                mac,
                port: p0,
                bridge: br0,
                vlan: None,
                local: false,
            };
            assert_eq!(learned(&mut nl), Some(wanted));
            let stations = nl.stations().unwrap();
            let local = stations.iter().find(|station| station.mac == own);
            assert!(local.is_some_and(|station| station.local), "{stations:?}");
        });
    }
}
