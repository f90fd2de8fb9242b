//! `/etc/modprobe.d/*.conf`: parameters of the bonding module.
//!
//! Facts this relies on (kmod 30, the driver of 6.1): only files that end in `.conf` are read, in order of their names;
//! a file hides those of its name in directories of lower rank; several `options` lines of one module are joined; in
//! names `-` and `_` are the same. Parameters are defaults for all bonds of the module; a parameter that the module does
//! not have is ignored with a line in the kernel's log. Bonds exist by `max_bonds` (`bond0`, `bond1`, ...), or once an
//! alias of the module is brought up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use oxbond_core::option::{Dialect, OptionChange, OptionKey, find_in_dialect};

use super::common::{name, number, option, set, set_option, unknown_key, unspelt};
use super::shell::{Grammar, Statement, Statements, Word};
use super::{Reading, Written};
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{DesiredBond, DesiredNetwork};
use crate::report::Report;
use crate::span::{FileId, Located, Sources, Span};

/// Where it is written to.
const HOME: &str = "/etc/modprobe.d/bonding.conf";

/// Its directories; the first has the highest rank.
const DIRECTORIES: [&str; 4] = [
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/lib/modprobe.d",
];

/// The module.
const MODULE: &str = "bonding";

/// Most bonds that `max_bonds` is taken to make.
const MOST_BONDS: u32 = 1024;

/// Parameters that are no options of a bond.
const OTHERS: [&str; 2] = ["max_bonds", "tx_queues"];

/// Reads all files of a set.
pub fn read(sources: &Sources) -> Reading {
    let mut report = Report::default();
    let module = Module::read(sources, |_| true, &mut report);
    let bonds: Vec<DesiredBond> = module
        .bonds()
        .into_iter()
        .map(|name| {
            let mut bond = DesiredBond::new(name);
            bond.options = module.options_of(&bond.name.value);
            bond
        })
        .collect();
    if bonds.is_empty() {
        module.note_no_bonds(&mut report);
    }
    Reading {
        network: DesiredNetwork {
            bonds,
            ..DesiredNetwork::default()
        },
        report,
        diagnostics: Vec::new(),
    }
}

/// Whether a file is one of modprobe's, going by its path.
pub(super) fn is_file(path: &str) -> bool {
    path.contains("modprobe") || path.ends_with(".conf")
}

/// What the files say about the module.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// Options by the name of the module or of an alias, with the place where the name is.
    options: BTreeMap<String, DesiredBond>,
    /// Names by which the module is loaded, in order.
    aliases: Vec<Located<String>>,
    /// The same, to look them up.
    known: BTreeSet<String>,
    /// Of these, those by which it is loaded once more.
    renamed: BTreeSet<String>,
    max_bonds: Option<Located<u32>>,
}

impl Module {
    /// Reads the files that are modprobe's.
    pub(super) fn read(
        sources: &Sources,
        is_file: impl Fn(&str) -> bool,
        report: &mut Report,
    ) -> Self {
        let mut files: Vec<(&str, usize, FileId)> = sources
            .iter()
            .filter(|(_, source)| is_file(&source.name))
            .map(|(file, source)| {
                let (directory, base) = source
                    .name
                    .rsplit_once('/')
                    .unwrap_or(("", source.name.as_str()));
                let rank = DIRECTORIES.iter().position(|d| directory.ends_with(d));
                (base, rank.unwrap_or(0), file)
            })
            .collect();
        files.sort();
        let mut module = Self::default();
        let mut before = None;
        let mut lines = Vec::new();
        for (base, rank, file) in files {
            let hidden = before.replace((base, rank));
            let hidden = hidden.is_some_and(|(name, higher)| name == base && higher < rank);
            let mut statements = Statements::new(&sources.get(file).text, Grammar::Plain);
            while let Some(line) = statements.next(|_| None) {
                let span = Span::new(file, line.range.clone());
                if hidden {
                    let why = "a file of the same name in a directory of higher rank hides it";
                    let way_out = "give one of them another name";
                    report.breach(Code::HiddenFile, span, why, way_out);
                } else if !base.ends_with(".conf") {
                    let why = "modprobe reads only files that end in .conf";
                    report.breach(Code::HiddenFile, span, why, "rename the file");
                } else {
                    lines.push((line, span));
                }
            }
        }
        // What an alias stands for is known wherever its line is.
        let (aliases, others): (Vec<_>, Vec<_>) = lines
            .into_iter()
            .partition(|(line, _)| matches!(line.words[0].text.as_str(), "alias" | "install"));
        for (line, span) in aliases.into_iter().chain(others) {
            module.line(&line, span, report);
        }
        module.note_lost_options(report);
        module.note_stray_bond(report);
        module
    }

    /// Names of the bonds that it makes, or that its aliases stand for.
    pub(super) fn bonds(&self) -> Vec<Located<String>> {
        let made = self.max_bonds.iter().flat_map(|most| {
            (0..most.value).map(|number| Located::new(format!("bond{number}"), most.span))
        });
        let mut bonds: Vec<Located<String>> = made.collect();
        let made: BTreeSet<String> = bonds.iter().map(|bond| bond.value.clone()).collect();
        let others = self
            .aliases
            .iter()
            .filter(|alias| !made.contains(&alias.value));
        bonds.extend(others.cloned());
        bonds
    }

