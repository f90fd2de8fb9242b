//! The transmit table: what the core decides and the data path obeys, packet by packet.
//!
//! The same table serves the eBPF programs (`oxbond-datapath` lays it out for them) and the Rust twin of their
//! decision ([`TransmitTable::decide`]; with all exceptions and rewriting, [`crate::route`]), which the simulator,
//! `explain` and the property tests use. Both must agree on every frame; a test in `oxbond-datapath` runs both.
//!
//! # The decision
//!
//! Two sets of ports, as they are at the moment of the decision (see [`PortStanding`]):
//!
//! - *carrier*: ports that are up and have carrier **now**. The program reads it from the port's `net_device` on every
//!   packet.
//! - *left*: ports that the data path has found without carrier, when it would have used them, since this table became
//!   current. Becoming current empties the set. It keeps a flapping port from being used again before the core says so.
//!
//! A port is *usable* when it is in *carrier* and not in *left*.
//!
//! 1. A frame whose transmit queue is in `queues`: the port of that queue if it is in `order` and usable, else as
//!    without.
//! 2. [`Spread::Failover`], and frames that the bond's [`Exempt`] names: the first usable port of `order`.
//!    [`Spread::Buckets`]: with `bucket = key % now.len()`, the port `now[bucket]` if it is usable, else
//!    [`ranked_choice`] with `home[bucket]` and `spare[bucket]` among the usable ports of `order`.
//!    [`Spread::Broadcast`], and neighbour discovery with `neighbours_to_all`: every usable port of `order`.
//! 3. When no port of `order` is usable: rule 2 again with *left* taken as empty (any carrier is better than none).
//! 4. When no port of `order` has carrier, or the table has no ports: no port. The frame is dropped and counted.
//!
//! With [`Stations`], a frame that leaves on a port whose address is not the bond's gets that port's address as its
//! source, in the Ethernet header alone; what the neighbours are told about addresses is said at [`Stations::clients`].
//!
//! # Receiving
//!
//! [`Receive`] says which ports deliver to the bond. The first port of `order` that has not been left counts as active
//! there without a look at its link: a frame has just come from it. What is not accepted but goes to a link-local group
//! (`01:80:c2:00:00:00` to `0f`) is passed to the port's own stack; the rest is dropped (counted as *inactive*).
//!
//! When the active port changes while the old one still works (a better port returned, the user chose), frames are on
//! their way to the old one until the neighbours have heard the announcement. For [`LINGER`] after such a table became
//! current, `linger` names the old port and frames to one station are accepted there too. Frames to groups are not: the
//! neighbours send those to both ports.

use core::time::Duration;

use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use crate::buckets::ranked_choice;
use crate::option::HashPolicy;
use crate::port::PortId;

/// Most buckets of a table. With n ports the table has the largest multiple of n buckets that fits, so that
/// `(hash % buckets) % n == hash % n`.
pub const MAX_BUCKETS: usize = 1024;

/// Buckets of the modes that balance by load, and of [`Stations::clients`]: as many as the driver has.
pub const BALANCE_BUCKETS: usize = 256;

/// How long the port used before goes on delivering frames to one station. Neighbours learn of the change within
/// milliseconds; a lost announcement costs no more than in the driver.
pub const LINGER: Duration = Duration::from_millis(200);

/// How frames are spread over the ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// One port at a time: active-backup.
    Failover,
    /// Over buckets: balance-rr, balance-xor, 802.3ad, balance-tlb, balance-alb.
    Buckets(Buckets),
    /// Every frame on every port: broadcast.
    Broadcast,
}

/// Which bucket a frame falls into, and which port a bucket is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buckets {
    /// What the bucket is computed from.
    pub key: BucketKey,
    /// Port of each bucket while every port is usable. At most [`MAX_BUCKETS`].
    pub home: Vec<PortId>,
    /// Port of each bucket when its home is not usable. Same length as `home`.
    pub spare: Vec<PortId>,
    /// Port of each bucket now, as far as the core knows. Same length as `home`.
    pub now: Vec<PortId>,
    /// Frames that do not go by bucket.
    pub exempt: Exempt,
    /// Count the bytes of each bucket (and of exempt frames) for [`crate::input::Input::Loads`].
    pub measured: bool,
}

