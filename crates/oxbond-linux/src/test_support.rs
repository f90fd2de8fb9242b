//! What the tests of this crate share: fresh namespaces, temporary directories, pictures of a namespace to compare.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

use crate::ipv6;
use crate::netlink::{Address, Link, Netlink};

/// Longest time that anything may take which is only waited for: what tests run on is shared and noisy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a test on a thread with network and mount namespaces of its own and a BPF file system at `/sys/fs/bpf`, all
/// of which vanish with the thread, however the test ends.
pub(crate) fn in_fresh_namespaces(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: the descriptor table stays shared; only this thread, which ends with the test, moves.
            unsafe {
                rustix::thread::unshare_unsafe(
                    UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::FS,
                )
            }
            .expect("these tests run as root");
            mount_change(
                "/",
                MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
            )
            .unwrap();
            mount("bpf", "/sys/fs/bpf", "bpf", MountFlags::empty(), None).unwrap();
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Makes the pair of devices `p0` and `q0`; their indexes.
pub(crate) fn veth_pair(nl: &mut Netlink) -> (u32, u32) {
    nl.create_veth("p0", "q0").unwrap();
    let mut index = |name| nl.link(name).unwrap().unwrap().index;
    (index("p0"), index("q0"))
}

/// A directory that goes away with its handle.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("oxbond-linux-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A test that panicked may have left something mounted inside; its mount namespace takes care of that.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Everything about a namespace that bonding may touch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Picture(Vec<(Link, Vec<Address>, Option<bool>)>);

impl Picture {
    /// Takes it. What counts events (carrier changes) is left out.
    pub(crate) fn take(nl: &mut Netlink) -> Self {
        let links = nl.links().unwrap();
        Self(
            links
                .into_iter()
                .map(|mut link| {
                    link.carrier_changes = 0;
                    let mut addresses = nl.addresses(link.index).unwrap();
                    addresses.sort();
                    let disabled = ipv6::is_disabled(&link.name).unwrap();
                    (link, addresses, disabled)
                })
                .collect(),
        )
    }

    /// The namespace looks like this again. The operational state and link-local addresses follow a change a moment
    /// later, so this waits for them.
    pub(crate) fn assert_again(&self, nl: &mut Netlink) {
        let end = Instant::now() + PATIENCE;
        loop {
            let now = Self::take(nl);
            if now == *self {
                return;
            }
            assert!(Instant::now() < end, "expected {self:#?}\nfound {now:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Asks again until the answer is yes; panics when that takes too long.
pub(crate) fn poll_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A tunnel device without Ethernet frames, for as long as the descriptor is open.
pub(crate) fn tun(name: &str) -> std::os::fd::OwnedFd {
    use std::os::fd::AsRawFd as _;

    let device = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .unwrap();
    // struct ifreq: 16 bytes of name, flags, padding up to 40 bytes.
    let mut request = [0_u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    let flags = u16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).unwrap();
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: TUNSETIFF reads and writes a struct ifreq, for which `request` has room.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    device.into()
}

/// Frames as they arrive at an interface.
pub(crate) struct FrameReceiver(std::os::fd::OwnedFd);

impl FrameReceiver {
    pub(crate) fn open(ifindex: u32) -> Self {
        use std::os::fd::AsRawFd as _;

        use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

        let socket = socket_with(
            AddressFamily::PACKET,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        // SAFETY: a sockaddr_ll is plain numbers, for which all zeroes is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
        address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap().to_be();
        address.sll_ifindex = i32::try_from(ifindex).unwrap();
        let length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap();
        // SAFETY: the kernel reads `length` bytes of `address`.
        let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        Self(socket)
    }

    /// Reads until a frame is as wanted; panics when that takes too long.
    pub(crate) fn wait_for(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};

        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no such frame in {PATIENCE:?}");
            let timeout = Timespec::try_from(left).unwrap();
            if poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout)).unwrap() == 0 {
                continue;
            }
            let mut frame = vec![0; 65_536];
            let length = rustix::io::read(&self.0, &mut frame).unwrap();
            frame.truncate(length);
            if wanted(&frame) {
                return frame;
            }
        }
    }
}
