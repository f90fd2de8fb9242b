//! Rules on what stands on what: ports, VLANs, bridges, and the addresses of all devices.

use core::net::IpAddr;
use std::collections::{HashMap, HashSet};

use oxbond_core::option::Mode;

use super::View;
use crate::diagnostic::{Code, Diagnostic};
use crate::dialect::{Dialect, mode};
use crate::model::{Cidr, DesiredBridge, DeviceSettings};
use crate::span::{Located, Span};

/// MTU of a device to which none is given, in bytes.
const USUAL_MTU: u32 = 1500;
/// Seconds for which a bridge's port listens and learns, unless told otherwise.
const USUAL_DELAY: u32 = 15;
/// Forward delays with which the spanning tree protocol works, in seconds.
const STP_DELAY: core::ops::RangeInclusive<u32> = 2..=30;
/// Longest chain of devices on devices that is followed; the kernel stops at 8.
const DEEPEST: usize = 16;

pub(super) fn rules(view: &mut View<'_>) {
    loops(view);
    vlans(view);
    bridge_ports(view);
    for bridge in &view.network.bridges {
        forwarding(view, bridge);
    }
    addresses(view);
    gateways(view);
}

fn loops(view: &mut View<'_>) {
    let network = view.network;
    let bonds: HashSet<&str> = network
        .bonds
        .iter()
        .map(|bond| bond.name.value.as_str())
        .collect();
    let links: HashMap<&str, &str> = network
        .vlans
        .iter()
        .map(|vlan| (vlan.name.value.as_str(), vlan.link.value.as_str()))
        .collect();
    let stands_on = |name: &str, below: &str| {
        let mut at = name;
        for _ in 0..DEEPEST {
            match links.get(at) {
                Some(link) if *link == below => return true,
                Some(link) => at = link,
                None => return false,
            }
        }
        false
    };
    let mut find = |span, message, way_out: &str| {
        view.find(Diagnostic::new(Code::StackingLoop, span, message).with_help(way_out));
    };
    for bond in &network.bonds {
        let name = bond.name.value.as_str();
        for port in &bond.ports {
            let (port, span) = (port.name.value.as_str(), port.name.span);
            // That a device is its own port is judged elsewhere.
            let message = if port == name {
                continue;
            } else if bonds.contains(port) {
                format!("{port} is a bond, and a bond cannot be a port of {name}")
            } else if stands_on(port, name) {
                format!("{port} stands on {name} and cannot be its port")
            } else {
                continue;
            };
            find(span, message, "name the interface below");
        }
    }
    for vlan in &network.vlans {
        let name = vlan.name.value.as_str();
        if stands_on(name, name) {
            let message = format!("{name} stands on itself");
            find(vlan.link.span, message, "name the device below");
        }
    }
    for bridge in &network.bridges {
        let name = bridge.name.value.as_str();
        for port in &bridge.ports {
            let port_name = port.name.value.as_str();
            if stands_on(port_name, name) {
                let message = format!("{port_name} stands on {name} and cannot be its port");
                find(port.name.span, message, "name the device below");
            }
        }
    }
}

fn vlans(view: &mut View<'_>) {
    let network = view.network;
    let mtus: HashMap<&str, u32> = view
        .network
        .devices()
        .map(|(name, device)| {
            let mtu = device.mtu.as_ref().map_or(USUAL_MTU, |mtu| mtu.value);
            (name.value.as_str(), mtu)
        })
        .collect();
    let mut first: HashMap<(&str, u16), (&str, Span)> = HashMap::new();
    for vlan in &network.vlans {
        let (name, link, id) = (&vlan.name.value, vlan.link.value.as_str(), vlan.id.value);
        if let Some(bond) = view.bond_of.get(link) {
            let bond = &bond.name.value;
            let message = format!("{name} stands on {link}, which is a port of {bond}");
            view.find(
                Diagnostic::new(Code::VlanOnPort, vlan.link.span, message)
                    .with_help(format!("put it on {bond}")),
            );
        }
        let (other, span) = *first.entry((link, id)).or_insert((name, vlan.id.span));
        if other != name {
            let message = format!("{name} and {other} are both VLAN {id} of {link}");
            view.find(
                Diagnostic::new(Code::VlanTwice, vlan.id.span, message)
                    .with_related(span, format!("{other} here"))
                    .with_help("correct one of the numbers"),
            );
        }
        too_large(view, name, &vlan.device, link, &mtus);
    }
    for bridge in &network.bridges {
        for port in &bridge.ports {
            too_large(
                view,
                &bridge.name.value,
                &bridge.device,
                &port.name.value,
                &mtus,
            );
        }
    }
}

