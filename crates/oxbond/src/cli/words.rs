//! The words of other tools that apply a configuration: `ifreload -a`, `netplan apply`, `netplan try`. Each becomes words
//! of our own over the files where that tool has them.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

/// Where netplan reads, in the order of its shadowing.
const NETPLAN: [&str; 3] = ["lib/netplan", "etc/netplan", "run/netplan"];

/// Where ifupdown2 reads; with it goes the directory that the file names on every distribution.
const INTERFACES: &str = "/etc/network/interfaces";

pub(super) fn grammar() -> [Command; 2] {
    let root = || {
        Arg::new("root-dir")
            .long("root-dir")
            .value_name("DIR")
            .default_value("/")
            .value_parser(value_parser!(PathBuf))
            .help("Read below this directory")
    };
    let ifreload = Command::new("ifreload")
        .about("ifupdown2's word for 'oxbond apply /etc/network/interfaces'")
        .arg(
            Arg::new("all")
                .short('a')
                .long("all")
                .required(true)
                .action(ArgAction::SetTrue)
                .help("All interfaces; single ones are not for oxbond"),
        )
        .arg(
            Arg::new("interfaces")
                .short('i')
                .long("interfaces")
                .value_name("FILE")
                .default_value(INTERFACES)
                .help("Read this file"),
        )
        .arg(
            Arg::new("no-act")
                .short('n')
                .long("no-act")
                .action(ArgAction::SetTrue)
                .help("Only say what would be done: 'oxbond plan'"),
        );
    let netplan = Command::new("netplan")
        .about("netplan's words for 'oxbond apply' and 'oxbond try' of /etc/netplan")
        .subcommand_required(true)
        .subcommand(
            Command::new("apply")
                .about("Make the network be what the files say")
                .arg(root()),
        )
        .subcommand(
            Command::new("try")
                .about("The same, and back unless 'oxbond confirm' comes in time")
                .arg(root())
                .arg(
                    Arg::new("timeout")
                        .long("timeout")
                        .value_name("SECONDS")
                        .default_value("120")
                        .help("Time until everything goes back"),
                ),
        );
    [ifreload, netplan]
}

/// Our own words for those that were given to a command of [`grammar`]; `None` for other commands.
pub(super) fn translated(matches: &ArgMatches) -> Option<Vec<String>> {
    let own = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    match matches.subcommand()? {
        ("ifreload", given) => {
            let verb = if given.get_flag("no-act") {
                "plan"
            } else {
                "apply"
            };
            let file = given.get_one::<String>("interfaces")?;
            let mut words = own(&[verb, "--from", "ifupdown2", file]);
            let sourced = format!("{file}.d");
            if Path::new(&sourced).is_dir() {
                words.push(sourced);
            }
            Some(words)
        }
        ("netplan", given) => {
            let (verb, given) = given.subcommand()?;
            let mut words = own(&[verb, "--from", "netplan"]);
            if verb == "try" {
                words.extend(own(&["--timeout", given.get_one::<String>("timeout")?]));
            }
            let root = given.get_one::<PathBuf>("root-dir")?;
            words.extend(netplan_dirs(root));
            Some(words)
        }
        _ => None,
    }
}

/// Those of netplan's directories that are there; if none is, the one where files are put.
fn netplan_dirs(root: &Path) -> Vec<String> {
    let all = NETPLAN.map(|dir| root.join(dir));
    let text = |dir: &PathBuf| dir.to_string_lossy().into_owned();
    let mut there: Vec<String> = all.iter().filter(|dir| dir.is_dir()).map(text).collect();
    if there.is_empty() {
        there.push(text(&all[1]));
    }
    there
}
