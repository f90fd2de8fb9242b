//! Nanoseconds per packet of the programs, beside one that does nothing: `cargo run -p oxbond-datapath --example
//! bench_programs [RUNS [PART]]`, with PART only figures whose name contains it. Each figure is the median of RUNS (default 9) test runs of a million packets. Needs root;
//! works in a network namespace of its own. Also prints the resident memory of the process after installation.

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;

use anyhow::Result;
use common::{Stand, port, ports};
use oxbond_core::option::HashPolicy;
use oxbond_core::port::PortId;
use oxbond_core::table::{
    BALANCE_BUCKETS, BucketKey, Buckets, Exempt, Receive, Spread, Stations, Tap, TransmitTable,
};
use oxbond_datapath::{DataPath, PinnedProgram, Probe, TestInput};
use oxbond_wire::MacAddr;

const REPEAT: u32 = 1_000_000;

fn main() -> Result<()> {
    let runs = std::env::args().nth(1).map_or(Ok(9), |runs| runs.parse())?;
    let stand = Stand::new(&["p0", "p1"])?;
    // Nothing but the bench's own frames.
    stand.host().set_link("bond0", false)?;
    stand.host().run(|| bench(&stand, runs))
}

fn bench(stand: &Stand, runs: usize) -> Result<()> {
    println!("resident before: {}", resident()?);
    let mut path = stand.install(None, &TransmitTable::failover(ports([0, 1])))?;
    println!(
        "resident after install: {} (peak {})",
        resident()?,
        status("VmHWM:")?
    );
    let probe = Probe::load()?;
    println!(
        "ns per packet, median of {runs} runs of {REPEAT} packets (least, most); less the empty program"
    );

    let frame = tcp_frame();
    let empty = report("empty", 0, runs, || {
        Ok(probe.run_empty(&frame, REPEAT)?.nanoseconds)
    })?;
    report("bond_tx active-backup", empty, runs, || {
        run(&path, PinnedProgram::BondTx, &frame, 0)
    })?;
    let active = stand.port_ifindex(0)?;
    report("port_rx active-backup, active port", empty, runs, || {
        run(&path, PinnedProgram::PortRx, &frame, active)
    })?;
    let backup = stand.port_ifindex(1)?;
    report("port_rx active-backup, backup port", empty, runs, || {
        run(&path, PinnedProgram::PortRx, &frame, backup)
    })?;
    for policy in HashPolicy::ALL.iter().copied() {
        path.set_table(&TransmitTable::hashed(policy, ports([0, 1]), |_| true))?;
        let frames = [
            ("IPv4 TCP", tcp_frame()),
            ("IPv6 TCP", tcp6_frame()),
            ("IPv4 TCP over GRE", gre_frame()),
        ];
        for (kind, frame) in frames {
            let name = format!("bond_tx balance-xor {policy} {kind}");
            report(&name, empty, runs, || {
                run(&path, PinnedProgram::BondTx, &frame, 0)
            })?;
        }
    }
    report("port_rx balance-xor", empty, runs, || {
        run(&path, PinnedProgram::PortRx, &frame, backup)
    })?;

    for (mode, table) in modes() {
        path.set_table(&table)?;
        for (kind, frame) in [("IPv4 TCP", tcp_frame()), ("IPv6 TCP", tcp6_frame())] {
            report(&format!("bond_tx {mode} {kind}"), empty, runs, || {
                run(&path, PinnedProgram::BondTx, &frame, 0)
            })?;
            report(&format!("port_rx {mode} {kind}"), empty, runs, || {
                run(&path, PinnedProgram::PortRx, &frame, active)
            })?;
        }
    }

    path.set_table(&TransmitTable::failover(ports([0, 1])))?;
    stand.rig.cut(0)?;
    report(
        "bond_tx active-backup, active port left",
        empty,
        runs,
        || run(&path, PinnedProgram::BondTx, &frame, 0),
    )?;
    path.set_table(&TransmitTable::hashed(
        HashPolicy::Layer34,
        ports([0, 1]),
        |_| true,
    ))?;
    report(
        "bond_tx balance-xor layer3+4, a port left",
        empty,
        runs,
        || run(&path, PinnedProgram::BondTx, &frame, 0),
    )?;
    Ok(path.remove()?)
}

