//! Every port transmits, by load; one receives.

use std::collections::BTreeMap;

use oxbond_core::action::Action;
use oxbond_core::event::Cause;
use oxbond_core::input::Input;
use oxbond_core::option::HashPolicy;
use oxbond_core::port::LinkState;
use oxbond_core::status::PortRole;
use oxbond_core::table::{BucketKey, Buckets, Exempt, Receive, Spread};
use oxbond_wire::MacAddr;
use oxbond_wire::ethernet::Header;
use oxbond_wire::learning;

use crate::announcements::announced;
use crate::rig::{LINK_UP, Rig, mac_of, ms};

const TLB: &[&str] = &["mode=balance-tlb", "miimon=100"];

fn buckets(rig: &Rig) -> &Buckets {
    match &rig.table.spread {
        Spread::Buckets(buckets) => buckets,
        other => panic!("no buckets: {other:?}"),
    }
}

/// Bytes per second on each port, each bucket having this load.
fn loads<'a>(rig: &'a Rig, bytes: &[u64]) -> BTreeMap<&'a str, u64> {
    let mut loads = BTreeMap::new();
    for (port, bytes) in buckets(rig).now.iter().zip(bytes) {
        *loads.entry(rig.name_of(*port)).or_default() += bytes;
    }
    loads
}

/// A second with this load; the buckets that moved.
fn second(rig: &mut Rig, bytes: &[u64]) -> usize {
    let before = buckets(rig).now.clone();
    rig.at(rig.millis() + 1000);
    rig.tell(Input::Loads {
        over: ms(1000),
        buckets: bytes.to_vec(),
        exempt: 0,
    });
    before
        .iter()
        .zip(&buckets(rig).now)
        .zip(bytes)
        .filter(|((from, to), bytes)| from != to && **bytes > 0)
        .count()
}

/// Learning frames: when, on which port, for which address, in which VLAN.
pub(crate) fn lessons_for_switches(rig: &mut Rig) -> Vec<(u64, String, MacAddr, Option<u16>)> {
    let log = std::mem::take(&mut rig.log);
    let lesson = |(millis, action): &(u64, Action)| match action {
        Action::SendOnPort { port, frame } => {
            let (header, _) = Header::parse(frame).unwrap();
            (header.ether_type == learning::ETHER_TYPE).then(|| {
                assert_eq!(header.source, header.destination);
                assert_eq!(frame.len(), 60);
                let vlan = header.tags.first().map(|tag| tag.id());
                (*millis, rig.name_of(*port).to_owned(), header.source, vlan)
            })
        }
        _ => None,
    };
    log.iter().filter_map(lesson).collect()
}

#[test]
fn one_port_receives_and_every_port_transmits() {
    let mut rig = Rig::new(TLB, &["a", "b", "c"]);
    rig.expect_active("a");
    assert_eq!(rig.table.receive, Receive::Active);
    assert!(rig.table.accepts(rig.id("a"), rig.standing()));
    assert!(!rig.table.accepts(rig.id("b"), rig.standing()));
    let buckets = buckets(&rig);
    assert_eq!(buckets.key, BucketKey::Hash(HashPolicy::Layer2));
    assert_eq!(buckets.exempt, Exempt::Unbalanced);
    assert!(buckets.measured);
    assert_eq!(loads(&rig, &[1; 256]).len(), 3);
    assert!(
        loads(&rig, &[1; 256])
            .values()
            .all(|part| part.abs_diff(85) <= 22)
    );
    assert!(
        rig.status()
            .ports
            .iter()
            .all(|port| port.role == PortRole::Active)
    );
    assert_eq!(
        rig.port("a").reason,
        "the active port: receives, and sends its share of the flows, 1 of 3"
    );
    let stations = rig.table.stations.as_ref().unwrap();
    assert_eq!(
        (stations.bond, &stations.ports[..]),
        (mac_of("a"), &[mac_of("a"), mac_of("b"), mac_of("c")][..])
    );
    assert!(stations.clients.is_empty());
    assert!(!rig.table.tap.neighbours_received && !rig.table.tap.neighbours_sent);
}

