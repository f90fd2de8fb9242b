//! Nanoseconds per packet of the programs, beside one that does nothing: `cargo run -p oxbond-datapath --example
//! bench_programs [RUNS]`. Each figure is the median of RUNS (default 9) test runs of a million packets. Needs root;
//! works in a network namespace of its own. Also prints the resident memory of the process after installation.

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;

use anyhow::Result;
use common::{Stand, ports};
use oxbond_core::option::HashPolicy;
use oxbond_core::table::TransmitTable;
use oxbond_datapath::{DataPath, PinnedProgram, Probe, TestInput};

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
    let mut results = (0..runs).map(|_| once()).collect::<Result<Vec<_>>>()?;
    results.sort_unstable();
    let median = results[runs / 2];
    println!(
        "{name:44} {median:4} ({}, {})  {:4}",
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
