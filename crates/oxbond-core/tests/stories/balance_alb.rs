//! Every port transmits, by load, and receives: each client is told the address of one port.

use std::net::IpAddr;

use oxbond_core::action::Action;
use oxbond_core::input::{Announced, Input};
use oxbond_core::table::{BucketKey, Exempt, Receive, Spread};
use oxbond_wire::MacAddr;
use oxbond_wire::arp::{Arp, Operation};
use oxbond_wire::ethernet::{EtherType, Header};
use oxbond_wire::ndp::{
    NeighbourAdvertisement, NeighbourSolicitation, multicast_mac, solicited_node,
};

use crate::rig::{LINK_UP, Rig, mac_of};

const ALB: &[&str] = &["mode=balance-alb", "miimon=100", "lp_interval=1000"];
const OURS: [u8; 4] = [192, 0, 2, 1];

pub(crate) fn our_address(rig: &Rig) -> Announced {
    Announced {
        address: OURS.into(),
        mac: rig.bond_mac,
        vlans: vec![],
        router: false,
    }
}

fn rig(ports: &[&str]) -> Rig {
    let mut rig = Rig::settled(ALB, ports);
    let ours6 = Announced {
        address: ours6(),
        router: true,
        ..our_address(&rig)
    };
    let tagged = Announced {
        address: [10, 0, 0, 1].into(),
        vlans: vec![100],
        ..our_address(&rig)
    };
    rig.tell(Input::Addresses {
        addresses: vec![our_address(&rig), ours6, tagged],
    });
    rig.log.clear();
    rig
}

fn ours6() -> IpAddr {
    "2001:db8::1".parse().unwrap()
}

/// Client number n: 192.0.2.n, and its station.
fn client(n: u8) -> ([u8; 4], MacAddr) {
    ([192, 0, 2, n], MacAddr([2, 0xcc, 0, 0, 0, n]))
}

/// A client says something by ARP to the bond, which arrives on this port.
pub(crate) fn hear(rig: &mut Rig, port: &str, operation: Operation, n: u8) {
    let (ip, mac) = client(n);
    let message = Arp {
        operation,
        sender_mac: mac,
        sender_ip: ip.into(),
        target_mac: MacAddr::ZERO,
        target_ip: OURS.into(),
    };
    if rig.ports().any(|name| name == port) {
        let port = rig.id(port);
        let frame = message.broadcast_frame(&[]);
        rig.tell(Input::Received { port, frame });
    }
}

fn say(rig: &mut Rig, operation: Operation, from: ([u8; 4], MacAddr), n: u8, to: MacAddr) {
    let (ip, mac) = client(n);
    let message = Arp {
        operation,
        sender_mac: from.1,
        sender_ip: from.0.into(),
        target_mac: mac,
        target_ip: ip.into(),
    };
    rig.tell(Input::Sent {
        frame: message.frame(to, &[]),
    });
}

/// The host answers a client; the data path puts the client's port in.
pub(crate) fn answer(rig: &mut Rig, n: u8) {
    say(rig, Operation::Reply, (OURS, rig.bond_mac), n, client(n).1);
}

/// The host asks all for a client.
pub(crate) fn ask(rig: &mut Rig, n: u8) {
    say(
        rig,
        Operation::Request,
        (OURS, rig.bond_mac),
        n,
        MacAddr::BROADCAST,
    );
}

/// A client asks and is answered.
fn talk(rig: &mut Rig, n: u8) {
    hear(rig, "a", Operation::Request, n);
    answer(rig, n);
}

/// The port on which client n is to reach us.
fn port_of(rig: &Rig, n: u8) -> String {
    let xor = client(n).0.iter().fold(0, |xor, byte| xor ^ byte);
    let clients = &rig.table.stations.as_ref().unwrap().clients;
    rig.name_of(clients[usize::from(xor)]).to_owned()
}

/// A client with a port of this name.
fn client_on(rig: &Rig, port: &str) -> u8 {
    (2..255).find(|n| port_of(rig, *n) == port).unwrap()
}

