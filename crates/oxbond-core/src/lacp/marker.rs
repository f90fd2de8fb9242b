//! The Marker protocol (802.1AX-2014, 6.5): the responder that every port has, and a requester.
//!
//! The responder answers whatever the port's state, with what it was sent, at most [`MOST_ANSWERS`] times a second (6.5.4.2
//! lets a requester send five). The requester's marker tells that the partner has received all that was sent on the port
//! before; a flow may move to another port then without overtaking itself.

use core::time::Duration;

use oxbond_wire::lacp::Information;
use oxbond_wire::marker::{Kind, Marker, VERSION};
use serde::{Deserialize, Serialize};

use super::limit::Limit;
use crate::time::Instant;

/// Most answers in one second: twice what a requester may ask.
pub(super) const MOST_ANSWERS: usize = 10;

/// Most markers in one second that we send on a port (6.5.4.1).
pub(super) const MOST_ASKED: usize = 5;

/// How long an answer is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Markers of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marking {
    answered: Limit,
    asked: Limit,
    /// Transactions without answer, and until when they are waited for.
    open: Vec<(u32, Instant)>,
}

impl Marking {
    /// The answer to a marker; `None` when they come too fast.
    pub(super) fn answer(&mut self, now: Instant, marker: &Marker) -> Option<Marker> {
        self.answered.admit(now, MOST_ANSWERS).then_some(Marker {
            version: VERSION,
            kind: Kind::Response,
            ..*marker
        })
    }

    /// A marker of our own; `None` when they would go too fast.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        us: &Information,
        transaction: u32,
    ) -> Option<Marker> {
        if !self.asked.admit(now, MOST_ASKED) {
            return None;
        }
        self.open.push((transaction, now + PATIENCE));
        Some(Marker {
            version: VERSION,
            kind: Kind::Information,
            port: us.port,
            system: us.system,
            transaction,
        })
    }

    /// Takes a response. The transaction, if it is one of ours that is waited for.
    pub(super) fn answered(&mut self, us: &Information, marker: &Marker) -> Option<u32> {
        if (marker.system, marker.port) != (us.system, us.port) {
            return None;
        }
        let at = self
            .open
            .iter()
            .position(|(transaction, _)| *transaction == marker.transaction)?;
        Some(self.open.remove(at).0)
    }

    /// Transactions that are given up by now.
    pub(super) fn given_up(&mut self, now: Instant) -> Vec<u32> {
        let over = self.open.extract_if(.., |(_, until)| *until <= now);
        over.map(|(transaction, _)| transaction).collect()
    }

    /// An answer is waited for.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// When the next one is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.iter().map(|(_, until)| *until).min()
    }
}
