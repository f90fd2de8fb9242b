//! What must be true of a wanted network in every dialect: options that fit the mode and each other, ports that belong
//! to one device, references that lead somewhere. Also fills in what we promise where nothing was said.

use core::net::IpAddr;
use std::collections::HashMap;

use oxbond_core::engine::{Asked, Beyond, Engine, EngineChoice, beyond_driver};
use oxbond_core::option::{
    BondContext, BondOptions, OptionChange, OptionError, OptionFault, OptionId, OptionValue,
    PortOptionId, PortOptions,
};
use oxbond_core::port::MAX_PORTS;

use crate::diagnostic::{Code, Diagnostic};
use crate::dialect::Dialect;
use crate::model::{Cidr, DesiredBond, DesiredNetwork, DeviceSettings};
use crate::span::{Located, Span};
use crate::suggest::closest;

/// `miimon` of a bond for which neither `miimon` nor `arp_interval` was given, in milliseconds. The driver's default,
/// 0, leaves a bond that never fails over.
pub const DEFAULT_MIIMON_MS: u32 = 100;

/// A kernel later than all there are: files are checked for machines that are not known.
const NEWEST: (u8, u8) = (u8::MAX, u8::MAX);

/// Smallest MTU of a link that carries IPv6 (RFC 8200, section 5).
const IPV6_MTU_MIN: u32 = 1280;

/// Checks all devices of a pass and fills in the monitor where none was chosen.
pub fn check(network: &mut DesiredNetwork, diagnostics: &mut Vec<Diagnostic>) {
    for bond in network.bonds.iter_mut().filter(|bond| !bond.incomplete) {
        fill_in_monitor(bond);
    }
    judge(network, Dialect::Toml, diagnostics);
}

/// Checks all devices of a pass, as the engine takes them that is asked for: in our own files either, elsewhere the driver.
pub(crate) fn judge(network: &DesiredNetwork, dialect: Dialect, diagnostics: &mut Vec<Diagnostic>) {
    for bond in &network.bonds {
        if !bond.incomplete {
            let beyond = beyond(bond);
            let options = check_options(bond, dialect, &beyond, diagnostics);
            check_monitor(bond, &options, dialect.key(OptionId::Miimon), diagnostics);
            check_port_options(bond, &options, &beyond, diagnostics);
            diagnostics.extend(beyond);
            // Of another tool's bond without ports it is told that it has none; they may be named elsewhere.
            if dialect.is_own() || !bond.ports.is_empty() {
                check_primary(bond, &options, diagnostics);
            }
        }
        check_ports(bond, diagnostics);
        check_addresses(&bond.name.value, &bond.device, diagnostics);
    }
    for vlan in &network.vlans {
        if vlan.link.value == vlan.name.value {
            let message = format!("{} cannot stand on itself", vlan.name.value);
            let help = "name the device below it, or the VLAN otherwise";
            diagnostics.push(
                Diagnostic::error(Code::StackingLoop, vlan.link.span, message).with_help(help),
            );
        }
        check_addresses(&vlan.name.value, &vlan.device, diagnostics);
    }
    for bridge in &network.bridges {
        let ports = bridge.ports.iter().map(|port| &port.name);
        check_port_names(&bridge.name.value, ports, diagnostics);
        check_addresses(&bridge.name.value, &bridge.device, diagnostics);
    }
    check_between(network, diagnostics);
}

/// Gives a bond our default monitor, if none was chosen for it.
pub(crate) fn fill_in_monitor(bond: &mut DesiredBond) {
    let chosen = |id| bond.options.iter().any(|option| option.value.id == id);
    if !chosen(OptionId::Miimon) && !chosen(OptionId::ArpInterval) {
        let value = OptionValue::Number(DEFAULT_MIIMON_MS.into());
        bond.options.push(Located::new(
            OptionChange {
                id: OptionId::Miimon,
                value,
            },
            bond.name.span,
        ));
    }
}

