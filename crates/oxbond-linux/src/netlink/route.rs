//! Routes: which interface the machine's way out leads through, and how one destination is reached.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Netlink, named};
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

impl DefaultRoute {
    /// It is in the main table, where [`Netlink::add_default_route`] puts one.
    pub const fn is_main(&self) -> bool {
        self.table == RouteHeader::RT_TABLE_MAIN as u32
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
            for answer in self.dump(&RouteNetlinkMessage::GetRoute(message), "routes")? {
                if let RouteNetlinkMessage::NewRoute(route) = answer
                    && route.header.destination_prefix_length == 0
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

fn gateway_of(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some((*address).into()),
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some((*address).into()),
        _ => None,
    }
}
