//! What the core makes of frames: arbitrary ones among arbitrary changes, in virtual time.
//!
//! An input is a program. Its first byte chooses the options; then each step is a byte, `kind + 16 * port`, and what the
//! kind reads. A program that is cut short ends there.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use oxbond_core::action::Action;
use oxbond_core::bond::{Bond, Handled};
use oxbond_core::hash::hash;
use oxbond_core::input::{Announced, Input, ProbePath};
use oxbond_core::lacp::Counters;
use oxbond_core::option::{HashPolicy, OptionChange, PortOptionChange};
use oxbond_core::port::{Duplex, LinkState, PortId, PortInfo};
use oxbond_core::route::Outgoing;
use oxbond_core::status::PortRole;
use oxbond_core::table::{PortStanding, TransmitTable};
use oxbond_core::time::Instant;
use oxbond_wire::MacAddr;
use oxbond_wire::ethernet::{EtherType, Header};
use oxbond_wire::lacp::{Information, Lacpdu, State};
use oxbond_wire::marker::{self, Marker};
use oxbond_wire::slow::{self, Subtype};

/// Ports a program can name.
const PORTS: u8 = 4;

/// Most steps of a program: enough for every state, and a run stays short.
const STEPS: usize = 400;

/// Most actions that one input or one moment may cause: a few for each port.
const ACTIONS: usize = 200;

/// Most bytes of a bond with [`PORTS`] ports when it is saved, whatever it has been told.
const SAVED: usize = 128 << 10;

/// The partner that a program speaks for.
const PARTNER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xbb]);

/// Options of 802.3ad to begin with.
const AGGREGATIONS: [&[&str]; 6] = [
    &["lacp_rate=fast"],
    &[],
    &["lacp_strict=off", "coupled_control=on", "lacp_rate=fast"],
    &["lacp_fallback=active-backup", "lacp_fallback_delay=5"],
    &[
        "lacp_fallback=individual",
        "max_ports=2",
        "ad_select=bandwidth",
    ],
    &[
        "lacp_active=off",
        "min_links=2",
        "ad_select=count",
        "updelay=200",
    ],
];

/// Modes in which the bond looks at ARP and NDP.
const OVERHEARING: [&[&str]; 6] = [
    &[
        "mode=active-backup",
        "arp_interval=100",
        "arp_ip_target=10.0.0.1,10.0.0.2",
        "arp_validate=all",
    ],
    &[
        "mode=active-backup",
        "arp_interval=100",
        "ns_ip6_target=fd00::1",
        "arp_validate=all",
    ],
    &[
        "mode=balance-xor",
        "arp_interval=100",
        "arp_ip_target=10.0.0.1",
    ],
    &["mode=balance-alb", "miimon=100"],
    &["mode=802.3ad", "arp_interval=100", "arp_ip_target=10.0.0.1"],
    &[
        "mode=balance-rr",
        "arp_interval=50",
        "arp_ip_target=10.0.0.1",
        "arp_validate=filter_active",
    ],
];

/// What a program may change later.
const CHANGES: [&str; 24] = [
    "lacp_rate=fast",
    "lacp_rate=slow",
    "lacp_active=off",
    "lacp_active=on",
    "lacp_strict=on",
    "lacp_strict=off",
    "coupled_control=on",
    "coupled_control=off",
    "ad_select=stable",
    "ad_select=bandwidth",
    "ad_select=count",
    "ad_actor_system=02:00:00:00:00:bb",
    "ad_actor_sys_prio=7",
    "ad_user_port_key=5",
    "min_links=2",
    "max_ports=1",
    "lacp_fallback=strict",
    "lacp_fallback=individual",
    "mode=802.3ad",
    "mode=active-backup",
    "mode=balance-alb",
    "miimon=50",
    "updelay=100",
    "arp_validate=none",
];

/// A bond in 802.3ad: PDUs of every kind and form, timeouts, links, options, drains, restarts of the daemon.
pub(crate) fn aggregation(program: &[u8]) {
    let mut world = run(program, &AGGREGATIONS, &["mode=802.3ad", "miimon=100"]);
    // Longer than any timer of LACP.
    world.wait(Duration::from_secs(100));
    world.check();
}

/// A bond in each mode that reads the neighbours' ARP and NDP.
pub(crate) fn overheard(program: &[u8]) {
    run(program, &OVERHEARING, &[]);
}

