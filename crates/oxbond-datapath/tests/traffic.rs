//! Real traffic through the data path between two namespaces.
#![allow(clippy::unwrap_used, reason = "tests state their expectations so")]

mod common;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use common::{HOST6, PEER, PEER6, Stand, best_hook, departures, port, ports};
use oxbond_core::option::HashPolicy;
use oxbond_core::table::{BucketKey, Buckets, Spread, TransmitTable};
use oxbond_datapath::{FrontKind, Hook, LeftReason};
use oxbond_lab::capture::{self, Capture};
use oxbond_lab::machine::PATIENCE;
use oxbond_lab::proc::wait_until;
use oxbond_lab::traffic::{Meter, Report};
use oxbond_wire::MacAddr;

/// Length of the headers in front of an IPv4 UDP payload.
const IPV4_UDP: usize = 14 + 20 + 8;

/// The active port's link dies under 2,000 packets a second each way while nobody runs; the next to come adopts.
///
/// Setting the far end down is not one moment: first it throws away what it gets, then (a grace period of the kernel's
/// later) our port loses its carrier, then the switch learns of it. What a port is given or not given meanwhile no data
/// path can save. So the test wants: nothing sent after the program left the port is lost, and all that reached
/// either port reaches the socket.
fn dead_link_is_left_without_a_daemon(
    stand: &Stand,
    hook: Option<Hook>,
    front: Hook,
    ports_on: Hook,
) -> Result<()> {
    let table = TransmitTable::failover(ports([0, 1]));
    let unsent = stand.host().run(|| -> Result<u64> {
        let path = stand.install(hook, &table)?;
        let hooks = path.hooks()?;
        assert_eq!(hooks.front, Some(front));
        assert_eq!(
            hooks.ports,
            [(port(0), Some(ports_on)), (port(1), Some(ports_on))]
        );
        Ok(path.counters()?.tx_no_port)
    })?;

    let captures = ["p0", "p1"].map(|port| Capture::start(stand.host(), port));
    let meter = stand.traffic().rate(2000).start()?;
    let meter_clock = clock_of(&meter);
    meter.wait_flowing(500, PATIENCE)?;
    let before = oxbond_core::time::Instant::from_nanos(now_ns());
    stand.rig.cut(0)?;
    meter.wait_flowing(500, PATIENCE)?;
    let report = meter.stop(Duration::from_secs(2))?;
    let mut arrived = BTreeSet::new();
    for capture in captures {
        let frames = capture?.stop()?;
        let received = frames.iter().filter(|frame| !frame.outgoing);
        // What the meter sends begins with this word and is different each time.
        let payloads = received.filter_map(|frame| frame.data.get(IPV4_UDP..));
        arrived.extend(
            payloads
                .filter(|data| data.starts_with(b"oxbond"))
                .map(<[u8]>::to_vec),
        );
    }
    let back = report.back.as_ref().unwrap();
    assert_eq!(back.received, arrived.len() as u64, "{report:?}");
    assert_eq!(
        report
            .streams()
            .map(|stream| stream.duplicates)
            .sum::<u64>(),
        0
    );

    stand.host().run(|| -> Result<()> {
        let mut path = stand.adopt()?;
        assert_eq!(path.table()?, table);
        assert_eq!(path.left()?, port(0).bit());
        let records = departures(&mut path);
        assert_eq!(records.len(), 1, "{records:?}");
        assert_eq!(
            (records[0].port, records[0].reason),
            (port(0), LeftReason::NoCarrier)
        );
        assert!(records[0].time > before);
        assert_lost_before(&report, meter_clock(records[0].time));
        let counters = path.counters()?;
        assert_eq!(counters.ports_left, 1);
        let [(_, p0), (_, p1)] = counters.ports[..] else {
            panic!("{counters:?}")
        };
        let sent = report.there.sent;
        assert!(p0.tx_packets + p1.tx_packets >= sent, "{counters:?}");
        assert!(p1.tx_packets >= 400 && p1.rx_packets >= 400, "{counters:?}");
        assert_eq!(p1.tx_moved, p1.tx_packets);
        assert_eq!((p0.tx_moved, counters.tx_no_port), (0, unsent));
        Ok(())
    })?;

    // Back with carrier, but nobody has decided to go back.
    stand.rig.restore(0)?;
    stand.rig.wait_ready(PATIENCE)?;
    let report = stand.traffic().rate(1000).run(Duration::from_millis(300))?;
    assert_eq!(report.lost(), 0, "{report:?}");
    stand.host().run(|| -> Result<()> {
        let mut path = stand.adopt()?;
        let [(_, p0), (_, p1)] = path.counters()?.ports[..] else {
            panic!()
        };
        assert_eq!(p1.tx_moved, p1.tx_packets);
        assert!(
            path.set_table(&table)?,
            "a table put in force again ends the latch"
        );
        assert_eq!(path.left()?, 0);
        assert!(!path.set_table(&table)?, "nothing to write");
        // As the core goes back: what the neighbours still send to the other port is taken from there.
        let returning = TransmitTable {
            linger: Some(port(1)),
            ..table.clone()
        };
        assert!(path.set_table(&returning)?);
        // The switch learns where the bond is before that time is over, however late the traffic begins.
        let mut anything = vec![0xff; 6];
        let own: MacAddr = stand.host().mac("bond0")?.parse()?;
        anything.extend(own.octets());
        anything.extend([0x88, 0xb5]);
        anything.resize(60, 0);
        capture::send(stand.host(), "bond0", &anything)?;
        let report = stand.traffic().rate(1000).run(Duration::from_millis(300))?;
        assert_eq!(report.lost(), 0, "{report:?}");
        let [(_, p0_now), (_, p1_now)] = path.counters()?.ports[..] else {
            panic!()
        };
        assert!(
            p0_now.tx_packets > p0.tx_packets + 200,
            "back on the first port"
        );
        assert_eq!(p1_now.tx_packets, p1.tx_packets);
        assert_eq!(path.drain(), []);
        path.remove()?;
        Ok(())
    })
}

