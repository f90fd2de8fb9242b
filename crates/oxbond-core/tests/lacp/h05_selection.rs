//! H43.5: selection.

use oxbond_core::lacp::Config;
use oxbond_core::option::AdSelect;
use oxbond_core::port::LinkState;
use oxbond_wire::lacp::{Lacpdu, State};

use crate::rig::{DOWN, OTHER, PARTNER, Rig, UP, US, config, fast, id};

fn aggregator(rig: &Rig, index: u8) -> u16 {
    rig.port(index).aggregator.unwrap()
}

fn with(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = config();
    change(&mut config);
    config
}

/// Ports of other partners: heard twice, so that their partner knows us.
fn other(pdu: &mut Lacpdu) {
    pdu.actor.system = OTHER;
}

#[test]
fn h5_1_the_same_lag_id_is_the_same_aggregator() {
    let mut rig = Rig::new(config(), 2);
    rig.agree(&[0, 1]);
    assert_eq!(aggregator(&rig, 0), aggregator(&rig, 1));

    let different: [fn(&mut Lacpdu); 3] = [
        other,
        |pdu| pdu.actor.key = 8,
        |pdu| pdu.actor.system_priority = 1,
    ];
    for change in different {
        let mut rig = Rig::new(config(), 2);
        rig.hear_good(0).hear(1, change);
        assert_ne!(aggregator(&rig, 0), aggregator(&rig, 1));
    }

    let mut rig = Rig::empty(config());
    rig.add(0, UP);
    rig.add(
        1,
        LinkState {
            speed_mbps: Some(1_000),
            ..UP
        },
    );
    rig.hear_good(0).hear_good(1);
    assert_ne!(aggregator(&rig, 0), aggregator(&rig, 1), "own key");
}

#[test]
fn h5_2_individual_links_never_share() {
    let alone = |pdu: &mut Lacpdu| pdu.actor.state.0 &= !State::AGGREGATION.0;
    let mut rig = Rig::new(config(), 3);
    for _ in 0..3 {
        rig.hear(0, alone).hear(1, alone).hear_good(2);
    }
    let ids = [0, 1, 2].map(|index| aggregator(&rig, index));
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    assert!(!(rig.distributes(0) && rig.distributes(1)));

    // Without anything better, one of them carries the traffic.
    let mut rig = Rig::new(config(), 2);
    for _ in 0..3 {
        rig.hear(0, alone).hear(1, alone);
    }
    assert_eq!(rig.lacp.distributing(), [id(0)]);
    assert_eq!(
        rig.reason(1),
        "in aggregator 2, while 1 is active: partner does not let this link aggregate"
    );
}

#[test]
fn h5_3_key_change_at_run_time() {
    let mut rig = Rig::new(config(), 2);
    rig.agree(&[0, 1]);
    rig.run(2_000).forget();
    // Only the second port changes: another speed.
    rig.link(
        1,
        LinkState {
            speed_mbps: Some(1_000),
            ..UP
        },
    );
    let told = rig.last_on(1).actor;
    assert_eq!((told.key, told.state.has(State::SYNC)), (9, false));
    assert!(rig.distributes(0) && !rig.collects(1));
    assert_ne!(aggregator(&rig, 0), aggregator(&rig, 1));
    rig.link(1, UP);
    rig.hear_good(1).hear_good(1);
    assert!(rig.distributes(1));
    assert_eq!(aggregator(&rig, 0), aggregator(&rig, 1));
}

#[test]
fn h5_4_standby_by_priority_as_the_better_system_says() {
    // We decide: our priorities, then our numbers.
    let mut rig = Rig::new(with(|c| (c.ad_actor_sys_prio, c.max_ports) = (1, 2)), 4);
    rig.lacp.set_priority(rig.now, id(3), 10);
    rig.agree(&[3, 0]);
    rig.hear_good(1).hear_good(2).hear_good(1).hear_good(2);
    assert_eq!(rig.lacp.distributing(), [id(0), id(3)]);
    assert_eq!(rig.reason(1), "standby: 2 other ports carry traffic");

    // They decide: their priorities, then their numbers.
    let mut rig = Rig::new(with(|c| c.max_ports = 2), 4);
    for _ in 0..3 {
        for index in 0..4 {
            rig.hear(index, |pdu| {
                pdu.actor.port_priority = if index == 2 { 1 } else { 9 };
                pdu.actor.port = 50 - u16::from(index);
            });
        }
    }
    assert_eq!(rig.lacp.distributing(), [id(2), id(3)]);
}

/// Our revert rule: a better port that returns takes its place again.
#[test]
fn h5_5_standby_takes_over_and_gives_back() {
    let mut rig = Rig::new(with(|c| (c.ad_actor_sys_prio, c.max_ports) = (1, 1)), 3);
    rig.agree(&[0]);
    rig.hear_good(1).hear_good(2).run(3_000);
    assert_eq!(rig.lacp.distributing(), [id(0)]);
    rig.link(0, DOWN);
    assert!(rig.port(1).actor.state.has(State::SYNC), "at once");
    rig.hear_good(1);
    assert_eq!(rig.lacp.distributing(), [id(1)]);
    rig.run(500).link(0, UP);
    assert_eq!(
        rig.lacp.distributing(),
        [id(1)],
        "until the other is current"
    );
    rig.hear_good(0).hear_good(0);
    assert_eq!(rig.lacp.distributing(), [id(0)]);
    assert!(!rig.port(1).actor.state.has(State::SYNC));
}

