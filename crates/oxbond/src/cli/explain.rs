//! `oxbond explain`: why a bond and its ports are as they are and what to do about it, or which way a frame would take.

use std::net::IpAddr;
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use oxbond_core::verdict::Health;
use oxbond_linux::netlink::Netlink;
use oxbond_wire::MacAddr;
use oxbond_wire::ethernet::{EtherType, Header, Tag};

use super::look::Look;
use super::{bond_arg, say, text, texts, unexpected, width};
use crate::control::client::Client;
use crate::control::protocol::{Reply, Request};
use crate::driver;
use crate::exit::{Blame, Failure};
use crate::refusal::{kernel, refused};
use crate::render;
use crate::report::{BondReport, FrameReport};

/// Protocol numbers by name (IANA).
const PROTOCOLS: [(&str, u8); 5] = [
    ("icmp", 1),
    ("tcp", 6),
    ("udp", 17),
    ("icmp6", 58),
    ("sctp", 132),
];

pub(super) fn grammar() -> Command {
    Command::new("explain")
        .about("Say why a bond and its ports carry traffic or why not, and what to do; or which way a frame would take")
        .long_about(
            "Say why a bond and its ports carry traffic or why not, and what to do; or which way a frame would take.\n\nThe exit \
             code is 0 when all is well, and 7 when anything is degraded or not ready yet: a port without link or partner, a \
             drained or missing one, a bond that cannot carry traffic; with --frame or --flow, when the frame would be dropped. \
             With the name of a port, only that port counts, and more is told of it.\n\nA frame's way is asked of the table that \
             the data path has, with the links as they are at this moment; of a bond of the kernel's driver it is computed as the \
             driver does it, where that can be foretold. Nothing is sent.",
        )
        .arg(bond_arg())
        .arg(
            Arg::new("member")
                .value_name("PORT")
                .conflicts_with_all(["frame", "flow"])
                .help("Just this port, with more details"),
        )
        .arg(
            Arg::new("frame")
                .long("frame")
                .value_name("HEX")
                .conflicts_with("flow")
                .help("The way of this frame: its bytes from destination address on, VLAN tags too; separators are passed over"),
        )
        .arg(
            Arg::new("flow")
                .long("flow")
                .value_names(["SOURCE", "DESTINATION", "PROTOCOL", "PORT", "PORT"])
                .num_args(2..=5)
                .help(
                    "The way of a packet between two addresses: its protocol (tcp, udp, icmp, sctp, or a number; default icmp) \
                     and its source and destination port",
                ),
        )
        .arg(
            Arg::new("vlan")
                .long("vlan")
                .value_name("ID")
                .requires("flow")
                .value_parser(value_parser!(u16).range(1..4095))
                .help("The packet's VLAN"),
        )
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("MAC")
                .requires("flow")
                .help("Its destination's link-layer address [default: what the system knows of the next hop]"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("A versioned JSON document"))
}

pub(super) fn run(run_root: &Path, matches: &ArgMatches) -> Result<(), Failure> {
    let bond = text(matches, "bond");
    let json = matches.get_flag("json");
    let (report, look) = Look::at_one(run_root, &bond)?;
    if let Some(hex) = matches.get_one::<String>("frame") {
        return way(look.daemon, &report, bytes(hex)?, Vec::new(), json);
    }
    let words = texts(matches, "flow");
    if !words.is_empty() {
        let flow = Flow::parse(&words, matches)?;
        let (to, notes) = flow.next_hop()?;
        let frame = flow.frame(report.status.mac, to);
        return way(look.daemon, &report, frame, notes, json);
    }
    let port = matches.get_one::<String>("member");
    let Some(told) = render::Explanation::of(&report, port.map(String::as_str)) else {
        let why = format!(
            "{} is not a port of {bond}; it has {}",
            text(matches, "member"),
            report.status.expected.join(", ")
        );
        return Err(Failure::new(Blame::Refused, why));
    };
    say(&if json {
        told.json().map_err(|e| cannot_encode(&e))?
    } else {
        told.text(width())
    })?;
    match told.health {
        Health::Well => Ok(()),
        _ => Err(Failure::new(Blame::Unready, told.complaint())),
    }
}

