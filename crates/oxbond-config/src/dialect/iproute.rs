//! Lines of iproute2: scripts of `ip` and `bridge` commands, and files for `ip -batch`.
//!
//! A script is read as far as its commands stand one after the other: variables that it sets are replaced, what stands
//! in its `if`s and loops is told and left out. Beside iproute2's commands it knows those by which scripts say what `ip`
//! cannot: `resolvectl`, `dhclient`, `sysctl` for `accept_ra`, and `ifenslave` of old.
//!
//! Facts this relies on (iproute2 6.1, the driver of 6.1): words may be cut short ([`crate::ip`]); a port must be down to
//! join a bond; ports join in order; `forward_delay` of a bridge counts hundredths of a second.

use core::net::IpAddr;
use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use oxbond_core::option::{Dialect, OptionChange, OptionId, OptionKey, PortOptionChange};

use super::common::{
    mtu, name, number, option, parsed, refused, set, set_option, unknown_key, unselected, unspelt,
    vid,
};
use super::shell::{Word, quoted};
use super::{Reading, Written, route_words, script};
use crate::diagnostic::Code;
use crate::ip::options::{self, Scope};
use crate::ip::words::{Change, Globals, Master, Oddity, Verb, is_link, is_short_for, verb};
use crate::model::{
    Cidr, DesiredBond, DesiredBridge, DesiredBridgePort, DesiredNetwork, DesiredPort, DesiredVlan,
    DeviceSettings, Network, Route, VidRange,
};
use crate::report::Report;
use crate::span::{FileId, Located, Sources, Span};

/// Where it is written to.
const HOME: &str = "/usr/local/sbin/network-up";

/// Reads all files of a set, one after the other.
pub fn read(sources: &Sources) -> Reading {
    let mut reader = Reader::default();
    let mut commands = Vec::new();
    for (file, source) in sources.iter() {
        reader.commands(file, &source.text, sources, &mut commands);
    }
    for command in &commands {
        reader.look_ahead(command);
    }
    for command in &commands {
        reader.command(command);
    }
    reader.finish()
}

/// A command without what stands before its program.
struct Command {
    program: Program,
    words: Vec<Word>,
    /// The same as texts.
    texts: Vec<String>,
    span: Span,
    /// `-6` was given.
    is_v6: bool,
}

impl Command {
    /// Where a word is.
    fn place(&self, at: usize) -> Span {
        self.words.get(at).map_or(self.span, |word| {
            Span::new(self.span.file, word.range.clone())
        })
    }

    fn places(&self, range: Range<usize>) -> Span {
        let (first, last) = (
            self.place(range.start),
            self.place(range.end.saturating_sub(1)),
        );
        Span::new(self.span.file, first.start..last.end.max(first.start))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Link,
    Address,
    Route,
    BridgeVlan,
    Ifenslave,
    Resolvectl,
    Dhcp,
    Sysctl,
}

#[derive(Default)]
struct Reader {
    report: Report,
    /// Names of everything that a line makes or puts into something.
    ours: BTreeSet<String>,
    devices: BTreeMap<String, Device>,
    /// How many devices were made, and ports joined, so far.
    count: usize,
}

/// A device as the commands so far leave it.
struct Device {
    /// When it was made.
    order: usize,
    kind: DeviceKind,
    settings: DeviceSettings,
    /// What it was put into, by which word, and when.
    master: Option<(Located<String>, usize)>,
    options: Vec<Located<PortOptionChange>>,
    vids: Vec<Located<VidRange>>,
    pvid: Option<Located<u16>>,
    is_up: bool,
}

enum DeviceKind {
    Bond(DesiredBond),
    Vlan(DesiredVlan),
    Bridge(DesiredBridge),
    /// What is there already; its name, where it was first spoken of.
    Plain(Located<String>),
}

impl Device {
    fn new(kind: DeviceKind, order: usize) -> Self {
        Self {
            order,
            kind,
            settings: DeviceSettings::default(),
            master: None,
            options: Vec::new(),
            vids: Vec::new(),
            pvid: None,
            is_up: false,
        }
    }

    fn name(&self) -> &Located<String> {
        match &self.kind {
            DeviceKind::Bond(bond) => &bond.name,
            DeviceKind::Vlan(vlan) => &vlan.name,
            DeviceKind::Bridge(bridge) => &bridge.name,
            DeviceKind::Plain(name) => name,
        }
    }
}

impl Reader {
    /// Splits a text into commands; notes what is none of ours.
    fn commands(&mut self, file: FileId, text: &str, sources: &Sources, found: &mut Vec<Command>) {
        // Whether the command before only showed something.
        let mut looked = false;
        for line in script::lines(file, text, &mut self.report) {
            if !line.counts(core::mem::take(&mut looked), &mut self.report) {
                continue;
            }
            match self.program(line.words, line.span, sources) {
                Some(Found::Command(command)) => found.push(command),
                Some(Found::Look) => looked = true,
                None => {}
            }
        }
    }

