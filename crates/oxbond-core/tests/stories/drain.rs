//! A port is taken out of the traffic, and comes back.

use oxbond_core::event::Event;
use oxbond_core::lacp::Drain;
use oxbond_core::status::PortRole;
use oxbond_core::table::Receive;

use crate::rig::Rig;

fn sends_on(rig: &Rig, name: &str) -> bool {
    (0..256).any(|hash| rig.goes_to(hash) == Some(name))
}

/// Nothing is sent on it, what arrives is delivered, and it is told when it is out.
#[test]
fn every_mode_sends_nothing_on_a_drained_port() {
    for mode in [
        "balance-rr",
        "active-backup",
        "balance-xor",
        "broadcast",
        "802.3ad",
        "balance-tlb",
        "balance-alb",
    ] {
        let word = format!("mode={mode}");
        let mut words = vec![word.as_str(), "miimon=100"];
        if mode == "802.3ad" {
            words.extend(["lacp_fallback=individual", "lacp_fallback_delay=0"]);
        }
        let mut rig = Rig::new(&words, &["a", "b"]);
        rig.at(10_000);
        assert!(sends_on(&rig, "a"), "{mode}");
        rig.log.clear();
        rig.drained("a", true).unwrap();
        let a = rig.id("a");
        assert!(!rig.table.order.contains(&a), "{mode}");
        assert!(!sends_on(&rig, "a") && sends_on(&rig, "b"), "{mode}");
        if let Receive::Ports(ports) = &rig.table.receive
            && mode != "802.3ad"
        {
            assert!(ports.contains(&a), "{mode}");
        }
        assert!(rig.carrier, "{mode}");
        rig.restart().at(13_000);
        let told = rig.events();
        let out = |event: &Event| matches!(event, Event::Drained { name } if name == "a");
        assert_eq!(
            told.iter().filter(|event| out(event)).count(),
            1,
            "{mode}: {told:?}"
        );
        let port = rig.port("a");
        assert_eq!(
            (port.drain, port.role),
            (Drain::Out, PortRole::Backup),
            "{mode}"
        );
        assert_eq!(port.reason, "drained: it can be detached", "{mode}");

        // Links and times change nothing about it.
        rig.link_down("a").link_up("a");
        rig.at(20_000);
        assert!(!sends_on(&rig, "a"), "{mode}");
        assert_eq!(rig.port("a").drain, Drain::Out, "{mode}");

        rig.drained("a", false).unwrap();
        assert!(rig.table.order.contains(&a), "{mode}");
        assert_eq!(rig.port("a").drain, Drain::No, "{mode}");
    }
}

#[test]
fn the_active_port_hands_over_and_is_not_chosen_again() {
    let mut rig = Rig::new(
        &["mode=active-backup", "miimon=100", "primary=a"],
        &["a", "b", "c"],
    );
    rig.expect_active("a");
    rig.drained("a", true).unwrap();
    rig.expect_active("b");
    assert_eq!(
        rig.table.linger,
        Some(rig.id("a")),
        "what is under way arrives"
    );
    assert!(
        rig.set(&["active_slave=a"])
            .unwrap_err()
            .contains("bring it back with undrain")
    );
    rig.link_down("b").expect_active("c");
    assert_eq!(rig.status().carrying(), 1);
    rig.drained("a", false).unwrap();
    rig.expect_active("a");
}

#[test]
fn the_last_port_that_works_stays() {
    let mut rig = Rig::new(&["mode=balance-xor", "miimon=100"], &["a", "b"]);
    rig.link_down("b");
    let said = rig.drained("a", true).unwrap_err();
    assert!(
        said.contains("a is the only port of bond0 that works"),
        "{said}"
    );
    assert!(sends_on(&rig, "a"));
    rig.drained("b", true).unwrap();
    rig.link_up("b");
    assert!(!sends_on(&rig, "b"));
    assert!(rig.drained("a", true).is_err());
    // What works is then gone; the carrier says so.
    rig.link_down("a");
    assert!(!rig.carrier);
}

/// A drained port stays drained in another mode, and one that joins is not.
#[test]
fn drained_through_a_change_of_mode() {
    let mut rig = Rig::new(&["mode=balance-xor", "miimon=100"], &["a", "b"]);
    rig.drained("a", true).unwrap();
    for mode in ["active-backup", "802.3ad", "balance-tlb", "balance-rr"] {
        rig.set(&[&format!("mode={mode}")]).unwrap();
        rig.at(rig.millis() + 3_000);
        assert!(!rig.table.order.contains(&rig.id("a")), "{mode}");
        assert_eq!(rig.port("a").drain, Drain::Out, "{mode}");
    }
    rig.remove("a");
    rig.add("a", &[]).unwrap();
    assert!(sends_on(&rig, "a"));
}

/// An administrator took it out; that its driver was loaded anew is no reason to use it again.
#[test]
fn a_drained_port_that_vanishes_returns_drained() {
    for mode in ["mode=active-backup", "mode=balance-xor", "mode=802.3ad"] {
        let mut rig = Rig::new(
            &[mode, "miimon=100", "lacp_strict=off"][..if mode.ends_with("ad") { 3 } else { 2 }],
            &["a", "b"],
        );
        rig.drained("a", true).unwrap();
        rig.at(3000);
        rig.remove("a");
        rig.remove("b");
        rig.log.clear();
        rig.add_drained("a");
        assert!(!sends_on(&rig, "a"), "{mode}: even as the only one");
        assert_eq!(rig.port("a").drain, Drain::Out);
        assert!(!rig.carrier, "{mode}");
        let words = rig
            .events()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        assert!(
            words.contains("(slave a): drained as before"),
            "{mode}: {words}"
        );
        assert!(!words.contains("takes part"), "{mode}: {words}");
        rig.drained("a", false).unwrap();
        rig.at(10_000);
        assert!(sends_on(&rig, "a") && rig.carrier, "{mode}");
    }
}
