//! Where tests kill the daemon, to see what the next one makes of what is half done.

/// Kills the daemon if a test asked for it here: at this place (say `turn`), the time of this number. No such place in a release.
#[cfg(debug_assertions)]
pub(super) fn fault_point(place: &str, number: usize) {
    let at = std::env::var("OXBOND_TEST_KILLED_AT");
    if at.is_ok_and(|at| at == format!("{place} {number}")) {
        let own = rustix::process::getpid();
        let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    }
}

/// See above.
#[cfg(not(debug_assertions))]
pub(super) const fn fault_point(_place: &str, _number: usize) {}
