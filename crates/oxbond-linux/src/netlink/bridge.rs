//! Bridges: making and setting them, their ports, and the VLANs of their ports.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use netlink_packet_core::Emitable as _;
use netlink_packet_route::link::{
    AfSpecBridge, BridgeFlag, BridgeStpState, BridgeVlanInfo, BridgeVlanInfoFlags, InfoBridge,
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, LinkAttribute, LinkExtentMask,
    LinkInfo, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use serde::{Deserialize, Serialize};

use super::attributes::{attribute, attributes, short_at, word_at};
use super::link::LINK_HEADER_LEN;
use super::{Netlink, body_of, named};
use crate::error::KernelError;

/// Settings of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeSettings {
    /// It speaks the spanning tree protocol (a daemon in user space may do so for it).
    pub stp: bool,
    /// How long a port listens, and how long it learns, in hundredths of a second.
    pub forward_delay: u32,
    /// It looks at VLAN tags. Always `false` where the kernel has no VLAN filtering.
    pub vlan_filtering: bool,
    /// VLAN of untagged frames that new ports get; 0 for none. 0 where the kernel has no VLAN filtering.
    pub default_pvid: u16,
}

impl BridgeSettings {
    /// From what the kernel says of a bridge as a device (`IFLA_BR_*`).
    pub(super) fn read(data: &[u8]) -> Self {
        let mut settings = Self::default();
        for (number, value) in attributes(data) {
            match number {
                IFLA_BR_STP_STATE => {
                    settings.stp = word_at(value, 0).is_some_and(|state| state != 0)
                }
                IFLA_BR_FORWARD_DELAY => settings.forward_delay = word_at(value, 0).unwrap_or(0),
                IFLA_BR_VLAN_FILTERING => {
                    settings.vlan_filtering = value.first().is_some_and(|on| *on != 0)
                }
                IFLA_BR_VLAN_DEFAULT_PVID => {
                    settings.default_pvid = short_at(value, 0).unwrap_or(0)
                }
                _ => {}
            }
        }
        settings
    }
}

/// One setting of a bridge, to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeSetting {
    /// As [`BridgeSettings::stp`].
    Stp(bool),
    /// As [`BridgeSettings::forward_delay`].
    ForwardDelay(u32),
    /// As [`BridgeSettings::vlan_filtering`].
    VlanFiltering(bool),
}

/// VLANs that a bridge port (or the bridge itself, as its own port) lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortVlan {
    /// The VLAN.
    pub vid: u16,
    /// Untagged frames that arrive belong to it.
    pub pvid: bool,
    /// Its frames leave without a tag.
    pub untagged: bool,
}

const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BR_VLAN_DEFAULT_PVID: u16 = 39;

/// `IFLA_AF_SPEC`, and in it `IFLA_BRIDGE_VLAN_INFO`.
const IFLA_AF_SPEC: u16 = 26;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;

