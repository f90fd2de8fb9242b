//! Whatever happens in whatever order: what must always hold.

use oxbond_core::input::Input;
use oxbond_core::lacp::Drain;
use oxbond_core::option::{Mode, Switch};
use oxbond_core::port::{LinkState, PortId, PortIndex};
use oxbond_core::status::{BondStatus, MiiStatus, PortRole, PortStatus};
use oxbond_wire::arp::Operation;
use proptest::prelude::*;

use crate::balance_alb::{answer, ask, hear, our_address};
use crate::rig::{LINK_DOWN, LINK_UP, Rig, ms};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Link(usize, bool),
    /// The carrier goes, the data path notices and reports; the core has not heard of the link yet.
    Left(usize),
    Add(usize),
    Remove(usize),
    /// Out, or back.
    Drain(usize, bool),
    /// It vanishes and returns.
    Blink(usize),
    Set(&'static str),
    Prio(usize, i8),
    /// What two of the buckets carried.
    Load(u8, u8),
    /// A neighbour asks for the bond's address.
    Ask(u8),
    /// The host asks for a neighbour's.
    Asked(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..400_u64).prop_map(Step::Wait),
        6 => (0..4_usize, any::<bool>()).prop_map(|(port, up)| Step::Link(port, up)),
        1 => (0..4_usize).prop_map(Step::Left),
        1 => (0..4_usize).prop_map(Step::Add),
        1 => (0..4_usize).prop_map(Step::Remove),
        2 => (0..4_usize, any::<bool>()).prop_map(|(port, out)| Step::Drain(port, out)),
        1 => (0..4_usize).prop_map(Step::Blink),
        1 => prop::sample::select(vec![
            "primary=b", "primary=", "primary_reselect=failure", "primary_reselect=better", "primary_reselect=always",
            "active_slave=c", "active_slave=", "all_slaves_active=1", "updelay=0", "downdelay=300", "miimon=50",
            "num_grat_arp=3", "xmit_hash_policy=layer3+4", "mode=active-backup", "mode=balance-xor", "mode=balance-rr",
            "mode=broadcast", "mode=802.3ad", "mode=balance-tlb", "mode=balance-alb", "tlb_dynamic_lb=0", "lp_interval=2", "min_links=2", "packets_per_slave=0", "fail_over_mac=follow",
            "fail_over_mac=active", "fail_over_mac=none", "all_slaves_active=0", "lacp_strict=on", "lacp_strict=off",
        ]).prop_map(Step::Set),
        1 => (0..4_usize, any::<i8>()).prop_map(|(port, prio)| Step::Prio(port, prio)),
        1 => any::<(u8, u8)>().prop_map(|(one, other)| Step::Load(one, other)),
        1 => any::<u8>().prop_map(Step::Ask),
        1 => any::<u8>().prop_map(Step::Asked),
    ]
}

fn base() -> impl Strategy<Value = Vec<&'static str>> {
    let mode = prop::sample::select(vec![
        "mode=active-backup",
        "mode=balance-xor",
        "mode=balance-rr",
        "mode=broadcast",
        "mode=802.3ad",
        "mode=balance-tlb",
        "mode=balance-alb",
    ]);
    let delays = prop::sample::select(vec![
        vec!["miimon=100"],
        vec!["miimon=100", "updelay=200"],
        vec!["miimon=100", "updelay=200", "downdelay=100"],
        vec![],
    ]);
    let mac = prop::sample::select(vec![
        "fail_over_mac=none",
        "fail_over_mac=active",
        "fail_over_mac=follow",
    ]);
    let lax = |mode: &str| (mode == "mode=802.3ad").then_some("lacp_strict=off");
    (mode, delays, mac).prop_map(move |(mode, delays, mac)| {
        let mut words = [vec![mode, mac], delays].concat();
        words.extend(lax(mode));
        words
    })
}

