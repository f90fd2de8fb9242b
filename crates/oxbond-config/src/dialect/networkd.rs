//! systemd-networkd: `.netdev` and `.network` files with their drop-ins.
//!
//! Facts this relies on (systemd v255 to v258): names of all directories are pooled, and a file hides those of its name
//! in directories of lower rank; files are read in order of name, drop-ins after their file; the first `.network` whose
//! `[Match]` fits is the only one for a device; keys are case-sensitive; what is wrong is ignored, line by line; a bare
//! number for a time is seconds; the primary port is marked in the port's own file.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use oxbond_core::option::{
    Dialect, Kind, Mode, OptionChange, OptionId, OptionKey, OptionSpec, OptionValue, Unit,
    find_in_dialect,
};

use super::common::{
    Criteria, is_pattern, mac, mode, mtu, name, network, number, option, parsed, port_option,
    refused, replaced, set, set_option, uncounted, unknown_key, unspelt, vid,
};
use super::ini::{self, Entry, Grammar, Section};
use super::{OutputFile, Reading, Written};
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{
    Cidr, DesiredBond, DesiredBridge, DesiredBridgePort, DesiredNetwork, DesiredPort,
    DesiredSelector, DesiredVlan, DeviceSettings, Network, Route, VidRange,
};
use crate::report::Report;
use crate::span::{FileId, Located, Sources, Span};
use crate::suggest::closest;

/// Its directories; the first has the highest rank.
const DIRECTORIES: [&str; 4] = [
    "/etc/systemd/network",
    "/run/systemd/network",
    "/usr/local/lib/systemd/network",
    "/usr/lib/systemd/network",
];

/// Where files are written to.
const HOME: &str = DIRECTORIES[0];

/// Keys it knows whose meaning we do not take over, whatever section they stand in.
const NOT_TAKEN: [&str; 40] = [
    "ActivationPolicy",
    "AllMulticast",
    "ARP",
    "BindCarrier",
    "ClientIdentifier",
    "Description",
    "DHCPServer",
    "DNSDefaultRoute",
    "DNSOverTLS",
    "DNSSEC",
    "EmitLLDP",
    "Group",
    "HairPin",
    "Cost",
    "Host",
    "Hostname",
    "IgnoreCarrierLoss",
    "InitialAdvertisedReceiveWindow",
    "IPForward",
    "IPMasquerade",
    "IPv4Forwarding",
    "IPv6Forwarding",
    "IPv6PrivacyExtensions",
    "KeepConfiguration",
    "Label",
    "LLDP",
    "LLMNR",
    "Metric",
    "MulticastDNS",
    "MulticastSnooping",
    "NTP",
    "PreferredLifetime",
    "Priority",
    "RequiredForOnline",
    "RouteMetric",
    "Type",
    "UseDNS",
    "UseMTU",
    "UseRoutes",
    "VRF",
];

/// Keys that are read, for suggestions.
const TAKEN: [&str; 35] = [
    "Address",
    "Bond",
    "Bridge",
    "BridgeVLAN",
    "ConfigureWithoutCarrier",
    "DefaultPVID",
    "Destination",
    "DHCP",
    "Driver",
    "DNS",
    "Domains",
    "EgressUntagged",
    "ForwardDelaySec",
    "Gateway",
    "GatewayOnLink",
    "Id",
    "IPv6AcceptRA",
    "Kind",
    "LinkLocalAddressing",
    "MACAddress",
    "MTUBytes",
    "Name",
    "Path",
    "PermanentMACAddress",
    "PVID",
    "Route",
    "STP",
    "Table",
    "VLAN",
    "VLANFiltering",
    "PrimarySlave",
    "ActiveSlave",
    "Match",
    "Network",
    "NetDev",
];

/// A bare number from here on was hardly meant in seconds.
const PROBABLY_MS: u64 = 10;

/// Keys without which a route would be another.
const OTHER_ROUTE: [&str; 8] = [
    "IPServiceType",
    "MultiPathRoute",
    "NextHop",
    "PreferredSource",
    "Scope",
    "Source",
    "Type",
    "IPv6Preference",
];

/// Words of options that it does not know.
pub(super) const WORDS_UNKNOWN: [(OptionId, &[&str]); 3] = [
    (
        OptionId::ArpValidate,
        &["filter", "filter_active", "filter_backup"],
    ),
    (OptionId::XmitHashPolicy, &["vlan+srcmac"]),
    (OptionId::AdSelect, &["actor_port_prio"]),
];

/// Options of a bond that it reads and then keeps from the kernel, each with the reason and what becomes of it here.
/// Those at their default are not among them.
pub(super) fn unsent(bond: &DesiredBond) -> Vec<(OptionId, Span, String)> {
    let mode = mode(bond);
    let arp = bond.option(OptionId::ArpInterval);
    let arp = arp.is_some_and(|interval| interval.value.value != OptionValue::Number(0));
    let beside_arp =
        || (!arp).then(|| "systemd-networkd uses it only beside an ARP interval".to_owned());
    let only_in = |only: Mode| {
        (mode != only).then(|| format!("systemd-networkd leaves it out in mode {mode}"))
    };
    let given = bond.options.iter();
    let given = given.filter(|option| option.value.text() != option.value.id.spec().default);
    given
        .filter_map(|option| {
            let id = option.value.id;
            let why = match id {
                OptionId::LpInterval | OptionId::ArpIpTarget => beside_arp(),
                OptionId::LacpRate | OptionId::AdSelect => only_in(Mode::Ieee8023ad),
                OptionId::FailOverMac => only_in(Mode::ActiveBackup),
                OptionId::PacketsPerSlave => only_in(Mode::BalanceRr),
                _ => None,
            }?;
            let here = if id == OptionId::ArpIpTarget || !id.spec().acting_in(true).contains(mode) {
                "it is passed on here, and has no effect either"
            } else {
                "here it takes effect"
            };
            Some((id, option.span, format!("{why}; {here}")))
        })
        .collect()
}

/// Reads all files of a set.
pub fn read(sources: &Sources) -> Reading {
    let mut reader = Reader::default();
    let (mut devices, mut networks) = (Vec::new(), Vec::new());
    for (file_name, ids) in reader.files(sources) {
        let sections: Vec<Section> = ids
            .iter()
            .flat_map(|id| {
                ini::sections(
                    *id,
                    &sources.get(*id).text,
                    Grammar::Systemd,
                    &mut reader.report,
                )
            })
            .collect();
        if file_name.ends_with(".netdev") {
            devices.push(sections);
        } else {
            networks.push(sections);
        }
    }
    for sections in &devices {
        reader.device(sections);
    }
    for sections in &networks {
        reader.network_file(sections);
    }
    reader.finish()
}

/// A VLAN device of which it is not known yet what it stands on.
struct LooseVlan {
    name: Located<String>,
    id: Located<u16>,
    device: DeviceSettings,
}

#[derive(Default)]
struct Reader {
    network: DesiredNetwork,
    report: Report,
    loose: Vec<LooseVlan>,
    /// Devices that have their `.network` file already.
    matched: BTreeSet<String>,
}

