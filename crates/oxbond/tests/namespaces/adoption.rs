//! A running bond moved between the kernel's driver and our own engine under traffic; run in a guest by `guest`.

use std::time::{Duration, Instant};

use oxbond_lab::machine::PATIENCE;
use oxbond_lab::netns::Namespace;
use oxbond_lab::proc::wait_until;
use oxbond_lab::rig::{Plan, Topology};
use oxbond_lab::traffic::{LostRange, Report};

use crate::common::{HOST, PEER, PORTS, Subject};

/// Datagrams per second of each direction: what is lost tells how long nothing was carried.
const RATE: u32 = 1000;

/// Longest time that nothing may be carried.
const GAP: Duration = Duration::from_millis(5);

/// What a static trunk adds at the other end: nobody tells it that a port's link is about to go, and it sends there until it
/// looks. With `miimon 1` that is once in a tick of the kernel's clock, 4 ms, and a tick later it has acted.
const UNTOLD: Duration = Duration::from_millis(8);

/// How often each way, unless the environment says otherwise (`OXBOND_MOVES`).
fn moves() -> usize {
    let said = std::env::var("OXBOND_MOVES").ok();
    said.and_then(|said| said.parse().ok()).unwrap_or(20)
}

/// A host whose bond is the driver's, with all that may stand on it.
struct Mover {
    subject: Subject,
    addresses: Vec<&'static str>,
    /// Of the traffic: 0 for IPv4, 1 for IPv6.
    version: usize,
    flows: u16,
    /// The bond's address goes with its active port, so it is another one while ports follow.
    wanders: bool,
}

impl Mover {
    fn new(topology: Topology) -> Self {
        Self::with_ports(topology, &PORTS)
    }

    fn with_ports(topology: Topology, ports: &[&str]) -> Self {
        Self {
            subject: Subject::new(Plan::new(topology, ports)),
            addresses: PEER.to_vec(),
            version: 0,
            flows: 1,
            wanders: false,
        }
    }

    /// Makes the driver's bond at one end.
    fn driver_up(&self, end: &Namespace, options: &str) {
        let monitor = match options.contains("miimon") || options.contains("arp_interval") {
            true => "",
            false => "miimon 100",
        };
        end.ip(&format!("link add bond0 type bond {monitor} {options}"))
            .unwrap();
        for port in self.subject.rig.ports() {
            end.set_link(port, false).unwrap();
            end.ip(&format!("link set {port} master bond0")).unwrap();
        }
        end.set_link("bond0", true).unwrap();
    }

    fn ip(&self, all: &[&str]) {
        for words in all {
            self.subject.host().ip(words).unwrap();
        }
    }

    fn wait_peer(&self) {
        self.subject.wait_peer(&self.addresses).unwrap();
    }

    /// A file of `/proc/net`: in a guest a process for each look takes most of a test's time.
    fn read(&self, file: &str) -> String {
        let path = format!("/proc/thread-self/net/{file}");
        self.subject
            .host()
            .run(|| std::fs::read_to_string(path))
            .unwrap()
    }

    /// IPv6 is still looking for an address of the host.
    fn any_tentative(&self) -> bool {
        const TENTATIVE: u32 = 0x40;
        self.read("if_inet6").lines().any(|line| {
            let flags = line.split_whitespace().nth(4).unwrap();
            u32::from_str_radix(flags, 16).unwrap() & TENTATIVE != 0
        })
    }

    /// What a user sees of the bond and of what stands on it, but for indices and times.
    fn seen(&self) -> String {
        let host = self.subject.host();
        let say = |words: &str| host.execute("ip", words).unwrap();
        let mut seen = String::new();
        for device in ["bond0", "vlan5"] {
            let Ok(link) = host.link(device) else {
                continue;
            };
            for name in ["address", "mtu", "master", "operstate"] {
                seen += &format!("{device} {name} {}\n", link[name]);
            }
            for line in say(&format!("-o address show dev {device}")).lines() {
                let (_, line) = line.split_once(": ").unwrap();
                seen += &format!("{}\n", line.replace(" nodad", ""));
            }
        }
        let routes = [say("route"), say("-6 route")].concat();
        let mut routes: Vec<&str> = routes.lines().map(str::trim).collect();
        routes.sort_unstable();
        seen + &routes.join("\n")
    }

