//! What goes beyond the standard: fallback, drain, reasons, snapshots.

use core::time::Duration;

use oxbond_core::lacp::{Config, Drain, Event, Fallback, Lacp, MuxState};
use oxbond_wire::MacAddr;
use oxbond_wire::ethernet::Header;
use oxbond_wire::lacp::State;
use oxbond_wire::marker::{Kind, Marker};

use crate::rig::{DOWN, OTHER, Rig, UP, config, fast, id};

fn falling_back(fallback: Fallback) -> Config {
    Config {
        fallback,
        fallback_delay: Duration::from_secs(2),
        ..config()
    }
}

#[test]
fn strict_carries_nothing_without_a_partner() {
    let mut rig = Rig::new(config(), 2);
    rig.run(600_000);
    assert!(rig.traffic.is_empty() && !rig.lacp.has_carrier(0));
    assert_eq!(
        rig.reason(0),
        "partner never answered, for 600 s: is LACP on at the other end?"
    );
}

#[test]
fn the_drivers_way_uses_one_port_from_the_first_moment() {
    let lax = Config {
        lacp_strict: false,
        ..config()
    };
    let mut rig = Rig::new(lax, 2);
    assert_eq!(rig.lacp.distributing(), [id(0)]);
    assert!(rig.lacp.has_carrier(1));
    rig.link(0, DOWN);
    assert_eq!(rig.lacp.distributing(), [id(1)]);
    rig.hear_good(1);
    assert!(rig.lacp.has_carrier(1), "before anything distributes");
    rig.link(1, DOWN);
    assert!(!rig.lacp.has_carrier(1));
}

#[test]
fn active_backup_keeps_its_port_and_finds_another() {
    let mut rig = Rig::new(falling_back(Fallback::ActiveBackup), 3);
    rig.run(5_000);
    assert_eq!(rig.lacp.distributing(), [id(0)]);
    assert_eq!(rig.lacp.collecting(), [id(0)]);
    rig.link(0, DOWN);
    assert_eq!(rig.lacp.distributing(), [id(1)], "at once");
    rig.link(0, UP);
    rig.run(10_000);
    assert_eq!(rig.lacp.distributing(), [id(1)], "no reason to move");
    assert!(rig.port(1).fallback && !rig.port(0).fallback);
    assert!(
        !rig.last_on(1).actor.state.has(State::DISTRIBUTING),
        "it is no aggregate"
    );
}

#[test]
fn individual_uses_every_port_until_one_has_a_partner() {
    let mut rig = Rig::new(falling_back(Fallback::Individual), 3);
    rig.run(5_000);
    assert_eq!(rig.lacp.distributing().len(), 3);
    rig.hear_good(1);
    assert_eq!(rig.lacp.distributing(), [id(1)], "by protocol");
    assert!(!rig.port(1).fallback);
    // And again, when that one is gone.
    rig.link(1, DOWN);
    rig.run(5_000);
    assert_eq!(rig.lacp.distributing(), [id(0), id(2)]);
}

#[test]
fn the_partner_dies_and_the_fallback_waits_for_certainty() {
    let mut settings = falling_back(Fallback::ActiveBackup);
    settings.lacp_rate = oxbond_core::option::LacpRate::Fast;
    let mut rig = Rig::new(settings, 1);
    rig.agree(&[0]);
    rig.run(3_000);
    assert!(rig.lacp.distributing().is_empty(), "EXPIRED");
    rig.run(4_999);
    assert!(
        rig.lacp.distributing().is_empty(),
        "DEFAULTED after 3 s, then 2 s"
    );
    rig.run(1);
    assert_eq!(rig.lacp.distributing(), [id(0)]);
}

fn response(rig: &Rig) -> Vec<u8> {
    let (_, pdu) = Header::parse(&rig.frames.last().unwrap().1).unwrap();
    let marker = Marker::parse(pdu).unwrap();
    Marker {
        kind: Kind::Response,
        ..marker
    }
    .emit()
    .to_vec()
}

