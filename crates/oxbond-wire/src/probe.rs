//! The identity that the bond's own probes carry, so that they are known when they come back on another port: in the
//! padding of an ARP request, in the nonce of a neighbour solicitation.

use crate::MacAddr;

/// Length on the wire: the padding that an untagged ARP frame needs in any case.
pub const LEN: usize = 18;

/// No other padding begins so.
const MAGIC: [u8; 6] = *b"oxbond";

/// Who sent a probe, where, and when.
///
/// ```text
/// | "oxbond" (6) | MAC of the bond (6) | port (2) | sequence (4) |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeIdentity {
    /// The bond, by its address.
    pub bond: MacAddr,
    /// Number of the port it left on.
    pub port: u16,
    /// Number of the round of probes it belongs to.
    pub sequence: u32,
}

impl ProbeIdentity {
    /// Reads an identity off the beginning of the bytes; `None` when they hold none, which is no fault: padding and nonces
    /// of others are anything.
    pub fn find(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let [m0, m1, m2, m3, m4, m5, p0, p1, s0, s1, s2, s3] = *rest.first_chunk()?;
        Some(Self {
            bond: MacAddr([m0, m1, m2, m3, m4, m5]),
            port: u16::from_be_bytes([p0, p1]),
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
        })
    }

    /// The bytes.
    pub fn bytes(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..6].copy_from_slice(&MAGIC);
        bytes[6..12].copy_from_slice(&self.bond.octets());
        bytes[12..14].copy_from_slice(&self.port.to_be_bytes());
        bytes[14..].copy_from_slice(&self.sequence.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn byte_for_byte() {
        let identity = ProbeIdentity {
            bond: MacAddr([2, 0, 0, 0, 0, 1]),
            port: 3,
            sequence: 0x0102_0304,
        };
        assert_eq!(
            identity.bytes(),
            *b"oxbond\x02\0\0\0\0\x01\0\x03\x01\x02\x03\x04"
        );
    }

    #[test]
    fn padding_of_others_is_no_identity() {
        assert_eq!(ProbeIdentity::find(&[0; 18]), None);
        assert_eq!(
            ProbeIdentity::find(b"oxbonD\x02\0\0\0\0\x01\0\x03\x01\x02\x03\x04"),
            None
        );
    }

    proptest! {
        #[test]
        fn round_trip(bond: [u8; 6], port: u16, sequence: u32, tail: [u8; 4], cut in 0..LEN) {
            let identity = ProbeIdentity { bond: MacAddr(bond), port, sequence };
            let bytes = [&identity.bytes()[..], &tail].concat();
            prop_assert_eq!(ProbeIdentity::find(&bytes), Some(identity));
            prop_assert_eq!(ProbeIdentity::find(&bytes[..cut]), None);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(identity) = ProbeIdentity::find(&bytes) {
                prop_assert_eq!(&identity.bytes()[..], &bytes[..LEN]);
            }
        }
    }
}
