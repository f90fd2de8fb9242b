//! Ports that were asked for and are not in the bond: they join when they are there again, and again when another program
//! took them out, but not for ever.
//!
//! | | in the bond | not in it, and there | not in it, and gone |
//! |---|---|---|---|
//! | **away** (at first) | inside | due at once | |
//! | **inside** | (after a minute nothing is held against it) | taken out: due in 1, 2, 4, 8, 16 s, then left alone | away |
//! | **due** | inside | | away |
//! | **left alone** | inside | | away |
//!
//! A due port whose time has come joins; if it cannot, it is due again in 5 s. One that is left alone joins by
//! `oxbond add-port`, `oxbond apply` or the hand of its user.

use std::collections::BTreeMap;
use std::time::Duration;

use oxbond_core::engine::Engine;
use oxbond_core::event::Event;
use oxbond_core::option::OptionId;
use oxbond_core::time::Instant;
use oxbond_linux::inspect;
use oxbond_linux::netlink::Netlink;
use tracing::{info, warn};

use super::KernelBond;
use crate::daemon::managed::names_of;
use crate::daemon::step::awake;
use crate::refusal::refused_as_port;

/// Times that a port is taken back from whoever took it out.
const TIMES: u32 = 5;

/// A port that stays this long is not being fought for.
const SETTLED: Duration = Duration::from_secs(60);

/// Time between two attempts of a port that cannot join.
const REJOIN_INTERVAL: Duration = Duration::from_secs(5);

/// What is seen of an expected port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Inside,
    There,
    Gone,
}

/// Where an expected port is, in its user's eyes: see the table above.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Away,
    Inside {
        since: Instant,
    },
    Due {
        at: Instant,
        /// Why it is not inside, where there is something to tell.
        why: Option<String>,
    },
    LeftAlone,
}

/// An expected port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    state: State,
    /// Times that another program took it out since it last stayed.
    taken: u32,
}

impl Expected {
    /// Answers how often another program has taken it out, and when it is taken back, where it just did.
    fn step(&mut self, now: Instant, seen: Seen) -> Option<(u32, Option<Duration>)> {
        let (state, told) = match (&self.state, seen) {
            (State::Inside { since }, Seen::Inside) => {
                if now.saturating_since(*since) >= SETTLED {
                    self.taken = 0;
                }
                return None;
            }
            (_, Seen::Inside) => (State::Inside { since: now }, None),
            (_, Seen::Gone) => {
                self.taken = 0;
                (State::Away, None)
            }
            (State::Away, Seen::There) => (State::Due { at: now, why: None }, None),
            (State::Inside { .. }, Seen::There) => {
                self.taken += 1;
                let delay =
                    (self.taken <= TIMES).then(|| Duration::from_secs(1 << (self.taken - 1)));
                let why = "another program took it out; it is taken back".to_owned();
                let state = delay.map_or(State::LeftAlone, |delay| State::Due {
                    at: now + delay,
                    why: Some(why),
                });
                (state, Some((self.taken, delay)))
            }
            (State::Due { .. } | State::LeftAlone, Seen::There) => return None,
        };
        self.state = state;
        told
    }

    /// It could not join. Answers whether the reason is another than before.
    fn failed(&mut self, now: Instant, why: String) -> bool {
        let known = matches!(&self.state, State::Due { why: Some(known), .. } if *known == why);
        self.state = State::Due {
            at: now + REJOIN_INTERVAL,
            why: Some(why),
        };
        !known
    }

    /// When it is tried next.
    const fn due(&self) -> Option<Instant> {
        match self.state {
            State::Due { at, .. } => Some(at),
            _ => None,
        }
    }

    /// Why it is there and not inside, where there is something to tell.
    fn why(&self) -> Option<String> {
        match &self.state {
            State::Due { why, .. } => why.clone(),
            State::LeftAlone => Some(format!(
                "another program took it out {} times (NetworkManager, systemd-networkd and ifupdown do that to \
                 interfaces that they manage), so it is left alone; end that program's care of it, then oxbond add-port",
                self.taken
            )),
            State::Away | State::Inside { .. } => None,
        }
    }
}

impl KernelBond {
    /// An expected port waits for its time.
    pub(in crate::daemon) fn is_hindered(&self) -> bool {
        self.next_attempt().is_some()
    }

    /// Whether this interface is expected and not in the bond.
    pub(super) fn is_missing(&self, name: &str) -> bool {
        self.wanted.ports.iter().any(|port| port.name == name) && self.index_of(name).is_none()
    }

    /// Expected ports that are there and not in the bond, with the reason.
    pub(super) fn hindrances(&self) -> BTreeMap<String, String> {
        let ports = self.expected.iter();
        ports
            .filter_map(|(name, port)| Some((name.clone(), port.why()?)))
            .collect()
    }

