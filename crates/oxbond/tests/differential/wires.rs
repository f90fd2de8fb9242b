//! Ports with cables: pairs of interfaces between a host and a peer that only listens.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use oxbond_lab::capture::Capture;
use oxbond_lab::netns::Namespace;
use oxbond_lab::proc::wait_until;
use oxbond_linux::netlink::Netlink;
use oxbond_linux::packet::FrameSender;
use oxbond_wire::MacAddr;

use crate::frames::{Kind, Tally, frame, number};
use crate::script::{PORTS, Port};

/// Longest time for the last frame to arrive behind the others.
pub(crate) const QUIET: Duration = Duration::from_millis(60);

/// A host with four ports, all shut, their cables plugged in.
pub(crate) struct Wires {
    pub(crate) host: Namespace,
    peer: Namespace,
}

impl Wires {
    pub(crate) fn new() -> Result<Self> {
        let wires = Self {
            host: Namespace::new("host")?,
            peer: Namespace::new("peer")?,
        };
        for side in [&wires.host, &wires.peer] {
            for scope in ["all", "default"] {
                // Nothing but what a script sends.
                side.sysctl(&format!("net.ipv6.conf.{scope}.disable_ipv6"), "1")?;
            }
        }
        let peer = wires.peer.path();
        let pair = |port: Port| {
            let (mac, far) = (port.mac(), port.far());
            format!("link add {port} address {mac} type veth peer name {far} netns {peer}\n")
        };
        // One process for all: under user-mode Linux each costs some 30 ms.
        let batch: String = PORTS.into_iter().map(pair).collect();
        let mut ip = wires
            .host
            .command("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()?;
        ip.stdin
            .take()
            .context("a pipe was asked for")?
            .write_all(batch.as_bytes())?;
        ensure!(ip.wait()?.success(), "`ip` refused:\n{batch}");
        for port in PORTS {
            wires.plug(port, true)?;
        }
        Ok(wires)
    }

    /// Plugs a port's cable in, or takes it out.
    pub(crate) fn plug(&self, port: Port, there: bool) -> Result<()> {
        self.peer.set_link(&port.far(), there)
    }

    /// Puts a switch with a station behind the cables, and gives the bond an address beside the station's.
    pub(crate) fn station(&self) -> Result<()> {
        self.peer
            .ip("link add br0 type bridge stp_state 0 mcast_snooping 0")?;
        self.peer.ip("address add 10.9.0.2/24 dev br0")?;
        self.peer.ip("link set br0 up")?;
        for port in PORTS {
            self.answer(port, true)?;
        }
        self.host.ip("address add 10.9.0.1/24 dev bond0")?;
        Ok(())
    }

    /// Connects a cable to the station's switch, or leaves it with a link that leads nowhere.
    pub(crate) fn answer(&self, port: Port, there: bool) -> Result<()> {
        let master = if there { "master br0" } else { "nomaster" };
        self.peer.ip(&format!("link set {} {master}", port.far()))?;
        Ok(())
    }

    /// Sends frames through the bond and counts them at the far ends.
    pub(crate) fn send(&self, kind: Kind, count: usize) -> Result<Tally> {
        let start = |port: Port| Ok((port, Capture::start(&self.peer, &port.far())?));
        let captures: Vec<_> = PORTS.into_iter().map(start).collect::<Result<_>>()?;
        let refused = self.host.run(|| -> Result<usize> {
            let bond = Netlink::open()?
                .link("bond0")?
                .context("there is no bond")?;
            let own = bond.mac.context("a bond without an address")?;
            let sender = FrameSender::open()?;
            let frames =
                (0..count).map(|number| frame(kind, u16::try_from(number).unwrap_or(0), own));
            // A bond without a port takes no frames: they are lost all the same.
            Ok(frames
                .filter(|frame| sender.send(bond.index, frame).is_err())
                .count())
        })?;
        let arrived = || {
            captures
                .iter()
                .map(|(_, capture)| capture.frames().len())
                .sum::<usize>()
        };
        // More may come in broadcast, fewer where some are dropped: then it is quiet after a while.
        let _ = wait_until(QUIET, "all frames have arrived", || {
            arrived() + refused >= count
        });
        let mut tally = Tally::new(count);
        for (port, capture) in captures {
            let frames = capture.stop()?;
            for frame in frames.iter().filter(|frame| !frame.outgoing) {
                if let Some(number) = number(&frame.data) {
                    tally.seen(number, port, MacAddr(frame.source()));
                }
            }
        }
        Ok(tally)
    }
}
