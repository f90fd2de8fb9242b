//! What all slow protocols share: group address, length, subtype (IEEE 802.3, annex 57A).

use crate::ethernet::{EtherType, Header};
use crate::{DecodeError, MacAddr};

/// The group that slow protocols are sent to; bridges never forward it.
pub const GROUP: MacAddr = MacAddr([0x01, 0x80, 0xc2, 0x00, 0x00, 0x02]);

/// Length of a LACPDU and of a Marker PDU, from the subtype on: a frame of 124 bytes without FCS.
pub const LEN: usize = 110;

/// First byte of a slow protocol's PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subtype {
    /// Link aggregation control, 1.
    Lacp,
    /// Marker, 2.
    Marker,
    /// Another protocol, 3 to 10 (3 is OAM, 10 organisation specific): not ours, but legal.
    Unknown(u8),
    /// 0 and from 11 on: nobody may send these.
    Illegal(u8),
}

impl Subtype {
    /// The number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::Lacp => 1,
            Self::Marker => 2,
            Self::Unknown(number) | Self::Illegal(number) => number,
        }
    }

    /// Reads the subtype of a PDU, without its Ethernet header.
    pub fn parse(pdu: &[u8]) -> Result<Self, DecodeError> {
        let number = pdu.first().ok_or(DecodeError::Truncated {
            what: "slow protocol",
            need: 1,
            have: 0,
        })?;
        Ok(Self::from(*number))
    }
}

impl From<u8> for Subtype {
    fn from(number: u8) -> Self {
        match number {
            1 => Self::Lacp,
            2 => Self::Marker,
            3..=10 => Self::Unknown(number),
            0 | 11.. => Self::Illegal(number),
        }
    }
}

/// A whole frame: `pdu` to [`GROUP`], untagged, from the station `source`.
pub fn frame(source: MacAddr, pdu: &[u8; LEN]) -> Vec<u8> {
    let header = Header {
        destination: GROUP,
        source,
        tags: Vec::new(),
        ether_type: EtherType::SlowProtocols,
    };
    header.frame(pdu)
}

/// The PDU as an array, if it has that subtype and is long enough. What follows it is padding.
pub(crate) fn checked<'a>(
    what: &'static str,
    subtype: Subtype,
    bytes: &'a [u8],
) -> Result<&'a [u8; LEN], DecodeError> {
    let pdu = bytes.first_chunk().ok_or(DecodeError::Truncated {
        what,
        need: LEN,
        have: bytes.len(),
    })?;
    let found = pdu[0];
    if found != subtype.number() {
        return Err(DecodeError::Unexpected {
            field: "slow protocol subtype",
            expected: subtype.number().into(),
            found: found.into(),
        });
    }
    Ok(pdu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtypes_by_legality() {
        assert_eq!(Subtype::from(1), Subtype::Lacp);
        assert_eq!(Subtype::from(2), Subtype::Marker);
        for number in 0..=u8::MAX {
            let subtype = Subtype::from(number);
            assert_eq!(subtype.number(), number);
            let legal = matches!(subtype, Subtype::Unknown(_));
            assert_eq!(legal, (3..=10).contains(&number), "{number}");
        }
        let error = Subtype::parse(&[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "slow protocol is cut short: 1 bytes needed, 0 there"
        );
    }

    #[test]
    fn frame_byte_for_byte() {
        let frame = frame(MacAddr([2, 0, 0, 0, 0, 9]), &[7; LEN]);
        assert_eq!(frame.len(), 124);
        assert_eq!(
            frame[..14],
            [1, 0x80, 0xc2, 0, 0, 2, 2, 0, 0, 0, 0, 9, 0x88, 0x09]
        );
        assert!(frame[14..].iter().all(|byte| *byte == 7));
    }
}
