//! `oxbond lint`: everything that breaks a rule, in files of any dialects, in one pass.
//!
//! ```text
//!   files ──by dialect──► Reading ──► what the reader met: findings in its report, unknown keys, broken grammar
//!                            └──► network ──► rules on bonds, rules on what stands on them
//!   all readings ──► rules between dialects                       all ──► less what a comment allows, in order of place
//! ```
//!
//! Only readers see a file's own words, so what is wrong with those they put into their report
//! ([`Report::finding`](crate::report::Report::finding)); what is true in every dialect is judged here, on the model.

mod bonds;
mod stack;

use core::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::check;
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::dialect::{Dialect, Reading};
use crate::model::{DesiredBond, DesiredBridge, DesiredNetwork, DesiredVlan};
use crate::report::Fate;
use crate::span::{FileId, Located, Sources, Span};

/// What is known of the machine and its files besides their text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The network interfaces that are there; nothing where that is not known, so that rules about them are silent.
    pub interfaces: Option<BTreeMap<String, Interface>>,
    /// Permission bits of files.
    pub modes: BTreeMap<FileId, u32>,
}

/// A network interface that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its speed in Mb/s, where it tells one. Without a link it does not.
    pub speed: Option<u32>,
    /// Whether it has a link, which makes a missing speed a lasting one.
    pub carrier: bool,
}

/// Rules whose breach explains that of another at the same place, which is not told then.
const EXPLAINS: [(Code, Code); 3] = [
    (Code::InlineComment, Code::WrongValue),
    (Code::NumberForWord, Code::WrongValue),
    (Code::SecondsForMilliseconds, Code::SlowMonitor),
];

/// A network with what the rules look up in it.
struct View<'n> {
    network: &'n DesiredNetwork,
    dialect: Dialect,
    facts: &'n Facts,
    /// The bond of each port.
    bond_of: HashMap<&'n str, &'n DesiredBond>,
    /// The bridge of each port of one; the first, where there are two.
    bridge_of: HashMap<&'n str, &'n DesiredBridge>,
    /// The VLANs on each device.
    vlans_on: HashMap<&'n str, Vec<&'n DesiredVlan>>,
    found: Vec<Diagnostic>,
}

impl<'n> View<'n> {
    fn new(network: &'n DesiredNetwork, dialect: Dialect, facts: &'n Facts) -> Self {
        let mut view = Self {
            network,
            dialect,
            facts,
            bond_of: HashMap::new(),
            bridge_of: HashMap::new(),
            vlans_on: HashMap::new(),
            found: Vec::new(),
        };
        for bond in &network.bonds {
            for port in &bond.ports {
                view.bond_of.entry(&port.name.value).or_insert(bond);
            }
        }
        for bridge in &network.bridges {
            for port in &bridge.ports {
                view.bridge_of.entry(&port.name.value).or_insert(bridge);
            }
        }
        for vlan in &network.vlans {
            view.vlans_on
                .entry(&vlan.link.value)
                .or_default()
                .push(vlan);
        }
        view
    }

    fn find(&mut self, finding: Diagnostic) {
        self.found.push(finding);
    }
}

/// Lints files, each in its dialect. Files of one dialect belong together. What a comment in the files allows is left
/// out; the rest is in order of place, what has no place first.
pub fn lint(
    sources: &Sources,
    dialects: &BTreeMap<FileId, Dialect>,
    facts: &Facts,
) -> Vec<Diagnostic> {
    let kinds: BTreeSet<Dialect> = dialects.values().copied().collect();
    let mut found = Vec::new();
    let mut readings = Vec::new();
    for dialect in kinds {
        let files = sources.part(|file| dialects.get(&file) == Some(&dialect));
        let reading = dialect.read(&files);
        found.extend(of_reading(&reading, dialect, &files));
        found.extend(of_network(&reading, dialect, facts));
        found.extend(readable_by_all(dialect, &files, facts));
        readings.push((dialect, reading));
    }
    two_managers(&readings, &mut found);
    settle(found, sources)
}

