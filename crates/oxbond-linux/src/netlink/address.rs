//! Addresses of interfaces.

use std::net::IpAddr;

use netlink_packet_core::{Emitable as _, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use serde::{Deserialize, Serialize};

use super::{Failure, Netlink, named, parse};
use crate::error::KernelError;

/// An IPv4 or IPv6 address on an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Address {
    /// Interface it is on.
    pub ifindex: u32,
    /// The address.
    pub address: IpAddr,
    /// Length of the network part, in bits.
    pub prefix_len: u8,
    /// It is good beyond its link: scope *global* or *site*. Link-local and host-only addresses are not.
    pub global: bool,
}

impl Address {
    pub(crate) fn from_message(message: &AddressMessage) -> Option<Self> {
        // IFA_LOCAL is the interface's own address; on point-to-point links IFA_ADDRESS is the other end's. IPv6 sends
        // only the latter.
        let mut address = None;
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(own) => address = Some(*own),
                AddressAttribute::Address(other) => address = address.or(Some(*other)),
                _ => {}
            }
        }
        Some(Self {
            ifindex: message.header.index,
            address: address?,
            prefix_len: message.header.prefix_len,
            global: matches!(
                message.header.scope,
                AddressScope::Universe | AddressScope::Site
            ),
        })
    }
}

/// An address of the system with all that belongs to it, so that it can be put back as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRecord {
    /// The address.
    pub address: Address,
    /// It ends by itself unless somebody renews it, as one from a DHCP server or a router's prefix does.
    pub temporary: bool,
    /// The kernel made it itself (link-local, or from a router's prefix) and will again.
    pub automatic: bool,
    /// IPv6: duplicate address detection has not found it to be nobody else's, so that it cannot be used.
    #[serde(default)]
    pub tentative: bool,
    /// The kernel's message.
    message: Vec<u8>,
}

impl AddressRecord {
    /// An IPv6 address of the link alone (`fe80::/10`).
    pub const fn is_link_local(&self) -> bool {
        match self.address.address {
            IpAddr::V6(address) => address.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        }
    }

    fn from_message(message: &AddressMessage) -> Option<Self> {
        let address = Address::from_message(message)?;
        let flags = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                AddressAttribute::Flags(flags) => Some(*flags),
                _ => None,
            });
        let temporary = flags.is_some_and(|flags| !flags.contains(AddressFlags::Permanent));
        // The protocol is told since Linux 5.18.
        let told = message.attributes.iter().any(|attribute| {
            matches!(
                attribute,
                AddressAttribute::Protocol(
                    AddressProtocol::LinkLocal | AddressProtocol::RouterAnnouncement
                )
            )
        });
        let link_local = match address.address {
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        };
        let mut kept = message.clone();
        kept.attributes
            .retain(|attribute| !matches!(attribute, AddressAttribute::Protocol(_)));
        let mut body = vec![0; kept.buffer_len()];
        kept.emit(&mut body);
        Some(Self {
            automatic: told || link_local || (temporary && address.address.is_ipv6()),
            tentative: flags.is_some_and(|flags| flags.contains(AddressFlags::Tentative)),
            address,
            temporary,
            message: body,
        })
    }
}

impl AddressRecord {
    /// The same on another interface.
    #[must_use]
    pub fn on(&self, ifindex: u32) -> Self {
        let mut other = self.clone();
        other.address.ifindex = ifindex;
        other
    }

    /// For error texts.
    fn object(&self) -> String {
        format!("{}/{}", self.address.address, self.address.prefix_len)
    }

    /// The kernel's own message of it, for this interface. `op` is what that is for.
    fn message_on(&self, ifindex: u32, op: &str) -> Result<AddressMessage, KernelError> {
        let kind = RouteNetlinkMessage::NewAddress(AddressMessage::default()).message_type();
        let mut message = match parse(kind, &self.message) {
            Ok(RouteNetlinkMessage::NewAddress(message)) => message,
            Ok(_) => return Err(named(Failure::garbled("no address"), op, self.object())),
            Err(failure) => return Err(named(failure, op, self.object())),
        };
        message.header.index = ifindex;
        Ok(message)
    }
}

