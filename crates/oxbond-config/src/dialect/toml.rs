//! Our own dialect: `/etc/oxbond/*.toml`. It can say all that the model holds.
//!
//! ```toml
//! [bond.bond0]
//! mode = "active-backup"
//! engine = "auto"                  # or ebpf (our own), kernel (its bonding driver)
//! ports = ["enp3s0", "enp4s0"]     # or slaves, members
//! primary = "enp3s0"
//! miimon = 100                     # milliseconds; "100ms" and "1s" too
//! mtu = 9000
//!
//! [bond.bond0.port.enp3s0]         # or slave, member
//! prio = 10
//!
//! [[bond.bond0.select]]            # every interface that fits is a port too
//! driver = "ixgbe"                 # or mac, path, name; patterns like "enp3*"
//! expect = 2
//!
//! [vlan."bond0.100"]
//! id = 100
//! link = "bond0"
//! dhcp4 = true
//!
//! [bridge.vmbr0]
//! ports = ["bond0"]
//! vlan_aware = true
//! vids = ["2-4094"]
//! address = ["192.168.1.100/24", "fd00::100/64"]
//! gateway = "192.168.1.1"
//! route = [{ to = "10.0.0.0/8", via = "192.168.1.254", metric = 100 }]
//! dns = ["192.168.1.53"]
//! search = ["example.org"]
//!
//! [bridge.vmbr0.port.bond0]
//! pvid = 10
//! ```
//!
//! Every option of the option table is a key of a bond under each of its names, with `-` or `_`. Its value is a word or
//! a number; lists of addresses are TOML lists.

use core::fmt::Display;
use core::net::IpAddr;
use core::ops::Range;
use core::str::FromStr;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use oxbond_core::engine::EngineChoice;
use oxbond_core::option::{
    Kind, OPTIONS, OptionChange, OptionError, OptionId, OptionSpec, OptionValue, PortOptionChange,
    Unit, find,
};
use oxbond_wire::MacAddr;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::{Reading, Written};
use crate::check::{DEFAULT_MIIMON_MS, refusal};
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{
    Cidr, DesiredBond, DesiredBridge, DesiredBridgePort, DesiredNetwork, DesiredPort,
    DesiredSelector, DesiredVlan, DeviceSettings, Network, Route, VidRange, not_a_host,
};
use crate::name::check_interface_name;
use crate::report::Report;
use crate::span::{FileId, Located, Sources, Span};
use crate::suggest::{closest, is_port_option, known_elsewhere};

/// MTUs a device can have: from what IPv4 needs to the largest an interface can be given.
const MTU: core::ops::RangeInclusive<u32> = 68..=65535;

/// Where it is written to.
const HOME: &str = "/etc/oxbond/network.toml";

/// Kinds of devices, each of which has a table with one table for each device.
const KINDS: [&str; 3] = ["bond", "vlan", "bridge"];

/// Keys that every device has.
const DEVICE_KEYS: [&str; 10] = [
    "address",
    "gateway",
    "route",
    "dhcp4",
    "dhcp6",
    "accept_ra",
    "dns",
    "search",
    "mtu",
    "mac",
];

/// Keys of a bond beside those and the options.
const BOND_KEYS: [&str; 8] = [
    "ports", "slaves", "members", "port", "slave", "member", "select", "engine",
];

/// Keys of a selector beside the options of ports.
const SELECTOR_KEYS: [&str; 5] = ["mac", "path", "driver", "name", "expect"];

/// Keys of a VLAN beside those of every device.
const VLAN_KEYS: [&str; 2] = ["id", "link"];

/// Keys of a bridge beside those of every device.
const BRIDGE_KEYS: [&str; 7] = [
    "ports",
    "port",
    "vlan_aware",
    "vids",
    "pvid",
    "stp",
    "forward_delay",
];

/// Keys of a port of a bridge.
const BRIDGE_PORT_KEYS: [&str; 2] = ["vids", "pvid"];

/// Keys of a route.
const ROUTE_KEYS: [&str; 5] = ["to", "via", "metric", "table", "on_link"];

/// Most ports a selector may expect.
const MAX_EXPECT: u32 = 65535;

/// VLAN identifiers.
const VIDS: core::ops::RangeInclusive<u32> = 1..=4094;

/// Reads all files of a set. What is wrong is told twice: as a diagnostic, and as the fate of its line. A device or port
/// with an impossible name is left out.
pub fn read(sources: &Sources) -> Reading {
    let mut reading = Reading::default();
    for (file, source) in sources.iter() {
        let text = &source.text;
        let report = &mut reading.report;
        if !read_file(file, text, &mut reading.network, &mut reading.diagnostics) {
            let whole = Span::new(file, 0..text.len());
            let why = "nothing of a file is taken over that is not TOML";
            report.unsupported(whole, why, "correct it");
        }
        // The reader is strict: a line of which it says nothing is understood.
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let words = line.trim();
            if !words.is_empty() && !words.starts_with('#') {
                report.mapped(Span::new(file, start..start + line.len()));
            }
            start += line.len();
        }
    }
    for found in &reading.diagnostics {
        if let Some(span) = found.span {
            let way_out = found.help.as_deref().unwrap_or("correct it");
            reading.report.unsupported(span, &found.message, way_out);
        }
    }
    keep_possible(&mut reading);
    reading
}

/// Leaves out devices and ports with names that cannot be, and devices that are described before.
fn keep_possible(reading: &mut Reading) {
    let possible = |name: &Located<String>| check_interface_name(&name.value).is_ok();
    let (report, diagnostics) = (&mut reading.report, &mut reading.diagnostics);
    let mut known: HashMap<String, Span> = HashMap::new();
    let mut first = |name: &Located<String>| {
        let Some(before) = known.get(&name.value).copied() else {
            known.insert(name.value.clone(), name.span);
            return true;
        };
        let message = format!("{} is described twice", name.value);
        let way_out = "rename one of them, or put both into one";
        report.unsupported(name.span, message.as_str(), way_out);
        diagnostics.push(
            Diagnostic::error(Code::DuplicateDevice, name.span, message)
                .with_related(before, "first described here")
                .with_help(way_out),
        );
        false
    };
    let network = &mut reading.network;
    network
        .bonds
        .retain(|bond| possible(&bond.name) && first(&bond.name));
    for bond in &mut network.bonds {
        bond.ports.retain(|port| possible(&port.name));
    }
    network
        .vlans
        .retain(|vlan| possible(&vlan.name) && possible(&vlan.link) && first(&vlan.name));
    network
        .bridges
        .retain(|bridge| possible(&bridge.name) && first(&bridge.name));
    for bridge in &mut network.bridges {
        bridge.ports.retain(|port| possible(&port.name));
    }
}

