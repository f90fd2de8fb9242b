//! What the eBPF programs and the daemon share through maps: the Rust mirror of `bpf/abi.h`.
//!
//! A test compares every size and offset with a table that the C compiler wrote into the object. Whoever changes
//! either side raises [`ABI_VERSION`]: a daemon adopts a running data path only if the versions agree.

use std::{ptr, slice};

use oxbond_core::option::HashPolicy;
use oxbond_core::port::{MAX_PORTS, PortId};
use oxbond_core::table::{BucketKey, Buckets, MAX_BUCKETS, Receive, Spread, TransmitTable};

/// First word of the `abi` map.
pub(crate) const ABI_MAGIC: u32 = 0x6f78_626e;
/// Version of everything in this module.
pub(crate) const ABI_VERSION: u32 = 1;

/// `table.spread`.
pub(crate) const SPREAD_FAILOVER: u32 = 0;
pub(crate) const SPREAD_BUCKETS: u32 = 1;
/// `table.flags`.
pub(crate) const TABLE_ALL_PORTS_ACTIVE: u32 = 1;

/// `port.flags`: the receive program hangs on clsact, not tcx.
pub(crate) const HOOK_CLSACT: u32 = 1;
/// `port.flags`: we made the clsact qdisc.
pub(crate) const QDISC_OURS: u32 = 2;

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
    pub(crate) spread: u32,
    pub(crate) policy: u32,
    pub(crate) flags: u32,
    pub(crate) order_len: u32,
    pub(crate) bucket_len: u32,
    pub(crate) members: u32,
    pub(crate) left: u32,
    pub(crate) linger: u32,
    pub(crate) order: [u8; MAX_PORTS],
    pub(crate) place: [u8; MAX_PORTS],
    pub(crate) home: [u8; MAX_BUCKETS],
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
}

/// Counters of the bond on one CPU: `struct bond_counters`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct RawBondCounters {
    pub(crate) tx_no_port: u64,
    pub(crate) ports_left: u64,
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

/// What the ring buffer holds: `struct left_record`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct RawLeftRecord {
    pub(crate) time_ns: u64,
    pub(crate) port: u32,
    pub(crate) reason: u32,
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
// SAFETY: an integer.
unsafe impl Plain for u32 {}

impl Table {
    /// No port at all: everything is dropped. What a fresh map holds.
    pub(crate) const EMPTY: Self = Self {
        spread: SPREAD_FAILOVER,
        policy: 0,
        flags: 0,
        order_len: 0,
        bucket_len: 0,
        members: 0,
        left: 0,
        linger: 0,
        order: [0; MAX_PORTS],
        place: [0; MAX_PORTS],
        home: [0; MAX_BUCKETS],
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
        raw.members = table.order.iter().fold(0, |set, port| set | port.bit());
        if raw.members.count_ones() != raw.order_len {
            return Err("a port stands twice in the order");
        }
        if let Some(port) = table.linger {
            raw.linger = port.bit();
        }
        if matches!(table.receive, Receive::Ports(_)) {
            raw.flags |= TABLE_ALL_PORTS_ACTIVE;
        }
        if let Spread::Buckets(Buckets { key, home, now, .. }) = &table.spread {
            let BucketKey::Hash(policy) = key else {
                return Err("the programs do not know this key yet");
            };
            raw.spread = SPREAD_BUCKETS;
            raw.policy = policy_code(*policy);
            if home.len() != now.len() {
                return Err("`home` and `now` differ in length");
            }
            fill(&mut raw.home, home).ok_or("too many buckets")?;
            fill(&mut raw.now, now).ok_or("too many buckets")?;
            if home
                .iter()
                .chain(now)
                .any(|port| raw.members & port.bit() == 0)
            {
                return Err("a bucket names a port outside the order");
            }
            raw.bucket_len = home.len() as u32;
        }
        Ok(raw)
    }

    /// The table as the core knows it. `None` for contents that [`Table::new`] never writes.
    pub(crate) fn to_transmit_table(self) -> Option<TransmitTable> {
        let spread = match self.spread {
            SPREAD_FAILOVER => Spread::Failover,
            SPREAD_BUCKETS => {
                let key = BucketKey::Hash(policy_of(self.policy)?);
                let order = ports(self.order.get(..self.order_len as usize)?)?;
                Spread::Buckets(Buckets {
                    home: ports(self.home.get(..self.bucket_len as usize)?)?,
                    now: ports(self.now.get(..self.bucket_len as usize)?)?,
                    ..Buckets::equal(key, &order, |_| true)
                })
            }
            _ => return None,
        };
        let order = ports(self.order.get(..self.order_len as usize)?)?;
        Some(TransmitTable {
            spread,
            receive: if self.flags & TABLE_ALL_PORTS_ACTIVE != 0 {
                Receive::Ports(order.clone())
            } else {
                Receive::Active
            },
            linger: (self.linger != 0)
                .then(|| PortId::new(self.linger.trailing_zeros() as u8))
                .flatten(),
            ..TransmitTable::failover(order)
        })
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

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use object::{Object as _, ObjectSection as _};
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
            LINGER.as_nanos() as usize,
            size_of::<Table>(),
            offset_of!(Table, spread),
            offset_of!(Table, policy),
            offset_of!(Table, flags),
            offset_of!(Table, order_len),
            offset_of!(Table, bucket_len),
            offset_of!(Table, members),
            offset_of!(Table, left),
            offset_of!(Table, linger),
            offset_of!(Table, order),
            offset_of!(Table, place),
            offset_of!(Table, home),
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
            size_of::<RawBondCounters>(),
            offset_of!(RawBondCounters, tx_no_port),
            offset_of!(RawBondCounters, ports_left),
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
            SPREAD_FAILOVER as usize,
            SPREAD_BUCKETS as usize,
            TABLE_ALL_PORTS_ACTIVE as usize,
            policy_code(HashPolicy::Layer2) as usize,
            policy_code(HashPolicy::Layer34) as usize,
            policy_code(HashPolicy::Layer23) as usize,
            policy_code(HashPolicy::Encap23) as usize,
            policy_code(HashPolicy::Encap34) as usize,
            policy_code(HashPolicy::VlanSrcMac) as usize,
            LEFT_NO_CARRIER as usize,
            LEFT_DOWN as usize,
            LEFT_GONE as usize,
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
        for table in [
            TransmitTable::failover(ports(&[])),
            TransmitTable::failover(ports(&[31, 0, 7])),
            spread(0),
            spread(1),
            spread(3),
            spread(4),
            spread(5),
            spread(7),
            spread(32),
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
            flags: TABLE_ALL_PORTS_ACTIVE,
            ..raw
        }));
    }
}
