//! Configuration: files in, what is wanted and everything that is wrong with it out.
//!
//! ```text
//!   our files ──dialect──► DesiredNetwork (every value knows its place) ──check──► Loaded { network, diagnostics }
//!                  └─────► Diagnostic (code, place, message, way out) ─────────────────┘
//! ```
//!
//! Files of other tools are read and written by the other dialects, and every line of them is accounted for:
//!
//! ```text
//!   foreign files ──dialect──► DesiredNetwork ──dialect──► foreign files
//!                     └──────► Report (each line: mapped, changed, unsupported, unknown) ◄──┘
//! ```
//!
//! One pass finds all errors of all files. Nothing here touches the system beyond reading the files that were named.
#![forbid(unsafe_code)]

pub mod check;
pub mod detect;
pub mod diagnostic;
pub mod dialect;
pub mod ip;
pub mod lint;

pub mod load;
pub mod model;
pub mod name;
pub mod report;
pub mod rule;
pub mod select;
pub mod span;
mod suggest;

pub use check::DEFAULT_MIIMON_MS;
pub use load::{Loaded, load};
