//! A bond in virtual time, with every action it asked for applied to a small picture of the system.

use std::collections::BTreeMap;
use std::time::Duration;

use oxbond_core::action::Action;
use oxbond_core::bond::{Bond, Handled, InputError};
use oxbond_core::event::{Cause, Event};
use oxbond_core::input::{Guest, Input};
use oxbond_core::option::{OptionChange, PortOptionChange};
use oxbond_core::port::{Duplex, LinkState, PortId, PortInfo};
use oxbond_core::status::{BondStatus, PortStatus};
use oxbond_core::table::{PortStanding, TransmitTable};
use oxbond_core::time::Instant;
use oxbond_wire::MacAddr;

/// When stories begin.
const BEGINNING: Instant = Instant::from_millis(1_000_000);

/// The address the front device is made with.
pub(crate) const DEVICE_MAC: MacAddr = MacAddr([2, 0xff, 0, 0, 0, 0]);

/// Options as they are typed.
pub(crate) fn changes(words: &[&str]) -> Vec<OptionChange> {
    let pair = |word: &&str| {
        word.split_once('=')
            .map(|(name, text)| OptionChange::parse(name, text).unwrap())
            .unwrap()
    };
    words.iter().map(pair).collect()
}

/// The address a port of this name is made with.
pub(crate) fn mac_of(name: &str) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, name.bytes().next().unwrap()])
}

pub(crate) const LINK_UP: LinkState = LinkState {
    admin_up: true,
    carrier: true,
    speed_mbps: Some(1000),
    duplex: Duplex::Full,
};
pub(crate) const LINK_DOWN: LinkState = LinkState {
    carrier: false,
    ..LINK_UP
};

/// A bond and the system as it has made it.
pub(crate) struct Rig {
    pub(crate) bond: Bond,
    pub(crate) now: Instant,
    pub(crate) links: BTreeMap<String, LinkState>,
    ids: BTreeMap<String, PortId>,
    /// Ports the data path has left since the table became current.
    pub(crate) left: u32,
    pub(crate) table: TransmitTable,
    pub(crate) carrier: bool,
    pub(crate) bond_mac: MacAddr,
    pub(crate) port_macs: BTreeMap<String, MacAddr>,
    /// Stations behind the bond.
    pub(crate) guests: Vec<Guest>,
    /// Everything asked for since the last look, in order, with its time in milliseconds.
    pub(crate) log: Vec<(u64, Action)>,
}

impl Rig {
    /// A bond that is up, with these ports, whose links are up.
    pub(crate) fn new(options: &[&str], ports: &[&str]) -> Self {
        let mut rig = Self::empty(options, None);
        rig.furnish(ports);
        rig
    }

    /// The same, made ten seconds before the story begins.
    pub(crate) fn settled(options: &[&str], ports: &[&str]) -> Self {
        let mut rig = Self::begun(BEGINNING - Duration::from_secs(10), options, None);
        rig.furnish(ports);
        rig.at(0);
        rig.log.clear();
        rig
    }

    fn furnish(&mut self, ports: &[&str]) {
        for port in ports {
            self.add(port, &[]).unwrap();
        }
        self.tell(Input::BondAdmin { up: true });
        self.log.clear();
    }

    /// A bond that is down, without ports.
    pub(crate) fn empty(options: &[&str], mac: Option<MacAddr>) -> Self {
        Self::begun(BEGINNING, options, mac)
    }

    fn begun(now: Instant, options: &[&str], mac: Option<MacAddr>) -> Self {
        let mut bond = Bond::new(now, "bond0", mac, &changes(options)).unwrap();
        bond.set_device_mac(DEVICE_MAC);
        let mut rig = Self {
            table: bond.table().clone(),
            bond,
            now,
            links: BTreeMap::new(),
            ids: BTreeMap::new(),
            left: 0,
            carrier: true,
            bond_mac: mac.unwrap_or(DEVICE_MAC),
            port_macs: BTreeMap::new(),
            guests: Vec::new(),
            log: Vec::new(),
        };
        rig.drain();
        rig
    }

    /// Milliseconds since the beginning of the story.
    pub(crate) fn millis(&self) -> u64 {
        let since = self.now.saturating_since(BEGINNING);
        u64::try_from(since.as_millis()).unwrap()
    }

