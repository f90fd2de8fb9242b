//! The steps of a plan: each changes one thing, and says in words what.

use std::collections::BTreeSet;
use std::fmt;

use oxbond_config::model::Cidr;
use oxbond_core::engine::Engine;
use oxbond_core::option::{OptionChange, PortOptionChange};
use oxbond_linux::netlink::{AddressRecord, PortVlan, Route, RouteRecord};
use oxbond_linux::resolver::NameService;
use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use super::running::cidr_of;
use super::wanted::Family;
use crate::control::protocol::{BondRequest, PortRequest};

/// One change of the system. Devices go by their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// Make a bond with the ports that are free for it.
    CreateBond {
        /// As asked for.
        request: BondRequest,
        /// What is to carry it.
        engine: Engine,
        /// Why that.
        why: String,
    },
    /// Put a bond under management that is on the kernel's driver; nothing of it is changed by that.
    TakeOver {
        /// The bond.
        bond: String,
    },
    /// Take a bond apart and give its ports back.
    DeleteBond {
        /// The bond.
        bond: String,
    },
    /// Change options of a bond.
    BondOptions {
        /// The bond.
        bond: String,
        /// The changes, carried out as one.
        changes: Vec<OptionChange>,
    },
    /// Join a port.
    AddPort {
        /// The bond.
        bond: String,
        /// The port.
        port: PortRequest,
    },
    /// Wait for a port that is not there; it joins when it appears.
    ExpectPort {
        /// The bond.
        bond: String,
        /// The port.
        port: PortRequest,
    },
    /// Take a port out.
    RemovePort {
        /// The bond.
        bond: String,
        /// Name of the port.
        port: String,
    },
    /// Change options of a port.
    PortOptions {
        /// The bond.
        bond: String,
        /// Name of the port.
        port: String,
        /// The changes.
        changes: Vec<PortOptionChange>,
    },
    /// Set the MTU of a bond and its ports.
    BondMtu {
        /// The bond.
        bond: String,
        /// Bytes.
        mtu: u32,
    },
    /// Set the address of a bond.
    BondMac {
        /// The bond.
        bond: String,
        /// The address.
        mac: MacAddr,
    },
    /// Make a VLAN device.
    CreateVlan {
        /// Its name.
        name: String,
        /// What it stands on.
        link: String,
        /// VLAN id.
        id: u16,
    },
    /// Make a bridge.
    CreateBridge {
        /// Its name.
        name: String,
    },
    /// Delete a VLAN device or bridge of ours.
    DeleteDevice {
        /// Its name.
        name: String,
    },
    /// Let a bridge speak the spanning tree protocol, or not.
    Stp {
        /// The bridge.
        bridge: String,
        /// It does.
        on: bool,
    },
    /// Set the forward delay of a bridge.
    ForwardDelay {
        /// The bridge.
        bridge: String,
        /// Hundredths of a second.
        delay: u32,
    },
    /// Let a bridge look at VLAN tags, or not.
    VlanFiltering {
        /// The bridge.
        bridge: String,
        /// It does.
        on: bool,
    },
    /// Make an interface the port of a bridge, or of nothing.
    Master {
        /// The interface.
        port: String,
        /// The bridge.
        master: Option<String>,
        /// The bridge it was in.
        was: Option<String>,
        /// Its VLANs there.
        vlans: Vec<PortVlan>,
    },
    /// Give an interface back to the bridge it came from.
    PutBackMaster {
        /// The interface.
        port: String,
        /// The bridge.
        master: String,
        /// Its VLANs there.
        vlans: Vec<PortVlan>,
    },
    /// Let VLANs through a bridge port.
    AddVlans {
        /// The port, or the bridge.
        port: String,
        /// It is the bridge, as its own port.
        bridge: bool,
        /// First VLAN.
        first: u16,
        /// Last VLAN.
        last: u16,
        /// It is the VLAN of untagged frames.
        pvid: bool,
    },
    /// Let VLANs through a bridge port no longer.
    DelVlans {
        /// The port, or the bridge.
        port: String,
        /// It is the bridge, as its own port.
        bridge: bool,
        /// First VLAN.
        first: u16,
        /// Last VLAN.
        last: u16,
    },
    /// Set the MTU of a VLAN device or bridge.
    Mtu {
        /// The device.
        device: String,
        /// Bytes.
        mtu: u32,
    },
    /// Set the address of a VLAN device or bridge.
    Mac {
        /// The device.
        device: String,
        /// The address.
        mac: MacAddr,
    },
    /// Set a device up or down.
    Up {
        /// The device.
        device: String,
        /// Up.
        up: bool,
    },
    /// Set the kernel's `accept_ra`.
    AcceptRa {
        /// The device.
        device: String,
        /// The kernel's number.
        value: u8,
    },
    /// Add an address.
    AddAddress {
        /// The device.
        device: String,
        /// The address.
        address: Cidr,
    },
    /// Remove an address of ours.
    DelAddress {
        /// The device.
        device: String,
        /// The address.
        address: Cidr,
    },
    /// Add a route.
    AddRoute {
        /// The device.
        device: String,
        /// The route.
        route: Route,
    },
    /// Remove a route of ours.
    DelRoute {
        /// The device.
        device: String,
        /// The route.
        route: Route,
    },
    /// Ask servers for addresses in these families, and in no others.
    Dhcp {
        /// The device.
        device: String,
        /// The families.
        families: BTreeSet<Family>,
    },
    /// Let the system's resolver know these name servers and domains of a device, and no others.
    Names {
        /// The device.
        device: String,
        /// What it brings along.
        names: NameService,
    },
    /// Put back what the kernel drops along with an address that goes.
    Keep {
        /// The device.
        device: String,
        /// Addresses that stay.
        addresses: Vec<AddressRecord>,
        /// Routes that stay.
        routes: Vec<RouteRecord>,
    },
    /// Have addresses in the order in which they were, and beside one of the link alone none that was not there.
    Order {
        /// The device.
        device: String,
        /// Those that were there.
        addresses: Vec<AddressRecord>,
    },
    /// Take an address off an interface that becomes a port, to be given back.
    TakeAddress {
        /// The interface.
        device: String,
        /// The address.
        record: AddressRecord,
    },
    /// Take a route off an interface that becomes a port, to be given back.
    TakeRoute {
        /// The interface.
        device: String,
        /// The route.
        record: RouteRecord,
    },
    /// Give an address back.
    PutBackAddress {
        /// The interface.
        device: String,
        /// The address.
        record: AddressRecord,
    },
    /// Give a route back.
    PutBackRoute {
        /// The interface.
        device: String,
        /// The route.
        record: RouteRecord,
    },
}

