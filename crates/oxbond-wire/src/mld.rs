//! MLD membership reports: IPv6's counterpart of [`crate::igmp`]. RFC 2710 (version 1), RFC 3810 (version 2).

use core::net::Ipv6Addr;

use crate::MacAddr;
use crate::igmp::checksum;

/// Where version 2 reports go (RFC 3810, section 5.2.14).
const ALL_MLDV2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// Most groups in one version 2 report, so that its frame fits IPv6's least MTU, 1280 bytes.
pub const GROUPS_PER_REPORT: usize = 60;

const V1_REPORT: u8 = 131;
const V2_REPORT: u8 = 143;

/// *The filter of this group is to exclude these sources* (none): wanted from whoever sends (RFC 3810, section 5.2.12).
const MODE_IS_EXCLUDE: u8 = 2;

/// Hop-by-hop options in front of the message: ICMPv6 follows, eight bytes, Router Alert for MLD (RFC 2711), padding.
const HOP_BY_HOP: [u8; 8] = [58, 0, 5, 2, 0, 0, 1, 0];

/// A version 1 report of one group, as a complete frame. `source` is a link-local address of the interface, `::` if it
/// has none (RFC 3590).
pub fn report_v1(source_mac: MacAddr, source: Ipv6Addr, group: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![V1_REPORT, 0, 0, 0, 0, 0, 0, 0];
    message.extend(group.octets());
    frame(source_mac, source, group, message)
}

/// A version 2 report of at most [`GROUPS_PER_REPORT`] groups (more are left out), as a complete frame.
pub fn report_v2(source_mac: MacAddr, source: Ipv6Addr, groups: &[Ipv6Addr]) -> Vec<u8> {
    let groups = &groups[..groups.len().min(GROUPS_PER_REPORT)];
    let mut message = vec![V2_REPORT, 0, 0, 0, 0, 0, 0, 0];
    // At most GROUPS_PER_REPORT, which fits one byte.
    message[7] = groups.len() as u8;
    for group in groups {
        message.extend([MODE_IS_EXCLUDE, 0, 0, 0]);
        message.extend(group.octets());
    }
    frame(source_mac, source, ALL_MLDV2_ROUTERS, message)
}

/// Whether a node reports this group at all: multicast beyond the node itself, other than that of all nodes
/// (RFC 3810, section 6).
pub fn is_reported(group: Ipv6Addr) -> bool {
    let scope = group.octets()[1] & 0x0f;
    group.is_multicast() && scope >= 2 && group != Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)
}

/// The link-layer address of a group: its low 32 bits behind `33:33` (RFC 2464, section 7).
pub const fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// Ethernet, and IPv6 with hop limit 1 and Router Alert (RFC 3810, section 5), around an ICMPv6 message whose checksum
/// field (bytes 2 and 3) is still zero.
fn frame(source_mac: MacAddr, source: Ipv6Addr, to: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    // GROUPS_PER_REPORT keeps both lengths far below 65536.
    let length = (message.len() as u16).to_be_bytes();
    // RFC 8200, section 8.1: addresses, length and next header are part of the sum.
    let pseudo = [0, 0, length[0], length[1], 0, 0, 0, 58];
    let sum = checksum([&source.octets()[..], &to.octets(), &pseudo, &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut frame = Vec::with_capacity(14 + 40 + HOP_BY_HOP.len() + message.len());
    frame.extend(group_mac(to).octets());
    frame.extend(source_mac.octets());
    frame.extend([0x86, 0xdd]);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(((HOP_BY_HOP.len() + message.len()) as u16).to_be_bytes());
    frame.extend([0, 1]); // Hop-by-hop options follow; hop limit 1.
    frame.extend(source.octets());
    frame.extend(to.octets());
    frame.extend(HOP_BY_HOP);
    frame.extend(message);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn group(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0x0102, last)
    }

    /// Zero when the checksum is right.
    fn sum_of(frame: &[u8]) -> u16 {
        let length = u16::try_from(frame.len() - 62).unwrap().to_be_bytes();
        checksum([
            &frame[22..54],
            &[0, 0, length[0], length[1], 0, 0, 0, 58],
            &frame[62..],
        ])
    }

    #[test]
    fn version_1_byte_for_byte() {
        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        let frame = report_v1(MAC, source, group(3));
        assert_eq!(
            frame[..14],
            [0x33, 0x33, 1, 2, 0, 3, 2, 0, 0, 0, 0, 1, 0x86, 0xdd]
        );
        assert_eq!(frame[14..22], [0x60, 0, 0, 0, 0, 32, 0, 1]);
        assert_eq!(frame[22..38], source.octets());
        assert_eq!(frame[38..54], group(3).octets());
        assert_eq!(frame[54..62], [58, 0, 5, 2, 0, 0, 1, 0]);
        assert_eq!((frame[62], &frame[70..]), (131, &group(3).octets()[..]));
        assert_eq!(sum_of(&frame), 0);
    }

    #[test]
    fn version_2_holds_every_group_and_stays_within_the_mtu() {
        let groups: Vec<_> = (0..100).map(group).collect();
        let frame = report_v2(MAC, Ipv6Addr::UNSPECIFIED, &groups[..2]);
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 0x16]);
        assert_eq!(frame[62], 143);
        assert_eq!(frame[66..74], [0, 0, 0, 2, 2, 0, 0, 0]);
        assert_eq!(frame[74..90], group(0).octets());
        assert_eq!(frame.len(), 62 + 8 + 2 * 20);
        assert_eq!(sum_of(&frame), 0);
        let most = report_v2(MAC, Ipv6Addr::UNSPECIFIED, &groups);
        assert_eq!(usize::from(most[69]), GROUPS_PER_REPORT);
        assert!(most.len() <= 1294);
        assert_eq!(sum_of(&most), 0);
    }

    #[test]
    fn what_is_reported() {
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let node_local = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 0xfb);
        assert!(is_reported(group(0)));
        assert!(!is_reported(all_nodes));
        assert!(!is_reported(node_local));
        assert!(!is_reported(Ipv6Addr::LOCALHOST));
    }
}
