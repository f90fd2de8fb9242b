//! NetworkManager's keyfiles: `/etc/NetworkManager/system-connections/*.nmconnection`.
//!
//! Facts this relies on (NetworkManager 1.42 to 1.52): a profile hides those with its UUID in directories of lower
//! rank; a port names its controller by device, id or UUID (`master`, since 1.46 also `controller`); links are checked
//! every 100 ms unless an option says otherwise; options that do not fit the mode or each other are left out, or the
//! whole profile is refused; without `[ipv4]` or `[ipv6]` the method is auto; bridges speak STP unless told otherwise.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use oxbond_core::option::{
    Dialect, Kind, Mode, OptionChange, OptionId, OptionKey, OptionValue, PortOptionChange,
    find_in_dialect,
};

use super::common::{
    Criteria, mac, mode, mtu, name, number, option, parsed, port_option, refused, replaced, set,
    uncounted, unknown_key, unspelt, vid,
};
use super::ini::{self, Entry, Grammar, Section};
use super::{OutputFile, Reading, Written};
use crate::check::DEFAULT_MIIMON_MS;
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{
    Cidr, DesiredBond, DesiredBridge, DesiredBridgePort, DesiredNetwork, DesiredPort,
    DesiredSelector, DesiredVlan, DeviceSettings, Network, Route, VidRange,
};
use crate::report::Report;
use crate::span::{Located, Sources, Span};

/// Why a forward delay is no word of NetworkManager's: it refuses the whole profile then.
const DELAYS: &str = "NetworkManager takes a forward delay of 2 to 30 s, and of 0 without STP";

/// Where profiles are written to.
const HOME: &str = "/etc/NetworkManager/system-connections";

/// Its directories; the first has the highest rank.
const DIRECTORIES: [&str; 3] = [HOME, "/run/NetworkManager", "/usr/lib/NetworkManager"];

/// Keys that are read, for suggestions.
const TAKEN: [&str; 28] = [
    "addresses",
    "autoconnect",
    "cloned-mac-address",
    "controller",
    "dns",
    "dns-search",
    "flags",
    "forward-delay",
    "gateway",
    "id",
    "interface-name",
    "master",
    "method",
    "mode",
    "mtu",
    "parent",
    "port-type",
    "prio",
    "queue-id",
    "slave-type",
    "stp",
    "type",
    "uuid",
    "vlan-default-pvid",
    "vlan-filtering",
    "vlans",
    "autoconnect-ports",
    "autoconnect-slaves",
];

/// Keys it knows whose meaning is not taken over.
const NOT_TAKEN: [&str; 27] = [
    "addr-gen-mode",
    "ageing-time",
    "autoconnect-priority",
    "autoconnect-retries",
    "balance-slb",
    "dad-timeout",
    "dhcp-client-id",
    "dhcp-hostname",
    "dhcp-timeout",
    "dns-options",
    "dns-priority",
    "hello-time",
    "ignore-auto-dns",
    "ignore-auto-routes",
    "ip6-privacy",
    "lldp",
    "mac-address",
    "max-age",
    "may-fail",
    "mdns",
    "multicast-snooping",
    "never-default",
    "permissions",
    "priority",
    "route-metric",
    "wait-device-timeout",
    "zone",
];

/// Words of options that it does not know.
const WORDS_UNKNOWN: [(OptionId, &str); 1] = [(OptionId::AdSelect, "actor_port_prio")];

const USES_PRIMARY: [Mode; 3] = [Mode::ActiveBackup, Mode::BalanceTlb, Mode::BalanceAlb];
const BALANCES: [Mode; 2] = [Mode::BalanceTlb, Mode::BalanceAlb];

/// Why NetworkManager does not give an option to a bond: it leaves the option out, or refuses the profile.
pub(super) fn unheard(bond: &DesiredBond, id: OptionId) -> Option<(Code, String)> {
    let mode = mode(bond);
    let given = |id| bond.option(id).map(|option| &option.value.value);
    let number = |id| match given(id) {
        Some(OptionValue::Number(number)) => *number,
        _ => 0,
    };
    let listed = |id| match given(id) {
        Some(OptionValue::Ipv4(list)) => !list.is_empty(),
        Some(OptionValue::Ipv6(list)) => !list.is_empty(),
        _ => false,
    };
    let arp = number(OptionId::ArpInterval);
    let miimon = match given(OptionId::Miimon) {
        None if arp == 0 => i64::from(DEFAULT_MIIMON_MS),
        _ => number(OptionId::Miimon),
    };
    let has_arp = !matches!(mode, Mode::Ieee8023ad | Mode::BalanceTlb | Mode::BalanceAlb);
    let only_in = |fits: bool| {
        (!fits).then(|| {
            (
                Code::NotInMode,
                format!("NetworkManager does not take it in mode {mode}"),
            )
        })
    };
    let needs = |fits: bool, code: Code, what: &str| {
        (!fits).then(|| (code, format!("NetworkManager refuses it {what}")))
    };
    match id {
        OptionId::ArpInterval if arp > 0 => only_in(has_arp)
            .or_else(|| needs(miimon == 0, Code::TwoMonitors, "beside miimon"))
            .or_else(|| {
                needs(
                    listed(OptionId::ArpIpTarget) || listed(OptionId::NsIp6Target),
                    Code::ArpWithoutTarget,
                    "without a target",
                )
            }),
        OptionId::ArpIpTarget | OptionId::NsIp6Target => only_in(has_arp)
            .or_else(|| needs(arp > 0 && miimon == 0, Code::ArpOff, "without arp_interval")),
        OptionId::ArpValidate | OptionId::ArpMissedMax => only_in(has_arp),
        OptionId::Primary => only_in(USES_PRIMARY.contains(&mode)),
        OptionId::Updelay | OptionId::Downdelay if number(id) != 0 => {
            needs(miimon != 0, Code::DelayWithoutMiimon, "without miimon")
        }
        OptionId::PeerNotifDelay if number(id) != 0 => needs(
            miimon != 0 && number(id) % miimon == 0,
            Code::Adapted,
            "unless it is a multiple of miimon",
        ),
        OptionId::LacpRate
        | OptionId::LacpActive
        | OptionId::AdActorSysPrio
        | OptionId::AdActorSystem
        | OptionId::AdUserPortKey => only_in(mode == Mode::Ieee8023ad),
        OptionId::PacketsPerSlave => only_in(mode == Mode::BalanceRr),
        OptionId::TlbDynamicLb => only_in(BALANCES.contains(&mode)),
        _ => None,
    }
}