fn run(rig: &mut Rig, step: &Step) {
    let has = |rig: &Rig, port: usize| rig.ports().any(|name| name == NAMES[port]);
    match *step {
        Step::Wait(millis) => {
            let until = rig.millis() + millis;
            rig.at(until);
        }
        Step::Link(port, up) if has(rig, port) => {
            let link = if up { LINK_UP } else { LINK_DOWN };
            if !up {
                leave(rig, rig.id(NAMES[port]));
            }
            rig.link(NAMES[port], link);
        }
        Step::Left(port) if has(rig, port) => {
            let id = rig.id(NAMES[port]);
            leave(rig, id);
            rig.tell(Input::LeftInPath { port: id });
        }
        Step::Add(port) if !has(rig, port) => rig.add(NAMES[port], &[]).unwrap(),
        Step::Remove(port) if has(rig, port) => rig.remove(NAMES[port]),
        // The last one that works is refused.
        Step::Drain(port, out) if has(rig, port) => drop(rig.drained(NAMES[port], out)),
        Step::Blink(port) if has(rig, port) => {
            let drained = rig.port(NAMES[port]).drain != Drain::No;
            rig.remove(NAMES[port]);
            if drained {
                rig.add_drained(NAMES[port]);
            } else {
                rig.add(NAMES[port], &[]).unwrap();
            }
        }
        // Some make no sense in the mode or at the moment: refused, and that is fine.
        Step::Set(word) => drop(rig.set(&[word])),
        Step::Prio(port, prio) if has(rig, port) => {
            drop(rig.set_port(NAMES[port], &format!("prio={prio}")))
        }
        Step::Load(one, other) => {
            let mut buckets = vec![0; 256];
            buckets[usize::from(one)] += 50_000_000;
            buckets[usize::from(other)] += 10_000_000;
            rig.tell(Input::Loads {
                over: ms(1000),
                buckets,
                exempt: 1000,
            });
        }
        Step::Ask(client) => {
            rig.tell(Input::Addresses {
                addresses: vec![our_address(rig)],
            });
            hear(rig, "a", Operation::Request, client);
            answer(rig, client);
        }
        Step::Asked(client) => ask(rig, client),
        _ => {}
    }
}

/// As the data path would: a port that its table may use is left.
fn leave(rig: &mut Rig, id: PortId) {
    if rig.table.order.contains(&id) {
        rig.left |= id.bit();
    }
}

