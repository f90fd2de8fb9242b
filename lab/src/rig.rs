//! Wired topologies of namespaces: a host with ports, what they are plugged into, and a peer; with links to cut.
//!
//! ```text
//! OneSwitch      host  p0 ── sw0 ┐                      SwitchPerPort   host  p0 ── sw0  br0 ── up0 ── peer0  peer
//!                      p1 ── sw1 ┴ br0 ── up0 ── peer0                        p1 ── sw1  br1 ── (trunk to br0)
//!
//! Direct         host  p0 ─────── p0  peer               Cabled         host  p0 ── a0 ⇄ b0 ── p0  peer
//!                      p1 ─────── p1                                          p1 ── a1 ⇄ b1 ── p1
//! ```

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::machine::PATIENCE;
use crate::netns::{Namespace, has_flag};
use crate::proc::wait_until;

/// How a rig's ports are wired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// All ports in one bridge (`br0`), the peer's only interface `peer0` in it too.
    OneSwitch,
    /// Each port in a bridge of its own; the bridges are trunked to the first, which has the peer.
    SwitchPerPort,
    /// Each port joined straight to a port of the same name at the peer, for bond against bond. A cut sets the peer's
    /// port down: the peer sees its port administratively down, not without carrier.
    Direct,
    /// As `Direct`, with a cable between that can be cut: both ends lose carrier and stay administratively up. Passes every frame,
    /// LACP too. A port set down at one end does not take the other's carrier. Needs `cls_u32` and `act_mirred`.
    Cabled,
}

/// Which way a silent fault swallows frames; the link keeps its carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Frames from the host's port are lost.
    FromHost,
    /// Frames to the host's port are lost.
    ToHost,
    /// Both.
    Both,
}

/// What to build; [`Plan::build`] builds it.
#[derive(Debug, Clone)]
pub struct Plan {
    topology: Topology,
    ports: Vec<String>,
    mtu: u32,
    peer_addresses: Vec<String>,
}

impl Plan {
    /// A plan with ports of the given names, MTU 1500 and, where there is one interface to put them on, the peer
    /// addresses 10.77.0.1/24 and fd77::1/64.
    pub fn new(topology: Topology, ports: &[&str]) -> Self {
        Self {
            topology,
            ports: ports.iter().map(|&name| name.to_owned()).collect(),
            mtu: 1500,
            peer_addresses: vec!["10.77.0.1/24".to_owned(), "fd77::1/64".to_owned()],
        }
    }

    /// The MTU of every link, bytes.
    #[must_use]
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = mtu;
        self
    }

    /// Addresses with prefix length of `peer0`, instead of the default ones. Has no effect on `Direct` and `Cabled`
    /// rigs, whose peer has only ports.
    #[must_use]
    pub fn peer_addresses(mut self, addresses: &[&str]) -> Self {
        self.peer_addresses = addresses
            .iter()
            .map(|&address| address.to_owned())
            .collect();
        self
    }

    /// Makes the namespaces and links, all up, and waits until every switch forwards.
    ///
    /// # Errors
    /// If the kernel refuses a part; what was made goes away.
    pub fn build(self) -> Result<Rig> {
        ensure!(!self.ports.is_empty(), "a rig needs at least one port");
        let host = Namespace::new("host")?;
        let peer = Namespace::new("peer")?;
        let middle = match self.topology {
            Topology::Direct => None,
            Topology::Cabled => Some(Namespace::new("cable")?),
            Topology::OneSwitch | Topology::SwitchPerPort => Some(Namespace::new("switch")?),
        };
        if let Some(middle) = &middle {
            // The middle says nothing of its own: a capture shows only what the ends send.
            for scope in ["all", "default"] {
                middle.sysctl(&format!("net.ipv6.conf.{scope}.disable_ipv6"), "1")?;
            }
        }
        let rig = Rig {
            host,
            peer,
            middle,
            topology: self.topology,
            ports: self.ports.clone(),
        };
        match rig.topology {
            Topology::OneSwitch => self.wire_switches(&rig, 1)?,
            Topology::SwitchPerPort => self.wire_switches(&rig, self.ports.len())?,
            Topology::Direct => self.wire_direct(&rig)?,
            Topology::Cabled => self.wire_cables(&rig)?,
        }
        rig.wait_ready(PATIENCE)?;
        Ok(rig)
    }

    fn wire_switches(&self, rig: &Rig, switches: usize) -> Result<()> {
        let middle = rig.middle()?;
        for switch in 0..switches {
            // Snooping would need a querier before it floods or prunes predictably.
            middle.ip(&format!(
                "link add br{switch} mtu {} type bridge stp_state 0 mcast_snooping 0",
                self.mtu
            ))?;
            middle.set_link(&format!("br{switch}"), true)?;
        }
        for switch in 1..switches {
            let (near, far) = (format!("trunk{switch}"), format!("core{switch}"));
            self.join(middle, &near, middle, &far)?;
            middle.ip(&format!("link set {near} master br{switch}"))?;
            middle.ip(&format!("link set {far} master br0"))?;
        }
        self.join(middle, "up0", &rig.peer, "peer0")?;
        middle.ip("link set up0 master br0")?;
        for address in &self.peer_addresses {
            rig.add_address(&rig.peer, "peer0", address)?;
        }
        for (index, port) in self.ports.iter().enumerate() {
            let there = format!("sw{index}");
            self.join(&rig.host, port, middle, &there)?;
            middle.ip(&format!("link set {there} master br{}", index % switches))?;
        }
        Ok(())
    }

    fn wire_direct(&self, rig: &Rig) -> Result<()> {
        self.ports
            .iter()
            .try_for_each(|port| self.join(&rig.host, port, &rig.peer, port))
    }

    fn wire_cables(&self, rig: &Rig) -> Result<()> {
        let middle = rig.middle()?;
        for (index, port) in self.ports.iter().enumerate() {
            let (a, b) = (format!("a{index}"), format!("b{index}"));
            self.join(&rig.host, port, middle, &a)?;
            self.join(&rig.peer, port, middle, &b)?;
            for end in [&a, &b] {
                middle.execute("tc", &format!("qdisc add dev {end} clsact"))?;
            }
            connect(middle, &a, &b)?;
            connect(middle, &b, &a)?;
        }
        Ok(())
    }

    /// A veth pair with its ends in two namespaces, both up.
    fn join(&self, here: &Namespace, name: &str, there: &Namespace, other: &str) -> Result<()> {
        let mtu = self.mtu;
        here.ip(&format!(
            "link add {name} mtu {mtu} type veth peer name {other} mtu {mtu} netns {}",
            there.path()
        ))?;
        here.set_link(name, true)?;
        there.set_link(other, true)
    }
}

