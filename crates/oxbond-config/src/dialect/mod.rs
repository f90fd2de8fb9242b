//! One file per dialect. A dialect turns the text of one file into [`DesiredBond`](crate::model::DesiredBond)s and
//! [`Diagnostic`](crate::diagnostic::Diagnostic)s; it never touches the system, and what is true of every dialect
//! is checked in [`check`](crate::check).

pub mod toml;
