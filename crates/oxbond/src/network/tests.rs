//! Plans without a system: what is there is made up, and the steps are carried out on it.

use oxbond_config::dialect::Dialect;
use oxbond_config::span::Sources;
use oxbond_core::engine::{Engine, EngineChoice};
use oxbond_core::option::BondOptions;
use oxbond_linux::netlink::BridgeSettings;
use oxbond_wire::MacAddr;

use super::running::{Device, Running, RunningBond};
use super::step::Step;
use super::undo::Undo;
use super::wanted::{Settings, Wanted, WantedBond};
use super::{Planned, Record, plan};

fn wanted(toml: &str) -> Wanted {
    let mut sources = Sources::default();
    sources.add("test.toml", toml);
    let reading = Dialect::Toml.read(&sources);
    assert_eq!(reading.diagnostics, [], "{toml}");
    Wanted::of(&reading.network)
}

fn device(index: u32) -> Device {
    let [.., a, b] = index.to_be_bytes();
    Device {
        index,
        up: true,
        mtu: 1500,
        mac: Some(MacAddr::from([2, 0, 0, 0, a, b])),
        ..Device::default()
    }
}

/// A system with these interfaces and nothing else.
fn bare(names: &[&str]) -> Running {
    let devices = names
        .iter()
        .zip(2..)
        .map(|(name, index)| ((*name).to_owned(), device(index)));
    Running {
        devices: devices.collect(),
        auto: EngineChoice::Only(Engine::Ebpf),
        ..Running::default()
    }
}

/// Carries a step out as the system would, as far as steps without addresses and routes go.
fn carry_out(running: &mut Running, record: &mut Record, step: &Step) {
    record.note(step);
    let next = 1 + running.devices.values().map(|d| d.index).max().unwrap_or(1);
    let named = |name: &String| name.clone();
    match step {
        Step::CreateBond {
            request, engine, ..
        } => {
            let options = WantedBond {
                request: request.clone(),
                exactly: None,
            }
            .options(*engine)
            .unwrap();
            running.devices.insert(named(&request.name), device(next));
            let bond = RunningBond {
                request: request.clone(),
                options,
                mac: MacAddr::ZERO,
                mtu: request.mtu.unwrap_or(1500),
                attached: request.ports.iter().map(|p| p.name.clone()).collect(),
                on_driver: None,
            };
            running.bonds.insert(named(&request.name), bond);
        }
        Step::DeleteBond { bond } => {
            running.bonds.remove(bond);
            running.devices.remove(bond);
            running
                .devices
                .retain(|_, device| device.lower.as_ref() != Some(bond));
        }
        Step::AddPort { bond, port } => {
            let bond = running.bonds.get_mut(bond).expect("bonds first");
            assert!(!bond.attached.contains(&port.name));
            bond.attached.push(port.name.clone());
            bond.request.ports.push(port.clone());
        }
        Step::RemovePort { bond, port } => {
            let bond = running.bonds.get_mut(bond).unwrap();
            bond.attached.retain(|attached| attached != port);
            bond.request.ports.retain(|known| known.name != *port);
        }
        Step::BondOptions { bond, changes } => {
            let bond = running.bonds.get_mut(bond).unwrap();
            let context = oxbond_core::option::BondContext {
                own_engine: true,
                ..Default::default()
            };
            bond.options = bond.options.apply(changes, &context).unwrap().options;
        }
        Step::BondMtu { bond, mtu } => running.bonds.get_mut(bond).unwrap().mtu = *mtu,
        Step::CreateVlan { name, link, id } => {
            assert!(running.devices.contains_key(link), "{name} before {link}");
            assert!(!running.devices.contains_key(name));
            let made = Device {
                vlan_id: Some(*id),
                lower: Some(link.clone()),
                up: false,
                ..device(next)
            };
            running.devices.insert(name.clone(), made);
        }
        Step::CreateBridge { name } => {
            let bridge = BridgeSettings {
                forward_delay: 1500,
                default_pvid: 1,
                ..BridgeSettings::default()
            };
            let made = Device {
                bridge: Some(bridge),
                up: false,
                ..device(next)
            };
            assert!(running.devices.insert(name.clone(), made).is_none());
        }
        Step::DeleteDevice { name } => {
            assert!(
                running.devices.remove(name).is_some(),
                "{name} is gone already"
            );
            running
                .devices
                .retain(|_, device| device.lower.as_ref() != Some(name));
        }
        Step::Master { port, master, .. } => {
            assert!(
                master
                    .iter()
                    .all(|master| running.devices.contains_key(master))
            );
            running
                .devices
                .get_mut(port)
                .unwrap()
                .master
                .clone_from(master);
        }
        Step::Stp { bridge, on } => settings(running, bridge).stp = *on,
        Step::ForwardDelay { bridge, delay } => settings(running, bridge).forward_delay = *delay,
        Step::Mtu { device, mtu } => running.devices.get_mut(device).unwrap().mtu = *mtu,
        Step::Mac { device, mac } => running.devices.get_mut(device).unwrap().mac = Some(*mac),
        Step::Up { device, up } => running.devices.get_mut(device).unwrap().up = *up,
        other => panic!("not made up: {other}"),
    }
}

