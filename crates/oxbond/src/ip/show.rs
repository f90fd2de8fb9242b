//! `ip link show`: what the system's `ip` prints, with the bonds of our own engine and their ports told as the driver's are.
//!
//! The system's `ip` knows everything about an interface but that it is a bond or a port of one. So it prints, and what
//! it prints is mended: flags, `master`, kind and data of bond and port. What carries a bond (a pair of devices, of
//! which the inner end is not listed) does not show.

use std::collections::{BTreeMap, BTreeSet};

use oxbond_config::ip::words::{Filter, Globals, Master};
use oxbond_core::status::PortStatus;
use oxbond_linux::netlink::ALIAS_MARK;

use super::json::Json;
use super::world::World;
use super::{Complaint, Verdict, describe, print, system};
use crate::report::BondReport;

/// What an interface is to us.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role<'a> {
    /// A bond.
    Bond(&'a BondReport),
    /// A port of a bond.
    Port(&'a BondReport, &'a PortStatus),
    /// The inner end of a bond.
    Inner,
}

/// Interfaces by the two ways in which `ip` names them: index with a colon, and name (which cannot have one).
type Roles<'a> = BTreeMap<String, Role<'a>>;

fn index_key(index: &impl std::fmt::Display) -> String {
    format!("{index}:")
}

/// Shows what the filter lets through.
pub(super) fn show(
    globals: &Globals,
    filter: &Filter,
    world: &World,
) -> Result<Verdict, Complaint> {
    let ours = || {
        world
            .bonds
            .iter()
            .filter(|bond| bond.engine.front.is_some())
    };
    if ours().next().is_none() {
        return Ok(Verdict::Pass);
    }
    let links = world.links()?;
    let mut roles = Roles::new();
    for bond in ours() {
        let front = bond.engine.bond_ifindex;
        let inner = links.iter().find(|link| link.index == front);
        let mut note = |index: u32, role| {
            roles.insert(index_key(&index), role);
            if let Some(link) = links.iter().find(|link| link.index == index) {
                roles.insert(link.name.clone(), role);
            }
        };
        note(front, Role::Bond(bond));
        if let Some(index) = inner.and_then(|link| link.lower) {
            note(index, Role::Inner);
        }
        for port in &bond.status.ports {
            note(port.ifindex, Role::Port(bond, port));
        }
    }
    let device = filter.device.as_deref();
    if device.is_some_and(|name| matches!(roles.get(name), None | Some(Role::Inner))) {
        return Ok(Verdict::Pass);
    }
    let kept = match keep(filter, world, &roles)? {
        Keep::Pass => return Ok(Verdict::Pass),
        Keep::Only(kept) => Some(kept),
        Keep::All => None,
    };
    let wanted = |id: &str| {
        let inner_unasked = device.is_none() && matches!(roles.get(id), Some(Role::Inner));
        !inner_unasked && kept.as_ref().is_none_or(|kept| kept.contains(id))
    };

    let mut words = globals.kept.clone();
    words.extend(["link".to_owned(), "show".to_owned()]);
    if let Some(name) = device {
        words.extend(["dev".to_owned(), name.to_owned()]);
    }
    words.extend(filter.others.iter().cloned());
    let printed = system(&words)?;
    let text = if globals.json {
        let document = read(&printed)?;
        let entries = entries(document).into_iter();
        let entries = entries.filter(|entry| id_of(entry).is_some_and(|id| wanted(&id)));
        let mended = entries.map(|entry| {
            let role = id_of(&entry).and_then(|id| roles.get(&id));
            mend_json(entry, role)
        });
        let mended = Json::List(mended.collect());
        let text = if globals.pretty {
            mended.pretty()
        } else {
            mended.compact()
        };
        text + "\n"
    } else if globals.brief {
        let lines = printed.lines().filter(|line| wanted(brief_name(line)));
        lines
            .map(|line| mend_brief(line, roles.get(brief_name(line))) + "\n")
            .collect()
    } else {
        let blocks = blocks(&printed);
        let blocks = blocks.iter().filter(|block| wanted(block_index(block)));
        let mended = blocks.map(|block| {
            let block = mend_text(block, roles.get(block_index(block)));
            if globals.oneline {
                block.trim_end_matches('\n').replace('\n', "\\") + "\n"
            } else {
                block
            }
        });
        mended.collect()
    };
    print(&text)?;
    Ok(Verdict::Done(0))
}