    /// What a bond has when nothing is said of it elsewhere: the options of its alias, then those of the module.
    pub(super) fn options_of(&self, bond: &str) -> Vec<Located<OptionChange>> {
        let own = self.options.get(bond);
        let mut options: Vec<Located<OptionChange>> =
            own.map_or_else(Vec::new, |own| own.options.clone());
        let defaults = self.options.get(MODULE).map(|module| &module.options);
        for option in defaults.into_iter().flatten() {
            if !options
                .iter()
                .any(|known| known.value.id == option.value.id)
            {
                options.push(option.clone());
            }
        }
        options
    }

    /// Notes that defaults reach no bond.
    pub(super) fn note_no_bonds(&self, report: &mut Report) {
        for option in self.options.values().flat_map(|named| &named.options) {
            let why = "parameters are defaults for bonds, and no line makes one";
            let way_out =
                "write max_bonds=1 or an alias line, or read it with the files that make the bonds";
            report.unsupported(option.span, why, way_out);
        }
    }

    fn line(&mut self, line: &Statement, span: Span, report: &mut Report) {
        let words = line.words.as_slice();
        let is_module = |word: &Word| word.text == MODULE;
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        if line.is_open {
            return report.unsupported(span, "a quote in it is not closed", "close it");
        }
        match texts.as_slice() {
            ["alias", alias, MODULE] => self.alias(alias, span, report),
            ["options", owner, ..] if self.is_ours(owner) => {
                self.parameters(owner, span, &words[2..], report);
            }
            ["install", _, command @ ..]
                if command.contains(&MODULE) && command.contains(&"-o") =>
            {
                // The way of old to load the module once for each bond.
                let named = texts.iter().position(|word| *word == "-o");
                let Some(bond) = named.and_then(|at| texts.get(at + 1)) else {
                    return report.unsupported(
                        span,
                        "-o names nothing",
                        "write its name behind it",
                    );
                };
                self.renamed.insert((*bond).to_owned());
                self.alias(bond, span, report);
                let parameters: Vec<Word> = words
                    .iter()
                    .skip(2)
                    .filter(|word| word.text.contains('='))
                    .cloned()
                    .collect();
                self.parameters(bond, span, &parameters, report);
            }
            ["install" | "remove" | "softdep" | "blacklist", ..]
                if words.iter().skip(1).any(is_module) =>
            {
                let what = "it says when the kernel's module is loaded, which plays no part here";
                report.changed(span, what);
            }
            [
                "alias" | "options" | "install" | "remove" | "softdep" | "blacklist",
                ..,
            ] if texts.len() > 1 => {
                let why = format!(
                    "{} is not the bonding module",
                    texts[texts.len().min(2) - 1]
                );
                report.unsupported(span, why, "leave it to modprobe");
            }
            ["include" | "config", ..] => {
                report.unsupported(span, "modprobe ignores it since 2011", "remove it");
            }
            [word, ..] => {
                let known = [
                    "alias",
                    "options",
                    "install",
                    "remove",
                    "softdep",
                    "blacklist",
                ];
                let meant = crate::suggest::closest(word, known).filter(|meant| meant != word);
                report.unknown(span, meant.map(str::to_owned));
            }
            [] => {}
        }
    }

    /// Whether `options` of this name are meant for a bond: the module's own, an alias', or those of what is called like
    /// a bond.
    fn is_ours(&self, owner: &str) -> bool {
        owner == MODULE
            || self.known.contains(owner)
            || owner
                .strip_prefix("bond")
                .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
    }

    fn alias(&mut self, alias: &str, span: Span, report: &mut Report) {
        // What the kernel asks for when a device of this name is looked for.
        let alias = alias.strip_prefix("netdev-").unwrap_or(alias);
        if alias.contains(['*', '?', '[']) {
            let why = format!("{alias:?} is a pattern, and bonds are named one by one");
            return report.unsupported(span, why, "write one line for each bond");
        }
        if let Some(alias) = name(alias, span, report) {
            report.mapped(span);
            if self.known.insert(alias.value.clone()) {
                self.aliases.push(alias);
            }
        }
    }