fn too_large(
    view: &mut View<'_>,
    name: &str,
    device: &DeviceSettings,
    below: &str,
    mtus: &HashMap<&str, u32>,
) {
    if let (Some(mtu), Some(lower)) = (&device.mtu, mtus.get(below))
        && mtu.value > *lower
    {
        let message = format!(
            "{name} has an MTU of {}, and {below} below it {lower}",
            mtu.value
        );
        view.find(
            Diagnostic::new(Code::MtuAboveLower, mtu.span, message)
                .with_help(format!("set the MTU of {below} to {} or more", mtu.value)),
        );
    }
}

fn bridge_ports(view: &mut View<'_>) {
    let network = view.network;
    let of_devices: HashMap<&str, &DeviceSettings> = view
        .network
        .devices()
        .map(|(name, device)| (name.value.as_str(), device))
        .collect();
    let modes: HashMap<&str, Mode> = network
        .bonds
        .iter()
        .map(|bond| (bond.name.value.as_str(), mode(bond)))
        .collect();
    let links: HashMap<&str, &str> = network
        .vlans
        .iter()
        .map(|vlan| (vlan.name.value.as_str(), vlan.link.value.as_str()))
        .collect();
    for bridge in &network.bridges {
        let bridge_name = bridge.name.value.as_str();
        for port in &bridge.ports {
            let (name, span) = (port.name.value.as_str(), port.name.span);
            let device = of_devices.get(name).filter(|device| device.is_addressed());
            if let Some(device) = device {
                let at = device.addresses.first().map(|address| address.span);
                let at = at
                    .or_else(|| device.dhcp_v4.as_ref().map(|asked| asked.span))
                    .or_else(|| device.dhcp_v6.as_ref().map(|asked| asked.span))
                    .unwrap_or(span);
                let message = format!("{name} has addresses and is a port of {bridge_name}");
                view.find(
                    Diagnostic::new(Code::BridgePortAddressed, at, message)
                        .with_related(span, "a port here")
                        .with_help(format!("give the addresses to {bridge_name}")),
                );
            }
            let below = links.get(name).copied().unwrap_or(name);
            if let Some(mode @ (Mode::BalanceTlb | Mode::BalanceAlb)) = modes.get(below) {
                let message = format!(
                    "{below} in mode {mode} changes the addresses of what is behind {bridge_name}"
                );
                view.find(
                    Diagnostic::new(Code::BalancingUnderBridge, span, message)
                        .with_help("take active-backup, 802.3ad or balance-xor"),
                );
            }
        }
    }
}

fn forwarding(view: &mut View<'_>, bridge: &DesiredBridge) {
    let name = &bridge.name.value;
    // Without STP a port forwards at once, whatever the delay is: seen on Linux 6.1 and 6.18.
    if bridge.stp.as_ref().is_some_and(|stp| stp.value) {
        let delay = bridge.forward_delay.as_ref();
        let span = delay.map_or(bridge.name.span, |delay| delay.span);
        let seconds = delay.map_or(USUAL_DELAY, |delay| delay.value);
        if !STP_DELAY.contains(&seconds) {
            let message = format!(
                "{name} speaks STP, for which a forward delay of {seconds} s is not allowed"
            );
            view.find(
                Diagnostic::new(Code::BridgeDelayRefused, span, message)
                    .with_help("turn STP off, or write 2 to 30"),
            );
        } else if !bridge.ports.is_empty() {
            let wait = 2 * seconds;
            let message = format!("{name} forwards nothing for {wait} s after a port came up");
            let finding = Diagnostic::new(Code::BridgeDelay, span, message);
            view.find(finding.with_help("with one way out set STP off"));
        }
    }
    let aware = bridge.vlan_aware.as_ref().is_some_and(|aware| aware.value);
    if let Some(place) = bridge.vlan_places().next().filter(|_| !aware) {
        let message = format!("{name} does not look at VLAN tags, so these VLANs mean nothing");
        view.find(
            Diagnostic::new(Code::VidsWithoutFiltering, place, message)
                .with_help("make the bridge VLAN-aware, or remove them"),
        );
    }
}

