//! User-mode Linux: one command under Debian's 6.1 kernel as an ordinary process, on the host's own files.
//!
//! The guest of choice for the kernel's bonding driver: it boots in two to three seconds, needs no virtualisation, and has
//! every module. It has no BPF JIT, no BTF and one processor, so our own data path is tested in [`crate::guest`].
//!
//! ```text
//! host: linux.uml ┬ hostfs "/" (read-only) ─────► the guest's root; /run is the guest's own
//!                 ├ hostfs work directory ◄────── the command's output and exit code
//!                 └ console ◄──────────────────── the kernel's messages, shown when something went wrong
//! ```

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::guest::{Outcome, WorkDirectory, job_script, tail, test_command};
use crate::proc::Process;

/// Where Debian's package `user-mode-linux` puts modules, in a directory named by their release.
const MODULES: &str = "/usr/lib/uml/modules";

/// A guest to run commands in; each command boots it anew.
#[derive(Debug, Clone)]
pub struct Uml {
    memory_mib: u32,
    timeout: Duration,
    environment: Vec<(OsString, OsString)>,
}

impl Default for Uml {
    fn default() -> Self {
        Self::new()
    }
}

impl Uml {
    /// A guest with 512 MiB of memory and 300 s for each command.
    pub fn new() -> Self {
        Self {
            memory_mib: 512,
            timeout: Duration::from_secs(300),
            environment: Vec::new(),
        }
    }

    /// Memory, MiB.
    #[must_use]
    pub fn memory_mib(mut self, memory: u32) -> Self {
        self.memory_mib = memory;
        self
    }

    /// Longest time for boot and command together.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets an environment variable for the command. It inherits none; it has PATH, HOME and TMPDIR.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    /// Runs one test of the calling test program in there, and answers what it printed.
    ///
    /// # Errors
    /// Those of [`Uml::run`]; the test failed, with all that it printed.
    pub fn run_test(&self, name: &str) -> Result<String> {
        self.run(test_command(name)?)?.of_test()
    }

    /// Boots, runs `command` (the program and its arguments) in the current directory, and collects its output. It can
    /// write below `/run` only, which goes with the guest.
    ///
    /// # Errors
    /// If the package `user-mode-linux` is missing, the guest does not boot, dies or runs out of time; the text ends with
    /// its console. A command that fails is no error.
    pub fn run<S: Into<OsString>>(&self, command: impl IntoIterator<Item = S>) -> Result<Outcome> {
        let modules = modules(Path::new(MODULES))?;
        let directory =
            std::env::current_dir().context("no current directory to run the command in")?;
        let command: Vec<_> = command.into_iter().map(Into::into).collect();
        let work = WorkDirectory::new()?;
        fs::write(
            work.path("job"),
            job_script(&directory, &self.environment, &[], &command),
        )?;
        fs::write(work.path("modules"), modules.as_os_str().as_encoded_bytes())?;
        fs::write(work.path("init"), include_str!("../guest/uml.sh"))?;
        let mut permissions = fs::metadata(work.path("init"))?.permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        fs::set_permissions(work.path("init"), permissions)?;

        // A process namespace of its own: user-mode Linux is many processes, and they all end with the first.
        // Ahead of others: the guest's clock runs on while it waits for a processor, and what is timed inside comes late.
        let mut linux = Command::new("nice");
        linux.args([
            "-n",
            "-15",
            "unshare",
            "--pid",
            "--fork",
            "--kill-child",
            "linux.uml",
        ]);
        linux.args(["root=none", "rootfstype=hostfs", "hostfs=/", "ro"]);
        linux.args([
            "noreboot",
            "quiet",
            "panic=-1",
            "con=null",
            "con0=fd:0,fd:1",
        ]);
        linux.arg(format!("mem={}M", self.memory_mib));
        linux.arg(format!("init={}", work.path("init").display()));
        linux.arg(format!("uml_dir={}/", work.path("").display()));
        let mut process = Process::start("user-mode Linux", linux)?;
        let status = process.wait_exit(self.timeout);
        // A code that was reported counts, even if the power-off after it went wrong.
        let reported = fs::read_to_string(work.path("exit")).unwrap_or_default();
        if let Some(code) = reported.trim().strip_prefix("exit ") {
            return Ok(Outcome {
                code: code
                    .parse()
                    .with_context(|| format!("the guest reported {reported:?}"))?,
                stdout: fs::read(work.path("out"))?,
                stderr: fs::read(work.path("err"))?,
            });
        }
        let failure = match status {
            Ok(status) => anyhow!("it ended ({status}) without reporting an exit code"),
            Err(error) => error.context(format!("not done within {:?}", self.timeout)),
        };
        let console = tail(&(process.stdout() + &process.stderr()), 60);
        let said =
            [work.path("out"), work.path("err")].map(|path| fs::read(path).unwrap_or_default());
        let said = tail(&String::from_utf8_lossy(&said.concat()), 60);
        bail!(
            "user-mode Linux: {failure:#}\n--- its console ends with:\n{console}\n--- the command's output with:\n{said}\n---"
        )
    }
}

/// The directory of the modules of the installed release; there is one at a time.
fn modules(under: &Path) -> Result<PathBuf> {
    let releases = fs::read_dir(under).with_context(|| {
        format!(
            "{} is missing: user-mode Linux is not installed; `lab/install.sh test` installs it",
            under.display()
        )
    })?;
    releases
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.join("modules.dep").exists())
        .with_context(|| {
            format!(
                "{} holds no modules: `apt-get install --reinstall user-mode-linux` restores them",
                under.display()
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_package_is_told_with_its_remedy() {
        let error = modules(Path::new("/nonexistent")).unwrap_err();
        assert!(
            format!("{error:#}").contains("lab/install.sh test"),
            "{error:#}"
        );
    }
}
