//! What is cabled to what, what can go wrong, and a whole scenario drawn from one seed.

use core::time::Duration;

use oxbond_core::option::{
    AdSelect, Fallback, LacpRate, Mode, OptionChange, OptionId, OptionValue,
};
use oxbond_core::time::Instant;
use oxbond_wire::MacAddr;

use crate::rng::Rng;

/// One end of a wire: a port of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// Number of the host.
    pub host: usize,
    /// Number of its port.
    pub port: usize,
}

/// What a wire is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A cable; it has two ends.
    Cable,
    /// A bridge as the standard has it: floods data, keeps the slow protocols to itself.
    Bridge,
    /// A dumb box that floods everything.
    Hub,
}

/// What joins ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// What it is made of.
    pub way: Way,
    /// Who is on it.
    pub ends: Vec<End>,
    /// Speed in Mb/s.
    pub speed_mbps: u32,
}

/// What happens to the frames that an end sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// LACPDUs get through.
    pub pdus: bool,
    /// Data gets through.
    pub data: bool,
    /// Of a hundred LACPDUs, how many are lost.
    pub loss: u64,
    /// Of a hundred LACPDUs, how many come twice.
    pub twice: u64,
    /// LACPDUs are held up for a random time up to this, and so overtake each other.
    pub delay: Duration,
}

impl Condition {
    /// Everything arrives, once and in order.
    pub const GOOD: Self = Self {
        pdus: true,
        data: true,
        loss: 0,
        twice: 0,
        delay: Duration::ZERO,
    };

    /// LACPDUs are eaten.
    pub const SILENT: Self = Self {
        pdus: false,
        ..Self::GOOD
    };
}

/// One thing that happens. Faults that do not apply when their time comes are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Carrier of one end changes; each end of a cable that is cut has its own. `notice` is how long the system takes to tell
    /// the daemon; `None`: only its poll sees it.
    Carrier {
        /// Which end.
        end: End,
        /// Whether it has carrier now.
        up: bool,
        /// Delay of the notice.
        notice: Option<Duration>,
    },
    /// From now on this happens to what an end sends.
    Condition {
        /// Which end.
        end: End,
        /// What happens.
        condition: Condition,
    },
    /// The daemon of a host stands still, or is late.
    Stop(usize),
    /// It goes on.
    Resume(usize),
    /// It is killed; `save_lost`: between carrying out its last step and saving its state.
    Kill {
        /// Which host.
        host: usize,
        /// Its last step was not saved.
        save_lost: bool,
    },
    /// A new daemon takes over from the saved state.
    Start(usize),
    /// The host reboots: nothing of its state is kept.
    Reboot(usize),
    /// A port is taken out of its bond.
    Remove(End),
    /// It joins again.
    Add(End),
    /// A port is drained, or brought back.
    Drain {
        /// Which.
        end: End,
        /// Out; else back.
        out: bool,
    },
    /// Both ends of a wire agree on another speed.
    Speed {
        /// Number of the wire.
        wire: usize,
        /// In Mb/s.
        speed_mbps: u32,
    },
    /// The user chooses another rate.
    Rate {
        /// Which host.
        host: usize,
        /// Fast; else slow.
        fast: bool,
    },
}

/// How a wire is from the healing on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// It works.
    Healthy,
    /// No carrier at any end.
    Cut,
    /// What its first end sends of LACP is eaten.
    OneWay,
    /// Carrier at every end, but no LACPDU gets through.
    Silent,
}

/// A host as it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSetup {
    /// Options of its bond.
    pub options: Vec<OptionChange>,
    /// How many ports it has.
    pub ports: usize,
    /// Time between two frames of its traffic.
    pub frame_interval: Duration,
}

/// A run from beginning to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The hosts. All wires that are not loops or boxes have the first one at one end.
    pub hosts: Vec<HostSetup>,
    /// The wires; every port is at one of them.
    pub wires: Vec<Wire>,
    /// What goes wrong, in order of time, all before `heal_at`.
    pub faults: Vec<(Instant, Fault)>,
    /// From here on nothing goes wrong any more, and the daemons run.
    pub heal_at: Instant,
    /// How each wire is from then on.
    pub after: Vec<Lasting>,
    /// How long nothing may happen once all is settled.
    pub quiet: Duration,
}