impl Netlink {
    /// Makes a bridge.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn create_bridge(&mut self, name: &str) -> Result<(), KernelError> {
        self.create(name, InfoKind::Bridge, None, 1)
    }

    /// Changes a setting of a bridge.
    ///
    /// # Errors
    /// What the kernel says; `EOPNOTSUPP` for VLAN filtering where the kernel has none, `ERANGE` for a delay below 2 s or
    /// above 30 s while it speaks the spanning tree protocol.
    pub fn set_bridge(&mut self, index: u32, setting: BridgeSetting) -> Result<(), KernelError> {
        let data = vec![match setting {
            BridgeSetting::Stp(true) => InfoBridge::StpState(BridgeStpState::KernelStp),
            BridgeSetting::Stp(false) => InfoBridge::StpState(BridgeStpState::Disabled),
            BridgeSetting::ForwardDelay(delay) => InfoBridge::ForwardDelay(delay),
            BridgeSetting::VlanFiltering(on) => InfoBridge::VlanFiltering(on),
        }];
        let info = LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(data)),
        ]);
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(info);
        let object = self.name_of(index);
        // RTM_SETLINK passes over the settings of a kind; RTM_NEWLINK of a device that exists changes them.
        self.write(
            &RouteNetlinkMessage::NewLink(message),
            0,
            "set the bridge",
            object,
        )
    }

    /// Makes an interface a port of a bridge, or of nothing.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_master(&mut self, index: u32, master: Option<u32>) -> Result<(), KernelError> {
        self.change(
            index,
            LinkAttribute::Controller(master.unwrap_or(0)),
            "set the master of",
        )
    }

    /// The VLANs of every bridge port and of every bridge itself, by interface index, in order. Empty where the kernel
    /// has no VLAN filtering.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn port_vlans(&mut self) -> Result<BTreeMap<u32, Vec<PortVlan>>, KernelError> {
        let mut message = LinkMessage::default();
        message.header.interface_family = AddressFamily::Bridge;
        message
            .attributes
            .push(LinkAttribute::ExtMask(vec![LinkExtentMask::Brvlan]));
        let request = RouteNetlinkMessage::GetLink(message);
        // Read by hand: the crate refuses a port without VLANs, whose list is empty.
        let of_port = |_, body: &[u8]| {
            let spec = attribute(body.get(LINK_HEADER_LEN..)?, IFLA_AF_SPEC)?;
            Some((word_at(body, 4)?, port_vlans_of(spec)))
        };
        let all = self
            .transport
            .dump(request.message_type(), &body_of(&request), of_port)
            .map_err(|failure| named(failure, "list", "VLANs of bridge ports"))?;
        let mut vlans: BTreeMap<u32, Vec<PortVlan>> = BTreeMap::new();
        for (index, of_port) in all {
            vlans.entry(index).or_default().extend(of_port);
        }
        vlans.values_mut().for_each(|vlans| vlans.sort());
        Ok(vlans)
    }

    /// Lets VLANs through a bridge port, or through the bridge itself as its own port. With `pvid` untagged frames that
    /// arrive belong to the VLAN and its frames leave untagged; the range then is one VLAN.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add_port_vlans(
        &mut self,
        index: u32,
        of_bridge: bool,
        vids: RangeInclusive<u16>,
        pvid: bool,
    ) -> Result<(), KernelError> {
        let object = self.vlans_text(index, &vids);
        let flags = match pvid {
            true => BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged,
            false => BridgeVlanInfoFlags::empty(),
        };
        let message = port_vlans_message(index, of_bridge, vids, flags);
        self.write(
            &RouteNetlinkMessage::SetLink(message),
            0,
            "add to the bridge VLANs of",
            object,
        )
    }

    /// Makes these the VLANs that a bridge port lets through; writes what differs.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_port_vlans(&mut self, index: u32, vlans: &[PortVlan]) -> Result<(), KernelError> {
        let have = self.port_vlans()?.remove(&index).unwrap_or_default();
        let missing: Vec<PortVlan> = vlans
            .iter()
            .filter(|vlan| !have.contains(vlan))
            .copied()
            .collect();
        // One message for VLANs that follow each other: a trunk has 4094. The one of untagged frames stands alone.
        let follows = |a: &PortVlan, b: &PortVlan| {
            !a.pvid && !b.pvid && a.untagged == b.untagged && a.vid.checked_add(1) == Some(b.vid)
        };
        for range in missing.chunk_by(follows) {
            let (Some(first), Some(last)) = (range.first(), range.last()) else {
                continue;
            };
            let vids = first.vid..=last.vid;
            let object = self.vlans_text(index, &vids);
            let mut flags = BridgeVlanInfoFlags::empty();
            flags.set(BridgeVlanInfoFlags::Pvid, first.pvid);
            flags.set(BridgeVlanInfoFlags::Untagged, first.untagged);
            let message = port_vlans_message(index, false, vids, flags);
            let message = RouteNetlinkMessage::SetLink(message);
            self.write(&message, 0, "add to the bridge VLANs of", object)?;
        }
        for gone in have {
            if !vlans.iter().any(|vlan| vlan.vid == gone.vid) {
                self.del_port_vlans(index, false, gone.vid..=gone.vid)?;
            }
        }
        Ok(())
    }

    /// Lets VLANs no longer through.
    ///
    /// # Errors
    /// What the kernel says; none for VLANs that were not let through.
    pub fn del_port_vlans(
        &mut self,
        index: u32,
        of_bridge: bool,
        vids: RangeInclusive<u16>,
    ) -> Result<(), KernelError> {
        let object = self.vlans_text(index, &vids);
        let message = port_vlans_message(index, of_bridge, vids, BridgeVlanInfoFlags::empty());
        self.write(
            &RouteNetlinkMessage::DelLink(message),
            0,
            "remove from the bridge VLANs of",
            object,
        )
    }

    fn vlans_text(&mut self, index: u32, vids: &RangeInclusive<u16>) -> String {
        let name = self.name_of(index);
        match vids.start() == vids.end() {
            true => format!("{name}: {}", vids.start()),
            false => format!("{name}: {}-{}", vids.start(), vids.end()),
        }
    }
}

/// How a bridge treats a port: cost, priority, what is learned and flooded there, and the like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgePortSettings(Vec<u8>);

