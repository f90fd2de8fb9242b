//! Rules on one bond: its options with each other and with its ports, beyond what [`check`](crate::check) judges.

use core::net::IpAddr;

use oxbond_core::option::{
    HashPolicy, LacpRate, Mode, ModeSet, OptionChange, OptionId, OptionValue, PrimaryReselect,
};

use super::View;
use crate::diagnostic::{Code, Diagnostic};
use crate::dialect::{Dialect, mode};
use crate::model::DesiredBond;
use crate::span::{Located, Span};
use crate::suggest::closest;

/// Slowest poll that is not remarked on, in milliseconds.
const SLOWEST_MS: i64 = 1000;
/// Fastest poll that is not remarked on, in milliseconds.
const FASTEST_MS: i64 = 10;

/// Options that act only with ARP monitoring.
const WITH_ARP: [OptionId; 5] = [
    OptionId::ArpIpTarget,
    OptionId::NsIp6Target,
    OptionId::ArpValidate,
    OptionId::ArpAllTargets,
    OptionId::ArpMissedMax,
];

/// Modes with a transmit hash.
const HASHES: ModeSet = ModeSet::of(&[Mode::BalanceXor, Mode::Ieee8023ad]);
/// Modes that need all ports in one static aggregation of the switch.
const STATIC_GROUP: ModeSet = ModeSet::of(&[Mode::BalanceRr, Mode::BalanceXor, Mode::Broadcast]);

pub(super) fn rules(view: &mut View<'_>) {
    let network = view.network;
    for bond in &network.bonds {
        if !bond.incomplete {
            let bond = Given {
                bond,
                mode: mode(bond),
                own: view.dialect.is_own() && !bond.is_for_the_driver(),
            };
            mode_rules(view, &bond);
            monitors(view, &bond);
            arp(view, &bond);
            lacp(view, &bond);
            primary(view, &bond);
            effects(view, &bond);
        }
        // The module's parameters are defaults for bonds whose ports are named elsewhere.
        if view.dialect != Dialect::Modprobe {
            ports(view, bond);
        }
    }
}

/// A bond with what is to be known of its options.
struct Given<'n> {
    bond: &'n DesiredBond,
    mode: Mode,
    /// It may run on our own engine, with its defaults.
    own: bool,
}

impl Given<'_> {
    fn name(&self) -> &str {
        &self.bond.name.value
    }

    /// The option's place, or the bond's name where it was not given.
    fn span(&self, id: OptionId) -> Span {
        self.bond
            .option(id)
            .map_or(self.bond.name.span, |option| option.span)
    }

    /// The value in force, as a number.
    fn number(&self, id: OptionId) -> i64 {
        let given = self
            .bond
            .option(id)
            .map(|option| option.value.value.clone());
        let value = given.or_else(|| {
            let default = id.spec().default_of(self.own);
            Some(OptionChange::parse(id.name(), default).ok()?.value)
        });
        match value {
            Some(OptionValue::Number(number)) => number,
            _ => 0,
        }
    }

    fn targets(&self) -> Vec<(IpAddr, Span)> {
        let mut targets = Vec::new();
        for id in [OptionId::ArpIpTarget, OptionId::NsIp6Target] {
            let Some(option) = self.bond.option(id) else {
                continue;
            };
            match &option.value.value {
                OptionValue::Ipv4(list) => {
                    targets.extend(list.iter().map(|ip| (IpAddr::V4(*ip), option.span)));
                }
                OptionValue::Ipv6(list) => {
                    targets.extend(list.iter().map(|ip| (IpAddr::V6(*ip), option.span)));
                }
                _ => {}
            }
        }
        targets
    }
}

fn mode_rules(view: &mut View<'_>, given: &Given<'_>) {
    let (name, mode, span) = (given.name(), given.mode, given.span(OptionId::Mode));
    if given.bond.option(OptionId::Mode).is_none() {
        let finding = Diagnostic::new(
            Code::ModeMissing,
            span,
            format!("{name} has no mode, so it is balance-rr"),
        );
        let key = view.dialect.key(OptionId::Mode);
        view.find(finding.with_help(format!(
            "set {key}, for example to active-backup, which needs nothing of the switch"
        )));
        return;
    }
    if STATIC_GROUP.contains(mode) {
        let message = format!("{name} in mode {mode} needs a static aggregation on the switch");
        let help = "put its ports into one group without LACP (Cisco: channel-group N mode on)";
        view.find(Diagnostic::new(Code::SwitchConfig, span, message).with_help(help));
    }
    if mode == Mode::Ieee8023ad {
        let message = format!("{name} in mode {mode} needs LACP on the switch");
        let help = "put its ports into one group with LACP (Cisco: channel-group N mode active)";
        view.find(Diagnostic::new(Code::SwitchConfig, span, message).with_help(help));
    }
    if mode == Mode::BalanceRr {
        let message =
            format!("{name} sends the packets of one connection over all its ports in turn");
        let help = "balance-xor and 802.3ad keep a connection on one port";
        view.find(Diagnostic::new(Code::Reordering, span, message).with_help(help));
    }
}

