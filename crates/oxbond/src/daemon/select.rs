//! Ports by what they are: finds the interfaces that selectors of bonds fit, when something is planned and whenever an
//! interface appears.

use std::collections::BTreeSet;

use oxbond_config::model::{
    DesiredBond, DesiredBridge, DesiredBridgePort, DesiredNetwork, DesiredPort, DesiredSelector,
};
use oxbond_config::select::{InterfaceFacts, Selection, select};
use oxbond_config::span::{Located, Sources, Span};
use oxbond_linux::hardware;
use oxbond_linux::netlink::Link;
use tracing::{info, warn};

use super::managed::ManagedBond;
use super::service::Service;
use crate::control::protocol::{BondRequest, PortRequest};
use crate::exit::Failure;
use crate::network::Wanted;
use crate::refusal::{configuration, kernel};
use crate::request::{parse_mac, parse_port_options};

impl Service {
    /// What is wanted, with the ports that selectors find now. One that was found before and is away now stays.
    pub(super) fn with_found_ports(&mut self, wanted: &Wanted) -> Result<Wanted, Failure> {
        let mut wanted = wanted.clone();
        if wanted
            .bonds
            .iter()
            .all(|bond| bond.request.selectors.is_empty())
        {
            return Ok(wanted);
        }
        let interfaces = self.interfaces()?;
        let requests: Vec<&BondRequest> = wanted.bonds.iter().map(|bond| &bond.request).collect();
        let others = wanted.vlans.iter().map(|vlan| vlan.name.clone()).chain(
            wanted.bridges.iter().flat_map(|bridge| {
                let ports = bridge.ports.iter().map(|port| port.name.clone());
                ports.chain([bridge.name.clone()])
            }),
        );
        let selection = find(&requests, others, &interfaces)?;
        if let Some(wrong) = selection.diagnostics.first() {
            return Err(configuration(&wrong.message));
        }
        for (bond, found) in wanted.bonds.iter_mut().zip(selection.bonds) {
            let request = &mut bond.request;
            let named = request.ports.len();
            let found_now = found.ports.iter().skip(named);
            request.ports.extend(found_now.map(found_port));
            let running = self.bonds.get(&request.name).map(ManagedBond::wanted);
            let before = running.filter(|running| running.selectors == request.selectors);
            for port in before.into_iter().flat_map(|running| &running.ports) {
                let away = interfaces
                    .iter()
                    .all(|interface| interface.name != port.name);
                if away && request.ports.iter().all(|known| known.name != port.name) {
                    request.ports.push(port.clone());
                }
            }
            request.expected = found.expected.max(request.ports.len());
        }
        Ok(wanted)
    }

    /// An interface appeared: it may be one that a bond waits for.
    pub(super) fn find_late_ports(&mut self) {
        let mut wanted = self.bonds.values().map(ManagedBond::wanted);
        // Every change of a link comes by here, and most bonds name their ports.
        if wanted.all(|request| request.selectors.is_empty()) {
            return;
        }
        let requests: Vec<BondRequest> = self
            .bonds
            .values()
            .map(|bond| bond.wanted().clone())
            .collect();
        let interfaces = match self.interfaces() {
            Ok(interfaces) => interfaces,
            Err(failure) => return warn!("cannot look for ports: {failure}"),
        };
        let record = self.keeper.record();
        let others: BTreeSet<String> = record
            .created
            .keys()
            .chain(record.members.keys())
            .cloned()
            .collect();
        let all: Vec<&BondRequest> = requests.iter().collect();
        let selection = match find(&all, others.into_iter(), &interfaces) {
            Ok(selection) => selection,
            Err(failure) => return warn!("cannot look for ports: {failure}"),
        };
        for (mut request, found) in requests.into_iter().zip(selection.bonds) {
            let known = request.ports.len();
            for port in found.ports.iter().skip(known) {
                info!(
                    "{}: {} is one of the ports it waits for",
                    request.name, port.name.value
                );
                request.ports.push(found_port(port));
            }
            if request.ports.len() > known {
                let name = request.name.clone();
                self.with_bond(&name, |bond, _| bond.remember(request));
            }
        }
    }

    /// What there is that could be a port.
    fn interfaces(&mut self) -> Result<Vec<InterfaceFacts>, Failure> {
        let links = self.netlink.links().map_err(kernel)?;
        let mut interfaces = Vec::new();
        for link in links.into_iter().filter(is_hardware) {
            let hardware =
                hardware::of(link.index, &link.name, self.first_namespace).map_err(kernel)?;
            interfaces.push(InterfaceFacts {
                name: link.name,
                permanent_mac: link.permanent_mac.or(link.mac),
                path: hardware.path,
                driver: hardware.driver,
            });
        }
        Ok(interfaces)
    }
}

fn found_port(port: &DesiredPort) -> PortRequest {
    PortRequest {
        found: true,
        ..PortRequest::from(port)
    }
}

/// Whether an interface is a card, or what stands for one in a container, and not a device of configuration.
fn is_hardware(link: &Link) -> bool {
    let kind = link.kind.as_deref();
    link.ethernet && !link.loopback && !link.is_ours() && matches!(kind, None | Some("veth"))
}

/// Asks the selectors. `others` are interfaces that something else is made of.
fn find(
    requests: &[&BondRequest],
    others: impl Iterator<Item = String>,
    interfaces: &[InterfaceFacts],
) -> Result<Selection, Failure> {
    // The model knows places in files; here there are none.
    let span = Span::new(Sources::default().add("", ""), 0..0);
    let at = |name: &str| Located::new(name.to_owned(), span);
    let mut network = DesiredNetwork::default();
    for request in requests {
        let mut bond = DesiredBond::new(at(&request.name));
        for port in &request.ports {
            bond.ports.push(DesiredPort {
                name: at(&port.name),
                options: Vec::new(),
            });
        }
        for asked in &request.selectors {
            let located = |text: &Option<String>| text.as_deref().map(at);
            let mac = asked.mac.as_deref().map(parse_mac).transpose()?;
            let options = parse_port_options(&asked.options)?;
            bond.selectors.push(DesiredSelector {
                mac: mac.map(|mac| Located::new(mac, span)),
                path: located(&asked.path),
                driver: located(&asked.driver),
                name: located(&asked.name),
                expect: asked.expect.map(|expect| Located::new(expect, span)),
                options: options
                    .into_iter()
                    .map(|option| Located::new(option, span))
                    .collect(),
                span,
            });
        }
        network.bonds.push(bond);
    }
    let mut taken = DesiredBridge::new(at(""));
    taken.ports = others
        .map(|name| DesiredBridgePort::new(at(&name)))
        .collect();
    network.bridges.push(taken);
    Ok(select(&network, interfaces))
}