impl Reader {
    /// The files that count, in the order in which they are read, each followed by its drop-ins.
    fn files(&mut self, sources: &Sources) -> BTreeMap<String, Vec<FileId>> {
        let mut ranked: Vec<(usize, &str, FileId)> = sources
            .iter()
            .map(|(id, source)| {
                let rank = DIRECTORIES
                    .iter()
                    .position(|directory| source.name.contains(directory));
                (rank.unwrap_or(0), source.name.as_str(), id)
            })
            .collect();
        ranked.sort_by_key(|(rank, ..)| *rank);
        let mut files: BTreeMap<String, Vec<FileId>> = BTreeMap::new();
        let mut drop_ins: BTreeMap<(String, String), FileId> = BTreeMap::new();
        for (_, path, id) in ranked {
            let whole = Span::new(id, 0..sources.get(id).text.len());
            let mut parts = path.rsplit('/');
            let base = parts.next().unwrap_or(path);
            let parent = parts.next().unwrap_or("");
            let known = |name: &str| name.ends_with(".netdev") || name.ends_with(".network");
            let owner = parent.strip_suffix(".d").filter(|owner| known(owner));
            let hidden = match owner {
                Some(owner) if base.ends_with(".conf") => {
                    let key = (owner.to_owned(), base.to_owned());
                    let hidden = drop_ins.contains_key(&key);
                    drop_ins.entry(key).or_insert(id);
                    hidden
                }
                _ if known(base) => {
                    let hidden = files.contains_key(base);
                    files.entry(base.to_owned()).or_insert_with(|| vec![id]);
                    hidden
                }
                _ => {
                    let way_out = "leave the file to the tool that reads it";
                    self.report.unsupported(
                        whole,
                        "this is neither a .netdev nor a .network file",
                        way_out,
                    );
                    continue;
                }
            };
            if hidden {
                let why = "a file of the same name in a directory of higher rank hides this one";
                let finding = Diagnostic::new(Code::HiddenFile, Span::new(id, 0..0), why);
                self.report
                    .finding(finding.with_help("remove it, or rename it"));
                self.report
                    .unsupported(whole, why, "remove it, or rename it");
            }
        }
        for ((owner, _), id) in drop_ins {
            match files.get_mut(&owner) {
                Some(files) => files.push(id),
                None => {
                    let whole = Span::new(id, 0..sources.get(id).text.len());
                    let why = format!("it adds to {owner}, which is not among the files");
                    self.report.unsupported(whole, why, "give that file too");
                }
            }
        }
        files
    }

    /// One `.netdev` file.
    fn device(&mut self, sections: &[Section]) {
        let value = |key: &str| {
            let of = |section: &&Section| section.name.value == "NetDev";
            let mut entries = sections
                .iter()
                .filter(of)
                .flat_map(|section| &section.entries);
            entries.rfind(|entry| entry.key == key)
        };
        let kind = value("Kind").map_or("", |entry| entry.value.as_str());
        let Some(device_name) =
            value("Name").filter(|_| matches!(kind, "bond" | "vlan" | "bridge"))
        else {
            let why = if kind.is_empty() || value("Name").is_none() {
                let why = "[NetDev] lacks Name= or Kind=, so the file makes no device";
                if let Some(section) = sections.first() {
                    let finding = Diagnostic::new(Code::MissingKey, section.name.span, why);
                    self.report.finding(finding.with_help("add them"));
                }
                why.to_owned()
            } else {
                format!("devices of kind {kind} are not made")
            };
            return self.give_up(sections, &why);
        };
        let Some(device_name) = name(&device_name.value, device_name.span, &mut self.report) else {
            return self.give_up(sections, "its device has no possible name");
        };
        let loose = self
            .loose
            .iter()
            .any(|vlan| vlan.name.value == device_name.value);
        if loose || self.network.device_mut(&device_name.value).is_some() {
            let why = "an earlier file makes a device of this name";
            let finding = Diagnostic::new(Code::DuplicateDevice, device_name.span, why);
            self.report
                .finding(finding.with_help("rename one of them, or put both into one"));
            return self.give_up(sections, why);
        }
        let mut device = DeviceSettings::default();
        let mut bond = DesiredBond::new(device_name.clone());
        let mut bridge = DesiredBridge::new(device_name.clone());
        let mut id = None;
        let mut keeps_mac = false;
        for section in sections {
            let own = matches!(
                (section.name.value.as_str(), kind),
                ("NetDev", _) | ("Bond", "bond") | ("VLAN", "vlan") | ("Bridge", "bridge")
            );
            if !own {
                self.foreign_section(section, &["NetDev", "Bond", "VLAN", "Bridge", "Match"]);
                continue;
            }
            self.report.mapped(section.name.span);
            for entry in &section.entries {
                let span = entry.span;
                match (section.name.value.as_str(), entry.key.as_str()) {
                    ("NetDev", "Name" | "Kind") => self.report.mapped(span),
                    ("NetDev", "MTUBytes") => {
                        if let Some(mtu) = mtu(&entry.value, span, &mut self.report) {
                            set(&mut device.mtu, mtu, &mut self.report);
                        }
                    }
                    ("NetDev", "MACAddress") if entry.value == "none" => {
                        keeps_mac = true;
                        self.report.mapped(span);
                    }
                    ("NetDev", "MACAddress") if entry.value.is_empty() => {
                        if let Some(before) = device.mac.take() {
                            replaced(before.span, &mut self.report);
                        }
                        self.report.mapped(span);
                    }
                    ("NetDev", "MACAddress") => {
                        if let Some(mac) = mac(&entry.value, span, &mut self.report) {
                            set(&mut device.mac, mac, &mut self.report);
                        }
                    }
                    ("Bond", key) => match find_in_dialect(Dialect::Networkd, key) {
                        Some(spec) => self.bond_option(&mut bond, spec, entry),
                        None => self.other_key(entry),
                    },
                    ("VLAN", "Id") => {
                        if let Some(vid) = vid(&entry.value, span, &mut self.report) {
                            set(&mut id, vid, &mut self.report);
                        }
                    }
                    ("Bridge", "STP") => self.flag(&mut bridge.stp, entry),
                    ("Bridge", "VLANFiltering") => self.flag(&mut bridge.vlan_aware, entry),
                    ("Bridge", "DefaultPVID") => {
                        if let Some(vid) = vid(&entry.value, span, &mut self.report) {
                            set(&mut bridge.pvid, vid, &mut self.report);
                        }
                    }
                    ("Bridge", "ForwardDelaySec") => {
                        let seconds = self.time(entry, 1000).and_then(|n| u32::try_from(n).ok());
                        if let Some(seconds) = seconds {
                            set(
                                &mut bridge.forward_delay,
                                Located::new(seconds, span),
                                &mut self.report,
                            );
                        }
                    }
                    _ => self.other_key(entry),
                }
            }
        }
        match kind {
            "bond" => {
                if device.mac.is_none() && !keeps_mac {
                    let what = "without MACAddress= systemd-networkd makes an address up; here the bond takes its \
                                first port's";
                    self.report.changed(device_name.span, what);
                    let message = format!("{} gets a made-up hardware address", device_name.value);
                    self.report.finding(
                        Diagnostic::new(Code::MadeUpMac, device_name.span, message)
                            .with_help("write MACAddress=none to have its first port's"),
                    );
                }
                for (id, span, why) in unsent(&bond) {
                    self.report.changed(span, why);
                    if id == OptionId::LpInterval {
                        let message = "systemd-networkd sends it only beside ARPIntervalSec=";
                        let finding = Diagnostic::new(Code::LpIntervalUnsent, span, message);
                        self.report
                            .finding(finding.with_help("remove it, or set it by other means"));
                    }
                }
                bond.device = device;
                self.network.bonds.push(bond);
            }
            "bridge" => {
                bridge.device = device;
                self.network.bridges.push(bridge);
            }
            _ => match id {
                Some(id) => self.loose.push(LooseVlan {
                    name: device_name,
                    id,
                    device,
                }),
                None => {
                    let why = "[VLAN] lacks a valid Id=";
                    let finding = Diagnostic::new(Code::MissingKey, device_name.span, why);
                    self.report
                        .finding(finding.with_help("write Id= with a number from 1 to 4094"));
                    self.give_up(sections, why);
                }
            },
        }
    }

