//! Values of options and their reading from text.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use super::error::{DriverError, OptionError, OptionFault};
use super::spec::{Kind, OptionKey, OptionSpec, find};
use super::table::{OptionId, PortOptionId};
use super::{MAX_NAME, MAX_TARGETS};

/// A value of any option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptionValue {
    /// A number, a flag (0 or 1), or the number of a word.
    Number(i64),
    /// Name of a port; empty for none.
    Name(String),
    /// IPv4 addresses.
    Ipv4(Vec<Ipv4Addr>),
    /// IPv6 addresses.
    Ipv6(Vec<Ipv6Addr>),
    /// A link-layer address; all zero for none.
    Mac(MacAddr),
}

impl OptionValue {
    /// As text in our own notation: words as words, lists with commas.
    pub fn text(&self, kind: Kind) -> String {
        match (self, kind) {
            (Self::Number(number), Kind::Words(words)) => words
                .iter()
                .find(|word| i64::from(word.code) == *number)
                .map_or_else(|| number.to_string(), |word| word.name.to_owned()),
            (Self::Number(0), Kind::NumberOrWord { word, .. }) => word.to_owned(),
            (Self::Number(number), _) => number.to_string(),
            (Self::Name(name), _) => name.clone(),
            (Self::Ipv4(list), _) => joined(list),
            (Self::Ipv6(list), _) => joined(list),
            (Self::Mac(mac), _) => mac.to_string(),
        }
    }

    /// Reads a text as a value of this option. Accepts what the driver's sysfs files accept (words, their numbers,
    /// `default`, `off` for 0) and for flags also on/off, yes/no, true/false.
    pub(super) fn parse(spec: &OptionSpec, text: &str) -> Result<Self, OptionError> {
        let text = text.trim();
        let bad = || OptionError::bad_value(spec, text);
        // Whoever writes it asks our own engine.
        let default = spec.default_of(true);
        if text == "default" && !default.is_empty() {
            return Self::parse(spec, default);
        }
        let value = match spec.kind {
            Kind::Words(words) => {
                let number = text.parse::<u8>().ok();
                let word = words
                    .iter()
                    .find(|word| word.name == text || Some(word.code) == number);
                Self::Number(word.ok_or_else(bad)?.code.into())
            }
            Kind::Number { min, .. } if text == "off" && min <= 0 => Self::Number(0),
            Kind::Number { .. } => Self::Number(text.parse().map_err(|_| bad())?),
            Kind::NumberOrWord { word, .. } if text == word => Self::Number(0),
            Kind::NumberOrWord { min, .. } => {
                let number = text.parse().ok().filter(|number| *number >= min);
                Self::Number(number.ok_or_else(bad)?)
            }
            Kind::Flag => match text {
                "0" | "off" | "no" | "false" => Self::Number(0),
                "1" | "on" | "yes" | "true" => Self::Number(1),
                _ => return Err(bad()),
            },
            Kind::PortName => Self::Name(text.to_owned()),
            Kind::Ipv4List(_) => Self::Ipv4(list(text).map_err(|()| bad())?),
            Kind::Ipv6List(_) => Self::Ipv6(list(text).map_err(|()| bad())?),
            Kind::Mac => Self::Mac(text.parse().map_err(|_| bad())?),
        };
        value.check(spec)?;
        Ok(value)
    }

    /// Whether this is a value of this option: right kind, in range, known word, usable addresses.
    pub(super) fn check(&self, spec: &OptionSpec) -> Result<(), OptionError> {
        let fault = match (self, spec.kind) {
            (Self::Number(number), Kind::Words(words)) => {
                (!words.iter().any(|word| i64::from(word.code) == *number))
                    .then_some(OptionFault::BadValue)
            }
            (Self::Number(number), Kind::Number { min, max }) => {
                (!(min..=max).contains(number)).then_some(OptionFault::BadValue)
            }
            (Self::Number(number), Kind::NumberOrWord { min, max, .. }) => {
                (*number != 0 && !(min..=max).contains(number)).then_some(OptionFault::BadValue)
            }
            (Self::Number(number), Kind::Flag) => {
                (!(0..=1).contains(number)).then_some(OptionFault::BadValue)
            }
            (Self::Name(name), Kind::PortName) => {
                (!is_interface_name(name)).then_some(OptionFault::BadValue)
            }
            (Self::Ipv4(list), Kind::Ipv4List(_)) => {
                target_fault(list, |ip| ip.is_unspecified() || ip.is_broadcast())
            }
            (Self::Ipv6(list), Kind::Ipv6List(_)) => target_fault(list, |ip| {
                ip.is_unspecified() || ip.is_loopback() || ip.is_multicast()
            }),
            (Self::Mac(mac), Kind::Mac) => mac.is_multicast().then_some(OptionFault::BadValue),
            _ => Some(OptionFault::BadValue),
        };
        match fault {
            None => Ok(()),
            Some(OptionFault::BadValue) => {
                let mut error = OptionError::bad_value(spec, &self.text(spec.kind));
                if spec.key == OptionKey::Bond(OptionId::UseCarrier) {
                    error.driver = Some(&DriverError::USE_CARRIER);
                }
                Err(error)
            }
            Some(fault) => Err(OptionError {
                fault,
                ..OptionError::bad_value(spec, &self.text(spec.kind))
            }),
        }
    }
}

