//! How the program is linked.

/// A debug build is linked to a fixed address: else its start faults 677 pages in instead of 299, to relocate them, and tests
/// start it some thousand times, also in user-mode Linux, where a fault is dear.
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_debug = std::env::var("PROFILE").is_ok_and(|profile| profile == "debug");
    if is_debug && std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
