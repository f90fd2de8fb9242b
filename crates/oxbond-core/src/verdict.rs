//! Whether a bond and its ports are as they should be, why, and what to do about it: the words that `status` and `explain`
//! share.

use serde::{Deserialize, Serialize};

/// How well something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    #[default]
    Well,
    /// Not yet, and nobody has to do anything: a delay runs, a partner is looked for.
    Passing,
    /// It will not mend by itself, or its user took it out.
    Degraded,
}

/// What is to be said of a bond or a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How well it is.
    pub health: Health,
    /// Why, in words: lower-case start, no full stop.
    pub words: String,
    /// What to do about it, where something can be done.
    pub advice: Option<String>,
}

impl Verdict {
    pub(crate) fn well(words: impl Into<String>) -> Self {
        Self::new(Health::Well, words, None)
    }

    pub(crate) fn passing(words: impl Into<String>, advice: Option<String>) -> Self {
        Self::new(Health::Passing, words, advice)
    }

    pub(crate) fn degraded(words: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Health::Degraded, words, Some(advice.into()))
    }

    fn new(health: Health, words: impl Into<String>, advice: Option<String>) -> Self {
        Self {
            health,
            words: words.into(),
            advice,
        }
    }
}
