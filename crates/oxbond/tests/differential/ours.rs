//! Our core playing scripts in virtual time, each step at the moment at which the driver had it.

use std::collections::BTreeMap;

use oxbond_core::action::Action;
use oxbond_core::bond::{Bond, ConfigError, Handled, InputError};
use oxbond_core::hash::hash;
use oxbond_core::input::Input;
use oxbond_core::option::{
    BondContext, DriverError, Mode, OptionChange, OptionError, OptionId, PortOptionChange,
    PortOptionId,
};
use oxbond_core::port::{Duplex, LinkState, PortId, PortInfo};
use oxbond_core::status::PortRole;
use oxbond_core::table::{BucketKey, Exempt, PortStanding, Spread, TransmitTable};
use oxbond_core::time::Instant;
use oxbond_wire::MacAddr;

use crate::driver::{refused, sends_map};
use crate::frames::{Kind, Tally, frame};
use crate::observation::{OK, Observation, Played, neutral};
use crate::render;
use crate::script::{PORTS, Pair, Port, Script, Step};

/// Plays a script at these times, milliseconds.
pub(crate) fn play(script: &Script, times: &[u64]) -> Played {
    let mut core = Core::new(sends_map(script));
    let mut steps = Vec::new();
    for (step, at) in script.steps.iter().zip(times) {
        core.advance(Instant::from_millis(1_000_000 + at));
        let seen = core.step(step);
        core.drain();
        steps.push((*at, seen));
    }
    Played {
        script: script.name.clone(),
        steps,
    }
}

/// A bond with its ports, and the world as it has made it.
struct Core {
    bond: Option<Bond>,
    now: Instant,
    up: bool,
    sends_map: bool,
    /// Frames sent so far.
    sequence: u32,
    ports: BTreeMap<Port, State>,
    table: TransmitTable,
}

/// A port, in the bond or not.
struct State {
    id: Option<PortId>,
    link: LinkState,
    mac: MacAddr,
}

/// What the front device is made with; the driver's is a random one.
const DEVICE_MAC: MacAddr = MacAddr([2, 0xff, 0, 0, 0, 0]);

impl Core {
    fn new(sends_map: bool) -> Self {
        let link = LinkState {
            admin_up: false,
            carrier: true,
            speed_mbps: Some(10_000),
            duplex: Duplex::Full,
        };
        let port = |port: Port| {
            (
                port,
                State {
                    id: None,
                    link,
                    mac: port.mac(),
                },
            )
        };
        Self {
            bond: None,
            now: Instant::ZERO,
            up: false,
            sends_map,
            sequence: 0,
            ports: PORTS.into_iter().map(port).collect(),
            table: TransmitTable::failover(Vec::new()),
        }
    }

    fn advance(&mut self, to: Instant) {
        while let Some(bond) = &mut self.bond
            && let Some(next) = bond.next_timeout().filter(|next| *next <= to)
        {
            bond.handle_timeout(next.max(self.now));
            self.drain();
        }
        self.now = to;
    }

    fn step(&mut self, step: &Step) -> Observation {
        let result = match step {
            Step::Bond(pairs) => self.create(pairs),
            Step::Add(port) => self.add(*port),
            Step::Remove(port) => self.remove(*port),
            Step::Up | Step::Down => {
                self.up = *step == Step::Up;
                self.tell(Input::BondAdmin { up: self.up })
            }
            Step::Cut(port) => self.link(*port, |link| link.carrier = false),
            Step::Restore(port) => self.link(*port, |link| link.carrier = true),
            Step::Shut(port) => self.link(*port, |link| link.admin_up = false),
            Step::Open(port) => self.link(*port, |link| link.admin_up = true),
            Step::Set(pairs) => self.set(pairs),
            Step::Write(pair) => self
                .set(std::slice::from_ref(pair))
                .map_err(Refused::by_number),
            Step::Port(port, pairs) => self.set_port(*port, pairs),
            Step::Address(port) => self.tell(Input::BondMac { mac: port.mac() }),
            // The engine's affair, and of the world around it.
            Step::Mtu(_) | Step::Wait(_) | Step::Station | Step::Silence(_) | Step::Answer(_) => {
                Ok(())
            }
            Step::Send(kind, count) => return self.send(*kind, *count),
            Step::Look => return self.look(),
        };
        Observation::result(match result {
            Ok(()) => OK.to_owned(),
            Err(Refused::Like(error)) => refused(error.errno, Some(error.text)),
            Err(Refused::As(words)) => words,
        })
    }

    fn tell(&mut self, input: Input) -> Result<(), Refused> {
        let bond = self.bond.as_mut().ok_or_else(no_bond)?;
        bond.handle(self.now, input)?;
        Ok(())
    }

    fn create(&mut self, pairs: &[Pair]) -> Result<(), Refused> {
        let mut bond = Bond::new(self.now, "bond0", None, &as_driver(changes(pairs)?)?)?;
        bond.set_device_mac(DEVICE_MAC);
        self.bond = Some(bond);
        Ok(())
    }