    /// The peer knows the host by an address that the bond or one of its ports has: balance-alb tells peers different ones.
    fn is_reached(&self) -> bool {
        let host = self.subject.host();
        let known = self.subject.rig.peer.execute("ip", "neighbour").unwrap();
        let of = |device: &str| host.link(device).unwrap()["address"].clone();
        let mut devices = vec![of("bond0")];
        devices.extend(self.subject.rig.ports().iter().map(|port| of(port)));
        let mut entries = known
            .lines()
            .filter(|line| line.starts_with(HOST[self.version]));
        entries.any(|line| {
            devices
                .iter()
                .any(|mac| line.contains(mac.as_str().unwrap()))
        })
    }

    /// Moves the bond under traffic both ways, and says what became of that.
    fn move_to(&self, engine: &str) -> Moved {
        let host = self.subject.host();
        wait_until(
            PATIENCE,
            "the bond is up and its addresses are its own",
            || host.link("bond0").unwrap()["operstate"] == "UP" && !self.any_tentative(),
        )
        .unwrap_or_else(|e| panic!("{e}: {}", self.seen()));
        let before = self.seen();
        let traffic = self.subject.traffic(self.version).flows(self.flows);
        let meter = traffic.rate(RATE).both_ways().start().unwrap();
        meter.wait_flowing(100, PATIENCE).unwrap();
        let asked = meter.time_of(Instant::now());
        let said = self.subject.must(&format!("adopt bond0 --engine {engine}"));
        if !self.wanders {
            assert_eq!(self.seen(), before, "{said}");
        }
        wait_until(PATIENCE * 2, "all ports have followed", || {
            let devices = self.read("dev");
            !devices.contains("oxold") && !devices.contains("oxnew")
        })
        .unwrap_or_else(|e| panic!("{e}: {}", self.subject.daemon().unwrap().stderr()));
        meter.wait_flowing(100, PATIENCE).unwrap();
        let report = meter.stop(Duration::from_secs(2)).unwrap();
        assert_eq!(self.seen(), before, "{said}");
        self.wait_peer();
        Moved {
            asked,
            report,
            spacing: Duration::from_secs(1) * self.flows.into() / RATE,
        }
    }
}

/// What became of the traffic while a bond was moved.
struct Moved {
    asked: Duration,
    report: Report,
    /// Between two datagrams of a flow.
    spacing: Duration,
}

impl Moved {
    fn lost(&self) -> impl Iterator<Item = &LostRange> {
        let flows = self.report.streams().flat_map(|stream| &stream.flows);
        let ranges = flows.flat_map(|flow| &flow.lost_ranges);
        ranges.filter(|range| range.to >= self.asked)
    }

    /// The longest time of which everything that was sent one way was lost.
    fn gap(&self) -> Duration {
        let gaps = self
            .lost()
            .map(|range| range.to.saturating_sub(range.from) + self.spacing);
        gaps.max().unwrap_or_default()
    }
}

/// Prints what became of each move, and asserts that none took too long.
fn account(way: &str, moved: &[Moved], most: Duration) {
    let gaps: Vec<Duration> = moved.iter().map(Moved::gap).collect();
    let lost: Vec<u32> = moved
        .iter()
        .map(|moved| moved.lost().map(|range| range.last - range.first + 1).sum())
        .collect();
    let refused: u64 = moved.iter().map(|moved| moved.report.refused()).sum();
    for moved in moved {
        for range in moved.lost() {
            eprintln!("asked at {:?}: {range:?}", moved.asked);
        }
    }
    eprintln!("{way}: lost {lost:?}, refused {refused}, longest gaps {gaps:?}");
    assert!(gaps.iter().all(|gap| *gap <= most), "{way}: {gaps:?}");
    assert_eq!(refused, 0, "{way}");
}

