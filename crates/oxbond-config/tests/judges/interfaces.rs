//! ifupdown2 and the classic ifupdown: `ifquery` says what they understood of `/etc/network/interfaces`, and they say
//! what they do not take.

use std::fmt::Write as _;

use oxbond_config::dialect::Dialect;
use oxbond_config::model::{DesiredNetwork, DeviceSettings};
use oxbond_config::report::LineReport;
use oxbond_config::span::Sources;
use oxbond_core::option::OptionId;

use crate::bench::{Bench, Root};
use crate::{difference, fixtures, has_complaint, is_told, samples, sources, text, written};

/// Runs ifupdown2 on each set of files: once started it is forked for each, since starting takes it longest.
const SECOND: &str = r#"
mkdir -p /run/network
python3 - /work/* <<'END'
import os, sys

MAIN = "/usr/share/ifupdown2/__main__.py"
sys.path.insert(0, os.path.dirname(MAIN))
with open(MAIN) as source:
    program = compile(source.read(), MAIN, "exec")
import ifupdown.client, ifupdown.main, lib.log, lib.nlcache, lib.status

def run(case, out, *words):
    child = os.fork()
    if child == 0:
        for path, fd in ((out, 1), (case + "/said", 2)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), fd)
        sys.argv = [*words, "-a", "-i", case + "/etc/network/interfaces"]
        try:
            exec(program, {"__name__": "__main__", "__file__": MAIN})
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
    os.waitpid(child, 0)

for case in sys.argv[1:]:
    run(case, case + "/understood", "/sbin/ifquery")
    run(case, case + "/said", "/sbin/ifup", "--syntax-check")
END
"#;

const CLASSIC: &str = r#"
for case in /work/*; do
    file=$case/etc/network/interfaces
    : >"$case/understood"
    for name in $(cat "$case/names"); do
        echo "iface $name inet manual" >>"$case/understood"
        ifquery -i "$file" "$name" >>"$case/understood" 2>>"$case/said" || echo "no $name" >>"$case/said"
    done
    ifquery -i "$file" --list >/dev/null 2>>"$case/said" || true
done
"#;

struct Judged {
    /// What it understood, as a file of its own.
    understood: String,
    said: String,
}

/// Runs a tool on sets of files, of which each device is brought up by itself: only those are listed.
fn judge(root: Root, script: &str, cases: &[(Sources, DesiredNetwork)]) -> Vec<Judged> {
    let bench = Bench::new();
    for (number, (case, network)) in cases.iter().enumerate() {
        let bonds = network.bonds.iter().map(|bond| &bond.name.value);
        let vlans = network.vlans.iter().map(|vlan| &vlan.name.value);
        let bridges = network.bridges.iter().map(|bridge| &bridge.name.value);
        let names: Vec<&str> = bonds
            .chain(vlans)
            .chain(bridges)
            .map(String::as_str)
            .collect();
        bench.put(&format!("{number}/names"), &names.join("\n"));
        for (index, (_, source)) in case.iter().enumerate() {
            let home = if source.name.contains('/') {
                ""
            } else {
                "/etc/network/"
            };
            let path = format!("{number}/{home}{}", source.name);
            // They stand in a directory of their own.
            let mut text = source
                .text
                .replace(" /etc/network/", &format!(" /work/{number}/etc/network/"));
            if index == 0 && matches!(root, Root::Tools) {
                let _ = write!(text, "\nauto {}\n", names.join(" "));
            }
            bench.put(&path, &text);
        }
    }
    bench.run(root, script);
    let get =
        |number: usize, name: &str| bench.get(&format!("{number}/{name}")).unwrap_or_default();
    (0..cases.len())
        .map(|number| Judged {
            understood: get(number, "understood"),
            said: get(number, "said"),
        })
        .collect()
}

/// What it says against a value, and sets it all the same (3.0.0): ranges narrower than the driver's, and that a bridge
/// had better have the MTU of its ports. And what only later ones and Proxmox's know, which our writer tells.
const ADVICE: [&str; 4] = [
    "unsupported address method 'auto'",
    "bond-miimon: value of out range",
    "bond-min-links: value of out range",
    "bridge inherits mtu from its ports",
];

/// What its netlink socket says now and then as it is closed, on a busy machine and whatever the file.
const OWN_TROUBLE: &str = "recv() error: [Errno 22]";

/// Complaints of ifupdown2.
fn complaints(said: &str) -> Vec<&str> {
    said.lines()
        .filter(|line| line.starts_with("error") || line.starts_with("warning"))
        .filter(|line| !line.contains(OWN_TROUBLE))
        .filter(|line| !ADVICE.iter().any(|advice| line.contains(advice)))
        .collect()
}

fn cases_of(dialect: Dialect) -> Vec<(Sources, DesiredNetwork)> {
    let files = samples(12)
        .into_iter()
        .map(|network| written(&dialect.write(&network).files));
    files
        .map(|files| {
            let network = dialect.read(&files).network;
            (files, network)
        })
        .collect()
}

#[test]
fn root_ifupdown2_takes_what_is_written() {
    let cases = cases_of(Dialect::Ifupdown2);
    for ((files, wanted), judged) in cases.iter().zip(judge(Root::Tools, SECOND, &cases)) {
        let complaints = complaints(&judged.said);
        assert!(complaints.is_empty(), "{complaints:#?}\n{files:?}");
        let theirs =
            Dialect::Ifupdown2.read(&sources([("interfaces", judged.understood.as_str())]));
        let difference = difference(&text(theirs.network), &text(wanted.clone()));
        assert!(
            difference.is_empty(),
            "{difference}{files:?}\n{}",
            judged.understood
        );
    }
}

#[test]
fn root_ifupdown2_reads_the_fixtures_as_we_do() {
    let mut wrong = Vec::new();
    let (paths, cases) = fixtures_read(Dialect::Ifupdown2);
    for ((path, (files, ours)), judged) in
        paths
            .iter()
            .zip(&cases)
            .zip(judge(Root::Tools, SECOND, &cases))
    {
        let lines = lines(Dialect::Ifupdown2, files);
        for complaint in complaints(&judged.said) {
            // It names the key, but where it breaks down itself.
            let told = lines.iter().any(|line| {
                is_told(line)
                    && (complaint.contains("main exception")
                        || complaint.contains("error getting dependent interfaces")
                        || key(line).is_some_and(|key| complaint.contains(key)))
            });
            if !told {
                wrong.push(format!("{path}: {complaint}, and we say nothing of it"));
            }
        }
        let theirs =
            Dialect::Ifupdown2.read(&sources([("interfaces", judged.understood.as_str())]));
        let difference = difference(&text(theirs.network), &text(ours.clone()));
        if !difference.is_empty() {
            wrong.push(format!(
                "{path}:\n{difference}{}{}",
                judged.understood, judged.said
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn root_ifupdown_takes_what_is_written() {
    let cases = cases_of(Dialect::Ifupdown);
    for ((files, wanted), judged) in cases.iter().zip(judge(Root::Ifupdown, CLASSIC, &cases)) {
        assert_eq!(judged.said, "", "{files:?}");
        let difference = difference(
            &text(of_ifquery(&judged.understood)),
            &text(bare(wanted.clone())),
        );
        assert!(
            difference.is_empty(),
            "{difference}{files:?}\n{}",
            judged.understood
        );
    }
}

#[test]
fn root_ifupdown_reads_the_fixtures_as_we_do() {
    let mut wrong = Vec::new();
    let (paths, cases) = fixtures_read(Dialect::Ifupdown);
    for ((path, (files, ours)), judged) in
        paths
            .iter()
            .zip(&cases)
            .zip(judge(Root::Ifupdown, CLASSIC, &cases))
    {
        if !judged.said.is_empty() {
            let reading = Dialect::Ifupdown.read(files);
            if !has_complaint(Dialect::Ifupdown, &reading, files) {
                wrong.push(format!("{path}: {}, and we say nothing of it", judged.said));
            }
            continue;
        }
        let difference = difference(
            &text(of_ifquery(&judged.understood)),
            &text(bare(ours.clone())),
        );
        if !difference.is_empty() {
            wrong.push(format!("{path}:\n{difference}{}", judged.understood));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The classic `ifquery` says options as `key: value`, without family and method: enough for bonds and bridges.
fn of_ifquery(understood: &str) -> DesiredNetwork {
    let mut text = String::new();
    for line in understood.lines() {
        // What was given again stands on lines of its own.
        match line.split_once(": ") {
            Some((key, value)) => write!(text, "\n    {key} {value}").unwrap(),
            None if line.starts_with("iface ") => write!(text, "\n{line}").unwrap(),
            None => write!(text, " {line}").unwrap(),
        }
    }
    bare(
        Dialect::Ifupdown
            .read(&sources([("interfaces", text.as_str())]))
            .network,
    )
}

/// Without what is not of bonds, VLANs and bridges themselves, and without ports and the primary, which other
/// stanzas may name.
fn bare(mut network: DesiredNetwork) -> DesiredNetwork {
    for bond in &mut network.bonds {
        bond.device = DeviceSettings::default();
        bond.ports.clear();
        bond.options
            .retain(|option| option.value.id != OptionId::Primary);
    }
    for vlan in &mut network.vlans {
        vlan.device = DeviceSettings::default();
    }
    for bridge in &mut network.bridges {
        bridge.device = DeviceSettings::default();
    }
    network
}

fn fixtures_read(of: Dialect) -> (Vec<String>, Vec<(Sources, DesiredNetwork)>) {
    let fixtures = fixtures(of).into_iter();
    fixtures
        .map(|(path, files)| {
            let network = of.read(&files).network;
            (path, (files, network))
        })
        .unzip()
}

fn lines(dialect: Dialect, files: &Sources) -> Vec<LineReport> {
    dialect.lines(&dialect.read(files).report, files)
}

/// The first word of a line.
fn key(line: &LineReport) -> Option<&str> {
    line.text.split_whitespace().next()
}
