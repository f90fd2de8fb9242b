//! 802.3ad while the daemon is stopped, dead or busy: LACPDUs go on leaving, and the partner notices nothing.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oxbond_lab::capture::{Capture, Frame};
use oxbond_lab::machine::{End, PATIENCE};
use oxbond_lab::proc::{Process, Signal, wait_until};

use crate::common::{HOST, PEER, PORTS, Subject};
use crate::loss::{DRAIN, assert_nothing_lost};

const OPTIONS: &str = "--mode 802.3ad --xmit-hash-policy layer3+4 --lacp-rate fast --lacp-strict on --coupled-control off --miimon 100";

/// Longest that the partner may have to wait for a PDU at the fast rate while the data path stands in: the daemon's is
/// overdue after 1.2 s, and the partner's own, which is answered, comes within a second. It gives us up after 3 s.
const STOOD_IN: Duration = Duration::from_millis(2300);

/// The same while the daemon lives.
const ON_TIME: Duration = Duration::from_millis(1200);

/// Two of ours that have agreed on both links.
fn agreed() -> Subject {
    let subject = Subject::facing(OPTIONS, OPTIONS);
    for end in [End::Host, End::Peer] {
        wait_agreed(&subject, end);
    }
    // What is on its way when they begin is over: the partner knows that we distribute.
    std::thread::sleep(Duration::from_secs(3));
    subject
}

fn wait_agreed(subject: &Subject, end: End) {
    wait_until(PATIENCE, "both ports are agreed on", || {
        roles(subject, end).is_some_and(|roles| roles == ["active", "active"])
    })
    .unwrap();
}

fn roles(subject: &Subject, end: End) -> Option<Vec<String>> {
    let status = subject.ok_at(end, "status bond0 --json").ok()?;
    let status: serde_json::Value = serde_json::from_str(&status).ok()?;
    let ports = status["bonds"][0]["ports"].as_array()?.iter();
    ports
        .map(|port| port["role"].as_str().map(str::to_owned))
        .collect()
}

/// Everything that the partner's daemon has to tell from now on.
fn listen(subject: &Subject) -> Process {
    let mut command = subject.command_at(End::Peer);
    command.arg("events");
    let listener = Process::start("oxbond events", command).unwrap();
    wait_until(PATIENCE, "the partner's events are listened to", || {
        !listener.stderr().is_empty()
    })
    .unwrap();
    listener
}

/// Watches both cables.
fn watch(subject: &Subject) -> Vec<Capture> {
    let cables = subject.rig.middle().unwrap();
    ["a0", "a1"]
        .map(|end| Capture::start(cables, end).unwrap())
        .into()
}

/// Whether it is a LACPDU of this system.
fn is_ours(frame: &Frame, system: &str) -> bool {
    let octets = frame.data.get(20..26).unwrap_or_default();
    let actor: Vec<String> = octets.iter().map(|byte| format!("{byte:02x}")).collect();
    frame.ethertype() == 0x8809 && actor.join(":") == system
}

/// The longest time without a LACPDU of ours on each cable, and how many there were.
fn gaps(subject: &Subject, captures: Vec<Capture>) -> Vec<(Duration, usize)> {
    let system = subject.host().mac("bond0").unwrap();
    let ours = |frame: &&Frame| is_ours(frame, &system);
    captures
        .into_iter()
        .map(|capture| {
            let (began, end) = (capture.started(), std::time::Instant::now());
            let frames = capture.stop().unwrap();
            let mut times = vec![Duration::ZERO];
            times.extend(frames.iter().filter(ours).map(|frame| frame.at));
            times.push(end - began);
            let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
            (gaps.max().unwrap(), times.len() - 2)
        })
        .collect()
}

fn answered(subject: &Subject) -> u64 {
    subject.counted("lacp_answered").iter().sum()
}