    fn bond_option(&mut self, bond: &mut DesiredBond, spec: &'static OptionSpec, entry: &Entry) {
        let OptionKey::Bond(id) = spec.key else {
            return self.other_key(entry);
        };
        if entry.value.is_empty() {
            if !matches!(spec.kind, Kind::Ipv4List(_)) {
                let why =
                    "systemd-networkd ignores an empty value here, and keeps what stands above it";
                return self
                    .report
                    .unsupported(entry.span, why, "remove it, or write a value");
            }
            if let Some(at) = bond.options.iter().position(|option| option.value.id == id) {
                replaced(bond.options.remove(at).span, &mut self.report);
            }
            return self.report.mapped(entry.span);
        }
        self.slips(spec, entry);
        let text = match (spec.kind, spec.unit) {
            (_, Unit::Milliseconds) => self.time(entry, 1).map(|ms| ms.to_string()),
            (_, Unit::Seconds) => self.time(entry, 1000).map(|s| s.to_string()),
            (Kind::Flag, _) => self.boolean(entry).map(|on| u8::from(on).to_string()),
            (Kind::Words(words), _) => {
                let unknown = WORDS_UNKNOWN
                    .iter()
                    .any(|(of, not)| *of == id && not.contains(&entry.value.as_str()));
                if unknown || !words.iter().any(|word| word.name == entry.value) {
                    let why = format!("{:?} is none of the words for {}", entry.value, entry.key);
                    refused(entry.span, why, &mut self.report);
                    None
                } else {
                    Some(entry.value.clone())
                }
            }
            (Kind::Ipv4List(_), _) => return self.targets(bond, id, entry),
            _ => Some(entry.value.clone()),
        };
        if let Some(change) = text.and_then(|text| option(id, &text, entry.span, &mut self.report))
        {
            set_option(bond, change, &mut self.report);
        }
    }

    /// What is often meant otherwise: seconds for milliseconds, numbers for words.
    fn slips(&mut self, spec: &OptionSpec, entry: &Entry) {
        let (key, value, span) = (&entry.key, &entry.value, entry.span);
        let Ok(number) = value.parse::<u64>() else {
            return;
        };
        if spec.unit == Unit::Milliseconds && number >= PROBABLY_MS {
            self.report.finding(
                Diagnostic::new(
                    Code::SecondsForMilliseconds,
                    span,
                    format!("{key}={value} is {value} seconds"),
                )
                .with_help("write the unit")
                .with_fix(span, format!("{key}={value}ms")),
            );
        }
        if let Kind::Words(words) = spec.kind
            && let Some(word) = words.iter().find(|word| u64::from(word.code) == number)
        {
            self.report.finding(
                Diagnostic::new(
                    Code::NumberForWord,
                    span,
                    format!("systemd-networkd does not know {value} for {}", word.name),
                )
                .with_help("write the word")
                .with_fix(span, format!("{key}={}", word.name)),
            );
        }
    }

    /// A list of addresses, to which each line adds; words that are none are ignored one by one.
    fn targets(&mut self, bond: &mut DesiredBond, id: OptionId, entry: &Entry) {
        for word in entry.value.split_whitespace() {
            // Here a comma separates nothing.
            if word.contains(',') {
                let why = format_args!("{word:?} is no address");
                refused(entry.span, why, &mut self.report);
                continue;
            }
            let before = bond.options.iter().position(|option| option.value.id == id);
            let list = match before {
                Some(at) => format!("{},{word}", bond.options[at].value.text()),
                None => word.to_owned(),
            };
            let Some(change) = option(id, &list, entry.span, &mut self.report) else {
                continue;
            };
            self.report.mapped(entry.span);
            match before {
                Some(at) => bond.options[at].value = change.value,
                None => bond.options.push(change),
            }
        }
    }

    /// One `.network` file.
    fn network_file(&mut self, sections: &[Section]) {
        let entries = |of: &str, key: &str| -> Vec<Entry> {
            let section = |section: &&Section| section.name.value == of;
            let entries = sections
                .iter()
                .filter(section)
                .flat_map(|section| &section.entries);
            entries.filter(|entry| entry.key == key).cloned().collect()
        };
        for section in sections {
            if section.name.value == "Match" {
                self.loose_matches(section, !entries("Network", "Bond").is_empty());
            }
        }
        let (names, selectors) = self.matches(sections);
        if names.is_empty() && selectors.is_empty() {
            return self.give_up(sections, "no device is left that the file is for");
        }
        let last = |key: &str| {
            entries("Network", key)
                .pop()
                .filter(|entry| !entry.value.is_empty())
        };
        let own = names.iter().any(|name| {
            self.network.device_mut(&name.value).is_some() || self.is_loose(&name.value)
        });
        let (bond, bridge, vlans) = (last("Bond"), last("Bridge"), entries("Network", "VLAN"));
        if !own && bond.is_none() && bridge.is_none() && vlans.is_empty() {
            return self.give_up(sections, "the device is no bond and nothing of one");
        }
        for key in ["Bond", "Bridge"] {
            let mut all = entries("Network", key);
            all.pop();
            for entry in all {
                replaced(entry.span, &mut self.report);
            }
        }
        if let Some(entry) = &bond {
            self.bond_ports(&names, selectors, entry);
        } else if names.is_empty() {
            let why = "it is for devices by what they are, which only ports of bonds are found by";
            return self.give_up(sections, why);
        } else {
            for selector in selectors {
                let why = "devices are found by name alone, unless they are ports of a bond";
                self.report
                    .unsupported(selector.span, why, "write the name of each device");
            }
        }
        for section in sections {
            match section.name.value.as_str() {
                "Match" => {}
                "Network" => {
                    self.report.mapped(section.name.span);
                    for entry in &section.entries {
                        self.network_key(&names, bond.is_some(), entry);
                    }
                }
                "Link" => {
                    self.report.mapped(section.name.span);
                    for entry in &section.entries {
                        self.link_key(&names, bond.is_some(), entry);
                    }
                }
                "Address" if bond.is_none() => {
                    self.report.mapped(section.name.span);
                    for entry in &section.entries {
                        match entry.key.as_str() {
                            "Address" => self.network_key(&names, false, entry),
                            _ => self.other_key(entry),
                        }
                    }
                }
                "Route" if bond.is_none() => self.route(&names, section),
                "BridgeVLAN" if bridge.is_some() => {}
                _ => self.foreign_section(
                    section,
                    &["Match", "Link", "Network", "Address", "Route", "BridgeVLAN"],
                ),
            }
        }
        if let Some(entry) = &bridge {
            self.bridge_port(&names, entry, sections);
            let asks = |entry: &&Entry| dhcp(&entry.value).is_some_and(|(_, v6)| v6);
            let given = entries("Network", "LinkLocalAddressing");
            if bond.is_none() && given.is_empty() {
                for entry in entries("Network", "DHCP").iter().filter(asks) {
                    let what = "systemd-networkd gives a bridge's port no link-local address, without which it asks no \
                                DHCPv6 server; here one is asked";
                    self.report.changed(entry.span, what);
                }
            }
        }
    }

