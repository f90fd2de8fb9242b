//! Repeating the multicast memberships of a bond after a failover, so that snooping switches follow at once.
//!
//! The kernel tells the driver's uppers to do this by a notifier nobody outside can call, so the reports are made here
//! from what `/proc/net/igmp` and `/proc/net/igmp6` list. Which sources a member wants is not listed there; the reports
//! ask for all, the kernel goes on filtering.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use oxbond_wire::{MacAddr, igmp, mld};

use crate::error::KernelError;
use crate::netlink::{Link, Netlink};
use crate::packet::FrameSender;

/// Groups an interface is a member of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Memberships {
    /// IPv4 groups that are reported.
    v4: Vec<Ipv4Addr>,
    /// Version of IGMP the querier on that link speaks, as far as the kernel has seen one.
    igmp: Igmp,
    /// IPv6 groups that are reported.
    v6: Vec<Ipv6Addr>,
    /// The administrator forced MLD version 1.
    mld_v1: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Igmp {
    /// Version 2, or 1, whose queriers understand its reports as well (RFC 2236, section 4).
    V2,
    V3,
}

/// Sends a report of every group that the bond, a VLAN on it, or the bridge it is a port of is a member of. Each goes
/// out by the interface that is the member, so it carries the right VLAN tag and address. Returns the number of frames.
///
/// # Errors
/// The first failure; the rest is sent nonetheless.
pub fn rejoin(nl: &mut Netlink, sender: &FrameSender, bond: u32) -> Result<usize, KernelError> {
    let links = nl.links()?;
    let master = links
        .iter()
        .find(|link| link.index == bond)
        .and_then(|link| link.master);
    let mut sent = 0;
    let mut failed = Ok(());
    for link in &links {
        let vlan = link.lower == Some(bond) && link.kind.as_deref() == Some("vlan");
        if !(vlan || link.index == bond || Some(link.index) == master) || !link.up {
            continue;
        }
        for frame in reports(nl, link)? {
            match sender.send(link.index, &frame) {
                Ok(()) => sent += 1,
                Err(error) => failed = failed.and(Err(error)),
            }
        }
    }
    failed.map(|()| sent)
}

fn reports(nl: &mut Netlink, link: &Link) -> Result<Vec<Vec<u8>>, KernelError> {
    let Some(mac) = link.mac else {
        return Ok(Vec::new());
    };
    let memberships = memberships(&link.name)?;
    let addresses = nl.addresses(link.index)?;
    let v4 = addresses.iter().find_map(|a| match a.address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    let link_local = addresses.iter().find_map(|a| match a.address {
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
        _ => None,
    });
    Ok(frames(
        mac,
        v4.unwrap_or(Ipv4Addr::UNSPECIFIED),
        link_local.unwrap_or(Ipv6Addr::UNSPECIFIED),
        &memberships,
    ))
}

fn frames(mac: MacAddr, v4: Ipv4Addr, v6: Ipv6Addr, memberships: &Memberships) -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> = match memberships.igmp {
        Igmp::V2 => memberships
            .v4
            .iter()
            .map(|group| igmp::report_v2(mac, v4, *group))
            .collect(),
        Igmp::V3 => memberships
            .v4
            .chunks(igmp::GROUPS_PER_REPORT)
            .map(|groups| igmp::report_v3(mac, v4, groups))
            .collect(),
    };
    if memberships.mld_v1 {
        frames.extend(
            memberships
                .v6
                .iter()
                .map(|group| mld::report_v1(mac, v6, *group)),
        );
    } else {
        frames.extend(
            memberships
                .v6
                .chunks(mld::GROUPS_PER_REPORT)
                .map(|groups| mld::report_v2(mac, v6, groups)),
        );
    }
    frames
}

fn memberships(name: &str) -> Result<Memberships, KernelError> {
    let read = |path: &str| match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        // A kernel without IPv6, or without multicast.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(KernelError::from_io("read", path, &error)),
    };
    let (v4, igmp) = parse_igmp(&read("/proc/thread-self/net/igmp")?, name);
    let v6 = parse_igmp6(&read("/proc/thread-self/net/igmp6")?, name);
    let forced = read(&format!("/proc/sys/net/ipv6/conf/{name}/force_mld_version"))?;
    Ok(Memberships {
        v4,
        igmp,
        v6,
        mld_v1: forced.trim() == "1",
    })
}

