//! The command line: its grammar, built from the option table, and what each command does.

mod adopt;
mod apply;
mod convert;
mod explain;
mod files;
mod lint;
mod look;
mod nmcli;
mod plan;
mod save;
mod status;
mod trial;
mod wait;
mod words;

pub(crate) use files::read_files;

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use oxbond_core::engine::EngineChoice;
use oxbond_core::lacp::Drain;
use oxbond_core::option::{Kind, ModeSet, OPTIONS, OptionKey, OptionSpec};

use crate::control::client::Client;
use crate::control::protocol::{BondRequest, PortRequest, Reply, Request};
use crate::exit::{Blame, EXIT_CODES, Failure};
use crate::paths::RunPaths;
use crate::render;

/// Where run-time files live unless told otherwise.
const RUN_ROOT: &str = "/run/oxbond";

/// The whole grammar. Also the source of the manual pages.
pub(crate) fn grammar() -> Command {
    Command::new("oxbond")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Joins network interfaces into one: a cable dies and nobody notices, two links carry more than one")
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            Arg::new("run-dir")
                .long("run-dir")
                .value_name("DIR")
                .global(true)
                .env("OXBOND_RUN_DIR")
                .default_value(RUN_ROOT)
                .value_parser(value_parser!(PathBuf))
                .help("Directory of run-time files, the control socket among them"),
        )
        .subcommand(
            Command::new("daemon")
                .about("Serve the bonds of this network namespace, in the foreground")
                .long_about(
                    "Serve the bonds of this network namespace, in the foreground.\n\nThe bonds outlive the daemon: killed, \
                     stopped or replaced by a newer one, forwarding and failover go on, and the next daemon takes over what it \
                     finds. 'oxbond down' removes a bond.",
                )
                .arg(
                    Arg::new("apply")
                        .long("apply")
                        .value_name("PATH")
                        .action(ArgAction::Append)
                        .value_parser(value_parser!(PathBuf))
                        .help("Apply this configuration file or directory at the start; a missing directory is no error"),
                )
                .arg(
                    Arg::new("resolv-conf")
                        .long("resolv-conf")
                        .value_name("FILE")
                        .env("OXBOND_RESOLV_CONF")
                        .default_value("/etc/resolv.conf")
                        .value_parser(value_parser!(PathBuf))
                        .help("Where name servers of devices are written, unless systemd-resolved serves this namespace"),
                )
                .arg(
                    engine_arg(
                        "What carries bonds that ask for no engine: auto is the kernel's bonding driver where it is there and can \
                         do all that is asked, else our own; ebpf is our own; kernel the driver",
                    )
                    .env("OXBOND_ENGINE"),
                ),
        )
        .subcommand(
            with_options(
                Command::new("up")
                    .about("Create a bond")
                    .arg(bond_arg())
                    .arg(
                        Arg::new("port")
                            .long("port")
                            .visible_aliases(["slave", "member"])
                            .value_name("INTERFACE")
                            .action(ArgAction::Append)
                            .help("An interface to join; repeat for each, the order decides ties"),
                    )
                    .arg(engine_arg(
                        "What carries it: auto is what the daemon was started with, by default the kernel's bonding driver where it \
                         is there and can do all that is asked, else our own engine; ebpf is our own, kernel the driver",
                    ))
                    .arg(
                        Arg::new("address")
                            .long("address")
                            .value_name("ADDRESS/LENGTH")
                            .action(ArgAction::Append)
                            .help("An address of the bond, such as 192.168.1.100/24; repeat for more"),
                    )
                    .arg(
                        Arg::new("gateway")
                            .long("gateway")
                            .value_name("ADDRESS")
                            .action(ArgAction::Append)
                            .value_parser(value_parser!(IpAddr))
                            .help("Default gateway; at most one for IPv4 and one for IPv6"),
                    )
                    .arg(
                        Arg::new("mtu")
                            .long("mtu")
                            .value_name("BYTES")
                            .value_parser(value_parser!(u32))
                            .help("MTU of the bond and its ports [default: that of the first port]"),
                    )
                    .arg(
                        Arg::new("mac")
                            .long("mac")
                            .value_name("ADDRESS")
                            .help("Link-layer address of the bond [default: that of the first port]"),
                    ),
                Scope::Bond,
            )
            .after_help("Without --miimon and --arp-interval the links are monitored every 100 ms (miimon 100)."),
        )
        .subcommand(Command::new("down").about("Remove a bond and give its ports back as they were").arg(bond_arg()))
        .subcommand(with_options(
            Command::new("add-port")
                .visible_aliases(["add-slave", "add-member"])
                .about("Join an interface to a bond; the other ports are not disturbed")
                .arg(bond_arg())
                .arg(port_arg()),
            Scope::Port,
        ))
        .subcommand(
            Command::new("remove-port")
                .visible_aliases(["remove-slave", "remove-member"])
                .about("Take an interface out of a bond and give it back as it was")
                .arg(bond_arg())
                .arg(port_arg()),
        )
        .subcommand(
            Command::new("drain")
                .about("Take a port out of the traffic without loss, and wait until nothing is on it any more")
                .long_about(
                    "Take a port out of the traffic without loss, and wait until nothing is on it any more.\n\nThe port stays in \
                     the bond. In mode 802.3ad the partner is told to stop sending and asked by a marker whether all has arrived; \
                     in the other modes nothing new is sent on the port, and what arrives is delivered as before. Then the cable \
                     can be pulled or the port taken out with 'oxbond remove-port'; 'oxbond undrain' brings it back. A new daemon \
                     keeps it drained. The last port that works is refused.",
                )
                .arg(bond_arg())
                .arg(port_arg()),
        )
        .subcommand(
            Command::new("undrain")
                .about("Let a drained port take part again")
                .arg(bond_arg())
                .arg(port_arg()),
        )
        .subcommand(with_options(
            Command::new("set").about("Change options of a bond: all that are given, or none").arg(bond_arg()),
            Scope::Bond,
        ))
        .subcommand(with_options(
            Command::new("set-port")
                .visible_aliases(["set-slave", "set-member"])
                .about("Change options of a port: all that are given, or none")
                .arg(bond_arg())
                .arg(port_arg()),
            Scope::Port,
        ))
        .subcommand(status::grammar())
        .subcommand(adopt::grammar())
        .subcommand(save::grammar())
        .subcommands(words::grammar())
        .subcommand(nmcli::grammar())
        .subcommand(wait::grammar())
        .subcommand(explain::grammar())
        .subcommand(lint::grammar())
        .subcommand(convert::grammar())
        .subcommand(
            Command::new("events")
                .about("Show what happens, as it happens, each event with its cause")
                .long_about(
                    "Show what happens, as it happens, each event with its cause.\n\n'listening' on standard error says that nothing \
                     is missed from then on; with --json that is the first line, which has the state that the events change.",
                )
                .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("One JSON document per line")),
        )
        .subcommand(plan::grammar())
        .subcommand(apply::grammar())
        .subcommands(trial::grammar())
        .subcommand(
            Command::new("ip")
                .about("Understand the words of iproute2's 'ip': a script for the driver's bonds runs with ip replaced")
                .long_about(
                    "Understand the words of iproute2's 'ip': a script for the driver's bonds runs with ip replaced.\n\n'link add \
                     NAME type bond', 'link set' with 'master', 'nomaster', 'type bond' and 'type bond_slave', 'link delete' \
                     and 'link show' work on bonds of this daemon, with ip's words, abbreviations, output (-d, -j, -p, -s, -o, \
                     -br), complaints and exit codes; -n NETNS talks to the daemon of that namespace. Everything else is done \
                     by the system's 'ip' with the same words.",
                )
                .disable_help_flag(true)
                .arg(
                    Arg::new("words")
                        .value_name("WORD")
                        .num_args(0..)
                        .trailing_var_arg(true)
                        .allow_hyphen_values(true)
                        .help("What would stand behind 'ip'"),
                ),
        )
        .subcommand(
            Command::new("manual")
                .hide(true)
                .about("Write the manual pages into a directory")
                .arg(Arg::new("dir").required(true).value_name("DIR").value_parser(value_parser!(PathBuf))),
        )
}