    /// Ways to match that do not hold what they promise, for ports of a bond.
    fn loose_matches(&mut self, section: &Section, for_ports: bool) {
        for entry in section.entries.iter().filter(|_| for_ports) {
            let pattern = entry.value.contains(['*', '?', '[', '!']);
            match entry.key.as_str() {
                "MACAddress" => self.report.finding(
                    Diagnostic::new(
                        Code::MatchByMac,
                        entry.span,
                        "a port has its bond's address once it is in the bond",
                    )
                    .with_help("match the address it was built with")
                    .with_fix(entry.span, format!("PermanentMACAddress={}", entry.value)),
                ),
                "Name" if pattern => self.report.finding(
                    Diagnostic::new(
                        Code::PortPattern,
                        entry.span,
                        format!("every interface that fits {} becomes a port", entry.value),
                    )
                    .with_help("write the name of each port"),
                ),
                _ => {}
            }
        }
    }

    /// The devices a `.network` file is for: those it names one by one and that no earlier file has, and those it
    /// describes.
    fn matches(&mut self, sections: &[Section]) -> (Vec<Located<String>>, Vec<DesiredSelector>) {
        let mut criteria = Criteria::default();
        let mut place = None;
        let of = |section: &&Section| section.name.value == "Match";
        for section in sections.iter().filter(of) {
            self.report.mapped(section.name.span);
            for entry in &section.entries {
                place = place.or(Some(entry.span));
                self.criterion(&mut criteria, entry);
            }
        }
        let Some(place) = place else {
            return (Vec::new(), Vec::new());
        };
        let by_name =
            criteria.macs.is_empty() && criteria.paths.is_empty() && criteria.drivers.is_empty();
        let mut names = Vec::new();
        if by_name {
            let all = core::mem::take(&mut criteria.names).into_iter();
            let (patterns, plain): (Vec<_>, Vec<_>) = all.partition(|name| is_pattern(&name.value));
            criteria.names = patterns;
            for word in plain {
                let Some(found) = name(&word.value, word.span, &mut self.report) else {
                    continue;
                };
                self.report.device(found.clone());
                if self.matched.insert(word.value.clone()) {
                    names.push(found);
                } else {
                    let word_text = &word.value;
                    let why =
                        format!("an earlier file is for {word_text}, and only the first counts");
                    self.report.unsupported(word.span, why, "put both into one");
                }
            }
        }
        let selectors = criteria.selectors(place, &mut self.report);
        (names, selectors)
    }

    /// One line of `[Match]`.
    fn criterion(&mut self, criteria: &mut Criteria, entry: &Entry) {
        let (span, report) = (entry.span, &mut self.report);
        let list = match entry.key.as_str() {
            "Type" if entry.value == "ether" => return report.mapped(span),
            "Name" => &mut criteria.names,
            "Path" => &mut criteria.paths,
            "Driver" => &mut criteria.drivers,
            "MACAddress" | "PermanentMACAddress" => {
                for word in entry.value.split_whitespace() {
                    match mac(word, span, report) {
                        Some(mac) => criteria.macs.push(mac),
                        None => criteria.partial = true,
                    }
                    report.mapped(span);
                }
                if entry.key == "MACAddress" {
                    let what = "it is compared with the permanent address, which does not change in a bond";
                    report.changed(span, what);
                }
                return;
            }
            _ => {
                criteria.partial = true;
                let why = "devices are found by Name=, PermanentMACAddress=, Path= and Driver=";
                return report.unsupported(span, why, "use one of these");
            }
        };
        if entry.value.starts_with('!') {
            criteria.partial = true;
            let why = "devices are found by what they are, not by what they are not";
            return report.unsupported(span, why, "write what they are");
        }
        report.mapped(span);
        let words = entry.value.split_whitespace();
        list.extend(words.map(|word| Located::new(word.to_owned(), span)));
    }

    fn network_key(&mut self, names: &[Located<String>], is_port: bool, entry: &Entry) {
        let span = entry.span;
        let key = entry.key.as_str();
        let marks = find_in_dialect(Dialect::Networkd, &format!("Network.{key}"));
        match key {
            // The last of each counts, for the whole file; an empty one takes back what stands above it.
            "Bond" | "Bridge" if entry.value.is_empty() => self.report.mapped(span),
            "Bond" | "Bridge" => {}
            "VLAN" => self.vlan(names, entry),
            "LinkLocalAddressing" if is_port && entry.value == "no" => self.report.mapped(span),
            "LinkLocalAddressing" if !is_port && entry.value == "ipv6" => self.report.mapped(span),
            "LinkLocalAddressing" => {
                let why = "whether a device has link-local addresses is left to the kernel";
                self.report.unsupported(
                    span,
                    why,
                    "set it by sysctl (net.ipv6.conf.NAME.addr_gen_mode)",
                );
            }
            "ConfigureWithoutCarrier" => match self.boolean(entry) {
                Some(true) => self.report.mapped(span),
                Some(false) => self
                    .report
                    .changed(span, "addresses are set without carrier too"),
                None => {}
            },
            "Address" | "Gateway" | "DHCP" | "DNS" | "Domains" | "IPv6AcceptRA" if is_port => {
                let why = "a port of a bond has no addresses; systemd-networkd ignores this line";
                let off = key == "DHCP" && boolean(&entry.value) == Some(false);
                match key {
                    "Address" | "Gateway" | "DHCP" if !off => self.report.breach(
                        Code::PortAddressed,
                        span,
                        why,
                        "move it to the bond's .network file",
                    ),
                    _ => self
                        .report
                        .unsupported(span, why, "move it to the bond's .network file"),
                }
            }
            "Address" | "Gateway" | "DHCP" | "DNS" | "Domains" | "IPv6AcceptRA" => {
                let [name] = names else {
                    let why =
                        "the file is for several devices, which cannot have the same addresses";
                    return self
                        .report
                        .unsupported(span, why, "write one file for each device");
                };
                self.layer3(&name.value, entry);
            }
            _ => match marks.map(|spec| spec.key) {
                Some(OptionKey::Bond(id)) => self.port_mark(names, id, entry),
                _ => self.other_key(entry),
            },
        }
    }