fn monitors(view: &mut View<'_>, given: &Given<'_>) {
    for id in [OptionId::Miimon, OptionId::ArpInterval] {
        let Some(option) = given.bond.option(id) else {
            continue;
        };
        let ms = given.number(id);
        let key = view.dialect.key(id);
        if ms > SLOWEST_MS {
            let message = format!(
                "a dead link of {} may go unnoticed for {ms} ms",
                given.name()
            );
            view.find(
                Diagnostic::new(Code::SlowMonitor, option.span, message)
                    .with_help(format!("set {key} to 100 ms")),
            );
        } else if ms > 0 && ms < FASTEST_MS {
            let message = format!("the links of {} are looked at every {ms} ms", given.name());
            view.find(
                Diagnostic::new(Code::FastMonitor, option.span, message)
                    .with_help(format!("set {key} to 100 ms")),
            );
        }
    }
}

fn arp(view: &mut View<'_>, given: &Given<'_>) {
    let (name, targets) = (given.name(), given.targets());
    if given.number(OptionId::ArpInterval) == 0 {
        let lost = WITH_ARP.into_iter().find_map(|id| given.bond.option(id));
        if let Some(option) = lost {
            let message = format!(
                "{} of {name} acts only with ARP monitoring, which is off",
                option.value.id
            );
            let key = view.dialect.key(OptionId::ArpInterval);
            view.find(
                Diagnostic::new(Code::ArpOff, option.span, message)
                    .with_help(format!("set {key}, or remove it")),
            );
        }
        return;
    }
    if !OptionId::ArpInterval
        .spec()
        .settable_in(given.own)
        .contains(given.mode)
    {
        return;
    }
    let span = given.span(OptionId::ArpInterval);
    match targets.as_slice() {
        [] => {
            let message = format!("ARP monitoring of {name} has nobody to ask");
            let key = view.dialect.key(OptionId::ArpIpTarget);
            view.find(
                Diagnostic::new(Code::ArpWithoutTarget, span, message)
                    .with_help(format!("name the gateway and another host in {key}")),
            );
        }
        [(only, at)] => {
            let message = format!("when {only} is away, every port of {name} counts as dead");
            view.find(
                Diagnostic::new(Code::ArpOneTarget, *at, message).with_help("name a second target"),
            );
        }
        _ => {}
    }
    // Addresses may be on the bond, and on what stands on it.
    let bridge = view.bridge_of.get(name);
    let vlans = view.vlans_on.get(name).into_iter().flatten();
    let devices = core::iter::once(&given.bond.device)
        .chain(bridge.map(|bridge| &bridge.device))
        .chain(vlans.map(|vlan| &vlan.device));
    let addresses: Vec<_> = devices
        .flat_map(|device| device.addresses.iter().map(|address| address.value))
        .collect();
    for (target, at) in targets {
        if addresses.iter().any(|address| address.address == target) {
            let message =
                format!("{target} is an address of this host, for which nobody else answers");
            view.find(
                Diagnostic::new(Code::ArpTargetOwn, at, message)
                    .with_help("name the gateway instead"),
            );
        } else if !addresses.is_empty()
            && addresses
                .iter()
                .any(|address| address.address.is_ipv4() == target.is_ipv4())
            && !addresses.iter().any(|address| address.contains(target))
        {
            let message = format!("{target} is in none of the networks of {name}");
            view.find(
                Diagnostic::new(Code::ArpTargetOffLink, at, message)
                    .with_help("name a host of its own network, such as the gateway"),
            );
        }
    }
}

