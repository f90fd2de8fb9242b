//! What an administrator does with bonds, rightly and wrongly: each wrong word gets one clear message and an exit code,
//! and the machine stays exactly as it was.

use crate::apply::as_before;
use crate::common::{PEER, PORTS, Subject, on_driver};
use oxbond_lab::machine::PATIENCE;
use oxbond_lab::netns::Namespace;
use oxbond_lab::proc::wait_until;
use serde_json::Value;

/// Everything of the host that a failed command could have changed.
fn snapshot(subject: &Subject) -> Value {
    let host = subject.host();
    let mut links = host.ip_json("link show").unwrap();
    for link in &mut links {
        // Counted by the kernel, not set by anyone.
        link.as_object_mut().unwrap().remove("carrier_changes");
        still(link);
    }
    let mut addresses = host.ip_json("address show").unwrap();
    addresses.iter_mut().for_each(still);
    // A port that was away is the last to get its routes back.
    let sorted = |words: &str| {
        let mut routes = host.ip_json(words).unwrap();
        routes.sort_by_key(ToString::to_string);
        routes
    };
    let settings: Vec<String> = PORTS
        .iter()
        .map(|port| {
            host.execute(
                "cat",
                &format!("/proc/sys/net/ipv6/conf/{port}/disable_ipv6"),
            )
            .unwrap()
        })
        .collect();
    serde_json::json!({
        "links": links,
        "addresses": addresses,
        "routes": sorted("route show table all"),
        "routes6": sorted("-6 route show table all"),
        "ipv6": settings,
    })
}

/// Stops the running timers of a bridge.
fn still(link: &mut Value) {
    if let Some(data) = link["linkinfo"]["info_data"].as_object_mut() {
        data.retain(|key, _| !key.ends_with("_timer"));
    }
}

/// Every link that is set up has the state that its carrier gives it: the kernel tells itself of a carrier a moment after it
/// came, and only then looks for link-local addresses.
fn carriers_are_known(host: &Namespace) -> bool {
    let links = host.ip_json("link show").unwrap();
    links.iter().all(|link| {
        let flags = link["flags"].as_array().unwrap();
        let has = |flag: &str| flags.iter().any(|has| has == flag);
        let state = link["operstate"].as_str().unwrap();
        !has("UP")
            || match has("LOWER_UP") {
                true => !state.ends_with("DOWN"),
                false => state != "UP",
            }
    })
}

/// Link-local addresses settle for a second or two after a link comes up.
pub(crate) fn settled(subject: &Subject) -> Value {
    let host = subject.host();
    wait_until(PATIENCE, "the carriers are known", || {
        carriers_are_known(host)
    })
    .unwrap_or_else(|e| panic!("{e}: {}", host.execute("ip", "link show").unwrap()));
    wait_until(PATIENCE, "addresses are past duplicate detection", || {
        !host
            .execute("ip", "-6 address show")
            .unwrap()
            .contains("tentative")
    })
    .unwrap_or_else(|e| panic!("{e}: {}", host.execute("ip", "-d address show").unwrap()));
    snapshot(subject)
}

/// The bond has its first port's address. While it is taken apart it must not tell that port, which looks for its own IPv6
/// address, that somebody has that one.
#[test]
fn root_down_leaves_no_port_without_its_ipv6_address() {
    let subject = Subject::switched();
    let host = subject.host();
    for port in PORTS {
        // It looks at once, where it would wait for up to a second.
        let delay = format!("net.ipv6.conf.{port}.router_solicitation_delay");
        host.sysctl(&delay, "0").unwrap();
    }
    let before = settled(&subject);
    for _ in 0..3 {
        subject.must("up bond0 --mode active-backup --port enp3s0 --port enp4s0");
        subject.must("set bond0 --active-slave enp4s0");
        wait_until(PATIENCE, "the bond has its IPv6 address", || {
            let said = host.execute("ip", "-6 address show dev bond0").unwrap();
            said.contains("fe80::") && !said.contains("tentative")
        })
        .unwrap();
        subject.must("down bond0");
        as_before(&subject, &before);
    }
}