fn settings<'a>(running: &'a mut Running, bridge: &str) -> &'a mut BridgeSettings {
    running
        .devices
        .get_mut(bridge)
        .unwrap()
        .bridge
        .as_mut()
        .unwrap()
}

fn words(steps: &[Planned]) -> Vec<&str> {
    steps.iter().map(|planned| planned.words.as_str()).collect()
}

/// Gets there, has nothing left to do there, and gets back; answers the steps there.
fn there_and_back(wanted: &Wanted, running: &mut Running, record: &mut Record) -> Vec<Planned> {
    let before = running.clone();
    let (steps, refusals) = plan(wanted, record, running);
    assert_eq!(refusals, []);
    let undo = Undo::new(&steps, wanted, record, running);
    // From after each number of steps there is a way back.
    for taken in 0..=steps.len() {
        let (mut running, mut noted) = (before.clone(), record.clone());
        for planned in steps.iter().take(taken) {
            carry_out(&mut running, &mut noted, &planned.step);
        }
        let mut noted = undo.during.clone();
        for _ in 0..3 {
            let (back, _) = plan(&undo.wanted, &noted, &running);
            for planned in &back {
                carry_out(&mut running, &mut noted, &planned.step);
            }
        }
        let (left, _) = plan(&undo.wanted, &noted, &running);
        assert_eq!(words(&left), [""; 0], "after {taken} steps");
        let names = |running: &Running| running.devices.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&running), names(&before), "after {taken} steps");
    }
    for planned in &steps {
        carry_out(running, record, &planned.step);
    }
    let (left, refusals) = plan(wanted, record, running);
    assert_eq!((words(&left), refusals), (vec![], vec![]));
    for bond in &wanted.bonds {
        running.bonds.get_mut(&bond.request.name).unwrap().request = bond.request.clone();
    }
    record.settle(wanted, running);
    steps
}

const STACK: &str = "[bond.bond0]\nmode = \"active-backup\"\nports = [\"a\", \"b\"]\nmiimon = 100\n[vlan.v5]\nid = 5\nlink = \"bond0\"\n\
                     [vlan.v7]\nid = 7\nlink = \"br0\"\n[bridge.br0]\nports = [\"v5\"]\nforward_delay = 0\n";