fn bond_arg() -> Arg {
    Arg::new("bond")
        .required(true)
        .value_name("BOND")
        .help("Name of the bond")
}

/// `--engine`, with what it means for the command.
fn engine_arg(help: &'static str) -> Arg {
    // Each of the words is an engine.
    let choice = PossibleValuesParser::new(EngineChoice::WORDS)
        .map(|word| word.parse::<EngineChoice>().unwrap_or_default());
    Arg::new("engine")
        .long("engine")
        .value_name("ENGINE")
        .default_value(EngineChoice::Auto.word())
        .value_parser(choice)
        .help(help)
}

fn engine_choice(matches: &ArgMatches) -> EngineChoice {
    let choice = matches.get_one::<EngineChoice>("engine");
    choice.copied().unwrap_or_default()
}

fn port_arg() -> Arg {
    Arg::new("member")
        .required(true)
        .value_name("PORT")
        .help("Name of the interface")
}

/// Which of the table's options a command takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Bond,
    Port,
}

/// The options of the table with this scope.
fn options_of(scope: Scope) -> impl Iterator<Item = &'static OptionSpec> {
    OPTIONS
        .iter()
        .filter(move |spec| matches!(spec.key, OptionKey::Bond(_)) == (scope == Scope::Bond))
}

/// One `--option VALUE` for each of them.
fn with_options(command: Command, scope: Scope) -> Command {
    options_of(scope).fold(command, |command, spec| command.arg(option_arg(spec)))
}

