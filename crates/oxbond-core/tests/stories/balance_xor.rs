//! Each flow on one port, chosen by hash.

use std::collections::BTreeMap;

use oxbond_core::event::Cause;
use oxbond_core::input::Input;
use oxbond_core::status::{MiiStatus, PortRole};

use crate::rig::Rig;

const XOR: &[&str] = &[
    "mode=balance-xor",
    "miimon=100",
    "xmit_hash_policy=layer3+4",
];

/// Where 6,000 flows go.
fn flows(rig: &Rig) -> Vec<Option<String>> {
    (0..6000)
        .map(|hash| rig.goes_to(hash).map(str::to_owned))
        .collect()
}

fn shares(flows: &[Option<String>]) -> BTreeMap<&str, usize> {
    let mut shares = BTreeMap::new();
    for port in flows.iter().flatten() {
        *shares.entry(port.as_str()).or_default() += 1;
    }
    shares
}

#[test]
fn with_every_link_up_flows_go_where_the_driver_puts_them() {
    let rig = Rig::new(XOR, &["a", "b", "c"]);
    for hash in 0..6000 {
        assert_eq!(rig.goes_to(hash), Some(["a", "b", "c"][hash as usize % 3]));
    }
    assert!(
        rig.status()
            .ports
            .iter()
            .all(|port| port.role == PortRole::Active)
    );
    assert_eq!(
        rig.port("a").reason,
        "carries its share of the flows, 1 of 3"
    );
}

/// The driver moves two flows of three; a third is all that has to move.
#[test]
fn a_lost_link_moves_its_own_flows_and_no_other() {
    let mut rig = Rig::new(XOR, &["a", "b", "c"]);
    let before = flows(&rig);
    rig.link_down("b");
    assert_eq!(rig.table_causes(), [Cause::LinkDown { port: "b".into() }]);
    let after = flows(&rig);
    for (from, to) in before.iter().zip(&after) {
        assert!(from == to || from.as_deref() == Some("b"));
    }
    let shares = shares(&after);
    assert_eq!(shares.len(), 2);
    assert!(
        shares.values().all(|share| share.abs_diff(3000) < 60),
        "{shares:?}"
    );
    rig.link_up("b");
    assert_eq!(flows(&rig), before);
}

/// The table the core sends changes no flow that the data path has moved by itself.
#[test]
fn the_core_confirms_what_the_data_path_did() {
    let mut rig = Rig::new(XOR, &["a", "b", "c", "d"]);
    rig.links.get_mut("c").unwrap().carrier = false;
    let alone = flows(&rig);
    rig.link_down("c");
    assert_eq!(flows(&rig), alone);
}

#[test]
fn a_lost_link_is_left_at_once_also_within_its_down_delay() {
    let mut rig = Rig::new(
        &["mode=balance-xor", "miimon=100", "downdelay=500"],
        &["a", "b"],
    );
    rig.link_down("a");
    assert_eq!(rig.port("a").mii_status, MiiStatus::GoingDown);
    assert_eq!(shares(&flows(&rig)), BTreeMap::from([("b", 6000)]));
    assert_eq!(rig.table_causes().len(), 1);
    rig.at(300).link_up("a");
    assert_eq!(shares(&flows(&rig)).len(), 2);
    assert_eq!(rig.port("a").link_failure_count, 0);
}

/// Measured on the driver: all links lost and back, one is used at once, the others wait.
#[test]
fn one_port_does_not_wait_when_none_is_left() {
    let mut rig = Rig::new(
        &["mode=balance-xor", "miimon=100", "updelay=2000"],
        &["a", "b", "c"],
    );
    rig.at(3000).link_down("a").link_down("b").link_down("c");
    assert!(!rig.carrier);
    assert_eq!(rig.goes_to(1), None);
    rig.at(4000).link_up("b").link_up("a");
    assert!(rig.carrier);
    assert_eq!(shares(&flows(&rig)), BTreeMap::from([("b", 6000)]));
    // The one in use dies: the one that waits is promoted.
    rig.at(4500).link_down("b");
    assert_eq!(shares(&flows(&rig)), BTreeMap::from([("a", 6000)]));
    rig.at(5000).link_up("b").at(7000);
    assert_eq!(shares(&flows(&rig)).len(), 2);
}

#[test]
fn the_hash_policy_can_change_under_way() {
    let mut rig = Rig::new(XOR, &["a", "b"]);
    rig.set(&["xmit_hash_policy=layer2+3"]).unwrap();
    assert_eq!(
        rig.table_causes(),
        [Cause::Options {
            names: "xmit_hash_policy".into()
        }]
    );
    rig.set(&["xmit_hash_policy=2"]).unwrap();
    assert!(rig.log.is_empty(), "the same by its number");
}

#[test]
fn every_port_of_the_bond_receives() {
    let rig = Rig::new(XOR, &["a", "b"]);
    for name in ["a", "b"] {
        assert!(rig.table.accepts(rig.id(name), rig.standing()));
    }
}

#[test]
fn nothing_is_announced() {
    let mut rig = Rig::new(XOR, &["a", "b"]);
    rig.tell(Input::Addresses {
        addresses: vec![crate::announcements::announced("192.0.2.1", &[])],
    });
    rig.link_down("a").at(5000);
    assert!(
        rig.times(|action| matches!(action, oxbond_core::action::Action::SendFrame { .. }))
            .is_empty()
    );
}
