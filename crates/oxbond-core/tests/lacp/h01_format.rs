//! H43.1: PDU format, addressing.

use oxbond_core::lacp::NO_PARTNER;
use oxbond_wire::lacp::State;

use crate::rig::{DOWN, PARTNER, Rig, US, config, id, mac};

#[test]
fn h1_1_to_1_3_frame_byte_for_byte() {
    let rig = Rig::new(config(), 1);
    let (port, frame) = &rig.frames[0];
    assert_eq!(*port, id(0));
    assert_eq!(frame.len(), 124);
    let head = [1, 0x80, 0xc2, 0, 0, 2, 2, 0, 0, 0, 1, 0, 0x88, 0x09, 1, 1];
    assert_eq!(frame[..16], head);
    // 1.2: the member's own address, not the bond's.
    assert_eq!(frame[6..12], mac(0).octets());
    assert_ne!(mac(0), US);
    assert_eq!(frame[16..18], [1, 20]);
    assert_eq!(frame[33..36], [0; 3], "reserved");
    assert_eq!(frame[36..38], [2, 20]);
    assert_eq!(frame[53..56], [0; 3], "reserved");
    assert_eq!(frame[56..58], [3, 16]);
    assert_eq!(frame[60..], [0; 64], "reserved, terminator");
}

#[test]
fn h1_4_actor_fields_are_as_configured() {
    let mut settings = config();
    settings.ad_actor_sys_prio = 0x1234;
    settings.ad_actor_system = mac(0x77);
    settings.ad_user_port_key = 3;
    let mut rig = Rig::new(settings, 3);
    rig.lacp.set_priority(rig.now, id(1), 77);
    rig.run(1000);
    let mut numbers = Vec::new();
    for index in 0..3 {
        let actor = rig.last_on(index).actor;
        assert_eq!(actor.system_priority, 0x1234);
        assert_eq!(actor.system, mac(0x77));
        assert_eq!(actor.key, 3 << 6 | 15);
        assert_eq!(actor.port_priority, if index == 1 { 77 } else { 255 });
        numbers.push(actor.port);
    }
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 3);
    assert!(!numbers.contains(&0));
}

#[test]
fn h1_5_partner_fields_echo_the_last_pdu() {
    let mut rig = Rig::new(config(), 1);
    rig.hear(0, |pdu| {
        pdu.actor.system_priority = 0x4321;
        pdu.actor.key = 0x7777;
        pdu.actor.port_priority = 0x55;
        pdu.actor.state = State(0xc7 | 0x10);
    });
    let echo = rig.last_on(0).partner;
    assert_eq!(echo.system_priority, 0x4321);
    assert_eq!(echo.system, PARTNER);
    assert_eq!(
        (echo.key, echo.port_priority, echo.port),
        (0x7777, 0x55, 100)
    );
    assert_eq!(echo.state, State(0xd7), "Sync aside, which is off");
}

#[test]
fn h1_6_without_a_partner_the_fields_are_the_defaults() {
    let mut rig = Rig::new(config(), 1);
    rig.run(4_000);
    let pdu = rig.last_on(0);
    assert_eq!(pdu.partner, NO_PARTNER);
    assert!(pdu.actor.state.has(State::DEFAULTED));
    assert!(!pdu.actor.state.has(State::EXPIRED));
}

/// That they are not delivered is the data path's part.
#[test]
fn h1_7_lacpdus_are_taken_on_every_member() {
    let mut settings = config();
    settings.max_ports = 1;
    let mut rig = Rig::new(settings, 2);
    rig.agree(&[0]);
    rig.hear_good(1).hear_good(1);
    assert!(!rig.collects(1), "it stands by");
    assert_eq!(rig.port(1).counters.lacpdus_rx, 2);
    assert_eq!(rig.port(1).partner.system, Some(PARTNER));
    assert_eq!(
        rig.frames.len(),
        rig.sent.len(),
        "we send nothing but LACPDUs"
    );
    rig.link(1, DOWN);
}

#[test]
fn h1_8_collector_max_delay_is_sent_as_configured() {
    let mut settings = config();
    settings.collector_max_delay = 0x0102;
    let mut rig = Rig::new(settings, 1);
    assert_eq!(rig.last_on(0).collector_max_delay, 0x0102);
    rig.configure(|config| config.collector_max_delay = 9);
    assert_eq!(rig.last_on(0).collector_max_delay, 9);
}
