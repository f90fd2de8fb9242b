//! The bond's behaviour told as stories in virtual time, by the words of its users: links, ports, addresses, options.
#![allow(clippy::unwrap_used, reason = "tests state what must be")]

mod active_backup;
mod addresses;
mod aggregation;
mod announcements;
mod any_order;
mod balance_alb;
mod balance_tlb;
mod balance_xor;
mod broadcast;
mod drain;
mod guests;
mod lacp;
mod live;
mod monitor;
mod net;
mod options;
mod probing;
mod probing_any_order;
mod probing_balanced;
mod rig;
mod round_robin;
mod takeover;
mod weights;