#[test]
fn root_down_gives_the_ports_back_as_they_were() {
    let subject = Subject::switched();
    subject.host().ip("link set enp4s0 down").unwrap();
    subject.host().ip("link set enp3s0 mtu 1450").unwrap();
    subject.host().ip("link set enp4s0 mtu 1450").unwrap();
    let before = settled(&subject);
    subject.must("up bond0 --mode active-backup --port enp3s0 --port enp4s0 --address 10.77.0.2/24 --gateway 10.77.0.1");
    subject.wait_peer(&PEER[..1]).unwrap();
    assert_eq!(
        subject.host().ip_json("route show default").unwrap()[0]["gateway"],
        "10.77.0.1"
    );
    subject.must("down bond0");
    wait_until(PATIENCE, "everything is as before", || {
        settled(&subject) == before
    })
    .unwrap_or_else(|e| panic!("{e}\nbefore {before:#}\nafter {:#}", settled(&subject)));
}

#[test]
fn root_a_port_that_cannot_be_one_is_refused_and_nothing_changes() {
    let subject = Subject::switched();
    let host = subject.host();
    host.ip("link add br9 type bridge").unwrap();
    host.ip("link add taken type veth peer name taken-peer")
        .unwrap();
    host.ip("link set taken master br9").unwrap();
    host.ip("link add addressed type veth peer name addressed-peer")
        .unwrap();
    host.ip("address add 192.0.2.1/24 dev addressed").unwrap();
    host.ip("link set addressed up").unwrap();
    host.ip("link set addressed-peer up").unwrap();
    host.ip("route add default via 192.0.2.254 dev addressed")
        .unwrap();
    host.ip("link add big type veth peer name big-peer")
        .unwrap();
    host.ip("link set big mtu 9000").unwrap();
    let before = settled(&subject);
    let cases: [(&str, i32, &[&str]); 12] = [
        (
            "up bond0 --mode active-backup --port enp3s0 --port enp9s0",
            3,
            &["enp9s0", "does not exist"],
        ),
        (
            "up bond0 --mode active-backup --port enp3s0 --port enp3s",
            3,
            &["enp3s", "enp3s0"],
        ),
        (
            "up bond0 --mode active-backup --port lo",
            3,
            &["lo", "loopback"],
        ),
        (
            "up bond0 --mode active-backup --port enp3s0 --port taken",
            3,
            &["taken", "br9"],
        ),
        (
            "up bond0 --mode active-backup --port br9",
            3,
            &["br9", "bridge"],
        ),
        (
            "up bond0 --mode active-backup --port addressed",
            3,
            &["addressed", "default route"],
        ),
        (
            "up bond0 --mode active-backup --port enp3s0 --port big",
            3,
            &["enp3s0", "1500", "big", "9000", "--mtu"],
        ),
        (
            "up enp3s0 --mode active-backup --port enp4s0",
            3,
            &["enp3s0", "in use"],
        ),
        (
            "up a-name-that-is-too-long --mode active-backup --port enp3s0",
            2,
            &["a-name-that-is-too-long", "15"],
        ),
        (
            "up bond0 --mode active-backup --packets-per-slave 3 --port enp3s0",
            2,
            &["packets_per_slave", "balance-rr"],
        ),
        (
            "up bond0 --mode active-bakup --port enp3s0",
            2,
            &["active-bakup", "active-backup"],
        ),
        (
            "up bond0 --mode active-backup --port enp3s0 --address 10.0.0.1/33",
            2,
            &["10.0.0.1/33"],
        ),
    ];
    for (words, code, mentions) in cases {
        let said = subject.fails(words, code);
        for mention in mentions {
            assert!(
                said.contains(mention),
                "oxbond {words}\nsays nothing of {mention:?}: {said}"
            );
        }
        assert_eq!(said.trim().lines().count(), 1, "one message: {said}");
        assert_eq!(
            settled(&subject),
            before,
            "oxbond {words}\nhas changed something"
        );
    }
}

