//! What can go wrong, and a whole scenario drawn from one seed: bond, ports, faults and the moment they stop.

use core::time::Duration;

use oxbond_core::option::{
    FailOverMac, HashPolicy, Mode, OptionChange, OptionId, OptionValue, PrimaryReselect,
};
use oxbond_core::time::Instant;

use crate::rng::Rng;

/// One thing that happens to a host. Faults that do not apply when their time comes (starting a daemon that runs) are
/// passed over, so that any list of faults makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The carrier of a port changes.
    Carrier {
        /// Number of the port in [`Scenario::ports`].
        port: usize,
        /// Whether it has carrier now.
        up: bool,
        /// How long the system takes to tell the daemon of this change. `None`: it never does, only polling sees it.
        notice: Option<Duration>,
    },
    /// The daemon stands still (`SIGSTOP`, swapped out, a busy machine). What it is told waits.
    Stop,
    /// It goes on.
    Resume,
    /// The daemon is killed. What it is told is lost, except for the data path's records, which wait in their ring.
    Kill {
        /// It dies between carrying out its last step and saving its state.
        save_lost: bool,
    },
    /// A new daemon takes over from the saved state.
    Start,
    /// A port is taken out of the bond.
    RemovePort {
        /// Number of the port.
        port: usize,
    },
    /// A port joins.
    AddPort {
        /// Number of the port.
        port: usize,
    },
    /// The user names another primary port, or none.
    Primary {
        /// Number of the port.
        port: Option<usize>,
    },
    /// The user chooses another mode while the bond works.
    Mode {
        /// The mode.
        mode: Mode,
    },
}

/// Modes that are drawn. 802.3ad is not among them: it needs a partner.
const MODES: &[Mode] = &[
    Mode::ActiveBackup,
    Mode::ActiveBackup,
    Mode::ActiveBackup,
    Mode::BalanceXor,
    Mode::BalanceRr,
    Mode::Broadcast,
    Mode::BalanceTlb,
    Mode::BalanceAlb,
];

/// A port as it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSetup {
    /// Interface name.
    pub name: String,
    /// Its `prio` option, given in mode active-backup only.
    pub prio: i32,
    /// Speed in Mb/s.
    pub speed_mbps: u32,
}

/// A run from beginning to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Options of the bond.
    pub options: Vec<OptionChange>,
    /// The ports, all joined and with carrier at the start.
    pub ports: Vec<PortSetup>,
    /// Time between two frames of the host's traffic.
    pub frame_interval: Duration,
    /// What goes wrong, in order of time, all before `heal_at`.
    pub faults: Vec<(Instant, Fault)>,
    /// From here on nothing goes wrong any more, and the daemon runs.
    pub heal_at: Instant,
    /// Which ports have carrier from then on.
    pub carrier_after: Vec<bool>,
}

/// Longest delay of a notice. Linkwatch may hold one back for a second.
const NOTICE_MAX: Duration = Duration::from_millis(1000);

impl Scenario {
    /// The scenario of a seed, always the same one.
    pub fn from_seed(seed: u64) -> Self {
        let rng = &mut Rng::new(seed);
        let ports: Vec<PortSetup> = (0..rng.range(1, 5))
            .map(|number| PortSetup {
                name: format!("p{number}"),
                prio: *rng.pick(&[0, 0, 0, 5, 10, -3]),
                speed_mbps: *rng.pick(&[1000, 1000, 10_000]),
            })
            .collect();
        let miimon = *rng.pick(&[100, 100, 50, 20, 200, 0]);
        let options = options(rng, &ports, miimon);
        let span_ms = rng.range(2_000, 8_000);
        let mut faults = Vec::new();
        for _ in 0..rng.range(1, 25) {
            draw_fault(rng, &mut faults, span_ms, ports.len(), miimon);
        }
        faults.retain(|(at, _)| *at < Instant::from_millis(span_ms));
        faults.sort_by_key(|(at, _)| *at);
        let carrier_after = ports.iter().map(|_| rng.chance(80)).collect();
        Self {
            options,
            ports,
            frame_interval: Duration::from_micros(rng.range(500, 8_000)),
            faults,
            heal_at: Instant::from_millis(span_ms),
            carrier_after,
        }
    }
}

