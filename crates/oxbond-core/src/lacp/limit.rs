//! At most so many in one second, in any second.

use core::time::Duration;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::time::Instant;

/// The second: Fast_Periodic_Time of 802.1AX-2014, 6.4.4.
pub(super) const WINDOW: Duration = Duration::from_secs(1);

/// When the last few were done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limit(VecDeque<Instant>);

impl Limit {
    /// When the next one may be done, given that `most` may be in one [`WINDOW`].
    pub(super) fn free_at(&self, most: usize) -> Instant {
        let oldest = self.0.len().checked_sub(most).and_then(|i| self.0.get(i));
        oldest.map_or(Instant::ZERO, |oldest| *oldest + WINDOW)
    }

    /// Counts one, if it may be done now.
    pub(super) fn admit(&mut self, now: Instant, most: usize) -> bool {
        if self.free_at(most) > now {
            return false;
        }
        self.0.push_back(now);
        while self.0.len() > most {
            self.0.pop_front();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more() {
        let at = Instant::from_millis;
        let mut limit = Limit::default();
        let admitted: Vec<u64> = (0..3_000)
            .step_by(100)
            .filter(|ms| limit.admit(at(*ms), 3))
            .collect();
        assert_eq!(admitted, [0, 100, 200, 1000, 1100, 1200, 2000, 2100, 2200]);
        assert_eq!(limit.free_at(3), at(3000));
    }
}
