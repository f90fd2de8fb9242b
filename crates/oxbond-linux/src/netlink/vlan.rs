//! VLAN devices (IEEE 802.1Q).

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkInfo, VlanFlags,
};

use super::Netlink;
use super::link::named_link;
use crate::error::KernelError;

impl Netlink {
    /// Makes a VLAN device on an interface; its id (1 to 4094) is for life.
    ///
    /// # Errors
    /// What the kernel says; `EOPNOTSUPP` from kernels without VLAN devices, `EEXIST` when the name is taken or the
    /// interface has a device of this id.
    pub fn create_vlan(&mut self, name: &str, lower: u32, id: u16) -> Result<(), KernelError> {
        let mut message = named_link(name);
        message.attributes.push(LinkAttribute::Link(lower));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vlan),
            LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(id)])),
        ]));
        self.write(
            &RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
            "create vlan",
            name,
        )
    }
}

/// What a VLAN device was made with: id, protocol, flags, maps of priorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VlanSettings(Vec<InfoVlan>);

impl Netlink {
    /// What a VLAN device was made with; `None` for what is none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn vlan_settings(&mut self, index: u32) -> Result<Option<VlanSettings>, KernelError> {
        let infos = self.link_infos(index)?;
        let settings = infos.into_iter().find_map(|info| match info {
            LinkInfo::Data(InfoData::Vlan(settings)) => Some(settings),
            _ => None,
        });
        Ok(settings.map(|mut settings| {
            for setting in &mut settings {
                if let InfoVlan::Flags((flags, mask)) = setting {
                    // All bits are reported as meant; only known ones may be set. A new device begins with this one.
                    *mask = *flags | VlanFlags::ReorderHdr;
                }
            }
            VlanSettings(settings)
        }))
    }

    /// Makes a VLAN device on an interface with the settings of another one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn create_vlan_like(
        &mut self,
        name: &str,
        lower: u32,
        settings: &VlanSettings,
    ) -> Result<(), KernelError> {
        let mut message = named_link(name);
        message.attributes.push(LinkAttribute::Link(lower));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vlan),
            LinkInfo::Data(InfoData::Vlan(settings.0.clone())),
        ]));
        self.write(
            &RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
            "create vlan",
            name,
        )
    }
}