    fn layer3(&mut self, name: &str, entry: &Entry) {
        let span = entry.span;
        let report = &mut self.report;
        let Some(device) = find_device(&mut self.network, &mut self.loose, name) else {
            let why = format!("{name} is no bond and stands on none");
            return report.unsupported(span, why, "leave its addresses to systemd-networkd");
        };
        let text = entry.value.as_str();
        match entry.key.as_str() {
            "Address" if text.is_empty() => {
                for address in device.addresses.drain(..) {
                    replaced(address.span, report);
                }
                let what =
                    "it takes the addresses above back, which systemd-networkd 252 does not do yet";
                report.changed(span, what);
            }
            "Address" => {
                if let Some(address) = parsed::<Cidr>(text, span, report) {
                    device.addresses.push(address);
                    report.mapped(span);
                }
            }
            "Gateway" => {
                if let Some(via) = parsed::<IpAddr>(text, span, report) {
                    let route = Route::new(Network::default_like(via.value), Some(via.value));
                    device.add_route(Located::new(route, span));
                    report.mapped(span);
                }
            }
            "DNS" if text.is_empty() => {
                for server in device.dns.drain(..) {
                    replaced(server.span, report);
                }
                report.mapped(span);
            }
            "DNS" => {
                for word in text.split_whitespace() {
                    if let Some(server) = parsed::<IpAddr>(word, span, report) {
                        device.dns.push(server);
                        report.mapped(span);
                    }
                }
            }
            "Domains" if text.is_empty() => {
                for domain in device.search.drain(..) {
                    replaced(domain.span, report);
                }
                report.mapped(span);
            }
            "Domains" => {
                for word in text.split_whitespace() {
                    if word.starts_with('~') {
                        let why = format!("{word} only routes queries, it is not searched");
                        report.unsupported(span, why, "set it with resolvectl domain");
                    } else {
                        device.search.push(Located::new(word.to_owned(), span));
                        report.mapped(span);
                    }
                }
            }
            "DHCP" => {
                let Some((v4, v6)) = dhcp(text) else {
                    let why = format_args!("{text:?} is none of yes, no, ipv4, ipv6");
                    return refused(span, why, report);
                };
                set(&mut device.dhcp_v4, Located::new(v4, span), report);
                device.dhcp_v6 = Some(Located::new(v6, span));
            }
            _ => {
                if let Some(accept) = boolean(text) {
                    set(&mut device.accept_ra, Located::new(accept, span), report);
                } else {
                    refused(span, format_args!("{text:?} is neither yes nor no"), report);
                }
            }
        }
    }

    fn link_key(&mut self, names: &[Located<String>], is_port: bool, entry: &Entry) {
        let span = entry.span;
        let report = &mut self.report;
        let device = match names {
            [name] => find_device(&mut self.network, &mut self.loose, &name.value),
            _ => None,
        };
        match (entry.key.as_str(), device) {
            ("MTUBytes", _) if is_port => {
                report.changed(span, "ports take the bond's MTU");
                if let Ok(mtu) = entry.value.parse() {
                    for name in names {
                        report.port_mtu(&name.value, Located::new(mtu, span));
                    }
                }
            }
            ("MTUBytes", Some(device)) => {
                if let Some(mtu) = mtu(&entry.value, span, report) {
                    set(&mut device.mtu, mtu, report);
                }
            }
            ("MACAddress", Some(device)) => {
                if let Some(mac) = mac(&entry.value, span, report) {
                    set(&mut device.mac, mac, report);
                }
            }
            ("MTUBytes" | "MACAddress", _) => {
                let why = "this can be set for a bond and what stands on it only";
                report.unsupported(span, why, "set it in a .link file");
            }
            _ => self.other_key(entry),
        }
    }

    fn bond_ports(
        &mut self,
        names: &[Located<String>],
        selectors: Vec<DesiredSelector>,
        entry: &Entry,
    ) {
        let found = self
            .network
            .bonds
            .iter_mut()
            .find(|bond| bond.name.value == entry.value);
        let Some(bond) = found else {
            let why = format!("no .netdev file makes a bond {:?}", entry.value);
            return self.report.breach(
                Code::UndefinedReference,
                entry.span,
                why,
                "add the file, or correct the name",
            );
        };
        self.report.mapped(entry.span);
        bond.selectors.extend(selectors);
        bond.ports.extend(names.iter().map(|name| DesiredPort {
            name: name.clone(),
            options: Vec::new(),
        }));
    }

    /// `PrimarySlave=` and `ActiveSlave=`: an option of the bond that says this port's name.
    fn port_mark(&mut self, names: &[Located<String>], id: OptionId, entry: &Entry) {
        let port_of = |bond: &DesiredBond| {
            bond.ports
                .iter()
                .any(|port| names.iter().any(|name| name.value == port.name.value))
        };
        let Some(marked) = self.boolean(entry) else {
            return;
        };
        match (names, marked) {
            (_, false) => self.report.mapped(entry.span),
            ([name], true) => match self.network.bonds.iter_mut().find(|bond| port_of(bond)) {
                Some(bond) => set_option(
                    bond,
                    port_option(id, &name.value, entry.span),
                    &mut self.report,
                ),
                None => {
                    let why = "the device is no port of a bond";
                    self.report
                        .unsupported(entry.span, why, "write Bond= beside it");
                }
            },
            ([], true) => {
                let why = format!("{id} is a port by its name, and the file says none");
                self.report
                    .unsupported(entry.span, why, "write Name= in [Match]");
            }
            (_, true) => {
                let why = format!("the file is for several ports, and one at most is {id}");
                self.report
                    .unsupported(entry.span, why, "write one file for each port");
            }
        }
    }

    fn vlan(&mut self, names: &[Located<String>], entry: &Entry) {
        let Some(at) = self
            .loose
            .iter()
            .position(|vlan| vlan.name.value == entry.value)
        else {
            let why = format!(
                "no .netdev file makes a VLAN device {:?}, or it has its place already",
                entry.value
            );
            return self.report.breach(
                Code::UndefinedReference,
                entry.span,
                why,
                "add the file, or correct the name",
            );
        };
        let [link] = names else {
            let why = "the file is for several devices, and a VLAN device stands on one";
            return self
                .report
                .unsupported(entry.span, why, "write one file for each device");
        };
        let LooseVlan { name, id, device } = self.loose.remove(at);
        self.network.vlans.push(DesiredVlan {
            name,
            id,
            link: Located::new(link.value.clone(), entry.span),
            device,
        });
        self.report.mapped(entry.span);
    }

