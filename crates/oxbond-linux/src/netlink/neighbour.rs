//! Neighbours: whether somebody on the link answers for an address (ARP, neighbour discovery).

use std::net::IpAddr;

use netlink_packet_core::{Emitable as _, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourMessage,
    NeighbourState,
};
use netlink_packet_route::route::RouteType;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use super::link::mac_of;
use super::{Failure, Netlink, named, parse};
use crate::error::KernelError;

impl Netlink {
    /// Lets the kernel ask the link who has an address; with `anew`, what it knew of the neighbour before is forgotten
    /// first. The answer shows in [`Netlink::neighbour_answers`]. The kernel asks three times within three seconds.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn ask_neighbour(
        &mut self,
        ifindex: u32,
        address: IpAddr,
        anew: bool,
    ) -> Result<(), KernelError> {
        let op = "ask the link for the neighbour";
        if anew {
            let message = RouteNetlinkMessage::DelNeighbour(message(ifindex, address));
            match self.write(&message, 0, op, address.to_string()) {
                Err(error) if error.errno != libc::ENOENT => return Err(error),
                _ => {}
            }
        }
        let mut message = message(ifindex, address);
        message.header.flags = NeighbourFlags::Use;
        let message = RouteNetlinkMessage::NewNeighbour(message);
        self.write(&message, NLM_F_CREATE, op, address.to_string())
    }

    /// Whether a neighbour has answered of late.
    ///
    /// # Errors
    /// What the kernel says, but for knowing nothing of the neighbour.
    pub fn neighbour_answers(
        &mut self,
        ifindex: u32,
        address: IpAddr,
    ) -> Result<bool, KernelError> {
        let known = self.neighbour(ifindex, address)?;
        Ok(known.is_some_and(|known| known.header.state == NeighbourState::Reachable))
    }

    /// The link-layer address that the system knows of a neighbour.
    ///
    /// # Errors
    /// What the kernel says, but for knowing nothing of the neighbour.
    pub fn neighbour_mac(
        &mut self,
        ifindex: u32,
        address: IpAddr,
    ) -> Result<Option<MacAddr>, KernelError> {
        let known = self.neighbour(ifindex, address)?;
        let attributes = known.into_iter().flat_map(|known| known.attributes);
        let mut macs = attributes.filter_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => mac_of(&bytes),
            _ => None,
        });
        Ok(macs.next())
    }

    fn neighbour(
        &mut self,
        ifindex: u32,
        address: IpAddr,
    ) -> Result<Option<NeighbourMessage>, KernelError> {
        match self.ask(&RouteNetlinkMessage::GetNeighbour(message(
            ifindex, address,
        ))) {
            Ok(answers) => Ok(answers.into_iter().find_map(|answer| match answer {
                RouteNetlinkMessage::NewNeighbour(known) => Some(known),
                _ => None,
            })),
            Err(failure) if failure.errno == libc::ENOENT => Ok(None),
            Err(failure) => Err(named(failure, "look up neighbour", address.to_string())),
        }
    }
}

/// An entry of the neighbour table, as the kernel keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourRecord {
    ifindex: u32,
    /// The kernel's message.
    message: Vec<u8>,
}

impl NeighbourRecord {
    fn from_message(mut message: NeighbourMessage) -> Self {
        message.attributes.retain(|attribute| {
            matches!(
                attribute,
                NeighbourAttribute::Destination(_) | NeighbourAttribute::LinkLayerAddress(_)
            )
        });
        let mut body = vec![0; message.buffer_len()];
        message.emit(&mut body);
        Self {
            ifindex: message.header.ifindex,
            message: body,
        }
    }

    /// The interface it is behind.
    pub const fn ifindex(&self) -> u32 {
        self.ifindex
    }
}

