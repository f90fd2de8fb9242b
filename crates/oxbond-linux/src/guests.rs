//! Who is reached through an interface besides itself: stations on the other ports of a bridge that it is a port of, the
//! bridge itself, macvlans; also where a VLAN lies between.

use std::collections::BTreeMap;

use oxbond_core::input::Guest;
use oxbond_wire::MacAddr;

use crate::error::KernelError;
use crate::netlink::{Link, Netlink, PortVlan, Station};
use crate::stack::{self, Above};

/// The stations behind an interface, as the system knows them now.
///
/// # Errors
/// What the kernel says.
pub fn behind(nl: &mut Netlink, bottom: u32) -> Result<Vec<Guest>, KernelError> {
    let links = nl.links()?;
    let bridged = stack::above(&links, bottom)
        .iter()
        .any(|device| bridge_of(&links, device.index).is_some());
    // Most bonds carry no bridge, and these tables may be long.
    let (stations, vlans) = match bridged {
        true => (nl.stations()?, nl.port_vlans()?),
        false => (Vec::new(), BTreeMap::new()),
    };
    Ok(found(&links, bottom, &stations, &vlans))
}

fn bridge_of(links: &[Link], port: u32) -> Option<u32> {
    let link = links.iter().find(|link| link.index == port)?;
    link.master
        .filter(|_| link.port_kind.as_deref() == Some("bridge"))
}

/// Pure part of [`behind`].
fn found(
    links: &[Link],
    bottom: u32,
    stations: &[Station],
    vlans: &BTreeMap<u32, Vec<PortVlan>>,
) -> Vec<Guest> {
    let link = |index: u32| links.iter().find(|link| link.index == index);
    let filters = |index: u32| {
        let settings = link(index).and_then(|link| link.bridge);
        settings.is_some_and(|settings| settings.vlan_filtering)
    };
    let above = stack::above(links, bottom);
    let own = above.first().map(|front| front.mac);
    let bridge_over = |device: &Above| bridge_of(links, device.index);
    let bridged = above.iter().any(|device| bridge_over(device).is_some());
    let mut guests = Vec::new();
    for device in &above {
        let bridge = bridge_over(device);
        // With a bridge that looks at VLANs, all goes by its rules.
        let tagged = filters(device.index) || bridge.is_some_and(filters);
        // What has the address that the bond itself has is announced by its IP addresses, unless those are a bridge's.
        if !tagged && (bridged || Some(device.mac) != own) {
            guests.push(guest(device.mac, device, None));
        }
        let Some(bridge) = bridge else {
            continue;
        };
        // The tag that frames of a VLAN have when they leave by this port; `None` if they do not.
        let port = vlans.get(&device.index).map_or(&[][..], Vec::as_slice);
        let tag = |vid: u16| {
            let vlan = port.iter().find(|vlan| vlan.vid == vid)?;
            Some((!vlan.untagged).then_some(vid))
        };
        if let Some(mac) = link(bridge).filter(|_| tagged).and_then(|link| link.mac) {
            let own = vlans.get(&bridge).into_iter().flatten();
            let tags = own.filter_map(|vlan| tag(vlan.vid));
            guests.extend(tags.map(|tag| guest(mac, device, tag)));
        }
        let others = stations
            .iter()
            .filter(|station| station.bridge == bridge && !station.local)
            .filter(|station| !above.iter().any(|device| device.index == station.port));
        guests.extend(others.filter_map(|station| {
            let tag = match station.vlan.filter(|_| tagged) {
                Some(vid) => tag(vid)?,
                None => None,
            };
            Some(guest(station.mac, device, tag))
        }));
    }
    guests
}

