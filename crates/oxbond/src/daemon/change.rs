//! Changes of a running bond in steps, each with the one that undoes it: a change is carried out wholly or not at all.

use std::collections::BTreeMap;
use std::net::IpAddr;

use oxbond_config::model::Cidr;
use oxbond_core::input::Input;
use oxbond_core::option::{
    BondContext, BondOptions, Mode, OptionChange, OptionId, OptionSpec, OptionValue,
    PortOptionChange, PortOptions,
};
use oxbond_core::time::Instant;
use oxbond_linux::inspect;
use oxbond_linux::netlink::Netlink;
use oxbond_wire::MacAddr;
use tracing::warn;

use super::bond::ManagedBond;
use super::refusal::{configuration, engine_failure, kernel, refused_as_port, refused_by_core};
use super::request::{parse_addresses, parse_mac, parse_options, parse_port_options};
use crate::control::protocol::{BondRequest, PortRequest};
use crate::exit::{Blame, Failure};

/// One change of a bond. Each but [`Step::Network`] has no effect when it fails.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Join an interface.
    AddPort(PortRequest),
    /// Take a port out, or no longer expect one that is away.
    RemovePort(String),
    /// Change options of the bond.
    Options(Vec<OptionChange>),
    /// Change options of a port.
    PortOptions {
        /// Its name.
        port: String,
        /// The changes.
        changes: Vec<PortOptionChange>,
    },
    /// Take a port out of the traffic, or let it take part again.
    Drain {
        /// Its name.
        port: String,
        /// Out; else back.
        out: bool,
    },
    /// Set the MTU of bond and ports.
    Mtu(u32),
    /// Set the bond's address.
    Mac(MacAddr),
    /// Make these the addresses and default gateways that the bond has from us; those of its user stay.
    Network {
        /// The addresses.
        addresses: Vec<Cidr>,
        /// The gateways.
        gateways: Vec<IpAddr>,
    },
    /// Remember this as what was asked for.
    Wanted(BondRequest),
}

impl ManagedBond {
    /// Carries out all of it, or undoes what was done; what cannot be undone is logged. Answers a line for each change.
    pub(super) fn carry_out(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
        steps: Vec<Step>,
    ) -> Result<Vec<String>, Failure> {
        self.files.has_room()?;
        let mut undo = Vec::new();
        let mut said = Vec::new();
        for step in steps {
            match self.take_step(netlink, now, taken, step, &mut undo) {
                Ok(lines) => said.extend(lines),
                Err(failure) => {
                    for step in undo.into_iter().rev() {
                        if let Err(e) = self.take_step(netlink, now, taken, step, &mut Vec::new()) {
                            warn!("{}: while undoing: {e}", self.name());
                        }
                    }
                    return Err(failure);
                }
            }
        }
        let name = self.name().to_owned();
        Ok(said
            .into_iter()
            .map(|line| format!("{name}: {line}"))
            .collect())
    }

    /// Takes a step and adds to `undo` what takes it back.
    fn take_step(
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
                    return Err(self.no_such_port(&name));
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
                Ok(options_told(&asked, &before, after))
            }
            Step::PortOptions { port, changes } => {
                let Some(id) = self.port_named(&port) else {
                    return Err(self.no_such_port(&port));
                };
                let before = self.wanted_port(&port).map(|port| port.options.clone());
                let said = changes
                    .iter()
                    .map(|change| {
                        set_to(&format!("{} of {port}", change.id), &change.text())
                            + &idle(change.id.spec(), self.core.options().mode)
                    })
                    .collect();
                let newer: Vec<_> = changes
                    .iter()
                    .map(|change| (change.id.to_string(), change.text()))
                    .collect();
                self.feed(netlink, now, Input::SetPortOptions { port: id, changes })
                    .map_err(refused_by_core)?;
                if let Some(wanted) = self.wanted.ports.iter_mut().find(|p| p.name == port) {
                    merge(&mut wanted.options, &newer);
                }
                undo.push(Step::PortOptions {
                    changes: port_changes(
                        self.core.options(),
                        &before.unwrap_or_default(),
                        &newer,
                    )?,
                    port,
                });
                Ok(said)
            }
            Step::Drain { port, out } => {
                let Some(id) = self.port_named(&port) else {
                    if !out && self.drained_away.remove(&port) {
                        let said = format!("{port} is away, and takes part again when it returns");
                        return Ok(vec![said]);
                    }
                    return Err(self.no_such_port(&port));
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
            Step::Network {
                addresses,
                gateways,
            } => {
                undo.push(self.network_now(netlink)?);
                let said = self.set_network(netlink, &addresses, &gateways)?;
                if !said.is_empty() {
                    self.on_addresses(netlink, now);
                }
                Ok(said)
            }
            Step::Wanted(wanted) => {
                undo.push(Step::Wanted(std::mem::replace(&mut self.wanted, wanted)));
                Ok(Vec::new())
            }
        }
    }

