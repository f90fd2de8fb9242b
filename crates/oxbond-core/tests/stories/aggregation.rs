//! 802.3ad as it is without a partner.

use oxbond_core::status::PortRole;
use oxbond_core::table::{Receive, Spread};

use crate::rig::Rig;

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
