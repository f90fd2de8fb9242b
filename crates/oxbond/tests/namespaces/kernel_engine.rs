//! What only bonds on the kernel's driver meet: an old driver, other programs that have their own idea of its ports, a daemon
//! that may not load programs. Run in a user-mode Linux by `both`.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use oxbond_lab::machine::PATIENCE;
use oxbond_lab::proc::{Process, wait_until};
use oxbond_lab::rig::{Plan, Topology};
use serde_json::Value;

use crate::administration::settled;
use crate::apply::as_before;
use crate::common::{Ending, PEER, PORTS, Subject};

/// Longest time in which a port that is taken again and again may be given up: 1 + 2 + 4 + 8 + 16 s, and as much again.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(62);

/// What is newer than Linux 6.1, each with its kernel.
#[test]
fn inside_options_newer_than_the_driver_are_told_with_the_kernel() {
    let subject = Subject::on(Plan::new(Topology::OneSwitch, &PORTS), "auto");
    let before = settled(&subject);
    let cases = [
        (
            "--mode 802.3ad --coupled-control off",
            "coupled_control",
            "6.9",
        ),
        (
            "--mode 802.3ad --broadcast-neighbor on",
            "broadcast_neighbor",
            "6.17",
        ),
        ("--mode 802.3ad --lacp-strict on", "lacp_strict", "7.2"),
        (
            "--mode 802.3ad --ad-select actor_port_prio",
            "ad_select",
            "6.18",
        ),
        (
            "--mode 802.3ad --max-ports 1",
            "max_ports",
            "no such option",
        ),
    ];
    for (options, option, since) in cases {
        let words = format!("up bond0 --port enp3s0 --engine kernel {options}");
        let said = subject.fails(&words, 2);
        for mention in [option, since, "--engine ebpf"] {
            assert!(said.contains(mention), "{words}\n{mention}: {said}");
        }
        as_before(&subject, &before);
        // Our own engine could, and this kernel cannot carry it: both are told.
        let words = format!("up bond0 --port enp3s0 --engine auto {options}");
        let said = subject.fails(&words, 5);
        for mention in [option, since, "the ebpf engine needs"] {
            assert!(said.contains(mention), "{words}\n{mention}: {said}");
        }
        as_before(&subject, &before);
    }
    let toml = subject.run_dir().join("bond0.toml");
    let text = "[bond.bond0]\nmode = \"802.3ad\"\nengine = \"kernel\"\nports = [\"enp3s0\"]\n\
                [bond.bond0.port.enp3s0]\nactor_port_prio = 7\n";
    std::fs::write(&toml, text).unwrap();
    let said = subject.fails(&format!("apply {}", toml.display()), 2);
    for mention in ["actor_port_prio", "enp3s0", "6.18"] {
        assert!(said.contains(mention), "{mention}: {said}");
    }
    as_before(&subject, &before);
    // Of a port that is to join, before anything is touched.
    subject.must("up bond0 --port enp3s0 --engine kernel");
    let said = subject.fails("add-port bond0 enp4s0 --weight 3", 2);
    for mention in ["weight 3 of enp4s0", "--engine ebpf"] {
        assert!(said.contains(mention), "{mention}: {said}");
    }
}

/// Under its new name a bond is still the daemon's, and nobody else's.
#[test]
fn inside_a_bond_that_another_program_renames_is_known_by_its_old_name() {
    let subject = Subject::switched();
    subject.up("--mode active-backup --miimon 100");
    for words in [
        "link set bond0 down",
        "link set bond0 name uplink",
        "link set uplink up",
    ] {
        subject.host().ip(words).unwrap();
    }
    for words in ["set uplink --miimon 50", "explain uplink"] {
        let said = subject.fails(words, 3);
        assert!(said.contains("under management as bond0"), "{said}");
    }
    subject.must("set bond0 --miimon 50");
    let told = || subject.daemon().unwrap().stderr();
    wait_until(PATIENCE, "the new name is told", || {
        told().contains("bond0: its device is called uplink now")
    })
    .unwrap_or_else(|e| panic!("{e}: {}", told()));
}

