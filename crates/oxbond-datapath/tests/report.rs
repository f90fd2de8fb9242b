//! What the daemon learns of frames: copies, times of arrival, loads.
#![allow(clippy::unwrap_used, reason = "tests state their expectations so")]

mod common;

use std::time::{Duration, Instant};

use anyhow::Result;
use common::{Stand, port, ports};
use oxbond_core::input::TAPPED_LEN;
use oxbond_core::port::PortId;
use oxbond_core::table::{BALANCE_BUCKETS, BucketKey, Buckets, Exempt, Spread, Tap, TransmitTable};
use oxbond_datapath::{DataPath, LeftRecord, Record};
use oxbond_lab::capture;
use oxbond_lab::proc::wait_until;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const SOON: Duration = oxbond_lab::machine::PATIENCE;

const STRANGER: [u8; 12] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0x51];

/// A broadcast frame of a type; all of it fits for nothing else.
fn frame(head: &[u8], len: usize) -> Vec<u8> {
    let mut frame = [&STRANGER, head].concat();
    frame.resize(len, 0x5a);
    frame
}

/// Nothing reaches the ports but what the test sends.
fn silence(stand: &Stand) -> Result<()> {
    let middle = stand.rig.middle()?;
    for index in [0, 1] {
        middle.sysctl(&format!("net.ipv6.conf.sw{index}.disable_ipv6"), "1")?;
        middle.ip(&format!("link set sw{index} nomaster"))?;
    }
    Ok(())
}

/// Waits until the frames have been tapped, and returns all that was with them.
fn tapped(path: &mut DataPath, wanted: &[(Option<PortId>, Vec<u8>)]) -> Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    let deadline = Instant::now() + SOON;
    while !wanted.iter().all(|one| all.contains(one)) {
        anyhow::ensure!(
            Instant::now() < deadline,
            "{wanted:02x?} not among {all:02x?}"
        );
        let mut ready = [PollFd::from_borrowed_fd(path.ring_fd(), PollFlags::IN)];
        poll(
            &mut ready,
            Some(&Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            }),
        )?;
        all.extend(path.drain().into_iter().filter_map(|record| match record {
            Record::Frame(frame) => Some((frame.port, frame.frame)),
            Record::Left(_) => None,
        }));
    }
    Ok(all.into_iter().map(|(_, frame)| frame).collect())
}

#[test]
fn root_neighbours_are_copied_tags_and_all() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    let middle = stand.rig.middle()?;
    let table = TransmitTable {
        tap: Tap {
            neighbours_received: true,
            neighbours_sent: true,
            ..Tap::default()
        },
        ..TransmitTable::failover(ports([0, 1]))
    };
    let mut path = stand.host().run(|| stand.install(None, &table))?;
    let arp = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    let plain = frame(&arp, 60);
    let tagged = frame(&[&[0x81, 0, 0x60, 5], &arp[..]].concat(), 64);
    let twice = frame(
        &[&[0x88, 0xa8, 0, 7, 0x81, 0, 0, 5], &arp[..]].concat(),
        300,
    );
    let other = frame(&[8, 0, 0x45, 0], 100);
    // On the port that receives, and on the one whose frames are dropped.
    for frame in [&plain, &other, &tagged, &twice] {
        capture::send(middle, "sw0", frame)?;
        capture::send(middle, "sw1", frame)?;
    }
    let cut = twice[..TAPPED_LEN].to_vec();
    let wanted: Vec<_> = [plain, tagged, cut]
        .into_iter()
        .flat_map(|frame| [0, 1].map(|index| (Some(port(index)), frame.clone())))
        .collect();
    let all = tapped(&mut path, &wanted)?;
    assert!(!all.contains(&other), "{all:02x?}");

    // The host asks, on the bond and with a tag of its own.
    for frame in [
        frame(&arp, 60),
        frame(&[&[0x81, 0, 0, 9], &arp[..]].concat(), 64),
    ] {
        capture::send(stand.host(), "bond0", &frame)?;
        tapped(&mut path, &[(None, frame)])?;
    }
    Ok(())
}

#[test]
fn root_slow_protocols_are_for_the_daemon_alone() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    let middle = stand.rig.middle()?;
    let table = TransmitTable {
        tap: Tap {
            slow_protocols: true,
            ..Tap::default()
        },
        ..TransmitTable::failover(ports([0, 1]))
    };
    let mut path = stand.host().run(|| stand.install(None, &table))?;
    let mut lacp = frame(&[0x88, 0x09, 1, 1], 124);
    lacp[..6].copy_from_slice(&[0x01, 0x80, 0xc2, 0, 0, 2]);
    silence(&stand)?;
    let before = stand.host().run(|| path.counters())?;
    let bond = capture::Capture::start(stand.host(), "bond0")?;
    capture::send(middle, "sw0", &lacp)?;
    capture::send(middle, "sw1", &lacp)?;
    let wanted = [0, 1].map(|index| (Some(port(index)), lacp.clone()));
    tapped(&mut path, &wanted)?;
    // What comes behind them on the same port is the bond's.
    capture::send(middle, "sw0", &frame(&[0x88, 0xb5], 60))?;
    bond.wait_for(SOON, "another frame", |frame| frame.ethertype() == 0x88b5)?;
    assert!(bond.stop()?.iter().all(|frame| frame.data != lacp));
    let after = stand.host().run(|| path.counters())?;
    assert_eq!(after.ports[1].1.rx_inactive, before.ports[1].1.rx_inactive);
    Ok(())
}

