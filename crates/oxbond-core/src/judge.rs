//! What is found of a bond and its ports, in words: the same words whichever engine carries the bond.
//!
//! Functions from facts to [`Verdict`]s. Who knows more of a bond (our own engine does) says more with the same sentences.

use core::time::Duration;

use crate::engine::Engine;
use crate::option::{BondOptions, Mode, Switch};
use crate::port::LinkState;
use crate::status::PortRole;
use crate::verdict::Verdict;

/// A bond, as far as its verdict goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BondFacts<'a> {
    pub(crate) engine: Engine,
    pub(crate) name: &'a str,
    /// It is set up.
    pub(crate) up: bool,
    pub(crate) carrier: bool,
    pub(crate) options: &'a BondOptions,
    /// How many ports are in it.
    pub(crate) ports: usize,
    /// How many of them carry traffic.
    pub(crate) carrying: usize,
    /// How many of them distribute by agreement with a partner, in mode 802.3ad.
    pub(crate) distributing: usize,
    /// Ports carry without a partner, in mode 802.3ad.
    pub(crate) alone: bool,
    pub(crate) active: Option<&'a str>,
}

/// Of a bond as a whole.
pub(crate) fn bond(facts: &BondFacts<'_>) -> Verdict {
    let BondFacts {
        name,
        ports,
        carrying,
        ..
    } = *facts;
    if !facts.up {
        let advice = format!("ip link set {name} up");
        return Verdict::degraded("it is set down", advice);
    }
    if ports == 0 {
        let advice = format!("oxbond add-port {name} PORT");
        return Verdict::degraded("it has no port", advice);
    }
    let mode = facts.options.mode;
    let verdict = match (facts.carrier, mode) {
        (_, Mode::Ieee8023ad) => aggregated_bond(facts),
        (false, _) => Verdict::degraded(
            "no carrier: no port can carry anything",
            "one port with a link is enough: see below what each of them lacks",
        ),
        (true, Mode::ActiveBackup) => match facts.active {
            Some(active) => Verdict::well(format!("has carrier: {active} carries the traffic")),
            None => Verdict::degraded(
                "no port is active",
                "one port with a link is enough: see below what each of them lacks",
            ),
        },
        (true, _) => Verdict::well(format!("has carrier: {carrying} of {ports} ports carry")),
    };
    // Our own data path leaves a dead link without a monitor, too.
    let unwatched = facts.options.miimon == 0 && facts.options.arp_interval == 0;
    if facts.engine == Engine::Kernel && unwatched && verdict.advice.is_none() {
        return Verdict::degraded(
            format!("nothing watches the links of {name}: without a monitor it never fails over"),
            format!("oxbond set {name} --miimon 100"),
        );
    }
    verdict
}

fn aggregated_bond(facts: &BondFacts<'_>) -> Verdict {
    let BondFacts {
        name,
        ports,
        carrying,
        options,
        ..
    } = *facts;
    let own = facts.engine.is_own();
    let least = options.min_links;
    let distributing = match facts.distributing {
        1 => "1 port distributes".to_owned(),
        ports => format!("{ports} ports distribute"),
    };
    if facts.carrier && facts.alone {
        let policy = match options.lacp_strict {
            Switch::On if own => format!("lacp_fallback={}", options.lacp_fallback.word()),
            Switch::On => format!("min_links={least}"),
            Switch::Off => "lacp_strict=off".to_owned(),
        };
        return Verdict::degraded(
            format!("has carrier without a partner ({policy}): {carrying} of {ports} ports carry"),
            "it works without LACP, and so with less: see below what the ports wait for",
        );
    }
    if facts.carrier && facts.distributing == 0 {
        let (words, advice) = if own {
            (
                "has carrier, and no port distributes (lacp_strict=off)",
                format!("oxbond set {name} --lacp-strict on, so that the carrier tells the truth"),
            )
        } else {
            (
                "has carrier, and no port distributes",
                "see below what each port lacks; the driver shows carrier while a port has a link"
                    .to_owned(),
            )
        };
        return Verdict::degraded(words, advice);
    }
    if facts.carrier {
        return Verdict::well(format!("has carrier: {carrying} of {ports} ports carry"));
    }
    if facts.distributing > 0 {
        return Verdict::degraded(
            format!("no carrier: {distributing}, min_links asks for {least}"),
            format!("bring up the other ports, or oxbond set {name} --min-links N"),
        );
    }
    let advice = match own {
        true => format!(
            "see below what each port lacks; oxbond set {name} --lacp-fallback active-backup lets one carry while there is no partner"
        ),
        false => "see below what each port lacks".to_owned(),
    };
    Verdict::degraded(format!("no carrier: {distributing}"), advice)
}

