//! Options of bonds and ports as iproute2 names them: which word is which option, and what its value is in our own
//! notation.

use core::net::{Ipv4Addr, Ipv6Addr};

use oxbond_core::option::{Kind, OPTIONS, OptionId, OptionKey, OptionSpec, PortOptionId};
use oxbond_wire::MacAddr;

use super::words::is_short_for;

/// Keywords that `ip` takes only in full.
const WHOLE: [&str; 8] = [
    "ns_ip6_target",
    "arp_missed_max",
    "lacp_active",
    "coupled_control",
    "broadcast_neighbor",
    "lacp_strict",
    "prio",
    "actor_port_prio",
];

/// A kind of device that has options of bonding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `type bond`.
    Bond,
    /// `type bond_slave`.
    Port,
}

impl Scope {
    /// The kind a word names.
    pub fn of(kind: &str) -> Option<Self> {
        match kind {
            "bond" => Some(Self::Bond),
            "bond_slave" => Some(Self::Port),
            _ => None,
        }
    }

    /// The options that the driver has: `ip` cannot say others.
    pub fn table(self) -> impl Iterator<Item = &'static OptionSpec> {
        let known = OPTIONS.iter().filter(|spec| spec.netlink.is_some());
        known.filter(move |spec| matches!(spec.key, OptionKey::Bond(_)) == (self == Self::Bond))
    }
}

/// Both spellings where there are two.
pub fn full_name(spec: &OptionSpec) -> &'static str {
    match spec.key {
        OptionKey::Bond(OptionId::NumGratArp) => "num_grat_arp|num_unsol_na",
        _ => spec.iproute2,
    }
}

/// The first option in the table's order, which is `ip`'s, that the word is or begins.
pub fn find(scope: Scope, word: &str) -> Option<&'static OptionSpec> {
    let fits = |keyword: &str| {
        word == keyword || (!WHOLE.contains(&keyword) && is_short_for(word, keyword))
    };
    scope
        .table()
        .find(|spec| full_name(spec).split('|').any(fits))
}

/// Why a text is no value of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrongValue {
    /// Neither a word of the option nor a number that fits.
    NoSuchValue,
    /// A part of a list is no IPv4 address.
    NoIpv4(String),
    /// A part of a list is no IPv6 address.
    NoIpv6(String),
    /// No link-layer address.
    NoMac,
}

/// The value in our own notation. Whether a port that is named exists is not asked.
///
/// # Errors
///
/// Says what is wrong with it.
pub fn value(spec: &OptionSpec, text: &str) -> Result<String, WrongValue> {
    let elements = || text.split(',').filter(|element| !element.is_empty());
    match spec.kind {
        Kind::Words(words) => {
            let number = number(text).and_then(|number| usize::try_from(number).ok());
            let word = words.iter().find(|word| word.name == text);
            let word = word.or_else(|| words.get(number?));
            word.map(|word| word.name.to_owned())
                .ok_or(WrongValue::NoSuchValue)
        }
        Kind::Number { .. } | Kind::Flag => {
            let range = attribute_range(spec.key);
            let number = number(text).filter(|number| range.contains(number));
            number
                .map(|number| number.to_string())
                .ok_or(WrongValue::NoSuchValue)
        }
        Kind::PortName => Ok(text.to_owned()),
        Kind::Ipv4List(_) => {
            let parsed = elements().map(|element| {
                let address = ipv4(element).map(|address| address.to_string());
                address.ok_or_else(|| WrongValue::NoIpv4(element.to_owned()))
            });
            Ok(parsed.collect::<Result<Vec<_>, _>>()?.join(","))
        }
        Kind::Ipv6List(_) => {
            let parsed = elements().map(|element| {
                let address = element.parse::<Ipv6Addr>().map(|a| a.to_string());
                address.map_err(|_| WrongValue::NoIpv6(element.to_owned()))
            });
            Ok(parsed.collect::<Result<Vec<_>, _>>()?.join(","))
        }
        Kind::Mac => mac(text)
            .map(|mac| mac.to_string())
            .ok_or(WrongValue::NoMac),
        // Of no option that the driver has.
        Kind::NumberOrWord { .. } => Err(WrongValue::NoSuchValue),
    }
}

/// What fits into the option's netlink attribute. Whether the value makes sense is the core's question.
const fn attribute_range(key: OptionKey) -> std::ops::RangeInclusive<i64> {
    match key {
        OptionKey::Bond(
            OptionId::UseCarrier
            | OptionId::NumGratArp
            | OptionId::AllSlavesActive
            | OptionId::TlbDynamicLb
            | OptionId::ArpMissedMax,
        ) => 0..=u8::MAX as i64,
        OptionKey::Bond(OptionId::AdActorSysPrio | OptionId::AdUserPortKey)
        | OptionKey::Port(
            PortOptionId::QueueId | PortOptionId::ActorPortPrio | PortOptionId::Weight,
        ) => 0..=u16::MAX as i64,
        OptionKey::Port(PortOptionId::Prio) => i32::MIN as i64..=i32::MAX as i64,
        OptionKey::Bond(_) => 0..=u32::MAX as i64,
    }
}

/// A number as C writes it: decimal, `0x` hexadecimal, `0` octal.
pub fn number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let hexadecimal = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    let number = match (hexadecimal, digits.strip_prefix('0')) {
        (Some(digits), _) => i64::from_str_radix(digits, 16),
        (None, Some(octal)) if !octal.is_empty() => i64::from_str_radix(octal, 8),
        _ => digits.parse(),
    };
    let number = number.ok()?;
    Some(if negative { -number } else { number })
}

/// An IPv4 address, of which trailing zeros may be left out: `10` is 10.0.0.0.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    for (at, part) in text.split('.').enumerate() {
        *octets.get_mut(at)? = number(part).and_then(|number| u8::try_from(number).ok())?;
    }
    Some(octets.into())
}

/// A link-layer address, of which leading zeros may be left out.
pub fn mac(text: &str) -> Option<MacAddr> {
    let parts: Vec<&str> = text.split(':').collect();
    let octets = parts.iter().map(|part| match part.len() {
        1 | 2 => u8::from_str_radix(part, 16).ok(),
        _ => None,
    });
    let octets = <[u8; 6]>::try_from(octets.collect::<Option<Vec<_>>>()?).ok()?;
    Some(MacAddr::from(octets))
}
