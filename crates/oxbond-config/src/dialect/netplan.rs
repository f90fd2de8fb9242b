//! netplan: `/etc/netplan/*.yaml`.
//!
//! Facts this relies on (netplan 1.1): files are merged in the order of their names, and a file hides those of its name
//! in directories of lower rank; later scalars replace earlier ones, lists add up; ports and `primary` are ids of
//! definitions, not names of devices; a bare number is milliseconds for the monitors and seconds for the rest; a zero
//! for some options is never passed on; bridges that have parameters speak STP unless told otherwise. What it hands to
//! systemd-networkd is subject to what that does with it.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use oxbond_core::option::{
    Dialect, Kind, OptionId, OptionKey, OptionSpec, OptionValue, Unit, find_in_dialect,
};

use super::common::{
    Criteria, is_pattern, mac, mtu, name, network, number, option, parsed, port_option, refused,
    replaced, set, set_option, uncounted, unknown_key, unspelt, vid,
};
use super::networkd::{WORDS_UNKNOWN, timespan_us, unsent};
use super::yaml::{self, Entry, Node, Value, boolean, quoted};
use super::{Reading, Written};
use crate::check::port_of_two;
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{
    Cidr, DesiredBond, DesiredBridge, DesiredBridgePort, DesiredNetwork, DesiredPort,
    DesiredSelector, DesiredVlan, DeviceSettings, Network, Route,
};
use crate::report::Report;
use crate::span::{FileId, Located, Sources, Span};

/// Where it is written to.
const HOME: &str = "/etc/netplan/50-oxbond.yaml";

/// Its directories; the first has the highest rank.
const DIRECTORIES: [&str; 3] = ["/run/netplan", "/etc/netplan", "/lib/netplan"];

/// The renderer that takes no units.
const NETWORK_MANAGER: &str = "NetworkManager";

/// Options of which netplan passes no zero on, though their default is another.
const NO_ZERO: [OptionId; 3] = [
    OptionId::ResendIgmp,
    OptionId::PacketsPerSlave,
    OptionId::NumGratArp,
];

/// Keys that give a device addresses.
const ADDRESSING: [&str; 5] = ["addresses", "dhcp4", "dhcp6", "gateway4", "gateway6"];

/// Keys of definitions that are read.
const TAKEN: [&str; 20] = [
    "accept-ra",
    "addresses",
    "bonds",
    "bridges",
    "dhcp4",
    "dhcp6",
    "ethernets",
    "gateway4",
    "gateway6",
    "id",
    "interfaces",
    "link",
    "macaddress",
    "match",
    "mtu",
    "nameservers",
    "parameters",
    "routes",
    "set-name",
    "vlans",
];

/// Keys it knows whose meaning is not taken over.
const NOT_TAKEN: [&str; 26] = [
    "activation-mode",
    "critical",
    "dhcp-identifier",
    "dhcp4-overrides",
    "dhcp6-overrides",
    "dummy-devices",
    "emit-lldp",
    "ignore-carrier",
    "ipv6-address-generation",
    "ipv6-mtu",
    "ipv6-privacy",
    "label",
    "lifetime",
    "link-local",
    "modems",
    "networkmanager",
    "nm-devices",
    "openvswitch",
    "optional",
    "optional-addresses",
    "routing-policy",
    "tunnels",
    "virtual-ethernets",
    "vrfs",
    "wakeonlan",
    "wifis",
];

/// Reads all files of a set.
pub fn read(sources: &Sources) -> Reading {
    let mut reader = Reader::default();
    for file in reader.files(sources) {
        reader.ranks.insert(file, reader.ranks.len());
        let text = &sources.get(file).text;
        let report = &mut reader.report;
        match yaml::parse(text, &mut |range| report.mapped(Span::new(file, range))) {
            Ok(None) => {}
            Ok(Some(document)) => reader.document(file, &document),
            Err(wrong) => {
                let at = wrong.at.min(text.trim_end().len());
                let message = format!("this is not YAML as netplan reads it: {}", wrong.message);
                let span = Span::new(file, at..at);
                reader.diagnostics.push(
                    Diagnostic::error(Code::Syntax, span, message)
                        .with_help("correct it; netplan refuses all files over it"),
                );
                let whole = Span::new(file, 0..text.len());
                reader.report.unsupported(
                    whole,
                    "the file is not YAML as netplan reads it",
                    "correct it",
                );
            }
        }
    }
    reader.finish()
}

/// Reads what stands below `network`, wherever that is.
pub(super) fn read_network(file: FileId, network: &Node) -> Reading {
    let mut reader = Reader::default();
    reader.network(file, network);
    reader.finish()
}

/// A port that is named by the id of its definition.
type Reference = Located<String>;

#[derive(Default)]
struct Reader {
    network: DesiredNetwork,
    report: Report,
    diagnostics: Vec<Diagnostic>,
    /// The renderer of all that name none is NetworkManager.
    network_manager: bool,
    /// Bonds whose renderer is named, and whether it is NetworkManager.
    renderers: BTreeMap<String, bool>,
    /// Times of bonds with a unit, with the key and the milliseconds.
    with_unit: Vec<(String, Span, String, String)>,
    /// Names of devices by the ids of their definitions; none where that is not known.
    ethernets: BTreeMap<String, Option<String>>,
    /// What devices are by the ids of their definitions, where they are not known by name.
    selectors: BTreeMap<String, Vec<DesiredSelector>>,
    /// Definitions of ethernets (id, key, whole), which are judged once it is known what they are for.
    said: Vec<(String, Span, Span)>,
    /// MTUs of ethernets, by id.
    mtus: Vec<(String, Located<u32>)>,
    /// Ethernets (id, place) that are given addresses.
    addressed: Vec<(String, Span)>,
    /// Places of netplan's own files in the order in which they are merged.
    ranks: BTreeMap<FileId, usize>,
    /// The rank of the file that first defines an id.
    defined: BTreeMap<String, usize>,
    /// Links of VLANs by the VLAN's name.
    links: BTreeMap<String, Reference>,
    ids: BTreeMap<String, Located<u16>>,
    vlans: Vec<(Located<String>, DeviceSettings)>,
    /// Where the device of an id stands.
    places: BTreeMap<String, Place>,
}

