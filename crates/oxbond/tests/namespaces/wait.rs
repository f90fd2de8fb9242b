//! A boot or a script waits for a bond, and not for a dead cable.

use crate::common::{PORTS, Subject};

#[test]
fn root_a_dead_cable_does_not_hold_up_who_waits_for_any_port() {
    let subject = Subject::switched();
    subject.rig.cut(1).unwrap();
    // Who comes too early waits for the bond to be made.
    let mut early = subject.command();
    let early = early.args(["wait", "bond0", "--timeout", "30"]).spawn();
    subject.must(&format!(
        "up bond0 --mode active-backup --miimon 100 --port {} --port {}",
        PORTS[0], PORTS[1]
    ));
    assert!(early.unwrap().wait().unwrap().success());
    subject.must("wait --until min-links");
    // No partner is missed where LACP does not run.
    subject.must("wait --until lacp");

    let said = subject.fails("wait --until all-ports --timeout 0", 7);
    assert!(said.contains("bond0: 1 of 2 ports carry traffic"), "{said}");
    let said = subject.fails("wait bond7 --timeout 0", 7);
    assert!(said.contains("bond7: there is no such bond"), "{said}");
}

#[test]
fn root_a_fallback_is_no_partner() {
    let subject = Subject::switched();
    subject
        .must(&format!(
            "up bond0 --mode 802.3ad --lacp-fallback active-backup --lacp-fallback-delay 100 --miimon 100 --port {}",
            PORTS[0]
        ));
    subject.must("wait");
    let said = subject.fails("wait --until lacp --timeout 0", 7);
    assert!(said.contains("no LACP partner has answered"), "{said}");
}
