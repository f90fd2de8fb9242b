//! Neighbour solicitations and advertisements (RFC 4861, sections 4.3, 4.4 and 7.2): how IPv6 neighbours ask and learn
//! where an address is.

use core::net::Ipv6Addr;

use crate::ethernet::{EtherType, Header, Tag};
use crate::{DecodeError, MacAddr};

const IPV6_HEADER_LEN: usize = 40;
/// Type to target address.
const FIXED_LEN: usize = 24;
/// Length of the nonces written and read here; the option has then 24 bytes.
pub const NONCE_LEN: usize = 22;

const NEXT_HEADER_ICMPV6: u8 = 58;
const TYPE_NEIGHBOUR_SOLICITATION: u8 = 135;
const TYPE_NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const OPTION_SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const OPTION_TARGET_LINK_LAYER_ADDRESS: u8 = 2;
const OPTION_NONCE: u8 = 14;
const FLAG_ROUTER: u8 = 0x80;
const FLAG_SOLICITED: u8 = 0x40;
const FLAG_OVERRIDE: u8 = 0x20;

/// RFC 4861, section 7.1.2: anything else came from beyond the link.
const HOP_LIMIT: u8 = 255;

/// All nodes of the link, `ff02::1`.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The group of link-layer addresses for `ff02::1` (RFC 2464, section 7).
pub const ALL_NODES_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);

/// A neighbour advertisement in its IPv6 packet.
///
/// ```text
/// | IPv6 header, hop limit 255 (40) |
/// | 136 (1) | 0 (1) | checksum (2) | R S O flags, reserved (4) | target (16) | { 2 (1) | 1 (1) | target MAC (6) } |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourAdvertisement {
    /// IPv6 source.
    pub source: Ipv6Addr,
    /// IPv6 destination.
    pub destination: Ipv6Addr,
    /// The sender is a router.
    pub router: bool,
    /// Answers a solicitation.
    pub solicited: bool,
    /// Replaces what the neighbour has cached.
    pub override_cached: bool,
    /// The address this is about.
    pub target: Ipv6Addr,
    /// Where it is; the option may be missing in what others send.
    pub target_mac: Option<MacAddr>,
}

impl NeighbourAdvertisement {
    /// The announcement that `ip` is at `mac` now: unsolicited, to all nodes, overriding what they have cached (RFC
    /// 4861, section 7.2.6). `router` should be what the system's own advertisements of the address say.
    pub const fn unsolicited(mac: MacAddr, ip: Ipv6Addr, router: bool) -> Self {
        Self {
            source: ip,
            destination: ALL_NODES,
            router,
            solicited: false,
            override_cached: true,
            target: ip,
            target_mac: Some(mac),
        }
    }

    /// Reads an IPv6 packet (after the Ethernet header), with the checks of RFC 4861, section 7.1.2. Options other than
    /// the target's address are passed over; bytes behind the packet are padding.
    pub fn parse(packet: &[u8]) -> Result<Self, DecodeError> {
        let message = Message::parse(
            packet,
            TYPE_NEIGHBOUR_ADVERTISEMENT,
            "neighbour advertisement",
        )?;
        let Message {
            source,
            destination,
            flags,
            target,
            ..
        } = message;
        let solicited = flags & FLAG_SOLICITED != 0;
        if solicited && destination.is_multicast() {
            return Err(DecodeError::Unexpected {
                field: "solicited flag of a multicast neighbour advertisement",
                expected: 0,
                found: FLAG_SOLICITED.into(),
            });
        }
        let target_mac = message.mac(OPTION_TARGET_LINK_LAYER_ADDRESS)?;
        Ok(Self {
            source,
            destination,
            router: flags & FLAG_ROUTER != 0,
            solicited,
            override_cached: flags & FLAG_OVERRIDE != 0,
            target,
            target_mac,
        })
    }

    /// The whole packet, with the address option if there is an address.
    pub fn packet(&self) -> Vec<u8> {
        let mut flags = 0;
        for (set, flag) in [
            (self.router, FLAG_ROUTER),
            (self.solicited, FLAG_SOLICITED),
            (self.override_cached, FLAG_OVERRIDE),
        ] {
            flags |= if set { flag } else { 0 };
        }
        let mut options = Vec::new();
        if let Some(mac) = self.target_mac {
            push_option(
                &mut options,
                OPTION_TARGET_LINK_LAYER_ADDRESS,
                &mac.octets(),
            );
        }
        let message = Message {
            source: self.source,
            destination: self.destination,
            flags,
            target: self.target,
            options: &options,
        };
        message.packet(TYPE_NEIGHBOUR_ADVERTISEMENT)
    }

