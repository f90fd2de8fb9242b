//! Bonds of the real driver that nobody has under management, seen without a daemon: everything in one boot of a user-mode
//! Linux.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy knows tests by their attribute, and helpers of tests have none"
)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::UdpSocket;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use oxbond_core::option::Mode;
use oxbond_lab::machine::PATIENCE;
use oxbond_lab::netns::Namespace;
use oxbond_lab::proc::Process;
use oxbond_lab::uml::Uml;

const OXBOND: &str = env!("CARGO_BIN_EXE_oxbond");

/// What is played inside, by name.
const PLAYS: &[(&str, fn())] = &[
    ("no bond at all", nothing),
    ("the text of every mode", every_mode),
    ("the text of an aggregation", aggregation),
    ("explain and wait", explain_and_wait),
    ("the way of a flow", flows),
    ("with a daemon", with_a_daemon),
    (
        "what fails leaves a bond to its owner",
        a_failure_adopts_nothing,
    ),
    ("more ports than our own engine carries", many_ports),
    ("many bonds", many),
];

#[test]
fn inside_all_plays() {
    let modules = std::process::Command::new("/run/modprobe")
        .args(["-a", "ipv6", "bonding", "veth", "dummy", "8021q"])
        .status();
    assert!(modules.is_ok_and(|status| status.success()));
    for (name, play) in PLAYS {
        let begun = Instant::now();
        play();
        println!("-- {name}: {:?}", begun.elapsed());
    }
    println!("-- all played");
}

#[test]
fn guest_root_bonds_of_the_driver_show_without_a_daemon() {
    let said = Uml::new()
        .run_test("inside_all_plays")
        .unwrap_or_else(|e| panic!("{e:#}"));
    println!("{said}");
    assert!(said.contains("-- all played"), "{said}");
}

fn host() -> Namespace {
    Namespace::new("host").unwrap()
}