/// What was taught by ARP: when, on which port, which client, and where it is to send.
fn lessons(rig: &mut Rig) -> Vec<(u64, String, u8, MacAddr)> {
    let log = std::mem::take(&mut rig.log);
    let lesson = |(millis, action): &(u64, Action)| {
        let Action::SendOnPort { port, frame } = action else {
            return None;
        };
        let (header, payload) = Header::parse(frame).unwrap();
        (header.ether_type == EtherType::Arp).then(|| {
            let arp = Arp::parse(payload).unwrap();
            assert_eq!(arp.operation, Operation::Reply);
            let port = rig.name_of(*port).to_owned();
            assert_eq!(header.source, rig.port_macs[&port]);
            assert_eq!(header.source, arp.sender_mac);
            assert_eq!(header.destination, arp.target_mac);
            assert_eq!(arp.sender_ip, std::net::Ipv4Addr::from(OURS));
            let n = arp.target_ip.octets()[3];
            assert_eq!((arp.target_ip.octets(), arp.target_mac), client(n));
            (*millis, port, n, arp.sender_mac)
        })
    };
    log.iter().filter_map(lesson).collect()
}

#[test]
fn every_port_transmits_and_receives() {
    let rig = rig(&["a", "b"]);
    assert_eq!(rig.table.receive, Receive::ActiveAndOwn);
    let Spread::Buckets(buckets) = &rig.table.spread else {
        panic!("no buckets");
    };
    assert_eq!(buckets.key, BucketKey::Destination);
    assert_eq!(buckets.exempt, Exempt::Negotiated);
    assert!(buckets.measured);
    assert!(rig.table.tap.neighbours_received && rig.table.tap.neighbours_sent);
    // Clients with consecutive addresses are on different ports.
    let on_a = (2..12).filter(|n| port_of(&rig, *n) == "a").count();
    assert_eq!(on_a, 5);
    assert_eq!(
        rig.port("b").reason,
        "receives its clients, sends its share of the flows, 1 of 2"
    );
}

#[test]
fn with_all_slaves_active_every_port_delivers_everything() {
    let mut rig = rig(&["a", "b"]);
    rig.set(&["all_slaves_active=1"]).unwrap();
    let all = Receive::Ports(vec![rig.id("a"), rig.id("b")]);
    assert_eq!(rig.table.receive, all);
}

#[test]
fn clients_are_shared_by_speed() {
    let mut rig = rig(&["a", "b"]);
    rig.link(
        "b",
        oxbond_core::port::LinkState {
            speed_mbps: Some(3000),
            ..LINK_UP
        },
    );
    let clients = &rig.table.stations.as_ref().unwrap().clients;
    let on_b = clients.iter().filter(|port| **port == rig.id("b")).count();
    assert_eq!(on_b, 192);
}

/// The answer the host gives is right already; only our own questions mislead.
#[test]
fn a_client_that_asks_needs_no_lesson_until_we_ask_all() {
    let mut rig = rig(&["a", "b"]);
    let (on_a, on_b) = (client_on(&rig, "a"), client_on(&rig, "b"));
    talk(&mut rig, on_a);
    talk(&mut rig, on_b);
    rig.at(10_000);
    assert!(lessons(&mut rig).is_empty());
    // The host asks for a third; all who hear it learn the bond's own address.
    ask(&mut rig, 250);
    rig.at(20_000);
    let expected = (12_000, "b".to_owned(), on_b, mac_of("b"));
    assert_eq!(
        lessons(&mut rig),
        [expected.clone(), expected],
        "twice, after two seconds"
    );
    // Asking three times in a row is corrected once.
    ask(&mut rig, 250);
    rig.at(20_500);
    ask(&mut rig, 250);
    rig.at(21_000);
    ask(&mut rig, 250);
    rig.at(30_000);
    let times: Vec<u64> = lessons(&mut rig).iter().map(|lesson| lesson.0).collect();
    assert_eq!(times, [22_000, 22_000]);
}

#[test]
fn a_client_we_asked_learns_its_port() {
    let mut rig = rig(&["a", "b"]);
    let on_b = client_on(&rig, "b");
    ask(&mut rig, on_b);
    hear(&mut rig, "a", Operation::Reply, on_b);
    rig.at(10_000);
    let lesson = (2000, "b".to_owned(), on_b, mac_of("b"));
    assert_eq!(lessons(&mut rig), [lesson.clone(), lesson]);
    // One whose station is another now has to be told again.
    let message = Arp::announcement(MacAddr([2, 0xdd, 0, 0, 0, 9]), client(on_b).0.into());
    rig.tell(Input::Received {
        port: rig.id("a"),
        frame: message.broadcast_frame(&[]),
    });
    rig.at(20_000);
    let sent = rig.take(|action| match action {
        Action::SendOnPort { frame, .. } => Some(Header::parse(frame).unwrap().0.destination),
        _ => None,
    });
    assert_eq!(sent, [MacAddr([2, 0xdd, 0, 0, 0, 9]); 2]);
}

