//! The kernel engine on the real driver: everything in one boot of a user-mode Linux.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy knows tests by their attribute, and helpers of tests have none"
)]

#[path = "driver/reading.rs"]
mod reading;
#[path = "driver/rig.rs"]
mod rig;
#[path = "driver/steering.rs"]
mod steering;

use oxbond_lab::uml::Uml;

/// What is played inside, each in a network namespace of its own.
const PLAYS: &[(&str, fn())] = &[
    ("500 bonds", reading::many),
    ("nothing is no bond", reading::nothing),
    ("every mode is read as /proc shows it", reading::every_mode),
    (
        "a bond comes and goes",
        steering::comes_and_goes_without_a_trace,
    ),
    ("every option", steering::every_option_in_every_mode),
    (
        "every mode to every other",
        steering::every_mode_to_every_other,
    ),
    (
        "interruptions",
        steering::what_needs_it_interrupts_and_no_more,
    ),
    ("failures", steering::a_failure_leaves_all_as_before),
    ("beside another", steering::beside_another_of_its_name),
    ("somebody else's bond", steering::somebody_elses_bond),
    ("without privilege", steering::nobody_in_particular),
];

#[test]
fn inside_all_plays() {
    let load = |modules: &[&str]| {
        let status = std::process::Command::new("/run/modprobe")
            .arg("-a")
            .args(modules)
            .status();
        assert!(status.is_ok_and(|status| status.success()), "{modules:?}");
    };
    load(&["ipv6", "veth", "dummy", "8021q", "bridge"]);
    steering::driver_missing();
    steering::driver_loaded_on_demand();
    for (name, play) in PLAYS {
        let begun = std::time::Instant::now();
        println!("-- {name}");
        rig::in_own_namespace(*play);
        println!("-- {:?}", begun.elapsed());
    }
    println!("-- all played");
}

#[test]
fn guest_root_the_engine_on_the_real_driver() {
    let said = Uml::new()
        .run_test("inside_all_plays")
        .unwrap_or_else(|e| panic!("{e:#}"));
    println!("{said}");
    assert!(said.contains("-- all played"), "{said}");
}
