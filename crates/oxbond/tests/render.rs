//! The renderers against golden texts. They are pure, so they are tested without daemon, engine or network.
#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

#[path = "../src/render/mod.rs"]
mod render;
#[path = "../src/report.rs"]
mod report;

use std::collections::BTreeMap;
use std::time::Duration;

use oxbond_core::driver::RawAttribute;
use oxbond_core::lacp::{
    self, AggregatorStatus, ChurnState, Counters, Drain, MuxState, ReceiveState, Selected,
};
use oxbond_core::option::{FailOverMac, HashPolicy, LacpRate, Mode, PrimaryReselect, Weight};
use oxbond_core::port::{Duplex, PortIndex};
use oxbond_core::status::{BondStatus, MiiStatus, PortRole, PortStatus, STATUS_VERSION};
use oxbond_core::verdict::{Health, Verdict};
use oxbond_wire::MacAddr;
use oxbond_wire::lacp::{Information, State};
use report::{BondReport, EngineReport, FrameReport, PortCounters};

const RELEASE: &str = "6.1.176";

fn bond(mode: Mode) -> BondStatus {
    let mut status = BondStatus {
        version: STATUS_VERSION,
        name: "bond0".to_owned(),
        carrier: false,
        verdict: Verdict {
            words: "has carrier: enp3s0 carries the traffic".to_owned(),
            ..Verdict::default()
        },
        mac: "16:62:3c:0c:84:5c".parse().unwrap(),
        options: Default::default(),
        primary: None,
        active_port: None,
        failovers: Some(0),
        lacp: None,
        ports: Vec::new(),
        expected: Vec::new(),
        hidden: Vec::new(),
        raw: Vec::new(),
    };
    status.options.mode = mode;
    status
}

fn port(index: u8, name: &str) -> PortStatus {
    PortStatus {
        id: PortIndex(index.into()),
        name: name.to_owned(),
        ifindex: 10 + u32::from(index),
        mii_status: MiiStatus::Up,
        role: PortRole::Active,
        speed_mbps: Some(10_000),
        duplex: Duplex::Full,
        link_failure_count: 0,
        permanent_mac: "16:62:3c:0c:84:5c".parse().unwrap(),
        mac: "16:62:3c:0c:84:5c".parse().unwrap(),
        queue_id: 0,
        prio: 0,
        actor_port_prio: 255,
        weight: Weight::Fixed(1),
        lacp: None,
        drain: Drain::No,
        since: Some(Duration::from_secs(200)),
        reason: "active".to_owned(),
        health: Health::Well,
        advice: None,
        raw: Vec::new(),
    }
}

const PARTNER: &str = "22:95:f9:49:c7:81";

/// A port that works with a partner at fast rate.
fn agreed(index: u8, name: &str) -> PortStatus {
    let end = |system: &str| Information {
        system_priority: 65_535,
        system: system.parse().unwrap(),
        key: 15,
        port_priority: 255,
        port: u16::from(index) + 1,
        state: State(63),
    };
    let port = port(index, name);
    PortStatus {
        lacp: Some(lacp::PortStatus {
            id: port.id,
            actor: end("16:62:3c:0c:84:5c").into(),
            partner: end(PARTNER).into(),
            aggregator: Some(1),
            selected: Selected::Selected,
            receive: ReceiveState::Current,
            mux: MuxState::CollectingDistributing,
            actor_churn: Some(ChurnState::Monitoring),
            actor_churned: 0,
            partner_churn: Some(ChurnState::Monitoring),
            partner_churned: 0,
            collecting: true,
            distributing: true,
            fallback: false,
            drain: Drain::No,
            reason: None,
            heard: Some(Duration::from_millis(300)),
            counters: Counters {
                lacpdus_rx: 12,
                ..Counters::default()
            },
        }),
        ..port
    }
}