impl Netlink {
    /// How a bridge treats this port of it; `None` for what is no port of a bridge.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn bridge_port(&mut self, index: u32) -> Result<Option<BridgePortSettings>, KernelError> {
        let infos = self.link_infos(index)?;
        let settings = infos.into_iter().find_map(|info| match info {
            LinkInfo::PortData(InfoPortData::BridgePort(settings)) => Some(settings),
            _ => None,
        });
        Ok(settings.map(|settings| {
            // What the bridge reports of the port's state cannot be set.
            let settable = |setting: &InfoBridgePort| {
                matches!(
                    setting,
                    InfoBridgePort::Priority(_)
                        | InfoBridgePort::Cost(_)
                        | InfoBridgePort::HairpinMode(_)
                        | InfoBridgePort::Guard(_)
                        | InfoBridgePort::Protect(_)
                        | InfoBridgePort::FastLeave(_)
                        | InfoBridgePort::Learning(_)
                        | InfoBridgePort::UnicastFlood(_)
                        | InfoBridgePort::ProxyARP(_)
                        | InfoBridgePort::ProxyARPWifi(_)
                        | InfoBridgePort::MulticastRouter(_)
                        | InfoBridgePort::MulticastFlood(_)
                        | InfoBridgePort::MulticastToUnicast(_)
                        | InfoBridgePort::VlanTunnel(_)
                        | InfoBridgePort::BroadcastFlood(_)
                        | InfoBridgePort::GroupFwdMask(_)
                        | InfoBridgePort::NeighSupress(_)
                        | InfoBridgePort::Isolated(_)
                        | InfoBridgePort::Locked(_)
                        | InfoBridgePort::Mab(_)
                )
            };
            let kept: Vec<InfoBridgePort> = settings.into_iter().filter(settable).collect();
            let mut bytes = vec![0; kept.as_slice().buffer_len()];
            kept.as_slice().emit(&mut bytes);
            BridgePortSettings(bytes)
        }))
    }

    /// Lets a bridge treat a port of it like another one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_bridge_port(
        &mut self,
        index: u32,
        settings: &BridgePortSettings,
    ) -> Result<(), KernelError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::Other(settings.0.clone())),
        ]));
        let object = self.name_of(index);
        self.write(
            &RouteNetlinkMessage::NewLink(message),
            0,
            "set how a bridge treats",
            object,
        )
    }
}

/// The content of `IFLA_AF_SPEC` of family `AF_BRIDGE`, uncompressed.
fn port_vlans_of(spec: &[u8]) -> Vec<PortVlan> {
    attributes(spec)
        .filter(|(number, _)| *number == IFLA_BRIDGE_VLAN_INFO)
        .filter_map(|(_, value)| BridgeVlanInfo::try_from(value).ok())
        .map(|info| PortVlan {
            vid: info.vid,
            pvid: info.flags.contains(BridgeVlanInfoFlags::Pvid),
            untagged: info.flags.contains(BridgeVlanInfoFlags::Untagged),
        })
        .collect()
}

fn port_vlans_message(
    index: u32,
    of_bridge: bool,
    vids: RangeInclusive<u16>,
    mut flags: BridgeVlanInfoFlags,
) -> LinkMessage {
    if of_bridge {
        flags |= BridgeVlanInfoFlags::Brentry;
    }
    let info = |vid, more| {
        AfSpecBridge::VlanInfo(BridgeVlanInfo {
            flags: flags | more,
            vid,
        })
    };
    let mut spec = Vec::new();
    if of_bridge {
        spec.push(AfSpecBridge::Flags(BridgeFlag::LowerDev));
    }
    if vids.start() == vids.end() {
        spec.push(info(*vids.start(), BridgeVlanInfoFlags::empty()));
    } else {
        spec.push(info(*vids.start(), BridgeVlanInfoFlags::RangeBegin));
        spec.push(info(*vids.end(), BridgeVlanInfoFlags::RangeEnd));
    }
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.header.index = index;
    message.attributes.push(LinkAttribute::AfSpecBridge(spec));
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::in_fresh_namespaces;

    #[test]
    fn root_a_bridge_is_made_set_and_read_back() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_bridge("vmbr0").unwrap();
            nl.create_veth("p0", "q0").unwrap();
            let index = |nl: &mut Netlink, name: &str| nl.link(name).unwrap().unwrap().index;
            let (bridge, p0) = (index(&mut nl, "vmbr0"), index(&mut nl, "p0"));
            let settings = |nl: &mut Netlink| nl.link("vmbr0").unwrap().unwrap().bridge.unwrap();
            let fresh = settings(&mut nl);
            assert_eq!((fresh.stp, fresh.forward_delay), (false, 1500));
            nl.set_bridge(bridge, BridgeSetting::Stp(true)).unwrap();
            nl.set_bridge(bridge, BridgeSetting::ForwardDelay(400))
                .unwrap();
            let set = settings(&mut nl);
            assert_eq!((set.stp, set.forward_delay), (true, 400));
            nl.set_bridge(bridge, BridgeSetting::ForwardDelay(0))
                .unwrap_err();
            nl.set_bridge(bridge, BridgeSetting::Stp(false)).unwrap();
            nl.set_bridge(bridge, BridgeSetting::ForwardDelay(0))
                .unwrap();
            let set = settings(&mut nl);
            assert_eq!((set.stp, set.forward_delay), (false, 0));
            nl.set_master(p0, Some(bridge)).unwrap();
            assert_eq!(nl.link("p0").unwrap().unwrap().master, Some(bridge));
            nl.set_master(p0, None).unwrap();
            assert_eq!(nl.link("p0").unwrap().unwrap().master, None);
            assert_eq!(nl.link("p0").unwrap().unwrap().bridge, None);
        });
    }
}
