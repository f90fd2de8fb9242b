//! Packet capture in a namespace: what really passed an interface, when, and which way.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::netns::Namespace;
use crate::proc::wait_until;
use crate::receive::{Receiver, enable};

/// Bytes kept of every frame: any header we look at. GSO frames are longer.
const KEEP: usize = 256;

/// A captured frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When the kernel saw it, counted from the capture's start.
    pub at: Duration,
    /// Whether the namespace sent it through the interface, rather than received it.
    pub outgoing: bool,
    /// Its first 256 bytes from the destination address on, VLAN tag in place as on the wire. Checksums that the device is
    /// to fill in are not filled in.
    pub data: Vec<u8>,
    /// Its whole length, bytes; up to 64 KiB where the device segments.
    pub length: usize,
}

impl Frame {
    /// Destination MAC address.
    pub fn destination(&self) -> [u8; 6] {
        self.bytes(0)
    }

    /// Source MAC address.
    pub fn source(&self) -> [u8; 6] {
        self.bytes(6)
    }

    /// The VLAN identifier of the outermost tag (802.1Q or 802.1ad).
    pub fn vlan(&self) -> Option<u16> {
        let tagged = matches!(self.bytes(12), [0x81, 0x00] | [0x88, 0xa8]);
        tagged.then(|| u16::from_be_bytes(self.bytes(14)) & 0x0fff)
    }

    /// The EtherType behind at most one VLAN tag.
    pub fn ethertype(&self) -> u16 {
        u16::from_be_bytes(self.bytes(if self.vlan().is_some() { 16 } else { 12 }))
    }

    /// Zeros where a frame is too short: no real frame is.
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.data
            .get(at..at + N)
            .and_then(|bytes| bytes.try_into().ok())
            .unwrap_or([0; N])
    }
}

/// A running capture; dropping it ends it.
#[derive(Debug)]
pub struct Capture {
    started: Instant,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<u32>>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    frames: Mutex<Vec<Frame>>,
}

impl Shared {
    fn frames(&self) -> MutexGuard<'_, Vec<Frame>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Capture {
    /// Captures every frame, both ways, that passes `interface` from now on. Does not set it promiscuous.
    ///
    /// # Errors
    /// If there is no such interface, or without CAP_NET_RAW.
    pub fn start(namespace: &Namespace, interface: &str) -> Result<Self> {
        let socket = namespace
            .run(|| open(interface))
            .with_context(|| format!("cannot capture on {interface} in {}", namespace.label()))?;
        let mut receiver = Receiver::new(socket, KEEP)?;
        let (started_ns, started) = crate::at_once(Instant::now);
        let shared = Arc::new(Shared::default());
        let store = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            loop {
                // Read before receiving, so that the last round takes what had arrived when the stop was asked for.
                let last = store.stop.load(Ordering::Acquire);
                let wait = if last {
                    Duration::ZERO
                } else {
                    Duration::from_millis(20)
                };
                receiver.receive(wait, |message| {
                    let mut data = message.data.to_vec();
                    let mut length = message.length;
                    if let (Some((tpid, tci)), true) = (message.vlan, data.len() >= 12) {
                        let [t0, t1] = tpid.to_be_bytes();
                        let [c0, c1] = tci.to_be_bytes();
                        data.splice(12..12, [t0, t1, c0, c1]);
                        length += 4;
                    }
                    let at = Duration::from_nanos(message.at_ns.saturating_sub(started_ns));
                    store.frames().push(Frame {
                        at,
                        outgoing: message.outgoing,
                        data,
                        length,
                    });
                })?;
                if last {
                    return Ok(receiver.overflowed());
                }
            }
        });
        Ok(Self {
            started,
            shared,
            thread: Some(thread),
        })
    }

    /// The moment from which [`Frame::at`] counts.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// What has been captured so far.
    pub fn frames(&self) -> Vec<Frame> {
        self.shared.frames().clone()
    }

    /// Waits for a frame that `wanted` accepts, past ones included, and returns the first.
    ///
    /// # Errors
    /// When `deadline` passes first; the text names `what`.
    pub fn wait_for(
        &self,
        deadline: Duration,
        what: &str,
        mut wanted: impl FnMut(&Frame) -> bool,
    ) -> Result<Frame> {
        let mut found = None;
        let mut seen = 0;
        wait_until(deadline, &format!("captured {what}"), || {
            let frames = self.shared.frames();
            found = frames[seen..].iter().find(|frame| wanted(frame)).cloned();
            seen = frames.len();
            found.is_some()
        })?;
        found.context("the wait ended without a frame")
    }

    /// Ends the capture and returns everything that passed until now.
    ///
    /// # Errors
    /// If receiving failed or frames were missed.
    pub fn stop(mut self) -> Result<Vec<Frame>> {
        let missed = self.end().context("the capture has ended already")??;
        ensure!(
            missed == 0,
            "the capture missed {missed} frames: its buffer was full"
        );
        Ok(std::mem::take(&mut *self.shared.frames()))
    }

    fn end(&mut self) -> Option<Result<u32>> {
        self.shared.stop.store(true, Ordering::Release);
        let thread = self.thread.take()?;
        Some(
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow!("the capture's thread panicked"))),
        )
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // What went wrong in a capture that nobody asked for any more concerns nobody.
        let _ = self.end();
    }
}

