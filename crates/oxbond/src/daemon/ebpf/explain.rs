//! What would become of a frame now: asked of the table that the data path has, with the links as they are.

use oxbond_core::port::PortId;
use oxbond_core::route::Outgoing;
use oxbond_core::table::PortStanding;
use oxbond_linux::netlink::Netlink;

use super::EbpfBond;
use crate::exit::Failure;
use crate::refusal::{engine_failure, kernel};
use crate::report::FrameReport;
use crate::request::untagged;

impl EbpfBond {
    /// The way of a frame as the host would send it.
    pub(in crate::daemon) fn explain_frame(
        &self,
        netlink: &mut Netlink,
        frame: &[u8],
    ) -> Result<FrameReport, Failure> {
        let table = self.engine.table().map_err(engine_failure)?;
        let left = self.engine.left().map_err(engine_failure)?;
        let mut standing = PortStanding {
            carrier: 0,
            left: left.iter().fold(0, |set, port| set | port.bit()),
        };
        for (port, ifindex) in self.engine.ports() {
            let link = netlink.link_by_index(ifindex).map_err(kernel)?;
            if link.is_some_and(|link| link.up && link.carrier) {
                standing.carrier |= port.bit();
            }
        }
        let (frame, tag) = untagged(frame);
        let outgoing = Outgoing {
            frame: &frame,
            tag,
            queue: 0,
            number: 1,
        };
        let name = |port: PortId| self.engine.port_name(port).unwrap_or("?").to_owned();
        let explained = table.explain(&outgoing, standing, name);
        Ok(FrameReport {
            ports: explained.route.ports.iter().copied().map(name).collect(),
            planned: explained.route.planned.map(name),
            bucket: explained.route.bucket,
            steps: explained.steps,
        })
    }
}
