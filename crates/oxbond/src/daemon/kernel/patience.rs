//! The ARP and NS monitor of a bond that has come from our own engine.
//!
//! It begins when the bond's addresses are there to ask from, and goes by what it heard last, which is nothing as long as it
//! does not monitor: the driver would take every port for down. So it is made to wait for answers as long as it can, and for
//! as many rounds as was asked for when the first have come. A driver that knows no such patience (before Linux 5.17) takes the
//! ports for down for a round.

use std::time::Duration;

use oxbond_core::option::{OptionChange, OptionId, OptionValue};
use oxbond_core::time::Instant;
use oxbond_linux::netlink::Netlink;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::KernelBond;
use crate::exit::Failure;
use crate::refusal::engine_failure;
use crate::request::parse_options;

/// Rounds until the first answers have come.
const ROUNDS: u32 = 2;

/// As many rounds without an answer as the driver lets a port have.
const UTMOST: u8 = u8::MAX;

/// The driver waits longer for answers than was asked for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::daemon) struct Patience {
    until: Instant,
    /// `arp_missed_max` from then on.
    then: u8,
}

impl KernelBond {
    /// Begins to monitor by ARP and neighbour discovery, where that was asked for and is not done yet.
    pub(super) fn begin_probing(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
    ) -> Result<(), Failure> {
        let options = self
            .engine
            .picture(netlink)
            .map_err(engine_failure)?
            .options;
        let possible = (OptionId::ArpInterval.spec().modes).contains(options.mode);
        let mut wanted = parse_options(&self.wanted.options)?;
        wanted.retain(|change| change.id == OptionId::ArpInterval);
        let Some(interval) = wanted.iter().find_map(interval_of) else {
            return Ok(());
        };
        if !possible || options.arp_interval != 0 {
            return Ok(());
        }
        if self.set(netlink, &[misses(UTMOST)]).is_ok() {
            self.patience = Some(Patience {
                until: now + interval * ROUNDS,
                then: options.arp_missed_max,
            });
        }
        let begun = self.set(netlink, &wanted);
        if begun.is_err() {
            self.end_patience(netlink);
        }
        begun
    }

    /// When [`KernelBond::lose_patience`] has work.
    pub(super) fn patience_ends(&self) -> Option<Instant> {
        self.patience.map(|patience| patience.until)
    }

    /// The first answers have had their time.
    pub(super) fn lose_patience(&mut self, netlink: &mut Netlink, now: Instant) {
        if self.patience_ends().is_some_and(|until| until <= now) {
            self.end_patience(netlink);
        }
    }

    fn end_patience(&mut self, netlink: &mut Netlink) {
        let Some(Patience { then, .. }) = self.patience.take() else {
            return;
        };
        // Another value is somebody's wish.
        let ended = match self.engine.picture(netlink) {
            Ok(picture) if picture.options.arp_missed_max != UTMOST => Ok(()),
            Ok(_) => self.set(netlink, &[misses(then)]),
            Err(e) => Err(engine_failure(e)),
        };
        if let Err(failure) = ended {
            warn!(
                "{}: its arp_missed_max stays at {UTMOST}: {failure}",
                self.wanted.name
            );
        }
    }
}

fn interval_of(change: &OptionChange) -> Option<Duration> {
    match change.value {
        OptionValue::Number(interval) if interval > 0 => {
            Some(Duration::from_millis(interval.unsigned_abs()))
        }
        _ => None,
    }
}

const fn misses(count: u8) -> OptionChange {
    OptionChange {
        id: OptionId::ArpMissedMax,
        value: OptionValue::Number(count as i64),
    }
}
