//! A run: hosts, wires, traffic, timers and faults in virtual time, with every frame and step checked.

use core::time::Duration;
use std::collections::BTreeMap;

use oxbond_core::lacp::{Lacp, Participant};
use oxbond_core::option::LacpRate;
use oxbond_core::port::{MAX_PORTS, PortId};
use oxbond_core::time::Instant;
use oxbond_wire::lacp::State as Flags;

use super::host::{Counters, Frame, Host, Notice};
use super::scenario::{Condition, End, Fault, Lasting, Scenario, Way};
use crate::Restore;
use crate::host::Daemon;
use crate::invariant::Violation;
use crate::rng::Rng;
use crate::simulation::Failure;
use crate::world::World;

/// What happens in the world.
#[derive(Clone, Debug)]
enum Event {
    /// Something goes wrong.
    Fault(Fault),
    /// Nothing goes wrong from here on.
    Heal,
    /// Something is there for a daemon to read.
    Notice(usize, Notice),
    /// A daemon looks at its ports.
    Poll(usize),
    /// A bond's timeout. Void if the bond has another one now.
    Timeout(usize),
    /// A frame reaches an end, sent from another.
    Arrive { from: End, to: End, frame: Frame },
    /// A host sends a frame of its traffic.
    Traffic(usize),
}

/// Time from the data path's leaving a port, or tapping a frame, to the daemon's reading of it.
const RECORD_DELAY: Duration = Duration::from_micros(200);

/// Time a frame is under way.
const FLIGHT: Duration = Duration::from_micros(300);

/// Short_Timeout_Time and Long_Timeout_Time, Aggregate_Wait_Time, and the periods (802.1AX-2014, 6.4.4).
const SHORT_TIMEOUT: Duration = Duration::from_secs(3);
const LONG_TIMEOUT: Duration = Duration::from_secs(90);
const AGGREGATE_WAIT: Duration = Duration::from_secs(2);
const FAST_PERIOD: Duration = Duration::from_secs(1);
const SLOW_PERIOD: Duration = Duration::from_secs(30);

/// A notice may be as late as this, and be stale.
const LATE_NOTICE: Duration = Duration::from_secs(1);

/// Lines of trace shown.
const TRACE_LINES: usize = 150;

/// What a run, or many, came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Counted at all hosts.
    pub counters: Counters,
    /// Ports that distributed at the end.
    pub distributing: u64,
    /// Longest time from healing until every healthy pair of ports carried traffic, with every end at the fast rate.
    pub longest: Duration,
}

impl Totals {
    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        let (sum, more) = (&mut self.counters, &other.counters);
        for (sum, more) in [
            (&mut sum.sent, more.sent),
            (&mut sum.delivered, more.delivered),
            (&mut sum.refused, more.refused),
            (&mut sum.slow, more.slow),
            (&mut sum.answered, more.answered),
            (&mut sum.tables, more.tables),
            (&mut sum.actions, more.actions),
            (&mut sum.restarts, more.restarts),
            (&mut sum.calls, more.calls),
            (&mut self.distributing, other.distributing),
        ] {
            *sum += more;
        }
        self.longest = self.longest.max(other.longest);
    }
}

/// Runs the scenario of a seed.
///
/// # Errors
///
/// The first broken invariant, with what led to it.
pub fn run_seed(seed: u64, restore: Restore) -> Result<Totals, Box<Failure>> {
    run(seed, &Scenario::from_seed(seed), restore)
}

/// Runs a scenario; `seed` gives its traffic and the fate of single frames.
///
/// # Errors
///
/// The first broken invariant, with what led to it.
pub fn run(seed: u64, scenario: &Scenario, restore: Restore) -> Result<Totals, Box<Failure>> {
    // Every run is the same, so what happened is written down only once it is of interest.
    attempt(seed, scenario, restore, false).or_else(|_| attempt(seed, scenario, restore, true))
}

fn attempt(
    seed: u64,
    scenario: &Scenario,
    restore: Restore,
    tracing: bool,
) -> Result<Totals, Box<Failure>> {
    let mut simulation = Simulation::new(seed, scenario, restore, tracing);
    let result = simulation
        .as_mut()
        .map_err(|violation| violation.clone())
        .and_then(Simulation::run);
    result.map_err(|violation| {
        let (at, trace) = simulation
            .as_ref()
            .map_or((Instant::ZERO, String::new()), |it| {
                (it.world.now(), it.trace())
            });
        Box::new(Failure {
            test: "lacp",
            seed,
            at,
            violation,
            trace,
        })
    })
}

