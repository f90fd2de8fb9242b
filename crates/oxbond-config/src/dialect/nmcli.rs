//! Command lines of NetworkManager's `nmcli`: `connection add`, `modify` and `delete`.
//!
//! The lines are turned into the profiles that they leave behind, and those are read as keyfiles are
//! ([`keyfile`]): a property `setting.key` is the entry `key` of section `[setting]`.
//!
//! Facts this relies on (nmcli 1.42, run offline): a type, a property and a list of aliases have short words of their own;
//! names of properties may be cut short; `+` adds to a list and `-` takes away from it; an option of a bond that is a
//! monitor puts out the other one as it is set; `ip4` makes the method manual, `ipv4.addresses` does not; a connection
//! is called `TYPE-IFNAME` unless it is told its name.

use core::net::IpAddr;
use core::ops::Range;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::ini::{self, Entry, Section};
use super::keyfile;
use super::shell::{Word, quoted};
use super::{Reading, Written, script};
use crate::model::{DesiredNetwork, DesiredSelector};
use crate::report::Report;
use crate::span::{Located, Sources, Span};
use crate::suggest::closest;

/// Where it is written to.
const HOME: &str = "/usr/local/sbin/network-nmcli";

/// A line of these words, as a shell would be given it, `nmcli` in front.
pub fn typed(words: &[String]) -> String {
    let words = words.iter().map(|word| quoted(word));
    ["nmcli".to_owned()]
        .into_iter()
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Words that stand for properties, with the type of connection they are for; an empty one is for all.
const ALIASES: [(&str, &str, &str, &str); 40] = [
    ("", "con-name", "connection", "id"),
    ("", "ifname", "connection", "interface-name"),
    ("", "autoconnect", "connection", "autoconnect"),
    ("", "master", "connection", "master"),
    ("", "controller", "connection", "controller"),
    ("", "slave-type", "connection", "slave-type"),
    ("", "port-type", "connection", "port-type"),
    ("", "ip4", "ipv4", "addresses"),
    ("", "gw4", "ipv4", "gateway"),
    ("", "ip6", "ipv6", "addresses"),
    ("", "gw6", "ipv6", "gateway"),
    ("bond", "mode", "bond", "mode"),
    ("bond", "primary", "bond", "primary"),
    ("bond", "miimon", "bond", "miimon"),
    ("bond", "downdelay", "bond", "downdelay"),
    ("bond", "updelay", "bond", "updelay"),
    ("bond", "arp-interval", "bond", "arp_interval"),
    ("bond", "arp-ip-target", "bond", "arp_ip_target"),
    ("bond", "lacp-rate", "bond", "lacp_rate"),
    ("vlan", "dev", "vlan", "parent"),
    ("vlan", "id", "vlan", "id"),
    ("vlan", "flags", "vlan", "flags"),
    ("vlan", "ingress", "vlan", "ingress-priority-map"),
    ("vlan", "egress", "vlan", "egress-priority-map"),
    ("bridge", "stp", "bridge", "stp"),
    ("bridge", "priority", "bridge", "priority"),
    ("bridge", "forward-delay", "bridge", "forward-delay"),
    ("bridge", "hello-time", "bridge", "hello-time"),
    ("bridge", "max-age", "bridge", "max-age"),
    ("bridge", "ageing-time", "bridge", "ageing-time"),
    (
        "bridge",
        "multicast-snooping",
        "bridge",
        "multicast-snooping",
    ),
    ("bridge", "mac", "bridge", "mac-address"),
    ("bond-slave", "queue-id", "bond-port", "queue-id"),
    ("bridge-slave", "priority", "bridge-port", "priority"),
    ("bridge-slave", "path-cost", "bridge-port", "path-cost"),
    ("bridge-slave", "hairpin", "bridge-port", "hairpin-mode"),
    ("ethernet", "mac", "ethernet", "mac-address"),
    ("ethernet", "cloned-mac", "ethernet", "cloned-mac-address"),
    ("", "mtu", "ethernet", "mtu"),
    ("", "cloned-mac", "ethernet", "cloned-mac-address"),
];

/// Properties whose names the keyfile has otherwise.
const OTHER_KEYS: [&str; 2] = ["routes", "options"];

/// Properties that only `ipv6` has.
const IPV6_KEYS: [&str; 2] = ["addr-gen-mode", "ip6-privacy"];

/// Settings that may be cut short.
const SETTINGS: [&str; 10] = [
    "bond",
    "bond-port",
    "bridge",
    "bridge-port",
    "connection",
    "ethernet",
    "ipv4",
    "ipv6",
    "match",
    "vlan",
];

/// Options before the object that have a value.
const VALUED: [&str; 12] = [
    "-f",
    "-m",
    "-c",
    "-e",
    "-g",
    "-w",
    "--fields",
    "--mode",
    "--colors",
    "--escape",
    "--get-values",
    "--wait",
];

/// Reads all files of a set, one after the other.
pub fn read(sources: &Sources) -> Reading {
    let mut reader = Reader::default();
    for (file, source) in sources.iter() {
        // Whether the command before only showed something.
        let mut looked = false;
        for line in script::lines(file, &source.text, &mut reader.report) {
            if line.counts(core::mem::take(&mut looked), &mut reader.report) {
                looked = reader.line(&line.words, line.span);
            }
        }
    }
    reader.finish()
}

/// A property that was set.
#[derive(Clone, Debug)]
struct Property {
    setting: String,
    key: String,
    value: String,
    span: Span,
}

/// What a connection is so far.
#[derive(Debug)]
struct Profile {
    id: Located<String>,
    kind: String,
    /// The command that added it.
    span: Span,
    properties: Vec<Property>,
}

impl Profile {
    fn value(&self, keys: &[&str]) -> Option<&Property> {
        let mut properties = self.properties.iter();
        properties
            .rfind(|known| known.setting == "connection" && keys.contains(&known.key.as_str()))
    }

    /// Takes a property away.
    fn remove(&mut self, setting: &str, key: &str) -> Vec<Property> {
        let same = |known: &mut Property| known.setting == setting && known.key == key;
        self.properties.extract_if(.., same).collect()
    }
}

/// What is to happen to a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Set,
    Add,
    Remove,
}

