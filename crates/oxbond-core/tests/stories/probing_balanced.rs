//! The ARP and NS monitor where every port is used: the driver's form for balance-rr, balance-xor and broadcast, and our
//! own in the modes in which the driver has none.

use std::net::{IpAddr, Ipv4Addr};

use oxbond_core::input::Input;
use oxbond_core::status::MiiStatus;
use oxbond_wire::arp::Arp;
use oxbond_wire::ethernet::Header;

use crate::net::{Net, OTHER_MAC, OWN_IP};
use crate::rig::Rig;

const DRIVER: [&str; 3] = ["balance-rr", "balance-xor", "broadcast"];
const TARGET: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn net(mode: &str, options: &[&str]) -> Net {
    let mode = format!("mode={mode}");
    Net::new(&[&[mode.as_str()], options].concat(), &["a", "b", "c"])
}

fn status(rig: &Rig, name: &str) -> MiiStatus {
    rig.port(name).mii_status
}

fn up(rig: &Rig) -> Vec<String> {
    let ports = rig.status().ports.into_iter();
    ports
        .filter(|port| port.mii_status == MiiStatus::Up)
        .map(|port| port.name)
        .collect()
}

/// Every port asks at every tick, and none goes down while all is well, though one MAC is seen on all of them.
#[test]
fn every_port_asks_and_none_flaps() {
    for mode in DRIVER {
        for validate in ["none", "active", "all", "filter", "filter_active", "backup"] {
            let mut net = net(mode, &[&format!("arp_validate={validate}")]);
            net.at(10_050);
            assert_eq!(up(&net.rig), ["a", "b", "c"], "{mode} {validate}");
            assert!(
                net.rig
                    .status()
                    .ports
                    .iter()
                    .all(|port| port.link_failure_count == 0)
            );
            for port in ["a", "b", "c"] {
                let asked = net
                    .probes
                    .iter()
                    .filter(|(_, name, _)| name == port)
                    .count();
                assert_eq!(asked, 101, "{mode} {port}");
            }
        }
    }
}

/// A port whose path is dead is left in time, carries nothing, and returns when it hears.
#[test]
fn a_dead_path_is_left_and_used_again() {
    for mode in DRIVER {
        for validate in ["none", "all", "filter"] {
            for (missed_max, left_at) in [(1, 1200), (2, 1300), (4, 1500)] {
                let mut net = net(
                    mode,
                    &[
                        &format!("arp_validate={validate}"),
                        &format!("arp_missed_max={missed_max}"),
                    ],
                );
                net.at(1050).cut.insert("b".to_owned());
                let left = net.when(|rig| status(rig, "b") != MiiStatus::Up);
                assert_eq!(left, left_at, "{mode} {validate} {missed_max}");
                net.forward(100);
                let used: Vec<Option<&str>> = (0..24).map(|key| net.rig.goes_to(key)).collect();
                assert!(!used.contains(&Some("b")), "{mode} {used:?}");
                if mode == "broadcast" {
                    assert_eq!(net.rig.table.order, [net.rig.id("a"), net.rig.id("c")]);
                } else {
                    assert!(used.contains(&Some("a")) && used.contains(&Some("c")));
                }
                net.at(3050).cut.clear();
                // It hears at 3101, and the tick after sees it.
                let back = net.when(|rig| status(rig, "b") == MiiStatus::Up);
                assert_eq!(back, 3200, "{mode} {validate}");
                assert_eq!(net.rig.table.order.len(), 3);
            }
        }
    }
}

/// With the answers checked, a network that floods but reaches no target is as good as none.
#[test]
fn a_switch_without_the_target_behind_it_is_a_dead_path() {
    for mode in DRIVER {
        for (validate, alive) in [
            ("none", 3),
            ("filter", 3),
            ("active", 0),
            ("filter_active", 0),
        ] {
            let mut net = net(mode, &[&format!("arp_validate={validate}")]);
            net.at(1050).targets.clear();
            net.at(3000);
            assert_eq!(up(&net.rig).len(), alive, "{mode} {validate}");
            assert_eq!(net.rig.carrier, alive > 0);
            if alive == 0 {
                // Nothing better is known: every port may try what carrier it has.
                assert!(net.rig.goes_to(0).is_some());
            }
        }
    }
}

#[test]
fn noise_of_others_keeps_no_dead_path_alive() {
    for mode in DRIVER {
        for sender in [
            Ipv4Addr::UNSPECIFIED,
            OWN_IP,
            TARGET,
            Ipv4Addr::new(10, 0, 0, 7),
        ] {
            let mut net = net(mode, &["arp_validate=all"]);
            net.at(1050).mute.insert("b".to_owned());
            net.cut.insert("b".to_owned());
            let frame = Arp::request(OTHER_MAC, sender, TARGET).broadcast_frame(&[]);
            for at in 0..100 {
                net.at(1060 + at * 20);
                net.receive("b", frame.clone());
            }
            assert_eq!(up(&net.rig), ["a", "c"], "{mode} {sender}");
        }
    }
}