/// A device among those of its kind, which stay in the order in which they were defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Bond(usize),
    Vlan(usize),
    Bridge(usize),
}

impl Reader {
    /// The files that count, in the order in which they are merged.
    fn files(&mut self, sources: &Sources) -> Vec<FileId> {
        let mut by_name: BTreeMap<&str, Vec<(usize, FileId)>> = BTreeMap::new();
        for (id, source) in sources.iter() {
            let base = source.name.rsplit('/').next().unwrap_or(&source.name);
            let rank = DIRECTORIES
                .iter()
                .position(|directory| source.name.contains(directory))
                .unwrap_or(0);
            by_name.entry(base).or_default().push((rank, id));
        }
        let mut files = Vec::new();
        for mut of_name in by_name.into_values() {
            of_name.sort();
            let mut of_name = of_name.into_iter().map(|(_, id)| id);
            files.extend(of_name.next());
            for hidden in of_name {
                let whole = Span::new(hidden, 0..sources.get(hidden).text.len());
                let why = "a file of the same name in a directory of higher rank hides this one";
                let finding = Diagnostic::new(Code::HiddenFile, Span::new(hidden, 0..0), why);
                self.report
                    .finding(finding.with_help("remove it, or rename it"));
                self.report
                    .unsupported(whole, why, "remove it, or rename it");
            }
        }
        files
    }

    fn document(&mut self, file: FileId, document: &Node) {
        for entry in self.map(file, document, "the file") {
            if entry.key != "network" {
                self.other_key(&entry);
                continue;
            }
            self.report.mapped(entry.key_span);
            self.network(file, entry.value);
        }
    }

    /// What stands below `network`.
    fn network(&mut self, file: FileId, network: &Node) {
        for entry in self.map(file, network, "network") {
            match entry.key {
                "version" if entry.value.text() == Some("2") => self.report.mapped(entry.span),
                "version" => refused(entry.span, "only version 2 exists", &mut self.report),
                "renderer" => {
                    self.network_manager |= entry.value.text() == Some(NETWORK_MANAGER);
                    self.report.mapped(entry.span);
                }
                "ethernets" | "bonds" | "vlans" | "bridges" => {
                    self.report.mapped(entry.key_span);
                    for definition in self.map(file, entry.value, entry.key) {
                        self.definition(file, entry.key, &definition);
                    }
                }
                _ => self.other_key(&entry),
            }
        }
    }

    fn definition(&mut self, file: FileId, kind: &str, definition: &Entry<'_>) {
        let rank = self.ranks.get(&file).copied().unwrap_or(0);
        let first = self.defined.entry(definition.key.to_owned());
        first.or_insert(rank);
        let keys = self.map(file, definition.value, definition.key);
        if kind == "ethernets" {
            return self.ethernet(file, definition, &keys);
        }
        let Some(id) = name(definition.key, definition.key_span, &mut self.report) else {
            return self.report.unsupported(
                definition.span,
                "it has no possible name",
                "give it another",
            );
        };
        self.report.mapped(definition.key_span);
        // Files add to what earlier ones say of the same id.
        let (bonds, bridges) = (self.network.bonds.len(), self.network.bridges.len());
        let new = match kind {
            "bonds" => Place::Bond(bonds),
            "bridges" => Place::Bridge(bridges),
            _ => Place::Vlan(self.vlans.len()),
        };
        let place = *self.places.entry(id.value.clone()).or_insert(new);
        match (place, new) {
            (Place::Bond(at), Place::Bond(next)) if at == next => {
                self.network.bonds.push(DesiredBond::new(id.clone()));
            }
            (Place::Bridge(at), Place::Bridge(next)) if at == next => {
                self.network.bridges.push(DesiredBridge::new(id.clone()));
            }
            (Place::Vlan(at), Place::Vlan(next)) if at == next => {
                self.vlans.push((id.clone(), DeviceSettings::default()));
            }
            (Place::Bond(_), Place::Bond(_))
            | (Place::Bridge(_), Place::Bridge(_))
            | (Place::Vlan(_), Place::Vlan(_)) => {}
            _ => {
                let why = format!(
                    "netplan refuses the file, since {} is of another kind before",
                    id.value
                );
                return self.report.breach(
                    Code::DuplicateDevice,
                    definition.span,
                    why,
                    "give one of them another name",
                );
            }
        }
        for entry in &keys {
            match (kind, entry.key) {
                ("bonds", "interfaces") => {
                    let names = self.texts(file, entry);
                    if let Some(bond) = self.bond(&id.value) {
                        for name in names {
                            if !bond.ports.iter().any(|port| port.name.value == name.value) {
                                let options = Vec::new();
                                bond.ports.push(DesiredPort { name, options });
                            }
                        }
                    }
                }
                ("bridges", "interfaces") => {
                    let names = self.texts(file, entry);
                    if let Some(bridge) = self.bridge(&id.value) {
                        for name in names {
                            if !bridge
                                .ports
                                .iter()
                                .any(|port| port.name.value == name.value)
                            {
                                bridge.ports.push(DesiredBridgePort::new(name));
                            }
                        }
                    }
                }
                ("bonds", "parameters") => {
                    self.report.mapped(entry.key_span);
                    for parameter in self.map(file, entry.value, "parameters") {
                        self.bond_parameter(file, &id.value, &parameter);
                    }
                }
                ("bridges", "parameters") => {
                    self.report.mapped(entry.key_span);
                    if let Some(bridge) = self.bridge(&id.value) {
                        bridge
                            .stp
                            .get_or_insert_with(|| Located::new(true, entry.key_span));
                    }
                    for parameter in self.map(file, entry.value, "parameters") {
                        self.bridge_parameter(&id.value, &parameter);
                    }
                }
                ("vlans", "link") => {
                    if let Some(link) = self.text(entry) {
                        self.report.mapped(entry.span);
                        if let Some(before) = self.links.insert(id.value.clone(), link) {
                            replaced(before.span, &mut self.report);
                        }
                    }
                }
                ("vlans", "id") => {
                    let vid = self
                        .text(entry)
                        .and_then(|text| vid(&text.value, entry.span, &mut self.report));
                    if let Some(vid) = vid {
                        self.report.mapped(entry.span);
                        if let Some(before) = self.ids.insert(id.value.clone(), vid) {
                            replaced(before.span, &mut self.report);
                        }
                    }
                }
                _ => self.device_key(file, &id.value, entry),
            }
        }
    }