    /// The packet as a whole frame to all nodes, from this address, in these VLANs (outermost first).
    pub fn multicast_frame(&self, source: MacAddr, vlans: &[u16]) -> Vec<u8> {
        self.frame(ALL_NODES_MAC, source, vlans)
    }

    /// The packet as a whole frame from one address to another, in these VLANs (outermost first).
    pub fn frame(&self, destination: MacAddr, source: MacAddr, vlans: &[u16]) -> Vec<u8> {
        frame(destination, source, vlans, &self.packet())
    }
}

/// A neighbour solicitation in its IPv6 packet.
///
/// ```text
/// | IPv6 header, hop limit 255 (40) |
/// | 135 (1) | 0 (1) | checksum (2) | reserved (4) | target (16) | { 1 (1) | 1 (1) | source MAC (6) } |
/// | { 14 (1) | 3 (1) | nonce (22) } |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourSolicitation {
    /// IPv6 source; `::` when the sender only tests whether the address is free (RFC 4862, section 5.4.2).
    pub source: Ipv6Addr,
    /// IPv6 destination: the target's solicited-node group, or the target.
    pub destination: Ipv6Addr,
    /// The address asked for.
    pub target: Ipv6Addr,
    /// Where the source is; the option may be missing, and is from `::`.
    pub source_mac: Option<MacAddr>,
    /// Bytes by which a sender knows its own question again (RFC 3971, section 5.3.2, without the signatures; RFC 7527 uses
    /// it so too). One of another length is taken for none.
    pub nonce: Option<[u8; NONCE_LEN]>,
}

impl NeighbourSolicitation {
    /// The question who has `target`, to its solicited-node group.
    pub fn multicast(source_mac: MacAddr, source: Ipv6Addr, target: Ipv6Addr) -> Self {
        Self {
            source,
            destination: solicited_node(target),
            target,
            source_mac: (!source.is_unspecified()).then_some(source_mac),
            nonce: None,
        }
    }

    /// Reads an IPv6 packet (after the Ethernet header), with the checks of RFC 4861, section 7.1.1. Options other than
    /// the source's address and the nonce are passed over; bytes behind the packet are padding.
    pub fn parse(packet: &[u8]) -> Result<Self, DecodeError> {
        let message = Message::parse(
            packet,
            TYPE_NEIGHBOUR_SOLICITATION,
            "neighbour solicitation",
        )?;
        let source_mac = message.mac(OPTION_SOURCE_LINK_LAYER_ADDRESS)?;
        if message.source.is_unspecified() && source_mac.is_some() {
            return Err(DecodeError::Address {
                field: "source of a neighbour solicitation with a source address option",
            });
        }
        Ok(Self {
            source: message.source,
            destination: message.destination,
            target: message.target,
            source_mac,
            nonce: message
                .option(OPTION_NONCE)?
                .and_then(|nonce| nonce.try_into().ok()),
        })
    }

    /// The whole packet, with an option for the address and one for the nonce if there are such.
    pub fn packet(&self) -> Vec<u8> {
        let mut options = Vec::new();
        if let Some(mac) = self.source_mac {
            push_option(
                &mut options,
                OPTION_SOURCE_LINK_LAYER_ADDRESS,
                &mac.octets(),
            );
        }
        if let Some(nonce) = &self.nonce {
            push_option(&mut options, OPTION_NONCE, nonce);
        }
        let message = Message {
            source: self.source,
            destination: self.destination,
            flags: 0,
            target: self.target,
            options: &options,
        };
        message.packet(TYPE_NEIGHBOUR_SOLICITATION)
    }

    /// The packet as a whole frame from one address to another, in these VLANs (outermost first).
    pub fn frame(&self, destination: MacAddr, source: MacAddr, vlans: &[u16]) -> Vec<u8> {
        frame(destination, source, vlans, &self.packet())
    }
}

/// The group in which the holder of an address hears solicitations for it (RFC 4291, section 2.7.1).
pub const fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = target.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | high & 0xff, low)
}

