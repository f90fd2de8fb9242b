//! The transmit table: what the core decides and the data path obeys, packet by packet.
//!
//! The same table serves the eBPF programs (`oxbond-datapath` lays it out for them) and the Rust twin of their
//! decision ([`TransmitTable::decide`]), which the simulator, `explain` and the property tests use. Both must agree on
//! every frame; a test in `oxbond-datapath` runs both.
//!
//! # The decision
//!
//! *usable(p)* means: the port is up and has carrier **now**, as seen by the one who decides (the program reads it from
//! the port's `net_device` on every packet), and the port has not been *left* since this table was written (see
//! [`PortStanding`]).
//!
//! - [`Spread::Failover`]: the first usable port of `order`. When none is usable, the first that has carrier although
//!   it was left. When none has carrier, the frame is dropped and counted.
//! - [`Spread::Buckets`]: bucket = hash % `now.len()`; the port `now[bucket]` if usable, else
//!   [`ranked_choice`] from `home[bucket]`.
//!
//! # Receiving
//!
//! In [`Spread::Failover`] a frame is accepted on the port the decision above would transmit on, and dropped (counted
//! as *inactive*) on any other, unless `all_ports_active`. In [`Spread::Buckets`] every port of `order` accepts.

use serde::{Deserialize, Serialize};

use crate::option::HashPolicy;
use crate::port::PortId;

/// Most buckets of a table. With n ports the table has the largest multiple of n buckets that fits, so that
/// `(hash % buckets) % n == hash % n`.
pub const MAX_BUCKETS: usize = 1024;

/// How frames are spread over the ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// One port at a time: active-backup.
    Failover,
    /// By hash over buckets: balance-xor (and 802.3ad).
    Buckets {
        /// What is hashed.
        policy: HashPolicy,
        /// Port of each bucket while every port is usable. At most [`MAX_BUCKETS`].
        home: Vec<PortId>,
        /// Port of each bucket now, as far as the core knows. Same length as `home`.
        now: Vec<PortId>,
    },
}

/// One whole table. Written to the data path's spare slot, then made current by flipping one word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransmitTable {
    /// How frames are spread.
    pub spread: Spread,
    /// Every port of the bond, best first for [`Spread::Failover`] (the active port, then who follows it), in list
    /// order for [`Spread::Buckets`]. Without doubles.
    pub order: Vec<PortId>,
    /// Deliver frames that arrive on ports which are not active (`all_slaves_active`).
    pub all_ports_active: bool,
}
