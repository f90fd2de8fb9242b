//! The ARP and NS monitor without the bond: its clock arithmetic, the probes and what is seen of them, what a port has
//! heard. Who is asked when, and what follows from silence, is decided in `bond/probing.rs`.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use oxbond_wire::MacAddr;
use oxbond_wire::arp::{self, Arp, Operation};
use oxbond_wire::ethernet::{EtherType, Header};
use oxbond_wire::ndp::{ALL_NODES, NONCE_LEN, NeighbourAdvertisement, NeighbourSolicitation};
use oxbond_wire::probe::ProbeIdentity;
use serde::{Deserialize, Serialize};

use crate::input::ProbePath;
use crate::port::PortId;
use crate::time::Instant;

/// Whether `now` is within so many and a half intervals after `at`, or up to one interval before it: the driver's
/// tolerance, which makes answers to the probe before last still count.
pub(crate) fn within(now: Instant, at: Instant, interval: Duration, intervals: u32) -> bool {
    now + interval >= at && now <= at + interval * intervals + interval / 2
}

/// The monitor's state for the bond as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Monitor {
    /// The next tick; `None` while it does not run.
    pub(crate) next: Option<Instant>,
    /// Nobody listened before: silence counts from here on, less one interval as in the driver.
    pub(crate) since: Instant,
    /// Number of the latest round of probes.
    pub(crate) round: u32,
    /// Who is asked.
    pub(crate) targets: Vec<Target>,
    /// A target last answered us, on whichever port.
    pub(crate) answered: Option<Instant>,
    /// The port that was active last, or tried last while none was.
    pub(crate) tried: Option<PortId>,
}

/// Someone who is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) path: ProbePath,
    /// Asked since: a new target has not been silent for long.
    pub(crate) since: Instant,
}

/// What a port has sent and heard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hearing {
    /// It joined, took or lost the active role, or was tried, last.
    pub(crate) settled: Instant,
    /// Its link came back last. What was heard before proves nothing.
    pub(crate) linked: Instant,
    /// The latest probe left.
    pub(crate) sent: Option<Instant>,
    /// Any frame arrived last.
    pub(crate) any: Option<Instant>,
    /// ARP or IPv6 arrived last.
    pub(crate) neighbour: Option<Instant>,
    /// Proof of a working path arrived last.
    pub(crate) valid: Option<Instant>,
    /// The same for each target.
    answers: Vec<(IpAddr, Instant)>,
}

impl Hearing {
    /// Nothing heard yet.
    pub(crate) fn joined(now: Instant) -> Self {
        Self {
            settled: now,
            linked: now,
            ..Self::default()
        }
    }

    /// When a target last gave proof.
    pub(crate) fn answer(&self, target: IpAddr) -> Option<Instant> {
        let found = self.answers.iter().find(|(known, _)| *known == target);
        found.map(|(_, at)| *at)
    }

    /// Proof has come.
    pub(crate) fn proven(&mut self, target: IpAddr, now: Instant) {
        self.valid = Some(now);
        self.answers.retain(|(known, _)| *known != target);
        self.answers.push((target, now));
    }

    /// Forgets targets that are no longer asked.
    pub(crate) fn retain(&mut self, targets: &[Target]) {
        self.answers
            .retain(|(known, _)| targets.iter().any(|target| target.path.target == *known));
    }
}

/// From which address a port asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    /// Link-layer address.
    pub(crate) mac: MacAddr,
    /// It asks from 0.0.0.0 or `::`, so that nobody takes this link-layer address for the bond's.
    pub(crate) anonymous: bool,
}

impl Asker {
    fn ipv4(self, path: &ProbePath) -> Ipv4Addr {
        match path.source {
            Some(IpAddr::V4(source)) if !self.anonymous => source,
            _ => Ipv4Addr::UNSPECIFIED,
        }
    }

    fn ipv6(self, path: &ProbePath) -> Ipv6Addr {
        match path.source {
            Some(IpAddr::V6(source)) if !self.anonymous => source,
            _ => Ipv6Addr::UNSPECIFIED,
        }
    }
}