#[derive(Default)]
struct Reader {
    report: Report,
    profiles: Vec<Option<Profile>>,
    /// Profiles by id.
    index: BTreeMap<String, usize>,
}

impl Reader {
    /// Takes a command in; says whether it only shows something.
    fn line(&mut self, words: &[Word], span: Span) -> bool {
        let program = words[0].text.rsplit('/').next().unwrap_or("");
        if program != "nmcli" {
            let why = format!("{program} is not read, and commands are not run");
            self.foreign(span, why);
            return false;
        }
        let mut at = 1;
        while let Some(word) = words.get(at).filter(|word| word.text.starts_with('-')) {
            at += 1 + usize::from(VALUED.contains(&word.text.as_str()));
        }
        let text = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
        let is_short_for = |word: &str, full: &str| !word.is_empty() && full.starts_with(word);
        let (object, verb) = (text(at), text(at + 1));
        let rest = words.get(at + 2..).unwrap_or(&[]);
        let is_connection = is_short_for(object, "connection");
        let looks = ["status", "show", "monitor"]
            .iter()
            .any(|look| is_short_for(verb, look));
        if verb.is_empty() || (looks && !is_connection) {
            self.report.mapped(span);
            return true;
        }
        if is_short_for(object, "device")
            && ["connect", "disconnect", "reapply", "up", "down", "wifi"].contains(&verb)
        {
            self.report.mapped(span);
            return false;
        }
        if !is_connection {
            self.foreign(span, format!("nmcli {object} {verb} is not taken over"));
            return false;
        }
        // In the order in which nmcli compares them.
        let verbs = [
            "show", "up", "down", "add", "edit", "delete", "reload", "load", "modify", "clone",
            "import", "export", "monitor", "migrate",
        ];
        match verbs.iter().find(|known| is_short_for(verb, known)) {
            Some(&("show" | "monitor")) => {
                self.report.mapped(span);
                return true;
            }
            Some(&("up" | "down" | "reload" | "load")) => self.report.mapped(span),
            Some(&"add") => self.add(rest, span),
            Some(&"modify") => self.modify(rest, span),
            Some(&"delete") => self.delete(rest, span),
            _ => self.foreign(span, format!("nmcli connection {verb} is not taken over")),
        }
        false
    }

