//! What the eBPF programs and the daemon share through maps: the Rust mirror of `bpf/abi.h`.
//!
//! A test compares every size and offset with a table that the C compiler wrote into the object. Whoever changes
//! either side raises [`ABI_VERSION`]: a daemon adopts a running data path only if the versions agree.

use std::{ptr, slice};

use oxbond_core::input::TAPPED_LEN;
use oxbond_core::option::HashPolicy;
use oxbond_core::port::{MAX_PORTS, PortId};
use oxbond_core::standing::StandingAnswer;
use oxbond_core::table::{
    BALANCE_BUCKETS, BucketKey, Buckets, Exempt, MAX_BUCKETS, Receive, Spread, Stations, Tap,
    TransmitTable,
};
use oxbond_wire::MacAddr;

/// First word of the `abi` map.
pub(crate) const ABI_MAGIC: u32 = 0x6f78_626e;
/// Version of everything in this module.
pub(crate) const ABI_VERSION: u32 = 4;

/// Bytes of a standing answer.
pub(crate) const STANDING_LEN: usize = 124;

/// `table.kind`, low bits.
pub(crate) const SPREAD_FAILOVER: u32 = 0;
pub(crate) const SPREAD_HASH: u32 = 1;
pub(crate) const SPREAD_SEQUENCE: u32 = 2;
pub(crate) const SPREAD_DESTINATION: u32 = 3;
pub(crate) const SPREAD_BROADCAST: u32 = 4;
pub(crate) const SPREAD_MASK: u32 = 7;
/// `table.kind`, flags.
pub(crate) const TX_CLASSES: u32 = 0x10;
pub(crate) const TX_QUEUES: u32 = 0x20;
pub(crate) const TX_NEIGHBOURS_TO_ALL: u32 = 0x40;
pub(crate) const TX_STATIONS: u32 = 0x80;
pub(crate) const TX_CLIENTS: u32 = 0x100;
pub(crate) const TX_MEASURED: u32 = 0x200;
pub(crate) const TX_TAP_NEIGHBOURS: u32 = 0x400;

/// `table.receive`, low bits.
pub(crate) const RECEIVE_ACTIVE: u32 = 0;
pub(crate) const RECEIVE_ACTIVE_AND_OWN: u32 = 1;
pub(crate) const RECEIVE_PORTS: u32 = 2;
pub(crate) const RECEIVE_MASK: u32 = 3;
/// `table.receive`, flags.
pub(crate) const RX_TAP_NEIGHBOURS: u32 = 0x10;
pub(crate) const RX_TAP_SLOW: u32 = 0x20;
pub(crate) const RX_ARRIVALS: u32 = 0x40;
pub(crate) const RX_STATIONS: u32 = 0x80;

/// `table.exempt`.
pub(crate) const CLASS_GROUP: u32 = 0x1;
pub(crate) const CLASS_NOT_IP: u32 = 0x2;
pub(crate) const CLASS_IGMP: u32 = 0x4;
pub(crate) const CLASS_LIMITED: u32 = 0x8;
pub(crate) const CLASS_ALL_NODES: u32 = 0x10;
pub(crate) const CLASS_UNSPECIFIED: u32 = 0x20;
#[cfg(test)]
pub(crate) const CLASS_ARP: u32 = 0x40;
pub(crate) const CLASS_ND: u32 = 0x80;
const EXEMPT_UNBALANCED: u32 = CLASS_GROUP | CLASS_NOT_IP | CLASS_ND;
const EXEMPT_NEGOTIATED: u32 =
    EXEMPT_UNBALANCED | CLASS_IGMP | CLASS_LIMITED | CLASS_ALL_NODES | CLASS_UNSPECIFIED;

/// `tapped.port`: sent by the host.
pub(crate) const FROM_HOST: u32 = u32::MAX;

/// Length of `hints.ports`.
pub(crate) const HINTS: usize = 256;

