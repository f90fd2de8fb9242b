//! What makes each mode that mode, with real traffic: who carries what, what a lost link moves, what its return brings
//! back, which addresses are on the wire, and that the application gets each packet once.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::{HOST, PORTS, Subject};
use crate::loss::{
    CALM, DRAIN, assert_nothing_lost, assert_only_in_flight_lost, cut, mend, packets,
};
use oxbond_lab::capture::{Capture, Frame};
use oxbond_lab::machine::PATIENCE;
use oxbond_lab::netns::Namespace;
use oxbond_lab::proc::wait_until;
use oxbond_lab::traffic::{Report, Traffic};

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
    meter.wait_flowing(packets(RATE, length), PATIENCE).unwrap();
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
    meter.wait_flowing(packets(RATE, CALM), PATIENCE).unwrap();
    let cut = cut(subject, &meter, 0);
    subject.wait_link(0, "down");
    meter.wait_flowing(packets(RATE, CALM), PATIENCE).unwrap();
    let mended = mend(subject, &meter, 0);
    subject.wait_link(0, "up");
    meter.wait_flowing(packets(RATE, CALM), PATIENCE).unwrap();
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

/// Nobody at the other end speaks LACP: the bond says that it cannot work. On request one link carries everything, and the
/// other takes over.
#[test]
fn metered_root_aggregation_without_a_partner() {
    let subject = Subject::facing(
        "--mode 802.3ad --xmit-hash-policy layer3+4 --lacp-fallback active-backup --lacp-fallback-delay 0",
        "--mode active-backup --miimon 100",
    );
    let carrier = |up: bool| {
        wait_until(PATIENCE, "the carrier follows the policy", || {
            subject
                .host()
                .has_carrier("bond0")
                .is_ok_and(|has| has == up)
        })
        .unwrap();
    };
    carrier(true);
    subject.must("set bond0 --lacp-fallback strict");
    carrier(false);
    let why = subject.bond("bond0").unwrap()["ports"][0]["reason"].to_string();
    assert!(why.contains("partner never answered"), "{why}");
    subject.must("set bond0 --lacp-strict off");
    carrier(true);
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

/// Two of ours speak LACP: both links carry traffic, and a lost link costs what was under way on it.
#[test]
fn metered_root_aggregation_of_two_bonds() {
    let options = "--mode 802.3ad --xmit-hash-policy layer3+4 --lacp-rate fast";
    let subject = Subject::facing(options, options);
    let agreed = || {
        wait_until(PATIENCE, "both ports are agreed on", || {
            let bond = subject.bond("bond0");
            bond.is_ok_and(|bond| (0..2).all(|index| bond["ports"][index]["role"] == "active"))
        })
        .unwrap();
    };
    agreed();
    let (sent, report) = spread(&subject, 64, CALM);
    assert_nothing_lost(&report, "802.3ad");
    assert!(sent[0].min(sent[1]) * 4 > sent[0].max(sent[1]), "{sent:?}");
    survives_a_cut(&subject, 64, "802.3ad, a link cut");
    agreed();
    let (sent, _) = spread(&subject, 64, CALM);
    assert!(
        sent[0].min(sent[1]) * 4 > sent[0].max(sent[1]),
        "after its return: {sent:?}"
    );
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
        meter
            .wait_flowing(packets(RATE, CALM / 2), PATIENCE)
            .unwrap();
        subject.must(&format!("set bond0 --mode {mode}"));
        assert_eq!(subject.bond("bond0").unwrap()["options"]["mode"], *mode);
        assert!(subject.host().has_carrier("bond0").unwrap());
    }
    meter
        .wait_flowing(packets(RATE, CALM / 2), PATIENCE)
        .unwrap();
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
            let traffic = |frame: &Frame| frame.ethertype() == 0x0800;
            capture.wait_for(PATIENCE, "traffic", traffic).unwrap();
            for frame in capture.stop().unwrap().into_iter().filter(traffic) {
                let from_peer = written(frame.destination()) == mac;
                let ours = written(frame.source()) == mac;
                assert!(ours || from_peer, "{mode} {port}: {frame:?}");
            }
        }
    }
}

