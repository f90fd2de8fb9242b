//! Sending whole Ethernet frames by an interface.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::error::KernelError;
use crate::netlink::retry_interrupted;

/// A packet socket that only sends. Protocol 0: nothing is ever queued for reading.
#[derive(Debug)]
pub struct FrameSender {
    socket: OwnedFd,
}

impl AsFd for FrameSender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl FrameSender {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`.
    pub fn open() -> Result<Self, KernelError> {
        let socket = socket_with(
            AddressFamily::PACKET,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|e| KernelError::from_io("open", "a packet socket", &e.into()))?;
        Ok(Self { socket })
    }

    /// Sends a frame, from destination address on and without FCS, through the interface's queueing discipline and
    /// transmit hooks, as the system's own traffic goes.
    ///
    /// # Errors
    /// `ENETDOWN` when the interface is down, `EMSGSIZE` when the frame exceeds its MTU, `ENXIO` when it is gone.
    pub fn send(&self, ifindex: u32, frame: &[u8]) -> Result<(), KernelError> {
        let failed = |e: &io::Error| {
            KernelError::from_io("send a frame by", format!("interface {ifindex}"), e)
        };
        // SAFETY: a sockaddr_ll is plain numbers, for which all zeroes is a value.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as libc::sa_family_t;
        to.sll_ifindex = ifindex.cast_signed();
        // The stack reads skb->protocol from here, not from the frame.
        if let Some(ethertype) = frame.get(12..14) {
            to.sll_protocol = u16::from_ne_bytes([ethertype[0], ethertype[1]]);
        }
        // SAFETY: both pointers are valid for the lengths given beside them, and the kernel only reads.
        let sent = retry_interrupted(|| unsafe {
            let result = libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            );
            if result < 0 {
                Err(io::Error::last_os_error())
            } else {
                Ok(())
            }
        });
        sent.map_err(|e| failed(&e))
    }
}
