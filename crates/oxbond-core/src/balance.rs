//! Which bucket leaves on which port in the modes that balance by load: balance-tlb with `tlb_dynamic_lb`, balance-alb.
//!
//! Once a second the data path reports what each bucket carried. Four rules, all in 64-bit arithmetic or wider (the
//! driver's wraps from 4 Gb/s on, `spec/kernel-bonding.md` section 9):
//!
//! - **A bucket with traffic moves only when it must**: when its port is lost, or when its port is busier, in
//!   proportion to speed, than the least busy one by more than an eighth of its own utilisation (and 0.05 % of its
//!   speed). Then the buckets move that come closest to levelling the two, until the difference is half of that, and
//!   never more than [`BUDGET`] in one report. Each move leaves the busier of the two clearly less busy, so nothing
//!   goes to and fro. The driver takes every bucket off its port every 10 s.
//! - **A bucket without traffic** in the last report moves freely, for it has no order of frames to lose: these are
//!   shared in proportion to what each port has free, and dealt anew when a port's number of them is off by more than a
//!   quarter.
//! - **A lost port's buckets** go where the data path has put them already (`spare`); that is, when it was chosen, the
//!   port that was the least busy after taking it (with equal speeds the driver's choice, the largest gap). Choices
//!   are renewed with every move, and every tenth report.
//! - **A port that joins or returns** gets its share by the first two rules.
//!
//! An unknown speed counts as 1000 Mb/s.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::port::PortId;
use crate::share::{Share, level, targets};
use crate::table::BALANCE_BUCKETS;

/// Most buckets with traffic that move in one report, but for those of a lost port.
const BUDGET: usize = 16;

/// Least difference of utilisation, in millionths of the speed, that is worth a move.
const LEAST_DIFFERENCE: u64 = 500;

/// Reports after which the choices for a lost port are made anew.
const SPARES_LAST: u8 = 10;

/// Reports of less time say too little: a table was just replaced.
const SHORTEST: Duration = Duration::from_millis(250);

/// Bytes in a second at 1 Mb/s.
const BYTES_PER_MEGABIT: u64 = 125_000;

/// What counts for a port that does not tell its speed, in Mb/s.
pub(crate) const ASSUMED_MBPS: u32 = 1000;

/// A port as a place for buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Capacity {
    pub(crate) port: PortId,
    /// Mb/s, never 0.
    mbps: u32,
    pub(crate) usable: bool,
}

impl Capacity {
    pub(crate) fn new(port: PortId, mbps: Option<u32>, usable: bool) -> Self {
        let mbps = mbps.filter(|mbps| *mbps != 0).unwrap_or(ASSUMED_MBPS);
        Self { port, mbps, usable }
    }

    pub(crate) const fn share(self) -> Share {
        Share {
            port: self.port,
            weight: self.bytes_per_second(),
        }
    }

    const fn bytes_per_second(self) -> u64 {
        self.mbps as u64 * BYTES_PER_MEGABIT
    }

    /// Part of the speed that this load takes, in millionths.
    fn utilisation(self, load: u64) -> u64 {
        let millionths = u128::from(load) * 1_000_000 / u128::from(self.bytes_per_second());
        u64::try_from(millionths).unwrap_or(u64::MAX)
    }
}

/// The usable ones; all of them when none is.
pub(crate) fn candidates(ports: &[Capacity]) -> Vec<Capacity> {
    let usable: Vec<Capacity> = ports.iter().copied().filter(|port| port.usable).collect();
    if usable.is_empty() {
        ports.to_vec()
    } else {
        usable
    }
}

/// The buckets and what is known of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Balancer {
    /// Port of each bucket; [`BALANCE_BUCKETS`] of them, none without ports.
    now: Vec<PortId>,
    /// Port of each bucket should its port be lost. Same length.
    spare: Vec<PortId>,
    /// Smoothed bytes per second of each bucket; 0 of one without traffic in the last report. Same length.
    load: Vec<u64>,
    /// Smoothed bytes per second of the frames that go by no bucket but to the active port.
    exempt: u64,
    /// The ports that `spare` was chosen for.
    spared: Vec<Capacity>,
    /// Reports since then.
    reports: u8,
}

