//! `/etc/network/interfaces`, as Debian's ifupdown (with ifenslave) and ifupdown2 (Cumulus, Proxmox) read it.
//!
//! Facts this relies on (ifupdown 0.8.44, ifenslave 2.13, ifupdown2 3.0): a comment is a whole line; what stands behind
//! a value belongs to it (but the driver reads the first word alone, so ifenslave's options survive it); of an option
//! that is given twice the first counts, lists add up; ifenslave takes `-`, `_` and capitals for the same, and a port
//! may name its bond (`bond-master`), which ifupdown2 does not know; ifupdown2 has VLAN-aware bridges.

use core::net::IpAddr;
use std::fmt::Write as _;

use oxbond_core::option::{
    Dialect, Kind, Mode, OptionId, OptionKey, OptionSpec, OptionValue, find_in_dialect,
};

use super::common::{
    mac, mode, mtu, name, number, option, parsed, port_option, prefix_len, refused, unknown_key,
    unselected, unspelt, vid,
};
use super::ini;
use super::route_words;
use super::{Reading, Written};
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{
    Cidr, DesiredBond, DesiredBridge, DesiredBridgePort, DesiredNetwork, DesiredPort, DesiredVlan,
    DeviceSettings, Network, Route, VidRange,
};
use crate::report::Report;
use crate::span::{Located, Sources, Span};

/// Whose `interfaces` it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Debian's ifupdown with ifenslave, bridge-utils and vlan.
    Classic,
    /// ifupdown2.
    Second,
}

impl Flavour {
    const fn dialect(self) -> Dialect {
        match self {
            Self::Classic => Dialect::Ifenslave,
            Self::Second => Dialect::Ifupdown2,
        }
    }

    const fn tool(self) -> &'static str {
        match self {
            Self::Classic => "ifupdown",
            Self::Second => "ifupdown2",
        }
    }

    /// A key in the form in which the option table has it.
    fn fold(self, key: &str) -> String {
        let key = key.replace('_', "-");
        match self {
            Self::Classic => key.to_lowercase(),
            Self::Second => key,
        }
    }
}

/// Where it is written to.
const HOME: &str = "/etc/network/interfaces";

/// Keys that are read beside the options, for suggestions.
const TAKEN: [&str; 20] = [
    "accept-ra",
    "address",
    "bond-master",
    "bond-slaves",
    "bridge-fd",
    "bridge-ports",
    "bridge-pvid",
    "bridge-stp",
    "bridge-vids",
    "bridge-vlan-aware",
    "broadcast",
    "dns-nameservers",
    "dns-search",
    "gateway",
    "hwaddress",
    "mtu",
    "netmask",
    "up",
    "vlan-id",
    "vlan-raw-device",
];

/// Keys they know whose meaning is not taken over.
const NOT_TAKEN: [&str; 18] = [
    "address-virtual",
    "alias",
    "autoconf",
    "bond-give-a-chance",
    "bridge-ageing",
    "bridge-maxwait",
    "bridge-mcsnoop",
    "bridge-waitport",
    "client",
    "clag-id",
    "comment",
    "dad-attempts",
    "hostname",
    "metric",
    "pointopoint",
    "privext",
    "scope",
    "vrf",
];

/// Modes in which ifupdown2 sets ARP options.
const ARP_MODES: [Mode; 2] = [Mode::BalanceRr, Mode::BalanceXor];

/// Options that ifupdown2 sets in [`ARP_MODES`] only.
const ARP_OPTIONS: [OptionId; 2] = [OptionId::ArpInterval, OptionId::ArpIpTarget];

/// What is to be said of advertisements under ifupdown2.
const NO_INET6_AUTO: &str =
    "ifupdown2 3.0 (Debian 12) refuses the stanza inet6 auto; Proxmox's and later ones take it";

/// Reads all files of a set, in the order in which they are given.
pub fn read(flavour: Flavour, sources: &Sources) -> Reading {
    let mut reader = Reader {
        flavour,
        network: DesiredNetwork::default(),
        report: Report::default(),
        stanzas: Vec::new(),
        autos: Vec::new(),
    };
    for (file, source) in sources.iter() {
        reader.stanzas_of(sources, &logical_lines(file, &source.text));
    }
    reader.devices();
    reader.finish()
}

/// A line, with those that continue it: its first word and the rest.
#[derive(Clone, Debug)]
struct Line {
    key: String,
    value: String,
    span: Span,
}

fn logical_lines(file: crate::span::FileId, text: &str) -> Vec<Line> {
    let mut found = Vec::new();
    let mut lines = ini::lines(text);
    while let Some((start, line)) = lines.next() {
        if line.trim().is_empty() || is_comment(line.trim()) {
            continue;
        }
        let lead = line.len() - line.trim_start().len();
        let mut end = start + line.len();
        let mut joined = line.trim().to_owned();
        while joined.ends_with('\\') {
            joined.pop();
            let Some((next_start, next)) = lines.next() else {
                break;
            };
            end = next_start + next.len();
            joined = format!("{} {}", joined.trim_end(), next.trim());
        }
        let (key, value) = joined
            .split_once(char::is_whitespace)
            .unwrap_or((&joined, ""));
        found.push(Line {
            key: key.to_owned(),
            value: value.trim().to_owned(),
            span: Span::new(file, start + lead..end),
        });
    }
    found
}

/// Whether a line (without blanks around it) is a comment.
pub(super) fn is_comment(line: &str) -> bool {
    line.starts_with('#')
}

/// `iface NAME FAMILY METHOD` and the lines below it.
#[derive(Clone, Debug)]
struct Stanza {
    name: Located<String>,
    family: String,
    method: String,
    lines: Vec<Line>,
}

struct Reader {
    flavour: Flavour,
    network: DesiredNetwork,
    report: Report,
    stanzas: Vec<Stanza>,
    /// What `auto` and `allow-...` lines name.
    autos: Vec<Located<String>>,
}