    fn bridge_port(&mut self, names: &[Located<String>], entry: &Entry, sections: &[Section]) {
        let mut vids: Vec<Located<VidRange>> = Vec::new();
        let mut pvid: Option<Located<u16>> = None;
        let mut untagged: Vec<Located<u16>> = Vec::new();
        for section in sections
            .iter()
            .filter(|section| section.name.value == "BridgeVLAN")
        {
            self.report.mapped(section.name.span);
            for entry in &section.entries {
                let (span, report) = (entry.span, &mut self.report);
                match entry.key.as_str() {
                    "VLAN" => {
                        if let Some(range) = parsed(&entry.value, span, report) {
                            vids.push(range);
                            report.mapped(span);
                        }
                    }
                    "PVID" => {
                        if let Some(vid) = vid(&entry.value, span, report) {
                            set(&mut pvid, vid, report);
                        }
                    }
                    "EgressUntagged" => untagged.extend(vid(&entry.value, span, report)),
                    _ => self.other_key(entry),
                }
            }
        }
        for vid in untagged {
            if pvid.as_ref().is_some_and(|pvid| pvid.value == vid.value) {
                self.report.mapped(vid.span);
            } else {
                let why = "only the VLAN of PVID= leaves a port untagged";
                self.report
                    .unsupported(vid.span, why, "make it the PVID, or let it be tagged");
            }
        }
        let found = self
            .network
            .bridges
            .iter_mut()
            .find(|bridge| bridge.name.value == entry.value);
        let Some(bridge) = found else {
            let why = format!("no .netdev file makes a bridge {:?}", entry.value);
            return self.report.breach(
                Code::UndefinedReference,
                entry.span,
                why,
                "add the file, or correct the name",
            );
        };
        self.report.mapped(entry.span);
        bridge
            .ports
            .extend(names.iter().map(|name| DesiredBridgePort {
                name: Located::new(name.value.clone(), entry.span),
                vids: vids.clone(),
                pvid: pvid.clone(),
            }));
    }

    fn route(&mut self, names: &[Located<String>], section: &Section) {
        self.report.mapped(section.name.span);
        let mut route = Route::new(Network::DEFAULT_V4, None);
        let mut to = None;
        let mut whole = true;
        for entry in &section.entries {
            let (text, span, report) = (entry.value.as_str(), entry.span, &mut self.report);
            let before = report.notes().len();
            match entry.key.as_str() {
                "Destination" => to = network(text, span, report).map(|to| to.value),
                "Gateway" => route.via = parsed::<IpAddr>(text, span, report).map(|via| via.value),
                "Metric" => {
                    route.metric = number(text, 0..=u32::MAX, span, report).map(|n| n.value)
                }
                "Table" if text == "main" => {}
                "Table" => route.table = number(text, 1..=u32::MAX, span, report).map(|n| n.value),
                "GatewayOnLink" => match boolean(text) {
                    Some(on_link) => route.on_link = on_link,
                    None => refused(span, format_args!("{text:?} is neither yes nor no"), report),
                },
                // What it is without a word.
                "Type" if text == "unicast" => {}
                "Scope" if matches!(text, "link" | "global") => {}
                key if OTHER_ROUTE.contains(&key) => {
                    let why = format!("a route with {key} is not taken over");
                    report.unsupported(span, why, "add it by other means");
                    whole = false;
                }
                _ => self.other_key(entry),
            }
            if self.report.notes().len() == before {
                self.report.mapped(span);
            } else {
                whole &= match entry.key.as_str() {
                    "Destination" => to.is_some(),
                    "Gateway" => route.via.is_some(),
                    _ => true,
                };
            }
        }
        let span = Span::new(
            section.name.span.file,
            section.name.span.start
                ..section
                    .entries
                    .last()
                    .map_or(section.name.span.end, |entry| entry.span.end),
        );
        if !whole || (to.is_none() && route.via.is_none()) {
            let why = "the route as a whole is not taken over";
            return self.report.unsupported(span, why, "see its lines");
        }
        route.to =
            to.unwrap_or_else(|| route.via.map_or(Network::DEFAULT_V4, Network::default_like));
        let device = match names {
            [name] => find_device(&mut self.network, &mut self.loose, &name.value),
            _ => None,
        };
        match device {
            Some(device) => device.add_route(Located::new(route, span)),
            None => self.report.unsupported(
                span,
                "the device is no bond and stands on none, or the file is for several",
                "leave its routes to systemd-networkd",
            ),
        }
    }

    fn is_loose(&self, name: &str) -> bool {
        self.loose.iter().any(|vlan| vlan.name.value == name)
    }

    fn flag(&mut self, slot: &mut Option<Located<bool>>, entry: &Entry) {
        if let Some(on) = self.boolean(entry) {
            set(slot, Located::new(on, entry.span), &mut self.report);
        }
    }

    fn boolean(&mut self, entry: &Entry) -> Option<bool> {
        let value = boolean(&entry.value);
        if value.is_none() {
            refused(
                entry.span,
                format_args!("{:?} is neither yes nor no", entry.value),
                &mut self.report,
            );
        }
        value
    }

    /// A time in units of `unit_ms` milliseconds, rounded down as systemd does.
    fn time(&mut self, entry: &Entry, unit_ms: u64) -> Option<u64> {
        match timespan_us(&entry.value) {
            Some(us) => Some(us / 1000 / unit_ms),
            None => {
                let why = format!(
                    "{:?} is no time; write it like 100ms or 1min 30s",
                    entry.value
                );
                refused(entry.span, why, &mut self.report);
                None
            }
        }
    }

