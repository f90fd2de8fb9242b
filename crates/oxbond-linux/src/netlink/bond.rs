//! Bonds of the kernel's driver: reading them and their ports, and writing their attributes.
//!
//! Read by hand: a machine may have thousands of interfaces, of which nothing else is wanted here, and what a later driver
//! says in another form must not spoil the rest.

use std::collections::HashMap;

use netlink_packet_core::{DefaultNla, Emitable as _, NLA_F_NESTED, NLM_F_CREATE, NLM_F_EXCL};
use oxbond_core::driver::Traffic;
use oxbond_core::lacp::Counters;
use oxbond_core::option::{OptionChange, OptionSpec, OptionValue, PortOptionChange};
use oxbond_wire::MacAddr;

use super::attributes::{attribute, attributes, text_of, word_at};
use super::link::{
    GET_LINK, IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_INFO_SLAVE_KIND,
    IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, IFLA_OPERSTATE, LINK_HEADER_LEN, NEW_LINK, link_body,
    mac_of,
};
use super::transport::Answer;
use super::{Failure, Netlink, bond_option, named};
use crate::error::KernelError;

/// Kind of the driver's devices, and of their ports.
pub(crate) const KIND: &[u8] = b"bond";

const IFLA_STATS64: u16 = 23;
const IFLA_INFO_SLAVE_DATA: u16 = 5;

/// How often a bond and its ports are read until they are of one moment.
const MOST_LOOKS: usize = 5;

const IFF_UP: u32 = 1;
const IFF_LOWER_UP: u32 = 1 << 16;
/// `IF_OPER_NOTPRESENT`, `IF_OPER_DOWN`, `IF_OPER_LOWERLAYERDOWN`.
const OPER_DOWN: [u8; 3] = [1, 2, 3];

const RTM_GETSTATS: u16 = 94;
const RTM_NEWSTATS: u16 = 92;
/// Length of `struct if_stats_msg`; its index is at byte 4, its filter at byte 8.
const STATS_HEADER_LEN: usize = 12;
const IFLA_STATS_LINK_XSTATS_SLAVE: u16 = 3;
const LINK_XSTATS_TYPE_BOND: u16 = 2;
const BOND_XSTATS_3AD: u16 = 1;

/// A bond of the driver, or a port of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DriverLink {
    /// Interface index.
    pub(crate) index: u32,
    /// Interface name.
    pub(crate) name: String,
    /// Set up by its user.
    pub(crate) up: bool,
    /// It has carrier, is up, and the kernel has acted upon it.
    pub(crate) carrier: bool,
    /// Link-layer address; zero where it is not six bytes.
    pub(crate) mac: MacAddr,
    /// MTU in bytes.
    pub(crate) mtu: u32,
    /// The bond it is a port of.
    pub(crate) master: Option<u32>,
    /// What the driver says of it as a bond: [`attributes`].
    pub(crate) bond: Option<Vec<u8>>,
    /// What the driver says of it as a port, likewise.
    pub(crate) port: Option<Vec<u8>>,
    /// What it counted.
    pub(crate) traffic: Traffic,
    /// Packets that it dropped instead of sending.
    pub(crate) tx_dropped: u64,
}

impl DriverLink {
    /// From the body of an `RTM_NEWLINK`; `None` when it has nothing to do with the driver.
    fn read(body: &[u8]) -> Option<Self> {
        let index = word_at(body, 4)?;
        let flags = word_at(body, 8)?;
        let mut link = Self {
            index,
            name: String::new(),
            up: flags & IFF_UP != 0,
            carrier: flags & IFF_LOWER_UP != 0,
            mac: MacAddr::ZERO,
            mtu: 0,
            master: None,
            bond: None,
            port: None,
            traffic: Traffic::default(),
            tx_dropped: 0,
        };
        let info = attribute(body.get(LINK_HEADER_LEN..)?, IFLA_LINKINFO)?;
        link.read_info(info);
        if link.bond.is_none() && link.port.is_none() {
            return None;
        }
        for (number, value) in attributes(body.get(LINK_HEADER_LEN..)?) {
            match number {
                IFLA_ADDRESS => link.mac = mac_of(value).unwrap_or(MacAddr::ZERO),
                IFLA_IFNAME => link.name = text_of(value),
                IFLA_MTU => link.mtu = word_at(value, 0)?,
                IFLA_MASTER => link.master = word_at(value, 0),
                IFLA_OPERSTATE if value.first().is_some_and(|oper| OPER_DOWN.contains(oper)) => {
                    link.carrier = false;
                }
                IFLA_STATS64 => link.read_stats(value),
                _ => {}
            }
        }
        Some(link)
    }

