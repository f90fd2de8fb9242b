//! Which engine carries a bond: our own programs, or the kernel's bonding driver.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::option::{
    BondContext, BondOptions, Kind, Mode, OptionChange, OptionId, OptionSpec, OptionValue,
    PortOptionChange, find,
};
use crate::port::MAX_PORTS;

/// What carries a bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Our own eBPF programs, steered by this crate.
    Ebpf,
    /// The kernel's bonding driver, which decides by itself.
    Kernel,
}

impl Engine {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ebpf => "ebpf",
            Self::Kernel => "kernel",
        }
    }

    /// Whether it is ours: [`OptionSpec`] tells what our own has beyond the driver.
    pub const fn is_own(self) -> bool {
        matches!(self, Self::Ebpf)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum EngineChoice {
    /// The driver where it is there and can do all that is asked, else our own.
    #[default]
    Auto,
    /// This one and no other.
    Only(Engine),
}

impl EngineChoice {
    /// Every word that is read.
    pub const WORDS: [&'static str; 3] = ["auto", "ebpf", "kernel"];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Only(engine) => engine.word(),
        }
    }

    /// This choice, or `default` where it is left open.
    #[must_use]
    pub const fn or(self, default: Self) -> Self {
        match self {
            Self::Auto => default,
            Self::Only(_) => self,
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for EngineChoice {
    type Err = NoEngine;

    fn from_str(word: &str) -> Result<Self, NoEngine> {
        match word {
            "auto" => Ok(Self::Auto),
            "ebpf" => Ok(Self::Only(Engine::Ebpf)),
            "kernel" => Ok(Self::Only(Engine::Kernel)),
            other => Err(NoEngine(other.to_owned())),
        }
    }
}

impl TryFrom<String> for EngineChoice {
    type Error = NoEngine;

    fn try_from(word: String) -> Result<Self, NoEngine> {
        word.parse()
    }
}

impl From<EngineChoice> for String {
    fn from(choice: EngineChoice) -> Self {
        choice.word().to_owned()
    }
}

/// No engine has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no engine {0}: say auto, ebpf (our own) or kernel (its bonding driver)")]
pub struct NoEngine(String);

/// What is asked of a bond beyond the defaults, which differ by engine: what was given, and no more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Options of the bond. `active_slave`, a command, is not looked at.
    pub options: &'a [OptionChange],
    /// Its ports by their names, each with its options.
    pub ports: &'a [(&'a str, &'a [PortOptionChange])],
}

/// Something asked for that the driver cannot do, and our own engine can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// Name of the option.
    pub option: &'static str,
    /// The port it was asked for, if it is an option of ports.
    pub port: Option<String>,
    /// Its value, as text.
    pub value: String,
    /// Why the driver cannot.
    pub why: String,
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.option, self.value)?;
        if let Some(port) = &self.port {
            write!(f, " of {port}")?;
        }
        write!(f, " ({})", self.why)
    }
}

/// Everything asked for that the driver of the kernel `release` (major, minor) cannot do. What neither engine can do is not
/// among it: [`BondOptions::apply`] refuses that.
pub fn beyond_driver(asked: &Asked<'_>, release: (u8, u8)) -> Vec<Beyond> {
    let mode = asked.options.iter().find_map(|change| match change.value {
        OptionValue::Number(code) if change.id == OptionId::Mode => {
            Mode::from_code(u8::try_from(code).ok()?)
        }
        _ => None,
    });
    let mode = mode.unwrap_or_else(|| BondOptions::default().mode);
    let mut beyond = Vec::new();
    let mut within = Vec::new();
    for change in asked.options {
        let spec = change.id.spec();
        let value = change.text();
        let why = if !spec.modes.contains(mode) && spec.extended_to.contains(mode) {
            Some(format!("the driver does not have it in mode {mode}"))
        } else {
            lacks(spec, &change.value, &value, release)
        };
        match why {
            Some(why) => beyond.push(Beyond {
                option: spec.name,
                port: None,
                value,
                why,
            }),
            None if change.id == OptionId::ActiveSlave => {}
            None => within.push(change.clone()),
        }
    }
    // What is possible one by one may not be together.
    let apply = |defaults: BondOptions, own_engine| {
        let context = BondContext {
            own_engine,
            ..BondContext::default()
        };
        defaults.apply(&within, &context)
    };
    if let Err(refused) = apply(BondOptions::default(), false)
        && apply(BondOptions::own(), true).is_ok()
        && let Some(spec) = find(&refused.option)
    {
        beyond.push(Beyond {
            option: spec.name,
            port: None,
            value: refused.value,
            why: refused.fault.to_string(),
        });
    }
    for (port, changes) in asked.ports {
        for change in *changes {
            let spec = change.id.spec();
            let value = change.text();
            beyond.extend(
                lacks(spec, &change.value, &value, release).map(|why| Beyond {
                    option: spec.name,
                    port: Some((*port).to_owned()),
                    value,
                    why,
                }),
            );
        }
    }
    beyond
}

