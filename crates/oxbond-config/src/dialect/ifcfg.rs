//! `/etc/sysconfig/network-scripts/ifcfg-*`, `route-*`, `route6-*` and `/etc/sysconfig/network`, as RHEL's initscripts
//! and NetworkManager read them, and SUSE's `/etc/sysconfig/network/ifcfg-*`, `ifroute-*`, which are read only.
//!
//! Facts this relies on (initscripts 10, NetworkManager 1.36 to 1.52, wicked 0.6): a file is a list of shell
//! assignments, the last one of a name counts; a bond is known by `TYPE=Bond`, `BONDING_MASTER=yes`, `BONDING_OPTS`, or
//! an alias of the module in modprobe.d, whose parameters are its defaults (so files of modprobe may be among those that
//! are read); `BONDING_OPTS` is a list of the driver's names; ports name their bond, and join it in order of their
//! files' names; `HWADDR` finds a device, `MACADDR` sets its address.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use oxbond_core::option::{Dialect, Kind, OPTIONS, OptionKey, PortOptionChange, find_in_dialect};

use oxbond_wire::MacAddr;

use super::common::{
    mac, mtu, name, network, number, option, parsed, prefix_len, refused, replaced, set,
    set_option, uncounted, unknown_key, unspelt, vid,
};
use super::keyfile::{bridge_vlans, bridge_vlans_text};
use super::modprobe::{self, Module};
use super::shell::{Grammar, Statements, Word};
use super::{OutputFile, Reading, Written, route_words};
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{
    Cidr, DesiredBond, DesiredBridge, DesiredBridgePort, DesiredNetwork, DesiredPort,
    DesiredSelector, DesiredVlan, DeviceSettings, Network, Route,
};
use crate::report::Report;
use crate::span::{FileId, Located, Sources, Span};

/// Where files are written to.
const HOME: &str = "/etc/sysconfig/network-scripts";

/// Endings of files that the tools pass over.
const PASSED_OVER: [&str; 9] = [
    "~", ".bak", ".orig", ".rej", ".rpmnew", ".rpmorig", ".rpmsave", ".old", ".swp",
];

/// Variables that are read, for suggestions; those with a number, without it.
const TAKEN: [&str; 48] = [
    "AUTOCONNECT_SLAVES",
    "BONDING_MASTER",
    "BONDING_MODULE_OPTS",
    "BONDING_OPTS",
    "BONDING_SLAVE_0",
    "BOND_PORT_PRIO",
    "BOND_PORT_QUEUE_ID",
    "BOOTPROTO",
    "BRIDGE",
    "BRIDGE_PORTS",
    "BRIDGE_PORT_VLANS",
    "BRIDGING_OPTS",
    "BROADCAST",
    "DEFROUTE",
    "DELAY",
    "DEVICE",
    "DHCPV6C",
    "DNS1",
    "DOMAIN",
    "ETHERDEVICE",
    "GATEWAY",
    "HWADDR",
    "IPADDR",
    "IPV6ADDR",
    "IPV6ADDR_SECONDARIES",
    "IPV6INIT",
    "IPV6_AUTOCONF",
    "IPV6_DEFAULTGW",
    "IPV6_DISABLED",
    "LLADDR",
    "MACADDR",
    "MASTER",
    "MASTER_UUID",
    "MTU",
    "NAME",
    "NETMASK",
    "ONBOOT",
    "PEERDNS",
    "PHYSDEV",
    "PREFIX",
    "SLAVE",
    "STARTMODE",
    "STP",
    "TYPE",
    "USERCTL",
    "UUID",
    "VLAN",
    "VLAN_ID",
];

/// Variables they know whose meaning is not taken over.
const NOT_TAKEN: [&str; 46] = [
    "ARPCHECK",
    "ARPUPDATE",
    "AUTOCONNECT_PRIORITY",
    "AUTOCONNECT_RETRIES",
    "BROWSER_ONLY",
    "CONNECTION_METERED",
    "DHCLIENT_SET_DEFAULT_ROUTE",
    "DHCPV6_OPTIONS",
    "DHCP_CLIENT_ID",
    "DHCP_HOSTNAME",
    "ETHTOOL_OPTIONS",
    "ETHTOOL_OPTS",
    "FIREWALL",
    "GVRP",
    "HOSTNAME",
    "HOTPLUG",
    "IPV4_DAD_TIMEOUT",
    "IPV4_FAILURE_FATAL",
    "IPV4_ROUTE_METRIC",
    "IPV6FORWARDING",
    "IPV6_ADDR_GEN_MODE",
    "IPV6_DEFROUTE",
    "IPV6_FAILURE_FATAL",
    "IPV6_PEERDNS",
    "IPV6_PEERROUTES",
    "IPV6_PRIVACY",
    "IPV6_ROUTE_METRIC",
    "LINKDELAY",
    "LINK_REQUIRED",
    "LLDP",
    "METRIC",
    "MVRP",
    "NETTYPE",
    "NETWORKING_IPV6",
    "NOZEROCONF",
    "OPTIONS",
    "PEERNTP",
    "PEERROUTES",
    "PERSISTENT_DHCLIENT",
    "PROXY_METHOD",
    "REORDER_HDR",
    "RES_OPTIONS",
    "SRCADDR",
    "SUBCHANNELS",
    "VLAN_FLAGS",
    "ZONE",
];

/// Values that say what is so anyway.
const IDLE: [(&str, &str); 11] = [
    ("BROWSER_ONLY", "no"),
    ("DEFROUTE", "yes"),
    ("GVRP", "no"),
    ("HOTPLUG", "yes"),
    ("IPV4_FAILURE_FATAL", "no"),
    ("IPV6_DEFROUTE", "yes"),
    ("IPV6_FAILURE_FATAL", "no"),
    ("MVRP", "no"),
    ("PEERDNS", "yes"),
    ("PROXY_METHOD", "none"),
    ("REORDER_HDR", "yes"),
];

/// Reads all files of a set: of sysconfig, and of modprobe.d.
pub fn read(sources: &Sources) -> Reading {
    let mut report = Report::default();
    let module = Module::read(sources, modprobe::is_file, &mut report);
    let mut reader = Reader {
        network: DesiredNetwork::default(),
        report,
        index: BTreeMap::new(),
        aliases: BTreeMap::new(),
    };
    let mut files = reader.files(sources);
    let modular: BTreeMap<String, Span> = module
        .bonds()
        .into_iter()
        .map(|bond| (bond.value, bond.span))
        .collect();
    for file in &mut files {
        file.kind = reader.kind(file, &modular);
        if file.mac.is_none() && file.kind != Class::Label {
            reader.report.device(file.name.clone());
        }
    }
    for file in &mut files {
        reader.device(file);
    }
    reader.module(&module);
    let bonds = reader.network.bonds.iter().flat_map(|bond| &bond.ports);
    let bridges = reader
        .network
        .bridges
        .iter()
        .flat_map(|bridge| &bridge.ports);
    let listed: BTreeSet<String> = bonds
        .map(|port| &port.name)
        .chain(bridges.map(|port| &port.name))
        .map(|name| name.value.clone())
        .collect();
    for file in &mut files {
        reader.membership(file, &listed);
    }
    for file in &mut files {
        reader.settings(file);
    }
    reader.routes(sources);
    reader.host(sources);
    reader.finish()
}

/// `NAME=value`.
#[derive(Clone, Debug)]
struct Entry {
    word: Word,
    /// Where the value begins in the word.
    value: usize,
    /// The whole of it.
    span: Span,
}

impl Entry {
    fn text(&self) -> &str {
        &self.word.text[self.value..]
    }

    fn is(&self, value: &str) -> bool {
        self.text().eq_ignore_ascii_case(value)
    }

