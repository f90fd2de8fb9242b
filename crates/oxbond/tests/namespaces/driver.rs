//! 802.3ad with the kernel's own bonding driver at the other end of two cables; run in a guest by `guest`.

use std::time::{Duration, Instant};

use oxbond_lab::machine::PATIENCE;
use oxbond_lab::netns::Namespace;
use oxbond_lab::proc::wait_until;
use oxbond_lab::rig::{Plan, Topology, Way};

use crate::common::{HOST, PEER, PORTS, Subject};

/// Packets per second of one direction: few, for an emulated kernel drops some of many.
const RATE: u32 = 250;

/// Flows: with fewer it may happen that a hash sends all of one direction the same way.
const FLOWS: u16 = 32;

/// Packets that an emulated kernel may drop of one measurement's 500 by itself.
const DROPPED: u64 = 10;

/// How much longer than two drivers we and a driver may need to form: 0.3 s, and what an emulated processor adds.
const LONGER_THAN_DRIVERS: Duration = Duration::from_millis(1000);

/// How much longer if one of the two waits to be spoken to: until the other's next PDU.
const LONGER_IF_PASSIVE: Duration = Duration::from_millis(2000);

/// Our options beside the rate: no data before the partner agrees.
const OURS: &str = "--mode 802.3ad --miimon 100 --xmit-hash-policy layer3+4 --lacp-strict on";

/// What `/proc/net/bonding` says of one port.
#[derive(Debug, Default)]
struct DriverPort {
    aggregator: String,
    actor_churn: String,
    partner_churn: String,
    partner_system: String,
    partner_key: String,
    partner_state: u8,
}

/// What `/proc/net/bonding` says.
#[derive(Debug, Default)]
struct Driver {
    aggregator: String,
    ports: String,
    partner: String,
    each: Vec<DriverPort>,
}

