//! The bond: takes inputs, keeps the state, queues actions.
//!
//! ```text
//!   Input ──► handle ──► link monitors (mii, probing) ──► selection (select) ──► addresses ──► transmit table, carrier
//!   time  ──► handle_timeout ─┘                                          └─► announcements (announce)
//! ```
//!
//! Whatever the input, the work ends in `Bond::settle`, which brings table, carrier and announcements in line with the
//! state. So actions depend on the state reached, not on the way there, and an input that changes nothing causes none.

mod address;
mod aggregation;
mod drain;
mod error;
mod forward;
mod guests;
mod probing;
mod report;
mod stations;
mod takeover;

use core::time::Duration;
use std::collections::VecDeque;

use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

pub use self::error::{ConfigError, InputError};
use self::guests::Guests;
use crate::action::Action;
use crate::announce::{self, REJOIN_INTERVAL, Repeat};
use crate::balance::Balancer;
use crate::clients::Clients;
use crate::event::{Cause, Event};
use crate::input::{Announced, Input};
use crate::lacp::{Drain, Lacp, Numbering};
use crate::learn::Learning;
use crate::mii::{Delays, Mii, Stimulus};
use crate::option::{
    Applied, BondContext, BondOptions, DriverError, Mode, OptionChange, OptionError, OptionFault,
    OptionId, PortOptionChange, PortOptionId, PortOptions, is_interface_name,
};
use crate::port::{LinkState, MAX_PORTS, PortId, PortIndex, PortInfo};
use crate::probe::{Hearing, Monitor};
use crate::select::{Candidate, Wishes, select};
use crate::status::PortRole;
use crate::table::TransmitTable;
use crate::time::Instant;

/// A bond.
///
/// Serialising it takes a snapshot. A bond read back continues as if nothing had happened: it has no action to offer
/// until an input (or the time) says something new. What happened in between is told to it in the ordinary way: a
/// [`Input::LeftInPath`] for each port the data path reports as left, then a [`Input::Link`] for every port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bond {
    name: String,
    options: BondOptions,
    /// Address of the front device.
    mac: MacAddr,
    /// The user chose it.
    mac_set: bool,
    /// Address the front device was made with; zero while unknown.
    device_mac: MacAddr,
    admin_up: bool,
    carrier: bool,
    /// In list order.
    ports: Vec<Port>,
    active: Option<PortId>,
    /// The primary was newly named and has not been taken for it yet.
    force_primary: bool,
    failovers: u64,
    table: TransmitTable,
    /// Ports that have been without carrier since the table became current: the data path may have left them, and
    /// comes back to them only with a new table.
    maybe_left: u32,
    addresses: Vec<Announced>,
    /// Ids of the VLANs directly above the front device.
    vlans: Vec<u16>,
    peers: Repeat,
    groups: Repeat,
    balancer: Balancer,
    clients: Clients,
    learning: Learning,
    /// The ARP and NS monitor.
    #[serde(default)]
    monitor: Monitor,
    /// In mode 802.3ad.
    #[serde(default)]
    lacp: Option<Lacp>,
    /// Which numbers stand for speeds in the ports' keys of LACP: the driver's, if the bond was taken over from it.
    #[serde(default)]
    key_numbering: Numbering,
    /// To be announced after a failover.
    #[serde(default)]
    guests: Guests,
    actions: VecDeque<Action>,
}

/// A port of the bond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Port {
    id: PortId,
    name: String,
    ifindex: u32,
    permanent_mac: MacAddr,
    mac: MacAddr,
    link: LinkState,
    /// The last that was known of the link's speed: a link that is down has none.
    known_speed_mbps: Option<u32>,
    options: PortOptions,
    mii: Mii,
    /// When `mii` was entered.
    since: Instant,
    link_failure_count: u32,
    /// For the ARP and NS monitor.
    #[serde(default)]
    hearing: Hearing,
    /// How far its user has had it drained.
    #[serde(default)]
    drain: Drain,
    /// The data path has reported that it left the port, and the link has not been up since.
    left_in_path: bool,
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// It is done.
    Done,
    /// A port joined, at this place.
    Joined(PortId),
}

