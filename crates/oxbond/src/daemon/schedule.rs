//! Which bond has work when. The event loop asks after everything it does, so the answer must not cost a look at every bond.

use std::collections::{BTreeMap, BTreeSet};

use oxbond_core::time::Instant;

/// The bonds by the time of their next work.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    by_time: BTreeSet<(Instant, String)>,
    by_name: BTreeMap<String, Instant>,
}

impl Schedule {
    /// Notes when a bond has work next; `None`: never.
    pub(super) fn set(&mut self, bond: &str, at: Option<Instant>) {
        if self.by_name.get(bond).copied() == at {
            return;
        }
        if let Some((name, before)) = self.by_name.remove_entry(bond) {
            self.by_time.remove(&(before, name));
        }
        if let Some(at) = at {
            self.by_name.insert(bond.to_owned(), at);
            self.by_time.insert((at, bond.to_owned()));
        }
    }

    /// When the first one has work.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Those that have work by now, earliest first.
    pub(super) fn due(&self, now: Instant) -> Vec<String> {
        let due = self.by_time.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, bond)| bond.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_first_and_each_once() {
        let at = Instant::from_millis;
        let mut schedule = Schedule::default();
        assert_eq!(schedule.next(), None);
        for (bond, time) in [("a", 30), ("b", 10), ("c", 20), ("a", 5)] {
            schedule.set(bond, Some(at(time)));
        }
        schedule.set("b", None);
        schedule.set("d", None);
        assert_eq!(schedule.next(), Some(at(5)));
        assert_eq!(schedule.due(at(4)), [""; 0]);
        assert_eq!(schedule.due(at(20)), ["a", "c"]);
    }
}
