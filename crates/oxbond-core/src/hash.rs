//! The transmit hash of `xmit_hash_policy`: from the bytes of a frame to the number that chooses its bucket.
//!
//! The eBPF program computes the same in C; a test in `oxbond-datapath` runs both on the same frames. The rules are
//! therefore stated by byte offset. They give the driver's results (measured: 408 frames, see the tests), so a bond
//! that moves from the driver to Oxbond keeps its flows on their links.
//!
//! # Rules
//!
//! `frame` runs from the destination address on. A VLAN tag in the packet's metadata plays no part in the policies
//! here; a tag inside the frame is an EtherType like any other (so nothing behind it is read). Bytes beyond the end of
//! the frame are *not there*. Words are little-endian whatever the machine: the driver reads them natively, and the
//! machines that matter are little-endian.
//!
//! - `E = frame[5] ^ frame[11] ^ (frame[12] << 8 | frame[13])`. A frame shorter than 14 bytes hashes to 0.
//! - `layer2`: `E`.
//! - The frame is *IP* if its EtherType is 0x0800 and 20 bytes are there from offset 14, or 0x86dd and 40 are. For any
//!   other frame, `layer2+3` and `layer3+4` are `E` too. The version field is not looked at.
//! - Of an IP header at offset `n`:
//!
//!   | | IPv4 | IPv6 |
//!   |---|---|---|
//!   | address words `A` | the words at `n + 12` and `n + 16`, xored | the eight words from `n + 8` on, xored |
//!   | protocol | `frame[n + 9]`; none for a fragment: `frame[n + 6] & 0x3f` or `frame[n + 7]` not 0 | `frame[n + 6]` |
//!   | payload at | `n + 4 * (frame[n] & 15)` | `n + 40` (extension headers are not walked) |
//!
//! - Ports word `P`: the word at the payload for TCP (6), UDP (17), DCCP (33), ESP (50), SCTP (132), UDP-Lite (136);
//!   the word at payload + 4 for AH (51); 0 for every other protocol and when the word is not there.
//! - ICMP (1) under IPv4 and ICMPv6 (58) under IPv6 are looked into, if 8 bytes are there:
//!   - with an identifier (echo 8 and 0, timestamp 13 and 14; ICMPv6 echo 128 and 129): `P` is
//!     `type | code << 8 | id << 16`, where `id = frame[payload + 4] << 8 | frame[payload + 5]`, 1 for 0;
//!   - errors (3, 4, 5, 11, 12; ICMPv6 1 to 4): the quoted IP header (of the same version) at payload + 8 takes the
//!     place of the outer one, for `A` and for `P` as in the list of protocols above (an ICMP message quoted has
//!     `P` = 0), so that errors go the way of the flow they are about. If it is not all there the frame is not *IP*.
//! - `fold(h)`: `h ^= A; h ^= h >> 16; h ^= h >> 8`.
//! - `layer2+3` of IP: `fold(E)`. `layer3+4` of IP: `fold(P) >> 1`.

use crate::option::HashPolicy;

/// The hash of a frame, `None` for a policy this engine does not have (`encap2+3`, `encap3+4`, `vlan+srcmac`).
pub fn hash(policy: HashPolicy, frame: &[u8]) -> Option<u32> {
    let ethernet = match frame {
        [_, _, _, _, _, dst, _, _, _, _, _, src, high, low, ..] => {
            u32::from(dst ^ src) ^ u32::from(u16::from_be_bytes([*high, *low]))
        }
        _ => 0,
    };
    match policy {
        HashPolicy::Layer2 => Some(ethernet),
        HashPolicy::Layer23 => {
            Some(flow(frame).map_or(ethernet, |flow| fold(ethernet, flow.addresses)))
        }
        HashPolicy::Layer34 => {
            Some(flow(frame).map_or(ethernet, |flow| fold(flow.ports, flow.addresses) >> 1))
        }
        HashPolicy::Encap23 | HashPolicy::Encap34 | HashPolicy::VlanSrcMac => None,
    }
}

