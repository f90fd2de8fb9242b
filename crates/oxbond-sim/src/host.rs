//! A host: a bond, the daemon that drives it, and the data path that forwards with or without the daemon.
//!
//! ```text
//!   carrier ──► data path (looks at it per frame) ──record──┐
//!      │                 ▲                                  ▼
//!      ├──notice──► inbox ──► daemon ──Input──► Bond ──Action──┐
//!      └──poll─────────────────┘                               │
//!                        └────────────── table, carrier ◄──────┘
//! ```

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;

use oxbond_core::action::Action;
use oxbond_core::bond::Bond;
use oxbond_core::input::Input;
use oxbond_core::option::{
    Mode, OptionChange, OptionId, OptionValue, PortOptionChange, PortOptionId,
};
use oxbond_core::port::{Duplex, LinkState, MAX_PORTS, PortId, PortInfo};
use oxbond_core::table::{Buckets, PortStanding, Spread, TransmitTable};
use oxbond_core::time::Instant;
use oxbond_wire::MacAddr;

use crate::Restore;
use crate::fault::{PortSetup, Scenario};
use crate::invariant::Violation;

/// An interface of the host.
#[derive(Clone, Debug)]
pub struct Port {
    /// As it was made.
    pub setup: PortSetup,
    /// Its place in the bond while it is in it.
    pub id: Option<PortId>,
    /// The truth about its carrier.
    pub carrier: bool,
    /// Its burnt-in address.
    pub permanent_mac: MacAddr,
    /// The address it has.
    pub mac: MacAddr,
}

impl Port {
    /// What the system says of its link.
    pub const fn link(&self, carrier: bool) -> LinkState {
        LinkState {
            admin_up: true,
            carrier,
            speed_mbps: Some(self.setup.speed_mbps),
            duplex: Duplex::Full,
        }
    }
}

/// What the data path holds; it outlives the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataPath {
    /// The table in force.
    pub table: Option<TransmitTable>,
    /// Ports left since it is in force.
    pub left: u32,
    /// Carrier of the front device; not known before the bond has set it.
    pub carrier: Option<bool>,
}

/// Whether somebody drives the bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// It does its work.
    Running,
    /// It stands still.
    Stopped,
    /// There is none.
    Dead,
}

/// What waits to be read by the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The link of a port, as it was when this was sent.
    Link {
        /// Number of the port.
        port: usize,
        /// Its carrier then.
        carrier: bool,
    },
    /// The data path left this port.
    Left {
        /// The port.
        id: PortId,
    },
}

/// What the state file holds.
#[derive(Clone)]
struct Saved {
    bond: Bond,
    data_path: DataPath,
    bond_mac: MacAddr,
    /// Place and address of each port.
    ports: Vec<(Option<PortId>, MacAddr)>,
    told: Told,
}

/// What the bond was told of the ports' carrier.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// Ports that are without it.
    down: u32,
    /// Ports that were without it at some time since the table is in force: the bond may have to repeat the table so
    /// that the data path comes back to them.
    lost: u32,
}

/// Counted over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames handed to the bond.
    pub frames: u64,
    /// Of these, dropped while no port had carrier.
    pub no_carrier: u64,
    /// Times the data path itself left a port.
    pub left_in_path: u64,
    /// Tables written.
    pub tables: u64,
    /// Frames the bond announced itself with.
    pub announcements: u64,
    /// Actions of any kind.
    pub actions: u64,
    /// Times a new daemon took over.
    pub restarts: u64,
}

/// See the module's text.
pub struct Host {
    /// The bond; what a daemon that is dead knew is in the saved state only.
    pub bond: Bond,
    /// The interfaces, in the order of the scenario.
    pub ports: Vec<Port>,
    /// The data path.
    pub data_path: DataPath,
    /// Whether somebody drives the bond.
    pub daemon: Daemon,
    /// What was counted.
    pub counters: Counters,
    /// Address of the front device.
    pub bond_mac: MacAddr,
    told: Told,
    inbox: VecDeque<Notice>,
    saved: Option<Saved>,
    saved_before: Option<Saved>,
    restore: Restore,
    /// What happened, newest last, to be shown when an invariant is broken.
    trace: Option<VecDeque<String>>,
}