/// Passes every frame that comes in at `from` out at `to`.
fn connect(middle: &Namespace, from: &str, to: &str) -> Result<()> {
    let redirect = "protocol all prio 1 u32 match u32 0 0 action mirred egress redirect dev";
    middle
        .execute(
            "tc",
            &format!("filter replace dev {from} ingress {redirect} {to}"),
        )
        .map(drop)
}

/// Undoes [`connect`].
fn disconnect(middle: &Namespace, from: &str) -> Result<()> {
    middle
        .execute("tc", &format!("filter del dev {from} ingress prio 1"))
        .map(drop)
}

/// A built topology. Dropping it drops its namespaces and with them every link.
#[derive(Debug)]
pub struct Rig {
    /// The machine whose ports are bonded.
    pub host: Namespace,
    /// The machine it talks to.
    pub peer: Namespace,
    middle: Option<Namespace>,
    topology: Topology,
    ports: Vec<String>,
}

impl Rig {
    /// The names of the host's ports, in order.
    pub fn ports(&self) -> &[String] {
        &self.ports
    }

    /// What lies between host and peer: the switches or the cables, with the interfaces that the module's drawing names.
    ///
    /// # Errors
    /// On a `Direct` rig, where nothing does.
    pub fn middle(&self) -> Result<&Namespace> {
        self.middle
            .as_ref()
            .context("a direct rig has nothing between host and peer: use Topology::Cabled")
    }