fn lacp(view: &mut View<'_>, given: &Given<'_>) {
    let name = given.name();
    let policy = HashPolicy::from_code(
        u8::try_from(given.number(OptionId::XmitHashPolicy)).unwrap_or_default(),
    );
    let hash = given.span(OptionId::XmitHashPolicy);
    let key = view.dialect.key(OptionId::XmitHashPolicy);
    if HASHES.contains(given.mode) {
        if policy == Some(HashPolicy::Layer2) && is_routed(view, given) {
            let message = format!("all that {name} sends to its gateway takes one port");
            view.find(
                Diagnostic::new(Code::HashOneLink, hash, message)
                    .with_help(format!("set {key} to layer2+3 or layer3+4")),
            );
        }
        if policy == Some(HashPolicy::VlanSrcMac) && !under_bridge(view, name) {
            let message = format!("all that {name} itself sends in one VLAN takes one port");
            view.find(
                Diagnostic::new(Code::HashVlanSrcmac, hash, message)
                    .with_help(format!("set {key} to layer2+3 or layer3+4")),
            );
        }
    }
    if given.mode != Mode::Ieee8023ad {
        return;
    }
    if matches!(policy, Some(HashPolicy::Layer34 | HashPolicy::Encap34)) {
        let message =
            format!("fragments of {name} may take another port than the rest of their connection");
        view.find(
            Diagnostic::new(Code::HashNotStrict, hash, message)
                .with_help("layer2+3 is strict, if that matters"),
        );
    }
    // Our own engine gives up the carrier by itself (lacp_strict).
    if given.number(OptionId::MinLinks) == 0 && !given.own {
        let message = format!("{name} has a carrier even when no port has an LACP partner");
        let help = match view.dialect.knows(OptionId::MinLinks) {
            true => format!("set {} to 1", view.dialect.key(OptionId::MinLinks)),
            false => format!(
                "set min_links to 1 by other means; {} cannot",
                view.dialect.name()
            ),
        };
        view.find(
            Diagnostic::new(Code::LacpMinLinks, given.span(OptionId::MinLinks), message)
                .with_help(help),
        );
    }
    if given.number(OptionId::LacpRate) == i64::from(LacpRate::Slow.code()) {
        let message = format!("{name} notices a link that is up but dead after 90 s");
        let help = format!(
            "set {} to fast, if the switch can",
            view.dialect.key(OptionId::LacpRate)
        );
        view.find(
            Diagnostic::new(Code::LacpSlow, given.span(OptionId::LacpRate), message)
                .with_help(help),
        );
    }
}

/// Whether a gateway is used by way of the bond itself or a VLAN on it.
fn is_routed(view: &View<'_>, given: &Given<'_>) -> bool {
    let own = core::iter::once(&given.bond.device);
    let vlans = view.vlans_on.get(given.name()).into_iter().flatten();
    own.chain(vlans.map(|vlan| &vlan.device)).any(|device| {
        let asked = device.dhcp_v4.as_ref().is_some_and(|asked| asked.value);
        asked || device.gateway_v4.is_some() || device.gateway_v6.is_some()
    })
}

fn under_bridge(view: &View<'_>, name: &str) -> bool {
    view.bridge_of.contains_key(name)
}

fn primary(view: &mut View<'_>, given: &Given<'_>) {
    let has_primary = given.bond.option(OptionId::Primary).is_some();
    let at_once =
        given.number(OptionId::PrimaryReselect) == i64::from(PrimaryReselect::Always.code());
    if let Some(reselect) = given.bond.option(OptionId::PrimaryReselect)
        && !has_primary
        && !at_once
        && OptionId::Primary.spec().modes.contains(given.mode)
    {
        let message = format!("{} has no primary to take again", given.name());
        let finding = Diagnostic::new(Code::ReselectWithoutPrimary, reselect.span, message);
        view.find(finding.with_help("name the primary, or remove it"));
    }
    if given.mode == Mode::ActiveBackup
        && has_primary
        && at_once
        && given.number(OptionId::Updelay) == 0
        && given.number(OptionId::ArpInterval) == 0
    {
        let message = format!(
            "{} goes back to its primary the moment the link is up",
            given.name()
        );
        let finding = Diagnostic::new(Code::FailbackAtOnce, given.span(OptionId::Primary), message);
        let (delay, policy) = (
            view.dialect.key(OptionId::Updelay),
            view.dialect.key(OptionId::PrimaryReselect),
        );
        view.find(finding.with_help(format!(
            "set {delay} to some seconds, or {policy} to failure"
        )));
    }
}

