//! The engine in namespaces of its own. What must be seen: it leaves no trace, it undoes what it cannot finish, it takes
//! over without a write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oxbond_core::action::Action;
use oxbond_core::event::Cause;
use oxbond_core::port::PortId;
use oxbond_core::table::TransmitTable;
use oxbond_datapath::FrontKind;
use oxbond_wire::MacAddr;

use super::{BondSpec, EbpfEngine, EngineError};
use crate::inspect::{Candidate, inspect_port};
use crate::ipv6;
use crate::netlink::{Link, Netlink, OperState};
use crate::test_support::{FrameReceiver, Picture, in_fresh_namespaces, poll_until};

/// Where the bonds of these tests are pinned. Each test has a BPF file system of its own.
fn pins(bond: &str) -> PathBuf {
    Path::new("/sys/fs/bpf").join(bond)
}

fn id(index: u8) -> PortId {
    PortId::new(index).unwrap()
}

fn link(nl: &mut Netlink, name: &str) -> Link {
    nl.link(name)
        .unwrap()
        .unwrap_or_else(|| panic!("no {name}"))
}

fn candidate(nl: &mut Netlink, name: &str) -> Candidate {
    inspect_port(nl, "bond0", name, &BTreeMap::new()).unwrap()
}

/// A host with ports p0 (up) and p1 (down), and a switch's ends q0 and q1 (up).
fn host() -> Netlink {
    let mut nl = Netlink::open().unwrap();
    for (port, peer) in [("p0", "q0"), ("p1", "q1")] {
        nl.create_veth(port, peer).unwrap();
        // The switch's ends gain and lose link-local addresses with the carrier of ours, which is no news here.
        ipv6::set_disabled(&mut nl, peer, true).unwrap();
        let peer = link(&mut nl, peer).index;
        nl.set_up(peer).unwrap();
    }
    let p0 = link(&mut nl, "p0").index;
    nl.set_up(p0).unwrap();
    // The kernel finishes this in its own time.
    poll_until("p0 has its link-local address", || {
        !nl.addresses(p0).unwrap().is_empty()
    });
    poll_until("q0 is operational", || {
        link(&mut nl, "q0").oper == OperState::Up
    });
    poll_until("q1 is not", || link(&mut nl, "q1").oper == OperState::Down);
    nl
}

fn create(nl: &mut Netlink, mtu: Option<u32>) -> EbpfEngine {
    let spec = BondSpec {
        name: "bond0".into(),
        mac: Some(MacAddr([2, 0, 0, 0, 0, 0xb0])),
        mtu,
        beside: false,
    };
    EbpfEngine::create(nl, &pins("bond0"), &spec).unwrap()
}

fn add(nl: &mut Netlink, engine: &mut EbpfEngine, index: u8, name: &str) {
    let candidate = candidate(nl, name);
    engine.add_port(nl, id(index), &candidate).unwrap();
}

fn carrier(up: bool) -> Action {
    Action::SetCarrier {
        up,
        cause: Cause::Start,
    }
}

fn table(ports: &[u8]) -> Action {
    let order = ports.iter().map(|index| id(*index)).collect();
    let table = TransmitTable::failover(order);
    Action::SetTransmitTable {
        table,
        cause: Cause::Start,
    }
}

