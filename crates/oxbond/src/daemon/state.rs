//! What one daemon leaves for the next: a file per bond, replaced whole, on the same tmpfs as the control socket.
//!
//! The file holds what was asked for, the core's exact state and the engine's record of what it found before it changed
//! anything. It is written after every change and before the answer goes out, so that a daemon killed at any moment
//! loses nothing that its user was told. What a daemon killed halfway leaves is recognised:
//!
//! | killed while | the files say | the next daemon |
//! |---|---|---|
//! | making or removing a bond | `BOND.unfinished`, or `.unfinished-kernel` where the driver has it, is there | takes apart what there is |
//! | adding or removing a port | the engine's record has a port that the core has not | gives that port back |
//! | a bond of the driver is set down for a change of its options | `BOND.interrupted` is there | makes it as it was before |
//! | applying a file | some steps done | has the bond as it then was; apply again |

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use oxbond_core::bond::Bond;
use oxbond_core::driver::Watch;
use oxbond_core::engine::Engine;
use oxbond_linux::engine::EngineRecord;
use oxbond_linux::engine::kernel::{KernelRecord, Scene};
use oxbond_linux::error::KernelError;
use oxbond_linux::files::{self, Draft, Mode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::{error, info};

use super::ebpf::Moving;
use super::kernel::Patience;
use super::moving::MoveNote;
use crate::control::protocol::BondRequest;
use crate::exit::{Blame, Failure};

/// Version of the file's form. A daemon that meets another one leaves the bond alone and says so.
pub(crate) const STATE_VERSION: u32 = 1;

/// Whoever may read the directory may read a new state file.
const MODE: Mode = Mode::KeptOr(0o644);
/// Endings of the marks of something unfinished.
const OWN_MARK: &str = "unfinished";
const DRIVER_MARK: &str = "unfinished-kernel";

/// Ending of the note of a move, see [`MoveNote`].
const MOVING: &str = "moving";
/// Ending of how a bond of the driver was before a change that interrupts it.
const INTERRUPTED: &str = "interrupted";

/// The content of a state file.
pub(crate) enum SavedBond {
    /// Of a bond on our own engine.
    Ebpf(Box<SavedEbpfBond>),
    /// Of a bond on the kernel's driver.
    Kernel(Box<SavedKernelBond>),
}

/// What is saved of a bond on our own engine.
#[derive(Serialize, Deserialize)]
pub(crate) struct SavedEbpfBond {
    /// [`STATE_VERSION`].
    pub(crate) version: u32,
    /// What was asked for.
    pub(crate) wanted: BondRequest,
    /// The core, as it stood.
    pub(crate) core: Bond,
    /// What the engine made and what it found.
    pub(crate) engine: EngineRecord,
    /// Expected ports that were drained when they vanished.
    #[serde(default)]
    pub(crate) drained_away: BTreeSet<String>,
    /// Why it is on this engine, in words.
    #[serde(default)]
    pub(crate) chosen: String,
    /// Where its move from the driver stands.
    #[serde(default)]
    pub(super) moving: Option<Moving>,
}

/// What is saved of a bond on the kernel's driver.
#[derive(Serialize, Deserialize)]
pub(crate) struct SavedKernelBond {
    /// [`STATE_VERSION`].
    pub(crate) version: u32,
    /// What was asked for.
    pub(crate) wanted: BondRequest,
    /// What the engine made and what it found.
    pub(crate) engine: KernelRecord,
    /// What was seen last of the bond.
    pub(crate) watch: Watch,
    /// Why it is on this engine, in words.
    pub(crate) chosen: String,
    /// The driver waits longer for answers than was asked for.
    #[serde(default)]
    pub(super) patience: Option<Patience>,
}

/// What tells one kind of state file from another.
#[derive(Deserialize)]
struct Kind {
    version: u32,
    /// Files of bonds on our own engine do not say it.
    #[serde(default = "own")]
    carried_by: Engine,
}

const fn own() -> Engine {
    Engine::Ebpf
}

impl SavedBond {
    /// Reads a state file.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let kind: Kind = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if kind.version != STATE_VERSION {
            return Err(format!(
                "it is of version {}, this daemon reads {STATE_VERSION}",
                kind.version
            ));
        }
        match kind.carried_by {
            Engine::Ebpf => serde_json::from_str(text).map(Self::Ebpf),
            Engine::Kernel => serde_json::from_str(text).map(Self::Kernel),
        }
        .map_err(|e| e.to_string())
    }
}