/// `port.flags`: the receive program hangs on clsact, not tcx.
pub(crate) const HOOK_CLSACT: u32 = 1;
/// `port.flags`: we made the clsact qdisc.
pub(crate) const QDISC_OURS: u32 = 2;
/// `port.flags`: the port is another bond's, which speaks LACP on it.
pub(crate) const PORT_LENT: u32 = 8;

/// `left_record.reason`.
pub(crate) const LEFT_NO_CARRIER: u32 = 1;
pub(crate) const LEFT_DOWN: u32 = 2;
pub(crate) const LEFT_GONE: u32 = 3;

/// A type that may be copied to and from a map value byte by byte.
///
/// # Safety
///
/// `repr(C)`, no padding, every bit pattern valid.
pub(crate) unsafe trait Plain: Copy {}

/// One slot of the transmit table: `struct table`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Table {
    pub(crate) kind: u32,
    pub(crate) receive: u32,
    pub(crate) policy: u32,
    pub(crate) exempt: u32,
    pub(crate) order_len: u32,
    pub(crate) bucket_len: u32,
    pub(crate) queue_len: u32,
    pub(crate) members: u32,
    pub(crate) receivers: u32,
    pub(crate) foreign: u32,
    pub(crate) left: u32,
    pub(crate) linger: u32,
    pub(crate) queues: [u16; MAX_PORTS],
    pub(crate) queue_ports: [u8; MAX_PORTS],
    pub(crate) order: [u8; MAX_PORTS],
    pub(crate) place: [u8; MAX_PORTS],
    pub(crate) bond: [u8; 8],
    pub(crate) stations: [[u8; 8]; MAX_PORTS],
    pub(crate) clients: [u8; BALANCE_BUCKETS],
    pub(crate) home: [u8; MAX_BUCKETS],
    pub(crate) spare: [u8; MAX_BUCKETS],
    pub(crate) now: [u8; MAX_BUCKETS],
    pub(crate) linger_until: u64,
    pub(crate) left_until: u64,
}

/// One port: `struct port`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Port {
    pub(crate) netdev: u64,
    pub(crate) ifindex: u32,
    pub(crate) flags: u32,
}

/// Counters of one port on one CPU: `struct port_counters`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct RawPortCounters {
    pub(crate) tx_packets: u64,
    pub(crate) tx_bytes: u64,
    pub(crate) rx_packets: u64,
    pub(crate) rx_bytes: u64,
    pub(crate) rx_inactive: u64,
    pub(crate) tx_moved: u64,
    pub(crate) lacp_answered: u64,
}

/// Counters of the bond on one CPU: `struct bond_counters`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct RawBondCounters {
    pub(crate) tx_no_port: u64,
    pub(crate) ports_left: u64,
    pub(crate) sequence: u64,
}

/// Bytes by bucket on one CPU: `struct loads`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct RawLoads {
    pub(crate) buckets: [u64; BALANCE_BUCKETS],
    pub(crate) exempt: u64,
}

/// Times of the last frames on one CPU: `struct arrivals`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct RawArrivals {
    pub(crate) any: u64,
    pub(crate) neighbour: u64,
    pub(crate) tick: u64,
}

/// What a port's partner of LACP is answered in the daemon's place: `struct standing`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Standing {
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) answered: u64,
    pub(crate) frame: [u8; STANDING_LEN + 4],
}

/// Where to look for a port first: `struct hints`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Hints {
    pub(crate) ports: [u8; HINTS],
}

/// The daemon's mark on the maps: `struct abi`. Written last by an installation, so its presence means completeness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Abi {
    pub(crate) magic: u32,
    pub(crate) version: u32,
    pub(crate) table_size: u32,
    pub(crate) port_size: u32,
    pub(crate) front_kind: u32,
    pub(crate) bond_ifindex: u32,
    pub(crate) inner_ifindex: u32,
    pub(crate) front_flags: u32,
}

/// A port left, in its ring buffer: `struct left_record`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct RawLeftRecord {
    pub(crate) time_ns: u64,
    pub(crate) port: u32,
    pub(crate) reason: u32,
}

