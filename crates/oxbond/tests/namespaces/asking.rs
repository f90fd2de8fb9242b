//! The ARP and NS monitor of either engine, side by side on one kernel that has both, where time is even: run by `guest`
//! in one whose clock counts instructions. What is told of paths and targets that die and return is the same, but for what
//! `oxbond_core::bond`'s `probing` says the driver does otherwise.

use std::path::Path;

use oxbond_lab::machine::{Machine, PATIENCE};
use oxbond_lab::proc::{Process, Signal, wait_until};
use oxbond_lab::rig::{Plan, Topology, Way};
use serde_json::{Value, json};

use crate::alike::{comparable, differences, event};
use crate::common::PORTS;

/// Milliseconds between two questions.
const INTERVAL: u32 = 200;

/// Who is asked, and what counts as an answer.
struct Asked {
    words: &'static str,
    /// How the status tells of silence.
    silence: &'static str,
    /// Whether all events are the same. With IPv6, the driver's other port is sometimes given up with the active one, and
    /// for a moment there is none: as long as it is not the active one, it lives by hearing that one's questions.
    alike: bool,
}

const ASKED: [Asked; 2] = [
    Asked {
        words: "--arp-ip-target 10.77.0.99,10.77.0.1 --arp-validate all",
        silence: "no answer from 10.77.0.99, 10.77.0.1",
        alike: true,
    },
    Asked {
        words: "--ns-ip6-target fd77::1 --arp-validate all",
        silence: "no answer from fd77::1",
        alike: false,
    },
];

/// What was told: a line for each look and each event.
type Told = Vec<(String, Value)>;

/// What is not compared: the time that silence has lasted, which the driver does not tell; and what it counts while IPv6
/// looks for the bond's address and nobody answers yet.
const NOT_COMPARED: [&str; 3] = ["failovers", "lasted", "link_failure_count"];

/// A document without what is not compared.
fn timeless(document: &Value) -> Value {
    match document {
        Value::Object(all) => all
            .iter()
            .filter(|(key, _)| !NOT_COMPARED.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), timeless(value)))
            .collect(),
        Value::Array(all) => all.iter().map(timeless).collect(),
        Value::String(text) => {
            let is_time = |rest: &str| rest.split_once(" s").map(|(time, _)| time.parse::<f64>());
            let Some((before, rest)) = text.split_once(" for ") else {
                return document.clone();
            };
            match (is_time(rest), rest.split_once(" s")) {
                (Some(Ok(_)), Some((_, after))) => json!(format!("{before}{after}")),
                _ => document.clone(),
            }
        }
        other => other.clone(),
    }
}

