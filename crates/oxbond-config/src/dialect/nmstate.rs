//! nmstate: states in YAML, as `nmstatectl apply` and `/etc/nmstate/*.yml` have them, bare or within the
//! NodeNetworkConfigurationPolicy of Kubernetes.
//!
//! Facts this relies on (nmstate 2.2): a state says what is to be different: what a file leaves out stays as an earlier
//! one made it, lists are replaced as a whole; NetworkManager is what carries it out, with its default of checking links
//! every 100 ms and the options it leaves out; ports are sorted; numbers may be texts and texts numbers; unknown keys of
//! a bond refuse the whole state; VLAN filtering is on when a port of a bridge has VLANs; bridges speak STP unless told
//! otherwise; name servers are those of the machine, not of a device; since 2.2.41 a port may be found by its permanent
//! address (`identifier: mac-address`), since 2.2.47 by its place on the PCI bus.

use core::net::IpAddr;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use oxbond_core::option::{
    Dialect, Kind, Mode, OptionId, OptionKey, OptionSpec, OptionValue, PortOptionChange,
    find_in_dialect,
};

use super::common::{
    leads_out, mac, mode, mtu, name, network, number, option, parsed, port_option, refused,
    replaced, set, set_option, uncounted, unspelt, vid,
};
use super::keyfile::{settle, unheard, unmonitored};
use super::yaml::{self, Entry, Node, boolean, quoted};
use super::{Reading, Written};
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{
    Cidr, DesiredBond, DesiredBridge, DesiredBridgePort, DesiredNetwork, DesiredPort,
    DesiredSelector, DesiredVlan, DeviceSettings, Network, Route, VidRange,
};
use crate::report::Report;
use crate::span::{FileId, Located, Sources, Span};

/// Where it is written to.
const HOME: &str = "/etc/nmstate/50-oxbond.yml";

/// The routing table that is meant where none is said.
const MAIN_TABLE: u32 = 254;

/// Keys that are read, for suggestions.
const TAKEN: [&str; 45] = [
    "address",
    "autoconf",
    "base-iface",
    "bridge",
    "config",
    "controller",
    "copy-mac-from",
    "desiredState",
    "destination",
    "dhcp",
    "dns-resolver",
    "enable-native",
    "enabled",
    "forward-delay",
    "id",
    "id-range",
    "identifier",
    "interfaces",
    "ip",
    "ipv4",
    "ipv6",
    "link-aggregation",
    "mac-address",
    "metric",
    "mode",
    "mtu",
    "name",
    "next-hop-address",
    "next-hop-interface",
    "options",
    "pci-address",
    "port",
    "ports-config",
    "prefix-length",
    "priority",
    "queue-id",
    "routes",
    "search",
    "server",
    "state",
    "stp",
    "table-id",
    "tag",
    "trunk-tags",
    "vlan",
];

/// Keys it knows whose meaning is not taken over.
const NOT_TAKEN: [&str; 38] = [
    "accept-all-mac-addresses",
    "addr-gen-mode",
    "allow-extra-address",
    "alt-names",
    "auto-dns",
    "auto-gateway",
    "auto-route-metric",
    "auto-route-table-id",
    "auto-routes",
    "balance_slb",
    "capture",
    "description",
    "dhcp-client-id",
    "dhcp-custom-hostname",
    "dhcp-duid",
    "dhcp-send-hostname",
    "dispatch",
    "ethernet",
    "ethtool",
    "group-forward-mask",
    "hello-time",
    "hostname",
    "ieee-802.1x",
    "lldp",
    "mac-ageing-time",
    "max-age",
    "maxUnavailable",
    "mptcp",
    "mptcp-flags",
    "multicast-snooping",
    "nodeSelector",
    "ovn",
    "ovs-db",
    "protocol",
    "route-rules",
    "stp-hairpin-mode",
    "stp-path-cost",
    "wait-ip",
];

/// Keys that it shows and does not read.
const SHOWN: [&str; 4] = [
    "max-mtu",
    "min-mtu",
    "permanent-mac-address",
    "profile-name",
];

/// Reads all files of a set, in order of name.
pub fn read(sources: &Sources) -> Reading {
    let mut reader = Reader::default();
    let mut states = Vec::new();
    for file in sources.by_name() {
        let text = &sources.get(file).text;
        let report = &mut reader.report;
        match yaml::parse(text, &mut |range| report.mapped(Span::new(file, range))) {
            Ok(None) => {}
            Ok(Some(document)) => states.push((file, document)),
            Err(wrong) => {
                let at = wrong.at.min(text.len());
                let message = format!("this is not YAML: {}", wrong.message);
                let diagnostic = Diagnostic::error(Code::Syntax, Span::new(file, at..at), message);
                reader.diagnostics.push(diagnostic);
                let whole = Span::new(file, 0..text.len());
                let why = "the file is not YAML as nmstate reads it";
                reader.report.unsupported(whole, why, "correct it");
            }
        }
    }
    // Routes and name servers find their devices only when all are known.
    let mut rest = Vec::new();
    for (file, document) in &states {
        reader.document(*file, document, &mut rest);
    }
    reader.finish(rest)
}

/// What is said of one interface.
struct Interface {
    kind: InterfaceKind,
    name: Located<String>,
    /// It is to be there, and up.
    wanted: bool,
    device: DeviceSettings,
    bond: DesiredBond,
    /// Ports of the bond with options, and where they are said.
    configured: Vec<DesiredPort>,
    bridge: DesiredBridge,
    vlan: (Option<Located<u16>>, Option<Located<String>>),
    /// What an Ethernet device is, if it is not found by its name.
    selector: Option<DesiredSelector>,
    /// All that is said of an Ethernet device, to be judged once it is known what it is for.
    said: Vec<Span>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum InterfaceKind {
    Bond,
    Vlan,
    Bridge,
    Ethernet,
}

impl Interface {
    fn new(kind: InterfaceKind, name: Located<String>) -> Self {
        let mut bridge = DesiredBridge::new(name.clone());
        // NetworkManager's default.
        bridge.stp = Some(Located::new(true, name.span));
        Self {
            kind,
            wanted: true,
            device: DeviceSettings::default(),
            bond: DesiredBond::new(name.clone()),
            configured: Vec::new(),
            bridge,
            vlan: (None, None),
            selector: None,
            said: Vec::new(),
            name,
        }
    }
}

#[derive(Default)]
struct Reader {
    interfaces: Vec<Interface>,
    by_name: HashMap<String, usize>,
    /// Ports that name their controller.
    controllers: Vec<(String, Located<String>)>,
    report: Report,
    diagnostics: Vec<Diagnostic>,
}

/// A part of a state that is read last.
enum Rest<'n> {
    Routes(FileId, Entry<'n>),
    Dns(FileId, Entry<'n>),
}

impl Reader {
    fn document<'n>(&mut self, file: FileId, document: &'n Node, rest: &mut Vec<Rest<'n>>) {
        for entry in yaml::map(file, document, "the file", &mut self.report) {
            match entry.key {
                "apiVersion" | "kind" | "metadata" => {
                    let what = "the wrapper of Kubernetes is taken off";
                    self.report.changed(entry.span, what);
                }
                "spec" => {
                    let what = "the wrapper of Kubernetes is taken off";
                    self.report.changed(entry.key_span, what);
                    for entry in yaml::map(file, entry.value, "spec", &mut self.report) {
                        match entry.key {
                            "desiredState" => {
                                self.report.mapped(entry.key_span);
                                self.state(file, entry.value, rest);
                            }
                            _ => self.other_key(&entry),
                        }
                    }
                }
                "desiredState" | "desired" => {
                    self.report.mapped(entry.key_span);
                    self.state(file, entry.value, rest);
                }
                _ => self.state_key(file, entry, rest),
            }
        }
    }

    fn state<'n>(&mut self, file: FileId, state: &'n Node, rest: &mut Vec<Rest<'n>>) {
        for entry in yaml::map(file, state, "a state", &mut self.report) {
            self.state_key(file, entry, rest);
        }
    }