type Check = Result<(), Violation>;

fn demand(holds: bool, rule: &'static str, detail: impl FnOnce() -> String) -> Check {
    if holds {
        Ok(())
    } else {
        Err(Violation::new(rule, detail()))
    }
}

struct Simulation<'a> {
    world: World<Event>,
    scenario: &'a Scenario,
    hosts: Vec<Host>,
    /// The wire that an end is on.
    wire_of: BTreeMap<End, usize>,
    conditions: BTreeMap<End, Condition>,
    rng: Rng,
    timeouts: Vec<Option<Instant>>,
    /// Every host asks for PDUs every second, all the time.
    all_fast: bool,
    faults: Vec<String>,
}

impl<'a> Simulation<'a> {
    fn new(
        seed: u64,
        scenario: &'a Scenario,
        restore: Restore,
        tracing: bool,
    ) -> Result<Self, Violation> {
        let ends = || {
            scenario
                .wires
                .iter()
                .enumerate()
                .flat_map(|(wire, it)| it.ends.iter().map(move |end| (*end, wire)))
        };
        let hosts = scenario.hosts.iter().enumerate();
        let mut hosts = hosts
            .map(|(number, setup)| Host::new(Instant::ZERO, number, setup, restore, tracing))
            .collect::<Result<Vec<_>, _>>()?;
        for (end, wire) in ends() {
            hosts[end.host].ports[end.port].speed_mbps = scenario.wires[wire].speed_mbps;
            if scenario.wires[wire].way == Way::Hub {
                hosts[end.host].put_on_hub();
            }
        }
        let rate_changes = scenario
            .faults
            .iter()
            .any(|(_, fault)| matches!(fault, Fault::Rate { .. }));
        let all_fast = !rate_changes
            && hosts
                .iter()
                .all(|host| host.bond.options().lacp_rate == LacpRate::Fast);
        Ok(Self {
            world: World::new(),
            scenario,
            timeouts: vec![None; hosts.len()],
            hosts,
            wire_of: ends().collect(),
            conditions: ends().map(|(end, _)| (end, Condition::GOOD)).collect(),
            rng: Rng::new(!seed),
            all_fast,
            faults: Vec::new(),
        })
    }

    fn run(&mut self) -> Result<Totals, Violation> {
        for host in 0..self.hosts.len() {
            self.hosts[host].begin(Instant::ZERO)?;
            self.after(host);
            self.world.schedule(Instant::ZERO, Event::Traffic(host));
            self.schedule_poll(host);
        }
        for (at, fault) in &self.scenario.faults {
            self.world.schedule(*at, Event::Fault(*fault));
        }
        let heal_at = self.scenario.heal_at;
        self.world.schedule(heal_at, Event::Heal);
        self.pass_until(heal_at)?;

        let healed = self.time_to_heal(heal_at)?;
        self.pass_until(heal_at + self.time_to_settle())?;
        self.settled()?;
        let before: Vec<Counters> = self.hosts.iter().map(|host| host.counters).collect();
        self.pass_until(self.world.now() + self.scenario.quiet)?;
        self.settled()?;
        self.peace(&before)?;

        let mut totals = Totals {
            longest: if self.all_fast {
                healed
            } else {
                Duration::ZERO
            },
            ..Totals::default()
        };
        for host in &self.hosts {
            let distributing = host
                .lacp()
                .map_or(0, |lacp| lacp.distributing().len() as u64);
            totals.add(&Totals {
                counters: host.counters,
                distributing,
                longest: Duration::ZERO,
            });
        }
        Ok(totals)
    }

    /// Lets time pass until all healthy pairs of ports carry traffic, and answers how long that took.
    fn time_to_heal(&mut self, heal_at: Instant) -> Result<Duration, Violation> {
        let limit = heal_at + self.time_to_converge();
        loop {
            let result = self.carries(false);
            let now = self.world.now();
            if result.is_ok() || now >= limit {
                return result.map(|()| now.saturating_since(heal_at));
            }
            self.pass_until(now + Duration::from_millis(100))?;
        }
    }

    /// The slowest end's word for itself.
    fn slow(&self) -> bool {
        self.hosts
            .iter()
            .any(|host| host.bond.options().lacp_rate == LacpRate::Slow)
    }