impl Driver {
    fn read(namespace: &Namespace) -> Self {
        let text = namespace
            .execute("cat", "/proc/net/bonding/bond0")
            .unwrap_or_default();
        let mut driver = Self::default();
        // The fields of our end and of the partner's have the same names.
        let mut of_partner = false;
        for line in text.lines().map(str::trim) {
            of_partner = match line {
                "details partner lacp pdu:" => true,
                "details actor lacp pdu:" => false,
                _ => of_partner,
            };
            let Some((name, value)) = line.split_once(": ") else {
                continue;
            };
            let value = value.trim().to_owned();
            if name == "Slave Interface" {
                driver.each.push(DriverPort::default());
                of_partner = false;
                continue;
            }
            let Some(port) = driver.each.last_mut() else {
                match name {
                    "Aggregator ID" => driver.aggregator = value,
                    "Number of ports" => driver.ports = value,
                    "Partner Mac Address" => driver.partner = value,
                    _ => {}
                }
                continue;
            };
            match name {
                "Aggregator ID" => port.aggregator = value,
                "Actor Churn State" => port.actor_churn = value,
                "Partner Churn State" => port.partner_churn = value,
                "system mac address" if of_partner => port.partner_system = value,
                "oper key" if of_partner => port.partner_key = value,
                "port state" if of_partner => port.partner_state = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        driver
    }

    /// Both ports are in the active aggregator, with `partner` at the other end in sync, collecting and distributing.
    fn has_both_with(&self, partner: &str) -> bool {
        let agreed = |port: &DriverPort| {
            port.aggregator == self.aggregator
                && port.partner_system == partner
                && port.partner_state & 0x38 == 0x38
                && port.actor_churn != "churned"
                && port.partner_churn != "churned"
        };
        self.partner == partner
            && self.ports == "2"
            && self.each.len() == 2
            && self.each.iter().all(agreed)
    }
}

impl DriverPort {
    /// Both ends were in sync when the driver looked, a minute after they met: before, it says "monitoring".
    fn has_not_churned(&self) -> bool {
        self.actor_churn == "none" && self.partner_churn == "none"
    }
}

/// Our daemon at one end of two cables, the driver at the other.
struct Pair {
    subject: Subject,
}

impl Pair {
    fn new() -> Self {
        let subject = Subject::new(Plan::new(Topology::Cabled, &PORTS));
        Self { subject }
    }

    fn peer(&self) -> &Namespace {
        &self.subject.rig.peer
    }

    /// Makes the driver's bond at one end; its ports come up with it.
    fn driver_up(&self, end: &Namespace, options: &str) {
        let make = "link add bond0 type bond mode 802.3ad miimon 100 xmit_hash_policy layer3+4";
        end.ip(&format!("{make} {options}")).unwrap();
        for port in PORTS {
            end.set_link(port, false).unwrap();
            end.ip(&format!("link set {port} master bond0")).unwrap();
        }
        end.set_link("bond0", true).unwrap();
    }

    fn driver_down(&self, end: &Namespace) {
        end.ip("link del bond0").unwrap();
        for port in PORTS {
            end.set_link(port, true).unwrap();
        }
    }

    fn ours_up(&self, options: &str) {
        let ports = "--port enp3s0 --port enp4s0";
        self.subject.must(&format!(
            "up bond0 {ports} --address {}/24 --address {}/64 {OURS} {options}",
            HOST[0], HOST[1]
        ));
    }

    /// Which of our ports carry traffic.
    fn carrying(&self) -> [bool; 2] {
        let bond = self.subject.bond("bond0").unwrap();
        [0, 1].map(|index| bond["ports"][index]["role"] == "active")
    }

    /// How often our daemon has said this.
    fn said(&self, words: &str) -> usize {
        let log = self.subject.daemon().unwrap().stderr();
        log.matches(words).count()
    }

    fn wait_carrying(&self, wanted: [bool; 2], what: &str) {
        wait_until(PATIENCE, what, || self.carrying() == wanted)
            .unwrap_or_else(|e| panic!("{e}: {:#?}", Driver::read(self.peer())));
    }

    /// Waits until both ends have both ports in one aggregate, and asserts that they carry traffic both ways.
    fn wait_formed(&self, what: &str) -> Driver {
        self.wait_carrying([true, true], &format!("{what}: both of our ports carry"));
        let ours = self.subject.host().mac("bond0").unwrap();
        wait_until(PATIENCE, &format!("{what}: the driver has us"), || {
            Driver::read(self.peer()).has_both_with(&ours)
        })
        .unwrap_or_else(|e| panic!("{e}: {ours} {:#?}", Driver::read(self.peer())));
        Driver::read(self.peer())
    }

    /// Makes the driver's bond at the peer, and returns how long it takes until it shows both ports in one aggregate.
    fn forms_with(&self, partner: &str, options: &str) -> Duration {
        let begin = Instant::now();
        self.driver_up(self.peer(), options);
        wait_until(PATIENCE, options, || {
            Driver::read(self.peer()).has_both_with(partner)
        })
        .unwrap_or_else(|e| panic!("{e}: {partner} {:#?}", Driver::read(self.peer())));
        begin.elapsed()
    }

    /// What the ports of both ends have transmitted: ours, the driver's.
    fn transmitted(&self) -> [u64; 4] {
        let [a, b] = self.subject.counted("tx_packets");
        let [c, d] = PORTS.map(|port| {
            let link = self
                .peer()
                .ip_json(&format!("-s link show {port}"))
                .unwrap();
            link[0]["stats64"]["tx"]["packets"].as_u64().unwrap()
        });
        [a, b, c, d]
    }

    /// Traffic both ways for a second; asserts that it arrives, over these ports of both ends and no others.
    fn assert_traffic(&self, over: [bool; 2], what: &str) {
        // An address goes with the device that had it.
        let _ = self
            .subject
            .rig
            .add_address(self.peer(), "bond0", &format!("{}/24", PEER[0]));
        self.subject.wait_peer(&PEER[..1]).unwrap();
        let before = self.transmitted();
        let meter = self.subject.traffic(0);
        let report = meter
            .rate(RATE)
            .flows(FLOWS)
            .both_ways()
            .run(Duration::from_secs(1))
            .unwrap();
        assert!(report.lost() <= DROPPED, "{what}\n{report}");
        let after = self.transmitted();
        let wanted = [over[0], over[1], over[0], over[1]];
        for (at, carries) in wanted.into_iter().enumerate() {
            let sent = after[at] - before[at];
            // What a port that stands by sends are LACPDUs.
            assert_eq!(sent > 20, carries, "{what}: {before:?} {after:?}");
        }
    }
}

#[test]
fn inside_driver_forms_at_every_rate_and_activity() {
    let steady = Pair::new();
    steady.driver_up(steady.peer(), "lacp_rate slow");
    steady.ours_up("--lacp-rate slow");
    steady.wait_formed("the pair that is left alone");

    let pair = Pair::new();
    let host = pair.subject.host();
    pair.driver_up(host, "lacp_rate fast");
    let mac = host.mac("bond0").unwrap();
    let of_drivers = pair.forms_with(&mac, "lacp_rate fast");
    pair.driver_down(host);
    pair.driver_down(pair.peer());

    pair.ours_up("--lacp-rate fast");
    let mac = host.mac("bond0").unwrap();
    let variants = [
        // Ours, the driver's, what the driver shows of us.
        ("--lacp-rate fast", "lacp_rate fast", 0x3f),
        ("--coupled-control off", "lacp_rate slow", 0x3f),
        ("--lacp-active on", "lacp_rate fast lacp_active off", 0x3f),
        (
            "--lacp-rate slow --coupled-control on",
            "lacp_rate slow",
            0x3d,
        ),
        ("--lacp-active off", "lacp_rate fast", 0x3c),
    ];
    for (ours, theirs, state) in variants {
        let what = format!("ours {ours}, the driver's {theirs}");
        pair.subject.must(&format!("set bond0 {ours}"));
        let took = pair.forms_with(&mac, theirs);
        eprintln!("{what}: formed in {took:?}, two drivers in {of_drivers:?}");
        let mut longer = LONGER_THAN_DRIVERS;
        if what.contains("active off") {
            longer += LONGER_IF_PASSIVE;
        }
        assert!(took <= of_drivers + longer, "{what}: took {took:?}");
        let driver = pair.wait_formed(&what);
        for port in &driver.each {
            assert_eq!(port.partner_state, state, "{what}: {driver:#?}");
        }
        pair.assert_traffic([true, true], &what);
        pair.driver_down(pair.peer());
        pair.wait_carrying([false, false], &what);
        assert!(!host.has_carrier("bond0").unwrap(), "{what}");
    }

    wait_until(
        PATIENCE * 2,
        "the driver finds that nothing churned",
        || {
            let driver = Driver::read(steady.peer());
            driver.each.iter().all(DriverPort::has_not_churned)
        },
    )
    .unwrap_or_else(|e| panic!("{e}: {:#?}", Driver::read(steady.peer())));
    steady.assert_traffic([true, true], "after a minute");
}

#[test]
fn inside_driver_survives_faults_and_changes() {
    let pair = Pair::new();
    let (rig, host) = (&pair.subject.rig, pair.subject.host());
    pair.driver_up(pair.peer(), "lacp_rate fast");
    pair.ours_up("--lacp-rate fast --coupled-control off");
    pair.wait_formed("at first");

    for index in 0..2 {
        let others = [index != 0, index != 1];
        rig.cut(index).unwrap();
        pair.wait_carrying(others, "a link is cut");
        pair.assert_traffic(others, "a link is cut");
        rig.restore(index).unwrap();
        pair.wait_formed("the link is back");
    }
    pair.assert_traffic([true, true], "both links are back");

    // A silent fault, one way: we hear the driver, it does not hear us.
    let stopped = || {
        pair.said("(slave enp3s0): collecting, not distributing: partner expects fast, hears slow")
    };
    let before = stopped();
    let since = rig.blackhole(0, Way::FromHost).unwrap();
    wait_until(
        PATIENCE,
        "we send nothing where the driver does not hear us",
        || stopped() > before,
    )
    .unwrap();
    let took = since.elapsed();
    eprintln!("one-way fault seen in {took:?}");
    // 3 s after our last PDU that it heard the driver says so, at its next tick; the rest is the emulated processor's.
    assert!(took < Duration::from_millis(4000), "took {took:?}");
    pair.wait_carrying([false, true], "the driver does not hear us on one link");
    pair.assert_traffic([false, true], "one-way fault");
    rig.restore(0).unwrap();
    pair.wait_formed("the one-way fault is healed");

    let key = |driver: &Driver| driver.each[0].partner_key.clone();
    let before = key(&Driver::read(pair.peer()));
    pair.subject.must("set bond0 --ad-user-port-key 5");
    wait_until(PATIENCE, "the driver has our new key", || {
        let driver = Driver::read(pair.peer());
        key(&driver) != before
            && driver
                .each
                .iter()
                .all(|port| port.partner_key == key(&driver))
    })
    .unwrap();
    pair.wait_formed("our key has changed");

    host.ip("link set bond0 address 02:00:5e:00:53:07").unwrap();
    wait_until(PATIENCE, "the driver has our new system", || {
        Driver::read(pair.peer()).partner == "02:00:5e:00:53:07"
    })
    .unwrap();
    pair.wait_formed("our address has changed");
    pair.assert_traffic([true, true], "after our changes");

    pair.peer()
        .ip("link set bond0 address 02:00:5e:00:53:09")
        .unwrap();
    pair.wait_formed("the driver's address has changed");
    pair.peer().set_link("bond0", false).unwrap();
    pair.wait_carrying([false, false], "the driver's bond is down");
    pair.peer()
        .ip("link set bond0 type bond ad_user_port_key 7 lacp_rate slow")
        .unwrap();
    pair.peer().set_link("bond0", true).unwrap();
    pair.wait_formed("the driver's key and rate have changed");
    pair.assert_traffic([true, true], "after the driver's changes");
}