/// Takes the daemon away for some time and brings one back. Nothing is lost meanwhile, and the partner has nothing to tell.
fn unattended(subject: &mut Subject, length: Duration, away: impl FnOnce(&mut Subject, Duration)) {
    let partner = listen(subject);
    let meter = subject
        .traffic(0)
        .rate(500)
        .flows(16)
        .both_ways()
        .start()
        .unwrap();
    let captures = watch(subject);
    let before = answered(subject);
    away(subject, length);
    // As long as the partner, and we, would need to find the other silent.
    std::thread::sleep(Duration::from_secs(5));
    for (gap, count) in gaps(subject, captures) {
        println!("longest gap {gap:?} between {count} PDUs");
        assert!(gap <= STOOD_IN, "a gap of {gap:?}");
        assert!(count as u64 >= length.as_secs());
    }
    let stood_in = answered(subject) - before;
    println!("{stood_in} answered in the daemon's place");
    assert!(stood_in >= 2 * (length.as_secs() - 3), "{stood_in} answers");
    assert_nothing_lost(&meter.stop(DRAIN).unwrap(), "no daemon");
    assert_eq!(partner.stdout(), "", "the partner noticed");
    for end in [End::Host, End::Peer] {
        assert_eq!(roles(subject, end).unwrap(), ["active", "active"]);
    }
}

#[test]
fn metered_root_a_stopped_daemon_is_stood_in_for() {
    let mut subject = agreed();
    let log = subject.daemon().unwrap().stderr();
    unattended(&mut subject, Duration::from_secs(20), |subject, length| {
        let daemon = subject.daemon().unwrap();
        daemon.signal(Signal::STOP).unwrap();
        std::thread::sleep(length);
        daemon.signal(Signal::CONT).unwrap();
    });
    let after = subject.daemon().unwrap().stderr();
    assert_eq!(after, log, "it had to mend something");
}

#[test]
fn metered_root_a_killed_daemon_is_stood_in_for_until_the_next() {
    let mut subject = agreed();
    unattended(&mut subject, Duration::from_secs(10), |subject, length| {
        subject.kill_daemon().unwrap();
        std::thread::sleep(length);
        subject.start_daemon().unwrap();
    });
    let log = subject.daemon().unwrap().stderr();
    assert!(
        log.contains("taken over from the daemon before, 0 writes"),
        "{log}"
    );
    assert!(!log.contains("WARN") && !log.contains("distribut"), "{log}");
}

/// A partner that is not the one agreed with any more hears nothing, and takes its ports out; until we are back.
#[test]
fn root_a_partner_that_changes_is_not_answered() {
    let subject = agreed();
    subject.daemon().unwrap().signal(Signal::STOP).unwrap();
    let system = subject.host().mac("bond0").unwrap();
    let ours = |frame: &Frame| is_ours(frame, &system);
    // The first may have been under way when the daemon was stopped.
    for _ in 0..2 {
        let captures = watch(&subject);
        for capture in &captures {
            capture.wait_for(PATIENCE, "an answer", ours).unwrap();
        }
    }
    subject
        .ok_at(End::Peer, "set bond0 --ad-user-port-key 5")
        .unwrap();
    let captures = watch(&subject);
    wait_until(PATIENCE, "the partner uses no port", || {
        roles(&subject, End::Peer).is_some_and(|roles| roles == ["backup", "backup"])
    })
    .unwrap();
    // Twice as long as it takes it to find us silent.
    std::thread::sleep(Duration::from_secs(6));
    for capture in captures {
        let spoken = capture.stop().unwrap().into_iter().filter(ours).count();
        assert!(spoken <= 1, "{spoken} answers to a stranger");
    }
    subject.daemon().unwrap().signal(Signal::CONT).unwrap();
    for end in [End::Host, End::Peer] {
        wait_agreed(&subject, end);
    }
}

