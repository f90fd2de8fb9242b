//! `oxbond save`: writes what runs as a configuration file, so that it is there again after a boot.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};
use oxbond_config::dialect::Dialect;
use oxbond_linux::files::{self, Mode};

use super::files::CONFIG_DIR;
use super::{say, unexpected};
use crate::control::client::Client;
use crate::control::protocol::{Reply, Request};
use crate::exit::{Blame, Failure};
use crate::paths::RunPaths;

/// The file in [`CONFIG_DIR`] that is ours to write.
const FILE: &str = "oxbond.toml";

pub(super) fn grammar() -> Command {
    Command::new("save")
        .about("Write what runs as a configuration file, so that it is there again after a boot")
        .long_about(
            "Write what runs as a configuration file, so that it is there again after a boot: the bonds with every option \
             in force, made by hand or from files, and what was applied of VLAN devices, bridges, addresses, routes and \
             name servers.\n\nThe file is replaced in one step. Beside other *.toml in its directory it would say things \
             twice: those are named, and nothing is written.",
        )
        .arg(
            Arg::new("output")
                .long("output")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help(format!("The file to write; - is standard output [default: {CONFIG_DIR}/{FILE}]")),
        )
}

/// Where it is written unless told otherwise.
pub(super) fn default_file() -> PathBuf {
    Path::new(CONFIG_DIR).join(FILE)
}

pub(super) fn run(run_root: &Path, matches: &ArgMatches) -> Result<(), Failure> {
    let output = matches.get_one::<PathBuf>("output").cloned();
    write(run_root, &output.unwrap_or_else(default_file))
}

/// Writes what runs to a file, `-` being standard output, and says so.
pub(super) fn write(run_root: &Path, output: &Path) -> Result<(), Failure> {
    let paths = RunPaths::here(run_root)?;
    let reply = Client::connect(&paths.socket())?.call(Request::Wanted)?;
    let Reply::Wanted(wanted) = reply else {
        return Err(unexpected(&reply));
    };
    let written = Dialect::Toml.write(&wanted.as_model()?);
    let text: String = written.files.into_iter().map(|file| file.text).collect();
    if output == Path::new("-") {
        return say(&text);
    }
    alone(output)?;
    if fs::read_to_string(output).is_ok_and(|there| there == text) {
        return say(&format!("{} is as it should be\n", output.display()));
    }
    let directory = output.parent().unwrap_or_else(|| Path::new(""));
    let written = fs::create_dir_all(directory)
        .and_then(|()| files::replace(output, text.as_bytes(), Mode::KeptOr(0o644)));
    written.map_err(|e| {
        let why = format!(
            "cannot write {}: {e}; what was there is as it was",
            output.display()
        );
        Failure::new(Blame::Kernel, why)
    })?;
    say(&format!("{} written\n", output.display()))
}

/// Refuses where other files would be read beside the one to write.
fn alone(output: &Path) -> Result<(), Failure> {
    let Some(entries) = output.parent().and_then(|dir| fs::read_dir(dir).ok()) else {
        return Ok(());
    };
    let mut others: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path != output && path.extension().is_some_and(|suffix| suffix == "toml"))
        .map(|path| path.display().to_string())
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    others.sort();
    let why = format!(
        "{} would be read beside {} and say things twice; move those away, or write elsewhere with --output",
        output.display(),
        others.join(", ")
    );
    Err(Failure::new(Blame::Configuration, why))
}
