//! Reads files and directories, in a fixed order, and puts the result together.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::check;
use crate::detect::unreadable;
use crate::diagnostic::{self, Diagnostic, PlainDiagnostic, Severity};
use crate::dialect;
use crate::model::DesiredNetwork;
use crate::span::Sources;

/// Everything that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// What is wanted, in the order it was written. Of use only when there are no errors.
    pub network: DesiredNetwork,
    /// Everything that is wrong, file by file, then by place.
    pub diagnostics: Vec<Diagnostic>,
    /// The files, for places.
    pub sources: Sources,
}

impl Loaded {
    /// How many of the diagnostics are errors. With one or more, nothing should be applied.
    pub fn errors(&self) -> usize {
        self.diagnostics
            .iter()
            .filter(|d| d.severity == Severity::Error)
            .count()
    }

    /// The form for people of one of the diagnostics, without a line break at the end.
    pub fn render(&self, diagnostic: &Diagnostic, colour: bool) -> String {
        diagnostic::render(diagnostic, &self.sources, colour)
    }

    /// The form for programs of all diagnostics.
    pub fn plain(&self) -> Vec<PlainDiagnostic> {
        self.diagnostics
            .iter()
            .map(|diagnostic| diagnostic.plain(&self.sources))
            .collect()
    }
}

/// Reads files, and of directories every `*.toml` in order of name (hidden files are left out). A path that cannot be
/// read is an error among the diagnostics, as is everything else.
pub fn load(paths: &[PathBuf]) -> Loaded {
    let mut loaded = Loaded::default();
    let mut files = Vec::new();
    for path in paths {
        match expand(path) {
            Ok(found) => files.extend(found),
            Err(e) => loaded.diagnostics.push(unreadable(path, &e)),
        }
    }
    for path in files {
        match fs::read_to_string(&path) {
            Ok(text) => read(&mut loaded, &path.to_string_lossy(), text),
            Err(e) => loaded.diagnostics.push(unreadable(&path, &e)),
        }
    }
    finish(&mut loaded);
    loaded
}

/// Reads one text as if it were the only file, with this name.
pub fn load_text(name: &str, text: &str) -> Loaded {
    let mut loaded = Loaded::default();
    read(&mut loaded, name, text.to_owned());
    finish(&mut loaded);
    loaded
}

/// The files behind a path.
fn expand(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let hidden = file
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden
            && file
                .extension()
                .is_some_and(|extension| extension == "toml")
            && !file.is_dir()
        {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

fn read(loaded: &mut Loaded, name: &str, text: String) {
    let file = loaded.sources.add(name, text);
    let text = &loaded.sources.get(file).text;
    dialect::toml::read_file(file, text, &mut loaded.network, &mut loaded.diagnostics);
}

fn finish(loaded: &mut Loaded) {
    check::check(&mut loaded.network, &mut loaded.diagnostics);
    // Stable: several about one place stay in the order they were found. Those without a place come first.
    loaded.diagnostics.sort_by_key(|diagnostic| diagnostic.span);
}