/// What a reader met.
fn of_reading(reading: &Reading, dialect: Dialect, sources: &Sources) -> Vec<Diagnostic> {
    let mut found = reading.diagnostics.clone();
    found.extend(reading.report.findings().iter().cloned());
    for note in reading.report.notes() {
        let Fate::Unknown { suggestion } = &note.fate else {
            continue;
        };
        let text = &sources.get(note.span.file).text[note.span.range()];
        let end = text
            .find(|c: char| c.is_whitespace() || matches!(c, '=' | ':'))
            .unwrap_or(text.len());
        let key = &text[..end];
        let span = Span::new(note.span.file, note.span.start..note.span.start + end);
        let mut finding =
            Diagnostic::new(Code::UnknownKey, span, format!("nobody knows {key:?} here"));
        // Only netplan refuses them; elsewhere it may be a key that we do not know yet.
        if dialect != Dialect::Netplan {
            finding.severity = Severity::Warning;
        }
        found.push(match suggestion {
            Some(meant) => finding
                .with_help(format!("did you mean {meant}?"))
                .with_fix(span, meant.as_str()),
            None => finding.with_help("correct it, or remove the line"),
        });
    }
    found
}

/// What is true in every dialect.
fn of_network(reading: &Reading, dialect: Dialect, facts: &Facts) -> Vec<Diagnostic> {
    let mut network = reading.network.clone();
    if dialect.is_own() {
        network.bonds.iter_mut().for_each(check::fill_in_monitor);
    }
    let network = &network;
    let mut view = View::new(network, dialect, facts);
    check::judge(network, dialect, &mut view.found);
    bonds::rules(&mut view);
    stack::rules(&mut view);
    for (mtu, port) in reading.report.port_mtus() {
        let Some(bond) = view.bond_of.get(port.as_str()) else {
            continue;
        };
        let (name, given) = (&bond.name.value, bond.device.mtu.as_ref());
        if given.is_some_and(|given| given.value == mtu.value) {
            continue;
        }
        let of_bond = given.map_or_else(|| "none".to_owned(), |mtu| mtu.value.to_string());
        let message = format!(
            "{port} is given an MTU of {}, and its bond {name} {of_bond}",
            mtu.value
        );
        let finding = Diagnostic::new(Code::PortMtu, mtu.span, message);
        view.find(finding.with_help(format!("write it for {name}, whose ports take it")));
    }
    view.found
}

/// Files with secrets that everyone may read.
fn readable_by_all(dialect: Dialect, sources: &Sources, facts: &Facts) -> Vec<Diagnostic> {
    if !matches!(dialect, Dialect::Netplan | Dialect::Keyfile) {
        return Vec::new();
    }
    let open = |file: &FileId| facts.modes.get(file).is_some_and(|mode| mode & 0o077 != 0);
    sources
        .iter()
        .filter(|(file, _)| open(file))
        .map(|(file, source)| {
            let mode = facts.modes.get(&file).copied().unwrap_or_default() & 0o7777;
            let message = format!(
                "{} may be read by others than its owner (mode {mode:o})",
                source.name
            );
            Diagnostic::new(Code::WorldReadable, Span::new(file, 0..0), message)
                .with_help(format!("chmod 600 {}", source.name))
        })
        .collect()
}

/// Devices that files of one dialect set up.
fn set_up(reading: &Reading) -> impl Iterator<Item = &Located<String>> {
    let network = &reading.network;
    let bonds = network.bonds.iter().flat_map(|bond| {
        core::iter::once(&bond.name).chain(bond.ports.iter().map(|port| &port.name))
    });
    let others = network.vlans.iter().map(|vlan| &vlan.name);
    let others = others.chain(network.bridges.iter().map(|bridge| &bridge.name));
    bonds.chain(others).chain(reading.report.devices())
}

/// Another tool whose files set up devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// The dialect of its files.
    pub dialect: Dialect,
    /// The devices, in the order that was asked for.
    pub devices: Vec<String>,
    /// The first place where it names one of them.
    pub span: Span,
}

/// Which other tools set up any of these devices by their names, by their files. Parameters of the kernel's module are no
/// tool.
pub fn managers(
    sources: &Sources,
    dialects: &BTreeMap<FileId, Dialect>,
    devices: &[String],
) -> Vec<Manager> {
    let kinds: BTreeSet<Dialect> = dialects.values().copied().collect();
    let tools = kinds
        .into_iter()
        .filter(|dialect| !dialect.is_own() && *dialect != Dialect::Modprobe);
    let manager = |dialect: Dialect| {
        let reading = dialect.read(&sources.part(|file| dialects.get(&file) == Some(&dialect)));
        let named = |device: &&String| set_up(&reading).any(|name| name.value == **device);
        let mut places = set_up(&reading).filter(|name| devices.contains(&name.value));
        Some(Manager {
            dialect,
            span: places.next()?.span,
            devices: devices.iter().filter(named).cloned().collect(),
        })
    };
    tools.filter_map(manager).collect()
}

