//! A bond under test, and a tester with raw frames at the other end of each link.

use core::time::Duration;
use std::collections::BTreeMap;

use oxbond_core::lacp::{Config, Event, Joining, Lacp, Output, PortStatus};
use oxbond_core::port::{Duplex, LinkState, PortId};
use oxbond_core::standing::StandingAnswer;
use oxbond_core::time::Instant;
use oxbond_wire::MacAddr;
use oxbond_wire::ethernet::{EtherType, Header};
use oxbond_wire::lacp::{Information, Lacpdu, State};
use oxbond_wire::slow;

pub(crate) const US: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xaa]);
pub(crate) const PARTNER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xbb]);
pub(crate) const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xcc]);

pub(crate) const UP: LinkState = LinkState {
    admin_up: true,
    carrier: true,
    speed_mbps: Some(10_000),
    duplex: Duplex::Full,
};
pub(crate) const DOWN: LinkState = LinkState {
    carrier: false,
    ..UP
};

/// Active, slow, aggregating, in sync, collecting, distributing.
pub(crate) const FULL: State = State(0x3d);

pub(crate) fn id(index: u8) -> PortId {
    PortId::new(index).unwrap()
}

pub(crate) fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

pub(crate) fn mac(index: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, index])
}

pub(crate) fn config() -> Config {
    Config {
        bond_mac: US,
        ..Config::default()
    }
}

pub(crate) fn fast() -> Config {
    Config {
        lacp_rate: oxbond_core::option::LacpRate::Fast,
        ..config()
    }
}

pub(crate) struct Rig {
    pub(crate) lacp: Lacp,
    pub(crate) now: Instant,
    /// LACPDUs we sent: when, on which port.
    pub(crate) sent: Vec<(Instant, PortId, Lacpdu)>,
    /// Every frame we sent.
    pub(crate) frames: Vec<(PortId, Vec<u8>)>,
    pub(crate) events: Vec<(Instant, Event)>,
    /// The standing answers of ports that have one.
    pub(crate) standing: BTreeMap<PortId, StandingAnswer>,
    /// What collected and distributed, each time it changed.
    pub(crate) traffic: Vec<(Instant, Vec<PortId>, Vec<PortId>)>,
}

impl Rig {
    /// Ports 0 to `ports` - 1, with links.
    pub(crate) fn new(config: Config, ports: u8) -> Self {
        let mut rig = Self::empty(config);
        for index in 0..ports {
            rig.add(index, UP);
        }
        rig
    }

    pub(crate) fn empty(config: Config) -> Self {
        Self {
            lacp: Lacp::new(config),
            now: at(1_000_000),
            sent: Vec::new(),
            frames: Vec::new(),
            events: Vec::new(),
            standing: BTreeMap::new(),
            traffic: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, index: u8, link: LinkState) {
        let joining = Joining {
            mac: mac(index),
            priority: 255,
            link,
        };
        self.lacp.add_port(self.now, id(index), joining);
        self.drain();
    }

    pub(crate) fn link(&mut self, index: u8, link: LinkState) {
        self.lacp.link(self.now, id(index), link);
        self.drain();
    }

    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = self.lacp.config().clone();
        change(&mut config);
        self.lacp.configure(self.now, config);
        self.drain();
    }

