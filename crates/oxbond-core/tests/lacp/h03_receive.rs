//! H43.3: Receive machine.

use oxbond_core::lacp::{Config, MuxState, NO_PARTNER, ReceiveState};
use oxbond_core::option::LacpRate;
use oxbond_core::port::{Duplex, LinkState};
use oxbond_wire::lacp::{Lacpdu, State};

use crate::rig::{DOWN, OTHER, PARTNER, Rig, UP, config, fast};

#[test]
fn h3_1_link_up_goes_to_expired_and_says_so_at_once() {
    let mut rig = Rig::empty(config());
    rig.add(0, DOWN);
    assert_eq!(rig.port(0).receive, ReceiveState::PortDisabled);
    rig.run(500).link(0, UP);
    assert_eq!(rig.port(0).receive, ReceiveState::Expired);
    assert_eq!(rig.times_on(0, rig.now), [0]);
    let pdu = rig.last_on(0);
    assert!(pdu.actor.state.has(State::EXPIRED));
    assert!(pdu.partner.state.has(State::TIMEOUT), "asks for short");
}

#[test]
fn h3_2_and_3_3_defaulted_after_three_seconds() {
    let mut rig = Rig::new(config(), 1);
    rig.run(2_999);
    assert_eq!(rig.port(0).receive, ReceiveState::Expired);
    rig.run(1);
    let port = rig.port(0);
    assert_eq!(port.receive, ReceiveState::Defaulted);
    assert_eq!(port.partner, NO_PARTNER.into());
    assert!(port.actor.state.has(State::DEFAULTED) && !port.actor.state.has(State::EXPIRED));
    // It keeps looking every second.
    rig.forget().run(10_000);
    assert_eq!(rig.sent.len(), 10);
}

#[test]
fn h3_4_the_first_good_pdu_makes_it_current() {
    for wait in [100, 5_000] {
        let mut rig = Rig::new(config(), 1);
        rig.run(wait).hear_good(0);
        let port = rig.port(0);
        assert_eq!(port.receive, ReceiveState::Current);
        assert!(!port.actor.state.has(State::DEFAULTED) && !port.actor.state.has(State::EXPIRED));
    }
}

#[test]
fn h3_5_silence_expires_it() {
    for (config, ms) in [(fast(), 3_000), (config(), 90_000)] {
        let mut rig = Rig::new(config, 1);
        rig.agree(&[0]);
        rig.run(ms - 1);
        assert!(rig.distributes(0));
        rig.run(1);
        assert_eq!(rig.port(0).receive, ReceiveState::Expired);
        assert!(!rig.collects(0) && !rig.distributes(0));
        rig.run(3_000);
        assert_eq!(rig.port(0).receive, ReceiveState::Defaulted);
    }
}

#[test]
fn h3_6_every_pdu_restarts_the_timer() {
    let mut rig = Rig::new(fast(), 1);
    rig.agree(&[0]);
    let same = rig.good(0);
    for _ in 0..20 {
        rig.run(2_900).hear_pdu(0, &same);
        assert_eq!(rig.port(0).receive, ReceiveState::Current);
    }
}

#[test]
fn h3_7_a_new_timeout_is_used_from_the_next_pdu() {
    let mut rig = Rig::new(config(), 1);
    rig.agree(&[0]);
    rig.configure(|config| config.lacp_rate = LacpRate::Fast);
    rig.run(10_000);
    assert_eq!(
        rig.port(0).receive,
        ReceiveState::Current,
        "the old one runs"
    );
    rig.hear_good(0).run(3_000);
    assert_eq!(rig.port(0).receive, ReceiveState::Expired);
}

#[test]
fn h3_8_a_quick_return_needs_no_new_selection() {
    let mut rig = Rig::new(config(), 2);
    rig.agree(&[0, 1]);
    let before = rig.port(1);
    rig.run(1_000).link(1, DOWN);
    let port = rig.port(1);
    assert_eq!(port.receive, ReceiveState::PortDisabled);
    assert_eq!(port.partner.system, Some(PARTNER));
    assert!(!port.partner.state.has(State::SYNC) && !rig.collects(1));
    rig.run(300).link(1, UP);
    rig.hear_good(1).hear_good(1);
    assert!(rig.distributes(1), "at once");
    assert_eq!(rig.port(1).aggregator, before.aggregator);
    let told = rig.port(1).counters;
    assert_eq!(
        (told.partner_changes, told.actor_changes),
        (before.counters.partner_changes, 0)
    );
}

#[test]
fn h3_9_port_moved() {
    let mut rig = Rig::new(config(), 2);
    rig.agree(&[0]);
    let plugged = rig.good(0).actor;
    rig.link(0, DOWN);
    rig.run(1_000);
    for _ in 0..2 {
        rig.hear(1, |pdu| pdu.actor = plugged);
    }
    assert!(rig.distributes(1));
    let old = rig.port(0);
    assert_eq!(
        (old.receive, old.partner),
        (ReceiveState::PortDisabled, NO_PARTNER.into())
    );
}