#[test]
fn drain_goes_when_the_partner_has_all_and_sends_nothing() {
    for coupled_control in [false, true] {
        let mut settings = config();
        settings.coupled_control = coupled_control;
        let mut rig = Rig::new(settings, 2);
        rig.agree(&[0, 1]);
        rig.run(2_000).forget();
        rig.lacp.drain(rig.now, id(1));
        rig.drain();
        assert_eq!(rig.lacp.distributing(), [id(0)]);
        assert!(rig.collects(1), "what is under way is still delivered");
        let told = rig.last_on(1).actor.state;
        assert_eq!(
            told.0 & 0x38,
            State::COLLECTING.0,
            "no Sync: the partner stops"
        );
        assert_eq!(rig.reason(1), "being drained");
        let answer = response(&rig);

        // The partner first answers the marker, then stops sending.
        rig.run(10).hear_bytes(1, &answer);
        assert!(rig.collects(1));
        rig.run(10).hear(1, |pdu| pdu.actor.state = State(0x0d));
        assert!(!rig.collects(1));
        assert_eq!(
            rig.events.last().map(|(_, event)| event.clone()),
            Some(Event::Drained { port: id(1).into() })
        );
        assert_eq!(rig.port(1).drain, Drain::Out);
        assert_eq!(rig.last_on(1).actor.state.0 & 0x38, 0);
        rig.run_hearing(60_000, 10_000, &[0, 1]);
        assert_eq!(rig.port(1).mux, MuxState::Waiting);
        assert_eq!(rig.reason(1), "drained");

        rig.lacp.undrain(rig.now, id(1));
        rig.drain();
        rig.hear_good(1).hear_good(1);
        assert!(rig.distributes(1));
    }
}

#[test]
fn drain_does_not_wait_for_ever() {
    let mut rig = Rig::new(config(), 2);
    rig.agree(&[0, 1]);
    rig.run(2_000);
    rig.lacp.drain(rig.now, id(1));
    rig.run(1_999);
    assert!(rig.collects(1));
    rig.run(1);
    assert!(!rig.collects(1), "a partner that ignores us");

    // A port that carries nothing is out at once.
    rig.forget();
    rig.link(0, DOWN);
    rig.lacp.drain(rig.now, id(0));
    rig.drain();
    assert!(
        rig.events
            .iter()
            .any(|(_, event)| *event == Event::Drained { port: id(0).into() })
    );
}

#[test]
fn an_aggregate_that_is_drained_makes_room_for_standby() {
    let mut settings = config();
    settings.max_ports = 1;
    let mut rig = Rig::new(settings, 2);
    rig.agree(&[0]);
    rig.hear_good(1).run(3_000);
    rig.lacp.drain(rig.now, id(0));
    rig.drain();
    rig.hear_good(1);
    assert_eq!(rig.lacp.distributing(), [id(1)]);
    assert_eq!(rig.lacp.collecting(), [id(0), id(1)]);
}

#[test]
fn reasons_name_the_end_at_fault() {
    let mut rig = Rig::new(fast(), 2);
    assert_eq!(rig.reason(0), "link is up, no LACPDU yet");
    rig.run(12_000);
    assert_eq!(
        rig.reason(0),
        "partner never answered, for 12 s: is LACP on at the other end?"
    );
    rig.agree(&[0, 1]);
    assert_eq!(rig.reason(0), "distributes");
    rig.hear(1, |pdu| pdu.actor.key = 9)
        .hear(1, |pdu| pdu.actor.key = 9);
    assert_eq!(
        rig.reason(1),
        "in aggregator 2, while 1 is active: partner put this port in another aggregator: key 9, others 7"
    );
    let unseen = |rig: &mut Rig| {
        rig.hear(1, |pdu| {
            pdu.partner = oxbond_core::lacp::NO_PARTNER;
            pdu.actor.state = State(0xc7);
        });
    };
    unseen(&mut rig);
    assert_eq!(
        rig.reason(1),
        "we see partner, partner does not see us: one-way link"
    );
    rig.hear(1, |pdu| {
        pdu.partner.system = OTHER;
        pdu.partner.key = 3;
    });
    assert_eq!(
        rig.reason(1),
        "partner takes us for system 02:00:00:00:00:cc, key 3"
    );
    rig.hear(1, |pdu| pdu.actor.state = State(0x87));
    assert_eq!(
        rig.reason(1),
        "partner expects fast, hears slow: our LACPDUs reach it too late"
    );
    rig.run(5_000);
    assert_eq!(rig.reason(1), "partner fell silent 5 s ago");
    rig.hear_good(1).run(30_000).hear_good(1).run(3_500);
    assert_eq!(
        rig.reason(1),
        "we expect fast, hear slow: LACPDUs came 30 s apart"
    );
    rig.link(1, DOWN);
    assert_eq!(rig.reason(1), "no link");
    rig.link(1, UP);
    assert_eq!(rig.reason(1), "link is up, no LACPDU yet");

    let mut silent = config();
    silent.lacp_active = false;
    let mut rig = Rig::new(silent, 1);
    rig.run(10_000);
    assert_eq!(
        rig.reason(0),
        "partner never spoke, for 10 s, and lacp_active=off lets us not speak first"
    );
}

