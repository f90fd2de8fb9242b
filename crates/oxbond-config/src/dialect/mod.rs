//! One file per dialect. A dialect turns the text of files into what is wanted, with the fate of every line, and what
//! is wanted into files; it never touches the system, and what is true of every dialect is checked in
//! [`check`](crate::check).
//!
//! ```text
//!   Sources ──read──► Reading { network, report, diagnostics }      DesiredNetwork ──write──► Written { files, report }
//! ```
//!
//! Our own dialect, [`toml`], is strict: what another tool's reader would give a fate, it gives a diagnostic too.

pub mod cloudinit;
mod common;
pub mod ifcfg;
pub mod ifupdown;
mod ini;
pub mod iproute;
pub mod keyfile;
pub mod modprobe;
pub mod netplan;
pub mod networkd;
pub mod nmcli;
pub mod nmstate;
mod route_words;
mod script;
mod shell;
pub mod toml;
mod yaml;

use oxbond_core::engine::{Engine, EngineChoice};
use oxbond_core::option::{Dialect as Spelling, OptionChange, OptionId};

pub(crate) use self::common::mode;
use self::ifupdown::Flavour;
use self::ini::Grammar;
use crate::check::fill_in_monitor;
use crate::diagnostic::Diagnostic;
use crate::model::DesiredNetwork;
use crate::report::{LineReport, Report};
use crate::span::{Located, Sources};

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What is wanted.
    pub network: DesiredNetwork,
    /// What became of each line.
    pub report: Report,
    /// Why a file could not be read as a whole (its grammar is broken).
    pub diagnostics: Vec<Diagnostic>,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The files, in the order in which the dialect's own tool reads them.
    pub files: Vec<OutputFile>,
    /// What the dialect cannot say, or says otherwise, at the places the values came from. What is not mentioned here
    /// was written as it is.
    pub report: Report,
}

impl Written {
    /// One file and what was told while it was written.
    fn one(path: &str, mode: u32, text: String, report: Report) -> Self {
        let path = path.to_owned();
        Self {
            files: vec![OutputFile { path, mode, text }],
            report,
        }
    }
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFile {
    /// Where the dialect's own tool looks for it.
    pub path: String,
    /// Permission bits it must have.
    pub mode: u32,
    /// Its whole text.
    pub text: String,
}

/// A dialect: our own, or that of another tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// Our own TOML.
    Toml,
    /// systemd-networkd.
    Networkd,
    /// Debian's ifupdown with ifenslave.
    Ifupdown,
    /// ifupdown2, as Cumulus and Proxmox have it.
    Ifupdown2,
    /// netplan.
    Netplan,
    /// NetworkManager's keyfiles.
    Keyfile,
    /// RHEL's and SUSE's `ifcfg-*`, with files of modprobe.d beside them.
    Ifcfg,
    /// Parameters of the kernel's module in modprobe.d.
    Modprobe,
    /// nmstate's states.
    Nmstate,
    /// Lines of iproute2.
    Iproute,
    /// cloud-init's network configuration.
    CloudInit,
    /// Lines of NetworkManager's `nmcli`.
    Nmcli,
}

