//! `oxbond status`: the bonds there are, as a table, as JSON or as the driver's text.

use std::io::IsTerminal as _;
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::look::Look;
use super::{say, width};
use crate::exit::{Blame, Failure};
use crate::render;

pub(super) fn grammar() -> Command {
    Command::new("status")
        .about("Show bonds: a table, or --json, or the text of /proc/net/bonding")
        .long_about(
            "Show bonds: a table, or --json, or the text of /proc/net/bonding.\n\nAll bonds of this network namespace are shown: \
             the daemon's, and those of the kernel's driver, whoever made them. The latter need neither a daemon nor a \
             configuration nor root, though what the driver tells an administrator alone is then left out. Bonds of our own \
             engine go on without a daemon, and show when one runs: then the exit code is 6.",
        )
        .arg(Arg::new("bond").value_name("BOND").help("Just this bond"))
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("A versioned JSON document"))
        .arg(
            Arg::new("proc")
                .long("proc")
                .action(ArgAction::SetTrue)
                .conflicts_with("json")
                .help("The exact text the kernel's driver shows in /proc/net/bonding/BOND"),
        )
}

pub(super) fn run(run_root: &Path, matches: &ArgMatches) -> Result<(), Failure> {
    let (bonds, look) = match matches.get_one::<String>("bond") {
        Some(name) => {
            let (bond, look) = Look::at_one(run_root, name)?;
            (
                vec![bond],
                Look {
                    bonds: Vec::new(),
                    orphans: Default::default(),
                    ..look
                },
            )
        }
        None => {
            let mut look = Look::at_all(run_root)?;
            (std::mem::take(&mut look.bonds), look)
        }
    };
    let out = if matches.get_flag("json") {
        render::json(&bonds).map_err(|e| {
            Failure::new(Blame::Bug, format!("cannot write the status as JSON: {e}"))
        })?
    } else if matches.get_flag("proc") {
        let release = rustix::system::uname();
        let release = release.release().to_string_lossy().into_owned();
        bonds
            .iter()
            .map(|bond| render::proc(&bond.status, &release))
            .collect()
    } else {
        render::table(&bonds, std::io::stdout().is_terminal(), width())
    };
    say(&out)?;
    let Err(failure) = look.daemon else {
        return Ok(());
    };
    let orphans: Vec<String> = look.orphans.into_iter().collect();
    if !orphans.is_empty() {
        let why = format!(
            "carried by our own engine and not shown, though traffic goes on: {}; {failure}",
            orphans.join(", ")
        );
        return Err(Failure::new(failure.blame, why));
    }
    if failure.blame == Blame::Permission {
        eprintln!("oxbond: bonds of the kernel's driver only: {failure}");
    }
    Ok(())
}
