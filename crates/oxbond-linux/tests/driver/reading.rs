//! Pictures of bonds that somebody else made.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use oxbond_core::driver::Picture;
use oxbond_core::option::{Mode, OptionId};
use oxbond_core::port::Duplex;
use oxbond_core::status::{MiiStatus, PortRole};
use oxbond_linux::engine::kernel::{self, Presence};
use oxbond_linux::netlink::Netlink;

use crate::rig::{eventually, index, ip};

/// The value behind a key, in the part of `/proc/net/bonding/NAME` that begins with a line.
fn told<'a>(text: &'a str, from: &str, key: &str) -> Option<&'a str> {
    let (_, part) = text.split_once(from)?;
    let part = part.split("\n\nSlave Interface").next()?;
    part.lines()
        .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "))
}

fn proc_text(bond: &str) -> String {
    std::fs::read_to_string(format!("/proc/thread-self/net/bonding/{bond}")).unwrap()
}

/// Whatever of a picture stands in the text too must be the same there.
fn assert_as_told(picture: &Picture, text: &str) {
    let bond = |key| told(text, "Bonding Driver", key);
    let flag = |up| if up { "up" } else { "down" };
    assert_eq!(bond("MII Status"), Some(flag(picture.carrier)), "{text}");
    let numbers = [
        ("MII Polling Interval (ms)", picture.options.miimon),
        ("Up Delay (ms)", picture.options.updelay),
        ("Down Delay (ms)", picture.options.downdelay),
        (
            "Peer Notification Delay (ms)",
            picture.options.peer_notif_delay,
        ),
    ];
    for (key, number) in numbers {
        assert_eq!(bond(key), Some(&*number.to_string()), "{text}");
    }
    if picture.options.mode.has_active_port() {
        let active = picture.active_port.as_deref().unwrap_or("None");
        assert_eq!(bond("Currently Active Slave"), Some(active), "{text}");
    }
    let names: Vec<_> = picture.ports.iter().map(|port| &*port.name).collect();
    let listed = text
        .lines()
        .filter_map(|line| line.strip_prefix("Slave Interface: "));
    assert_eq!(names, listed.collect::<Vec<_>>());
    for port in &picture.ports {
        let from = format!("Slave Interface: {}\n", port.name);
        let of = |key| told(text, &from, key);
        let status = match port.mii_status {
            MiiStatus::Up => "up",
            MiiStatus::GoingDown => "going down",
            MiiStatus::Down => "down",
            MiiStatus::GoingBack => "going back",
        };
        assert_eq!(of("MII Status"), Some(status), "{text}");
        let speed = port
            .link
            .speed_mbps
            .map_or_else(|| "Unknown".to_owned(), |mbps| format!("{mbps} Mbps"));
        assert_eq!(of("Speed"), Some(&*speed), "{text}");
        let failures = port.link_failure_count.to_string();
        assert_eq!(of("Link Failure Count"), Some(&*failures), "{text}");
        let mac = port.permanent_mac.to_string();
        assert_eq!(of("Permanent HW addr"), Some(&*mac), "{text}");
        let queue = port.options.queue_id.to_string();
        assert_eq!(of("Slave queue ID"), Some(&*queue), "{text}");
        let Some(aggregation) = &port.aggregation else {
            assert_ne!(picture.options.mode, Mode::Ieee8023ad);
            continue;
        };
        let id = aggregation
            .aggregator
            .map_or_else(|| "N/A".to_owned(), |id| id.to_string());
        assert_eq!(of("Aggregator ID"), Some(&*id), "{text}");
        let pdus = aggregation.pdus.expect("we are root");
        let state = of("port state").unwrap();
        assert_eq!(pdus.actor.state.0.to_string(), state, "{text}");
        assert_eq!(aggregation.actor_state, Some(pdus.actor.state.0));
        assert_eq!(aggregation.partner_state, Some(pdus.partner.state.0));
    }
}

/// Reads one bond alone and among all, between two looks at the text that agree.
fn read(nl: &mut Netlink, name: &str) -> (Picture, String) {
    let ifindex = index(nl, name);
    eventually("the bond stands still", || {
        let before = proc_text(name);
        let picture = kernel::picture(nl, ifindex).unwrap().unwrap();
        let all = kernel::pictures(nl).unwrap();
        let among = all.into_iter().find(|picture| picture.ifindex == ifindex);
        (before == proc_text(name) && among.as_ref() == Some(&picture)).then_some((picture, before))
    })
}

pub(crate) fn nothing() {
    assert_eq!(kernel::presence(), Presence::Loaded);
    assert_eq!(kernel::release(), Some((6, 1)));
    let mut nl = Netlink::open().unwrap();
    assert_eq!(kernel::pictures(&mut nl).unwrap(), []);
    assert_eq!(kernel::picture(&mut nl, 1).unwrap(), None);
    assert_eq!(kernel::picture(&mut nl, 9999).unwrap(), None);
    ip("link add bond0 type bond");
    let bond = kernel::pictures(&mut nl).unwrap().remove(0);
    assert!(bond.is_pristine(), "{bond:?}");
    ip("link set bond0 address 02:00:00:00:00:09");
    let bond = kernel::pictures(&mut nl).unwrap().remove(0);
    assert!(!bond.is_pristine() && !bond.mac_is_random, "{bond:?}");
    assert_eq!(nl.writes(), 0);
}

