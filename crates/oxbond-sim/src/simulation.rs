//! A run: a host, its traffic, its daemon's timers and its faults, in virtual time, with every step checked.

use core::fmt;
use core::time::Duration;

use oxbond_core::time::Instant;

use crate::Restore;
use crate::fault::{Fault, Scenario};
use crate::host::{Counters, Daemon, Host, Notice};
use crate::invariant::{self, Violation};
use crate::rng::Rng;
use crate::world::World;

/// What happens in the world of one host.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Something goes wrong.
    Fault(Fault),
    /// Nothing goes wrong from here on.
    Heal,
    /// Something is there for the daemon to read.
    Notice(Notice),
    /// The daemon looks at its ports. Void if another look was scheduled since.
    Poll { number: u64 },
    /// The bond's timeout. Void if the bond has another one now.
    Timeout,
    /// The host sends a frame.
    Frame,
}

/// Time from the data path's leaving a port to the daemon's reading of it.
const RECORD_DELAY: Duration = Duration::from_micros(200);

/// How long the last peer notifications and multicast reports may take: scenarios ask for at most three, an interval of
/// at most 200 ms apart.
const ANNOUNCING: Duration = Duration::from_secs(1);

/// How long nothing may happen at the end.
const QUIET: Duration = Duration::from_secs(2);

/// A run that broke an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which test it is a run of.
    pub test: &'static str,
    /// Which run.
    pub seed: u64,
    /// When.
    pub at: Instant,
    /// What was broken.
    pub violation: Violation,
    /// What happened before, one line each.
    pub trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {} after {:.6} s: {}\nreproduce: OXBOND_SIM_SEED={} cargo test -p oxbond-sim --test {}",
            self.seed,
            self.at.as_nanos() as f64 / 1e9,
            self.violation,
            self.seed,
            self.test
        )?;
        f.write_str(&self.trace)
    }
}

impl core::error::Error for Failure {}

/// Runs the scenario of a seed.
///
/// # Errors
///
/// The first broken invariant, with what led to it.
pub fn run_seed(seed: u64, restore: Restore) -> Result<Counters, Box<Failure>> {
    run(seed, &Scenario::from_seed(seed), restore)
}

/// Runs a scenario; `seed` gives its traffic.
///
/// # Errors
///
/// The first broken invariant, with what led to it.
pub fn run(seed: u64, scenario: &Scenario, restore: Restore) -> Result<Counters, Box<Failure>> {
    // Every run is the same, so what happened is written down only once it is of interest.
    attempt(seed, scenario, restore, false).or_else(|_| attempt(seed, scenario, restore, true))
}

fn attempt(
    seed: u64,
    scenario: &Scenario,
    restore: Restore,
    tracing: bool,
) -> Result<Counters, Box<Failure>> {
    let failed = |at, violation, trace| {
        Box::new(Failure {
            test: "seeds",
            seed,
            at,
            violation,
            trace,
        })
    };
    let host = Host::new(Instant::ZERO, scenario, restore, tracing)
        .map_err(|violation| failed(Instant::ZERO, violation, String::new()))?;
    let mut simulation = Simulation {
        world: World::new(),
        host,
        scenario,
        traffic: Rng::new(!seed),
        polls: 0,
        timeout: None,
    };
    match simulation.run() {
        Ok(()) => Ok(simulation.host.counters),
        Err(violation) => Err(failed(
            simulation.world.now(),
            violation,
            simulation.host.trace(),
        )),
    }
}

struct Simulation<'a> {
    world: World<Event>,
    host: Host,
    scenario: &'a Scenario,
    traffic: Rng,
    /// Looks scheduled so far.
    polls: u64,
    /// The timeout that is scheduled.
    timeout: Option<Instant>,
}

