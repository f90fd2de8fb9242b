//! The language both bonds understand: what happens to a bond, line by line, and when to look.
//!
//! ```text
//! script NAME                 begins a script; `#` begins a comment
//! bond mode M miimon 100 ..   make the bond, with options in the words of `ip link add .. type bond`
//! add p0 · remove p0          a port joins or leaves; ports are p0 to p3
//! up · down                   the bond itself, administratively
//! cut p0 · restore p0         the cable of a port; all are plugged in at the beginning
//! shut p0 · open p0           a port itself, administratively; all are shut at the beginning
//! set updelay 200 ..          options of the bond, in one request; `active_slave -` clears it
//! write updelay 200           one option by its file in sysfs; the rest of the line is the value, as it stands
//! port p0 prio 5              options of a port
//! address p2                  the bond gets the address that belongs to this port
//! mtu 1400                    of the bond
//! station                     a station 10.9.0.2 behind all cables, and 10.9.0.1 for the bond; not for the core alone
//! silence p0 · answer p0      the station is cut off from a port whose link stays; it is there again
//! wait 500                    milliseconds
//! send udp 60                 frames through the bond, one flow each; see `frames`
//! look                        compare everything that can be seen
//! ```
//!
//! Every line answers something: whether it was accepted, else the refusal in the driver's words. Those are compared too.

use std::fmt;
use std::str::FromStr;

use crate::frames::Kind;

/// A named sequence of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Bond(Vec<Pair>),
    Add(Port),
    Remove(Port),
    Up,
    Down,
    Cut(Port),
    Restore(Port),
    Shut(Port),
    Open(Port),
    Set(Vec<Pair>),
    Write(Pair),
    Port(Port, Vec<Pair>),
    Address(Port),
    Mtu(u32),
    Station,
    Silence(Port),
    Answer(Port),
    Wait(u64),
    Send(Kind, usize),
    Look,
}

impl Script {
    /// Somebody else takes part, whom the core alone knows nothing of.
    pub(crate) fn has_station(&self) -> bool {
        self.steps.contains(&Step::Station)
    }
}

/// Name and value of an option, as typed.
pub(crate) type Pair = (String, String);

/// A port by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Port(pub(crate) u8);

/// Ports a script can name.
pub(crate) const PORTS: [Port; 4] = [Port(0), Port(1), Port(2), Port(3)];

impl Port {
    /// The address the port has from the beginning.
    pub(crate) fn mac(self) -> oxbond_wire::MacAddr {
        oxbond_wire::MacAddr([2, 0, 0, 0, 1, self.0])
    }

    /// What its cable leads to.
    pub(crate) fn far(self) -> String {
        format!("f{}", self.0)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = PORTS.into_iter().find(|port| port.to_string() == text);
        known.ok_or_else(|| format!("{text:?} is no port: p0 to p3"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |pairs: &[Pair]| -> String {
            pairs
                .iter()
                .map(|(name, value)| format!(" {name} {value}"))
                .collect()
        };
        match self {
            Self::Bond(pairs) => write!(f, "bond{}", words(pairs)),
            Self::Add(port) => write!(f, "add {port}"),
            Self::Remove(port) => write!(f, "remove {port}"),
            Self::Up => f.write_str("up"),
            Self::Down => f.write_str("down"),
            Self::Cut(port) => write!(f, "cut {port}"),
            Self::Restore(port) => write!(f, "restore {port}"),
            Self::Shut(port) => write!(f, "shut {port}"),
            Self::Open(port) => write!(f, "open {port}"),
            Self::Set(pairs) => write!(f, "set{}", words(pairs)),
            Self::Write((name, value)) => write!(f, "write {name} {value}"),
            Self::Port(port, pairs) => write!(f, "port {port}{}", words(pairs)),
            Self::Address(port) => write!(f, "address {port}"),
            Self::Mtu(mtu) => write!(f, "mtu {mtu}"),
            Self::Station => f.write_str("station"),
            Self::Silence(port) => write!(f, "silence {port}"),
            Self::Answer(port) => write!(f, "answer {port}"),
            Self::Wait(millis) => write!(f, "wait {millis}"),
            Self::Send(kind, count) => write!(f, "send {kind} {count}"),
            Self::Look => f.write_str("look"),
        }
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number = |text: &str| text.parse::<u32>().map_err(|e| format!("{text:?}: {e}"));
        Ok(match verb {
            "bond" => Self::Bond(pairs(rest)?),
            "add" => Self::Add(rest.parse()?),
            "remove" => Self::Remove(rest.parse()?),
            "up" => Self::Up,
            "down" => Self::Down,
            "cut" => Self::Cut(rest.parse()?),
            "restore" => Self::Restore(rest.parse()?),
            "shut" => Self::Shut(rest.parse()?),
            "open" => Self::Open(rest.parse()?),
            "set" => Self::Set(pairs(rest)?),
            "write" => {
                let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
                Self::Write((name.to_owned(), value.to_owned()))
            }
            "port" => {
                let (port, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                Self::Port(port.parse()?, pairs(rest)?)
            }
            "address" => Self::Address(rest.parse()?),
            "mtu" => Self::Mtu(number(rest)?),
            "station" => Self::Station,
            "silence" => Self::Silence(rest.parse()?),
            "answer" => Self::Answer(rest.parse()?),
            "wait" => Self::Wait(number(rest)?.into()),
            "send" => {
                let (kind, count) = rest.split_once(' ').unwrap_or((rest, ""));
                Self::Send(kind.parse()?, number(count)? as usize)
            }
            "look" => Self::Look,
            _ => return Err(format!("{verb:?} is no step")),
        })
    }
}

fn pairs(text: &str) -> Result<Vec<Pair>, String> {
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let pair = |words: &[&str]| match words {
        [name, value] => Ok(((*name).to_owned(), (*value).to_owned())),
        _ => Err(format!("{text:?} are not pairs of option and value")),
    };
    words.chunks(2).map(pair).collect()
}

/// Reads scripts, one after the other.
pub(crate) fn parse(text: &str) -> Result<Vec<Script>, String> {
    let mut scripts: Vec<Script> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim_start();
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |why: String| format!("line {}: {why}", number + 1);
        match (line.strip_prefix("script "), scripts.last_mut()) {
            (Some(name), _) => scripts.push(Script {
                name: name.trim().to_owned(),
                steps: Vec::new(),
            }),
            (None, Some(script)) => script.steps.push(line.parse().map_err(wrong)?),
            (None, None) => return Err(wrong("a step before the first script".to_owned())),
        }
    }
    Ok(scripts)
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "script {}", self.name)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}