/// Applies the options as a set. Answers those that fit: what is refused is reported and left out, so that one pass
/// finds all.
fn check_options(
    bond: &DesiredBond,
    dialect: Dialect,
    beyond: &[Diagnostic],
    diagnostics: &mut Vec<Diagnostic>,
) -> BondOptions {
    let own_engine = dialect.is_own() && !bond.is_for_the_driver();
    let defaults = || match own_engine {
        true => BondOptions::own(),
        false => BondOptions::default(),
    };
    // The bond is judged as it is while it is made: down, and still empty.
    let (command, mut wanted): (Vec<_>, Vec<_>) = bond
        .options
        .iter()
        .partition(|option| option.value.id == OptionId::ActiveSlave);
    wanted.retain(|option| !is_told(beyond, option.span));
    let options = loop {
        let changes: Vec<OptionChange> = wanted.iter().map(|option| option.value.clone()).collect();
        let context = BondContext {
            own_engine,
            ..BondContext::default()
        };
        match defaults().apply(&changes, &context) {
            Ok(applied) => {
                for adapted in &applied.adapted {
                    if let Some(option) = wanted.iter().find(|option| option.value.id == adapted.id)
                    {
                        let id = adapted.id;
                        let message = format!(
                            "{id} of {} becomes {}, not {}",
                            bond.name.value, adapted.used, adapted.asked
                        );
                        let help = format!(
                            "write a multiple of miimon, which is {}",
                            applied.options.miimon
                        );
                        diagnostics.push(
                            Diagnostic::warning(Code::Adapted, option.span, message)
                                .with_help(help),
                        );
                    }
                }
                break applied.options;
            }
            Err(e) => {
                let refused = wanted
                    .iter()
                    .position(|option| option.value.id.name() == e.option);
                let span = refused.map_or(bond.name.span, |index| wanted[index].span);
                diagnostics.push(refusal(&e, span));
                match refused {
                    Some(index) => drop(wanted.remove(index)),
                    // Nothing to leave out; the rest cannot be judged.
                    None => break defaults(),
                }
            }
        }
    };
    // The files of other tools may hold it.
    for option in command.into_iter().filter(|_| dialect.is_own()) {
        let (bond, port) = (&bond.name.value, option.value.text());
        let message = format!(
            "{} is a command to a running bond, not part of its configuration",
            option.value.id
        );
        let help = format!(
            "write primary = {port:?}, or run 'oxbond set {bond} --active-slave {port}' once it is up"
        );
        diagnostics.push(Diagnostic::error(Code::Conflict, option.span, message).with_help(help));
    }
    options
}

/// What is said of everything that a bond for the driver asks for and no driver has, whatever the kernel.
fn beyond(bond: &DesiredBond) -> Vec<Diagnostic> {
    let Some(engine) = bond.engine.as_ref().filter(|_| bond.is_for_the_driver()) else {
        return Vec::new();
    };
    let told = |beyond: &Beyond, span: Span| {
        let message = format!("{} {:?}: {}", beyond.option, beyond.value, beyond.why);
        Diagnostic::error(Code::BeyondDriver, span, message)
            .with_related(engine.span, "the driver is asked for here")
            .with_help(format!(
                "leave out engine or write engine = \"ebpf\", which has it; or remove {}",
                beyond.option
            ))
    };
    let options: Vec<OptionChange> = values(&bond.options);
    let asked = Asked {
        options: &options,
        ports: &[],
    };
    let of_bond = beyond_driver(&asked, NEWEST);
    let mut found: Vec<Diagnostic> = bond
        .options
        .iter()
        .filter_map(|option| {
            let name = option.value.id.name();
            let beyond = of_bond.iter().find(|beyond| beyond.option == name)?;
            Some(told(beyond, option.span))
        })
        .collect();
    let of_ports = bond.ports.iter().map(|port| &port.options);
    let selected = bond.selectors.iter().map(|selector| &selector.options);
    for option in of_ports.chain(selected).flatten() {
        let asked = Asked {
            options: &[],
            ports: &[("", core::slice::from_ref(&option.value))],
        };
        let beyond = beyond_driver(&asked, NEWEST);
        found.extend(beyond.iter().map(|beyond| told(beyond, option.span)));
    }
    found
}

/// Whether it is told of an option at this place that the driver does not have it.
fn is_told(beyond: &[Diagnostic], span: Span) -> bool {
    beyond.iter().any(|told| told.span == Some(span))
}

fn values<T: Clone>(options: &[Located<T>]) -> Vec<T> {
    options.iter().map(|option| option.value.clone()).collect()
}

/// What the option table refused, at its place.
pub(crate) fn refusal(e: &OptionError, span: Span) -> Diagnostic {
    let code = match e.fault {
        OptionFault::BadValue
        | OptionFault::BadTarget { .. }
        | OptionFault::DoubleTarget { .. } => Code::WrongValue,
        OptionFault::Mode { .. } => Code::NotInMode,
        OptionFault::UnknownOption | OptionFault::WrongScope { .. } => Code::UnknownKey,
        OptionFault::NotAPort => Code::NotAPort,
        OptionFault::Twice { .. } => Code::DuplicateKey,
        OptionFault::WithMiimon => Code::TwoMonitors,
        OptionFault::NeedsMiimon => Code::DelayWithoutMiimon,
        _ => Code::Conflict,
    };
    let diagnostic = Diagnostic::error(
        code,
        span,
        format!("{} {:?}: {}", e.option, e.value, e.fault),
    );
    if e.way_out.is_empty() {
        diagnostic
    } else {
        diagnostic.with_help(e.way_out.as_str())
    }
}

