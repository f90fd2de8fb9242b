//! The transmit hash of `xmit_hash_policy`: from the bytes of a frame to the number that chooses its bucket.
//!
//! The eBPF program computes the same in C; a test in `oxbond-datapath` runs both on the same frames. The rules are
//! therefore stated by byte offset. They give the driver's results (measured: 408 frames, see the tests), so a bond
//! that moves from the driver to Oxbond keeps its flows on their links.
//!
//! # Rules
//!
//! `frame` runs from the destination address on. A VLAN tag in the packet's metadata plays no part but in
//! `vlan+srcmac`; a tag inside the frame is an EtherType like any other (so nothing behind it is read). Bytes beyond
//! the end of the frame are *not there*. Words are little-endian whatever the machine: the driver reads them natively,
//! and the machines that matter are little-endian.
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
//! - `encap2+3` and `encap3+4` are the same two formulas over the `A` and `P` of the innermost headers, found by
//!   *dissection*, and `E` when it fails.
//! - `vlan+srcmac`: `tag ^ S(6) ^ S(9)`, where `tag` is the tag control information (priority bits included) of the VLAN
//!   tag in the metadata, 0 without, and `S(n) = frame[n] << 16 | frame[n + 1] << 8 | frame[n + 2]`.
//!
//! # Dissection
//!
//! It begins with `A = P = 0`, the frame's EtherType and `n = 14`, and takes one header after the other, at most
//! [`MAX_HEADERS`]; behind those it ends as if it had met an unknown protocol. Where a header is not all there, it fails.
//!
//! | next header | there must be | what happens |
//! |---|---|---|
//! | ARP (0x0806), RARP (0x8035) | | ends |
//! | IPv4 (0x0800; protocol 4) | 20 bytes, header length at least 5 words | `A` anew; ends if a fragment; the protocol at the payload |
//! | IPv6 (0x86dd; protocol 41) | 40 bytes | `A` anew; the protocol at the payload |
//! | VLAN (0x8100, 0x88a8), not as the frame's own EtherType | 4 bytes | the EtherType at `n + 2`; `n += 4` |
//! | any other EtherType | | fails |
//! | protocol 0, 43, 60 under IPv6 (options, routing) | 8 bytes | protocol `frame[n]`; `n += 8 * (frame[n + 1] + 1)` |
//! | protocol 44 under IPv6 (fragment) | 8 bytes | ends |
//! | GRE (protocol 47) | 4 bytes | ends if a source route (0x40 in `frame[n]`) or version (`frame[n + 1] & 7`) is given; else the EtherType at `n + 2`; `n += 4`, and 4 each for checksum (0x80 in `frame[n]`), key (0x20), sequence number (0x10); of EtherType 0x6558 (Ethernet) 14 bytes must be there, their last two are the EtherType; `n += 14` |
//! | ICMP of the header's version with an identifier | | `P` as above; ends. Errors are not followed |
//! | any other protocol | | `P` as in the list of protocols; ends |
//!
//! So tunnels over UDP (VXLAN, GENEVE, GTP, WireGuard) are not looked into, nor are MPLS and PPPoE: the first spread by
//! their outer ports, which such tunnels choose by inner flow, the others by `E`.
//!
//! The driver's `encap3+4` takes the number that the sending socket or the receiving card has computed where the packet
//! carries one. Ours never does: it could not be foretold or explained, and differs from host to host.

use crate::option::HashPolicy;

/// Most headers that a dissection takes.
pub const MAX_HEADERS: usize = 15;

/// The hash of a frame. `tag` is the tag control information of a VLAN tag in the packet's metadata, 0 without one.
pub fn hash(policy: HashPolicy, frame: &[u8], tag: u16) -> u32 {
    let Some(header) = frame.first_chunk::<14>() else {
        return 0;
    };
    let kind = u16::from_be_bytes([header[12], header[13]]);
    let ethernet = u32::from(header[5] ^ header[11]) ^ u32::from(kind);
    let flow = match policy {
        HashPolicy::Layer2 => None,
        HashPolicy::Layer23 | HashPolicy::Layer34 => flow(frame, kind),
        HashPolicy::Encap23 | HashPolicy::Encap34 => dissect(frame, kind),
        HashPolicy::VlanSrcMac => {
            let half = |at| u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]]);
            return u32::from(tag) ^ half(6) ^ half(9);
        }
    };
    match (policy, flow) {
        (_, None) => ethernet,
        (HashPolicy::Layer34 | HashPolicy::Encap34, Some(flow)) => {
            fold(flow.ports, flow.addresses) >> 1
        }
        (_, Some(flow)) => fold(ethernet, flow.addresses),
    }
}

/// `A` and `P` of an IP frame.
#[derive(Default)]
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

