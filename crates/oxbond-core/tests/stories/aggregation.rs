//! 802.3ad as it is without a partner.

use oxbond_core::action::Action;
use oxbond_core::event::Event;
use oxbond_core::input::Input;
use oxbond_core::port::PortId;
use oxbond_core::status::PortRole;
use oxbond_core::table::{Receive, Spread};

use crate::announcements::announced;
use crate::rig::{Rig, mac_of};

const LAG: &[&str] = &["mode=802.3ad", "xmit_hash_policy=layer3+4"];

/// Nobody has agreed to take a flow's frames from two links.
#[test]
fn one_port_carries_all_and_the_next_follows() {
    let mut rig = Rig::new(LAG, &["a", "b"]);
    assert_eq!(rig.bond.options().miimon, 100, "it comes with a monitor");
    assert!((0..100).all(|hash| rig.goes_to(hash) == Some("a")));
    assert_eq!(rig.table.receive, Receive::Ports(vec![rig.id("a")]));
    assert_eq!(rig.port("b").role, PortRole::Backup);
    rig.link_down("a");
    assert!((0..100).all(|hash| rig.goes_to(hash) == Some("b")));
    rig.link_up("a");
    assert_eq!(rig.goes_to(0), Some("b"), "the one that works stays");
    assert!(matches!(rig.table.spread, Spread::Buckets(_)));
}

#[test]
fn too_few_links_take_the_carrier_away() {
    let mut rig = Rig::new(LAG, &["a", "b"]);
    assert!(rig.carrier);
    rig.set(&["min_links=2"]).unwrap();
    assert!(!rig.carrier, "one port distributes, two are wanted");
    rig.set(&["min_links=1"]).unwrap();
    assert!(rig.carrier);
    rig.link_down("a").link_down("b");
    assert!(!rig.carrier);
}

#[test]
fn neighbour_discovery_goes_everywhere_on_request() {
    let mut rig = Rig::new(LAG, &["a", "b"]);
    assert!(!rig.table.neighbours_to_all);
    rig.set(&["broadcast_neighbor=on"]).unwrap();
    assert!(rig.table.neighbours_to_all);
}

/// How many notices of the bond's address were sent since the last look.
fn notices(rig: &mut Rig) -> usize {
    rig.take(|action| matches!(action, Action::SendFrame { .. }).then_some(()))
        .len()
}

/// A switch without LACP knows the bond's address on the port before, and keeps sending there.
#[test]
fn without_a_partner_peers_hear_of_another_port() {
    let mut rig = Rig::new(LAG, &["a", "b"]);
    rig.tell(Input::Addresses {
        addresses: vec![announced("192.0.2.1", &[])],
    });
    rig.log.clear();
    rig.remove("a");
    assert_eq!(rig.goes_to(0), Some("b"));
    assert_eq!(notices(&mut rig), 1);
    rig.add("a", &[]).unwrap();
    rig.link_down("a").link_up("a");
    assert_eq!(notices(&mut rig), 0, "b carries on");

    rig.set(&["mode=active-backup"]).unwrap();
    rig.set(&["active_slave=a"]).unwrap();
    rig.log.clear();
    rig.set(&["mode=802.3ad", "num_grat_arp=2"]).unwrap();
    assert_eq!(notices(&mut rig), 1, "whoever carries now");
    rig.at(1000);
    assert_eq!(notices(&mut rig), 1);
}

/// A switch learns from LACPDUs too, and the first port's own address is the bond's.
#[test]
fn without_a_partner_lacpdus_do_not_mislead_the_switch() {
    let mut rig = Rig::new(LAG, &["a", "b"]);
    assert_eq!(mac_of("a"), rig.bond_mac);
    rig.link_down("a").link_up("a");
    assert_eq!(rig.goes_to(0), Some("b"));
    rig.log.clear();
    rig.at(100_000);
    let bond_mac = rig.bond_mac.octets();
    let under_bonds_address: Vec<PortId> = rig.take(|action| match action {
        Action::SendOnPort { port, frame } if frame[6..12] == bond_mac => Some(*port),
        _ => None,
    });
    let (a, b) = (rig.id("a"), rig.id("b"));
    assert!(under_bonds_address.len() >= 4, "{under_bonds_address:?}");
    for pair in under_bonds_address.chunks(2) {
        assert_eq!(pair, [a, b], "the last word is b's");
    }
}

/// The machines end; they do not look for another aggregator on the way.
#[test]
fn leaving_the_mode_tells_nothing_of_aggregators() {
    let mut rig = Rig::new(LAG, &["a", "b", "c"]);
    rig.log.clear();
    rig.set(&["mode=balance-xor"]).unwrap();
    let told = rig.events();
    assert!(
        !told.iter().any(|event| matches!(event, Event::Lacp { .. })),
        "{told:?}"
    );
    assert!(rig.bond.lacp().is_none());
}
