//! One drill on both engines, side by side on one kernel that has both; run in a guest by `guest`. What is told of it, events
//! and status, is the same, but for figures and for what only one engine can know.

use std::path::Path;

use oxbond_lab::machine::{Machine, PATIENCE};
use oxbond_lab::proc::{Process, Signal, wait_until};
use oxbond_lab::rig::{Plan, Topology};
use serde_json::{Value, json};

use crate::common::PORTS;

/// What differs between any two bonds, and what one of the engines does not have: figures, the engine itself, and defaults of
/// ours for LACP that the driver's users do not expect.
const NOT_COMPARED: &[&str] = &[
    "at",
    "bond_ifindex",
    "counters",
    "coupled_control",
    "engine",
    "ifindex",
    "lacp_strict",
    "mac",
    "permanent_mac",
    "port",
    "ports_left",
    "sequence",
    "since",
    "time",
    "tx_no_port",
];

/// What was told of the drill.
struct Told {
    /// The bond's status after each step, by the name of the step.
    status: Vec<(&'static str, Value)>,
    events: Vec<Value>,
}

/// Takes out of a document what is not compared.
pub(crate) fn comparable(document: &Value) -> Value {
    match document {
        Value::Object(all) => all
            .iter()
            .filter(|(key, _)| !NOT_COMPARED.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), comparable(value)))
            .collect(),
        Value::Array(all) => all.iter().map(comparable).collect(),
        other => other.clone(),
    }
}

/// An event, with the cause in the words of who sees links only.
pub(crate) fn event(line: &str) -> Option<Value> {
    let line: Value = serde_json::from_str(line).ok()?;
    let told = line.get("event")?;
    let mut event = comparable(told.get("event")?);
    // Our data path leaves a dead link before anybody is told.
    if event["cause"]["kind"] == "left_in_path" {
        event["cause"]["kind"] = "link_down".into();
    }
    Some(event)
}

/// Events in the order in which our engine tells them: it leaves a port before it takes it out, the driver after.
fn ordered(mut events: Vec<Value>) -> Vec<Value> {
    for index in 1..events.len() {
        let follows = events[index]["cause"]["kind"] == "port_removed";
        if follows && events[index - 1]["kind"] == "port_removed" {
            events.swap(index - 1, index);
        }
    }
    events
}

/// Fails over, returns, moves by hand, takes a port out and in, changes an option; a second cut takes the last link.
fn drill(engine: &'static str) -> Told {
    let plan = Plan::new(Topology::OneSwitch, &PORTS);
    let machine = Machine::on_engine(plan, Path::new(env!("CARGO_BIN_EXE_oxbond")), engine)
        .unwrap_or_else(|e| panic!("{e:#}"));
    let must = |words: &str| machine.ok(words).unwrap_or_else(|e| panic!("{e:#}"));
    must(
        "up bond0 --mode active-backup --primary enp3s0 --miimon 100 --port enp3s0 --port enp4s0 --address 10.77.0.2/24",
    );
    let bond = || machine.bond("bond0").unwrap();
    assert_eq!(bond()["engine"]["engine"], engine);
    let mut status = Vec::new();
    let mut settled = |step: &'static str, active: Option<&str>, up: &[(&str, bool)]| {
        let is_so = |now: &Value| {
            let ports = now["ports"].as_array().unwrap();
            let link = |name: &str| ports.iter().find(|port| port["name"] == name);
            now["active_port"].as_str() == active
                && ports.len() == up.len()
                && up.iter().all(|(name, up)| {
                    let wanted = if *up { "up" } else { "down" };
                    link(name).is_some_and(|port| port["mii_status"] == wanted)
                })
        };
        wait_until(PATIENCE, step, || is_so(&bond()))
            .unwrap_or_else(|e| panic!("{engine}: {e}: {:#}", bond()));
        status.push((step, comparable(&bond())));
    };
    let [first, second] = PORTS;
    settled("made", Some(first), &[(first, true), (second, true)]);

    let mut command = machine.command();
    command.args(["events", "--json"]);
    let listener = Process::start("oxbond events --json", command).unwrap();
    wait_until(PATIENCE, "the snapshot is there", || {
        !listener.stdout().is_empty()
    })
    .unwrap();
    machine.rig.cut(0).unwrap();
    settled("first cut", Some(second), &[(first, false), (second, true)]);
    machine.rig.cut(1).unwrap();
    settled("both cut", None, &[(first, false), (second, false)]);
    machine.rig.restore(1).unwrap();
    settled(
        "second back",
        Some(second),
        &[(first, false), (second, true)],
    );
    machine.rig.restore(0).unwrap();
    settled("first back", Some(first), &[(first, true), (second, true)]);
    must("set bond0 --active-slave enp4s0");
    settled(
        "moved by hand",
        Some(second),
        &[(first, true), (second, true)],
    );
    must("remove-port bond0 enp4s0");
    settled("taken out", Some(first), &[(first, true)]);
    must("add-port bond0 enp4s0");
    settled("joined", Some(first), &[(first, true), (second, true)]);
    must("set bond0 --miimon 50 --updelay 120");
    settled("options set", Some(first), &[(first, true), (second, true)]);
    let events = || ordered(listener.stdout().lines().filter_map(event).collect());
    wait_until(PATIENCE, "the last change is told", || {
        events()
            .iter()
            .any(|event| event["kind"] == "value_rounded")
    })
    .unwrap();
    listener.signal(Signal::TERM).unwrap();
    Told {
        status,
        events: events(),
    }
}

/// Every place in which two documents differ.
pub(crate) fn differences(place: &str, ours: &Value, drivers: &Value) -> Vec<String> {
    match (ours, drivers) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            keys.into_iter()
                .flat_map(|key| differences(&format!("{place}.{key}"), &ours[key], &drivers[key]))
                .collect()
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => (0..a.len())
            .flat_map(|index| differences(&format!("{place}[{index}]"), &a[index], &b[index]))
            .collect(),
        _ if ours == drivers => Vec::new(),
        _ => vec![format!("{place}: ours {ours}, the driver's {drivers}")],
    }
}

#[test]
fn inside_a_drill_is_told_alike_by_both_engines() {
    let (drivers, ours) = std::thread::scope(|scope| {
        let ours = scope.spawn(|| drill("ebpf"));
        (drill("kernel"), ours.join().unwrap())
    });
    let mut all = Vec::new();
    for ((step, ours), (_, drivers)) in ours.status.iter().zip(&drivers.status) {
        all.extend(differences(step, ours, drivers));
    }
    all.extend(differences(
        "events",
        &json!(ours.events),
        &json!(drivers.events),
    ));
    println!("{} events, {} looks", ours.events.len(), ours.status.len());
    assert!(all.is_empty(), "{}", all.join("\n"));
}
