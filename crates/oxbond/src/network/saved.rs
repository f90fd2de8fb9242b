//! What is there, as the model that files are written from: the way back from [`Wanted`].

use oxbond_config::model::{
    DesiredBond, DesiredBridge, DesiredBridgePort, DesiredNetwork, DesiredPort, DesiredSelector,
    DesiredVlan, DeviceSettings, Network, Route, VidRange,
};
use oxbond_config::span::{Located, Sources, Span};
use oxbond_core::engine::EngineChoice;
use oxbond_core::option::{OptionChange, OptionId, OptionValue, PortOptionChange};

use super::plan::is_known;
use super::step::told;
use super::wanted::{
    AcceptRa, DEFAULT_PVID, FORWARD_DELAY, Family, Settings, Wanted, WantedBond, WantedBridge,
    defaults_of,
};
use crate::control::protocol::PortSelector;
use crate::exit::{Blame, Failure};

impl Wanted {
    /// As the model, without places in files.
    ///
    /// # Errors
    /// When something in it is not understood, which would be our bug.
    pub(crate) fn as_model(&self) -> Result<DesiredNetwork, Failure> {
        let writer = Model {
            span: Span::new(Sources::default().add("", ""), 0..0),
            wanted: self,
        };
        let mut network = DesiredNetwork::default();
        for bond in &self.bonds {
            network.bonds.push(writer.bond(bond)?);
        }
        for vlan in &self.vlans {
            network.vlans.push(DesiredVlan {
                name: writer.text(&vlan.name),
                id: writer.at(vlan.id),
                link: writer.text(&vlan.link),
                device: writer.device(&vlan.name),
            });
        }
        for bridge in &self.bridges {
            network.bridges.push(writer.bridge(bridge));
        }
        Ok(network)
    }
}

struct Model<'a> {
    /// Where everything "was written".
    span: Span,
    wanted: &'a Wanted,
}

impl Model<'_> {
    const fn at<T>(&self, value: T) -> Located<T> {
        Located {
            value,
            span: self.span,
        }
    }

    fn text(&self, text: &str) -> Located<String> {
        self.at(text.to_owned())
    }

    fn bond(&self, bond: &WantedBond) -> Result<DesiredBond, Failure> {
        let request = &bond.request;
        let mut desired = DesiredBond::new(self.text(&request.name));
        if request.engine != EngineChoice::Auto {
            desired.engine = Some(self.at(request.engine));
        }
        let changes: Vec<OptionChange> = match &bond.exactly {
            Some(exact) => {
                let options = &exact.options;
                let changes = options.changes_from(&defaults_of(exact.engine)).into_iter();
                // A file without a monitor would get one.
                let unmonitored = options.miimon == 0 && options.arp_interval == 0;
                let none = unmonitored.then_some(OptionChange {
                    id: OptionId::Miimon,
                    value: OptionValue::Number(0),
                });
                changes
                    .filter(|change| is_known(exact.engine, change.id, options.mode))
                    .filter(|change| none.is_none() || change.id != OptionId::Miimon)
                    .chain(none.clone())
                    .collect()
            }
            None => request
                .options
                .iter()
                .map(|(name, value)| OptionChange::parse(name, value).map_err(bug))
                .collect::<Result<_, _>>()?,
        };
        desired.options = changes.into_iter().map(|change| self.at(change)).collect();
        for port in request.ports.iter().filter(|port| !port.found) {
            desired.ports.push(DesiredPort {
                name: self.text(&port.name),
                options: self.port_options(&port.options)?,
            });
        }
        for asked in &request.selectors {
            desired.selectors.push(self.selector(asked)?);
        }
        desired.device = self.device(&request.name);
        desired.device.mtu = request.mtu.map(|mtu| self.at(mtu));
        let mac = request.mac.as_ref().map(|mac| mac.parse().map_err(bug));
        desired.device.mac = mac.transpose()?.map(|mac| self.at(mac));
        Ok(desired)
    }

    fn selector(&self, asked: &PortSelector) -> Result<DesiredSelector, Failure> {
        let text = |value: &Option<String>| value.as_ref().map(|value| self.text(value));
        let mac = asked.mac.as_ref().map(|mac| mac.parse().map_err(bug));
        Ok(DesiredSelector {
            mac: mac.transpose()?.map(|mac| self.at(mac)),
            path: text(&asked.path),
            driver: text(&asked.driver),
            name: text(&asked.name),
            expect: asked.expect.map(|expect| self.at(expect)),
            options: self.port_options(&asked.options)?,
            span: self.span,
        })
    }

    fn port_options(
        &self,
        options: &[(String, String)],
    ) -> Result<Vec<Located<PortOptionChange>>, Failure> {
        let parsed = options
            .iter()
            .map(|(name, value)| PortOptionChange::parse(name, value).map_err(bug));
        parsed.map(|option| Ok(self.at(option?))).collect()
    }

    fn bridge(&self, bridge: &WantedBridge) -> DesiredBridge {
        let mut desired = DesiredBridge::new(self.text(&bridge.name));
        desired.vlan_aware = bridge.vlan_aware.then(|| self.at(true));
        desired.stp = bridge.stp.then(|| self.at(true));
        desired.forward_delay = Some(bridge.forward_delay)
            .filter(|delay| *delay != FORWARD_DELAY)
            .map(|delay| self.at(delay / 100));
        for port in &bridge.ports {
            let vids = port
                .vids
                .iter()
                .map(|&(first, last)| self.at(VidRange { first, last }));
            desired.ports.push(DesiredBridgePort {
                name: self.text(&port.name),
                vids: vids.collect(),
                pvid: Some(port.pvid)
                    .filter(|pvid| bridge.vlan_aware && *pvid != DEFAULT_PVID)
                    .map(|pvid| self.at(pvid)),
            });
        }
        desired.settle_vids();
        desired.device = self.device(&bridge.name);
        desired
    }

    fn device(&self, name: &str) -> DeviceSettings {
        let mut device = DeviceSettings::default();
        let Some(settings) = self.wanted.settings.get(name) else {
            return device;
        };
        let Settings {
            mtu,
            mac,
            addresses,
            routes,
            accept_ra,
            dhcp,
            names,
            down: _,
            had: _,
        } = settings;
        device.mtu = mtu.map(|mtu| self.at(mtu));
        device.mac = mac.map(|mac| self.at(mac));
        device.addresses = addresses.iter().map(|address| self.at(*address)).collect();
        device.dhcp_v4 = dhcp.contains(&Family::V4).then(|| self.at(true));
        device.dhcp_v6 = dhcp.contains(&Family::V6).then(|| self.at(true));
        device.accept_ra = accept_ra
            .map(|accept| self.at(!matches!(accept, AcceptRa::Ignored | AcceptRa::Exactly(0))));
        for route in routes.iter().map(told) {
            let to = Network {
                address: route.to,
                prefix_len: route.prefix_len,
            };
            device.add_route(self.at(Route {
                metric: route.metric,
                table:
                    Some(route.table).filter(|table| *table != oxbond_linux::netlink::Route::MAIN),
                on_link: route.on_link,
                ..Route::new(to, route.via)
            }));
        }
        device.dns = names
            .servers
            .iter()
            .map(|server| self.at(*server))
            .collect();
        device.search = names
            .search
            .iter()
            .map(|domain| self.text(domain))
            .collect();
        device
    }
}

fn bug(e: impl std::fmt::Display) -> Failure {
    Failure::new(Blame::Bug, e)
}