impl Dialect {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::Toml,
        Self::Networkd,
        Self::Ifupdown,
        Self::Ifupdown2,
        Self::Netplan,
        Self::Keyfile,
        Self::Ifcfg,
        Self::Modprobe,
        Self::Nmstate,
        Self::Iproute,
        Self::CloudInit,
        Self::Nmcli,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Toml => "oxbond",
            Self::Networkd => "networkd",
            Self::Ifupdown => "ifupdown",
            Self::Ifupdown2 => "ifupdown2",
            Self::Netplan => "netplan",
            Self::Keyfile => "nm",
            Self::Ifcfg => "ifcfg",
            Self::Modprobe => "modprobe",
            Self::Nmstate => "nmstate",
            Self::Iproute => "iproute2",
            Self::CloudInit => "cloud-init",
            Self::Nmcli => "nmcli",
        }
    }

    /// The dialect with this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|dialect| dialect.name() == name)
    }

    /// Whether it is ours. Bonds of the others are the kernel driver's.
    pub const fn is_own(self) -> bool {
        matches!(self, Self::Toml)
    }

    /// The key to write for an option of bonds.
    pub fn key(self, id: OptionId) -> &'static str {
        self.spelled(id).unwrap_or_else(|| id.name())
    }

    /// Whether it has a key for an option of bonds.
    pub fn knows(self, id: OptionId) -> bool {
        self.spelled(id).is_some()
    }

    fn spelled(self, id: OptionId) -> Option<&'static str> {
        let spelling = match self {
            Self::Toml => return Some(id.name()),
            Self::Networkd => Spelling::Networkd,
            Self::Ifupdown => Spelling::Ifenslave,
            Self::Ifupdown2 => Spelling::Ifupdown2,
            Self::Netplan => Spelling::Netplan,
            Self::Keyfile | Self::Nmcli => Spelling::NetworkManager,
            Self::Ifcfg => Spelling::Ifcfg,
            Self::Modprobe => Spelling::Module,
            Self::Nmstate => Spelling::Nmstate,
            // It can say what the driver has.
            Self::Iproute => id.spec().netlink.map(|_| Spelling::Iproute2)?,
            Self::CloudInit => Spelling::CloudInit,
        };
        id.spec().spelled(spelling).first().copied()
    }

    /// Reads files of this dialect. All that belong together must be among the sources: what they mean depends on
    /// their names and order.
    pub fn read(self, sources: &Sources) -> Reading {
        let mut reading = match self {
            Self::Toml => toml::read(sources),
            Self::Networkd => networkd::read(sources),
            Self::Ifupdown => ifupdown::read(Flavour::Classic, sources),
            Self::Ifupdown2 => ifupdown::read(Flavour::Second, sources),
            Self::Netplan => netplan::read(sources),
            Self::Keyfile => keyfile::read(sources),
            Self::Ifcfg => ifcfg::read(sources),
            Self::Modprobe => modprobe::read(sources),
            Self::Nmstate => nmstate::read(sources),
            Self::Iproute => iproute::read(sources),
            Self::CloudInit => cloudinit::read(sources),
            Self::Nmcli => nmcli::read(sources),
        };
        leave_out_what_none_can_write(&mut reading);
        reading
    }

    /// Writes this dialect.
    pub fn write(self, network: &DesiredNetwork) -> Written {
        let mut written = match self {
            Self::Toml => toml::write(network),
            Self::Networkd => networkd::write(network),
            Self::Ifupdown => ifupdown::write(Flavour::Classic, network),
            Self::Ifupdown2 => ifupdown::write(Flavour::Second, network),
            Self::Netplan => netplan::write(network),
            Self::Keyfile => keyfile::write(network),
            Self::Ifcfg => ifcfg::write(network),
            Self::Modprobe => modprobe::write(network),
            Self::Nmstate => nmstate::write(network),
            Self::Iproute => iproute::write(network),
            Self::CloudInit => cloudinit::write(network),
            Self::Nmcli => nmcli::write(network),
        };
        if !self.is_own() {
            self.tell_of_engines(network, &mut written.report);
        }
        written
    }

    /// What becomes of the engines that were asked for: other tools have the kernel's driver alone.
    fn tell_of_engines(self, network: &DesiredNetwork, report: &mut Report) {
        for asked in network.bonds.iter().filter_map(|bond| bond.engine.as_ref()) {
            match asked.value {
                EngineChoice::Only(Engine::Kernel) => {}
                EngineChoice::Only(Engine::Ebpf) => report.unsupported(
                    asked.span,
                    format!("bonds of {} are the kernel driver's", self.name()),
                    "leave it out, or keep the bond in a file of ours",
                ),
                EngineChoice::Auto => {
                    let what = format!("bonds of {} are always the kernel driver's", self.name());
                    report.changed(asked.span, what);
                }
            }
        }
    }

    /// Whether a line (without blanks around it) is a comment.
    pub fn is_comment(self, line: &str) -> bool {
        match self {
            Self::Networkd => Grammar::Systemd.is_comment(line),
            Self::Keyfile => Grammar::Keyfile.is_comment(line),
            Self::Toml
            | Self::Ifupdown
            | Self::Ifupdown2
            | Self::Netplan
            | Self::Ifcfg
            | Self::Modprobe
            | Self::Nmstate
            | Self::Iproute
            | Self::CloudInit
            | Self::Nmcli => ifupdown::is_comment(line),
        }
    }

    /// The fate of every line of the sources, from a report on them.
    pub fn lines(self, report: &Report, sources: &Sources) -> Vec<LineReport> {
        report.lines(sources, |line| self.is_comment(line))
    }
}

/// Leaves out what most dialects have no way to write: options set to nothing (an empty list, no name), which are then as
/// when nothing is said; and search domains that are none, with the signs in them that part one domain from the next
/// elsewhere.
fn leave_out_what_none_can_write(reading: &mut Reading) {
    let Reading {
        network, report, ..
    } = reading;
    for bond in &mut network.bonds {
        let is_something = |option: &Located<OptionChange>| !option.value.text().is_empty();
        bond.options.retain(is_something);
    }
    let bonds = network.bonds.iter_mut().map(|bond| &mut bond.device);
    let vlans = network.vlans.iter_mut().map(|vlan| &mut vlan.device);
    let bridges = network.bridges.iter_mut().map(|bridge| &mut bridge.device);
    for device in bonds.chain(vlans).chain(bridges) {
        // networkd has names behind a tilde.
        let fits = |c: char| c.is_alphanumeric() || "-._~".contains(c);
        let is_none = |domain: &mut Located<String>| !domain.value.chars().all(fits);
        for domain in device.search.extract_if(.., is_none) {
            let why = format!("{:?} is no domain", domain.value);
            report.unsupported(domain.span, why, "correct it, or do without");
        }
    }
}

/// Files of one dialect in another, and what became of each of their lines on both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// The files to write.
    pub files: Vec<OutputFile>,
    /// The fate of every line that was read.
    pub lines: Vec<LineReport>,
    /// Why files could not be read at all.
    pub diagnostics: Vec<Diagnostic>,
}

/// Converts files of one dialect to another.
pub fn convert(from: Dialect, to: Dialect, sources: &Sources) -> Conversion {
    let Reading {
        mut network,
        mut report,
        diagnostics,
    } = from.read(sources);
    if from == Dialect::Toml {
        // What we promise where nothing was said, others do not.
        network.bonds.iter_mut().for_each(fill_in_monitor);
    }
    let written = to.write(&network);
    report.extend(written.report);
    Conversion {
        files: written.files,
        lines: from.lines(&report, sources),
        diagnostics,
    }
}
