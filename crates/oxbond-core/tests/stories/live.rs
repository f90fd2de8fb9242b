//! Everything can change while the bond works: the mode too.

use oxbond_core::action::Action;
use oxbond_core::table::{Receive, Spread};

use crate::rig::{Rig, mac_of};

#[test]
fn the_mode_changes_under_way_and_the_bond_stays_up() {
    let mut rig = Rig::new(&["mode=active-backup", "miimon=100"], &["a", "b"]);
    rig.link_down("a").link_up("a").expect_active("b");
    for mode in ["balance-xor", "broadcast", "balance-rr", "802.3ad"] {
        let mode_word = format!("mode={mode}");
        let mut words = vec![mode_word.as_str()];
        // Nobody is there to agree with.
        words.extend((mode == "802.3ad").then_some("lacp_strict=off"));
        rig.set(&words).unwrap();
        assert_eq!(rig.status().active_port, None, "{mode}");
        assert!(rig.goes_to(0).is_some(), "{mode}");
        let carrier = rig.times(|action| matches!(action, Action::SetCarrier { .. }));
        assert!(carrier.is_empty(), "{mode}: the carrier does not blink");
    }
    rig.set(&["mode=active-backup"]).unwrap();
    rig.expect_active("a");
    assert_eq!(rig.table.spread, Spread::Failover);
    assert_eq!(rig.table.receive, Receive::Active);
}

/// What was set for the mode before stays for the day it returns, and does nothing meanwhile.
#[test]
fn a_primary_is_remembered_over_another_mode() {
    let mut rig = Rig::new(
        &["mode=active-backup", "miimon=100", "primary=b"],
        &["a", "b"],
    );
    rig.set(&["mode=balance-xor"]).unwrap();
    rig.set(&["mode=active-backup"]).unwrap();
    rig.expect_active("b");
}

#[test]
fn addresses_follow_the_mode() {
    let mut rig = Rig::new(
        &["mode=active-backup", "miimon=100", "fail_over_mac=follow"],
        &["a", "b"],
    );
    assert_eq!(rig.port_macs["b"], mac_of("b"));
    rig.set(&["mode=balance-xor"]).unwrap();
    assert_eq!(rig.port_macs["b"], mac_of("a"));
    rig.set(&["mode=active-backup"]).unwrap();
    assert_eq!(rig.port_macs["b"], mac_of("b"));
}