/// Lines of `ip`, none of which may fail.
fn ip(ns: &Namespace, lines: &str) {
    let mut child = ns
        .command("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    assert!(child.wait().unwrap().success(), "{lines}");
}

/// Runs `oxbond` where no daemon does.
fn oxbond(ns: &Namespace, words: &str) -> Output {
    run(ns, "", words)
}

/// Behind another command.
fn run(ns: &Namespace, before: &str, words: &str) -> Output {
    let words = format!("{before} {OXBOND} --run-dir /run/none {words}");
    let mut words = words.split_whitespace();
    let mut command = ns.command(words.next().unwrap());
    command.args(words).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until something is so, as long as that may take.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "not so in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Drops every capability: what the driver keeps for administrators it does not show then.
const WITHOUT_PRIVILEGE: &str = "setpriv --bounding-set=-all --inh-caps=-all --no-new-privs";

/// The text of `status --proc` is that of the driver, run behind another command.
fn assert_same_text(ns: &Namespace, bond: &str, before: &str) -> String {
    let words = format!("{before} cat /proc/net/bonding/{bond}");
    let (program, arguments) = words.trim().split_once(' ').unwrap();
    // Between two looks that agree.
    eventually("the bond stands still", || {
        let theirs = ns.execute(program, arguments).unwrap();
        let ours = run(ns, before, &format!("status --proc {bond}"));
        if theirs != ns.execute(program, arguments).unwrap() {
            return None;
        }
        assert_eq!(out(&ours), theirs, "{before}: {}", err(&ours));
        assert_eq!((ours.status.code(), err(&ours)), (Some(0), String::new()));
        Some(theirs)
    })
}

fn nothing() {
    let ns = host();
    let shown = oxbond(&ns, "status");
    assert_eq!(
        (out(&shown).as_str(), shown.status.code()),
        ("no bonds\n", Some(0))
    );
    let refused = oxbond(&ns, "status bond7");
    assert_eq!(refused.status.code(), Some(3), "{}", err(&refused));
    let said = err(&refused);
    assert!(
        said.contains("no bond bond7") && said.contains("no daemon"),
        "{said}"
    );
    ip(&ns, "link add bond0 type bond");
    let said = err(&oxbond(&ns, "explain bond7"));
    assert!(
        said.contains("no bond bond7; the kernel's driver has bond0"),
        "{said}"
    );
    // Without a name only what a daemon has is waited for, so that this bond does not hold up a boot.
    let waited = oxbond(&ns, "wait --timeout 0");
    assert_eq!(waited.status.code(), Some(6), "{}", err(&waited));
}

fn every_mode() {
    let ns = host();
    ip(
        &ns,
        "link add q0 type veth peer name p0\nlink add q1 type veth peer name p1\nlink set p0 up\nlink set p1 up",
    );
    let settings = |mode: &Mode| -> &'static [&'static str] {
        match mode {
            Mode::BalanceRr => &[
                "miimon 100 resend_igmp 3",
                "arp_interval 100 arp_ip_target 10.0.0.7,10.0.0.8",
                "miimon 0",
            ],
            Mode::ActiveBackup => &[
                "miimon 50 primary q1 primary_reselect failure fail_over_mac active",
                "arp_interval 200 arp_ip_target 10.0.0.7 ns_ip6_target fd00::7,fd00::8 arp_validate all arp_missed_max 4",
                "miimon 100 updelay 300 downdelay 200 fail_over_mac follow",
            ],
            Mode::BalanceXor => &["miimon 100 xmit_hash_policy layer3+4"],
            Mode::Broadcast => &["miimon 100"],
            Mode::Ieee8023ad => &[
                "lacp_rate fast ad_select bandwidth min_links 1 xmit_hash_policy encap2+3",
                "lacp_active off ad_actor_sys_prio 77 ad_actor_system 02:00:00:00:00:05 ad_user_port_key 9",
            ],
            Mode::BalanceTlb => &[
                "primary q0",
                "tlb_dynamic_lb 0 xmit_hash_policy vlan+srcmac",
            ],
            Mode::BalanceAlb => &["primary q1 primary_reselect better"],
        }
    };
    for mode in Mode::ALL {
        for more in settings(mode) {
            // The order of joining is not that of the indices.
            ip(
                &ns,
                &format!(
                    "link add bond0 type bond mode {mode} {more}\nlink set q1 master bond0\nlink set q0 master bond0\n\
                     link set bond0 up mtu 1400\nlink set p1 down"
                ),
            );
            if *mode == Mode::BalanceRr {
                ip(&ns, "link set q0 type bond_slave queue_id 2");
            }
            let text = assert_same_text(&ns, "bond0", "");
            assert!(text.contains("Slave Interface: q1"), "{text}");
            ip(&ns, "link del bond0\nlink set p1 up");
        }
    }
}

fn aggregation() {
    let (ns, partner) = (host(), Namespace::new("partner").unwrap());
    for n in 0..2 {
        let path = partner.path();
        ns.ip(&format!(
            "link add q{n} type veth peer name p{n} netns {path}"
        ))
        .unwrap();
    }
    for (ns, ports) in [(&ns, ["q0", "q1"]), (&partner, ["p0", "p1"])] {
        let [a, b] = ports;
        ip(
            ns,
            &format!(
                "link add bond0 type bond mode 802.3ad lacp_rate fast miimon 100\nlink set {a} master bond0\n\
                 link set {b} master bond0\nlink set bond0 up"
            ),
        );
    }
    eventually("both ports distribute", || {
        let status = oxbond(&ns, "wait bond0 --until all-ports --timeout 10");
        let agreed = out(&oxbond(&ns, "status bond0")).contains("of 2 ports");
        (status.status.code() == Some(0) && agreed).then_some(())
    });
    let text = assert_same_text(&ns, "bond0", "");
    assert!(text.contains("Number of ports: 2"), "{text}");
    assert!(text.contains("System priority"), "{text}");
    let text = assert_same_text(&ns, "bond0", WITHOUT_PRIVILEGE);
    assert!(!text.contains("System priority"), "{text}");
    let table = out(&oxbond(&ns, "status"));
    assert!(table.contains("engine kernel (not managed)"), "{table}");
    assert!(table.contains("lacp: aggregator 1 of 2 ports"), "{table}");
    let partner_mac = partner.mac("bond0").unwrap();
    assert!(table.contains(&partner_mac), "{table}");
    // The driver tells anybody who the partner is, and nobody but an administrator who we are.
    let json = run(&ns, WITHOUT_PRIVILEGE, "status --json");
    let json: serde_json::Value = serde_json::from_str(&out(&json)).unwrap();
    let bond = &json["bonds"][0];
    assert_eq!(bond["options"]["mode"], "802.3ad", "{bond}");
    assert_eq!(bond["engine"]["engine"], "kernel");
    assert_eq!(bond["engine"]["managed"], false);
    assert!(bond["engine"].get("front").is_none(), "{bond}");
    assert_eq!(bond["ports"].as_array().unwrap().len(), 2);
    assert_eq!(bond["lacp"]["system"], serde_json::Value::Null, "{bond}");
    assert_eq!(
        bond["ports"][0]["lacp"]["actor"]["system"],
        serde_json::Value::Null
    );
    let explained = oxbond(&ns, "explain bond0");
    assert_eq!(explained.status.code(), Some(0), "{}", out(&explained));
}

fn explain_and_wait() {
    let ns = host();
    ip(
        &ns,
        "link add q0 type veth peer name p0\nlink add q1 type veth peer name p1\nlink set p0 up\n\
         link add bond0 type bond mode active-backup miimon 100\nlink set q0 master bond0\nlink set q1 master bond0",
    );
    let down = oxbond(&ns, "explain bond0");
    assert_eq!(down.status.code(), Some(7), "{}", out(&down));
    let waiting = oxbond(&ns, "wait bond0 --timeout 0");
    assert_eq!(waiting.status.code(), Some(7), "{}", err(&waiting));
    ip(&ns, "link set bond0 up");
    let waited = oxbond(&ns, "wait bond0 --timeout 10");
    assert_eq!(waited.status.code(), Some(0), "{}", err(&waited));
    let said = eventually("the dead port is told", || {
        let explained = oxbond(&ns, "explain bond0");
        let said = out(&explained);
        (explained.status.code() == Some(7) && said.contains("q1")).then_some(said)
    });
    assert!(said.contains("q0") && said.contains("well"), "{said}");
    assert!(said.contains("no carrier"), "{said}");
    let port = oxbond(&ns, "explain bond0 q0");
    assert_eq!(port.status.code(), Some(0), "{}", out(&port));
}

/// The port that a flow is said to take is the one that the driver sends it on.
fn flows() {
    let ns = host();
    let mut lines = String::from(
        "link add bond0 type bond mode balance-xor xmit_hash_policy layer3+4 miimon 100\n",
    );
    for n in 0..3 {
        write!(
            lines,
            "link add q{n} type veth peer name p{n}\nlink set p{n} up\nlink set q{n} master bond0\n"
        )
        .unwrap();
    }
    lines += "link set bond0 up\naddress add 10.0.0.1/24 dev bond0\n\
              neighbour add 10.0.0.2 lladdr 02:00:00:00:00:02 dev bond0";
    ip(&ns, &lines);
    let waited = oxbond(&ns, "wait bond0 --until all-ports");
    assert_eq!(waited.status.code(), Some(0), "{}", err(&waited));
    let sent = |port: &str| -> u64 {
        let shown = ns.ip(&format!("-j -s link show {port}")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&shown).unwrap();
        json[0]["stats64"]["tx"]["packets"]
            .as_u64()
            .unwrap_or_else(|| panic!("{json}"))
    };
    const PACKETS: u64 = 50;
    let mut taken = std::collections::BTreeSet::new();
    for port in 40_000..40_006 {
        let words = format!("explain bond0 --flow 10.0.0.1 10.0.0.2 udp {port} 443 --json");
        let told = oxbond(&ns, &words);
        let json: serde_json::Value = serde_json::from_str(&out(&told)).unwrap();
        let said = json["ports"][0].as_str().unwrap().to_owned();
        let before = sent(&said);
        ns.run(|| {
            let socket = UdpSocket::bind(("10.0.0.1", port)).unwrap();
            socket.connect(("10.0.0.2", 443)).unwrap();
            for _ in 0..PACKETS {
                socket.send(b"x").unwrap();
            }
        });
        let after = sent(&said);
        assert!(
            after - before >= PACKETS,
            "{port} on {said}: {}",
            after - before
        );
        taken.insert(said);
    }
    assert!(taken.len() > 1, "{taken:?}");
    let every = out(&oxbond(
        &ns,
        "explain bond0 --flow 10.0.0.1 10.0.0.2 udp 1 2",
    ));
    assert!(every.contains("by 3 usable ports"), "{every}");
}

/// A daemon, killed when it is dropped.
struct Daemon(std::process::Child);

impl Daemon {
    fn start(ns: &Namespace) -> Self {
        let mut command = ns.command(OXBOND);
        command.args(["--run-dir", "/run/none", "daemon"]);
        let daemon = Self(command.stderr(Stdio::null()).spawn().unwrap());
        // It has no bond, so none is waited for, least of all the one that the module might have made.
        eventually("the daemon answers", || {
            let waited = oxbond(ns, "wait --timeout 0").status;
            waited.success().then_some(())
        });
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The daemon tells of the bonds of others beside its own, and changes its own alone.
fn with_a_daemon() {
    let ns = host();
    ip(
        &ns,
        "link add q0 type veth peer name p0\nlink add q1 type veth peer name p1\nlink set p0 up\nlink set p1 up\n\
         link add mine type bond mode active-backup miimon 100\nlink set q0 master mine\nlink set mine up\n\
         link add bond0 type bond",
    );
    let daemon = Daemon::start(&ns);
    let engine = |bond: &str| {
        let shown = out(&oxbond(&ns, &format!("status --json {bond}")));
        let json: serde_json::Value = serde_json::from_str(&shown).unwrap();
        json["bonds"][0]["engine"].clone()
    };
    let shown = out(&oxbond(&ns, "status"));
    assert_eq!(shown.matches("not managed").count(), 2, "{shown}");
    assert!(shown.find("bond0") < shown.find("mine"), "by name: {shown}");
    let explained = oxbond(&ns, "explain mine --flow 10.0.0.1 10.0.0.2");
    assert!(
        out(&explained).contains("would leave on q0"),
        "{}",
        err(&explained)
    );
    let refused = oxbond(&ns, "set mine --miimon 200");
    assert_eq!(refused.status.code(), Some(3), "{}", err(&refused));
    let said = err(&refused);
    assert!(said.contains("oxbond adopt mine"), "{said}");

    // Whoever has two tools for one bond is told.
    std::fs::create_dir_all("/run/etc/network").unwrap();
    let stanza = "auto mine\niface mine inet manual\n bond-slaves q0\n";
    std::fs::write("/run/etc/network/interfaces", stanza).unwrap();
    let mounted = |words: &[&str]| {
        std::process::Command::new(words[0])
            .args(&words[1..])
            .status()
    };
    let done = mounted(&["mount", "--bind", "/run/etc", "/etc"]);
    assert!(done.unwrap().success());
    let adopted = oxbond(&ns, "adopt mine");
    assert!(mounted(&["umount", "/etc"]).unwrap().success());
    assert_eq!(adopted.status.code(), Some(0), "{}", err(&adopted));
    let said = out(&adopted);
    assert!(said.contains("nothing was changed"), "{said}");
    let other = "mine, q0: set up by files of ifupdown too (/etc/network/interfaces:2)";
    assert!(said.contains(other), "{said}");
    assert_eq!(engine("mine")["managed"], true);
    assert_eq!(engine("bond0")["managed"], false);
    assert_same_text(&ns, "mine", "");
    // The system's ip shows it; changes go to the daemon.
    let ours = out(&oxbond(&ns, "ip -d link show type bond"));
    assert_eq!(ours, ns.ip("-d link show type bond").unwrap());
    let set = oxbond(&ns, "ip link set mine type bond miimon 200");
    assert_eq!(set.status.code(), Some(0), "{}", err(&set));
    assert!(assert_same_text(&ns, "mine", "").contains("Polling Interval (ms): 200"));
    for words in ["set mine --max-ports 4", "set-port mine q0 --weight 3"] {
        let refused = oxbond(&ns, words);
        assert_eq!(refused.status.code(), Some(2), "{}", err(&refused));
        let said = err(&refused);
        assert!(said.contains("oxbond adopt mine --engine ebpf"), "{said}");
    }
    // Whatever its device is called by now, it is one bond.
    ip(
        &ns,
        "link set mine down\nlink set mine name other\nlink set other up",
    );
    let again = oxbond(&ns, "adopt other");
    assert_eq!(again.status.code(), Some(3), "{}", err(&again));
    let said = err(&again);
    assert!(said.contains("under management already, as mine"), "{said}");
    ip(
        &ns,
        "link set other down\nlink set other name mine\nlink set mine up",
    );
    // The bond of others is the business of the system's ip.
    let set = oxbond(&ns, "ip link set bond0 type bond miimon 300");
    assert_eq!(set.status.code(), Some(0), "{}", err(&set));
    assert!(assert_same_text(&ns, "bond0", "").contains("Polling Interval (ms): 300"));

    drop(daemon);
    let shown = oxbond(&ns, "status");
    assert_eq!(shown.status.code(), Some(0), "{}", err(&shown));
    assert_eq!(out(&shown).matches("not managed").count(), 2);
    let why = engine("mine")["why"].as_str().unwrap().to_owned();
    assert!(why.contains("does not run"), "{why}");
}

/// Whatever was asked for and fails, a bond of somebody else's stays theirs, and is as it was.
fn a_failure_adopts_nothing() {
    let ns = host();
    ip(
        &ns,
        "link add q0 type veth peer name p0\nlink add q1 type veth peer name p1\nlink set p0 up\nlink set p1 up\n\
         link add theirs type bond mode active-backup miimon 100\nlink set q0 master theirs\n\
         link set q1 master theirs\nlink set theirs up\naddress add 10.79.0.2/24 dev theirs",
    );
    let daemon = Daemon::start(&ns);
    let managed = || {
        let shown = out(&oxbond(&ns, "status --json theirs"));
        let json: serde_json::Value = serde_json::from_str(&shown).unwrap();
        json["bonds"][0]["engine"]["managed"].clone()
    };
    let file = |name: &str, rest: &str| {
        let path = format!("/run/{name}.toml");
        let head = "[bond.theirs]\nmode = \"active-backup\"\nports = [\"q0\", \"q1\"]\naddress = [\"10.79.0.2/24\"]\n";
        std::fs::write(&path, format!("{head}{rest}")).unwrap();
        path
    };
    let seen = || ns.ip("-d link").unwrap() + &ns.ip("address").unwrap() + &ns.ip("route").unwrap();
    // The far ends and the bond make an address each when they have noticed their carriers.
    eventually("the ports carry", || {
        let shown = seen();
        let addresses = shown.matches("inet6 fe80:").count();
        (shown.matches("LOWER_UP").count() >= 10 && addresses == 3 && !shown.contains("tentative"))
            .then_some(())
    });
    let before = seen();
    // The last step of all is out of reach.
    let route = "route = [{ to = \"198.51.100.0/24\", via = \"192.0.2.1\" }]\n";
    let halfway = file("halfway", &format!("miimon = 70\n{route}"));
    let good = file("good", "miimon = 100\n");
    for (words, mention) in [
        ("adopt theirs --engine ebpf".to_owned(), "ebpf engine needs"),
        (format!("apply {halfway}"), "192.0.2.1"),
        (format!("try --timeout 1 {good}"), "no confirmation came"),
    ] {
        let failed = oxbond(&ns, &words);
        let said = err(&failed);
        assert_ne!(failed.status.code(), Some(0), "{words}: {said}");
        assert!(said.contains(mention), "{words}: {said}");
        assert!(!said.contains("not everything"), "{words}: {said}");
        assert_eq!(managed(), false, "{words}");
        assert_eq!(seen(), before, "{words}");
    }
    // Nor does another daemon know of it.
    drop(daemon);
    let shown = out(&oxbond(&ns, "status theirs"));
    assert!(!shown.contains("does not run"), "{shown}");
}

/// Enough to notice what grows with them; to make 500 takes the guest half a minute.
const BONDS: usize = 50;

/// More than our own engine carries.
const PORTS: usize = 40;

/// The driver has no limit: each port is told from the others, by files and commands too.
fn many_ports() {
    let ns = host();
    let mut lines = "link add bond0 type bond mode active-backup miimon 100\n".to_owned();
    for n in 0..PORTS {
        writeln!(
            lines,
            "link add d{n} type dummy\nlink set d{n} master bond0"
        )
        .unwrap();
    }
    ip(
        &ns,
        &(lines + "link set bond0 up\nlink add late type dummy"),
    );
    let numbers = || -> Vec<u64> {
        let shown = out(&oxbond(&ns, "status --json bond0"));
        let json: serde_json::Value = serde_json::from_str(&shown).unwrap();
        let of = |list: &str, key: &str| -> Vec<u64> {
            let list = json["bonds"][0][list].as_array().unwrap();
            list.iter().map(|one| one[key].as_u64().unwrap()).collect()
        };
        assert_eq!(of("ports", "id"), of("counters", "port"), "{shown}");
        of("ports", "id")
    };
    assert_eq!(numbers(), (0..PORTS as u64).collect::<Vec<_>>());

    let _daemon = Daemon::start(&ns);
    let file = |engine: &str| {
        let path = format!("/run/{engine}.toml");
        let ports: Vec<String> = (0..PORTS).map(|n| format!("\"d{n}\"")).collect();
        let text = format!(
            "[bond.bond0]\nengine = \"{engine}\"\nmode = \"active-backup\"\nports = [{}]\n",
            ports.join(", ")
        );
        std::fs::write(&path, text).unwrap();
        path
    };
    let ours = file("ebpf");
    let ports: String = (0..PORTS).map(|n| format!(" --port d{n}")).collect();
    for words in [
        format!("apply {ours}"),
        format!("up bond1 --mode active-backup --engine ebpf{ports}"),
        "adopt bond0 --engine ebpf".to_owned(),
    ] {
        let refused = oxbond(&ns, &words);
        let said = err(&refused);
        assert_eq!(refused.status.code(), Some(2), "{words}: {said}");
        assert!(said.contains("carries at most 32"), "{words}: {said}");
    }
    let applied = oxbond(&ns, &format!("apply {}", file("auto")));
    assert_eq!(applied.status.code(), Some(0), "{}", err(&applied));
    assert!(out(&applied).contains("40 ports"), "{}", out(&applied));
    assert_same_text(&ns, "bond0", "");

    let mut command = ns.command(OXBOND);
    command.args(["--run-dir", "/run/none", "events", "--json"]);
    let events = Process::start("oxbond events", command).unwrap();
    eventually("the snapshot is there", || {
        (!events.stdout().is_empty()).then_some(())
    });
    let must = |words| {
        let done = oxbond(&ns, words);
        assert_eq!(done.status.code(), Some(0), "{words}: {}", err(&done));
    };
    must("add-port bond0 late");
    eventually("the port is told with a number of its own", || {
        let told = events.stdout();
        told.contains("\"kind\":\"port_added\",\"port\":40,\"name\":\"late\"")
            .then_some(())
    });
    must("remove-port bond0 d0");
    assert_eq!(numbers(), (0..PORTS as u64).collect::<Vec<_>>());
}

fn many() {
    let ns = host();
    let mut lines = String::new();
    for n in 0..BONDS {
        let mode = ["active-backup", "802.3ad", "balance-xor"][n % 3];
        writeln!(lines, "link add b{n} type bond mode {mode} miimon 1000").unwrap();
        for port in ["x", "y"] {
            writeln!(
                lines,
                "link add {port}{n} type dummy\nlink set {port}{n} master b{n}"
            )
            .unwrap();
        }
    }
    ip(&ns, &lines);
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let begun = Instant::now();
        let shown = oxbond(&ns, "status");
        best = best.min(begun.elapsed());
        let bonds = out(&shown).matches("engine kernel").count();
        assert_eq!((bonds, shown.status.code()), (BONDS, Some(0)));
    }
    println!("{BONDS} bonds of two ports: oxbond status in {best:?}");
    assert!(best < Duration::from_secs(10), "{best:?}");
}