/// What the files tell of a bond that cannot be taken over, for taking it apart.
pub(crate) enum LeftOver {
    /// It was on our own engine; its record, where that can be read.
    Ebpf(Option<EngineRecord>),
    /// It was on the kernel's driver.
    Kernel(Option<KernelRecord>),
}

/// The directory of state files.
pub(crate) struct StateDir {
    dir: PathBuf,
}

impl StateDir {
    /// Uses `dir`, made if missing.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, Failure> {
        fs::create_dir_all(&dir).map_err(|e| {
            Failure::new(Blame::Kernel, format!("cannot make {}: {e}", dir.display()))
        })?;
        Ok(Self { dir })
    }

    /// The files of one bond, whether there are any or not.
    pub(crate) fn of(&self, bond: &str) -> BondFiles {
        BondFiles {
            state: self.dir.join(format!("{bond}.json")),
            own_mark: self.dir.join(format!("{bond}.{OWN_MARK}")),
            driver_mark: self.dir.join(format!("{bond}.{DRIVER_MARK}")),
            moving: self.dir.join(format!("{bond}.{MOVING}")),
            interrupted: self.dir.join(format!("{bond}.{INTERRUPTED}")),
            bond: bond.to_owned(),
            written: String::new(),
            unsaved: false,
        }
    }

    /// Names of the bonds of which there is a file.
    pub(crate) fn bonds(&self) -> Result<BTreeSet<String>, Failure> {
        let failed = |e: io::Error| {
            Failure::new(
                Blame::Kernel,
                format!("cannot list {}: {e}", self.dir.display()),
            )
        };
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let file = PathBuf::from(entry.map_err(failed)?.file_name());
            let ours = ["json", OWN_MARK, DRIVER_MARK, MOVING];
            if file
                .extension()
                .is_some_and(|ext| ours.iter().any(|known| ext == *known))
                && let Some(name) = file.file_stem().and_then(|name| name.to_str())
            {
                names.insert(name.to_owned());
            }
        }
        Ok(names)
    }
}

/// The files of one bond.
pub(crate) struct BondFiles {
    bond: String,
    state: PathBuf,
    /// What is there while a bond on our own engine is made or taken apart. Empty: that needs no room on the disk.
    own_mark: PathBuf,
    /// The same of one on the driver.
    driver_mark: PathBuf,
    /// What is there while the bond turns from one engine to another.
    moving: PathBuf,
    /// What is there while a bond of the driver is set down, or without its ports, for a change.
    interrupted: PathBuf,
    /// Text last written or read.
    written: String,
    /// The last attempt of [`BondFiles::save_or_log`] failed, which was said.
    unsaved: bool,
}

impl BondFiles {
    /// There is any of them.
    pub(crate) fn are_there(&self) -> bool {
        let all = [&self.state, &self.own_mark, &self.driver_mark, &self.moving];
        all.iter().any(|file| file.exists())
    }

    /// The state file.
    pub(crate) fn path(&self) -> &Path {
        &self.state
    }

    /// Notes that the bond is about to be made or taken apart.
    pub(crate) fn begin(&self, engine: Engine) -> Result<(), Failure> {
        let mark = match engine {
            Engine::Ebpf => &self.own_mark,
            Engine::Kernel => &self.driver_mark,
        };
        fs::File::create(mark)
            .map(drop)
            .map_err(|e| self.failed(&e))
    }

