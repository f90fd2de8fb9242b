//! What the ARP and NS monitor needs of the system: how its targets are reached, and when frames last arrived.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use oxbond_core::input::{Input, ProbePath};
use oxbond_core::time::Instant;
use oxbond_linux::error::KernelError;
use oxbond_linux::netlink::{Netlink, Way};
use oxbond_linux::stack;
use tracing::{error, warn};

use super::EbpfBond;

/// Time between two looks at the routes to the targets. Routes change without a sign to us; addresses and options do not.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What was told to the core of the targets' paths.
#[derive(Debug, Default)]
pub(super) struct Paths {
    told: Option<Vec<ProbePath>>,
    next_look: Option<Instant>,
}

impl EbpfBond {
    /// When the routes are to be looked at, while there is anyone to ask.
    pub(super) fn paths_due(&self) -> Option<Instant> {
        (self.core.options().arp_interval > 0)
            .then(|| self.paths.next_look.unwrap_or(Instant::ZERO))
    }

    /// Tells the core how its targets are reached, where that has changed.
    pub(super) fn look_at_paths(&mut self, netlink: &mut Netlink, now: Instant) {
        if self.core.options().arp_interval == 0 {
            self.paths = Paths::default();
            return;
        }
        self.paths.next_look = Some(now + LOOK_INTERVAL);
        match self.probe_paths(netlink) {
            Ok(paths) if self.paths.told.as_ref() != Some(&paths) => {
                self.paths.told = Some(paths.clone());
                self.tell(netlink, now, Input::ProbePaths { paths });
            }
            Ok(_) => {}
            Err(e) => warn!(
                "{}: cannot read the routes to its targets: {e}",
                self.name()
            ),
        }
    }

    /// Tells the core when frames arrived, if its monitor is about to judge by it.
    pub(super) fn tell_arrivals(&mut self, netlink: &mut Netlink, now: Instant) {
        if self.core.options().arp_interval == 0
            || self.core.next_timeout().is_none_or(|due| due > now)
        {
            return;
        }
        if !self.core.table().tap.arrivals {
            return;
        }
        match self.engine.arrivals() {
            Ok(arrivals) => {
                for arrival in arrivals {
                    let input = Input::Arrivals {
                        port: arrival.port,
                        any: arrival.any,
                        neighbour: arrival.neighbour,
                    };
                    self.tell(netlink, now, input);
                }
            }
            Err(e) => error!(
                "{}: cannot read what has arrived on its ports: {e}",
                self.name()
            ),
        }
    }

    /// The targets that are reached through the bond or not at all: what the driver asks.
    fn probe_paths(&self, netlink: &mut Netlink) -> Result<Vec<ProbePath>, KernelError> {
        let options = self.core.options();
        let front = self.engine.ifindex();
        let v4 = options.arp_ip_target.iter().copied().map(IpAddr::V4);
        let v6 = options.ns_ip6_target.iter().copied().map(IpAddr::V6);
        let targets: Vec<IpAddr> = v4.chain(v6).collect();
        if targets.is_empty() {
            return Ok(Vec::new());
        }
        let above = stack::above(&netlink.links()?, front).into_iter();
        let stacked = above.map(|above| (above.index, above.vlans)).collect();
        let mut paths = Vec::new();
        for target in targets {
            // Every interface has a route to fe80::/10; ours is meant.
            let link_local = matches!(target, IpAddr::V6(ip) if ip.is_unicast_link_local());
            let way = netlink.way_to(target, link_local.then_some(front))?;
            paths.extend(path_by(target, way, &stacked));
        }
        Ok(paths)
    }
}

/// The path that a route makes. A target behind a gateway cannot answer; as the driver, which looks for a route on the link
/// alone, we ask for it as if there were none.
fn path_by(
    target: IpAddr,
    way: Option<Way>,
    stacked: &BTreeMap<u32, Vec<u16>>,
) -> Option<ProbePath> {
    let (source, vlans) = match way {
        Some(way) if way.gateway.is_none() => {
            // While all addresses of IPv6 are still tentative, the kernel offers ::1, to which nobody can answer.
            let source = way.source.filter(|source| !source.is_loopback());
            (source, stacked.get(&way.ifindex)?.clone())
        }
        _ => (None, Vec::new()),
    };
    Some(ProbePath {
        target,
        source,
        vlans,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn paths_from_routes() {
        let stacked = BTreeMap::from([(5, vec![]), (6, vec![100, 7])]);
        let way = |ifindex, gateway| {
            Some(Way {
                ifindex,
                gateway,
                source: Some(OWN),
            })
        };
        let path = |source, vlans: &[u16]| {
            Some(ProbePath {
                target: TARGET,
                source,
                vlans: vlans.to_vec(),
            })
        };
        assert_eq!(
            path_by(TARGET, way(5, None), &stacked),
            path(Some(OWN), &[])
        );
        assert_eq!(
            path_by(TARGET, way(6, None), &stacked),
            path(Some(OWN), &[100, 7])
        );
        assert_eq!(
            path_by(TARGET, way(9, None), &stacked),
            None,
            "reached elsewhere"
        );
        assert_eq!(
            path_by(TARGET, way(9, Some(OWN)), &stacked),
            path(None, &[])
        );
        assert_eq!(path_by(TARGET, None, &stacked), path(None, &[]));
        let tentative = Some(Way {
            ifindex: 6,
            gateway: None,
            source: Some("::1".parse().unwrap()),
        });
        assert_eq!(path_by(TARGET, tentative, &stacked), path(None, &[100, 7]));
    }
}