    /// Finds out whose command it is.
    fn program(&mut self, mut words: Vec<Word>, span: Span, sources: &Sources) -> Option<Found> {
        let first = words.first()?.text.clone();
        let program = first.rsplit('/').next().unwrap_or("").to_owned();
        let command = |program: Program, words: Vec<Word>, is_v6: bool| {
            let texts = words.iter().map(|word| word.text.clone()).collect();
            Some(Found::Command(Command {
                program,
                words,
                texts,
                span,
                is_v6,
            }))
        };
        let is_object = |word: &str| {
            ["link", "address", "route"]
                .iter()
                .any(|o| is_short_for(word, o))
        };
        match program.as_str() {
            "ip" => words.remove(0),
            "bridge" => {
                words.remove(0);
                return match words.first().map(|word| word.text.as_str()) {
                    Some(object) if is_short_for(object, "vlan") => {
                        words.remove(0);
                        command(Program::BridgeVlan, words, false)
                    }
                    _ => self.foreign("only bridge vlan is taken over", span),
                };
            }
            "ifenslave" => {
                words.remove(0);
                return command(Program::Ifenslave, words, false);
            }
            "resolvectl" => {
                words.remove(0);
                return command(Program::Resolvectl, words, false);
            }
            "dhclient" | "dhcpcd" | "udhcpc" => {
                words.remove(0);
                return command(Program::Dhcp, words, false);
            }
            "sysctl" => {
                words.remove(0);
                return command(Program::Sysctl, words, false);
            }
            "modprobe" if words.len() == 2 || words.iter().any(|w| w.text == "max_bonds=0") => {
                // The module may be there or not.
                self.report.mapped(span);
                return None;
            }
            "modprobe" => {
                let why = "parameters of the module are not read in a script";
                let way_out = "write them behind ip link add, or in modprobe.d";
                self.report.unsupported(span, why, way_out);
                return None;
            }
            // A line for `ip -batch`.
            _ if is_object(&first) => Word::default(),
            _ => {
                let why = format!("{program} is not read, and commands are not run");
                return self.foreign(why, span);
            }
        };
        let texts: Vec<String> = words.iter().map(|word| word.text.clone()).collect();
        let Some((globals, rest)) = Globals::split(&texts) else {
            return self.foreign("an option before the object is not taken over", span);
        };
        if globals.netns.is_some() {
            return self.foreign("it is about another network namespace", span);
        }
        if let Some(batch) = globals.batch {
            let base = |path: &str| path.rsplit('/').next().unwrap_or("").to_owned();
            if sources
                .iter()
                .any(|(_, source)| base(&source.name) == base(&batch))
            {
                self.report.mapped(span);
                return None;
            }
            let why = format!("{batch} was not given");
            self.report.unsupported(span, why, "give it too");
            return None;
        }
        let is_v6 = globals.kept.iter().any(|flag| flag == "-6");
        let options = texts.len() - rest.len();
        let mut words = words.split_off(options);
        if words.is_empty() {
            return self.foreign("it names no object", span);
        }
        let object = words.remove(0).text;
        let command_word = words.first().map(|word| word.text.as_str());
        let looks = command_word.is_none_or(|word| {
            ["show", "list", "lst", "ls", "get", "save"]
                .iter()
                .any(|look| is_short_for(word, look) && (word != "s" || !is_link(&object)))
                || word == "help"
        });
        if looks || object == "help" {
            self.report.mapped(span);
            return Some(Found::Look);
        }
        let program = if is_link(&object) {
            Program::Link
        } else if is_short_for(&object, "address") {
            Program::Address
        } else if is_short_for(&object, "route") {
            Program::Route
        } else {
            return self.foreign(format!("ip {object} is not taken over"), span);
        };
        command(program, words, is_v6)
    }

    fn foreign(&mut self, why: impl Into<String>, span: Span) -> Option<Found> {
        self.report
            .unsupported(span, why, "run it by other means, or do without");
        None
    }

    /// Collects the names that matter.
    fn look_ahead(&mut self, command: &Command) {
        match command.program {
            Program::Link => {
                let verb = verb(command.texts.first().map(String::as_str));
                let Ok(change) = Change::parse(&command.texts[1..]) else {
                    return;
                };
                let made = matches!(verb, Some(Verb::Add | Verb::Replace));
                let kind = change.kind.as_deref().unwrap_or("");
                if (made && matches!(kind, "bond" | "vlan" | "bridge")) || change.master.is_some() {
                    self.ours.extend(device_name(&change));
                }
            }
            Program::Ifenslave => {
                let names = command.texts.iter().skip(1);
                self.ours
                    .extend(names.filter(|word| !word.starts_with('-')).cloned());
            }
            _ => {}
        }
    }

    fn command(&mut self, command: &Command) {
        match command.program {
            Program::Link => self.link(command),
            Program::Address => self.address(command),
            Program::Route => self.route(command),
            Program::BridgeVlan => self.bridge_vlan(command),
            Program::Ifenslave => self.ifenslave(command),
            Program::Resolvectl => self.resolvectl(command),
            Program::Dhcp => self.dhcp(command),
            Program::Sysctl => self.sysctl(command),
        }
    }

    /// A device that a command is about; notes one that is nothing of ours.
    fn device(&mut self, named: &str, span: Span) -> Option<&mut Device> {
        if self.devices.contains_key(named) {
            return self.devices.get_mut(named);
        }
        if !self.ours.contains(named) {
            let why = format!("{named} is no bond and nothing of one");
            self.report.unsupported(span, why, "leave it where it is");
            return None;
        }
        let located = name(named, span, &mut self.report)?;
        self.count += 1;
        let device = Device::new(DeviceKind::Plain(located), self.count);
        Some(self.devices.entry(named.to_owned()).or_insert(device))
    }

    /// As [`device`](Self::device), one that can have addresses.
    fn settings(&mut self, named: &str, span: Span) -> Option<&mut DeviceSettings> {
        let is_plain = |device: &Device| matches!(device.kind, DeviceKind::Plain(_));
        if self
            .device(named, span)
            .is_some_and(|device| is_plain(device))
        {
            let why = format!("{named} is a port, which has no addresses of its own");
            let way_out = "write them for the device it is a port of";
            self.report.breach(Code::PortAddressed, span, why, way_out);
            return None;
        }
        self.devices
            .get_mut(named)
            .map(|device| &mut device.settings)
    }

