//! `oxbond try`, `confirm`, `rollback`: a network on trial.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use tokio::signal::unix::{SignalKind, signal};

use super::{done, files, say, unexpected};
use crate::control::client::Client;
use crate::control::protocol::{Gate, Reply, Request, TrialState};
use crate::exit::{Blame, Failure};
use crate::paths::RunPaths;

/// Time between two looks at the trial.
const INTERVAL: Duration = Duration::from_millis(200);

pub(super) fn grammar() -> [Command; 3] {
    let seconds = || value_parser!(u64).range(1..=86_400);
    let words = Command::new("try")
        .about("Apply files, and go back unless 'oxbond confirm' comes in time")
        .long_about(
            "Apply files, and go back unless 'oxbond confirm' comes in time.\n\nGoing back restores everything: modes, options, \
             ports, addresses of both kinds, MTUs, routes, bridges. It happens when the time is up, at once when a gate does \
             not open in its time, on Ctrl-C, on 'oxbond rollback', and when the daemon is killed as soon as it is started \
             again. If only this command is killed, the time goes on. The files are not touched.",
        )
        .after_help("Exit code: 0 when it was confirmed or nothing differs, 3 when everything went back; else as of every command.")
        .args(files::arguments())
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("SECONDS")
                .value_parser(seconds())
                .default_value("120")
                .help("Time until everything goes back"),
        )
        .arg(
            Arg::new("gate")
                .long("gate")
                .value_name("GATE,...")
                .value_delimiter(',')
                .value_parser(["gateway", "partner"])
                .help("What must hold: 'gateway', every default gateway answers over its new device; 'partner', every 802.3ad bond sees an LACP partner"),
        )
        .arg(
            Arg::new("gate-within")
                .long("gate-within")
                .value_name("SECONDS")
                .value_parser(seconds())
                .default_value("15")
                .help("Time in which each gate must open"),
        );
    [
        words,
        Command::new("confirm").about("Keep what 'oxbond try' applied"),
        Command::new("rollback").about("Go back from what 'oxbond try' applied, now"),
    ]
}

pub(super) fn confirm(client: &mut Client) -> Result<(), Failure> {
    done(client.call(Request::Confirm)?)
}

pub(super) fn rollback(client: &mut Client) -> Result<(), Failure> {
    done(client.call(Request::Rollback)?)
}

pub(super) fn run(run_root: &Path, matches: &ArgMatches) -> Result<(), Failure> {
    let wanted = files::given(matches)?;
    let seconds = |name: &str| matches.get_one::<u64>(name).copied().unwrap_or_default();
    let gates = matches.get_many::<String>("gate").unwrap_or_default();
    let gates = gates.map(|gate| match gate.as_str() {
        "gateway" => Gate::Gateway,
        _ => Gate::Partner,
    });
    let request = Request::Try {
        wanted,
        timeout_ms: seconds("timeout") * 1000,
        gates: gates.collect(),
        gates_within_ms: seconds("gate-within") * 1000,
    };
    let paths = RunPaths::here(run_root)?;
    let mut client = Client::connect(&paths.socket())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Blame::Kernel, format!("cannot wait: {e}")))?;
    runtime.block_on(attend(&mut client, request))
}

/// Begins the trial and stays until it has ended; a signal ends it.
async fn attend(client: &mut Client, request: Request) -> Result<(), Failure> {
    // From before the first step: Ctrl-C must not leave a trial nobody attends.
    let wait = |kind| {
        signal(kind)
            .map_err(|e| Failure::new(Blame::Kernel, format!("cannot wait for signals: {e}")))
    };
    let mut interrupt = wait(SignalKind::interrupt())?;
    let mut terminate = wait(SignalKind::terminate())?;
    let mut hang_up = wait(SignalKind::hangup())?;
    let reply = client.call(request)?;
    let nothing = matches!(&reply, Reply::Done { changes } if changes.is_empty());
    done(reply)?;
    if nothing {
        return Ok(());
    }
    let shown = std::io::stderr().is_terminal();
    let mut told = None;
    loop {
        let reply = client.call(Request::Trial)?;
        let Reply::Trial(state) = reply else {
            return Err(unexpected(&reply));
        };
        match state {
            TrialState::Pending { left_ms, gates } => {
                let waits = match gates.as_slice() {
                    [] => String::new(),
                    gates => format!(" (waiting for {})", gates.join(", ")),
                };
                let line = format!(
                    "{} s left for 'oxbond confirm'; Ctrl-C goes back{waits}",
                    left_ms.div_ceil(1000)
                );
                if shown {
                    eprint!("\r\x1b[K{line}");
                    let _ = std::io::stderr().flush();
                } else if told.as_ref() != Some(&waits) {
                    eprintln!("{line}");
                    told = Some(waits);
                }
            }
            TrialState::Confirmed => {
                end_line(shown);
                return say("confirmed\n");
            }
            TrialState::RolledBack { why, complaints } => {
                end_line(shown);
                let how = match complaints.as_slice() {
                    [] => "everything is as it was before".to_owned(),
                    complaints => {
                        format!(
                            "not everything is as it was before: {}",
                            complaints.join("; ")
                        )
                    }
                };
                return Err(Failure::new(
                    Blame::Refused,
                    format!("went back: {why}; {how}"),
                ));
            }
            TrialState::None => {
                end_line(shown);
                let why = "the daemon was started anew and went back; its log tells more";
                return Err(Failure::new(Blame::Daemon, why));
            }
        }
        let asked_back = tokio::select! {
            () = tokio::time::sleep(INTERVAL) => false,
            _ = interrupt.recv() => true,
            _ = terminate.recv() => true,
            _ = hang_up.recv() => true,
        };
        if asked_back {
            // It may have ended by itself just now; the next look tells how.
            let _ = client.call(Request::Rollback);
        }
    }
}

fn end_line(shown: bool) {
    if shown {
        eprintln!();
    }
}
