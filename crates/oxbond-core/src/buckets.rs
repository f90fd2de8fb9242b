//! How the buckets of a [`Buckets`] are dealt to the ports, and where one goes whose port is lost.
//!
//! With *n* ports there are [`bucket_count`] buckets. Each port has as many *home* buckets as its weight asks for, to
//! the nearest bucket, and at least one. The *spares* of its home buckets are dealt to the other ports in the same way.
//! So, whatever the weights:
//!
//! - A port that is lost takes its own buckets along and no others, to the others in proportion to their weights; when
//!   it returns they return.
//! - With equal weights bucket *b* is at home on port `b % n`, so a flow goes where the driver would send it.
//! - A changed weight moves as few buckets as can be: those by which a port's number is to shrink, and no others. That
//!   needs the dealing before it; without one (and for round robin, where no flow belongs to a bucket) unequal shares
//!   are interleaved as smoothly as can be.
//!
//! When two ports are lost, the buckets that were at home on one and spared to the other are spread without regard to
//! weights: see [`ranked_choice`].

use crate::port::{MAX_PORTS, PortId};
use crate::table::{BucketKey, Buckets, Exempt, MAX_BUCKETS};

/// A port and what it is to carry in proportion to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The port.
    pub port: PortId,
    /// Its weight; 0 counts as 1.
    pub weight: u64,
}

impl Share {
    fn weight(self) -> u128 {
        self.weight.max(1).into()
    }
}

impl Buckets {
    /// Buckets in which every port has the same share. A bucket whose home is not usable goes to its
    /// [`ranked_choice`]; when no port is usable it stays at home.
    pub fn equal(key: BucketKey, order: &[PortId], usable: impl Fn(PortId) -> bool) -> Self {
        let share = |port: &PortId| Share {
            port: *port,
            weight: 1,
        };
        let shares: Vec<Share> = order.iter().map(share).collect();
        Self::weighted(key, &shares, None, usable)
    }

    /// Buckets in which every port has its share. `before` is the dealing to keep as much of as can be, if it was to
    /// the same ports.
    pub fn weighted(
        key: BucketKey,
        shares: &[Share],
        before: Option<&Self>,
        usable: impl Fn(PortId) -> bool,
    ) -> Self {
        let order: Vec<PortId> = shares.iter().map(|share| share.port).collect();
        let count = bucket_count(order.len());
        let even = shares
            .windows(2)
            .all(|pair| pair[0].weight() == pair[1].weight());
        // Every port is home to a bucket.
        let set = |ports: &[PortId]| ports.iter().fold(0, |set, port| set | port.bit());
        let before = before.filter(|before| {
            !even
                && !matches!(key, BucketKey::Sequence { .. })
                && before.home.len() == count
                && set(&before.home) == set(&order)
        });
        let home = deal(shares, count, before.map(|before| before.home.clone()));
        let mut spare = home.clone();
        for share in shares.iter().filter(|_| shares.len() > 1) {
            let others: Vec<Share> = shares
                .iter()
                .copied()
                .filter(|other| other.port != share.port)
                .collect();
            let own: Vec<usize> = (0..count)
                .filter(|bucket| home[*bucket] == share.port)
                .collect();
            let kept =
                before.map(|before| own.iter().map(|bucket| before.spare[*bucket]).collect());
            for (bucket, port) in own.iter().zip(deal(&others, own.len(), kept)) {
                spare[*bucket] = port;
            }
        }
        let now = (0..count)
            .map(|bucket| {
                ranked_choice(bucket, home[bucket], spare[bucket], &order, &usable)
                    .unwrap_or(home[bucket])
            })
            .collect();
        Self {
            key,
            home,
            spare,
            now,
            exempt: Exempt::Nothing,
            measured: false,
        }
    }
}

/// Deals `slots` to ports (at least one). A slot stays with its port of `before` as long as that port is not over its
/// number; the others are interleaved: port by port, always the one that lags furthest behind its share.
fn deal(shares: &[Share], slots: usize, before: Option<Vec<PortId>>) -> Vec<PortId> {
    let mut due = apportion(shares, slots);
    let mut keep = |port: PortId| {
        let at = shares.iter().position(|share| share.port == port)?;
        due[at] = due[at].checked_sub(1)?;
        Some(port)
    };
    let kept: Vec<Option<PortId>> = match before {
        Some(before) => before.into_iter().map(&mut keep).collect(),
        None => vec![None; slots],
    };
    let open = due.iter().sum::<usize>() as i64;
    let mut lag = vec![0; due.len()];
    let mut next = || {
        let mut furthest = 0;
        for at in 0..due.len() {
            lag[at] += due[at] as i64;
            if lag[at] > lag[furthest] {
                furthest = at;
            }
        }
        lag[furthest] -= open;
        shares[furthest].port
    };
    kept.into_iter()
        .map(|kept| kept.unwrap_or_else(&mut next))
        .collect()
}