/// The bond as it is to be written if it has no monitor, with `miimon` 0: without that NetworkManager would check its links.
pub(super) fn unmonitored(bond: &DesiredBond) -> Option<DesiredBond> {
    let silent = |id| bond.option(id).is_none() || unheard(bond, id).is_some();
    if bond.option(OptionId::Miimon).is_some() || !silent(OptionId::ArpInterval) {
        return None;
    }
    let (id, value) = (OptionId::Miimon, OptionValue::Number(0));
    let off = Located::new(OptionChange { id, value }, bond.name.span);
    let mut unmonitored = bond.clone();
    unmonitored.options.push(off);
    Some(unmonitored)
}

/// Leaves out what NetworkManager leaves out, and fills in the monitor it has by itself.
pub(super) fn settle(bond: &mut DesiredBond, report: &mut Report) {
    let unheard: Vec<(OptionId, Span, (Code, String))> = bond
        .options
        .iter()
        .filter_map(|option| {
            let why = unheard(bond, option.value.id)?;
            Some((option.value.id, option.span, why))
        })
        .collect();
    for (id, span, (code, why)) in unheard {
        report.breach(code, span, why, "leave it out");
        bond.options.retain(|option| option.value.id != id);
    }
    if bond.option(OptionId::Miimon).is_none() && bond.option(OptionId::ArpInterval).is_none() {
        let value = OptionValue::Number(DEFAULT_MIIMON_MS.into());
        let id = OptionId::Miimon;
        bond.options
            .push(Located::new(OptionChange { id, value }, bond.name.span));
    }
}

/// Reads all profiles of a set.
pub fn read(sources: &Sources) -> Reading {
    let mut reader = Reader::default();
    let profiles = reader.profiles(sources);
    reader.read(&profiles)
}

/// Reads profiles that are in no files, in this order: the id of each, and what stands in it.
pub(super) fn read_profiles(profiles: Vec<(String, Vec<Section>)>, report: Report) -> Reading {
    let mut reader = Reader {
        report,
        ..Reader::default()
    };
    let mut seen = BTreeSet::new();
    let profiles: Vec<Profile> = profiles
        .into_iter()
        .filter_map(|(id, sections)| reader.profile(&id, sections, &mut seen))
        .collect();
    reader.read(&profiles)
}

/// Names of properties it knows.
pub(super) fn known_keys() -> impl Iterator<Item = &'static str> {
    TAKEN.into_iter().chain(NOT_TAKEN)
}

/// Sets an option of a port: the last line counts.
fn set_port_option(
    options: &mut Vec<Located<PortOptionChange>>,
    change: Located<PortOptionChange>,
    report: &mut Report,
) {
    report.mapped(change.span);
    let same = |known: &mut Located<PortOptionChange>| known.value.id == change.value.id;
    for before in options.extract_if(.., same) {
        replaced(before.span, report);
    }
    options.push(change);
}

/// A file: one device and how it is set up.
struct Profile {
    id: String,
    uuid: String,
    kind: String,
    /// Its device; an empty name where it is for devices by what they are.
    name: Located<String>,
    /// What its devices are, where it does not say their name.
    selectors: Vec<DesiredSelector>,
    sections: Vec<Section>,
}

impl Profile {
    fn last(&self, section: &str, key: &str) -> Option<&Entry> {
        entry(&self.sections, section, key)
    }

    /// Its controller, under either of its names.
    fn controller(&self) -> Option<&Entry> {
        self.last("connection", "controller")
            .or_else(|| self.last("connection", "master"))
    }

    fn port_type(&self) -> &str {
        let entry = self
            .last("connection", "port-type")
            .or_else(|| self.last("connection", "slave-type"));
        entry.map_or("", |entry| entry.value.as_str())
    }
}

fn entry<'s>(sections: &'s [Section], section: &str, key: &str) -> Option<&'s Entry> {
    let mut entries = sections
        .iter()
        .filter(|known| known.name.value == section)
        .flat_map(|section| &section.entries);
    entries.rfind(|entry| entry.key == key)
}

#[derive(Default)]
struct Reader {
    network: DesiredNetwork,
    report: Report,
    /// Devices that profiles so far make.
    made: BTreeSet<String>,
}

/// Where things are, by the words that profiles have for them.
struct Index<'p> {
    /// Devices by their names, and by the ids and UUIDs of their profiles; of several, the first.
    devices: BTreeMap<&'p str, &'p str>,
    /// Places among the bonds.
    bonds: BTreeMap<String, usize>,
    /// Places among the bridges.
    bridges: BTreeMap<String, usize>,
}

impl<'p> Index<'p> {
    fn new(profiles: &'p [Profile], network: &DesiredNetwork) -> Self {
        let mut devices = BTreeMap::new();
        for profile in profiles {
            let name = profile.name.value.as_str();
            for word in [name, &profile.id, &profile.uuid] {
                if !word.is_empty() {
                    devices.entry(word).or_insert(name);
                }
            }
        }
        let bonds = network.bonds.iter().map(|bond| bond.name.value.clone());
        let bridges = network.bridges.iter();
        let bridges = bridges.map(|bridge| bridge.name.value.clone());
        Self {
            devices,
            bonds: bonds.zip(0..).collect(),
            bridges: bridges.zip(0..).collect(),
        }
    }

    /// The device that a word stands for, which is the word itself where no profile has it.
    fn device<'w>(&self, word: &'w str) -> &'w str
    where
        'p: 'w,
    {
        self.devices.get(word).copied().unwrap_or(word)
    }
}

impl Reader {
    /// The profiles that count, in order of their files' names.
    fn profiles(&mut self, sources: &Sources) -> Vec<Profile> {
        let mut files: Vec<(usize, &str, crate::span::FileId)> = sources
            .iter()
            .map(|(file, source)| {
                let rank = DIRECTORIES
                    .iter()
                    .position(|directory| source.name.contains(directory))
                    .unwrap_or(0);
                (
                    rank,
                    source.name.rsplit('/').next().unwrap_or(&source.name),
                    file,
                )
            })
            .collect();
        files.sort();
        let mut profiles = Vec::new();
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for (_, base, file) in files {
            let text = &sources.get(file).text;
            let mut sections = ini::sections(file, text, Grammar::Keyfile, &mut self.report);
            self.drop_replaced(&mut sections);
            let stem = base.strip_suffix(".nmconnection").unwrap_or(base);
            profiles.extend(self.profile(stem, sections, &mut seen));
        }
        profiles
    }