/// A change of one option of the bond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionChange {
    /// The option.
    pub id: OptionId,
    /// Its new value.
    pub value: OptionValue,
}

impl OptionChange {
    /// Reads a pair of texts: any name of the option (`-` or `_`), a word, number, name or list of addresses.
    pub fn parse(name: &str, text: &str) -> Result<Self, OptionError> {
        let spec = find(name).ok_or_else(|| OptionError::unknown(name, text))?;
        match spec.key {
            OptionKey::Bond(id) => Ok(Self {
                id,
                value: OptionValue::parse(spec, text)?,
            }),
            OptionKey::Port(_) => Err(wrong_scope(spec, text, "a port", "the bond")),
        }
    }

    /// The new value as text.
    pub fn text(&self) -> String {
        self.value.text(self.id.spec().kind)
    }
}

impl fmt::Display for OptionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.id, self.text())
    }
}

/// A change of one option of a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortOptionChange {
    /// The option.
    pub id: PortOptionId,
    /// Its new value.
    pub value: OptionValue,
}

impl PortOptionChange {
    /// Reads a pair of texts, as [`OptionChange::parse`] does.
    pub fn parse(name: &str, text: &str) -> Result<Self, OptionError> {
        let spec = find(name).ok_or_else(|| OptionError::unknown(name, text))?;
        match spec.key {
            OptionKey::Port(id) => Ok(Self {
                id,
                value: OptionValue::parse(spec, text)?,
            }),
            OptionKey::Bond(_) => Err(wrong_scope(spec, text, "the bond", "a port")),
        }
    }

    /// The new value as text.
    pub fn text(&self) -> String {
        self.value.text(self.id.spec().kind)
    }
}

impl fmt::Display for PortOptionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.id, self.text())
    }
}

fn wrong_scope(
    spec: &OptionSpec,
    text: &str,
    belongs: &'static str,
    given: &'static str,
) -> OptionError {
    OptionError {
        option: spec.name.to_owned(),
        value: text.to_owned(),
        fault: OptionFault::WrongScope { belongs, given },
        way_out: format!("set it on {belongs}"),
        driver: None,
    }
}

fn joined<T: fmt::Display>(list: &[T]) -> String {
    list.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

/// A comma-separated list; empty text is the empty list.
fn list<T: core::str::FromStr>(text: &str) -> Result<Vec<T>, ()> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|part| part.trim().parse().map_err(|_| ()))
        .collect()
}

/// First thing wrong with a list of targets.
fn target_fault<T: Copy + PartialEq + fmt::Display>(
    list: &[T],
    refused: impl Fn(&T) -> bool,
) -> Option<OptionFault> {
    if list.len() > MAX_TARGETS {
        return Some(OptionFault::BadValue);
    }
    list.iter().enumerate().find_map(|(index, ip)| {
        if refused(ip) {
            Some(OptionFault::BadTarget {
                address: ip.to_string(),
            })
        } else if list[..index].contains(ip) {
            Some(OptionFault::DoubleTarget {
                address: ip.to_string(),
            })
        } else {
            None
        }
    })
}

/// What the kernel takes as an interface's name; empty stands for none.
pub(crate) fn is_interface_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name != "."
        && name != ".."
        && !name
            .contains(|c: char| c == '/' || c == ':' || c.is_ascii_whitespace() || c.is_control())
}
