//! H43.2: reception robustness.

use oxbond_core::lacp::{Event, ReceiveState};
use oxbond_wire::MacAddr;
use oxbond_wire::lacp::Lacpdu;

use crate::rig::{Rig, US, config, fast, id, mac};

#[test]
fn h2_1_to_2_4_any_version_is_processed_as_version_1() {
    for version in [0, 2, 255, 0xf1] {
        let mut rig = Rig::new(config(), 1);
        rig.hear(0, |pdu| pdu.version = version);
        rig.hear(0, |pdu| pdu.version = version);
        assert!(rig.distributes(0), "version {version}");
        assert_eq!(rig.last_on(0).version, 1);
    }
}

#[test]
fn h2_5_wrong_tlv_types_are_processed() {
    let mut rig = Rig::new(config(), 1);
    for _ in 0..2 {
        let mut bytes = rig.good(0).emit();
        (bytes[2], bytes[22], bytes[42]) = (9, 0, 0x77);
        rig.hear_bytes(0, &bytes);
    }
    assert!(rig.distributes(0));
}

#[test]
fn h2_6_reserved_octets_are_not_looked_at() {
    let mut rig = Rig::new(config(), 1);
    for _ in 0..2 {
        let mut bytes = rig.good(0).emit();
        for at in (19..22).chain(39..42).chain(46..110) {
            bytes[at] = 0xa5;
        }
        rig.hear_bytes(0, &bytes);
    }
    assert!(rig.distributes(0));
}

#[test]
fn h2_7_wrong_tlv_lengths_are_illegal() {
    let mut rig = Rig::new(config(), 1);
    for (count, at) in [3, 23, 43].into_iter().enumerate() {
        let before = rig.port(0);
        let mut bytes = rig.good(0).emit();
        bytes[at] = 0;
        rig.hear_bytes(0, &bytes);
        let after = rig.port(0);
        assert_eq!(after.counters.illegal_rx, count as u64 + 1);
        assert_eq!(after.counters.refused.tlv_length, count as u64 + 1);
        assert_eq!(
            (after.receive, after.partner),
            (before.receive, before.partner)
        );
    }
}

#[test]
fn h2_8_subtypes() {
    let mut rig = Rig::new(config(), 1);
    let (mut illegal, mut unknown) = (0, 0);
    for subtype in (0..=u8::MAX).filter(|subtype| !(1..=2).contains(subtype)) {
        let mut bytes = rig.good(0).emit();
        bytes[0] = subtype;
        rig.hear_bytes(0, &bytes);
        if (3..=10).contains(&subtype) {
            unknown += 1;
        } else {
            illegal += 1;
        }
        let counters = rig.port(0).counters;
        assert_eq!(
            (counters.illegal_rx, counters.unknown_rx),
            (illegal, unknown)
        );
    }
    assert_eq!(rig.port(0).receive, ReceiveState::Expired);
    assert_eq!(rig.port(0).counters.lacpdus_rx, 0);
}

#[test]
fn h2_9_other_destinations_and_types_are_not_lacp() {
    let mut rig = Rig::new(config(), 1);
    let good = rig.good(0).frame(MacAddr([2; 6]));
    let mut unicast = good.clone();
    unicast[..6].copy_from_slice(&[2, 0, 0, 0, 1, 0]);
    let mut other_type = good.clone();
    other_type[13] = 0x08;
    rig.hear_frame(0, &unicast).hear_frame(0, &other_type);
    let counters = rig.port(0).counters;
    assert_eq!(counters.refused.not_slow, 2);
    assert_eq!((counters.lacpdus_rx, counters.illegal_rx), (0, 0));
    assert_eq!(rig.port(0).receive, ReceiveState::Expired);
}

#[test]
fn h2_10_truncated_at_every_length_and_padded() {
    let mut rig = Rig::new(config(), 1);
    let before = rig.port(0);
    let good = rig.good(0).frame(MacAddr([2; 6]));
    for len in 0..124 {
        rig.hear_frame(0, &good[..len]);
    }
    let after = rig.port(0);
    assert_eq!(
        (after.receive, after.partner, after.mux),
        (before.receive, before.partner, before.mux)
    );
    assert_eq!(after.counters.refused.not_slow, 14, "no header");
    assert_eq!(after.counters.refused.truncated, 110);
    for _ in 0..2 {
        let mut bytes = rig.good(0).emit().to_vec();
        bytes.resize(1500, 0);
        rig.hear_bytes(0, &bytes);
    }
    assert!(rig.distributes(0));
}

#[test]
fn h2_11_tagged_is_not_processed() {
    let mut rig = Rig::new(config(), 1);
    for control in [[0, 5], [0xe0, 0]] {
        let mut frame = rig.good(0).frame(MacAddr([2; 6]));
        frame.splice(12..12, [0x81, 0x00, control[0], control[1]]);
        rig.hear_frame(0, &frame);
    }
    assert_eq!(rig.port(0).counters.refused.tagged, 2);
    assert_eq!(rig.port(0).receive, ReceiveState::Expired);
}

#[test]
fn h2_12_own_pdu_looped_back() {
    let mut rig = Rig::new(fast(), 2);
    rig.agree(&[0]);
    rig.run_hearing(4_000, 900, &[0]);
    rig.forget();
    for _ in 0..5 {
        let own = rig.port(1);
        let pdu = Lacpdu {
            actor: own.actor.information().unwrap(),
            partner: own.partner.information().unwrap(),
            ..rig.good(1)
        };
        rig.hear_frame(1, &pdu.frame(mac(1)));
    }
    assert!(!rig.collects(1) && rig.distributes(0));
    assert_eq!(rig.port(1).counters.refused.own_system, 5);
    assert_eq!(rig.port(1).counters.lacpdus_rx, 0);
    assert_eq!(
        rig.reason(1),
        "we hear our own LACPDUs, from port 2: the cable or the bridge behind it is a loop"
    );
    let told: Vec<_> = rig.events.iter().map(|(_, event)| event.clone()).collect();
    assert_eq!(
        told,
        [Event::Loopback {
            port: id(1).into(),
            from: Some(2)
        }],
        "once"
    );

    // On a port that had a partner: its timer runs on, and the partner is given up in time.
    rig.run(900).hear_good(0);
    for _ in 0..30 {
        rig.run(100).hear(0, |pdu| pdu.actor.system = US);
    }
    assert_eq!(rig.port(0).receive, ReceiveState::Expired);
    assert!(!rig.collects(0));
}
