//! `oxbond plan` and `oxbond apply`: whole networks, from files of every dialect.

use std::path::PathBuf;
use std::time::Duration;

use oxbond_lab::machine::PATIENCE;
use oxbond_lab::proc::wait_until;
use serde_json::Value;

use crate::administration::settled;
use crate::common::{PEER, Subject, on_driver};
use crate::loss::DRAIN;

/// Two ports, one switch, one peer; IPv6 addresses of the host are usable at once.
pub(crate) fn hasty() -> Subject {
    let subject = Subject::switched();
    for name in ["default", "all", "enp3s0", "enp4s0"] {
        let key = format!("net.ipv6.conf.{name}.accept_dad");
        subject.host().sysctl(&key, "0").unwrap();
    }
    subject
}

/// Writes a file to be applied.
pub(crate) fn file(subject: &Subject, name: &str, text: &str) -> PathBuf {
    let file = subject.run_dir().join("etc").join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, text).unwrap();
    file
}

/// Everything is as it was, once the kernel has settled.
pub(crate) fn as_before(subject: &Subject, before: &Value) {
    wait_until(PATIENCE, "everything is as before", || {
        settled(subject) == *before
    })
    .unwrap_or_else(|e| panic!("{e}\nbefore {before:#}\nafter {:#}", settled(subject)));
}

/// What an apply of this file wrote, by the daemon's log.
fn writes(subject: &Subject, words: &str) -> u64 {
    subject.must(words);
    let log = subject.daemon().unwrap().stderr();
    let line = log.lines().rfind(|line| line.contains("applied: "));
    let line = line.expect("the daemon counts its writes");
    let count = line.split("applied: ").nth(1).unwrap();
    count.split(' ').next().unwrap().parse().unwrap()
}

/// A bond with a bridge on it, as netplan says it.
fn bridged(bond: &str, bridge: &str) -> String {
    format!(
        "network:\n  version: 2\n  ethernets:\n    enp3s0: {{}}\n    enp4s0: {{}}\n  bonds:\n    bond0:\n      \
         interfaces: [enp3s0, enp4s0]\n      parameters: {{mode: active-backup, mii-monitor-interval: 100}}\n{bond}  \
         bridges:\n    vmbr0:\n      interfaces: [bond0]\n      addresses: [10.77.0.2/24, \"fd77::2/64\"]\n{bridge}"
    )
}

const PLAIN: &str = "      parameters: {stp: false, forward-delay: 0}\n";

#[test]
fn root_a_bridge_on_a_bond_is_applied_once_and_then_nothing_is_written() {
    let mut subject = hasty();
    let before = settled(&subject);
    let gateway = format!(
        "{PLAIN}      routes:\n        - {{to: default, via: 10.77.0.1}}\n        \
         - {{to: 198.51.100.0/24, via: 10.77.0.9, metric: 50, table: 100}}\n        \
         - {{to: 203.0.113.0/24, via: 192.0.2.1, on-link: true}}\n"
    );
    let netplan = file(&subject, "50.yaml", &bridged("", &gateway));
    let apply = format!("apply --from netplan {}", netplan.display());
    let plan = format!("plan --from netplan {}", netplan.display());
    let output = subject.oxbond(&plan).unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(7), "there is a difference");
    for mention in [
        "bond0: create bond with enp3s0, enp4s0",
        "vmbr0: create bridge",
        "bond0: make it a port of vmbr0",
        "vmbr0: add address 10.77.0.2/24",
        "vmbr0: set gateway 10.77.0.1",
        "no interruption",
    ] {
        assert!(said.contains(mention), "{mention}: {said}");
    }
    assert_eq!(settled(&subject), before, "a plan changes nothing");

    assert!(writes(&subject, &apply) > 0);
    subject.wait_peer(&PEER).unwrap();
    let routes = |words: &str| subject.host().execute("ip", words).unwrap();
    assert!(routes("route show default").contains("via 10.77.0.1 dev vmbr0"));
    assert!(routes("route show table 100").contains("198.51.100.0/24 via 10.77.0.9 dev vmbr0"));
    assert!(routes("route show 203.0.113.0/24").contains("via 192.0.2.1 dev vmbr0"));
    wait_until(
        PATIENCE,
        "the active port takes all addresses, as the bridge asks",
        || subject.host().link("enp3s0").unwrap()["promiscuity"] != 0,
    )
    .unwrap();
    let first = settled(&subject);
    assert_eq!(writes(&subject, &apply), 0);
    assert_eq!(subject.oxbond(&plan).unwrap().status.code(), Some(0));
    as_before(&subject, &first);

    // Kept across a failover and across daemons.
    subject.rig.cut(0).unwrap();
    subject.wait_active("bond0", "enp4s0").unwrap();
    subject.wait_peer(&PEER).unwrap();
    subject.rig.restore(0).unwrap();
    subject.kill_daemon().unwrap();
    subject.start_daemon().unwrap();
    assert_eq!(writes(&subject, &apply), 0);
    subject.wait_peer(&PEER).unwrap();

    // What no file names any more goes.
    let empty = file(&subject, "60.yaml", "network: {version: 2}\n");
    subject.must(&format!("apply --from netplan {}", empty.display()));
    as_before(&subject, &before);
}