/// The number that `% buckets` is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BucketKey {
    /// The frame's hash under a policy: balance-xor, 802.3ad, balance-tlb.
    Hash(HashPolicy),
    /// Its number among the frames that this processor has sent by number, from 1 on and wrapping at 2^32, divided by
    /// this; a random number if this is 0: balance-rr.
    Sequence {
        /// Option `packets_per_slave`.
        packets_per_port: u16,
    },
    /// All bytes of its destination address in IPv4 or IPv6, XORed: balance-alb.
    Destination,
}

/// Frames that go to the active port (the first usable one of `order`) instead of by bucket: the driver's exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exempt {
    /// None.
    Nothing,
    /// IGMP, so that a switch learns the groups of one port: balance-rr.
    Igmp,
    /// Frames to groups, what is neither IPv4 nor IPv6, neighbour solicitations and advertisements: balance-tlb.
    Unbalanced,
    /// The same, and IPv4 to 255.255.255.255, IGMP, IPv6 to ff02::1 or from `::`. ARP replies and solicited neighbour
    /// advertisements go by [`Stations::clients`], other ARP to the active port: balance-alb.
    Negotiated,
}

/// Which ports deliver what arrives on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receive {
    /// The port that [`Spread::Failover`] would transmit on.
    Active,
    /// Balance-alb. Each port of `order` what comes for its own address ([`Stations`]); the active port the rest, but for
    /// what comes for the address of another port that has carrier: a switch that floods brings that one its own copy.
    ActiveAndOwn,
    /// These.
    Ports(Vec<PortId>),
}

/// Link-layer addresses, in the modes in which every port has its own: balance-tlb, balance-alb.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stations {
    /// The bond's.
    pub bond: MacAddr,
    /// Each port's, in the sequence of `order`. A frame that arrives for one of them, on whichever port, is delivered with
    /// the bond's address as destination.
    pub ports: Vec<MacAddr>,
    /// Only in balance-alb (empty elsewhere): the port on which a client is to reach us, by the XOR of all bytes of the
    /// client's IP address; [`BALANCE_BUCKETS`] of them. An ARP reply to it, and a solicited neighbour advertisement,
    /// leaves on that port with that port's address in place of the bond's, in the Ethernet header and in the message.
    pub clients: Vec<PortId>,
}

/// What the data path passes to the core, or notes for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tap {
    /// Copies of ARP and of neighbour solicitations and advertisements that arrive on any port.
    pub neighbours_received: bool,
    /// Copies of those that the host sends through the bond.
    pub neighbours_sent: bool,
    /// Frames of the slow protocols (LACP, Marker) that arrive on any port. They are not passed on elsewhere.
    pub slow_protocols: bool,
    /// When a frame last arrived on each port.
    pub arrivals: bool,
}

/// One whole table. Written to the data path's spare slot, then made current by flipping one word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransmitTable {
    /// How frames are spread.
    pub spread: Spread,
    /// Every port that may transmit, best first where one is active (the active port, then who follows it), in list
    /// order elsewhere. Without doubles.
    pub order: Vec<PortId>,
    /// Who delivers.
    pub receive: Receive,
    /// Not with [`Receive::Ports`]: the port used before, which still works.
    pub linger: Option<PortId>,
    /// Ports chosen by transmit queue (option `queue_id`).
    pub queues: Vec<(u16, PortId)>,
    /// ARP and neighbour solicitations and advertisements go to every port (option `broadcast_neighbor`).
    pub neighbours_to_all: bool,
    /// Addresses of the ports where they matter.
    pub stations: Option<Stations>,
    /// What the core wants to see.
    pub tap: Tap,
}

/// The ports' links as the one who decides sees them; bit `n` stands for the port with index `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStanding {
    /// Ports that are up and have carrier now.
    pub carrier: u32,
    /// Ports left by the data path since the table became current.
    pub left: u32,
}

impl PortStanding {
    /// In *carrier* and not in *left*.
    pub const fn is_usable(self, port: PortId) -> bool {
        self.carrier & !self.left & port.bit() != 0
    }
}

