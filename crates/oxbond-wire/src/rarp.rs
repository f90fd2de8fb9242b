//! Reverse ARP (RFC 903), of which one message is of use: a station that asks for its own address. Nobody answers any more,
//! and every switch learns where the station is; so virtual machine monitors announce a guest that has moved.

use crate::MacAddr;
use crate::ethernet::{EtherType, Header, Tag};

/// The EtherType.
pub const ETHER_TYPE: EtherType = EtherType::Unknown(0x8035);

/// A whole frame from a station to everyone, in these VLANs (outermost first), padded.
pub fn announcement(station: MacAddr, vlans: &[u16]) -> Vec<u8> {
    let header = Header {
        destination: MacAddr::BROADCAST,
        source: station,
        tags: vlans.iter().map(|id| Tag::vlan(*id)).collect(),
        ether_type: ETHER_TYPE,
    };
    // Ethernet and IPv4; a reverse request; sender and target are the station, their IPv4 addresses unknown.
    let mut message = vec![0, 1, 8, 0, 6, 4, 0, 3];
    for _ in 0..2 {
        message.extend(station.octets());
        message.extend([0; 4]);
    }
    header.frame(&message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_for_byte() {
        let mac = MacAddr([0x02, 0, 0x5e, 0x10, 0, 1]);
        let frame = announcement(mac, &[]);
        let mut wanted = vec![0xff; 6];
        wanted.extend([2, 0, 0x5e, 0x10, 0, 1, 0x80, 0x35]);
        wanted.extend([0, 1, 8, 0, 6, 4, 0, 3]);
        wanted.extend([2, 0, 0x5e, 0x10, 0, 1, 0, 0, 0, 0]);
        wanted.extend([2, 0, 0x5e, 0x10, 0, 1, 0, 0, 0, 0]);
        wanted.resize(60, 0);
        assert_eq!(frame, wanted);
        let tagged = announcement(mac, &[100, 7]);
        assert_eq!(tagged[12..22], [0x81, 0, 0, 100, 0x81, 0, 0, 7, 0x80, 0x35]);
    }
}