#[test]
fn h3_10_half_duplex_disables_lacp() {
    let half = LinkState {
        duplex: Duplex::Half,
        ..UP
    };
    let mut rig = Rig::empty(config());
    rig.add(0, half);
    rig.run(40_000).hear_good(0);
    let port = rig.port(0);
    assert_eq!(port.receive, ReceiveState::LacpDisabled);
    assert_eq!(port.counters.refused.port_disabled, 1);
    assert!(rig.sent.is_empty() && !rig.collects(0));
    assert!(rig.lacp.aggregators()[0].individual);
    rig.link(0, UP);
    rig.agree(&[0]);
    rig.link(0, half);
    assert!(!rig.collects(0));
    assert_eq!(rig.reason(0), "half duplex: LACP does not run on this link");
}

/// What is changed in a good PDU.
type Mutation = (&'static str, fn(&mut Lacpdu));

/// Each of the five fields and the aggregation flag, mutated in turn; then Sync itself.
#[test]
fn h3_11_to_3_14_partner_sync() {
    let mutations: [Mutation; 7] = [
        ("port", |pdu| pdu.partner.port ^= 1),
        ("port priority", |pdu| pdu.partner.port_priority ^= 1),
        ("system", |pdu| pdu.partner.system = OTHER),
        ("system priority", |pdu| pdu.partner.system_priority ^= 1),
        ("key", |pdu| pdu.partner.key ^= 2),
        ("aggregation", |pdu| pdu.partner.state.0 ^= 4),
        ("sync", |pdu| pdu.actor.state.0 ^= 8),
    ];
    for (what, mutate) in mutations {
        let mut rig = Rig::new(config(), 1);
        rig.agree(&[0]);
        rig.hear(0, mutate);
        assert!(!rig.port(0).partner.state.has(State::SYNC), "{what}");
        assert!(!rig.collects(0), "{what}");
        rig.hear_good(0);
        assert!(rig.distributes(0), "{what}");
    }
}

#[test]
fn h3_15_an_individual_partner_in_sync_is_in_sync() {
    let mut rig = Rig::new(config(), 1);
    for _ in 0..2 {
        rig.hear(0, |pdu| {
            pdu.actor.state.0 &= !State::AGGREGATION.0;
            pdu.partner.key ^= 4;
        });
    }
    assert!(rig.port(0).partner.state.has(State::SYNC));
}

#[test]
fn h3_16_both_passive_is_not_in_sync() {
    let passive = Config {
        lacp_active: false,
        ..config()
    };
    let mut rig = Rig::new(passive, 1);
    for _ in 0..2 {
        rig.hear(0, |pdu| pdu.actor.state.0 &= !1);
    }
    assert!(!rig.port(0).partner.state.has(State::SYNC));
    assert_eq!(
        rig.reason(0),
        "both ends are passive: set lacp_active=on here, or active mode there"
    );
    rig.agree(&[0]);
}

/// A partner that is passive is enough, if it knows that we are not.
#[test]
fn h3_16_one_active_end_maintains_the_link() {
    let mut rig = Rig::new(config(), 1);
    for _ in 0..2 {
        rig.hear(0, |pdu| pdu.actor.state.0 &= !1);
    }
    assert!(rig.distributes(0));
    rig.hear(0, |pdu| {
        pdu.actor.state.0 &= !1;
        pdu.partner.state.0 &= !1;
    });
    assert!(!rig.collects(0), "it thinks we are passive");
}

#[test]
fn h3_17_to_3_20_a_wrong_view_of_us_is_answered() {
    let wrong: [Mutation; 9] = [
        ("port", |pdu| pdu.partner.port ^= 1),
        ("port priority", |pdu| pdu.partner.port_priority ^= 1),
        ("system", |pdu| pdu.partner.system = OTHER),
        ("system priority", |pdu| pdu.partner.system_priority ^= 1),
        ("key", |pdu| pdu.partner.key ^= 2),
        ("activity", |pdu| pdu.partner.state.0 ^= 1),
        ("timeout", |pdu| pdu.partner.state.0 ^= 2),
        ("aggregation", |pdu| pdu.partner.state.0 ^= 4),
        ("sync", |pdu| pdu.partner.state.0 ^= 8),
    ];
    let told_later: [Mutation; 4] = [
        ("collecting", |pdu| pdu.partner.state.0 ^= 0x10),
        ("distributing", |pdu| pdu.partner.state.0 ^= 0x20),
        ("defaulted", |pdu| pdu.partner.state.0 ^= 0x40),
        ("expired", |pdu| pdu.partner.state.0 ^= 0x80),
    ];
    for (wrong, answered) in [(&wrong[..], true), (&told_later[..], false)] {
        for (what, mutate) in wrong {
            let mut rig = Rig::new(config(), 1);
            rig.agree(&[0]);
            rig.run(5_000).forget();
            rig.hear(0, mutate);
            assert_eq!(!rig.sent.is_empty(), answered, "{what}");
        }
    }
}

#[test]
fn h3_ports_that_are_disabled_ignore_pdus() {
    let mut rig = Rig::empty(config());
    rig.add(0, DOWN);
    rig.hear_good(0);
    let port = rig.port(0);
    assert_eq!(
        (port.receive, port.mux),
        (ReceiveState::PortDisabled, MuxState::Waiting)
    );
    assert_eq!(port.counters.refused.port_disabled, 1);
}