    fn bond(&mut self, id: &str) -> Option<&mut DesiredBond> {
        match self.places.get(id) {
            Some(Place::Bond(at)) => self.network.bonds.get_mut(*at),
            _ => None,
        }
    }

    fn bridge(&mut self, id: &str) -> Option<&mut DesiredBridge> {
        match self.places.get(id) {
            Some(Place::Bridge(at)) => self.network.bridges.get_mut(*at),
            _ => None,
        }
    }

    fn ethernet(&mut self, file: FileId, definition: &Entry<'_>, keys: &[Entry<'_>]) {
        let given = keys
            .iter()
            .rfind(|entry| entry.key == "set-name")
            .and_then(|entry| entry.value.text());
        let known = self.ethernets.get(definition.key).cloned();
        let mut device = match given {
            Some(given) => Some(given.to_owned()),
            None => known.unwrap_or_else(|| Some(definition.key.to_owned())),
        };
        self.said.push((
            definition.key.to_owned(),
            definition.key_span,
            definition.span,
        ));
        for entry in keys {
            match entry.key {
                "set-name" => {
                    if self.text(entry).is_some() {
                        self.report.mapped(entry.span);
                    }
                }
                "match" => {
                    self.report.mapped(entry.key_span);
                    let criteria = self.criteria(file, entry, given);
                    if given.is_some() {
                        continue;
                    }
                    let names = criteria.names.as_slice();
                    let by_name = criteria.macs.is_empty() && criteria.drivers.is_empty();
                    match names {
                        [name] if by_name && !is_pattern(&name.value) => {
                            device = Some(name.value.clone());
                        }
                        _ => {
                            device = None;
                            let selectors = criteria.selectors(entry.span, &mut self.report);
                            self.selectors.insert(definition.key.to_owned(), selectors);
                        }
                    }
                }
                "dhcp4" | "dhcp6" | "accept-ra"
                    if entry.value.text().and_then(boolean) == Some(false) =>
                {
                    self.report.mapped(entry.span);
                }
                "optional" | "renderer" => self.report.mapped(entry.span),
                "mtu" => {
                    self.report.changed(entry.span, "ports take the bond's MTU");
                    let mtu = entry.value.text().and_then(|text| text.parse().ok());
                    if let Some(mtu) = mtu {
                        let mtu = Located::new(mtu, entry.span);
                        self.mtus.push((definition.key.to_owned(), mtu));
                    }
                }
                _ if TAKEN.contains(&entry.key) => {
                    let why = "only bonds and what stands on them can have this";
                    if ADDRESSING.contains(&entry.key) {
                        self.addressed
                            .push((definition.key.to_owned(), entry.key_span));
                    }
                    self.report.unsupported(
                        entry.span,
                        why,
                        "write it for the bond, or leave it to netplan",
                    );
                }
                _ => self.other_key(entry),
            }
        }
        let device = device.filter(|device| {
            let found = name(device, definition.key_span, &mut self.report);
            found.is_some()
        });
        self.ethernets.insert(definition.key.to_owned(), device);
    }

    /// What `match` asks for; a device that was `given` a name is found by that.
    fn criteria(&mut self, file: FileId, entry: &Entry<'_>, given: Option<&str>) -> Criteria {
        let mut criteria = Criteria::default();
        for condition in self.map(file, entry.value, "match") {
            if let Some(given) = given {
                let what = format!("it is found by the name it was given, {given}");
                self.report.changed(condition.span, what);
                continue;
            }
            // One text is a list of one.
            let texts = match condition.value.text() {
                Some(text) => {
                    self.report.mapped(condition.span);
                    vec![Located::new(text.to_owned(), condition.span)]
                }
                None => self.texts(file, &condition),
            };
            match condition.key {
                "name" => criteria.names.extend(texts),
                "driver" => criteria.drivers.extend(texts),
                "macaddress" => {
                    for text in texts {
                        match mac(&text.value, text.span, &mut self.report) {
                            Some(mac) => criteria.macs.push(mac),
                            None => criteria.partial = true,
                        }
                    }
                }
                _ => {
                    criteria.partial = true;
                    self.other_key(&condition);
                }
            }
        }
        criteria
    }

    fn bond_parameter(&mut self, file: FileId, bond: &str, entry: &Entry<'_>) {
        let Some(spec) = find_in_dialect(Dialect::Netplan, entry.key) else {
            return unknown_key(
                entry.key,
                entry.key_span,
                Dialect::Netplan,
                &[],
                &mut self.report,
            );
        };
        let (OptionKey::Bond(id), span) = (spec.key, entry.span) else {
            return self.other_key(entry);
        };
        let Some(text) = self.option_text(file, bond, spec, id, entry) else {
            return;
        };
        let Some(Place::Bond(at)) = self.places.get(bond).copied() else {
            return;
        };
        let bond = &mut self.network.bonds[at];
        if matches!(spec.kind, Kind::PortName) {
            let known = bond.option(id).map(|known| known.value.text());
            if known.is_some_and(|known| known != text) {
                let why = "netplan refuses a second primary port";
                return self.report.unsupported(span, why, "keep one of them");
            }
            // An id for now; its device is known at the end.
            return set_option(bond, port_option(id, &text, span), &mut self.report);
        }
        let list = matches!(spec.kind, Kind::Ipv4List(_));
        let text = match bond.option(id).filter(|_| list) {
            Some(before) => {
                let before = before.value.text();
                let new = text
                    .split(',')
                    .filter(|new| !before.split(',').any(|known| known == *new));
                [before.as_str()]
                    .into_iter()
                    .chain(new)
                    .collect::<Vec<_>>()
                    .join(",")
            }
            None => text,
        };
        let Some(change) = option(id, &text, span, &mut self.report) else {
            return;
        };
        if list {
            bond.options.retain(|option| option.value.id != id);
        }
        let zero = change.value.value == OptionValue::Number(0);
        if zero && NO_ZERO.contains(&id) {
            let why = "netplan passes no zero on, so the default counts";
            return self
                .report
                .breach(Code::ZeroLost, span, why, "leave it out");
        }
        let spelled = spec.spelled(Dialect::Netplan).first();
        if let Some(key) = spelled.filter(|key| **key != entry.key) {
            let message = format!("{} is an outdated name", entry.key);
            let finding = Diagnostic::new(Code::DeprecatedKey, entry.key_span, message);
            self.report.finding(
                finding
                    .with_help(format!("write {key}"))
                    .with_fix(entry.key_span, *key),
            );
        }
        set_option(bond, change, &mut self.report);
    }

    /// An option's value in the option table's own notation.
    fn option_text(
        &mut self,
        file: FileId,
        bond: &str,
        spec: &OptionSpec,
        id: OptionId,
        entry: &Entry<'_>,
    ) -> Option<String> {
        if matches!(spec.kind, Kind::Ipv4List(_)) {
            let texts: Vec<String> = self
                .texts(file, entry)
                .into_iter()
                .map(|text| text.value)
                .collect();
            return Some(texts.join(","));
        }
        let text = self.text(entry)?.value;
        let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let unknown = WORDS_UNKNOWN
            .iter()
            .any(|(of, words)| *of == id && words.contains(&text.as_str()));
        let wrong = match (spec.kind, spec.unit) {
            (_, Unit::Milliseconds | Unit::Seconds) if bare => return Some(text),
            (_, Unit::Milliseconds) => match timespan_us(&text) {
                Some(us) => {
                    let ms = (us / 1000).to_string();
                    let key = entry.key.to_owned();
                    self.with_unit
                        .push((bond.to_owned(), entry.span, key, ms.clone()));
                    return Some(ms);
                }
                None => "is no time; write it like 100 or 100ms",
            },
            (_, Unit::Seconds) => match timespan_us(&text) {
                Some(us) => return Some((us / 1_000_000).to_string()),
                None => "is no time; write it like 1 or 1s",
            },
            (Kind::Flag, _) => match boolean(&text) {
                Some(on) => return Some(u8::from(on).to_string()),
                None => "is neither true nor false",
            },
            (Kind::Words(words), _) if unknown || !words.iter().any(|word| word.name == text) => {
                let number = text.parse::<u8>().ok();
                if let Some(word) = words.iter().find(|word| Some(word.code) == number) {
                    let message = format!("netplan does not know {text} for {}", word.name);
                    self.report.finding(
                        Diagnostic::new(Code::NumberForWord, entry.span, message)
                            .with_help("write the word")
                            .with_fix(entry.span, format!("{}: {}", entry.key, word.name)),
                    );
                }
                "is none of its words"
            }
            _ => return Some(text),
        };
        refused(
            entry.span,
            format_args!("{text:?} {wrong}"),
            &mut self.report,
        );
        None
    }

    fn bridge_parameter(&mut self, bridge: &str, entry: &Entry<'_>) {
        let (span, report) = (entry.span, &mut self.report);
        let found = match self.places.get(bridge) {
            Some(Place::Bridge(at)) => Some(&mut self.network.bridges[*at]),
            _ => None,
        };
        match (entry.key, found, entry.value.text()) {
            ("stp", Some(bridge), Some(text)) => match boolean(text) {
                // Before it is said, it is on because there are parameters.
                Some(on) => {
                    bridge.stp = Some(Located::new(on, span));
                    report.mapped(span);
                }
                None => refused(
                    span,
                    format_args!("{text:?} is neither true nor false"),
                    report,
                ),
            },
            ("forward-delay", Some(bridge), Some(text)) => {
                match timespan_us(text).and_then(|us| u32::try_from(us / 1_000_000).ok()) {
                    Some(seconds) => set(
                        &mut bridge.forward_delay,
                        Located::new(seconds, span),
                        report,
                    ),
                    None => refused(span, format_args!("{text:?} is no time"), report),
                }
            }
            _ => {
                let why = format!("{} is not taken over", entry.key);
                report.unsupported(span, why, "set it by other means, or do without");
            }
        }
    }

    fn device_key(&mut self, file: FileId, id: &str, entry: &Entry<'_>) {
        let span = entry.span;
        match entry.key {
            "addresses" => {
                let Value::List(items) = &entry.value.value else {
                    return refused(span, "addresses is a list", &mut self.report);
                };
                self.report.mapped(entry.key_span);
                for item in items {
                    self.address(file, id, item);
                }
            }
            "nameservers" => {
                self.report.mapped(entry.key_span);
                for part in self.map(file, entry.value, "nameservers") {
                    if !matches!(part.key, "addresses" | "search") {
                        self.other_key(&part);
                        continue;
                    }
                    for text in self.texts(file, &part) {
                        let Some(device) =
                            find_device(&mut self.network, &mut self.vlans, &self.places, id)
                        else {
                            continue;
                        };
                        if part.key == "search" {
                            device.search.push(text);
                        } else if let Some(server) =
                            parsed::<IpAddr>(&text.value, text.span, &mut self.report)
                        {
                            device.dns.push(server);
                        }
                    }
                }
            }
            "routes" => {
                let Value::List(items) = &entry.value.value else {
                    return refused(span, "routes is a list", &mut self.report);
                };
                self.report.mapped(entry.key_span);
                for item in items {
                    self.route(file, id, item);
                }
            }
            "link-local" => {
                let texts = match &entry.value.value {
                    Value::List(items) => items.iter().filter_map(Node::text).collect::<Vec<_>>(),
                    _ => Vec::new(),
                };
                if texts == ["ipv6"] {
                    self.report.mapped(span);
                } else {
                    self.other_key(entry);
                }
            }
            "renderer" => {
                let manager = entry.value.text() == Some(NETWORK_MANAGER);
                self.renderers.insert(id.to_owned(), manager);
                self.report.mapped(span);
            }
            "optional" => self.report.mapped(span),
            _ => self.device_scalar(id, entry),
        }
    }

    fn device_scalar(&mut self, id: &str, entry: &Entry<'_>) {
        let span = entry.span;
        if !matches!(
            entry.key,
            "dhcp4" | "dhcp6" | "accept-ra" | "gateway4" | "gateway6" | "mtu" | "macaddress"
        ) {
            return self.other_key(entry);
        }
        let Some(text) = self.text(entry).map(|text| text.value) else {
            return;
        };
        let report = &mut self.report;
        let Some(device) = find_device(&mut self.network, &mut self.vlans, &self.places, id) else {
            return;
        };
        match entry.key {
            "mtu" => {
                if let Some(mtu) = mtu(&text, span, report) {
                    set(&mut device.mtu, mtu, report);
                }
            }
            "macaddress" => {
                if let Some(mac) = mac(&text, span, report) {
                    set(&mut device.mac, mac, report);
                }
            }
            "gateway4" | "gateway6" => {
                let finding = Diagnostic::new(
                    Code::DeprecatedKey,
                    entry.key_span,
                    format!("{} is outdated", entry.key),
                );
                report.finding(
                    finding.with_help(format!("write routes: [{{to: default, via: {text}}}]")),
                );
                if let Some(via) = parsed::<IpAddr>(&text, span, report) {
                    if via.value.is_ipv4() == (entry.key == "gateway4") {
                        let route = Route::new(Network::default_like(via.value), Some(via.value));
                        device.add_route(Located::new(route, span));
                        report.mapped(span);
                    } else {
                        refused(span, format_args!("{text} is of the other family"), report);
                    }
                }
            }
            _ => match boolean(&text) {
                Some(on) => {
                    let slot = match entry.key {
                        "dhcp4" => &mut device.dhcp_v4,
                        "dhcp6" => &mut device.dhcp_v6,
                        _ => &mut device.accept_ra,
                    };
                    set(slot, Located::new(on, span), report);
                }
                None => refused(
                    span,
                    format_args!("{text:?} is neither true nor false"),
                    report,
                ),
            },
        }
    }

    fn address(&mut self, file: FileId, id: &str, item: &Node) {
        let (text, range) = match &item.value {
            Value::Scalar(text) => (text.as_str(), item.range.clone()),
            // An address with settings of its own.
            Value::Map(entries) => match entries.first() {
                Some((key, value)) => {
                    for setting in self.map(file, value, "an address") {
                        self.other_key(&setting);
                    }
                    (key.text().unwrap_or(""), key.range.clone())
                }
                None => return,
            },
            Value::List(_) => {
                let span = Span::new(file, item.range.start..item.end());
                return refused(span, "a list is no address", &mut self.report);
            }
        };
        let span = Span::new(file, range);
        let address = parsed::<Cidr>(text, span, &mut self.report);
        if let (Some(device), Some(address)) = (
            find_device(&mut self.network, &mut self.vlans, &self.places, id),
            address,
        ) {
            self.report.mapped(span);
            if !device
                .addresses
                .iter()
                .any(|known| known.value == address.value)
            {
                device.addresses.push(address);
            }
        }
    }

    fn route(&mut self, file: FileId, id: &str, item: &Node) {
        let span = Span::new(file, item.range.start..item.end());
        let mut route = Route::new(Network::DEFAULT_V4, None);
        let (mut to, mut default, mut whole) = (None, false, true);
        for entry in self.map(file, item, "a route") {
            let span = entry.span;
            let Some(text) = self.text(&entry).map(|text| text.value) else {
                whole = false;
                continue;
            };
            let report = &mut self.report;
            report.mapped(span);
            let understood = match entry.key {
                "to" if text == "default" => {
                    default = true;
                    true
                }
                "to" => {
                    to = network(&text, span, report).map(|to| to.value);
                    to.is_some()
                }
                "via" => {
                    route.via = parsed::<IpAddr>(&text, span, report).map(|via| via.value);
                    route.via.is_some()
                }
                "metric" => {
                    route.metric = number(&text, 0..=u32::MAX, span, report).map(|n| n.value);
                    route.metric.is_some()
                }
                "table" => {
                    route.table = number(&text, 1..=u32::MAX, span, report).map(|n| n.value);
                    route.table.is_some()
                }
                "on-link" => {
                    route.on_link = boolean(&text) == Some(true);
                    boolean(&text).is_some()
                }
                // What it is without a word.
                "type" if text == "unicast" => true,
                "scope" if matches!(text.as_str(), "link" | "global") => true,
                // Without these the route would be another.
                _ => {
                    let why = format!("a route with {} is not taken over", entry.key);
                    report.unsupported(span, why, "add it by other means");
                    false
                }
            };
            whole &= understood;
        }
        let to = to.or_else(|| {
            default.then(|| route.via.map_or(Network::DEFAULT_V4, Network::default_like))
        });
        match (
            to,
            find_device(&mut self.network, &mut self.vlans, &self.places, id),
        ) {
            (Some(to), Some(device)) if whole => {
                route.to = to;
                device.add_route(Located::new(route, span));
            }
            _ => self.report.unsupported(
                span,
                "the route as a whole is not taken over",
                "correct it",
            ),
        }
    }

    /// The entries of what must be a mapping.
    fn map<'n>(&mut self, file: FileId, node: &'n Node, of: &str) -> Vec<Entry<'n>> {
        yaml::map(file, node, of, &mut self.report)
    }

    /// The text of what must be a scalar.
    fn text(&mut self, entry: &Entry<'_>) -> Option<Located<String>> {
        yaml::text(entry, &mut self.report)
    }

    /// The texts of what must be a list of scalars.
    fn texts(&mut self, file: FileId, entry: &Entry<'_>) -> Vec<Located<String>> {
        yaml::texts(file, entry, &mut self.report)
    }

    fn other_key(&mut self, entry: &Entry<'_>) {
        if NOT_TAKEN.contains(&entry.key) {
            let why = format!("{} is not taken over", entry.key);
            self.report
                .unsupported(entry.span, why, "set it by other means, or do without");
        } else if TAKEN.contains(&entry.key) {
            let why = format!("{} has no place here", entry.key);
            self.report.breach(
                Code::MisplacedKey,
                entry.span,
                why,
                "move it to where it belongs",
            );
        } else {
            self.report.unsupported(
                entry.span,
                "netplan refuses a file with keys it does not know",
                "correct it",
            );
            unknown_key(
                entry.key,
                entry.key_span,
                Dialect::Netplan,
                &TAKEN,
                &mut self.report,
            );
        }
    }

    fn finish(mut self) -> Reading {
        for (name, device) in core::mem::take(&mut self.vlans) {
            match (self.ids.remove(&name.value), self.links.remove(&name.value)) {
                (Some(id), Some(link)) => self.network.vlans.push(DesiredVlan {
                    name,
                    id,
                    link,
                    device,
                }),
                _ => self.report.breach(
                    Code::MissingKey,
                    name.span,
                    "it lacks a valid id or link, so there is no VLAN",
                    "add them",
                ),
            }
        }
        let bonds = self.network.bonds.iter().map(|bond| &bond.name);
        let vlans = self.network.vlans.iter().map(|vlan| &vlan.name);
        let bridges = self.network.bridges.iter().map(|bridge| &bridge.name);
        let mut devices = self.ethernets.clone();
        devices.extend(
            bonds
                .chain(vlans)
                .chain(bridges)
                .map(|name| (name.value.clone(), Some(name.value.clone()))),
        );
        let mut used: BTreeSet<String> = BTreeSet::new();
        for bond in &mut self.network.bonds {
            let selectors = &mut bond.selectors;
            bond.ports.retain(|port| {
                let id = &port.name.value;
                let Some(found) = self.selectors.get(id).filter(|found| !found.is_empty()) else {
                    return true;
                };
                used.insert(id.clone());
                selectors.extend(found.iter().cloned());
                false
            });
        }
        let report = &mut self.report;
        let (defined, ranks) = (&self.defined, &self.ranks);
        let mut resolve = |reference: &mut Reference| -> bool {
            used.insert(reference.value.clone());
            let rank = ranks.get(&reference.span.file);
            if rank.is_some_and(|rank| defined.get(&reference.value) > Some(rank)) {
                let id = &reference.value;
                let what = format!(
                    "netplan refuses the file, since {id} is defined in one that is read later; here the order does \
                     not matter"
                );
                report.changed(reference.span, what);
            }
            match devices.get(&reference.value) {
                Some(Some(device)) => {
                    device.clone_into(&mut reference.value);
                    true
                }
                Some(None) => {
                    let why = format!(
                        "the name of the device of {:?} is not known",
                        reference.value
                    );
                    report.unsupported(reference.span, why, "give it with set-name");
                    false
                }
                None => {
                    let why = format!(
                        "{:?} is not defined, for which netplan refuses the file",
                        reference.value
                    );
                    report.breach(
                        Code::UndefinedReference,
                        reference.span,
                        why,
                        "add it below ethernets, or correct the name",
                    );
                    false
                }
            }
        };
        for bond in &mut self.network.bonds {
            bond.ports.retain_mut(|port| resolve(&mut port.name));
            bond.options
                .retain_mut(|option| match &mut option.value.value {
                    OptionValue::Name(name) => {
                        let mut reference = Located::new(name.clone(), option.span);
                        let defined = resolve(&mut reference);
                        *name = reference.value;
                        defined
                    }
                    _ => true,
                });
        }
        for bridge in &mut self.network.bridges {
            bridge.ports.retain_mut(|port| resolve(&mut port.name));
        }
        self.network
            .vlans
            .retain_mut(|vlan| resolve(&mut vlan.link));
        self.owners();
        self.of_ports(&devices);
        for (id, key, whole) in core::mem::take(&mut self.said) {
            if let Some(Some(device)) = devices.get(&id) {
                self.report.device(Located::new(device.clone(), key));
            }
            if used.contains(&id) {
                self.report.mapped(key);
            } else {
                let why = format!("{id} is no port of a bond, and nothing stands on it");
                self.report.unsupported(whole, why, "leave it to netplan");
            }
        }
        for bond in &self.network.bonds {
            for (id, span, why) in unsent(bond) {
                self.report.changed(span, why);
                if id == OptionId::LpInterval {
                    let message = "systemd-networkd sends it only beside arp-interval";
                    let finding = Diagnostic::new(Code::LpIntervalUnsent, span, message);
                    self.report
                        .finding(finding.with_help("remove it, or set it by other means"));
                }
            }
            let named = self.renderers.get(&bond.name.value);
            if bond.device.mac.is_none() && !named.copied().unwrap_or(self.network_manager) {
                let message = format!("{} gets a made-up hardware address", bond.name.value);
                self.report.finding(
                    Diagnostic::new(Code::MadeUpMac, bond.name.span, message)
                        .with_help("write macaddress with the address that is wanted"),
                );
            }
            if bond.device.mac.is_none() {
                let what = "without macaddress systemd-networkd makes an address up; here the bond takes its first \
                            port's";
                self.report.changed(bond.name.span, what);
            }
        }
        Reading {
            network: self.network,
            report: self.report,
            diagnostics: self.diagnostics,
        }
    }
}

