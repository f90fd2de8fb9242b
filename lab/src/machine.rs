//! A machine with Oxbond on it: a rig of namespaces, a daemon in its host, and the command line a user would type.
//!
//! Each machine has its own namespaces and its own run-time directory; both go with it, pins included, also on panic.
//! Its peer can have a daemon and a bond of its own, for bond against bond.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::netns::Namespace;
use crate::proc::{Process, Signal, wait_until};
use crate::rig::{Plan, Rig};

/// Longest time a single thing may take before the machine is given up: what we run on is shared and noisy.
pub const PATIENCE: Duration = Duration::from_secs(30);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// One of the two ends of a rig.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The machine under test.
    Host,
    /// Who it talks to.
    Peer,
}

/// A host with a daemon, at the end of a rig.
pub struct Machine {
    /// The network around it.
    pub rig: Rig,
    program: PathBuf,
    engine: &'static str,
    run_dir: PathBuf,
    daemon: Option<Process>,
    peer_daemon: Option<Process>,
}

impl Machine {
    /// Builds the rig and starts `program`'s daemon in its host, whose bonds are on our own engine.
    ///
    /// # Errors
    /// If the rig cannot be built or the daemon does not get ready.
    pub fn new(plan: Plan, program: &Path) -> Result<Self> {
        Self::on_engine(plan, program, "ebpf")
    }

    /// As [`Machine::new`], with bonds on this engine (`auto`, `ebpf`, `kernel`) where nothing else is asked for.
    ///
    /// # Errors
    /// If the rig cannot be built or the daemon does not get ready.
    pub fn on_engine(plan: Plan, program: &Path, engine: &'static str) -> Result<Self> {
        let rig = plan.build()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let run_dir =
            std::env::temp_dir().join(format!("oxbond-lab-{}-{number}", std::process::id()));
        let mut machine = Self {
            rig,
            program: program.to_owned(),
            engine,
            run_dir,
            daemon: None,
            peer_daemon: None,
        };
        machine.start_daemon()?;
        Ok(machine)
    }

    /// The host's namespace.
    pub fn host(&self) -> &Namespace {
        &self.rig.host
    }

    /// The run-time directory.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// The file that stands for the host's `/etc/resolv.conf`.
    pub fn resolv_conf(&self) -> PathBuf {
        self.resolv_conf_at(End::Host)
    }

    fn resolv_conf_at(&self, end: End) -> PathBuf {
        self.run_dir.join(match end {
            End::Host => "resolv.conf",
            End::Peer => "resolv-peer.conf",
        })
    }

    /// Starts a daemon and waits until it is ready.
    ///
    /// # Errors
    /// If it ends or stays silent; the text holds its log.
    pub fn start_daemon(&mut self) -> Result<()> {
        self.daemon = Some(Self::started(self.command())?);
        Ok(())
    }

    /// Starts a daemon with a variable in its environment and waits until it is ready.
    ///
    /// # Errors
    /// If it ends or stays silent; the text holds its log.
    pub fn start_daemon_with(&mut self, variable: &str, value: &str) -> Result<()> {
        let mut command = self.command();
        command.env(variable, value);
        self.daemon = Some(Self::started(command)?);
        Ok(())
    }

    /// Starts a daemon at the peer and waits until it is ready.
    ///
    /// # Errors
    /// If it ends or stays silent; the text holds its log.
    pub fn start_peer_daemon(&mut self) -> Result<()> {
        self.peer_daemon = Some(Self::started(self.command_at(End::Peer))?);
        Ok(())
    }

    fn started(mut command: Command) -> Result<Process> {
        command.arg("daemon");
        let mut daemon = Process::start("oxbond daemon", command)?;
        // Asking it with a command would do as well, and takes a process for each look.
        daemon.wait_ready(PATIENCE, "it is ready", |daemon| {
            daemon.stderr().lines().any(|line| line.ends_with(" ready"))
        })?;
        Ok(daemon)
    }

    /// The running daemon.
    ///
    /// # Errors
    /// If it was killed and none started since.
    pub fn daemon(&self) -> Result<&Process> {
        self.daemon.as_ref().context("no daemon is running")
    }

    /// The daemon at the peer.
    ///
    /// # Errors
    /// If none was started.
    pub fn peer_daemon(&self) -> Result<&Process> {
        self.peer_daemon
            .as_ref()
            .context("no daemon is running at the peer")
    }

    /// Kills the daemon the hard way and waits for its end. Returns its log.
    ///
    /// # Errors
    /// If there is none, or it does not die.
    pub fn kill_daemon(&mut self) -> Result<String> {
        let mut daemon = self.daemon.take().context("no daemon is running")?;
        daemon.signal(Signal::KILL)?;
        daemon.wait_exit(PATIENCE)?;
        Ok(daemon.stderr())
    }

    /// The program, to be run in the host against this machine's daemon.
    pub fn command(&self) -> Command {
        self.command_at(End::Host)
    }

