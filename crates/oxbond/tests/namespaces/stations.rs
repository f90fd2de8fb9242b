//! balance-tlb and balance-alb with real traffic: every port has an address of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use oxbond_lab::capture::{Capture, Frame};
use oxbond_lab::machine::PATIENCE;
use oxbond_lab::netns::Namespace;
use oxbond_lab::proc::wait_until;

use crate::common::{HOST, PEER, PORTS, Subject};

/// EtherType of learning frames.
const LEARNING: u16 = 0x9000;

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Addresses of bond and ports.
fn macs(subject: &Subject) -> [String; 3] {
    ["bond0", PORTS[0], PORTS[1]].map(|name| subject.host().mac(name).unwrap())
}

/// Stations that have sent these frames.
fn sources(frames: &[Frame], wanted: impl Fn(&Frame) -> bool) -> BTreeSet<String> {
    let frames = frames.iter().filter(|frame| wanted(frame));
    frames.map(|frame| text(frame.source())).collect()
}

/// A machine of its own at the switch of the rig.
struct Client {
    namespace: Namespace,
}

impl Client {
    fn new(subject: &Subject, number: u8) -> Self {
        let namespace = Namespace::new("client").unwrap();
        let middle = subject.rig.middle().unwrap();
        middle
            .ip(&format!(
                "link add client{number} type veth peer name eth0 netns {}",
                namespace.path()
            ))
            .unwrap();
        middle
            .ip(&format!("link set client{number} master br0 up"))
            .unwrap();
        namespace.set_link("eth0", true).unwrap();
        for address in [
            format!("10.77.0.{number}/24"),
            format!("fd77::{number:x}/64"),
        ] {
            subject
                .rig
                .add_address(&namespace, "eth0", &address)
                .unwrap();
        }
        Self { namespace }
    }

    /// Whether the bond answers it, over IPv4 (0) or IPv6 (1).
    fn reaches(&self, version: usize) -> bool {
        self.is_answered(version, "1")
    }

    /// Whether the bond answers one question, however busy the machine is.
    fn is_answered_at_once(&self, version: usize) -> bool {
        self.is_answered(version, "10")
    }

    fn is_answered(&self, version: usize, seconds: &str) -> bool {
        let words = ["-c", "1", "-W", seconds, HOST[version]];
        let output = self.namespace.command("ping").args(words).output();
        output.unwrap().status.success()
    }

    /// Where it believes the bond to be.
    fn believes(&self, version: usize) -> Option<String> {
        let shown = self
            .namespace
            .ip_json(&format!("neigh show {} dev eth0", HOST[version]))
            .unwrap();
        let mac = shown.first()?.get("lladdr")?.as_str()?;
        Some(mac.to_owned())
    }
}

#[test]
fn root_tlb_every_port_transmits_with_its_own_address_and_one_receives() {
    let subject = Subject::bonded("--mode balance-tlb --xmit-hash-policy layer3+4 --miimon 100");
    let [bond, first, second] = macs(&subject);
    assert_eq!(bond, first);
    assert_ne!(first, second);
    let at_peer = Capture::start(&subject.rig.peer, "peer0").unwrap();
    let report = subject
        .traffic(0)
        .flows(64)
        .rate(500)
        .both_ways()
        .run(Duration::from_secs(2))
        .unwrap();
    assert_eq!(report.lost(), 0);
    let frames = at_peer.stop().unwrap();
    let udp = |frame: &Frame| {
        !frame.outgoing && frame.ethertype() == 0x0800 && frame.data.get(23) == Some(&17)
    };
    let both: BTreeSet<String> = [first.clone(), second.clone()].into();
    assert_eq!(sources(&frames, udp), both, "sources of the flows");
    let back: BTreeSet<String> = frames
        .iter()
        .filter(|frame| frame.outgoing && frame.ethertype() == 0x0800)
        .map(|frame| text(frame.destination()))
        .collect();
    assert_eq!(back, [bond].into(), "all comes back to the bond's address");
}

/// The data path counts, the daemon reads, the core believes it: the load of each port is shown.
#[test]
fn root_tlb_the_load_is_measured() {
    let subject = Subject::bonded("--mode balance-tlb --xmit-hash-policy layer3+4 --miimon 100");
    let traffic = subject.traffic(0).flows(64).rate(2000).start().unwrap();
    wait_until(PATIENCE, "both ports show a good part of the load", || {
        let bond = subject.bond("bond0").unwrap();
        (0..2).all(|port| {
            let reason = bond["ports"][port]["reason"].as_str().unwrap().to_owned();
            let part = reason
                .strip_suffix(" % of the load")
                .and_then(|words| words.rsplit(' ').next()?.parse::<f64>().ok());
            part.is_some_and(|part| (25.0..75.0).contains(&part))
        })
    })
    .unwrap();
    let report = traffic.stop(Duration::from_secs(1)).unwrap();
    assert_eq!(report.lost(), 0);
}