fn option_arg(spec: &'static OptionSpec) -> Arg {
    let dashed = |name: &str| name.replace('_', "-");
    let long = dashed(spec.name);
    let mut known = vec![long.clone()];
    // Each name with dashes, as the rest of the command line, and as it is written elsewhere.
    let mut unknown = |name: &String| {
        let new = !known.contains(name);
        if new {
            known.push(name.clone());
        }
        new
    };
    let dashed_names: Vec<String> = spec.names().map(dashed).filter(&mut unknown).collect();
    let names: Vec<String> = spec
        .names()
        .map(str::to_owned)
        .filter(&mut unknown)
        .collect();
    let allowed = spec.allowed();
    let help = match spec.default_of(true) {
        "" => format!("{} [{allowed}]", spec.help),
        default => format!("{} [{allowed}; default {default}]", spec.help),
    };
    Arg::new(spec.name)
        .long(long)
        .visible_aliases(dashed_names)
        .aliases(names)
        .value_name(value_name(spec))
        .allow_negative_numbers(true)
        .help_heading("Options of bonding")
        .long_help(long_help(spec, &help))
        .help(help)
}

/// What there is to know besides: where the option acts, and what it depends on.
fn long_help(spec: &OptionSpec, help: &str) -> String {
    let modes = spec.acting_in(true);
    let acts = match modes == ModeSet::ALL {
        true => String::new(),
        false => format!("acts in {}", modes.words()),
    };
    let more: Vec<&str> = [acts.as_str(), spec.depends]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    match more.is_empty() {
        true => help.to_owned(),
        false => format!("{help}\n{}", more.join("; ")),
    }
}

/// A word for the value in the help text.
fn value_name(spec: &OptionSpec) -> &'static str {
    match (spec.kind, spec.unit.symbol()) {
        (Kind::Words(_), _) => "WORD",
        (Kind::Number { .. }, "ms") => "MS",
        (Kind::Number { .. }, "s") => "S",
        (Kind::Number { .. }, _) => "N",
        (Kind::NumberOrWord { .. }, _) => "N|WORD",
        (Kind::Flag, _) => "0|1",
        (Kind::PortName, _) => "PORT",
        (Kind::Ipv4List(_) | Kind::Ipv6List(_), _) => "ADDRESS,...",
        (Kind::Mac, _) => "MAC",
    }
}

/// Option names and values that were given.
fn given_options(matches: &ArgMatches, scope: Scope) -> Vec<(String, String)> {
    options_of(scope)
        .filter_map(|spec| {
            Some((
                spec.name.to_owned(),
                matches.get_one::<String>(spec.name)?.clone(),
            ))
        })
        .collect()
}