/// Asks for the way of a frame and tells it. Bonds that no daemon has under management are looked at here.
fn way(
    daemon: Result<Client, Failure>,
    bond: &BondReport,
    frame: Vec<u8>,
    notes: Vec<String>,
    json: bool,
) -> Result<(), Failure> {
    let name = &bond.status.name;
    let mut report = match daemon {
        Ok(mut client) if bond.engine.managed => {
            let bond = name.clone();
            match client.call(Request::Frame { bond, frame })? {
                Reply::Frame(report) => report,
                other => return Err(unexpected(&other)),
            }
        }
        _ => {
            let mut netlink = Netlink::open().map_err(kernel)?;
            let way = driver::way(&mut netlink, bond.engine.bond_ifindex, &frame)?;
            way.ok_or_else(|| refused(format!("{name} is gone")))?
        }
    };
    report.steps.splice(..0, notes);
    say(&if json {
        encode(&report)?
    } else {
        render::frame(name, &report)
    })?;
    if report.ports.is_empty() {
        let why = format!("{name}: such a frame would be dropped");
        return Err(Failure::new(Blame::Unready, why));
    }
    Ok(())
}

fn encode(report: &FrameReport) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(report).map_err(|e| cannot_encode(&e))?;
    Ok(text + "\n")
}

fn cannot_encode(e: &serde_json::Error) -> Failure {
    Failure::new(Blame::Bug, format!("cannot write it as JSON: {e}"))
}

fn wrong(why: impl Into<String>) -> Failure {
    Failure::new(Blame::Configuration, why.into())
}

/// Bytes from hexadecimal digits; colons, dashes, dots and blanks between them are passed over.
fn bytes(hex: &str) -> Result<Vec<u8>, Failure> {
    let digits: String = hex
        .chars()
        .filter(|c| !matches!(c, ':' | '-' | '.') && !c.is_whitespace())
        .collect();
    let refused = || {
        wrong(format!(
            "--frame {hex}: not an even number of hexadecimal digits"
        ))
    };
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        return Err(refused());
    };
    let byte = |pair: &[u8; 2]| {
        let text = str::from_utf8(pair).ok()?;
        // A sign is a digit for it.
        pair.iter().all(u8::is_ascii_hexdigit).then_some(())?;
        u8::from_str_radix(text, 16).ok()
    };
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    let bytes = bytes.ok_or_else(refused)?;
    if bytes.len() < 14 {
        return Err(wrong(format!(
            "--frame {hex}: {} bytes are no frame, an Ethernet header has 14",
            bytes.len()
        )));
    }
    Ok(bytes)
}

/// A packet as its user describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Flow {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ports: [u16; 2],
    vlan: Option<u16>,
    to: Option<MacAddr>,
}

impl Flow {
    fn parse(words: &[String], matches: &ArgMatches) -> Result<Self, Failure> {
        let address = |at: usize| {
            let text = words.get(at).map_or("", String::as_str);
            text.parse::<IpAddr>()
                .map_err(|_| wrong(format!("--flow: {text} is not an IP address")))
        };
        let (source, destination) = (address(0)?, address(1)?);
        if source.is_ipv4() != destination.is_ipv4() {
            let why = format!("--flow: {source} and {destination} are not of one family");
            return Err(wrong(why));
        }
        let default = if source.is_ipv4() { "icmp" } else { "icmp6" };
        let word = words.get(2).map_or(default, String::as_str);
        let named = PROTOCOLS.iter().find(|(name, _)| *name == word);
        let protocol = match named {
            Some((_, number)) => *number,
            None => word.parse().map_err(|_| {
                let names: Vec<&str> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
                wrong(format!(
                    "--flow: {word} is not a protocol: {} or a number",
                    names.join(", ")
                ))
            })?,
        };
        let port = |at: usize| match words.get(at) {
            None => Ok(0),
            Some(text) => text
                .parse::<u16>()
                .map_err(|_| wrong(format!("--flow: {text} is not a port number"))),
        };
        let to = matches.get_one::<String>("to");
        let to = to.map(|text| text.parse().map_err(|e| wrong(format!("--to: {e}"))));
        Ok(Self {
            source,
            destination,
            protocol,
            ports: [port(3)?, port(4)?],
            vlan: matches.get_one::<u16>("vlan").copied(),
            to: to.transpose()?,
        })
    }

