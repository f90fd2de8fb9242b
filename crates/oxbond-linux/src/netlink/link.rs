//! Interfaces: what they are, and changing them.

use std::time::{Duration, Instant};

use netlink_packet_core::{DefaultNla, Emitable as _, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoNetkit, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType,
    LinkMessage, NetkitMode, NetkitPolicy,
};
use oxbond_wire::MacAddr;

use super::attributes::{attribute, attributes, short_at, text_of, word_at};
use super::bridge::BridgeSettings;
use super::{Failure, Netlink, named};
use crate::error::KernelError;

/// `RTM_NEWLINK`: an interface is as this message says.
pub(crate) const NEW_LINK: u16 = 16;
/// `RTM_DELLINK`: an interface is gone.
pub(crate) const DEL_LINK: u16 = 17;
/// `RTM_GETLINK`.
pub(super) const GET_LINK: u16 = 18;

/// Length of `struct ifinfomsg`; its device type is at byte 2, its index at byte 4, its flags are at byte 8.
pub(super) const LINK_HEADER_LEN: usize = 16;

pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
pub(super) const IFLA_MASTER: u16 = 10;
pub(super) const IFLA_OPERSTATE: u16 = 16;
pub(super) const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_CARRIER_CHANGES: u16 = 35;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_MIN_MTU: u16 = 50;
const IFLA_MAX_MTU: u16 = 51;
const IFLA_PERM_ADDRESS: u16 = 54;
pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;
pub(super) const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_VLAN_ID: u16 = 1;

/// Without the counters of IPv6, which are most of a link, and summed up over all processors (Linux 4.4). The counters of the
/// interface itself stay.
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

/// How the alias of each device that Oxbond makes begins. By it a device is recognised as ours after the daemon died.
pub const ALIAS_MARK: &str = "oxbond:";

/// Operational state of an interface (RFC 2863), as far as it matters.
///
/// It follows carrier a moment later, when the kernel has also started or stopped the interface's queues: with carrier
/// and not yet *up*, frames are still dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperState {
    /// Frames handed to it are transmitted.
    Up,
    /// They are not.
    Down,
    /// The driver or the administrator has not said.
    Unknown,
}

impl OperState {
    /// From the kernel's number (`IF_OPER_*`).
    const fn of(number: u8) -> Self {
        match number {
            6 => Self::Up,
            // Not present, down, lower layer down.
            1..=3 => Self::Down,
            _ => Self::Unknown,
        }
    }
}

/// An interface, as far as bonding cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index, unique in its network namespace.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// Kind of a virtual device (`veth`, `bridge`, ...); `None` for hardware.
    pub kind: Option<String>,
    /// It carries Ethernet frames (`ARPHRD_ETHER`).
    pub ethernet: bool,
    /// It is the loopback.
    pub loopback: bool,
    /// It is a point-to-point link.
    pub point_to_point: bool,
    /// Set up by its user (`IFF_UP`).
    pub up: bool,
    /// It has carrier and is up (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// It is the head of a bond or team (`IFF_MASTER`).
    pub is_master: bool,
    /// Its user wants promiscuous mode (`IFF_PROMISC` as netlink reports it, without what the kernel wants itself).
    pub promisc: bool,
    /// Its user wants all multicast frames (`IFF_ALLMULTI`, likewise).
    pub allmulti: bool,
    /// It does not do ARP (`IFF_NOARP`).
    pub noarp: bool,
    /// How many parties want promiscuous mode, the kernel's included (a bridge port counts one).
    pub promiscuity: u32,
    /// Link-layer address. `None` when it is not six bytes.
    pub mac: Option<MacAddr>,
    /// Burnt-in address, where the driver knows one (`IFLA_PERM_ADDRESS`, Linux 5.6).
    pub permanent_mac: Option<MacAddr>,
    /// Maximum transmission unit in bytes.
    pub mtu: u32,
    /// Smallest MTU the driver takes.
    pub min_mtu: u32,
    /// Largest MTU the driver takes; 0 when it names none.
    pub max_mtu: u32,
    /// Bridge, bond, team or VRF it is a port of.
    pub master: Option<u32>,
    /// What it is a port of (`bridge`, `bond`, ...), where it is one.
    pub port_kind: Option<String>,
    /// The device below it (of a VLAN, a macvlan) or at its other end (veth), when that lives in the same namespace.
    pub lower: Option<u32>,
    /// VLAN id, of a VLAN device.
    pub vlan_id: Option<u16>,
    /// Settings, of a bridge.
    pub bridge: Option<BridgeSettings>,
    /// Operational state.
    pub oper: OperState,
    /// Free text (`IFLA_IFALIAS`).
    pub alias: Option<String>,
    /// How often carrier came and went.
    pub carrier_changes: u32,
}

