//! The eBPF data path of one bond: programs, loading, pinning, map ABI, counters.
//!
//! ```text
//!                        bond_tx                            port_rx
//!    stack ─► bond0 ─► inner end, ingress ─► port       port, ingress ─► inner end, egress ─► bond0 ─► stack
//! ```
//!
//! The core's [`TransmitTable`](oxbond_core::table::TransmitTable) goes into one of two slots and takes effect by the
//! flip of one word. The programs obey it packet by packet, but see each port's carrier for themselves: a port without
//! it is *left* at once, and the daemon is told through a ring buffer. Through another come the frames it asked to see. Everything is pinned, so that traffic flows
//! while no daemon runs, and the next daemon [adopts](DataPath::adopt) what it finds.
//!
//! Every call acts in the network namespace of the calling thread, which must be the one the bond lives in.
//!
//! # What needs what
//!
//! | step | capabilities | minimum kernel version |
//! |---|---|---|
//! | [`DataPath::install`] | CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON | 5.12 (atomics), with BTF |
//! | attach, detach, adopt, tables, counters | CAP_BPF, CAP_NET_ADMIN | 5.9 |
//! | hook clsact, tcx, netkit | | 4.5, 6.6, 6.7 |

mod abi;
mod attach;
mod clsact;
mod datapath;
mod error;
mod load;
mod pins;
mod probe;
mod records;
mod sys;

pub use datapath::{
    Arrivals, Counters, DataPath, Front, FrontKind, Hook, Hooks, Loads, PinnedProgram, PortCounters,
};
pub use error::DatapathError;
pub use load::KernelTypes;
pub use probe::Probe;
pub use records::{LeftReason, LeftRecord, Record, TappedFrame};
pub use sys::{TestInput, TestRun};