/// What a port's link lacks, if it lacks anything, and what to do about it.
pub(crate) fn lacking(name: &str, link: &LinkState) -> Option<(&'static str, String)> {
    if !link.admin_up {
        Some((
            "the interface is set down",
            format!("ip link set {name} up"),
        ))
    } else if !link.carrier {
        let advice = format!(
            "look at the cable, the transceivers and the port at the other end; ethtool {name} tells what it sees"
        );
        Some(("no carrier", advice))
    } else {
        None
    }
}

/// The rest of a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Just this.
    Exactly(Duration),
    /// No more than this: who counts it does not tell.
    AtMost(Duration),
}

impl core::fmt::Display for Left {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Exactly(left) => write!(f, "in {} ms", left.as_millis()),
            Self::AtMost(left) => write!(f, "within {} ms", left.as_millis()),
        }
    }
}

/// A port whose down delay runs. `lacking` is what [`lacking`] found.
pub(crate) fn going_down(lacking: Option<(&str, String)>, left: Left) -> Verdict {
    let (lacking, advice) = match lacking {
        Some((lacking, advice)) => (lacking, Some(advice)),
        None => ("the link was lost a moment ago", None),
    };
    Verdict::passing(format!("{lacking}; given up {left} (downdelay)"), advice)
}

/// A port whose up delay runs.
pub(crate) fn going_back(left: Left) -> Verdict {
    Verdict::passing(format!("the link is back; used {left} (updelay)"), None)
}

/// A port whose link is gone, on a bond that has no monitor to see it.
pub(crate) fn unwatched(engine: Engine, bond: &str, (lacking, advice): (&str, String)) -> Verdict {
    let consequence = match engine {
        Engine::Ebpf => "only the data path avoids it",
        Engine::Kernel => "nothing takes it out",
    };
    Verdict::degraded(
        format!("{lacking}, but miimon is 0: {consequence}"),
        format!("{advice}; oxbond set {bond} --miimon 100"),
    )
}

/// A port on which the ARP monitor hears nothing. `silence` says what.
pub(crate) fn unheard(bond: &str, silence: String) -> Verdict {
    let advice = format!(
        "ask from here: arping -I {bond} TARGET; look at the cable's other end (another switch, another VLAN?) and whether the targets answer anybody; a second arp_ip_target tells a dead target from a dead path"
    );
    Verdict::degraded(silence, advice)
}

/// What a port that works does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work<'a> {
    pub(crate) mode: Mode,
    pub(crate) role: PortRole,
    /// It is the active port.
    pub(crate) is_active: bool,
    /// Name of the active port.
    pub(crate) active: Option<&'a str>,
    /// Who would follow the active port.
    pub(crate) runner_up: Option<&'a str>,
    /// What it carries of that which is spread over all.
    pub(crate) part: &'a str,
}

/// What a port whose link is up does; in mode 802.3ad, what one that carries does.
pub(crate) fn work(work: &Work<'_>) -> Verdict {
    let part = work.part;
    Verdict::well(match (work.mode, work.role) {
        (Mode::ActiveBackup, PortRole::Active) => match work.runner_up {
            Some(next) => format!("carries the traffic; {next} would follow"),
            None => "carries the traffic; no other port could follow".to_owned(),
        },
        (Mode::ActiveBackup, PortRole::Backup) => match work.active {
            Some(active) => format!("waits; {active} is the active port"),
            None => "waits".to_owned(),
        },
        (Mode::BalanceTlb, _) if work.is_active => {
            format!("the active port: receives, and sends {part}")
        }
        (Mode::BalanceTlb, _) => format!("sends {part}"),
        (Mode::BalanceAlb, _) if work.is_active => {
            format!("the active port: receives its clients and what goes to groups, sends {part}")
        }
        (Mode::BalanceAlb, _) => format!("receives its clients, sends {part}"),
        (Mode::Broadcast, _) => "carries a copy of every frame".to_owned(),
        (Mode::BalanceRr | Mode::BalanceXor | Mode::Ieee8023ad, _) => format!("carries {part}"),
    })
}

/// What mode spreads over the ports.
pub(crate) const fn spread(mode: Mode) -> &'static str {
    match mode {
        Mode::BalanceRr => "frames",
        _ => "flows",
    }
}

/// A port's part of what is spread equally over `carrying` ports.
pub(crate) fn equal_part(mode: Mode, carrying: usize) -> String {
    format!("its share of the {}, 1 of {carrying}", spread(mode))
}

/// What LACP finds of a port that does not distribute: `words` are the reason's.
pub(crate) fn aggregated(
    reason: &crate::lacp::Reason,
    words: String,
    role: PortRole,
    bond: &str,
    engine: Engine,
) -> Verdict {
    let words = match role {
        PortRole::Active => format!("carries the traffic alone: {words}"),
        PortRole::Backup => words,
    };
    Verdict {
        health: reason.health(),
        words,
        advice: reason.advice(bond, engine),
    }
}
