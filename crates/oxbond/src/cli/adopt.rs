//! `oxbond adopt`: takes a running bond of the kernel's driver under management, or moves a bond to the other engine; and says
//! which other tools have files that set it up.

use std::path::Path;

use clap::{ArgMatches, Command};
use oxbond_config::detect::gather_usual;
use oxbond_config::lint::managers;

use super::{bond_arg, done, engine_arg, engine_choice, say, text};
use crate::control::client::Client;
use crate::control::protocol::{Reply, Request};
use crate::exit::Failure;
use crate::paths::RunPaths;

pub(super) fn grammar() -> Command {
    Command::new("adopt")
        .about("Take a running bond under management, whoever made it, or move it to the other engine")
        .long_about(
            "Take a running bond under management, whoever made it, or move it to the other engine.\n\nA bond of the kernel's \
             driver that ip, a distribution's tools or the module itself made is from then on the daemon's: nothing of it is \
             changed and no packet is lost. 'oxbond status' shows the bonds that there are. Other tools whose files set up the bond \
             or its ports are named: they go on changing it.\n\nWith --engine ebpf it moves to our \
             own engine, with --engine kernel back to the driver: name, link-layer address, addresses, routes, bridge and LACP \
             identity stay, and at most the packets in flight are lost. It is refused where the other engine lacks an option that \
             is in force, which the message names.",
        )
        .arg(bond_arg())
        .arg(engine_arg(
            "What carries it from then on: auto leaves it where it is, ebpf is our own engine, kernel its bonding driver",
        ))
}

pub(super) fn run(run_root: &Path, matches: &ArgMatches) -> Result<(), Failure> {
    let mut client = RunPaths::here(run_root).and_then(|paths| Client::connect(&paths.socket()))?;
    let bond = text(matches, "bond");
    done(client.call(Request::Adopt {
        bond: bond.clone(),
        engine: engine_choice(matches),
    })?)?;
    let status = client.call(Request::Status {
        bond: Some(bond.clone()),
    })?;
    let mut devices = vec![bond];
    if let Reply::Bonds { bonds, .. } = status {
        let ports = bonds.into_iter().flat_map(|bond| bond.status.ports);
        devices.extend(ports.map(|port| port.name));
    }
    say(&others(Path::new("/"), &devices))
}

/// A line for each other tool whose files below `root` set up one of the devices.
fn others(root: &Path, devices: &[String]) -> String {
    let gathered = gather_usual(root, None);
    let managers = managers(&gathered.sources, &gathered.dialects, devices);
    let lines = managers.iter().map(|manager| {
        let file = &gathered.sources.get(manager.span.file).name;
        let line = gathered.sources.position(manager.span).line;
        format!(
            "{}: set up by files of {} too ({file}:{line}), which then may change it at any time; leave it to one of the two \
             ('oxbond lint --explain two-managers' says more)\n",
            manager.devices.join(", "),
            manager.dialect.name()
        )
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_tools_that_set_up_the_bond_or_its_ports_are_named() {
        let root = std::env::temp_dir().join(format!("oxbond-adopt-{}", std::process::id()));
        let write = |name: &str, text: &str| {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let devices = ["bond0", "eth0", "eth1"].map(str::to_owned);
        assert_eq!(others(&root, &devices), "");
        write(
            "etc/oxbond/bond0.toml",
            "[bond.bond0]\nports = [\"eth0\", \"eth1\"]\n",
        );
        write(
            "etc/modprobe.d/bonding.conf",
            "alias bond0 bonding\noptions bonding mode=1 miimon=100\n",
        );
        write(
            "etc/systemd/network/10-other.network",
            "[Match]\nName=eth7\n",
        );
        assert_eq!(others(&root, &devices), "", "neither ours nor of others");
        write(
            "etc/network/interfaces",
            "auto lo\niface lo inet loopback\n\nauto bond0\niface bond0 inet manual\n bond-slaves eth0\n",
        );
        write(
            "etc/systemd/network/20-eth1.network",
            "[Match]\nName=eth1\n",
        );
        let said = others(&root, &devices);
        std::fs::remove_dir_all(&root).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 2, "{said}");
        for mention in [
            "eth1: set up by files of networkd too (/etc/systemd/network/20-eth1.network:2)",
            "bond0, eth0: set up by files of ifupdown too (/etc/network/interfaces:5)",
        ] {
            assert!(
                lines.iter().any(|line| line.contains(mention)),
                "{mention}: {said}"
            );
        }
    }
}