/// Why the driver does not have this value of an option, if it does not.
fn lacks(spec: &OptionSpec, value: &OptionValue, text: &str, release: (u8, u8)) -> Option<String> {
    // Nothing has to be done for it.
    if text == spec.default {
        return None;
    }
    if spec.netlink.is_none() {
        return Some("the driver has no such option".to_owned());
    }
    let word = match (spec.kind, value) {
        (Kind::Words(words), OptionValue::Number(code)) => {
            words.iter().find(|word| i64::from(word.code) == *code)
        }
        _ => None,
    };
    let since = spec.since.max(word.and_then(|word| word.since))?;
    (since > release).then(|| {
        format!(
            "the driver has it since Linux {}.{}, and this is {}.{}",
            since.0, since.1, release.0, release.1
        )
    })
}

/// Whether this kernel has the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Driver {
    /// It is loaded, or part of the kernel.
    There {
        /// Major and minor number of the kernel's release.
        release: (u8, u8),
    },
    /// Its module is there, not loaded, and may be loaded.
    Loadable {
        /// Major and minor number of the kernel's release.
        release: (u8, u8),
    },
    /// It cannot be had.
    Missing {
        /// Why, in words: lower-case start, no full stop.
        why: String,
        /// What to do about it, likewise.
        way_out: String,
    },
}

impl Driver {
    /// Major and minor number of the kernel's release, where it has the driver.
    pub const fn release(&self) -> Option<(u8, u8)> {
        match self {
            Self::There { release } | Self::Loadable { release } => Some(*release),
            Self::Missing { .. } => None,
        }
    }
}

/// The engine that is to carry a bond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Which.
    pub engine: Engine,
    /// Why it and not the other, in words: lower-case start, no full stop.
    pub why: String,
}

/// The engine asked for cannot do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceRefused {
    /// The configuration asks for what the driver does not have.
    #[error(
        "the kernel's bonding driver cannot do what is asked: {}; leave it out, or choose our own engine, which can: --engine ebpf",
        listed(.0)
    )]
    Beyond(Vec<Beyond>),
    /// The kernel has no driver.
    #[error(
        "the kernel's bonding driver is not there: {why}; {way_out}, or choose our own engine: --engine ebpf"
    )]
    NoDriver {
        /// Why.
        why: String,
        /// What to do about it.
        way_out: String,
    },
    /// It would be our own, which does not carry that many ports.
    #[error(
        "our own engine carries at most {MAX_PORTS} ports in one bond, and {ports} are asked for; name fewer, or let the kernel's bonding driver carry them, which has no such limit (on engine ebpf: {why})"
    )]
    TooManyPorts {
        /// How many are asked for.
        ports: usize,
        /// Why it would be our own.
        why: String,
    },
}

/// Which engine is to carry a bond: the one asked for, else the driver where it is there (or can be loaded) and can do all
/// that is asked.
///
/// # Errors
///
/// The driver is asked for, and is not there or cannot do it all; or there are more ports than our own engine can carry.
pub fn choose(
    choice: EngineChoice,
    driver: &Driver,
    asked: &Asked<'_>,
) -> Result<Chosen, ChoiceRefused> {
    let Chosen { engine, why } = choose_for_options(choice, driver, asked)?;
    let ports = asked.ports.len();
    match engine {
        Engine::Ebpf if ports > MAX_PORTS => Err(ChoiceRefused::TooManyPorts { ports, why }),
        _ => Ok(Chosen { engine, why }),
    }
}