    /// Until healthy ports carry: links become known and their up delay passes; the next PDU comes, at the rate asked for; what
    /// is stale of the partner runs out where the other end has forgotten us; ports attach together; and an answer may have to
    /// wait for the limit of three a second.
    fn time_to_converge(&self) -> Duration {
        let all_work = self
            .scenario
            .after
            .iter()
            .all(|lasting| *lasting == Lasting::Healthy);
        let period = match (self.slow(), all_work) {
            (false, _) => FAST_PERIOD,
            (true, true) => SLOW_PERIOD,
            // An aggregate that died silently has to be given up first.
            (true, false) => LONG_TIMEOUT,
        };
        self.time_to_know() + period + SHORT_TIMEOUT + AGGREGATE_WAIT + FAST_PERIOD
    }

    fn time_to_know(&self) -> Duration {
        let delay = |host: &Host| {
            let updelay = Duration::from_millis(host.bond.options().updelay.into());
            updelay + host.poll_interval().unwrap_or_default()
        };
        LATE_NOTICE + self.hosts.iter().map(delay).max().unwrap_or_default()
    }

    /// Until a link that stays dead is given up by everyone, too, and what carries without a partner does.
    fn time_to_settle(&self) -> Duration {
        let timeout = if self.slow() {
            LONG_TIMEOUT
        } else {
            SHORT_TIMEOUT
        };
        let fallback = Duration::from_secs(3);
        self.time_to_converge() + timeout + SHORT_TIMEOUT + fallback
    }