/// How many of `slots` each port is due: its share to the nearest whole number (largest remainders, ties to the first),
/// and at least one where there are enough.
fn apportion(shares: &[Share], slots: usize) -> Vec<usize> {
    let total: u128 = shares.iter().map(|share| share.weight()).sum();
    let exact = |share: &Share| slots as u128 * share.weight();
    let mut due: Vec<usize> = shares
        .iter()
        .map(|share| (exact(share) / total) as usize)
        .collect();
    let mut by_remainder: Vec<usize> = (0..shares.len()).collect();
    by_remainder.sort_by_key(|at| core::cmp::Reverse(exact(&shares[*at]) % total));
    let rest = slots - due.iter().sum::<usize>();
    for at in by_remainder.into_iter().take(rest) {
        due[at] += 1;
    }
    while slots >= shares.len()
        && let Some(none) = due.iter().position(|due| *due == 0)
        && let Some(most) = (0..due.len()).max_by_key(|at| due[*at])
    {
        due[most] -= 1;
        due[none] += 1;
    }
    due
}

/// Buckets of a table of `ports` ports: the largest multiple of `ports` up to [`MAX_BUCKETS`]; none without ports.
pub const fn bucket_count(ports: usize) -> usize {
    match MAX_BUCKETS.checked_rem(ports) {
        Some(rest) => MAX_BUCKETS - rest,
        None => 0,
    }
}

