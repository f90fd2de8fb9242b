//! Generated networks, for the tests of all dialects.

use oxbond_config::model::{
    Cidr, DesiredBond, DesiredBridge, DesiredBridgePort, DesiredNetwork, DesiredPort,
    DesiredSelector, DesiredVlan, DeviceSettings, Route, VidRange,
};
use oxbond_config::span::{Located, Sources, Span};
use oxbond_core::engine::EngineChoice;
use oxbond_core::option::{
    Kind, Mode, OptionChange, OptionId, OptionKey, OptionSpec, PortOptionChange, PortOptionId,
};
use oxbond_wire::MacAddr;
use proptest::prelude::*;
use proptest::sample::subsequence;

/// Options that every dialect can say, `miimon` and `mode` aside, which every generated bond has.
const COMMON: [OptionId; 6] = [
    OptionId::Updelay,
    OptionId::Downdelay,
    OptionId::XmitHashPolicy,
    OptionId::LacpRate,
    OptionId::PrimaryReselect,
    OptionId::NumGratArp,
];

fn at<T>(value: T) -> Located<T> {
    let file = Sources::default().add("generated", "");
    Located::new(value, Span::new(file, 0..0))
}

/// Networks; with `common` such as every dialect can say.
pub(crate) fn network(common: bool) -> impl Strategy<Value = DesiredNetwork> {
    (
        bond("bond0", &["eth0", "eth1", "eth2"], common),
        proptest::option::of(bond("bond1", &["enp3s0", "enp4s0f1"], common)),
        proptest::option::of((1..=4094u16, device(common))),
        proptest::option::of(bridge(common)),
    )
        .prop_map(|(first, second, vlan, bridge)| {
            let mut network = DesiredNetwork {
                bonds: core::iter::once(first).chain(second).collect(),
                ..DesiredNetwork::default()
            };
            if let Some((id, device)) = vlan {
                network.vlans.push(DesiredVlan {
                    name: at(format!("bond0.{id}")),
                    id: at(id),
                    link: at("bond0".to_owned()),
                    device,
                });
            }
            if let Some(bridge) = bridge {
                // A bond in a bridge has no addresses of its own.
                network.bonds[0].device = DeviceSettings::default();
                network.bridges.push(bridge);
            }
            network
        })
}

fn bond(
    name: &'static str,
    ports: &'static [&'static str],
    common: bool,
) -> impl Strategy<Value = DesiredBond> {
    let ids: Vec<OptionId> = if common {
        COMMON.to_vec()
    } else {
        let asked = |id: &OptionId| {
            !matches!(
                id,
                OptionId::Mode | OptionId::Miimon | OptionId::ActiveSlave
            )
        };
        OptionId::ALL.iter().copied().filter(asked).collect()
    };
    let most = ids.len();
    let options = subsequence(ids, 0..=most).prop_flat_map(move |ids| {
        ids.into_iter()
            .map(move |id| change(id, ports, common))
            .collect::<Vec<_>>()
    });
    let port_options = if common {
        Just(0).boxed()
    } else {
        (0..4i64).boxed()
    };
    (
        options,
        change(OptionId::Mode, ports, common),
        proptest::option::of(0..ports.len()),
        1..=1000i64,
        Just(ports.to_vec()).prop_shuffle(),
        port_options,
        (device(common), selectors(common)),
    )
        .prop_map(
            move |(options, mode, primary, miimon, ports, queue, (device, selectors))| {
                let mut bond = DesiredBond::new(at(name.to_owned()));
                bond.options.push(at(mode));
                bond.options.push(at(
                    OptionChange::parse("miimon", &miimon.to_string()).unwrap()
                ));
                bond.options.extend(options.into_iter().map(at));
                bond.options
                    .retain(|option| option.value.id != OptionId::Primary);
                if let Some(primary) = primary {
                    bond.options
                        .push(at(OptionChange::parse("primary", ports[primary]).unwrap()));
                }
                bond.ports = ports
                    .into_iter()
                    .map(|port| DesiredPort {
                        name: at(port.to_owned()),
                        options: Vec::new(),
                    })
                    .collect();
                if queue > 0 {
                    let change =
                        PortOptionChange::parse(PortOptionId::QueueId.name(), &queue.to_string())
                            .unwrap();
                    bond.ports[0].options.push(at(change));
                }
                if !common {
                    // Nothing more is drawn for it, so that the other tools judge what they always have.
                    let words = EngineChoice::WORDS.get(miimon as usize % 4);
                    bond.engine = words.map(|word| at(word.parse().unwrap()));
                }
                bond.device = device;
                bond.selectors = selectors;
                if common {
                    let mode = bond.option(OptionId::Mode).unwrap().value.text();
                    let mode = *Mode::ALL.iter().find(|known| known.word() == mode).unwrap();
                    bond.options
                        .retain(|option| option.value.id.spec().modes.contains(mode));
                }
                bond
            },
        )
}