/// The other modes, each with what the core asks for in it.
fn modes() -> Vec<(String, TransmitTable)> {
    let order = || ports([0, 1]);
    let buckets = |key, exempt| Buckets {
        exempt,
        ..Buckets::equal(key, &order(), |_| true)
    };
    let spread = |buckets| TransmitTable::spread(Spread::Buckets(buckets), order());
    let tap = Tap {
        neighbours_received: true,
        arrivals: true,
        ..Tap::default()
    };
    let monitored = TransmitTable {
        tap,
        ..TransmitTable::failover(order())
    };
    let queued = TransmitTable {
        queues: vec![(3, port(1))],
        ..TransmitTable::failover(order())
    };
    let aggregated = TransmitTable {
        tap: Tap {
            slow_protocols: true,
            ..Tap::default()
        },
        ..TransmitTable::hashed(HashPolicy::Layer34, order(), |_| true)
    };
    let mut modes = vec![
        ("active-backup, ARP monitor".to_owned(), monitored),
        ("active-backup, queue_id".to_owned(), queued),
        ("802.3ad layer3+4".to_owned(), aggregated),
        // Sends for real, all copies but the last.
        (
            "broadcast, 2 ports".to_owned(),
            TransmitTable::spread(Spread::Broadcast, order()),
        ),
    ];
    for packets_per_port in [1, 8, 0] {
        let key = BucketKey::Sequence { packets_per_port };
        modes.push((
            format!("balance-rr {packets_per_port}"),
            spread(buckets(key, Exempt::Igmp)),
        ));
    }
    // Every frame leaves on a port with another address, and arrives for it.
    let stations = |clients| Stations {
        bond: MacAddr([2; 6]),
        ports: vec![MacAddr([4; 6]); 2],
        clients,
    };
    let balanced = |key, exempt, clients: Vec<PortId>| {
        let mut buckets = buckets(key, exempt);
        for list in [&mut buckets.home, &mut buckets.spare, &mut buckets.now] {
            list.truncate(BALANCE_BUCKETS);
        }
        buckets.measured = true;
        TransmitTable {
            receive: Receive::ActiveAndOwn,
            stations: Some(stations(clients)),
            ..spread(buckets)
        }
    };
    for policy in HashPolicy::ALL {
        let table = balanced(BucketKey::Hash(*policy), Exempt::Unbalanced, vec![]);
        modes.push((format!("balance-tlb {policy}"), table));
    }
    let alb = TransmitTable {
        tap: Tap {
            neighbours_received: true,
            neighbours_sent: true,
            ..Tap::default()
        },
        ..balanced(
            BucketKey::Destination,
            Exempt::Negotiated,
            vec![port(0); BALANCE_BUCKETS],
        )
    };
    modes.push(("balance-alb".to_owned(), alb));
    modes
}

fn run(path: &DataPath, program: PinnedProgram, frame: &[u8], ifindex: u32) -> Result<u32> {
    Ok(path
        .test_run(
            program,
            frame,
            TestInput {
                repeat: REPEAT,
                ifindex,
                cb: [0; 5],
            },
        )?
        .nanoseconds)
}

fn report(
    name: &str,
    empty: u32,
    runs: usize,
    mut once: impl FnMut() -> Result<u32>,
) -> Result<u32> {
    let part = std::env::args().nth(2).unwrap_or_default();
    if name != "empty" && !name.contains(&part) {
        return Ok(0);
    }
    let mut results = (0..runs).map(|_| once()).collect::<Result<Vec<_>>>()?;
    results.sort_unstable();
    let median = results[runs / 2];
    println!(
        "{name:52} {median:4} ({}, {})  {:4}",
        results[0],
        results[runs - 1],
        median.saturating_sub(empty)
    );
    Ok(median)
}

fn resident() -> Result<String> {
    status("VmRSS:")
}

fn status(key: &str) -> Result<String> {
    let text = fs::read_to_string("/proc/self/status")?;
    Ok(text
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap_or_default()
        .trim()
        .to_owned())
}

fn tcp_frame() -> Vec<u8> {
    let mut frame = vec![0x02; 12];
    frame.extend([
        0x08, 0x00, 0x45, 0, 0, 50, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 77, 0, 10, 10, 77, 0, 1,
    ]);
    frame.extend([0x9c, 0x40, 0x01, 0xbb]);
    frame.resize(64, 0);
    frame
}

fn tcp6_frame() -> Vec<u8> {
    let mut frame = vec![0x02; 12];
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
    frame.extend([0xfd; 32]);
    frame.extend([0x9c, 0x40, 0x01, 0xbb]);
    frame.resize(90, 0);
    frame
}

fn gre_frame() -> Vec<u8> {
    let mut frame = tcp_frame();
    let outer = [&frame[14..34], &[0, 0, 0x08, 0x00]].concat();
    frame.splice(14..14, outer);
    frame[14 + 9] = 47;
    frame
}
