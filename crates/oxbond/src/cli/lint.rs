//! `oxbond lint`: what is wrong with configuration files of any dialect. Needs no daemon and no root.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use oxbond_config::detect::{gather, gather_usual};
use oxbond_config::diagnostic::{self, Diagnostic, Severity};
use oxbond_config::lint::{Facts, Interface, lint};
use oxbond_config::rule::{Code, RULES};
use serde_json::json;

use super::files::{self, from_arg};
use super::{count, say, texts};
use crate::exit::{Blame, Failure};
use crate::sarif::sarif;

/// Version of the JSON document; a reader of a lower one may be surprised.
const JSON_VERSION: u32 = 1;

pub(super) fn grammar() -> Command {
    Command::new("lint")
        .about("Find what is wrong with configuration files of any tool, and what is probably not meant")
        .long_about(
            "Find what is wrong with configuration files of any tool, and what is probably not meant.\n\nWithout a path, the usual \
             places of this machine are read: netplan, systemd-networkd, NetworkManager, interfaces, ifcfg, modprobe.d and our own. \
             A comment '# oxbond: allow CODE' above a line takes findings with this code at the line out. The exit code is 2 with \
             an error among the findings (with --strict: or a warning), else 0.",
        )
        .arg(
            Arg::new("path")
                .value_name("PATH")
                .action(ArgAction::Append)
                .value_parser(value_parser!(PathBuf))
                .help("Files, or directories of them; the dialect is told by name and content"),
        )
        .arg(from_arg())
        .arg(
            Arg::new("root")
                .long("root")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .conflicts_with("path")
                .help("Read the usual places below this directory, such as an image"),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .default_value("text")
                .value_parser(["text", "json", "sarif"])
                .help("text: excerpts for people; json: a versioned document; sarif: SARIF 2.1.0"),
        )
        .arg(
            Arg::new("strict")
                .long("strict")
                .action(ArgAction::SetTrue)
                .help("A warning counts for the exit code too"),
        )
        .arg(
            Arg::new("allow")
                .long("allow")
                .value_name("CODE")
                .action(ArgAction::Append)
                .value_delimiter(',')
                .value_parser(known_code)
                .help("Leave out findings with this code; repeat for more"),
        )
        .arg(
            Arg::new("explain")
                .long("explain")
                .value_name("CODE")
                .value_parser(known_code)
                .exclusive(true)
                .help("Say why a rule is there and what to do about a finding"),
        )
        .arg(
            Arg::new("rules")
                .long("rules")
                .action(ArgAction::SetTrue)
                .exclusive(true)
                .help("List all rules"),
        )
}

fn known_code(word: &str) -> Result<Code, String> {
    Code::find(word)
        .ok_or_else(|| "there is no such rule; 'oxbond lint --rules' lists them".to_owned())
}

/// Runs the command. Findings are no failure of it, but have their exit code.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    if let Some(code) = matches.get_one::<Code>("explain") {
        say(&explain(*code))?;
        return Ok(ExitCode::SUCCESS);
    }
    if matches.get_flag("rules") {
        let rules = RULES.iter().map(|rule| {
            format!(
                "{:<26} {:<8} {}\n",
                rule.code,
                rule.severity.as_str(),
                rule.title
            )
        });
        say(&rules.collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let paths = files::paths(matches);
    let from = files::from(matches);
    let root = matches.get_one::<PathBuf>("root");
    let gathered = match paths.as_slice() {
        [] => gather_usual(root.map_or_else(|| Path::new("/"), PathBuf::as_path), from),
        paths => gather(paths, from),
    };
    // Files that were named, or those of an image, may be of another machine.
    let here = paths.is_empty() && root.is_none();
    let facts = Facts {
        interfaces: here.then(interfaces).flatten(),
        modes: gathered.modes,
    };
    let allowed: Vec<Code> = matches
        .get_many("allow")
        .unwrap_or_default()
        .copied()
        .collect();
    let mut found = gathered.diagnostics;
    found.extend(lint(&gathered.sources, &gathered.dialects, &facts));
    found.retain(|finding| !allowed.contains(&finding.code));

    let plain = || -> Vec<_> {
        let plain = found.iter().map(|finding| finding.plain(&gathered.sources));
        plain.collect()
    };
    let files = gathered.dialects.len();
    match texts(matches, "format").first().map(String::as_str) {
        Some("json") => {
            let document = json!({
                "version": JSON_VERSION,
                "files": files,
                "errors": of(&found, Severity::Error),
                "warnings": of(&found, Severity::Warning),
                "infos": of(&found, Severity::Info),
                "findings": plain(),
            });
            say(&format!("{document:#}\n"))?;
        }
        Some("sarif") => say(&format!("{:#}\n", sarif(&plain())))?,
        _ => {
            let colour = std::io::stdout().is_terminal();
            let mut text = String::new();
            for finding in &found {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "{}\n",
                    diagnostic::render(finding, &gathered.sources, colour)
                );
            }
            text.push_str(&summary(&found, files));
            say(&text)?;
        }
    }
    let worst = match matches.get_flag("strict") {
        true => Severity::Warning,
        false => Severity::Error,
    };
    Ok(
        match found.iter().any(|finding| finding.severity <= worst) {
            true => ExitCode::from(Blame::Configuration.exit_code()),
            false => ExitCode::SUCCESS,
        },
    )
}

