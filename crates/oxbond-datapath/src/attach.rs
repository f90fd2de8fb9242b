//! Hanging the programs on devices: by trying what the kernel has, best first.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::abi::{HOOK_CLSACT, QDISC_OURS};
use crate::pins::unpin;
use crate::sys::{AttachType, LinkKind};
use crate::{DatapathError, Hook, clsact, sys};

/// How a program came to hang on a device.
#[derive(Debug)]
pub(crate) enum Attachment {
    /// By a link, which must be pinned to outlive the descriptor.
    Link(OwnedFd),
    /// By a filter.
    Clsact {
        /// The queueing discipline was made for it.
        qdisc_ours: bool,
    },
}

impl Attachment {
    /// What the maps must remember of it, to undo it later.
    pub(crate) const fn flags(&self) -> u32 {
        match self {
            Self::Link(_) => 0,
            Self::Clsact { qdisc_ours: true } => HOOK_CLSACT | QDISC_OURS,
            Self::Clsact { qdisc_ours: false } => HOOK_CLSACT,
        }
    }

    /// Undoes it, for rolling back. A link that is not pinned goes with its descriptor.
    pub(crate) fn undo(self, ifindex: u32) -> io::Result<()> {
        match self {
            Self::Link(_) => Ok(()),
            Self::Clsact { qdisc_ours } => clsact::detach_ingress(ifindex, qdisc_ours),
        }
    }
}

/// To a device's ingress: tcx, and clsact on kernels before 6.6 (which answer EINVAL) or without it.
pub(crate) fn to_ingress(
    program: BorrowedFd<'_>,
    ifindex: u32,
    clsact_only: bool,
) -> io::Result<Attachment> {
    if !clsact_only {
        match sys::link_create(program, ifindex, AttachType::TcxIngress) {
            Ok(link) => return Ok(Attachment::Link(link)),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => {
            }
            Err(error) => return Err(error),
        }
    }
    clsact::attach_ingress(program, ifindex).map(|qdisc_ours| Attachment::Clsact { qdisc_ours })
}

/// Into the transmit of a netkit device. Minimum kernel version: 6.7.
pub(crate) fn to_netkit(program: BorrowedFd<'_>, ifindex: u32) -> io::Result<Attachment> {
    sys::link_create(program, ifindex, AttachType::NetkitPrimary).map(Attachment::Link)
}

/// Takes the program of a pinned link off its device, at once, and removes the pin. Without a pin nothing is to be done.
pub(crate) fn release(link_pin: &Path) -> Result<(), DatapathError> {
    match sys::open_pinned(link_pin).and_then(|link| sys::link_detach(link.as_fd())) {
        // Gone already, with its device.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOLINK)) => {}
        Err(error) => {
            return Err(DatapathError::kernel(
                format!("detach {}", link_pin.display()),
                error,
            ));
        }
        Ok(()) => {}
    }
    unpin(link_pin)
}

/// The hook in use on a device, `None` when the program no longer hangs there (the device is gone, or somebody took
/// it off). `flags` are those that the maps remember.
pub(crate) fn hook(link_pin: &Path, ifindex: u32, flags: u32) -> io::Result<Option<Hook>> {
    if flags & HOOK_CLSACT != 0 {
        return Ok(clsact::is_attached(ifindex)?.then_some(Hook::Clsact));
    }
    let link = match sys::open_pinned(link_pin) {
        Ok(link) => link,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let info = sys::link_info(link.as_fd())?;
    Ok(match info.kind {
        _ if info.ifindex != ifindex => None,
        LinkKind::Tcx => Some(Hook::Tcx),
        LinkKind::Netkit => Some(Hook::Netkit),
        LinkKind::Other(_) => None,
    })
}
