//! What passes through a bond, and what is seen of it: counters, captures, sizes, kinds of frames, devices on top.

use std::time::Duration;

use crate::common::{HOST, PEER, PORTS, Subject, listening};
use oxbond_lab::capture::{Capture, Frame};
use oxbond_lab::machine::PATIENCE;
use oxbond_lab::proc::wait_until;
use oxbond_lab::rig::{Plan, Topology};

fn ping(subject: &Subject, words: &str) {
    let output = subject
        .host()
        .command("ping")
        .args(words.split_whitespace())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "ping {words}\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

fn is_echo(frame: &Frame, icmp_type: u8) -> bool {
    frame.ethertype() == 0x0800
        && frame.data.get(23) == Some(&1)
        && frame.data.get(34) == Some(&icmp_type)
}

#[test]
fn root_captures_and_counters_on_the_bond_see_both_directions() {
    let subject = Subject::active_backup();
    let count = |what: &str| {
        let link = subject.host().ip_json("-s link show bond0").unwrap();
        link[0]["stats64"][what]["packets"].as_u64().unwrap()
    };
    let (tx, rx) = (count("tx"), count("rx"));
    let capture = Capture::start(subject.host(), "bond0").unwrap();
    ping(&subject, &format!("-c 20 -i 0.01 {}", PEER[0]));
    // The last reply may come when `ping` waits no longer.
    wait_until(PATIENCE, "every reply is there", || {
        let frames = capture.frames();
        let replies = frames.iter().filter(|f| !f.outgoing && is_echo(f, 0));
        replies.count() >= 20
    })
    .unwrap();
    let frames = capture.stop().unwrap();
    assert_eq!(
        frames
            .iter()
            .filter(|f| f.outgoing && is_echo(f, 8))
            .count(),
        20,
        "requests"
    );
    assert_eq!(
        frames
            .iter()
            .filter(|f| !f.outgoing && is_echo(f, 0))
            .count(),
        20,
        "replies"
    );
    assert!(
        count("tx") >= tx + 20 && count("rx") >= rx + 20,
        "tx {tx} -> {}, rx {rx} -> {}",
        count("tx"),
        count("rx")
    );
}

#[test]
fn root_segmentation_stays_with_the_device() {
    let subject = Subject::active_backup();
    let features = subject.host().execute("ethtool", "-k bond0").unwrap();
    for feature in [
        "tcp-segmentation-offload: on",
        "generic-segmentation-offload: on",
        "tx-checksumming: on",
    ] {
        assert!(features.contains(feature), "{feature}\n{features}");
    }
}

#[test]
fn root_jumbo_frames_pass() {
    let subject = Subject::new(Plan::new(Topology::OneSwitch, &PORTS).mtu(9000));
    subject.up("--mode active-backup --miimon 100 --mtu 9000");
    ping(&subject, &format!("-c 3 -i 0.05 -M do -s 8972 {}", PEER[0]));
    ping(&subject, &format!("-c 3 -i 0.05 -M do -s 8952 {}", PEER[1]));
}

#[test]
fn root_the_ports_follow_the_mtu_and_the_address_a_user_gives_the_bond() {
    let subject = Subject::active_backup();
    subject.host().ip("link set bond0 mtu 1400").unwrap();
    subject
        .host()
        .ip("link set bond0 address 02:00:5e:00:53:07")
        .unwrap();
    for port in PORTS {
        wait_until(PATIENCE, &format!("{port} follows"), || {
            let link = subject.host().link(port).unwrap();
            link["mtu"] == 1400 && link["address"] == "02:00:5e:00:53:07"
        })
        .unwrap();
    }
    subject.wait_peer(&PEER).unwrap();
    assert_eq!(subject.bond("bond0").unwrap()["mac"], "02:00:5e:00:53:07");
}

/// Copies of five multicast pings of the peer that the bond delivers. The switch floods each to both ports.
fn delivered_copies_of_five(subject: &Subject) -> usize {
    let capture = Capture::start(subject.host(), "bond0").unwrap();
    // Nobody answers multicast pings, so ping's own verdict says nothing.
    drop(
        subject
            .rig
            .peer
            .command("ping")
            .args("-c 5 -i 0.05 -W 1 -I peer0 224.0.0.1".split(' '))
            .output()
            .unwrap(),
    );
    let frames = capture.stop().unwrap();
    frames
        .iter()
        .filter(|f| !f.outgoing && f.destination() == [1, 0, 0x5e, 0, 0, 1] && is_echo(f, 8))
        .count()
}

#[test]
fn root_multicast_and_broadcast_arrive_once() {
    let subject = Subject::active_backup();
    assert_eq!(
        delivered_copies_of_five(&subject),
        5,
        "each multicast frame is delivered once"
    );
    assert!(
        subject.counter("bond0", "enp4s0", "rx_inactive").unwrap() >= 5,
        "the other port's copies are counted"
    );
}

#[test]
fn root_all_slaves_active_lets_the_other_port_deliver_too() {
    let subject = Subject::active_backup();
    subject.must("set bond0 --all-slaves-active 1");
    assert_eq!(
        delivered_copies_of_five(&subject),
        10,
        "both ports' copies are delivered"
    );
}

#[test]
fn root_a_link_local_control_frame_reaches_the_idle_port_and_not_the_bond() {
    let subject = Subject::active_backup();
    let on_bond = Capture::start(subject.host(), "bond0").unwrap();
    let on_port = Capture::start(subject.host(), "enp4s0").unwrap();
    // LLDP to 01:80:c2:00:00:0e, straight out of the switch's port towards enp4s0.
    let mut frame = vec![1, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 9, 0x88, 0xcc];
    frame.resize(60, 0);
    oxbond_lab::capture::send(subject.rig.middle().unwrap(), "sw1", &frame).unwrap();
    on_port
        .wait_for(PATIENCE, "the frame at enp4s0", |f| f.ethertype() == 0x88cc)
        .unwrap();
    subject.wait_peer(&PEER[..1]).unwrap();
    assert!(
        on_bond
            .stop()
            .unwrap()
            .iter()
            .all(|f| f.ethertype() != 0x88cc),
        "the idle port's frame stays off the bond"
    );
    // Passed on is not dropped: a hundred more of them do not move the counter by a hundred.
    let dropped = || subject.counter("bond0", "enp4s0", "rx_inactive").unwrap();
    let before = dropped();
    for _ in 0..100 {
        oxbond_lab::capture::send(subject.rig.middle().unwrap(), "sw1", &frame).unwrap();
    }
    subject.wait_peer(&PEER[..1]).unwrap();
    assert!(
        dropped() - before < 50,
        "{before} before, {} after",
        dropped()
    );
}

#[test]
fn root_vlan_tagged_frames_pass_both_ways() {
    let subject = Subject::active_backup();
    let out = Capture::start(&subject.rig.peer, "peer0").unwrap();
    let into = Capture::start(subject.host(), "bond0").unwrap();
    let tagged = |source: u8| {
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, source, 0x81, 0, 0, 42, 0x88, 0xb5]);
        frame.resize(64, source);
        frame
    };
    oxbond_lab::capture::send(subject.host(), "bond0", &tagged(1)).unwrap();
    oxbond_lab::capture::send(&subject.rig.peer, "peer0", &tagged(2)).unwrap();
    out.wait_for(PATIENCE, "our tagged frame at the peer", |f| {
        !f.outgoing && f.vlan() == Some(42) && f.source()[5] == 1
    })
    .unwrap();
    into.wait_for(PATIENCE, "the peer's tagged frame", |f| {
        !f.outgoing && f.vlan() == Some(42) && f.source()[5] == 2
    })
    .unwrap();
}