/// The path by the active port dies and returns; then the targets do. Without a primary: with one, the driver's ports take
/// turns for seconds after each return to it.
fn drill(machine: &Machine, engine: &str, asked: &Asked) -> Told {
    let Asked { words, silence, .. } = asked;
    let must = |words: &str| machine.ok(words).unwrap_or_else(|e| panic!("{e:#}"));
    must(&format!(
        "up bond0 --mode active-backup --arp-interval {INTERVAL} {words} --port enp3s0 --port enp4s0 \
         --address 10.77.0.2/24 --address fd77::2/64"
    ));
    let bond = || machine.bond("bond0").unwrap();
    assert_eq!(bond()["engine"]["engine"], engine);
    let settled = |step: &str, active: &[Option<&str>], up: [bool; 2]| {
        let is_so = |now: &Value| {
            let links = [0, 1].map(|port| now["ports"][port]["mii_status"] == "up");
            active.contains(&now["active_port"].as_str()) && links == up
        };
        wait_until(PATIENCE, step, || is_so(&bond())).unwrap_or_else(|e| {
            let log = machine.daemon().unwrap().stderr();
            panic!("{engine}, {words}: {e}: {:#}\n{log}", bond())
        });
        let now = bond();
        for (port, up) in up.into_iter().enumerate() {
            let reason = timeless(&now["ports"][port]["reason"]);
            let said = reason.as_str().unwrap().starts_with(silence);
            assert_eq!(said, !up, "{engine}, {words}, {step}: {reason}");
        }
        (format!("{words}: {step}"), timeless(&comparable(&now)))
    };
    let [first, second] = PORTS.map(Some);
    // IPv6 looks for the bond's address first; until then nobody answers.
    machine.wait_peer(&crate::common::PEER).unwrap();
    settled("made", &[first, second], [true, true]);
    must("set bond0 --active-slave enp3s0");
    let mut told = vec![settled("at first", &[first], [true, true])];

    let mut command = machine.command();
    command.args(["events", "--json"]);
    let listener = Process::start("oxbond events --json", command).unwrap();
    let events = || -> Vec<Value> { listener.stdout().lines().filter_map(event).collect() };
    let wait_event = |what: &str, is_it: &dyn Fn(&Value) -> bool| {
        wait_until(PATIENCE, what, || events().iter().any(is_it))
            .unwrap_or_else(|e| panic!("{engine}, {words}: {e}: {:#?}", events()));
    };
    wait_until(PATIENCE, "the snapshot is there", || {
        !listener.stdout().is_empty()
    })
    .unwrap();
    machine.rig.blackhole(0, Way::Both).unwrap();
    told.push(settled("a path is dead", &[second], [false, true]));
    machine.rig.restore(0).unwrap();
    told.push(settled("it is back", &[second], [true, true]));
    must("set bond0 --resend-igmp 3");
    wait_event("the change is told", &|event| {
        event["kind"] == "options_changed"
    });
    let alike = events();

    let peer = &machine.rig.peer;
    peer.set_link("peer0", false).unwrap();
    settled("nobody answers", &[None], [false, false]);
    wait_event("the end of the carrier is told", &|event| {
        event["kind"] == "carrier" && event["up"] == false
    });
    for port in PORTS {
        wait_event("who hears nothing is told", &|event| {
            event["kind"] == "probes_unanswered" && event["name"] == port
        });
    }
    peer.set_link("peer0", true).unwrap();
    // IPv6 addresses go with a link that is set down.
    let again = machine.rig.add_address(peer, "peer0", "fd77::1/64");
    again.unwrap();
    // Which port is the first to hear something hangs on whose turn it is.
    settled("the target is back", &[first, second], [true, true]);
    wait_event("the carrier is told", &|event| {
        event["kind"] == "carrier"
            && event["up"] == true
            && event["cause"]["kind"] == "probes_answered"
    });
    listener.signal(Signal::TERM).unwrap();
    must("down bond0");
    // Of a port given up our engine says besides that its link is down, as the driver's log does.
    let alike = alike
        .into_iter()
        .filter(|event| event["kind"] != "link_down");
    let alike = alike.filter(|_| asked.alike).enumerate();
    told.extend(alike.map(|(at, event)| (format!("{words}: event {at}"), timeless(&event))));
    told
}

fn drills(engine: &'static str) -> Told {
    let plan = Plan::new(Topology::OneSwitch, &PORTS);
    let machine = Machine::on_engine(plan, Path::new(env!("CARGO_BIN_EXE_oxbond")), engine)
        .unwrap_or_else(|e| panic!("{e:#}"));
    ASKED
        .iter()
        .flat_map(|asked| drill(&machine, engine, asked))
        .collect()
}

#[test]
fn inside_who_answers_is_told_alike_by_both_engines() {
    let (drivers, ours) = (drills("kernel"), drills("ebpf"));
    let mut all = Vec::new();
    for ((step, ours), (_, drivers)) in ours.iter().zip(&drivers) {
        all.extend(differences(step, ours, drivers));
    }
    println!("{} lines told", ours.len());
    let events = |told: &Told| -> String {
        let events = told.iter().filter(|(step, _)| step.contains("event"));
        let lines: Vec<_> = events
            .map(|(step, event)| format!("{step} {event}"))
            .collect();
        lines.join("\n")
    };
    assert!(
        all.is_empty() && ours.len() == drivers.len(),
        "{}\nours:\n{}\nthe driver's:\n{}",
        all.join("\n"),
        events(&ours),
        events(&drivers)
    );
}
