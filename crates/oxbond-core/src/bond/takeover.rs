//! A bond of ours that goes on where a bond of the driver is.

use oxbond_wire::lacp::State;

use super::{Bond, ConfigError, Port};
use crate::driver::{Picture, PortPicture};
use crate::event::Cause;
use crate::lacp::{Agreed, Config, Drain, Joining, Lacp, Numbering, actor_key};
use crate::mii::Mii;
use crate::option::{Mode, OptionChange};
use crate::port::PortId;
use crate::probe::Hearing;
use crate::status::MiiStatus;
use crate::time::Instant;

impl Bond {
    /// A bond with the ports of the driver's bond, in the state that the driver has brought them to: links are as its monitor
    /// sees them, the same port is active, addresses are those they have, and partners of LACP hear the same of us as before.
    /// Nothing is announced. `changes` are its options.
    ///
    /// After it, poll [`Bond::poll_action`]: the first actions put all this in force.
    pub fn take_over(
        now: Instant,
        picture: &Picture,
        changes: &[OptionChange],
    ) -> Result<Self, ConfigError> {
        let mut bond = Self::new(now, &picture.name, Some(picture.mac), changes)?;
        bond.actions.clear();
        bond.device_mac = picture.mac;
        let lent = |port: &PortPicture| port.permanent_mac == picture.mac;
        bond.mac_set = !picture.ports.iter().any(lent);
        bond.admin_up = picture.up;
        let ids = places(picture).ok_or_else(|| ConfigError::TooManyPorts {
            bond: picture.name.clone(),
            ports: picture.ports.len(),
        })?;
        for (port, id) in picture.ports.iter().zip(ids) {
            bond.ports.push(bond.taken_over(now, port, id));
        }
        if bond.options.mode.has_active_port() {
            let active = picture.active_port.as_deref();
            let mut ports = bond.ports.iter();
            bond.active = ports
                .find(|port| Some(port.name.as_str()) == active)
                .map(|port| port.id);
        }
        if bond.options.mode == Mode::Ieee8023ad {
            bond.take_over_lacp(now, picture);
        }
        bond.restart_monitor(now);
        bond.settle(now, &Cause::Start);
        if !bond.carrier {
            bond.actions.push_back(crate::action::Action::SetCarrier {
                up: false,
                cause: Cause::Start,
            });
        }
        Ok(bond)
    }

    fn taken_over(&self, now: Instant, port: &PortPicture, id: PortId) -> Port {
        let delays = self.delays();
        let mii = match (port.link.is_usable(), port.mii_status) {
            _ if !self.monitored() => Mii::Up,
            (true, MiiStatus::GoingBack) => Mii::GoingBack(now + delays.up),
            (true, MiiStatus::Down) if self.probes() => Mii::Down,
            (true, _) => Mii::Up,
            (false, MiiStatus::Up | MiiStatus::GoingDown) if !delays.down.is_zero() => {
                Mii::GoingDown(now + delays.down)
            }
            (false, _) => Mii::Down,
        };
        Port {
            id,
            name: port.name.clone(),
            ifindex: port.ifindex,
            permanent_mac: port.permanent_mac,
            mac: port.mac,
            link: port.link,
            known_speed_mbps: port.link.speed_mbps,
            options: port.options.clone(),
            mii,
            since: now,
            link_failure_count: port.link_failure_count,
            hearing: Hearing::joined(now),
            drain: Drain::No,
            left_in_path: false,
        }
    }

    fn take_over_lacp(&mut self, now: Instant, picture: &Picture) {
        self.key_numbering = numbering(picture);
        let config = Config {
            key_numbering: self.key_numbering,
            ..Config::of(&self.options, self.mac)
        };
        let mut lacp = Lacp::new(config);
        for (port, shown) in self.ports.iter().zip(&picture.ports) {
            let joining = Joining {
                mac: port.permanent_mac,
                priority: port.options.actor_port_prio,
                link: port.link,
            };
            let active = picture.active_aggregator.map(|aggregator| aggregator.id);
            let aggregation = shown.aggregation.as_ref();
            let agreed = aggregation
                .filter(|aggregation| aggregation.aggregator == active)
                .and_then(|aggregation| {
                    let pdus = aggregation.pdus?;
                    Some(Agreed {
                        actor: pdus.actor,
                        partner: pdus.partner,
                        aggregator: aggregation.aggregator?,
                    })
                });
            if let Some(agreed) = agreed {
                lacp.take_over(now, port.id, joining, &agreed);
            }
        }
        self.lacp = Some(lacp);
    }
}

/// Which places the ports get: by their numbers in LACP, which the partner knows; the others take what is free. `None` if
/// there are more ports than places.
fn places(picture: &Picture) -> Option<Vec<PortId>> {
    let numbered = |port: &PortPicture| {
        let pdus = port.aggregation.as_ref()?.pdus?;
        PortId::numbered(pdus.actor.port)
    };
    let mut taken = Vec::new();
    let mut places: Vec<Option<PortId>> = Vec::new();
    for port in &picture.ports {
        let place = numbered(port).filter(|id| !taken.contains(id));
        taken.extend(place);
        places.push(place);
    }
    let mut free = (0..)
        .map_while(PortId::new)
        .filter(|id| !taken.contains(id));
    places
        .into_iter()
        .map(|place| place.or_else(|| free.next()))
        .collect()
}

/// The codes of speeds in the keys, as the running driver has them.
fn numbering(picture: &Picture) -> Numbering {
    let before = picture.ports.iter().any(|port| {
        let Some(pdus) = port.aggregation.as_ref().and_then(|part| part.pdus) else {
            return false;
        };
        let key = |numbering| actor_key(picture.options.ad_user_port_key, &port.link, numbering);
        pdus.actor.state.has(State::AGGREGATION)
            && pdus.actor.key == key(Numbering::Before80G)
            && pdus.actor.key != key(Numbering::Current)
    });
    match before {
        true => Numbering::Before80G,
        false => Numbering::Current,
    }
}
