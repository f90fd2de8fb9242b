//! A network on trial: all goes back unless it is confirmed in time, at once when a gate stays shut or the daemon dies.
//!
//! | state | event | to |
//! |---|---|---|
//! | none, confirmed, rolled back | `try` | pending |
//! | pending | `confirm` | confirmed |
//! | pending | `rollback`, time is up, a gate's time is up | rolled back |
//! | pending | the daemon dies | rolled back, by the next daemon as it starts |

use std::net::IpAddr;
use std::time::Duration;

use oxbond_core::option::Mode;
use oxbond_core::time::Instant;
use tracing::{info, warn};

use super::service::{Service, now};
use crate::control::protocol::{Gate, TrialState};
use crate::exit::Failure;
use crate::network::{Undo, Wanted};
use crate::refusal::{configuration, refused};

/// Time between two looks at the gates.
const GATE_INTERVAL: Duration = Duration::from_millis(100);

/// Time between two questions to a gateway; the kernel repeats each twice within it.
const ASK_INTERVAL: Duration = Duration::from_secs(3);

/// What is on trial, and what became of the last trial.
pub(super) struct Trials {
    pending: Option<Trial>,
    last: TrialState,
}

struct Trial {
    wanted: Wanted,
    undo: Undo,
    until: Instant,
    timeout: Duration,
    gates: Vec<Shut>,
    gates_until: Instant,
    gates_within: Duration,
    next_look: Instant,
}

/// A gate that has not opened yet.
enum Shut {
    Gateway {
        device: String,
        address: IpAddr,
        asked: Option<Instant>,
    },
    Partner {
        bond: String,
    },
}

impl Shut {
    fn words(&self) -> String {
        match self {
            Self::Gateway {
                device, address, ..
            } => format!("gateway {address} to answer over {device}"),
            Self::Partner { bond } => format!("an LACP partner of {bond}"),
        }
    }
}

impl Trials {
    pub(super) const fn new() -> Self {
        Self {
            pending: None,
            last: TrialState::None,
        }
    }

