//! What a user wants, whatever dialect it was written in.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use oxbond_core::engine::{Engine, EngineChoice};
use oxbond_core::option::{OptionChange, OptionId, PortOptionChange};
use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use crate::span::{Located, Span};

/// Everything that is wanted: bonds, and what stands on them.
///
/// Its text ([`fmt::Display`]) is canonical: one value per line, devices in order of name, options in order of the
/// option table, no
/// places, and nothing about what is off. Two networks with one text are the same, wherever and in whatever dialect they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredNetwork {
    /// The bonds.
    pub bonds: Vec<DesiredBond>,
    /// VLAN devices, on bonds or other devices.
    pub vlans: Vec<DesiredVlan>,
    /// Bridges.
    pub bridges: Vec<DesiredBridge>,
}

impl DesiredNetwork {
    /// Every device with its name: bonds, VLANs, bridges.
    pub fn devices(&self) -> impl Iterator<Item = (&Located<String>, &DeviceSettings)> {
        let bonds = self.bonds.iter().map(|bond| (&bond.name, &bond.device));
        let vlans = self.vlans.iter().map(|vlan| (&vlan.name, &vlan.device));
        let bridges = self.bridges.iter();
        bonds
            .chain(vlans)
            .chain(bridges.map(|bridge| (&bridge.name, &bridge.device)))
    }

    /// What is wanted of the device with this name, whatever its kind.
    pub fn device_mut(&mut self, name: &str) -> Option<&mut DeviceSettings> {
        let bonds = self
            .bonds
            .iter_mut()
            .map(|bond| (&bond.name, &mut bond.device));
        let vlans = self
            .vlans
            .iter_mut()
            .map(|vlan| (&vlan.name, &mut vlan.device));
        let bridges = self
            .bridges
            .iter_mut()
            .map(|bridge| (&bridge.name, &mut bridge.device));
        // From the end, where a reader has just been.
        bonds
            .chain(vlans)
            .chain(bridges)
            .rev()
            .find_map(|(known, device)| (known.value == name).then_some(device))
    }
}

/// A bond as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredBond {
    /// Name of the front device.
    pub name: Located<String>,
    /// What should carry it; the place is the whole entry. `None` is as [`EngineChoice::Auto`].
    pub engine: Option<Located<EngineChoice>>,
    /// Options in the order they were written, each at most once; the place is the whole entry, key and value.
    pub options: Vec<Located<OptionChange>>,
    /// The ports that are named, in list order.
    pub ports: Vec<DesiredPort>,
    /// Ports by what they are; [`select`](crate::select::select) finds them.
    pub selectors: Vec<DesiredSelector>,
    /// MTU (of the ports too), link-layer address (without one it is the first port's), addresses, routes, name servers.
    pub device: DeviceSettings,
    /// Mode, monitor or ports were given and not understood, which was reported. What depends on them cannot be judged.
    pub incomplete: bool,
}

impl DesiredBond {
    /// A bond with a name and nothing else.
    pub fn new(name: Located<String>) -> Self {
        Self {
            name,
            engine: None,
            options: Vec::new(),
            ports: Vec::new(),
            selectors: Vec::new(),
            device: DeviceSettings::default(),
            incomplete: false,
        }
    }

    /// What was given for an option.
    pub fn option(&self, id: OptionId) -> Option<&Located<OptionChange>> {
        self.options.iter().find(|option| option.value.id == id)
    }

    /// What should carry it.
    pub fn engine_choice(&self) -> EngineChoice {
        let asked = self.engine.as_ref();
        asked.map_or(EngineChoice::Auto, |asked| asked.value)
    }

    /// The kernel's driver and nothing else may carry it, so that its rules are to be kept.
    pub(crate) fn is_for_the_driver(&self) -> bool {
        self.engine_choice() == EngineChoice::Only(Engine::Kernel)
    }
}

