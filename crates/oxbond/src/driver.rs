//! Bonds of the kernel's driver as reports, under management or not. To see them takes no daemon, no configuration and no
//! privilege.

use oxbond_core::driver::{Picture, PortPicture};
use oxbond_core::engine::Engine;
use oxbond_core::hash::hash;
use oxbond_core::option::{HashPolicy, Mode};
use oxbond_core::port::PortIndex;
use oxbond_core::status::{BondStatus, MiiStatus, PortRole};
use oxbond_linux::engine::kernel::{picture, pictures_of};
use oxbond_linux::netlink::Netlink;
use oxbond_wire::ethernet::EtherType;

use crate::exit::Failure;
use crate::refusal::kernel;
use crate::report::{BondReport, EngineReport, FrameReport, PortCounters};
use crate::request::untagged;

/// Protocol number of IGMP (IANA).
const IGMP: u8 = 2;
/// Where an IPv4 packet behind an Ethernet header has its protocol.
const PROTOCOL_AT: usize = 14 + 9;

/// The bonds of the driver in the network namespace of the calling thread whose interface indices are meant, by name, as
/// some that nobody has under management.
///
/// # Errors
/// What the kernel says. A kernel without the driver has no bonds, which is no error.
pub(crate) fn unmanaged(
    netlink: &mut Netlink,
    meant: impl Fn(u32) -> bool,
) -> Result<Vec<BondReport>, Failure> {
    let mut pictures = pictures_of(netlink, meant).map_err(kernel)?;
    pictures.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(pictures.iter().map(BondReport::of_nobody).collect())
}

/// The bond of the driver of this name, as one that nobody has under management.
///
/// # Errors
/// What the kernel says. That there is none is no error.
pub(crate) fn unmanaged_one(
    netlink: &mut Netlink,
    name: &str,
) -> Result<Option<BondReport>, Failure> {
    let picture = picture_named(netlink, name)?;
    Ok(picture.as_ref().map(BondReport::of_nobody))
}

/// The bond of the driver that has this name, whoever made it; `None` where there is none.
///
/// # Errors
/// What the kernel says.
pub(crate) fn picture_named(netlink: &mut Netlink, name: &str) -> Result<Option<Picture>, Failure> {
    match netlink.link(name).map_err(kernel)? {
        Some(link) => picture(netlink, link.index).map_err(kernel),
        None => Ok(None),
    }
}

/// What would become of a frame that is sent through the bond of the driver with this index; `None` where there is none.
///
/// # Errors
/// What the kernel says.
pub(crate) fn way(
    netlink: &mut Netlink,
    ifindex: u32,
    frame: &[u8],
) -> Result<Option<FrameReport>, Failure> {
    let picture = picture(netlink, ifindex).map_err(kernel)?;
    Ok(picture.map(|picture| FrameReport::by_driver(&picture, frame)))
}

impl BondReport {
    /// A bond of the driver that nobody has under management.
    fn of_nobody(picture: &Picture) -> Self {
        let ports = picture.ports.iter().map(|port| port.name.clone());
        let status = picture.status(None, &ports.collect::<Vec<_>>());
        Self::of_driver(picture, status, None)
    }

    /// A bond of the driver. `chosen` says why it is on that engine; without it nobody has it under management.
    pub(crate) fn of_driver(picture: &Picture, status: BondStatus, chosen: Option<&str>) -> Self {
        let why = chosen.map_or_else(
            || {
                format!(
                    "somebody else made it; 'oxbond adopt {}' takes it under management",
                    picture.name
                )
            },
            str::to_owned,
        );
        let counted = |(port, id)| PortCounters::of_driver(id, port);
        let ids = status.ports.iter().map(|port| port.id);
        Self {
            engine: EngineReport {
                engine: Engine::Kernel.word().to_owned(),
                managed: chosen.is_some(),
                front: None,
                hook: None,
                why,
                bond_ifindex: picture.ifindex,
                mtu: picture.mtu,
            },
            counters: picture.ports.iter().zip(ids).map(counted).collect(),
            tx_no_port: picture.tx_dropped,
            ports_left: 0,
            hindered: Default::default(),
            status,
        }
    }
}

