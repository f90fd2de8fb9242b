//! The frames that scripts send: one flow each, and each with a mark and a number by which it is found again.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use oxbond_wire::MacAddr;

use crate::observation::{OK, Observation, neutral};
use crate::script::{PORTS, Port};

/// What kind of frame; every frame of a kind belongs to another flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// UDP over IPv4 to many stations.
    Udp,
    /// TCP over IPv4 to one station: only ports differ.
    Tcp,
    /// UDP over IPv6 to many stations.
    Udp6,
    /// Fragments of UDP over IPv4.
    Fragment,
    /// ICMP echo requests.
    Echo,
    /// IGMP reports.
    Igmp,
    /// UDP to the Ethernet broadcast address.
    Broadcast,
    /// Neither IPv4 nor IPv6.
    Other,
}

const NAMES: [(Kind, &str); 8] = [
    (Kind::Udp, "udp"),
    (Kind::Tcp, "tcp"),
    (Kind::Udp6, "udp6"),
    (Kind::Fragment, "fragment"),
    (Kind::Echo, "echo"),
    (Kind::Igmp, "igmp"),
    (Kind::Broadcast, "broadcast"),
    (Kind::Other, "other"),
];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(kind, _)| kind == self);
        f.write_str(name.map_or("", |(_, name)| name))
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = NAMES.iter().find(|(_, name)| *name == text);
        known
            .map(|(kind, _)| *kind)
            .ok_or_else(|| format!("{text:?} is no kind of frame"))
    }
}

/// Begins the payload of every frame; its number follows.
const MARK: &[u8; 8] = b"oxbond\x01\x02";

/// The `number`th frame of a kind, from this station.
pub(crate) fn frame(kind: Kind, number: u16, source: MacAddr) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    let many = [2, 0xaa, 0, high, 7, low.wrapping_mul(37)];
    let (to, ethertype): ([u8; 6], [u8; 2]) = match kind {
        Kind::Udp | Kind::Fragment | Kind::Echo => (many, [0x08, 0x00]),
        Kind::Tcp => ([2, 0xaa, 0, 0, 0, 1], [0x08, 0x00]),
        Kind::Udp6 => (many, [0x86, 0xdd]),
        Kind::Igmp => ([1, 0, 0x5e, 0, high, low], [0x08, 0x00]),
        Kind::Broadcast => ([0xff; 6], [0x08, 0x00]),
        Kind::Other => (many, [0x88, 0xb5]),
    };
    let mut payload = MARK.to_vec();
    payload.extend([high, low]);
    payload.resize(40, 0);
    let ports = [0x10 + high, low, 0x20, low.wrapping_mul(11)];
    let (protocol, mut transport) = match kind {
        Kind::Udp | Kind::Udp6 | Kind::Fragment | Kind::Broadcast => {
            let mut udp = ports.to_vec();
            udp.extend([0, 48, 0, 0]);
            (17, udp)
        }
        Kind::Tcp => {
            let mut tcp = ports.to_vec();
            tcp.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
            (6, tcp)
        }
        Kind::Echo => (1, vec![8, 0, 0, 0, high, low, 0, 1]),
        Kind::Igmp => (2, vec![0x16, 0, 0, 0, 224, 0, high, low]),
        Kind::Other => (0, Vec::new()),
    };
    transport.extend(payload);
    let mut bytes = to.to_vec();
    bytes.extend(source.0);
    bytes.extend(ethertype);
    let length = u16::try_from(transport.len()).unwrap_or(u16::MAX);
    match ethertype {
        [0x08, 0x00] => {
            bytes.extend([0x45, 0]);
            bytes.extend((length + 20).to_be_bytes());
            let fragment = if kind == Kind::Fragment { 0x20 } else { 0 };
            bytes.extend([0, 1, fragment, 0, 64, protocol, 0, 0]);
            bytes.extend([10, 1, 0, 1]);
            match kind {
                Kind::Tcp => bytes.extend([10, 1, 0, 2]),
                Kind::Igmp => bytes.extend([224, 0, high, low]),
                _ => bytes.extend([10, 2, high, low.wrapping_mul(53)]),
            }
        }
        [0x86, 0xdd] => {
            bytes.extend([0x60, 0, 0, 0]);
            bytes.extend(length.to_be_bytes());
            bytes.extend([protocol, 64]);
            bytes.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            let to = [high, low.wrapping_mul(53)];
            bytes.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, to[0], to[1]]);
        }
        _ => {}
    }
    bytes.extend(transport);
    bytes
}

/// The number of one of our frames.
pub(crate) fn number(frame: &[u8]) -> Option<u16> {
    let at = frame.windows(MARK.len()).position(|part| part == MARK)?;
    let number = frame.get(at + MARK.len()..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*number))
}

/// Which ports each frame came out of, and which source addresses each port's frames had.
#[derive(Debug, Clone)]
pub(crate) struct Tally(Vec<Vec<Port>>, BTreeSet<(Port, MacAddr)>);

impl Tally {
    pub(crate) fn new(count: usize) -> Self {
        Self(vec![Vec::new(); count], BTreeSet::new())
    }

    pub(crate) fn seen(&mut self, number: u16, port: Port, source: MacAddr) {
        if let Some(ports) = self.0.get_mut(usize::from(number)) {
            ports.push(port);
            self.1.insert((port, source));
        }
    }

    /// The source addresses of the frames of each port.
    fn sources(&self) -> String {
        let source =
            |(port, mac): &(Port, MacAddr)| format!("{port} {}", neutral(&mac.to_string()));
        self.1.iter().map(source).collect::<Vec<_>>().join(", ")
    }

    /// What a script compares; `with_map` where it is determined which frame leaves where.
    pub(crate) fn observation(&self, with_map: bool) -> Observation {
        let mut seen = Observation::result(OK);
        seen.put("counts", self.counts(&PORTS));
        seen.put("sources", self.sources());
        if with_map {
            seen.put("map", self.map());
        }
        seen
    }

    /// How many frames came out of each port.
    fn counts(&self, ports: &[Port]) -> String {
        let count = |port: &Port| self.0.iter().flatten().filter(|seen| *seen == port).count();
        let counts: Vec<String> = ports
            .iter()
            .map(|port| format!("{port}:{}", count(port)))
            .collect();
        counts.join(" ")
    }

    /// For each frame the numbers of the ports it came out of; `-` for none.
    fn map(&self) -> String {
        let one = |ports: &Vec<Port>| -> String {
            let mut ports = ports.clone();
            ports.sort_unstable();
            match ports[..] {
                [] => "-".to_owned(),
                [port] => port.0.to_string(),
                _ => format!(
                    "({})",
                    ports
                        .iter()
                        .map(|port| port.0.to_string())
                        .collect::<String>()
                ),
            }
        };
        self.0.iter().map(one).collect()
    }
}
