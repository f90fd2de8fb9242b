//! The bond as a sans-I/O state machine.
//!
//! This crate reads no clock, file, socket or global and contains no unsafe code. A driver (the daemon, the simulator,
//! a test) feeds a [`bond::Bond`] with [`input::Input`]s and the time, carries out its [`action::Action`]s, and calls
//! it again when [`bond::Bond::next_timeout`] is reached:
//!
//! ```text
//!   handle(now, Input) ─┐                 ┌─► poll_action() until None
//!                       ├─► core::Bond ───┤
//!   handle_timeout(now) ┘                 └─► next_timeout(), status(now)
//! ```
#![forbid(unsafe_code)]

pub mod action;
mod announce;
mod balance;
pub mod bond;
pub mod buckets;
mod clients;
pub mod driver;
pub mod engine;
pub mod event;
pub mod hash;
pub mod input;
mod judge;
pub mod lacp;
mod learn;
mod mii;
pub mod option;
pub mod port;
mod probe;
pub mod route;
mod select;
mod share;
pub mod standing;
pub mod status;
pub mod table;
pub mod time;
pub mod verdict;
