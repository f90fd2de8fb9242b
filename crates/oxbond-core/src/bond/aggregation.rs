//! 802.3ad: the bond's ports and options told to the LACP machines, and what they decide carried out.

use oxbond_wire::learning;

use super::{Bond, Port};
use crate::action::Action;
use crate::announce::Repeat;
use crate::event::{Cause, Event};
use crate::lacp::{self, Config, Drain, Joining, Lacp, Output};
use crate::option::{Mode, Switch};
use crate::port::{LinkState, PortId};
use crate::table::TransmitTable;
use crate::time::Instant;

impl Bond {
    /// The LACP machines, in mode 802.3ad.
    pub const fn lacp(&self) -> Option<&Lacp> {
        self.lacp.as_ref()
    }

    /// Brings the machines in line with mode, options, ports and links, and answers what they want sent: after the table
    /// that belongs to it.
    pub(super) fn arrange_lacp(&mut self, now: Instant) -> Vec<Action> {
        if self.options.mode != Mode::Ieee8023ad {
            return self.leave_lacp(now);
        }
        let config = Config {
            key_numbering: self.key_numbering,
            ..Config::of(&self.options, self.mac)
        };
        let mut lacp = self
            .lacp
            .take()
            .unwrap_or_else(|| Lacp::new(config.clone()));
        if *lacp.config() != config {
            lacp.configure(now, config);
        }
        let gone = lacp.members().filter(|id| self.port(*id).is_none());
        for id in gone.collect::<Vec<_>>() {
            lacp.remove_port(now, id);
        }
        for port in &self.ports {
            // A delay is a delay for LACP too. But the ARP monitor's verdict is not: answers come over ports that LACP has
            // brought up.
            let carrier = port.link.carrier && (self.probes() || self.is_usable(port.id));
            let link = LinkState {
                carrier,
                ..port.link
            };
            lacp.add_port(
                now,
                port.id,
                Joining {
                    mac: port.permanent_mac,
                    priority: port.options.actor_port_prio,
                    link,
                },
            );
            lacp.link(now, port.id, link);
            lacp.set_priority(now, port.id, port.options.actor_port_prio);
            if port.drain == Drain::No {
                lacp.undrain(now, port.id);
            } else {
                lacp.drain(now, port.id);
            }
        }
        self.lacp = Some(lacp);
        self.lacp_outputs().0
    }

    /// Ends the machines, if there are any. Partners are told on each port; what the machines of the ports still left make
    /// of it meanwhile is no event of the bond.
    fn leave_lacp(&mut self, now: Instant) -> Vec<Action> {
        let Some(mut lacp) = self.lacp.take() else {
            return Vec::new();
        };
        for id in lacp.members().collect::<Vec<_>>() {
            lacp.remove_port(now, id);
        }
        core::iter::from_fn(|| lacp.poll())
            .filter_map(|output| match output {
                Output::Send { port, frame } => Some(Action::SendOnPort { port, frame }),
                Output::Standing { port, answer } => {
                    Some(Action::SetStandingAnswer { port, answer })
                }
                Output::Changed | Output::Event(_) => None,
            })
            .collect()
    }

    /// Begins to tell peers when the table has come to a port that carried nothing in `before`. Without a partner, switches
    /// know the bond's address on another port. With `broadcast_neighbor` the driver does so too.
    pub(super) fn aggregate_moved(&mut self, now: Instant, before: &TransmitTable) {
        let Some(lacp) = &self.lacp else {
            return;
        };
        let other_mode = !before.tap.slow_protocols;
        let carries_anew = |id: &PortId| other_mode || !before.senders().contains(id);
        let wanted = !lacp.fallback().is_empty() || self.options.broadcast_neighbor == Switch::On;
        if self.admin_up && wanted && self.table.senders().iter().any(carries_anew) {
            self.peers = Repeat::start(self.options.num_grat_arp, now);
        }
    }

    /// A frame of the slow protocols arrived.
    pub(super) fn slow_frame(&mut self, now: Instant, port: PortId, frame: &[u8]) {
        if let Some(lacp) = &mut self.lacp {
            lacp.received(now, port, frame);
            self.lacp_moved(now);
        }
    }

    /// Timers of the machines.
    pub(super) fn lacp_due(&mut self, now: Instant) {
        if let Some(lacp) = &mut self.lacp
            && lacp.next_timeout().is_some_and(|due| due <= now)
        {
            lacp.handle_timeout(now);
            self.lacp_moved(now);
        }
    }

