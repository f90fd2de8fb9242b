//! Why a bond and its ports are as they are, and what to do about it; and which way a frame would take.
//!
//! ```text
//! bond0 (802.3ad): has carrier: 1 of 2 ports carry
//!   enp3s0  well      carries its share of the flows, 1 of 1
//!   enp4s0  degraded  partner never answered, for 12 s: is LACP on at the other end?
//!                     > switch LACP on (active or passive) at the switch's port for this cable; ...
//! ```

use oxbond_core::engine::Engine;
use oxbond_core::lacp::Participant;
use oxbond_core::status::{BondStatus, PortStatus, STATUS_VERSION};
use oxbond_core::verdict::Health;
use oxbond_wire::lacp::State;
use serde::Serialize;

use super::table::{columns, printable, wrap};
use crate::report::{BondReport, FrameReport};

/// Fewest columns that words are given, however narrow the terminal.
const WORDS_WIDTH_MIN: usize = 24;

/// What is told of one bond, or of one of its ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Explanation {
    version: u32,
    /// Name of the bond.
    pub(crate) bond: String,
    mode: &'static str,
    /// The worst of all below; of a port that was asked for, its own.
    pub(crate) health: Health,
    /// Of the bond as a whole.
    own: Told,
    /// Its ports, and those that are expected and missing.
    ports: Vec<Told>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Told {
    name: String,
    health: Health,
    why: String,
    advice: Option<String>,
    /// More to know, of a port that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
}

impl Explanation {
    /// Of a bond, or of one of its ports; `None` if it has no port of this name and expects none.
    pub(crate) fn of(report: &BondReport, port: Option<&str>) -> Option<Self> {
        let status = &report.status;
        let own = Told {
            name: status.name.clone(),
            health: status.verdict.health,
            why: status.verdict.words.clone(),
            advice: status.verdict.advice.clone(),
            details: carrier(report).into_iter().collect(),
        };
        let attached = status.ports.iter().map(|known| {
            let details = match port {
                Some(_) => details(known),
                None => Vec::new(),
            };
            Told {
                name: known.name.clone(),
                health: known.health,
                why: known.reason.clone(),
                advice: known.advice.clone(),
                details,
            }
        });
        let missing = status
            .missing()
            .map(|name| missing(status, name, report.hindered.get(name)));
        let mut ports: Vec<Told> = attached.chain(missing).collect();
        if let Some(name) = port {
            ports.retain(|told| told.name == name);
        }
        let worst = ports.iter().map(|told| told.health).max();
        let health = match port {
            Some(_) => worst?,
            None => own.health.max(worst.unwrap_or_default()),
        };
        Some(Self {
            version: STATUS_VERSION,
            bond: status.name.clone(),
            mode: status.options.mode.word(),
            health,
            own,
            ports,
        })
    }

    /// For people, within `width` columns where that is possible.
    pub(crate) fn text(&self, width: usize) -> String {
        let head = format!("{} ({}): ", printable(&self.bond), self.mode);
        let mut lines = block(&head, &self.own, "  ", width);
        let longest = |of: &dyn Fn(&Told) -> usize| self.ports.iter().map(of).max().unwrap_or(0);
        let names = longest(&|told| columns(&printable(&told.name)));
        let healths = longest(&|told| word(told.health).len());
        for told in &self.ports {
            let name = printable(&told.name);
            let fill = " ".repeat(names - columns(&name));
            let head = format!("  {name}{fill}  {:healths$}  ", word(told.health));
            let indent = " ".repeat(columns(&head));
            lines.extend(block(&head, told, &indent, width));
        }
        lines.join("\n") + "\n"
    }

    /// For machines.
    pub(crate) fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// What is not well, in a line.
    pub(crate) fn complaint(&self) -> String {
        let wrong = |health: Health| health != Health::Well;
        let ports = self.ports.iter().filter(|told| wrong(told.health));
        let names: Vec<&str> = ports.map(|told| told.name.as_str()).collect();
        match names.as_slice() {
            [] => format!("{} is not as it should be", self.bond),
            names => format!("{}: not as it should be: {}", self.bond, names.join(", ")),
        }
    }
}

/// The way of a frame, for people.
pub(crate) fn frame(bond: &str, report: &FrameReport) -> String {
    let ports = match report.ports.as_slice() {
        [] => "would be dropped".to_owned(),
        ports => format!("would leave on {}", ports.join(", ")),
    };
    let mut lines = vec![format!("{}: the frame {ports}", printable(bond))];
    lines.extend(report.steps.iter().map(|step| format!("  {step}")));
    lines.join("\n") + "\n"
}