fn check_monitor(
    bond: &DesiredBond,
    options: &BondOptions,
    miimon: &str,
    diagnostics: &mut Vec<Diagnostic>,
) {
    if options.miimon != 0 || options.arp_interval != 0 {
        return;
    }
    let switched_off = |option: &&Located<OptionChange>| {
        matches!(option.value.id, OptionId::Miimon | OptionId::ArpInterval)
    };
    let span = bond
        .options
        .iter()
        .find(switched_off)
        .map_or(bond.name.span, |option| option.span);
    let message = format!("nothing watches the links of {}", bond.name.value);
    diagnostics.push(
        Diagnostic::warning(Code::NoMonitor, span, message).with_help(format!(
            "a bond without a monitor never fails over; set {miimon} to {DEFAULT_MIIMON_MS} ms"
        )),
    );
}

fn check_port_options(
    bond: &DesiredBond,
    options: &BondOptions,
    beyond: &[Diagnostic],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut queues: Vec<(&str, u16)> = Vec::new();
    for port in &bond.ports {
        let mut applied = PortOptions::default();
        // One after the other: port options do not depend on each other, and each is judged.
        for option in &port.options {
            if is_told(beyond, option.span) {
                continue;
            }
            match applied.apply(core::slice::from_ref(&option.value), options.mode, &queues) {
                Ok(next) => applied = next,
                Err(e) => diagnostics.push(refusal(&e, option.span)),
            }
        }
        if port
            .options
            .iter()
            .any(|option| option.value.id == PortOptionId::QueueId)
        {
            queues.push((&port.name.value, applied.queue_id));
        }
    }
}

fn check_port_names<'p>(
    device: &str,
    ports: impl Iterator<Item = &'p Located<String>>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for port in ports {
        let (name, span) = (port.value.as_str(), port.span);
        if name == device {
            let message = format!("{name} cannot be a port of itself");
            let help = "name another interface, or the device otherwise";
            diagnostics.push(Diagnostic::error(Code::StackingLoop, span, message).with_help(help));
        }
        if let Some(first) = seen.get(name) {
            let message = format!("{name} is named twice among the ports of {device}");
            diagnostics.push(
                Diagnostic::error(Code::DuplicatePort, span, message)
                    .with_related(*first, "first named here")
                    .with_help("remove one of them"),
            );
        }
        seen.entry(name).or_insert(span);
    }
}

fn check_ports(bond: &DesiredBond, diagnostics: &mut Vec<Diagnostic>) {
    let ports = bond.ports.iter().map(|port| &port.name);
    check_port_names(&bond.name.value, ports, diagnostics);
    // The driver has no limit, and the choice between the two is made by the daemon, which knows whether it is there.
    let own = bond
        .engine
        .as_ref()
        .filter(|asked| asked.value == EngineChoice::Only(Engine::Ebpf));
    if let (Some(engine), Some(port)) = (own, bond.ports.get(MAX_PORTS)) {
        let message = format!(
            "{} has {} ports; our own engine carries at most {MAX_PORTS}",
            bond.name.value,
            bond.ports.len()
        );
        diagnostics.push(
            Diagnostic::error(Code::WrongValue, port.name.span, message)
                .with_related(engine.span, "our own engine is asked for here")
                .with_help(
                    "spread them over two bonds; or write engine = \"kernel\", which has no such limit",
                ),
        );
    }
}

fn check_primary(bond: &DesiredBond, options: &BondOptions, diagnostics: &mut Vec<Diagnostic>) {
    // A primary that the mode does not have was refused before, and is not among the options.
    let Some(primary) = &options.primary else {
        return;
    };
    let ports: Vec<&str> = bond
        .ports
        .iter()
        .map(|port| port.name.value.as_str())
        .collect();
    // What a selector finds is known only where it runs.
    if ports.contains(&primary.as_str()) || !bond.selectors.is_empty() {
        return;
    }
    let entry = bond
        .options
        .iter()
        .find(|option| option.value.id == OptionId::Primary);
    let span = entry.map_or(bond.name.span, |option| option.span);
    let message = format!(
        "primary {primary:?} is not among the ports of {}",
        bond.name.value
    );
    let help = match (closest(primary, ports.iter().copied()), ports.as_slice()) {
        (Some(meant), _) => format!("did you mean {meant:?}? The ports are {}", ports.join(", ")),
        (None, []) => format!("the bond has no ports; add {primary} to them"),
        (None, _) => format!("the ports are {}", ports.join(", ")),
    };
    diagnostics.push(Diagnostic::error(Code::NotAPort, span, message).with_help(help));
}