#[test]
fn root_dead_link_is_left_without_a_daemon_on_the_best_hook() -> Result<()> {
    dead_link_is_left_without_a_daemon(&Stand::new(&["p0", "p1"])?, None, best_hook(), best_hook())
}

#[test]
fn root_dead_link_is_left_without_a_daemon_on_clsact() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    dead_link_is_left_without_a_daemon(&stand, Some(Hook::Clsact), Hook::Clsact, Hook::Clsact)
}

/// Run in a guest (crates/oxbond/tests/namespaces/guest.rs): this kind of machine's kernel has no netkit.
#[test]
fn inside_netkit_dead_link_is_left_without_a_daemon() -> Result<()> {
    let stand = Stand::with_front(&["p0", "p1"], FrontKind::Netkit)?;
    dead_link_is_left_without_a_daemon(&stand, None, Hook::Netkit, best_hook())
}

/// Whatever the host sent and lost left before the moment in which the program left the dead port.
fn assert_lost_before(report: &Report, left: Duration) {
    for lost in report.there.flows.iter().flat_map(|flow| &flow.lost_ranges) {
        assert!(lost.to <= left, "left at {left:?}: {report:?}");
    }
}

#[test]
fn root_both_directions_are_seen_on_the_bond() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    stand.host().run(|| {
        stand
            .install(None, &TransmitTable::failover(ports([1, 0])))
            .map(drop)
    })?;
    let report = stand.traffic().rate(1000).run(Duration::from_millis(300))?;
    assert_eq!(report.lost(), 0, "{report:?}");
    let statistics = stand.host().ip_json("-s link show bond0")?[0]["stats64"].clone();
    for (direction, count) in [
        ("tx", report.there.sent),
        ("rx", report.back.unwrap().received),
    ] {
        assert!(
            statistics[direction]["packets"].as_u64().unwrap() >= count,
            "{direction}: {statistics}"
        );
    }
    let report = stand
        .traffic_between(HOST6, PEER6)
        .run(Duration::from_millis(200))?;
    assert_eq!(report.lost(), 0, "{report:?}");
    let report = stand
        .traffic()
        .payload(20_000)
        .rate(200)
        .run(Duration::from_millis(200))?;
    assert_eq!(report.lost(), 0, "in fragments: {report:?}");
    Ok(())
}

/// Run in guests: this kind of machine's kernel has no VLANs.
#[test]
fn inside_veth_vlan_frames_pass_and_spread_by_their_addresses() -> Result<()> {
    vlan_frames_pass_and_spread(FrontKind::Veth)
}

/// As above.
#[test]
fn inside_netkit_vlan_frames_pass_and_spread_by_their_addresses() -> Result<()> {
    vlan_frames_pass_and_spread(FrontKind::Netkit)
}

