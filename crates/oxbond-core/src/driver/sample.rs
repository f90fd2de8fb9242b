//! Pictures for tests, after what the driver of Linux 6.1 showed (`/proc/net/bonding` and `ip -d -j link`).

use oxbond_wire::MacAddr;
use oxbond_wire::lacp::{Information, State};

use super::{ActiveAggregator, Pdus, Picture, PortAggregation, PortPicture, Traffic};
use crate::lacp::{ChurnState, Counters};
use crate::option::{BondContext, BondOptions, Mode, OptionChange, OptionId, PortOptions};
use crate::port::{Duplex, LinkState};
use crate::status::{MiiStatus, PortRole};

pub(super) const US: MacAddr = MacAddr([0x16, 0x62, 0x3c, 0x0c, 0x84, 0x5c]);
pub(super) const PARTNER: MacAddr = MacAddr([0x22, 0x95, 0xf9, 0x49, 0xc7, 0x81]);

/// Options of the driver, from names and values.
pub(super) fn options(words: &str) -> BondOptions {
    let words: Vec<&str> = words.split_whitespace().collect();
    let changes: Vec<_> = words
        .chunks(2)
        .map(|pair| OptionChange::parse(pair[0], pair[1]).unwrap())
        .collect();
    let applied = BondOptions::default().apply(&changes, &BondContext::default());
    applied.unwrap().options
}

/// A bond with ports v0 and v1 that work; v0 is the active one in modes that have one.
pub(super) fn bond(words: &str) -> Picture {
    let options = options(words);
    let mode = options.mode;
    let ports: Vec<PortPicture> = (0..2).map(|index| port(index, mode)).collect();
    Picture {
        name: "bond1".to_owned(),
        ifindex: 6,
        up: true,
        carrier: true,
        mac: US,
        mac_is_random: false,
        mtu: 1500,
        known: OptionId::ALL.to_vec(),
        raw: Vec::new(),
        active_port: mode.has_active_port().then(|| "v0".to_owned()),
        active_aggregator: (mode == Mode::Ieee8023ad).then_some(ActiveAggregator {
            id: 1,
            ports: 2,
            actor_key: 15,
            partner_key: 15,
            partner_system: PARTNER,
        }),
        system: (mode == Mode::Ieee8023ad).then_some((65_535, US)),
        tx_dropped: 0,
        ports,
        options,
    }
}

fn port(index: u16, mode: Mode) -> PortPicture {
    let waits = mode == Mode::ActiveBackup && index > 0;
    PortPicture {
        name: format!("v{index}"),
        ifindex: 3 + u32::from(index),
        link: LinkState {
            admin_up: true,
            carrier: true,
            speed_mbps: Some(10_000),
            duplex: Duplex::Full,
        },
        mii_status: MiiStatus::Up,
        role: if waits {
            PortRole::Backup
        } else {
            PortRole::Active
        },
        link_failure_count: 0,
        permanent_mac: MacAddr([2, 0, 0, 0, 0, index as u8]),
        mac: US,
        options: PortOptions::default(),
        raw: Vec::new(),
        aggregation: (mode == Mode::Ieee8023ad).then(|| agreed(index + 1)),
        traffic: Traffic::default(),
    }
}

fn agreed(number: u16) -> PortAggregation {
    let end = |system| Information {
        system_priority: 65_535,
        system,
        key: 15,
        port_priority: 255,
        port: number,
        state: State(63),
    };
    PortAggregation {
        aggregator: Some(1),
        actor_state: Some(63),
        partner_state: Some(63),
        churn: Some((ChurnState::Monitoring, ChurnState::Monitoring)),
        churned: (0, 0),
        pdus: Some(Pdus {
            actor: end(US),
            partner: end(PARTNER),
        }),
        counters: Counters {
            lacpdus_rx: 12,
            lacpdus_tx: 11,
            ..Counters::default()
        },
    }
}

impl Picture {
    /// A port's link is lost, and its interface shows it.
    pub(super) fn unplug(&mut self, index: usize) {
        let port = &mut self.ports[index];
        port.link.carrier = false;
        port.link.speed_mbps = None;
        port.link.duplex = Duplex::Unknown;
        port.mii_status = MiiStatus::Down;
        port.link_failure_count += 1;
        if self.options.mode == Mode::ActiveBackup {
            port.role = PortRole::Backup;
        }
    }

    /// Sets the state bits of a port's ends.
    pub(super) fn bits(&mut self, index: usize, actor: u8, partner: u8) {
        let part = self.ports[index].aggregation.as_mut().unwrap();
        (part.actor_state, part.partner_state) = (Some(actor), Some(partner));
        let pdus = part.pdus.as_mut().unwrap();
        (pdus.actor.state, pdus.partner.state) = (State(actor), State(partner));
        if actor & State::DISTRIBUTING.0 == 0 {
            self.ports[index].role = PortRole::Backup;
        }
    }

    /// As whoever is no administrator sees it.
    pub(super) fn seen_by_anybody(mut self) -> Self {
        self.system = None;
        self.known.retain(|id| {
            !matches!(
                id,
                OptionId::AdActorSysPrio | OptionId::AdActorSystem | OptionId::AdUserPortKey
            )
        });
        for port in &mut self.ports {
            if let Some(part) = &mut port.aggregation {
                part.pdus = None;
            }
        }
        self
    }
}
