//! Our bond beside the kernel's: the same scripts on both, compared field by field.
//!
//! ```text
//!   scripts/*.txt, generate ─► driver (Linux 6.1 in QEMU) ─► what was seen, and when ─┐
//!                                                                                     ├─► compare ─► differences
//!                            ─► ours (the core, in virtual time, at those times) ─────┤
//!                            ─► program (daemon and `oxbond ip`, in real time) ───────┘
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
mod program;
#[path = "../../src/render/proc.rs"]
mod render;
mod rtnl;
mod script;
mod wires;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::OnceLock;

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
        include_str!("scripts/monitor.txt"),
        include_str!("scripts/options.txt"),
        include_str!("scripts/spread.txt"),
    ];
    let written = files.iter().flat_map(|text| script::parse(text).unwrap());
    written.chain(generate::scripts(SEEDS)).collect()
}

/// Scripts made from seeds.
const SEEDS: u64 = 32;

/// An option that came after the driver of this kernel; some were ported back.
fn is_newer(field: &str) -> bool {
    let option = field.strip_prefix("option/").and_then(find);
    option.is_some_and(|spec| spec.since > Some(driver::SERIES))
}

/// What the core alone has nothing to do with, and options that the driver does not have.
fn is_left_out(field: &str, driver: &str, _ours: &str) -> bool {
    field == "mtu" || field.ends_with("/mtu") || driver.is_empty() && is_newer(field)
}

#[test]
fn inside_driver_plays() {
    driver::play_here(&scripts());
}

/// What the driver showed; one boot serves all tests.
fn driver() -> &'static [Played] {
    static PLAYED: OnceLock<Vec<Played>> = OnceLock::new();
    PLAYED.get_or_init(|| driver::play_in_guest().unwrap_or_else(|e| panic!("{e:#}")))
}

fn by_driver(script: &Script) -> &'static Played {
    let played = driver().iter().find(|played| played.script == script.name);
    played.unwrap_or_else(|| panic!("the driver has not played {}", script.name))
}

#[test]
fn guest_root_driver_agrees_with_the_core() {
    let (mut report, mut met) = (String::new(), BTreeSet::new());
    for script in scripts().iter().filter(|script| !script.has_station()) {
        let theirs = by_driver(script);
        let times: Vec<u64> = theirs.steps.iter().map(|(at, _)| *at).collect();
        compare(
            script,
            theirs,
            &ours::play(script, &times),
            is_left_out,
            &mut met,
            &mut report,
        );
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

/// Scripts that the whole program plays too, beside those with a station: of each kind some, none with delays, which this
/// machine may stretch.
const BY_THE_PROGRAM: [&str; 20] = [
    "active-backup-failover-and-return",
    "active-backup-primary-always",
    "active-backup-priorities",
    "active-backup-active-slave-is-obeyed",
    "active-backup-active-slave-refused-when-down",
    "active-backup-all-links-lost-and-back",
    "active-backup-remove-the-active-port",
    "address-none",
    "address-fail-over-mac-active",
    "address-fail-over-mac-follow",
    "mtu-of-ports-follows",
    "rr-shares",
    "rr-link-lost-of-two",
    "broadcast-copies",
    "xor-layer3-4",
    "xor-link-lost",
    "tlb-failover",
    "alb-primary-and-active-slave",
    "options-of-other-modes",
    "options-out-of-range",
];

#[test]
fn guest_root_driver_agrees_with_the_program() {
    let scripts = scripts();
    let (mut report, mut met) = (String::new(), BTreeSet::new());
    for name in BY_THE_PROGRAM {
        assert!(scripts.iter().any(|script| script.name == name), "{name}");
    }
    let chosen =
        |script: &&Script| script.has_station() || BY_THE_PROGRAM.contains(&script.name.as_str());
    let chosen: Vec<&Script> = scripts.iter().filter(chosen).collect();
    let play = |script: &&Script| {
        program::play(script).unwrap_or_else(|e| panic!("{}: {e:#}", script.name))
    };
    // Some at once: most of the time they wait.
    let ours: Vec<Played> = std::thread::scope(|scope| {
        let share = chosen.len().div_ceil(4);
        let threads: Vec<_> = chosen
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(play).collect::<Vec<_>>()))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    for (script, ours) in chosen.into_iter().zip(&ours) {
        // `ip` prints no numbers of errors, nor options that have no value.
        let left_out = |field: &str, driver: &str, ours: &str| {
            let words = driver.rsplit_once(" (").map(|(words, _)| words);
            let newer = is_newer(field) && (driver.is_empty() || ours.is_empty());
            // The program is not asked for the driver's defaults.
            let option = field.strip_prefix("option/").and_then(find);
            let own = option.is_some_and(|spec| spec.own_default.is_some());
            field == "result" && words == Some(ours) || newer || own
        };
        compare(
            script,
            by_driver(script),
            ours,
            left_out,
            &mut met,
            &mut report,
        );
    }
    assert!(report.is_empty(), "{report}");
}

/// Reports the fields in which two differ, but for known differences, which it notes.
fn compare(
    script: &Script,
    theirs: &Played,
    ours: &Played,
    left_out: impl Fn(&str, &str, &str) -> bool,
    met: &mut BTreeSet<&str>,
    report: &mut String,
) {
    for (step, ((at, driver), (_, ours))) in theirs.steps.iter().zip(&ours.steps).enumerate() {
        for (field, driver, ours) in driver.differing(ours) {
            if left_out(field, driver, ours) {
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
