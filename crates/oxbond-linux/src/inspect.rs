//! May this interface become a port, may this name become a bond? Answered before anything is touched.

use std::collections::BTreeMap;

use oxbond_core::option::DriverError;
use oxbond_core::port::{LinkState, PortInfo};
use oxbond_wire::MacAddr;

use crate::error::KernelError;
use crate::ethtool::{self, LinkSettings};
use crate::netlink::{Address, DefaultRoute, Link, Netlink, OperState};
use crate::wireless;

/// Longest interface name, in bytes (`IFNAMSIZ` without the terminator).
pub const NAME_MAX: usize = libc::IFNAMSIZ - 1;

/// An interface that may become a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// As netlink describes it.
    pub link: Link,
    /// Its address.
    pub mac: MacAddr,
    /// Speed and duplex.
    pub settings: LinkSettings,
}

impl Candidate {
    /// What the core is told when it joins.
    pub fn port_info(&self) -> PortInfo {
        PortInfo {
            name: self.link.name.clone(),
            ifindex: self.link.index,
            permanent_mac: self.link.permanent_mac.unwrap_or(self.mac),
            mac: self.mac,
            link: link_state(&self.link, self.settings),
        }
    }
}

/// What the core is told of a link. Carrier that the kernel itself has not yet acted upon is none: frames would be
/// dropped; a link event follows at once.
pub const fn link_state(link: &Link, settings: LinkSettings) -> LinkState {
    LinkState {
        admin_up: link.up,
        carrier: link.carrier && !matches!(link.oper, OperState::Down),
        speed_mbps: settings.speed_mbps,
        duplex: settings.duplex,
    }
}

/// Why an interface cannot become a port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortRefusal {
    /// No interface has this name.
    #[error("port {name} does not exist{}; `ip link` lists the interfaces", suggestion(.similar.as_deref()))]
    Missing {
        /// The name asked for.
        name: String,
        /// The existing name that looks most like it.
        similar: Option<String>,
    },
    /// No interface can have this name.
    #[error(
        "port name {name:?} is longer than {NAME_MAX} bytes, which no interface name is; check the spelling"
    )]
    NameTooLong {
        /// The name asked for.
        name: String,
    },
    /// A bond cannot be its own port.
    #[error("port {name} is the bond itself; name the interfaces it should join")]
    Itself {
        /// The bond.
        name: String,
    },
    /// The loopback.
    #[error("port {name} is the loopback, which leads nowhere; name a network interface")]
    Loopback {
        /// The interface.
        name: String,
    },
    /// One of the devices Oxbond made.
    #[error("port {name} is a device of Oxbond's own ({alias}); name the network interface itself")]
    Ours {
        /// The interface.
        name: String,
        /// What its alias says.
        alias: String,
    },
    /// A port of another Oxbond bond.
    #[error(
        "port {name} is in {bond} already; take it out there first: oxbond remove-port {bond} {name}"
    )]
    Taken {
        /// The interface.
        name: String,
        /// That bond.
        bond: String,
    },
    /// A port of a bridge, bond, team or VRF.
    #[error(
        "port {name} is in the {kind} {master} already; take it out first: ip link set {name} nomaster"
    )]
    InUse {
        /// The interface.
        name: String,
        /// What kind of device it is a port of.
        kind: String,
        /// That device.
        master: String,
    },
    /// A bridge, bond, team or VRF.
    #[error(
        "port {name} is a {kind}, which has ports of its own; name one of those, or another interface"
    )]
    IsMaster {
        /// The interface.
        name: String,
        /// Its kind.
        kind: String,
    },
    /// Something sits on top that would no longer receive.
    #[error(
        "port {name} carries the {kind} {upper}, which would fall silent; delete it first (ip link del {upper}) and make it anew on the bond"
    )]
    HasUpper {
        /// The interface.
        name: String,
        /// Kind of the device on top.
        kind: String,
        /// The device on top.
        upper: String,
    },
    /// A tunnel or another link without Ethernet frames.
    #[error(
        "port {name} does not carry Ethernet frames, which bonds are made of; name an Ethernet interface"
    )]
    NotEthernet {
        /// The interface.
        name: String,
    },
    /// A Wi-Fi station.
    #[error(
        "port {name} is Wi-Fi: its access point drops frames that carry the bond's address; use wired interfaces"
    )]
    Wireless {
        /// The interface.
        name: String,
    },
    /// The machine's way out leads through it.
    #[error(
        "port {name} carries the {family} default route: bonding it would cut this machine off; give the bond the address and gateway instead (--address, --gateway) and first remove the route: {remedy}"
    )]
    DefaultRoute {
        /// The interface.
        name: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The command that removes the route.
        remedy: String,
    },
    /// It has addresses, which would no longer be reachable.
    #[error(
        "port {name} has the address {address}, which would stop working; move it to the bond (--address {address}) and first remove it: ip addr flush dev {name}"
    )]
    Addressed {
        /// The interface.
        name: String,
        /// The first of its addresses.
        address: String,
    },
    /// The question itself failed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl PortRefusal {
    /// What the kernel's driver answers in the same case, where it has an answer of its own.
    pub const fn driver(&self) -> Option<DriverError> {
        let (errno, text) = match self {
            Self::InUse { .. } | Self::Taken { .. } | Self::HasUpper { .. } => {
                (libc::EBUSY, "Device is in use and cannot be enslaved")
            }
            Self::IsMaster { .. } => (
                libc::EPERM,
                "Device type (master device) cannot be enslaved",
            ),
            Self::Itself { .. } => (libc::EPERM, "Cannot enslave bond to itself"),
            _ => return None,
        };
        Some(DriverError { errno, text })
    }
}

