//! cloud-init's network configuration, versions 1 and 2: the key `network` of `/etc/cloud/cloud.cfg.d/*.cfg`, or a
//! `network-config` of its own.
//!
//! Version 2 is netplan's language, and read as such. Version 1 is written: it passes every option of the driver through,
//! where version 2 has names for fewer, and it is what all its renderers were made for.
//!
//! Facts this relies on (cloud-init 25.1): of several files the last one counts; a physical device with an address is
//! given the name it stands under; parameters of a bond are spelt with `bond-` or `bond_`, and each renderer finds only
//! some of the spellings: sysconfig none that mixes `-` and `_`, that of NetworkManager none with `bond_`; numbers for
//! words are passed on, and refused by netplan and systemd-networkd.

use core::net::IpAddr;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use oxbond_core::option::{Dialect, Kind, OptionId, OptionKey, OptionValue, find_in_dialect};

use super::common::{
    leads_out, mac, mtu, name, network, number, option, parsed, port_option, prefix_len, refused,
    replaced, set, set_option, unknown_key, unselected, unspelt, vid,
};
use super::netplan;
use super::yaml::{self, Entry, Node, boolean, quoted};
use super::{Reading, Written};
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{
    Cidr, DesiredBond, DesiredBridge, DesiredBridgePort, DesiredNetwork, DesiredPort, DesiredVlan,
    DeviceSettings, Network, Route,
};
use crate::report::Report;
use crate::span::{FileId, Located, Sources, Span};

/// Where it is written to.
const HOME: &str = "/etc/cloud/cloud.cfg.d/50-oxbond.cfg";

/// Keys that are read, for suggestions.
const TAKEN: [&str; 31] = [
    "accept-ra",
    "address",
    "bond_interfaces",
    "bridge_fd",
    "bridge_interfaces",
    "bridge_stp",
    "config",
    "control",
    "destination",
    "dns_nameservers",
    "dns_search",
    "gateway",
    "interface",
    "mac_address",
    "metric",
    "mtu",
    "name",
    "netmask",
    "network",
    "params",
    "prefix",
    "routes",
    "search",
    "subnets",
    "type",
    "version",
    "vlan_id",
    "vlan_link",
    "vlan",
    "bond",
    "bridge",
];

/// Keys it knows whose meaning is not taken over.
const NOT_TAKEN: [&str; 16] = [
    "bridge_ageing",
    "bridge_bridgeprio",
    "bridge_gcint",
    "bridge_hello",
    "bridge_hw",
    "bridge_maxage",
    "bridge_maxwait",
    "bridge_pathcost",
    "bridge_portprio",
    "bridge_ports",
    "bridge_waitport",
    "broadcast",
    "ipv4",
    "ipv6",
    "keep_configuration",
    "wakeonlan",
];

/// Reads all files of a set, of which one counts.
pub fn read(sources: &Sources) -> Reading {
    let mut report = Report::default();
    let mut diagnostics = Vec::new();
    let mut documents = Vec::new();
    for file in sources.by_name() {
        let text = &sources.get(file).text;
        match yaml::parse(text, &mut |range| report.mapped(Span::new(file, range))) {
            Ok(None) => {}
            Ok(Some(document)) => documents.push((file, document)),
            Err(wrong) => {
                let at = wrong.at.min(text.trim_end().len());
                let message = format!("this is not YAML: {}", wrong.message);
                diagnostics.push(
                    Diagnostic::error(Code::Syntax, Span::new(file, at..at), message)
                        .with_help("correct it; cloud-init leaves the whole file out"),
                );
                let whole = Span::new(file, 0..text.len());
                let why = "the file is not YAML as cloud-init reads it";
                report.unsupported(whole, why, "correct it");
            }
        }
    }
    let mut configurations = Vec::new();
    for (file, document) in &documents {
        configurations.extend(configuration(*file, document, &mut report));
    }
    let last = configurations.pop();
    for configuration in configurations {
        let why = "a later file has a network configuration too, and the last one counts";
        let way_out = "put both into one";
        report.breach(Code::HiddenFile, configuration.span, why, way_out);
    }
    let mut reading = last.map_or_else(Reading::default, |last| last.read());
    report.extend(reading.report);
    reading.report = report;
    diagnostics.append(&mut reading.diagnostics);
    reading.diagnostics = diagnostics;
    reading
}

/// The network configuration in a file.
struct Configuration<'n> {
    file: FileId,
    /// What stands below `network`, or the whole file.
    node: &'n Node,
    span: Span,
}

/// Finds it; what else a file says of the machine is no matter of networks.
fn configuration<'n>(
    file: FileId,
    document: &'n Node,
    report: &mut Report,
) -> Option<Configuration<'n>> {
    let entries = yaml::map(file, document, "the file", report);
    let found = entries.iter().rfind(|entry| entry.key == "network");
    if let Some(network) = found {
        report.mapped(network.key_span);
        for entry in entries.iter().filter(|entry| entry.key != "network") {
            let why = "it is no matter of networks";
            report.unsupported(entry.span, why, "leave it to cloud-init");
        }
        let (node, span) = (network.value, network.span);
        return Some(Configuration { file, node, span });
    }
    if entries.is_empty() {
        return None;
    }
    let span = Span::new(file, document.range.start..document.end());
    let node = document;
    Some(Configuration { file, node, span })
}

