//! `nmcli --offline` runs scripts of `nmcli connection` commands: what it makes of the lines are keyfiles, and they say
//! what we read in the lines.

use oxbond_config::dialect::{Dialect, keyfile, nmcli};
use oxbond_config::model::DesiredNetwork;
use oxbond_config::span::Sources;
use oxbond_core::option::{OptionId, PortOptionId};

use crate::bench::{Bench, Root};
use crate::{delays, difference, fixtures, has_complaint, samples, text, written};

/// Runs each script with an `nmcli` that keeps profiles as files, in order of their making: `add` makes one, `modify`
/// passes it through, `delete` removes it. Where nmcli refuses, `said` tells.
const RUN: &str = r#"
for case in /work/*; do (
    cd "$case"
    n=100
    nmcli() {
        [ "${1#c}" != "$1" ] || return 0
        verb=${2:-show}
        shift 2 || return 0
        case $verb in
            a*)
                n=$((n + 1))
                if command nmcli --offline connection add "$@" >new 2>said.new; then
                    # Offline it knows no other profile.
                    grep -v ^Warning: new >$n.out
                else
                    cat said.new >>said
                fi
                ;;
            m*)
                while [ "${1-}" = id ] || [ "${1-}" = --temporary ]; do shift; done
                file=$(grep -lxF "id=${1-}" *.out | head -n 1) || return 0
                shift
                if command nmcli --offline connection modify "$@" <"$file" >new 2>said.new; then
                    grep -v ^Warning: new >"$file"
                else
                    cat said.new >>said
                fi
                ;;
            del*)
                [ "${1-}" != id ] || shift
                for id in "$@"; do
                    for file in $(grep -lxF "id=$id" *.out); do rm "$file"; done
                done
                ;;
        esac
    }
    sudo() { "$@"; }
    set +eu
    # What one script does with the shell is its own affair.
    source ./script || true
) >/dev/null 2>&1 </dev/null || true; done
"#;

/// What nmcli made of each script: the keyfiles, and what it said where it refused a line.
fn run(scripts: &[String]) -> Vec<(Sources, Option<String>)> {
    let bench = Bench::new();
    for (number, script) in scripts.iter().enumerate() {
        bench.put(&format!("{number}/script"), script);
    }
    bench.run(Root::Tools, RUN);
    let profiles = |number: usize| {
        let mut profiles = Sources::default();
        let files = bench.list(&number.to_string());
        for (name, text) in files.iter().filter(|(name, _)| name.ends_with(".out")) {
            profiles.add(name.replace(".out", ".nmconnection"), text.as_str());
        }
        (profiles, bench.get(&format!("{number}/said")))
    };
    (0..scripts.len()).map(profiles).collect()
}

/// Leaves out what came after the version that judges (1.42).
fn older(mut network: DesiredNetwork) -> DesiredNetwork {
    let newer = [
        OptionId::ArpMissedMax,
        OptionId::LacpActive,
        OptionId::NsIp6Target,
    ];
    for bond in &mut network.bonds {
        bond.options
            .retain(|option| !newer.contains(&option.value.id));
        let ports = bond.ports.iter_mut().map(|port| &mut port.options);
        let selectors = bond.selectors.iter_mut().map(|found| &mut found.options);
        for options in ports.chain(selectors) {
            options.retain(|option| option.value.id != PortOptionId::Prio);
        }
    }
    network
}

/// Every line we write is taken, and makes the profile that it should.
#[test]
fn root_nmcli_runs_what_is_written() {
    let cases: Vec<Sources> = [samples(25), delays()]
        .concat()
        .into_iter()
        .map(|network| written(&nmcli::write(&older(network)).files))
        .collect();
    let scripts: Vec<String> = cases
        .iter()
        .flat_map(|case| case.iter().map(|(_, source)| source.text.clone()))
        .collect();
    for ((case, script), (profiles, said)) in cases.iter().zip(&scripts).zip(run(&scripts)) {
        assert_eq!(said, None, "{script}");
        let ours = text(nmcli::read(case).network);
        let theirs = text(keyfile::read(&profiles).network);
        assert!(!theirs.is_empty());
        assert_eq!(theirs, ours, "{script}");
    }
}

/// What nmcli makes of each fixture is what we read in it; and what it refuses, we complain of.
#[test]
fn root_nmcli_runs_the_fixtures_as_we_read_them() {
    let mut fixtures = fixtures(Dialect::Nmcli);
    // Loops are run there, and told here.
    fixtures.retain(|(path, _)| !path.ends_with("/script.fixture"));
    let scripts: Vec<String> = fixtures
        .iter()
        .map(|(.., sources)| {
            sources
                .iter()
                // Words that came after the version that judges.
                .map(|(_, source)| source.text.replace("controller", "master"))
                .map(|text| text.replace("port-type", "slave-type"))
                .collect()
        })
        .collect();
    let mut wrong = Vec::new();
    for (((path, sources), _), (profiles, said)) in fixtures.iter().zip(&scripts).zip(run(&scripts))
    {
        let reading = nmcli::read(sources);
        match said {
            Some(said) if !has_complaint(Dialect::Nmcli, &reading, sources) => {
                wrong.push(format!("{path}: refused, and we say nothing: {said}"));
            }
            Some(_) => {}
            None => {
                let theirs = text(keyfile::read(&profiles).network);
                let difference = difference(&theirs, &text(reading.network));
                if !difference.is_empty() {
                    wrong.push(format!("{path}:\n{difference}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
