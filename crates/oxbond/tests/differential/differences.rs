//! Where we differ from the driver, each difference with the fields it shows in. `docs/differences.md` tells users why; a
//! test compares its headings with the names here, another that each is met by a script.

use crate::observation::{OK, Observation};
use crate::script::{Port, Script, Step};

/// One field of one step that differs.
#[derive(Debug)]
pub(crate) struct Mismatch<'a> {
    pub(crate) script: &'a Script,
    /// Number of the step, from 0.
    pub(crate) step: usize,
    pub(crate) field: &'a str,
    pub(crate) driver: &'a str,
    pub(crate) ours: &'a str,
    /// All that the driver showed, step by step.
    pub(crate) seen: &'a [(u64, Observation)],
}

/// A difference that is known.
pub(crate) struct Difference {
    /// Heading of its paragraph in `docs/differences.md`.
    pub(crate) name: &'static str,
    /// Whether a mismatch is an instance of it.
    pub(crate) holds: fn(&Mismatch<'_>) -> bool,
}

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "A lost port's share in balance-rr goes to all others",
        holds: |m| m.mode() == "balance-rr" && m.field == "counts" && m.lacks_a_link(),
    },
    Difference {
        name: "When a port is lost, only its own flows move",
        holds: |m| {
            m.mode() == "balance-xor" && matches!(m.field, "counts" | "map") && m.lacks_a_link()
        },
    },
    Difference {
        name: "The first link that is back is used at once in every mode",
        holds: |m| {
            let state = m.field.ends_with("/MII Status");
            matches!(m.mode(), "balance-rr" | "broadcast")
                && state
                && m.driver != "up"
                && m.ours == "up"
        },
    },
    Difference {
        name: "A request is carried out whole or not at all",
        holds: |m| {
            let of_two = |(step, seen): (&Step, &(u64, Observation))| {
                let refused = seen.1.get("result") != Some(OK);
                refused && matches!(step, Step::Set(pairs) if pairs.len() > 1)
            };
            let before = m.script.steps[..m.step].iter().zip(m.seen);
            m.is_option() && before.into_iter().any(of_two)
        },
    },
    Difference {
        name: "Delays keep their milliseconds when miimon changes",
        holds: |m| m.script.name == "options-miimon-halved" && m.is_option(),
    },
    Difference {
        name: "A delay of 0 needs no miimon",
        holds: |m| {
            m.driver == "Operation not permitted (1)"
                && m.ours == OK
                && m.line().ends_with("delay 0")
        },
    },
    Difference {
        name: "Setting what is set already is no change",
        holds: |m| {
            let busy = m.driver.ends_with("has slaves (39)") || m.driver.ends_with("is up (16)");
            let now = m.seen[m.step + 1..]
                .iter()
                .chain(m.seen[..m.step].iter().rev());
            let value = |name: &str| {
                now.clone()
                    .find_map(|(_, seen)| seen.get(&format!("option/{name}")))
            };
            let same = |step: &Step| match step {
                Step::Set(pairs) => pairs.iter().all(|(name, wish)| value(name) == Some(wish)),
                _ => false,
            };
            busy && m.ours == OK && same(&m.script.steps[m.step])
        },
    },
    Difference {
        name: "A port may be up when it is added",
        holds: |m| {
            let refused = "Device can not be enslaved while up (1)";
            m.seen[..=m.step]
                .iter()
                .any(|(_, seen)| seen.get("result") == Some(refused))
        },
    },
    Difference {
        name: "An address that was given stays when the last port leaves",
        holds: |m| {
            let given = m.before().any(|step| matches!(step, Step::Address(_)));
            m.field == "mac" && given && m.driver == "<other>" && m.joined().is_empty()
        },
    },
    Difference {
        name: "A port that joins takes nothing from others",
        holds: |m| m.script.name == "active-backup-joining-moves-nobody" && m.after_add(),
    },
    Difference {
        name: "A link that is down keeps its LACP key",
        holds: |m| {
            m.field.ends_with(" actor lacp pdu:/    port key")
                && m.driver == "0"
                && m.lacks_a_link()
        },
    },
    Difference {
        name: "A port that is in sync is shown so at once",
        holds: |m| {
            let state = m.field.ends_with(" actor lacp pdu:/    port state");
            let churn = m.field.ends_with("/Actor Churn State");
            state && (m.driver, m.ours) == ("197", "205")
                || churn && (m.driver, m.ours) == ("monitoring", "none")
        },
    },
    Difference {
        name: "The LACP system has its identity before the first port joins",
        holds: |m| {
            m.field.starts_with("proc//System ")
                && matches!(m.driver, "0" | "00:00:00:00:00:00")
                && m.joined().is_empty()
        },
    },
];

impl<'a> Mismatch<'a> {
    fn line(&self) -> String {
        self.script.steps[self.step].to_string()
    }

    fn before(&self) -> impl Iterator<Item = &'a Step> + use<'a> {
        self.script.steps[..=self.step].iter()
    }

    /// The mode that was last set.
    fn mode(&self) -> &'a str {
        let mode = |step: &'a Step| match step {
            Step::Bond(pairs) | Step::Set(pairs) => pairs.iter().find(|(name, _)| name == "mode"),
            _ => None,
        };
        self.before()
            .filter_map(mode)
            .last()
            .map_or("balance-rr", |(_, value)| value)
    }

    fn joined(&self) -> Vec<Port> {
        let mut joined = Vec::new();
        for step in self.before() {
            match step {
                Step::Add(port) => joined.push(*port),
                Step::Remove(port) => joined.retain(|other| other != port),
                _ => {}
            }
        }
        joined
    }

    /// A port of the bond is without a link.
    fn lacks_a_link(&self) -> bool {
        let mut cut = Vec::new();
        for step in self.before() {
            match step {
                Step::Cut(port) => cut.push(*port),
                Step::Restore(port) => cut.retain(|other| other != port),
                _ => {}
            }
        }
        self.joined().iter().any(|port| cut.contains(port))
    }

    /// The field shows the value of an option.
    fn is_option(&self) -> bool {
        self.field.starts_with("option/") || self.field.starts_with("proc//")
    }

    /// A port has joined after the bond was set up.
    fn after_add(&self) -> bool {
        let up = self.before().position(|step| *step == Step::Up);
        up.is_some_and(|up| {
            self.before()
                .skip(up)
                .any(|step| matches!(step, Step::Add(_)))
        })
    }
}
