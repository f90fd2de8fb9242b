//! One change of a bond, whatever carries it, and how it is told.

use oxbond_core::engine::Engine;
use oxbond_core::option::{
    BondOptions, Mode, OptionChange, OptionId, OptionSpec, OptionValue, PortOptionChange,
};
use oxbond_wire::MacAddr;

use crate::control::protocol::{BondRequest, PortRequest};
use crate::exit::Failure;
use crate::request::{known_in, parse_port_options, port_changes};

/// One change of a bond. It has no effect when it fails.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Join an interface.
    AddPort(PortRequest),
    /// Take a port out, or no longer expect one that is away.
    RemovePort(String),
    /// Change options of the bond.
    Options(Vec<OptionChange>),
    /// Change options of a port.
    PortOptions {
        /// Its name.
        port: String,
        /// The changes.
        changes: Vec<PortOptionChange>,
    },
    /// Take a port out of the traffic, or let it take part again.
    Drain {
        /// Its name.
        port: String,
        /// Out; else back.
        out: bool,
    },
    /// Set the MTU of bond and ports.
    Mtu(u32),
    /// Set the bond's address.
    Mac(MacAddr),
    /// Remember this as what was asked for.
    Wanted(BondRequest),
}

/// What became of the options that were asked for, and which others changed with them.
pub(super) fn options_told(
    engine: Engine,
    asked: &[OptionChange],
    before: &BondOptions,
    after: &BondOptions,
) -> Vec<String> {
    let told = |change: &OptionChange| {
        let (id, wished) = (change.id, change.text());
        let (value, rounded) = match change.value {
            // A deed, not a value to keep.
            _ if id == OptionId::ActiveSlave => (wished, String::new()),
            OptionValue::Number(_) if after.text(id) != wished => {
                (after.text(id), format!(", rounded from {wished}"))
            }
            _ => (after.text(id), String::new()),
        };
        set_to(id.name(), &value) + &rounded + &idle(engine, id.spec(), after.mode)
    };
    let along = after.changes_from(before);
    let along = along
        .iter()
        .filter(|change| !asked.iter().any(|asked| asked.id == change.id))
        .map(|change| set_to(change.id.name(), &change.text()) + " too");
    asked.iter().map(told).chain(along).collect()
}

/// Says so if an option does nothing in this mode.
fn idle(engine: Engine, spec: &OptionSpec, mode: Mode) -> String {
    match spec.acting_in(engine.is_own()).contains(mode) {
        true => String::new(),
        false => format!("; it has no effect in mode {}", mode.word()),
    }
}

/// A change of a port's options: how it is told, what is remembered of it, and what takes it back.
pub(super) struct PortChange {
    /// A line for each.
    pub(super) said: Vec<String>,
    /// Names and values.
    pub(super) newer: Vec<(String, String)>,
    /// The changes that take it back.
    pub(super) back: Vec<PortOptionChange>,
}

impl PortChange {
    /// Of a port that was asked to have the options `before`.
    pub(super) fn new(
        engine: Engine,
        mode: Mode,
        port: &str,
        before: &[(String, String)],
        changes: &[PortOptionChange],
    ) -> Result<Self, Failure> {
        let told = |change: &PortOptionChange| {
            set_to(&format!("{} of {port}", change.id), &change.text())
                + &idle(engine, change.id.spec(), mode)
        };
        let words = |change: &PortOptionChange| (change.id.to_string(), change.text());
        let newer: Vec<_> = changes.iter().map(words).collect();
        Ok(Self {
            said: changes.iter().map(told).collect(),
            back: port_changes(engine, mode, &awake(engine, mode, before), &newer)?,
            newer,
        })
    }
}

/// Those of a port's options that this mode has: what was asked for in another one sleeps until that returns.
pub(super) fn awake(
    engine: Engine,
    mode: Mode,
    options: &[(String, String)],
) -> Vec<(String, String)> {
    let is_known = |option: &&(String, String)| {
        let parsed = parse_port_options(std::slice::from_ref(option));
        parsed.is_ok_and(|parsed| !known_in(engine, mode, parsed).is_empty())
    };
    options.iter().filter(is_known).cloned().collect()
}

pub(super) fn set_to(what: &str, value: &str) -> String {
    match value {
        "" => format!("{what} is none now"),
        value => format!("{what} is now {value}"),
    }
}

/// Later words replace earlier ones of the same name.
pub(super) fn merge(options: &mut Vec<(String, String)>, newer: &[(String, String)]) {
    options.retain(|(name, _)| !newer.iter().any(|(newer, _)| newer == name));
    options.extend(newer.iter().cloned());
}

#[cfg(test)]
mod tests {
    use oxbond_core::option::BondContext;

    use super::*;

    /// What is answered when these are set one after the other; the last answer counts.
    fn told(sets: &[&[(&str, &str)]]) -> Vec<String> {
        let context = BondContext {
            own_engine: true,
            ..BondContext::default()
        };
        let mut options = BondOptions::default();
        let mut told = Vec::new();
        for set in sets {
            let changes: Vec<OptionChange> = set
                .iter()
                .map(|(name, value)| OptionChange::parse(name, value).unwrap())
                .collect();
            let after = options.apply(&changes, &context).unwrap().options;
            told = options_told(Engine::Ebpf, &changes, &options, &after);
            options = after;
        }
        told
    }

    #[test]
    fn the_answer_tells_what_changes_along() {
        assert_eq!(
            told(&[
                &[("miimon", "100"), ("updelay", "200")],
                &[("arp_interval", "500")]
            ]),
            [
                "arp_interval is now 500",
                "miimon is now 0 too",
                "updelay is now 0 too"
            ]
        );
        assert_eq!(
            told(&[&[("mode", "balance-alb")]]),
            ["mode is now balance-alb", "miimon is now 100 too"]
        );
    }

    #[test]
    fn the_answer_tells_a_value_that_was_rounded() {
        assert_eq!(
            told(&[&[("miimon", "100")], &[("updelay", "250")]]),
            ["updelay is now 200, rounded from 250"]
        );
    }

    #[test]
    fn the_answer_tells_that_an_option_has_no_effect() {
        assert_eq!(
            told(&[&[("min_links", "2")]]),
            ["min_links is now 2; it has no effect in mode balance-rr"]
        );
        assert_eq!(
            told(&[
                &[("mode", "802.3ad"), ("miimon", "100")],
                &[("min_links", "2")]
            ]),
            ["min_links is now 2"]
        );
        assert_eq!(
            told(&[&[("mode", "active-backup")], &[("primary", "")]]),
            ["primary is none now"]
        );
    }
}
