//! The engines: what carries a bond in the kernel.

mod drift;
mod ebpf;
mod front;
mod handover;
pub mod kernel;
mod port;
mod queues;
#[cfg(test)]
mod tests;

use oxbond_core::option::OptionError;
use oxbond_core::port::PortId;
use oxbond_datapath::DatapathError;

pub use drift::Drift;
pub use ebpf::{BondSpec, Description, EbpfEngine, EngineRecord};
pub use handover::{Handover, HandoverError, NAME_NEW, Side, clear_new};
pub use port::{Originals, PortRecord};

use crate::error::KernelError;

/// Why an engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The kernel refused a setting.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The data path could not be loaded, attached, written or read.
    #[error(transparent)]
    DataPath(#[from] DatapathError),
    /// No kind of front device can be made and served here.
    #[error("cannot make a front device for {bond}: {reasons}")]
    NoFront {
        /// The bond.
        bond: String,
        /// What each kind failed by.
        reasons: String,
    },
    /// The bond's device is not what the record says.
    #[error("{bond} is gone: its device was deleted or replaced; make it anew with `oxbond up`")]
    Vanished {
        /// The bond.
        bond: String,
    },
    /// A port could not follow the bond's MTU; everything is back at the old one.
    #[error("{bond} stays at MTU {old}, because not all of its ports can do {new}: {cause}")]
    MtuImpossible {
        /// The bond.
        bond: String,
        /// The MTU that stays.
        old: u32,
        /// The MTU that was wanted.
        new: u32,
        /// The first port's refusal.
        cause: KernelError,
    },
    /// The engine has no such port: a bug of whoever asks.
    #[error("the engine of {bond} has no port {}; this is a bug of Oxbond, please report it", .port.index())]
    NoSuchPort {
        /// The bond.
        bond: String,
        /// The port asked for.
        port: PortId,
    },
    /// The kernel has no bonding driver, or would not load it.
    #[error(
        "cannot make a bond of the kernel's driver: {why}; or let Oxbond carry it: --engine ebpf"
    )]
    DriverMissing {
        /// Why.
        why: String,
    },
    /// An option, or a value of it, that no bond of the driver could have.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The driver acknowledged a setting, and shows another value, or none.
    #[error("{bond} did not take {option}={asked}: {}", shown_instead(.shown.as_deref(), *.since))]
    NotTaken {
        /// The bond, or its port.
        bond: String,
        /// The option.
        option: String,
        /// Value asked for.
        asked: String,
        /// Value that the driver shows; `None` when it shows none: it does not know the option.
        shown: Option<String>,
        /// Kernel that the option came with.
        since: Option<(u8, u8)>,
    },
    /// The driver refused a value that came with a later kernel than this.
    #[error("{cause}; {option} came with Linux {}.{}, and this is an older one", .since.0, .since.1)]
    TooNew {
        /// The option and its value.
        option: String,
        /// Kernel that it came with.
        since: (u8, u8),
        /// The driver's refusal.
        cause: KernelError,
    },
    /// All is as asked, but for what the kernel dropped while the bond was down.
    #[error("{bond} was set down for it, and not all that the kernel dropped then could be put back: {}", join(.left))]
    NotPutBack {
        /// The bond.
        bond: String,
        /// What could not be put back.
        left: Vec<Self>,
    },
    /// The engine has no such port: a bug of whoever asks.
    #[error(
        "the engine of {bond} has no port with interface index {ifindex}; this is a bug of Oxbond, please report it"
    )]
    NotAPort {
        /// The bond.
        bond: String,
        /// The port asked for.
        ifindex: u32,
    },
    /// Something failed, and so did undoing what was done before it.
    #[error("{cause}; undoing it failed too: {}", join(.left))]
    NotUndone {
        /// What failed first.
        cause: Box<Self>,
        /// What could not be undone.
        left: Vec<Self>,
    },
}

impl EngineError {
    /// The caller lacks the privilege for it.
    pub fn is_permission(&self) -> bool {
        match self {
            Self::Kernel(error)
            | Self::MtuImpossible { cause: error, .. }
            | Self::TooNew { cause: error, .. } => error.is_permission(),
            Self::DataPath(error) => matches!(error, DatapathError::Permission { .. }),
            Self::NotUndone { cause, .. } => cause.is_permission(),
            Self::NotPutBack { left, .. } => left.iter().any(Self::is_permission),
            Self::NoFront { .. }
            | Self::Vanished { .. }
            | Self::NoSuchPort { .. }
            | Self::DriverMissing { .. }
            | Self::Option(_)
            | Self::NotTaken { .. }
            | Self::NotAPort { .. } => false,
        }
    }

    /// Another kind of front device would fail the same way: no privilege, the name is taken; or trying would hide that
    /// half a bond is left behind.
    const fn spares_another_try(&self) -> bool {
        matches!(
            self,
            Self::NotUndone { .. }
                | Self::DataPath(DatapathError::Permission { .. })
                | Self::Kernel(KernelError {
                    errno: libc::EPERM | libc::EEXIST,
                    ..
                })
        )
    }

    /// Adds what an attempt to undo left behind, if anything.
    fn after_undo(self, left: Vec<Self>) -> Self {
        if left.is_empty() {
            self
        } else {
            Self::NotUndone {
                cause: Box::new(self),
                left,
            }
        }
    }
}

fn shown_instead(shown: Option<&str>, since: Option<(u8, u8)>) -> String {
    match (shown, since) {
        (Some(shown), _) => format!("the driver shows {shown:?}"),
        (None, Some((major, minor))) => format!(
            "the driver of this kernel does not know this option, which came with Linux {major}.{minor}"
        ),
        (None, None) => "the driver does not have this option".to_owned(),
    }
}

fn join(errors: &[EngineError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