    /// The words of the value, each with its place.
    fn words(&self) -> Vec<(&str, Span)> {
        let all: Range<usize> = self.value..self.word.text.len();
        let words = self.word.parts(all, char::is_whitespace);
        words
            .into_iter()
            .map(|(text, range)| (text, Span::new(self.span.file, range)))
            .collect()
    }

    fn yes(&self) -> Option<bool> {
        match self.text().to_ascii_lowercase().as_str() {
            "yes" | "true" | "y" | "t" | "1" | "on" => Some(true),
            "no" | "false" | "n" | "f" | "0" | "off" => Some(false),
            _ => None,
        }
    }
}

/// Variables by name; of several assignments, the last.
type Entries = BTreeMap<String, Entry>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Bond,
    Vlan,
    Bridge,
    /// A port of something.
    Port,
    /// More addresses of a device: `bond0:1`.
    Label,
    /// Nothing that is taken over.
    Foreign,
}

/// An ifcfg file.
struct File {
    /// Its device.
    name: Located<String>,
    kind: Class,
    entries: Entries,
    /// The address that its device was made with, where nothing says its name.
    mac: Option<Located<MacAddr>>,
    /// SUSE's, by its words.
    is_suse: bool,
}

impl File {
    fn is_yes(&self, key: &str) -> bool {
        self.entries.get(key).and_then(Entry::yes) == Some(true)
    }

    fn text(&self, key: &str) -> &str {
        self.entries.get(key).map_or("", Entry::text)
    }

    /// Keys that begin with `prefix` and go on with nothing, a number or a label, in order: nothing first.
    fn numbered(&self, prefix: &str) -> Vec<String> {
        let mut found: Vec<(u32, &str)> = self
            .entries
            .keys()
            .filter_map(|key| {
                let rest = key.strip_prefix(prefix)?;
                match (rest, rest.parse::<u32>()) {
                    ("", _) => Some((0, rest)),
                    (_, Ok(number)) => Some((number.saturating_add(1), rest)),
                    _ => rest.starts_with('_').then_some((u32::MAX, rest)),
                }
            })
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, rest)| rest.to_owned()).collect()
    }
}

/// The assignments of a file; notes lines that are none.
fn entries(file: FileId, text: &str, report: &mut Report) -> Entries {
    let mut entries = Entries::new();
    let mut statements = Statements::new(text, Grammar::Assignments);
    while let Some(statement) = statements.next(|_| None) {
        let span = Span::new(file, statement.range.clone());
        if statement.is_open {
            report.unsupported(
                span,
                "a quote is not closed on its line, so it is skipped",
                "close it",
            );
            continue;
        }
        let mut words = statement.words;
        if words[0].text == "export" {
            words.remove(0);
        }
        let assigned: Vec<Option<usize>> = words.iter().map(assignment).collect();
        if assigned.is_empty() || assigned.contains(&None) {
            let why = "it is no assignment, and is skipped";
            let way_out = "write it as NAME=value, without blanks around =, in quotes if the value has blanks";
            report.unsupported(span, why, way_out);
            continue;
        }
        for (word, value) in words.into_iter().zip(assigned.into_iter().flatten()) {
            let span = Span::new(file, word.range.clone());
            if word.expands {
                let why = "a shell would replace a part of it, which is not done here";
                report.unsupported(span, why, "write the value itself");
                continue;
            }
            let key = word.text[..value - 1].to_owned();
            let entry = Entry { word, value, span };
            if let Some(before) = entries.insert(key, entry) {
                let message = "a later line sets it again, and the last one counts";
                report.finding(
                    Diagnostic::warning(Code::DuplicateKey, before.span, message)
                        .with_related(span, "set again here")
                        .with_help("remove this one"),
                );
                replaced(before.span, report);
            }
        }
    }
    entries
}

/// Where the value of an assignment begins.
fn assignment(word: &Word) -> Option<usize> {
    let at = word.text.find('=')?;
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (at > 0 && word.text[..at].bytes().all(is_name)).then_some(at + 1)
}

/// The last part of a path.
fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

struct Reader {
    network: DesiredNetwork,
    report: Report,
    /// Devices by name.
    index: BTreeMap<String, (Class, usize)>,
    /// Devices by the other names that files know them by: UUID, name of the connection, name of the file.
    aliases: BTreeMap<String, String>,
}

impl Reader {
    /// The ifcfg files in order of their names; notes files that are nothing.
    fn files(&mut self, sources: &Sources) -> Vec<File> {
        let mut named: Vec<(&str, FileId)> = sources
            .iter()
            .filter(|(_, source)| !modprobe::is_file(&source.name))
            .map(|(file, source)| (base(&source.name), file))
            .collect();
        named.sort_unstable();
        let mut files = Vec::new();
        for (base, file) in named {
            let text = &sources.get(file).text;
            let passed_over = PASSED_OVER.iter().any(|end| base.ends_with(end));
            match base.strip_prefix("ifcfg-") {
                _ if passed_over => {
                    let why = "files with such an ending are passed over";
                    self.lose(file, text, why, "rename it, or remove it");
                }
                Some(stem) => {
                    let entries = entries(file, text, &mut self.report);
                    files.extend(self.file(stem, entries));
                }
                None if is_routes(base) || base == "network" => {}
                None => {
                    let why = format!("{base} is no file of devices or routes");
                    self.lose(file, text, &why, "leave it where it is");
                }
            }
        }
        files
    }

    /// Notes that all lines of a file are lost.
    fn lose(&mut self, file: FileId, text: &str, why: &str, way_out: &str) {
        let mut statements = Statements::new(text, Grammar::Assignments);
        while let Some(statement) = statements.next(|_| None) {
            let span = Span::new(file, statement.range);
            self.report.unsupported(span, why, way_out);
        }
    }

    fn file(&mut self, stem: &str, entries: Entries) -> Option<File> {
        // A file without an assignment is none.
        let first = entries.values().map(|entry| entry.span).min()?;
        let device = match entries
            .get("DEVICE")
            .filter(|entry| !entry.text().is_empty())
        {
            Some(entry) => Located::new(entry.text().to_owned(), entry.span),
            None => Located::new(stem.to_owned(), first),
        };
        for key in ["UUID", "NAME"] {
            if let Some(entry) = entries.get(key) {
                let alias = entry.text().to_owned();
                self.aliases
                    .entry(alias)
                    .or_insert_with(|| device.value.clone());
            }
        }
        self.aliases
            .entry(stem.to_owned())
            .or_insert_with(|| device.value.clone());
        let is_suse = entries.contains_key("STARTMODE");
        let named = entries.contains_key("DEVICE");
        let found = entries.get("HWADDR").filter(|_| !named);
        let mac = found.and_then(|entry| mac(entry.text(), entry.span, &mut self.report));
        Some(File {
            mac,
            name: device,
            kind: Class::Foreign,
            entries,
            is_suse,
        })
    }