impl Configuration<'_> {
    fn read(self) -> Reading {
        let mut reader = Reader::new(self.file);
        let entries = yaml::map(self.file, self.node, "network", &mut reader.report);
        let version = entries.iter().rfind(|entry| entry.key == "version");
        match version.and_then(|entry| entry.value.text()) {
            Some("1") => {
                for entry in &entries {
                    match entry.key {
                        "version" => reader.report.mapped(entry.span),
                        "config" if entry.value.text() == Some("disabled") => {
                            reader.report.mapped(entry.span);
                        }
                        "config" => reader.config(entry),
                        _ => reader.other_key(entry),
                    }
                }
                reader.finish()
            }
            Some("2") => {
                let mut reading = netplan::read_network(self.file, self.node);
                for bond in &reading.network.bonds {
                    if let Some(option) = bond.option(OptionId::ResendIgmp) {
                        let what = "only cloud-init's renderer for netplan passes it on; here it takes effect";
                        reading.report.changed(option.span, what);
                    }
                }
                reading
            }
            other => {
                let only_config = entries.iter().find(|entry| entry.key == "config");
                let disabled =
                    only_config.is_some_and(|entry| entry.value.text() == Some("disabled"));
                if disabled && other.is_none() {
                    reader.report.mapped(self.span);
                } else {
                    let why = "a network configuration has version: 1 or 2";
                    let way_out = "write it";
                    reader
                        .report
                        .breach(Code::MissingKey, self.span, why, way_out);
                }
                reader.finish()
            }
        }
    }
}

/// Where a device stands in the network.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Bond(usize),
    Vlan(usize),
    Bridge(usize),
}

/// A VLAN of which not all may be said.
struct LooseVlan {
    name: Located<String>,
    id: Option<Located<u16>>,
    link: Option<Located<String>>,
    device: DeviceSettings,
}

/// A physical device, which is judged once it is known what it is for.
struct Physical {
    name: String,
    said: Vec<Span>,
    addressed: Vec<Span>,
}

struct Reader {
    file: FileId,
    bonds: Vec<DesiredBond>,
    vlans: Vec<LooseVlan>,
    bridges: Vec<DesiredBridge>,
    places: HashMap<String, Place>,
    physical: Vec<Physical>,
    report: Report,
}

impl Reader {
    fn new(file: FileId) -> Self {
        Self {
            file,
            bonds: Vec::new(),
            vlans: Vec::new(),
            bridges: Vec::new(),
            places: HashMap::new(),
            physical: Vec::new(),
            report: Report::default(),
        }
    }

    fn config(&mut self, entry: &Entry<'_>) {
        let items = yaml::items(entry, &mut self.report);
        // Routes and name servers of the machine find their devices only when all are known.
        let mut of_machine = Vec::new();
        for item in items {
            let span = self.span(item);
            let entries = yaml::map(self.file, item, "a device", &mut self.report);
            let kind = entries.iter().rfind(|entry| entry.key == "type");
            match kind.and_then(|entry| entry.value.text()) {
                Some(kind @ ("bond" | "vlan" | "bridge" | "physical")) => {
                    self.device(kind, span, &entries);
                }
                Some("nameserver" | "route") => of_machine.push((span, entries)),
                Some("loopback") => self.report.mapped(span),
                Some(other) => {
                    let why = format!("devices of type {other} are not taken over");
                    self.report.unsupported(span, why, "leave it to cloud-init");
                }
                None => {
                    let why = "a device has a type";
                    self.report.breach(Code::MissingKey, span, why, "add it");
                }
            }
        }
        for (span, entries) in of_machine {
            let kind = entries.iter().rfind(|entry| entry.key == "type");
            if kind.and_then(|entry| entry.value.text()) == Some("route") {
                self.route_of_machine(span, &entries);
            } else {
                self.nameserver(span, &entries);
            }
        }
    }