    fn link(&mut self, command: &Command) {
        let span = command.span;
        let verb = verb(command.texts.first().map(String::as_str));
        let change = match Change::parse(&command.texts[1..]) {
            Ok(change) => change,
            Err(oddity) => {
                let why = match oddity {
                    Oddity::Incomplete => "a value is missing at its end".to_owned(),
                    Oddity::Garbage(word) => {
                        format!("{word:?} is no word of ip link, or names a second device")
                    }
                    Oddity::Foreign => "it has words that are not taken over".to_owned(),
                };
                return self
                    .report
                    .unsupported(span, why, "correct it, or run it by other means");
            }
        };
        let Some(named) = device_name(&change) else {
            let why = "it names no device";
            return self.report.unsupported(span, why, "write dev and its name");
        };
        match verb {
            Some(Verb::Add | Verb::Replace) => {
                if !self.add(&named, &change, command) {
                    return;
                }
            }
            Some(Verb::Set) => {}
            Some(Verb::Delete) => {
                if self.devices.remove(&named).is_some() {
                    self.report.mapped(span);
                } else {
                    let what = "no line before it makes this device, so there is none to delete";
                    self.report.changed(span, what);
                }
                return;
            }
            _ => {
                let why = "this command of ip link is not taken over";
                return self.report.unsupported(span, why, "run it by other means");
            }
        }
        if self.device(&named, span).is_none() {
            return;
        }
        self.report.mapped(span);
        self.common_words(&named, &change, command);
        self.membership(&named, &change, command);
        self.kind_words(&named, &change, command);
    }

    /// Makes a device; says whether there is one.
    fn add(&mut self, named: &str, change: &Change, command: &Command) -> bool {
        let span = command.span;
        let Some(located) = name(named, span, &mut self.report) else {
            return false;
        };
        if self.devices.contains_key(named) {
            let why = format!("{named} is there already, by a line before");
            self.report
                .unsupported(span, why, "write set in place of add, or remove it");
            return false;
        }
        let below = change.others.iter().find(|(word, _)| *word == "link");
        let below = below.and_then(|(_, values)| values.first());
        let kind = match (change.kind.as_deref(), below) {
            (Some("bond"), _) => DeviceKind::Bond(DesiredBond::new(located)),
            (Some("bridge"), _) => DeviceKind::Bridge(DesiredBridge::new(located)),
            (Some("vlan"), Some(below)) => {
                let id = change
                    .kind_words
                    .iter()
                    .position(|word| is_short_for(word, "id"));
                let id = id.and_then(|at| change.kind_words.get(at + 1));
                let Some(id) = id.and_then(|id| vid(id, span, &mut self.report)) else {
                    let why = "the number of the VLAN is not said";
                    self.report
                        .unsupported(span, why, "write id and its number");
                    return false;
                };
                DeviceKind::Vlan(DesiredVlan {
                    name: located,
                    id,
                    link: Located::new(below.clone(), span),
                    device: DeviceSettings::default(),
                })
            }
            (Some("vlan"), None) => {
                let why = "the device below the VLAN is not said";
                self.report
                    .unsupported(span, why, "write link and its name");
                return false;
            }
            (kind, _) => {
                let kind = kind.unwrap_or("nothing");
                let why = format!("a device of type {kind} is nothing of a bond");
                self.report.unsupported(span, why, "make it by other means");
                return false;
            }
        };
        self.count += 1;
        let device = Device::new(kind, self.count);
        self.devices.insert(named.to_owned(), device);
        true
    }

    /// Words that every device has.
    fn common_words(&mut self, named: &str, change: &Change, command: &Command) {
        let span = command.span;
        let Some(device) = self.devices.get_mut(named) else {
            return;
        };
        let report = &mut self.report;
        let is_plain = matches!(device.kind, DeviceKind::Plain(_));
        for (word, values) in &change.others {
            let value = values.first().map_or("", String::as_str);
            match *word {
                "up" => device.is_up = true,
                "down" => device.is_up = false,
                "mtu" if is_plain => {
                    report.changed(span, "ports take the bond's MTU");
                    if let Ok(mtu) = value.parse() {
                        report.port_mtu(named, Located::new(mtu, span));
                    }
                }
                "mtu" => {
                    if let Some(mtu) = mtu(value, span, report) {
                        set(&mut device.settings.mtu, mtu, report);
                    }
                }
                "address" if is_plain => {
                    let why = "a port has the address that its bond gives it";
                    report.unsupported(span, why, "set the address of the bond");
                }
                "address" => match options::mac(value).filter(|mac| mac.is_unicast()) {
                    Some(mac) => set(&mut device.settings.mac, Located::new(mac, span), report),
                    None => refused(
                        span,
                        format_args!("{value:?} is no address of a device"),
                        report,
                    ),
                },
                // Those that name the device or what is below it were read with it.
                "name" | "link" => {}
                "arp" | "multicast" if value == "on" => {}
                word => {
                    let why = format!("{word} of a device is not taken over");
                    report.unsupported(span, why, "set it by other means, or do without");
                }
            }
        }
    }

    fn membership(&mut self, named: &str, change: &Change, command: &Command) {
        match &change.master {
            Some(Master::Join(master)) => {
                let at = command.texts.iter().rposition(|text| text == master);
                let span = at.map_or(command.span, |at| command.place(at));
                self.join(named, Located::new(master.clone(), span), command.span);
            }
            Some(Master::Leave) => {
                if let Some(device) = self.devices.get_mut(named) {
                    device.master = None;
                }
            }
            None => {}
        }
    }

