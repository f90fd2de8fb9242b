//! Guests on a bridge above the bond stay reachable after a failover: a switch has all of them on the new port at once.

use std::collections::BTreeSet;
use std::time::Duration;

use oxbond_lab::capture::{Capture, Storm};
use oxbond_lab::machine::PATIENCE;
use oxbond_lab::netns::Namespace;
use oxbond_lab::proc::wait_until;
use oxbond_lab::rig::{Plan, Topology};
use oxbond_wire::MacAddr;
use oxbond_wire::rarp;

use crate::common::{PORTS, Subject};

const GUESTS: u16 = 500;

/// The figure of issue 5.
const WITHIN: Duration = Duration::from_millis(200);

fn guests() -> Vec<MacAddr> {
    (0..GUESTS)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            MacAddr([0x02, 0x77, 0, 0, high, low])
        })
        .collect()
}

/// Puts the bond into a bridge, and guests on another port of it.
fn bridge(host: &Namespace) {
    host.ip("link add vmbr0 type bridge stp_state 0 mcast_snooping 0")
        .unwrap();
    host.ip("link add tap0 type veth peer name guest0").unwrap();
    for port in ["bond0", "tap0"] {
        host.ip(&format!("link set {port} master vmbr0")).unwrap();
    }
    for link in ["vmbr0", "tap0", "guest0"] {
        host.set_link(link, true).unwrap();
    }
    wait_until(PATIENCE, "the bridge forwards", || {
        let forwards = |port: &&str| {
            let link = host.link(port).unwrap();
            link["linkinfo"]["info_slave_data"]["state"] == "forwarding"
        };
        ["bond0", "tap0"].iter().all(forwards)
    })
    .unwrap();
}

/// Each guest says something, again and again.
fn speaking(host: &Namespace) -> Storm {
    let guests = guests();
    Storm::start(host, "guest0", 5000, move |count| {
        let guest = guests[count as usize % guests.len()];
        let mut frame = vec![0xff; 6];
        frame.extend(guest.octets());
        frame.extend([0x88, 0xb5]);
        frame.resize(60, 0);
        frame
    })
    .unwrap()
}

/// How many of the guests a switch has on one of its ports.
fn known_on(switch: &Namespace, port: &str) -> usize {
    let table = switch.execute("bridge", "fdb show br br0").unwrap();
    let on =
        |line: &&str| line.starts_with("02:77:00:00:") && line.contains(&format!("dev {port} "));
    table.lines().filter(on).count()
}

/// Fails over and measures until the switch has every guest on the port that took over.
fn fails_over(options: &str) -> Duration {
    let subject = Subject::switched();
    subject.must(&format!("up bond0 --port enp3s0 --port enp4s0 {options}"));
    let (host, switch) = (subject.host(), subject.rig.middle().unwrap());
    bridge(host);
    wait_until(PATIENCE, "the bond works", || {
        host.has_carrier("bond0").unwrap()
    })
    .unwrap();
    let all = usize::from(GUESTS);
    let at = |port: usize| known_on(switch, &format!("sw{port}"));
    let storm = speaking(host);
    wait_until(PATIENCE, "the switch knows all guests", || {
        (0..2).any(|port| at(port) == all)
    })
    .unwrap();
    storm.stop().unwrap();
    let from = usize::from(at(0) != all);
    let since = subject.rig.cut(from).unwrap();
    let mut took = Duration::ZERO;
    wait_until(
        PATIENCE,
        "the switch has all guests on the new port",
        || {
            let there = at(1 - from) == all;
            took = since.elapsed();
            there
        },
    )
    .unwrap_or_else(|e| panic!("{options}: {e}: {} and {}", at(0), at(1)));
    println!("{options}: {GUESTS} guests on the new port within {took:?}");
    took
}

const MODES: [&str; 4] = [
    "--mode active-backup --miimon 100",
    "--mode balance-tlb --miimon 100",
    "--mode balance-alb --miimon 100",
    "--mode 802.3ad --lacp-fallback active-backup --lacp-fallback-delay 0 --miimon 100",
];

#[test]
fn metered_root_five_hundred_guests_are_on_the_new_port_at_once() {
    for options in MODES {
        // Somebody else may have had the processor when the link died.
        let mut times = Vec::new();
        while times.iter().all(|took| *took > WITHIN) {
            assert!(times.len() < 3, "{options}: {times:?}");
            times.push(fails_over(options));
        }
    }
}

/// A static trunk: guests whose flows went by the lost link are announced on the others. And not before.
#[test]
fn root_guests_of_a_trunk_are_announced_when_a_link_is_lost() {
    let options = "--mode balance-xor --xmit-hash-policy vlan+srcmac --miimon 100";
    let mut subject = Subject::new(Plan::new(Topology::Cabled, &PORTS));
    subject.start_peer_daemon().unwrap();
    let up = format!("up bond0 --port enp3s0 --port enp4s0 {options}");
    subject.ok_at(oxbond_lab::machine::End::Peer, &up).unwrap();
    subject.must(&up);
    bridge(subject.host());
    subject.wait_link(0, "up");
    subject.wait_link(1, "up");
    let wire = Capture::start(subject.rig.middle().unwrap(), "a1").unwrap();
    let storm = speaking(subject.host());
    wait_until(PATIENCE, "the bridge knows all guests", || {
        let table = subject
            .host()
            .execute("bridge", "fdb show br vmbr0")
            .unwrap();
        let learned = table
            .lines()
            .filter(|line| line.starts_with("02:77:00:00:"));
        learned.count() == usize::from(GUESTS)
    })
    .unwrap();
    storm.stop().unwrap();
    let announced = || -> BTreeSet<[u8; 6]> {
        let frames = wire.frames();
        let rarp = frames.iter().filter(|frame| {
            !frame.outgoing
                && Some(frame.ethertype()) == ether_type(&rarp::announcement(MacAddr::ZERO, &[]))
        });
        rarp.map(|frame| frame.source()).collect()
    };
    assert_eq!(announced().len(), 0);
    subject.rig.cut(0).unwrap();
    wait_until(PATIENCE, "every guest is announced", || {
        let told = announced();
        guests().iter().all(|mac| told.contains(&mac.octets()))
    })
    .unwrap();
}

fn ether_type(frame: &[u8]) -> Option<u16> {
    let bytes = frame.get(12..14)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}
