//! IGMP membership reports: what a host says so that switches and routers send it a multicast group.
//!
//! Reports only, emitted only: after a failover the bond repeats its memberships, so that a snooping switch learns the
//! new port without waiting for the next query. RFC 2236 (version 2), RFC 3376 (version 3).

use core::net::Ipv4Addr;

use crate::MacAddr;

/// Where version 3 reports go (RFC 3376, section 4.2.14).
const ALL_IGMPV3_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);

/// Most groups in one version 3 report, so that its frame fits the least MTU of Ethernet, 1500 bytes.
pub const GROUPS_PER_REPORT: usize = 180;

/// With the Router Alert option.
const IP_HEADER_LEN: usize = 24;

const V2_REPORT: u8 = 0x16;
const V3_REPORT: u8 = 0x22;

/// *The filter of this group is to exclude these sources* (none): wanted from whoever sends (RFC 3376, section 4.2.12).
const MODE_IS_EXCLUDE: u8 = 2;

/// A version 2 report of one group, as a complete frame. `source` is the address of the interface, `0.0.0.0` if it
/// has none (RFC 3376, section 4.2.13).
pub fn report_v2(source_mac: MacAddr, source: Ipv4Addr, group: Ipv4Addr) -> Vec<u8> {
    let mut message = vec![V2_REPORT, 0, 0, 0];
    message.extend(group.octets());
    frame(source_mac, source, group, message)
}

/// A version 3 report of at most [`GROUPS_PER_REPORT`] groups (more are left out), as a complete frame.
pub fn report_v3(source_mac: MacAddr, source: Ipv4Addr, groups: &[Ipv4Addr]) -> Vec<u8> {
    let groups = &groups[..groups.len().min(GROUPS_PER_REPORT)];
    let mut message = vec![V3_REPORT, 0, 0, 0, 0, 0, 0, 0];
    // At most GROUPS_PER_REPORT, which fits one byte.
    message[7] = groups.len() as u8;
    for group in groups {
        message.extend([MODE_IS_EXCLUDE, 0, 0, 0]);
        message.extend(group.octets());
    }
    frame(source_mac, source, ALL_IGMPV3_ROUTERS, message)
}

/// Whether a host reports this group at all: a multicast address other than the one of all systems on the link
/// (RFC 2236, section 6).
pub fn is_reported(group: Ipv4Addr) -> bool {
    group.is_multicast() && group != Ipv4Addr::new(224, 0, 0, 1)
}

/// The link-layer address of a group: the low 23 bits of the address behind `01:00:5e` (RFC 1112, section 6.4).
pub const fn group_mac(group: Ipv4Addr) -> MacAddr {
    let [_, b, c, d] = group.octets();
    MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d])
}

/// Ethernet, and IPv4 with TTL 1 and the Router Alert option (RFC 2236, section 2), around a message whose checksum
/// field (bytes 2 and 3) is still zero.
fn frame(source_mac: MacAddr, source: Ipv4Addr, to: Ipv4Addr, mut message: Vec<u8>) -> Vec<u8> {
    let sum = checksum([message.as_slice()]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut ip = [0; IP_HEADER_LEN];
    ip[0] = 0x46; // Version 4, six words of header.
    ip[1] = 0xc0; // Internetwork control (RFC 3376, section 4).
    // GROUPS_PER_REPORT keeps this far below 65536.
    ip[2..4].copy_from_slice(&((IP_HEADER_LEN + message.len()) as u16).to_be_bytes());
    ip[6] = 0x40; // Do not fragment.
    ip[8] = 1;
    ip[9] = 2; // IGMP.
    ip[12..16].copy_from_slice(&source.octets());
    ip[16..20].copy_from_slice(&to.octets());
    ip[20..24].copy_from_slice(&[0x94, 4, 0, 0]); // Router Alert (RFC 2113).
    let sum = checksum([ip.as_slice()]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());

    let mut frame = Vec::with_capacity(14 + IP_HEADER_LEN + message.len());
    frame.extend(group_mac(to).octets());
    frame.extend(source_mac.octets());
    frame.extend([0x08, 0x00]);
    frame.extend(ip);
    frame.extend(message);
    frame
}

/// The Internet checksum (RFC 1071) over several pieces, each of even length except the last.
pub(crate) fn checksum<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u16 {
    let mut sum = 0_u32;
    for piece in pieces {
        for word in piece.chunks(2) {
            sum += u32::from(u16::from_be_bytes([
                word[0],
                word.get(1).copied().unwrap_or(0),
            ]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Folded to 16 bits just above.
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    #[test]
    fn version_2_byte_for_byte() {
        let frame = report_v2(
            MAC,
            Ipv4Addr::new(10, 0, 0, 1),
            Ipv4Addr::new(239, 129, 2, 3),
        );
        assert_eq!(
            frame[..14],
            [0x01, 0, 0x5e, 1, 2, 3, 2, 0, 0, 0, 0, 1, 8, 0]
        );
        assert_eq!(frame[14..24], [0x46, 0xc0, 0, 32, 0, 0, 0x40, 0, 1, 2]);
        assert_eq!(frame[26..38], [10, 0, 0, 1, 239, 129, 2, 3, 0x94, 4, 0, 0]);
        assert_eq!(frame[38..40], [0x16, 0]);
        assert_eq!(frame[42..], [239, 129, 2, 3]);
        // A correct checksum makes the whole sum to zero.
        assert_eq!(checksum([&frame[14..38]]), 0);
        assert_eq!(checksum([&frame[38..]]), 0);
    }

    #[test]
    fn version_3_holds_every_group_and_stays_within_the_mtu() {
        let groups: Vec<_> = (0..=255).map(|n| Ipv4Addr::new(239, 1, 1, n)).collect();
        let frame = report_v3(MAC, Ipv4Addr::UNSPECIFIED, &groups[..2]);
        assert_eq!(frame[..6], [0x01, 0, 0x5e, 0, 0, 22]);
        assert_eq!(frame[30..34], [224, 0, 0, 22]);
        assert_eq!(frame[38], 0x22);
        assert_eq!(
            frame[42..],
            [
                0, 0, 0, 2, 2, 0, 0, 0, 239, 1, 1, 0, 2, 0, 0, 0, 239, 1, 1, 1
            ]
        );
        assert_eq!(checksum([&frame[38..]]), 0);
        let most = report_v3(MAC, Ipv4Addr::UNSPECIFIED, &groups);
        assert_eq!(most.len(), 14 + 24 + 8 + GROUPS_PER_REPORT * 8);
        assert!(most.len() <= 1514);
        assert_eq!(usize::from(most[45]), GROUPS_PER_REPORT);
    }

    #[test]
    fn what_is_reported() {
        assert!(is_reported(Ipv4Addr::new(224, 0, 0, 251)));
        assert!(!is_reported(Ipv4Addr::new(224, 0, 0, 1)));
        assert!(!is_reported(Ipv4Addr::new(192, 0, 2, 1)));
    }
}
