//! What is there: the system's devices with their addresses and routes, and the daemon's bonds.

use std::collections::{BTreeMap, BTreeSet};

use oxbond_config::model::Cidr;
use oxbond_core::driver::Picture;
use oxbond_core::engine::{Driver, Engine, EngineChoice};
use oxbond_core::option::{BondOptions, OptionId};
use oxbond_linux::error::KernelError;
use oxbond_linux::netlink::{AddressRecord, BridgeSettings, Netlink, PortVlan, Route, RouteRecord};
use oxbond_linux::resolver::NameService;
use oxbond_linux::{inspect, ipv6};
use oxbond_wire::MacAddr;

use super::wanted::{Family, Wanted};
use crate::control::protocol::BondRequest;

/// A picture of the system.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    /// Every device, by name.
    pub(crate) devices: BTreeMap<String, Device>,
    /// The daemon's bonds, by name.
    pub(crate) bonds: BTreeMap<String, RunningBond>,
    /// Bonds on the kernel's driver that somebody else made, by name.
    pub(crate) others: BTreeMap<String, RunningBond>,
    /// The kernel's driver.
    pub(crate) driver: Driver,
    /// What `auto` stands for where a bond's engine is asked for.
    pub(crate) auto: EngineChoice,
    /// Families in which the daemon asks servers for addresses, by device.
    pub(crate) dhcp: BTreeMap<String, BTreeSet<Family>>,
    /// What the daemon lets the resolver know of devices, but for what servers say.
    pub(crate) names: BTreeMap<String, NameService>,
}

/// A system of which nothing is known yet.
impl Default for Running {
    fn default() -> Self {
        Self {
            devices: BTreeMap::new(),
            bonds: BTreeMap::new(),
            others: BTreeMap::new(),
            driver: Driver::Missing {
                why: "nobody has looked for it".to_owned(),
                way_out: String::new(),
            },
            auto: EngineChoice::Auto,
            dhcp: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }
}

/// A device of the system.
#[derive(Clone, Debug, Default)]
pub(crate) struct Device {
    /// Interface index.
    pub(crate) index: u32,
    /// Kind of a virtual device.
    pub(crate) kind: Option<String>,
    /// Set up.
    pub(crate) up: bool,
    /// MTU in bytes.
    pub(crate) mtu: u32,
    /// Link-layer address.
    pub(crate) mac: Option<MacAddr>,
    /// Why it can be no port, whatever is done to it.
    pub(crate) no_port: Option<String>,
    /// What it is a port of.
    pub(crate) master: Option<String>,
    /// What it stands on.
    pub(crate) lower: Option<String>,
    /// VLAN id, of a VLAN device.
    pub(crate) vlan_id: Option<u16>,
    /// Settings, of a bridge.
    pub(crate) bridge: Option<BridgeSettings>,
    /// Its VLANs as a bridge port, or as the bridge's own port.
    pub(crate) vlans: Vec<PortVlan>,
    /// Its addresses, in the kernel's order.
    pub(crate) addresses: Vec<AddressRecord>,
    /// Routes that leave by it.
    pub(crate) routes: Vec<RouteRecord>,
    /// The kernel's `accept_ra`, of those asked about.
    pub(crate) accept_ra: Option<u8>,
    /// It forwards IPv6, of those asked about.
    pub(crate) router: bool,
}

/// A bond.
#[derive(Clone, Debug)]
pub(crate) struct RunningBond {
    /// What was asked for last.
    pub(crate) request: BondRequest,
    /// Options in force.
    pub(crate) options: BondOptions,
    /// Its address.
    pub(crate) mac: MacAddr,
    /// MTU of the bond and its ports.
    pub(crate) mtu: u32,
    /// Names of the ports that are in it.
    pub(crate) attached: Vec<String>,
    /// As the driver shows it, where that carries it.
    pub(crate) on_driver: Option<Box<Picture>>,
}

impl RunningBond {
    /// A bond on the kernel's driver. That has no primary port which is not there: the daemon waits for it.
    pub(crate) fn on_driver(request: BondRequest, picture: &Picture) -> Self {
        let mut options = picture.options.clone();
        let mut asked = request.options.iter();
        let primary = asked.find(|(name, _)| name == OptionId::Primary.name());
        if let Some((_, port)) = primary
            && options.primary.is_none()
            && !port.is_empty()
            && picture.ports.iter().all(|there| there.name != *port)
        {
            options.primary = Some(port.clone());
        }
        Self {
            request,
            options,
            mac: picture.mac,
            mtu: picture.mtu,
            attached: picture.ports.iter().map(|port| port.name.clone()).collect(),
            on_driver: Some(Box::new(picture.clone())),
        }
    }

