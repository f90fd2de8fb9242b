//! Routes: which there are, adding and removing them; which interface the machine's way out leads through, and how one
//! destination is reached.

use std::net::IpAddr;

use netlink_packet_core::{Emitable as _, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use serde::{Deserialize, Serialize};

use super::{Failure, Netlink, named, parse};
use crate::error::KernelError;

/// A default route and an interface it leaves by. One with several next hops counts once for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// Interface it leaves by.
    pub ifindex: u32,
    /// Next hop, where it has one.
    pub gateway: Option<IpAddr>,
    /// IPv6, not IPv4.
    pub ipv6: bool,
    /// Routing table.
    pub table: u32,
    /// Metric; lower wins. 0 when none is set.
    pub metric: u32,
}

/// How the system would send to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Interface it leaves by; the loopback for an address of the system itself.
    pub ifindex: u32,
    /// Next hop; `None` for a destination on the link.
    pub gateway: Option<IpAddr>,
    /// Our address towards it, where there is one.
    pub source: Option<IpAddr>,
}

/// A unicast route with one next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Route {
    /// First address of the network it leads to.
    pub to: IpAddr,
    /// Bits of that network's prefix.
    pub prefix_len: u8,
    /// Next hop; `None` for what is on the link.
    pub via: Option<IpAddr>,
    /// Metric; lower wins. `None` adds with the kernel's default, which is read back as 0 (IPv4) or 1024 (IPv6).
    pub metric: Option<u32>,
    /// Routing table; 254 is the main one.
    pub table: u32,
    /// The next hop is taken to be on the link whatever the addresses say.
    pub on_link: bool,
}

impl Route {
    /// The routing table that is looked at for everything.
    pub const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;

    /// As the kernel reads it back: with its metric.
    #[must_use]
    pub fn as_read_back(self) -> Self {
        let default = if self.to.is_ipv6() { 1024 } else { 0 };
        Self {
            metric: Some(self.metric.filter(|metric| *metric != 0).unwrap_or(default)),
            ..self
        }
    }
}

/// A route of the system with all that belongs to it, so that it can be put back as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRecord {
    /// Every interface it leaves by; several where it has several next hops. Of a next hop that is an object of its own only
    /// where the kernel tells them (`net.ipv4.nexthop_compat_mode`).
    pub ifindexes: Vec<u32>,
    /// The route; of several next hops the first.
    pub route: Route,
    /// The kernel made it itself (for an address, from a router's advertisement or redirect) and will again.
    pub automatic: bool,
    /// A router advertised it.
    #[serde(default)]
    pub advertised: bool,
    /// It names its next hop by this number ([`Netlink::nexthops`]).
    #[serde(default)]
    pub nexthop: Option<u32>,
    /// It goes by itself after this time, in seconds.
    #[serde(default)]
    expires_secs: Option<u32>,
    /// The kernel's message.
    message: Vec<u8>,
}

impl RouteRecord {
    /// Whether one of these leads where this does, by the same ways.
    pub fn is_among(&self, others: &[Self]) -> bool {
        others.iter().any(|other| {
            other.route == self.route
                && other.ifindexes == self.ifindexes
                && other.nexthop == self.nexthop
        })
    }