impl Simulation<'_> {
    fn run(&mut self) -> Result<(), Violation> {
        self.host.begin(Instant::ZERO)?;
        self.schedule_timeout();
        for (at, fault) in &self.scenario.faults {
            self.world.schedule(*at, Event::Fault(*fault));
        }
        self.world.schedule(self.scenario.heal_at, Event::Heal);
        self.world.schedule(Instant::ZERO, Event::Frame);
        self.schedule_poll();
        self.pass_until(self.scenario.heal_at)?;

        let bound = self.time_to_converge();
        self.pass_until(self.scenario.heal_at + bound)?;
        invariant::converged(&self.host, self.world.now())?;

        self.pass_until(self.world.now() + ANNOUNCING)?;
        let before = self.host.counters;
        self.pass_until(self.world.now() + QUIET)?;
        let after = self.host.counters;
        if after.actions != before.actions {
            let detail = format!("{} in {QUIET:?}", after.actions - before.actions);
            return Err(Violation::new("no action while nothing changes", detail));
        }
        let learning = self.host.data_path.table.as_ref();
        let learning = learning.is_some_and(|table| table.stations.is_some());
        if let Some(at) = self.host.bond.next_timeout().filter(|_| !learning) {
            return Err(Violation::new(
                "no timeout while nothing changes",
                format!("{at:?}"),
            ));
        }
        invariant::converged(&self.host, self.world.now())
    }

    /// The monitor sees the truth within one interval; then an up delay may have to pass, and one within which the
    /// last fault fell may have to begin anew after a stale notice is put right.
    fn time_to_converge(&self) -> Duration {
        let options = self.host.bond.options();
        let delay = Duration::from_millis(u64::from(options.updelay.max(options.downdelay)));
        // Notices sent before the healing may still be on their way, and may be stale.
        let late_notices = Duration::from_secs(1);
        late_notices
            + 2 * self.host.poll_interval().unwrap_or_default()
            + delay
            + Duration::from_millis(10)
    }

    fn pass_until(&mut self, until: Instant) -> Result<(), Violation> {
        while let Some(event) = self.world.next(until) {
            self.happen(event)?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        let now = self.world.now();
        match event {
            Event::Frame => return self.frame(),
            Event::Timeout if self.timeout == Some(now) && self.host.daemon == Daemon::Running => {
                self.timeout = None;
                self.host.timeout(now)?;
            }
            Event::Poll { number } if number == self.polls => {
                if self.host.daemon == Daemon::Running {
                    self.host.poll(now)?;
                }
                self.schedule_poll();
            }
            Event::Timeout | Event::Poll { .. } => return Ok(()),
            Event::Notice(notice) => self.host.notify(now, notice)?,
            Event::Fault(fault) => self.fault(fault)?,
            Event::Heal => self.heal()?,
        }
        self.schedule_timeout();
        invariant::step(&self.host, now)
    }

    fn frame(&mut self) -> Result<(), Violation> {
        let now = self.world.now();
        let hash = self.traffic.next() as u32;
        let (port, left) = self.host.transmit(hash);
        for (id, _) in self.host.attached().filter(|(id, _)| left & id.bit() != 0) {
            self.world
                .schedule(now + RECORD_DELAY, Event::Notice(Notice::Left { id }));
        }
        self.world
            .schedule(now + self.scenario.frame_interval, Event::Frame);
        invariant::frame(&self.host, port)
    }

    fn fault(&mut self, fault: Fault) -> Result<(), Violation> {
        let now = self.world.now();
        self.host.note(now, format_args!("{fault:?}"));
        match (fault, self.host.daemon) {
            (Fault::Carrier { port, up, notice }, _) => self.carrier(port, up, notice),
            (Fault::Stop, Daemon::Running) => self.host.stop(now),
            (Fault::Resume, Daemon::Stopped) => self.go_on()?,
            (Fault::Kill { save_lost }, Daemon::Running | Daemon::Stopped) => {
                self.host.kill(now, save_lost)
            }
            (Fault::Start, Daemon::Dead) => self.host.start(now)?,
            (Fault::RemovePort { port }, _) => self.host.remove_port(now, port)?,
            (Fault::AddPort { port }, _) => self.host.add_port(now, port)?,
            (Fault::Primary { port }, _) => self.host.set_primary(now, port)?,
            (Fault::Mode { mode }, _) => {
                let before = self.host.poll_interval();
                self.host.set_mode(now, mode)?;
                // Some modes switch the monitor on.
                if self.host.poll_interval() != before {
                    self.schedule_poll();
                }
            }
            (Fault::Stop | Fault::Resume | Fault::Kill { .. } | Fault::Start, _) => {}
        }
        Ok(())
    }

    fn carrier(&mut self, port: usize, up: bool, notice: Option<Duration>) {
        if self.host.ports[port].carrier == up {
            return;
        }
        self.host.ports[port].carrier = up;
        if let Some(delay) = notice {
            let notice = Notice::Link { port, carrier: up };
            self.world
                .schedule(self.world.now() + delay, Event::Notice(notice));
        }
    }

    /// The daemon goes on: it reads what waits and finds its timers due.
    fn go_on(&mut self) -> Result<(), Violation> {
        let now = self.world.now();
        self.host.resume(now)?;
        self.host.poll(now)?;
        self.host.timeout(now)
    }

    fn heal(&mut self) -> Result<(), Violation> {
        let now = self.world.now();
        self.host
            .note(now, format_args!("nothing goes wrong from here on"));
        match self.host.daemon {
            Daemon::Running => {}
            Daemon::Stopped => self.go_on()?,
            Daemon::Dead => self.host.start(now)?,
        }
        for (port, up) in self.scenario.carrier_after.iter().enumerate() {
            let notice = self
                .host
                .poll_interval()
                .is_none()
                .then_some(Duration::ZERO);
            self.carrier(port, *up, notice);
        }
        Ok(())
    }

    fn schedule_poll(&mut self) {
        if let Some(interval) = self.host.poll_interval() {
            self.polls += 1;
            self.world.schedule(
                self.world.now() + interval,
                Event::Poll { number: self.polls },
            );
        }
    }

    fn schedule_timeout(&mut self) {
        let next = self.host.bond.next_timeout();
        if next != self.timeout {
            self.timeout = next;
            if let Some(at) = next {
                self.world.schedule(at, Event::Timeout);
            }
        }
    }
}
