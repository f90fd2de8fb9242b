//! What makes each mode that mode, with real traffic: who carries what, what a lost link moves, what its return brings
//! back, which addresses are on the wire, and that the application gets each packet once.

use std::time::Duration;

use crate::common::{PORTS, Subject};
use crate::loss::{
    CALM, DRAIN, assert_nothing_lost, assert_only_in_flight_lost, cut, mend, packets,
};
use oxbond_lab::capture::Capture;
use oxbond_lab::machine::PATIENCE;
use oxbond_lab::traffic::Report;

const RATE: u32 = 1000;

/// Traffic of some flows, in both directions, for a moment; what each of the host's ports transmitted of it.
fn spread(subject: &Subject, flows: u16, length: Duration) -> ([u64; 2], Report) {
    let before = subject.counted("tx_packets");
    let meter = subject
        .traffic(0)
        .rate(RATE)
        .flows(flows)
        .both_ways()
        .start()
        .unwrap();
    meter.wait_flowing(packets(RATE, length), DRAIN).unwrap();
    let report = meter.stop(DRAIN).unwrap();
    let after = subject.counted("tx_packets");
    ([after[0] - before[0], after[1] - before[1]], report)
}

/// Cuts the first link under traffic, and mends it: nothing but what was under way is lost, nothing comes twice.
fn survives_a_cut(subject: &Subject, flows: u16, what: &str) {
    let meter = subject
        .traffic(0)
        .rate(RATE)
        .flows(flows)
        .both_ways()
        .start()
        .unwrap();
    meter.wait_flowing(packets(RATE, CALM), DRAIN).unwrap();
    let cut = cut(subject, &meter, 0);
    subject.wait_link(0, "down");
    meter.wait_flowing(packets(RATE, CALM), DRAIN).unwrap();
    let mended = mend(subject, &meter, 0);
    subject.wait_link(0, "up");
    meter.wait_flowing(packets(RATE, CALM), DRAIN).unwrap();
    assert_only_in_flight_lost(&meter.stop(DRAIN).unwrap(), &[cut, mended], what);
}

#[test]
fn metered_root_balance_rr() {
    let options = "--mode balance-rr --miimon 100";
    let subject = Subject::facing(options, options);
    // One flow is enough: packets take turns.
    let (sent, report) = spread(&subject, 1, CALM);
    assert_nothing_lost(&report, "balance-rr");
    let difference = sent[0].abs_diff(sent[1]);
    assert!(
        difference <= 20,
        "turns on each of few processors: {sent:?}"
    );
    survives_a_cut(&subject, 4, "balance-rr, a link cut");
    let (sent, _) = spread(&subject, 1, CALM);
    assert!(
        sent[0].abs_diff(sent[1]) <= 20,
        "after its return: {sent:?}"
    );

    subject.must("set bond0 --packets-per-slave 0");
    let (sent, report) = spread(&subject, 1, CALM);
    assert_nothing_lost(&report, "balance-rr at random");
    // 500 throws of a coin: 150 is nine standard deviations off.
    assert!(sent[0].min(sent[1]) > 150, "{sent:?}");
}

#[test]
fn metered_root_balance_xor() {
    let options = "--mode balance-xor --miimon 100 --xmit-hash-policy layer3+4";
    let subject = Subject::facing(options, options);
    let (sent, report) = spread(&subject, 64, CALM);
    assert_nothing_lost(&report, "balance-xor");
    assert!(sent[0].min(sent[1]) * 4 > sent[0].max(sent[1]), "{sent:?}");
    // One flow has one link.
    let (sent, _) = spread(&subject, 1, CALM);
    assert!(sent[0].min(sent[1]) <= 10, "{sent:?}");
    survives_a_cut(&subject, 64, "balance-xor, a link cut");
}

/// The other end must know that it gets everything twice: there, active-backup keeps one copy of each.
#[test]
fn metered_root_broadcast() {
    let subject = Subject::facing(
        "--mode broadcast --miimon 100",
        "--mode active-backup --miimon 100",
    );
    let (sent, report) = spread(&subject, 2, CALM);
    assert_nothing_lost(&report, "broadcast");
    assert_eq!(sent[0], sent[1], "each packet on each port");
    survives_a_cut(&subject, 2, "broadcast, a link cut");
}