/// Not the active one: its clients are told at once, and three times more.
#[test]
fn a_lost_ports_clients_move_at_once() {
    let mut rig = rig(&["a", "b", "c"]);
    let (on_a, on_b, on_c) = (
        client_on(&rig, "a"),
        client_on(&rig, "b"),
        client_on(&rig, "c"),
    );
    for n in [on_a, on_b, on_c] {
        talk(&mut rig, n);
    }
    let before: Vec<String> = (0..=255).map(|n| port_of(&rig, n)).collect();
    rig.at(5000).link_down("c").at(20_000);
    let after: Vec<String> = (0..=255).map(|n| port_of(&rig, n)).collect();
    for (from, to) in before.iter().zip(&after) {
        assert!(from == to || from == "c" && to != "c");
    }
    let (to, mac) = (port_of(&rig, on_c), rig.port_macs[&port_of(&rig, on_c)]);
    let taught = lessons(&mut rig);
    let times: Vec<u64> = taught.iter().map(|lesson| lesson.0).collect();
    assert_eq!(times, [5000, 5000, 7000, 7000, 9000, 9000, 11_000, 11_000]);
    for (_, port, n, told) in taught {
        assert_eq!((port, n, told), (to.clone(), on_c, mac));
    }
    // Back: it gets its share, and whoever is of it is told.
    rig.link_up("c");
    let back = (0..=255).filter(|n| port_of(&rig, *n) == "c").count();
    assert!(back.abs_diff(85) <= 1, "{back}");
    let moved = [on_a, on_b, on_c]
        .iter()
        .filter(|n| port_of(&rig, **n) == "c")
        .count();
    assert_eq!(lessons(&mut rig).len(), 2 * moved);
}

/// What the host sent before the loss may be heard of after it: the client was told the lost port's address.
#[test]
fn an_answer_that_crossed_the_loss_is_corrected() {
    let mut rig = rig(&["a", "b"]);
    let n = client_on(&rig, "b");
    rig.at(5000).link_down("b");
    talk(&mut rig, n);
    rig.at(5500);
    let lesson = (5000, "a".to_owned(), n, mac_of("a"));
    assert_eq!(lessons(&mut rig), [lesson.clone(), lesson]);
    // Long after there is no doubt.
    rig.at(8000);
    talk(&mut rig, n);
    rig.at(20_000);
    assert!(lessons(&mut rig).is_empty());
}

/// The active one: the bond's address goes to another port, so clients of that one are told, those of the lost one only
/// if they did not come to it.
#[test]
fn losing_the_active_port_swaps_addresses_and_teaches() {
    let mut rig = rig(&["a", "b", "c"]);
    for n in 2..255 {
        talk(&mut rig, n);
    }
    let before: Vec<String> = (0..=255).map(|n| port_of(&rig, n)).collect();
    rig.at(5000).link_down("a").expect_active("b");
    assert_eq!(rig.port_macs["b"], mac_of("a"));
    // Nobody is left with an address that no usable port has.
    let mut believed: Vec<MacAddr> = before.iter().map(|port| mac_of(port)).collect();
    // More than one crowd: 0.1 s apart.
    rig.at(5500);
    for (_, _, n, mac) in lessons(&mut rig) {
        believed[usize::from(n)] = mac;
    }
    for n in 2..255_u8 {
        assert_eq!(
            believed[usize::from(n)],
            rig.port_macs[&port_of(&rig, n)],
            "client {n}"
        );
    }
    assert_eq!(rig.table.stations.as_ref().unwrap().bond, mac_of("a"));
}

#[test]
fn lessons_come_in_crowds() {
    let mut rig = rig(&["a", "b"]);
    for n in 2..255 {
        talk(&mut rig, n);
    }
    ask(&mut rig, 255);
    rig.at(10_000);
    // All 253 know the bond's own address, which is right for those of the active port; the rest fits one crowd.
    let taught = lessons(&mut rig);
    assert!(taught.iter().all(|lesson| lesson.0 == 2000));
    rig.at(20_000).link_down("b").at(20_050);
    assert!(lessons(&mut rig).len() <= 256, "128 clients at a time");
    rig.at(60_000);
    assert!(!rig.log.iter().any(|(millis, _)| *millis > 30_000));
}

