//! What one device receives, received by another: while a bond is moved from one front device to another.

use std::os::fd::AsFd as _;

use crate::attach::{self, Attachment};
use crate::clsact;
use crate::error::DatapathError;
use crate::load::Loaded;

/// Which frames take the detour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detoured {
    /// All.
    All,
    /// Those to one station. Those to groups are dropped: the other device gets its own copy of each.
    Unicast,
}

/// A detour. It ends with this value, and on kernels with tcx (6.6) with the process; before, [`Detour::clear`] takes
/// away what a killed process left.
#[derive(Debug)]
pub struct Detour {
    from: u32,
    /// `None` once it is taken away.
    attachment: Option<Attachment>,
}

impl Detour {
    /// Everything that `from` receives from now on is received by `to`. Needs what
    /// [`DataPath::install`](crate::DataPath::install) needs, and takes as long (some 100 ms).
    pub fn begin(from: u32, to: u32, which: Detoured) -> Result<Self, DatapathError> {
        let name = match which {
            Detoured::All => "detour",
            Detoured::Unicast => "detour_unicast",
        };
        let loaded = Loaded::open(to, &[], &[name])?;
        let program = loaded
            .programs
            .first()
            .ok_or_else(|| DatapathError::Contract("fewer programs than asked for".to_owned()))?;
        let attachment = attach::to_ingress(program.as_fd(), from, false).map_err(|error| {
            DatapathError::kernel(format!("attach a program to interface {from}"), error)
        })?;
        Ok(Self {
            from,
            attachment: Some(attachment),
        })
    }

    /// Ends it: the device receives what arrives.
    pub fn end(mut self) -> Result<(), DatapathError> {
        self.take_away()
    }

    fn take_away(&mut self) -> Result<(), DatapathError> {
        self.attachment.take().map_or(Ok(()), |attachment| {
            attachment.undo(self.from).map_err(|error| {
                DatapathError::kernel(
                    format!("take the filter off interface {}", self.from),
                    error,
                )
            })
        })
    }

    /// Takes a detour off a device that another process may have left there when it was killed. Neither a device without
    /// one nor one that is gone is an error.
    pub fn clear(from: u32) -> Result<(), DatapathError> {
        clsact::detach_ingress(from, true).map_err(|error| {
            DatapathError::kernel(format!("take the filter off interface {from}"), error)
        })
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        // Nobody is left to be told; it would hold up what the device receives.
        let _ = self.take_away();
    }
}