/// Frames of one kind that left through a switch port, by their source.
fn sources(frames: &[Frame], ethertype: u16) -> BTreeSet<String> {
    let of_kind = frames.iter().filter(|frame| frame.ethertype() == ethertype);
    of_kind.map(|frame| written(frame.source())).collect()
}

fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Each port sends under an address of its own, so that the switch sees none of them on two of its ports; all is received
/// on the active one.
#[test]
fn metered_root_balance_tlb() {
    let subject = Subject::bonded("--mode balance-tlb --miimon 100 --xmit-hash-policy layer3+4");
    let host = subject.host();
    let switch = subject.rig.middle().unwrap();
    let own = PORTS.map(|port| host.mac(port).unwrap());
    assert_eq!(
        host.mac("bond0").unwrap(),
        own[0],
        "the active port has the bond's address"
    );
    assert_ne!(own[0], own[1]);
    let wires: Vec<Capture> = ["sw0", "sw1"]
        .map(|end| Capture::start(switch, end).unwrap())
        .into();
    let received = subject.counted("rx_packets");
    let (sent, report) = spread(&subject, 64, CALM * 2);
    assert_nothing_lost(&report, "balance-tlb");
    assert!(sent[0].min(sent[1]) * 4 > sent[0].max(sent[1]), "{sent:?}");
    let after = subject.counted("rx_packets");
    assert!(
        after[0] - received[0] >= packets(RATE, CALM * 2),
        "{received:?} {after:?}"
    );
    assert_eq!(
        after[1], received[1],
        "the other port receives nothing for the bond"
    );
    let peer = subject.rig.peer.mac("peer0").unwrap();
    for (wire, own) in wires.into_iter().zip(&own) {
        let mut seen = sources(&wire.stop().unwrap(), 0x0800);
        seen.remove(&peer);
        assert_eq!(seen, BTreeSet::from([own.clone()]));
    }

    subject.must("set bond0 --tlb-dynamic-lb 0 --xmit-hash-policy layer2");
    let (sent, report) = spread(&subject, 64, CALM);
    assert_nothing_lost(&report, "balance-tlb by hash");
    // One neighbour: one port.
    assert!(sent[0].min(sent[1]) <= 10, "{sent:?}");
    subject.must("set bond0 --tlb-dynamic-lb 1 --xmit-hash-policy layer3+4");
    survives_a_cut(&subject, 64, "balance-tlb, the active link cut");
    let active = subject.active("bond0").unwrap().unwrap();
    assert_eq!(host.mac(&active).unwrap(), host.mac("bond0").unwrap());
}

/// A neighbour of the host, in a namespace of its own behind the switch.
struct Client {
    namespace: Namespace,
    address: String,
}

impl Client {
    fn new(subject: &Subject, number: u8) -> Self {
        let namespace = Namespace::new("client").unwrap();
        let switch = subject.rig.middle().unwrap();
        let address = format!("10.77.0.{number}");
        switch
            .ip(&format!(
                "link add cl{number} type veth peer name eth0 netns {}",
                namespace.path()
            ))
            .unwrap();
        switch
            .ip(&format!("link set cl{number} master br0 up"))
            .unwrap();
        namespace.set_link("eth0", true).unwrap();
        let client = Self { namespace, address };
        let addresses = [
            format!("{}/24", client.address),
            format!("fd77::{number}/64"),
        ];
        for address in addresses {
            subject
                .rig
                .add_address(&client.namespace, "eth0", &address)
                .unwrap();
        }
        client
    }

    /// Waits until the host answers it.
    fn wait_host(&self, version: &str, host: &str) {
        wait_until(PATIENCE, "the client reaches the host", || {
            let ping = self
                .namespace
                .command("ping")
                .args([version, "-c", "1", "-W", "1", "-q", host])
                .output();
            ping.is_ok_and(|ping| ping.status.success())
        })
        .unwrap();
    }

