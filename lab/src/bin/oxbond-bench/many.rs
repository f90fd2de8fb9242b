//! Many bonds in one daemon: LACP at the fast rate over cables to another daemon of ours.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use oxbond_lab::capture::{Capture, Frame};
use oxbond_lab::machine::{End, Machine};
use oxbond_lab::proc::wait_until;
use oxbond_lab::rig::{Plan, Topology};

use crate::{bonds, millis, told};

/// Bonds, unless `OXBOND_BENCH_BONDS` has another number.
const BONDS: usize = 100;

/// How long the daemon is watched once all is settled.
const WATCH: Duration = Duration::from_secs(10);

/// Ports of which every LACPDU is captured.
const CAPTURED: usize = 8;

/// The fast rate.
const PERIOD: Duration = Duration::from_secs(1);

/// Longest time for all bonds to be made, and for all to form.
const LONGEST: Duration = Duration::from_secs(300);

pub(crate) fn many(program: &Path, _rounds: usize) -> Result<()> {
    let bonds = bonds(BONDS)?;
    println!("many: {bonds} bonds of 2 ports, 802.3ad at the fast rate, miimon 100");
    let ports: Vec<String> = (0..bonds)
        .flat_map(|bond| ["a", "b"].map(|side| format!("{side}{bond}")))
        .collect();
    let names: Vec<&str> = ports.iter().map(String::as_str).collect();
    let mut machine = Machine::new(Plan::new(Topology::Direct, &names), program)?;
    machine.start_peer_daemon()?;
    let file = machine.run_dir().join("many.toml");
    std::fs::write(&file, configuration(bonds)?)?;
    let apply = format!("apply {}", file.display());
    machine.ok_at(End::Peer, &apply)?;
    let begin = Instant::now();
    machine.ok(&apply)?;
    println!(
        "  apply: {:.1} ms for each bond",
        millis(begin.elapsed()) / bonds as f64
    );
    wait_until(LONGEST, "every port carries its share", || {
        let report = machine.ok("status --json");
        report.is_ok_and(|report| report.matches("\"role\": \"active\"").count() == 2 * bonds)
    })?;

    let captures = names.iter().take(CAPTURED);
    let captures = captures
        .map(|port| Capture::start(machine.host(), port))
        .collect::<Result<Vec<_>>>()?;
    let before = machine.daemon()?.usage()?;
    let begin = Instant::now();
    std::thread::sleep(WATCH);
    let after = machine.daemon()?.usage()?;
    let share = (after.cpu - before.cpu).as_secs_f64() / begin.elapsed().as_secs_f64();
    println!(
        "  CPU: {:.1} % of one core; resident memory {:.1} MB",
        share * 100.0,
        after.resident_kib as f64 / 1024.0
    );
    let mut late = Duration::ZERO;
    for capture in captures {
        let sent: Vec<Duration> = capture
            .stop()?
            .iter()
            .filter(|frame| is_lacpdu(frame))
            .map(|frame| frame.at)
            .collect();
        ensure!(sent.len() > 5, "only {} LACPDUs in {WATCH:?}", sent.len());
        let gaps = sent.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        late = late.max(gaps.max().unwrap_or_default().saturating_sub(PERIOD));
    }
    println!(
        "  LACPDUs of {CAPTURED} ports: latest {:.1} ms late",
        millis(late)
    );

    told("oxbond status", 9, || machine.ok("status"))
}

/// Bonds `bond0` and so on, of `a0` and `b0` and so on.
fn configuration(bonds: usize) -> Result<String> {
    let mut text = String::new();
    for bond in 0..bonds {
        writeln!(text, "[bond.bond{bond}]")?;
        writeln!(text, "ports = [\"a{bond}\", \"b{bond}\"]")?;
        writeln!(
            text,
            "mode = \"802.3ad\"\nmiimon = 100\nlacp_rate = \"fast\"\n"
        )?;
    }
    Ok(text)
}

fn is_lacpdu(frame: &Frame) -> bool {
    frame.outgoing && frame.ethertype() == 0x8809
}