    /// Of a key that a section has twice, the last one counts, wherever the section stands.
    fn drop_replaced(&mut self, sections: &mut [Section]) {
        let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
        for section in sections.iter_mut().rev() {
            let mut kept = Vec::new();
            for entry in core::mem::take(&mut section.entries).into_iter().rev() {
                if seen.insert((section.name.value.clone(), entry.key.clone())) {
                    kept.push(entry);
                } else {
                    replaced(entry.span, &mut self.report);
                }
            }
            kept.reverse();
            section.entries = kept;
        }
    }

    /// A profile; none for one that does not count. `id` is its id where it does not say it.
    fn profile(
        &mut self,
        id: &str,
        sections: Vec<Section>,
        seen: &mut BTreeSet<String>,
    ) -> Option<Profile> {
        let value = |section: &str, key: &str| {
            entry(&sections, section, key).map_or_else(String::new, |entry| entry.value.clone())
        };
        let uuid = value("connection", "uuid");
        if !uuid.is_empty() && !seen.insert(uuid.clone()) {
            let why = "a profile with the same UUID hides this one";
            if let Some(section) = sections.first() {
                let finding = Diagnostic::new(Code::HiddenFile, section.name.span, why);
                self.report
                    .finding(finding.with_help("remove it, or give it a UUID of its own"));
            }
            self.give_up(&sections, why);
            return None;
        }
        let kind = match value("connection", "type").as_str() {
            "802-3-ethernet" => "ethernet".to_owned(),
            kind => kind.to_owned(),
        };
        if !matches!(kind.as_str(), "bond" | "ethernet" | "vlan" | "bridge") {
            self.give_up(
                &sections,
                &format!("profiles of type {kind:?} are not taken over"),
            );
            return None;
        }
        // Older versions kept the name in the section of the type.
        let named = entry(&sections, "connection", "interface-name")
            .or_else(|| entry(&sections, &kind, "interface-name"));
        let default = format!("{}.{}", value("vlan", "parent"), value("vlan", "id"));
        let device = match named {
            Some(entry) => name(&entry.value, entry.span, &mut self.report),
            None if kind == "vlan" => sections
                .first()
                .and_then(|section| name(&default, section.name.span, &mut self.report)),
            None => None,
        };
        let selectors = if kind == "ethernet" && named.is_none() {
            selectors(&sections, &mut self.report)
        } else {
            Vec::new()
        };
        let nameless = selectors
            .first()
            .map(|found| Located::new(String::new(), found.span));
        let Some(device) = device.or(nameless) else {
            self.give_up(
                &sections,
                "it does not say the name of its device (interface-name)",
            );
            return None;
        };
        let own = value("connection", "id");
        Some(Profile {
            id: if own.is_empty() { id.to_owned() } else { own },
            uuid,
            kind,
            name: device,
            selectors,
            sections,
        })
    }

    fn read(mut self, profiles: &[Profile]) -> Reading {
        for profile in profiles {
            self.device(profile);
        }
        let index = Index::new(profiles, &self.network);
        for vlan in &mut self.network.vlans {
            vlan.link.value = index.device(&vlan.link.value).to_owned();
        }
        for profile in profiles {
            self.membership(profile, &index);
        }
        self.finish()
    }

