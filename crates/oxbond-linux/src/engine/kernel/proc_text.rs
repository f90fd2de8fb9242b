//! `/proc/net/bonding/NAME`: the order of the ports, and what of the link aggregation is told nowhere else.
//!
//! The text is for people, and changes between kernels: whatever is not understood is absent, and nothing is an error.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::str::FromStr;

use oxbond_core::lacp::ChurnState;
use oxbond_wire::MacAddr;
use oxbond_wire::lacp::{Information, State};
use rustix::fs::{CWD, Mode, OFlags, openat};

/// Where the texts are, in the namespace of the calling thread.
const DIRECTORY: &str = "/proc/thread-self/net/bonding";

/// Room for the text of a bond with some ports, and far more than any bond has.
const USUAL: usize = 16 * 1024;
const MOST: u64 = 16 * 1024 * 1024;

/// The texts of many bonds, read quickly: the way to the directory is long.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// `Some(None)` where there is no driver.
    directory: Option<Option<OwnedFd>>,
    buffer: Vec<u8>,
}

impl Texts {
    /// The text of a bond; empty where there is none.
    pub(super) fn read(&mut self, bond: &str) -> Cow<'_, str> {
        self.buffer.clear();
        self.buffer.reserve(USUAL);
        let open = |directory, path: &str, flags| {
            openat(directory, path, flags | OFlags::CLOEXEC, Mode::empty()).ok()
        };
        let directory = self
            .directory
            .get_or_insert_with(|| open(CWD, DIRECTORY, OFlags::PATH | OFlags::DIRECTORY));
        let file = directory
            .as_ref()
            .and_then(|directory| open(directory.as_fd(), bond, OFlags::RDONLY));
        if let Some(file) = file {
            // What was read before an error is what there is.
            let _ = File::from(file).take(MOST).read_to_end(&mut self.buffer);
        }
        match std::str::from_utf8(&self.buffer) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(&self.buffer),
        }
    }
}

/// What the text of a bond says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BondText {
    /// Our system's priority and address, told to an administrator.
    pub(super) system: Option<(u16, MacAddr)>,
    /// The ports, in list order.
    pub(super) ports: Vec<PortText>,
}

/// What it says of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PortText {
    /// Its name.
    pub(super) name: String,
    /// Churn of our end.
    pub(super) actor_churn: Option<ChurnState>,
    /// Churn of the partner's.
    pub(super) partner_churn: Option<ChurnState>,
    /// How often our end churned.
    pub(super) actor_churned: Option<u32>,
    /// How often the partner's did.
    pub(super) partner_churned: Option<u32>,
    /// What our end says of itself, to an administrator.
    pub(super) actor: Option<Information>,
    /// What the partner says of itself, likewise.
    pub(super) partner: Option<Information>,
}

/// What the next lines belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Bond,
    Port,
    Actor,
    Partner,
}

/// Reads no more of the text than the order of the ports.
pub(super) fn order(text: &str) -> BondText {
    let ports = text.split("\nSlave Interface: ").skip(1).map(|part| {
        let end = part.find('\n').unwrap_or(part.len());
        PortText {
            name: part[..end].trim().to_owned(),
            ..PortText::default()
        }
    });
    BondText {
        system: None,
        ports: ports.collect(),
    }
}

/// Reads the text of a bond.
pub(super) fn parse(text: &str) -> BondText {
    let mut bond = BondText::default();
    let (mut priority, mut address) = (None, None);
    let mut part = Part::Bond;
    // Lines of what is being read of one end.
    let mut end = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        if matches!(part, Part::Actor | Part::Partner) && !line.starts_with(' ') {
            part = Part::Port;
        }
        if key == "Slave Interface" {
            bond.ports.push(PortText {
                name: value.to_owned(),
                ..PortText::default()
            });
            part = Part::Port;
            continue;
        }
        let Some(port) = bond.ports.last_mut() else {
            match key {
                "System priority" => priority = value.parse().ok(),
                "System MAC address" => address = MacAddr::from_str(value).ok(),
                _ => {}
            }
            continue;
        };
        match (part, key) {
            (_, "Actor Churn State") => port.actor_churn = churn(value),
            (_, "Partner Churn State") => port.partner_churn = churn(value),
            (_, "Actor Churned Count") => port.actor_churned = value.parse().ok(),
            (_, "Partner Churned Count") => port.partner_churned = value.parse().ok(),
            (_, "details actor lacp pdu") => {
                part = Part::Actor;
                end.clear();
            }
            (_, "details partner lacp pdu") => {
                part = Part::Partner;
                end.clear();
            }
            (Part::Actor | Part::Partner, _) => {
                end.push((key, value));
                let read = information(&end);
                match part {
                    Part::Actor => port.actor = read,
                    _ => port.partner = read,
                }
            }
            _ => {}
        }
    }
    bond.system = priority.zip(address);
    bond
}