/// What filters leave, when the system's `ip` cannot say it alone.
enum Keep {
    /// Nothing of ours is concerned.
    Pass,
    /// Everything.
    All,
    /// These, by index and name.
    Only(BTreeSet<String>),
}

fn keep(filter: &Filter, world: &World, roles: &Roles<'_>) -> Result<Keep, Complaint> {
    let mut kept: Option<BTreeSet<String>> = None;
    let mut only = |set: BTreeSet<String>| {
        kept = Some(match kept.take() {
            Some(kept) => kept.intersection(&set).cloned().collect(),
            None => set,
        });
    };
    let is_ours = |bond: &str| {
        let mut roles = roles.values();
        roles.any(|role| matches!(role, Role::Bond(known) if known.status.name == bond))
    };
    let ours = |wanted: &dyn Fn(&Role<'_>) -> bool| {
        let ours = roles.iter().filter(|(_, role)| wanted(role));
        ours.map(|(id, _)| id.clone()).collect::<BTreeSet<_>>()
    };
    // What the system's `ip` lets through: it takes our bonds for what carries them.
    let theirs = |words: [&str; 2], but: &dyn Fn(&Role<'_>) -> bool| {
        let words = ["-j", "link", "show"].into_iter().chain(words);
        let words = words.filter(|word| !word.is_empty()).map(str::to_owned);
        let printed = system(&words.collect::<Vec<_>>())?;
        let mut ids = BTreeSet::new();
        for entry in entries(read(&printed)?) {
            let Some(id) = id_of(&entry) else { continue };
            if !roles.get(&id).is_some_and(but) {
                ids.extend(entry.get_text("ifname").map(str::to_owned));
                ids.insert(id);
            }
        }
        Ok::<_, Complaint>(ids)
    };
    if let Some(kind) = &filter.kind {
        let is_front = |role: &Role<'_>| matches!(role, Role::Bond(_) | Role::Inner);
        let mut set = theirs(["type", kind], &is_front)?;
        match kind.as_str() {
            "bond" => set.extend(ours(&|role| matches!(role, Role::Bond(_)))),
            "bond_slave" => set.extend(ours(&|role| matches!(role, Role::Port(..)))),
            _ => {}
        }
        only(set);
    }
    match &filter.master {
        Some(Master::Join(master)) => match world.bond(master)?.filter(|bond| is_ours(bond)) {
            Some(bond) => only(ours(
                &|role| matches!(role, Role::Port(of, _) if of.status.name == bond),
            )),
            None if filter.kind.is_none() => return Ok(Keep::Pass),
            None => only(theirs(["master", master], &|_| false)?),
        },
        Some(Master::Leave) => only(theirs(["nomaster", ""], &|role| {
            matches!(role, Role::Port(..))
        })?),
        None => {}
    }
    Ok(kept.map_or(Keep::All, Keep::Only))
}

fn read(printed: &str) -> Result<Json, Complaint> {
    // `ip` prints nothing at all where nothing is to be told.
    if printed.trim().is_empty() {
        return Ok(Json::List(Vec::new()));
    }
    serde_json::from_str(printed).map_err(|e| {
        Complaint::ours(format!(
            "the JSON of the system's 'ip' is not understood: {e}"
        ))
    })
}

/// The interfaces of a document; `ip` leaves empty objects where a filter took one out.
fn entries(document: Json) -> Vec<Json> {
    match document {
        Json::List(entries) => entries,
        _ => Vec::new(),
    }
}

