//! What an interface is made of: its driver, and where it is plugged in.

use std::fs;
use std::os::fd::AsRawFd as _;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::error::KernelError;

/// An interface's hardware, as far as anybody tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// Name of its driver.
    pub driver: Option<String>,
    /// Where it is plugged in, as udev's `ID_PATH` says it: `pci-0000:03:00.0`.
    pub path: Option<String>,
}

/// Asks udev and the driver of an interface. A device that neither knows gives nothing. udev speaks of the interfaces of
/// the first namespace only: `first_namespace` is [`is_first`](crate::netns::is_first)'s answer.
///
/// # Errors
/// When the kernel gives no socket to ask with.
pub fn of(ifindex: u32, name: &str, first_namespace: bool) -> Result<Hardware, KernelError> {
    let driver = driver_info(name)?;
    let told = |field: &[u8]| {
        let text: Vec<u8> = field
            .iter()
            .copied()
            .take_while(|byte| *byte != 0)
            .collect();
        Some(String::from_utf8_lossy(&text).into_owned())
            .filter(|text| !text.is_empty() && text != "N/A")
    };
    let bus = driver.as_ref().and_then(|info| told(&info.bus_info));
    Ok(Hardware {
        driver: driver.as_ref().and_then(|info| told(&info.driver)),
        // udev knows every bus; without it, PCI's address is what it would say.
        path: first_namespace
            .then(|| udev_path(ifindex))
            .flatten()
            .or_else(|| {
                bus.filter(|bus| bus.bytes().filter(|byte| *byte == b':').count() == 2)
                    .map(|bus| format!("pci-{bus}"))
            }),
    })
}

/// What udev wrote down of the interface.
fn udev_path(ifindex: u32) -> Option<String> {
    let known = fs::read_to_string(format!("/run/udev/data/n{ifindex}")).ok()?;
    let path = known
        .lines()
        .find_map(|line| line.strip_prefix("E:ID_PATH="));
    path.map(str::to_owned)
}

/// `struct ethtool_drvinfo` of linux/ethtool.h.
#[repr(C)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    version: [u8; 32],
    fw_version: [u8; 32],
    bus_info: [u8; 32],
    erom_version: [u8; 32],
    reserved2: [u8; 12],
    n_priv_flags: u32,
    n_stats: u32,
    testinfo_len: u32,
    eedump_len: u32,
    regdump_len: u32,
}

const ETHTOOL_GDRVINFO: u32 = 3;

/// `struct ifreq` of linux/if.h, with a pointer in its union.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    data: *mut DriverInfo,
    rest: [u64; 2],
}

/// `None` when the driver does not answer or the interface is gone.
fn driver_info(name: &str) -> Result<Option<DriverInfo>, KernelError> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|e| KernelError::new("ask the driver of", name, e.raw_os_error()))?;
    // The last byte stays zero.
    if name.len() >= libc::IFNAMSIZ {
        return Ok(None);
    }
    let mut info = DriverInfo {
        cmd: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        version: [0; 32],
        fw_version: [0; 32],
        bus_info: [0; 32],
        erom_version: [0; 32],
        reserved2: [0; 12],
        n_priv_flags: 0,
        n_stats: 0,
        testinfo_len: 0,
        eedump_len: 0,
        regdump_len: 0,
    };
    let mut request = Request {
        name: [0; libc::IFNAMSIZ],
        data: &raw mut info,
        rest: [0; 2],
    };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: SIOCETHTOOL reads a struct ifreq whose union points to a struct ethtool_drvinfo, which it fills in; both
    // live until it returns.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    Ok((result == 0).then_some(info))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Netlink;
    use crate::test_support::in_fresh_namespaces;

    #[test]
    fn root_a_driver_says_its_name() {
        in_fresh_namespaces(|| {
            let mut netlink = Netlink::open().unwrap();
            netlink.create_veth("p0", "q0").unwrap();
            let index = netlink.link("p0").unwrap().unwrap().index;
            let hardware = of(index, "p0", false).unwrap();
            assert_eq!(hardware.driver.as_deref(), Some("veth"));
            assert_eq!(hardware.path, None);
            // The loopback has no driver.
            assert_eq!(of(1, "lo", false).unwrap().driver, None);
            assert_eq!(of(99, "gone", false).unwrap(), Hardware::default());
        });
    }
}
