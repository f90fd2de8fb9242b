//! Why an option was refused: the option, the value, the cause, the way out, and what the driver would answer.

use core::fmt;

use super::spec::OptionSpec;
use super::table::OPTIONS;
use super::words::Mode;

/// What the kernel's driver answers in the same case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverError {
    /// Positive errno number.
    pub errno: i32,
    /// The text of its extended acknowledgement.
    pub text: &'static str,
}

impl DriverError {
    /// The mode does not have the option.
    pub const MODE: Self = Self {
        errno: 13,
        text: "option not supported in mode",
    };
    /// The bond must be empty.
    pub const HAS_PORTS: Self = Self {
        errno: 39,
        text: "unable to set option because the bond device has slaves",
    };
    /// The bond must be down.
    pub const UP: Self = Self {
        errno: 16,
        text: "unable to set option because the bond is up",
    };
    /// The value is not one of the option.
    pub const INVALID: Self = Self {
        errno: 22,
        text: "invalid option value",
    };
    /// The delay has nothing to count with.
    pub const NO_MIIMON: Self = Self {
        errno: 1,
        text: "Operation not permitted",
    };
    /// Both monitors asked for.
    pub const BOTH_MONITORS: Self = Self {
        errno: 22,
        text: "ARP monitoring cannot be used with MII monitoring",
    };
    /// ARP validation asked for beside the MII monitor.
    pub const VALIDATE_WITH_MII: Self = Self {
        errno: 22,
        text: "ARP validating cannot be used with MII monitoring",
    };
    /// `use_carrier` other than 1.
    pub const USE_CARRIER: Self = Self {
        errno: 22,
        text: "option obsolete, use_carrier cannot be disabled",
    };
    /// Two ports with one `queue_id`, or a queue that the bond does not have.
    pub const QUEUE_ID: Self = Self {
        errno: 1,
        text: "Operation not permitted",
    };
}

/// What is wrong with an option or its value. The configuration (or whoever typed it) is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionFault {
    /// No option has this name.
    #[error("there is no such option")]
    UnknownOption,
    /// An option of a port where one of the bond is meant, or the other way round.
    #[error("this is an option of {belongs}, not of {given}")]
    WrongScope {
        /// What it belongs to.
        belongs: &'static str,
        /// What it was given for.
        given: &'static str,
    },
    /// The text (or the number) is not a value of this option.
    #[error("the value is not valid")]
    BadValue,
    /// The same option twice, with different values.
    #[error("given twice, the other time with value {other:?}")]
    Twice {
        /// The other value.
        other: String,
    },
    /// The mode does not have this option.
    #[error("not supported in mode {mode}")]
    Mode {
        /// The mode the bond would have.
        mode: Mode,
    },
    /// The bond is up.
    #[error("cannot be changed while the bond is up")]
    BondUp,
    /// The bond has ports.
    #[error("cannot be changed while the bond has ports")]
    HasPorts,
    /// A delay without a monitor that counts it.
    #[error("needs miimon, which is 0")]
    NeedsMiimon,
    /// MII and ARP monitoring at once.
    #[error("cannot be used together with miimon")]
    WithMiimon,
    /// An address that cannot be a target.
    #[error("{address} cannot be a target")]
    BadTarget {
        /// The address.
        address: String,
    },
    /// An address twice in a list.
    #[error("{address} stands twice in the list")]
    DoubleTarget {
        /// The address.
        address: String,
    },
    /// The named port is not in the bond.
    #[error("no port of the bond has this name")]
    NotAPort,
    /// The port cannot become the active one now.
    #[error("the port cannot become active: {why}")]
    CannotActivate {
        /// Why.
        why: &'static str,
    },
    /// A transmit queue that no bond has.
    #[error("the bond has {queues} transmit queues")]
    NoSuchQueue {
        /// How many it has.
        queues: u16,
    },
    /// Another port has this queue id.
    #[error("port {port} has this queue id already")]
    QueueIdTaken {
        /// The other port.
        port: String,
    },
}

/// One refused option. Nothing of the set it was part of has been applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionError {
    /// Name of the option as given.
    pub option: String,
    /// Value as given.
    pub value: String,
    /// What is wrong.
    pub fault: OptionFault,
    /// What to do instead: allowed values, a suggestion, the option to set as well.
    pub way_out: String,
    /// What the driver answers, where it has an answer of its own.
    pub driver: Option<&'static DriverError>,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "option {}={}: {}", self.option, self.value, self.fault)?;
        if !self.way_out.is_empty() {
            write!(f, "; {}", self.way_out)?;
        }
        Ok(())
    }
}

impl core::error::Error for OptionError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        None
    }
}

impl OptionError {
    /// The way out lists the allowed values, and the nearest word if the value looks like a slip of one.
    pub(super) fn bad_value(spec: &OptionSpec, value: &str) -> Self {
        let mut way_out = format!("allowed values: {}", spec.allowed());
        if let super::Kind::Words(words) = spec.kind
            && let Some(word) = nearest(value, words.iter().map(|word| word.name))
        {
            way_out = format!("did you mean {word}? {way_out}");
        }
        Self {
            option: spec.name.to_owned(),
            value: value.to_owned(),
            fault: OptionFault::BadValue,
            way_out,
            driver: Some(&DriverError::INVALID),
        }
    }

    pub(super) fn unknown(name: &str, value: &str) -> Self {
        // In our own spelling, so that a slip is found whichever separator was used.
        let spelt = name.replace('-', "_");
        let names = OPTIONS.iter().flat_map(|spec| spec.names());
        let way_out = match nearest(&spelt, names) {
            Some(known) => format!("did you mean {known}?"),
            None => "the options are listed by the help of `set`".to_owned(),
        };
        Self {
            option: name.to_owned(),
            value: value.to_owned(),
            fault: OptionFault::UnknownOption,
            way_out,
            driver: None,
        }
    }
}

/// The known word nearest to a misspelt one, if one is near: at most one slip in three letters.
pub(super) fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_ascii_lowercase();
    let most = |word: &str| word.len().max(given.len()) / 3;
    known
        // Each letter that one has more is a slip: what is far longer need not be compared, however long it is.
        .filter(|word| word.len().abs_diff(given.len()) <= most(word))
        .map(|word| (distance(&given, &word.to_ascii_lowercase()), word))
        .min_by_key(|(slips, _)| *slips)
        .filter(|(slips, word)| *slips <= most(word))
        .map(|(_, word)| word)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other (optimal string
/// alignment distance).
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = core::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_noise_is_not() {
        let words = ["active-backup", "balance-xor", "802.3ad"];
        assert_eq!(
            nearest("actve-backup", words.into_iter()),
            Some("active-backup")
        );
        assert_eq!(
            nearest("Active-Bakcup", words.into_iter()),
            Some("active-backup")
        );
        assert_eq!(nearest("8023ad", words.into_iter()), Some("802.3ad"));
        assert_eq!(nearest("lacp", words.into_iter()), None);
        assert_eq!(nearest("", words.into_iter()), None);
    }
}