impl Bond {
    /// A bond without ports. `mac` is the address its user chose for it; without one it takes that of its first port.
    /// `changes` start from the driver's defaults; order does not matter.
    pub fn new(
        now: Instant,
        name: &str,
        mac: Option<MacAddr>,
        changes: &[OptionChange],
    ) -> Result<Self, ConfigError> {
        if name.is_empty() || !is_interface_name(name) {
            return Err(ConfigError::Name {
                name: name.to_owned(),
            });
        }
        let created = BondContext {
            own_engine: true,
            ..BondContext::default()
        };
        let applied = BondOptions::own().apply(changes, &created)?;
        let mut bond = Self {
            name: name.to_owned(),
            options: applied.options.clone(),
            mac: mac.unwrap_or_default(),
            mac_set: mac.is_some(),
            device_mac: MacAddr::ZERO,
            admin_up: false,
            carrier: false,
            ports: Vec::new(),
            active: None,
            force_primary: false,
            failovers: 0,
            table: TransmitTable::failover(Vec::new()),
            maybe_left: 0,
            addresses: Vec::new(),
            vlans: Vec::new(),
            peers: Repeat::default(),
            groups: Repeat::default(),
            balancer: Balancer::default(),
            clients: Clients::default(),
            learning: Learning::default(),
            monitor: Monitor::default(),
            lacp: None,
            key_numbering: Numbering::default(),
            guests: Guests::default(),
            actions: VecDeque::new(),
        };
        bond.tell_adapted(&applied);
        bond.table = bond.wanted_table();
        bond.actions.push_back(Action::SetTransmitTable {
            table: bond.table.clone(),
            cause: Cause::Start,
        });
        bond.actions.push_back(Action::SetCarrier {
            up: false,
            cause: Cause::Start,
        });
        bond.settle(now, &Cause::Start);
        Ok(bond)
    }

    /// Tells the address the front device was made with, before the first port joins. It is the bond's while it has no
    /// port and its user chose none.
    pub fn set_device_mac(&mut self, mac: MacAddr) {
        self.device_mac = mac;
        if !self.mac_set && self.ports.is_empty() {
            self.mac = mac;
        }
    }

    /// Takes an input. Timeouts that are due by `now` are handled first, but for a link's own state: as in the driver's
    /// monitor, carrier is looked at before the delay that it began, so that a port whose link is gone is not taken for
    /// up because its delay ran out while nobody looked. The ARP monitor's tick waits for [`Bond::handle_timeout`], so that
    /// everything that has arrived by then can be told first.
    ///
    /// After it, poll [`Bond::poll_action`] until `None` and read [`Bond::next_timeout`] again, also after an error.
    pub fn handle(&mut self, now: Instant, input: Input) -> Result<Handled, InputError> {
        if !matches!(input, Input::Link { .. }) {
            self.delays_due(now);
        }
        match input {
            Input::Link { port, link } => {
                self.link(now, port, link);
                self.delays_due(now);
            }
            Input::AddPort {
                info,
                options,
                drained,
            } => {
                let joined = self.add_port(now, info, &options, drained);
                return joined.map(Handled::Joined);
            }
            Input::RemovePort { port } => self.remove_port(now, port)?,
            Input::Drain { port, out: true } => self.drain(now, port)?,
            Input::Drain { port, out: false } => self.undrain(now, port)?,
            Input::LeftInPath { port } => self.left_in_path(port),
            Input::PortRenamed { port, name } => self.port_renamed(now, port, name),
            Input::BondMac { mac } => {
                self.address_wished(mac);
                self.settle(now, &Cause::BondMac);
            }
            Input::BondAdmin { up } => {
                if up != self.admin_up {
                    self.admin_up = up;
                    self.restart_monitor(now);
                }
                if !up {
                    (self.peers, self.groups) = (Repeat::default(), Repeat::default());
                    self.forget_guests();
                }
                self.keep_learning(now);
                self.announce(now);
            }
            Input::Addresses { addresses } => {
                self.addresses = addresses;
                self.client_addresses_changed();
            }
            Input::Vlans { ids } => self.vlans = ids,
            Input::Guests { guests } => self.guests_listed(now, guests),
            Input::Loads {
                over,
                buckets,
                exempt,
            } => self.loads(now, over, &buckets, exempt),
            Input::Received { port, frame } => {
                self.client_heard(now, &frame);
                self.overheard(now, port, &frame);
                self.slow_frame(now, port, &frame);
            }
            Input::Sent { frame } => self.client_told(now, &frame),
            Input::Arrivals {
                port,
                any,
                neighbour,
            } => self.arrivals(port, any, neighbour),
            Input::ProbePaths { paths } => self.probe_paths(now, paths),
            Input::SetOptions { changes } => self.set_options(now, &changes)?,
            Input::SetPortOptions { port, changes } => {
                self.set_port_options(now, port, &changes)?
            }
        }
        Ok(Handled::Done)
    }