#[test]
fn the_new_active_port_takes_the_address_and_switches_hear_of_it_at_once() {
    let mut rig = Rig::new(TLB, &["a", "b", "c"]);
    rig.tell(Input::Addresses {
        addresses: vec![announced("192.0.2.1", &[])],
    });
    rig.tell(Input::Vlans { ids: vec![7] });
    rig.at(500);
    rig.log.clear();
    rig.link_down("a").expect_active("b");
    assert_eq!(rig.bond_mac, mac_of("a"));
    assert_eq!(rig.port_macs["b"], mac_of("a"));
    assert_eq!(rig.port_macs["a"], mac_of("b"));
    assert_eq!(rig.port_macs["c"], mac_of("c"));
    let place = |wanted: &dyn Fn(&Action) -> bool| {
        rig.log
            .iter()
            .position(|(_, action)| wanted(action))
            .unwrap()
    };
    let address = place(&|action| matches!(action, Action::SetPortMac { .. }));
    let table = place(&|action| matches!(action, Action::SetTransmitTable { .. }));
    let lesson = place(&|action| matches!(action, Action::SendOnPort { .. }));
    assert!(address < table && table < lesson);
    assert!(
        rig.times(|action| matches!(action, Action::SendFrame { .. }))
            .is_empty(),
        "as in the driver"
    );
    let (a, c) = (mac_of("a"), mac_of("c"));
    assert_eq!(
        lessons_for_switches(&mut rig),
        [
            (500, "b".to_owned(), a, None),
            (500, "b".to_owned(), a, Some(7)),
            (500, "c".to_owned(), c, None),
            (500, "c".to_owned(), c, Some(7)),
        ]
    );
}

#[test]
fn learning_frames_go_out_every_lp_interval_while_the_bond_is_up() {
    let options = [TLB, &["lp_interval=3"]].concat();
    let mut rig = Rig::new(&options, &["a", "b"]);
    let times = |rig: &mut Rig| -> Vec<u64> {
        let mut times: Vec<u64> = lessons_for_switches(rig)
            .into_iter()
            .map(|lesson| lesson.0)
            .collect();
        times.dedup();
        times
    };
    rig.at(10_000);
    assert_eq!(times(&mut rig), [3000, 6000, 9000]);
    rig.set(&["lp_interval=1"]).unwrap();
    rig.at(13_000);
    assert_eq!(times(&mut rig), [11_000, 12_000, 13_000]);
    // A port that is down is not heard.
    rig.link_down("b").at(14_000);
    assert!(
        lessons_for_switches(&mut rig)
            .iter()
            .all(|lesson| lesson.1 == "a")
    );
    rig.link_down("a").at(20_000);
    assert!(rig.log.iter().all(|(millis, _)| *millis <= 14_000));
    assert_eq!(rig.bond.next_timeout(), None, "nothing to be done");
    rig.log.clear();
    rig.link_up("b");
    assert_eq!(times(&mut rig), [20_000]);
    rig.tell(Input::BondAdmin { up: false });
    rig.at(30_000);
    assert!(times(&mut rig).is_empty());
    assert_eq!(rig.bond.next_timeout(), None);
    rig.tell(Input::BondAdmin { up: true });
    assert_eq!(times(&mut rig), [30_000]);
    // A daemon that was away for a while does not make up for it.
    rig.sleep(60_000);
    rig.bond.handle_timeout(rig.now);
    rig.at(90_000);
    rig.restart().at(92_000);
    assert_eq!(times(&mut rig), [91_000, 92_000]);
}

#[test]
fn load_is_levelled_within_the_budget_and_then_left_alone() {
    let mut rig = Rig::new(TLB, &["a", "b"]);
    // 90 % of a gigabit in 100 buckets of the same port.
    let mut bytes = vec![0; 256];
    let on_a: Vec<usize> = (0..256)
        .filter(|at| buckets(&rig).now[*at] == rig.id("a"))
        .collect();
    for at in &on_a[..100] {
        bytes[*at] = 1_125_000;
    }
    let mut seconds = 0;
    while second(&mut rig, &bytes) > 0 {
        seconds += 1;
        assert!(seconds < 10);
    }
    assert!(seconds >= 3, "50 buckets, 16 in a second");
    let loads = loads(&rig, &bytes);
    assert!(loads["a"].abs_diff(loads["b"]) <= 7_000_000, "{loads:?}");
    assert_eq!(rig.table_causes()[0], Cause::Load);
    for _ in 0..30 {
        assert_eq!(second(&mut rig, &bytes), 0);
    }
    assert!(rig.table_causes().is_empty(), "the table stays");
    assert!(
        rig.port("b").reason.ends_with("% of the load"),
        "{}",
        rig.port("b").reason
    );
}