impl Step {
    /// The device it changes.
    pub(crate) fn device(&self) -> &str {
        match self {
            Self::CreateBond { request, .. } => &request.name,
            Self::TakeOver { bond }
            | Self::DeleteBond { bond }
            | Self::BondOptions { bond, .. }
            | Self::AddPort { bond, .. }
            | Self::ExpectPort { bond, .. }
            | Self::RemovePort { bond, .. }
            | Self::PortOptions { bond, .. }
            | Self::BondMtu { bond, .. }
            | Self::BondMac { bond, .. } => bond,
            Self::CreateVlan { name, .. }
            | Self::CreateBridge { name }
            | Self::DeleteDevice { name } => name,
            Self::Stp { bridge, .. }
            | Self::ForwardDelay { bridge, .. }
            | Self::VlanFiltering { bridge, .. } => bridge,
            Self::Master { port, .. }
            | Self::PutBackMaster { port, .. }
            | Self::AddVlans { port, .. }
            | Self::DelVlans { port, .. } => port,
            Self::Mtu { device, .. }
            | Self::Mac { device, .. }
            | Self::Up { device, .. }
            | Self::AcceptRa { device, .. }
            | Self::AddAddress { device, .. }
            | Self::DelAddress { device, .. }
            | Self::AddRoute { device, .. }
            | Self::DelRoute { device, .. }
            | Self::Dhcp { device, .. }
            | Self::Names { device, .. }
            | Self::Keep { device, .. }
            | Self::Order { device, .. }
            | Self::TakeAddress { device, .. }
            | Self::TakeRoute { device, .. }
            | Self::PutBackAddress { device, .. }
            | Self::PutBackRoute { device, .. } => device,
        }
    }

