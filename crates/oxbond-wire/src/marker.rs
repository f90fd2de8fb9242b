//! Marker PDUs: "everything I sent before this has passed me", answered in kind (IEEE 802.1AX-2014, 6.5.3).
//!
//! ```text
//! | subtype 2 | version 1 |
//! | 1 marker or 2 response | 16 | requester's port 2 | requester's system 6 | transaction 4 | pad 2 |
//! | 0 | 0 | reserved 90 |
//! ```
//!
//! As with LACPDUs a receiver takes every version and does not look at what is reserved.

use crate::slow::{self, Subtype};
use crate::{DecodeError, MacAddr};

pub use crate::slow::LEN;

/// The version we send.
pub const VERSION: u8 = 1;

/// Length of the marker TLV (6.5.3.2), type and length included.
const MARKER_LEN: u8 = 16;

/// Which way a Marker PDU goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Asks for a response (1).
    Information,
    /// The response (2).
    Response,
    /// Neither; not to be answered.
    Unknown(u8),
}

impl Kind {
    /// The number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::Information => 1,
            Self::Response => 2,
            Self::Unknown(number) => number,
        }
    }
}

impl From<u8> for Kind {
    fn from(number: u8) -> Self {
        match number {
            1 => Self::Information,
            2 => Self::Response,
            other => Self::Unknown(other),
        }
    }
}

/// A Marker PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Version of the protocol; any number is processed as [`VERSION`].
    pub version: u8,
    /// Question or answer.
    pub kind: Kind,
    /// Port number of who asked.
    pub port: u16,
    /// System of who asked.
    pub system: MacAddr,
    /// Number that the one who asked gave the question.
    pub transaction: u32,
}

impl Marker {
    /// Reads a PDU from its subtype on.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let pdu = slow::checked("Marker PDU", Subtype::Marker, bytes)?;
        let [_, version, kind, len, n0, n1, rest @ ..] = *pdu;
        let [s0, s1, s2, s3, s4, s5, t0, t1, t2, t3, ..] = rest;
        if len != MARKER_LEN {
            return Err(DecodeError::Unexpected {
                field: "length of the marker TLV",
                expected: MARKER_LEN.into(),
                found: len.into(),
            });
        }
        Ok(Self {
            version,
            kind: Kind::from(kind),
            port: u16::from_be_bytes([n0, n1]),
            system: MacAddr([s0, s1, s2, s3, s4, s5]),
            transaction: u32::from_be_bytes([t0, t1, t2, t3]),
        })
    }

    /// The PDU, pad and reserved bytes zero.
    pub fn emit(&self) -> [u8; LEN] {
        let mut pdu = [0; LEN];
        pdu[0] = Subtype::Marker.number();
        pdu[1] = self.version;
        pdu[2] = self.kind.number();
        pdu[3] = MARKER_LEN;
        pdu[4..6].copy_from_slice(&self.port.to_be_bytes());
        pdu[6..12].copy_from_slice(&self.system.octets());
        pdu[12..16].copy_from_slice(&self.transaction.to_be_bytes());
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

    const MARKER: Marker = Marker {
        version: VERSION,
        kind: Kind::Information,
        port: 0x0102,
        system: MacAddr([2, 0, 0, 0, 0, 1]),
        transaction: 0x0304_0506,
    };

    #[test]
    fn byte_for_byte() {
        let pdu = MARKER.emit();
        assert_eq!(
            pdu[..20],
            [
                2, 1, 1, 16, 0x01, 0x02, 2, 0, 0, 0, 0, 1, 3, 4, 5, 6, 0, 0, 0, 0
            ]
        );
        assert_eq!(pdu[20..], [0; 90]);
    }

    #[test]
    fn refusals_name_their_cause() {
        let mut pdu = MARKER.emit();
        for len in 0..LEN {
            let error = Marker::parse(&pdu[..len]).unwrap_err();
            assert!(matches!(error, DecodeError::Truncated { .. }), "{error}");
        }
        pdu[3] = 21;
        let error = Marker::parse(&pdu).unwrap_err();
        assert_eq!(
            error.to_string(),
            "length of the marker TLV is 0x15, expected 0x10"
        );
        pdu[0] = 1;
        let error = Marker::parse(&pdu).unwrap_err();
        assert_eq!(
            error.to_string(),
            "slow protocol subtype is 0x1, expected 0x2"
        );
    }

    proptest! {
        #[test]
        fn round_trip(version: u8, kind: u8, port: u16, system: [u8; 6], transaction: u32, padding in 0..1400_usize) {
            let marker = Marker { version, kind: kind.into(), port, system: MacAddr(system), transaction };
            let mut bytes = marker.emit().to_vec();
            bytes.resize(LEN + padding, 0xa5);
            prop_assert_eq!(Marker::parse(&bytes), Ok(marker));
        }

        #[test]
        fn reserved_bytes_are_not_looked_at(junk in proptest::collection::vec(any::<u8>(), LEN - 16)) {
            let mut pdu = MARKER.emit();
            pdu[16..].copy_from_slice(&junk);
            prop_assert_eq!(Marker::parse(&pdu), Ok(MARKER));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..140)) {
            let _ = Marker::parse(&bytes);
        }
    }
}