impl Reader {
    fn stanzas_of(&mut self, sources: &Sources, lines: &[Line]) {
        let mut inside = Inside::Nothing;
        for line in lines {
            match line.key.as_str() {
                "iface" => inside = self.iface(line),
                "auto" => {
                    self.auto(line);
                    inside = Inside::Nothing;
                }
                key if key.starts_with("allow-") => {
                    self.auto(line);
                    inside = Inside::Nothing;
                }
                "source" | "source-directory" => {
                    self.source(sources, line);
                    inside = Inside::Nothing;
                }
                "mapping" | "rename" | "no-auto-down" | "no-scripts" | "vlan" => {
                    let why = format!("{} is not taken over", line.key);
                    self.report.unsupported(line.span, why, "do without it");
                    inside = Inside::Foreign;
                }
                _ => match inside {
                    // The stanza was made by the line above.
                    Inside::Stanza => {
                        if let Some(stanza) = self.stanzas.last_mut() {
                            stanza.lines.push(line.clone());
                        }
                    }
                    Inside::Foreign => {
                        let why = "it belongs to lines that are not taken over";
                        self.report.unsupported(line.span, why, "see above");
                    }
                    Inside::Nothing => {
                        let why = format!(
                            "it stands outside of any iface, where {} refuses it",
                            self.flavour.tool()
                        );
                        self.report.breach(
                            Code::MisplacedKey,
                            line.span,
                            why,
                            "move it below its iface line",
                        );
                    }
                },
            }
        }
    }

    fn iface(&mut self, line: &Line) -> Inside {
        let words: Vec<&str> = line.value.split_whitespace().collect();
        let (family, method, rest) = match words.as_slice() {
            [_, "inherits", ..] | [] => ("", "", &words[words.len().min(1)..]),
            [_] => ("", "", &[][..]),
            [_, family, method, rest @ ..] => (*family, *method, rest),
            [_, rest @ ..] => ("", "", rest),
        };
        if family.is_empty() && self.flavour == Flavour::Classic {
            let why = "ifupdown refuses the whole file for an iface without family and method";
            let way_out = "write it like iface bond0 inet manual";
            self.report.breach(Code::BareIface, line.span, why, way_out);
        }
        if !rest.is_empty() {
            let why = format!("{:?} is not taken over", rest.join(" "));
            self.report
                .unsupported(line.span, why, "write what is inherited where it is needed");
        }
        let known = matches!(
            (family, method),
            ("", "")
                | ("inet", "static" | "manual" | "dhcp")
                | ("inet6", "static" | "manual" | "dhcp" | "auto")
        );
        let named = words
            .first()
            .map(|word| name(word, line.span, &mut self.report));
        match named {
            Some(Some(name)) if known => {
                self.stanzas.push(Stanza {
                    name,
                    family: family.to_owned(),
                    method: method.to_owned(),
                    lines: Vec::new(),
                });
                return Inside::Stanza;
            }
            // Loopback and the like.
            Some(Some(name)) => {
                let why = format!(
                    "{} of method {family} {method} is nothing of a bond",
                    name.value
                );
                self.report
                    .unsupported(line.span, why, "leave it where it is");
            }
            Some(None) => {}
            None => {
                self.report
                    .unsupported(line.span, "it names no interface", "write its name");
            }
        }
        Inside::Foreign
    }

    fn auto(&mut self, line: &Line) {
        if line.value.is_empty() {
            // ifupdown takes it for the stanza it stands in.
            if let Some(stanza) = self.stanzas.last() {
                self.autos
                    .push(Located::new(stanza.name.value.clone(), line.span));
            }
        }
        for word in line.value.split_whitespace() {
            self.autos.push(Located::new(word.to_owned(), line.span));
        }
    }

    fn source(&mut self, sources: &Sources, line: &Line) {
        let pattern = line.value.split('*').next().unwrap_or("");
        let given = sources.iter().any(|(file, source)| {
            file != line.span.file && !pattern.is_empty() && source.name.starts_with(pattern)
        });
        if given {
            self.report.mapped(line.span);
        } else {
            let why = "none of the files it means was given";
            self.report.unsupported(
                line.span,
                why,
                "give them too, or remove the line if there are none",
            );
        }
    }

    /// Finds out what each name is, and takes its stanzas in.
    fn devices(&mut self) {
        let stanzas = core::mem::take(&mut self.stanzas);
        let mut names: Vec<&Located<String>> = Vec::new();
        for stanza in &stanzas {
            if !names.iter().any(|known| known.value == stanza.name.value) {
                names.push(&stanza.name);
            }
        }
        let lines_of = |name: &str| -> Vec<&Line> {
            let own = stanzas.iter().filter(|stanza| stanza.name.value == name);
            own.flat_map(|stanza| &stanza.lines).collect()
        };
        for name in &names {
            let lines = lines_of(&name.value);
            let has = |key: &str| lines.iter().any(|line| self.flavour.fold(&line.key) == key);
            let is_port = self.flavour == Flavour::Classic && has("bond-master");
            let slaves = has("bond-slaves") || (self.flavour == Flavour::Classic && has("slaves"));
            if !is_port && (slaves || has("bond-mode")) {
                self.network.bonds.push(DesiredBond::new((*name).clone()));
            } else if has("bridge-ports") {
                self.network
                    .bridges
                    .push(DesiredBridge::new((*name).clone()));
            } else if let Some(vlan) = self.vlan(name, &lines) {
                self.network.vlans.push(vlan);
            }
        }
        // Ports first, since what is said of one port refers to them.
        for stanza in &stanzas {
            self.ports(stanza);
        }
        for stanza in &stanzas {
            self.stanza(stanza);
        }
        for name in names.iter().filter(|name| name.value != "lo") {
            self.report.device((*name).clone());
        }
        self.check_autos(&names);
    }

