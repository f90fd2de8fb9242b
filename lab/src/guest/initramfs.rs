//! The guest's first files: busybox, the two scripts of `lab/guest`, and the modules that reach the host's root.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::kernel::Image;

/// Modules without which there is no root and no output; what they depend on comes with them. Everything else the
/// guest loads itself, by name, from the unpacked package.
const MODULES: [&str; 5] = [
    "virtio_pci",
    "virtio_console",
    "9pnet_virtio",
    "9p",
    "overlay",
];

const INIT: &str = include_str!("../../guest/init.sh");
const RUN: &str = include_str!("../../guest/run.sh");

/// The archive, uncompressed.
pub(super) fn build(image: &Image) -> Result<Vec<u8>> {
    let directory = image.root.join("lib/modules").join(&image.version);
    let read = |name: &str| {
        let path = directory.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (dep, builtin) = (read("modules.dep")?, read("modules.builtin")?);
    let order = load_order(&dep, &builtin, MODULES)?;
    let busybox = fs::read("/usr/bin/busybox")
        .or_else(|_| fs::read("/bin/busybox"))
        .context("cannot read busybox")?;

    let mut archive = Archive::default();
    for directory in ["bin", "dev", "modules"] {
        archive.add(directory, 0o040_755, &[]);
    }
    archive.add("bin/busybox", 0o100_755, &busybox);
    let init = INIT.replace(
        "@CACHE@",
        image.root.to_string_lossy().trim_start_matches('/'),
    );
    archive.add("init", 0o100_755, init.as_bytes());
    archive.add("run.sh", 0o100_644, RUN.as_bytes());
    let mut names = String::new();
    for path in &order {
        let name = file_name(path).trim_end_matches(".xz");
        archive.add(
            &format!("modules/{name}"),
            0o100_644,
            &module(&directory.join(path))?,
        );
        names += name;
        names.push('\n');
    }
    archive.add("modules/order", 0o100_644, names.as_bytes());
    Ok(archive.finish())
}

/// A module's bytes, unpacked: busybox's insmod reads no xz.
fn module(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    }
    let output = Command::new("xz")
        .arg("-dc")
        .arg(path)
        .output()
        .context("cannot run xz")?;
    ensure!(
        output.status.success(),
        "xz cannot unpack {}",
        path.display()
    );
    Ok(output.stdout)
}

/// Paths of the wanted modules and of what they need, in the order to load them, by `modules.dep`; built-in ones left out.
fn load_order<'a>(
    dep: &'a str,
    builtin: &str,
    wanted: impl IntoIterator<Item = &'static str>,
) -> Result<Vec<&'a str>> {
    let mut order = Vec::new();
    for name in wanted {
        if builtin.lines().any(|path| module_name(path) == name) {
            continue;
        }
        let line = dep
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(path, _)| module_name(path) == name);
        let (path, needs) = line.with_context(|| format!("the kernel has no module {name}"))?;
        // depmod lists what is needed first last.
        for path in needs.split_whitespace().rev().chain([path]) {
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    Ok(order)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn module_name(path: &str) -> &str {
    file_name(path).split('.').next().unwrap_or(path)
}

/// An archive in the `newc` format of cpio, as the kernel documents it (`driver-api/early-userspace/buffer-format`).
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, data: &[u8]) {
        self.entries += 1;
        // Inode, mode, uid, gid, links, time, size, device (2), special device (2), length of the name, checksum.
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            data.len() as u32,
            0,
            0,
            0,
            0,
            name.len() as u32 + 1,
            0,
        ];
        let header = fields.iter().fold("070701".to_owned(), |header, field| {
            header + &format!("{field:08x}")
        });
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs/netfs.ko.xz\n\
                       kernel/net/9p/9pnet.ko.xz: kernel/fs/netfs/netfs.ko.xz\n\
                       kernel/fs/netfs/netfs.ko.xz:\n\
                       kernel/fs/overlayfs/overlay.ko.xz:\n";

    #[test]
    fn needs_come_first_and_once() {
        let order = load_order(
            DEP,
            "kernel/drivers/virtio/virtio_pci.ko\n",
            ["virtio_pci", "9pnet", "9p", "overlay"],
        );
        let names: Vec<_> = order.unwrap().into_iter().map(module_name).collect();
        assert_eq!(names, ["netfs", "9pnet", "9p", "overlay"]);
    }

    #[test]
    fn a_missing_module_is_named() {
        assert!(
            load_order(DEP, "", ["virtio_pci"])
                .unwrap_err()
                .to_string()
                .contains("virtio_pci")
        );
    }

    #[test]
    fn archive_is_readable_by_busybox() {
        let mut archive = Archive::default();
        archive.add("dir", 0o040_755, &[]);
        archive.add("dir/odd", 0o100_644, b"12345");
        archive.add("dir/even", 0o100_755, b"1234");
        let file = std::env::temp_dir().join(format!("oxbond-lab-cpio-{}", std::process::id()));
        fs::write(&file, archive.finish()).unwrap();
        let output = Command::new("busybox")
            .args(["cpio", "-tv"])
            .stdin(fs::File::open(&file).unwrap())
            .output();
        fs::remove_file(&file).unwrap();
        let listing = String::from_utf8(output.unwrap().stdout).unwrap();
        let names: Vec<_> = listing
            .lines()
            .filter_map(|line| line.split_whitespace().last())
            .collect();
        assert_eq!(names, ["dir", "dir/odd", "dir/even"], "{listing}");
    }
}
