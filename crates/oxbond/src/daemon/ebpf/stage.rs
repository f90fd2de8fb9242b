//! The ports of a bond go from one engine to the other one after the other: where the one stands whose turn it is.
//!
//! | stage | when | to |
//! |---|---|---|
//! | `Next` | a port is left, and others carry the traffic | it is drained: `Leaving` |
//! | `Next` | a port is left, and no other carries | it changes hands: `Settling` |
//! | `Next` | no port is left | over |
//! | `Leaving` | it carries nothing any more, or its time is over | it changes hands: `Settling` |
//! | `Settling` | it has carried again for [`STEADY`], or its time is over | `Next` |
//!
//! What it takes to drain a port or to let it change hands depends on the way the bond goes, and so does the caller who asks
//! for it: see `moving` and `departing`.

use std::time::Duration;

use oxbond_core::time::Instant;
use serde::{Deserialize, Serialize};

/// Longest time for a port to be drained.
const LEAVING: Duration = Duration::from_secs(4);
/// Longest time for a port to carry again; a link that is slower is waited for no longer.
const SETTLING: Duration = Duration::from_secs(15);
/// How long it must have carried: a switch needs a moment until it forwards to a link that has come up.
const STEADY: Duration = Duration::from_millis(500);
/// Time between two looks.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Where the port stands whose turn it is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Stage {
    /// It is nobody's turn.
    Next,
    /// It is still ours to be drained.
    Leaving { port: String, until: Instant },
    /// It has changed hands.
    Settling {
        port: String,
        until: Instant,
        /// Since when it carries.
        since: Option<Instant>,
    },
}

impl Stage {
    /// This port is being drained.
    pub(super) fn leaving(port: String, now: Instant) -> Self {
        Self::Leaving {
            port,
            until: now + LEAVING,
        }
    }

    /// This port has just changed hands.
    pub(super) fn settling(port: String, now: Instant) -> Self {
        Self::Settling {
            port,
            until: now + SETTLING,
            since: None,
        }
    }

    /// What follows on a look at a port that has changed hands.
    pub(super) fn settled(
        port: String,
        until: Instant,
        since: Option<Instant>,
        now: Instant,
        carries: bool,
    ) -> Self {
        let since = carries.then(|| since.unwrap_or(now));
        let steady = since.is_some_and(|since| now.saturating_since(since) >= STEADY);
        match steady || now >= until {
            true => Self::Next,
            false => Self::Settling { port, until, since },
        }
    }
}