/// A VLAN device as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredVlan {
    /// Name of the device.
    pub name: Located<String>,
    /// VLAN identifier, 1 to 4094.
    pub id: Located<u16>,
    /// Name of the device it stands on.
    pub link: Located<String>,
    /// Addresses and the rest.
    pub device: DeviceSettings,
}

/// A bridge as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredBridge {
    /// Name of the device.
    pub name: Located<String>,
    /// Its ports.
    pub ports: Vec<DesiredBridgePort>,
    /// Whether it looks at VLAN tags; the kernel's default is no.
    pub vlan_aware: Option<Located<bool>>,
    /// VLANs of all ports that name none of their own.
    pub vids: Vec<Located<VidRange>>,
    /// VLAN of untagged frames on all ports that name none of their own; the kernel's default is 1.
    pub pvid: Option<Located<u16>>,
    /// Whether it speaks the spanning tree protocol; the kernel's default is no.
    pub stp: Option<Located<bool>>,
    /// How long a port listens and learns before it forwards, in seconds; the kernel's default is 15.
    pub forward_delay: Option<Located<u32>>,
    /// Addresses and the rest.
    pub device: DeviceSettings,
}

impl DesiredBridge {
    /// A bridge with a name and nothing else.
    pub fn new(name: Located<String>) -> Self {
        Self {
            name,
            ports: Vec::new(),
            vlan_aware: None,
            vids: Vec::new(),
            pvid: None,
            stp: None,
            forward_delay: None,
            device: DeviceSettings::default(),
        }
    }

    /// Every place where it or a port of it says something of VLANs: for dialects that cannot.
    pub(crate) fn vlan_places(&self) -> impl Iterator<Item = Span> {
        let aware = self.vlan_aware.iter().filter(|aware| aware.value);
        let ports = self.ports.iter().map(|port| (&port.vids, &port.pvid));
        let said = core::iter::once((&self.vids, &self.pvid)).chain(ports);
        aware
            .map(|aware| aware.span)
            .chain(said.flat_map(|(vids, pvid)| {
                let vids = vids.iter().map(|vids| vids.span);
                vids.chain(pvid.iter().map(|pvid| pvid.span))
            }))
    }

    /// Gives each port its own VLANs, and back to the bridge what all ports have: the canonical form, since some
    /// dialects know VLANs of ports only. A bridge without ports keeps its own. VLANs stand in order and none twice; a
    /// port's PVID, which is one of its VLANs in any case, is not among the others.
    pub fn settle_vids(&mut self) {
        if self.ports.is_empty() {
            return settle(&mut self.vids, None);
        }
        for port in &mut self.ports {
            if port.vids.is_empty() {
                port.vids.clone_from(&self.vids);
            }
            settle(&mut port.vids, port.pvid.as_ref().map(|pvid| pvid.value));
        }
        let values = |port: &DesiredBridgePort| -> Vec<VidRange> {
            port.vids.iter().map(|vids| vids.value).collect()
        };
        let first = values(&self.ports[0]);
        self.vids = Vec::new();
        if self.ports.iter().all(|port| values(port) == first) {
            self.vids.clone_from(&self.ports[0].vids);
            for port in &mut self.ports {
                port.vids.clear();
            }
        }
    }
}

/// Puts VLANs in order, with none twice and without `pvid`.
fn settle(vids: &mut Vec<Located<VidRange>>, pvid: Option<u16>) {
    let mut given = core::mem::take(vids);
    given.sort_by_key(|vids| vids.value);
    for Located { value, span } in given {
        match vids.last_mut() {
            Some(before) if value.first <= before.value.last => {
                before.value.last = before.value.last.max(value.last);
            }
            _ => vids.push(Located::new(value, span)),
        }
    }
    if let Some(pvid) = pvid {
        let around = |Located { value, span }: Located<VidRange>| {
            let VidRange { first, last } = value;
            let parts = if (first..=last).contains(&pvid) {
                [(first, pvid - 1), (pvid + 1, last)]
            } else {
                [(first, last), (1, 0)]
            };
            parts
                .into_iter()
                .filter(|(first, last)| first <= last)
                .map(move |(first, last)| Located::new(VidRange { first, last }, span))
        };
        *vids = core::mem::take(vids).into_iter().flat_map(around).collect();
    }
}

