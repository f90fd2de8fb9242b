//! What becomes of one frame: the whole of the data path's decision, as a function.
//!
//! The eBPF programs (`bond_tx` and `port_rx` of `oxbond-datapath`) are the twins of [`TransmitTable::route`] and
//! [`TransmitTable::arrive`]; a test there runs both on the same frames. The rules for the choice of ports stand at
//! [`crate::table`]. Added here is what they take for granted: what kind of frame it is, and what is changed in it.
//!
//! # Kinds of frames
//!
//! A frame is looked at as it lies in the packet buffer: the outermost VLAN tag is not in it where the system keeps that
//! in the packet's metadata, as it does wherever a card, a veth or a netkit takes it from there.
//!
//! - *neighbour*: ARP, or a neighbour solicitation or advertisement directly behind an IPv6 header; also behind one or two
//!   VLAN tags in the frame.
//! - The other kinds that [`Exempt`] names (IGMP, IPv4 and IPv6 or not, their special addresses) are those of frames
//!   without a tag in them; with one, a frame is neither IPv4 nor IPv6.
//!
//! # Answers to clients
//!
//! With [`Stations::clients`], an ARP reply or a solicited neighbour advertisement that goes to one station and carries
//! the bond's own address (as sender's address, or in its first target link-layer address option) leaves on the port
//! which that list has for the client, if it is in `order` and usable, else on the active port. The leaving port's
//! address takes the place of the bond's in the message, checksum included. It is an exempt frame. A message that carries
//! another address is that of a guest behind a bridge: it goes as other neighbour frames do, and is not touched but for
//! its Ethernet source.

mod explain;

use oxbond_wire::MacAddr;

pub use self::explain::Explained;
use crate::buckets::ranked_choice;
use crate::hash::hash;
use crate::port::PortId;
use crate::table::{
    BALANCE_BUCKETS, BucketKey, Buckets, Exempt, PortStanding, Receive, Spread, Stations,
    TransmitTable,
};

const ETHERNET: usize = 14;
const TAG: usize = 4;
const IPV6: usize = 40;
const ND_MESSAGE: usize = 24;
/// More options than an advertisement has; behind them none is looked for.
const ND_OPTIONS: usize = 4;

/// A frame that the host sends through the bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// The frame from destination address on.
    pub frame: &'a [u8],
    /// Tag control information of a VLAN tag in the packet's metadata, 0 without one.
    pub tag: u16,
    /// Its transmit queue on the front device.
    pub queue: u16,
    /// For [`BucketKey::Sequence`]: its number on its processor, or the random number if `packets_per_port` is 0.
    pub number: u32,
}

/// What becomes of a frame that the host sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The ports it leaves on, in the sequence of `order`. None: it is dropped. Several: it goes to every port.
    pub ports: Vec<PortId>,
    /// The port that the table names for it, where it names one. If it left on another, it was *moved*.
    pub planned: Option<PortId>,
    /// The frame as it leaves, if anything in it is changed.
    pub changed: Option<Vec<u8>>,
    /// Its bucket; `None` for frames that do not go by bucket, which are measured as exempt.
    pub bucket: Option<usize>,
    /// The core is given a copy of it.
    pub tapped: bool,
    /// The ports that are left because of it, as a set.
    pub left: u32,
}

/// What becomes of a frame that arrives on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Where it goes.
    pub fate: Fate,
    /// The core is given a copy of it.
    pub tapped: bool,
    /// The ports that are left because of it, as a set.
    pub left: u32,
}

/// Where a frame that arrives goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// To the bond; with the frame as it is delivered, if anything in it is changed.
    Delivered(Option<Vec<u8>>),
    /// To the port's own stack.
    Own,
    /// To the core alone.
    Consumed,
    /// Nowhere: the port does not receive for the bond.
    Inactive,
}

/// What matters of a frame's kind.
#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    group: bool,
    not_ip: bool,
    igmp: bool,
    limited_broadcast: bool,
    all_nodes: bool,
    unspecified: bool,
    arp: bool,
    nd: bool,
    /// Offset of what lies behind the Ethernet header and the tags in the frame.
    at: usize,
    /// XOR of all bytes of the destination address in IPv4 or IPv6, else 0.
    destination: u32,
}

impl Kind {
    fn of(frame: &[u8]) -> Self {
        let Some(header) = frame.first_chunk::<ETHERNET>() else {
            return Self {
                not_ip: true,
                at: ETHERNET,
                ..Self::default()
            };
        };
        let mut kind = Self {
            group: header[0] & 1 != 0,
            at: ETHERNET,
            ..Self::default()
        };
        let mut protocol = [header[12], header[13]];
        kind.look_at_ip(protocol, &frame[ETHERNET..]);
        for _ in 0..2 {
            let (0x8100 | 0x88a8) = u16::from_be_bytes(protocol) else {
                break;
            };
            let Some([_, _, behind @ ..]) =
                frame.get(kind.at..).and_then(<[u8]>::first_chunk::<TAG>)
            else {
                break;
            };
            protocol = *behind;
            kind.at += TAG;
        }
        let behind = &frame[kind.at..];
        kind.arp = protocol == [0x08, 0x06];
        kind.nd = protocol == [0x86, 0xdd]
            && behind
                .get(..=IPV6)
                .is_some_and(|ip| ip[6] == 58 && matches!(ip[IPV6], 135 | 136));
        kind
    }