#[test]
fn h5_6_links_of_different_speed_do_not_aggregate() {
    let mut rig = Rig::empty(config());
    for (index, speed) in [(0, 1_000), (1, 10_000), (2, 10_000)] {
        rig.add(
            index,
            LinkState {
                speed_mbps: Some(speed),
                ..UP
            },
        );
    }
    for _ in 0..3 {
        for index in 0..3 {
            rig.hear_good(index);
        }
    }
    assert_eq!(rig.lacp.distributing(), [id(1), id(2)]);
    assert_eq!(
        rig.reason(0),
        "in aggregator 1, while 2 is active: our key is 9, theirs 15 (speed, duplex or user key differ)"
    );
}

#[test]
fn h5_7_the_switch_is_replaced() {
    let mut rig = Rig::new(config(), 2);
    rig.agree(&[0, 1]);
    rig.run(5_000);
    rig.hear(0, other);
    // Never both partners at a time.
    assert!(!(rig.distributes(0) && rig.distributes(1)));
    assert_ne!(aggregator(&rig, 0), aggregator(&rig, 1));
    rig.hear(1, other).hear(0, other).hear(1, other);
    assert_eq!(rig.lacp.distributing(), [id(0), id(1)]);
    let aggregators = rig.lacp.aggregators();
    assert_eq!(aggregators.len(), 1);
    assert_eq!(aggregators[0].partner_system, Some(OTHER));
    for (_, _, distributing) in &rig.traffic {
        let systems: Vec<_> = distributing
            .iter()
            .map(|port| rig.port(port.index() as u8).partner.system)
            .collect();
        assert!(systems.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn h5_8_two_partners_one_active_aggregator_by_policy() {
    // Port 0 to one partner comes first; ports 1 and 2 to another.
    let story = |ad_select, speed| {
        let mut rig = Rig::new(with(|c| c.ad_select = ad_select), 1);
        rig.lacp.set_priority(rig.now, id(0), 600);
        rig.agree(&[0]);
        rig.run(1_000);
        for index in [1, 2] {
            rig.add(
                index,
                LinkState {
                    speed_mbps: Some(speed),
                    ..UP
                },
            );
        }
        for _ in 0..3 {
            rig.hear_good(0).hear(1, other).hear(2, other);
        }
        assert_eq!(
            rig.lacp.aggregators().iter().filter(|a| a.active).count(),
            1
        );
        rig.lacp.distributing().to_vec()
    };
    let (first, others) = (vec![id(0)], vec![id(1), id(2)]);
    assert_eq!(story(AdSelect::Stable, 40_000), first);
    assert_eq!(story(AdSelect::Bandwidth, 40_000), others);
    assert_eq!(story(AdSelect::Bandwidth, 1_000), first);
    assert_eq!(story(AdSelect::Count, 1_000), others);
    assert_eq!(
        story(AdSelect::ActorPortPrio, 40_000),
        first,
        "600 against 255 + 255"
    );
}

#[test]
fn h5_8_stable_moves_when_the_active_one_has_no_port_left() {
    let mut rig = Rig::new(config(), 2);
    for _ in 0..3 {
        rig.hear_good(0).hear(1, other);
    }
    assert_eq!(rig.lacp.distributing(), [id(0)]);
    assert_eq!(
        rig.reason(1),
        "in aggregator 2, while 1 is active: another partner, 02:00:00:00:00:cc instead of 02:00:00:00:00:bb"
    );
    rig.link(0, DOWN);
    rig.hear(1, other);
    assert_eq!(rig.lacp.distributing(), [id(1)]);
    // And stays, when the other is back.
    rig.link(0, UP);
    for _ in 0..3 {
        rig.hear_good(0).hear(1, other);
    }
    assert_eq!(rig.lacp.distributing(), [id(1)]);
}

#[test]
fn h5_9_identity_is_stable_when_members_go() {
    let mut rig = Rig::new(config(), 3);
    rig.agree(&[0, 1, 2]);
    let before = rig.lacp.aggregators();
    rig.run(2_000).forget();
    rig.lacp.remove_port(rig.now, id(0));
    rig.drain();
    assert_eq!(
        rig.sent.len(),
        1,
        "the one that left says so, the others have nothing to say"
    );
    let bye = rig.last_on(0).actor;
    assert_eq!(bye.state.0 & 0x3c, 0);
    let after = rig.lacp.aggregators();
    assert_eq!((after.len(), after[0].id), (1, before[0].id));
    assert_eq!(rig.lacp.distributing(), [id(1), id(2)]);
    assert_eq!(rig.port(1).actor.system, Some(US));
}

#[test]
fn h5_10_an_hour_of_the_same_changes_nothing() {
    let mut rig = Rig::new(fast(), 2);
    rig.agree(&[0, 1]);
    rig.run_hearing(2_000, 1_000, &[0, 1]);
    rig.forget();
    let before = rig.lacp.aggregators();
    rig.run_hearing(3_600_000, 1_000, &[0, 1]);
    assert!(
        rig.events.is_empty() && rig.traffic.is_empty(),
        "{:?}",
        rig.events
    );
    assert_eq!(rig.lacp.aggregators(), before);
    assert_eq!(before[0].partner_system, Some(PARTNER));
}