fn check_addresses(name: &str, device: &DeviceSettings, diagnostics: &mut Vec<Diagnostic>) {
    let mut seen: HashMap<Cidr, Span> = HashMap::new();
    for address in &device.addresses {
        let first = *seen.entry(address.value).or_insert(address.span);
        if first != address.span {
            let message = format!("{name} is given the address {} twice", address.value);
            diagnostics.push(
                Diagnostic::error(Code::DuplicateKey, address.span, message)
                    .with_related(first, "first given here")
                    .with_help("remove one of them"),
            );
        }
        if let Some(mtu) = device
            .mtu
            .as_ref()
            .filter(|mtu| mtu.value < IPV6_MTU_MIN && address.value.address.is_ipv6())
        {
            let message = format!(
                "an MTU of {} carries no IPv6, but {name} is given {}",
                mtu.value, address.value
            );
            let help = format!("IPv6 needs an MTU of at least {IPV6_MTU_MIN}");
            diagnostics.push(
                Diagnostic::error(Code::Conflict, mtu.span, message)
                    .with_related(address.span, "IPv6 is wanted here")
                    .with_help(help),
            );
        }
    }
    let v4 = device
        .gateway_v4
        .as_ref()
        .map(|gateway| (IpAddr::V4(gateway.value), gateway.span));
    // Every link has the link-local network.
    let v6 = device
        .gateway_v6
        .as_ref()
        .filter(|gateway| !gateway.value.is_unicast_link_local());
    let v6 = v6.map(|gateway| (IpAddr::V6(gateway.value), gateway.span));
    for (gateway, span) in v4.into_iter().chain(v6) {
        if device
            .addresses
            .iter()
            .any(|address| address.value.contains(gateway))
        {
            continue;
        }
        let message = format!("no address of {name} is in one network with the gateway {gateway}");
        let help = "the kernel refuses such a gateway unless something else gives the device a fitting address";
        diagnostics.push(Diagnostic::warning(Code::GatewayOffLink, span, message).with_help(help));
    }
}

/// What may be said once in all files.
fn check_between(network: &DesiredNetwork, diagnostics: &mut Vec<Diagnostic>) {
    let bonds = network.bonds.iter().map(|bond| ("bond", &bond.name));
    let vlans = network.vlans.iter().map(|vlan| ("VLAN", &vlan.name));
    let bridges = network
        .bridges
        .iter()
        .map(|bridge| ("bridge", &bridge.name));
    let mut names: HashMap<&str, (&str, Span)> = HashMap::new();
    for (kind, name) in bonds.chain(vlans).chain(bridges) {
        let Some((first_kind, first)) = names.get(name.value.as_str()) else {
            names.insert(&name.value, (kind, name.span));
            continue;
        };
        let message = if *first_kind == kind {
            format!("{} is described twice", name.value)
        } else {
            format!("{} is a {first_kind} and a {kind}", name.value)
        };
        diagnostics.push(
            Diagnostic::error(Code::DuplicateDevice, name.span, message)
                .with_related(*first, "first described here")
                .with_help("rename one of them, or put both into one"),
        );
    }
    let of_bonds = network.bonds.iter().flat_map(|bond| {
        let ports = bond.ports.iter().map(|port| &port.name);
        ports.map(|port| (&bond.name, port, true))
    });
    let of_bridges = network.bridges.iter().flat_map(|bridge| {
        let ports = bridge.ports.iter().map(|port| &port.name);
        ports.map(|port| (&bridge.name, port, false))
    });
    let mut ports: HashMap<&str, (&str, Span, bool)> = HashMap::new();
    for (device, port, is_bond) in of_bonds.chain(of_bridges) {
        // A device that is described twice was told of; only its first description has ports.
        if names
            .get(device.value.as_str())
            .is_none_or(|(_, first)| *first != device.span)
        {
            continue;
        }
        let name = device.value.as_str();
        let (other, first, first_is_bond) = *ports
            .entry(&port.value)
            .or_insert((name, port.span, is_bond));
        if other == name {
            continue;
        }
        diagnostics.push(port_of_two(
            port,
            name,
            is_bond,
            (other, first, first_is_bond),
        ));
    }
}

/// What is said of a port that a second device has: `device`, a bond or a bridge, after `first` (its name, the place of
/// the port there, and whether it is a bond).
pub(crate) fn port_of_two(
    port: &Located<String>,
    device: &str,
    is_bond: bool,
    (other, first, first_is_bond): (&str, Span, bool),
) -> Diagnostic {
    let code = match (first_is_bond, is_bond) {
        (true, true) => Code::PortInTwoBonds,
        (false, false) => Code::BridgePortTwice,
        _ => Code::PortInBondAndBridge,
    };
    let message = format!("{} is a port of {device} and of {other}", port.value);
    Diagnostic::error(code, port.span, message)
        .with_related(first, format!("a port of {other} here"))
        .with_help("an interface can be in one device only; remove it from one of them")
}