    fn foreign(&mut self, span: Span, why: String) {
        self.report
            .unsupported(span, why, "run it by other means, or do without");
    }

    fn add(&mut self, words: &[Word], span: Span) {
        self.report.mapped(span);
        let place = |range: Range<usize>| Span::new(span.file, range);
        // The type says what the other words mean, wherever it stands.
        let at = words.iter().position(|word| word.text == "type");
        let Some(kind) = at.and_then(|at| words.get(at + 1)) else {
            let why = "it does not say the type of the connection";
            return self.report.unsupported(
                span,
                why,
                "write type and bond, ethernet, vlan or bridge",
            );
        };
        let kind_place = place(kind.range.clone());
        let kind = kind.text.clone();
        let mut profile = Profile {
            id: Located::new(String::new(), span),
            kind: kind.clone(),
            span,
            properties: Vec::new(),
        };
        let (of, port_type) = match kind.as_str() {
            "bond-slave" => ("ethernet", Some("bond")),
            "bridge-slave" => ("ethernet", Some("bridge")),
            "802-3-ethernet" => ("ethernet", None),
            other => (other, None),
        };
        let mut put = |key: &str, value: &str| {
            profile.properties.push(Property {
                setting: "connection".to_owned(),
                key: key.to_owned(),
                value: value.to_owned(),
                span: kind_place,
            });
        };
        put("type", of);
        if let Some(port_type) = port_type {
            put("slave-type", port_type);
        }
        let mut others = Vec::new();
        for (index, word) in words.iter().enumerate() {
            if at.is_some_and(|at| index == at || index == at + 1) {
                continue;
            }
            others.push(word.clone());
        }
        self.properties(&mut profile, &others, span);
        if profile.id.value.is_empty() {
            let device = profile.value(&["interface-name"]);
            let device = device.map_or("", |known| known.value.as_str());
            let is_port = profile.value(&["slave-type", "port-type"]);
            let kind = match is_port {
                Some(port) => format!("{}-slave", port.value),
                None => kind,
            };
            profile.id.value = format!("{kind}-{device}");
        }
        let id = profile.id.value.clone();
        self.index.insert(id, self.profiles.len());
        self.profiles.push(Some(profile));
    }

    /// The profile that words name, and how many words that takes.
    fn named(&self, words: &[Word]) -> Option<(usize, usize)> {
        let first = words.first()?;
        let (name, taken) = match (first.text.as_str(), words.get(1)) {
            ("id" | "uuid" | "path", Some(name)) => (name, 2),
            _ => (first, 1),
        };
        if let Some(at) = self.index.get(&name.text) {
            return Some((*at, taken));
        }
        // A UUID is rarely given in a line.
        let has_uuid = |profile: &Option<Profile>| {
            let uuid = profile.as_ref().and_then(|known| known.value(&["uuid"]));
            uuid.is_some_and(|uuid| uuid.value == name.text)
        };
        let at = self.profiles.iter().position(has_uuid)?;
        Some((at, taken))
    }

    fn modify(&mut self, words: &[Word], span: Span) {
        let words = match words.first() {
            // That it holds until the next start only makes no difference here.
            Some(word) if matches!(word.text.as_str(), "--temporary" | "temporary") => &words[1..],
            _ => words,
        };
        let Some((at, taken)) = self.named(words) else {
            let name = words.first().map_or("", |word| word.text.as_str());
            let why = format!("no line before it adds the connection {name:?}");
            let way_out = "give the line that adds it, or correct the name";
            return self.report.unsupported(span, why, way_out);
        };
        let Some(mut profile) = self.profiles[at].take() else {
            return;
        };
        self.report.mapped(span);
        let before = profile.id.value.clone();
        self.properties(&mut profile, &words[taken..], span);
        if profile.id.value != before {
            self.index.remove(&before);
            self.index.insert(profile.id.value.clone(), at);
        }
        self.profiles[at] = Some(profile);
    }

