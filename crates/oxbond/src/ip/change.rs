//! `ip link add`, `set`, `change`, `replace` and `delete`, as far as they concern a bond of ours.

use std::path::Path;

use oxbond_config::ip::options::{Scope, number};
use oxbond_config::ip::words::{Change, Globals, Master, Verb};
use oxbond_core::option::MAX_NAME;

use super::options::{self, Options};
use super::world::World;
use super::{Complaint, Verdict, status_of};
use crate::control::protocol::{BondRequest, PortRequest, Request};

/// `ip link add ... type bond ...`: always ours.
pub(super) fn add(
    globals: &Globals,
    verb: Verb,
    mut words: Change,
    world: &mut World,
) -> Result<Verdict, Complaint> {
    let options = parse(Scope::Bond, &words.kind_words, world)?;
    let mac = words
        .take("address")
        .map(|text| options::mac(&text))
        .transpose()?;
    let mtu = words.take("mtu").map(|text| mtu(&text)).transpose()?;
    let named = words.take("name").or_else(|| words.device.take());
    let name = free_name(named.as_deref().unwrap_or("bond%d"), world)?;
    if world.link(&name)?.is_some() {
        let errno = match verb {
            Verb::Replace => libc::EOPNOTSUPP,
            _ => libc::EEXIST,
        };
        return Err(Complaint::errno(errno, ""));
    }
    for keyword in [
        "index",
        "link",
        "netns",
        "link-netns",
        "link-netnsid",
        "parentdev",
    ] {
        if words.take(keyword).is_some() {
            let why = format!("a bond cannot be made with '{keyword}'; leave it out");
            return Err(Complaint::errno(libc::EOPNOTSUPP, &why));
        }
    }
    for keyword in ["numtxqueues", "numrxqueues"] {
        if words.take(keyword).is_some() {
            eprintln!(
                "oxbond: {keyword} has no effect: packets are spread over the queues of the ports"
            );
        }
    }
    world.call(Request::Up(BondRequest {
        name: name.clone(),
        options,
        mtu,
        mac: mac.map(|mac| mac.to_string()),
        down: true,
        ..BondRequest::default()
    }))?;
    match rest(globals, &name, &words)? {
        0 => Ok(Verdict::Done(0)),
        code => {
            // As with the driver: all or nothing.
            world.call(Request::Down { bond: name })?;
            Ok(Verdict::Done(code))
        }
    }
}

/// `ip link set` and `change` of a bond, of a port, or of one that is to be a port.
pub(super) fn set(
    run_root: &Path,
    globals: &Globals,
    mut words: Change,
) -> Result<Verdict, Complaint> {
    let Some(device) = words.device.clone() else {
        return Ok(Verdict::Pass);
    };
    let scope = words.kind.as_deref().and_then(Scope::of);
    if scope.is_none() && words.master.is_none() {
        return Ok(Verdict::Pass);
    }
    let world = &mut World::look(run_root);
    let bond = world.bond(&device)?;
    let mut port = world.port(&device)?;
    let joins = match &words.master {
        Some(Master::Join(master)) => world.bond(master)?,
        _ => None,
    };
    let concerned = match scope {
        Some(Scope::Bond) => bond.is_some(),
        Some(Scope::Port) => port.is_some() || joins.is_some(),
        None => false,
    };
    let moves = joins.is_some() || (port.is_some() && words.master.is_some());
    if !concerned && !moves {
        return Ok(Verdict::Pass);
    }
    if world.link(&device)?.is_none() {
        return Err(Complaint::no_device(&device));
    }
    let options = match scope {
        Some(scope) if concerned => parse(scope, &words.kind_words, world)?,
        _ => Options::new(),
    };
    if concerned {
        words.kind = None;
    }
    if let (Some(bond), Some(Scope::Bond), false) = (&bond, scope, options.is_empty()) {
        world.call(Request::Set {
            bond: bond.clone(),
            options: options.clone(),
        })?;
    }
    if moves {
        port = change_master(globals, &device, port, joins, &mut words, world)?;
    }
    if let (Some((bond, port)), Some(Scope::Port), false) = (port, scope, options.is_empty()) {
        world.call(Request::SetPort {
            bond,
            port: PortRequest {
                found: false,
                name: port,
                options,
            },
        })?;
    }
    Ok(Verdict::Done(rest(globals, &device, &words)?))
}