    /// What a profile's device is, and how it is set up.
    fn device(&mut self, profile: &Profile) {
        let is_port = profile.controller().is_some();
        self.report.device(profile.name.clone());
        if self.made.contains(&profile.name.value) {
            let why = "an earlier profile is for this device";
            let finding = Diagnostic::new(Code::DuplicateDevice, profile.name.span, why);
            self.report
                .finding(finding.with_help("remove one of them, or put both into one"));
            return self.give_up(&profile.sections, why);
        }
        if profile.kind == "ethernet" && !is_port {
            return self.give_up(
                &profile.sections,
                "its device is no bond and nothing of one",
            );
        }
        let mut device = DeviceSettings::default();
        let mut bond = DesiredBond::new(profile.name.clone());
        let mut bridge = DesiredBridge::new(profile.name.clone());
        let mut vlan: (Option<Located<u16>>, Option<Located<String>>) = (None, None);
        // What is said when nothing is said.
        let mut auto = [("ipv4", !is_port), ("ipv6", !is_port)];
        let own = profile.name.span;
        if profile.kind == "bridge" {
            bridge.stp = Some(Located::new(true, own));
        }
        for section in &profile.sections {
            let section_name = section.name.value.as_str();
            let kind = profile.kind.as_str();
            let known = matches!(
                section_name,
                "connection" | "ethernet" | "802-3-ethernet" | "ipv4" | "ipv6"
            ) || section_name == kind
                || (section_name == "match" && !profile.selectors.is_empty())
                || (is_port && matches!(section_name, "bond-port" | "bridge-port"));
            if !known {
                let nothing = section_name == "proxy" && section.entries.is_empty();
                if nothing {
                    self.report.mapped(section.name.span);
                } else {
                    let why = format!("[{section_name}] is not taken over");
                    self.give_up(core::slice::from_ref(section), &why);
                }
                continue;
            }
            self.report.mapped(section.name.span);
            for entry in &section.entries {
                let (span, report) = (entry.span, &mut self.report);
                match (section_name, entry.key.as_str()) {
                    (
                        "connection",
                        "id" | "uuid" | "type" | "interface-name" | "autoconnect-slaves"
                        | "autoconnect-ports",
                    )
                    | ("connection", "controller" | "master" | "port-type" | "slave-type")
                    | (_, "interface-name") => report.mapped(span),
                    // These were read with the device.
                    ("match", "driver" | "path") => {}
                    ("ethernet" | "802-3-ethernet", "mac-address")
                        if !profile.selectors.is_empty() => {}
                    ("connection", "multi-connect") if entry.value == "3" => report.mapped(span),
                    ("connection", "autoconnect") if entry.value == "false" => {
                        report.changed(
                            span,
                            "it is not brought up by itself there; here it always is",
                        );
                    }
                    ("connection", "autoconnect") => report.mapped(span),
                    ("ethernet" | "802-3-ethernet", "mtu") if kind == "ethernet" => {
                        report.changed(span, "ports take the bond's MTU");
                        if let Some(mtu) = entry.value.parse().ok().filter(|mtu| *mtu != 0) {
                            report.port_mtu(&profile.name.value, Located::new(mtu, span));
                        }
                    }
                    // 0 is what is automatic.
                    ("ethernet" | "802-3-ethernet", "mtu") if entry.value == "0" => {
                        report.mapped(span)
                    }
                    ("ethernet" | "802-3-ethernet", "mtu") => {
                        if let Some(mtu) = mtu(&entry.value, span, report) {
                            set(&mut device.mtu, mtu, report);
                        }
                    }
                    ("ethernet" | "802-3-ethernet", "cloned-mac-address") if kind != "ethernet" => {
                        if let Some(mac) = mac(&entry.value, span, report) {
                            set(&mut device.mac, mac, report);
                        }
                    }
                    ("bond", key) => bond_option(&mut bond, key, entry, report),
                    ("vlan", "id") => {
                        if let Some(id) = vid(&entry.value, span, report) {
                            set(&mut vlan.0, id, report);
                        }
                    }
                    ("vlan", "parent") => {
                        set(&mut vlan.1, Located::new(entry.value.clone(), span), report)
                    }
                    ("vlan", "flags") if entry.value == "1" => report.mapped(span),
                    ("bridge", "stp") => flag(&mut bridge.stp, entry, report, own),
                    ("bridge", "vlan-filtering") => {
                        flag(&mut bridge.vlan_aware, entry, report, own)
                    }
                    ("bridge", "vlan-default-pvid") => {
                        if let Some(pvid) = vid(&entry.value, span, report) {
                            set(&mut bridge.pvid, pvid, report);
                        }
                    }
                    ("bridge", "forward-delay") => {
                        let delay = number(&entry.value, 0..=30, span, report);
                        match delay {
                            Some(Located { value: 1, .. }) => {
                                report.unsupported(span, DELAYS, "write 0 or 2 to 30");
                            }
                            Some(delay) => set(&mut bridge.forward_delay, delay, report),
                            None => {}
                        }
                    }
                    ("bridge", "vlans") => {
                        let why = "these are VLANs of the bridge's own device";
                        report.unsupported(span, why, "name VLANs of ports in their [bridge-port]");
                    }
                    // These are read with the controller.
                    ("bond-port", "queue-id" | "prio") | ("bridge-port", "vlans") => {}
                    ("ipv4" | "ipv6", "method")
                        if is_port && matches!(entry.value.as_str(), "disabled" | "ignore") =>
                    {
                        report.mapped(span);
                    }
                    ("ipv4" | "ipv6", _) if is_port => {
                        let why =
                            "a port has no addresses, and NetworkManager refuses it with some";
                        let way_out = "move them to the controller's profile";
                        let key = entry.key.as_str();
                        if matches!(key, "method" | "gateway") || key.starts_with("address") {
                            report.breach(Code::PortAddressed, span, why, way_out);
                        } else {
                            report.unsupported(span, why, way_out);
                        }
                    }
                    ("ipv4" | "ipv6", key) => {
                        if key == "method" {
                            auto[usize::from(section_name == "ipv6")].1 = false;
                        }
                        ip_key(&mut device, section, entry, report);
                    }
                    _ => other_key(entry, report),
                }
            }
        }
        for (family, missing) in auto {
            if missing && family == "ipv4" {
                device.dhcp_v4 = Some(Located::new(true, own));
            } else if missing {
                device.accept_ra = Some(Located::new(true, own));
            }
        }
        let is_made = match profile.kind.as_str() {
            "vlan" => vlan.0.is_some() && vlan.1.is_some(),
            kind => kind != "ethernet",
        };
        if is_made {
            self.made.insert(profile.name.value.clone());
        }
        match profile.kind.as_str() {
            "bond" => {
                settle(&mut bond, &mut self.report);
                bond.device = device;
                self.network.bonds.push(bond);
            }
            "bridge" => {
                bridge.device = device;
                self.network.bridges.push(bridge);
            }
            "vlan" => match vlan {
                (Some(id), Some(link)) => self.network.vlans.push(DesiredVlan {
                    name: profile.name.clone(),
                    id,
                    link,
                    device,
                }),
                _ => {
                    let why = "[vlan] lacks a valid id or parent";
                    let finding = Diagnostic::new(Code::MissingKey, profile.name.span, why);
                    self.report.finding(finding.with_help("add them"));
                    self.give_up(&profile.sections, why);
                }
            },
            _ => {}
        }
    }

    /// What a profile says about the device it belongs to.
    fn membership(&mut self, profile: &Profile, index: &Index<'_>) {
        let Some(entry) = profile.controller() else {
            return;
        };
        let controller = index.device(&entry.value).to_owned();
        let span = entry.span;
        match profile.port_type() {
            "bond" => {
                let mut options = Vec::new();
                for section in profile
                    .sections
                    .iter()
                    .filter(|section| section.name.value == "bond-port")
                {
                    for entry in &section.entries {
                        let key = format!("bond-port.{}", entry.key);
                        if let Some(spec) = find_in_dialect(Dialect::NetworkManager, &key) {
                            match PortOptionChange::parse(spec.name, &entry.value) {
                                Ok(change) => {
                                    let change = Located::new(change, entry.span);
                                    set_port_option(&mut options, change, &mut self.report);
                                }
                                Err(e) => refused(entry.span, e.fault, &mut self.report),
                            }
                        }
                    }
                }
                let at = index.bonds.get(&controller);
                match at.map(|at| &mut self.network.bonds[*at]) {
                    Some(bond) if !profile.selectors.is_empty() => {
                        let found = profile.selectors.iter().cloned();
                        bond.selectors.extend(found.map(|selector| DesiredSelector {
                            options: options.clone(),
                            ..selector
                        }));
                    }
                    Some(bond) => bond.ports.push(DesiredPort {
                        name: profile.name.clone(),
                        options,
                    }),
                    None => self.lost_controller(&controller, "bond", span),
                }
            }
            "bridge" if !profile.selectors.is_empty() => {
                let why = "only ports of bonds are found by what they are";
                self.give_up(&profile.sections, why);
            }
            "bridge" => {
                let mut port = DesiredBridgePort::new(profile.name.clone());
                if let Some(entry) = profile.last("bridge-port", "vlans") {
                    bridge_vlans(&mut port, &entry.value, entry.span, &mut self.report);
                }
                let at = index.bridges.get(&controller);
                match at.map(|at| &mut self.network.bridges[*at]) {
                    Some(bridge) => bridge.ports.push(port),
                    None => self.lost_controller(&controller, "bridge", span),
                }
            }
            other => {
                let why = format!("ports of type {other:?} are not taken over");
                self.report
                    .unsupported(span, why, "write port-type=bond or bridge");
            }
        }
    }

