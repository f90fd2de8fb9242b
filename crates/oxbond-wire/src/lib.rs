//! Frames Oxbond speaks: checked parse, exact emit.
//!
//! Nothing here reads a clock, a socket or a global. Every parser takes bytes from the wire and either returns the
//! valid thing or a [`DecodeError`] that says why not; no input makes one panic. Every emitter writes each byte of the
//! frame it returns. Code points this crate does not know are kept (`Unknown(x)`), not refused.
#![forbid(unsafe_code)]

pub mod arp;
mod error;
pub mod ethernet;
pub mod igmp;
pub mod lacp;
pub mod learning;
mod mac;
pub mod marker;
pub mod mld;
pub mod ndp;
pub mod probe;
pub mod rarp;
pub mod slow;

pub use error::DecodeError;
pub use mac::{MacAddr, MacParseError};
