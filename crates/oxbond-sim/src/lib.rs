//! A deterministic world in virtual time that drives bonds through their public contract, breaks things by a seed, and
//! checks at every step what must always hold.
//!
//! ```text
//!   seed ──► fault::Scenario ──► simulation ◄──► world (virtual time, what is due when)
//!                                   │  ▲
//!                            events ▼  │ what was sent where
//!                                 host: Bond + daemon + data path + ports
//!                                   │
//!                                   └──► invariant: at every step, and after healing
//! ```
//!
//! Safety first, then liveness (after TigerBeetle's simulator): while faults go on, nothing forbidden may happen; when
//! they stop, the right state must be reached within a bounded time, and then there must be peace.
#![forbid(unsafe_code)]

pub mod fault;
pub mod host;
pub mod invariant;
pub mod lacp;
pub mod rng;
pub mod simulation;
pub mod world;

pub use simulation::{Failure, run, run_seed};

use oxbond_core::bond::Bond;

/// How a bond passes from a daemon that died to the next one: written out and read back, in whatever form the caller
/// has (this crate knows none).
pub type Restore = fn(&Bond) -> Bond;