    /// What a file is for; notes files that are for nothing of ours.
    fn kind(&mut self, file: &mut File, modular: &BTreeMap<String, Span>) -> Class {
        let kind = file.text("TYPE").to_ascii_lowercase();
        let is_plain = matches!(kind.as_str(), "" | "ethernet");
        let is_master = file.is_yes("BONDING_MASTER");
        let has = |key: &str| file.entries.contains_key(key);
        let is_bond = kind == "bond"
            || (is_plain && (has("BONDING_OPTS") || has("BONDING_MODULE_OPTS")))
            || (kind.is_empty() && is_master)
            || (is_plain && modular.contains_key(&file.name.value));
        if file.name.value.contains(':') {
            return Class::Label;
        }
        let is_vlan = kind == "vlan" || file.is_yes("VLAN") || has("ETHERDEVICE");
        let is_bridge = kind == "bridge" || (file.is_suse && file.is_yes("BRIDGE"));
        // Of a port that is found by its address the name of the file says nothing.
        let is_nameless = file.mac.is_some() && !is_bond && !is_vlan && !is_bridge;
        let checked = crate::name::check_interface_name(&file.name.value);
        let why = if let Err(e) = checked
            && !is_nameless
        {
            e.to_string()
        } else if is_master && !is_bond {
            format!(
                "NetworkManager refuses BONDING_MASTER=yes with TYPE={}",
                file.text("TYPE")
            )
        } else if is_bond {
            return Class::Bond;
        } else if is_vlan {
            return Class::Vlan;
        } else if is_bridge {
            return Class::Bridge;
        } else if is_plain {
            // Whether anything has it for a port is not known yet.
            return Class::Port;
        } else {
            format!("files of TYPE={} are not taken over", file.text("TYPE"))
        };
        self.give_up(file, &why, "leave it where it is, or correct it");
        Class::Foreign
    }

    fn give_up(&mut self, file: &mut File, why: &str, way_out: &str) {
        for (_, entry) in core::mem::take(&mut file.entries) {
            self.report.unsupported(entry.span, why, way_out);
        }
        file.kind = Class::Foreign;
    }

    /// Takes the device of a file in.
    fn device(&mut self, file: &mut File) {
        if !matches!(file.kind, Class::Bond | Class::Vlan | Class::Bridge) {
            return;
        }
        if self.index.contains_key(&file.name.value) {
            let why = "an earlier file is for this device";
            let finding = Diagnostic::new(Code::DuplicateDevice, file.name.span, why);
            self.report.finding(finding.with_help("keep one of them"));
            return self.give_up(file, why, "keep one of them");
        }
        let at = match file.kind {
            Class::Bond => {
                let bond = self.bond(file);
                self.network.bonds.push(bond);
                self.network.bonds.len() - 1
            }
            Class::Bridge => {
                let bridge = self.bridge(file);
                self.network.bridges.push(bridge);
                self.network.bridges.len() - 1
            }
            _ => match self.vlan(file) {
                Some(vlan) => {
                    self.network.vlans.push(vlan);
                    self.network.vlans.len() - 1
                }
                None => {
                    let why = "the number of its VLAN, or the device below it, is not said";
                    return self.give_up(file, why, "write PHYSDEV and VLAN_ID");
                }
            },
        };
        self.index.insert(file.name.value.clone(), (file.kind, at));
    }

    fn bond(&mut self, file: &mut File) -> DesiredBond {
        let mut bond = DesiredBond::new(file.name.clone());
        for key in ["BONDING_MODULE_OPTS", "BONDING_OPTS"] {
            if let Some(entry) = file.entries.remove(key) {
                self.report.mapped(entry.span);
                for (word, span) in entry.words() {
                    bonding_option(&mut bond, word, span, &mut self.report);
                }
            }
        }
        if let Some(entry) = file.entries.remove("BONDING_MASTER") {
            self.report.mapped(entry.span);
        }
        for rest in file.numbered("BONDING_SLAVE") {
            if let Some(entry) = file.entries.remove(&format!("BONDING_SLAVE{rest}"))
                && let Some(port) = name(entry.text(), entry.span, &mut self.report)
            {
                self.report.mapped(entry.span);
                bond.ports.push(DesiredPort {
                    name: port,
                    options: Vec::new(),
                });
            }
        }
        bond
    }

    fn vlan(&mut self, file: &mut File) -> Option<DesiredVlan> {
        let own = file.name.clone();
        let by_name = own.value.rsplit_once('.');
        let id = match (file.entries.remove("VLAN_ID"), by_name) {
            (Some(entry), _) => {
                let id = vid(entry.text(), entry.span, &mut self.report)?;
                self.report.mapped(entry.span);
                id
            }
            (None, Some((_, id))) => vid(id, own.span, &mut self.report)?,
            (None, None) => vid(own.value.strip_prefix("vlan")?, own.span, &mut self.report)?,
        };
        let below = ["PHYSDEV", "ETHERDEVICE"]
            .iter()
            .find_map(|key| file.entries.remove(*key));
        let link = match (below, by_name) {
            (Some(entry), _) => {
                self.report.mapped(entry.span);
                Located::new(entry.text().to_owned(), entry.span)
            }
            (None, Some((link, _))) => Located::new(link.to_owned(), own.span),
            (None, None) => return None,
        };
        if let Some(entry) = file.entries.remove("VLAN") {
            self.report.mapped(entry.span);
        }
        Some(DesiredVlan {
            name: own,
            id,
            link,
            device: DeviceSettings::default(),
        })
    }

    fn bridge(&mut self, file: &mut File) -> DesiredBridge {
        let mut bridge = DesiredBridge::new(file.name.clone());
        let report = &mut self.report;
        for key in ["STP", "BRIDGE_STP"] {
            if let Some(entry) = file.entries.remove(key) {
                flag(&mut bridge.stp, &entry, report);
            }
        }
        for key in ["DELAY", "BRIDGE_FORWARDDELAY"] {
            if let Some(entry) = file.entries.remove(key)
                && let Some(delay) = number(entry.text(), 0..=255, entry.span, report)
            {
                set(&mut bridge.forward_delay, delay, report);
            }
        }
        if let Some(entry) = file.entries.remove("BRIDGING_OPTS") {
            report.mapped(entry.span);
            for (word, span) in entry.words() {
                match word.split_once('=').unwrap_or((word, "")) {
                    ("vlan_filtering", "1") => {
                        set(&mut bridge.vlan_aware, Located::new(true, span), report);
                    }
                    ("vlan_filtering", "0") => {
                        set(&mut bridge.vlan_aware, Located::new(false, span), report);
                    }
                    ("default_pvid", value) => {
                        if let Some(pvid) = vid(value, span, report) {
                            set(&mut bridge.pvid, pvid, report);
                        }
                    }
                    (key, _) => {
                        let why = format!("{key} of a bridge is not taken over");
                        report.unsupported(span, why, "set it by other means, or do without");
                    }
                }
            }
        }
        if let Some(entry) = file.entries.remove("BRIDGE_PORTS") {
            report.mapped(entry.span);
            for (word, span) in entry.words() {
                let port = name(word, span, report);
                bridge.ports.extend(port.map(DesiredBridgePort::new));
            }
        }
        // SUSE's yes; RHEL has no bridges below bridges.
        if let Some(entry) = file.entries.remove("BRIDGE") {
            report.mapped(entry.span);
        }
        bridge
    }

    /// Bonds that only the module makes, and what it gives to all.
    fn module(&mut self, module: &Module) {
        for name in module.bonds() {
            if !self.index.contains_key(&name.value) {
                let at = self.network.bonds.len();
                self.index.insert(name.value.clone(), (Class::Bond, at));
                self.network.bonds.push(DesiredBond::new(name));
            }
        }
        if self.network.bonds.is_empty() {
            module.note_no_bonds(&mut self.report);
        }
        for bond in &mut self.network.bonds {
            for option in module.options_of(&bond.name.value) {
                if bond.option(option.value.id).is_none() {
                    bond.options.push(option);
                }
            }
        }
    }