#[test]
fn root_the_bond_can_be_a_bridge_port() {
    let subject = Subject::switched();
    subject.must("up bond0 --mode active-backup --port enp3s0 --port enp4s0 --miimon 100");
    let host = subject.host();
    host.ip("link add br0 type bridge").unwrap();
    host.ip("link set bond0 master br0").unwrap();
    host.ip("link set br0 up").unwrap();
    host.ip(&format!("address add {}/24 dev br0", HOST[0]))
        .unwrap();
    host.ip("link add guest type veth peer name inside")
        .unwrap();
    host.ip("link set guest master br0 up").unwrap();
    host.ip("link set inside up").unwrap();
    subject.wait_peer(&PEER[..1]).unwrap();
    // A guest behind the bridge has an address that no port was told of: the ports must listen to everything.
    for port in listening(0) {
        wait_until(PATIENCE, &format!("{port} is promiscuous"), || {
            host.link(port).unwrap()["promiscuity"] != 0
        })
        .unwrap();
    }
    wait_until(PATIENCE, "the bridge forwards to the guest", || {
        let link = host.link("guest").unwrap();
        link["linkinfo"]["info_slave_data"]["state"] == "forwarding"
    })
    .unwrap();
    let at_guest = Capture::start(host, "inside").unwrap();
    let mac = host.mac("inside").unwrap();
    let mac: Vec<u8> = mac
        .split(':')
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect();
    let mut frame = mac.clone();
    frame.extend([2, 0, 0, 0, 0, 7, 0x88, 0xb5]);
    frame.resize(60, 7);
    oxbond_lab::capture::send(&subject.rig.peer, "peer0", &frame).unwrap();
    at_guest
        .wait_for(PATIENCE, "the frame for the guest", |f| {
            f.ethertype() == 0x88b5
        })
        .unwrap();
    subject.rig.cut(0).unwrap();
    subject.wait_active("bond0", "enp4s0").unwrap();
    subject.wait_peer(&PEER[..1]).unwrap();
}