/// Leaves the bond it is in, and joins the one named. Answers where it is then.
fn change_master(
    globals: &Globals,
    device: &str,
    port: Option<(String, String)>,
    joins: Option<String>,
    words: &mut Change,
    world: &mut World,
) -> Result<Option<(String, String)>, Complaint> {
    if let (Some((bond, _)), Some(wanted)) = (&port, &joins)
        && bond == wanted
    {
        words.master = None;
        return Ok(port);
    }
    if let Some((bond, port)) = port {
        world.call(Request::RemovePort { bond, port })?;
        if words.master == Some(Master::Leave) {
            words.master = None;
        }
    }
    let Some(bond) = joins else {
        return Ok(None);
    };
    words.master = None;
    if world.link(device)?.and_then(|link| link.master).is_some() {
        let leave = ["link", "set", "dev", device, "nomaster"].map(str::to_owned);
        let code = status_of(&[globals.kept.as_slice(), &leave].concat())?;
        if code != 0 {
            return Err(Complaint::said(code));
        }
    }
    // The driver opens a port that joins, which therefore is asked to be down before.
    words.others.retain(|(keyword, _)| *keyword != "down");
    let request = PortRequest {
        found: false,
        name: device.to_owned(),
        options: Vec::new(),
    };
    world.call(Request::AddPort {
        bond: bond.clone(),
        port: request,
    })?;
    Ok(Some((bond, device.to_owned())))
}

/// `ip link delete` of a bond.
pub(super) fn delete(words: &Change, world: &mut World) -> Result<Verdict, Complaint> {
    let Some(device) = &words.device else {
        return Ok(Verdict::Pass);
    };
    let Some(bond) = world.bond(device)? else {
        return Ok(Verdict::Pass);
    };
    world.call(Request::Down { bond })?;
    Ok(Verdict::Done(0))
}

/// What is left is about an ordinary interface: the system's `ip` does it. Answers its exit code.
fn rest(globals: &Globals, device: &str, words: &Change) -> Result<u8, Complaint> {
    let mut left = words.other_words();
    match &words.master {
        Some(Master::Join(master)) => left.extend(["master".to_owned(), master.clone()]),
        Some(Master::Leave) => left.push("nomaster".to_owned()),
        None => {}
    }
    if let Some(kind) = &words.kind
        && Scope::of(kind).is_none()
    {
        left.extend(["type".to_owned(), kind.clone()]);
        left.extend(words.kind_words.iter().cloned());
    }
    if left.is_empty() {
        return Ok(0);
    }
    let set = ["link", "set", "dev", device].map(str::to_owned);
    status_of(&[globals.kept.as_slice(), &set, &left].concat())
}

fn parse(scope: Scope, words: &[String], world: &World) -> Result<Options, Complaint> {
    options::parse(scope, words, |name| {
        world.link(name).is_ok_and(|link| link.is_some())
    })
}

fn mtu(text: &str) -> Result<u32, Complaint> {
    let number = number(text).and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| {
        Complaint::new(
            255,
            format!("Error: argument \"{text}\" is wrong: Invalid \"mtu\" value\n"),
        )
    })
}

/// The name itself, or with `%d` the first number that is free.
fn free_name(name: &str, world: &World) -> Result<String, Complaint> {
    if name.is_empty() || name.contains('/') || name.contains(char::is_whitespace) {
        let text = format!("Error: argument \"{name}\" is wrong: \"dev\" not a valid ifname");
        return Err(Complaint::new(255, text));
    }
    let Some((before, after)) = name.split_once("%d") else {
        if name.len() > MAX_NAME {
            let text = "Error: Attribute failed policy validation.";
            return Err(Complaint::new(2, text));
        }
        return Ok(name.to_owned());
    };
    let links = world.links()?;
    let mut numbered = (0..).map(|number| format!("{before}{number}{after}"));
    let free = numbered.find(|name| !links.iter().any(|link| link.name == *name));
    Ok(free.unwrap_or_else(|| name.to_owned()))
}