/// A port of a bridge as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredBridgePort {
    /// Interface name.
    pub name: Located<String>,
    /// VLANs of this port, where they are not those of the bridge.
    pub vids: Vec<Located<VidRange>>,
    /// VLAN of untagged frames on this port, where it is not that of the bridge.
    pub pvid: Option<Located<u16>>,
}

impl DesiredBridgePort {
    /// A port with a name and nothing else.
    pub const fn new(name: Located<String>) -> Self {
        Self {
            name,
            vids: Vec::new(),
            pvid: None,
        }
    }
}

/// What can be wanted of any device: MTU, addresses, routes, name servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceSettings {
    /// MTU in bytes; `None` leaves it as it is.
    pub mtu: Option<Located<u32>>,
    /// Link-layer address; `None` leaves it as it is.
    pub mac: Option<Located<MacAddr>>,
    /// Static addresses; the first of a family is the preferred one.
    pub addresses: Vec<Located<Cidr>>,
    /// Whether addresses come from a DHCP server for IPv4; no, unless said.
    pub dhcp_v4: Option<Located<bool>>,
    /// Whether addresses come from a DHCP server for IPv6; no, unless said.
    pub dhcp_v6: Option<Located<bool>>,
    /// Whether routers' advertisements are heard; left to the system, unless said.
    pub accept_ra: Option<Located<bool>>,
    /// Default gateway for IPv4.
    pub gateway_v4: Option<Located<Ipv4Addr>>,
    /// Default gateway for IPv6.
    pub gateway_v6: Option<Located<Ipv6Addr>>,
    /// All other routes.
    pub routes: Vec<Located<Route>>,
    /// Name servers.
    pub dns: Vec<Located<IpAddr>>,
    /// Domains in which names are searched.
    pub search: Vec<Located<String>>,
}

impl DeviceSettings {
    /// Whether anything of layer 3 is wanted, by which a device would have an address of its own.
    pub fn is_addressed(&self) -> bool {
        let asked = |wanted: &Option<Located<bool>>| wanted.as_ref().is_some_and(|on| on.value);
        !self.addresses.is_empty() || asked(&self.dhcp_v4) || asked(&self.dhcp_v6)
    }

    /// Every place where it says something of layer 3: for devices that cannot have any.
    pub(crate) fn layer3_places(&self) -> impl Iterator<Item = Span> {
        let flags = [&self.dhcp_v4, &self.dhcp_v6, &self.accept_ra];
        let addresses = self.addresses.iter().map(|address| address.span);
        addresses
            .chain(flags.into_iter().flatten().map(|flag| flag.span))
            .chain(self.gateway_v4.iter().map(|gateway| gateway.span))
            .chain(self.gateway_v6.iter().map(|gateway| gateway.span))
            .chain(self.routes.iter().map(|route| route.span))
            .chain(self.dns.iter().map(|server| server.span))
            .chain(self.search.iter().map(|domain| domain.span))
    }

