//! The programs and the core decide alike: hash, choice of port and what is changed, in C and in Rust, on the same frames.
#![allow(clippy::unwrap_used, reason = "tests state their expectations so")]

mod common;

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use common::{Stand, port};
use oxbond_core::buckets::Share;
use oxbond_core::hash::hash;
use oxbond_core::input::TAPPED_LEN;
use oxbond_core::option::HashPolicy;
use oxbond_core::port::PortId;
use oxbond_core::route::{Fate, Outgoing};
use oxbond_core::table::{
    BALANCE_BUCKETS, BucketKey, Buckets, Exempt, LINGER, PortStanding, Receive, Spread, Stations,
    Tap, TransmitTable,
};
use oxbond_datapath::{Counters, DataPath, PinnedProgram, Probe, Record, TestInput};
use oxbond_lab::machine::PATIENCE;
use oxbond_wire::MacAddr;
use serde_json::Value;

const FRAMES: usize = 100_000;

/// A small generator of numbers (xorshift64*): the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// A frame that looks like something, or like nothing, whole or cut short.
    fn frame(&mut self) -> Vec<u8> {
        let tail = self.below(80);
        let mut frame = self.bytes(14);
        match self.below(10) {
            0..4 => {
                frame[12..14].copy_from_slice(&[0x08, 0x00]);
                let header = self.ipv4(0);
                frame.extend(header);
            }
            4..7 => {
                frame[12..14].copy_from_slice(&[0x86, 0xdd]);
                let header = self.ipv6(0);
                frame.extend(header);
            }
            7 => {
                frame[12..14].copy_from_slice(&[0x81, 0x00]);
                frame.extend(self.bytes(2));
                frame.extend([0x08, 0x00]);
                let header = self.ipv4(0);
                frame.extend(header);
            }
            8 => frame[12..14].copy_from_slice(&[0x08, 0x06]),
            _ => {}
        }
        frame.extend(self.bytes(tail));
        frame.truncate(2000);
        if self.below(4) == 0 {
            frame.truncate(14 + self.below(frame.len() - 13));
        }
        frame
    }

    fn ipv4(&mut self, depth: usize) -> Vec<u8> {
        let words = if self.below(8) == 0 {
            self.below(16)
        } else {
            5
        };
        let mut ip = self.bytes(20.max(4 * words));
        ip[0] = 0x40 | words as u8;
        if self.below(4) != 0 {
            ip[6..8].copy_from_slice(&[self.pick(&[0x00, 0x40]), 0]);
        }
        ip[9] = self.pick(&[
            1, 1, 6, 6, 17, 17, 33, 50, 51, 58, 132, 136, 4, 4, 41, 47, 47, 47, 44, 60, 89,
        ]);
        let protocol = ip[9];
        ip.extend(self.payload(protocol, depth));
        ip
    }

    fn ipv6(&mut self, depth: usize) -> Vec<u8> {
        let mut ip = self.bytes(40);
        ip[6] = self.pick(&[
            58, 58, 6, 6, 17, 17, 0, 1, 33, 43, 44, 50, 51, 60, 132, 136, 4, 41, 41, 47, 47, 0, 43,
            60,
        ]);
        let protocol = ip[6];
        ip.extend(self.payload(protocol, depth));
        ip
    }

    /// What follows an IP header; tunnels down to a few within each other.
    fn payload(&mut self, protocol: u8, depth: usize) -> Vec<u8> {
        const DEEPEST: usize = 20;
        match protocol {
            _ if depth == DEEPEST => return Vec::new(),
            4 => return self.ipv4(depth + 1),
            41 => return self.ipv6(depth + 1),
            47 => return self.gre(depth + 1),
            0 | 43 | 44 | 60 => return self.extension(depth + 1),
            1 | 58 => {}
            _ => return Vec::new(),
        }
        let mut icmp = self.bytes(8);
        icmp[0] = self.pick(&[
            0, 1, 2, 3, 4, 5, 8, 11, 12, 13, 14, 17, 127, 128, 129, 130, 135,
        ]);
        if self.below(4) == 0 {
            icmp[4..6].fill(0);
        }
        let mut quoted = self.bytes(60);
        if protocol == 1 {
            quoted[0] = 0x45 + (self.below(8) == 0) as u8;
            quoted[6..8].fill(0);
            quoted[9] = self.pick(&[1, 6, 17, 51, 132]);
        } else {
            quoted[6] = self.pick(&[58, 6, 17, 51, 132]);
        }
        icmp.extend(quoted);
        icmp
    }
}

