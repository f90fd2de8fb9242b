//! `oxbond adopt`: takes a running bond of the kernel's driver under management, or moves a bond to the other engine.

use std::path::Path;

use clap::{ArgMatches, Command};

use super::{bond_arg, done, engine_arg, engine_choice, text};
use crate::control::client::Client;
use crate::control::protocol::Request;
use crate::exit::Failure;
use crate::paths::RunPaths;

pub(super) fn grammar() -> Command {
    Command::new("adopt")
        .about("Take a running bond under management, whoever made it, or move it to the other engine")
        .long_about(
            "Take a running bond under management, whoever made it, or move it to the other engine.\n\nA bond of the kernel's \
             driver that ip, a distribution's tools or the module itself made is from then on the daemon's: nothing of it is \
             changed and no packet is lost. 'oxbond status' shows the bonds that there are.\n\nWith --engine ebpf it moves to our \
             own engine, with --engine kernel back to the driver: name, link-layer address, addresses, routes, bridge and LACP \
             identity stay, and at most the packets in flight are lost. It is refused where the other engine lacks an option that \
             is in force, which the message names.",
        )
        .arg(bond_arg())
        .arg(engine_arg(
            "What carries it from then on: auto leaves it where it is, ebpf is our own engine, kernel its bonding driver",
        ))
}

pub(super) fn run(run_root: &Path, matches: &ArgMatches) -> Result<(), Failure> {
    let mut client = RunPaths::here(run_root).and_then(|paths| Client::connect(&paths.socket()))?;
    done(client.call(Request::Adopt {
        bond: text(matches, "bond"),
        engine: engine_choice(matches),
    })?)
}