fn run(program: &[u8], choices: &[&[&str]], always: &[&str]) -> World {
    let mut program = Program(program);
    let first = usize::from(program.byte().unwrap_or(0));
    let mut world = World::new(&[always, choices[first % choices.len()]].concat());
    for _ in 0..STEPS {
        if step(&mut world, &mut program).is_none() {
            break;
        }
        world.check();
    }
    world.restart();
    world
}

fn step(world: &mut World, program: &mut Program<'_>) -> Option<()> {
    let step = program.byte()?;
    let index = step >> 4 & (PORTS - 1);
    match step & 15 {
        // A frame as it is.
        0 => {
            let frame = program.bytes()?.to_vec();
            world.receive(index, frame);
        }
        // The partner's PDU with which all would be well, some bytes of the frame changed.
        1 => {
            let mut frame = world.good(index).frame(PARTNER);
            program.patch(&mut frame)?;
            world.receive(index, frame);
        }
        // The same from one that is not in sync yet.
        2 => {
            let mut pdu = world.good(index);
            pdu.actor.state = State(program.byte()?);
            world.receive(index, pdu.frame(PARTNER));
        }
        // A PDU that another port, or this one, would send.
        3 => {
            let from = program.byte()? & (PORTS - 1);
            let mut pdu = world.good(index);
            (pdu.actor, pdu.partner) = (world.actor(from), pdu.actor);
            world.receive(index, pdu.frame(mac(from)));
        }
        4 => {
            let marker = Marker {
                version: 1,
                kind: marker::Kind::from(program.byte()? & 3),
                port: u16::from(index) + 1,
                system: world.bond.mac(),
                transaction: program.byte()?.into(),
            };
            let mut frame = marker.frame(PARTNER);
            program.patch(&mut frame)?;
            world.receive(index, frame);
        }
        5 => world.wait(Duration::from_millis(u64::from(program.byte()?) * 5)),
        6 => world.wait(Duration::from_millis(u64::from(program.byte()?) * 500)),
        // The daemon is late: timers and frames come after a pause.
        7 => world.now = world.now + Duration::from_millis(u64::from(program.byte()?) * 50),
        8 => {
            let bits = program.byte()?;
            world.link(index, link(bits));
        }
        9 => world.join_or_leave(index),
        10 => {
            let word = CHANGES[usize::from(program.byte()?) % CHANGES.len()];
            // What the mode or the moment does not allow is refused, and that is fine.
            world.tell(Input::SetOptions {
                changes: vec![change(word)],
            });
        }
        11 => {
            let prio = program.byte()?.to_string();
            if let (Some(port), Ok(change)) = (
                world.id(index),
                PortOptionChange::parse("actor_port_prio", &prio),
            ) {
                world.tell(Input::SetPortOptions {
                    port,
                    changes: vec![change],
                });
            }
        }
        12 => {
            let out = program.byte()? & 1 == 0;
            if let Some(port) = world.id(index) {
                world.tell(Input::Drain { port, out });
            }
        }
        13 => world.restart(),
        14 => {
            let up = program.byte()? & 1 == 0;
            world.tell(Input::BondAdmin { up });
        }
        _ => {
            let frame = program.bytes()?.to_vec();
            world.tell(Input::Sent { frame });
        }
    }
    Some(())
}

/// What is left of a program.
struct Program<'a>(&'a [u8]);

impl<'a> Program<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// As many bytes as the next one says.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.byte()?;
        let (bytes, rest) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        Some(bytes)
    }

    /// Changes some bytes of a frame, or cuts it: a number of changes, then place and difference of each.
    fn patch(&mut self, frame: &mut Vec<u8>) -> Option<()> {
        for _ in 0..self.byte()? & 7 {
            let (at, difference) = (usize::from(self.byte()?), self.byte()?);
            match frame.get_mut(at) {
                Some(_) if difference == 0 => frame.truncate(at),
                Some(byte) => *byte ^= difference,
                None => {}
            }
        }
        Some(())
    }
}

fn mac(index: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, index])
}

fn name(index: u8) -> String {
    format!("port{index}")
}

fn link(bits: u8) -> LinkState {
    LinkState {
        admin_up: bits & 1 == 0,
        carrier: bits & 2 == 0,
        speed_mbps: [Some(10_000), Some(1000), Some(u32::MAX), None][usize::from(bits >> 2 & 3)],
        duplex: [Duplex::Full, Duplex::Full, Duplex::Half, Duplex::Unknown]
            [usize::from(bits >> 4 & 3)],
    }
}

