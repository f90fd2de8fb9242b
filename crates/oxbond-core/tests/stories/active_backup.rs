//! One port carries everything, the others wait.

use oxbond_core::event::{Cause, Event};
use oxbond_core::input::Input;
use oxbond_core::port::LinkState;
use oxbond_core::status::PortRole;

use crate::rig::{LINK_UP, Rig, changes, ms};

const MIIMON: &[&str] = &["mode=active-backup", "miimon=100"];

#[test]
fn the_first_port_is_active_and_the_second_takes_over() {
    let mut rig = Rig::new(MIIMON, &["a", "b"]);
    rig.expect_active("a");
    assert_eq!(rig.goes_to(1), Some("a"));

    rig.at(500).link_down("a").expect_active("b");
    assert_eq!(
        rig.story(),
        [
            "(slave a): link status definitely down, disabling slave",
            "(slave b): making interface the new active one (a lost its link)",
        ]
    );
    assert_eq!(rig.goes_to(1), Some("b"));
    assert_eq!(rig.status().failovers, Some(1));
    assert_eq!(rig.port("a").link_failure_count, 1);
    assert_eq!(rig.port("a").reason, "no carrier");

    // Coming back with the same priority is no reason to move.
    rig.at(900).link_up("a").expect_active("b");
    assert_eq!(
        rig.story(),
        ["(slave a): link status definitely up, 1000 Mbps full duplex"]
    );
    rig.at(1200).link_down("b").expect_active("a");
}

#[test]
fn the_last_link_takes_the_carrier_with_it() {
    let mut rig = Rig::new(MIIMON, &["a", "b"]);
    assert!(rig.carrier);
    rig.link_down("a").link_down("b");
    assert!(!rig.carrier);
    assert_eq!(rig.status().active_port, None);
    assert_eq!(
        rig.story()[3..],
        [
            "now running without any active interface! (b lost its link)",
            "carrier off (b lost its link)",
        ]
    );
    rig.at(50).link_up("b").expect_active("b");
    assert!(rig.carrier);
}

/// The data path leaves a dead link before anyone tells the core; the core's table confirms it and says why.
#[test]
fn what_the_data_path_saw_first_is_named_as_the_cause() {
    let mut rig = Rig::new(MIIMON, &["a", "b"]);
    let a = rig.id("a");
    rig.left |= a.bit();
    assert_eq!(rig.goes_to(1), Some("b"), "before the core knows");
    rig.tell(Input::LeftInPath { port: a });
    assert!(rig.log.is_empty(), "evidence is no verdict");
    rig.link_down("a").expect_active("b");
    assert_eq!(rig.table_causes(), [Cause::LeftInPath { port: "a".into() }]);
    // The next loss without such a report is an ordinary one.
    rig.link_up("a").link_down("b").link_up("b");
    rig.log.clear();
    rig.link_down("a");
    assert_eq!(rig.table_causes(), [Cause::LinkDown { port: "a".into() }]);
}

/// A flap too short for anyone but the data path: it has left the port and must be sent back.
#[test]
fn a_port_that_was_left_but_is_up_gets_its_traffic_back() {
    let mut rig = Rig::new(MIIMON, &["a", "b"]);
    let a = rig.id("a");
    rig.left |= a.bit();
    rig.tell(Input::LeftInPath { port: a });
    assert_eq!(rig.goes_to(1), Some("b"));
    rig.link_up("a");
    assert_eq!(rig.goes_to(1), Some("a"));
    assert_eq!(rig.table_causes().len(), 1);
    rig.link_up("a");
    assert!(rig.log.is_empty(), "once");
}

#[test]
fn a_short_loss_within_the_down_delay_ends_on_the_same_port() {
    let mut rig = Rig::new(
        &["mode=active-backup", "miimon=100", "downdelay=300"],
        &["a", "b"],
    );
    rig.link_down("a").expect_active("a");
    assert_eq!(rig.goes_to(1), Some("b"), "the data path does not wait");
    assert!(rig.carrier);
    rig.left |= rig.id("a").bit();
    rig.at(200).link_up("a").expect_active("a");
    assert_eq!(rig.goes_to(1), Some("a"), "and is sent back");
    assert_eq!(rig.status().failovers, Some(0));
    assert_eq!(rig.port("a").link_failure_count, 0);
    assert_eq!(
        rig.story(),
        [
            "(slave a): link status down for interface, disabling it in 300 ms",
            "(slave a): link status up again after 200 ms",
        ]
    );
    rig.at(300)
        .link_down("a")
        .at(599)
        .expect_active("a")
        .at(600)
        .expect_active("b");
}