impl Random {
    /// An IPv6 extension header, and what follows.
    fn extension(&mut self, depth: usize) -> Vec<u8> {
        let protocol = self.pick(&[0, 43, 60, 60, 44, 6, 17, 41, 4, 47, 58, 59]);
        let mut header = self.bytes(8);
        (header[0], header[1]) = (protocol, 0);
        if self.below(4) == 0 {
            header[1] = self.pick(&[1, 1, 60]);
            header.extend(self.bytes(8 * usize::from(header[1])));
        }
        header.extend(self.payload(protocol, depth));
        header
    }

    fn gre(&mut self, depth: usize) -> Vec<u8> {
        let mut header: Vec<u8> = vec![self.pick(&[0, 0, 0x80, 0x20, 0x10, 0xb0, 0xa0, 0x0f]), 0];
        match self.below(20) {
            0 => header[0] |= 0x40,
            1 => header[1] = self.pick(&[1, 2, 7, 0xf8]),
            _ => {}
        }
        let words = (header[0] & 0xb0).count_ones() as usize;
        let ethernet = self.below(3) == 0;
        let kind = self.ethertype();
        header.extend(if ethernet { [0x65, 0x58] } else { kind });
        header.extend(self.bytes(4 * words));
        if ethernet {
            header.extend(self.bytes(12));
            header.extend(kind);
        }
        header.extend(self.behind(kind, depth));
        header
    }

    fn ethertype(&mut self) -> [u8; 2] {
        self.pick(&[
            [0x08, 0x00],
            [0x08, 0x00],
            [0x86, 0xdd],
            [0x86, 0xdd],
            [0x81, 0x00],
            [0x88, 0xa8],
            [0x08, 0x06],
            [0x80, 0x35],
            [0x88, 0x47],
            [0x65, 0x58],
        ])
    }

    /// What follows an EtherType within a tunnel.
    fn behind(&mut self, kind: [u8; 2], depth: usize) -> Vec<u8> {
        match kind {
            _ if depth > 20 => Vec::new(),
            [0x08, 0x00] => self.ipv4(depth),
            [0x86, 0xdd] => self.ipv6(depth),
            [0x81, 0x00] | [0x88, 0xa8] => {
                let kind = self.ethertype();
                let mut tag = self.bytes(2);
                tag.extend(kind);
                tag.extend(self.behind(kind, depth + 1));
                tag
            }
            _ => Vec::new(),
        }
    }
}

#[test]
fn root_hash_agrees_on_random_frames() -> Result<()> {
    let probe = Probe::load()?;
    let mut random = Random(0x6f78_626f_6e64);
    // Frames of which more than the Ethernet header counted, by policy.
    let mut counts = vec![0; HashPolicy::ALL.len()];
    for _ in 0..FRAMES {
        let frame = random.frame();
        let tag = random.pick(&[0, 0, 1, 0x6fff, 0xffff]);
        let ethernet = hash(HashPolicy::Layer2, &frame, tag);
        for (count, policy) in counts.iter_mut().zip(HashPolicy::ALL) {
            let ours = hash(*policy, &frame, tag);
            let theirs = probe
                .hash(*policy, &frame, tag)
                .with_context(|| format!("{frame:02x?}"))?;
            assert_eq!(theirs, ours, "{policy} of {frame:02x?}, tag {tag:#x}");
            *count += usize::from(ours != ethernet);
        }
    }
    assert!(
        counts[1..].iter().all(|count| *count > FRAMES / 4),
        "{counts:?}"
    );
    Ok(())
}

#[test]
fn root_hash_agrees_with_the_measured_driver() -> Result<()> {
    let probe = Probe::load()?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../oxbond-core/tests/data/xmit-hash-vectors.json");
    let vectors: Vec<Value> = serde_json::from_str(&fs::read_to_string(file)?)?;
    let mut checked = 0;
    for vector in &vectors {
        let text = |key: &str| vector[key].as_str().context("not a text");
        let policy = *HashPolicy::ALL
            .iter()
            .find(|policy| text("policy").ok() == Some(policy.word()))
            .context("an unknown policy")?;
        let hex = text("frame")?;
        let frame: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16))
            .collect::<Result<_, _>>()?;
        let hash = u64::from(probe.hash(policy, &frame, 0)?);
        let members = vector["members"].as_u64().context("not a number")?;
        assert_eq!(vector["egress"][0], hash % members, "{vector}");
        checked += 1;
    }
    assert_eq!(checked, 408);
    Ok(())
}