    /// The link-layer address it goes to, and what is to be said about that.
    fn next_hop(&self) -> Result<(MacAddr, Vec<String>), Failure> {
        if let Some(to) = self.to {
            return Ok((to, Vec::new()));
        }
        if let Some(group) = group_mac(self.destination) {
            return Ok((group, Vec::new()));
        }
        let mut netlink = Netlink::open().map_err(kernel)?;
        let way = netlink.way_to(self.destination, None).map_err(kernel)?;
        let known = match &way {
            Some(way) => {
                let hop = way.gateway.unwrap_or(self.destination);
                netlink.neighbour_mac(way.ifindex, hop).map_err(kernel)?
            }
            None => None,
        };
        Ok(match known {
            Some(mac) => (mac, Vec::new()),
            None => {
                let note = format!(
                    "nobody here knows the link-layer address of {}: taken as {}, --to MAC tells it; it matters for hashes of layer 2",
                    self.destination,
                    MacAddr::ZERO
                );
                (MacAddr::ZERO, vec![note])
            }
        })
    }

    /// The first bytes of such a packet.
    fn frame(&self, source: MacAddr, destination: MacAddr) -> Vec<u8> {
        let mut transport = Vec::new();
        transport.extend(self.ports.iter().flat_map(|port| port.to_be_bytes()));
        transport.resize(20, 0);
        let (ether_type, mut packet) = match (self.source, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut header = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, self.protocol, 0, 0];
                header.extend(from.octets());
                header.extend(to.octets());
                (EtherType::Ipv4, header)
            }
            (from, to) => {
                let octets = |address: IpAddr| match address {
                    IpAddr::V6(address) => address.octets(),
                    // `parse` has seen to it that they are of one family.
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                };
                let mut header = vec![0x60, 0, 0, 0, 0, 20, self.protocol, 64];
                header.extend(octets(from));
                header.extend(octets(to));
                (EtherType::Ipv6, header)
            }
        };
        packet.extend(transport);
        let header = Header {
            destination,
            source,
            tags: self.vlan.map(Tag::vlan).into_iter().collect(),
            ether_type,
        };
        header.frame(&packet)
    }
}

/// The link-layer address of a group (RFC 1112, RFC 2464) or of everyone.
fn group_mac(address: IpAddr) -> Option<MacAddr> {
    match address {
        IpAddr::V4(address) if address.is_multicast() => {
            let [_, b, c, d] = address.octets();
            Some(MacAddr([1, 0, 0x5e, b & 0x7f, c, d]))
        }
        IpAddr::V4(address) if address.is_broadcast() => Some(MacAddr([0xff; 6])),
        IpAddr::V6(address) if address.is_multicast() => {
            let [.., a, b, c, d] = address.octets();
            Some(MacAddr([0x33, 0x33, a, b, c, d]))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_frames() {
        let frame = bytes("02:00:00:00:00:01 02-00-00-00-00-02 0800").unwrap();
        assert_eq!(frame, [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
        for (hex, why) in [
            ("020", "not an even number"),
            ("0g", "not an even number"),
            ("+1", "not an even number"),
            ("ä0", "not an even number"),
            ("02000000", "4 bytes are no frame"),
        ] {
            let said = bytes(hex).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_flow_in_words() {
        let parse = |words: &str| {
            let words = ["explain", "bond0"].into_iter().chain(words.split(' '));
            let matches = grammar().try_get_matches_from(words).unwrap();
            Flow::parse(&texts(&matches, "flow"), &matches)
        };
        let flow = parse("--flow 10.0.0.1 10.0.0.2 tcp 40000 443 --vlan 7 --to 02:00:00:00:00:09");
        let flow = flow.unwrap();
        let to = flow.to.unwrap();
        let frame = flow.frame(MacAddr([2, 0, 0, 0, 0, 1]), to);
        assert_eq!(frame[..6], [2, 0, 0, 0, 0, 9]);
        assert_eq!(frame[12..18], [0x81, 0, 0, 7, 8, 0]);
        assert_eq!(frame[18 + 9], 6);
        assert_eq!(frame[18 + 12..18 + 20], [10, 0, 0, 1, 10, 0, 0, 2]);
        assert_eq!(frame[38..42], [0x9c, 0x40, 0x01, 0xbb]);
        assert_eq!(parse("--flow fd00::1 fd00::2").unwrap().protocol, 58);
        for (words, why) in [
            ("--flow 10.0.0.1 fd00::1", "not of one family"),
            ("--flow here there", "here is not an IP address"),
            ("--flow 10.0.0.1 10.0.0.2 tpc", "tpc is not a protocol"),
            (
                "--flow 10.0.0.1 10.0.0.2 tcp 70000 1",
                "70000 is not a port",
            ),
        ] {
            let said = parse(words).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }
}
