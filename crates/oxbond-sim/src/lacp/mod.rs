//! Hosts in mode 802.3ad and the wires between them: bonds of ours cabled to each other, to two partners at once, to
//! themselves, or all to one switch; in virtual time, with seeded faults, and every step checked.
//!
//! ```text
//!   seed ──► scenario ──► simulation ──► host: Bond + daemon + data path ──► PDUs, data frames
//!                            │  ▲                      ▲                          │
//!                            │  └── what is due when   └──── wires (delay, loss, mute, cut) ◄┘
//!                            └──► invariants: at every frame and step, and after healing
//! ```
//!
//! Like its neighbour for one host ([`crate::simulation`]): safety first, then liveness. The bounds are those of the standard's
//! timers; where they stand (`Simulation::time_to_converge`), each is named.

mod host;
mod scenario;
mod simulation;

pub use self::host::Counters;
pub use self::scenario::{Condition, End, Fault, HostSetup, Lasting, Scenario, Way, Wire};
pub use self::simulation::{Totals, run, run_seed};
