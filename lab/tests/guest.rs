//! Guests boot, carry a command's output and exit code, and have what the bond's tests need of each kernel.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use oxbond_lab::guest::{Accelerator, Guest, Kernel, Outcome};
use oxbond_lab::rig::{Plan, Topology};
use oxbond_lab::traffic::Traffic;
use oxbond_lab::uml::Uml;

fn shell(guest: &Guest, script: &str) -> Outcome {
    guest
        .run(["sh", "-c", script])
        .unwrap_or_else(|error| panic!("{error:#}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Boots a kernel and checks what every guest has.
fn boots(kernel: Kernel, release: &str) {
    let guest = Guest::new(kernel).env("GREETING", "it's me");
    let got = shell(
        &guest,
        r#"uname -r; pwd; echo "$GREETING"; id -u; echo aside >&2; touch /etc/oxbond-was-here; exit 7"#,
    );
    let said = text(&got.stdout);
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].starts_with(release), "{said}");
    let here = std::env::current_dir().unwrap_or_default();
    assert_eq!(
        lines[1..],
        [here.to_string_lossy().as_ref(), "it's me", "0"]
    );
    assert_eq!((text(&got.stderr).as_str(), got.code), ("aside\n", 7));
    assert!(
        !std::path::Path::new("/etc/oxbond-was-here").exists(),
        "the host's files are out of the guest's reach"
    );
}

#[test]
fn guest_root_boots_6_1() {
    boots(Kernel::V6_1, "6.1.");
}

#[test]
fn guest_root_boots_6_12() {
    boots(Kernel::V6_12, "6.12.");
}

/// The devices of a bond's tests, made one by one; what the kernel does not have is printed.
const DEVICES: &str = "
    try() { name=$1; shift; if \"$@\" >/dev/null 2>&1; then echo \"+$name\"; else echo \"-$name\"; fi; }
    try veth ip link add v0 type veth peer name v1
    try dummy ip link add d0 type dummy
    try bridge ip link add br0 type bridge vlan_filtering 1
    try vlan ip link add link v0 name v0.5 type vlan id 5
    try macvlan ip link add link v0 name m0 type macvlan
    try clsact tc qdisc add dev v0 clsact
    try bond ip link add bond0 type bond
    try netkit ip link add type netkit
    try btf test -r /sys/kernel/btf/vmlinux
    try bpffs mkdir /sys/fs/bpf/here
    try netns unshare -n true
";

#[test]
fn guest_root_netkit_is_in_6_12_and_not_in_6_1() {
    let common = "+veth\n+dummy\n+bridge\n+vlan\n+macvlan\n+clsact\n+bond\n";
    let rest = "+btf\n+bpffs\n+netns\n";
    for (kernel, netkit) in [(Kernel::V6_1, "-netkit\n"), (Kernel::V6_12, "+netkit\n")] {
        let got = shell(&Guest::new(kernel), DEVICES);
        assert_eq!(
            text(&got.stdout),
            format!("{common}{netkit}{rest}"),
            "{kernel}"
        );
    }
}

#[test]
fn guest_root_runs_what_was_built_here() {
    let me = std::env::current_exe().unwrap();
    for accelerator in [Accelerator::Tcg, Accelerator::Icount] {
        let command = [
            me.as_os_str(),
            "--exact".as_ref(),
            "root_rig_carries_traffic".as_ref(),
        ];
        let got = Guest::new(Kernel::V6_1)
            .accelerator(accelerator)
            .run(command)
            .unwrap();
        assert_eq!(got.code, 0, "{}{}", text(&got.stdout), text(&got.stderr));
        assert!(
            text(&got.stdout).contains("1 passed"),
            "{}",
            text(&got.stdout)
        );
    }
}

/// Run here and, by the test above, in a guest.
#[test]
fn root_rig_carries_traffic() {
    for topology in [Topology::OneSwitch, Topology::Cabled] {
        let rig = Plan::new(topology, &["p0"]).build().unwrap();
        rig.add_address(&rig.host, "p0", "10.77.0.2/24").unwrap();
        if topology == Topology::Cabled {
            rig.add_address(&rig.peer, "p0", "10.77.0.1/24").unwrap();
        }
        let [host, peer]: [IpAddr; 2] =
            ["10.77.0.2", "10.77.0.1"].map(|text| text.parse().unwrap());
        let traffic = Traffic::new((&rig.host, host), (&rig.peer, peer))
            .rate(500)
            .both_ways();
        let report = traffic.run(Duration::from_millis(500)).unwrap();
        assert_eq!(
            (report.lost(), report.refused()),
            (0, 0),
            "{topology:?}: {report}"
        );
    }
}

#[test]
fn guest_root_failures_are_told() {
    let crash = Guest::new(Kernel::V6_1)
        .run(["sh", "-c", "echo c > /proc/sysrq-trigger"])
        .unwrap_err();
    assert!(crash.to_string().contains("Kernel panic"), "{crash:#}");
    let late = Guest::new(Kernel::V6_1)
        .timeout(Duration::from_millis(500))
        .run(["true"])
        .unwrap_err();
    assert!(
        late.to_string().contains("not done within 500ms"),
        "{late:#}"
    );
}

#[test]
fn guest_root_command_line_passes_output_and_code_through() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oxbond-guest"));
    command.args([
        "--kernel",
        "6.12",
        "--mem",
        "512",
        "--env",
        "A=b",
        "--",
        "sh",
        "-c",
        "echo $A; seq 200000; exit 3",
    ]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    assert!(
        text(&output.stdout) == format!("b\n{expected}"),
        "all of the output, in order"
    );
    let refused = Command::new(env!("CARGO_BIN_EXE_oxbond-guest"))
        .args(["--kernel", "5.4", "--", "true"])
        .output();
    let refused = refused.unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text(&refused.stderr).contains("use 6.1 or 6.12"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn guest_root_user_mode_linux_has_the_driver() {
    let script = format!(
        "{DEVICES} ip link set d0 master bond0; grep Interface /proc/net/bonding/bond0; \
        touch /etc/oxbond-was-here; echo aside >&2; exit 7"
    );
    let got = Uml::new().run(["sh", "-c", &script]).unwrap();
    let expected =
        "+veth\n+dummy\n+bridge\n+vlan\n+macvlan\n+clsact\n+bond\n-netkit\n-btf\n-bpffs\n+netns\n";
    let said = text(&got.stdout);
    assert!(
        said.starts_with("+veth\n+dummy\n+bridge\n+vlan\n+macvlan\n"),
        "{said}"
    );
    assert_eq!(said, format!("{expected}Slave Interface: d0\n"));
    assert!(
        text(&got.stderr).ends_with("aside\n"),
        "{}",
        text(&got.stderr)
    );
    assert_eq!(got.code, 7);
    assert!(!std::path::Path::new("/etc/oxbond-was-here").exists());
    let late = Uml::new()
        .timeout(Duration::from_millis(300))
        .run(["true"])
        .unwrap_err();
    assert!(
        late.to_string().contains("not done within 300ms"),
        "{late:#}"
    );
}