    fn from_message(message: &RouteMessage) -> Option<Self> {
        let header = &message.header;
        if header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Cloned) {
            return None;
        }
        let mut ways = Vec::new();
        ways_of(message, &mut ways);
        let nexthop = message.attributes.iter().find_map(nexthop_of);
        if ways.is_empty() && nexthop.is_none() {
            return None;
        }
        let first = ways.first();
        let to = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(to)) => Some(IpAddr::V4(*to)),
                RouteAttribute::Destination(RouteAddress::Inet6(to)) => Some(IpAddr::V6(*to)),
                _ => None,
            });
        let (mut table, mut metric) = (u32::from(header.table), 0);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Table(number) => table = *number,
                RouteAttribute::Priority(number) => metric = *number,
                _ => {}
            }
        }
        let everything = match message.header.address_family {
            AddressFamily::Inet => IpAddr::from([0_u8; 4]),
            _ => IpAddr::from([0_u8; 16]),
        };
        // In hundredths of a second (USER_HZ).
        let expires_secs = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                RouteAttribute::CacheInfo(info) => Some(info.expires / 100),
                _ => None,
            })
            .filter(|secs| *secs > 0);
        let mut kept = message.clone();
        // What the kernel says of a route, and would not be told.
        kept.header.flags &= RouteFlags::Onlink;
        kept.attributes.retain(|attribute| match attribute {
            RouteAttribute::CacheInfo(_) => false,
            RouteAttribute::Oif(_)
            | RouteAttribute::Gateway(_)
            | RouteAttribute::Via(_)
            | RouteAttribute::MultiPath(_)
            | RouteAttribute::EncapType(_)
            | RouteAttribute::Encap(_) => nexthop.is_none(),
            _ => true,
        });
        if nexthop.is_some() {
            kept.header.flags = RouteFlags::empty();
        }
        let mut body = vec![0; kept.buffer_len()];
        kept.emit(&mut body);
        Some(Self {
            ifindexes: ways.iter().map(|way| way.ifindex).collect(),
            route: Route {
                to: to.unwrap_or(everything),
                prefix_len: message.header.destination_prefix_length,
                via: first.and_then(|first| first.gateway),
                metric: Some(metric),
                table,
                on_link: message.header.flags.contains(RouteFlags::Onlink),
            },
            automatic: matches!(
                message.header.protocol,
                RouteProtocol::Kernel | RouteProtocol::Ra | RouteProtocol::IcmpRedirect
            ),
            advertised: header.protocol == RouteProtocol::Ra,
            nexthop,
            expires_secs,
            message: body,
        })
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.prefix_len {
            0 if self.to.is_ipv6() => f.write_str("default (IPv6)")?,
            0 => f.write_str("default")?,
            length => write!(f, "{}/{length}", self.to)?,
        }
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        if let Some(metric) = self.metric.filter(|metric| *metric != 0) {
            write!(f, " metric {metric}")?;
        }
        if self.table != Self::MAIN {
            write!(f, " table {}", self.table)?;
        }
        if self.on_link {
            f.write_str(" on-link")?;
        }
        Ok(())
    }
}

impl DefaultRoute {
    /// It is in the main table, where [`Netlink::add_default_route`] puts one.
    pub const fn is_main(&self) -> bool {
        self.table == RouteHeader::RT_TABLE_MAIN as u32
    }
}

impl RouteRecord {
    /// The kernel's own message of it. `op` is what that is for.
    fn parsed(&self, op: &str) -> Result<RouteMessage, KernelError> {
        let kind = RouteNetlinkMessage::NewRoute(RouteMessage::default()).message_type();
        match parse(kind, &self.message) {
            Ok(RouteNetlinkMessage::NewRoute(message)) => Ok(message),
            Ok(_) => Err(named(
                Failure::garbled("no route"),
                op,
                self.route.to_string(),
            )),
            Err(failure) => Err(named(failure, op, self.route.to_string())),
        }
    }
}