/// A tapped frame in its ring buffer: `struct tapped`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct RawTapped {
    pub(crate) time_ns: u64,
    pub(crate) port: u32,
    pub(crate) len: u32,
    pub(crate) frame: [u8; TAPPED_LEN],
}

// SAFETY: repr(C), integers and byte arrays only; the layout test shows that no padding lies between them.
unsafe impl Plain for Table {}
// SAFETY: as above.
unsafe impl Plain for Port {}
// SAFETY: as above.
unsafe impl Plain for RawPortCounters {}
// SAFETY: as above.
unsafe impl Plain for RawBondCounters {}
// SAFETY: as above.
unsafe impl Plain for Abi {}
// SAFETY: as above.
unsafe impl Plain for RawLeftRecord {}
// SAFETY: as above.
unsafe impl Plain for RawLoads {}
// SAFETY: as above.
unsafe impl Plain for RawArrivals {}
// SAFETY: as above.
unsafe impl Plain for Standing {}
// SAFETY: as above.
unsafe impl Plain for Hints {}
// SAFETY: as above.
unsafe impl Plain for RawTapped {}
// SAFETY: an integer.
unsafe impl Plain for u32 {}

impl RawLoads {
    /// Nothing sent.
    pub(crate) const NONE: Self = Self {
        buckets: [0; BALANCE_BUCKETS],
        exempt: 0,
    };
}

impl Standing {
    /// Nothing is answered.
    pub(crate) const NONE: Self = Self {
        from: 0,
        until: 0,
        answered: 0,
        frame: [0; STANDING_LEN + 4],
    };

    /// `Err` says what the programs cannot do with it.
    pub(crate) fn new(answer: &StandingAnswer) -> Result<Self, &'static str> {
        let mut raw = Self {
            from: answer.from.as_nanos(),
            until: answer.until.as_nanos(),
            ..Self::NONE
        };
        if answer.frame.len() != STANDING_LEN {
            return Err("the answer has not the length of a LACPDU");
        }
        raw.frame[..STANDING_LEN].copy_from_slice(&answer.frame);
        Ok(raw)
    }
}

impl Table {
    /// No port at all: everything is dropped. What a fresh map holds.
    pub(crate) const EMPTY: Self = Self {
        kind: SPREAD_FAILOVER,
        receive: RECEIVE_ACTIVE,
        policy: 0,
        exempt: 0,
        order_len: 0,
        bucket_len: 0,
        queue_len: 0,
        members: 0,
        receivers: 0,
        foreign: 0,
        left: 0,
        linger: 0,
        queues: [0; MAX_PORTS],
        queue_ports: [0; MAX_PORTS],
        order: [0; MAX_PORTS],
        place: [0; MAX_PORTS],
        bond: [0; 8],
        stations: [[0; 8]; MAX_PORTS],
        clients: [0; BALANCE_BUCKETS],
        home: [0; MAX_BUCKETS],
        spare: [0; MAX_BUCKETS],
        now: [0; MAX_BUCKETS],
        linger_until: 0,
        left_until: 0,
    };

