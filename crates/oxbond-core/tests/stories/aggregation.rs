//! 802.3ad as it is without a partner: what carries traffic then, and how many ports do with one.

use oxbond_core::action::Action;
use oxbond_core::event::Event;
use oxbond_core::input::Input;
use oxbond_core::option::OptionId;
use oxbond_core::port::PortId;
use oxbond_core::status::PortRole;
use oxbond_core::table::{Receive, Spread};

use crate::announcements::announced;
use crate::rig::{LINK_DOWN, Rig, mac_of};

const LAG: &[&str] = &["mode=802.3ad", "xmit_hash_policy=layer3+4"];
/// As the driver has it.
const LAX: &[&str] = &[
    "mode=802.3ad",
    "xmit_hash_policy=layer3+4",
    "lacp_strict=off",
];

/// Nobody has agreed to take a flow's frames from two links.
#[test]
fn one_port_carries_all_and_the_next_follows() {
    let mut rig = Rig::new(LAX, &["a", "b"]);
    assert_eq!(rig.bond.options().miimon, 100, "it comes with a monitor");
    assert!((0..100).all(|hash| rig.goes_to(hash) == Some("a")));
    assert_eq!(rig.table.receive, Receive::Active);
    assert_eq!(rig.port("b").role, PortRole::Backup);
    rig.link_down("a");
    assert!((0..100).all(|hash| rig.goes_to(hash) == Some("b")));
    rig.link_up("a");
    assert_eq!(rig.goes_to(0), Some("b"), "the one that works stays");
}

/// With nobody there to see it, the data path goes from the one that carries alone to the next.
#[test]
fn behind_one_port_that_carries_alone_stand_the_others() {
    let mut rig = Rig::new(LAX, &["a", "b", "c"]);
    rig.set_port("c", "actor_port_prio=1").unwrap();
    let order = |rig: &Rig| -> String {
        let names = rig.table.order.iter().map(|id| rig.name_of(*id));
        names.collect()
    };
    assert_eq!(
        (&rig.table.spread, &*order(&rig)),
        (&Spread::Failover, "acb")
    );
    rig.links.insert("a".to_owned(), LINK_DOWN);
    assert_eq!(rig.goes_to(0), Some("c"), "the core has heard nothing");
    assert!(rig.table.accepts(rig.id("c"), rig.standing()));
    rig.drained("b", true).unwrap();
    assert_eq!(order(&rig), "ac");
    rig.set(&["lacp_strict=on"]).unwrap();
    assert_eq!(order(&rig), "", "nothing carries without a partner");
    rig.set(&["lacp_fallback=individual", "lacp_fallback_delay=0"])
        .unwrap();
    rig.at(4000);
    assert!(matches!(rig.table.spread, Spread::Buckets(_)));
}

#[test]
fn too_few_links_take_the_carrier_away() {
    let mut rig = Rig::new(LAX, &["a", "b"]);
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
    let mut rig = Rig::new(&["mode=802.3ad"], &["a", "b"]);
    assert!(!rig.table.neighbours_to_all);
    rig.set(&["broadcast_neighbor=on"]).unwrap();
    assert!(rig.table.neighbours_to_all);
    rig.set(&["lacp_strict=off"]).unwrap();
    assert!(
        !rig.table.neighbours_to_all,
        "behind the one that carries alone are spares"
    );
}

/// How many notices of the bond's address were sent since the last look.
fn notices(rig: &mut Rig) -> usize {
    rig.take(|action| matches!(action, Action::SendFrame { .. }).then_some(()))
        .len()
}

/// A switch without LACP knows the bond's address on the port before, and keeps sending there.
#[test]
fn without_a_partner_peers_hear_of_another_port() {
    let mut rig = Rig::new(LAX, &["a", "b"]);
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
    let mut rig = Rig::new(LAX, &["a", "b"]);
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
    let mut rig = Rig::new(LAX, &["a", "b", "c"]);
    rig.log.clear();
    rig.set(&["mode=balance-xor"]).unwrap();
    let told = rig.events();
    assert!(
        !told.iter().any(|event| matches!(event, Event::Lacp { .. })),
        "{told:?}"
    );
    assert!(rig.bond.lacp().is_none());
}

/// What the driver would take for a working bond would send into the void.
#[test]
fn by_default_nothing_is_sent_without_a_partner() {
    let mut rig = Rig::new(LAG, &["a", "b"]);
    let options = rig.bond.options();
    assert_eq!(options.text(OptionId::LacpStrict), "on");
    assert_eq!(options.text(OptionId::CoupledControl), "off");
    assert!(!rig.carrier && rig.goes_to(0).is_none());
    rig.at(60_000);
    assert!(!rig.carrier && rig.goes_to(0).is_none());
    let told = rig.port("b").reason;
    assert_eq!(
        told,
        "partner never answered, for 60 s: is LACP on at the other end?"
    );
    // A bond made for another mode has the same in this one.
    let mut other = Rig::new(&["mode=balance-xor", "miimon=100"], &["a"]);
    assert!(other.carrier);
    other.set(&["mode=802.3ad"]).unwrap();
    assert!(!other.carrier);
}

#[test]
fn fallback_carries_after_its_delay() {
    let policy = |word: &'static str| [LAG, &[word, "lacp_fallback_delay=2000"]].concat();
    let mut rig = Rig::new(&policy("lacp_fallback=active-backup"), &["a", "b"]);
    rig.set_port("b", "actor_port_prio=1").unwrap();
    // Three seconds to look for a partner, and the delay.
    rig.at(4_900);
    assert!(!rig.carrier);
    rig.at(5_000);
    assert!(rig.carrier);
    assert!((0..100).all(|hash| rig.goes_to(hash) == Some("b")));
    let told = rig.port("b").reason;
    assert!(
        told.starts_with("carries the traffic alone: partner never answered"),
        "{told}"
    );
    rig.link_down("b");
    assert_eq!(rig.goes_to(0), Some("a"));

    let mut rig = Rig::new(&policy("lacp_fallback=individual"), &["a", "b"]);
    rig.at(5_000);
    assert_eq!(rig.table.order, [rig.id("a"), rig.id("b")]);
    rig.set(&["lacp_fallback=strict"]).unwrap();
    assert!(!rig.carrier && rig.table.order.is_empty());
}