impl Balancer {
    /// Port of each bucket.
    pub(crate) fn now(&self) -> &[PortId] {
        &self.now
    }

    /// Port of each bucket should its port be lost.
    pub(crate) fn spare(&self) -> &[PortId] {
        &self.spare
    }

    /// Smoothed bytes per second of a port and of all, without exempt frames.
    pub(crate) fn load_of(&self, port: PortId) -> (u64, u64) {
        let on = |wanted: &dyn Fn(PortId) -> bool| {
            let places = self.now.iter().zip(&self.load);
            places
                .filter(|(port, _)| wanted(**port))
                .fold(0_u64, |sum, (_, load)| sum.saturating_add(*load))
        };
        (on(&|on| on == port), on(&|_| true))
    }

    /// Brings the buckets in line with the ports of the bond, `active` being the one that carries what is exempt.
    pub(crate) fn place(&mut self, ports: &[Capacity], active: Option<PortId>) {
        let ports = candidates(ports);
        let Some(first) = ports.first() else {
            *self = Self::default();
            return;
        };
        if self.now.is_empty() {
            self.now = vec![first.port; BALANCE_BUCKETS];
            self.spare.clone_from(&self.now);
            self.load = vec![0; BALANCE_BUCKETS];
        }
        let before = self.now.clone();
        self.rescue(&ports, active);
        self.level_quiet(&ports, active);
        if self.now != before || self.spared != ports || self.reports >= SPARES_LAST {
            self.choose_spares(&ports, active);
        }
    }

    /// Takes a report in, and moves buckets with traffic where it must be. The report is of the buckets as they are:
    /// [`BALANCE_BUCKETS`] of them; another, and one of less time than [`SHORTEST`], is ignored. [`Balancer::place`] has
    /// to follow.
    pub(crate) fn report(
        &mut self,
        over: Duration,
        bytes: &[u64],
        exempt: u64,
        ports: &[Capacity],
        active: Option<PortId>,
    ) {
        if over < SHORTEST || bytes.len() != self.load.len() {
            return;
        }
        let rate = |bytes: u64| {
            let rate = u128::from(bytes) * 1_000_000_000 / over.as_nanos();
            u64::try_from(rate).unwrap_or(u64::MAX)
        };
        // A new flow counts in full, later reports change what is known by a quarter.
        let smoothed = |known: u64, bytes: u64| match (known, rate(bytes)) {
            (_, 0) => 0,
            (0, now) => now,
            (known, now) => known - known / 4 + now / 4,
        };
        for (load, bytes) in self.load.iter_mut().zip(bytes) {
            *load = smoothed(*load, *bytes);
        }
        self.exempt = smoothed(self.exempt, exempt);
        self.reports = self.reports.saturating_add(1);
        let before = self.now.clone();
        self.move_load(&candidates(ports), active);
        if self.now != before {
            self.reports = SPARES_LAST;
        }
    }

    /// Bytes per second on each of these ports.
    fn loads(&self, ports: &[Capacity], active: Option<PortId>) -> Vec<u64> {
        let load = |capacity: &Capacity| {
            let exempt = if active == Some(capacity.port) {
                self.exempt
            } else {
                0
            };
            let places = self.now.iter().zip(&self.load);
            places
                .filter(|(port, _)| **port == capacity.port)
                .fold(exempt, |sum, (_, load)| sum.saturating_add(*load))
        };
        ports.iter().map(load).collect()
    }

    /// Buckets on a port that cannot be used go to their spare, or where they leave the least busy port.
    fn rescue(&mut self, ports: &[Capacity], active: Option<PortId>) {
        let usable = |port: PortId| ports.iter().any(|capacity| capacity.port == port);
        let mut loads = self.loads(ports, active);
        let lost: Vec<usize> = (0..self.now.len())
            .filter(|at| !usable(self.now[*at]))
            .collect();
        for at in self.busiest_first(lost) {
            if usable(self.spare[at]) {
                self.now[at] = self.spare[at];
                if let Some(to) = ports.iter().position(|to| to.port == self.now[at]) {
                    loads[to] = loads[to].saturating_add(self.load[at]);
                }
            } else if self.load[at] > 0 {
                self.now[at] = take(ports, &mut loads, self.load[at]);
            }
        }
    }

