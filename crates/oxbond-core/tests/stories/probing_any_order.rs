//! The ARP and NS monitor, whatever happens in whatever order.

use std::net::{IpAddr, Ipv4Addr};

use oxbond_core::input::Input;
use oxbond_core::option::Mode;
use oxbond_core::status::{MiiStatus, PortRole};
use oxbond_wire::arp::{Arp, Operation};
use proptest::prelude::*;

use crate::net::{Net, OTHER_MAC, OWN_IP, TARGET_MAC};
use crate::rig::{LINK_DOWN, LINK_UP};

const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// Nobody drives the bond.
    Sleep(u64),
    Restart,
    Link(usize, bool),
    Path(usize, bool),
    Target(bool),
    Frame(usize, u16, bool, bool),
    Noise(usize, Vec<u8>),
    Add(usize),
    Remove(usize),
    Set(&'static str),
    Paths,
    Admin(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let port = 0..3_usize;
    prop_oneof![
        6 => (0..400_u64).prop_map(Step::Wait),
        1 => (0..2000_u64).prop_map(Step::Sleep),
        1 => Just(Step::Restart),
        3 => (port.clone(), any::<bool>()).prop_map(|(port, up)| Step::Link(port, up)),
        4 => (port.clone(), any::<bool>()).prop_map(|(port, good)| Step::Path(port, good)),
        1 => any::<bool>().prop_map(Step::Target),
        2 => (port.clone(), 0..4_u16, any::<bool>(), any::<bool>())
            .prop_map(|(port, operation, to_us, from_target)| Step::Frame(port, operation, to_us, from_target)),
        1 => (port.clone(), proptest::collection::vec(any::<u8>(), 14..100)).prop_map(|(port, bytes)| Step::Noise(port, bytes)),
        1 => port.clone().prop_map(Step::Add),
        1 => port.prop_map(Step::Remove),
        3 => prop::sample::select(vec![
            "arp_validate=none", "arp_validate=all", "arp_validate=backup", "arp_validate=filter_active",
            "arp_all_targets=all", "arp_all_targets=any", "arp_missed_max=1", "arp_missed_max=4", "arp_interval=50",
            "arp_interval=100", "arp_interval=0", "miimon=100", "arp_ip_target=10.0.0.1", "arp_ip_target=",
            "arp_ip_target=10.0.0.1,10.0.0.2", "ns_ip6_target=fd00::1", "primary=b", "primary=", "primary_reselect=failure",
            "active_slave=c", "mode=active-backup", "mode=balance-xor", "mode=broadcast", "mode=802.3ad",
            "fail_over_mac=active", "fail_over_mac=follow", "fail_over_mac=none",
        ]).prop_map(Step::Set),
        1 => Just(Step::Paths),
        1 => any::<bool>().prop_map(Step::Admin),
    ]
}

fn run(net: &mut Net, step: &Step) {
    let has = |net: &Net, port: usize| net.rig.ports().any(|name| name == NAMES[port]);
    match step.clone() {
        Step::Wait(millis) => drop(net.forward(millis)),
        Step::Sleep(millis) => net.rig.sleep(millis),
        Step::Restart => drop(net.rig.restart()),
        Step::Link(port, up) if has(net, port) => {
            net.rig
                .link(NAMES[port], if up { LINK_UP } else { LINK_DOWN });
        }
        Step::Path(port, true) => drop(net.cut.remove(NAMES[port])),
        Step::Path(port, false) => drop(net.cut.insert(NAMES[port].to_owned())),
        Step::Target(true) => drop(net.targets.insert(IpAddr::from([10, 0, 0, 1]), vec![])),
        Step::Target(false) => net.targets.clear(),
        Step::Frame(port, operation, to_us, from_target) if has(net, port) => {
            let frame = Arp {
                operation: Operation::from(operation),
                sender_mac: if from_target { TARGET_MAC } else { OTHER_MAC },
                sender_ip: Ipv4Addr::new(10, 0, 0, if from_target { 1 } else { 7 }),
                target_mac: if to_us { net.rig.bond_mac } else { OTHER_MAC },
                target_ip: OWN_IP,
            };
            net.receive(NAMES[port], frame.broadcast_frame(&[]));
        }
        Step::Noise(port, mut bytes) if has(net, port) => {
            bytes[12..14].copy_from_slice(&[8, 6]);
            net.receive(NAMES[port], bytes);
        }
        Step::Add(port) if !has(net, port) => net.rig.add(NAMES[port], &[]).unwrap(),
        Step::Remove(port) if has(net, port) => net.rig.remove(NAMES[port]),
        // Some make no sense at the moment: refused, and that is fine.
        Step::Set(word) => drop(net.rig.set(&[word])),
        Step::Paths => drop(net.tell_paths()),
        Step::Admin(up) => net.rig.tell(Input::BondAdmin { up }),
        _ => {}
    }
}

fn check(net: &Net) -> Result<(), TestCaseError> {
    let status = net.rig.status();
    let up = |name: &str| net.rig.port(name).mii_status == MiiStatus::Up;
    for port in &status.ports {
        if status.options.arp_interval > 0 && port.mii_status == MiiStatus::Up {
            prop_assert!(
                net.rig.links[&port.name].is_usable(),
                "up without carrier: {port:?}"
            );
        }
    }
    let names: Vec<&str> = status.ports.iter().map(|port| port.name.as_str()).collect();
    let monitored = status.options.arp_interval > 0 || status.options.miimon > 0;
    let any_up = names.iter().any(|name| up(name));
    if status.options.mode == Mode::ActiveBackup {
        let active: Vec<_> = status
            .ports
            .iter()
            .filter(|port| port.role == PortRole::Active)
            .collect();
        prop_assert!(active.len() <= 1);
        prop_assert_eq!(
            active.first().map(|port| &port.name),
            status.active_port.as_ref()
        );
        prop_assert_eq!(any_up, active.len() == 1);
        prop_assert!(!monitored || active.iter().all(|port| up(&port.name)));
        let tried = status
            .ports
            .iter()
            .filter(|port| port.mii_status == MiiStatus::GoingBack)
            .count();
        prop_assert!(tried <= usize::from(!any_up));
        prop_assert!(status.carrier == any_up);
        // What it sends goes where it works.
        if let (Some(name), Some(port)) = (&status.active_port, net.rig.goes_to(0)) {
            prop_assert!(!monitored || name == port);
        }
    } else if monitored && any_up && status.options.mode != Mode::Ieee8023ad {
        for key in [0, 1, 2, 3, 7] {
            prop_assert!(net.rig.goes_to(key).is_some_and(up), "{:?}", net.rig.table);
        }
    }
    Ok(())
}

proptest! {
    // Each runs a network through seconds of its time.
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn always(mode in prop::sample::select(vec!["mode=active-backup", "mode=balance-xor", "mode=balance-rr"]),
              steps in proptest::collection::vec(step(), 0..50)) {
        let mut net = Net::new(&[mode, "arp_validate=all"], &NAMES);
        check(&net)?;
        for step in &steps {
            run(&mut net, step);
            check(&net)?;
            // Once what is due is done, nothing is left to do.
            net.forward(0);
            prop_assert!(net.rig.bond.next_timeout().is_none_or(|due| due > net.rig.now));
            net.rig.bond.handle_timeout(net.rig.now);
            prop_assert_eq!(net.rig.bond.poll_action(), None);
            check(&net)?;
        }
    }

    /// A daemon killed and started at any moment goes on exactly as if nothing had happened.
    #[test]
    fn a_snapshot_continues_identically(
        before in proptest::collection::vec(step(), 0..25), after in proptest::collection::vec(step(), 0..25),
    ) {
        let make = || Net::new(&["mode=active-backup", "arp_validate=all"], &NAMES);
        let (mut one, mut other) = (make(), make());
        for step in &before {
            run(&mut one, step);
            run(&mut other, step);
        }
        other.rig.restart();
        for step in &after {
            run(&mut one, step);
            run(&mut other, step);
            prop_assert_eq!(&one.rig.bond, &other.rig.bond);
            prop_assert_eq!(&one.probes, &other.probes);
        }
    }

    /// Whatever was before: when everything works again, everything is used again, soon.
    #[test]
    fn it_recovers(
        mode in prop::sample::select(vec!["mode=active-backup", "mode=balance-xor", "mode=balance-rr", "mode=broadcast"]),
        steps in proptest::collection::vec(step(), 0..40),
    ) {
        let mut net = Net::new(&[mode, "arp_validate=all"], &NAMES);
        for step in &steps {
            run(&mut net, step);
        }
        for port in 0..NAMES.len() {
            run(&mut net, &Step::Add(port));
            run(&mut net, &Step::Link(port, true));
        }
        run(&mut net, &Step::Admin(true));
        net.set(&["arp_interval=100", "arp_ip_target=10.0.0.1", "ns_ip6_target=", "fail_over_mac=none"]);
        net.cut.clear();
        run(&mut net, &Step::Target(true));
        net.tell_paths();
        net.forward(3000);
        for port in net.rig.status().ports {
            prop_assert_eq!(port.mii_status, MiiStatus::Up, "{:?}", port);
        }
        let lost: u32 = net.rig.status().ports.iter().map(|port| port.link_failure_count).sum();
        net.forward(3000);
        let after: u32 = net.rig.status().ports.iter().map(|port| port.link_failure_count).sum();
        prop_assert_eq!(lost, after);
        check(&net)?;
    }
}
