//! The driver's own interface, spoken directly: a request takes a millisecond where a run of `ip` takes thirty in a
//! user-mode Linux, and a refusal comes with its number as well as its words.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::NlasIterator;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use oxbond_core::option::{Kind, OPTIONS, OptionChange, OptionKey, OptionSpec, OptionValue, find};

use crate::script::Pair;

/// A refused request.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) errno: i32,
    /// The explanation that came with it.
    pub(crate) words: Option<String>,
}

/// An interface as the kernel describes it.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) mac: Vec<u8>,
    pub(crate) mtu: u32,
    /// Of a bond.
    pub(crate) options: BTreeMap<&'static str, String>,
    /// Of a port of a bond; 0 is active.
    pub(crate) state: Option<u8>,
    pub(crate) prio: Option<i32>,
}

/// A socket in the namespace of the thread that opened it.
pub(crate) struct Rtnl(Socket);

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x600;

const NEWLINK: u16 = 16;
const GETLINK: u16 = 18;

const ADDRESS: u16 = 1;
const IFNAME: u16 = 3;
const MTU: u16 = 4;
const MASTER: u16 = 10;
const LINKINFO: u16 = 18;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const INFO_SLAVE_KIND: u16 = 4;
const INFO_SLAVE_DATA: u16 = 5;
const NESTED: u16 = 0x8000;

/// `IFLA_BOND_SLAVE_*` that are read.
const SLAVE_STATE: u16 = 1;
const SLAVE_PRIO: u16 = 9;

/// Length of a netlink header, and of an `ifinfomsg`.
const HEADER: usize = 16;

impl Rtnl {
    pub(crate) fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        Ok(Self(socket))
    }

    /// Makes `bond0`.
    pub(crate) fn create(
        &self,
        options: &[Pair],
        index: &dyn Fn(&str) -> u32,
    ) -> Result<Result<(), Refusal>> {
        let mut body = attribute(IFNAME, b"bond0\0");
        body.extend(bond_info(options, index)?);
        self.request(CREATE, 0, 0, body)
    }

    pub(crate) fn set(
        &self,
        bond: u32,
        options: &[Pair],
        index: &dyn Fn(&str) -> u32,
    ) -> Result<Result<(), Refusal>> {
        self.request(0, bond, 0, bond_info(options, index)?)
    }

    pub(crate) fn set_port(&self, port: u32, options: &[Pair]) -> Result<Result<(), Refusal>> {
        let mut data = Vec::new();
        for (name, value) in options {
            let (spec, attribute_of) = known(name)?;
            let value: i64 = value.parse()?;
            data.extend(attribute(attribute_of, &number(spec, value)));
        }
        let mut info = attribute(INFO_SLAVE_KIND, b"bond");
        info.extend(attribute(INFO_SLAVE_DATA | NESTED, &data));
        self.request(0, port, 0, attribute(LINKINFO | NESTED, &info))
    }

    /// Sets a link administratively up or down.
    pub(crate) fn admin(&self, link: u32, up: bool) -> Result<Result<(), Refusal>> {
        self.request(0, link, if up { 3 } else { 2 }, Vec::new())
    }

    /// Puts a link under a bond, or under none (0).
    pub(crate) fn master(&self, link: u32, master: u32) -> Result<Result<(), Refusal>> {
        self.request(0, link, 0, attribute(MASTER, &master.to_ne_bytes()))
    }

    pub(crate) fn address(&self, link: u32, mac: [u8; 6]) -> Result<Result<(), Refusal>> {
        self.request(0, link, 0, attribute(ADDRESS, &mac))
    }

    pub(crate) fn mtu(&self, link: u32, mtu: u32) -> Result<Result<(), Refusal>> {
        self.request(0, link, 0, attribute(MTU, &mtu.to_ne_bytes()))
    }

    /// `flags`: bit 0 is whether it is to be up, bit 1 whether that is to be changed.
    fn request(
        &self,
        more: u16,
        index: u32,
        flags: u32,
        body: Vec<u8>,
    ) -> Result<Result<(), Refusal>> {
        let mut info = vec![0, 0, 0, 0];
        info.extend(index.to_ne_bytes());
        info.extend((flags & 1).to_ne_bytes());
        info.extend((flags >> 1).to_ne_bytes());
        info.extend(body);
        self.send(NEWLINK, REQUEST | ACK | more, &info)?;
        let (answer, _) = self.0.recv_from_full()?;
        let code = i32::from_ne_bytes(
            *answer
                .get(HEADER..)
                .and_then(<[u8]>::first_chunk)
                .context("a short answer")?,
        );
        if code == 0 {
            return Ok(Ok(()));
        }
        // Behind the number comes the header of the request, behind that the explanation.
        let tlvs = answer.get(2 * HEADER + 4..).unwrap_or_default();
        let words = attributes(tlvs)?.into_iter().find(|(kind, _)| *kind == 1);
        let words = words.map(|(_, text)| {
            String::from_utf8_lossy(&text)
                .trim_end_matches('\0')
                .to_owned()
        });
        Ok(Err(Refusal {
            errno: -code,
            words,
        }))
    }

    /// Every link by its name.
    pub(crate) fn links(&self) -> Result<BTreeMap<String, Link>> {
        self.send(GETLINK, REQUEST | DUMP, &[0; HEADER])?;
        let mut links = BTreeMap::new();
        loop {
            let (datagram, _) = self.0.recv_from_full()?;
            let mut rest = &datagram[..];
            while rest.len() >= HEADER {
                let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
                let (message, next) = rest.split_at(length.next_multiple_of(4).min(rest.len()));
                rest = next;
                match u16::from_ne_bytes([message[4], message[5]]) {
                    NEWLINK => {
                        let (name, link) = link(&message[HEADER..])?;
                        links.insert(name, link);
                    }
                    // NLMSG_DONE
                    3 => return Ok(links),
                    other => bail!("a message of type {other} in a dump"),
                }
            }
        }
    }

    fn send(&self, kind: u16, flags: u16, body: &[u8]) -> Result<()> {
        let length = u32::try_from(HEADER + body.len())?;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        self.0.send(&message, 0)?;
        Ok(())
    }
}