    /// What a file says of the bond or bridge that its device is in; `listed` are the ports that bonds and bridges name.
    fn membership(&mut self, file: &mut File, listed: &BTreeSet<String>) {
        let references = [
            ("MASTER", Class::Bond),
            ("MASTER_UUID", Class::Bond),
            ("BRIDGE", Class::Bridge),
            ("BRIDGE_UUID", Class::Bridge),
        ];
        let mut is_port = false;
        for (key, class) in references {
            if file.kind == Class::Foreign || file.kind == Class::Label {
                return;
            }
            let Some(entry) = file.entries.remove(key) else {
                continue;
            };
            let span = entry.span;
            if file.kind == Class::Bond && class == Class::Bond {
                let why = "a bond cannot be a port of another one";
                self.report
                    .breach(Code::StackingLoop, span, why, "remove it");
                continue;
            }
            if is_port && key.ends_with("_UUID") {
                self.report.mapped(span);
                continue;
            }
            let alias = self.aliases.get(entry.text());
            let known = |name: &str| self.index.get(name).filter(|(known, _)| *known == class);
            let named = known(entry.text()).or_else(|| known(alias?));
            let Some((_, at)) = named.copied() else {
                let what = if class == Class::Bond {
                    "bond"
                } else {
                    "bridge"
                };
                let why = format!("no file makes a {what} {:?}", entry.text());
                let way_out = "give its file too, or correct the name";
                self.report
                    .breach(Code::UndefinedReference, span, why, way_out);
                is_port |= file.kind == Class::Port;
                continue;
            };
            is_port = true;
            if class == Class::Bridge {
                if file.mac.is_some() {
                    let why = "only ports of bonds are found by what they are";
                    self.report.unsupported(span, why, "write DEVICE");
                    continue;
                }
                let mut port = DesiredBridgePort::new(file.name.clone());
                if let Some(vlans) = file.entries.remove("BRIDGE_PORT_VLANS") {
                    bridge_vlans(&mut port, vlans.text(), vlans.span, &mut self.report);
                }
                self.report.mapped(span);
                self.network.bridges[at].ports.push(port);
                self.no_addresses(file);
                continue;
            }
            match file.entries.remove("SLAVE") {
                Some(slave) if slave.yes() == Some(true) => {
                    self.report.mapped(span);
                    self.report.mapped(slave.span);
                }
                Some(slave) => {
                    let what = "for initscripts it is no port; NetworkManager takes it for one, and so do we";
                    self.report.changed(slave.span, what);
                    self.report.mapped(span);
                }
                None => {
                    let what = "without SLAVE=yes initscripts do not take it for a port; NetworkManager does, and so do we";
                    self.report.changed(span, what);
                }
            }
            let options = self.port_options(file);
            let bond = &mut self.network.bonds[at];
            if let Some(mac) = file.mac.clone() {
                bond.selectors.push(DesiredSelector {
                    mac: Some(mac),
                    options,
                    ..DesiredSelector::new(span)
                });
                continue;
            }
            let mut known = bond.ports.iter_mut();
            let known = known.find(|port| {
                listed.contains(&file.name.value) && port.name.value == file.name.value
            });
            match known {
                // The bond lists it too.
                Some(port) => port.options.extend(options),
                None => bond.ports.push(DesiredPort {
                    name: file.name.clone(),
                    options,
                }),
            }
        }
        if file.kind == Class::Port && !is_port {
            let name = &file.name.value;
            if !listed.contains(name) {
                let why = format!("{name} is no bond and nothing of one");
                self.give_up(file, &why, "leave it where it is");
            }
        }
    }

    fn port_options(&mut self, file: &mut File) -> Vec<Located<PortOptionChange>> {
        let mut options = Vec::new();
        let specs = OPTIONS
            .iter()
            .filter(|spec| matches!(spec.key, OptionKey::Port(_)));
        for spec in specs {
            for key in spec.spelled(Dialect::Ifcfg) {
                let Some(entry) = file.entries.remove(*key) else {
                    continue;
                };
                match PortOptionChange::parse(spec.name, entry.text()) {
                    Ok(change) => {
                        self.report.mapped(entry.span);
                        options.push(Located::new(change, entry.span));
                    }
                    Err(e) => refused(entry.span, e.fault, &mut self.report),
                }
            }
        }
        options
    }

    /// Takes the addresses of a port away.
    fn no_addresses(&mut self, file: &mut File) {
        let is_address = |key: &str| {
            ["IPADDR", "GATEWAY", "DNS", "PREFIX", "NETMASK"]
                .iter()
                .any(|prefix| key.starts_with(prefix))
                || matches!(
                    key,
                    "DOMAIN" | "IPV6ADDR" | "IPV6ADDR_SECONDARIES" | "IPV6_DEFAULTGW" | "DHCPV6C"
                )
        };
        let mut spans: Vec<Span> = Vec::new();
        file.entries.retain(|key, entry| {
            let asks = key == "BOOTPROTO" && !matches!(entry.text(), "" | "none" | "static");
            let taken = is_address(key) || asks;
            if taken {
                spans.push(entry.span);
            }
            !taken
        });
        for span in spans {
            let why = format!(
                "{} is a port, which has no addresses of its own",
                file.name.value
            );
            let way_out = "write them for the device it is a port of";
            self.report.breach(Code::PortAddressed, span, why, way_out);
        }
    }

    /// Everything else of a file.
    fn settings(&mut self, file: &mut File) {
        for key in [
            "DEVICE",
            "INTERFACENAME",
            "NAME",
            "UUID",
            "TYPE",
            "VLAN_NAME_TYPE",
            "NM_CONTROLLED",
            "USERCTL",
            "AUTOCONNECT_SLAVES",
        ] {
            if let Some(entry) = file.entries.remove(key) {
                self.report.mapped(entry.span);
            }
        }
        for (key, off) in [
            ("ONBOOT", "no"),
            ("STARTMODE", "off"),
            ("STARTMODE", "manual"),
        ] {
            if file.entries.get(key).is_some_and(|entry| entry.is(off))
                && let Some(entry) = file.entries.remove(key)
            {
                let what = "it is not brought up by itself there; here it always is";
                self.report.changed(entry.span, what);
            }
        }
        for key in ["ONBOOT", "STARTMODE"] {
            if let Some(entry) = file.entries.remove(key) {
                self.report.mapped(entry.span);
            }
        }
        match file.kind {
            Class::Foreign => return,
            Class::Port => self.port(file),
            Class::Label => self.label(file),
            Class::Bond | Class::Vlan | Class::Bridge => {
                let mut device = DeviceSettings::default();
                addresses(file, &mut device, &mut self.report);
                link(file, &mut device, &mut self.report);
                if let Some(known) = self.device_mut(&file.name.value) {
                    *known = device;
                }
            }
        }
        for (key, entry) in core::mem::take(&mut file.entries) {
            other(&key, &entry, &mut self.report);
        }
    }

    fn device_mut(&mut self, name: &str) -> Option<&mut DeviceSettings> {
        let (class, at) = *self.index.get(name)?;
        Some(match class {
            Class::Bond => &mut self.network.bonds[at].device,
            Class::Vlan => &mut self.network.vlans[at].device,
            _ => &mut self.network.bridges[at].device,
        })
    }

    fn port(&mut self, file: &mut File) {
        self.no_addresses(file);
        for key in ["BOOTPROTO", "SLAVE", "DEFROUTE"] {
            if let Some(entry) = file.entries.remove(key) {
                self.report.mapped(entry.span);
            }
        }
        if let Some(entry) = file.entries.remove("MTU") {
            self.report.changed(entry.span, "ports take the bond's MTU");
            if let Ok(mtu) = entry.text().parse() {
                let mtu = Located::new(mtu, entry.span);
                self.report.port_mtu(&file.name.value, mtu);
            }
        }
        if let Some(entry) = file.entries.remove("HWADDR") {
            if file.mac.is_some() {
                self.report.mapped(entry.span);
            } else {
                let name = &file.name.value;
                let what = format!("the port is found by its name, {name}, whatever its address");
                self.report.changed(entry.span, what);
            }
        }
        for key in ["MACADDR", "LLADDR"] {
            if let Some(entry) = file.entries.remove(key) {
                let why = "a port has the address that its bond gives it";
                self.report
                    .unsupported(entry.span, why, "set the address of the bond");
            }
        }
    }

