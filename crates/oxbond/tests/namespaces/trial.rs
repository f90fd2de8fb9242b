//! `oxbond try`, `confirm`, `rollback`: whatever happens, either the new network was confirmed or the old one is back.

use std::process::Command;
use std::time::{Duration, Instant};

use oxbond_lab::machine::{End, PATIENCE};
use oxbond_lab::proc::{Process, Signal, wait_until};
use oxbond_lab::rig::{Plan, Topology};

use crate::administration::settled;
use crate::apply::{as_before, file, hasty, remote};
use crate::common::{PEER, PORTS, Subject};

/// A bond in a bridge that takes over the only address.
const NEW: &str = "network:\n  version: 2\n  ethernets: {enp3s0: {}, enp4s0: {}}\n  bonds:\n    bond0:\n      interfaces: \
                   [enp3s0, enp4s0]\n      mtu: 1400\n      macaddress: 02:00:5e:00:53:77\n      parameters: {mode: balance-xor, \
                   mii-monitor-interval: 50}\n  bridges:\n    vmbr0:\n      interfaces: [bond0]\n      addresses: [10.77.0.2/24]\n      \
                   parameters: {stp: false, forward-delay: 0}\n      routes: [{to: default, via: GATEWAY}]\n";

fn new(subject: &Subject, gateway: &str) -> String {
    let file = file(subject, "50.yaml", &NEW.replace("GATEWAY", gateway));
    file.display().to_string()
}

/// Starts a trial and waits until its steps are taken.
fn tried(subject: &Subject, words: &str) -> Process {
    let mut command: Command = subject.command();
    command.arg("try");
    command.args(words.split_whitespace());
    let mut process = Process::start("oxbond try", command).unwrap();
    process
        .wait_ready(PATIENCE, "the countdown begins", |process| {
            process.stderr().contains("s left for")
        })
        .unwrap();
    process
}

/// A trial that ends by itself, maybe before anybody has seen it begin; what it said.
fn tried_in_vain(subject: &Subject, words: &str) -> String {
    subject.fails(&format!("try {words}"), 3)
}

#[test]
fn root_a_confirmed_trial_stays() {
    let mut subject = hasty();
    remote(&subject);
    let path = new(&subject, PEER[0]);
    let mut trial = tried(&subject, &format!("--gate gateway {path}"));
    subject.wait_peer(&PEER[..1]).unwrap();
    wait_until(PATIENCE, "the gateway has answered", || {
        subject
            .daemon()
            .unwrap()
            .stderr()
            .contains("there is gateway")
    })
    .unwrap();
    let said = subject.fails("set bond0 --miimon 70", 3);
    assert!(said.contains("on trial"), "{said}");
    subject.must("confirm");
    assert!(trial.wait_exit(PATIENCE).unwrap().success());
    assert!(subject.fails("confirm", 3).contains("nothing is on trial"));
    subject.kill_daemon().unwrap();
    subject.start_daemon().unwrap();
    subject.wait_peer(&PEER[..1]).unwrap();
    let said = subject.must(&format!("apply --from netplan {path}"));
    assert_eq!(said.trim(), "nothing to change");
    // And without a difference there is nothing to try.
    let said = subject.must(&format!("try --from netplan {path}"));
    assert_eq!(said.trim(), "nothing to change");
}

#[test]
fn root_a_trial_that_nobody_confirms_goes_back() {
    let subject = hasty();
    remote(&subject);
    let before = settled(&subject);
    let path = new(&subject, PEER[0]);

    let said = tried_in_vain(&subject, &format!("--timeout 1 {path}"));
    assert!(
        said.contains("no confirmation came within 1 s; everything is as it was before"),
        "{said}"
    );
    as_before(&subject, &before);

    // Ctrl-C, and `rollback` from elsewhere.
    let mut trial = tried(&subject, &path);
    trial.signal(Signal::INT).unwrap();
    assert_eq!(trial.wait_exit(PATIENCE).unwrap().code(), Some(3));
    as_before(&subject, &before);
    let mut trial = tried(&subject, &path);
    subject.must("rollback");
    trial.wait_exit(PATIENCE).unwrap();
    as_before(&subject, &before);

    // Who attends the trial is killed: the time goes on.
    let mut trial = tried(&subject, &format!("--timeout 3 {path}"));
    trial.signal(Signal::KILL).unwrap();
    trial.wait_exit(PATIENCE).unwrap();
    as_before(&subject, &before);
    subject.wait_peer(&PEER[..1]).unwrap();
}

