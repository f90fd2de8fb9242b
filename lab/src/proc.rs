//! Processes under guard: started in a namespace, watched until ready, measured, and killed when the guard is dropped.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{MemfdFlags, memfd_create};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process, set_parent_process_death_signal};

/// Polls `condition` until it holds and returns how long that took. Where one look takes long, as in an emulated machine,
/// three quarters of the time are left to what is waited for.
///
/// # Errors
/// When `deadline` passes first; the text names `what`.
pub fn wait_until(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) -> Result<Duration> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        let look = Instant::now();
        if condition() {
            return Ok(start.elapsed());
        }
        if start.elapsed() >= deadline {
            bail!("waited {deadline:?} in vain until {what}");
        }
        std::thread::sleep(pause.max(look.elapsed() * 3));
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// A process that ends with this guard. Its output goes to anonymous files, printed when the test panics.
///
/// The kernel also kills it when the *thread* that started it ends (PR_SET_PDEATHSIG), so a test that is itself killed
/// leaves no daemon behind; start it from a thread that lives as long as it is needed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: fs::File,
    stderr: fs::File,
}

impl Process {
    /// Starts `command`, made by [`crate::netns::Namespace::command`]; `name` is for messages.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(name: &str, mut command: Command) -> Result<Self> {
        let (stdout, stderr) = (memory_file("stdout")?, memory_file("stderr")?);
        command
            .stdin(Stdio::null())
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?);
        // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
        unsafe {
            command.pre_exec(|| {
                set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into)
            })
        };
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name} ({command:?})"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            stdout,
            stderr,
        })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Polls until `ready` holds.
    ///
    /// # Errors
    /// When `deadline` passes or the process ends first; the text holds what it wrote to standard error.
    pub fn wait_ready(
        &mut self,
        deadline: Duration,
        what: &str,
        mut ready: impl FnMut(&Self) -> bool,
    ) -> Result<Duration> {
        let mut ended = None;
        let waited = wait_until(deadline, &format!("{} is ready: {what}", self.name), || {
            ended = self.child.try_wait().ok().flatten();
            ended.is_some() || ready(self)
        });
        match ended {
            Some(status) => {
                Err(self.with_its_words(anyhow!("{} ended ({status}) before {what}", self.name)))
            }
            None => waited.map_err(|error| self.with_its_words(error)),
        }
    }

    /// An error with what the process wrote to standard error.
    fn with_its_words(&self, error: anyhow::Error) -> anyhow::Error {
        match self.stderr().trim_end() {
            "" => error,
            words => anyhow!("{error:#}; it wrote:\n{words}"),
        }
    }

    /// Sends a signal: `STOP` and `CONT` to freeze and thaw, `TERM` to ask for an end, `KILL` to force one.
    ///
    /// # Errors
    /// If the process has been reaped already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(Pid::from_raw)
            .context("a process id out of range")?;
        kill_process(pid, signal)
            .with_context(|| format!("cannot send {signal:?} to {}", self.name))
    }

    /// Whether it has ended, without waiting.
    ///
    /// # Errors
    /// If the process cannot be waited for.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When `deadline` passes first.
    pub fn wait_exit(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let mut status = None;
        let what = format!("{} ends", self.name);
        wait_until(deadline, &what, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        })
        .map_err(|error| self.with_its_words(error))?;
        status.context("a process that has ended has a status")
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        read_from_start(&self.stdout)
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        read_from_start(&self.stderr)
    }

    /// Its memory and wake-ups now.
    ///
    /// # Errors
    /// If the process has been reaped already.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "--- {} wrote to standard output:\n{}",
                self.name,
                self.stdout()
            );
            eprintln!(
                "--- {} wrote to standard error:\n{}---",
                self.name,
                self.stderr()
            );
        }
    }
}

/// A file in memory: nothing is left behind even if this process is killed.
fn memory_file(name: &str) -> Result<fs::File> {
    Ok(memfd_create(name, MemfdFlags::CLOEXEC)
        .context("cannot make a file in memory")?
        .into())
}

/// Reads without moving the offset, which the child shares.
fn read_from_start(file: &fs::File) -> String {
    struct At<'a>(&'a fs::File, u64);
    impl Read for At<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = self.0.read_at(buffer, self.1)?;
            self.1 += n as u64;
            Ok(n)
        }
    }
    let mut bytes = Vec::new();
    match At(file, 0).read_to_end(&mut bytes) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("(cannot read {:?}: {error})", file.as_fd()),
    }
}