fn no_complaints(complaints: Vec<EngineError>) {
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn root_a_bond_comes_and_goes_without_a_trace() {
    in_fresh_namespaces(|| {
        let mut nl = host();
        let p1 = link(&mut nl, "p1").index;
        nl.set_mtu(p1, 1400).unwrap();
        nl.set_promisc(p1, true).unwrap();
        let before = Picture::take(&mut nl);

        let mut engine = create(&mut nl, None);
        let bond = link(&mut nl, "bond0");
        assert_eq!((bond.up, bond.carrier, bond.mtu), (true, false, 1500));
        assert_eq!(bond.mac, Some(MacAddr([2, 0, 0, 0, 0, 0xb0])));
        assert_eq!((engine.ifindex(), engine.mtu()), (bond.index, 1500));
        let inner = link(&mut nl, "ox.bond0");
        assert!(
            inner.is_ours() && inner.noarp && !inner.up && inner.mtu == 65535,
            "{inner:?}"
        );
        assert_eq!(ipv6::is_disabled("ox.bond0").unwrap(), Some(true));

        // p0 is up when it joins, p1 is not.
        add(&mut nl, &mut engine, 0, "p0");
        let p0_joined = link(&mut nl, "p0");
        add(&mut nl, &mut engine, 1, "p1");
        assert_eq!(
            link(&mut nl, "p0"),
            p0_joined,
            "a port joined and another changed"
        );
        for name in ["p0", "p1"] {
            let port = link(&mut nl, name);
            assert!(
                port.up && port.carrier && port.allmulti && port.mtu == 1500,
                "{port:?}"
            );
            assert_eq!(ipv6::is_disabled(name).unwrap(), Some(true));
            assert_eq!(nl.addresses(port.index).unwrap(), []);
        }

        // What the core does to it.
        engine.perform(&mut nl, &table(&[0, 1])).unwrap();
        engine.perform(&mut nl, &carrier(true)).unwrap();
        assert!(link(&mut nl, "bond0").carrier);
        let mac = MacAddr([2, 0, 0, 0, 0, 0xb1]);
        engine
            .perform(&mut nl, &Action::SetBondMac { mac })
            .unwrap();
        for port in [id(0), id(1)] {
            engine
                .perform(&mut nl, &Action::SetPortMac { port, mac })
                .unwrap();
        }
        for name in ["bond0", "p0", "p1"] {
            assert_eq!(link(&mut nl, name).mac, Some(mac));
        }
        assert_eq!(engine.bond_mac(&mut nl).unwrap(), mac);
        engine.perform(&mut nl, &carrier(false)).unwrap();
        assert!(!link(&mut nl, "bond0").carrier);

        // One port leaves, the other does not notice.
        poll_until("p1 is operational", || {
            link(&mut nl, "p1").oper == OperState::Up
        });
        let p1_joined = link(&mut nl, "p1");
        no_complaints(engine.remove_port(&mut nl, id(0)));
        assert_eq!(link(&mut nl, "p1"), p1_joined);
        assert_eq!(engine.ports().collect::<Vec<_>>(), [(id(1), p1)]);
        no_complaints(engine.destroy(&mut nl));
        before.assert_again(&mut nl);
        assert!(!pins("bond0").exists());
    });
}

#[test]
fn root_a_long_name_has_an_inner_end_too() {
    in_fresh_namespaces(|| {
        let mut nl = Netlink::open().unwrap();
        let before = Picture::take(&mut nl);
        let name = "fifteen-letters";
        let spec = BondSpec {
            name: name.into(),
            mac: None,
            mtu: Some(9000),
            beside: false,
        };
        let engine = EbpfEngine::create(&mut nl, &pins(name), &spec).unwrap();
        let inner = nl.link_by_index(engine.inner_ifindex()).unwrap().unwrap();
        assert_eq!(inner.name, "ox0");
        assert!(inner.alias.unwrap().contains(name));
        assert_eq!(link(&mut nl, name).mtu, 9000);
        no_complaints(engine.destroy(&mut nl));
        before.assert_again(&mut nl);
    });
}

#[test]
fn root_what_cannot_be_made_is_undone() {
    in_fresh_namespaces(|| {
        let mut nl = host();
        let before = Picture::take(&mut nl);
        let mut try_to = |name: &str, mtu, pins: &Path| {
            let spec = BondSpec {
                name: name.into(),
                mac: None,
                mtu,
                beside: false,
            };
            let error = EbpfEngine::create(&mut nl, pins, &spec).unwrap_err();
            before.assert_again(&mut nl);
            error.to_string()
        };
        // A name that was taken after it was checked.
        let text = try_to("q0", None, &pins("q0"));
        assert!(
            text.contains("q0") && text.contains("File exists"),
            "{text}"
        );
        // An MTU no front device has.
        let text = try_to("bond0", Some(100_000), &pins("bond0"));
        assert!(text.contains("mtu greater than device maximum"), "{text}");
        // Nowhere to pin.
        try_to("bond0", None, Path::new("/proc/no/such/place"));
        assert!(!pins("bond0").exists() && !pins("q0").exists());
    });
}

/// A port that can do no more than MTU 1500: a macvlan can do no more than the device below it.
fn narrow_port(nl: &mut Netlink) {
    nl.create_veth("below", "below-peer").unwrap();
    let below = link(nl, "below").index;
    nl.create_macvlan("narrow", below).unwrap();
}

#[test]
fn root_a_port_that_cannot_join_is_as_before_and_the_others_stay() {
    in_fresh_namespaces(|| {
        let mut nl = host();
        narrow_port(&mut nl);
        let before = Picture::take(&mut nl);
        let mut engine = create(&mut nl, Some(9000));
        add(&mut nl, &mut engine, 0, "p0");
        let half = Picture::take(&mut nl);
        let narrow = candidate(&mut nl, "narrow");
        let text = engine
            .add_port(&mut nl, id(1), &narrow)
            .unwrap_err()
            .to_string();
        assert!(text.contains("cannot set MTU 9000 of narrow"), "{text}");
        half.assert_again(&mut nl);
        assert_eq!(engine.ports().count(), 1);
        no_complaints(engine.destroy(&mut nl));
        before.assert_again(&mut nl);
    });
}

#[test]
fn root_ports_follow_the_bonds_mtu_or_all_stay() {
    in_fresh_namespaces(|| {
        let mut nl = host();
        narrow_port(&mut nl);
        let mut engine = create(&mut nl, None);
        add(&mut nl, &mut engine, 0, "p0");
        let bond = engine.ifindex();
        // The user writes it to the bond; the daemon hears of it.
        nl.set_mtu(bond, 4000).unwrap();
        engine.follow_bond_mtu(&mut nl, 4000).unwrap();
        assert_eq!((link(&mut nl, "p0").mtu, engine.mtu()), (4000, 4000));

        nl.set_mtu(bond, 1400).unwrap();
        engine.follow_bond_mtu(&mut nl, 1400).unwrap();
        add(&mut nl, &mut engine, 1, "narrow");
        nl.set_mtu(bond, 9000).unwrap();
        let text = engine
            .follow_bond_mtu(&mut nl, 9000)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("bond0 stays at MTU 1400") && text.contains("narrow"),
            "{text}"
        );
        for name in ["bond0", "p0", "narrow"] {
            assert_eq!(link(&mut nl, name).mtu, 1400, "{name}");
        }
        no_complaints(engine.destroy(&mut nl));
        assert_eq!(
            (link(&mut nl, "p0").mtu, link(&mut nl, "narrow").mtu),
            (1500, 1500)
        );
    });
}