/// Moves a bond of the driver to our engine and back, again and again.
fn to_and_fro(mover: &Mover, what: &str, most: Duration, each: impl Fn()) {
    let (mut there, mut back) = (Vec::new(), Vec::new());
    for _ in 0..moves() {
        for (engine, moved) in [("ebpf", &mut there), ("kernel", &mut back)] {
            moved.push(mover.move_to(engine));
            let status = mover.subject.bond("bond0").unwrap();
            assert_eq!(status["engine"]["engine"], engine);
            each();
        }
    }
    account(&format!("{what}, driver to ebpf"), &there, most);
    account(&format!("{what}, ebpf to driver"), &back, most);
}

/// An active-backup bond of the driver with a VLAN, addresses and routes.
fn furnished() -> Mover {
    let mover = Mover::new(Topology::OneSwitch);
    mover.driver_up(mover.subject.host(), "mode active-backup");
    mover.ip(&[
        "link add link bond0 name vlan5 type vlan id 5",
        "link set vlan5 up",
        "address add 10.78.0.2/24 dev vlan5",
        &format!("address add {}/24 dev bond0", HOST[0]),
        "address add 10.77.0.3/24 dev bond0",
        &format!("address add {}/64 dev bond0", HOST[1]),
        "route add default via 10.77.0.1",
        "route add fd01::/64 via fd77::1",
    ]);
    mover.wait_peer();
    mover
}

#[test]
fn inside_adoption_of_an_active_backup_bond() {
    let mover = furnished();
    to_and_fro(&mover, "active-backup", GAP, || {
        // What is set on our engine goes along.
        let bond = mover.subject.bond("bond0").unwrap();
        if bond["engine"]["engine"] == "ebpf" {
            let set = "--miimon 50 --primary enp4s0 --primary-reselect failure";
            mover.subject.must(&format!("set bond0 {set}"));
        } else {
            let options = &bond["options"];
            assert_eq!(options["miimon"], 50, "{options}");
            assert_eq!(options["primary"], "enp4s0", "{options}");
            assert_eq!(options["primary_reselect"], "failure", "{options}");
        }
    });
}

/// What the partner, the driver's bond at the other end, shows of the aggregation: its aggregator, partner and ports, and the
/// states of these at both ends.
fn partner(mover: &Mover) -> Vec<String> {
    let peer = &mover.subject.rig.peer;
    let text = peer.execute("cat", "/proc/net/bonding/bond0").unwrap();
    let told = [
        "Aggregator ID",
        "Partner Mac",
        "Number of ports",
        "Partner Key",
        "Churned Count",
        "port state",
    ];
    text.lines()
        .map(str::trim)
        .filter(|line| told.iter().any(|name| line.contains(name)))
        .map(str::to_owned)
        .collect()
}

#[test]
fn inside_adoption_of_a_link_aggregation_below_a_bridge() {
    let mover = Mover {
        addresses: PEER[..1].to_vec(),
        ..Mover::new(Topology::Cabled)
    };
    let peer = &mover.subject.rig.peer;
    let options = "mode 802.3ad lacp_rate fast xmit_hash_policy layer3+4";
    mover.driver_up(peer, options);
    peer.ip(&format!("address add {}/24 dev bond0", PEER[0]))
        .unwrap();
    mover.driver_up(mover.subject.host(), options);
    mover.ip(&[
        "link add vmbr0 type bridge",
        "link set vmbr0 up",
        &format!("address add {}/24 dev vmbr0", HOST[0]),
        "link set bond0 master vmbr0",
    ]);
    // All of 2 ports at 2 ends are collecting and distributing: before, the aggregator counts ports that carry nothing yet.
    let whole = |lines: &[String]| {
        let states = lines.iter().filter(|line| *line == "port state: 63");
        states.count() == 4
    };
    wait_until(PATIENCE * 2, "the aggregate has formed", || {
        whole(&partner(&mover))
    })
    .unwrap();
    mover.wait_peer();
    let before = partner(&mover);
    to_and_fro(&mover, "802.3ad", GAP, || {
        wait_until(PATIENCE * 2, "the aggregate is whole again", || {
            partner(&mover) == before
        })
        .unwrap_or_else(|e| panic!("{e}: {before:#?} {:#?}", partner(&mover)));
    });
}

