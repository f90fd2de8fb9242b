//! A host with two or more ports and a veth front, ready for a data path; and a BPF file system nobody else sees.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(
    clippy::unwrap_used,
    reason = "the bench is no test by clippy's reckoning, but shares this"
)]

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use oxbond_core::port::PortId;
use oxbond_core::table::TransmitTable;
use oxbond_datapath::{DataPath, Front, FrontKind, Hook, LeftRecord, Record};
use oxbond_lab::machine::PATIENCE;
use oxbond_lab::netns::Namespace;
use oxbond_lab::rig::{Plan, Rig, Topology};
use oxbond_lab::traffic::Traffic;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

pub(crate) const HOST: &str = "10.77.0.10";
pub(crate) const PEER: &str = "10.77.0.1";
pub(crate) const HOST6: &str = "fd77::10";
pub(crate) const PEER6: &str = "fd77::1";

/// A BPF file system that is mounted nowhere: it is reached through its descriptor and goes away with it, so tests
/// leave nothing behind and do not meet.
pub(crate) struct Bpffs(OwnedFd);

impl Bpffs {
    pub(crate) fn new() -> Result<Self> {
        let context =
            fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC).context("open a BPF file system")?;
        fsconfig_create(&context)?;
        let mount = fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )?;
        Ok(Self(mount))
    }

    /// The pin directory of the one bond.
    pub(crate) fn dir(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/fd/{}/bond0",
            std::process::id(),
            self.0.as_raw_fd()
        ))
    }
}

/// A rig whose host has the front device `bond0` with the address [`HOST`], not yet a data path.
pub(crate) struct Stand {
    pub(crate) rig: Rig,
    pub(crate) bpffs: Bpffs,
    pub(crate) front: Front,
}

/// What a veth front and ports hang on where nothing is forced.
pub(crate) fn best_hook() -> Hook {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap(), numbers.next().unwrap());
    if version >= (6, 6) {
        Hook::Tcx
    } else {
        Hook::Clsact
    }
}

impl Stand {
    pub(crate) fn new(ports: &[&str]) -> Result<Self> {
        Self::with_front(ports, FrontKind::Veth)
    }

    pub(crate) fn with_front(ports: &[&str], kind: FrontKind) -> Result<Self> {
        let rig = Plan::new(Topology::OneSwitch, ports).build()?;
        rig.wait_ready(PATIENCE)?;
        let host = &rig.host;
        host.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
        for port in ports {
            host.sysctl(&format!("net.ipv6.conf.{port}.disable_ipv6"), "1")?;
        }
        match kind {
            FrontKind::Veth => {
                drop(host.ip("link add bond0 numtxqueues 16 type veth peer name inner0")?)
            }
            FrontKind::Netkit => host.run(add_netkit)?,
        }
        host.sysctl("net.ipv6.conf.bond0.disable_ipv6", "0")?;
        host.ip("link set inner0 up")?;
        host.ip("link set bond0 up")?;
        rig.add_address(host, "bond0", &format!("{HOST}/24"))?;
        rig.add_address(host, "bond0", &format!("{HOST6}/64"))?;
        let front = Front {
            kind,
            bond_ifindex: ifindex(host, "bond0")?,
            inner_ifindex: ifindex(host, "inner0")?,
        };
        Ok(Self {
            rig,
            bpffs: Bpffs::new()?,
            front,
        })
    }

    /// Keeps what nobody steers to the front's first transmit queue, as the engine does.
    pub(crate) fn keep_to_queue_0(&self) -> Result<()> {
        // The sysfs that is mounted shows the namespace of who mounted it.
        let script = "mount -t sysfs none /mnt && \
            printf %x $(( (1 << $(nproc --all)) - 1 )) > /mnt/class/net/bond0/queues/tx-0/xps_cpus";
        let status = self
            .host()
            .command("unshare")
            .args(["--mount", "sh", "-c", script])
            .status()?;
        anyhow::ensure!(status.success(), "{script}: {status}");
        Ok(())
    }