/// An address that comes back is again the one that packets leave with, though somebody else's of the same network stayed; and
/// the address of the link that was made of a link-layer address goes with that.
#[test]
fn root_a_trial_goes_back_to_addresses_in_their_order() {
    let subject = Subject::switched();
    let text = |address: &str, mode: &str| {
        format!(
            "[bond.bond0]\nports = [\"enp3s0\", \"enp4s0\"]\naddress = \"{address}/24\"\nmode = {mode}\n"
        )
    };
    let old = file(
        &subject,
        "old.toml",
        &text("10.77.0.2", "\"active-backup\""),
    );
    subject.must(&format!("apply {}", old.display()));
    for words in [
        "address add 10.77.0.7/24 dev bond0",
        "route add 192.0.2.0/24 via 10.77.0.1",
    ] {
        subject.host().ip(words).unwrap();
    }
    subject.wait_peer(&PEER[..1]).unwrap();
    let before = settled(&subject);
    let mode = "\"balance-xor\"\nmac = \"02:00:5e:00:53:77\"";
    let new = file(&subject, "new.toml", &text("10.77.0.5", mode));
    let mut trial = tried(&subject, &format!("--timeout 60 {}", new.display()));
    subject.wait_peer(&PEER[..1]).unwrap();
    subject.must("rollback");
    trial.wait_exit(PATIENCE).unwrap();
    as_before(&subject, &before);
}

#[test]
fn root_a_gate_that_stays_shut_ends_a_trial_at_once() {
    let subject = hasty();
    remote(&subject);
    let before = settled(&subject);
    let path = new(&subject, "10.77.0.99");
    let begun = Instant::now();
    let words = format!("--timeout 100 --gate gateway --gate-within 1 {path}");
    let said = tried_in_vain(&subject, &words);
    // Long before the trial's own time is up.
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert!(
        said.contains("waited 1 s in vain for gateway 10.77.0.99 to answer over vmbr0"),
        "{said}"
    );
    as_before(&subject, &before);
    let said = subject.fails(&format!("try --from netplan --gate partner {path}"), 2);
    assert!(said.contains("no bond of mode 802.3ad"), "{said}");
    // A bond whose partner does not speak.
    let lacp = file(
        &subject,
        "lacp.yaml",
        &NEW.replace("GATEWAY", PEER[0])
            .replace("balance-xor", "802.3ad"),
    );
    let words = format!("--gate partner --gate-within 1 {}", lacp.display());
    let said = tried_in_vain(&subject, &words);
    assert!(
        said.contains("in vain for an LACP partner of bond0"),
        "{said}"
    );
    as_before(&subject, &before);
}

/// Kills the daemon before each step of a trial in turn, and starts another. Answers how many steps there were.
fn killed_at_each_step(subject: &mut Subject, path: &str) -> usize {
    let before = settled(subject);
    for step in 0.. {
        subject.kill_daemon().unwrap();
        subject
            .start_daemon_with("OXBOND_TEST_KILLED_AT", &format!("step {step}"))
            .unwrap();
        let mut command = subject.command();
        command.args(["try", "--from", "netplan", "--timeout", "60", path]);
        let mut trial = Process::start("oxbond try", command).unwrap();
        let begun = |trial: &mut Process| trial.stderr().contains("s left for");
        wait_until(PATIENCE, "the daemon is dead or the trial begun", || {
            let looked = subject.oxbond("wait --timeout 0").unwrap();
            begun(&mut trial) || looked.status.code() == Some(6)
        })
        .unwrap();
        let done = begun(&mut trial);
        subject.kill_daemon().unwrap();
        trial.wait_exit(PATIENCE).unwrap();
        subject.start_daemon().unwrap();
        as_before(subject, &before);
        subject.wait_peer(&PEER[..1]).unwrap();
        if done {
            return step;
        }
    }
    unreachable!("a trial has an end")
}