    fn add(&mut self, port: Port) -> Result<(), Refused> {
        if self.state(port).id.is_some() {
            // Not the driver's rule but the kernel's for every master: nothing to do.
            return Ok(());
        }
        let state = self.state(port);
        state.link.admin_up = true;
        let (link, mac) = (state.link, state.mac);
        let info = PortInfo {
            name: port.to_string(),
            ifindex: 10 + u32::from(port.0),
            permanent_mac: port.mac(),
            mac,
            link,
        };
        let bond = self.bond.as_mut().ok_or_else(no_bond)?;
        if let Handled::Joined(id) = bond.handle(
            self.now,
            Input::AddPort {
                info,
                options: Vec::new(),
                drained: false,
            },
        )? {
            self.state(port).id = Some(id);
        }
        Ok(())
    }

    fn remove(&mut self, port: Port) -> Result<(), Refused> {
        let Some(id) = self.state(port).id else {
            return Ok(());
        };
        self.tell(Input::RemovePort { port: id })?;
        self.drain();
        // The engine gives back what the port had.
        let state = self.state(port);
        (state.id, state.mac, state.link.admin_up) = (None, port.mac(), false);
        Ok(())
    }

    fn link(&mut self, port: Port, change: impl FnOnce(&mut LinkState)) -> Result<(), Refused> {
        let state = self.state(port);
        change(&mut state.link);
        match (state.id, state.link) {
            (Some(port), link) => self.tell(Input::Link { port, link }),
            (None, _) => Ok(()),
        }
    }

    /// The driver refuses some changes of a bond that is up or has ports; our engine makes them while the bond works. What
    /// is compared is our table's word on when the driver would.
    fn set(&mut self, pairs: &[Pair]) -> Result<(), Refused> {
        let changes = changes(pairs)?;
        let names: Vec<String> = self
            .ports
            .iter()
            .filter(|(_, state)| state.id.is_some())
            .map(|(port, _)| port.to_string())
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let bond = self.bond.as_ref().ok_or_else(no_bond)?;
        bond.options().apply(
            &changes,
            &BondContext {
                up: self.up,
                ports: &names,
                own_engine: false,
            },
        )?;
        self.tell(Input::SetOptions {
            changes: as_driver(changes)?,
        })
    }

    fn set_port(&mut self, port: Port, pairs: &[Pair]) -> Result<(), Refused> {
        let change = |(name, value): &Pair| PortOptionChange::parse(name, value);
        let changes = pairs.iter().map(change).collect::<Result<_, _>>()?;
        match self.state(port).id {
            Some(port) => self.tell(Input::SetPortOptions { port, changes }),
            None => Err(Refused::As("not a port".to_owned())),
        }
    }

    fn send(&mut self, kind: Kind, count: usize) -> Observation {
        let mut tally = Tally::new(count);
        let own = self.bond.as_ref().map_or(DEVICE_MAC, Bond::mac);
        for number in 0..u16::try_from(count).unwrap_or(u16::MAX) {
            for port in self.ways(&frame(kind, number, own)) {
                tally.seen(number, port, self.source(port, own));
            }
        }
        tally.observation(self.sends_map)
    }

    /// The source address of a frame of ours that leaves on a port.
    fn source(&self, port: Port, own: MacAddr) -> MacAddr {
        let at = |port: PortId| self.table.order.iter().position(|id| *id == port);
        let station = || {
            let at = self.ports[&port].id.and_then(at)?;
            self.table.stations.as_ref()?.ports.get(at).copied()
        };
        station().unwrap_or(own)
    }

    /// The ports a frame leaves by: what the data path does with the table.
    fn ways(&mut self, frame: &[u8]) -> Vec<Port> {
        self.sequence += 1;
        let usable = |state: &State| state.id.filter(|_| state.link.is_usable());
        let carrier = self
            .ports
            .values()
            .filter_map(usable)
            .fold(0, |set, id| set | id.bit());
        let standing = PortStanding { carrier, left: 0 };
        let table = &self.table;
        let chosen: Vec<PortId> = match &table.spread {
            _ if !self.up => Vec::new(),
            Spread::Broadcast => table
                .order
                .iter()
                .copied()
                .filter(|port| standing.is_usable(*port))
                .collect(),
            Spread::Failover => table.active(standing).into_iter().collect(),
            Spread::Buckets(buckets) if exempt(buckets.exempt, frame) => {
                table.active(standing).into_iter().collect()
            }
            Spread::Buckets(buckets) => {
                let key = match buckets.key {
                    BucketKey::Hash(policy) => hash(policy, frame, 0),
                    BucketKey::Sequence {
                        packets_per_port: 0,
                    } => self.sequence.wrapping_mul(0x9e37_79b1) >> 7,
                    BucketKey::Sequence { packets_per_port } => {
                        self.sequence / u32::from(packets_per_port)
                    }
                    BucketKey::Destination => destination(frame),
                };
                table.decide(key, standing).into_iter().collect()
            }
        };
        let port = |id: &PortId| self.ports.iter().find(|(_, state)| state.id == Some(*id));
        chosen
            .iter()
            .filter_map(port)
            .map(|(port, _)| *port)
            .collect()
    }

