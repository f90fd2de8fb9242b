//! Namespaces and interfaces inside the guest.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oxbond_linux::netlink::Netlink;

/// Runs a play on a thread with a network namespace of its own, which vanishes with it.
pub(crate) fn in_own_namespace(play: fn()) {
    let thread = std::thread::spawn(move || {
        // SAFETY: the descriptor table stays shared; only this thread, which ends with the play, moves.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        play();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Carries out lines of `ip`, all or none of which may fail.
pub(crate) fn ip(lines: &str) {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success(), "{lines}");
}

/// Index of an interface that there is.
pub(crate) fn index(nl: &mut Netlink, name: &str) -> u32 {
    let link = nl.link(name).unwrap();
    link.unwrap_or_else(|| panic!("no {name}")).index
}

/// Waits until something is so, for at most ten seconds.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "not so in ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