fn effects(view: &mut View<'_>, given: &Given<'_>) {
    let name = given.name();
    for option in &given.bond.options {
        let (id, spec) = (option.value.id, option.value.id.spec());
        let usual = option.value.text() == spec.default_of(given.own);
        if !usual
            && spec.settable_in(given.own).contains(given.mode)
            && !spec.acting_in(given.own).contains(given.mode)
        {
            let message = format!("{id} does nothing in mode {}", given.mode);
            let help = format!(
                "remove it; it acts in {}",
                spec.acting_in(given.own).words()
            );
            view.find(Diagnostic::new(Code::NoEffect, option.span, message).with_help(help));
        }
        if id == OptionId::UseCarrier {
            let message = format!("{id} is obsolete, and the kernel takes only 1");
            view.find(
                Diagnostic::new(Code::ObsoleteOption, option.span, message).with_help("remove it"),
            );
        }
    }
    let number = |id| given.bond.option(id).map(|_| given.number(id));
    if number(OptionId::AllSlavesActive) == Some(1) && given.mode.has_active_port() {
        let message = format!("{name} delivers broadcasts once for every port");
        let span = given.span(OptionId::AllSlavesActive);
        view.find(
            Diagnostic::new(Code::DuplicatesDelivered, span, message)
                .with_help("remove it, unless a protocol needs it"),
        );
    }
    if number(OptionId::NumGratArp) == Some(0) && given.mode == Mode::ActiveBackup {
        let message = format!("{name} tells nobody of a failover");
        let span = given.span(OptionId::NumGratArp);
        view.find(
            Diagnostic::new(Code::NoAnnouncement, span, message).with_help("set it to 1 or more"),
        );
    }
    let active = OptionValue::Number(1);
    let follows = given
        .bond
        .option(OptionId::FailOverMac)
        .filter(|option| option.value.value == active && given.mode == Mode::ActiveBackup);
    if let (Some(option), Some(mac)) = (follows, &given.bond.device.mac) {
        let message = format!(
            "{name} does not keep {} with fail_over_mac=active",
            mac.value
        );
        view.find(
            Diagnostic::new(Code::FailOverMacWithMac, mac.span, message)
                .with_related(option.span, "it takes its active port's")
                .with_help("remove one of the two"),
        );
    }
}

fn ports(view: &mut View<'_>, bond: &DesiredBond) {
    let (name, span) = (&bond.name.value, bond.name.span);
    match bond.ports.as_slice() {
        [] if !bond.incomplete && bond.selectors.is_empty() => {
            let message = format!("{name} has no ports");
            view.find(Diagnostic::new(Code::NoPorts, span, message).with_help("name its ports"));
        }
        [only] if bond.selectors.is_empty() => {
            let message = format!("{name} has one port only, {}", only.name.value);
            view.find(
                Diagnostic::new(Code::OnePort, only.name.span, message).with_help("add another"),
            );
        }
        _ => {}
    }
    let min_links = bond.option(OptionId::MinLinks);
    if let Some(Located {
        value:
            OptionChange {
                value: OptionValue::Number(wanted),
                ..
            },
        span,
    }) = min_links
        && usize::try_from(*wanted).is_ok_and(|wanted| wanted > bond.ports.len())
        && !bond.ports.is_empty()
        && bond.selectors.is_empty()
    {
        let message = format!(
            "{name} asks for {wanted} links and has {} ports",
            bond.ports.len()
        );
        view.find(
            Diagnostic::new(Code::MinLinksUnreachable, *span, message)
                .with_help(format!("lower it to {} or less", bond.ports.len())),
        );
    }
    speeds(view, bond);
}

/// What the machine says of the ports.
fn speeds(view: &mut View<'_>, bond: &DesiredBond) {
    let Some(interfaces) = &view.facts.interfaces else {
        return;
    };
    let name = &bond.name.value;
    let lacp = mode(bond) == Mode::Ieee8023ad;
    let mut found = Vec::new();
    let mut first: Option<(&str, u32)> = None;
    for port in &bond.ports {
        let (port, span) = (port.name.value.as_str(), port.name.span);
        let Some(interface) = interfaces.get(port) else {
            let message = format!("there is no interface {port} on this machine");
            let others = interfaces.keys().map(String::as_str);
            let others = others.filter(|other| !view.bond_of.contains_key(other));
            let meant = closest(port, others);
            let finding = Diagnostic::new(Code::MissingInterface, span, message);
            found.push(match meant {
                Some(meant) => finding.with_help(format!("did you mean {meant}?")),
                None => finding.with_help("correct the name, or plug it in"),
            });
            continue;
        };
        match (interface.speed, first) {
            (None, _) if lacp && interface.carrier => {
                let message = format!("{port} does not tell its speed, so LACP leaves it alone");
                found.push(
                    Diagnostic::new(Code::UnknownSpeed, span, message)
                        .with_help("set one with ethtool -s, or use active-backup"),
                );
            }
            (Some(speed), None) => first = Some((port, speed)),
            (Some(speed), Some((other, fast))) if speed != fast => {
                let message =
                    format!("in {name} {other} runs at {fast} Mb/s and {port} at {speed} Mb/s");
                let finding = Diagnostic::new(Code::MixedSpeeds, span, message);
                found
                    .push(finding.with_help(
                        "use equal links, or active-backup with the fastest as primary",
                    ));
            }
            _ => {}
        }
    }
    // With a primary the faster one can be preferred.
    let chosen = mode(bond) == Mode::ActiveBackup && bond.option(OptionId::Primary).is_some();
    for finding in found {
        if finding.code != Code::MixedSpeeds || !chosen {
            view.find(finding);
        }
    }
}