/// Where a daemon is killed: in the middle, or in all places where moves are repeated. Where devices are renamed only while
/// they are down (before Linux 6.2), frames come to the one, the other and the one again.
fn places_to_die() -> &'static [&'static str] {
    match moves() {
        1 => &["turn 0"],
        _ => &["noted 0", "turn 0", "turn 1", "turn 2", "turned 0"],
    }
}

/// A daemon that is killed wherever a bond stands on both engines is followed by one that goes on.
#[test]
fn inside_adoption_killed_while_it_turns() {
    let mut mover = furnished();
    mover.subject.must("adopt bond0");
    wait_until(PATIENCE, "IPv6 has looked for its addresses", || {
        !mover.seen().contains("tentative")
    })
    .unwrap();
    let before = mover.seen();
    for place in places_to_die() {
        for engine in ["ebpf", "kernel"] {
            mover.subject.kill_daemon().unwrap();
            mover
                .subject
                .start_daemon_with("OXBOND_TEST_KILLED_AT", place)
                .unwrap();
            // To our engine, it dies before it answers.
            let _ = mover
                .subject
                .oxbond(&format!("adopt bond0 --engine {engine}"))
                .unwrap();
            let moved = |mover: &Mover| {
                let links = mover.subject.host().execute("ip", "-o link").unwrap();
                let there = mover.subject.bond("bond0");
                !links.contains("oxold")
                    && !links.contains("oxnew")
                    && there.is_ok_and(|bond| bond["engine"]["engine"] == engine)
            };
            wait_until(
                PATIENCE * 2,
                "the daemon is dead, or the bond moved",
                || {
                    let looked = mover.subject.oxbond("wait --timeout 0").unwrap();
                    looked.status.code() == Some(6) || moved(&mover)
                },
            )
            .unwrap();
            mover.subject.kill_daemon().unwrap();
            mover.wait_peer();
            mover.subject.start_daemon().unwrap();
            let why =
                format!("killed at {place}, on the way to {engine}, it is moved nevertheless");
            wait_until(PATIENCE * 2, &why, || moved(&mover))
                .unwrap_or_else(|e| panic!("{e}: {}", mover.subject.daemon().unwrap().stderr()));
            assert_eq!(mover.seen(), before, "killed at {place}");
            mover.wait_peer();
            let said = mover.subject.daemon().unwrap().stderr();
            assert!(!said.contains("was changed"), "killed at {place}: {said}");
        }
    }
}

/// Nothing is halfway for long: another daemon goes on, or back.
#[test]
fn inside_adoption_survives_the_daemon() {
    let mut mover = Mover::new(Topology::OneSwitch);
    mover.driver_up(mover.subject.host(), "mode active-backup");
    mover.ip(&[
        &format!("address add {}/24 dev bond0", HOST[0]),
        &format!("address add {}/64 dev bond0", HOST[1]),
    ]);
    mover.wait_peer();
    mover.subject.must("adopt bond0 --engine ebpf");
    mover.subject.kill_daemon().unwrap();
    mover.wait_peer();
    mover.subject.start_daemon().unwrap();
    let stays = |mover: &Mover, what: &str| {
        wait_until(PATIENCE * 2, what, || {
            let links = mover.subject.host().execute("ip", "-o link").unwrap();
            let bond = mover.subject.bond("bond0").unwrap();
            let ports = bond["ports"].as_array().unwrap().len();
            !links.contains("oxold")
                && !links.contains("oxnew")
                && ports == PORTS.len()
                && bond["engine"]["engine"] == "ebpf"
        })
        .unwrap_or_else(|e| panic!("{e}: {}", mover.subject.daemon().unwrap().stderr()));
        mover.wait_peer();
    };
    stays(&mover, "the ports have followed to another daemon's bond");

    mover.subject.must("adopt bond0 --engine kernel");
    wait_until(PATIENCE, "a port is the driver's", || {
        let links = mover.subject.host().execute("ip", "-o link").unwrap();
        links.contains("master oxnew")
    })
    .unwrap();
    mover.subject.kill_daemon().unwrap();
    mover.wait_peer();
    mover.subject.start_daemon().unwrap();
    stays(&mover, "the port is back");
}

