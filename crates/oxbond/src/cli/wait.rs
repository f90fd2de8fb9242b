//! `oxbond wait`: until bonds can carry traffic, so that a boot waits for the network and not for a dead cable.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use oxbond_core::lacp::ReceiveState;
use oxbond_core::option::Mode;
use oxbond_core::status::{BondStatus, PortRole};

use super::{texts, unexpected};
use crate::control::client::Client;
use crate::control::protocol::{Reply, Request};
use crate::exit::{Blame, Failure};
use crate::paths::RunPaths;

/// Between two looks. A boot that waits notices a tenth of a second less than it does a wake-up more.
const INTERVAL: Duration = Duration::from_millis(100);

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    AnyPort,
    MinLinks,
    Lacp,
    AllPorts,
}

impl Target {
    const WORDS: [(&'static str, Self); 4] = [
        ("any-port", Self::AnyPort),
        ("min-links", Self::MinLinks),
        ("lacp", Self::Lacp),
        ("all-ports", Self::AllPorts),
    ];

    /// What a bond still lacks, in words; `None` when it is there.
    fn lacks(self, bond: &BondStatus) -> Option<String> {
        let carrying = bond.carrying();
        if !bond.carrier || carrying == 0 {
            return Some("no port carries traffic".to_owned());
        }
        let needed = match self {
            Self::AnyPort => 1,
            Self::MinLinks => (bond.options.min_links as usize).max(1),
            Self::AllPorts => bond.expected.len(),
            Self::Lacp => {
                return (bond.options.mode == Mode::Ieee8023ad && !answered(bond))
                    .then(|| "no LACP partner has answered".to_owned());
            }
        };
        (carrying < needed).then(|| format!("{carrying} of {needed} ports carry traffic"))
    }
}

/// Whether a port that carries traffic does so with a partner, and not by the fallback for having none.
fn answered(bond: &BondStatus) -> bool {
    bond.ports.iter().any(|port| {
        let current = port
            .lacp
            .as_ref()
            .is_some_and(|lacp| lacp.receive == ReceiveState::Current);
        port.role == PortRole::Active && current
    })
}

pub(super) fn grammar() -> Command {
    Command::new("wait")
        .about("Wait until bonds can carry traffic: for boot targets and scripts")
        .long_about(
            "Wait until bonds can carry traffic: for boot targets and scripts.\n\nWithout a name, all bonds of the daemon are \
             waited for. A dead cable does not hold up 'any-port'. When the time is over, what is missing is said and the exit \
             code is 7.",
        )
        .arg(Arg::new("bond").value_name("BOND").action(ArgAction::Append).help("Just these bonds"))
        .arg(
            Arg::new("until")
                .long("until")
                .value_name("WHAT")
                .default_value("any-port")
                .value_parser(Target::WORDS.map(|(word, _)| word))
                .help(
                    "any-port: one port carries traffic; min-links: as many as the option min_links says; lacp: a partner has \
                     answered on one (other modes: any-port); all-ports: every configured one",
                ),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("S")
                .default_value("30")
                .value_parser(value_parser!(u64))
                .help("Give up after this many seconds; 0 looks once"),
        )
}

pub(super) fn run(run_root: &Path, matches: &ArgMatches) -> Result<(), Failure> {
    let word = matches.get_one::<String>("until");
    let target = Target::WORDS
        .into_iter()
        .find(|(known, _)| word.is_some_and(|word| word == known))
        .map_or(Target::AnyPort, |(_, target)| target);
    let names = texts(matches, "bond");
    let timeout = matches
        .get_one::<u64>("timeout")
        .copied()
        .unwrap_or_default();
    let deadline = Instant::now() + Duration::from_secs(timeout);
    let paths = RunPaths::here(run_root)?;
    loop {
        let missing = match look(&paths, target, &names) {
            Ok(missing) if missing.is_empty() => return Ok(()),
            Ok(missing) => Failure::new(Blame::Unready, missing.join("; ")),
            // At boot the daemon, or a bond of it, may be yet to come.
            Err(failure) if matches!(failure.blame, Blame::Daemon | Blame::Refused) => failure,
            Err(failure) => return Err(failure),
        };
        if Instant::now() >= deadline {
            return Err(missing);
        }
        sleep(INTERVAL);
    }
}

/// What bonds lack, one text for each that lacks something.
fn look(paths: &RunPaths, target: Target, names: &[String]) -> Result<Vec<String>, Failure> {
    let reply = Client::connect(&paths.socket())?.call(Request::Status { bond: None })?;
    let Reply::Bonds { bonds, .. } = reply else {
        return Err(unexpected(&reply));
    };
    let absent = names
        .iter()
        .filter(|name| bonds.iter().all(|bond| bond.status.name != **name))
        .map(|name| format!("{name}: there is no such bond"));
    let lacking = bonds
        .iter()
        .map(|bond| &bond.status)
        .filter(|bond| names.is_empty() || names.contains(&bond.name))
        .filter_map(|bond| Some(format!("{}: {}", bond.name, target.lacks(bond)?)));
    Ok(absent.chain(lacking).collect())
}