    /// What is told once it is done. (Bonds tell their changes themselves.)
    pub(crate) fn done(&self) -> String {
        format!("{}: {}", self.device(), self.words().1)
    }

    /// What is to be done, and what was done.
    fn words(&self) -> (String, String) {
        let set = |what: String| (format!("set {what}"), format!("{what} set"));
        let added = |what: String| (format!("add {what}"), format!("{what} added"));
        let removed = |what: String| (format!("remove {what}"), format!("{what} removed"));
        let created = |what: String| (format!("create {what}"), format!("{what} created"));
        let taken = |what: String| (format!("take off {what}"), format!("{what} taken off"));
        let given = |what: String| (format!("give back {what}"), format!("{what} given back"));
        let switched = |what: &str, on: bool| {
            let on = if on { "on" } else { "off" };
            (format!("switch {what} {on}"), format!("{what} is {on}"))
        };
        let run = |first: u16, last: u16| match first == last {
            true => format!("VLAN {first}"),
            false => format!("VLANs {first}-{last}"),
        };
        match self {
            Self::CreateBond {
                request,
                engine,
                why,
            } => {
                let ports: Vec<&str> = request.ports.iter().map(|p| p.name.as_str()).collect();
                let ports = match ports.as_slice() {
                    [] => "without ports".to_owned(),
                    ports => format!("with {}", ports.join(", ")),
                };
                created(format!("bond {ports} on engine {engine} ({why})"))
            }
            Self::TakeOver { .. } => (
                "take over as it is from the kernel's driver".to_owned(),
                "taken over from the kernel's driver as it is".to_owned(),
            ),
            Self::DeleteBond { .. } => removed("bond".to_owned()),
            Self::BondOptions { changes, .. } => {
                let each = changes.iter().map(|change| match change.text() {
                    value if value.is_empty() => format!("{} none", change.id),
                    value => format!("{} {value}", change.id),
                });
                set(each.collect::<Vec<_>>().join(", "))
            }
            Self::PortOptions { port, changes, .. } => {
                let each = changes.iter().map(|c| format!("{} {}", c.id, c.text()));
                let each = each.collect::<Vec<_>>().join(", ");
                set(format!("{each} of {port}"))
            }
            Self::AddPort { port, .. } => (
                format!("join {}", port.name),
                format!("{} joined", port.name),
            ),
            Self::ExpectPort { port, .. } => (
                format!("wait for {}, which is not there", port.name),
                format!("{} is not there and joins when it appears", port.name),
            ),
            Self::RemovePort { port, .. } => {
                (format!("take {port} out"), format!("{port} was taken out"))
            }
            Self::BondMtu { mtu, .. } | Self::Mtu { mtu, .. } => set(format!("MTU {mtu}")),
            Self::BondMac { mac, .. } | Self::Mac { mac, .. } => set(format!("address {mac}")),
            Self::CreateVlan { link, id, .. } => {
                created(format!("VLAN device with id {id} on {link}"))
            }
            Self::CreateBridge { .. } => created("bridge".to_owned()),
            Self::DeleteDevice { .. } => removed("device".to_owned()),
            Self::Stp { on, .. } => switched("the spanning tree protocol", *on),
            Self::ForwardDelay { delay, .. } => {
                set(format!("forward delay {} s", f64::from(*delay) / 100.0))
            }
            Self::VlanFiltering { on, .. } => switched("VLAN filtering", *on),
            Self::Master {
                master: Some(master),
                ..
            } => (
                format!("make it a port of {master}"),
                format!("is a port of {master}"),
            ),
            Self::PutBackMaster { master, .. } => (
                format!("make it a port of {master} again"),
                format!("is a port of {master} again"),
            ),
            Self::Master { was, .. } => {
                let was = was.as_deref().unwrap_or("its bridge");
                (
                    format!("take it out of {was}"),
                    format!("was taken out of {was}"),
                )
            }
            Self::AddVlans {
                first, last, pvid, ..
            } => {
                let untagged = if *pvid { ", untagged" } else { "" };
                let run = run(*first, *last) + untagged;
                (format!("let through {run}"), format!("lets through {run}"))
            }
            Self::DelVlans { first, last, .. } => {
                let run = run(*first, *last);
                (
                    format!("no longer let through {run}"),
                    format!("no longer lets through {run}"),
                )
            }
            Self::Up { up: true, .. } => ("set it up".to_owned(), "is up".to_owned()),
            Self::Up { up: false, .. } => ("set it down".to_owned(), "is down".to_owned()),
            Self::AcceptRa { value: 0, .. } => {
                let what = "routers' advertisements";
                (format!("ignore {what}"), format!("{what} are ignored"))
            }
            Self::AcceptRa { .. } => {
                let what = "routers' advertisements";
                (format!("hear {what}"), format!("{what} are heard"))
            }
            Self::AddAddress { address, .. } => added(format!("address {address}")),
            Self::DelAddress { address, .. } => removed(format!("address {address}")),
            Self::AddRoute { route, .. } => set(routed(route)),
            Self::DelRoute { route, .. } => removed(routed(&told(route))),
            Self::Dhcp { families, .. } if families.is_empty() => (
                "give up addresses by DHCP".to_owned(),
                "addresses by DHCP given up".to_owned(),
            ),
            Self::Dhcp { families, .. } => {
                let protocols: Vec<&str> =
                    families.iter().map(|family| family.protocol()).collect();
                let what = format!("addresses by {}", protocols.join(" and "));
                (format!("ask for {what}"), format!("{what} asked for"))
            }
            Self::Names { names, .. } if *names == NameService::default() => {
                removed("name servers".to_owned())
            }
            Self::Names { names, .. } => {
                let servers: Vec<String> = names.servers.iter().map(ToString::to_string).collect();
                let mut parts = Vec::new();
                if !servers.is_empty() {
                    parts.push(format!("name servers {}", servers.join(", ")));
                }
                if !names.search.is_empty() {
                    parts.push(format!("search domains {}", names.search.join(", ")));
                }
                set(parts.join(", "))
            }
            Self::Keep { .. } => (
                "keep what the kernel drops along with an address".to_owned(),
                "what went along with an address is back".to_owned(),
            ),
            Self::Order { .. } => (
                "have the addresses in their order of before".to_owned(),
                "addresses are in their order of before".to_owned(),
            ),
            Self::TakeAddress { record, .. } => {
                let until = match record.temporary {
                    true => " (which somebody renews, such as a DHCP client: stop that)",
                    false => "",
                };
                taken(format!("address {}{until}", cidr_of(record)))
            }
            Self::TakeRoute { record, .. } => taken(routed(&told(&record.route))),
            Self::PutBackAddress { record, .. } => given(format!("address {}", cidr_of(record))),
            Self::PutBackRoute { record, .. } => given(routed(&told(&record.route))),
        }
    }
}

/// A route in words; the plain default route is *the* gateway.
fn routed(route: &Route) -> String {
    match (route.prefix_len, route.via, route.metric) {
        (0, Some(via), None) if route.table == Route::MAIN => format!("gateway {via}"),
        _ => format!("route {route}"),
    }
}

/// A route as it would be asked for: the metric that the kernel gives by itself is not told.
pub(super) fn told(route: &Route) -> Route {
    let bare = Route {
        metric: None,
        ..*route
    };
    match bare.as_read_back() == *route {
        true => bare,
        false => *route,
    }
}

/// What is to be done.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.device(), self.words().0)
    }
}