    /// Lays a table out for the programs, with no port left. `Err` says what the programs cannot do with it.
    pub(crate) fn new(table: &TransmitTable) -> Result<Self, &'static str> {
        let mut raw = Self::EMPTY;
        fill(&mut raw.order, &table.order).ok_or("more ports than a bond can have")?;
        raw.order_len = table.order.len() as u32;
        for (place, port) in table.order.iter().enumerate() {
            raw.place[port.index()] = place as u8;
        }
        raw.members = set_of(&table.order);
        if raw.members.count_ones() != raw.order_len {
            return Err("a port stands twice in the order");
        }
        if let Some(port) = table.linger {
            raw.linger = port.bit();
        }
        raw.set_spread(&table.spread)?;
        raw.set_receive(&table.receive);
        raw.set_queues(&table.queues)?;
        if let Some(stations) = &table.stations {
            if table.spread == Spread::Broadcast || table.neighbours_to_all {
                return Err("copies of a frame cannot have a source address each");
            }
            raw.set_stations(&table.order, stations)?;
        }
        if table.neighbours_to_all {
            raw.kind |= TX_NEIGHBOURS_TO_ALL | TX_CLASSES;
        }
        raw.set_tap(table.tap);
        Ok(raw)
    }

    fn set_spread(&mut self, spread: &Spread) -> Result<(), &'static str> {
        let buckets = match spread {
            Spread::Failover => return Ok(()),
            Spread::Broadcast => {
                self.kind = SPREAD_BROADCAST;
                return Ok(());
            }
            Spread::Buckets(buckets) => buckets,
        };
        let Buckets {
            key,
            home,
            spare,
            now,
            exempt,
            measured,
        } = buckets;
        match key {
            BucketKey::Hash(policy) => {
                self.kind = SPREAD_HASH;
                self.policy = policy_code(*policy);
            }
            BucketKey::Sequence { packets_per_port } => {
                self.kind = SPREAD_SEQUENCE;
                self.policy = u32::from(*packets_per_port);
            }
            BucketKey::Destination => self.kind = SPREAD_DESTINATION | TX_CLASSES,
        }
        self.exempt = match exempt {
            Exempt::Nothing => 0,
            Exempt::Igmp => CLASS_IGMP,
            Exempt::Unbalanced => EXEMPT_UNBALANCED,
            Exempt::Negotiated => EXEMPT_NEGOTIATED,
        };
        if self.exempt != 0 {
            self.kind |= TX_CLASSES;
        }
        if *measured {
            if home.len() > BALANCE_BUCKETS {
                return Err("more buckets than can be measured");
            }
            self.kind |= TX_MEASURED;
        }
        if home.len() != now.len() || home.len() != spare.len() {
            return Err("`home`, `spare` and `now` differ in length");
        }
        for (array, list) in [
            (&mut self.home, home),
            (&mut self.spare, spare),
            (&mut self.now, now),
        ] {
            fill(array, list).ok_or("too many buckets")?;
            if set_of(list) & !self.members != 0 {
                return Err("a bucket names a port outside the order");
            }
        }
        self.bucket_len = home.len() as u32;
        Ok(())
    }

    fn set_receive(&mut self, receive: &Receive) {
        self.receive |= match receive {
            Receive::Active => RECEIVE_ACTIVE,
            Receive::ActiveAndOwn => RECEIVE_ACTIVE_AND_OWN,
            Receive::Ports(ports) => {
                self.receivers = set_of(ports);
                RECEIVE_PORTS
            }
        };
    }

    fn set_queues(&mut self, queues: &[(u16, PortId)]) -> Result<(), &'static str> {
        if queues.len() > MAX_PORTS {
            return Err("more queues than a bond can have ports");
        }
        for (place, (queue, port)) in queues.iter().enumerate() {
            self.queues[place] = *queue;
            self.queue_ports[place] = port.index() as u8;
        }
        self.queue_len = queues.len() as u32;
        if self.queue_len != 0 {
            self.kind |= TX_QUEUES;
        }
        Ok(())
    }

    fn set_stations(&mut self, order: &[PortId], stations: &Stations) -> Result<(), &'static str> {
        if stations.ports.len() != order.len() {
            return Err("a port's address is missing");
        }
        self.kind |= TX_STATIONS;
        self.receive |= RX_STATIONS;
        self.bond = padded(stations.bond);
        for (port, mac) in order.iter().zip(&stations.ports) {
            self.stations[port.index()] = padded(*mac);
            if *mac != stations.bond {
                self.foreign |= port.bit();
            }
        }
        if !stations.clients.is_empty() {
            if stations.clients.len() != BALANCE_BUCKETS {
                return Err("the clients' ports are not as many as they must be");
            }
            fill(&mut self.clients, &stations.clients).ok_or("too many clients' ports")?;
            self.kind |= TX_CLIENTS | TX_CLASSES;
        }
        Ok(())
    }

    fn set_tap(&mut self, tap: Tap) {
        if tap.neighbours_sent {
            self.kind |= TX_TAP_NEIGHBOURS | TX_CLASSES;
        }
        for (wanted, flag) in [
            (tap.neighbours_received, RX_TAP_NEIGHBOURS),
            (tap.slow_protocols, RX_TAP_SLOW),
            (tap.arrivals, RX_ARRIVALS),
        ] {
            if wanted {
                self.receive |= flag;
            }
        }
    }

    /// The table as the core knows it. `None` for contents that [`Table::new`] never writes.
    pub(crate) fn to_transmit_table(self) -> Option<TransmitTable> {
        let order = ports(self.order.get(..self.order_len as usize)?)?;
        let receive = match self.receive & RECEIVE_MASK {
            RECEIVE_ACTIVE => Receive::Active,
            RECEIVE_ACTIVE_AND_OWN => Receive::ActiveAndOwn,
            RECEIVE_PORTS => Receive::Ports(in_sequence_of(&order, self.receivers)),
            _ => return None,
        };
        let queues = self.queues.get(..self.queue_len as usize)?.iter().copied();
        let queue_ports = ports(self.queue_ports.get(..self.queue_len as usize)?)?;
        let is = |word: u32, flag: u32| word & flag != 0;
        let stations = if is(self.kind, TX_STATIONS) {
            let station = |port: &PortId| unpadded(self.stations[port.index()]);
            Some(Stations {
                bond: unpadded(self.bond),
                ports: order.iter().map(station).collect(),
                clients: if is(self.kind, TX_CLIENTS) {
                    ports(&self.clients)?
                } else {
                    Vec::new()
                },
            })
        } else {
            None
        };
        Some(TransmitTable {
            spread: self.to_spread()?,
            receive,
            linger: lowest_of(self.linger),
            queues: queues.zip(queue_ports).collect(),
            neighbours_to_all: is(self.kind, TX_NEIGHBOURS_TO_ALL),
            stations,
            tap: Tap {
                neighbours_received: is(self.receive, RX_TAP_NEIGHBOURS),
                neighbours_sent: is(self.kind, TX_TAP_NEIGHBOURS),
                slow_protocols: is(self.receive, RX_TAP_SLOW),
                arrivals: is(self.receive, RX_ARRIVALS),
            },
            order,
        })
    }

    fn to_spread(self) -> Option<Spread> {
        let key = match self.kind & SPREAD_MASK {
            SPREAD_FAILOVER => return Some(Spread::Failover),
            SPREAD_BROADCAST => return Some(Spread::Broadcast),
            SPREAD_HASH => BucketKey::Hash(policy_of(self.policy)?),
            SPREAD_SEQUENCE => BucketKey::Sequence {
                packets_per_port: u16::try_from(self.policy).ok()?,
            },
            SPREAD_DESTINATION => BucketKey::Destination,
            _ => return None,
        };
        let buckets = |array: &[u8]| ports(array.get(..self.bucket_len as usize)?);
        Some(Spread::Buckets(Buckets {
            key,
            home: buckets(&self.home)?,
            spare: buckets(&self.spare)?,
            now: buckets(&self.now)?,
            exempt: match self.exempt {
                0 => Exempt::Nothing,
                CLASS_IGMP => Exempt::Igmp,
                EXEMPT_UNBALANCED => Exempt::Unbalanced,
                EXEMPT_NEGOTIATED => Exempt::Negotiated,
                _ => return None,
            },
            measured: self.kind & TX_MEASURED != 0,
        }))
    }

    /// Buckets whose bytes are counted, if any are.
    pub(crate) const fn measured(&self) -> Option<usize> {
        if self.kind & TX_MEASURED != 0 {
            Some(self.bucket_len as usize)
        } else {
            None
        }
    }

    /// Whether what the core wants (all but what the programs wrote, and the end of lingering) is the same.
    pub(crate) fn same_orders(&self, other: &Self) -> bool {
        let timeless = |table: &Self| Self {
            left: 0,
            linger_until: 0,
            left_until: 0,
            ..*table
        };
        bytes_of(&timeless(self)) == bytes_of(&timeless(other))
    }
}