    fn join(&mut self, named: &str, master: Located<String>, span: Span) {
        self.count += 1;
        let order = self.count;
        let is_bond = |device: &Device| matches!(device.kind, DeviceKind::Bond(_));
        let joins_bond = self.devices.get(&master.value).is_some_and(is_bond);
        let Some(device) = self.devices.get_mut(named) else {
            return;
        };
        if device.is_up && joins_bond {
            let what = "the driver refuses a port that is up, as the lines before left it; here it joins all the same";
            self.report.changed(span, what);
        }
        device.master = Some((master, order));
    }

    /// What stands behind `type KIND`.
    fn kind_words(&mut self, named: &str, change: &Change, command: &Command) {
        let Some(kind) = change.kind.as_deref() else {
            return;
        };
        let start = command.texts.len() - change.kind_words.len();
        let Some(device) = self.devices.get_mut(named) else {
            return;
        };
        let report = &mut self.report;
        match (kind, &mut device.kind) {
            ("bond", DeviceKind::Bond(bond)) => {
                let found = pairs(Scope::Bond, command, start, report);
                for (key, text, span) in found {
                    if let OptionKey::Bond(id) = key
                        && let Some(change) = option(id, &text, span, report)
                    {
                        set_option(bond, change, report);
                    }
                }
            }
            ("bond_slave", _) => {
                for (key, text, span) in pairs(Scope::Port, command, start, report) {
                    let OptionKey::Port(id) = key else {
                        continue;
                    };
                    match PortOptionChange::parse(id.name(), &text) {
                        Ok(change) => {
                            device.options.retain(|known| known.value.id != change.id);
                            device.options.push(Located::new(change, span));
                        }
                        Err(e) => refused(span, e.fault, report),
                    }
                }
            }
            ("bridge", DeviceKind::Bridge(bridge)) => bridge_words(bridge, command, start, report),
            ("vlan", DeviceKind::Vlan(_)) => vlan_words(command, start, report),
            (kind, _) => {
                let span = command.places(start.saturating_sub(1)..command.texts.len());
                let why = format!("{named} is none of type {kind} here");
                report.unsupported(span, why, "correct the type, or run it by other means");
            }
        }
    }

    fn ifenslave(&mut self, command: &Command) {
        let flags: Vec<&str> = command
            .texts
            .iter()
            .map(String::as_str)
            .filter(|word| word.starts_with('-'))
            .collect();
        let mut names = command.texts.iter().enumerate();
        let mut names = names.by_ref().filter(|(_, word)| !word.starts_with('-'));
        let Some((bond_at, bond)) = names.next() else {
            let why = "it names no bond";
            return self.report.unsupported(command.span, why, "write its name");
        };
        let leaves = flags.iter().any(|flag| matches!(*flag, "-d" | "--detach"));
        self.report.mapped(command.span);
        let bond = Located::new(bond.clone(), command.place(bond_at));
        for (at, port) in names {
            let span = command.place(at);
            if self.device(port, span).is_none() {
                continue;
            }
            if leaves {
                if let Some(device) = self.devices.get_mut(port) {
                    device.master = None;
                }
            } else {
                // It sets the port down itself.
                if let Some(device) = self.devices.get_mut(port) {
                    device.is_up = false;
                }
                self.join(port, bond.clone(), span);
            }
        }
    }

    fn address(&mut self, command: &Command) {
        let span = command.span;
        let verb = command.texts.first().map_or("", String::as_str);
        let adds = ["add", "change", "replace"]
            .iter()
            .any(|known| is_short_for(verb, known));
        let removes = ["delete", "flush"]
            .iter()
            .any(|known| is_short_for(verb, known));
        if !adds && !removes {
            let why = format!("ip address {verb} is not taken over");
            return self.report.unsupported(span, why, "run it by other means");
        }
        let mut words = command.texts.iter().enumerate().skip(1);
        let (mut device, mut address) = (None, None);
        while let Some((at, word)) = words.next() {
            let is_key = [
                "dev",
                "label",
                "scope",
                "broadcast",
                "brd",
                "metric",
                "peer",
                "local",
            ]
            .contains(&word.as_str());
            let value = if is_key { words.next() } else { None };
            match (word.as_str(), value) {
                ("dev", Some((_, value))) => device = Some(value.as_str()),
                ("local", Some((at, value))) => address = Some((at, value.as_str())),
                ("broadcast" | "brd", Some(_)) => {
                    self.report
                        .changed(span, "the broadcast address is worked out from the address");
                }
                ("scope", Some((_, value))) if value == "global" => {}
                (key, Some(_)) => {
                    let why = format!("{key} of an address is not taken over");
                    self.report.unsupported(span, why, "do without it");
                }
                (_, None) if !is_key && address.is_none() => address = Some((at, word.as_str())),
                (word, None) => {
                    let why = format!("{word:?} is not taken over here");
                    self.report
                        .unsupported(command.place(at), why, "do without it");
                }
            }
        }
        let Some(named) = device else {
            let why = "it names no device";
            return self.report.unsupported(span, why, "write dev and its name");
        };
        if removes {
            let all = address.is_none();
            let text = address.map(|(_, text)| text.to_owned());
            if let Some(settings) = self.settings(named, span) {
                settings
                    .addresses
                    .retain(|known| !all && Some(known.value.to_string()) != text);
                self.report.mapped(span);
            }
            return;
        }
        let Some((at, text)) = address else {
            let why = "it names no address";
            return self
                .report
                .unsupported(span, why, "write it like 192.168.1.100/24");
        };
        let place = command.place(at);
        let bits = text
            .parse::<IpAddr>()
            .map(|ip| if ip.is_ipv4() { 32 } else { 128 });
        let whole = match &bits {
            Ok(bits) => format!("{text}/{bits}"),
            Err(_) => text.to_owned(),
        };
        let Some(address) = parsed::<Cidr>(&whole, place, &mut self.report) else {
            return;
        };
        if let Some(settings) = self.settings(named, span) {
            if !settings
                .addresses
                .iter()
                .any(|known| known.value == address.value)
            {
                settings.addresses.push(address);
            }
            self.report.mapped(span);
            if let Ok(bits) = bits {
                let what = format!("without a length its prefix has {bits} bits");
                self.report.changed(place, what);
            }
        }
    }

