//! What the foreign dialects have in common: values that are set again, values that their tool would ignore.

use core::fmt::Display;
use core::str::FromStr;

use oxbond_core::option::{Dialect, Mode, OPTIONS, OptionChange, OptionId, OptionValue, find};
use oxbond_wire::MacAddr;

use crate::diagnostic::{Code, Diagnostic};
use crate::model::{DesiredBond, DesiredSelector, DeviceSettings, Network, NetworkError};
use crate::name::check_interface_name;
use crate::report::Report;
use crate::span::{Located, Span};
use crate::suggest::{closest, known_elsewhere};

/// MTUs a device can have: from what IPv4 needs to the largest an interface can be given.
const MTU: core::ops::RangeInclusive<u32> = 68..=65535;

/// Sets a value of which the last one counts, and notes it as taken over; the one before as replaced.
pub(super) fn set<T>(slot: &mut Option<Located<T>>, value: Located<T>, report: &mut Report) {
    report.mapped(value.span);
    let span = value.span;
    if let Some(before) = slot.replace(value) {
        given_twice(before.span, span, report);
        replaced(before.span, report);
    }
}

/// Sets an option, as [`set`] does; the same value once more (by another name of the option) replaces nothing.
pub(super) fn set_option(
    bond: &mut DesiredBond,
    change: Located<OptionChange>,
    report: &mut Report,
) {
    report.mapped(change.span);
    let same = |known: &&mut Located<OptionChange>| known.value.id == change.value.id;
    match bond.options.iter_mut().find(same) {
        Some(known) if known.value == change.value => {}
        Some(known) => {
            let span = change.span;
            let before = core::mem::replace(known, change);
            given_twice(before.span, span, report);
            replaced(before.span, report);
        }
        None => bond.options.push(change),
    }
}

/// Notes a value that a later one replaces. In another file that is what files are for.
fn given_twice(before: Span, span: Span, report: &mut Report) {
    if before.file == span.file {
        let message = "a later line sets it again, and the last one counts";
        report.finding(
            Diagnostic::warning(Code::DuplicateKey, before, message)
                .with_related(span, "set again here")
                .with_help("remove this one"),
        );
    }
}

/// Notes a line that a later one of the same kind makes void.
pub(super) fn replaced(span: Span, report: &mut Report) {
    report.unsupported(
        span,
        "a later line sets it again, and the last one counts",
        "remove this one",
    );
}

/// Notes a value that is none, and is lost.
pub(super) fn refused(span: Span, why: impl Display, report: &mut Report) {
    let why = why.to_string();
    let finding = Diagnostic::new(Code::WrongValue, span, why.as_str());
    report.finding(finding.with_help("correct the value"));
    report.unsupported(
        span,
        format!("it is not taken over: {why}"),
        "correct the value",
    );
}

/// A value from its text; notes one that is none.
pub(super) fn parsed<T>(text: &str, span: Span, report: &mut Report) -> Option<Located<T>>
where
    T: FromStr,
    T::Err: Display,
{
    match text.parse() {
        Ok(value) => Some(Located::new(value, span)),
        Err(e) => {
            let why = e.to_string();
            if why.contains(text) {
                refused(span, why, report);
            } else {
                refused(span, format_args!("{text:?}: {why}"), report);
            }
            None
        }
    }
}

/// The network a route leads to. Of a host's address its network is taken, as the tools do.
pub(super) fn network(text: &str, span: Span, report: &mut Report) -> Option<Located<Network>> {
    match text.parse::<Network>() {
        Ok(network) => Some(Located::new(network, span)),
        Err(NetworkError::HostBits { network, .. }) => {
            report.changed(span, format!("it leads to {network}"));
            Some(Located::new(network, span))
        }
        Err(e) => {
            refused(span, e, report);
            None
        }
    }
}

/// The prefix length of a netmask; what is none stays as it is, for the address to be refused with.
pub(super) fn prefix_len(mask: &str) -> String {
    let bits = mask.parse::<core::net::Ipv4Addr>().ok().map(u32::from);
    match bits.filter(|bits| bits.leading_ones() == bits.count_ones()) {
        Some(bits) => bits.count_ones().to_string(),
        None => mask.to_owned(),
    }
}

/// A number in a range.
pub(super) fn number(
    text: &str,
    range: core::ops::RangeInclusive<u32>,
    span: Span,
    report: &mut Report,
) -> Option<Located<u32>> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text
        .parse()
        .ok()
        .filter(|number| digits && range.contains(number))
    {
        Some(number) => Some(Located::new(number, span)),
        None => {
            let (min, max) = (range.start(), range.end());
            refused(
                span,
                format_args!("{text:?} is no number from {min} to {max}"),
                report,
            );
            None
        }
    }
}

/// The identifier of a VLAN.
pub(super) fn vid(text: &str, span: Span, report: &mut Report) -> Option<Located<u16>> {
    let number = number(text, 1..=4094, span, report)?;
    // The range lies within 16 bits.
    Some(Located::new(u16::try_from(number.value).ok()?, span))
}

/// An MTU in bytes.
pub(super) fn mtu(text: &str, span: Span, report: &mut Report) -> Option<Located<u32>> {
    number(text, MTU, span, report)
}

/// The link-layer address of a device.
pub(super) fn mac(text: &str, span: Span, report: &mut Report) -> Option<Located<MacAddr>> {
    let mac = parsed::<MacAddr>(text, span, report)?;
    if mac.value.is_unicast() {
        return Some(mac);
    }
    refused(
        span,
        format_args!("{} is no address of a device", mac.value),
        report,
    );
    None
}