/// The file has a line per interface (`index name : count version`), then an indented line per group that begins with
/// its address as a hexadecimal number in the machine's byte order.
fn parse_igmp(text: &str, name: &str) -> (Vec<Ipv4Addr>, Igmp) {
    let mut groups = Vec::new();
    let mut version = Igmp::V3;
    let mut ours = false;
    for line in text.lines().skip(1) {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if line.starts_with(char::is_whitespace) {
            if ours && let Ok(number) = u32::from_str_radix(first, 16) {
                groups.push(Ipv4Addr::from(number.to_ne_bytes()));
            }
        } else {
            // A name of 10 bytes and more touches no separator: "bond0:" does not occur, but be lenient.
            ours = words.next().map(|word| word.trim_end_matches(':')) == Some(name);
            if ours && !matches!(words.last(), Some("V3")) {
                version = Igmp::V2;
            }
        }
    }
    groups.retain(|group| igmp::is_reported(*group));
    (groups, version)
}

/// A line per group: interface index and name, the address in 32 hexadecimal digits, and more.
fn parse_igmp6(text: &str, name: &str) -> Vec<Ipv6Addr> {
    let group = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        (words.next()? == name).then_some(())?;
        u128::from_str_radix(words.next()?, 16)
            .ok()
            .map(Ipv6Addr::from)
    };
    text.lines()
        .filter_map(group)
        .filter(|group| mld::is_reported(*group))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::test_support::{in_fresh_namespaces, poll_until};

    #[test]
    fn reads_what_the_kernel_lists() {
        let number = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let text = format!(
            "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
             1\tlo        :     1      V3\n\t\t\t\t{}     1 0:00000000\t\t0\n\
             7\tbond0     :     2      V2\n\t\t\t\t{}     1 0:00000000\t\t0\n\t\t\t\t{}     1 0:00000000\t\t0\n",
            number([239, 9, 9, 9]),
            number([239, 1, 2, 3]),
            number([224, 0, 0, 1]),
        );
        assert_eq!(
            parse_igmp(&text, "bond0"),
            (vec![Ipv4Addr::new(239, 1, 2, 3)], Igmp::V2)
        );
        assert_eq!(parse_igmp(&text, "bond"), (vec![], Igmp::V3));
        let text = "1    lo              ff020000000000000000000000000001     1 0000000C 0\n\
                    7    bond0           ff0200000000000000000001ff000001     1 00000004 0\n\
                    7    bond0           ff010000000000000000000000000001     1 00000008 0\n";
        assert_eq!(
            parse_igmp6(text, "bond0"),
            ["ff02::1:ff00:1".parse::<Ipv6Addr>().unwrap()]
        );
    }

    #[test]
    fn root_memberships_are_repeated_on_the_wire() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("bond0", "q0").unwrap();
            let (bond, q0) = (
                nl.link("bond0").unwrap().unwrap(),
                nl.link("q0").unwrap().unwrap(),
            );
            nl.set_up(bond.index).unwrap();
            nl.set_up(q0.index).unwrap();
            let own = Ipv4Addr::new(10, 9, 0, 1);
            nl.add_address(bond.index, own.into(), 24).unwrap();
            poll_until("bond0 has its link-local address", || {
                nl.addresses(bond.index).unwrap().len() == 2
            });
            let member = UdpSocket::bind("0.0.0.0:0").unwrap();
            member
                .join_multicast_v4(&Ipv4Addr::new(239, 1, 2, 3), &own)
                .unwrap();
            let member6 = UdpSocket::bind("[::]:0").unwrap();
            member6
                .join_multicast_v6(&"ff15::1234".parse().unwrap(), bond.index)
                .unwrap();

            // The group of that address is joined a moment after it is there.
            poll_until("the groups are complete", || {
                memberships("bond0").unwrap().v6.len() == 2
            });
            let listed = memberships("bond0").unwrap();
            assert_eq!(
                (listed.v4.as_slice(), listed.igmp),
                (&[Ipv4Addr::new(239, 1, 2, 3)][..], Igmp::V3)
            );
            assert!(
                listed.v6.contains(&"ff15::1234".parse().unwrap()),
                "{listed:?}"
            );

            let receiver = crate::test_support::FrameReceiver::open(q0.index);
            let sent = rejoin(&mut nl, &FrameSender::open().unwrap(), bond.index).unwrap();
            assert_eq!(sent, 2);
            // The kernel sends reports of its own at this time, and never groups all in one as ours does.
            let v4 = igmp::report_v3(bond.mac.unwrap(), own, &listed.v4);
            receiver.wait_for(|frame| frame == v4);
            receiver.wait_for(|frame| {
                frame[12..14] == [0x86, 0xdd]
                    && frame[62] == 143
                    && usize::from(frame[69]) == listed.v6.len()
            });
        });
    }
}