#[test]
fn root_a_name_and_a_port_in_a_bond_are_in_use() {
    let subject = Subject::active_backup();
    assert!(
        subject
            .fails("up bond0 --mode active-backup --port enp3s0", 3)
            .contains("bond0")
    );
    let said = subject.fails("up bond1 --mode active-backup --port enp3s0", 3);
    assert!(said.contains("enp3s0") && said.contains("bond0"), "{said}");
    let said = subject.fails("down bond7", 3);
    assert!(said.contains("bond7") && said.contains("bond0"), "{said}");
    let said = subject.fails("remove-port bond0 enp9s0", 3);
    assert!(
        said.contains("enp9s0") && said.contains("enp3s0, enp4s0"),
        "{said}"
    );
}

#[test]
fn root_up_that_fails_halfway_is_undone() {
    let subject = Subject::switched();
    let before = settled(&subject);
    let said = subject.fails(
        "up bond0 --mode active-backup --port enp3s0 --port enp4s0 --mtu 70000",
        3,
    );
    assert!(said.contains("70000"), "{said}");
    wait_until(PATIENCE, "everything is as before", || {
        settled(&subject) == before
    })
    .unwrap();
    // The gateway is the last step of all.
    subject.fails(
        "up bond0 --mode active-backup --port enp3s0 --port enp4s0 --address 10.77.0.2/24 --gateway 192.0.2.1",
        5,
    );
    wait_until(PATIENCE, "everything is as before", || {
        settled(&subject) == before
    })
    .unwrap();
    subject.up("--mode active-backup");
}

#[test]
fn root_a_second_daemon_and_a_missing_one_are_told_apart() {
    let mut subject = Subject::active_backup();
    let said = subject.fails("daemon", 6);
    assert!(
        said.contains(&subject.daemon().unwrap().pid().to_string()),
        "{said}"
    );
    assert_eq!(subject.active("bond0").unwrap().as_deref(), Some("enp3s0"));
    subject.kill_daemon().unwrap();
    let said = subject.fails("set bond0 --miimon 50", 6);
    assert!(said.contains("oxbond daemon"), "{said}");
    // What the driver has can be told by anybody.
    match on_driver() {
        true => assert!(subject.must("status").contains("bond0")),
        false => assert!(subject.fails("status", 6).contains("oxbond daemon")),
    }
}

#[test]
fn root_without_permission_the_daemon_says_which_is_missing() {
    let subject = Subject::switched();
    let dir = subject.run_dir().join("powerless");
    let mut command = subject.host().command("setpriv");
    command.args([
        "--bounding-set=-all",
        "--inh-caps=-all",
        "--reuid=65534",
        "--clear-groups",
    ]);
    let output = command
        .arg(env!("CARGO_BIN_EXE_oxbond"))
        .args(["daemon", "--run-dir"])
        .arg(&dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("root"), "{said}");
}

#[test]
fn root_options_change_as_a_whole_or_not_at_all() {
    let subject = Subject::active_backup();
    let said = subject.fails("set bond0 --miimon 50 --primary-reselect sometimes", 2);
    assert!(
        said.contains("sometimes") && said.contains("failure"),
        "{said}"
    );
    assert_eq!(subject.bond("bond0").unwrap()["options"]["miimon"], 100);
    subject.must("set bond0 --miimon 50 --updelay 220");
    let options = subject.bond("bond0").unwrap()["options"].clone();
    assert_eq!(options["miimon"], 50);
    assert_eq!(
        options["updelay"], 200,
        "delays are whole monitor intervals"
    );
    let said = subject.fails("set bond0 --lacp-rate fast", 2);
    assert!(
        said.contains("lacp_rate") && said.contains("802.3ad"),
        "{said}"
    );
}