    /// The link-layer address by which it reaches the host.
    fn reaches_by(&self, host: &str) -> Option<String> {
        let neighbours = self
            .namespace
            .ip_json(&format!("neigh show {host} dev eth0"));
        neighbours.ok()?.first()?["lladdr"]
            .as_str()
            .map(str::to_owned)
    }
}

/// Clients come in over both links, each by the address of the link it was told; a lost link's clients are told another.
#[test]
fn metered_root_balance_alb() {
    let subject = Subject::bonded("--mode balance-alb --miimon 100");
    let host = subject.host();
    let clients: Vec<Client> = (10..18)
        .map(|number| Client::new(&subject, number))
        .collect();
    let own = || PORTS.map(|port| host.mac(port).unwrap());
    for (target, version) in HOST.iter().zip(["-4", "-6"]) {
        for client in &clients {
            client.wait_host(version, target);
        }
        let ways = || -> BTreeSet<String> {
            clients
                .iter()
                .filter_map(|client| client.reaches_by(target))
                .collect()
        };
        let both = own().into_iter().collect();
        wait_until(PATIENCE, "both ports are named to some", || ways() == both)
            .unwrap_or_else(|e| panic!("{target}: {e}: {:?}", ways()));
    }

    // Traffic of each client arrives on the port it was told.
    let received = subject.counted("rx_packets");
    for client in &clients {
        let traffic = Traffic::new(
            (&client.namespace, client.address.parse().unwrap()),
            (host, HOST[0].parse().unwrap()),
        );
        let report = traffic.rate(500).run(CALM / 5).unwrap();
        assert_eq!(report.lost(), 0, "{report}");
    }
    let after = subject.counted("rx_packets");
    for port in 0..2 {
        assert!(after[port] - received[port] >= 40, "{received:?} {after:?}");
    }

    let dead = own()[1].clone();
    let (moved, stayed): (Vec<&Client>, Vec<&Client>) = clients
        .iter()
        .partition(|client| client.reaches_by(HOST[0]).as_ref() == Some(&dead));
    assert!(!moved.is_empty() && !stayed.is_empty());
    let meter = Traffic::new(
        (&moved[0].namespace, moved[0].address.parse().unwrap()),
        (host, HOST[0].parse().unwrap()),
    )
    .rate(RATE)
    .start()
    .unwrap();
    meter.wait_flowing(packets(RATE, CALM), PATIENCE).unwrap();
    let cut = cut(&subject, &meter, 1);
    for client in &moved {
        wait_until(
            PATIENCE,
            "a client of the dead port is told the other one",
            || client.reaches_by(HOST[0]).is_some_and(|way| way != dead),
        )
        .unwrap();
    }
    meter.wait_flowing(packets(RATE, CALM), PATIENCE).unwrap();
    assert_only_in_flight_lost(
        &meter.stop(DRAIN).unwrap(),
        &[cut],
        "balance-alb, a link cut",
    );
    for client in &stayed {
        assert_ne!(client.reaches_by(HOST[0]), Some(dead.clone()));
    }
}

/// A switch that knows no address (a hub, or one whose table is full) brings every frame to every port.
#[test]
fn root_a_switch_that_floods_brings_no_packet_twice() {
    for mode in ["active-backup", "balance-tlb", "balance-alb"] {
        let subject = Subject::bonded(&format!("--mode {mode} --miimon 100"));
        let switch = subject.rig.middle().unwrap();
        switch.ip("link set br0 type bridge ageing_time 0").unwrap();
        let client = Client::new(&subject, 10);
        client.wait_host("-4", HOST[0]);
        let report = Traffic::new(
            (&client.namespace, client.address.parse().unwrap()),
            (subject.host(), HOST[0].parse().unwrap()),
        )
        .rate(100)
        .both_ways()
        .run(CALM)
        .unwrap();
        for stream in report.streams() {
            assert!(stream.received > 0, "{mode}\n{report}");
            assert_eq!(stream.duplicates, 0, "{mode}\n{report}");
        }
    }
}
