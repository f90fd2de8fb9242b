//! A port is drained under traffic: nothing is lost, nothing more is sent on it, and it comes back.

use crate::common::{PORTS, Subject};
use crate::loss::{CALM, DRAIN, assert_nothing_lost, packets};
use oxbond_lab::machine::PATIENCE;
use oxbond_lab::proc::wait_until;

const RATE: u32 = 1000;

/// Both ports are in use.
fn agreed(subject: &Subject) {
    wait_until(PATIENCE, "both ports are agreed on", || {
        let bond = subject.bond("bond0");
        bond.is_ok_and(|bond| (0..2).all(|index| bond["ports"][index]["role"] == "active"))
    })
    .unwrap();
}

/// Drains the first port and lets it come back, under traffic both ways. `silent` also looks that nothing arrives on it any
/// more, where the other end is told.
fn drains(subject: &Subject, what: &str, silent: bool) {
    let meter = subject
        .traffic(0)
        .rate(RATE)
        .flows(64)
        .both_ways()
        .start()
        .unwrap();
    meter.wait_flowing(packets(RATE, CALM), PATIENCE).unwrap();
    let said = subject.must(&format!("drain bond0 {}", PORTS[0]));
    assert!(said.contains("it can be detached"), "{said}");
    let port = &subject.bond("bond0").unwrap()["ports"][0];
    assert_eq!(port["drain"], "out", "{what}");
    assert!(subject.must("status bond0").contains("drained"), "{what}");
    let counted = || ["tx_packets", "rx_packets"].map(|counter| subject.counted(counter)[0]);
    let before = counted();
    meter.wait_flowing(packets(RATE, CALM), PATIENCE).unwrap();
    let after = counted();
    // What LACP says now and then aside.
    assert!(after[0] - before[0] <= 5, "{what}: {before:?} {after:?}");
    if silent {
        assert!(after[1] - before[1] <= 5, "{what}: {before:?} {after:?}");
    }
    let said = subject.must(&format!("undrain bond0 {}", PORTS[0]));
    assert!(said.contains("takes part again"), "{said}");
    meter.wait_flowing(packets(RATE, CALM), PATIENCE).unwrap();
    assert_nothing_lost(&meter.stop(DRAIN).unwrap(), what);
}

#[test]
fn metered_root_drain_of_an_aggregate() {
    let options = "--mode 802.3ad --xmit-hash-policy layer3+4 --lacp-rate fast";
    let subject = Subject::facing(options, options);
    agreed(&subject);
    drains(&subject, "802.3ad", true);
    agreed(&subject);
}

#[test]
fn metered_root_drain_of_a_static_trunk() {
    let options = "--mode balance-xor --miimon 100 --xmit-hash-policy layer3+4";
    let subject = Subject::facing(options, options);
    drains(&subject, "balance-xor", false);
}

#[test]
fn metered_root_drain_of_the_active_port() {
    let subject = Subject::bonded("--mode active-backup --miimon 100");
    drains(&subject, "active-backup", false);
}

/// A daemon that takes over finds the port drained; the last one that works is refused.
#[test]
fn root_a_drained_port_stays_so_over_a_restart() {
    let mut subject = Subject::bonded("--mode active-backup --miimon 100");
    subject.must(&format!("drain bond0 {}", PORTS[0]));
    let said = subject.fails(&format!("drain bond0 {}", PORTS[1]), 3);
    assert!(
        said.contains("is the only port of bond0 that works"),
        "{said}"
    );
    subject.kill_daemon().unwrap();
    subject.start_daemon().unwrap();
    assert_eq!(subject.bond("bond0").unwrap()["ports"][0]["drain"], "out");
    assert_eq!(subject.active("bond0").unwrap().as_deref(), Some(PORTS[1]));
    let said = subject.fails("drain bond0 enp9s0", 3);
    assert!(said.contains("is not a port of bond0"), "{said}");
}

/// A drained port whose driver is loaded anew comes back as it went, also when another daemon sees it come.
#[test]
fn root_a_drained_port_that_vanishes_returns_drained() {
    let mut subject = Subject::bonded("--mode active-backup --primary enp3s0 --miimon 100");
    subject.must("drain bond0 enp3s0");
    let middle = subject.rig.middle().unwrap();
    middle.ip("link delete sw0").unwrap();
    let ports = |subject: &Subject| {
        let bond = subject.bond("bond0").unwrap();
        bond["ports"].as_array().unwrap().clone()
    };
    wait_until(PATIENCE, "the port is gone", || ports(&subject).len() == 1).unwrap();
    subject.kill_daemon().unwrap();
    subject.start_daemon().unwrap();
    let host = subject.host();
    host.ip("link add enp3s0 type veth peer name back").unwrap();
    host.ip("link set back up").unwrap();
    wait_until(PATIENCE, "the port is back", || ports(&subject).len() == 2).unwrap();
    assert_eq!(ports(&subject)[1]["drain"], "out");
    let log = subject.daemon().unwrap().stderr();
    assert!(log.contains("(slave enp3s0): drained as before"), "{log}");
    assert_eq!(subject.active("bond0").unwrap().as_deref(), Some(PORTS[1]));
    subject.must("undrain bond0 enp3s0");
    subject.wait_active("bond0", PORTS[0]).unwrap();
    // Called back while it is away.
    subject.must("drain bond0 enp3s0");
    subject.host().ip("link delete back").unwrap();
    wait_until(PATIENCE, "the port is gone", || ports(&subject).len() == 1).unwrap();
    let said = subject.must("undrain bond0 enp3s0");
    assert!(said.contains("enp3s0 is away"), "{said}");
    subject.fails("undrain bond0 enp3s0", 3);
}