    /// What follows when the machines moved by themselves. Most PDUs change nothing, so the table is not looked at for
    /// every one.
    fn lacp_moved(&mut self, now: Instant) {
        let (sent, changed) = self.lacp_outputs();
        if changed || self.carries() != self.carrier {
            self.settle(now, &Cause::Lacp);
        }
        self.speak(sent);
    }

    /// Sends frames of LACP. Each has its port's own address as source, and that is the bond's too if the port gave it. While
    /// another port carries the traffic without a partner, a switch without LACP takes that for the place where the bond
    /// is: so it is taught better at once.
    pub(super) fn speak(&mut self, sent: Vec<Action>) {
        for action in sent {
            let misled = match &action {
                Action::SendOnPort { port, .. } => self.misleads(*port),
                _ => None,
            };
            self.actions.push_back(action);
            self.actions
                .extend(misled.map(|carrying| Action::SendOnPort {
                    port: carrying,
                    frame: learning::frame(self.mac, None),
                }));
        }
    }

    /// The port that carries the traffic without a partner, if a frame with the own address of this one belies it.
    fn misleads(&self, port: PortId) -> Option<PortId> {
        let alone = !self.lacp.as_ref()?.fallback().is_empty();
        let senders = self.table.senders();
        let under_bonds_address = self.port(port)?.permanent_mac == self.mac;
        let carrying = senders
            .first()
            .copied()
            .filter(|_| !senders.contains(&port))?;
        (alone && under_bonds_address).then_some(carrying)
    }

    /// What the machines want sent, and whether other ports carry traffic now. Events are passed on.
    fn lacp_outputs(&mut self) -> (Vec<Action>, bool) {
        let (mut sent, mut changed) = (Vec::new(), false);
        while let Some(output) = self.lacp.as_mut().and_then(Lacp::poll) {
            match output {
                Output::Send { port, frame } => sent.push(Action::SendOnPort { port, frame }),
                Output::Standing { port, answer } => {
                    sent.push(Action::SetStandingAnswer { port, answer });
                }
                Output::Changed => changed = true,
                Output::Event(lacp::Event::Drained { port }) => {
                    if let Some(id) = self.port_at(port).map(|port| port.id) {
                        self.drained(id);
                    }
                }
                Output::Event(event) => {
                    let name = |at| self.port_at(at).map(|port| port.name.clone());
                    let port = event.port().and_then(name);
                    let others = event.others().into_iter().filter_map(name).collect();
                    self.tell(Event::Lacp {
                        port,
                        others,
                        event,
                    });
                }
            }
        }
        (sent, changed)
    }

    /// Ports that may send. With the ARP monitor those of them that it finds working; without a partner, when it finds that
    /// the one that would carry the traffic does not, another one.
    pub(super) fn distributing(&self) -> Vec<PortId> {
        let Some(lacp) = &self.lacp else {
            return Vec::new();
        };
        let agreed = lacp.distributing();
        if !self.probes() {
            return agreed.to_vec();
        }
        let works = |id: &PortId| self.is_usable(*id);
        let working: Vec<PortId> = agreed.iter().copied().filter(works).collect();
        if !working.is_empty() || lacp.fallback().is_empty() {
            return working;
        }
        let before = self.table.order.first().copied().filter(works);
        let mut all = self.partaking().map(|port| port.id);
        before.or_else(|| all.find(works)).into_iter().collect()
    }

    /// One port carries the traffic without a partner, as in active-backup.
    pub(super) fn carries_alone(&self) -> bool {
        self.lacp.as_ref().is_some_and(Lacp::carries_alone)
    }

    /// The ports for the table: those that may send. Behind one that carries the traffic alone stand all the others, so
    /// that the data path has one to turn to while no daemon sees its link die.
    pub(super) fn senders_and_spares(&self) -> Vec<PortId> {
        let mut order = self.distributing();
        if self.carries_alone() && !order.is_empty() {
            let spare = |port: &&Port| !order.contains(&port.id);
            let mut spares: Vec<&Port> = self.partaking().filter(spare).collect();
            spares.sort_by_key(|port| (!self.is_usable(port.id), port.options.actor_port_prio));
            order.extend(spares.into_iter().map(|port| port.id).collect::<Vec<_>>());
        }
        order
    }

    /// Ports that deliver: those that collect, and those that may send.
    pub(super) fn collecting(&self, order: &[PortId]) -> Vec<PortId> {
        let collecting = self.lacp.as_ref().map_or(&[][..], Lacp::collecting);
        let delivers = |id: &PortId| order.contains(id) || collecting.contains(id);
        let ports = self.ports.iter().map(|port| port.id);
        ports.filter(delivers).collect()
    }
}
