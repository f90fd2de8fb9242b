//! Guests: stations that are reached through the bond and are not the bond itself. After a failover the switches still have
//! them on the port before, so each is announced on the new one.
//!
//! | mode | when |
//! |---|---|
//! | active-backup, balance-tlb, balance-alb | another port is the active one |
//! | 802.3ad | no port that sends now has sent before: another aggregator, another port without a partner |
//! | balance-xor | a port is lost, or comes back: flows have moved |
//! | balance-rr, broadcast | never: a guest is on every port |
//!
//! The list is asked for at that moment ([`Action::ListGuests`]), so nothing has to be kept up to date. The frames go as the
//! guests' own traffic does, through the front device.

use core::time::Duration;

use oxbond_wire::rarp;
use serde::{Deserialize, Serialize};

use super::Bond;
use crate::action::Action;
use crate::announce::Repeat;
use crate::input::Guest;
use crate::option::Mode;
use crate::table::{Spread, TransmitTable};
use crate::time::Instant;

/// Most frames at once, and the time between: 10,000 a second, so 500 guests take 50 ms, and a switch port of 100 Mb/s is
/// busy with them for 7 % of the time.
const BURST: usize = 50;
const INTERVAL: Duration = Duration::from_millis(5);

/// What is yet to be announced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Guests {
    /// When their list is asked for.
    lists: Repeat,
    /// In reverse.
    waiting: Vec<Guest>,
    /// When the next of `waiting` go.
    next: Option<Instant>,
}

impl Guests {
    /// When [`Bond::announce_guests`] has work.
    pub(super) fn due(&self) -> impl Iterator<Item = Instant> {
        self.lists.due().into_iter().chain(self.next)
    }
}

impl Bond {
    /// Guests are reached another way from now on.
    pub(super) fn guests_moved(&mut self, now: Instant) {
        let times = if self.admin_up {
            self.options.num_grat_arp
        } else {
            0
        };
        self.guests = Guests {
            lists: Repeat::start(times, now),
            ..Guests::default()
        };
    }

    /// The bond is down, or no port carries anything.
    pub(super) fn forget_guests(&mut self) {
        self.guests = Guests::default();
    }

    /// What a new table means for guests, in modes without an active port.
    pub(super) fn guests_follow(&mut self, now: Instant, before: &TransmitTable) {
        let (old, new) = (before.senders(), self.table.senders());
        let moved = match (self.options.mode, &before.spread, &self.table.spread) {
            (Mode::Ieee8023ad, ..) => !new.iter().any(|port| old.contains(port)),
            (Mode::BalanceXor, Spread::Buckets(before), Spread::Buckets(after)) => {
                before.key == after.key && before.now != after.now
            }
            _ => return,
        };
        if new.is_empty() {
            self.forget_guests();
        } else if moved {
            self.guests_moved(now);
        }
    }

    /// The list that was asked for.
    pub(super) fn guests_listed(&mut self, now: Instant, mut guests: Vec<Guest>) {
        guests.retain(|guest| guest.mac.is_unicast() && !guest.mac.is_zero());
        guests.sort();
        guests.dedup();
        guests.reverse();
        self.guests.next = (!guests.is_empty() && self.admin_up).then_some(now);
        self.guests.waiting = guests;
        self.announce_guests(now);
    }

    /// Asks for the list, and announces those on it, when it is time.
    pub(super) fn announce_guests(&mut self, now: Instant) {
        if self.guests.lists.take(now, self.peer_interval()) {
            self.actions.push_back(Action::ListGuests);
            if !self.monitored() {
                // As with the bond's own addresses.
                self.guests.lists = Repeat::default();
            }
        }
        if self.guests.next.is_some_and(|next| next <= now) {
            let left = self.guests.waiting.len().saturating_sub(BURST);
            let turn = self.guests.waiting.split_off(left);
            let frames = turn.iter().rev().map(|guest| Action::SendFrame {
                frame: rarp::announcement(guest.mac, &guest.vlans),
            });
            self.actions.extend(frames);
            self.guests.next = (left > 0).then(|| now + INTERVAL);
        }
    }
}
