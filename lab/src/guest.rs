//! Guests: one command run under one of Debian's kernels, in QEMU, on the host's own files.
//!
//! The guest sees the host's root directory read-only, with a writable layer in its memory on top, so whatever was built
//! here runs there at the same path and nothing it does stays. It has no network but what it makes itself.
//!
//! ```text
//! host: oxbond-guest ── QEMU ┬ 9p "/" (read-only) ──────► overlay with a tmpfs = the guest's root
//!                            ├ virtio ports out, err ◄─── the command's output
//!                            ├ virtio port exit ◄──────── its exit code
//!                            └ serial console ◄────────── the kernel's messages, shown when something went wrong
//! ```

mod initramfs;
mod kernel;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

pub use self::kernel::Kernel;
use self::kernel::{Image, Preparation};
use crate::proc::Process;

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor's virtualisation.
    Kvm,
    /// Emulation on as many host threads as the guest has processors (2).
    Tcg,
    /// Emulation of one processor whose clock counts instructions: slow, but what is timed inside comes out the same on a
    /// busy machine.
    Icount,
}

/// A guest to run commands in; each command boots it anew.
#[derive(Debug, Clone)]
pub struct Guest {
    kernel: Kernel,
    accelerator: Option<Accelerator>,
    memory_mib: u32,
    timeout: Duration,
    environment: Vec<(OsString, OsString)>,
    read_ahead: Vec<PathBuf>,
}

/// What a command in a guest wrote and returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code; 128 and the signal's number if a signal ended it, as shells say.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl Outcome {
    /// What a test program printed.
    ///
    /// # Errors
    /// A test failed, with all that it printed.
    pub(crate) fn of_test(&self) -> Result<String> {
        let said = String::from_utf8_lossy(&self.stdout);
        let errors = String::from_utf8_lossy(&self.stderr);
        ensure!(self.code == 0, "the guest failed:\n{said}{errors}");
        Ok(said.into_owned())
    }
}

/// Seconds after which a KVM that has not booted the probe is taken for broken; a working one needs about one.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Tells the working directories of one process's guests apart.
static NEXT: AtomicU32 = AtomicU32::new(0);

impl Guest {
    /// A guest with 1 GiB of memory and 300 s for each command, under KVM where that works and emulated elsewhere.
    pub fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            accelerator: None,
            memory_mib: 1024,
            timeout: Duration::from_secs(300),
            environment: Vec::new(),
            read_ahead: Vec::new(),
        }
    }

    /// Demands an accelerator.
    #[must_use]
    pub fn accelerator(mut self, accelerator: Accelerator) -> Self {
        self.accelerator = Some(accelerator);
        self
    }

    /// Memory, MiB. Files that the guest writes live in it too.
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

    /// Has the guest read a file before the command runs. Where the clock counts instructions, a program that waits for the
    /// host's files finds that time has jumped to the next timer.
    #[must_use]
    pub fn read_ahead(mut self, file: impl Into<PathBuf>) -> Self {
        self.read_ahead.push(file.into());
        self
    }

    /// Runs one test of the calling test program in there, and answers what it printed.
    ///
    /// # Errors
    /// Those of [`Guest::run`]; the test failed, with all that it printed.
    pub fn run_test(&self, name: &str) -> Result<String> {
        let command = test_command(name)?;
        let guest = self.clone().read_ahead(&command[0]);
        guest.run(command)?.of_test()
    }

    /// Boots, runs `command` (the program and its arguments) in the current directory, and collects its output.
    ///
    /// # Errors
    /// As [`Self::run_to`].
    pub fn run<S: Into<OsString>>(&self, command: impl IntoIterator<Item = S>) -> Result<Outcome> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let code = self.run_to(command, &mut stdout, &mut stderr)?;
        Ok(Outcome {
            code,
            stdout,
            stderr,
        })
    }

    /// As [`Self::run`], but passes the output on as it comes and returns the exit code.
    ///
    /// # Errors
    /// If the kernel or a tool cannot be had, KVM was demanded and does not work, the guest does not boot, dies or runs out
    /// of time; the text ends with its console. A command that fails is no error.
    pub fn run_to<S: Into<OsString>>(
        &self,
        command: impl IntoIterator<Item = S>,
        stdout: impl Write + Send,
        stderr: impl Write + Send,
    ) -> Result<i32> {
        let preparation = Preparation::begin()?;
        let image = preparation.image(self.kernel)?;
        let accelerator = match self.accelerator {
            Some(chosen) => chosen,
            None if preparation.kvm_works(|| probe(&image))? => Accelerator::Kvm,
            None => Accelerator::Tcg,
        };
        drop(preparation);
        let command: Vec<_> = command.into_iter().map(Into::into).collect();
        let directory =
            std::env::current_dir().context("no current directory to run the command in")?;
        let script = job_script(&directory, &self.environment, &self.read_ahead, &command);
        let machine = Machine {
            image: &image,
            accelerator,
            memory_mib: self.memory_mib,
            timeout: self.timeout,
        };
        machine.boot(Some(&script), stdout, stderr)
    }
}