/// What a process holds and how often it ran, from `/proc/PID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory (`VmRSS`), KiB.
    pub resident_kib: u64,
    /// Time that its threads have worked, in user mode and in the kernel's; to a hundredth of a second.
    pub cpu: Duration,
    /// Times its threads went to sleep of their own accord: one per wake-up. Threads that have ended are not counted.
    pub voluntary_switches: u64,
    /// Times its threads were preempted.
    pub involuntary_switches: u64,
}

impl Usage {
    /// Reads it for a process id.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("cannot read /proc/{pid}/status: has the process ended?"))?;
        let mut usage = Self {
            resident_kib: field(&status, "VmRSS:"),
            cpu: cpu_of(pid)?,
            voluntary_switches: 0,
            involuntary_switches: 0,
        };
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread that ends while we look has nothing to count.
            let Ok(status) = fs::read_to_string(task?.path().join("status")) else {
                continue;
            };
            usage.voluntary_switches += field(&status, "voluntary_ctxt_switches:");
            usage.involuntary_switches += field(&status, "nonvoluntary_ctxt_switches:");
        }
        Ok(usage)
    }
}

/// utime and stime of `/proc/PID/stat`, which count in hundredths of a second (`USER_HZ`) on every machine of ours.
fn cpu_of(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; behind it the state is field 3.
    let behind = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = behind.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|word| word.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// The number after `key` at the start of a line; 0 when absent, as a zombie has no `VmRSS`.
fn field(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next())
        .and_then(|word| word.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::PATIENCE;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn alive(pid: u32) -> bool {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    }

    #[test]
    fn drop_kills() {
        let process = Process::start("sleeper", shell("exec sleep 100")).unwrap();
        let pid = process.pid();
        assert!(alive(pid));
        drop(process);
        assert!(!alive(pid));
    }

    #[test]
    fn panic_kills_too() {
        let (send, receive) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let process = Process::start("sleeper", shell("exec sleep 100")).unwrap();
            send.send(process.pid()).unwrap();
            panic!("as a failing test does");
        });
        assert!(thread.join().is_err());
        assert!(!alive(receive.recv().unwrap()));
    }

    #[test]
    fn ready_by_what_it_writes() {
        let mut process =
            Process::start("talker", shell("echo hello >&2; echo out; exec sleep 100")).unwrap();
        let written =
            |process: &Process| process.stderr() == "hello\n" && process.stdout() == "out\n";
        process
            .wait_ready(PATIENCE, "it has greeted", written)
            .unwrap();
        // Between two programs a process holds next to nothing.
        let grown = || process.usage().unwrap().resident_kib > 100;
        wait_until(PATIENCE, "sleep has replaced the shell", grown).unwrap();
        process.signal(Signal::TERM).unwrap();
        assert!(!process.wait_exit(PATIENCE).unwrap().success());
    }

    #[test]
    fn early_end_is_told_with_its_words() {
        let mut process = Process::start("failer", shell("echo no such bond >&2; exit 3")).unwrap();
        let error = process
            .wait_ready(PATIENCE, "never", |_| false)
            .unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("exit status: 3") && text.contains("no such bond"),
            "{text}"
        );
    }

    #[test]
    fn deadline_is_told_with_what_was_awaited() {
        let error = wait_until(Duration::from_millis(5), "pigs fly", || false).unwrap_err();
        assert_eq!(error.to_string(), "waited 5ms in vain until pigs fly");
    }

    #[test]
    fn stopped_process_makes_no_switches() {
        let mut process =
            Process::start("busy", shell("while :; do read -t 1 x < /dev/null; done")).unwrap();
        process
            .wait_ready(PATIENCE, "it runs", |p| p.usage().is_ok())
            .unwrap();
        process.signal(Signal::STOP).unwrap();
        let stopped = |pid: u32| {
            fs::read_to_string(format!("/proc/{pid}/stat"))
                .unwrap()
                .contains(") T ")
        };
        wait_until(PATIENCE, "it stops", || stopped(process.pid())).unwrap();
        assert_eq!(process.usage().unwrap(), process.usage().unwrap());
        process.signal(Signal::CONT).unwrap();
        wait_until(PATIENCE, "it goes on", || !stopped(process.pid())).unwrap();
    }
}
