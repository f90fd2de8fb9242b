//! Our own dialect: `/etc/oxbond/*.toml`.
//!
//! ```toml
//! [bond.bond0]
//! mode = "active-backup"
//! ports = ["enp3s0", "enp4s0"]     # or slaves, members
//! primary = "enp3s0"
//! miimon = 100                     # milliseconds; "100ms" and "1s" too
//! address = ["192.168.1.100/24", "fd00::100/64"]
//! gateway = "192.168.1.1"
//! mtu = 9000
//!
//! [bond.bond0.port.enp3s0]         # or slave, member
//! prio = 10
//! ```
//!
//! Every option of the option table is a key here under each of its names, with `-` or `_`. Its value is a word or a
//! number; lists of addresses are TOML lists.

use core::fmt::Display;
use core::net::IpAddr;
use core::ops::Range;
use core::str::FromStr;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use oxbond_core::option::{
    Kind, OPTIONS, OptionChange, OptionError, OptionSpec, OptionValue, PortOptionChange, Unit, find,
};
use oxbond_wire::MacAddr;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::common::unspelt;
use super::{OutputFile, Reading, Written};
use crate::check::refusal;
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{Cidr, DesiredBond, DesiredNetwork, DesiredPort, DeviceSettings, not_a_host};
use crate::name::check_interface_name;
use crate::report::Report;
use crate::span::{FileId, Located, Sources, Span};
use crate::suggest::{closest, is_port_option, known_elsewhere};

/// MTUs a bond can have: from what IPv4 needs to the largest an interface can be given.
const MTU: core::ops::RangeInclusive<i64> = 68..=65535;

/// Where it is written to.
const HOME: &str = "/etc/oxbond/network.toml";

/// Keys of a bond that are no options.
const BOND_KEYS: [&str; 10] = [
    "ports", "slaves", "members", "port", "slave", "member", "address", "gateway", "mtu", "mac",
];

/// Reads all files of a set. What is wrong is told twice: as a diagnostic, and as the fate of its line.
pub fn read(sources: &Sources) -> Reading {
    let mut reading = Reading::default();
    for (file, source) in sources.iter() {
        let text = &source.text;
        read_file(file, text, &mut reading.network, &mut reading.diagnostics);
        reading.report.mapped(Span::new(file, 0..text.len()));
    }
    for found in &reading.diagnostics {
        let Some(span) = found.span else { continue };
        let report = &mut reading.report;
        if found.code == Code::Syntax {
            let whole = Span::new(span.file, 0..sources.get(span.file).text.len());
            report.unsupported(whole, "the file is not TOML", "correct it");
        }
        let way_out = found.help.as_deref().unwrap_or("correct it");
        report.unsupported(span, &found.message, way_out);
    }
    reading
}