    fn vlan(&mut self, name: &Located<String>, lines: &[&Line]) -> Option<DesiredVlan> {
        let value = |key: &str| {
            let found = lines
                .iter()
                .find(|line| self.flavour.fold(&line.key) == key)?;
            Some((found.value.clone(), found.span))
        };
        let raw = value("vlan-raw-device");
        let by_name = name
            .value
            .rsplit_once('.')
            .filter(|(_, id)| id.bytes().all(|b| b.is_ascii_digit()));
        let plain = name
            .value
            .strip_prefix("vlan")
            .filter(|id| id.bytes().all(|b| b.is_ascii_digit()));
        let (link, link_span) = match (&raw, by_name) {
            (Some((link, span)), _) => (link.clone(), *span),
            (None, Some((link, _))) => (link.to_owned(), name.span),
            (None, None) => return None,
        };
        let (id, id_span) = value("vlan-id")
            .or_else(|| by_name.map(|(_, id)| (id.to_owned(), name.span)))
            .or_else(|| plain.map(|id| (id.to_owned(), name.span)))?;
        Some(DesiredVlan {
            name: name.clone(),
            id: vid(&id, id_span, &mut self.report)?,
            link: Located::new(link, link_span),
            device: DeviceSettings::default(),
        })
    }

    /// The lines that say which ports a bond or a bridge has.
    fn ports(&mut self, stanza: &Stanza) {
        let own = stanza.name.value.as_str();
        for line in &stanza.lines {
            let (flavour, report) = (self.flavour, &mut self.report);
            let bond = |name: &str| {
                self.network
                    .bonds
                    .iter()
                    .position(|bond| bond.name.value == name)
            };
            match flavour.fold(&line.key).as_str() {
                "bond-slaves" | "slaves" => {
                    let Some(at) = bond(own) else {
                        continue;
                    };
                    if flavour == Flavour::Second && line.key == "slaves" {
                        report.breach(
                            Code::ToolIgnores,
                            line.span,
                            "ifupdown2 does not know it",
                            "write bond-slaves",
                        );
                        continue;
                    }
                    for name in listed(&line.value, line.span, report) {
                        add_port(&mut self.network.bonds[at], name);
                    }
                }
                "bond-master" if flavour == Flavour::Second => {
                    let why = "ifupdown2 does not know bond-master, so this is no port";
                    let way_out = "list it in bond-slaves of the bond";
                    report.breach(Code::BondMasterUnknown, line.span, why, way_out);
                }
                "bond-master" => match bond(&line.value) {
                    Some(at) => {
                        report.mapped(line.span);
                        add_port(&mut self.network.bonds[at], stanza.name.clone());
                    }
                    None => {
                        let why = format!("there is no bond {:?}", line.value);
                        report.breach(
                            Code::UndefinedReference,
                            line.span,
                            why,
                            "write an iface stanza for it, or correct the name",
                        );
                    }
                },
                "bridge-ports" => {
                    let bridge = self
                        .network
                        .bridges
                        .iter_mut()
                        .find(|bridge| bridge.name.value == own);
                    if let Some(bridge) = bridge {
                        let names = listed(&line.value, line.span, report);
                        bridge
                            .ports
                            .extend(names.into_iter().map(DesiredBridgePort::new));
                    }
                }
                _ => {}
            }
        }
    }

    fn stanza(&mut self, stanza: &Stanza) {
        let own = stanza.name.value.as_str();
        let is_bond_port = self
            .network
            .bonds
            .iter()
            .any(|bond| bond.ports.iter().any(|port| port.name.value == own));
        let is_bridge_port = self
            .network
            .bridges
            .iter()
            .any(|bridge| bridge.ports.iter().any(|port| port.name.value == own));
        let is_ours = self.network.device_mut(own).is_some();
        if !is_ours && !is_bond_port && !is_bridge_port {
            let why = format!("{own} is no bond and nothing of one");
            for span in
                core::iter::once(stanza.name.span).chain(stanza.lines.iter().map(|line| line.span))
            {
                self.report.unsupported(
                    span,
                    why.as_str(),
                    format!("leave it to {}", self.flavour.tool()),
                );
            }
            return;
        }
        let addressed = matches!(stanza.method.as_str(), "dhcp" | "auto");
        if addressed && !is_ours {
            let why = format!("{own} is a port, which has no addresses of its own");
            self.report.breach(
                Code::PortAddressed,
                stanza.name.span,
                why,
                "write manual, and ask for addresses on the bond",
            );
        } else if self.flavour == Flavour::Second && stanza.method == "auto" {
            self.report.changed(stanza.name.span, NO_INET6_AUTO);
        } else {
            self.report.mapped(stanza.name.span);
        }
        if let Some(device) = self.network.device_mut(own) {
            let asked = Some(Located::new(true, stanza.name.span));
            match (stanza.family.as_str(), stanza.method.as_str()) {
                ("inet", "dhcp") => device.dhcp_v4 = asked,
                ("inet6", "dhcp") => device.dhcp_v6 = asked,
                ("inet6", "auto") => device.accept_ra = asked,
                _ => {}
            }
        }
        let netmask = stanza
            .lines
            .iter()
            .find(|line| line.key == "netmask")
            .map(|line| line.value.clone());
        for line in &stanza.lines {
            self.line(stanza, line, is_ours, netmask.as_deref());
        }
    }

