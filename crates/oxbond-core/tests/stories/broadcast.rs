//! Every packet on every port.

use oxbond_core::table::{Receive, Spread};

use crate::rig::Rig;

#[test]
fn every_port_sends_and_receives_and_one_keeps_the_bond_up() {
    let mut rig = Rig::new(&["mode=broadcast", "miimon=100"], &["a", "b"]);
    let all = vec![rig.id("a"), rig.id("b")];
    assert_eq!(rig.table.spread, Spread::Broadcast);
    assert_eq!(rig.table.order, all);
    assert_eq!(rig.table.receive, Receive::Ports(all));
    rig.link_down("a");
    assert!(rig.carrier);
    assert_eq!(rig.goes_to(0), Some("b"));
    assert_eq!(rig.port("b").reason, "carries a copy of every frame");
    rig.link_down("b");
    assert!(!rig.carrier);
    assert_eq!(rig.goes_to(0), None);
}
