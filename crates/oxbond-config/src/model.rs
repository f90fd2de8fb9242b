//! What a user wants, whatever dialect it was written in.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use oxbond_core::option::{OptionChange, PortOptionChange};
use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use crate::span::Located;

/// A bond as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredBond {
    /// Name of the front device.
    pub name: Located<String>,
    /// Options in the order they were written, each at most once; the place is the whole entry, key and value.
    pub options: Vec<Located<OptionChange>>,
    /// The ports, in list order.
    pub ports: Vec<DesiredPort>,
    /// MTU of bond and ports in bytes; `None` leaves it to the first port.
    pub mtu: Option<Located<u32>>,
    /// Link-layer address of the bond; `None` takes the first port's.
    pub mac: Option<Located<MacAddr>>,
    /// Addresses of the bond.
    pub addresses: Vec<Located<Cidr>>,
    /// Default gateway for IPv4.
    pub gateway_v4: Option<Located<Ipv4Addr>>,
    /// Default gateway for IPv6.
    pub gateway_v6: Option<Located<Ipv6Addr>>,
    /// Mode, monitor or ports were given and not understood, which was reported. What depends on them cannot be judged.
    pub incomplete: bool,
}

impl DesiredBond {
    /// A bond with a name and nothing else.
    pub const fn new(name: Located<String>) -> Self {
        Self {
            name,
            options: Vec::new(),
            ports: Vec::new(),
            mtu: None,
            mac: None,
            addresses: Vec::new(),
            gateway_v4: None,
            gateway_v6: None,
            incomplete: false,
        }
    }
}

/// A port as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredPort {
    /// Interface name.
    pub name: Located<String>,
    /// Its options, each at most once; the place is the whole entry.
    pub options: Vec<Located<PortOptionChange>>,
}

/// An interface's address with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cidr {
    /// The address of the interface (host part included).
    pub address: IpAddr,
    /// Bits of the prefix: at most 32 for IPv4, 128 for IPv6.
    pub prefix_len: u8,
}

impl Cidr {
    /// Whether `other` is in the network of this address.
    pub fn contains(&self, other: IpAddr) -> bool {
        let shared = |a: u128, b: u128, width: u32| {
            let host_bits = width - u32::from(self.prefix_len);
            a.checked_shr(host_bits).unwrap_or(0) == b.checked_shr(host_bits).unwrap_or(0)
        };
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => shared(u32::from(a).into(), u32::from(b).into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => shared(a.into(), b.into(), 128),
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// Why a text is no address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Neither IPv4 nor IPv6.
    #[error("{text:?} is no IP address; write it like 192.168.1.100/24 or fd00::100/64")]
    NoAddress {
        /// What was given.
        text: String,
    },
    /// An address alone.
    #[error("{address} lacks the length of its prefix; write it like {address}/{usual}")]
    NoPrefix {
        /// The address.
        address: IpAddr,
        /// The length most networks of its kind have.
        usual: u8,
    },
    /// Behind the slash is no number, or one too large.
    #[error("{text:?} has no valid prefix length; {address} takes 0 to {max}")]
    WrongPrefix {
        /// What was given.
        text: String,
        /// The address.
        address: IpAddr,
        /// Bits of such an address.
        max: u8,
    },
    /// Multicast, unspecified or broadcast.
    #[error("{address} cannot be the address of an interface: it is {kind}")]
    NotAHost {
        /// The address.
        address: IpAddr,
        /// What it is instead.
        kind: &'static str,
    },
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| CidrError::NoAddress {
            text: text.to_owned(),
        })?;
        let (max, usual) = if address.is_ipv4() {
            (32, 24)
        } else {
            (128, 64)
        };
        let length = length.ok_or(CidrError::NoPrefix { address, usual })?;
        let prefix_len = Some(length)
            .filter(|length| length.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|length| length.parse().ok())
            .filter(|length| *length <= max)
            .ok_or_else(|| CidrError::WrongPrefix {
                text: text.to_owned(),
                address,
                max,
            })?;
        match not_a_host(address) {
            Some(kind) => Err(CidrError::NotAHost { address, kind }),
            None => Ok(Self {
                address,
                prefix_len,
            }),
        }
    }
}

/// What an address is when it cannot be that of one host.
pub(crate) fn not_a_host(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("the unspecified address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("the broadcast address")
    } else {
        None
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_prefix() {
        for text in [
            "192.168.1.100/24",
            "10.0.0.1/0",
            "10.0.0.1/32",
            "fd00::100/64",
            "::1/128",
        ] {
            let cidr: Cidr = text.parse().unwrap();
            assert_eq!(cidr.to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, words) in [
            ("192.168.1.100", "write it like 192.168.1.100/24"),
            ("fd00::1", "write it like fd00::1/64"),
            ("192.168.1.100/33", "takes 0 to 32"),
            ("192.168.1.100/+4", "takes 0 to 32"),
            ("fd00::1/129", "takes 0 to 128"),
            ("192.168.1/24", "no IP address"),
            ("", "no IP address"),
            ("224.0.0.1/24", "multicast"),
            ("0.0.0.0/0", "unspecified"),
            ("255.255.255.255/32", "broadcast"),
        ] {
            let error = text.parse::<Cidr>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn networks_contain_their_hosts() {
        for (network, host, inside) in [
            ("192.168.1.100/24", "192.168.1.1", true),
            ("192.168.1.100/24", "192.168.2.1", false),
            ("10.0.0.1/0", "1.1.1.1", true),
            ("10.0.0.1/32", "10.0.0.2", false),
            ("fd00::100/64", "fd00::1", true),
            ("fd00::100/0", "2001:db8::1", true),
            ("fd00::100/64", "10.0.0.1", false),
        ] {
            let cidr: Cidr = network.parse().unwrap();
            assert_eq!(
                cidr.contains(host.parse().unwrap()),
                inside,
                "{network} {host}"
            );
        }
    }
}