/// Why ports do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MtuRefusal {
    /// Two ports, two MTUs, and nobody said which.
    #[error(
        "port {one} has MTU {mtu_one} and port {other} MTU {mtu_other}; say which the bond should have (--mtu {mtu_one}) or make them equal"
    )]
    Differ {
        /// A port.
        one: String,
        /// Its MTU.
        mtu_one: u32,
        /// Another port.
        other: String,
        /// Its MTU.
        mtu_other: u32,
    },
    /// A port cannot have the MTU asked for.
    #[error(
        "MTU {wanted} is beyond what port {name} can do ({min} to {max}); choose another MTU or leave the port out"
    )]
    Impossible {
        /// The port.
        name: String,
        /// MTU asked for.
        wanted: u32,
        /// Its least.
        min: u32,
        /// Its most.
        max: u32,
    },
}

/// Why a name cannot become a bond's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameRefusal {
    /// Nothing.
    #[error("the bond has no name; give it one, such as bond0")]
    Empty,
    /// Too long for the kernel.
    #[error("bond name {name:?} has {} bytes, an interface name at most {NAME_MAX}; choose a shorter one", .name.len())]
    TooLong {
        /// The name.
        name: String,
    },
    /// A character that no interface name has.
    #[error(
        "bond name {name:?} has {character:?} in it, which an interface name must not; use letters, digits, '-', '_' or '.'"
    )]
    Character {
        /// The name.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// `.`, `..`, and what stands for all interfaces, or the driver, where the kernel shows each by its name.
    #[error("bond name {name:?} stands for something else in {place}; choose another")]
    Reserved {
        /// The name.
        name: String,
        /// Where it does.
        place: &'static str,
    },
    /// An interface has it.
    #[error("bond name {name} is in use: it is {what}; {}", other_way(.name, *.ours, *.of_driver))]
    InUse {
        /// The name.
        name: String,
        /// What has it.
        what: String,
        /// That is an Oxbond bond.
        ours: bool,
        /// That is a bond of the kernel's driver.
        of_driver: bool,
    },
    /// The question itself failed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// What has a say in whether interfaces may become ports: read once for all that are asked about at one time.
#[derive(Clone, Debug)]
pub struct Surroundings {
    links: Vec<Link>,
    default_routes: Vec<DefaultRoute>,
    /// Of every interface, those good beyond their link.
    addresses: Vec<Address>,
}

impl Surroundings {
    /// Reads them.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read(nl: &mut Netlink) -> Result<Self, KernelError> {
        Ok(Self {
            links: nl.links()?,
            default_routes: nl.default_routes()?,
            addresses: nl.addresses_beyond_links()?,
        })
    }

    /// Says whether an interface may become a port of `bond`, and what it is like.
    ///
    /// `taken` maps the interfaces that are ports of Oxbond bonds to those bonds' names: nothing on the device itself tells.
    ///
    /// # Errors
    /// The first reason found against it.
    pub fn inspect_port(
        &self,
        bond: &str,
        name: &str,
        taken: &BTreeMap<u32, String>,
    ) -> Result<Candidate, PortRefusal> {
        let own = || name.to_owned();
        if name == bond {
            return Err(PortRefusal::Itself { name: own() });
        }
        if name.len() > NAME_MAX {
            return Err(PortRefusal::NameTooLong { name: own() });
        }
        let Some(link) = self.links.iter().find(|link| link.name == name) else {
            return Err(PortRefusal::Missing {
                name: own(),
                similar: most_similar(name, &self.links),
            });
        };
        refuse_by_kind(link, taken)?;
        refuse_by_neighbours(link, &self.links)?;
        if wireless::is_wireless(link.index, name)? {
            return Err(PortRefusal::Wireless { name: own() });
        }
        self.refuse_by_use(link)?;
        let Some(mac) = link.mac else {
            return Err(PortRefusal::NotEthernet { name: own() });
        };
        let settings = ethtool::link_settings(link.index, name)?;
        Ok(Candidate {
            link: link.clone(),
            mac,
            settings,
        })
    }

    /// What the machine needs it for.
    fn refuse_by_use(&self, link: &Link) -> Result<(), PortRefusal> {
        let name = &link.name;
        let mut routes = self.default_routes.iter();
        if let Some(route) = routes.find(|route| route.ifindex == link.index) {
            let (family, ip) = if route.ipv6 {
                ("IPv6", "ip -6")
            } else {
                ("IPv4", "ip")
            };
            return Err(PortRefusal::DefaultRoute {
                name: name.clone(),
                family,
                remedy: format!("{ip} route del default dev {name}"),
            });
        }
        let mut addresses = self.addresses.iter();
        if let Some(address) = addresses.find(|address| address.ifindex == link.index) {
            return Err(PortRefusal::Addressed {
                name: name.clone(),
                address: format!("{}/{}", address.address, address.prefix_len),
            });
        }
        Ok(())
    }
}

