//! The tests of this file under Debian's kernels: 6.1 (clsact, veth) and 6.12 (tcx, netkit).

use std::path::{Path, PathBuf};
use std::time::Duration;

use oxbond_lab::guest::{Accelerator, Guest, Kernel};

/// Emulated, a test takes some ten times as long.
const PATIENCE: Duration = Duration::from_secs(900);

/// Runs the tests of a test binary whose names contain one of `names` in a guest.
fn run(kernel: Kernel, binary: &Path, names: &[&str], front: &str, hook: &str) {
    let command = [
        binary.to_str().expect("a path in UTF-8"),
        "--test-threads=1",
    ];
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

fn this_binary() -> PathBuf {
    std::env::current_exe().expect("a test knows its own file")
}

/// One of the data path's own test binaries: built beside this binary when the workspace's tests are.
fn datapath_binary(name: &str) -> PathBuf {
    let this = this_binary();
    let dir = this.parent().expect("a file lies in a directory");
    let entries = std::fs::read_dir(dir).expect("the directory of our own file");
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.starts_with(name) && path.extension().is_none()
        })
        .max_by_key(|path| path.metadata().and_then(|data| data.modified()).ok())
        .expect("build all tests first: cargo test --workspace --no-run")
}

/// What depends on the kernel: the front device, the hooks, what can stand on the bond, and that a daemon can be done without.
/// Nothing that counts packets at a rate: emulated, the kernel itself drops some.
const NAMES: [&str; 4] = [
    "inside::",
    "frames::",
    "the_next_packet_leaves_a_dead_link",
    "a_killed_daemon_is_followed_by_one_that_writes_nothing",
];

#[test]
fn guest_root_6_1() {
    run(Kernel::V6_1, &this_binary(), &NAMES, "veth", "clsact");
}

#[test]
fn guest_root_6_12() {
    run(Kernel::V6_12, &this_binary(), &NAMES, "netkit", "netkit");
}

/// Our LACP and the driver's, and our events and status and those of a bond on the driver.
const BESIDE_THE_DRIVER: [&str; 2] = ["driver::", "alike::"];

#[test]
fn guest_root_driver_6_1() {
    run(
        Kernel::V6_1,
        &this_binary(),
        &BESIDE_THE_DRIVER,
        "veth",
        "clsact",
    );
}

#[test]
fn guest_root_driver_6_12() {
    run(
        Kernel::V6_12,
        &this_binary(),
        &BESIDE_THE_DRIVER,
        "netkit",
        "netkit",
    );
}

/// What the tests run: read with their libraries, and modules loaded.
const READ_AHEAD: &str = "for module in bonding veth bridge 8021q sch_ingress cls_u32 act_mirred; do modprobe $module; done; \
    (ip -d link; ip -6 route; ip -j address; tc qdisc; ping -c 1 127.0.0.1; umount -V) >/dev/null 2>&1";

/// Bonds moved between the engines, and what asks by the clock, in time that counts instructions: once each way, see
/// `docs/operation.md` for more. Without those whose names contain one of `left_out`: each takes some 25 s.
fn run_adoption(kernel: Kernel, left_out: &[&str]) {
    let skip = |name: &&str| format!(" --skip {name}");
    let skipped: String = left_out.iter().map(skip).collect();
    let binary = this_binary();
    let command = format!(
        "{READ_AHEAD}; exec {} --test-threads=1 --nocapture adoption:: asking::{skipped}",
        binary.display(),
    );
    let outcome = Guest::new(kernel)
        .accelerator(Accelerator::Icount)
        .read_ahead(&binary)
        .read_ahead(env!("CARGO_BIN_EXE_oxbond"))
        .memory_mib(2048)
        .timeout(PATIENCE)
        .env("OXBOND_MOVES", "1")
        .run(["sh", "-c", &command])
        .unwrap_or_else(|e| panic!("{e:#}"));
    let said = String::from_utf8_lossy(&outcome.stdout);
    let figures = String::from_utf8_lossy(&outcome.stderr);
    eprintln!("{figures}");
    assert!(
        outcome.code == 0 && !said.contains(" 0 passed"),
        "{said}{figures}"
    );
}

#[test]
fn guest_root_adoption_6_1() {
    let others = ["xor", "broadcast", "lb", "_address_", "slow", "asking::"];
    run_adoption(Kernel::V6_1, &others);
}

#[test]
fn guest_root_adoption_6_12() {
    let others = ["rr", "xor", "broadcast", "tlb", "_follows", "slow"];
    run_adoption(Kernel::V6_12, &others);
}

#[test]
fn guest_root_data_path_6_1() {
    let names = ["inside_veth_"];
    let binary = datapath_binary("traffic-");
    run(Kernel::V6_1, &binary, &names, "veth", "clsact");
    let binary = datapath_binary("standing-");
    run(Kernel::V6_1, &binary, &["root_"], "veth", "clsact");
}

#[test]
fn guest_root_data_path_6_12() {
    let names = ["inside_"];
    let binary = datapath_binary("traffic-");
    run(Kernel::V6_12, &binary, &names, "netkit", "netkit");
    let binary = datapath_binary("standing-");
    run(Kernel::V6_12, &binary, &["root_"], "netkit", "netkit");
}

/// What is only in a machine's first network namespace: radios, which `mac80211_hwsim` makes out of nothing, and a bond that
/// the driver's module makes by itself, which ours replaces.
const FIRST_NAMESPACE: &str = r#"
    modprobe mac80211_hwsim radios=1 || exit 90
    ip link add enp3s0 type veth peer name far
    export OXBOND_RUN_DIR=/run/oxbond-test
    $OXBOND daemon &
    # Which, unlike status, needs a daemon.
    until $OXBOND rollback >/dev/null 2>&1; [ $? != 6 ]; do sleep 0.2; done
    up="$OXBOND up bond0 --engine ebpf --mode active-backup --port enp3s0"
    $up --port wlan0
    [ $? = 3 ] || exit 91
    ip link show bond0 && exit 92

    of_driver() {
        ip -d link show bond0 | grep -q ' bond mode '
    }
    modprobe bonding max_bonds=1
    of_driver || exit 93
    index=$(cat /sys/class/net/bond0/ifindex)
    # What is refused touches it not, and what fails later leaves one like it.
    $up --port wlan0 && exit 94
    [ $index = "$(cat /sys/class/net/bond0/ifindex)" ] || exit 95
    $up --gateway 192.0.2.1 && exit 96
    of_driver || exit 97
    $up || exit 98
    of_driver && exit 99
    $OXBOND status bond0 || exit 100
    $OXBOND down bond0"#;

#[test]
fn guest_root_in_the_first_namespace() {
    let outcome = Guest::new(Kernel::V6_12)
        .timeout(PATIENCE)
        .env("OXBOND", env!("CARGO_BIN_EXE_oxbond"))
        .run(["sh", "-c", FIRST_NAMESPACE])
        .unwrap_or_else(|e| panic!("{e:#}"));
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert_eq!(outcome.code, 0, "{said}");
    assert!(said.contains("wlan0 is Wi-Fi"), "{said}");
}
