//! Pictures of the driver's bonds, whoever made them. Reads only, and needs no privilege: what the driver keeps for
//! administrators is absent for others.

use std::cell::OnceCell;
use std::collections::HashMap;

use oxbond_core::driver::{
    ActiveAggregator, Pdus, Picture, PortAggregation, PortPicture, RawAttribute,
};
use oxbond_core::lacp::{ChurnState, Counters};
use oxbond_core::option::{BondOptions, Mode, OptionId, OptionKey, OptionValue, PortOptions};
use oxbond_core::port::LinkState;
use oxbond_core::status::{MiiStatus, PortRole};
use oxbond_wire::MacAddr;

use super::presence::release;
use super::proc_text::{self, BondText, PortText, Texts};
use super::random_mac::RandomMacs;
use crate::error::KernelError;
use crate::ethtool::{self, LinkSettings};
use crate::netlink::bond::DriverLink;
use crate::netlink::bond_option::{self, number};
use crate::netlink::{Netlink, attribute, attributes};

/// Attributes of a bond that are no options (`IFLA_BOND_*`, and `IFLA_BOND_AD_INFO_*` in the latter).
const AD_INFO: u16 = 23;
const AD_INFO_AGGREGATOR: u16 = 1;
const AD_INFO_NUM_PORTS: u16 = 2;
const AD_INFO_ACTOR_KEY: u16 = 3;
const AD_INFO_PARTNER_KEY: u16 = 4;
const AD_INFO_PARTNER_MAC: u16 = 5;

/// Attributes of a port that are no options (`IFLA_BOND_SLAVE_*`).
const STATE: u16 = 1;
const MII_STATUS: u16 = 2;
const LINK_FAILURE_COUNT: u16 = 3;
const PERM_HWADDR: u16 = 4;
const AD_AGGREGATOR_ID: u16 = 6;
const AD_ACTOR_OPER_PORT_STATE: u16 = 7;
const AD_PARTNER_OPER_PORT_STATE: u16 = 8;
const AD_CHURN_ACTOR_STATE: u16 = 11;
const AD_CHURN_PARTNER_STATE: u16 = 12;

/// Every bond of the driver in the namespace, in order of their interface indices. One dump of each kind, however many.
///
/// The calling thread must be in the namespace of `nl`.
///
/// # Errors
/// What the kernel says. A machine without the driver has no bonds, which is no error.
pub fn pictures(nl: &mut Netlink) -> Result<Vec<Picture>, KernelError> {
    pictures_of(nl, |_| true)
}

/// As [`pictures`], of the bonds whose interface indices are meant.
///
/// # Errors
/// What the kernel says.
pub fn pictures_of(
    nl: &mut Netlink,
    meant: impl Fn(u32) -> bool,
) -> Result<Vec<Picture>, KernelError> {
    let mut links = nl.driver_links()?;
    links.sort_by_key(|link| link.index);
    let mut ports: HashMap<u32, Vec<&DriverLink>> = HashMap::new();
    for link in &links {
        let master = link.master.filter(|_| link.port.is_some());
        if let Some(master) = master.filter(|master| meant(*master)) {
            ports.entry(master).or_default().push(link);
        }
    }
    let mut sources = Sources::default();
    if !ports.is_empty() {
        sources.settings = ethtool::all_link_settings()?;
    }
    let is_meant = |link: &&DriverLink| link.bond.is_some() && meant(link.index);
    let bonds = || links.iter().filter(is_meant);
    if bonds().any(is_aggregation) {
        sources.counters = nl.lacp_counters()?;
    }
    let none = Vec::new();
    let mut pictures: Vec<Picture> = bonds()
        .map(|bond| {
            let ports = ports.get(&bond.index).unwrap_or(&none);
            sources.picture(bond, ports)
        })
        .collect();
    // The kernel tells many interfaces a part at a time, and the driver may work between the parts.
    for torn in pictures.iter_mut().filter(|picture| picture.is_torn()) {
        if let Some(whole) = picture(nl, torn.ifindex)? {
            *torn = whole;
        }
    }
    Ok(pictures)
}

/// The bond of this index; `None` where that is no bond of the driver.
///
/// The calling thread must be in the namespace of `nl`.
///
/// # Errors
/// What the kernel says.
pub fn picture(nl: &mut Netlink, ifindex: u32) -> Result<Option<Picture>, KernelError> {
    let Some((bond, mut ports)) = nl.driver_bond(ifindex)? else {
        return Ok(None);
    };
    ports.sort_by_key(|port| port.index);
    let mut sources = Sources::default();
    for port in &ports {
        // One that vanished in this moment has no speed either.
        let settings = ethtool::link_settings(port.index, &port.name).unwrap_or_default();
        sources.settings.insert(port.index, settings);
        if is_aggregation(&bond) {
            sources.counters.extend(nl.lacp_counters_of(port.index)?);
        }
    }
    let ports: Vec<_> = ports.iter().collect();
    Ok(Some(sources.picture(&bond, &ports)))
}