/// Ports by what they are.
fn selectors(common: bool) -> impl Strategy<Value = Vec<DesiredSelector>> {
    let criteria = subsequence(vec!["mac", "path", "driver", "name"], 1..=4);
    let expect = proptest::option::of(0..9u32);
    let selector = (criteria, expect, any::<bool>()).prop_map(|(criteria, expect, prio)| {
        let asked = |key: &str, value: &str| criteria.contains(&key).then(|| at(value.to_owned()));
        let mac = "02:00:5e:10:00:42".parse::<MacAddr>().unwrap();
        DesiredSelector {
            mac: criteria.contains(&"mac").then(|| at(mac)),
            path: asked("path", "pci-0000:03:00.*"),
            driver: asked("driver", "ixgbe"),
            name: asked("name", "enp[0-9]s*"),
            expect: expect.map(at),
            options: prio
                .then(|| at(PortOptionChange::parse("prio", "7").unwrap()))
                .into_iter()
                .collect(),
            ..DesiredSelector::new(at(()).span)
        }
    });
    proptest::collection::vec(selector, 0..if common { 1 } else { 3 })
}

/// A valid value of an option, in some dialects' reach if `common`.
fn change(
    id: OptionId,
    ports: &'static [&'static str],
    common: bool,
) -> BoxedStrategy<OptionChange> {
    let spec: &OptionSpec = id.spec();
    assert_eq!(spec.key, OptionKey::Bond(id));
    let text: BoxedStrategy<String> = match spec.kind {
        Kind::Words(words) => {
            let words: Vec<&str> = words
                .iter()
                .map(|word| word.name)
                .filter(|word| !common || *word != "vlan+srcmac")
                .collect();
            proptest::sample::select(words)
                .prop_map(str::to_owned)
                .boxed()
        }
        Kind::Number { min, max } | Kind::NumberOrWord { min, max, .. } => {
            // Dialects differ in how they say nothing.
            let min = if common { min.max(1) } else { min };
            (min..=max.min(300))
                .prop_map(|number| number.to_string())
                .boxed()
        }
        Kind::Flag => proptest::sample::select(vec!["0", "1"])
            .prop_map(str::to_owned)
            .boxed(),
        Kind::PortName => proptest::sample::select(ports.to_vec())
            .prop_map(str::to_owned)
            .boxed(),
        Kind::Ipv4List(_) => {
            let all = vec!["10.0.0.1", "10.0.0.2", "192.168.7.1"];
            subsequence(all, 1..=3)
                .prop_map(|list| list.join(","))
                .boxed()
        }
        Kind::Ipv6List(_) => subsequence(vec!["fd00::1", "2001:db8::7"], 1..=2)
            .prop_map(|list| list.join(","))
            .boxed(),
        Kind::Mac => Just("02:00:5e:10:00:09".to_owned()).boxed(),
    };
    text.prop_filter_map("a valid value", move |text| {
        OptionChange::parse(id.name(), &text).ok()
    })
    .boxed()
}