impl Reader {
    /// What netplan refuses, or leaves out, since it does not fit who has which port.
    fn owners(&mut self) {
        let report = &mut self.report;
        let mut owners: BTreeMap<String, (String, Span, bool)> = BTreeMap::new();
        let mut is_first = |port: &Located<String>, owner: &str, is_bond: bool| {
            let Some((first, span, in_bond)) = owners.get(&port.value) else {
                let first = (owner.to_owned(), port.span, is_bond);
                owners.insert(port.value.clone(), first);
                return true;
            };
            let why = format!(
                "netplan refuses the file, since {} is in {first} already",
                port.value
            );
            report.unsupported(port.span, why, "leave it to one of them");
            report.finding(port_of_two(port, owner, is_bond, (first, *span, *in_bond)));
            false
        };
        for bond in &mut self.network.bonds {
            let owner = &bond.name.value;
            bond.ports.retain(|port| is_first(&port.name, owner, true));
        }
        for bridge in &mut self.network.bridges {
            let owner = &bridge.name.value;
            bridge
                .ports
                .retain(|port| is_first(&port.name, owner, false));
        }
        for bond in &self.network.bonds {
            let primary = bond.option(OptionId::Primary);
            let Some((option, OptionValue::Name(primary))) =
                primary.map(|option| (option, &option.value.value))
            else {
                continue;
            };
            let mut ports = bond.ports.iter();
            if bond.selectors.is_empty() && !ports.any(|port| port.name.value == *primary) {
                let what = format!(
                    "netplan leaves it out, since {primary} is no port of {}",
                    bond.name.value
                );
                self.report.changed(option.span, what);
            }
        }
    }

