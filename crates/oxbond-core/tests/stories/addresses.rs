//! Who has which link-layer address.

use oxbond_core::action::Action;
use oxbond_core::input::Input;
use oxbond_wire::MacAddr;

use crate::rig::{DEVICE_MAC, Rig, mac_of};

const GIVEN: MacAddr = MacAddr([2, 0xee, 0, 0, 0, 0]);

fn rule(rule: &str) -> [String; 3] {
    [
        "mode=active-backup".into(),
        "miimon=100".into(),
        format!("fail_over_mac={rule}"),
    ]
}

fn rig(fail_over_mac: &str, mac: Option<MacAddr>, ports: &[&str]) -> Rig {
    let words = rule(fail_over_mac);
    let mut rig = Rig::empty(&words.each_ref().map(String::as_str), mac);
    for port in ports {
        rig.add(port, &[]).unwrap();
    }
    rig.tell(Input::BondAdmin { up: true });
    rig.log.clear();
    rig
}

#[track_caller]
fn expect(rig: &Rig, bond: MacAddr, ports: &[(&str, MacAddr)]) {
    assert_eq!(rig.bond_mac, bond, "the bond");
    for (name, mac) in ports {
        assert_eq!(rig.port_macs[*name], *mac, "port {name}");
        assert_eq!(rig.port(name).mac, *mac, "status of {name}");
    }
}

#[test]
fn none_the_first_port_gives_its_address_and_all_have_it() {
    let (a, b) = (mac_of("a"), mac_of("b"));
    let mut rig = rig("none", None, &["a", "b"]);
    expect(&rig, a, &[("a", a), ("b", a)]);
    assert_eq!(rig.port("b").permanent_mac, b);
    rig.link_down("a");
    expect(&rig, a, &[("a", a), ("b", a)]);
    rig.remove("a");
    expect(&rig, a, &[("b", a)]);
    // With the last port goes the borrowed address; the next port gives its own.
    rig.remove("b");
    expect(&rig, DEVICE_MAC, &[]);
    rig.add("b", &[]).unwrap();
    expect(&rig, b, &[("b", b)]);
}

#[test]
fn none_a_chosen_address_goes_to_every_port() {
    let mut rig = rig("none", Some(GIVEN), &["a", "b"]);
    expect(&rig, GIVEN, &[("a", GIVEN), ("b", GIVEN)]);
    let other = MacAddr([2, 0xdd, 0, 0, 0, 0]);
    rig.bond_mac = other;
    rig.tell(Input::BondMac { mac: other });
    expect(&rig, other, &[("a", other), ("b", other)]);
    rig.remove("a");
    rig.remove("b");
    expect(&rig, other, &[]);
}

#[test]
fn active_the_bond_takes_the_address_of_the_active_port() {
    let (a, b) = (mac_of("a"), mac_of("b"));
    let mut rig = rig("active", None, &["a", "b"]);
    expect(&rig, a, &[("a", a), ("b", b)]);
    rig.link_down("a");
    expect(&rig, b, &[("a", a), ("b", b)]);
    // A wish is put back: the active port decides.
    rig.bond_mac = GIVEN;
    rig.tell(Input::BondMac { mac: GIVEN });
    expect(&rig, b, &[("a", a), ("b", b)]);
    rig.remove("b");
    rig.link_up("a");
    expect(&rig, a, &[("a", a)]);
}

/// The address must have moved before the table sends frames with it.
#[test]
fn addresses_move_before_the_table() {
    for fail_over_mac in ["active", "follow"] {
        let mut rig = rig(fail_over_mac, None, &["a", "b"]);
        rig.link_down("a");
        let place = |wanted: fn(&Action) -> bool| {
            rig.log
                .iter()
                .position(|(_, action)| wanted(action))
                .unwrap()
        };
        let address = place(|action| {
            matches!(
                action,
                Action::SetBondMac { .. } | Action::SetPortMac { .. }
            )
        });
        assert!(address < place(|action| matches!(action, Action::SetTransmitTable { .. })));
    }
}

#[test]
fn follow_ports_swap_their_addresses() {
    let (a, b, c) = (mac_of("a"), mac_of("b"), mac_of("c"));
    let mut rig = rig("follow", None, &["a", "b", "c"]);
    expect(&rig, a, &[("a", a), ("b", b), ("c", c)]);
    rig.link_down("a");
    expect(&rig, a, &[("a", b), ("b", a), ("c", c)]);
    rig.link_down("b");
    expect(&rig, a, &[("a", b), ("b", c), ("c", a)]);
    // All lost and another one back: found by the address, not by the role.
    rig.link_down("c").link_up("a");
    expect(&rig, a, &[("a", a), ("b", c), ("c", b)]);
}

#[test]
fn follow_with_a_chosen_address() {
    let (a, b) = (mac_of("a"), mac_of("b"));
    let mut rig = rig("follow", Some(GIVEN), &["a", "b"]);
    expect(&rig, GIVEN, &[("a", GIVEN), ("b", b)]);
    rig.link_down("a");
    expect(&rig, GIVEN, &[("a", b), ("b", GIVEN)]);
    rig.link_up("a").remove("b");
    expect(&rig, GIVEN, &[("a", GIVEN)]);
    let _ = a;
}

/// The port that gave the bond its address leaves and returns with it: two ports must not share it.
#[test]
fn follow_a_returning_port_gets_a_free_address() {
    let (a, b) = (mac_of("a"), mac_of("b"));
    let mut rig = rig("follow", None, &["a", "b"]);
    rig.remove("a");
    expect(&rig, a, &[("b", a)]);
    rig.add("a", &[]).unwrap();
    expect(&rig, a, &[("a", b), ("b", a)]);
}

#[test]
fn the_rule_changes_under_way() {
    let (a, b) = (mac_of("a"), mac_of("b"));
    let mut rig = rig("none", None, &["a", "b"]);
    expect(&rig, a, &[("a", a), ("b", a)]);
    rig.set(&["fail_over_mac=follow"]).unwrap();
    expect(&rig, a, &[("a", a), ("b", b)]);
    rig.link_down("a");
    expect(&rig, a, &[("a", b), ("b", a)]);
    rig.set(&["fail_over_mac=active"]).unwrap();
    expect(&rig, b, &[("a", a), ("b", b)]);
    rig.set(&["fail_over_mac=none"]).unwrap();
    expect(&rig, b, &[("a", b), ("b", b)]);
}
