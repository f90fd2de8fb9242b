//! The dialects' own tools as judges of our readers and writers: what we write they take without a complaint, and what
//! they make of files is what we read in them. `lab/judges.sh` unpacks them; a tool that is missing fails its tests.
#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod bench;
#[path = "../common/foreign.rs"]
mod foreign;
mod interfaces;
mod keyfile;
mod netplan;
mod networkd;
#[path = "../common/networks.rs"]
mod networks;
mod nmcli;

use oxbond_config::dialect::{Dialect, OutputFile, Reading};
use oxbond_config::model::{DesiredBridge, DesiredNetwork};
use oxbond_config::report::{Fate, LineReport};
use oxbond_config::span::{Located, Sources};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

/// Generated networks, the same in every run: as many that every dialect can say as others.
fn samples(of_each: usize) -> Vec<DesiredNetwork> {
    let mut runner = TestRunner::deterministic();
    let mut samples = Vec::new();
    for common in [true, false] {
        for _ in 0..of_each {
            samples.push(
                networks::network(common)
                    .new_tree(&mut runner)
                    .unwrap()
                    .current(),
            );
        }
    }
    samples
}

/// A bridge, and nothing else, with each forward delay about which tools differ, with and without STP.
fn delays() -> Vec<DesiredNetwork> {
    let bridges = samples(25).into_iter().flat_map(|network| network.bridges);
    let bridge = bridges.last().expect("some samples have bridges");
    let span = bridge.name.span;
    let mut delays = Vec::new();
    for stp in [false, true] {
        for delay in [0, 1, 2, 31] {
            let mut bridge = DesiredBridge::new(bridge.name.clone());
            bridge.stp = Some(Located::new(stp, span));
            bridge.forward_delay = Some(Located::new(delay, span));
            let bridges = vec![bridge];
            delays.push(DesiredNetwork {
                bridges,
                ..DesiredNetwork::default()
            });
        }
    }
    delays
}

/// The fixtures of a dialect, with their paths.
fn fixtures(of: Dialect) -> Vec<(String, Sources)> {
    let of_all = foreign::fixtures().into_iter();
    of_all
        .filter(|(dialect, ..)| *dialect == of)
        .map(|(_, path, files)| (path.display().to_string(), files))
        .collect()
}

fn sources<'f>(files: impl IntoIterator<Item = (&'f str, &'f str)>) -> Sources {
    let mut sources = Sources::default();
    for (path, text) in files {
        sources.add(path, text);
    }
    sources
}

fn written(files: &[OutputFile]) -> Sources {
    sources(
        files
            .iter()
            .map(|file| (file.path.as_str(), file.text.as_str())),
    )
}

/// The text of a network in which ports stand in order of name, since the order of files is not that of ports for every
/// tool, and options that are at their default are left out, as some tools do.
fn text(mut network: DesiredNetwork) -> String {
    for bond in &mut network.bonds {
        bond.options
            .retain(|option| option.value.text() != option.value.id.spec().default);
    }
    sorted_ports(&network.to_string())
}

/// A network's text with the lines of ports that follow each other in order.
fn sorted_ports(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let is_port = |line: &&str| line.starts_with("  port ") || line.starts_with("  select ");
    for ports in lines.chunk_by_mut(|a, b| is_port(a) && is_port(b)) {
        if is_port(&ports[0]) {
            ports.sort_unstable();
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// What stands in one text only; nothing if they are the same.
fn difference(theirs: &str, ours: &str) -> String {
    let only = |a: &str, b: &str, mark: &str| -> String {
        let rest: Vec<&str> = b.lines().collect();
        let lines = a.lines().filter(|line| !rest.contains(line));
        lines.map(|line| format!("  {mark}: {line}\n")).collect()
    };
    if theirs == ours {
        return String::new();
    }
    let lines = only(theirs, ours, "its") + &only(ours, theirs, "ours");
    if lines.is_empty() {
        format!("its:\n{theirs}\nours:\n{ours}")
    } else {
        lines
    }
}

/// Whether something was said of a line: that it is ignored, unknown, or not what it seems.
fn is_told(line: &LineReport) -> bool {
    line.fates.iter().any(|fate| *fate != Fate::Mapped)
}

/// The fate of a line, counted from 1, of the file whose path ends so.
fn line_of<'l>(lines: &'l [LineReport], path: &str, number: usize) -> Option<&'l LineReport> {
    lines.iter().find(|line| {
        line.line == number && (line.file.ends_with(path) || path.ends_with(&line.file))
    })
}

/// Whether anything of the files was told as not understood.
fn has_complaint(dialect: Dialect, reading: &Reading, sources: &Sources) -> bool {
    !reading.diagnostics.is_empty() || dialect.lines(&reading.report, sources).iter().any(is_told)
}