    /// Adds an address with prefix length to an interface; IPv6 without duplicate address detection, usable at once.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn add_address(&self, namespace: &Namespace, interface: &str, address: &str) -> Result<()> {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        namespace
            .ip(&format!("address add {address} dev {interface}{nodad}"))
            .map(drop)
    }

    /// Takes the carrier from the host's port `index` and returns the moment just before.
    ///
    /// # Errors
    /// If there is no such port.
    pub fn cut(&self, index: usize) -> Result<Instant> {
        self.check(index)?;
        let before = Instant::now();
        self.set_far_ends(index, false)?;
        Ok(before)
    }

    /// Makes port `index` swallow frames while its carrier stays, until [`Self::restore`].
    ///
    /// On a switch this is done by bridge port settings, so it holds for what the switch passes on, and the switch
    /// forgets the addresses it had learned on the port. `FromHost` on a switch needs Linux 5.18 (locked ports).
    ///
    /// # Errors
    /// If there is no such port, or on a `Direct` rig.
    pub fn blackhole(&self, index: usize, way: Way) -> Result<Instant> {
        self.check(index)?;
        let middle = self.middle()?;
        let (from_host, to_host) = (way != Way::ToHost, way != Way::FromHost);
        let before = Instant::now();
        if self.topology == Topology::Cabled {
            if from_host {
                disconnect(middle, &format!("a{index}"))?;
            }
            if to_host {
                disconnect(middle, &format!("b{index}"))?;
            }
        } else {
            // With nothing learned on the port, nothing is sent to it but floods, and a locked port takes in no frame
            // whose source was not learned there.
            let locked = if from_host { "locked on" } else { "" };
            let deaf = if to_host {
                "flood off mcast_flood off bcast_flood off"
            } else {
                ""
            };
            let settings = format!("learning off {locked} {deaf} fdb_flush");
            middle.ip(&format!(
                "link set dev sw{index} type bridge_slave {settings}"
            ))?;
        }
        Ok(before)
    }

    /// Undoes [`Self::cut`] and [`Self::blackhole`] on port `index` and returns the moment just after. The switch may
    /// need a while before it forwards again, as real ones do: [`Self::wait_ready`].
    ///
    /// # Errors
    /// If there is no such port.
    pub fn restore(&self, index: usize) -> Result<Instant> {
        self.check(index)?;
        match self.topology {
            Topology::Direct => {}
            Topology::Cabled => {
                let middle = self.middle()?;
                let (a, b) = (format!("a{index}"), format!("b{index}"));
                connect(middle, &a, &b)?;
                connect(middle, &b, &a)?;
            }
            Topology::OneSwitch | Topology::SwitchPerPort => {
                let settings = "learning on flood on mcast_flood on bcast_flood on";
                let middle = self.middle()?;
                middle.ip(&format!(
                    "link set dev sw{index} type bridge_slave {settings}"
                ))?;
                if middle.link(&format!("sw{index}"))?["linkinfo"]["info_slave_data"]["locked"]
                    == true
                {
                    middle.ip(&format!(
                        "link set dev sw{index} type bridge_slave locked off"
                    ))?;
                }
            }
        }
        self.set_far_ends(index, true)?;
        Ok(Instant::now())
    }

    /// Waits until every port that is up at both ends has carrier and every switch forwards on its ports.
    ///
    /// # Errors
    /// When `deadline` passes first; the text names what is not ready.
    pub fn wait_ready(&self, deadline: Duration) -> Result<()> {
        let mut missing = String::new();
        let waited = wait_until(deadline, "the rig is ready", || match self.not_ready() {
            Ok(None) => true,
            Ok(Some(what)) => {
                missing = what;
                false
            }
            Err(error) => {
                missing = format!("{error:#}");
                false
            }
        });
        waited
            .map(drop)
            .with_context(|| format!("not ready: {missing}"))
    }

    fn not_ready(&self) -> Result<Option<String>> {
        for index in 0..self.ports.len() {
            for [near, far] in self.joints(index) {
                let [here, there] = [near.0.link(&near.1)?, far.0.link(&far.1)?];
                if has_flag(&here, "UP") && has_flag(&there, "UP") && !has_flag(&here, "LOWER_UP") {
                    return Ok(Some(format!(
                        "{} in {} has no carrier",
                        near.1,
                        near.0.label()
                    )));
                }
            }
        }
        let Some(middle) = &self.middle else {
            return Ok(None);
        };
        let holds_back = |link: &serde_json::Value| {
            has_flag(link, "LOWER_UP")
                && link["linkinfo"]["info_slave_data"]["state"] != "forwarding"
        };
        let bridge_ports = middle.ip_json("link show type bridge_slave")?;
        Ok(bridge_ports
            .iter()
            .find(|link| holds_back(link))
            .map(|link| format!("{} does not forward", link["ifname"])))
    }

    /// The veth pairs that port `index` hangs on, the end at the host or peer first.
    fn joints(&self, index: usize) -> Vec<[(&Namespace, String); 2]> {
        let port = &self.ports[index];
        let host = (&self.host, port.clone());
        let peer = (&self.peer, port.clone());
        match (self.topology, &self.middle) {
            (Topology::Cabled, Some(middle)) => {
                vec![
                    [host, (middle, format!("a{index}"))],
                    [peer, (middle, format!("b{index}"))],
                ]
            }
            (Topology::OneSwitch | Topology::SwitchPerPort, Some(middle)) => {
                vec![[host, (middle, format!("sw{index}"))]]
            }
            (_, None) | (Topology::Direct, _) => vec![[host, peer]],
        }
    }

    fn set_far_ends(&self, index: usize, up: bool) -> Result<()> {
        self.joints(index)
            .iter()
            .try_for_each(|[_, (namespace, name)]| namespace.set_link(name, up))
    }

    fn check(&self, index: usize) -> Result<()> {
        ensure!(
            index < self.ports.len(),
            "the rig has no port {index}: it has {:?}, counted from 0",
            self.ports
        );
        Ok(())
    }
}
