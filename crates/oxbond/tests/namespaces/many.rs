//! Many bonds in one daemon, against as many of another.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use oxbond_lab::machine::{End, Machine, PATIENCE};
use oxbond_lab::proc::wait_until;
use oxbond_lab::rig::{Plan, Topology};

use crate::common::engine;

const BONDS: usize = 6;

/// They form, every one, and whoever asks is answered within a second; a link that is cut is left by its bond alone.
#[test]
fn root_many_aggregates_in_one_daemon() {
    let ports: Vec<String> = (0..BONDS)
        .flat_map(|bond| [format!("a{bond}"), format!("b{bond}")])
        .collect();
    let names: Vec<&str> = ports.iter().map(String::as_str).collect();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_oxbond"));
    let plan = Plan::new(Topology::Direct, &names);
    let mut machine = Machine::on_engine(plan, program, engine()).unwrap();
    machine.start_peer_daemon().unwrap();
    let mut text = String::new();
    for bond in 0..BONDS {
        writeln!(
            text,
            "[bond.bond{bond}]\nports = [\"a{bond}\", \"b{bond}\"]\nmode = \"802.3ad\"\nlacp_rate = \"fast\"\n"
        )
        .unwrap();
    }
    let file = machine.run_dir().join("many.toml");
    std::fs::write(&file, text).unwrap();
    let apply = format!("apply {}", file.display());
    for end in [End::Peer, End::Host] {
        machine.ok_at(end, &apply).unwrap();
    }

    let carrying = || {
        let mut count = 0;
        for bond in 0..BONDS {
            let ports = machine.bond(&format!("bond{bond}"))?["ports"].clone();
            count += (0..2)
                .filter(|port| ports[*port]["role"] == "active")
                .count();
        }
        anyhow::Ok(count)
    };
    wait_until(PATIENCE, "every port carries its share", || {
        carrying().is_ok_and(|count| count == 2 * BONDS)
    })
    .unwrap();

    // Somebody else may have the processor.
    let mut table = String::new();
    wait_until(PATIENCE, "who asks is answered within a second", || {
        let begin = Instant::now();
        table = machine.ok("status").unwrap();
        begin.elapsed() < Duration::from_secs(1)
    })
    .unwrap();
    let shown = (0..BONDS).filter(|bond| table.contains(&format!("bond{bond}")));
    assert_eq!(shown.count(), BONDS, "{table}");

    machine.rig.cut(0).unwrap();
    wait_until(PATIENCE, "the cut port is left", || {
        carrying().is_ok_and(|count| count == 2 * BONDS - 1)
    })
    .unwrap();
    let first = &machine.bond("bond0").unwrap()["ports"];
    assert_ne!(first[0]["role"], "active");
    assert_eq!(first[1]["role"], "active");
}
