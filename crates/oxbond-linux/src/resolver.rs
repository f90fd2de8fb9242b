//! Name servers: tells the system's resolver those that belong to devices.
//!
//! Where systemd-resolved serves this network namespace it is told per device. Elsewhere there is `resolv.conf`, a file
//! that many write: our lines stand between two marks at its head, and all others stay as they are. So they can be told
//! apart whoever wrote since, and after a boot too.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::files::{self, Mode};

/// Name servers that glibc and musl ask; further ones in `resolv.conf` are not looked at (resolv.conf(5), `MAXNS`).
const MOST_SERVERS: usize = 3;

/// Where systemd-resolved listens.
const RESOLVED: &str = "/run/systemd/resolve/io.systemd.Resolve";

/// Before and behind our lines in `resolv.conf`.
const BEGIN: &str = "# oxbond: name servers of its devices, up to the end mark";
const END: &str = "# oxbond: end; lines of others that it sets aside begin with '# oxbond keeps: '";

/// Before a line of others that would overrule ours: of several `search` and `domain` lines the last one counts.
const KEPT: &str = "# oxbond keeps: ";

/// What a device brings along.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameService {
    /// Name servers, the first is asked first.
    pub servers: Vec<IpAddr>,
    /// Domains in which names are searched.
    pub search: Vec<String>,
}

/// Why name servers could not be set.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// It belongs to another program.
    #[error(
        "{} is a link to {}: it belongs to another program; give the name servers to that one, or replace the link by a file",
        path.display(), target.display()
    )]
    Foreign {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A file cannot be read or written; it is as it was.
    #[error("cannot {action} {}: {error}; the name servers are as they were", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// systemd-resolved refused.
    #[error("systemd-resolved does not take the name servers of {device}: {words}")]
    Resolved {
        /// The device.
        device: String,
        /// What `resolvectl` said.
        words: String,
    },
}

/// The way to the system's resolver.
#[derive(Debug)]
pub struct Resolver {
    /// `resolv.conf`.
    file: PathBuf,
    /// systemd-resolved, if it runs, speaks of the devices we speak of.
    first_namespace: bool,
    /// What systemd-resolved was told of.
    told: BTreeMap<String, NameService>,
}

impl Resolver {
    /// `file` is the system's `resolv.conf`. `first_namespace` is [`is_first`](crate::netns::is_first)'s answer.
    pub const fn new(file: PathBuf, first_namespace: bool) -> Self {
        Self {
            file,
            first_namespace,
            told: BTreeMap::new(),
        }
    }

    /// Makes what these devices bring along, and nothing else of ours, known to the resolver. Whether anything had to
    /// be written.
    ///
    /// # Errors
    /// When the resolver belongs to somebody else, or the system refuses.
    pub fn set(&mut self, wanted: &BTreeMap<String, NameService>) -> Result<bool, ResolverError> {
        match self.first_namespace && UnixStream::connect(RESOLVED).is_ok() {
            true => self.tell_resolved(wanted),
            false => self.write_file(wanted),
        }
    }

    fn tell_resolved(
        &mut self,
        wanted: &BTreeMap<String, NameService>,
    ) -> Result<bool, ResolverError> {
        let mut written = false;
        let over: Vec<String> = self
            .told
            .keys()
            .filter(|device| !wanted.contains_key(*device))
            .cloned()
            .collect();
        for device in over {
            // A device that is gone has taken its name servers along.
            drop(resolvectl(&device, "revert", &[]));
            self.told.remove(&device);
            written = true;
        }
        for (device, service) in wanted {
            if self.told.get(device) == Some(service) {
                continue;
            }
            let servers: Vec<String> = service.servers.iter().map(ToString::to_string).collect();
            resolvectl(device, "dns", &servers)?;
            resolvectl(device, "domain", &service.search)?;
            self.told.insert(device.clone(), service.clone());
            written = true;
        }
        Ok(written)
    }

