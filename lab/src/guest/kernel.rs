//! Debian's kernels in a cache of our own, fetched with apt and unpacked, never installed; and the tools a guest needs.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};

/// Where kernels are kept; removing it fetches them anew.
pub(super) const CACHE: &str = "/var/cache/oxbond-guest";

/// Packages that a guest needs, each with files one of which shows that it is there. A busybox of another package may be
/// linked to libraries that the initramfs lacks.
const PACKAGES: [(&str, &[&str]); 4] = [
    ("qemu-system-x86", &["/usr/bin/qemu-system-x86_64"]),
    ("busybox-static", &["/usr/share/doc/busybox-static"]),
    ("kmod", &["/usr/sbin/depmod", "/sbin/depmod"]),
    ("xz-utils", &["/usr/bin/xz"]),
];

/// A series of Debian's kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Debian 12's own: clsact, no tcx, no netkit.
    V6_1,
    /// Debian 12's newer and Debian 13's own: tcx and netkit.
    V6_12,
}

impl Kernel {
    fn series(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }

    /// Packages that depend on the newest kernel of the series, in one or the other release.
    fn meta_packages(self) -> &'static [&'static str] {
        match self {
            Self::V6_1 => &["linux-image-amd64"],
            Self::V6_12 => &["linux-image-6.12-amd64", "linux-image-amd64"],
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.series())
    }
}

impl FromStr for Kernel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = [Self::V6_1, Self::V6_12]
            .into_iter()
            .find(|kernel| kernel.series() == text);
        known.ok_or_else(|| format!("no kernel {text:?}: use 6.1 or 6.12"))
    }
}

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Image {
    /// As `uname -r` says it.
    pub(super) version: String,
    /// The bootable file.
    pub(super) vmlinuz: PathBuf,
    /// Where its package is unpacked: `lib/modules/VERSION` with a `modules.dep` in it.
    pub(super) root: PathBuf,
}

/// The right to change the cache and install packages: one process at a time.
#[derive(Debug)]
pub(super) struct Preparation {
    /// Locked until closed.
    _lock: fs::File,
}

impl Preparation {
    /// Waits for its turn and installs the tools that are missing.
    pub(super) fn begin() -> Result<Self> {
        ensure!(
            cfg!(target_arch = "x86_64"),
            "guests are x86-64: this machine is not"
        );
        fs::create_dir_all(CACHE).with_context(|| format!("cannot make {CACHE}: run as root"))?;
        let lock = fs::File::create(Path::new(CACHE).join("lock"))
            .with_context(|| format!("cannot write in {CACHE}: run as root"))?;
        flock(&lock, FlockOperation::LockExclusive).context("cannot lock the kernel cache")?;
        let there = |files: &[&str]| files.iter().any(|file| Path::new(file).exists());
        let missing: Vec<_> = PACKAGES
            .iter()
            .filter(|(_, files)| !there(files))
            .map(|&(package, _)| package)
            .collect();
        if !missing.is_empty() {
            update()?;
            let mut install = Command::new("apt-get");
            install.env("DEBIAN_FRONTEND", "noninteractive");
            run(install
                .args(["install", "-y", "-q", "--no-install-recommends"])
                .args(&missing))?;
        }
        Ok(Self { _lock: lock })
    }

    /// A kernel of the series, from the cache or fetched.
    pub(super) fn image(&self, kernel: Kernel) -> Result<Image> {
        let root = Path::new(CACHE).join(kernel.series());
        if !root.exists() {
            // Unpacked beside and renamed: what has its final name is whole.
            let unfinished = Path::new(CACHE).join(format!("{kernel}.unfinished"));
            remove(&unfinished)?;
            fs::create_dir(&unfinished)?;
            let package = fetch(kernel, &unfinished)?;
            run(Command::new("dpkg-deb")
                .arg("-x")
                .arg(&package)
                .arg(&unfinished))?;
            fs::remove_file(&package)?;
            let version = version(&unfinished)?;
            run(Command::new("depmod")
                .arg("-b")
                .arg(&unfinished)
                .arg(version))?;
            fs::rename(&unfinished, &root)?;
        }
        let version = version(&root)?;
        Ok(Image {
            vmlinuz: root.join(format!("boot/vmlinuz-{version}")),
            version,
            root,
        })
    }