/// Frames of a VLAN on the bond keep their tag and are spread by what is behind it.
fn vlan_frames_pass_and_spread(kind: FrontKind) -> Result<()> {
    let stand = Stand::with_front(&["p0", "p1"], kind)?;
    let table = TransmitTable::hashed(HashPolicy::Layer34, ports([0, 1]), |_| true);
    stand.host().run(|| stand.install(None, &table).map(drop))?;
    stand
        .host()
        .ip("link add link bond0 name bond0.5 type vlan id 5")?;
    stand
        .rig
        .peer
        .ip("link add link peer0 name peer0.5 type vlan id 5")?;
    for (namespace, device, address) in [
        (stand.host(), "bond0.5", "10.78.0.10/24"),
        (&stand.rig.peer, "peer0.5", "10.78.0.1/24"),
    ] {
        namespace.set_link(device, true)?;
        stand.rig.add_address(namespace, device, address)?;
    }
    let capture = Capture::start(stand.rig.middle()?, "sw1")?;
    let traffic = stand.traffic_between("10.78.0.10", "10.78.0.1");
    let report = traffic
        .flows(8)
        .source_port(20_000)
        .run(Duration::from_millis(400))?;
    assert_eq!(report.lost(), 0, "{kind:?}: {report:?}");
    let tagged = capture
        .stop()?
        .iter()
        .filter(|frame| frame.vlan() == Some(5))
        .count() as u64;
    assert!(
        tagged >= report.there.sent / 4,
        "{kind:?}: {tagged} of {} on the second port",
        report.there.sent
    );
    assert!(
        tagged <= report.there.sent * 7 / 4,
        "{kind:?}: {tagged} with those of the other direction"
    );
    Ok(())
}

/// Run in guests: this kind of machine's kernel has no `skbedit`.
#[test]
fn inside_veth_frames_of_a_queue_take_its_port() -> Result<()> {
    frames_of_a_queue_take_its_port(FrontKind::Veth)
}

/// As above.
#[test]
fn inside_netkit_frames_of_a_queue_take_its_port() -> Result<()> {
    frames_of_a_queue_take_its_port(FrontKind::Netkit)
}

/// The queue that the user's filter names is the one that the table names; without a filter every frame is on queue 0.
fn frames_of_a_queue_take_its_port(kind: FrontKind) -> Result<()> {
    let stand = Stand::with_front(&["p0", "p1"], kind)?;
    let host = stand.host();
    stand.keep_to_queue_0()?;
    let table = TransmitTable {
        queues: vec![(3, port(1))],
        ..TransmitTable::failover(ports([0, 1]))
    };
    let path = host.run(|| stand.install(None, &table))?;
    let carried = || -> Result<(u64, u64)> {
        let before = host.run(|| path.counters())?;
        let traffic = stand.traffic().rate(500).flows(16).source_port(20_000);
        let report = traffic.run(Duration::from_millis(300))?;
        let after = host.run(|| path.counters())?;
        let sent =
            |index: usize| after.ports[index].1.tx_packets - before.ports[index].1.tx_packets;
        assert!(sent(0) + sent(1) >= report.there.sent, "{report:?}");
        Ok((sent(0), sent(1)))
    };
    assert_eq!(carried()?.1, 0, "no frame is on queue 3");
    host.execute("tc", "qdisc add dev bond0 clsact")?;
    host.execute(
        "tc",
        "filter add dev bond0 egress protocol ip u32 match ip dport 0 0 action skbedit queue_mapping 3",
    )?;
    let (on_first, on_its) = carried()?;
    assert!(on_its > 50 && on_first < 20, "{on_first}, {on_its}");
    stand.rig.cut(1)?;
    wait_until(PATIENCE, "p1 loses its carrier", || {
        !host.has_carrier("p1").unwrap()
    })?;
    assert!(
        carried()?.0 > 50,
        "its port is dead, so they go where others go"
    );
    Ok(())
}

#[test]
fn root_broadcast_sends_each_frame_on_every_port() -> Result<()> {
    let stand = Stand::new(&["p0", "p1", "p2"])?;
    let table = TransmitTable::spread(Spread::Broadcast, ports([0, 1, 2]));
    let path = stand.host().run(|| stand.install(None, &table))?;
    let captures = ["sw0", "sw1", "sw2"].map(|port| Capture::start(stand.rig.middle()?, port));
    let report = stand.traffic().rate(500).run(Duration::from_millis(400))?;
    let there = &report.there;
    assert_eq!(
        (there.lost, there.duplicates),
        (0, 2 * there.received),
        "{report:?}"
    );
    for capture in captures {
        let frames = capture?.stop()?;
        let sent = frames.iter().filter(|frame| {
            !frame.outgoing
                && frame
                    .data
                    .get(IPV4_UDP..)
                    .is_some_and(|data| data.starts_with(b"oxbond"))
        });
        assert_eq!(sent.count() as u64, there.sent);
    }
    let counters = stand.host().run(|| path.counters())?;
    for (port, counters) in &counters.ports {
        assert!(counters.tx_packets >= there.sent, "{port:?}: {counters:?}");
        assert!(counters.tx_bytes > counters.tx_packets * IPV4_UDP as u64);
    }
    Ok(())
}

