//! The tests of this file under Debian's kernels: 6.1 (clsact, veth) and 6.12 (tcx, netkit).

use std::time::Duration;

use oxbond_lab::guest::{Guest, Kernel};

/// Emulated, a test takes some ten times as long.
const PATIENCE: Duration = Duration::from_secs(420);

/// Runs the tests whose names contain one of `names` in a guest.
fn run(kernel: Kernel, front: &str, hook: &str, names: &[&str]) {
    let this = std::env::current_exe().expect("a test knows its own file");
    let command = [this.to_str().expect("a path in UTF-8"), "--test-threads=1"];
    let outcome = Guest::new(kernel)
        .memory_mib(2048)
        .timeout(PATIENCE)
        .env("OXBOND_TEST_FRONT", front)
        .env("OXBOND_TEST_HOOK", hook)
        .run(command.iter().chain(names))
        .unwrap_or_else(|e| panic!("{e:#}"));
    let said = String::from_utf8_lossy(&outcome.stdout);
    assert!(
        outcome.code == 0 && !said.contains(" 0 passed"),
        "{said}{}",
        String::from_utf8_lossy(&outcome.stderr)
    );
}

/// What depends on the kernel: the front device, the hooks, what can stand on the bond, and that failover needs no daemon.
const NAMES: [&str; 4] = [
    "inside_",
    "frames::",
    "the_next_packet_leaves_a_dead_link",
    "a_killed_daemon_and_its_successor",
];

#[test]
fn guest_root_6_1() {
    run(Kernel::V6_1, "veth", "clsact", &NAMES);
}

#[test]
fn guest_root_6_12() {
    run(Kernel::V6_12, "netkit", "netkit", &NAMES);
}

/// `mac80211_hwsim` makes radios out of nothing.
const WIFI: &str = "
    modprobe mac80211_hwsim radios=1 || exit 90
    ip link add enp3s0 type veth peer name far
    export OXBOND_RUN_DIR=/run/oxbond-test
    $OXBOND daemon &
    until $OXBOND status >/dev/null 2>&1; do sleep 0.2; done
    $OXBOND up bond0 --mode active-backup --port enp3s0 --port wlan0
    code=$?
    ip link show bond0 && exit 91
    exit $code";

#[test]
fn guest_root_wifi_is_refused() {
    let outcome = Guest::new(Kernel::V6_12)
        .timeout(PATIENCE)
        .env("OXBOND", env!("CARGO_BIN_EXE_oxbond"))
        .run(["sh", "-c", WIFI])
        .unwrap_or_else(|e| panic!("{e:#}"));
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert_eq!(outcome.code, 3, "{said}");
    assert!(said.contains("wlan0 is Wi-Fi"), "{said}");
}