    fn look_at_ip(&mut self, protocol: [u8; 2], packet: &[u8]) {
        match protocol {
            [0x08, 0x00] => {
                if let Some(ip) = packet.first_chunk::<20>() {
                    self.igmp = ip[9] == 2;
                    self.limited_broadcast = ip[16..] == [0xff; 4];
                    self.destination = xor(&ip[16..]);
                }
            }
            [0x86, 0xdd] => {
                if let Some(ip) = packet.first_chunk::<IPV6>() {
                    const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
                    self.unspecified = ip[8..24] == [0; 16];
                    self.all_nodes = ip[24..] == ALL_NODES;
                    self.destination = xor(&ip[24..]);
                }
            }
            _ => self.not_ip = true,
        }
    }

    const fn neighbour(&self) -> bool {
        self.arp || self.nd
    }

    const fn is_exempt(&self, exempt: Exempt) -> bool {
        let unbalanced = self.group || self.not_ip || self.nd;
        match exempt {
            Exempt::Nothing => false,
            Exempt::Igmp => self.igmp,
            Exempt::Unbalanced => unbalanced,
            Exempt::Negotiated => {
                unbalanced
                    || self.igmp
                    || self.limited_broadcast
                    || self.all_nodes
                    || self.unspecified
            }
        }
    }
}

fn xor(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte).into()
}

/// A message that tells a client where the bond is.
struct Answer {
    /// XOR of all bytes of the client's address.
    client: usize,
    /// Offset of the bond's address in it.
    mac_at: usize,
    /// Offset of the checksum that covers it.
    checksum_at: Option<usize>,
}

impl Answer {
    fn find(frame: &[u8], kind: &Kind, bond: MacAddr) -> Option<Self> {
        if kind.group {
            return None;
        }
        if kind.arp {
            let message = frame.get(kind.at..kind.at + 28)?;
            let ours = message[8..14] == bond.octets();
            return (message[..8] == [0, 1, 8, 0, 6, 4, 0, 2] && ours).then(|| Self {
                client: xor(&message[24..]) as usize,
                mac_at: kind.at + 8,
                checksum_at: None,
            });
        }
        if !kind.nd {
            return None;
        }
        let message_at = kind.at + IPV6;
        let message = frame.get(message_at..message_at + ND_MESSAGE)?;
        if message[0] != 136 || message[4] & 0x40 == 0 {
            return None;
        }
        let mut at = message_at + ND_MESSAGE;
        for _ in 0..ND_OPTIONS {
            let option = frame.get(at..at + 8)?;
            match option[..2] {
                [_, 0] => return None,
                [2, length] => {
                    return (length == 1 && option[2..] == bond.octets()).then(|| Self {
                        client: xor(&frame[message_at - 16..message_at]) as usize,
                        mac_at: at + 2,
                        checksum_at: Some(message_at + 2),
                    });
                }
                _ => at += 8 * usize::from(option[1]),
            }
        }
        None
    }

    /// Puts a port's address in place of the bond's.
    fn put(&self, frame: &mut [u8], bond: MacAddr, station: MacAddr) {
        frame[self.mac_at..self.mac_at + 6].copy_from_slice(&station.octets());
        if let Some(at) = self.checksum_at {
            // RFC 1624: the new sum is that of the old one's complement, the old words' complements and the new words.
            let words = |mac: MacAddr, flip: u16| {
                let octets = mac.octets();
                let (pairs, _) = octets.as_chunks::<2>();
                let words = pairs.iter().map(|pair| u16::from_be_bytes(*pair) ^ flip);
                words.map(u32::from).sum::<u32>()
            };
            let old = u16::from_be_bytes([frame[at], frame[at + 1]]);
            let mut sum = u32::from(!old) + words(bond, 0xffff) + words(station, 0);
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            frame[at..at + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
        }
    }
}

/// A choice of port, and the ports that are left in making it.
#[derive(Clone, Copy, Default)]
struct Choice {
    port: Option<PortId>,
    left: u32,
}

impl TransmitTable {
    /// What becomes of a frame that the host sends.
    pub fn route(&self, outgoing: &Outgoing<'_>, standing: PortStanding) -> Route {
        let kind = Kind::of(outgoing.frame);
        let mut route = Route {
            tapped: self.tap.neighbours_sent && kind.neighbour(),
            ..Route::default()
        };
        let queue = self
            .queues
            .iter()
            .find(|(queue, _)| *queue == outgoing.queue);
        if let Some((_, port)) = queue {
            route.take(*port, self.if_usable(*port, standing));
        }
        let mut answer = None;
        if route.ports.is_empty() {
            let standing = PortStanding {
                left: standing.left | route.left,
                ..standing
            };
            if self.spread == Spread::Broadcast || (self.neighbours_to_all && kind.neighbour()) {
                return self.to_all(route, standing);
            }
            let clients = self.stations.as_ref().filter(|s| !s.clients.is_empty());
            answer = clients.and_then(|s| Answer::find(outgoing.frame, &kind, s.bond));
            self.choose(&mut route, outgoing, &kind, answer.as_ref(), standing);
        }
        if let (Some(stations), [port]) = (&self.stations, &route.ports[..]) {
            route.changed = self.leave_from(stations, *port, outgoing.frame, answer.as_ref());
        }
        route
    }