impl Scenario {
    /// The scenario of a seed, always the same one.
    pub fn from_seed(seed: u64) -> Self {
        let rng = &mut Rng::new(seed ^ 0x1acb);
        let wires = draw_wires(rng);
        let count = |host| {
            wires
                .iter()
                .flat_map(|wire| &wire.ends)
                .filter(|end| end.host == host)
                .count()
        };
        let hosts = 1 + wires
            .iter()
            .flat_map(|wire| &wire.ends)
            .map(|end| end.host)
            .max()
            .unwrap_or(0);
        let boxed = wires.iter().any(|wire| wire.way != Way::Cable);
        let twins = rng.chance(5) && !boxed;
        let fast = rng.chance(80);
        let setups: Vec<HostSetup> = (0..hosts)
            .map(|host| HostSetup {
                options: draw_options(rng, host, fast, twins, boxed),
                ports: count(host),
                frame_interval: Duration::from_millis(if fast {
                    rng.range(10, 60)
                } else {
                    rng.range(100, 400)
                }),
            })
            .collect();
        let span_ms = rng.range(3_000, 10_000);
        let mut faults = Vec::new();
        for _ in 0..rng.range(1, 10) {
            draw_fault(rng, &mut faults, span_ms, &setups, &wires);
        }
        faults.retain(|(at, _)| *at < Instant::from_millis(span_ms));
        faults.sort_by_key(|(at, _)| *at);
        let after = wires
            .iter()
            .map(|_| {
                *rng.pick(&[
                    Lasting::Healthy,
                    Lasting::Healthy,
                    Lasting::Healthy,
                    Lasting::Healthy,
                    Lasting::Cut,
                    Lasting::OneWay,
                    Lasting::Silent,
                ])
            })
            .collect();
        Self {
            hosts: setups,
            wires,
            faults,
            heal_at: Instant::from_millis(span_ms),
            after,
            // A minute of churn detection now and then.
            quiet: Duration::from_secs(if rng.chance(3) { 70 } else { 4 }),
        }
    }
}

/// The next port of a host.
fn port_of(wires: &[Wire], host: usize) -> usize {
    wires
        .iter()
        .flat_map(|wire| &wire.ends)
        .filter(|end| end.host == host)
        .count()
}

fn cable(rng: &mut Rng, wires: &mut Vec<Wire>, hosts: [usize; 2]) {
    let port = port_of(wires, hosts[0]);
    let first = End {
        host: hosts[0],
        port,
    };
    let port = port_of(wires, hosts[1]) + usize::from(hosts[0] == hosts[1]);
    let second = End {
        host: hosts[1],
        port,
    };
    wires.push(Wire {
        way: Way::Cable,
        ends: vec![first, second],
        speed_mbps: *rng.pick(&[10_000, 10_000, 10_000, 10_000, 1_000]),
    });
}

fn draw_wires(rng: &mut Rng) -> Vec<Wire> {
    let mut wires = Vec::new();
    match rng.range(0, 100) {
        0..50 => {
            for _ in 0..rng.range(1, 4) {
                cable(rng, &mut wires, [0, 1]);
            }
        }
        // Two switches that know nothing of each other.
        50..75 => {
            for partner in [1, 2] {
                for _ in 0..rng.range(1, 3) {
                    cable(rng, &mut wires, [0, partner]);
                }
            }
        }
        75..85 => {
            cable(rng, &mut wires, [0, 0]);
            for _ in 0..rng.range(0, 3) {
                cable(rng, &mut wires, [0, 1]);
            }
        }
        box_ => {
            let ends = (0..2).flat_map(|host| (0..2).map(move |port| End { host, port }));
            wires.push(Wire {
                way: if box_ < 93 { Way::Bridge } else { Way::Hub },
                ends: ends.collect(),
                speed_mbps: 10_000,
            });
        }
    }
    wires
}

fn draw_options(
    rng: &mut Rng,
    host: usize,
    fast: bool,
    twins: bool,
    boxed: bool,
) -> Vec<OptionChange> {
    let number = |id, value: u64| OptionChange {
        id,
        // Only small numbers are asked for.
        value: OptionValue::Number(i64::try_from(value).unwrap_or(0)),
    };
    let rate = if fast {
        LacpRate::Fast
    } else {
        *rng.pick(LacpRate::ALL)
    };
    let fallback = *rng.pick(&[
        Fallback::Strict,
        Fallback::Strict,
        Fallback::Strict,
        Fallback::ActiveBackup,
        Fallback::Individual,
    ]);
    // A box that floods brings a host's frames back on its other ports, which then carry as well: not what this is for.
    let fallback = if boxed && fallback == Fallback::Individual {
        Fallback::ActiveBackup
    } else {
        fallback
    };
    let mut options = vec![
        number(OptionId::Mode, Mode::Ieee8023ad.code().into()),
        number(OptionId::Miimon, *rng.pick(&[100, 100, 50])),
        number(OptionId::LacpRate, rate.code().into()),
        number(OptionId::AdSelect, rng.pick(AdSelect::ALL).code().into()),
        number(OptionId::CoupledControl, u64::from(rng.chance(25))),
        number(OptionId::AdActorSysPrio, *rng.pick(&[65_535, 65_535, 100])),
        number(OptionId::LacpFallback, fallback.code().into()),
        number(OptionId::LacpFallbackDelay, *rng.pick(&[0, 500, 3_000])),
        number(OptionId::MinLinks, *rng.pick(&[0, 0, 1, 2])),
    ];
    // Of two passive ends nobody would speak.
    if host > 0 && rng.chance(15) {
        options.push(number(OptionId::LacpActive, 0));
    }
    if rng.chance(15) {
        options.push(number(OptionId::MaxPorts, rng.range(1, 3)));
    }
    if rng.chance(20) {
        options.push(number(OptionId::Updelay, rng.range(1, 5) * 100));
    }
    if twins {
        options.push(OptionChange {
            id: OptionId::AdActorSystem,
            value: OptionValue::Mac(MacAddr([2, 0, 0, 0, 0, 0x99])),
        });
    }
    options
}