impl Netlink {
    /// Every unicast default route, of every table and both families.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn default_routes(&mut self) -> Result<Vec<DefaultRoute>, KernelError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            // The length of the destination is at byte 1 of `struct rtmsg`; every interface has routes that are no default.
            let is_default = |header: &[u8]| header.get(1) == Some(&0);
            let request = RouteNetlinkMessage::GetRoute(message);
            for answer in self.dump_those(&request, "routes", is_default)? {
                if let RouteNetlinkMessage::NewRoute(route) = answer
                    && route.header.kind == RouteType::Unicast
                {
                    ways_of(&route, &mut routes);
                }
            }
        }
        Ok(routes)
    }

    /// The way to a destination, `None` when there is no route. `ifindex` restricts it to one interface.
    ///
    /// # Errors
    /// What the kernel says, but for there being no route.
    pub fn way_to(
        &mut self,
        destination: IpAddr,
        ifindex: Option<u32>,
    ) -> Result<Option<Way>, KernelError> {
        let mut message = RouteMessage::default();
        (
            message.header.address_family,
            message.header.destination_prefix_length,
        ) = match destination {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        message
            .attributes
            .push(RouteAttribute::Destination(destination.into()));
        message.attributes.extend(ifindex.map(RouteAttribute::Oif));
        let answers = match self.ask(&RouteNetlinkMessage::GetRoute(message)) {
            Ok(answers) => answers,
            // RTM_GETROUTE also refuses with what stands in a blackhole, unreachable or prohibiting route.
            Err(failure)
                if [
                    libc::ENETUNREACH,
                    libc::EHOSTUNREACH,
                    libc::EACCES,
                    libc::EINVAL,
                    libc::ENODEV,
                ]
                .contains(&failure.errno) =>
            {
                return Ok(None);
            }
            Err(failure) => {
                return Err(named(
                    failure,
                    "look up the route to",
                    destination.to_string(),
                ));
            }
        };
        Ok(answers.iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(route) => way_of(route),
            _ => None,
        }))
    }

    /// Every unicast route of every table and both families, but for the table of local addresses.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn routes(&mut self) -> Result<Vec<RouteRecord>, KernelError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            for answer in self.dump(&RouteNetlinkMessage::GetRoute(message), "routes")? {
                if let RouteNetlinkMessage::NewRoute(route) = answer {
                    routes.extend(RouteRecord::from_message(&route));
                }
            }
        }
        Ok(routes)
    }

    /// Adds a route over an interface.
    ///
    /// # Errors
    /// What the kernel says; `EEXIST` when there is one to the same network with the same metric, `ENETUNREACH` when the
    /// next hop is on no network of the interface.
    pub fn add_route(&mut self, ifindex: u32, route: &Route) -> Result<(), KernelError> {
        let mut message = route_message(ifindex, route);
        message.header.protocol = RouteProtocol::Static;
        message.header.scope = match route.via {
            None if route.to.is_ipv4() => RouteScope::Link,
            _ => RouteScope::Universe,
        };
        if route.on_link {
            message.header.flags = RouteFlags::Onlink;
        }
        self.write(
            &RouteNetlinkMessage::NewRoute(message),
            NLM_F_CREATE | NLM_F_EXCL,
            "add route",
            route.to_string(),
        )
    }

    /// Removes a route over an interface.
    ///
    /// # Errors
    /// What the kernel says; `ESRCH` when there is none.
    pub fn del_route(&mut self, ifindex: u32, route: &Route) -> Result<(), KernelError> {
        let mut message = route_message(ifindex, route);
        // Of whatever scope.
        message.header.scope = RouteScope::NoWhere;
        self.write(
            &RouteNetlinkMessage::DelRoute(message),
            0,
            "remove route",
            route.to_string(),
        )
    }

    /// Removes a route exactly, with all its next hops.
    ///
    /// # Errors
    /// What the kernel says; `ESRCH` when it is gone already.
    pub fn take_route(&mut self, record: &RouteRecord) -> Result<(), KernelError> {
        let kind = RouteNetlinkMessage::DelRoute(RouteMessage::default()).message_type();
        let object = record.route.to_string();
        self.write_body(kind, &record.message, 0, "remove route", object)
    }

    /// Puts a route back as it was; one with a single next hop over `ifindex`, wherever it led before.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn put_back_route(
        &mut self,
        ifindex: u32,
        record: &RouteRecord,
    ) -> Result<(), KernelError> {
        let (op, object) = ("put back route", record.route.to_string());
        let mut message = record.parsed(op)?;
        for attribute in &mut message.attributes {
            if let RouteAttribute::Oif(index) = attribute {
                *index = ifindex;
            }
        }
        let message = RouteNetlinkMessage::NewRoute(message);
        self.write(&message, NLM_F_CREATE | NLM_F_EXCL, op, object)
    }

    /// Lets a route that leads over one interface lead over another. Of IPv4 it then is there twice, and the earlier one is
    /// taken as long as it is there; of IPv6, where the two would share the traffic from then on, it replaces the earlier one.
    /// Next hops over other interfaces stay. One that is there already is fine.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn move_route(
        &mut self,
        from: u32,
        to: u32,
        record: &RouteRecord,
    ) -> Result<(), KernelError> {
        let (op, object) = ("move route", record.route.to_string());
        let mut message = record.parsed(op)?;
        for attribute in &mut message.attributes {
            match attribute {
                RouteAttribute::Oif(index) if *index == from => *index = to,
                RouteAttribute::MultiPath(hops) => {
                    for hop in hops.iter_mut().filter(|hop| hop.interface_index == from) {
                        hop.interface_index = to;
                    }
                }
                _ => {}
            }
        }
        message
            .attributes
            .extend(record.expires_secs.map(RouteAttribute::Expires));
        let message = RouteNetlinkMessage::NewRoute(message);
        let how = match record.route.to.is_ipv6() {
            true => NLM_F_REPLACE,
            false => NLM_F_APPEND,
        };
        match self.write(&message, NLM_F_CREATE | how, op, object) {
            Err(error) if error.errno == libc::EEXIST => Ok(()),
            other => other,
        }
    }

    /// Adds a default route through a gateway to the main table.
    ///
    /// # Errors
    /// What the kernel says; `EEXIST` when there is one already, `ENETUNREACH` when the gateway is on no network of
    /// the interface.
    pub fn add_default_route(&mut self, ifindex: u32, gateway: IpAddr) -> Result<(), KernelError> {
        let mut message = default_route(ifindex, gateway);
        message.header.protocol = RouteProtocol::Static;
        message.header.scope = RouteScope::Universe;
        message.header.kind = RouteType::Unicast;
        self.write(
            &RouteNetlinkMessage::NewRoute(message),
            NLM_F_CREATE | NLM_F_EXCL,
            "add the default route through",
            gateway.to_string(),
        )
    }

    /// Removes the default route through a gateway and this interface from the main table.
    ///
    /// # Errors
    /// What the kernel says; `ESRCH` when there is none.
    pub fn del_default_route(&mut self, ifindex: u32, gateway: IpAddr) -> Result<(), KernelError> {
        let mut message = default_route(ifindex, gateway);
        // Of whatever scope.
        message.header.scope = RouteScope::NoWhere;
        self.write(
            &RouteNetlinkMessage::DelRoute(message),
            0,
            "remove the default route through",
            gateway.to_string(),
        )
    }
}