    /// The step to the addresses and gateways of ours that are there: its user may have taken some away.
    fn network_now(&self, netlink: &mut Netlink) -> Result<Step, Failure> {
        let ifindex = self.engine.ifindex();
        let there = present(netlink, ifindex)?;
        let mut addresses = parse_addresses(&self.wanted.addresses)?;
        addresses.retain(|address| there.contains(address));
        let mut gateways = Vec::new();
        for gateway in &self.wanted.gateways {
            if leads_out(netlink, ifindex, *gateway)? {
                gateways.push(*gateway);
            }
        }
        Ok(Step::Network {
            addresses,
            gateways,
        })
    }

    /// Makes these the addresses and gateways that are ours; writes only what differs.
    pub(super) fn set_network(
        &mut self,
        netlink: &mut Netlink,
        addresses: &[Cidr],
        gateways: &[IpAddr],
    ) -> Result<Vec<String>, Failure> {
        let ifindex = self.engine.ifindex();
        let old = parse_addresses(&self.wanted.addresses)?;
        // Until all is done, both are ours: whoever undoes a failure halfway takes the newer ones off again.
        for address in addresses.iter().filter(|address| !old.contains(address)) {
            self.wanted.addresses.push(address.to_string());
        }
        let mut ours = self.wanted.gateways.clone();
        ours.extend(
            gateways
                .iter()
                .filter(|g| !self.wanted.gateways.contains(g)),
        );
        let gateways_before = std::mem::replace(&mut self.wanted.gateways, ours);

        let mut said = Vec::new();
        for gateway in gateways_before.iter().filter(|g| !gateways.contains(g)) {
            if leads_out(netlink, ifindex, *gateway)? {
                netlink
                    .del_default_route(ifindex, *gateway)
                    .map_err(kernel)?;
                said.push(format!("gateway {gateway} removed"));
            }
        }
        let mut wanted = present(netlink, ifindex)?;
        for address in old.iter().filter(|address| !addresses.contains(address)) {
            // It may have gone along with one before.
            if present(netlink, ifindex)?.contains(address) {
                netlink
                    .del_address(ifindex, address.address, address.prefix_len)
                    .map_err(kernel)?;
            }
            if wanted.contains(address) {
                wanted.retain(|other| other != address);
                said.push(format!("address {address} removed"));
            }
        }
        let new = addresses.iter().filter(|new| !wanted.contains(new));
        said.extend(new.map(|new| format!("address {new} added")));
        // With the first IPv4 address of a network the kernel drops the others, which are put back.
        let left = present(netlink, ifindex)?;
        wanted.extend(addresses);
        for (at, address) in wanted.iter().enumerate() {
            if !left.contains(address) && !wanted[..at].contains(address) {
                netlink
                    .add_address(ifindex, address.address, address.prefix_len)
                    .map_err(kernel)?;
            }
        }
        for gateway in gateways {
            // Routes go with the address by which they were reached.
            if !leads_out(netlink, ifindex, *gateway)? {
                netlink
                    .add_default_route(ifindex, *gateway)
                    .map_err(kernel)?;
                said.push(format!("gateway {gateway} set"));
            }
        }
        self.wanted.addresses = addresses.iter().map(ToString::to_string).collect();
        self.wanted.gateways = gateways.to_vec();
        Ok(said)
    }

