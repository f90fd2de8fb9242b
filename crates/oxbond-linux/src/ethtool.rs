//! Speed and duplex of a port, as its driver tells (ethtool's netlink interface, Linux 5.6).

use std::collections::HashMap;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use oxbond_core::port::Duplex;

use crate::error::KernelError;
use crate::genl::{self, Generic};
use crate::netlink::{attribute, named};

const FAMILY: &str = "ethtool";
const ETHTOOL_MSG_LINKMODES_GET: u8 = 4;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_HEADER_FLAGS: u16 = 3;
const ETHTOOL_FLAG_COMPACT_BITSETS: u32 = 1;
const ETHTOOL_A_LINKMODES_HEADER: u16 = 1;
const ETHTOOL_A_LINKMODES_SPEED: u16 = 5;
const ETHTOOL_A_LINKMODES_DUPLEX: u16 = 6;

/// What drivers answer while the link is down. Some answer 0 (`ETHTOOL_A_LINKMODES_SPEED` is `SPEED_UNKNOWN`).
const SPEED_UNKNOWN: u32 = u32::MAX;

/// Speed and duplex of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkSettings {
    /// Mb/s; `None` when the driver does not tell or the link is down.
    pub speed_mbps: Option<u32>,
    /// Duplex.
    pub duplex: Duplex,
}

/// Asks the driver of an interface. One that does not know (a tap, a bridge, a kernel without ethtool's netlink
/// interface) gives the default: unknown.
///
/// # Errors
/// When the interface does not exist.
pub fn link_settings(ifindex: u32, name: &str) -> Result<LinkSettings, KernelError> {
    let header = genl::nest(
        ETHTOOL_A_LINKMODES_HEADER,
        &[genl::number(ETHTOOL_A_HEADER_DEV_INDEX, ifindex)],
    );
    match genl::ask_once(
        FAMILY,
        ETHTOOL_MSG_LINKMODES_GET,
        &[header],
        "ask speed and duplex of",
        name,
    ) {
        Ok(answer) => {
            Ok(answer.map_or_else(LinkSettings::default, |attributes| settings_of(&attributes)))
        }
        Err(error) if error.errno == libc::EOPNOTSUPP => Ok(LinkSettings::default()),
        Err(error) => Err(error),
    }
}

/// Asks the drivers of all interfaces of the calling thread's namespace, by interface index. Those that do not know, and all
/// on a kernel without ethtool's netlink interface, are missing.
///
/// # Errors
/// When the system has no more sockets to give, or the kernel does not answer.
pub fn all_link_settings() -> Result<HashMap<u32, LinkSettings>, KernelError> {
    // Without the names of the modes, of which nothing is wanted here: they would be most of the answer.
    let compact = genl::number(ETHTOOL_A_HEADER_FLAGS, ETHTOOL_FLAG_COMPACT_BITSETS);
    let header = genl::nest(ETHTOOL_A_LINKMODES_HEADER, &[compact]);
    let of_interface = |answer: &[u8]| {
        let header = attribute(answer, ETHTOOL_A_LINKMODES_HEADER)?;
        let index = attribute(header, ETHTOOL_A_HEADER_DEV_INDEX)?;
        let index = u32::from_ne_bytes(index.try_into().ok()?);
        Some((index, settings_of(answer)))
    };
    let all = Generic::open()?
        .ask_all(FAMILY, ETHTOOL_MSG_LINKMODES_GET, &[header], of_interface)
        .map_err(|failure| named(failure, "ask", "speed and duplex of all interfaces"))?;
    Ok(all.into_iter().collect())
}

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_GLINK: u32 = 0x0a;

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Whether an interface is up and its driver sees a link: one system call (`ETHTOOL_GLINK`), for those who ask often. By any
/// socket of the interface's namespace. `None` when there is no such interface, or its driver does not tell.
pub fn link_detected(socket: BorrowedFd<'_>, name: &str) -> Option<bool> {
    let mut value = EthtoolValue {
        command: ETHTOOL_GLINK,
        data: 0,
    };
    // SAFETY: an ifreq is plain numbers and a union of such and pointers, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    let (last, room) = request.ifr_name.split_last_mut()?;
    if name.len() > room.len() || *last != 0 {
        return None;
    }
    for (to, from) in room.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request has a name that ends with zero and a pointer to a `struct ethtool_value`, which the kernel writes
    // for this command; both live until it returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    (result == 0).then_some(value.data != 0)
}

fn settings_of(answer: &[u8]) -> LinkSettings {
    let speed = attribute(answer, ETHTOOL_A_LINKMODES_SPEED)
        .and_then(|value| value.try_into().ok())
        .map(u32::from_ne_bytes)
        .filter(|speed| !matches!(*speed, 0 | SPEED_UNKNOWN));
    let duplex = match attribute(answer, ETHTOOL_A_LINKMODES_DUPLEX) {
        Some([0]) => Duplex::Half,
        Some([1]) => Duplex::Full,
        _ => Duplex::Unknown,
    };
    LinkSettings {
        speed_mbps: speed,
        duplex,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{DefaultNla, Emitable as _};

    use super::*;
    use crate::netlink::Netlink;
    use crate::test_support::in_fresh_namespaces;

    #[test]
    fn unknown_is_none() {
        let with = |speed: u32, duplex: u8| {
            let told = [
                genl::number(ETHTOOL_A_LINKMODES_SPEED, speed),
                DefaultNla::new(ETHTOOL_A_LINKMODES_DUPLEX, vec![duplex]),
            ];
            let mut bytes = vec![0; told.as_slice().buffer_len()];
            told.as_slice().emit(&mut bytes);
            settings_of(&bytes)
        };
        assert_eq!(
            with(1000, 1),
            LinkSettings {
                speed_mbps: Some(1000),
                duplex: Duplex::Full
            }
        );
        assert_eq!(
            with(10, 0),
            LinkSettings {
                speed_mbps: Some(10),
                duplex: Duplex::Half
            }
        );
        assert_eq!(with(u32::MAX, 0xff), LinkSettings::default());
        assert_eq!(with(0, 0xff), LinkSettings::default());
        assert_eq!(settings_of(&[]), LinkSettings::default());
    }

    #[test]
    fn root_asks_the_driver() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("p0", "q0").unwrap();
            // The veth driver answers 10 Gb/s, full duplex, whatever its link does.
            let p0 = nl.link("p0").unwrap().unwrap().index;
            let told = LinkSettings {
                speed_mbps: Some(10_000),
                duplex: Duplex::Full,
            };
            assert_eq!(link_settings(p0, "p0").unwrap(), told);
            let all = all_link_settings().unwrap();
            let q0 = nl.link("q0").unwrap().unwrap().index;
            assert_eq!((all.get(&p0), all.get(&q0)), (Some(&told), Some(&told)));
            assert_eq!(all.len(), 2);
            // The loopback has no answer.
            assert_eq!(link_settings(1, "lo").unwrap(), LinkSettings::default());
            assert!(link_settings(9999, "none").unwrap_err().is_gone());
        });
    }
}