    fn foreign_section(&mut self, section: &Section, known: &[&'static str]) {
        let name = section.name.value.as_str();
        let meant = closest(name, known.iter().copied()).filter(|_| !known.contains(&name));
        let why = format!("[{name}] has no meaning for this device here");
        let mut spans = spans(section);
        if let Some(meant) = meant {
            self.report
                .unknown(spans.remove(0), Some(format!("[{meant}]")));
        }
        for span in spans {
            self.report.unsupported(
                span,
                why.as_str(),
                "leave it to systemd-networkd, or remove it",
            );
        }
    }

    fn give_up(&mut self, sections: &[Section], why: &str) {
        for span in sections.iter().flat_map(spans) {
            self.report
                .unsupported(span, why, "leave it to systemd-networkd, or correct it");
        }
    }

    fn other_key(&mut self, entry: &Entry) {
        if NOT_TAKEN.contains(&entry.key.as_str()) {
            let why = format!("{} is not taken over", entry.key);
            self.report
                .unsupported(entry.span, why, "set it by other means, or do without");
        } else if TAKEN.contains(&entry.key.as_str())
            || find_in_dialect(Dialect::Networkd, &entry.key).is_some()
        {
            let why = format!(
                "{} does not belong into this section, where it is ignored",
                entry.key
            );
            self.report.breach(
                Code::MisplacedKey,
                entry.span,
                why,
                "move it to its own section",
            );
        } else {
            unknown_key(
                &entry.key,
                entry.span,
                Dialect::Networkd,
                &TAKEN,
                &mut self.report,
            );
        }
    }

    fn finish(mut self) -> Reading {
        for vlan in self.loose.drain(..) {
            let why = format!(
                "no .network file says VLAN={}, so it stands on nothing",
                vlan.name.value
            );
            self.report.breach(
                Code::UndefinedReference,
                vlan.name.span,
                why,
                "write VLAN= into the file of the device below it",
            );
        }
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

fn spans(section: &Section) -> Vec<Span> {
    let entries = section.entries.iter().map(|entry| entry.span);
    core::iter::once(section.name.span).chain(entries).collect()
}

fn find_device<'n>(
    network: &'n mut DesiredNetwork,
    loose: &'n mut [LooseVlan],
    name: &str,
) -> Option<&'n mut DeviceSettings> {
    network.device_mut(name).or_else(|| {
        loose
            .iter_mut()
            .find(|vlan| vlan.name.value == name)
            .map(|vlan| &mut vlan.device)
    })
}

/// For which families `DHCP=` asks, with the words of old versions.
fn dhcp(text: &str) -> Option<(bool, bool)> {
    match text {
        "ipv4" | "v4" => Some((true, false)),
        "ipv6" | "v6" => Some((false, true)),
        "both" => Some((true, true)),
        other => boolean(other).map(|both| (both, both)),
    }
}

/// systemd's booleans.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// systemd's time spans in microseconds (systemd.time(7)): numbers with units, added up; seconds where there is none.
pub(super) fn timespan_us(text: &str) -> Option<u64> {
    const MINUTE: f64 = 60e6;
    let mut rest = text.trim();
    let mut sum = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        rest = rest.strip_prefix('+').unwrap_or(rest);
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, behind) = rest.split_at(digits);
        if number.ends_with('.') {
            return None;
        }
        let behind = behind.trim_start();
        let letters = behind
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        let us = match unit {
            "us" | "usec" | "µs" | "μs" => 1.0,
            "ms" | "msec" => 1e3,
            "" | "s" | "sec" | "second" | "seconds" => 1e6,
            "m" | "min" | "minute" | "minutes" => MINUTE,
            "h" | "hr" | "hour" | "hours" => 60.0 * MINUTE,
            "d" | "day" | "days" => 24.0 * 60.0 * MINUTE,
            "w" | "week" | "weeks" => 7.0 * 24.0 * 60.0 * MINUTE,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * us;
        rest = behind.trim_start();
    }
    // Far above what any option takes, and far below where whole microseconds are lost.
    (sum < 9e15).then_some(sum.round() as u64)
}

/// Writes one `.netdev` for each device, and one `.network` for each device and each port.
pub fn write(network: &DesiredNetwork) -> Written {
    let mut writer = Writer {
        network,
        files: Vec::new(),
        report: Report::default(),
    };
    for bond in &network.bonds {
        writer.bond(bond);
    }
    for vlan in &network.vlans {
        let text = format!("\n[VLAN]\nId={}\n", vlan.id.value);
        writer.netdev(&vlan.name.value, "vlan", &vlan.device, &text);
        writer.network(&vlan.name.value, None, Some(&vlan.device));
    }
    for bridge in &network.bridges {
        writer.bridge(bridge);
    }
    writer.others();
    Written {
        files: writer.files,
        report: writer.report,
    }
}

struct Writer<'n> {
    network: &'n DesiredNetwork,
    files: Vec<OutputFile>,
    report: Report,
}