/// Reads one file, and adds what it wants.
///
/// Says whether it did: a file with grammar errors adds nothing, since what is missing of it would only raise more
/// errors; but what is wrong on its other lines is reported too.
pub fn read_file(
    file: FileId,
    text: &str,
    network: &mut DesiredNetwork,
    diagnostics: &mut Vec<Diagnostic>,
) -> bool {
    let (document, grammar) = DeTable::parse_recoverable(text);
    let mut reader = Reader {
        file,
        found: Vec::new(),
    };
    let read = reader.document(document.get_ref());
    if grammar.is_empty() {
        diagnostics.append(&mut reader.found);
        network.bonds.extend(read.bonds);
        network.vlans.extend(read.vlans);
        network.bridges.extend(read.bridges);
        return true;
    }
    let lines: Vec<Range<usize>> = grammar
        .iter()
        .map(|e| line_around(text, e.span().map_or(text.len(), |span| span.start)))
        .collect();
    // Below a broken header every key seems to stand in the wrong table.
    let header_broken = lines
        .iter()
        .any(|line| text[line.clone()].trim_start().starts_with('['));
    diagnostics.extend(reader.found.into_iter().filter(|found| {
        let on_broken_line = found
            .span
            .is_some_and(|span| lines.iter().any(|line| touches(line, span)));
        !header_broken && !on_broken_line
    }));
    diagnostics.extend(grammar.iter().map(|e| {
        let span = Span::new(file, e.span().unwrap_or(text.len()..text.len()));
        match e.message() {
            "duplicate key" => {
                Diagnostic::error(Code::DuplicateKey, span, "this stands in the file twice")
                    .with_help("keep one of them, or put both into one")
            }
            message => {
                Diagnostic::error(Code::Syntax, span, format!("this is not TOML: {message}"))
            }
        }
    }));
    false
}

fn line_around(text: &str, offset: usize) -> Range<usize> {
    let offset = text.floor_char_boundary(offset);
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let end = text[offset..]
        .find('\n')
        .map_or(text.len(), |at| offset + at);
    start..end
}

const fn touches(line: &Range<usize>, span: Span) -> bool {
    span.start <= line.end && line.start <= span.end
}

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;
type Value<'a> = Spanned<DeValue<'a>>;

/// Keys of a table that were met, and where.
type Seen = HashMap<&'static str, Span>;

/// The device whose keys are read.
struct Owner {
    kind: &'static str,
    name: String,
}

impl Owner {
    fn new(kind: &'static str, name: &str) -> Self {
        let name = name.to_owned();
        Self { kind, name }
    }
}

/// A kind of table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Bond,
    BondPort,
    Selector,
    Vlan,
    Bridge,
    BridgePort,
    Route,
}

impl Table {
    const fn name(self) -> &'static str {
        match self {
            Self::Bond => "a bond",
            Self::BondPort => "a port",
            Self::Selector => "a selector",
            Self::Vlan => "a VLAN",
            Self::Bridge => "a bridge",
            Self::BridgePort => "a port of a bridge",
            Self::Route => "a route",
        }
    }

    /// Its keys, options aside.
    fn keys(self) -> impl Iterator<Item = &'static str> {
        let (own, shared): (&[&str], &[&str]) = match self {
            Self::Bond => (&BOND_KEYS, &DEVICE_KEYS),
            Self::BondPort => (&[], &[]),
            Self::Selector => (&SELECTOR_KEYS, &[]),
            Self::Vlan => (&VLAN_KEYS, &DEVICE_KEYS),
            Self::Bridge => (&BRIDGE_KEYS, &DEVICE_KEYS),
            Self::BridgePort => (&BRIDGE_PORT_KEYS, &[]),
            Self::Route => (&ROUTE_KEYS, &[]),
        };
        own.iter().chain(shared).copied()
    }
}

/// Where the first of each name stands.
fn by_name<'n>(names: impl Iterator<Item = &'n Located<String>>) -> HashMap<String, usize> {
    let mut index = HashMap::new();
    for (at, name) in names.enumerate() {
        index.entry(name.value.clone()).or_insert(at);
    }
    index
}

/// Walks the document and keeps what is wrong.
struct Reader {
    file: FileId,
    found: Vec<Diagnostic>,
}

impl Reader {
    fn document(&mut self, root: &DeTable<'_>) -> DesiredNetwork {
        let mut network = DesiredNetwork::default();
        for (key, value) in in_order(root) {
            let Some(kind) = KINDS.into_iter().find(|kind| key.get_ref() == kind) else {
                self.unknown_section(key, value);
                continue;
            };
            let help = format!("write [{kind}.NAME] above the keys of a {kind}");
            let Some(table) = self.table(value, kind, &help) else {
                continue;
            };
            for (name, value) in in_order(table) {
                let help = format!("write [{kind}.{}] above its keys", name.get_ref());
                let path = format!("{kind}.{}", name.get_ref());
                let Some(table) = self.table(value, &path, &help) else {
                    continue;
                };
                match kind {
                    "bond" => network.bonds.push(self.bond(name, table)),
                    "vlan" => network.vlans.extend(self.vlan(name, table)),
                    _ => network.bridges.push(self.bridge(name, table)),
                }
            }
        }
        network
    }

    fn unknown_section(&mut self, key: &Key<'_>, value: &Value<'_>) {
        let name = key.get_ref();
        // The name of a device in the place of its kind.
        let device = |kind: &&&str| name.starts_with(**kind) && name[kind.len()..] != *"s";
        let kind = KINDS.iter().find(device);
        let diagnostic = if value.get_ref().is_table() {
            let help = match (kind, closest(name, KINDS)) {
                (None, Some(meant)) => format!("did you mean {meant:?}?"),
                (kind, _) => {
                    let kind = kind.unwrap_or(&KINDS[0]);
                    format!(
                        "a {kind} is described under [{kind}.NAME]; for a {kind} named {name}: [{kind}.{name}]"
                    )
                }
            };
            let message = format!("unknown table {name:?}");
            Diagnostic::error(Code::UnknownKey, self.span(key), message).with_help(help)
        } else {
            Diagnostic::error(
                Code::UnknownKey,
                self.span(key),
                format!("{name:?} stands outside of any bond"),
            )
            .with_help("write [bond.NAME] above the keys of a bond")
        };
        self.found.push(diagnostic);
    }