#[test]
fn root_round_robin_gives_every_port_the_same() -> Result<()> {
    let stand = Stand::new(&["p0", "p1", "p2"])?;
    let mut path = stand
        .host()
        .run(|| stand.install(None, &TransmitTable::failover(vec![])))?;
    for packets_per_port in [1, 4, 0] {
        let key = BucketKey::Sequence { packets_per_port };
        let buckets = Buckets::equal(key, &ports([0, 1, 2]), |_| true);
        let table = TransmitTable::spread(Spread::Buckets(buckets), ports([0, 1, 2]));
        stand.host().run(|| path.set_table(&table))?;
        let before = stand.host().run(|| path.counters())?;
        let report = stand.traffic().rate(3000).run(Duration::from_millis(400))?;
        assert_eq!(report.lost(), 0, "{report:?}");
        let after = stand.host().run(|| path.counters())?;
        let sent = after.ports.iter().zip(&before.ports);
        let sent: Vec<u64> = sent
            .map(|((_, after), (_, before))| after.tx_packets - before.tx_packets)
            .collect();
        let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
        // At random, a deviation of a third is ten times the standard one.
        let slack = if packets_per_port == 0 {
            most / 3
        } else {
            8 + 2 * u64::from(packets_per_port)
        };
        assert!(most - least <= slack, "{packets_per_port} each: {sent:?}");
    }
    Ok(())
}

#[test]
fn root_tcp_segmentation_stays_with_the_ports() -> Result<()> {
    const BYTES: usize = 20_000_000;
    let stand = Stand::new(&["p0", "p1"])?;
    let table = TransmitTable::hashed(HashPolicy::Layer23, ports([0, 1]), |_| true);
    stand.host().run(|| stand.install(None, &table).map(drop))?;
    let listener = stand.rig.peer.run(|| TcpListener::bind((PEER, 0)))?;
    let address = listener.local_addr()?;
    let received = std::thread::scope(|scope| -> Result<usize> {
        let receiver = scope.spawn(move || -> Result<usize> {
            let mut data = Vec::new();
            Ok(listener.accept()?.0.read_to_end(&mut data)?)
        });
        stand
            .host()
            .run(|| TcpStream::connect(address))?
            .write_all(&vec![0x55; BYTES])?;
        receiver.join().unwrap()
    })?;
    assert_eq!(received, BYTES);
    let counters = stand
        .host()
        .run(|| stand.adopt()?.counters().map_err(anyhow::Error::from))?;
    let (packets, bytes) = counters
        .ports
        .iter()
        .fold((0, 0), |(packets, bytes), (_, port)| {
            (packets + port.tx_packets, bytes + port.tx_bytes)
        });
    assert!(bytes > BYTES as u64);
    assert!(
        bytes / packets > 4000,
        "frames of several segments, {} bytes on average",
        bytes / packets
    );
    Ok(())
}

#[test]
fn root_balance_xor_spreads_flows_and_moves_only_those_of_a_dead_port() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    let table = TransmitTable::hashed(HashPolicy::Layer34, ports([0, 1]), |_| true);
    stand.host().run(|| stand.install(None, &table).map(drop))?;
    let report = stand
        .traffic()
        .rate(2000)
        .flows(8)
        .source_port(20_000)
        .run(Duration::from_millis(500))?;
    assert_eq!(report.lost(), 0, "{report:?}");
    let whole = stand
        .host()
        .run(|| stand.adopt()?.counters().map_err(anyhow::Error::from))?;
    for (port, counters) in &whole.ports {
        assert!(
            counters.tx_packets >= report.there.sent / 4,
            "{port:?} carries its share: {whole:?}"
        );
        assert_eq!(counters.tx_moved, 0);
    }

    let meter = stand
        .traffic()
        .rate(2000)
        .flows(8)
        .source_port(20_000)
        .start()?;
    let meter_clock = clock_of(&meter);
    meter.wait_flowing(500, PATIENCE)?;
    stand.rig.cut(1)?;
    meter.wait_flowing(500, PATIENCE)?;
    let report = meter.stop(Duration::from_secs(2))?;
    stand.host().run(|| -> Result<()> {
        let mut path = stand.adopt()?;
        assert_eq!(path.left()?, port(1).bit());
        let records = departures(&mut path);
        assert_eq!(records.len(), 1, "{records:?}");
        assert_lost_before(&report, meter_clock(records[0].time));
        let counters = path.counters()?;
        assert!(counters.ports[0].1.tx_moved > 100, "{counters:?}");
        assert_eq!(counters.ports[1].1.tx_moved, 0);
        Ok(path.remove()?)
    })
}

/// From `CLOCK_MONOTONIC` to the clock of a meter's report.
fn clock_of(meter: &Meter) -> impl Fn(oxbond_core::time::Instant) -> Duration + use<> {
    let (there, here) = (now_ns(), meter.time_of(Instant::now()));
    move |time| {
        (here + Duration::from_nanos(time.as_nanos())).saturating_sub(Duration::from_nanos(there))
    }
}

fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
