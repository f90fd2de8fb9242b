//! The daemon: one per network namespace, one event loop around the bonds.
//!
//! ```text
//!   control socket ─┐
//!   netlink events ─┤                     ┌─► engine (netlink, tables)
//!   "left in path" ─┼─► event loop ─► core┤
//!   monitor, timers ┤                     └─► events ─► log, listeners
//!   signals ────────┘
//! ```
//!
//! Nothing wakes it but these; an idle bond costs one wake-up per monitor interval.

mod driver;
mod ebpf;
mod fault;
mod keeper;
mod kernel;
mod leases;
mod managed;
mod moving;
mod network;
mod schedule;
mod select;
mod service;
pub(crate) mod state;
mod step;
mod trial;

use std::fs::File;
use std::io::{ErrorKind, IsTerminal as _, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oxbond_core::engine::EngineChoice;
use oxbond_core::time::Instant;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::control::server;
use crate::exit::{Blame, Failure};
use crate::paths::RunPaths;
use service::Service;

/// Requests that may wait for the event loop before clients are held back.
const REQUESTS_WAITING: usize = 64;

/// Runs the daemon until it is told to end. The bonds stay. `engine` is what `auto` stands for.
pub(crate) fn run(
    run_root: &Path,
    apply: &[PathBuf],
    resolv_conf: PathBuf,
    engine: EngineChoice,
) -> Result<(), Failure> {
    start_log();
    info!("what carries a bond that asks for no engine: {engine}");
    let paths = RunPaths::here(run_root)?;
    paths.create()?;
    let _lock = take_lock(&paths.lock())?;
    allow_descriptors();
    let (tell_leases, lease_news) = mpsc::unbounded_channel();
    let mut service = Service::start(&paths, run_root, engine, resolv_conf, tell_leases)?;
    drop_privileges()?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|e| Failure::new(Blame::Kernel, format!("cannot start the event loop: {e}")))?;
    runtime.block_on(async {
        let listener = server::listen(&paths.socket())?;
        if !apply.is_empty() {
            apply_at_start(&mut service, apply);
        }
        event_loop(&mut service, listener, lease_news).await
    })
}

/// A configuration that is wrong must not keep the daemon from serving the bonds that are there.
fn apply_at_start(service: &mut Service, paths: &[PathBuf]) {
    let present: Vec<PathBuf> = paths.iter().filter(|path| path.exists()).cloned().collect();
    if present.is_empty() {
        // No word of what is wanted is no wish to have nothing.
        return;
    }
    match crate::cli::read_files(None, &present).and_then(|wanted| service.apply(&wanted)) {
        Ok(changes) => changes.iter().for_each(|change| info!("{change}")),
        Err(failure) => warn!("the configuration was not applied: {failure}"),
    }
}

async fn event_loop(
    service: &mut Service,
    listener: tokio::net::UnixListener,
    mut lease_news: mpsc::UnboundedReceiver<leases::ClientNews>,
) -> Result<(), Failure> {
    let broken = |what: &str, e: std::io::Error| {
        Failure::new(Blame::Kernel, format!("cannot wait for {what}: {e}"))
    };
    let monitor = service
        .monitor_fd()
        .and_then(waitable)
        .map_err(|e| broken("link events", e))?;
    let records = service
        .records_fd()
        .and_then(waitable)
        .map_err(|e| broken("data path records", e))?;
    let timer = timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
    )
    .map_err(Into::into)
    .and_then(waitable)
    .map_err(|e| broken("time to pass", e))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| broken("signals", e))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| broken("signals", e))?;
    let (requests_in, mut requests) = mpsc::channel(REQUESTS_WAITING);
    tokio::spawn(server::serve(listener, requests_in));

    if let Err(e) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        warn!("cannot tell systemd that the daemon is ready: {e}");
    }
    info!("ready");
    service.look_at_leases();
    // What the data path has comes first, but not twice in a row: a storm of frames must leave room for the rest.
    let mut records_last = false;
    loop {
        // Whatever else is ready, again and again: timers run between any two pieces of work.
        service.on_timeout();
        arm(timer.get_ref(), service.next_wake()).map_err(|e| broken("time to pass", e))?;
        let after_records = std::mem::replace(&mut records_last, false);
        tokio::select! {
            biased;
            ready = records.readable(), if !after_records => {
                let mut ready = ready.map_err(|e| broken("data path records", e))?;
                // Not all that there is may be read at once, and what is left wakes nobody again.
                records_last = service.on_records();
                if !records_last {
                    ready.clear_ready();
                }
            }
            ready = monitor.readable() => {
                let mut ready = ready.map_err(|e| broken("link events", e))?;
                if !service.on_link_events() {
                    ready.clear_ready();
                }
            }
            ready = timer.readable() => {
                let mut ready = ready.map_err(|e| broken("time to pass", e))?;
                ready.clear_ready();
            }
            Some((request, answer)) = requests.recv() => {
                // A client that hung up meanwhile does not undo what it asked for.
                let _ = answer.send(service.on_request(request));
            }
            Some(news) = lease_news.recv() => service.on_lease_news(news),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // All that is ready above has had its turn.
            () = std::future::ready(()), if after_records => {}
        }
    }
    info!("ending; the bonds go on without a daemon");
    Ok(())
}