    /// Whether it says the same, but for what it counts.
    fn is_as(&self, other: &Self) -> bool {
        let counted = Self {
            traffic: self.traffic,
            tx_dropped: self.tx_dropped,
            ..other.clone()
        };
        *self == counted
    }

    fn read_info(&mut self, info: &[u8]) {
        let of = |kind, data| {
            let kind = attribute(info, kind)?;
            let is_drivers = kind.strip_suffix(&[0]).unwrap_or(kind) == KIND;
            is_drivers.then(|| attribute(info, data).unwrap_or_default().to_vec())
        };
        self.bond = of(IFLA_INFO_KIND, IFLA_INFO_DATA);
        self.port = of(IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA);
    }

    /// From a `struct rtnl_link_stats64`. What no handler took (`rx_nohandler`, Linux 4.6) is counted apart there: the
    /// frames of an inactive port.
    fn read_stats(&mut self, stats: &[u8]) {
        let at = |field: usize| {
            let bytes = stats.get(field * 8..).and_then(<[u8]>::first_chunk);
            bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
        };
        self.traffic = Traffic {
            rx_packets: at(0),
            tx_packets: at(1),
            rx_bytes: at(2),
            tx_bytes: at(3),
            rx_dropped: at(6).saturating_add(at(23)),
        };
        self.tx_dropped = at(7);
    }
}

impl Netlink {
    /// Every bond of the driver and every port of one, in the kernel's order, from one dump.
    pub(crate) fn driver_links(&mut self) -> Result<Vec<DriverLink>, KernelError> {
        self.dump_driver_links(&[])
    }

    /// The bond of this index, `None` where that is no bond of the driver; and its ports, in the kernel's order. Both are of
    /// one moment, unless the driver is at work every time: who looks would see a failover without its cause.
    pub(crate) fn driver_bond(
        &mut self,
        index: u32,
    ) -> Result<Option<(DriverLink, Vec<DriverLink>)>, KernelError> {
        let is_bond = |link: &DriverLink| link.bond.is_some();
        let filter = [DefaultNla::new(IFLA_MASTER, index.to_ne_bytes().to_vec())];
        let Some(mut bond) = self.driver_link(index)?.filter(is_bond) else {
            return Ok(None);
        };
        let mut looks = 0;
        loop {
            let mut ports = self.dump_driver_links(&filter)?;
            // An old kernel may pass over the filter.
            ports.retain(|port| port.master == Some(index));
            let Some(after) = self.driver_link(index)?.filter(is_bond) else {
                return Ok(None);
            };
            let rests = bond.is_as(&after);
            (bond, looks) = (after, looks + 1);
            if rests || looks == MOST_LOOKS {
                return Ok(Some((bond, ports)));
            }
        }
    }

    /// The interface of this index, `None` where it has nothing to do with the driver.
    pub(crate) fn driver_link(&mut self, index: u32) -> Result<Option<DriverLink>, KernelError> {
        match self.transport.request(GET_LINK, 0, &link_body(index, &[])) {
            Ok(answers) => Ok(answers
                .iter()
                .find_map(|answer| DriverLink::read(&answer.body))),
            Err(failure) if failure.errno == libc::ENODEV => Ok(None),
            Err(failure) => Err(named(failure, "look up", format!("interface {index}"))),
        }
    }

    fn dump_driver_links(&mut self, filter: &[DefaultNla]) -> Result<Vec<DriverLink>, KernelError> {
        self.dump_links(filter, "bonds", |body| Ok(DriverLink::read(body)))
    }

