//! Who reaches us on which port: the receive half of balance-alb, for IPv4 by ARP and for IPv6 by neighbour
//! advertisements (which the driver lacks).
//!
//! A neighbour (client) sends to the link-layer address it believes to be that of our IP address. The transmit table
//! ([`crate::table::Stations::clients`]) says on which port each client is to reach us; the data path puts that port's
//! address into the answers the host gives. Here is what the data path cannot do: remember who the clients are and what
//! they believe, and teach those that believe something else.
//!
//! | a message | what follows for the client's belief |
//! |---|---|
//! | the client asks for our address | none; the answer comes from the host |
//! | the host answers it | what the table says (see [`DOUBT`]) |
//! | the host asks for the client's address, or announces ours to all | the bond's own address |
//! | a client that was not known answers the host | the bond's own address, which was in the question |
//! | we teach the client | what the table says |
//!
//! Teaching is an ARP reply, or an unsolicited neighbour advertisement that overrides, to the client alone, twice
//! ([`BURST`]). Driver's timing: at once when the client's port was lost or its address changed, with three
//! repetitions every [`PAUSE`]; [`PAUSE`] after a question of ours, and no more often. At most [`CROWD`] clients are
//! taught at a time, the next [`BREATH`] later; and a client whose port changes again is taught again no earlier than
//! [`BREATH`] later (the driver lets it wait for [`PAUSE`], and its frames are lost).
//!
//! Messages that are not between a client and an address of the host are none of our business: a guest bridged to the
//! bond has its own.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;

use oxbond_wire::MacAddr;
use oxbond_wire::arp::{Arp, Operation};
use oxbond_wire::ethernet::{EtherType, Header};
use oxbond_wire::ndp::{NeighbourAdvertisement, NeighbourSolicitation};
use serde::{Deserialize, Serialize};

use crate::balance::{Capacity, candidates};
use crate::input::Announced;
use crate::port::PortId;
use crate::share::{Share, level};
use crate::table::BALANCE_BUCKETS;
use crate::time::Instant;

/// Most clients that are remembered; whoever was silent longest makes room. One that was forgotten is not taught, and
/// asks by itself when its cache has aged.
const MOST: usize = 1024;

/// Frames to a client each time it is taught: one may be lost.
const BURST: usize = 2;

/// Times a client is taught after its port or the port's address changed; the driver repeats three times.
const ROUNDS: u8 = 4;

/// Between two rounds, and between a question of ours and the correction of what clients learn from it.
const PAUSE: Duration = Duration::from_secs(2);

/// Most clients taught at a time.
const CROWD: usize = 128;

/// An answer of the host that is heard of so soon after a change may have been given before it, with what was right
/// then: the client is taught to be sure.
const DOUBT: Duration = Duration::from_secs(1);

/// Time between crowds.
const BREATH: Duration = Duration::from_millis(100);

/// The host's side of a conversation.
pub(crate) struct Host<'a> {
    /// The bond's address.
    pub(crate) mac: MacAddr,
    /// Each port's.
    pub(crate) ports: Vec<(PortId, MacAddr)>,
    /// IP addresses of the front device and of what stands on it.
    pub(crate) addresses: &'a [Announced],
}

/// The clients and their ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clients {
    /// Port by the XOR of a client's address; [`BALANCE_BUCKETS`] of them, none without ports.
    ports: Vec<PortId>,
    /// The ports they were dealt to.
    dealt: Vec<Capacity>,
    /// When where clients are to reach us changed last.
    changed: Option<Instant>,
    /// Whoever was heard of last stands last.
    known: VecDeque<Client>,
}

/// Two addresses that talk to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Client {
    ours: IpAddr,
    theirs: IpAddr,
    /// Ids of the VLANs they talk in, outermost first.
    vlans: Vec<u16>,
    /// Where the client is.
    mac: MacAddr,
    /// Where it believes us to be, as far as we know.
    believes: Option<MacAddr>,
    /// Times it is still to be taught.
    lessons: u8,
    /// When it is taught next; without meaning when no lesson is left.
    next: Instant,
    /// When it was taught last.
    taught: Option<Instant>,
}

impl Host<'_> {
    /// The host's own, at the bond's own link-layer address.
    fn own(&self, ip: IpAddr, vlans: &[u16]) -> Option<&Announced> {
        self.addresses.iter().find(|announced| {
            announced.address == ip && announced.vlans == vlans && announced.mac == self.mac
        })
    }

    fn is_station(&self, mac: MacAddr) -> bool {
        mac == self.mac || self.ports.iter().any(|(_, port)| *port == mac)
    }
}

impl Clients {
    /// Port by the XOR of a client's address.
    pub(crate) fn ports(&self) -> &[PortId] {
        &self.ports
    }

