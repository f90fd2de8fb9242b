//! The end-to-end figures of `bench/README.md`: each measured beside its yardstick, in turn, in one run.

mod driver;
mod files;
mod kernel;
mod many;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use oxbond_lab::machine::{Machine, PATIENCE};
use oxbond_lab::netns::Namespace;
use oxbond_lab::proc::wait_until;
use oxbond_lab::rig::{Plan, Topology};
use oxbond_lab::traffic::Traffic;
use serde_json::Value;

const PORTS: [&str; 2] = ["enp3s0", "enp4s0"];

/// Seconds of one throughput measurement.
const SECONDS: u32 = 2;

/// Measures with a program, in so many rounds.
type Part = fn(&Path, usize) -> Result<()>;

/// What to measure.
#[derive(Parser)]
#[command(about = "Measures what bench/README.md tells")]
struct Words {
    /// Rounds of each comparison; the median counts
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// throughput, failover, footprint, files; all of these without a word. many: OXBOND_BENCH_BONDS (100) bonds in one
    /// daemon. driver: beside the kernel's bonding driver, where it is. kernel: OXBOND_BENCH_BONDS (500) bonds on that driver.
    /// making: as many, made by us
    parts: Vec<String>,
}

fn main() -> Result<()> {
    let program = std::env::current_exe()?.with_file_name("oxbond");
    ensure!(
        program.exists(),
        "{} is missing: cargo build --release -p oxbond",
        program.display()
    );
    let words = Words::parse();
    let parts: [(&str, Part); 8] = [
        ("throughput", throughput),
        ("failover", failover),
        ("footprint", footprint),
        ("files", files::measure),
        ("many", many::many),
        ("driver", driver::compare),
        ("kernel", kernel::kernel),
        ("making", kernel::making),
    ];
    for word in &words.parts {
        ensure!(
            parts.iter().any(|(name, _)| name == word),
            "there is no part {word}; see --help"
        );
    }
    for (name, part) in parts {
        // Most kernels that this runs on have no bonding driver, and many bonds take long to make.
        let asked_only = ["driver", "kernel", "making", "many"].contains(&name);
        if words.parts.is_empty() && !asked_only || words.parts.iter().any(|word| word == name) {
            part(&program, words.rounds)?;
        }
    }
    Ok(())
}

/// Four TCP streams through a bond against the same pair of ports without one.
fn throughput(program: &Path, rounds: usize) -> Result<()> {
    println!("throughput: 4 TCP streams, {SECONDS} s each, {rounds} rounds in turn");
    let machine = Machine::new(Plan::new(Topology::Direct, &PORTS), program)?;
    machine
        .rig
        .add_address(machine.host(), "enp4s0", "10.78.0.2/24")?;
    machine
        .rig
        .add_address(&machine.rig.peer, "enp4s0", "10.78.0.1/24")?;
    machine
        .rig
        .add_address(&machine.rig.peer, "enp3s0", "10.77.0.1/24")?;
    let _server = Server::start(&machine.rig.peer)?;
    for mode in ["active-backup", "balance-xor --xmit-hash-policy layer3+4"] {
        machine.ok(&format!(
            "up bond0 --mode {mode} --port enp3s0 --address 10.77.0.2/24"
        ))?;
        machine.wait_peer(&["10.77.0.1", "10.78.0.1"])?;
        for (direction, flag) in [("host to peer", ""), ("peer to host", "-R")] {
            let (mut plain, mut bonded) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                plain.push(iperf(machine.host(), "10.78.0.1", flag)?);
                bonded.push(iperf(machine.host(), "10.77.0.1", flag)?);
                plain.push(iperf(machine.host(), "10.78.0.1", flag)?);
            }
            // Each run through the bond against the mean of the runs before and after it: the machine's own speed drifts.
            let mut ratios: Vec<f64> = bonded
                .iter()
                .zip(plain.chunks(2))
                .map(|(b, p)| b / p.iter().sum::<f64>() * p.len() as f64)
                .collect();
            println!(
                "  {mode:<40} {direction}: {:6.2} Gb/s, without a bond {:6.2} Gb/s, median ratio {:.3}",
                median(&mut bonded),
                median(&mut plain),
                median(&mut ratios)
            );
        }
        machine.ok("down bond0")?;
    }
    Ok(())
}

/// An iperf3 server that ends with this guard.
struct Server(Child);