impl Netlink {
    /// Whom an interface knows by link-layer address, learned or set by hand.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn neighbours(&mut self, ifindex: u32) -> Result<Vec<NeighbourRecord>, KernelError> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = NeighbourMessage::default();
            request.header.family = family;
            for answer in self.dump(&RouteNetlinkMessage::GetNeighbour(request), "neighbours")? {
                if let RouteNetlinkMessage::NewNeighbour(known) = answer
                    && known.header.ifindex == ifindex
                    && matches!(
                        known.header.state,
                        NeighbourState::Reachable
                            | NeighbourState::Stale
                            | NeighbourState::Delay
                            | NeighbourState::Probe
                            | NeighbourState::Permanent
                    )
                {
                    found.push(NeighbourRecord::from_message(known));
                }
            }
        }
        Ok(found)
    }

    /// The neighbours of all interfaces that nobody would learn again: those set by hand, and those that are answered for
    /// (`ip neighbour add proxy`).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn neighbours_set_by_hand(&mut self) -> Result<Vec<NeighbourRecord>, KernelError> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            for flags in [NeighbourFlags::empty(), NeighbourFlags::Proxy] {
                let mut request = NeighbourMessage::default();
                request.header.family = family;
                request.header.flags = flags;
                let answers =
                    self.dump(&RouteNetlinkMessage::GetNeighbour(request), "neighbours")?;
                found.extend(answers.into_iter().filter_map(|answer| match answer {
                    RouteNetlinkMessage::NewNeighbour(known) if is_set_by_hand(&known.header) => {
                        Some(NeighbourRecord::from_message(known))
                    }
                    _ => None,
                }));
            }
        }
        Ok(found)
    }

    /// Lets an interface know a neighbour that another one knew.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn put_neighbour(
        &mut self,
        ifindex: u32,
        record: &NeighbourRecord,
    ) -> Result<(), KernelError> {
        let (op, object) = ("put a neighbour on", format!("interface {ifindex}"));
        let kind = RouteNetlinkMessage::NewNeighbour(NeighbourMessage::default()).message_type();
        let mut message = match parse(kind, &record.message) {
            Ok(RouteNetlinkMessage::NewNeighbour(message)) => message,
            Ok(_) => return Err(named(Failure::garbled("no neighbour"), op, object)),
            Err(failure) => return Err(named(failure, op, object)),
        };
        message.header.ifindex = ifindex;
        let message = RouteNetlinkMessage::NewNeighbour(message);
        self.write(&message, NLM_F_CREATE | NLM_F_REPLACE, op, object)
    }
}

/// The kernel itself makes entries that need no asking, for groups and its own addresses.
fn is_set_by_hand(header: &NeighbourHeader) -> bool {
    header.flags.contains(NeighbourFlags::Proxy)
        || header.kind == RouteType::Unicast
            && matches!(
                header.state,
                NeighbourState::Permanent | NeighbourState::Noarp
            )
}

fn message(ifindex: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = ifindex;
    let (family, destination) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    message.header.family = family;
    message
        .attributes
        .push(NeighbourAttribute::Destination(destination));
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::NetNs;
    use crate::test_support::{in_fresh_namespaces, poll_until, veth_pair};

    #[test]
    fn root_a_neighbour_answers_or_does_not() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            let (p0, q0) = veth_pair(&mut nl);
            let to = |text: &str| text.parse::<IpAddr>().unwrap();
            nl.set_up(p0).unwrap();
            nl.add_address(p0, to("10.0.0.1"), 24).unwrap();
            let other = NetNs::create().unwrap();
            nl.move_to(q0, &other).unwrap();
            other
                .enter(|| {
                    let mut nl = Netlink::open().unwrap();
                    let q0 = nl.link("q0").unwrap().unwrap().index;
                    nl.set_up(q0).unwrap();
                    nl.add_address(q0, to("10.0.0.2"), 24).unwrap();
                })
                .unwrap();
            assert!(!nl.neighbour_answers(p0, to("10.0.0.2")).unwrap());
            for _ in 0..2 {
                nl.ask_neighbour(p0, to("10.0.0.2"), true).unwrap();
                poll_until("the neighbour has answered", || {
                    nl.neighbour_answers(p0, to("10.0.0.2")).unwrap()
                });
            }
            let mac = nl.neighbour_mac(p0, to("10.0.0.2")).unwrap();
            assert!(mac.is_some_and(|mac| mac.is_unicast() && !mac.is_zero()));
            assert_eq!(nl.neighbour_mac(p0, to("10.0.0.9")).unwrap(), None);
            nl.ask_neighbour(p0, to("10.0.0.3"), false).unwrap();
            assert!(!nl.neighbour_answers(p0, to("10.0.0.3")).unwrap());
        });
    }
}
