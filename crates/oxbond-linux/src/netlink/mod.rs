//! Requests to the kernel over rtnetlink: links, addresses, routes.
//!
//! One [`Netlink`] is one blocking socket in the network namespace of the thread that opened it; it keeps to that
//! namespace wherever it is used later. Events come by another socket, see [`crate::events`].

mod address;
mod attributes;
pub(crate) mod bond;
pub(crate) mod bond_option;
mod bridge;
mod forwarding;
mod link;
mod neighbour;
mod nexthop;
mod route;
mod transport;
mod vlan;

pub use address::{Address, AddressRecord, Lifetime};
pub(crate) use attributes::{attribute, attributes};
pub use bridge::{BridgePortSettings, BridgeSetting, BridgeSettings, PortVlan};
pub use forwarding::Station;
pub use link::{ALIAS_MARK, Link, OperState};
pub(crate) use link::{DEL_LINK, NEW_LINK};
pub use neighbour::NeighbourRecord;
pub use nexthop::NexthopRecord;
pub use route::{DefaultRoute, Route, RouteRecord, Way};
pub(crate) use transport::{Failure, Messages, Transport, retry_interrupted};
pub use vlan::VlanSettings;

use netlink_packet_core::Emitable;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::error::KernelError;

/// A socket for rtnetlink requests.
#[derive(Debug)]
pub struct Netlink {
    transport: Transport,
    writes: u64,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the system has no more sockets to give.
    pub fn open() -> Result<Self, KernelError> {
        let transport = Transport::open(NETLINK_ROUTE)
            .map_err(|e| KernelError::from_io("open", "an rtnetlink socket", &e))?;
        Ok(Self {
            transport,
            writes: 0,
        })
    }

    /// How many requests that change something were made so far, whether they succeeded or not.
    ///
    /// Counts the settings under `/proc/sys` too. A plan without a difference must leave it where it was.
    pub const fn writes(&self) -> u64 {
        self.writes
    }

    /// Notes a write made by other means than this socket.
    pub(crate) const fn count_write(&mut self) {
        self.writes += 1;
    }

    /// One change, acknowledged.
    fn write(
        &mut self,
        message: &RouteNetlinkMessage,
        flags: u16,
        op: impl Into<String>,
        object: impl Into<String>,
    ) -> Result<(), KernelError> {
        self.write_body(message.message_type(), &body_of(message), flags, op, object)
    }

    /// One change of this message type, whose body is ready.
    fn write_body(
        &mut self,
        kind: u16,
        body: &[u8],
        flags: u16,
        op: impl Into<String>,
        object: impl Into<String>,
    ) -> Result<(), KernelError> {
        self.writes += 1;
        match self.transport.request(kind, flags, body) {
            Ok(_) => Ok(()),
            Err(failure) => Err(named(failure, op, object)),
        }
    }

    /// One question with one answer.
    fn ask(&mut self, message: &RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, Failure> {
        let answers = self
            .transport
            .request(message.message_type(), 0, &body_of(message))?;
        let answers = answers.iter();
        answers
            .map(|answer| parse(answer.kind, &answer.body))
            .collect()
    }

    /// A whole table.
    fn dump(
        &mut self,
        message: &RouteNetlinkMessage,
        what: &str,
    ) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
        self.dump_those(message, what, |_| true)
    }

    /// What of a whole table is meant, as told by the bodies of its messages.
    fn dump_those(
        &mut self,
        message: &RouteNetlinkMessage,
        what: &str,
        meant: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
        let parsed = |kind, body: &[u8]| meant(body).then(|| parse(kind, body));
        self.transport
            .dump(message.message_type(), &body_of(message), parsed)
            .and_then(|answers| answers.into_iter().collect())
            .map_err(|failure| named(failure, "list", what))
    }
}

/// Gives a failure its context.
pub(crate) fn named(
    failure: Failure,
    op: impl Into<String>,
    object: impl Into<String>,
) -> KernelError {
    KernelError {
        op: op.into(),
        object: object.into(),
        errno: failure.errno,
        ext_ack: failure.ext_ack,
    }
}

/// Parses an rtnetlink message without its netlink header.
pub(crate) fn parse(kind: u16, body: &[u8]) -> Result<RouteNetlinkMessage, Failure> {
    use netlink_packet_core::ParseableParametrized as _;
    RouteNetlinkMessage::parse_with_param(body, kind).map_err(Failure::garbled)
}

