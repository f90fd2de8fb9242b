//! Making, changing and taking apart bonds of the driver.

use oxbond_core::driver::{Picture, PortPicture};
use oxbond_core::option::{Kind, Mode, OptionId, OptionValue};
use oxbond_core::status::{MiiStatus, PortRole};
use oxbond_linux::engine::kernel::{self, KernelEngine, KernelRecord, Presence, Scene};
use oxbond_linux::engine::{BondSpec, EngineError, NAME_NEW};
use oxbond_linux::error::KernelError;
use oxbond_linux::netlink::Netlink;
use oxbond_wire::MacAddr;

use crate::rig::{
    candidate, eventually, eventually_as, index, ip, options, port_options, settled, surroundings,
    wires,
};

fn named(name: &str) -> BondSpec {
    BondSpec {
        name: name.to_owned(),
        mac: None,
        mtu: None,
        beside: false,
    }
}

/// These changes are brought to their end here.
fn for_nobody(_: &Scene) -> Result<(), KernelError> {
    Ok(())
}

/// What of a picture lasts.
fn lasting(mut picture: Picture) -> Picture {
    picture.tx_dropped = 0;
    picture.carrier = false;
    picture.active_aggregator = None;
    for port in &mut picture.ports {
        port.traffic = Default::default();
        port.aggregation = None;
        port.link_failure_count = 0;
        port.link.carrier = false;
        port.mii_status = MiiStatus::Up;
        port.role = PortRole::Active;
    }
    picture
}

/// `bond0` with the ports `p0`, `p1`, ...
fn bond(nl: &mut Netlink, words: &str, ports: usize) -> KernelEngine {
    let mut engine = KernelEngine::create(nl, &named("bond0"), &options(words)).unwrap();
    for n in 0..ports {
        let port = candidate(nl, &format!("p{n}"));
        engine.add_port(nl, &port, &[]).unwrap();
    }
    engine
}

/// In the first namespace, before the driver is there: its module is installed, and refused.
pub(crate) fn driver_missing() {
    let mut nl = Netlink::open().unwrap();
    assert_eq!(kernel::presence(), Presence::Loadable);
    assert_eq!(kernel::pictures(&mut nl).unwrap(), []);
    std::fs::write("/proc/sys/kernel/modprobe", "/bin/false").unwrap();
    let error = KernelEngine::create(&mut nl, &named("bond0"), &[]).unwrap_err();
    assert!(
        matches!(error, EngineError::DriverMissing { .. }),
        "{error:?}"
    );
    let words = error.to_string();
    assert!(
        words.contains("--engine ebpf") && words.contains("modprobe bonding"),
        "{words}"
    );
}