#[test]
fn root_each_thing_is_changed_alone_and_read_back() {
    let subject = hasty();
    let with = |settings: &str| bridged(settings, PLAIN);
    let changes = [
        (with(""), "vmbr0: bridge created"),
        (with("      mtu: 1400\n"), "MTU is now 1400"),
        (
            with("      mtu: 1400\n      macaddress: 02:00:5e:00:53:77\n"),
            "address is now 02:00:5e:00:53:77",
        ),
        (
            with("      mtu: 1400\n").replace("active-backup", "balance-xor"),
            "mode is now balance-xor",
        ),
        (
            with("").replace("10.77.0.2/24", "10.77.0.7/24"),
            "address 10.77.0.2/24 removed",
        ),
        (
            with("").replace("forward-delay: 0", "forward-delay: 4"),
            "forward delay 4 s set",
        ),
        (
            with("").replace("[enp3s0, enp4s0]", "[enp3s0]"),
            "enp4s0 was taken out",
        ),
        (
            with("").replace("addresses:", "mtu: 1300\n      addresses:"),
            "vmbr0: MTU 1300 set",
        ),
        (
            with("").replace("addresses:", "accept-ra: false\n      addresses:"),
            "vmbr0: routers' advertisements are ignored",
        ),
        (
            with("").replace("addresses:", "accept-ra: true\n      addresses:"),
            "vmbr0: routers' advertisements are heard",
        ),
        (
            with("").replace("interfaces: [bond0]", "interfaces: []"),
            "bond0: was taken out of vmbr0",
        ),
    ];
    for (text, mention) in changes {
        let netplan = file(&subject, "50.yaml", &text);
        let said = subject.must(&format!("apply --from netplan {}", netplan.display()));
        assert!(said.contains(mention), "{mention}: {said}");
        let plan = format!("plan --from netplan {}", netplan.display());
        let output = subject.oxbond(&plan).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}{output:?}");
    }
}

/// Longest time that moving the only address may cut the machine off, on a machine as busy as ours are; in user-mode Linux
/// several tests share one processor.
fn some_milliseconds() -> Duration {
    match on_driver() {
        true => Duration::from_secs(2),
        false => Duration::from_millis(500),
    }
}

/// A bond that takes over the only address.
const HEIR: &str = "[bond.bond0]\nmode = \"active-backup\"\nports = [\"enp3s0\", \"enp4s0\"]\n\
                    address = [\"10.77.0.2/24\"]\ngateway = \"10.77.0.1\"\n";