    /// `ifcfg-bond0:1`: more addresses.
    fn label(&mut self, file: &mut File) {
        let parent = file.name.value.split(':').next().unwrap_or("").to_owned();
        let mut device = DeviceSettings::default();
        if !self.index.contains_key(&parent) {
            let why = format!("{parent} is no bond and nothing of one");
            return self.give_up(file, &why, "leave it where it is");
        }
        addresses(file, &mut device, &mut self.report);
        if let Some(known) = self.device_mut(&parent) {
            known.addresses.extend(device.addresses);
        }
        let what = "the address is taken over, its label is not";
        self.report.changed(file.name.span, what);
    }

    /// The files of routes.
    fn routes(&mut self, sources: &Sources) {
        let named: Vec<(FileId, &str)> = sources
            .iter()
            .map(|(file, source)| (file, base(&source.name)))
            .filter(|(_, base)| is_routes(base))
            .collect();
        for (file, base) in named {
            let text = &sources.get(file).text;
            let stem = base.split_once('-').map_or("", |(_, stem)| stem);
            let alias = self.aliases.get(stem);
            let alias = alias.filter(|_| !self.index.contains_key(stem));
            let device = alias.map_or(stem, |alias| alias.as_str()).to_owned();
            let is_suse = base.starts_with("if") || base == "routes";
            if !is_suse && !self.index.contains_key(&device) {
                let why = format!("{stem} is no bond and nothing of one");
                self.lose(file, text, &why, "leave it where it is");
            } else if is_suse {
                self.columns(file, text, &device);
            } else if text
                .lines()
                .any(|line| line.trim_start().starts_with("ADDRESS"))
            {
                self.assigned_routes(file, text, &device);
            } else {
                self.route_lines(file, text, &device, base.starts_with("route6-"));
            }
        }
    }

    fn add_route(&mut self, device: &str, route: Route, span: Span) {
        if let Some(device) = self.device_mut(device) {
            device.add_route(Located::new(route, span));
        }
    }

    /// Words of `ip route add`, one route in a line.
    fn route_lines(&mut self, file: FileId, text: &str, device: &str, is_v6: bool) {
        let mut statements = Statements::new(text, Grammar::Assignments);
        while let Some(statement) = statements.next(|_| None) {
            let span = Span::new(file, statement.range.clone());
            let words = statement.words.iter().map(|word| word.text.as_str());
            match route_words::read(words, is_v6) {
                Ok(line) if line.device.as_deref().is_some_and(|named| named != device) => {
                    let why = format!("it leads over another device than {device}");
                    let way_out = "move it to the file of that device";
                    self.report.unsupported(span, why, way_out);
                }
                Ok(line) => {
                    self.report.mapped(span);
                    self.add_route(device, line.route, span);
                }
                Err(why) => refused(span, why, &mut self.report),
            }
        }
    }