/// A daemon that may not have its files says so, and who may not ask the daemon is not told that a bond is nobody's.
#[test]
fn inside_a_daemon_of_nobody_is_told_that_it_needs_root() {
    let subject = Subject::bonded("--mode active-backup --miimon 100");
    let of_nobody = |words: &[&str], code: i32| {
        let mut command = subject.host().command("setpriv");
        for (key, value) in subject.command().get_envs() {
            command.env(key, value.unwrap());
        }
        let output = command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(env!("CARGO_BIN_EXE_oxbond"))
            .args(words)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    };
    let said = of_nobody(&["daemon"], 4);
    assert!(said.contains("root"), "{said}");
    let said = of_nobody(&["explain", "bond0"], 0);
    let words: Vec<&str> = said.split_whitespace().collect();
    assert!(words.join(" ").contains("only root is told"), "{said}");
}

/// A program that does not want a port to be in the bond takes it out whenever it is in.
#[test]
fn inside_a_port_that_another_program_keeps_taking_is_left_alone_in_the_end() {
    let subject = Subject::active_backup();
    // A bond of a file, from which a port is taken at the same time.
    let host = subject.host();
    host.ip("link add p8 type veth peer name p9").unwrap();
    let file = subject.run_dir().join("bond1.toml");
    let text = "[bond.bond1]\nmode = \"active-backup\"\nports = [\"p8\"]\n";
    std::fs::write(&file, text).unwrap();
    let apply = format!("apply {}", file.display());
    subject.must(&apply);
    let (end, taken) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let ending = Ending(&end);
        scope.spawn(|| {
            while !end.load(Ordering::Relaxed) {
                if host.link("p8").is_ok_and(|link| link["master"] == "bond1") {
                    host.ip("link set p8 nomaster").unwrap();
                }
                if host
                    .link("enp3s0")
                    .is_ok_and(|link| link["master"] == "bond0")
                {
                    taken.fetch_add(1, Ordering::Relaxed);
                    host.ip("link set enp3s0 nomaster").unwrap();
                }
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        let hindrance_of = |bond: &str, port: &str| {
            let bond = subject.bond(bond).unwrap();
            let why = bond["hindered"][port].as_str().unwrap_or_default();
            why.to_owned()
        };
        let hindrance = || hindrance_of("bond0", "enp3s0");
        let told = wait_until(GIVEN_UP_WITHIN, "the port is given up", || {
            hindrance().contains("left alone") && hindrance_of("bond1", "p8").contains("left alone")
        });
        let why = hindrance();
        let times = taken.load(Ordering::Relaxed);
        // Nothing more happens: a second look finds the same.
        std::thread::sleep(Duration::from_secs(3));
        drop(ending);
        told.unwrap_or_else(|e| panic!("{e}: {why:?}\n{}", subject.daemon().unwrap().stderr()));
        assert!(why.contains("oxbond add-port"), "{why}");
        assert_eq!(taken.load(Ordering::Relaxed), times);
        assert!((3..=6).contains(&times), "taken {times} times");
    });
    let table = subject.must("status bond0");
    assert!(table.contains("left alone"), "{table}");
    let log = subject.daemon().unwrap().stderr();
    let told = log.lines().filter(|line| line.contains("left alone"));
    let told = told.filter(|line| line.contains("bond0: "));
    assert_eq!(told.count(), 1, "{log}");
    // The other port carries, and who asks for the port gets it.
    subject.wait_peer(&PEER[..1]).unwrap();
    subject.must("add-port bond0 enp3s0");
    subject.wait_active("bond0", "enp3s0").unwrap();
    // From then on it is taken back as any other.
    let back = || {
        let log = subject.daemon().unwrap().stderr();
        log.matches("bond0: enp3s0 joined again").count()
    };
    let before = back();
    host.ip("link set enp3s0 nomaster").unwrap();
    wait_until(PATIENCE, "it is taken back", || back() > before)
        .unwrap_or_else(|e| panic!("{e}\n{}", subject.daemon().unwrap().stderr()));
    subject.wait_active("bond0", "enp3s0").unwrap();
    // Who applies the file that asks for it gets it, though nothing in it is new.
    subject.must(&apply);
    wait_until(
        PATIENCE,
        "the port is in the bond of the file again",
        || host.link("p8").is_ok_and(|link| link["master"] == "bond1"),
    )
    .unwrap();
}

/// What the bond was made with is not set anew by every port that joins.
#[test]
fn inside_a_primary_and_an_active_port_set_later_stay_when_a_port_joins() {
    let subject = Subject::bonded(
        "--mode active-backup --miimon 100 --primary enp3s0 --active-slave enp3s0 \
         --primary-reselect failure",
    );
    subject.wait_active("bond0", "enp3s0").unwrap();
    subject.must("set bond0 --primary enp4s0 --active-slave enp4s0");
    subject.wait_active("bond0", "enp4s0").unwrap();
    subject.must("remove-port bond0 enp3s0");
    // An interface may have other names, and be asked for by them.
    let altname = "link property add dev enp3s0 altname eno1";
    subject.host().ip(altname).unwrap();
    let said = subject.must("add-port bond0 eno1");
    assert!(said.contains("enp3s0 joined"), "{said}");
    subject.wait_link(1, "up");
    let bond = subject.bond("bond0").unwrap();
    assert_eq!(bond["options"]["primary"], "enp4s0");
    assert_eq!(bond["active_port"], "enp4s0");
}

/// A bond whose primary port is missing at the boot is there nevertheless.
#[test]
fn inside_a_primary_port_that_is_missing_is_primary_when_it_comes() {
    let subject = Subject::switched();
    let ip = |words: &str| subject.host().ip(words).unwrap();
    let file = subject.run_dir().join("bond0.toml");
    let text = "[bond.bond0]\nmode = \"active-backup\"\nports = [\"enp3s0\", \"late0\"]\nprimary = \"late0\"\n";
    std::fs::write(&file, text).unwrap();
    let apply = || subject.must(&format!("apply {}", file.display()));
    assert!(apply().contains("late0 is not there and joins when it appears"));
    assert_eq!(apply().trim(), "nothing to change");
    assert!(
        subject
            .must("save --output -")
            .contains("primary = \"late0\"")
    );
    // Another one, and back.
    let said = subject.must("set bond0 --primary late1");
    assert!(said.contains("late1 as soon as it is there"), "{said}");
    assert!(apply().contains("primary is late0 as soon as it is there"));
    ip("link add late0 type veth peer name far0");
    ip("link set far0 up");
    subject.wait_active("bond0", "late0").unwrap();
    assert_eq!(apply().trim(), "nothing to change");
    ip("link delete late0");
    subject.wait_active("bond0", "enp3s0").unwrap();
    assert_eq!(apply().trim(), "nothing to change");
}

#[test]
fn inside_a_driver_bond_that_another_program_deletes_is_told_once() {
    let subject = Subject::switched();
    subject.host().ip("link set enp4s0 down").unwrap();
    let before = settled(&subject);
    subject.up("--mode active-backup --miimon 100");
    let mut command = subject.command();
    command.args(["events", "--json"]);
    let listener = Process::start("oxbond events --json", command).unwrap();
    wait_until(PATIENCE, "the snapshot is there", || {
        !listener.stdout().is_empty()
    })
    .unwrap();
    subject.host().ip("link delete bond0").unwrap();
    let told = || -> usize {
        let lines = listener.stdout();
        let events = lines.lines().filter_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some(line["event"]["event"]["kind"].clone())
        });
        events.filter(|kind| kind == "deleted").count()
    };
    wait_until(PATIENCE, "the end of the bond is told", || told() > 0)
        .unwrap_or_else(|e| panic!("{e}\n{}", listener.stdout()));
    subject.fails("status bond0", 3);
    as_before(&subject, &before);
    assert!(subject.host().link("bond0").is_err());
    assert_eq!(told(), 1);
    // The daemon is well, and at rest.
    subject.wait_rest(10);
    subject.host().ip("link set enp4s0 up").unwrap();
    subject.up("--mode active-backup --miimon 100");
}