/// The question to one target, as a whole frame.
pub(crate) fn question(path: &ProbePath, asker: Asker, identity: ProbeIdentity) -> Vec<u8> {
    match path.target {
        IpAddr::V4(target) => Arp::request(asker.mac, asker.ipv4(path), target).marked_frame(
            MacAddr::BROADCAST,
            &path.vlans,
            &identity.bytes(),
        ),
        IpAddr::V6(target) => {
            let mut nonce = [0; NONCE_LEN];
            nonce[..oxbond_wire::probe::LEN].copy_from_slice(&identity.bytes());
            let solicitation = NeighbourSolicitation {
                nonce: Some(nonce),
                ..NeighbourSolicitation::multicast(asker.mac, asker.ipv6(path), target)
            };
            let group = oxbond_wire::ndp::multicast_mac(solicitation.destination);
            solicitation.frame(group, asker.mac, &path.vlans)
        }
    }
}

/// What a frame is to the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sighting {
    /// A target's answer to the port that received it.
    Answer {
        /// The target.
        target: IpAddr,
    },
    /// A question to a target, whoever asked it.
    Question {
        /// The target.
        target: IpAddr,
        /// Link-layer address of who asked.
        sender: MacAddr,
        /// The identity in it, if it still has one.
        identity: Option<ProbeIdentity>,
    },
}

