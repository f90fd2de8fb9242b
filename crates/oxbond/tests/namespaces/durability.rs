//! What is left when something dies or runs full in the wrong moment: nothing lost, nothing half done, clear words.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use oxbond_lab::machine::PATIENCE;
use oxbond_lab::proc::{Process, Signal, wait_until};
use serde_json::Value;

use crate::administration::settled;
use crate::common::{Ending, PEER, PORTS, Subject, on_driver};

/// A directory of this machine's namespace below its run-time directory.
fn namespace_dir(subject: &Subject) -> PathBuf {
    std::fs::read_dir(subject.run_dir())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.join("lock").exists())
        .unwrap()
}

fn state_file(subject: &Subject) -> PathBuf {
    namespace_dir(subject).join("bonds/bond0.json")
}

fn as_before(subject: &Subject, before: &Value) {
    wait_until(PATIENCE, "everything is as before", || {
        settled(subject) == *before
    })
    .unwrap_or_else(|e| panic!("{e}\nbefore {before:#}\nafter {:#}", settled(subject)));
}

/// Kills the daemon some time into a command, starts another one and takes down what it has.
fn killed_during(subject: &mut Subject, words: &str, delay: Duration) {
    let mut command = subject.command();
    command.args(words.split_whitespace());
    let mut running = Process::start("oxbond", command).unwrap();
    std::thread::sleep(delay);
    subject.kill_daemon().unwrap();
    running.wait_exit(PATIENCE).unwrap();
    subject.start_daemon().unwrap();
}

#[test]
fn root_a_daemon_killed_while_it_makes_a_bond_leaves_nothing_behind() {
    let mut subject = Subject::switched();
    subject.host().ip("link set enp4s0 down").unwrap();
    let before = settled(&subject);
    let mut found = 0;
    // Where all takes longer the moments may lie further apart.
    let (rounds, apart) = if on_driver() { (6, 60) } else { (24, 20) };
    for round in 0..rounds {
        killed_during(
            &mut subject,
            "up bond0 --mode active-backup --port enp3s0 --port enp4s0 --address 10.77.0.2/24",
            Duration::from_millis(round * apart),
        );
        if subject.bond("bond0").is_ok() {
            found += 1;
            subject.must("down bond0");
        }
        as_before(&subject, &before);
    }
    println!("{found} of {rounds} kills came after the bond was whole");
    assert!(found < rounds, "no kill hit the making");
    subject.host().ip("link set enp4s0 up").unwrap();
    subject.up("--mode active-backup");
}

#[test]
fn root_a_daemon_killed_while_ports_come_and_go_leaves_each_in_or_out() {
    let mut subject = Subject::switched();
    let before = settled(&subject);
    subject.must("up bond0 --mode active-backup --port enp3s0 --address 10.77.0.2/24");
    let (rounds, apart) = if on_driver() { (4, 40) } else { (12, 10) };
    for round in 0..rounds {
        let words = if subject.bond("bond0").unwrap()["ports"]
            .as_array()
            .unwrap()
            .len()
            == 1
        {
            "add-port bond0 enp4s0"
        } else {
            "remove-port bond0 enp4s0"
        };
        killed_during(&mut subject, words, Duration::from_millis(round * apart));
        let bond = subject.bond("bond0").unwrap();
        let inside = bond["ports"].as_array().unwrap().len() == 2;
        assert_eq!(
            bond["expected"].as_array().unwrap().len(),
            if inside { 2 } else { 1 }
        );
        let (bond_mac, port_mac) = (
            subject.host().mac("bond0").unwrap(),
            subject.host().mac("enp4s0").unwrap(),
        );
        assert_eq!(bond_mac == port_mac, inside, "round {round}, {words}");
    }
    // `down` too can be cut short.
    killed_during(&mut subject, "down bond0", Duration::from_millis(4));
    if subject.bond("bond0").is_ok() {
        subject.must("down bond0");
    }
    as_before(&subject, &before);
}

