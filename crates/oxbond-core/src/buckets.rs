//! How the buckets of a [`Buckets`] are dealt to the ports, and where one goes whose port is lost.

use crate::port::{MAX_PORTS, PortId};
use crate::table::{BucketKey, Buckets, Exempt, MAX_BUCKETS};

impl Buckets {
    /// Buckets in which every port has the same share. A bucket whose home is not usable goes to its
    /// [`ranked_choice`]; when no port is usable it stays at home.
    pub fn equal(key: BucketKey, order: &[PortId], usable: impl Fn(PortId) -> bool) -> Self {
        let home: Vec<PortId> = (0..bucket_count(order.len()))
            .map(|bucket| order[bucket % order.len()])
            .collect();
        let elsewhere = |bucket: usize, home: PortId, usable: &dyn Fn(PortId) -> bool| {
            ranked_choice(bucket, home, home, order, usable)
        };
        let spare: Vec<PortId> = home
            .iter()
            .enumerate()
            .map(|(bucket, home)| elsewhere(bucket, *home, &|port| port != *home).unwrap_or(*home))
            .collect();
        let now = home
            .iter()
            .enumerate()
            .map(|(bucket, home)| elsewhere(bucket, *home, &usable).unwrap_or(*home))
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
}