/// A bond of two such ports.
fn aggregate() -> BondStatus {
    let mut status = bond(Mode::Ieee8023ad);
    status.name = "bond1".to_owned();
    status.carrier = true;
    status.options.miimon = 100;
    status.options.lacp_rate = LacpRate::Fast;
    status.ports = vec![agreed(0, "v0"), agreed(1, "v1")];
    status.ports[1].permanent_mac = "c2:a9:6f:e3:73:bb".parse().unwrap();
    status.lacp = Some(lacp::Status {
        system_priority: Some(65_535),
        system: Some(status.mac),
        aggregators: vec![AggregatorStatus {
            id: 1,
            active: true,
            ports: status.ports.iter().map(|port| port.id).collect(),
            linked: 2,
            actor_key: Some(15),
            partner_key: Some(15),
            partner_system: Some(PARTNER.parse().unwrap()),
            individual: false,
        }],
    });
    status
}

fn report(status: BondStatus) -> BondReport {
    let counters = status
        .ports
        .iter()
        .map(|port| PortCounters {
            port: port.id,
            tx_packets: 5,
            tx_bytes: 500,
            rx_packets: 6,
            rx_bytes: 600,
            rx_inactive: Some(7),
            rx_dropped: None,
            tx_moved: 1,
            lacp_answered: 0,
        })
        .collect();
    let engine = EngineReport {
        engine: "ebpf".to_owned(),
        managed: true,
        front: Some("veth".to_owned()),
        hook: Some("tcx".to_owned()),
        why: "netkit: not in this kernel".to_owned(),
        bond_ifindex: 9,
        mtu: 9000,
    };
    BondReport {
        status,
        engine,
        counters,
        tx_no_port: 8,
        ports_left: 9,
        hindered: BTreeMap::new(),
    }
}

/// An active-backup bond in trouble: one port of three is down, one is missing.
fn troubled() -> BondReport {
    let mut status = bond(Mode::ActiveBackup);
    status.carrier = true;
    status.active_port = Some("enp3s0".to_owned());
    status.failovers = Some(3);
    status.expected = ["enp3s0", "enp4s0", "enx00e04c680001"]
        .map(str::to_owned)
        .to_vec();
    let mut backup = port(1, "enp4s0");
    backup.mii_status = MiiStatus::GoingBack;
    backup.role = PortRole::Backup;
    backup.speed_mbps = None;
    backup.link_failure_count = 12;
    backup.since = Some(Duration::from_secs(2));
    backup.reason = "its link is back, it waits out the up delay of 5000 ms".to_owned();
    backup.health = Health::Passing;
    status.ports = vec![port(0, "enp3s0"), backup];
    report(status)
}

/// Empty bonds of five modes, as the driver showed them.
#[test]
fn proc_text_of_empty_bonds_is_the_drivers() {
    for (mode, golden) in [
        (Mode::BalanceRr, include_str!("data/proc-mode-0.txt")),
        (Mode::BalanceXor, include_str!("data/proc-mode-2.txt")),
        (Mode::Broadcast, include_str!("data/proc-mode-3.txt")),
        (Mode::BalanceTlb, include_str!("data/proc-mode-5.txt")),
        (Mode::BalanceAlb, include_str!("data/proc-mode-6.txt")),
    ] {
        let mut status = bond(mode);
        status.options.miimon = if matches!(mode, Mode::BalanceTlb | Mode::BalanceAlb) {
            100
        } else {
            0
        };
        assert_eq!(render::proc(&status, RELEASE), golden);
    }
}

#[test]
fn proc_text_of_active_backup_with_arp_monitor_is_the_drivers() {
    let mut status = bond(Mode::ActiveBackup);
    status.carrier = true;
    status.options.fail_over_mac = FailOverMac::Active;
    status.options.primary = Some("v0".to_owned());
    status.options.arp_interval = 200;
    status.options.arp_ip_target = vec!["10.9.0.2".parse().unwrap()];
    status.primary = Some("v0".to_owned());
    status.active_port = Some("v0".to_owned());
    status.ports = vec![port(0, "v0")];
    assert_eq!(
        render::proc(&status, RELEASE),
        include_str!("data/proc-active-backup-arp.txt")
    );
}