impl FrameReport {
    /// The way of a frame through a bond of the driver, as far as that can be told from outside: the driver decides.
    pub(crate) fn by_driver(picture: &Picture, frame: &[u8]) -> Self {
        let (frame, tag) = untagged(frame);
        let usable: Vec<&PortPicture> = picture.ports.iter().filter(|port| takes(port)).collect();
        let active = picture.active_port.as_deref();
        let mut way = Self {
            ports: Vec::new(),
            planned: None,
            bucket: None,
            steps: Vec::new(),
        };
        if !picture.up {
            way.steps
                .push("the bond is set down: nothing leaves".to_owned());
            return way;
        }
        match choice(picture, &frame) {
            Choice::Active(why) => {
                way.steps.push(why);
                let active = active.filter(|name| usable.iter().any(|port| port.name == *name));
                way.ports.extend(active.map(str::to_owned));
            }
            Choice::Every => {
                way.steps
                    .push("a copy goes to every port that has a link".to_owned());
                way.ports.extend(names(&usable));
            }
            Choice::OneOf(why) => {
                way.steps.push(why);
                way.ports.extend(names(&usable));
            }
            Choice::Hash(policy) => way.by_hash(picture, &usable, policy, &frame, tag),
        }
        if way.ports.is_empty() {
            way.steps.push("dropped: no port can take it".to_owned());
        }
        way
    }

    /// Modulo of the usable ports in list order; in mode 802.3ad those of the active aggregator.
    fn by_hash(
        &mut self,
        picture: &Picture,
        usable: &[&PortPicture],
        policy: HashPolicy,
        frame: &[u8],
        tag: u16,
    ) {
        let active = picture.active_aggregator.map(|active| active.id);
        let carries = |port: &&&PortPicture| {
            let aggregator = port.aggregation.as_ref().and_then(|part| part.aggregator);
            picture.options.mode != Mode::Ieee8023ad || aggregator.is_some() && aggregator == active
        };
        let usable: Vec<&PortPicture> = usable.iter().filter(carries).copied().collect();
        let Ok(count @ 1..) = u32::try_from(usable.len()) else {
            return;
        };
        let hash = hash(policy, frame, tag);
        let place = hash % count;
        let Some(port) = usable.get(place as usize) else {
            return;
        };
        self.ports.push(port.name.clone());
        self.planned = Some(port.name.clone());
        self.steps.push(format!(
            "the driver decides: its hash ({policy}) of this frame is {hash}, which by {count} usable port{} is number {place}, {}",
            if count == 1 { "" } else { "s" },
            port.name
        ));
        if policy == HashPolicy::Encap34 {
            self.steps.push(
                "unless the socket or the card has computed a hash of its own, which the driver then takes"
                    .to_owned(),
            );
        }
    }
}

impl PortCounters {
    fn of_driver(id: PortIndex, port: &PortPicture) -> Self {
        let traffic = port.traffic;
        Self {
            port: id,
            tx_packets: traffic.tx_packets,
            tx_bytes: traffic.tx_bytes,
            rx_packets: traffic.rx_packets,
            rx_bytes: traffic.rx_bytes,
            rx_inactive: None,
            rx_dropped: Some(traffic.rx_dropped),
            tx_moved: 0,
            lacp_answered: 0,
        }
    }
}

/// How the driver chooses.
enum Choice {
    /// The active port, and why.
    Active(String),
    /// Every port.
    Every,
    /// One of the usable ports; why nobody can say which.
    OneOf(String),
    /// By this hash.
    Hash(HashPolicy),
}