    fn delete(&mut self, words: &[Word], span: Span) {
        let mut rest = words;
        let mut is_known = !rest.is_empty();
        while !rest.is_empty() {
            let taken = match self.named(rest) {
                Some((at, taken)) => {
                    if let Some(profile) = self.profiles[at].take() {
                        self.index.remove(&profile.id.value);
                    }
                    taken
                }
                None => {
                    is_known = false;
                    1
                }
            };
            rest = &rest[taken..];
        }
        if is_known {
            self.report.mapped(span);
        } else {
            let what = "no line before it adds this connection, so there is none to delete";
            self.report.changed(span, what);
        }
    }

    /// Pairs of properties and values.
    fn properties(&mut self, profile: &mut Profile, words: &[Word], line: Span) {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if matches!(word.text.as_str(), "--" | "save") {
                // `save yes` is what is done anyway.
                if word.text == "save" {
                    words.next();
                }
                continue;
            }
            let span = Span::new(line.file, word.range.clone());
            let Some(value) = words.next() else {
                let why = format!("{:?} lacks its value", word.text);
                return self.report.unsupported(span, why, "write it");
            };
            let both = Span::new(line.file, word.range.start..value.range.end);
            let (change, name) = match word.text.strip_prefix(['+', '-']) {
                Some(rest) if word.text.starts_with('+') => (Change::Add, rest),
                Some(rest) => (Change::Remove, rest),
                None => (Change::Set, word.text.as_str()),
            };
            let Some((setting, key)) = property(&profile.kind, name) else {
                let kind = profile.kind.as_str();
                let aliases = ALIASES
                    .iter()
                    .filter(|alias| alias.0.is_empty() || alias.0 == kind);
                let meant = closest(name, aliases.map(|alias| alias.1));
                self.report.unknown(both, meant.map(str::to_owned));
                continue;
            };
            // An alias adds up where the property is a list.
            let is_alias = !name.contains('.');
            let change = if is_alias && key == "addresses" {
                self.manual(profile, &setting, both);
                Change::Add
            } else {
                change
            };
            self.property(profile, change, &setting, &key, value, both);
        }
    }

    /// The method that an alias for addresses brings with it.
    fn manual(&mut self, profile: &mut Profile, setting: &str, span: Span) {
        let same = |known: &Property| known.setting == setting && known.key == "method";
        if !profile.properties.iter().any(same) {
            profile.properties.push(Property {
                setting: setting.to_owned(),
                key: "method".to_owned(),
                value: "manual".to_owned(),
                span,
            });
        }
    }

    fn property(
        &mut self,
        profile: &mut Profile,
        change: Change,
        setting: &str,
        key: &str,
        value: &Word,
        span: Span,
    ) {
        let text = value.text.trim();
        let push = |profile: &mut Profile, value: String, span: Span| {
            profile.properties.push(Property {
                setting: setting.to_owned(),
                key: key.to_owned(),
                value,
                span,
            });
        };
        match (setting, key) {
            ("bond", "options") => {
                if change == Change::Set {
                    self.lost(
                        profile
                            .properties
                            .extract_if(.., |known| known.setting == "bond"),
                    );
                }
                for (part, place) in parts(value, |c| c == ',') {
                    let place = Span::new(span.file, place);
                    match part.split_once('=') {
                        Some((key, value)) if change != Change::Remove => {
                            self.bond_option(profile, key.trim(), value.trim(), place);
                        }
                        None if change == Change::Remove => {
                            self.lost(profile.remove("bond", part.trim()));
                            self.report.mapped(place);
                        }
                        _ => {
                            let why = format!("{part:?} is no option for a bond");
                            let way_out = "write them like mode=802.3ad,miimon=100; several targets are parted by blanks";
                            self.report.unsupported(place, why, way_out);
                        }
                    }
                }
            }
            ("bond", key) => self.bond_option(profile, key, text, span),
            ("match", _) => {
                let why = "nmcli refuses it for ports, though NetworkManager has it";
                self.report
                    .unsupported(span, why, "name the port, or write a keyfile");
            }
            ("ipv4" | "ipv6", "addresses" | "routes" | "dns" | "dns-search") => {
                if change == Change::Set {
                    self.lost(profile.remove(setting, key));
                }
                let blanks = key.starts_with("dns");
                let is_separator = |c: char| c == ',' || (blanks && c.is_whitespace());
                for (part, place) in parts(value, is_separator) {
                    let place = Span::new(span.file, place);
                    if change == Change::Remove {
                        let same = |known: &mut Property| {
                            known.setting == setting && known.key == key && known.value == part
                        };
                        self.lost(profile.properties.extract_if(.., same));
                        self.report.mapped(place);
                    } else {
                        let host = part.parse::<IpAddr>().ok().filter(|_| key == "addresses");
                        let Some(host) = host else {
                            push(profile, part, place);
                            continue;
                        };
                        let bits = if host.is_ipv4() { 32 } else { 128 };
                        let what = format!("without a length its prefix has {bits} bits");
                        self.report.changed(place, what);
                        push(profile, format!("{host}/{bits}"), place);
                    }
                }
            }
            ("connection", "id") => {
                self.report.mapped(span);
                profile.id = Located::new(text.to_owned(), span);
            }
            ("bridge-port", "vlans") if change == Change::Add => {
                push(profile, text.to_owned(), span);
            }
            _ => {
                self.lost(profile.remove(setting, key));
                if text.is_empty() || (key == "interface-name" && text == "*") {
                    // What is set to nothing is as if it were not set.
                    self.report.mapped(span);
                } else if change != Change::Remove {
                    push(profile, plain(setting, key, text), span);
                }
            }
        }
    }

    /// Sets an option of a bond: a monitor puts out the other one.
    fn bond_option(&mut self, profile: &mut Profile, key: &str, value: &str, span: Span) {
        self.lost(profile.remove("bond", key));
        if value.is_empty() {
            return self.report.mapped(span);
        }
        let out: &[&str] = match key {
            "miimon" if value != "0" => &["arp_interval", "arp_ip_target"],
            "arp_interval" if value != "0" => &["miimon", "downdelay", "updelay"],
            _ => &[],
        };
        for other in out {
            for lost in profile.remove("bond", other) {
                let why = format!("{key}, which is set later, puts {other} out");
                self.report
                    .unsupported(lost.span, why, "remove one of them");
            }
        }
        let value = match key {
            "mode" => value.to_lowercase(),
            "arp_ip_target" | "ns_ip6_target" => {
                let words: Vec<&str> = value.split([' ', ',']).filter(|w| !w.is_empty()).collect();
                words.join(",")
            }
            _ => value.to_owned(),
        };
        profile.properties.push(Property {
            setting: "bond".to_owned(),
            key: key.to_owned(),
            value,
            span,
        });
    }

    /// Notes properties that later words change or take away, as the lines are there to do.
    fn lost(&mut self, properties: impl IntoIterator<Item = Property>) {
        for property in properties {
            let what = "later words change it or take it away, and they count";
            self.report.changed(property.span, what);
        }
    }

    fn finish(mut self) -> Reading {
        let mut profiles: Vec<Profile> = self.profiles.into_iter().flatten().collect();
        // A port that does not say of what kind it is, is of the kind of what it names.
        let mut kinds: BTreeMap<String, String> = BTreeMap::new();
        for profile in &profiles {
            let device = profile.value(&["interface-name"]);
            for name in core::iter::once(&profile.id.value).chain(device.map(|known| &known.value))
            {
                kinds
                    .entry(name.clone())
                    .or_insert_with(|| profile.kind.clone());
            }
        }
        for profile in &mut profiles {
            if profile.value(&["slave-type", "port-type"]).is_some() {
                continue;
            }
            let master = profile.value(&["master", "controller"]);
            let Some((kind, span)) = master.and_then(|m| Some((kinds.get(&m.value)?, m.span)))
            else {
                continue;
            };
            profile.properties.push(Property {
                setting: "connection".to_owned(),
                key: "slave-type".to_owned(),
                value: kind.clone(),
                span,
            });
        }
        let profiles = profiles
            .into_iter()
            .map(|profile| (profile.id.value.clone(), sections(profile)));
        keyfile::read_profiles(profiles.collect(), core::mem::take(&mut self.report))
    }
}