fn text(matches: &ArgMatches, name: &str) -> String {
    matches.get_one::<String>(name).cloned().unwrap_or_default()
}

fn texts(matches: &ArgMatches, name: &str) -> Vec<String> {
    matches
        .get_many::<String>(name)
        .unwrap_or_default()
        .cloned()
        .collect()
}

fn port_request(matches: &ArgMatches) -> PortRequest {
    PortRequest {
        found: false,
        name: text(matches, "member"),
        options: given_options(matches, Scope::Port),
    }
}

/// Runs the command that the words name. `ip`, `lint` and `convert` have exit codes for what is no failure.
pub(crate) fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let run_root = matches
        .get_one::<PathBuf>("run-dir")
        .cloned()
        .unwrap_or_else(|| RUN_ROOT.into());
    if let Some(words) = words::translated(matches) {
        let program = ["oxbond".to_owned(), "--run-dir".to_owned()];
        let root = run_root.to_string_lossy().into_owned();
        let words = program.into_iter().chain([root]).chain(words);
        return run(&grammar().get_matches_from(words));
    }
    match matches.subcommand() {
        Some(("ip", m)) => Ok(crate::ip::run(&run_root, &texts(m, "words"))),
        Some(("lint", m)) => lint::run(m),
        Some(("convert", m)) => convert::run(m),
        Some(("plan", m)) => plan::run(&run_root, m),
        Some(("nmcli", m)) => nmcli::run(&run_root, m),
        _ => run_own(matches, &run_root).map(|()| ExitCode::SUCCESS),
    }
}

fn run_own(matches: &ArgMatches, run_root: &Path) -> Result<(), Failure> {
    let connect = || RunPaths::here(run_root).and_then(|paths| Client::connect(&paths.socket()));
    match matches.subcommand() {
        Some(("daemon", m)) => {
            let apply = m
                .get_many::<PathBuf>("apply")
                .unwrap_or_default()
                .cloned()
                .collect::<Vec<_>>();
            let resolv_conf = m.get_one::<PathBuf>("resolv-conf").cloned();
            crate::daemon::run(
                run_root,
                &apply,
                resolv_conf.unwrap_or_default(),
                engine_choice(m),
            )
        }
        Some(("up", m)) => {
            let mut request = BondRequest {
                name: text(m, "bond"),
                engine: engine_choice(m),
                options: given_options(m, Scope::Bond),
                ports: texts(m, "port")
                    .into_iter()
                    .map(|name| PortRequest {
                        found: false,
                        name,
                        options: Vec::new(),
                    })
                    .collect(),
                selectors: Vec::new(),
                expected: 0,
                mtu: m.get_one::<u32>("mtu").copied(),
                mac: m.get_one::<String>("mac").cloned(),
                addresses: texts(m, "address"),
                gateways: m
                    .get_many::<IpAddr>("gateway")
                    .unwrap_or_default()
                    .copied()
                    .collect(),
                from_file: false,
                down: false,
            };
            default_monitor(&mut request);
            done(connect()?.call(Request::Up(request))?)
        }
        Some(("down", m)) => done(connect()?.call(Request::Down {
            bond: text(m, "bond"),
        })?),
        Some(("add-port", m)) => done(connect()?.call(Request::AddPort {
            bond: text(m, "bond"),
            port: port_request(m),
        })?),
        Some(("remove-port", m)) => done(connect()?.call(Request::RemovePort {
            bond: text(m, "bond"),
            port: text(m, "member"),
        })?),
        Some(("drain", m)) => drain(&mut connect()?, &text(m, "bond"), &text(m, "member")),
        Some(("undrain", m)) => done(connect()?.call(Request::Drain {
            bond: text(m, "bond"),
            port: text(m, "member"),
            out: false,
        })?),
        Some(("set", m)) => {
            let options = given_options(m, Scope::Bond);
            nothing_given(&options, "set")?;
            done(connect()?.call(Request::Set {
                bond: text(m, "bond"),
                options,
            })?)
        }
        Some(("set-port", m)) => {
            let port = port_request(m);
            nothing_given(&port.options, "set-port")?;
            done(connect()?.call(Request::SetPort {
                bond: text(m, "bond"),
                port,
            })?)
        }
        Some(("status", m)) => status::run(run_root, m),
        Some(("adopt", m)) => adopt::run(run_root, m),
        Some(("save", m)) => save::run(run_root, m),
        Some(("wait", m)) => wait::run(run_root, m),
        Some(("explain", m)) => explain::run(run_root, m),
        Some(("events", m)) => events(&mut connect()?, m.get_flag("json")),
        Some(("apply", m)) => apply::run(run_root, m),
        Some(("try", m)) => trial::run(run_root, m),
        Some(("confirm", _)) => trial::confirm(&mut connect()?),
        Some(("rollback", _)) => trial::rollback(&mut connect()?),
        Some(("manual", m)) => manual(
            m.get_one::<PathBuf>("dir")
                .map_or_else(|| Path::new("."), PathBuf::as_path),
        ),
        _ => Err(Failure::new(
            Blame::Bug,
            "a command of the grammar has no code behind it",
        )),
    }
}

