//! `oxbond explain` on real faults: the end at fault is named, something to do is said, and the exit code tells.

use oxbond_lab::machine::{End, PATIENCE};
use oxbond_lab::proc::wait_until;
use oxbond_lab::rig::{Plan, Topology, Way};
use serde_json::Value;

use crate::common::{HOST, PEER, PORTS, Subject};

const FAST: &str = "--mode 802.3ad --miimon 100 --xmit-hash-policy layer3+4 --lacp-rate fast";

/// What `explain` says, on one line, and its exit code.
fn explain(subject: &Subject, words: &str) -> (String, Option<i32>) {
    let output = subject.oxbond(&format!("explain bond0 {words}")).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (line, output.status.code())
}

/// Waits until it says all of this of a bond that is not well.
fn wait_degraded(subject: &Subject, words: &[&str]) {
    let mut said = String::new();
    wait_until(PATIENCE, words[0], || {
        let (text, code) = explain(subject, "");
        said = text;
        code == Some(7) && words.iter().all(|words| said.contains(words))
    })
    .unwrap_or_else(|e| panic!("{e}: {words:?}\n{said}"));
}

fn wait_well(subject: &Subject) {
    let mut said = String::new();
    wait_until(PATIENCE, "all is well", || {
        let (text, code) = explain(subject, "");
        said = text;
        code == Some(0)
    })
    .unwrap_or_else(|e| panic!("{e}\n{said}"));
}

#[test]
fn root_faults_of_an_aggregate_are_explained() {
    let subject = Subject::facing(FAST, FAST);
    wait_well(&subject);
    let (said, _) = explain(&subject, "");
    assert!(
        said.starts_with("bond0 (802.3ad): has carrier: 2 of 2 ports carry"),
        "{said}"
    );

    subject.rig.blackhole(0, Way::FromHost).unwrap();
    wait_degraded(
        &subject,
        &[
            "has carrier: 1 of 2 ports carry",
            "enp3s0 degraded we see partner, partner does not see us: one-way link",
            "> what we send does not arrive",
            "enp4s0 well carries",
        ],
    );
    assert_eq!(explain(&subject, "enp3s0").1, Some(7));
    let (said, code) = explain(&subject, "enp4s0");
    assert_eq!(code, Some(0), "{said}");
    let partner = subject.rig.peer.mac("bond0").unwrap();
    assert!(
        said.contains(&format!("partner: system {partner}")),
        "{said}"
    );
    subject.rig.restore(0).unwrap();
    wait_well(&subject);

    subject.rig.blackhole(0, Way::Both).unwrap();
    wait_degraded(
        &subject,
        &["enp3s0 degraded partner fell silent", "media converter"],
    );
    subject.rig.restore(0).unwrap();
    wait_well(&subject);

    subject.rig.cut(1).unwrap();
    wait_degraded(
        &subject,
        &["enp4s0 degraded no carrier", "> look at the cable"],
    );
    subject.must("set bond0 --min-links 2");
    wait_degraded(
        &subject,
        &[
            "no carrier: 1 port distributes, min_links asks for 2",
            "--min-links N",
        ],
    );
    subject.must("set bond0 --min-links 1");
    subject.rig.restore(1).unwrap();
    wait_well(&subject);
}

/// The other end's two ports are in two channel groups of one system.
#[test]
fn root_a_partner_with_the_port_in_another_group_is_explained() {
    let mut subject = Subject::new(Plan::new(Topology::Cabled, &PORTS));
    subject.start_peer_daemon().unwrap();
    for (name, port, key) in [("bond0", PORTS[0], 1), ("bond1", PORTS[1], 2)] {
        let up = format!(
            "up {name} --port {port} {FAST} --ad-user-port-key {key} --ad-actor-system 02:00:5e:00:53:09"
        );
        subject.ok_at(End::Peer, &up).unwrap();
    }
    subject.must(&format!("up bond0 --port enp3s0 --port enp4s0 {FAST}"));
    wait_degraded(
        &subject,
        &[
            "partner put this port in another aggregator: key",
            "> put the partner's port into the same channel group",
        ],
    );
}

#[test]
fn root_a_switch_without_lacp_is_explained() {
    let subject = Subject::switched();
    subject.must(&format!("up bond0 --port enp3s0 --port enp4s0 {FAST}"));
    wait_degraded(
        &subject,
        &[
            "no carrier: 0 ports distribute",
            "--lacp-fallback active-backup lets one carry",
            "partner never answered",
            "> switch LACP on",
        ],
    );
    subject.must("set bond0 --lacp-fallback active-backup --lacp-fallback-delay 0");
    wait_degraded(
        &subject,
        &[
            "has carrier without a partner (lacp_fallback=active-backup): 1 of 2 ports carry",
            "carries the traffic alone: partner never answered",
        ],
    );
}