    fn state_key<'n>(&mut self, file: FileId, entry: Entry<'n>, rest: &mut Vec<Rest<'n>>) {
        match entry.key {
            "interfaces" => {
                for item in yaml::items(&entry, &mut self.report) {
                    self.interface(file, item);
                }
            }
            "routes" => rest.push(Rest::Routes(file, entry)),
            "dns-resolver" => rest.push(Rest::Dns(file, entry)),
            _ => self.other_key(&entry),
        }
    }

    fn interface(&mut self, file: FileId, item: &Node) {
        let whole = Span::new(file, item.range.start..item.end());
        let entries = yaml::map(file, item, "an interface", &mut self.report);
        let find = |key: &str| entries.iter().rfind(|entry| entry.key == key);
        let said = |key: &str| find(key).and_then(|entry| entry.value.text());
        let Some(name_entry) = find("name").filter(|entry| entry.value.text().is_some()) else {
            let why = "an interface has a name";
            return self.report.breach(Code::MissingKey, whole, why, "add it");
        };
        let text = name_entry.value.text().unwrap_or("");
        let known = self.by_name.get(text).copied();
        let kind = match (said("type"), known) {
            (Some("bond"), _) => InterfaceKind::Bond,
            (Some("vlan"), _) => InterfaceKind::Vlan,
            (Some("linux-bridge"), _) => InterfaceKind::Bridge,
            (Some("ethernet" | "veth"), _) => InterfaceKind::Ethernet,
            (None, Some(known)) => self.interfaces[known].kind,
            // Its type is that of the device that is there.
            (None, None) => InterfaceKind::Ethernet,
            (Some(other), _) => {
                let why = format!("interfaces of type {other} are not taken over");
                return self.report.unsupported(whole, why, "leave it to nmstate");
            }
        };
        match said("state") {
            None | Some("up") => {}
            Some("absent") => {
                match known {
                    Some(known) => {
                        self.take_away(known);
                        self.report.mapped(whole);
                    }
                    None => {
                        let why =
                            "it says that the interface is to go, and here is said what is wanted";
                        let way_out = "leave it out: what was made and is no longer wanted, goes";
                        self.report.unsupported(whole, why, way_out);
                    }
                }
                return;
            }
            Some(other) => {
                let why = match other {
                    "down" => "a device that is wanted is up here",
                    "ignore" => "nmstate leaves the interface alone",
                    _ => "state is up, down, absent or ignore",
                };
                return self
                    .report
                    .unsupported(whole, why, "leave it out, or write state: up");
            }
        }
        let by_name = matches!(said("identifier"), None | Some("name"));
        let name = Located::new(text.to_owned(), name_entry.span);
        if by_name && self::name(text, name_entry.span, &mut self.report).is_none() {
            return self
                .report
                .unsupported(whole, "it has no possible name", "give it another");
        }
        if by_name {
            self.report.device(name.clone());
        }
        let at = match known.filter(|known| self.interfaces[*known].kind == kind) {
            Some(known) => known,
            None => {
                if known.is_some() {
                    let what = "an earlier interface of this name was of another type";
                    self.report.changed(name.span, what);
                }
                self.interfaces.push(Interface::new(kind, name));
                let at = self.interfaces.len() - 1;
                if let Some(before) = self.by_name.insert(text.to_owned(), at) {
                    self.take_away(before);
                }
                at
            }
        };
        self.interfaces[at].wanted = true;
        for entry in &entries {
            match (entry.key, kind) {
                ("name" | "type" | "state", InterfaceKind::Ethernet) => {
                    self.interfaces[at].said.push(entry.span);
                }
                ("name" | "type" | "state", _) => self.report.mapped(entry.span),
                (_, InterfaceKind::Ethernet) => self.ethernet_key(file, at, entry, &entries),
                _ => self.device_key(file, at, entry),
            }
        }
    }

    /// A later state says that an interface is not to be there.
    fn take_away(&mut self, at: usize) {
        let interface = &mut self.interfaces[at];
        interface.wanted = false;
        let why = "a later state takes it away, or makes it another";
        self.report
            .unsupported(interface.name.span, why, "remove one of them");
    }

    /// What is said of an Ethernet device, which is a port or carries a VLAN.
    fn ethernet_key(&mut self, file: FileId, at: usize, entry: &Entry<'_>, all: &[Entry<'_>]) {
        let span = entry.span;
        let value = |key: &str| {
            let found = all.iter().rfind(|entry| entry.key == key);
            found.and_then(|entry| entry.value.text())
        };
        match (entry.key, value("identifier")) {
            ("identifier", Some("name")) => self.interfaces[at].said.push(span),
            ("identifier", Some(what @ ("mac-address" | "pci-address"))) => {
                if value(what).is_none() {
                    refused(span, format_args!("{what} is missing"), &mut self.report);
                    return;
                }
                self.interfaces[at].said.push(span);
            }
            ("mac-address", Some("mac-address")) => {
                let text = entry.value.text().unwrap_or("");
                if let Some(mac) = mac(text, span, &mut self.report) {
                    self.selector(at, span).mac = Some(mac);
                    self.interfaces[at].said.push(span);
                }
            }
            ("pci-address", Some("pci-address")) => {
                let text = entry.value.text().unwrap_or("");
                // Without a domain it is the first.
                let long = text.matches(':').count() > 1;
                let path = format!("pci-{}{text}", if long { "" } else { "0000:" });
                self.selector(at, span).path = Some(Located::new(path, span));
                self.interfaces[at].said.push(span);
            }
            ("ipv4" | "ipv6", _) => {
                let entries = yaml::map(file, entry.value, entry.key, &mut self.report);
                let on = |entry: &&Entry<'_>| {
                    entry.key == "enabled" && entry.value.text().and_then(boolean) == Some(true)
                };
                if entries.iter().any(|entry| on(&entry)) {
                    let why = "only bonds and what stands on them have addresses here; nmstate refuses them for ports";
                    let way_out = "give them to the bond or the bridge";
                    self.report.breach(Code::PortAddressed, span, why, way_out);
                } else {
                    self.interfaces[at].said.push(span);
                }
            }
            ("mtu", _) => {
                let text = entry.value.text().unwrap_or("");
                if let Some(mtu) = mtu(text, span, &mut self.report) {
                    let port = &self.interfaces[at].name.value;
                    self.report.port_mtu(port, mtu);
                    self.report.changed(span, "ports take the bond's MTU");
                }
            }
            ("mac-address", _) => self.report.changed(span, "ports take the bond's address"),
            ("controller", _) => match entry.value.text() {
                Some("") | None => self.interfaces[at].said.push(span),
                Some(controller) => {
                    let port = self.interfaces[at].name.value.clone();
                    let port = Located::new(port, span);
                    self.controllers.push((controller.to_owned(), port));
                    self.interfaces[at].said.push(span);
                }
            },
            _ => self.other_key(entry),
        }
    }

    fn selector(&mut self, at: usize, span: Span) -> &mut DesiredSelector {
        let selector = &mut self.interfaces[at].selector;
        selector.get_or_insert_with(|| DesiredSelector::new(span))
    }

    /// What is said of a bond, a VLAN or a bridge.
    fn device_key(&mut self, file: FileId, at: usize, entry: &Entry<'_>) {
        let span = entry.span;
        let kind = self.interfaces[at].kind;
        let interface = &mut self.interfaces[at];
        let report = &mut self.report;
        match (entry.key, kind) {
            ("mtu", _) => {
                let text = yaml::text(entry, report);
                if let Some(mtu) = text.and_then(|text| mtu(&text.value, span, report)) {
                    set(&mut interface.device.mtu, mtu, report);
                }
            }
            ("mac-address", _) => {
                let text = yaml::text(entry, report);
                if let Some(mac) = text.and_then(|text| mac(&text.value, span, report)) {
                    set(&mut interface.device.mac, mac, report);
                }
            }
            ("identifier", _) if entry.value.text() == Some("name") => report.mapped(span),
            ("controller", _) => match entry.value.text() {
                Some("") | None => report.mapped(span),
                Some(controller) => {
                    let port = Located::new(interface.name.value.clone(), span);
                    self.controllers.push((controller.to_owned(), port));
                }
            },
            ("copy-mac-from", InterfaceKind::Bond) => {
                let what = "a bond takes the address of its first port by itself";
                report.changed(span, what);
            }
            ("ipv4", _) => self.ip(file, at, true, entry),
            ("ipv6", _) => self.ip(file, at, false, entry),
            ("link-aggregation", InterfaceKind::Bond) => self.aggregation(file, at, entry),
            ("vlan", InterfaceKind::Vlan) => self.vlan(file, at, entry),
            ("bridge", InterfaceKind::Bridge) => self.bridge(file, at, entry),
            _ => self.other_key(entry),
        }
    }

    fn ip(&mut self, file: FileId, at: usize, v4: bool, entry: &Entry<'_>) {
        self.report.mapped(entry.key_span);
        let entries = yaml::map(file, entry.value, entry.key, &mut self.report);
        let flag = |key: &str| {
            let entry = entries.iter().rfind(|entry| entry.key == key)?;
            entry.value.text().and_then(boolean)
        };
        let (enabled, dhcp) = (flag("enabled"), flag("dhcp"));
        if enabled == Some(false) {
            let device = &mut self.interfaces[at].device;
            device
                .addresses
                .retain(|address| address.value.address.is_ipv4() != v4);
            *(if v4 {
                &mut device.dhcp_v4
            } else {
                &mut device.dhcp_v6
            }) = None;
            for entry in entries {
                if entry.key == "enabled" {
                    self.report.mapped(entry.span);
                } else {
                    let why = "nmstate ignores it beside enabled: false";
                    self.report.unsupported(entry.span, why, "leave it out");
                }
            }
            return;
        }
        if enabled.is_none() {
            let what = "without enabled nmstate leaves it as it is on the device; here it is on";
            self.report.changed(entry.key_span, what);
        }
        for entry in &entries {
            let span = entry.span;
            let on = entry.value.text().and_then(boolean);
            let device = &mut self.interfaces[at].device;
            match (entry.key, on) {
                ("enabled", Some(_)) => self.report.mapped(span),
                ("dhcp", Some(on)) => {
                    let slot = if v4 {
                        &mut device.dhcp_v4
                    } else {
                        &mut device.dhcp_v6
                    };
                    set(slot, Located::new(on, span), &mut self.report);
                }
                ("autoconf", Some(true)) if !v4 && dhcp != Some(true) => {
                    let why = "nmstate refuses autoconf without dhcp";
                    self.report
                        .unsupported(span, why, "write dhcp: true beside it");
                }
                ("autoconf", Some(on)) if !v4 => {
                    let on = Located::new(on, span);
                    set(&mut device.accept_ra, on, &mut self.report);
                }
                ("enabled" | "dhcp" | "autoconf", None) => {
                    let why = format_args!("{} is neither true nor false", entry.key);
                    refused(span, why, &mut self.report);
                }
                ("auto-dns" | "auto-routes" | "auto-gateway", Some(true)) => {
                    self.report.mapped(span);
                }
                ("address", _) => {
                    let (before, others): (Vec<_>, Vec<_>) = device
                        .addresses
                        .drain(..)
                        .partition(|address| address.value.address.is_ipv4() == v4);
                    device.addresses = others;
                    for address in before {
                        replaced(address.span, &mut self.report);
                    }
                    for item in yaml::items(entry, &mut self.report) {
                        self.address(file, at, v4, item);
                    }
                }
                _ => self.other_key(entry),
            }
        }
    }

    fn address(&mut self, file: FileId, at: usize, v4: bool, item: &Node) {
        let whole = Span::new(file, item.range.start..item.end());
        let entries = yaml::map(file, item, "an address", &mut self.report);
        let (mut ip, mut length) = ("", "");
        for entry in &entries {
            match entry.key {
                "ip" => ip = entry.value.text().unwrap_or(""),
                "prefix-length" => length = entry.value.text().unwrap_or(""),
                _ => {
                    self.other_key(entry);
                    continue;
                }
            }
            self.report.mapped(entry.span);
        }
        let text = format!("{ip}/{length}");
        let Some(address) = parsed::<Cidr>(&text, whole, &mut self.report) else {
            return;
        };
        if address.value.address.is_ipv4() == v4 {
            self.interfaces[at].device.addresses.push(address);
        } else {
            let why = format_args!("{text} is of the other family");
            refused(whole, why, &mut self.report);
        }
    }

    fn aggregation(&mut self, file: FileId, at: usize, entry: &Entry<'_>) {
        self.report.mapped(entry.key_span);
        for entry in yaml::map(file, entry.value, entry.key, &mut self.report) {
            let report = &mut self.report;
            let bond = &mut self.interfaces[at].bond;
            match entry.key {
                "mode" => {
                    let text = yaml::text(&entry, report);
                    let mode = text
                        .and_then(|text| option(OptionId::Mode, &text.value, entry.span, report));
                    if let Some(mode) = mode {
                        set_option(bond, mode, report);
                    }
                }
                "options" => {
                    report.mapped(entry.key_span);
                    for entry in yaml::map(file, entry.value, "options", report) {
                        self.bond_option(at, &entry);
                    }
                }
                "port" | "ports" | "slaves" => {
                    for port in bond.ports.drain(..) {
                        replaced(port.name.span, report);
                    }
                    bond.ports = yaml::texts(file, &entry, report)
                        .into_iter()
                        .map(|name| DesiredPort {
                            name,
                            options: Vec::new(),
                        })
                        .collect();
                }
                "ports-config" => {
                    let items = yaml::items(&entry, report);
                    let mut ports = Vec::new();
                    for item in items {
                        ports.extend(self.port_config(file, item));
                    }
                    self.interfaces[at].configured = ports;
                }
                _ => self.refused_key(&entry),
            }
        }
    }

    fn bond_option(&mut self, at: usize, entry: &Entry<'_>) {
        let span = entry.span;
        let spec = find_in_dialect(Dialect::Nmstate, entry.key);
        let (Some(spec), false) = (spec, entry.key == "mode") else {
            return self.refused_key(entry);
        };
        let OptionKey::Bond(id) = spec.key else {
            return self.refused_key(entry);
        };
        let Some(text) = yaml::text(entry, &mut self.report) else {
            return;
        };
        let report = &mut self.report;
        let bond = &mut self.interfaces[at].bond;
        let list = matches!(spec.kind, Kind::Ipv4List(_) | Kind::Ipv6List(_));
        let on = boolean(&text.value).filter(|_| is_boolean(spec));
        let change = match (text.value.as_str(), spec.kind) {
            // Nothing takes back what was there.
            ("", _) if list || matches!(spec.kind, Kind::PortName) => {
                bond.options.retain(|option| option.value.id != id);
                return report.mapped(span);
            }
            (_, Kind::PortName) => Some(port_option(id, &text.value, span)),
            ("delivered", _) if id == OptionId::AllSlavesActive => option(id, "1", span, report),
            ("dropped", _) if id == OptionId::AllSlavesActive => option(id, "0", span, report),
            (text, _) => match on {
                Some(on) => option(id, if on { "1" } else { "0" }, span, report),
                None => option(id, text, span, report),
            },
        };
        if let Some(change) = change {
            set_option(bond, change, report);
        }
    }

    fn port_config(&mut self, file: FileId, item: &Node) -> Option<DesiredPort> {
        let whole = Span::new(file, item.range.start..item.end());
        let mut port = DesiredPort {
            name: Located::new(String::new(), whole),
            options: Vec::new(),
        };
        for entry in yaml::map(file, item, "a port", &mut self.report) {
            let span = entry.span;
            let spec = find_in_dialect(Dialect::Nmstate, entry.key);
            match (entry.key, spec.map(|spec| spec.key)) {
                ("name", _) => {
                    port.name = yaml::text(&entry, &mut self.report)?;
                    self.report.mapped(span);
                }
                (_, Some(OptionKey::Port(id))) => {
                    let text = yaml::text(&entry, &mut self.report)?;
                    match PortOptionChange::parse(id.name(), &text.value) {
                        Ok(change) => {
                            self.report.mapped(span);
                            port.options.push(Located::new(change, span));
                        }
                        Err(e) => refused(span, e.fault, &mut self.report),
                    }
                }
                ("vlans", _) => {
                    let why = "VLANs of single ports of a bond are not taken over";
                    self.report.unsupported(span, why, "leave it out");
                }
                _ => self.refused_key(&entry),
            }
        }
        if port.name.value.is_empty() {
            self.report
                .breach(Code::MissingKey, whole, "a port has a name", "add it");
            return None;
        }
        Some(port)
    }

    fn vlan(&mut self, file: FileId, at: usize, entry: &Entry<'_>) {
        self.report.mapped(entry.key_span);
        for entry in yaml::map(file, entry.value, entry.key, &mut self.report) {
            let report = &mut self.report;
            let vlan = &mut self.interfaces[at].vlan;
            let Some(text) = yaml::text(&entry, report) else {
                continue;
            };
            match entry.key {
                "id" => {
                    if let Some(id) = vid(&text.value, entry.span, report) {
                        set(&mut vlan.0, id, report);
                    }
                }
                "base-iface" => set(&mut vlan.1, text, report),
                "protocol" if text.value == "802.1q" => report.mapped(entry.span),
                "protocol" => {
                    self.interfaces[at].wanted = false;
                    let why = format!("VLANs of protocol {} are not made", text.value);
                    report.unsupported(entry.span, why, "leave it to nmstate");
                }
                _ => self.other_key(&entry),
            }
        }
    }

    fn bridge(&mut self, file: FileId, at: usize, entry: &Entry<'_>) {
        self.report.mapped(entry.key_span);
        for entry in yaml::map(file, entry.value, entry.key, &mut self.report) {
            match entry.key {
                "options" => {
                    self.report.mapped(entry.key_span);
                    for entry in yaml::map(file, entry.value, "options", &mut self.report) {
                        self.bridge_option(file, at, &entry);
                    }
                }
                "port" | "ports" | "slaves" => {
                    let mut ports = Vec::new();
                    for item in yaml::items(&entry, &mut self.report) {
                        ports.extend(self.bridge_port(file, at, item));
                    }
                    self.interfaces[at].bridge.ports = ports;
                }
                _ => self.other_key(&entry),
            }
        }
    }

    fn bridge_option(&mut self, file: FileId, at: usize, entry: &Entry<'_>) {
        let report = &mut self.report;
        let bridge = &mut self.interfaces[at].bridge;
        match entry.key {
            "stp" => {
                report.mapped(entry.key_span);
                for entry in yaml::map(file, entry.value, "stp", report) {
                    let (span, report) = (entry.span, &mut self.report);
                    let bridge = &mut self.interfaces[at].bridge;
                    let text = entry.value.text().unwrap_or("");
                    match (entry.key, boolean(text)) {
                        // Before it is said, it is on by the bridge's own line.
                        ("enabled", Some(on)) => {
                            bridge.stp = Some(Located::new(on, span));
                            report.mapped(span);
                        }
                        ("enabled", None) => {
                            let why = format_args!("{text:?} is neither true nor false");
                            refused(span, why, report);
                        }
                        ("forward-delay", _) => {
                            if let Some(delay) = number(text, 0..=255, span, report) {
                                set(&mut bridge.forward_delay, delay, report);
                            }
                        }
                        _ => self.other_key(&entry),
                    }
                }
            }
            "vlan-default-pvid" => {
                let text = yaml::text(entry, report);
                if let Some(pvid) = text.and_then(|text| vid(&text.value, entry.span, report)) {
                    set(&mut bridge.pvid, pvid, report);
                }
            }
            _ => self.other_key(entry),
        }
    }

    fn bridge_port(&mut self, file: FileId, at: usize, item: &Node) -> Option<DesiredBridgePort> {
        let whole = Span::new(file, item.range.start..item.end());
        let mut port = None;
        let mut vlan = None;
        for entry in yaml::map(file, item, "a port", &mut self.report) {
            match entry.key {
                "name" => {
                    let name = yaml::text(&entry, &mut self.report)?;
                    self.report.mapped(entry.span);
                    port = Some(DesiredBridgePort::new(name));
                }
                "vlan" => vlan = Some(entry),
                _ => self.other_key(&entry),
            }
        }
        let Some(mut port) = port else {
            self.report
                .breach(Code::MissingKey, whole, "a port has a name", "add it");
            return None;
        };
        if let Some(entry) = vlan {
            self.report.mapped(entry.key_span);
            let entries = yaml::map(file, entry.value, "vlan", &mut self.report);
            if !entries.is_empty() {
                let aware = Located::new(true, entry.key_span);
                self.interfaces[at].bridge.vlan_aware = Some(aware);
            }
            self.port_vlan(file, &mut port, &entries);
        }
        Some(port)
    }

    /// VLANs of a port of a bridge: one without a tag (`access`), or those of a trunk.
    fn port_vlan(&mut self, file: FileId, port: &mut DesiredBridgePort, entries: &[Entry<'_>]) {
        let text = |key: &str| {
            let entry = entries.iter().rfind(|entry| entry.key == key);
            entry.and_then(|entry| entry.value.text())
        };
        let trunk = text("mode") == Some("trunk");
        let native = !trunk || text("enable-native").and_then(boolean) == Some(true);
        for entry in entries {
            let span = entry.span;
            let value = entry.value.text();
            match (entry.key, value) {
                ("mode", Some("trunk" | "access")) => self.report.mapped(span),
                ("enable-native", Some(text)) if boolean(text).is_some() => {
                    self.report.mapped(span);
                }
                ("tag", Some(text)) if native => {
                    if let Some(pvid) = vid(text, span, &mut self.report) {
                        set(&mut port.pvid, pvid, &mut self.report);
                    }
                }
                ("tag", Some(_)) => {
                    let why = "a trunk without enable-native: true has no VLAN without a tag";
                    self.report.unsupported(span, why, "leave it out");
                }
                ("trunk-tags", _) if !trunk => {
                    let why = "only a trunk has tagged VLANs";
                    self.report.unsupported(span, why, "write mode: trunk");
                }
                ("trunk-tags", _) => {
                    for item in yaml::items(entry, &mut self.report) {
                        port.vids.extend(self.trunk_tag(file, item));
                    }
                }
                _ => self.other_key(entry),
            }
        }
    }

    /// `id: 10`, or `id-range: {min: 20, max: 30}`.
    fn trunk_tag(&mut self, file: FileId, item: &Node) -> Option<Located<VidRange>> {
        let whole = Span::new(file, item.range.start..item.end());
        let mut text = None;
        for entry in yaml::map(file, item, "a tag", &mut self.report) {
            match entry.key {
                "id" => text = entry.value.text().map(str::to_owned),
                "id-range" => {
                    let ends = yaml::map(file, entry.value, "id-range", &mut self.report);
                    let end = |key: &str| {
                        let entry = ends.iter().rfind(|entry| entry.key == key)?;
                        entry.value.text()
                    };
                    let (min, max) = (end("min").unwrap_or(""), end("max").unwrap_or(""));
                    text = Some(format!("{min}-{max}"));
                }
                _ => {
                    self.other_key(&entry);
                    continue;
                }
            }
            self.report.mapped(entry.span);
        }
        parsed(&text.unwrap_or_default(), whole, &mut self.report)
    }

    fn other_key(&mut self, entry: &Entry<'_>) {
        if SHOWN.contains(&entry.key) {
            self.report.mapped(entry.span);
        } else {
            yaml::other_key(
                entry,
                Dialect::Nmstate,
                &TAKEN,
                &NOT_TAKEN,
                &mut self.report,
            );
        }
    }

    /// A key that makes nmstate refuse the whole state.
    fn refused_key(&mut self, entry: &Entry<'_>) {
        if !NOT_TAKEN.contains(&entry.key) {
            let why = "nmstate refuses a state with keys of a bond it does not know";
            self.report.unsupported(entry.span, why, "correct it");
        }
        self.other_key(entry);
    }

    fn finish(mut self, rest: Vec<Rest<'_>>) -> Reading {
        for (controller, port) in core::mem::take(&mut self.controllers) {
            self.attach(&controller, port);
        }
        for rest in rest {
            match rest {
                Rest::Routes(file, entry) => self.routes(file, &entry),
                Rest::Dns(file, entry) => self.dns(file, &entry),
            }
        }
        let selectors: HashMap<String, DesiredSelector> = self
            .interfaces
            .iter()
            .filter(|interface| interface.wanted)
            .filter_map(|interface| {
                Some((interface.name.value.clone(), interface.selector.clone()?))
            })
            .collect();
        let mut used: BTreeSet<String> = BTreeSet::new();
        let mut network = DesiredNetwork::default();
        let mut ethernets = Vec::new();
        let report = &mut self.report;
        for interface in self.interfaces {
            if !interface.wanted {
                continue;
            }
            match interface.kind {
                InterfaceKind::Bond => {
                    let bond = finish_bond(interface, &selectors, &mut used, report);
                    network.bonds.push(bond);
                }
                InterfaceKind::Vlan => {
                    let (Some(id), Some(link)) = interface.vlan else {
                        let why = "it lacks a valid id or base-iface, so there is no VLAN";
                        report.breach(Code::MissingKey, interface.name.span, why, "add them");
                        continue;
                    };
                    used.insert(link.value.clone());
                    if !by_name(&link, &selectors, report) {
                        continue;
                    }
                    network.vlans.push(DesiredVlan {
                        name: interface.name,
                        id,
                        link,
                        device: interface.device,
                    });
                }
                InterfaceKind::Bridge => {
                    let mut bridge = interface.bridge;
                    bridge.device = interface.device;
                    bridge.ports.retain(|port| {
                        used.insert(port.name.value.clone());
                        by_name(&port.name, &selectors, report)
                    });
                    bridge.settle_vids();
                    network.bridges.push(bridge);
                }
                InterfaceKind::Ethernet => ethernets.push((interface.name.value, interface.said)),
            }
        }
        for (name, said) in ethernets {
            for span in said {
                if used.contains(&name) {
                    report.mapped(span);
                } else {
                    let why = format!("{name} is no port of a bond, and nothing stands on it");
                    report.unsupported(span, why, "leave it to nmstate");
                }
            }
        }
        Reading {
            network,
            report: self.report,
            diagnostics: self.diagnostics,
        }
    }

    /// A port that names its controller.
    fn attach(&mut self, controller: &str, port: Located<String>) {
        let found = self.by_name.get(controller).copied();
        let interface = found.map(|at| &mut self.interfaces[at]);
        match interface.map(|interface| (interface.kind, interface)) {
            Some((InterfaceKind::Bond, interface)) => {
                self.report.mapped(port.span);
                let ports = &mut interface.bond.ports;
                if !ports.iter().any(|known| known.name.value == port.value) {
                    ports.push(DesiredPort {
                        name: port,
                        options: Vec::new(),
                    });
                }
            }
            Some((InterfaceKind::Bridge, interface)) => {
                self.report.mapped(port.span);
                let ports = &mut interface.bridge.ports;
                if !ports.iter().any(|known| known.name.value == port.value) {
                    ports.push(DesiredBridgePort::new(port));
                }
            }
            _ => {
                let why = format!("no interface here is a bond or bridge {controller:?}");
                self.report
                    .unsupported(port.span, why, "add it, or correct the name");
            }
        }
    }

    fn device(&mut self, name: &str) -> Option<&mut DeviceSettings> {
        let at = *self.by_name.get(name)?;
        let interface = &mut self.interfaces[at];
        let own = interface.wanted && interface.kind != InterfaceKind::Ethernet;
        own.then_some(&mut interface.device)
    }

    fn routes(&mut self, file: FileId, entry: &Entry<'_>) {
        self.report.mapped(entry.key_span);
        for entry in yaml::map(file, entry.value, "routes", &mut self.report) {
            match entry.key {
                "config" => {
                    for item in yaml::items(&entry, &mut self.report) {
                        self.route(file, item);
                    }
                }
                "running" => {
                    let why = "these are the routes of the moment, which nmstate does not read";
                    self.report
                        .unsupported(entry.span, why, "write routes below config");
                }
                _ => self.other_key(&entry),
            }
        }
    }

    fn route(&mut self, file: FileId, item: &Node) {
        let whole = Span::new(file, item.range.start..item.end());
        let mut route = Route::new(Network::DEFAULT_V4, None);
        let (mut to, mut device, mut understood) = (None, String::new(), true);
        for entry in yaml::map(file, item, "a route", &mut self.report) {
            let span = entry.span;
            let report = &mut self.report;
            let Some(text) = yaml::text(&entry, report).map(|text| text.value) else {
                understood = false;
                continue;
            };
            report.mapped(span);
            understood &= match entry.key {
                "destination" => {
                    to = network(&text, span, report).map(|to| to.value);
                    to.is_some()
                }
                "next-hop-address" if text.is_empty() => true,
                "next-hop-address" => match parsed::<IpAddr>(&text, span, report) {
                    Some(via) => {
                        route.via = Some(via.value).filter(|via| !via.is_unspecified());
                        true
                    }
                    None => false,
                },
                "next-hop-interface" => {
                    device = text;
                    true
                }
                "metric" if text == "-1" => true,
                "metric" => {
                    route.metric = number(&text, 0..=u32::MAX, span, report).map(|n| n.value);
                    route.metric.is_some()
                }
                "table-id" => {
                    let table = number(&text, 0..=u32::MAX, span, report).map(|n| n.value);
                    route.table = table.filter(|table| ![0, MAIN_TABLE].contains(table));
                    table.is_some()
                }
                "state" if text == "absent" => {
                    let why = "it says that the route is to go, and here is said what is wanted";
                    return report.unsupported(whole, why, "leave it out");
                }
                _ => {
                    let why = format!("a route with {} is not taken over", entry.key);
                    report.unsupported(span, why, "add it by other means");
                    false
                }
            };
        }
        let Some(to) = to.filter(|_| understood) else {
            let why = "the route as a whole is not taken over";
            return self.report.unsupported(whole, why, "correct it");
        };
        route.to = to;
        match self.device(&device) {
            Some(device) => device.add_route(Located::new(route, whole)),
            None => {
                let why = format!("{device:?} is no bond and stands on none");
                self.report
                    .unsupported(whole, why, "leave the route to nmstate");
            }
        }
    }

    fn dns(&mut self, file: FileId, entry: &Entry<'_>) {
        self.report.mapped(entry.key_span);
        for entry in yaml::map(file, entry.value, "dns-resolver", &mut self.report) {
            match entry.key {
                "config" => {
                    self.report.mapped(entry.key_span);
                    for entry in yaml::map(file, entry.value, "config", &mut self.report) {
                        match entry.key {
                            "server" | "search" => self.resolver(file, &entry),
                            _ => self.other_key(&entry),
                        }
                    }
                }
                "running" => {
                    let why =
                        "these are the name servers of the moment, which nmstate does not read";
                    self.report
                        .unsupported(entry.span, why, "write them below config");
                }
                _ => self.other_key(&entry),
            }
        }
    }

    /// Name servers or domains of the machine; the first device that leads out keeps them.
    fn resolver(&mut self, file: FileId, entry: &Entry<'_>) {
        let texts = yaml::texts(file, entry, &mut self.report);
        let mut owner: Option<usize> = None;
        for (at, interface) in self.interfaces.iter().enumerate() {
            if !interface.wanted || interface.kind == InterfaceKind::Ethernet {
                continue;
            }
            let rank = |at: usize| leads_out(&self.interfaces[at].device);
            if rank(at) > owner.map_or(0, rank) {
                owner = Some(at);
            }
        }
        let Some(owner) = owner else {
            for text in texts {
                let why = "no bond, VLAN or bridge has an address to reach it by";
                self.report.unsupported(text.span, why, "add an address");
            }
            return;
        };
        let interface = &mut self.interfaces[owner];
        let what = format!(
            "nmstate keeps it for the machine; here it belongs to {}",
            interface.name.value
        );
        for text in texts {
            if entry.key == "search" {
                self.report.changed(text.span, what.as_str());
                interface.device.search.push(text);
            } else if let Some(server) = parsed::<IpAddr>(&text.value, text.span, &mut self.report)
            {
                self.report.changed(text.span, what.as_str());
                interface.device.dns.push(server);
            }
        }
    }
}