    /// Buckets without traffic are shared by what the ports have free.
    fn level_quiet(&mut self, ports: &[Capacity], active: Option<PortId>) {
        let loads = self.loads(ports, active);
        let free: Vec<Share> = ports
            .iter()
            .zip(&loads)
            .map(|(port, load)| Share {
                port: port.port,
                weight: free(*port, *load),
            })
            .collect();
        let quiet = |at: usize| self.load[at] == 0;
        let of = |wanted: &dyn Fn(PortId) -> bool| {
            (0..self.now.len())
                .filter(|at| quiet(*at) && wanted(self.now[*at]))
                .count()
        };
        let stray = of(&|port| free.iter().all(|share| share.port != port)) > 0;
        let uneven = free
            .iter()
            .zip(targets(of(&|_| true), &free))
            .any(|(share, target)| {
                of(&|port| port == share.port).abs_diff(target) > 1 + target / 4
            });
        if stray || uneven {
            let load = &self.load;
            level(&mut self.now, |at| load[at] == 0, &free);
        }
    }

    /// Rule one of the module.
    fn move_load(&mut self, ports: &[Capacity], active: Option<PortId>) {
        let mut loads = self.loads(ports, active);
        let mut levelling = false;
        for _ in 0..BUDGET {
            let Some((bucket, from, to)) = self.best_move(ports, &loads, levelling) else {
                return;
            };
            levelling = true;
            loads[from] = loads[from].saturating_sub(self.load[bucket]);
            loads[to] = loads[to].saturating_add(self.load[bucket]);
            self.now[bucket] = ports[to].port;
        }
    }

    /// The bucket that levels the busiest port that has one to give with the least busy port. `levelling` continues
    /// down to half of the difference it takes to begin.
    fn best_move(
        &self,
        ports: &[Capacity],
        loads: &[u64],
        levelling: bool,
    ) -> Option<(usize, usize, usize)> {
        let utilisation = |at: usize| ports[at].utilisation(loads[at]);
        let mut by_utilisation: Vec<usize> = (0..ports.len()).collect();
        by_utilisation.sort_by_key(|at| core::cmp::Reverse(utilisation(*at)));
        let to = *by_utilisation.last()?;
        by_utilisation.into_iter().find_map(|from| {
            let begin = LEAST_DIFFERENCE.max(utilisation(from) / 8);
            let difference = utilisation(from) - utilisation(to);
            if difference <= if levelling { begin / 2 } else { begin } {
                return None;
            }
            let (fast, slow) = (
                u128::from(ports[from].bytes_per_second()),
                u128::from(ports[to].bytes_per_second()),
            );
            // What makes both equally busy: (a - x) / A = (b + x) / B.
            let excess = u128::from(loads[from]) * slow - u128::from(loads[to]) * fast;
            let ideal = excess / (fast + slow);
            // Both less busy than the one was, by a good part of the difference; and not so small that it is in vain.
            let limit = utilisation(from) - begin / 4;
            let fits = |load: u64| {
                u128::from(load) > ideal / 256
                    && ports[to].utilisation(loads[to].saturating_add(load)) < limit
            };
            (0..self.now.len())
                .filter(|at| self.now[*at] == ports[from].port && fits(self.load[*at]))
                .min_by_key(|at| u128::from(self.load[*at]).abs_diff(ideal))
                .map(|bucket| (bucket, from, to))
        })
    }