/// Nobody at the other end speaks LACP: one link carries everything, and the other takes over.
#[test]
fn metered_root_aggregation_without_a_partner() {
    let subject = Subject::facing(
        "--mode 802.3ad --xmit-hash-policy layer3+4",
        "--mode active-backup --miimon 100",
    );
    let (sent, report) = spread(&subject, 64, CALM);
    assert_nothing_lost(&report, "802.3ad");
    assert_eq!(sent[1], 0, "{sent:?}");
    assert!(sent[0] >= packets(RATE, CALM));
    subject.rig.cut(0).unwrap();
    subject.wait_link(0, "down");
    let (sent, report) = spread(&subject, 64, CALM);
    assert_nothing_lost(&report, "802.3ad after its port died");
    assert_eq!(sent[0], 0, "{sent:?}");
}

/// Modes that send and receive on every link, in turn, under traffic: not a packet is lost.
#[test]
fn metered_root_the_mode_changes_under_traffic() {
    let options = "--mode balance-xor --miimon 100";
    changes_mode(
        &Subject::facing(options, options),
        &["balance-rr", "broadcast", "balance-xor"],
    );
}

/// Modes that receive on one link, on a switch that knows nothing of them.
#[test]
fn metered_root_the_mode_changes_behind_a_switch() {
    let subject = Subject::bonded("--mode active-backup --miimon 100");
    changes_mode(&subject, &["balance-tlb", "balance-alb", "active-backup"]);
}

/// The device, its index and its addresses stay, and no packet is lost.
fn changes_mode(subject: &Subject, modes: &[&str]) {
    let device = |field: &str| subject.host().link("bond0").unwrap()[field].clone();
    let before = (device("ifindex"), device("address"), device("mtu"));
    let meter = subject
        .traffic(0)
        .rate(RATE)
        .flows(8)
        .both_ways()
        .start()
        .unwrap();
    for mode in modes {
        meter.wait_flowing(packets(RATE, CALM / 2), DRAIN).unwrap();
        subject.must(&format!("set bond0 --mode {mode}"));
        assert_eq!(subject.bond("bond0").unwrap()["options"]["mode"], *mode);
        assert!(subject.host().has_carrier("bond0").unwrap());
    }
    meter.wait_flowing(packets(RATE, CALM / 2), DRAIN).unwrap();
    let report = meter.stop(DRAIN).unwrap();
    assert_eq!(report.lost(), 0, "{report}");
    assert_eq!(
        before,
        (device("ifindex"), device("address"), device("mtu"))
    );
}

/// In the modes that spread over a trunk every frame carries the bond's own address, whichever link it takes.
#[test]
fn root_one_address_on_every_link() {
    for mode in ["balance-rr", "balance-xor", "broadcast"] {
        let options = format!("--mode {mode} --miimon 100 --xmit-hash-policy layer3+4");
        let subject = Subject::facing(&options, &options);
        let mac = subject.host().mac("bond0").unwrap();
        let cables = subject.rig.middle().unwrap();
        let seen: Vec<Capture> = ["a0", "a1"]
            .map(|end| Capture::start(cables, end).unwrap())
            .into();
        let report = subject
            .traffic(0)
            .rate(200)
            .flows(16)
            .run(Duration::from_millis(200))
            .unwrap();
        assert_eq!(report.lost(), 0, "{mode}\n{report}");
        for (capture, port) in seen.into_iter().zip(PORTS) {
            let ours = |frame: &oxbond_lab::capture::Frame| frame.ethertype() == 0x0800;
            capture.wait_for(PATIENCE, "traffic", ours).unwrap();
            for frame in capture.stop().unwrap() {
                let source = frame.source().map(|byte| format!("{byte:02x}")).join(":");
                let from_peer = frame
                    .destination()
                    .map(|byte| format!("{byte:02x}"))
                    .join(":")
                    == mac;
                assert!(source == mac || from_peer, "{mode} {port}: {frame:?}");
            }
        }
    }
}
