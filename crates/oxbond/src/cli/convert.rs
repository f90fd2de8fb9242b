//! `oxbond convert`: files of one dialect in another, with what became of each line. Needs no daemon and no root.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use oxbond_config::detect::gather;
use oxbond_config::dialect::{Conversion, Dialect, OutputFile, convert};
use oxbond_config::report::{Fate, LineReport};
use oxbond_linux::files::{Mode, replace};
use serde_json::json;

use super::files::{self, dialect_names, from_arg};
use super::{count, say, text, texts};
use crate::exit::{Blame, CHANGED, Failure, LOST};

/// Version of the JSON document; a reader of a lower one may be surprised.
const JSON_VERSION: u32 = 1;

pub(super) fn grammar() -> Command {
    Command::new("convert")
        .about("Convert configuration files of one tool to those of another, and tell what became of each line")
        .long_about(
            "Convert configuration files of one tool to those of another, and tell what became of each line.\n\nThe new files are \
             printed, or written below --output under the paths where their tool looks for them; the report goes to standard \
             error. The exit code is 0 when everything means the same as before, 8 when some of it is taken over with a change, 9 \
             when some of it is lost.",
        )
        .arg(
            Arg::new("path")
                .value_name("PATH")
                .required(true)
                .action(ArgAction::Append)
                .value_parser(value_parser!(PathBuf))
                .help("Files that belong together, or directories of them"),
        )
        .arg(from_arg())
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("DIALECT")
                .required(true)
                .value_parser(dialect_names())
                .help("The dialect to write"),
        )
        .arg(
            Arg::new("output")
                .long("output")
                .short('o')
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Write the files below this directory; '/' puts them where their tool looks"),
        )
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .requires("output")
                .help("Replace files that are there already"),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .default_value("text")
                .value_parser(["text", "json"])
                .help("text: lines that are not the same as before; json: a versioned document with files and all lines"),
        )
}

/// What became of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Faithful,
    Changed,
    Lost,
}

impl Verdict {
    fn of(lines: &[LineReport]) -> Self {
        let fates = lines.iter().flat_map(|line| &line.fates);
        let verdicts = fates.map(|fate| match fate {
            Fate::Mapped => Self::Faithful,
            Fate::Changed { .. } => Self::Changed,
            Fate::Unsupported { .. } | Fate::Unknown { .. } => Self::Lost,
        });
        verdicts.max().unwrap_or(Self::Faithful)
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Faithful => "faithful",
            Self::Changed => "changed",
            Self::Lost => "lost",
        }
    }

    fn exit_code(self) -> ExitCode {
        match self {
            Self::Faithful => ExitCode::SUCCESS,
            Self::Changed => ExitCode::from(CHANGED),
            Self::Lost => ExitCode::from(LOST),
        }
    }
}

/// Runs the command. What is lost is no failure of it, but has its exit code.
pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let gathered = gather(&files::paths(matches), files::from(matches));
    let from = files::one_dialect(&gathered)?.ok_or_else(|| {
        let first = gathered.diagnostics.first();
        let why = first.map_or_else(
            || "there are no files of any dialect; name the dialect with --from".to_owned(),
            |first| first.message.clone(),
        );
        Failure::new(Blame::Configuration, why)
    })?;
    let to = Dialect::find(&text(matches, "to"))
        .ok_or_else(|| Failure::new(Blame::Bug, "the grammar let an unknown dialect pass"))?;
    let converted = convert(from, to, &gathered.sources);
    let errors = files::complain(&gathered, &converted.diagnostics);
    files::refuse(errors, "nothing was converted")?;
    if converted.files.is_empty() {
        let why =
            "nothing in the files is a bond or stands on one; 'oxbond lint' says what was read";
        return Err(Failure::new(Blame::Configuration, why));
    }
    if let Some(directory) = matches.get_one::<PathBuf>("output") {
        write(directory, &converted.files, matches.get_flag("force"))?;
    }
    let verdict = Verdict::of(&converted.lines);
    let written = matches.get_one::<PathBuf>("output").is_some();
    if texts(matches, "format") == ["json"] {
        say(&document(from, to, &converted, verdict))?;
    } else {
        if !written {
            say(&printed(&converted.files))?;
        }
        eprint!("{}", report(&converted, verdict, written));
    }
    Ok(verdict.exit_code())
}

fn printed(files: &[OutputFile]) -> String {
    let mut text = String::new();
    for (index, file) in files.iter().enumerate() {
        let gap = if index == 0 { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{gap}==> {} <== {:o}\n{}",
            file.path, file.mode, file.text
        );
    }
    text
}

fn report(converted: &Conversion, verdict: Verdict, written: bool) -> String {
    let mut text = String::new();
    let told = |line: &&LineReport| line.fates.iter().any(|fate| *fate != Fate::Mapped);
    for line in converted.lines.iter().filter(told) {
        let _ = writeln!(text, "{line}");
    }
    if written {
        for file in &converted.files {
            let _ = writeln!(text, "written: {}", file.path);
        }
    }
    let what = match verdict {
        Verdict::Faithful => "everything means the same as before",
        Verdict::Changed => "some of it is taken over with a change",
        Verdict::Lost => "some of it is lost",
    };
    let _ = writeln!(text, "{}: {what}", count(converted.files.len(), "file"));
    text
}