impl Writer<'_> {
    fn bond(&mut self, bond: &DesiredBond) {
        let mut text = "\n[Bond]\n".to_owned();
        let mut marks = Vec::new();
        for option in &bond.options {
            let change = &option.value;
            match change.id.spec().spelled(Dialect::Networkd).first() {
                Some(key) => match key.strip_prefix("Network.") {
                    Some(key) => {
                        let port = change.text();
                        if bond.ports.iter().any(|known| known.name.value == port) {
                            marks.push((port, key));
                        } else if !port.is_empty() {
                            let why = format!(
                                "{key} is marked at the port, and {port} is not among the ports"
                            );
                            self.report
                                .unsupported(option.span, why, "correct the name");
                        }
                    }
                    None => match self.value(option) {
                        Some(value) => lines(&mut text, key, [value]),
                        None => continue,
                    },
                },
                None => unspelt("systemd-networkd", change, option.span, &mut self.report),
            }
        }
        for (_, span, why) in unsent(bond) {
            self.report.changed(span, why);
        }
        self.netdev(&bond.name.value, "bond", &bond.device, &text);
        self.network(&bond.name.value, None, Some(&bond.device));
        for (index, port) in bond.ports.iter().enumerate() {
            for option in &port.options {
                unspelt(
                    "systemd-networkd",
                    &option.value,
                    option.span,
                    &mut self.report,
                );
            }
            let marks = marks
                .iter()
                .filter(|(name, _)| *name == port.name.value)
                .map(|(_, key)| *key);
            let membership = Membership {
                bond: &bond.name.value,
                index,
                marks: marks.collect(),
            };
            self.network(&port.name.value, Some(&membership), None);
        }
        for (index, selector) in bond.selectors.iter().enumerate() {
            self.selector(&bond.name.value, bond.ports.len() + index, selector);
        }
    }

    /// The file of ports by what they are.
    fn selector(&mut self, bond: &str, index: usize, selector: &DesiredSelector) {
        let mut text = "[Match]\n".to_owned();
        for (key, value) in selector.criteria() {
            if value.starts_with('!') || value.contains(char::is_whitespace) {
                let why = format!("systemd-networkd cannot match {value:?}");
                return self
                    .report
                    .unsupported(selector.span, why, "write a pattern without it");
            }
            let key = match key {
                "mac" => "PermanentMACAddress",
                "path" => "Path",
                "driver" => "Driver",
                _ => "Name",
            };
            lines(&mut text, key, [value]);
        }
        uncounted("systemd-networkd", selector, &mut self.report);
        for option in &selector.options {
            let change = &option.value;
            unspelt("systemd-networkd", change, option.span, &mut self.report);
        }
        text.push_str("\n[Network]\n");
        lines(&mut text, "Bond", [bond]);
        lines(&mut text, "LinkLocalAddressing", ["no"]);
        self.file(
            format!("{HOME}/30-{bond}-port{index:02}-select.network"),
            text,
        );
    }

    /// An option's value as systemd writes it, or nothing if it cannot.
    fn value(&mut self, option: &Located<OptionChange>) -> Option<String> {
        let change = &option.value;
        let spec = change.id.spec();
        let text = change.text();
        if WORDS_UNKNOWN
            .iter()
            .any(|(id, words)| *id == change.id && words.contains(&text.as_str()))
        {
            unspelt("systemd-networkd", change, option.span, &mut self.report);
            return None;
        }
        Some(match (&change.value, spec.kind, spec.unit) {
            (_, _, Unit::Milliseconds) => format!("{text}ms"),
            (_, _, Unit::Seconds) => format!("{text}s"),
            (OptionValue::Number(number), Kind::Flag, _) => yes(*number != 0).to_owned(),
            (OptionValue::Ipv4(_), ..) => text.replace(',', " "),
            _ => text,
        })
    }

    fn bridge(&mut self, bridge: &DesiredBridge) {
        let mut text = "\n[Bridge]\n".to_owned();
        lines(
            &mut text,
            "STP",
            bridge.stp.as_ref().map(|stp| yes(stp.value)),
        );
        let delay = bridge
            .forward_delay
            .as_ref()
            .map(|delay| format!("{}s", delay.value));
        lines(&mut text, "ForwardDelaySec", delay);
        lines(
            &mut text,
            "VLANFiltering",
            bridge.vlan_aware.as_ref().map(|aware| yes(aware.value)),
        );
        lines(
            &mut text,
            "DefaultPVID",
            bridge.pvid.as_ref().map(|pvid| pvid.value),
        );
        if bridge.ports.is_empty() {
            for vids in &bridge.vids {
                let why =
                    "systemd-networkd knows VLANs of a bridge's ports, and the bridge has none";
                self.report
                    .unsupported(vids.span, why, "add a port, or leave it out");
            }
        }
        self.netdev(&bridge.name.value, "bridge", &bridge.device, &text);
        self.network(&bridge.name.value, None, Some(&bridge.device));
    }

    /// Files of devices that are no bond, VLAN, bridge or port of a bond, but below one.
    fn others(&mut self) {
        let links = self
            .network
            .vlans
            .iter()
            .map(|vlan| vlan.link.value.as_str());
        let ports = self.network.bridges.iter().flat_map(|bridge| &bridge.ports);
        let names: BTreeSet<&str> = links
            .chain(ports.map(|port| port.name.value.as_str()))
            .collect();
        for name in names {
            let suffix = format!("-{name}.network");
            if !self.files.iter().any(|file| file.path.ends_with(&suffix)) {
                self.network(name, None, None);
            }
        }
    }

    fn netdev(&mut self, name: &str, kind: &str, device: &DeviceSettings, settings: &str) {
        let mut text = format!("[NetDev]\nName={name}\nKind={kind}\n");
        lines(
            &mut text,
            "MTUBytes",
            device.mtu.as_ref().map(|mtu| mtu.value),
        );
        match &device.mac {
            Some(mac) => lines(&mut text, "MACAddress", [mac.value]),
            None if kind == "bond" => lines(&mut text, "MACAddress", ["none"]),
            None => {}
        }
        // A section that says nothing is left out.
        if settings.trim_end().contains('=') {
            text.push_str(settings);
        }
        self.file(format!("{HOME}/30-{name}.netdev"), text);
    }

    fn network(
        &mut self,
        name: &str,
        membership: Option<&Membership<'_>>,
        device: Option<&DeviceSettings>,
    ) {
        let mut text = format!("[Match]\nName={name}\n\n[Network]\n");
        let path = match membership {
            Some(Membership { bond, index, marks }) => {
                lines(&mut text, "Bond", [bond]);
                for mark in marks {
                    lines(&mut text, mark, ["yes"]);
                }
                lines(&mut text, "LinkLocalAddressing", ["no"]);
                format!("{HOME}/30-{bond}-port{index:02}-{name}.network")
            }
            None => format!("{HOME}/30-{name}.network"),
        };
        let vlans = self
            .network
            .vlans
            .iter()
            .filter(|vlan| vlan.link.value == name);
        lines(&mut text, "VLAN", vlans.map(|vlan| &vlan.name.value));
        let mut vlans_here = String::new();
        for bridge in &self.network.bridges {
            for port in bridge.ports.iter().filter(|port| port.name.value == name) {
                lines(&mut text, "Bridge", [&bridge.name.value]);
                let vids = if port.vids.is_empty() {
                    &bridge.vids
                } else {
                    &port.vids
                };
                if !vids.is_empty() || port.pvid.is_some() {
                    vlans_here.push_str("\n[BridgeVLAN]\n");
                    lines(
                        &mut vlans_here,
                        "PVID",
                        port.pvid.as_ref().map(|pvid| pvid.value),
                    );
                    lines(
                        &mut vlans_here,
                        "EgressUntagged",
                        port.pvid.as_ref().map(|pvid| pvid.value),
                    );
                    lines(&mut vlans_here, "VLAN", vids.iter().map(|vids| vids.value));
                }
            }
        }
        if let Some(device) = device {
            layer3(&mut text, device);
        }
        text.push_str(&vlans_here);
        self.file(path, text);
    }

    fn file(&mut self, path: String, text: String) {
        self.files.push(OutputFile {
            path,
            mode: 0o644,
            text,
        });
    }
}

/// How a port belongs to its bond.
struct Membership<'n> {
    bond: &'n str,
    /// Its place among the ports: the order of the files is the order of the ports.
    index: usize,
    /// Keys that are set for it (`PrimarySlave`).
    marks: Vec<&'static str>,
}

fn layer3(text: &mut String, device: &DeviceSettings) {
    let asked = |wanted: &Option<Located<bool>>| wanted.as_ref().is_some_and(|asked| asked.value);
    let dhcp = match (asked(&device.dhcp_v4), asked(&device.dhcp_v6)) {
        (true, true) => Some("yes"),
        (true, false) => Some("ipv4"),
        (false, true) => Some("ipv6"),
        (false, false) => None,
    };
    lines(text, "DHCP", dhcp);
    lines(
        text,
        "IPv6AcceptRA",
        device.accept_ra.as_ref().map(|accept| yes(accept.value)),
    );
    lines(
        text,
        "Address",
        device.addresses.iter().map(|address| address.value),
    );
    lines(
        text,
        "Gateway",
        device.gateway_v4.as_ref().map(|gateway| gateway.value),
    );
    lines(
        text,
        "Gateway",
        device.gateway_v6.as_ref().map(|gateway| gateway.value),
    );
    lines(text, "DNS", device.dns.iter().map(|server| server.value));
    lines(
        text,
        "Domains",
        device.search.iter().map(|domain| &domain.value),
    );
    for route in &device.routes {
        let route = route.value;
        text.push_str("\n[Route]\n");
        lines(text, "Destination", [route.to]);
        lines(text, "Gateway", route.via);
        lines(text, "Metric", route.metric);
        lines(text, "Table", route.table);
        lines(text, "GatewayOnLink", route.on_link.then_some("yes"));
    }
}

/// One line for each value.
fn lines(text: &mut String, key: &str, values: impl IntoIterator<Item = impl core::fmt::Display>) {
    for value in values {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key}={value}");
    }
}

const fn yes(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `systemd-analyze timespan` (252).
    #[test]
    fn time_spans() {
        for (text, us) in [
            ("100", Some(100_000_000)),
            ("0.1", Some(100_000)),
            (".1", Some(100_000)),
            ("100ms", Some(100_000)),
            ("1min 30s", Some(90_000_000)),
            ("1s200ms", Some(1_200_000)),
            ("2m", Some(120_000_000)),
            ("500us", Some(500)),
            ("1 h", Some(3_600_000_000)),
            ("", None),
            ("fast", None),
            ("100 apples", None),
            ("1..2", None),
            ("1.", None),
            ("+5", Some(5_000_000)),
            ("-1", None),
            ("infinity", None),
        ] {
            assert_eq!(timespan_us(text), us, "{text}");
        }
    }
}
