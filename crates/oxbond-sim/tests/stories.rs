//! Runs written by hand: the essence of what seeds have found, in a form that outlives changes of the generator.

use core::time::Duration;

use oxbond_core::bond::Bond;
use oxbond_core::option::OptionChange;
use oxbond_core::time::Instant;
use oxbond_sim::fault::{Fault, PortSetup, Scenario};
use oxbond_sim::run;

/// Found by seed 492. The primary loses its link for less than its down delay; meanwhile a port of higher priority
/// comes up and takes over. When the primary is back, `primary_reselect=always` asks for it.
#[test]
fn primary_back_within_its_down_delay_takes_over_again() {
    let options = [
        "mode=active-backup",
        "miimon=100",
        "downdelay=400",
        "primary=p0",
    ];
    let ports = [("p0", 0), ("p1", 10)];
    let soon = Some(Duration::from_millis(1));
    play(
        &options,
        &ports,
        &[
            (
                1000,
                Fault::Carrier {
                    port: 1,
                    up: false,
                    notice: soon,
                },
            ),
            (
                2000,
                Fault::Carrier {
                    port: 0,
                    up: false,
                    notice: soon,
                },
            ),
            (
                2050,
                Fault::Carrier {
                    port: 1,
                    up: true,
                    notice: soon,
                },
            ),
            (
                2150,
                Fault::Carrier {
                    port: 0,
                    up: true,
                    notice: soon,
                },
            ),
        ],
    );
}

/// The data path leaves a port while the daemon stands still, and the link is back before anyone has looked: the bond
/// must write its table again, or the data path stays away for ever.
#[test]
fn a_loss_that_nobody_saw_is_forgiven() {
    for mode in ["mode=active-backup", "mode=balance-xor"] {
        play(
            &[mode, "miimon=100"],
            &[("p0", 0), ("p1", 0)],
            &[
                (1000, Fault::Stop),
                (
                    1010,
                    Fault::Carrier {
                        port: 0,
                        up: false,
                        notice: None,
                    },
                ),
                (
                    1500,
                    Fault::Carrier {
                        port: 0,
                        up: true,
                        notice: None,
                    },
                ),
                (1600, Fault::Resume),
            ],
        );
    }
}

/// The daemon dies after it acted and before it saved; while it is away everything is as it was before.
#[test]
fn a_step_that_was_not_saved_is_taken_back() {
    play(
        &["mode=active-backup", "miimon=100"],
        &[("p0", 0)],
        &[
            (
                1000,
                Fault::Carrier {
                    port: 0,
                    up: false,
                    notice: Some(Duration::ZERO),
                },
            ),
            (1001, Fault::Kill { save_lost: true }),
            (
                1500,
                Fault::Carrier {
                    port: 0,
                    up: true,
                    notice: None,
                },
            ),
            (1600, Fault::Start),
        ],
    );
}

/// Plays faults (at milliseconds) on a bond with ports of these names and priorities; afterwards all have carrier.
fn play(options: &[&str], ports: &[(&str, i32)], faults: &[(u64, Fault)]) {
    let scenario = Scenario {
        options: options
            .iter()
            .filter_map(|option| option.split_once('='))
            .map(|(name, value)| OptionChange::parse(name, value).expect("an option"))
            .collect(),
        ports: ports
            .iter()
            .map(|(name, prio)| PortSetup {
                name: (*name).to_owned(),
                prio: *prio,
                speed_mbps: 1000,
            })
            .collect(),
        frame_interval: Duration::from_millis(1),
        faults: faults
            .iter()
            .map(|(at, fault)| (Instant::from_millis(*at), *fault))
            .collect(),
        heal_at: Instant::from_millis(faults.iter().map(|(at, _)| *at).max().unwrap_or(0) + 100),
        carrier_after: vec![true; ports.len()],
    };
    if let Err(failure) = run(0, &scenario, Bond::clone) {
        panic!("{failure}");
    }
}
