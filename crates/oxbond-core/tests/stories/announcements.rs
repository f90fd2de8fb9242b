//! What peers are told after a failover.

use oxbond_core::action::Action;
use oxbond_core::input::{Announced, Input};
use oxbond_wire::MacAddr;
use oxbond_wire::arp::{Arp, Operation};
use oxbond_wire::ethernet::{EtherType, Header};
use oxbond_wire::ndp::NeighbourAdvertisement;

use crate::rig::{Rig, mac_of};

pub(crate) fn announced(address: &str, vlans: &[u16]) -> Announced {
    Announced {
        address: address.parse().unwrap(),
        mac: mac_of("a"),
        vlans: vlans.to_vec(),
        router: false,
    }
}

fn rig(options: &[&str]) -> Rig {
    let words = [&["mode=active-backup", "miimon=100"], options].concat();
    let mut rig = Rig::new(&words, &["a", "b"]);
    rig.tell(Input::Addresses {
        addresses: vec![announced("192.168.1.100", &[])],
    });
    rig.at(1000);
    rig.log.clear();
    rig
}

fn frames(rig: &mut Rig) -> Vec<Vec<u8>> {
    rig.take(|action| match action {
        Action::SendFrame { frame } => Some(frame.clone()),
        _ => None,
    })
}

const FRAME: fn(&Action) -> bool = |action| matches!(action, Action::SendFrame { .. });
const REJOIN: fn(&Action) -> bool = |action| matches!(action, Action::RejoinMulticast);

#[test]
fn every_address_is_announced_at_once_through_the_new_port() {
    let mut rig = rig(&[]);
    let mut router = announced("fe80::1", &[5, 6]);
    router.router = true;
    rig.tell(Input::Addresses {
        addresses: vec![
            announced("192.168.1.100", &[]),
            announced("10.0.0.1", &[100]),
            router,
        ],
    });
    rig.link_down("a");
    let table = rig
        .log
        .iter()
        .position(|(_, a)| matches!(a, Action::SetTransmitTable { .. }))
        .unwrap();
    let first = rig.log.iter().position(|(_, a)| FRAME(a)).unwrap();
    assert!(table < first, "through the new port");
    let frames = frames(&mut rig);
    assert_eq!(frames.len(), 3);

    let (header, payload) = Header::parse(&frames[0]).unwrap();
    assert_eq!(
        (header.destination, header.source),
        (MacAddr::BROADCAST, mac_of("a"))
    );
    let arp = Arp::parse(payload).unwrap();
    assert_eq!(arp.operation, Operation::Request);
    assert_eq!(
        (arp.sender_ip, arp.target_ip, arp.sender_mac),
        (
            [192, 168, 1, 100].into(),
            [192, 168, 1, 100].into(),
            mac_of("a")
        )
    );

    let (header, payload) = Header::parse(&frames[1]).unwrap();
    assert_eq!(
        header.tags.iter().map(|tag| tag.id()).collect::<Vec<_>>(),
        [100]
    );
    assert_eq!(
        Arp::parse(payload).unwrap().sender_ip,
        std::net::Ipv4Addr::new(10, 0, 0, 1)
    );

    let (header, payload) = Header::parse(&frames[2]).unwrap();
    assert_eq!(
        header.tags.iter().map(|tag| tag.id()).collect::<Vec<_>>(),
        [5, 6]
    );
    assert_eq!(header.ether_type, EtherType::Ipv6);
    let advertisement = NeighbourAdvertisement::parse(payload).unwrap();
    assert_eq!(advertisement.target_mac, Some(mac_of("a")));
    assert!(advertisement.override_cached && advertisement.router && !advertisement.solicited);
}

#[test]
fn repeated_as_often_and_as_slowly_as_asked() {
    for (options, times) in [
        (&["num_grat_arp=1"][..], &[1000][..]),
        (&["num_unsol_na=3"], &[1000, 1100, 1200]),
        (
            &["num_grat_arp=3", "peer_notif_delay=500"],
            &[1000, 1500, 2000],
        ),
        (&["num_grat_arp=0"], &[]),
    ] {
        let mut rig = rig(options);
        rig.link_down("a").at(10_000);
        assert_eq!(rig.times(FRAME), times, "{options:?}");
    }
}

#[test]
fn groups_are_joined_anew_every_200_ms() {
    let mut rig = rig(&["resend_igmp=3"]);
    rig.link_down("a").at(10_000);
    assert_eq!(rig.times(REJOIN), [1000, 1200, 1400]);
    rig.log.clear();
    rig.set(&["resend_igmp=0"]).unwrap();
    rig.link_up("a").link_down("b").at(20_000);
    assert!(rig.times(REJOIN).is_empty());
}

/// A new failover starts anew; no port, or a bond set down, ends it.
#[test]
fn announcements_end_with_what_they_announce() {
    let mut rig = rig(&["num_grat_arp=3"]);
    rig.link_down("a")
        .at(1050)
        .link_up("a")
        .link_down("b")
        .at(10_000);
    assert_eq!(rig.times(FRAME), [1000, 1050, 1150, 1250]);
    rig.log.clear();
    rig.link_up("b")
        .link_down("a")
        .at(10_050)
        .link_down("b")
        .at(20_000);
    assert_eq!(rig.times(FRAME), [10_000]);
    rig.log.clear();
    rig.link_up("a").at(20_050);
    rig.tell(Input::BondAdmin { up: false });
    rig.at(30_000).link_up("b").link_down("a").at(40_000);
    assert_eq!(rig.times(FRAME), [20_000]);
}

/// A driver of the core that is late (a suspended machine) does not make it shout.
#[test]
fn missed_times_are_not_made_up_for() {
    let mut rig = rig(&["num_grat_arp=5"]);
    rig.link_down("a");
    rig.now = oxbond_core::time::Instant::from_millis(1_010_000);
    let input = Input::BondAdmin { up: true };
    rig.tell(input);
    assert_eq!(rig.times(FRAME).len(), 2);
}

#[test]
fn with_fail_over_mac_active_the_new_address_is_announced() {
    let mut rig = rig(&["fail_over_mac=active"]);
    rig.link_down("a");
    let frames = frames(&mut rig);
    let (header, payload) = Header::parse(&frames[0]).unwrap();
    assert_eq!(
        (header.source, Arp::parse(payload).unwrap().sender_mac),
        (mac_of("b"), mac_of("b"))
    );
}

#[test]
fn without_a_monitor_there_is_one_notice() {
    let mut rig = Rig::new(&["mode=active-backup", "num_grat_arp=3"], &["a", "b"]);
    rig.tell(Input::Addresses {
        addresses: vec![announced("192.168.1.100", &[])],
    });
    rig.set(&["active_slave=b"]).unwrap();
    rig.at(10_000);
    assert_eq!(rig.times(FRAME), [0]);
}