#[test]
fn root_a_daemon_killed_at_any_step_of_a_trial_is_followed_by_one_that_goes_back() {
    let mut subject = hasty();
    remote(&subject);
    let path = new(&subject, PEER[0]);
    let steps = killed_at_each_step(&mut subject, &path);
    println!("from an interface with the address: {steps} steps");
    assert!(steps > 10, "{steps} steps");
}

#[test]
fn root_a_daemon_killed_while_a_bond_changes_is_followed_by_one_that_goes_back() {
    let mut subject = hasty();
    let old = "[bond.bond0]\nmode = \"active-backup\"\nports = [\"enp3s0\"]\nupdelay = 200\n\
               address = [\"10.77.0.2/24\", \"10.77.0.3/24\"]\ngateway = \"10.77.0.1\"\n";
    let toml = file(&subject, "bond0.toml", old);
    subject.must(&format!("apply {}", toml.display()));
    subject.must("set bond0 --num-grat-arp 7");
    subject.wait_peer(&PEER[..1]).unwrap();
    let options = |subject: &Subject| {
        let bond = subject.bond("bond0").unwrap();
        (bond["options"].clone(), bond["expected"].clone())
    };
    let before = options(&subject);
    let path = new(&subject, PEER[0]);
    let steps = killed_at_each_step(&mut subject, &path);
    println!("from another bond: {steps} steps");
    assert!(steps > 8, "{steps} steps");
    assert_eq!(options(&subject), before);
}

#[test]
fn root_a_daemon_killed_on_the_way_back_is_followed_by_one_that_goes_on() {
    let mut subject = hasty();
    remote(&subject);
    let before = settled(&subject);
    let path = new(&subject, PEER[0]);
    for step in [0, 1, 3] {
        subject.kill_daemon().unwrap();
        subject
            .start_daemon_with("OXBOND_TEST_KILLED_AT", &format!("back {step}"))
            .unwrap();
        let mut trial = tried(&subject, &path);
        let said = subject.fails("rollback", 6);
        assert!(said.contains("daemon"), "killed at step {step}: {said}");
        trial.wait_exit(PATIENCE).unwrap();
        subject.kill_daemon().unwrap();
        subject.start_daemon().unwrap();
        as_before(&subject, &before);
    }
}

#[test]
fn root_an_lacp_partner_opens_its_gate() {
    let mut subject = Subject::new(Plan::new(Topology::Cabled, &PORTS));
    subject.start_peer_daemon().unwrap();
    let there = "up bond0 --mode 802.3ad --lacp-rate fast --port enp3s0 --port enp4s0 --address 10.77.0.1/24";
    subject.ok_at(End::Peer, there).unwrap();
    let text = "[bond.bond0]\nmode = \"802.3ad\"\nlacp_rate = \"fast\"\nports = [\"enp3s0\", \"enp4s0\"]\naddress = \
                [\"10.77.0.2/24\"]\n";
    let toml = file(&subject, "bond0.toml", text);
    let mut trial = tried(&subject, &format!("--gate partner {}", toml.display()));
    wait_until(PATIENCE, "the partner has spoken", || {
        let log = subject.daemon().unwrap().stderr();
        log.contains("there is an LACP partner of bond0")
    })
    .unwrap();
    subject.wait_peer(&PEER[..1]).unwrap();
    subject.must("confirm");
    assert!(trial.wait_exit(PATIENCE).unwrap().success());
}
