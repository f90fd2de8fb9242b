//! VLAN devices (IEEE 802.1Q).

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVlan, LinkAttribute, LinkInfo};

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