/// Index, or name in the brief form.
fn id_of(entry: &Json) -> Option<String> {
    match entry.get("ifindex") {
        Some(Json::Number(index)) => Some(index_key(index)),
        _ => entry.get_text("ifname").map(str::to_owned),
    }
}

/// Flags in the order of `ip`, after which one of ours is put in.
const BEFORE_MASTER: [&str; 8] = [
    "NO-CARRIER",
    "LOOPBACK",
    "BROADCAST",
    "POINTOPOINT",
    "MULTICAST",
    "NOARP",
    "ALLMULTI",
    "PROMISC",
];

/// Flags as the driver's bond or port has them.
fn mend_flags<'f>(flags: impl Iterator<Item = &'f str>, role: &Role<'_>) -> Vec<String> {
    let mut flags: Vec<String> = flags.map(str::to_owned).collect();
    let own = match role {
        Role::Bond(_) => "MASTER",
        Role::Port(..) => "SLAVE",
        Role::Inner => return flags,
    };
    if matches!(role, Role::Bond(_)) {
        // Of its inner end: a bond is not linked to another device.
        flags.retain(|flag| flag != "M-DOWN");
    }
    let at = flags
        .iter()
        .position(|flag| !BEFORE_MASTER.contains(&flag.as_str()));
    flags.insert(at.unwrap_or(flags.len()), own.to_owned());
    flags
}

/// State as the driver's bond has it.
fn mend_state<'s>(state: &'s str, role: &Role<'_>) -> &'s str {
    match (role, state) {
        (Role::Bond(_), "LOWERLAYERDOWN") => "DOWN",
        _ => state,
    }
}

fn mend_json(entry: Json, role: Option<&Role<'_>>) -> Json {
    let (Json::Object(members), Some(role)) = (entry.clone(), role) else {
        return entry;
    };
    let mut mended: Vec<(String, Json)> = Vec::new();
    let mut details = false;
    for (key, value) in members {
        let value = match (key.as_str(), value, role) {
            ("link" | "link_index" | "link_netnsid", _, Role::Bond(_)) => continue,
            ("ifalias", Json::Text(alias), Role::Bond(_)) if alias.starts_with(ALIAS_MARK) => {
                continue;
            }
            ("flags", Json::List(flags), role) => {
                let words = flags.iter().filter_map(|flag| match flag {
                    Json::Text(flag) => Some(flag.as_str()),
                    _ => None,
                });
                Json::List(
                    mend_flags(words, role)
                        .into_iter()
                        .map(Json::Text)
                        .collect(),
                )
            }
            ("operstate", Json::Text(state), role) => {
                if let (Role::Port(bond, _), Some(_)) = (role, entry.get("ifindex")) {
                    mended.push(("master".to_owned(), Json::text(&bond.status.name)));
                }
                Json::text(mend_state(&state, role))
            }
            ("linkinfo", value, role) => {
                details = true;
                mend_linkinfo(value, role)
            }
            // Hardware has no link info.
            ("inet6_addr_gen_mode" | "num_tx_queues", value, Role::Port(..)) if !details => {
                details = true;
                let info = mend_linkinfo(Json::Object(Vec::new()), role);
                mended.push(("linkinfo".to_owned(), info));
                value
            }
            (_, value, _) => value,
        };
        mended.push((key, value));
    }
    Json::Object(mended)
}

fn mend_linkinfo(info: Json, role: &Role<'_>) -> Json {
    let Json::Object(mut members) = info else {
        return info;
    };
    let member = |key: &str, value| (key.to_owned(), value);
    match role {
        Role::Bond(bond) => {
            members.retain(|(key, _)| key != "info_kind" && key != "info_data");
            let data = describe::object(describe::bond(&bond.status));
            let own = [
                member("info_kind", Json::text("bond")),
                member("info_data", data),
            ];
            members.splice(0..0, own);
        }
        Role::Port(bond, port) => {
            let data = describe::object(describe::port(&bond.status, port));
            members.push(member("info_slave_kind", Json::text("bond")));
            members.push(member("info_slave_data", data));
        }
        Role::Inner => {}
    }
    Json::Object(members)
}