/// A bond without a monitor never fails over, so ours has one unless the user says otherwise.
fn default_monitor(request: &mut BondRequest) {
    if !request
        .options
        .iter()
        .any(|(name, _)| name == "miimon" || name == "arp_interval")
    {
        request.options.push((
            "miimon".into(),
            oxbond_config::DEFAULT_MIIMON_MS.to_string(),
        ));
    }
}

fn nothing_given(options: &[(String, String)], command: &str) -> Result<(), Failure> {
    if options.is_empty() {
        let why = format!("no option given; 'oxbond {command} --help' lists them");
        return Err(Failure::new(Blame::Configuration, why));
    }
    Ok(())
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn done(reply: Reply) -> Result<(), Failure> {
    match reply {
        Reply::Done { changes } if changes.is_empty() => say("nothing to change\n"),
        Reply::Done { changes } => say(&(changes.join("\n") + "\n")),
        other => Err(unexpected(&other)),
    }
}

/// Longest wait for a port to be drained: LACP gives it 2 s, the other modes 1 s.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// Drains a port and waits until it is out.
fn drain(client: &mut Client, bond: &str, port: &str) -> Result<(), Failure> {
    let begun = std::time::Instant::now();
    let asked = client.call(Request::Drain {
        bond: bond.to_owned(),
        port: port.to_owned(),
        out: true,
    })?;
    if !matches!(asked, Reply::Done { .. }) {
        return Err(unexpected(&asked));
    }
    loop {
        let bond = Some(bond.to_owned());
        let reply = client.call(Request::Status { bond })?;
        let Reply::Bonds { bonds, .. } = &reply else {
            return Err(unexpected(&reply));
        };
        let mut ports = bonds.iter().flat_map(|bond| &bond.status.ports);
        match ports
            .find(|known| known.name == port)
            .map(|port| port.drain)
        {
            Some(Drain::Out) => {
                return say(&format!(
                    "{port} is drained: nothing is on it any more, it can be detached\n"
                ));
            }
            Some(Drain::Leaving { .. }) if begun.elapsed() < DRAIN_PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => {
                let why = format!("{port} was not drained: it left the bond, or was called back");
                return Err(Failure::new(Blame::Refused, why));
            }
        }
    }
}

fn unexpected(reply: &Reply) -> Failure {
    Failure::new(
        Blame::Bug,
        format!("the daemon gave an answer of the wrong kind: {reply:?}"),
    )
}

fn events(client: &mut Client, json: bool) -> Result<(), Failure> {
    client.send(Request::Events)?;
    while let Some(reply) = client.next()? {
        match reply {
            // What is printed comes from now on: who waits for it, or starts something to see it, knows when.
            Reply::Bonds { bonds, .. } if !json => match bonds.len() {
                1 => eprintln!("listening: 1 bond"),
                n => eprintln!("listening: {n} bonds"),
            },
            Reply::Failed(failure) => return Err(failure),
            Reply::Event(event) if !json => {
                say(&format!(
                    "{} {}: {}\n",
                    render::clock(event.unix_nanos),
                    event.bond,
                    event.text
                ))?;
            }
            reply => {
                let line = serde_json::to_string(&reply).map_err(|e| {
                    Failure::new(Blame::Bug, format!("cannot write an event as JSON: {e}"))
                })?;
                say(&(line + "\n"))?;
            }
        }
    }
    Err(Failure::new(
        Blame::Daemon,
        "the daemon ended, or this listener fell too far behind",
    ))
}

/// Columns of the terminal that is printed to.
fn width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout())
        .map_or(render::DEFAULT_WIDTH, |size| usize::from(size.ws_col))
        .max(1)
}