    /// When a port is tried next.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        self.expected.values().filter_map(Expected::due).min()
    }

    /// The bond cannot be read: what is due has to wait.
    pub(super) fn put_off(&mut self, now: Instant) {
        for port in self.expected.values_mut() {
            if let State::Due { at, .. } = &mut port.state {
                *at = (*at).max(now + REJOIN_INTERVAL);
            }
        }
    }

    /// Ports that were left alone are fought for again.
    pub(super) fn forgive(&mut self) {
        self.expected
            .retain(|_, port| port.state != State::LeftAlone);
    }

    /// Notes where the expected ports are.
    pub(super) fn note_expected(&mut self, netlink: &mut Netlink, now: Instant) {
        let names = names_of(&self.wanted);
        self.expected.retain(|name, _| names.contains(name));
        for name in names {
            let seen = if self.index_of(&name).is_some() {
                Seen::Inside
            } else if matches!(netlink.link(&name), Ok(None)) {
                Seen::Gone
            } else {
                Seen::There
            };
            let port = self.expected.entry(name.clone()).or_default();
            if let Some((times, again)) = port.step(now, seen) {
                self.events.push(Event::PortTakenOut { name, times, again });
            }
        }
    }

    /// Joins the ports whose time has come.
    pub(super) fn rejoin_missing(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
    ) {
        let due = self.expected.iter();
        let due = due.filter(|(_, port)| port.due().is_some_and(|at| at <= now));
        let due: Vec<String> = due.map(|(name, _)| name.clone()).collect();
        let mut joined = false;
        for name in due {
            joined |= self.rejoin(netlink, now, &name, taken);
        }
        if joined && let Err(failure) = self.look(netlink, now) {
            warn!("{}: {failure}", self.wanted.name);
        }
    }

    fn rejoin(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        name: &str,
        taken: &BTreeMap<u32, String>,
    ) -> bool {
        let mut ports = self.wanted.ports.iter();
        let Some(mut request) = ports.find(|port| port.name == name).cloned() else {
            return false;
        };
        let mode = self.picture.options.mode;
        request.options = awake(Engine::Kernel, mode, &request.options);
        let joined = inspect::inspect_port(netlink, &self.wanted.name, name, taken)
            .map_err(refused_as_port)
            .and_then(|candidate| self.join(netlink, &request, &candidate))
            .and_then(|()| self.set_late_options(netlink, &[OptionId::Primary]));
        match joined {
            Ok(()) => {
                info!("{}: {name} joined again", self.wanted.name);
                true
            }
            Err(failure) => {
                let port = self.expected.entry(name.to_owned()).or_default();
                if port.failed(now, failure.message.clone()) {
                    warn!(
                        "{}: {name} is back but cannot join: {failure}",
                        self.wanted.name
                    );
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    /// A port that another program takes out whenever it is inside.
    #[test]
    fn a_port_is_taken_back_five_times_and_then_left_alone() {
        let mut port = Expected::default();
        assert_eq!(port.step(at(0), Seen::There), None);
        assert_eq!(port.due(), Some(at(0)));
        let mut now = 0;
        for (times, delay) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16)] {
            assert_eq!(port.step(at(now), Seen::Inside), None);
            let told = port.step(at(now), Seen::There);
            assert_eq!(told, Some((times, Some(Duration::from_secs(delay)))));
            assert_eq!(port.step(at(now), Seen::There), None, "it is told once");
            now += delay;
            assert_eq!(port.due(), Some(at(now)));
        }
        port.step(at(now), Seen::Inside);
        assert_eq!(port.step(at(now), Seen::There), Some((6, None)));
        assert_eq!(port.due(), None);
        assert!(port.why().unwrap().contains("6 times"));
        port.step(at(now), Seen::Inside);
        assert_eq!((port.due(), port.why()), (None, None));
    }

    #[test]
    fn a_port_that_stayed_or_was_away_starts_anew() {
        for between in [Seen::Inside, Seen::Gone] {
            let mut port = Expected::default();
            for _ in 0..3 {
                port.step(at(0), Seen::Inside);
                port.step(at(0), Seen::There);
            }
            port.step(at(1), Seen::Inside);
            port.step(at(70), between);
            port.step(at(71), Seen::Inside);
            let told = port.step(at(72), Seen::There).unwrap();
            assert_eq!(told.0, 1, "{between:?}");
        }
    }

    #[test]
    fn one_that_cannot_join_is_tried_every_five_seconds_and_told_once() {
        let mut port = Expected::default();
        port.step(at(0), Seen::There);
        assert!(port.failed(at(0), "busy".to_owned()));
        assert!(!port.failed(at(5), "busy".to_owned()));
        assert_eq!(port.due(), Some(at(10)));
        assert!(port.failed(at(10), "wireless".to_owned()));
        port.step(at(11), Seen::Gone);
        assert_eq!((port.due(), port.why()), (None, None));
    }
}