    /// Does what is due by `now`. Calling it early or again does nothing.
    ///
    /// After it, poll [`Bond::poll_action`] until `None` and read [`Bond::next_timeout`] again.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.delays_due(now);
        self.probe(now);
        self.lacp_due(now);
    }

    fn delays_due(&mut self, now: Instant) {
        // In the order in which the delays ended; one may make another superfluous.
        let earliest_due = |ports: &[Port]| {
            let due = ports
                .iter()
                .filter_map(|port| Some((port.mii.deadline()?, port.id)));
            due.filter(|(deadline, _)| *deadline <= now)
                .min_by_key(|(deadline, _)| *deadline)
                .map(|(_, id)| id)
        };
        while let Some(id) = earliest_due(&self.ports) {
            self.stimulate(now, id, Stimulus::Due);
        }
        self.drains_due(now);
        self.announce(now);
    }

    /// The next thing to do, in order. `None` until the next call of [`Bond::handle`] or [`Bond::handle_timeout`].
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Bond::handle_timeout`] has something to do, `None` for never. May change with every call of
    /// [`Bond::handle`] and [`Bond::handle_timeout`].
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let deadlines = self.ports.iter().filter_map(|port| port.mii.deadline());
        deadlines
            .chain(self.peers.due())
            .chain(self.groups.due())
            .chain(self.teach_due())
            .chain(self.monitor.next)
            .chain(self.next_drained())
            .chain(self.guests.due())
            .chain(self.lacp.as_ref().and_then(Lacp::next_timeout))
            .min()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The options in force.
    pub const fn options(&self) -> &BondOptions {
        &self.options
    }

    /// The address the front device is to have; zero before the first port joined and
    /// [`Bond::set_device_mac`] was called.
    pub const fn mac(&self) -> MacAddr {
        self.mac
    }

    /// The table that is current once all actions are carried out.
    pub const fn table(&self) -> &TransmitTable {
        &self.table
    }

    /// The ports in list order, with their names.
    pub fn ports(&self) -> impl Iterator<Item = (PortId, &str)> {
        self.ports.iter().map(|port| (port.id, port.name.as_str()))
    }

    /// The link of a port, as it was told last.
    pub fn link_of(&self, id: PortId) -> Option<LinkState> {
        self.port(id).map(|port| port.link)
    }

    fn add_port(
        &mut self,
        now: Instant,
        info: PortInfo,
        changes: &[PortOptionChange],
        drained: bool,
    ) -> Result<PortId, InputError> {
        if info.name.is_empty() || !is_interface_name(&info.name) {
            return Err(ConfigError::Name { name: info.name }.into());
        }
        if self
            .ports
            .iter()
            .any(|port| port.name == info.name || port.ifindex == info.ifindex)
        {
            return Err(InputError::AlreadyAPort {
                name: info.name,
                bond: self.name.clone(),
            });
        }
        let free = |id: &PortId| self.port(*id).is_none();
        let Some(id) = (0..MAX_PORTS as u8).filter_map(PortId::new).find(free) else {
            return Err(InputError::Full {
                name: info.name,
                bond: self.name.clone(),
            });
        };
        let options = self.checked_port_options(None, &PortOptions::default(), changes)?;

        let mac = self.address_joining(id, info.mac);
        let mii = match (self.monitored(), info.link.is_usable()) {
            (false, _) => Mii::Up,
            // As if the link had just come back.
            (true, true) => Mii::Down
                .next(Stimulus::Back, now, self.delays())
                .unwrap_or(Mii::Down),
            (true, false) => Mii::Down,
        };
        let prio = options.prio;
        self.ports.push(Port {
            id,
            name: info.name.clone(),
            ifindex: info.ifindex,
            permanent_mac: info.permanent_mac,
            mac,
            link: info.link,
            known_speed_mbps: info.link.speed_mbps,
            options,
            mii,
            since: now,
            link_failure_count: 0,
            hearing: Hearing::joined(now),
            drain: if drained { Drain::Out } else { Drain::No },
            left_in_path: false,
        });
        if !info.link.is_usable() {
            // Its place may have been that of a port the data path has left.
            self.maybe_left |= id.bit();
        }
        let is_primary = self.primary() == Some(id);
        self.force_primary |= is_primary;
        let cause = Cause::PortAdded {
            port: info.name.clone(),
        };
        // The driver runs the selection whoever joins, which by its quirk may move the active role between two ports
        // that have nothing to do with it. Joining disturbs nobody here: only the one who joins can take over.
        if mii == Mii::Up && !drained && self.may_challenge(is_primary, prio) {
            self.reselect(now, &cause);
        }
        self.settle(now, &cause);
        let active = self
            .port(id)
            .is_some_and(|port| self.role(port) == PortRole::Active);
        let link_up = mii != Mii::Down;
        let name = info.name.clone();
        self.tell(Event::PortAdded {
            port: id.into(),
            name: info.name,
            active,
            link_up,
        });
        if drained {
            self.tell(Event::StillDrained { name });
        }
        Ok(id)
    }

    fn remove_port(&mut self, now: Instant, id: PortId) -> Result<(), InputError> {
        let Some(at) = self.ports.iter().position(|port| port.id == id) else {
            return Err(self.unknown_port(id));
        };
        let gone = self.ports.remove(at);
        self.maybe_left &= !id.bit();
        let cause = Cause::PortRemoved {
            port: gone.name.clone(),
        };
        if self.active == Some(id) {
            let next = self.choice();
            self.activate(now, next, Some(gone.name.clone()), &cause);
        }
        if self.ports.is_empty() {
            self.address_empty();
        }
        self.settle(now, &cause);
        self.tell(Event::PortRemoved { name: gone.name });
        Ok(())
    }

    fn link(&mut self, now: Instant, id: PortId, link: LinkState) {
        let stimulus = if link.is_usable() {
            Stimulus::Back
        } else {
            Stimulus::Lost
        };
        if self.is_known(now, id, link, stimulus) {
            return;
        }
        let Some(port) = self.port_mut(id) else {
            return;
        };
        if link.is_usable() && !port.link.is_usable() {
            port.hearing.linked = now;
        }
        port.link = link;
        port.known_speed_mbps = link.speed_mbps.or(port.known_speed_mbps);
        if !link.is_usable() {
            self.maybe_left |= id.bit();
        }
        if self.monitored() && !(self.probes() && link.is_usable()) {
            self.stimulate(now, id, stimulus);
        } else {
            // The data path alone acts on the link, and with the ARP monitor only what it hears makes it up; the table tells
            // when to come back.
            let cause = self.link_cause(id, link.is_usable());
            self.settle(now, &cause);
        }
    }

    /// Whether a link is as it was told before, its monitor rests, and the data path has nothing to come back to. So it is at
    /// nearly every poll, and a poll of many ports must not cost what a change does.
    fn is_known(&self, now: Instant, id: PortId, link: LinkState, stimulus: Stimulus) -> bool {
        let rests = |port: &Port| {
            port.link == link && port.mii.next(stimulus, now, self.delays()).is_none()
        };
        self.port(id).is_some_and(rests) && !self.must_return()
    }

    /// Evidence, not a verdict: the link's state itself decides, and follows.
    fn left_in_path(&mut self, id: PortId) {
        if let Some(port) = self.port_mut(id) {
            port.left_in_path = true;
            self.maybe_left |= id.bit();
        }
    }

    fn port_renamed(&mut self, now: Instant, id: PortId, name: String) {
        let primary = self.primary();
        let Some(port) = self.port_mut(id) else {
            return;
        };
        port.name = name;
        if self.primary() != primary {
            self.reselect(
                now,
                &Cause::Options {
                    names: OptionId::Primary.name().to_owned(),
                },
            );
        }
        self.settle(
            now,
            &Cause::Options {
                names: OptionId::Primary.name().to_owned(),
            },
        );
    }

    fn set_options(&mut self, now: Instant, changes: &[OptionChange]) -> Result<(), InputError> {
        let names: Vec<&str> = self.ports.iter().map(|port| port.name.as_str()).collect();
        let applied = self.options.apply(
            changes,
            &BondContext {
                up: self.admin_up,
                ports: &names,
                own_engine: true,
            },
        )?;
        let wanted = match &applied.active_port {
            Some(Some(name)) => Some(self.activatable(name)?),
            _ => None,
        };

        let before = core::mem::replace(&mut self.options, applied.options.clone());
        let differing = self.options.changes_from(&before);
        if !differing.is_empty() {
            let changes = differing
                .iter()
                .map(|change| (change.id.to_string(), change.text()))
                .collect();
            self.tell(Event::OptionsChanged { changes });
        }
        self.tell_adapted(&applied);
        let cause = Cause::Options {
            names: changes
                .iter()
                .map(|c| c.id.name())
                .collect::<Vec<_>>()
                .join(", "),
        };

        let given = |id| changes.iter().any(|change| change.id == id);
        let monitor = |options: &BondOptions| (options.miimon > 0, options.arp_interval > 0);
        if monitor(&before) != monitor(&self.options) {
            self.monitor_switched(now);
        }
        self.monitor_changed(now, &before);
        if self.options.mode != before.mode {
            self.mode_switched(now, before.mode, &cause);
        }
        if (self.options.mode, self.options.fail_over_mac) != (before.mode, before.fail_over_mac) {
            self.address_ruled_anew();
        }
        if given(OptionId::Primary) && self.primary().is_some() {
            self.force_primary = true;
        }
        match (wanted, &applied.active_port) {
            (Some(id), _) => self.activate(now, Some(id), self.active_name(), &cause),
            // Cleared: chosen anew, without regard to the one before.
            (None, Some(None)) => {
                let from = self.active_name();
                let before = self.active.take();
                let next = self.choice();
                self.active = before;
                self.activate(now, next, from, &cause);
            }
            _ => {}
        }
        // Setting these runs the selection even if the value stays: the driver's quirk, see `select`. A port named in
        // the same set as the active one is not taken back by it.
        if given(OptionId::Primary) || given(OptionId::PrimaryReselect) && wanted.is_none() {
            self.reselect(now, &cause);
        }
        self.settle(now, &cause);
        Ok(())
    }

    fn set_port_options(
        &mut self,
        now: Instant,
        id: PortId,
        changes: &[PortOptionChange],
    ) -> Result<(), InputError> {
        let Some(port) = self.port(id) else {
            return Err(self.unknown_port(id));
        };
        let options = self.checked_port_options(Some(id), &port.options, changes)?;
        let (before, name) = (port.options.clone(), port.name.clone());
        let differing = options.changes_from(&before);
        if let Some(port) = self.port_mut(id) {
            port.options = options;
        }
        if !differing.is_empty() {
            let changes = differing
                .iter()
                .map(|c| (format!("{} of {name}", c.id), c.text()))
                .collect();
            self.tell(Event::OptionsChanged { changes });
        }
        let cause = Cause::Options {
            names: changes
                .iter()
                .map(|c| c.id.name())
                .collect::<Vec<_>>()
                .join(", "),
        };
        if changes.iter().any(|change| change.id == PortOptionId::Prio) && self.primary().is_none()
        {
            self.reselect(now, &cause);
        }
        self.settle(now, &cause);
        Ok(())
    }

    fn checked_port_options(
        &self,
        id: Option<PortId>,
        from: &PortOptions,
        changes: &[PortOptionChange],
    ) -> Result<PortOptions, ConfigError> {
        let others: Vec<(&str, u16)> = self
            .ports
            .iter()
            .filter(|port| Some(port.id) != id)
            .map(|port| (port.name.as_str(), port.options.queue_id))
            .collect();
        Ok(from.apply(changes, self.options.mode, &others)?)
    }

    /// The port that option `active_slave` names, if it can be made active: the driver's conditions.
    fn activatable(&self, name: &str) -> Result<PortId, OptionError> {
        let refused = |why, way_out: &str| OptionError {
            option: OptionId::ActiveSlave.name().to_owned(),
            value: name.to_owned(),
            fault: OptionFault::CannotActivate { why },
            way_out: way_out.to_owned(),
            driver: Some(&DriverError::INVALID),
        };
        match self.ports.iter().find(|port| port.name == name) {
            // `apply` looked the name up among the ports, so this is for completeness.
            None => Err(refused("it is not in the bond", "add it first")),
            Some(port) if self.active == Some(port.id) => Ok(port.id),
            Some(port) if port.drain != Drain::No => {
                Err(refused("it is drained", "bring it back with undrain"))
            }
            Some(_) if self.active.is_none() => Err(refused(
                "the bond has no active port to take over from",
                "bring up a link; the first to come up becomes active by itself",
            )),
            Some(port) if port.mii != Mii::Up || !port.link.is_usable() => Err(refused(
                "its link is not up",
                "choose a port whose link is up",
            )),
            Some(port) => Ok(port.id),
        }
    }

    /// Another link monitor, or none. Without one every port counts as up, as in the driver; the ARP monitor begins with
    /// what carrier says; the MII monitor goes on from the state there is.
    fn monitor_switched(&mut self, now: Instant) {
        let (monitored, probes) = (self.monitored(), self.probes());
        for id in self.ports.iter().map(|port| port.id).collect::<Vec<_>>() {
            let Some(port) = self.port_mut(id) else {
                continue;
            };
            let usable = port.link.is_usable();
            if (!monitored || probes && usable) && port.mii != Mii::Up {
                (port.mii, port.since) = (Mii::Up, now);
            } else if probes && matches!(port.mii, Mii::GoingDown(_)) {
                // Its delay has ended with the monitor that knows delays.
                port.mii = Mii::GoingDown(now);
                self.stimulate(now, id, Stimulus::Due);
            } else if monitored && !usable {
                self.stimulate(now, id, Stimulus::Lost);
            } else if monitored && !probes {
                if port.mii == Mii::Tried {
                    port.mii = Mii::Down;
                }
                self.stimulate(now, id, Stimulus::Back);
            }
        }
    }

    /// The active role comes and goes with the mode. The port that has it keeps it where the new mode knows it too; in
    /// a mode that has none, peers know the bond's address on any port, so nothing is announced. But clients that
    /// balance-alb has told addresses of its ports must learn the bond's own.
    fn mode_switched(&mut self, now: Instant, before: Mode, cause: &Cause) {
        if self.options.mode != Mode::ActiveBackup {
            self.peers = Repeat::default();
        }
        if !self.options.mode.has_active_port() {
            self.active = None;
            self.groups = Repeat::default();
        } else if self.active.is_none() {
            self.reselect(now, cause);
        }
        if before == Mode::BalanceAlb && self.admin_up {
            self.peers = Repeat::start(self.options.num_grat_arp.max(1), now);
        }
    }

    /// Runs a port's link monitor and what follows from its new state.
    fn stimulate(&mut self, now: Instant, id: PortId, stimulus: Stimulus) {
        let up = stimulus == Stimulus::Back || stimulus == Stimulus::Promote;
        let changed = self.enter(now, id, stimulus);
        let cause = self.link_cause(id, up || matches!(changed, Some((_, Mii::Up))));
        match changed {
            Some((_, Mii::Up)) => {
                let prio = self.port(id).map_or(0, |port| port.options.prio);
                if self.may_challenge(self.primary() == Some(id), prio) {
                    self.reselect(now, &cause);
                }
            }
            Some((_, Mii::Down)) if self.active == Some(id) => self.reselect(now, &cause),
            _ => {}
        }
        self.settle(now, &cause);
    }

    /// Moves a port's link monitor and tells of it. Answers the states before and after, `None` for no change.
    fn enter(&mut self, now: Instant, id: PortId, stimulus: Stimulus) -> Option<(Mii, Mii)> {
        let delays = self.delays();
        let port = self.port_mut(id)?;
        let before = port.mii;
        let after = before.next(stimulus, now, delays)?;
        let lasted = now.saturating_since(port.since);
        port.mii = after;
        if matches!(
            (before, after),
            (Mii::Down, Mii::Tried) | (Mii::Tried, Mii::Down)
        ) {
            // As unusable as before.
            return Some((before, after));
        }
        port.since = now;
        if after == Mii::Down {
            // Also a link lost within its up delay: so the driver counts (measured).
            port.link_failure_count = port.link_failure_count.saturating_add(1);
        }
        let name = port.name.clone();
        let event = match (before, after) {
            (_, Mii::GoingDown(_)) => Event::LinkGoingDown {
                name,
                delay: delays.down,
            },
            (_, Mii::GoingBack(_) | Mii::Tried) => Event::LinkComingUp {
                name,
                delay: delays.up,
            },
            (Mii::GoingDown(_), Mii::Up) => Event::LinkUpAgain {
                name,
                after: lasted,
            },
            (_, Mii::Up) => Event::LinkUp {
                name,
                speed_mbps: port.link.speed_mbps,
                duplex: port.link.duplex,
            },
            (Mii::GoingBack(_), Mii::Down) => Event::LinkDownAgain {
                name,
                after: lasted,
            },
            (_, Mii::Down) => Event::LinkDown { name },
        };
        self.tell(event);
        Some((before, after))
    }

    /// What a change that a link brought about is put down to.
    fn link_cause(&mut self, id: PortId, up: bool) -> Cause {
        let Some(port) = self.port_mut(id) else {
            return Cause::Start;
        };
        let name = port.name.clone();
        if up {
            port.left_in_path = false;
            Cause::LinkUp { port: name }
        } else if port.left_in_path {
            Cause::LeftInPath { port: name }
        } else {
            Cause::LinkDown { port: name }
        }
    }

    /// Whether a port that came up makes the selection run: the driver's condition.
    fn may_challenge(&self, is_primary: bool, prio: i32) -> bool {
        self.active
            .and_then(|id| self.port(id))
            .is_none_or(|active| is_primary || prio > active.options.prio)
    }

    /// Runs the selection.
    fn reselect(&mut self, now: Instant, cause: &Cause) {
        let next = self.choice();
        self.activate(now, next, self.active_name(), cause);
    }

    /// What the selection answers now; `None` too in modes without an active port.
    fn choice(&self) -> Option<PortId> {
        if !self.options.mode.has_active_port() {
            return None;
        }
        let wishes = Wishes {
            current: self.active,
            primary: self.primary(),
            reselect: self.options.primary_reselect,
            force_primary: self.force_primary,
        };
        select(&self.candidates(), wishes)
    }

    /// Gives the active role to a port, or to none. `from` is the name of the port that has it now.
    fn activate(
        &mut self,
        now: Instant,
        next: Option<PortId>,
        from: Option<String>,
        cause: &Cause,
    ) {
        let up = |port: &Port| port.mii == Mii::Up;
        if self.primary().and_then(|id| self.port(id)).is_some_and(up) && next == self.primary() {
            self.force_primary = false;
        }
        let before = self.active;
        if before == next {
            return;
        }
        self.role_moved(now, before, next);
        self.failovers += u64::from(before.is_some());
        self.active = next;
        let Some(id) = next else {
            self.forget_guests();
            (self.peers, self.groups) = (Repeat::default(), Repeat::default());
            self.tell(Event::ActivePort {
                from,
                to: None,
                cause: cause.clone(),
                earlier_by: None,
            });
            return;
        };
        let deadline = self
            .port(id)
            .map(|port| port.mii)
            .filter(|mii| matches!(mii, Mii::GoingBack(_)));
        let earlier_by = deadline
            .and_then(Mii::deadline)
            .map(|deadline| deadline.saturating_since(now));
        let _ = self.enter(now, id, Stimulus::Promote);
        let to = self.port(id).map(|port| port.name.clone());
        self.tell(Event::ActivePort {
            from,
            to,
            cause: cause.clone(),
            earlier_by,
        });
        self.address_active(before, id);
        if self.admin_up {
            // In the other two modes with an active port the driver announces nothing either: learning frames tell the
            // switches, and in balance-alb a notice to all would undo what the clients were told one by one.
            if self.options.mode == Mode::ActiveBackup {
                self.peers = Repeat::start(self.options.num_grat_arp, now);
            }
            self.groups = Repeat::start(self.options.resend_igmp, now);
            self.guests_moved(now);
        }
    }

    /// Brings everything that follows from the state in line with it: a port for a bond that has none, the transmit
    /// table, the carrier, announcements that are due.
    fn settle(&mut self, now: Instant, cause: &Cause) {
        if !self.options.mode.has_active_port() {
            self.promote_one(now);
        } else if self.active.is_none() {
            self.reselect(now, cause);
        }
        self.arrange_stations(now);
        let spoken = self.arrange_lacp(now);
        let table = self.wanted_table();
        if table != self.table || self.must_return() {
            let stations_changed = table.stations != self.table.stations;
            let before = core::mem::replace(&mut self.table, table.clone());
            self.aggregate_moved(now, &before);
            self.guests_follow(now, &before);
            self.maybe_left = self
                .ports
                .iter()
                .filter(|p| !p.link.is_usable())
                .fold(0, |set, p| set | p.id.bit());
            self.actions.push_back(Action::SetTransmitTable {
                table,
                cause: cause.clone(),
            });
            if stations_changed {
                self.client_stations_changed(now);
            }
        }
        let carrier = self.carries();
        if carrier != self.carrier {
            self.carrier = carrier;
            self.actions.push_back(Action::SetCarrier {
                up: carrier,
                cause: cause.clone(),
            });
            self.tell(Event::Carrier {
                up: carrier,
                cause: cause.clone(),
            });
        }
        self.speak(spoken);
        self.announce(now);
    }

    /// In modes without an active port: when no port can carry anything, the first whose link is back does not wait for
    /// the end of its up delay.
    fn promote_one(&mut self, now: Instant) {
        let works = |port: &Port| port.mii == Mii::Up && port.link.is_usable();
        if self.partaking().any(works) {
            return;
        }
        let waits = |port: &&Port| matches!(port.mii, Mii::GoingBack(_)) && port.link.is_usable();
        let next = self.partaking().find(waits).map(|port| port.id);
        if let Some(id) = next {
            let _ = self.enter(now, id, Stimulus::Promote);
        }
    }

    /// Whether a port is usable again which the data path may have left.
    fn must_return(&self) -> bool {
        let back = |port: &&Port| port.mii == Mii::Up && port.link.is_usable();
        self.ports
            .iter()
            .filter(back)
            .any(|port| self.maybe_left & port.id.bit() != 0)
    }

    /// Frames that tell everybody where the bond's addresses are, as they are sent when another port becomes active.
    pub fn announcements(&self) -> Vec<Vec<u8>> {
        self.addresses.iter().map(announce::frame).collect()
    }

    fn announce(&mut self, now: Instant) {
        if self.peers.take(now, self.peer_interval()) {
            let frames = self.announcements().into_iter();
            self.actions
                .extend(frames.map(|frame| Action::SendFrame { frame }));
            if !self.monitored() {
                // The driver counts in monitor intervals: without a monitor the first notice is the only one.
                self.peers = Repeat::default();
            }
        }
        if self.groups.take(now, REJOIN_INTERVAL) {
            self.actions.push_back(Action::RejoinMulticast);
        }
        self.announce_guests(now);
        self.teach(now);
    }

    fn peer_interval(&self) -> Duration {
        let options = &self.options;
        millis(
            options
                .peer_notif_delay
                .max(options.miimon)
                .max(options.arp_interval),
        )
    }

    fn candidates(&self) -> Vec<Candidate> {
        let candidate = |port: &Port| Candidate {
            id: port.id,
            mii: port.mii,
            usable: port.link.is_usable(),
            prio: port.options.prio,
            speed_mbps: port.link.speed_mbps,
            duplex: port.link.duplex,
        };
        self.partaking().map(candidate).collect()
    }

    fn tell_adapted(&mut self, applied: &Applied) {
        for adapted in &applied.adapted {
            let (asked, used) = (adapted.asked.clone(), adapted.used.clone());
            self.tell(Event::ValueRounded {
                option: adapted.id.to_string(),
                asked,
                used,
            });
        }
    }

    fn tell(&mut self, event: Event) {
        self.actions.push_back(Action::Event(event));
    }

    /// Link states are monitored.
    const fn monitored(&self) -> bool {
        self.options.miimon > 0 || self.probes()
    }

    fn delays(&self) -> Delays {
        Delays {
            up: millis(self.options.updelay),
            down: millis(self.options.downdelay),
        }
    }

    /// The port that option `primary` names, if it is in the bond.
    fn primary(&self) -> Option<PortId> {
        let name = self.options.primary.as_deref()?;
        self.ports
            .iter()
            .find(|port| port.name == name)
            .map(|port| port.id)
    }

    fn active_name(&self) -> Option<String> {
        self.active
            .and_then(|id| self.port(id))
            .map(|port| port.name.clone())
    }

    fn port(&self, id: PortId) -> Option<&Port> {
        self.ports.iter().find(|port| port.id == id)
    }

    /// The port that LACP speaks of.
    fn port_at(&self, index: PortIndex) -> Option<&Port> {
        self.ports.iter().find(|port| index == port.id)
    }

    fn port_mut(&mut self, id: PortId) -> Option<&mut Port> {
        self.ports.iter_mut().find(|port| port.id == id)
    }

    fn unknown_port(&self, id: PortId) -> InputError {
        InputError::UnknownPort {
            port: id.index(),
            bond: self.name.clone(),
        }
    }
}

fn millis(millis: u32) -> Duration {
    Duration::from_millis(millis.into())
}
