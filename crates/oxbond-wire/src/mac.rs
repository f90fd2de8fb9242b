//! 48-bit link-layer addresses.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A 48-bit link-layer address (IEEE 802 EUI-48), first octet first as on the wire.
///
/// Written and serialised as `02:00:5e:10:00:01`; `-` is read as separator too, and octets may have one digit, as
/// other tools write them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `00:00:00:00:00:00`: "none" in every interface that takes an address.
    pub const ZERO: Self = Self([0; 6]);

    /// `ff:ff:ff:ff:ff:ff`: every station of the link.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The octets in wire order.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// All octets are zero.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Names a group of stations (the group bit is set); broadcast is one such group.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Names one station: neither a group nor zero. What an interface can take as its own.
    pub fn is_unicast(self) -> bool {
        !self.is_multicast() && !self.is_zero()
    }

    /// One of `01:80:c2:00:00:00` to `0f`, which bridges never forward (IEEE 802.1Q table 8-1): LACP, LLDP, pause.
    pub const fn is_link_local(self) -> bool {
        matches!(self.0, [0x01, 0x80, 0xc2, 0x00, 0x00, 0x00..=0x0f])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text that is no link-layer address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a link-layer address: write six octets in hexadecimal, as in 02:00:5e:10:00:01"
)]
pub struct MacParseError {
    /// What was given.
    pub text: String,
}

impl FromStr for MacAddr {
    type Err = MacParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || MacParseError {
            text: text.to_owned(),
        };
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().ok_or_else(refused)?;
            // `from_str_radix` would take a sign.
            if !(1..=2).contains(&part.len()) || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(refused());
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| refused())?;
        }
        if parts.next().is_some() {
            return Err(refused());
        }
        Ok(Self(octets))
    }
}

impl From<[u8; 6]> for MacAddr {
    fn from(octets: [u8; 6]) -> Self {
        Self(octets)
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> Self {
        mac.to_string()
    }
}

impl TryFrom<String> for MacAddr {
    type Error = MacParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_other_tools_write() {
        let mac = MacAddr([0x02, 0, 0x5e, 0x10, 0, 0x0a]);
        for text in ["02:00:5e:10:00:0a", "02-00-5E-10-00-0A", "2:0:5e:10:0:a"] {
            assert_eq!(text.parse(), Ok(mac));
        }
    }

    #[test]
    fn refuses_everything_else_by_name() {
        for text in [
            "",
            "02:00:5e:10:00",
            "02:00:5e:10:00:0a:0b",
            "02:00:5e:10:00:+a",
            "02:00:5e:10:00:100",
            "x",
        ] {
            let error = text.parse::<MacAddr>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn kinds_of_addresses() {
        assert!(MacAddr::BROADCAST.is_multicast());
        assert!(!MacAddr::ZERO.is_unicast());
        assert!(MacAddr([2, 0, 0, 0, 0, 1]).is_unicast());
        assert!(MacAddr([0x01, 0x80, 0xc2, 0, 0, 2]).is_link_local());
        assert!(!MacAddr([0x01, 0x80, 0xc2, 0, 0, 0x10]).is_link_local());
    }

    proptest! {
        #[test]
        fn text_and_json_round_trip(octets: [u8; 6]) {
            let mac = MacAddr(octets);
            prop_assert_eq!(mac.to_string().parse::<MacAddr>(), Ok(mac));
            let json = serde_json::to_string(&mac).unwrap();
            prop_assert_eq!(&json, &format!("\"{mac}\""));
            prop_assert_eq!(serde_json::from_str::<MacAddr>(&json).unwrap(), mac);
        }
    }
}
