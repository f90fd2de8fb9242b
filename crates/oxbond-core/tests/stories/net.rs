//! A small network around a bond: ports on switches that flood, targets that answer, paths that die with their carrier on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use oxbond_core::action::Action;
use oxbond_core::input::{Input, ProbePath};
use oxbond_core::time::Instant;
use oxbond_wire::MacAddr;
use oxbond_wire::arp::{self, Arp, Operation};
use oxbond_wire::ethernet::{EtherType, Header};
use oxbond_wire::ndp::{ALL_NODES, ALL_NODES_MAC, NeighbourAdvertisement, NeighbourSolicitation};

use crate::rig::Rig;

/// Address of every target, which is also how it is told from the bond.
pub(crate) const TARGET_MAC: MacAddr = MacAddr([2, 0xaa, 0, 0, 0, 1]);
/// A host that has nothing to do with the bond.
pub(crate) const OTHER_MAC: MacAddr = MacAddr([2, 0xbb, 0, 0, 0, 1]);
/// Where the bond asks from.
pub(crate) const OWN_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

/// From the question to the answer.
const ROUND_TRIP_MS: u64 = 1;

pub(crate) struct Net {
    pub(crate) rig: Rig,
    /// Paths that carry nothing, either way, though the port has carrier.
    pub(crate) cut: BTreeSet<String>,
    /// Paths that carry nothing from us; what the switch itself floods still comes.
    pub(crate) mute: BTreeSet<String>,
    /// Targets that answer, and the VLANs they are in.
    pub(crate) targets: BTreeMap<IpAddr, Vec<u16>>,
    /// The switches are one link aggregation: our own frames do not come back.
    pub(crate) aggregates: bool,
    /// Something on the way rewrites what is behind a message.
    pub(crate) strips_padding: bool,
    /// Frames that others send, every so many milliseconds, to these ports.
    pub(crate) noise: Vec<(u64, String, Vec<u8>)>,
    /// Where the switches saw an address last.
    learned: BTreeMap<MacAddr, String>,
    under_way: Vec<(u64, String, Vec<u8>)>,
    heard: BTreeMap<String, (Option<Instant>, Option<Instant>)>,
    /// Probes: when, on which port, what.
    pub(crate) probes: Vec<(u64, String, Vec<u8>)>,
    /// Everything else asked for.
    pub(crate) log: Vec<(u64, Action)>,
}

impl Net {
    /// A bond that is up, with these ports, on a network where everything works. Asks 10.0.0.1 unless told otherwise.
    pub(crate) fn new(options: &[&str], ports: &[&str]) -> Self {
        let mut words = vec!["arp_interval=100"];
        if !options.iter().any(|word| word.contains("target=")) {
            words.push("arp_ip_target=10.0.0.1");
        }
        words.retain(|word| {
            let name = word.split_once('=').unwrap().0;
            !options.iter().any(|other| other.starts_with(name))
        });
        words.extend(options);
        let rig = Rig::new(&words, ports);
        let mut net = Self {
            rig,
            cut: BTreeSet::new(),
            mute: BTreeSet::new(),
            targets: BTreeMap::new(),
            aggregates: false,
            strips_padding: false,
            noise: Vec::new(),
            learned: BTreeMap::new(),
            under_way: Vec::new(),
            heard: BTreeMap::new(),
            probes: Vec::new(),
            log: Vec::new(),
        };
        for path in net.tell_paths() {
            net.targets.insert(path.target, path.vlans);
        }
        net
    }

    /// Tells the bond that all its targets are on its own link. Answers the paths.
    pub(crate) fn tell_paths(&mut self) -> Vec<ProbePath> {
        let options = self.rig.bond.options().clone();
        let v4 = options.arp_ip_target.iter().map(|ip| IpAddr::V4(*ip));
        let v6 = options.ns_ip6_target.iter().map(|ip| IpAddr::V6(*ip));
        let paths: Vec<ProbePath> = v4.chain(v6).map(path).collect();
        self.rig.tell(Input::ProbePaths {
            paths: paths.clone(),
        });
        paths
    }

    pub(crate) fn set(&mut self, words: &[&str]) {
        self.rig.set(words).unwrap();
    }

    /// Lets time pass up to this moment of the story.
    pub(crate) fn at(&mut self, millis: u64) -> &mut Self {
        self.collect();
        for ms in self.rig.millis()..=millis {
            self.deliver(ms);
            let at = Instant::from_millis(1_000_000 + ms);
            if self.rig.bond.next_timeout().is_some_and(|next| next <= at) {
                self.tell_arrivals();
            }
            self.rig.at(ms);
            self.collect();
        }
        self
    }

    pub(crate) fn forward(&mut self, millis: u64) -> &mut Self {
        let until = self.rig.millis() + millis;
        self.at(until)
    }

    /// When this became true, looking every millisecond; panics when it does not within ten seconds.
    #[track_caller]
    pub(crate) fn when(&mut self, true_now: impl Fn(&Rig) -> bool) -> u64 {
        for _ in 0..10_000 {
            if true_now(&self.rig) {
                return self.rig.millis();
            }
            self.forward(1);
        }
        panic!("not within ten seconds; {:?}", self.story());
    }

    /// Events since the last look.
    pub(crate) fn story(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
            .into_iter()
            .filter_map(|(_, action)| match action {
                Action::Event(event) => Some(event.to_string()),
                _ => None,
            })
            .collect()
    }

    /// Hands a frame to a port now.
    pub(crate) fn receive(&mut self, port: &str, frame: Vec<u8>) {
        let neighbour = is_neighbour_discovery(&frame);
        let heard = self.heard.entry(port.to_owned()).or_default();
        heard.0 = Some(self.rig.now);
        if neighbour {
            heard.1 = Some(self.rig.now);
        }
        if neighbour && self.rig.table.tap.neighbours_received {
            let port = self.rig.id(port);
            self.rig.tell(Input::Received { port, frame });
        }
    }