/// The name of an interface.
pub(super) fn name(text: &str, span: Span, report: &mut Report) -> Option<Located<String>> {
    match check_interface_name(text) {
        Ok(()) => Some(Located::new(text.to_owned(), span)),
        Err(e) => {
            report.breach(
                Code::InvalidName,
                span,
                e.to_string(),
                "give it another name",
            );
            None
        }
    }
}

/// An option of a bond, from a text in the option table's own notation.
pub(super) fn option(
    id: OptionId,
    text: &str,
    span: Span,
    report: &mut Report,
) -> Option<Located<OptionChange>> {
    match OptionChange::parse(id.name(), text) {
        Ok(change) => Some(Located::new(change, span)),
        Err(e) => {
            let why = format!("{} {:?}: {}", e.option, e.value, e.fault);
            let way_out = if e.way_out.is_empty() {
                "correct the value".to_owned()
            } else {
                e.way_out
            };
            let finding = Diagnostic::new(Code::WrongValue, span, why.as_str());
            report.finding(finding.with_help(way_out.as_str()));
            report.unsupported(span, format!("it is not taken over: {why}"), way_out);
            None
        }
    }
}

/// The primary port, or another option that names a port.
pub(super) fn port_option(id: OptionId, port: &str, span: Span) -> Located<OptionChange> {
    let value = OptionValue::Name(port.to_owned());
    Located::new(OptionChange { id, value }, span)
}

/// Notes a key that nobody knows: with the dialect's own key for what other tools call so, or with the closest of those
/// that are read.
pub(super) fn unknown_key(
    key: &str,
    span: Span,
    dialect: Dialect,
    others: &[&'static str],
    report: &mut Report,
) {
    let elsewhere = find(key).or_else(|| known_elsewhere(key).map(|(spec, _)| spec));
    let same = elsewhere.and_then(|spec| spec.spelled(dialect).first());
    let options = OPTIONS.iter().flat_map(|spec| spec.spelled(dialect));
    let meant = same
        .copied()
        .or_else(|| closest(key, options.chain(others).copied()));
    report.unknown(span, meant.map(str::to_owned));
}

/// Notes that a dialect cannot say an option.
pub(super) fn unspelt(tool: &str, option: impl Display, span: Span, report: &mut Report) {
    report.unsupported(
        span,
        format!("{tool} has no word for {option}"),
        "set it by other means, or do without",
    );
}

/// What a tool asks of ports; of each list one must fit.
#[derive(Default)]
pub(super) struct Criteria {
    pub(super) macs: Vec<Located<MacAddr>>,
    pub(super) paths: Vec<Located<String>>,
    pub(super) drivers: Vec<Located<String>>,
    pub(super) names: Vec<Located<String>>,
    /// Something is asked for that was not understood, so that without it too much would fit.
    pub(super) partial: bool,
}

impl Criteria {
    /// One selector for each member of the one list that has several; none without any criterion. What cannot be said
    /// so is noted: more than one list with several members, since there is no end to what they make together.
    pub(super) fn selectors(&self, span: Span, report: &mut Report) -> Vec<DesiredSelector> {
        let lengths = [
            self.macs.len(),
            self.paths.len(),
            self.drivers.len(),
            self.names.len(),
        ];
        if lengths.iter().filter(|length| **length > 1).count() > 1 {
            let why = "more than one of its lists has several members";
            report.unsupported(
                span,
                why,
                "write one definition for each member of one list",
            );
            return Vec::new();
        }
        let count = lengths.into_iter().max().unwrap_or(0);
        if self.partial && count > 0 {
            let why = "without what is not understood of it too many devices would fit";
            report.unsupported(span, why, "correct that, or leave it out");
            return Vec::new();
        }
        let selector = |index: usize| DesiredSelector {
            mac: self.macs.get(index).or_else(|| self.macs.first()).cloned(),
            path: self
                .paths
                .get(index)
                .or_else(|| self.paths.first())
                .cloned(),
            driver: self
                .drivers
                .get(index)
                .or_else(|| self.drivers.first())
                .cloned(),
            name: self
                .names
                .get(index)
                .or_else(|| self.names.first())
                .cloned(),
            ..DesiredSelector::new(span)
        };
        (0..count).map(selector).collect()
    }
}

/// Whether a name is a pattern.
pub(super) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// Notes that a dialect cannot say which ports are taken by what they are.
pub(super) fn unselected(tool: &str, bond: &DesiredBond, report: &mut Report) {
    for selector in &bond.selectors {
        report.unsupported(
            selector.span,
            format!("{tool} takes ports by name alone"),
            "name the ports",
        );
    }
}

/// Notes that a dialect cannot say how many ports a selector should find.
pub(super) fn uncounted(tool: &str, selector: &DesiredSelector, report: &mut Report) {
    if let Some(expect) = &selector.expect {
        let why = format!("{tool} does not count ports");
        report.unsupported(expect.span, why, "leave it out");
    }
}

/// How well a device serves to reach name servers by: with a gateway, with an address, or not at all.
pub(super) fn leads_out(device: &DeviceSettings) -> u8 {
    if device.gateway_v4.is_some() || device.gateway_v6.is_some() {
        2
    } else {
        u8::from(device.is_addressed())
    }
}

/// The mode of a bond, which is balance-rr unless said.
pub(crate) fn mode(bond: &DesiredBond) -> Mode {
    let number = bond
        .option(OptionId::Mode)
        .map(|option| &option.value.value);
    match number {
        Some(OptionValue::Number(number)) => u8::try_from(*number).ok().and_then(Mode::from_code),
        _ => None,
    }
    .unwrap_or(Mode::BalanceRr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netmasks() {
        assert_eq!(prefix_len("255.255.255.0"), "24");
        assert_eq!(prefix_len("0.0.0.0"), "0");
        assert_eq!(prefix_len("64"), "64");
        assert_eq!(prefix_len("255.0.255.0"), "255.0.255.0");
    }
}