    fn parameters(&mut self, owner: &str, line: Span, words: &[Word], report: &mut Report) {
        if words.is_empty() {
            return report.unsupported(line, "it names no parameter", "write it like mode=1");
        }
        let known = self.options.entry(owner.to_owned());
        let target =
            known.or_insert_with(|| DesiredBond::new(Located::new(owner.to_owned(), line)));
        for word in words {
            let span = Span::new(line.file, word.range.clone());
            let Some((key, value)) = word.text.split_once('=') else {
                let way_out = "write it like miimon=100, without blanks around =";
                report.unsupported(span, "it is no NAME=VALUE", way_out);
                continue;
            };
            let key = key.replace('-', "_");
            match find_in_dialect(Dialect::Module, &key).map(|spec| spec.key) {
                Some(OptionKey::Bond(id)) => {
                    if let Some(change) = option(id, value, span, report) {
                        set_option(target, change, report);
                    }
                }
                _ if key == "max_bonds" && owner == MODULE => {
                    if let Some(most) = number(value, 0..=MOST_BONDS, span, report) {
                        set(&mut self.max_bonds, most, report);
                    }
                }
                _ if OTHERS.contains(&key.as_str()) => {
                    let why = format!("{key} is not taken over");
                    report.unsupported(span, why, "do without it");
                }
                // What a bond has, though the module does not.
                _ if find_in_dialect(Dialect::Ifcfg, &key).is_some() => {
                    let why = format!("the module has no parameter {key}, and ignores it");
                    let way_out = "set it on the bond: BONDING_OPTS, or ip link set type bond";
                    report.breach(Code::ModuleParameter, span, why, way_out);
                }
                _ => unknown_key(&key, span, Dialect::Module, &OTHERS, report),
            }
        }
    }

    /// Notes that loading the module makes a bond, if nobody says whether it should.
    fn note_stray_bond(&self, report: &mut Report) {
        let options = self.options.get(MODULE).map(|module| &module.options);
        let Some(first) = options.and_then(|options| options.first()) else {
            return;
        };
        if self.max_bonds.is_none() {
            let message = "loading the module makes bond0, whatever else does";
            report.finding(
                Diagnostic::new(Code::StrayBond0, first.span, message)
                    .with_help("write max_bonds=0 beside it, or max_bonds=1 if bond0 is wanted so"),
            );
        }
    }

    /// Notes options of names that no alias gives to the module, and those that only the first bond would have.
    fn note_lost_options(&mut self, report: &mut Report) {
        let known = &self.known;
        self.options.retain(|owner, options| {
            let keep = owner == MODULE || known.contains(owner);
            for option in options.options.iter().filter(|_| !keep) {
                let why = format!("no line makes {owner} an alias of the bonding module");
                report.unsupported(option.span, why, format!("write alias {owner} {MODULE}"));
            }
            keep
        });
        let once = |alias: &&Located<String>| !self.renamed.contains(&alias.value);
        for alias in self.aliases.iter().filter(once).skip(1) {
            for option in self
                .options
                .get(&alias.value)
                .iter()
                .flat_map(|own| &own.options)
            {
                let what = "the module is loaded once, and hears the options of the first alias; here each bond has \
                            its own";
                report.changed(option.span, what);
            }
        }
    }
}

/// Writes one file.
pub fn write(network: &DesiredNetwork) -> Written {
    let mut report = Report::default();
    let options: Vec<Vec<String>> = network
        .bonds
        .iter()
        .map(|bond| bond_options(bond, &mut report))
        .collect();
    let is_counted = network.bonds.iter().enumerate().all(|(number, bond)| {
        bond.name.value == format!("bond{number}") && options[number] == options[0]
    });
    let mut text = String::new();
    // Writing to a string cannot fail.
    if is_counted && !options.is_empty() {
        let _ = write!(text, "options {MODULE} max_bonds={}", options.len());
        for option in &options[0] {
            let _ = write!(text, " {option}");
        }
        text.push('\n');
    } else {
        for (bond, options) in network.bonds.iter().zip(&options) {
            let name = &bond.name.value;
            let _ = writeln!(text, "alias {name} {MODULE}");
            if !options.is_empty() {
                let _ = writeln!(text, "options {name} {}", options.join(" "));
            }
            let what = "the module makes it only for a tool that asks for it by this name, with the options of the \
                        first one asked for";
            report.changed(bond.name.span, what);
        }
    }
    let vlans = network.vlans.iter().map(|vlan| &vlan.name);
    for device in vlans.chain(network.bridges.iter().map(|bridge| &bridge.name)) {
        let why = format!(
            "modprobe.d speaks of the bonding module alone, not of {}",
            device.value
        );
        report.unsupported(device.span, why, "write it in another dialect");
    }
    let mut written = Written::one(HOME, 0o644, text, report);
    written.files.retain(|file| !file.text.is_empty());
    written
}

/// The parameters of a bond; notes what is none.
fn bond_options(bond: &DesiredBond, report: &mut Report) -> Vec<String> {
    let mut options = Vec::new();
    for option in &bond.options {
        let change = &option.value;
        match change.id.spec().spelled(Dialect::Module).first() {
            Some(key) => options.push(format!("{key}={}", change.text())),
            None => unspelt("the bonding module", change, option.span, report),
        }
    }
    let ports = bond.ports.iter().map(|port| port.name.span);
    for span in ports.chain(bond.selectors.iter().map(|selector| selector.span)) {
        let why = "parameters of a module name no ports";
        let way_out = "write the ports in another dialect, or ip link set PORT master BOND";
        report.unsupported(span, why, way_out);
    }
    let device = &bond.device;
    let link = device.mtu.iter().map(|mtu| mtu.span);
    let link = link.chain(device.mac.iter().map(|mac| mac.span));
    for span in link.chain(device.layer3_places()) {
        let why = "a module has parameters for bonding alone";
        report.unsupported(span, why, "write it in another dialect");
    }
    options
}
