//! Reads every fixture of the foreign dialects and compares with the `.txt` beside it: what is wanted, then the fate of
//! every line. `OXBOND_UPDATE_FIXTURES=1 cargo test -p oxbond-config` writes the `.txt` files anew; look at the
//! difference.
#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

#[path = "common/foreign.rs"]
mod foreign;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use foreign::{fixtures, parse};
use oxbond_config::diagnostic;
use oxbond_config::dialect::{Dialect, Reading, convert};
use oxbond_config::report::Fate;
use oxbond_config::span::Sources;

const UPDATE: &str = "OXBOND_UPDATE_FIXTURES";

#[test]
fn every_line_of_every_fixture_has_the_fate_it_should() {
    for (dialect, path, sources) in fixtures() {
        let reading = dialect.read(&sources);
        compare(
            &path.with_extension("txt"),
            &describe(dialect, &reading, &sources),
        );
    }
}

/// What one rich network looks like in each dialect, and what of it is lost.
#[test]
fn each_dialect_writes_what_it_can_say() {
    let sources = parse(&fs::read_to_string("tests/fixtures/networkd/everything.fixture").unwrap());
    for to in Dialect::ALL {
        let conversion = convert(Dialect::Networkd, *to, &sources);
        let mut text = String::new();
        for file in &conversion.files {
            writeln!(text, "==> {} <== {:o}\n{}", file.path, file.mode, file.text).unwrap();
        }
        for line in &conversion.lines {
            if line.fates.iter().any(|fate| *fate != Fate::Mapped) {
                writeln!(text, "{line}").unwrap();
            }
        }
        compare(
            &Path::new("tests/fixtures/written")
                .join(to.name())
                .with_extension("txt"),
            &text,
        );
    }
}

/// What is written from any fixture is understood again: nothing of it is ignored, and it means the same.
#[test]
fn what_is_written_is_read_again() {
    for (from, path, sources) in fixtures() {
        let wanted = from.read(&sources).network;
        let mut for_the_driver = wanted.clone();
        for bond in &mut for_the_driver.bonds {
            bond.engine = None;
        }
        for to in Dialect::ALL {
            let written = to.write(&wanted);
            let mut again = Sources::default();
            for file in &written.files {
                again.add(file.path.as_str(), file.text.as_str());
            }
            let reading = to.read(&again);
            let place = format!("{} to {}", path.display(), to.name());
            assert!(
                to.lines(&reading.report, &again)
                    .iter()
                    .flat_map(|line| &line.fates)
                    .all(|fate| matches!(fate, Fate::Mapped | Fate::Changed { .. })),
                "{place}:\n{}",
                describe(*to, &reading, &again)
            );
            if written.report.is_faithful() {
                // Others have no word for what all their bonds are: the driver's.
                let expected = if to.is_own() {
                    &wanted
                } else {
                    &for_the_driver
                };
                assert_eq!(reading.network.to_string(), expected.to_string(), "{place}");
            }
        }
    }
}

/// Other tools have the driver alone: it is what they mean without a word, and no other engine can be asked for there.
#[test]
fn engines_have_their_fate_in_every_dialect() {
    let mut sources = Sources::default();
    sources.add(
        "/etc/oxbond/b.toml",
        "[bond.a]\nengine = \"kernel\"\n[bond.b]\nengine = \"ebpf\"\n[bond.c]\nengine = \"auto\"\n",
    );
    for to in Dialect::ALL {
        let conversion = convert(Dialect::Toml, *to, &sources);
        let fate = |line: usize| conversion.lines[line - 1].fates.as_slice();
        assert_eq!(fate(2), [Fate::Mapped], "{}", to.name());
        if to.is_own() {
            let text = &conversion.files[0].text;
            assert!(text.contains("engine = \"ebpf\"\n"), "{text}");
            assert_eq!(fate(4), [Fate::Mapped]);
            continue;
        }
        let lost = |fates: &[Fate]| matches!(fates, [Fate::Unsupported { why, .. }] if why.contains("driver"));
        assert!(lost(fate(4)), "{}: {:?}", to.name(), fate(4));
        assert!(
            matches!(fate(6), [Fate::Changed { .. }]),
            "{}: {:?}",
            to.name(),
            fate(6)
        );
    }
}

/// Whatever stands in a file, reading it ends and does not panic.
#[test]
fn mutilated_files_do_no_harm() {
    for (dialect, _, sources) in fixtures() {
        for (file, source) in sources.iter() {
            // Every seventh place keeps the time in bounds, and still meets each kind of token.
            for cut in (0..source.text.len())
                .step_by(7)
                .filter(|cut| source.text.is_char_boundary(*cut))
            {
                let mut broken = Sources::default();
                for (other, source) in sources.iter() {
                    let text = if other == file {
                        &source.text[..cut]
                    } else {
                        &source.text
                    };
                    broken.add(source.name.as_str(), text);
                }
                let reading = dialect.read(&broken);
                assert!(!dialect.lines(&reading.report, &broken).is_empty() || cut == 0);
            }
        }
    }
}

fn describe(dialect: Dialect, reading: &Reading, sources: &Sources) -> String {
    let mut text = reading.network.to_string();
    text.push('\n');
    for line in dialect.lines(&reading.report, sources) {
        writeln!(text, "{line}").unwrap();
    }
    for diagnostic in &reading.diagnostics {
        writeln!(text, "\n{}", diagnostic::render(diagnostic, sources, false)).unwrap();
    }
    text
}

fn compare(expected: &Path, seen: &str) {
    if std::env::var_os(UPDATE).is_some() {
        fs::write(expected, seen).unwrap();
    }
    let wanted = fs::read_to_string(expected).unwrap_or_default();
    assert_eq!(
        seen,
        wanted,
        "{} differs; if the new text is right, run with {UPDATE}=1",
        expected.display()
    );
}