    /// Deals the clients to the usable ports in proportion to speed, moving the fewest: a lost port's go to the others,
    /// one that returns gets its share.
    pub(crate) fn place(&mut self, ports: &[Capacity]) {
        let ports = candidates(ports);
        let Some(first) = ports.first() else {
            *self = Self::default();
            return;
        };
        if ports == self.dealt {
            return;
        }
        if self.ports.is_empty() {
            self.ports = vec![first.port; BALANCE_BUCKETS];
        }
        let shares: Vec<Share> = ports.iter().map(|port| port.share()).collect();
        level(&mut self.ports, |_| true, &shares);
        self.dealt = ports;
    }

    /// Forgets clients of addresses that are no longer the host's.
    pub(crate) fn addresses_changed(&mut self, host: &Host<'_>) {
        self.known
            .retain(|client| host.own(client.ours, &client.vlans).is_some());
    }

    /// A frame has arrived.
    pub(crate) fn received(&mut self, now: Instant, host: &Host<'_>, frame: &[u8]) {
        let Some(message) = Message::read(frame) else {
            return;
        };
        let Message {
            vlans, sender, mac, ..
        } = &message;
        if host.is_station(*mac) || !mac.is_unicast() || sender.is_unspecified() {
            return;
        }
        if host.own(*sender, vlans).is_some() {
            // Another station has the address, perhaps rightly so: what its clients believe is not ours to say.
            self.known
                .retain(|client| client.ours != *sender || client.vlans != *vlans);
            return;
        }
        let moved = self.known.iter_mut().filter(|client| {
            client.theirs == *sender && client.vlans == *vlans && client.mac != *mac
        });
        for client in moved {
            client.mac = *mac;
            client.believes = None;
            client.teach(now, PAUSE, 1);
        }
        if host.own(message.peer, vlans).is_none() {
            return;
        }
        let asked = message.kind == Kind::Question;
        let client = self.acquaint(message.peer, *sender, *mac, vlans);
        if !asked && client.believes.is_none() {
            client.believes = Some(host.mac);
        }
        self.correct(now, host, PAUSE, 1);
    }

    /// The host has sent a frame.
    pub(crate) fn sent(&mut self, now: Instant, host: &Host<'_>, frame: &[u8]) {
        let Some(message) = Message::read(frame) else {
            return;
        };
        let Message {
            vlans, sender, mac, ..
        } = &message;
        if *mac != host.mac || host.own(*sender, vlans).is_none() {
            return;
        }
        match message.kind {
            Kind::Answer if message.destination.is_unicast() && message.peer != *sender => {
                let told = host.reach(&self.ports, message.peer);
                let doubtful = self.changed.is_some_and(|changed| now < changed + DOUBT);
                let client = self.acquaint(*sender, message.peer, message.destination, vlans);
                client.believes = told.map(|(_, mac)| mac);
                if doubtful {
                    client.teach(now, Duration::ZERO, 1);
                }
            }
            kind => {
                // Everybody hears a broadcast, and what goes to all nodes; a solicitation is heard by who is asked.
                let all = match sender {
                    IpAddr::V4(_) => message.destination.is_multicast(),
                    IpAddr::V6(_) => kind != Kind::Question,
                };
                let of = |client: &&mut Client| client.ours == *sender && client.vlans == *vlans;
                for client in self.known.iter_mut().filter(of) {
                    if all || client.theirs == message.peer {
                        client.believes = Some(host.mac);
                    }
                }
            }
        }
        self.correct(now, host, PAUSE, 1);
    }

    /// Ports or addresses have changed: those who believe the wrong thing are taught at once, and again.
    pub(crate) fn stations_changed(&mut self, now: Instant, host: &Host<'_>) {
        self.changed = Some(now);
        self.correct(now, host, Duration::ZERO, ROUNDS);
    }

    /// What is due to be sent, and on which port.
    pub(crate) fn lessons(&mut self, now: Instant, host: &Host<'_>) -> Vec<(PortId, Vec<u8>)> {
        let mut frames = Vec::new();
        let due = |client: &&mut Client| client.lessons > 0 && client.next <= now;
        for (at, client) in self.known.iter_mut().filter(due).enumerate() {
            if at >= CROWD {
                client.next = now + BREATH;
                continue;
            }
            client.lessons -= 1;
            client.next = now + PAUSE;
            client.taught = Some(now);
            if let Some((port, mac)) = host.reach(&self.ports, client.theirs)
                && let Some(frame) = client.lesson(host, mac)
            {
                client.believes = Some(mac);
                frames.extend(core::iter::repeat_n((port, frame), BURST));
            }
        }
        frames
    }

    /// When [`Clients::lessons`] has something.
    pub(crate) fn due(&self) -> Option<Instant> {
        let due = self.known.iter().filter(|client| client.lessons > 0);
        due.map(|client| client.next).min()
    }

    /// Whoever is known to believe the wrong thing is taught, first after `delay`.
    fn correct(&mut self, now: Instant, host: &Host<'_>, delay: Duration, lessons: u8) {
        for client in &mut self.known {
            let right = host.reach(&self.ports, client.theirs);
            if let (Some(believed), Some((_, right))) = (client.believes, right)
                && believed != right
            {
                client.teach(now, delay, lessons);
            }
        }
    }