pub(crate) fn every_mode() {
    // The order of joining is not that of the indices.
    ip(
        "link add q0 type veth peer name p0\nlink add q1 type veth peer name p1\nlink add q2 type veth peer name p2",
    );
    for port in ["p0", "p1", "p2"] {
        ip(&format!("link set {port} up"));
    }
    let mut nl = Netlink::open().unwrap();
    for mode in Mode::ALL {
        let more = match mode {
            Mode::ActiveBackup => "primary q2 fail_over_mac active num_grat_arp 3",
            Mode::BalanceXor => "xmit_hash_policy layer3+4 updelay 200 downdelay 300",
            Mode::Ieee8023ad => "lacp_rate fast ad_user_port_key 77",
            Mode::BalanceTlb => "tlb_dynamic_lb 0",
            _ => "",
        };
        ip(&format!(
            "link add bond0 type bond mode {mode} miimon 100 {more}"
        ));
        for port in ["q2", "q0", "q1"] {
            ip(&format!(
                "link set {port} down\nlink set {port} master bond0"
            ));
        }
        ip("link set bond0 mtu 1400 up\nlink set p1 down");
        if mode.has_active_port() {
            ip("link set q0 type bond_slave prio 5");
        }
        if *mode == Mode::BalanceRr {
            ip("link set q0 type bond_slave queue_id 3");
        }
        let (picture, text) = eventually("the monitor has seen it", || {
            let (picture, text) = read(&mut nl, "bond0");
            let down = |name: &str| {
                picture
                    .ports
                    .iter()
                    .any(|port| port.name == name && port.mii_status == MiiStatus::Down)
            };
            (picture.carrier && down("q1")).then_some((picture, text))
        });
        assert_as_told(&picture, &text);
        assert_eq!(picture.options.mode, *mode);
        assert_eq!(
            (picture.mtu, picture.up, picture.raw.len()),
            (1400, true, 0)
        );
        for port in &picture.ports {
            assert_eq!(port.raw, []);
            assert_eq!(port.link.duplex, Duplex::Full);
            assert_eq!(port.link.carrier, port.name != "q1", "{port:?}");
            assert!(port.link.admin_up);
        }
        let port = |name: &str| picture.ports.iter().find(|port| port.name == name).unwrap();
        for (id, is_known) in [
            (OptionId::Mode, true),
            (OptionId::ArpIpTarget, true),
            (OptionId::NsIp6Target, true),
            (OptionId::AdActorSysPrio, *mode == Mode::Ieee8023ad),
            (OptionId::LacpStrict, false),
            (OptionId::LacpFallback, false),
        ] {
            assert_eq!(picture.known.contains(&id), is_known, "{id} in {mode}");
        }
        match mode {
            Mode::BalanceRr => assert_eq!(port("q0").options.queue_id, 3),
            Mode::ActiveBackup => {
                assert_eq!(picture.options.primary.as_deref(), Some("q2"));
                assert_eq!(picture.active_port.as_deref(), Some("q2"));
                assert_eq!(picture.options.num_grat_arp, 3);
                assert_eq!(port("q0").options.prio, 5);
                assert_eq!(port("q0").role, PortRole::Backup);
                assert_eq!(port("q2").role, PortRole::Active);
            }
            Mode::BalanceXor => assert_eq!(picture.options.downdelay, 300),
            Mode::Ieee8023ad => {
                assert_eq!(picture.options.ad_user_port_key, 77);
                let (priority, system) = picture.system.unwrap();
                assert_eq!((priority, system), (65535, picture.mac));
                let aggregator = picture.active_aggregator.unwrap();
                let id = told(&text, "Active Aggregator Info", "Aggregator ID").unwrap();
                assert_eq!(aggregator.id.to_string(), id);
                let sent = |picture: &Picture| {
                    picture.ports[0]
                        .aggregation
                        .as_ref()
                        .unwrap()
                        .counters
                        .lacpdus_tx
                };
                eventually("LACPDUs are counted", || {
                    (sent(&read(&mut nl, "bond0").0) > 0).then_some(())
                });
            }
            _ => {}
        }
        // What is sent is counted.
        let sent = picture
            .ports
            .iter()
            .map(|port| port.traffic.tx_packets)
            .sum::<u64>();
        assert!(sent > 0, "{picture:?}");
        ip("link del bond0\nlink set p1 up");
    }
    assert_eq!(nl.writes(), 0);
}

/// Interfaces of the largest machine that is promised to be quick.
const BONDS: usize = 500;

pub(crate) fn many() {
    let mut lines = String::new();
    for n in 0..BONDS {
        let mode = match n % 3 {
            0 => "active-backup",
            1 => "802.3ad",
            _ => "balance-xor",
        };
        writeln!(lines, "link add b{n} type bond mode {mode} miimon 1000").unwrap();
        for port in ["x", "y"] {
            writeln!(lines, "link add {port}{n} master b{n} type dummy").unwrap();
        }
    }
    let begun = Instant::now();
    ip(&lines);
    println!("made in {:?}", begun.elapsed());
    let mut nl = Netlink::open().unwrap();
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let begun = Instant::now();
        let pictures = kernel::pictures(&mut nl).unwrap();
        best = best.min(begun.elapsed());
        assert_eq!(pictures.len(), BONDS);
        for (n, picture) in pictures.iter().enumerate() {
            let names: Vec<_> = picture.ports.iter().map(|port| port.name.clone()).collect();
            assert_eq!(names, [format!("x{n}"), format!("y{n}")], "{picture:?}");
        }
    }
    println!("{BONDS} bonds with two ports each read in {best:?}");
    assert!(best < Duration::from_secs(5), "{best:?}");
}
