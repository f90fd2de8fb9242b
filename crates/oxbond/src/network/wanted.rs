//! What is wanted of the system, as it travels from a client to the daemon: the model without its places in files, and
//! without what cannot be applied.

use std::collections::{BTreeMap, BTreeSet};

use oxbond_config::model::{Cidr, DesiredBridge, DesiredNetwork, DeviceSettings};
use oxbond_core::engine::Engine;
use oxbond_core::option::{BondContext, BondOptions, Mode};
use oxbond_linux::netlink::{AddressRecord, Route};
use oxbond_linux::resolver::NameService;
use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::control::protocol::BondRequest;
use crate::exit::Failure;
use crate::refusal::configuration;
use crate::request::parse_options;

/// Everything that is wanted of us. What it does not name is left alone, unless it is of our making: that goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// The bonds.
    pub(crate) bonds: Vec<WantedBond>,
    /// VLAN devices.
    pub(crate) vlans: Vec<WantedVlan>,
    /// Bridges.
    pub(crate) bridges: Vec<WantedBridge>,
    /// What any of these devices, by name, should have beside its own kind's settings.
    pub(crate) settings: BTreeMap<String, Settings>,
}

/// A bond as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WantedBond {
    /// As asked for, without addresses and gateways: see [`Wanted::settings`].
    pub(crate) request: BondRequest,
    /// On the way back: the bond exactly as it was, whatever had been asked for.
    pub(crate) exactly: Option<ExactBond>,
}

/// A bond as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExactBond {
    /// What carried it.
    #[serde(default = "own")]
    pub(crate) engine: Engine,
    /// Every option.
    pub(crate) options: BondOptions,
    /// Its address.
    pub(crate) mac: MacAddr,
    /// Its MTU.
    pub(crate) mtu: u32,
}

/// What carried every bond before there was a choice.
const fn own() -> Engine {
    Engine::Ebpf
}

impl WantedBond {
    /// Every option as it should be on this engine.
    pub(crate) fn options(&self, engine: Engine) -> Result<BondOptions, Failure> {
        if let Some(exact) = &self.exactly {
            return Ok(exact.options.clone());
        }
        let created = BondContext {
            own_engine: engine.is_own(),
            ..BondContext::default()
        };
        let changes = parse_options(&self.request.options)?;
        let applied = defaults_of(engine).apply(&changes, &created);
        Ok(applied.map_err(configuration)?.options)
    }

    /// Its mode.
    pub(crate) fn mode(&self) -> Result<Mode, Failure> {
        // Both engines know all modes, and a mode depends on no other option.
        self.options(Engine::Ebpf).map(|options| options.mode)
    }
}

/// The options of a bond for which nothing is asked.
pub(crate) fn defaults_of(engine: Engine) -> BondOptions {
    match engine {
        Engine::Ebpf => BondOptions::own(),
        Engine::Kernel => BondOptions::default(),
    }
}

/// A VLAN device as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WantedVlan {
    /// Name of the device.
    pub(crate) name: String,
    /// The device it stands on.
    pub(crate) link: String,
    /// VLAN id.
    pub(crate) id: u16,
}

/// A bridge as wanted. Ports that it has and that are not named here are its user's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WantedBridge {
    /// Name of the device.
    pub(crate) name: String,
    /// It looks at VLAN tags.
    pub(crate) vlan_aware: bool,
    /// It speaks the spanning tree protocol.
    pub(crate) stp: bool,
    /// Forward delay in hundredths of a second.
    pub(crate) forward_delay: u32,
    /// Its ports.
    pub(crate) ports: Vec<WantedBridgePort>,
}

/// A port of a bridge as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WantedBridgePort {
    /// Interface name.
    pub(crate) name: String,
    /// Its VLANs, first and last of each run; of use on a bridge that looks at tags.
    pub(crate) vids: Vec<(u16, u16)>,
    /// The VLAN of untagged frames; 0 for none.
    pub(crate) pvid: u16,
}