    /// Takes a route in: a default route with nothing but a gateway is *the* gateway, if there is none yet.
    pub fn add_route(&mut self, route: Located<Route>) {
        let Route {
            to,
            via,
            metric: None,
            table: None,
            on_link: false,
        } = route.value
        else {
            self.routes.push(route);
            return;
        };
        match via {
            Some(IpAddr::V4(via)) if to == Network::DEFAULT_V4 && self.gateway_v4.is_none() => {
                self.gateway_v4 = Some(Located::new(via, route.span));
            }
            Some(IpAddr::V6(via)) if to == Network::DEFAULT_V6 && self.gateway_v6.is_none() => {
                self.gateway_v6 = Some(Located::new(via, route.span));
            }
            _ => self.routes.push(route),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of these the order counts within a family only.
        for address in v4_first(&self.addresses, |address| address.address) {
            writeln!(f, "  address {address}")?;
        }
        for (word, asked) in [("dhcp4", &self.dhcp_v4), ("dhcp6", &self.dhcp_v6)] {
            if asked.as_ref().is_some_and(|asked| asked.value) {
                writeln!(f, "  {word}")?;
            }
        }
        if let Some(accept) = &self.accept_ra {
            writeln!(f, "  accept_ra {}", accept.value)?;
        }
        if let Some(gateway) = &self.gateway_v4 {
            writeln!(f, "  gateway {}", gateway.value)?;
        }
        if let Some(gateway) = &self.gateway_v6 {
            writeln!(f, "  gateway {}", gateway.value)?;
        }
        for route in v4_first(&self.routes, |route| route.to.address) {
            writeln!(f, "  route {route}")?;
        }
        for server in v4_first(&self.dns, |server| *server) {
            writeln!(f, "  dns {server}")?;
        }
        for domain in &self.search {
            writeln!(f, "  search {}", domain.value)?;
        }
        if let Some(mtu) = &self.mtu {
            writeln!(f, "  mtu {}", mtu.value)?;
        }
        if let Some(mac) = &self.mac {
            writeln!(f, "  mac {}", mac.value)?;
        }
        Ok(())
    }
}

impl fmt::Display for DesiredNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for bond in by_name(&self.bonds, |bond| &bond.name) {
            bond.fmt(f)?;
        }
        for vlan in by_name(&self.vlans, |vlan| &vlan.name) {
            let (name, id, link) = (&vlan.name.value, vlan.id.value, &vlan.link.value);
            writeln!(f, "vlan {name} id {id} on {link}")?;
            vlan.device.write(f)?;
        }
        for bridge in by_name(&self.bridges, |bridge| &bridge.name) {
            bridge.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for DesiredBond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "bond {}", self.name.value)?;
        if let EngineChoice::Only(engine) = self.engine_choice() {
            writeln!(f, "  engine {engine}")?;
        }
        let mut options: Vec<&OptionChange> =
            self.options.iter().map(|option| &option.value).collect();
        options.sort_by_key(|option| option.id);
        for option in options {
            writeln!(f, "  {option}")?;
        }
        for port in &self.ports {
            write!(f, "  port {}", port.name.value)?;
            let mut options: Vec<&PortOptionChange> =
                port.options.iter().map(|option| &option.value).collect();
            options.sort_by_key(|option| option.id);
            for option in options {
                write!(f, " {option}")?;
            }
            writeln!(f)?;
        }
        for selector in &self.selectors {
            writeln!(f, "  select{selector}")?;
        }
        self.device.write(f)
    }
}

impl fmt::Display for DesiredSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in self.criteria() {
            write!(f, " {key} {value}")?;
        }
        if let Some(expect) = &self.expect {
            write!(f, " expect {}", expect.value)?;
        }
        let mut options: Vec<&PortOptionChange> =
            self.options.iter().map(|option| &option.value).collect();
        options.sort_by_key(|option| option.id);
        for option in options {
            write!(f, " {option}")?;
        }
        Ok(())
    }
}

impl fmt::Display for DesiredBridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "bridge {}", self.name.value)?;
        let on = |flag: &Option<Located<bool>>| flag.as_ref().is_some_and(|flag| flag.value);
        if on(&self.vlan_aware) {
            writeln!(f, "  vlan_aware")?;
        }
        if let Some(pvid) = &self.pvid {
            writeln!(f, "  pvid {}", pvid.value)?;
        }
        for vids in &self.vids {
            writeln!(f, "  vids {}", vids.value)?;
        }
        if on(&self.stp) {
            writeln!(f, "  stp")?;
        }
        if let Some(delay) = &self.forward_delay {
            writeln!(f, "  forward_delay {}", delay.value)?;
        }
        for port in by_name(&self.ports, |port| &port.name) {
            write!(f, "  port {}", port.name.value)?;
            if let Some(pvid) = &port.pvid {
                write!(f, " pvid {}", pvid.value)?;
            }
            for vids in &port.vids {
                write!(f, " vids {}", vids.value)?;
            }
            writeln!(f)?;
        }
        self.device.write(f)
    }
}