    fn bond(&mut self, name: &Key<'_>, table: &DeTable<'_>) -> DesiredBond {
        let mut bond = DesiredBond::new(self.name(name.get_ref(), name.span()));
        let owner = Owner::new("bond", &bond.name.value);
        let mut seen = Seen::default();
        let mut port_tables = Vec::new();
        for (key, value) in in_order(table) {
            let key_text = key.get_ref().replace('-', "_");
            let own = DEVICE_KEYS.iter().chain(&BOND_KEYS);
            let what = match key_text.as_str() {
                "ports" | "slaves" | "members" => "ports",
                "port" | "slave" | "member" => "port",
                other => match (own.copied().find(|known| *known == other), find(&key_text)) {
                    (Some(known), _) => known,
                    (None, Some(spec)) if !is_port_option(spec) => spec.name,
                    (None, Some(spec)) => {
                        let message = format!("{} is an option of ports, not of bonds", spec.name);
                        let help = format!("write it under [bond.{}.port.NAME]", owner.name);
                        self.error(Code::UnknownKey, key, message, help);
                        continue;
                    }
                    (None, None) => {
                        self.unknown_key(key, Table::Bond);
                        continue;
                    }
                },
            };
            if !self.once(&mut seen, what, key, &format!(" for {}", owner.name)) {
                continue;
            }
            match what {
                "ports" => {
                    let before = self.found.len();
                    for port in self.texts(value, what, "[\"enp3s0\", \"enp4s0\"]") {
                        let name = self.name(&port.value, port.span.range());
                        let options = Vec::new();
                        bond.ports.push(DesiredPort { name, options });
                    }
                    bond.incomplete |= self.found.len() > before;
                }
                "port" => {
                    let help = format!(
                        "the list of ports is the key \"ports\"; options of a port stand under [bond.{}.port.NAME]",
                        owner.name
                    );
                    port_tables.extend(self.table(value, what, &help));
                }
                "select" => bond.selectors = self.selectors(value, &owner),
                "engine" => bond.engine = self.engine(key, value),
                _ if DEVICE_KEYS.contains(&what) => {
                    self.device_key(what, value, &owner, &mut bond.device);
                }
                _ => match self.option(key, value, OptionChange::parse) {
                    Some(change) => bond.options.push(change),
                    None => bond.incomplete |= matches!(what, "mode" | "miimon" | "arp_interval"),
                },
            }
        }
        for table in port_tables {
            self.ports(table, &mut bond);
        }
        bond
    }

    fn engine(&mut self, key: &Key<'_>, value: &Value<'_>) -> Option<Located<EngineChoice>> {
        let text = self.text(value, "engine", "\"kernel\"")?;
        match text.value.parse() {
            Ok(choice) => Some(Located::new(choice, self.entry(key, value))),
            Err(_) => {
                let message = format!("engine {:?}: there is no such engine", text.value);
                let words = "allowed values: auto, ebpf (our own), kernel (its bonding driver)";
                let help = match closest(&text.value, EngineChoice::WORDS) {
                    Some(meant) => format!("did you mean {meant:?}? {words}"),
                    None => words.to_owned(),
                };
                let found = Diagnostic::error(Code::WrongValue, text.span, message);
                self.found.push(found.with_help(help));
                None
            }
        }
    }

    fn selectors(&mut self, value: &Value<'_>, owner: &Owner) -> Vec<DesiredSelector> {
        let help = format!(
            "write [[bond.{}.select]] above what is asked for",
            owner.name
        );
        let items: Vec<&Value<'_>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut selectors = Vec::new();
        for item in items {
            if let Some(table) = self.table(item, "a selector", &help) {
                selectors.extend(self.selector(item, table));
            }
        }
        selectors
    }

    /// One selector; none if anything is wrong with it, since too much would fit the rest.
    fn selector(&mut self, item: &Value<'_>, table: &DeTable<'_>) -> Option<DesiredSelector> {
        let mut selector = DesiredSelector::new(self.span(item));
        let before = self.found.len();
        let owner = Owner::new("port", "a selector");
        let mut seen = Seen::default();
        for (key, value) in in_order(table) {
            let text = key.get_ref().replace('-', "_");
            let what = match find(&text) {
                Some(spec) if is_port_option(spec) => spec.name,
                _ => match SELECTOR_KEYS.into_iter().find(|known| *known == text) {
                    Some(known) => known,
                    None => {
                        self.unknown_key(key, Table::Selector);
                        continue;
                    }
                },
            };
            if !self.once(&mut seen, what, key, "") {
                continue;
            }
            match what {
                "mac" => selector.mac = self.mac(value, &owner),
                "path" => selector.path = self.pattern(value, what, "\"pci-0000:03:00.*\""),
                "driver" => selector.driver = self.pattern(value, what, "\"ixgbe\""),
                "name" => selector.name = self.pattern(value, what, "\"enp3s0*\""),
                "expect" => {
                    selector.expect = self.number(value, what, "a number of ports", 0..=MAX_EXPECT);
                }
                _ => selector
                    .options
                    .extend(self.option(key, value, PortOptionChange::parse)),
            }
        }
        if !SELECTOR_KEYS[..4].iter().any(|key| seen.contains_key(key)) {
            let message = "a selector asks for nothing, and every interface would fit";
            self.found.push(
                Diagnostic::error(Code::MissingKey, selector.span, message)
                    .with_help("write mac, path, driver or name; name = \"*\" if all are meant"),
            );
        }
        (self.found.len() == before).then_some(selector)
    }

    /// A text that is not empty, since nothing would fit that.
    fn pattern(&mut self, value: &Value<'_>, key: &str, example: &str) -> Option<Located<String>> {
        let text = self.text(value, key, example)?;
        if text.value.is_empty() {
            let message = format!("no interface has an empty {key}");
            self.found.push(
                Diagnostic::error(Code::WrongValue, text.span, message)
                    .with_help(format!("write it like {key} = {example}, or leave it out")),
            );
            return None;
        }
        Some(text)
    }