    /// The steps from what the bond is to what a file wants. Everything that can be known beforehand is checked here:
    /// names and values, whether new ports can join, and, on a copy of the core, whether it takes the options.
    ///
    /// Options no longer named go back to their default. An MTU or address of the bond no longer named stays.
    pub(super) fn plan(
        &self,
        netlink: &mut Netlink,
        now: Instant,
        wanted: BondRequest,
        taken: &BTreeMap<u32, String>,
    ) -> Result<Vec<Step>, Failure> {
        let addresses = parse_addresses(&wanted.addresses)?;
        let mac = wanted.mac.as_deref().map(parse_mac).transpose()?;
        let mut rehearsal = self.core.clone();
        let mut steps = Vec::new();

        let created = BondContext {
            own_engine: true,
            ..BondContext::default()
        };
        let after = BondOptions::own()
            .apply(&parse_options(&wanted.options)?, &created)
            .map_err(configuration)?
            .options;
        let mut changes = after.changes_from(self.core.options());
        // What the mode does not have sleeps until one returns that has it.
        changes.retain(|change| change.id.spec().settable_in(true).contains(after.mode));
        if !changes.is_empty() {
            let input = Input::SetOptions {
                changes: changes.clone(),
            };
            rehearsal.handle(now, input).map_err(refused_by_core)?;
            steps.push(Step::Options(changes));
        }
        let mut newcomers = Vec::new();
        for port in &wanted.ports {
            let Some(have) = self.wanted_port(&port.name) else {
                let candidate = inspect::inspect_port(netlink, self.name(), &port.name, taken)
                    .map_err(refused_as_port)?;
                let input = Input::AddPort {
                    info: candidate.port_info(),
                    options: parse_port_options(&port.options)?,
                    drained: false,
                };
                rehearsal.handle(now, input).map_err(refused_by_core)?;
                newcomers.push(Step::AddPort(port.clone()));
                continue;
            };
            let changes = port_changes(rehearsal.options(), &port.options, &have.options)?;
            // One that is away gets its options when it returns.
            if let (false, Some(id)) = (changes.is_empty(), self.port_named(&port.name)) {
                let input = Input::SetPortOptions {
                    port: id,
                    changes: changes.clone(),
                };
                rehearsal.handle(now, input).map_err(refused_by_core)?;
                steps.push(Step::PortOptions {
                    port: port.name.clone(),
                    changes,
                });
            }
        }
        // Newcomers first: at no moment the bond has fewer ports than before and after.
        steps.extend(newcomers);
        steps.extend(
            wanted
                .mtu
                .filter(|mtu| *mtu != self.engine.mtu())
                .map(Step::Mtu),
        );
        // As long as the file says the same, an address that the user or `fail_over_mac` set since stays.
        steps.extend(
            mac.filter(|_| wanted.mac != self.wanted.mac)
                .filter(|mac| *mac != self.core.mac())
                .map(Step::Mac),
        );
        steps.push(Step::Network {
            addresses,
            gateways: wanted.gateways.clone(),
        });
        let surplus = self.wanted.ports.iter().map(|port| &port.name);
        steps.extend(
            surplus
                .filter(|name| !wanted.ports.iter().any(|port| port.name == **name))
                .map(|name| Step::RemovePort(name.clone())),
        );
        steps.push(Step::Wanted(wanted));
        Ok(steps)
    }

    fn wanted_port(&self, name: &str) -> Option<&PortRequest> {
        self.wanted.ports.iter().find(|port| port.name == name)
    }

    fn no_such_port(&self, name: &str) -> Failure {
        let why = format!(
            "{name} is not a port of {}; its ports are: {}",
            self.name(),
            self.expected().join(", ")
        );
        Failure::new(Blame::Refused, why)
    }
}

/// What became of the options that were asked for, and which others changed with them.
fn options_told(asked: &[OptionChange], before: &BondOptions, after: &BondOptions) -> Vec<String> {
    let told = |change: &OptionChange| {
        let (id, wished) = (change.id, change.text());
        let (value, rounded) = match change.value {
            // A deed, not a value to keep.
            _ if id == OptionId::ActiveSlave => (wished, String::new()),
            OptionValue::Number(_) if after.text(id) != wished => {
                (after.text(id), format!(", rounded from {wished}"))
            }
            _ => (after.text(id), String::new()),
        };
        set_to(id.name(), &value) + &rounded + &idle(id.spec(), after.mode)
    };
    let along = after.changes_from(before);
    let along = along
        .iter()
        .filter(|change| !asked.iter().any(|asked| asked.id == change.id))
        .map(|change| set_to(change.id.name(), &change.text()) + " too");
    asked.iter().map(told).chain(along).collect()
}