/// Adds one fault, or several that belong together.
fn draw_fault(
    rng: &mut Rng,
    faults: &mut Vec<(Instant, Fault)>,
    span_ms: u64,
    hosts: &[HostSetup],
    wires: &[Wire],
) {
    let start = rng.range(0, span_ms);
    let at = Instant::from_millis;
    let until = at(start + rng.range(1, 6_000));
    let number = rng.range(0, wires.len() as u64) as usize;
    let wire = &wires[number];
    let end = *rng.pick(&wire.ends);
    let host = rng.range(0, hosts.len() as u64) as usize;
    let both = |faults: &mut Vec<(Instant, Fault)>, from, until, during, after| {
        faults.push((from, during));
        faults.push((until, after));
    };
    match rng.range(0, 100) {
        // Cut, or loose at one end.
        0..15 => {
            let one = rng.chance(30);
            for end in wire.ends.iter().filter(|other| !one || **other == end) {
                let carrier = |up, notice| Fault::Carrier {
                    end: *end,
                    up,
                    notice,
                };
                both(
                    faults,
                    at(start),
                    until,
                    carrier(false, notice(rng)),
                    carrier(true, notice(rng)),
                );
            }
        }
        15..25 => {
            let mut time = start;
            for flap in 0..rng.range(2, 12) {
                for end in &wire.ends {
                    let (end, up) = (*end, flap % 2 == 1);
                    faults.push((
                        at(time),
                        Fault::Carrier {
                            end,
                            up,
                            notice: notice(rng),
                        },
                    ));
                }
                time += rng.range(1, 400);
            }
        }
        // Mute in one direction, for all or for LACP alone; or a switch in between that eats LACPDUs.
        25..45 => {
            let condition = *rng.pick(&[
                Condition::SILENT,
                Condition {
                    data: false,
                    ..Condition::SILENT
                },
            ]);
            let all = rng.chance(40);
            for end in wire.ends.iter().filter(|other| all || **other == end) {
                let set = |condition| Fault::Condition {
                    end: *end,
                    condition,
                };
                both(
                    faults,
                    at(start),
                    until,
                    set(condition),
                    set(Condition::GOOD),
                );
            }
        }
        45..60 => {
            let condition = Condition {
                loss: *rng.pick(&[0, 10, 50]),
                twice: *rng.pick(&[0, 20]),
                delay: Duration::from_millis(*rng.pick(&[0, 5, 50, 400, 2_000])),
                ..Condition::GOOD
            };
            for end in &wire.ends {
                let set = |condition| Fault::Condition {
                    end: *end,
                    condition,
                };
                both(
                    faults,
                    at(start),
                    until,
                    set(condition),
                    set(Condition::GOOD),
                );
            }
        }
        60..68 => both(
            faults,
            at(start),
            until,
            Fault::Stop(host),
            Fault::Resume(host),
        ),
        68..76 => {
            let save_lost = rng.chance(30);
            both(
                faults,
                at(start),
                until,
                Fault::Kill { host, save_lost },
                Fault::Start(host),
            );
        }
        76..83 => faults.push((at(start), Fault::Reboot(host))),
        83..88 => both(
            faults,
            at(start),
            until,
            Fault::Remove(end),
            Fault::Add(end),
        ),
        88..93 => both(
            faults,
            at(start),
            until,
            Fault::Drain { end, out: true },
            Fault::Drain { end, out: false },
        ),
        93..97 => {
            let speed_mbps = *rng.pick(&[1_000, 10_000, 25_000]);
            faults.push((
                at(start),
                Fault::Speed {
                    wire: number,
                    speed_mbps,
                },
            ));
        }
        _ => faults.push((
            at(start),
            Fault::Rate {
                host,
                fast: rng.chance(50),
            },
        )),
    }
}

fn notice(rng: &mut Rng) -> Option<Duration> {
    match rng.range(0, 100) {
        0..60 => Some(Duration::from_micros(rng.range(10, 2_000))),
        // Linkwatch may hold one back for a second.
        60..80 => Some(Duration::from_millis(rng.range(0, 1_000))),
        _ => None,
    }
}
