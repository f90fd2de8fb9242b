//! Ports that are wanted by what they are, and ports that are late.

use oxbond_lab::machine::PATIENCE;
use oxbond_lab::proc::wait_until;
use oxbond_lab::rig::{Plan, Topology};
use serde_json::Value;

use crate::common::{PORTS, Subject};

fn apply(subject: &Subject, text: &str) -> String {
    let file = subject.run_dir().join("bond0.toml");
    std::fs::write(&file, text).unwrap();
    subject.must(&format!("apply {}", file.display()))
}

/// Expected, attached and carrying.
fn three_numbers(subject: &Subject) -> (usize, usize, usize) {
    let bond = subject.bond("bond0").unwrap();
    let length = |list: &Value| list.as_array().unwrap().len();
    let carrying = bond["ports"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|port| port["mii_status"] == "up" && port["role"] == "active");
    (
        length(&bond["expected"]),
        length(&bond["ports"]),
        carrying.count(),
    )
}

fn wait_numbers(subject: &Subject, numbers: (usize, usize, usize)) {
    wait_until(
        PATIENCE,
        &format!("expected, attached, carrying are {numbers:?}"),
        || three_numbers(subject) == numbers,
    )
    .unwrap();
}

#[test]
fn root_a_port_that_appears_late_joins_the_bond_that_waits_for_its_kind() {
    let subject = Subject::new(Plan::new(Topology::Direct, &PORTS));
    let host = subject.host();
    let wanted = "[bond.bond0]\nmode = \"balance-rr\"\nmiimon = 100\n\
        select = { driver = \"veth\", name = \"enp?s0\", expect = 3 }\n";
    let said = apply(&subject, wanted);
    assert!(
        said.contains("bond with enp3s0, enp4s0") || said.contains("created with enp3s0, enp4s0"),
        "{said}"
    );
    wait_numbers(&subject, (3, 2, 2));
    assert_eq!(apply(&subject, wanted).trim(), "nothing to change");

    host.ip("link add late0 type veth peer name far0").unwrap();
    host.ip("link set far0 up").unwrap();
    assert_eq!(three_numbers(&subject), (3, 2, 2));
    // As udev renames a card once it is there.
    host.ip("link set late0 name enp9s0").unwrap();
    wait_numbers(&subject, (3, 3, 3));
    assert_eq!(apply(&subject, wanted).trim(), "nothing to change");
    // One that was found and is gone is still waited for.
    host.ip("link delete enp9s0").unwrap();
    wait_numbers(&subject, (3, 2, 2));
    assert_eq!(apply(&subject, wanted).trim(), "nothing to change");
    assert!(subject.must("status").contains("enp9s0"));
}

#[test]
fn root_a_named_port_that_is_missing_does_not_stop_the_others() {
    let mut subject = Subject::new(Plan::new(Topology::Direct, &PORTS));
    let wanted = "[bond.bond0]\nmode = \"balance-rr\"\nmiimon = 100\nports = [\"enp3s0\", \"enp9s0\", \"enp4s0\"]\n";
    let said = apply(&subject, wanted);
    assert!(
        said.contains("enp9s0 is not there and joins when it appears"),
        "{said}"
    );
    wait_numbers(&subject, (3, 2, 2));
    assert_eq!(apply(&subject, wanted).trim(), "nothing to change");
    // The next daemon waits for it too.
    subject.kill_daemon().unwrap();
    subject.start_daemon().unwrap();
    let host = subject.host();
    host.ip("link add enp9s0 type veth peer name far0").unwrap();
    host.ip("link set far0 up").unwrap();
    wait_numbers(&subject, (3, 3, 3));
    assert_eq!(apply(&subject, wanted).trim(), "nothing to change");
}

#[test]
fn root_an_interface_that_two_bonds_ask_for_is_in_neither() {
    let subject = Subject::new(Plan::new(Topology::Direct, &PORTS));
    let file = subject.run_dir().join("bonds.toml");
    let text = "[bond.bond0]\nmode = \"balance-rr\"\nmiimon = 100\nselect = { name = \"enp*\" }\n\
        [bond.bond1]\nmode = \"balance-rr\"\nmiimon = 100\nselect = { driver = \"veth\" }\n";
    std::fs::write(&file, text).unwrap();
    let said = subject.fails(&format!("apply {}", file.display()), 2);
    assert!(
        said.contains("enp3s0 fits selectors of bond0 and of bond1"),
        "{said}"
    );
}