/// The group of link-layer addresses of an IPv6 group (RFC 2464, section 7).
pub const fn multicast_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// What solicitation and advertisement have in common.
struct Message<'a> {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    /// First byte of the reserved field of a solicitation.
    flags: u8,
    target: Ipv6Addr,
    options: &'a [u8],
}

impl<'a> Message<'a> {
    /// The checks of RFC 4861, sections 7.1.1 and 7.1.2, for both; options are checked by [`Message::option`]. `name` is what it
    /// is called.
    fn parse(packet: &'a [u8], kind: u8, name: &'static str) -> Result<Self, DecodeError> {
        let cut = |what, need, have| DecodeError::Truncated { what, need, have };
        let (header, rest) = packet
            .split_first_chunk::<IPV6_HEADER_LEN>()
            .ok_or_else(|| cut("IPv6 header", IPV6_HEADER_LEN, packet.len()))?;
        let unexpected = |field, expected: u8, found: u8| DecodeError::Unexpected {
            field,
            expected: expected.into(),
            found: found.into(),
        };
        for (field, expected, found) in [
            ("IP version", 6, header[0] >> 4),
            ("IPv6 next header", NEXT_HEADER_ICMPV6, header[6]),
            (
                "hop limit of a neighbour discovery message",
                HOP_LIMIT,
                header[7],
            ),
        ] {
            if found != expected {
                return Err(unexpected(field, expected, found));
            }
        }
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let message = rest
            .get(..length)
            .ok_or_else(|| cut("IPv6 payload", length, rest.len()))?;
        let (fixed, options) = message
            .split_first_chunk::<FIXED_LEN>()
            .ok_or_else(|| cut(name, FIXED_LEN, message.len()))?;
        for (field, expected, found) in [
            ("ICMPv6 type", kind, fixed[0]),
            ("ICMPv6 code of a neighbour discovery message", 0, fixed[1]),
        ] {
            if found != expected {
                return Err(unexpected(field, expected, found));
            }
        }
        let (source, destination) = (address(header, 8), address(header, 24));
        if checksum(source, destination, message) != 0 {
            return Err(DecodeError::Checksum { what: "ICMPv6" });
        }
        let target = address(fixed, 8);
        if target.is_multicast() {
            return Err(DecodeError::Address {
                field: "target of a neighbour discovery message",
            });
        }
        Ok(Self {
            source,
            destination,
            flags: fixed[4],
            target,
            options,
        })
    }

    /// The Ethernet address in the option of this kind.
    fn mac(&self, wanted: u8) -> Result<Option<MacAddr>, DecodeError> {
        let Some(value) = self.option(wanted)? else {
            return Ok(None);
        };
        let mac = <[u8; 6]>::try_from(value).map_err(|_| DecodeError::Length {
            field: "length of an Ethernet address option",
            value: value.len() + 2,
        })?;
        Ok(Some(MacAddr(mac)))
    }

    /// The value of the option of this kind, the last if there are several. Checks all options.
    fn option(&self, wanted: u8) -> Result<Option<&'a [u8]>, DecodeError> {
        let mut found = None;
        let mut options = self.options;
        while !options.is_empty() {
            let [kind, units, ..] = *options else {
                return Err(DecodeError::Truncated {
                    what: "option of a neighbour discovery message",
                    need: 2,
                    have: options.len(),
                });
            };
            let length = usize::from(units) * 8;
            if length == 0 || length > options.len() {
                return Err(DecodeError::Length {
                    field: "length of an option in bytes",
                    value: length,
                });
            }
            let (option, rest) = options.split_at(length);
            if kind == wanted {
                found = Some(&option[2..]);
            }
            options = rest;
        }
        Ok(found)
    }

    /// The whole packet with the message in it.
    fn packet(&self, kind: u8) -> Vec<u8> {
        let length = FIXED_LEN + self.options.len();
        let [high, low] = (length as u16).to_be_bytes();
        let mut packet = Vec::with_capacity(IPV6_HEADER_LEN + length);
        packet.extend([0x60, 0, 0, 0, high, low, NEXT_HEADER_ICMPV6, HOP_LIMIT]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend([kind, 0, 0, 0, self.flags, 0, 0, 0]);
        packet.extend(self.target.octets());
        packet.extend(self.options);
        let sum = checksum(self.source, self.destination, &packet[IPV6_HEADER_LEN..]);
        packet[42..44].copy_from_slice(&sum.to_be_bytes());
        packet
    }
}