/// Address the front device is made with.
const FRONT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 0]);

/// Lines of trace kept.
const TRACE_LINES: usize = 60;

impl Host {
    /// A host whose bond has no ports yet: see [`Host::begin`]. With `tracing` it remembers what happened last.
    pub fn new(
        now: Instant,
        scenario: &Scenario,
        restore: Restore,
        tracing: bool,
    ) -> Result<Self, Violation> {
        let mut bond = Bond::new(now, "bond0", None, &scenario.options)
            .map_err(|e| Violation::new("the scenario's options are accepted", e.to_string()))?;
        bond.set_device_mac(FRONT_MAC);
        let ports = scenario.ports.iter().zip(1..).map(|(setup, number)| {
            let mac = MacAddr([2, 0, 0, 0, 0, number]);
            Port {
                setup: setup.clone(),
                id: None,
                carrier: true,
                permanent_mac: mac,
                mac,
            }
        });
        Ok(Self {
            bond,
            ports: ports.collect(),
            data_path: DataPath::default(),
            daemon: Daemon::Running,
            counters: Counters::default(),
            bond_mac: FRONT_MAC,
            told: Told::default(),
            inbox: VecDeque::new(),
            saved: None,
            saved_before: None,
            restore,
            trace: tracing.then(VecDeque::new),
        })
    }

    /// Joins the ports and sets the bond up.
    pub fn begin(&mut self, now: Instant) -> Result<(), Violation> {
        self.drain(now)?;
        for port in 0..self.ports.len() {
            self.add_port(now, port)?;
        }
        self.feed(now, Input::BondAdmin { up: true })
    }

    /// The ports that are in the bond.
    pub fn attached(&self) -> impl Iterator<Item = (PortId, &Port)> {
        self.ports.iter().filter_map(|port| Some((port.id?, port)))
    }

    /// What the data path sees of the ports.
    pub fn standing(&self) -> PortStanding {
        let carrier = self
            .attached()
            .filter(|(_, port)| port.carrier)
            .fold(0, |set, (id, _)| set | id.bit());
        PortStanding {
            carrier,
            left: self.data_path.left,
        }
    }

    /// The monitor interval; `None` without one.
    pub fn poll_interval(&self) -> Option<Duration> {
        let miimon = self.bond.options().miimon;
        (miimon > 0).then(|| Duration::from_millis(miimon.into()))
    }

    /// Sends one frame through the data path. Answers the port it went to, and the ports that were left in doing so.
    pub fn transmit(&mut self, hash: u32) -> (Option<PortId>, u32) {
        self.counters.frames += 1;
        let standing = self.standing();
        let Some(table) = &self.data_path.table else {
            self.counters.no_carrier += u64::from(standing.carrier == 0);
            return (None, 0);
        };
        let chosen = table.decide(hash, standing);
        let passed: u32 = match &table.spread {
            Spread::Failover => table
                .order
                .iter()
                .take_while(|port| Some(**port) != chosen)
                .fold(0, |set, port| set | port.bit()),
            Spread::Buckets(Buckets { now, .. }) if !now.is_empty() => {
                now[hash as usize % now.len()].bit()
            }
            Spread::Buckets(_) | Spread::Broadcast => 0,
        };
        let newly_left = passed & !standing.carrier & !self.data_path.left;
        self.data_path.left |= newly_left;
        self.counters.left_in_path += u64::from(newly_left.count_ones());
        self.counters.no_carrier += u64::from(chosen.is_none() && standing.carrier == 0);
        (chosen, newly_left)
    }

    /// A notice arrives: the daemon acts on it, or it waits, or nobody is there to hear it.
    pub fn notify(&mut self, now: Instant, notice: Notice) -> Result<(), Violation> {
        match (self.daemon, notice) {
            (Daemon::Running, _) => self.act_on(now, notice),
            (Daemon::Stopped, _) | (Daemon::Dead, Notice::Left { .. }) => {
                self.inbox.push_back(notice);
                Ok(())
            }
            (Daemon::Dead, Notice::Link { .. }) => Ok(()),
        }
    }