fn brief_name(line: &str) -> &str {
    let name = line.split_whitespace().next().unwrap_or_default();
    name.split_once('@').map_or(name, |(name, _)| name)
}

fn mend_brief(line: &str, role: Option<&Role<'_>>) -> String {
    let parts = || {
        let role = role?;
        let (name, rest) = line.split_once(char::is_whitespace)?;
        let (state, rest) = rest.trim_start().split_once(char::is_whitespace)?;
        let (before, rest) = rest.split_once('<')?;
        let (flags, after) = rest.split_once('>')?;
        let name = match role {
            Role::Bond(_) => brief_name(name),
            _ => name,
        };
        let state = mend_state(state, role);
        let flags = mend_flags(flags.split(','), role).join(",");
        let before = before.trim_start();
        Some(format!("{name:<16} {state:<14} {before}<{flags}>{after}"))
    };
    parts().unwrap_or_else(|| line.to_owned())
}

/// The text of each interface.
fn blocks(printed: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in printed.split_inclusive('\n') {
        match blocks.last_mut() {
            Some(block) if line.starts_with(char::is_whitespace) => block.push_str(line),
            _ => blocks.push(line.to_owned()),
        }
    }
    blocks
}

fn block_index(block: &str) -> &str {
    block.find(':').map_or(block, |at| &block[..=at])
}

fn mend_text(block: &str, role: Option<&Role<'_>>) -> String {
    let Some(role) = role else {
        return block.to_owned();
    };
    let mut lines: Vec<String> = block.lines().map(str::to_owned).collect();
    if let Some(header) = lines.first_mut() {
        *header = mend_header(header, role);
    }
    match role {
        Role::Bond(bond) => {
            let ours = format!("    alias {ALIAS_MARK}");
            lines.retain(|line| !line.starts_with(&ours));
            let kind = format!("    {} ", bond.engine.front.as_deref().unwrap_or_default());
            if let Some(line) = lines.iter_mut().find(|line| line.starts_with(&kind)) {
                let tail = after_info(line).map_or("", |at| &line[at..]);
                let data = describe::line(&describe::bond(&bond.status));
                *line = format!("    bond {data}{tail}");
            }
        }
        Role::Port(bond, port) => {
            let found = lines.iter_mut().find_map(|line| {
                let at = after_info(line)?;
                Some((line, at))
            });
            if let Some((line, at)) = found {
                let data = describe::line(&describe::port(&bond.status, port));
                line.insert_str(at, &format!("\n    bond_slave {data}"));
            }
        }
        Role::Inner => {}
    }
    lines.iter().map(|line| line.clone() + "\n").collect()
}

/// Where the details begin that follow kind and data.
fn after_info(line: &str) -> Option<usize> {
    let at = [" addrgenmode ", " numtxqueues "]
        .iter()
        .filter_map(|word| line.find(word))
        .min()?;
    Some(at + 1)
}