/// From the lines of one end, once they are complete.
fn information(lines: &[(&str, &str)]) -> Option<Information> {
    let of = |wanted: &[&str]| {
        let line = lines.iter().find(|(key, _)| wanted.contains(key))?;
        Some(line.1)
    };
    Some(Information {
        system_priority: of(&["system priority"])?.parse().ok()?,
        system: of(&["system mac address"])?.parse().ok()?,
        key: of(&["port key", "oper key"])?.parse().ok()?,
        port_priority: of(&["port priority"])?.parse().ok()?,
        port: of(&["port number"])?.parse().ok()?,
        state: State(of(&["port state"])?.parse().ok()?),
    })
}

fn churn(word: &str) -> Option<ChurnState> {
    match word {
        "monitoring" => Some(ChurnState::Monitoring),
        "none" => Some(ChurnState::None),
        "churned" => Some(ChurnState::Churned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGGREGATION: &str = include_str!("../../../../oxbond/tests/data/proc-802.3ad.txt");

    fn mac(text: &str) -> MacAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_aggregation_is_read_whole() {
        let bond = parse(AGGREGATION);
        assert_eq!(bond.system, Some((65535, mac("16:62:3c:0c:84:5c"))));
        let [first, second] = &bond.ports[..] else {
            panic!("{bond:?}");
        };
        assert_eq!((first.name.as_str(), second.name.as_str()), ("v0", "v1"));
        let actor = Information {
            system_priority: 65535,
            system: mac("16:62:3c:0c:84:5c"),
            key: 15,
            port_priority: 255,
            port: 2,
            state: State(63),
        };
        let partner = Information {
            system: mac("22:95:f9:49:c7:81"),
            ..actor
        };
        let whole = PortText {
            name: "v1".to_owned(),
            actor_churn: Some(ChurnState::Monitoring),
            partner_churn: Some(ChurnState::Monitoring),
            actor_churned: Some(0),
            partner_churned: Some(0),
            actor: Some(actor),
            partner: Some(partner),
        };
        assert_eq!(*second, whole);
        assert_eq!(first.actor.map(|actor| actor.port), Some(1));
    }

    #[test]
    fn the_order_of_ports_is_told_in_every_mode() {
        let text = include_str!("../../../../oxbond/tests/data/proc-active-backup-arp.txt");
        let bond = parse(text);
        assert_eq!(bond.system, None);
        let names: Vec<_> = bond.ports.iter().map(|port| port.name.as_str()).collect();
        let told: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("Slave Interface: "))
            .collect();
        assert_eq!(names, told);
        assert!(!names.is_empty());
        let briefly = order(text);
        assert!(
            briefly
                .ports
                .iter()
                .map(|port| port.name.as_str())
                .eq(names)
        );
        assert_eq!(bond.ports[0].actor_churn, None);
    }

    /// To whom is no administrator, and where a port has no aggregator, much is absent.
    #[test]
    fn what_is_not_told_is_absent() {
        let text: Vec<_> = AGGREGATION
            .lines()
            .filter(|line| !line.starts_with("System ") && !line.starts_with("    "))
            .filter(|line| !line.starts_with("details "))
            .collect();
        let bond = parse(&text.join("\n"));
        assert_eq!((bond.system, bond.ports.len()), (None, 2));
        assert!(bond.ports.iter().all(|port| port.actor.is_none()));
        assert_eq!(bond.ports[1].partner_churned, Some(0));
        assert_eq!(parse(""), BondText::default());
    }

    /// Every text cut short, and every line mangled: never a panic, and never a port made up.
    #[test]
    fn a_mangled_text_is_never_misread() {
        let whole = parse(AGGREGATION);
        for end in 0..AGGREGATION.len() {
            let cut = parse(&AGGREGATION[..end]);
            assert!(cut.ports.len() <= whole.ports.len());
        }
        let lines: Vec<_> = AGGREGATION.lines().collect();
        for at in 0..lines.len() {
            for mangled in [
                "",
                ":",
                "Slave Interface",
                "    port state: 999",
                "\u{0}: -1",
                "System priority: 70000",
            ] {
                let mut lines = lines.clone();
                lines[at] = mangled;
                let read = parse(&lines.join("\n"));
                assert!(read.ports.len() <= whole.ports.len(), "{mangled:?} at {at}");
            }
        }
    }
}