    fn act_on(&mut self, now: Instant, notice: Notice) -> Result<(), Violation> {
        let (port, carrier) = match notice {
            Notice::Link { port, carrier } => (port, carrier),
            Notice::Left { id } => {
                let Some(port) = self.ports.iter().position(|port| port.id == Some(id)) else {
                    return Ok(());
                };
                self.feed(now, Input::LeftInPath { port: id })?;
                (port, self.ports[port].carrier)
            }
        };
        self.tell_link(now, port, carrier)?;
        let before = self.counters.actions;
        self.tell_link(now, port, carrier)?;
        if self.counters.actions != before {
            let detail = format!("link of {} told twice", self.ports[port].setup.name);
            return Err(Violation::new(
                "repeating what is known causes no action",
                detail,
            ));
        }
        Ok(())
    }

    fn tell_link(&mut self, now: Instant, port: usize, carrier: bool) -> Result<(), Violation> {
        let Some(id) = self.ports[port].id else {
            return Ok(());
        };
        let link = self.ports[port].link(carrier);
        self.feed(now, Input::Link { port: id, link })
    }

    /// The daemon looks at the links of all ports.
    pub fn poll(&mut self, now: Instant) -> Result<(), Violation> {
        for port in 0..self.ports.len() {
            self.tell_link(now, port, self.ports[port].carrier)?;
        }
        Ok(())
    }

    /// The bond's timeout is reached.
    pub fn timeout(&mut self, now: Instant) -> Result<(), Violation> {
        self.bond.handle_timeout(now);
        self.drain(now)?;
        self.save();
        Ok(())
    }

    /// The daemon goes on after standing still.
    pub fn resume(&mut self, now: Instant) -> Result<(), Violation> {
        self.note(now, format_args!("daemon goes on"));
        self.daemon = Daemon::Running;
        self.read_inbox(now)
    }

    fn read_inbox(&mut self, now: Instant) -> Result<(), Violation> {
        while let Some(notice) = self.inbox.pop_front() {
            self.act_on(now, notice)?;
        }
        Ok(())
    }

    /// The daemon stands still from now on.
    pub fn stop(&mut self, now: Instant) {
        self.note(now, format_args!("daemon stands still"));
        self.daemon = Daemon::Stopped;
    }

    /// The daemon is killed.
    pub fn kill(&mut self, now: Instant, save_lost: bool) {
        let when = if save_lost {
            " before it saved its last step"
        } else {
            ""
        };
        self.note(now, format_args!("daemon killed{when}"));
        self.daemon = Daemon::Dead;
        self.inbox
            .retain(|notice| matches!(notice, Notice::Left { .. }));
        if save_lost && let Some(before) = self.saved_before.take() {
            self.saved = Some(before);
        }
    }

    /// A new daemon takes over from the saved state: it mends what differs from it, then looks at everything anew.
    pub fn start(&mut self, now: Instant) -> Result<(), Violation> {
        self.note(now, format_args!("daemon started"));
        self.counters.restarts += 1;
        let Some(saved) = self.saved.clone() else {
            return Err(Violation::new(
                "the daemon saves its state",
                "there is none",
            ));
        };
        self.bond = (self.restore)(&saved.bond);
        self.told = saved.told;
        self.daemon = Daemon::Running;
        if self.data_path.table != saved.data_path.table {
            self.data_path = DataPath {
                left: 0,
                ..saved.data_path
            };
        }
        self.data_path.carrier = saved.data_path.carrier;
        self.bond_mac = saved.bond_mac;
        for (port, (id, mac)) in self.ports.iter_mut().zip(saved.ports) {
            (port.id, port.mac) = (id, mac);
        }
        self.read_inbox(now)?;
        self.poll(now)
    }