impl Netlink {
    /// Every address of every interface, in the kernel's order.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn all_addresses(&mut self) -> Result<Vec<AddressRecord>, KernelError> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.dump(&request, "addresses")?;
        Ok(answers
            .iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewAddress(message) => AddressRecord::from_message(message),
                _ => None,
            })
            .collect())
    }

    /// Takes exactly this address off its interface, where one with another peer may be beside it.
    ///
    /// # Errors
    /// What the kernel says; `EADDRNOTAVAIL` when it is not there.
    pub fn take_address(&mut self, record: &AddressRecord) -> Result<(), KernelError> {
        let (op, object) = ("remove address", record.object());
        let mut message = record.message_on(record.address.ifindex, op)?;
        // It follows the interface's name, which may have changed.
        let label = |attribute: &AddressAttribute| matches!(attribute, AddressAttribute::Label(_));
        message.attributes.retain(|attribute| !label(attribute));
        self.write(&RouteNetlinkMessage::DelAddress(message), 0, op, object)
    }

    /// Puts an address back as it was, on an interface.
    ///
    /// # Errors
    /// What the kernel says; `EEXIST` when it is there already.
    pub fn put_back_address(
        &mut self,
        ifindex: u32,
        record: &AddressRecord,
    ) -> Result<(), KernelError> {
        self.restore_address(ifindex, record, NLM_F_CREATE | NLM_F_EXCL)
    }

    fn restore_address(
        &mut self,
        ifindex: u32,
        record: &AddressRecord,
        how: u16,
    ) -> Result<(), KernelError> {
        let (op, object) = ("put back address", record.object());
        let message = record.message_on(ifindex, op)?;
        self.write(&RouteNetlinkMessage::NewAddress(message), how, op, object)
    }

    /// As [`Self::put_back_address`], for an address that this machine has had on the same wire until now: duplicate
    /// address detection does not look for it there, so it can be used at once. One that is there already is fine.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn move_address(
        &mut self,
        ifindex: u32,
        record: &AddressRecord,
    ) -> Result<(), KernelError> {
        let (op, object) = ("move address", record.object());
        let mut message = record.message_on(ifindex, op)?;
        for attribute in &mut message.attributes {
            if let AddressAttribute::Flags(flags) = attribute {
                flags.insert(AddressFlags::Nodad);
            }
        }
        let message = RouteNetlinkMessage::NewAddress(message);
        match self.write(&message, NLM_F_CREATE | NLM_F_EXCL, op, object) {
            Err(error) if error.errno == libc::EEXIST => Ok(()),
            other => other,
        }
    }

    /// Gives an address the flags and lifetimes that it had, after [`Self::move_address`]. It can be used all the while.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn finish_address(&mut self, record: &AddressRecord) -> Result<(), KernelError> {
        self.restore_address(record.address.ifindex, record, NLM_F_REPLACE)
    }

    /// Makes the addresses of an interface stand as they did: IPv4 addresses in that order, others behind them, and beside
    /// one of the link alone none that was not there. Routes may go meanwhile.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn order_addresses(
        &mut self,
        ifindex: u32,
        before: &[AddressRecord],
    ) -> Result<(), KernelError> {
        let mut now = self.all_addresses()?;
        now.retain(|record| record.address.ifindex == ifindex);
        let rank = |record: &AddressRecord| {
            let mut before = before.iter();
            before.position(|was| was.address.address == record.address.address)
        };
        // IPv6 needs one.
        let (old, new): (Vec<_>, Vec<_>) = now
            .iter()
            .filter(|record| record.is_link_local())
            .partition(|record| rank(record).is_some());
        for new in new.into_iter().filter(|_| !old.is_empty()) {
            self.take_address(new)?;
        }
        now.retain(|record| record.address.address.is_ipv4());
        let mut ordered: Vec<&AddressRecord> = now.iter().collect();
        ordered.sort_by_key(|record| rank(record).unwrap_or(usize::MAX));
        let differs = |(have, want): (&AddressRecord, &&AddressRecord)| have != *want;
        let Some(first) = now.iter().zip(&ordered).position(differs) else {
            return Ok(());
        };
        // The last one first: with the first of a network the others may go.
        for record in now.iter().skip(first).rev() {
            self.take_address(record)?;
        }
        for record in ordered.into_iter().skip(first) {
            self.put_back_address(ifindex, record)?;
        }
        Ok(())
    }

    /// Addresses of one interface, in the kernel's order.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn addresses(&mut self, ifindex: u32) -> Result<Vec<Address>, KernelError> {
        self.dump_addresses(|header| header.get(4..8) == Some(&ifindex.to_ne_bytes()))
    }

    /// The addresses of all interfaces that are good beyond their link.
    pub(crate) fn addresses_beyond_links(&mut self) -> Result<Vec<Address>, KernelError> {
        let scopes = [AddressScope::Universe, AddressScope::Site].map(u8::from);
        self.dump_addresses(|header| header.get(3).is_some_and(|scope| scopes.contains(scope)))
    }

    /// Those of which the header (`struct ifaddrmsg`: its scope is at byte 3, its interface at byte 4) is meant. Every
    /// interface has some, so the others are not parsed.
    fn dump_addresses(
        &mut self,
        meant: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<Address>, KernelError> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.dump_those(&request, "addresses", meant)?;
        Ok(answers
            .iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewAddress(message) => Address::from_message(message),
                _ => None,
            })
            .collect())
    }

    /// Puts an address on an interface.
    ///
    /// # Errors
    /// What the kernel says; `EEXIST` when it is there already.
    pub fn add_address(
        &mut self,
        ifindex: u32,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), KernelError> {
        let message = new_address_message(ifindex, address, prefix_len);
        let request = RouteNetlinkMessage::NewAddress(message);
        self.write(
            &request,
            NLM_F_CREATE | NLM_F_EXCL,
            "add address",
            format!("{address}/{prefix_len}"),
        )
    }

    /// Puts an address that is ours for a time only on an interface, or gives it more time.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn lend_address(
        &mut self,
        ifindex: u32,
        address: IpAddr,
        prefix_len: u8,
        lifetime: Lifetime,
    ) -> Result<(), KernelError> {
        let mut message = new_address_message(ifindex, address, prefix_len);
        let mut times = CacheInfo::default();
        times.ifa_preferred = lifetime.preferred_secs;
        times.ifa_valid = lifetime.valid_secs;
        message.attributes.push(AddressAttribute::CacheInfo(times));
        self.write(
            &RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_REPLACE,
            "add address",
            format!("{address}/{prefix_len}"),
        )
    }

    /// Takes an address off an interface.
    ///
    /// # Errors
    /// What the kernel says; `EADDRNOTAVAIL` when it is not there.
    pub fn del_address(
        &mut self,
        ifindex: u32,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), KernelError> {
        let request =
            RouteNetlinkMessage::DelAddress(address_message(ifindex, address, prefix_len));
        self.write(
            &request,
            0,
            "remove address",
            format!("{address}/{prefix_len}"),
        )
    }
}