fn choice(picture: &Picture, frame: &[u8]) -> Choice {
    let options = &picture.options;
    let is = |kind: EtherType| frame.get(12..14) == Some(&kind.number().to_be_bytes());
    let is_ip = is(EtherType::Ipv4) || is(EtherType::Ipv6);
    let to_group = frame.first().is_some_and(|first| first & 1 != 0);
    match options.mode {
        Mode::ActiveBackup => Choice::Active("everything goes by the active port".to_owned()),
        Mode::Broadcast => Choice::Every,
        Mode::BalanceXor | Mode::Ieee8023ad => Choice::Hash(options.xmit_hash_policy),
        Mode::BalanceRr => {
            if is(EtherType::Ipv4) && frame.get(PROTOCOL_AT) == Some(&IGMP) {
                let why = "IGMP goes by one port, so that a switch learns the groups there";
                return Choice::OneOf(why.to_owned());
            }
            Choice::OneOf("the driver decides: the ports take turns".to_owned())
        }
        Mode::BalanceTlb | Mode::BalanceAlb if to_group || !is_ip => {
            Choice::Active("frames to groups and without IP go by the active port".to_owned())
        }
        Mode::BalanceTlb if !options.tlb_dynamic_lb => Choice::Hash(options.xmit_hash_policy),
        Mode::BalanceTlb | Mode::BalanceAlb => Choice::OneOf(
            "the driver decides by the load of its ports, and does not tell how".to_owned(),
        ),
    }
}

/// Whether the driver sends on a port.
fn takes(port: &PortPicture) -> bool {
    port.link.is_usable() && port.mii_status == MiiStatus::Up && port.role == PortRole::Active
}

fn names(ports: &[&PortPicture]) -> impl Iterator<Item = String> {
    ports.iter().map(|port| port.name.clone())
}

#[cfg(test)]
mod tests {
    use oxbond_core::driver::{ActiveAggregator, PortAggregation, RawAttribute, Traffic};
    use oxbond_core::option::{BondOptions, PortOptions};
    use oxbond_core::port::{Duplex, LinkState};
    use oxbond_wire::MacAddr;

    use super::*;

    /// A bond with ports p0, p1 and p2 that work.
    fn bond(mode: Mode) -> Picture {
        let port = |index: u32| PortPicture {
            name: format!("p{index}"),
            ifindex: 10 + index,
            link: LinkState {
                admin_up: true,
                carrier: true,
                speed_mbps: Some(1000),
                duplex: Duplex::Full,
            },
            mii_status: MiiStatus::Up,
            role: PortRole::Active,
            link_failure_count: 0,
            permanent_mac: MacAddr([2, 0, 0, 0, 0, 1]),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            options: PortOptions::default(),
            raw: Vec::new(),
            aggregation: None,
            traffic: Traffic {
                tx_packets: 3,
                rx_dropped: 4,
                ..Traffic::default()
            },
        };
        let active_port = mode.has_active_port().then(|| "p1".to_owned());
        Picture {
            name: "bond0".to_owned(),
            ifindex: 9,
            up: true,
            carrier: true,
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            mac_is_random: false,
            mtu: 1500,
            options: BondOptions {
                mode,
                ..BondOptions::default()
            },
            known: Vec::new(),
            raw: Vec::new(),
            active_port,
            active_aggregator: None,
            system: None,
            tx_dropped: 5,
            ports: (0..3).map(port).collect(),
        }
    }

    /// With layer2 its hash is the last octet of its source.
    fn frame(to: [u8; 6], last: u8, kind: u16) -> Vec<u8> {
        let mut frame = [to, [2, 0, 0, 0, 0, last]].concat();
        frame.extend(kind.to_be_bytes());
        frame.resize(60, 0);
        frame
    }

    fn to_all(last: u8) -> Vec<u8> {
        frame([0xff, 0xff, 0xff, 0xff, 0xff, 0], last, 0)
    }

    fn ways(picture: &Picture, frame: &[u8]) -> String {
        FrameReport::by_driver(picture, frame).ports.join(" ")
    }