#[test]
fn ipv6_clients_are_taught_by_advertisements() {
    let mut rig = rig(&["a", "b"]);
    let mac = MacAddr([2, 0xcc, 0, 0, 6, 6]);
    // 2001:db8:: XORs to 0x20 ^ 0x01 ^ 0x0d ^ 0xb8.
    let on = |rig: &Rig, n: u8| {
        let clients = &rig.table.stations.as_ref().unwrap().clients;
        let port = clients[usize::from(0x20_u8 ^ 0x01 ^ 0x0d ^ 0xb8 ^ n)];
        rig.name_of(port).to_owned()
    };
    let n = (2..255).find(|n| on(&rig, *n) == "b").unwrap();
    let theirs: std::net::Ipv6Addr = format!("2001:db8::{n:x}").parse().unwrap();
    let IpAddr::V6(ours) = ours6() else {
        unreachable!()
    };
    // The host asks, the client answers.
    let group = solicited_node(theirs);
    let asked = NeighbourSolicitation::multicast(rig.bond_mac, ours, theirs);
    rig.tell(Input::Sent {
        frame: asked.frame(multicast_mac(group), rig.bond_mac, &[]),
    });
    let answered = NeighbourAdvertisement {
        destination: ours,
        solicited: true,
        ..NeighbourAdvertisement::unsolicited(mac, theirs, false)
    };
    rig.tell(Input::Received {
        port: rig.id("a"),
        frame: answered.frame(rig.bond_mac, mac, &[]),
    });
    rig.at(1999);
    assert!(rig.log.is_empty());
    rig.at(10_000);
    let told = |rig: &mut Rig| -> Vec<(Header, NeighbourAdvertisement)> {
        rig.take(|action| match action {
            Action::SendOnPort { frame, .. } => {
                let (header, payload) = Header::parse(frame).unwrap();
                (header.ether_type == EtherType::Ipv6)
                    .then(|| (header, NeighbourAdvertisement::parse(payload).unwrap()))
            }
            _ => None,
        })
    };
    let sent = told(&mut rig);
    assert_eq!(sent.len(), 2);
    let (header, advertisement) = &sent[0];
    assert_eq!((header.source, header.destination), (mac_of("b"), mac));
    assert_eq!(
        *advertisement,
        NeighbourAdvertisement {
            source: ours,
            destination: theirs,
            router: true,
            solicited: false,
            override_cached: true,
            target: ours,
            target_mac: Some(mac_of("b")),
        }
    );
    // Its port is lost.
    rig.link_down("b");
    let sent = told(&mut rig);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].1.target_mac, Some(mac_of("a")));
}

#[test]
fn clients_in_a_vlan_are_taught_there() {
    let mut rig = rig(&["a", "b"]);
    let n = (2..255)
        .find(|n| {
            let clients = &rig.table.stations.as_ref().unwrap().clients;
            clients[usize::from(10 ^ n)] == rig.id("b")
        })
        .unwrap();
    let message = Arp {
        operation: Operation::Reply,
        sender_mac: client(n).1,
        sender_ip: [10, 0, 0, n].into(),
        target_mac: rig.bond_mac,
        target_ip: [10, 0, 0, 1].into(),
    };
    // In another VLAN the address is not ours.
    for (vlans, lessons) in [(&[200][..], 0), (&[100], 2)] {
        rig.tell(Input::Received {
            port: rig.id("a"),
            frame: message.frame(rig.bond_mac, vlans),
        });
        rig.at(rig.millis() + 5000);
        let tags = rig.take(|action| match action {
            Action::SendOnPort { frame, .. } => Some(Header::parse(frame).unwrap().0.tags),
            _ => None,
        });
        assert_eq!(tags.len(), lessons);
        assert!(tags.iter().all(|tags| tags[0].id() == 100));
    }
}