    fn write_file(&self, wanted: &BTreeMap<String, NameService>) -> Result<bool, ResolverError> {
        let wanted: Vec<&NameService> = wanted
            .values()
            .filter(|service| !service.servers.is_empty() || !service.search.is_empty())
            .collect();
        let now = read_if_there(&self.file)?.unwrap_or_default();
        if wanted.is_empty() && !now.contains(BEGIN) {
            return Ok(false);
        }
        if let Ok(target) = fs::read_link(&self.file) {
            return Err(ResolverError::Foreign {
                path: self.file.clone(),
                target,
            });
        }
        let theirs = without_ours(&now);
        let text = match wanted.is_empty() {
            true => theirs,
            false => compose(&theirs, &wanted),
        };
        if text == now {
            return Ok(false);
        }
        // Every program reads it, whatever the mask of the daemon.
        files::replace(&self.file, text.as_bytes(), Mode::KeptOr(0o644))
            .map_err(file_error("write", &self.file))?;
        Ok(true)
    }
}

/// The lines of others, as they were.
fn without_ours(text: &str) -> String {
    // Without an end, who knows whose the lines are: they stay.
    let mut ended = text.lines().any(|line| line == END);
    let mut ours = false;
    let mut theirs = String::with_capacity(text.len());
    for line in text.lines() {
        match line {
            BEGIN => ours = ended,
            END if ours => (ours, ended) = (false, false),
            _ if ours => {}
            line => {
                theirs += line.strip_prefix(KEPT).unwrap_or(line);
                theirs.push('\n');
            }
        }
    }
    theirs
}

/// The text of a `resolv.conf` with these on top of the lines of others.
fn compose(theirs: &str, wanted: &[&NameService]) -> String {
    let mut search: Vec<&str> = Vec::new();
    let mut rest = String::new();
    let ours: Vec<&str> = wanted
        .iter()
        .flat_map(|service| service.search.iter().map(String::as_str))
        .collect();
    search.extend(&ours);
    for line in theirs.lines() {
        let mut words = line.split_whitespace();
        let overrules = matches!(words.next(), Some("search" | "domain"));
        if overrules && !ours.is_empty() {
            search.extend(words);
            rest += KEPT;
        }
        rest += line;
        rest.push('\n');
    }
    let servers = wanted.iter().flat_map(|service| &service.servers);
    let mut text = format!("{BEGIN}\n");
    for (number, server) in distinct(servers.collect()).iter().enumerate() {
        if number == MOST_SERVERS {
            text += "# The resolver asks no more than three:\n";
        }
        let mark = if number < MOST_SERVERS { "" } else { "# " };
        text += &format!("{mark}nameserver {server}\n");
    }
    if !ours.is_empty() {
        text += &format!("search {}\n", distinct(search).join(" "));
    }
    format!("{text}{END}\n{rest}")
}

/// The values in order, each once.
fn distinct<T: PartialEq>(values: Vec<T>) -> Vec<T> {
    let mut kept = Vec::with_capacity(values.len());
    for value in values {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    kept
}

fn resolvectl(device: &str, verb: &str, values: &[String]) -> Result<(), ResolverError> {
    let failed = |words: String| ResolverError::Resolved {
        device: device.to_owned(),
        words,
    };
    // An empty value clears the list.
    let empty = [String::new()];
    let values = match (verb, values) {
        ("dns" | "domain", []) => &empty,
        _ => values,
    };
    let output = Command::new("resolvectl")
        .args([verb, device])
        .args(values)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| failed(format!("cannot run resolvectl: {e}")))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
    }
}