impl Link {
    /// It is a device Oxbond made.
    pub fn is_ours(&self) -> bool {
        self.alias
            .as_deref()
            .is_some_and(|alias| alias.starts_with(ALIAS_MARK))
    }

    /// From the body of an `RTM_NEWLINK` or `RTM_DELLINK`.
    ///
    /// Read by hand: a machine may have thousands of interfaces, and of what the kernel says of each most is of no
    /// use here.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Failure> {
        let cut = || Failure::garbled("a link is cut short");
        let flags = LinkFlags::from_bits_retain(word_at(body, 8).ok_or_else(cut)?);
        let kind = short_at(body, 2).ok_or_else(cut)?;
        let mut link = Self {
            index: word_at(body, 4).ok_or_else(cut)?,
            name: String::new(),
            kind: None,
            ethernet: kind == u16::from(LinkLayerType::Ether),
            loopback: flags.contains(LinkFlags::Loopback),
            point_to_point: flags.contains(LinkFlags::Pointopoint),
            up: flags.contains(LinkFlags::Up),
            carrier: flags.contains(LinkFlags::LowerUp),
            is_master: flags.contains(LinkFlags::Controller),
            promisc: flags.contains(LinkFlags::Promisc),
            allmulti: flags.contains(LinkFlags::Allmulti),
            noarp: flags.contains(LinkFlags::Noarp),
            promiscuity: 0,
            mac: None,
            permanent_mac: None,
            mtu: 0,
            min_mtu: 0,
            max_mtu: 0,
            master: None,
            port_kind: None,
            lower: None,
            vlan_id: None,
            bridge: None,
            oper: OperState::Unknown,
            alias: None,
            carrier_changes: 0,
        };
        let mut lower_elsewhere = false;
        for (kind, value) in attributes(body.get(LINK_HEADER_LEN..).ok_or_else(cut)?) {
            let number = || word_at(value, 0).ok_or_else(cut);
            match kind {
                IFLA_IFNAME => link.name = text_of(value),
                IFLA_ADDRESS => link.mac = mac_of(value),
                IFLA_PERM_ADDRESS => link.permanent_mac = mac_of(value),
                IFLA_MTU => link.mtu = number()?,
                IFLA_MIN_MTU => link.min_mtu = number()?,
                IFLA_MAX_MTU => link.max_mtu = number()?,
                IFLA_MASTER => link.master = Some(number()?),
                IFLA_LINK => link.lower = Some(number()?).filter(|index| *index != 0),
                IFLA_LINK_NETNSID => lower_elsewhere = true,
                IFLA_PROMISCUITY => link.promiscuity = number()?,
                IFLA_OPERSTATE => link.oper = OperState::of(*value.first().ok_or_else(cut)?),
                IFLA_IFALIAS => link.alias = Some(text_of(value)),
                IFLA_CARRIER_CHANGES => link.carrier_changes = number()?,
                IFLA_LINKINFO => link.read_info(value),
                _ => {}
            }
        }
        if lower_elsewhere {
            link.lower = None; // The index belongs to another namespace and may name a stranger in ours.
        }
        Ok(link)
    }

    /// What kind of virtual device it is, and of port.
    fn read_info(&mut self, info: &[u8]) {
        let mut data = None;
        for (number, value) in attributes(info) {
            match number {
                IFLA_INFO_KIND => self.kind = Some(text_of(value)),
                IFLA_INFO_SLAVE_KIND => self.port_kind = Some(text_of(value)),
                IFLA_INFO_DATA => data = Some(value),
                _ => {}
            }
        }
        match (self.kind.as_deref(), data) {
            (Some("vlan"), Some(data)) => {
                self.vlan_id = attribute(data, IFLA_VLAN_ID).and_then(|id| short_at(id, 0));
            }
            (Some("bridge"), Some(data)) => self.bridge = Some(BridgeSettings::read(data)),
            _ => {}
        }
    }
}