#[test]
fn proc_text_of_an_aggregate_is_the_drivers() {
    let mut status = aggregate();
    assert_eq!(
        render::proc(&status, RELEASE),
        include_str!("data/proc-802.3ad.txt")
    );

    // The rest by the format's description.
    status.lacp.as_mut().unwrap().aggregators[0].active = false;
    let port = status.ports[0].lacp.as_mut().unwrap();
    port.aggregator = None;
    let port = status.ports[1].lacp.as_mut().unwrap();
    (port.actor_churn, port.partner_churn) = (Some(ChurnState::Churned), Some(ChurnState::None));
    (port.actor_churned, port.partner_churned) = (3, 4);
    let text = render::proc(&status, RELEASE);
    for part in [
        "System MAC address: 16:62:3c:0c:84:5c\nbond bond1 has no active aggregator\n\nSlave Interface: v0\n",
        "Slave queue ID: 0\nAggregator ID: N/A\n\nSlave Interface: v1\n",
        "Actor Churn State: churned\nPartner Churn State: none\nActor Churned Count: 3\nPartner Churned Count: 4\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

/// Put together by hand from the format's description; every line that depends on a value has an unusual one.
#[test]
fn proc_text_of_everything_unusual() {
    let mut status = bond(Mode::BalanceXor);
    status.carrier = true;
    status.options.miimon = 50;
    status.options.updelay = 100;
    status.options.downdelay = 150;
    status.options.peer_notif_delay = 200;
    status.options.xmit_hash_policy = HashPolicy::Layer34;
    let states = [MiiStatus::GoingDown, MiiStatus::Down, MiiStatus::GoingBack];
    status.ports = (0..)
        .zip(states)
        .map(|(index, mii_status)| PortStatus {
            mii_status,
            ..port(index, "p")
        })
        .collect();
    status.ports[1].speed_mbps = None;
    status.ports[1].duplex = Duplex::Unknown;
    status.ports[1].link_failure_count = 4_000_000_000;
    status.ports[2].duplex = Duplex::Half;
    status.ports[2].queue_id = 7;
    let text = "\
Ethernet Channel Bonding Driver: v7.2

Bonding Mode: load balancing (xor)
Transmit Hash Policy: layer3+4 (1)
MII Status: up
MII Polling Interval (ms): 50
Up Delay (ms): 100
Down Delay (ms): 150
Peer Notification Delay (ms): 200

Slave Interface: p
MII Status: going down
Speed: 10000 Mbps
Duplex: full
Link Failure Count: 0
Permanent HW addr: 16:62:3c:0c:84:5c
Slave queue ID: 0

Slave Interface: p
MII Status: down
Speed: Unknown
Duplex: Unknown
Link Failure Count: 4000000000
Permanent HW addr: 16:62:3c:0c:84:5c
Slave queue ID: 0

Slave Interface: p
MII Status: going back
Speed: 10000 Mbps
Duplex: half
Link Failure Count: 0
Permanent HW addr: 16:62:3c:0c:84:5c
Slave queue ID: 7
";
    assert_eq!(render::proc(&status, "7.2"), text);
}

#[test]
fn proc_text_lists_targets_and_reselect_as_the_driver_does() {
    let mut status = bond(Mode::ActiveBackup);
    status.options.arp_interval = 1000;
    status.options.arp_missed_max = 9;
    status.options.arp_ip_target = vec!["1.1.1.1".parse().unwrap(), "2.2.2.2".parse().unwrap()];
    status.options.ns_ip6_target = vec!["fd00::1".parse().unwrap()];
    status.options.primary_reselect = PrimaryReselect::Failure;
    status.primary = Some("e1".to_owned());
    let text = render::proc(&status, "7.2");
    for line in [
        "Bonding Mode: fault-tolerance (active-backup)",
        "Primary Slave: e1 (primary_reselect failure)",
        "Currently Active Slave: None",
        "ARP Missed Max: 9",
        "ARP IP target/s (n.n.n.n form): 1.1.1.1, 2.2.2.2",
        "NS IPv6 target/s (xx::xx form): fd00::1",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line}\n{text}");
    }
    // Named, but not in the bond: the driver says None.
    status.options.primary = Some("e1".to_owned());
    status.primary = None;
    assert!(render::proc(&status, "7.2").contains("Primary Slave: None\n"));
    // By load there is nothing to hash; by hash there is.
    status.options.mode = Mode::BalanceTlb;
    status.options.tlb_dynamic_lb = false;
    assert!(render::proc(&status, "7.2").contains("Transmit Hash Policy: layer2 (0)\n"));
}

#[test]
fn table_for_people() {
    let mut healthy = bond(Mode::BalanceXor);
    healthy.name = "lan".to_owned();
    healthy.carrier = true;
    healthy.expected = vec!["eth0".to_owned()];
    healthy.ports = vec![PortStatus {
        reason: "carries its share of the flows".to_owned(),
        ..port(0, "eth0")
    }];
    let mut down = bond(Mode::ActiveBackup);
    down.name = "idle".to_owned();
    let text = "\
bond0  active-backup  up  active enp3s0  16:62:3c:0c:84:5c  mtu 9000
  ports: 3 expected, 2 attached, 1 carrying; 3 failovers; engine ebpf (veth, tcx)
  PORT             LINK           ROLE    SPEED    FAILURES  WHY
  enp3s0           up 3m          active  10 Gb/s         0  active
  enp4s0           going back 2s  backup  -              12  its link is back,
                                                             it waits out the up
                                                             delay of 5000 ms
  enx00e04c680001  missing        -       -               -  expected, but not
                                                             in the bond

lan  balance-xor  up  16:62:3c:0c:84:5c  mtu 9000
  ports: 1 expected, 1 attached, 1 carrying; engine ebpf (veth, tcx)
  PORT  LINK   ROLE    SPEED    FAILURES  WHY
  eth0  up 3m  active  10 Gb/s         0  carries its share of the flows

idle  active-backup  down  16:62:3c:0c:84:5c  mtu 9000
  ports: 0 expected, 0 attached, 0 carrying; engine ebpf (veth, tcx)
";
    let reports = [troubled(), report(healthy), report(down)];
    let seen = render::table(&reports, false, render::DEFAULT_WIDTH);
    assert_eq!(seen, text);
    for line in seen.lines() {
        assert!(
            line.is_ascii() && line.len() <= 81 && !line.ends_with(' '),
            "{line:?}"
        );
    }
    assert_eq!(render::table(&[], false, 80), "no bonds\n");
}

#[test]
fn table_of_an_aggregate() {
    let mut status = aggregate();
    status.ports[1].role = PortRole::Backup;
    status.ports[1].reason =
        "partner put this port in another aggregator: key 9, others 15".to_owned();
    let second = |text: String| text.lines().nth(2).unwrap().to_owned();
    let table = |status: &BondStatus| render::table(&[report(status.clone())], false, 120);
    let text = table(&status);
    assert!(
        text.contains("WHY\n")
            && text.contains("  partner put this port in another aggregator: key 9, others 15\n"),
        "{text}"
    );
    assert_eq!(
        second(text),
        "  lacp: aggregator 1 of 2 ports, key 15; partner 22:95:f9:49:c7:81, key 15"
    );
    let lacp = status.lacp.as_mut().unwrap();
    lacp.aggregators[0].partner_system = Some(MacAddr::ZERO);
    lacp.aggregators[0].ports.truncate(1);
    assert_eq!(
        second(table(&status)),
        "  lacp: aggregator 1 of 1 port, key 15; no partner"
    );
    status.lacp.as_mut().unwrap().aggregators.clear();
    assert_eq!(second(table(&status)), "  lacp: no aggregator is active");
}

#[test]
fn json_tells_what_lacp_knows() {
    let mut status = aggregate();
    let port = status.ports[0].lacp.as_mut().unwrap();
    port.reason = Some(lacp::Reason::OneWay);
    let text = render::json(&[report(status)]).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let bond = &value["bonds"][0];
    let active = &bond["lacp"]["aggregators"][0];
    assert_eq!(active["partner_system"], PARTNER);
    assert_eq!(
        (&active["actor_key"], &active["id"]),
        (&15.into(), &1.into())
    );
    let port = &bond["ports"][0]["lacp"];
    assert_eq!(port["aggregator"], 1);
    assert_eq!(
        (&port["actor"]["state"], &port["partner"]["key"]),
        (&63.into(), &15.into())
    );
    assert_eq!(port["partner_churn"], "monitoring");
    assert_eq!(port["counters"]["lacpdus_rx"], 12);
    assert_eq!(port["reason"]["kind"], "one_way");
}

#[test]
fn colours_change_nothing_but_colours() {
    let reports = [troubled()];
    let coloured = render::table(&reports, true, 80);
    assert!(coloured.contains("\x1b[32mup\x1b[0m") && coloured.contains("\x1b[31mmissing\x1b[0m"));
    let mut plain = coloured;
    for code in ["1", "31", "32", "33", "0"] {
        plain = plain.replace(&format!("\x1b[{code}m"), "");
    }
    assert_eq!(plain, render::table(&reports, false, 80));
}

#[test]
fn hostile_names_cannot_command_the_terminal() {
    let mut report = troubled();
    report.status.name = "a\x1b]0;x\x07".to_owned();
    report.status.ports[0].name = "\x1b[2J".to_owned();
    report.status.ports[0].reason = "\u{9b}2J\nx".to_owned();
    let text = render::table(&[report], false, 80);
    assert!(
        text.chars().all(|c| !c.is_control() || c == '\n'),
        "{text:?}"
    );
    assert!(text.contains("?2J?x"));
}

#[test]
fn json_is_versioned_and_reads_back_whole() {
    let reports = vec![troubled()];
    let text = render::json(&reports).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["version"], 1);
    let bond = &value["bonds"][0];
    assert_eq!(bond["name"], "bond0");
    assert_eq!(bond["options"]["mode"], "active-backup");
    assert_eq!(bond["ports"][1]["mii_status"], "going_back");
    assert_eq!(bond["engine"]["front"], "veth");
    assert_eq!(bond["counters"][0]["rx_inactive"], 7);
    assert_eq!(
        (&bond["tx_no_port"], &bond["ports_left"]),
        (&8.into(), &9.into())
    );
    let back: Vec<BondReport> = serde_json::from_value(value["bonds"].clone()).unwrap();
    assert_eq!(back, reports);
    assert!(text.ends_with("}\n"));
}