fn link(body: &[u8]) -> Result<(String, Link)> {
    let mut link = Link {
        index: word(&body[4..]),
        ..Link::default()
    };
    let mut name = String::new();
    for (kind, value) in attributes(&body[HEADER..])? {
        match kind {
            ADDRESS => link.mac = value,
            IFNAME => {
                name = String::from_utf8_lossy(&value)
                    .trim_end_matches('\0')
                    .to_owned()
            }
            MTU => link.mtu = word(&value),
            LINKINFO => {
                let info = attributes(&value)?;
                let of = |wanted| {
                    info.iter()
                        .find(|(kind, _)| *kind == wanted)
                        .map(|(_, value)| &value[..])
                };
                if of(INFO_KIND).is_some_and(|kind| kind.starts_with(b"bond")) {
                    for (number, value) in attributes(of(INFO_DATA).unwrap_or_default())? {
                        let is = |spec: &&OptionSpec| {
                            matches!(spec.key, OptionKey::Bond(_)) && spec.netlink == Some(number)
                        };
                        if let Some(spec) = OPTIONS.iter().find(is) {
                            link.options.insert(spec.name, text(spec, &value)?);
                        }
                    }
                }
                if of(INFO_SLAVE_KIND).is_some_and(|kind| kind.starts_with(b"bond")) {
                    for (number, value) in attributes(of(INFO_SLAVE_DATA).unwrap_or_default())? {
                        match number {
                            SLAVE_STATE => link.state = value.first().copied(),
                            SLAVE_PRIO => link.prio = Some(word(&value).cast_signed()),
                            _ => {}
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok((name, link))
}

fn bond_info(options: &[Pair], index: &dyn Fn(&str) -> u32) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    for (name, text) in options {
        let (spec, attribute_of) = known(name)?;
        let list = |addresses: Vec<Vec<u8>>| {
            let one = |(at, address): (usize, &Vec<u8>)| {
                attribute(u16::try_from(at).unwrap_or(u16::MAX), address)
            };
            addresses
                .iter()
                .enumerate()
                .flat_map(one)
                .collect::<Vec<u8>>()
        };
        let value = match spec.kind {
            Kind::PortName => index(text).to_ne_bytes().to_vec(),
            Kind::Ipv4List(_) => list(
                text.split(',')
                    .map(|ip| Ok(ip.parse::<std::net::Ipv4Addr>()?.octets().to_vec()))
                    .collect::<Result<_>>()?,
            ),
            Kind::Ipv6List(_) => list(
                text.split(',')
                    .map(|ip| Ok(ip.parse::<std::net::Ipv6Addr>()?.octets().to_vec()))
                    .collect::<Result<_>>()?,
            ),
            Kind::Mac => text.parse::<oxbond_wire::MacAddr>()?.0.to_vec(),
            Kind::Number { .. } => number(spec, text.parse()?),
            Kind::Words(_) | Kind::Flag | Kind::NumberOrWord { .. } => {
                match OptionChange::parse(name, text)?.value {
                    OptionValue::Number(value) => number(spec, value),
                    other => bail!("{other:?} of {name}"),
                }
            }
        };
        let nested = if matches!(spec.kind, Kind::Ipv4List(_) | Kind::Ipv6List(_)) {
            NESTED
        } else {
            0
        };
        data.extend(attribute(attribute_of | nested, &value));
    }
    let mut info = attribute(INFO_KIND, b"bond");
    info.extend(attribute(INFO_DATA | NESTED, &data));
    Ok(attribute(LINKINFO | NESTED, &info))
}

/// An option and the number of its attribute.
fn known(name: &str) -> Result<(&'static OptionSpec, u16)> {
    let spec = find(name).with_context(|| format!("{name:?} is no option"))?;
    let number = spec
        .netlink
        .with_context(|| format!("the driver has no {name}"))?;
    Ok((spec, number))
}

/// How wide the driver wants a number (`spec/kernel-bonding.md` 13.1, 13.2).
fn number(spec: &OptionSpec, value: i64) -> Vec<u8> {
    let width = match (spec.key, spec.netlink.unwrap_or_default()) {
        (OptionKey::Port(_), 5 | 10) | (OptionKey::Bond(_), 24 | 25) => 2,
        (OptionKey::Bond(_), 1 | 6 | 12..=14 | 16 | 17 | 21 | 22 | 27 | 29 | 30 | 32..=34) => 1,
        _ => 4,
    };
    value.to_le_bytes()[..width].to_vec()
}

fn text(spec: &OptionSpec, bytes: &[u8]) -> Result<String> {
    let joined = |texts: Vec<String>| texts.join(",");
    Ok(match spec.kind {
        Kind::Ipv4List(_) => {
            let ip = |(_, ip): (u16, Vec<u8>)| {
                Ok(std::net::Ipv4Addr::from(<[u8; 4]>::try_from(&ip[..])?).to_string())
            };
            joined(
                attributes(bytes)?
                    .into_iter()
                    .map(ip)
                    .collect::<Result<_>>()?,
            )
        }
        Kind::Ipv6List(_) => {
            let ip = |(_, ip): (u16, Vec<u8>)| {
                Ok(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(&ip[..])?).to_string())
            };
            joined(
                attributes(bytes)?
                    .into_iter()
                    .map(ip)
                    .collect::<Result<_>>()?,
            )
        }
        Kind::Mac => oxbond_wire::MacAddr(bytes.try_into()?).to_string(),
        _ => {
            let mut wide = [0; 8];
            wide[..bytes.len()].copy_from_slice(bytes);
            OptionValue::Number(i64::from_le_bytes(wide)).text(spec.kind)
        }
    })
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn attributes(bytes: &[u8]) -> Result<Vec<(u16, Vec<u8>)>> {
    let one = |nla: Result<netlink_packet_core::NlaBuffer<&[u8]>, _>| {
        nla.map(|nla| (nla.kind(), nla.value().to_vec()))
            .map_err(|e| anyhow::anyhow!("{e}"))
    };
    NlasIterator::new(bytes).map(one).collect()
}

/// The first four bytes as a number.
fn word(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}
