//! Whether an interface is Wi-Fi. Such a port cannot be bonded in the modes we have: an access point drops frames whose
//! source address is not the station's own.

use crate::error::KernelError;
use crate::genl;
use crate::netlink::attribute;

const FAMILY: &str = "nl80211";
const NL80211_CMD_GET_INTERFACE: u8 = 5;
const NL80211_ATTR_IFINDEX: u16 = 3;

/// Asks nl80211 about an interface. A kernel without it, and an interface it does not know, mean no.
///
/// # Errors
/// What the kernel says otherwise.
pub fn is_wireless(ifindex: u32, name: &str) -> Result<bool, KernelError> {
    let which = [genl::number(NL80211_ATTR_IFINDEX, ifindex)];
    match genl::ask_once(
        FAMILY,
        NL80211_CMD_GET_INTERFACE,
        &which,
        "ask whether Wi-Fi is",
        name,
    ) {
        Ok(answer) => Ok(answer.is_some_and(|attributes| describes(&attributes, ifindex))),
        Err(error) if matches!(error.errno, libc::ENODEV | libc::EOPNOTSUPP | libc::EINVAL) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn describes(answer: &[u8], ifindex: u32) -> bool {
    attribute(answer, NL80211_ATTR_IFINDEX).is_some_and(|value| value == ifindex.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Netlink;
    use crate::test_support::in_fresh_namespaces;

    // This kind of machine has neither Wi-Fi nor mac80211_hwsim.
    // That Wi-Fi is: crates/oxbond/tests/namespaces/guest.rs, in a guest with mac80211_hwsim.
    #[test]
    fn root_a_cable_is_not() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("p0", "q0").unwrap();
            assert!(!is_wireless(nl.link("p0").unwrap().unwrap().index, "p0").unwrap());
        });
    }

    #[test]
    fn reads_an_answer() {
        // NL80211_CMD_NEW_INTERFACE, version 1: IFINDEX 5, IFNAME "wlan0", WIPHY 0, IFTYPE 2 (station), in native order.
        let mut answer = vec![7, 1, 0, 0];
        let mut put = |kind: u16, value: &[u8]| {
            answer.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            answer.extend(kind.to_ne_bytes());
            answer.extend(value);
            answer.resize(answer.len().next_multiple_of(4), 0);
        };
        put(NL80211_ATTR_IFINDEX, &5_u32.to_ne_bytes());
        put(4, b"wlan0\0");
        put(1, &0_u32.to_ne_bytes());
        put(5, &2_u32.to_ne_bytes());
        let attributes = genl::behind_header(&answer).unwrap();
        assert!(describes(&attributes, 5));
        assert!(!describes(&attributes, 6));
        assert!(genl::behind_header(&answer[..3]).is_err());
    }
}