    pub(crate) fn host(&self) -> &Namespace {
        &self.rig.host
    }

    pub(crate) fn port_ifindex(&self, index: usize) -> Result<u32> {
        ifindex(self.host(), &self.rig.ports()[index])
    }

    /// Installs a data path with all ports attached and this table in force. To be called inside the host.
    pub(crate) fn install(&self, hook: Option<Hook>, table: &TransmitTable) -> Result<DataPath> {
        let mut path = DataPath::install_on(&self.bpffs.dir(), self.front, hook)?;
        for index in 0..self.rig.ports().len() {
            path.attach_port(port(index), self.port_ifindex(index)?)?;
        }
        path.set_table(table)?;
        Ok(path)
    }

    pub(crate) fn adopt(&self) -> Result<DataPath> {
        Ok(DataPath::adopt(&self.bpffs.dir())?)
    }

    /// IPv4 traffic between host and peer, both ways.
    pub(crate) fn traffic(&self) -> Traffic {
        self.traffic_between(HOST, PEER)
    }

    pub(crate) fn traffic_between(&self, host: &str, peer: &str) -> Traffic {
        let (host, peer): (IpAddr, IpAddr) = (host.parse().unwrap(), peer.parse().unwrap());
        Traffic::new((self.host(), host), (&self.rig.peer, peer)).both_ways()
    }
}

/// The records of ports left, of everything that the programs tell.
pub(crate) fn departures(path: &mut DataPath) -> Vec<LeftRecord> {
    let left = |record| match record {
        Record::Left(left) => Some(left),
        Record::Frame(_) => None,
    };
    path.drain().into_iter().filter_map(left).collect()
}

pub(crate) fn port(index: usize) -> PortId {
    PortId::new(index as u8).unwrap()
}

pub(crate) fn ports(indices: impl IntoIterator<Item = usize>) -> Vec<PortId> {
    indices.into_iter().map(port).collect()
}

pub(crate) fn ifindex(namespace: &Namespace, name: &str) -> Result<u32> {
    let index = namespace.link(name)?["ifindex"]
        .as_u64()
        .context("no ifindex")?;
    Ok(index as u32)
}

/// Makes a netkit pair `bond0`, `inner0` in mode L2, which Debian 12's `ip` cannot.
fn add_netkit() -> io::Result<()> {
    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }
    const RTM_NEWLINK: u16 = 16;
    const IFINFOMSG: [u8; 16] = [0; 16];
    let (ifname, linkinfo, num_tx_queues) = (3, 18, 31);
    let (info_kind, info_data, peer_info, mode) = (1, 2, 1, 5);
    let peer = [&IFINFOMSG[..], &attribute(ifname, b"inner0\0")].concat();
    let data = [
        attribute(peer_info, &peer),
        attribute(mode, &0_u32.to_ne_bytes()),
    ]
    .concat();
    let info = [
        attribute(info_kind, b"netkit\0"),
        attribute(info_data, &data),
    ]
    .concat();
    let body = [
        &IFINFOMSG[..],
        &attribute(ifname, b"bond0\0"),
        &attribute(num_tx_queues, &16_u32.to_ne_bytes()),
        &attribute(linkinfo, &info),
    ]
    .concat();
    let flags =
        (libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    let mut message = (body.len() as u32 + 16).to_ne_bytes().to_vec();
    message.extend([RTM_NEWLINK.to_ne_bytes(), flags.to_ne_bytes()].concat());
    message.extend([0; 8]);
    message.extend(body);

    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, send, socket};
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    send(&socket, &message, SendFlags::empty())?;
    let mut answer = [0; 4096];
    recv(&socket, &mut answer[..], RecvFlags::empty())?;
    match i32::from_ne_bytes(answer[16..20].try_into().unwrap()) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}