    /// Takes what the machines want done.
    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.lacp.poll() {
            match output {
                Output::Send { port, frame } => {
                    let (header, pdu) = Header::parse(&frame).unwrap();
                    assert_eq!(header.ether_type, EtherType::SlowProtocols);
                    if let Ok(pdu) = Lacpdu::parse(pdu) {
                        self.sent.push((self.now, port, pdu));
                    }
                    self.frames.push((port, frame));
                }
                Output::Standing { port, answer } => {
                    match answer {
                        Some(answer) => self.standing.insert(port, answer),
                        None => self.standing.remove(&port),
                    };
                }
                Output::Changed => {
                    let collecting = self.lacp.collecting().to_vec();
                    let distributing = self.lacp.distributing().to_vec();
                    for port in &distributing {
                        assert!(collecting.contains(port), "who sends also delivers");
                    }
                    self.traffic.push((self.now, collecting, distributing));
                }
                Output::Event(event) => {
                    assert!(!event.words(&[]).to_string().is_empty());
                    self.events.push((self.now, event));
                }
            }
        }
    }

    /// Lets time pass, timer by timer.
    pub(crate) fn run(&mut self, ms: u64) -> &mut Self {
        let end = self.now + Duration::from_millis(ms);
        let mut rounds = 0;
        while let Some(due) = self.lacp.next_timeout().filter(|due| *due <= end) {
            rounds = if due > self.now { 0 } else { rounds + 1 };
            assert!(rounds < 10, "time stands still at {:?}", self.now);
            self.now = self.now.max(due);
            self.lacp.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
        self
    }

    pub(crate) fn port(&self, index: u8) -> PortStatus {
        let ports = self.lacp.ports(self.now);
        ports.into_iter().find(|p| p.id == id(index)).unwrap()
    }

    /// What a partner in full agreement would send: it sees us as we are, and carries traffic.
    pub(crate) fn good(&self, index: u8) -> Lacpdu {
        Lacpdu {
            version: 1,
            actor: Information {
                system_priority: 0x8000,
                system: PARTNER,
                key: 7,
                port_priority: 0x80,
                port: 100 + u16::from(index),
                state: FULL,
            },
            partner: self.port(index).actor.information().unwrap(),
            collector_max_delay: 0,
        }
    }

    /// A PDU arrives.
    pub(crate) fn hear_pdu(&mut self, index: u8, pdu: &Lacpdu) -> &mut Self {
        self.hear_frame(index, &pdu.frame(mac(0x80 + index)))
    }

    pub(crate) fn hear_frame(&mut self, index: u8, frame: &[u8]) -> &mut Self {
        self.lacp.received(self.now, id(index), frame);
        self.drain();
        self
    }

    /// PDU bytes arrive, in a frame of slow protocols.
    pub(crate) fn hear_bytes(&mut self, index: u8, pdu: &[u8]) -> &mut Self {
        let header = Header {
            destination: slow::GROUP,
            source: mac(0x80 + index),
            tags: Vec::new(),
            ether_type: EtherType::SlowProtocols,
        };
        let mut frame = header.frame(pdu);
        // Without the padding of short frames.
        frame.truncate(14 + pdu.len());
        self.hear_frame(index, &frame)
    }

    /// A good PDU arrives, with changes.
    pub(crate) fn hear(&mut self, index: u8, change: impl FnOnce(&mut Lacpdu)) -> &mut Self {
        let mut pdu = self.good(index);
        change(&mut pdu);
        self.hear_pdu(index, &pdu)
    }

    pub(crate) fn hear_good(&mut self, index: u8) -> &mut Self {
        self.hear(index, |_| {})
    }

    /// Brings ports into full agreement; after that the tester answers nothing by itself. Takes 2 s if other ports still
    /// look for a partner.
    pub(crate) fn agree(&mut self, ports: &[u8]) -> &mut Self {
        for _ in 0..2 {
            for port in ports {
                self.hear_good(*port);
            }
        }
        if !ports.iter().all(|port| self.collects(*port)) {
            self.run(2_000);
            for port in ports {
                self.hear_good(*port);
            }
        }
        for port in ports {
            assert!(self.distributes(*port), "{:?}", self.port(*port));
        }
        self
    }

    /// Lets time pass while the tester repeats a good PDU on these ports every `every` ms.
    pub(crate) fn run_hearing(&mut self, ms: u64, every: u64, ports: &[u8]) -> &mut Self {
        for _ in 0..ms / every {
            self.run(every);
            for port in ports {
                self.hear_good(*port);
            }
        }
        self
    }

    pub(crate) fn collects(&self, index: u8) -> bool {
        self.lacp.collecting().contains(&id(index))
    }

    pub(crate) fn distributes(&self, index: u8) -> bool {
        self.lacp.distributing().contains(&id(index))
    }

    /// PDUs sent on a port since the last call of `forget`.
    pub(crate) fn sent_on(&self, index: u8) -> Vec<Lacpdu> {
        let sent = self.sent.iter().filter(|(_, port, _)| *port == id(index));
        sent.map(|(_, _, pdu)| *pdu).collect()
    }

    /// When PDUs were sent on a port, in ms since `from`.
    pub(crate) fn times_on(&self, index: u8, from: Instant) -> Vec<u64> {
        let sent = self.sent.iter().filter(|(_, port, _)| *port == id(index));
        sent.map(|(when, _, _)| when.saturating_since(from).as_millis() as u64)
            .collect()
    }

    #[track_caller]
    pub(crate) fn last_on(&self, index: u8) -> Lacpdu {
        *self.sent_on(index).last().expect("nothing was sent")
    }

    pub(crate) fn forget(&mut self) -> &mut Self {
        self.sent.clear();
        self.frames.clear();
        self.events.clear();
        self.traffic.clear();
        self
    }

    pub(crate) fn reason(&self, index: u8) -> String {
        let reason = self.lacp.reason(self.now, id(index));
        reason.map_or_else(|| "distributes".to_owned(), |reason| reason.to_string())
    }
}