#[test]
fn the_primary_returns_unless_told_otherwise() {
    for (reselect, back, speed) in [
        ("always", true, 1000),
        ("better", false, 1000),
        ("better", true, 10_000),
        ("failure", false, 10_000),
    ] {
        let reselect = format!("primary_reselect={reselect}");
        let mut rig = Rig::new(
            &["mode=active-backup", "miimon=100", "primary=b", &reselect],
            &["a", "b"],
        );
        rig.expect_active("b");
        assert_eq!(rig.status().primary.as_deref(), Some("b"));
        rig.link_down("b").expect_active("a");
        rig.link(
            "b",
            LinkState {
                speed_mbps: Some(speed),
                ..LINK_UP
            },
        );
        rig.expect_active(if back { "b" } else { "a" });
    }
}

/// Naming a primary takes it once, even under `failure`; and it may be named before it is there.
#[test]
fn a_newly_named_primary_is_taken_once() {
    let mut rig = Rig::new(
        &[
            "mode=active-backup",
            "miimon=100",
            "primary_reselect=failure",
        ],
        &["a", "b"],
    );
    rig.set(&["primary=c"]).unwrap();
    assert_eq!(rig.status().primary, None);
    rig.expect_active("a").add("c", &[]).unwrap();
    rig.expect_active("c");
    rig.link_down("c")
        .expect_active("a")
        .link_up("c")
        .expect_active("a");
    rig.set(&["primary=b"]).unwrap();
    rig.expect_active("b");
    rig.set(&["primary="]).unwrap();
    rig.expect_active("b");
}

#[test]
fn priority_decides_where_no_primary_is_named() {
    let mut rig = Rig::new(MIIMON, &["a", "b", "c"]);
    rig.set_port("c", "prio=10").unwrap();
    rig.expect_active("c");
    rig.set_port("b", "prio=5").unwrap();
    rig.expect_active("c");
    rig.link_down("c")
        .expect_active("b")
        .link_up("c")
        .expect_active("c");
    rig.remove("c");
    rig.expect_active("b");
}

/// Measured on the driver: after a manual change, re-setting the policy moves back to the first port of the list.
#[test]
fn the_drivers_quirk_is_kept_for_option_writes() {
    let mut rig = Rig::new(MIIMON, &["a", "b"]);
    rig.set(&["active_slave=b"]).unwrap();
    rig.expect_active("b");
    rig.set(&["primary_reselect=always"]).unwrap();
    rig.expect_active("a");
}

/// Unlike the driver: ports that join or leave move nobody else.
#[test]
fn joining_and_leaving_disturbs_no_other_port() {
    let mut rig = Rig::new(MIIMON, &["a", "b", "c"]);
    rig.set(&["active_slave=b"]).unwrap();
    rig.add("d", &[]).unwrap();
    rig.expect_active("b");
    rig.remove("c");
    rig.expect_active("b");
    rig.remove("a");
    rig.expect_active("b");
    assert_eq!(rig.status().failovers, Some(1));
    // But a better one may take over, and the active one's leaving makes another follow.
    rig.add("e", &["prio=1"]).unwrap();
    rig.expect_active("e").remove("e");
    rig.expect_active("b");
    assert!(matches!(
        &rig.events()[..],
        [.., Event::ActivePort { from: Some(from), to: Some(to), cause: Cause::PortRemoved { .. }, .. }, Event::PortRemoved { .. }]
            if from == "e" && to == "b"
    ));
}

