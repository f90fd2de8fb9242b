//! Beside the kernel's bonding driver: throughput of every mode, and what one small packet costs each way.
//!
//! Meant for a guest whose clock counts executed instructions (`oxbond-guest --accel icount`): there a nanosecond is half an
//! instruction, so that the time of a fixed number of packets is a count of instructions. The bond has one port, so that
//! the peer can be a plain interface in every mode.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use oxbond_lab::machine::Machine;
use oxbond_lab::netns::Namespace;
use oxbond_lab::rig::{Plan, Topology};

use super::{Server, iperf, median};

const MODES: [&str; 7] = [
    "balance-rr",
    "active-backup",
    "balance-xor",
    "broadcast",
    "802.3ad",
    "balance-tlb",
    "balance-alb",
];

const PORT: &str = "enp3s0";
const HOST: &str = "10.77.0.2";
const PEER: &str = "10.77.0.1";

/// Packets of one measurement of instructions.
const PACKETS: usize = 20_000;

/// Packets sent before the receiver reads: what fits in its buffer by far.
const BURST: usize = 32;

/// Instructions per nanosecond of a guest started by `oxbond-guest --accel icount`.
const INSTRUCTIONS_PER_NS: f64 = 0.5;

/// Who carries the bond.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Driver,
    Oxbond,
}

/// Every mode, the driver and Oxbond in turn.
pub(crate) fn compare(program: &Path, rounds: usize) -> Result<()> {
    println!(
        "beside the driver: one port, {rounds} rounds in turn; TCP Gb/s, instructions per 64-byte packet"
    );
    let machine = Machine::new(Plan::new(Topology::Direct, &[PORT]), program)?;
    machine
        .rig
        .add_address(&machine.rig.peer, PORT, &format!("{PEER}/24"))?;
    let sending = sending(&machine)?;
    let _server = Server::start(&machine.rig.peer)?;
    for mode in MODES {
        let mut figures = [Figures::default(), Figures::default()];
        for _ in 0..rounds {
            for (figures, who) in figures.iter_mut().zip([Who::Driver, Who::Oxbond]) {
                bond(&machine, who, mode)?;
                machine.wait_peer(&[PEER])?;
                figures.tcp.push(iperf(machine.host(), PEER, "")?);
                figures.receive.push(receive(&machine, sending)?);
                figures.transmit.push(transmit(&machine)?);
                unbond(&machine, who)?;
            }
        }
        let [driver, oxbond] = figures.map(Figures::medians);
        print!("  {mode:<14}");
        for (name, at, digits) in [("TCP", 0, 2), ("transmit", 1, 0), ("receive", 2, 0)] {
            let (theirs, ours) = (driver[at], oxbond[at]);
            print!(
                "  {name}: driver {theirs:.digits$}, oxbond {ours:.digits$}, ratio {:.3}",
                ours / theirs
            );
        }
        println!();
    }
    Ok(())
}

#[derive(Default)]
struct Figures {
    tcp: Vec<f64>,
    transmit: Vec<f64>,
    receive: Vec<f64>,
}

impl Figures {
    fn medians(mut self) -> [f64; 3] {
        [&mut self.tcp, &mut self.transmit, &mut self.receive].map(|values| median(values))
    }
}

fn bond(machine: &Machine, who: Who, mode: &str) -> Result<()> {
    match who {
        Who::Oxbond => {
            machine.ok(&format!(
                "up bond0 --mode {mode} --miimon 100 --port {PORT} --address {HOST}/24"
            ))?;
        }
        Who::Driver => {
            let host = machine.host();
            host.ip(&format!("link add bond0 type bond mode {mode} miimon 100"))?;
            host.ip(&format!("link set {PORT} down"))?;
            host.ip(&format!("link set {PORT} master bond0"))?;
            host.ip("link set bond0 up")?;
            host.ip(&format!("address add {HOST}/24 dev bond0"))?;
        }
    }
    Ok(())
}

fn unbond(machine: &Machine, who: Who) -> Result<()> {
    match who {
        Who::Oxbond => machine.ok("down bond0").map(drop),
        Who::Driver => {
            machine.host().ip("link del bond0")?;
            machine.host().ip(&format!("link set {PORT} up")).map(drop)
        }
    }
}

/// Instructions from the sender's call until the frame is dropped where it enters the peer.
fn transmit(machine: &Machine) -> Result<f64> {
    let peer = &machine.rig.peer;
    let sender = machine.host().run(|| UdpSocket::bind((HOST, 0)))?;
    // Not connected: nobody listens, and the refusal of the first packet is not to end the second.
    let target: SocketAddr = format!("{PEER}:9").parse()?;
    // The neighbour is known before its answers are dropped.
    sender.send_to(&[0; 22], target)?;
    dropped_at(peer, || {
        for _ in 0..BURST {
            sender.send_to(&[0; 22], target)?;
        }
        Ok(())
    })
}

/// Instructions of the peer's part: from its call until the frame is dropped where it enters the host's port, with no bond.
fn sending(machine: &Machine) -> Result<f64> {
    let host = machine.host();
    machine.rig.add_address(host, PORT, &format!("{HOST}/24"))?;
    machine.wait_peer(&[PEER])?;
    let sender = machine.rig.peer.run(|| UdpSocket::bind((PEER, 0)))?;
    let target: SocketAddr = format!("{HOST}:9").parse()?;
    sender.send_to(&[0; 22], target)?;
    let cost = dropped_at(host, || {
        for _ in 0..BURST {
            sender.send_to(&[0; 22], target)?;
        }
        Ok(())
    });
    host.ip(&format!("address del {HOST}/24 dev {PORT}"))?;
    cost
}

/// Instructions from where the frame enters the host's port to the end of the reader's call: the whole way, less the peer's
/// part of it.
fn receive(machine: &Machine, sending: f64) -> Result<f64> {
    let receiver = machine.host().run(|| UdpSocket::bind((HOST, 0)))?;
    receiver.set_read_timeout(Some(Duration::from_secs(5)))?;
    let sender = machine.rig.peer.run(|| UdpSocket::bind((PEER, 0)))?;
    sender.connect(receiver.local_addr()?)?;
    let mut buffer = [0; 64];
    let whole = per_packet(|| {
        for _ in 0..BURST {
            sender.send(&[0; 22])?;
        }
        for _ in 0..BURST {
            receiver
                .recv(&mut buffer)
                .context("a packet did not arrive")?;
        }
        Ok(())
    })?;
    Ok(whole - sending)
}

/// The cost of a packet of a burst whose frames are dropped where they enter a namespace.
fn dropped_at(namespace: &Namespace, burst: impl FnMut() -> Result<()>) -> Result<f64> {
    namespace.execute("tc", &format!("qdisc add dev {PORT} clsact"))?;
    namespace.execute(
        "tc",
        &format!("filter add dev {PORT} ingress matchall action drop"),
    )?;
    let cost = per_packet(burst);
    namespace.execute("tc", &format!("qdisc del dev {PORT} clsact"))?;
    cost
}

/// The mean cost of a packet, for bursts of [`BURST`].
fn per_packet(mut burst: impl FnMut() -> Result<()>) -> Result<f64> {
    // Caches of the kernel's own: routes, neighbours, allocators.
    burst()?;
    let start = Instant::now();
    for _ in 0..PACKETS / BURST {
        burst()?;
    }
    let packets = (PACKETS / BURST * BURST) as f64;
    Ok(start.elapsed().as_nanos() as f64 * INSTRUCTIONS_PER_NS / packets)
}
