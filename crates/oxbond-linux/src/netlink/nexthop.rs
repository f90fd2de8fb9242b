//! Next hops that are objects of their own, and that routes name by number (`ip nexthop`, Linux 5.3): which there are, letting
//! them lead over another interface, and putting them back.
//!
//! The messages are encoded here: `netlink-packet-route` has none of them.

use netlink_packet_core::{NLA_F_NESTED, NLM_F_CREATE, NLM_F_REPLACE};
use serde::{Deserialize, Serialize};

use super::attributes::{attributes, word_at};
use super::{Netlink, named};
use crate::error::KernelError;

/// `RTM_NEWNEXTHOP`.
const NEW: u16 = 104;
/// `RTM_GETNEXTHOP`.
const GET: u16 = 106;

/// `struct nhmsg`: family, scope, protocol, a reserved byte, flags (32 bits).
const HEADER_LEN: usize = 8;

/// `NHA_ID`: the number, 32 bits.
const ID: u16 = 1;
/// `NHA_GROUP`: the members, each of [`MEMBER_LEN`] bytes that begin with its number.
const GROUP: u16 = 2;
/// `NHA_OIF`: index of the interface, 32 bits.
const OIF: u16 = 5;
/// `NHA_ENCAP`: an encapsulation, nested.
const ENCAP: u16 = 8;
/// `NHA_RES_GROUP`: how a resilient group behaves, nested.
const RES_GROUP: u16 = 12;
/// The attributes that are told as well as taken: number, group and its type, blackhole, interface, gateway, encapsulation,
/// `NHA_FDB`, `NHA_RES_GROUP`. The kernel refuses what it only tells.
const TAKEN: [u16; 10] = [ID, GROUP, 3, 4, OIF, 6, 7, ENCAP, 11, RES_GROUP];
/// Of `NHA_RES_GROUP`: buckets and two timers.
const TAKEN_OF_RES_GROUP: [u16; 3] = [1, 2, 3];

/// `struct nexthop_grp`.
const MEMBER_LEN: usize = 8;

/// `RTNH_F_ONLINK`, the one flag that is taken.
const ON_LINK: u32 = 4;

/// A next hop, or a group of them, with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NexthopRecord {
    /// Its number, which routes name.
    pub id: u32,
    /// Interface it leads over; none for a group.
    pub ifindex: Option<u32>,
    /// Numbers of a group's members.
    pub members: Vec<u32>,
    /// The kernel's message, as it can be told it.
    message: Vec<u8>,
}

impl NexthopRecord {
    fn from_message(body: &[u8]) -> Option<Self> {
        let (header, rest) = body.split_first_chunk::<HEADER_LEN>()?;
        let [family, _scope, protocol, reserved, flags @ ..] = *header;
        let mut message = vec![family, 0, protocol, reserved];
        message.extend((u32::from_ne_bytes(flags) & ON_LINK).to_ne_bytes());
        let (mut id, mut ifindex, mut members) = (None, None, Vec::new());
        for (kind, value) in attributes(rest) {
            match kind {
                ID => id = word_at(value, 0),
                OIF => ifindex = word_at(value, 0),
                GROUP => {
                    let all = value.chunks(MEMBER_LEN);
                    members = all.filter_map(|member| word_at(member, 0)).collect();
                }
                _ => {}
            }
            match kind {
                RES_GROUP => {
                    let mut inner = Vec::new();
                    for (kind, value) in attributes(value) {
                        if TAKEN_OF_RES_GROUP.contains(&kind) {
                            push(&mut inner, kind, value);
                        }
                    }
                    push(&mut message, kind, &inner);
                }
                _ if TAKEN.contains(&kind) => push(&mut message, kind, value),
                _ => {}
            }
        }
        Some(Self {
            id: id?,
            ifindex,
            members,
            message,
        })
    }

    /// The message with this interface instead of the one it names.
    fn over(&self, ifindex: u32) -> Vec<u8> {
        let (header, rest) = self.message.split_at(HEADER_LEN);
        let mut message = header.to_vec();
        for (kind, value) in attributes(rest) {
            match kind {
                OIF => push(&mut message, OIF, &ifindex.to_ne_bytes()),
                kind => push(&mut message, kind, value),
            }
        }
        message
    }
}

impl Netlink {
    /// Every next hop and every group; none where the kernel has no such objects.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn nexthops(&mut self) -> Result<Vec<NexthopRecord>, KernelError> {
        let record = |kind, body: &[u8]| NexthopRecord::from_message(body).filter(|_| kind == NEW);
        match self.transport.dump(GET, &[0; HEADER_LEN], record) {
            Ok(records) => Ok(records),
            Err(failure) if failure.errno == libc::EOPNOTSUPP => Ok(Vec::new()),
            Err(failure) => Err(named(failure, "list", "next hops")),
        }
    }

    /// Lets a next hop lead over an interface from now on. It stays the same object: every route and group that names it
    /// goes with it. One that is gone is made anew.
    ///
    /// # Errors
    /// What the kernel says; `EHOSTUNREACH` when its gateway is on no network of the interface.
    pub fn move_nexthop(&mut self, to: u32, record: &NexthopRecord) -> Result<(), KernelError> {
        let object = format!("number {}", record.id);
        let how = NLM_F_CREATE | NLM_F_REPLACE;
        self.write_body(NEW, &record.over(to), how, "move next hop", object)
    }

    /// Makes a next hop or a group what it was.
    ///
    /// # Errors
    /// What the kernel says; for a group, if one of its members is missing.
    pub fn put_back_nexthop(&mut self, record: &NexthopRecord) -> Result<(), KernelError> {
        let object = format!("number {}", record.id);
        let how = NLM_F_CREATE | NLM_F_REPLACE;
        self.write_body(NEW, &record.message, how, "put back next hop", object)
    }
}

/// Appends an attribute, padded.
fn push(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // Attributes of the kernel's own messages, which fit.
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    message.extend(length.to_ne_bytes());
    let nested = [ENCAP, RES_GROUP].contains(&kind);
    let flags = if nested { NLA_F_NESTED } else { 0 };
    message.extend((kind | flags).to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}
