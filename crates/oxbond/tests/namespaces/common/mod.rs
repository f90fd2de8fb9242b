//! What the namespace tests share: machines under test, and short ways to say what must hold.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oxbond_lab::machine::{End, Machine, PATIENCE};
use oxbond_lab::proc::wait_until;
use oxbond_lab::rig::{Plan, Topology};
use oxbond_lab::traffic::Traffic;

/// The host's ports in most rigs.
pub(crate) const PORTS: [&str; 2] = ["enp3s0", "enp4s0"];

/// The bond's addresses.
pub(crate) const HOST: [&str; 2] = ["10.77.0.2", "fd77::2"];

/// The peer's addresses.
pub(crate) const PEER: [&str; 2] = ["10.77.0.1", "fd77::1"];

/// The engine that bonds of these tests are on where nothing else is asked for: our own, unless [`crate::both`] runs them.
pub(crate) fn engine() -> &'static str {
    match std::env::var(ENGINE_VARIABLE).as_deref() {
        Ok("kernel") => "kernel",
        Ok(other) => panic!("{ENGINE_VARIABLE} is kernel or unset, not {other:?}"),
        Err(_) => "ebpf",
    }
}

/// Says which engine [`engine`] is.
pub(crate) const ENGINE_VARIABLE: &str = "OXBOND_TEST_ENGINE";

/// Whether bonds of these tests are on the kernel's driver.
pub(crate) fn on_driver() -> bool {
    engine() == "kernel"
}

/// The ports that take frames for all addresses where those on a bridge do: the driver asks that of the active port alone.
pub(crate) fn listening(active: usize) -> &'static [&'static str] {
    if on_driver() {
        &PORTS[active..=active]
    } else {
        &PORTS
    }
}

/// Sets a flag when it goes, by a panic too: a thread that goes on until then must not keep a failed test for ever.
pub(crate) struct Ending<'a>(pub(crate) &'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A machine that panics where [`Machine`] returns an error: in a test the two are one.
pub(crate) struct Subject(Machine);

impl Deref for Subject {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.0
    }
}

impl DerefMut for Subject {
    fn deref_mut(&mut self) -> &mut Machine {
        &mut self.0
    }
}

impl Subject {
    /// Builds the rig and starts the daemon.
    pub(crate) fn new(plan: Plan) -> Self {
        Self::on(plan, engine())
    }

    /// As [`Self::new`], with a daemon of this engine.
    pub(crate) fn on(plan: Plan, engine: &'static str) -> Self {
        Self(
            Machine::on_engine(plan, Path::new(env!("CARGO_BIN_EXE_oxbond")), engine)
                .expect("the machine starts"),
        )
    }

    /// Two ports, one switch, one peer.
    pub(crate) fn switched() -> Self {
        Self::new(Plan::new(Topology::OneSwitch, &PORTS))
    }

    /// A bond `bond0` with both ports and both addresses, ready for traffic; `options` are added to `oxbond up`.
    pub(crate) fn bonded(options: &str) -> Self {
        let subject = Self::switched();
        subject.up(options);
        subject
    }

    /// Makes `bond0` with both ports and both addresses, ready for traffic.
    pub(crate) fn up(&self, options: &str) {
        self.must(&format!(
            "up bond0 --port enp3s0 --port enp4s0 --address {}/24 --address {}/64 {options}",
            HOST[0], HOST[1]
        ));
        self.wait_peer(&PEER).expect("the peer answers");
    }

    /// A bond `bond0` at both ends of two cables, each with its options.
    pub(crate) fn facing(here: &str, there: &str) -> Self {
        let mut subject = Self::new(Plan::new(Topology::Cabled, &PORTS));
        subject
            .start_peer_daemon()
            .expect("the peer's daemon starts");
        let up = |addresses: [&str; 2], options: &str| {
            format!(
                "up bond0 --port enp3s0 --port enp4s0 --address {}/24 --address {}/64 {options}",
                addresses[0], addresses[1]
            )
        };
        subject
            .ok_at(End::Peer, &up(PEER, there))
            .unwrap_or_else(|e| panic!("{e:#}"));
        subject.must(&up(HOST, here));
        subject.wait_peer(&PEER).expect("the peer answers");
        subject
    }

    /// Waits until a port's link is what is wanted, as the monitor sees it.
    pub(crate) fn wait_link(&self, index: usize, status: &str) {
        wait_until(PATIENCE, &format!("{} is {status}", PORTS[index]), || {
            self.bond("bond0")
                .is_ok_and(|bond| bond["ports"][index]["mii_status"] == status)
        })
        .unwrap();
    }

    /// Waits until the daemon is at rest: it wakes up fewer times than that in a second. What went before may keep it busy for
    /// a moment, a loop with itself for ever.
    pub(crate) fn wait_rest(&self, wakeups: u64) {
        let switches = || self.daemon().unwrap().usage().unwrap().voluntary_switches;
        let mut awake = 0;
        wait_until(PATIENCE, "the daemon is at rest", || {
            let before = switches();
            std::thread::sleep(Duration::from_secs(1));
            awake = switches() - before;
            awake < wakeups
        })
        .unwrap_or_else(|e| panic!("{e}: {awake} wake-ups in a second"));
    }

    /// What both ports have counted so far.
    pub(crate) fn counted(&self, counter: &str) -> [u64; 2] {
        PORTS.map(|port| self.counter("bond0", port, counter).unwrap())
    }

    /// An active-backup bond with the first port as primary.
    pub(crate) fn active_backup() -> Self {
        Self::bonded("--mode active-backup --primary enp3s0 --miimon 100")
    }

    /// Runs a command that must succeed; its standard output.
    pub(crate) fn must(&self, words: &str) -> String {
        self.ok(words).unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// Runs a command that must fail with this exit code; its standard error.
    pub(crate) fn fails(&self, words: &str, code: i32) -> String {
        let output = self.oxbond(words).expect("oxbond runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "oxbond {words}\n{said}");
        said
    }

    /// Traffic between bond and peer over IPv4 (`version` 0) or IPv6 (1).
    pub(crate) fn traffic(&self, version: usize) -> Traffic {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        Traffic::new(
            (self.host(), address(HOST[version])),
            (&self.rig.peer, address(PEER[version])),
        )
    }
}
