//! A host in mode 802.3ad: its bond, the daemon that drives it, and the data path that forwards, and answers LACPDUs, with or
//! without the daemon.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use oxbond_core::action::Action;
use oxbond_core::bond::Bond;
use oxbond_core::input::Input;
use oxbond_core::lacp::Lacp;
use oxbond_core::option::{OptionChange, OptionId, OptionValue};
use oxbond_core::port::{Duplex, LinkState, MAX_PORTS, PortId, PortInfo};
use oxbond_core::standing::{SPACING, StandingAnswer};
use oxbond_core::table::{PortStanding, Receive, Spread, TransmitTable};
use oxbond_core::time::Instant;
use oxbond_wire::MacAddr;
use oxbond_wire::lacp::{Information, Lacpdu, State as Flags};

use super::scenario::HostSetup;
use crate::Restore;
use crate::host::Daemon;
use crate::invariant::Violation;

/// Where a LACPDU begins in its frame.
const PDU_AT: usize = 14;

/// Frames that the ring to the daemon holds; what comes when it is full is lost.
const RING: usize = 280;

/// Time between two saves of a state in which only LACP went on.
const SAVE_INTERVAL: Duration = Duration::from_millis(100);

/// Fast_Periodic_Time and Slow_Periodic_Time (802.1AX-2014, 6.4.4).
const FAST: Duration = Duration::from_secs(1);
const SLOW: Duration = Duration::from_secs(30);

/// How long a port that waits for others may keep a LACPDU to itself (`oxbond_core::lacp`, Transmit machine).
const HOLD: Duration = Duration::from_millis(50);

/// Most actions, frames aside, that a host may do in one second for each port and one: more is no work but a loop.
const ACTIONS_A_SECOND: u32 = 60;

/// Most frames of slow protocols that a port may send in one second.
const FRAMES_A_SECOND: u32 = 24;

/// A frame on a wire.
#[derive(Clone, Debug)]
pub(super) enum Frame {
    /// Of the slow protocols, as it is.
    Slow(Rc<Vec<u8>>),
    /// Of the hosts' traffic: from whom, and its number there.
    Data(usize, u64),
}

/// An interface of the host.
#[derive(Clone, Debug)]
pub(super) struct Port {
    /// Its place in the bond while it is in it.
    pub(super) id: Option<PortId>,
    /// The truth about its carrier.
    pub(super) carrier: bool,
    /// The truth about its speed.
    pub(super) speed_mbps: u32,
    mac: MacAddr,
    /// What was last told to the bond.
    told: Option<LinkState>,
    spoken: Spoken,
    standing: Option<StandingAnswer>,
    answered: Option<Instant>,
    /// When it last accepted data, if it does not now.
    pub(super) accepted: Instant,
    /// Since when it sends data, if it does.
    pub(super) sends: Instant,
}

/// What a port has said, to judge by the rates.
#[derive(Clone, Debug, Default)]
struct Spoken {
    /// The last LACPDU, if nothing has come between that excuses a gap.
    last: Option<(Instant, Lacpdu)>,
    /// When the last three were sent.
    times: VecDeque<Instant>,
    /// When the partner last asked for the slow rate.
    slow: Option<Instant>,
}

/// What the data path holds; it outlives the daemon.
#[derive(Clone, Debug, Default)]
pub(super) struct DataPath {
    pub(super) table: Option<TransmitTable>,
    left: u32,
    pub(super) carrier: bool,
}

/// What waits to be read by the daemon.
#[derive(Clone, Debug)]
pub(super) enum Notice {
    /// The link of a port, as it was when this was sent.
    Link { port: usize, link: LinkState },
    /// The data path left this port.
    Left { id: PortId },
    /// A tapped frame, and when it came.
    Slow {
        at: Instant,
        id: PortId,
        frame: Rc<Vec<u8>>,
    },
}

