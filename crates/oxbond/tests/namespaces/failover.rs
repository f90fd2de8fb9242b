//! What a user of a bond notices when a link dies: nothing. Every test counts packets end to end.
//!
//! Names begin with `metered_`: these run one at a time, since a busy core looks like a gap.

use crate::common::{PEER, Subject};
use crate::loss::{CALM, DRAIN, assert_nothing_lost, assert_only_in_flight_lost, cut, packets};
use oxbond_lab::machine::PATIENCE;
use oxbond_lab::proc::{Signal, wait_until};

#[test]
fn metered_root_a_dead_link_is_left_without_loss() {
    let subject = Subject::active_backup();
    let meter = subject.traffic(0).rate(2000).both_ways().start().unwrap();
    meter.wait_flowing(packets(2000, CALM), PATIENCE).unwrap();
    let cut = cut(&subject, &meter, 0);
    subject.wait_active("bond0", "enp4s0").unwrap();
    meter.wait_flowing(packets(2000, CALM), PATIENCE).unwrap();
    assert_only_in_flight_lost(&meter.stop(DRAIN).unwrap(), &[cut], "active link cut");
    let bond = subject.bond("bond0").unwrap();
    assert_eq!(bond["ports"][0]["mii_status"], "down");
    assert_eq!(bond["ports"][0]["link_failure_count"], 1);
    assert_eq!(bond["failovers"].as_u64(), Some(1), "{bond:#}");
}

#[test]
fn metered_root_a_stopped_daemon_costs_no_packet() {
    // The figure of issue 2: 20 repetitions, 2,000 packets/s in both directions, nobody steering.
    let subject = Subject::active_backup();
    let mut lost = 0;
    for round in 0..20 {
        let (active, other) = (round % 2, (round + 1) % 2);
        subject.must(&format!(
            "set bond0 --active-slave {}",
            crate::common::PORTS[active]
        ));
        subject
            .wait_active("bond0", crate::common::PORTS[active])
            .unwrap();
        subject.wait_peer(&PEER[..1]).unwrap();
        let meter = subject.traffic(0).rate(2000).both_ways().start().unwrap();
        meter
            .wait_flowing(packets(2000, CALM / 2), PATIENCE)
            .unwrap();
        subject.daemon().unwrap().signal(Signal::STOP).unwrap();
        let cut = cut(&subject, &meter, active);
        meter
            .wait_flowing(packets(2000, CALM / 2), PATIENCE)
            .unwrap();
        let report = meter.stop(DRAIN).unwrap();
        subject.daemon().unwrap().signal(Signal::CONT).unwrap();
        assert_only_in_flight_lost(&report, &[cut], &format!("round {round}"));
        lost += report.lost();
        subject
            .wait_active("bond0", crate::common::PORTS[other])
            .unwrap();
        subject.rig.restore(active).unwrap();
        subject.rig.wait_ready(PATIENCE).unwrap();
        wait_until(PATIENCE, "the link is up again", || {
            subject.bond("bond0").unwrap()["ports"][active]["mii_status"] == "up"
        })
        .unwrap();
        if round == 0 {
            subject.must("set bond0 --primary-reselect failure");
        }
    }
    println!("in flight at the cut and lost: {lost} packets in 20 rounds");
}

#[test]
fn metered_root_ten_thousand_packets_a_second_survive_a_cut() {
    let subject = Subject::active_backup();
    let meter = subject.traffic(0).rate(10_000).start().unwrap();
    meter.wait_flowing(packets(10_000, CALM), PATIENCE).unwrap();
    let cut = cut(&subject, &meter, 0);
    meter.wait_flowing(packets(10_000, CALM), PATIENCE).unwrap();
    assert_only_in_flight_lost(&meter.stop(DRAIN).unwrap(), &[cut], "10,000 packets/s");
}