    /// Lets time pass up to this moment of the story, with every timeout at its time.
    pub(crate) fn at(&mut self, millis: u64) -> &mut Self {
        let target = BEGINNING + ms(millis);
        assert!(target >= self.now, "stories run forward");
        while let Some(next) = self.bond.next_timeout().filter(|next| *next <= target) {
            self.now = self.now.max(next);
            self.bond.handle_timeout(self.now);
            self.drain();
            assert!(
                self.bond.next_timeout().is_none_or(|again| again > next),
                "a timeout must not come back at once"
            );
        }
        self.now = target;
        self
    }

    /// Lets time pass with nobody driving the bond.
    pub(crate) fn sleep(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    pub(crate) fn handle(&mut self, input: Input) -> Result<Handled, InputError> {
        let handled = self.bond.handle(self.now, input);
        self.drain();
        handled
    }

    /// What cannot be refused.
    pub(crate) fn tell(&mut self, input: Input) {
        self.handle(input).unwrap();
    }

    pub(crate) fn add(&mut self, name: &str, options: &[&str]) -> Result<(), InputError> {
        self.join(name, options, false)
    }

    /// A port that was drained before it vanished returns.
    pub(crate) fn add_drained(&mut self, name: &str) {
        self.join(name, &[], true).unwrap();
    }

    fn join(&mut self, name: &str, options: &[&str], drained: bool) -> Result<(), InputError> {
        let link = *self.links.entry(name.to_owned()).or_insert(LINK_UP);
        let pair = |word: &&str| {
            word.split_once('=')
                .map(|(n, t)| PortOptionChange::parse(n, t).unwrap())
                .unwrap()
        };
        let (mac, ifindex) = (mac_of(name), u32::from(name.bytes().next().unwrap()));
        let info = PortInfo {
            name: name.to_owned(),
            ifindex,
            permanent_mac: mac,
            mac,
            link,
        };
        let lowest_free = (0..32)
            .filter_map(PortId::new)
            .find(|id| !self.ids.values().any(|used| used == id))
            .unwrap();
        self.ids.insert(name.to_owned(), lowest_free);
        self.port_macs.insert(name.to_owned(), mac);
        let options = options.iter().map(pair).collect();
        let outcome = self.handle(Input::AddPort {
            info,
            options,
            drained,
        });
        match &outcome {
            Ok(handled) => assert_eq!(*handled, Handled::Joined(lowest_free)),
            Err(_) => {
                self.ids.remove(name);
                self.port_macs.remove(name);
            }
        }
        outcome.map(|_| ())
    }

    /// Takes a port out; the engine gives it back its own address.
    pub(crate) fn remove(&mut self, name: &str) {
        let port = self.id(name);
        self.tell(Input::RemovePort { port });
        self.ids.remove(name);
        self.port_macs.remove(name);
    }

    /// Takes a port out of the traffic, or lets it take part again.
    pub(crate) fn drained(&mut self, name: &str, out: bool) -> Result<(), String> {
        let port = self.id(name);
        self.handle(Input::Drain { port, out })
            .map(|_| ())
            .map_err(|e| e.to_string())
    }

    pub(crate) fn set(&mut self, words: &[&str]) -> Result<(), String> {
        self.handle(Input::SetOptions {
            changes: changes(words),
        })
        .map(|_| ())
        .map_err(|e| e.to_string())
    }

    pub(crate) fn set_port(&mut self, name: &str, word: &str) -> Result<(), String> {
        let (option, text) = word.split_once('=').unwrap();
        let changes = vec![PortOptionChange::parse(option, text).map_err(|e| e.to_string())?];
        self.handle(Input::SetPortOptions {
            port: self.id(name),
            changes,
        })
        .map(|_| ())
        .map_err(|e| e.to_string())
    }

    pub(crate) fn link(&mut self, name: &str, link: LinkState) -> &mut Self {
        self.links.insert(name.to_owned(), link);
        self.tell(Input::Link {
            port: self.id(name),
            link,
        });
        self
    }

    pub(crate) fn link_down(&mut self, name: &str) -> &mut Self {
        self.link(name, LINK_DOWN)
    }

    pub(crate) fn link_up(&mut self, name: &str) -> &mut Self {
        self.link(name, LINK_UP)
    }

    pub(crate) fn id(&self, name: &str) -> PortId {
        self.ids[name]
    }

    pub(crate) fn name_of(&self, id: PortId) -> &str {
        self.ids
            .iter()
            .find(|(_, known)| **known == id)
            .map(|(name, _)| name.as_str())
            .unwrap()
    }

    pub(crate) fn ports(&self) -> impl Iterator<Item = &str> {
        self.ids.keys().map(String::as_str)
    }

    pub(crate) fn status(&self) -> BondStatus {
        self.bond.status(self.now, &[])
    }

    pub(crate) fn port(&self, name: &str) -> PortStatus {
        self.status()
            .ports
            .into_iter()
            .find(|port| port.name == name)
            .unwrap()
    }

    #[track_caller]
    pub(crate) fn expect_active(&mut self, name: &str) -> &mut Self {
        assert_eq!(
            self.status().active_port.as_deref(),
            Some(name),
            "at {} ms",
            self.millis()
        );
        assert_eq!(
            self.name_of(self.table.order[0]),
            name,
            "the table says so too"
        );
        self
    }

    /// Ports that have carrier, as the data path sees them.
    pub(crate) fn standing(&self) -> PortStanding {
        let usable =
            |(name, id): (&String, &PortId)| self.links[name].is_usable().then(|| id.bit());
        PortStanding {
            carrier: self
                .ids
                .iter()
                .filter_map(usable)
                .fold(0, |set, bit| set | bit),
            left: self.left,
        }
    }

    /// The port that a frame with this hash goes out on.
    pub(crate) fn goes_to(&self, hash: u32) -> Option<&str> {
        self.table
            .decide(hash, self.standing())
            .map(|id| self.name_of(id))
    }

    /// Events since the last look, as text.
    pub(crate) fn story(&mut self) -> Vec<String> {
        self.take(|action| match action {
            Action::Event(event) => Some(event.to_string()),
            _ => None,
        })
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        self.take(|action| match action {
            Action::Event(event) => Some(event.clone()),
            _ => None,
        })
    }

    /// Causes of the tables since the last look.
    pub(crate) fn table_causes(&mut self) -> Vec<Cause> {
        self.take(|action| match action {
            Action::SetTransmitTable { cause, .. } => Some(cause.clone()),
            _ => None,
        })
    }

    /// Times in milliseconds at which something was asked for, since the last look.
    pub(crate) fn times(&self, wanted: impl Fn(&Action) -> bool) -> Vec<u64> {
        self.log
            .iter()
            .filter(|(_, action)| wanted(action))
            .map(|(millis, _)| *millis)
            .collect()
    }

    /// Empties the log and answers the interesting part.
    pub(crate) fn take<T>(&mut self, interesting: impl Fn(&Action) -> Option<T>) -> Vec<T> {
        std::mem::take(&mut self.log)
            .iter()
            .filter_map(|(_, action)| interesting(action))
            .collect()
    }

    /// Replaces the bond by one read from a snapshot of it.
    pub(crate) fn restart(&mut self) -> &mut Self {
        let text = serde_json::to_string(&self.bond).unwrap();
        self.bond = serde_json::from_str(&text).unwrap();
        self
    }

    fn drain(&mut self) {
        while let Some(action) = self.bond.poll_action() {
            match &action {
                Action::SetTransmitTable { table, .. } => {
                    self.table = table.clone();
                    self.left = 0;
                }
                Action::SetCarrier { up, .. } => self.carrier = *up,
                Action::SetBondMac { mac } => self.bond_mac = *mac,
                Action::SetPortMac { port, mac } => {
                    let name = self.name_of(*port).to_owned();
                    self.port_macs.insert(name, *mac);
                }
                Action::SendFrame { .. }
                | Action::SendOnPort { .. }
                | Action::SetStandingAnswer { .. }
                | Action::RejoinMulticast
                | Action::ListGuests
                | Action::Event(_) => {}
            }
            let asked = action == Action::ListGuests;
            self.log.push((self.millis(), action));
            if asked && !self.guests.is_empty() {
                let guests = self.guests.clone();
                self.bond
                    .handle(self.now, Input::Guests { guests })
                    .unwrap();
            }
        }
        assert_eq!(
            &self.table,
            self.bond.table(),
            "what was asked for is what the bond believes"
        );
        assert_eq!(self.bond_mac, self.bond.mac());
    }
}

/// Duration in milliseconds.
pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