/// What any device can be wanted to have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// MTU of a VLAN device or bridge; `None` leaves it.
    pub(crate) mtu: Option<u32>,
    /// Link-layer address of a VLAN device or bridge; `None` leaves it.
    pub(crate) mac: Option<MacAddr>,
    /// Static addresses, the preferred ones first.
    pub(crate) addresses: Vec<Cidr>,
    /// Routes over it, the gateways among them.
    pub(crate) routes: Vec<Route>,
    /// Whether routers' advertisements are heard; `None` leaves it.
    pub(crate) accept_ra: Option<AcceptRa>,
    /// Families in which a server is asked for an address.
    pub(crate) dhcp: BTreeSet<Family>,
    /// Name servers and search domains it brings along.
    pub(crate) names: NameService,
    /// It is to be down, as it was.
    pub(crate) down: bool,
    /// On the way back, the addresses that it had, anybody's, in the kernel's order.
    #[serde(default)]
    pub(crate) had: Vec<AddressRecord>,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Family {
    /// With DHCP of RFC 2131.
    V4,
    /// With DHCPv6 of RFC 8415.
    V6,
}

impl Family {
    /// What a server is asked with.
    pub(crate) const fn protocol(self) -> &'static str {
        match self {
            Self::V4 => "DHCP",
            Self::V6 => "DHCPv6",
        }
    }
}

/// Whether routers' advertisements are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AcceptRa {
    /// They are, also where the system forwards.
    Heard,
    /// They are not.
    Ignored,
    /// The kernel's setting is this one, as it was.
    Exactly(u8),
}

/// The kernel's default forward delay, in hundredths of a second.
pub(super) const FORWARD_DELAY: u32 = 1500;

/// The kernel's default for the VLAN of untagged frames.
pub(super) const DEFAULT_PVID: u16 = 1;

impl Wanted {
    /// What a network wants of the system.
    pub(crate) fn of(network: &DesiredNetwork) -> Self {
        let mut wanted = Self::default();
        let mut take = |name: &str, device: &DeviceSettings, own: bool| {
            let settings = settings_of(device, own);
            wanted.settings.insert(name.to_owned(), settings);
        };
        for bond in &network.bonds {
            take(&bond.name.value, &bond.device, false);
            let request = BondRequest {
                addresses: Vec::new(),
                gateways: Vec::new(),
                ..BondRequest::from(bond)
            };
            wanted.bonds.push(WantedBond {
                request,
                exactly: None,
            });
        }
        for vlan in &network.vlans {
            take(&vlan.name.value, &vlan.device, true);
            wanted.vlans.push(WantedVlan {
                name: vlan.name.value.clone(),
                link: vlan.link.value.clone(),
                id: vlan.id.value,
            });
        }
        for bridge in &network.bridges {
            take(&bridge.name.value, &bridge.device, true);
            wanted.bridges.push(bridge_of(bridge));
        }
        wanted
    }

    /// The addresses and routes of a record, as something to be wanted.
    pub(crate) fn addressed(record: &Record) -> Self {
        let mut wanted = Self::default();
        for (device, addresses) in &record.addresses {
            let settings = wanted.settings.entry(device.clone()).or_default();
            settings.addresses.clone_from(addresses);
        }
        for (device, routes) in &record.routes {
            let settings = wanted.settings.entry(device.clone()).or_default();
            settings.routes.clone_from(routes);
        }
        wanted
    }

    /// Names of every device that is wanted, lower ones first where they are of one kind.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &str> {
        let bonds = self.bonds.iter().map(|bond| bond.request.name.as_str());
        let bridges = self.bridges.iter().map(|bridge| bridge.name.as_str());
        let vlans = self.vlans.iter().map(|vlan| vlan.name.as_str());
        bonds.chain(bridges).chain(vlans)
    }

    /// The bridge that wants this port.
    pub(crate) fn bridge_of(&self, port: &str) -> Option<&str> {
        self.bridges
            .iter()
            .find(|bridge| bridge.ports.iter().any(|wanted| wanted.name == port))
            .map(|bridge| bridge.name.as_str())
    }

    /// A device and all that is wanted above it.
    pub(crate) fn stack_on(&self, device: &str) -> Vec<&str> {
        let mut stack: Vec<&str> = self.devices().filter(|name| *name == device).collect();
        let mut looked = 0;
        while let Some(base) = stack.get(looked).copied() {
            let vlans = self.vlans.iter().filter(|vlan| vlan.link == base);
            let above = vlans
                .map(|vlan| vlan.name.as_str())
                .chain(self.bridge_of(base));
            for name in above {
                if !stack.contains(&name) {
                    stack.push(name);
                }
            }
            looked += 1;
        }
        stack
    }

    /// The default gateways, each with its device.
    pub(crate) fn gateways(&self) -> Vec<(&str, std::net::IpAddr)> {
        let each = |(device, settings)| {
            let (device, settings): (&String, &Settings) = (device, settings);
            let routes = settings.routes.iter().filter(|route| route.prefix_len == 0);
            routes.filter_map(move |route| Some((device.as_str(), route.via?)))
        };
        self.settings.iter().flat_map(each).collect()
    }
}

