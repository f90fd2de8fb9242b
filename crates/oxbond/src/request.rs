//! The words of a request as values.

use oxbond_config::model::Cidr;
use oxbond_core::engine::{Asked, ChoiceRefused, Chosen, Driver, Engine, EngineChoice, choose};
use oxbond_core::option::{Mode, OptionChange, PortOptionChange, PortOptions};
use oxbond_wire::MacAddr;

use crate::control::protocol::BondRequest;
use crate::exit::{Blame, Failure};
use crate::refusal::{configuration, refused_by_core};

/// Offset and length of a VLAN tag in a frame.
const TAG_AT: usize = 12;
const TAG_LEN: usize = 4;

pub(crate) fn parse_options(options: &[(String, String)]) -> Result<Vec<OptionChange>, Failure> {
    options
        .iter()
        .map(|(name, value)| OptionChange::parse(name, value))
        .collect::<Result<_, _>>()
        .map_err(refused_by_core)
}

pub(crate) fn parse_port_options(
    options: &[(String, String)],
) -> Result<Vec<PortOptionChange>, Failure> {
    options
        .iter()
        .map(|(name, value)| PortOptionChange::parse(name, value))
        .collect::<Result<_, _>>()
        .map_err(refused_by_core)
}

/// The engine for a bond that is to be made, and why that one.
pub(crate) fn choose_engine(
    asked: EngineChoice,
    driver: &Driver,
    wanted: &BondRequest,
) -> Result<Chosen, Failure> {
    let options = parse_options(&wanted.options)?;
    let ports = wanted
        .ports
        .iter()
        .map(|port| Ok((port.name.as_str(), parse_port_options(&port.options)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let ports: Vec<_> = ports
        .iter()
        .map(|(name, options)| (*name, options.as_slice()))
        .collect();
    let wished = Asked {
        options: &options,
        ports: &ports,
    };
    choose(asked, driver, &wished).map_err(|refused| match refused {
        ChoiceRefused::Beyond(_) | ChoiceRefused::TooManyPorts { .. } => configuration(refused),
        ChoiceRefused::NoDriver { .. } => Failure::new(Blame::Kernel, refused),
    })
}

pub(crate) fn parse_mac(text: &str) -> Result<MacAddr, Failure> {
    let mac: MacAddr = text.parse().map_err(|_| {
        Failure::new(
            Blame::Configuration,
            format!("{text} is no link-layer address; write six pairs like 02:00:5e:00:53:01"),
        )
    })?;
    if mac.is_multicast() || mac.is_zero() {
        let why =
            format!("{mac} cannot be an interface's address: it must be unicast and not zero");
        return Err(Failure::new(Blame::Configuration, why));
    }
    Ok(mac)
}

pub(crate) fn parse_addresses(texts: &[String]) -> Result<Vec<Cidr>, Failure> {
    let parsed = texts
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>();
    parsed.map_err(configuration)
}

/// The changes that lead from a port's options as they were asked for to those asked for now.
pub(crate) fn port_changes(
    engine: Engine,
    mode: Mode,
    wanted: &[(String, String)],
    have: &[(String, String)],
) -> Result<Vec<PortOptionChange>, Failure> {
    let from_defaults = |options: Vec<PortOptionChange>| {
        PortOptions::default()
            .apply(&options, mode, &[])
            .map_err(configuration)
    };
    let have = known_in(engine, mode, parse_port_options(have)?);
    let wanted = from_defaults(parse_port_options(wanted)?)?;
    Ok(wanted.changes_from(&from_defaults(have)?))
}

/// Those of a port's options that a mode has: what was asked for in another mode sleeps until that returns.
pub(crate) fn known_in(
    engine: Engine,
    mode: Mode,
    mut options: Vec<PortOptionChange>,
) -> Vec<PortOptionChange> {
    options.retain(|change| change.id.spec().settable_in(engine.is_own()).contains(mode));
    options
}

/// A frame as what carries a bond sees it, and its tag: the system keeps the outermost VLAN tag beside the frame.
pub(crate) fn untagged(frame: &[u8]) -> (Vec<u8>, u16) {
    match frame.get(TAG_AT..TAG_AT + TAG_LEN) {
        Some([0x81, 0x00, high, low] | [0x88, 0xa8, high, low]) => {
            let tag = u16::from_be_bytes([*high, *low]);
            ([&frame[..TAG_AT], &frame[TAG_AT + TAG_LEN..]].concat(), tag)
        }
        _ => (frame.to_vec(), 0),
    }
}
