//! Network namespaces: the current one, one at a path, a new anonymous one.
//!
//! A thread belongs to a namespace, not a process: whoever wants to work in another one does it on a thread that ends
//! there, so that no thread ever has to find its way back.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::error::KernelError;

/// Whether the calling thread is in the network namespace of the system's first process, whose interfaces the system's
/// own programs (udev, systemd-resolved) speak of. To be asked with all of root's capabilities: without `CAP_SYS_PTRACE`
/// the answer is no.
pub fn is_first() -> bool {
    let identity = |path: &str| std::fs::metadata(path).map(|found| (found.dev(), found.ino()));
    identity("/proc/1/ns/net")
        .is_ok_and(|first| identity("/proc/thread-self/ns/net").is_ok_and(|ours| ours == first))
}

/// A network namespace, kept alive by this handle.
#[derive(Debug)]
pub struct NetNs {
    fd: OwnedFd,
}

impl NetNs {
    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn current() -> Result<Self, KernelError> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// The namespace at a path: `/run/netns/NAME` as `ip netns` makes them, `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn open(path: &Path) -> Result<Self, KernelError> {
        let file = File::open(path).map_err(|e| {
            KernelError::from_io("open network namespace", path.display().to_string(), &e)
        })?;
        Ok(Self { fd: file.into() })
    }

    /// A new, empty namespace without a name. It and everything in it vanish with the last handle and thread.
    ///
    /// # Errors
    /// Without `CAP_SYS_ADMIN`.
    pub fn create() -> Result<Self, KernelError> {
        on_thread(|| {
            // SAFETY: only the network namespace is unshared, not the descriptor table, and only of this thread, which
            // ends right after.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
                .map_err(|e| KernelError::from_io("create", "a network namespace", &e.into()))?;
            Self::current()
        })
    }

    /// Runs `work` on a thread of its own inside the namespace. A panic inside goes on outside.
    ///
    /// # Errors
    /// Without `CAP_SYS_ADMIN`, or when the handle is not a network namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, KernelError> {
        on_thread(|| {
            move_into_link_name_space(self.fd.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|e| KernelError::from_io("enter", "the network namespace", &e.into()))?;
            Ok(work())
        })
    }

    /// A number that no other namespace has or had since boot (Linux 5.14). Names what belongs to one namespace in
    /// directories that all of them share.
    ///
    /// # Errors
    /// As [`NetNs::enter`]; `ENOPROTOOPT` from older kernels.
    pub fn cookie(&self) -> Result<u64, KernelError> {
        self.enter(cookie_here)?
    }
}

/// As [`NetNs::cookie`], of the calling thread's namespace: that takes no privilege.
///
/// # Errors
/// `ENOPROTOOPT` from kernels before 5.14.
pub fn cookie_here() -> Result<u64, KernelError> {
    let failed = |e: io::Error| KernelError::from_io("read", "the network namespace's cookie", &e);
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::DGRAM,
        None,
    )
    .map_err(|e| failed(e.into()))?;
    let mut cookie = 0_u64;
    let mut length: libc::socklen_t = 8;
    // SAFETY: the kernel writes at most `length` bytes to `cookie`, which has that many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(cookie)
    } else {
        Err(failed(io::Error::last_os_error()))
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Not in the `libc` crate. `include/uapi/asm-generic/socket.h`.
const SO_NETNS_COOKIE: libc::c_int = 71;

fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Netlink;

    #[test]
    fn root_a_new_namespace_is_empty_apart_and_has_its_own_cookie() {
        let (one, two) = (NetNs::create().unwrap(), NetNs::create().unwrap());
        let names = |ns: &NetNs| {
            ns.enter(|| {
                Netlink::open()
                    .unwrap()
                    .links()
                    .unwrap()
                    .into_iter()
                    .map(|l| l.name)
                    .collect::<Vec<_>>()
            })
            .unwrap()
        };
        one.enter(|| Netlink::open().unwrap().create_veth("p0", "q0").unwrap())
            .unwrap();
        assert!(names(&one).contains(&"p0".to_owned()));
        assert!(!names(&two).contains(&"p0".to_owned()));
        assert_ne!(one.cookie().unwrap(), two.cookie().unwrap());
        assert_eq!(one.cookie().unwrap(), one.cookie().unwrap());
        let inside = two.enter(cookie_here).unwrap().unwrap();
        assert_eq!(inside, two.cookie().unwrap());
    }

    #[test]
    fn root_a_panic_within_comes_out() {
        let ns = NetNs::create().unwrap();
        let caught = std::panic::catch_unwind(|| ns.enter(|| panic!("inside")));
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"inside"));
    }
}