fn addresses(view: &mut View<'_>) {
    let mut hosts: HashMap<IpAddr, (&str, Span)> = HashMap::new();
    let mut networks: HashMap<(IpAddr, u8), (&str, Span)> = HashMap::new();
    for (name, device) in view.network.devices() {
        let name = name.value.as_str();
        for Located { value: cidr, span } in &device.addresses {
            if let Some(what) = not_of_a_host(cidr) {
                let message = format!("{cidr} is {what}");
                let finding = Diagnostic::new(Code::AddressNotHost, *span, message);
                view.find(
                    finding.with_help("correct the last number, or the length of the prefix"),
                );
            }
            let (other, first) = *hosts.entry(cidr.address).or_insert((name, *span));
            if other != name {
                let message = format!("{name} and {other} both have {}", cidr.address);
                view.find(
                    Diagnostic::new(Code::DuplicateAddress, *span, message)
                        .with_related(first, format!("{other} here"))
                        .with_help("correct one of them"),
                );
                continue;
            }
            let Some(network) = shared_network(cidr) else {
                continue;
            };
            let (other, first) = *networks.entry(network).or_insert((name, *span));
            if other != name {
                let message = format!("{name} and {other} are both in {}/{}", network.0, network.1);
                view.find(
                    Diagnostic::new(Code::SameNetworkTwice, *span, message)
                        .with_related(first, format!("{other} here"))
                        .with_help(
                            "put their ports into one bond, or give them different networks",
                        ),
                );
            }
        }
    }
}

/// What an address is that names its network or everyone in it.
fn not_of_a_host(cidr: &Cidr) -> Option<&'static str> {
    let IpAddr::V4(address) = cidr.address else {
        return None;
    };
    // Networks of one and two hosts have neither.
    let hosts = u32::MAX
        .checked_shr(cidr.prefix_len.into())
        .filter(|hosts| *hosts > 1)?;
    match u32::from(address) & hosts {
        0 => Some("the address of its network"),
        host if host == hosts => Some("the broadcast address of its network"),
        _ => None,
    }
}

/// The network that an address is in, where others are to be expected.
fn shared_network(cidr: &Cidr) -> Option<(IpAddr, u8)> {
    let length = cidr.prefix_len;
    let first = match cidr.address {
        IpAddr::V4(address) => {
            let hosts = u32::MAX.checked_shr(length.into())?;
            IpAddr::V4((u32::from(address) & !hosts).into())
        }
        IpAddr::V6(address) if address.is_unicast_link_local() => return None,
        IpAddr::V6(address) => {
            let hosts = u128::MAX.checked_shr(length.into())?;
            IpAddr::V6((u128::from(address) & !hosts).into())
        }
    };
    Some((first, length))
}

fn gateways(view: &mut View<'_>) {
    // NetworkManager gives each device a metric of its own.
    if view.dialect == Dialect::Keyfile {
        return;
    }
    let mut first: [Option<(&str, Span)>; 2] = [None, None];
    for (name, device) in view.network.devices() {
        let v4 = device.gateway_v4.as_ref().map(|gateway| gateway.span);
        let v6 = device.gateway_v6.as_ref().map(|gateway| gateway.span);
        for (slot, span) in first.iter_mut().zip([v4, v6]) {
            let Some(span) = span else {
                continue;
            };
            match *slot {
                None => *slot = Some((&name.value, span)),
                Some((other, earlier)) => view.find(
                    Diagnostic::new(
                        Code::TwoGateways,
                        span,
                        format!("{} and {other} both have a default gateway", name.value),
                    )
                    .with_related(earlier, format!("{other} here"))
                    .with_help("keep one, or give metrics"),
                ),
            }
        }
    }
}
