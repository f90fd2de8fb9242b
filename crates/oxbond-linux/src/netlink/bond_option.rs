//! Options of bonds and ports as the driver's attributes say them. Which there are, and their numbers, tells
//! [`oxbond_core::option::OPTIONS`]; here stands how a value is written and read.

use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{DefaultNla, Emitable as _, NLA_F_NESTED};
use oxbond_core::option::{Kind, OPTIONS, OptionKey, OptionSpec, OptionValue};

use super::attributes::attributes;
use super::link::mac_of;

/// The bond's option of this attribute (`IFLA_BOND_*`).
pub(crate) fn of_bond(number: u16) -> Option<&'static OptionSpec> {
    OPTIONS
        .iter()
        .find(|spec| spec.netlink == Some(number) && matches!(spec.key, OptionKey::Bond(_)))
}

/// The port's option of this attribute (`IFLA_BOND_SLAVE_*`).
pub(crate) fn of_port(number: u16) -> Option<&'static OptionSpec> {
    OPTIONS
        .iter()
        .find(|spec| spec.netlink == Some(number) && matches!(spec.key, OptionKey::Port(_)))
}

/// The attribute that sets an option. `index_of` finds interfaces by name; a name that is none's goes as index 0, which
/// means none. `None` for what the driver does not have, and for a value of another kind.
pub(crate) fn attribute(
    spec: &OptionSpec,
    value: &OptionValue,
    index_of: &dyn Fn(&str) -> Option<u32>,
) -> Option<DefaultNla> {
    let number = spec.netlink?;
    Some(match (value, spec.kind) {
        (OptionValue::Name(name), Kind::PortName) => {
            let index = index_of(name).unwrap_or(0);
            DefaultNla::new(number, index.to_ne_bytes().to_vec())
        }
        (OptionValue::Ipv4(list), Kind::Ipv4List(_)) => {
            nest(number, list.iter().map(|ip| ip.octets().to_vec()))
        }
        (OptionValue::Ipv6(list), Kind::Ipv6List(_)) => {
            nest(number, list.iter().map(|ip| ip.octets().to_vec()))
        }
        (OptionValue::Mac(mac), Kind::Mac) => DefaultNla::new(number, mac.octets().to_vec()),
        (
            OptionValue::Number(value),
            Kind::Words(_) | Kind::Number { .. } | Kind::NumberOrWord { .. } | Kind::Flag,
        ) => {
            let bytes = match width(spec) {
                1 => u8::try_from(*value).ok()?.to_ne_bytes().to_vec(),
                2 => u16::try_from(*value).ok()?.to_ne_bytes().to_vec(),
                _ => {
                    let signed = || i32::try_from(*value).ok().map(i32::cast_unsigned);
                    let wide = u32::try_from(*value).ok().or_else(signed)?;
                    wide.to_ne_bytes().to_vec()
                }
            };
            DefaultNla::new(number, bytes)
        }
        _ => return None,
    })
}

/// The value that an attribute tells. `name_of` finds interfaces by index. `None` for bytes that are no value of this
/// option's kind.
pub(crate) fn value(
    spec: &OptionSpec,
    bytes: &[u8],
    name_of: &dyn Fn(u32) -> Option<String>,
) -> Option<OptionValue> {
    Some(match spec.kind {
        Kind::PortName => OptionValue::Name(match number(bytes, false)? {
            0 => String::new(),
            index => name_of(u32::try_from(index).ok()?)?,
        }),
        Kind::Ipv4List(_) => OptionValue::Ipv4(
            attributes(bytes)
                .map(|(_, ip)| <[u8; 4]>::try_from(ip).ok().map(Ipv4Addr::from))
                .collect::<Option<_>>()?,
        ),
        Kind::Ipv6List(_) => OptionValue::Ipv6(
            attributes(bytes)
                .map(|(_, ip)| <[u8; 16]>::try_from(ip).ok().map(Ipv6Addr::from))
                .collect::<Option<_>>()?,
        ),
        Kind::Mac => OptionValue::Mac(mac_of(bytes)?),
        Kind::Number { min, .. } => OptionValue::Number(number(bytes, min < 0)?),
        Kind::Words(_) | Kind::NumberOrWord { .. } | Kind::Flag => {
            OptionValue::Number(number(bytes, false)?)
        }
    })
}

/// Bytes of a number; the driver refuses other lengths. They follow no rule.
fn width(spec: &OptionSpec) -> usize {
    match (spec.key, spec.netlink.unwrap_or_default()) {
        (OptionKey::Port(_), 5 | 10) | (OptionKey::Bond(_), 24 | 25) => 2,
        (OptionKey::Bond(_), 1 | 6 | 12..=14 | 16 | 17 | 21 | 22 | 27 | 29 | 30 | 32..) => 1,
        _ => 4,
    }
}