#[test]
fn a_port_is_made_active_by_hand() {
    let mut rig = Rig::new(MIIMON, &["eth0", "fth1", "gth2"]);
    rig.set(&["active_slave=gth2"]).unwrap();
    rig.expect_active("gth2");
    rig.set(&["active_slave="]).unwrap();
    rig.expect_active("eth0");

    let error = rig.set(&["active_slave=gth3"]).unwrap_err();
    assert!(
        error.contains("no port of the bond has this name; did you mean gth2?"),
        "{error}"
    );
    rig.link_down("fth1");
    let error = rig.set(&["active_slave=fth1"]).unwrap_err();
    assert!(error.contains("its link is not up"), "{error}");
    rig.link_down("eth0").link_down("gth2");
    let error = rig.set(&["active_slave=fth1"]).unwrap_err();
    assert!(
        error.contains("no active port to take over from"),
        "{error}"
    );
}

#[test]
fn a_renamed_port_gains_and_loses_the_primary() {
    let mut rig = Rig::new(
        &["mode=active-backup", "miimon=100", "primary=x"],
        &["a", "b"],
    );
    let b = rig.id("b");
    rig.tell(Input::PortRenamed {
        port: b,
        name: "x".into(),
    });
    assert_eq!(rig.status().active_port.as_deref(), Some("x"));
    rig.tell(Input::PortRenamed {
        port: b,
        name: "y".into(),
    });
    assert_eq!(rig.status().primary, None);
    assert_eq!(rig.status().active_port.as_deref(), Some("a"));
}

/// The order the data path follows on its own: who would be chosen next comes next.
#[test]
fn the_table_ranks_every_port() {
    let mut rig = Rig::new(
        &[
            "mode=active-backup",
            "miimon=100",
            "updelay=1000",
            "primary=d",
        ],
        &["a", "b", "c", "d"],
    );
    rig.at(2000);
    let order = |rig: &Rig| {
        rig.table
            .order
            .iter()
            .map(|id| rig.name_of(*id))
            .collect::<String>()
    };
    assert_eq!(order(&rig), "dabc");
    rig.set_port("c", "prio=3").unwrap();
    assert_eq!(order(&rig), "dcab");
    rig.link_down("c").link_down("a");
    assert_eq!(order(&rig), "dbca");
    rig.link_up("a").at(2100).link_up("c");
    assert_eq!(order(&rig), "dbac", "the up delay of a ends first");
}

#[test]
fn without_a_monitor_the_data_path_alone_acts() {
    let mut rig = Rig::new(&["mode=active-backup"], &["a", "b"]);
    rig.link_down("a").expect_active("a");
    assert!(rig.carrier);
    assert_eq!(rig.goes_to(1), Some("b"));
    rig.left |= rig.id("a").bit();
    rig.link_up("a");
    assert_eq!(rig.goes_to(1), Some("a"));
    // Switched on, the monitor looks at once; switched off, every port counts as up.
    rig.link_down("a");
    rig.set(&["miimon=100"]).unwrap();
    rig.expect_active("b");
    rig.set(&["miimon=0"]).unwrap();
    assert!(
        rig.status()
            .ports
            .iter()
            .all(|port| port.mii_status == oxbond_core::status::MiiStatus::Up)
    );
}

#[test]
fn frames_of_backup_ports_are_let_in_on_request() {
    let mut rig = Rig::new(MIIMON, &["a", "b"]);
    let b = rig.id("b");
    assert!(!rig.table.accepts(b, rig.standing()));
    rig.set(&["all_slaves_active=1"]).unwrap();
    assert!(rig.table.accepts(b, rig.standing()));
    assert_eq!(
        rig.table_causes(),
        [Cause::Options {
            names: "all_slaves_active".into()
        }]
    );
}

#[test]
fn the_status_says_who_and_why() {
    let mut rig = Rig::new(
        &["mode=active-backup", "miimon=100", "updelay=500"],
        &["a", "b", "c"],
    );
    rig.at(1000).link_down("c").at(1100).link_up("c").at(1200);
    let status = rig
        .bond
        .status(rig.now, &["a".into(), "b".into(), "d".into()]);
    assert_eq!(
        (status.attached(), status.carrying(), status.expected.len()),
        (3, 1, 3)
    );
    let told: Vec<_> = status
        .ports
        .iter()
        .map(|p| (p.name.as_str(), p.role, p.reason.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("a", PortRole::Active, "carries the traffic; b would follow"),
            ("b", PortRole::Backup, "waits; a is the active port"),
            (
                "c",
                PortRole::Backup,
                "the link is back; used in 400 ms (updelay)"
            ),
        ]
    );
    assert_eq!(status.ports[2].since, Some(ms(100)));
}