#[test]
fn root_adopting_writes_nothing_and_repair_mends_what_differs() {
    in_fresh_namespaces(|| {
        let mut nl = host();
        let before = Picture::take(&mut nl);
        let mut engine = create(&mut nl, None);
        add(&mut nl, &mut engine, 0, "p0");
        add(&mut nl, &mut engine, 1, "p1");
        engine.perform(&mut nl, &table(&[0, 1])).unwrap();
        engine.perform(&mut nl, &carrier(true)).unwrap();
        let text = serde_json::to_string(engine.record()).unwrap();
        drop(engine); // The daemon dies.
        let running = Picture::take(&mut nl);

        let mut nl = Netlink::open().unwrap();
        let (engine, drift) = EbpfEngine::adopt(
            &mut nl,
            &pins("bond0"),
            serde_json::from_str(&text).unwrap(),
        )
        .unwrap();
        assert_eq!(drift, []);
        assert_eq!(nl.writes(), 0);
        assert_eq!(serde_json::to_string(engine.record()).unwrap(), text);
        drop(engine);
        running.assert_again(&mut nl);

        // Someone was at work meanwhile.
        let (p0, inner) = (link(&mut nl, "p0").index, link(&mut nl, "ox.bond0").index);
        nl.set_mtu(p0, 1300).unwrap();
        nl.set_allmulti(p0, false).unwrap();
        ipv6::set_disabled(&mut nl, "p1", false).unwrap();
        nl.set_down(inner).unwrap();
        let writes = nl.writes();
        let (mut engine, drift) = EbpfEngine::adopt(
            &mut nl,
            &pins("bond0"),
            serde_json::from_str(&text).unwrap(),
        )
        .unwrap();
        assert_eq!(nl.writes(), writes);
        let words: Vec<String> = drift.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "the bond had no carrier although ports are usable",
                "the MTU of port p0 was changed",
                "the allmulti flag of port p0 was changed",
                "the IPv6 switch of port p1 was changed",
            ]
        );
        engine.repair(&mut nl, &drift).unwrap();
        running.assert_again(&mut nl);

        // The originals survived two daemons.
        no_complaints(engine.destroy(&mut nl));
        before.assert_again(&mut nl);
    });
}