#[test]
fn root_a_killed_daemon_is_followed_by_one_that_writes_nothing() {
    let mut subject = Subject::active_backup();
    let before = links(&subject);
    subject.kill_daemon().unwrap();
    subject.wait_peer(&PEER).unwrap();
    subject.start_daemon().unwrap();
    let log = subject.daemon().unwrap().stderr();
    assert!(
        log.contains("taken over from the daemon before, 0 writes"),
        "{log}"
    );
    assert_eq!(links(&subject), before, "every interface is as it was");
    subject.rig.cut(0).unwrap();
    subject.wait_active("bond0", "enp4s0").unwrap();
    subject.wait_peer(&PEER).unwrap();
}

#[test]
fn root_the_next_packet_leaves_a_dead_link_although_the_daemon_is_stopped() {
    let subject = Subject::active_backup();
    subject.daemon().unwrap().signal(Signal::STOP).unwrap();
    subject.rig.cut(0).unwrap();
    // A ping with one packet and no second try, each way.
    for (from, to) in [
        (subject.host(), PEER[0]),
        (&subject.rig.peer, crate::common::HOST[0]),
    ] {
        let ping = from
            .command("ping")
            .args(["-c", "1", "-W", "5", "-q", to])
            .output()
            .unwrap();
        assert!(
            ping.status.success(),
            "{}",
            String::from_utf8_lossy(&ping.stdout)
        );
    }
    subject.daemon().unwrap().signal(Signal::CONT).unwrap();
    subject.wait_active("bond0", "enp4s0").unwrap();
}

#[test]
fn metered_root_the_primary_takes_over_again_without_loss() {
    let subject = Subject::active_backup();
    subject.rig.cut(0).unwrap();
    subject.wait_active("bond0", "enp4s0").unwrap();
    let meter = subject.traffic(0).rate(2000).both_ways().start().unwrap();
    meter.wait_flowing(packets(2000, CALM), PATIENCE).unwrap();
    subject.rig.restore(0).unwrap();
    subject.wait_active("bond0", "enp3s0").unwrap();
    meter.wait_flowing(packets(2000, CALM), PATIENCE).unwrap();
    assert_nothing_lost(&meter.stop(DRAIN).unwrap(), "back to the primary");
}

#[test]
fn metered_root_a_user_moves_the_active_port_without_loss() {
    let subject = Subject::active_backup();
    let meter = subject.traffic(0).rate(2000).both_ways().start().unwrap();
    for port in ["enp4s0", "enp3s0", "enp4s0"] {
        meter.wait_flowing(packets(2000, CALM), PATIENCE).unwrap();
        subject.must(&format!("set bond0 --active-slave {port}"));
        subject.wait_active("bond0", port).unwrap();
    }
    meter.wait_flowing(packets(2000, CALM), PATIENCE).unwrap();
    assert_nothing_lost(&meter.stop(DRAIN).unwrap(), "active_slave set by hand");
}

#[test]
fn metered_root_ipv6_survives_a_cut() {
    let subject = Subject::active_backup();
    let meter = subject.traffic(1).rate(2000).both_ways().start().unwrap();
    meter.wait_flowing(packets(2000, CALM), PATIENCE).unwrap();
    let cut = cut(&subject, &meter, 0);
    meter.wait_flowing(packets(2000, CALM), PATIENCE).unwrap();
    assert_only_in_flight_lost(&meter.stop(DRAIN).unwrap(), &[cut], "IPv6");
}

#[test]
fn metered_root_balance_xor_uses_both_links_and_survives_each_cut() {
    let subject = Subject::bonded("--mode balance-xor --xmit-hash-policy layer3+4 --miimon 100");
    let meter = subject
        .traffic(0)
        .rate(4000)
        .flows(8)
        .source_port(40_000)
        .both_ways()
        .start()
        .unwrap();
    meter.wait_flowing(packets(4000, CALM), PATIENCE).unwrap();
    for port in crate::common::PORTS {
        assert!(
            subject.counter("bond0", port, "tx_packets").unwrap() > 100,
            "{port} carries a share"
        );
    }
    let mut cuts = Vec::new();
    for index in 0..2 {
        cuts.push(cut(&subject, &meter, index));
        meter.wait_flowing(packets(4000, CALM), PATIENCE).unwrap();
        subject.rig.restore(index).unwrap();
        subject.rig.wait_ready(PATIENCE).unwrap();
        meter.wait_flowing(packets(4000, CALM), PATIENCE).unwrap();
    }
    let report = meter.stop(DRAIN).unwrap();
    assert_only_in_flight_lost(&report, &cuts, "balance-xor");
    assert_eq!(
        report.streams().map(|stream| stream.reordered).sum::<u64>(),
        0,
        "{report}"
    );
}