/// A storm fills the buffer of tapped frames; that a port was left is heard all the same.
#[test]
fn root_a_storm_cannot_hide_a_dead_link() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    let table = TransmitTable {
        tap: Tap {
            neighbours_received: true,
            ..Tap::default()
        },
        ..TransmitTable::failover(ports([0, 1]))
    };
    let mut path = stand.host().run(|| stand.install(None, &table))?;
    for _ in 0..1000 {
        capture::send(stand.rig.middle()?, "sw1", &frame(&[8, 6, 0, 1], 200))?;
    }
    stand.rig.cut(0)?;
    wait_until(SOON, "the data path leaves the dead port", || {
        capture::send(stand.host(), "bond0", &frame(&[0x90, 0], 60)).unwrap();
        path.left().unwrap() == port(0).bit()
    })?;
    let records = path.drain();
    assert!(
        matches!(records[0], Record::Left(LeftRecord { port: left, .. }) if left == port(0)),
        "{:?}",
        records[0]
    );
    let frames = std::iter::from_fn(|| Some(path.drain().len()).filter(|count| *count > 0));
    let frames = records.len() - 1 + frames.sum::<usize>();
    assert!((200..1000).contains(&frames), "{frames} frames fit");
    Ok(())
}

#[test]
fn root_arrivals_are_noted_by_port_and_kind() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    let middle = stand.rig.middle()?;
    let table = TransmitTable {
        tap: Tap {
            arrivals: true,
            ..Tap::default()
        },
        ..TransmitTable::failover(ports([0, 1]))
    };
    silence(&stand)?;
    let path = stand.host().run(|| stand.install(None, &table))?;
    let noted = || stand.host().run(|| path.arrivals()).unwrap();
    let times = |index: usize| (noted()[index].any, noted()[index].neighbour);
    let start = times(1);
    capture::send(middle, "sw1", &frame(&[8, 0, 0x45, 0], 100))?;
    wait_until(SOON, "an arrival is noted", || times(1).0 > start.0)?;
    assert_eq!(times(1).1, start.1, "it was none of a neighbour");
    for kind in [[8, 6], [0x86, 0xdd]] {
        let before = times(1);
        wait_until(SOON, "a neighbour's arrival is noted", || {
            capture::send(middle, "sw1", &frame(&kind, 100)).unwrap();
            times(1).1 > before.1
        })?;
        assert_eq!(times(1).0, times(1).1);
    }
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let age = now.tv_sec as u64 - times(1).1.unwrap().as_nanos() / 1_000_000_000;
    assert!(age <= SOON.as_secs(), "by CLOCK_MONOTONIC: {age} s");
    Ok(())
}

#[test]
fn root_loads_are_counted_by_bucket_and_begin_anew_with_each_table() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    stand.host().set_link("bond0", false)?;
    let table = |first: usize| {
        let port_of = |bucket: usize| port((bucket + first) % 2);
        let home: Vec<PortId> = (0..BALANCE_BUCKETS).map(port_of).collect();
        let buckets = Buckets {
            key: BucketKey::Destination,
            spare: home.clone(),
            now: home.clone(),
            home,
            exempt: Exempt::Unbalanced,
            measured: true,
        };
        TransmitTable::spread(Spread::Buckets(buckets), ports([0, 1]))
    };
    stand.host().run(|| -> Result<()> {
        let mut path = stand.install(None, &table(0))?;
        let input = oxbond_datapath::TestInput {
            repeat: 3,
            ifindex: 0,
            cb: [0; 5],
        };
        let mut ip = frame(&[8, 0, 0x45, 0], 100);
        ip[0] = 2;
        ip[30..34].copy_from_slice(&[10, 0, 0, 3]);
        let bucket = 10 ^ 3;
        let send = |path: &DataPath, frame: &[u8]| {
            path.test_run(oxbond_datapath::PinnedProgram::BondTx, frame, input)
        };
        send(&path, &ip)?;
        send(&path, &frame(&[8, 6], 60))?;
        let told = path.loads()?.unwrap();
        assert_eq!((told.buckets[bucket], told.exempt), (300, 180));
        assert_eq!(told.buckets.iter().sum::<u64>(), 300);
        assert!(told.over < SOON);
        send(&path, &ip)?;
        let told = path.loads()?.unwrap();
        assert_eq!(
            (told.buckets[bucket], told.exempt),
            (300, 0),
            "since the last call"
        );
        send(&path, &ip)?;
        for first in [1, 0, 1] {
            path.set_table(&table(first))?;
            assert_eq!(path.loads()?.unwrap().buckets, [0; BALANCE_BUCKETS]);
            send(&path, &ip)?;
        }
        let mut other = stand.adopt()?;
        assert_eq!(
            other.loads()?,
            None,
            "an adopted path cannot know since when"
        );
        send(&path, &ip)?;
        assert_eq!(other.loads()?.unwrap().buckets[bucket], 300);
        path.set_table(&TransmitTable::failover(ports([0])))?;
        assert_eq!(path.loads()?, None);
        Ok(path.remove()?)
    })
}
