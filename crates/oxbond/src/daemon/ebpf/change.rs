//! Changes of a running bond of our own engine in steps, each with the one that undoes it: a change is carried out wholly or not at all.

use std::collections::BTreeMap;

use oxbond_core::engine::Engine;
use oxbond_core::input::Input;
use oxbond_core::time::Instant;
use oxbond_linux::inspect;
use oxbond_linux::netlink::Netlink;

use super::EbpfBond;
use crate::control::protocol::BondRequest;
use crate::daemon::managed::{no_such_port, options_asked};
use crate::daemon::step::{PortChange, Step, merge, options_told, set_to};
use crate::exit::Failure;
use crate::refusal::{engine_failure, kernel, refused_as_port, refused_by_core};

impl EbpfBond {
    /// Nothing stands in the way of a change that is to survive this daemon.
    pub(in crate::daemon) fn ready_to_change(&self) -> Result<(), Failure> {
        self.refuse_while_moving()?;
        self.files.has_room()
    }

    /// Takes a step and adds to `undo` what takes it back.
    pub(in crate::daemon) fn take_step(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
        step: Step,
        undo: &mut Vec<Step>,
    ) -> Result<Vec<String>, Failure> {
        match step {
            Step::AddPort(request) => {
                let name = request.name.clone();
                let candidate = inspect::inspect_port(netlink, self.name(), &name, taken)
                    .map_err(refused_as_port)?;
                // One that was away and is asked for again: the newer words count.
                self.drained_away.remove(&name);
                self.join(netlink, now, &request, &candidate)?;
                self.wanted.ports.retain(|port| port.name != name);
                self.wanted.ports.push(request);
                let mtu = match (candidate.link.mtu, self.engine.mtu()) {
                    (own, bonds) if own != bonds => format!(", its MTU went from {own} to {bonds}"),
                    _ => String::new(),
                };
                undo.push(Step::RemovePort(name.clone()));
                Ok(vec![format!("{name} joined{mtu}")])
            }
            Step::RemovePort(name) => {
                let attached = self.port_named(&name);
                let Some(at) = self.wanted.ports.iter().position(|port| port.name == name) else {
                    return Err(no_such_port(&self.wanted, &name));
                };
                let request = self.wanted.ports.remove(at);
                self.drained_away.remove(&name);
                let Some(port) = attached else {
                    undo.push(Step::Wanted(BondRequest {
                        ports: self.wanted.ports.iter().cloned().chain([request]).collect(),
                        ..self.wanted.clone()
                    }));
                    return Ok(vec![format!("{name} is no longer expected")]);
                };
                if self.is_drained(port) {
                    undo.push(Step::Drain {
                        port: name.clone(),
                        out: true,
                    });
                }
                undo.push(Step::AddPort(request));
                self.part(netlink, now, port);
                Ok(vec![format!("{name} was taken out")])
            }
            Step::Options(changes) => {
                let before = self.core.options().clone();
                let asked = changes.clone();
                self.feed(netlink, now, Input::SetOptions { changes })
                    .map_err(refused_by_core)?;
                self.schedule_poll(now);
                self.look_at_paths(netlink, now);
                let after = self.core.options();
                undo.push(Step::Options(before.changes_from(after)));
                Ok(options_told(Engine::Ebpf, &asked, &before, after))
            }
            Step::PortOptions { port, changes } => {
                let Some(id) = self.port_named(&port) else {
                    return Err(no_such_port(&self.wanted, &port));
                };
                let mode = self.core.options().mode;
                let before = options_asked(&self.wanted, &port);
                let change = PortChange::new(Engine::Ebpf, mode, &port, before, &changes)?;
                self.feed(netlink, now, Input::SetPortOptions { port: id, changes })
                    .map_err(refused_by_core)?;
                if let Some(wanted) = self.wanted.ports.iter_mut().find(|p| p.name == port) {
                    merge(&mut wanted.options, &change.newer);
                }
                let changes = change.back;
                undo.push(Step::PortOptions { port, changes });
                Ok(change.said)
            }
            Step::Drain { port, out } => {
                let Some(id) = self.port_named(&port) else {
                    if !out && self.drained_away.remove(&port) {
                        let said = format!("{port} is away, and takes part again when it returns");
                        return Ok(vec![said]);
                    }
                    return Err(no_such_port(&self.wanted, &port));
                };
                self.feed(netlink, now, Input::Drain { port: id, out })
                    .map_err(refused_by_core)?;
                let said = if out {
                    format!("{port} is being drained")
                } else {
                    format!("{port} takes part again")
                };
                undo.push(Step::Drain { port, out: !out });
                Ok(vec![said])
            }
            Step::Mtu(mtu) => {
                let old = self.engine.mtu();
                netlink
                    .set_mtu(self.engine.ifindex(), mtu)
                    .map_err(kernel)?;
                self.engine
                    .follow_bond_mtu(netlink, mtu)
                    .map_err(engine_failure)?;
                undo.push(Step::Mtu(old));
                Ok(vec![set_to("MTU", &mtu.to_string())])
            }
            Step::Mac(mac) => {
                let old = self.core.mac();
                netlink
                    .set_mac(self.engine.ifindex(), mac)
                    .map_err(kernel)?;
                undo.push(Step::Mac(old));
                self.tell(netlink, now, Input::BondMac { mac });
                Ok(vec![set_to("address", &mac.to_string())])
            }
            Step::Wanted(wanted) => {
                undo.push(Step::Wanted(std::mem::replace(&mut self.wanted, wanted)));
                Ok(Vec::new())
            }
        }
    }
}