    fn look(&self) -> Observation {
        let Some(bond) = &self.bond else {
            return Observation::result("no bond");
        };
        let status = bond.status(self.now, &[]);
        let mut seen = Observation::result(OK);
        seen.put_proc(&render::proc(&status, "6.1"));
        seen.put("mac", neutral(&status.mac.to_string()));
        for id in OptionId::ALL {
            let aggregation = matches!(
                id,
                OptionId::AdActorSysPrio | OptionId::AdActorSystem | OptionId::AdUserPortKey
            );
            let spec = id.spec();
            // What sleeps in this mode is the driver's when it wakes: see `as_driver`.
            let text = if spec.own_default.is_some() && !spec.modes.contains(status.options.mode) {
                spec.default.to_owned()
            } else {
                status.options.text(*id)
            };
            // Ports are compared by the text in /proc. The driver tells some options in one mode alone.
            if matches!(id, OptionId::ActiveSlave | OptionId::Primary)
                || text.is_empty()
                || spec.netlink.is_none()
                || aggregation && status.options.mode != Mode::Ieee8023ad
            {
                continue;
            }
            seen.put(format!("option/{id}"), text);
        }
        for (port, state) in &self.ports {
            seen.put(format!("{port}/mac"), neutral(&state.mac.to_string()));
        }
        for port in &status.ports {
            let role = if port.role == PortRole::Active {
                "active"
            } else {
                "backup"
            };
            seen.put(format!("{}/role", port.name), role);
            seen.put(
                format!("{}/{}", port.name, PortOptionId::Prio),
                port.prio.to_string(),
            );
        }
        seen
    }

    fn drain(&mut self) {
        while let Some(action) = self.bond.as_mut().and_then(Bond::poll_action) {
            match action {
                Action::SetTransmitTable { table, .. } => self.table = table,
                Action::SetPortMac { port, mac } => {
                    let holder = self.ports.values_mut().find(|state| state.id == Some(port));
                    if let Some(state) = holder {
                        state.mac = mac;
                    }
                }
                _ => {}
            }
        }
    }

    fn state(&mut self, port: Port) -> &mut State {
        self.ports
            .get_mut(&port)
            .expect("all ports are in the map from the beginning")
    }
}

fn exempt(rule: Exempt, frame: &[u8]) -> bool {
    match rule {
        Exempt::Nothing => false,
        Exempt::Igmp => frame[12..14] == [0x08, 0x00] && frame[23] == 2,
        Exempt::Unbalanced | Exempt::Negotiated => {
            frame[0] & 1 == 1 || !matches!(frame[12..14], [0x08, 0x00] | [0x86, 0xdd])
        }
    }
}

/// All bytes of the destination address, XORed.
fn destination(frame: &[u8]) -> u32 {
    let address = if frame[12..14] == [0x86, 0xdd] {
        &frame[38..54]
    } else {
        &frame[30..34]
    };
    address.iter().fold(0, |all, byte| all ^ u32::from(*byte))
}

/// Why a step was not done.
enum Refused {
    /// In the driver's words and with its number.
    Like(&'static DriverError),
    /// In words of our own, or of `ip`.
    As(String),
}

impl Refused {
    /// A file in sysfs tells the number alone.
    fn by_number(self) -> Self {
        match self {
            Self::Like(error) => Self::As(refused(error.errno, None)),
            other => other,
        }
    }
}

fn no_bond() -> Refused {
    Refused::As(refused(libc::ENODEV, None))
}

impl From<OptionError> for Refused {
    fn from(error: OptionError) -> Self {
        error
            .driver
            .map_or_else(|| Self::As(error.to_string()), Self::Like)
    }
}

impl From<ConfigError> for Refused {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Option(error) => (*error).into(),
            other => Self::As(other.to_string()),
        }
    }
}

impl From<InputError> for Refused {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Config(error) => error.into(),
            other => Self::As(other.to_string()),
        }
    }
}

/// With the driver's defaults where those of our engine are others: the mode that has such options asks for them.
fn as_driver(mut changes: Vec<OptionChange>) -> Result<Vec<OptionChange>, OptionError> {
    let mode = changes.iter().find(|change| change.id == OptionId::Mode);
    let mode = mode.map(OptionChange::text);
    for id in OptionId::ALL {
        let spec = id.spec();
        let has = spec
            .modes
            .iter()
            .any(|known| Some(known.word()) == mode.as_deref());
        let given = changes.iter().any(|change| change.id == *id);
        if spec.own_default.is_some() && has && !given {
            changes.push(OptionChange::parse(spec.name, spec.default)?);
        }
    }
    Ok(changes)
}

fn changes(pairs: &[Pair]) -> Result<Vec<OptionChange>, OptionError> {
    let value = |value: &str| {
        if value == "-" {
            String::new()
        } else {
            value.to_owned()
        }
    };
    pairs
        .iter()
        .map(|(name, text)| OptionChange::parse(name, &value(text)))
        .collect()
}
