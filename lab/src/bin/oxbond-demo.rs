//! `make demo`: bonds two links in namespaces, pulls them under traffic, prints what was lost and which port carried what.
//!
//! Nothing of the machine's own network is touched; everything it makes goes away with it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use oxbond_lab::machine::Machine;
use oxbond_lab::rig::{Plan, Topology};
use oxbond_lab::traffic::{Meter, Report, Traffic};

const PORTS: [&str; 2] = ["enp3s0", "enp4s0"];
const HOST: &str = "10.77.0.2";
const PEER: &str = "10.77.0.1";

/// Datagrams per second, each way.
const RATE: u32 = 2_000;

/// How long traffic runs between two faults.
const CALM: Duration = Duration::from_secs(2);

fn main() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "the demo makes network namespaces and loads eBPF programs: run it as root (sudo make demo)"
    );
    let program = beside_us("oxbond")?;
    println!(
        "A host with two ports (enp3s0, enp4s0), a switch, a peer; all in network namespaces.\n"
    );
    let failover = active_backup(&program)?;
    let spread = balance_xor(&program)?;

    println!("\nSummary");
    println!(
        "  active-backup, two links cut one after the other: {}",
        verdict(&failover)
    );
    println!(
        "  balance-xor, eight flows, one link cut:           {}",
        verdict(&spread)
    );
    Ok(())
}

fn active_backup(program: &Path) -> Result<Report> {
    println!("1. active-backup: {RATE} packets per second each way, while links are cut");
    let machine = Machine::new(Plan::new(Topology::OneSwitch, &PORTS), program)?;
    up(
        &machine,
        "--mode active-backup --primary enp3s0 --miimon 100",
    )?;
    let meter = traffic(&machine, 1).start()?;
    let clock = Instant::now();
    run(&meter, CALM)?;

    machine.rig.cut(0)?;
    note(clock, "enp3s0 loses its link");
    let told = machine.wait_active("bond0", "enp4s0")?;
    note(
        clock,
        &format!(
            "enp4s0 is the active port (seen {:.1} ms later)",
            millis(told)
        ),
    );
    run(&meter, CALM)?;

    machine.rig.restore(0)?;
    note(clock, "enp3s0 has its link again");
    machine.wait_active("bond0", "enp3s0")?;
    note(clock, "enp3s0 is the active port again, as the primary");
    run(&meter, CALM)?;

    machine.rig.cut(1)?;
    note(clock, "enp4s0 loses its link; it was not in use");
    run(&meter, CALM)?;
    machine.rig.restore(1)?;
    note(clock, "enp4s0 has its link again");
    run(&meter, CALM)?;
    finish(&machine, meter)
}

fn balance_xor(program: &Path) -> Result<Report> {
    println!(
        "\n2. balance-xor, layer3+4: eight flows over two links, {RATE} packets per second each way"
    );
    let machine = Machine::new(Plan::new(Topology::OneSwitch, &PORTS), program)?;
    up(
        &machine,
        "--mode balance-xor --xmit-hash-policy layer3+4 --miimon 100",
    )?;
    let meter = traffic(&machine, 8).start()?;
    let clock = Instant::now();
    run(&meter, CALM)?;
    let before = sent(&machine)?;
    note(
        clock,
        &format!(
            "so far enp3s0 sent {} packets, enp4s0 {}",
            before[0], before[1]
        ),
    );
    machine.rig.cut(1)?;
    note(clock, "enp4s0 loses its link; its flows go on over enp3s0");
    run(&meter, CALM)?;
    machine.rig.restore(1)?;
    note(clock, "enp4s0 has its link again, its flows return");
    run(&meter, CALM)?;
    finish(&machine, meter)
}

fn up(machine: &Machine, options: &str) -> Result<()> {
    let words = format!("up bond0 {options} --port enp3s0 --port enp4s0 --address {HOST}/24");
    println!("   oxbond {words}");
    machine.ok(&words)?;
    machine.wait_peer(&[PEER])
}

fn traffic(machine: &Machine, flows: u16) -> Traffic {
    let address = |text: &str| {
        text.parse::<IpAddr>()
            .expect("our own constants are addresses")
    };
    Traffic::new(
        (machine.host(), address(HOST)),
        (&machine.rig.peer, address(PEER)),
    )
    .rate(RATE)
    .flows(flows)
    // The same flows, and with them the same split, every time.
    .source_port(40_000)
    .both_ways()
}

/// Lets traffic run for a while, and makes sure that it does.
fn run(meter: &Meter, length: Duration) -> Result<()> {
    let packets = u64::from(RATE) * length.as_millis() as u64 / 1000;
    meter.wait_flowing(packets, length * 5).map(drop)
}

fn finish(machine: &Machine, meter: Meter) -> Result<Report> {
    let report = meter.stop(Duration::from_secs(2))?;
    let sent = sent(machine)?;
    let received = counters(machine, "rx_packets")?;
    println!(
        "   packets sent     {:>8}   (host to peer and back)",
        report.sent()
    );
    println!("   packets lost     {:>8}", report.lost());
    println!(
        "   longest gap      {:>8.1} ms   (a packet is due every {:.1} ms; the sender's own longest pause was {:.1} ms)",
        millis(report.longest_gap().length),
        1000.0 / f64::from(RATE),
        report
            .streams()
            .map(|stream| millis(stream.longest_pause.length))
            .fold(0.0, f64::max)
    );
    for stream in report.streams() {
        for lost in stream.flows.iter().flat_map(|flow| &flow.lost_ranges) {
            println!(
                "   lost: {}, sent at {:.3} s",
                lost.last - lost.first + 1,
                lost.from.as_secs_f64()
            );
        }
    }
    for (index, port) in PORTS.iter().enumerate() {
        println!(
            "   {port}           {:>8} sent, {:>8} received",
            sent[index], received[index]
        );
    }
    let status = machine.ok("status bond0")?;
    println!("\n{}", indent(&status));
    machine.ok("down bond0")?;
    Ok(report)
}

fn sent(machine: &Machine) -> Result<[u64; 2]> {
    counters(machine, "tx_packets")
}

fn counters(machine: &Machine, counter: &str) -> Result<[u64; 2]> {
    Ok([
        machine.counter("bond0", PORTS[0], counter)?,
        machine.counter("bond0", PORTS[1], counter)?,
    ])
}

fn verdict(report: &Report) -> String {
    format!(
        "{} sent, {} lost, longest gap {:.1} ms",
        report.sent(),
        report.lost(),
        millis(report.longest_gap().length)
    )
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn note(clock: Instant, what: &str) {
    println!("   {:>5.2} s  {what}", clock.elapsed().as_secs_f64());
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("   {line}\n")).collect()
}

/// A program that was built together with this one.
fn beside_us(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(
        path.exists(),
        "{} is missing: build it first (cargo build --release -p oxbond)",
        path.display()
    );
    path.canonicalize().context("the path of our own program")
}
