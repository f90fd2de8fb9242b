//! A place to run the dialects' tools: their root by chroot, in namespaces of its own, with a directory for the files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use oxbond_config::span::Sources;

/// Where `lab/judges.sh` puts the roots.
const HOME: &str = "/var/cache/oxbond-judges";

/// Which tools.
#[derive(Clone, Copy)]
pub(crate) enum Root {
    /// netplan, nmcli, ifupdown2, systemd.
    Tools,
    /// The classic ifupdown.
    Ifupdown,
}

/// Lays the root out; then the job's own script runs in it.
const ENTER: &str = r#"
mount --bind "$1" "$2/work"
mount -t proc proc "$2/proc"
mount -t sysfs sysfs "$2/sys"
mount -t tmpfs tmpfs "$2/run"
mkdir "$2/run/network"
exec chroot "$2" /usr/bin/env -i PATH=/usr/sbin:/usr/bin LC_ALL=C.UTF-8 /bin/bash -eu -c "$3"
"#;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory, which is `/work` for the tools and goes when this does.
pub(crate) struct Bench {
    directory: PathBuf,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("oxbond-judge-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Self { directory }
    }

    /// Writes a file below `/work`, readable for root alone as netplan and NetworkManager demand.
    pub(crate) fn put(&self, path: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;

        let path = self.directory.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the files of each case below `/work/NUMBER`, those without a directory into `home`.
    pub(crate) fn put_cases(&self, cases: &[Sources], home: &str) {
        for (number, case) in cases.iter().enumerate() {
            for (_, source) in case.iter() {
                let name = &source.name;
                let path = match name.contains('/') {
                    true => format!("{number}/{name}"),
                    false => format!("{number}/{home}/{name}"),
                };
                self.put(&path, &source.text);
            }
        }
    }

    /// The text of a file below `/work`; none if it is not there.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.directory.join(path)).ok()
    }

    /// Files of a directory below `/work` with their texts, in order of name; none if it is not there.
    pub(crate) fn list(&self, directory: &str) -> Vec<(String, String)> {
        let Ok(entries) = fs::read_dir(self.directory.join(directory)) else {
            return Vec::new();
        };
        let mut files: Vec<(String, String)> = entries
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().is_file())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    /// Runs a script of bash among the tools, and returns what it wrote to standard output.
    pub(crate) fn run(&self, root: Root, script: &str) -> String {
        let root = Path::new(HOME).join(match root {
            Root::Tools => "tools",
            Root::Ifupdown => "ifupdown",
        });
        assert!(
            root.join("usr/bin/bash").exists() && Path::new(HOME).join("stamp").exists(),
            "the dialects' tools are missing: run lab/judges.sh as root"
        );
        // All of them together take seconds; what hangs must not hold the tests.
        let output = Command::new("timeout")
            .args(["--signal=KILL", "60", "unshare"])
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child"])
            .args(["sh", "-eu", "-c", ENTER, "sh"])
            .args([self.directory.as_os_str(), root.as_os_str()])
            .arg(script)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{script}: {}\n{said}",
            output.status
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // A directory that stays behind does no harm, and the test has its result.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