    /// Rule 2, where it names one port.
    fn choose(
        &self,
        route: &mut Route,
        outgoing: &Outgoing<'_>,
        kind: &Kind,
        answer: Option<&Answer>,
        standing: PortStanding,
    ) {
        let mut standing = standing;
        if let (Some(answer), Some(stations)) = (answer, &self.stations) {
            let port = stations.clients[answer.client % BALANCE_BUCKETS];
            route.take(port, self.if_usable(port, standing));
            standing.left |= route.left;
        } else if let Spread::Buckets(buckets) = &self.spread
            && !kind.is_exempt(buckets.exempt)
        {
            let Some(bucket) = buckets.bucket(outgoing, kind) else {
                return;
            };
            route.bucket = Some(bucket);
            route.take(
                buckets.now[bucket],
                self.port_of_bucket(buckets, bucket, standing),
            );
            return;
        }
        if route.ports.is_empty() {
            let planned = route.planned.or_else(|| self.order.first().copied());
            let choice = self.active_port(standing);
            if let Some(planned) = planned {
                route.take(planned, choice);
            }
        }
    }

    /// Every usable port; the dead ones are left, if there is a usable one.
    fn to_all(&self, mut route: Route, standing: PortStanding) -> Route {
        let carrier = standing.carrier & self.members();
        let usable = match carrier & !standing.left {
            0 => carrier,
            usable => usable,
        };
        route.planned = None;
        route.ports = self.order.clone();
        route.ports.retain(|port| usable & port.bit() != 0);
        if usable != 0 {
            route.left |= self.members() & !carrier & !standing.left;
        }
        route
    }

    /// The frame as it leaves on a port, if that changes it.
    fn leave_from(
        &self,
        stations: &Stations,
        port: PortId,
        frame: &[u8],
        answer: Option<&Answer>,
    ) -> Option<Vec<u8>> {
        let station = self.station(stations, port)?;
        if station == stations.bond || frame.len() < ETHERNET {
            return None;
        }
        let mut changed = frame.to_vec();
        if let Some(answer) = answer {
            answer.put(&mut changed, stations.bond, station);
        }
        changed[6..12].copy_from_slice(&station.octets());
        Some(changed)
    }

    /// What becomes of a frame that arrives on a port. `lingering` is the set of the ports that were in use within the
    /// last [`LINGER`](crate::table::LINGER): the table's `linger`, and those that were left so recently.
    pub fn arrive(
        &self,
        port: PortId,
        frame: &[u8],
        standing: PortStanding,
        lingering: u32,
    ) -> Arrival {
        let kind = Kind::of(frame);
        let slow = frame.starts_with(&[0x01, 0x80, 0xc2, 0, 0, 2])
            && frame.get(12..14) == Some(&[0x88, 0x09]);
        if slow && self.tap.slow_protocols {
            return Arrival {
                fate: Fate::Consumed,
                tapped: true,
                left: 0,
            };
        }
        let member = self.members() & port.bit() != 0;
        let (accepted, left) = match &self.receive {
            Receive::Ports(ports) => (ports.contains(&port), 0),
            _ if !member => (false, 0),
            Receive::Active => {
                let (active, left) = self.is_active(port, standing);
                let lingers = (lingering | left) & port.bit() != 0 && !kind.group;
                (active || lingers, left)
            }
            Receive::ActiveAndOwn => match self.owner(frame) {
                Some(owner) if owner == port => (true, 0),
                Some(owner) if standing.carrier & owner.bit() != 0 => (false, 0),
                _ => {
                    let (active, left) = self.is_active(port, standing);
                    let lingers = (lingering | left) & port.bit() != 0 && !kind.group;
                    (active || lingers, left)
                }
            },
        };
        let link_local = matches!(frame, [0x01, 0x80, 0xc2, 0, 0, 0..16, ..]);
        Arrival {
            fate: match (accepted, link_local) {
                (true, _) => Fate::Delivered(self.taken_for_bond(frame)),
                (false, true) => Fate::Own,
                (false, false) => Fate::Inactive,
            },
            tapped: self.tap.neighbours_received && kind.neighbour(),
            left,
        }
    }