#[test]
fn root_a_full_disk_refuses_changes_and_down_still_works() {
    let subject = Subject::switched();
    let bonds = namespace_dir(&subject).join("bonds");
    let mounted = Mounted::tmpfs(&bonds, "size=64k");
    let before = settled(&subject);
    let ballast = bonds.join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap_err();
    let said = subject.fails("up bond0 --mode active-backup --port enp3s0", 5);
    assert!(
        said.contains("No space left") && said.contains("make room"),
        "{said}"
    );
    as_before(&subject, &before);

    std::fs::remove_file(&ballast).unwrap();
    subject.must("up bond0 --mode active-backup --port enp3s0 --miimon 100");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap_err();
    for words in [
        "add-port bond0 enp4s0",
        "remove-port bond0 enp3s0",
        "set bond0 --miimon 50",
    ] {
        assert!(subject.fails(words, 5).contains("No space left"));
    }
    let bond = subject.bond("bond0").unwrap();
    assert_eq!(bond["options"]["miimon"], 100);
    assert_eq!(bond["ports"].as_array().unwrap().len(), 1);
    assert!(subject.must("down bond0").contains("as they were"));
    as_before(&subject, &before);
    drop(mounted);
}

struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &std::path::Path, options: &str) -> Self {
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(at)
            .status()
            .unwrap();
        assert!(status.success());
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

/// What a monitor does by itself is saved now and then, what a user was told at once.
#[test]
fn root_what_was_answered_outlives_the_daemon_while_a_monitor_goes_on() {
    let mut subject = Subject::bonded(
        "--mode active-backup --arp-interval 50 --arp-ip-target 10.77.0.1 --resend-igmp 0",
    );
    for value in [2, 3] {
        // Some of the monitor's ticks.
        std::thread::sleep(Duration::from_millis(150));
        subject.must(&format!("set bond0 --resend-igmp {value}"));
        subject.kill_daemon().unwrap();
        subject.start_daemon().unwrap();
        let bond = subject.bond("bond0").unwrap();
        assert_eq!(bond["options"]["resend_igmp"], value);
    }
}

#[test]
fn root_a_bond_deleted_while_no_daemon_ran_gives_its_ports_back() {
    let mut subject = Subject::switched();
    let before = settled(&subject);
    subject.up("--mode active-backup");
    subject.kill_daemon().unwrap();
    subject.host().ip("link delete bond0").unwrap();
    subject.start_daemon().unwrap();
    subject.fails("status bond0", 3);
    as_before(&subject, &before);
    subject.up("--mode active-backup");
}

#[test]
fn root_lost_pins_a_renamed_and_a_vanished_port_are_mended() {
    let mut subject = Subject::active_backup();
    let pins = pins_of(&subject);
    subject.kill_daemon().unwrap();
    for part in ["links", "programs", "maps"] {
        std::fs::remove_dir_all(pins.join(part)).unwrap();
    }
    subject.rig.middle().unwrap().ip("link delete sw1").unwrap();
    subject.host().ip("link set enp3s0 down").unwrap();
    subject.host().ip("link set enp3s0 name lan0").unwrap();
    subject.host().ip("link set lan0 up").unwrap();
    subject.start_daemon().unwrap();
    subject.wait_active("bond0", "lan0").unwrap();
    subject.wait_peer(&PEER).unwrap();
    let bond = subject.bond("bond0").unwrap();
    assert_eq!(bond["expected"], serde_json::json!(["lan0", "enp4s0"]));
    assert_eq!(bond["ports"].as_array().unwrap().len(), 1);
    assert!(subject.must("remove-port bond0 lan0").contains("taken out"));
}

fn pins_of(subject: &Subject) -> PathBuf {
    let namespace = namespace_dir(subject);
    let namespace = namespace.file_name().unwrap();
    [PathBuf::from("/sys/fs/bpf"), subject.run_dir().join("bpf")]
        .into_iter()
        .map(|root| root.join("oxbond").join(namespace).join("bond0"))
        .find(|path| path.exists())
        .unwrap()
}

#[test]
fn root_a_state_file_that_cannot_be_read_leaves_the_bond_alone_until_it_is_taken_down() {
    for (text, readable) in [("{ \"version\": 1, \"wan", false), ("", true)] {
        let mut subject = Subject::switched();
        let before = settled(&subject);
        subject.up("--mode active-backup");
        subject.kill_daemon().unwrap();
        let file = state_file(&subject);
        if readable {
            // Of a later version, with what is known of the ports in the same place.
            let mut saved: Value =
                serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
            saved["version"] = 99.into();
            saved["core"] = Value::Null;
            std::fs::write(&file, saved.to_string()).unwrap();
        } else {
            std::fs::write(&file, text).unwrap();
        }
        subject.start_daemon().unwrap();
        let log = subject.daemon().unwrap().stderr();
        assert!(
            log.contains("bond0.json") && log.contains("oxbond down bond0"),
            "{log}"
        );
        // It carries on without a daemon, and nobody takes its name.
        subject.wait_peer(&PEER).unwrap();
        let said = subject.fails("up bond0 --mode active-backup --port enp3s0", 3);
        assert!(said.contains("oxbond down bond0"), "{said}");
        let said = subject.must("down bond0");
        assert_eq!(said.contains("as they were"), readable, "{said}");
        assert!(subject.host().link("bond0").is_err());
        if readable {
            as_before(&subject, &before);
        } else {
            assert!(said.contains("does not tell how its ports were"), "{said}");
        }
        assert!(!file.exists());
    }
}

#[test]
fn root_an_expected_port_that_cannot_join_is_no_storm() {
    let subject = Subject::active_backup();
    subject.rig.middle().unwrap().ip("link delete sw0").unwrap();
    subject.wait_active("bond0", "enp4s0").unwrap();
    let host = subject.host();
    host.ip("link add other type veth peer name back").unwrap();
    host.ip("address add 192.0.2.1/24 dev other").unwrap();
    host.ip("link set back up").unwrap();
    host.ip("link set other name enp3s0").unwrap();
    for n in 0..50 {
        host.ip(&format!("link set enp3s0 mtu {}", 1400 + n))
            .unwrap();
    }
    host.ip("link set enp3s0 up").unwrap();
    let mut daemon = subject.daemon().unwrap();
    wait_until(PATIENCE, "the refusal is logged", || {
        daemon.stderr().contains("cannot join")
    })
    .unwrap();
    let log = daemon.stderr();
    let host = subject.host();
    host.ip("address flush dev enp3s0").unwrap();
    wait_until(PATIENCE, "it joins by itself", || {
        subject.bond("bond0").unwrap()["ports"]
            .as_array()
            .unwrap()
            .len()
            == 2
    })
    .unwrap();
    daemon = subject.daemon().unwrap();
    assert!(log.len() < 10_000 && daemon.stderr().matches("cannot join").count() <= 2);
}

/// The control socket, spoken by hand.
struct Wire {
    reader: BufReader<UnixStream>,
}

impl Wire {
    fn to(subject: &Subject) -> Self {
        let stream = UnixStream::connect(namespace_dir(subject).join("control.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            reader: BufReader::new(stream),
        }
    }

    fn say(&mut self, request: &Value) {
        let line = serde_json::json!({"version": 1, "request": request}).to_string() + "\n";
        self.reader.get_mut().write_all(line.as_bytes()).unwrap();
    }

    /// `None` when the daemon has hung up.
    fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        (self.reader.read_line(&mut line).unwrap() > 0)
            .then(|| serde_json::from_str(&line).unwrap())
    }

    fn set_miimon(&mut self, value: u32) {
        self.say(&serde_json::json!({"set": {"bond": "bond0", "options": [["miimon", value.to_string()]]}}));
        let reply = self.hear().unwrap();
        assert!(reply.get("done").is_some(), "{reply}");
    }
}

#[test]
fn root_events_follow_the_snapshot_without_a_gap_or_a_double() {
    let subject = Subject::active_backup();
    let mut changer = Wire::to(&subject);
    let end = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ending = Ending(&end);
        scope.spawn(|| {
            let mut miimon = 50;
            while !end.load(std::sync::atomic::Ordering::Relaxed) {
                changer.set_miimon(miimon);
                miimon = 150 - miimon;
            }
        });
        for _ in 0..if on_driver() { 3 } else { 10 } {
            let mut listener = Wire::to(&subject);
            listener.say(&"events".into());
            let snapshot = listener.hear().unwrap();
            let mut sequence = snapshot["bonds"]["sequence"].as_u64().unwrap();
            let mut miimon = snapshot["bonds"]["bonds"][0]["options"]["miimon"]
                .as_u64()
                .unwrap();
            for _ in 0..50 {
                let event = listener.hear().unwrap()["event"].clone();
                sequence += 1;
                assert_eq!(event["sequence"], sequence, "{event}");
                // The state of the snapshot is exactly that before the first event.
                if event["event"]["kind"] == "options_changed" {
                    miimon = 150 - miimon;
                    assert_eq!(
                        event["event"]["changes"][0],
                        serde_json::json!(["miimon", miimon.to_string()])
                    );
                }
            }
        }
    });
}

