//! Which port is the active one, in modes that have one.

use core::cmp::Reverse;

use crate::mii::Mii;
use crate::option::PrimaryReselect;
use crate::port::{Duplex, PortId};

/// What the choice looks at, per port, in list order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) id: PortId,
    pub(crate) mii: Mii,
    /// The interface is up and has carrier.
    pub(crate) usable: bool,
    pub(crate) prio: i32,
    pub(crate) speed_mbps: Option<u32>,
    pub(crate) duplex: Duplex,
}

/// The rest of what it looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    /// The active port now.
    pub(crate) current: Option<PortId>,
    /// The port named primary, if it is in the bond.
    pub(crate) primary: Option<PortId>,
    pub(crate) reselect: PrimaryReselect,
    /// The primary was newly named: it is taken whatever `reselect` says, once.
    pub(crate) force_primary: bool,
}

/// The port to make active.
///
/// 1. The primary is up: it, if forced; else it is weighed against the current one (3).
/// 2. Otherwise the port with the highest `prio` of those that are up, first in the list among equals, is weighed
///    against the current one.
/// 3. Weighing: without a current port that is up, the challenger; `always` the challenger; `better` the challenger if
///    it is faster, or as fast with better duplex; `failure` the current one.
/// 4. No port is up: the one whose up delay ends first, if its link is there now.
/// 5. Else the current one while its down delay runs, else none.
///
/// Driver behaviour, with its quirk: with equal `prio` and `primary_reselect=always` *any* run of the selection moves
/// the active role to the first port of the list that is up, whatever made it run (measured). The caller decides what
/// makes it run. The last rule is ours in part: the driver would give up a current port within its down delay there.
pub(crate) fn select(ports: &[Candidate], wishes: Wishes) -> Option<PortId> {
    let find = |id: Option<PortId>| ports.iter().find(|port| Some(port.id) == id);
    let up = |port: &&Candidate| port.mii == Mii::Up;
    let primary = find(wishes.primary).filter(up);
    if let Some(primary) = primary.filter(|_| wishes.force_primary) {
        return Some(primary.id);
    }
    let challenger = primary.or_else(|| {
        ports
            .iter()
            .filter(up)
            .min_by_key(|port| Reverse(port.prio))
    });
    if let Some(challenger) = challenger {
        return Some(match find(wishes.current).filter(up) {
            Some(current) if !takes_over(challenger, current, wishes.reselect) => current.id,
            _ => challenger.id,
        });
    }
    let coming = ports
        .iter()
        .filter(|port| matches!(port.mii, Mii::GoingBack(_)) && port.usable);
    let going = || find(wishes.current).filter(|port| matches!(port.mii, Mii::GoingDown(_)));
    coming
        .min_by_key(|port| port.mii.deadline())
        .or_else(going)
        .map(|port| port.id)
}

fn takes_over(challenger: &Candidate, current: &Candidate, reselect: PrimaryReselect) -> bool {
    match reselect {
        PrimaryReselect::Always => true,
        PrimaryReselect::Better => {
            (challenger.speed_mbps, rank(challenger.duplex))
                > (current.speed_mbps, rank(current.duplex))
        }
        PrimaryReselect::Failure => false,
    }
}

const fn rank(duplex: Duplex) -> u8 {
    match duplex {
        Duplex::Unknown => 0,
        Duplex::Half => 1,
        Duplex::Full => 2,
    }
}