/// The choice, whatever the number of ports.
fn choose_for_options(
    choice: EngineChoice,
    driver: &Driver,
    asked: &Asked<'_>,
) -> Result<Chosen, ChoiceRefused> {
    let chosen = |engine, why: String| Ok(Chosen { engine, why });
    let beyond = |release| beyond_driver(asked, release);
    match (choice, driver) {
        (EngineChoice::Only(Engine::Ebpf), _) => {
            chosen(Engine::Ebpf, "it was asked for".to_owned())
        }
        (EngineChoice::Only(Engine::Kernel), Driver::Missing { why, way_out }) => {
            let (why, way_out) = (why.clone(), way_out.clone());
            Err(ChoiceRefused::NoDriver { why, way_out })
        }
        (EngineChoice::Auto, Driver::Missing { why, .. }) => chosen(
            Engine::Ebpf,
            format!("the kernel's bonding driver is not there: {why}"),
        ),
        (_, Driver::There { release } | Driver::Loadable { release }) => {
            let beyond = beyond(*release);
            match (choice, beyond.as_slice()) {
                (EngineChoice::Auto, []) => chosen(
                    Engine::Kernel,
                    "the kernel has its bonding driver, which can do all that is asked".to_owned(),
                ),
                (EngineChoice::Auto, _) => chosen(
                    Engine::Ebpf,
                    format!(
                        "the kernel's bonding driver cannot do what is asked: {}",
                        listed(&beyond)
                    ),
                ),
                (_, []) => chosen(Engine::Kernel, "it was asked for".to_owned()),
                (_, _) => Err(ChoiceRefused::Beyond(beyond)),
            }
        }
    }
}