    /// `ADDRESS0=`, `NETMASK0=`, `GATEWAY0=`.
    fn assigned_routes(&mut self, file: FileId, text: &str, device: &str) {
        let mut entries = entries(file, text, &mut self.report);
        let mut numbers: Vec<u32> = entries
            .keys()
            .filter_map(|key| key.strip_prefix("ADDRESS")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        for number in numbers {
            let mut take = |key: &str| entries.remove(&format!("{key}{number}"));
            let (address, mask) = (take("ADDRESS"), take("NETMASK").or_else(|| take("PREFIX")));
            let (via, metric) = (take("GATEWAY"), take("METRIC"));
            let options = take("OPTIONS");
            let report = &mut self.report;
            let Some(address) = address else {
                continue;
            };
            let mask_text = mask.as_ref().map_or("32", Entry::text);
            let whole = format!("{}/{}", address.text(), prefix_len(mask_text));
            let others = [&mask, &via, &metric];
            let spans: Vec<Span> = others
                .iter()
                .filter_map(|e| Some(e.as_ref()?.span))
                .collect();
            let mut route =
                network(&whole, address.span, report).map(|to| Route::new(to.value, None));
            if let (Some(route), Some(via)) = (&mut route, &via) {
                let via = parsed::<Ipv4Addr>(via.text(), via.span, report);
                route.via = via.map(|via| IpAddr::V4(via.value));
            }
            if let (Some(route), Some(metric)) = (&mut route, &metric) {
                let metric =
                    super::common::number(metric.text(), 0..=u32::MAX, metric.span, report);
                route.metric = metric.map(|metric| metric.value);
            }
            let is_lost = via.is_some() && route.is_some_and(|route| route.via.is_none());
            if let Some(options) = options {
                let why = "options of a route are not taken over, so the route is not";
                for span in spans.into_iter().chain([address.span, options.span]) {
                    report.unsupported(span, why, "write the route as ip route has it");
                }
                continue;
            }
            let Some(route) = route.filter(|_| !is_lost) else {
                for span in spans.into_iter().chain([address.span]) {
                    refused(span, "the route is not complete", report);
                }
                continue;
            };
            report.mapped(address.span);
            for span in spans {
                report.mapped(span);
            }
            self.add_route(device, route, address.span);
        }
        for (key, entry) in entries {
            other(&key, &entry, &mut self.report);
        }
    }

    /// SUSE's `DESTINATION GATEWAY NETMASK DEVICE TYPE`, `-` for nothing.
    fn columns(&mut self, file: FileId, text: &str, own: &str) {
        let mut statements = Statements::new(text, Grammar::Assignments);
        while let Some(statement) = statements.next(|_| None) {
            let span = Span::new(file, statement.range.clone());
            let column = |at: usize| {
                let word = statement.words.get(at).map(|word| word.text.as_str());
                word.filter(|word| *word != "-")
            };
            let named = column(3).filter(|named| *named != own);
            let device = named.unwrap_or(own).to_owned();
            if !self.index.contains_key(&device) {
                let why = format!("{device:?} is no bond and nothing of one");
                self.report
                    .unsupported(span, why, "write the device in the fourth column");
                continue;
            }
            if column(4).is_some_and(|kind| kind != "unicast") {
                refused(span, "only unicast routes are taken over", &mut self.report);
                continue;
            }
            let mut words: Vec<String> = Vec::new();
            let to = column(0).unwrap_or("default");
            words.push(match column(2) {
                Some(mask) if !to.contains('/') && to != "default" => {
                    format!("{to}/{}", prefix_len(mask))
                }
                _ => to.to_owned(),
            });
            if let Some(via) = column(1) {
                words.extend(["via".to_owned(), via.to_owned()]);
            }
            let rest = statement.words.iter().skip(5);
            words.extend(
                rest.map(|word| word.text.clone())
                    .filter(|word| word != "-"),
            );
            match route_words::read(words.iter().map(String::as_str), false) {
                Ok(line) => {
                    self.report.mapped(span);
                    self.add_route(&device, line.route, span);
                }
                Err(why) => refused(span, why, &mut self.report),
            }
        }
    }

    /// `/etc/sysconfig/network`: what holds for the whole machine.
    fn host(&mut self, sources: &Sources) {
        for (file, source) in sources.iter() {
            if base(&source.name) != "network" || modprobe::is_file(&source.name) {
                continue;
            }
            let mut entries = entries(file, &source.text, &mut self.report);
            let device = entries.remove("GATEWAYDEV");
            if let Some(entry) = entries.remove("GATEWAY")
                && let Some(via) = parsed::<Ipv4Addr>(entry.text(), entry.span, &mut self.report)
            {
                let named = device.as_ref().map(Entry::text);
                self.host_gateway(IpAddr::V4(via.value), named, entry.span);
            }
            if let Some(entry) = entries.remove("IPV6_DEFAULTGW") {
                let (text, named) = match entry.text().split_once('%') {
                    Some((text, named)) => (text, Some(named)),
                    None => (entry.text(), None),
                };
                if let Some(via) = parsed::<Ipv6Addr>(text, entry.span, &mut self.report) {
                    let device = named.or_else(|| device.as_ref().map(Entry::text));
                    self.host_gateway(IpAddr::V6(via.value), device, entry.span);
                }
            }
            if let Some(entry) = device {
                self.report.mapped(entry.span);
            }
            for (key, entry) in entries {
                match key.as_str() {
                    "NETWORKING" if entry.yes() == Some(true) => self.report.mapped(entry.span),
                    _ => other(&key, &entry, &mut self.report),
                }
            }
        }
    }

    fn host_gateway(&mut self, via: IpAddr, device: Option<&str>, span: Span) {
        let holds = |device: &DeviceSettings| {
            device
                .addresses
                .iter()
                .any(|address| address.value.contains(via))
        };
        let found = match device {
            Some(device) => self.index.contains_key(device).then(|| device.to_owned()),
            None => {
                let mut holders = self.network.devices().filter(|(_, device)| holds(device));
                holders.next().map(|(name, _)| name.value.clone())
            }
        };
        let Some(device) = found.and_then(|name| self.device_mut(&name)) else {
            let why = "no device that is read here leads to it";
            let way_out = "leave it, or write GATEWAY in the file of the device";
            return self.report.unsupported(span, why, way_out);
        };
        let given = if via.is_ipv4() {
            device.gateway_v4.is_some()
        } else {
            device.gateway_v6.is_some()
        };
        if given {
            let why = "the file of the device names another one, which counts";
            return self.report.unsupported(span, why, "keep one of them");
        }
        let route = Route::new(Network::default_like(via), Some(via));
        device.add_route(Located::new(route, span));
        self.report.mapped(span);
    }

    fn finish(mut self) -> Reading {
        for bridge in &mut self.network.bridges {
            bridge.settle_vids();
        }
        Reading {
            network: self.network,
            report: self.report,
            diagnostics: Vec::new(),
        }
    }
}

/// Whether this is the name of a file of routes.
fn is_routes(base: &str) -> bool {
    let prefixes = ["route-", "route6-", "ifroute-"];
    base == "routes" || prefixes.iter().any(|prefix| base.starts_with(prefix))
}

/// One `option=value` of `BONDING_OPTS`.
fn bonding_option(bond: &mut DesiredBond, word: &str, span: Span, report: &mut Report) {
    let Some((key, value)) = word.split_once('=') else {
        let way_out = "write it like miimon=100; several targets are parted by commas";
        let why = "it is no OPTION=VALUE, and is skipped";
        return report.breach(Code::Syntax, span, why, way_out);
    };
    let spec = find_in_dialect(Dialect::Ifcfg, key);
    let Some(OptionKey::Bond(id)) = spec.map(|spec| spec.key) else {
        return unknown_key(key, span, Dialect::Ifcfg, &[], report);
    };
    let text = match id.spec().kind {
        // Targets add up; signs and quotes are what sysfs and older scripts want.
        Kind::Ipv4List(_) | Kind::Ipv6List(_) => {
            let before = bond.option(id).map(|option| option.value.text());
            let new = value.replace(['+', '-', '\'', '"'], "");
            let both = before.into_iter().chain(core::iter::once(new));
            both.collect::<Vec<_>>().join(",")
        }
        _ => value.to_owned(),
    };
    let is_list = matches!(id.spec().kind, Kind::Ipv4List(_) | Kind::Ipv6List(_));
    let Some(change) = option(id, &text, span, report) else {
        return;
    };
    match bond.options.iter_mut().find(|known| known.value.id == id) {
        Some(known) if is_list => {
            report.mapped(span);
            known.value = change.value;
        }
        _ => set_option(bond, change, report),
    }
}

/// The MTU and the link-layer address of a device.
fn link(file: &mut File, device: &mut DeviceSettings, report: &mut Report) {
    if let Some(entry) = file.entries.remove("MTU")
        && let Some(mtu) = mtu(entry.text(), entry.span, report)
    {
        set(&mut device.mtu, mtu, report);
    }
    for key in ["MACADDR", "LLADDR"] {
        if let Some(entry) = file.entries.remove(key)
            && let Some(mac) = mac(entry.text(), entry.span, report)
        {
            set(&mut device.mac, mac, report);
        }
    }
    if let Some(entry) = file.entries.remove("HWADDR") {
        let why = "it finds a device by its address, and this one is made";
        report.unsupported(entry.span, why, "write MACADDR to set its address");
    }
}

/// Addresses, gateways and name servers of a device.
fn addresses(file: &mut File, device: &mut DeviceSettings, report: &mut Report) {
    let mut is_dynamic = false;
    if let Some(entry) = file.entries.remove("BOOTPROTO") {
        let (on, span) = (Located::new(true, entry.span), entry.span);
        match entry.text().to_ascii_lowercase().as_str() {
            "" | "none" | "static" => report.mapped(span),
            // SUSE asks for both.
            "dhcp" if file.is_suse => {
                device.dhcp_v6 = Some(on.clone());
                set(&mut device.dhcp_v4, on, report);
            }
            "dhcp" | "dhcp4" => set(&mut device.dhcp_v4, on, report),
            "dhcp6" => set(&mut device.dhcp_v6, on, report),
            "bootp" => {
                device.dhcp_v4 = Some(on);
                report.changed(span, "it is asked for by DHCP");
            }
            other => {
                let why = format!("{other:?} is no way to an address that is taken over");
                refused(span, why, report);
            }
        }
        is_dynamic = device.dhcp_v4.is_some() && !file.is_suse;
    }
    addresses_v4(file, device, is_dynamic, report);
    gateways_v4(file, device, report);
    for rest in file.numbered("DNS") {
        if let Some(entry) = file.entries.remove(&format!("DNS{rest}"))
            && let Some(server) = parsed::<IpAddr>(entry.text(), entry.span, report)
        {
            device.dns.push(server);
            report.mapped(entry.span);
        }
    }
    if let Some(entry) = file.entries.remove("DOMAIN") {
        report.mapped(entry.span);
        let words = entry.words().into_iter();
        device
            .search
            .extend(words.map(|(word, span)| Located::new(word.to_owned(), span)));
    }
    addresses_v6(file, device, report);
}

fn addresses_v4(
    file: &mut File,
    device: &mut DeviceSettings,
    is_dynamic: bool,
    report: &mut Report,
) {
    for rest in file.numbered("IPADDR") {
        let Some(entry) = file.entries.remove(&format!("IPADDR{rest}")) else {
            continue;
        };
        let mut lengths = Vec::new();
        for key in ["PREFIX", "PREFIXLEN", "NETMASK"] {
            lengths.extend(file.entries.remove(&format!("{key}{rest}")));
        }
        let whole = match lengths.first() {
            Some(length) if !entry.text().contains('/') => {
                format!("{}/{}", entry.text(), prefix_len(length.text()))
            }
            _ => entry.text().to_owned(),
        };
        for length in &lengths {
            report.mapped(length.span);
        }
        let Some(address) = parsed::<Cidr>(&whole, entry.span, report) else {
            continue;
        };
        if is_dynamic {
            let what = "initscripts leave it out beside BOOTPROTO=dhcp; NetworkManager takes it, and so do we";
            report.changed(entry.span, what);
        } else {
            report.mapped(entry.span);
        }
        device.addresses.push(address);
    }
    for key in ["NETWORK", "BROADCAST"] {
        if let Some(entry) = file.entries.remove(key) {
            report.changed(entry.span, "it is worked out from the address");
        }
    }
}

fn gateways_v4(file: &mut File, device: &mut DeviceSettings, report: &mut Report) {
    let unwanted = file
        .entries
        .get("DEFROUTE")
        .is_some_and(|entry| entry.yes() == Some(false));
    let unwanted = unwanted
        && file.entries.remove("DEFROUTE").is_some_and(|entry| {
            if device.dhcp_v4.is_some() {
                let why = "that a default route of the DHCP server is left out, is not taken over";
                report.unsupported(entry.span, why, "take care of it at the server");
            } else {
                report.mapped(entry.span);
            }
            true
        });
    for rest in file.numbered("GATEWAY") {
        let Some(entry) = file.entries.remove(&format!("GATEWAY{rest}")) else {
            continue;
        };
        let Some(via) = parsed::<Ipv4Addr>(entry.text(), entry.span, report) else {
            continue;
        };
        if unwanted {
            let why = "DEFROUTE=no leaves the gateway out";
            report.unsupported(entry.span, why, "remove one of the two");
            continue;
        }
        match &device.gateway_v4 {
            Some(before) if before.value != via.value => {
                let why = "an earlier one is the gateway";
                let way_out = "write it with a metric in the file of routes";
                report.unsupported(entry.span, why, way_out);
            }
            _ => {
                device.gateway_v4 = Some(via);
                report.mapped(entry.span);
            }
        }
    }
}

fn addresses_v6(file: &mut File, device: &mut DeviceSettings, report: &mut Report) {
    let is_off = file
        .entries
        .get("IPV6INIT")
        .is_some_and(|entry| entry.yes() == Some(false));
    if let Some(entry) = file.entries.remove("IPV6INIT") {
        report.mapped(entry.span);
    }
    if let Some(entry) = file.entries.remove("IPV6_DISABLED") {
        if entry.yes() == Some(true) {
            report.changed(entry.span, "the link-local address stays");
        } else {
            report.mapped(entry.span);
        }
    }
    if let Some(entry) = file.entries.remove("IPV6_AUTOCONF") {
        if is_off && entry.yes() == Some(true) {
            off_v6(entry.span, report);
        } else {
            flag(&mut device.accept_ra, &entry, report);
        }
    }
    if let Some(entry) = file.entries.remove("DHCPV6C") {
        if is_off && entry.yes() == Some(true) {
            off_v6(entry.span, report);
        } else {
            flag(&mut device.dhcp_v6, &entry, report);
        }
    }
    for key in ["IPV6ADDR", "IPV6ADDR_SECONDARIES"] {
        let Some(entry) = file.entries.remove(key) else {
            continue;
        };
        for (word, span) in entry.words() {
            if is_off {
                off_v6(span, report);
                continue;
            }
            let has_length = word.contains('/');
            let whole = if has_length {
                word.to_owned()
            } else {
                format!("{word}/64")
            };
            if let Some(address) = parsed::<Cidr>(&whole, span, report) {
                device.addresses.push(address);
                if has_length {
                    report.mapped(span);
                } else {
                    report.changed(span, "its prefix has 64 bits");
                }
            }
        }
    }
    if let Some(entry) = file.entries.remove("IPV6_DEFAULTGW") {
        let text = entry.text().split('%').next().unwrap_or("");
        if is_off {
            off_v6(entry.span, report);
        } else if let Some(via) = parsed::<Ipv6Addr>(text, entry.span, report) {
            set(&mut device.gateway_v6, via, report);
        }
    }
}

fn off_v6(span: Span, report: &mut Report) {
    report.unsupported(
        span,
        "IPV6INIT=no switches IPv6 off",
        "remove one of the two",
    );
}

/// Sets a boolean.
fn flag(slot: &mut Option<Located<bool>>, entry: &Entry, report: &mut Report) {
    match entry.yes() {
        Some(on) => set(slot, Located::new(on, entry.span), report),
        None => {
            let why = format!("{:?} is neither yes nor no", entry.text());
            refused(entry.span, why, report);
        }
    }
}

/// A variable that nothing above has taken.
fn other(key: &str, entry: &Entry, report: &mut Report) {
    let numbered = key.trim_end_matches(|c: char| c.is_ascii_digit());
    if IDLE
        .iter()
        .any(|(known, value)| *known == key && entry.is(value))
    {
        report.mapped(entry.span);
    } else if NOT_TAKEN.contains(&key) || TAKEN.contains(&key) || TAKEN.contains(&numbered) {
        let why = format!("{key} is not taken over here");
        report.unsupported(entry.span, why, "set it by other means, or do without");
    } else {
        unknown_key(key, entry.span, Dialect::Ifcfg, &TAKEN, report);
    }
}

/// Writes a file for each device and each port.
pub fn write(network: &DesiredNetwork) -> Written {
    let mut writer = Writer {
        files: Vec::new(),
        done: BTreeSet::new(),
        bridged: BTreeMap::new(),
        report: Report::default(),
    };
    for bridge in &network.bridges {
        for port in &bridge.ports {
            let name = port.name.value.as_str();
            writer.bridged.entry(name).or_insert((bridge, port));
        }
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
    for bond in &network.bonds {
        writer.ports(bond);
    }
    for port in network.bridges.iter().flat_map(|bridge| &bridge.ports) {
        let name = &port.name;
        if !writer.done.contains(name.value.as_str()) {
            let mut text = start(&name.value, "Ethernet");
            writer.as_bridge_port(&name.value, &mut text);
            line(&mut text, "BOOTPROTO", "none");
            writer.file(name, &format!("ifcfg-{}", name.value), text);
        }
    }
    Written {
        files: writer.files,
        report: writer.report,
    }
}

struct Writer<'n> {
    files: Vec<OutputFile>,
    /// Devices that have their file.
    done: BTreeSet<&'n str>,
    /// Ports of bridges.
    bridged: BTreeMap<&'n str, (&'n DesiredBridge, &'n DesiredBridgePort)>,
    report: Report,
}

impl<'n> Writer<'n> {
    fn file(&mut self, device: &'n Located<String>, base: &str, text: String) {
        if !self.done.insert(device.value.as_str()) {
            let why = format!(
                "{} is written already, and a device has one file",
                device.value
            );
            return self
                .report
                .unsupported(device.span, why, "let it be one thing only");
        }
        self.files.push(OutputFile {
            path: format!("{HOME}/{base}"),
            mode: 0o644,
            text,
        });
    }