    /// The frame with the bond's address as destination, if it came for that of a port. Of any port: when one has died, a
    /// switch sends what is for it to all others, until the neighbours have learnt another address.
    fn taken_for_bond(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let stations = self.stations.as_ref()?;
        let came_for = |station: &MacAddr| frame.starts_with(&station.octets());
        if frame.len() < ETHERNET
            || came_for(&stations.bond)
            || !stations.ports.iter().any(came_for)
        {
            return None;
        }
        let mut changed = frame.to_vec();
        changed[..6].copy_from_slice(&stations.bond.octets());
        Some(changed)
    }

    /// The port with an address of its own that a frame came for.
    fn owner(&self, frame: &[u8]) -> Option<PortId> {
        let stations = self.stations.as_ref()?;
        let mut ports = self.order.iter().zip(&stations.ports);
        let (owner, _) = ports.find(|(_, station)| {
            **station != stations.bond
                && station.is_unicast()
                && frame.len() >= ETHERNET
                && frame.starts_with(&station.octets())
        })?;
        Some(*owner)
    }

    /// Whether the port is active on receipt, and the ports that are left in finding out.
    fn is_active(&self, port: PortId, standing: PortStanding) -> (bool, u32) {
        let first = self
            .order
            .iter()
            .find(|port| standing.left & port.bit() == 0);
        match first {
            Some(first) if *first == port => (true, 0),
            Some(first) if standing.carrier & first.bit() != 0 => (false, 0),
            _ => {
                let choice = self.active_port(standing);
                (choice.port == Some(port), choice.left)
            }
        }
    }

    fn active_port(&self, standing: PortStanding) -> Choice {
        let Some(port) = self.active(standing) else {
            return Choice::default();
        };
        let dead = |port: &&PortId| (standing.carrier | standing.left) & port.bit() == 0;
        let best = self.order.iter();
        // With none usable, every port was looked at.
        let passed = best.take_while(|other| !standing.is_usable(port) || **other != port);
        Choice {
            port: Some(port),
            left: set_of(passed.filter(dead)),
        }
    }

    fn port_of_bucket(&self, buckets: &Buckets, bucket: usize, standing: PortStanding) -> Choice {
        let Choice { port, left } = self.if_usable(buckets.now[bucket], standing);
        let ranked = |left| {
            let standing = PortStanding { left, ..standing };
            let usable = |port: PortId| standing.is_usable(port);
            let now = buckets.now[bucket];
            if usable(now) {
                return Some(now);
            }
            ranked_choice(
                bucket,
                buckets.home[bucket],
                buckets.spare[bucket],
                &self.order,
                usable,
            )
        };
        Choice {
            port: port.or_else(|| ranked(standing.left)).or_else(|| ranked(0)),
            left,
        }
    }

    /// A port if it is in the order and usable. If it is dead, and another port of the order is not, it is left.
    fn if_usable(&self, port: PortId, standing: PortStanding) -> Choice {
        let bit = port.bit() & self.members() & !standing.left;
        if bit & standing.carrier != 0 {
            return Choice {
                port: Some(port),
                left: 0,
            };
        }
        let another = standing.carrier & self.members() != 0;
        Choice {
            port: None,
            left: if another { bit } else { 0 },
        }
    }

    fn members(&self) -> u32 {
        set_of(&self.order)
    }

    fn station(&self, stations: &Stations, port: PortId) -> Option<MacAddr> {
        let place = self.order.iter().position(|other| *other == port)?;
        stations.ports.get(place).copied()
    }
}

impl Buckets {
    /// The bucket of a frame; `None` when there are none.
    fn bucket(&self, outgoing: &Outgoing<'_>, kind: &Kind) -> Option<usize> {
        let key = match self.key {
            BucketKey::Hash(policy) => hash(policy, outgoing.frame, outgoing.tag),
            BucketKey::Sequence { packets_per_port } => {
                let each = u32::from(packets_per_port).max(1);
                outgoing.number / each
            }
            BucketKey::Destination => kind.destination,
        };
        (key as usize).checked_rem(self.now.len())
    }
}

impl Route {
    /// Follows a choice made for what the table names.
    fn take(&mut self, planned: PortId, choice: Choice) {
        self.planned = Some(planned);
        self.ports.extend(choice.port);
        self.left |= choice.left;
    }
}

fn set_of<'a>(ports: impl IntoIterator<Item = &'a PortId>) -> u32 {
    ports.into_iter().fold(0, |set, port| set | port.bit())
}
