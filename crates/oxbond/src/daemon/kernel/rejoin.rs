//! Ports that were asked for and are not in the bond: they join when they are there again, and again when somebody else took
//! them out, but not for ever.
//!
//! | the interface | was in the bond | what is done |
//! |---|---|---|
//! | is gone | | waited for |
//! | is there | never, or it was gone meanwhile | joins at once |
//! | is there | and was taken out by somebody else | joins after 1, 2, 4, 8, 16 s; then it is given up, and told |
//! | is there and cannot join | | tried again every 5 s |
//!
//! A port that has stayed for a minute starts anew. One that was given up joins by `oxbond add-port` or `oxbond apply`.

use std::collections::BTreeMap;
use std::time::Duration;

use oxbond_core::time::Instant;
use oxbond_linux::inspect;
use oxbond_linux::netlink::Netlink;
use tracing::{info, warn};

use super::KernelBond;
use crate::refusal::refused_as_port;

/// What is known of a port that is not, or was not, in the bond.
#[derive(Debug)]
pub(super) struct Absence {
    /// Times that somebody else took it out.
    taken: u32,
    /// When it was last seen in the bond.
    seen: Option<Instant>,
    /// It is out.
    out: bool,
    /// When it is tried next; `None`: not by ourselves any more.
    again: Option<Instant>,
    /// Why it could not join, or is not tried any more.
    why: Option<String>,
}

/// Times that a port is taken back from whoever took it out.
const TIMES: u32 = 5;

/// A port that stays this long is not being fought for.
const SETTLED: Duration = Duration::from_secs(60);

/// Time between two attempts of a port that cannot join.
const REJOIN_INTERVAL: Duration = Duration::from_secs(5);

impl KernelBond {
    /// An expected port could not join, and is tried again.
    pub(in crate::daemon) fn is_hindered(&self) -> bool {
        self.absent
            .values()
            .any(|absence| absence.out && absence.again.is_some())
    }

    /// Whether this interface is expected and not in the bond.
    pub(super) fn is_missing(&self, name: &str) -> bool {
        self.wanted.ports.iter().any(|port| port.name == name) && self.index_of(name).is_none()
    }

    /// Expected ports that are there and could not join, with the reason.
    pub(super) fn hindrances(&self) -> BTreeMap<String, String> {
        let told = self.absent.iter().filter(|(_, absence)| absence.out);
        told.filter_map(|(name, absence)| Some((name.clone(), absence.why.clone()?)))
            .collect()
    }

    /// When an absent port is tried next.
    pub(in crate::daemon) fn next_wake(&self) -> Option<Instant> {
        let out = self.absent.values().filter(|absence| absence.out);
        out.filter_map(|absence| absence.again).min()
    }

    /// Absent ports whose time has come.
    pub(in crate::daemon) fn on_timeout(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
    ) {
        self.look_again(netlink, now, taken);
    }

    /// Notes which of the expected ports are in the bond, and which somebody else took out since the last look.
    pub(super) fn note_absent(&mut self, now: Instant) {
        let expected: Vec<String> = super::names_of(&self.wanted);
        self.absent.retain(|name, _| expected.contains(name));
        for name in expected {
            let inside = self.index_of(&name).is_some();
            let absence = self.absent.entry(name).or_insert(Absence {
                taken: 0,
                seen: None,
                out: false,
                again: None,
                why: None,
            });
            if inside {
                let begun = *absence.seen.get_or_insert(now);
                if !absence.out && now.saturating_since(begun) >= SETTLED {
                    absence.taken = 0;
                }
                if absence.out {
                    absence.seen = Some(now);
                }
                absence.out = false;
                absence.again = None;
                absence.why = None;
            } else if !absence.out {
                absence.out = true;
                absence.again = Some(now);
                if absence.seen.take().is_some() {
                    absence.taken += 1;
                    absence.again = (absence.taken <= TIMES)
                        .then(|| now + Duration::from_secs(1 << (absence.taken - 1)));
                    absence.why = Some(match absence.again {
                        Some(_) => "another program took it out; it is taken back".to_owned(),
                        None => format!(
                            "another program took it out {} times (NetworkManager, systemd-networkd and ifupdown do that \
                             to interfaces that they manage): it is left alone now; end that program's care of it, then \
                             oxbond add-port",
                            absence.taken
                        ),
                    });
                }
            }
        }
    }

    /// Joins the expected ports that are there and whose time has come.
    pub(super) fn rejoin_missing(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
    ) {
        let out = self.absent.iter().filter(|(_, absence)| absence.out);
        let out: Vec<String> = out.map(|(name, _)| name.clone()).collect();
        let mut joined = false;
        for name in out {
            let there = !matches!(netlink.link(&name), Ok(None));
            let Some(absence) = self.absent.get_mut(&name) else {
                continue;
            };
            if !there {
                // Its interface went, so nobody took it out; it is welcome when it returns.
                *absence = Absence {
                    taken: 0,
                    seen: None,
                    out: true,
                    again: None,
                    why: None,
                };
                continue;
            }
            let fresh = absence.again.is_none() && absence.why.is_none();
            if fresh || absence.again.is_some_and(|at| at <= now) {
                joined |= self.rejoin(netlink, now, &name, taken);
            }
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
        let ports = self.wanted.ports.iter();
        let Some(request) = ports.clone().find(|port| port.name == name).cloned() else {
            return false;
        };
        let joined = inspect::inspect_port(netlink, &self.wanted.name, name, taken)
            .map_err(refused_as_port)
            .and_then(|candidate| self.join(netlink, &request, &candidate))
            .and_then(|()| self.set_late_options(netlink));
        match joined {
            Ok(()) => {
                info!("{}: {name} joined again", self.wanted.name);
                true
            }
            Err(failure) => {
                if let Some(absence) = self.absent.get_mut(name) {
                    if absence.why.as_ref() != Some(&failure.message) {
                        warn!(
                            "{}: {name} is back but cannot join: {failure}",
                            self.wanted.name
                        );
                    }
                    absence.why = Some(failure.message);
                    absence.again = Some(now + REJOIN_INTERVAL);
                }
                false
            }
        }
    }
}