/// Reads one file, and adds what it wants.
///
/// A file with grammar errors adds nothing, since what is missing of it would only raise more errors; but what is
/// wrong on its other lines is reported too.
pub fn read_file(
    file: FileId,
    text: &str,
    network: &mut DesiredNetwork,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let (document, grammar) = DeTable::parse_recoverable(text);
    let mut reader = Reader {
        file,
        found: Vec::new(),
    };
    let bonds = reader.document(document.get_ref());
    if grammar.is_empty() {
        diagnostics.append(&mut reader.found);
        network.bonds.extend(bonds);
        return;
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

/// Walks the document and keeps what is wrong.
struct Reader {
    file: FileId,
    found: Vec<Diagnostic>,
}

impl Reader {
    fn document(&mut self, root: &DeTable<'_>) -> Vec<DesiredBond> {
        let mut bonds = Vec::new();
        for (key, value) in in_order(root) {
            if key.get_ref() != "bond" {
                self.unknown_section(key, value);
                continue;
            }
            let Some(table) =
                self.table(value, "bond", "write [bond.NAME] above the keys of a bond")
            else {
                continue;
            };
            for (name, value) in in_order(table) {
                let help = format!("write [bond.{}] above its keys", name.get_ref());
                if let Some(table) = self.table(value, &format!("bond.{}", name.get_ref()), &help) {
                    bonds.push(self.bond(name, table));
                }
            }
        }
        bonds
    }

    fn unknown_section(&mut self, key: &Key<'_>, value: &Value<'_>) {
        let name = key.get_ref();
        let diagnostic = if value.get_ref().is_table() {
            Diagnostic::error(
                Code::UnknownKey,
                self.span(key),
                format!("unknown table {name:?}"),
            )
            .with_help(match closest(name, ["bond"]) {
                Some(_) if !name.starts_with("bond") || name == "bonds" => {
                    "did you mean \"bond\"?".to_owned()
                }
                _ => format!(
                    "a bond is described under [bond.NAME]; for a bond named {name}: [bond.{name}]"
                ),
            })
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
        let mut seen: Vec<(&str, Span)> = Vec::new();
        let mut port_tables = Vec::new();
        for (key, value) in in_order(table) {
            let entry = self.entry(key, value);
            let key_text = key.get_ref().replace('-', "_");
            let what = match key_text.as_str() {
                "ports" | "slaves" | "members" => "ports",
                "port" | "slave" | "member" => "port",
                other => match (
                    BOND_KEYS.iter().find(|known| **known == other),
                    find(key.get_ref()),
                ) {
                    (Some(known), _) => known,
                    (None, Some(spec)) if !is_port_option(spec) => spec.name,
                    (None, Some(spec)) => {
                        let message = format!("{} is an option of ports, not of bonds", spec.name);
                        let help = format!("write it under [bond.{}.port.NAME]", bond.name.value);
                        self.error(Code::UnknownKey, key, message, help);
                        continue;
                    }
                    (None, None) => {
                        self.unknown_key(key, "a bond", false);
                        continue;
                    }
                },
            };
            if let Some((_, first)) = seen.iter().find(|(name, _)| *name == what) {
                let message = format!(
                    "{} is given twice for {}",
                    named(key.get_ref(), what),
                    bond.name.value
                );
                self.found.push(
                    Diagnostic::error(Code::DuplicateKey, self.span(key), message)
                        .with_related(*first, "first given here")
                        .with_help("keep one of them"),
                );
                continue;
            }
            seen.push((what, self.span(key)));
            match what {
                "ports" => {
                    let before = self.found.len();
                    for port in self.texts(value, what, "[\"enp3s0\", \"enp4s0\"]") {
                        let name = self.name(&port.value, port.span.range());
                        bond.ports.push(DesiredPort {
                            name,
                            options: Vec::new(),
                        });
                    }
                    bond.incomplete |= self.found.len() > before;
                }
                "port" => {
                    let help = format!(
                        "the list of ports is the key \"ports\"; options of a port stand under [bond.{}.port.NAME]",
                        bond.name.value
                    );
                    port_tables.extend(self.table(value, what, &help));
                }
                "address" => {
                    for text in self.texts(value, what, "\"192.168.1.100/24\"") {
                        bond.device.addresses.extend(self.parsed::<Cidr>(&text));
                    }
                }
                "gateway" => self.gateways(value, &mut bond),
                "mtu" => bond.device.mtu = self.mtu(value),
                "mac" => bond.device.mac = self.mac(value),
                _ => match self.option(key, value, entry, OptionChange::parse) {
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

    /// The tables with options of single ports.
    fn ports(&mut self, tables: &DeTable<'_>, bond: &mut DesiredBond) {
        for (name, value) in in_order(tables) {
            let help = format!(
                "write [bond.{}.port.{}] above the options of a port",
                bond.name.value,
                name.get_ref()
            );
            let Some(table) = self.table(value, name.get_ref(), &help) else {
                continue;
            };
            let options = self.port_options(table);
            if let Some(port) = bond
                .ports
                .iter_mut()
                .find(|port| port.name.value == **name.get_ref())
            {
                port.options.extend(options);
                continue;
            }
            if bond.incomplete {
                continue;
            }
            let message = format!(
                "{} is not among the ports of {}",
                name.get_ref(),
                bond.name.value
            );
            let names: Vec<&str> = bond
                .ports
                .iter()
                .map(|port| port.name.value.as_str())
                .collect();
            let help = match closest(name.get_ref(), names.iter().copied()) {
                Some(meant) => {
                    format!("did you mean {meant:?}? The ports are {}", names.join(", "))
                }
                None if names.is_empty() => "list it in the key \"ports\"".to_owned(),
                None => format!("add it to the ports, which are {}", names.join(", ")),
            };
            self.error(Code::NotAPort, name, message, help);
        }
    }

    fn port_options(&mut self, table: &DeTable<'_>) -> Vec<Located<PortOptionChange>> {
        let mut options = Vec::new();
        let mut seen: Vec<(&str, Span)> = Vec::new();
        for (key, value) in in_order(table) {
            let entry = self.entry(key, value);
            let spec = match find(key.get_ref()) {
                Some(spec) if is_port_option(spec) => spec,
                Some(spec) => {
                    let message =
                        format!("{} is an option of bonds, not of single ports", spec.name);
                    self.error(
                        Code::UnknownKey,
                        key,
                        message,
                        "write it under the bond itself".to_owned(),
                    );
                    continue;
                }
                None => {
                    self.unknown_key(key, "a port", true);
                    continue;
                }
            };
            if let Some((_, first)) = seen.iter().find(|(name, _)| *name == spec.name) {
                let message = format!("{} is given twice", named(key.get_ref(), spec.name));
                self.found.push(
                    Diagnostic::error(Code::DuplicateKey, self.span(key), message)
                        .with_related(*first, "first given here")
                        .with_help("keep one of them"),
                );
                continue;
            }
            seen.push((spec.name, self.span(key)));
            options.extend(self.option(key, value, entry, PortOptionChange::parse));
        }
        options
    }

    fn unknown_key(&mut self, key: &Key<'_>, of: &str, port: bool) {
        let text = key.get_ref();
        let own = if port { &[][..] } else { &BOND_KEYS[..] };
        let options = OPTIONS.iter().filter(|spec| is_port_option(spec) == port);
        let candidates: Vec<&str> = own
            .iter()
            .copied()
            .chain(options.clone().map(|spec| spec.name))
            .collect();
        let help = match (
            closest(text, candidates.iter().copied()),
            known_elsewhere(text),
        ) {
            (_, Some((spec, tool))) if is_port_option(spec) == port => {
                format!("this is the name {tool} has for it; write {}", spec.name)
            }
            (Some(meant), _) => format!("did you mean {meant:?}?"),
            (None, _) if port => format!("the options of a port are {}", candidates.join(", ")),
            (None, _) => format!(
                "keys of a bond are {}, and the options of bonding ('oxbond up --help' lists them)",
                ["ports", "port", "address", "gateway", "mtu", "mac"].join(", ")
            ),
        };
        self.error(
            Code::UnknownKey,
            key,
            format!("unknown key {text:?} for {of}"),
            help,
        );
    }

    /// An option's value in the option table's own notation, then parsed by it.
    fn option<T>(
        &mut self,
        key: &Key<'_>,
        value: &Value<'_>,
        entry: Span,
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
            Ok(change) => Some(Located::new(change, entry)),
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

    fn gateways(&mut self, value: &Value<'_>, bond: &mut DesiredBond) {
        for text in self.texts(value, "gateway", "\"192.168.1.1\"") {
            let Ok(address) = text.value.parse::<IpAddr>() else {
                let message = format!("{:?} is no IP address", text.value);
                let help =
                    "a gateway is written without prefix length, like 192.168.1.1 or fd00::1";
                self.found
                    .push(Diagnostic::error(Code::WrongValue, text.span, message).with_help(help));
                continue;
            };
            if let Some(kind) = not_a_host(address) {
                let message = format!("{address} cannot be a gateway: it is {kind}");
                self.found
                    .push(Diagnostic::error(Code::WrongValue, text.span, message));
                continue;
            }
            let before = match address {
                IpAddr::V4(address) => bond
                    .device
                    .gateway_v4
                    .replace(Located::new(address, text.span))
                    .map(|first| ("IPv4", first.span)),
                IpAddr::V6(address) => bond
                    .device
                    .gateway_v6
                    .replace(Located::new(address, text.span))
                    .map(|first| ("IPv6", first.span)),
            };
            if let Some((family, first)) = before {
                let message = format!(
                    "{} has a second default gateway for {family}: {address}",
                    bond.name.value
                );
                self.found.push(
                    Diagnostic::error(Code::DuplicateKey, text.span, message)
                        .with_related(first, "the first")
                        .with_help("keep one; at most one for IPv4 and one for IPv6"),
                );
            }
        }
    }

    fn mtu(&mut self, value: &Value<'_>) -> Option<Located<u32>> {
        let number = match value.get_ref() {
            DeValue::Integer(number) => decimal(number).parse::<i64>().ok(),
            DeValue::String(text) => text.parse::<i64>().ok(),
            _ => None,
        };
        match number
            .filter(|number| MTU.contains(number))
            .and_then(|number| u32::try_from(number).ok())
        {
            Some(mtu) => Some(Located::new(mtu, self.span(value))),
            None => {
                let message = "mtu takes a number of bytes";
                let help = format!("allowed values: {} - {}", MTU.start(), MTU.end());
                self.found.push(
                    Diagnostic::error(Code::WrongValue, self.span(value), message).with_help(help),
                );
                None
            }
        }
    }

    fn mac(&mut self, value: &Value<'_>) -> Option<Located<MacAddr>> {
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
            "{} cannot be the address of a bond: it is {kind}",
            mac.value
        );
        let help = "leave mac out to take the first port's address";
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
    let mut names = BTreeSet::new();
    for bond in &network.bonds {
        if names.insert(bond.name.value.as_str()) {
            writer.bond(bond);
        } else {
            let why = "there is another bond of this name";
            let way_out = "rename one of them";
            writer.report.unsupported(bond.name.span, why, way_out);
        }
    }
    let vlans = network.vlans.iter().map(|vlan| (&vlan.name, &vlan.device));
    let bridges = network
        .bridges
        .iter()
        .map(|bridge| (&bridge.name, &bridge.device));
    for (name, _) in vlans.chain(bridges) {
        unspelt("it", &name.value, name.span, &mut writer.report);
    }
    let file = OutputFile {
        path: HOME.to_owned(),
        mode: 0o644,
        text: writer.text,
    };
    Written {
        files: vec![file],
        report: writer.report,
    }
}

#[derive(Default)]
struct Writer {
    text: String,
    report: Report,
}

impl Writer {
    fn bond(&mut self, bond: &DesiredBond) {
        let path = format!("bond.{}", key(&bond.name.value));
        self.header(&path);
        for option in &bond.options {
            let change = &option.value;
            let text = match &change.value {
                OptionValue::Number(0)
                    if matches!(change.id.spec().kind, Kind::NumberOrWord { .. }) =>
                {
                    quoted(&change.text())
                }
                OptionValue::Number(number) if !matches!(change.id.spec().kind, Kind::Words(_)) => {
                    number.to_string()
                }
                OptionValue::Ipv4(list) => texts(list),
                OptionValue::Ipv6(list) => texts(list),
                _ => quoted(&change.text()),
            };
            self.line(change.id.name(), text);
        }
        self.list("ports", bond.ports.iter().map(|port| &port.name.value));
        self.device(&bond.device);
        let mut seen = BTreeSet::new();
        for port in &bond.ports {
            if port.options.is_empty() {
                continue;
            }
            if !seen.insert(port.name.value.as_str()) {
                let why = "the port is named twice";
                let way_out = "remove one of them";
                self.report.unsupported(port.name.span, why, way_out);
                continue;
            }
            self.header(&format!("{path}.port.{}", key(&port.name.value)));
            for option in &port.options {
                let text = match &option.value.value {
                    OptionValue::Number(number) => number.to_string(),
                    _ => quoted(&option.value.text()),
                };
                self.line(option.value.id.name(), text);
            }
        }
    }

    fn device(&mut self, device: &DeviceSettings) {
        let addresses = device.addresses.iter().map(|address| address.value);
        self.list("address", addresses);
        let v4 = device.gateway_v4.iter().map(|via| IpAddr::V4(via.value));
        let v6 = device.gateway_v6.iter().map(|via| IpAddr::V6(via.value));
        self.list("gateway", v4.chain(v6));
        let flags = [&device.dhcp_v4, &device.dhcp_v6, &device.accept_ra];
        let flags = flags.into_iter().flatten().map(|flag| flag.span);
        let servers = device.dns.iter().map(|server| server.span);
        let domains = device.search.iter().map(|domain| domain.span);
        let routes = device.routes.iter().map(|route| route.span);
        for span in flags.chain(servers).chain(domains).chain(routes) {
            unspelt("it", "this", span, &mut self.report);
        }
        if let Some(mtu) = &device.mtu {
            self.line("mtu", mtu.value);
        }
        if let Some(mac) = &device.mac {
            self.line("mac", quoted(&mac.value.to_string()));
        }
    }

    fn header(&mut self, path: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "[{path}]");
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