    /// What carries it.
    pub(crate) const fn engine(&self) -> Engine {
        match self.on_driver {
            Some(_) => Engine::Kernel,
            None => Engine::Ebpf,
        }
    }
}

impl Device {
    /// It has this address.
    pub(crate) fn has_address(&self, wanted: &Cidr) -> bool {
        self.addresses.iter().any(|have| {
            have.address.address == wanted.address && have.address.prefix_len == wanted.prefix_len
        })
    }

    /// This route leaves by it.
    pub(crate) fn has_route(&self, wanted: &Route) -> bool {
        let wanted = wanted.as_read_back();
        self.routes.iter().any(|have| have.route == wanted)
    }
}

/// The address of a record.
pub(crate) fn cidr_of(record: &AddressRecord) -> Cidr {
    Cidr {
        address: record.address.address,
        prefix_len: record.address.prefix_len,
    }
}

impl Running {
    /// Those of the daemon's bonds that are wanted.
    pub(crate) fn bonds_of(&self, wanted: &Wanted) -> BTreeMap<String, RunningBond> {
        let names = wanted.bonds.iter().map(|bond| &bond.request.name);
        let bonds = names.filter_map(|name| Some((name.clone(), self.bonds.get(name)?.clone())));
        bonds.collect()
    }

    /// A device has an address or is a port, or another stands on it.
    pub(crate) fn is_used(&self, name: &str) -> bool {
        let device = self.devices.get(name);
        let mut devices = self.devices.values();
        device.is_some_and(|device| !device.addresses.is_empty() || device.master.is_some())
            || devices.any(|upper| upper.lower.as_deref() == Some(name))
    }

    /// Reads the devices. `accept_ra` and `router` are read for the devices of these names only.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn read(
        netlink: &mut Netlink,
        advertised: &BTreeSet<&str>,
    ) -> Result<Self, KernelError> {
        let links = netlink.links()?;
        let names: BTreeMap<u32, &str> = links
            .iter()
            .map(|link| (link.index, link.name.as_str()))
            .collect();
        let name_of = |index: Option<u32>| {
            let name = index.and_then(|index| names.get(&index));
            name.map(|name| (*name).to_owned())
        };
        let bridged = links.iter().any(|link| link.bridge.is_some());
        let mut vlans = match bridged {
            true => netlink.port_vlans()?,
            false => BTreeMap::new(),
        };
        let mut addresses: BTreeMap<u32, Vec<AddressRecord>> = BTreeMap::new();
        for record in netlink.all_addresses()? {
            addresses
                .entry(record.address.ifindex)
                .or_default()
                .push(record);
        }
        let mut routes: BTreeMap<u32, Vec<RouteRecord>> = BTreeMap::new();
        for record in netlink.routes()? {
            for index in record.ifindexes.iter().collect::<BTreeSet<_>>() {
                routes.entry(*index).or_default().push(record.clone());
            }
        }
        let mut devices = BTreeMap::new();
        for link in &links {
            let asked = advertised.contains(link.name.as_str());
            let device = Device {
                index: link.index,
                kind: link.kind.clone(),
                up: link.up,
                mtu: link.mtu,
                mac: link.mac,
                no_port: inspect::never_a_port(link).map(|refusal| refusal.to_string()),
                master: name_of(link.master),
                lower: name_of(link.lower),
                vlan_id: link.vlan_id,
                bridge: link.bridge,
                vlans: vlans.remove(&link.index).unwrap_or_default(),
                addresses: addresses.remove(&link.index).unwrap_or_default(),
                routes: routes.remove(&link.index).unwrap_or_default(),
                accept_ra: match asked {
                    true => ipv6::accept_ra(&link.name)?,
                    false => None,
                },
                router: asked && ipv6::is_router(&link.name)?,
            };
            devices.insert(link.name.clone(), device);
        }
        Ok(Self {
            devices,
            ..Self::default()
        })
    }
}
