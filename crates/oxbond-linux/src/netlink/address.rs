//! Addresses of interfaces.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::Netlink;
use crate::error::KernelError;

/// An IPv4 or IPv6 address on an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

impl Netlink {
    /// Addresses of one interface, in the kernel's order.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn addresses(&mut self, ifindex: u32) -> Result<Vec<Address>, KernelError> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.dump(&request, "addresses")?;
        Ok(answers
            .iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewAddress(message) => Address::from_message(message),
                _ => None,
            })
            .filter(|address| address.ifindex == ifindex)
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
        let request = RouteNetlinkMessage::NewAddress(message);
        self.write(
            &request,
            NLM_F_CREATE | NLM_F_EXCL,
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
