//! What is told to peers after a failover: where the bond's addresses are now, and which groups it listens to.

use core::net::IpAddr;
use core::time::Duration;

use oxbond_wire::arp::Arp;
use oxbond_wire::ndp::NeighbourAdvertisement;
use serde::{Deserialize, Serialize};

use crate::input::Announced;
use crate::time::Instant;

/// Time between repetitions of the multicast reports, fixed in the driver.
pub(crate) const REJOIN_INTERVAL: Duration = Duration::from_millis(200);

/// Something done a number of times at an interval, the first time at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Repeat {
    /// Times still to come.
    remaining: u8,
    /// When the next is due; without meaning when none remains.
    next: Instant,
}

impl Repeat {
    pub(crate) const fn start(times: u8, now: Instant) -> Self {
        Self {
            remaining: times,
            next: now,
        }
    }

    /// Whether a time has come; that one is then taken off. A caller that is late gets one, not all it missed.
    pub(crate) fn take(&mut self, now: Instant, interval: Duration) -> bool {
        let due = self.due().is_some_and(|next| next <= now);
        if due {
            self.remaining -= 1;
            self.next = now + interval;
        }
        due
    }

    /// When the next is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        (self.remaining > 0).then_some(self.next)
    }
}

/// The frame that tells everyone where an address is: gratuitous ARP (RFC 5227) or an unsolicited neighbour
/// advertisement (RFC 4861, section 7.2.6).
pub(crate) fn frame(announced: &Announced) -> Vec<u8> {
    let Announced {
        address,
        mac,
        vlans,
        router,
    } = announced;
    match *address {
        IpAddr::V4(ip) => Arp::announcement(*mac, ip).broadcast_frame(vlans),
        IpAddr::V6(ip) => {
            NeighbourAdvertisement::unsolicited(*mac, ip, *router).multicast_frame(*mac, vlans)
        }
    }
}
