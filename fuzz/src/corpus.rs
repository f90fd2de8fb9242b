//! Where the inputs of a target are.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// The inputs of a target, in order of path: what is in `fuzz/corpus/TARGET/`, and the fixtures of the dialect of that
/// name without being copied.
pub fn seeds(target: &str) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixtures = "../crates/oxbond-config/tests/fixtures";
    let mut found = Vec::new();
    for directory in [root.join("corpus"), root.join(fixtures)] {
        let directory = directory.join(target);
        if directory.exists() {
            collect(&directory, &mut found)?;
        }
    }
    found.sort();
    Ok(found)
}

fn collect(directory: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        // Follows links: to fixtures that are elsewhere.
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_none_or(|extension| extension != "txt") {
            // Beside a fixture stands in a .txt what is expected of it.
            let bytes = fs::read(&path)?;
            found.push((path, bytes));
        }
    }
    Ok(())
}
