//! The churn detection machines (802.1AX-2014, 6.4.17): a link that is up but does not get into sync.
//!
//! One for the actor and one for the partner, by the Sync of each:
//!
//! | from | when | to |
//! |---|---|---|
//! | any | link down | CHURN_MONITOR, its timer begins with the link |
//! | CHURN_MONITOR | Sync | NO_CHURN |
//! | CHURN_MONITOR | 60 s over | CHURN |
//! | NO_CHURN | no Sync | CHURN_MONITOR |
//! | CHURN | Sync | NO_CHURN |

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Instant;

/// Churn_Detection_Time (6.4.4).
const CHURN_DETECTION: Duration = Duration::from_secs(60);

/// State of a machine; the driver's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not in sync, for not long enough to say more.
    #[default]
    Monitoring,
    /// In sync.
    None,
    /// Not in sync for 60 s.
    Churned,
}

/// The machine of one side of one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Churn {
    pub(super) state: State,
    /// Times it churned.
    pub(super) count: u32,
    /// churn_timer.
    pub(super) timer: Option<Instant>,
}

fn next(state: State, sync: bool, due: bool) -> Option<State> {
    match state {
        State::Monitoring | State::Churned if sync => Some(State::None),
        State::Monitoring if due => Some(State::Churned),
        State::None if !sync => Some(State::Monitoring),
        _ => None,
    }
}

/// Advances by the link, the Sync of this side, and time. Whether the state changed.
pub(super) fn advance(churn: &mut Churn, now: Instant, link: bool, sync: bool) -> bool {
    let before = churn.state;
    if !link {
        churn.state = State::Monitoring;
        churn.timer = None;
        return before != churn.state;
    }
    let due = churn.timer.is_some_and(|at| at <= now);
    if let Some(state) = next(churn.state, sync, due) {
        churn.state = state;
        churn.timer = None;
        churn.count += u32::from(state == State::Churned);
    }
    if churn.state == State::Monitoring && churn.timer.is_none() {
        churn.timer = Some(now + CHURN_DETECTION);
    }
    before != churn.state
}
