//! Dealing numbered places (buckets without traffic, clients) to ports in proportion to their weights.

use crate::port::PortId;

/// A port and what its part is measured by; any unit, the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) port: PortId,
    pub(crate) weight: u64,
}

/// How many of `total` places each port is to have, in the sequence of `ports`: rounded down, what is left over to
/// those that lost most by the rounding (first come among equals). Equal parts when no port has a weight.
pub(crate) fn targets(total: usize, ports: &[Share]) -> Vec<usize> {
    let unweighted = ports.iter().all(|share| share.weight == 0);
    let weight = |share: &Share| {
        if unweighted {
            1
        } else {
            u128::from(share.weight)
        }
    };
    let sum = ports.iter().map(weight).sum::<u128>().max(1);
    let product = |share: &Share| total as u128 * weight(share);
    // Each quotient is at most `total`.
    let mut targets: Vec<usize> = ports
        .iter()
        .map(|share| (product(share) / sum) as usize)
        .collect();
    let mut by_remainder: Vec<usize> = (0..ports.len()).collect();
    by_remainder.sort_by_key(|at| core::cmp::Reverse(product(&ports[*at]) % sum));
    let left_over = total - targets.iter().sum::<usize>().min(total);
    for at in by_remainder.into_iter().take(left_over) {
        targets[at] += 1;
    }
    targets
}

/// Moves as few of the movable places as it takes for each port to have its target of them. A place on a port that is
/// not in `ports` has to move. Places that are neighbours by number go to different ports as far as possible, for
/// neighbours tend to be busy together. Without ports nothing changes.
pub(crate) fn level(places: &mut [PortId], movable: impl Fn(usize) -> bool, ports: &[Share]) {
    let held = |places: &[PortId], wanted: &dyn Fn(PortId) -> bool| -> Vec<usize> {
        (0..places.len())
            .filter(|at| movable(*at) && wanted(places[*at]))
            .collect()
    };
    if ports.is_empty() {
        return;
    }
    let total = held(places, &|_| true).len();
    let mut pool = held(places, &|port| ports.iter().all(|share| share.port != port));
    let mut lacking = Vec::with_capacity(ports.len());
    for (share, target) in ports.iter().zip(targets(total, ports)) {
        let held = held(places, &|port| port == share.port);
        let surplus = held.len().saturating_sub(target);
        pool.extend((0..surplus).map(|k| held[(2 * k + 1) * held.len() / (2 * surplus)]));
        lacking.push(target.saturating_sub(held.len()));
    }
    pool.sort_unstable();
    let at_first = lacking.clone();
    for place in pool {
        // The one that lacks the largest part of what it lacked at first; as many are lacking as are in the pool.
        let mut chosen = 0;
        for at in 1..ports.len() {
            if lacking[at] * at_first[chosen] > lacking[chosen] * at_first[at]
                || lacking[chosen] == 0
            {
                chosen = at;
            }
        }
        lacking[chosen] = lacking[chosen].saturating_sub(1);
        places[place] = ports[chosen].port;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares(weights: &[u64]) -> Vec<Share> {
        let share = |(at, weight): (usize, &u64)| Share {
            port: PortId::new(at as u8).unwrap(),
            weight: *weight,
        };
        weights.iter().enumerate().map(share).collect()
    }

    fn counts(places: &[PortId], ports: &[Share]) -> Vec<usize> {
        let held = |share: &Share| places.iter().filter(|port| **port == share.port).count();
        ports.iter().map(held).collect()
    }

    #[test]
    fn targets_are_in_proportion_and_add_up() {
        assert_eq!(targets(256, &shares(&[1, 1])), [128, 128]);
        assert_eq!(targets(256, &shares(&[1, 1, 1])), [86, 85, 85]);
        assert_eq!(targets(256, &shares(&[10_000, 1000])), [233, 23]);
        assert_eq!(targets(256, &shares(&[0, 0])), [128, 128]);
        assert_eq!(targets(256, &shares(&[0, 5])), [0, 256]);
        assert_eq!(
            targets(3, &shares(&[u64::MAX, u64::MAX, u64::MAX])),
            [1, 1, 1]
        );
        assert!(targets(3, &[]).is_empty());
    }

    #[test]
    fn neighbours_part() {
        let ports = shares(&[1, 1]);
        let mut places = vec![ports[0].port; 8];
        level(&mut places, |_| true, &ports);
        let second: Vec<bool> = places.iter().map(|port| *port == ports[1].port).collect();
        assert_eq!(second, [false, true, false, true, false, true, false, true]);
    }

    proptest! {
        /// Every port has its part, nothing moves that need not, and doing it again does nothing.
        #[test]
        fn level_moves_the_fewest(
            weights in proptest::collection::vec(0..1000_u64, 1..6),
            before in proptest::collection::vec((0..8_u8, any::<bool>()), 0..300),
        ) {
            let ports = shares(&weights);
            let movable: Vec<bool> = before.iter().map(|(_, movable)| *movable).collect();
            let before: Vec<PortId> = before.iter().map(|(port, _)| PortId::new(*port).unwrap()).collect();
            let mut after = before.clone();
            level(&mut after, |at| movable[at], &ports);
            let part = |places: &[PortId]| -> Vec<PortId> {
                places.iter().zip(&movable).filter(|(_, movable)| **movable).map(|(port, _)| *port).collect()
            };
            let total = part(&before).len();
            let wanted = targets(total, &ports);
            prop_assert_eq!(counts(&part(&after), &ports), wanted.clone());
            let lacked: usize = counts(&part(&before), &ports)
                .iter()
                .zip(&wanted)
                .map(|(had, wanted)| wanted.saturating_sub(*had))
                .sum();
            let moved = before.iter().zip(&after).filter(|(from, to)| from != to).count();
            prop_assert_eq!(moved, lacked);
            prop_assert!(before.iter().zip(&after).zip(&movable).all(|((from, to), movable)| *movable || from == to));
            let mut again = after.clone();
            level(&mut again, |at| movable[at], &ports);
            prop_assert_eq!(again, after);
        }
    }
}