fn guest(mac: MacAddr, by: &Above, tag: Option<u16>) -> Guest {
    Guest {
        mac,
        vlans: by.vlans.iter().copied().chain(tag).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::BridgeSettings;
    use crate::packet::FrameSender;
    use crate::test_support::{in_fresh_namespaces, poll_until};

    const GUEST: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn station(port: u32, bridge: u32, vlan: Option<u16>) -> Station {
        Station {
            mac: GUEST,
            port,
            bridge,
            vlan,
            local: false,
        }
    }

    fn list(guests: Vec<Guest>, mac: MacAddr) -> Vec<Vec<u16>> {
        let its = guests.into_iter().filter(|guest| guest.mac == mac);
        its.map(|guest| guest.vlans).collect()
    }

    /// A bond in a bridge that looks at VLANs, and a VLAN on the same bond in a bridge that does not.
    #[test]
    fn root_by_the_rules_of_the_bridge() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("bond0", "inner").unwrap();
            nl.create_veth("tap0", "vm0").unwrap();
            for bridge in ["vmbr0", "vmbr1"] {
                nl.create_bridge(bridge).unwrap();
            }
            let mut links = nl.links().unwrap();
            let index = |links: &[Link], name: &str| {
                let link = links.iter().find(|link| link.name == name);
                link.unwrap().index
            };
            let [bond, tap, vmbr0, vmbr1] =
                ["bond0", "tap0", "vmbr0", "vmbr1"].map(|name| index(&links, name));
            let mac = |links: &[Link], index: u32| {
                let link = links.iter().find(|link| link.index == index);
                link.unwrap().mac.unwrap()
            };
            let own = mac(&links, bond);
            assert_eq!(found(&links, bond, &[], &BTreeMap::new()), []);

            for port in [bond, tap] {
                nl.set_master(port, Some(vmbr0)).unwrap();
            }
            links = nl.links().unwrap();
            let stations = [
                station(tap, vmbr0, None),
                station(bond, vmbr0, None),
                station(tap, vmbr1, None),
                Station {
                    local: true,
                    ..station(tap, vmbr0, None)
                },
            ];
            let plain = found(&links, bond, &stations, &BTreeMap::new());
            assert_eq!(list(plain.clone(), GUEST), [[0_u16; 0]]);
            assert!(!list(plain.clone(), own).is_empty());
            assert!(!list(plain, mac(&links, vmbr0)).is_empty());

            let bridge = links.iter_mut().find(|link| link.index == vmbr0).unwrap();
            bridge.mac = Some(MacAddr([2, 0, 0, 0, 0, 1]));
            bridge.bridge = Some(BridgeSettings {
                vlan_filtering: true,
                ..BridgeSettings::default()
            });
            // A VLAN device on the bond, made up: this kernel may have none.
            let mut vlan = links[0].clone();
            (vlan.index, vlan.kind, vlan.lower) = (99, Some("vlan".to_owned()), Some(bond));
            (vlan.vlan_id, vlan.mac) = (Some(100), Some(own));
            (vlan.master, vlan.port_kind) = (Some(vmbr1), Some("bridge".to_owned()));
            links.push(vlan);
            let port_vlan = |vid: u16| PortVlan {
                vid,
                pvid: vid == 1,
                untagged: vid == 1,
            };
            let vlans = BTreeMap::from([
                (bond, vec![port_vlan(1), port_vlan(20)]),
                (vmbr0, vec![port_vlan(1), port_vlan(30)]),
            ]);
            let stations = [
                station(tap, vmbr0, Some(1)),
                station(tap, vmbr0, Some(20)),
                station(tap, vmbr0, Some(30)),
                station(tap, vmbr1, None),
            ];
            let guests = found(&links, bond, &stations, &vlans);
            let wanted: [&[u16]; 3] = [&[], &[20], &[100]];
            assert_eq!(list(guests.clone(), GUEST), wanted);
            let bridge = list(guests, MacAddr([2, 0, 0, 0, 0, 1]));
            assert_eq!(
                bridge,
                [[0_u16; 0]],
                "not in VLAN 30, which the bond has not"
            );
        });
    }

    #[test]
    fn root_as_the_system_knows_them() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("bond0", "inner").unwrap();
            nl.create_veth("tap0", "vm0").unwrap();
            nl.create_bridge("vmbr0").unwrap();
            let index = |nl: &mut Netlink, name: &str| nl.link(name).unwrap().unwrap().index;
            let bond = index(&mut nl, "bond0");
            assert_eq!(behind(&mut nl, bond).unwrap(), []);
            let (bridge, vm) = (index(&mut nl, "vmbr0"), index(&mut nl, "vm0"));
            for name in ["bond0", "tap0"] {
                let port = index(&mut nl, name);
                nl.set_master(port, Some(bridge)).unwrap();
            }
            for name in ["vmbr0", "bond0", "inner", "tap0", "vm0"] {
                let index = index(&mut nl, name);
                nl.set_up(index).unwrap();
            }
            let sender = FrameSender::open().unwrap();
            let frame = oxbond_wire::rarp::announcement(GUEST, &[]);
            poll_until("the guest is known", || {
                sender.send(vm, &frame).unwrap();
                let guests = behind(&mut nl, bond).unwrap();
                list(guests, GUEST) == [[0_u16; 0]]
            });
        });
    }
}