    fn lost_controller(&mut self, controller: &str, kind: &str, span: Span) {
        let why = format!("no profile makes a {kind} {controller:?}");
        self.report.breach(
            Code::UndefinedReference,
            span,
            why,
            "give its profile too, or correct the name",
        );
    }

    fn give_up(&mut self, sections: &[Section], why: &str) {
        for section in sections {
            let entries = section.entries.iter().map(|entry| entry.span);
            for span in core::iter::once(section.name.span).chain(entries) {
                self.report
                    .unsupported(span, why, "leave it to NetworkManager, or correct it");
            }
        }
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

/// What the devices of a profile are that does not say their name.
fn selectors(sections: &[Section], report: &mut Report) -> Vec<DesiredSelector> {
    let mut criteria = Criteria::default();
    let mut place = None;
    let mut patterns = false;
    for section in sections {
        for entry in &section.entries {
            let span = entry.span;
            let list = match (section.name.value.as_str(), entry.key.as_str()) {
                ("ethernet" | "802-3-ethernet", "mac-address") => {
                    match mac(&entry.value, span, report) {
                        Some(mac) => criteria.macs.push(mac),
                        None => criteria.partial = true,
                    }
                    report.mapped(span);
                    place = place.or(Some(span));
                    continue;
                }
                ("match", "interface-name") => &mut criteria.names,
                ("match", "driver") => &mut criteria.drivers,
                ("match", "path") => &mut criteria.paths,
                ("match", _) => {
                    criteria.partial = true;
                    continue;
                }
                _ => continue,
            };
            place = place.or(Some(span));
            patterns = true;
            let words = entry.value.split(';').map(str::trim);
            let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
            if words
                .iter()
                .any(|word| word.starts_with(['!', '|', '&', '\\']))
            {
                let why =
                    "devices are found by what they are, not by what they are not or must be too";
                report.unsupported(span, why, "write what they are");
                criteria.partial = true;
                continue;
            }
            list.extend(
                words
                    .into_iter()
                    .map(|word| Located::new(word.to_owned(), span)),
            );
            report.mapped(span);
        }
    }
    let Some(place) = place else {
        return Vec::new();
    };
    let several = entry(sections, "connection", "multi-connect");
    if patterns && several.is_none_or(|entry| entry.value != "3") {
        let what = "NetworkManager takes the first device that fits; here each of them is a port";
        report.changed(place, what);
    }
    criteria.selectors(place, report)
}

fn bond_option(bond: &mut DesiredBond, key: &str, entry: &Entry, report: &mut Report) {
    let span = entry.span;
    let id = match find_in_dialect(Dialect::NetworkManager, key).map(|spec| spec.key) {
        // An old name for it.
        Some(OptionKey::Bond(OptionId::ActiveSlave)) => OptionId::Primary,
        Some(OptionKey::Bond(id)) => id,
        _ if NOT_TAKEN.contains(&key) => return other_key(entry, report),
        _ => return unknown_key(key, span, Dialect::NetworkManager, &[], report),
    };
    let digits = entry.value.bytes().all(|b| b.is_ascii_digit());
    let change = match id.spec().kind {
        Kind::Words(_) if WORDS_UNKNOWN.contains(&(id, entry.value.as_str())) => {
            let why = format!("{:?} is none of the words for {key}", entry.value);
            return refused(span, why, report);
        }
        Kind::Number { .. } | Kind::NumberOrWord { .. } if !digits => {
            return refused(span, format_args!("{:?} is no number", entry.value), report);
        }
        Kind::PortName => {
            name(&entry.value, span, report).map(|name| port_option(id, &name.value, span))
        }
        _ => option(id, &entry.value, span, report),
    };
    let Some(change) = change else {
        return;
    };
    match bond.options.iter_mut().find(|known| known.value.id == id) {
        Some(known) if known.value != change.value => {
            let why = format!("{id} is given before, and otherwise");
            report.breach(Code::DuplicateKey, span, why, "keep one of them");
        }
        Some(_) => report.mapped(span),
        None => {
            bond.options.push(change);
            report.mapped(span);
        }
    }
}

fn ip_key(device: &mut DeviceSettings, section: &Section, entry: &Entry, report: &mut Report) {
    let (text, span) = (entry.value.as_str(), entry.span);
    let is_v4 = section.name.value == "ipv4";
    let numbered = |prefix: &str| {
        let rest = entry.key.strip_prefix(prefix)?;
        rest.bytes().all(|b| b.is_ascii_digit()).then_some(())
    };
    let asked = Some(Located::new(true, span));
    match entry.key.as_str() {
        "method" => match (is_v4, text) {
            (true, "auto") => {
                device.dhcp_v4 = asked;
                report.mapped(span);
            }
            (false, "auto") => {
                device.accept_ra = asked;
                report.mapped(span);
            }
            (false, "dhcp") => {
                device.dhcp_v6 = asked;
                report.mapped(span);
            }
            (_, "manual") | (true, "disabled") | (false, "ignore") => report.mapped(span),
            (false, "disabled") => report.changed(span, "the link-local address stays"),
            _ => report.unsupported(
                span,
                format!("method {text} is not taken over"),
                "use auto or manual",
            ),
        },
        "gateway" => {
            let Some(via) = parsed::<IpAddr>(text, span, report) else {
                return;
            };
            if via.value.is_ipv4() != is_v4 {
                return refused(span, format_args!("{text} is of the other family"), report);
            }
            let route = Route::new(Network::default_like(via.value), Some(via.value));
            device.add_route(Located::new(route, span));
            report.mapped(span);
        }
        "dns" => {
            for word in text.split([';', ',']).filter(|word| !word.is_empty()) {
                if let Some(server) = parsed::<IpAddr>(word.trim(), span, report) {
                    device.dns.push(server);
                    report.mapped(span);
                }
            }
        }
        "dns-search" => {
            let words = text
                .split([';', ','])
                .map(str::trim)
                .filter(|word| !word.is_empty());
            for word in words {
                // Both families may list the same one.
                if !device.search.iter().any(|known| known.value == word) {
                    device.search.push(Located::new(word.to_owned(), span));
                }
            }
            report.mapped(span);
        }
        _ if numbered("address").is_some() || numbered("addresses").is_some() => {
            let (address, gateway) = match text.split_once(',') {
                Some((address, gateway)) => (address, Some(gateway)),
                None => (text, None),
            };
            match parsed::<Cidr>(address, span, report) {
                Some(address) if address.value.address.is_ipv4() == is_v4 => {
                    device.addresses.push(address);
                    report.mapped(span);
                }
                Some(_) => refused(
                    span,
                    format_args!("{address} is of the other family"),
                    report,
                ),
                None => {}
            }
            if let Some(via) = gateway.and_then(|via| parsed::<IpAddr>(via.trim(), span, report)) {
                let route = Route::new(Network::default_like(via.value), Some(via.value));
                device.add_route(Located::new(route, span));
            }
        }
        key if numbered("route").is_some() || numbered("routes").is_some() => {
            let options = section
                .entries
                .iter()
                .rfind(|other| other.key == format!("{key}_options"));
            if let Some(route) = route(text, span, options, report) {
                device.add_route(Located::new(route, span));
            }
        }
        // Read with its route.
        key if key.starts_with("route") && key.ends_with("_options") => {}
        _ => other_key(entry, report),
    }
}

/// `DESTINATION/PREFIX[,ROUTER[,METRIC]]`, with the options of another line.
fn route(text: &str, span: Span, options: Option<&Entry>, report: &mut Report) -> Option<Route> {
    let mut parts = text.split(',').map(str::trim);
    let to = super::common::network(parts.next().unwrap_or(""), span, report)?;
    let mut route = Route::new(to.value, None);
    if let Some(via) = parts.next().filter(|via| !via.is_empty()) {
        route.via =
            Some(parsed::<IpAddr>(via, span, report)?.value).filter(|via| !via.is_unspecified());
    }
    if let Some(metric) = parts.next().filter(|metric| !metric.is_empty()) {
        route.metric = Some(number(metric, 0..=u32::MAX, span, report)?.value);
    }
    report.mapped(span);
    let Some(options) = options else {
        return Some(route);
    };
    for part in options.value.split(',').map(str::trim) {
        match part.split_once('=') {
            Some(("table", table)) => {
                route.table = Some(number(table, 1..=u32::MAX, options.span, report)?.value);
                report.mapped(options.span);
            }
            Some(("onlink", on)) => {
                route.on_link = on == "true";
                report.mapped(options.span);
            }
            _ => {
                let why = format!("{part:?} of a route is not taken over, so the route is not");
                report.unsupported(options.span, why, "add the route by other means");
                report.unsupported(
                    span,
                    "its options are not taken over",
                    "add the route by other means",
                );
                return None;
            }
        }
    }
    Some(route)
}

/// `10, 20-30, 5 pvid untagged`.
pub(super) fn bridge_vlans(
    port: &mut DesiredBridgePort,
    text: &str,
    span: Span,
    report: &mut Report,
) {
    for part in text
        .split([',', ';'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let mut words = part.split_whitespace();
        let vids = words.next().unwrap_or("");
        let flags: Vec<&str> = words.collect();
        let done = match flags.as_slice() {
            [] => parsed::<VidRange>(vids, span, report).map(|vids| port.vids.push(vids)),
            ["pvid", "untagged"] | ["untagged", "pvid"] => {
                vid(vids, span, report).map(|pvid| port.pvid = Some(pvid))
            }
            _ => {
                let why = format!("{part:?}: only the PVID leaves a port untagged");
                refused(span, why, report);
                None
            }
        };
        if done.is_some() {
            report.mapped(span);
        }
    }
    let pvid = port.pvid.iter().map(|pvid| (pvid.value, pvid.value));
    let runs = port
        .vids
        .iter()
        .map(|vids| (vids.value.first, vids.value.last));
    let mut runs: Vec<(u16, u16)> = runs.chain(pvid).collect();
    runs.sort_unstable();
    if runs.windows(2).any(|pair| pair[1].0 <= pair[0].1) {
        let what = "NetworkManager refuses a profile that names a VLAN twice; here it counts once";
        report.changed(span, what);
    }
}

/// The VLANs of a port of a bridge in that form; empty for none.
pub(super) fn bridge_vlans_text(bridge: &DesiredBridge, port: &DesiredBridgePort) -> String {
    let vids = if port.vids.is_empty() {
        &bridge.vids
    } else {
        &port.vids
    };
    let mut vlans: Vec<String> = vids.iter().map(|vids| vids.value.to_string()).collect();
    let pvid = port.pvid.iter();
    vlans.extend(pvid.map(|pvid| format!("{} pvid untagged", pvid.value)));
    vlans.join(", ")
}

/// Sets a boolean; what was filled in from the device's own line (`own`) is no line that is replaced.
fn flag(slot: &mut Option<Located<bool>>, entry: &Entry, report: &mut Report, own: Span) {
    let on = match entry.value.as_str() {
        "true" | "yes" | "1" => true,
        "false" | "no" | "0" => false,
        other => {
            return refused(
                entry.span,
                format_args!("{other:?} is neither true nor false"),
                report,
            );
        }
    };
    slot.take_if(|before| before.span == own);
    set(slot, Located::new(on, entry.span), report);
}

fn other_key(entry: &Entry, report: &mut Report) {
    if NOT_TAKEN.contains(&entry.key.as_str()) {
        let why = format!("{} is not taken over", entry.key);
        report.unsupported(entry.span, why, "set it by other means, or do without");
    } else if TAKEN.contains(&entry.key.as_str()) {
        let why = format!("{} has no meaning in this section", entry.key);
        report.unsupported(entry.span, why, "move it to where it belongs");
    } else {
        unknown_key(
            &entry.key,
            entry.span,
            Dialect::NetworkManager,
            &TAKEN,
            report,
        );
    }
}

/// Writes one profile for each device and each port.
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
        let settings = format!(
            "\n[vlan]\nid={}\nparent={}\n",
            vlan.id.value, vlan.link.value
        );
        writer.profile(
            &vlan.name.value,
            "vlan",
            &settings,
            Some(&vlan.device),
            None,
        );
    }
    for bridge in &network.bridges {
        writer.bridge(bridge);
    }
    writer.other_ports();
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

/// What a port says of its bond.
struct BondPort<'n> {
    bond: &'n str,
    /// Its place among the ports: the order of the files is the order of the ports.
    index: usize,
    settings: String,
}

impl Writer<'_> {
    fn bond(&mut self, bond: &DesiredBond) {
        let mut settings = "\n[bond]\n".to_owned();
        let unmonitored = unmonitored(bond);
        let profiled = unmonitored.as_ref().unwrap_or(bond);
        for option in &bond.options {
            let change = &option.value;
            let spelled = change.id.spec().spelled(Dialect::NetworkManager);
            // active_slave is another word for primary there.
            let Some(key) = spelled
                .first()
                .filter(|_| change.id != OptionId::ActiveSlave)
                .filter(|_| !WORDS_UNKNOWN.contains(&(change.id, change.text().as_str())))
            else {
                unspelt("NetworkManager", change, option.span, &mut self.report);
                continue;
            };
            match unheard(profiled, change.id) {
                Some((_, why)) => {
                    self.report
                        .unsupported(option.span, why, "correct it, or do without")
                }
                None => line(&mut settings, key, change.text()),
            }
        }
        if unmonitored.is_some() {
            line(&mut settings, "miimon", 0);
            let what = "NetworkManager would check the links every 100 ms; miimon=0 is written";
            self.report.changed(bond.name.span, what);
        }
        self.profile(
            &bond.name.value,
            "bond",
            &settings,
            Some(&bond.device),
            None,
        );
        for (index, port) in bond.ports.iter().enumerate() {
            let settings = self.port_options(&port.options);
            let membership = BondPort {
                bond: &bond.name.value,
                index,
                settings,
            };
            self.profile(&port.name.value, "ethernet", "", None, Some(&membership));
        }
        for (index, selector) in bond.selectors.iter().enumerate() {
            self.selector(&bond.name.value, bond.ports.len() + index, selector);
        }
    }