    /// What was said of ports that belongs to their bonds, and times that the renderer does not take.
    fn of_ports(&mut self, devices: &BTreeMap<String, Option<String>>) {
        let bonds = self.network.bonds.iter();
        let ports: BTreeSet<&str> = bonds
            .flat_map(|bond| bond.ports.iter().map(|port| port.name.value.as_str()))
            .collect();
        let device = |id: &str| devices.get(id).and_then(Option::as_deref);
        for (id, mtu) in core::mem::take(&mut self.mtus) {
            if let Some(port) = device(&id) {
                self.report.port_mtu(port, mtu);
            }
        }
        for (id, span) in core::mem::take(&mut self.addressed) {
            if let Some(port) = device(&id).filter(|port| ports.contains(port)) {
                let message =
                    format!("{port} is a port of a bond, and what arrives there is the bond's");
                self.report.finding(
                    Diagnostic::new(Code::PortAddressed, span, message)
                        .with_help("write it for the bond"),
                );
            }
        }
        for (bond, span, key, ms) in core::mem::take(&mut self.with_unit) {
            let named = self.renderers.get(&bond).copied();
            if named.unwrap_or(self.network_manager) {
                self.report.changed(
                    span,
                    "NetworkManager drops a time with a unit; here it counts",
                );
                let message = "NetworkManager drops a time with a unit, and takes 100 ms";
                self.report.finding(
                    Diagnostic::new(Code::SuffixUnderNm, span, message)
                        .with_help("write bare milliseconds")
                        .with_fix(span, format!("{key}: {ms}")),
                );
            }
        }
    }
}