    fn route(&mut self, command: &Command) {
        let span = command.span;
        let verb = command.texts.first().map_or("", String::as_str);
        let adds = ["add", "append", "change", "replace", "prepend"];
        if !adds.iter().any(|known| is_short_for(verb, known)) {
            let why = format!("ip route {verb} is not taken over");
            return self
                .report
                .unsupported(span, why, "remove the line that adds the route");
        }
        let words = command.texts.iter().skip(1).map(String::as_str);
        let line = match route_words::read(words, command.is_v6) {
            Ok(line) => line,
            Err(why) => return refused(span, why, &mut self.report),
        };
        let named = match line.device {
            Some(named) => named,
            // As the kernel does, by the addresses so far.
            None => {
                let via = line.route.via;
                let leads = |device: &&Device| {
                    let mut addresses = device.settings.addresses.iter();
                    via.is_some_and(|via| addresses.any(|address| address.value.contains(via)))
                };
                match self.devices.values().find(leads) {
                    Some(device) => device.name().value.clone(),
                    None => {
                        let why = "no device that is read here leads to its router";
                        return self.report.unsupported(span, why, "write dev and its name");
                    }
                }
            }
        };
        let route = Located::new(line.route, span);
        if let Some(settings) = self.settings(&named, span) {
            settings.add_route(route);
            self.report.mapped(span);
        }
    }

    fn bridge_vlan(&mut self, command: &Command) {
        let span = command.span;
        let words: Vec<&str> = command.texts.iter().map(String::as_str).collect();
        let value = |key: &str| {
            let at = words.iter().position(|word| *word == key)?;
            words.get(at + 1).copied()
        };
        let has = |flag: &str| words.contains(&flag);
        let verb = words.first().copied().unwrap_or("");
        if ["show", "list", "lst"]
            .iter()
            .any(|look| is_short_for(verb, look))
        {
            return self.report.mapped(span);
        }
        let (Some(named), Some(range)) = (value("dev"), value("vid")) else {
            let why = "it lacks its device or its VLAN";
            return self.report.unsupported(span, why, "write dev and vid");
        };
        if !is_short_for(verb, "add") {
            let why = "that a port is without a VLAN which it has by itself cannot be said";
            return self
                .report
                .unsupported(span, why, "give it another PVID, or leave it");
        }
        let Some(range) = parsed::<VidRange>(range, span, &mut self.report) else {
            return;
        };
        let Some(device) = self.device(named, span) else {
            return;
        };
        let is_bridge = matches!(device.kind, DeviceKind::Bridge(_));
        let flags = (has("pvid"), has("untagged"));
        if is_bridge || has("self") {
            let why = "these are VLANs of the bridge's own device";
            return self.report.unsupported(span, why, "name VLANs of ports");
        }
        match flags {
            (false, false) => device.vids.push(range),
            (true, true) if range.value.first == range.value.last => {
                device.pvid = Some(Located::new(range.value.first, span));
            }
            _ => {
                return refused(
                    span,
                    "only the PVID leaves a port untagged",
                    &mut self.report,
                );
            }
        }
        self.report.mapped(span);
    }

    fn resolvectl(&mut self, command: &Command) {
        let span = command.span;
        let [verb, named, rest @ ..] = command.texts.as_slice() else {
            return self.report.mapped(span);
        };
        match verb.as_str() {
            "dns" => {
                let mut servers = Vec::new();
                for at in 2..2 + rest.len() {
                    let place = command.place(at);
                    servers.extend(parsed::<IpAddr>(
                        &command.texts[at],
                        place,
                        &mut self.report,
                    ));
                }
                if let Some(settings) = self.settings(named, span) {
                    settings.dns = servers;
                    self.report.mapped(span);
                }
            }
            "domain" => {
                let words = rest.iter().enumerate();
                let domains =
                    words.map(|(at, word)| Located::new(word.clone(), command.place(at + 2)));
                let domains: Vec<_> = domains.filter(|domain| !domain.value.is_empty()).collect();
                if let Some(settings) = self.settings(named, span) {
                    settings.search = domains;
                    self.report.mapped(span);
                }
            }
            "status" | "query" | "flush-caches" => self.report.mapped(span),
            _ => {
                let why = format!("resolvectl {verb} is not taken over");
                self.report.unsupported(span, why, "run it by other means");
            }
        }
    }

    fn dhcp(&mut self, command: &Command) {
        let span = command.span;
        let is_v6 = command.texts.iter().any(|word| word == "-6");
        let leaves = command
            .texts
            .iter()
            .any(|word| matches!(word.as_str(), "-r" | "-x" | "-k"));
        let named = command.texts.iter().rfind(|word| !word.starts_with('-'));
        let Some(named) = named.filter(|_| !leaves) else {
            let why = "it asks for no address of a device that it names";
            return self.report.unsupported(span, why, "write the device");
        };
        if let Some(settings) = self.settings(named, span) {
            let asked = Some(Located::new(true, span));
            if is_v6 {
                settings.dhcp_v6 = asked;
            } else {
                settings.dhcp_v4 = asked;
            }
            self.report.mapped(span);
        }
    }

