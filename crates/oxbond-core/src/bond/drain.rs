//! Draining a port: it takes part no more, and nothing that is under way is lost.
//!
//! | | nothing new is sent | nothing is under way any more |
//! |---|---|---|
//! | 802.3ad | by LACP ([`crate::lacp`]) | by LACP: the partner has stopped and answered a marker, or 2 s are over |
//! | other modes | the table has it no more | [`GRACE`] is over; what arrives is delivered as before |

use core::time::Duration;

use super::{Bond, InputError, Port};
use crate::event::{Cause, Event};
use crate::lacp::{Drain, Lacp};
use crate::option::Mode;
use crate::port::PortId;
use crate::time::Instant;

/// Longest time for what a port's queues hold, and for peers to learn the port that took over.
const GRACE: Duration = Duration::from_secs(1);

impl Bond {
    /// Ports that are not drained.
    pub(super) fn partaking(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().filter(|port| port.drain == Drain::No)
    }

    pub(super) fn drain(&mut self, now: Instant, id: PortId) -> Result<(), InputError> {
        let Some(port) = self.port(id) else {
            return Err(self.unknown_port(id));
        };
        if port.drain != Drain::No {
            return Ok(());
        }
        let name = port.name.clone();
        let could_carry = self.lacp.as_ref().map_or_else(Vec::new, Lacp::could_carry);
        let works = |id: PortId| match self.options.mode {
            Mode::Ieee8023ad => self.distributing().contains(&id) || could_carry.contains(&id),
            _ => self.is_usable(id),
        };
        if works(id)
            && !self
                .partaking()
                .any(|other| other.id != id && works(other.id))
        {
            let bond = self.name.clone();
            return Err(InputError::LastToDrain { name, bond });
        }
        if let Some(port) = self.port_mut(id) {
            port.drain = Drain::Leaving { until: now + GRACE };
        }
        self.tell(Event::Draining { name: name.clone() });
        let cause = Cause::Drain { port: name };
        if self.active == Some(id) {
            self.reselect(now, &cause);
        }
        self.settle(now, &cause);
        Ok(())
    }

    pub(super) fn undrain(&mut self, now: Instant, id: PortId) -> Result<(), InputError> {
        let Some(port) = self.port_mut(id) else {
            return Err(self.unknown_port(id));
        };
        if port.drain == Drain::No {
            return Ok(());
        }
        port.drain = Drain::No;
        let (name, prio) = (port.name.clone(), port.options.prio);
        self.tell(Event::Undrained { name: name.clone() });
        let cause = Cause::Undrain { port: name };
        if self.is_usable(id) && self.may_challenge(self.primary() == Some(id), prio) {
            self.reselect(now, &cause);
        }
        self.settle(now, &cause);
        Ok(())
    }

    /// When [`Bond::drains_due`] has work. LACP has its own timers.
    pub(super) fn next_drained(&self) -> Option<Instant> {
        let until = |port: &Port| match port.drain {
            Drain::Leaving { until } if self.options.mode != Mode::Ieee8023ad => Some(until),
            _ => None,
        };
        self.ports.iter().filter_map(until).min()
    }

    pub(super) fn drains_due(&mut self, now: Instant) {
        if self.next_drained().is_some_and(|due| due <= now) {
            let over =
                |port: &&Port| matches!(port.drain, Drain::Leaving { until } if until <= now);
            let over: Vec<PortId> = self.ports.iter().filter(over).map(|port| port.id).collect();
            for id in over {
                self.drained(id);
            }
        }
    }

    /// Nothing is on this port any more.
    pub(super) fn drained(&mut self, id: PortId) {
        if let Some(port) = self.port_mut(id)
            && matches!(port.drain, Drain::Leaving { .. })
        {
            port.drain = Drain::Out;
            let name = port.name.clone();
            self.tell(Event::Drained { name });
        }
    }
}