#[derive(Clone)]
struct Saved {
    bond: Bond,
    data_path: DataPath,
    ports: Vec<Option<PortId>>,
}

/// Counted over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Data frames sent.
    pub sent: u64,
    /// Data frames delivered.
    pub delivered: u64,
    /// Data frames that came to a port that does not collect.
    pub refused: u64,
    /// LACPDUs and markers sent by the daemon.
    pub slow: u64,
    /// LACPDUs that the data path answered in its place.
    pub answered: u64,
    /// Tables written.
    pub tables: u64,
    /// Actions but frames.
    pub actions: u64,
    /// Times a new daemon took over.
    pub restarts: u64,
    /// Times the bond was told of something, or of time.
    pub calls: u64,
}

/// See the module's text.
pub(super) struct Host {
    pub(super) number: usize,
    setup: HostSetup,
    pub(super) bond: Bond,
    pub(super) ports: Vec<Port>,
    pub(super) data_path: DataPath,
    pub(super) daemon: Daemon,
    /// Since when the daemon works without a break.
    pub(super) awake: Instant,
    pub(super) counters: Counters,
    /// Frames to be put on the wires.
    pub(super) outbox: Vec<(usize, Frame)>,
    seen: BTreeSet<(usize, u64)>,
    inbox: VecDeque<Notice>,
    /// The last moment that the bond was told of.
    told: Instant,
    saved: Option<Saved>,
    saved_before: Option<Saved>,
    next_save: Instant,
    /// Something was done since the last save that is more than routine.
    acted: bool,
    /// This second, what was done in it but frames, and frames.
    second: (u64, u32, u32),
    restore: Restore,
    on_hub: bool,
    /// Lines for the trace, if one is kept.
    pub(super) lines: Option<Vec<String>>,
}

type Check = Result<(), Violation>;

fn violation(rule: &'static str, detail: impl Into<String>) -> Check {
    Err(Violation::new(rule, detail))
}

impl Host {
    /// A host whose bond has no ports yet: see [`Host::begin`].
    pub(super) fn new(
        now: Instant,
        number: usize,
        setup: &HostSetup,
        restore: Restore,
        tracing: bool,
    ) -> Result<Self, Violation> {
        let ports = (0..setup.ports).map(|port| Port {
            id: None,
            carrier: true,
            speed_mbps: 0,
            // Few ports and hosts.
            mac: MacAddr([2, 0, 0, 0, number as u8, port as u8 + 1]),
            told: None,
            spoken: Spoken::default(),
            standing: None,
            answered: None,
            accepted: now,
            sends: now,
        });
        Ok(Self {
            number,
            bond: new_bond(now, number, setup)?,
            setup: setup.clone(),
            ports: ports.collect(),
            data_path: DataPath::default(),
            daemon: Daemon::Running,
            awake: now,
            counters: Counters::default(),
            outbox: Vec::new(),
            seen: BTreeSet::new(),
            inbox: VecDeque::new(),
            told: now,
            saved: None,
            saved_before: None,
            next_save: now,
            acted: false,
            second: (0, 0, 0),
            restore,
            on_hub: false,
            lines: tracing.then(Vec::new),
        })
    }

    /// Joins the ports and sets the bond up.
    pub(super) fn begin(&mut self, now: Instant) -> Check {
        self.carry_out(now)?;
        for port in 0..self.ports.len() {
            self.add(now, port)?;
        }
        self.feed(now, Input::BondAdmin { up: true })
    }

    /// Everything is lost, and the host is up again at once.
    pub(super) fn reboot(&mut self, now: Instant) -> Check {
        for port in &mut self.ports {
            if port
                .id
                .take()
                .is_some_and(|id| accepts(&self.data_path, id))
            {
                port.accepted = now;
            }
            (port.standing, port.answered, port.told) = (None, None, None);
            port.spoken = Spoken::default();
        }
        self.bond = new_bond(now, self.number, &self.setup)?;
        self.data_path = DataPath::default();
        (self.saved, self.saved_before) = (None, None);
        self.inbox.clear();
        self.daemon = Daemon::Running;
        self.awake = now;
        self.begin(now)
    }

