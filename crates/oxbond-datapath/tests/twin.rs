//! The programs and the core decide alike: hash and choice of port, in C and in Rust, on the same frames.
#![allow(clippy::unwrap_used, reason = "tests state their expectations so")]

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use common::{Stand, port};
use oxbond_core::buckets::Share;
use oxbond_core::hash::hash;
use oxbond_core::option::HashPolicy;
use oxbond_core::port::PortId;
use oxbond_core::table::{BucketKey, Buckets, PortStanding, Spread, TransmitTable};
use oxbond_datapath::{DataPath, PinnedProgram, Probe, TestInput};
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

/// What the programs remember, as the header of `bpf/decide.h` has it.
fn left_after(table: &TransmitTable, hash: u32, standing: PortStanding) -> u32 {
    let PortStanding { carrier, left } = standing;
    let Some(chosen) = table.decide(hash, standing) else {
        return left;
    };
    let dead = |port: &PortId| carrier & port.bit() == 0;
    match &table.spread {
        Spread::Failover if standing.is_usable(chosen) => {
            let passed_over = table.order.iter().take_while(|port| **port != chosen);
            passed_over
                .filter(|port| dead(port))
                .fold(left, |left, port| left | port.bit())
        }
        Spread::Failover => table
            .order
            .iter()
            .filter(|port| dead(port))
            .fold(left, |left, port| left | port.bit()),
        Spread::Broadcast => left,
        Spread::Buckets(Buckets { now, .. }) => {
            let planned = now[hash as usize % now.len()];
            if dead(&planned) {
                left | planned.bit()
            } else {
                left
            }
        }
    }
}

/// The port whose counter a run of the transmit program raised.
fn send(path: &DataPath, frame: &[u8], before: &mut Vec<u64>) -> Result<Option<PortId>> {
    path.test_run(
        PinnedProgram::BondTx,
        frame,
        TestInput {
            repeat: 1,
            ifindex: 0,
            cb: [0; 5],
        },
    )?;
    let now: Vec<u64> = path
        .counters()?
        .ports
        .iter()
        .map(|(_, counters)| counters.tx_packets)
        .collect();
    let raised: Vec<usize> = (0..now.len())
        .filter(|index| now[*index] > before[*index])
        .collect();
    *before = now;
    assert!(raised.len() <= 1);
    Ok(raised.first().map(|index| port(*index)))
}

#[test]
fn root_choice_of_port_agrees_while_links_come_and_go() -> Result<()> {
    const PORTS: usize = 5;
    const ROUNDS: usize = 300;
    let stand = Stand::new(&["p0", "p1", "p2", "p3", "p4"])?;
    // Nothing but the test's own frames.
    stand.host().set_link("bond0", false)?;
    let mut random = Random(0x0000_1eaf);
    stand.host().run(|| -> Result<()> {
        let mut path = stand.install(None, &TransmitTable::failover(vec![]))?;
        let mut counts = vec![0; PORTS];
        let mut carrier = (1 << PORTS) - 1;
        let mut table = path.table()?;
        let mut left = 0;
        let (mut moves, mut drops) = (0, 0);
        for round in 0..ROUNDS {
            let toggled = random.below(PORTS);
            carrier ^= port(toggled).bit();
            set_carrier(&stand, toggled, carrier & port(toggled).bit() != 0)?;
            if round % 3 == 0 {
                let mut order: Vec<PortId> = (0..PORTS).map(port).collect();
                for index in 0..PORTS {
                    order.swap(index, random.below(PORTS));
                }
                order.truncate(random.below(PORTS + 1));
                let seen = random.next() as u32;
                table = if random.below(2) == 0 {
                    TransmitTable::failover(order)
                } else {
                    let key = BucketKey::Hash(random.pick(HashPolicy::ALL));
                    let shares: Vec<Share> = order
                        .iter()
                        .map(|port| Share {
                            port: *port,
                            weight: random.pick(&[1, 1, 2, 10]),
                        })
                        .collect();
                    let usable = |port: PortId| seen & port.bit() != 0;
                    let buckets = Buckets::weighted(key, &shares, None, usable);
                    TransmitTable::spread(Spread::Buckets(buckets), order)
                };
                path.set_table(&table)?;
                assert_eq!(path.table()?, table);
                left = path.left()?;
                assert_eq!(left, 0);
            }
            for _ in 0..40 {
                let mut frame = random.frame();
                // Kernels do not run programs on less.
                frame.resize(frame.len().max(54), 0);
                let standing = PortStanding { carrier, left };
                let hash = match &table.spread {
                    Spread::Buckets(Buckets {
                        key: BucketKey::Hash(policy),
                        ..
                    }) => hash(*policy, &frame, 0),
                    _ => 0,
                };
                let expected = table.decide(hash, standing);
                left = left_after(&table, hash, standing);
                assert_eq!(
                    send(&path, &frame, &mut counts)?,
                    expected,
                    "{standing:x?} {table:?}"
                );
                assert_eq!(path.left()?, left, "after {standing:x?} {table:?}");
                moves += usize::from(left != standing.left);
                drops += usize::from(expected.is_none());
            }
        }
        assert!(
            moves > 30 && drops > 30,
            "the test met {moves} departures and {drops} drops"
        );
        let counters = path.counters()?;
        assert_eq!(counters.tx_no_port, drops as u64);
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
    let deadline = Instant::now() + Duration::from_secs(5);
    while stand.host().has_carrier(name)? != carrier {
        anyhow::ensure!(
            Instant::now() < deadline,
            "{name} does not follow its far end"
        );
    }
    Ok(())
}
