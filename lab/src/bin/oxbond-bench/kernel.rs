//! Many bonds on the kernel's driver: to show them, and to apply files that want them as they are.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use oxbond_lab::machine::{Machine, PATIENCE};
use oxbond_lab::proc::wait_until;
use oxbond_lab::rig::{Plan, Topology};

use crate::{millis, told};

/// Bonds, unless `OXBOND_BENCH_BONDS` has another number.
const BONDS: usize = 500;

/// How long the daemon is watched once all is settled.
const WATCH: Duration = Duration::from_secs(10);

pub(crate) fn kernel(program: &Path, rounds: usize) -> Result<()> {
    let bonds = match std::env::var("OXBOND_BENCH_BONDS") {
        Ok(number) => number.parse().context("OXBOND_BENCH_BONDS")?,
        Err(_) => BONDS,
    };
    println!("kernel: {bonds} bonds of 1 port on the kernel's driver, active-backup, miimon 100");
    let ports: Vec<String> = (0..bonds).map(|bond| format!("p{bond}")).collect();
    let names: Vec<&str> = ports.iter().map(String::as_str).collect();
    let mut machine = Machine::on_engine(Plan::new(Topology::Direct, &names), program, "kernel")?;
    let file = machine.run_dir().join("many.toml");
    let mut text = String::new();
    for bond in 0..bonds {
        writeln!(
            text,
            "[bond.bond{bond}]\nports = [\"p{bond}\"]\nmode = \"active-backup\"\nmiimon = 100\n"
        )?;
    }
    std::fs::write(&file, text)?;
    let apply = format!("apply {}", file.display());
    let begin = Instant::now();
    machine.ok(&apply)?;
    println!(
        "  made: {:.1} ms for each bond",
        millis(begin.elapsed()) / bonds as f64
    );
    wait_until(PATIENCE, "every port carries", || {
        let report = machine.ok("status --json");
        report.is_ok_and(|report| report.matches("\"mii_status\": \"up\"").count() == bonds)
    })?;

    let before = machine.daemon()?.usage()?;
    let begin = Instant::now();
    std::thread::sleep(WATCH);
    let after = machine.daemon()?.usage()?;
    let share = (after.cpu - before.cpu).as_secs_f64() / begin.elapsed().as_secs_f64();
    println!(
        "  daemon at rest: {:.1} % of one core; resident memory {:.1} MB",
        share * 100.0,
        after.resident_kib as f64 / 1024.0
    );
    let said = machine.ok(&apply)?;
    ensure!(said.trim() == "nothing to change", "applied again: {said}");
    let log = machine.daemon()?.stderr();
    ensure!(log.contains("applied: 0 "), "the second apply wrote: {log}");
    told("apply, nothing to change", rounds, || machine.ok(&apply))?;
    told("plan", rounds, || {
        machine.ok(&format!("plan {}", file.display()))
    })?;
    told("status", rounds, || machine.ok("status"))?;
    told("status --json", rounds, || machine.ok("status --json"))?;
    machine.kill_daemon()?;
    told("status without a daemon", rounds, || machine.ok("status"))?;
    // To take all of them apart belongs to nobody's figures.
    let begin = Instant::now();
    machine.start_daemon()?;
    println!("  next daemon ready: {:.1} ms", millis(begin.elapsed()));
    Ok(())
}
