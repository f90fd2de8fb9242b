//! Renderers: pure functions from reports to text. They format and compute no state.

mod clock;
mod explain;
mod json;
mod proc;
mod table;

pub(crate) use clock::clock;
pub(crate) use explain::{Explanation, frame};
pub(crate) use json::json;
pub(crate) use proc::proc;
pub(crate) use table::{DEFAULT_WIDTH, table};