/// What adding and removing have in common.
fn route_message(ifindex: u32, route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = match route.to {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.destination_prefix_length = route.prefix_len;
    message.header.kind = RouteType::Unicast;
    // Tables beyond 255 are told by the attribute alone.
    message.header.table = u8::try_from(route.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(route.table));
    attributes.push(RouteAttribute::Destination(route.to.into()));
    attributes.extend(
        route
            .via
            .map(|via| RouteAttribute::Gateway(RouteAddress::from(via))),
    );
    attributes.extend(route.metric.map(RouteAttribute::Priority));
    attributes.push(RouteAttribute::Oif(ifindex));
    message
}

/// What adding and removing a default route have in common.
fn default_route(ifindex: u32, gateway: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = if gateway.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message
        .attributes
        .push(RouteAttribute::Gateway(RouteAddress::from(gateway)));
    message.attributes.push(RouteAttribute::Oif(ifindex));
    message
}

/// `None` for a route that leads nowhere.
fn way_of(route: &RouteMessage) -> Option<Way> {
    if !matches!(route.header.kind, RouteType::Unicast | RouteType::Local) {
        return None;
    }
    let mut source = None;
    let mut ifindex = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::PrefSource(RouteAddress::Inet(own)) => source = Some(IpAddr::V4(*own)),
            RouteAttribute::PrefSource(RouteAddress::Inet6(own)) => source = Some(IpAddr::V6(*own)),
            _ => {}
        }
    }
    Some(Way {
        ifindex: ifindex?,
        gateway: route.attributes.iter().find_map(gateway_of),
        source: source.filter(|own| !own.is_unspecified()),
    })
}