/// The port a bucket goes to: the first usable one of the bucket's own ranking of all ports, in which `home` is first and
/// `spare` second.
///
/// The ranking depends on `bucket` and `order` alone, so a bucket moves only when the port it is on fails or a port it
/// ranks higher returns: the fewest moves possible. And it differs from bucket to bucket in such a way that the buckets
/// of a failed port spread evenly over the others:
///
/// ```text
///   if usable(home): home
///   if usable(spare): spare
///   j    = bucket / order.len()
///   rest = order without home, in order
///   for m = rest.len() down to 1:
///       candidate = rest.remove(j % m);  j = j / m
///       if usable(candidate): candidate
///   none
/// ```
pub fn ranked_choice(
    bucket: usize,
    home: PortId,
    spare: PortId,
    order: &[PortId],
    usable: impl Fn(PortId) -> bool,
) -> Option<PortId> {
    for first in [home, spare] {
        if usable(first) {
            return Some(first);
        }
    }
    let mut rest = [home; MAX_PORTS];
    let mut m = 0;
    // A table has each port once, so there are at most MAX_PORTS of them.
    for port in order.iter().filter(|port| **port != home).take(MAX_PORTS) {
        rest[m] = *port;
        m += 1;
    }
    let mut j = bucket.checked_div(order.len())?;
    while m > 0 {
        let candidate = rest[j % m];
        if usable(candidate) {
            return Some(candidate);
        }
        rest.copy_within(j % m + 1..m, j % m);
        j /= m;
        m -= 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ports(count: u8) -> Vec<PortId> {
        (0..count)
            .map(|index| PortId::new(index).unwrap())
            .collect()
    }

    #[test]
    fn bucket_counts() {
        assert_eq!(bucket_count(0), 0);
        assert_eq!(bucket_count(1), 1024);
        assert_eq!(bucket_count(3), 1023);
        assert_eq!(bucket_count(32), 1024);
    }

    fn now(count: u8, usable: u32) -> Vec<PortId> {
        let key = BucketKey::Destination;
        Buckets::equal(key, &ports(count), |port| usable & port.bit() != 0).now
    }

    /// The share of a lost port goes to the others in equal parts, whichever it is and however many there are.
    #[test]
    fn a_lost_port_is_spread_evenly() {
        for count in 2..=32 {
            for lost in ports(count) {
                let before = now(count, u32::MAX);
                let after = now(count, !lost.bit());
                let mut gained = vec![0; count.into()];
                for (from, to) in before.iter().zip(&after) {
                    if *from == lost {
                        gained[to.index()] += 1;
                    } else {
                        assert_eq!(from, to, "only the lost port's buckets move");
                    }
                }
                let others = || {
                    ports(count)
                        .into_iter()
                        .filter(|port| *port != lost)
                        .map(|port| gained[port.index()])
                };
                assert!(
                    others().max().unwrap() - others().min().unwrap() <= 1,
                    "{count} ports: {gained:?}"
                );
                assert_eq!(gained[lost.index()], 0);
            }
        }
    }

    /// Two lost ports of few: still within a few buckets of even.
    #[test]
    fn two_lost_ports_are_spread_evenly() {
        for count in 3..=8 {
            for first in ports(count) {
                for second in ports(count).into_iter().filter(|port| *port != first) {
                    let mut load = vec![0_usize; count.into()];
                    let now = now(count, !(first.bit() | second.bit()));
                    now.iter().for_each(|port| load[port.index()] += 1);
                    let left = || load.iter().filter(|load| **load > 0);
                    let (most, least) = (left().max().unwrap(), left().min().unwrap());
                    assert!(
                        most - least <= 16,
                        "{count} ports without {first:?} and {second:?}: {load:?}"
                    );
                }
            }
        }
    }

    const KEY: BucketKey = BucketKey::Destination;

    fn shares(weights: &[u64]) -> Vec<Share> {
        let share = |(port, weight): (PortId, &u64)| Share {
            port,
            weight: *weight,
        };
        ports(weights.len() as u8)
            .into_iter()
            .zip(weights)
            .map(share)
            .collect()
    }

    fn weighted(weights: &[u64], before: Option<&Buckets>, usable: u32) -> Buckets {
        Buckets::weighted(KEY, &shares(weights), before, |port| {
            usable & port.bit() != 0
        })
    }

    fn counts(dealt: &[PortId], ports: usize) -> Vec<usize> {
        let mut counts = vec![0; ports];
        dealt.iter().for_each(|port| counts[port.index()] += 1);
        counts
    }

    fn moved(before: &[PortId], after: &[PortId]) -> usize {
        before.iter().zip(after).filter(|(a, b)| a != b).count()
    }

    /// A hash per flow, as even as a good hash is.
    fn flows() -> impl Iterator<Item = usize> {
        (0..10_000_u32).map(|flow| {
            let mixed = flow.wrapping_add(0x9e37).wrapping_mul(0x85eb_ca6b);
            let mixed = (mixed ^ mixed >> 13).wrapping_mul(0xc2b2_ae35);
            (mixed ^ mixed >> 16) as usize
        })
    }

    #[test]
    fn equal_weights_are_dealt_in_turn() {
        for count in 1..=32_u8 {
            for weight in [1, 7, 40_000] {
                let other = weighted(&[3, 1], None, u32::MAX);
                let buckets = weighted(&vec![weight; count.into()], Some(&other), u32::MAX);
                let ports = ports(count);
                let n = ports.len();
                assert_eq!(buckets.home.len(), bucket_count(n));
                for (bucket, home) in buckets.home.iter().enumerate() {
                    assert_eq!(*home, ports[bucket % n]);
                    let spare = ranked_choice(bucket, *home, *home, &ports, |port| port != *home);
                    assert_eq!(
                        buckets.spare[bucket],
                        spare.unwrap_or(*home),
                        "{count} ports"
                    );
                }
            }
        }
    }

    #[test]
    fn unequal_shares_alternate_smoothly() {
        let key = BucketKey::Sequence {
            packets_per_port: 1,
        };
        // Whatever was dealt before.
        let before = weighted(&[1, 4], None, u32::MAX);
        let dealt = Buckets::weighted(key, &shares(&[3, 1]), Some(&before), |_| true).home;
        for four in dealt.chunks(4) {
            assert_eq!(counts(four, 2), [3, 1]);
        }
    }

    /// Three ports, 10,000 flows, one port lost: exactly its flows move, and come back with it.
    #[test]
    fn of_ten_thousand_flows_exactly_the_lost_ports_move() {
        for weights in [[1, 1, 1], [10, 10, 1], [1, 2, 5]] {
            for lost in ports(3) {
                let whole = weighted(&weights, None, u32::MAX);
                let without = weighted(&weights, Some(&whole), !lost.bit());
                let again = weighted(&weights, Some(&without), u32::MAX);
                let n = whole.now.len();
                let (mut moved, mut its) = (0, 0);
                for flow in flows() {
                    let (from, to) = (whole.now[flow % n], without.now[flow % n]);
                    its += usize::from(from == lost);
                    moved += usize::from(from != to);
                    assert!(from == to || from == lost);
                    assert_ne!(to, lost);
                }
                assert!(its > 0 && moved == its);
                assert_eq!(again, whole);
            }
        }
    }

    #[test]
    fn a_weight_that_changes_moves_what_it_must() {
        let equal = weighted(&[1, 1, 1], None, u32::MAX);
        let heavier = weighted(&[1, 2, 1], Some(&equal), u32::MAX);
        assert_eq!(counts(&heavier.home, 3), [256, 511, 256]);
        assert_eq!(moved(&equal.home, &heavier.home), 170);
        let back = weighted(&[1, 1, 1], Some(&heavier), u32::MAX);
        assert_eq!(back, equal);
        // The spares of a lost port that stays as it was: only to make room.
        let lost = 0b011;
        let before = weighted(&[1, 2, 1], Some(&equal), lost);
        let after = weighted(&[1, 3, 1], Some(&before), lost);
        let its = |buckets: &Buckets| counts(&buckets.now, 3);
        assert_eq!(
            (its(&before), its(&after)),
            (vec![341, 682, 0], vec![256, 767, 0])
        );
        assert!(
            moved(&before.now, &after.now) <= 130,
            "{}",
            moved(&before.now, &after.now)
        );
    }

    fn weights() -> impl Strategy<Value = Vec<u64>> {
        let one = prop_oneof![1..=256_u64, 1..=4_u64, Just(100), Just(10_000)];
        proptest::collection::vec(one, 2..=32)
    }

    proptest! {
        // The dealing of many ports is slow without optimisation.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_port_has_its_share_of_ten_thousand_flows(weights in weights()) {
            let buckets = weighted(&weights, None, u32::MAX);
            let total: u64 = weights.iter().sum();
            let mut load = vec![0_u64; weights.len()];
            for flow in flows() {
                load[buckets.now[flow % buckets.now.len()].index()] += 1;
            }
            for (load, weight) in load.iter().zip(&weights) {
                let wished = 10_000 * weight / total;
                prop_assert!(load.abs_diff(wished) <= 200, "{load} for {wished} of {weights:?}");
                prop_assert!(*load > 0);
            }
        }

        #[test]
        fn a_lost_ports_share_alone_moves_and_returns(weights in weights(), lost in 0..32_usize) {
            let lost = ports(weights.len() as u8)[lost % weights.len()];
            let whole = weighted(&weights, None, u32::MAX);
            let without = weighted(&weights, Some(&whole), !lost.bit());
            let n = weights.len() as u64;
            let total: u64 = weights.iter().sum();
            let share = (bucket_count(weights.len()) as u64 * weights[lost.index()]).div_ceil(total);
            prop_assert!(moved(&whole.now, &without.now) as u64 <= share);
            let mut gained = vec![0_u64; weights.len()];
            for (from, to) in whole.now.iter().zip(&without.now) {
                prop_assert!(from == to || *from == lost && *to != lost);
                if from != to {
                    gained[to.index()] += 1;
                }
            }
            // What the others gain is in proportion to their weights, to the nearest bucket or the one below the least.
            let (rest, others) = (gained.iter().sum::<u64>(), total - weights[lost.index()]);
            for port in ports(weights.len() as u8).into_iter().filter(|port| *port != lost) {
                let exact = rest * weights[port.index()] / others;
                prop_assert!(gained[port.index()].abs_diff(exact) <= n, "{gained:?} {weights:?}");
            }
            prop_assert_eq!(weighted(&weights, Some(&without), u32::MAX), whole);
        }

        /// As few as can be: a bucket moves only off a port that is to have fewer.
        #[test]
        fn changed_weights_move_no_more_than_the_difference(weights in weights(), other in 1..=256_u64, at in 0..32_usize) {
            let before = weighted(&weights, None, u32::MAX);
            let mut changed = weights.clone();
            changed[at % weights.len()] = other;
            let after = weighted(&changed, Some(&before), u32::MAX);
            let even = changed.iter().all(|weight| *weight == changed[0]);
            let n = weights.len();
            let surplus: usize = counts(&before.home, n)
                .iter()
                .zip(counts(&after.home, n))
                .map(|(before, after)| before.saturating_sub(after))
                .sum();
            if !even {
                prop_assert_eq!(moved(&before.home, &after.home), surplus);
            }
            prop_assert_eq!(&weighted(&changed, Some(&after), u32::MAX), &after);
            prop_assert!(after.home.iter().zip(&after.spare).all(|(home, spare)| home != spare));
        }
    }
}
