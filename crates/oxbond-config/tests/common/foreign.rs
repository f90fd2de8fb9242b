//! The fixtures of the foreign dialects: `tests/fixtures/DIALECT/NAME.fixture`, files one after the other, each below a
//! line `==> PATH <==`.

use std::fs;
use std::path::{Path, PathBuf};

use oxbond_config::dialect::Dialect;
use oxbond_config::span::Sources;

/// Every one, with its dialect and its path.
pub(crate) fn fixtures() -> Vec<(Dialect, PathBuf, Sources)> {
    let mut found = Vec::new();
    for dialect in Dialect::ALL {
        let directory = Path::new("tests/fixtures").join(dialect.name());
        let mut paths: Vec<PathBuf> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "fixture")
            })
            .collect();
        paths.sort();
        assert!(
            paths.len() > 5,
            "the fixtures of {} are gone",
            dialect.name()
        );
        found.extend(paths.into_iter().map(|path| {
            let sources = parse(&fs::read_to_string(&path).unwrap());
            (*dialect, path, sources)
        }));
    }
    found
}

/// The files of one.
pub(crate) fn parse(fixture: &str) -> Sources {
    let mut sources = Sources::default();
    let mut files: Vec<(String, String)> = Vec::new();
    for line in fixture.split_inclusive('\n') {
        match line
            .trim_end()
            .strip_prefix("==> ")
            .and_then(|rest| rest.strip_suffix(" <=="))
        {
            Some(path) => files.push((path.to_owned(), String::new())),
            None => files.last_mut().unwrap().1.push_str(line),
        }
    }
    for (path, text) in files {
        sources.add(path, text);
    }
    sources
}
