//! NetworkManager: `nmcli --offline connection modify` takes a keyfile and gives it back as NetworkManager holds it, or
//! says why it would not load. What it does not understand it leaves out without a word.

use oxbond_config::dialect::{Dialect, keyfile};
use oxbond_config::span::Sources;

use crate::bench::{Bench, Root};
use crate::{delays, difference, fixtures, is_told, samples, text, written};

const MODIFY: &str = r#"
for case in /work/*; do
    for file in "$case"/*.in; do
        nmcli --offline connection modify connection.autoconnect-priority 0 <"$file" \
            >"${file%.in}.out" 2>"${file%.in}.said" || rm "${file%.in}.out"
    done
done
"#;

/// Words that came after the version that judges (1.42): older ones for the same, or the line without them.
const NEWER: [(&str, &str); 6] = [
    ("\ncontroller=", "\nmaster="),
    ("\nport-type=", "\nslave-type="),
    ("\nprio=", "\n#"),
    ("\narp_missed_max=", "\n#"),
    ("\nlacp_active=", "\n#"),
    ("\nns_ip6_target=", "\n#"),
];

/// A set of profiles in the words of the version that judges, each with its id, which is otherwise the name of its file.
fn older(files: &Sources) -> Sources {
    let mut older = Sources::default();
    for (_, source) in files.iter() {
        let mut text = source.text.clone();
        for (newer, other) in NEWER {
            text = text.replace(newer, other);
        }
        if !text.contains("\nid=") {
            let base = source.name.rsplit('/').next().unwrap();
            let id = base.strip_suffix(".nmconnection").unwrap_or(base);
            text = text.replacen("[connection]\n", &format!("[connection]\nid={id}\n"), 1);
        }
        older.add(source.name.as_str(), text);
    }
    older
}

/// What nmcli made of a set of profiles, in their order: the normalised text, or what it said.
fn normalised(cases: &[Sources]) -> Vec<Vec<Result<String, String>>> {
    let bench = Bench::new();
    for (number, case) in cases.iter().enumerate() {
        for (index, (_, source)) in case.iter().enumerate() {
            bench.put(&format!("{number}/{index:02}.in"), &source.text);
        }
    }
    bench.run(Root::Tools, MODIFY);
    let profile = |number: usize, index: usize| {
        let said = || bench.get(&format!("{number}/{index:02}.said")).unwrap();
        bench
            .get(&format!("{number}/{index:02}.out"))
            .ok_or_else(said)
    };
    cases
        .iter()
        .enumerate()
        .map(|(number, case)| {
            (0..case.iter().count())
                .map(|index| profile(number, index))
                .collect()
        })
        .collect()
}

/// Every profile we write is taken, and nothing in it vanishes.
#[test]
fn root_nmcli_takes_what_is_written() {
    let networks = [samples(25), delays()].concat();
    let cases: Vec<Sources> = networks
        .iter()
        .map(|network| older(&written(&keyfile::write(network).files)))
        .collect();
    for (case, profiles) in cases.iter().zip(normalised(&cases)) {
        let ours = keyfile::read(case);
        let mut theirs = Sources::default();
        for ((_, source), profile) in case.iter().zip(profiles) {
            let profile = profile.unwrap_or_else(|said| panic!("{said}\n{}", source.text));
            theirs.add(source.name.as_str(), profile);
        }
        let theirs = keyfile::read(&theirs);
        assert_eq!(text(theirs.network), text(ours.network), "{case:?}");
    }
}

/// What NetworkManager holds of each fixture is what we read in it; and what it refuses or leaves out, we complain of.
#[test]
fn root_nmcli_reads_the_fixtures_as_we_do() {
    let (paths, cases): (Vec<String>, Vec<Sources>) = fixtures(Dialect::Keyfile)
        .into_iter()
        .map(|(path, files)| (path, older(&files)))
        .unzip();
    let mut wrong = Vec::new();
    for ((path, files), profiles) in paths.iter().zip(&cases).zip(normalised(&cases)) {
        let reading = keyfile::read(files);
        let mut theirs = Sources::default();
        let mut refused = false;
        let lines = Dialect::Keyfile.lines(&reading.report, files);
        for ((_, source), profile) in files.iter().zip(profiles) {
            match profile {
                Ok(profile) => {
                    theirs.add(source.name.as_str(), profile);
                }
                Err(said) => {
                    refused = true;
                    let mut lines = lines.iter().filter(|line| line.file == source.name);
                    if !lines.any(is_told) {
                        wrong.push(format!(
                            "{path}: {} is refused, and we say nothing: {said}",
                            source.name
                        ));
                    }
                }
            }
        }
        let difference = difference(
            &text(keyfile::read(&theirs).network),
            &text(reading.network),
        );
        if !refused && !difference.is_empty() {
            wrong.push(format!(
                "{path}:
{difference}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