/// A number of whatever width.
pub(crate) fn number(bytes: &[u8], signed: bool) -> Option<i64> {
    Some(match bytes.len() {
        1 => i64::from(bytes[0]),
        2 => i64::from(u16::from_ne_bytes(bytes.try_into().ok()?)),
        4 => {
            let word = u32::from_ne_bytes(bytes.try_into().ok()?);
            match signed {
                true => i64::from(word.cast_signed()),
                false => i64::from(word),
            }
        }
        _ => return None,
    })
}

fn nest(number: u16, values: impl Iterator<Item = Vec<u8>>) -> DefaultNla {
    let inner: Vec<DefaultNla> = (0..)
        .zip(values)
        .map(|(at, value)| DefaultNla::new(at, value))
        .collect();
    let mut bytes = vec![0; inner.as_slice().buffer_len()];
    inner.as_slice().emit(&mut bytes);
    DefaultNla::new(number | NLA_F_NESTED, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::{Nla as _, NlaBuffer, Parseable as _};
    use netlink_packet_route::link::{InfoBond, InfoBondPort};

    fn bytes_of(nla: &DefaultNla) -> Vec<u8> {
        let mut bytes = vec![0; nla.buffer_len()];
        nla.emit(&mut bytes);
        bytes
    }

    /// Some value of an option, not its default.
    fn sample(spec: &OptionSpec) -> OptionValue {
        match spec.kind {
            Kind::Words(words) => OptionValue::Number((words.len() - 1).try_into().unwrap()),
            Kind::Number { min, .. } if min < 0 => OptionValue::Number(-7),
            Kind::Number { max, .. } | Kind::NumberOrWord { max, .. } => OptionValue::Number(max),
            Kind::Flag => OptionValue::Number(1),
            Kind::PortName => OptionValue::Name("eth7".to_owned()),
            Kind::Ipv4List(_) => {
                OptionValue::Ipv4(vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()])
            }
            Kind::Ipv6List(_) => OptionValue::Ipv6(vec!["2001:db8::1".parse().unwrap()]),
            Kind::Mac => OptionValue::Mac([2, 0, 0, 0, 0, 9].into()),
        }
    }

    #[test]
    fn every_option_is_read_as_it_is_written() {
        let index_of = |name: &str| (name == "eth7").then_some(7);
        let name_of = |index: u32| (index == 7).then(|| "eth7".to_owned());
        for spec in OPTIONS.iter().filter(|spec| spec.netlink.is_some()) {
            let wanted = sample(spec);
            let nla = attribute(spec, &wanted, &index_of).unwrap();
            let bytes = bytes_of(&nla);
            let buffer = NlaBuffer::new(&bytes);
            assert_eq!(buffer.kind(), spec.netlink.unwrap(), "{}", spec.name);
            let read = value(spec, buffer.value(), &name_of);
            assert_eq!(read, Some(wanted), "{}", spec.name);
            // Nobody reads it of cut bytes.
            for length in 0..buffer.value().len().min(1) {
                let cut = &buffer.value()[..length];
                if !matches!(spec.kind, Kind::Ipv4List(_) | Kind::Ipv6List(_)) {
                    assert_eq!(value(spec, cut, &name_of), None, "{}", spec.name);
                }
            }
        }
    }

    /// The crate knows every attribute's width too.
    #[test]
    fn every_attribute_has_the_width_that_the_driver_wants() {
        for spec in OPTIONS.iter().filter(|spec| spec.netlink.is_some()) {
            let nla = attribute(spec, &sample(spec), &|_| Some(7)).unwrap();
            let bytes = bytes_of(&nla);
            let buffer = NlaBuffer::new(&bytes[..]);
            let (kind, length) = match spec.key {
                OptionKey::Bond(_) => {
                    let read = InfoBond::parse(&buffer).unwrap();
                    assert!(!matches!(read, InfoBond::Other(_)), "{}", spec.name);
                    (read.kind(), read.value_len())
                }
                OptionKey::Port(_) => {
                    let read = InfoBondPort::parse(&buffer).unwrap();
                    (read.kind(), read.value_len())
                }
            };
            assert_eq!(kind, spec.netlink.unwrap(), "{}", spec.name);
            assert_eq!(length, buffer.value().len(), "{}", spec.name);
        }
    }

    #[test]
    fn what_the_driver_does_not_have_has_no_attribute() {
        let weight = oxbond_core::option::PortOptionId::Weight.spec();
        assert_eq!(attribute(weight, &OptionValue::Number(3), &|_| None), None);
        let mode = oxbond_core::option::OptionId::Mode.spec();
        assert_eq!(attribute(mode, &OptionValue::Number(256), &|_| None), None);
        assert_eq!(
            attribute(mode, &OptionValue::Name("x".to_owned()), &|_| None),
            None
        );
    }
}