    fn tell_arrivals(&mut self) {
        if !self.rig.table.tap.arrivals {
            return;
        }
        for (name, (any, neighbour)) in self.heard.clone() {
            if self.rig.ports().any(|known| known == name) {
                let port = self.rig.id(&name);
                self.rig.tell(Input::Arrivals {
                    port,
                    any,
                    neighbour,
                });
            }
        }
    }

    fn deliver(&mut self, ms: u64) {
        let noise = self
            .noise
            .iter()
            .filter(|(every, ..)| ms.is_multiple_of(*every));
        let noise: Vec<_> = noise
            .map(|(_, port, frame)| (ms, port.clone(), frame.clone()))
            .collect();
        self.under_way.extend(noise);
        let (due, later) = std::mem::take(&mut self.under_way)
            .into_iter()
            .partition(|(at, ..)| *at <= ms);
        self.under_way = later;
        for (_, port, frame) in due {
            let there = self.rig.ports().any(|name| name == port);
            if there && !self.cut.contains(&port) && self.rig.links[&port].is_usable() {
                self.rig.now = self.rig.now.max(Instant::from_millis(1_000_000 + ms));
                self.receive(&port, frame);
            }
        }
    }

    /// Takes over what the bond asked for; its probes go out.
    fn collect(&mut self) {
        for (ms, action) in std::mem::take(&mut self.rig.log) {
            if let Action::SendOnPort { port, frame } = &action {
                // Nobody speaks LACP here.
                if frame[12..14] == [0x88, 0x09] {
                    continue;
                }
                let name = self.rig.name_of(*port).to_owned();
                if is_neighbour_discovery(frame) {
                    self.probes.push((ms, name.clone(), frame.clone()));
                }
                assert!(self.rig.links[&name].is_usable(), "probe on a dead link");
                if !self.cut.contains(&name) && !self.mute.contains(&name) {
                    self.carry(ms, &name, frame);
                }
            } else {
                self.log.push((ms, action));
            }
        }
    }

    fn carry(&mut self, ms: u64, from: &str, frame: &[u8]) {
        let (header, payload) = Header::parse(frame).unwrap();
        self.learned.insert(header.source, from.to_owned());
        if !self.aggregates {
            let mut flooded = frame.to_vec();
            if self.strips_padding && header.ether_type == EtherType::Arp {
                flooded.truncate(header.len() + arp::LEN);
                flooded.resize(60, 0);
            }
            self.flood(ms, Some(from), &flooded);
        }
        let vlans: Vec<u16> = header.tags.iter().map(|tag| tag.id()).collect();
        let known = |ip: IpAddr| self.targets.get(&ip).is_some_and(|there| *there == vlans);
        if let Ok(asked) = Arp::parse(payload)
            && asked.operation == Operation::Request
            && known(asked.target_ip.into())
        {
            let reply = answer(&asked).frame(asked.sender_mac, &vlans);
            self.send_back(ms, asked.sender_mac, reply);
        } else if let Ok(asked) = NeighbourSolicitation::parse(payload)
            && known(asked.target.into())
        {
            let told = advertisement(&asked);
            if asked.source.is_unspecified() {
                let reply = told.frame(ALL_NODES_MAC, TARGET_MAC, &vlans);
                self.flood(ms, None, &reply);
            } else {
                let reply = told.frame(header.source, TARGET_MAC, &vlans);
                self.send_back(ms, header.source, reply);
            }
        }
    }

    fn send_back(&mut self, ms: u64, station: MacAddr, frame: Vec<u8>) {
        if let Some(port) = self.learned.get(&station) {
            self.under_way
                .push((ms + ROUND_TRIP_MS, port.clone(), frame));
        }
    }

    fn flood(&mut self, ms: u64, but: Option<&str>, frame: &[u8]) {
        let ports: Vec<String> = self.rig.ports().map(str::to_owned).collect();
        for port in ports.into_iter().filter(|port| Some(port.as_str()) != but) {
            self.under_way
                .push((ms + ROUND_TRIP_MS, port, frame.to_vec()));
        }
    }
}

/// On the bond's own link, asked from its own address.
pub(crate) fn path(target: IpAddr) -> ProbePath {
    let source = match target {
        IpAddr::V4(_) => IpAddr::V4(OWN_IP),
        IpAddr::V6(_) => IpAddr::V6(own_ipv6()),
    };
    ProbePath {
        target,
        source: Some(source),
        vlans: Vec::new(),
    }
}

pub(crate) fn own_ipv6() -> Ipv6Addr {
    "fd00::100".parse().unwrap()
}

/// ARP or IPv6: what is tapped, and what probes are. Learning frames are neither.
fn is_neighbour_discovery(frame: &[u8]) -> bool {
    let (header, _) = Header::parse(frame).unwrap();
    matches!(header.ether_type, EtherType::Arp | EtherType::Ipv6)
}

/// A target's answer.
pub(crate) fn answer(asked: &Arp) -> Arp {
    Arp {
        operation: Operation::Reply,
        sender_mac: TARGET_MAC,
        sender_ip: asked.target_ip,
        target_mac: asked.sender_mac,
        target_ip: asked.sender_ip,
    }
}

fn advertisement(asked: &NeighbourSolicitation) -> NeighbourAdvertisement {
    let anonymous = asked.source.is_unspecified();
    NeighbourAdvertisement {
        source: asked.target,
        destination: if anonymous { ALL_NODES } else { asked.source },
        router: false,
        solicited: !anonymous,
        override_cached: true,
        target: asked.target,
        target_mac: Some(TARGET_MAC),
    }
}
