//! What of the network the daemon keeps on disk beside its bonds: what is ours, and, while steps are taken or a trial
//! goes on, the way back.
//!
//! | file | there | a daemon that finds it at its start |
//! |---|---|---|
//! | `network.json` | always, once something was applied | knows by it what is ours |
//! | `leases.json` | while servers have lent addresses ([`leases`](super::leases)) | knows by it which they are |
//! | `undo.json` | from before the first step until all are taken, or the trial is confirmed | goes back at once |
//!
//! Each is replaced whole ([`files`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oxbond_linux::files::{self, Mode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::error;

use crate::exit::{Blame, Failure};
use crate::network::{Record, Undo};

/// The files.
pub(super) struct Keeper {
    dir: PathBuf,
    record: Record,
}

impl Keeper {
    /// Reads what an earlier daemon left in `dir`, which exists. Of a record that cannot be read nothing is ours.
    pub(super) fn open(dir: &Path) -> Self {
        let mut keeper = Self {
            dir: dir.to_owned(),
            record: Record::default(),
        };
        match read(&keeper.record_file()) {
            Ok(record) => keeper.record = record.unwrap_or_default(),
            Err(failure) => error!("what an earlier daemon made beside bonds stays: {failure}"),
        }
        keeper
    }

    /// What is ours.
    pub(super) const fn record(&self) -> &Record {
        &self.record
    }

    /// What is ours from now on; written if it differs.
    pub(super) fn set_record(&mut self, record: Record) -> Result<(), Failure> {
        if record != self.record {
            write(&self.record_file(), &record)?;
            self.record = record;
        }
        Ok(())
    }

    /// The way back that an earlier daemon left.
    pub(super) fn undo(&self) -> Result<Option<Undo>, Failure> {
        read(&self.undo_file())
    }

    /// Keeps the way back; from here on every later daemon would take it.
    pub(super) fn set_undo(&self, undo: &Undo) -> Result<(), Failure> {
        write(&self.undo_file(), undo)
    }

    /// There is no way back any more.
    pub(super) fn forget_undo(&self) -> Result<(), Failure> {
        let path = self.undo_file();
        files::remove(&path).map_err(|e| failed("remove", &path, &e))
    }

    fn record_file(&self) -> PathBuf {
        self.dir.join("network.json")
    }

    fn undo_file(&self) -> PathBuf {
        self.dir.join("undo.json")
    }
}

fn failed(what: &str, path: &Path, e: &dyn std::fmt::Display) -> Failure {
    let why = format!(
        "cannot {what} {}: {e}; without it a later daemon could not go on from here",
        path.display()
    );
    Failure::new(Blame::Kernel, why)
}

/// Reads such a file; `None` when there is none.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|e| failed("read", path, &e)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("read", path, &e)),
    }
}

/// Replaces such a file, or leaves it as it was.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let text = serde_json::to_vec(value).map_err(|e| {
        let why = format!("cannot encode {}: {e}", path.display());
        Failure::new(Blame::Bug, why)
    })?;
    files::replace(path, &text, Mode::KeptOr(0o644)).map_err(|e| failed("save", path, &e))
}