    fn vlan(&mut self, name: &Key<'_>, table: &DeTable<'_>) -> Option<DesiredVlan> {
        let name = self.name(name.get_ref(), name.span());
        let owner = Owner::new("vlan", &name.value);
        let mut device = DeviceSettings::default();
        let (mut id, mut link) = (None, None);
        let mut seen = Seen::default();
        for (key, value) in in_order(table) {
            let Some(what) = self.known(key, Table::Vlan, &mut seen, &owner) else {
                continue;
            };
            match what {
                "id" => id = self.vid(value, what),
                "link" => {
                    link = self
                        .text(value, what, "\"bond0\"")
                        .map(|link| self.name(&link.value, link.span.range()));
                }
                _ => self.device_key(what, value, &owner, &mut device),
            }
        }
        for (key, example) in [("id", "100"), ("link", "\"bond0\"")] {
            if !seen.contains_key(key) {
                let message = format!("the VLAN {} lacks {key}", owner.name);
                self.found.push(
                    Diagnostic::error(Code::MissingKey, name.span, message)
                        .with_help(format!("write {key} = {example} below it")),
                );
            }
        }
        let (id, link) = (id?, link?);
        Some(DesiredVlan {
            name,
            id,
            link,
            device,
        })
    }

    fn bridge(&mut self, name: &Key<'_>, table: &DeTable<'_>) -> DesiredBridge {
        let mut bridge = DesiredBridge::new(self.name(name.get_ref(), name.span()));
        let owner = Owner::new("bridge", &bridge.name.value);
        let mut seen = Seen::default();
        let mut port_tables = None;
        for (key, value) in in_order(table) {
            let Some(what) = self.known(key, Table::Bridge, &mut seen, &owner) else {
                continue;
            };
            match what {
                "ports" => {
                    for port in self.texts(value, what, "[\"bond0\"]") {
                        let name = self.name(&port.value, port.span.range());
                        bridge.ports.push(DesiredBridgePort::new(name));
                    }
                }
                "port" => {
                    let help = format!(
                        "the list of ports is the key \"ports\"; VLANs of a port stand under [bridge.{}.port.NAME]",
                        owner.name
                    );
                    port_tables = self.table(value, what, &help);
                }
                "vlan_aware" => bridge.vlan_aware = self.boolean(value, what),
                "stp" => bridge.stp = self.boolean(value, what),
                "vids" => bridge.vids = self.vids(value),
                "pvid" => bridge.pvid = self.vid(value, what),
                "forward_delay" => {
                    bridge.forward_delay =
                        self.number(value, what, "a number of seconds", 0..=u32::MAX);
                }
                _ => self.device_key(what, value, &owner, &mut bridge.device),
            }
        }
        if let Some(tables) = port_tables {
            self.bridge_ports(tables, &mut bridge);
        }
        bridge.settle_vids();
        bridge
    }

    /// The tables with VLANs of single ports.
    fn bridge_ports(&mut self, tables: &DeTable<'_>, bridge: &mut DesiredBridge) {
        let index: HashMap<String, usize> = by_name(bridge.ports.iter().map(|port| &port.name));
        for (name, value) in in_order(tables) {
            let (of, port) = (&bridge.name.value, name.get_ref());
            let help = format!("write [bridge.{of}.port.{port}] above the VLANs of a port");
            let Some(table) = self.table(value, port, &help) else {
                continue;
            };
            let owner = Owner::new("port", port);
            let (mut vids, mut pvid) = (Vec::new(), None);
            let mut seen = Seen::default();
            for (key, value) in in_order(table) {
                match self.known(key, Table::BridgePort, &mut seen, &owner) {
                    Some("vids") => vids = self.vids(value),
                    Some(what) => pvid = self.vid(value, what),
                    None => {}
                }
            }
            match index.get(port.as_ref()) {
                Some(index) => {
                    bridge.ports[*index].vids = vids;
                    bridge.ports[*index].pvid = pvid;
                }
                None => self.not_a_port(name, of, bridge.ports.iter().map(|port| &port.name)),
            }
        }
    }