#[test]
fn root_adopting_knows_renamed_missing_and_foreign_devices() {
    in_fresh_namespaces(|| {
        let mut nl = host();
        let mut engine = create(&mut nl, None);
        add(&mut nl, &mut engine, 0, "p0");
        add(&mut nl, &mut engine, 1, "p1");
        let record = engine.record().clone();
        drop(engine);

        let (q1, bond) = (link(&mut nl, "q1").index, record.ifindex);
        nl.delete_link(q1).unwrap();
        // Before Linux 6.2 a device must be down for it.
        nl.set_down(bond).unwrap();
        nl.rename(bond, "trunk").unwrap();
        let (mut engine, drift) =
            EbpfEngine::adopt(&mut nl, &pins("bond0"), record.clone()).unwrap();
        assert_eq!(
            drift.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["port p1 is gone"]
        );
        assert_eq!(engine.record().bond, "trunk");
        no_complaints(engine.remove_port(&mut nl, id(1)));
        drop(engine);

        nl.delete_link(bond).unwrap();
        let error = EbpfEngine::adopt(&mut nl, &pins("bond0"), record.clone()).unwrap_err();
        assert!(matches!(error, EngineError::Vanished { .. }), "{error}");
        // A stranger with the same name is not taken for it.
        nl.create_veth("bond0", "stranger").unwrap();
        let error = EbpfEngine::adopt(&mut nl, &pins("bond0"), record).unwrap_err();
        assert!(matches!(error, EngineError::Vanished { .. }), "{error}");
    });
}

#[test]
fn root_a_port_that_vanished_leaves_without_complaint() {
    in_fresh_namespaces(|| {
        let mut nl = host();
        let mut engine = create(&mut nl, None);
        add(&mut nl, &mut engine, 0, "p0");
        let q0 = link(&mut nl, "q0").index;
        nl.delete_link(q0).unwrap();
        engine.follow_bond_mtu(&mut nl, 1400).unwrap();
        no_complaints(engine.remove_port(&mut nl, id(0)));
        assert!(matches!(
            engine.remove_port(&mut nl, id(0))[..],
            [EngineError::NoSuchPort { .. }]
        ));
        no_complaints(engine.destroy(&mut nl));
    });
}