/// The setting and the key that a word names.
fn property(kind: &str, name: &str) -> Option<(String, String)> {
    let Some((setting, key)) = name.split_once('.') else {
        let mut fitting = ALIASES.iter();
        let fits = |alias: &&(&str, &str, &str, &str)| {
            (alias.0.is_empty() || alias.0 == kind) && alias.1 == name
        };
        return fitting
            .find(fits)
            .map(|alias| (alias.2.to_owned(), alias.3.to_owned()));
    };
    let setting = match setting {
        "802-3-ethernet" => "ethernet",
        // An older name of the connection's own setting.
        "con" => "connection",
        other => only(other, SETTINGS.into_iter()).unwrap_or(other),
    };
    let keys = keyfile::known_keys().chain(OTHER_KEYS);
    let keys = keys.filter(|key| setting != "ipv4" || !IPV6_KEYS.contains(key));
    let key = only(key, keys).unwrap_or(key);
    Some((setting.to_owned(), key.to_owned()))
}

/// The one candidate that a word is or begins.
fn only<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let mut found: Option<&str> = None;
    for candidate in candidates.filter(|candidate| candidate.starts_with(word)) {
        if candidate == word {
            return Some(candidate);
        }
        if found.is_some_and(|before| before != candidate) {
            return None;
        }
        found = Some(candidate);
    }
    found
}

