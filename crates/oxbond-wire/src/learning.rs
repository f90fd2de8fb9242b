//! Learning frames: how a bond whose ports have addresses of their own keeps switches informed of which address is
//! behind which of their ports.

use crate::MacAddr;
use crate::ethernet::{EtherType, Header, Tag};

/// The EtherType of the loopback protocol of the first Ethernet specification (Configuration Testing Protocol). A frame
/// that asks to be sent nowhere is ignored by every station.
pub const ETHER_TYPE: EtherType = EtherType::Unknown(0x9000);

/// A whole frame from a station to itself, padded, in one VLAN or in none: the switch learns where the station is, and
/// nobody receives it. The form that the kernel's driver sends.
pub fn frame(station: MacAddr, vlan: Option<u16>) -> Vec<u8> {
    let header = Header {
        destination: station,
        source: station,
        tags: vlan.map(Tag::vlan).into_iter().collect(),
        ether_type: ETHER_TYPE,
    };
    header.frame(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([0x02, 0, 0x5e, 0x10, 0, 1]);

    #[test]
    fn byte_for_byte() {
        let plain = frame(MAC, None);
        assert_eq!(
            plain[..14],
            [2, 0, 0x5e, 0x10, 0, 1, 2, 0, 0x5e, 0x10, 0, 1, 0x90, 0x00]
        );
        assert_eq!(plain[14..], [0; 46]);
        let tagged = frame(MAC, Some(100));
        assert_eq!(tagged[12..18], [0x81, 0x00, 0, 100, 0x90, 0x00]);
        assert_eq!(tagged.len(), 60);
    }
}
