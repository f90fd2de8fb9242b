//! The rigs measured with the meter and the capture, without any bond: what later tests take for granted.

use std::net::IpAddr;
use std::time::Duration;

use oxbond_lab::capture::Capture;
use oxbond_lab::machine::PATIENCE;
use oxbond_lab::netns::Namespace;
use oxbond_lab::proc::wait_until;
use oxbond_lab::rig::{Plan, Rig, Topology, Way};
use oxbond_lab::traffic::{Report, Traffic};

fn address(text: &str) -> IpAddr {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A rig whose first host port has 10.77.0.2 and fd77::2; on rigs without `peer0` the peer's first port has .1 and ::1.
fn rig(topology: Topology, mtu: u32) -> Rig {
    let built = Plan::new(topology, &["enp3s0", "enp4s0"]).mtu(mtu).build();
    let rig = built.unwrap_or_else(|error| panic!("{error:#}"));
    for namespace in [&rig.host, &rig.peer] {
        // Without a bond the second port would answer ARP for the first one's address.
        namespace
            .sysctl("net.ipv4.conf.all.arp_ignore", "1")
            .unwrap_or_else(|error| panic!("{error:#}"));
    }
    let mut wanted = vec![(&rig.host, "10.77.0.2/24"), (&rig.host, "fd77::2/64")];
    if matches!(topology, Topology::Direct | Topology::Cabled) {
        wanted.extend([(&rig.peer, "10.77.0.1/24"), (&rig.peer, "fd77::1/64")]);
    }
    for (namespace, address) in wanted {
        rig.add_address(namespace, "enp3s0", address)
            .unwrap_or_else(|error| panic!("{error:#}"));
    }
    rig
}

fn traffic(rig: &Rig) -> Traffic {
    Traffic::new(
        (&rig.host, address("10.77.0.2")),
        (&rig.peer, address("10.77.0.1")),
    )
}

fn assert_clean(report: &Report) {
    assert_eq!((report.lost(), report.refused()), (0, 0), "{report}");
    for stream in report.streams() {
        assert_eq!((stream.duplicates, stream.reordered), (0, 0), "{report}");
    }
}

#[test]
fn metered_root_every_topology_carries_2000_per_second_without_loss() {
    for topology in [
        Topology::OneSwitch,
        Topology::SwitchPerPort,
        Topology::Direct,
        Topology::Cabled,
    ] {
        let report = traffic(&rig(topology, 1500))
            .rate(2000)
            .both_ways()
            .run(Duration::from_secs(1))
            .unwrap();
        assert_clean(&report);
        for stream in report.streams() {
            assert!(
                (1990..=2010).contains(&stream.sent),
                "{topology:?}: paced wrongly: {report}"
            );
        }
        println!("{topology:?}:\n{report}");
    }
}

#[test]
fn metered_root_10000_per_second_each_way_overrun_nothing() {
    let rig = rig(Topology::OneSwitch, 1500);
    let traffic = traffic(&rig).rate(10_000).flows(8).both_ways();
    let report = traffic.run(Duration::from_secs(2)).unwrap();
    println!("{report}");
    assert_clean(&report);
    assert!(report.sent() >= 39_000, "paced wrongly: {report}");
}

#[test]
fn root_ipv6_and_flows() {
    let rig = rig(Topology::OneSwitch, 1500);
    // On a busy machine the first solicitation may be lost, and the next one comes after a second.
    wait_until(PATIENCE, "the neighbour answers", || {
        let ping = rig
            .host
            .command("ping")
            .args(["-c", "1", "-W", "1", "-q", "fd77::1"])
            .output();
        ping.is_ok_and(|ping| ping.status.success())
    })
    .unwrap();
    let traffic = Traffic::new(
        (&rig.host, address("fd77::2")),
        (&rig.peer, address("fd77::1")),
    );
    let report = traffic
        .rate(2000)
        .flows(8)
        .source_port(20_000)
        .run(Duration::from_millis(500))
        .unwrap();
    assert_clean(&report);
    let ports: Vec<_> = report
        .there
        .flows
        .iter()
        .map(|flow| flow.source_port)
        .collect();
    assert_eq!(ports, (20_000..20_008).collect::<Vec<_>>());
    assert!(
        report
            .there
            .flows
            .iter()
            .all(|flow| (report.there.sent / 8..=report.there.sent / 8 + 1).contains(&flow.sent))
    );
}

#[test]
fn root_mtu_9000_is_carried_whole() {
    for topology in [Topology::SwitchPerPort, Topology::Cabled] {
        let rig = rig(topology, 9000);
        let capture = Capture::start(
            &rig.peer,
            if topology == Topology::Cabled {
                "enp3s0"
            } else {
                "peer0"
            },
        )
        .unwrap();
        let report = traffic(&rig)
            .payload(9000 - 28)
            .rate(500)
            .run(Duration::from_millis(300))
            .unwrap();
        assert_clean(&report);
        let whole = capture
            .stop()
            .unwrap()
            .into_iter()
            .filter(|frame| frame.length == 9014 && !frame.outgoing)
            .count();
        assert_eq!(
            whole as u64,
            report.sent(),
            "each in one frame of 9000 bytes and its Ethernet header"
        );
    }
}

/// Cuts for about 300 ms by `cut` under traffic and checks that the account says so.
fn losses_match_a_fault(
    topology: Topology,
    cut: impl FnOnce(&Rig),
    both: bool,
) -> anyhow::Result<()> {
    let rig = rig(topology, 1500);
    let mut traffic = traffic(&rig).rate(1000);
    if both {
        traffic = traffic.both_ways();
    }
    let meter = traffic.start()?;
    meter.wait_flowing(100, PATIENCE)?;
    let cut_from = meter.time_of(std::time::Instant::now());
    cut(&rig);
    let cut_to = meter.time_of(std::time::Instant::now());
    std::thread::sleep(Duration::from_millis(300));
    let back_from = meter.time_of(std::time::Instant::now());
    rig.restore(0)?;
    rig.wait_ready(PATIENCE)?;
    meter.wait_flowing(100, PATIENCE)?;
    let flowing = meter.time_of(std::time::Instant::now());
    let report = meter.stop(Duration::from_secs(1))?;
    println!("{topology:?}: cut {cut_from:?} to {cut_to:?}, back from {back_from:?}:\n{report}");
    for stream in report.streams() {
        let silent = back_from - cut_to;
        assert!(
            stream.longest_gap.length >= silent,
            "a gap of at least {silent:?}: {report}"
        );
        let gap_to = stream.longest_gap.from + stream.longest_gap.length;
        assert!(
            stream.longest_gap.from <= cut_to && gap_to <= flowing,
            "the gap lies around the cut: {report}"
        );
        let missing = stream.lost + stream.refused;
        let within = |from: Duration, to: Duration| to.saturating_sub(from).as_millis() as u64;
        assert!(
            missing + 20 >= within(cut_to, back_from),
            "nothing passed during the fault: {report}"
        );
        assert!(
            missing <= within(cut_from, flowing) + 20,
            "losses only around the fault: {report}"
        );
        assert_eq!(stream.sent, stream.received + stream.lost, "{report}");
        for range in &stream.flows[0].lost_ranges {
            assert!(
                range.from + Duration::from_millis(20) >= cut_from && range.to <= flowing,
                "{report}"
            );
        }
    }
    Ok(())
}

#[test]
fn metered_root_cut_is_measured_in_every_topology() {
    for topology in [
        Topology::OneSwitch,
        Topology::SwitchPerPort,
        Topology::Direct,
        Topology::Cabled,
    ] {
        losses_match_a_fault(topology, |rig| assert!(rig.cut(0).is_ok()), false).unwrap();
    }
}

#[test]
fn metered_root_silent_fault_swallows_and_keeps_the_carrier() {
    for topology in [Topology::OneSwitch, Topology::Cabled] {
        let cut = |rig: &Rig| {
            rig.blackhole(0, Way::Both).unwrap();
            assert!(rig.host.has_carrier("enp3s0").unwrap());
        };
        losses_match_a_fault(topology, cut, true).unwrap();
    }
}

#[test]
fn root_one_way_fault_swallows_one_way() {
    for topology in [Topology::OneSwitch, Topology::Cabled] {
        for way in [Way::FromHost, Way::ToHost] {
            let rig = rig(topology, 1500);
            // Static neighbours: the healthy way must not need answers by the sick one.
            pin_neighbours(&rig, topology);
            let meter = traffic(&rig).rate(1000).both_ways().start().unwrap();
            meter.wait_flowing(50, PATIENCE).unwrap();
            rig.blackhole(0, way).unwrap();
            let before = meter.received();
            wait_until(PATIENCE, "the healthy way carries on", || {
                meter.received() > before + 300
            })
            .unwrap();
            let report = meter.stop(Duration::from_millis(500)).unwrap();
            let back = report.back.as_ref().unwrap();
            let (sick, healthy) = if way == Way::FromHost {
                (&report.there, back)
            } else {
                (back, &report.there)
            };
            assert_eq!(healthy.lost, 0, "{topology:?} {way:?}: {report}");
            // From some datagram on, nothing arrives any more.
            let lost = sick.flows[0].lost_ranges.last();
            let to_the_end = lost.is_some_and(|lost| u64::from(lost.last) + 1 == sick.sent);
            assert!(
                to_the_end && sick.lost > 20,
                "{topology:?} {way:?}: {report}"
            );
        }
    }
}

fn pin_neighbours(rig: &Rig, topology: Topology) {
    let peer_port = if topology == Topology::Cabled {
        "enp3s0"
    } else {
        "peer0"
    };
    let pin = |at: &Namespace, device: &str, neighbour: &str, of: &Namespace, port: &str| {
        let mac = of.mac(port).unwrap_or_else(|error| panic!("{error:#}"));
        let pinned = at.ip(&format!(
            "neigh replace {neighbour} lladdr {mac} nud permanent dev {device}"
        ));
        pinned.unwrap_or_else(|error| panic!("{error:#}"));
    };
    pin(&rig.host, "enp3s0", "10.77.0.1", &rig.peer, peer_port);
    pin(&rig.peer, peer_port, "10.77.0.2", &rig.host, "enp3s0");
}

#[test]
fn root_cable_takes_carrier_from_both_ends_and_passes_lacp_multicast() {
    let rig = rig(Topology::Cabled, 1500);
    let at_peer = Capture::start(&rig.peer, "enp4s0").unwrap();
    // 01:80:c2:00:00:02 is what a bridge never forwards; sent as a neighbour's address it needs no raw socket.
    rig.add_address(&rig.host, "enp4s0", "192.0.2.1/24")
        .unwrap();
    rig.host
        .ip("neigh replace 192.0.2.2 lladdr 01:80:c2:00:00:02 nud permanent dev enp4s0")
        .unwrap();
    let socket = rig
        .host
        .run(|| std::net::UdpSocket::bind("192.0.2.1:0").unwrap());
    socket.send_to(b"as LACP", "192.0.2.2:9").unwrap();
    let slow = [0x01, 0x80, 0xc2, 0, 0, 2];
    at_peer
        .wait_for(PATIENCE, "the slow protocols' address", |frame| {
            frame.destination() == slow
        })
        .unwrap();
    rig.cut(1).unwrap();
    for end in [&rig.host, &rig.peer] {
        assert!(!end.has_carrier("enp4s0").unwrap());
        assert!(end.has_carrier("enp3s0").unwrap());
        let flags = end.link("enp4s0").unwrap()["flags"].to_string();
        assert!(
            flags.contains("\"UP\""),
            "still administratively up: {flags}"
        );
    }
    rig.restore(1).unwrap();
    rig.wait_ready(PATIENCE).unwrap();
    assert!(rig.host.has_carrier("enp4s0").unwrap() && rig.peer.has_carrier("enp4s0").unwrap());
}

#[test]
fn root_capture_sees_both_ways_with_addresses() {
    let rig = rig(Topology::OneSwitch, 1500);
    let capture = Capture::start(&rig.host, "enp3s0").unwrap();
    let report = traffic(&rig)
        .rate(500)
        .both_ways()
        .run(Duration::from_millis(200))
        .unwrap();
    assert_clean(&report);
    let frames = capture.stop().unwrap();
    let mac = rig.host.mac("enp3s0").unwrap();
    let bytes: Vec<_> = mac
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let datagrams = |outgoing| {
        let ours = |frame: &&_| {
            let frame: &oxbond_lab::capture::Frame = frame;
            let own = if outgoing {
                frame.source()
            } else {
                frame.destination()
            };
            frame.outgoing == outgoing && frame.ethertype() == 0x0800 && own == *bytes
        };
        frames.iter().filter(ours).count() as u64
    };
    assert_eq!(datagrams(true), report.there.sent);
    assert_eq!(datagrams(false), report.back.unwrap().received);
    assert!(
        frames
            .windows(2)
            .all(|pair| pair[1].at + Duration::from_millis(5) >= pair[0].at)
    );
    assert!(
        frames.iter().any(|frame| frame.ethertype() == 0x0806),
        "the first contact asked by ARP"
    );
}

#[test]
fn root_capture_and_rig_name_what_is_missing() {
    let rig = rig(Topology::Direct, 1500);
    let error = format!("{:#}", Capture::start(&rig.host, "absent0").unwrap_err());
    assert!(
        error.contains("absent0") && error.contains("no such interface"),
        "{error}"
    );
    assert!(format!("{:#}", rig.cut(2).unwrap_err()).contains("no port 2"));
    assert!(format!("{:#}", rig.blackhole(0, Way::Both).unwrap_err()).contains("Cabled"));
}