fn find_device<'n>(
    network: &'n mut DesiredNetwork,
    vlans: &'n mut [(Located<String>, DeviceSettings)],
    places: &BTreeMap<String, Place>,
    id: &str,
) -> Option<&'n mut DeviceSettings> {
    Some(match *places.get(id)? {
        Place::Bond(at) => &mut network.bonds[at].device,
        Place::Vlan(at) => &mut vlans[at].1,
        Place::Bridge(at) => &mut network.bridges[at].device,
    })
}

/// Writes one file.
pub fn write(network: &DesiredNetwork) -> Written {
    let mut writer = Writer {
        text: "network:\n  version: 2\n".to_owned(),
        report: Report::default(),
    };
    writer.ethernets(network);
    if !network.bonds.is_empty() {
        writer.text.push_str("  bonds:\n");
    }
    for bond in &network.bonds {
        writer.bond(bond);
    }
    if !network.vlans.is_empty() {
        writer.text.push_str("  vlans:\n");
    }
    for vlan in &network.vlans {
        writer.line(4, &quoted(&vlan.name.value), "");
        writer.line(6, "id", vlan.id.value);
        writer.line(6, "link", quoted(&vlan.link.value));
        writer.device(&vlan.device);
    }
    if !network.bridges.is_empty() {
        writer.text.push_str("  bridges:\n");
    }
    for bridge in &network.bridges {
        writer.bridge(bridge);
    }
    // netplan warns of files that others may read.
    Written::one(HOME, 0o600, writer.text, writer.report)
}