/// Whether a device is known by its name, as all but ports of bonds must be.
fn by_name(
    name: &Located<String>,
    selectors: &HashMap<String, DesiredSelector>,
    report: &mut Report,
) -> bool {
    let named = !selectors.contains_key(&name.value);
    if named {
        report.mapped(name.span);
    } else {
        let why = "only ports of bonds are found by what they are";
        report.unsupported(name.span, why, "write the name of the device");
    }
    named
}

/// Whether an option takes `true` and `false`.
fn is_boolean(spec: &OptionSpec) -> bool {
    match spec.kind {
        Kind::Flag => true,
        Kind::Words(words) => words.len() == 2 && words.iter().any(|word| word.name == "off"),
        _ => matches!(spec.key, OptionKey::Bond(OptionId::UseCarrier)),
    }
}

fn finish_bond(
    interface: Interface,
    selectors: &HashMap<String, DesiredSelector>,
    used: &mut BTreeSet<String>,
    report: &mut Report,
) -> DesiredBond {
    let mut bond = interface.bond;
    bond.device = interface.device;
    let mut configured: HashMap<String, DesiredPort> = interface
        .configured
        .into_iter()
        .map(|port| (port.name.value.clone(), port))
        .collect();
    if bond.ports.is_empty() {
        let mut ports: Vec<DesiredPort> = configured.drain().map(|(_, port)| port).collect();
        ports.sort_by_key(|port| port.name.span);
        bond.ports = ports;
    }
    for port in &mut bond.ports {
        if let Some(found) = configured.remove(&port.name.value) {
            port.options = found.options;
        }
    }
    for port in configured.into_values() {
        let why = "it is not among the ports, for which nmstate refuses the state";
        let way_out = "add it, or correct the name";
        report.breach(Code::NotAPort, port.name.span, why, way_out);
    }
    let sorted = bond
        .ports
        .is_sorted_by(|one, next| one.name.value <= next.name.value);
    if !sorted {
        let what = "nmstate attaches ports in order of name; here they stand as written";
        report.changed(bond.name.span, what);
    }
    for port in core::mem::take(&mut bond.ports) {
        let text = &port.name.value;
        used.insert(text.clone());
        match selectors.get(text) {
            Some(selector) => bond.selectors.push(DesiredSelector {
                options: port.options,
                ..selector.clone()
            }),
            None => {
                if name(text, port.name.span, report).is_some() {
                    bond.ports.push(port);
                }
            }
        }
    }
    if bond.option(OptionId::Mode).is_none() {
        let what = "without mode nmstate only changes a bond that is there; here it is balance-rr";
        report.changed(bond.name.span, what);
    }
    bond.options.retain(|option| match &option.value.value {
        OptionValue::Name(port) if selectors.contains_key(port) => {
            let why = format!("{} is a port by its name", option.value.id);
            report.unsupported(option.span, why, "name the device");
            false
        }
        _ => true,
    });
    settle(&mut bond, report);
    if address_follows(&bond)
        && let Some(mac) = bond.device.mac.take()
    {
        let why = "nmstate refuses an address beside fail_over_mac: active";
        report.unsupported(mac.span, why, "leave one of them out");
    }
    bond
}

