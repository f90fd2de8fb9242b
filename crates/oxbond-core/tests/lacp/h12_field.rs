//! H43.11 as far as it is about version 1, and H43.12: what is seen in the field.

use core::time::Duration;

use oxbond_core::lacp::{Event, Fallback, Lacp, ReceiveState};
use oxbond_core::option::AdSelect;
use oxbond_wire::MacAddr;
use oxbond_wire::lacp::State;

use crate::rig::{DOWN, Rig, UP, US, config, fast, id};

#[test]
fn h11_1_and_11_2_version_2_is_taken_and_answered_as_version_1() {
    let mut rig = Rig::new(config(), 1);
    for _ in 0..2 {
        let mut bytes = rig.good(0).emit();
        bytes[1] = 2;
        bytes[58..64].copy_from_slice(&[4, 6, 0, 0x80, 0xc2, 1]);
        bytes[64..66].copy_from_slice(&[5, 20]);
        bytes[84..86].copy_from_slice(&[6, 255]);
        rig.hear_bytes(0, &bytes);
    }
    assert!(rig.distributes(0));
    for (_, frame) in &rig.frames {
        assert_eq!(frame[15], 1);
        assert_eq!(frame[72..], [0; 52]);
    }
    assert_eq!(rig.port(0).counters.illegal_rx, 0);
}

/// The switch of one link reboots and comes up as somebody: nobody at first, then as itself without having attached us.
#[test]
fn h12_1_a_default_identity_does_not_tear_down_good_links() {
    for ad_select in [
        AdSelect::Stable,
        AdSelect::Bandwidth,
        AdSelect::Count,
        AdSelect::ActorPortPrio,
    ] {
        let mut settings = fast();
        settings.ad_select = ad_select;
        let mut rig = Rig::new(settings, 3);
        rig.agree(&[0, 1, 2]);
        for index in [1, 2] {
            rig.link(index, DOWN);
            rig.run(100).link(index, UP);
        }
        rig.forget();
        for system in [MacAddr::ZERO, MacAddr([0, 1, 2, 3, 4, 5])] {
            for _ in 0..100 {
                rig.run(500).hear_good(0);
                for index in [1, 2] {
                    rig.hear(index, |pdu| {
                        pdu.actor.system = system;
                        pdu.actor.state = State(0x47);
                    });
                }
                assert!(rig.distributes(0), "{ad_select:?} {system}");
            }
        }
        rig.hear_good(1).hear_good(2).hear_good(1).hear_good(2);
        assert_eq!(rig.lacp.distributing().len(), 3);
    }
}

#[test]
fn h12_2_a_pdu_on_a_port_without_carrier_is_ignored() {
    let mut rig = Rig::new(config(), 1);
    rig.agree(&[0]);
    rig.link(0, DOWN);
    rig.hear_good(0).hear_good(0);
    assert_eq!(rig.port(0).receive, ReceiveState::PortDisabled);
    assert!(!rig.collects(0));
    assert_eq!(rig.port(0).counters.refused.port_disabled, 2);
}

#[test]
fn h12_3_a_peer_without_lacp_and_its_first_pdu() {
    let mut settings = config();
    settings.fallback = Fallback::ActiveBackup;
    settings.fallback_delay = Duration::from_secs(5);
    let mut rig = Rig::new(settings, 2);
    rig.lacp.set_priority(rig.now, id(1), 1);
    rig.run(7_999);
    assert!(
        rig.lacp.collecting().is_empty(),
        "3 s to be sure, 5 s by option"
    );
    rig.run(1);
    assert_eq!(rig.lacp.distributing(), [id(1)], "the better priority");
    assert!(rig.lacp.has_carrier(1));
    rig.run(60_000);
    // The installed system comes up with LACP, on the other port first.
    rig.hear_good(0);
    assert!(!rig.collects(1), "at once, before anything else carries");
    let (_, _, last) = rig.traffic.last().unwrap();
    assert!(!last.contains(&id(1)));
    rig.hear_good(1).hear_good(0).hear_good(1);
    assert_eq!(rig.lacp.distributing(), [id(0), id(1)]);
}

#[test]
fn h12_4_retry_count_of_version_f1_is_ignored() {
    let mut rig = Rig::new(fast(), 1);
    for _ in 0..2 {
        let mut bytes = rig.good(0).emit();
        bytes[1] = 0xf1;
        bytes[58..62].copy_from_slice(&[0x80, 4, 5, 0]);
        bytes[62..66].copy_from_slice(&[0x81, 4, 3, 0]);
        rig.hear_bytes(0, &bytes);
    }
    assert!(rig.distributes(0), "not dropped");
    rig.run(3_000);
    assert_eq!(
        rig.port(0).receive,
        ReceiveState::Expired,
        "after three, not five"
    );
}