/// Configuration, route changes and hogs on every processor at once.
#[test]
fn metered_root_pdus_leave_on_time_while_the_daemon_is_busy() {
    let subject = agreed();
    let host = subject.host();
    let mut hogs: Vec<std::process::Child> =
        (0..std::thread::available_parallelism().unwrap().get())
            .map(|_| {
                let mut hog = host.command("sh");
                hog.args(["-c", "while :; do :; done"]).spawn().unwrap()
            })
            .collect();
    let batch: String = (0..2000)
        .map(|n| format!("route add 198.18.{}.{}/32 dev bond0\n", n / 250, n % 250))
        .chain(
            (0..2000).map(|n| format!("route del 198.18.{}.{}/32 dev bond0\n", n / 250, n % 250)),
        )
        .collect();
    let end = AtomicBool::new(false);
    let captures = watch(&subject);
    let before = answered(&subject);
    let (routes, requests) = std::thread::scope(|scope| {
        let routes = scope.spawn(|| {
            let mut changes = 0;
            while !end.load(Ordering::Relaxed) {
                let mut ip = host.command("ip");
                ip.args(["-batch", "-"]).stdin(Stdio::piped());
                let mut ip = ip.spawn().unwrap();
                let mut input = ip.stdin.take().unwrap();
                input.write_all(batch.as_bytes()).unwrap();
                drop(input);
                assert!(ip.wait().unwrap().success());
                changes += 4000;
            }
            changes
        });
        let requests = scope.spawn(|| {
            let mut requests = 0;
            while !end.load(Ordering::Relaxed) {
                subject.must(&format!("set bond0 --miimon {}", 50 + requests % 2 * 50));
                subject.must("status");
                requests += 1;
            }
            requests
        });
        std::thread::sleep(Duration::from_secs(15));
        end.store(true, Ordering::Relaxed);
        (routes.join().unwrap(), requests.join().unwrap())
    });
    let gaps = gaps(&subject, captures);
    for hog in &mut hogs {
        hog.kill().unwrap();
        hog.wait().unwrap();
    }
    println!(
        "{routes} route changes, {requests} options set, {} answered in the daemon's place",
        answered(&subject) - before
    );
    for ((gap, count), port) in gaps.into_iter().zip(PORTS) {
        println!("{port}: longest gap {gap:?} between {count} PDUs");
        assert!(gap <= ON_TIME, "{port}: a gap of {gap:?}");
        assert!(count >= 14);
    }
    assert!(routes >= 4000 && requests >= 10);
}

/// The switch knows no LACP, so one port carries the traffic; when its link dies, the next packet leaves on the other.
#[test]
fn root_without_a_partner_a_dead_link_is_left_although_the_daemon_is_dead() {
    let mut subject = Subject::bonded(
        "--mode 802.3ad --lacp-fallback active-backup --lacp-fallback-delay 0 --miimon 100",
    );
    let log = subject.daemon().unwrap().stderr();
    let ports: Vec<usize> = (0..2)
        .filter(|port| {
            log.contains(&format!(
                "no partner on any port: fallback to {}\n",
                PORTS[*port]
            ))
        })
        .collect();
    let [carrying] = ports[..] else {
        panic!("one port carries alone: {ports:?}\n{log}");
    };
    subject.kill_daemon().unwrap();
    subject.rig.cut(carrying).unwrap();
    // A ping with one packet and no second try, each way.
    for (from, to) in [(subject.host(), PEER[0]), (&subject.rig.peer, HOST[0])] {
        let mut ping = from.command("ping");
        let ping = ping
            .args(["-c", "1", "-W", "5", "-q", to])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ping.stdout);
        assert!(ping.status.success(), "{said}");
    }
    subject.start_daemon().unwrap();
    wait_until(PATIENCE, "the core has it where the data path went", || {
        roles(&subject, End::Host).is_some_and(|roles| roles[1 - carrying] == "active")
    })
    .unwrap();
    subject.wait_peer(&PEER).unwrap();
}