    /// The bond is whole.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        remove(&self.own_mark)?;
        remove(&self.driver_mark)
    }

    /// A daemon died while it made or took apart the bond.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.own_mark.exists() || self.driver_mark.exists()
    }

    /// Notes how far a move to another engine has come.
    pub(super) fn note_move(&self, note: &MoveNote) -> Result<(), Failure> {
        let text = serde_json::to_string(note)
            .map_err(|e| Failure::new(Blame::Bug, format!("cannot encode a move: {e}")))?;
        files::replace(&self.moving, text.as_bytes(), MODE).map_err(|e| self.failed(&e))
    }

    /// The note of a move that a daemon was killed in the middle of.
    pub(super) fn moved(&self) -> Option<Result<MoveNote, String>> {
        let text = match fs::read_to_string(&self.moving) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
            other => other.map_err(|e| e.to_string()),
        };
        Some(text.and_then(|text| serde_json::from_str(&text).map_err(|e| e.to_string())))
    }

    /// The move is over.
    pub(super) fn forget_move(&self) -> Result<(), Failure> {
        remove(&self.moving)
    }

    /// Keeps how the bond was before a change that interrupts it.
    pub(super) fn note_interruption(&self, scene: &Scene) -> Result<(), KernelError> {
        let failed = |e: &io::Error| {
            let errno = e.raw_os_error().unwrap_or(libc::EIO);
            KernelError::new("save", self.interrupted.display().to_string(), errno)
        };
        let text = serde_json::to_vec(scene).map_err(|e| failed(&e.into()))?;
        files::replace(&self.interrupted, &text, MODE).map_err(|e| failed(&e))
    }

    /// How the bond was before a change that a daemon was killed in the middle of.
    pub(super) fn interrupted(&self) -> Option<Result<Scene, String>> {
        let text = match fs::read_to_string(&self.interrupted) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
            other => other.map_err(|e| e.to_string()),
        };
        Some(text.and_then(|text| serde_json::from_str(&text).map_err(|e| e.to_string())))
    }

    /// The change is over.
    pub(super) fn forget_interruption(&self) -> Result<(), Failure> {
        remove(&self.interrupted)
    }

    /// Whether a somewhat larger state could be saved now: a change that would not survive this daemon is refused
    /// before it is begun.
    pub(crate) fn has_room(&self) -> Result<(), Failure> {
        Draft::of(&self.state, MODE)
            .and_then(|mut draft| draft.write(&vec![b' '; self.written.len() + 8192]))
            .map_err(|e| self.failed(&e))
    }

    /// Replaces the state by `text` unless it is the same already. On failure (a full disk) the old one stays.
    pub(crate) fn save(&mut self, text: String) -> Result<(), Failure> {
        if text == self.written {
            return Ok(());
        }
        files::replace(&self.state, text.as_bytes(), MODE).map_err(|e| self.failed(&e))?;
        self.written = text;
        Ok(())
    }

    /// Content of the state file for this state: [`SavedEbpfBond`], [`SavedKernelBond`], or what is written as one of them.
    pub(super) fn encode(&self, state: &impl Serialize) -> Result<String, Failure> {
        serde_json::to_string(state).map_err(|e| {
            let why = format!("cannot encode the state of {}: {e}", self.bond);
            Failure::new(Blame::Bug, why)
        })
    }

    /// As [`BondFiles::save`]; a failure is logged once, and it is for the caller to try again.
    pub(super) fn save_or_log(&mut self, text: Result<String, Failure>) {
        match text.and_then(|text| self.save(text)) {
            Err(failure) if !self.unsaved => {
                error!("{failure}");
                self.unsaved = true;
            }
            Ok(()) if self.unsaved => {
                info!("{}: the state is saved again", self.bond);
                self.unsaved = false;
            }
            _ => {}
        }
    }

    /// The last attempt of [`BondFiles::save_or_log`] failed.
    pub(super) const fn is_unsaved(&self) -> bool {
        self.unsaved
    }

    /// Reads the state.
    pub(crate) fn load(&mut self) -> Result<SavedBond, String> {
        let text = fs::read_to_string(&self.state).map_err(|e| e.to_string())?;
        let saved = SavedBond::parse(&text)?;
        self.written = text;
        Ok(saved)
    }

    /// What is known of a bond that cannot be taken over: the engine's record alone may be readable where the rest is not.
    pub(crate) fn left_over(&self) -> LeftOver {
        #[derive(Deserialize)]
        struct Recorded<R> {
            engine: R,
        }
        fn record<R: DeserializeOwned>(text: &str) -> Option<R> {
            let recorded: Recorded<R> = serde_json::from_str(text).ok()?;
            Some(recorded.engine)
        }
        let text = fs::read_to_string(&self.state).unwrap_or_default();
        let by_state = serde_json::from_str(&text).map(|kind: Kind| kind.carried_by);
        let by_mark = match self.driver_mark.exists() {
            true => Engine::Kernel,
            false => Engine::Ebpf,
        };
        match by_state.unwrap_or(by_mark) {
            Engine::Kernel => LeftOver::Kernel(record(&text)),
            Engine::Ebpf => LeftOver::Ebpf(record(&text)),
        }
    }

    /// Forgets the bond: its state first, so that a mark of something unfinished outlives it.
    pub(crate) fn forget(&self) -> Result<(), Failure> {
        remove(&self.state)?;
        self.forget_move()?;
        self.forget_interruption()?;
        self.finish()
    }

    fn failed(&self, e: &io::Error) -> Failure {
        let why = format!(
            "cannot save {}: {e}; without it a later daemon could not take the bond over, so make room there",
            self.state.display()
        );
        Failure::new(Blame::Kernel, why)
    }
}

fn remove(path: &Path) -> Result<(), Failure> {
    files::remove(path).map_err(|e| {
        Failure::new(
            Blame::Kernel,
            format!("cannot remove {}: {e}", path.display()),
        )
    })
}