fn change(word: &str) -> OptionChange {
    let parsed = word
        .split_once('=')
        .map(|(name, value)| OptionChange::parse(name, value));
    match parsed {
        Some(Ok(change)) => change,
        other => panic!("a word of ours is none: {word}: {other:?}"),
    }
}

/// A bond, and what it wanted so far.
struct World {
    bond: Bond,
    now: Instant,
    carrier: bool,
    table: TransmitTable,
    ports: BTreeMap<u8, PortId>,
}

impl World {
    fn new(words: &[&str]) -> Self {
        let now = Instant::from_millis(1_000_000);
        let changes: Vec<OptionChange> = words.iter().map(|word| change(word)).collect();
        let bond =
            Bond::new(now, "bond0", None, &changes).unwrap_or_else(|e| panic!("{words:?}: {e}"));
        let table = bond.table().clone();
        let mut world = Self {
            bond,
            now,
            carrier: false,
            table,
            ports: BTreeMap::new(),
        };
        world.carry_out();
        world.tell(Input::BondAdmin { up: true });
        for index in 0..2 {
            world.join_or_leave(index);
        }
        let addresses = [
            IpAddr::from([10, 0, 0, 9]),
            IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 9]),
        ]
        .map(|address| Announced {
            address,
            mac: world.bond.mac(),
            vlans: Vec::new(),
            router: false,
        });
        world.tell(Input::Addresses {
            addresses: addresses.to_vec(),
        });
        let path = |target: IpAddr| ProbePath {
            target,
            source: None,
            vlans: Vec::new(),
        };
        let v4 = world
            .bond
            .options()
            .arp_ip_target
            .iter()
            .map(|target| path((*target).into()));
        let v6 = world
            .bond
            .options()
            .ns_ip6_target
            .iter()
            .map(|target| path((*target).into()));
        let paths = v4.chain(v6).collect();
        world.tell(Input::ProbePaths { paths });
        world
    }

    fn id(&self, index: u8) -> Option<PortId> {
        self.ports.get(&index).copied()
    }

    /// What a port says of itself; nothing much if it is not there.
    fn actor(&self, index: u8) -> Information {
        let Some(id) = self.id(index) else {
            return Information::default();
        };
        let ports = self
            .bond
            .lacp()
            .map(|lacp| lacp.ports(self.now))
            .unwrap_or_default();
        ports
            .iter()
            .find(|port| port.id == id)
            .and_then(|port| port.actor.information())
            .unwrap_or_default()
    }

    /// What a partner in full agreement says on a port.
    fn good(&self, index: u8) -> Lacpdu {
        let actor = Information {
            system_priority: 0x8000,
            system: PARTNER,
            key: 7,
            port_priority: 0x80,
            port: 100 + u16::from(index),
            state: State(0x3f),
        };
        Lacpdu {
            version: 1,
            actor,
            partner: self.actor(index),
            collector_max_delay: 0,
        }
    }

    fn tell(&mut self, input: Input) -> Option<Handled> {
        let handled = self.bond.handle(self.now, input);
        self.carry_out();
        if let Err(refused) = &handled {
            assert!(!refused.to_string().is_empty());
        }
        handled.ok()
    }

    /// A frame arrives. In 802.3ad each is counted once, whatever it is.
    fn receive(&mut self, index: u8, frame: Vec<u8>) {
        self.pass(&frame, index);
        let Some(port) = self.id(index) else {
            return;
        };
        let before = self.counted(port);
        self.tell(Input::Received { port, frame });
        let counted = self.counted(port);
        assert_eq!(
            counted,
            before.map(|count| count + 1),
            "each frame is counted once"
        );
    }

    fn counted(&self, port: PortId) -> Option<u64> {
        let ports = self.bond.lacp()?.ports(self.now);
        let Counters {
            lacpdus_rx,
            marker_rx,
            marker_response_rx,
            unknown_rx,
            illegal_rx,
            refused,
            ..
        } = ports.into_iter().find(|one| one.id == port)?.counters;
        let illegal = refused.subtype + refused.truncated + refused.tlv_length;
        assert_eq!(illegal, illegal_rx);
        let others = refused.tagged + refused.not_slow + refused.port_disabled + refused.own_system;
        Some(lacpdus_rx + marker_rx + marker_response_rx + unknown_rx + illegal + others)
    }

    /// The frame on its way through the bond as traffic, for the readers of what it holds.
    fn pass(&self, frame: &[u8], index: u8) {
        for policy in HashPolicy::ALL {
            let _ = hash(*policy, frame, index.into());
        }
        let outgoing = Outgoing {
            frame,
            tag: index.into(),
            queue: index.into(),
            number: index.into(),
        };
        let standing = PortStanding {
            carrier: 0b11,
            left: 0,
        };
        let _ = self.table.route(&outgoing, standing);
    }

    fn link(&mut self, index: u8, link: LinkState) {
        if let Some(port) = self.id(index) {
            self.tell(Input::Link { port, link });
        }
    }

    fn join_or_leave(&mut self, index: u8) {
        if let Some(port) = self.ports.remove(&index) {
            self.tell(Input::RemovePort { port });
            return;
        }
        let info = PortInfo {
            name: name(index),
            ifindex: u32::from(index) + 1,
            permanent_mac: mac(index),
            mac: mac(index),
            link: link(0),
        };
        let joined = self.tell(Input::AddPort {
            info,
            options: Vec::new(),
            drained: false,
        });
        let Some(Handled::Joined(id)) = joined else {
            panic!("a port with a good name may join: {joined:?}");
        };
        self.ports.insert(index, id);
    }

    /// Lets time pass, timer by timer.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let mut rounds = 0;
        while let Some(due) = self.bond.next_timeout().filter(|due| *due <= end) {
            rounds = if due > self.now { 0 } else { rounds + 1 };
            assert!(rounds < 10, "time stands still at {:?}", self.now);
            self.now = self.now.max(due);
            self.bond.handle_timeout(self.now);
            self.carry_out();
        }
        self.now = end;
    }

    /// The daemon is replaced by another, which goes on with the same bond.
    fn restart(&mut self) {
        let saved = serde_json::to_string(&self.bond).unwrap_or_else(|e| panic!("{e}"));
        assert!(saved.len() <= SAVED, "{} bytes", saved.len());
        let read: Bond = serde_json::from_str(&saved).unwrap_or_else(|e| panic!("{e}: {saved}"));
        assert_eq!(read, self.bond);
        self.bond = read;
    }

    fn carry_out(&mut self) {
        let mut actions = 0;
        let mut spoken: BTreeMap<PortId, usize> = BTreeMap::new();
        while let Some(action) = self.bond.poll_action() {
            actions += 1;
            assert!(actions <= ACTIONS, "too much at once: {action:?}");
            match action {
                Action::SetTransmitTable { table, .. } => self.table = table,
                Action::SetCarrier { up, .. } => self.carrier = up,
                Action::SendOnPort { port, frame } => {
                    let read = Header::parse(&frame);
                    let Ok((header, pdu)) = read else {
                        panic!("we sent no frame: {frame:?}");
                    };
                    if header.ether_type == EtherType::SlowProtocols {
                        *spoken.entry(port).or_default() += 1;
                        let good = match Subtype::parse(pdu) {
                            Ok(Subtype::Lacp) => Lacpdu::parse(pdu).is_ok(),
                            Ok(Subtype::Marker) => Marker::parse(pdu).is_ok(),
                            _ => false,
                        };
                        assert!(
                            good && header.destination == slow::GROUP,
                            "we sent {frame:?}"
                        );
                    }
                }
                Action::Event(event) => assert!(!event.to_string().is_empty()),
                _ => {}
            }
        }
        // Three by the protocol's limit, one more that says good-bye.
        assert!(spoken.values().all(|count| *count <= 4), "{spoken:?}");
    }

    fn check(&self) {
        let status = self.bond.status(self.now, &[]);
        assert_eq!(&self.table, self.bond.table());
        assert_eq!(self.carrier, status.carrier);
        let order = &self.table.order;
        for (at, id) in order.iter().enumerate() {
            assert!(!order[..at].contains(id), "{order:?}");
            assert!(status.ports.iter().any(|port| port.id == *id), "{order:?}");
        }
        for port in &status.ports {
            assert!(!port.reason.is_empty());
            let Some(lacp) = &port.lacp else {
                continue;
            };
            assert!(
                lacp.collecting || !lacp.distributing,
                "who sends also delivers: {lacp:?}"
            );
            let carries = port.role == PortRole::Active;
            assert!(
                !carries || order.iter().any(|id| port.id == *id),
                "{port:?}"
            );
            assert_eq!(
                lacp.reason.is_none(),
                lacp.distributing && !lacp.fallback,
                "{lacp:?}"
            );
        }
        assert!(
            self.bond
                .next_timeout()
                .is_none_or(|due| due.as_nanos() > 0)
        );
    }
}