/// A value as the keyfile has it.
fn plain(setting: &str, key: &str, value: &str) -> String {
    let value = match (setting, key, value) {
        ("connection", "autoconnect", "no" | "off" | "0") => "false",
        ("connection", "multi-connect", "multiple") => "3",
        ("ethernet", "mtu", "auto") => "0",
        ("vlan", "flags", "REORDER_HEADERS") => "1",
        _ => value,
    };
    value.to_owned()
}

/// The parts of a list, where a backslash keeps a separator in its part; each with its place.
fn parts(word: &Word, is_separator: impl Fn(char) -> bool) -> Vec<(String, Range<usize>)> {
    let mut found = Vec::new();
    let mut part = String::new();
    let mut start = 0;
    let mut escaped = false;
    let mut end = |part: &mut String, from: usize, to: usize| {
        let whole = &word.text[from..to];
        let lead = whole.len() - whole.trim_start().len();
        let text = core::mem::take(part).trim().to_owned();
        if !text.is_empty() {
            found.push((
                text,
                word.place(from + lead..from + lead + whole.trim().len()),
            ));
        }
    };
    for (at, c) in word.text.char_indices() {
        if escaped {
            escaped = false;
            part.push(c);
        } else if c == '\\' {
            escaped = true;
        } else if is_separator(c) {
            end(&mut part, start, at);
            start = at + c.len_utf8();
        } else {
            part.push(c);
        }
    }
    end(&mut part, start, word.text.len());
    found
}