    /// When [`Service::look_at_trial`] has work.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let trial = self.pending.as_ref()?;
        Some(match trial.gates.is_empty() {
            true => trial.until,
            false => trial.until.min(trial.next_look).min(trial.gates_until),
        })
    }

    /// What a client is told.
    pub(super) fn state(&self, now: Instant) -> TrialState {
        match &self.pending {
            None => self.last.clone(),
            Some(trial) => TrialState::Pending {
                left_ms: millis(trial.until.saturating_since(now)),
                gates: trial.gates.iter().map(Shut::words).collect(),
            },
        }
    }

    /// While something is on trial, nothing else is changed: the way back leads from it alone.
    pub(super) fn refuse_others(&self) -> Result<(), Failure> {
        match &self.pending {
            None => Ok(()),
            Some(_) => Err(refused(
                "a network is on trial, and the way back from it must stay clear; first 'oxbond confirm' keeps it, or \
                 'oxbond rollback' ends it",
            )),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Service {
    /// Applies for a trial. Without a difference there is nothing to try.
    pub(super) fn try_network(
        &mut self,
        wanted: Wanted,
        timeout: Duration,
        gates: &[Gate],
        gates_within: Duration,
    ) -> Result<Vec<String>, Failure> {
        let wanted = self.with_found_ports(&wanted)?;
        let gates = shut(&wanted, gates)?;
        let Some((said, undo)) = self.take_steps(&wanted)? else {
            return Ok(Vec::new());
        };
        let begun = now();
        self.trials.pending = Some(Trial {
            wanted,
            undo,
            until: begun + timeout,
            timeout,
            gates,
            gates_until: begun + gates_within,
            gates_within,
            next_look: begun,
        });
        Ok(said)
    }

    /// Keeps what is on trial.
    pub(super) fn confirm(&mut self) -> Result<Vec<String>, Failure> {
        let Some(trial) = &self.trials.pending else {
            return Err(nothing_on_trial());
        };
        let wanted = trial.wanted.clone();
        // If that fails the trial goes on, and ends as it would have.
        let running = self.running(&wanted)?;
        self.settle_network(&wanted, running)?;
        self.trials.pending = None;
        self.trials.last = TrialState::Confirmed;
        Ok(vec!["the network is confirmed, and stays".to_owned()])
    }

    /// Goes back now.
    pub(super) fn roll_back(&mut self) -> Result<Vec<String>, Failure> {
        if self.trials.pending.is_none() {
            return Err(nothing_on_trial());
        }
        let complaints = self.end_trial("rollback was asked for".to_owned());
        Ok(match complaints.as_slice() {
            [] => vec!["everything is as it was before".to_owned()],
            complaints => {
                let not = complaints
                    .iter()
                    .map(|c| format!("not as it was before: {c}"));
                not.collect()
            }
        })
    }

    /// Opens gates, and ends the trial when its time, or that of a gate, is up.
    pub(super) fn look_at_trial(&mut self, now: Instant) {
        let Some(mut trial) = self.trials.pending.take() else {
            return;
        };
        if !trial.gates.is_empty() && trial.next_look <= now {
            trial.next_look = now + GATE_INTERVAL;
            trial.gates.retain_mut(|gate| !self.opens(gate, now));
        }
        let why = if now >= trial.until {
            let seconds = trial.timeout.as_secs();
            Some(format!("no confirmation came within {seconds} s"))
        } else if !trial.gates.is_empty() && now >= trial.gates_until {
            let gates: Vec<String> = trial.gates.iter().map(Shut::words).collect();
            let seconds = trial.gates_within.as_secs_f64();
            Some(format!(
                "waited {seconds} s in vain for {}",
                gates.join(", ")
            ))
        } else {
            None
        };
        self.trials.pending = Some(trial);
        if let Some(why) = why {
            self.end_trial(why);
        }
    }

    fn end_trial(&mut self, why: String) -> Vec<String> {
        let Some(trial) = self.trials.pending.take() else {
            return Vec::new();
        };
        warn!("the trial ends, everything goes back: {why}");
        let complaints = self.go_back(&trial.undo);
        for complaint in &complaints {
            warn!("not as it was before: {complaint}");
        }
        self.trials.last = TrialState::RolledBack {
            why,
            complaints: complaints.clone(),
        };
        complaints
    }

    /// Whether a gate has opened.
    fn opens(&mut self, gate: &mut Shut, now: Instant) -> bool {
        let words = gate.words();
        let open = match gate {
            Shut::Gateway {
                device,
                address,
                asked,
            } => self.gateway_answers(device, *address, asked, now),
            Shut::Partner { bond } => self
                .bonds
                .get(bond)
                .is_some_and(|bond| bond.has_partner(now)),
        };
        if open {
            info!("trial: there is {words}");
        }
        open
    }

    fn gateway_answers(
        &mut self,
        device: &str,
        address: IpAddr,
        asked: &mut Option<Instant>,
        now: Instant,
    ) -> bool {
        let Ok(Some(link)) = self.netlink.link(device) else {
            return false;
        };
        // What it answered before the change does not count.
        let anew = asked.is_none();
        if asked.is_none_or(|asked| now >= asked + ASK_INTERVAL) {
            *asked = Some(now);
            if let Err(e) = self.netlink.ask_neighbour(link.index, address, anew) {
                warn!("trial: {e}");
            }
        }
        matches!(
            self.netlink.neighbour_answers(link.index, address),
            Ok(true)
        )
    }
}

fn nothing_on_trial() -> Failure {
    refused("nothing is on trial; 'oxbond try' begins one")
}

/// The gates of a network, all shut.
fn shut(wanted: &Wanted, gates: &[Gate]) -> Result<Vec<Shut>, Failure> {
    let mut all = Vec::new();
    for gate in gates {
        let before = all.len();
        match gate {
            Gate::Gateway => {
                all.extend(
                    wanted
                        .gateways()
                        .into_iter()
                        .map(|(device, address)| Shut::Gateway {
                            device: device.to_owned(),
                            address,
                            asked: None,
                        }),
                );
                if all.len() == before {
                    return Err(configuration(
                        "gate 'gateway': the files name no default gateway; leave the gate out",
                    ));
                }
            }
            Gate::Partner => {
                for bond in &wanted.bonds {
                    if bond.mode()? == Mode::Ieee8023ad {
                        let bond = bond.request.name.clone();
                        all.push(Shut::Partner { bond });
                    }
                }
                if all.len() == before {
                    return Err(configuration(
                        "gate 'partner': the files have no bond of mode 802.3ad; leave the gate out",
                    ));
                }
            }
        }
    }
    Ok(all)
}