/// Expected values from `date -u -d @SECONDS +%FT%T`.
#[test]
fn clock_agrees_with_date() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00.007Z"),
        (951_782_399, "2000-02-28T23:59:59.007Z"),
        (951_782_400, "2000-02-29T00:00:00.007Z"),
        (951_868_800, "2000-03-01T00:00:00.007Z"),
        (1_767_225_599, "2025-12-31T23:59:59.007Z"),
        (1_795_236_525, "2026-11-21T04:48:45.007Z"),
        (4_107_542_400, "2100-03-01T00:00:00.007Z"),
    ] {
        assert_eq!(
            render::clock(seconds * 1_000_000_000 + 7_999_999),
            text,
            "{seconds}"
        );
    }
}

#[test]
fn an_explanation_names_what_is_not_well_and_the_way_out() {
    let mut report = troubled();
    let told = |report: &BondReport| render::Explanation::of(report, None).unwrap();
    assert_eq!(
        told(&report).text(80),
        "\
bond0 (active-backup): has carrier: enp3s0 carries the traffic
  enp3s0           well      active
  enp4s0           passing   its link is back, it waits out the up delay of 5000
                             ms
  enx00e04c680001  degraded  expected, but there is no such interface
                             > it joins when it appears; ip link tells which
                               there are; oxbond remove-port bond0
                               enx00e04c680001 if it is not to come
"
    );
    assert_eq!(told(&report).health, Health::Degraded);
    assert_eq!(
        told(&report).complaint(),
        "bond0: not as it should be: enp4s0, enx00e04c680001"
    );
    let why = "its MTU cannot be 9000".to_owned();
    report.hindered.insert("enx00e04c680001".to_owned(), why);
    let text = told(&report).text(200);
    assert!(
        text.contains("expected, and cannot join: its MTU cannot be 9000"),
        "{text}"
    );
    let json = told(&report).json().unwrap();
    assert!(json.contains("\"health\": \"passing\""), "{json}");
    let one = render::Explanation::of(&report, Some("enp3s0")).unwrap();
    assert_eq!(one.health, Health::Well);
    assert!(
        one.text(80)
            .contains("10000 Mb/s; its link was lost 0 times")
    );
    assert_eq!(render::Explanation::of(&report, Some("enp9s0")), None);
    let frame = FrameReport {
        ports: Vec::new(),
        planned: None,
        bucket: None,
        steps: vec!["no port is to send".to_owned()],
    };
    assert_eq!(
        render::frame("bond0", &frame),
        "bond0: the frame would be dropped\n  no port is to send\n"
    );
}