/// What a profile is as a keyfile.
fn sections(profile: Profile) -> Vec<Section> {
    let mut sections = vec![Section {
        name: Located::new("connection".to_owned(), profile.span),
        entries: Vec::new(),
    }];
    let mut at: BTreeMap<String, usize> = BTreeMap::from([("connection".to_owned(), 0)]);
    let mut routes = 0;
    for property in profile.properties {
        let Property {
            setting,
            key,
            value,
            span,
        } = property;
        let index = *at.entry(setting.clone()).or_insert_with(|| {
            sections.push(Section {
                name: Located::new(setting.clone(), profile.span),
                entries: Vec::new(),
            });
            sections.len() - 1
        });
        let entries = &mut sections[index].entries;
        match (setting.as_str(), key.as_str()) {
            ("ipv4" | "ipv6", "routes") => {
                routes += 1;
                let (route, options) = route(&value, setting == "ipv4");
                let key = format!("route{routes}");
                if !options.is_empty() {
                    let key = format!("{key}_options");
                    entries.push(Entry {
                        key,
                        value: options,
                        span,
                    });
                }
                entries.push(Entry {
                    key,
                    value: route,
                    span,
                });
            }
            ("bridge-port", "vlans") => {
                // The keyfile has all of them in one entry.
                let known = entries.iter_mut().find(|entry| entry.key == "vlans");
                match known {
                    Some(known) => {
                        let _ = write!(known.value, ",{value}");
                    }
                    None => entries.push(Entry { key, value, span }),
                }
            }
            _ => entries.push(Entry { key, value, span }),
        }
    }
    sections
}

/// `DESTINATION [ROUTER] [METRIC] [NAME=VALUE]...` as the keyfile's entry and the one with its options.
fn route(text: &str, is_v4: bool) -> (String, String) {
    let (mut via, mut metric, mut options) = ("", "", Vec::new());
    let mut words = text.split_whitespace();
    let to = words.next().unwrap_or("");
    for word in words {
        if word.contains('=') {
            options.push(word);
        } else if word.bytes().all(|b| b.is_ascii_digit()) {
            metric = word;
        } else {
            via = word;
        }
    }
    if via.is_empty() && !metric.is_empty() {
        via = if is_v4 { "0.0.0.0" } else { "::" };
    }
    let mut route = to.to_owned();
    for part in [via, metric].into_iter().filter(|part| !part.is_empty()) {
        let _ = write!(route, ",{part}");
    }
    (route, options.join(","))
}

/// Writes one line for each profile.
pub fn write(network: &DesiredNetwork) -> Written {
    // Which nmcli refuses for ports, though NetworkManager has it.
    let needs_match = |selector: &DesiredSelector| selector.criteria().any(|(key, _)| key != "mac");
    let mut network = network.clone();
    let mut lost = Vec::new();
    for bond in &mut network.bonds {
        lost.extend(
            bond.selectors
                .extract_if(.., |selector| needs_match(selector)),
        );
    }
    let Written { files, mut report } = keyfile::write(&network);
    for selector in lost {
        let why = "nmcli takes ports by their names and addresses alone";
        report.unsupported(selector.span, why, "name the ports, or write keyfiles");
    }
    let mut text = "#!/bin/sh\n# Adds the profiles: run it once, as root.\nset -e\n".to_owned();
    for file in files {
        let mut sources = Sources::default();
        let id = sources.add(file.path.as_str(), file.text.as_str());
        // What is written is well formed.
        let sections = ini::sections(
            id,
            &file.text,
            ini::Grammar::Keyfile,
            &mut Report::default(),
        );
        text.push_str(&line(&sections));
    }
    Written::one(HOME, 0o755, text, report)
}

