//! `oxbond apply`: makes the system be what files say.

use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{count, done, files, say};
use crate::control::client::Client;
use crate::control::protocol::Request;
use crate::exit::Failure;
use crate::paths::RunPaths;

pub(super) fn grammar() -> Command {
    Command::new("apply")
        .about("Make the network be what configuration files say; without a difference nothing is written")
        .long_about(
            "Make the network be what configuration files say: bonds, VLAN devices and bridges, with their addresses and \
             routes. Without a difference nothing is written.\n\nWhat was made from files before and is named no more goes; \
             what somebody else made stays. Addresses and routes of an interface that becomes a port are taken off, and \
             given back when it is a port no longer. All is read back at the end. Whatever fails, everything is as it was \
             before. 'oxbond plan' shows what would be done, 'oxbond try' goes back unless it is confirmed.",
        )
        .args(files::arguments())
        .arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .help("Only read the files and report what is wrong with them"),
        )
}

pub(super) fn run(run_root: &Path, matches: &ArgMatches) -> Result<(), Failure> {
    let wanted = files::given(matches)?;
    if matches.get_flag("check") {
        let bonds = count(wanted.bonds.len(), "bond");
        return say(&format!("{bonds} in order\n"));
    }
    let paths = RunPaths::here(run_root)?;
    let mut client = Client::connect(&paths.socket())?;
    done(client.call(Request::Apply { wanted })?)
}
