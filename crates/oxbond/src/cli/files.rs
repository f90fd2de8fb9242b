//! Configuration files as `plan`, `apply` and `try` read them, in whatever dialect: what they want, and on standard error
//! all that is wrong with them or not taken over.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use oxbond_config::check;
use oxbond_config::detect::gather;
use oxbond_config::diagnostic::{Severity, render};
use oxbond_config::dialect::Dialect;
use oxbond_config::report::Fate;
use oxbond_config::span::Sources;

use super::count;
use crate::exit::{Blame, Failure};
use crate::network::Wanted;

/// Where configuration files live unless told otherwise.
pub(super) const CONFIG_DIR: &str = "/etc/oxbond";

/// The arguments `--from DIALECT` and `PATH...`.
pub(super) fn arguments() -> [Arg; 2] {
    let dialects = Dialect::ALL.iter().map(|dialect| dialect.name());
    [
        Arg::new("from")
            .long("from")
            .value_name("DIALECT")
            .value_parser(clap::builder::PossibleValuesParser::new(dialects))
            .help(
                "What all of the files are written in [default: told by their names and contents]",
            ),
        Arg::new("path")
            .value_name("PATH")
            .action(ArgAction::Append)
            .value_parser(value_parser!(PathBuf))
            .default_value(CONFIG_DIR)
            .help(
                "Files, or directories whose files are read in order of name; all in one dialect",
            ),
    ]
}

/// Reads the files that were named on the command line.
pub(super) fn given(matches: &ArgMatches) -> Result<Wanted, Failure> {
    let paths = matches.get_many::<PathBuf>("path").unwrap_or_default();
    let name = matches.get_one::<String>("from");
    let mut dialects = Dialect::ALL.iter().copied();
    let dialect = dialects.find(|dialect| name.is_some_and(|name| name == dialect.name()));
    let paths: Vec<PathBuf> = paths.cloned().collect();
    read_files(dialect, &paths)
}

/// Reads configuration files, all in one dialect; all their errors come at once, on standard error, warnings too.
/// Directories without such files want nothing.
pub(crate) fn read_files(dialect: Option<Dialect>, paths: &[PathBuf]) -> Result<Wanted, Failure> {
    let gathered = gather(paths, dialect);
    let dialects: BTreeSet<Dialect> = gathered.dialects.values().copied().collect();
    if dialects.len() > 1 {
        let names: Vec<&str> = dialects.iter().map(|dialect| dialect.name()).collect();
        let why = format!(
            "the files are in several dialects ({}), of which each would want something of the same system; name the \
             files of one",
            names.join(", ")
        );
        return Err(Failure::new(Blame::Configuration, why));
    }
    let dialect = dialects.first().copied().unwrap_or(Dialect::Toml);
    let mut sources = Sources::default();
    for (file, source) in gathered.sources.iter() {
        if gathered.dialects.contains_key(&file) {
            sources.add(&source.name, &source.text);
        }
    }
    let mut reading = dialect.read(&sources);
    check::check(&mut reading.network, &mut reading.diagnostics);
    reading
        .diagnostics
        .sort_by_key(|diagnostic| diagnostic.span);
    let found = gathered.diagnostics.iter().chain(&reading.diagnostics);
    let colour = std::io::stderr().is_terminal();
    for diagnostic in found.clone() {
        eprintln!("{}", render(diagnostic, &sources, colour));
    }
    // In our own dialect, a fate of a line is a diagnostic too.
    for line in dialect.lines(&reading.report, &sources) {
        if dialect != Dialect::Toml && line.fates.iter().any(|fate| *fate != Fate::Mapped) {
            eprintln!("{line}");
        }
    }
    let errors = found.filter(|diagnostic| diagnostic.severity == Severity::Error);
    let errors = errors.count();
    if errors > 0 {
        let why = format!(
            "{} in the configuration; nothing was changed",
            count(errors, "error")
        );
        return Err(Failure::new(Blame::Configuration, why));
    }
    Ok(Wanted::of(&reading.network))
}