#[test]
fn root_ports_are_promiscuous_while_the_bond_is() {
    in_fresh_namespaces(|| {
        let mut nl = host();
        let p1 = link(&mut nl, "p1").index;
        nl.set_promisc(p1, true).unwrap();
        let mut engine = create(&mut nl, None);
        add(&mut nl, &mut engine, 0, "p0");
        add(&mut nl, &mut engine, 1, "p1");
        let bond = engine.ifindex();
        let mut follow = |nl: &mut Netlink, expected: bool, why: &str| {
            assert_eq!(link(nl, "bond0").promiscuity > 0, expected, "{why}");
            engine.follow_bond_promiscuity(nl, expected).unwrap();
            assert_eq!(link(nl, "p0").promisc, expected, "{why}");
            // Its user wanted that before; it stays.
            assert!(link(nl, "p1").promisc, "{why}");
        };
        nl.create_bridge("br0").unwrap();
        let br0 = link(&mut nl, "br0").index;
        nl.set_master(bond, Some(br0)).unwrap();
        follow(&mut nl, true, "bridge port");
        nl.set_master(bond, None).unwrap();
        follow(&mut nl, false, "no longer a bridge port");
        nl.create_macvlan("mv0", bond).unwrap();
        let mv0 = link(&mut nl, "mv0").index;
        nl.set_up(mv0).unwrap();
        follow(&mut nl, true, "macvlan");
        nl.delete_link(mv0).unwrap();
        follow(&mut nl, false, "macvlan gone");
        let writes = nl.writes();
        engine.follow_bond_promiscuity(&mut nl, false).unwrap();
        assert_eq!(nl.writes(), writes);
    });
}

/// A frame that no other traffic looks like.
fn experimental_frame() -> Vec<u8> {
    let mut frame = vec![0xff; 12];
    frame.extend([0x88, 0xb5]); // For local experiments (IEEE 802).
    frame.resize(60, 0x5a);
    frame
}

/// A frame sent by the core comes out of this interface.
fn assert_leaves_by(nl: &mut Netlink, engine: &mut EbpfEngine, exit: &str) {
    let frame = experimental_frame();
    let receiver = FrameReceiver::open(link(nl, exit).index);
    engine
        .perform(
            nl,
            &Action::SendFrame {
                frame: frame.clone(),
            },
        )
        .unwrap();
    receiver.wait_for(|seen| seen == frame);
}

#[test]
fn root_a_frame_of_the_core_leaves_by_the_active_port() {
    in_fresh_namespaces(|| {
        let mut nl = host();
        let mut engine = create(&mut nl, None);
        add(&mut nl, &mut engine, 0, "p0");
        add(&mut nl, &mut engine, 1, "p1");
        engine.perform(&mut nl, &carrier(true)).unwrap();
        engine.perform(&mut nl, &table(&[0, 1])).unwrap();
        assert_leaves_by(&mut nl, &mut engine, "q0");
        engine.perform(&mut nl, &table(&[1, 0])).unwrap();
        assert_leaves_by(&mut nl, &mut engine, "q1");
        let counters = engine.counters().unwrap();
        assert!(
            counters.ports.iter().all(|(_, port)| port.tx_packets > 0),
            "{counters:?}"
        );
        let description = engine.describe().unwrap();
        assert!(
            description.hooks.front.is_some() && description.hooks.ports.len() == 2,
            "{description:?}"
        );
        no_complaints(engine.destroy(&mut nl));
    });
}

#[test]
fn root_a_port_leaves_and_joins_again_at_once() {
    in_fresh_namespaces(|| {
        let mut nl = host();
        let mut engine = create(&mut nl, None);
        for _ in 0..20 {
            add(&mut nl, &mut engine, 0, "p0");
            no_complaints(engine.remove_port(&mut nl, id(0)));
        }
        no_complaints(engine.destroy(&mut nl));
    });
}

#[test]
fn root_the_first_frame_after_carrier_is_not_lost() {
    in_fresh_namespaces(|| {
        let mut nl = host();
        let mut engine = create(&mut nl, None);
        add(&mut nl, &mut engine, 0, "p0");
        engine.perform(&mut nl, &table(&[0])).unwrap();
        for _ in 0..20 {
            engine.perform(&mut nl, &carrier(true)).unwrap();
            assert_leaves_by(&mut nl, &mut engine, "q0");
            engine.perform(&mut nl, &carrier(false)).unwrap();
        }
    });
}