/// Whether the bond's address is that of its active port, beside which nmstate takes no other.
fn address_follows(bond: &DesiredBond) -> bool {
    let follows = bond
        .option(OptionId::FailOverMac)
        .is_some_and(|option| option.value.text() == "active");
    follows && mode(bond) == Mode::ActiveBackup
}

/// Writes one state.
pub fn write(network: &DesiredNetwork) -> Written {
    let mut writer = Writer {
        network,
        text: String::new(),
        report: Report::default(),
    };
    writer.interfaces();
    writer.routes();
    writer.dns();
    Written::one(HOME, 0o600, writer.text, writer.report)
}

struct Writer<'n> {
    network: &'n DesiredNetwork,
    text: String,
    report: Report,
}

impl Writer<'_> {
    fn interfaces(&mut self) {
        let network = self.network;
        let inner: BTreeSet<&str> = network
            .bridges
            .iter()
            .flat_map(|bridge| &bridge.ports)
            .map(|port| port.name.value.as_str())
            .collect();
        let nothing =
            network.bonds.is_empty() && network.vlans.is_empty() && network.bridges.is_empty();
        self.text.push_str(if nothing {
            "interfaces: []\n"
        } else {
            "interfaces:\n"
        });
        for bond in &network.bonds {
            self.head(&bond.name.value, "bond");
            if address_follows(bond)
                && let Some(mac) = &bond.device.mac
            {
                let why = "nmstate refuses an address beside fail_over_mac: active";
                self.report
                    .unsupported(mac.span, why, "leave one of them out");
                let device = DeviceSettings {
                    mac: None,
                    ..bond.device.clone()
                };
                self.device(&device, inner.contains(bond.name.value.as_str()));
            } else {
                self.device(&bond.device, inner.contains(bond.name.value.as_str()));
            }
            self.bond(bond);
        }
        for vlan in &network.vlans {
            self.head(&vlan.name.value, "vlan");
            self.device(&vlan.device, inner.contains(vlan.name.value.as_str()));
            self.line(2, "vlan", "");
            self.line(4, "base-iface", quoted(&vlan.link.value));
            self.line(4, "id", vlan.id.value);
        }
        for bridge in &network.bridges {
            self.head(&bridge.name.value, "linux-bridge");
            self.device(&bridge.device, inner.contains(bridge.name.value.as_str()));
            self.bridge(bridge);
        }
        for bond in &network.bonds {
            for (id, selector) in selector_names(bond) {
                self.selector(&id, selector);
            }
            for selector in bond.selectors.iter().filter(|selector| !said(selector)) {
                let why = "nmstate finds ports by one address, their own or that on the PCI bus";
                self.report
                    .unsupported(selector.span, why, "use one of these, or name the ports");
            }
        }
    }

    fn head(&mut self, name: &str, kind: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "- name: {}", quoted(name));
        self.line(2, "type", kind);
        self.line(2, "state", "up");
    }

    fn bond(&mut self, bond: &DesiredBond) {
        self.line(2, "link-aggregation", "");
        self.line(4, "mode", quoted(mode(bond).word()));
        if bond.option(OptionId::Mode).is_none() {
            let what = "nmstate needs a mode; balance-rr, which is meant, is written";
            self.report.changed(bond.name.span, what);
        }
        let unmonitored = unmonitored(bond);
        let monitored = unmonitored.as_ref().unwrap_or(bond);
        let mut options = Vec::new();
        for option in &bond.options {
            let change = &option.value;
            if change.id == OptionId::Mode {
                continue;
            }
            let spec = change.id.spec();
            let Some(key) = spec.spelled(Dialect::Nmstate).first() else {
                unspelt("nmstate", change, option.span, &mut self.report);
                continue;
            };
            if let Some((_, why)) = unheard(monitored, change.id) {
                self.report
                    .unsupported(option.span, why, "correct it, or do without");
                continue;
            }
            let value = match &change.value {
                OptionValue::Number(on) if change.id == OptionId::AllSlavesActive => {
                    (if *on == 0 { "dropped" } else { "delivered" }).to_owned()
                }
                OptionValue::Number(on) if is_boolean(spec) => (*on != 0).to_string(),
                OptionValue::Number(number)
                    if matches!(spec.kind, Kind::Number { .. } | Kind::NumberOrWord { .. }) =>
                {
                    number.to_string()
                }
                _ => quoted(&change.text()),
            };
            options.push((*key, value));
        }
        if unmonitored.is_some() {
            options.push(("miimon", "0".to_owned()));
            let what = "NetworkManager would check the links every 100 ms; miimon: 0 is written";
            self.report.changed(bond.name.span, what);
        }
        self.line(4, "options", "");
        for (key, value) in options {
            self.line(6, key, value);
        }
        self.ports(bond);
    }

    fn ports(&mut self, bond: &DesiredBond) {
        let selected = selector_names(bond).map(|(id, selector)| (id, &selector.options));
        let named = bond
            .ports
            .iter()
            .map(|port| (port.name.value.clone(), &port.options));
        let ports: Vec<_> = named.chain(selected).collect();
        let names: Vec<String> = ports.iter().map(|(name, _)| quoted(name)).collect();
        self.line(4, "port", format_args!("[{}]", names.join(", ")));
        if !names.is_sorted() {
            let what = "nmstate attaches ports in order of name";
            self.report.changed(bond.name.span, what);
        }
        if ports.iter().all(|(_, options)| options.is_empty()) {
            return;
        }
        self.line(4, "ports-config", "");
        for (name, options) in ports {
            // Writing to a string cannot fail.
            let _ = writeln!(self.text, "    - name: {}", quoted(&name));
            for option in options {
                let change = &option.value;
                match change.id.spec().spelled(Dialect::Nmstate).first() {
                    Some(key) => self.line(6, key, change.text()),
                    None => unspelt("nmstate", change, option.span, &mut self.report),
                }
            }
        }
    }

    /// The definition of ports by what they are.
    fn selector(&mut self, id: &str, selector: &DesiredSelector) {
        self.head(id, "ethernet");
        if let Some(mac) = &selector.mac {
            self.line(2, "identifier", "mac-address");
            self.line(2, "mac-address", quoted(&mac.value.to_string()));
        } else if let Some(address) = pci_address(selector) {
            self.line(2, "identifier", "pci-address");
            self.line(2, "pci-address", quoted(address));
        }
        uncounted("nmstate", selector, &mut self.report);
    }

    fn bridge(&mut self, bridge: &DesiredBridge) {
        self.line(2, "bridge", "");
        self.line(4, "options", "");
        if let Some(pvid) = &bridge.pvid {
            self.line(6, "vlan-default-pvid", pvid.value);
        }
        self.line(6, "stp", "");
        let stp = bridge.stp.as_ref().is_some_and(|stp| stp.value);
        self.line(8, "enabled", stp);
        if let Some(delay) = &bridge.forward_delay {
            self.line(8, "forward-delay", delay.value);
        }
        let aware = bridge.vlan_aware.as_ref().filter(|aware| aware.value);
        let has_vlans = |port: &DesiredBridgePort| {
            !port.vids.is_empty() || !bridge.vids.is_empty() || port.pvid.is_some()
        };
        let any = bridge.ports.iter().any(has_vlans);
        match aware {
            Some(aware) if !any => {
                let why = "nmstate lets a bridge look at VLANs when one of its ports has some";
                self.report
                    .unsupported(aware.span, why, "name VLANs of a port");
            }
            None if any => {
                let said = bridge.ports.iter().map(|port| (&port.vids, &port.pvid));
                let own = [&bridge.vids];
                let spans = said
                    .flat_map(|(vids, pvid)| {
                        let vids = vids.iter().map(|vids| vids.span);
                        vids.chain(pvid.iter().map(|pvid| pvid.span))
                    })
                    .chain(own.into_iter().flatten().map(|vids| vids.span));
                for span in spans {
                    let why = "with VLANs of a port nmstate lets the bridge look at them, which is not wanted";
                    self.report
                        .unsupported(span, why, "make the bridge aware of VLANs");
                }
            }
            _ => {}
        }
        if bridge.ports.is_empty() {
            for vids in &bridge.vids {
                let why = "nmstate knows VLANs of a bridge's ports, and the bridge has none";
                self.report
                    .unsupported(vids.span, why, "add a port, or leave it out");
            }
        }
        if bridge.ports.is_empty() {
            return self.line(4, "port", "[]");
        }
        self.line(4, "port", "");
        for port in &bridge.ports {
            // Writing to a string cannot fail.
            let _ = writeln!(self.text, "    - name: {}", quoted(&port.name.value));
            if aware.is_some() && has_vlans(port) {
                let vids = if port.vids.is_empty() {
                    &bridge.vids
                } else {
                    &port.vids
                };
                self.port_vlan(vids, port.pvid.as_ref());
            }
        }
    }

    fn port_vlan(&mut self, vids: &[Located<VidRange>], pvid: Option<&Located<u16>>) {
        self.line(6, "vlan", "");
        if vids.is_empty() {
            self.line(8, "mode", "access");
        } else {
            self.line(8, "mode", "trunk");
            self.line(8, "trunk-tags", "");
            for vids in vids {
                let VidRange { first, last } = vids.value;
                // Writing to a string cannot fail.
                let _ = if first == last {
                    writeln!(self.text, "        - id: {first}")
                } else {
                    writeln!(
                        self.text,
                        "        - id-range: {{min: {first}, max: {last}}}"
                    )
                };
            }
            self.line(8, "enable-native", pvid.is_some());
        }
        if let Some(pvid) = pvid {
            self.line(8, "tag", pvid.value);
        }
    }

    fn device(&mut self, device: &DeviceSettings, is_port: bool) {
        if let Some(mtu) = &device.mtu {
            self.line(2, "mtu", mtu.value);
        }
        if let Some(mac) = &device.mac {
            self.line(2, "mac-address", quoted(&mac.value.to_string()));
        }
        if is_port {
            for span in device.layer3_places() {
                let why = "nmstate refuses a port of a bridge that has addresses";
                self.report
                    .unsupported(span, why, "give them to the bridge");
            }
        } else {
            self.ip(device, true);
            self.ip(device, false);
        }
    }

    fn ip(&mut self, device: &DeviceSettings, v4: bool) {
        let asked =
            |wanted: &Option<Located<bool>>| wanted.as_ref().is_some_and(|asked| asked.value);
        let dhcp = asked(if v4 { &device.dhcp_v4 } else { &device.dhcp_v6 });
        let accept = device.accept_ra.as_ref().filter(|_| !v4);
        let addresses: Vec<Cidr> = device
            .addresses
            .iter()
            .map(|address| address.value)
            .filter(|address| address.address.is_ipv4() == v4)
            .collect();
        self.line(2, if v4 { "ipv4" } else { "ipv6" }, "");
        if !dhcp && accept.is_none() && addresses.is_empty() {
            return self.line(4, "enabled", false);
        }
        self.line(4, "enabled", true);
        self.line(4, "dhcp", dhcp);
        match accept {
            Some(accept) if accept.value && !dhcp => {
                let why = "nmstate hears advertisements only beside DHCPv6";
                self.report
                    .unsupported(accept.span, why, "ask a DHCPv6 server too");
            }
            Some(accept) => self.line(4, "autoconf", accept.value),
            None => {}
        }
        if !addresses.is_empty() {
            self.line(4, "address", "");
        }
        for Cidr {
            address,
            prefix_len,
        } in addresses
        {
            // Writing to a string cannot fail.
            let _ = writeln!(self.text, "    - ip: {}", quoted(&address.to_string()));
            self.line(6, "prefix-length", prefix_len);
        }
    }

    /// The devices that may have addresses.
    fn devices(&self) -> Vec<(&Located<String>, &DeviceSettings)> {
        let network = self.network;
        let ports = network.bridges.iter().flat_map(|bridge| &bridge.ports);
        let inner: BTreeSet<&str> = ports.map(|port| port.name.value.as_str()).collect();
        network
            .devices()
            .filter(|(name, _)| !inner.contains(name.value.as_str()))
            .collect()
    }

    fn routes(&mut self) {
        let mut text = String::new();
        let mut off_link = Vec::new();
        for (name, device) in self.devices() {
            let v4 = device.gateway_v4.iter().map(|via| IpAddr::V4(via.value));
            let v6 = device.gateway_v6.iter().map(|via| IpAddr::V6(via.value));
            let gateways = v4
                .chain(v6)
                .map(|via| Route::new(Network::default_like(via), Some(via)));
            let routes = device.routes.iter();
            let (on_link, routes): (Vec<_>, Vec<_>) = routes.partition(|route| route.value.on_link);
            off_link.extend(on_link.into_iter().map(|route| route.span));
            for route in gateways.chain(routes.into_iter().map(|route| route.value)) {
                write_route(&mut text, &name.value, &route);
            }
        }
        for span in off_link {
            let why = "nmstate has no word for a router that no address reaches (on-link)";
            self.report
                .unsupported(span, why, "add an address in the router's network");
        }
        if !text.is_empty() {
            self.text.push_str("routes:\n  config:\n");
            self.text.push_str(&text);
        }
    }

    fn dns(&mut self) {
        let devices = self.devices();
        let mut owner: Option<usize> = None;
        for (at, (_, device)) in devices.iter().enumerate() {
            if leads_out(device) > owner.map_or(0, |owner| leads_out(devices[owner].1)) {
                owner = Some(at);
            }
        }
        let owner = owner.map(|owner| devices[owner]);
        let mut lost = Vec::new();
        for (name, device) in &devices {
            if owner.is_none_or(|(owner, _)| owner != *name) {
                lost.extend(device.dns.iter().map(|server| server.span));
                lost.extend(device.search.iter().map(|domain| domain.span));
            }
        }
        let servers: Vec<String> = owner
            .iter()
            .flat_map(|(_, device)| &device.dns)
            .map(|server| quoted(&server.value.to_string()))
            .collect();
        let domains: Vec<String> = owner
            .iter()
            .flat_map(|(_, device)| &device.search)
            .map(|domain| quoted(&domain.value))
            .collect();
        for span in lost {
            let why = "nmstate knows name servers of the machine, which are those of the device that leads out";
            self.report
                .unsupported(span, why, "give them to that device");
        }
        if servers.is_empty() && domains.is_empty() {
            return;
        }
        self.text.push_str("dns-resolver:\n  config:\n");
        for (key, texts) in [("server", servers), ("search", domains)] {
            if !texts.is_empty() {
                self.line(4, key, format_args!("[{}]", texts.join(", ")));
            }
        }
    }

    fn line(&mut self, indent: usize, key: &str, value: impl core::fmt::Display) {
        let line = format!("{:indent$}{key}: {value}", "");
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{}", line.trim_end());
    }
}