pub(super) fn mac_of(bytes: &[u8]) -> Option<MacAddr> {
    <[u8; 6]>::try_from(bytes).ok().map(MacAddr::from)
}

impl Netlink {
    /// Every interface of the namespace.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn links(&mut self) -> Result<Vec<Link>, KernelError> {
        self.dump_links(&[], "interfaces", |body| Link::read(body).map(Some))
    }

    /// The interface of this name. One that has it beside its own is another: see [`Netlink::link_by_any_name`].
    ///
    /// # Errors
    /// What the kernel says, except that there is none.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, KernelError> {
        let link = self.link_by_any_name(name)?;
        Ok(link.filter(|link| link.name == name))
    }

    /// The interface that has this name, be it as one beside its own (`ip link property`, Linux 5.5): no other can get it.
    ///
    /// # Errors
    /// What the kernel says, except that there is none.
    pub fn link_by_any_name(&mut self, name: &str) -> Result<Option<Link>, KernelError> {
        // Longer names would be refused as malformed; there can be no such interface.
        if name.len() >= libc::IFNAMSIZ {
            return Ok(None);
        }
        let text = [name.as_bytes(), &[0]].concat();
        self.one_link(0, &[DefaultNla::new(IFLA_IFNAME, text)], name)
    }

    /// The interface of this index.
    ///
    /// # Errors
    /// What the kernel says, except that there is none.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>, KernelError> {
        self.one_link(index, &[], &format!("interface {index}"))
    }

    fn one_link(
        &mut self,
        index: u32,
        name: &[DefaultNla],
        what: &str,
    ) -> Result<Option<Link>, KernelError> {
        match self.transport.request(GET_LINK, 0, &link_body(index, name)) {
            Ok(answers) => {
                let link = answers.first().map(|answer| Link::read(&answer.body));
                link.transpose()
                    .map_err(|failure| named(failure, "look up", what))
            }
            Err(failure) if failure.errno == libc::ENODEV => Ok(None),
            Err(failure) => Err(named(failure, "look up", what)),
        }
    }

    /// Those of the interfaces that the kernel finds by these attributes which `read` wants, as it sees them.
    pub(super) fn dump_links<T>(
        &mut self,
        filter: &[DefaultNla],
        what: &str,
        read: impl Fn(&[u8]) -> Result<Option<T>, Failure>,
    ) -> Result<Vec<T>, KernelError> {
        let mask = RTEXT_FILTER_SKIP_STATS.to_ne_bytes().to_vec();
        let asked = [filter, &[DefaultNla::new(IFLA_EXT_MASK, mask)]].concat();
        self.transport
            .dump(GET_LINK, &link_body(0, &asked), |_, body| {
                read(body).transpose()
            })
            .and_then(|links| links.into_iter().collect())
            .map_err(|failure| named(failure, "list", what))
    }

    /// Sets an interface up.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_up(&mut self, index: u32) -> Result<(), KernelError> {
        self.set_flag(index, LinkFlags::Up, true, "set up")
    }

    /// Waits until an interface that just got carrier transmits, for at most 100 ms. Its queues start a moment after
    /// (within the query itself since Linux 6.8); until then the kernel drops what is sent by it, without a word.
    ///
    /// Returns at once for an interface that is down or has no carrier.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait_until_started(&mut self, index: u32) -> Result<(), KernelError> {
        let end = Instant::now() + Duration::from_millis(100);
        while let Some(link) = self.link_by_index(index)?
            && link.up
            && link.carrier
            && link.oper != OperState::Up
            && Instant::now() < end
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Sets an interface down.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_down(&mut self, index: u32) -> Result<(), KernelError> {
        self.set_flag(index, LinkFlags::Up, false, "set down")
    }

    /// Asks for all multicast frames, or withdraws that.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_allmulti(&mut self, index: u32, on: bool) -> Result<(), KernelError> {
        self.set_flag(index, LinkFlags::Allmulti, on, "set allmulti of")
    }

    /// Asks for every frame on the wire, or withdraws that.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_promisc(&mut self, index: u32, on: bool) -> Result<(), KernelError> {
        self.set_flag(index, LinkFlags::Promisc, on, "set promiscuous mode of")
    }

    /// Lets an interface resolve and answer ARP, or not.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_arp(&mut self, index: u32, on: bool) -> Result<(), KernelError> {
        self.set_flag(index, LinkFlags::Noarp, !on, "set ARP of")
    }

    /// Gives an interface this address.
    ///
    /// # Errors
    /// What the kernel says; `EBUSY` from drivers that cannot while the interface is up.
    pub fn set_mac(&mut self, index: u32, mac: MacAddr) -> Result<(), KernelError> {
        self.change(
            index,
            LinkAttribute::Address(mac.octets().to_vec()),
            format!("set address {mac} of"),
        )
    }

    /// Sets the MTU, in bytes.
    ///
    /// # Errors
    /// What the kernel says; `EINVAL` beyond the driver's limits.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), KernelError> {
        self.change(index, LinkAttribute::Mtu(mtu), format!("set MTU {mtu} of"))
    }

    /// Writes the alias, free text of at most 255 bytes.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_alias(&mut self, index: u32, alias: &str) -> Result<(), KernelError> {
        self.change(
            index,
            LinkAttribute::IfAlias(alias.to_owned()),
            "set the alias of",
        )
    }

    /// Makes a veth pair: `name` and its other end `peer`.
    ///
    /// # Errors
    /// What the kernel says; `EEXIST` when either name is taken.
    pub fn create_veth(&mut self, name: &str, peer: &str) -> Result<(), KernelError> {
        self.create_veth_with_queues(name, peer, 1)
    }

    /// As [`Self::create_veth`]; the end `name` has this many transmit queues.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn create_veth_with_queues(
        &mut self,
        name: &str,
        peer: &str,
        queues: u32,
    ) -> Result<(), KernelError> {
        let data = InfoData::Veth(InfoVeth::Peer(named_link(peer)));
        self.create(name, InfoKind::Veth, Some(data), queues)
    }

    /// Makes a netkit pair in L2 mode (Linux 6.7): `name` is the primary end and drops what no program takes,
    /// `peer` lets pass what no program takes. `name` has this many transmit queues.
    ///
    /// # Errors
    /// What the kernel says; `EOPNOTSUPP` from kernels without netkit.
    pub fn create_netkit(
        &mut self,
        name: &str,
        peer: &str,
        queues: u32,
    ) -> Result<(), KernelError> {
        let data = InfoData::Netkit(vec![
            InfoNetkit::Mode(NetkitMode::L2),
            InfoNetkit::Policy(NetkitPolicy::Drop),
            InfoNetkit::PeerPolicy(NetkitPolicy::Pass),
            InfoNetkit::Peer(named_link(peer)),
        ]);
        self.create(name, InfoKind::Netkit, Some(data), queues)
    }

    /// Makes a macvlan (bridge mode) on an interface.
    #[cfg(test)]
    pub(crate) fn create_macvlan(&mut self, name: &str, lower: u32) -> Result<(), KernelError> {
        use netlink_packet_route::link::{InfoMacVlan, MacVlanMode};
        let mut message = named_link(name);
        message.attributes.push(LinkAttribute::Link(lower));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::MacVlan),
            LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(
                MacVlanMode::Bridge,
            )])),
        ]));
        self.write(
            &RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
            "create macvlan",
            name,
        )
    }

    /// Gives an interface another name; `%d` in it becomes the lowest number that makes a free one. Before Linux 6.2 only
    /// while the interface is down.
    ///
    /// # Errors
    /// What the kernel says; `EEXIST` when the name is taken, `EBUSY` when it would have to be down.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<(), KernelError> {
        self.change(index, LinkAttribute::IfName(name.to_owned()), "rename")
    }

    /// Moves an interface into another network namespace.
    #[cfg(test)]
    pub(crate) fn move_to(
        &mut self,
        index: u32,
        namespace: &crate::netns::NetNs,
    ) -> Result<(), KernelError> {
        use std::os::fd::{AsFd as _, AsRawFd as _};
        self.change(
            index,
            LinkAttribute::NetNsFd(namespace.as_fd().as_raw_fd()),
            "move",
        )
    }

    /// Deletes an interface, and with it the other end of a pair.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn delete_link(&mut self, index: u32) -> Result<(), KernelError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let object = self.name_of(index);
        self.write(&RouteNetlinkMessage::DelLink(message), 0, "delete", object)
    }

    pub(super) fn create(
        &mut self,
        name: &str,
        kind: InfoKind,
        data: Option<InfoData>,
        queues: u32,
    ) -> Result<(), KernelError> {
        let op = format!("create {kind}");
        let mut message = named_link(name);
        message.attributes.push(LinkAttribute::NumTxQueues(queues));
        let mut info = vec![LinkInfo::Kind(kind)];
        info.extend(data.map(LinkInfo::Data));
        message.attributes.push(LinkAttribute::LinkInfo(info));
        self.write(
            &RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
            op,
            name,
        )
    }

    fn set_flag(
        &mut self,
        index: u32,
        flag: LinkFlags,
        on: bool,
        op: &str,
    ) -> Result<(), KernelError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.change_mask = flag;
        if on {
            message.header.flags = flag;
        }
        self.set(index, message, op.to_owned())
    }

    pub(super) fn change(
        &mut self,
        index: u32,
        attribute: LinkAttribute,
        op: impl Into<String>,
    ) -> Result<(), KernelError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(attribute);
        self.set(index, message, op.into())
    }

    fn set(&mut self, index: u32, message: LinkMessage, op: String) -> Result<(), KernelError> {
        let result = self.write(&RouteNetlinkMessage::SetLink(message), 0, op, String::new());
        result.map_err(|error| KernelError {
            object: self.name_of(index),
            ..error
        })
    }

    /// What the kernel tells of a virtual device and of its place as a port.
    pub(super) fn link_infos(&mut self, index: u32) -> Result<Vec<LinkInfo>, KernelError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let what = format!("interface {index}");
        let answers = self
            .ask(&RouteNetlinkMessage::GetLink(message))
            .map_err(|failure| named(failure, "look up", what))?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(message) => Some(message.attributes),
                _ => None,
            })
            .flatten()
            .filter_map(|attribute| match attribute {
                LinkAttribute::LinkInfo(infos) => Some(infos),
                _ => None,
            })
            .flatten()
            .collect())
    }

    /// For error texts: the name, or the index of what has none any more.
    pub(crate) fn name_of(&mut self, index: u32) -> String {
        match self.link_by_index(index) {
            Ok(Some(link)) => link.name,
            _ => format!("interface {index}"),
        }
    }
}

/// Body of a link message: `struct ifinfomsg` and attributes.
pub(super) fn link_body(index: u32, attributes: &[DefaultNla]) -> Vec<u8> {
    let mut body = vec![0; LINK_HEADER_LEN + attributes.buffer_len()];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    attributes.emit(&mut body[LINK_HEADER_LEN..]);
    body
}

pub(super) fn named_link(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message
        .attributes
        .push(LinkAttribute::IfName(name.to_owned()));
    message
}