/// How long an address is ours, in seconds from now; `u32::MAX` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// New connections may use it.
    pub preferred_secs: u32,
    /// It is there; the kernel takes it away by itself.
    pub valid_secs: u32,
}

fn new_address_message(ifindex: u32, address: IpAddr, prefix_len: u8) -> AddressMessage {
    let mut message = address_message(ifindex, address, prefix_len);
    if let IpAddr::V4(v4) = address {
        // The kernel fills in no broadcast address by itself. RFC 3021: /31 and /32 have none.
        if prefix_len < 31 {
            let host_bits = u32::MAX.checked_shr(u32::from(prefix_len)).unwrap_or(0);
            message.attributes.push(AddressAttribute::Broadcast(
                (u32::from(v4) | host_bits).into(),
            ));
        }
    }
    message
}

fn address_message(ifindex: u32, address: IpAddr, prefix_len: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    message.header.prefix_len = prefix_len;
    message.header.index = ifindex;
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::in_fresh_namespaces;

    #[test]
    fn root_a_lent_address_is_ours_for_a_time_that_can_be_prolonged() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("p0", "q0").unwrap();
            let p0 = nl.link("p0").unwrap().unwrap().index;
            for (host, secs) in [(2, 60), (3, 60), (3, 3000)] {
                let lifetime = Lifetime {
                    preferred_secs: secs,
                    valid_secs: secs,
                };
                let address = IpAddr::from([10, 0, 0, host]);
                nl.lend_address(p0, address, 24, lifetime).unwrap();
            }
            let output = std::process::Command::new("ip")
                .args(["-o", "address", "show", "dev", "p0"])
                .output()
                .unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let line = |address: &str| said.lines().find(|line| line.contains(address)).unwrap();
            assert_eq!(said.lines().count(), 2, "{said}");
            let left = |address: &str, which: &str| -> u32 {
                let mut words = line(address).split_whitespace();
                words.find(|word| *word == which);
                let seconds = words.next().and_then(|word| word.strip_suffix("sec"));
                seconds.unwrap_or_else(|| panic!("{said}")).parse().unwrap()
            };
            // Some of it may have gone by.
            let valid = left("10.0.0.2/24 brd 10.0.0.255", "valid_lft");
            assert!((30..=60).contains(&valid), "{said}");
            let preferred = left("10.0.0.3/24", "preferred_lft");
            assert!((2970..=3000).contains(&preferred), "{said}");
        });
    }

    #[test]
    fn root_an_address_is_put_back_as_it_was() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("p0", "q0").unwrap();
            let p0 = nl.link("p0").unwrap().unwrap().index;
            for words in [
                "address add 10.0.0.2/24 brd + dev p0 label p0:x noprefixroute",
                "address add 10.1.0.1 peer 10.1.0.9/32 dev p0",
                "address add 10.0.0.3/24 dev p0 valid_lft 5000 preferred_lft 4000",
                "address add fd00::2/64 dev p0 nodad home",
            ] {
                let status = std::process::Command::new("ip")
                    .args(words.split(' '))
                    .status();
                assert!(status.unwrap().success(), "{words}");
            }
            let described = || {
                let output = std::process::Command::new("ip")
                    .args(["-o", "address", "show", "dev", "p0"])
                    .output()
                    .unwrap();
                // Lifetimes run: told in hundreds of seconds, as begun.
                let said = String::from_utf8(output.stdout).unwrap();
                let word = |word: &str| match word.strip_suffix("sec").map(str::parse::<u32>) {
                    Some(Ok(seconds)) => format!("{}00sec", seconds.div_ceil(100)),
                    _ => word.to_owned(),
                };
                let words: Vec<String> = said.split(' ').map(word).collect();
                words.join(" ")
            };
            let before = described();
            let records = nl.all_addresses().unwrap();
            let records: Vec<_> = records.iter().filter(|r| r.address.ifindex == p0).collect();
            assert_eq!(records.len(), 4);
            assert_eq!(
                records.iter().map(|r| r.temporary).collect::<Vec<_>>(),
                [false, false, true, false]
            );
            assert!(records.iter().all(|r| !r.automatic));
            // With the first address of a network the kernel takes the others.
            for record in records.iter().rev() {
                nl.take_address(record).unwrap();
            }
            assert_eq!(nl.addresses(p0).unwrap(), []);
            for record in &records {
                nl.put_back_address(p0, record).unwrap();
            }
            assert_eq!(described(), before);

            // One that comes back comes last, and leaves the first place of its network to another.
            let records: Vec<_> = records.into_iter().cloned().collect();
            nl.take_address(&records[0]).unwrap();
            for record in [&records[2], &records[0]] {
                let _ = nl.put_back_address(p0, record);
            }
            assert_ne!(described(), before);
            nl.order_addresses(p0, &records).unwrap();
            assert_eq!(described(), before);
            let writes = nl.writes();
            nl.order_addresses(p0, &records).unwrap();
            assert_eq!(nl.writes(), writes);
        });
    }
}