/// Interfaces that files of two dialects set up. Files of netplan and those it makes are told apart by their names.
fn two_managers(readings: &[(Dialect, Reading)], found: &mut Vec<Diagnostic>) {
    let mut first: HashMap<&str, (Dialect, Span)> = HashMap::new();
    for (dialect, reading) in readings {
        for name in set_up(reading) {
            let (other, span) = *first
                .entry(name.value.as_str())
                .or_insert((*dialect, name.span));
            if other != *dialect {
                let message = format!(
                    "{} is set up by files of {} and of {}",
                    name.value,
                    other.name(),
                    dialect.name()
                );
                found.push(
                    Diagnostic::new(Code::TwoManagers, name.span, message)
                        .with_related(span, format!("by {} here", other.name()))
                        .with_help("leave it to one of them"),
                );
            }
        }
    }
}

/// Takes out what is allowed and what is told twice, and puts the rest in order.
fn settle(mut found: Vec<Diagnostic>, sources: &Sources) -> Vec<Diagnostic> {
    let mut allowed: HashMap<FileId, Allowed> = HashMap::new();
    let mut seen: HashSet<(Code, Option<Span>)> = HashSet::new();
    for finding in &found {
        let explained = EXPLAINS.iter().filter(|(by, _)| *by == finding.code);
        seen.extend(explained.map(|(_, code)| (*code, finding.span)));
    }
    found.retain(|finding| {
        let allowed = finding.span.is_some_and(|span| {
            let source = sources.get(span.file);
            let line = source.position(span.start).line;
            allowed
                .entry(span.file)
                .or_insert_with(|| Allowed::read(&source.text))
                .contains(finding.code, line)
        });
        !allowed && seen.insert((finding.code, finding.span))
    });
    found.sort_by_key(|finding| {
        let place = finding
            .span
            .map(|span| (span.file, span.start, Reverse(span.end)));
        (place, finding.severity)
    });
    found
}

/// What comments of a file allow.
#[derive(Debug, Default)]
struct Allowed {
    /// Everywhere.
    file: HashSet<Code>,
    /// In one line, counted from 1.
    lines: HashSet<(usize, Code)>,
}

impl Allowed {
    /// `# oxbond: allow CODE ...` is for its own line, or for the next one that is no comment if it has a line for
    /// itself; `# oxbond: allow-file CODE ...` for the file. `;` begins a comment too.
    fn read(text: &str) -> Self {
        let mut allowed = Self::default();
        let mut pending: Vec<Code> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            let own = line.starts_with(['#', ';']);
            if let Some((_, rest)) = line.split_once("oxbond: allow") {
                let (whole_file, words) = match rest.strip_prefix("-file") {
                    Some(words) => (true, words),
                    None => (false, rest),
                };
                let codes = words.split([' ', ',', '\t']).filter_map(Code::find);
                if whole_file {
                    allowed.file.extend(codes);
                } else if own {
                    pending.extend(codes);
                } else {
                    allowed.lines.extend(codes.map(|code| (index + 1, code)));
                }
            }
            if !own && !line.is_empty() {
                allowed
                    .lines
                    .extend(pending.drain(..).map(|code| (index + 1, code)));
            }
        }
        allowed
    }

    fn contains(&self, code: Code, line: usize) -> bool {
        self.file.contains(&code) || self.lines.contains(&(line, code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_allow_codes() {
        let allowed = Allowed::read(
            "# oxbond: allow no-monitor, one-port\n; more\n\na\nb: 1 # oxbond: allow adapted\n# oxbond: allow-file lacp-slow\nc\n",
        );
        for (code, line, is) in [
            (Code::NoMonitor, 4, true),
            (Code::OnePort, 4, true),
            (Code::NoMonitor, 5, false),
            (Code::Adapted, 5, true),
            (Code::Adapted, 7, false),
            (Code::LacpSlow, 4, true),
        ] {
            assert_eq!(allowed.contains(code, line), is, "{code} {line}");
        }
    }
}
