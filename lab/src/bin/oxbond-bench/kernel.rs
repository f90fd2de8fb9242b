//! Many bonds on the kernel's driver: to show them, to take them over, to apply files that want them as they are, and to
//! make them.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use oxbond_lab::machine::Machine;
use oxbond_lab::netns::Namespace;
use oxbond_lab::rig::{Plan, Topology};

use crate::{bonds, millis, told};

/// Bonds, unless `OXBOND_BENCH_BONDS` has another number.
const BONDS: usize = 500;

/// How long the daemon is watched once all is settled.
const WATCH: Duration = Duration::from_secs(10);

/// What asks a driver's bond to be as these are.
const OPTIONS: &str = "mode active-backup miimon 100";

/// Bonds that are there when we come.
pub(crate) fn kernel(program: &Path, rounds: usize) -> Result<()> {
    let bonds = bonds(BONDS)?;
    println!("kernel: {bonds} bonds of 2 ports that ip made on the kernel's driver, {OPTIONS}");
    let mut machine = machine(program)?;
    machine.kill_daemon()?;
    wire(&machine, bonds)?;
    let each = |line: &dyn Fn(usize) -> String| (0..bonds).map(line).collect::<String>();
    batch(
        &machine,
        machine.host(),
        &each(&|bond| {
            format!(
                "link add bond{bond} type bond {OPTIONS}\nlink set a{bond} master bond{bond}\n\
                 link set b{bond} master bond{bond}\nlink set bond{bond} up\n"
            )
        }),
    )?;
    for words in [
        "status",
        "status --proc",
        "status --json",
        "status bond7",
        "--version",
    ] {
        told(&format!("{words}, no daemon"), rounds, || machine.ok(words))?;
    }

    machine.start_daemon()?;
    let file = configuration(&machine, bonds)?;
    let apply = format!("apply {}", file.display());
    let begin = Instant::now();
    machine.ok(&apply)?;
    println!(
        "  taken over: {:.1} ms for each bond",
        millis(begin.elapsed()) / bonds as f64
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
    machine.kill_daemon()?;
    let begin = Instant::now();
    machine.start_daemon()?;
    println!("  next daemon ready: {:.1} ms", millis(begin.elapsed()));
    clear(&mut machine, bonds)
}

/// Bonds that we make.
pub(crate) fn making(program: &Path, _rounds: usize) -> Result<()> {
    let bonds = bonds(BONDS)?;
    println!("making: {bonds} bonds of 2 ports on the kernel's driver, {OPTIONS}");
    let mut machine = machine(program)?;
    wire(&machine, bonds)?;
    let file = configuration(&machine, bonds)?;
    let begin = Instant::now();
    machine.ok(&format!("apply {}", file.display()))?;
    println!(
        "  made: {:.1} ms for each bond",
        millis(begin.elapsed()) / bonds as f64
    );
    clear(&mut machine, bonds)
}

fn machine(program: &Path) -> Result<Machine> {
    Machine::on_engine(Plan::new(Topology::Direct, &["spare"]), program, "kernel")
}

/// Ports `a0` and `b0` and so on, joined to the peer's of the same names.
fn wire(machine: &Machine, bonds: usize) -> Result<()> {
    let (mut near, mut far) = (String::new(), String::new());
    let peer = machine.rig.peer.path();
    for bond in 0..bonds {
        for port in [format!("a{bond}"), format!("b{bond}")] {
            writeln!(
                near,
                "link add {port} type veth peer name {port} netns {peer}"
            )?;
            writeln!(far, "link set {port} up")?;
        }
    }
    batch(machine, machine.host(), &near)?;
    batch(machine, &machine.rig.peer, &far)
}

fn configuration(machine: &Machine, bonds: usize) -> Result<std::path::PathBuf> {
    let mut text = String::new();
    for bond in 0..bonds {
        writeln!(
            text,
            "[bond.bond{bond}]\nports = [\"a{bond}\", \"b{bond}\"]\nmode = \"active-backup\"\nmiimon = 100\n"
        )?;
    }
    let file = machine.run_dir().join("many.toml");
    std::fs::write(&file, text)?;
    Ok(file)
}

/// To take all of them apart by commands belongs to nobody's figures, and takes its time.
fn clear(machine: &mut Machine, bonds: usize) -> Result<()> {
    machine.kill_daemon()?;
    let lines: String = (0..bonds)
        .map(|bond| format!("link del bond{bond}\n"))
        .collect();
    batch(machine, machine.host(), &lines)
}

/// Runs lines of `ip`.
fn batch(machine: &Machine, namespace: &Namespace, lines: &str) -> Result<()> {
    let file = machine.run_dir().join("batch");
    std::fs::write(&file, lines)?;
    namespace
        .ip(&format!("-batch {}", file.display()))
        .map(drop)
        .context("ip -batch")
}