    /// Whether KVM boots `probe` here, tried once between two boots of this machine. That `/dev/kvm` exists says little: it
    /// may want guests made for it.
    pub(super) fn kvm_works(&self, probe: impl FnOnce() -> Result<()>) -> Result<bool> {
        if !Path::new("/dev/kvm").exists() {
            return Ok(false);
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let (works, fails) = (format!("{boot}works\n"), format!("{boot}fails\n"));
        let note = Path::new(CACHE).join("kvm");
        match fs::read_to_string(&note).unwrap_or_default() {
            known if known == works => Ok(true),
            known if known.starts_with(&fails) => Ok(false),
            _ => {
                let tried = probe();
                let text = tried
                    .as_ref()
                    .map_or_else(|error| format!("{fails}{error:#}\n"), |()| works);
                fs::write(&note, text)?;
                Ok(tried.is_ok())
            }
        }
    }
}

/// Downloads the newest kernel package of a series into a directory.
fn fetch(kernel: Kernel, into: &Path) -> Result<PathBuf> {
    let package = match resolve(kernel)? {
        Some(package) => package,
        None => {
            update()?;
            resolve(kernel)?.with_context(|| {
                let asked = kernel.meta_packages().join(", ");
                format!("apt offers no Linux {kernel} (asked {asked}): add Debian 12's main archive to its sources")
            })?
        }
    };
    // The lists may be older than the archive: what they name is gone then.
    if download(&package, into).is_err() {
        update()?;
        download(&resolve(kernel)?.unwrap_or(package), into)?;
    }
    let files = fs::read_dir(into)?.collect::<Result<Vec<_>, _>>()?;
    let deb = files
        .iter()
        .map(fs::DirEntry::path)
        .find(|path| path.extension().is_some_and(|ext| ext == "deb"));
    deb.context("apt-get download left no package")
}

fn download(package: &str, into: &Path) -> Result<()> {
    // apt's own user may not write here, and would say so on every run.
    let mut apt = Command::new("apt-get");
    run(apt
        .args(["-q", "-o", "APT::Sandbox::User=root", "download", package])
        .current_dir(into))
    .map(drop)
}

/// The package of the newest kernel of a series, by what the meta packages depend on.
fn resolve(kernel: Kernel) -> Result<Option<String>> {
    for meta in kernel.meta_packages() {
        // apt-cache fails for a package that it does not know.
        let Ok(text) = run(Command::new("apt-cache").args(["depends", "--no-suggests", meta]))
        else {
            continue;
        };
        if let Some(package) = kernel_package(&text, kernel) {
            return Ok(Some(package));
        }
    }
    Ok(None)
}

/// The kernel of the series among the lines of `apt-cache depends`.
fn kernel_package(depends: &str, kernel: Kernel) -> Option<String> {
    let prefix = format!("linux-image-{}.", kernel.series());
    let named = depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    named
        .map(str::trim)
        .find(|name| name.starts_with(&prefix))
        .map(str::to_owned)
}

fn update() -> Result<()> {
    run(Command::new("apt-get").args(["update", "-q"])).map(drop)
}

/// The version whose modules lie below an unpacked package.
fn version(root: &Path) -> Result<String> {
    let modules = root.join("lib/modules");
    let entry = fs::read_dir(&modules)
        .ok()
        .and_then(|mut entries| entries.next())
        .transpose()?;
    let entry =
        entry.with_context(|| format!("{} holds no kernel: remove {CACHE}", modules.display()))?;
    Ok(entry.file_name().to_string_lossy().into_owned())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Runs a tool to its end and returns what it printed.
pub(super) fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}: this needs Debian's tools"))?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_packages_resolve_to_the_series_asked_for() {
        let bookworm = "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n";
        let backport = "linux-image-6.12-amd64\n  Depends: linux-image-6.12.117+deb12-amd64\n";
        let old = "linux-image-6.1.0-56-amd64".to_owned();
        let new = "linux-image-6.12.117+deb12-amd64".to_owned();
        assert_eq!(kernel_package(bookworm, Kernel::V6_1), Some(old));
        assert_eq!(kernel_package(backport, Kernel::V6_12), Some(new));
        assert_eq!(kernel_package(backport, Kernel::V6_1), None);
        assert_eq!(kernel_package(bookworm, Kernel::V6_12), None);
    }

    #[test]
    fn kernels_are_named_by_series() {
        assert_eq!("6.1".parse(), Ok(Kernel::V6_1));
        assert_eq!("6.12".parse(), Ok(Kernel::V6_12));
        assert_eq!(
            "5.10".parse::<Kernel>().unwrap_err(),
            "no kernel \"5.10\": use 6.1 or 6.12"
        );
    }
}