    /// Makes a bond of the driver, down and without ports. The kernel loads the driver if it is not there. Names of ports
    /// among the options must be those of interfaces.
    ///
    /// # Errors
    /// What the kernel says; nothing is made then. `EOPNOTSUPP` from kernels without the driver, `EEXIST` when the name is
    /// taken.
    pub fn create_bond(
        &mut self,
        name: &str,
        mac: Option<MacAddr>,
        mtu: Option<u32>,
        options: &[OptionChange],
    ) -> Result<(), KernelError> {
        let mut text = name.as_bytes().to_vec();
        text.push(0);
        let mut attributes = vec![DefaultNla::new(IFLA_IFNAME, text)];
        attributes.extend(mac.map(|mac| DefaultNla::new(IFLA_ADDRESS, mac.octets().to_vec())));
        attributes.extend(mtu.map(|mtu| DefaultNla::new(IFLA_MTU, mtu.to_ne_bytes().to_vec())));
        let options = self.bond_attributes(options)?;
        attributes.push(link_info(IFLA_INFO_KIND, IFLA_INFO_DATA, &options));
        let body = link_body(0, &attributes);
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.write_body(NEW_LINK, &body, flags, "create bond", name)
    }

    /// Sets options of a bond of the driver: one after another in the driver's order, whatever theirs is, up to the first
    /// that it refuses. A driver passes over those that it does not know, without a word.
    ///
    /// # Errors
    /// What the kernel says of the first that it refuses; those before stay set.
    pub fn set_bond_options(
        &mut self,
        ifindex: u32,
        options: &[OptionChange],
    ) -> Result<(), KernelError> {
        let words: Vec<_> = options.iter().map(ToString::to_string).collect();
        let options = self.bond_attributes(options)?;
        let info = link_info(IFLA_INFO_KIND, IFLA_INFO_DATA, &options);
        self.set_driver_link(ifindex, info, format!("set {} of", words.join(" ")))
    }

    /// Sets options of a port of a bond of the driver, as [`Self::set_bond_options`] does.
    ///
    /// # Errors
    /// What the kernel says of the first that it refuses; those before stay set.
    pub fn set_bond_port_options(
        &mut self,
        ifindex: u32,
        options: &[PortOptionChange],
    ) -> Result<(), KernelError> {
        let words: Vec<_> = options.iter().map(ToString::to_string).collect();
        let attributes = options.iter().map(|option| {
            let spec = option.id.spec();
            let found = bond_option::attribute(spec, &option.value, &|_| None);
            found.ok_or_else(|| not_the_drivers(spec))
        });
        let attributes: Vec<_> = attributes.collect::<Result<_, _>>()?;
        let info = link_info(IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA, &attributes);
        self.set_driver_link(ifindex, info, format!("set {} of", words.join(" ")))
    }

    fn set_driver_link(
        &mut self,
        ifindex: u32,
        info: DefaultNla,
        op: String,
    ) -> Result<(), KernelError> {
        // RTM_SETLINK passes over the settings of a kind; RTM_NEWLINK of a device that exists changes them.
        let result = self.write_body(NEW_LINK, &link_body(ifindex, &[info]), 0, op, "");
        result.map_err(|error| KernelError {
            object: self.name_of(ifindex),
            ..error
        })
    }

    fn bond_attributes(
        &mut self,
        options: &[OptionChange],
    ) -> Result<Vec<DefaultNla>, KernelError> {
        let mut attributes = Vec::new();
        for option in options {
            let index = match &option.value {
                OptionValue::Name(name) if !name.is_empty() => {
                    let missing = || KernelError::new("find", name, libc::ENODEV);
                    Some(self.link(name)?.ok_or_else(missing)?.index)
                }
                _ => None,
            };
            let spec = option.id.spec();
            let found = bond_option::attribute(spec, &option.value, &|_| index);
            attributes.push(found.ok_or_else(|| not_the_drivers(spec))?);
        }
        Ok(attributes)
    }

    /// What the driver counted of LACP on each port, by interface index (Linux 5.6). Empty where it counts nothing.
    pub(crate) fn lacp_counters(&mut self) -> Result<HashMap<u32, Counters>, KernelError> {
        let all = self
            .transport
            .dump(RTM_GETSTATS, &lacp_counters_body(0), read_counters);
        counters_in(all, "all ports")
    }

