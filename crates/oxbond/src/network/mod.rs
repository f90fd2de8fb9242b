//! The way of a configuration into the system: what is wanted, what is there, the steps between the two.
//!
//! ```text
//!   DesiredNetwork ──► Wanted ──┐
//!   record of what is ours ─────┼─► plan ──► steps ──► daemon takes them, reads back, or goes back
//!   netlink, bonds ──► Running ─┘
//! ```
//!
//! Nothing in here writes. [`plan`] is a pure function, and the same one leads back: what was there before is taken down
//! as a [`Wanted`] too, so an undo is a plan from whatever is there now, however far the steps got.

mod plan;
mod record;
mod running;
mod saved;
mod step;
mod undo;
mod wanted;

#[cfg(test)]
mod tests;

pub(crate) use plan::{Planned, plan};
pub(crate) use record::Record;
pub(crate) use running::{Running, RunningBond};
pub(crate) use step::Step;
pub(crate) use undo::Undo;
pub(crate) use wanted::{Family, Wanted};
