//! What stands on an interface: VLANs, bridges it is a port of, macvlans, and so on upwards. Their addresses are reached
//! through it.

use oxbond_wire::MacAddr;

use crate::netlink::Link;

/// A device whose frames leave through the interface at the bottom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Above {
    /// Its interface index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its link-layer address.
    pub mac: MacAddr,
    /// VLAN ids that its frames have got at the bottom, outermost first.
    pub vlans: Vec<u16>,
}

/// The interface itself, then everything above it, lower ones first. Empty when it is not among `links`.
///
/// A bridge counts with every port of its own: whether a frame to a certain address really leaves through this port is
/// for its forwarding table to say.
pub fn above(links: &[Link], bottom: u32) -> Vec<Above> {
    let entry = |link: &Link, vlans: Vec<u16>| {
        Some(Above {
            index: link.index,
            name: link.name.clone(),
            mac: link.mac?,
            vlans,
        })
    };
    let find = |index: u32| links.iter().find(|link| link.index == index);
    let mut found: Vec<Above> = find(bottom)
        .and_then(|link| entry(link, Vec::new()))
        .into_iter()
        .collect();
    let mut looked = 0;
    while let Some(base) = found.get(looked).cloned() {
        let bridge = find(base.index)
            .filter(|link| link.port_kind.as_deref() == Some("bridge"))
            .and_then(|link| link.master);
        for link in links {
            let stands = match link.kind.as_deref() {
                Some("vlan" | "macvlan") => link.lower == Some(base.index),
                Some("bridge") => bridge == Some(link.index),
                _ => false,
            };
            if !stands || found.iter().any(|known| known.index == link.index) {
                continue;
            }
            let vlans = base.vlans.iter().copied().chain(link.vlan_id).collect();
            found.extend(entry(link, vlans));
        }
        looked += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Netlink;
    use crate::test_support::in_fresh_namespaces;

    #[test]
    fn root_a_bridge_and_what_stands_on_it() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("bond0", "inner").unwrap();
            nl.create_veth("other", "else").unwrap();
            nl.create_bridge("vmbr0").unwrap();
            let index = |nl: &mut Netlink, name: &str| nl.link(name).unwrap().unwrap().index;
            let (bond, bridge) = (index(&mut nl, "bond0"), index(&mut nl, "vmbr0"));
            let names = |nl: &mut Netlink| {
                let links = nl.links().unwrap();
                let found = above(&links, bond).into_iter().map(|above| above.name);
                found.collect::<Vec<_>>()
            };
            assert_eq!(names(&mut nl), ["bond0"]);
            nl.set_master(bond, Some(bridge)).unwrap();
            nl.create_macvlan("mv0", bridge).unwrap();
            assert_eq!(names(&mut nl), ["bond0", "vmbr0", "mv0"]);
            let links = nl.links().unwrap();
            assert_eq!(above(&links, 9999), []);
        });
    }
}