fn options(rng: &mut Rng, ports: &[PortSetup], miimon: u64) -> Vec<OptionChange> {
    let number = |id, value: u64| OptionChange {
        id,
        // Only small numbers are asked for.
        value: OptionValue::Number(i64::try_from(value).unwrap_or(0)),
    };
    let mode = *rng.pick(MODES);
    let mut options = vec![
        number(OptionId::Mode, mode.code().into()),
        number(OptionId::Miimon, miimon),
    ];
    if miimon > 0 {
        options.push(number(
            OptionId::Updelay,
            *rng.pick(&[0, 0, 1, 4, 20]) * miimon,
        ));
        options.push(number(
            OptionId::Downdelay,
            *rng.pick(&[0, 0, 1, 4]) * miimon,
        ));
    }
    let policy = *rng.pick(HashPolicy::ALL);
    options.push(number(OptionId::XmitHashPolicy, policy.code().into()));
    let follow = *rng.pick(&[
        FailOverMac::None,
        FailOverMac::None,
        FailOverMac::Active,
        FailOverMac::Follow,
    ]);
    options.push(number(OptionId::FailOverMac, follow.code().into()));
    options.push(number(OptionId::NumGratArp, rng.range(0, 4)));
    if !mode.has_active_port() {
        return options;
    }
    let reselect = *rng.pick(PrimaryReselect::ALL);
    options.push(number(OptionId::PrimaryReselect, reselect.code().into()));
    if rng.chance(50) {
        let name = rng.pick(ports).name.clone();
        options.push(OptionChange {
            id: OptionId::Primary,
            value: OptionValue::Name(name),
        });
    }
    options
}

/// Adds one fault, or several that belong together.
fn draw_fault(
    rng: &mut Rng,
    faults: &mut Vec<(Instant, Fault)>,
    span_ms: u64,
    ports: usize,
    miimon: u64,
) {
    let at = |ms: u64| Instant::from_millis(ms);
    let start = rng.range(0, span_ms);
    let port = rng.range(0, ports as u64) as usize;
    match rng.range(0, 100) {
        0..45 => faults.push((
            at(start),
            Fault::Carrier {
                port,
                up: rng.chance(40),
                notice: notice(rng, miimon),
            },
        )),
        45..60 => {
            // A bad cable.
            let mut time = start;
            for flap in 0..rng.range(2, 12) {
                faults.push((
                    at(time),
                    Fault::Carrier {
                        port,
                        up: flap % 2 == 1,
                        notice: notice(rng, miimon),
                    },
                ));
                time += rng.range(1, 300);
            }
        }
        60..75 => {
            faults.push((at(start), Fault::Stop));
            faults.push((at(start + rng.range(1, 3_000)), Fault::Resume));
        }
        75..88 => {
            faults.push((
                at(start),
                Fault::Kill {
                    save_lost: rng.chance(30),
                },
            ));
            faults.push((at(start + rng.range(1, 3_000)), Fault::Start));
        }
        88..95 => {
            faults.push((at(start), Fault::RemovePort { port }));
            faults.push((at(start + rng.range(1, 2_000)), Fault::AddPort { port }));
        }
        95..97 => faults.push((
            at(start),
            Fault::Mode {
                mode: *rng.pick(MODES),
            },
        )),
        _ => {
            let port = rng.chance(80).then_some(port);
            faults.push((at(start), Fault::Primary { port }));
        }
    }
}

/// Without a poll nothing can make up for a lost or stale notice: then each comes, at once and in order.
fn notice(rng: &mut Rng, miimon: u64) -> Option<Duration> {
    if miimon == 0 {
        return Some(Duration::ZERO);
    }
    match rng.range(0, 100) {
        0..60 => Some(Duration::from_micros(rng.range(10, 2_000))),
        60..80 => Some(Duration::from_millis(
            rng.range(0, NOTICE_MAX.as_millis() as u64),
        )),
        _ => None,
    }
}
