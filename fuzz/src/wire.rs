//! The parsers of `oxbond-wire`: what is parsed and emitted again parses to the same.

use oxbond_wire::MacAddr;
use oxbond_wire::arp::{self, Arp};
use oxbond_wire::ethernet::Header;
use oxbond_wire::lacp::Lacpdu;
use oxbond_wire::marker::Marker;
use oxbond_wire::ndp::{NeighbourAdvertisement, NeighbourSolicitation};
use oxbond_wire::probe::ProbeIdentity;

/// A frame.
pub(crate) fn ethernet(frame: &[u8]) {
    let Ok((header, payload)) = Header::parse(frame) else {
        return;
    };
    assert_eq!(header.len() + payload.len(), frame.len());
    let again = header.frame(payload);
    assert!(again.starts_with(frame), "{header:?}");
    assert!(again[frame.len()..].iter().all(|byte| *byte == 0));
}

/// An ARP message.
pub(crate) fn arp(message: &[u8]) {
    if let Ok(read) = Arp::parse(message) {
        let mut again = [0; arp::LEN];
        read.emit(&mut again);
        assert_eq!(again, message[..arp::LEN]);
    }
}

/// An IPv6 packet, read as each message of NDP.
pub(crate) fn ndp(packet: &[u8]) {
    if let Ok(read) = NeighbourAdvertisement::parse(packet) {
        assert_eq!(NeighbourAdvertisement::parse(&read.packet()), Ok(read));
    }
    if let Ok(read) = NeighbourSolicitation::parse(packet) {
        assert_eq!(NeighbourSolicitation::parse(&read.packet()), Ok(read));
    }
}

/// A LACPDU.
pub(crate) fn lacp(pdu: &[u8]) {
    if let Ok(read) = Lacpdu::parse(pdu) {
        assert_eq!(Lacpdu::parse(&read.emit()), Ok(read));
        ethernet(&read.frame(MacAddr([2, 0, 0, 0, 0, 1])));
    }
}

/// A Marker PDU.
pub(crate) fn marker(pdu: &[u8]) {
    if let Ok(read) = Marker::parse(pdu) {
        assert_eq!(Marker::parse(&read.emit()), Ok(read));
    }
}

/// The identity of a probe.
pub(crate) fn probe(bytes: &[u8]) {
    if let Some(read) = ProbeIdentity::find(bytes) {
        assert!(bytes.starts_with(&read.bytes()));
    }
}
