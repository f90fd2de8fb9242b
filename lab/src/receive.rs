//! Batched receiving with the kernel's own time stamps, shared by the traffic meter and the capture.
//!
//! The kernel stamps a frame when it enters the stack, so a receiver that runs late still measures the wire. Stamps come
//! in wall-clock time; each batch converts them to the monotonic clock with the offset of that moment, so that a stepped
//! clock does no harm.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::time::ClockId;

/// Messages fetched by one system call.
const BATCH: usize = 64;
/// Room for control messages per message: a time stamp, a drop counter and packet details take about 80 bytes.
const CONTROL: usize = 256;
/// Socket buffer: half a second of 64-byte frames at 50,000 per second.
const SOCKET_BUFFER: usize = 32 << 20;

/// One received message.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// Its first bytes, at most as many as the receiver keeps.
    pub(crate) data: &'a [u8],
    /// Its whole length, bytes.
    pub(crate) length: usize,
    /// When the kernel received it, nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) at_ns: u64,
    /// VLAN tag that the kernel had taken off (TPID, TCI); packet sockets only.
    pub(crate) vlan: Option<(u16, u16)>,
    /// Whether this machine sent it; packet sockets only.
    pub(crate) outgoing: bool,
}

/// A socket with its buffers.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: OwnedFd,
    keep: usize,
    data: Vec<u8>,
    control: Vec<[u64; CONTROL / 8]>,
    overflowed: u32,
}

impl Receiver {
    /// Takes a bound datagram or packet socket; keeps `keep` bytes of every message.
    pub(crate) fn new(socket: OwnedFd, keep: usize) -> Result<Self> {
        for option in [libc::SO_TIMESTAMPNS, libc::SO_RXQ_OVFL] {
            enable(&socket, libc::SOL_SOCKET, option)?;
        }
        set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER)
            .context("cannot enlarge a socket's buffer: run as root (CAP_NET_ADMIN)")?;
        Ok(Self {
            socket,
            keep,
            data: vec![0; keep * BATCH],
            control: vec![[0; CONTROL / 8]; BATCH],
            overflowed: 0,
        })
    }

    /// Messages that the socket's buffer could not take, as far as later messages told.
    pub(crate) fn overflowed(&self) -> u32 {
        self.overflowed
    }

    /// Waits up to `timeout` and hands every waiting message to `take`, oldest first. Returns how many there were.
    pub(crate) fn receive(
        &mut self,
        timeout: Duration,
        mut take: impl FnMut(Message<'_>),
    ) -> Result<usize> {
        let wait = Timespec {
            tv_sec: timeout.as_secs().cast_signed(),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(0),
            Ok(_) => {}
            Err(error) => return Err(error).context("cannot poll a socket"),
        }
        let mut total = 0;
        loop {
            let n = self.batch(&mut take)?;
            total += n;
            if n < BATCH {
                return Ok(total);
            }
        }
    }

    fn batch(&mut self, take: &mut impl FnMut(Message<'_>)) -> Result<usize> {
        // SAFETY: all-zero bytes are valid for these plain C structures.
        let mut from: [libc::sockaddr_ll; BATCH] = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let mut parts: [libc::iovec; BATCH] = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        for (i, header) in headers.iter_mut().enumerate() {
            parts[i].iov_base = self.data[i * self.keep..].as_mut_ptr().cast();
            parts[i].iov_len = self.keep;
            header.msg_hdr.msg_iov = &raw mut parts[i];
            header.msg_hdr.msg_iovlen = 1;
            // A UDP sender's address is longer than a packet socket's and is cut off: nobody reads it.
            header.msg_hdr.msg_name = (&raw mut from[i]).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as u32;
            header.msg_hdr.msg_control = self.control[i].as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL;
        }
        // SAFETY: every pointer in `headers` refers to a buffer of the stated length that outlives the call.
        let n = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT | libc::MSG_TRUNC,
                std::ptr::null_mut(),
            )
        };
        let Ok(n) = usize::try_from(n) else {
            let error = std::io::Error::last_os_error();
            // ENETDOWN tells a packet socket once that its interface went down; it goes on when that comes back.
            return match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR | libc::ENETDOWN) => Ok(0),
                _ => Err(error).context("cannot receive from a socket"),
            };
        };
        let (monotonic, wall) = crate::at_once(|| crate::nanoseconds(ClockId::Realtime));
        for (i, header) in headers[..n].iter().enumerate() {
            let mut message = Message {
                data: &self.data[i * self.keep..][..self.keep.min(header.msg_len as usize)],
                length: header.msg_len as usize,
                at_ns: monotonic,
                vlan: None,
                outgoing: from[i].sll_pkttype == libc::PACKET_OUTGOING,
            };
            // SAFETY: the kernel has filled this header and its control buffer, which is aligned as `cmsghdr` demands.
            let mut control = unsafe { libc::CMSG_FIRSTHDR(&header.msg_hdr) };
            while !control.is_null() {
                // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a whole header within the buffer.
                let (level, kind, data) = unsafe {
                    (
                        (*control).cmsg_level,
                        (*control).cmsg_type,
                        libc::CMSG_DATA(control),
                    )
                };
                match (level, kind) {
                    (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                        // SAFETY: this message carries a timespec.
                        let stamp = unsafe { data.cast::<libc::timespec>().read_unaligned() };
                        let stamp = stamp.tv_sec as u64 * 1_000_000_000 + stamp.tv_nsec as u64;
                        message.at_ns = monotonic.saturating_sub(wall.saturating_sub(stamp));
                    }
                    (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                        // SAFETY: this message carries a 32-bit counter.
                        self.overflowed = unsafe { data.cast::<u32>().read_unaligned() };
                    }
                    (libc::SOL_PACKET, libc::PACKET_AUXDATA) => {
                        // SAFETY: this message carries a tpacket_auxdata.
                        let aux = unsafe { data.cast::<libc::tpacket_auxdata>().read_unaligned() };
                        if aux.tp_status & libc::TP_STATUS_VLAN_VALID != 0 {
                            message.vlan = Some((aux.tp_vlan_tpid, aux.tp_vlan_tci));
                        }
                    }
                    _ => {}
                }
                // SAFETY: `control` is a header of this message, as the kernel left it.
                control = unsafe { libc::CMSG_NXTHDR(&header.msg_hdr, control) };
            }
            take(message);
        }
        Ok(n)
    }
}

/// Sets a boolean socket option.
pub(crate) fn enable(socket: &impl AsFd, level: libc::c_int, option: libc::c_int) -> Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the value is an int of the stated size and outlives the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    ensure!(
        done == 0,
        "cannot set socket option {level}/{option}: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}