    fn device(&mut self, kind: &str, span: Span, entries: &[Entry<'_>]) {
        let found = entries.iter().rfind(|entry| entry.key == "name");
        let Some(text) = found.and_then(|entry| Some((entry.span, entry.value.text()?))) else {
            let why = "a device has a name";
            return self.report.breach(Code::MissingKey, span, why, "add it");
        };
        let Some(own) = name(text.1, text.0, &mut self.report) else {
            let why = "it has no possible name";
            return self.report.unsupported(span, why, "give it another");
        };
        self.report.device(own.clone());
        if kind == "physical" {
            return self.physical(&own.value, entries);
        }
        let place = match kind {
            "bond" => {
                self.bonds.push(DesiredBond::new(own.clone()));
                Place::Bond(self.bonds.len() - 1)
            }
            "vlan" => {
                self.vlans.push(LooseVlan {
                    name: own.clone(),
                    id: None,
                    link: None,
                    device: DeviceSettings::default(),
                });
                Place::Vlan(self.vlans.len() - 1)
            }
            _ => {
                self.bridges.push(DesiredBridge::new(own.clone()));
                Place::Bridge(self.bridges.len() - 1)
            }
        };
        if let Some(before) = self.places.insert(own.value.clone(), place) {
            let span = self.take_away(before);
            replaced(span, &mut self.report);
        }
        for entry in entries {
            self.device_key(place, entry);
        }
        let required: &[&str] = match place {
            Place::Bond(_) => &["bond_interfaces", "params"],
            Place::Vlan(_) => &["vlan_link", "vlan_id"],
            Place::Bridge(_) => &["bridge_interfaces"],
        };
        for key in required {
            if !entries.iter().any(|entry| entry.key == *key) {
                let why = format!("cloud-init refuses a {kind} without {key}");
                self.report
                    .breach(Code::MissingKey, own.span, why, "add it");
            }
        }
        if let Place::Bridge(at) = place
            && self.bridges[at].stp.is_none()
        {
            let what =
                "whether a bridge speaks STP unless told is up to the renderer; here it does not";
            self.report.changed(own.span, what);
        }
    }

    /// Makes an earlier device of the same name void. Says where it was named.
    fn take_away(&mut self, place: Place) -> Span {
        // An empty name stands for none.
        let name = match place {
            Place::Bond(at) => &mut self.bonds[at].name,
            Place::Vlan(at) => &mut self.vlans[at].name,
            Place::Bridge(at) => &mut self.bridges[at].name,
        };
        name.value.clear();
        name.span
    }

    fn settings(&mut self, place: Place) -> &mut DeviceSettings {
        match place {
            Place::Bond(at) => &mut self.bonds[at].device,
            Place::Vlan(at) => &mut self.vlans[at].device,
            Place::Bridge(at) => &mut self.bridges[at].device,
        }
    }

    fn device_key(&mut self, place: Place, entry: &Entry<'_>) {
        let span = entry.span;
        match (entry.key, place) {
            ("type" | "name", _) => self.report.mapped(span),
            ("mtu", _) => {
                let text = yaml::text(entry, &mut self.report);
                if let Some(mtu) = text.and_then(|text| mtu(&text.value, span, &mut self.report)) {
                    let mut slot = self.settings(place).mtu.take();
                    set(&mut slot, mtu, &mut self.report);
                    self.settings(place).mtu = slot;
                }
            }
            ("mac_address", _) => {
                let text = yaml::text(entry, &mut self.report);
                if let Some(mac) = text.and_then(|text| mac(&text.value, span, &mut self.report)) {
                    self.report.mapped(span);
                    self.settings(place).mac = Some(mac);
                }
            }
            ("accept-ra" | "accept_ra", _) => match entry.value.text().and_then(boolean) {
                Some(on) => {
                    self.report.mapped(span);
                    self.settings(place).accept_ra = Some(Located::new(on, span));
                }
                None => refused(span, "it is neither true nor false", &mut self.report),
            },
            ("subnets", _) => {
                for item in yaml::items(entry, &mut self.report) {
                    self.subnet(place, item);
                }
            }
            ("bond_interfaces", Place::Bond(at)) => {
                for port in yaml::texts(self.file, entry, &mut self.report) {
                    self.bonds[at].ports.extend(
                        name(&port.value, port.span, &mut self.report).map(|name| DesiredPort {
                            name,
                            options: Vec::new(),
                        }),
                    );
                }
            }
            ("params", Place::Bond(at)) => {
                self.report.mapped(entry.key_span);
                for entry in yaml::map(self.file, entry.value, "params", &mut self.report) {
                    self.bond_option(at, &entry);
                }
            }
            ("bridge_interfaces", Place::Bridge(at)) => {
                for port in yaml::texts(self.file, entry, &mut self.report) {
                    let port = name(&port.value, port.span, &mut self.report);
                    self.bridges[at]
                        .ports
                        .extend(port.map(DesiredBridgePort::new));
                }
            }
            ("params", Place::Bridge(at)) => {
                self.report.mapped(entry.key_span);
                for entry in yaml::map(self.file, entry.value, "params", &mut self.report) {
                    self.bridge_option(at, &entry);
                }
            }
            ("vlan_link", Place::Vlan(at)) => {
                let link = yaml::text(entry, &mut self.report)
                    .and_then(|link| name(&link.value, span, &mut self.report));
                if let Some(link) = link {
                    set(&mut self.vlans[at].link, link, &mut self.report);
                }
            }
            ("vlan_id", Place::Vlan(at)) => {
                let text = yaml::text(entry, &mut self.report);
                if let Some(id) = text.and_then(|text| vid(&text.value, span, &mut self.report)) {
                    set(&mut self.vlans[at].id, id, &mut self.report);
                }
            }
            _ => self.other_key(entry),
        }
    }

    /// A parameter of a bond.
    fn bond_option(&mut self, at: usize, entry: &Entry<'_>) {
        let span = entry.span;
        // Dashes and underscores may be mixed.
        let folded = entry.key.replace('-', "_");
        let spec = find_in_dialect(Dialect::CloudInit, entry.key)
            .or_else(|| find_in_dialect(Dialect::CloudInit, &folded));
        let Some((spec, OptionKey::Bond(id))) = spec.map(|spec| (spec, spec.key)) else {
            return unknown_key(
                entry.key,
                entry.key_span,
                Dialect::CloudInit,
                &[],
                &mut self.report,
            );
        };
        let report = &mut self.report;
        let text = if entry.value.text().is_none()
            && matches!(spec.kind, Kind::Ipv4List(_) | Kind::Ipv6List(_))
        {
            let texts = yaml::texts(self.file, entry, report);
            let texts: Vec<String> = texts.into_iter().map(|text| text.value).collect();
            Some(texts.join(","))
        } else {
            yaml::text(entry, report).map(|text| match spec.kind {
                Kind::Ipv4List(_) | Kind::Ipv6List(_) => {
                    let words = text.value.split([',', ' ']);
                    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
                    words.join(",")
                }
                _ => text.value,
            })
        };
        let Some(text) = text else {
            return;
        };
        let change = match spec.kind {
            Kind::PortName => {
                name(&text, span, report).map(|port| port_option(id, &port.value, span))
            }
            _ => option(id, &text, span, report),
        };
        let Some(change) = change else {
            return;
        };
        set_option(&mut self.bonds[at], change, report);
        if let Some(loses) = renderer_that_loses(entry.key) {
            let what =
                format!("cloud-init's renderer {loses} does not find it; here it takes effect");
            report.changed(entry.key_span, what);
        }
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if matches!(spec.kind, Kind::Words(_)) && digits {
            let what = "netplan and systemd-networkd refuse the number; here it means its word";
            report.changed(span, what);
        }
    }

    fn bridge_option(&mut self, at: usize, entry: &Entry<'_>) {
        let (span, report) = (entry.span, &mut self.report);
        let bridge = &mut self.bridges[at];
        let text = entry.value.text().unwrap_or("");
        match entry.key.replace('-', "_").as_str() {
            "bridge_stp" => match (boolean(text), text) {
                (Some(on), _) => set(&mut bridge.stp, Located::new(on, span), report),
                (None, "0" | "1") => {
                    set(&mut bridge.stp, Located::new(text == "1", span), report);
                }
                _ => {
                    let why = format_args!("{text:?} is neither on nor off");
                    refused(span, why, report);
                }
            },
            "bridge_fd" => {
                if let Some(delay) = number(text, 0..=255, span, report) {
                    set(&mut bridge.forward_delay, delay, report);
                }
            }
            _ => self.other_key(entry),
        }
    }

    fn physical(&mut self, own: &str, entries: &[Entry<'_>]) {
        let mut physical = Physical {
            name: own.to_owned(),
            said: Vec::new(),
            addressed: Vec::new(),
        };
        for entry in entries {
            let span = entry.span;
            match entry.key {
                "type" | "name" => physical.said.push(span),
                "mac_address" => {
                    let what = format!("it is found by the name it is given, {own}");
                    self.report.changed(span, what);
                }
                "mtu" => {
                    let text = entry.value.text().unwrap_or("");
                    if let Some(mtu) = mtu(text, span, &mut self.report) {
                        self.report.port_mtu(own, mtu);
                        self.report.changed(span, "ports take the bond's MTU");
                    }
                }
                "subnets" => {
                    let manual = |item: &Node| {
                        let kind = item.entries().and_then(|entries| {
                            let kind =
                                entries.iter().find(|(key, _)| key.text() == Some("type"))?;
                            kind.1.text()
                        });
                        kind == Some("manual")
                    };
                    let items = yaml::items(entry, &mut self.report);
                    if items.iter().all(manual) {
                        physical.said.push(span);
                    } else {
                        physical.addressed.push(span);
                    }
                }
                _ => self.other_key(entry),
            }
        }
        self.physical.push(physical);
    }

    fn subnet(&mut self, place: Place, item: &Node) {
        let whole = self.span(item);
        let entries = yaml::map(self.file, item, "a subnet", &mut self.report);
        let text = |key: &str| {
            let entry = entries.iter().rfind(|entry| entry.key == key)?;
            entry.value.text()
        };
        let kind = text("type").unwrap_or("static");
        let on = Some(Located::new(true, whole));
        let mut is_static = false;
        match kind {
            "dhcp" | "dhcp4" => self.settings(place).dhcp_v4 = on,
            "dhcp6" | "ipv6_dhcpv6-stateful" => self.settings(place).dhcp_v6 = on,
            "ipv6_slaac" => self.settings(place).accept_ra = on,
            "ipv6_dhcpv6-stateless" => {
                self.settings(place).accept_ra = on;
                let what = "addresses come from routers; a DHCPv6 server is not asked for the rest";
                self.report.changed(whole, what);
            }
            "static" | "static4" | "static6" => is_static = true,
            "manual" => {}
            other => {
                let why = format!("subnets of type {other} are not taken over");
                return self
                    .report
                    .unsupported(whole, why, "set the addresses by other means");
            }
        }
        if is_static {
            let (address, mask) = (text("address").unwrap_or(""), text("netmask"));
            let address = match (address.contains('/'), mask) {
                (false, Some(mask)) => format!("{address}/{}", prefix_len(mask)),
                _ => address.to_owned(),
            };
            if let Some(address) = parsed::<Cidr>(&address, whole, &mut self.report) {
                self.settings(place).addresses.push(address);
            }
        }
        for entry in &entries {
            let span = entry.span;
            match entry.key {
                "type" => self.report.mapped(span),
                "address" | "netmask" if is_static => self.report.mapped(span),
                "address" | "netmask" => {
                    let why = format!("a subnet of type {kind} has no address");
                    self.report
                        .breach(Code::MisplacedKey, span, why, "write type: static");
                }
                "control" if entry.value.text() == Some("auto") => self.report.mapped(span),
                "control" => {
                    let what = "it is not brought up by itself there; here it always is";
                    self.report.changed(span, what);
                }
                "gateway" => {
                    let text = entry.value.text().unwrap_or("");
                    if let Some(via) = parsed::<IpAddr>(text, span, &mut self.report) {
                        self.report.mapped(span);
                        let route = Route::new(Network::default_like(via.value), Some(via.value));
                        self.settings(place).add_route(Located::new(route, span));
                    }
                }
                "dns_nameservers" => self.servers(place, entry),
                "dns_search" => self.domains(place, entry),
                "mtu" => {
                    let mtu = mtu(entry.value.text().unwrap_or(""), span, &mut self.report);
                    if let Some(mtu) = mtu {
                        let what = "it is the MTU of the device, not of one family";
                        self.report.changed(span, what);
                        self.settings(place).mtu.get_or_insert(mtu);
                    }
                }
                "routes" => {
                    for item in yaml::items(entry, &mut self.report) {
                        let whole = self.span(item);
                        let entries = yaml::map(self.file, item, "a route", &mut self.report);
                        if let Some(route) = self.route(whole, &entries) {
                            self.settings(place).add_route(route);
                        }
                    }
                }
                _ => self.other_key(entry),
            }
        }
    }

    /// One text, or a list of them.
    fn one_or_more(&mut self, entry: &Entry<'_>) -> Vec<Located<String>> {
        match entry.value.text() {
            Some(text) => {
                self.report.mapped(entry.span);
                let words = text.split([' ', ',']).filter(|word| !word.is_empty());
                words
                    .map(|word| Located::new(word.to_owned(), entry.span))
                    .collect()
            }
            None => yaml::texts(self.file, entry, &mut self.report),
        }
    }

    fn servers(&mut self, place: Place, entry: &Entry<'_>) {
        for text in self.one_or_more(entry) {
            if let Some(server) = parsed::<IpAddr>(&text.value, text.span, &mut self.report) {
                let dns = &mut self.settings(place).dns;
                // They are often said beside each address again.
                if !dns.iter().any(|known| known.value == server.value) {
                    dns.push(server);
                }
            }
        }
    }

    fn domains(&mut self, place: Place, entry: &Entry<'_>) {
        for text in self.one_or_more(entry) {
            let search = &mut self.settings(place).search;
            if !search.iter().any(|known| known.value == text.value) {
                search.push(text);
            }
        }
    }

    fn route(&mut self, whole: Span, entries: &[Entry<'_>]) -> Option<Located<Route>> {
        let mut route = Route::new(Network::DEFAULT_V4, None);
        let (mut to, mut mask, mut understood) = (None, None, true);
        for entry in entries {
            let span = entry.span;
            let report = &mut self.report;
            let Some(text) = yaml::text(entry, report).map(|text| text.value) else {
                understood = false;
                continue;
            };
            report.mapped(span);
            understood &= match entry.key {
                "type" => true,
                "network" | "destination" | "address" => {
                    to = Some(text);
                    true
                }
                "netmask" | "prefix" => {
                    mask = Some(prefix_len(&text));
                    true
                }
                "gateway" => {
                    route.via = parsed::<IpAddr>(&text, span, report).map(|via| via.value);
                    route.via.is_some()
                }
                "metric" => {
                    route.metric = number(&text, 0..=u32::MAX, span, report).map(|n| n.value);
                    route.metric.is_some()
                }
                // Without these the route would be another.
                _ => {
                    let why = format!("a route with {} is not taken over", entry.key);
                    report.unsupported(span, why, "add it by other means");
                    false
                }
            };
        }
        let to = match (to, mask) {
            (Some(to), _) if to == "default" => {
                Some(route.via.map_or(Network::DEFAULT_V4, Network::default_like))
            }
            (Some(to), Some(mask)) if !to.contains('/') => {
                network(&format!("{to}/{mask}"), whole, &mut self.report).map(|to| to.value)
            }
            (Some(to), _) => network(&to, whole, &mut self.report).map(|to| to.value),
            (None, _) => {
                let why = "a route has a destination";
                self.report.breach(Code::MissingKey, whole, why, "add it");
                None
            }
        };
        let Some(to) = to.filter(|_| understood) else {
            let why = "the route as a whole is not taken over";
            self.report.unsupported(whole, why, "correct it");
            return None;
        };
        route.to = to;
        Some(Located::new(route, whole))
    }

    /// A route that names no device: that in whose network its router is.
    fn route_of_machine(&mut self, span: Span, entries: &[Entry<'_>]) {
        let Some(route) = self.route(span, entries) else {
            return;
        };
        let reaches = |device: &DeviceSettings| {
            let via = route.value.via;
            let mut addresses = device.addresses.iter();
            via.is_some_and(|via| addresses.any(|address| address.value.contains(via)))
        };
        let found = self.devices().find(|(_, device)| reaches(device));
        match found.map(|(place, _)| place) {
            Some(place) => {
                let what = format!(
                    "cloud-init keeps it for the machine; here it belongs to {}",
                    self.name_of(place)
                );
                self.report.changed(span, what);
                self.settings(place).add_route(route);
            }
            None => {
                let why = "its router is in no network of a bond, VLAN or bridge";
                self.report
                    .unsupported(span, why, "write it below the device's subnet");
            }
        }
    }

    /// Name servers, of a device or of the machine.
    fn nameserver(&mut self, span: Span, entries: &[Entry<'_>]) {
        let named = entries.iter().rfind(|entry| entry.key == "interface");
        let place = match named.and_then(|entry| entry.value.text()) {
            Some(interface) => {
                let place = self.places.get(interface).copied();
                if place.is_none() {
                    let why = format!("{interface:?} is no bond and stands on none");
                    return self.report.unsupported(span, why, "leave it to cloud-init");
                }
                place
            }
            None => {
                let mut owner: Option<(Place, u8)> = None;
                for (place, device) in self.devices() {
                    let rank = leads_out(device);
                    if rank > owner.map_or(0, |(_, best)| best) {
                        owner = Some((place, rank));
                    }
                }
                owner.map(|(place, _)| place)
            }
        };
        let Some(place) = place else {
            let why = "no bond, VLAN or bridge has an address to reach it by";
            return self.report.unsupported(span, why, "add an address");
        };
        if named.is_none() {
            let owner = self.name_of(place);
            let what = format!("cloud-init keeps it for the machine; here it belongs to {owner}");
            self.report.changed(span, what);
        }
        for entry in entries {
            match entry.key {
                "type" | "interface" => self.report.mapped(entry.span),
                "address" => self.servers(place, entry),
                "search" => self.domains(place, entry),
                _ => self.other_key(entry),
            }
        }
    }

    /// All devices that count.
    fn devices(&self) -> impl Iterator<Item = (Place, &DeviceSettings)> {
        let bonds = self.bonds.iter().enumerate();
        let vlans = self.vlans.iter().enumerate();
        let bridges = self.bridges.iter().enumerate();
        let bonds = bonds.map(|(at, bond)| (Place::Bond(at), &bond.name, &bond.device));
        let vlans = vlans.map(|(at, vlan)| (Place::Vlan(at), &vlan.name, &vlan.device));
        let bridges = bridges.map(|(at, bridge)| (Place::Bridge(at), &bridge.name, &bridge.device));
        let all = bonds.chain(vlans).chain(bridges);
        all.filter(|(_, name, _)| !name.value.is_empty())
            .map(|(place, _, device)| (place, device))
    }

    fn name_of(&self, place: Place) -> &str {
        match place {
            Place::Bond(at) => &self.bonds[at].name.value,
            Place::Vlan(at) => &self.vlans[at].name.value,
            Place::Bridge(at) => &self.bridges[at].name.value,
        }
    }

    fn span(&self, node: &Node) -> Span {
        Span::new(self.file, node.range.start..node.end())
    }

    fn other_key(&mut self, entry: &Entry<'_>) {
        yaml::other_key(
            entry,
            Dialect::CloudInit,
            &TAKEN,
            &NOT_TAKEN,
            &mut self.report,
        );
    }

    fn finish(mut self) -> Reading {
        let mut network = DesiredNetwork::default();
        let counts = |name: &Located<String>| !name.value.is_empty();
        network.bonds = self.bonds;
        network.bonds.retain(|bond| counts(&bond.name));
        network.bridges = self.bridges;
        network.bridges.retain(|bridge| counts(&bridge.name));
        for vlan in self.vlans.into_iter().filter(|vlan| counts(&vlan.name)) {
            // What is missing was told.
            if let (Some(id), Some(link)) = (vlan.id, vlan.link) {
                network.vlans.push(DesiredVlan {
                    name: vlan.name,
                    id,
                    link,
                    device: vlan.device,
                });
            }
        }
        let bond_ports = network.bonds.iter().flat_map(|bond| &bond.ports);
        let bridge_ports = network.bridges.iter().flat_map(|bridge| &bridge.ports);
        let ports: BTreeSet<&str> = bond_ports
            .map(|port| port.name.value.as_str())
            .chain(bridge_ports.map(|port| port.name.value.as_str()))
            .collect();
        let links: BTreeSet<&str> = network
            .vlans
            .iter()
            .map(|vlan| vlan.link.value.as_str())
            .collect();
        for physical in self.physical {
            let name = physical.name.as_str();
            let is_port = ports.contains(name);
            for span in physical.said {
                if is_port || links.contains(name) {
                    self.report.mapped(span);
                } else {
                    let why = format!("{name} is no port of a bond, and nothing stands on it");
                    self.report.unsupported(span, why, "leave it to cloud-init");
                }
            }
            for span in physical.addressed {
                if is_port {
                    let why = "a port has no addresses";
                    let way_out = "give them to the bond or the bridge";
                    self.report.breach(Code::PortAddressed, span, why, way_out);
                } else {
                    let why = "only bonds and what stands on them have addresses here";
                    self.report.unsupported(span, why, "leave it to cloud-init");
                }
            }
        }
        Reading {
            network,
            report: self.report,
            diagnostics: Vec::new(),
        }
    }
}

/// The renderer that does not find a spelling of a bond's parameter.
fn renderer_that_loses(key: &str) -> Option<&'static str> {
    let (prefix, rest) = key.split_at_checked(5)?;
    match prefix {
        "bond_" => Some("for NetworkManager"),
        "bond-" if rest.contains('_') => Some("for sysconfig"),
        "bond-" if rest.contains('-') => Some("for NetworkManager"),
        _ => None,
    }
}

/// Writes one file, of version 1.
pub fn write(network: &DesiredNetwork) -> Written {
    let mut writer = Writer {
        text: "network:\n  version: 1\n  config:".to_owned(),
        report: Report::default(),
    };
    let head = writer.text.len();
    writer.physical(network);
    for bond in &network.bonds {
        writer.bond(bond);
    }
    for vlan in &network.vlans {
        writer.head("vlan", &vlan.name.value);
        writer.line(4, "vlan_link", quoted(&vlan.link.value));
        writer.line(4, "vlan_id", vlan.id.value);
        writer.device(&vlan.name.value, &vlan.device);
    }
    for bridge in &network.bridges {
        writer.bridge(bridge);
    }
    if writer.text.len() == head {
        writer.text.push_str(" []\n");
    } else {
        writer.text.insert(head, '\n');
    }
    Written::one(HOME, 0o600, writer.text, writer.report)
}

struct Writer {
    text: String,
    report: Report,
}

impl Writer {
    /// Definitions of what the others refer to.
    fn physical(&mut self, network: &DesiredNetwork) {
        let bonds = network.bonds.iter().map(|bond| &bond.name);
        let vlans = network.vlans.iter().map(|vlan| &vlan.name);
        let bridges = network.bridges.iter().map(|bridge| &bridge.name);
        let mut defined: BTreeSet<&str> = bonds
            .chain(vlans)
            .chain(bridges)
            .map(|name| name.value.as_str())
            .collect();
        let ports = network.bonds.iter().flat_map(|bond| &bond.ports);
        let bridge_ports = network.bridges.iter().flat_map(|bridge| &bridge.ports);
        let names = ports
            .map(|port| &port.name)
            .chain(bridge_ports.map(|port| &port.name))
            .chain(network.vlans.iter().map(|vlan| &vlan.link));
        for name in names {
            if defined.insert(&name.value) {
                self.head("physical", &name.value);
            }
        }
    }

    fn head(&mut self, kind: &str, name: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "  - type: {kind}");
        self.line(4, "name", quoted(name));
    }

    fn bond(&mut self, bond: &DesiredBond) {
        self.head("bond", &bond.name.value);
        let ports: Vec<String> = bond
            .ports
            .iter()
            .map(|port| quoted(&port.name.value))
            .collect();
        self.line(4, "bond_interfaces", format_args!("[{}]", ports.join(", ")));
        unselected("cloud-init", bond, &mut self.report);
        for option in bond.ports.iter().flat_map(|port| &port.options) {
            unspelt("cloud-init", &option.value, option.span, &mut self.report);
        }
        let mut params = Vec::new();
        for option in &bond.options {
            let change = &option.value;
            let spec = change.id.spec();
            let Some(key) = spec.spelled(Dialect::CloudInit).first() else {
                unspelt("cloud-init", change, option.span, &mut self.report);
                continue;
            };
            if let Some(loses) = renderer_that_loses(key) {
                let what = format!("cloud-init's renderer {loses} does not find it as {key}");
                self.report.changed(option.span, what);
            }
            let value = match (&change.value, spec.kind) {
                (
                    OptionValue::Number(number),
                    Kind::Number { .. } | Kind::NumberOrWord { .. } | Kind::Flag,
                ) => number.to_string(),
                (OptionValue::Ipv4(list), _) => {
                    let list: Vec<String> = list.iter().map(|ip| quoted(&ip.to_string())).collect();
                    format!("[{}]", list.join(", "))
                }
                _ => quoted(&change.text()),
            };
            params.push((*key, value));
        }
        if params.is_empty() {
            self.line(4, "params", "{}");
        } else {
            self.line(4, "params", "");
        }
        for (key, value) in params {
            self.line(6, key, value);
        }
        self.device(&bond.name.value, &bond.device);
    }

    fn bridge(&mut self, bridge: &DesiredBridge) {
        self.head("bridge", &bridge.name.value);
        let ports: Vec<String> = bridge
            .ports
            .iter()
            .map(|port| quoted(&port.name.value))
            .collect();
        let ports = format!("[{}]", ports.join(", "));
        self.line(4, "bridge_interfaces", ports);
        self.line(4, "params", "");
        let stp = bridge.stp.as_ref().is_some_and(|stp| stp.value);
        self.line(6, "bridge_stp", quoted(if stp { "on" } else { "off" }));
        if let Some(delay) = &bridge.forward_delay {
            self.line(6, "bridge_fd", delay.value);
        }
        for span in bridge.vlan_places() {
            let why = "cloud-init knows no VLANs in bridges";
            let way_out = "set them with the bridge tool, or use systemd-networkd";
            self.report.unsupported(span, why, way_out);
        }
        self.device(&bridge.name.value, &bridge.device);
    }

    fn device(&mut self, name: &str, device: &DeviceSettings) {
        if let Some(mtu) = &device.mtu {
            self.line(4, "mtu", mtu.value);
        }
        if let Some(mac) = &device.mac {
            self.line(4, "mac_address", quoted(&mac.value.to_string()));
        }
        if let Some(accept) = &device.accept_ra {
            self.line(4, "accept-ra", accept.value);
        }
        let mut subnets = self.subnets(device);
        let servers = device.dns.iter().map(|server| server.value.to_string());
        let servers = flow(servers);
        let domains = flow(device.search.iter().map(|domain| domain.value.clone()));
        let resolver = |servers_key: &str, search_key: &str| {
            let servers = servers.iter().map(|list| format!("{servers_key}: {list}"));
            let domains = domains.iter().map(|list| format!("{search_key}: {list}"));
            servers.chain(domains).collect::<Vec<String>>()
        };
        let own = match subnets.first_mut() {
            Some(first) => {
                first.extend(resolver("dns_nameservers", "dns_search"));
                Vec::new()
            }
            None => resolver("address", "search"),
        };
        if !subnets.is_empty() {
            self.line(4, "subnets", "");
        }
        for lines in &subnets {
            self.item(4, lines);
        }
        if !own.is_empty() {
            let mut lines = vec!["type: nameserver".to_owned()];
            lines.push(format!("interface: {}", quoted(name)));
            lines.extend(own);
            self.item(2, &lines);
        }
    }

    /// The lines of each subnet.
    fn subnets(&mut self, device: &DeviceSettings) -> Vec<Vec<String>> {
        let asked =
            |wanted: &Option<Located<bool>>| wanted.as_ref().is_some_and(|asked| asked.value);
        let mut subnets = Vec::new();
        for (kind, wanted) in [("dhcp4", &device.dhcp_v4), ("dhcp6", &device.dhcp_v6)] {
            if asked(wanted) {
                subnets.push(vec![format!("type: {kind}")]);
            }
        }
        let mut gateways = [
            device.gateway_v4.as_ref().map(|via| IpAddr::V4(via.value)),
            device.gateway_v6.as_ref().map(|via| IpAddr::V6(via.value)),
        ];
        for address in &device.addresses {
            let v4 = address.value.address.is_ipv4();
            let kind = if v4 { "static" } else { "static6" };
            let mut lines = vec![format!("type: {kind}")];
            lines.push(format!("address: {}", quoted(&address.value.to_string())));
            if let Some(via) = gateways[usize::from(!v4)].take() {
                lines.push(format!("gateway: {}", quoted(&via.to_string())));
            }
            subnets.push(lines);
        }
        let mut routes = Vec::new();
        // A gateway that no address reaches.
        for via in gateways.into_iter().flatten() {
            let route = Route::new(Network::default_like(via), Some(via));
            routes.push(write_route(&route));
        }
        for route in &device.routes {
            let Route { table, on_link, .. } = route.value;
            if table.is_some() || on_link {
                let why = "cloud-init has no word for tables of routes, nor for routers that no address reaches";
                self.report
                    .unsupported(route.span, why, "add the route by other means");
                continue;
            }
            routes.push(write_route(&route.value));
        }
        if !routes.is_empty() {
            if subnets.is_empty() {
                subnets.push(vec!["type: manual".to_owned()]);
            }
            // Behind all gateways, so that none of them is taken for a gateway.
            if let Some(last) = subnets.last_mut() {
                last.push("routes:".to_owned());
                last.extend(routes.into_iter().map(|route| format!("- {route}")));
            }
        }
        subnets
    }

    /// A member of a list, line by line.
    fn item(&mut self, indent: usize, lines: &[String]) {
        for (index, line) in lines.iter().enumerate() {
            let lead = if index == 0 { "- " } else { "  " };
            // Writing to a string cannot fail.
            let _ = writeln!(self.text, "{:indent$}{lead}{line}", "");
        }
    }

    fn line(&mut self, indent: usize, key: &str, value: impl core::fmt::Display) {
        let line = format!("{:indent$}{key}: {value}", "");
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{}", line.trim_end());
    }
}

/// A list on one line; nothing if it is empty.
fn flow(items: impl Iterator<Item = String>) -> Option<String> {
    let items: Vec<String> = items.map(|item| quoted(&item)).collect();
    (!items.is_empty()).then(|| format!("[{}]", items.join(", ")))
}

fn write_route(route: &Route) -> String {
    let mut text = format!("{{destination: {}", quoted(&route.to.to_string()));
    // Writing to a string cannot fail.
    if let Some(via) = route.via {
        let _ = write!(text, ", gateway: {}", quoted(&via.to_string()));
    }
    if let Some(metric) = route.metric {
        let _ = write!(text, ", metric: {metric}");
    }
    text + "}"
}