fn document(from: Dialect, to: Dialect, converted: &Conversion, verdict: Verdict) -> String {
    let files = converted.files.iter().map(
        |file| json!({ "path": file.path, "mode": format!("{:o}", file.mode), "text": file.text }),
    );
    let document = json!({
        "version": JSON_VERSION,
        "from": from.name(),
        "to": to.name(),
        "verdict": verdict.word(),
        "files": files.collect::<Vec<_>>(),
        "lines": converted.lines,
    });
    format!("{document:#}\n")
}

/// Writes all files, or none when one is there already.
fn write(root: &Path, outputs: &[OutputFile], force: bool) -> Result<(), Failure> {
    let place = |file: &OutputFile| root.join(file.path.trim_start_matches('/'));
    let there: Vec<String> = outputs
        .iter()
        .map(place)
        .filter(|path| !force && path.symlink_metadata().is_ok())
        .map(|path| path.display().to_string())
        .collect();
    if !there.is_empty() {
        let why = format!(
            "{} there already; nothing was written (--force replaces)",
            match there.as_slice() {
                [one] => format!("{one} is"),
                several => format!("{} are", several.join(", ")),
            }
        );
        return Err(Failure::new(Blame::Refused, why));
    }
    for file in outputs {
        let path = place(file);
        let directory = path.parent().unwrap_or_else(|| Path::new("."));
        let written = fs::create_dir_all(directory)
            .and_then(|()| replace(&path, file.text.as_bytes(), Mode::Exactly(file.mode)));
        written.map_err(|e| {
            let blame = match e.kind() {
                io::ErrorKind::PermissionDenied => Blame::Permission,
                _ => Blame::Kernel,
            };
            Failure::new(blame, format!("cannot write {}: {e}", path.display()))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NETPLAN: &str = "network:\n  version: 2\n  ethernets:\n    eth0: {}\n    eth1: {}\n  bonds:\n    bond0:\n      \
                           interfaces: [eth0, eth1]\n      macaddress: 02:00:00:00:00:01\n      parameters:\n        \
                           mode: active-backup\n        mii-monitor-interval: 100\n";

    fn converted(words: &[&str]) -> Result<ExitCode, Failure> {
        let words = ["convert"].iter().chain(words);
        run(&grammar().try_get_matches_from(words).unwrap())
    }

    #[test]
    fn files_are_written_where_their_tool_looks_and_never_over_others() {
        let directory = std::env::temp_dir().join(format!("oxbond-convert-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let source = directory.join("50-bond.yaml");
        fs::write(&source, NETPLAN).unwrap();
        let (from, out) = (source.to_str().unwrap(), directory.join("out"));
        let to = |dialect: &'static str, more: &[&'static str]| {
            let words = [from, "--to", dialect, "--output", out.to_str().unwrap()];
            converted(&[&words[..], more].concat())
        };

        assert_eq!(to("nm", &[]).unwrap(), ExitCode::SUCCESS);
        let profiles = out.join("etc/NetworkManager/system-connections");
        let bond = profiles.join("bond0.nmconnection");
        let text = fs::read_to_string(&bond).unwrap();
        assert!(text.contains("mode=active-backup"), "{text}");
        assert_eq!(
            fs::metadata(&bond).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::read_dir(&profiles).unwrap().count(),
            3,
            "nothing else is left there"
        );

        fs::write(&bond, "mine").unwrap();
        let refused = to("nm", &[]).unwrap_err();
        assert_eq!(refused.blame, Blame::Refused);
        assert!(refused.message.contains("bond0.nmconnection"), "{refused}");
        assert_eq!(fs::read_to_string(&bond).unwrap(), "mine");
        assert_eq!(to("nm", &["--force"]).unwrap(), ExitCode::SUCCESS);
        assert_eq!(fs::read_to_string(&bond).unwrap(), text);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn the_exit_code_tells_what_became_of_it() {
        let directory = std::env::temp_dir().join(format!("oxbond-verdict-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let source = directory.join("50-bond.yaml");
        let path = source.to_str().unwrap();
        for (text, code) in [
            (NETPLAN.to_owned(), ExitCode::SUCCESS),
            (
                NETPLAN.replace("      macaddress: 02:00:00:00:00:01\n", ""),
                ExitCode::from(CHANGED),
            ),
            (
                format!("{NETPLAN}        resend-igmp: 0\n"),
                ExitCode::from(LOST),
            ),
        ] {
            fs::write(&source, &text).unwrap();
            for format in ["text", "json"] {
                let seen = converted(&[path, "--to", "networkd", "--format", format]).unwrap();
                assert_eq!(seen, code, "{text}");
            }
        }
        fs::write(&source, "network: [").unwrap();
        let failed = converted(&[path, "--to", "nm"]).unwrap_err();
        assert_eq!(failed.blame, Blame::Configuration, "{failed}");
        fs::remove_dir_all(&directory).unwrap();
    }
}