/// The selectors that nmstate can say, with the names of their definitions.
fn selector_names(bond: &DesiredBond) -> impl Iterator<Item = (String, &DesiredSelector)> {
    let name = |index| format!("{}-select{index}", bond.name.value);
    let selectors = bond.selectors.iter().enumerate();
    selectors
        .filter(|(_, selector)| said(selector))
        .map(move |(index, selector)| (name(index), selector))
}

/// Whether a selector asks for an address, or a place on the PCI bus, and nothing else.
fn said(selector: &DesiredSelector) -> bool {
    let one = selector.criteria().count() == 1;
    one && (selector.mac.is_some() || pci_address(selector).is_some())
}

/// The one address on the PCI bus that a selector's path means.
fn pci_address(selector: &DesiredSelector) -> Option<&str> {
    let address = selector.path.as_ref()?.value.strip_prefix("pci-")?;
    let plain = address
        .bytes()
        .all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
    (plain && address.matches(':').count() == 2).then_some(address)
}

fn write_route(text: &mut String, device: &str, route: &Route) {
    // Writing to a string cannot fail.
    let mut line = |key: &str, value: String| {
        let lead = if key == "destination" { "- " } else { "  " };
        let _ = writeln!(text, "  {lead}{key}: {value}");
    };
    line("destination", quoted(&route.to.to_string()));
    line("next-hop-interface", quoted(device));
    if let Some(via) = route.via {
        line("next-hop-address", quoted(&via.to_string()));
    }
    if let Some(metric) = route.metric {
        line("metric", metric.to_string());
    }
    if let Some(table) = route.table {
        line("table-id", table.to_string());
    }
}