fn missing(status: &BondStatus, name: &str, hindered: Option<&String>) -> Told {
    let bond = &status.name;
    let (why, advice) = match hindered {
        Some(why) => (
            format!("expected, and cannot join: {why}"),
            format!(
                "when that is mended, oxbond add-port {bond} {name} takes it in at once; oxbond remove-port {bond} {name} if it is not to join"
            ),
        ),
        None => (
            "expected, but there is no such interface".to_owned(),
            format!(
                "it joins when it appears; ip link tells which there are; oxbond remove-port {bond} {name} if it is not to come"
            ),
        ),
    };
    Told {
        name: name.to_owned(),
        health: Health::Degraded,
        why,
        advice: Some(advice),
        details: Vec::new(),
    }
}

/// That it is the driver that decides, and why that.
fn carrier(report: &BondReport) -> Option<String> {
    let engine = &report.engine;
    let by_driver = engine.engine == Engine::Kernel.word();
    by_driver.then(|| format!("carried by the kernel's driver: {}", engine.why))
}

/// What more is known of a port.
fn details(port: &PortStatus) -> Vec<String> {
    let mut details = Vec::new();
    let lost = port.link_failure_count;
    let speed = port.speed_mbps.map_or_else(
        || "unknown speed".to_owned(),
        |speed| format!("{speed} Mb/s"),
    );
    let times = if lost == 1 {
        "once"
    } else {
        &format!("{lost} times")
    };
    details.push(format!("{speed}; its link was lost {times}"));
    if let Some(lacp) = &port.lacp {
        let heard = lacp.heard.map_or_else(
            || "nothing heard from it".to_owned(),
            |heard| format!("last heard {:.1} s ago", heard.as_secs_f64()),
        );
        details.push(format!("we: {}", side(&lacp.actor)));
        details.push(format!("partner: {}; {heard}", side(&lacp.partner)));
        let counters = &lacp.counters;
        details.push(format!(
            "LACPDUs: {} sent, {} received, {} of them illegal",
            counters.lacpdus_tx, counters.lacpdus_rx, counters.illegal_rx
        ));
    }
    details
}

fn side(participant: &Participant) -> String {
    if participant.system.is_some_and(|system| system.is_zero()) {
        return "unknown".to_owned();
    }
    let Some(information) = participant.information() else {
        // The driver shows the rest to an administrator alone.
        return format!("state {}", flags(participant.state));
    };
    format!(
        "system {}, priority {}, key {}, port {}, state {}",
        information.system,
        information.system_priority,
        information.key,
        information.port,
        flags(information.state)
    )
}

fn flags(state: State) -> String {
    const NAMES: [(State, &str); 8] = [
        (State::ACTIVITY, "active"),
        (State::TIMEOUT, "short timeout"),
        (State::AGGREGATION, "aggregation"),
        (State::SYNC, "sync"),
        (State::COLLECTING, "collecting"),
        (State::DISTRIBUTING, "distributing"),
        (State::DEFAULTED, "defaulted"),
        (State::EXPIRED, "expired"),
    ];
    let set = NAMES.iter().filter(|(flag, _)| state.has(*flag));
    let names: Vec<&str> = set.map(|(_, name)| *name).collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        names => names.join("+"),
    }
}

const fn word(health: Health) -> &'static str {
    match health {
        Health::Well => "well",
        Health::Passing => "passing",
        Health::Degraded => "degraded",
    }
}

/// The words behind a head, then details and advice, all indented.
fn block(head: &str, told: &Told, indent: &str, width: usize) -> Vec<String> {
    let room = |taken: usize| width.saturating_sub(taken).max(WORDS_WIDTH_MIN);
    let mut lines = Vec::new();
    let mut say = |head: &str, hanging: &str, words: &str| {
        for (at, line) in wrap(&printable(words), room(columns(hanging)))
            .iter()
            .enumerate()
        {
            let before = if at == 0 { head } else { hanging };
            lines.push(format!("{before}{line}"));
        }
    };
    say(head, indent, &told.why);
    for detail in &told.details {
        say(indent, &format!("{indent}  "), detail);
    }
    if let Some(advice) = &told.advice {
        say(&format!("{indent}> "), &format!("{indent}  "), advice);
    }
    lines
}