/// Says so if an option does nothing in this mode.
fn idle(spec: &OptionSpec, mode: Mode) -> String {
    match spec.acting_in(true).contains(mode) {
        true => String::new(),
        false => format!("; it has no effect in mode {}", mode.word()),
    }
}

fn set_to(what: &str, value: &str) -> String {
    match value {
        "" => format!("{what} is none now"),
        value => format!("{what} is now {value}"),
    }
}

fn present(netlink: &mut Netlink, ifindex: u32) -> Result<Vec<Cidr>, Failure> {
    let addresses = netlink.addresses(ifindex).map_err(kernel)?;
    Ok(addresses
        .iter()
        .map(|have| Cidr {
            address: have.address,
            prefix_len: have.prefix_len,
        })
        .collect())
}

/// Whether the main table has a default route through this gateway and interface.
fn leads_out(netlink: &mut Netlink, ifindex: u32, gateway: IpAddr) -> Result<bool, Failure> {
    let routes = netlink.default_routes().map_err(kernel)?;
    Ok(routes
        .iter()
        .any(|route| route.ifindex == ifindex && route.gateway == Some(gateway) && route.is_main()))
}

/// The changes that lead from a port's options as they were asked for to those asked for now.
fn port_changes(
    bond: &BondOptions,
    wanted: &[(String, String)],
    have: &[(String, String)],
) -> Result<Vec<PortOptionChange>, Failure> {
    let from_defaults = |options: Vec<PortOptionChange>| {
        PortOptions::default()
            .apply(&options, bond.mode, &[])
            .map_err(configuration)
    };
    let have = known_in(bond.mode, parse_port_options(have)?);
    Ok(from_defaults(parse_port_options(wanted)?)?.changes_from(&from_defaults(have)?))
}

/// Those of a port's options that a mode has: what was asked for in another mode sleeps until that returns.
pub(super) fn known_in(mode: Mode, mut options: Vec<PortOptionChange>) -> Vec<PortOptionChange> {
    options.retain(|change| change.id.spec().settable_in(true).contains(mode));
    options
}

/// Later words replace earlier ones of the same name.
fn merge(options: &mut Vec<(String, String)>, newer: &[(String, String)]) {
    options.retain(|(name, _)| !newer.iter().any(|(newer, _)| newer == name));
    options.extend(newer.iter().cloned());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is answered when these are set one after the other; the last answer counts.
    fn told(sets: &[&[(&str, &str)]]) -> Vec<String> {
        let context = BondContext {
            own_engine: true,
            ..BondContext::default()
        };
        let mut options = BondOptions::default();
        let mut told = Vec::new();
        for set in sets {
            let changes: Vec<OptionChange> = set
                .iter()
                .map(|(name, value)| OptionChange::parse(name, value).unwrap())
                .collect();
            let after = options.apply(&changes, &context).unwrap().options;
            told = options_told(&changes, &options, &after);
            options = after;
        }
        told
    }

    #[test]
    fn the_answer_tells_what_changes_along() {
        assert_eq!(
            told(&[
                &[("miimon", "100"), ("updelay", "200")],
                &[("arp_interval", "500")]
            ]),
            [
                "arp_interval is now 500",
                "miimon is now 0 too",
                "updelay is now 0 too"
            ]
        );
        assert_eq!(
            told(&[&[("mode", "balance-alb")]]),
            ["mode is now balance-alb", "miimon is now 100 too"]
        );
    }

    #[test]
    fn the_answer_tells_a_value_that_was_rounded() {
        assert_eq!(
            told(&[&[("miimon", "100")], &[("updelay", "250")]]),
            ["updelay is now 200, rounded from 250"]
        );
    }

    #[test]
    fn the_answer_tells_that_an_option_has_no_effect() {
        assert_eq!(
            told(&[&[("min_links", "2")]]),
            ["min_links is now 2; it has no effect in mode balance-rr"]
        );
        assert_eq!(
            told(&[
                &[("mode", "802.3ad"), ("miimon", "100")],
                &[("min_links", "2")]
            ]),
            ["min_links is now 2"]
        );
        assert_eq!(
            told(&[&[("mode", "active-backup")], &[("primary", "")]]),
            ["primary is none now"]
        );
    }
}