/// A bond of the driver that nobody watches and nobody manages, with attributes that we do not know.
fn of_the_driver() -> BondReport {
    let mut status = bond(Mode::ActiveBackup);
    status.carrier = true;
    status.active_port = Some("enp3s0".to_owned());
    status.failovers = None;
    status.ports = vec![port(0, "enp3s0"), port(1, "enp4s0")];
    status.ports.iter_mut().for_each(|port| port.since = None);
    status.expected = vec!["enp3s0".to_owned(), "enp4s0".to_owned()];
    let raw = |number, value: &str| RawAttribute {
        number,
        value: value.to_owned(),
    };
    status.raw = vec![raw(35, "01"), raw(36, "ff00")];
    status.ports[1].raw = vec![raw(13, "07000000")];
    let mut report = report(status);
    report.engine = EngineReport {
        engine: "kernel".to_owned(),
        managed: false,
        front: None,
        hook: None,
        why: "somebody else made it".to_owned(),
        bond_ifindex: 9,
        mtu: 1500,
    };
    report
}

#[test]
fn a_bond_of_the_driver_shows_what_is_known_and_nothing_made_up() {
    assert_eq!(
        render::table(&[of_the_driver()], false, 100),
        "\
bond0  active-backup  up  active enp3s0  16:62:3c:0c:84:5c  mtu 1500
  ports: 2 expected, 2 attached, 2 carrying; engine kernel (not managed)
  attributes not known here: 35=01 36=ff00
  PORT    LINK  ROLE    SPEED    FAILURES  WHY
  enp3s0  up    active  10 Gb/s         0  active
  enp4s0  up    active  10 Gb/s         0  active; attributes not known here: 13=07000000
"
    );
    let json = render::json(&[of_the_driver()]).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let engine = &json["bonds"][0]["engine"];
    let keys: Vec<&String> = engine.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["bond_ifindex", "engine", "managed", "mtu", "why"]);
    assert_eq!(json["bonds"][0]["raw"][1]["value"], "ff00");
    assert_eq!(json["bonds"][0]["failovers"], serde_json::Value::Null);
    let told = render::Explanation::of(&of_the_driver(), None).unwrap();
    let text = told.text(100);
    assert!(
        text.contains("\n  carried by the kernel's driver: somebody else made it\n"),
        "{text}"
    );
}
