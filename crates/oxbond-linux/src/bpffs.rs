//! Where programs and maps are pinned: a mounted BPF file system.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount};

use crate::error::KernelError;

/// Where systemd mounts it.
const USUAL: &str = "/sys/fs/bpf";

/// `BPF_FS_MAGIC` (`include/uapi/linux/magic.h`).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// The usual BPF file system, or one of our own mounted at `<run>/bpf` where the machine has none (containers).
/// A file system mounted by an earlier call is found again.
///
/// # Errors
/// When there is none and none can be mounted: without `CAP_SYS_ADMIN`, or on a kernel without BPF.
pub fn find_or_mount(run: &Path) -> Result<PathBuf, KernelError> {
    find_or_mount_from(Path::new(USUAL), run)
}

fn find_or_mount_from(usual: &Path, run: &Path) -> Result<PathBuf, KernelError> {
    if is_bpffs(usual) {
        return Ok(usual.to_owned());
    }
    let own = run.join("bpf");
    if is_bpffs(&own) {
        return Ok(own);
    }
    let failed = |op: &str, e: &io::Error| KernelError::from_io(op, own.display().to_string(), e);
    fs::create_dir_all(&own).map_err(|e| failed("create", &e))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("bpf", &own, "bpf", flags, Some(c"mode=0700"))
        .map_err(|e| failed("mount a BPF file system at", &e.into()))?;
    Ok(own)
}

fn is_bpffs(path: &Path) -> bool {
    rustix::fs::statfs(path)
        .is_ok_and(|stat| u64::try_from(stat.f_type).is_ok_and(|magic| magic == BPF_FS_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{TempDir, in_fresh_namespaces};

    #[test]
    fn root_mounts_one_once_where_none_is() {
        in_fresh_namespaces(|| {
            let run = TempDir::new();
            let none = run.path().join("none");
            let found = find_or_mount_from(&none, run.path()).unwrap();
            assert_eq!(found, run.path().join("bpf"));
            assert!(is_bpffs(&found));
            fs::create_dir(found.join("kept")).unwrap();
            // Again: the same one, not another mounted over it.
            assert_eq!(find_or_mount_from(&none, run.path()).unwrap(), found);
            assert!(found.join("kept").is_dir());
            // And the usual one wins where it is.
            assert_eq!(
                find_or_mount_from(&found, Path::new("/nonexistent")).unwrap(),
                found
            );
            rustix::mount::unmount(&found, rustix::mount::UnmountFlags::empty()).unwrap();
        });
    }
}