    /// The profile of ports by what they are.
    fn selector(&mut self, bond: &str, index: usize, selector: &DesiredSelector) {
        let mut text = format!(
            "[connection]\nid={bond}-select{index}\ntype=ethernet\nmaster={bond}\nslave-type=bond\n"
        );
        let mut matched = String::new();
        for (key, value) in selector.criteria() {
            let special = value.starts_with(['!', '|', '&', '\\']);
            if special || value.contains([';', '\n']) || value.trim() != value {
                let why = format!("NetworkManager cannot match {value:?}");
                return self
                    .report
                    .unsupported(selector.span, why, "write a pattern without it");
            }
            match key {
                "mac" => {}
                "name" => line(&mut matched, "interface-name", value + ";"),
                key => line(&mut matched, key, value + ";"),
            }
        }
        if !matched.is_empty() {
            // Else it takes one device only.
            line(&mut text, "multi-connect", 3);
        }
        if let Some(mac) = &selector.mac {
            let _ = write!(text, "\n[ethernet]\nmac-address={}\n", mac.value);
        }
        if !matched.is_empty() {
            let _ = write!(text, "\n[match]\n{matched}");
        }
        let settings = self.port_options(&selector.options);
        if !settings.is_empty() {
            let _ = write!(text, "\n[bond-port]\n{settings}");
        }
        uncounted("NetworkManager", selector, &mut self.report);
        self.files.push(OutputFile {
            path: format!("{HOME}/{bond}-port{index:02}-select.nmconnection"),
            mode: 0o600,
            text,
        });
    }