#[test]
fn h12_5_the_partner_flaps_its_key_every_second() {
    let mut rig = Rig::new(fast(), 2);
    rig.agree(&[0, 1]);
    rig.forget();
    for second in 0..600_u16 {
        rig.run(1_000).hear_good(0);
        rig.hear(1, |pdu| pdu.actor.key = 7 + second % 2);
        rig.hear(1, |pdu| pdu.actor.key = 7 + second % 2);
        assert!(rig.distributes(0));
        assert_eq!(rig.distributes(1), second % 2 == 0);
    }
    assert!(rig.sent_on(1).len() <= 1_800);
    assert!(rig.sent_on(0).len() <= 610, "{}", rig.sent_on(0).len());
    assert_eq!(rig.lacp.aggregators().len(), 2);
}

#[test]
fn h12_6_two_systems_with_one_id() {
    let mut rig = Rig::new(config(), 1);
    rig.forget();
    for _ in 0..5 {
        rig.run(1_000).hear(0, |pdu| {
            pdu.actor.system = US;
            // Port numbers begin with 1 on both of them.
            pdu.actor.port = 1;
        });
    }
    assert!(!rig.collects(0));
    let loops: Vec<_> = rig
        .events
        .iter()
        .filter(|(_, event)| matches!(event, Event::Loopback { .. }))
        .collect();
    assert_eq!(loops.len(), 1);
    assert_eq!(
        loops[0].1,
        Event::Loopback {
            port: id(0).into(),
            from: None
        }
    );
    assert_eq!(
        rig.reason(0),
        "the other end has our own system id 02:00:00:00:00:aa: set ad_actor_system on one of the two"
    );
    // The way out.
    rig.configure(|config| config.ad_actor_system = MacAddr([2, 9, 9, 9, 9, 9]));
    for _ in 0..2 {
        rig.run(100).hear(0, |pdu| pdu.actor.system = US);
    }
    assert!(rig.distributes(0));
}

/// 64 bonds of 32 ports (the most a bond has), half a minute at fast rate: no PDU late, none missing.
#[test]
fn h12_7_many_ports() {
    let mut rigs: Vec<Rig> = (0..64).map(|_| Rig::new(fast(), 32)).collect();
    for rig in &mut rigs {
        let ports: Vec<u8> = (0..32).collect();
        rig.agree(&ports);
        rig.run(1_100).forget();
        let from = rig.now;
        for _ in 0..10 {
            rig.run(1_000);
            for index in &ports {
                rig.hear(*index, |pdu| pdu.actor.state.0 |= State::TIMEOUT.0);
            }
        }
        for index in ports {
            let times = rig.times_on(index, from);
            assert!(
                times.windows(2).all(|pair| pair[1] - pair[0] <= 1_000),
                "{times:?}"
            );
            assert!(times.len() >= 9);
        }
    }
}

/// The core's clock is the monotonic one, which no setting of the time moves and which stands during suspend; a machine
/// that was stopped for an hour looks the same as a jump ahead.
#[test]
fn h12_8_an_hour_passes_unseen() {
    let mut rig = Rig::new(fast(), 2);
    rig.agree(&[0, 1]);
    rig.now = rig.now + Duration::from_secs(3_600);
    rig.forget();
    rig.lacp.handle_timeout(rig.now);
    rig.drain();
    assert_eq!(rig.port(0).receive, ReceiveState::Expired);
    assert!(rig.lacp.collecting().is_empty());
    assert_eq!(rig.sent_on(0).len(), 1, "not an hour's worth");
    rig.hear_good(0).hear_good(1).hear_good(0).hear_good(1);
    assert_eq!(rig.lacp.distributing(), [id(0), id(1)], "at once");

    // An earlier time than before does no harm either: timers run from there.
    rig.now = rig.now - Duration::from_secs(3_600);
    rig.run(2_000).hear_good(0).hear_good(1);
    assert_eq!(rig.lacp.distributing(), [id(0), id(1)]);
    rig.run(3_000);
    assert!(rig.lacp.distributing().is_empty());
}

/// A storm of ten thousand PDUs a second on one port: counted, no memory, no effect on the other.
#[test]
fn h12_a_storm_on_one_port_leaves_the_other_alone() {
    let mut rig = Rig::new(fast(), 2);
    rig.agree(&[0, 1]);
    rig.run(1_000).hear_good(0);
    let size = |lacp: &Lacp| serde_json::to_string(lacp).unwrap().len();
    rig.forget();
    let before = size(&rig.lacp);
    for count in 0..20_000_u32 {
        if count % 10 == 0 {
            rig.run(1);
        }
        if count % 5_000 == 0 {
            rig.hear_good(0);
        }
        rig.hear(1, |pdu| {
            pdu.actor.key = count as u16;
            pdu.partner.port = count as u16;
        });
        rig.events.clear();
    }
    assert!(rig.distributes(0));
    assert!(rig.sent_on(1).len() <= 3 * 3);
    assert!(size(&rig.lacp) < before + 200);
    assert!(rig.traffic.len() <= 2, "{:?}", rig.traffic.len());
}
