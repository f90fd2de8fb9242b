//! Which dialect a file is in, by its path and what stands in it; and where a machine keeps such files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::dialect::Dialect;
use crate::span::{FileId, Sources};

/// Where a machine keeps its files, of all dialects. What is not there is passed over.
const USUAL_PLACES: [&str; 10] = [
    "etc/netplan",
    "etc/systemd/network",
    "etc/NetworkManager/system-connections",
    "etc/network/interfaces",
    "etc/network/interfaces.d",
    "etc/sysconfig/network",
    "etc/sysconfig/network-scripts",
    "etc/modprobe.d",
    "etc/nmstate",
    "etc/oxbond",
];

/// What only ifupdown2 has.
const SECOND: [&str; 5] = [
    "bridge-vlan-aware",
    "bridge-vids",
    "bridge-pvid",
    "vlan-id",
    "address-virtual",
];

/// The dialect of a file; nothing for one that is in none of them. Whether `interfaces` is ifupdown's or ifupdown2's is
/// guessed from what only one of them has.
pub fn detect(path: &str, text: &str) -> Option<Dialect> {
    let mut parts = path.rsplit('/');
    let base = parts.next().unwrap_or(path);
    let parent = parts.next().unwrap_or("");
    let networkd = |name: &str| name.ends_with(".netdev") || name.ends_with(".network");
    let drop_in = base.ends_with(".conf") && parent.strip_suffix(".d").is_some_and(networkd);
    if networkd(base) || drop_in {
        return Some(Dialect::Networkd);
    }
    if base.ends_with(".nmconnection") || parent == "system-connections" {
        return Some(Dialect::Keyfile);
    }
    if base.ends_with(".toml") {
        return Some(Dialect::Toml);
    }
    let script = ["ifcfg-", "route-", "route6-", "ifroute-"];
    if script.iter().any(|start| base.starts_with(start)) || path.ends_with("sysconfig/network") {
        return Some(Dialect::Ifcfg);
    }
    if parent == "modprobe.d" {
        return text.contains("bonding").then_some(Dialect::Modprobe);
    }
    if base == "interfaces" || parent == "interfaces.d" {
        return Some(flavour(text));
    }
    let top = |key: &str| text.lines().any(|line| line.starts_with(key));
    if base == "network-config" || parent == "cloud.cfg.d" {
        return (top("network:") || top("version:")).then_some(Dialect::CloudInit);
    }
    if base.ends_with(".yaml") || base.ends_with(".yml") {
        return Some(if parent == "netplan" {
            Dialect::Netplan
        } else {
            yaml(text)
        });
    }
    let is_nmcli = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("sudo ").unwrap_or(line);
        line.starts_with("nmcli ")
    };
    if text.lines().any(is_nmcli) {
        return Some(Dialect::Nmcli);
    }
    if text.lines().any(is_ip) {
        return Some(Dialect::Iproute);
    }
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(['#', ';']))?;
    let word = first.split_whitespace().next().unwrap_or(first);
    match word {
        "[NetDev]" | "[Match]" | "[Network]" => Some(Dialect::Networkd),
        "[connection]" | "[bond]" => Some(Dialect::Keyfile),
        "network:" | "interfaces:" | "---" => Some(yaml(text)),
        "auto" | "iface" | "source" | "source-directory" | "allow-hotplug" => Some(flavour(text)),
        _ if first.starts_with("[bond.") => Some(Dialect::Toml),
        _ => None,
    }
}

/// Whether a line is a command of `ip` that makes or changes a device, in a script or for `ip -batch`.
fn is_ip(line: &str) -> bool {
    let line = line.trim_start();
    let line = line.strip_prefix("sudo ").unwrap_or(line);
    let command = line.strip_prefix("/sbin/").unwrap_or(line);
    let command = command.strip_prefix("ip ").unwrap_or(command);
    ["link add ", "link set "]
        .iter()
        .any(|start| command.trim_start().starts_with(start))
}

/// Whose YAML it is, by what stands at the outermost level.
fn yaml(text: &str) -> Dialect {
    const STATE: [&str; 6] = [
        "interfaces:",
        "routes:",
        "dns-resolver:",
        "desiredState:",
        "kind: NodeNetworkConfigurationPolicy",
        "apiVersion: nmstate.io",
    ];
    let of_state = |line: &str| STATE.iter().any(|start| line.starts_with(start));
    // netplan has no such version.
    let first_version = |line: &str| line.trim() == "version: 1";
    if text.lines().any(of_state) {
        Dialect::Nmstate
    } else if text.starts_with("#cloud-config") || text.lines().any(first_version) {
        Dialect::CloudInit
    } else {
        Dialect::Netplan
    }
}

