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

use oxbond_lab::uml::Uml;

/// What is played inside, by name.
const PLAYS: &[(&str, fn())] = &[
    ("every mode is read as /proc shows it", reading::every_mode),
    ("nothing is no bond", reading::nothing),
    ("500 bonds", reading::many),
];

#[test]
fn inside_all_plays() {
    let modules = std::process::Command::new("/run/modprobe")
        .args(["-a", "ipv6", "bonding", "veth", "dummy", "8021q"])
        .status();
    assert!(modules.is_ok_and(|status| status.success()));
    for (name, play) in PLAYS {
        println!("-- {name}");
        let begun = std::time::Instant::now();
        rig::in_own_namespace(*play);
        println!("-- {:?}", begun.elapsed());
    }
    println!("-- all played");
}

#[test]
fn guest_root_the_engine_on_the_real_driver() {
    let me = std::env::current_exe().unwrap();
    let command = [
        me.as_os_str(),
        "inside_all_plays".as_ref(),
        "--nocapture".as_ref(),
    ];
    let outcome = Uml::new().run(command).unwrap_or_else(|e| panic!("{e:#}"));
    let said = String::from_utf8_lossy(&outcome.stdout);
    let errors = String::from_utf8_lossy(&outcome.stderr);
    println!("{said}");
    assert!(outcome.code == 0, "the guest failed:\n{said}{errors}");
    assert!(said.contains("-- all played"), "{said}{errors}");
}
