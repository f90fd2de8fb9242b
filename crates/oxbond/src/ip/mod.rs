//! `oxbond ip`: the grammar of iproute2, so that a script written for the kernel's driver runs with `ip` replaced.
//!
//! | words | done by |
//! |---|---|
//! | `link add ... type bond` | the daemon |
//! | `link set`, `change`, `delete` of a bond or port of ours | the daemon; words about any interface, the system's `ip` |
//! | `link show` while there are bonds of our own engine | the system's `ip`, mended by [`show`] |
//! | everything else | the system's `ip` with the same words, which replaces this process |
//!
//! Wrong words are complained of as `ip` does, with its exit codes; a refusal is told in the driver's words with a line
//! of our own that explains it.

mod change;
mod describe;
mod json;
mod options;
mod show;
mod world;

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use oxbond_config::ip::options::Scope;
use oxbond_config::ip::words::{self, Change, Filter, Globals, Oddity, Verb};
use oxbond_linux::netns::NetNs;

use crate::exit::{Blame, Failure};
use world::World;

/// Where `ip netns add` keeps namespaces.
const NETNS_DIR: &str = "/run/netns";

/// Exit code of `ip` when the kernel refuses.
const REFUSED: u8 = 2;

/// How a command ended.
enum Verdict {
    /// With this exit code.
    Done(u8),
    /// It has nothing to do with us.
    Pass,
}

/// Why a command ended ill.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Complaint {
    /// For standard error; empty when everything is said.
    text: String,
    /// Exit code.
    code: u8,
}

impl From<Oddity> for Complaint {
    fn from(oddity: Oddity) -> Self {
        match oddity {
            Oddity::Incomplete => Self::incomplete(),
            Oddity::Garbage(word) => Self::new(
                255,
                format!("Error: either \"dev\" is duplicate, or \"{word}\" is a garbage."),
            ),
            Oddity::Foreign => Self::new(255, "Error: not possible together with type bond."),
        }
    }
}

impl Complaint {
    fn new(code: u8, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            code,
        }
    }

    /// A value is missing.
    fn incomplete() -> Self {
        Self::new(255, "Command line is not complete. Try option \"help\"")
    }

    /// No device of this name.
    fn no_device(name: &str) -> Self {
        Self::new(1, format!("Cannot find device \"{name}\""))
    }

    /// The kernel's answer, and what we have to say of it.
    fn errno(errno: i32, explained: &str) -> Self {
        let mut text = format!("RTNETLINK answers: {}", strerror(errno));
        if !explained.is_empty() {
            text += &format!("\noxbond: {explained}");
        }
        Self::new(REFUSED, text)
    }

    /// Something of ours went wrong.
    fn ours(why: impl std::fmt::Display) -> Self {
        Self::new(1, format!("oxbond: {why}"))
    }

    /// The system's `ip` has said it.
    const fn said(code: u8) -> Self {
        Self {
            text: String::new(),
            code,
        }
    }
}

impl From<Failure> for Complaint {
    fn from(failure: Failure) -> Self {
        let errno = match failure.blame {
            Blame::Daemon | Blame::Bug => {
                return Self::new(REFUSED, format!("oxbond: {failure}"));
            }
            Blame::Refused | Blame::Permission => libc::EPERM,
            Blame::Configuration | Blame::Kernel | Blame::Unready => libc::EOPNOTSUPP,
        };
        match &failure.driver {
            Some(driver) if driver.text != strerror(driver.errno) => Self::new(
                REFUSED,
                format!("Error: {}.\noxbond: {failure}", driver.text),
            ),
            Some(driver) => Self::errno(driver.errno, &failure.message),
            None => Self::errno(errno, &failure.message),
        }
    }
}

/// The C library's words for an error number.
fn strerror(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let words = text.split_once(" (os error").map(|(words, _)| words);
    words.unwrap_or(&text).to_owned()
}

/// Does what the words say; never returns where the system's `ip` does it.
pub(crate) fn run(run_root: &Path, words: &[String]) -> ExitCode {
    let verdict = match Globals::split(words) {
        Some((
            Globals {
                batch: Some(file),
                force,
                ..
            },
            _,
        )) => {
            // Everything before `-batch FILE` and behind it goes for each line.
            let options = without_batch(words);
            batch(run_root, &options, &file, force).map(Verdict::Done)
        }
        Some((globals, rest)) => command(run_root, &globals, rest),
        None => Ok(Verdict::Pass),
    };
    match verdict {
        Ok(Verdict::Done(code)) => ExitCode::from(code),
        Ok(Verdict::Pass) => {
            let e = Command::new("ip").args(words).exec();
            eprintln!("oxbond: cannot run the system's 'ip': {e}; install iproute2");
            ExitCode::from(REFUSED)
        }
        Err(complaint) => {
            complain(&complaint);
            ExitCode::from(complaint.code)
        }
    }
}

fn complain(complaint: &Complaint) {
    if !complaint.text.is_empty() {
        eprintln!("{}", complaint.text);
    }
}