#[test]
fn root_tlb_learning_frames_tell_switches_and_addresses_swap_on_failover() {
    let subject = Subject::bonded("--mode balance-tlb --miimon 100 --primary enp3s0");
    let [bond, first, second] = macs(&subject);
    let learning =
        |frame: &Frame| frame.ethertype() == LEARNING && frame.source() == frame.destination();
    let ports = [PORTS[0], PORTS[1]].map(|port| Capture::start(subject.host(), port).unwrap());
    wait_until(PATIENCE, "two learning frames on each port", || {
        ports
            .iter()
            .all(|port| port.frames().iter().filter(|frame| learning(frame)).count() >= 2)
    })
    .unwrap();
    for (port, mac) in ports.into_iter().zip([&first, &second]) {
        assert_eq!(
            sources(&port.stop().unwrap(), learning),
            [mac.clone()].into()
        );
    }
    let after = Capture::start(subject.host(), PORTS[1]).unwrap();
    subject.rig.cut(0).unwrap();
    subject.wait_active("bond0", PORTS[1]).unwrap();
    wait_until(PATIENCE, "the addresses change over", || {
        macs(&subject) == [bond.clone(), second.clone(), first.clone()]
    })
    .unwrap();
    wait_until(PATIENCE, "the switch is told of the bond's address", || {
        sources(&after.frames(), learning).contains(&bond)
    })
    .unwrap();
    subject.wait_peer(&PEER).unwrap();
}

#[test]
fn root_alb_clients_are_spread_over_the_ports_and_move_with_them() {
    let subject = Subject::bonded("--mode balance-alb --miimon 100 --primary enp3s0");
    let [bond, first, second] = macs(&subject);
    assert_eq!(bond, first);
    let clients: Vec<Client> = (11..15)
        .map(|number| Client::new(&subject, number))
        .collect();
    let both: BTreeSet<String> = [first.clone(), second.clone()].into();
    for version in [0, 1] {
        let believed = || -> BTreeSet<String> {
            let believe = |client: &Client| {
                wait_until(PATIENCE, "the bond answers a client", || {
                    client.reaches(version)
                })
                .unwrap();
                client.believes(version).unwrap()
            };
            clients.iter().map(believe).collect()
        };
        wait_until(PATIENCE, "both ports receive", || believed() == both)
            .unwrap_or_else(|e| panic!("{e}: version {version}: {:?}", believed()));
    }
    // The other port is lost: its clients are told, before they ask.
    subject.rig.cut(1).unwrap();
    wait_until(PATIENCE, "every client believes in the first port", || {
        clients.iter().all(|client| {
            [0, 1]
                .iter()
                .all(|version| client.believes(*version).as_ref() == Some(&first))
        })
    })
    .unwrap();
    for client in &clients {
        assert!(client.is_answered_at_once(0) && client.is_answered_at_once(1));
    }
    // Back: it gets its share.
    subject.rig.restore(1).unwrap();
    for version in [0, 1] {
        wait_until(PATIENCE, "both ports receive again", || {
            let believed: BTreeSet<_> = clients
                .iter()
                .filter_map(|client| client.believes(version))
                .collect();
            believed == both
        })
        .unwrap();
    }
    assert!(clients.iter().all(|client| client.is_answered_at_once(0)));
}

#[test]
fn root_alb_leaving_the_mode_costs_no_client_its_way() {
    let subject = Subject::bonded("--mode balance-alb --miimon 100");
    let [bond, ..] = macs(&subject);
    let clients: Vec<Client> = (11..13)
        .map(|number| Client::new(&subject, number))
        .collect();
    for client in &clients {
        wait_until(PATIENCE, "the bond answers a client", || client.reaches(0)).unwrap();
    }
    subject.must("set bond0 --mode active-backup");
    assert_eq!(macs(&subject), [&bond; 3].map(Clone::clone));
    wait_until(PATIENCE, "clients learn the bond's own address", || {
        clients
            .iter()
            .all(|client| client.believes(0).as_ref() == Some(&bond))
    })
    .unwrap();
    assert!(clients.iter().all(|client| client.is_answered_at_once(0)));
}