/// A bond to be moved, and who is at the other end.
struct Case {
    options: &'static str,
    /// Of the driver's bond at the other end; without it that is a switch.
    partner: Option<&'static str>,
    ports: &'static [&'static str],
    /// 0 for IPv4, 1 for IPv6, and the other one is not there.
    version: usize,
    flows: u16,
}

const CASE: Case = Case {
    options: "",
    partner: None,
    ports: &PORTS,
    version: 0,
    flows: 1,
};

impl Case {
    fn run(&self) {
        let topology = match self.partner {
            None => Topology::OneSwitch,
            Some(options) if options.contains("802.3ad") => Topology::Cabled,
            Some(_) => Topology::Direct,
        };
        let mover = Mover {
            addresses: vec![PEER[self.version]],
            version: self.version,
            flows: self.flows,
            wanders: self.options.contains("fail_over_mac active"),
            ..Mover::with_ports(topology, self.ports)
        };
        let prefix = ["24", "64 nodad"][self.version];
        mover.driver_up(mover.subject.host(), self.options);
        mover.ip(&[&format!(
            "address add {}/{prefix} dev bond0",
            HOST[self.version]
        )]);
        if let Some(options) = self.partner {
            let peer = &mover.subject.rig.peer;
            mover.driver_up(peer, options);
            peer.ip(&format!(
                "address add {}/{prefix} dev bond0",
                PEER[self.version]
            ))
            .unwrap();
        }
        mover.wait_peer();
        let most = match topology {
            Topology::Direct => GAP + UNTOLD,
            _ => GAP,
        };
        to_and_fro(&mover, self.options, most, || {
            wait_until(PATIENCE, "the peer sends to a port", || mover.is_reached())
                .unwrap_or_else(|e| panic!("{e}: {}", mover.seen()));
            let options = || mover.subject.bond("bond0").unwrap()["options"].clone();
            wait_until(PATIENCE, "the monitor is as it was", || {
                options()["arp_missed_max"] == 2
            })
            .unwrap_or_else(|e| panic!("{e}: {}", options()));
        });
    }
}

const THREE: &[&str] = &["enp3s0", "enp4s0", "enp5s0"];

#[test]
fn inside_adoption_of_balance_rr() {
    Case {
        options: "mode balance-rr",
        partner: Some("mode balance-rr miimon 1"),
        ..CASE
    }
    .run();
}

#[test]
fn inside_adoption_of_balance_xor() {
    Case {
        options: "mode balance-xor xmit_hash_policy layer3+4",
        partner: Some("mode balance-xor xmit_hash_policy layer3+4 miimon 1"),
        flows: 2,
        ..CASE
    }
    .run();
}

#[test]
fn inside_adoption_of_broadcast() {
    Case {
        options: "mode broadcast",
        partner: Some("mode broadcast miimon 1"),
        ..CASE
    }
    .run();
}

#[test]
fn inside_adoption_of_balance_tlb() {
    Case {
        options: "mode balance-tlb",
        flows: 2,
        ..CASE
    }
    .run();
}

#[test]
fn inside_adoption_of_balance_alb() {
    Case {
        options: "mode balance-alb",
        flows: 2,
        ..CASE
    }
    .run();
}

#[test]
fn inside_adoption_of_a_bond_whose_address_is_its_primary_ports() {
    Case {
        options: "mode active-backup fail_over_mac active primary enp3s0 arp_interval 100 arp_ip_target 10.77.0.1",
        ports: THREE,
        ..CASE
    }
    .run();
}

#[test]
fn inside_adoption_of_a_bond_whose_address_follows() {
    Case {
        options: "mode active-backup fail_over_mac follow",
        version: 1,
        ..CASE
    }
    .run();
}

#[test]
fn inside_adoption_of_three_ports_whose_partner_is_slow() {
    Case {
        options: "mode 802.3ad lacp_rate slow",
        partner: Some("mode 802.3ad lacp_rate slow"),
        ports: THREE,
        ..CASE
    }
    .run();
}