fn is_aggregation(bond: &DriverLink) -> bool {
    let mode = OptionId::Mode.spec().netlink;
    let told = bond.bond.as_deref().zip(mode);
    let mode = told.and_then(|(told, mode)| attribute(told, mode)?.first());
    mode == Some(&Mode::Ieee8023ad.code())
}

/// What is read for all bonds at once, and beside netlink.
#[derive(Default)]
struct Sources {
    settings: HashMap<u32, LinkSettings>,
    counters: HashMap<u32, Counters>,
    texts: Texts,
    random_macs: RandomMacs,
    /// The kernel's, once it was asked.
    release: OnceCell<Option<(u8, u8)>>,
}

impl Sources {
    fn picture(&mut self, bond: &DriverLink, ports: &[&DriverLink]) -> Picture {
        // Nothing else tells the order of several ports.
        let text = match (is_aggregation(bond), ports.len()) {
            (true, _) => proc_text::parse(&self.texts.read(&bond.name)),
            (false, 0 | 1) => BondText::default(),
            (false, _) => proc_text::order(&self.texts.read(&bond.name)),
        };
        // The first port gives its own address to a bond that has a random one.
        let mac_is_random = ports.is_empty() && self.random_macs.is_random(&bond.name, bond.mac);
        let mut picture = compose(bond, ports, &text, self);
        picture.mac_is_random = mac_is_random;
        picture
    }
}

/// Puts together what was read.
fn compose(
    bond: &DriverLink,
    ports: &[&DriverLink],
    text: &BondText,
    sources: &Sources,
) -> Picture {
    let mut picture = Picture {
        name: bond.name.clone(),
        ifindex: bond.index,
        up: bond.up,
        carrier: bond.carrier,
        mac: bond.mac,
        mac_is_random: false,
        mtu: bond.mtu,
        options: BondOptions::default(),
        known: Vec::new(),
        raw: Vec::new(),
        active_port: None,
        active_aggregator: None,
        system: text.system,
        tx_dropped: bond.tx_dropped,
        ports: Vec::new(),
    };
    let name_of = |index: u32| {
        let port = ports.iter().find(|port| port.index == index)?;
        Some(port.name.clone())
    };
    for (number, bytes) in attributes(bond.bond.as_deref().unwrap_or_default()) {
        if !picture_takes(&mut picture, number, bytes, &name_of) {
            picture.raw.push(raw(number, bytes));
        }
    }
    add_silent_options(&mut picture, *sources.release.get_or_init(release));
    let place = |port: &DriverLink| text.ports.iter().position(|told| told.name == port.name);
    let mut ordered: Vec<_> = ports.iter().map(|port| (place(port), *port)).collect();
    // Those whose place is not told come last.
    ordered.sort_by_key(|(place, _)| place.unwrap_or(usize::MAX));
    let aggregates = picture.options.mode == Mode::Ieee8023ad;
    picture.ports = ordered
        .into_iter()
        .map(|(place, port)| {
            let text = place.and_then(|place| text.ports.get(place));
            compose_port(port, aggregates, text, sources)
        })
        .collect();
    picture
}

/// Takes one attribute of a bond into its picture; `false` for one that is not understood.
fn picture_takes(
    picture: &mut Picture,
    number: u16,
    bytes: &[u8],
    name_of: &dyn Fn(u32) -> Option<String>,
) -> bool {
    if number == AD_INFO {
        picture.active_aggregator = active_aggregator(bytes);
        return picture.active_aggregator.is_some();
    }
    let Some(spec) = bond_option::of_bond(number) else {
        return false;
    };
    let OptionKey::Bond(id) = spec.key else {
        return false;
    };
    let Some(value) = bond_option::value(spec, bytes, name_of) else {
        return false;
    };
    match (id, value) {
        (OptionId::ActiveSlave, OptionValue::Name(name)) => {
            picture.active_port = Some(name).filter(|name| !name.is_empty());
            true
        }
        (id, value) => {
            let stored = picture.options.store(id, &value);
            if stored {
                picture.known.push(id);
            }
            stored
        }
    }
}