/// One command, in the namespace it names.
fn command(run_root: &Path, globals: &Globals, words: &[String]) -> Result<Verdict, Complaint> {
    let Some((object, words)) = words.split_first() else {
        return Ok(Verdict::Pass);
    };
    let Some(verb) = words::verb(words.first().map(String::as_str)) else {
        return Ok(Verdict::Pass);
    };
    if !words::is_link(object) {
        return Ok(Verdict::Pass);
    }
    let words = words.get(1..).unwrap_or_default();
    let Some(name) = &globals.netns else {
        return link(run_root, globals, verb, words);
    };
    // Its absence is for the system's `ip` to tell.
    let Ok(namespace) = NetNs::open(&Path::new(NETNS_DIR).join(name)) else {
        return Ok(Verdict::Pass);
    };
    namespace
        .enter(|| link(run_root, globals, verb, words))
        .map_err(Complaint::ours)?
}

/// `ip link`.
fn link(
    run_root: &Path,
    globals: &Globals,
    verb: Verb,
    words: &[String],
) -> Result<Verdict, Complaint> {
    if verb == Verb::Show {
        let Some(filter) = Filter::parse(words) else {
            return Ok(Verdict::Pass);
        };
        return show::show(globals, &filter, &World::look(run_root));
    }
    let makes_bond = matches!(verb, Verb::Add | Verb::Replace) && names_kind_bond(words);
    let parsed = match Change::parse(words) {
        Ok(parsed) => parsed,
        // Passed on, a word that is new to us and not to the system's `ip` would make a bond of the driver.
        Err(oddity) if makes_bond => return Err(oddity.into()),
        Err(_) => return Ok(Verdict::Pass),
    };
    match verb {
        Verb::Add | Verb::Replace if parsed.kind.as_deref() == Some("bond") => {
            change::add(globals, verb, parsed, &mut World::look(run_root))
        }
        Verb::Set => change::set(run_root, globals, parsed),
        Verb::Delete => change::delete(&parsed, &mut World::look(run_root)),
        Verb::Add | Verb::Replace | Verb::Show => Ok(Verdict::Pass),
    }
}

fn names_kind_bond(words: &[String]) -> bool {
    let mut pairs = words.windows(2);
    pairs.any(|pair| {
        words::is_short_for(&pair[0], "type") && Scope::of(&pair[1]) == Some(Scope::Bond)
    })
}

/// The options without `-batch FILE`.
fn without_batch(words: &[String]) -> Vec<String> {
    let mut options = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let name = word.trim_start_matches('-');
        if word.starts_with('-') && words::is_short_for(name, "batch") {
            words.next();
        } else {
            options.push(word.clone());
        }
    }
    options
}

/// Runs the lines of a file (`-` for standard input) until one fails, or all of them with `-force`.
fn batch(run_root: &Path, options: &[String], file: &str, force: bool) -> Result<u8, Complaint> {
    let read = match file {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        file => std::fs::read_to_string(file),
    };
    let text = read.map_err(|e| {
        let why = strerror(e.raw_os_error().unwrap_or(libc::EIO));
        Complaint::new(1, format!("Cannot open file \"{file}\" for reading: {why}"))
    })?;
    let mut failed = false;
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let line = split_line(line);
        if line.is_empty() {
            continue;
        }
        let words = [options, &line].concat();
        let verdict = match Globals::split(&words) {
            Some((globals, rest)) => command(run_root, &globals, rest),
            None => Ok(Verdict::Pass),
        };
        let code = match verdict {
            Ok(Verdict::Done(code)) => code,
            Ok(Verdict::Pass) => status_of(&words)?,
            Err(complaint) => {
                complain(&complaint);
                complaint.code
            }
        };
        if code != 0 {
            eprintln!("Command failed {file}:{}", at + 1);
            failed = true;
            if !force {
                break;
            }
        }
    }
    Ok(u8::from(failed))
}

/// Words of a line; quotes hold together what has blanks.
fn split_line(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '"' | '\'' => {
                let inner = &rest[1..];
                inner.split_once(first).unwrap_or((inner, ""))
            }
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                rest.split_at(end)
            }
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

fn no_ip(e: &std::io::Error) -> Complaint {
    Complaint::ours(format!(
        "cannot run the system's 'ip': {e}; install iproute2"
    ))
}

/// Runs the system's `ip`; what it printed. What it complains of goes straight out.
fn system(words: &[String]) -> Result<String, Complaint> {
    let run = Command::new("ip")
        .args(words)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let output = run.map_err(|e| no_ip(&e))?;
    match code_of(output.status) {
        0 => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        code => Err(Complaint::said(code)),
    }
}

/// Runs the system's `ip` with our input and output; its exit code.
fn status_of(words: &[String]) -> Result<u8, Complaint> {
    let status = Command::new("ip").args(words).status();
    status.map(code_of).map_err(|e| no_ip(&e))
}

fn code_of(status: std::process::ExitStatus) -> u8 {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.unwrap_or(1)
}

/// Prints; a reader that went away is no error.
fn print(text: &str) -> Result<(), Complaint> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Complaint::ours(format!("cannot print: {e}")))
        }
        _ => Ok(()),
    }
}