fn flavour(text: &str) -> Dialect {
    let bare = |line: &str| {
        let mut words = line.split_whitespace();
        words.next() == Some("iface") && words.count() == 1
    };
    let second = |line: &str| {
        let key = line
            .split_whitespace()
            .next()
            .unwrap_or("")
            .replace('_', "-");
        SECOND.contains(&key.as_str()) || bare(line)
    };
    if text.lines().any(second) {
        Dialect::Ifupdown2
    } else {
        Dialect::Ifupdown
    }
}

/// Files with their dialects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// The files.
    pub sources: Sources,
    /// Their dialects.
    pub dialects: BTreeMap<FileId, Dialect>,
    /// Their permission bits.
    pub modes: BTreeMap<FileId, u32>,
    /// What cannot be read, or is in no dialect.
    pub diagnostics: Vec<Diagnostic>,
}

impl Gathered {
    /// Takes a text in, in this dialect or the one it seems to be in.
    pub fn add(&mut self, name: &str, text: String, given: Option<Dialect>) -> Option<FileId> {
        let dialect = given.or_else(|| detect(name, &text))?;
        let file = self.sources.add(name, text);
        self.dialects.insert(file, dialect);
        Some(file)
    }

    /// Files of one machine are ifupdown's or ifupdown2's as a whole, and one that tells is enough; and those of
    /// modprobe.d belong to the bonds of ifcfg files beside them.
    pub fn settle(&mut self) {
        let joined = [
            (Dialect::Ifupdown2, Dialect::Ifupdown),
            (Dialect::Ifcfg, Dialect::Modprobe),
        ];
        for (with, from) in joined {
            if self.dialects.values().any(|dialect| *dialect == with) {
                let all = self.dialects.values_mut();
                all.filter(|dialect| **dialect == from)
                    .for_each(|dialect| *dialect = with);
            }
        }
    }
}

/// Reads files, and of directories all that are in some dialect. With a dialect given, all files are in it.
pub fn gather(paths: &[PathBuf], given: Option<Dialect>) -> Gathered {
    let mut gathered = Gathered::default();
    for path in paths {
        let files = match expand(path) {
            Ok(files) => files,
            Err(e) => {
                gathered.diagnostics.push(unreadable(path, &e));
                continue;
            }
        };
        let named = files == [path.as_path()];
        for file in files {
            let name = file.to_string_lossy().into_owned();
            read(&mut gathered, &file, &name, given, named);
        }
    }
    if given.is_none() {
        gathered.settle();
    }
    gathered
}

/// Reads what a machine has in its usual places below `root`, which is left out of the names. What may not be read is
/// told as a warning.
pub fn gather_usual(root: &Path, given: Option<Dialect>) -> Gathered {
    let mut gathered = Gathered::default();
    for place in USUAL_PLACES {
        let place = root.join(place);
        let files = match expand(&place) {
            Ok(files) => files,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => {
                let found = unreadable(&place, &e);
                gathered.diagnostics.push(milder(found));
                continue;
            }
        };
        for file in files {
            let below = file.strip_prefix(root).unwrap_or(&file);
            let name = Path::new("/").join(below).to_string_lossy().into_owned();
            let before = gathered.diagnostics.len();
            read(&mut gathered, &file, &name, None, false);
            for found in gathered.diagnostics.split_off(before) {
                gathered.diagnostics.push(milder(found));
            }
        }
    }
    if root.join("usr/share/ifupdown2").is_dir() {
        for dialect in gathered
            .dialects
            .values_mut()
            .filter(|dialect| **dialect == Dialect::Ifupdown)
        {
            *dialect = Dialect::Ifupdown2;
        }
    }
    gathered.settle();
    if let Some(given) = given {
        let all = core::mem::take(&mut gathered.dialects);
        gathered.dialects = all
            .into_iter()
            .filter(|(_, dialect)| *dialect == given)
            .collect();
    }
    gathered
}

fn read(gathered: &mut Gathered, path: &Path, name: &str, given: Option<Dialect>, named: bool) {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) => return gathered.diagnostics.push(unreadable(path, &e)),
    };
    match gathered.add(name, text, given) {
        Some(file) => {
            if let Ok(known) = fs::metadata(path) {
                gathered.modes.insert(file, known.permissions().mode());
            }
        }
        None if named => {
            let message = format!("cannot tell which dialect {name} is in");
            let help = "name it with --from";
            gathered
                .diagnostics
                .push(Diagnostic::nowhere(Code::Unreadable, message).with_help(help));
        }
        // Directories hold other things too.
        None => {}
    }
}