/// Options that the driver has and does not mention while they are empty.
fn add_silent_options(picture: &mut Picture, release: Option<(u8, u8)>) {
    for id in [
        OptionId::ArpIpTarget,
        OptionId::NsIp6Target,
        OptionId::Primary,
    ] {
        let spec = id.spec();
        let is_there = spec.modes.contains(picture.options.mode)
            && spec
                .since
                .is_none_or(|since| release.is_some_and(|now| now >= since));
        if is_there && !picture.known.contains(&id) {
            picture.known.push(id);
        }
    }
}

fn active_aggregator(info: &[u8]) -> Option<ActiveAggregator> {
    let of = |wanted: u16| short(info, wanted);
    Some(ActiveAggregator {
        id: of(AD_INFO_AGGREGATOR)?,
        ports: of(AD_INFO_NUM_PORTS)?,
        actor_key: of(AD_INFO_ACTOR_KEY)?,
        partner_key: of(AD_INFO_PARTNER_KEY)?,
        partner_system: mac(info, AD_INFO_PARTNER_MAC)?,
    })
}

fn compose_port(
    port: &DriverLink,
    aggregates: bool,
    text: Option<&PortText>,
    sources: &Sources,
) -> PortPicture {
    let told = port.port.as_deref().unwrap_or_default();
    let settings = sources
        .settings
        .get(&port.index)
        .copied()
        .unwrap_or_default();
    let mut options = PortOptions::default();
    let mut unknown = Vec::new();
    for (number, bytes) in attributes(told) {
        let taken = match number {
            STATE
            | MII_STATUS
            | LINK_FAILURE_COUNT
            | PERM_HWADDR
            | AD_AGGREGATOR_ID
            | AD_ACTOR_OPER_PORT_STATE
            | AD_PARTNER_OPER_PORT_STATE
            | AD_CHURN_ACTOR_STATE
            | AD_CHURN_PARTNER_STATE => true,
            number => bond_option::of_port(number).is_some_and(|spec| {
                let value = bond_option::value(spec, bytes, &|_| None);
                match (spec.key, value) {
                    (OptionKey::Port(id), Some(value)) => options.store(id, &value),
                    _ => false,
                }
            }),
        };
        if !taken {
            unknown.push(raw(number, bytes));
        }
    }
    PortPicture {
        name: port.name.clone(),
        ifindex: port.index,
        link: LinkState {
            admin_up: port.up,
            carrier: port.carrier,
            speed_mbps: settings.speed_mbps,
            duplex: settings.duplex,
        },
        mii_status: match short(told, MII_STATUS) {
            Some(0) => MiiStatus::Up,
            Some(1) => MiiStatus::GoingDown,
            Some(3) => MiiStatus::GoingBack,
            _ => MiiStatus::Down,
        },
        role: match short(told, STATE) {
            Some(0) => PortRole::Active,
            _ => PortRole::Backup,
        },
        link_failure_count: value(told, LINK_FAILURE_COUNT)
            .and_then(|count| count.try_into().ok())
            .unwrap_or(0),
        permanent_mac: mac(told, PERM_HWADDR).unwrap_or(port.mac),
        mac: port.mac,
        options,
        raw: unknown,
        aggregation: aggregates.then(|| aggregation(port, told, text, sources)),
        traffic: port.traffic,
    }
}

fn aggregation(
    port: &DriverLink,
    told: &[u8],
    text: Option<&PortText>,
    sources: &Sources,
) -> PortAggregation {
    let state = |number| short(told, number).and_then(|state| u8::try_from(state).ok());
    let churn = |number, word: Option<ChurnState>| {
        let code = short(told, number).and_then(|code| match code {
            0 => Some(ChurnState::Monitoring),
            1 => Some(ChurnState::Churned),
            2 => Some(ChurnState::None),
            _ => None,
        });
        code.or(word)
    };
    let actor_churn = churn(AD_CHURN_ACTOR_STATE, text.and_then(|text| text.actor_churn));
    let partner_churn = churn(
        AD_CHURN_PARTNER_STATE,
        text.and_then(|text| text.partner_churn),
    );
    let churned = |count: Option<u32>| count.unwrap_or(0);
    PortAggregation {
        // The driver shows 0 while it has none.
        aggregator: short(told, AD_AGGREGATOR_ID).filter(|id| *id != 0),
        actor_state: state(AD_ACTOR_OPER_PORT_STATE),
        partner_state: state(AD_PARTNER_OPER_PORT_STATE),
        churn: actor_churn.zip(partner_churn),
        churned: (
            churned(text.and_then(|text| text.actor_churned)),
            churned(text.and_then(|text| text.partner_churned)),
        ),
        pdus: text.and_then(|text| {
            let (actor, partner) = text.actor.zip(text.partner)?;
            Some(Pdus { actor, partner })
        }),
        counters: sources
            .counters
            .get(&port.index)
            .copied()
            .unwrap_or_default(),
    }
}