impl Server {
    fn start(namespace: &Namespace) -> Result<Self> {
        let child = namespace
            .command("iperf3")
            .arg("-s")
            .stdout(Stdio::null())
            .spawn()
            .context("iperf3 is missing")?;
        let server = Self(child);
        wait_until(PATIENCE, "iperf3 listens", || {
            namespace
                .execute("ss", "-Hltn sport = :5201")
                .is_ok_and(|out| !out.trim().is_empty())
        })?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Gb/s received.
fn iperf(namespace: &Namespace, target: &str, flag: &str) -> Result<f64> {
    let report = namespace.execute(
        "iperf3",
        &format!("-c {target} -P 4 -t {SECONDS} -J {flag}"),
    )?;
    let report: Value = serde_json::from_str(&report)?;
    let bits = report["end"]["sum_received"]["bits_per_second"]
        .as_f64()
        .context("iperf3 told no throughput")?;
    Ok(bits / 1e9)
}

/// From the loss of carrier to the first packet on the other port, and to the daemon's event.
fn failover(program: &Path, rounds: usize) -> Result<()> {
    println!("failover: 10,000 packets/s, the active link is cut, {rounds} rounds");
    let (mut lost, mut informed) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let machine = Machine::new(Plan::new(Topology::OneSwitch, &PORTS), program)?;
        machine.ok("up bond0 --mode active-backup --primary enp3s0 --miimon 100 --port enp3s0 --port enp4s0 --address 10.77.0.2/24")?;
        machine.wait_peer(&["10.77.0.1"])?;
        let mut listener = machine
            .command()
            .args(["events", "--json"])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(
            listener
                .stdout
                .take()
                .context("events has a standard output")?,
        )
        .lines();
        lines.next().context("events begins with a snapshot")??;
        let meter = Traffic::new(
            (machine.host(), "10.77.0.2".parse()?),
            (&machine.rig.peer, "10.77.0.1".parse()?),
        )
        .rate(10_000)
        .start()?;
        meter.wait_flowing(5_000, PATIENCE)?;
        let cut = SystemTime::now();
        machine.rig.cut(0)?;
        informed.push(time_of_failover(&mut lines, cut)?.as_secs_f64() * 1e3);
        meter.wait_flowing(5_000, PATIENCE)?;
        lost.push(meter.stop(Duration::from_secs(2))?.lost());
        listener.kill()?;
        listener.wait()?;
    }
    println!("  packets lost: {lost:?}");
    println!(
        "  daemon informed after: median {:.2} ms, worst {:.2} ms",
        median(&mut informed.clone()),
        informed.iter().copied().fold(0.0, f64::max)
    );
    Ok(())
}

fn time_of_failover(
    lines: &mut impl Iterator<Item = std::io::Result<String>>,
    cut: SystemTime,
) -> Result<Duration> {
    for line in lines {
        let line: Value = serde_json::from_str(&line?)?;
        if line["event"]["event"]["kind"] == "active_port" {
            let at = Duration::from_nanos(
                line["event"]["unix_nanos"]
                    .as_u64()
                    .context("events carry their time")?,
            );
            return Ok(at.saturating_sub(cut.duration_since(UNIX_EPOCH)?));
        }
    }
    anyhow::bail!("the daemon never told of the failover")
}

/// Memory and wake-ups of a daemon with one bond.
fn footprint(program: &Path, _rounds: usize) -> Result<()> {
    const WATCH: Duration = Duration::from_secs(10);
    let machine = Machine::new(Plan::new(Topology::OneSwitch, &PORTS), program)?;
    machine.ok("up bond0 --mode active-backup --miimon 100 --port enp3s0 --port enp4s0 --address 10.77.0.2/24")?;
    machine.wait_peer(&["10.77.0.1"])?;
    // Neighbour discovery and the like come to rest.
    std::thread::sleep(Duration::from_secs(3));
    let before = machine.daemon()?.usage()?;
    std::thread::sleep(WATCH);
    let after = machine.daemon()?.usage()?;
    println!("footprint: one bond, two ports, miimon 100");
    println!(
        "  resident memory: {:.1} MB",
        after.resident_kib as f64 / 1024.0
    );
    println!(
        "  wake-ups per second: {:.1} (10 is the monitor's share)",
        (after.voluntary_switches - before.voluntary_switches) as f64 / WATCH.as_secs_f64()
    );
    Ok(())
}

/// Prints the median time of a command, from outside.
fn told(what: &str, rounds: usize, mut run: impl FnMut() -> Result<String>) -> Result<()> {
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let begin = Instant::now();
            run().map(|_| millis(begin.elapsed()))
        })
        .collect::<Result<_>>()?;
    let median = median(&mut times);
    println!("  {what}: {median:.1} ms (median of {rounds})");
    Ok(())
}

/// How many bonds: `OXBOND_BENCH_BONDS`, else this many.
fn bonds(otherwise: usize) -> Result<usize> {
    match std::env::var("OXBOND_BENCH_BONDS") {
        Ok(number) => number.parse().context("OXBOND_BENCH_BONDS"),
        Err(_) => Ok(otherwise),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