/// `A` and `P` of an IP frame.
struct Flow {
    addresses: u32,
    ports: u32,
}

/// One IP header: `A`, the protocol (none for a fragment), where its payload is.
struct Header {
    addresses: u32,
    protocol: Option<u8>,
    payload: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V4,
    V6,
}

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const AH: u8 = 51;

fn flow(frame: &[u8]) -> Option<Flow> {
    let version = match frame.get(12..14)? {
        [0x08, 0x00] => Version::V4,
        [0x86, 0xdd] => Version::V6,
        _ => return None,
    };
    let header = header(frame, 14, version)?;
    let (addresses, payload) = (header.addresses, header.payload);
    let icmp = match (version, header.protocol) {
        (Version::V4, Some(ICMP)) | (Version::V6, Some(ICMPV6)) => {
            frame.get(payload..).and_then(|f| f.first_chunk::<8>())
        }
        _ => None,
    };
    let Some([kind, code, _, _, id0, id1, _, _]) = icmp.copied() else {
        return Some(Flow {
            addresses,
            ports: ports(frame, &header),
        });
    };
    match (version, kind) {
        (Version::V4, 0 | 8 | 13 | 14) | (Version::V6, 128 | 129) => {
            let id = u16::from_be_bytes([id0, id1]).max(1);
            Some(Flow {
                addresses,
                ports: u32::from(kind) | u32::from(code) << 8 | u32::from(id) << 16,
            })
        }
        (Version::V4, 3 | 4 | 5 | 11 | 12) | (Version::V6, 1..=4) => {
            let quoted = self::header(frame, payload + 8, version)?;
            Some(Flow {
                addresses: quoted.addresses,
                ports: ports(frame, &quoted),
            })
        }
        _ => Some(Flow {
            addresses,
            ports: 0,
        }),
    }
}

fn header(frame: &[u8], at: usize, version: Version) -> Option<Header> {
    let ip = frame.get(at..)?;
    match version {
        Version::V4 => {
            let ip = ip.first_chunk::<20>()?;
            let fragment = ip[6] & 0x3f != 0 || ip[7] != 0;
            Some(Header {
                addresses: xor_words(&ip[12..20]),
                protocol: (!fragment).then_some(ip[9]),
                payload: at + 4 * usize::from(ip[0] & 0x0f),
            })
        }
        Version::V6 => {
            let ip = ip.first_chunk::<40>()?;
            Some(Header {
                addresses: xor_words(&ip[8..40]),
                protocol: Some(ip[6]),
                payload: at + 40,
            })
        }
    }
}

/// `P` by the list of protocols, ICMP aside.
fn ports(frame: &[u8], header: &Header) -> u32 {
    let at = match header.protocol {
        Some(6 | 17 | 33 | 50 | 132 | 136) => header.payload,
        Some(AH) => header.payload + 4,
        _ => return 0,
    };
    frame
        .get(at..)
        .and_then(|f| f.first_chunk())
        .map_or(0, |word| u32::from_le_bytes(*word))
}

fn xor_words(bytes: &[u8]) -> u32 {
    let (words, _) = bytes.as_chunks();
    words
        .iter()
        .fold(0, |sum, word| sum ^ u32::from_le_bytes(*word))
}

