//! The bond as a sans-I/O state machine.
//!
//! This crate reads no clock, file, socket or global and contains no unsafe code. A driver (the daemon, the simulator,
//! a test) feeds a [`Bond`] with [`Input`]s and the time, carries out its [`Action`]s, and calls it again when
//! [`Bond::next_timeout`] is reached:
//!
//! ```text
//!   handle(now, Input) ─┐                 ┌─► poll_action() until None
//!                       ├─► core::Bond ───┤
//!   handle_timeout(now) ┘                 └─► next_timeout(), status(now)
//! ```
#![forbid(unsafe_code)]

pub mod action;
pub mod event;
pub mod hash;
pub mod input;
pub mod option;
pub mod port;
pub mod status;
pub mod table;
pub mod time;
