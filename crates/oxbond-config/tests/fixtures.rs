//! Reads every fixture and compares with the `.txt` beside it: what was understood, then each diagnostic as people see
//! it. `OXBOND_UPDATE_FIXTURES=1 cargo test -p oxbond-config` writes the `.txt` files anew; look at the difference.
#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use oxbond_config::diagnostic::{Code, Severity};
use oxbond_config::load::load_text;
use oxbond_config::{Loaded, load};

const UPDATE: &str = "OXBOND_UPDATE_FIXTURES";

#[test]
fn good_files_are_understood() {
    for (path, loaded) in fixtures("good") {
        assert_eq!(loaded.errors(), 0, "{}", report(&loaded));
        compare(&path, &report(&loaded));
    }
}

#[test]
fn bad_files_get_a_diagnostic_for_everything_that_is_wrong() {
    for (path, loaded) in fixtures("bad") {
        assert!(!loaded.diagnostics.is_empty(), "{} is bad", path.display());
        for diagnostic in &loaded.diagnostics {
            assert!(
                !diagnostic.message.ends_with('.') && !diagnostic.message.contains('\n'),
                "{diagnostic:?}"
            );
        }
        compare(&path, &report(&loaded));
    }
}

#[test]
fn paths_that_cannot_be_read_are_told_beside_the_others() {
    let missing = PathBuf::from("tests/fixtures/no-such-directory");
    let loaded = load(&[missing, "tests/fixtures/good/documented.toml".into()]);
    assert_eq!((loaded.errors(), loaded.network.bonds.len()), (1, 1));
    let text = loaded.render(&loaded.diagnostics[0], false);
    assert!(
        text.contains("tests/fixtures/no-such-directory") && text.contains("check the path"),
        "{text}"
    );
}

#[test]
fn programs_get_file_line_and_column() {
    let loaded = load_text(
        "x.toml",
        "[bond.bond0]\nmode = \"active-backup\"\nmimon = 100\n",
    );
    let plain = loaded.plain();
    assert_eq!(plain.len(), 1);
    assert_eq!(
        (plain[0].code, plain[0].severity),
        (Code::UnknownKey, Severity::Error)
    );
    let place = plain[0].place.as_ref().unwrap();
    assert_eq!(
        (
            place.file.as_str(),
            place.start.line,
            place.start.column,
            place.end.column
        ),
        ("x.toml", 3, 1, 6)
    );
}

#[test]
fn codes_have_the_same_word_in_json_and_in_text() {
    let plain = load_text(
        "x.toml",
        "[bond.b]\nports = [\"b\"]\nmiimon = 0\n[bond.b]\n[x]",
    )
    .plain();
    assert!(!plain.is_empty());
    for diagnostic in plain {
        assert_eq!(
            serde_json::to_value(diagnostic.code).unwrap(),
            diagnostic.code.as_str()
        );
    }
}

/// Whatever stands in a file, reading it ends, does not panic, and says something when nothing came out of it.
#[test]
fn mutilated_files_do_no_harm() {
    for (path, _) in fixtures("good")
        .into_iter()
        .chain(fixtures("bad"))
        .filter(|(path, _)| path.is_file())
    {
        let text = fs::read_to_string(&path).unwrap();
        for cut in (0..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            for broken in [
                text[..cut].to_owned(),
                format!("{}\"{}", &text[..cut], &text[cut..]),
            ] {
                let loaded = load_text("cut.toml", &broken);
                for diagnostic in &loaded.diagnostics {
                    assert!(!loaded.render(diagnostic, true).is_empty());
                }
            }
        }
    }
}

/// Each fixture is a `.toml` file or a directory of them.
fn fixtures(kind: &str) -> Vec<(PathBuf, Loaded)> {
    let mut found: Vec<PathBuf> = fs::read_dir(Path::new("tests/fixtures").join(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.is_dir()
                || path
                    .extension()
                    .is_some_and(|extension| extension == "toml")
        })
        .collect();
    found.sort();
    assert!(found.len() > 3, "the fixtures are gone");
    found
        .into_iter()
        .map(|path| (path.clone(), load(std::slice::from_ref(&path))))
        .collect()
}

fn compare(fixture: &Path, seen: &str) {
    let expected = fixture.with_extension("txt");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&expected, seen).unwrap();
    }
    let wanted = fs::read_to_string(&expected).unwrap_or_default();
    assert_eq!(
        seen,
        wanted,
        "{} differs; if the new text is right, run with {UPDATE}=1",
        expected.display()
    );
}

fn report(loaded: &Loaded) -> String {
    let mut text = String::new();
    write!(text, "{}", loaded.network).unwrap();
    for diagnostic in &loaded.diagnostics {
        write!(text, "\n{}\n", loaded.render(diagnostic, false)).unwrap();
    }
    text
}