/// The files behind a path: of a directory all that are not hidden, those of drop-in directories in it too, in order of
/// name.
fn expand(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?.path();
        let name = entry
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        if !entry.is_dir() {
            found.push(entry);
        } else if name.ends_with(".d") {
            let inner = fs::read_dir(&entry)?.collect::<Result<Vec<_>, _>>()?;
            found.extend(
                inner
                    .into_iter()
                    .map(|inner| inner.path())
                    .filter(|inner| inner.is_file()),
            );
        }
    }
    found.sort();
    Ok(found)
}

/// The diagnostic for a path that cannot be read.
pub(crate) fn unreadable(path: &Path, e: &io::Error) -> Diagnostic {
    let message = format!("cannot read {}: {e}", path.display());
    let help = match e.kind() {
        io::ErrorKind::NotFound => "check the path; a directory is read for the files in it",
        io::ErrorKind::PermissionDenied => "run as a user who may read it",
        io::ErrorKind::InvalidData => "save it as UTF-8 text",
        _ => return Diagnostic::nowhere(Code::Unreadable, message),
    };
    Diagnostic::nowhere(Code::Unreadable, message).with_help(help)
}

fn milder(found: Diagnostic) -> Diagnostic {
    Diagnostic {
        severity: Severity::Warning,
        ..found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_texts_tell_the_dialect() {
        for (path, text, dialect) in [
            (
                "/etc/systemd/network/30-bond0.netdev",
                "",
                Some(Dialect::Networkd),
            ),
            ("30-bond0.network.d/mtu.conf", "", Some(Dialect::Networkd)),
            ("/etc/modprobe.d/floppy.conf", "blacklist floppy", None),
            (
                "/etc/modprobe.d/bond.conf",
                "options bonding mode=1",
                Some(Dialect::Modprobe),
            ),
            (
                "/etc/sysconfig/network-scripts/ifcfg-bond0",
                "",
                Some(Dialect::Ifcfg),
            ),
            ("/etc/sysconfig/network", "", Some(Dialect::Ifcfg)),
            (
                "/etc/NetworkManager/system-connections/bond0",
                "",
                Some(Dialect::Keyfile),
            ),
            ("bond0.nmconnection", "", Some(Dialect::Keyfile)),
            (
                "nm.sh",
                "#!/bin/sh\nsudo nmcli con add type bond ifname bond0\n",
                Some(Dialect::Nmcli),
            ),
            (
                "bond.sh",
                "#!/bin/sh\nsudo ip link add bond0 type bond\n",
                Some(Dialect::Iproute),
            ),
            ("/etc/netplan/50.yaml", "", Some(Dialect::Netplan)),
            (
                "/etc/nmstate/bond.yml",
                "---\ninterfaces:\n- name: bond0\n",
                Some(Dialect::Nmstate),
            ),
            (
                "policy.yaml",
                "apiVersion: nmstate.io/v1\nkind: NodeNetworkConfigurationPolicy\n",
                Some(Dialect::Nmstate),
            ),
            (
                "x.yaml",
                "network:\n  version: 1\n  config: []\n",
                Some(Dialect::CloudInit),
            ),
            (
                "/etc/cloud/cloud.cfg.d/50.cfg",
                "#cloud-config\nnetwork:\n  version: 2\n",
                Some(Dialect::CloudInit),
            ),
            ("/etc/cloud/cloud.cfg.d/99.cfg", "hostname: box\n", None),
            ("network-config", "version: 2\n", Some(Dialect::CloudInit)),
            ("x.toml", "", Some(Dialect::Toml)),
            (
                "/etc/network/interfaces",
                "auto lo\niface lo inet loopback\n",
                Some(Dialect::Ifupdown),
            ),
            (
                "/etc/network/interfaces",
                "iface bond0\n bond-slaves a b\n",
                Some(Dialect::Ifupdown2),
            ),
            (
                "interfaces.d/vmbr0",
                "iface vmbr0 inet manual\n bridge-vlan-aware yes\n",
                Some(Dialect::Ifupdown2),
            ),
            (
                "paste",
                "# mine\n\n[connection]\nid=bond0\n",
                Some(Dialect::Keyfile),
            ),
            ("paste", "[Match]\nName=eth0\n", Some(Dialect::Networkd)),
            ("paste", "network:\n  version: 2\n", Some(Dialect::Netplan)),
            (
                "paste",
                "iface bond0 inet manual\n",
                Some(Dialect::Ifupdown),
            ),
            ("paste", "[bond.bond0]\n", Some(Dialect::Toml)),
            ("paste", "hello\n", None),
            ("paste", "", None),
        ] {
            assert_eq!(detect(path, text), dialect, "{path}: {text}");
        }
    }
}
