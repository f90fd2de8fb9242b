//! What can be seen of a bond after a step, as named values, so that two of them are compared field by field.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::script::PORTS;

/// Named values. `result` is what became of the step; a look adds the rest: `proc/..` are the lines of the bond's text
/// in `/proc`, `option/..` options, `p0/..` a port's facts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Observation(BTreeMap<String, String>);

/// A script as it went on one side: for each step, when it began (milliseconds) and what was seen after it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Played {
    pub(crate) script: String,
    pub(crate) steps: Vec<(u64, Observation)>,
}

/// Accepted.
pub(crate) const OK: &str = "ok";

impl Observation {
    pub(crate) fn result(what: impl Into<String>) -> Self {
        let mut observation = Self::default();
        observation.put("result", what.into());
        observation
    }

    pub(crate) fn put(&mut self, field: impl Into<String>, value: impl Into<String>) {
        self.0.insert(field.into(), value.into());
    }

    pub(crate) fn get(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    /// Takes the text in `/proc` apart: each line a field, and the order of all lines one more.
    pub(crate) fn put_proc(&mut self, text: &str) {
        let mut section = String::new();
        let mut order = Vec::new();
        // The first line names the version of whoever wrote it.
        for line in text.lines().skip(1) {
            let (name, value) = line.split_once(": ").unwrap_or((line, ""));
            if name == "Slave Interface" {
                value.clone_into(&mut section);
            } else if line.starts_with("details ") {
                section = format!("{} {line}", section.split(' ').next().unwrap_or_default());
            }
            let field = format!("proc/{section}/{}", name.trim_end_matches(':'));
            order.push(field.clone());
            self.put(field, neutral(value));
        }
        self.put("proc", order.join("\n"));
    }

    /// The fields in which two differ, with their values here and there; a field that is missing is empty.
    pub(crate) fn differing<'a>(&'a self, other: &'a Self) -> Vec<(&'a str, &'a str, &'a str)> {
        let names: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let of = |side: &'a Self, name: &str| side.get(name).unwrap_or_default();
        names
            .into_iter()
            .map(|name| (name.as_str(), of(self, name), of(other, name)))
            .filter(|(_, here, there)| here != there)
            .collect()
    }
}

/// Addresses of ports by their ports' names, all others alike.
pub(crate) fn neutral(text: &str) -> String {
    let is_address = |word: &str| word.len() == 17 && word.split(':').count() == 6;
    let zero = |word: &str| word.bytes().all(|byte| byte == b'0' || byte == b':');
    let words = text.split(' ').map(|word| {
        let port = PORTS.iter().find(|port| port.mac().to_string() == word);
        match port {
            Some(port) => format!("<{port}>"),
            None if is_address(word) && !zero(word) => "<other>".to_owned(),
            None => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}