    fn line(&mut self, stanza: &Stanza, line: &Line, is_ours: bool, netmask: Option<&str>) {
        let (flavour, span) = (self.flavour, line.span);
        let own = stanza.name.value.as_str();
        let key = flavour.fold(&line.key);
        let is_command = matches!(
            key.as_str(),
            "up" | "post-up" | "pre-up" | "down" | "pre-down" | "post-down"
        );
        if let Some(value) = ini::before_comment(&line.value).filter(|_| !is_command) {
            let message = format!("{:?} is the value as a whole, comment and all", line.value);
            self.report.finding(
                Diagnostic::new(Code::InlineComment, span, message)
                    .with_help("write the comment on a line of its own")
                    .with_fix(span, format!("{} {value}", line.key)),
            );
        }
        if line.value.is_empty() {
            let way_out = "write its value, or remove it";
            return self.report.unsupported(span, "it has no value", way_out);
        }
        match key.as_str() {
            "bond-slaves" | "slaves" | "bond-master" | "bridge-ports" => {
                // Those of a bond or bridge were taken in before.
                let own_kind = match key.as_str() {
                    "bridge-ports" => self
                        .network
                        .bridges
                        .iter()
                        .any(|bridge| bridge.name.value == own),
                    "bond-master" => true,
                    _ => self.network.bonds.iter().any(|bond| bond.name.value == own),
                };
                if !own_kind {
                    self.report.unsupported(
                        span,
                        format!("{own} is none that has ports"),
                        "remove it",
                    );
                }
            }
            "bridge-stp" | "bridge-fd" | "bridge-vlan-aware" | "bridge-vids" | "bridge-pvid" => {
                self.bridge_line(own, &key, line);
            }
            "vlan-raw-device" | "vlan-id"
                if self.network.vlans.iter().any(|vlan| vlan.name.value == own) =>
            {
                self.report.mapped(span);
            }
            "mtu" if !is_ours => {
                self.report.changed(span, "ports take the bond's MTU");
                if let Ok(mtu) = line.value.parse() {
                    self.report.port_mtu(own, Located::new(mtu, span));
                }
            }
            _ if !is_ours && TAKEN.contains(&key.as_str()) => {
                let why = format!("{own} is a port, which has nothing of this");
                match key.as_str() {
                    "address" | "gateway" => {
                        let way_out = "write it for the bond";
                        self.report.breach(Code::PortAddressed, span, why, way_out);
                    }
                    _ => self.report.unsupported(span, why, "write it for the bond"),
                }
            }
            _ if key.starts_with("bond-") => self.bond_line(own, &key, line),
            _ => self.device_line(stanza, &key, line, netmask),
        }
    }

    fn bond_line(&mut self, own: &str, key: &str, line: &Line) {
        let span = line.span;
        let Some(spec) = find_in_dialect(self.flavour.dialect(), key) else {
            // Only what the other tool of the two knows needs more than a suggestion.
            let others = [Dialect::Ifenslave, Dialect::Ifupdown2, Dialect::CloudInit];
            let known = others
                .iter()
                .any(|other| find_in_dialect(*other, key).is_some());
            if known || NOT_TAKEN.contains(&key) {
                let why = format!("{} does not act on {key}", self.flavour.tool());
                let way_out = "set it by other means, or do without";
                return match NOT_TAKEN.contains(&key) {
                    true => self.report.unsupported(span, why, way_out),
                    false => self.report.breach(Code::ToolIgnores, span, why, way_out),
                };
            }
            return unknown_key(key, span, self.flavour.dialect(), &TAKEN, &mut self.report);
        };
        // ifenslave sets it when the port joins.
        let of_port =
            self.flavour == Flavour::Classic && spec.key == OptionKey::Bond(OptionId::Primary);
        let has_port =
            |bond: &DesiredBond, name: &str| bond.ports.iter().any(|port| port.name.value == name);
        let Some(at) = self
            .network
            .bonds
            .iter()
            .position(|bond| bond.name.value == own || (of_port && has_port(bond, own)))
        else {
            let why = format!("{own} is no bond");
            return self.report.unsupported(span, why, "write it for the bond");
        };
        let OptionKey::Bond(id) = spec.key else {
            let why = format!(
                "{} sets it in a file that does not exist",
                self.flavour.tool()
            );
            return self.report.breach(
                Code::ToolIgnores,
                span,
                why,
                "set it once the port is in the bond",
            );
        };
        let bond = &mut self.network.bonds[at];
        let Some(text) = option_text(self.flavour, spec, bond, line, &mut self.report) else {
            return;
        };
        let Some(change) = option(id, &text, span, &mut self.report) else {
            return;
        };
        match bond.options.iter_mut().find(|known| known.value.id == id) {
            None => bond.options.push(change),
            // Two names of one option.
            Some(known) if known.value == change.value => {}
            Some(known) if matches!(spec.kind, Kind::Ipv4List(_) | Kind::Ipv6List(_)) => {
                known.value = change.value
            }
            Some(_) => {
                let why = "an earlier line sets it, and the first one counts";
                return self
                    .report
                    .breach(Code::DuplicateKey, span, why, "remove this one");
            }
        }
        self.report.mapped(span);
    }

    fn bridge_line(&mut self, own: &str, key: &str, line: &Line) {
        let (span, report) = (line.span, &mut self.report);
        let vlans = matches!(key, "bridge-vlan-aware" | "bridge-vids" | "bridge-pvid");
        if vlans && self.flavour == Flavour::Classic {
            let why = format!("only ifupdown2 knows {key}");
            return report.unsupported(
                span,
                why,
                "use ifupdown2, or the bridge tool in an up line",
            );
        }
        let mut vids = Vec::new();
        if key == "bridge-vids" {
            for word in line
                .value
                .split([' ', '\t', ','])
                .filter(|word| !word.is_empty())
            {
                vids.extend(parsed::<VidRange>(word, span, report));
            }
            if !vids.is_empty() {
                report.mapped(span);
            }
        }
        let pvid = if key == "bridge-pvid" {
            vid(&line.value, span, report)
        } else {
            None
        };
        if pvid.is_some() {
            report.mapped(span);
        }
        if let Some(bridge) = self
            .network
            .bridges
            .iter_mut()
            .find(|bridge| bridge.name.value == own)
        {
            match key {
                "bridge-vids" => bridge.vids.extend(vids),
                "bridge-pvid" => bridge.pvid = pvid.or_else(|| bridge.pvid.take()),
                "bridge-fd" => {
                    if let Some(delay) = number(&line.value, 0..=255, span, report) {
                        bridge.forward_delay = Some(delay);
                        report.mapped(span);
                    }
                }
                _ => {
                    let slot = if key == "bridge-stp" {
                        &mut bridge.stp
                    } else {
                        &mut bridge.vlan_aware
                    };
                    match boolean(&line.value) {
                        Some(on) => {
                            *slot = Some(Located::new(on, span));
                            report.mapped(span);
                        }
                        None => refused(
                            span,
                            format_args!("{:?} is neither on nor off", line.value),
                            report,
                        ),
                    }
                }
            }
            return;
        }
        let ports = self
            .network
            .bridges
            .iter_mut()
            .flat_map(|bridge| &mut bridge.ports);
        match (ports.into_iter().find(|port| port.name.value == own), key) {
            (Some(port), "bridge-vids") => port.vids.extend(vids),
            (Some(port), "bridge-pvid") => port.pvid = pvid,
            _ => report.unsupported(
                span,
                format!("{own} is no bridge"),
                "write it for the bridge",
            ),
        }
    }