    /// `net.ipv6.conf.bond0.accept_ra=0`.
    fn sysctl(&mut self, command: &Command) {
        let span = command.span;
        let keys = command.texts.iter().enumerate();
        for (at, word) in keys.filter(|(_, word)| !word.starts_with('-')) {
            let place = command.place(at);
            let split = word.split_once('=');
            // With `/` between the parts a name may hold dots, and the other way round.
            let named = split.and_then(|(key, value)| {
                let slashes = key.strip_prefix("net/ipv6/conf/");
                let named = match slashes {
                    Some(rest) => rest.strip_suffix("/accept_ra")?.to_owned(),
                    None => {
                        let rest = key.strip_prefix("net.ipv6.conf.")?;
                        rest.strip_suffix(".accept_ra")?.replace('/', ".")
                    }
                };
                let accept = match value {
                    "0" => false,
                    "1" | "2" => true,
                    _ => return None,
                };
                Some((named, accept))
            });
            let Some((named, accept)) = named else {
                let why = "only accept_ra of a device is taken over";
                self.report
                    .unsupported(place, why, "write it below /etc/sysctl.d");
                continue;
            };
            if let Some(settings) = self.settings(&named, span) {
                set(
                    &mut settings.accept_ra,
                    Located::new(accept, place),
                    &mut Report::default(),
                );
                self.report.mapped(span);
            }
        }
    }

