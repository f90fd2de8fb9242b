//! The hook of kernels without tcx: a `clsact` queueing discipline with our program as a direct-action filter.
//!
//! Nothing here can be pinned; a filter lives on its device until somebody deletes it. Ours are known by
//! [`PRIORITY`] and [`HANDLE`]. Minimum kernel version: 4.5.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// Priority of our filter on a hook; tc's own automatic ones begin at 49152 and come after.
const PRIORITY: u32 = 0x6f78;
/// Handle of our filter within its priority.
const HANDLE: u32 = 0x6f78;
/// Shown by `tc filter show`.
const NAME: &[u8] = b"oxbond\0";

const CLSACT_PARENT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_GETTFILTER: u16 = 46;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER_LEN: usize = 16;
const TCMSG_LEN: usize = 20;

/// Hangs a program on a device's ingress, in place of an earlier one of ours. `true` when the qdisc was made for it.
pub(crate) fn attach_ingress(program: BorrowedFd<'_>, ifindex: u32) -> io::Result<bool> {
    let socket = Socket::open()?;
    let qdisc = Request::new(RTM_NEWQDISC, libc::NLM_F_CREATE | libc::NLM_F_EXCL, ifindex)
        .tc(CLSACT_HANDLE, CLSACT_PARENT, 0)
        .attribute(TCA_KIND, b"clsact\0");
    let made = match socket.call(qdisc) {
        Ok(_) => true,
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => false,
        Err(error) => return Err(error),
    };
    let filter = Request::new(RTM_NEWTFILTER, libc::NLM_F_CREATE, ifindex)
        .tc(HANDLE, INGRESS, filter_info())
        .attribute(TCA_KIND, b"bpf\0")
        .nested(TCA_OPTIONS, |options| {
            options
                .attribute(TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes())
                .attribute(TCA_BPF_NAME, NAME)
                .attribute(TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes())
        });
    if let Err(error) = socket.call(filter) {
        if made {
            // The error that counts is the filter's; an empty qdisc that stays behind does no harm.
            let _ = delete_qdisc(&socket, ifindex);
        }
        return Err(error);
    }
    Ok(made)
}

/// Whether our filter is on a device's ingress. `false` also when the device is gone.
pub(crate) fn is_attached(ifindex: u32) -> io::Result<bool> {
    let socket = Socket::open()?;
    Ok(filters(&socket, ifindex, INGRESS)?.contains(&(PRIORITY, HANDLE)))
}

/// Takes our filter off a device's ingress, and the qdisc too if `qdisc_ours` and nobody else has a filter there.
pub(crate) fn detach_ingress(ifindex: u32, qdisc_ours: bool) -> io::Result<()> {
    let socket = Socket::open()?;
    let filter = Request::new(RTM_DELTFILTER, 0, ifindex)
        .tc(HANDLE, INGRESS, filter_info())
        .attribute(TCA_KIND, b"bpf\0");
    ignore_missing(socket.call(filter).map(drop))?;
    if qdisc_ours
        && filters(&socket, ifindex, INGRESS)?.is_empty()
        && filters(&socket, ifindex, EGRESS)?.is_empty()
    {
        ignore_missing(delete_qdisc(&socket, ifindex))?;
    }
    Ok(())
}

fn filter_info() -> u32 {
    PRIORITY << 16 | u32::from((libc::ETH_P_ALL as u16).to_be())
}

fn delete_qdisc(socket: &Socket, ifindex: u32) -> io::Result<()> {
    let request = Request::new(RTM_DELQDISC, 0, ifindex)
        .tc(CLSACT_HANDLE, CLSACT_PARENT, 0)
        .attribute(TCA_KIND, b"clsact\0");
    socket.call(request).map(drop)
}

/// Priority and handle of every filter on a hook.
fn filters(socket: &Socket, ifindex: u32, parent: u32) -> io::Result<Vec<(u32, u32)>> {
    let request = Request::new(RTM_GETTFILTER, libc::NLM_F_DUMP, ifindex).tc(0, parent, 0);
    let answer = match socket.call(request) {
        Err(error) if is_missing(&error) => Vec::new(),
        other => other?,
    };
    let filters = answer.into_iter().filter_map(|(kind, body)| {
        let word = |at: usize| {
            body.get(at..at + 4)?
                .first_chunk()
                .map(|bytes| u32::from_ne_bytes(*bytes))
        };
        let (handle, info) = (word(8)?, word(16)?);
        // A filter's chain is announced with handle 0 before its members.
        (kind == RTM_NEWTFILTER && handle != 0).then_some((info >> 16, handle))
    });
    Ok(filters.collect())
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if is_missing(&error) => Ok(()),
        other => other,
    }
}

/// The filter, its qdisc (EINVAL) or its device is not there.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ENODEV | libc::EINVAL)
    )
}

/// One request being written.
struct Request(Vec<u8>);

impl Request {
    fn new(kind: u16, flags: i32, ifindex: u32) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&0_u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(
            &((flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes(),
        );
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&ifindex.to_ne_bytes());
        Self(bytes)
    }

    fn tc(mut self, handle: u32, parent: u32, info: u32) -> Self {
        for word in [handle, parent, info] {
            self.0.extend_from_slice(&word.to_ne_bytes());
        }
        self
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.0
            .extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn nested(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let inside = fill(Self(Vec::new())).0;
        self = self.attribute(kind, &inside);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_ne_bytes());
        self.0
    }
}

/// A routing netlink socket for one request at a time.
struct Socket(OwnedFd);

impl Socket {
    fn open() -> io::Result<Self> {
        // SAFETY: no pointers.
        let fd = unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                libc::NETLINK_ROUTE,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends a request and gathers the answers (type and body) until the acknowledgement or the end of the dump.
    fn call(&self, request: Request) -> io::Result<Vec<(u16, Vec<u8>)>> {
        let bytes = request.finish();
        // SAFETY: `bytes` outlives the call, which reads no more than its length.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut answers = Vec::new();
        let mut buffer = vec![0_u8; 32768];
        loop {
            // SAFETY: `buffer` outlives the call, which writes no more than its length.
            let got = unsafe {
                libc::recv(
                    self.0.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    0,
                )
            };
            let Ok(got) = usize::try_from(got) else {
                return Err(io::Error::last_os_error());
            };
            if read_messages(&buffer[..got], &mut answers)? {
                return Ok(answers);
            }
        }
    }
}

/// Takes one datagram apart. `true` once the conversation is over.
fn read_messages(mut datagram: &[u8], answers: &mut Vec<(u16, Vec<u8>)>) -> io::Result<bool> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    while let Some(header) = datagram.first_chunk::<HEADER_LEN>() {
        let [l0, l1, l2, l3, k0, k1, ..] = *header;
        let len = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let kind = u16::from_ne_bytes([k0, k1]);
        let body = datagram.get(HEADER_LEN..len).ok_or_else(malformed)?;
        match kind {
            NLMSG_ERROR | NLMSG_DONE => {
                // Both carry 0 or a negative error number; an old kernel's DONE may carry nothing.
                let code = body
                    .first_chunk()
                    .map_or(0, |code| i32::from_ne_bytes(*code));
                return if code == 0 {
                    Ok(true)
                } else {
                    Err(io::Error::from_raw_os_error(-code))
                };
            }
            _ if body.len() >= TCMSG_LEN => answers.push((kind, body.to_vec())),
            _ => return Err(malformed()),
        }
        datagram = datagram.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}
