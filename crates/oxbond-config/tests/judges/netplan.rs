//! netplan: `netplan generate`, with both of its renderers.

use oxbond_config::dialect::{Dialect, Reading, keyfile, netplan, networkd};
use oxbond_config::report::LineReport;
use oxbond_config::span::Sources;

use crate::bench::{Bench, Root};
use crate::{
    difference, fixtures, has_complaint, is_told, line_of, samples, sorted_ports, sources, text,
    written,
};

/// What `netplan generate` made of a set of files.
struct Generated {
    /// What it said; the first line is the error if there is one.
    said: String,
    accepted: bool,
    networkd: Sources,
    keyfiles: Sources,
}

/// `netplan generate` is a call of this program, which does not need a second for each.
const GENERATE: &str = r#"
for case in /work/*; do
    code=0
    /usr/libexec/netplan/generate --root-dir "$case" 2>"$case/said" || code=$?
    echo $code >"$case/code"
done
"#;

fn generate(cases: &[Sources]) -> Vec<Generated> {
    let bench = Bench::new();
    bench.put_cases(cases, "etc/netplan");
    bench.run(Root::Tools, GENERATE);
    let all = |directory: &str, home: &str| {
        let files = bench.list(directory);
        let files: Vec<(String, String)> = files
            .into_iter()
            .map(|(name, text)| (format!("{home}/{name}"), text))
            .collect();
        sources(
            files
                .iter()
                .map(|(name, text)| (name.as_str(), text.as_str())),
        )
    };
    (0..cases.len())
        .map(|number| Generated {
            said: bench.get(&format!("{number}/said")).unwrap(),
            accepted: bench.get(&format!("{number}/code")).unwrap().trim() == "0",
            networkd: all(
                &format!("{number}/run/systemd/network"),
                "/run/systemd/network",
            ),
            keyfiles: all(
                &format!("{number}/run/NetworkManager/system-connections"),
                "/run/NetworkManager/system-connections",
            ),
        })
        .collect()
}

/// Networks of each kind that are written.
const OF_EACH: usize = 40;

/// Every network we write is taken, and both renderers make of it what we read in it (NetworkManager of what it can do).
#[test]
fn root_netplan_takes_what_is_written() {
    let mut cases = Vec::new();
    let mut ours: Vec<Reading> = Vec::new();
    for network in samples(OF_EACH) {
        let files = netplan::write(&network).files;
        for renderer in ["networkd", "NetworkManager"] {
            let path = files[0].path.as_str();
            let chosen = format!("version: 2\n  renderer: {renderer}");
            let text = files[0].text.replacen("version: 2", &chosen, 1);
            cases.push(sources([(path, text.as_str())]));
        }
        ours.push(netplan::read(&written(&files)));
    }
    let generated = generate(&cases);
    let mut wrong = Vec::new();
    for (number, reading) in ours.into_iter().enumerate() {
        let yaml = &cases[2 * number];
        let wanted = text(reading.network);
        let [by_networkd, by_nm] = &generated[2 * number..2 * number + 2] else {
            unreachable!("two of each");
        };
        assert!(by_networkd.accepted, "{}\n{yaml:?}", by_networkd.said);
        let mut theirs = vec![networkd::read(&by_networkd.networkd)];
        if number < OF_EACH {
            assert!(by_nm.accepted, "{}\n{yaml:?}", by_nm.said);
            theirs.push(keyfile::read(&by_nm.keyfiles));
        }
        for theirs in theirs {
            let difference = difference(&text(theirs.network), &wanted);
            if !difference.is_empty() {
                wrong.push(format!(
                    "{difference}{}",
                    yaml.iter().next().unwrap().1.text
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases; {}", wrong.len(), wrong[0]);
}

/// What netplan makes of each fixture is what we read in it; and what it refuses, we complain of at the same line.
#[test]
fn root_netplan_reads_the_fixtures_as_we_do() {
    let (paths, cases): (Vec<String>, Vec<Sources>) =
        fixtures(Dialect::Netplan).into_iter().unzip();
    let mut wrong = Vec::new();
    for ((path, files), generated) in paths.iter().zip(&cases).zip(generate(&cases)) {
        let reading = netplan::read(files);
        let lines = Dialect::Netplan.lines(&reading.report, files);
        if generated.accepted {
            let theirs = if generated.networkd.iter().next().is_some() {
                networkd::read(&generated.networkd)
            } else {
                keyfile::read(&generated.keyfiles)
            };
            let theirs = by_name(&text(theirs.network));
            let difference = unexplained(&difference(&theirs, &text(reading.network)), &lines);
            if !difference.is_empty() {
                wrong.push(format!("{path}:\n{difference}{}", generated.said));
            }
            continue;
        }
        let blamed = place(&generated.said).and_then(|(file, line)| line_of(&lines, &file, line));
        let told = match blamed.filter(|_| !generated.said.contains("ovs-vsctl")) {
            Some(line) => is_told(line) || !reading.diagnostics.is_empty(),
            None => has_complaint(Dialect::Netplan, &reading, files),
        };
        if !told {
            wrong.push(format!(
                "{path}: netplan refuses it, and we say nothing there: {}",
                generated.said
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The lines of a difference that are not about an option of which something is told.
fn unexplained(difference: &str, lines: &[LineReport]) -> String {
    let explained = |line: &&str| {
        let name = line
            .split_whitespace()
            .nth(1)
            .and_then(|option| option.split('=').next());
        let spec = name.and_then(oxbond_core::option::find);
        let keys = spec.map_or(&[][..], |spec| spec.spellings.netplan);
        let mut told = lines.iter().filter(|line| is_told(line));
        told.any(|line| keys.iter().any(|key| line.text.contains(key)))
    };
    let rest = difference.lines().filter(|line| !explained(line));
    rest.map(|line| format!("{line}\n")).collect()
}

/// netplan finds a device that has `set-name` by what it matches and by that name, which is enough.
fn by_name(network: &str) -> String {
    let lines = network.lines().map(|line| {
        let name = line
            .strip_prefix("  select ")
            .and_then(|criteria| criteria.split_once("name "))
            .filter(|(before, name)| !before.is_empty() && !name.contains(['*', '?', '[']));
        name.map_or_else(
            || format!("{line}\n"),
            |(_, name)| format!("  port {name}\n"),
        )
    });
    sorted_ports(&lines.collect::<String>())
}

/// `FILE:LINE:COLUMN: ...` in what netplan said.
fn place(said: &str) -> Option<(String, usize)> {
    let at = said
        .find("/etc/netplan/")
        .or_else(|| said.find("/run/netplan/"))?;
    let mut parts = said[at..].split(':');
    Some((parts.next()?.to_owned(), parts.next()?.parse().ok()?))
}