    fn finish(mut self) -> Reading {
        let mut network = DesiredNetwork::default();
        let mut members: Vec<(usize, Located<String>, Device)> = Vec::new();
        let mut at: BTreeMap<String, (bool, usize)> = BTreeMap::new();
        let mut devices: Vec<Device> = core::mem::take(&mut self.devices).into_values().collect();
        devices.sort_by_key(|device| device.order);
        for mut device in devices {
            let settings = core::mem::take(&mut device.settings);
            match &mut device.kind {
                DeviceKind::Bond(bond) => {
                    bond.device = settings;
                    at.insert(bond.name.value.clone(), (true, network.bonds.len()));
                    network.bonds.push(bond.clone());
                }
                DeviceKind::Bridge(bridge) => {
                    bridge.device = settings;
                    at.insert(bridge.name.value.clone(), (false, network.bridges.len()));
                    network.bridges.push(bridge.clone());
                }
                DeviceKind::Vlan(vlan) => {
                    vlan.device = settings;
                    network.vlans.push(vlan.clone());
                }
                DeviceKind::Plain(_) => {}
            }
            if let Some((master, order)) = device.master.take() {
                members.push((order, master, device));
            }
        }
        members.sort_by_key(|(order, ..)| *order);
        for (_, master, device) in members {
            let name = device.name().clone();
            match at.get(&master.value) {
                Some((true, at)) => network.bonds[*at].ports.push(DesiredPort {
                    name,
                    options: device.options,
                }),
                Some((false, at)) => network.bridges[*at].ports.push(DesiredBridgePort {
                    name,
                    vids: device.vids,
                    pvid: device.pvid,
                }),
                None => {
                    let why = format!("no line makes {:?}", master.value);
                    let way_out = "write the line that makes it, or correct the name";
                    self.report
                        .breach(Code::UndefinedReference, master.span, why, way_out);
                }
            }
        }
        for bridge in &mut network.bridges {
            bridge.settle_vids();
        }
        Reading {
            network,
            report: self.report,
            diagnostics: Vec::new(),
        }
    }
}

/// What a statement is.
enum Found {
    Command(Command),
    /// It only shows something.
    Look,
}

/// The device that a change is about.
fn device_name(change: &Change) -> Option<String> {
    let named = change.others.iter().find(|(word, _)| *word == "name");
    let named = named.and_then(|(_, values)| values.first());
    change.device.as_ref().or(named).cloned()
}

/// The options from a word on: which, its value in our notation, and where both are.
fn pairs(
    scope: Scope,
    command: &Command,
    start: usize,
    report: &mut Report,
) -> Vec<(OptionKey, String, Span)> {
    let mut found = Vec::new();
    let mut at = start;
    while let Some(word) = command.texts.get(at) {
        if scope == Scope::Bond && is_short_for(word, "clear_active_slave") {
            at += 1;
            continue;
        }
        let Some(spec) = options::find(scope, word) else {
            // A wrong key likely has its value behind it.
            let next = command.texts.get(at + 1);
            let has_value = next.is_some_and(|next| options::find(scope, next).is_none());
            let width = 1 + usize::from(has_value);
            let span = command.places(at..at + width);
            let key = word.split('=').next().unwrap_or(word);
            if key != word && options::find(scope, key).is_some() {
                let way_out = format!("write {}", word.replacen('=', " ", 1));
                report.unsupported(span, "ip wants a blank in place of =", way_out);
            } else {
                unknown_key(key, span, Dialect::Iproute2, &[], report);
            }
            at += width;
            continue;
        };
        let span = command.places(at..(at + 2).min(command.texts.len()));
        let Some(text) = command.texts.get(at + 1) else {
            let why = format!("{} lacks its value", spec.iproute2);
            report.unsupported(span, why, "write it");
            break;
        };
        match options::value(spec, text) {
            Ok(value) => found.push((spec.key, value, span)),
            Err(_) => {
                let why = format!("{text:?} is no value of {}", spec.iproute2);
                report.unsupported(span, why, format!("allowed: {}", spec.allowed()));
            }
        }
        at += 2;
    }
    found
}

fn bridge_words(bridge: &mut DesiredBridge, command: &Command, start: usize, report: &mut Report) {
    let known = [
        "stp_state",
        "forward_delay",
        "vlan_filtering",
        "vlan_default_pvid",
    ];
    let mut at = start;
    while let Some(word) = command.texts.get(at) {
        let span = command.places(at..(at + 2).min(command.texts.len()));
        let value = command.texts.get(at + 1).map_or("", String::as_str);
        at += 2;
        let flag = match value {
            "0" => Some(Located::new(false, span)),
            "1" => Some(Located::new(true, span)),
            _ => None,
        };
        match (known.iter().find(|known| is_short_for(word, known)), flag) {
            (Some(&"stp_state"), Some(on)) => set(&mut bridge.stp, on, report),
            (Some(&"vlan_filtering"), Some(on)) => set(&mut bridge.vlan_aware, on, report),
            (Some(&"forward_delay"), _) => {
                if let Some(delay) = number(value, 0..=25_599, span, report) {
                    let seconds = Located::new(delay.value / 100, span);
                    if delay.value % 100 != 0 {
                        report.changed(span, format!("it becomes {} s", seconds.value));
                    }
                    set(&mut bridge.forward_delay, seconds, report);
                }
            }
            (Some(&"vlan_default_pvid"), _) => {
                if let Some(pvid) = vid(value, span, report) {
                    set(&mut bridge.pvid, pvid, report);
                }
            }
            (Some(word), _) => {
                refused(
                    span,
                    format_args!("{value:?} of {word} is neither 0 nor 1"),
                    report,
                );
            }
            (None, _) => {
                let why = format!("{word} of a bridge is not taken over");
                report.unsupported(span, why, "set it by other means, or do without");
            }
        }
    }
}

fn vlan_words(command: &Command, start: usize, report: &mut Report) {
    let mut at = start;
    while let Some(word) = command.texts.get(at) {
        let span = command.places(at..(at + 2).min(command.texts.len()));
        let value = command.texts.get(at + 1).map_or("", String::as_str);
        let is_plain = is_short_for(word, "protocol") && value.eq_ignore_ascii_case("802.1q");
        if !is_short_for(word, "id") && !is_plain {
            let why = format!("{word} of a VLAN is not taken over");
            report.unsupported(span, why, "set it by other means, or do without");
        }
        at += 2;
    }
}

/// Writes one script.
pub fn write(network: &DesiredNetwork) -> Written {
    let mut writer = Writer {
        text: "#!/bin/sh\n# Makes the network from nothing: run it once, as root.\nset -e\n"
            .to_owned(),
        report: Report::default(),
    };
    for bond in &network.bonds {
        writer.bond(bond);
    }
    for bridge in &network.bridges {
        writer.bridge(bridge);
    }
    for vlan in in_order(&network.vlans) {
        writer.vlan(vlan);
    }
    for bridge in &network.bridges {
        writer.bridge_ports(bridge);
    }
    // What the lower device has is ready when the upper one asks for it.
    let bonds = network.bonds.iter().map(|bond| (&bond.name, &bond.device));
    let bridges = network
        .bridges
        .iter()
        .map(|bridge| (&bridge.name, &bridge.device));
    let vlans = in_order(&network.vlans)
        .into_iter()
        .map(|vlan| (&vlan.name, &vlan.device));
    for (name, device) in bonds.chain(bridges).chain(vlans) {
        writer.device(&name.value, device);
    }
    Written::one(HOME, 0o755, writer.text, writer.report)
}

/// VLANs on VLANs behind those they stand on.
fn in_order(vlans: &[DesiredVlan]) -> Vec<&DesiredVlan> {
    let below: BTreeMap<&str, &str> = vlans
        .iter()
        .map(|vlan| (vlan.name.value.as_str(), vlan.link.value.as_str()))
        .collect();
    let depth = |vlan: &DesiredVlan| {
        let mut link = vlan.link.value.as_str();
        let mut depth = 0;
        // More than two tags fit no frame that matters; a circle ends here too.
        while let (Some(next), true) = (below.get(link), depth < 8) {
            link = next;
            depth += 1;
        }
        depth
    };
    let mut sorted: Vec<&DesiredVlan> = vlans.iter().collect();
    sorted.sort_by_key(|vlan| depth(vlan));
    sorted
}

struct Writer {
    text: String,
    report: Report,
}

impl Writer {
    fn line(&mut self, words: impl core::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{words}");
    }

    /// Words that `ip link add` has for every device.
    fn add(&mut self, name: &str, device: &DeviceSettings, link: &str, kind: &str) {
        let mut words = format!("\nip link add{link} name {}", quoted(name));
        // Writing to a string cannot fail.
        if let Some(mtu) = &device.mtu {
            let _ = write!(words, " mtu {}", mtu.value);
        }
        if let Some(mac) = &device.mac {
            let _ = write!(words, " address {}", mac.value);
        }
        self.line(format_args!("{words} type {kind}"));
    }