/// As [`Surroundings::inspect_port`], of one interface as everything is now.
///
/// # Errors
/// The first reason found against it.
pub fn inspect_port(
    nl: &mut Netlink,
    bond: &str,
    name: &str,
    taken: &BTreeMap<u32, String>,
) -> Result<Candidate, PortRefusal> {
    Surroundings::read(nl)?.inspect_port(bond, name, taken)
}

/// Why an interface can be no port whatever is done to it, as far as the link itself tells.
pub fn never_a_port(link: &Link) -> Option<PortRefusal> {
    let name = || link.name.clone();
    if link.loopback {
        return Some(PortRefusal::Loopback { name: name() });
    }
    (!link.ethernet || link.point_to_point).then(|| PortRefusal::NotEthernet { name: name() })
}

/// What the interface is by itself.
fn refuse_by_kind(link: &Link, taken: &BTreeMap<u32, String>) -> Result<(), PortRefusal> {
    let name = link.name.clone();
    if let Some(refusal) = never_a_port(link) {
        return Err(refusal);
    }
    if let Some(alias) = link.alias.clone().filter(|_| link.is_ours()) {
        return Err(PortRefusal::Ours { name, alias });
    }
    if let Some(bond) = taken.get(&link.index).filter(|bond| **bond != name) {
        return Err(PortRefusal::Taken {
            name,
            bond: bond.clone(),
        });
    }
    match link.kind.as_deref() {
        Some(kind @ ("bridge" | "bond" | "team" | "vrf")) => Err(PortRefusal::IsMaster {
            name,
            kind: kind.to_owned(),
        }),
        _ if link.is_master => Err(PortRefusal::IsMaster {
            name,
            kind: "master device".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// What is above it. Frames are taken off a port before any of these would see them.
fn refuse_by_neighbours(link: &Link, links: &[Link]) -> Result<(), PortRefusal> {
    if let Some(index) = link.master {
        let master = links.iter().find(|other| other.index == index);
        let kind = link
            .port_kind
            .clone()
            .or_else(|| master.and_then(|master| master.kind.clone()));
        return Err(PortRefusal::InUse {
            name: link.name.clone(),
            kind: kind.unwrap_or_else(|| "device".to_owned()),
            master: master.map_or_else(|| index.to_string(), |master| master.name.clone()),
        });
    }
    for upper in links.iter().filter(|upper| upper.lower == Some(link.index)) {
        if let Some(kind @ ("vlan" | "macvlan" | "macvtap" | "ipvlan" | "ipvtap" | "macsec")) =
            upper.kind.as_deref()
        {
            return Err(PortRefusal::HasUpper {
                name: link.name.clone(),
                kind: kind.to_owned(),
                upper: upper.name.clone(),
            });
        }
    }
    Ok(())
}

/// The MTU the bond starts with: the one wanted, else the one its ports have. `None` without both.
///
/// # Errors
/// Ports of different MTU while none is wanted; one that a port cannot have.
pub fn check_mtus(ports: &[Candidate], wanted: Option<u32>) -> Result<Option<u32>, MtuRefusal> {
    if let (None, Some(first)) = (wanted, ports.first())
        && let Some(other) = ports.iter().find(|port| port.link.mtu != first.link.mtu)
    {
        return Err(MtuRefusal::Differ {
            one: first.link.name.clone(),
            mtu_one: first.link.mtu,
            other: other.link.name.clone(),
            mtu_other: other.link.mtu,
        });
    }
    let Some(mtu) = wanted.or_else(|| ports.first().map(|port| port.link.mtu)) else {
        return Ok(None);
    };
    let beyond = |link: &Link| mtu < link.min_mtu || (link.max_mtu != 0 && mtu > link.max_mtu);
    match ports
        .iter()
        .map(|port| &port.link)
        .find(|link| beyond(link))
    {
        Some(link) => Err(MtuRefusal::Impossible {
            name: link.name.clone(),
            wanted: mtu,
            min: link.min_mtu,
            max: link.max_mtu,
        }),
        None => Ok(Some(mtu)),
    }
}

/// Says whether a new bond may have this name.
///
/// # Errors
/// The first reason found against it.
pub fn check_bond_name(nl: &mut Netlink, name: &str) -> Result<(), NameRefusal> {
    let own = || name.to_owned();
    if name.is_empty() {
        return Err(NameRefusal::Empty);
    }
    if name.len() > NAME_MAX {
        return Err(NameRefusal::TooLong { name: own() });
    }
    // What the kernel refuses, and '%', which it would fill with a number.
    let bad = |c: char| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control();
    if let Some(character) = name.chars().find(|c| bad(*c)) {
        return Err(NameRefusal::Character {
            name: own(),
            character,
        });
    }
    let place = match name {
        "." | ".." | "all" | "default" => Some("/proc/sys"),
        "bonding_masters" => Some("/sys/class/net"),
        _ => None,
    };
    if let Some(place) = place {
        return Err(NameRefusal::Reserved { name: own(), place });
    }
    match nl.link_by_any_name(name)? {
        None => Ok(()),
        Some(link) if link.name != name => Err(NameRefusal::InUse {
            name: own(),
            what: format!("another name of {}", link.name),
            ours: false,
            of_driver: false,
        }),
        Some(link) => Err(NameRefusal::InUse {
            name: own(),
            what: described(&link),
            ours: link.is_ours(),
            of_driver: link.kind.as_deref() == Some("bond"),
        }),
    }
}

/// What to do where a name is in use.
fn other_way(name: &str, ours: bool, of_driver: bool) -> String {
    let instead = match (ours, of_driver) {
        (true, _) => "take that down first (oxbond down) or ",
        (_, true) => return format!("take it over (oxbond adopt {name}) or choose another name"),
        _ => "",
    };
    format!("{instead}choose another name")
}

fn described(link: &Link) -> String {
    match (link.is_ours(), link.loopback, link.kind.as_deref()) {
        (true, ..) => "an Oxbond bond already".to_owned(),
        (_, true, _) => "the loopback".to_owned(),
        (_, _, Some(kind)) => format!("an interface of kind {kind}"),
        _ => "a network interface".to_owned(),
    }
}

fn suggestion(similar: Option<&str>) -> String {
    similar.map_or_else(String::new, |name| format!(", did you mean {name}?"))
}

/// The interface whose name is the fewest edits away, when that is no more than a third of the name.
fn most_similar(name: &str, links: &[Link]) -> Option<String> {
    links
        .iter()
        .filter(|link| !link.loopback && !link.is_ours())
        .map(|link| (strsim::levenshtein(name, &link.name), &link.name))
        .filter(|(distance, _)| *distance <= (name.chars().count() / 3).max(1))
        .min()
        .map(|(_, name)| name.clone())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::netlink::ALIAS_MARK;
    use crate::test_support::{Picture, in_fresh_namespaces, poll_until};

    fn refusal(nl: &mut Netlink, name: &str) -> String {
        inspect_port(nl, "bond0", name, &BTreeMap::new())
            .expect_err(name)
            .to_string()
    }

    fn index(nl: &mut Netlink, name: &str) -> u32 {
        nl.link(name).unwrap().unwrap().index
    }

    #[test]
    fn root_refuses_what_cannot_be_a_port_and_touches_nothing() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("enp3s0", "q0").unwrap();
            nl.create_veth("routed", "q1").unwrap();
            nl.create_veth("bridged", "q2").unwrap();
            nl.create_veth("under", "q3").unwrap();
            nl.create_veth("ours", "q4").unwrap();
            nl.create_bridge("br0").unwrap();
            let (bridged, br0) = (index(&mut nl, "bridged"), index(&mut nl, "br0"));
            nl.set_master(bridged, Some(br0)).unwrap();
            let under = index(&mut nl, "under");
            nl.create_macvlan("mv0", under).unwrap();
            let ours = index(&mut nl, "ours");
            nl.set_alias(ours, &format!("{ALIAS_MARK} bond bond7"))
                .unwrap();
            let routed = index(&mut nl, "routed");
            nl.set_up(routed).unwrap();
            let q1 = index(&mut nl, "q1");
            nl.set_up(q1).unwrap();
            let address: IpAddr = "192.0.2.2".parse().unwrap();
            nl.add_address(routed, address, 24).unwrap();
            nl.add_default_route(routed, "192.0.2.1".parse().unwrap())
                .unwrap();
            // The kernel finishes this in its own time.
            poll_until("both ends are settled", || {
                ["routed", "q1"].iter().all(|name| {
                    let link = nl.link(name).unwrap().unwrap();
                    link.oper == OperState::Up
                        && nl
                            .addresses(link.index)
                            .unwrap()
                            .iter()
                            .any(|a| a.address.is_ipv6())
                })
            });
            let before = Picture::take(&mut nl);
            let writes = nl.writes();

            let says = |text: String, parts: &[&str]| {
                for part in parts {
                    assert!(text.contains(part), "{part:?} is not in: {text}");
                }
            };
            says(
                refusal(&mut nl, "enp3s1"),
                &["enp3s1 does not exist", "did you mean enp3s0?", "ip link"],
            );
            says(
                refusal(&mut nl, "wholly-other"),
                &["wholly-other does not exist;"],
            );
            says(
                refusal(&mut nl, "a-name-of-sixteen"),
                &["longer than 15 bytes"],
            );
            says(refusal(&mut nl, "bond0"), &["bond0 is the bond itself"]);
            says(refusal(&mut nl, "lo"), &["loopback"]);
            says(
                refusal(&mut nl, "bridged"),
                &["in the bridge br0", "ip link set bridged nomaster"],
            );
            says(refusal(&mut nl, "br0"), &["br0 is a bridge"]);
            says(
                refusal(&mut nl, "under"),
                &["carries the macvlan mv0", "ip link del mv0"],
            );
            says(
                refusal(&mut nl, "ours"),
                &["Oxbond's own", "oxbond: bond bond7"],
            );
            says(
                refusal(&mut nl, "routed"),
                &[
                    "IPv4 default route",
                    "ip route del default dev routed",
                    "--gateway",
                ],
            );
            // Of a bond of the driver the device itself is in the map.
            let taken = BTreeMap::from([
                (index(&mut nl, "enp3s0"), "bond7".to_owned()),
                (br0, "br0".to_owned()),
            ]);
            says(
                inspect_port(&mut nl, "bond0", "br0", &taken)
                    .unwrap_err()
                    .to_string(),
                &["br0 is a bridge, which has ports of its own"],
            );
            says(
                inspect_port(&mut nl, "bond0", "enp3s0", &taken)
                    .unwrap_err()
                    .to_string(),
                &["in bond7 already", "oxbond remove-port bond7 enp3s0"],
            );
            assert_eq!(nl.writes(), writes);
            before.assert_again(&mut nl);

            // Without the default route, the address alone is a reason.
            nl.set_down(routed).unwrap();
            says(
                refusal(&mut nl, "routed"),
                &[
                    "has the address 192.0.2.2/24",
                    "--address 192.0.2.2/24",
                    "ip addr flush dev routed",
                ],
            );
            // And without it there is none. Nor is a link-local IPv6 address one.
            nl.del_address(routed, address, 24).unwrap();
            nl.set_up(routed).unwrap();
            let candidate = inspect_port(&mut nl, "bond0", "routed", &BTreeMap::new()).unwrap();
            let info = candidate.port_info();
            assert_eq!((info.ifindex, info.link.speed_mbps), (routed, Some(10_000)));
            assert!(info.link.is_usable());
        });
    }

    #[test]
    fn root_refuses_the_port_of_an_ipv6_default_route_and_a_tunnel() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("p0", "q0").unwrap();
            let (p0, q0) = (index(&mut nl, "p0"), index(&mut nl, "q0"));
            nl.set_up(p0).unwrap();
            nl.set_up(q0).unwrap();
            nl.add_default_route(p0, "fe80::1".parse().unwrap())
                .unwrap();
            let text = refusal(&mut nl, "p0");
            assert!(
                text.contains("IPv6 default route") && text.contains("ip -6 route del"),
                "{text}"
            );

            let tun = crate::test_support::tun("tun0");
            let text = refusal(&mut nl, "tun0");
            assert!(text.contains("does not carry Ethernet"), "{text}");
            drop(tun);
        });
    }

    #[test]
    fn root_bond_names() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_bridge("br0").unwrap();
            nl.create_veth("bond7", "q0").unwrap();
            let bond7 = index(&mut nl, "bond7");
            nl.set_alias(bond7, "oxbond: bond bond7").unwrap();
            let mut says = |name: &str, parts: &[&str]| {
                let text = check_bond_name(&mut nl, name).expect_err(name).to_string();
                for part in parts {
                    assert!(text.contains(part), "{part:?} is not in: {text}");
                }
            };
            says("", &["no name"]);
            says("a-name-of-sixtee", &["16 bytes", "at most 15"]);
            says("bond/0", &["'/'"]);
            says("bond 0", &["' '"]);
            says("bond%d", &["'%'"]);
            for reserved in ["..", "all", "default", "bonding_masters"] {
                says(reserved, &["choose another"]);
            }
            says("lo", &["in use", "the loopback"]);
            says("br0", &["in use", "kind bridge"]);
            says("bond7", &["Oxbond bond", "oxbond down"]);
            check_bond_name(&mut nl, "a-name-of-fifte").unwrap();

            let status = std::process::Command::new("ip")
                .args("link property add dev br0 altname trunk0".split(' '))
                .status();
            assert!(status.unwrap().success());
            let text = check_bond_name(&mut nl, "trunk0").unwrap_err().to_string();
            assert!(
                text.contains("in use") && text.contains("another name of br0"),
                "{text}"
            );
            assert_eq!(nl.link("trunk0").unwrap(), None);
        });
    }

    #[test]
    fn root_mtus() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("p0", "q0").unwrap();
            nl.create_veth("p1", "q1").unwrap();
            let p1 = index(&mut nl, "p1");
            nl.set_mtu(p1, 9000).unwrap();
            let ports = ["p0", "p1"]
                .map(|name| inspect_port(&mut nl, "bond0", name, &BTreeMap::new()).unwrap());
            let text = check_mtus(&ports, None).unwrap_err().to_string();
            assert!(
                text.contains("p0 has MTU 1500 and port p1 MTU 9000"),
                "{text}"
            );
            assert_eq!(check_mtus(&ports, Some(9000)), Ok(Some(9000)));
            assert_eq!(check_mtus(&ports[1..], None), Ok(Some(9000)));
            assert_eq!(check_mtus(&[], None), Ok(None));
            let text = check_mtus(&ports, Some(70_000)).unwrap_err().to_string();
            assert!(
                text.contains("MTU 70000 is beyond what port p0 can do (68 to 65535)"),
                "{text}"
            );
        });
    }

    #[test]
    fn edit_distance() {
        for (from, to, distance) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("eth0", "eth1", 1),
            ("enp3s0", "np3s01", 2),
        ] {
            assert_eq!(
                (from, to, strsim::levenshtein(from, to)),
                (from, to, distance)
            );
        }
    }
}