#[test]
fn devices_are_made_from_the_bottom_up_and_removed_from_the_top_down() {
    let (mut running, mut record) = (bare(&["a", "b"]), Record::default());
    let steps = there_and_back(&wanted(STACK), &mut running, &mut record);
    let expected = [
        "bond0: create bond with a, b on engine ebpf (it was asked for)",
        "br0: create bridge",
        "br0: set forward delay 0 s",
        "v5: create VLAN device with id 5 on bond0",
        "v7: create VLAN device with id 7 on br0",
        "v5: make it a port of br0",
        "br0: set it up",
        "v5: set it up",
        "v7: set it up",
    ];
    assert_eq!(words(&steps), expected);
    assert!(steps.iter().all(|planned| planned.interrupts.is_none()));
    let steps = there_and_back(&wanted(""), &mut running, &mut record);
    let expected = [
        "v7: remove device",
        "br0: remove device",
        "v5: remove device",
        "bond0: remove bond",
    ];
    assert_eq!(words(&steps), expected);
    assert!(steps.iter().all(|planned| planned.interrupts.is_some()));
    assert_eq!(running.devices.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(record, Record::default());
}

#[test]
fn ports_change_hands_without_a_bond_that_has_fewer_than_it_must() {
    let (mut running, mut record) = (bare(&["a", "b", "c", "d"]), Record::default());
    let bonds = |one: &str, other: &str| {
        format!(
            "[bond.bond0]\nmode = \"active-backup\"\nports = [{one}]\n[bond.bond1]\nmode = \"active-backup\"\nports = [{other}]\n"
        )
    };
    there_and_back(
        &wanted(&bonds("\"a\", \"b\"", "\"c\"")),
        &mut running,
        &mut record,
    );
    let steps = there_and_back(
        &wanted(&bonds("\"a\", \"d\"", "\"c\"")),
        &mut running,
        &mut record,
    );
    assert_eq!(words(&steps), ["bond0: join d", "bond0: take b out"]);
    let steps = there_and_back(
        &wanted(&bonds("\"a\"", "\"c\", \"d\"")),
        &mut running,
        &mut record,
    );
    assert_eq!(words(&steps), ["bond0: take d out", "bond1: join d"]);
    // A bond under another name takes the ports of the one that goes.
    let renamed = "[bond.bond9]\nmode = \"802.3ad\"\nports = [\"c\", \"d\"]\n[bond.bond0]\nmode = \"active-backup\"\nports = [\"a\"]\n";
    let steps = there_and_back(&wanted(renamed), &mut running, &mut record);
    let place = |what: &str| {
        words(&steps)
            .iter()
            .position(|words| *words == what)
            .unwrap()
    };
    let made = "bond9: create bond without ports on engine ebpf (it was asked for)";
    assert!(place(made) < place("bond1: take c out"));
    assert!(place("bond1: take c out") < place("bond9: join c"));
}

#[test]
fn a_change_is_told_with_what_it_interrupts() {
    let (mut running, mut record) = (bare(&["a", "b"]), Record::default());
    let bond = |more: &str| {
        wanted(&format!(
            "[bond.bond0]\nports = [\"a\", \"b\"]\nmiimon = 100\n{more}"
        ))
    };
    there_and_back(&bond("mode = \"active-backup\""), &mut running, &mut record);
    let interrupts = |running: &Running, record: &Record, more: &str| {
        let (steps, _) = plan(&bond(more), record, running);
        assert_eq!(steps.len(), 1, "{steps:?}");
        steps[0].interrupts.clone().unwrap_or_default()
    };
    let told = |more: &str| interrupts(&running, &record, more);
    assert_eq!(told("mode = \"balance-xor\""), "");
    assert_eq!(told("mode = \"active-backup\"\nupdelay = 100"), "");
    assert!(told("mode = \"802.3ad\"").contains("until the partner answers LACP"));
    assert!(told("mode = \"active-backup\"\nmtu = 9000").contains("lose their link"));
}

#[test]
fn what_can_be_no_port_is_refused_before_it_loses_its_addresses() {
    let mut running = bare(&["a", "b", "c"]);
    if let Some(device) = running.devices.get_mut("b") {
        device.no_port = Some("port b is the loopback".to_owned());
    }
    let (steps, refusals) = plan(&wanted(STACK), &Record::default(), &running);
    assert!(
        refusals[0].message.contains("b is the loopback"),
        "{refusals:?} {:?}",
        words(&steps)
    );
}

#[test]
fn what_somebody_else_made_is_in_the_way_and_stays() {
    let mut running = bare(&["a", "b", "bond0"]);
    let record = Record::default();
    let (_, refusals) = plan(&wanted(STACK), &record, &running);
    assert!(
        refusals[0].message.contains("bond0 is wanted as a bond"),
        "{refusals:?}"
    );
    running.devices.remove("bond0");
    running.devices.insert("v5".to_owned(), device(77));
    let (steps, refusals) = plan(&wanted(STACK), &record, &running);
    assert!(
        refusals[0]
            .message
            .contains("v5 is wanted as a VLAN device"),
        "{refusals:?}"
    );
    assert!(!words(&steps).contains(&"v5: remove device"));
    // One of the name of ours, but another: somebody removed ours and made it.
    let mut record = Record::default();
    record.created.insert("v5".to_owned(), Some(76));
    assert_eq!(plan(&wanted(""), &record, &running).0, []);
    record.created.insert("v5".to_owned(), Some(77));
    assert_eq!(
        words(&plan(&wanted(""), &record, &running).0),
        ["v5: remove device"]
    );
    // A bond made by hand keeps its ports.
    let mut by_hand = RunningBond {
        request: Default::default(),
        options: BondOptions::own(),
        mac: MacAddr::ZERO,
        mtu: 1500,
        attached: vec!["b".to_owned()],
        on_driver: None,
    };
    by_hand.request.name = "hand0".to_owned();
    let mut held = bare(&["a", "b", "hand0"]);
    held.bonds.insert("hand0".to_owned(), by_hand);
    let (steps, refusals) = plan(&wanted(STACK), &Record::default(), &held);
    assert!(
        refusals[0].message.contains("oxbond remove-port hand0 b"),
        "{refusals:?}"
    );
    assert!(!words(&steps).contains(&"hand0: remove bond"));
    let missing = "[bond.bond0]\nmode = \"active-backup\"\nports = [\"a\", \"z\"]\n";
    let (steps, refusals) = plan(&wanted(missing), &Record::default(), &running);
    assert_eq!(refusals, []);
    assert!(words(&steps).contains(&"bond0: wait for z, which is not there"));
}

#[test]
fn addresses_that_bonds_made_by_hand_have_are_ours() {
    let mut running = bare(&["a"]);
    let mut bond = RunningBond {
        request: Default::default(),
        options: BondOptions::own(),
        mac: MacAddr::ZERO,
        mtu: 1500,
        attached: Vec::new(),
        on_driver: None,
    };
    bond.request.name = "bond0".to_owned();
    bond.request.addresses = vec!["10.0.0.2/24".to_owned()];
    bond.request.gateways = vec!["10.0.0.1".parse().unwrap()];
    running.bonds.insert("bond0".to_owned(), bond);
    let record = Record::default().with_bonds(&running.bonds);
    assert!(record.has_address("bond0", &"10.0.0.2/24".parse().unwrap()));
    let wanted = Wanted::addressed(&record);
    let gateway: Vec<_> = wanted.gateways();
    assert_eq!(gateway, [("bond0", "10.0.0.1".parse().unwrap())]);
    let Settings { addresses, .. } = &wanted.settings["bond0"];
    assert_eq!(addresses.len(), 1);
}

#[test]
fn ten_thousand_bonds_are_planned_in_a_moment() {
    use std::fmt::Write as _;
    let mut toml = String::new();
    let mut names = Vec::new();
    for number in 0..10_000 {
        writeln!(
            toml,
            "[bond.b{number}]\nmode = \"active-backup\"\nports = [\"p{number}\", \"q{number}\"]"
        )
        .unwrap();
        names.extend([format!("p{number}"), format!("q{number}")]);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (wanted, running) = (wanted(&toml), bare(&names));
    let begun = std::time::Instant::now();
    let (steps, refusals) = plan(&wanted, &Record::default(), &running);
    assert_eq!((steps.len(), refusals.len()), (10_000, 0));
    println!("planned in {:?}", begun.elapsed());
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}
