//! Anonymous network namespaces: made by a thread, held by a file descriptor, gone when the last handle is dropped.
//!
//! Only the network namespace is changed, never the mount namespace: pins on bpffs stay visible to every process. The
//! price is that `/sys/class/net` shows the caller's namespace, not this one; ask [`Namespace::ip_json`] instead.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// A handle on an anonymous network namespace. Clones share it; the kernel removes the namespace, with its links, once
/// the last handle is dropped and the last process inside has ended.
#[derive(Debug, Clone)]
pub struct Namespace {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    fd: OwnedFd,
    label: String,
}

/// Tells the labels of one process's namespaces apart.
static NEXT: AtomicU32 = AtomicU32::new(0);

impl Namespace {
    /// Makes a namespace with its loopback up. `role` ("host", "switch") becomes part of the unique label.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN.
    pub fn new(role: &str) -> Result<Self> {
        let label = format!(
            "{role}-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let made = std::thread::spawn(|| -> Result<OwnedFd> {
            // SAFETY: only the network namespace is unshared; the descriptor table stays the process's own.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
                .context("cannot make a network namespace: run as root (CAP_SYS_ADMIN)")?;
            Ok(fs::File::open("/proc/thread-self/ns/net")?.into())
        });
        let fd = made
            .join()
            .map_err(|_| anyhow!("the thread that makes the namespace {label} panicked"))??;
        let namespace = Self {
            inner: Arc::new(Inner { fd, label }),
        };
        namespace.set_link("lo", true)?;
        Ok(namespace)
    }

    /// The unique label, for messages: role, process id and a counter.
    pub fn label(&self) -> &str {
        &self.inner.label
    }

    /// A path that `ip link ... netns PATH` and `setns` accept while this process lives.
    pub fn path(&self) -> String {
        format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.inner.fd.as_raw_fd()
        )
    }

    /// Runs `work` on a thread inside the namespace and returns its result. Sockets made there stay in the namespace
    /// wherever they are used later. A panic of `work` goes on in the caller.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter().unwrap_or_else(|error| {
                    panic!("cannot enter the namespace {}: {error}", self.label())
                });
                work()
            });
            inside
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread, for good, into the namespace.
    fn enter(&self) -> rustix::io::Result<()> {
        move_into_link_name_space(self.inner.fd.as_fd(), Some(LinkNameSpaceType::Network))
    }

    /// A command whose child process runs inside the namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let namespace = self.clone();
        // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
        unsafe { command.pre_exec(move || namespace.enter().map_err(Into::into)) };
        command
    }

    /// Runs `program` with `arguments` split at white space and returns its output.
    ///
    /// # Errors
    /// If it cannot be started or fails; the text holds the command line and what it wrote to standard error.
    pub fn execute(&self, program: &str, arguments: &str) -> Result<String> {
        let output = self
            .command(program)
            .args(arguments.split_whitespace())
            .output()
            .with_context(|| {
                format!("cannot run `{program}`: is its package installed? (lab/install.sh)")
            })?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!(
                "`{program} {arguments}` in {}: {}: {}",
                self.label(),
                output.status,
                stderr.trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs iproute2's `ip` inside: `ns.ip("link set eth0 mtu 9000")`.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub fn ip(&self, arguments: &str) -> Result<String> {
        self.execute("ip", arguments)
    }

    /// Runs `ip -d -j ...` and returns the array it prints (empty when it prints nothing).
    ///
    /// # Errors
    /// As [`Self::execute`], or output that is no JSON array.
    pub fn ip_json(&self, arguments: &str) -> Result<Vec<serde_json::Value>> {
        let text = self.execute("ip", &format!("-d -j {arguments}"))?;
        if text.trim().is_empty() {
            return Ok(Vec::new());
        }
        serde_json::from_str(&text)
            .with_context(|| format!("`ip -d -j {arguments}` printed no JSON: {text}"))
    }

    /// What `ip -d -j link show` says of one link.
    ///
    /// # Errors
    /// If there is no such link.
    pub fn link(&self, name: &str) -> Result<serde_json::Value> {
        let mut links = self.ip_json(&format!("link show dev {name}"))?;
        links.pop().with_context(|| {
            format!(
                "`ip link show dev {name}` in {} printed nothing",
                self.label()
            )
        })
    }

    /// Whether a link is administratively up and has carrier.
    ///
    /// # Errors
    /// If there is no such link.
    pub fn has_carrier(&self, name: &str) -> Result<bool> {
        Ok(has_flag(&self.link(name)?, "LOWER_UP"))
    }

    /// A link's hardware address, `aa:bb:cc:dd:ee:ff`.
    ///
    /// # Errors
    /// If there is no such link.
    pub fn mac(&self, name: &str) -> Result<String> {
        Ok(self.link(name)?["address"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }

    /// Sets a link administratively up or down by one ioctl: microseconds where a run of `ip` takes milliseconds.
    ///
    /// # Errors
    /// If there is no such link or the kernel refuses.
    pub fn set_link(&self, name: &str, up: bool) -> Result<()> {
        let what = if up { "up" } else { "down" };
        self.run(|| change_link_flags(name, up))
            .with_context(|| format!("cannot set the link {name} {what} in {}", self.label()))
    }

    /// Writes a setting below `/proc/sys`, dots or slashes between its parts: `net.ipv6.conf.all.disable_ipv6`.
    ///
    /// # Errors
    /// If the kernel has no such setting or refuses the value.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        self.run(|| fs::write(&path, value))
            .with_context(|| format!("cannot write {value:?} to {path} in {}", self.label()))
    }
}

/// Whether `ip -j link` lists a flag (`UP`, `LOWER_UP`) for a link.
pub(crate) fn has_flag(link: &serde_json::Value, wanted: &str) -> bool {
    link["flags"]
        .as_array()
        .is_some_and(|flags| flags.iter().any(|flag| flag == wanted))
}

/// SIOCGIFFLAGS and SIOCSIFFLAGS, from the calling thread's namespace.
fn change_link_flags(name: &str, up: bool) -> std::io::Result<()> {
    // SAFETY: plain system call; the descriptor it returns is checked and owned at once.
    let raw = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if raw < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: `raw` was opened above and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(std::io::Error::from(rustix::io::Errno::NAMETOOLONG));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: the kernel fills the request, which outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &mut request) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: SIOCGIFFLAGS has just written this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let bit = libc::IFF_UP as libc::c_short;
    request.ifr_ifru.ifru_flags = if up { flags | bit } else { flags & !bit };
    // SAFETY: the kernel reads the request, which outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(namespace: &Namespace) -> Vec<String> {
        let links = namespace.ip_json("link show").unwrap();
        links
            .iter()
            .map(|link| link["ifname"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn root_namespace_has_its_own_links_and_loopback_is_up() {
        let (a, b) = (Namespace::new("a").unwrap(), Namespace::new("b").unwrap());
        a.ip("link add only-in-a type veth peer name other-end")
            .unwrap();
        assert!(links(&a).contains(&"only-in-a".to_owned()));
        assert!(!links(&b).contains(&"only-in-a".to_owned()));
        assert!(a.has_carrier("lo").unwrap() && b.has_carrier("lo").unwrap());
        assert_ne!(a.label(), b.label());
    }

    #[test]
    fn root_caller_stays_outside() {
        let before = fs::read_link("/proc/thread-self/ns/net").unwrap();
        let namespace = Namespace::new("outside").unwrap();
        let inside = namespace.run(|| fs::read_link("/proc/thread-self/ns/net").unwrap());
        assert_ne!(inside, before);
        assert_eq!(fs::read_link("/proc/thread-self/ns/net").unwrap(), before);
    }

    #[test]
    fn root_links_go_with_the_last_handle() {
        let (a, b) = (
            Namespace::new("stays").unwrap(),
            Namespace::new("goes").unwrap(),
        );
        a.ip(&format!(
            "link add here type veth peer name there netns {}",
            b.path()
        ))
        .unwrap();
        drop(b);
        crate::proc::wait_until(
            crate::machine::PATIENCE,
            "the veth end goes with its namespace",
            || !links(&a).contains(&"here".to_owned()),
        )
        .unwrap();
    }

    #[test]
    fn root_errors_name_command_and_cause() {
        let namespace = Namespace::new("errors").unwrap();
        let error = format!("{:#}", namespace.ip("link set absent up").unwrap_err());
        assert!(
            error.contains("ip link set absent up") && error.contains("absent"),
            "{error}"
        );
        let error = format!("{:#}", namespace.set_link("absent", true).unwrap_err());
        assert!(error.contains("No such device"), "{error}");
    }

    #[test]
    fn root_panic_within_reaches_the_caller() {
        let namespace = Namespace::new("panic").unwrap();
        let caught = std::panic::catch_unwind(|| namespace.run(|| panic!("from inside")));
        assert_eq!(
            caught.unwrap_err().downcast_ref::<&str>(),
            Some(&"from inside")
        );
    }

    #[test]
    fn root_sysctl_is_the_namespaces_own() {
        let (a, b) = (Namespace::new("a").unwrap(), Namespace::new("b").unwrap());
        a.sysctl("net.ipv4.conf.default.arp_ignore", "1").unwrap();
        let read = || fs::read_to_string("/proc/sys/net/ipv4/conf/default/arp_ignore").unwrap();
        assert_eq!((a.run(read).trim(), b.run(read).trim()), ("1", "0"));
    }
}
