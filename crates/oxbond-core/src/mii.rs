//! The link monitor of one port: from carrier, as the system reports it, or from what the port hears (see
//! `bond/probing.rs`), to the state the bond acts on.
//!
//! Driven by events as well as polls: whoever drives the core reports a link whenever it hears of one and every
//! `miimon` milliseconds. Delays are deadlines, not counted polls, so they last what was asked for.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::status::MiiStatus;
use crate::time::Instant;

/// State of a link with the deadline of a delay that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mii {
    /// Usable.
    Up,
    /// Lost; given up at the deadline.
    GoingDown(Instant),
    /// Not usable.
    Down,
    /// Back; used at the deadline.
    GoingBack(Instant),
    /// Not usable; it asks the targets now, as no port is active.
    Tried,
}

/// What happens to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stimulus {
    /// It is not usable, says the system.
    Lost,
    /// It is usable, says the system.
    Back,
    /// Time has passed.
    Due,
    /// The bond has no other port and needs this one now: the up delay is cut short.
    Promote,
    /// It has heard what shows that its path works.
    Heard,
    /// It has not, for too long.
    Silent,
    /// It is its turn to ask the targets.
    Try,
}

/// `updelay` and `downdelay`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delays {
    pub(crate) up: Duration,
    pub(crate) down: Duration,
}

impl Mii {
    /// The state that follows, `None` for no change.
    ///
    /// | state | `Lost` | `Back` | `Due` | `Promote` | `Heard` | `Silent` | `Try` |
    /// |---|---|---|---|---|---|---|---|
    /// | Up | Going down; Down without down delay | | | | | Down | |
    /// | Going down | | Up ("up again") | Down at the deadline | | | | |
    /// | Down | | Going back; Up without up delay | | | Up | | Tried |
    /// | Going back | Down ("down again") | | Up at the deadline | Up | | | |
    /// | Tried | Down | | | | Up | Down | |
    ///
    /// Driver behaviour: the inspection and commit of its MII monitor, with the same words in its log; the last three
    /// stimuli come from the ARP monitor, which knows no delays. `Back` comes from the MII monitor only.
    pub(crate) fn next(self, stimulus: Stimulus, now: Instant, delays: Delays) -> Option<Self> {
        match (self, stimulus) {
            (Self::Up, Stimulus::Lost) if delays.down.is_zero() => Some(Self::Down),
            (Self::Up, Stimulus::Lost) => Some(Self::GoingDown(now + delays.down)),
            (Self::GoingDown(_), Stimulus::Back) => Some(Self::Up),
            (Self::GoingDown(deadline), Stimulus::Due) if deadline <= now => Some(Self::Down),
            (Self::Down, Stimulus::Back) if delays.up.is_zero() => Some(Self::Up),
            (Self::Down, Stimulus::Back) => Some(Self::GoingBack(now + delays.up)),
            (Self::GoingBack(_), Stimulus::Lost) => Some(Self::Down),
            (Self::GoingBack(deadline), Stimulus::Due) if deadline <= now => Some(Self::Up),
            (Self::GoingBack(_), Stimulus::Promote) => Some(Self::Up),
            (Self::Down | Self::Tried, Stimulus::Heard) => Some(Self::Up),
            (Self::Up | Self::Tried, Stimulus::Silent) => Some(Self::Down),
            (Self::Tried, Stimulus::Lost) => Some(Self::Down),
            (Self::Down, Stimulus::Try) => Some(Self::Tried),
            _ => None,
        }
    }

    /// When a delay that runs is over.
    pub(crate) const fn deadline(self) -> Option<Instant> {
        match self {
            Self::GoingDown(deadline) | Self::GoingBack(deadline) => Some(deadline),
            Self::Up | Self::Down | Self::Tried => None,
        }
    }

    pub(crate) const fn status(self) -> MiiStatus {
        match self {
            Self::Up => MiiStatus::Up,
            Self::GoingDown(_) => MiiStatus::GoingDown,
            Self::Down => MiiStatus::Down,
            Self::GoingBack(_) | Self::Tried => MiiStatus::GoingBack,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of [`Mii::next`], whole.
    #[test]
    fn every_cell_of_the_table() {
        use Stimulus::{Back, Due, Heard, Lost, Promote, Silent, Try};
        let now = Instant::from_millis(1000);
        let early = Instant::from_millis(999);
        let late = Instant::from_millis(1001);
        let delayed = Delays {
            up: Duration::from_millis(300),
            down: Duration::from_millis(200),
        };
        let at_once = Delays {
            up: Duration::ZERO,
            down: Duration::ZERO,
        };
        let row = |changes: &[(Stimulus, Mii)]| {
            let next = |stimulus| {
                changes
                    .iter()
                    .find(|(given, _)| *given == stimulus)
                    .map(|(_, next)| *next)
            };
            [Lost, Back, Due, Promote, Heard, Silent, Try]
                .map(|stimulus| (stimulus, next(stimulus)))
        };
        for (state, delays, expected) in [
            (
                Mii::Up,
                delayed,
                row(&[
                    (Lost, Mii::GoingDown(Instant::from_millis(1200))),
                    (Silent, Mii::Down),
                ]),
            ),
            (
                Mii::Up,
                at_once,
                row(&[(Lost, Mii::Down), (Silent, Mii::Down)]),
            ),
            (
                Mii::Tried,
                at_once,
                row(&[(Lost, Mii::Down), (Heard, Mii::Up), (Silent, Mii::Down)]),
            ),
            (Mii::GoingDown(late), delayed, row(&[(Back, Mii::Up)])),
            (
                Mii::GoingDown(now),
                delayed,
                row(&[(Back, Mii::Up), (Due, Mii::Down)]),
            ),
            (
                Mii::GoingDown(early),
                delayed,
                row(&[(Back, Mii::Up), (Due, Mii::Down)]),
            ),
            (
                Mii::Down,
                delayed,
                row(&[
                    (Back, Mii::GoingBack(Instant::from_millis(1300))),
                    (Heard, Mii::Up),
                    (Try, Mii::Tried),
                ]),
            ),
            (
                Mii::Down,
                at_once,
                row(&[(Back, Mii::Up), (Heard, Mii::Up), (Try, Mii::Tried)]),
            ),
            (
                Mii::GoingBack(late),
                delayed,
                row(&[(Lost, Mii::Down), (Promote, Mii::Up)]),
            ),
            (
                Mii::GoingBack(now),
                delayed,
                row(&[(Lost, Mii::Down), (Promote, Mii::Up), (Due, Mii::Up)]),
            ),
        ] {
            for (stimulus, next) in expected {
                assert_eq!(
                    state.next(stimulus, now, delays),
                    next,
                    "{state:?} {stimulus:?}"
                );
            }
        }
    }
}