/// Sets the timer to this moment, or to never. A timer of our own: the runtime's wheel wakes up in between to turn.
fn arm(timer: &OwnedFd, at: Option<Instant>) -> std::io::Result<()> {
    // All zero switches the timer off, so a moment is at least one nanosecond.
    let nanos = at.map_or(0, |at| at.as_nanos().max(1));
    let at = Timespec {
        tv_sec: (nanos / 1_000_000_000).cast_signed(),
        tv_nsec: (nanos % 1_000_000_000) as i64,
    };
    let once = Itimerspec {
        it_interval: Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: at,
    };
    timerfd_settime(timer, TimerfdTimerFlags::ABSTIME, &once)?;
    Ok(())
}

/// A descriptor the event loop can wait for.
fn waitable(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open and answers with the same descriptor for as long as it lives, which is here as long
    // as the `AsyncFd` around it.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("OXBOND_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // The journal adds its own time stamps.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().init();
    } else {
        log.init();
    }
}

/// The lock lives as long as the file stays open, so a killed daemon leaves none behind.
fn take_lock(path: &Path) -> Result<File, Failure> {
    let cannot = |e: std::io::Error| {
        let path = path.display();
        match e.kind() {
            ErrorKind::PermissionDenied => Failure::new(
                Blame::Permission,
                format!("cannot use {path}: {e}; the daemon must start as root"),
            ),
            _ => Failure::new(Blame::Kernel, format!("cannot use {path}: {e}")),
        }
    };
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(cannot)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut owner = String::new();
        let _ = file.read_to_string(&mut owner);
        let why = format!(
            "a daemon (process {}) already serves this network namespace; stop it first, or talk to it with 'oxbond status'",
            owner.trim()
        );
        return Err(Failure::new(Blame::Daemon, why));
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .map_err(cannot)?;
    writeln!(file, "{}", std::process::id()).map_err(cannot)?;
    Ok(file)
}

/// A bond with two ports takes some twenty descriptors, and the usual limit of 1024 is there for programs that use `select`.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(e) = setrlimit(Resource::Nofile, raised) {
        warn!("cannot open more than {:?} files: {e}", limit.current);
    }
}

/// From here on nothing but networking: what the daemon needs to steer links, and, where it has them, the right to load
/// programs, which bonds on the kernel's driver do without, and the ports 68 and 546 that DHCP servers answer to.
fn drop_privileges() -> Result<(), Failure> {
    let needed = CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
    let useful = CapabilitySet::NET_BIND_SERVICE | CapabilitySet::BPF | CapabilitySet::PERFMON;
    let had = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    let keep = needed | (useful & had);
    set_capabilities(None, CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() })
        .map_err(|e| {
            let why = format!(
                "cannot keep the capabilities NET_ADMIN and NET_RAW ({e}); run the daemon as root, or grant them (and NET_BIND_SERVICE for DHCP, BPF and PERFMON for our own engine)"
            );
            Failure::new(Blame::Permission, why)
        })
}