fn value(told: &[u8], wanted: u16) -> Option<i64> {
    number(attribute(told, wanted)?, false)
}

fn short(told: &[u8], wanted: u16) -> Option<u16> {
    value(told, wanted)?.try_into().ok()
}

fn mac(told: &[u8], wanted: u16) -> Option<MacAddr> {
    let bytes = attribute(told, wanted)?;
    <[u8; 6]>::try_from(bytes).ok().map(MacAddr::from)
}

fn raw(number: u16, bytes: &[u8]) -> RawAttribute {
    RawAttribute {
        number,
        value: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{DefaultNla, Emitable as _};
    use oxbond_core::driver::Traffic;

    use super::*;

    fn link(index: u32, name: &str) -> DriverLink {
        DriverLink {
            index,
            name: name.to_owned(),
            up: true,
            carrier: true,
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            master: None,
            bond: None,
            port: None,
            traffic: Traffic::default(),
            tx_dropped: 0,
        }
    }

    fn nest(told: Vec<(u16, Vec<u8>)>) -> Option<Vec<u8>> {
        let told = told.into_iter();
        let told: Vec<_> = told
            .map(|(number, value)| DefaultNla::new(number, value))
            .collect();
        let mut bytes = vec![0; told.as_slice().buffer_len()];
        told.as_slice().emit(&mut bytes);
        Some(bytes)
    }

    fn port(index: u32, name: &str, told: Vec<(u16, Vec<u8>)>) -> DriverLink {
        DriverLink {
            master: Some(9),
            port: nest(told),
            ..link(index, name)
        }
    }

    fn bond(told: Vec<(u16, Vec<u8>)>) -> DriverLink {
        DriverLink {
            bond: nest(told),
            ..link(9, "bond0")
        }
    }

    fn text(names: &[&str]) -> BondText {
        let lines: Vec<_> = names
            .iter()
            .map(|name| format!("Slave Interface: {name}"))
            .collect();
        proc_text::parse(&lines.join("\n"))
    }

    #[test]
    fn what_a_later_driver_says_is_kept_raw() {
        // A mode that nobody knows yet, an option of another width, one that is not in the table.
        let told = vec![
            (1, vec![9]),
            (3, vec![1, 2, 3]),
            (999, vec![0xab, 0xcd]),
            (18, vec![2, 0, 0, 0]),
        ];
        let ports = [port(
            11,
            "p0",
            vec![(0, vec![1]), (1, vec![0]), (5, vec![3, 0])],
        )];
        let ports: Vec<_> = ports.iter().collect();
        let picture = compose(&bond(told), &ports, &text(&[]), &Sources::default());
        let raw: Vec<_> = picture
            .raw
            .iter()
            .map(|raw| (raw.number, raw.value.as_str()))
            .collect();
        assert_eq!(raw, [(1, "09"), (3, "010203"), (999, "abcd")]);
        assert_eq!(picture.options.min_links, 2);
        assert!(picture.known.contains(&OptionId::MinLinks));
        assert!(!picture.known.contains(&OptionId::Mode));
        let port = &picture.ports[0];
        assert_eq!((port.raw[0].number, port.options.queue_id), (0, 3));
        assert_eq!(port.role, PortRole::Active);
    }

    #[test]
    fn ports_have_the_drivers_order_and_names() {
        let active = vec![
            (1, vec![1]),
            (2, vec![12, 0, 0, 0]),
            (11, vec![11, 0, 0, 0]),
        ];
        let ports = [
            port(11, "p0", Vec::new()),
            port(12, "p1", Vec::new()),
            port(13, "p2", Vec::new()),
        ];
        let ports: Vec<_> = ports.iter().collect();
        let told = text(&["p2", "p0"]);
        let picture = compose(&bond(active), &ports, &told, &Sources::default());
        let names: Vec<_> = picture
            .ports
            .iter()
            .map(|port| port.name.as_str())
            .collect();
        // One that the text does not name comes last.
        assert_eq!(names, ["p2", "p0", "p1"]);
        assert_eq!(picture.active_port.as_deref(), Some("p1"));
        assert_eq!(picture.options.primary.as_deref(), Some("p0"));
        assert!(picture.ports.iter().all(|port| port.aggregation.is_none()));
    }
}