/// The kernel loads the driver, which makes `bond0` before we do.
pub(crate) fn driver_loaded_on_demand() {
    let script = "#!/bin/sh\nexec /sbin/modprobe -d /run/modules \"$@\"\n";
    std::fs::write("/run/modprobe-with-bond0", script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions("/run/modprobe-with-bond0", executable).unwrap();
    std::fs::write("/proc/sys/kernel/modprobe", "/run/modprobe-with-bond0").unwrap();
    let mut nl = Netlink::open().unwrap();
    let engine = KernelEngine::create(&mut nl, &named("bond0"), &options("mode=802.3ad")).unwrap();
    assert_eq!(
        engine.picture(&mut nl).unwrap().options.mode,
        Mode::Ieee8023ad
    );
    assert_eq!(kernel::pictures(&mut nl).unwrap().len(), 1);
    // Ours is nobody's to replace any more.
    let error = KernelEngine::create(&mut nl, &named("bond0"), &[]).unwrap_err();
    assert!(error.to_string().contains("File exists"), "{error}");
    assert!(engine.destroy(&mut nl).is_empty());
    std::fs::write("/proc/sys/kernel/modprobe", "/run/modprobe").unwrap();
}

pub(crate) fn comes_and_goes_without_a_trace() {
    wires(2);
    ip("link set p0 up\nlink set p1 mtu 1400");
    let mut nl = Netlink::open().unwrap();
    let before = settled(&mut nl);
    let spec = BondSpec {
        name: "bond0".to_owned(),
        mac: Some(MacAddr([2, 0, 0, 0, 0, 9])),
        mtu: Some(1300),
        beside: false,
    };
    let words =
        options("mode=active-backup miimon=50 updelay=100 primary=p1 arp_ip_target=10.0.0.1");
    let mut engine = KernelEngine::create(&mut nl, &spec, &words).unwrap();
    let made = engine.picture(&mut nl).unwrap();
    assert!(made.up && made.ports.is_empty());
    assert_eq!((made.mac, made.mtu), (spec.mac.unwrap(), 1300));
    assert_eq!((made.options.miimon, made.options.updelay), (50, 100));
    for (name, words) in [("p0", "prio=3"), ("p1", "prio=-4 queue_id=2")] {
        let port = candidate(&mut nl, name);
        engine
            .add_port(&mut nl, &port, &port_options(words))
            .unwrap();
    }
    let whole = engine.picture(&mut nl).unwrap();
    let ports: Vec<_> = whole
        .ports
        .iter()
        .map(|port| (&*port.name, port.options.prio, port.options.queue_id))
        .collect();
    assert_eq!(ports, [("p0", 3, 0), ("p1", -4, 2)]);
    assert_eq!(whole.options.primary.as_deref(), Some("p1"));
    assert!(
        whole
            .ports
            .iter()
            .all(|port| port.mac == made.mac && port.link.admin_up)
    );

    // Another value takes it over, and writes nothing.
    let json = serde_json::to_string(engine.record()).unwrap();
    let record: KernelRecord = serde_json::from_str(&json).unwrap();
    let writes = nl.writes();
    let mut engine = KernelEngine::adopt(&mut nl, record.clone()).unwrap();
    engine
        .set_options(&mut nl, &words, &mut for_nobody)
        .unwrap();
    let p1 = index(&mut nl, "p1");
    engine
        .set_port_options(&mut nl, p1, &port_options("prio=-4"))
        .unwrap();
    assert_eq!(nl.writes(), writes);
    assert_eq!(*engine.record(), record);

    // The address asked for outlives the last port.
    let p0 = index(&mut nl, "p0");
    assert!(engine.remove_port(&mut nl, p0).is_empty());
    assert!(engine.remove_port(&mut nl, p1).is_empty());
    assert_eq!(engine.picture(&mut nl).unwrap().mac, made.mac);
    assert!(matches!(
        engine.remove_port(&mut nl, p1)[..],
        [EngineError::NotAPort { .. }]
    ));
    let again = candidate(&mut nl, "p0");
    engine.add_port(&mut nl, &again, &[]).unwrap();
    assert!(engine.destroy(&mut nl).is_empty());
    eventually_as("destroyed", &mut nl, &before);
    let error = KernelEngine::adopt(&mut nl, record.clone()).unwrap_err();
    assert!(matches!(error, EngineError::Vanished { .. }));
    let other = KernelRecord {
        ifindex: p0,
        ..record
    };
    assert!(matches!(
        KernelEngine::adopt(&mut nl, other),
        Err(EngineError::Vanished { .. })
    ));
}

/// Values that are not the default, in the notation of the table.
fn values(id: OptionId) -> Vec<String> {
    let spec = id.spec();
    let text = |value: i64| OptionValue::Number(value).text(spec.kind);
    let all = match spec.kind {
        Kind::Words(words) => words.iter().map(|word| word.name.to_owned()).collect(),
        Kind::Flag => vec![text(0), text(1)],
        Kind::Number { min, max } if max <= 65535 => vec![text(min), text(max)],
        Kind::Number { min, .. } => vec![text(min), text(300), text(70_000)],
        Kind::NumberOrWord { .. } => Vec::new(),
        Kind::PortName => vec!["p1".to_owned()],
        Kind::Ipv4List(_) => vec!["10.0.0.1".to_owned(), "10.0.0.3,10.0.0.2".to_owned()],
        Kind::Ipv6List(_) => vec!["2001:db8::1,fe80::7".to_owned()],
        Kind::Mac => vec!["02:00:00:00:00:77".to_owned()],
    };
    all.into_iter()
        .filter(|value| value != spec.default)
        .collect()
}

pub(crate) fn every_option_in_every_mode() {
    wires(2);
    let mut nl = Netlink::open().unwrap();
    let mut taken = std::collections::BTreeMap::<&str, usize>::new();
    for mode in Mode::ALL {
        let mut engine = bond(&mut nl, &format!("mode={mode} miimon=100"), 2);
        // Which port is active, the driver remembers of a primary that it has no more; and the address of fail_over_mac.
        let without_active = |picture| {
            let mut picture = lasting(picture);
            picture.active_port = None;
            picture.mac = MacAddr::ZERO;
            for port in &mut picture.ports {
                port.mac = MacAddr::ZERO;
            }
            picture
        };
        let before = without_active(engine.picture(&mut nl).unwrap());
        for id in OptionId::ALL {
            let spec = id.spec();
            if *id == OptionId::Mode
                || *id == OptionId::ActiveSlave
                || !spec.modes.contains(*mode)
                || spec.netlink.is_none()
            {
                continue;
            }
            // All in the first mode that has it, then one in each.
            let all = values(*id);
            let from = match taken.contains_key(spec.name) {
                true => all.len().saturating_sub(1),
                false => 0,
            };
            for value in &all[from..] {
                let what = format!("{id}={value} in {mode}");
                let set = engine.set_options(
                    &mut nl,
                    &options(&format!("{id}={value}")),
                    &mut for_nobody,
                );
                let now = engine.picture(&mut nl).unwrap();
                match set {
                    Ok(()) => {
                        // Delays count whole intervals of 100 ms.
                        assert_eq!(now.options.text(*id), *value, "{what}");
                        *taken.entry(spec.name).or_default() += 1;
                    }
                    // Only what is younger than the driver.
                    Err(EngineError::NotTaken {
                        shown: None, since, ..
                    }) => assert!(since > kernel::release(), "{what}"),
                    Err(EngineError::TooNew { since, .. }) => {
                        assert!(Some(since) > kernel::release(), "{what}")
                    }
                    Err(error) => panic!("{what}: {error}"),
                }
                // Back to what was there, and to nothing else.
                let back = before.options.changes_from(&now.options);
                engine
                    .set_options(&mut nl, &back, &mut for_nobody)
                    .unwrap_or_else(|e| panic!("back from {what}: {e}"));
                let again = without_active(engine.picture(&mut nl).unwrap());
                assert_eq!(again, before, "back from {what}");
            }
        }
        assert!(engine.destroy(&mut nl).is_empty());
    }
    for id in OptionId::ALL {
        let spec = id.spec();
        let expected = spec.netlink.is_some()
            && !matches!(
                id,
                OptionId::Mode | OptionId::ActiveSlave | OptionId::UseCarrier
            )
            && spec
                .since
                .is_none_or(|since| Some(since) <= kernel::release());
        assert!(
            !expected || taken.contains_key(spec.name),
            "{id} was never taken: {taken:?}"
        );
    }
}

/// What stands on the bond of a server.
fn furnish() {
    ip("address add 10.0.0.2/24 dev bond0
        address add fd00::2/64 dev bond0
        address add fd00::3/64 dev bond0 nodad noprefixroute
        route add 10.9.0.0/16 via 10.0.0.1
        route add default via 10.0.0.1 metric 7
        route add fd09::/32 via fd00::1 metric 5
        route add fd0a::/32 dev bond0 table 99
        link add link bond0 name bond0.7 type vlan id 7
        link set bond0.7 up
        link add link bond0.7 name bond0.7.8 type vlan id 8
        link set bond0.7.8 up
        link add link bond0 name bond0.9 type vlan id 9
        address add 10.7.0.2/24 dev bond0.7
        address add fd07::2/64 dev bond0.7
        address add fd08::2/64 dev bond0.7.8
        route add 10.8.0.0/16 via 10.7.0.1
        route add fd0b::/32 via fd07::1
        neighbour add 10.0.0.77 lladdr 02:00:00:00:00:77 dev bond0 nud permanent
        neighbour add 10.0.0.78 lladdr 02:00:00:00:00:78 dev bond0 nud noarp
        neighbour add fd07::77 lladdr 02:00:00:00:00:77 dev bond0.7 nud permanent
        neighbour add proxy 10.0.0.79 dev bond0");
}

/// Asserts that every address can be used, when a change has just been made: nothing had to be waited for.
fn all_addresses_work(nl: &mut Netlink, what: &str) {
    let found = nl.all_addresses().unwrap();
    let waiting: Vec<_> = found.iter().filter(|record| record.tentative).collect();
    assert!(
        waiting.iter().all(|record| record.automatic),
        "{what}: {waiting:?}"
    );
}

pub(crate) fn every_mode_to_every_other() {
    wires(3);
    ip("link set p1 up");
    let mut nl = Netlink::open().unwrap();
    let mut engine = bond(&mut nl, "mode=balance-rr miimon=100", 3);
    let p1 = index(&mut nl, "p1");
    engine
        .set_port_options(&mut nl, p1, &port_options("queue_id=4"))
        .unwrap();
    furnish();
    // What the kernel makes by itself is there.
    eventually("link-local addresses", || {
        let found = nl.all_addresses().unwrap();
        let count = |name: &str, nl: &mut Netlink| {
            let index = index(nl, name);
            found
                .iter()
                .filter(|r| r.address.ifindex == index && r.automatic)
                .count()
        };
        (["bond0", "bond0.7", "bond0.7.8"]
            .iter()
            .all(|name| count(name, &mut nl) == 1))
        .then_some(())
    });
    eventually("carrier", || {
        let carrier = engine.picture(&mut nl).unwrap().carrier;
        carrier.then_some(())
    });
    eventually("addresses that work", || {
        let found = nl.all_addresses().unwrap();
        found.iter().all(|record| !record.tentative).then_some(())
    });
    // The kernel takes neither while the address cannot be used yet.
    let link_local = nl
        .all_addresses()
        .unwrap()
        .into_iter()
        .find(|record| record.automatic && record.address.ifindex == engine.ifindex());
    let link_local = link_local.unwrap().address.address;
    ip(&format!(
        "route add fd0c::/32 via fd00::1 src fd00::2
        route add fd0d::/32 dev bond0 src {link_local}"
    ));
    let before = settled(&mut nl);
    let picture = lasting(engine.picture(&mut nl).unwrap());
    let mut longest = std::time::Duration::ZERO;
    for (at, one) in Mode::ALL.iter().enumerate() {
        for other in &Mode::ALL[at + 1..] {
            for mode in [one, other, one] {
                let begun = std::time::Instant::now();
                engine
                    .set_options(&mut nl, &options(&format!("mode={mode}")), &mut for_nobody)
                    .unwrap_or_else(|e| panic!("to {mode}: {e}"));
                longest = longest.max(begun.elapsed());
                all_addresses_work(&mut nl, &format!("to {mode}"));
                let now = lasting(engine.picture(&mut nl).unwrap());
                assert_eq!(now.options.mode, *mode);
                let names = |picture: &Picture| {
                    picture
                        .ports
                        .iter()
                        .map(|port| (port.name.clone(), port.options.clone()))
                        .collect::<Vec<_>>()
                };
                assert_eq!(names(&now), names(&picture), "in {mode}");
                assert_eq!(
                    (now.mac, now.mtu, now.up),
                    (picture.mac, picture.mtu, picture.up)
                );
                eventually_as(&format!("to {mode}"), &mut nl, &before);
            }
        }
    }
    println!(
        "a change of mode of a bond with three ports and three VLANs took at most {longest:?}"
    );
    assert!(engine.destroy(&mut nl).is_empty());
}

pub(crate) fn what_needs_it_interrupts_and_no_more() {
    wires(2);
    let mut nl = Netlink::open().unwrap();
    let mut engine = bond(&mut nl, "mode=802.3ad miimon=100", 2);
    furnish();
    let ports = |engine: &KernelEngine, nl: &mut Netlink| {
        let picture = engine.picture(nl).unwrap();
        picture
            .ports
            .iter()
            .map(|port| (port.name.clone(), port.link.admin_up))
            .collect::<Vec<_>>()
    };
    let changes = |nl: &mut Netlink| nl.link("bond0").unwrap().unwrap().carrier_changes;
    eventually("carrier", || {
        engine.picture(&mut nl).unwrap().carrier.then_some(())
    });
    let before = settled(&mut nl);
    let (in_it, carrier) = (ports(&engine, &mut nl), changes(&mut nl));
    engine
        .set_options(
            &mut nl,
            &options("miimon=50 min_links=1 xmit_hash_policy=layer3+4"),
            &mut for_nobody,
        )
        .unwrap();
    assert_eq!(changes(&mut nl), carrier, "nothing of these interrupts");
    engine
        .set_options(
            &mut nl,
            &options("lacp_rate=fast ad_select=count miimon=100"),
            &mut for_nobody,
        )
        .unwrap();
    let now = engine.picture(&mut nl).unwrap();
    assert_eq!(now.options.text(OptionId::LacpRate), "fast");
    assert_eq!(now.options.text(OptionId::AdSelect), "count");
    assert_eq!(ports(&engine, &mut nl), in_it);
    eventually_as("lacp_rate", &mut nl, &before);
    // Down it stays down.
    ip("link set bond0 down");
    engine
        .set_options(&mut nl, &options("lacp_rate=slow"), &mut for_nobody)
        .unwrap();
    assert!(!engine.picture(&mut nl).unwrap().up);
    assert!(engine.destroy(&mut nl).is_empty());
}

pub(crate) fn a_failure_leaves_all_as_before() {
    wires(3);
    let mut nl = Netlink::open().unwrap();
    let mut engine = bond(&mut nl, "mode=active-backup miimon=100 downdelay=200", 2);
    let p1 = index(&mut nl, "p1");
    engine
        .set_port_options(&mut nl, p1, &port_options("prio=9 queue_id=5"))
        .unwrap();
    eventually("p1 is up", || {
        let picture = engine.picture(&mut nl).unwrap();
        let up = |port: &PortPicture| port.mii_status == MiiStatus::Up;
        picture.ports.iter().all(up).then_some(())
    });
    engine
        .set_options(&mut nl, &options("active_slave=p1"), &mut for_nobody)
        .unwrap();
    furnish();
    eventually("carrier", || {
        let carrier = engine.picture(&mut nl).unwrap().carrier;
        carrier.then_some(())
    });
    let before = settled(&mut nl);
    let picture = lasting(engine.picture(&mut nl).unwrap());
    let refused = [
        // In the middle of a message, after others were set.
        "miimon=50 num_grat_arp=7 ad_select=actor_port_prio",
        // With the ports out, and the bond down.
        "mode=802.3ad ad_select=actor_port_prio lacp_rate=fast",
        "mode=802.3ad lacp_strict=on",
        "fail_over_mac=active miimon=60 ad_select=actor_port_prio",
    ];
    for words in refused {
        let error = engine
            .set_options(&mut nl, &options(words), &mut for_nobody)
            .unwrap_err();
        println!("{words}: {error}");
        assert!(!matches!(error, EngineError::NotUndone { .. }), "{error}");
        assert_eq!(
            lasting(engine.picture(&mut nl).unwrap()),
            picture,
            "after {words}"
        );
        eventually_as(words, &mut nl, &before);
    }
    // Before anything is touched.
    let writes = nl.writes();
    for words in [
        "lacp_rate=fast",
        "miimon=100 arp_interval=100",
        "mode=802.3ad lacp_fallback=individual",
    ] {
        engine
            .set_options(&mut nl, &options(words), &mut for_nobody)
            .unwrap_err();
    }
    engine
        .set_port_options(&mut nl, p1, &port_options("weight=3"))
        .unwrap_err();
    assert_eq!(nl.writes(), writes);
    let error = engine.set_port_options(&mut nl, p1, &port_options("prio=1 queue_id=17"));
    assert!(matches!(error, Err(EngineError::Option(_))));
    let error = engine.set_mtu(&mut nl, 70_000).unwrap_err();
    assert!(
        matches!(error, EngineError::MtuImpossible { old: 1500, .. }),
        "{error}"
    );

    // A port that vanishes before it joins, and one that the driver refuses.
    let p2 = candidate(&mut nl, "p2");
    ip("link del p2");
    engine.add_port(&mut nl, &p2, &[]).unwrap_err();
    ip("link add p3 type veth peer name q3\nlink set p3 up");
    let p3 = candidate(&mut nl, "p3");
    ip("link add br0 type bridge\nlink set p3 master br0");
    let bridged = nl.link("p3").unwrap();
    let error = engine
        .add_port(&mut nl, &p3, &port_options("queue_id=5"))
        .unwrap_err();
    println!("{error}");
    assert!(nl.link("p3").unwrap().is_some() && bridged.is_some());
    ip("link del p3\nlink del br0");
    assert_eq!(lasting(engine.picture(&mut nl).unwrap()), picture);
    assert_eq!(engine.record().ports.len(), 2);

    // One of its ports vanishes: the others go on.
    ip("link del p0");
    engine
        .set_options(&mut nl, &options("mode=balance-xor"), &mut for_nobody)
        .unwrap();
    let now = engine.picture(&mut nl).unwrap();
    assert_eq!((now.ports.len(), now.options.mode), (1, Mode::BalanceXor));
    // The bond vanishes: said so.
    ip("link del bond0");
    let error = engine
        .set_options(&mut nl, &options("miimon=200"), &mut for_nobody)
        .unwrap_err();
    assert!(matches!(error, EngineError::Vanished { .. }), "{error}");
    assert!(engine.destroy(&mut nl).is_empty());
}

pub(crate) fn beside_another_of_its_name() {
    let mut nl = Netlink::open().unwrap();
    let before = surroundings(&mut nl);
    let engine = KernelEngine::create(&mut nl, &named("bond0"), &[]).unwrap();
    let spec = BondSpec {
        beside: true,
        ..named("bond0")
    };
    let other = KernelEngine::create(&mut nl, &spec, &options("mode=balance-xor")).unwrap();
    assert_eq!(other.name(), NAME_NEW);
    assert_eq!(
        oxbond_linux::ipv6::is_disabled(NAME_NEW).unwrap(),
        Some(true)
    );
    assert!(other.picture(&mut nl).unwrap().up);
    assert!(other.destroy(&mut nl).is_empty() && engine.destroy(&mut nl).is_empty());
    assert_eq!(surroundings(&mut nl), before);
}

pub(crate) fn somebody_elses_bond() {
    wires(2);
    ip("link add bond0 type bond mode active-backup miimon 100
        link set p1 master bond0
        link set p0 master bond0
        link set bond0 up");
    let mut nl = Netlink::open().unwrap();
    let bond0 = index(&mut nl, "bond0");
    let mut engine = KernelEngine::over(&mut nl, bond0).unwrap();
    assert_eq!((engine.name(), nl.writes()), ("bond0", 0));
    let ports: Vec<_> = engine
        .ports()
        .map(|port| (&*port.name, port.originals.is_some()))
        .collect();
    assert_eq!(ports, [("p1", false), ("p0", false)]);
    engine
        .set_options(&mut nl, &options("active_slave=p0"), &mut for_nobody)
        .unwrap();
    assert_eq!(
        engine.picture(&mut nl).unwrap().active_port.as_deref(),
        Some("p0")
    );
    engine
        .set_options(&mut nl, &options("active_slave="), &mut for_nobody)
        .unwrap();
    let mac = MacAddr([2, 0, 0, 0, 0, 8]);
    engine.set_mac(&mut nl, mac).unwrap();
    engine.set_mtu(&mut nl, 1400).unwrap();
    let now = engine.picture(&mut nl).unwrap();
    assert!(now.ports.iter().all(|port| port.mac == mac));
    let p0 = index(&mut nl, "p0");
    assert!(engine.remove_port(&mut nl, p0).is_empty());
    assert_eq!(nl.link("p0").unwrap().unwrap().mtu, 1500);
    // Without a record only what is empty is cleared away.
    assert!(KernelEngine::clear_away(&mut nl, "bond0", None).is_empty());
    assert!(nl.link("bond0").unwrap().is_some());
    let record = engine.record().clone();
    assert!(KernelEngine::clear_away(&mut nl, "bond0", Some(&record)).is_empty());
    assert!(nl.link("bond0").unwrap().is_none());
    assert!(KernelEngine::clear_away(&mut nl, "bond0", Some(&record)).is_empty());
}

/// The last of its thread: what it gives up it does not get back.
pub(crate) fn nobody_in_particular() {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    wires(1);
    let mut nl = Netlink::open().unwrap();
    let mut engine = bond(&mut nl, "mode=802.3ad miimon=100 ad_user_port_key=5", 1);
    eventually("an aggregator", || {
        let picture = engine.picture(&mut nl).unwrap();
        assert!(picture.known.contains(&OptionId::AdUserPortKey));
        picture.ports[0].aggregation.as_ref()?.aggregator
    });
    set_capabilities(
        None,
        CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        },
    )
    .unwrap();
    let mut nl = Netlink::open().unwrap();
    let picture = kernel::pictures(&mut nl).unwrap().remove(0);
    assert_eq!((picture.system, picture.ports.len()), (None, 1));
    assert!(!picture.known.contains(&OptionId::AdUserPortKey));
    let aggregation = picture.ports[0].aggregation.as_ref().unwrap();
    assert!(
        aggregation.pdus.is_none() && aggregation.churn.is_some(),
        "{aggregation:?}"
    );
    let error = engine
        .set_options(&mut nl, &options("miimon=50"), &mut for_nobody)
        .unwrap_err();
    assert!(error.is_permission(), "{error}");
    let error = KernelEngine::create(&mut nl, &named("bond1"), &[]).unwrap_err();
    assert!(
        error.is_permission() && error.to_string().contains("run it as root"),
        "{error}"
    );
}
