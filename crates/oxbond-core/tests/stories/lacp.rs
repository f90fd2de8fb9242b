//! 802.3ad with a partner: another bond of ours at the other end of the cables.

use std::collections::BTreeMap;

use oxbond_core::action::Action;
use oxbond_core::input::Input;
use oxbond_core::lacp::Drain;
use oxbond_core::status::PortRole;
use oxbond_core::table::Receive;
use oxbond_wire::MacAddr;
use oxbond_wire::marker::{Kind, Marker};

use crate::announcements::announced;
use crate::rig::Rig;

const FAST: &[&str] = &["mode=802.3ad", "miimon=100", "lacp_rate=fast"];

/// Two bonds; a cable joins the ports of one name.
struct Pair {
    sides: [Rig; 2],
    /// Cables that carry nothing.
    cut: Vec<&'static str>,
    /// How often each side's table changed.
    tables: [u32; 2],
    /// How often each side told its peers where it is.
    notices: [u32; 2],
}

impl Pair {
    fn new(left: &[&str], right: &[&str], ports: &[&str]) -> Self {
        let right_words = [right, &["ad_actor_system=02:00:00:00:00:99"]].concat();
        let mut pair = Self {
            sides: [Rig::new(left, &[]), Rig::new(&right_words, &[])],
            cut: Vec::new(),
            tables: [0, 0],
            notices: [0, 0],
        };
        for side in 0..2 {
            for port in ports {
                pair.sides[side].add(port, &[]).unwrap();
            }
        }
        pair.exchange();
        pair
    }

    /// Carries frames to and fro until there are none.
    fn exchange(&mut self) {
        loop {
            let mut frames: Vec<(usize, String, Vec<u8>)> = Vec::new();
            for side in 0..2 {
                let names: BTreeMap<_, _> = self.sides[side]
                    .ports()
                    .map(|name| (self.sides[side].id(name), name.to_owned()))
                    .collect();
                for (_, action) in std::mem::take(&mut self.sides[side].log) {
                    match action {
                        Action::SendOnPort { port, frame } => {
                            if let Some(name) = names.get(&port) {
                                frames.push((1 - side, name.clone(), frame));
                            }
                        }
                        Action::SetTransmitTable { .. } => self.tables[side] += 1,
                        Action::SendFrame { .. } => self.notices[side] += 1,
                        _ => {}
                    }
                }
            }
            if frames.is_empty() {
                return;
            }
            for (side, name, frame) in frames {
                let works = !self.cut.contains(&name.as_str())
                    && self.sides.iter().all(|rig| rig.links[&name].is_usable());
                if works && self.sides[side].table.tap.slow_protocols {
                    let port = self.sides[side].id(&name);
                    self.sides[side].tell(Input::Received { port, frame });
                }
            }
        }
    }

    fn at(&mut self, millis: u64) -> &mut Self {
        let from = self.sides[0].millis();
        for step in (from..=millis).step_by(10).chain([millis]) {
            for side in &mut self.sides {
                side.at(step.max(from));
            }
            self.exchange();
        }
        self
    }

    #[track_caller]
    fn expect(&self, ports: &[&str]) {
        for (side, rig) in self.sides.iter().enumerate() {
            let order: Vec<&str> = rig.table.order.iter().map(|id| rig.name_of(*id)).collect();
            assert_eq!(order, ports, "side {side}");
            assert_eq!(rig.carrier, !ports.is_empty(), "side {side}");
        }
    }
}

#[test]
fn two_bonds_aggregate() {
    let mut pair = Pair::new(FAST, FAST, &["a", "b"]);
    pair.at(100).expect(&["a", "b"]);
    let rig = &pair.sides[0];
    assert_eq!(rig.table.receive, Receive::Ports(rig.table.order.clone()));
    assert_eq!(rig.port("b").role, PortRole::Active);
    assert_eq!(
        rig.port("b").reason,
        "carries its share of the flows, 1 of 2"
    );
    assert!((0..64).any(|hash| rig.goes_to(hash) == Some("a")));
    assert!((0..64).any(|hash| rig.goes_to(hash) == Some("b")));

    // Nothing moves while nothing happens.
    let before = pair.tables;
    pair.at(60_000).expect(&["a", "b"]);
    assert_eq!(pair.tables, before);
}