fn ways_of(route: &RouteMessage, ways: &mut Vec<DefaultRoute>) {
    let ipv6 = route.header.address_family == AddressFamily::Inet6;
    let mut table = u32::from(route.header.table);
    let mut metric = 0;
    let mut gateway = None;
    let mut single = None;
    let mut several = Vec::new();
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Oif(index) => single = Some(*index),
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => gateway = gateway_of(attribute),
            RouteAttribute::MultiPath(hops) => {
                several.extend(hops.iter().map(|hop| {
                    (
                        hop.interface_index,
                        hop.attributes.iter().find_map(gateway_of),
                    )
                }));
            }
            _ => {}
        }
    }
    let hops = if several.is_empty() {
        single.map(|index| (index, gateway)).into_iter().collect()
    } else {
        several
    };
    ways.extend(hops.into_iter().map(|(ifindex, gateway)| DefaultRoute {
        ifindex,
        gateway,
        ipv6,
        table,
        metric,
    }));
}

const fn nexthop_of(attribute: &RouteAttribute) -> Option<u32> {
    match attribute {
        RouteAttribute::NhId(id) => Some(*id),
        _ => None,
    }
}

fn gateway_of(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some((*address).into()),
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some((*address).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{in_fresh_namespaces, veth_pair};

    #[test]
    fn root_routes_are_added_read_back_taken_and_put_back() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            let (p0, q0) = veth_pair(&mut nl);
            let to = |text: &str| text.parse::<IpAddr>().unwrap();
            for (device, address) in [(p0, "10.0.0.2"), (q0, "10.0.1.2")] {
                nl.set_up(device).unwrap();
                nl.add_address(device, to(address), 24).unwrap();
            }
            let route = |network: &str, prefix_len, via: Option<&str>| Route {
                to: to(network),
                prefix_len,
                via: via.map(to),
                metric: None,
                table: Route::MAIN,
                on_link: false,
            };
            let wanted = [
                route("0.0.0.0", 0, Some("10.0.0.1")),
                route("10.9.0.0", 16, None),
                Route {
                    metric: Some(7),
                    table: 1000,
                    ..route("10.8.0.0", 16, Some("10.0.0.3"))
                },
                Route {
                    on_link: true,
                    ..route("10.7.0.0", 16, Some("192.0.2.1"))
                },
                route("fd00:9::", 64, None),
                Route {
                    metric: Some(5),
                    ..route("::", 0, Some("fe80::1"))
                },
            ];
            let ours = |nl: &mut Netlink| -> Vec<RouteRecord> {
                let mut found = nl.routes().unwrap();
                found.retain(|record| !record.automatic);
                found
            };
            for route in &wanted {
                nl.add_route(p0, route).unwrap();
            }
            let found = ours(&mut nl);
            assert_eq!(found.len(), wanted.len(), "{found:#?}");
            for route in &wanted {
                let read = route.as_read_back();
                assert!(
                    found.iter().any(|f| f.route == read && f.ifindexes == [p0]),
                    "{read} {found:#?}"
                );
            }
            for record in &found {
                nl.take_route(record).unwrap();
            }
            assert_eq!(ours(&mut nl), []);
            for record in &found {
                nl.put_back_route(p0, record).unwrap();
            }
            assert_eq!(ours(&mut nl), found);
            for route in &wanted {
                nl.del_route(p0, &route.as_read_back()).unwrap();
            }
            assert_eq!(ours(&mut nl), []);
            // Several next hops, with what we never set ourselves.
            let words = "route add 10.6.0.0/16 proto 42 src 10.0.0.2 metric 9 mtu 1400 nexthop via 10.0.0.1 weight 3 nexthop via 10.0.1.1";
            let status = std::process::Command::new("ip")
                .args(words.split(' '))
                .status();
            assert!(status.unwrap().success());
            let found = ours(&mut nl);
            assert_eq!(found[0].ifindexes, [p0, q0]);
            nl.take_route(&found[0]).unwrap();
            assert_eq!(ours(&mut nl), []);
            nl.put_back_route(p0, &found[0]).unwrap();
            assert_eq!(ours(&mut nl), found);
        });
    }
}