    /// A port joins, if it is not in the bond and somebody is there to let it in.
    pub fn add_port(&mut self, now: Instant, number: usize) -> Result<(), Violation> {
        let port = &self.ports[number];
        if port.id.is_some() || self.daemon != Daemon::Running {
            return Ok(());
        }
        self.timeout(now)?;
        let port = &self.ports[number];
        let free = (0..MAX_PORTS as u8)
            .filter_map(PortId::new)
            .find(|id| self.ports.iter().all(|port| port.id != Some(*id)));
        let info = PortInfo {
            name: port.setup.name.clone(),
            ifindex: 10 + number as u32,
            permanent_mac: port.permanent_mac,
            mac: port.mac,
            link: port.link(port.carrier),
        };
        let mut options = Vec::new();
        if self.bond.options().mode.has_active_port() {
            let value = OptionValue::Number(port.setup.prio.into());
            options.push(PortOptionChange {
                id: PortOptionId::Prio,
                value,
            });
        }
        self.ports[number].id = free;
        if let Some(id) = free.filter(|_| !info.link.is_usable()) {
            self.told.down |= id.bit();
        }
        let drained = false;
        self.feed(
            now,
            Input::AddPort {
                info,
                options,
                drained,
            },
        )
    }

    /// A port is taken out and gets its own address back.
    pub fn remove_port(&mut self, now: Instant, number: usize) -> Result<(), Violation> {
        let Some(id) = self.ports[number].id else {
            return Ok(());
        };
        if self.daemon != Daemon::Running {
            return Ok(());
        }
        self.timeout(now)?;
        self.ports[number].id = None;
        self.ports[number].mac = self.ports[number].permanent_mac;
        self.feed(now, Input::RemovePort { port: id })
    }

    /// The user names another primary port, or none.
    pub fn set_primary(&mut self, now: Instant, number: Option<usize>) -> Result<(), Violation> {
        if self.daemon != Daemon::Running || !self.bond.options().mode.has_active_port() {
            return Ok(());
        }
        let name = number
            .map(|number| self.ports[number].setup.name.clone())
            .unwrap_or_default();
        self.set(now, OptionId::Primary, OptionValue::Name(name))
    }

    /// The user chooses another mode.
    pub fn set_mode(&mut self, now: Instant, mode: Mode) -> Result<(), Violation> {
        if self.daemon != Daemon::Running {
            return Ok(());
        }
        self.set(now, OptionId::Mode, OptionValue::Number(mode.code().into()))
    }

    fn set(&mut self, now: Instant, id: OptionId, value: OptionValue) -> Result<(), Violation> {
        let changes = vec![OptionChange { id, value }];
        self.feed(now, Input::SetOptions { changes })
    }

    fn feed(&mut self, now: Instant, input: Input) -> Result<(), Violation> {
        // What is due comes before the input, here as in the bond: a table written for it does not answer the input.
        self.bond.handle_timeout(now);
        self.drain(now)?;
        match &input {
            // What every poll repeats would crowd out what matters.
            Input::Link { port, link }
                if link.is_usable() == (self.told.down & port.bit() == 0) => {}
            Input::Link { port, link } => {
                self.note(
                    now,
                    format_args!("told: link of {} {}", port.index(), link.is_usable()),
                );
            }
            input => self.note(now, format_args!("told: {input:?}")),
        }
        self.remember_told(&input);
        self.bond.handle(now, input).map_err(|e| {
            Violation::new("no input of a host that behaves is refused", e.to_string())
        })?;
        self.drain(now)?;
        self.save();
        Ok(())
    }

    fn remember_told(&mut self, input: &Input) {
        match input {
            Input::Link { port, link } if link.is_usable() => self.told.down &= !port.bit(),
            Input::Link { port, .. } => {
                self.told.down |= port.bit();
                self.told.lost |= port.bit();
            }
            Input::LeftInPath { port } => self.told.lost |= port.bit(),
            Input::RemovePort { port } => {
                self.told.down &= !port.bit();
                self.told.lost &= !port.bit();
            }
            _ => {}
        }
    }