#[test]
fn a_slow_port_gets_less() {
    let mut rig = Rig::new(TLB, &["a", "b", "c"]);
    let speed = |mbps| LinkState {
        speed_mbps: mbps,
        ..LINK_UP
    };
    // The speed of the last is not known: 1000 Mb/s.
    rig.link("a", speed(Some(10_000)))
        .link("b", speed(Some(100)))
        .link("c", speed(None));
    let bytes = vec![1_000_000; 256];
    for _ in 0..40 {
        second(&mut rig, &bytes);
    }
    let loads = loads(&rig, &bytes);
    // 256 MB/s over 11.1 Gb/s: 231, 2 and 23.
    assert!(loads["a"].abs_diff(231_000_000) < 5_000_000, "{loads:?}");
    assert!(
        loads.get("b").copied().unwrap_or(0).abs_diff(2_000_000) < 2_000_000,
        "{loads:?}"
    );
    assert!(loads["c"].abs_diff(23_000_000) < 5_000_000, "{loads:?}");
}

/// What the data path did by itself is what the core's next table says, for whatever is under way.
#[test]
fn a_lost_ports_flows_move_once_and_no_other_moves() {
    let mut rig = Rig::new(TLB, &["a", "b", "c"]);
    let bytes: Vec<u64> = (0..256).map(|at| 10_000 + at * 1000).collect();
    for _ in 0..40 {
        second(&mut rig, &bytes);
    }
    let flows = |rig: &Rig| -> Vec<String> {
        (0..256)
            .map(|hash| rig.goes_to(hash).unwrap().to_owned())
            .collect()
    };
    let before = flows(&rig);
    rig.links.get_mut("b").unwrap().carrier = false;
    let alone = flows(&rig);
    rig.link_down("b");
    assert_eq!(flows(&rig), alone);
    for (from, to) in before.iter().zip(&alone) {
        assert!(from == to || from == "b");
    }
    let loads = loads(&rig, &bytes);
    assert!(loads["a"].abs_diff(loads["c"]) < 2_000_000, "{loads:?}");
    // Back: by the budget.
    rig.link_up("b");
    let mut moved = vec![];
    for _ in 0..40 {
        moved.push(second(&mut rig, &bytes));
    }
    assert!(moved.iter().all(|moved| *moved <= 16), "{moved:?}");
    let loads = self::loads(&rig, &bytes);
    assert!(loads["b"].abs_diff(loads["a"]) < 6_000_000, "{loads:?}");
}

#[test]
fn without_dynamic_balancing_flows_go_by_hash() {
    let options = [TLB, &["tlb_dynamic_lb=0", "xmit_hash_policy=layer3+4"]].concat();
    let mut rig = Rig::new(&options, &["a", "b", "c"]);
    for hash in 0..6000 {
        assert_eq!(rig.goes_to(hash), Some(["a", "b", "c"][hash as usize % 3]));
    }
    assert_eq!(buckets(&rig).exempt, Exempt::Unbalanced);
    assert!(!buckets(&rig).measured);
    rig.log.clear();
    rig.tell(Input::Loads {
        over: ms(1000),
        buckets: vec![9_000_000; 256],
        exempt: 0,
    });
    assert!(rig.log.is_empty());
    // Under way as well: the flows go on.
    rig.set(&["tlb_dynamic_lb=1"]).unwrap();
    assert!(buckets(&rig).measured);
    assert_eq!(buckets(&rig).now.len(), 256);
}

#[test]
fn the_mode_changes_under_way_with_the_right_addresses() {
    let mut rig = Rig::new(&["mode=active-backup", "miimon=100"], &["a", "b"]);
    rig.link_down("a").link_up("a").expect_active("b");
    assert_eq!(rig.port_macs["b"], mac_of("a"));
    for mode in ["balance-tlb", "balance-alb"] {
        rig.set(&[&format!("mode={mode}")]).unwrap();
        rig.expect_active("b");
        assert_eq!(rig.bond_mac, mac_of("a"));
        assert_eq!(rig.port_macs["b"], mac_of("a"), "the active one");
        assert_eq!(rig.port_macs["a"], mac_of("b"), "the one that is free");
        assert!(
            lessons_for_switches(&mut rig).len() >= 2 || mode == "balance-alb",
            "{mode}"
        );
        rig.link_down("b").link_up("b").expect_active("a");
        assert_eq!(rig.port_macs["a"], mac_of("a"));
        assert_eq!(rig.port_macs["b"], mac_of("b"));
        rig.link_down("a").link_up("a").expect_active("b");
        rig.set(&["mode=active-backup"]).unwrap();
        rig.expect_active("b");
        assert_eq!(rig.port_macs["a"], mac_of("a"));
        assert_eq!(rig.port_macs["b"], mac_of("a"));
        assert_eq!(rig.table.stations, None);
        assert_eq!(
            rig.bond.next_timeout().filter(|_| mode == "balance-tlb"),
            None
        );
        rig.at(rig.millis() + 5000);
        rig.log.clear();
    }
}
