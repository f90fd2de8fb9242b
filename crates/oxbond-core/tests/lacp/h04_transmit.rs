//! H43.4: Periodic and Transmit machines.

use oxbond_core::lacp::Config;
use oxbond_core::option::LacpRate;
use oxbond_wire::lacp::State;

use crate::rig::{DOWN, OTHER, Rig, US, config, fast, id, mac};

const TIMEOUT: u8 = State::TIMEOUT.0;

fn passive() -> Config {
    Config {
        lacp_active: false,
        ..config()
    }
}

#[test]
fn h4_1_as_often_as_the_partner_asks() {
    for (short, period) in [(true, 1_000), (false, 30_000)] {
        let mut rig = Rig::new(config(), 1);
        rig.agree(&[0]);
        let mut pdu = rig.good(0);
        pdu.actor.state.0 |= if short { TIMEOUT } else { 0 };
        rig.hear_pdu(0, &pdu).run(1_100).forget();
        let from = rig.now;
        for _ in 0..10 {
            rig.run(period).hear_pdu(0, &pdu);
        }
        let times = rig.times_on(0, from);
        assert_eq!(times.len(), 10, "period {period}: {times:?}");
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.into_iter().all(|gap| gap == period), "{times:?}");
    }
}

#[test]
fn h4_2_from_long_to_short_a_pdu_at_once() {
    let mut rig = Rig::new(config(), 1);
    rig.agree(&[0]);
    rig.run(5_000).forget();
    let from = rig.now;
    rig.hear(0, |pdu| pdu.actor.state.0 |= TIMEOUT);
    rig.run(3_000);
    assert_eq!(rig.times_on(0, from), [0, 1_000, 2_000, 3_000]);
}

#[test]
fn h4_3_who_speaks() {
    for (ours, theirs) in [(true, true), (true, false), (false, true), (false, false)] {
        let config = Config {
            lacp_active: ours,
            ..config()
        };
        let mut rig = Rig::new(config, 1);
        for _ in 0..20 {
            rig.hear(0, |pdu| {
                pdu.actor.state.0 &= !1;
                pdu.actor.state.0 |= u8::from(theirs) | TIMEOUT;
            });
            rig.run(1_000);
        }
        assert_eq!(rig.sent.len() >= 20, ours || theirs, "{ours} {theirs}");
        assert_eq!(rig.sent.is_empty(), !ours && !theirs);
    }
}

#[test]
fn h4_4_passive_follows_the_partner() {
    let mut rig = Rig::new(passive(), 1);
    rig.run(20_000);
    assert!(rig.sent.is_empty());
    rig.hear(0, |pdu| pdu.actor.state.0 |= TIMEOUT);
    assert_eq!(rig.sent.len(), 1, "answered at once");
    rig.run(2_000);
    assert!(rig.sent.len() >= 3);
    rig.hear(0, |pdu| pdu.actor.state.0 &= !1).forget();
    rig.run(60_000);
    assert!(rig.sent.is_empty(), "the partner turned passive");
}

#[test]
fn h4_5_at_most_three_in_a_second_and_the_last_state_is_told() {
    let mut rig = Rig::new(fast(), 1);
    rig.agree(&[0]);
    rig.run(1_500).hear_good(0).forget();
    let from = rig.now;
    // A view of us that is always wrong, a thousand times in two seconds.
    for _ in 0..1_000 {
        rig.hear(0, |pdu| {
            pdu.partner.state.0 ^= TIMEOUT;
            pdu.actor.state.0 |= TIMEOUT;
        });
        rig.run(2);
    }
    rig.lacp.set_priority(rig.now, id(0), 4);
    rig.run(1_000);
    let times = rig.times_on(0, from);
    for (at, time) in times.iter().enumerate() {
        let within = times[at..].iter().filter(|other| **other < time + 1_000);
        assert!(within.count() <= 3, "{times:?}");
    }
    assert!(times.len() >= 6, "{times:?}");
    assert_eq!(rig.last_on(0).actor.port_priority, 4);
}

#[test]
fn h4_6_every_cause_is_told() {
    let mut rig = Rig::new(config(), 2);
    rig.agree(&[0, 1]);
    rig.run(2_000).forget();

    rig.configure(|config| config.ad_user_port_key = 5);
    assert_eq!(rig.last_on(0).actor.key, 5 << 6 | 15);
    assert_eq!(rig.last_on(1).actor.key, 5 << 6 | 15);
    rig.run(2_000).forget();

    rig.lacp.set_priority(rig.now, id(1), 9);
    rig.drain();
    assert_eq!(rig.last_on(1).actor.port_priority, 9);
    rig.run(2_000).forget();

    rig.configure(|config| config.ad_actor_sys_prio = 3);
    assert_eq!(rig.last_on(0).actor.system_priority, 3);
    rig.run(2_000).forget();

    rig.configure(|config| config.ad_actor_system = OTHER);
    assert_eq!(rig.last_on(0).actor.system, OTHER);
    rig.run(2_000).forget();

    rig.configure(|config| config.lacp_rate = LacpRate::Fast);
    assert!(rig.last_on(0).actor.state.has(State::TIMEOUT));
    rig.run(1_000);
    rig.agree(&[0, 1]);
    rig.run(1_500).forget();

    // Selection and mux: standby, and back. We decide, and the other port has the better priority.
    rig.configure(|config| config.max_ports = 1);
    assert!(!rig.last_on(0).actor.state.has(State::SYNC));
    rig.run(1_200).hear_good(0).hear_good(1).run(1_200).forget();
    rig.configure(|config| config.max_ports = 2);
    assert!(rig.last_on(0).actor.state.has(State::SYNC));
    rig.hear_good(0);
    assert!(rig.last_on(0).actor.state.has(State::COLLECTING));
}

#[test]
fn h4_7_nothing_is_sent_without_carrier() {
    let mut rig = Rig::empty(config());
    rig.add(0, DOWN);
    rig.run(60_000);
    rig.lacp.set_priority(rig.now, id(0), 9);
    rig.drain();
    assert!(rig.sent.is_empty());
    assert_eq!(rig.lacp.next_timeout(), None, "nothing to wait for");
}

/// Ours: the bond's address may change while `ad_actor_system` names the system, and nobody notices.
#[test]
fn h4_6_the_bonds_address_counts_only_where_it_is_the_system() {
    let mut named = config();
    named.ad_actor_system = OTHER;
    for (config, notices) in [(named, false), (config(), true)] {
        let mut rig = Rig::new(config, 1);
        assert_eq!(rig.last_on(0).actor.system == US, notices);
        rig.agree(&[0]);
        rig.run(2_000).forget();
        rig.configure(|config| config.bond_mac = mac(9));
        assert_eq!(!rig.sent.is_empty(), notices);
        assert_eq!(rig.distributes(0), !notices);
    }
}
