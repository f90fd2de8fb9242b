//! Where a daemon keeps things at run time: one directory per network namespace below `/run/oxbond`.
//!
//! The directory is named by the namespace's cookie, a number the kernel never gives twice within one boot, so that
//! nothing left by a namespace that is gone is ever taken for a new one's.

use std::collections::BTreeSet;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::exit::{Blame, Failure};

/// The run-time files of the daemon that serves one network namespace.
#[derive(Clone, Debug)]
pub(crate) struct RunPaths {
    dir: PathBuf,
}

impl RunPaths {
    /// For the network namespace of the calling thread, below `root` (normally `/run/oxbond`).
    pub(crate) fn here(root: &Path) -> Result<Self, Failure> {
        let cookie = oxbond_linux::netns::cookie_here().map_err(|e| {
            let blame = if e.is_permission() {
                Blame::Permission
            } else {
                Blame::Kernel
            };
            Failure::new(
                blame,
                format!("cannot tell which network namespace this is: {e}"),
            )
        })?;
        Ok(Self {
            dir: root.join(format!("ns-{cookie}")),
        })
    }

    /// Makes the directory, readable by root only.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|e| {
                let blame = if e.kind() == std::io::ErrorKind::PermissionDenied {
                    Blame::Permission
                } else {
                    Blame::Kernel
                };
                Failure::new(
                    blame,
                    format!(
                        "cannot make {}: {e}; the daemon must start as root",
                        self.dir.display()
                    ),
                )
            })
    }

    /// The control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("control.sock")
    }

    /// The file whose lock says that a daemon is running; holds its process id.
    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// Where each bond's state is kept for the next daemon.
    pub(crate) fn bonds(&self) -> PathBuf {
        self.dir.join("bonds")
    }

    /// Names of the bonds whose state is kept: those of the daemon, or of the one before.
    pub(crate) fn saved_bonds(&self) -> BTreeSet<String> {
        let files = std::fs::read_dir(self.bonds()).into_iter().flatten();
        let names = files.filter_map(|file| {
            let path = file.ok()?.path();
            let name = path.file_stem()?.to_str()?.to_owned();
            (path.extension()? == "json").then_some(name)
        });
        names.collect()
    }

    /// The directory itself, for what is kept of the network beside the bonds.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Name of this namespace's directory, used for its pins as well.
    pub(crate) fn namespace(&self) -> &Path {
        self.dir
            .file_name()
            .map_or_else(|| Path::new("ns"), Path::new)
    }
}