/// Writes an option whose value is 2 bytes short of a multiple of 8.
fn push_option(options: &mut Vec<u8>, kind: u8, value: &[u8]) {
    options.extend([kind, ((2 + value.len()) / 8) as u8]);
    options.extend(value);
}

fn frame(destination: MacAddr, source: MacAddr, vlans: &[u16], packet: &[u8]) -> Vec<u8> {
    let header = Header {
        destination,
        source,
        tags: vlans.iter().map(|id| Tag::vlan(*id)).collect(),
        ether_type: EtherType::Ipv6,
    };
    header.frame(packet)
}

/// The 16 bytes from `at` on, which the caller's fixed-size buffer has.
fn address<const N: usize>(bytes: &[u8; N], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[at..at + 16]);
    octets.into()
}

/// ICMPv6 checksum over pseudo header and message (RFC 8200, section 8.1): what to put into a zero field; 0 over a
/// message that has the right one.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = message.len() as u32;
    let pseudo = [length.to_be_bytes(), [0, 0, 0, NEXT_HEADER_ICMPV6]].concat();
    let mut sum = 0_u64;
    for part in [
        &source.octets()[..],
        &destination.octets(),
        &pseudo,
        message,
    ] {
        for pair in part.chunks(2) {
            sum += u64::from(u16::from_be_bytes([
                pair[0],
                pair.get(1).copied().unwrap_or(0),
            ]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: MacAddr = MacAddr([0x02, 0, 0x5e, 0x10, 0, 1]);

    fn ip() -> Ipv6Addr {
        "2001:db8::100".parse().unwrap()
    }

    #[test]
    fn announcement_byte_for_byte() {
        let advertisement = NeighbourAdvertisement::unsolicited(MAC, ip(), false);
        let packet = advertisement.packet();
        let address = [
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0x00,
        ];
        let mut expected = vec![0x60, 0, 0, 0, 0, 32, 58, 255];
        expected.extend(address);
        expected.extend([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        // The checksum was worked out apart: ones' complement sum of the pseudo header and message in Python.
        expected.extend([136, 0, 0x99, 0x1c, 0x20, 0, 0, 0]);
        expected.extend(address);
        expected.extend([2, 1, 0x02, 0, 0x5e, 0x10, 0, 1]);
        assert_eq!(packet, expected);

        let frame = advertisement.multicast_frame(MAC, &[100]);
        assert_eq!(
            frame[..18],
            [
                0x33, 0x33, 0, 0, 0, 1, 0x02, 0, 0x5e, 0x10, 0, 1, 0x81, 0x00, 0, 100, 0x86, 0xdd
            ]
        );
        assert_eq!(frame[18..], packet);
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_refused() {
        let packet = NeighbourAdvertisement::unsolicited(MAC, ip(), true).packet();
        for len in 0..packet.len() {
            assert!(
                matches!(
                    NeighbourAdvertisement::parse(&packet[..len]),
                    Err(DecodeError::Truncated { .. })
                ),
                "{len}"
            );
        }
        // Of the bytes from the payload length on each takes part in a check.
        for bit in 32..packet.len() * 8 {
            let mut packet = packet.clone();
            packet[bit / 8] ^= 1 << (bit % 8);
            assert!(NeighbourAdvertisement::parse(&packet).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn refusals_name_their_cause() {
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut packet = NeighbourAdvertisement::unsolicited(MAC, ip(), false).packet();
            change(&mut packet);
            packet[42..44].fill(0);
            let (source, destination) =
                (address(packet.first_chunk::<40>().unwrap(), 8), ALL_NODES);
            let sum = checksum(source, destination, &packet[40..]);
            packet[42..44].copy_from_slice(&sum.to_be_bytes());
            NeighbourAdvertisement::parse(&packet)
                .unwrap_err()
                .to_string()
        };
        assert!(refused(&|p| p[7] = 64).starts_with("hop limit"));
        assert!(refused(&|p| p[40] = 135).starts_with("ICMPv6 type"));
        assert!(refused(&|p| p[44] |= 0x40).starts_with("solicited flag"));
        assert!(refused(&|p| p[48] = 0xff).starts_with("target"));
        assert!(refused(&|p| p[65] = 0).starts_with("length of an option"));
        assert!(refused(&|p| p[65] = 9).starts_with("length of an option"));
    }

    #[test]
    fn solicitation_byte_for_byte() {
        let asker: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let solicitation = NeighbourSolicitation::multicast(MAC, asker, ip());
        let group = "ff02::1:ff00:100".parse().unwrap();
        assert_eq!(solicitation.destination, group);
        assert_eq!(
            multicast_mac(group),
            MacAddr([0x33, 0x33, 0xff, 0, 0x01, 0])
        );
        let packet = solicitation.packet();
        assert_eq!(packet[40..42], [135, 0]);
        assert_eq!(packet[44..48], [0; 4]);
        assert_eq!(packet[64..], [1, 1, 0x02, 0, 0x5e, 0x10, 0, 1]);
        assert_eq!(NeighbourSolicitation::parse(&packet), Ok(solicitation));
        assert!(NeighbourAdvertisement::parse(&packet).is_err());
        // The checksum was worked out apart, as above.
        assert_eq!(packet[42..44], [0xbc, 0x1a]);
        let marked = NeighbourSolicitation {
            nonce: Some([7; NONCE_LEN]),
            ..solicitation
        };
        let packet = marked.packet();
        assert_eq!(packet[4..6], [0, 56]);
        assert_eq!(packet[72..], [&[14, 3][..], &[7; NONCE_LEN]].concat());
        assert_eq!(NeighbourSolicitation::parse(&packet), Ok(marked));
        // One that only tests whether the address is free names no sender.
        let test = NeighbourSolicitation::multicast(MAC, Ipv6Addr::UNSPECIFIED, ip());
        assert_eq!(test.packet().len(), 64);
        let liar = NeighbourSolicitation {
            source_mac: Some(MAC),
            ..test
        };
        let error = NeighbourSolicitation::parse(&liar.packet()).unwrap_err();
        assert!(error.to_string().starts_with("source"), "{error}");
    }

    proptest! {
        #[test]
        fn solicitation_round_trip(source: [u8; 16], destination: [u8; 16], target: [u8; 16], mac: Option<[u8; 6]>, nonce: Option<[u8; NONCE_LEN]>) {
            let (source, target) = (Ipv6Addr::from(source), Ipv6Addr::from(target));
            prop_assume!(!target.is_multicast());
            let solicitation = NeighbourSolicitation {
                source,
                destination: destination.into(),
                target,
                source_mac: mac.map(MacAddr),
                nonce,
            };
            prop_assert_eq!(NeighbourSolicitation::parse(&solicitation.packet()), Ok(solicitation));
        }

        #[test]
        fn round_trip(
            source: [u8; 16], destination: [u8; 16], router: bool, solicited: bool, override_cached: bool,
            target: [u8; 16], mac: Option<[u8; 6]>,
        ) {
            let (destination, target) = (Ipv6Addr::from(destination), Ipv6Addr::from(target));
            prop_assume!(!target.is_multicast());
            let advertisement = NeighbourAdvertisement {
                source: source.into(),
                destination,
                router,
                solicited: solicited && !destination.is_multicast(),
                override_cached,
                target,
                target_mac: mac.map(MacAddr),
            };
            let mut packet = advertisement.packet();
            prop_assert_eq!(NeighbourAdvertisement::parse(&packet), Ok(advertisement));
            packet.push(0xa5);
            prop_assert_eq!(NeighbourAdvertisement::parse(&packet), Ok(advertisement));
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..100), tail in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let _ = NeighbourAdvertisement::parse(&bytes);
            let _ = NeighbourSolicitation::parse(&bytes);
            // Valid up to the options, then anything.
            let mut packet = NeighbourAdvertisement::unsolicited(MAC, ip(), false).packet();
            packet.truncate(64);
            packet.extend(&tail);
            packet[5] = 24 + tail.len() as u8;
            packet[42..44].fill(0);
            let sum = checksum(ip(), ALL_NODES, &packet[40..]);
            packet[42..44].copy_from_slice(&sum.to_be_bytes());
            let _ = NeighbourAdvertisement::parse(&packet);
        }
    }
}