const BOND: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb0]);

/// Frames that are treated apart in one mode or another.
impl Random {
    fn any_frame(&mut self) -> Vec<u8> {
        let mut frame = match self.below(3) {
            0 => self.frame(),
            1 => self.neighbour(),
            _ => self.special(),
        };
        // Kernels do not run programs on less.
        frame.resize(frame.len().max(54), 0);
        frame
    }

    fn mac(&mut self) -> [u8; 6] {
        let port = self.below(5) as u8;
        self.pick(&[
            BOND.octets(),
            station(port).octets(),
            [2, 9, 9, 9, 9, 9],
            [0xff; 6],
            [0x33, 0x33, 0, 0, 0, 1],
        ])
    }

    /// An ARP message, or neighbour discovery, perhaps behind tags, perhaps cut short.
    fn neighbour(&mut self) -> Vec<u8> {
        let mut frame = [self.mac(), self.mac()].concat();
        for _ in 0..self.pick(&[0, 0, 0, 1, 2, 3]) {
            frame.extend(self.pick(&[[0x81, 0x00], [0x88, 0xa8]]));
            frame.extend(self.bytes(2));
        }
        let address = self.mac();
        if self.below(2) == 0 {
            frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, self.pick(&[1, 2, 2, 2])]);
            frame.extend(address);
            frame.extend(self.bytes(14));
        } else {
            frame.extend([
                0x86,
                0xdd,
                0x60,
                0,
                0,
                0,
                0,
                32,
                self.pick(&[58, 58, 58, 17]),
                255,
            ]);
            frame.extend(self.bytes(32));
            frame.extend([self.pick(&[135, 136, 136, 136, 134]), 0]);
            frame.extend(self.bytes(2));
            frame.push(self.pick(&[0x20, 0x60, 0x60, 0xe0]));
            frame.extend(self.bytes(19));
            for _ in 0..self.pick(&[0, 0, 0, 1, 4]) {
                frame.extend([self.pick(&[1, 14]), self.pick(&[1, 1, 1, 2, 0])]);
                frame.extend(self.bytes(6));
            }
            frame.extend([2, self.pick(&[1, 1, 1, 2])]);
            frame.extend(address);
        }
        if self.below(4) == 0 {
            frame.truncate(14 + self.below(frame.len() - 13));
        }
        frame.extend(vec![0; self.pick(&[0, 0, 18, 200])]);
        frame
    }

    /// IP to addresses that some modes treat apart, control frames.
    fn special(&mut self) -> Vec<u8> {
        let mut frame = [self.mac(), self.mac()].concat();
        match self.below(4) {
            0 => {
                frame.extend([0x08, 0x00]);
                let mut header = self.ipv4(0);
                header[9] = self.pick(&[2, 2, 17]);
                header[16..20].copy_from_slice(&self.pick(&[[0xff; 4], [10, 0, 0, 1]]));
                frame.extend(header);
            }
            1 => {
                frame.extend([0x86, 0xdd]);
                let mut header = self.ipv6(0);
                if self.below(2) == 0 {
                    header[8..24].fill(0);
                }
                if self.below(2) == 0 {
                    header[24..40].fill(0);
                    header[24..26].copy_from_slice(&[0xff, 2]);
                    header[39] = self.pick(&[1, 1, 2]);
                }
                frame.extend(header);
            }
            2 => {
                let last = self.pick(&[0x02, 0x02, 0x0e, 0x10]);
                frame[..6].copy_from_slice(&[0x01, 0x80, 0xc2, 0, 0, last]);
                frame.extend(self.pick(&[[0x88, 0x09], [0x88, 0xcc]]));
                frame.extend(self.bytes(110));
            }
            _ => {
                frame.extend(self.pick(&[[0x90, 0x00], [0x08, 0x00], [0x86, 0xdd]]));
                frame.extend(self.bytes(60));
            }
        }
        frame
    }

    /// A table of any mode, and of some that are none.
    fn table(&mut self, order: Vec<PortId>) -> TransmitTable {
        let seen = self.next() as u32;
        let policy = self.pick(HashPolicy::ALL);
        let packets_per_port = 1 + self.below(3) as u16;
        let key = self.pick(&[
            BucketKey::Hash(policy),
            BucketKey::Sequence { packets_per_port },
            BucketKey::Destination,
        ]);
        let weighted = |port: &PortId| Share {
            port: *port,
            weight: self.pick(&[1, 1, 2, 10]),
        };
        let shares: Vec<Share> = order.iter().map(weighted).collect();
        let usable = |port: PortId| seen & port.bit() != 0;
        let mut buckets = Buckets::weighted(key, &shares, None, usable);
        buckets.exempt = self.pick(&[
            Exempt::Nothing,
            Exempt::Igmp,
            Exempt::Unbalanced,
            Exempt::Negotiated,
        ]);
        if self.below(2) == 0 {
            for list in [&mut buckets.home, &mut buckets.spare, &mut buckets.now] {
                list.truncate(BALANCE_BUCKETS);
                list.iter_mut().for_each(|port| *port = self.pick(&order));
            }
            buckets.measured = true;
        }
        let spread = match self.below(6) {
            0 | 1 => Spread::Failover,
            2 => Spread::Broadcast,
            _ => Spread::Buckets(buckets),
        };
        let neighbours_to_all = self.below(4) == 0;
        let mut table = TransmitTable {
            receive: match self.below(4) {
                0 | 1 => Receive::Active,
                2 => Receive::ActiveAndOwn,
                _ => Receive::Ports(order[..self.below(order.len() + 1)].to_vec()),
            },
            neighbours_to_all,
            tap: Tap {
                neighbours_received: self.below(2) == 0,
                neighbours_sent: self.below(2) == 0,
                slow_protocols: self.below(2) == 0,
                arrivals: self.below(2) == 0,
            },
            ..TransmitTable::spread(spread, order)
        };
        if self.below(3) == 0 {
            table.queues = (0..3)
                .map(|queue| (queue * 2, port(self.below(5))))
                .collect();
        }
        if self.below(2) == 0 && table.spread != Spread::Broadcast && !neighbours_to_all {
            let address = |port: &PortId| match self.below(3) {
                0 => BOND,
                _ => station(port.index() as u8),
            };
            table.stations = Some(Stations {
                bond: BOND,
                ports: table.order.iter().map(address).collect(),
                clients: Vec::new(),
            });
        }
        if let Some(stations) = &mut table.stations
            && self.below(3) != 0
        {
            stations.clients = (0..BALANCE_BUCKETS).map(|_| port(self.below(5))).collect();
        }
        // Half of the tables are of the kinds that have a short way of their own.
        if self.below(2) == 0 {
            let spread = match table.spread {
                Spread::Buckets(buckets) => Spread::Buckets(Buckets {
                    key: BucketKey::Hash(policy),
                    exempt: Exempt::Nothing,
                    measured: false,
                    ..buckets
                }),
                _ => Spread::Failover,
            };
            table = TransmitTable {
                receive: table.receive,
                ..TransmitTable::spread(spread, table.order)
            };
        }
        table
    }
}