    fn device_line(&mut self, stanza: &Stanza, key: &str, line: &Line, netmask: Option<&str>) {
        let (span, text) = (line.span, line.value.as_str());
        let report = &mut self.report;
        let Some(device) = self.network.device_mut(&stanza.name.value) else {
            return self.other_line(key, line);
        };
        let is_static = matches!(stanza.method.as_str(), "static" | "");
        match key {
            "address" | "gateway" | "netmask" | "broadcast" | "network" if !is_static => {
                let why = format!("it has no place in a stanza of method {}", stanza.method);
                report.unsupported(span, why, "write static in the iface line");
            }
            "address" => {
                let whole = match netmask {
                    Some(mask) if !text.contains('/') => format!("{text}/{}", prefix_len(mask)),
                    _ => text.to_owned(),
                };
                if let Some(address) = parsed::<Cidr>(&whole, span, report) {
                    device.addresses.push(address);
                    report.mapped(span);
                }
            }
            "netmask" => report.mapped(span),
            "broadcast" | "network" => report.changed(span, "it is worked out from the address"),
            "gateway" => {
                if let Some(via) = parsed::<IpAddr>(text, span, report) {
                    let route = Route::new(Network::default_like(via.value), Some(via.value));
                    device.add_route(Located::new(route, span));
                    report.mapped(span);
                }
            }
            "mtu" => {
                if let Some(mtu) = mtu(text, span, report) {
                    device.mtu = Some(mtu);
                    report.mapped(span);
                }
            }
            "hwaddress" => {
                let text = text.strip_prefix("ether").map_or(text, str::trim_start);
                if let Some(mac) = mac(text, span, report) {
                    device.mac = Some(mac);
                    report.mapped(span);
                }
            }
            "dns-nameservers" | "dns-nameserver" => {
                for word in text.split_whitespace() {
                    if let Some(server) = parsed::<IpAddr>(word, span, report) {
                        device.dns.push(server);
                        report.mapped(span);
                    }
                }
            }
            "dns-search" | "dns-domain" => {
                let words = text.split_whitespace();
                device
                    .search
                    .extend(words.map(|word| Located::new(word.to_owned(), span)));
                report.mapped(span);
            }
            "accept-ra" if self.flavour == Flavour::Classic => match text {
                "0" | "1" | "2" => {
                    device.accept_ra = Some(Located::new(text != "0", span));
                    if text == "2" {
                        report.changed(span, "advertisements are heard, but not by a router");
                    } else {
                        report.mapped(span);
                    }
                }
                _ => refused(span, format_args!("{text:?} is none of 0, 1, 2"), report),
            },
            "up" | "post-up" => match route_command(text, &stanza.name.value) {
                Some(route) => {
                    device.add_route(Located::new(route, span));
                    report.mapped(span);
                }
                None => no_commands(span, report),
            },
            "down" | "pre-down" | "post-down" | "pre-up" => no_commands(span, report),
            _ => self.other_line(key, line),
        }
    }

    fn other_line(&mut self, key: &str, line: &Line) {
        if NOT_TAKEN.contains(&key) || TAKEN.contains(&key) {
            let why = format!("{} is not taken over here", line.key);
            self.report
                .unsupported(line.span, why, "set it by other means, or do without");
        } else {
            unknown_key(
                key,
                line.span,
                self.flavour.dialect(),
                &TAKEN,
                &mut self.report,
            );
        }
    }

    fn check_autos(&mut self, names: &[&Located<String>]) {
        let ports: Vec<String> = self
            .network
            .bonds
            .iter()
            .flat_map(|bond| bond.ports.iter().map(|port| &port.name.value))
            .chain(
                self.network
                    .bridges
                    .iter()
                    .flat_map(|bridge| bridge.ports.iter().map(|port| &port.name.value)),
            )
            .cloned()
            .collect();
        for auto in &self.autos {
            let all = self.flavour == Flavour::Second && auto.value == "all";
            if all || self.network.device_mut(&auto.value).is_some() || ports.contains(&auto.value)
            {
                self.report.mapped(auto.span);
            } else {
                let why = format!("{} is no bond and nothing of one", auto.value);
                self.report.unsupported(
                    auto.span,
                    why,
                    format!("leave it to {}", self.flavour.tool()),
                );
            }
        }
        for name in names {
            let auto = self
                .autos
                .iter()
                .any(|auto| auto.value == name.value || auto.value == "all");
            if !auto && self.network.device_mut(&name.value).is_some() {
                let what = "without an auto line it is not brought up by itself; here it always is";
                self.report.changed(name.span, what);
                let message = format!("nothing brings {} up at the start", name.value);
                self.report.finding(
                    Diagnostic::new(Code::NotStarted, name.span, message)
                        .with_help(format!("write auto {}", name.value)),
                );
            }
        }
    }