/// Gives the first port the machine's only address, and a route that only a fool would forget.
pub(crate) fn remote(subject: &Subject) {
    let host = subject.host();
    host.ip("address add 10.77.0.2/24 brd + dev enp3s0 label enp3s0:x")
        .unwrap();
    host.ip("route add default via 10.77.0.1 dev enp3s0 metric 77 mtu 1400 proto 42")
        .unwrap();
    subject.wait_peer(&PEER[..1]).unwrap();
}

#[test]
fn metered_root_the_only_address_moves_to_the_bond_and_back() {
    let subject = hasty();
    remote(&subject);
    let before = settled(&subject);
    // Without an heir the machine would be cut off.
    let heirless = file(
        &subject,
        "bond0.toml",
        "[bond.bond0]\nmode = \"active-backup\"\nports = [\"enp3s0\", \"enp4s0\"]\n",
    );
    let said = subject.fails(&format!("apply {}", heirless.display()), 3);
    assert!(
        said.contains("enp3s0 is in use") && said.contains("cut off"),
        "{said}"
    );
    as_before(&subject, &before);

    let toml = file(&subject, "bond0.toml", HEIR);
    let plan = subject.oxbond(&format!("plan {}", toml.display())).unwrap();
    let said = String::from_utf8(plan.stdout).unwrap();
    for mention in [
        "enp3s0: take off address 10.77.0.2/24",
        "interrupts: what goes over enp3s0 rests for some milliseconds, until bond0 has its addresses",
        "bond0: set gateway 10.77.0.1",
    ] {
        assert!(said.contains(mention), "{mention}: {said}");
    }
    let meter = subject.traffic(0).rate(500).both_ways().start().unwrap();
    meter.wait_flowing(200, PATIENCE).unwrap();
    subject.must(&format!("apply {}", toml.display()));
    meter.wait_flowing(200, PATIENCE).unwrap();
    let report = meter.stop(DRAIN).unwrap();
    let gap = report.there.longest_gap.length;
    println!("there: {gap:?} without a packet");
    assert!(gap < some_milliseconds(), "{gap:?}");
    let addresses = subject.host().execute("ip", "-4 address show").unwrap();
    assert_eq!(addresses.matches("10.77.0.2/24").count(), 1, "{addresses}");

    std::fs::remove_file(&toml).unwrap();
    let meter = subject.traffic(0).rate(500).both_ways().start().unwrap();
    meter.wait_flowing(200, PATIENCE).unwrap();
    subject.must(&format!("apply {}", toml.parent().unwrap().display()));
    meter.wait_flowing(200, PATIENCE).unwrap();
    let gap = meter.stop(DRAIN).unwrap().there.longest_gap.length;
    println!("back: {gap:?} without a packet");
    assert!(gap < some_milliseconds(), "{gap:?}");
    as_before(&subject, &before);

    // By hand as well.
    let toml = file(&subject, "bond0.toml", HEIR);
    subject.must(&format!("apply {}", toml.display()));
    let said = subject.must("down bond0");
    assert!(said.contains("address 10.77.0.2/24 given back"), "{said}");
    as_before(&subject, &before);
}

