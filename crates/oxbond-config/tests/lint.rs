//! Every rule of the linter has a directory `tests/fixtures/lint/CODE` with a file that breaks it (`bad.fixture`) and one
//! that does not (`good.fixture`); what is said of the bad one is in `bad.txt`. `OXBOND_UPDATE_FIXTURES=1 cargo test -p
//! oxbond-config` writes the `.txt` files anew; look at the difference.
//!
//! A fixture is files one after the other, each below a line `==> PATH <==`, behind which may stand the file's dialect
//! and its permission bits. Lines `NAME SPEED` below `==> interfaces <==` are what the machine has.
#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

#[path = "common/foreign.rs"]
mod foreign;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use foreign::fixtures;
use oxbond_config::detect::Gathered;
use oxbond_config::diagnostic::{self, Code, Diagnostic, Severity};
use oxbond_config::dialect::Dialect;
use oxbond_config::lint::{Facts, Interface, lint};
use oxbond_config::rule::RULES;
use oxbond_config::span::FileId;

const UPDATE: &str = "OXBOND_UPDATE_FIXTURES";

/// Rules that no text can break.
const OF_THE_SYSTEM: [Code; 1] = [Code::Unreadable];

#[test]
fn each_rule_is_broken_by_its_bad_fixture_and_not_by_its_good_one() {
    let mut problems = Vec::new();
    for rule in RULES
        .iter()
        .filter(|rule| !OF_THE_SYSTEM.contains(&rule.code))
    {
        let directory = Path::new("tests/fixtures/lint").join(rule.code.as_str());
        let (bad, good) = (
            directory.join("bad.fixture"),
            directory.join("good.fixture"),
        );
        if !bad.exists() || !good.exists() {
            problems.push(format!("{} lacks fixtures", rule.code));
            continue;
        }
        let (gathered, found) = linted(&bad);
        let text = describe(&gathered, &found);
        let hits: Vec<&Diagnostic> = found
            .iter()
            .filter(|found| found.code == rule.code)
            .collect();
        if hits.is_empty() {
            problems.push(format!("{} is not found:\n{text}", rule.code));
        }
        for hit in hits {
            if hit.span.is_none() || hit.help.is_none() {
                problems.push(format!("{} says where and what to do: {hit:?}", rule.code));
            }
            if hit.message.ends_with('.') || hit.message.contains('\n') {
                problems.push(format!(
                    "{} is one line without a full stop: {hit:?}",
                    rule.code
                ));
            }
        }
        compare(&bad.with_extension("txt"), &text);

        let (gathered, found) = linted(&good);
        let text = describe(&gathered, &found);
        let wrong =
            |found: &Diagnostic| found.code == rule.code || found.severity == Severity::Error;
        if gathered.dialects.is_empty() || found.iter().any(wrong) {
            problems.push(format!("{} is in order, but:\n{text}", good.display()));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// What is found in the fixtures of the dialects, a line for each finding, in the `.lint` beside them.
#[test]
fn each_fixture_of_a_dialect_has_the_findings_it_should() {
    for (dialect, path, sources) in fixtures() {
        let dialects: BTreeMap<FileId, Dialect> =
            sources.iter().map(|(file, _)| (file, dialect)).collect();
        let found = lint(&sources, &dialects, &Facts::default());
        let mut text = String::new();
        for finding in &found {
            if let Some(span) = finding.span {
                let (name, at) = (&sources.get(span.file).name, sources.position(span));
                write!(text, "{name}:{}:{}: ", at.line, at.column).unwrap();
            }
            let severity = finding.severity.as_str();
            writeln!(text, "{severity}[{}]: {}", finding.code, finding.message).unwrap();
        }
        compare(&path.with_extension("lint"), &text);
    }
}

#[test]
fn no_fixture_is_of_a_rule_that_is_gone() {
    let known: BTreeSet<&str> = RULES.iter().map(|rule| rule.code.as_str()).collect();
    for entry in fs::read_dir("tests/fixtures/lint").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(name.as_str()), "{name}");
    }
}

/// Where a finding says what to write instead, writing it leaves nothing of the finding.
#[test]
fn what_is_to_be_written_instead_puts_it_right() {
    let mut fixes = 0;
    for rule in RULES {
        let bad = Path::new("tests/fixtures/lint")
            .join(rule.code.as_str())
            .join("bad.fixture");
        if !bad.exists() {
            continue;
        }
        let (gathered, found) = linted(&bad);
        for (index, finding) in found.iter().enumerate() {
            let Some(fix) = &finding.fix else { continue };
            let mut better = Gathered::default();
            for (file, source) in gathered.sources.iter() {
                let mut text = source.text.clone();
                if file == fix.span.file {
                    text.replace_range(fix.span.range(), &fix.replacement);
                }
                better.add(&source.name, text, gathered.dialects.get(&file).copied());
            }
            let again = lint(&better.sources, &better.dialects, &Facts::default());
            let count = |found: &[Diagnostic]| {
                found
                    .iter()
                    .filter(|other| other.code == finding.code)
                    .count()
            };
            assert!(
                count(&again) < count(&found),
                "{}: finding {index} is not put right:\n{}",
                bad.display(),
                describe(&better, &again)
            );
            fixes += 1;
        }
    }
    assert!(fixes > 5, "{fixes}");
}

/// What is written from files that are in order is in order too, in every dialect.
#[test]
fn what_is_written_is_in_order() {
    let mut problems = Vec::new();
    for rule in RULES {
        let good = Path::new("tests/fixtures/lint")
            .join(rule.code.as_str())
            .join("good.fixture");
        if !good.exists() {
            continue;
        }
        let (gathered, _) = linted(&good);
        let dialects: BTreeSet<Dialect> = gathered.dialects.values().copied().collect();
        let [from] = dialects.into_iter().collect::<Vec<_>>()[..] else {
            continue;
        };
        let network = from.read(&gathered.sources).network;
        for to in Dialect::ALL {
            let mut written = Gathered::default();
            for file in to.write(&network).files {
                let known = written.add(&file.path, file.text, Some(*to)).unwrap();
                written.modes.insert(known, file.mode);
            }
            let facts = Facts {
                interfaces: None,
                modes: written.modes.clone(),
            };
            let found = lint(&written.sources, &written.dialects, &facts);
            let wrong: Vec<Diagnostic> = found
                .into_iter()
                .filter(|found| found.severity == Severity::Error)
                .collect();
            if !wrong.is_empty() {
                let text = describe(&written, &wrong);
                problems.push(format!("{} in {}:\n{text}", good.display(), to.name()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The table in the documentation is this one.
#[test]
fn the_documentation_lists_every_rule() {
    let mut text = String::new();
    for rule in RULES {
        writeln!(
            text,
            "### `{}`\n\n{} ({}). {}\n",
            rule.code,
            upper(rule.title),
            rule.severity.as_str(),
            rule.why
        )
        .unwrap();
    }
    let path = Path::new("../../docs/lint.md");
    let known = fs::read_to_string(path).unwrap_or_default();
    let head = known
        .split_once("\n## The rules\n\n")
        .map_or("# Lint", |(head, _)| head);
    let wanted = format!("{head}\n## The rules\n\n{}\n", text.trim_end());
    compare(path, &wanted);
}

fn upper(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters
        .next()
        .map(|first| first.to_uppercase().collect::<String>());
    first.unwrap_or_default() + letters.as_str()
}

fn linted(fixture: &Path) -> (Gathered, Vec<Diagnostic>) {
    let text = fs::read_to_string(fixture).unwrap();
    let mut files: Vec<(String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        match line.trim_end().strip_prefix("==> ") {
            Some(head) => files.push((head.to_owned(), String::new())),
            None => files.last_mut().unwrap().1.push_str(line),
        }
    }
    let mut gathered = Gathered::default();
    let mut interfaces = None;
    for (head, text) in files {
        let (path, words) = head.split_once(" <==").unwrap();
        if path == "interfaces" {
            let lines = text.lines().map(|line| line.split_once(' ').unwrap());
            let known = lines.map(|(name, speed)| {
                let speed = speed.parse().ok();
                (
                    name.to_owned(),
                    Interface {
                        speed,
                        carrier: true,
                    },
                )
            });
            interfaces = Some(known.collect::<BTreeMap<_, _>>());
            continue;
        }
        let given = words.split_whitespace().find_map(|word| {
            Dialect::ALL
                .iter()
                .copied()
                .find(|dialect| dialect.name() == word)
        });
        let file = gathered.add(path, text, given);
        let file = file
            .unwrap_or_else(|| panic!("{}: the dialect of {path} is not known", fixture.display()));
        if let Some(mode) = words
            .split_whitespace()
            .find_map(|word| u32::from_str_radix(word, 8).ok())
        {
            gathered.modes.insert(file, mode);
        }
    }
    let facts = Facts {
        interfaces,
        modes: gathered.modes.clone(),
    };
    let found = lint(&gathered.sources, &gathered.dialects, &facts);
    (gathered, found)
}

fn describe(gathered: &Gathered, found: &[Diagnostic]) -> String {
    let texts: Vec<String> = found
        .iter()
        .map(|found| diagnostic::render(found, &gathered.sources, false) + "\n")
        .collect();
    texts.join("\n")
}

fn compare(expected: &Path, seen: &str) {
    if std::env::var_os(UPDATE).is_some() {
        fs::write(expected, seen).unwrap();
    }
    let wanted = fs::read_to_string(expected).unwrap_or_default();
    let expected: PathBuf = expected.to_owned();
    assert_eq!(
        seen,
        wanted,
        "{} differs; if the new text is right, run with {UPDATE}=1",
        expected.display()
    );
}