/// The line that adds a profile.
fn line(sections: &[Section]) -> String {
    let entries = |section: &str| -> Vec<&Entry> {
        let of = sections.iter().filter(|known| known.name.value == section);
        of.flat_map(|section| &section.entries).collect()
    };
    let connection = entries("connection");
    let value = |entries: &[&Entry], key: &str| {
        let found = entries.iter().find(|entry| entry.key == key);
        found.map(|entry| entry.value.clone())
    };
    let kind = value(&connection, "type").unwrap_or_default();
    let mut text = format!("nmcli connection add type {kind}");
    let mut put = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = write!(text, " {name} {}", quoted(value));
    };
    if let Some(id) = value(&connection, "id") {
        put("con-name", &id);
    }
    // nmcli asks for one of every type; any device is written so.
    put(
        "ifname",
        &value(&connection, "interface-name").unwrap_or_else(|| "*".to_owned()),
    );
    if kind == "vlan" {
        let vlan = entries("vlan");
        put("dev", &value(&vlan, "parent").unwrap_or_default());
        put("id", &value(&vlan, "id").unwrap_or_default());
    }
    for entry in connection {
        match entry.key.as_str() {
            "id" | "type" | "interface-name" => {}
            "master" | "slave-type" => put(&entry.key, &entry.value),
            key => put(&format!("connection.{key}"), &entry.value),
        }
    }
    let bond = bond_options(&entries("bond"));
    if kind == "bond" && !bond.is_empty() {
        // Without a mode among them there would be none.
        let has_mode = bond.iter().any(|option| option.starts_with("mode="));
        put(
            if has_mode {
                "bond.options"
            } else {
                "+bond.options"
            },
            &bond.join(","),
        );
    }
    for section in ["ethernet", "bridge", "bond-port", "bridge-port"] {
        for entry in entries(section) {
            put(
                &format!("{section}.{}", entry.key),
                entry.value.trim_end_matches(';'),
            );
        }
    }
    for section in ["ipv4", "ipv6"] {
        let entries = entries(section);
        for entry in &entries {
            match entry.key.as_str() {
                "dns" | "dns-search" => {
                    let list = entry.value.trim_end_matches(';').replace(';', ",");
                    put(&format!("{section}.{}", entry.key), &list);
                }
                "method" | "gateway" => put(&format!("{section}.{}", entry.key), &entry.value),
                // Lists, each member of which has its entry.
                _ => {}
            }
        }
        let numbered = |entry: &&&Entry, word: &str| {
            let rest = entry.key.strip_prefix(word);
            rest.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
        };
        let addresses = entries.iter().filter(|entry| numbered(entry, "address"));
        let addresses: Vec<&str> = addresses.map(|entry| entry.value.as_str()).collect();
        let routes = entries.iter().filter(|entry| numbered(entry, "route"));
        let routes: Vec<String> = routes
            .map(|entry| {
                let options = value(&entries, &format!("{}_options", entry.key));
                route_words(&entry.value, options.as_deref())
            })
            .collect();
        if !addresses.is_empty() {
            put(&format!("{section}.addresses"), &addresses.join(", "));
        }
        if !routes.is_empty() {
            put(&format!("{section}.routes"), &routes.join(", "));
        }
    }
    text.push('\n');
    text
}

/// Options in an order in which none puts out another.
fn bond_options(entries: &[&Entry]) -> Vec<String> {
    let mut entries = entries.to_vec();
    let arp = |entry: &&Entry| entry.key == "arp_interval";
    let by_arp = entries.iter().any(|entry| arp(entry) && entry.value != "0");
    // The monitor that is on first, the one that is off behind it.
    entries.sort_by_key(|entry| match entry.key.as_str() {
        "mode" => 0,
        "arp_interval" if by_arp => 1,
        "miimon" if !by_arp => 1,
        _ => 2,
    });
    let text = |entry: &&Entry| {
        let is_list = matches!(entry.key.as_str(), "arp_ip_target" | "ns_ip6_target");
        let value = if is_list {
            entry.value.replace(',', " ")
        } else {
            entry.value.replace('\\', "\\\\").replace(',', "\\,")
        };
        format!("{}={value}", entry.key)
    };
    entries.iter().map(text).collect()
}

/// A route of a keyfile in nmcli's words.
fn route_words(entry: &str, options: Option<&str>) -> String {
    let mut parts = entry.split(',');
    let mut words = vec![parts.next().unwrap_or("")];
    let via = parts.next().filter(|via| !matches!(*via, "0.0.0.0" | "::"));
    words.extend(via);
    words.extend(parts.next());
    words.extend(options.iter().flat_map(|options| options.split(',')));
    words.join(" ")
}
