//! `oxbond ip` in the place of `ip`: scripts written for the kernel's driver, what they read, and what they are told
//! when they are wrong.

use std::process::Output;

use oxbond_lab::machine::PATIENCE;
use oxbond_lab::proc::wait_until;
use serde_json::Value;

use crate::common::{PEER, Subject, on_driver};

/// Runs `oxbond ip`.
fn ip(subject: &Subject, words: &str) -> Output {
    subject.oxbond(&format!("ip {words}")).expect("oxbond runs")
}

/// Runs `oxbond ip`, which must succeed without a word on standard error; its standard output.
fn must(subject: &Subject, words: &str) -> String {
    let output = ip(subject, words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "ip {words}: {said}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The interfaces that `oxbond ip -j` shows.
fn shown(subject: &Subject, words: &str) -> Vec<Value> {
    let printed = must(subject, &format!("-d -j link show {words}"));
    let mut shown: Vec<Value> =
        serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{words}: {e}: {printed}"));
    // The system's own `ip` has an empty object for each link that a filter leaves out.
    shown.retain(|link| link.as_object().is_some_and(|link| !link.is_empty()));
    shown
}

fn names(shown: &[Value]) -> Vec<&str> {
    shown
        .iter()
        .map(|link| link["ifname"].as_str().unwrap())
        .collect()
}

fn flags(link: &Value) -> Vec<&str> {
    let flags = link["flags"].as_array().unwrap();
    flags.iter().map(|flag| flag.as_str().unwrap()).collect()
}

/// As guides to the driver have it, but for `modprobe bonding`.
const SCRIPT: &str = r#"
set -eu
$IP link add bond0 type bond mode active-backup miimon 100 num_grat_arp 3
for port in enp3s0 enp4s0; do
    $IP link set "$port" down
    $IP link set dev "$port" master bond0
done
$IP link set bond0 type bond primary enp3s0
$IP link set enp4s0 type bond_slave prio 10
$IP addr add 10.77.0.2/24 dev bond0
$IP -6 addr add fd77::2/64 dev bond0
test "$($IP -br link show bond0 | awk '{print $2}')" = DOWN
$IP link set bond0 up
$IP route add 192.0.2.0/24 via 10.77.0.1 dev bond0
$IP -d link show bond0 | grep -q ' bond mode active-backup '
$IP -d link show enp3s0 | grep -q ' bond_slave state ACTIVE '
test "$($IP -o link show master bond0 | wc -l)" = 2
test "$($IP -o link show type bond | wc -l)" = 1
$IP -o link show up | grep -q ' bond0: <.*MASTER.*UP'
"#;

#[test]
fn root_a_script_for_the_driver_runs_with_ip_replaced() {
    let subject = Subject::switched();
    let ran = subject
        .host()
        .command("sh")
        .args(["-c", SCRIPT])
        .env("OXBOND_RUN_DIR", subject.run_dir())
        .env("IP", concat!(env!("CARGO_BIN_EXE_oxbond"), " ip"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}: {said}", ran.status);
    assert_eq!(said, "");
    subject.wait_peer(&PEER).unwrap();
    subject.wait_active("bond0", "enp3s0").unwrap();

    must(&subject, "link set enp3s0 down");
    subject.wait_active("bond0", "enp4s0").unwrap();
    subject.wait_peer(&PEER).unwrap();
    must(&subject, "link set enp3s0 up");
    subject.wait_active("bond0", "enp3s0").unwrap();
    must(&subject, "link set bond0 type bond active_slave enp4s0");
    assert_eq!(subject.active("bond0").unwrap().as_deref(), Some("enp4s0"));
    must(
        &subject,
        "link set bond0 type bond primary_reselect failure miimon 50",
    );
    must(&subject, "link set enp3s0 nomaster");
    subject.wait_peer(&PEER).unwrap();
    assert_eq!(names(&shown(&subject, "master bond0")), ["enp4s0"]);
    must(&subject, "link del bond0");
    assert_eq!(
        names(&shown(&subject, "")),
        ["lo", "enp3s0", "enp4s0"],
        "what carried the bond is gone too"
    );
    // Set down before they joined.
    assert!(!flags(&shown(&subject, "enp4s0")[0]).contains(&"UP"));
}

/// What `ip` printed of the driver's.
fn driver(command: &str) -> Value {
    let samples = include_str!("../data/ip-link-of-the-driver.txt");
    let (_, printed) = samples.split_once(&format!("$ {command}\n")).unwrap();
    let printed = printed.split("\n$ ").next().unwrap();
    let entries: Vec<Value> = serde_json::from_str(printed).unwrap();
    entries[0].clone()
}

/// Keys with the type of their value.
fn shape(object: &Value) -> Vec<String> {
    let types = object.as_object().unwrap().iter().map(|(key, value)| {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "text",
            Value::Array(_) => "list",
            Value::Object(_) => "object",
        };
        format!("{key}: {kind}")
    });
    types.collect()
}

#[test]
fn root_bonds_and_ports_have_the_drivers_keys_in_every_mode() {
    let subject = Subject::switched();
    let modes = [
        "balance-rr",
        "active-backup",
        "balance-xor",
        "broadcast",
        "802.3ad",
        "balance-tlb",
        "balance-alb",
    ];
    let newer = [
        "coupled_control: bool",
        "broadcast_neighbor: bool",
        // Told where it is on, which is our default.
        "lacp_strict: bool",
        "actor_port_prio: number",
    ];
    // Of an aggregator that is in use.
    let negotiated = |key: &String| key.starts_with("ad_") && key != "ad_select: text";
    for (number, mode) in modes.into_iter().enumerate() {
        must(&subject, &format!("link add bond0 type bond mode {number}"));
        must(&subject, "link set enp3s0 master bond0");
        must(&subject, "link set bond0 up");
        let bond = &shown(&subject, "type bond")[0];
        assert_eq!(bond["linkinfo"]["info_kind"], "bond");
        assert_eq!(bond["linkinfo"]["info_data"]["mode"], *mode);
        assert!(flags(bond).contains(&"MASTER"));
        assert_eq!(bond.get("link"), None);
        assert_eq!(bond.get("link_netnsid"), None);
        assert_eq!(bond.get("ifalias"), None);
        let sample = match number {
            4 => driver("ip -d -j link show bond81"),
            _ => driver(&format!("ip -d -j link show m{number}")),
        };
        let mut expected = shape(&sample["linkinfo"]["info_data"]);
        if [1, 5, 6].contains(&number) {
            expected.push("active_slave: text".into());
        }
        let mut found = shape(&bond["linkinfo"]["info_data"]);
        found.retain(|key| !newer.contains(&key.as_str()) && key != "ad_info: object");
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{mode}");

        let port = &shown(&subject, "type bond_slave")[0];
        assert_eq!(port["ifname"], "enp3s0");
        assert_eq!(port["master"], "bond0");
        assert_eq!(port["linkinfo"]["info_slave_kind"], "bond");
        assert!(flags(port).contains(&"SLAVE"));
        let sample = driver("ip -d -j link show d0");
        let mut expected = shape(&sample["linkinfo"]["info_slave_data"]);
        let mut found = shape(&port["linkinfo"]["info_slave_data"]);
        for keys in [&mut expected, &mut found] {
            keys.retain(|key| !newer.contains(&key.as_str()) && !negotiated(key));
            keys.retain(|key| !key.starts_with("churn_"));
            keys.sort();
        }
        assert_eq!(found, expected, "{mode}");
        must(&subject, "link del bond0 type bond");
    }
}

#[test]
fn root_bonds_are_told_apart_by_filters_and_forms() {
    let subject = Subject::switched();
    let host = subject.host();
    host.ip("link add br9 type bridge").unwrap();
    must(&subject, "link add type bond mode 1");
    must(
        &subject,
        "link add name bond%d mtu 1400 address 02:00:00:00:00:07 type bond",
    );
    must(
        &subject,
        "link add dev up0 up txqueuelen 500 alias spare type bond mode 2",
    );
    must(&subject, "l s enp3s0 m bond0");
    must(&subject, "link set bond1 master br9");
    assert_eq!(
        names(&shown(&subject, "")),
        ["lo", "enp3s0", "enp4s0", "br9", "bond0", "bond1", "up0"],
        "inner ends do not show"
    );
    assert_eq!(
        names(&shown(&subject, "type bond")),
        ["bond0", "bond1", "up0"]
    );
    assert_eq!(names(&shown(&subject, "type bond_slave")), ["enp3s0"]);
    assert_eq!(names(&shown(&subject, "type veth")), ["enp3s0", "enp4s0"]);
    assert_eq!(names(&shown(&subject, "master bond0")), ["enp3s0"]);
    assert_eq!(
        names(&shown(&subject, "master bond0 type bond")),
        Vec::<&str>::new()
    );
    assert_eq!(names(&shown(&subject, "master br9")), ["bond1"]);
    assert_eq!(names(&shown(&subject, "type bond master br9")), ["bond1"]);
    assert_eq!(names(&shown(&subject, "type bond up")), ["up0"]);
    assert_eq!(
        names(&shown(&subject, "nomaster")),
        ["lo", "enp4s0", "br9", "bond0", "up0"]
    );
    let bond1 = &shown(&subject, "bond1")[0];
    assert_eq!(
        (&bond1["mtu"], &bond1["address"]),
        (&1400.into(), &"02:00:00:00:00:07".into())
    );
    assert_eq!(bond1["linkinfo"]["info_slave_kind"], "bridge");
    let up0 = &shown(&subject, "dev up0")[0];
    assert_eq!(
        (&up0["txqlen"], &up0["ifalias"]),
        (&500.into(), &"spare".into())
    );

    let text = must(&subject, "link show dev enp3s0");
    assert!(text.contains(" master bond0 state "), "{text}");
    assert_eq!(must(&subject, "-o link show type bond").lines().count(), 3);
    let brief = must(&subject, "-br link show type bond");
    let columns: Vec<Vec<&str>> = brief
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(columns[0][..2], ["bond0", "DOWN"]);
    assert_eq!(columns[2][3], "<NO-CARRIER,BROADCAST,MULTICAST,MASTER,UP>");
    let pretty = must(&subject, "-j -p link show bond0");
    assert!(pretty.starts_with("[ {\n        \"ifindex\": "), "{pretty}");
}

#[test]
fn root_refusals_are_the_drivers_with_an_explanation() {
    let subject = Subject::switched();
    must(&subject, "link add bond1 type bond mode 1 miimon 100");
    must(&subject, "link set enp3s0 master bond1");
    must(&subject, "link set bond1 up");
    subject.host().ip("link add br9 type bridge").unwrap();
    let cases = [
        (
            "link add e2 type bond miimon 100 arp_interval 100",
            2,
            "Error: ARP monitoring cannot be used with MII monitoring.",
        ),
        (
            "link add e3 type bond updelay 100",
            2,
            "RTNETLINK answers: Operation not permitted",
        ),
        (
            "link set bond1 type bond lacp_rate fast",
            2,
            "Error: option not supported in mode.",
        ),
        (
            "link add e4 type bond mode 1 packets_per_slave 3",
            2,
            "Error: option not supported in mode.",
        ),
        (
            "link add e5 type bond mode 0 packets_per_slave 70000",
            2,
            "Error: invalid option value.",
        ),
        (
            "link add e6 type bond mode 4 ad_actor_system 01:00:00:00:00:01",
            2,
            "Error: invalid option value.",
        ),
        (
            "link add e7 type bond mode 0 arp_ip_target 1.2.3.4,1.2.3.4",
            2,
            "Error: invalid option value.",
        ),
        (
            "link add e9 type bond mode 0 resend_igmp 300",
            2,
            "Error: invalid option value.",
        ),
        (
            "link set bond1 type bond active_slave enp4s0",
            2,
            "Error: invalid option value.",
        ),
        (
            "link set bond1 type bond primary nosuch",
            1,
            "Cannot find device \"nosuch\"",
        ),
        (
            "link set enp3s0 type bond_slave actor_port_prio 1",
            2,
            "Error: option not supported in mode.",
        ),
        (
            "link set br9 master bond1",
            2,
            "Error: Device type (master device) cannot be enslaved.",
        ),
        (
            "link set lo master bond1",
            2,
            "RTNETLINK answers: Operation not permitted",
        ),
        (
            "link set nosuch master bond1",
            1,
            "Cannot find device \"nosuch\"",
        ),
        (
            "link add bond1 type bond",
            2,
            "RTNETLINK answers: File exists",
        ),
        (
            "link add enp4s0 type bond",
            2,
            "RTNETLINK answers: File exists",
        ),
        (
            "link replace bond1 type bond",
            2,
            "RTNETLINK answers: Operation not supported",
        ),
        (
            "link add averyveryverylongname type bond",
            2,
            "Error: Attribute failed policy validation.",
        ),
        (
            "link add a/b type bond",
            255,
            "Error: argument \"a/b\" is wrong: \"dev\" not a valid ifname",
        ),
        (
            "link add x y type bond",
            255,
            "Error: either \"dev\" is duplicate, or \"y\" is a garbage.",
        ),
        (
            "link add x mtu abc type bond",
            255,
            "Error: argument \"abc\" is wrong: Invalid \"mtu\" value",
        ),
        (
            "link add x index 7 type bond",
            2,
            "RTNETLINK answers: Operation not supported",
        ),
        (
            "link add x address foo type bond",
            2,
            "\"foo\" is invalid lladdr.",
        ),
        (
            "link add x group nosuch type bond",
            255,
            "Error: argument \"nosuch\" is wrong: Invalid \"group\" value",
        ),
        (
            "link set bond1 type bond mode foo",
            255,
            "Error: argument \"foo\" is wrong: invalid mode",
        ),
        (
            "link set bond1 type bond foo 1",
            1,
            "bond: unknown command \"foo\"?",
        ),
    ];
    crate::administration::settled(&subject);
    let before = must(&subject, "-d -j link show");
    for (words, code, first) in cases {
        // The driver of an old kernel does not know this one.
        let first = match words.contains("actor_port_prio") && on_driver() {
            true => "RTNETLINK answers: Operation not supported",
            false => first,
        };
        let output = ip(&subject, words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words}: {said}");
        assert_eq!(said.lines().next(), Some(first), "{words}: {said}");
    }
    assert_eq!(must(&subject, "-d -j link show"), before);
    let said = ip(&subject, "link add e9 type bond resend_igmp 300").stderr;
    assert_eq!(
        String::from_utf8_lossy(&said),
        "Error: invalid option value.\n\
         oxbond: option resend_igmp=300: the value is not valid; allowed values: 0 - 255\n"
    );
}

#[test]
fn root_ports_move_between_bonds_and_bridges() {
    let subject = Subject::switched();
    subject.host().ip("link add br9 type bridge").unwrap();
    must(
        &subject,
        "link add bond0 type bond mode active-backup miimon 100",
    );
    must(
        &subject,
        "link add bond1 type bond mode active-backup miimon 100",
    );
    let master = |port: &str| {
        let port = shown(&subject, port).remove(0);
        let kind = port["linkinfo"]["info_slave_kind"]
            .as_str()
            .map(str::to_owned);
        (port["master"].as_str().map(str::to_owned), kind)
    };
    let of = |master: &str, kind: &str| (Some(master.to_owned()), Some(kind.to_owned()));
    must(&subject, "link set enp3s0 master br9");
    must(&subject, "link set enp3s0 master bond0");
    assert_eq!(master("enp3s0"), of("bond0", "bond"));
    must(&subject, "link set enp3s0 master bond0");
    must(
        &subject,
        "link set enp3s0 down master bond1 type bond_slave prio -5",
    );
    assert_eq!(master("enp3s0"), of("bond1", "bond"));
    let port = shown(&subject, "enp3s0").remove(0);
    assert_eq!(port["linkinfo"]["info_slave_data"]["prio"], -5);
    assert!(
        flags(&port).contains(&"UP"),
        "the bond sets up what joins it"
    );
    must(&subject, "link set enp3s0 master br9");
    assert_eq!(master("enp3s0"), of("br9", "bridge"));
    must(&subject, "link set enp3s0 nomaster");
    assert_eq!(master("enp3s0"), (None, None));
}

/// Everything about it is the system's: standard output, standard error, exit code.
#[test]
fn root_what_is_not_about_bonds_is_done_by_the_systems_ip() {
    let subject = Subject::switched();
    must(&subject, "link add bond0 type bond");
    must(&subject, "link add v9 type veth peer name w9");
    must(&subject, "addr add 192.0.2.9/24 dev v9");
    must(&subject, "link set v9 up");
    for words in [
        "-V",
        "addr show dev v9",
        "-j -p addr show dev v9",
        "-4 route show table all",
        "link show v9",
        "-d link show dev v9",
        "link show nosuch",
        "link show type",
        "link show lo v9",
        "link set v9 foo",
        "link set v9 master nosuch",
        "link set v9 type bond miimon 100",
        "link set v9 type bond_slave prio 1",
        "link add x9 type nosuchtype",
        "link add x9",
        "link del nosuch",
        "link help",
        "link foo",
        "nosuchobject",
        "-nosuchoption",
        "-n nosuchnamespace link",
        "",
    ] {
        let system = || {
            subject
                .host()
                .command("ip")
                .args(words.split_whitespace())
                .output()
                .unwrap()
        };
        let text = |output: &Output| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (
                output.status.code(),
                text(&output.stdout),
                text(&output.stderr),
            )
        };
        // Between two looks that agree: what is shown may just be changing.
        let (mut told, mut ours) = (text(&system()), None);
        wait_until(PATIENCE, "the system stands still", || {
            let before = std::mem::take(&mut told);
            ours = Some(text(&ip(&subject, words)));
            told = text(&system());
            told == before
        })
        .unwrap();
        assert_eq!(ours, Some(told), "ip {words}");
    }
}

/// A name for the machine's namespace, taken back with it.
struct Name(std::path::PathBuf);

impl Name {
    fn of(subject: &Subject) -> Self {
        let name = Self(format!("/run/netns/oxbond-{}", subject.host().label()).into());
        std::fs::create_dir_all("/run/netns").unwrap();
        let process = subject.daemon().unwrap().pid();
        std::os::unix::fs::symlink(format!("/proc/{process}/ns/net"), &name.0).unwrap();
        name
    }

    fn text(&self) -> &str {
        self.0.file_name().unwrap().to_str().unwrap()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn root_a_namespace_can_be_named_from_outside() {
    let subject = Subject::switched();
    let name = Name::of(&subject);
    let outside = |words: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_oxbond"))
            .env("OXBOND_RUN_DIR", subject.run_dir())
            .args(["ip", "-n", name.text()])
            .args(words.split_whitespace())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    outside("link add bond0 type bond mode 1 miimon 100");
    outside("link set enp3s0 master bond0");
    outside("link set bond0 up mtu 1400");
    let shown = outside("-br link show type bond");
    assert!(
        shown.starts_with("bond0 ") && shown.contains("MASTER"),
        "{shown}"
    );
    assert_eq!(subject.bond("bond0").unwrap()["ports"][0]["name"], "enp3s0");
    outside("addr add 10.77.0.2/24 dev bond0");
    subject.wait_peer(&PEER[..1]).unwrap();
    outside("link del bond0");
}

#[test]
fn root_a_batch_runs_until_its_first_failure() {
    let subject = Subject::switched();
    let file = subject.run_dir().join("batch");
    std::fs::write(
        &file,
        "# a bond\nlink add bond0 type bond mode 1 miimon 100\n\nlink set enp3s0 master bond0 # its port\n\
         addr add 10.77.0.2/24 dev bond0\nlink set bond0 alias \"two words\" up\nlink set nosuch master bond0\n\
         link set enp4s0 master bond0\n",
    )
    .unwrap();
    let output = ip(&subject, &format!("-b {}", file.display()));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(
        said,
        format!(
            "Cannot find device \"nosuch\"\nCommand failed {}:7\n",
            file.display()
        )
    );
    subject.wait_peer(&PEER[..1]).unwrap();
    assert_eq!(shown(&subject, "bond0")[0]["ifalias"], "two words");
    assert_eq!(names(&shown(&subject, "master bond0")), ["enp3s0"]);
}

#[test]
fn root_without_a_daemon_bonds_are_left_alone() {
    let mut subject = Subject::switched();
    must(&subject, "link add bond0 type bond mode 1 miimon 100");
    must(&subject, "link set enp3s0 master bond0");
    subject.kill_daemon().unwrap();
    for words in [
        "link add bond1 type bond",
        "link del bond0",
        "link set enp4s0 master bond0",
        "link set bond0 type bond miimon 50",
    ] {
        let output = ip(&subject, words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words}: {said}");
        assert!(said.contains("no oxbond daemon serves"), "{words}: {said}");
    }
    must(&subject, "link set bond0 up");
    // Told as what it is: one end of a pair, or a bond of the driver.
    let told = must(&subject, "link show bond0");
    assert_eq!(told.contains("bond0@"), !on_driver(), "{told}");
    subject.start_daemon().unwrap();
    wait_until(PATIENCE, "the bond is told as one again", || {
        names(&shown(&subject, "type bond")) == ["bond0"]
    })
    .unwrap();
    assert_eq!(names(&shown(&subject, "master bond0")), ["enp3s0"]);
}
