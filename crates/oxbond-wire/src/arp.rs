//! ARP for IPv4 over Ethernet (RFC 826) and the announcement of a moved address (RFC 5227, section 3).

use core::net::Ipv4Addr;

use crate::ethernet::{EtherType, Header, Tag};
use crate::{DecodeError, MacAddr};

/// Length of an ARP message for IPv4 over Ethernet.
pub const LEN: usize = 28;

/// What an ARP message asks or says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Who has the target address? (1)
    Request,
    /// The sender has it. (2)
    Reply,
    /// Anything else (RARP and experiments).
    Unknown(u16),
}

impl Operation {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::Request => 1,
            Self::Reply => 2,
            Self::Unknown(number) => number,
        }
    }
}

impl From<u16> for Operation {
    fn from(number: u16) -> Self {
        match number {
            1 => Self::Request,
            2 => Self::Reply,
            other => Self::Unknown(other),
        }
    }
}

/// An ARP message for IPv4 over Ethernet.
///
/// ```text
/// | hardware 1 (2) | protocol 0x0800 (2) | 6 (1) | 4 (1) | operation (2) |
/// | sender MAC (6) | sender IP (4) | target MAC (6) | target IP (4) |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// What is asked or said.
    pub operation: Operation,
    /// Link-layer address of the sender.
    pub sender_mac: MacAddr,
    /// IPv4 address of the sender.
    pub sender_ip: Ipv4Addr,
    /// Link-layer address of the target; without meaning in requests.
    pub target_mac: MacAddr,
    /// IPv4 address of the target.
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// The announcement that `ip` is at `mac`: a request whose sender and target are both the address. What the driver
    /// sends after a failover (`num_grat_arp`), so that neighbours and switches learn the new place.
    pub const fn announcement(mac: MacAddr, ip: Ipv4Addr) -> Self {
        Self {
            operation: Operation::Request,
            sender_mac: mac,
            sender_ip: ip,
            target_mac: MacAddr::ZERO,
            target_ip: ip,
        }
    }

    /// Reads a message. Bytes behind it are padding and not looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Some(message) = bytes.first_chunk::<LEN>() else {
            return Err(DecodeError::Truncated {
                what: "ARP",
                need: LEN,
                have: bytes.len(),
            });
        };
        let [
            h0,
            h1,
            p0,
            p1,
            hardware_len,
            protocol_len,
            o0,
            o1,
            rest @ ..,
        ] = *message;
        let [s0, s1, s2, s3, s4, s5, a, b, c, d, rest @ ..] = rest;
        let [t0, t1, t2, t3, t4, t5, e, f, g, h] = rest;
        for (field, expected, found) in [
            ("ARP hardware type", 1, u16::from_be_bytes([h0, h1])),
            ("ARP protocol type", 0x0800, u16::from_be_bytes([p0, p1])),
            ("ARP hardware address length", 6, hardware_len.into()),
            ("ARP protocol address length", 4, protocol_len.into()),
        ] {
            if found != expected {
                return Err(DecodeError::Unexpected {
                    field,
                    expected: expected.into(),
                    found: found.into(),
                });
            }
        }
        let sender_mac = MacAddr([s0, s1, s2, s3, s4, s5]);
        if sender_mac.is_multicast() {
            return Err(DecodeError::Address {
                field: "ARP sender",
            });
        }
        Ok(Self {
            operation: u16::from_be_bytes([o0, o1]).into(),
            sender_mac,
            sender_ip: Ipv4Addr::new(a, b, c, d),
            target_mac: MacAddr([t0, t1, t2, t3, t4, t5]),
            target_ip: Ipv4Addr::new(e, f, g, h),
        })
    }

    /// Writes the message over all of `buffer`.
    pub fn emit(&self, buffer: &mut [u8; LEN]) {
        buffer[0..6].copy_from_slice(&[0, 1, 0x08, 0x00, 6, 4]);
        buffer[6..8].copy_from_slice(&self.operation.number().to_be_bytes());
        buffer[8..14].copy_from_slice(&self.sender_mac.octets());
        buffer[14..18].copy_from_slice(&self.sender_ip.octets());
        buffer[18..24].copy_from_slice(&self.target_mac.octets());
        buffer[24..28].copy_from_slice(&self.target_ip.octets());
    }

    /// The question who has `target`, from `mac` and `source`; from 0.0.0.0 it leaves no trace in the caches of those who
    /// hear it (RFC 5227, section 1.1).
    pub const fn request(mac: MacAddr, source: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self {
            operation: Operation::Request,
            sender_mac: mac,
            sender_ip: source,
            target_mac: MacAddr::ZERO,
            target_ip: target,
        }
    }

    /// The message as a whole frame to everyone, from its sender, in these VLANs (outermost first), padded.
    pub fn broadcast_frame(&self, vlans: &[u16]) -> Vec<u8> {
        self.frame(MacAddr::BROADCAST, vlans)
    }

    /// The message as a whole frame to one station or group, from its sender, in these VLANs (outermost first), padded.
    pub fn frame(&self, destination: MacAddr, vlans: &[u16]) -> Vec<u8> {
        self.marked_frame(destination, vlans, &[])
    }

    /// The same with these bytes in place of the padding.
    pub fn marked_frame(&self, destination: MacAddr, vlans: &[u16], mark: &[u8]) -> Vec<u8> {
        let mut message = [0; LEN];
        self.emit(&mut message);
        let header = Header {
            destination,
            source: self.sender_mac,
            tags: vlans.iter().map(|id| Tag::vlan(*id)).collect(),
            ether_type: EtherType::Arp,
        };
        header.frame(&[&message, mark].concat())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::probe::ProbeIdentity;

    const MAC: MacAddr = MacAddr([0x02, 0, 0x5e, 0x10, 0, 1]);
    const IP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 100);

    #[test]
    fn announcement_byte_for_byte() {
        let mut message = [0xa5; LEN];
        Arp::announcement(MAC, IP).emit(&mut message);
        assert_eq!(
            message,
            [
                0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, // request, IPv4 over Ethernet
                0x02, 0x00, 0x5e, 0x10, 0x00, 0x01, 192, 168, 1, 100, // sender
                0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 192, 168, 1, 100, // target
            ]
        );
        let frame = Arp::announcement(MAC, IP).broadcast_frame(&[]);
        assert_eq!(frame.len(), 60);
        assert_eq!(
            frame[..14],
            [
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0x5e, 0x10, 0, 1, 0x08, 0x06
            ]
        );
        assert_eq!(frame[14..42], message);
        assert_eq!(frame[42..], [0; 18]);
    }

    #[test]
    fn tags_stand_between_the_addresses_and_the_type() {
        let frame = Arp::announcement(MAC, IP).broadcast_frame(&[100, 7]);
        assert_eq!(
            frame[12..22],
            [0x81, 0x00, 0, 100, 0x81, 0x00, 0, 7, 0x08, 0x06]
        );
        assert_eq!(frame.len(), 60);
    }

    /// The identity of a probe fills the least frame exactly, and stays whole behind a tag.
    #[test]
    fn padding_carries_an_identity() {
        let identity = ProbeIdentity {
            bond: MAC,
            port: 1,
            sequence: 7,
        };
        let target = Ipv4Addr::new(192, 168, 1, 1);
        for (vlans, at) in [(&[][..], 42), (&[100], 46)] {
            let request = Arp::request(MAC, IP, target);
            let frame = request.marked_frame(MacAddr::BROADCAST, vlans, &identity.bytes());
            assert_eq!(frame.len(), at + 18);
            assert_eq!(ProbeIdentity::find(&frame[at..]), Some(identity));
            let asked = Arp::parse(&frame[at - LEN..]).unwrap();
            assert_eq!(
                (
                    asked.operation,
                    asked.sender_ip,
                    asked.target_ip,
                    asked.target_mac
                ),
                (Operation::Request, IP, target, MacAddr::ZERO)
            );
        }
    }

    #[test]
    fn refusals_name_their_cause() {
        let mut message = [0xa5; LEN];
        Arp::announcement(MAC, IP).emit(&mut message);
        for len in 0..LEN {
            let refused = DecodeError::Truncated {
                what: "ARP",
                need: LEN,
                have: len,
            };
            assert_eq!(Arp::parse(&message[..len]), Err(refused));
        }
        for (at, field) in [
            (1, "ARP hardware type"),
            (2, "ARP protocol type"),
            (4, "ARP hardware address length"),
            (5, "ARP protocol address length"),
        ] {
            let mut message = message;
            message[at] ^= 0x40;
            let error = Arp::parse(&message).unwrap_err();
            assert!(error.to_string().starts_with(field), "{error}");
        }
        message[8] |= 1;
        assert_eq!(
            Arp::parse(&message),
            Err(DecodeError::Address {
                field: "ARP sender"
            })
        );
    }

    proptest! {
        #[test]
        fn round_trip(operation: u16, sender: [u8; 6], sender_ip: [u8; 4], target: [u8; 6], target_ip: [u8; 4]) {
            let mut sender = sender;
            sender[0] &= !1;
            let arp = Arp {
                operation: operation.into(),
                sender_mac: MacAddr(sender),
                sender_ip: sender_ip.into(),
                target_mac: MacAddr(target),
                target_ip: target_ip.into(),
            };
            let mut message = [0xa5; LEN];
            arp.emit(&mut message);
            prop_assert_eq!(Arp::parse(&message), Ok(arp));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(arp) = Arp::parse(&bytes) {
                let mut message = [0xa5; LEN];
                arp.emit(&mut message);
                prop_assert_eq!(&message[..], &bytes[..LEN]);
            }
        }
    }
}