#[test]
fn root_a_failure_in_the_middle_leaves_everything_as_it_was() {
    let subject = hasty();
    remote(&subject);
    let before = settled(&subject);
    let head = "network:\n  version: 2\n  ethernets: {enp3s0: {}, enp4s0: {}}\n  bonds:\n    bond0:\n      interfaces: \
                [enp3s0, enp4s0]\n      parameters: {mode: active-backup, mii-monitor-interval: 100}\n      addresses: \
                [10.77.0.2/24]\n";
    let cases = [
        // This kernel has no VLAN devices; where it has, the name is too much.
        (
            format!(
                "{head}  vlans:\n    bond0.5: {{id: 5, link: bond0}}\n    vlan6: {{id: 5, link: bond0}}\n"
            ),
            5,
            "create VLAN device with id 5 on bond0",
        ),
        // The last step of all: out of reach.
        (
            format!("{head}      routes: [{{to: 198.51.100.0/24, via: 192.0.2.1}}]\n"),
            5,
            "bond0: set route 198.51.100.0/24 via 192.0.2.1",
        ),
    ];
    for (text, code, mention) in cases {
        let netplan = file(&subject, "50.yaml", &text);
        let said = subject.fails(&format!("apply --from netplan {}", netplan.display()), code);
        assert!(said.contains(mention), "{mention}: {said}");
        assert!(!said.contains("not everything"), "{said}");
        as_before(&subject, &before);
        subject.wait_peer(&PEER[..1]).unwrap();
    }
    let toml = format!("{HEIR}[bridge.vmbr0]\nports = [\"bond0\", \"tap7\"]\n");
    let toml = file(&subject, "bond0.toml", &toml);
    let said = subject.fails(&format!("apply {}", toml.display()), 3);
    assert!(said.contains("port tap7 of the bridge vmbr0"), "{said}");
    as_before(&subject, &before);
}

#[test]
fn root_what_somebody_else_made_is_used_and_never_deleted() {
    let subject = hasty();
    let host = subject.host();
    // As a hypervisor has it before there is a bond: the port in a bridge, which has the address and guests.
    host.ip("link add vmbr0 type bridge stp_state 0 forward_delay 0")
        .unwrap();
    host.ip("link add tap9 type veth peer name guest9").unwrap();
    for words in [
        "link set tap9 master vmbr0",
        "link set enp3s0 master vmbr0",
        "link set vmbr0 up",
        "link set tap9 up",
        "link set guest9 up",
        "address add 10.77.0.2/24 dev vmbr0",
        "address add 10.77.9.9/24 dev vmbr0",
    ] {
        host.ip(words).unwrap();
    }
    subject.wait_peer(&PEER[..1]).unwrap();
    let master = |port: &str| host.link(port).unwrap()["master"].clone();
    let interfaces = "auto enp3s0\niface enp3s0 inet manual\n\nauto enp4s0\niface enp4s0 inet manual\n\nauto bond0\n\
                      iface bond0 inet manual\n    bond-slaves enp3s0 enp4s0\n    bond-miimon 100\n    bond-mode active-backup\n\n\
                      auto vmbr0\niface vmbr0 inet static\n    address 10.77.0.2/24\n    bridge-ports bond0\n    bridge-stp off\n    \
                      bridge-fd 0\n";
    let interfaces = file(&subject, "interfaces", interfaces);
    let apply = format!("apply --from ifupdown2 {}", interfaces.display());
    subject.must(&apply);
    assert_eq!(
        [master("bond0"), master("tap9")],
        ["vmbr0", "vmbr0"].map(Value::from)
    );
    subject.wait_peer(&PEER[..1]).unwrap();
    assert_eq!(writes(&subject, &apply), 0);

    let empty = file(&subject, "interfaces", "auto lo\niface lo inet loopback\n");
    subject.must(&format!("apply --from ifupdown2 {}", empty.display()));
    assert_eq!(
        [master("enp3s0"), master("tap9")],
        ["vmbr0", "vmbr0"].map(Value::from),
        "the port is where it was"
    );
    let addresses = host.execute("ip", "-4 address show vmbr0").unwrap();
    for address in ["10.77.0.2/24", "10.77.9.9/24"] {
        assert!(addresses.contains(address), "{addresses}");
    }
    subject.wait_peer(&PEER[..1]).unwrap();
    // A bridge of the same name as a bond is in the way.
    let toml = file(
        &subject,
        "bond0.toml",
        "[bond.vmbr0]\nmode = \"active-backup\"\nports = [\"enp4s0\"]\n",
    );
    let said = subject.fails(&format!("apply {}", toml.display()), 3);
    assert!(
        said.contains("vmbr0") && said.contains("did not make"),
        "{said}"
    );
}