fn read_if_there(path: &Path) -> Result<Option<String>, ResolverError> {
    match fs::read(path) {
        // A byte that is no text is somebody's comment; it must not keep us from the rest.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error("read", path)(error)),
    }
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ResolverError {
    let path = path.to_owned();
    move |error| ResolverError::File {
        action,
        path,
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::TempDir;

    struct System {
        dir: TempDir,
        resolver: Resolver,
    }

    impl System {
        fn with(text: &str) -> Self {
            let dir = TempDir::new();
            let file = dir.path().join("resolv.conf");
            fs::write(&file, text).unwrap();
            let resolver = Resolver::new(file, false);
            Self { dir, resolver }
        }

        fn set(&self, wanted: &[(&str, &[&str], &[&str])]) -> bool {
            let wanted = wanted.iter().map(|(device, servers, search)| {
                let service = NameService {
                    servers: servers
                        .iter()
                        .map(|server| server.parse().unwrap())
                        .collect(),
                    search: search.iter().map(ToString::to_string).collect(),
                };
                (device.to_string(), service)
            });
            self.resolver.write_file(&wanted.collect()).unwrap()
        }

        fn text(&self) -> String {
            fs::read_to_string(&self.resolver.file).unwrap()
        }
    }

    const THEIRS: &str = "# mine\nnameserver 198.51.100.1\nsearch example.org\noptions edns0\n";

    #[test]
    fn ours_comes_first_and_theirs_returns() {
        let system = System::with(THEIRS);
        let wanted: &[(&str, &[&str], &[&str])] = &[("bond0", &["192.0.2.1"], &["example.net"])];
        assert!(system.set(wanted));
        let expected = format!(
            "{BEGIN}\nnameserver 192.0.2.1\nsearch example.net example.org\n{END}\n# mine\nnameserver 198.51.100.1\n\
             {KEPT}search example.org\noptions edns0\n"
        );
        assert_eq!(system.text(), expected);
        // The same again writes nothing; all that is known is in the file.
        assert!(!system.set(wanted));
        // Without a domain of ours theirs is in force.
        assert!(system.set(&[("bond0", &["192.0.2.1"], &[])]));
        assert_eq!(
            system.text(),
            format!("{BEGIN}\nnameserver 192.0.2.1\n{END}\n{THEIRS}")
        );
        assert!(system.set(&[]));
        assert_eq!(system.text(), THEIRS);
        assert!(!system.set(&[]));
    }

    #[test]
    fn what_others_wrote_since_is_kept() {
        let system = System::with(THEIRS);
        assert!(system.set(&[("bond0", &["192.0.2.1"], &[])]));
        let added = system.text() + "nameserver 203.0.113.9\n";
        fs::write(&system.resolver.file, added).unwrap();
        assert!(system.set(&[]));
        assert_eq!(system.text(), format!("{THEIRS}nameserver 203.0.113.9\n"));
        // All anew, by a DHCP client for instance.
        assert!(system.set(&[("bond0", &["192.0.2.1"], &[])]));
        fs::write(&system.resolver.file, "nameserver 203.0.113.9\n").unwrap();
        assert!(!system.set(&[]));
        assert!(system.set(&[("bond0", &["192.0.2.1"], &[])]));
        // Somebody took the end mark away: nothing of theirs is lost.
        let torn = system.text().replace(&format!("{END}\n"), "");
        fs::write(&system.resolver.file, torn).unwrap();
        assert!(system.set(&[]));
        assert_eq!(
            system.text(),
            "nameserver 192.0.2.1\nnameserver 203.0.113.9\n"
        );
    }

    #[test]
    fn those_the_resolver_would_not_ask_are_seen() {
        let system = System::with("");
        assert!(system.set(&[
            ("bond0", &["192.0.2.1", "192.0.2.2"], &[]),
            ("bond1", &["2001:db8::1", "2001:db8::2"], &[]),
        ]));
        let expected = format!(
            "{BEGIN}\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 2001:db8::1\n\
             # The resolver asks no more than three:\n# nameserver 2001:db8::2\n{END}\n"
        );
        assert_eq!(system.text(), expected);
    }

    #[test]
    fn a_file_of_another_program_is_left_alone() {
        let system = System::with(THEIRS);
        let link = system.dir.path().join("link");
        std::os::unix::fs::symlink(&system.resolver.file, &link).unwrap();
        let resolver = Resolver::new(link, false);
        let wanted = [(
            "bond0".to_owned(),
            NameService {
                servers: vec!["192.0.2.1".parse().unwrap()],
                search: Vec::new(),
            },
        )];
        let error = resolver.write_file(&wanted.into()).unwrap_err().to_string();
        assert!(error.contains("belongs to another program"), "{error}");
        assert_eq!(system.text(), THEIRS);
    }

    #[test]
    fn without_room_nothing_changes() {
        let dir = TempDir::new();
        // A directory where the draft should be: writing cannot succeed.
        let file = dir.path().join("resolv.conf");
        fs::write(&file, THEIRS).unwrap();
        fs::create_dir(dir.path().join(".resolv.conf.new")).unwrap();
        let resolver = Resolver::new(file.clone(), false);
        let service = NameService {
            servers: vec!["192.0.2.1".parse().unwrap()],
            search: Vec::new(),
        };
        let wanted = [("bond0".to_owned(), service)].into();
        let error = resolver.write_file(&wanted).unwrap_err().to_string();
        assert!(error.contains("as they were"), "{error}");
        assert_eq!(fs::read_to_string(file).unwrap(), THEIRS);
    }
}