    /// The machines.
    pub(super) fn lacp(&self) -> Option<&Lacp> {
        self.bond.lacp()
    }

    /// Tells that what joins it to others floods LACPDUs.
    pub(super) fn put_on_hub(&mut self) {
        self.on_hub = true;
    }

    /// When the bond wants to be told of the time.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.bond.next_timeout()
    }

    /// The monitor interval; `None` without one.
    pub(super) fn poll_interval(&self) -> Option<Duration> {
        let miimon = self.bond.options().miimon;
        (miimon > 0).then(|| Duration::from_millis(miimon.into()))
    }

    /// The port with this place in the bond.
    pub(super) fn port_of(&self, id: PortId) -> Option<usize> {
        self.ports.iter().position(|port| port.id == Some(id))
    }

    fn link(&self, port: usize) -> LinkState {
        LinkState {
            admin_up: true,
            carrier: self.ports[port].carrier,
            speed_mbps: Some(self.ports[port].speed_mbps),
            duplex: Duplex::Full,
        }
    }

    /// What the system says of a port's link now.
    pub(super) fn link_notice(&self, port: usize) -> Notice {
        Notice::Link {
            port,
            link: self.link(port),
        }
    }

    /// What the data path sees of the ports.
    fn standing(&self) -> PortStanding {
        let carrier = self.ports.iter().filter(|port| port.carrier);
        let carrier = carrier.filter_map(|port| port.id);
        PortStanding {
            carrier: carrier.fold(0, |set, id| set | id.bit()),
            left: self.data_path.left,
        }
    }

    /// Sends one frame of traffic; the ports that the data path left in doing so, as a set. Without carrier the system sends
    /// nothing.
    pub(super) fn transmit(&mut self, hash: u32) -> Result<u32, Violation> {
        let standing = self.standing();
        let table = self.data_path.table.as_ref();
        let Some(table) = table.filter(|_| self.data_path.carrier) else {
            return Ok(0);
        };
        let chosen = table.decide(hash, standing);
        let passed = match &table.spread {
            Spread::Buckets(buckets) if !buckets.now.is_empty() => {
                buckets.now[hash as usize % buckets.now.len()].bit()
            }
            Spread::Failover => {
                let passed = table.order.iter().take_while(|id| Some(**id) != chosen);
                passed.fold(0, |set, id| set | id.bit())
            }
            _ => 0,
        };
        let newly_left = passed & !standing.carrier & !standing.left;
        self.data_path.left |= newly_left;
        if let Some(id) = chosen {
            self.sends_from(id)?;
            let Some(port) = self.port_of(id) else {
                violation(
                    "traffic leaves ports of the bond",
                    format!("{id:?} is none"),
                )?;
                return Ok(newly_left);
            };
            self.counters.sent += 1;
            let frame = Frame::Data(self.number, self.counters.sent);
            self.outbox.push((port, frame));
        }
        Ok(newly_left)
    }

    /// Without a partner one port carries alone; which one of those that could, the data path decides by itself.
    fn carries_alone(&self) -> bool {
        self.lacp().is_some_and(Lacp::carries_alone)
    }

    /// Data leaves distributing ports only.
    fn sends_from(&self, id: PortId) -> Check {
        let distributing = self.lacp().map_or(&[][..], Lacp::distributing);
        if self.daemon == Daemon::Running && !self.carries_alone() && !distributing.contains(&id) {
            let detail = format!(
                "host {} sent on {id:?}, distributing {distributing:?}",
                self.number
            );
            return violation(
                "no data frame leaves a port that is not distributing",
                detail,
            );
        }
        Ok(())
    }

    /// A frame arrives. Whether it was data that the port does not accept.
    pub(super) fn arrive(
        &mut self,
        now: Instant,
        port: usize,
        frame: Frame,
    ) -> Result<bool, Violation> {
        let Some(id) = self.ports[port].id else {
            return Ok(matches!(frame, Frame::Data(..)));
        };
        match frame {
            Frame::Slow(frame) => {
                let taps = self
                    .data_path
                    .table
                    .as_ref()
                    .is_some_and(|table| table.tap.slow_protocols);
                if taps {
                    self.stand_in(now, port, &frame);
                    self.notify(now, Notice::Slow { at: now, id, frame })?;
                }
                Ok(false)
            }
            Frame::Data(from, number) => {
                let table = self.data_path.table.as_ref();
                if !table.is_some_and(|table| table.accepts(id, self.standing())) {
                    self.counters.refused += 1;
                    return Ok(true);
                }
                self.delivered(id, from, number)?;
                Ok(false)
            }
        }
    }

    fn delivered(&mut self, id: PortId, from: usize, number: u64) -> Check {
        self.counters.delivered += 1;
        let collecting = self.lacp().map_or(&[][..], Lacp::collecting);
        if self.daemon == Daemon::Running && !self.carries_alone() && !collecting.contains(&id) {
            let detail = format!(
                "host {} took one from {id:?}, collecting {collecting:?}",
                self.number
            );
            return violation(
                "no data frame is delivered from a port that is not collecting",
                detail,
            );
        }
        if self.on_hub {
            // With a box that floods LACPDUs no port knows who is at the other end.
            return Ok(());
        }
        if from == self.number {
            return violation(
                "no host is delivered its own frames",
                format!("host {from} on {id:?}"),
            );
        }
        if !self.seen.insert((from, number)) {
            return violation(
                "no frame is delivered twice",
                format!("number {number} of host {from}"),
            );
        }
        Ok(())
    }

    /// The data path's answer in the daemon's place. Twin of the program's (`bpf/lacp.h`).
    fn stand_in(&mut self, now: Instant, port: usize, frame: &[u8]) {
        let port_number = port;
        let port = &mut self.ports[port];
        let Some(standing) = &port.standing else {
            return;
        };
        let pause = port
            .answered
            .is_some_and(|at| now.saturating_since(at) < SPACING);
        if now < standing.from || now > standing.until || pause {
            return;
        }
        let (Some(heard), Some(ours)) = (parse(frame), parse(&standing.frame)) else {
            return;
        };
        let same = |a: &Information, b: &Information| {
            Information {
                state: b.state,
                ..*a
            } == *b
        };
        let flags = heard.actor.state;
        let aggregates =
            flags.has(Flags::AGGREGATION) == ours.partner.state.has(Flags::AGGREGATION);
        let confirms = same(&heard.actor, &ours.partner) && same(&heard.partner, &ours.actor);
        if !confirms || !flags.has(Flags::SYNC) || !aggregates {
            return;
        }
        let mut answer = ours;
        answer.partner.state = flags;
        port.answered = Some(now);
        self.counters.answered += 1;
        let frame = Rc::new(answer.frame(port.mac));
        self.outbox.push((port_number, Frame::Slow(frame)));
    }

    /// A notice arrives: the daemon acts on it, or it waits, or nobody is there to hear it.
    pub(super) fn notify(&mut self, now: Instant, notice: Notice) -> Check {
        match (self.daemon, &notice) {
            (Daemon::Running, _) => self.act_on(now, notice),
            (Daemon::Dead, Notice::Link { .. }) => Ok(()),
            _ => {
                if self.inbox.len() < RING {
                    self.inbox.push_back(notice);
                }
                Ok(())
            }
        }
    }

    fn act_on(&mut self, now: Instant, notice: Notice) -> Check {
        match notice {
            Notice::Link { port, link } => self.tell_link(now, port, link),
            Notice::Left { id } => match self.port_of(id) {
                None => Ok(()),
                Some(port) => {
                    self.feed(now, Input::LeftInPath { port: id })?;
                    self.tell_link(now, port, self.link(port))
                }
            },
            Notice::Slow { at, id, frame } => {
                if let (Some(port), Some(pdu)) = (self.port_of(id), parse(&frame))
                    && !pdu.actor.state.has(Flags::TIMEOUT)
                {
                    self.ports[port].spoken.slow = Some(now);
                }
                // A frame that waited came in time all the same.
                let at = at.min(now).max(self.told);
                let frame = frame.to_vec();
                self.feed(at, Input::Received { port: id, frame })
            }
        }
    }

    fn tell_link(&mut self, now: Instant, port: usize, link: LinkState) -> Check {
        let Some(id) = self.ports[port].id else {
            return Ok(());
        };
        if self.ports[port].told != Some(link) {
            self.line(
                now,
                format_args!(
                    "told: link of p{port}: {} {:?}",
                    link.carrier, link.speed_mbps
                ),
            );
        }
        self.ports[port].told = Some(link);
        if !link.carrier {
            self.ports[port].spoken.last = None;
        }
        self.feed(now, Input::Link { port: id, link })
    }

    /// The daemon looks at the links of all ports, and tells what is not as it was told before.
    pub(super) fn poll(&mut self, now: Instant) -> Check {
        for port in 0..self.ports.len() {
            let link = self.link(port);
            if self.ports[port].told != Some(link) {
                self.tell_link(now, port, link)?;
            }
        }
        Ok(())
    }

    /// The bond's timeout is reached.
    pub(super) fn timeout(&mut self, now: Instant) -> Check {
        self.counters.calls += 1;
        self.told = now;
        self.bond.handle_timeout(now);
        self.carry_out(now)?;
        if self.bond.next_timeout().is_some_and(|at| at <= now) {
            let detail = format!(
                "host {}: still due at {:?}",
                self.number,
                self.bond.next_timeout()
            );
            return violation("no timeout is left behind", detail);
        }
        self.save(now);
        Ok(())
    }

    /// The daemon stands still from now on.
    pub(super) fn stop(&mut self) {
        self.daemon = Daemon::Stopped;
    }

    /// The daemon goes on: it reads what waits and finds its timers due.
    pub(super) fn resume(&mut self, now: Instant) -> Check {
        self.wake(now);
        self.read_inbox(now)?;
        self.poll(now)?;
        self.timeout(now)
    }

    /// The daemon is killed. Links told meanwhile are lost, records wait in their rings.
    pub(super) fn kill(&mut self, save_lost: bool) {
        self.daemon = Daemon::Dead;
        self.inbox
            .retain(|notice| !matches!(notice, Notice::Link { .. }));
        if save_lost && let Some(before) = self.saved_before.take() {
            self.saved = Some(before);
        }
    }

    /// A new daemon takes over from the saved state: it mends what differs from it, then looks at everything anew.
    pub(super) fn start(&mut self, now: Instant) -> Check {
        self.counters.restarts += 1;
        let Some(saved) = self.saved.clone() else {
            return violation("the daemon saves its state", "there is none");
        };
        self.bond = (self.restore)(&saved.bond);
        self.told = now;
        self.wake(now);
        if self.data_path.table != saved.data_path.table {
            self.set_table(now, saved.data_path.table);
        }
        self.data_path.carrier = saved.data_path.carrier;
        for (port, id) in self.ports.iter_mut().zip(saved.ports) {
            if port.id != id {
                (port.id, port.standing) = (id, None);
            }
            port.told = None;
        }
        for id in self
            .ports
            .iter()
            .filter_map(|port| port.id)
            .collect::<Vec<_>>()
        {
            if self.data_path.left & id.bit() != 0 {
                self.feed(now, Input::LeftInPath { port: id })?;
            }
        }
        self.poll(now)?;
        self.read_inbox(now)?;
        self.timeout(now)
    }

    fn wake(&mut self, now: Instant) {
        self.daemon = Daemon::Running;
        self.awake = now;
        for port in &mut self.ports {
            // What a late daemon sends is late, and what the one before sent last may not be known.
            port.spoken = Spoken::default();
        }
    }

    fn read_inbox(&mut self, now: Instant) -> Check {
        while let Some(notice) = self.inbox.pop_front() {
            self.act_on(now, notice)?;
            // What waited is taken as of the time it came, and so are the answers.
            for port in &mut self.ports {
                port.spoken = Spoken::default();
            }
        }
        Ok(())
    }

    /// A port joins, if it is not in the bond and somebody is there to let it in.
    pub(super) fn add(&mut self, now: Instant, port: usize) -> Check {
        if self.ports[port].id.is_some() || self.daemon != Daemon::Running {
            return Ok(());
        }
        let mut free = (0..MAX_PORTS as u8).filter_map(PortId::new);
        let id = free.find(|id| self.port_of(*id).is_none());
        let link = self.link(port);
        let joining = &mut self.ports[port];
        (joining.id, joining.told, joining.spoken) = (id, Some(link), Spoken::default());
        let info = PortInfo {
            name: format!("p{port}"),
            ifindex: 10 + port as u32,
            permanent_mac: joining.mac,
            mac: joining.mac,
            link,
        };
        self.feed(
            now,
            Input::AddPort {
                info,
                options: Vec::new(),
                drained: false,
            },
        )
    }

    /// A port is taken out.
    pub(super) fn remove(&mut self, now: Instant, port: usize) -> Check {
        let Some(id) = self.ports[port]
            .id
            .filter(|_| self.daemon == Daemon::Running)
        else {
            return Ok(());
        };
        // It speaks its farewell whatever it has said before.
        self.ports[port].spoken = Spoken::default();
        let accepted = accepts(&self.data_path, id);
        // Its place goes with it into the saved state.
        self.take_in(now, Input::RemovePort { port: id })?;
        let gone = &mut self.ports[port];
        (gone.id, gone.standing, gone.spoken) = (None, None, Spoken::default());
        if accepted {
            gone.accepted = now;
        }
        self.save(now);
        Ok(())
    }

    /// A port is drained or brought back. The last one that works is refused.
    pub(super) fn drain(&mut self, now: Instant, port: usize, out: bool) -> Check {
        let Some(id) = self.ports[port]
            .id
            .filter(|_| self.daemon == Daemon::Running)
        else {
            return Ok(());
        };
        self.line(now, format_args!("drain p{port}: {out}"));
        self.counters.calls += 1;
        let _ = self.bond.handle(now, Input::Drain { port: id, out });
        self.told = now;
        self.carry_out(now)?;
        self.save(now);
        Ok(())
    }

    /// The user chooses another rate.
    pub(super) fn set_rate(&mut self, now: Instant, fast: bool) -> Check {
        if self.daemon != Daemon::Running {
            return Ok(());
        }
        let value = OptionValue::Number(fast.into());
        let changes = vec![OptionChange {
            id: OptionId::LacpRate,
            value,
        }];
        self.feed(now, Input::SetOptions { changes })
    }

    fn feed(&mut self, now: Instant, input: Input) -> Check {
        match &input {
            Input::Link { .. } => {}
            Input::Received { port, frame } => self.line(
                now,
                format_args!("heard on {}: {}", port.index(), Words(frame)),
            ),
            input => self.line(now, format_args!("told: {input:?}")),
        }
        self.take_in(now, input)?;
        self.save(now);
        Ok(())
    }

    /// As `feed`, and nothing is saved yet.
    fn take_in(&mut self, now: Instant, input: Input) -> Check {
        self.counters.calls += 1;
        self.told = now;
        let handled = self.bond.handle(now, input);
        handled.map_err(|e| {
            Violation::new("no input of a host that behaves is refused", e.to_string())
        })?;
        self.carry_out(now)
    }

    /// Carries out what the bond wants.
    fn carry_out(&mut self, now: Instant) -> Check {
        while let Some(action) = self.bond.poll_action() {
            self.count(now, &action)?;
            self.perform(now, action)?;
        }
        Ok(())
    }

    fn count(&mut self, now: Instant, action: &Action) -> Check {
        let second = now.as_nanos() / 1_000_000_000;
        if self.second.0 != second {
            self.second = (second, 0, 0);
        }
        let frame = matches!(
            action,
            Action::SendOnPort { .. } | Action::SetStandingAnswer { .. }
        );
        if frame {
            self.second.2 += 1;
        } else {
            self.second.1 += 1;
            self.counters.actions += 1;
            self.acted = true;
        }
        let ports = self.ports.len() as u32 + 1;
        if self.second.1 > ACTIONS_A_SECOND * ports || self.second.2 > FRAMES_A_SECOND * ports {
            let detail = format!(
                "host {}: {} actions and {} frames in second {second}",
                self.number, self.second.1, self.second.2
            );
            return violation("work is bounded", detail);
        }
        Ok(())
    }

    fn perform(&mut self, now: Instant, action: Action) -> Check {
        match action {
            Action::SetTransmitTable { table, cause } => {
                self.line(
                    now,
                    format_args!("    table {:?} {:?}: {cause:?}", table.order, table.receive),
                );
                self.counters.tables += 1;
                self.check_table(&table)?;
                self.set_table(now, Some(table));
            }
            Action::SetCarrier { up, .. } => {
                self.line(now, format_args!("    carrier {up}"));
                self.data_path.carrier = up;
            }
            Action::SendOnPort { port, frame } => {
                self.line(
                    now,
                    format_args!("    says on {}: {}", port.index(), Words(&frame)),
                );
                let Some(number) = self.port_of(port) else {
                    return violation(
                        "frames leave ports of the bond",
                        format!("{port:?} is none"),
                    );
                };
                if let Some(pdu) = parse(&frame) {
                    self.spoken(now, number, &pdu)?;
                }
                self.counters.slow += 1;
                self.outbox.push((number, Frame::Slow(Rc::new(frame))));
            }
            Action::SetStandingAnswer { port, answer } => {
                if let Some(number) = self.port_of(port) {
                    self.ports[number].standing = answer;
                }
            }
            Action::Event(event) => self.line(now, format_args!("    event: {event}")),
            Action::SendFrame { .. }
            | Action::RejoinMulticast
            | Action::ListGuests
            | Action::SetPortMac { .. }
            | Action::SetBondMac { .. } => {}
        }
        Ok(())
    }

    /// A LACPDU leaves: not too many of them, and not too late after the last.
    fn spoken(&mut self, now: Instant, port: usize, pdu: &Lacpdu) -> Check {
        let number = self.number;
        let spoken = &mut self.ports[port].spoken;
        if spoken.times.len() == 3 {
            let oldest = spoken.times.pop_front();
            let three = oldest.map_or(FAST, |oldest| now.saturating_since(oldest));
            if three < FAST {
                let detail = format!("host {number} p{port}: the fourth in {three:?}");
                return violation("at most three LACPDUs in a second", detail);
            }
        }
        spoken.times.push_back(now);
        let Some((before, last)) = spoken.last.replace((now, *pdu)) else {
            return Ok(());
        };
        // Who is not to speak first has nothing to say between one partner and the next.
        let active = pdu.actor.state.has(Flags::ACTIVITY);
        let wants = |pdu: &Lacpdu| pdu.partner.state.has(Flags::TIMEOUT);
        let slow = spoken.slow.is_some_and(|at| at >= before) || !wants(&last) || !wants(pdu);
        // Going to the slow rate begins the long period anew, a second after the last PDU at most.
        let most = HOLD + if slow { FAST + SLOW } else { FAST };
        let gap = now.saturating_since(before);
        if active && !self.on_hub && gap > most {
            return violation(
                "no LACPDU is later than the rate allows",
                format!("host {number} p{port}: after {gap:?}"),
            );
        }
        Ok(())
    }

    /// The table goes by what the machines say.
    fn check_table(&self, table: &TransmitTable) -> Check {
        let (distributing, collecting) = self.lacp().map_or((&[][..], &[][..]), |lacp| {
            (lacp.distributing(), lacp.collecting())
        });
        let receive = match &table.receive {
            Receive::Ports(ports) => ports.as_slice(),
            _ => &[],
        };
        let within = |some: &[PortId], all: &[PortId]| some.iter().all(|id| all.contains(id));
        let allowed = within(&table.order, distributing) && within(receive, collecting);
        if !allowed && !self.carries_alone() {
            let detail = format!(
                "host {}: {:?} and {receive:?}, but {distributing:?} and {collecting:?}",
                self.number, table.order
            );
            return violation("the table has distributing and collecting ports", detail);
        }
        Ok(())
    }

    fn set_table(&mut self, now: Instant, table: Option<TransmitTable>) {
        let before = core::mem::replace(&mut self.data_path.table, table);
        self.data_path.left = 0;
        for port in &mut self.ports {
            let Some(id) = port.id else { continue };
            if before.as_ref().is_some_and(|table| takes(table, id)) {
                port.accepted = now;
            }
            if !before
                .as_ref()
                .is_some_and(|table| table.order.contains(&id))
            {
                port.sends = now;
            }
        }
    }

    /// Writes the state: at once if more than routine was done, else now and then.
    pub(super) fn save(&mut self, now: Instant) {
        if !core::mem::take(&mut self.acted) && now < self.next_save {
            return;
        }
        self.next_save = now + SAVE_INTERVAL;
        self.saved_before = self.saved.replace(Saved {
            bond: self.bond.clone(),
            data_path: self.data_path.clone(),
            ports: self.ports.iter().map(|port| port.id).collect(),
        });
    }

    /// Remembers a line for the report of a broken invariant.
    pub(super) fn line(&mut self, now: Instant, what: fmt::Arguments<'_>) {
        let number = self.number;
        if let Some(lines) = &mut self.lines {
            lines.push(format!(
                "{:>12.6} host {number} {what}",
                now.as_nanos() as f64 / 1e9
            ));
        }
    }
}