/// The number under which the programs know a policy: that of the option.
pub(crate) fn policy_code(policy: HashPolicy) -> u32 {
    policy.code().into()
}

fn policy_of(code: u32) -> Option<HashPolicy> {
    HashPolicy::from_code(u8::try_from(code).ok()?)
}

/// The bytes of a map value.
pub(crate) const fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: `Plain` has no padding, so all size_of::<T>() bytes are initialised; the borrow keeps them alive.
    unsafe { slice::from_raw_parts(ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// A map value from its bytes. `None` when there are too few.
pub(crate) fn from_bytes<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: enough bytes (just checked), and every bit pattern is a valid `Plain`.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

fn fill(array: &mut [u8], list: &[PortId]) -> Option<()> {
    let head = array.get_mut(..list.len())?;
    for (place, port) in head.iter_mut().zip(list) {
        *place = port.index() as u8;
    }
    Some(())
}

fn ports(array: &[u8]) -> Option<Vec<PortId>> {
    array.iter().map(|index| PortId::new(*index)).collect()
}

fn set_of(ports: &[PortId]) -> u32 {
    ports.iter().fold(0, |set, port| set | port.bit())
}

fn lowest_of(set: u32) -> Option<PortId> {
    // 32, for no bit at all, is no port.
    PortId::new(set.trailing_zeros() as u8)
}

/// The ports of a set: those of the order first, as there.
fn in_sequence_of(order: &[PortId], mut set: u32) -> Vec<PortId> {
    let mut ports: Vec<PortId> = order
        .iter()
        .copied()
        .filter(|port| set & port.bit() != 0)
        .collect();
    set &= !set_of(&ports);
    while let Some(port) = lowest_of(set) {
        ports.push(port);
        set &= !port.bit();
    }
    ports
}

const fn padded(mac: MacAddr) -> [u8; 8] {
    let [a, b, c, d, e, f] = mac.octets();
    [a, b, c, d, e, f, 0, 0]
}

const fn unpadded([a, b, c, d, e, f, _, _]: [u8; 8]) -> MacAddr {
    MacAddr([a, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use object::{Object as _, ObjectSection as _};
    use oxbond_core::standing::SPACING;
    use oxbond_core::table::LINGER;

    use super::*;
    use crate::load;

    /// The programs' own idea of the layout, in the order of `layout` in `bpf/abi.h`.
    #[test]
    fn layout_is_that_of_the_programs() {
        let object = object::File::parse(load::object()).unwrap();
        let section = object.section_by_name("oxbond_layout").unwrap();
        let words = section.data().unwrap().as_chunks::<4>().0.iter();
        let theirs: Vec<usize> = words
            .map(|word| u32::from_ne_bytes(*word) as usize)
            .collect();
        let ours = [
            ABI_MAGIC as usize,
            ABI_VERSION as usize,
            MAX_PORTS,
            MAX_BUCKETS,
            BALANCE_BUCKETS,
            TAPPED_LEN,
            LINGER.as_nanos() as usize,
            STANDING_LEN,
            SPACING.as_nanos() as usize,
            size_of::<Table>(),
            offset_of!(Table, kind),
            offset_of!(Table, receive),
            offset_of!(Table, policy),
            offset_of!(Table, exempt),
            offset_of!(Table, order_len),
            offset_of!(Table, bucket_len),
            offset_of!(Table, queue_len),
            offset_of!(Table, members),
            offset_of!(Table, receivers),
            offset_of!(Table, foreign),
            offset_of!(Table, left),
            offset_of!(Table, linger),
            offset_of!(Table, queues),
            offset_of!(Table, queue_ports),
            offset_of!(Table, order),
            offset_of!(Table, place),
            offset_of!(Table, bond),
            offset_of!(Table, stations),
            offset_of!(Table, clients),
            offset_of!(Table, home),
            offset_of!(Table, spare),
            offset_of!(Table, now),
            offset_of!(Table, linger_until),
            offset_of!(Table, left_until),
            size_of::<Port>(),
            offset_of!(Port, netdev),
            offset_of!(Port, ifindex),
            offset_of!(Port, flags),
            size_of::<RawPortCounters>(),
            offset_of!(RawPortCounters, tx_packets),
            offset_of!(RawPortCounters, tx_bytes),
            offset_of!(RawPortCounters, rx_packets),
            offset_of!(RawPortCounters, rx_bytes),
            offset_of!(RawPortCounters, rx_inactive),
            offset_of!(RawPortCounters, tx_moved),
            offset_of!(RawPortCounters, lacp_answered),
            size_of::<RawBondCounters>(),
            offset_of!(RawBondCounters, tx_no_port),
            offset_of!(RawBondCounters, ports_left),
            offset_of!(RawBondCounters, sequence),
            size_of::<RawLoads>(),
            offset_of!(RawLoads, buckets),
            offset_of!(RawLoads, exempt),
            size_of::<RawArrivals>(),
            offset_of!(RawArrivals, any),
            offset_of!(RawArrivals, neighbour),
            offset_of!(RawArrivals, tick),
            size_of::<Standing>(),
            offset_of!(Standing, from),
            offset_of!(Standing, until),
            offset_of!(Standing, answered),
            offset_of!(Standing, frame),
            size_of::<Hints>(),
            offset_of!(Hints, ports),
            size_of::<Abi>(),
            offset_of!(Abi, magic),
            offset_of!(Abi, version),
            offset_of!(Abi, table_size),
            offset_of!(Abi, port_size),
            offset_of!(Abi, front_kind),
            offset_of!(Abi, bond_ifindex),
            offset_of!(Abi, inner_ifindex),
            offset_of!(Abi, front_flags),
            size_of::<RawLeftRecord>(),
            offset_of!(RawLeftRecord, time_ns),
            offset_of!(RawLeftRecord, port),
            offset_of!(RawLeftRecord, reason),
            size_of::<RawTapped>(),
            offset_of!(RawTapped, time_ns),
            offset_of!(RawTapped, port),
            offset_of!(RawTapped, len),
            offset_of!(RawTapped, frame),
            SPREAD_FAILOVER as usize,
            SPREAD_HASH as usize,
            SPREAD_SEQUENCE as usize,
            SPREAD_DESTINATION as usize,
            SPREAD_BROADCAST as usize,
            SPREAD_MASK as usize,
            TX_CLASSES as usize,
            TX_QUEUES as usize,
            TX_NEIGHBOURS_TO_ALL as usize,
            TX_STATIONS as usize,
            TX_CLIENTS as usize,
            TX_MEASURED as usize,
            TX_TAP_NEIGHBOURS as usize,
            RECEIVE_ACTIVE as usize,
            RECEIVE_ACTIVE_AND_OWN as usize,
            RECEIVE_PORTS as usize,
            RECEIVE_MASK as usize,
            RX_TAP_NEIGHBOURS as usize,
            RX_TAP_SLOW as usize,
            RX_ARRIVALS as usize,
            RX_STATIONS as usize,
            CLASS_GROUP as usize,
            CLASS_NOT_IP as usize,
            CLASS_IGMP as usize,
            CLASS_LIMITED as usize,
            CLASS_ALL_NODES as usize,
            CLASS_UNSPECIFIED as usize,
            CLASS_ARP as usize,
            CLASS_ND as usize,
            policy_code(HashPolicy::Layer2) as usize,
            policy_code(HashPolicy::Layer34) as usize,
            policy_code(HashPolicy::Layer23) as usize,
            policy_code(HashPolicy::Encap23) as usize,
            policy_code(HashPolicy::Encap34) as usize,
            policy_code(HashPolicy::VlanSrcMac) as usize,
            LEFT_NO_CARRIER as usize,
            LEFT_DOWN as usize,
            LEFT_GONE as usize,
            FROM_HOST as usize,
        ];
        assert_eq!(theirs, ours);
    }

    fn ports(indices: &[u8]) -> Vec<PortId> {
        indices
            .iter()
            .map(|index| PortId::new(*index).unwrap())
            .collect()
    }

    #[test]
    fn tables_survive_the_round_trip() {
        let spread = |count: u8| {
            let order: Vec<u8> = (0..count).rev().collect();
            let policy = HashPolicy::ALL[usize::from(count) % HashPolicy::ALL.len()];
            TransmitTable::hashed(policy, ports(&order), |port| port.index() % 3 != 0)
        };
        let order = ports(&[2, 9, 4]);
        let keyed = |key| {
            let buckets = Buckets {
                exempt: Exempt::Unbalanced,
                ..Buckets::equal(key, &order, |port| port.index() != 9)
            };
            TransmitTable::spread(Spread::Buckets(buckets), order.clone())
        };
        let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
        let clients = (0..BALANCE_BUCKETS).map(|bucket| order[bucket % 3]);
        let measured = Buckets {
            exempt: Exempt::Negotiated,
            measured: true,
            ..Buckets {
                home: vec![order[0]; 256],
                spare: vec![order[1]; 256],
                now: vec![order[2]; 256],
                ..Buckets::equal(BucketKey::Destination, &order, |_| true)
            }
        };
        let balanced = TransmitTable {
            receive: Receive::ActiveAndOwn,
            stations: Some(Stations {
                bond: mac(1),
                ports: vec![mac(1), mac(2), mac(3)],
                clients: clients.collect(),
            }),
            tap: Tap {
                neighbours_received: true,
                neighbours_sent: true,
                ..Tap::default()
            },
            ..TransmitTable::spread(Spread::Buckets(measured), order.clone())
        };
        let aggregated = TransmitTable {
            receive: Receive::Ports(ports(&[9, 0, 31])),
            neighbours_to_all: true,
            tap: Tap {
                slow_protocols: true,
                arrivals: true,
                ..Tap::default()
            },
            ..spread(12)
        };
        for table in [
            TransmitTable::failover(ports(&[])),
            TransmitTable::failover(ports(&[31, 0, 7])),
            TransmitTable {
                queues: vec![(7, ports(&[3])[0]), (65535, ports(&[0])[0])],
                linger: Some(ports(&[31])[0]),
                ..TransmitTable::failover(ports(&[0]))
            },
            spread(0),
            spread(1),
            spread(3),
            spread(4),
            spread(5),
            spread(7),
            spread(32),
            TransmitTable::spread(Spread::Broadcast, ports(&[1, 0])),
            keyed(BucketKey::Sequence {
                packets_per_port: 0,
            }),
            keyed(BucketKey::Sequence {
                packets_per_port: u16::MAX,
            }),
            balanced,
            aggregated,
        ] {
            let raw = Table::new(&table).unwrap();
            assert_eq!(raw.to_transmit_table(), Some(table));
        }
    }

    #[test]
    fn tables_that_the_programs_cannot_obey_are_refused() {
        let refused = |table: TransmitTable| Table::new(&table).err().unwrap();
        assert!(refused(TransmitTable::failover(ports(&[1, 1]))).contains("twice"));
        let mut stranger = TransmitTable::hashed(HashPolicy::Layer2, ports(&[0, 1]), |_| true);
        stranger.order = ports(&[0]);
        assert!(refused(stranger).contains("outside the order"));
    }

    #[test]
    fn what_a_program_left_is_no_difference_of_orders() {
        let raw = Table::new(&TransmitTable::failover(ports(&[1, 2]))).unwrap();
        assert!(raw.same_orders(&Table { left: 2, ..raw }));
        assert!(!raw.same_orders(&Table {
            receive: RECEIVE_PORTS,
            ..raw
        }));
    }
}
