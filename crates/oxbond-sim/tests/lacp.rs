//! Hundreds of seeds of mode 802.3ad in every test run. `OXBOND_SIM_SEED=n` runs just one and shows what happened in it;
//! `OXBOND_SIM_SEEDS=n` runs that many.

mod common;

use core::time::Duration;

use common::{number, through_json};
use oxbond_core::option::OptionChange;
use oxbond_core::time::Instant;
use oxbond_sim::lacp::{End, HostSetup, Lasting, Scenario, Totals, Way, Wire, run, run_seed};

/// Seeds of an ordinary run.
const SEEDS: u64 = 800;

/// Runs at the same time.
const WORKERS: u64 = 2;

#[test]
fn invariants_hold_whatever_goes_wrong() {
    if let Some(seed) = number("OXBOND_SIM_SEED") {
        let totals = run_seed(seed, through_json).unwrap_or_else(|failure| panic!("{failure}"));
        println!("seed {seed}: {totals:?}");
        return;
    }
    let seeds = number("OXBOND_SIM_SEEDS").unwrap_or(SEEDS);
    let part = |worker: u64| {
        let mut totals = Totals::default();
        for seed in (worker..seeds).step_by(WORKERS as usize) {
            let run = run_seed(seed, through_json).unwrap_or_else(|failure| panic!("{failure}"));
            totals.add(&run);
        }
        totals
    };
    let mut totals = Totals::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| scope.spawn(move || part(worker)))
            .collect();
        for worker in workers {
            totals.add(&worker.join().expect("an invariant was broken, see above"));
        }
    });
    println!("{totals:?}");
    // A simulator in which nothing happens finds nothing.
    let counters = totals.counters;
    assert!(
        counters.delivered > 100 * seeds && counters.tables > seeds,
        "{totals:?}"
    );
    assert!(
        counters.restarts > seeds / 5 && counters.answered > seeds / 10,
        "{totals:?}"
    );
    assert!(totals.distributing > seeds, "{totals:?}");
    assert!(totals.longest > Duration::from_secs(1), "{totals:?}");
}

#[test]
fn a_seed_is_always_the_same_run() {
    for seed in 0..10 {
        assert_eq!(
            run_seed(seed, through_json),
            run_seed(seed, through_json),
            "seed {seed}"
        );
    }
}

/// Hosts and cables, each from the first host to another; how each cable is after two seconds.
fn play(hosts: &[&[&str]], cables: &[(usize, Lasting)]) -> Totals {
    let mut wires: Vec<Wire> = Vec::new();
    for (host, _) in cables {
        let end = |host: usize| {
            let taken = wires.iter().flat_map(|wire| &wire.ends);
            let port = taken.filter(|end| end.host == host).count();
            End { host, port }
        };
        let ends = match host {
            0 => vec![
                end(0),
                End {
                    port: end(0).port + 1,
                    ..end(0)
                },
            ],
            host => vec![end(0), end(*host)],
        };
        wires.push(Wire {
            way: Way::Cable,
            ends,
            speed_mbps: 10_000,
        });
    }
    let setup = |(number, words): (usize, &&[&str])| {
        let common = ["mode=802.3ad", "miimon=100", "lacp_rate=fast"];
        let words = common.iter().chain(words.iter());
        let ends = wires.iter().flat_map(|wire| &wire.ends);
        HostSetup {
            options: words
                .filter_map(|word| word.split_once('='))
                .map(|(name, value)| OptionChange::parse(name, value).expect("an option"))
                .collect(),
            ports: ends.filter(|end| end.host == number).count(),
            frame_interval: Duration::from_millis(10),
        }
    };
    let scenario = Scenario {
        hosts: hosts.iter().enumerate().map(setup).collect(),
        wires: wires.clone(),
        faults: Vec::new(),
        heal_at: Instant::from_millis(2_000),
        after: cables.iter().map(|(_, lasting)| *lasting).collect(),
        quiet: Duration::from_secs(5),
    };
    run(1, &scenario, through_json).unwrap_or_else(|failure| panic!("{failure}"))
}

/// Found by the first seeds: the end that decides stayed with a partner that did not hear it, while another one waited in
/// sync, until churn detection ended that after a minute.
#[test]
fn a_partner_that_does_not_hear_us_is_left_for_one_that_does() {
    let totals = play(
        &[&["ad_actor_sys_prio=100"], &[], &[]],
        &[(1, Lasting::OneWay), (2, Lasting::Healthy)],
    );
    assert!(totals.longest < Duration::from_secs(7), "{totals:?}");
}

/// Found by the first seeds: with `max_ports` a port whose PDUs the partner does not hear kept its place for ever, and the
/// one that stood by for it carried nothing.
#[test]
fn a_port_that_is_not_heard_makes_room_for_one_that_stands_by() {
    let hosts: &[&[&str]] = &[&["max_ports=1", "ad_actor_sys_prio=100"], &[]];
    let totals = play(hosts, &[(1, Lasting::OneWay), (1, Lasting::Healthy)]);
    assert_eq!(totals.distributing, 2, "a pair");
    assert!(totals.longest < Duration::from_secs(7), "{totals:?}");
}

/// Found by the first seeds: both ends of a cable from a bond to itself carried traffic without a partner, and the host was
/// delivered its own frames.
#[test]
fn a_loop_carries_nothing_without_a_partner() {
    let options: &[&str] = &["lacp_fallback=individual", "lacp_fallback_delay=0"];
    let totals = play(&[options], &[(0, Lasting::Healthy)]);
    assert_eq!((totals.distributing, totals.counters.sent), (0, 0));
}