/// A port on which no partner is heard has no part in it.
#[test]
fn a_share_is_one_of_those_that_carry() {
    let mut pair = Pair::new(FAST, FAST, &["a", "b", "c"]);
    pair.cut.push("c");
    pair.at(10_000).expect(&["a", "b"]);
    let reason = pair.sides[0].port("b").reason;
    assert_eq!(reason, "carries its share of the flows, 1 of 2");
}

#[test]
fn with_broadcast_neighbor_peers_hear_of_every_port_that_joins_in() {
    let telling = [FAST, &["broadcast_neighbor=on"]].concat();
    let mut pair = Pair::new(&telling, FAST, &["a"]);
    for side in &mut pair.sides {
        side.tell(Input::BondAdmin { up: true });
        side.tell(Input::Addresses {
            addresses: vec![announced("192.0.2.1", &[])],
        });
    }
    pair.at(5000).expect(&["a"]);
    pair.notices = [0, 0];
    for side in &mut pair.sides {
        side.add("b", &[]).unwrap();
    }
    pair.at(10_000).expect(&["a", "b"]);
    assert_eq!(pair.notices, [1, 0]);
}

#[test]
fn strict_carries_nothing_before_the_partner_agrees() {
    let mut rig = Rig::new(FAST, &["a", "b"]);
    assert!(!rig.carrier && rig.table.order.is_empty());
    assert_eq!(rig.goes_to(0), None);
    rig.at(10_000);
    assert!(!rig.carrier);
    assert_eq!(
        rig.port("a").reason,
        "partner never answered, for 10 s: is LACP on at the other end?"
    );
}

#[test]
fn a_silent_fault_is_seen_where_carrier_tells_nothing() {
    let mut pair = Pair::new(FAST, FAST, &["a", "b"]);
    pair.at(5_000).cut.push("b");
    pair.at(8_300).expect(&["a"]);
    assert_eq!(
        pair.sides[0].port("b").reason,
        "partner fell silent 3 s ago"
    );
    let told = pair.sides[0].port("b").role;
    assert_eq!(told, PortRole::Backup);
    pair.cut.clear();
    pair.at(9_800).expect(&["a", "b"]);
}

#[test]
fn links_come_and_go() {
    let mut pair = Pair::new(FAST, FAST, &["a", "b"]);
    pair.at(3_000);
    for side in &mut pair.sides {
        side.link_down("a");
    }
    pair.exchange();
    pair.expect(&["b"]);
    pair.at(6_000);
    for side in &mut pair.sides {
        side.link_up("a");
    }
    pair.exchange();
    pair.expect(&["a", "b"]);
}

#[test]
fn too_few_links_take_the_carrier_away() {
    let mut pair = Pair::new(&[FAST, &["min_links=2"]].concat(), FAST, &["a", "b"]);
    pair.at(100);
    assert!(pair.sides[0].carrier);
    for side in &mut pair.sides {
        side.link_down("a");
    }
    pair.exchange();
    assert!(!pair.sides[0].carrier && pair.sides[1].carrier);
}

#[test]
fn the_mode_changes_and_the_partner_notices_at_once() {
    let mut pair = Pair::new(FAST, FAST, &["a", "b"]);
    pair.at(3_000);
    pair.sides[0].set(&["mode=balance-xor"]).unwrap();
    pair.exchange();
    assert!(pair.sides[1].table.order.is_empty());
    assert!(!pair.sides[0].table.tap.slow_protocols);
    pair.at(6_000);
    pair.sides[0].set(&["mode=802.3ad"]).unwrap();
    pair.at(8_100).expect(&["a", "b"]);
}

/// The driver's defaults on one side: one port is used before the partner answers, all afterwards.
#[test]
fn lax_and_coupled_at_one_end() {
    let lax = &[
        "mode=802.3ad",
        "miimon=100",
        "lacp_strict=off",
        "coupled_control=on",
    ];
    let mut rig = Rig::new(lax, &["a", "b"]);
    assert!(rig.carrier);
    assert_eq!(rig.goes_to(0), Some("a"));
    assert!(
        rig.port("a")
            .reason
            .starts_with("carries the traffic alone: ")
    );
    rig.at(10_000);
    assert_eq!(rig.goes_to(0), Some("a"));

    let mut pair = Pair::new(lax, FAST, &["a", "b"]);
    pair.at(3_000).expect(&["a", "b"]);
}

