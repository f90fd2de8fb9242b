//! Which engine carries a bond: our own programs, or the kernel's bonding driver.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

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

    /// Whether it is ours: [`OptionSpec`](crate::option::OptionSpec) tells what our own has beyond the driver.
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
}
