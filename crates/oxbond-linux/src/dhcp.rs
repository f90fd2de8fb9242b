//! DHCP leases: asks a server for an address of a device and keeps it for as long as it is wanted.
//!
//! The protocol is [`mozim`]'s (RFC 2131, RFC 8415); here are the turns it leaves to its user: to begin again after an
//! error, not to wait for ever for a server that offers and does not acknowledge, and to say when a lease is over.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mozim::{
    DhcpV4Client, DhcpV4Config, DhcpV4Lease, DhcpV4State, DhcpV6Client, DhcpV6Config, DhcpV6Lease,
    DhcpV6Mode, DhcpV6State,
};
use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

/// A server that offered and does not acknowledge within this time is not waited for: RFC 2131, 3.1.5 has a client
/// begin again after its retransmissions, which mozim never ends.
const ACKNOWLEDGEMENT: Duration = Duration::from_secs(12);

/// Before the next attempt after an error, which as a rule is a device that is not ready.
const PAUSE: Duration = Duration::from_secs(1);

/// Option of DHCPv6 with the addresses of name servers, 16 bytes each (RFC 3646, section 3).
const V6_DNS_SERVERS: u16 = 23;

/// The device a lease is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its name.
    pub name: String,
    /// Its index.
    pub ifindex: u32,
    /// Its link-layer address; also the client identifier, so a lease follows the bond and not the port in use.
    pub mac: MacAddr,
}

/// What a server lent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// Length of the network part, in bits; 128 for IPv6, whose networks routers tell of.
    pub prefix_len: u8,
    /// Destination, length of its network part and next hop of each route; the default route among them. A next hop
    /// that is unspecified means: on the link.
    pub routes: Vec<(IpAddr, u8, IpAddr)>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// Domains in which names are searched.
    pub search: Vec<String>,
    /// The server.
    pub server: IpAddr,
    /// Seconds from now for which new connections may use the address.
    pub preferred_secs: u32,
    /// Seconds from now for which the address is ours.
    pub valid_secs: u32,
}

/// What happens to a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It was given, or prolonged.
    Leased(Lease),
    /// It ran out: the address is not ours any more.
    Lost,
    /// It is not to be had at the moment; the reason, in words. Attempts go on.
    Trouble(String),
}

/// Keeps a lease of an IPv4 address. Ends when it is dropped; the server is not told, so that the next one is given the
/// same address.
pub async fn keep_v4(device: Client, mut tell: impl FnMut(News)) -> Infallible {
    let mut held = false;
    loop {
        let mut config = DhcpV4Config::new(&device.name);
        config.set_iface_index(device.ifindex);
        let ready = config
            .set_iface_mac_raw(&device.mac.octets())
            .map(DhcpV4Config::use_mac_as_client_id)
            .map(drop);
        let client = match ready {
            Ok(()) => DhcpV4Client::init(config, None).await,
            Err(e) => Err(e),
        };
        let trouble = match client {
            Ok(client) => turns_v4(client, &mut held, &mut tell).await,
            Err(e) => e.to_string(),
        };
        tell(News::Trouble(trouble));
        tokio::time::sleep(PAUSE).await;
    }
}

/// One client until it fails; why it did.
async fn turns_v4(
    mut client: DhcpV4Client,
    held: &mut bool,
    tell: &mut impl FnMut(News),
) -> String {
    let mut offered = false;
    loop {
        let turn = client.run();
        let state = if offered {
            match tokio::time::timeout(ACKNOWLEDGEMENT, turn).await {
                Ok(state) => state,
                Err(_) => {
                    return "the server that offered an address does not acknowledge it".to_owned();
                }
            }
        } else {
            turn.await
        };
        match state {
            Ok(DhcpV4State::Done(lease)) => {
                *held = true;
                tell(News::Leased(lease_v4(&lease)));
                offered = false;
            }
            Ok(DhcpV4State::InitReboot) => {
                if std::mem::take(held) {
                    tell(News::Lost);
                }
                offered = false;
            }
            Ok(state) => offered = state == DhcpV4State::Selecting,
            Err(e) => return e.to_string(),
        }
    }
}

/// Keeps a lease of an IPv6 address, as [`keep_v4`] does. `link_local` is the device's own, past its duplicate address
/// detection.
pub async fn keep_v6(
    device: Client,
    link_local: Ipv6Addr,
    mut tell: impl FnMut(News),
) -> Infallible {
    let mut held = false;
    loop {
        let mut config = DhcpV6Config::new(&device.name, DhcpV6Mode::NonTemporaryAddresses);
        config
            .set_iface_index(device.ifindex)
            .set_link_local_ip(link_local)
            .set_duid_by_iface_mac(&device.mac.octets());
        let trouble = match DhcpV6Client::init(config, None).await {
            Ok(client) => turns_v6(client, &mut held, &mut tell).await,
            Err(e) => e.to_string(),
        };
        tell(News::Trouble(trouble));
        tokio::time::sleep(PAUSE).await;
    }
}

async fn turns_v6(
    mut client: DhcpV6Client,
    held: &mut bool,
    tell: &mut impl FnMut(News),
) -> String {
    loop {
        match client.run().await {
            Ok(DhcpV6State::Done(lease)) => {
                *held = true;
                tell(News::Leased(lease_v6(&lease)));
            }
            Ok(DhcpV6State::Solicit) => {
                if std::mem::take(held) {
                    tell(News::Lost);
                }
            }
            Ok(_) => {}
            Err(e) => return e.to_string(),
        }
    }
}

fn lease_v4(lease: &DhcpV4Lease) -> Lease {
    // RFC 3442: where there are classless routes, the routers are not to be looked at.
    let routes = match &lease.classless_routes {
        Some(routes) => routes
            .iter()
            .map(|route| {
                (
                    route.destination.into(),
                    route.prefix_length,
                    route.router.into(),
                )
            })
            .collect(),
        // The first is the preferred one, and a system has use for one.
        None => lease
            .gateways
            .iter()
            .flatten()
            .take(1)
            .map(|router| (Ipv4Addr::UNSPECIFIED.into(), 0, (*router).into()))
            .collect(),
    };
    Lease {
        address: lease.yiaddr.into(),
        prefix_len: lease.prefix_length(),
        routes,
        dns: lease
            .dns_srvs
            .iter()
            .flatten()
            .map(|server| (*server).into())
            .collect(),
        search: lease.domain_name.iter().cloned().collect(),
        server: lease.srv_id.into(),
        preferred_secs: lease.lease_time_sec,
        valid_secs: lease.lease_time_sec,
    }
}

fn lease_v6(lease: &DhcpV6Lease) -> Lease {
    let dns = lease
        .get_option_raw(V6_DNS_SERVERS)
        .unwrap_or_default()
        .iter()
        // Unlike what mozim's documentation says, number and length of the option are before its value.
        .filter_map(|option| option.get(4..))
        .flat_map(|servers| servers.as_chunks::<16>().0)
        .map(|octets| Ipv6Addr::from(*octets).into())
        .collect();
    Lease {
        address: lease.address.into(),
        prefix_len: 128,
        routes: Vec::new(),
        dns,
        search: lease.domain_list.clone(),
        server: lease.srv_ip.into(),
        preferred_secs: lease.preferred_time_sec,
        valid_secs: lease.valid_time_sec,
    }
}