    /// A key of a table that knows no options, if it is one and stands there for the first time.
    fn known(
        &mut self,
        key: &Key<'_>,
        table: Table,
        seen: &mut Seen,
        owner: &Owner,
    ) -> Option<&'static str> {
        let text = key.get_ref().replace('-', "_");
        let Some(what) = table.keys().find(|known| *known == text) else {
            self.unknown_key(key, table);
            return None;
        };
        self.once(seen, what, key, &format!(" for {}", owner.name))
            .then_some(what)
    }

    /// Whether a key stands there for the first time; reports it otherwise.
    fn once(&mut self, seen: &mut Seen, what: &'static str, key: &Key<'_>, of: &str) -> bool {
        let Some(first) = seen.get(what) else {
            seen.insert(what, self.span(key));
            return true;
        };
        let message = format!("{} is given twice{of}", named(key.get_ref(), what));
        self.found.push(
            Diagnostic::error(Code::DuplicateKey, self.span(key), message)
                .with_related(*first, "first given here")
                .with_help("keep one of them"),
        );
        false
    }

    /// A key that every device has.
    fn device_key(
        &mut self,
        what: &str,
        value: &Value<'_>,
        owner: &Owner,
        device: &mut DeviceSettings,
    ) {
        match what {
            "address" => {
                for text in self.texts(value, what, "\"192.168.1.100/24\"") {
                    device.addresses.extend(self.parsed::<Cidr>(&text));
                }
            }
            "gateway" => self.gateways(value, owner, device),
            "route" => self.routes(value, owner, device),
            "dhcp4" => device.dhcp_v4 = self.boolean(value, what),
            "dhcp6" => device.dhcp_v6 = self.boolean(value, what),
            "accept_ra" => device.accept_ra = self.boolean(value, what),
            "dns" => {
                for text in self.texts(value, what, "\"192.168.1.53\"") {
                    match text.value.parse() {
                        Ok(server) => device.dns.push(Located::new(server, text.span)),
                        Err(_) => self.no_address(&text, "a name server"),
                    }
                }
            }
            "search" => {
                let domains = self.texts(value, what, "\"example.org\"");
                device.search.extend(domains);
            }
            "mtu" => device.mtu = self.number(value, what, "a number of bytes", MTU),
            _ => device.mac = self.mac(value, owner),
        }
    }

    fn routes(&mut self, value: &Value<'_>, owner: &Owner, device: &mut DeviceSettings) {
        let help = "write it like route = [{ to = \"10.0.0.0/8\", via = \"192.168.1.254\" }]";
        let items: Vec<&Value<'_>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        for item in items {
            if let Some(table) = self.table(item, "a route", help)
                && let Some(route) = self.route(item, table, owner)
            {
                device.add_route(route);
            }
        }
    }

    fn route(
        &mut self,
        item: &Value<'_>,
        table: &DeTable<'_>,
        owner: &Owner,
    ) -> Option<Located<Route>> {
        let mut route = Route::new(Network::DEFAULT_V4, None);
        let (mut to, mut default) = (None, false);
        let mut seen = Seen::default();
        let before = self.found.len();
        for (key, value) in in_order(table) {
            match self.known(key, Table::Route, &mut seen, owner) {
                Some("to") => match self.text(value, "to", "\"10.0.0.0/8\"") {
                    Some(text) if text.value == "default" => default = true,
                    Some(text) => to = self.parsed::<Network>(&text).map(|to| to.value),
                    None => {}
                },
                Some("via") => {
                    let text = self.text(value, "via", "\"192.168.1.254\"");
                    match text.map(|text| (text.value.parse::<IpAddr>(), text)) {
                        Some((Ok(via), _)) => route.via = Some(via),
                        Some((Err(_), text)) => self.no_address(&text, "a router"),
                        None => {}
                    }
                }
                Some("metric") => {
                    let metric = self.number(value, "metric", "a number", 0..=u32::MAX);
                    route.metric = metric.map(|metric| metric.value);
                }
                Some("table") => {
                    let table = self.number(value, "table", "the number of a table", 1..=u32::MAX);
                    route.table = table.map(|table| table.value);
                }
                Some(_) => {
                    let on_link = self.boolean(value, "on_link");
                    route.on_link = on_link.is_some_and(|on_link| on_link.value);
                }
                None => {}
            }
        }
        if !seen.contains_key("to") {
            let message = format!("a route of {} lacks to", owner.name);
            self.found.push(
                Diagnostic::error(Code::MissingKey, self.span(item), message).with_help(
                    "write where it leads, like to = \"10.0.0.0/8\" or to = \"default\"",
                ),
            );
        }
        if default {
            to = Some(route.via.map_or(Network::DEFAULT_V4, Network::default_like));
        }
        route.to = to?;
        (self.found.len() == before).then(|| Located::new(route, self.span(item)))
    }

    /// The tables with options of single ports.
    fn ports(&mut self, tables: &DeTable<'_>, bond: &mut DesiredBond) {
        let index: HashMap<String, usize> = by_name(bond.ports.iter().map(|port| &port.name));
        for (name, value) in in_order(tables) {
            let (of, port) = (&bond.name.value, name.get_ref());
            let help = format!("write [bond.{of}.port.{port}] above the options of a port");
            let Some(table) = self.table(value, port, &help) else {
                continue;
            };
            let options = self.port_options(table);
            match index.get(port.as_ref()) {
                Some(index) => bond.ports[*index].options.extend(options),
                None if bond.incomplete => {}
                None => self.not_a_port(name, of, bond.ports.iter().map(|port| &port.name)),
            }
        }
    }

    /// Reports a table for a port that is none.
    fn not_a_port<'p>(
        &mut self,
        name: &Key<'_>,
        of: &str,
        ports: impl Iterator<Item = &'p Located<String>>,
    ) {
        let message = format!("{} is not among the ports of {of}", name.get_ref());
        let names: Vec<&str> = ports.map(|port| port.value.as_str()).collect();
        let help = match closest(name.get_ref(), names.iter().copied()) {
            Some(meant) => {
                format!("did you mean {meant:?}? The ports are {}", names.join(", "))
            }
            None if names.is_empty() => "list it in the key \"ports\"".to_owned(),
            None => format!("add it to the ports, which are {}", names.join(", ")),
        };
        self.error(Code::NotAPort, name, message, help);
    }

    fn port_options(&mut self, table: &DeTable<'_>) -> Vec<Located<PortOptionChange>> {
        let mut options = Vec::new();
        let mut seen = Seen::default();
        for (key, value) in in_order(table) {
            let spec = match find(key.get_ref()) {
                Some(spec) if is_port_option(spec) => spec,
                Some(spec) => {
                    let message =
                        format!("{} is an option of bonds, not of single ports", spec.name);
                    let help = "write it under the bond itself".to_owned();
                    self.error(Code::UnknownKey, key, message, help);
                    continue;
                }
                None => {
                    self.unknown_key(key, Table::BondPort);
                    continue;
                }
            };
            if self.once(&mut seen, spec.name, key, "") {
                options.extend(self.option(key, value, PortOptionChange::parse));
            }
        }
        options
    }

    fn unknown_key(&mut self, key: &Key<'_>, table: Table) {
        let text = key.get_ref();
        let port = matches!(table, Table::BondPort | Table::Selector);
        let takes_options = port || table == Table::Bond;
        let options = OPTIONS
            .iter()
            .filter(|spec| takes_options && is_port_option(spec) == port);
        let candidates: Vec<&str> = table.keys().chain(options.map(|spec| spec.name)).collect();
        let elsewhere =
            known_elsewhere(text).filter(|(spec, _)| takes_options && is_port_option(spec) == port);
        let help = match (closest(text, candidates.iter().copied()), elsewhere) {
            (_, Some((spec, tool))) => {
                format!("this is the name {tool} has for it; write {}", spec.name)
            }
            (Some(meant), _) => format!("did you mean {meant:?}?"),
            (None, _) if table == Table::BondPort => {
                format!("the options of a port are {}", candidates.join(", "))
            }
            (None, _) if table == Table::Bond => format!(
                "keys of a bond are ports, port, select, engine, {}, and the options of bonding ('oxbond up --help' lists them)",
                DEVICE_KEYS.join(", ")
            ),
            (None, _) => format!("keys of {} are {}", table.name(), candidates.join(", ")),
        };
        let message = format!("unknown key {text:?} for {}", table.name());
        self.error(Code::UnknownKey, key, message, help);
    }

    /// An option's value in the option table's own notation, then parsed by it.
    fn option<T>(
        &mut self,
        key: &Key<'_>,
        value: &Value<'_>,
        parse: impl Fn(&str, &str) -> Result<T, OptionError>,
    ) -> Option<Located<T>> {
        let spec = find(key.get_ref())?;
        let text = match self.option_text(spec, value) {
            Ok(text) => text,
            Err(diagnostic) => {
                self.found.push(*diagnostic);
                return None;
            }
        };
        match parse(spec.name, &text) {
            Ok(change) => Some(Located::new(change, self.entry(key, value))),
            Err(e) => {
                self.found.push(refusal(&e, self.span(value)));
                None
            }
        }
    }

    fn option_text(&self, spec: &OptionSpec, value: &Value<'_>) -> Result<String, Box<Diagnostic>> {
        let wrong_type = |span: Range<usize>, kind: &str| {
            let message = format!("{} takes no {kind}", spec.name);
            let help = format!("allowed values: {}", spec.allowed());
            Box::new(
                Diagnostic::error(Code::WrongType, Span::new(self.file, span), message)
                    .with_help(help),
            )
        };
        let is_list = matches!(spec.kind, Kind::Ipv4List(_) | Kind::Ipv6List(_));
        match value.get_ref() {
            DeValue::String(text) => duration(text, spec.unit).map_err(|wrong| {
                let message = format!("{} cannot be {text:?}: {wrong}", spec.name);
                let help = format!("allowed values: {}", spec.allowed());
                Box::new(
                    Diagnostic::error(Code::WrongValue, self.span(value), message).with_help(help),
                )
            }),
            DeValue::Integer(number) => Ok(decimal(number)),
            DeValue::Boolean(yes) if takes_boolean(spec) => Ok(u8::from(*yes).to_string()),
            DeValue::Array(elements) if is_list => {
                let mut texts = Vec::new();
                for element in elements.iter() {
                    match element.get_ref() {
                        DeValue::String(text) => texts.push(text.as_ref()),
                        other => return Err(wrong_type(element.span(), other.type_str())),
                    }
                }
                Ok(texts.join(","))
            }
            other => Err(wrong_type(value.span(), other.type_str())),
        }
    }

    fn gateways(&mut self, value: &Value<'_>, owner: &Owner, device: &mut DeviceSettings) {
        for text in self.texts(value, "gateway", "\"192.168.1.1\"") {
            let Ok(address) = text.value.parse::<IpAddr>() else {
                self.no_address(&text, "a gateway");
                continue;
            };
            if let Some(kind) = not_a_host(address) {
                let message = format!("{address} cannot be a gateway: it is {kind}");
                self.found
                    .push(Diagnostic::error(Code::WrongValue, text.span, message));
                continue;
            }
            let before = match address {
                IpAddr::V4(address) => device
                    .gateway_v4
                    .replace(Located::new(address, text.span))
                    .map(|first| ("IPv4", first.span)),
                IpAddr::V6(address) => device
                    .gateway_v6
                    .replace(Located::new(address, text.span))
                    .map(|first| ("IPv6", first.span)),
            };
            if let Some((family, first)) = before {
                let message = format!(
                    "{} has a second default gateway for {family}: {address}",
                    owner.name
                );
                self.found.push(
                    Diagnostic::error(Code::DuplicateKey, text.span, message)
                        .with_related(first, "the first")
                        .with_help("keep one; at most one for IPv4 and one for IPv6"),
                );
            }
        }
    }

    /// Reports what should be an address without a prefix.
    fn no_address(&mut self, text: &Located<String>, what: &str) {
        let message = format!("{:?} is no IP address", text.value);
        let help = format!("{what} is written without prefix length, like 192.168.1.1 or fd00::1");
        self.found
            .push(Diagnostic::error(Code::WrongValue, text.span, message).with_help(help));
    }

    fn boolean(&mut self, value: &Value<'_>, key: &str) -> Option<Located<bool>> {
        if let DeValue::Boolean(on) = value.get_ref() {
            return Some(Located::new(*on, self.span(value)));
        }
        let kind = a(value.get_ref().type_str());
        let message = format!("{key} takes true or false, not {kind}");
        self.found.push(Diagnostic::error(
            Code::WrongType,
            self.span(value),
            message,
        ));
        None
    }

    /// A number in a range; `what` says what it counts.
    fn number(
        &mut self,
        value: &Value<'_>,
        key: &str,
        what: &str,
        range: core::ops::RangeInclusive<u32>,
    ) -> Option<Located<u32>> {
        let number = match value.get_ref() {
            DeValue::Integer(number) => decimal(number).parse().ok(),
            DeValue::String(text) => text.parse().ok(),
            _ => None,
        };
        if let Some(number) = number.filter(|number| range.contains(number)) {
            return Some(Located::new(number, self.span(value)));
        }
        let message = format!("{key} takes {what}");
        let help = format!("allowed values: {} - {}", range.start(), range.end());
        self.found
            .push(Diagnostic::error(Code::WrongValue, self.span(value), message).with_help(help));
        None
    }

    fn vid(&mut self, value: &Value<'_>, key: &str) -> Option<Located<u16>> {
        let number = self.number(value, key, "the identifier of a VLAN", VIDS)?;
        // The range lies within 16 bits.
        Some(Located::new(u16::try_from(number.value).ok()?, number.span))
    }

    /// VLANs: numbers and runs of them.
    fn vids(&mut self, value: &Value<'_>) -> Vec<Located<VidRange>> {
        let items: Vec<&Value<'_>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut vids = Vec::new();
        for item in items {
            let text = match item.get_ref() {
                DeValue::Integer(number) => Some(Located::new(decimal(number), self.span(item))),
                _ => self.text(item, "vids", "[10, \"20-30\"]"),
            };
            vids.extend(text.and_then(|text| self.parsed::<VidRange>(&text)));
        }
        vids
    }

    fn mac(&mut self, value: &Value<'_>, owner: &Owner) -> Option<Located<MacAddr>> {
        let text = self.text(value, "mac", "\"02:00:5e:00:53:01\"")?;
        let mac = self.parsed::<MacAddr>(&text)?;
        if mac.value.is_unicast() {
            return Some(mac);
        }
        let kind = if mac.value.is_zero() {
            "zero"
        } else {
            "the address of a group (its first octet is odd)"
        };
        let message = format!(
            "{} cannot be the address of a {}: it is {kind}",
            mac.value, owner.kind
        );
        let help = match owner.kind {
            "bond" => "leave mac out to take the first port's address",
            "port" => "write the address the interface was made with",
            _ => "leave mac out to keep the address it gets by itself",
        };
        self.found
            .push(Diagnostic::error(Code::WrongValue, mac.span, message).with_help(help));
        None
    }

    /// An interface's name. One that cannot be is reported and kept, so that what refers to it is not reported too.
    fn name(&mut self, name: &str, range: Range<usize>) -> Located<String> {
        let span = Span::new(self.file, range);
        if let Err(e) = check_interface_name(name) {
            self.found
                .push(Diagnostic::error(Code::InvalidName, span, e.to_string()));
        }
        Located::new(name.to_owned(), span)
    }

    fn parsed<T>(&mut self, text: &Located<String>) -> Option<Located<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        match text.value.parse() {
            Ok(value) => Some(Located::new(value, text.span)),
            Err(e) => {
                self.found.push(Diagnostic::error(
                    Code::WrongValue,
                    text.span,
                    e.to_string(),
                ));
                None
            }
        }
    }

    fn table<'v, 'i>(
        &mut self,
        value: &'v Value<'i>,
        name: &str,
        help: &str,
    ) -> Option<&'v DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let message = format!("{name} is a table, not {}", a(value.get_ref().type_str()));
            self.found.push(
                Diagnostic::error(Code::WrongType, self.span(value), message).with_help(help),
            );
        }
        table
    }

    fn text(&mut self, value: &Value<'_>, key: &str, example: &str) -> Option<Located<String>> {
        if let DeValue::String(text) = value.get_ref() {
            return Some(Located::new(text.to_string(), self.span(value)));
        }
        let message = format!("{key} takes a text, not {}", a(value.get_ref().type_str()));
        let help = format!("write it like {key} = {example}");
        self.found
            .push(Diagnostic::error(Code::WrongType, self.span(value), message).with_help(help));
        None
    }

    /// A list of texts; one text alone is a list of one.
    fn texts(&mut self, value: &Value<'_>, key: &str, example: &str) -> Vec<Located<String>> {
        match value.get_ref() {
            DeValue::Array(elements) => elements
                .iter()
                .filter_map(|element| self.text(element, key, example))
                .collect(),
            _ => self.text(value, key, example).into_iter().collect(),
        }
    }

    fn error(&mut self, code: Code, key: &Key<'_>, message: String, help: String) {
        self.found
            .push(Diagnostic::error(code, self.span(key), message).with_help(help));
    }

    fn span<T>(&self, spanned: &Spanned<T>) -> Span {
        Span::new(self.file, spanned.span())
    }

    /// The whole entry, from key to value.
    fn entry(&self, key: &Key<'_>, value: &Value<'_>) -> Span {
        Span::new(
            self.file,
            key.span().start..value.span().end.max(key.span().end),
        )
    }
}

