//! Ethernet headers with VLAN tags (IEEE 802.3, 802.1Q).

use crate::{DecodeError, MacAddr};

/// Least length of a frame without FCS; shorter ones are padded (IEEE 802.3, 4A.2.3.2.4 with 64 octets less FCS).
pub const MIN_FRAME: usize = 60;

/// Destination, source, EtherType.
pub const HEADER_LEN: usize = 14;

/// One VLAN tag.
pub const TAG_LEN: usize = 4;

/// What a frame carries (IEEE 802 EtherType registry).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EtherType {
    /// IPv4, 0x0800.
    Ipv4,
    /// ARP, 0x0806.
    Arp,
    /// A customer VLAN tag follows, 0x8100 (802.1Q).
    Vlan,
    /// IPv6, 0x86dd.
    Ipv6,
    /// Slow protocols, 0x8809 (IEEE 802.3, annex 57A): LACP, Marker.
    SlowProtocols,
    /// A service VLAN tag follows, 0x88a8 (802.1ad).
    ServiceVlan,
    /// Anything else; below 0x0600 it is the length of an LLC frame.
    Unknown(u16),
}

impl EtherType {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::Ipv4 => 0x0800,
            Self::Arp => 0x0806,
            Self::Vlan => 0x8100,
            Self::Ipv6 => 0x86dd,
            Self::SlowProtocols => 0x8809,
            Self::ServiceVlan => 0x88a8,
            Self::Unknown(number) => number,
        }
    }
}

impl From<u16> for EtherType {
    fn from(number: u16) -> Self {
        match number {
            0x0800 => Self::Ipv4,
            0x0806 => Self::Arp,
            0x8100 => Self::Vlan,
            0x86dd => Self::Ipv6,
            0x8809 => Self::SlowProtocols,
            0x88a8 => Self::ServiceVlan,
            other => Self::Unknown(other),
        }
    }
}

/// An Ethernet header with its VLAN tags.
///
/// ```text
/// | destination 6 | source 6 | { 0x8100 or 0x88a8 | PCP 3, DEI 1, VID 12 bits }* | EtherType 2 | payload ...
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Destination.
    pub destination: MacAddr,
    /// Source.
    pub source: MacAddr,
    /// Tags, outermost first.
    pub tags: Vec<Tag>,
    /// What follows the tags; never itself a tag's.
    pub ether_type: EtherType,
}

/// One VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Written as a service tag (0x88a8) instead of a customer tag (0x8100).
    pub service: bool,
    /// Tag control information: priority (3 bits), drop eligible (1), VLAN id (12).
    pub control: u16,
}

impl Tag {
    /// A customer tag with this VLAN id (lower 12 bits) and priority 0.
    pub const fn vlan(id: u16) -> Self {
        Self {
            service: false,
            control: id & 0x0fff,
        }
    }

    /// The VLAN id.
    pub const fn id(self) -> u16 {
        self.control & 0x0fff
    }
}

impl Header {
    /// Bytes this header takes.
    pub fn len(&self) -> usize {
        HEADER_LEN + TAG_LEN * self.tags.len()
    }

    /// A header is never empty.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Reads the header and answers it with what follows it.
    pub fn parse(frame: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let cut = |need| DecodeError::Truncated {
            what: "Ethernet header",
            need,
            have: frame.len(),
        };
        let (addresses, mut rest) = frame
            .split_first_chunk::<12>()
            .ok_or_else(|| cut(HEADER_LEN))?;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = *addresses;
        let mut tags = Vec::new();
        loop {
            let (number, after) = rest
                .split_first_chunk()
                .ok_or_else(|| cut(HEADER_LEN + TAG_LEN * tags.len()))?;
            let ether_type = EtherType::from(u16::from_be_bytes(*number));
            let service = match ether_type {
                EtherType::Vlan => false,
                EtherType::ServiceVlan => true,
                _ => {
                    let (destination, source) = (
                        MacAddr([d0, d1, d2, d3, d4, d5]),
                        MacAddr([s0, s1, s2, s3, s4, s5]),
                    );
                    return Ok((
                        Self {
                            destination,
                            source,
                            tags,
                            ether_type,
                        },
                        after,
                    ));
                }
            };
            let (control, after) = after
                .split_first_chunk()
                .ok_or_else(|| cut(HEADER_LEN + TAG_LEN * (tags.len() + 1)))?;
            tags.push(Tag {
                service,
                control: u16::from_be_bytes(*control),
            });
            rest = after;
        }
    }

    /// A whole frame: this header, the payload, zeros up to [`MIN_FRAME`].
    pub fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(MIN_FRAME.max(self.len() + payload.len()));
        frame.extend(self.destination.octets());
        frame.extend(self.source.octets());
        for tag in &self.tags {
            let kind = if tag.service {
                EtherType::ServiceVlan
            } else {
                EtherType::Vlan
            };
            frame.extend(kind.number().to_be_bytes());
            frame.extend(tag.control.to_be_bytes());
        }
        frame.extend(self.ether_type.number().to_be_bytes());
        frame.extend(payload);
        frame.resize(frame.len().max(MIN_FRAME), 0);
        frame
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tagged_frame_byte_for_byte() {
        let header = Header {
            destination: MacAddr([0xff; 6]),
            source: MacAddr([2, 0, 0, 0, 0, 1]),
            tags: vec![
                Tag {
                    service: true,
                    control: 0x0064,
                },
                Tag::vlan(0x123),
            ],
            ether_type: EtherType::Arp,
        };
        let frame = header.frame(&[0xaa]);
        assert_eq!(
            frame[..23],
            [
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xa8, 0x00, 0x64, 0x81,
                0x00, 0x01, 0x23, 0x08, 0x06, 0xaa
            ]
        );
        assert_eq!(frame.len(), MIN_FRAME);
        assert!(frame[23..].iter().all(|byte| *byte == 0));
        let (parsed, rest) = Header::parse(&frame).unwrap();
        assert_eq!((parsed, rest), (header, &frame[22..]));
    }

    #[test]
    fn every_cut_in_the_header_is_refused() {
        let header = Header {
            destination: MacAddr::BROADCAST,
            source: MacAddr::ZERO,
            tags: vec![Tag::vlan(1), Tag::vlan(2)],
            ether_type: EtherType::Unknown(0x1234),
        };
        let frame = header.frame(&[]);
        for len in 0..header.len() {
            assert!(
                matches!(Header::parse(&frame[..len]), Err(DecodeError::Truncated { have, .. }) if have == len)
            );
        }
    }

    proptest! {
        #[test]
        fn round_trip(
            destination: [u8; 6], source: [u8; 6], number: u16,
            tags in proptest::collection::vec((any::<bool>(), any::<u16>()), 0..4),
            payload in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let ether_type = EtherType::from(number);
            prop_assert_eq!(ether_type.number(), number);
            prop_assume!(!matches!(ether_type, EtherType::Vlan | EtherType::ServiceVlan));
            let tags = tags.into_iter().map(|(service, control)| Tag { service, control }).collect();
            let header = Header { destination: MacAddr(destination), source: MacAddr(source), tags, ether_type };
            let frame = header.frame(&payload);
            let (parsed, rest) = Header::parse(&frame).unwrap();
            prop_assert_eq!(parsed, header);
            prop_assert!(rest.starts_with(&payload));
            prop_assert!(rest[payload.len()..].iter().all(|byte| *byte == 0));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Header::parse(&bytes);
        }
    }
}
