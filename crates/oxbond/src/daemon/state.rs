//! What one daemon leaves for the next: a file per bond, replaced whole, on the same tmpfs as the control socket.
//!
//! The file holds what was asked for, the core's exact state and the engine's record of what it found before it changed
//! anything. It is written after every change and before the answer goes out, so that a daemon killed at any moment
//! loses nothing that its user was told.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use oxbond_core::bond::Bond;
use oxbond_linux::engine::EngineRecord;
use serde::{Deserialize, Serialize};

use crate::control::protocol::BondRequest;
use crate::exit::{Blame, Failure};

/// Version of the file's form. A daemon that meets another one leaves the bond alone and says so.
pub(crate) const STATE_VERSION: u32 = 1;

/// The content of a state file.
#[derive(Serialize, Deserialize)]
pub(crate) struct SavedBond {
    /// [`STATE_VERSION`].
    pub(crate) version: u32,
    /// What was asked for.
    pub(crate) wanted: BondRequest,
    /// The core, as it stood.
    pub(crate) core: Bond,
    /// What the engine made and what it found.
    pub(crate) engine: EngineRecord,
}

/// A file's content and text, or why it cannot be used.
pub(crate) type Loaded = Result<(SavedBond, String), String>;

/// The directory of state files.
pub(crate) struct StateDir {
    dir: PathBuf,
}

impl StateDir {
    /// Uses `dir`, made if missing.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, Failure> {
        fs::create_dir_all(&dir).map_err(|e| {
            Failure::new(Blame::Kernel, format!("cannot make {}: {e}", dir.display()))
        })?;
        Ok(Self { dir })
    }

    fn file(&self, bond: &str) -> PathBuf {
        self.dir.join(format!("{bond}.json"))
    }

    /// Replaces the bond's file by `text`. On failure (a full disk) the old file stays as it was.
    pub(crate) fn save(&self, bond: &str, text: &str) -> Result<(), Failure> {
        let target = self.file(bond);
        let draft = self.dir.join(format!("{bond}.json.new"));
        let write = || {
            let mut file = fs::File::create(&draft)?;
            file.write_all(text.as_bytes())?;
            fs::rename(&draft, &target)
        };
        write().map_err(|e| {
            let _ = fs::remove_file(&draft);
            Failure::new(
                Blame::Kernel,
                format!(
                    "cannot save the state of {bond} in {}: {e}",
                    target.display()
                ),
            )
        })
    }

    /// Forgets a bond.
    pub(crate) fn forget(&self, bond: &str) -> Result<(), Failure> {
        match fs::remove_file(self.file(bond)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Failure::new(
                Blame::Kernel,
                format!("cannot remove {}: {e}", self.file(bond).display()),
            )),
            _ => Ok(()),
        }
    }

    /// Every saved bond with the file's text, by name. A file that cannot be read is reported in its place.
    pub(crate) fn load_all(&self) -> Vec<(PathBuf, Loaded)> {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return Vec::new();
        };
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        files.retain(|path| path.extension().is_some_and(|ext| ext == "json"));
        files.sort();
        files
            .into_iter()
            .map(|path| (path.clone(), load(&path)))
            .collect()
    }
}

fn load(path: &Path) -> Loaded {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
    let version: Version = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    if version.version != STATE_VERSION {
        return Err(format!(
            "it is of version {}, this daemon writes {STATE_VERSION}",
            version.version
        ));
    }
    let saved = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    Ok((saved, text))
}