impl Version {
    const fn of(ethertype: u16) -> Option<Self> {
        match ethertype {
            0x0800 => Some(Self::V4),
            0x86dd => Some(Self::V6),
            _ => None,
        }
    }
}

const IPIP: u8 = 4;
const IPV6: u8 = 41;
const GRE: u8 = 47;
const AH: u8 = 51;

fn flow(frame: &[u8], kind: u16) -> Option<Flow> {
    let version = Version::of(kind)?;
    let header = header(frame, 14, version)?;
    let addresses = header.addresses;
    let Some(message) = icmp(frame, version, &header) else {
        let ports = ports(frame, header.protocol, header.payload);
        return Some(Flow { addresses, ports });
    };
    match (version, message[0]) {
        (Version::V4, 3 | 4 | 5 | 11 | 12) | (Version::V6, 1..=4) => {
            let quoted = self::header(frame, header.payload + 8, version)?;
            Some(Flow {
                addresses: quoted.addresses,
                ports: ports(frame, quoted.protocol, quoted.payload),
            })
        }
        _ => Some(Flow {
            addresses,
            ports: identifier(version, message),
        }),
    }
}

/// What a dissection finds at its next step.
#[derive(Clone, Copy)]
enum Next {
    EtherType(u16),
    Protocol(Version, u8),
}

/// See the section of this name; `None` when it fails.
fn dissect(frame: &[u8], kind: u16) -> Option<Flow> {
    let mut flow = Flow::default();
    let mut at = 14;
    let mut next = Next::EtherType(kind);
    for count in 0..MAX_HEADERS {
        let bytes = frame.get(at..).unwrap_or_default();
        match next {
            Next::EtherType(0x0806 | 0x8035) => return Some(flow),
            Next::EtherType(0x8100 | 0x88a8) if count > 0 => {
                let [_, _, high, low] = *bytes.first_chunk()?;
                next = Next::EtherType(u16::from_be_bytes([high, low]));
                at += 4;
            }
            Next::EtherType(kind) => {
                let version = Version::of(kind)?;
                let header = header(frame, at, version)?;
                if header.payload < at + 20 {
                    return None;
                }
                flow.addresses = header.addresses;
                at = header.payload;
                next = match header.protocol {
                    None => return Some(flow),
                    Some(IPIP) => Next::EtherType(0x0800),
                    Some(IPV6) => Next::EtherType(0x86dd),
                    Some(protocol) => Next::Protocol(version, protocol),
                };
            }
            Next::Protocol(Version::V6, 0 | 43 | 60) => {
                let [protocol, length, ..] = *bytes.first_chunk::<8>()?;
                next = match protocol {
                    IPIP => Next::EtherType(0x0800),
                    IPV6 => Next::EtherType(0x86dd),
                    _ => Next::Protocol(Version::V6, protocol),
                };
                at += 8 * (usize::from(length) + 1);
            }
            Next::Protocol(Version::V6, 44) => {
                bytes.first_chunk::<8>()?;
                return Some(flow);
            }
            Next::Protocol(_, GRE) => {
                let [flags, version, high, low] = *bytes.first_chunk()?;
                if flags & 0x40 != 0 || version & 7 != 0 {
                    return Some(flow);
                }
                at += 4 + 4 * (flags & 0xb0).count_ones() as usize;
                let mut kind = [high, low];
                if kind == [0x65, 0x58] {
                    let ethernet = frame.get(at..)?.first_chunk::<14>()?;
                    kind = [ethernet[12], ethernet[13]];
                    at += 14;
                }
                next = Next::EtherType(u16::from_be_bytes(kind));
            }
            Next::Protocol(version, protocol) => {
                let header = Header {
                    addresses: flow.addresses,
                    protocol: Some(protocol),
                    payload: at,
                };
                flow.ports = match icmp(frame, version, &header) {
                    Some(message) => identifier(version, message),
                    None => ports(frame, Some(protocol), at),
                };
                return Some(flow);
            }
        }
    }
    Some(flow)
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
fn ports(frame: &[u8], protocol: Option<u8>, payload: usize) -> u32 {
    let at = match protocol {
        Some(6 | 17 | 33 | 50 | 132 | 136) => payload,
        Some(AH) => payload + 4,
        _ => return 0,
    };
    frame
        .get(at..)
        .and_then(|f| f.first_chunk())
        .map_or(0, |word| u32::from_le_bytes(*word))
}

/// The first eight bytes of the ICMP message of this version that a header announces.
fn icmp<'a>(frame: &'a [u8], version: Version, header: &Header) -> Option<&'a [u8; 8]> {
    match (version, header.protocol?) {
        (Version::V4, 1) | (Version::V6, 58) => frame.get(header.payload..)?.first_chunk(),
        _ => None,
    }
}