#[test]
fn root_a_listener_that_does_not_read_is_cut_off_and_disturbs_nobody() {
    let subject = Subject::active_backup();
    let mut sleeper = Wire::to(&subject);
    sleeper.say(&"events".into());
    let first = sleeper.hear().unwrap()["bonds"]["sequence"]
        .as_u64()
        .unwrap();
    let mut changer = Wire::to(&subject);
    for n in 0..6000 {
        changer.set_miimon(if n % 2 == 0 { 50 } else { 100 });
    }
    let mut sequence = first;
    while let Some(reply) = sleeper.hear() {
        sequence += 1;
        assert_eq!(
            reply["event"]["sequence"], sequence,
            "no gap before the end"
        );
    }
    assert!(sequence > first && sequence < first + 6000);
    assert_eq!(subject.active("bond0").unwrap().as_deref(), Some(PORTS[0]));
}

#[test]
fn root_oxbond_events_prints_what_happens() {
    let subject = Subject::active_backup();
    let mut command = subject.command();
    command.arg("events");
    let listener = Process::start("oxbond events", command).unwrap();
    let mut json = subject.command();
    json.args(["events", "--json"]);
    let json = Process::start("oxbond events --json", json).unwrap();
    wait_until(PATIENCE, "both listen", || {
        listener.stderr() == "listening: 1 bond\n" && !json.stdout().is_empty()
    })
    .unwrap();
    subject.rig.cut(0).unwrap();
    wait_until(PATIENCE, "the failover is told with its cause", || {
        let said = listener.stdout();
        said.contains("bond0: (slave enp4s0): making interface the new active one")
            && said.contains("enp3s0 lost its link")
    })
    .unwrap_or_else(|e| panic!("{e}\n{}", listener.stdout()));
    wait_until(PATIENCE, "also as JSON", || {
        json.stdout().lines().any(|line| {
            serde_json::from_str::<Value>(line)
                .is_ok_and(|v| v["event"]["event"]["kind"] == "active_port")
        })
    })
    .unwrap();
    json.signal(Signal::TERM).unwrap();
}

#[test]
fn root_what_a_user_does_to_interfaces_harms_nobody() {
    let subject = Subject::active_backup();
    let host = subject.host();
    host.ip("link set bond0 down").unwrap();
    host.ip("link set bond0 up").unwrap();
    host.execute("ip", "link set bond0 address 03:00:00:00:00:01")
        .unwrap_err();
    host.ip("link set enp4s0 down").unwrap();
    host.ip("link set enp4s0 up").unwrap();
    host.ip("link set enp4s0 promisc on").unwrap();
    host.ip("link set enp4s0 promisc off").unwrap();
    if !on_driver() {
        host.ip("link set ox.bond0 down").unwrap();
        host.ip("link set ox.bond0 up").unwrap();
    }
    subject.wait_peer(&PEER[..1]).unwrap();
    subject.wait_active("bond0", "enp3s0").unwrap();
    // A loop of the daemon with itself would show as wake-ups.
    subject.wait_rest(40);
    let log = subject.daemon().unwrap().stderr();
    assert!(!log.contains("panic") && !log.contains("bug"), "{log}");
}