/// A guest bridged to the bond talks for itself, with an address of its own.
#[test]
fn a_bridged_guest_is_left_alone() {
    let mut rig = rig(&["a", "b"]);
    let n = client_on(&rig, "b");
    let guest = ([192, 0, 2, 77], MacAddr([2, 0x77, 0, 0, 0, 0]));
    say(&mut rig, Operation::Request, guest, n, MacAddr::BROADCAST);
    say(&mut rig, Operation::Reply, guest, n, client(n).1);
    // The client talks to the guest, not to us.
    let message = Arp {
        operation: Operation::Reply,
        sender_mac: client(n).1,
        sender_ip: client(n).0.into(),
        target_mac: guest.1,
        target_ip: guest.0.into(),
    };
    rig.tell(Input::Received {
        port: rig.id("a"),
        frame: message.frame(guest.1, &[]),
    });
    rig.at(10_000).link_down("b").at(20_000);
    assert!(lessons(&mut rig).is_empty());
}

#[test]
fn an_address_that_is_no_longer_ours_is_taught_to_nobody() {
    for by_list in [true, false] {
        let mut rig = rig(&["a", "b"]);
        let n = client_on(&rig, "b");
        talk(&mut rig, n);
        if by_list {
            rig.tell(Input::Addresses { addresses: vec![] });
        } else {
            // Another host says it has it.
            let message = Arp::announcement(MacAddr([2, 0xee, 0, 0, 0, 0]), OURS.into());
            rig.tell(Input::Received {
                port: rig.id("a"),
                frame: message.broadcast_frame(&[]),
            });
        }
        rig.link_down("b").at(10_000);
        assert!(lessons(&mut rig).is_empty());
    }
}

/// What we send to all comes back on the other ports; it is no news.
#[test]
fn our_own_frames_do_not_confuse() {
    let mut rig = rig(&["a", "b"]);
    let n = client_on(&rig, "b");
    talk(&mut rig, n);
    let message = Arp::announcement(rig.bond_mac, OURS.into());
    rig.tell(Input::Received {
        port: rig.id("b"),
        frame: message.broadcast_frame(&[]),
    });
    rig.link_down("b");
    assert_eq!(lessons(&mut rig).len(), 2);
}

#[test]
fn leaving_the_mode_tells_everyone_the_bonds_own_address() {
    let mut rig = rig(&["a", "b"]);
    talk(&mut rig, 9);
    for mode in ["balance-xor", "active-backup", "balance-tlb"] {
        rig.log.clear();
        rig.set(&[&format!("mode={mode}")]).unwrap();
        let place = |wanted: &dyn Fn(&Action) -> bool| {
            rig.log.iter().position(|(_, action)| wanted(action))
        };
        let announced = place(&|action| matches!(action, Action::SendFrame { .. }));
        let table = place(&|action| matches!(action, Action::SetTransmitTable { .. }));
        assert!(table < announced, "{mode}");
        assert!(!rig.table.tap.neighbours_sent);
        rig.set(&["mode=balance-alb"]).unwrap();
    }
}

/// However many there are, the core remembers a bounded number, and teaches those it heard of last.
#[test]
fn the_table_of_clients_is_bounded() {
    let mut rig = rig(&["a", "b"]);
    for n in 0..3000_u16 {
        let [high, low] = n.to_be_bytes();
        let message = Arp {
            operation: Operation::Reply,
            sender_mac: MacAddr([2, 0xcc, 0, 0, high, low]),
            sender_ip: [10, 9, high, low].into(),
            target_mac: rig.bond_mac,
            target_ip: OURS.into(),
        };
        rig.tell(Input::Received {
            port: rig.id("a"),
            frame: message.frame(rig.bond_mac, &[]),
        });
    }
    rig.at(10_000);
    let taught = rig.take(|action| match action {
        Action::SendOnPort { frame, .. } => Some(Header::parse(frame).unwrap().0.destination),
        _ => None,
    });
    assert!(
        taught.len() <= 2 * 1024 && taught.len() > 512,
        "{}",
        taught.len()
    );
    let oldest = MacAddr([2, 0xcc, 0, 0, 7, 0xb7]);
    assert!(taught.iter().all(|mac| *mac > oldest));
}

#[test]
fn a_restored_bond_goes_on_teaching() {
    let mut rig = rig(&["a", "b"]);
    let n = client_on(&rig, "b");
    talk(&mut rig, n);
    rig.link_down("b").at(1000).restart().at(10_000);
    let times: Vec<u64> = lessons(&mut rig).iter().map(|lesson| lesson.0).collect();
    assert_eq!(times, [0, 0, 2000, 2000, 4000, 4000, 6000, 6000]);
}
