//! `oxbond wait`: until bonds can carry traffic, so that a boot waits for the network and not for a dead cable.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use oxbond_core::lacp::ReceiveState;
use oxbond_core::option::Mode;
use oxbond_core::status::{BondStatus, PortRole};

use super::look::Look;
use super::texts;
use crate::exit::{Blame, Failure};
use crate::report::BondReport;

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
             waited for; with names, bonds of the kernel's driver that nobody has under management too. A dead cable does not hold up 'any-port'. When the time is over, what is missing is said and the exit \
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
    loop {
        let missing = match lacking(run_root, target, &names) {
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

/// What bonds lack, one text for each that lacks something. Without names those of the daemon are meant: a bond that nobody
/// has under management, such as one that the driver made by itself, must not hold up a boot.
fn lacking(run_root: &Path, target: Target, names: &[String]) -> Result<Vec<String>, Failure> {
    let look = Look::at_all(run_root)?;
    let meant = |bond: &BondReport| match names {
        [] => bond.engine.managed,
        names => names.contains(&bond.status.name),
    };
    let is_absent = |name: &&String| look.bonds.iter().all(|bond| bond.status.name != **name);
    let mut absent = names.iter().filter(is_absent).peekable();
    if let Err(failure) = look.daemon
        && (names.is_empty() || absent.peek().is_some())
    {
        return Err(failure);
    }
    let absent = absent.map(|name| format!("{name}: there is no such bond"));
    let lacking = look
        .bonds
        .iter()
        .filter(|bond| meant(bond))
        .map(|bond| &bond.status)
        .filter_map(|bond| Some(format!("{}: {}", bond.name, target.lacks(bond)?)));
    Ok(absent.chain(lacking).collect())
}
