//! The way of a frame in words: what [`TransmitTable::route`] decides, and by what.

use super::{Answer, Kind, Outgoing, Route};
use crate::hash::hash;
use crate::port::PortId;
use crate::table::{BucketKey, Buckets, Exempt, PortStanding, Spread, TransmitTable};

/// What becomes of a frame, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// What becomes of it.
    pub route: Route,
    /// The steps of the decision, in words: lower-case start, no full stop.
    pub steps: Vec<String>,
}

impl TransmitTable {
    /// What becomes of a frame that the host sends, and why. `name` gives the ports' names.
    pub fn explain(
        &self,
        outgoing: &Outgoing<'_>,
        standing: PortStanding,
        name: impl Fn(PortId) -> String,
    ) -> Explained {
        let route = self.route(outgoing, standing);
        let kind = Kind::of(outgoing.frame);
        let mut steps = Vec::new();
        let queue = self
            .queues
            .iter()
            .find(|(queue, _)| *queue == outgoing.queue);
        if let Some((queue, port)) = queue {
            steps.push(format!(
                "transmit queue {queue} belongs to {} (queue_id)",
                name(*port)
            ));
        }
        let by_queue = queue.is_some_and(|(_, port)| route.ports == [*port]);
        if !by_queue {
            steps.push(self.choice(outgoing, &kind, &route, &name));
        }
        match (route.planned, &route.ports[..]) {
            (_, []) => steps.push("dropped: no port can take it".to_owned()),
            (Some(planned), [taken]) if planned != *taken => {
                let why = if standing.carrier & planned.bit() == 0 {
                    "has no carrier"
                } else if standing.left & planned.bit() != 0 {
                    "lost its link a moment ago and is not used before the daemon has looked"
                } else {
                    "is not in use"
                };
                let (planned, taken) = (name(planned), name(*taken));
                steps.push(format!("{planned} {why}: {taken} takes its place"));
            }
            _ => {}
        }
        if let (Some(changed), Some(stations)) = (&route.changed, &self.stations)
            && let [port] = route.ports[..]
            && let Some(station) = self.station(stations, port)
        {
            let inside = changed.get(super::ETHERNET..) != outgoing.frame.get(super::ETHERNET..);
            let also = if inside {
                ", and tells it to the client"
            } else {
                ""
            };
            steps.push(format!(
                "it leaves with the port's own address {station}{also}"
            ));
        }
        Explained { route, steps }
    }

    /// The rule by which the table names a port.
    fn choice(
        &self,
        outgoing: &Outgoing<'_>,
        kind: &Kind,
        route: &Route,
        name: &impl Fn(PortId) -> String,
    ) -> String {
        let first = self.order.first().copied().map(name);
        let first = first.unwrap_or_else(|| "none".to_owned());
        if self.spread == Spread::Broadcast {
            return "a copy goes to every port that has carrier".to_owned();
        }
        if self.neighbours_to_all && kind.neighbour() {
            return "ARP and neighbour discovery go to every port (broadcast_neighbor)".to_owned();
        }
        let clients = self.stations.as_ref().filter(|s| !s.clients.is_empty());
        if let (Some(stations), Some(planned)) = (clients, route.planned)
            && Answer::find(outgoing.frame, kind, stations.bond).is_some()
        {
            return format!(
                "an answer that tells a client where the bond is: it goes by the port that this client is taught, {}",
                name(planned)
            );
        }
        match &self.spread {
            Spread::Buckets(buckets) => match route.bucket {
                Some(bucket) => buckets.choice(outgoing, bucket, name),
                None if kind.is_exempt(buckets.exempt) => {
                    let why = match buckets.exempt {
                        Exempt::Igmp => {
                            "IGMP goes by one port, so that a switch learns the groups there"
                        }
                        _ => {
                            "frames to groups, without IP and of neighbour discovery go by the active port"
                        }
                    };
                    format!("{why}: {first}")
                }
                None => "no port is to send".to_owned(),
            },
            _ if self.order.is_empty() => "no port is to send".to_owned(),
            _ => format!("one port carries everything: {first}"),
        }
    }
}

impl Buckets {
    fn choice(
        &self,
        outgoing: &Outgoing<'_>,
        bucket: usize,
        name: &impl Fn(PortId) -> String,
    ) -> String {
        let of = self.now.len();
        let key = match self.key {
            BucketKey::Hash(policy) => {
                let hash = hash(policy, outgoing.frame, outgoing.tag);
                format!(
                    "hash {hash:#010x} by {} is bucket {bucket} of {of}",
                    policy.word()
                )
            }
            BucketKey::Sequence {
                packets_per_port: 0,
            } => {
                format!("a random number decides, here bucket {bucket} of {of}")
            }
            BucketKey::Sequence { packets_per_port } => format!(
                "ports take turns, {packets_per_port} frames each, whatever is in them: as frame {}, bucket {bucket} of {of}",
                outgoing.number
            ),
            BucketKey::Destination => format!("the destination is bucket {bucket} of {of}"),
        };
        let (home, now) = (self.home[bucket], self.now[bucket]);
        let whose = if self.measured {
            format!("dealt to {} by load", name(now))
        } else if home == now {
            format!("of {}", name(now))
        } else {
            format!("of {}, taken over by {}", name(home), name(now))
        };
        format!("{key}, {whose}")
    }
}