fn settings_of(device: &DeviceSettings, own: bool) -> Settings {
    let gateways = [
        device
            .gateway_v4
            .as_ref()
            .map(|gateway| gateway.value.into()),
        device
            .gateway_v6
            .as_ref()
            .map(|gateway| gateway.value.into()),
    ];
    let gateways = gateways.into_iter().flatten().map(default_route);
    let routes = device.routes.iter().map(|route| {
        let route = route.value;
        Route {
            to: route.to.address,
            prefix_len: route.to.prefix_len,
            via: route.via,
            metric: route.metric,
            table: route.table.unwrap_or(Route::MAIN),
            on_link: route.on_link,
        }
    });
    let mut routes: Vec<Route> = routes.chain(gateways).collect();
    // What is on the link comes first: others may lead through it.
    routes.sort_by_key(|route| route.via.is_some());
    let dhcp = [(Family::V4, &device.dhcp_v4), (Family::V6, &device.dhcp_v6)];
    let dhcp = dhcp
        .into_iter()
        .filter(|(_, asked)| asked.as_ref().is_some_and(|asked| asked.value))
        .map(|(family, _)| family);
    Settings {
        mtu: device.mtu.as_ref().map(|mtu| mtu.value).filter(|_| own),
        mac: device.mac.as_ref().map(|mac| mac.value).filter(|_| own),
        addresses: device.addresses.iter().map(|a| a.value).collect(),
        routes,
        accept_ra: device.accept_ra.as_ref().map(|on| match on.value {
            true => AcceptRa::Heard,
            false => AcceptRa::Ignored,
        }),
        dhcp: dhcp.collect(),
        names: NameService {
            servers: device.dns.iter().map(|server| server.value).collect(),
            search: device
                .search
                .iter()
                .map(|domain| domain.value.clone())
                .collect(),
        },
        down: false,
        had: Vec::new(),
    }
}

/// The default route through a gateway.
pub(super) fn default_route(gateway: std::net::IpAddr) -> Route {
    Route {
        to: match gateway {
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        },
        prefix_len: 0,
        via: Some(gateway),
        metric: None,
        table: Route::MAIN,
        on_link: false,
    }
}

fn bridge_of(bridge: &DesiredBridge) -> WantedBridge {
    let on = |flag: &Option<oxbond_config::span::Located<bool>>| {
        flag.as_ref().is_some_and(|flag| flag.value)
    };
    let ports = bridge.ports.iter().map(|port| {
        let vids = match port.vids.as_slice() {
            [] => &bridge.vids,
            own => own,
        };
        let pvid = port.pvid.as_ref().or(bridge.pvid.as_ref());
        WantedBridgePort {
            name: port.name.value.clone(),
            vids: vids.iter().map(|v| (v.value.first, v.value.last)).collect(),
            pvid: pvid.map_or(DEFAULT_PVID, |pvid| pvid.value),
        }
    });
    WantedBridge {
        name: bridge.name.value.clone(),
        vlan_aware: on(&bridge.vlan_aware),
        stp: on(&bridge.stp),
        forward_delay: bridge
            .forward_delay
            .as_ref()
            .map_or(FORWARD_DELAY, |delay| delay.value.saturating_mul(100)),
        ports: ports.collect(),
    }
}