    /// The client, now the last in the list.
    fn acquaint(
        &mut self,
        ours: IpAddr,
        theirs: IpAddr,
        mac: MacAddr,
        vlans: &[u16],
    ) -> &mut Client {
        let is_it = |client: &Client| {
            client.theirs == theirs && client.ours == ours && client.vlans == vlans
        };
        let known = self.known.iter().position(is_it);
        let client = match known.and_then(|at| self.known.remove(at)) {
            Some(client) => Client { mac, ..client },
            None => Client {
                ours,
                theirs,
                vlans: vlans.to_vec(),
                mac,
                believes: None,
                lessons: 0,
                next: Instant::ZERO,
                taught: None,
            },
        };
        if self.known.len() >= MOST {
            self.known.pop_front();
        }
        self.known.push_back(client);
        let last = self.known.len() - 1;
        &mut self.known[last]
    }
}

impl Client {
    /// So many lessons from now on, the first after `delay` and not too soon after the last one.
    fn teach(&mut self, now: Instant, delay: Duration, lessons: u8) {
        let apart = delay.max(BREATH);
        let rested = self.taught.map_or(Instant::ZERO, |taught| taught + apart);
        let at = rested.max(now + delay);
        self.next = if self.lessons > 0 {
            self.next.min(at)
        } else {
            at
        };
        self.lessons = self.lessons.max(lessons);
    }

    /// The frame that tells the client where we are.
    fn lesson(&self, host: &Host<'_>, mac: MacAddr) -> Option<Vec<u8>> {
        let announced = host.own(self.ours, &self.vlans)?;
        match (self.ours, self.theirs) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let reply = Arp {
                    operation: Operation::Reply,
                    sender_mac: mac,
                    sender_ip: ours,
                    target_mac: self.mac,
                    target_ip: theirs,
                };
                Some(reply.frame(self.mac, &self.vlans))
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let advertisement = NeighbourAdvertisement {
                    destination: theirs,
                    ..NeighbourAdvertisement::unsolicited(mac, ours, announced.router)
                };
                Some(advertisement.frame(self.mac, mac, &self.vlans))
            }
            _ => None,
        }
    }
}

impl Host<'_> {
    /// The port on which a client is to reach us, and its address.
    fn reach(&self, ports: &[PortId], client: IpAddr) -> Option<(PortId, MacAddr)> {
        let bucket = match client {
            IpAddr::V4(ip) => xor(&ip.octets()),
            IpAddr::V6(ip) => xor(&ip.octets()),
        };
        let port = ports.get(usize::from(bucket))?;
        self.ports.iter().find(|(id, _)| id == port).copied()
    }
}

fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |xor, byte| xor ^ byte)
}

/// Asking where somebody is, or saying where one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// ARP request, neighbour solicitation.
    Question,
    /// ARP reply, neighbour advertisement.
    Answer,
}

/// What ARP and neighbour discovery say alike.
#[derive(Debug)]
struct Message {
    vlans: Vec<u16>,
    /// Of the frame.
    destination: MacAddr,
    kind: Kind,
    /// Whose place is told: who asks, or who answers.
    sender: IpAddr,
    /// Its place.
    mac: MacAddr,
    /// Who is asked for, or answered.
    peer: IpAddr,
}

impl Message {
    fn read(frame: &[u8]) -> Option<Self> {
        let (header, payload) = Header::parse(frame).ok()?;
        let (kind, sender, mac, peer) = match header.ether_type {
            EtherType::Arp => {
                let arp = Arp::parse(payload).ok()?;
                let kind = match arp.operation {
                    Operation::Request => Kind::Question,
                    Operation::Reply => Kind::Answer,
                    Operation::Unknown(_) => return None,
                };
                let (sender, peer) = (arp.sender_ip.into(), arp.target_ip.into());
                (kind, sender, arp.sender_mac, peer)
            }
            EtherType::Ipv6 => {
                let solicitation = NeighbourSolicitation::parse(payload);
                match (solicitation, NeighbourAdvertisement::parse(payload)) {
                    (Ok(asked), _) => {
                        let mac = asked.source_mac.unwrap_or(header.source);
                        (
                            Kind::Question,
                            asked.source.into(),
                            mac,
                            asked.target.into(),
                        )
                    }
                    (_, Ok(told)) => {
                        let mac = told.target_mac.unwrap_or(header.source);
                        (
                            Kind::Answer,
                            told.target.into(),
                            mac,
                            told.destination.into(),
                        )
                    }
                    _ => return None,
                }
            }
            _ => return None,
        };
        let ids = header.tags.iter().map(|tag| tag.id());
        Some(Self {
            // Id 0 is no VLAN but a priority.
            vlans: ids.filter(|id| *id != 0).collect(),
            destination: header.destination,
            kind,
            sender,
            mac,
            peer,
        })
    }
}