fn of(found: &[Diagnostic], severity: Severity) -> usize {
    found
        .iter()
        .filter(|finding| finding.severity == severity)
        .count()
}

fn summary(found: &[Diagnostic], files: usize) -> String {
    let files = count(files, "file");
    let counts: Vec<String> = [Severity::Error, Severity::Warning, Severity::Info]
        .into_iter()
        .map(|severity| (of(found, severity), severity.as_str()))
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| count(number, word))
        .collect();
    match counts.as_slice() {
        [] => format!("nothing to remark on in {files}\n"),
        counts => format!(
            "{} in {files}; 'oxbond lint --explain CODE' says more\n",
            counts.join(", ")
        ),
    }
}

fn explain(code: Code) -> String {
    let rule = code.rule();
    format!(
        "{} ({}): {}\n\n{}\n",
        rule.code,
        rule.severity.as_str(),
        rule.title,
        rule.why
    )
}

/// The interfaces of this machine; none where it does not tell.
fn interfaces() -> Option<BTreeMap<String, Interface>> {
    let entries = fs::read_dir("/sys/class/net").ok()?;
    let known = entries.filter_map(Result::ok).map(|entry| {
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).ok();
        let speed = read("speed").and_then(|text| text.trim().parse::<i64>().ok());
        let interface = Interface {
            // Without a link some drivers say -1.
            speed: speed
                .and_then(|speed| u32::try_from(speed).ok())
                .filter(|speed| *speed > 0),
            carrier: read("carrier").is_some_and(|text| text.trim() == "1"),
        };
        (entry.file_name().to_string_lossy().into_owned(), interface)
    });
    Some(known.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linted(words: &[&str]) -> u8 {
        let words = ["lint"].iter().chain(words);
        let matches = grammar().try_get_matches_from(words).unwrap();
        match run(&matches) {
            Ok(code) if code == ExitCode::SUCCESS => 0,
            Ok(code) if code == ExitCode::from(2) => 2,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_exit_code_tells_how_bad_it_is() {
        let directory = std::env::temp_dir().join(format!("oxbond-lint-{}", std::process::id()));
        let place = directory.join("etc/network");
        fs::create_dir_all(&place).unwrap();
        let stanza = "auto bond0\niface bond0 inet manual\n bond-slaves eth0 eth1\n bond-mode active-backup\n";
        let file = place.join("interfaces");
        let path = file.to_str().unwrap();
        let root = directory.to_str().unwrap();

        fs::write(&file, stanza).unwrap();
        assert_eq!(linted(&[path]), 0, "a warning is no error");
        assert_eq!(linted(&["--strict", path]), 2);
        assert_eq!(linted(&["--strict", "--allow", "no-monitor", path]), 0);
        assert_eq!(linted(&["--strict", "--root", root]), 2, "usual places");
        fs::write(&file, format!("# oxbond: allow-file no-monitor\n{stanza}")).unwrap();
        assert_eq!(linted(&["--strict", path]), 0);
        fs::write(&file, format!("{stanza} bond-primary eth9\n")).unwrap();
        assert_eq!(linted(&[path]), 2);
        assert_eq!(linted(&["--format", "sarif", path]), 2);
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(linted(&[path]), 2, "a file that is not there");
        assert_eq!(linted(&["--root", root]), 0, "an image without any");
    }
}