#[test]
fn root_faults_of_other_modes_are_explained() {
    let subject = Subject::active_backup();
    wait_well(&subject);
    subject.must("drain bond0 enp4s0");
    wait_degraded(
        &subject,
        &["enp4s0 degraded drained", "> oxbond undrain bond0 enp4s0"],
    );
    subject.must("undrain bond0 enp4s0");
    subject.must("set bond0 --updelay 60000");
    subject.rig.cut(1).unwrap();
    subject.wait_link(1, "down");
    subject.rig.restore(1).unwrap();
    wait_degraded(
        &subject,
        &["enp4s0 passing the link is back; used in", "(updelay)"],
    );
    subject.must("set bond0 --updelay 0");
    // The delay that runs is not cut short by that.
    subject.rig.cut(1).unwrap();
    subject.wait_link(1, "down");
    subject.rig.restore(1).unwrap();
    wait_well(&subject);

    subject.host().ip("link set enp3s0 down").unwrap();
    wait_degraded(
        &subject,
        &[
            "enp3s0 degraded the interface is set down",
            "> ip link set enp3s0 up",
        ],
    );
    subject.host().ip("link set enp3s0 up").unwrap();
    wait_well(&subject);
    subject.host().ip("link set bond0 down").unwrap();
    wait_degraded(
        &subject,
        &[
            "bond0 (active-backup): it is set down",
            "> ip link set bond0 up",
        ],
    );
    subject.host().ip("link set bond0 up").unwrap();

    let said = subject.fails("explain bond0 enp9s0", 3);
    assert!(said.contains("enp9s0 is not a port of bond0"), "{said}");
    subject.rig.middle().unwrap().ip("link delete sw0").unwrap();
    wait_degraded(
        &subject,
        &[
            "enp3s0 degraded expected, but there is no such interface",
            "remove-port bond0 enp3s0",
        ],
    );
    let (text, _) = explain(&subject, "--json");
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["version"], 1);
    assert_eq!(told["health"], "degraded");
    assert_eq!(told["ports"][0]["health"], "well");
    assert_eq!(told["ports"][1]["name"], "enp3s0");

    subject.must("set bond0 --arp-interval 100 --arp-ip-target 10.77.0.99");
    wait_degraded(
        &subject,
        &[
            "no carrier: no port can carry anything",
            "enp4s0 degraded nothing heard for",
            "> ask from here: arping -I bond0",
        ],
    );
}

/// Where a packet would go is where it goes.
#[test]
fn root_the_way_of_a_flow_is_explained() {
    let subject = Subject::bonded("--mode balance-xor --xmit-hash-policy layer3+4 --miimon 100");
    let way = |words: &str| {
        let (text, code) = explain(&subject, &format!("{words} --json"));
        let told: Value = serde_json::from_str(&text).unwrap();
        let port = told["ports"][0].as_str().unwrap_or_default().to_owned();
        (port, told["steps"].to_string(), code)
    };
    let flow = |port: u16| format!("--flow {} {} udp {port} 9", HOST[0], PEER[0]);
    let told: Vec<(String, String, Option<i32>)> =
        (4000..4004).map(|port| way(&flow(port))).collect();
    assert!(told.iter().any(|(port, ..)| port == PORTS[0]), "{told:?}");
    assert!(told.iter().any(|(port, ..)| port == PORTS[1]), "{told:?}");
    for (port, (said, steps, code)) in (4000..4004).zip(&told) {
        assert_eq!(*code, Some(0));
        assert!(steps.contains("by layer3+4 is bucket"), "{steps}");
        let before = subject.counted("tx_packets");
        subject.host().run(|| {
            let sender = std::net::UdpSocket::bind((HOST[0], port)).unwrap();
            // The peer's refusal shows in every second call.
            let sent = (0..200).filter(|_| sender.send_to(b"x", (PEER[0], 9)).is_ok());
            assert!(sent.count() >= 50);
        });
        let at = PORTS.iter().position(|name| name == said).unwrap();
        let sent = || subject.counted("tx_packets")[at] - before[at];
        wait_until(PATIENCE, "they have left on that port", || sent() >= 50)
            .unwrap_or_else(|e| panic!("{e}: {said}: {before:?}, {} sent", sent()));
    }
    subject.rig.cut(0).unwrap();
    subject.wait_link(0, "down");
    let moved = told.iter().position(|(port, ..)| port == PORTS[0]).unwrap();
    let (port, steps, _) = way(&flow(4000 + moved as u16));
    assert_eq!(port, PORTS[1]);
    assert!(steps.contains("enp4s0"), "{steps}");
    let (text, code) = explain(&subject, "--frame ffffffffffff.020000000001.0806");
    assert!(text.contains("the frame would leave on enp4s0"), "{text}");
    assert_eq!(code, Some(0));
    subject.rig.cut(1).unwrap();
    subject.wait_link(1, "down");
    let (text, code) = explain(&subject, &flow(4000));
    assert!(text.contains("dropped: no port can take it"), "{text}");
    assert_eq!(code, Some(7));
    subject.fails("explain bond0 --frame 02", 2);
    subject.fails("explain bond1", 3);
}