/// The values in order, those of IPv4 before those of IPv6.
fn v4_first<T>(values: &[Located<T>], address: impl Fn(&T) -> IpAddr) -> Vec<&T> {
    let mut sorted: Vec<&T> = values.iter().map(|value| &value.value).collect();
    sorted.sort_by_key(|value| address(value).is_ipv6());
    sorted
}

fn by_name<T>(devices: &[T], name: impl Fn(&T) -> &Located<String>) -> Vec<&T> {
    let mut sorted: Vec<&T> = devices.iter().collect();
    sorted.sort_by_key(|device| &name(device).value);
    sorted
}

/// A port as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredPort {
    /// Interface name.
    pub name: Located<String>,
    /// Its options, each at most once; the place is the whole entry.
    pub options: Vec<Located<PortOptionChange>>,
}

/// Ports by what they are: every interface that fits all that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredSelector {
    /// Where it was written, as a whole.
    pub span: Span,
    /// The address the interface was made with.
    pub mac: Option<Located<MacAddr>>,
    /// Where it is plugged in, as udev's `ID_PATH` says it; a pattern ([`glob`](crate::select::glob)).
    pub path: Option<Located<String>>,
    /// Its driver; a pattern.
    pub driver: Option<Located<String>>,
    /// Its name; a pattern.
    pub name: Option<Located<String>>,
    /// How many interfaces should fit; at least one, unless said.
    pub expect: Option<Located<u32>>,
    /// Options of each port, each at most once; the place is the whole entry.
    pub options: Vec<Located<PortOptionChange>>,
}

impl DesiredSelector {
    /// A selector that asks for nothing yet.
    pub const fn new(span: Span) -> Self {
        Self {
            span,
            mac: None,
            path: None,
            driver: None,
            name: None,
            expect: None,
            options: Vec::new(),
        }
    }

    /// What is asked for: each criterion's name and its text.
    pub fn criteria(&self) -> impl Iterator<Item = (&'static str, String)> {
        let text =
            |value: &Option<Located<String>>| value.as_ref().map(|value| value.value.clone());
        let mac = self.mac.as_ref().map(|mac| mac.value.to_string());
        let all = [
            ("mac", mac),
            ("path", text(&self.path)),
            ("driver", text(&self.driver)),
            ("name", text(&self.name)),
        ];
        all.into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
    }
}

/// An interface's address with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cidr {
    /// The address of the interface (host part included).
    pub address: IpAddr,
    /// Bits of the prefix: at most 32 for IPv4, 128 for IPv6.
    pub prefix_len: u8,
}

impl Cidr {
    /// Whether `other` is in the network of this address.
    pub fn contains(&self, other: IpAddr) -> bool {
        let shared = |a: u128, b: u128, width: u32| {
            let host_bits = width - u32::from(self.prefix_len);
            a.checked_shr(host_bits).unwrap_or(0) == b.checked_shr(host_bits).unwrap_or(0)
        };
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => shared(u32::from(a).into(), u32::from(b).into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => shared(a.into(), b.into(), 128),
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// Where a route leads: an address and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// Its first address (the host part is zero).
    pub address: IpAddr,
    /// Bits of the prefix.
    pub prefix_len: u8,
}

impl Network {
    /// Everything in IPv4.
    pub const DEFAULT_V4: Self = Self {
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        prefix_len: 0,
    };
    /// Everything in IPv6.
    pub const DEFAULT_V6: Self = Self {
        address: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        prefix_len: 0,
    };

    /// Everything in the family of an address.
    pub const fn default_like(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::DEFAULT_V4,
            IpAddr::V6(_) => Self::DEFAULT_V6,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// No address with a prefix length that fits it.
    #[error("{text:?} is no network; write it like 10.0.0.0/8 or fd00::/64")]
    NoNetwork {
        /// What was given.
        text: String,
    },
    /// Bits are set that the prefix does not cover.
    #[error("{text} names a host; its network is {network}")]
    HostBits {
        /// What was given.
        text: String,
        /// The network that holds it.
        network: Network,
    },
}

impl FromStr for Network {
    type Err = NetworkError;

    /// An address alone is the network of this one host.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NetworkError::NoNetwork {
            text: text.to_owned(),
        };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix_len = match length {
            None => width,
            Some(length) => Some(length)
                .filter(|length| length.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|length| length.parse().ok())
                .filter(|length| *length <= width)
                .ok_or_else(wrong)?,
        };
        let host_bits = u32::from(width - prefix_len);
        let first = match address {
            IpAddr::V4(a) => {
                let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(u32::from(a) & mask))
            }
            IpAddr::V6(a) => {
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(a) & mask))
            }
        };
        let network = Self {
            address: first,
            prefix_len,
        };
        if first == address {
            Ok(network)
        } else {
            Err(NetworkError::HostBits {
                text: text.to_owned(),
                network,
            })
        }
    }
}