    fn finish(mut self) -> Reading {
        for bridge in &mut self.network.bridges {
            bridge.settle_vids();
        }
        for bond in &self.network.bonds {
            self.report.extend(monitors(self.flavour, bond));
        }
        if self.flavour == Flavour::Second {
            for bond in &self.network.bonds {
                let mode = mode(bond);
                for option in &bond.options {
                    if ARP_OPTIONS.contains(&option.value.id) && !ARP_MODES.contains(&mode) {
                        let what =
                            format!("ifupdown2 leaves it out in mode {mode}; here it takes effect");
                        self.report.changed(option.span, what);
                        let message = format!("ifupdown2 leaves it out in mode {mode}");
                        self.report.finding(
                            Diagnostic::new(Code::ToolIgnores, option.span, message)
                                .with_help("set miimon instead"),
                        );
                    }
                }
            }
        }
        Reading {
            network: self.network,
            report: self.report,
            diagnostics: Vec::new(),
        }
    }
}

/// What the tools make of monitors that do not fit each other.
fn monitors(flavour: Flavour, bond: &DesiredBond) -> Report {
    let mut report = Report::default();
    let on = |id: OptionId| {
        let option = bond.option(id)?;
        (option.value.value != OptionValue::Number(0)).then_some(option.span)
    };
    match (on(OptionId::Miimon), on(OptionId::ArpInterval), flavour) {
        (Some(_), Some(arp), Flavour::Classic) => {
            let what = "ifenslave sets bond-miimon after it, which switches ARP monitoring off";
            report.changed(arp, what);
        }
        (Some(miimon), Some(arp), Flavour::Second) => {
            for span in [miimon, arp] {
                report.changed(span, "ifupdown2 sets neither monitor where both are given");
            }
        }
        (None, _, Flavour::Second) => {
            for span in [OptionId::Updelay, OptionId::Downdelay]
                .into_iter()
                .filter_map(on)
            {
                report.changed(span, "ifupdown2 leaves it out without bond-miimon");
            }
        }
        _ => {}
    }
    report
}

/// What the lines below belong to.
enum Inside {
    Nothing,
    /// The last stanza.
    Stanza,
    /// Something that is not taken over.
    Foreign,
}

fn add_port(bond: &mut DesiredBond, name: Located<String>) {
    if !bond.ports.iter().any(|port| port.name.value == name.value) {
        bond.ports.push(DesiredPort {
            name,
            options: Vec::new(),
        });
    }
}

/// Names of ports; patterns are told and left out.
fn listed(text: &str, span: Span, report: &mut Report) -> Vec<Located<String>> {
    let first = text.split_whitespace().next().unwrap_or("");
    if matches!(first, "all" | "glob" | "regex" | "noregex" | "noglob") || text.contains(['*', '('])
    {
        report.unsupported(
            span,
            format!("{text:?} is a pattern, and ports are named one by one"),
            "list them",
        );
        return Vec::new();
    }
    report.mapped(span);
    let names = text.split_whitespace().filter(|word| *word != "none");
    names.filter_map(|word| name(word, span, report)).collect()
}

/// An option's value in the option table's own notation.
fn option_text(
    flavour: Flavour,
    spec: &OptionSpec,
    bond: &DesiredBond,
    line: &Line,
    report: &mut Report,
) -> Option<String> {
    let words: Vec<&str> = line.value.split_whitespace().collect();
    let first = words.first().copied().unwrap_or("");
    let OptionKey::Bond(id) = spec.key else {
        return None;
    };
    match (spec.kind, flavour) {
        (Kind::Ipv4List(_) | Kind::Ipv6List(_), _) => {
            let before = bond.option(id).map(|option| option.value.text());
            let new = words
                .iter()
                .flat_map(|word| word.split(','))
                .filter(|word| !word.is_empty());
            let all: Vec<&str> = before
                .iter()
                .flat_map(|list| list.split(','))
                .chain(new)
                .collect();
            Some(all.join(","))
        }
        (Kind::PortName, Flavour::Classic) if words.len() > 1 => {
            let port = words
                .iter()
                .find(|word| bond.ports.iter().any(|port| port.name.value == **word));
            let port = port.copied().unwrap_or(first);
            report.changed(
                line.span,
                format!("the first of them that is in the bond: {port}"),
            );
            Some(port_option(id, port, line.span).value.text())
        }
        (_, Flavour::Classic) if words.len() > 1 => {
            report.changed(line.span, format!("only the first word counts: {first}"));
            Some(first.to_owned())
        }
        // ifupdown2 reads these as booleans of its own.
        (_, Flavour::Second) if id == OptionId::LacpRate => {
            let fast = line.value == "fast" || boolean(&line.value) == Some(true);
            if !fast && line.value != "slow" && boolean(&line.value).is_none() {
                report.changed(
                    line.span,
                    "ifupdown2 takes it for slow, as every word it does not know",
                );
            }
            Some(if fast { "fast" } else { "slow" }.to_owned())
        }
        (_, Flavour::Second) if id == OptionId::UseCarrier => Some(
            boolean(&line.value).map_or_else(|| line.value.clone(), |on| u8::from(on).to_string()),
        ),
        _ => Some(line.value.clone()),
    }
}

fn no_commands(span: Span, report: &mut Report) {
    let why = "commands are not run, and this one adds no route to this device";
    report.unsupported(span, why, "run it by other means");
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "on" | "1" | "true" => Some(true),
        "no" | "off" | "0" | "false" => Some(false),
        _ => None,
    }
}

/// The route that a command of iproute2 adds to `device`.
fn route_command(command: &str, device: &str) -> Option<Route> {
    let command = command
        .trim_end_matches("|| true")
        .replace("${IFACE}", device)
        .replace("$IFACE", device);
    let mut words = command.split_whitespace().peekable();
    let program = words.next()?;
    if program.rsplit('/').next() != Some("ip") {
        return None;
    }
    let family = words.next_if(|word| matches!(*word, "-4" | "-6"));
    if !matches!(words.next()?, "route" | "ro" | "r") || !matches!(words.next()?, "add" | "replace")
    {
        return None;
    }
    let line = route_words::read(words, family == Some("-6")).ok()?;
    // Without a device the router decides, which is on this one as its addresses come up with it.
    let is_on_device = match &line.device {
        Some(named) => named == device,
        None => line.route.via.is_some(),
    };
    is_on_device.then_some(line.route)
}