fn new_bond(now: Instant, number: usize, setup: &HostSetup) -> Result<Bond, Violation> {
    let mut bond = Bond::new(now, "bond0", None, &setup.options)
        .map_err(|e| Violation::new("the scenario's options are accepted", e.to_string()))?;
    bond.set_device_mac(MacAddr([2, 0, 0, 1, number as u8, 0]));
    Ok(bond)
}

fn takes(table: &TransmitTable, id: PortId) -> bool {
    matches!(&table.receive, Receive::Ports(ports) if ports.contains(&id))
}

/// Whether the data path delivers what arrives on a port.
pub(super) fn accepts(data_path: &DataPath, id: PortId) -> bool {
    data_path
        .table
        .as_ref()
        .is_some_and(|table| takes(table, id))
}

fn parse(frame: &[u8]) -> Option<Lacpdu> {
    let pdu = frame.get(PDU_AT..).filter(|pdu| pdu.first() == Some(&1))?;
    Lacpdu::parse(pdu).ok()
}

/// A frame for the trace.
struct Words<'a>(&'a [u8]);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(pdu) = parse(self.0) else {
            return write!(f, "a marker");
        };
        let one = |it: &Information| {
            format!(
                "{}/{} key {} {:08b}",
                it.system, it.port, it.key, it.state.0
            )
        };
        write!(f, "{} to {}", one(&pdu.actor), one(&pdu.partner))
    }
}