    /// Carries out what the bond wants.
    fn drain(&mut self, now: Instant) -> Result<(), Violation> {
        while let Some(action) = self.bond.poll_action() {
            self.note(now, format_args!("    {}", Brief(&action)));
            // Learning frames go out all the time, where they do.
            let routine = matches!(
                action,
                Action::Event(_) | Action::SendOnPort { .. } | Action::SetStandingAnswer { .. }
            );
            if !routine {
                self.counters.actions += 1;
            }
            self.perform(action)?;
        }
        Ok(())
    }

    /// Writes the state file, if the bond is not what it says.
    fn save(&mut self) {
        if self
            .saved
            .as_ref()
            .is_some_and(|saved| saved.bond == self.bond)
        {
            return;
        }
        self.saved_before = self.saved.take();
        self.saved = Some(Saved {
            bond: self.bond.clone(),
            data_path: self.data_path.clone(),
            bond_mac: self.bond_mac,
            ports: self.ports.iter().map(|port| (port.id, port.mac)).collect(),
            told: self.told,
        });
    }

    fn perform(&mut self, action: Action) -> Result<(), Violation> {
        let idle = |what: String| Err(Violation::new("no action is idle", what));
        match action {
            Action::SetTransmitTable { table, .. } => {
                self.counters.tables += 1;
                if self.told.lost == 0 && self.data_path.table.as_ref() == Some(&table) {
                    return idle("the same table again".to_owned());
                }
                self.check_table(&table)?;
                self.data_path.table = Some(table);
                self.data_path.left = 0;
                self.told.lost = self.told.down;
            }
            Action::SetCarrier { up, .. } => {
                if self.data_path.carrier == Some(up) {
                    return idle(format!("carrier is {up} already"));
                }
                self.data_path.carrier = Some(up);
            }
            Action::SetPortMac { port, mac } => {
                if let Some(port) = self.ports.iter_mut().find(|other| other.id == Some(port)) {
                    if port.mac == mac {
                        return idle(format!("{} has {mac} already", port.setup.name));
                    }
                    port.mac = mac;
                }
            }
            Action::SetBondMac { mac } => {
                if self.bond_mac == mac {
                    return idle(format!("the bond has {mac} already"));
                }
                self.bond_mac = mac;
            }
            Action::SendFrame { .. }
            | Action::SendOnPort { .. }
            | Action::RejoinMulticast
            | Action::ListGuests => {
                self.counters.announcements += 1;
            }
            Action::SetStandingAnswer { .. } | Action::Event(_) => {}
        }
        Ok(())
    }

    /// Every port of the bond once, and no other.
    fn check_table(&self, table: &TransmitTable) -> Result<(), Violation> {
        let listed = table.order.iter().fold(0, |set, port| set | port.bit());
        let attached = self.attached().fold(0, |set, (id, _)| set | id.bit());
        if listed != attached || listed.count_ones() as usize != table.order.len() {
            let detail = format!("order {:?}, attached {attached:#b}", table.order);
            return Err(Violation::new(
                "a table has every port of the bond once",
                detail,
            ));
        }
        Ok(())
    }

    /// Remembers a line for the report of a broken invariant.
    pub fn note(&mut self, now: Instant, what: fmt::Arguments<'_>) {
        let Some(trace) = &mut self.trace else { return };
        if trace.len() == TRACE_LINES {
            trace.pop_front();
        }
        trace.push_back(format!("{:>12.6} {what}", now.as_nanos() as f64 / 1e9));
    }

    /// What happened last.
    pub fn trace(&self) -> String {
        self.trace
            .iter()
            .flatten()
            .map(|line| format!("{line}\n"))
            .collect()
    }
}

/// An action for the trace: of a table what matters to people.
struct Brief<'a>(&'a Action);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Action::SetTransmitTable { table, cause } => {
                let order: Vec<usize> = table.order.iter().map(|port| port.index()).collect();
                write!(f, "table, order {order:?}: {cause:?}")
            }
            action => write!(f, "{action:?}"),
        }
    }
}