    /// For every port: where its buckets go should it be lost.
    fn choose_spares(&mut self, ports: &[Capacity], active: Option<PortId>) {
        self.spared = ports.to_vec();
        self.reports = 0;
        self.spare.clone_from(&self.now);
        let loads = self.loads(ports, active);
        for lost in ports {
            let (others, mut loads): (Vec<Capacity>, Vec<u64>) = ports
                .iter()
                .zip(&loads)
                .filter(|(port, _)| port.port != lost.port)
                .unzip();
            if others.is_empty() {
                return;
            }
            let mine = (0..self.now.len())
                .filter(|at| self.now[*at] == lost.port)
                .collect();
            let mut quiet = vec![0_u64; others.len()];
            for at in self.busiest_first(mine) {
                self.spare[at] = if self.load[at] > 0 {
                    take(&others, &mut loads, self.load[at])
                } else {
                    // In proportion to what is free.
                    let room = |at: usize| free(others[at], loads[at]) / (quiet[at] + 1);
                    let to = (0..others.len()).rev().max_by_key(|at| room(*at));
                    // `others` is not empty.
                    let to = to.unwrap_or(0);
                    quiet[to] += 1;
                    others[to].port
                };
            }
        }
    }

    fn busiest_first(&self, mut buckets: Vec<usize>) -> Vec<usize> {
        buckets.sort_by_key(|at| core::cmp::Reverse(self.load[*at]));
        buckets
    }
}

/// What a port has free, in bytes per second; a little even when it is full.
fn free(port: Capacity, load: u64) -> u64 {
    let all = port.bytes_per_second();
    all.saturating_sub(load).max(all / 64)
}

