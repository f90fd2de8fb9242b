//! What a change of options interrupts: the driver takes some only while the bond is down, or without its ports.

use core::fmt;

use super::Picture;
use crate::option::{Changeable, Mode, OptionChange, OptionId, OptionValue};

/// What must be done to a bond that carries traffic, before the driver takes a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interruption {
    /// The bond.
    pub bond: String,
    /// What is done to it.
    pub kind: InterruptionKind,
    /// The options that need it.
    pub options: Vec<OptionId>,
    /// Its ports leave a link aggregation, or join one: LACP begins anew.
    pub renegotiates: bool,
}

/// What is done to a bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InterruptionKind {
    /// It is set down and up again.
    Down,
    /// Its ports leave it and join again.
    Emptied,
    /// Both.
    DownAndEmptied,
}

impl InterruptionKind {
    /// The bond is set down.
    pub const fn is_down(self) -> bool {
        matches!(self, Self::Down | Self::DownAndEmptied)
    }

    /// Its ports leave it.
    pub const fn is_emptied(self) -> bool {
        matches!(self, Self::Emptied | Self::DownAndEmptied)
    }
}

/// What these changes of a bond interrupt; `None` for nothing: the driver takes them while the bond works, or it is down
/// and empty as far as they need it. Those that change nothing do not count.
pub fn interruption(changes: &[OptionChange], picture: &Picture) -> Option<Interruption> {
    let mut options = Vec::new();
    let (mut down, mut emptied) = (false, false);
    for change in changes {
        if picture.options.value(change.id) == change.value {
            continue;
        }
        let (needs_down, needs_empty) = match change.id.spec().changeable {
            Changeable::Always => (false, false),
            Changeable::BondDown => (true, false),
            Changeable::NoPorts => (false, true),
            Changeable::BondDownNoPorts => (true, true),
        };
        let downs = needs_down && picture.up;
        let empties = needs_empty && !picture.ports.is_empty();
        if (downs || empties) && !options.contains(&change.id) {
            options.push(change.id);
        }
        down |= downs;
        emptied |= empties;
    }
    let kind = match (down, emptied) {
        (false, false) => return None,
        (true, false) => InterruptionKind::Down,
        (false, true) => InterruptionKind::Emptied,
        (true, true) => InterruptionKind::DownAndEmptied,
    };
    let mode = changes
        .iter()
        .find(|change| change.id == OptionId::Mode)
        .map_or_else(
            || picture.options.value(OptionId::Mode),
            |change| change.value.clone(),
        );
    let aggregates = mode == OptionValue::Number(Mode::Ieee8023ad.code().into());
    Some(Interruption {
        bond: picture.name.clone(),
        kind,
        options,
        renegotiates: emptied && aggregates,
    })
}

impl fmt::Display for Interruption {
    /// As a sentence of a plan.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<_> = self.options.iter().map(|id| id.name()).collect();
        let options = options.join(", ");
        let bond = &self.bond;
        match self.kind {
            InterruptionKind::Down => {
                write!(f, "{bond} is set down for some milliseconds for {options}")?;
            }
            InterruptionKind::Emptied => {
                write!(
                    f,
                    "the ports of {bond} leave it and join again for {options}"
                )?;
            }
            InterruptionKind::DownAndEmptied => write!(
                f,
                "{bond} is set down, and its ports leave it and join again, for {options}"
            )?,
        }
        if self.kind.is_down() {
            f.write_str("; IPv6 addresses and routes that the kernel drops are put back")?;
        }
        if self.renegotiates {
            f.write_str("; LACP negotiates anew, which takes some seconds")?;
        } else if self.kind.is_emptied() {
            f.write_str("; nothing passes until the links of the ports are back")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::BondOptions;
    use crate::port::{Duplex, LinkState};
    use crate::status::{MiiStatus, PortRole};
    use oxbond_wire::MacAddr;

    fn picture(up: bool, ports: usize, mode: Mode) -> Picture {
        let port = |n: usize| super::super::PortPicture {
            name: format!("p{n}"),
            ifindex: 10 + u32::try_from(n).unwrap(),
            link: LinkState {
                admin_up: true,
                carrier: true,
                speed_mbps: Some(1000),
                duplex: Duplex::Full,
            },
            mii_status: MiiStatus::Up,
            role: PortRole::Active,
            link_failure_count: 0,
            permanent_mac: MacAddr::ZERO,
            mac: MacAddr::ZERO,
            options: crate::option::PortOptions::default(),
            raw: Vec::new(),
            aggregation: None,
            traffic: super::super::Traffic::default(),
        };
        Picture {
            name: "bond0".to_owned(),
            ifindex: 9,
            up,
            carrier: up,
            mac: MacAddr::ZERO,
            mac_is_random: false,
            mtu: 1500,
            options: BondOptions {
                mode,
                ..BondOptions::default()
            },
            known: OptionId::ALL.to_vec(),
            raw: Vec::new(),
            active_port: None,
            active_aggregator: None,
            system: None,
            tx_dropped: 0,
            ports: (0..ports).map(port).collect(),
        }
    }

    fn said(words: &str, picture: &Picture) -> Option<String> {
        let pair = |word: &str| {
            let (name, value) = word.split_once('=').unwrap();
            OptionChange::parse(name, value).unwrap()
        };
        let changes: Vec<_> = words.split(' ').map(pair).collect();
        interruption(&changes, picture).map(|interruption| interruption.to_string())
    }

    #[test]
    fn only_what_differs_and_needs_it_interrupts() {
        let aggregation = picture(true, 2, Mode::Ieee8023ad);
        assert_eq!(said("miimon=50 min_links=1", &aggregation), None);
        assert_eq!(said("lacp_rate=slow mode=802.3ad", &aggregation), None);
        assert_eq!(
            said("lacp_rate=fast miimon=50 ad_select=count", &aggregation).unwrap(),
            "bond0 is set down for some milliseconds for lacp_rate, ad_select; IPv6 addresses and routes that the \
             kernel drops are put back"
        );
        let down = picture(false, 2, Mode::Ieee8023ad);
        assert_eq!(said("lacp_rate=fast", &down), None);
    }

    #[test]
    fn ports_leave_only_where_there_are_some() {
        let backup = picture(true, 2, Mode::ActiveBackup);
        assert_eq!(
            said("fail_over_mac=active", &backup).unwrap(),
            "the ports of bond0 leave it and join again for fail_over_mac; nothing passes until the links of the \
             ports are back"
        );
        assert_eq!(
            said("mode=802.3ad", &backup).unwrap(),
            "bond0 is set down, and its ports leave it and join again, for mode; IPv6 addresses and routes that the \
             kernel drops are put back; LACP negotiates anew, which takes some seconds"
        );
        let empty = picture(true, 0, Mode::ActiveBackup);
        assert_eq!(said("fail_over_mac=active", &empty), None);
        let kind = |picture| {
            let change = OptionChange::parse("mode", "balance-xor").unwrap();
            interruption(&[change], picture).map(|interruption| interruption.kind)
        };
        assert_eq!(kind(&empty), Some(InterruptionKind::Down));
        let down = picture(false, 1, Mode::ActiveBackup);
        assert_eq!(kind(&down), Some(InterruptionKind::Emptied));
    }
}