fn body_of(message: &RouteNetlinkMessage) -> Vec<u8> {
    let mut body = vec![0; message.buffer_len()];
    message.emit(&mut body);
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{PATIENCE, in_fresh_namespaces, veth_pair};

    #[test]
    fn root_a_refusal_carries_the_kernels_own_words() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("p0", "q0").unwrap();
            let p0 = nl.link("p0").unwrap().unwrap();
            let error = nl.set_mtu(p0.index, 70_000).unwrap_err();
            assert_eq!(
                error.ext_ack.as_deref(),
                Some("mtu greater than device maximum")
            );
            assert_eq!(
                error.to_string(),
                "cannot set MTU 70000 of p0: mtu greater than device maximum (Invalid argument)"
            );
            let error = nl.create_veth("p0", "q9").unwrap_err();
            assert_eq!((error.errno, error.object.as_str()), (libc::EEXIST, "p0"));
            assert!(nl.set_up(9999).unwrap_err().is_gone());
            // The socket is still in step after refusals.
            assert_eq!(nl.link("p0").unwrap(), Some(p0));
        });
    }

    #[test]
    fn root_only_changes_count_as_writes() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.links().unwrap();
            nl.link("none").unwrap();
            nl.addresses(1).unwrap();
            nl.default_routes().unwrap();
            nl.way_to("10.0.0.9".parse().unwrap(), None).unwrap();
            assert_eq!(nl.writes(), 0);
            nl.set_up(1).unwrap();
            nl.set_mtu(9999, 1500).unwrap_err();
            crate::ipv6::set_disabled(&mut nl, "lo", false).unwrap(); // So it is already.
            assert_eq!(nl.writes(), 2);
            crate::ipv6::set_disabled(&mut nl, "lo", true).unwrap();
            assert_eq!(nl.writes(), 3);
            assert_eq!(crate::ipv6::is_disabled("lo").unwrap(), Some(true));
        });
    }

    #[test]
    fn root_default_routes_name_every_way_out() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            let (p0, q0) = veth_pair(&mut nl);
            nl.set_up(p0).unwrap();
            nl.set_up(q0).unwrap();
            nl.add_address(p0, "10.0.0.2".parse().unwrap(), 24).unwrap();
            nl.add_address(q0, "10.0.1.2".parse().unwrap(), 24).unwrap();
            assert_eq!(nl.default_routes().unwrap(), []);
            assert!(
                nl.add_default_route(p0, "10.9.9.9".parse().unwrap())
                    .is_err()
            );
            nl.add_default_route(p0, "10.0.0.1".parse().unwrap())
                .unwrap();
            let routes = nl.default_routes().unwrap();
            assert_eq!(routes.len(), 1);
            assert_eq!(
                (routes[0].ifindex, routes[0].gateway),
                (p0, Some("10.0.0.1".parse().unwrap()))
            );
            assert_eq!(
                nl.del_default_route(q0, "10.0.0.1".parse().unwrap())
                    .unwrap_err()
                    .errno,
                libc::ESRCH,
                "through another interface there is none"
            );
            nl.del_default_route(p0, "10.0.0.1".parse().unwrap())
                .unwrap();
            assert_eq!(nl.default_routes().unwrap(), []);
            nl.add_address(p0, "fd00::2".parse().unwrap(), 64).unwrap();
            nl.add_default_route(p0, "fd00::1".parse().unwrap())
                .unwrap();
            assert!(nl.default_routes().unwrap()[0].ipv6);
            nl.del_default_route(p0, "fd00::1".parse().unwrap())
                .unwrap();
            assert_eq!(nl.default_routes().unwrap(), []);
            // Several next hops: each interface counts.
            let status = std::process::Command::new("ip")
                .args(
                    "route replace default metric 7 nexthop via 10.0.0.1 nexthop via 10.0.1.1"
                        .split(' '),
                )
                .status()
                .unwrap();
            assert!(status.success());
            let mut by: Vec<_> = nl
                .default_routes()
                .unwrap()
                .into_iter()
                .filter(|r| r.metric == 7)
                .map(|r| r.ifindex)
                .collect();
            by.sort_unstable();
            let mut both = [p0, q0];
            both.sort_unstable();
            assert_eq!(by, both);
        });
    }

    #[test]
    fn root_a_way_names_interface_and_source() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("p0", "q0").unwrap();
            let p0 = nl.link("p0").unwrap().unwrap().index;
            let lo = nl.link("lo").unwrap().unwrap().index;
            let to = |text: &str| text.parse().unwrap();
            let target = to("10.0.0.9");
            assert_eq!(nl.way_to(target, None).unwrap(), None);
            assert_eq!(nl.way_to(to("fd00::9"), None).unwrap(), None);
            for index in [lo, p0, nl.link("q0").unwrap().unwrap().index] {
                nl.set_up(index).unwrap();
            }
            nl.add_address(p0, to("10.0.0.2"), 24).unwrap();
            nl.add_address(p0, to("fd00::2"), 64).unwrap();
            let way = |ifindex, source: &str, gateway: Option<&str>| {
                Some(Way {
                    ifindex,
                    gateway: gateway.map(to),
                    source: Some(to(source)),
                })
            };
            assert_eq!(nl.way_to(target, None).unwrap(), way(p0, "10.0.0.2", None));
            assert_eq!(
                nl.way_to(to("10.0.0.2"), None).unwrap().unwrap().ifindex,
                lo
            );
            // IPv6 makes its routes when it has noticed the carrier.
            let begun = std::time::Instant::now();
            for (target, only) in [("fd00::9", None), ("fe80::9", Some(p0))] {
                let way = loop {
                    match nl.way_to(to(target), only).unwrap() {
                        Some(way) => break way,
                        None => assert!(begun.elapsed() < PATIENCE, "no route to {target}"),
                    }
                    std::thread::sleep(std::time::Duration::from_millis(10));
                };
                assert_eq!((way.ifindex, way.gateway), (p0, None));
            }
            nl.add_default_route(p0, to("10.0.0.1")).unwrap();
            let far = nl.way_to(to("192.0.2.1"), None).unwrap();
            assert_eq!(far, way(p0, "10.0.0.2", Some("10.0.0.1")));
        });
    }

    #[test]
    fn root_an_indirect_peer_in_another_namespace_is_not_taken_for_a_neighbour() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("p0", "q0").unwrap();
            let q0 = nl.link("q0").unwrap().unwrap();
            assert_eq!(nl.link("p0").unwrap().unwrap().lower, Some(q0.index));
            let other = crate::netns::NetNs::create().unwrap();
            nl.move_to(q0.index, &other).unwrap();
            assert_eq!(nl.link("p0").unwrap().unwrap().lower, None);
        });
    }
}