/// Every port, in the order in which the data path is to try them when the core does not answer in time: the active
/// one, then ports that are up in the order in which rules 1 and 2 would take them, then those within their down delay,
/// then the one that the ARP monitor tries or those within their up delay, the one that ends first at the front, then the rest. Also a port that is down
/// stands in it: should its carrier be the only one, it is better than none.
pub(crate) fn failover_order(
    ports: &[Candidate],
    current: Option<PortId>,
    primary: Option<PortId>,
) -> Vec<PortId> {
    let mut order: Vec<&Candidate> = ports.iter().collect();
    // Stable: the list decides between equals.
    order.sort_by_key(|port| {
        let class = match port.mii {
            _ if Some(port.id) == current => 0,
            Mii::Up => 1,
            Mii::GoingDown(_) => 2,
            Mii::GoingBack(_) | Mii::Tried => 3,
            Mii::Down => 4,
        };
        let deadline = matches!(port.mii, Mii::GoingBack(_)).then(|| port.mii.deadline());
        (
            class,
            deadline,
            Some(port.id) != primary,
            Reverse(port.prio),
        )
    });
    order.into_iter().map(|port| port.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    fn id(index: u8) -> PortId {
        PortId::new(index).unwrap()
    }

    fn port(index: u8, mii: Mii) -> Candidate {
        let usable = matches!(mii, Mii::Up | Mii::GoingBack(_));
        Candidate {
            id: id(index),
            mii,
            usable,
            prio: 0,
            speed_mbps: Some(1000),
            duplex: Duplex::Full,
        }
    }

    const IDLE: Wishes = Wishes {
        current: None,
        primary: None,
        reselect: PrimaryReselect::Always,
        force_primary: false,
    };

    #[test]
    fn rules_in_their_order() {
        let back = |millis| Mii::GoingBack(Instant::from_millis(millis));
        let leaving = Mii::GoingDown(Instant::from_millis(9));
        let (a, b, c) = (Some(id(0)), Some(id(1)), Some(id(2)));
        let three = |x, y, z| [port(0, x), port(1, y), port(2, z)];
        let all_up = three(Mii::Up, Mii::Up, Mii::Up);
        use PrimaryReselect::{Always, Better, Failure};

        // 1: the primary.
        assert_eq!(
            select(
                &all_up,
                Wishes {
                    current: a,
                    primary: b,
                    ..IDLE
                }
            ),
            b
        );
        let kept = Wishes {
            current: a,
            primary: b,
            reselect: Failure,
            ..IDLE
        };
        assert_eq!(select(&all_up, kept), a);
        assert_eq!(
            select(
                &all_up,
                Wishes {
                    force_primary: true,
                    ..kept
                }
            ),
            b
        );
        let down = three(Mii::Up, Mii::Down, Mii::Up);
        assert_eq!(
            select(
                &down,
                Wishes {
                    force_primary: true,
                    ..kept
                }
            ),
            a
        );

        // 2: priority, then the list; the driver's quirk.
        let mut favoured = all_up;
        favoured[2].prio = 5;
        assert_eq!(select(&favoured, IDLE), c);
        assert_eq!(select(&all_up, IDLE), a);
        assert_eq!(select(&all_up, Wishes { current: b, ..IDLE }), a);
        assert_eq!(
            select(
                &all_up,
                Wishes {
                    current: b,
                    reselect: Failure,
                    ..IDLE
                }
            ),
            b
        );

        // 3: better.
        let better = Wishes {
            current: b,
            primary: a,
            reselect: Better,
            ..IDLE
        };
        assert_eq!(select(&all_up, better), b);
        let mut uneven = all_up;
        uneven[1].duplex = Duplex::Half;
        assert_eq!(select(&uneven, better), a);
        uneven[0].speed_mbps = Some(100);
        assert_eq!(select(&uneven, better), b);
        uneven[1].speed_mbps = None;
        assert_eq!(select(&uneven, better), a);
        assert_eq!(
            select(
                &three(Mii::Up, leaving, Mii::Down),
                Wishes {
                    reselect: Failure,
                    ..better
                }
            ),
            a
        );

        // 4 and 5: nothing is up.
        let waiting = three(leaving, back(20), back(10));
        assert_eq!(
            select(
                &waiting,
                Wishes {
                    current: a,
                    reselect: Always,
                    ..IDLE
                }
            ),
            c
        );
        let mut unplugged = waiting;
        unplugged[2].usable = false;
        assert_eq!(select(&unplugged, Wishes { current: a, ..IDLE }), b);
        let lost = three(leaving, Mii::Down, Mii::Down);
        assert_eq!(select(&lost, Wishes { current: a, ..IDLE }), a);
        assert_eq!(select(&lost, IDLE), None);
    }

    #[test]
    fn order_of_last_resorts() {
        let back = |millis| Mii::GoingBack(Instant::from_millis(millis));
        let mut ports = [
            port(0, Mii::Down),
            port(1, back(20)),
            port(2, back(10)),
            port(3, Mii::GoingDown(Instant::from_millis(9))),
            port(4, Mii::Up),
            port(5, Mii::Up),
            port(6, Mii::Up),
            port(7, Mii::Up),
        ];
        ports[5].prio = 3;
        let order = failover_order(&ports, Some(id(7)), Some(id(6)));
        assert_eq!(order, [7, 6, 5, 4, 3, 2, 1, 0].map(id));
    }
}