/// Gives a load to the port that is the least busy with it, first in the list among equals. `ports` is not empty.
fn take(ports: &[Capacity], loads: &mut [u64], load: u64) -> PortId {
    let with = |at: usize| ports[at].utilisation(loads[at].saturating_add(load));
    let to = (0..ports.len())
        .min_by_key(|at| with(*at))
        .unwrap_or_default();
    loads[to] = loads[to].saturating_add(load);
    ports[to].port
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const GIGABIT: u64 = 125_000_000;

    fn id(index: usize) -> PortId {
        PortId::new(index as u8).unwrap()
    }

    fn ports(speeds: &[u32]) -> Vec<Capacity> {
        let port = |(at, mbps): (usize, &u32)| Capacity::new(id(at), Some(*mbps), true);
        speeds.iter().enumerate().map(port).collect()
    }

    fn without(ports: &[Capacity], lost: usize) -> Vec<Capacity> {
        let mut ports = ports.to_vec();
        ports[lost].usable = false;
        ports
    }

    fn balancer(ports: &[Capacity]) -> Balancer {
        let mut balancer = Balancer::default();
        for joined in 1..=ports.len() {
            balancer.place(&ports[..joined], Some(id(0)));
        }
        balancer
    }

    /// One report, and how many buckets with traffic it moved.
    fn report(balancer: &mut Balancer, ports: &[Capacity], bytes: &[u64]) -> usize {
        let before = balancer.now.clone();
        balancer.report(SECOND, bytes, 0, ports, Some(id(0)));
        balancer.place(ports, Some(id(0)));
        moved(&before, balancer)
            .into_iter()
            .filter(|at| bytes[*at] > 0)
            .count()
    }

    fn moved(before: &[PortId], balancer: &Balancer) -> Vec<usize> {
        (0..before.len())
            .filter(|at| before[*at] != balancer.now[*at])
            .collect()
    }

    fn counts(balancer: &Balancer, ports: &[Capacity]) -> Vec<usize> {
        let of = |port: &Capacity| balancer.now.iter().filter(|on| **on == port.port).count();
        ports.iter().map(of).collect()
    }

    /// Parts of the speed in use, in percent.
    fn utilisation(balancer: &Balancer, ports: &[Capacity], bytes: &[u64]) -> Vec<u64> {
        let of = |port: &Capacity| {
            let load = (0..bytes.len())
                .filter(|at| balancer.now[*at] == port.port)
                .map(|at| bytes[at])
                .sum::<u64>();
            load * 100 / port.bytes_per_second()
        };
        ports.iter().map(of).collect()
    }

    /// Reports the same again and again until nothing moves; how many reports it took.
    fn settle(balancer: &mut Balancer, ports: &[Capacity], bytes: &[u64]) -> usize {
        for count in 0..40 {
            let moves = report(balancer, ports, bytes);
            assert!(moves <= BUDGET, "{moves} moves in one report");
            if moves == 0 {
                return count;
            }
        }
        panic!("still moving after 40 reports");
    }

    #[test]
    fn without_traffic_buckets_are_shared_by_speed() {
        for (speeds, shares) in [
            (&[1000, 1000][..], &[128, 128][..]),
            (&[1000, 1000, 1000], &[86, 85, 85]),
            (&[10_000, 1000], &[233, 23]),
            (&[0, 1000], &[128, 128]),
        ] {
            let ports = ports(speeds);
            let mut balancer = balancer(&ports);
            for (count, share) in counts(&balancer, &ports).into_iter().zip(shares) {
                assert!(count.abs_diff(*share) <= 1 + share / 4, "{speeds:?}");
            }
            // And stays so.
            let before = balancer.clone();
            for _ in 0..5 {
                report(&mut balancer, &ports, &[0; 256]);
                assert_eq!(balancer.now, before.now);
            }
        }
        assert!(Balancer::default().now().is_empty());
        let mut left = balancer(&ports(&[1000]));
        left.place(&[], None);
        assert_eq!(left, Balancer::default());
    }

    /// The driver's sum of a bucket wraps from 512 MiB/s on, its gap from 4096 Mb/s on.
    #[test]
    fn loads_above_four_gigabits_count_in_full() {
        let ports = ports(&[100_000, 100_000]);
        let mut balancer = balancer(&ports);
        // 48 Gb/s in eight buckets, all on one port.
        let mut bytes = [0; 256];
        let mine: Vec<usize> = (0..256).filter(|at| balancer.now[*at] == id(0)).collect();
        for at in &mine[..8] {
            bytes[*at] = 6 * GIGABIT;
        }
        settle(&mut balancer, &ports, &bytes);
        assert_eq!(utilisation(&balancer, &ports, &bytes), [24, 24]);
    }

    /// 10 Gb/s with 1 Gb/s: in the driver's arithmetic the fast port counts as 1.9 Gb/s.
    #[test]
    fn mixed_speeds_end_up_equally_busy() {
        let ports = ports(&[10_000, 1000, 100]);
        let mut balancer = balancer(&ports);
        let bytes = [GIGABIT / 100; 256].map(|bytes: u64| bytes / 4);
        settle(&mut balancer, &ports, &bytes);
        // 6.4 of 111 Gb/s each way: 5.8 % each; one bucket is 2.5 % of the slowest port.
        let percent = utilisation(&balancer, &ports, &bytes);
        assert!(
            percent.iter().all(|percent| percent.abs_diff(5) <= 3),
            "{percent:?}"
        );
    }

    #[test]
    fn one_flow_that_fills_a_port_stays_where_it_is() {
        let ports = ports(&[1000, 1000]);
        let mut balancer = balancer(&ports);
        let mut bytes = [0; 256];
        bytes[7] = GIGABIT;
        let before = balancer.now[7];
        for _ in 0..20 {
            assert_eq!(report(&mut balancer, &ports, &bytes), 0);
        }
        assert_eq!(balancer.now[7], before);
        // What is free decides where new flows go.
        let on = counts(&balancer, &ports);
        assert!(on[before.index()] < 20, "{on:?}");
    }

    /// Broadcasts and what else goes by no bucket are load of the active port too.
    #[test]
    fn exempt_frames_count_for_the_active_port() {
        let ports = ports(&[1000, 1000]);
        let mut balancer = balancer(&ports);
        let bytes = [GIGABIT / 512; 256];
        for _ in 0..40 {
            balancer.report(SECOND, &bytes, GIGABIT / 4, &ports, Some(id(0)));
            balancer.place(&ports, Some(id(0)));
        }
        // 50 % + 25 %: 37 % each, so the active port has about 12 % in buckets.
        let percent = utilisation(&balancer, &ports, &bytes);
        assert!(percent[0].abs_diff(12) <= 3, "{percent:?}");
    }

    #[test]
    fn the_fewest_buckets_move() {
        let ports = ports(&[1000, 1000]);
        let mut balancer = balancer(&ports);
        let mine: Vec<usize> = (0..256).filter(|at| balancer.now[*at] == id(0)).collect();
        let mut bytes = [0; 256];
        for at in &mine[..21] {
            bytes[*at] = GIGABIT / 100;
        }
        bytes[mine[20]] = GIGABIT / 5;
        assert_eq!(
            report(&mut balancer, &ports, &bytes),
            1,
            "20 % against 20 %"
        );
        assert_eq!(balancer.now[mine[20]], id(1));
        assert_eq!(report(&mut balancer, &ports, &bytes), 0);
    }

    #[test]
    fn reports_that_are_not_of_these_buckets_are_ignored() {
        let ports = ports(&[1000, 1000]);
        let mut balancer = balancer(&ports);
        let before = balancer.clone();
        balancer.report(Duration::ZERO, &[9; 256], 9, &ports, None);
        balancer.report(SHORTEST / 2, &[9; 256], 9, &ports, None);
        balancer.report(SECOND, &[9; 255], 9, &ports, None);
        assert_eq!(balancer, before);
    }

    proptest! {
        /// Whatever the load: it settles within a bound, the budget holds (in `settle`), and then nothing moves; and no
        /// single bucket could make things much better.
        #[test]
        fn settles_and_stays(
            speeds in proptest::collection::vec(prop::sample::select(vec![10, 100, 1000, 10_000, 100_000]), 1..5),
            bytes in proptest::collection::vec(prop_oneof![Just(0_u64), 0..1000_u64, 0..50_000_000_u64], 256),
        ) {
            let ports = ports(&speeds);
            let mut balancer = balancer(&ports);
            settle(&mut balancer, &ports, &bytes);
            let before = balancer.now.clone();
            for _ in 0..15 {
                report(&mut balancer, &ports, &bytes);
                prop_assert_eq!(&balancer.now, &before);
            }
            let loads = balancer.loads(&ports, Some(id(0)));
            prop_assert_eq!(balancer.best_move(&ports, &loads, false), None);
        }

        /// A lost port's buckets go where the data path has put them, no other with traffic moves beyond the budget,
        /// and no bucket is ever on a port that cannot be used while another can.
        #[test]
        fn losing_and_returning(
            speeds in proptest::collection::vec(prop::sample::select(vec![100, 1000, 10_000]), 2..6),
            bytes in proptest::collection::vec(prop_oneof![Just(0_u64), 1..5_000_000_u64], 256),
            lost in 0..6_usize,
        ) {
            let ports = ports(&speeds);
            let lost = lost % ports.len();
            let mut balancer = balancer(&ports);
            settle(&mut balancer, &ports, &bytes);
            let (now, spare) = (balancer.now.clone(), balancer.spare.clone());
            prop_assert!(now.iter().zip(&spare).all(|(now, spare)| now != spare));
            let fewer = without(&ports, lost);
            balancer.place(&fewer, Some(id(0)));
            for at in 0..256 {
                prop_assert_ne!(balancer.now[at], id(lost));
                if bytes[at] > 0 {
                    let expected = if now[at] == id(lost) { spare[at] } else { now[at] };
                    prop_assert_eq!(balancer.now[at], expected);
                }
            }
            settle(&mut balancer, &fewer, &bytes);
            prop_assert!(!balancer.now.contains(&id(lost)));
            // Back: nothing with traffic moves at once.
            let before = balancer.now.clone();
            balancer.place(&ports, Some(id(0)));
            for at in moved(&before, &balancer) {
                prop_assert_eq!(bytes[at], 0);
            }
            settle(&mut balancer, &ports, &bytes);
            prop_assert!(balancer.now.contains(&id(lost)) || bytes.iter().all(|bytes| *bytes > 0));
        }
    }
}
