//! The form of one entry of the option table, and how entries are found.

use super::table::{OPTIONS, OptionId, PortOptionId};
use super::words::{Mode, Word};

/// What an option belongs to, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OptionKey {
    /// An option of the bond.
    Bond(OptionId),
    /// An option of one port.
    Port(PortOptionId),
}

/// What values an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of these words, or its number.
    Words(&'static [Word]),
    /// A whole number in `min..=max`.
    Number {
        /// Smallest allowed.
        min: i64,
        /// Largest allowed.
        max: i64,
    },
    /// A whole number in `min..=max`, or a word, which is stored as 0 (below `min`).
    NumberOrWord {
        /// Smallest allowed; above 0.
        min: i64,
        /// Largest allowed.
        max: i64,
        /// The word.
        word: &'static str,
    },
    /// `0` or `1`; off/on, no/yes, false/true are read too.
    Flag,
    /// Name of a port; empty for none.
    PortName,
    /// IPv4 addresses, comma separated, at most this many.
    Ipv4List(usize),
    /// IPv6 addresses, comma separated, at most this many.
    Ipv6List(usize),
    /// A link-layer address; all zero for none.
    Mac,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nothing but itself.
    None,
    /// Thousandths of a second.
    Milliseconds,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// As written after a number; empty for none.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
        }
    }
}

/// State the bond must be in for an option to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changeable {
    /// At any time.
    Always,
    /// Only while the bond is set down.
    BondDown,
    /// Only while the bond has no ports.
    NoPorts,
    /// Only while the bond is set down and has no ports.
    BondDownNoPorts,
}

impl Changeable {
    /// In words, for help and messages.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Always => "at any time",
            Self::BondDown => "while the bond is down",
            Self::NoPorts => "while the bond has no ports",
            Self::BondDownNoPorts => "while the bond is down and has no ports",
        }
    }
}

/// A set of modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeSet(u8);

impl ModeSet {
    /// All seven.
    pub const ALL: Self = Self(0x7f);

    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The modes listed.
    pub const fn of(modes: &[Mode]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < modes.len() {
            bits |= 1 << modes[i].code();
            i += 1;
        }
        Self(bits)
    }

    /// The modes of both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All but the modes listed.
    pub const fn except(modes: &[Mode]) -> Self {
        Self(Self::ALL.0 & !Self::of(modes).0)
    }

    /// Whether a mode is in the set.
    pub const fn contains(self, mode: Mode) -> bool {
        self.0 & 1 << mode.code() != 0
    }

    /// The modes in order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Mode> {
        Mode::ALL
            .iter()
            .copied()
            .filter(move |mode| self.contains(*mode))
    }

    /// In words: `active-backup, balance-tlb`.
    pub fn words(self) -> String {
        self.iter().map(Mode::word).collect::<Vec<_>>().join(", ")
    }
}

/// A tool's way to write bonds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// systemd-networkd: `[Bond]` of a `.netdev` file (some keys in the port's `.network`).
    Networkd,
    /// netplan: `parameters:` of a bond.
    Netplan,
    /// NetworkManager: `[bond]` of a keyfile, `bond.options` of nmcli.
    NetworkManager,
    /// Debian's ifupdown with ifenslave.
    Ifenslave,
    /// ifupdown2 (Cumulus, Proxmox).
    Ifupdown2,
    /// RHEL: `BONDING_OPTS` of an ifcfg file.
    Ifcfg,
    /// nmstate: `link-aggregation: options:`.
    Nmstate,
    /// cloud-init network-config version 1: `params:`.
    CloudInit,
    /// Parameter of the kernel module.
    Module,
    /// `ip link ... type bond` (and `type bond_slave`).
    Iproute2,
}

/// The key of one option in each dialect. The first of each list is the one to write, the others are read as well; an
/// empty list means the dialect cannot say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spellings {
    /// See [`Dialect::Networkd`]. Keys that stand in the port's `.network` file are written `Network.KEY`.
    pub networkd: &'static [&'static str],
    /// See [`Dialect::Netplan`].
    pub netplan: &'static [&'static str],
    /// See [`Dialect::NetworkManager`].
    pub network_manager: &'static [&'static str],
    /// See [`Dialect::Ifenslave`].
    pub ifenslave: &'static [&'static str],
    /// See [`Dialect::Ifupdown2`].
    pub ifupdown2: &'static [&'static str],
    /// See [`Dialect::Ifcfg`].
    pub ifcfg: &'static [&'static str],
    /// See [`Dialect::Nmstate`].
    pub nmstate: &'static [&'static str],
    /// See [`Dialect::CloudInit`].
    pub cloud_init: &'static [&'static str],
    /// See [`Dialect::Module`].
    pub module: &'static [&'static str],
}