    /// The same of one port.
    pub(crate) fn lacp_counters_of(
        &mut self,
        port: u32,
    ) -> Result<HashMap<u32, Counters>, KernelError> {
        let body = lacp_counters_body(port);
        let answers = self.transport.request(RTM_GETSTATS, 0, &body);
        let read = |answer: &Answer| read_counters(answer.kind, &answer.body);
        let found = answers.map(|answers| answers.iter().filter_map(read).collect());
        counters_in(found, &format!("interface {port}"))
    }
}

fn lacp_counters_body(port: u32) -> [u8; STATS_HEADER_LEN] {
    let mut body = [0; STATS_HEADER_LEN];
    let wanted: u32 = 1 << (IFLA_STATS_LINK_XSTATS_SLAVE - 1);
    body[4..8].copy_from_slice(&port.to_ne_bytes());
    body[8..].copy_from_slice(&wanted.to_ne_bytes());
    body
}

fn counters_in(
    found: Result<Vec<(u32, Counters)>, Failure>,
    of: &str,
) -> Result<HashMap<u32, Counters>, KernelError> {
    match found {
        Ok(found) => Ok(found.into_iter().collect()),
        // An old kernel counts nothing, and a port may vanish.
        Err(Failure {
            errno: libc::EOPNOTSUPP | libc::EINVAL | libc::ENODEV,
            ..
        }) => Ok(HashMap::new()),
        Err(failure) => Err(named(failure, "read the LACP counters of", of)),
    }
}

/// Index and counters from a message of this type, where that is an `RTM_NEWSTATS`.
fn read_counters(kind: u16, body: &[u8]) -> Option<(u32, Counters)> {
    if kind != RTM_NEWSTATS {
        return None;
    }
    let index = word_at(body, 4)?;
    let mut found = body.get(STATS_HEADER_LEN..)?;
    for wanted in [
        IFLA_STATS_LINK_XSTATS_SLAVE,
        LINK_XSTATS_TYPE_BOND,
        BOND_XSTATS_3AD,
    ] {
        found = attribute(found, wanted)?;
    }
    let mut counters = Counters::default();
    for (number, value) in attributes(found) {
        let Ok(bytes) = <[u8; 8]>::try_from(value) else {
            continue; // Padding.
        };
        let count = u64::from_ne_bytes(bytes);
        match number {
            0 => counters.lacpdus_rx = count,
            1 => counters.lacpdus_tx = count,
            // Slow protocol frames that are neither LACPDUs nor Marker PDUs, and Marker PDUs of an unknown kind.
            2 | 8 => counters.unknown_rx = counters.unknown_rx.saturating_add(count),
            3 => counters.illegal_rx = count,
            4 => counters.marker_rx = count,
            5 => counters.marker_tx = count,
            6 => counters.marker_response_rx = count,
            7 => counters.marker_response_tx = count,
            _ => {}
        }
    }
    Some((index, counters))
}

/// What belongs to the driver in a link message.
fn link_info(kind: u16, data: u16, attributes: &[DefaultNla]) -> DefaultNla {
    let mut bytes = vec![0; attributes.buffer_len()];
    attributes.emit(&mut bytes);
    let info = [
        DefaultNla::new(kind, KIND.to_vec()),
        DefaultNla::new(data | NLA_F_NESTED, bytes),
    ];
    let mut bytes = vec![0; info.as_slice().buffer_len()];
    info.as_slice().emit(&mut bytes);
    DefaultNla::new(IFLA_LINKINFO | NLA_F_NESTED, bytes)
}