fn device(common: bool) -> impl Strategy<Value = DeviceSettings> {
    let addresses = vec![
        "192.168.1.100/24",
        "192.168.1.101/24",
        "10.0.0.7/8",
        "fd00::100/64",
        "fd00::101/64",
    ];
    let addresses = subsequence(addresses, 0..=5);
    let servers = subsequence(vec!["10.0.0.53", "192.168.1.53", "fd00::53"], 0..=3);
    let domains = subsequence(vec!["example.org", "lab.example.org"], 0..=2);
    (
        addresses,
        (any::<bool>(), any::<bool>()),
        proptest::option::of(any::<bool>()),
        (any::<bool>(), any::<bool>()),
        proptest::collection::vec(route(), 0..3),
        servers,
        domains,
        (proptest::option::of(1280..=9000u32), any::<bool>()),
    )
        .prop_map(
            move |(addresses, dhcp, accept_ra, gateways, routes, dns, search, (mtu, mac))| {
                let mut device = DeviceSettings {
                    addresses: addresses
                        .iter()
                        .map(|text| at(text.parse::<Cidr>().unwrap()))
                        .collect(),
                    mtu: mtu.map(at),
                    mac: mac.then(|| at("02:00:5e:10:00:01".parse::<MacAddr>().unwrap())),
                    ..DeviceSettings::default()
                };
                if !device.addresses.is_empty() {
                    let has = |v4: bool| {
                        device
                            .addresses
                            .iter()
                            .any(|address| address.value.address.is_ipv4() == v4)
                    };
                    let (v4, v6) = (has(true), has(false));
                    device.gateway_v4 =
                        (gateways.0 && v4).then(|| at("192.168.1.1".parse().unwrap()));
                    device.gateway_v6 = (gateways.1 && v6).then(|| at("fd00::1".parse().unwrap()));
                    device.dns = dns.iter().map(|text| at(text.parse().unwrap())).collect();
                    // A server is reached by an address of its family.
                    device.dns.retain(
                        |server: &Located<core::net::IpAddr>| {
                            if server.value.is_ipv4() { v4 } else { v6 }
                        },
                    );
                    device.search = search
                        .into_iter()
                        .map(|domain| at(domain.to_owned()))
                        .collect();
                }
                if !common {
                    device.dhcp_v4 = dhcp.0.then(|| at(true));
                    device.dhcp_v6 = dhcp.1.then(|| at(true));
                    device.accept_ra = accept_ra.map(at);
                    for route in routes {
                        // The kernel has one route of these, whether its router is on the link or not.
                        let same = |known: &Located<Route>| {
                            Route {
                                on_link: route.on_link,
                                ..known.value
                            } == route
                        };
                        if !device.routes.iter().any(same) {
                            device.add_route(at(route));
                        }
                    }
                }
                device
            },
        )
}

fn route() -> impl Strategy<Value = Route> {
    let targets = vec![
        ("10.0.0.0/8", Some("192.168.1.254")),
        ("172.16.0.0/12", None),
        ("0.0.0.0/0", Some("192.168.1.253")),
        ("fd01::/48", Some("fd00::fe")),
        ("10.9.8.7/32", Some("192.168.1.9")),
    ];
    (
        proptest::sample::select(targets),
        proptest::option::of(1..1000u32),
        proptest::option::of(1..200u32),
        any::<bool>(),
    )
        .prop_map(|((to, via), metric, table, on_link)| Route {
            metric,
            table,
            on_link: on_link && via.is_some(),
            ..Route::new(to.parse().unwrap(), via.map(|via| via.parse().unwrap()))
        })
}

fn bridge(common: bool) -> impl Strategy<Value = DesiredBridge> {
    let vids = || subsequence(vec!["10", "20-30", "2-4094", "77"], 0..=2);
    let pvid = || proptest::option::of(2..100u16);
    (
        (
            any::<bool>(),
            proptest::option::of(any::<bool>()),
            proptest::option::of(0..30u32),
        ),
        (vids(), pvid()),
        proptest::option::of((vids(), pvid())),
        device(common),
    )
        .prop_map(move |((aware, stp, delay), (vids, pvid), other, device)| {
            let ranges = |texts: Vec<&'static str>| {
                texts
                    .into_iter()
                    .map(|text| at(text.parse::<VidRange>().unwrap()))
            };
            let mut bridge = DesiredBridge::new(at("vmbr0".to_owned()));
            bridge
                .ports
                .push(DesiredBridgePort::new(at("bond0".to_owned())));
            bridge.stp = stp.map(at);
            // NetworkManager has no others.
            let everywhere = |delay: &u32| *delay > 1 || *delay == 0 && stp != Some(true);
            bridge.forward_delay = delay.filter(|delay| !common || everywhere(delay)).map(at);
            bridge.device = device;
            if !common {
                bridge.vlan_aware = Some(at(aware));
            }
            if !common {
                bridge.ports[0].vids = ranges(vids).collect();
                bridge.ports[0].pvid = pvid.map(at);
                if let Some((vids, pvid)) = other {
                    bridge.ports.push(DesiredBridgePort {
                        name: at("eth7".to_owned()),
                        vids: ranges(vids).collect(),
                        pvid: pvid.map(at),
                    });
                }
                bridge.settle_vids();
            }
            bridge
        })
}
