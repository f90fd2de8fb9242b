//! The checks of the LACP conformance list as raw frames against the machines, in virtual time. Names of tests are the
//! checks' numbers; `docs/lacp.md` has the table.
#![allow(clippy::unwrap_used, reason = "tests state what must be")]

mod h01_format;
mod h02_reception;
mod h03_receive;
mod h04_transmit;
mod h05_selection;
mod h06_mux;
mod h07_churn;
mod h08_marker;
mod h10_management;
mod h12_field;
mod ours;
mod pair;
mod rig;
mod standing;