/// The entries in the order they were written; the parser keeps them by name.
fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Key<'i>, &'t Value<'i>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// A key as it was written, with the name of what it means where that is another.
fn named(written: &str, meant: &str) -> String {
    if written.replace('-', "_") == meant {
        meant.to_owned()
    } else {
        format!("{meant} (here as {written})")
    }
}

/// The name of a kind of value with its article.
fn a(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'i']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {kind}")
}

/// `true` and `false` stand for 1 and 0 where these are all an option takes.
fn takes_boolean(spec: &OptionSpec) -> bool {
    match spec.kind {
        Kind::Flag => true,
        Kind::Words(words) => words.len() == 2 && words.iter().any(|word| word.name == "off"),
        _ => false,
    }
}

/// A number in decimal notation, whatever its radix in the file. One that does not fit stays as written, for the
/// option table to refuse.
fn decimal(number: &DeInteger<'_>) -> String {
    i64::from_str_radix(number.as_str(), number.radix())
        .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string())
}

/// Turns `100ms` or `1s` into a bare number of the option's unit. Texts that are no durations, and all of options that
/// count no time, stay as they are.
fn duration(text: &str, unit: Unit) -> Result<String, String> {
    let unit_ms: u64 = match unit {
        Unit::None => return Ok(text.to_owned()),
        Unit::Milliseconds => 1,
        Unit::Seconds => 1000,
    };
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let suffix_ms: u64 = match suffix.trim_start() {
        _ if digits == 0 => return Ok(text.to_owned()),
        "" => return Ok(text.to_owned()),
        "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        other => return Err(format!("{other:?} is no unit of time; ms, s and min are")),
    };
    let ms = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(suffix_ms))
        .ok_or("it is too long")?;
    if ms % unit_ms != 0 {
        return Err("it counts whole seconds".to_owned());
    }
    Ok((ms / unit_ms).to_string())
}

