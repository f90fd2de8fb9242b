//! Changes of a running bond of the driver in steps, each with the one that undoes it.

use std::collections::BTreeMap;

use oxbond_core::engine::{Asked, Engine, beyond_driver};
use oxbond_core::event::{Cause, Event};
use oxbond_core::option::{BondOptions, OptionChange, OptionId, OptionValue, PortOptionChange};
use oxbond_core::time::Instant;
use oxbond_linux::engine::kernel;
use oxbond_linux::inspect;
use oxbond_linux::netlink::Netlink;
use tracing::warn;

use super::KernelBond;
use crate::control::protocol::BondRequest;
use crate::daemon::fault::fault_point;
use crate::daemon::managed::{no_such_port, options_asked};
use crate::daemon::step::{PortChange, Step, merge, options_told, set_to};
use crate::exit::{Blame, Failure};
use crate::refusal::{engine_failure, kernel as kernel_failure, refused_as_port};
use crate::request::{parse_options, parse_port_options};

impl KernelBond {
    /// Nothing stands in the way of a change that is to survive this daemon.
    pub(in crate::daemon) fn ready_to_change(&self) -> Result<(), Failure> {
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
                let options = parse_port_options(&request.options)?;
                self.refuse_beyond(&[], &[(&name, &options)])?;
                let candidate = inspect::inspect_port(netlink, &self.wanted.name, &name, taken)
                    .map_err(refused_as_port)?;
                self.join(netlink, &request, &candidate)?;
                // Whoever asks for it asks for a port that was left alone, too.
                self.expected.remove(&name);
                self.wanted.ports.retain(|port| port.name != name);
                self.wanted.ports.push(request);
                undo.push(Step::RemovePort(name.clone()));
                self.set_late_options(netlink, &[OptionId::Primary])?;
                self.look(netlink, now)?;
                let mtu = match (candidate.link.mtu, self.picture.mtu) {
                    (own, bonds) if own != bonds => format!(", its MTU went from {own} to {bonds}"),
                    _ => String::new(),
                };
                Ok(vec![format!("{name} joined{mtu}")])
            }
            Step::RemovePort(name) => {
                let Some(at) = self.wanted.ports.iter().position(|port| port.name == name) else {
                    return Err(no_such_port(&self.wanted, &name));
                };
                let request = self.wanted.ports.remove(at);
                let Some(ifindex) = self.index_of(&name) else {
                    // Another program may have taken it out: it is not ours to change later on.
                    let mut ports = self.engine.ports();
                    let out = ports
                        .find(|port| port.name == name)
                        .map(|port| port.ifindex);
                    drop(ports);
                    for complaint in
                        out.map_or_else(Vec::new, |out| self.engine.remove_port(netlink, out))
                    {
                        warn!("{}: {complaint}", self.wanted.name);
                    }
                    undo.push(Step::Wanted(BondRequest {
                        ports: self.wanted.ports.iter().cloned().chain([request]).collect(),
                        ..self.wanted.clone()
                    }));
                    return Ok(vec![format!("{name} is no longer expected")]);
                };
                undo.push(Step::AddPort(request));
                for complaint in self.engine.remove_port(netlink, ifindex) {
                    warn!("{}: {complaint}", self.wanted.name);
                }
                self.look(netlink, now)?;
                Ok(vec![format!("{name} was taken out")])
            }
            Step::Options(changes) => {
                self.refuse_beyond(&changes, &[])?;
                let before = self.picture.options.clone();
                let asked = changes.clone();
                let (changes, late) = without_late_primary(netlink, changes)?;
                let told = self.events.len();
                self.set(netlink, &changes)?;
                self.look(netlink, now)?;
                let after = self.picture.options.clone();
                self.tell_cause(told, &asked, &after);
                if late.is_some() {
                    undo.push(Step::Wanted(self.wanted.clone()));
                }
                // It is set again where its port joins only later.
                let primary = asked.iter().filter(|change| is_primary(change));
                let primary: Vec<_> = primary
                    .map(|change| (change.id.to_string(), change.text()))
                    .collect();
                merge(&mut self.wanted.options, &primary);
                undo.push(Step::Options(before.changes_from(&after)));
                let is_late = |change: &OptionChange| late.is_some() && is_primary(change);
                let at_once: Vec<_> = asked.into_iter().filter(|c| !is_late(c)).collect();
                let mut said = options_told(Engine::Kernel, &at_once, &before, &after);
                said.extend(late.map(|port| format!("primary is {port} as soon as it is there")));
                Ok(said)
            }
            Step::PortOptions { port, changes } => {
                let Some(ifindex) = self.index_of(&port) else {
                    return Err(no_such_port(&self.wanted, &port));
                };
                self.refuse_beyond(&[], &[(&port, &changes)])?;
                let mode = self.picture.options.mode;
                let before = options_asked(&self.wanted, &port);
                let change = PortChange::new(Engine::Kernel, mode, &port, before, &changes)?;
                self.engine
                    .set_port_options(netlink, ifindex, &changes)
                    .map_err(engine_failure)?;
                if let Some(wanted) = self.wanted.ports.iter_mut().find(|p| p.name == port) {
                    merge(&mut wanted.options, &change.newer);
                }
                let changes = change.back;
                undo.push(Step::PortOptions { port, changes });
                self.look(netlink, now)?;
                Ok(change.said)
            }
            Step::Drain { port, .. } => {
                let bond = &self.wanted.name;
                let why = format!(
                    "the kernel's driver cannot take {port} out of the traffic while it stays in {bond}; take it out \
                     altogether (oxbond remove-port {bond} {port}), or move {bond} to our own engine first (oxbond adopt \
                     {bond} --engine ebpf)"
                );
                Err(Failure::new(Blame::Refused, why))
            }
            Step::Mtu(mtu) => {
                let old = self.picture.mtu;
                self.engine.set_mtu(netlink, mtu).map_err(engine_failure)?;
                undo.push(Step::Mtu(old));
                self.look(netlink, now)?;
                Ok(vec![set_to("MTU", &mtu.to_string())])
            }
            Step::Mac(mac) => {
                let old = self.picture.mac;
                self.engine.set_mac(netlink, mac).map_err(engine_failure)?;
                undo.push(Step::Mac(old));
                self.look(netlink, now)?;
                Ok(vec![set_to("address", &mac.to_string())])
            }
            Step::Wanted(wanted) => {
                undo.push(Step::Wanted(std::mem::replace(&mut self.wanted, wanted)));
                Ok(Vec::new())
            }
        }
    }

    /// Refuses what our own engine can and the driver of this kernel cannot, before anything is touched.
    fn refuse_beyond(
        &self,
        changes: &[OptionChange],
        ports: &[(&str, &[PortOptionChange])],
    ) -> Result<(), Failure> {
        let Some(release) = kernel::release() else {
            return Ok(());
        };
        let mut options = changes.to_vec();
        if options.iter().all(|change| change.id != OptionId::Mode) {
            options.push(OptionChange {
                id: OptionId::Mode,
                value: OptionValue::Number(self.picture.options.mode.code().into()),
            });
        }
        let options = &options;
        let beyond = beyond_driver(&Asked { options, ports }, release);
        if beyond.is_empty() {
            return Ok(());
        }
        let bond = &self.wanted.name;
        let each: Vec<String> = beyond.iter().map(ToString::to_string).collect();
        let why = format!(
            "the kernel's bonding driver, which carries {bond}, cannot do what is asked: {}; leave it out, or move {bond} to our \
             own engine first, which can (oxbond adopt {bond} --engine ebpf)",
            each.join(", ")
        );
        Err(Failure::new(Blame::Configuration, why))
    }

    /// Of what happened since so many events we know more than the driver tells: we have just set these options.
    fn tell_cause(&mut self, told: usize, asked: &[OptionChange], after: &BondOptions) {
        let names: Vec<&str> = asked.iter().map(|change| change.id.name()).collect();
        for event in self.events.iter_mut().skip(told) {
            if let Event::ActivePort { cause, .. } | Event::Carrier { cause, .. } = event
                && *cause == Cause::Driver
            {
                let names = names.join(", ");
                *cause = Cause::Options { names };
            }
        }
        for change in asked {
            let (asked, used) = (change.text(), after.text(change.id));
            if matches!(change.value, OptionValue::Number(_)) && asked != used {
                let option = change.id.name().to_owned();
                self.events.push(Event::ValueRounded {
                    option,
                    asked,
                    used,
                });
            }
        }
    }

    pub(super) fn set(
        &mut self,
        netlink: &mut Netlink,
        changes: &[OptionChange],
    ) -> Result<(), Failure> {
        let files = &self.files;
        let done = self.engine.set_options(netlink, changes, &mut |scene| {
            files.note_interruption(scene)?;
            fault_point("interrupted", 0);
            Ok(())
        });
        let over = self.files.forget_interruption();
        done.map_err(engine_failure).and(over)
    }

    /// Sets those of these options that name a port which is there by now: the driver knows no others.
    pub(super) fn set_late_options(
        &mut self,
        netlink: &mut Netlink,
        ids: &[OptionId],
    ) -> Result<(), Failure> {
        let mut changes = parse_options(&self.wanted.options)?;
        let picture = self.engine.picture(netlink).map_err(engine_failure)?;
        let shown = |id| match id {
            OptionId::ActiveSlave => picture.active_port.clone(),
            _ => picture.options.primary.clone(),
        };
        let mode = picture.options.mode;
        changes.retain(|change| match &change.value {
            OptionValue::Name(port) if !port.is_empty() && ids.contains(&change.id) => {
                // What another mode has sleeps until that returns.
                change.id.spec().modes.contains(mode)
                    && shown(change.id).as_ref() != Some(port)
                    && picture.ports.iter().any(|known| known.name == *port)
            }
            _ => false,
        });
        match changes.is_empty() {
            true => Ok(()),
            false => self.set(netlink, &changes),
        }
    }

    /// Index of one of its ports.
    pub(super) fn index_of(&self, port: &str) -> Option<u32> {
        let mut ports = self.picture.ports.iter();
        ports
            .find(|known| known.name == port)
            .map(|known| known.ifindex)
    }
}

fn is_primary(change: &OptionChange) -> bool {
    change.id == OptionId::Primary
}

/// The driver knows a primary port by its interface: without that there is none until it comes. Answers what to set then, and
/// whose turn it is later.
fn without_late_primary(
    netlink: &mut Netlink,
    mut changes: Vec<OptionChange>,
) -> Result<(Vec<OptionChange>, Option<String>), Failure> {
    let mut late = None;
    for change in changes.iter_mut().filter(|change| is_primary(change)) {
        if let OptionValue::Name(port) = &mut change.value
            && !port.is_empty()
            && netlink.link(port).map_err(kernel_failure)?.is_none()
        {
            late = Some(std::mem::take(port));
        }
    }
    Ok((changes, late))
}
