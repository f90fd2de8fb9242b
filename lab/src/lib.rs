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

/// What `look` reads, and the nanoseconds of `CLOCK_MONOTONIC` at the same moment. A thread that loses the processor between
/// two clocks reads them at two moments, so it looks again.
pub(crate) fn at_once<T>(look: impl Fn() -> T) -> (u64, T) {
    const CLOSE_NS: u64 = 20_000;
    let try_it = || {
        let before = monotonic_ns();
        let seen = look();
        let took = monotonic_ns().saturating_sub(before);
        (took, before + took / 2, seen)
    };
    let mut closest = try_it();
    for _ in 0..4 {
        if closest.0 <= CLOSE_NS {
            break;
        }
        let again = try_it();
        if again.0 < closest.0 {
            closest = again;
        }
    }
    (closest.1, closest.2)
}

/// Nanoseconds of `clock`, which must count from a non-negative epoch.
pub(crate) fn nanoseconds(clock: rustix::time::ClockId) -> u64 {
    let t = rustix::time::clock_gettime(clock);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}