/// Looks at a frame that arrived on a port which asks as `asker`.
///
/// An answer must be addressed to the asker, in link-layer and IP address, come from a target, and by the way on which the
/// target is asked (VLANs; a priority tag, id 0, is no VLAN). A question must be one that we would ask. To a question from
/// `::` a neighbour answers to all nodes (RFC 4861, section 7.2.4).
pub(crate) fn sighting(frame: &[u8], targets: &[Target], asker: Asker) -> Option<Sighting> {
    let (header, payload) = Header::parse(frame).ok()?;
    let vlans: Vec<u16> = header
        .tags
        .iter()
        .map(|tag| tag.id())
        .filter(|id| *id != 0)
        .collect();
    let find = |address: IpAddr| {
        targets
            .iter()
            .map(|target| &target.path)
            .find(|path| path.target == address && path.vlans == vlans)
    };
    match header.ether_type {
        EtherType::Arp => {
            let message = Arp::parse(payload).ok()?;
            match message.operation {
                Operation::Reply => {
                    let target = IpAddr::V4(message.sender_ip);
                    let path = find(target)?;
                    let to_us =
                        message.target_mac == asker.mac && message.target_ip == asker.ipv4(path);
                    to_us.then_some(Sighting::Answer { target })
                }
                Operation::Request => {
                    let target = IpAddr::V4(message.target_ip);
                    let path = find(target)?;
                    let as_we = message.sender_ip.is_unspecified()
                        || path.source == Some(IpAddr::V4(message.sender_ip));
                    as_we.then_some(Sighting::Question {
                        target,
                        sender: message.sender_mac,
                        identity: payload.get(arp::LEN..).and_then(ProbeIdentity::find),
                    })
                }
                Operation::Unknown(_) => None,
            }
        }
        EtherType::Ipv6 => {
            if let Ok(message) = NeighbourAdvertisement::parse(payload) {
                let target = IpAddr::V6(message.target);
                let source = asker.ipv6(find(target)?);
                let to_us = if source.is_unspecified() {
                    message.destination == ALL_NODES
                } else {
                    message.destination == source
                        && message.solicited
                        && header.destination == asker.mac
                };
                return to_us.then_some(Sighting::Answer { target });
            }
            let message = NeighbourSolicitation::parse(payload).ok()?;
            let target = IpAddr::V6(message.target);
            let path = find(target)?;
            let as_we =
                message.source.is_unspecified() || path.source == Some(IpAddr::V6(message.source));
            as_we.then_some(Sighting::Question {
                target,
                sender: header.source,
                identity: message.nonce.and_then(|nonce| ProbeIdentity::find(&nonce)),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Driver behaviour: `t - D` to `t + k D + D / 2`, both ends included.
    #[test]
    fn intervals_and_a_half() {
        let second = Duration::from_secs(1);
        let at = Instant::from_millis(10_000);
        for (intervals, ends) in [
            (0, 10_500),
            (1, 11_500),
            (2, 12_500),
            (3, 13_500),
            (255, 265_500),
        ] {
            for (now, inside) in [
                (8_999, false),
                (9_000, true),
                (10_000, true),
                (ends, true),
                (ends + 1, false),
            ] {
                let now = Instant::from_millis(now);
                assert_eq!(
                    within(now, at, second, intervals),
                    inside,
                    "{intervals} {now:?}"
                );
            }
        }
        // An odd interval is halved to the nanosecond.
        let odd = Duration::from_nanos(3);
        assert!(within(
            Instant::from_nanos(104),
            Instant::from_nanos(100),
            odd,
            1
        ));
        assert!(!within(
            Instant::from_nanos(105),
            Instant::from_nanos(100),
            odd,
            1
        ));
    }

    fn targets() -> Vec<Target> {
        let target = |target: &str, source: &str, vlans: &[u16]| Target {
            path: ProbePath {
                target: target.parse().unwrap(),
                source: Some(source.parse().unwrap()),
                vlans: vlans.to_vec(),
            },
            since: Instant::ZERO,
        };
        vec![
            target("10.0.0.1", "10.0.0.100", &[]),
            target("10.0.1.1", "10.0.1.100", &[5, 6]),
            target("fd00::1", "fd00::100", &[]),
        ]
    }

    const ASKER: Asker = Asker {
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        anonymous: false,
    };

    /// What we ask is seen as what it is, with its identity, also by who asks without an address.
    #[test]
    fn questions_are_recognised() {
        let targets = targets();
        let identity = ProbeIdentity {
            bond: MacAddr([2, 0, 0, 0, 0, 9]),
            port: 1,
            sequence: 5,
        };
        for target in &targets {
            for anonymous in [false, true] {
                let asker = Asker { anonymous, ..ASKER };
                let frame = question(&target.path, asker, identity);
                let seen = Sighting::Question {
                    target: target.path.target,
                    sender: ASKER.mac,
                    identity: Some(identity),
                };
                assert_eq!(sighting(&frame, &targets, ASKER), Some(seen));
                // In a VLAN of its own it is another question.
                let tagged = [&frame[..12], &[0x81, 0, 0, 9], &frame[12..]].concat();
                assert_eq!(sighting(&tagged, &targets, ASKER), None);
                assert_eq!(sighting(&frame, &[], ASKER), None);
            }
        }
    }

    proptest! {
        #[test]
        fn no_frame_makes_it_panic(kind in 0..3_u8, bytes in proptest::collection::vec(any::<u8>(), 0..192)) {
            let mut frame = bytes;
            let number = [0x0806_u16, 0x86dd, 0x8100][usize::from(kind)];
            if let Some(place) = frame.get_mut(12..14) {
                place.copy_from_slice(&number.to_be_bytes());
            }
            let _ = sighting(&frame, &targets(), ASKER);
        }

        /// An answer to anyone but the asker is none, whatever else it is.
        #[test]
        fn answers_are_to_the_asker(
            target_mac: [u8; 6], target_ip: [u8; 4], sender_ip in prop::sample::select(vec![[10, 0, 0, 1], [10, 0, 0, 2]]),
        ) {
            let reply = Arp {
                operation: Operation::Reply,
                sender_mac: MacAddr([2, 0, 0, 0, 0, 7]),
                sender_ip: sender_ip.into(),
                target_mac: MacAddr(target_mac),
                target_ip: target_ip.into(),
            };
            let ours = MacAddr(target_mac) == ASKER.mac && target_ip == [10, 0, 0, 100] && sender_ip == [10, 0, 0, 1];
            let seen = sighting(&reply.broadcast_frame(&[]), &targets(), ASKER);
            prop_assert_eq!(seen.is_some(), ours);
            let right = Arp { target_mac: ASKER.mac, target_ip: [10, 0, 0, 100].into(), ..reply };
            let seen = sighting(&right.broadcast_frame(&[]), &targets(), ASKER);
            prop_assert_eq!(seen.is_some(), sender_ip == [10, 0, 0, 1]);
        }
    }
}