    fn bond(&mut self, bond: &'n DesiredBond) {
        let mut text = start(&bond.name.value, "Bond");
        line(&mut text, "BONDING_MASTER", "yes");
        let mut options = Vec::new();
        for option in &bond.options {
            let change = &option.value;
            match change.id.spec().spelled(Dialect::Ifcfg).first() {
                Some(key) => options.push(format!("{key}={}", change.text())),
                None => unspelt("ifcfg", change, option.span, &mut self.report),
            }
        }
        let _ = writeln!(text, "BONDING_OPTS=\"{}\"", options.join(" "));
        self.device(&bond.name, &bond.device, text);
    }

    fn ports(&mut self, bond: &'n DesiredBond) {
        // Ports join in order of their files' names.
        let names = bond.ports.iter().map(|port| &port.name.value);
        let is_sorted = names.is_sorted();
        for (index, port) in bond.ports.iter().enumerate() {
            let name = &port.name.value;
            let mut text = start(name, "Ethernet");
            line(&mut text, "MASTER", &bond.name.value);
            line(&mut text, "SLAVE", "yes");
            line(&mut text, "BOOTPROTO", "none");
            self.port_options(&port.options, &mut text);
            let base = if is_sorted {
                format!("ifcfg-{name}")
            } else {
                format!("ifcfg-{}-port{index:02}-{name}", bond.name.value)
            };
            self.file(&port.name, &base, text);
        }
        for selector in &bond.selectors {
            self.selector(&bond.name.value, selector);
        }
    }