/// One option: everything that is to be known about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionSpec {
    /// Scope and identity.
    pub key: OptionKey,
    /// The driver's name (sysfs where it has a file there, else netlink), which is ours too; our own where the driver does
    /// not have the option.
    pub name: &'static str,
    /// Keyword of `ip link`.
    pub iproute2: &'static str,
    /// Other names that are read.
    pub aliases: &'static [&'static str],
    /// Values.
    pub kind: Kind,
    /// What a number counts.
    pub unit: Unit,
    /// The driver's default (ours, where it does not have the option), as text in our own notation; empty for none.
    pub default: &'static str,
    /// The default on our own engine, where that is another one.
    pub own_default: Option<&'static str>,
    /// Modes in which the driver lets it be set.
    pub modes: ModeSet,
    /// Modes in which our own engine has it besides.
    pub extended_to: ModeSet,
    /// Modes in which it has an effect, those of `extended_to` aside.
    pub acts_in: ModeSet,
    /// When it can be changed.
    pub changeable: Changeable,
    /// Number of its netlink attribute (`IFLA_BOND_*`, or `IFLA_BOND_SLAVE_*` for ports); `None` for an option that the
    /// driver does not have.
    pub netlink: Option<u16>,
    /// Oldest kernel whose driver has it, where it came after 4.0.
    pub since: Option<(u8, u8)>,
    /// What it depends on or drags along; empty for nothing.
    pub depends: &'static str,
    /// One sentence of help.
    pub help: &'static str,
    /// The dialects' keys.
    pub spellings: Spellings,
}

impl OptionSpec {
    /// Modes in which it can be set, by our own engine or the driver.
    pub const fn settable_in(&self, own_engine: bool) -> ModeSet {
        if own_engine {
            self.modes.with(self.extended_to)
        } else {
            self.modes
        }
    }

    /// Modes in which it has an effect, by our own engine or the driver.
    pub const fn acting_in(&self, own_engine: bool) -> ModeSet {
        if own_engine {
            self.acts_in.with(self.extended_to)
        } else {
            self.acts_in
        }
    }

    /// The default on our own engine, or the driver's.
    pub fn default_of(&self, own_engine: bool) -> &'static str {
        self.own_default
            .filter(|_| own_engine)
            .unwrap_or(self.default)
    }

    /// The keys a dialect reads, the one to write first; empty when it cannot say this option.
    pub const fn spelled(&self, dialect: Dialect) -> &[&'static str] {
        match dialect {
            Dialect::Networkd => self.spellings.networkd,
            Dialect::Netplan => self.spellings.netplan,
            Dialect::NetworkManager => self.spellings.network_manager,
            Dialect::Ifenslave => self.spellings.ifenslave,
            Dialect::Ifupdown2 => self.spellings.ifupdown2,
            Dialect::Ifcfg => self.spellings.ifcfg,
            Dialect::Nmstate => self.spellings.nmstate,
            Dialect::CloudInit => self.spellings.cloud_init,
            Dialect::Module => self.spellings.module,
            Dialect::Iproute2 => core::slice::from_ref(&self.iproute2),
        }
    }

    /// The values it takes, in words, for help and messages.
    pub fn allowed(&self) -> String {
        match self.kind {
            Kind::Words(words) => words
                .iter()
                .map(|w| format!("{} ({})", w.name, w.code))
                .collect::<Vec<_>>()
                .join(", "),
            Kind::Number { min, max } if min == max => min.to_string(),
            Kind::Number { min, max } => {
                let unit = self.unit.symbol();
                format!(
                    "{min} - {max}{}{unit}",
                    if unit.is_empty() { "" } else { " " }
                )
            }
            Kind::NumberOrWord { min, max, word } => format!("{min} - {max}, {word}"),
            Kind::Flag => "0, 1".to_owned(),
            Kind::PortName => "the name of a port, or nothing".to_owned(),
            Kind::Ipv4List(max) => format!("up to {max} IPv4 addresses, comma separated"),
            Kind::Ipv6List(max) => format!("up to {max} IPv6 addresses, comma separated"),
            Kind::Mac => "a unicast link-layer address, or 00:00:00:00:00:00 for none".to_owned(),
        }
    }

    /// Every name that is read for it.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name, self.iproute2]
            .into_iter()
            .chain(self.aliases.iter().copied())
    }
}

/// Finds an option by any of its names; `-` and `_` are the same, upper and lower case differ.
pub fn find(name: &str) -> Option<&'static OptionSpec> {
    OPTIONS
        .iter()
        .find(|spec| spec.names().any(|known| same_name(known, name)))
}

/// Finds an option by its exact key in a dialect.
pub fn find_in_dialect(dialect: Dialect, key: &str) -> Option<&'static OptionSpec> {
    OPTIONS
        .iter()
        .find(|spec| spec.spelled(dialect).contains(&key))
}

/// Equal, with `-` and `_` taken for the same.
fn same_name(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .all(|(a, b)| a == b || matches!((a, b), (b'-' | b'_', b'-' | b'_')))
}
