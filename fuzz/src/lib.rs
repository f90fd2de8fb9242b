//! One fuzz target for each decoder of Oxbond: a function of bytes that panics when it finds a bug.
//!
//! The same functions run in three ways: under libFuzzer (`fuzz/run TARGET`), over the corpus and mutations of it
//! in an ordinary test (`tests/smoke.rs`), and over one file (`fuzz/run TARGET FILE`).
#![forbid(unsafe_code)]

mod bond;
mod config;
mod corpus;
mod datapath;
mod mutate;
mod options;
mod program;
mod wire;

pub use corpus::seeds;
pub use mutate::Mutator;

type Run = dyn Fn(&[u8]) + Send + Sync;

/// A decoder under test.
pub struct Target {
    /// Its name: that of its directory in `fuzz/corpus/`.
    pub name: String,
    run: Box<Run>,
}

impl Target {
    fn new(name: &str, run: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self {
            name: name.to_owned(),
            run: Box::new(run),
        }
    }

    /// Runs it on one input.
    ///
    /// # Panics
    ///
    /// When the decoder does, or what it answers is not so.
    pub fn run(&self, input: &[u8]) {
        (self.run)(input);
    }
}

/// Every target. Dialects come from the list of `oxbond-config`, so a new one is among them by itself.
pub fn targets() -> Vec<Target> {
    let mut targets = vec![
        Target::new("ethernet", wire::ethernet),
        Target::new("arp", wire::arp),
        Target::new("ndp", wire::ndp),
        Target::new("lacp", wire::lacp),
        Target::new("marker", wire::marker),
        Target::new("probe", wire::probe),
        Target::new("aggregation", bond::aggregation),
        Target::new("overheard", bond::overheard),
        Target::new("options", options::options),
        Target::new("records", datapath::records),
        Target::new("control", program::control),
        Target::new("state", program::state),
    ];
    targets.extend(config::targets());
    targets
}