/// Prints; a reader that went away (`oxbond status | head`) is no error.
fn say(text: &str) -> Result<(), Failure> {
    match std::io::stdout()
        .write_all(text.as_bytes())
        .and_then(|()| std::io::stdout().flush())
    {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Blame::Kernel, format!("cannot print: {e}")))
        }
        Err(_) => std::process::exit(0),
        Ok(()) => Ok(()),
    }
}

/// One page for the program and one for each command, in section 8: administration.
fn manual(dir: &Path) -> Result<(), Failure> {
    let mut program = grammar().disable_help_subcommand(true);
    program.build();
    let commands = program
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    for command in std::iter::once(&program).chain(commands) {
        let name = match command.get_name() {
            "oxbond" => "oxbond".to_owned(),
            name => format!("oxbond-{name}"),
        };
        let page = dir.join(format!("{name}.8"));
        let mut text = Vec::new();
        clap_mangen::Man::new(command.clone().name(name))
            .section("8")
            .render(&mut text)
            .and_then(|()| std::fs::write(&page, text))
            .map_err(|e| {
                Failure::new(
                    Blame::Kernel,
                    format!("cannot write {}: {e}", page.display()),
                )
            })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_an_option_is_read_with_dashes_and_without() {
        for (scope, words) in [
            (Scope::Bond, &["oxbond", "set", "bond0"][..]),
            (Scope::Port, &["oxbond", "set-port", "bond0", "eth0"]),
        ] {
            for spec in options_of(scope) {
                for name in spec.names() {
                    for name in [name.to_owned(), name.replace('_', "-")] {
                        let option = format!("--{name}=1");
                        let words = words.iter().copied().chain([option.as_str()]);
                        let matches = grammar().try_get_matches_from(words);
                        let matches = matches.unwrap_or_else(|e| panic!("{e}"));
                        let given = given_options(matches.subcommand().unwrap().1, scope);
                        assert_eq!(given, [(spec.name.to_owned(), "1".to_owned())]);
                    }
                }
            }
        }
    }

    #[test]
    fn every_engine_is_read_and_no_other_word() {
        for command in [&["up", "bond0"][..], &["adopt", "bond0"], &["daemon"]] {
            let read = |engine: &[&str]| {
                let words = ["oxbond"].iter().chain(command).chain(engine);
                grammar().try_get_matches_from(words)
            };
            for word in EngineChoice::WORDS {
                let matches = read(&["--engine", word]).unwrap();
                let choice = engine_choice(matches.subcommand().unwrap().1);
                assert_eq!(choice.word(), word);
            }
            let matches = read(&[]).unwrap();
            let choice = engine_choice(matches.subcommand().unwrap().1);
            assert_eq!(choice, EngineChoice::Auto);
            let refused = read(&["--engine", "kernal"]).unwrap_err().to_string();
            assert!(refused.contains("'kernel'"), "{refused}");
        }
    }

    #[test]
    fn the_long_help_says_where_an_option_acts_and_what_it_needs() {
        let mut set = grammar().find_subcommand("set").unwrap().clone();
        let long = set.render_long_help().to_string();
        for part in [
            "acts in 802.3ad",
            "needs miimon; rounded down to a multiple of it",
            "[aliases: --num-unsol-na",
        ] {
            assert!(long.contains(part), "{part}: {long}");
        }
        assert!(!set.render_help().to_string().contains("needs miimon;"));
    }
}