/// A daemon is killed and the next one goes on: the partner sees PDUs on time and nothing else.
#[test]
fn a_snapshot_resumes_where_it_stood() {
    let mut rig = Rig::new(fast(), 2);
    rig.agree(&[0, 1]);
    rig.run_hearing(5_000, 1_000, &[0, 1]);
    let snapshot = serde_json::to_string(&rig.lacp).unwrap();
    let mut restarted: Lacp = serde_json::from_str(&snapshot).unwrap();
    assert_eq!(restarted, rig.lacp);
    assert_eq!(restarted.poll(), None);
    assert_eq!(restarted.next_timeout(), rig.lacp.next_timeout());
    rig.lacp = restarted;
    rig.forget();
    rig.now = rig.now + Duration::from_millis(1_800);
    for index in [0, 1] {
        rig.link(index, UP);
    }
    rig.run_hearing(5_000, 1_000, &[0, 1]);
    assert!(
        rig.traffic.is_empty() && rig.events.is_empty(),
        "{:?}",
        rig.events
    );
    assert!(
        rig.sent
            .iter()
            .all(|(_, _, pdu)| pdu.actor.state.has(State::SYNC | State::DISTRIBUTING))
    );
}

#[test]
fn every_state_round_trips_through_a_snapshot() {
    let mut rig = Rig::new(falling_back(Fallback::ActiveBackup), 3);
    let check = |rig: &Rig| {
        let json = serde_json::to_string(&rig.lacp).unwrap();
        assert_eq!(serde_json::from_str::<Lacp>(&json).unwrap(), rig.lacp);
    };
    check(&rig);
    rig.run(6_000);
    check(&rig);
    rig.hear_good(0)
        .hear(1, |pdu| pdu.actor.system = MacAddr([4; 6]));
    check(&rig);
    rig.run(2_000).hear_good(0);
    rig.lacp.drain(rig.now, id(0));
    check(&rig);
}

/// The other order: the partner stops sending before it has answered the marker.
#[test]
fn drain_waits_for_the_marker_too() {
    let mut rig = Rig::new(config(), 2);
    rig.agree(&[0, 1]);
    rig.run(2_000);
    rig.lacp.drain(rig.now, id(1));
    rig.drain();
    let answer = response(&rig);
    rig.run(10).hear(1, |pdu| pdu.actor.state = State(0x0d));
    assert_eq!(rig.port(1).mux, MuxState::Collecting);
    assert_ne!(rig.port(1).drain, Drain::Out);
    rig.hear_bytes(1, &answer);
    assert_eq!(rig.port(1).drain, Drain::Out);
}

/// A partner that is only late on one port is no reason to fall back on another.
#[test]
fn a_late_partner_holds_the_fallback() {
    let settings = Config {
        lacp_rate: oxbond_core::option::LacpRate::Fast,
        ..falling_back(Fallback::ActiveBackup)
    };
    let mut rig = Rig::new(settings, 2);
    rig.run_hearing(10_000, 1_000, &[0]);
    rig.run(3_000);
    assert!(rig.lacp.distributing().is_empty());
    rig.run(4_999);
    assert!(
        rig.lacp.distributing().is_empty(),
        "given up at 6 s, and then 2 s"
    );
    rig.run(1);
    assert_eq!(rig.lacp.distributing().len(), 1);
}
