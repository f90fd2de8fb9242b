//! Our bond beside the kernel's: the same scripts on both, compared field by field.
//!
//! ```text
//!   scripts/*.txt, generate ─► driver (user-mode Linux) ─► what was seen, and when ─┐
//!                                                                                 ├─► compare ─► differences
//!                            ─► ours (the core, in virtual time, at those times) ──┘
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy knows tests by their attribute, and helpers of tests have none"
)]

mod differences;
mod driver;
mod frames;
mod generate;
mod observation;
mod ours;
#[path = "../../src/render/proc.rs"]
mod render;
mod rtnl;
mod script;
mod wires;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use differences::{DIFFERENCES, Mismatch};
use observation::Played;
use oxbond_core::option::find;
use script::Script;

/// Every script there is.
fn scripts() -> Vec<Script> {
    let files = [
        include_str!("scripts/active-backup.txt"),
        include_str!("scripts/addresses.txt"),
        include_str!("scripts/aggregation.txt"),
        include_str!("scripts/balance.txt"),
        include_str!("scripts/options.txt"),
        include_str!("scripts/spread.txt"),
    ];
    let written = files.iter().flat_map(|text| script::parse(text).unwrap());
    written.chain(generate::scripts(SEEDS)).collect()
}

/// Scripts made from seeds.
const SEEDS: u64 = 32;

/// Fields that are compared elsewhere or not at all: what the core alone has nothing to do with, and options that the
/// driver of this kernel does not have.
fn is_left_out(field: &str, driver: &str) -> bool {
    let newer = |name: &str| find(name).is_some_and(|spec| spec.since > Some(driver::SERIES));
    let option = field.strip_prefix("option/");
    field == "mtu" || field.ends_with("/mtu") || driver.is_empty() && option.is_some_and(newer)
}

#[test]
fn inside_driver_plays() {
    driver::play_here(&scripts());
}

#[test]
fn guest_root_driver_agrees_with_the_core() {
    let driver = driver::play_in_guest().unwrap_or_else(|e| panic!("{e:#}"));
    let (mut report, mut met) = (String::new(), BTreeSet::new());
    let scripts = scripts();
    for script in &scripts {
        let theirs = driver.iter().find(|played| played.script == script.name);
        let theirs = theirs.unwrap_or_else(|| panic!("the driver has not played {}", script.name));
        let times: Vec<u64> = theirs.steps.iter().map(|(at, _)| *at).collect();
        let ours = ours::play(script, &times);
        compare(script, theirs, &ours, &mut met, &mut report);
    }
    assert!(report.is_empty(), "{report}");
    for difference in DIFFERENCES {
        assert!(
            met.contains(difference.name),
            "no script meets {:?}",
            difference.name
        );
    }
}

/// Reports the fields in which two differ, but for known differences, which it notes.
fn compare(
    script: &Script,
    theirs: &Played,
    ours: &Played,
    met: &mut BTreeSet<&str>,
    report: &mut String,
) {
    for (step, ((at, driver), (_, ours))) in theirs.steps.iter().zip(&ours.steps).enumerate() {
        for (field, driver, ours) in driver.differing(ours) {
            if is_left_out(field, driver) {
                continue;
            }
            let mismatch = Mismatch {
                script,
                step,
                field,
                driver,
                ours,
                seen: &theirs.steps,
            };
            match DIFFERENCES.iter().find(|known| (known.holds)(&mismatch)) {
                Some(known) => {
                    met.insert(known.name);
                }
                None => {
                    let (name, line) = (&script.name, &script.steps[step]);
                    let _ = writeln!(
                        report,
                        "{name}, step {step} `{line}` at {at} ms: {field}\n  driver {driver}\n  ours   {ours}"
                    );
                }
            }
        }
    }
}

#[test]
fn scripts_read_back() {
    for script in scripts() {
        assert_eq!(script::parse(&script.to_string()).unwrap(), [script]);
    }
}

#[test]
fn the_document_tells_every_difference_and_no_other() {
    let text = include_str!("../../../../docs/differences.md");
    let (_, measured) = text.split_once("\n## Measured\n").unwrap();
    let (measured, _) = measured.split_once("\n## ").unwrap();
    let told: Vec<&str> = measured
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let known: Vec<&str> = DIFFERENCES
        .iter()
        .map(|difference| difference.name)
        .collect();
    assert_eq!(told, known);
}