/// Boots as far as the first program under KVM.
fn probe(image: &Image) -> Result<()> {
    let machine = Machine {
        image,
        accelerator: Accelerator::Kvm,
        memory_mib: 256,
        timeout: PROBE_TIMEOUT,
    };
    machine.boot(None, io::sink(), io::sink()).map(drop)
}

/// The words that run one test of the calling test program.
pub(crate) fn test_command(name: &str) -> Result<[OsString; 4]> {
    let me = std::env::current_exe().context("the test program has no path")?;
    Ok([
        me.into(),
        name.into(),
        "--exact".into(),
        "--nocapture".into(),
    ])
}

/// The shell script that runs a command in a directory with an environment, after it has read some files.
pub(crate) fn job_script(
    directory: &Path,
    environment: &[(OsString, OsString)],
    read_ahead: &[PathBuf],
    command: &[OsString],
) -> Vec<u8> {
    let mut script = b"cd ".to_vec();
    quote(directory.as_os_str().as_bytes(), &mut script);
    script.extend_from_slice(b" || exit 125\nexport HOME=/root TMPDIR=/run/tmp\n");
    for (key, value) in environment {
        script.extend_from_slice(b"export ");
        script.extend_from_slice(key.as_bytes());
        script.push(b'=');
        quote(value.as_bytes(), &mut script);
        script.push(b'\n');
    }
    for file in read_ahead {
        script.extend_from_slice(b"cat ");
        quote(file.as_os_str().as_bytes(), &mut script);
        script.extend_from_slice(b" >/dev/null || exit 125\n");
    }
    script.extend_from_slice(b"exec");
    for word in command {
        script.push(b' ');
        quote(word.as_bytes(), &mut script);
    }
    script.push(b'\n');
    script
}

/// Appends a word in single quotes, in which a shell sees only the quote itself.
fn quote(word: &[u8], to: &mut Vec<u8>) {
    to.push(b'\'');
    for &byte in word {
        if byte == b'\'' {
            to.extend_from_slice(b"'\\''");
        } else {
            to.push(byte);
        }
    }
    to.push(b'\'');
}

/// One boot.
#[derive(Debug)]
struct Machine<'a> {
    image: &'a Image,
    accelerator: Accelerator,
    memory_mib: u32,
    timeout: Duration,
}