/// A second daemon starts from what the first wrote down, and touches nothing.
#[test]
fn a_restart_changes_nothing() {
    let mut rig = Rig::new(MIIMON, &["a", "b"]);
    rig.link_down("a").at(500);
    rig.log.clear();
    rig.restart().at(60_000);
    rig.link("a", crate::rig::LINK_DOWN).link_up("b");
    assert!(rig.log.is_empty(), "{:?}", rig.log);
    rig.link_up("a").link_down("b").expect_active("a");
}

#[test]
fn what_cannot_be_is_refused_with_the_way_out() {
    use oxbond_core::bond::Bond;
    let refused = |name: &str, words: &[&str]| {
        Bond::new(Rig::empty(MIIMON, None).now, name, None, &changes(words))
            .unwrap_err()
            .to_string()
    };
    assert!(refused("bond0", &["mode=active-backup", "lacp_rate=fast"]).contains("802.3ad"));
    assert!(refused("a-name-of-16-byte", MIIMON).contains("1 to 15 bytes"));

    let mut rig = Rig::new(MIIMON, &["a"]);
    assert_eq!(
        rig.add("a", &[]).unwrap_err().to_string(),
        "port a is already in bond bond0"
    );
    assert!(
        rig.add("b", &["queue_id=17"])
            .unwrap_err()
            .to_string()
            .contains("the bond has 16 transmit queues")
    );
    assert!(
        rig.add("b", &["actor_port_prio=3"])
            .unwrap_err()
            .to_string()
            .contains("it exists in mode 802.3ad")
    );
    assert_eq!(rig.status().attached(), 1);
    assert!(rig.log.is_empty(), "a refusal leaves no trace");
}

#[test]
fn thirty_two_ports_and_no_more() {
    let names: Vec<String> = (0..33_u8)
        .map(|n| char::from(b'A' + n).to_string())
        .collect();
    let mut rig = Rig::empty(MIIMON, None);
    for name in &names[..32] {
        rig.add(name, &[]).unwrap();
    }
    let all = rig.bond.clone();
    let link = LINK_UP;
    let mac = crate::rig::mac_of("a");
    let info = oxbond_core::port::PortInfo {
        name: "z".into(),
        ifindex: 999,
        permanent_mac: mac,
        mac,
        link,
    };
    let error = rig
        .bond
        .handle(
            rig.now,
            Input::AddPort {
                info,
                options: vec![],
                drained: false,
            },
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "bond bond0 has 32 ports, which is the most it can have; z cannot join"
    );
    assert_eq!(rig.bond, all);
    // A place that becomes free is given away again.
    let freed = rig.id("C");
    rig.remove("C");
    rig.add("z", &[]).unwrap();
    assert_eq!(rig.id("z"), freed);
}

#[test]
fn the_port_used_before_lingers_while_it_works() {
    let mut rig = Rig::new(
        &["mode=active-backup", "primary=a", "miimon=100"],
        &["a", "b"],
    );
    assert_eq!(rig.table.linger, None);
    rig.link_down("a");
    rig.expect_active("b");
    assert_eq!(rig.table.linger, None, "a dead port delivers nothing");
    rig.link_up("a");
    rig.expect_active("a");
    let b = rig.id("b");
    assert_eq!(
        rig.table.linger,
        Some(b),
        "frames are still on their way to b"
    );
    rig.link_down("b");
    assert_eq!(rig.table.linger, None);
}

#[test]
fn a_delay_that_ran_out_while_nobody_looked_does_not_raise_a_lost_link() {
    let mut rig = Rig::new(
        &[
            "mode=active-backup",
            "primary=a",
            "miimon=100",
            "updelay=500",
        ],
        &["a", "b"],
    );
    rig.link_down("a");
    rig.expect_active("b");
    rig.link_up("a");
    let failures = rig.port("a").link_failure_count;
    // Two seconds without a driver; meanwhile the link was lost again.
    rig.sleep(2000);
    rig.link_down("a");
    rig.expect_active("b");
    assert_eq!(rig.port("a").link_failure_count, failures + 1);
}