/// Writes one file.
pub fn write(flavour: Flavour, network: &DesiredNetwork) -> Written {
    let mut writer = Writer {
        flavour,
        network,
        text: String::new(),
        report: Report::default(),
    };
    let ports = network
        .bonds
        .iter()
        .flat_map(|bond| &bond.ports)
        .map(|port| &port.name);
    let bridge_ports = network
        .bridges
        .iter()
        .flat_map(|bridge| &bridge.ports)
        .map(|port| &port.name);
    let mut plain: Vec<&str> = Vec::new();
    for name in ports.chain(bridge_ports).map(|name| name.value.as_str()) {
        let bonds = network.bonds.iter().map(|bond| &bond.name);
        let vlans = network.vlans.iter().map(|vlan| &vlan.name);
        let bridges = network.bridges.iter().map(|bridge| &bridge.name);
        let is_device = bonds
            .chain(vlans)
            .chain(bridges)
            .any(|device| device.value == name);
        if !is_device && !plain.contains(&name) {
            plain.push(name);
        }
    }
    for name in plain {
        let settings = writer.as_bridge_port(name);
        writer.device(name, &DeviceSettings::default(), &settings);
    }
    for bond in &network.bonds {
        writer.bond(bond);
    }
    for vlan in &network.vlans {
        writer.vlan(vlan);
    }
    for bridge in &network.bridges {
        writer.bridge(bridge);
    }
    Written::one(HOME, 0o644, writer.text, writer.report)
}

struct Writer<'n> {
    flavour: Flavour,
    network: &'n DesiredNetwork,
    text: String,
    report: Report,
}

impl Writer<'_> {
    fn bond(&mut self, bond: &DesiredBond) {
        let mut settings = String::new();
        let names: Vec<&str> = bond
            .ports
            .iter()
            .map(|port| port.name.value.as_str())
            .collect();
        let slaves = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(" ")
        };
        line(&mut settings, "bond-slaves", slaves);
        unselected(self.flavour.tool(), bond, &mut self.report);
        let mode = mode(bond);
        for option in &bond.options {
            let change = &option.value;
            let keys = change.id.spec().spelled(self.flavour.dialect());
            let unheard = self.flavour == Flavour::Second
                && (ARP_OPTIONS.contains(&change.id) && !ARP_MODES.contains(&mode)
                    || change.text() == "vlan+srcmac");
            match keys.first() {
                Some(key) if !unheard => line(&mut settings, key, change.text().replace(',', " ")),
                _ => unspelt(self.flavour.tool(), change, option.span, &mut self.report),
            }
        }
        for port in &bond.ports {
            for option in &port.options {
                // ifenslave's key for queue_id is there, and does not work.
                unspelt(
                    self.flavour.tool(),
                    &option.value,
                    option.span,
                    &mut self.report,
                );
            }
        }
        settings.push_str(&self.as_bridge_port(&bond.name.value));
        self.device(&bond.name.value, &bond.device, &settings);
    }

    fn vlan(&mut self, vlan: &DesiredVlan) {
        let (name, id, link) = (&vlan.name.value, vlan.id.value, &vlan.link.value);
        let mut settings = String::new();
        if *name != format!("{link}.{id}") {
            line(&mut settings, "vlan-raw-device", link);
            if self.flavour == Flavour::Second {
                line(&mut settings, "vlan-id", id);
            } else if *name != format!("vlan{id}") {
                let why = format!(
                    "ifupdown takes the number of a VLAN from its device's name, and {name} does not say it"
                );
                let way_out = format!("name it {link}.{id}");
                return self.report.unsupported(vlan.name.span, why, way_out);
            }
        }
        settings.push_str(&self.as_bridge_port(name));
        self.device(name, &vlan.device, &settings);
    }

    fn bridge(&mut self, bridge: &DesiredBridge) {
        let mut settings = String::new();
        let names: Vec<&str> = bridge
            .ports
            .iter()
            .map(|port| port.name.value.as_str())
            .collect();
        let ports = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(" ")
        };
        let on_off = |on: bool| if on { "on" } else { "off" };
        // bridge-utils and ifupdown2 read both forms; each is shown in its own manual.
        let key = |rest: &str| match self.flavour {
            Flavour::Classic => format!("bridge_{rest}"),
            Flavour::Second => format!("bridge-{rest}"),
        };
        line(&mut settings, &key("ports"), ports);
        if let Some(stp) = &bridge.stp {
            line(&mut settings, &key("stp"), on_off(stp.value));
        }
        if let Some(delay) = &bridge.forward_delay {
            line(&mut settings, &key("fd"), delay.value);
        }
        if self.flavour == Flavour::Second {
            if let Some(aware) = &bridge.vlan_aware {
                line(
                    &mut settings,
                    "bridge-vlan-aware",
                    if aware.value { "yes" } else { "no" },
                );
            }
            vlans(&mut settings, &bridge.vids, bridge.pvid.as_ref());
        } else {
            for span in bridge.vlan_places() {
                let way_out = "use ifupdown2, or the bridge tool in an up line";
                self.report
                    .unsupported(span, "ifupdown knows no VLANs in bridges", way_out);
            }
        }
        settings.push_str(&self.as_bridge_port(&bridge.name.value));
        self.device(&bridge.name.value, &bridge.device, &settings);
    }

    /// What a bridge has to say in the stanza of its port.
    fn as_bridge_port(&self, name: &str) -> String {
        let mut settings = String::new();
        let ports = self.network.bridges.iter().flat_map(|bridge| &bridge.ports);
        if self.flavour == Flavour::Second {
            for port in ports.filter(|port| port.name.value == name) {
                vlans(&mut settings, &port.vids, port.pvid.as_ref());
            }
        }
        settings
    }

    /// The stanzas of a device: the first has its settings, more follow for each further way to an address.
    fn device(&mut self, name: &str, device: &DeviceSettings, settings: &str) {
        let mut first = settings.to_owned();
        if let Some(mtu) = &device.mtu {
            line(&mut first, "mtu", mtu.value);
        }
        if let Some(mac) = &device.mac {
            line(&mut first, "hwaddress", mac.value);
        }
        let servers: Vec<String> = device
            .dns
            .iter()
            .map(|server| server.value.to_string())
            .collect();
        if !servers.is_empty() {
            line(&mut first, "dns-nameservers", servers.join(" "));
        }
        let domains: Vec<&str> = device
            .search
            .iter()
            .map(|domain| domain.value.as_str())
            .collect();
        if !domains.is_empty() {
            line(&mut first, "dns-search", domains.join(" "));
        }
        let asked =
            |wanted: &Option<Located<bool>>| wanted.as_ref().is_some_and(|asked| asked.value);
        let mut stanzas: Vec<(&str, String)> = Vec::new();
        let mut gateways = String::new();
        for (family, is_v4) in [("inet", true), ("inet6", false)] {
            let of_family = device
                .addresses
                .iter()
                .filter(|address| address.value.address.is_ipv4() == is_v4);
            let mut bodies: Vec<String> = Vec::new();
            for address in of_family {
                // Only ifupdown2 takes several addresses in one stanza.
                if self.flavour == Flavour::Classic || bodies.is_empty() {
                    bodies.push(String::new());
                }
                if let Some(body) = bodies.last_mut() {
                    line(body, "address", address.value);
                }
            }
            let gateway = if is_v4 {
                device
                    .gateway_v4
                    .as_ref()
                    .map(|gateway| gateway.value.to_string())
            } else {
                device
                    .gateway_v6
                    .as_ref()
                    .map(|gateway| gateway.value.to_string())
            };
            match (gateway, bodies.first_mut()) {
                (Some(gateway), Some(body)) => line(body, "gateway", gateway),
                (Some(gateway), None) => {
                    let family = if is_v4 { "" } else { "-6 " };
                    line(
                        &mut gateways,
                        "up",
                        format!("ip {family}route add default via {gateway} dev {name}"),
                    );
                }
                (None, _) => {}
            }
            if !is_v4
                && self.flavour == Flavour::Classic
                && let (Some(accept), Some(body)) = (&device.accept_ra, bodies.first_mut())
            {
                line(body, "accept_ra", u8::from(accept.value));
            }
            let method = if is_v4 { "inet static" } else { "inet6 static" };
            let has_static = !bodies.is_empty();
            stanzas.extend(bodies.into_iter().map(|body| (method, body)));
            if asked(if is_v4 {
                &device.dhcp_v4
            } else {
                &device.dhcp_v6
            }) {
                stanzas.push((
                    if is_v4 { "inet dhcp" } else { "inet6 dhcp" },
                    String::new(),
                ));
            }
            let said = has_static && self.flavour == Flavour::Classic;
            match device
                .accept_ra
                .as_ref()
                .filter(|_| family == "inet6" && !said)
            {
                Some(accept) if accept.value => {
                    if self.flavour == Flavour::Second {
                        self.report.changed(accept.span, NO_INET6_AUTO);
                    }
                    stanzas.push(("inet6 auto", String::new()));
                }
                Some(accept) => {
                    let why = format!("{} cannot refuse advertisements here", self.flavour.tool());
                    let way_out = "set net.ipv6.conf.NAME.accept_ra by sysctl";
                    self.report.unsupported(accept.span, why, way_out);
                }
                None => {}
            }
        }
        first.push_str(&gateways);
        for route in &device.routes {
            line(&mut first, "up", command(&route.value, name));
        }
        if stanzas.is_empty() {
            stanzas.push(("inet manual", String::new()));
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let _ = writeln!(self.text, "auto {name}");
        for (index, (method, body)) in stanzas.iter().enumerate() {
            let settings = if index == 0 { first.as_str() } else { "" };
            let _ = write!(self.text, "iface {name} {method}\n{body}{settings}");
        }
    }
}