impl TransmitTable {
    /// A table that uses one port at a time, the first of `order` that works.
    pub const fn failover(order: Vec<PortId>) -> Self {
        Self {
            spread: Spread::Failover,
            order,
            receive: Receive::Active,
            linger: None,
            queues: Vec::new(),
            neighbours_to_all: false,
            stations: None,
            tap: Tap {
                neighbours_received: false,
                neighbours_sent: false,
                slow_protocols: false,
                arrivals: false,
            },
        }
    }

    /// A table in which every port carries its part, and delivers.
    pub fn spread(spread: Spread, order: Vec<PortId>) -> Self {
        Self {
            spread,
            receive: Receive::Ports(order.clone()),
            ..Self::failover(order)
        }
    }

    /// A table that spreads by hash, in equal shares.
    pub fn hashed(policy: HashPolicy, order: Vec<PortId>, usable: impl Fn(PortId) -> bool) -> Self {
        let buckets = Buckets::equal(BucketKey::Hash(policy), &order, usable);
        Self::spread(Spread::Buckets(buckets), order)
    }

    /// The port a frame is transmitted on that goes neither by queue nor by an exception, `None` to drop it (or, in
    /// [`Spread::Broadcast`], the first of those it goes to). Twin of the data path: see the module's text for the
    /// rules. `key` is the number of [`BucketKey`]; it plays no part in [`Spread::Failover`].
    pub fn decide(&self, key: u32, standing: PortStanding) -> Option<PortId> {
        self.decide_once(key, standing).or_else(|| {
            self.decide_once(
                key,
                PortStanding {
                    left: 0,
                    ..standing
                },
            )
        })
    }

    /// Ports that it sends on while all links are there.
    pub fn senders(&self) -> &[PortId] {
        match self.spread {
            Spread::Failover => self.order.get(..1).unwrap_or_default(),
            _ => &self.order,
        }
    }

    /// The active port now: where [`Spread::Failover`] and exempt frames go.
    pub fn active(&self, standing: PortStanding) -> Option<PortId> {
        let first = |left| {
            let standing = PortStanding { left, ..standing };
            self.order
                .iter()
                .copied()
                .find(|port| standing.is_usable(*port))
        };
        first(standing.left).or_else(|| first(0))
    }

    /// Rule 2.
    fn decide_once(&self, key: u32, standing: PortStanding) -> Option<PortId> {
        let usable = |port: PortId| standing.is_usable(port);
        match &self.spread {
            Spread::Failover | Spread::Broadcast => {
                self.order.iter().copied().find(|port| usable(*port))
            }
            Spread::Buckets(Buckets {
                home, spare, now, ..
            }) => {
                let bucket = (key as usize).checked_rem(now.len())?;
                let chosen = now[bucket];
                if usable(chosen) {
                    Some(chosen)
                } else {
                    ranked_choice(bucket, home[bucket], spare[bucket], &self.order, usable)
                }
            }
        }
    }