    fn pass_until(&mut self, until: Instant) -> Check {
        while let Some(event) = self.world.next(until) {
            self.happen(event)?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Check {
        let now = self.world.now();
        let running = |host: &Host| host.daemon == Daemon::Running;
        match event {
            Event::Traffic(host) => {
                let hash = self.rng.next() as u32;
                let left = self.hosts[host].transmit(hash)?;
                let ports = if left == 0 { 0 } else { MAX_PORTS as u8 };
                for id in (0..ports).filter_map(PortId::new) {
                    if left & id.bit() != 0 {
                        let notice = Event::Notice(host, Notice::Left { id });
                        self.world.schedule(now + RECORD_DELAY, notice);
                    }
                }
                let interval = self.scenario.hosts[host].frame_interval;
                self.world.schedule(now + interval, Event::Traffic(host));
                self.send(host);
            }
            Event::Timeout(host) => {
                if self.timeouts[host] == Some(now) {
                    self.timeouts[host] = None;
                    if running(&self.hosts[host]) {
                        self.hosts[host].timeout(now)?;
                    }
                    self.after(host);
                }
            }
            Event::Poll(host) => {
                if running(&self.hosts[host]) {
                    self.hosts[host].poll(now)?;
                    self.after(host);
                }
                self.schedule_poll(host);
            }
            Event::Notice(host, notice) => {
                self.hosts[host].notify(now, notice)?;
                self.after(host);
            }
            Event::Arrive { from, to, frame } => self.arrive(from, to, frame)?,
            Event::Fault(fault) => self.fault(fault)?,
            Event::Heal => self.heal()?,
        }
        Ok(())
    }

    /// What a host has done goes on its way.
    fn after(&mut self, host: usize) {
        self.send(host);
        let running = self.hosts[host].daemon == Daemon::Running;
        let next = self.hosts[host].next_timeout().filter(|_| running);
        if next != self.timeouts[host] {
            self.timeouts[host] = next;
            if let Some(at) = next {
                self.world.schedule(at, Event::Timeout(host));
            }
        }
    }

    fn send(&mut self, host: usize) {
        for (port, frame) in core::mem::take(&mut self.hosts[host].outbox) {
            self.put_on_wire(End { host, port }, &frame);
        }
    }

    fn put_on_wire(&mut self, from: End, frame: &Frame) {
        let Some(wire) = self
            .wire_of
            .get(&from)
            .map(|wire| &self.scenario.wires[*wire])
        else {
            return;
        };
        let condition = self
            .conditions
            .get(&from)
            .copied()
            .unwrap_or(Condition::GOOD);
        let slow = matches!(frame, Frame::Slow(_));
        let passes = if slow {
            condition.pdus && wire.way != Way::Bridge && !self.rng.chance(condition.loss)
        } else {
            condition.data
        };
        if !passes || !self.hosts[from.host].ports[from.port].carrier {
            return;
        }
        for to in wire.ends.iter().filter(|end| **end != from) {
            let copies = 1 + u64::from(slow && self.rng.chance(condition.twice));
            for _ in 0..copies {
                let held = if slow {
                    self.rng.range(0, condition.delay.as_micros() as u64)
                } else {
                    0
                };
                let at = self.world.now() + FLIGHT + Duration::from_micros(held);
                let (to, frame) = (*to, frame.clone());
                self.world.schedule(at, Event::Arrive { from, to, frame });
            }
        }
    }

    fn arrive(&mut self, from: End, to: End, frame: Frame) -> Check {
        let now = self.world.now();
        if !self.hosts[to.host].ports[to.port].carrier {
            return Ok(());
        }
        let refused = self.hosts[to.host].arrive(now, to.port, frame)?;
        self.after(to.host);
        if refused {
            self.sent_in_vain(from, to)?;
        }
        Ok(())
    }

    /// Data came to a port that does not collect. That may be for as long as the sender goes by the partner's last word: its
    /// timeout, and once more if its daemon was away in between.
    fn sent_in_vain(&self, from: End, to: End) -> Check {
        let (sender, receiver) = (&self.hosts[from.host], &self.hosts[to.host]);
        let agreed = sender.lacp().is_some_and(|lacp| lacp.fallback().is_empty());
        let cable = self
            .wire_of
            .get(&from)
            .is_some_and(|wire| self.scenario.wires[*wire].way == Way::Cable);
        if !self.all_fast || !agreed || !cable || sender.daemon != Daemon::Running {
            return Ok(());
        }
        let since = receiver.ports[to.port]
            .accepted
            .max(sender.awake)
            .max(sender.ports[from.port].sends);
        let ago = self.world.now().saturating_since(since);
        demand(
            ago <= 2 * SHORT_TIMEOUT + LATE_NOTICE,
            "nobody sends for long to who does not collect",
            || format!("{from:?} sends to {to:?}, which has not collected for {ago:?}"),
        )
    }

    fn fault(&mut self, fault: Fault) -> Check {
        let now = self.world.now();
        self.faults
            .push(format!("{:>12.6} {fault:?}", now.as_nanos() as f64 / 1e9));
        match fault {
            Fault::Carrier { end, up, notice } => self.carrier(end, up, notice),
            Fault::Condition { end, condition } => {
                self.conditions.insert(end, condition);
            }
            Fault::Stop(host) if self.hosts[host].daemon == Daemon::Running => {
                self.hosts[host].stop()
            }
            Fault::Resume(host) if self.hosts[host].daemon == Daemon::Stopped => {
                self.hosts[host].resume(now)?
            }
            Fault::Kill { host, save_lost } if self.hosts[host].daemon != Daemon::Dead => {
                self.hosts[host].kill(save_lost)
            }
            Fault::Start(host) if self.hosts[host].daemon == Daemon::Dead => {
                self.hosts[host].start(now)?
            }
            Fault::Stop(_) | Fault::Resume(_) | Fault::Kill { .. } | Fault::Start(_) => {}
            Fault::Reboot(host) => self.hosts[host].reboot(now)?,
            Fault::Remove(end) => self.hosts[end.host].remove(now, end.port)?,
            Fault::Add(end) => self.hosts[end.host].add(now, end.port)?,
            Fault::Drain { end, out } => self.hosts[end.host].drain(now, end.port, out)?,
            Fault::Speed { wire, speed_mbps } => {
                for end in &self.scenario.wires[wire].ends {
                    self.hosts[end.host].ports[end.port].speed_mbps = speed_mbps;
                }
            }
            Fault::Rate { host, fast } => self.hosts[host].set_rate(now, fast)?,
        }
        for host in 0..self.hosts.len() {
            self.after(host);
        }
        Ok(())
    }

    fn carrier(&mut self, end: End, up: bool, notice: Option<Duration>) {
        let host = &mut self.hosts[end.host];
        if host.ports[end.port].carrier == up {
            return;
        }
        host.ports[end.port].carrier = up;
        if let Some(delay) = notice {
            let notice = Event::Notice(end.host, host.link_notice(end.port));
            self.world.schedule(self.world.now() + delay, notice);
        }
    }

    fn heal(&mut self) -> Check {
        let now = self.world.now();
        self.faults.push(format!(
            "{:>12.6} nothing goes wrong from here on",
            now.as_nanos() as f64 / 1e9
        ));
        for (wire, lasting) in self.scenario.wires.iter().zip(&self.scenario.after) {
            for (number, end) in wire.ends.iter().enumerate() {
                let silent =
                    *lasting == Lasting::Silent || *lasting == Lasting::OneWay && number == 0;
                let condition = if silent {
                    Condition::SILENT
                } else {
                    Condition::GOOD
                };
                self.conditions.insert(*end, condition);
                self.carrier(*end, *lasting != Lasting::Cut, None);
            }
        }
        for host in &mut self.hosts {
            match host.daemon {
                Daemon::Running => {}
                Daemon::Stopped => host.resume(now)?,
                Daemon::Dead => host.start(now)?,
            }
            for port in 0..host.ports.len() {
                host.add(now, port)?;
                host.drain(now, port, false)?;
            }
        }
        for host in 0..self.hosts.len() {
            self.after(host);
        }
        Ok(())
    }

    fn schedule_poll(&mut self, host: usize) {
        if let Some(interval) = self.hosts[host].poll_interval() {
            self.world
                .schedule(self.world.now() + interval, Event::Poll(host));
        }
    }

    /// The cables over which two ends can agree, by the hosts and the speed: what can be one aggregate.
    fn classes(&self) -> BTreeMap<(usize, u32), Vec<[End; 2]>> {
        let mut classes: BTreeMap<_, Vec<[End; 2]>> = BTreeMap::new();
        let system = |host: usize| self.hosts[host].lacp().map(|lacp| lacp.config().system());
        for (wire, lasting) in self.scenario.wires.iter().zip(&self.scenario.after) {
            let [first, second] = wire.ends[..] else {
                continue;
            };
            let agrees = wire.way == Way::Cable
                && first.host != second.host
                && system(first.host) != system(second.host);
            if agrees && *lasting == Lasting::Healthy {
                let speed = self.hosts[first.host].ports[first.port].speed_mbps;
                classes
                    .entry((second.host, speed))
                    .or_default()
                    .push([first, second]);
            }
        }
        classes
    }

    fn has_hub(&self) -> bool {
        self.scenario.wires.iter().any(|wire| wire.way == Way::Hub)
    }

    fn carrying(&self, host: usize, which: fn(&Lacp) -> &[PortId]) -> Vec<usize> {
        let host = &self.hosts[host];
        let ids = host.lacp().map_or(&[][..], which);
        ids.iter().filter_map(|id| host.port_of(*id)).collect()
    }

    /// One aggregate carries the traffic of the first host, with all its healthy ports but those above the limit; both ends of
    /// each collect and distribute. `exact`: and no other port collects any more, though the other end hears nothing of it.
    fn carries(&self, exact: bool) -> Check {
        const RULE: &str = "every healthy pair of ports comes to carry traffic";
        let classes = self.classes();
        if classes.is_empty() || self.has_hub() {
            return Ok(());
        }
        let ours = self.carrying(0, Lacp::distributing);
        let class = classes
            .iter()
            .find(|(_, class)| class.iter().any(|[end, _]| ours.contains(&end.port)));
        let Some(((partner, _), class)) = class else {
            return demand(false, RULE, || {
                format!("host 0 distributes on {ours:?}, healthy are {classes:?}")
            });
        };
        let most = |host: usize| usize::from(self.hosts[host].bond.options().max_ports);
        let count = class.len().min(most(0)).min(most(*partner));
        demand(
            ours.len() == count
                && ours
                    .iter()
                    .all(|port| class.iter().any(|[end, _]| end.port == *port)),
            RULE,
            || format!("host 0 distributes on {ours:?}, of {class:?} {count} could"),
        )?;
        for host in 0..self.hosts.len() {
            let there = |[end, other]: &[End; 2]| {
                (host == 0)
                    .then_some(end.port)
                    .or_else(|| (other.host == host).then_some(other.port))
            };
            let wanted: Vec<usize> = class
                .iter()
                .filter(|[end, _]| ours.contains(&end.port))
                .filter_map(there)
                .collect();
            if wanted.is_empty() && !classes.keys().any(|(partner, _)| *partner == host) {
                // No partner for this one; see `settled`.
                continue;
            }
            for which in [Lacp::distributing, Lacp::collecting] {
                let mut has = self.carrying(host, which);
                let mut wanted = wanted.clone();
                has.sort_unstable();
                wanted.sort_unstable();
                if !exact {
                    has.retain(|port| wanted.contains(port));
                }
                demand(has == wanted, RULE, || {
                    format!("host {host}: {has:?} instead of {wanted:?}")
                })?;
            }
        }
        Ok(())
    }

    /// Everything is as it should be for good.
    fn settled(&self) -> Check {
        if self.has_hub() {
            return Ok(());
        }
        self.carries(true)?;
        let classes = self.classes();
        for (number, host) in self.hosts.iter().enumerate() {
            let Some(lacp) = host.lacp() else { continue };
            let partnered = if number == 0 {
                !classes.is_empty()
            } else {
                classes.keys().any(|(partner, _)| *partner == number)
            };
            let distributing = lacp.distributing();
            let fallback = lacp.fallback();
            let alone = distributing.iter().all(|id| fallback.contains(id));
            demand(
                if partnered {
                    fallback.is_empty()
                } else {
                    alone
                },
                "who has a partner carries by agreement, who has none by the fallback alone",
                || format!("host {number}: {distributing:?}, by fallback {fallback:?}"),
            )?;
            let least = host.bond.options().min_links.max(1) as usize;
            demand(
                host.data_path.carrier == (distributing.len() >= least),
                "carrier is there when enough ports carry",
                || {
                    format!(
                        "host {number}: {}, {distributing:?}, min_links {least}",
                        host.data_path.carrier
                    )
                },
            )?;
        }
        classes
            .values()
            .flatten()
            .try_for_each(|ends| self.agree(ends))
    }

    /// Each end knows the other as that sees itself.
    fn agree(&self, ends: &[End; 2]) -> Check {
        // That a port distributes is told with the next PDU only.
        let told = Flags(!Flags::DISTRIBUTING.0);
        let seen = |it: Participant| Participant {
            state: Flags(it.state.0 & told.0),
            ..it
        };
        let status = |end: &End| {
            let host = &self.hosts[end.host];
            let ports = host
                .lacp()
                .map(|lacp| lacp.ports(self.world.now()))
                .unwrap_or_default();
            ports
                .into_iter()
                .find(|port| host.ports[end.port].id.is_some_and(|id| port.id == id))
        };
        for (one, other) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
            let (Some(status), Some(theirs)) = (status(one), status(other)) else {
                return demand(false, "every port is in its bond again", || {
                    format!("{ends:?}")
                });
            };
            demand(
                seen(status.partner) == seen(theirs.actor),
                "both ends agree who they are",
                || {
                    format!(
                        "{one:?} knows {:?}, {other:?} is {:?}",
                        status.partner, theirs.actor
                    )
                },
            )?;
        }
        Ok(())
    }

    /// Nothing moved since, and no frame was lost.
    fn peace(&self, before: &[Counters]) -> Check {
        if self.has_hub() {
            return Ok(());
        }
        let alone = self
            .hosts
            .iter()
            .any(|host| host.lacp().is_some_and(|lacp| !lacp.fallback().is_empty()));
        for (number, (host, before)) in self.hosts.iter().zip(before).enumerate() {
            let after = &host.counters;
            demand(
                after.tables == before.tables,
                "no table while nothing changes",
                || format!("host {number}: {}", after.tables - before.tables),
            )?;
            demand(
                alone || after.refused == before.refused,
                "no frame is lost once all is settled",
                || format!("host {number} refused {}", after.refused - before.refused),
            )?;
        }
        Ok(())
    }

    fn trace(&self) -> String {
        let mut lines: Vec<String> = self
            .hosts
            .iter()
            .flat_map(|host| host.lines.iter().flatten())
            .cloned()
            .collect();
        lines.extend(self.faults.iter().cloned());
        // Times stand in front, all as wide; what is of one time stays in order.
        lines.sort_by(|a, b| a[..12].cmp(&b[..12]));
        let from = lines.len().saturating_sub(TRACE_LINES);
        let wires: Vec<String> = self
            .scenario
            .wires
            .iter()
            .zip(&self.scenario.after)
            .map(|wire| format!("{wire:?}"))
            .collect();
        format!("{}\n{}\n", wires.join("\n"), lines[from..].join("\n"))
    }
}