/// `P` of an ICMP message that is not an error.
fn identifier(version: Version, message: &[u8; 8]) -> u32 {
    let [kind, code, _, _, high, low, _, _] = *message;
    match (version, kind) {
        (Version::V4, 0 | 8 | 13 | 14) | (Version::V6, 128 | 129) => {
            let id = u16::from_be_bytes([high, low]).max(1);
            u32::from(kind) | u32::from(code) << 8 | u32::from(id) << 16
        }
        _ => 0,
    }
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
            let hash = hash(*policy, &bytes(&vector.frame), 0);
            assert_eq!(
                vector.egress,
                [hash % vector.members],
                "{policy} {}: {}",
                vector.kind,
                vector.frame
            );
            *checked.entry(policy).or_insert(0) += 1;
        }
        let each = HashPolicy::ALL.iter().map(|policy| (policy, 68));
        assert_eq!(checked, each.collect());
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
        let tagged = hash(HashPolicy::Layer34, &frame, 0);
        assert_eq!(tagged, hash(HashPolicy::Layer2, &frame, 0));
        frame[35] ^= 0xff;
        assert_eq!(tagged, hash(HashPolicy::Layer34, &frame, 0));
    }

    #[test]
    fn fragments_of_one_packet_stay_together() {
        let whole = sample("ipv4-udp");
        let fragment = |bits: [u8; 2], ports: u8| {
            let mut frame = whole.clone();
            frame[20..22].copy_from_slice(&bits);
            frame[34] = ports;
            hash(HashPolicy::Layer34, &frame, 0)
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
            hash(HashPolicy::Layer34, &frame, 0)
        };
        assert_ne!(ping([0, 2]), ping([0, 3]));
        assert_eq!(ping([0, 0]), ping([0, 1]));
    }

    #[test]
    fn an_error_goes_the_way_of_what_it_quotes() {
        let mut quoting = sample("ipv4-icmp-unreach");
        let before = hash(HashPolicy::Layer34, &quoting, 0);
        quoting[26] ^= 0x55;
        assert_eq!(
            hash(HashPolicy::Layer34, &quoting, 0),
            before,
            "the outer address plays no part"
        );
        quoting[14 + 20 + 8 + 20] ^= 0x55;
        assert_ne!(
            hash(HashPolicy::Layer34, &quoting, 0),
            before,
            "the quoted port does"
        );
        quoting.truncate(14 + 20 + 8 + 19);
        assert_eq!(
            hash(HashPolicy::Layer34, &quoting, 0),
            hash(HashPolicy::Layer2, &quoting, 0)
        );
    }

    /// `encap3+4` of a sample with bytes put in front of its network header, behind this EtherType.
    fn wrapped(kind: [u8; 2], headers: &[u8], inner: &str) -> (u32, u32) {
        let mut frame = sample(inner);
        let plain = hash(HashPolicy::Encap34, &frame, 0);
        frame.splice(12..14, [&kind[..], headers].concat());
        (plain, hash(HashPolicy::Encap34, &frame, 0))
    }

    const OUTER_V4: [u8; 9] = [0x45, 0, 0, 0, 0, 1, 0x40, 0, 64];
    const OUTER_ADDRESSES: [u8; 10] = [0, 0, 192, 0, 2, 1, 192, 0, 2, 2];

    fn outer_v4(protocol: u8) -> Vec<u8> {
        [&OUTER_V4[..], &[protocol], &OUTER_ADDRESSES].concat()
    }

    fn outer_v6(protocol: u8) -> Vec<u8> {
        let mut header = vec![0xee; 40];
        header[6] = protocol;
        header
    }

    #[test]
    fn the_flow_within_a_tunnel_decides() {
        let v4 = |protocol, more: &[u8]| [&outer_v4(protocol)[..], more].concat();
        let v6 = |protocol, more: &[u8]| [&outer_v6(protocol)[..], more].concat();
        let mac = [2_u8; 12];
        let in_ethernet = |tags: &[u8]| {
            let gre = [0xb0, 0, 0x65, 0x58, 9, 9, 9, 9, 7, 7, 7, 7, 5, 5, 5, 5];
            v4(47, &[&gre[..], &mac, tags, &[0x08, 0x00]].concat())
        };
        for (what, kind, headers, inner) in [
            ("IPIP", [0x08, 0x00], v4(4, &[]), "ipv4-tcp"),
            ("6in4", [0x08, 0x00], v4(41, &[]), "ipv6-udp"),
            ("4in6", [0x86, 0xdd], v6(4, &[]), "ipv4-udp"),
            ("6in6", [0x86, 0xdd], v6(41, &[]), "ipv6-icmp-echo"),
            ("GRE", [0x08, 0x00], v4(47, &[0, 0, 0x86, 0xdd]), "ipv6-tcp"),
            (
                "GRE with a key",
                [0x86, 0xdd],
                v6(47, &[0x20, 0, 8, 0, 1, 2, 3, 4]),
                "ipv4-tcp",
            ),
            (
                "Ethernet over GRE",
                [0x08, 0x00],
                in_ethernet(&[]),
                "ipv4-icmp-echo",
            ),
            (
                "tagged",
                [0x08, 0x00],
                in_ethernet(&[0x88, 0xa8, 0, 7, 0x81, 0, 0, 8]),
                "ipv4-udp",
            ),
            (
                "an IPv6 option",
                [0x86, 0xdd],
                v6(60, &[4, 0, 1, 4, 0, 0, 0, 0]),
                "ipv4-sctp",
            ),
            (
                "two tunnels",
                [0x08, 0x00],
                v4(41, &outer_v6(4)),
                "ipv4-udp",
            ),
        ] {
            let (plain, wrapped) = wrapped(kind, &headers, inner);
            assert_eq!(wrapped, plain, "{what}");
        }
    }

    #[test]
    fn what_cannot_be_dissected_goes_by_its_ethernet_header() {
        let mut frame = sample("ipip-tcp");
        for policy in [HashPolicy::Encap23, HashPolicy::Encap34] {
            let ethernet = hash(HashPolicy::Layer2, &frame, 0);
            assert_ne!(hash(policy, &frame, 0), ethernet);
            assert_eq!(
                hash(policy, &frame[..14 + 20 + 19], 0),
                ethernet,
                "cut short"
            );
            frame[34] = 0x44;
            assert_eq!(hash(policy, &frame, 0), ethernet, "a header of four words");
            frame[34] = 0x45;
        }
    }

    #[test]
    fn fragments_and_errors_go_by_the_addresses_around_them() {
        let mut fragment = sample("gre-ipv4-udp");
        let inner = 14 + 20 + 4;
        fragment[inner + 6] = 0x20;
        let error = sample("ipv4-icmp-unreach");
        for (frame, changed) in [(fragment, inner + 20), (error, 14 + 20 + 8 + 20)] {
            let mut other = frame.clone();
            other[changed] ^= 0x55;
            let [one, two] = [frame, other].map(|frame| hash(HashPolicy::Encap34, &frame, 0));
            assert_eq!(one, two, "ports behind play no part");
        }
    }

    #[test]
    fn vlan_and_source_address_alone_decide_vlan_srcmac() {
        let mut frame = sample("ipv4-udp");
        let untagged = hash(HashPolicy::VlanSrcMac, &frame, 0);
        assert_eq!(
            hash(HashPolicy::VlanSrcMac, &frame, 0x6005),
            untagged ^ 0x6005
        );
        for policy in HashPolicy::ALL
            .iter()
            .filter(|p| **p != HashPolicy::VlanSrcMac)
        {
            assert_eq!(hash(*policy, &frame, 5), hash(*policy, &frame, 0));
        }
        frame[..6].fill(7);
        frame[12..].fill(7);
        assert_eq!(hash(HashPolicy::VlanSrcMac, &frame, 0), untagged);
        frame[8] ^= 1;
        assert_eq!(hash(HashPolicy::VlanSrcMac, &frame, 0), untagged ^ 1);
    }

    /// No chain of headers keeps the dissection busy for ever.
    #[test]
    fn dissection_ends() {
        let mut frame = sample("ipv6-udp");
        frame[20] = 0;
        frame.truncate(54);
        frame.extend([0; 2000]);
        let endless = hash(HashPolicy::Encap34, &frame, 0);
        frame[54 + 8 * (MAX_HEADERS - 2)] = 17;
        frame[54 + 8 * (MAX_HEADERS - 1)] = 0xff;
        assert_eq!(
            hash(HashPolicy::Encap34, &frame, 0),
            endless,
            "one header too far"
        );
        frame[54 + 8 * (MAX_HEADERS - 3)] = 17;
        frame[54 + 8 * (MAX_HEADERS - 2)] = 0xff;
        assert_ne!(hash(HashPolicy::Encap34, &frame, 0), endless);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_hash(frame in proptest::collection::vec(any::<u8>(), 0..120), version in 0..3_usize) {
            let mut frame = frame;
            if let Some(kind) = frame.get_mut(12..14) {
                kind.copy_from_slice(&[[0x08, 0x00], [0x86, 0xdd], [0x81, 0x00]][version]);
            }
            for end in 0..=frame.len() {
                for policy in HashPolicy::ALL {
                    let hash = hash(*policy, &frame[..end], 0);
                    prop_assert!(end >= 14 || hash == 0);
                }
            }
        }
    }
}
