//! What lies where under the directory in which a bond's data path is pinned.
//!
//! ```text
//! maps/{control,tables,ports,port_counters,bond_counters,loads,arrivals,hints,abi,left_records,tapped_frames}
//! programs/{bond_tx,port_rx,find_netdev}
//! links/{front,port-<n>}        only where the kernel has links (tcx, netkit)
//! ```

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::{fs, mem};

use oxbond_core::port::PortId;

use crate::error::DatapathError;

/// `f_type` of a BPF file system.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// The directory of one data path.
#[derive(Debug)]
pub(crate) struct Pins(PathBuf);

impl Pins {
    pub(crate) fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.0.join("maps").join(name)
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.0.join("programs").join(name)
    }

    pub(crate) fn front_link(&self) -> PathBuf {
        self.0.join("links/front")
    }

    pub(crate) fn port_link(&self, port: PortId) -> PathBuf {
        self.0.join(format!("links/port-{}", port.index()))
    }

    /// Whether the directory may be made: it is not there, and its place is on a bpffs.
    pub(crate) fn check_free(&self) -> Result<(), DatapathError> {
        if self.0.exists() {
            return Err(DatapathError::AlreadyInstalled(self.0.clone()));
        }
        let existing = self.0.ancestors().find(|dir| dir.exists());
        if !is_bpffs(existing.unwrap_or_else(|| Path::new("/")))? {
            return Err(DatapathError::NotBpffs(self.0.clone()));
        }
        Ok(())
    }

    /// Makes the directories.
    pub(crate) fn create(&self) -> Result<(), DatapathError> {
        for part in ["maps", "programs", "links"] {
            let dir = self.0.join(part);
            fs::create_dir_all(&dir).map_err(|error| {
                DatapathError::kernel(format!("create {}", dir.display()), error)
            })?;
        }
        Ok(())
    }

    /// Removes every pin and the directory. Links go first, so that no device is left with a program half gone.
    pub(crate) fn remove(&self) -> Result<(), DatapathError> {
        for part in ["links", "programs", "maps"] {
            let dir = self.0.join(part);
            let Ok(entries) = fs::read_dir(&dir) else {
                continue;
            };
            for entry in entries.flatten() {
                unpin(&entry.path())?;
            }
            remove_dir(&dir)?;
        }
        remove_dir(&self.0)
    }
}

/// Removes one pin, if it is there.
pub(crate) fn unpin(path: &Path) -> Result<(), DatapathError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DatapathError::kernel(
            format!("unpin {}", path.display()),
            error,
        )),
        _ => Ok(()),
    }
}

fn remove_dir(dir: &Path) -> Result<(), DatapathError> {
    match fs::remove_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(DatapathError::kernel(
            format!("remove {}", dir.display()),
            error,
        )),
        _ => Ok(()),
    }
}

fn is_bpffs(path: &Path) -> Result<bool, DatapathError> {
    let failed = |error| {
        DatapathError::kernel(
            format!("look at the file system of {}", path.display()),
            error,
        )
    };
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| failed(error.into()))?;
    // SAFETY: statfs is plain data for which zero is a value.
    let mut stat: libc::statfs = unsafe { mem::zeroed() };
    // SAFETY: a terminated string and a structure to fill, both alive during the call.
    if unsafe { libc::statfs(name.as_ptr(), &raw mut stat) } < 0 {
        return Err(failed(io::Error::last_os_error()));
    }
    // The width and sign of the field differ between architectures; the magic has 32 bits.
    Ok(stat.f_type as u64 & 0xffff_ffff == BPF_FS_MAGIC)
}