fn check(rig: &Rig) -> Result<(), TestCaseError> {
    let status = rig.status();
    let active: Vec<_> = status
        .ports
        .iter()
        .filter(|port| port.role == PortRole::Active)
        .collect();
    let usable = |name: &str| rig.links[name].is_usable();
    let monitored = status.options.miimon > 0;
    if status.options.mode == Mode::ActiveBackup {
        prop_assert!(active.len() <= 1);
        prop_assert_eq!(
            active.first().map(|port| &port.name),
            status.active_port.as_ref()
        );
        let any_up = status
            .ports
            .iter()
            .any(|port| port.mii_status == MiiStatus::Up && port.drain == Drain::No);
        prop_assert!(
            !any_up || active.len() == 1,
            "a port is up and none is active"
        );
        for port in &active {
            let good = port.mii_status == MiiStatus::Up || port.mii_status == MiiStatus::GoingDown;
            prop_assert!(good, "{port:?}");
        }
    } else if status.options.mode.has_active_port() {
        let up = |port: &&PortStatus| port.mii_status == MiiStatus::Up && port.drain == Drain::No;
        prop_assert!(status.active_port.is_some() || !status.ports.iter().any(|port| up(&port)));
        stations_are_right(rig, &status)?;
    } else {
        prop_assert_eq!(&status.active_port, &None);
    }
    // The monitor believes what the links are, delays aside.
    for port in status.ports.iter().filter(|_| monitored) {
        let present = matches!(port.mii_status, MiiStatus::Up | MiiStatus::GoingBack);
        prop_assert_eq!(present, usable(&port.name), "{:?}", port);
        prop_assert_eq!(rig.port_macs[&port.name], port.mac);
    }
    prop_assert_eq!(rig.carrier, status.carrier);
    for port in status.ports.iter().filter(|port| port.drain != Drain::No) {
        prop_assert!(
            rig.table.order.iter().all(|id| port.id != *id),
            "drained, and sent on: {:?}",
            port
        );
        prop_assert_eq!(port.role, PortRole::Backup);
    }
    let takes_part = |name: &str| rig.port(name).drain == Drain::No;
    // The table holds each port once, and sends nothing into a dead link while another works.
    let order = rig.table.order.iter().copied();
    let mut order: Vec<_> = order.map(PortIndex::from).collect();
    let first = order.first().copied();
    order.sort();
    let partaking = || status.ports.iter().filter(|port| port.drain == Drain::No);
    let mut ids: Vec<_> = partaking().map(|port| port.id).collect();
    ids.sort();
    if status.options.mode == Mode::Ieee8023ad {
        // Without a partner one port stands for itself, or none.
        let lax = status.options.lacp_strict == Switch::Off;
        prop_assert!(first.is_none() || lax);
        prop_assert_eq!(first, active.first().map(|port| port.id));
        prop_assert!(active.len() <= 1);
        // The others stand behind it.
        prop_assert!(order.is_empty() || order == ids);
        let enough = active.len() >= status.options.min_links.max(1) as usize;
        prop_assert_eq!(status.carrier, enough);
        let idle = rig.goes_to(0).is_none();
        let any_up = |port: &&PortStatus| port.mii_status == MiiStatus::Up && usable(&port.name);
        prop_assert!(!idle || !lax || !partaking().any(|port| any_up(&port)));
        return Ok(());
    }
    let carries = partaking().any(|p| matches!(p.mii_status, MiiStatus::Up | MiiStatus::GoingDown));
    prop_assert_eq!(status.carrier, carries);
    prop_assert_eq!(order, ids);
    for hash in [0, 1, 2, 3, 7, 11, 500] {
        match rig.goes_to(hash) {
            Some(name) => prop_assert!(usable(name)),
            None => prop_assert!(!rig.ports().any(|name| usable(name) && takes_part(name))),
        }
    }
    // At the core's own hand too, not only thanks to the data path.
    let settled =
        monitored && status.options.downdelay == 0 && status.options.mode == Mode::ActiveBackup;
    if let Some(first) = rig
        .table
        .order
        .first()
        .filter(|_| settled && rig.ports().any(|name| usable(name) && takes_part(name)))
    {
        prop_assert!(usable(rig.name_of(*first)));
    }
    Ok(())
}

/// In balance-tlb and balance-alb: every port has an address of its own and the active one the bond's, the table says so,
/// and no client is told of a port that cannot be used while another can.
fn stations_are_right(rig: &Rig, status: &BondStatus) -> Result<(), TestCaseError> {
    let mut macs: Vec<_> = rig.ports().map(|name| rig.port_macs[name]).collect();
    macs.sort();
    macs.dedup();
    prop_assert_eq!(macs.len(), rig.ports().count());
    if let Some(active) = &status.active_port {
        prop_assert_eq!(rig.port_macs[active], rig.bond_mac);
    }
    let stations = rig.table.stations.as_ref().unwrap();
    prop_assert_eq!(stations.bond, rig.bond_mac);
    let order = rig.table.order.iter();
    let ports: Vec<_> = order.map(|id| rig.port_macs[rig.name_of(*id)]).collect();
    prop_assert_eq!(&stations.ports, &ports);
    let clients = status.options.mode == Mode::BalanceAlb && !ports.is_empty();
    prop_assert_eq!(stations.clients.len(), if clients { 256 } else { 0 });
    let works = |port: &&PortStatus| {
        port.mii_status == MiiStatus::Up
            && rig.links[&port.name].is_usable()
            && port.drain == Drain::No
    };
    let working: Vec<_> = status
        .ports
        .iter()
        .filter(works)
        .map(|port| port.id)
        .collect();
    prop_assert!(
        working.is_empty()
            || stations
                .clients
                .iter()
                .all(|id| working.contains(&PortIndex::from(*id)))
    );
    Ok(())
}

/// The two bonds of a comparison must ask for the same things.
fn asked(rig: &mut Rig) -> Vec<String> {
    rig.take(|action| Some(format!("{action:?}")))
}