#[test]
fn root_status_speaks_the_kernels_text() {
    let subject = Subject::active_backup();
    let release = rustix_release();
    let bond = subject.bond("bond0").unwrap();
    let mac = |i: usize| {
        bond["ports"][i]["permanent_mac"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let expected = format!(
        "Ethernet Channel Bonding Driver: v{release}\n\nBonding Mode: fault-tolerance (active-backup)\n\
         Primary Slave: enp3s0 (primary_reselect always)\nCurrently Active Slave: enp3s0\nMII Status: up\n\
         MII Polling Interval (ms): 100\nUp Delay (ms): 0\nDown Delay (ms): 0\nPeer Notification Delay (ms): 0\n\n\
         Slave Interface: enp3s0\nMII Status: up\nSpeed: 10000 Mbps\nDuplex: full\nLink Failure Count: 0\n\
         Permanent HW addr: {}\nSlave queue ID: 0\n\nSlave Interface: enp4s0\nMII Status: up\nSpeed: 10000 Mbps\n\
         Duplex: full\nLink Failure Count: 0\nPermanent HW addr: {}\nSlave queue ID: 0\n",
        mac(0),
        mac(1)
    );
    assert_eq!(subject.must("status bond0 --proc"), expected);
    let table = subject.must("status");
    for word in ["bond0", "active-backup", "enp3s0", "enp4s0"] {
        assert!(table.contains(word), "{table}");
    }
    let front = bond["engine"]["front"].as_str();
    let of_ours = ["veth", "netkit"].map(Some).contains(&front);
    assert_eq!(of_ours, !on_driver(), "{bond:#}");
}

fn rustix_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap()
        .trim()
        .to_owned()
}

#[test]
fn root_files_are_applied_once_and_then_change_nothing() {
    let subject = Subject::switched();
    let dir = subject.run_dir().join("etc");
    std::fs::create_dir_all(&dir).unwrap();
    let write = |text: &str| std::fs::write(dir.join("bond0.toml"), text).unwrap();
    let apply = || subject.must(&format!("apply {}", dir.display()));
    let head = "[bond.bond0]\nmode = \"active-backup\"\nports = [\"enp3s0\", \"enp4s0\"]\n";
    write(&format!(
        "{head}primary = \"enp3s0\"\naddress = [\"10.77.0.2/24\"]\n"
    ));
    assert!(apply().contains("created"));
    subject.wait_peer(&PEER[..1]).unwrap();
    let before = settled(&subject);
    assert_eq!(apply().trim(), "nothing to change");
    assert_eq!(settled(&subject), before);

    write(&format!("{head}primary = \"enp4s0\"\nminimon = 100\n"));
    let said = subject.fails(&format!("apply {}", dir.display()), 2);
    assert!(
        said.contains("bond0.toml:5") && said.contains("miimon"),
        "place and suggestion: {said}"
    );
    assert_eq!(
        settled(&subject),
        before,
        "a file with an error changes nothing"
    );

    write(&format!(
        "{head}primary = \"enp4s0\"\naddress = [\"10.77.0.3/24\"]\n"
    ));
    apply();
    subject.wait_active("bond0", "enp4s0").unwrap();
    let addresses = subject
        .host()
        .execute("ip", "-4 address show bond0")
        .unwrap();
    assert!(
        addresses.contains("10.77.0.3/24") && !addresses.contains("10.77.0.2/24"),
        "{addresses}"
    );

    std::fs::remove_file(dir.join("bond0.toml")).unwrap();
    assert!(apply().contains("removed"));
    assert!(subject.host().link("bond0").is_err());
}

#[test]
fn root_what_a_file_no_longer_says_goes_back_and_a_failure_halfway_changes_nothing() {
    let subject = Subject::switched();
    let host = subject.host();
    host.ip("link add enp5s0 type veth peer name far5").unwrap();
    host.ip("link set far5 up").unwrap();
    host.ip("link set enp5s0 up").unwrap();
    let dir = subject.run_dir().join("etc");
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("bond0.toml");
    let apply = |text: &str| {
        std::fs::write(&file, text).unwrap();
        subject.must(&format!("apply {}", file.display()))
    };
    let refused = |text: &str, code: i32| {
        std::fs::write(&file, text).unwrap();
        subject.fails(&format!("apply {}", file.display()), code)
    };
    let gateway = || host.ip_json("route show default").unwrap();
    let whole = "[bond.bond0]\nmode = \"active-backup\"\nports = [\"enp3s0\", \"enp4s0\"]\nmiimon = 50\nupdelay = 200\n\
                 num_grat_arp = 3\naddress = [\"10.77.0.2/24\", \"10.77.0.4/24\"]\ngateway = \"10.77.0.1\"\n\
                 [bond.bond0.port.enp4s0]\nprio = 7\n";
    apply(whole);
    subject.must("set bond0 --primary enp4s0");
    assert!(apply(whole).contains("primary is none now"));
    subject.wait_peer(&PEER[..1]).unwrap();
    let before = settled(&subject);
    assert_eq!(apply(whole).trim(), "nothing to change");
    assert_eq!(settled(&subject), before);

    // What can be known beforehand, and what only the kernel knows: the gateway is out of reach.
    let head = "[bond.bond0]\nmode = \"active-backup\"\n";
    let cases = [
        (format!("{head}ports = [\"enp3s0\", \"lo\"]\n"), 3, "lo"),
        (
            format!("{head}ports = [\"enp3s0\", \"enp4s0\"]\nlacp_rate = \"fast\"\n"),
            2,
            "lacp_rate",
        ),
        (
            format!(
                "{head}ports = [\"enp3s0\", \"enp5s0\"]\nmiimon = 70\nmtu = 1400\nmac = \"02:00:5e:00:53:77\"\n\
                 address = [\"10.77.0.9/24\", \"192.0.2.9/32\"]\ngateway = \"10.77.0.1\"\n\
                 [bond.bond1]\nmode = \"active-backup\"\nports = [\"enp3s0\"]\n"
            ),
            2,
            "enp3s0",
        ),
    ];
    for (text, code, mention) in cases {
        let said = refused(&text, code);
        assert!(said.contains(mention), "{said}");
        assert_eq!(settled(&subject), before, "{said}");
        assert_eq!(subject.bond("bond0").unwrap()["options"]["miimon"], 50);
    }
    // Another mode: what is left of this one sleeps, the port's priority too, and wakes with it.
    let mode = || subject.bond("bond0").unwrap()["options"]["mode"].clone();
    let xor = whole
        .replace("active-backup", "balance-xor")
        .replace("[bond.bond0.port.enp4s0]\nprio = 7\n", "");
    let said = apply(&xor);
    assert!(said.contains("mode is now balance-xor"), "{said}");
    assert_eq!(mode(), "balance-xor");
    apply(whole);
    assert_eq!(mode(), "active-backup");
    as_before(&subject, &before);

    host.ip("link add other type veth peer name far-other")
        .unwrap();
    host.ip("link set other up").unwrap();
    host.ip("link set far-other up").unwrap();
    host.ip("address add 192.0.2.2/24 dev other").unwrap();
    host.ip("route del default").unwrap();
    host.ip("route add default via 192.0.2.1 dev other")
        .unwrap();
    let before = settled(&subject);
    let said = refused(
        &format!(
            "{head}ports = [\"enp3s0\", \"enp5s0\"]\nmiimon = 70\nmtu = 1400\nmac = \"02:00:5e:00:53:77\"\n\
             address = [\"10.77.0.9/24\"]\ngateway = \"10.77.0.254\"\n"
        ),
        5,
    );
    assert!(said.contains("10.77.0.254"), "{said}");
    wait_until(PATIENCE, "everything is as before", || {
        settled(&subject) == before
    })
    .unwrap_or_else(|e| panic!("{e}\nbefore {before:#}\nafter {:#}", settled(&subject)));
    let bond = subject.bond("bond0").unwrap();
    assert_eq!(bond["options"]["miimon"], 50);
    assert_eq!(bond["expected"], serde_json::json!(PORTS));
    host.ip("link del other").unwrap();

    // The same without an obstacle; and what is no longer named is back at its default.
    let said = apply(&format!(
        "{head}ports = [\"enp5s0\", \"enp3s0\"]\naddress = [\"10.77.0.4/24\"]\ngateway = \"10.77.0.254\"\n"
    ));
    for mention in [
        "miimon is now 100",
        "updelay is now 0",
        "num_grat_arp is now 1",
        "enp5s0 joined",
        "enp4s0 was taken out",
        "address 10.77.0.2/24 removed",
        "gateway 10.77.0.254 set",
    ] {
        assert!(said.contains(mention), "{mention}: {said}");
    }
    assert_eq!(gateway()[0]["gateway"], "10.77.0.254");
    let addresses = host.execute("ip", "-4 address show bond0").unwrap();
    assert!(
        addresses.contains("10.77.0.4/24") && !addresses.contains("10.77.0.2/24"),
        "{addresses}"
    );
    let said = apply(&format!(
        "{head}ports = [\"enp5s0\", \"enp3s0\"]\naddress = [\"10.77.0.4/24\"]\n"
    ));
    assert!(said.contains("gateway 10.77.0.254 removed"), "{said}");
    assert!(gateway().is_empty());
}

#[test]
fn root_a_port_that_vanishes_comes_back_by_itself() {
    let subject = Subject::active_backup();
    let middle = subject.rig.middle().unwrap();
    // Taking the switch's end away takes ours with it, as pulling a USB adapter does.
    middle.ip("link delete sw0").unwrap();
    subject.wait_active("bond0", "enp4s0").unwrap();
    wait_until(PATIENCE, "the port is gone", || {
        subject.bond("bond0").unwrap()["ports"]
            .as_array()
            .unwrap()
            .len()
            == 1
    })
    .unwrap();
    assert_eq!(
        subject.bond("bond0").unwrap()["expected"],
        serde_json::json!(PORTS)
    );
    subject.wait_peer(&PEER[..1]).unwrap();
    subject
        .host()
        .ip("link add enp3s0 type veth peer name back")
        .unwrap();
    subject.host().ip("link set back up").unwrap();
    wait_until(PATIENCE, "the port is back", || {
        subject.bond("bond0").unwrap()["ports"]
            .as_array()
            .unwrap()
            .len()
            == 2
    })
    .unwrap();
}

/// What a port was asked for in one mode hinders nothing in another.
#[test]
fn root_port_options_sleep_in_a_mode_that_does_not_have_them() {
    let subject = Subject::bonded("--mode active-backup --miimon 100");
    subject.must("set-port bond0 enp3s0 --prio 5");
    subject.must("set bond0 --mode balance-xor");
    let said = subject.must("set-port bond0 enp3s0 --queue-id 3");
    assert!(said.contains("queue_id of enp3s0 is now 3"), "{said}");
    let ports = || subject.bond("bond0").unwrap()["ports"].clone();
    let number = |ports: Value| ports.as_array().unwrap().len();
    let middle = subject.rig.middle().unwrap();
    middle.ip("link delete sw0").unwrap();
    wait_until(PATIENCE, "the port is gone", || number(ports()) == 1).unwrap();
    let back = "link add enp3s0 type veth peer name back";
    subject.host().ip(back).unwrap();
    wait_until(PATIENCE, "the port is back", || number(ports()) == 2)
        .unwrap_or_else(|e| panic!("{e}\n{}", subject.must("status bond0")));
}

#[test]
fn root_deleting_the_bond_behind_our_back_gives_the_ports_back() {
    let subject = Subject::active_backup();
    subject.host().ip("link delete bond0").unwrap();
    wait_until(PATIENCE, "the bond is forgotten", || {
        subject.oxbond("status bond0").unwrap().status.code() == Some(3)
    })
    .unwrap();
    subject.up("--mode active-backup");
}

#[test]
fn root_garbage_on_the_control_socket_hurts_nobody() {
    use std::io::{Read as _, Write as _};
    let subject = Subject::active_backup();
    let socket = std::fs::read_dir(subject.run_dir())
        .unwrap()
        .map(|entry| entry.unwrap().path().join("control.sock"))
        .find(|path| path.exists())
        .unwrap();
    for garbage in [
        &b"\xff\xfe\n"[..],
        b"{}\n",
        b"{\"version\":99,\"request\":\"events\"}\n",
        b"no newline",
    ] {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        stream.write_all(garbage).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        drop(stream.read_to_end(&mut Vec::new()));
    }
    subject.must("status bond0");
}

#[test]
fn root_the_service_manager_is_told_when_the_daemon_is_ready() {
    let mut subject = Subject::switched();
    subject.kill_daemon().unwrap();
    let path = subject.run_dir().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = subject.command();
    command.arg("daemon").env("NOTIFY_SOCKET", &path);
    let daemon = oxbond_lab::proc::Process::start("oxbond daemon", command).unwrap();
    let mut message = [0; 256];
    let length = socket.recv(&mut message).expect("the daemon sends word");
    assert!(
        String::from_utf8_lossy(&message[..length])
            .lines()
            .any(|line| line == "READY=1")
    );
    assert!(
        subject.oxbond("status").unwrap().status.success(),
        "ready means that it answers"
    );
    drop(daemon);
}
