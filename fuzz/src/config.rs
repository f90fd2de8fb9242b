//! The readers and writers of `oxbond-config`, each dialect of its list in the same way.

use std::collections::BTreeSet;
use std::ops::Range;

use oxbond_config::diagnostic::{self, Diagnostic};
use oxbond_config::dialect::{Dialect, Reading};
use oxbond_config::lint::{Facts, lint};
use oxbond_config::model::DesiredNetwork;
use oxbond_config::name::check_interface_name;
use oxbond_config::report::Fate;
use oxbond_config::span::{Located, Sources};

use crate::Target;

/// A target for each dialect.
pub(crate) fn targets() -> impl Iterator<Item = Target> {
    Dialect::ALL.iter().map(|dialect| {
        let read = |text: &[u8]| read(*dialect, &String::from_utf8_lossy(text));
        Target::new(dialect.name(), read)
    })
}

/// Files of a dialect, each below a line `==> PATH <==`. Reading says of every line what became of it, and what was read
/// can be written in every dialect and is understood there as the same.
fn read(dialect: Dialect, text: &str) {
    let sources = files(text);
    let reading = dialect.read(&sources);
    told(dialect, &reading, &sources);
    linted(dialect, &sources);
    for to in Dialect::ALL {
        let written = to.write(&reading.network);
        let mut again = Sources::default();
        for file in &written.files {
            again.add(file.path.as_str(), file.text.as_str());
        }
        let second = to.read(&again);
        told(*to, &second, &again);
        let place = || format!("{} to {}: {again:#?}", dialect.name(), to.name());
        if !is_consistent(&reading.network) {
            continue;
        }
        assert_eq!(second.diagnostics, [], "{}", place());
        for line in to.lines(&second.report, &again) {
            let understood = |fate: &Fate| matches!(fate, Fate::Mapped | Fate::Changed { .. });
            assert!(line.fates.iter().all(understood), "{line}\n{}", place());
        }
        if written.report.is_faithful() {
            let texts = [&second.network, &reading.network].map(ToString::to_string);
            assert_eq!(texts[0], texts[1], "{}", place());
        }
    }
}

/// What is found can be shown to people and to programs, and has a place.
fn linted(dialect: Dialect, sources: &Sources) {
    let dialects = sources.iter().map(|(file, _)| (file, dialect)).collect();
    for finding in lint(sources, &dialects, &Facts::default()) {
        assert!(finding.span.is_some(), "{finding:?}");
        assert!(!diagnostic::render(&finding, sources, false).is_empty());
        assert_eq!(finding.plain(sources).code, finding.code);
    }
}

/// Whether the network could be: every device is made once, and is in one bond or bridge at most; bonds are of devices that
/// nobody makes, and bridges hold no bridges; names are those of interfaces, no patterns to any tool, and only a VLAN has
/// that of one; and no device has anything twice. Where it is not so, files say one thing here and another there, and no dialect can repeat that.
fn is_consistent(network: &DesiredNetwork) -> bool {
    let names = |names: &mut dyn Iterator<Item = &Located<String>>| -> Vec<String> {
        names.map(|name| name.value.clone()).collect()
    };
    let bonds = names(&mut network.bonds.iter().map(|bond| &bond.name));
    let vlans = names(&mut network.vlans.iter().map(|vlan| &vlan.name));
    let bridges = names(&mut network.bridges.iter().map(|bridge| &bridge.name));
    let links = names(&mut network.vlans.iter().map(|vlan| &vlan.link));
    let ports = network.bonds.iter().flat_map(|bond| &bond.ports);
    let ports = names(&mut ports.map(|port| &port.name));
    let bridged = network.bridges.iter().flat_map(|bridge| &bridge.ports);
    let bridged = names(&mut bridged.map(|port| &port.name));

    let made = [&bonds[..], &vlans, &bridges].concat();
    let used = [&ports[..], &bridged].concat();
    let once = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    let apart = |some: &[String], others: &[String]| !some.iter().any(|one| others.contains(one));
    let named = |name: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        check_interface_name(name).is_ok() && name.chars().all(plain)
    };
    let is_vlan = |name: &String| !name.contains('.') || vlans.contains(name);
    let devices = network.bonds.iter().map(|bond| &bond.device);
    let devices = devices.chain(network.vlans.iter().map(|vlan| &vlan.device));
    let mut devices = devices.chain(network.bridges.iter().map(|bridge| &bridge.device));
    once(&made)
        && once(&used)
        && apart(&ports, &made)
        && apart(&bridged, &bridges)
        && network
            .vlans
            .iter()
            .all(|vlan| vlan.name.value != vlan.link.value)
        && made.iter().chain(&used).chain(&links).all(named)
        && made.iter().chain(&used).all(is_vlan)
        && devices.all(|device| {
            distinct(&device.addresses)
                && distinct(&device.routes)
                && distinct(&device.dns)
                && distinct(&device.search)
        })
}

fn distinct<T: PartialEq>(values: &[Located<T>]) -> bool {
    let known = |(at, value): (usize, &Located<T>)| {
        values[..at].iter().any(|other| other.value == value.value)
    };
    !values.iter().enumerate().any(known)
}

fn told(dialect: Dialect, reading: &Reading, sources: &Sources) {
    for note in reading.report.notes() {
        within(
            sources,
            note.span.range(),
            &sources.get(note.span.file).text,
        );
    }
    let lines = dialect.lines(&reading.report, sources);
    let texts = sources.iter().map(|(_, source)| source.text.as_str());
    let wanted: usize = texts.map(|text| text.split_inclusive('\n').count()).sum();
    assert_eq!(lines.len(), wanted);
    for diagnostic in &reading.diagnostics {
        rendered(diagnostic, sources);
    }
}

fn within(sources: &Sources, range: Range<usize>, text: &str) {
    assert!(
        text.get(range.clone()).is_some(),
        "{range:?} of {sources:?}"
    );
}

fn rendered(diagnostic: &Diagnostic, sources: &Sources) {
    for span in diagnostic
        .span
        .iter()
        .chain(diagnostic.related.iter().map(|(span, _)| span))
    {
        within(sources, span.range(), &sources.get(span.file).text);
    }
    assert!(!diagnostic.message.contains('\n'), "{diagnostic:?}");
    assert!(!diagnostic::render(diagnostic, sources, true).is_empty());
    assert!(!diagnostic.plain(sources).message.is_empty());
}

/// The files of a fixture. What stands before the first path is in a file without a name.
fn files(fixture: &str) -> Sources {
    let mut files = vec![(String::new(), String::new())];
    for line in fixture.split_inclusive('\n') {
        let path = line.trim_end().strip_prefix("==> ");
        match path.and_then(|rest| rest.strip_suffix(" <==")) {
            Some(path) => files.push((path.to_owned(), String::new())),
            None => files
                .iter_mut()
                .last()
                .into_iter()
                .for_each(|(_, text)| text.push_str(line)),
        }
    }
    let mut sources = Sources::default();
    for (path, text) in files.into_iter().filter(|file| *file != Default::default()) {
        sources.add(path, text);
    }
    sources
}