const fn fold(hash: u32, addresses: u32) -> u32 {
    let hash = hash ^ addresses;
    let hash = hash ^ hash >> 16;
    hash ^ hash >> 8
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    /// A frame that the real driver (6.1) transmitted, and the member it chose.
    #[derive(Deserialize)]
    struct Vector {
        policy: String,
        kind: String,
        frame: String,
        members: u32,
        egress: Vec<u32>,
    }

    fn vectors() -> Vec<Vector> {
        serde_json::from_str(include_str!("../tests/data/xmit-hash-vectors.json")).unwrap()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn agrees_with_the_driver_on_every_measured_frame() {
        let mut checked = BTreeMap::new();
        for vector in vectors() {
            let policy = HashPolicy::ALL
                .iter()
                .find(|policy| policy.word() == vector.policy)
                .unwrap();
            let Some(hash) = hash(*policy, &bytes(&vector.frame)) else {
                continue;
            };
            assert_eq!(
                vector.egress,
                [hash % vector.members],
                "{policy} {}: {}",
                vector.kind,
                vector.frame
            );
            *checked.entry(policy).or_insert(0) += 1;
        }
        let each = [
            (&HashPolicy::Layer2, 68),
            (&HashPolicy::Layer34, 68),
            (&HashPolicy::Layer23, 68),
        ];
        assert_eq!(checked, BTreeMap::from(each));
    }

    /// A frame of the given kind out of the measured ones.
    fn sample(kind: &str) -> Vec<u8> {
        bytes(
            &vectors()
                .iter()
                .find(|vector| vector.kind == kind)
                .unwrap()
                .frame,
        )
    }

    #[test]
    fn a_tag_within_the_frame_hides_the_addresses() {
        let mut frame = sample("ipv4-udp");
        frame.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
        let tagged = hash(HashPolicy::Layer34, &frame);
        assert_eq!(tagged, hash(HashPolicy::Layer2, &frame));
        frame[35] ^= 0xff;
        assert_eq!(tagged, hash(HashPolicy::Layer34, &frame));
    }

    #[test]
    fn fragments_of_one_packet_stay_together() {
        let whole = sample("ipv4-udp");
        let fragment = |bits: [u8; 2], ports: u8| {
            let mut frame = whole.clone();
            frame[20..22].copy_from_slice(&bits);
            frame[34] = ports;
            hash(HashPolicy::Layer34, &frame)
        };
        let first = fragment([0x20, 0x00], 1);
        assert_eq!(first, fragment([0x00, 0x10], 2));
        assert_eq!(first, fragment([0x20, 0x10], 3));
        assert_ne!(
            fragment([0x40, 0x00], 1),
            fragment([0x40, 0x00], 2),
            "don't-fragment is no fragment"
        );
    }

    #[test]
    fn pings_spread_by_their_identifier_and_zero_counts_as_one() {
        let ping = |id: [u8; 2]| {
            let mut frame = sample("ipv4-icmp-echo");
            frame[38..40].copy_from_slice(&id);
            hash(HashPolicy::Layer34, &frame)
        };
        assert_ne!(ping([0, 2]), ping([0, 3]));
        assert_eq!(ping([0, 0]), ping([0, 1]));
    }

    #[test]
    fn an_error_goes_the_way_of_what_it_quotes() {
        let mut quoting = sample("ipv4-icmp-unreach");
        let before = hash(HashPolicy::Layer34, &quoting);
        quoting[26] ^= 0x55;
        assert_eq!(
            hash(HashPolicy::Layer34, &quoting),
            before,
            "the outer address plays no part"
        );
        quoting[14 + 20 + 8 + 20] ^= 0x55;
        assert_ne!(
            hash(HashPolicy::Layer34, &quoting),
            before,
            "the quoted port does"
        );
        quoting.truncate(14 + 20 + 8 + 19);
        assert_eq!(
            hash(HashPolicy::Layer34, &quoting),
            hash(HashPolicy::Layer2, &quoting)
        );
    }

    #[test]
    fn policies_of_later_issues_have_no_hash_yet() {
        for policy in [
            HashPolicy::Encap23,
            HashPolicy::Encap34,
            HashPolicy::VlanSrcMac,
        ] {
            assert_eq!(hash(policy, &sample("ipv4-udp")), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_hash(frame in proptest::collection::vec(any::<u8>(), 0..120), version in 0..3_usize) {
            let mut frame = frame;
            if let Some(kind) = frame.get_mut(12..14) {
                kind.copy_from_slice(&[[0x08, 0x00], [0x86, 0xdd], [0x81, 0x00]][version]);
            }
            for end in 0..=frame.len() {
                for policy in [HashPolicy::Layer2, HashPolicy::Layer23, HashPolicy::Layer34] {
                    prop_assert!(hash(policy, &frame[..end]).is_some());
                }
            }
        }
    }
}