proptest! {
    #[test]
    fn always(base in base(), steps in proptest::collection::vec(step(), 0..60)) {
        let mut rig = Rig::new(&base, &["a", "b", "c"]);
        check(&rig)?;
        for step in &steps {
            run(&mut rig, step);
            check(&rig)?;
            if let Step::Link(port, true) = *step
                && let Some(id) = rig.ports().find(|name| *name == NAMES[port]).map(|name| rig.id(name))
            {
                // A link that is up for the core is one the data path uses again.
                let up = rig.port(NAMES[port]).mii_status == MiiStatus::Up;
                prop_assert!(!up || rig.left & id.bit() == 0);
            }
        }
    }

    /// A daemon killed and started at any moment goes on exactly as if nothing had happened.
    #[test]
    fn a_snapshot_continues_identically(
        base in base(), before in proptest::collection::vec(step(), 0..30),
        after in proptest::collection::vec(step(), 0..30),
    ) {
        let (mut one, mut other) = (Rig::new(&base, &["a", "b", "c"]), Rig::new(&base, &["a", "b", "c"]));
        for step in &before {
            run(&mut one, step);
            run(&mut other, step);
        }
        other.log.clear();
        other.restart();
        prop_assert_eq!(&one.bond, &other.bond);
        prop_assert!(other.bond.poll_action().is_none());
        one.log.clear();
        for step in &after {
            run(&mut one, step);
            run(&mut other, step);
            prop_assert_eq!(asked(&mut one), asked(&mut other));
            prop_assert_eq!(one.bond.next_timeout(), other.bond.next_timeout());
        }
    }

    /// Saying a fact or a wish again changes nothing.
    #[test]
    fn repeated_inputs_change_nothing(base in base(), steps in proptest::collection::vec(step(), 0..40)) {
        let mut rig = Rig::new(&base, &["a", "b", "c"]);
        for step in &steps {
            run(&mut rig, step);
            if matches!(step, Step::Link(..) | Step::Set(_) | Step::Prio(..) | Step::Drain(..)) {
                rig.log.clear();
                let left = rig.left;
                run(&mut rig, step);
                prop_assert!(rig.log.is_empty(), "{:?} again: {:?}", step, rig.log);
                rig.left = left;
            }
            rig.bond.handle_timeout(rig.now);
            prop_assert!(rig.bond.poll_action().is_none());
        }
    }

    /// With `fail_over_mac=follow` no two ports ever have the same address.
    #[test]
    fn follow_keeps_addresses_apart(steps in proptest::collection::vec(step(), 0..60)) {
        let mut rig = Rig::new(&["mode=active-backup", "miimon=100", "fail_over_mac=follow"], &["a", "b", "c"]);
        let other_rule = |word: &str| word.starts_with("mode=") || word.starts_with("fail_over_mac=");
        for step in &steps {
            if matches!(step, Step::Set(word) if other_rule(word)) {
                continue;
            }
            run(&mut rig, step);
            let mut macs: Vec<_> = rig.ports().map(|name| rig.port_macs[name]).collect();
            macs.sort();
            let all = macs.len();
            macs.dedup();
            prop_assert_eq!(macs.len(), all);
            let status = rig.status();
            if let Some(active) = &status.active_port {
                prop_assert_eq!(rig.port_macs[active], rig.bond_mac);
            }
        }
    }

    /// Polls that come late or often, or not at all between events, lead to the same end.
    #[test]
    fn polls_make_no_difference(links in proptest::collection::vec((0..3_usize, any::<bool>(), 1..300_u64), 0..30)) {
        let options = ["mode=active-backup", "miimon=100", "updelay=200", "downdelay=100"];
        let (mut lazy, mut eager) = (Rig::new(&options, &["a", "b", "c"]), Rig::new(&options, &["a", "b", "c"]));
        for (port, up, wait) in links {
            let link = LinkState { carrier: up, ..LINK_UP };
            lazy.link(NAMES[port], link);
            eager.link(NAMES[port], link);
            let until = lazy.millis() + wait;
            lazy.at(until);
            while eager.millis() + 10 < until {
                let next = eager.millis() + 10;
                eager.at(next);
                for name in ["a", "b", "c"] {
                    let link = eager.links[name];
                    eager.link(name, link);
                }
            }
            eager.at(until);
            prop_assert_eq!(&lazy.bond, &eager.bond);
        }
    }
}