#[test]
fn port_priority_reaches_the_partner() {
    let mut pair = Pair::new(FAST, FAST, &["a"]);
    pair.at(3_000);
    pair.sides[0].set_port("a", "actor_port_prio=7").unwrap();
    pair.exchange();
    let rig = &pair.sides[1];
    let ports = rig.bond.lacp().unwrap().ports(rig.now);
    assert_eq!(ports[0].partner.port_priority, Some(7));
}

#[test]
fn at_most_so_many_ports_and_the_next_takes_over() {
    let limited = [FAST, &["max_ports=2"]].concat();
    let mut pair = Pair::new(&limited, FAST, &["a", "b", "c"]);
    pair.at(3_000).expect(&["a", "b"]);
    let told = pair.sides[0].port("c").reason;
    assert_eq!(told, "standby: 2 other ports carry traffic");
    for side in &mut pair.sides {
        side.link_down("a");
    }
    pair.exchange();
    pair.at(3_500).expect(&["b", "c"]);
    // The other end gets a say of its own, and the better system decides.
    pair.sides[0].set(&["max_ports=32"]).unwrap();
    pair.exchange();
    pair.expect(&["b", "c"]);
}

/// What renderers show is what the machines know.
#[test]
fn the_picture_has_what_lacp_knows() {
    let mut pair = Pair::new(FAST, FAST, &["a", "b"]);
    pair.at(3_000);
    let status = pair.sides[0].status();
    let lacp = status.lacp.unwrap();
    let active = lacp.active().unwrap();
    assert_eq!((active.ports.len(), active.linked), (2, 2));
    assert_eq!(
        active.partner_system.map(|system| system.to_string()),
        Some("02:00:00:00:00:99".to_owned()),
        "{lacp:?}"
    );
    for port in &status.ports {
        let known = port.lacp.as_ref().unwrap();
        assert_eq!(known.id, port.id);
        assert_eq!(known.aggregator, Some(active.id));
        assert!(known.distributing && known.counters.lacpdus_rx > 0);
    }
    pair.sides[0].link_down("b");
    let lacp = pair.sides[0].status().lacp.unwrap();
    assert_eq!(lacp.active().unwrap().linked, 1);
    pair.sides[0].set(&["mode=balance-xor"]).unwrap();
    let status = pair.sides[0].status();
    assert!(status.lacp.is_none() && status.ports[0].lacp.is_none());
}

/// The partner is told before the port is out, and ours goes on collecting until it has stopped.
#[test]
fn a_drained_port_leaves_both_ends_and_returns() {
    let mut pair = Pair::new(FAST, FAST, &["a", "b"]);
    pair.at(3_000).expect(&["a", "b"]);
    let port = pair.sides[0].id("b");
    pair.sides[0].tell(Input::Drain { port, out: true });
    assert_eq!(pair.sides[0].table.order, [pair.sides[0].id("a")]);
    assert_eq!(
        pair.sides[0].table.receive,
        Receive::Ports(vec![pair.sides[0].id("a"), port])
    );
    pair.exchange();
    pair.at(3_100).expect(&["a"]);
    assert_eq!(pair.sides[0].port("b").drain, Drain::Out);
    assert_eq!(
        pair.sides[1].port("b").reason,
        "partner has not attached this port"
    );
    pair.at(60_000).expect(&["a"]);
    pair.sides[0].tell(Input::Drain { port, out: false });
    pair.exchange();
    pair.at(62_500).expect(&["a", "b"]);
}

#[test]
fn a_marker_is_answered_on_its_port() {
    let mut pair = Pair::new(FAST, FAST, &["a", "b"]);
    let rig = &mut pair.sides[0];
    let port = rig.id("b");
    let marker = Marker {
        version: 1,
        kind: Kind::Information,
        port: 7,
        system: MacAddr([2, 0, 0, 0, 0, 9]),
        transaction: 77,
    };
    rig.log.clear();
    rig.tell(Input::Received {
        port,
        frame: marker.frame(marker.system),
    });
    let answers: Vec<_> = rig
        .log
        .iter()
        .filter_map(|(_, action)| match action {
            Action::SendOnPort { port: on, frame } if *on == port => {
                Marker::parse(&frame[14..]).ok()
            }
            _ => None,
        })
        .collect();
    let answer = Marker {
        kind: Kind::Response,
        ..marker
    };
    assert_eq!(answers, [answer]);
}