/// The ids of the definitions of a bond's selectors.
fn selector_ids(bond: &DesiredBond) -> impl Iterator<Item = String> {
    (0..bond.selectors.len()).map(|index| format!("{}-select{index}", bond.name.value))
}

/// Whether netplan can say what a selector asks for.
const fn said(selector: &DesiredSelector) -> bool {
    selector.path.is_none()
}

struct Writer {
    text: String,
    report: Report,
}

impl Writer {
    /// Definitions of what the others refer to.
    fn ethernets(&mut self, network: &DesiredNetwork) {
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
        let links = network.vlans.iter().map(|vlan| &vlan.link);
        let bonds = network.bonds.iter().map(|bond| &bond.name);
        let vlans = network.vlans.iter().map(|vlan| &vlan.name);
        let bridges = network.bridges.iter().map(|bridge| &bridge.name);
        let mut known: BTreeSet<&str> = bonds
            .chain(vlans)
            .chain(bridges)
            .map(|name| name.value.as_str())
            .collect();
        let mut names: Vec<&str> = Vec::new();
        for name in ports
            .chain(bridge_ports)
            .chain(links)
            .map(|name| name.value.as_str())
        {
            if known.insert(name) {
                names.push(name);
            }
        }
        let selectors: Vec<(String, &DesiredSelector)> = network
            .bonds
            .iter()
            .flat_map(|bond| selector_ids(bond).zip(&bond.selectors))
            .collect();
        if !names.is_empty() || selectors.iter().any(|(_, selector)| said(selector)) {
            self.text.push_str("  ethernets:\n");
        }
        for name in names {
            self.line(4, &quoted(name), "{}");
        }
        for (id, selector) in selectors {
            self.selector(&id, selector);
        }
    }

    /// The definition of ports by what they are.
    fn selector(&mut self, id: &str, selector: &DesiredSelector) {
        if !said(selector) {
            let why = "netplan finds no devices by where they are plugged in";
            return self.report.unsupported(
                selector.span,
                why,
                "use the address, the driver or the name",
            );
        }
        self.line(4, &quoted(id), "");
        self.line(6, "match", "");
        for (key, value) in selector.criteria() {
            let key = if key == "mac" { "macaddress" } else { key };
            self.line(8, key, quoted(&value));
        }
        uncounted("netplan", selector, &mut self.report);
        for option in &selector.options {
            unspelt("netplan", &option.value, option.span, &mut self.report);
        }
    }