/// Sends a complete Ethernet frame, destination address first, out of `interface`.
///
/// # Errors
/// If there is no such interface, it does not take the frame, or without CAP_NET_RAW.
pub fn send(namespace: &Namespace, interface: &str, frame: &[u8]) -> Result<()> {
    namespace.run(|| {
        let socket = open(interface)?;
        let sent = rustix::net::send(&socket, frame, rustix::net::SendFlags::empty())
            .with_context(|| format!("{interface} does not take the frame"))?;
        ensure!(
            sent == frame.len(),
            "{interface} took {sent} of {} bytes",
            frame.len()
        );
        Ok(())
    })
}

/// Frames sent at a rate, until it is stopped or dropped.
#[derive(Debug)]
pub struct Storm {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u64>>>,
}

impl Storm {
    /// Sends what `frame` makes of a number that counts from 0, `rate` times a second as far as the machine can. A full
    /// queue of the interface loses frames.
    ///
    /// # Errors
    /// If there is no such interface, or without CAP_NET_RAW.
    pub fn start(
        namespace: &Namespace,
        interface: &str,
        rate: u32,
        mut frame: impl FnMut(u64) -> Vec<u8> + Send + 'static,
    ) -> Result<Self> {
        let socket = namespace.run(|| open(interface))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let start = Instant::now();
            let mut count = 0;
            while !stopped.load(Ordering::Acquire) {
                let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
                while count < due && !stopped.load(Ordering::Acquire) {
                    match rustix::net::send(&socket, &frame(count), rustix::net::SendFlags::empty())
                    {
                        Ok(_) | Err(rustix::io::Errno::NOBUFS) => count += 1,
                        Err(error) => return Err(error.into()),
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(count)
        });
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Ends it and returns how many frames were sent.
    ///
    /// # Errors
    /// If sending failed.
    pub fn stop(mut self) -> Result<u64> {
        self.end().context("the storm has ended already")?
    }

    fn end(&mut self) -> Option<Result<u64>> {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take()?;
        let ended = thread.join();
        Some(ended.unwrap_or_else(|_| Err(anyhow!("the storm's thread panicked"))))
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        // What went wrong in a storm that nobody asks for any more concerns nobody.
        let _ = self.end();
    }
}

/// A packet socket for all protocols, bound to one interface of the calling thread's namespace.
fn open(interface: &str) -> Result<OwnedFd> {
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: plain system call; the descriptor it returns is checked and owned at once. Protocol 0 receives nothing
    // until the socket is bound to its interface.
    let raw = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    ensure!(
        raw >= 0,
        "no packet socket: {}",
        std::io::Error::last_os_error()
    );
    // SAFETY: `raw` was opened above and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    enable(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA)?;
    let index =
        rustix::net::netdevice::name_to_index(&socket, interface).context("no such interface")?;
    // SAFETY: all-zero bytes are a valid `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = index.cast_signed();
    // SAFETY: the address has the stated length and outlives the call.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    ensure!(
        bound == 0,
        "cannot bind the packet socket: {}",
        std::io::Error::last_os_error()
    );
    Ok(socket)
}