/// A change of the mode sets the bond down and takes its ports out, and with that goes what the kernel drops then. A daemon
/// that is killed there is followed by one that brings all of it back.
#[test]
fn inside_a_bond_that_is_down_for_a_change_is_brought_back_by_another_daemon() {
    let mut subject = Subject::switched();
    subject.up("--mode active-backup --miimon 100 --fail-over-mac active");
    let ip = |subject: &Subject, words: &str| subject.host().ip(words).unwrap();
    for words in [
        "address add fd00::2/64 dev bond0 nodad",
        "address add fd00::3/64 dev bond0 nodad",
        "route add default via 10.77.0.1",
        "-6 route add fd09::/32 via fd00::1",
        "neighbour add 10.77.0.9 lladdr 02:00:00:00:00:09 dev bond0 nud permanent",
    ] {
        ip(&subject, words);
    }
    let seen = |subject: &Subject| {
        let words = [
            "-6 -o address show dev bond0 scope global",
            "route show",
            "-6 route show dev bond0",
            "neighbour show nud permanent",
        ];
        let parts = words.map(|words| subject.host().execute("ip", words).unwrap());
        let bond = subject.bond("bond0").unwrap();
        let of = |key: &str| bond[key].to_string();
        let ports = bond["ports"].as_array().unwrap().len();
        (parts, of("options"), of("mac"), of("carrier"), ports)
    };
    wait_until(PATIENCE, "IPv6 has looked for its addresses", || {
        let found = subject.host().execute("ip", "-6 address show dev bond0");
        found.is_ok_and(|found| found.contains("fe80") && !found.contains("tentative"))
    })
    .unwrap();
    let before = seen(&subject);
    subject.kill_daemon().unwrap();
    subject
        .start_daemon_with("OXBOND_TEST_KILLED_AT", "interrupted 0")
        .unwrap();
    subject.fails("set bond0 --mode balance-xor", 6);
    // It died before the first step: the next ones are taken here.
    for words in [
        "link set bond0 down",
        "link set enp4s0 nomaster",
        "link set enp3s0 nomaster",
        "link set bond0 type bond mode balance-xor",
    ] {
        ip(&subject, words);
    }
    subject.kill_daemon().unwrap();
    subject.start_daemon().unwrap();
    wait_until(PATIENCE, "all is as it was before", || {
        seen(&subject) == before
    })
    .unwrap_or_else(|e| panic!("{e}\n{before:#?}\n{:#?}", seen(&subject)));
    // It goes back once.
    subject.must("set bond0 --mode balance-xor");
    subject.kill_daemon().unwrap();
    subject.start_daemon().unwrap();
    assert_eq!(
        subject.bond("bond0").unwrap()["options"]["mode"],
        "balance-xor"
    );
}

/// What the driver's bonds need is less than what our programs do.
#[test]
fn inside_the_driver_needs_no_right_to_load_programs() {
    let mut subject = Subject::switched();
    subject.kill_daemon().unwrap();
    let mut command = subject.host().command("setpriv");
    for (key, value) in subject.command().get_envs() {
        command.env(key, value.unwrap());
    }
    command.args([
        "--bounding-set=-all,+net_admin,+net_raw",
        "--inh-caps=-all",
        env!("CARGO_BIN_EXE_oxbond"),
        "daemon",
    ]);
    let mut daemon = Process::start("oxbond daemon", command).unwrap();
    // Not by its status, which needs no daemon for bonds of the driver.
    daemon
        .wait_ready(PATIENCE, "it is ready", |daemon| {
            daemon.stderr().lines().any(|line| line.ends_with(" ready"))
        })
        .unwrap();
    subject.up("--mode active-backup --miimon 100");
    subject.must("down bond0");
    drop(daemon);
}