#[test]
fn root_the_bond_can_carry_a_macvlan() {
    let subject = Subject::switched();
    subject.must("up bond0 --mode active-backup --port enp3s0 --port enp4s0 --miimon 100");
    let host = subject.host();
    host.ip("link add link bond0 name mv0 type macvlan mode bridge")
        .unwrap();
    host.ip("link set mv0 up").unwrap();
    host.ip(&format!("address add {}/24 dev mv0", HOST[0]))
        .unwrap();
    subject.wait_peer(&PEER[..1]).unwrap();
    subject.rig.cut(0).unwrap();
    subject.wait_peer(&PEER[..1]).unwrap();
}

#[test]
fn metered_root_a_failover_is_announced_at_once_and_as_often_as_asked() {
    let subject = Subject::bonded(
        "--mode active-backup --primary enp3s0 --miimon 100 --num-grat-arp 3 --peer-notif-delay 200",
    );
    let at_peer = Capture::start(&subject.rig.peer, "peer0").unwrap();
    let cut = subject.rig.cut(0).unwrap();
    let gratuitous = |f: &Frame| {
        let own = [10, 77, 0, 2];
        !f.outgoing
            && f.ethertype() == 0x0806
            && f.data.get(28..32) == Some(&own)
            && f.data.get(38..42) == Some(&own)
    };
    let unsolicited =
        |f: &Frame| !f.outgoing && f.ethertype() == 0x86dd && f.data.get(54) == Some(&136);
    wait_until(PATIENCE, "three announcements of each kind", || {
        let frames = at_peer.frames();
        frames.iter().filter(|f| gratuitous(f)).count() >= 3
            && frames.iter().filter(|f| unsolicited(f)).count() >= 3
    })
    .unwrap();
    let frames = at_peer.frames();
    let times: Vec<Duration> = frames
        .iter()
        .filter(|f| gratuitous(f))
        .map(|f| f.at)
        .collect();
    let first = (at_peer.started() + times[0]).saturating_duration_since(cut);
    assert!(
        first < Duration::from_millis(150),
        "the first announcement came {first:?} after the cut"
    );
    for pair in times.windows(2) {
        assert!(
            pair[1] - pair[0] >= Duration::from_millis(100),
            "announcements are spaced: {times:?}"
        );
    }
    let mac = subject.host().mac("bond0").unwrap();
    let source = frames.iter().find(|f| gratuitous(f)).unwrap().source();
    assert_eq!(source.map(|b| format!("{b:02x}")).join(":"), mac);
}

#[test]
fn root_multicast_groups_are_reported_again_after_a_failover() {
    let subject =
        Subject::bonded("--mode active-backup --primary enp3s0 --miimon 100 --resend-igmp 2");
    subject
        .host()
        .ip("maddress add 01:00:5e:01:02:03 dev bond0")
        .unwrap();
    let at_peer = Capture::start(&subject.rig.peer, "peer0").unwrap();
    let igmp = |f: &Frame| !f.outgoing && f.ethertype() == 0x0800 && f.data.get(23) == Some(&2);
    let reports = || at_peer.frames().iter().filter(|f| igmp(f)).count();
    let listener = subject.host().run(|| {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        socket
            .join_multicast_v4(&[239, 1, 2, 3].into(), &[10, 77, 0, 2].into())
            .unwrap();
        socket
    });
    // Of a group that is joined the kernel tells by itself, twice.
    wait_until(PATIENCE, "the kernel's own reports are over", || {
        reports() >= 2
    })
    .unwrap();
    let before = reports();
    subject.rig.cut(0).unwrap();
    wait_until(PATIENCE, "two rounds of IGMP reports", || {
        reports() >= before + 2
    })
    .unwrap();
    drop(listener);
}

#[test]
fn root_fail_over_mac_decides_which_addresses_are_on_the_wire() {
    for policy in ["none", "active", "follow"] {
        let subject = Subject::bonded(&format!(
            "--mode active-backup --primary enp3s0 --miimon 100 --fail-over-mac {policy}"
        ));
        let permanent: Vec<String> = {
            let bond = subject.bond("bond0").unwrap();
            (0..2)
                .map(|i| {
                    bond["ports"][i]["permanent_mac"]
                        .as_str()
                        .unwrap()
                        .to_owned()
                })
                .collect()
        };
        let macs = || {
            let host = subject.host();
            ["bond0", PORTS[0], PORTS[1]].map(|name| host.mac(name).unwrap())
        };
        let (first, second) = (permanent[0].as_str(), permanent[1].as_str());
        let expected = |before: bool| match (policy, before) {
            ("none", _) => [first, first, first],
            ("active", true) => [first, first, second],
            ("active", false) => [second, first, second],
            ("follow", true) => [first, first, second],
            _ => [first, second, first],
        };
        assert_eq!(macs(), expected(true), "{policy}, before");
        subject.rig.cut(0).unwrap();
        subject.wait_active("bond0", "enp4s0").unwrap();
        wait_until(
            PATIENCE,
            &format!("{policy}: the addresses change over"),
            || macs() == expected(false),
        )
        .unwrap_or_else(|e| panic!("{e}: {:?} and not {:?}", macs(), expected(false)));
        subject.wait_peer(&PEER[..1]).unwrap();
    }
}