fn station(port: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, port])
}

fn set_of(ports: &[PortId]) -> u32 {
    ports.iter().fold(0, |set, port| set | port.bit())
}

/// What a run of a program did.
#[derive(Debug)]
struct Ran {
    returned: u32,
    frame: Vec<u8>,
    /// Counters that it raised.
    sent: Vec<PortId>,
    moved: bool,
    inactive: u64,
    tapped: Vec<(Option<PortId>, Vec<u8>)>,
}

fn ran(
    path: &mut DataPath,
    program: PinnedProgram,
    frame: &[u8],
    ifindex: u32,
    counters: &mut Counters,
) -> Result<Ran> {
    let before = counters.clone();
    let input = TestInput {
        repeat: 1,
        ifindex,
        cb: [0; 5],
    };
    let run = path.test_run(program, frame, input)?;
    let after = path.counters()?;
    *counters = after.clone();
    let raised = before.ports.iter().zip(&after.ports);
    let tapped = path.drain().into_iter().filter_map(|record| match record {
        Record::Frame(tapped) => Some((tapped.port, tapped.frame)),
        Record::Left(_) => None,
    });
    Ok(Ran {
        returned: run.returned,
        frame: run.frame,
        sent: raised
            .clone()
            .filter(|((_, before), (_, after))| after.tx_packets > before.tx_packets)
            .map(|((port, _), _)| *port)
            .collect(),
        moved: raised
            .clone()
            .any(|((_, before), (_, after))| after.tx_moved > before.tx_moved),
        inactive: raised
            .map(|((_, before), (_, after))| after.rx_inactive - before.rx_inactive)
            .sum(),
        tapped: tapped.collect(),
    })
}

