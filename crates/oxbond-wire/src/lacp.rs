//! LACPDUs, version 1 (IEEE 802.1AX-2014, 6.4.2).
//!
//! ```text
//! | subtype 1 | version 1 |
//! | 1 | 20 | actor:   system priority 2 | system 6 | key 2 | port priority 2 | port 2 | state 1 | reserved 3 |
//! | 2 | 20 | partner: the same |
//! | 3 | 16 | collector max delay 2 | reserved 12 |
//! | 0 | 0  | reserved 50 |
//! ```
//!
//! A receiver takes every version, and looks at neither the types of these three nor at what is reserved (6.4.2.3, 6.4.12);
//! what a later version puts behind them is skipped. Lengths are looked at: with another one the fields would not be where
//! they are read.

use serde::{Deserialize, Serialize};

pub use crate::slow::LEN;
use crate::slow::{self, Subtype};
use crate::{DecodeError, MacAddr};

/// The version we send.
pub const VERSION: u8 = 1;

/// Flags of a participant on a link (6.4.2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct State(pub u8);

impl State {
    /// Speaks unasked.
    pub const ACTIVITY: Self = Self(0x01);
    /// Gives the other up after the short timeout (3 s), and so wants a PDU every second.
    pub const TIMEOUT: Self = Self(0x02);
    /// May share an aggregator with other links.
    pub const AGGREGATION: Self = Self(0x04);
    /// Attached to the right aggregator.
    pub const SYNC: Self = Self(0x08);
    /// Delivers what arrives.
    pub const COLLECTING: Self = Self(0x10);
    /// May send data.
    pub const DISTRIBUTING: Self = Self(0x20);
    /// Goes by default values for lack of a PDU from the other.
    pub const DEFAULTED: Self = Self(0x40);
    /// Has not heard from the other in time.
    pub const EXPIRED: Self = Self(0x80);

    /// Whether all flags of `flags` are set.
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// With the flags of `flags` set or cleared, the others as they are.
    #[must_use]
    pub const fn with(self, flags: Self, set: bool) -> Self {
        Self(if set {
            self.0 | flags.0
        } else {
            self.0 & !flags.0
        })
    }
}

impl core::ops::BitOr for State {
    type Output = Self;

    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

/// What a PDU says of one participant, the sender or (as the sender heard it) the receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Information {
    /// Priority of its system; the lower number decides.
    pub system_priority: u16,
    /// Identity of its system.
    pub system: MacAddr,
    /// Links of one system with the same key can aggregate.
    pub key: u16,
    /// Priority of its port; the lower number is taken first.
    pub port_priority: u16,
    /// Number of its port, unique in its system.
    pub port: u16,
    /// Its flags.
    pub state: State,
}

/// Length of an actor or partner TLV.
const INFORMATION_LEN: u8 = 20;
/// Length of a collector TLV.
const COLLECTOR_LEN: u8 = 16;

impl Information {
    /// Reads the fields that stand from `at` on.
    fn parse(pdu: &[u8; LEN], at: usize) -> Self {
        let two = |from: usize| u16::from_be_bytes([pdu[at + from], pdu[at + from + 1]]);
        Self {
            system_priority: two(0),
            system: MacAddr(core::array::from_fn(|i| pdu[at + 2 + i])),
            key: two(8),
            port_priority: two(10),
            port: two(12),
            state: State(pdu[at + 14]),
        }
    }

    fn emit(&self, kind: u8, tlv: &mut [u8]) {
        tlv[0] = kind;
        tlv[1] = INFORMATION_LEN;
        tlv[2..4].copy_from_slice(&self.system_priority.to_be_bytes());
        tlv[4..10].copy_from_slice(&self.system.octets());
        tlv[10..12].copy_from_slice(&self.key.to_be_bytes());
        tlv[12..14].copy_from_slice(&self.port_priority.to_be_bytes());
        tlv[14..16].copy_from_slice(&self.port.to_be_bytes());
        tlv[16] = self.state.0;
    }
}

/// A LACPDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacpdu {
    /// Version of the protocol; any number is processed as [`VERSION`].
    pub version: u8,
    /// Who sends.
    pub actor: Information,
    /// What the sender last heard of the receiver.
    pub partner: Information,
    /// Longest time the sender's collector holds a frame, in tens of microseconds.
    pub collector_max_delay: u16,
}