    #[test]
    fn a_hash_counts_the_usable_ports_in_list_order() {
        let mut picture = bond(Mode::BalanceXor);
        let by_hash = |picture: &Picture| {
            (0..6)
                .map(|n| ways(picture, &to_all(n)))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(by_hash(&picture), "p0 p1 p2 p0 p1 p2");
        picture.ports[0].mii_status = MiiStatus::Down;
        assert_eq!(by_hash(&picture), "p1 p2 p1 p2 p1 p2");
        picture.ports[0].mii_status = MiiStatus::Up;
        picture.ports[1].link.carrier = false;
        assert_eq!(by_hash(&picture), "p0 p2 p0 p2 p0 p2");
        picture.up = false;
        assert_eq!(by_hash(&picture).trim(), "");
        let way = FrameReport::by_driver(&picture, &to_all(0));
        assert_eq!(way.steps, ["the bond is set down: nothing leaves"]);
    }

    #[test]
    fn an_aggregation_sends_by_its_active_aggregator() {
        let mut picture = bond(Mode::Ieee8023ad);
        picture.active_aggregator = Some(ActiveAggregator {
            id: 2,
            ports: 2,
            actor_key: 1,
            partner_key: 1,
            partner_system: MacAddr::ZERO,
        });
        for (port, id) in picture.ports.iter_mut().zip([Some(2), None, Some(2)]) {
            port.aggregation = Some(PortAggregation {
                aggregator: id,
                actor_state: None,
                partner_state: None,
                churn: None,
                churned: (0, 0),
                pdus: None,
                counters: Default::default(),
            });
        }
        let way = FrameReport::by_driver(&picture, &to_all(1));
        assert_eq!(way.ports, ["p2"]);
        assert!(
            way.steps[0]
                .contains("(layer2) of this frame is 1, which by 2 usable ports is number 1, p2"),
            "{way:?}"
        );
        picture.active_aggregator = None;
        let way = FrameReport::by_driver(&picture, &to_all(1));
        assert_eq!(
            (way.ports.len(), way.steps.last().map(String::as_str)),
            (0, Some("dropped: no port can take it"))
        );
    }

    #[test]
    fn what_the_driver_does_not_tell_is_not_made_up() {
        let ip = frame([2, 0, 0, 0, 0, 9], 0, 0x0800);
        assert_eq!(ways(&bond(Mode::ActiveBackup), &ip), "p1");
        assert_eq!(ways(&bond(Mode::Broadcast), &ip), "p0 p1 p2");
        for mode in [Mode::BalanceRr, Mode::BalanceTlb, Mode::BalanceAlb] {
            let way = FrameReport::by_driver(&bond(mode), &ip);
            assert_eq!(way.ports.len(), 3, "{mode}");
            assert!(
                way.planned.is_none() && way.steps[0].contains("the driver decides"),
                "{way:?}"
            );
        }
        let mut tlb = bond(Mode::BalanceTlb);
        let arp = frame([2, 0, 0, 0, 0, 9], 0, 0x0806);
        assert_eq!(ways(&tlb, &arp), "p1");
        tlb.options.tlb_dynamic_lb = false;
        assert_eq!(ways(&tlb, &ip), "p2");
        tlb.options.xmit_hash_policy = HashPolicy::Encap34;
        let way = FrameReport::by_driver(&tlb, &ip);
        assert!(way.steps[1].contains("a hash of its own"), "{way:?}");
    }

    #[test]
    fn a_report_says_who_has_the_bond_and_what_its_interfaces_counted() {
        let mut picture = bond(Mode::BalanceXor);
        picture.raw.push(RawAttribute {
            number: 99,
            value: "01".to_owned(),
        });
        let report = |chosen| BondReport::of_driver(&picture, picture.status(None, &[]), chosen);
        let free = report(None);
        assert!(!free.engine.managed && free.engine.why.contains("oxbond adopt bond0"));
        assert_eq!((free.tx_no_port, free.counters.len()), (5, 3));
        assert_eq!(
            (free.counters[2].tx_packets, free.counters[2].rx_dropped),
            (3, Some(4))
        );
        let ours = report(Some("it was asked for"));
        assert!(ours.engine.managed);
        assert_eq!(ours.engine.why, "it was asked for");
        assert_eq!(ours.status.raw, picture.raw);
    }
}