impl Machine<'_> {
    /// Boots, runs the job (without one, only shows that it boots) and returns the code the guest reported.
    fn boot(
        &self,
        job: Option<&[u8]>,
        stdout: impl Write + Send,
        stderr: impl Write + Send,
    ) -> Result<i32> {
        let work = WorkDirectory::new()?;
        fs::write(work.path("initramfs"), initramfs::build(self.image)?)?;
        if let Some(script) = job {
            fs::write(work.path("job"), script)?;
        }
        let listen = |name: &str| {
            UnixListener::bind(work.path(name)).context("cannot make a socket for the guest")
        };
        let (out, err, exit) = (listen("out")?, listen("err")?, listen("exit")?);
        let (status, reported) = std::thread::scope(|scope| {
            let out = scope.spawn(|| relay(&out, stdout));
            let err = scope.spawn(|| relay(&err, stderr));
            let exit = scope.spawn(|| {
                let mut text = Vec::new();
                relay(&exit, &mut text).map(|()| String::from_utf8_lossy(&text).into_owned())
            });
            let status = self.qemu(&work, job.is_some());
            // A QEMU that died early has not connected: these wake whoever still waits for it.
            for name in ["out", "err", "exit"] {
                let _ = UnixStream::connect(work.path(name));
            }
            let panicked = |_| Err(io::Error::other("a relay panicked"));
            let (out, err) = (
                out.join().unwrap_or_else(panicked),
                err.join().unwrap_or_else(panicked),
            );
            let exit = exit
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a relay panicked")));
            (status, out.and(err).and(exit))
        });
        let reported = reported.context("cannot pass on the guest's output")?;
        // A code that was reported counts, even if the power-off after it went wrong.
        if let Some(code) = reported.trim().strip_prefix("exit ") {
            return code
                .parse()
                .with_context(|| format!("the guest reported {reported:?}"));
        }
        let failure = status
            .err()
            .unwrap_or_else(|| anyhow!("the guest ended without reporting an exit code"));
        let console = fs::read(work.path("console")).unwrap_or_default();
        let console = tail(&String::from_utf8_lossy(&console), 60);
        bail!("{failure:#}\n--- the guest's console ends with:\n{console}\n---")
    }

    /// Runs QEMU to its end or the timeout's.
    fn qemu(&self, work: &WorkDirectory, has_job: bool) -> Result<()> {
        let mut command = Command::new("qemu-system-x86_64");
        let (acceleration, processors, model): (&[&str], _, _) = match self.accelerator {
            Accelerator::Kvm => (&["-accel", "kvm"], "2", "host"),
            // One processor: the kernel patches its own code while it runs (static branches), and emulation on several
            // threads lets another processor execute half of such a patch: the guest then panics at a no-op.
            Accelerator::Tcg => (&["-accel", "tcg,thread=single"], "1", "max,la57=off"),
            Accelerator::Icount => (
                &[
                    "-accel",
                    "tcg,thread=single",
                    "-icount",
                    "shift=1,sleep=off",
                ],
                "1",
                "max,la57=off",
            ),
        };
        let file = |name: &str| work.path(name).display().to_string();
        let mut line = "console=ttyS0 quiet panic=-1 oops=panic mitigations=off audit=0".to_owned();
        line += &if has_job {
            format!(" oxbond.job={}", file("job"))
        } else {
            " oxbond.probe".to_owned()
        };
        command.args(acceleration).args([
            "-cpu",
            model,
            "-smp",
            processors,
            "-m",
            &self.memory_mib.to_string(),
        ]);
        command.args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
        ]);
        command
            .arg("-kernel")
            .arg(&self.image.vmlinuz)
            .arg("-initrd")
            .arg(work.path("initramfs"));
        command.args(["-append", &line]);
        command
            .arg("-chardev")
            .arg(format!("file,id=console,path={}", file("console")));
        command.args(["-serial", "chardev:console", "-device", "virtio-serial-pci"]);
        for name in ["out", "err", "exit"] {
            command
                .arg("-chardev")
                .arg(format!("socket,id={name},path={}", file(name)));
            command
                .arg("-device")
                .arg(format!("virtserialport,chardev={name},name=oxbond.{name}"));
        }
        command.args([
            "-fsdev",
            "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
        ]);
        command.args(["-device", "virtio-9p-pci,fsdev=root,mount_tag=root"]);
        let mut process = Process::start("QEMU", command)?;
        let status = process.wait_exit(self.timeout).with_context(|| {
            format!(
                "the guest with {} was not done within {:?}",
                self.image.version, self.timeout
            )
        })?;
        if !status.success() {
            bail!("QEMU ended with {status}: {}", process.stderr().trim());
        }
        Ok(())
    }
}

/// Copies one connection to a writer, each piece as it comes.
fn relay(listener: &UnixListener, mut to: impl Write) -> io::Result<()> {
    let (mut from, _) = listener.accept()?;
    let mut buffer = [0; 8192];
    loop {
        match from.read(&mut buffer)? {
            0 => return to.flush(),
            n => to.write_all(&buffer[..n])?,
        }
        to.flush()?;
    }
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// A directory of one boot, removed with it.
#[derive(Debug)]
pub(crate) struct WorkDirectory(PathBuf);

impl WorkDirectory {
    pub(crate) fn new() -> Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Not in the user's TMPDIR: socket paths must stay below 108 bytes, and a comma would end QEMU's option.
        let path = PathBuf::from(format!("/tmp/oxbond-guest-{}-{number}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for WorkDirectory {
    fn drop(&mut self) {
        // Nothing depends on its absence.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_command_unharmed() {
        let words = [
            "a b",
            "it's",
            "$HOME",
            "`id`",
            "\\",
            "",
            "*",
            "new\nline",
            "-n",
        ];
        let mut command = vec![OsString::from("printf"), "%s|".into()];
        command.extend(words.iter().map(Into::into));
        let environment = [("GREETING".into(), "don't $PANIC".into())];
        let script = job_script(Path::new("/"), &environment, &[], &command);
        let run = |script: &[u8]| {
            let output = Command::new("sh")
                .arg("-c")
                .arg(std::ffi::OsStr::from_bytes(script))
                .output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        assert_eq!(run(&script), words.join("|") + "|");
        let command = ["sh".into(), "-c".into(), "echo \"$GREETING\"; pwd".into()];
        assert_eq!(
            run(&job_script(Path::new("/usr"), &environment, &[], &command)),
            "don't $PANIC\n/usr\n"
        );
        let missing = [PathBuf::from("/nonexistent/it's")];
        let script = job_script(Path::new("/"), &environment, &missing, &command);
        assert_eq!(run(&script), "");
    }

    #[test]
    fn tail_keeps_the_last_lines() {
        assert_eq!(tail("1\n2\n3\n", 2), "2\n3");
        assert_eq!(tail("1", 2), "1");
    }
}