fn mend_header(header: &str, role: &Role<'_>) -> String {
    let parts = || {
        let (name, rest) = header.split_once(": <")?;
        let (flags, rest) = rest.split_once('>')?;
        let name = match role {
            Role::Bond(_) => name.split_once('@').map_or(name, |(name, _)| name),
            _ => name,
        };
        let flags = mend_flags(flags.split(','), role).join(",");
        let (before, after) = rest.split_once(" state ")?;
        let (state, after) = after.split_once(' ')?;
        let state = mend_state(state, role);
        let master = match role {
            Role::Port(bond, _) => format!(" master {}", bond.status.name),
            _ => String::new(),
        };
        Some(format!(
            "{name}: <{flags}>{before}{master} state {state} {after}"
        ))
    };
    parts().unwrap_or_else(|| header.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::describe::tests::{driver, like_driver, status};
    use super::*;
    use crate::report::EngineReport;

    fn report() -> BondReport {
        let mut status = status("mode active-backup miimon 100 num_grat_arp 3");
        status.name = "bond1".into();
        status.primary = Some("v0".into());
        status.active_port = Some("v0".into());
        BondReport {
            status,
            engine: EngineReport {
                front: Some("netkit".into()),
                ..EngineReport::default()
            },
            counters: Vec::new(),
            tx_no_port: 0,
            ports_left: 0,
            hindered: BTreeMap::new(),
        }
    }

    /// The driver's text with what makes it a bond's put back to what carries ours.
    #[test]
    fn a_front_device_is_told_as_the_driver_tells_its_bond() {
        let expected = driver("ip -d link show bond1");
        let (before, rest) = expected.split_once("    bond ").unwrap();
        let (_, after) = rest.split_once("addrgenmode").unwrap();
        let front = before
            .replace("bond1: ", "bond1@ox.bond1: ")
            .replace("MASTER,UP,LOWER_UP", "UP,LOWER_UP")
            + "    netkit addrgenmode"
            + after
            + "    alias oxbond: bond bond1\n";
        let report = report();
        let role = Role::Bond(&report);
        assert_eq!(like_driver(&mend_text(&front, Some(&role))), expected);

        let down = "7: bond1@ox.bond1: <NO-CARRIER,BROADCAST,MULTICAST,UP,M-DOWN> mtu 1500 qdisc noqueue state \
                    LOWERLAYERDOWN mode DEFAULT group default qlen 1000\n";
        assert_eq!(
            mend_text(down, Some(&role)),
            "7: bond1: <NO-CARRIER,BROADCAST,MULTICAST,MASTER,UP> mtu 1500 qdisc noqueue state DOWN mode DEFAULT group \
             default qlen 1000\n"
        );
    }

    #[test]
    fn a_port_is_told_as_the_driver_tells_its_port() {
        let expected = driver("ip -d link show v0");
        let (before, rest) = expected.split_once("\n    bond_slave ").unwrap();
        let (_, after) = rest.split_once("addrgenmode").unwrap();
        let port =
            before.replace("SLAVE,", "").replace(" master bond1", "") + "addrgenmode" + after;
        let mut report = report();
        report.status.ports = vec![describe::tests::port("0e:9f:60:67:45:22")];
        let role = Role::Port(&report, &report.status.ports[0]);
        assert_eq!(mend_text(&port, Some(&role)), expected);
        // Hardware has no line of its own for its kind.
        let hardware = port.replace("\n    veth ", "");
        assert!(
            mend_text(&hardware, Some(&role))
                .contains("maxmtu 65535 \n    bond_slave state ACTIVE")
        );
    }

    #[test]
    fn the_brief_form_keeps_its_columns() {
        let expected = driver("ip -br link show type bond");
        let expected = expected.lines().next().unwrap();
        let line =
            "bond1@ox.bond1   UP             0e:9f:60:67:45:22 <BROADCAST,MULTICAST,UP,LOWER_UP> ";
        assert_eq!(mend_brief(line, Some(&Role::Bond(&report()))), expected);
    }

    #[test]
    fn json_is_told_as_the_driver_tells_it() {
        let expected = driver("ip -j -p -d link show bond1");
        let mut entries = entries(read(&expected).unwrap());
        let Json::Object(members) = &mut entries[0] else {
            panic!("an object");
        };
        members.insert(1, ("link".into(), Json::text("ox.bond1")));
        for (key, value) in &mut *members {
            match key.as_str() {
                "flags" => *value = read(r#"["BROADCAST","MULTICAST","UP","LOWER_UP"]"#).unwrap(),
                "linkinfo" => *value = read(r#"{"info_kind":"netkit"}"#).unwrap(),
                _ => {}
            }
        }
        members.push(("ifalias".into(), Json::text("oxbond: bond bond1")));
        let report = report();
        let mended = mend_json(entries.remove(0), Some(&Role::Bond(&report)));
        let mended = Json::List(vec![mended]).pretty() + "\n";
        assert_eq!(like_driver(&mended), expected);
    }
}
