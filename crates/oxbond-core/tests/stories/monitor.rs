//! Link monitoring: delays, their bypasses, the failure counter.

use oxbond_core::event::{Cause, Event};
use oxbond_core::status::MiiStatus;

use crate::rig::{LINK_DOWN, Rig, ms};

#[test]
fn a_link_that_is_back_waits_for_its_up_delay() {
    let mut rig = Rig::new(
        &[
            "mode=active-backup",
            "miimon=100",
            "updelay=500",
            "primary=a",
        ],
        &["a", "b"],
    );
    rig.at(1000).link_down("a").expect_active("b");
    rig.at(2000).link_up("a");
    assert_eq!(rig.port("a").mii_status, MiiStatus::GoingBack);
    rig.at(2499).expect_active("b").at(2500).expect_active("a");
    // Lost again on the way: one more failure, and the whole delay once more.
    rig.link_down("a")
        .at(3000)
        .link_up("a")
        .at(3200)
        .link_down("a");
    assert!(
        rig.story()
            .contains(&"(slave a): link status down again after 200 ms".to_owned())
    );
    assert_eq!(rig.port("a").link_failure_count, 3);
    rig.at(3300)
        .link_up("a")
        .at(3799)
        .expect_active("b")
        .at(3800)
        .expect_active("a");
}

/// First bypass: a bond without any port does not wait.
#[test]
fn nothing_else_works_so_the_up_delay_is_cut_short() {
    let mut rig = Rig::new(
        &["mode=active-backup", "miimon=100", "updelay=2000"],
        &["a", "b"],
    );
    rig.at(3000).link_down("a").link_down("b").at(4000);
    rig.log.clear();
    rig.link_up("b").expect_active("b");
    assert!(rig.carrier);
    assert_eq!(
        rig.story()[..3],
        [
            "(slave b): link status up, enabling it in 2000 ms",
            "(slave b): link status definitely up, 1000 Mbps full duplex",
            "(slave b): making interface the new active one 2000 ms earlier (the link of b is up)",
        ]
    );
    // The other one has the time it was given.
    rig.at(4100).link_up("a").at(6099);
    assert_eq!(rig.port("a").mii_status, MiiStatus::GoingBack);
    rig.at(6100);
    assert_eq!(rig.port("a").mii_status, MiiStatus::Up);
}

/// Second bypass: the active port dies while others wait; the one with least to wait is taken.
#[test]
fn the_active_port_dies_while_others_wait() {
    let mut rig = Rig::new(
        &["mode=active-backup", "miimon=100", "updelay=2000"],
        &["a", "b", "c"],
    );
    rig.at(3000).link_down("b").link_down("c");
    rig.at(4000).link_up("c").at(4500).link_up("b").at(5000);
    rig.log.clear();
    rig.link_down("a").expect_active("c");
    let taken = rig
        .events()
        .into_iter()
        .find(|event| matches!(event, Event::ActivePort { .. }));
    assert_eq!(
        taken,
        Some(Event::ActivePort {
            from: Some("a".into()),
            to: Some("c".into()),
            cause: Cause::LinkDown { port: "a".into() },
            earlier_by: Some(ms(1000)),
        })
    );
    assert_eq!(rig.port("b").mii_status, MiiStatus::GoingBack);
}

/// The first port of a new bond is used at once, the second after its delay.
#[test]
fn joining_counts_as_coming_back() {
    let mut rig = Rig::new(
        &["mode=balance-xor", "miimon=100", "updelay=400"],
        &["a", "b"],
    );
    let states = |rig: &Rig| {
        rig.status()
            .ports
            .iter()
            .map(|port| port.mii_status)
            .collect::<Vec<_>>()
    };
    assert_eq!(states(&rig), [MiiStatus::Up, MiiStatus::GoingBack]);
    rig.at(400);
    assert_eq!(states(&rig), [MiiStatus::Up, MiiStatus::Up]);
}

#[test]
fn a_port_set_down_is_a_port_without_link() {
    let mut rig = Rig::new(&["mode=active-backup", "miimon=100"], &["a", "b"]);
    let mut link = crate::rig::LINK_UP;
    link.admin_up = false;
    rig.link("a", link).expect_active("b");
    assert_eq!(rig.port("a").reason, "the interface is set down");
}

#[test]
fn polls_repeat_what_is_known_and_nothing_happens() {
    let mut rig = Rig::new(
        &[
            "mode=active-backup",
            "miimon=100",
            "updelay=300",
            "downdelay=300",
        ],
        &["a", "b"],
    );
    rig.at(1000).link_down("b").at(1100);
    rig.log.clear();
    for poll in 0..4_u64 {
        rig.at(1100 + poll * 50).link("b", LINK_DOWN).link_up("a");
        assert!(rig.log.is_empty());
    }
    rig.at(1300);
    assert_eq!(
        rig.times(|action| matches!(
            action,
            oxbond_core::action::Action::Event(Event::LinkDown { .. })
        )),
        [1300]
    );
}

#[test]
fn changed_delays_count_from_the_next_change_of_the_link() {
    let mut rig = Rig::new(
        &["mode=active-backup", "miimon=100", "downdelay=500"],
        &["a", "b"],
    );
    rig.link_down("a").at(100);
    rig.set(&["downdelay=100"]).unwrap();
    rig.at(499).expect_active("a").at(500).expect_active("b");
}
