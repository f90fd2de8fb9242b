//! Virtual time and what is due when. Knows nothing of bonds.

use core::cmp::Ordering;
use std::collections::BinaryHeap;

use oxbond_core::time::Instant;

/// Events in order of time; those of one moment in the order they were scheduled.
#[derive(Debug)]
pub struct World<E> {
    now: Instant,
    scheduled: u64,
    due: BinaryHeap<Due<E>>,
}

impl<E> World<E> {
    /// An empty world at the epoch.
    pub const fn new() -> Self {
        Self {
            now: Instant::ZERO,
            scheduled: 0,
            due: BinaryHeap::new(),
        }
    }

    /// The time of the event handed out last.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Lets an event happen at a time; one that has passed means now.
    pub fn schedule(&mut self, at: Instant, event: E) {
        let at = at.max(self.now);
        self.scheduled += 1;
        self.due.push(Due {
            at,
            number: self.scheduled,
            event,
        });
    }

    /// The next event up to and including `until`, time being moved on to it; `None` moves time on to `until`.
    pub fn next(&mut self, until: Instant) -> Option<E> {
        match self.due.peek() {
            Some(due) if due.at <= until => {
                let due = self.due.pop()?;
                self.now = due.at;
                Some(due.event)
            }
            _ => {
                self.now = self.now.max(until);
                None
            }
        }
    }
}

impl<E> Default for World<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug)]
struct Due<E> {
    at: Instant,
    number: u64,
    event: E,
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Due<E> {}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Due<E> {
    /// The greatest is the earliest, since the heap hands out the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_then_of_scheduling() {
        let mut world = World::new();
        for (at, event) in [(5, 'c'), (3, 'a'), (5, 'd'), (4, 'b'), (9, 'x')] {
            world.schedule(Instant::from_millis(at), event);
        }
        let mut seen = String::new();
        while let Some(event) = world.next(Instant::from_millis(8)) {
            seen.push(event);
        }
        assert_eq!(
            (seen.as_str(), world.now()),
            ("abcd", Instant::from_millis(8))
        );
        world.schedule(Instant::from_millis(1), 'y');
        assert_eq!(world.next(Instant::from_millis(9)), Some('y'));
        assert_eq!(
            world.now(),
            Instant::from_millis(8),
            "time does not run backwards"
        );
    }
}
