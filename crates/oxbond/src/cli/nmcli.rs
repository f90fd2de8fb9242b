//! `oxbond nmcli con ...`: the words of NetworkManager for connections, done by us.
//!
//! The lines are kept as they were given, in a file of their dialect; the network is what that file says. A line that
//! would not be understood, or cannot be applied, is not kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use oxbond_config::detect::Gathered;
use oxbond_config::dialect::{Dialect, nmcli};
use oxbond_linux::files::{Draft, Mode};

use super::files::{self, CONFIG_DIR};
use super::{done, save, texts};
use crate::control::client::Client;
use crate::control::protocol::Request;
use crate::exit::{Blame, Failure};
use crate::paths::RunPaths;

/// Where the lines are kept unless told otherwise.
const LINES: &str = "/var/lib/oxbond/nmcli.lines";

pub(super) fn grammar() -> Command {
    Command::new("nmcli")
        .about("Understand nmcli's words for connections: 'con add', 'modify', 'delete', 'up', 'reload'")
        .long_about(
            "Understand nmcli's words for connections, as far as they are about bonds and what stands on them.\n\n'connection \
             add' and 'delete' act at once, 'modify' with the next 'connection up' or 'reload', as at NetworkManager. The lines \
             are kept in a file, and what then runs is saved as 'oxbond save' does. A line that cannot be applied is not kept.",
        )
        .arg(
            Arg::new("lines")
                .long("lines")
                .value_name("FILE")
                .env("OXBOND_NMCLI_LINES")
                .default_value(LINES)
                .value_parser(value_parser!(PathBuf))
                .help("Where the lines are kept"),
        )
        .arg(
            Arg::new("save")
                .long("save")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help(format!("Where what runs is saved [default: {}]", save::default_file().display())),
        )
        .arg(
            Arg::new("words")
                .value_name("WORD")
                .num_args(1..)
                .required(true)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .help("What would stand behind 'nmcli'"),
        )
}

/// What a verb does.
enum Verb {
    /// Keeps the line and applies it.
    Change,
    /// Keeps the line.
    Note,
    /// Applies what is kept.
    Apply,
}

pub(super) fn run(run_root: &Path, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let words = texts(matches, "words");
    let verb = verb(&words)?;
    let lines = matches
        .get_one::<PathBuf>("lines")
        .cloned()
        .unwrap_or_else(|| LINES.into());
    let saved = matches.get_one::<PathBuf>("save").cloned();
    let unkept = |e: std::io::Error| {
        let why = format!(
            "cannot keep the line in {}: {e}; nothing was changed",
            lines.display()
        );
        Failure::new(Blame::Kernel, why)
    };
    if let Some(dir) = lines.parent() {
        fs::create_dir_all(dir).map_err(unkept)?;
    }
    // From here on another one that is told a line waits.
    let mut draft = Draft::of(&lines, Mode::KeptOr(0o644)).map_err(unkept)?;
    let mut text = match fs::read_to_string(&lines) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.map_err(unkept)?,
    };
    if !matches!(verb, Verb::Apply) {
        text += &nmcli::typed(&words);
        text.push('\n');
    }
    draft.write(text.as_bytes()).map_err(unkept)?;
    // What is wrong is told of the file that the lines are for, whether they get there or not.
    let mut gathered = Gathered::default();
    gathered.add(&lines.to_string_lossy(), text, Some(Dialect::Nmcli));
    let wanted = files::wanted(&gathered)?;
    if !matches!(verb, Verb::Note) {
        let paths = RunPaths::here(run_root)?;
        done(Client::connect(&paths.socket())?.call(Request::Apply { wanted })?)?;
    }
    draft.put().map_err(unkept)?;
    if !matches!(verb, Verb::Note) {
        save::write(run_root, &saved.unwrap_or_else(save::default_file)).map_err(|failure| {
            Failure {
                message: format!(
                    "applied, but a boot would not bring it back: {}",
                    failure.message
                ),
                ..failure
            }
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn verb(words: &[String]) -> Result<Verb, Failure> {
    let is = |at: usize, known: &str| {
        // nmcli's words may be cut short.
        words
            .get(at)
            .is_some_and(|word| !word.is_empty() && known.starts_with(word.as_str()))
    };
    let verbs = [
        ("add", Verb::Change),
        ("delete", Verb::Change),
        ("modify", Verb::Note),
        ("up", Verb::Apply),
        ("reload", Verb::Apply),
    ];
    let verb = verbs.into_iter().find(|(known, _)| is(1, known));
    match verb {
        Some((_, verb)) if is(0, "connection") => Ok(verb),
        _ => {
            let why = format!(
                "'nmcli {}' is not for oxbond: it knows 'connection' with add, modify, delete, up and reload; 'oxbond status' shows \
                 what runs, 'oxbond down' removes a bond, and files of NetworkManager in {CONFIG_DIR} are applied as they are",
                words.join(" ")
            );
            Err(Failure::new(Blame::Configuration, why))
        }
    }
}
