//! Configuration files of any dialect, as commands are given them and tell what is wrong with them on standard error.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use oxbond_config::check;
use oxbond_config::detect::{Gathered, gather};
use oxbond_config::diagnostic::{Diagnostic, Severity, render};
use oxbond_config::dialect::Dialect;
use oxbond_config::report::Fate;

use super::count;
use crate::exit::{Blame, Failure};
use crate::network::Wanted;

/// Where configuration files live unless told otherwise.
pub(super) const CONFIG_DIR: &str = "/etc/oxbond";

/// The argument `--from DIALECT`.
pub(super) fn from_arg() -> Arg {
    Arg::new("from")
        .long("from")
        .value_name("DIALECT")
        .value_parser(dialect_names())
        .help("What all of the files are written in [default: told by their names and contents]")
}

/// The dialect of `--from`, if it was given.
pub(super) fn from(matches: &ArgMatches) -> Option<Dialect> {
    matches
        .get_one::<String>("from")
        .and_then(|name| Dialect::find(name))
}

/// The names of all dialects.
pub(super) fn dialect_names() -> Vec<&'static str> {
    Dialect::ALL.iter().map(|dialect| dialect.name()).collect()
}

/// The paths that were named on the command line.
pub(super) fn paths(matches: &ArgMatches) -> Vec<PathBuf> {
    let paths = matches.get_many("path").unwrap_or_default();
    paths.cloned().collect()
}

/// The arguments `--from DIALECT` and `PATH...` of commands that read what the system is to be.
pub(super) fn arguments() -> [Arg; 2] {
    [
        from_arg(),
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
    read_files(from(matches), &paths(matches))
}

/// Reads configuration files, all in one dialect; all their errors come at once, on standard error, warnings too.
/// Directories without such files want nothing.
pub(crate) fn read_files(dialect: Option<Dialect>, paths: &[PathBuf]) -> Result<Wanted, Failure> {
    wanted(&gather(paths, dialect))
}

/// What files want that were read already, as [`read_files`] does.
pub(super) fn wanted(gathered: &Gathered) -> Result<Wanted, Failure> {
    let dialect = one_dialect(gathered)?.unwrap_or(Dialect::Toml);
    let mut reading = dialect.read(&gathered.sources);
    check::check(&mut reading.network, &mut reading.diagnostics);
    reading
        .diagnostics
        .sort_by_key(|diagnostic| diagnostic.span);
    let errors = complain(gathered, &reading.diagnostics);
    // In our own dialect, a fate of a line is a diagnostic too.
    for line in dialect.lines(&reading.report, &gathered.sources) {
        if dialect != Dialect::Toml && line.fates.iter().any(|fate| *fate != Fate::Mapped) {
            eprintln!("{line}");
        }
    }
    refuse(errors, "nothing was changed")?;
    Ok(Wanted::of(&reading.network))
}

/// The one dialect of the files; none where there are no files.
pub(super) fn one_dialect(gathered: &Gathered) -> Result<Option<Dialect>, Failure> {
    let dialects: BTreeSet<Dialect> = gathered.dialects.values().copied().collect();
    if dialects.len() > 1 {
        let names: Vec<&str> = dialects.iter().map(|dialect| dialect.name()).collect();
        let why = format!(
            "the files are in several dialects ({}), of which each would want something of the same system; name the \
             files of one, or the dialect with --from",
            names.join(", ")
        );
        return Err(Failure::new(Blame::Configuration, why));
    }
    Ok(dialects.first().copied())
}

/// Says on standard error what could not be read and what was found; how many of these are errors.
pub(super) fn complain(gathered: &Gathered, found: &[Diagnostic]) -> usize {
    let colour = std::io::stderr().is_terminal();
    let found = gathered.diagnostics.iter().chain(found);
    for diagnostic in found.clone() {
        eprintln!("{}", render(diagnostic, &gathered.sources, colour));
    }
    found
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .count()
}

/// Refuses to go on with files that have errors: what is missing of them would be missed. `undone` says what that means.
pub(super) fn refuse(errors: usize, undone: &str) -> Result<(), Failure> {
    match errors {
        0 => Ok(()),
        errors => {
            let why = format!("{} in the configuration; {undone}", count(errors, "error"));
            Err(Failure::new(Blame::Configuration, why))
        }
    }
}
