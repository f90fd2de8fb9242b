//! When learning frames are due: balance-tlb and balance-alb give every port an address of its own, and a switch must
//! know where each is (`lp_interval`).

use core::time::Duration;

use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use crate::port::PortId;
use crate::time::Instant;

/// The timer, and what the switches have been told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Learning {
    /// When all are told again; `None` while there is nothing to tell.
    next: Option<Instant>,
    /// The addresses told last.
    told: Vec<(PortId, MacAddr)>,
}

impl Learning {
    /// These ports, with these addresses, are to be known: at once if one is new, else in the rhythm of `interval`.
    pub(crate) fn keep(
        &mut self,
        now: Instant,
        interval: Duration,
        stations: &[(PortId, MacAddr)],
    ) {
        if stations.is_empty() {
            *self = Self::default();
            return;
        }
        self.told.retain(|known| stations.contains(known));
        let all_known = stations.iter().all(|station| self.told.contains(station));
        self.next = match self.next {
            Some(next) if all_known => Some(next.min(now + interval)),
            _ => Some(now),
        };
    }

    /// Whether these are to be told now.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        interval: Duration,
        stations: &[(PortId, MacAddr)],
    ) -> bool {
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            self.next = Some(now + interval);
            self.told = stations.to_vec();
        }
        due
    }

    /// When the next are due.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.next
    }
}
