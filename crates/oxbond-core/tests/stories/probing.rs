//! The ARP and NS monitor in active-backup.

use std::net::{IpAddr, Ipv4Addr};

use oxbond_core::action::Action;
use oxbond_core::input::{Input, ProbePath};
use oxbond_core::status::MiiStatus;
use oxbond_wire::MacAddr;
use oxbond_wire::arp::{Arp, Operation};
use oxbond_wire::ethernet::{EtherType, Header};
use oxbond_wire::ndp::NeighbourSolicitation;
use oxbond_wire::probe::ProbeIdentity;

use crate::announcements::announced;
use crate::net::{Net, OTHER_MAC, OWN_IP, TARGET_MAC, answer, own_ipv6};
use crate::rig::{Rig, mac_of, ms};

const TARGET: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn net(options: &[&str]) -> Net {
    Net::new(
        &[&["mode=active-backup"], options].concat(),
        &["a", "b", "c"],
    )
}

fn active(name: &'static str) -> impl Fn(&Rig) -> bool {
    move |rig| rig.status().active_port.as_deref() == Some(name)
}

fn status(rig: &Rig, name: &str) -> MiiStatus {
    rig.port(name).mii_status
}

/// The gratuitous ARP of a stranger, or its own probing of our target.
fn noise(sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Vec<u8> {
    Arp::request(OTHER_MAC, sender_ip, target_ip).broadcast_frame(&[])
}

const VALIDATE: [&str; 7] = [
    "none",
    "active",
    "backup",
    "all",
    "filter",
    "filter_active",
    "filter_backup",
];

/// The default gives a port up 2.5 to 3.5 intervals after it last heard something.
#[test]
fn a_dead_path_is_left_after_so_many_intervals() {
    for validate in VALIDATE {
        for (missed_max, cut_at, left_at) in [
            // Answered at 1001; silence is over 2.5 intervals long at the tick 1300.
            (2, 1050, 1300),
            (2, 1000, 1200),
            (1, 1050, 1200),
            (5, 1050, 1600),
        ] {
            let mut net = net(&[
                &format!("arp_validate={validate}"),
                &format!("arp_missed_max={missed_max}"),
            ]);
            net.at(cut_at);
            assert!(active("a")(&net.rig), "{validate}");
            net.story();
            if cut_at == 1000 {
                // The answer to the probe of 1000 does not arrive any more.
                net.cut.insert("a".to_owned());
            }
            net.cut.insert("a".to_owned());
            assert_eq!(net.when(active("b")), left_at, "{validate} {missed_max}");
            assert_eq!(status(&net.rig, "a"), MiiStatus::Down);
            assert_eq!(net.rig.port("a").link_failure_count, 1);
            net.rig.expect_active("b");
            assert!(net.rig.carrier);
        }
    }
}

#[test]
fn it_says_who_did_not_answer_and_since_when() {
    let mut net = net(&["arp_validate=all"]);
    net.at(1050).story();
    net.cut.insert("a".to_owned());
    net.at(1300);
    assert_eq!(
        net.story(),
        [
            "(slave a): no answer from 10.0.0.1 for 0.3 s",
            "(slave a): link status definitely down, disabling slave",
            "(slave b): making interface the new active one (a hears no answer)",
        ]
    );
    net.at(4200);
    assert_eq!(
        net.rig.port("a").reason,
        "no answer from 10.0.0.1 for 3.2 s"
    );
    net.cut.clear();
    net.at(4400);
    assert_eq!(status(&net.rig, "a"), MiiStatus::Up);
    assert_eq!(
        net.story(),
        ["(slave a): link status definitely up, 1000 Mbps full duplex"]
    );
}

/// Backups are judged too, more patiently by one interval, and are there when they are needed.
#[test]
fn a_backup_that_hears_nothing_is_given_up_and_not_chosen() {
    for validate in VALIDATE {
        let mut net = net(&[&format!("arp_validate={validate}")]);
        net.at(1050).cut.insert("b".to_owned());
        let down = net.when(|rig| status(rig, "b") == MiiStatus::Down);
        // It heard our question of 1000, at 1001.
        assert_eq!(down, 1400, "{validate}");
        assert!(active("a")(&net.rig));
        net.cut.insert("a".to_owned());
        net.when(active("c"));
        net.cut.clear();
        let up = net.when(|rig| status(rig, "b") == MiiStatus::Up);
        assert!(up < net.rig.millis() + 400);
    }
}

/// The primary takes its role back when it hears again.
#[test]
fn the_primary_returns() {
    let mut net = net(&["primary=a", "arp_validate=all"]);
    net.at(1050).cut.insert("a".to_owned());
    net.when(active("b"));
    net.at(3050).cut.clear();
    let back = net.when(active("a"));
    // The question of 3100 comes to it, at 3101; the next tick sees it.
    assert_eq!(back, 3200);
    assert!(
        net.story()
            .iter()
            .any(|line| line.contains("(a hears answers)"))
    );
}

/// Nobody answers: one port asks per tick, in turn, and the first that is answered is taken.
#[test]
fn without_an_active_port_one_after_the_other_asks() {
    for validate in ["none", "all", "filter_backup"] {
        let mut net = net(&[&format!("arp_validate={validate}")]);
        net.at(1050);
        net.cut.extend(["a", "b", "c"].map(str::to_owned));
        let lost = net.when(|rig| rig.status().active_port.is_none());
        assert!(!net.rig.carrier);
        net.probes.clear();
        net.at(lost + 900);
        let turns: Vec<(u64, &str)> = net
            .probes
            .iter()
            .map(|(at, port, _)| (*at, port.as_str()))
            .collect();
        assert!(turns.len() >= 9, "{validate} {turns:?}");
        for pair in turns.windows(2) {
            let next = match pair[0].1 {
                "a" => "b",
                "b" => "c",
                _ => "a",
            };
            assert_eq!(
                (pair[1].0, pair[1].1),
                (pair[0].0 + 100, next),
                "{validate}"
            );
        }
        let tried = |name: &&str| status(&net.rig, name) == MiiStatus::GoingBack;
        assert_eq!(["a", "b", "c"].iter().filter(|n| tried(n)).count(), 1);
        // Not one more failure counted for being tried in vain.
        assert!(
            ["a", "b", "c"]
                .iter()
                .all(|n| net.rig.port(n).link_failure_count == 1)
        );
        net.story();
        net.cut.remove("c");
        let found = net.when(active("c"));
        assert!(found <= lost + 900 + 400, "{validate}");
        assert!(net.rig.carrier);
    }
}

/// A port without carrier is left at once and not asked; it comes up when it hears, not when its carrier comes.
#[test]
fn carrier_takes_down_at_once_and_only_answers_bring_up() {
    let mut net = net(&["arp_validate=all"]);
    net.at(1050);
    net.rig.link_down("a");
    net.at(1050);
    assert!(active("b")(&net.rig));
    net.at(2050).cut.insert("a".to_owned());
    net.rig.link_up("a");
    net.at(4050);
    assert_eq!(status(&net.rig, "a"), MiiStatus::Down);
    net.cut.clear();
    assert_eq!(net.when(|rig| status(rig, "a") == MiiStatus::Up), 4200);

    // All without carrier: nobody asks.
    for port in ["a", "b", "c"] {
        net.rig.link_down(port);
    }
    net.at(5000).probes.clear();
    net.at(6000);
    assert!(net.probes.is_empty());
    net.rig.link_up("c");
    net.when(active("c"));
}

/// Frames of others keep a port up exactly where the driver lets them, and nowhere else.
#[test]
fn noise_of_others_keeps_no_dead_path_alive() {
    let reply_to_other = Arp {
        operation: Operation::Reply,
        sender_mac: TARGET_MAC,
        sender_ip: TARGET,
        target_mac: OTHER_MAC,
        target_ip: Ipv4Addr::new(10, 0, 0, 7),
    };
    let kinds = [
        noise(Ipv4Addr::new(10, 0, 0, 7), TARGET),
        // Another host that watches the same target without an address, as we would without a route.
        noise(Ipv4Addr::UNSPECIFIED, TARGET),
        // One that has our address as well.
        noise(OWN_IP, TARGET),
        noise(TARGET, TARGET),
        reply_to_other.broadcast_frame(&[]),
    ];
    for validate in VALIDATE {
        for frame in &kinds {
            let mut net = net(&[&format!("arp_validate={validate}")]);
            net.at(1050);
            // The paths of a and b reach a switch that is cut off from everything but the noisy host.
            for port in ["a", "b"] {
                net.mute.insert(port.to_owned());
                net.noise.push((30, port.to_owned(), frame.clone()));
            }
            net.targets.clear();
            net.at(4000);
            let code = VALIDATE.iter().position(|word| *word == validate).unwrap();
            let (checks_active, checks_backup) = (code & 1 != 0, code & 2 != 0);
            assert_eq!(
                net.rig.status().failovers == Some(0),
                !checks_active,
                "{validate}"
            );
            if checks_active && checks_backup {
                assert_eq!(net.rig.status().active_port, None);
                assert_ne!(status(&net.rig, "b"), MiiStatus::Up);
            }
            if !checks_active {
                let up = status(&net.rig, "b") == MiiStatus::Up;
                assert_eq!(up, !checks_backup, "{validate}");
            }
        }
    }
}

/// `filter` counts ARP and IPv6 alone.
#[test]
fn filter_does_not_count_other_traffic() {
    let mut ip = noise(OWN_IP, TARGET);
    ip[12..14].copy_from_slice(&[8, 0]);
    for (validate, alive) in [("none", true), ("filter", false), ("filter_backup", false)] {
        let mut net = net(&[&format!("arp_validate={validate}")]);
        net.at(1050).targets.clear();
        for port in ["a", "b", "c"] {
            net.mute.insert(port.to_owned());
            net.noise.push((30, port.to_owned(), ip.clone()));
        }
        net.at(4000);
        assert_eq!(active("a")(&net.rig), alive, "{validate}");
    }
}

/// An answer counts only if it is to us, from a target, and asked for.
#[test]
fn what_is_no_answer() {
    let asked = Arp::request(mac_of("a"), OWN_IP, TARGET);
    let good = answer(&asked);
    let strangers = [
        Arp {
            target_mac: OTHER_MAC,
            ..good
        },
        Arp {
            target_ip: Ipv4Addr::new(10, 0, 0, 101),
            ..good
        },
        Arp {
            sender_ip: Ipv4Addr::new(10, 0, 0, 2),
            ..good
        },
        Arp {
            operation: Operation::Request,
            ..good
        },
        Arp {
            operation: Operation::Unknown(9),
            ..good
        },
    ];
    let run = |frame: Vec<u8>| {
        let mut net = net(&["arp_validate=all"]);
        net.at(1050).targets.clear();
        net.noise.push((100, "a".to_owned(), frame));
        net.at(2000);
        active("a")(&net.rig)
    };
    assert!(run(good.frame(mac_of("a"), &[])));
    for stranger in strangers {
        assert!(!run(stranger.frame(mac_of("a"), &[])), "{stranger:?}");
    }
    // In a VLAN, where we did not ask. A priority tag is none.
    assert!(!run(good.frame(mac_of("a"), &[7])));
    assert!(run(good.frame(mac_of("a"), &[0])));
}

/// The padding of a question is lost on some ways; its sender address then shows whose it is.
#[test]
fn backups_know_our_question_without_its_padding() {
    let mut net = net(&["arp_validate=backup"]);
    net.strips_padding = true;
    net.at(5000);
    assert_eq!(status(&net.rig, "b"), MiiStatus::Up);
    assert!(active("a")(&net.rig));
}

/// A copy of an old question, or one of another bond, proves nothing.
#[test]
fn backups_do_not_take_old_or_foreign_questions_for_ours() {
    let run = |change: &dyn Fn(&mut ProbeIdentity)| {
        let mut net = net(&["arp_validate=backup"]);
        net.at(1050);
        net.aggregates = true;
        for at in 11..30 {
            net.at(at * 100 + 20);
            let (_, _, frame) = net.probes.last().unwrap().clone();
            let mut identity = ProbeIdentity::find(&frame[42..]).unwrap();
            change(&mut identity);
            let mut copy = frame;
            copy[42..].copy_from_slice(&identity.bytes());
            net.receive("b", copy);
        }
        status(&net.rig, "b")
    };
    assert_eq!(run(&|_| {}), MiiStatus::Up);
    assert_eq!(run(&|identity| identity.sequence -= 1), MiiStatus::Up);
    assert_eq!(run(&|identity| identity.sequence -= 5), MiiStatus::Down);
    assert_eq!(run(&|identity| identity.bond = OTHER_MAC), MiiStatus::Down);
    // Reflected to the port that sent it: not what a backup hears.
    assert_eq!(run(&|identity| identity.port = 1), MiiStatus::Down);
}

#[test]
fn one_target_is_enough_or_all_must_answer() {
    for (all, alive) in [("any", true), ("all", false)] {
        let words = ["arp_ip_target=10.0.0.1,10.0.0.2", "arp_validate=all"];
        let mut net = net(&[&words[..], &[&format!("arp_all_targets={all}")]].concat());
        net.at(1050);
        assert!(active("a")(&net.rig));
        net.targets.remove(&IpAddr::V4(TARGET));
        net.at(2000);
        assert_eq!(active("a")(&net.rig), alive, "{all}");
        if !alive {
            let story = net.story().join("\n");
            assert!(
                story.contains("no answer from 10.0.0.1, 10.0.0.2 for 0.3 s"),
                "{story}"
            );
        }
    }
}

/// The frames, byte for byte where it matters: least length, our addresses, tags, identity with a number that grows.
#[test]
fn probes_on_the_wire() {
    let mut net = net(&["arp_ip_target=10.0.0.1,10.1.0.1,10.2.0.1"]);
    let paths = [
        (TARGET, Some(OWN_IP), vec![]),
        (
            Ipv4Addr::new(10, 1, 0, 1),
            Some(Ipv4Addr::new(10, 1, 0, 100)),
            vec![100, 7],
        ),
        (Ipv4Addr::new(10, 2, 0, 1), None, vec![]),
    ];
    let paths = paths.map(|(target, source, vlans)| ProbePath {
        target: target.into(),
        source: source.map(IpAddr::V4),
        vlans,
    });
    net.rig.tell(Input::ProbePaths {
        paths: paths.to_vec(),
    });
    net.at(150);
    let times: Vec<u64> = net.probes.iter().map(|(at, ..)| *at).collect();
    assert_eq!(times, [0, 0, 0, 100, 100, 100]);
    for (index, (_, port, frame)) in net.probes.iter().enumerate() {
        let path = &paths[index % 3];
        assert_eq!(port, "a");
        let (header, payload) = Header::parse(frame).unwrap();
        assert_eq!(
            (header.destination, header.source),
            (MacAddr::BROADCAST, mac_of("a"))
        );
        let vlans: Vec<u16> = header.tags.iter().map(|tag| tag.id()).collect();
        assert_eq!(vlans, path.vlans);
        let asked = Arp::parse(payload).unwrap();
        assert_eq!(
            (asked.operation, asked.sender_mac),
            (Operation::Request, mac_of("a"))
        );
        assert_eq!(IpAddr::V4(asked.target_ip), path.target);
        let source = path.source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        assert_eq!(IpAddr::V4(asked.sender_ip), source);
        let identity = ProbeIdentity::find(&payload[28..]).unwrap();
        let sequence = 1 + index as u32 / 3;
        let expected = ProbeIdentity {
            bond: mac_of("a"),
            port: 0,
            sequence,
        };
        assert_eq!(identity, expected);
        assert_eq!(frame.len(), 60 + 4 * vlans.len());
    }
}

/// A target in a VLAN answers in it; a target reached without an address answers to 0.0.0.0.
#[test]
fn targets_in_vlans_and_targets_without_a_route() {
    for (source, vlans) in [
        (Some(IpAddr::V4(OWN_IP)), vec![100]),
        (Some(IpAddr::V4(OWN_IP)), vec![100, 7]),
        (None, vec![]),
        (None, vec![100]),
    ] {
        let mut net = net(&["arp_validate=all"]);
        let target = IpAddr::V4(TARGET);
        let path = ProbePath {
            target,
            source,
            vlans: vlans.clone(),
        };
        net.rig.tell(Input::ProbePaths { paths: vec![path] });
        net.targets.insert(target, vlans);
        net.at(3000);
        assert!(active("a")(&net.rig));
        assert_eq!(status(&net.rig, "b"), MiiStatus::Up);
        net.cut.insert("a".to_owned());
        net.when(active("b"));
    }
}

#[test]
fn ipv6_targets() {
    for (validate, anonymous) in [
        ("all", false),
        ("none", false),
        ("all", true),
        ("backup", true),
    ] {
        let mut net = net(&["ns_ip6_target=fd00::1", &format!("arp_validate={validate}")]);
        if anonymous {
            let path = ProbePath {
                target: "fd00::1".parse().unwrap(),
                source: None,
                vlans: vec![],
            };
            net.rig.tell(Input::ProbePaths { paths: vec![path] });
        }
        net.at(1050);
        assert!(active("a")(&net.rig));
        let (_, _, frame) = net.probes.last().unwrap();
        let (header, payload) = Header::parse(frame).unwrap();
        assert_eq!(header.destination, MacAddr([0x33, 0x33, 0xff, 0, 0, 1]));
        assert_eq!(header.ether_type, EtherType::Ipv6);
        let asked = NeighbourSolicitation::parse(payload).unwrap();
        assert_eq!(asked.source_mac, (!anonymous).then_some(mac_of("a")));
        assert_eq!(asked.source.is_unspecified(), anonymous);
        assert!(anonymous || asked.source == own_ipv6());
        assert_eq!(
            ProbeIdentity::find(&asked.nonce.unwrap()).unwrap().bond,
            mac_of("a")
        );
        net.cut.insert("a".to_owned());
        net.when(active("b"));
        net.cut.extend(["b", "c"].map(str::to_owned));
        net.when(|rig| rig.status().active_port.is_none());
        net.cut.remove("c");
        net.when(active("c"));
    }
}

/// Sixteen of each, the most there can be.
#[test]
fn thirty_two_targets() {
    let v4: Vec<String> = (1..17).map(|n| format!("10.0.0.{n}")).collect();
    let v6: Vec<String> = (1..17).map(|n| format!("fd00::{n}")).collect();
    let mut net = net(&[
        &format!("arp_ip_target={}", v4.join(",")),
        &format!("ns_ip6_target={}", v6.join(",")),
        "arp_validate=all",
        "arp_all_targets=all",
    ]);
    net.at(3050);
    assert!(active("a")(&net.rig));
    assert_eq!(net.probes.iter().filter(|(at, ..)| *at == 3000).count(), 32);
    net.targets.remove(&IpAddr::from([10, 0, 0, 9]));
    net.when(|rig| !active("a")(rig));
}

/// Targets, interval and rules can change under way; nothing is lost by it.
#[test]
fn options_change_under_way() {
    let mut net = net(&["arp_validate=all", "arp_all_targets=all"]);
    net.at(1050).story();
    // A target more: its silence counts from now on.
    net.set(&["arp_ip_target=10.0.0.1,10.0.0.2"]);
    net.tell_paths();
    net.targets.insert("10.0.0.2".parse().unwrap(), vec![]);
    net.at(2050);
    // Another one instead, which does not answer: 2.5 intervals on.
    net.set(&["arp_ip_target=10.0.0.3"]);
    net.tell_paths();
    net.at(2250);
    assert!(active("a")(&net.rig));
    net.targets.insert("10.0.0.3".parse().unwrap(), vec![]);
    net.at(4000);
    assert_eq!(net.rig.status().failovers, Some(0));

    for validate in VALIDATE.iter().chain(&VALIDATE) {
        net.set(&[&format!("arp_validate={validate}")]);
        net.forward(450);
    }
    net.set(&["arp_missed_max=1", "arp_all_targets=any"]);
    net.forward(1000);
    assert_eq!(net.rig.status().failovers, Some(0));

    net.set(&["arp_interval=20"]);
    net.probes.clear();
    net.forward(199);
    assert_eq!(net.probes.len(), 10);
    let begun = net.rig.millis();
    net.cut.insert("a".to_owned());
    assert!(net.when(active("b")) - begun <= 60);

    // Carrier alone again, and back.
    net.set(&["miimon=100"]);
    assert_eq!(status(&net.rig, "a"), MiiStatus::Up);
    assert_eq!(net.rig.table.tap, Default::default());
    net.probes.clear();
    net.forward(1000);
    assert!(net.probes.is_empty());
    net.rig.link_down("c");
    net.set(&["arp_interval=100"]);
    assert_eq!(status(&net.rig, "c"), MiiStatus::Down);
    net.cut.clear();
    net.rig.link_up("c");
    net.when(|rig| status(rig, "c") == MiiStatus::Up);
    assert!(active("b")(&net.rig));
}

/// With nobody to ask, silence says nothing: carrier decides.
#[test]
fn without_a_target_carrier_decides() {
    let mut net = net(&["arp_validate=all"]);
    net.rig.tell(Input::ProbePaths { paths: vec![] });
    net.at(5000);
    assert!(active("a")(&net.rig));
    assert!(net.probes.is_empty());
    net.rig.link_down("a");
    assert!(active("b")(&net.rig));
    net.rig.link_up("a");
    net.at(5100);
    assert_eq!(status(&net.rig, "a"), MiiStatus::Up);
    // They can be asked again: from now on they are judged.
    net.tell_paths();
    net.cut.insert("b".to_owned());
    net.when(|rig| !active("b")(rig));
}

/// Time in which nobody drove the bond is no silence; a restored bond goes on.
#[test]
fn a_daemon_that_was_away_does_not_take_paths_down() {
    let mut net = net(&["arp_validate=all"]);
    net.at(1050);
    net.rig.sleep(5000);
    net.rig.restart();
    net.forward(1000);
    assert_eq!(net.rig.status().failovers, Some(0));
    assert_eq!(status(&net.rig, "b"), MiiStatus::Up);
    let begun = net.rig.millis();
    net.cut.insert("a".to_owned());
    assert!(net.when(active("b")) <= begun + 350);
}

/// The monitor sleeps while the bond is down, as in the driver, and forgives that time.
#[test]
fn it_runs_while_the_bond_is_up() {
    let mut net = net(&["arp_validate=all"]);
    net.at(1050);
    net.rig.tell(Input::BondAdmin { up: false });
    net.probes.clear();
    net.at(5000);
    assert!(net.probes.is_empty());
    assert_eq!(net.rig.bond.next_timeout(), None);
    net.rig.tell(Input::BondAdmin { up: true });
    net.at(6000);
    assert_eq!(net.probes[0].0, 5000);
    assert_eq!(net.rig.status().failovers, Some(0));
}

/// What peers are told is repeated once per monitor interval.
#[test]
fn announcements_are_counted_in_intervals() {
    let mut net = net(&["arp_validate=all", "num_grat_arp=3"]);
    net.rig.tell(Input::Addresses {
        addresses: vec![announced("10.0.0.100", &[])],
    });
    net.at(1050).cut.insert("a".to_owned());
    net.at(3000);
    let sent: Vec<u64> = net
        .log
        .iter()
        .filter(|(_, action)| matches!(action, Action::SendFrame { .. }))
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(sent, [1300, 1400, 1500]);
}

/// Each port asks with the address it has.
#[test]
fn ports_with_addresses_of_their_own() {
    for rule in ["active", "follow"] {
        let mut net = net(&["arp_validate=all", &format!("fail_over_mac={rule}")]);
        for (dead, next) in [("a", "b"), ("b", "c")] {
            net.forward(1000).cut.insert(dead.to_owned());
            net.when(active(next));
            net.forward(1000);
            let (_, port, frame) = net.probes.last().unwrap();
            assert_eq!(port, next);
            let (header, payload) = Header::parse(frame).unwrap();
            assert_eq!(header.source, net.rig.port_macs[next]);
            assert_eq!(Arp::parse(payload).unwrap().sender_mac, header.source);
            assert!(active(next)(&net.rig), "{rule}");
        }
        assert_eq!(net.rig.now.saturating_since(net.rig.now), ms(0));
    }
}