#[test]
fn root_the_front_is_the_first_kind_that_works_and_says_why() {
    in_fresh_namespaces(|| {
        let mut nl = Netlink::open().unwrap();
        let engine = create(&mut nl, None);
        let kind = link(&mut nl, "bond0").kind;
        let description = engine.describe().unwrap();
        match description.front {
            FrontKind::Netkit => {
                assert_eq!(kind.as_deref(), Some("netkit"));
                assert_eq!(description.front_why, "");
            }
            FrontKind::Veth => {
                assert_eq!(kind.as_deref(), Some("veth"));
                assert!(
                    description.front_why.starts_with("netkit: "),
                    "{}",
                    description.front_why
                );
            }
        }
        no_complaints(engine.destroy(&mut nl));
    });
}

/// Taking the pin of a tcx or netkit link takes its program off. Kernels without such links have filters instead.
fn take_off(nl: &mut Netlink, link_pin: &str, device: u32) {
    let pin = pins("bond0").join("links").join(link_pin);
    if pin.exists() {
        std::fs::remove_file(pin).unwrap();
    } else {
        let name = nl.link_by_index(device).unwrap().unwrap().name;
        let status = std::process::Command::new("tc")
            .args(["qdisc", "del", "dev", &name, "clsact"])
            .status()
            .unwrap();
        assert!(status.success());
    }
}

#[test]
fn root_programs_that_were_taken_off_are_hung_up_again() {
    in_fresh_namespaces(|| {
        let mut nl = host();
        let before = Picture::take(&mut nl);
        let mut engine = create(&mut nl, None);
        add(&mut nl, &mut engine, 0, "p0");
        add(&mut nl, &mut engine, 1, "p1");
        engine.perform(&mut nl, &carrier(true)).unwrap();
        engine.perform(&mut nl, &table(&[1, 0])).unwrap();
        let record = engine.record().clone();
        drop(engine);

        let p0 = link(&mut nl, "p0").index;
        take_off(&mut nl, "port-0", p0);
        let find = |nl: &mut Netlink, expected: &[&str]| {
            // A link whose pin went is detached a moment later.
            let mut found = None;
            poll_until("the drift is seen", || {
                let (engine, drift) =
                    EbpfEngine::adopt(nl, &pins("bond0"), record.clone()).unwrap();
                let words: Vec<String> = drift.iter().map(ToString::to_string).collect();
                found = Some((engine, drift));
                words == expected
            });
            found.unwrap()
        };
        let (mut engine, drift) = find(&mut nl, &["the receive program of port p0 was taken off"]);
        engine.repair(&mut nl, &drift).unwrap();
        assert_leaves_by(&mut nl, &mut engine, "q1");
        drop(engine);

        take_off(&mut nl, "front", record.inner);
        let (mut engine, drift) = find(&mut nl, &["the transmit program was taken off"]);
        engine.repair(&mut nl, &drift).unwrap();
        // With the table it had.
        assert_leaves_by(&mut nl, &mut engine, "q1");
        drop(engine);
        drop(find(&mut nl, &[]));

        // All pins lost, as when the BPF file system was unmounted.
        std::fs::remove_dir_all(pins("bond0")).unwrap();
        let error = EbpfEngine::adopt(&mut nl, &pins("bond0"), record.clone()).unwrap_err();
        assert!(matches!(error, EngineError::DataPath(_)), "{error}");
        let mut engine = EbpfEngine::reinstall(&mut nl, &pins("bond0"), record.clone()).unwrap();
        engine.perform(&mut nl, &table(&[0, 1])).unwrap();
        assert_leaves_by(&mut nl, &mut engine, "q0");
        no_complaints(engine.destroy(&mut nl));
        before.assert_again(&mut nl);
    });
}