    /// Whether a frame to a group that arrives on this port is the bond's.
    pub fn accepts(&self, port: PortId, standing: PortStanding) -> bool {
        match &self.receive {
            Receive::Active | Receive::ActiveAndOwn => {
                let not_left = |port: &&PortId| standing.left & port.bit() == 0;
                self.order.iter().find(not_left) == Some(&port)
                    || self.active(standing) == Some(port)
            }
            Receive::Ports(ports) => ports.contains(&port),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ports(count: u8) -> Vec<PortId> {
        (0..count)
            .map(|index| PortId::new(index).unwrap())
            .collect()
    }

    fn mask(ports: impl IntoIterator<Item = PortId>) -> u32 {
        ports.into_iter().fold(0, |mask, port| mask | port.bit())
    }

    fn spread(count: u8, usable: u32) -> TransmitTable {
        TransmitTable::hashed(HashPolicy::Layer34, ports(count), |port| {
            usable & port.bit() != 0
        })
    }

    fn now(table: &TransmitTable) -> &[PortId] {
        match &table.spread {
            Spread::Buckets(buckets) => &buckets.now,
            _ => panic!("not a table of buckets"),
        }
    }

    #[test]
    fn failover_takes_the_first_that_works_and_never_a_left_one_while_another_works() {
        let [a, b, c] = ports(3)[..] else {
            unreachable!()
        };
        let table = TransmitTable::failover(vec![b, a, c]);
        let decide = |carrier: &[PortId], left: &[PortId]| {
            let standing = PortStanding {
                carrier: mask(carrier.iter().copied()),
                left: mask(left.iter().copied()),
            };
            let chosen = table.decide(7, standing);
            for port in [a, b, c] {
                let first = [b, a, c].into_iter().find(|port| !left.contains(port)) == Some(port);
                assert_eq!(table.accepts(port, standing), chosen == Some(port) || first);
            }
            chosen
        };
        assert_eq!(decide(&[a, b, c], &[]), Some(b));
        assert_eq!(decide(&[a, c], &[]), Some(a));
        assert_eq!(decide(&[a, b, c], &[b]), Some(a));
        assert_eq!(decide(&[b, c], &[b]), Some(c));
        assert_eq!(
            decide(&[b], &[b]),
            Some(b),
            "a left port with carrier is better than none"
        );
        assert_eq!(decide(&[], &[]), None);
    }

    #[test]
    fn named_ports_deliver_whoever_is_active() {
        let table = TransmitTable {
            receive: Receive::Ports(ports(2)),
            ..TransmitTable::failover(ports(2))
        };
        for port in ports(2) {
            assert!(table.accepts(port, PortStanding::default()));
        }
        assert!(
            !table.accepts(PortId::new(2).unwrap(), PortStanding::default()),
            "not a port of the bond"
        );
    }

    #[test]
    fn an_empty_table_drops() {
        assert_eq!(
            spread(0, 0).decide(
                5,
                PortStanding {
                    carrier: u32::MAX,
                    left: 0
                }
            ),
            None
        );
        assert_eq!(
            TransmitTable::failover(vec![]).decide(5, PortStanding::default()),
            None
        );
    }

    proptest! {
        #[test]
        fn with_every_port_the_mapping_is_the_drivers(count in 1..=32_u8, hash: u32) {
            let standing = PortStanding { carrier: u32::MAX, left: 0 };
            let chosen = spread(count, u32::MAX).decide(hash, standing).unwrap();
            prop_assert_eq!(chosen.index(), hash as usize % usize::from(count));
        }

        /// The data path alone, with a table that is behind, decides what the core's next table will say.
        #[test]
        fn the_data_path_anticipates_the_next_table(count in 1..=32_u8, hash: u32, before: u32, carrier: u32) {
            // The core saw `before`; only losses since, which is what the data path has to bridge.
            let carrier = before & carrier;
            let standing = PortStanding { carrier, left: 0 };
            let ahead = spread(count, before).decide(hash, standing);
            let behind = spread(count, carrier).decide(hash, standing);
            prop_assert_eq!(ahead, behind);
            let any = mask(ports(count)) & carrier != 0;
            prop_assert_eq!(ahead.is_some(), any);
            prop_assert!(ahead.is_none_or(|port| standing.is_usable(port)));
        }

        /// Whatever comes and goes: a flow moves only off a port that went or onto a port that came.
        #[test]
        fn moves_are_minimal(count in 1..=32_u8, before: u32, after: u32) {
            let all = mask(ports(count));
            let (before, after) = (before & all, after & all);
            prop_assume!(before != 0 && after != 0);
            for (from, to) in now(&spread(count, before)).iter().zip(now(&spread(count, after))) {
                prop_assert!(from == to || after & from.bit() == 0 || before & to.bit() == 0);
            }
        }

        /// A left port is avoided while any other port works, and frames are lost only when no port has carrier.
        #[test]
        fn left_ports_come_last(count in 1..=32_u8, hash: u32, seen: u32, carrier: u32, left: u32) {
            let all = mask(ports(count));
            let standing = PortStanding { carrier, left };
            for table in [spread(count, seen), TransmitTable::failover(ports(count))] {
                match table.decide(hash, standing) {
                    Some(port) => {
                        prop_assert!(carrier & port.bit() != 0);
                        prop_assert!(standing.is_usable(port) || carrier & !left & all == 0);
                    }
                    None => prop_assert_eq!(carrier & all, 0),
                }
            }
        }
    }
}
