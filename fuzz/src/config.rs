//! The readers and writers of `oxbond-config`, each dialect of its list in the same way.

use std::collections::BTreeSet;
use std::ops::Range;

use oxbond_config::diagnostic::{self, Diagnostic};
use oxbond_config::dialect::{Dialect, Reading};
use oxbond_config::model::DesiredNetwork;
use oxbond_config::name::check_interface_name;
use oxbond_config::report::Fate;
use oxbond_config::span::Sources;

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

/// Whether the network could be: every device is made once, has a name that an interface can have and that is no pattern
/// to any tool, and is in one bond or bridge at most. Where it is not so, files say one thing here and another there, and
/// no dialect can repeat that. Nor has one that is not made the name of a VLAN, which makes it one to ifupdown.
fn is_consistent(network: &DesiredNetwork) -> bool {
    let bonds = network.bonds.iter().map(|bond| &bond.name);
    let vlans = network.vlans.iter().map(|vlan| &vlan.name);
    let bridges = network.bridges.iter().map(|bridge| &bridge.name);
    let made: Vec<&str> = bonds
        .chain(vlans)
        .chain(bridges)
        .map(|name| name.value.as_str())
        .collect();
    let ports = network
        .bonds
        .iter()
        .flat_map(|bond| &bond.ports)
        .map(|port| &port.name);
    let ports: Vec<&str> = ports.map(|name| name.value.as_str()).collect();
    let bridged = network
        .bridges
        .iter()
        .flat_map(|bridge| &bridge.ports)
        .map(|port| &port.name);
    let used: Vec<&str> = bridged
        .map(|name| name.value.as_str())
        .chain(ports.iter().copied())
        .collect();
    let links = network.vlans.iter().map(|vlan| vlan.link.value.as_str());
    let once = |names: &[&str]| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let named = |name: &&str| check_interface_name(name).is_ok() && name.chars().all(plain);
    let strange = |name: &&str| name.contains('.') && !made.contains(name);
    once(&made)
        && !used.iter().any(strange)
        && once(&used)
        && !ports.iter().any(|port| made.contains(port))
        && made
            .iter()
            .chain(&used)
            .copied()
            .chain(links)
            .all(|name| named(&name))
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