    /// The file of a port by the address it was made with.
    fn selector(&mut self, bond: &str, selector: &DesiredSelector) {
        let Some(mac) = &selector.mac else {
            let why = "ifcfg takes ports by their names and addresses alone";
            return self
                .report
                .unsupported(selector.span, why, "name the ports");
        };
        if selector.criteria().count() > 1 {
            let why = "ifcfg asks for the address of a port alone";
            return self
                .report
                .unsupported(selector.span, why, "leave the rest out");
        }
        uncounted("ifcfg", selector, &mut self.report);
        let mut text = format!("TYPE=Ethernet\nONBOOT=yes\nHWADDR={}\n", mac.value);
        line(&mut text, "MASTER", bond);
        line(&mut text, "SLAVE", "yes");
        line(&mut text, "BOOTPROTO", "none");
        self.port_options(&selector.options, &mut text);
        // Without DEVICE the file's name stands for the interface's, which has 15 bytes at most: too few for the bond's too.
        let stem = format!("{HOME}/ifcfg-select");
        let known = |file: &&OutputFile| file.path.starts_with(&stem);
        let index = self.files.iter().filter(known).count();
        self.files.push(OutputFile {
            path: format!("{stem}{index:02}"),
            mode: 0o644,
            text,
        });
    }

    fn port_options(&mut self, options: &[Located<PortOptionChange>], text: &mut String) {
        for option in options {
            let change = &option.value;
            match change.id.spec().spelled(Dialect::Ifcfg).first() {
                Some(key) => line(text, key, change.text()),
                None => unspelt("ifcfg", change, option.span, &mut self.report),
            }
        }
    }

    fn vlan(&mut self, vlan: &'n DesiredVlan) {
        let (name, id, link) = (&vlan.name.value, vlan.id.value, &vlan.link.value);
        let mut text = start(name, "Vlan");
        line(&mut text, "VLAN", "yes");
        line(&mut text, "PHYSDEV", link);
        line(&mut text, "VLAN_ID", id);
        if *name != format!("{link}.{id}") && *name != format!("vlan{id}") {
            let what = format!(
                "initscripts know a VLAN by a name like {link}.{id} alone; NetworkManager reads VLAN_ID"
            );
            self.report.changed(vlan.name.span, what);
        }
        self.device(&vlan.name, &vlan.device, text);
    }

    fn bridge(&mut self, bridge: &'n DesiredBridge) {
        let mut text = start(&bridge.name.value, "Bridge");
        if let Some(stp) = &bridge.stp {
            line(&mut text, "STP", yes_no(stp.value));
        }
        if let Some(delay) = &bridge.forward_delay {
            line(&mut text, "DELAY", delay.value);
        }
        let mut options = Vec::new();
        if let Some(aware) = &bridge.vlan_aware {
            options.push(format!("vlan_filtering={}", u8::from(aware.value)));
        }
        if let Some(pvid) = &bridge.pvid {
            options.push(format!("default_pvid={}", pvid.value));
        }
        if !options.is_empty() {
            let _ = writeln!(text, "BRIDGING_OPTS=\"{}\"", options.join(" "));
        }
        for vids in bridge.vids.iter().filter(|_| bridge.ports.is_empty()) {
            let why = "ifcfg names VLANs of ports, and the bridge has none";
            self.report.unsupported(vids.span, why, "add a port");
        }
        self.device(&bridge.name, &bridge.device, text);
    }

    /// What a device says about its bridge; whether it has one.
    fn as_bridge_port(&self, name: &str, text: &mut String) -> bool {
        let Some((bridge, port)) = self.bridged.get(name) else {
            return false;
        };
        line(text, "BRIDGE", &bridge.name.value);
        let vlans = bridge_vlans_text(bridge, port);
        if !vlans.is_empty() {
            let _ = writeln!(text, "BRIDGE_PORT_VLANS=\"{vlans}\"");
        }
        true
    }

    /// The file of a device, and those of its routes.
    fn device(&mut self, name: &'n Located<String>, device: &DeviceSettings, mut text: String) {
        if let Some(mtu) = &device.mtu {
            line(&mut text, "MTU", mtu.value);
        }
        if let Some(mac) = &device.mac {
            line(&mut text, "MACADDR", mac.value);
        }
        let asked = |wanted: &Option<Located<bool>>| wanted.as_ref().is_some_and(|on| on.value);
        if self.as_bridge_port(&name.value, &mut text) {
            for span in device.layer3_places() {
                let why = "a port of a bridge has no addresses";
                self.report
                    .unsupported(span, why, "give them to the bridge");
            }
            line(&mut text, "BOOTPROTO", "none");
            return self.file(name, &format!("ifcfg-{}", name.value), text);
        }
        let is_dynamic = asked(&device.dhcp_v4);
        line(
            &mut text,
            "BOOTPROTO",
            if is_dynamic { "dhcp" } else { "none" },
        );
        let (v4, v6): (Vec<_>, Vec<_>) = device
            .addresses
            .iter()
            .partition(|address| address.value.address.is_ipv4());
        for (index, address) in v4.iter().enumerate() {
            let rest = if index == 0 {
                String::new()
            } else {
                index.to_string()
            };
            line(&mut text, &format!("IPADDR{rest}"), address.value.address);
            line(
                &mut text,
                &format!("PREFIX{rest}"),
                address.value.prefix_len,
            );
            if is_dynamic {
                let what = "initscripts leave it out beside DHCP; NetworkManager takes it";
                self.report.changed(address.span, what);
            }
        }
        if let Some(gateway) = &device.gateway_v4 {
            line(&mut text, "GATEWAY", gateway.value);
        }
        let says_v6 = !v6.is_empty()
            || asked(&device.dhcp_v6)
            || asked(&device.accept_ra)
            || device.gateway_v6.is_some();
        if says_v6 {
            line(&mut text, "IPV6INIT", "yes");
        }
        if let Some(accept) = &device.accept_ra {
            line(&mut text, "IPV6_AUTOCONF", yes_no(accept.value));
        }
        if asked(&device.dhcp_v6) {
            line(&mut text, "DHCPV6C", "yes");
        }
        let texts: Vec<String> = v6.iter().map(|address| address.value.to_string()).collect();
        if let Some((first, others)) = texts.split_first() {
            line(&mut text, "IPV6ADDR", first);
            if !others.is_empty() {
                let _ = writeln!(text, "IPV6ADDR_SECONDARIES=\"{}\"", others.join(" "));
            }
        }
        if let Some(gateway) = &device.gateway_v6 {
            line(&mut text, "IPV6_DEFAULTGW", gateway.value);
        }
        for (index, server) in device.dns.iter().enumerate() {
            line(&mut text, &format!("DNS{}", index + 1), server.value);
        }
        if !device.search.is_empty() {
            let domains: Vec<&str> = device.search.iter().map(|d| d.value.as_str()).collect();
            let _ = writeln!(text, "DOMAIN=\"{}\"", domains.join(" "));
        }
        self.file(name, &format!("ifcfg-{}", name.value), text);
        for (prefix, is_v4) in [("route", true), ("route6", false)] {
            let of_family = |route: &&Located<Route>| route.value.to.address.is_ipv4() == is_v4;
            let mut lines = String::new();
            for route in device.routes.iter().filter(of_family) {
                let _ = writeln!(lines, "{}", route_words::write(&route.value, &name.value));
            }
            if !lines.is_empty() {
                self.files.push(OutputFile {
                    path: format!("{HOME}/{prefix}-{}", name.value),
                    mode: 0o644,
                    text: lines,
                });
            }
        }
    }
}

/// The lines that every file begins with.
fn start(device: &str, kind: &str) -> String {
    format!("DEVICE={device}\nTYPE={kind}\nONBOOT=yes\n")
}

const fn yes_no(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

fn line(text: &mut String, key: &str, value: impl core::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{key}={value}");
}