fn command(route: &Route, device: &str) -> String {
    let family = if route.to.address.is_ipv4() {
        ""
    } else {
        "-6 "
    };
    format!("ip {family}route add {}", route_words::write(route, device))
}

fn vlans(settings: &mut String, vids: &[Located<VidRange>], pvid: Option<&Located<u16>>) {
    let vids: Vec<String> = vids.iter().map(|vids| vids.value.to_string()).collect();
    if !vids.is_empty() {
        line(settings, "bridge-vids", vids.join(" "));
    }
    if let Some(pvid) = pvid {
        line(settings, "bridge-pvid", pvid.value);
    }
}

fn line(text: &mut String, key: &str, value: impl core::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "    {key} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_commands() {
        for (command, route) in [
            (
                "ip route add 10.0.0.0/8 via 192.168.1.1 dev bond0",
                "10.0.0.0/8 via 192.168.1.1",
            ),
            (
                "/sbin/ip route add default via 10.0.0.1 dev $IFACE metric 5 || true",
                "0.0.0.0/0 via 10.0.0.1 metric 5",
            ),
            ("ip -6 route add default dev bond0", "::/0"),
            (
                "ip r replace 10.0.0.1 via 10.9.9.9 table 7 onlink",
                "10.0.0.1/32 via 10.9.9.9 table 7 on-link",
            ),
        ] {
            assert_eq!(
                route_command(command, "bond0")
                    .map(|route| route.to_string())
                    .as_deref(),
                Some(route)
            );
        }
        for command in [
            "ip route add 10.0.0.0/8 via 192.168.1.1 dev eth7",
            "ip route add 10.0.0.0/8",
            "ip route del 10.0.0.0/8 via 192.168.1.1",
            "ip route add 10.0.0.0/8 via 192.168.1.1 src 10.0.0.1",
            "echo ip route add default dev bond0",
            "ip",
        ] {
            assert_eq!(route_command(command, "bond0"), None, "{command}");
        }
    }
}