/// A route over a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// Where it leads.
    pub to: Network,
    /// The router; `None` for what is on the link itself.
    pub via: Option<IpAddr>,
    /// Its metric, where lower goes first; `None` for the kernel's default.
    pub metric: Option<u32>,
    /// Number of its routing table; `None` for the main one.
    pub table: Option<u32>,
    /// The router is on the link though no address says so.
    pub on_link: bool,
}

impl Route {
    /// A route through a router, or on the link itself.
    pub const fn new(to: Network, via: Option<IpAddr>) -> Self {
        Self {
            to,
            via,
            metric: None,
            table: None,
            on_link: false,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to.fmt(f)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        if let Some(metric) = self.metric {
            write!(f, " metric {metric}")?;
        }
        if let Some(table) = self.table {
            write!(f, " table {table}")?;
        }
        if self.on_link {
            f.write_str(" on-link")?;
        }
        Ok(())
    }
}

/// One VLAN, or a run of them: `10` or `2-4094`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VidRange {
    /// The first, at least 1.
    pub first: u16,
    /// The last, at least `first` and at most 4094.
    pub last: u16,
}

impl fmt::Display for VidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// Why a text names no VLANs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no VLANs; write it like 10 or 2-4094, from 1 to 4094")]
pub struct VidError {
    /// What was given.
    pub text: String,
}

impl FromStr for VidRange {
    type Err = VidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| {
            Some(text)
                .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|text| text.parse().ok())
                .filter(|number| (1..=4094).contains(number))
        };
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(VidError {
                text: text.to_owned(),
            }),
        }
    }
}

/// Why a text is no address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Neither IPv4 nor IPv6.
    #[error("{text:?} is no IP address; write it like 192.168.1.100/24 or fd00::100/64")]
    NoAddress {
        /// What was given.
        text: String,
    },
    /// An address alone.
    #[error("{address} lacks the length of its prefix; write it like {address}/{usual}")]
    NoPrefix {
        /// The address.
        address: IpAddr,
        /// The length most networks of its kind have.
        usual: u8,
    },
    /// Behind the slash is no number, or one too large.
    #[error("{text:?} has no valid prefix length; {address} takes 0 to {max}")]
    WrongPrefix {
        /// What was given.
        text: String,
        /// The address.
        address: IpAddr,
        /// Bits of such an address.
        max: u8,
    },
    /// Multicast, unspecified or broadcast.
    #[error("{address} cannot be the address of an interface: it is {kind}")]
    NotAHost {
        /// The address.
        address: IpAddr,
        /// What it is instead.
        kind: &'static str,
    },
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| CidrError::NoAddress {
            text: text.to_owned(),
        })?;
        let (max, usual) = if address.is_ipv4() {
            (32, 24)
        } else {
            (128, 64)
        };
        let length = length.ok_or(CidrError::NoPrefix { address, usual })?;
        let prefix_len = Some(length)
            .filter(|length| length.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|length| length.parse().ok())
            .filter(|length| *length <= max)
            .ok_or_else(|| CidrError::WrongPrefix {
                text: text.to_owned(),
                address,
                max,
            })?;
        match not_a_host(address) {
            Some(kind) => Err(CidrError::NotAHost { address, kind }),
            None => Ok(Self {
                address,
                prefix_len,
            }),
        }
    }
}

