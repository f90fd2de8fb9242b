//! Ports that carry more than others.

use oxbond_core::input::Input;
use oxbond_core::port::LinkState;

use crate::rig::{LINK_DOWN, LINK_UP, Rig};

const XOR: &[&str] = &["mode=balance-xor", "miimon=100"];

/// The link of a port that runs at this many Mb/s; `None` when its driver does not tell.
fn link(speed_mbps: impl Into<Option<u32>>) -> LinkState {
    LinkState {
        speed_mbps: speed_mbps.into(),
        ..LINK_UP
    }
}

/// Ports by this option, their links at these speeds.
fn rig(options: &[&str], ports: &[(&str, &str, u32)]) -> Rig {
    let mut rig = Rig::empty(options, None);
    for (name, weight, speed) in ports {
        rig.links.insert((*name).to_owned(), link(*speed));
        rig.add(name, &[&format!("weight={weight}")]).unwrap();
    }
    rig.tell(Input::BondAdmin { up: true });
    rig.log.clear();
    rig
}

/// Where 10,230 flows go, ten in each bucket of three ports.
fn flows(rig: &Rig) -> Vec<String> {
    (0..10_230)
        .map(|hash| rig.goes_to(hash).unwrap().to_owned())
        .collect()
}

/// Percent of the flows that a port has.
fn percent(flows: &[String], port: &str) -> usize {
    flows.iter().filter(|on| *on == port).count() * 100 / flows.len()
}

fn moved(before: &[String], after: &[String]) -> usize {
    before.iter().zip(after).filter(|(a, b)| a != b).count()
}

#[test]
fn flows_are_shared_by_weight_and_a_lost_ports_alone_move() {
    let mut rig = rig(XOR, &[("a", "1", 1000), ("b", "2", 1000), ("c", "5", 1000)]);
    let before = flows(&rig);
    for (port, share) in [("a", 13), ("b", 25), ("c", 63)] {
        assert!(percent(&before, port).abs_diff(share) <= 1, "{port}");
    }
    assert_eq!(rig.port("b").reason, "carries its share of the flows, 25 %");
    rig.link_down("b");
    let after = flows(&rig);
    for (from, to) in before.iter().zip(&after) {
        assert!(from == to || from == "b" && to != "b");
    }
    // 2.5 of 10 parts go to the others as 1 to 5.
    assert!(percent(&after, "a").abs_diff(17) <= 1);
    assert!(percent(&after, "c").abs_diff(83) <= 1);
    rig.link_up("b");
    assert_eq!(flows(&rig), before);
}

#[test]
fn a_weight_can_change_under_way() {
    let mut rig = Rig::new(XOR, &["a", "b", "c"]);
    let equal = flows(&rig);
    rig.set_port("a", "weight=2").unwrap();
    assert_eq!(rig.table_causes().len(), 1);
    let heavier = flows(&rig);
    assert!(percent(&heavier, "a").abs_diff(50) <= 1);
    // A third becomes a half: a sixth moves.
    assert!(moved(&equal, &heavier).abs_diff(1705) <= 10);
    rig.set_port("b", "weight=3").unwrap();
    let heaviest = flows(&rig);
    assert!(percent(&heaviest, "b").abs_diff(50) <= 1);
    assert!(moved(&heavier, &heaviest).abs_diff(2557) <= 10);
    rig.restart().set_port("b", "weight=3").unwrap();
    assert_eq!(flows(&rig), heaviest, "a daemon that follows moves nothing");
    for port in ["a", "b"] {
        rig.set_port(port, "weight=1").unwrap();
    }
    assert_eq!(
        flows(&rig),
        equal,
        "equal weights: where the driver puts them"
    );
}

#[test]
fn what_is_no_weight_is_refused() {
    let mut rig = Rig::new(XOR, &["a"]);
    for wrong in ["0", "257", "-1", "fast", ""] {
        let error = rig.set_port("a", &format!("weight={wrong}")).unwrap_err();
        assert!(error.contains("1 - 256, auto"), "{error}");
    }
    rig.set_port("a", "weight=256").unwrap();
    rig.set_port("a", "weight=auto").unwrap();
    let text = serde_json::to_value(rig.port("a")).unwrap();
    assert_eq!(text["weight"], "auto");
}

#[test]
fn auto_follows_the_speed_of_the_link_as_long_as_it_is_known() {
    let ports = [
        ("a", "auto", 10_000),
        ("b", "auto", 1000),
        ("c", "auto", 10_000),
    ];
    let mut rig = rig(XOR, &ports);
    let before = flows(&rig);
    assert!(percent(&before, "b").abs_diff(5) <= 1);
    // A link that is down has no speed. Nothing but its flows moves for that.
    rig.link(
        "b",
        LinkState {
            speed_mbps: None,
            ..LINK_DOWN
        },
    );
    let without = flows(&rig);
    assert_eq!(
        moved(&before, &without),
        before.iter().filter(|on| *on == "b").count()
    );
    // It comes back with another.
    rig.link("b", link(10_000));
    let equal = flows(&rig);
    assert!(percent(&equal, "b").abs_diff(33) <= 1);
    for hash in 0..6000 {
        assert_eq!(rig.goes_to(hash), Some(["a", "b", "c"][hash as usize % 3]));
    }
    rig.link("a", link(2500));
    assert!(percent(&flows(&rig), "a").abs_diff(11) <= 1);
}

#[test]
fn auto_and_numbers_go_together() {
    let mut rig = rig(
        XOR,
        &[("a", "auto", 2500), ("b", "auto", 1000), ("c", "1", 40_000)],
    );
    // 2.5 to 1 to 1.
    let shares = flows(&rig);
    assert!(percent(&shares, "a").abs_diff(56) <= 1);
    assert!(percent(&shares, "c").abs_diff(22) <= 1);
    // One whose driver never told counts as the slowest.
    rig.links.insert("d".to_owned(), link(None));
    rig.add("d", &["weight=auto"]).unwrap();
    let shares = flows(&rig);
    assert!(percent(&shares, "d").abs_diff(18) <= 1);
    assert!(percent(&shares, "a").abs_diff(45) <= 1);
}

#[test]
fn round_robin_gives_turns_by_weight() {
    let rig = rig(&["mode=balance-rr"], &[("a", "3", 1000), ("b", "1", 1000)]);
    for four in flows(&rig)[..1024].chunks(4) {
        assert_eq!(four.iter().filter(|on| *on == "a").count(), 3);
    }
}

/// Balance-tlb without measuring: flows belong to ports by weight, whoever is active.
#[test]
fn another_active_port_moves_no_flow() {
    let options = ["mode=balance-tlb", "miimon=100", "tlb_dynamic_lb=0"];
    let ports = [("a", "1", 1000), ("b", "3", 1000), ("c", "1", 1000)];
    let mut rig = rig(&options, &ports);
    let before = flows(&rig);
    assert!(percent(&before, "b").abs_diff(60) <= 1);
    rig.set(&["active_slave=b"]).unwrap();
    rig.expect_active("b");
    assert_eq!(flows(&rig), before);
}