    fn port_options(&mut self, options: &[Located<PortOptionChange>]) -> String {
        let mut settings = String::new();
        for option in options {
            let change = &option.value;
            let keys = change.id.spec().spelled(Dialect::NetworkManager);
            match keys.first().and_then(|key| key.strip_prefix("bond-port.")) {
                Some(key) => line(&mut settings, key, change.text()),
                None => unspelt("NetworkManager", change, option.span, &mut self.report),
            }
        }
        settings
    }

    fn bridge(&mut self, bridge: &DesiredBridge) {
        let mut settings = "\n[bridge]\n".to_owned();
        let on = |flag: &Option<Located<bool>>| flag.as_ref().is_some_and(|flag| flag.value);
        line(&mut settings, "stp", on(&bridge.stp));
        if let Some(delay) = &bridge.forward_delay {
            match (delay.value, on(&bridge.stp)) {
                (0, false) | (2..=30, _) => line(&mut settings, "forward-delay", delay.value),
                (_, false) => {
                    let what = format!("left out, it does nothing without STP: {DELAYS}");
                    self.report.changed(delay.span, what);
                }
                (_, true) => self.report.unsupported(delay.span, DELAYS, "write 2 to 30"),
            }
        }
        if on(&bridge.vlan_aware) {
            line(&mut settings, "vlan-filtering", true);
        }
        if let Some(pvid) = &bridge.pvid {
            line(&mut settings, "vlan-default-pvid", pvid.value);
        }
        if bridge.ports.is_empty() {
            for vids in &bridge.vids {
                let why = "NetworkManager knows VLANs of a bridge's ports, and the bridge has none";
                self.report
                    .unsupported(vids.span, why, "add a port, or leave it out");
            }
        }
        self.profile(
            &bridge.name.value,
            "bridge",
            &settings,
            Some(&bridge.device),
            None,
        );
    }

    /// Profiles of bridges' ports that have none yet.
    fn other_ports(&mut self) {
        let network = self.network;
        let bonds = network.bonds.iter().flat_map(|bond| {
            core::iter::once(&bond.name).chain(bond.ports.iter().map(|port| &port.name))
        });
        let vlans = network.vlans.iter().map(|vlan| &vlan.name);
        let bridges = network.bridges.iter().map(|bridge| &bridge.name);
        let done: BTreeSet<&str> = bonds
            .chain(vlans)
            .chain(bridges)
            .map(|name| name.value.as_str())
            .collect();
        let ports = network.bridges.iter().flat_map(|bridge| &bridge.ports);
        let names: BTreeSet<&str> = ports.map(|port| port.name.value.as_str()).collect();
        for name in names.difference(&done) {
            self.profile(name, "ethernet", "", None, None);
        }
    }