/// What an address is when it cannot be that of one host.
pub(crate) fn not_a_host(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("the unspecified address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("the broadcast address")
    } else {
        None
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_prefix() {
        for text in [
            "192.168.1.100/24",
            "10.0.0.1/0",
            "10.0.0.1/32",
            "fd00::100/64",
            "::1/128",
        ] {
            let cidr: Cidr = text.parse().unwrap();
            assert_eq!(cidr.to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, words) in [
            ("192.168.1.100", "write it like 192.168.1.100/24"),
            ("fd00::1", "write it like fd00::1/64"),
            ("192.168.1.100/33", "takes 0 to 32"),
            ("192.168.1.100/+4", "takes 0 to 32"),
            ("fd00::1/129", "takes 0 to 128"),
            ("192.168.1/24", "no IP address"),
            ("", "no IP address"),
            ("224.0.0.1/24", "multicast"),
            ("0.0.0.0/0", "unspecified"),
            ("255.255.255.255/32", "broadcast"),
        ] {
            let error = text.parse::<Cidr>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn networks_have_no_host_bits() {
        for text in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "::/0",
            "fd00::/64",
            "10.1.2.3/32",
        ] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        let host: Network = "10.1.2.3".parse().unwrap();
        assert_eq!(host.to_string(), "10.1.2.3/32");
        for (text, words) in [
            ("10.1.2.3/8", "its network is 10.0.0.0/8"),
            ("fd00::1/0", "its network is ::/0"),
            ("10.0.0.0/33", "no network"),
            ("10.0.0.0/+8", "no network"),
            ("default", "no network"),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn vlans_are_single_or_runs() {
        for text in ["1", "10", "2-4094"] {
            assert_eq!(text.parse::<VidRange>().unwrap().to_string(), text);
        }
        for text in ["0", "4095", "10-2", "a", "", "1-", "+1", "2-4095"] {
            assert!(text.parse::<VidRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn vlans_of_a_port_stand_in_order_and_once() {
        let file = crate::span::Sources::default().add("generated", "");
        for (given, pvid, settled) in [
            ("77 10 20-30", None, "10 20-30 77"),
            ("10 2-4094 10", None, "2-4094"),
            ("1-5 3-9 11", None, "1-9 11"),
            ("2-4094", Some(10), "2-9 11-4094"),
            ("10 11", Some(10), "11"),
            ("5-10", Some(5), "6-10"),
            ("5-10", Some(10), "5-9"),
            ("7", Some(7), ""),
        ] {
            let at = |word: &str| Located::new(word.parse().unwrap(), Span::new(file, 0..0));
            let mut vids: Vec<Located<VidRange>> = given.split(' ').map(at).collect();
            settle(&mut vids, pvid);
            let texts: Vec<String> = vids.iter().map(|vids| vids.value.to_string()).collect();
            assert_eq!(texts.join(" "), settled, "{given} without {pvid:?}");
        }
    }

    #[test]
    fn networks_contain_their_hosts() {
        for (network, host, inside) in [
            ("192.168.1.100/24", "192.168.1.1", true),
            ("192.168.1.100/24", "192.168.2.1", false),
            ("10.0.0.1/0", "1.1.1.1", true),
            ("10.0.0.1/32", "10.0.0.2", false),
            ("fd00::100/64", "fd00::1", true),
            ("fd00::100/0", "2001:db8::1", true),
            ("fd00::100/64", "10.0.0.1", false),
        ] {
            let cidr: Cidr = network.parse().unwrap();
            assert_eq!(
                cidr.contains(host.parse().unwrap()),
                inside,
                "{network} {host}"
            );
        }
    }
}