/// Writes one file.
pub fn write(network: &DesiredNetwork) -> Written {
    let mut writer = Writer::default();
    for bond in &network.bonds {
        if let Some(path) = writer.device_header("bond", &bond.name) {
            writer.bond(bond, &path);
        }
    }
    for vlan in &network.vlans {
        if writer.device_header("vlan", &vlan.name).is_some() {
            writer.line("id", vlan.id.value);
            writer.line("link", quoted(&vlan.link.value));
            writer.device(&vlan.device);
        }
    }
    for bridge in &network.bridges {
        if let Some(path) = writer.device_header("bridge", &bridge.name) {
            writer.bridge(bridge, &path);
        }
    }
    Written::one(HOME, 0o644, writer.text, writer.report)
}

#[derive(Default)]
struct Writer {
    text: String,
    report: Report,
    /// Tables there are.
    tables: HashSet<String>,
}

impl Writer {
    fn bond(&mut self, bond: &DesiredBond, path: &str) {
        if let Some(engine) = &bond.engine {
            self.line("engine", quoted(engine.value.word()));
        }
        for option in &bond.options {
            let change = &option.value;
            self.line(
                change.id.name(),
                option_value(&change.value, change.id.spec()),
            );
        }
        self.list("ports", bond.ports.iter().map(|port| &port.name.value));
        self.device(&bond.device);
        for port in &bond.ports {
            if !port.options.is_empty() && self.port_header(path, &port.name) {
                self.port_options(&port.options);
            }
        }
        for selector in &bond.selectors {
            self.blank();
            // Writing to a string cannot fail.
            let _ = writeln!(self.text, "[[{path}.select]]");
            for (key, value) in selector.criteria() {
                self.line(key, quoted(&value));
            }
            if let Some(expect) = &selector.expect {
                self.line("expect", expect.value);
            }
            self.port_options(&selector.options);
        }
        let monitors = [OptionId::Miimon, OptionId::ArpInterval];
        if monitors.iter().all(|id| bond.option(*id).is_none()) {
            let what =
                format!("without a monitor oxbond checks the links every {DEFAULT_MIIMON_MS} ms");
            self.report.changed(bond.name.span, what);
        }
    }