impl Lacpdu {
    /// Reads a PDU from its subtype on. Bytes behind the collector's maximum delay are not looked at, but must be there.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let pdu = slow::checked("LACPDU", Subtype::Lacp, bytes)?;
        let [_, version, _, actor_len, ..] = *pdu;
        let (partner_len, collector_len) = (pdu[23], pdu[43]);
        for (field, expected, found) in [
            ("length of the actor TLV", INFORMATION_LEN, actor_len),
            ("length of the partner TLV", INFORMATION_LEN, partner_len),
            ("length of the collector TLV", COLLECTOR_LEN, collector_len),
        ] {
            if found != expected {
                return Err(DecodeError::Unexpected {
                    field,
                    expected: expected.into(),
                    found: found.into(),
                });
            }
        }
        Ok(Self {
            version,
            actor: Information::parse(pdu, 4),
            partner: Information::parse(pdu, 24),
            collector_max_delay: u16::from_be_bytes([pdu[44], pdu[45]]),
        })
    }

    /// The PDU, with nothing behind the three TLVs, whatever the version.
    pub fn emit(&self) -> [u8; LEN] {
        let mut pdu = [0; LEN];
        pdu[0] = Subtype::Lacp.number();
        pdu[1] = self.version;
        self.actor.emit(1, &mut pdu[2..22]);
        self.partner.emit(2, &mut pdu[22..42]);
        pdu[42] = 3;
        pdu[43] = COLLECTOR_LEN;
        pdu[44..46].copy_from_slice(&self.collector_max_delay.to_be_bytes());
        pdu
    }

    /// The PDU as a whole frame from the station `source`.
    pub fn frame(&self, source: MacAddr) -> Vec<u8> {
        slow::frame(source, &self.emit())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PDU: Lacpdu = Lacpdu {
        version: VERSION,
        actor: Information {
            system_priority: 0xffff,
            system: MacAddr([2, 0, 0, 0, 0, 1]),
            key: 15,
            port_priority: 255,
            port: 1,
            state: State(0x3f),
        },
        partner: Information {
            system_priority: 0x8000,
            system: MacAddr([2, 0, 0, 0, 0, 2]),
            key: 0x1234,
            port_priority: 7,
            port: 0x0203,
            state: State(0x3d),
        },
        collector_max_delay: 0x0506,
    };

    #[test]
    fn byte_for_byte() {
        let pdu = PDU.emit();
        let told = [
            1, 1, // LACP, version 1
            1, 20, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0, 15, 0, 255, 0, 1, 0x3f, 0, 0, 0, // actor
            2, 20, 0x80, 0, 2, 0, 0, 0, 0, 2, 0x12, 0x34, 0, 7, 2, 3, 0x3d, 0, 0,
            0, // partner
            3, 16, 5, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // collector
        ];
        assert_eq!(pdu[..58], told);
        assert_eq!(pdu[58..], [0; 52]);
    }

    #[test]
    fn refusals_name_their_cause() {
        let pdu = PDU.emit();
        for len in 0..LEN {
            let refused = DecodeError::Truncated {
                what: "LACPDU",
                need: LEN,
                have: len,
            };
            assert_eq!(Lacpdu::parse(&pdu[..len]), Err(refused));
        }
        for (at, field) in [
            (0, "slow protocol subtype"),
            (3, "length of the actor TLV"),
            (23, "length of the partner TLV"),
            (43, "length of the collector TLV"),
        ] {
            let mut pdu = pdu;
            pdu[at] ^= 0x41;
            let error = Lacpdu::parse(&pdu).unwrap_err();
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }

    /// Port algorithm, conversation digest, mask and service mapping as version 2 appends them.
    #[test]
    fn version_2_is_read_and_its_tlvs_are_skipped() {
        let mut pdu = PDU.emit();
        pdu[1] = 2;
        pdu[58..64].copy_from_slice(&[4, 6, 0, 0x80, 0xc2, 1]);
        pdu[64..84].copy_from_slice(&[
            5, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0, 1,
        ]);
        pdu[84] = 9;
        pdu[85] = 255;
        assert_eq!(Lacpdu::parse(&pdu), Ok(Lacpdu { version: 2, ..PDU }));
    }

    fn information() -> impl Strategy<Value = Information> {
        any::<(u16, [u8; 6], u16, u16, u16, u8)>().prop_map(
            |(system_priority, system, key, port_priority, port, state)| Information {
                system_priority,
                system: MacAddr(system),
                key,
                port_priority,
                port,
                state: State(state),
            },
        )
    }

    proptest! {
        #[test]
        fn round_trip(version: u8, actor in information(), partner in information(), delay: u16, padding in 0..1400_usize) {
            let pdu = Lacpdu { version, actor, partner, collector_max_delay: delay };
            let mut bytes = pdu.emit().to_vec();
            bytes.resize(LEN + padding, 0xa5);
            prop_assert_eq!(Lacpdu::parse(&bytes), Ok(pdu));
        }

        /// TLV types, reserved bytes and everything behind the third TLV.
        #[test]
        fn what_a_receiver_must_not_look_at(junk in proptest::collection::vec(any::<u8>(), LEN)) {
            let mut pdu = PDU.emit();
            for at in [2, 22, 42].into_iter().chain(19..22).chain(39..42).chain(46..LEN) {
                pdu[at] = junk[at];
            }
            prop_assert_eq!(Lacpdu::parse(&pdu), Ok(PDU));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..140)) {
            let _ = Lacpdu::parse(&bytes);
        }
    }
}