    fn bond(&mut self, bond: &DesiredBond) {
        let name = quoted(&bond.name.value);
        let mut kind = "bond".to_owned();
        // What names a port waits for it.
        let mut later = String::new();
        for option in &bond.options {
            let change = &option.value;
            let Some(words) = words(change) else {
                unspelt("ip", change, option.span, &mut self.report);
                continue;
            };
            let is_late = matches!(change.id, OptionId::Primary | OptionId::ActiveSlave);
            let text = if is_late { &mut later } else { &mut kind };
            let _ = write!(text, " {words}");
        }
        self.add(&bond.name.value, &bond.device, "", &kind);
        for port in &bond.ports {
            let port_name = quoted(&port.name.value);
            self.line(format_args!("ip link set dev {port_name} down"));
            self.line(format_args!("ip link set dev {port_name} master {name}"));
            let mut settings = String::new();
            for option in &port.options {
                let change = &option.value;
                let spec = change.id.spec();
                if spec.netlink.is_some() {
                    let _ = write!(settings, " {} {}", spec.iproute2, change.text());
                } else {
                    unspelt("ip", change, option.span, &mut self.report);
                }
            }
            if !settings.is_empty() {
                self.line(format_args!(
                    "ip link set dev {port_name} type bond_slave{settings}"
                ));
            }
        }
        if !later.is_empty() {
            self.line(format_args!("ip link set dev {name} type bond{later}"));
        }
        unselected("ip", bond, &mut self.report);
    }

    fn vlan(&mut self, vlan: &DesiredVlan) {
        let link = format!(" link {}", quoted(&vlan.link.value));
        let kind = format!("vlan id {}", vlan.id.value);
        self.add(&vlan.name.value, &vlan.device, &link, &kind);
    }

    fn bridge(&mut self, bridge: &DesiredBridge) {
        let mut kind = "bridge".to_owned();
        if let Some(stp) = &bridge.stp {
            let _ = write!(kind, " stp_state {}", u8::from(stp.value));
        }
        if let Some(delay) = &bridge.forward_delay {
            let _ = write!(kind, " forward_delay {}", u64::from(delay.value) * 100);
        }
        if let Some(aware) = &bridge.vlan_aware {
            let _ = write!(kind, " vlan_filtering {}", u8::from(aware.value));
        }
        if let Some(pvid) = &bridge.pvid {
            let _ = write!(kind, " vlan_default_pvid {}", pvid.value);
        }
        self.add(&bridge.name.value, &bridge.device, "", &kind);
    }

    fn bridge_ports(&mut self, bridge: &DesiredBridge) {
        let name = quoted(&bridge.name.value);
        for vids in bridge.vids.iter().filter(|_| bridge.ports.is_empty()) {
            let why = "the bridge tool names VLANs of ports, and the bridge has none";
            self.report.unsupported(vids.span, why, "add a port");
        }
        for port in &bridge.ports {
            let port_name = quoted(&port.name.value);
            self.line(format_args!("ip link set dev {port_name} master {name} up"));
            let own = if port.vids.is_empty() {
                &bridge.vids
            } else {
                &port.vids
            };
            for vids in own {
                self.line(format_args!(
                    "bridge vlan add dev {port_name} vid {}",
                    vids.value
                ));
            }
            if let Some(pvid) = &port.pvid {
                let id = pvid.value;
                self.line(format_args!(
                    "bridge vlan add dev {port_name} vid {id} pvid untagged"
                ));
            }
        }
    }

    /// Sets a device up, and gives it its addresses.
    fn device(&mut self, device_name: &str, device: &DeviceSettings) {
        let name = quoted(device_name);
        self.text.push('\n');
        if let Some(accept) = &device.accept_ra {
            let key = quoted(&format!("net/ipv6/conf/{device_name}/accept_ra"));
            self.line(format_args!(
                "sysctl -q -w {key}={}",
                u8::from(accept.value)
            ));
        }
        self.line(format_args!("ip link set dev {name} up"));
        let mut given = BTreeSet::new();
        for address in &device.addresses {
            if !given.insert(address.value) {
                // The kernel refuses it the second time, and the script would end there.
                self.report
                    .changed(address.span, "it is given twice, and written once");
                continue;
            }
            self.line(format_args!("ip address add {} dev {name}", address.value));
        }
        for (asked, flag) in [(&device.dhcp_v4, "-4"), (&device.dhcp_v6, "-6")] {
            if let Some(asked) = asked.as_ref().filter(|asked| asked.value) {
                self.line(format_args!("dhclient {flag} {name}"));
                self.report
                    .changed(asked.span, "ip cannot ask for addresses, and dhclient does");
            }
        }
        let v4 = device.gateway_v4.as_ref().map(|via| IpAddr::V4(via.value));
        let v6 = device.gateway_v6.as_ref().map(|via| IpAddr::V6(via.value));
        let gateways = v4.into_iter().chain(v6);
        let gateways = gateways.map(|via| Route::new(Network::default_like(via), Some(via)));
        for route in gateways.chain(device.routes.iter().map(|route| route.value)) {
            let family = if route.to.address.is_ipv4() {
                ""
            } else {
                "-6 "
            };
            let words = route_words::write(&route, &name);
            self.line(format_args!("ip {family}route add {words}"));
        }
        let servers: Vec<String> = device.dns.iter().map(|s| s.value.to_string()).collect();
        let domains: Vec<String> = device.search.iter().map(|d| quoted(&d.value)).collect();
        for (verb, words) in [("dns", servers), ("domain", domains)] {
            if !words.is_empty() {
                self.line(format_args!("resolvectl {verb} {name} {}", words.join(" ")));
            }
        }
        let spans = device.dns.iter().map(|server| server.span);
        for span in spans.chain(device.search.iter().map(|domain| domain.span)) {
            let what =
                "ip knows no name servers, and resolvectl sets them where systemd-resolved runs";
            self.report.changed(span, what);
        }
    }
}

/// An option as `ip` writes it; none for what it cannot say.
fn words(change: &OptionChange) -> Option<String> {
    let spec = change.id.spec();
    let text = change.text();
    (spec.netlink.is_some() && !text.is_empty())
        .then(|| format!("{} {}", spec.iproute2, quoted(&text)))
}
