//! Test rigs for Oxbond: anonymous network namespaces, wired topologies, metered traffic, guarded processes, packet
//! capture and guests.
//!
//! Everything a rig makes lives in namespaces it created itself and goes away with them, also when a test panics. The
//! namespaces are anonymous (held by file descriptor), so rigs run in parallel without meeting each other.

pub mod capture;
pub mod dhcp;
pub mod guest;
pub mod machine;
pub mod netns;
pub mod proc;
mod receive;
pub mod rig;
pub mod traffic;
pub mod uml;

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) fn monotonic_ns() -> u64 {
    nanoseconds(rustix::time::ClockId::Monotonic)
}

/// Nanoseconds of `clock`, which must count from a non-negative epoch.
pub(crate) fn nanoseconds(clock: rustix::time::ClockId) -> u64 {
    let t = rustix::time::clock_gettime(clock);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}