    /// The program, to be run at one end against that end's daemon.
    pub fn command_at(&self, end: End) -> Command {
        let namespace = match end {
            End::Host => &self.rig.host,
            End::Peer => &self.rig.peer,
        };
        let mut command = namespace.command(&self.program);
        // What `auto` stands for; only a daemon reads it.
        command.env("OXBOND_ENGINE", self.engine);
        // Below it each network namespace has a directory of its own.
        command.env("OXBOND_RUN_DIR", &self.run_dir);
        // Namespaces of the network share the machine's files.
        command.env("OXBOND_RESOLV_CONF", self.resolv_conf_at(end));
        command
    }

    /// Runs the program with words split at white space.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn oxbond(&self, words: &str) -> Result<Output> {
        self.oxbond_at(End::Host, words)
    }

    /// As [`Machine::oxbond`], at one end.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn oxbond_at(&self, end: End, words: &str) -> Result<Output> {
        self.command_at(end)
            .args(words.split_whitespace())
            .output()
            .context("oxbond cannot be run")
    }

    /// Runs a command that must succeed; its standard output.
    ///
    /// # Errors
    /// If it fails; the text holds what it said.
    pub fn ok(&self, words: &str) -> Result<String> {
        self.ok_at(End::Host, words)
    }

    /// As [`Machine::ok`], at one end.
    ///
    /// # Errors
    /// If it fails; the text holds what it said.
    pub fn ok_at(&self, end: End, words: &str) -> Result<String> {
        let output = self.oxbond_at(end, words)?;
        if !output.status.success() {
            bail!(
                "oxbond {words}: {}\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A bond, as `status --json` shows it.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn bond(&self, name: &str) -> Result<Value> {
        let document: Value = serde_json::from_str(&self.ok(&format!("status {name} --json"))?)?;
        Ok(document["bonds"][0].clone())
    }

    /// Name of a bond's active port.
    ///
    /// # Errors
    /// If there is no such bond.
    pub fn active(&self, bond: &str) -> Result<Option<String>> {
        Ok(self.bond(bond)?["active_port"].as_str().map(str::to_owned))
    }

    /// Waits until the daemon calls this port the active one.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_active(&self, bond: &str, port: &str) -> Result<Duration> {
        wait_until(PATIENCE, &format!("{port} is active"), || {
            self.active(bond)
                .is_ok_and(|active| active.as_deref() == Some(port))
        })
    }

    /// What the data path counted at a port of a bond, by the name of the counter in `status --json`.
    ///
    /// # Errors
    /// If there is no such port or counter.
    pub fn counter(&self, bond: &str, port: &str, counter: &str) -> Result<u64> {
        let bond = self.bond(bond)?;
        let id = bond["ports"]
            .as_array()
            .and_then(|all| all.iter().find(|p| p["name"] == port))
            .map(|p| &p["id"]);
        let counters = bond["counters"].as_array();
        let of_port = counters.and_then(|all| all.iter().find(|c| Some(&c["port"]) == id));
        of_port
            .and_then(|c| c[counter].as_u64())
            .with_context(|| format!("{port} has no counter {counter}: {bond:#}"))
    }

    /// Waits until the peer answers from each of these addresses (duplicate address detection takes a second).
    ///
    /// # Errors
    /// When one does not in time.
    pub fn wait_peer(&self, addresses: &[&str]) -> Result<()> {
        for target in addresses {
            wait_until(PATIENCE, &format!("{target} answers"), || {
                let ping = self
                    .host()
                    .command("ping")
                    .args(["-c", "1", "-W", "1", "-q", target])
                    .output();
                ping.is_ok_and(|output| output.status.success())
            })?;
        }
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Whatever happened, no pin may stay; only a daemon can remove them in order.
        match &self.daemon {
            Some(daemon) => drop(daemon.signal(Signal::CONT)),
            None => {
                if let Err(e) = self.start_daemon() {
                    eprintln!("pins below {} may stay: {e:#}", self.run_dir.display());
                }
            }
        }
        let peer = self.peer_daemon.as_ref().map(|_| End::Peer);
        for end in [End::Host].into_iter().chain(peer) {
            let Ok(document) = self
                .ok_at(end, "status --json")
                .and_then(|text| Ok(serde_json::from_str::<Value>(&text)?))
            else {
                continue;
            };
            for bond in document["bonds"].as_array().into_iter().flatten() {
                if let Some(name) = bond["name"].as_str() {
                    drop(self.oxbond_at(end, &format!("down {name}")));
                }
            }
        }
        (self.daemon, self.peer_daemon) = (None, None);
        drop(
            Command::new("umount")
                .args(["--lazy", "--quiet"])
                .arg(self.run_dir.join("bpf"))
                .output(),
        );
        drop(std::fs::remove_dir_all(&self.run_dir));
    }
}