/// Carrier is not waited for.
#[test]
fn a_lost_carrier_takes_the_port_down_at_once() {
    for mode in DRIVER {
        let mut net = net(mode, &["arp_validate=all"]);
        net.at(1050);
        net.rig.link_down("b");
        assert_eq!(up(&net.rig), ["a", "c"]);
        net.rig.link_up("b");
        assert_eq!(up(&net.rig), ["a", "c"]);
        // Asked at 1100, heard at 1101, seen at 1200: what was heard before the loss does not count.
        let back = net.when(|rig| status(rig, "b") == MiiStatus::Up);
        assert_eq!(back, 1200, "{mode}");
    }
}

/// Our own extension. Without a partner one port of an aggregate carries the traffic: the one that hears.
#[test]
fn aggregation_follows_the_port_that_hears() {
    let mut net = net("802.3ad", &["arp_validate=all", "lacp_strict=off"]);
    assert_eq!(net.rig.status().options.miimon, 0);
    net.at(1050);
    assert_eq!(up(&net.rig).len(), 3);
    assert_eq!(net.rig.goes_to(0), Some("a"));
    net.cut.insert("a".to_owned());
    let left = net.when(|rig| rig.goes_to(0) == Some("b"));
    assert_eq!(left, 1300);
    assert!(net.rig.carrier);
}

/// Our own extension. The active role follows the answers; a port that has not the bond's address shows its own to nobody's
/// cache, and so is answered at itself.
#[test]
fn balancing_by_load() {
    for mode in ["balance-tlb", "balance-alb"] {
        let mut net = net(mode, &["arp_validate=all"]);
        net.at(1050);
        assert_eq!(up(&net.rig), ["a", "b", "c"], "{mode}");
        net.rig.expect_active("a");
        for (_, port, frame) in &net.probes {
            let (header, payload) = Header::parse(frame).unwrap();
            let asked = Arp::parse(payload).unwrap();
            assert_eq!(header.source, asked.sender_mac);
            assert_eq!(asked.sender_mac, net.rig.port_macs[port]);
            let shown = if port == "a" {
                OWN_IP
            } else {
                Ipv4Addr::UNSPECIFIED
            };
            assert_eq!(asked.sender_ip, shown, "{mode} {port}");
        }
        // Only the answers keep a port up here.
        net.aggregates = true;
        net.at(5050);
        assert_eq!(up(&net.rig), ["a", "b", "c"], "{mode}");
        net.cut.insert("a".to_owned());
        assert_eq!(net.when(|rig| up(rig) == ["b", "c"]), 5300);
        net.rig.expect_active("b");
        net.cut.insert("c".to_owned());
        net.when(|rig| up(rig) == ["b"]);
        net.cut.clear();
        net.when(|rig| up(rig).len() == 3);
        net.rig.expect_active("b");
    }
}

/// The mode changes under way, and with it how ports are judged; nothing goes down by it.
#[test]
fn the_mode_changes_under_way() {
    let mut net = net("active-backup", &["arp_validate=all"]);
    for mode in [
        "balance-xor",
        "active-backup",
        "broadcast",
        "802.3ad",
        "active-backup",
    ] {
        net.forward(1050);
        net.set(&[&format!("mode={mode}"), "arp_validate=all"]);
        net.forward(1000);
        assert_eq!(up(&net.rig).len(), 3, "{mode}");
    }
    assert_eq!(net.rig.bond.options().arp_interval, 100);
    // While one is tried, too.
    net.cut.extend(["a", "b", "c"].map(str::to_owned));
    net.when(|rig| rig.status().active_port.is_none());
    net.forward(250);
    net.set(&["mode=balance-xor", "arp_validate=all"]);
    net.forward(500);
    assert!(
        net.rig
            .status()
            .ports
            .iter()
            .all(|port| port.mii_status == MiiStatus::Down)
    );
    net.cut.clear();
    net.when(|rig| up(rig).len() == 3);
}

/// A target that becomes reachable past the bond is no longer asked.
#[test]
fn a_target_reached_elsewhere_is_not_asked() {
    let mut net = net(
        "balance-xor",
        &["arp_ip_target=10.0.0.1,10.0.0.2", "arp_validate=all"],
    );
    net.at(1050);
    let path = crate::net::path(IpAddr::V4(TARGET));
    net.rig.tell(Input::ProbePaths { paths: vec![path] });
    net.targets.remove(&IpAddr::from([10, 0, 0, 2]));
    net.probes.clear();
    net.at(2050);
    assert_eq!(net.probes.len(), 30);
    assert_eq!(up(&net.rig).len(), 3);
}