    fn profile(
        &mut self,
        name: &str,
        kind: &str,
        settings: &str,
        device: Option<&DeviceSettings>,
        port: Option<&BondPort<'_>>,
    ) {
        let mut text = format!("[connection]\nid={name}\ntype={kind}\ninterface-name={name}\n");
        let bridge = self.network.bridges.iter().find_map(|bridge| {
            let port = bridge.ports.iter().find(|port| port.name.value == name)?;
            Some((bridge, port))
        });
        // The old keys, which all versions read.
        let mut path = format!("{HOME}/{name}.nmconnection");
        if let Some(port) = port {
            line(&mut text, "master", port.bond);
            line(&mut text, "slave-type", "bond");
            path = format!(
                "{HOME}/{}-port{:02}-{name}.nmconnection",
                port.bond, port.index
            );
            if !port.settings.is_empty() {
                let _ = write!(text, "\n[bond-port]\n{}", port.settings);
            }
        } else if let Some((bridge, port)) = bridge {
            line(&mut text, "master", &bridge.name.value);
            line(&mut text, "slave-type", "bridge");
            let vlans = bridge_vlans_text(bridge, port);
            if !vlans.is_empty() {
                let _ = write!(text, "\n[bridge-port]\nvlans={vlans}\n");
            }
        }
        text.push_str(settings);
        if let Some(device) = device {
            let mut ethernet = String::new();
            if let Some(mtu) = &device.mtu {
                line(&mut ethernet, "mtu", mtu.value);
            }
            if let Some(mac) = &device.mac {
                line(&mut ethernet, "cloned-mac-address", mac.value);
            }
            if !ethernet.is_empty() {
                let _ = write!(text, "\n[ethernet]\n{ethernet}");
            }
            let is_port = bridge.is_some();
            self.ip(&mut text, device, is_port);
        }
        self.files.push(OutputFile {
            path,
            // NetworkManager refuses profiles that others may read.
            mode: 0o600,
            text,
        });
    }

    fn ip(&mut self, text: &mut String, device: &DeviceSettings, is_port: bool) {
        if is_port {
            return self.port_ip(device);
        }
        let asked =
            |wanted: &Option<Located<bool>>| wanted.as_ref().is_some_and(|asked| asked.value);
        let mut search = device.search.as_slice();
        for is_v4 in [true, false] {
            let addresses: Vec<Cidr> = device
                .addresses
                .iter()
                .map(|address| address.value)
                .filter(|address| address.address.is_ipv4() == is_v4)
                .collect();
            let automatic = if is_v4 {
                asked(&device.dhcp_v4)
            } else {
                asked(&device.accept_ra)
            };
            let method = match (
                automatic,
                asked(&device.dhcp_v6) && !is_v4,
                addresses.is_empty(),
            ) {
                (true, ..) => "auto",
                (false, true, _) => "dhcp",
                (false, false, false) => "manual",
                (false, false, true) if is_v4 => "disabled",
                (false, false, true) => "ignore",
            };
            let silent = matches!(method, "disabled" | "ignore");
            let _ = write!(
                text,
                "\n[{}]\nmethod={method}\n",
                if is_v4 { "ipv4" } else { "ipv6" }
            );
            for (index, address) in addresses.iter().enumerate() {
                line(text, &format!("address{}", index + 1), address);
            }
            let v4 = device
                .gateway_v4
                .as_ref()
                .map(|gateway| Located::new(IpAddr::V4(gateway.value), gateway.span));
            let v6 = device
                .gateway_v6
                .as_ref()
                .map(|gateway| Located::new(IpAddr::V6(gateway.value), gateway.span));
            let gateway = if is_v4 { v4 } else { v6 };
            let mut routes = Vec::new();
            match gateway {
                Some(gateway) if addresses.is_empty() => {
                    let route =
                        Route::new(Network::default_like(gateway.value), Some(gateway.value));
                    routes.push(Located::new(route, gateway.span));
                }
                Some(gateway) => line(text, "gateway", gateway.value),
                None => {}
            }
            let of_family = |route: &&Located<Route>| route.value.to.address.is_ipv4() == is_v4;
            routes.extend(device.routes.iter().filter(of_family).cloned());
            let servers: Vec<&Located<IpAddr>> = device
                .dns
                .iter()
                .filter(|server| server.value.is_ipv4() == is_v4)
                .collect();
            if silent {
                let spans = routes
                    .iter()
                    .map(|route| route.span)
                    .chain(servers.iter().map(|server| server.span));
                for span in spans {
                    let why = "NetworkManager takes routes and name servers only beside addresses of the same family";
                    self.report
                        .unsupported(span, why, "add an address, or leave it out");
                }
                continue;
            }
            for (index, route) in routes.iter().enumerate() {
                write_route(text, index + 1, &route.value);
            }
            if !servers.is_empty() {
                let servers: Vec<String> = servers
                    .iter()
                    .map(|server| server.value.to_string())
                    .collect();
                line(text, "dns", servers.join(";") + ";");
            }
            if !search.is_empty() {
                let domains: Vec<&str> =
                    search.iter().map(|domain| domain.value.as_str()).collect();
                line(text, "dns-search", domains.join(";") + ";");
                search = &[];
            }
        }
        for domain in search {
            let why = "NetworkManager takes search domains only beside addresses";
            self.report
                .unsupported(domain.span, why, "add an address, or leave it out");
        }
        let auto = asked(&device.accept_ra);
        if let Some(dhcp) = device.dhcp_v6.as_ref().filter(|dhcp| dhcp.value && auto) {
            let why =
                "beside advertisements NetworkManager asks a DHCPv6 server only if they say so";
            self.report.unsupported(
                dhcp.span,
                why,
                "let the router say so, or refuse advertisements",
            );
        }
        if let Some(accept) = device.accept_ra.as_ref().filter(|accept| !accept.value) {
            let why =
                "NetworkManager has no word for it; it hears advertisements with method auto alone";
            self.report
                .unsupported(accept.span, why, "nothing, unless the method is ignore");
        }
    }

    /// What a port of a bridge cannot have.
    fn port_ip(&mut self, device: &DeviceSettings) {
        for span in device.layer3_places() {
            let why = "NetworkManager lets a port of a bridge have no addresses";
            self.report
                .unsupported(span, why, "give them to the bridge");
        }
    }
}

fn write_route(text: &mut String, index: usize, route: &Route) {
    let mut value = route.to.to_string();
    // Writing to a string cannot fail.
    match (route.via, route.metric) {
        (Some(via), _) => {
            let _ = write!(value, ",{via}");
        }
        // Nothing is written as the unspecified address.
        (None, Some(_)) => {
            let _ = write!(
                value,
                ",{}",
                Network::default_like(route.to.address).address
            );
        }
        (None, None) => {}
    }
    if let Some(metric) = route.metric {
        let _ = write!(value, ",{metric}");
    }
    line(text, &format!("route{index}"), value);
    let mut options: Vec<String> = route
        .table
        .iter()
        .map(|table| format!("table={table}"))
        .collect();
    if route.on_link {
        options.push("onlink=true".to_owned());
    }
    if !options.is_empty() {
        line(text, &format!("route{index}_options"), options.join(","));
    }
}

fn line(text: &mut String, key: &str, value: impl core::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{key}={value}");
}