fn listed(beyond: &[Beyond]) -> String {
    let each: Vec<String> = beyond.iter().map(ToString::to_string).collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for word in EngineChoice::WORDS {
            assert_eq!(word.parse::<EngineChoice>().unwrap().word(), word);
            let json = format!("\"{word}\"");
            let choice: EngineChoice = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&choice).unwrap(), json);
        }
        let refused = "driver".parse::<EngineChoice>().unwrap_err();
        assert!(refused.to_string().contains("kernel"), "{refused}");
    }

    #[test]
    fn a_default_counts_where_the_choice_is_left_open() {
        let (ebpf, kernel) = (
            EngineChoice::Only(Engine::Ebpf),
            EngineChoice::Only(Engine::Kernel),
        );
        assert_eq!(EngineChoice::Auto.or(kernel), kernel);
        assert_eq!(ebpf.or(kernel), ebpf);
        assert_eq!(ebpf.or(EngineChoice::Auto), ebpf);
    }

    const OLD: (u8, u8) = (6, 1);
    const NEW: (u8, u8) = (7, 2);

    fn given(words: &str) -> Vec<OptionChange> {
        let words: Vec<&str> = words.split_whitespace().collect();
        words
            .chunks(2)
            .map(|pair| OptionChange::parse(pair[0], pair[1]).unwrap())
            .collect()
    }

    /// What is beyond the driver, by the names of the options.
    fn beyond(words: &str, release: (u8, u8)) -> String {
        let options = given(words);
        let asked = Asked {
            options: &options,
            ports: &[],
        };
        let names: Vec<&str> = beyond_driver(&asked, release)
            .iter()
            .map(|beyond| beyond.option)
            .collect();
        names.join(" ")
    }

    #[test]
    fn what_the_driver_cannot_do() {
        for (words, old, new) in [
            ("", "", ""),
            (
                "mode active-backup miimon 100 primary eth0 active_slave eth1",
                "",
                "",
            ),
            ("mode 802.3ad lacp_rate fast min_links 1", "", ""),
            // Our own.
            (
                "mode 802.3ad max_ports 2 lacp_fallback active-backup",
                "max_ports lacp_fallback",
                "max_ports lacp_fallback",
            ),
            // Its default is what the driver does.
            (
                "mode 802.3ad max_ports 32 lacp_strict off coupled_control on",
                "",
                "",
            ),
            // Modes in which we alone have it.
            (
                "mode 802.3ad arp_interval 100 arp_ip_target 10.0.0.1",
                "arp_interval",
                "arp_interval",
            ),
            (
                "mode balance-xor arp_interval 100 arp_ip_target 10.0.0.1",
                "",
                "",
            ),
            // Later drivers.
            (
                "mode 802.3ad lacp_strict on coupled_control off",
                "lacp_strict coupled_control",
                "",
            ),
            (
                "mode 802.3ad broadcast_neighbor on",
                "broadcast_neighbor",
                "",
            ),
            ("mode 802.3ad ad_select actor_port_prio", "ad_select", ""),
            ("mode 802.3ad ad_select bandwidth", "", ""),
            // No engine can: not the driver's fault.
            ("mode balance-rr lacp_rate fast", "", ""),
            ("miimon 100 arp_interval 100", "", ""),
            // miimon 0 leaves the delays nothing to count with, whatever the mode says.
            (
                "mode balance-tlb miimon 0 arp_interval 100",
                "arp_interval",
                "arp_interval",
            ),
        ] {
            assert_eq!(beyond(words, OLD), old, "{words}");
            assert_eq!(beyond(words, NEW), new, "{words}");
        }
    }

    #[test]
    fn options_of_ports_count() {
        let changes = [("weight", "4"), ("prio", "7"), ("actor_port_prio", "3")]
            .map(|(name, value)| PortOptionChange::parse(name, value).unwrap());
        let asked = Asked {
            options: &[],
            ports: &[("eth0", &changes)],
        };
        let words: Vec<String> = beyond_driver(&asked, OLD)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            words,
            [
                "weight 4 of eth0 (the driver has no such option)",
                "actor_port_prio 3 of eth0 (the driver has it since Linux 6.18, and this is 6.1)",
            ]
        );
    }

    #[test]
    fn the_choice_and_its_reasons() {
        let there = Driver::There { release: OLD };
        let loadable = Driver::Loadable { release: OLD };
        let missing = Driver::Missing {
            why: "no module bonding for 6.1".to_owned(),
            way_out: "install the kernel's modules".to_owned(),
        };
        let usual = given("mode active-backup miimon 100");
        let ours = given("mode 802.3ad max_ports 2");
        let [auto, ebpf, kernel] = EngineChoice::WORDS.map(|word| word.parse().unwrap());
        let not_there = "the kernel's bonding driver is not there: no module bonding for 6.1";
        let cannot = "the kernel's bonding driver cannot do what is asked: max_ports 2 (the driver has no such option)";
        for (choice, driver, options, expected) in [
            (
                auto,
                &there,
                &usual,
                "kernel: the kernel has its bonding driver, which can do all that is asked",
            ),
            (
                auto,
                &loadable,
                &usual,
                "kernel: the kernel has its bonding driver, which can do all that is asked",
            ),
            (auto, &missing, &usual, &*format!("ebpf: {not_there}")),
            (auto, &there, &ours, &*format!("ebpf: {cannot}")),
            (ebpf, &there, &usual, "ebpf: it was asked for"),
            (ebpf, &missing, &ours, "ebpf: it was asked for"),
            (kernel, &loadable, &usual, "kernel: it was asked for"),
            (
                kernel,
                &missing,
                &usual,
                &*format!(
                    "{not_there}; install the kernel's modules, or choose our own engine: --engine ebpf"
                ),
            ),
            (
                kernel,
                &there,
                &ours,
                &*format!(
                    "{cannot}; leave it out, or choose our own engine, which can: --engine ebpf"
                ),
            ),
        ] {
            let asked = Asked {
                options,
                ports: &[],
            };
            let said = match choose(choice, driver, &asked) {
                Ok(chosen) => format!("{}: {}", chosen.engine, chosen.why),
                Err(refused) => refused.to_string(),
            };
            assert_eq!(said, expected, "{choice}");
        }
    }

    /// Our own engine has a limit, the driver has none.
    #[test]
    fn more_ports_than_our_own_engine_carries_are_the_drivers() {
        let there = Driver::There { release: OLD };
        let missing = Driver::Missing {
            why: "no module bonding for 6.1".to_owned(),
            way_out: "install the kernel's modules".to_owned(),
        };
        let [auto, ebpf, kernel] = EngineChoice::WORDS.map(|word| word.parse().unwrap());
        let ours = given("mode 802.3ad max_ports 2");
        let said = |choice, driver, options: &[OptionChange], ports: usize| {
            let ports = vec![("eth0", [].as_slice()); ports];
            let asked = Asked {
                options,
                ports: &ports,
            };
            choose(choice, driver, &asked)
                .map(|chosen| chosen.engine)
                .map_err(|refused| refused.to_string())
        };
        for choice in [auto, kernel] {
            assert_eq!(said(choice, &there, &[], 33), Ok(Engine::Kernel));
        }
        assert_eq!(said(ebpf, &there, &[], 32), Ok(Engine::Ebpf));
        for (choice, driver, options, why) in [
            (ebpf, &there, &[] as &[_], "it was asked for"),
            (auto, &missing, &[], "driver is not there"),
            (auto, &there, &ours, "cannot do what is asked: max_ports 2"),
        ] {
            let refused = said(choice, driver, options, 33).unwrap_err();
            for words in ["at most 32 ports", "33 are asked for", why] {
                assert!(refused.contains(words), "{words}: {refused}");
            }
        }
    }
}