#[test]
fn metered_root_a_killed_daemon_and_its_successor_cost_nothing() {
    let mut subject = Subject::active_backup();
    let before = links(&subject);
    let meter = subject.traffic(0).rate(5000).both_ways().start().unwrap();
    meter.wait_flowing(packets(5000, CALM), PATIENCE).unwrap();
    subject.kill_daemon().unwrap();
    meter.wait_flowing(packets(5000, CALM), PATIENCE).unwrap();
    let saved = std::fs::read_to_string(state_file(&subject)).unwrap();
    subject.start_daemon().unwrap();
    meter.wait_flowing(packets(5000, CALM), PATIENCE).unwrap();
    assert_nothing_lost(&meter.stop(DRAIN).unwrap(), "kill -9 and restart");

    let log = subject.daemon().unwrap().stderr();
    assert!(
        log.contains("taken over from the daemon before, 0 writes"),
        "{log}"
    );
    assert_eq!(links(&subject), before, "every interface is as it was");
    assert_eq!(
        std::fs::read_to_string(state_file(&subject)).unwrap(),
        saved,
        "the state is as it was"
    );
    assert_eq!(subject.active("bond0").unwrap().as_deref(), Some("enp3s0"));
    // And it steers.
    subject.rig.cut(0).unwrap();
    subject.wait_active("bond0", "enp4s0").unwrap();
}

#[test]
fn metered_root_what_happened_without_a_daemon_is_found_by_the_next() {
    let mut subject = Subject::active_backup();
    subject.kill_daemon().unwrap();
    let meter = subject.traffic(0).rate(2000).both_ways().start().unwrap();
    meter.wait_flowing(packets(2000, CALM), PATIENCE).unwrap();
    let cut = cut(&subject, &meter, 0);
    meter.wait_flowing(packets(2000, CALM), PATIENCE).unwrap();
    assert_only_in_flight_lost(&meter.stop(DRAIN).unwrap(), &[cut], "no daemon at all");
    subject.start_daemon().unwrap();
    subject.wait_active("bond0", "enp4s0").unwrap();
    assert_eq!(
        subject.bond("bond0").unwrap()["ports"][0]["link_failure_count"],
        1
    );
}

#[test]
fn metered_root_ports_come_and_go_without_disturbing_the_others() {
    let subject = Subject::new(oxbond_lab::rig::Plan::new(
        oxbond_lab::rig::Topology::OneSwitch,
        &["enp3s0", "enp4s0", "enp5s0"],
    ));
    subject.up("--mode active-backup --primary enp3s0 --miimon 100");
    let untouched = subject.host().link("enp3s0").unwrap();
    let meter = subject.traffic(0).rate(2000).both_ways().start().unwrap();
    meter.wait_flowing(packets(2000, CALM), PATIENCE).unwrap();
    subject.must("add-port bond0 enp5s0");
    meter.wait_flowing(packets(2000, CALM), PATIENCE).unwrap();
    subject.must("remove-slave bond0 enp4s0");
    meter.wait_flowing(packets(2000, CALM), PATIENCE).unwrap();
    assert_nothing_lost(&meter.stop(DRAIN).unwrap(), "one port more, one port less");
    assert_eq!(
        subject.host().link("enp3s0").unwrap(),
        untouched,
        "the active port was not touched"
    );
}

fn links(subject: &Subject) -> serde_json::Value {
    serde_json::Value::Array(subject.host().ip_json("link show").unwrap())
}

fn state_file(subject: &Subject) -> std::path::PathBuf {
    let find = |dir: &std::path::Path, name: &str| {
        std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| {
                path.file_name()
                    .unwrap()
                    .to_string_lossy()
                    .starts_with(name)
            })
            .unwrap()
    };
    find(subject.run_dir(), "ns-").join("bonds/bond0.json")
}