    fn bond(&mut self, bond: &DesiredBond) {
        self.line(4, &quoted(&bond.name.value), "");
        let ids: Vec<String> = selector_ids(bond)
            .zip(&bond.selectors)
            .filter_map(|(id, selector)| said(selector).then_some(id))
            .collect();
        let names = bond.ports.iter().map(|port| port.name.value.as_str());
        self.list(6, "interfaces", names.chain(ids.iter().map(String::as_str)));
        for port in &bond.ports {
            for option in &port.options {
                unspelt("netplan", &option.value, option.span, &mut self.report);
            }
        }
        if bond.device.mac.is_none() {
            let what = "under netplan, systemd-networkd makes an address up for a bond without one";
            self.report.changed(bond.name.span, what);
        }
        let mut parameters = Vec::new();
        for option in &bond.options {
            let change = &option.value;
            let (spec, text) = (change.id.spec(), change.text());
            let unknown = WORDS_UNKNOWN
                .iter()
                .any(|(id, words)| *id == change.id && words.contains(&text.as_str()))
                || (NO_ZERO.contains(&change.id) && change.value == OptionValue::Number(0));
            let port = match &change.value {
                OptionValue::Name(name) => bond.ports.iter().any(|port| port.name.value == *name),
                _ => true,
            };
            let Some(key) = spec.spelled(Dialect::Netplan).first().filter(|_| !unknown) else {
                unspelt("netplan", change, option.span, &mut self.report);
                continue;
            };
            if !port {
                let why =
                    format!("{text:?} is not among the ports, for which netplan refuses the file");
                self.report
                    .unsupported(option.span, why, "correct the name");
                continue;
            }
            let value = match (&change.value, spec.kind) {
                (OptionValue::Number(number), Kind::Flag) => (*number != 0).to_string(),
                (OptionValue::Number(_), Kind::Number { .. } | Kind::NumberOrWord { .. }) => text,
                (OptionValue::Ipv4(list), _) => {
                    let list: Vec<String> = list.iter().map(|ip| quoted(&ip.to_string())).collect();
                    format!("[{}]", list.join(", "))
                }
                _ => quoted(&text),
            };
            parameters.push((*key, value));
        }
        for (_, span, why) in unsent(bond) {
            self.report.changed(span, why);
        }
        if !parameters.is_empty() {
            self.line(6, "parameters", "");
        }
        for (key, value) in parameters {
            self.line(8, key, value);
        }
        self.device(&bond.device);
    }

    fn bridge(&mut self, bridge: &DesiredBridge) {
        self.line(4, &quoted(&bridge.name.value), "");
        self.list(
            6,
            "interfaces",
            bridge.ports.iter().map(|port| port.name.value.as_str()),
        );
        self.line(6, "parameters", "");
        self.line(8, "stp", bridge.stp.as_ref().is_some_and(|stp| stp.value));
        if let Some(delay) = &bridge.forward_delay {
            self.line(8, "forward-delay", delay.value);
        }
        for span in bridge.vlan_places() {
            let why = "netplan knows no VLANs in bridges";
            self.report.unsupported(
                span,
                why,
                "set them with the bridge tool, or use systemd-networkd",
            );
        }
        self.device(&bridge.device);
    }

    fn device(&mut self, device: &DeviceSettings) {
        for (key, asked) in [("dhcp4", &device.dhcp_v4), ("dhcp6", &device.dhcp_v6)] {
            if asked.as_ref().is_some_and(|asked| asked.value) {
                self.line(6, key, true);
            }
        }
        if let Some(accept) = &device.accept_ra {
            self.line(6, "accept-ra", accept.value);
        }
        if let Some(mtu) = &device.mtu {
            self.line(6, "mtu", mtu.value);
        }
        if let Some(mac) = &device.mac {
            self.line(6, "macaddress", quoted(&mac.value.to_string()));
        }
        let addresses: Vec<String> = device
            .addresses
            .iter()
            .map(|address| address.value.to_string())
            .collect();
        self.list(6, "addresses", addresses.iter().map(String::as_str));
        let v4 = device
            .gateway_v4
            .as_ref()
            .map(|gateway| IpAddr::V4(gateway.value));
        let v6 = device
            .gateway_v6
            .as_ref()
            .map(|gateway| IpAddr::V6(gateway.value));
        let gateways = v4
            .into_iter()
            .chain(v6)
            .map(|via| Route::new(Network::default_like(via), Some(via)));
        let routes: Vec<Route> = gateways
            .chain(device.routes.iter().map(|route| route.value))
            .collect();
        if !routes.is_empty() {
            self.line(6, "routes", "");
        }
        for route in routes {
            // Writing to a string cannot fail.
            let _ = writeln!(self.text, "        - to: {}", quoted(&route.to.to_string()));
            if let Some(via) = route.via {
                self.line(10, "via", quoted(&via.to_string()));
            }
            if let Some(metric) = route.metric {
                self.line(10, "metric", metric);
            }
            if let Some(table) = route.table {
                self.line(10, "table", table);
            }
            if route.on_link {
                self.line(10, "on-link", true);
            }
        }
        if !device.dns.is_empty() || !device.search.is_empty() {
            self.line(6, "nameservers", "");
            let servers: Vec<String> = device
                .dns
                .iter()
                .map(|server| server.value.to_string())
                .collect();
            self.list(8, "addresses", servers.iter().map(String::as_str));
            self.list(
                8,
                "search",
                device.search.iter().map(|domain| domain.value.as_str()),
            );
        }
    }

    /// A list on one line; nothing if it is empty.
    fn list<'t>(&mut self, indent: usize, key: &str, items: impl Iterator<Item = &'t str>) {
        let items: Vec<String> = items.map(quoted).collect();
        if !items.is_empty() {
            self.line(indent, key, format_args!("[{}]", items.join(", ")));
        }
    }

    fn line(&mut self, indent: usize, key: &str, value: impl core::fmt::Display) {
        let line = format!("{:indent$}{key}: {value}", "");
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{}", line.trim_end());
    }
}
