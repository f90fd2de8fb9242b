//! The ARP and NS monitor on real interfaces: paths that die while their carrier stays.

use std::time::{Duration, Instant};

use oxbond_lab::machine::PATIENCE;
use oxbond_lab::proc::wait_until;
use oxbond_lab::rig::Way;

use crate::common::{PORTS, Subject};

/// Longest time until a path that died is left: 2.5 to 3.5 intervals, and a busy machine.
const WITHIN: Duration = Duration::from_secs(3);

/// Waits until the port is in this state.
fn wait_port(subject: &Subject, index: usize, state: &str) {
    let is_there = || subject.bond("bond0").unwrap()["ports"][index]["mii_status"] == state;
    wait_until(PATIENCE, &format!("port {index} is {state}"), is_there)
        .unwrap_or_else(|e| panic!("{e}: {:#}", subject.bond("bond0").unwrap()));
}

fn failures(subject: &Subject) -> Vec<u64> {
    let bond = subject.bond("bond0").unwrap();
    let ports = bond["ports"].as_array().unwrap().iter();
    ports
        .map(|port| port["link_failure_count"].as_u64().unwrap())
        .collect()
}

/// The active path dies without losing carrier; its traffic goes by the other, and returns to the primary. Answers after what
/// time it was left.
fn leaves_and_returns(words: &str) -> Duration {
    let subject = Subject::bonded(&format!(
        "--mode active-backup --primary enp3s0 --arp-interval 200 {words}"
    ));
    subject.wait_active("bond0", PORTS[0]).unwrap();
    wait_port(&subject, 1, "up");
    let before = failures(&subject);
    subject.rig.blackhole(0, Way::Both).unwrap();
    let begun = Instant::now();
    subject.wait_active("bond0", PORTS[1]).unwrap();
    let took = begun.elapsed();
    let bond = subject.bond("bond0").unwrap();
    let reason = bond["ports"][0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("no answer from") || reason.starts_with("nothing heard"),
        "{words}: {reason}"
    );
    assert_eq!(bond["carrier"], true);
    subject.wait_peer(&crate::common::PEER).unwrap();
    subject.rig.restore(0).unwrap();
    subject.wait_active("bond0", PORTS[0]).unwrap();
    assert_eq!(failures(&subject)[0], before[0] + 1, "{words}");
    took
}

#[test]
fn root_a_path_that_dies_with_its_carrier_on_is_left() {
    for words in [
        "--arp-ip-target 10.77.0.1 --arp-validate all",
        "--arp-ip-target 10.77.0.1",
        "--arp-ip-target 10.77.0.1 --arp-validate filter",
        "--ns-ip6-target fd77::1 --arp-validate all",
        "--arp-ip-target 10.77.0.1 --ns-ip6-target fd77::1 --arp-validate all --arp-all-targets all",
    ] {
        // Somebody else may have had the processor when the path died.
        let mut times = Vec::new();
        while times.iter().all(|took| *took > WITHIN) {
            assert!(times.len() < 3, "{words}: {times:?}");
            times.push(leaves_and_returns(words));
        }
    }
}

/// With all working, nothing is given up, in any mode, and another daemon goes on with it.
#[test]
fn root_working_paths_stay_up_whoever_drives_them() {
    for mode in ["active-backup", "balance-xor", "balance-tlb"] {
        let mut subject = Subject::bonded(&format!(
            "--mode {mode} --arp-interval 200 --arp-ip-target 10.77.0.1 --arp-validate active"
        ));
        wait_port(&subject, 0, "up");
        wait_port(&subject, 1, "up");
        let before = failures(&subject);
        subject.kill_daemon().unwrap();
        std::thread::sleep(Duration::from_millis(900));
        subject.start_daemon().unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(failures(&subject), before, "{mode}");
    }
}

/// The interval and the targets change under way; a bond that watched carrier begins to ask.
#[test]
fn root_asking_can_begin_under_way() {
    let subject = Subject::active_backup();
    subject.must("set bond0 --arp-interval 200 --arp-ip-target 10.77.0.1 --arp-validate all");
    subject.rig.blackhole(0, Way::Both).unwrap();
    subject.wait_active("bond0", PORTS[1]).unwrap();
    subject.must("set bond0 --miimon 100");
    wait_port(&subject, 0, "up");
}