fn cut_off(frame: &[u8]) -> Vec<u8> {
    frame[..frame.len().min(TAPPED_LEN)].to_vec()
}

/// Every kind of table and of frame, while links come and go: ports, rewriting, latches, copies, loads.
#[test]
fn root_everything_agrees_while_links_come_and_go() -> Result<()> {
    const PORTS: usize = 5;
    const ROUNDS: usize = 400;
    const REDIRECTED: u32 = 7;
    const DROPPED: u32 = 2;
    const PASSED: u32 = u32::MAX;
    let stand = Stand::new(&["p0", "p1", "p2", "p3", "p4"])?;
    // Nothing but the test's own frames, which go no further than the other end of each port.
    stand.host().set_link("bond0", false)?;
    let middle = stand.rig.middle()?;
    for index in 0..PORTS {
        middle.ip(&format!("link set sw{index} nomaster"))?;
        middle.sysctl(&format!("net.ipv6.conf.sw{index}.disable_ipv6"), "1")?;
    }
    let mut random = Random(0x0000_1eaf);
    stand.host().run(|| -> Result<()> {
        // Frames are numbered by processor.
        let mut one = rustix::thread::CpuSet::new();
        one.set(0);
        rustix::thread::sched_setaffinity(None, &one)?;
        let mut path = stand.install(None, &TransmitTable::failover(vec![]))?;
        let indices = (0..PORTS).map(|index| stand.port_ifindex(index));
        let indices = indices.collect::<Result<Vec<_>>>()?;
        let mut counters = path.counters()?;
        let mut carrier = (1 << PORTS) - 1;
        let mut table = path.table()?;
        // Between which moments the last port was left.
        let (mut left, mut left_at) = (0, [Instant::now(); 2]);
        let mut number = 0;
        let (mut moves, mut drops, mut changes, mut taps, mut strays) = (0, 0, 0, 0, 0);
        for round in 0..ROUNDS {
            if round % 4 == 0 {
                let toggled = random.below(PORTS);
                carrier ^= port(toggled).bit();
                set_carrier(&stand, toggled, carrier & port(toggled).bit() != 0)?;
            }
            if round % 2 == 0 {
                let mut order: Vec<PortId> = (0..PORTS).map(port).collect();
                for index in 0..PORTS {
                    order.swap(index, random.below(PORTS));
                }
                order.truncate(random.below(PORTS + 1));
                table = random.table(order);
                // The same table again would not be written, and the latches would stay.
                path.set_table(&TransmitTable::failover(vec![]))?;
                path.set_table(&table)?;
                assert_eq!(path.table()?, table);
                left = 0;
            }
            let mut loads = (vec![0; BALANCE_BUCKETS], 0);
            path.loads()?;
            for _ in 0..25 {
                let frame = random.any_frame();
                let standing = PortStanding { carrier, left };
                let outgoing = Outgoing {
                    frame: &frame,
                    tag: 0,
                    // The only one that a run can have.
                    queue: 0,
                    number: number + 1,
                };
                let route = table.route(&outgoing, standing);
                let begun = Instant::now();
                let ran = ran(&mut path, PinnedProgram::BondTx, &frame, 0, &mut counters)?;
                let told =
                    || format!("{route:x?}\n{ran:x?}\n{frame:02x?}\n{standing:x?}\n{table:x?}");
                assert_eq!(set_of(&ran.sent), set_of(&route.ports), "{}", told());
                assert_eq!(
                    ran.returned == DROPPED,
                    route.ports.is_empty(),
                    "{}",
                    told()
                );
                assert_eq!(
                    &ran.frame,
                    route.changed.as_ref().unwrap_or(&frame),
                    "{}",
                    told()
                );
                let copies = route.tapped.then(|| (None, cut_off(&frame)));
                assert_eq!(ran.tapped, Vec::from_iter(copies), "{}", told());
                if let [port] = route.ports[..] {
                    assert_eq!(
                        ran.moved,
                        route.planned.is_some_and(|planned| planned != port),
                        "{}",
                        told()
                    );
                    *match route.bucket {
                        Some(bucket) if bucket < BALANCE_BUCKETS => &mut loads.0[bucket],
                        _ => &mut loads.1,
                    } += frame.len() as u64;
                }
                if let Spread::Buckets(Buckets {
                    key: BucketKey::Sequence { .. },
                    ..
                }) = table.spread
                    && route.bucket.is_some()
                {
                    number += 1;
                }
                if route.left != 0 {
                    (left, left_at) = (left | route.left, [begun, Instant::now()]);
                }
                assert_eq!(path.left()?, left, "{}", told());
                moves += usize::from(route.left != 0);
                drops += usize::from(route.ports.is_empty());
                changes += usize::from(route.changed.is_some());
                taps += usize::from(route.tapped);
            }
            if let Spread::Buckets(Buckets {
                measured: true,
                now,
                ..
            }) = &table.spread
            {
                let told = path.loads()?.context("measured")?;
                loads.0.truncate(now.len());
                if !table.neighbours_to_all {
                    assert_eq!((told.buckets, told.exempt), loads, "{table:?}");
                }
            }
            for _ in 0..15 {
                let frame = random.any_frame();
                let at = random.below(PORTS);
                let standing = PortStanding { carrier, left };
                let begun = Instant::now();
                let ran = ran(
                    &mut path,
                    PinnedProgram::PortRx,
                    &frame,
                    indices[at],
                    &mut counters,
                )?;
                // For a moment nobody can say whether the time is up, and for longer when this thread had to wait.
                let (least, most) = (begun - left_at[1], left_at[0].elapsed());
                let recent = if most < LINGER { left } else { 0 };
                let arrival = table.arrive(port(at), &frame, standing, recent);
                let unclear =
                    left & port(at).bit() != 0 && most > LINGER * 3 / 4 && least < LINGER * 3 / 2;
                let told = || {
                    format!("{at} {arrival:x?}\n{ran:x?}\n{frame:02x?}\n{standing:x?}\n{table:x?}")
                };
                if arrival.left != 0 {
                    (left, left_at) = (left | arrival.left, [begun, Instant::now()]);
                }
                assert_eq!(path.left()?, left, "{}", told());
                if unclear {
                    strays += 1;
                    continue;
                }
                let (returned, inactive, delivered) = match &arrival.fate {
                    Fate::Delivered(changed) => (REDIRECTED, 0, changed.as_ref()),
                    Fate::Own => (PASSED, 0, None),
                    Fate::Consumed => (DROPPED, 0, None),
                    Fate::Inactive => (DROPPED, 1, None),
                };
                assert_eq!(
                    (ran.returned, ran.inactive),
                    (returned, inactive),
                    "{}",
                    told()
                );
                assert_eq!(&ran.frame, delivered.unwrap_or(&frame), "{}", told());
                let copies = arrival.tapped.then(|| (Some(port(at)), cut_off(&frame)));
                assert_eq!(ran.tapped, Vec::from_iter(copies), "{}", told());
                changes += usize::from(delivered.is_some());
                taps += usize::from(arrival.tapped);
            }
        }
        assert!(
            moves > 30 && drops > 30 && changes > 30 && taps > 30,
            "the test met {moves} departures, {drops} drops, {changes} changes, {taps} copies"
        );
        assert!(
            strays < ROUNDS * 15 / 4,
            "{strays} of {} arrivals not looked at",
            ROUNDS * 15
        );
        assert_eq!(path.counters()?.tx_no_port, drops as u64);
        Ok(path.remove()?)
    })
}

fn set_carrier(stand: &Stand, index: usize, carrier: bool) -> Result<()> {
    if carrier {
        stand.rig.middle()?.set_link(&format!("sw{index}"), true)?;
    } else {
        stand.rig.cut(index)?;
    }
    let name = &stand.rig.ports()[index];
    let deadline = Instant::now() + PATIENCE;
    while stand.host().has_carrier(name)? != carrier {
        anyhow::ensure!(
            Instant::now() < deadline,
            "{name} does not follow its far end"
        );
    }
    Ok(())
}