    fn port_options(&mut self, options: &[Located<PortOptionChange>]) {
        for option in options {
            let change = &option.value;
            let value = option_value(&change.value, change.id.spec());
            self.line(change.id.name(), value);
        }
    }

    fn bridge(&mut self, bridge: &DesiredBridge, path: &str) {
        self.list("ports", bridge.ports.iter().map(|port| &port.name.value));
        self.flag("vlan_aware", &bridge.vlan_aware);
        self.vids(&bridge.vids, &bridge.pvid);
        self.flag("stp", &bridge.stp);
        if let Some(delay) = &bridge.forward_delay {
            self.line("forward_delay", delay.value);
        }
        self.device(&bridge.device);
        for port in &bridge.ports {
            let silent = port.vids.is_empty() && port.pvid.is_none();
            if !silent && self.port_header(path, &port.name) {
                self.vids(&port.vids, &port.pvid);
            }
        }
    }

    fn vids(&mut self, vids: &[Located<VidRange>], pvid: &Option<Located<u16>>) {
        self.list("vids", vids.iter().map(|vids| vids.value));
        if let Some(pvid) = pvid {
            self.line("pvid", pvid.value);
        }
    }

    fn device(&mut self, device: &DeviceSettings) {
        let addresses = device.addresses.iter().map(|address| address.value);
        self.list("address", addresses);
        self.flag("dhcp4", &device.dhcp_v4);
        self.flag("dhcp6", &device.dhcp_v6);
        self.flag("accept_ra", &device.accept_ra);
        let v4 = device.gateway_v4.iter().map(|via| IpAddr::V4(via.value));
        let v6 = device.gateway_v6.iter().map(|via| IpAddr::V6(via.value));
        self.list("gateway", v4.chain(v6));
        let routes: Vec<String> = device
            .routes
            .iter()
            .map(|route| write_route(&route.value))
            .collect();
        match routes.as_slice() {
            [] => {}
            [route] => self.line("route", format_args!("[{route}]")),
            routes => self.line("route", format_args!("[\n  {},\n]", routes.join(",\n  "))),
        }
        self.list("dns", device.dns.iter().map(|server| server.value));
        self.list("search", device.search.iter().map(|domain| &domain.value));
        if let Some(mtu) = &device.mtu {
            self.line("mtu", mtu.value);
        }
        if let Some(mac) = &device.mac {
            self.line("mac", quoted(&mac.value.to_string()));
        }
    }

    /// The header of a device's table, unless there is one of this name already.
    fn device_header(&mut self, kind: &str, name: &Located<String>) -> Option<String> {
        let path = format!("{kind}.{}", key(&name.value));
        if self.header(&path) {
            return Some(path);
        }
        let why = format!("there is another {kind} of this name");
        self.report
            .unsupported(name.span, why, "rename one of them");
        None
    }

    /// The header of a port's table, unless there is one of this name already.
    fn port_header(&mut self, path: &str, name: &Located<String>) -> bool {
        let first = self.header(&format!("{path}.port.{}", key(&name.value)));
        if !first {
            let why = "the port is named twice";
            self.report
                .unsupported(name.span, why, "remove one of them");
        }
        first
    }

    /// Begins a table, if there is none of this path yet.
    fn header(&mut self, path: &str) -> bool {
        if !self.tables.insert(path.to_owned()) {
            return false;
        }
        self.blank();
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "[{path}]");
        true
    }

    /// An empty line, but not at the beginning.
    fn blank(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    fn flag(&mut self, key: &str, flag: &Option<Located<bool>>) {
        if let Some(flag) = flag {
            self.line(key, flag.value);
        }
    }

    /// A list; nothing if it is empty.
    fn list(&mut self, key: &str, items: impl Iterator<Item = impl Display>) {
        let items: Vec<String> = items.map(|item| quoted(&item.to_string())).collect();
        if !items.is_empty() {
            self.line(key, format_args!("[{}]", items.join(", ")));
        }
    }

    fn line(&mut self, key: &str, value: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{key} = {value}");
    }
}

/// An option's value as it is read.
fn option_value(value: &OptionValue, spec: &OptionSpec) -> String {
    match (value, spec.kind) {
        // 0 is a word there.
        (OptionValue::Number(number), Kind::NumberOrWord { .. }) if *number != 0 => {
            number.to_string()
        }
        (OptionValue::Number(number), Kind::Number { .. } | Kind::Flag) => number.to_string(),
        (OptionValue::Ipv4(list), _) => texts(list),
        (OptionValue::Ipv6(list), _) => texts(list),
        (value, kind) => quoted(&value.text(kind)),
    }
}

fn write_route(route: &Route) -> String {
    let mut text = format!("{{ to = {}", quoted(&route.to.to_string()));
    // Writing to a string cannot fail.
    if let Some(via) = route.via {
        let _ = write!(text, ", via = {}", quoted(&via.to_string()));
    }
    if let Some(metric) = route.metric {
        let _ = write!(text, ", metric = {metric}");
    }
    if let Some(table) = route.table {
        let _ = write!(text, ", table = {table}");
    }
    if route.on_link {
        text.push_str(", on_link = true");
    }
    text + " }"
}

/// A list of texts.
fn texts<T: Display>(list: &[T]) -> String {
    let list: Vec<String> = list.iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", list.join(", "))
}

/// A text as a key: bare where the grammar has it.
fn key(text: &str) -> String {
    let bare = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if bare { text.to_owned() } else { quoted(text) }
}

/// A text in quotes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        use Unit::{Milliseconds, None, Seconds};
        for (text, unit, value) in [
            ("100", Milliseconds, "100"),
            ("100ms", Milliseconds, "100"),
            (" 100 ms ", Milliseconds, "100"),
            ("1s", Milliseconds, "1000"),
            ("2min", Seconds, "120"),
            ("1000ms", Seconds, "1"),
            ("3", Seconds, "3"),
            ("default", Milliseconds, "default"),
            ("7s", None, "7s"),
        ] {
            assert_eq!(duration(text, unit), Ok(value.to_owned()), "{text}");
        }
        for (text, unit, word) in [
            ("1500ms", Seconds, "whole seconds"),
            ("5h", Milliseconds, "\"h\" is no unit"),
            ("1.5s", Milliseconds, "\".5s\" is no unit"),
            ("99999999999999999999s", Seconds, "too long"),
        ] {
            let error = duration(text, unit).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
