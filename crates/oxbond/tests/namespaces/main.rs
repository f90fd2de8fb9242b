//! The whole program in network namespaces, with real traffic; and the same again under Debian's kernels.
//!
//! `root_` tests run side by side, `metered_` ones alone (a busy core looks like a gap), `guest_` ones boot a guest that
//! runs this very file, `inside_` ones only make sense there.

#![allow(
    clippy::unwrap_used,
    reason = "clippy knows tests by their attribute, and helpers of tests have none"
)]

mod addresses;
mod administration;
mod adoption;
mod alike;
mod apply;
mod asking;
mod both;
mod common;
mod drain;
mod driver;
mod durability;
mod explain;
mod failover;
mod frames;
mod guest;
mod guests;
mod guides;
mod inside;
mod iproute;
mod kernel_engine;
mod loss;
mod many;
mod modes;
mod modules;

mod partners;
mod probing;
mod save;
mod selectors;
mod stations;
mod trial;
mod unattended;
mod wait;
