//! H43.8: Marker protocol.

use oxbond_core::lacp::{Event, MuxState};
use oxbond_wire::ethernet::Header;
use oxbond_wire::marker::{Kind, Marker};

use crate::rig::{DOWN, PARTNER, Rig, US, config, id};

const QUESTION: Marker = Marker {
    version: 1,
    kind: Kind::Information,
    port: 0x1234,
    system: PARTNER,
    transaction: 0xdead_beef,
};

fn markers(rig: &Rig) -> Vec<(u8, Marker)> {
    let parsed = rig.frames.iter().map(|(port, frame)| {
        let (_, pdu) = Header::parse(frame).unwrap();
        Some((port.index() as u8, Marker::parse(pdu).ok()?))
    });
    parsed.flatten().collect()
}

#[test]
fn h8_1_and_8_2_the_answer_byte_for_byte() {
    let mut rig = Rig::new(config(), 2);
    rig.forget();
    let mut bytes = QUESTION.emit();
    bytes[16..].fill(0xa5);
    rig.hear_bytes(1, &bytes);
    assert_eq!(rig.frames.len(), 1);
    let (port, frame) = &rig.frames[0];
    assert_eq!(*port, id(1), "the same port");
    assert_eq!(frame.len(), 124);
    assert_eq!(
        frame[..14],
        [1, 0x80, 0xc2, 0, 0, 2, 2, 0, 0, 0, 1, 1, 0x88, 0x09]
    );
    assert_eq!(frame[14..18], [2, 1, 2, 16]);
    assert_eq!(
        frame[18..30],
        [0x12, 0x34, 2, 0, 0, 0, 0, 0xbb, 0xde, 0xad, 0xbe, 0xef]
    );
    assert_eq!(frame[30..], [0; 94], "pad, terminator, reserved");
}

#[test]
fn h8_3_wrong_version_and_length() {
    let mut rig = Rig::new(config(), 1);
    rig.forget();
    rig.hear_bytes(
        0,
        &Marker {
            version: 9,
            ..QUESTION
        }
        .emit(),
    );
    assert_eq!(markers(&rig)[0].1.version, 1, "any version is answered");
    let mut bytes = QUESTION.emit();
    bytes[3] = 20;
    rig.hear_bytes(0, &bytes)
        .hear_bytes(0, &QUESTION.emit()[..60]);
    rig.hear_bytes(
        0,
        &Marker {
            kind: Kind::Unknown(7),
            ..QUESTION
        }
        .emit(),
    );
    assert_eq!(markers(&rig).len(), 1);
    let counters = rig.port(0).counters;
    assert_eq!((counters.illegal_rx, counters.unknown_rx), (2, 1));
    assert_eq!(
        (counters.refused.tlv_length, counters.refused.truncated),
        (1, 1)
    );
}

#[test]
fn h8_5_a_burst_is_answered_a_storm_is_not() {
    let mut rig = Rig::new(config(), 1);
    rig.forget();
    for _ in 0..1_000 {
        rig.hear_bytes(0, &QUESTION.emit()).run(1);
    }
    assert_eq!(markers(&rig).len(), 10);
    let counters = rig.port(0).counters;
    assert_eq!(
        (counters.marker_rx, counters.marker_response_tx),
        (1_000, 10)
    );
    assert_eq!(counters.refused.marker_rate, 990);
    rig.run(1_000).hear_bytes(0, &QUESTION.emit());
    assert_eq!(markers(&rig).len(), 11);
}

#[test]
fn h8_6_answered_in_any_state() {
    let mut rig = Rig::new(config(), 1);
    assert_eq!(rig.port(0).mux, MuxState::Waiting);
    rig.hear_bytes(0, &QUESTION.emit());
    assert_eq!(markers(&rig).len(), 1);
    rig.agree(&[0]);
    rig.hear_bytes(0, &QUESTION.emit());
    assert_eq!(markers(&rig).len(), 2);
}

#[test]
fn h8_7_unsolicited_responses_are_ignored() {
    let mut rig = Rig::new(config(), 1);
    rig.agree(&[0]);
    let transaction = rig.lacp.flush(rig.now, id(0)).unwrap();
    rig.drain();
    rig.forget();
    let ours = Marker {
        kind: Kind::Response,
        system: US,
        port: 1,
        transaction,
        version: 1,
    };
    for wrong in [
        Marker {
            transaction: transaction + 1,
            ..ours
        },
        Marker { port: 2, ..ours },
        Marker {
            system: PARTNER,
            ..ours
        },
    ] {
        rig.hear_bytes(0, &wrong.emit());
    }
    assert!(rig.events.is_empty() && rig.frames.is_empty());
    rig.hear_bytes(0, &ours.emit());
    assert_eq!(rig.events.len(), 1);
    rig.hear_bytes(0, &ours.emit());
    assert_eq!(rig.events.len(), 1, "once");
    assert_eq!(rig.port(0).counters.marker_response_rx, 5);
}

#[test]
fn h8_8_flush_ends_with_the_response_or_with_time() {
    let mut rig = Rig::new(config(), 2);
    rig.agree(&[0, 1]);
    rig.forget();
    let answered = rig.lacp.flush(rig.now, id(0)).unwrap();
    let lost = rig.lacp.flush(rig.now, id(1)).unwrap();
    rig.drain();
    let sent = markers(&rig);
    assert_eq!(sent.len(), 2);
    let (port, marker) = sent[0];
    assert_eq!(
        (port, marker.kind, marker.system, marker.port),
        (0, Kind::Information, US, 1)
    );
    rig.run(300).hear_bytes(
        0,
        &Marker {
            kind: Kind::Response,
            ..marker
        }
        .emit(),
    );
    let flushed = |port, transaction, answered| Event::Flushed {
        port: id(port).into(),
        transaction,
        answered,
    };
    assert_eq!(rig.events.last().unwrap().1, flushed(0, answered, true));
    rig.run(699);
    assert_eq!(rig.events.len(), 1);
    rig.run(1);
    assert_eq!(rig.events.last().unwrap().1, flushed(1, lost, false));

    rig.link(1, DOWN);
    assert_eq!(rig.lacp.flush(rig.now, id(1)), None, "no link");
    assert_eq!(rig.port(0).counters.marker_tx, 1);
}

#[test]
fn h8_8_at_most_five_are_asked_in_a_second() {
    let mut rig = Rig::new(config(), 1);
    rig.agree(&[0]);
    let asked: Vec<_> = (0..9).map(|_| rig.lacp.flush(rig.now, id(0))).collect();
    assert_eq!(asked.iter().flatten().count(), 5);
    rig.drain();
    rig.run(1_000);
    assert!(rig.lacp.flush(rig.now, id(0)).is_some());
}