/// As the kernel would say it, had the option a number.
fn not_the_drivers(spec: &OptionSpec) -> KernelError {
    let mut error = KernelError::new("set", spec.name, libc::EOPNOTSUPP);
    error.ext_ack = Some("the kernel's bonding driver has no such option".to_owned());
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emitted(attributes: &[DefaultNla]) -> Vec<u8> {
        let mut bytes = vec![0; attributes.buffer_len()];
        attributes.emit(&mut bytes);
        bytes
    }

    /// A port that is a bond itself: what both say is read, and what has nothing to do with the driver passed over.
    fn body() -> Vec<u8> {
        let mut stats = Vec::new();
        for n in 0..24_u64 {
            stats.extend(n.to_ne_bytes());
        }
        let info = [
            DefaultNla::new(IFLA_INFO_KIND, b"bond\0".to_vec()),
            DefaultNla::new(IFLA_INFO_DATA, emitted(&[DefaultNla::new(1, vec![4])])),
            DefaultNla::new(IFLA_INFO_SLAVE_KIND, b"bond".to_vec()),
            DefaultNla::new(
                IFLA_INFO_SLAVE_DATA,
                emitted(&[DefaultNla::new(77, vec![1, 2])]),
            ),
        ];
        let attributes = [
            DefaultNla::new(IFLA_IFNAME, b"bond7\0".to_vec()),
            DefaultNla::new(IFLA_MTU, 1500_u32.to_ne_bytes().to_vec()),
            DefaultNla::new(IFLA_MASTER, 9_u32.to_ne_bytes().to_vec()),
            DefaultNla::new(IFLA_OPERSTATE, vec![6]),
            DefaultNla::new(IFLA_STATS64, stats),
            DefaultNla::new(IFLA_LINKINFO, emitted(&info)),
            DefaultNla::new(4711, vec![0; 3]),
        ];
        let mut body = link_body(8, &attributes);
        body[8..12].copy_from_slice(&(IFF_UP | IFF_LOWER_UP).to_ne_bytes());
        body
    }

    #[test]
    fn a_link_is_read_and_what_is_unknown_kept() {
        let link = DriverLink::read(&body()).unwrap();
        assert_eq!(
            (link.index, link.name.as_str(), link.mtu),
            (8, "bond7", 1500)
        );
        assert_eq!((link.up, link.carrier, link.master), (true, true, Some(9)));
        let told = |nest: Option<Vec<u8>>| -> Vec<(u16, Vec<u8>)> {
            let nest = nest.unwrap();
            attributes(&nest)
                .map(|(number, value)| (number, value.to_vec()))
                .collect()
        };
        assert_eq!(told(link.bond), [(1, vec![4])]);
        assert_eq!(told(link.port), [(77, vec![1, 2])]);
        // What no handler took counts as dropped.
        let traffic = Traffic {
            rx_packets: 0,
            tx_packets: 1,
            rx_bytes: 2,
            tx_bytes: 3,
            rx_dropped: 6 + 23,
        };
        assert_eq!((link.traffic, link.tx_dropped), (traffic, 7));
    }

    #[test]
    fn cut_and_mangled_messages_are_nothing_or_less() {
        let whole = body();
        for length in 0..whole.len() {
            DriverLink::read(&whole[..length]);
        }
        for at in 0..whole.len() {
            for mangled in [0, 1, 255] {
                let mut body = whole.clone();
                body[at] = mangled;
                DriverLink::read(&body);
                read_counters(RTM_NEWSTATS, &body);
            }
        }
    }

    #[test]
    fn counters_are_found_in_their_nests() {
        let counts: Vec<_> = (0..9_u16)
            .map(|n| DefaultNla::new(n, u64::from(n + 1).to_ne_bytes().to_vec()))
            .collect();
        let mut nest = emitted(&counts);
        for kind in [
            BOND_XSTATS_3AD,
            LINK_XSTATS_TYPE_BOND,
            IFLA_STATS_LINK_XSTATS_SLAVE,
        ] {
            nest = emitted(&[DefaultNla::new(kind, nest)]);
        }
        let body = [lacp_counters_body(5).to_vec(), nest].concat();
        let (port, counters) = read_counters(RTM_NEWSTATS, &body).unwrap();
        assert_eq!((port, counters.lacpdus_rx, counters.lacpdus_tx), (5, 1, 2));
        assert_eq!((counters.unknown_rx, counters.illegal_rx), (3 + 9, 4));
        assert_eq!((counters.marker_rx, counters.marker_response_tx), (5, 8));
    }
}
