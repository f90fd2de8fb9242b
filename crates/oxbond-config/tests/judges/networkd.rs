//! systemd-networkd itself, in a network namespace without any device: it reads its files, complains of what it does not
//! understand, and asks the kernel for the bonds, which the kernel may refuse: what it sends is what counts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use oxbond_config::dialect::{Dialect, networkd};
use oxbond_config::model::DesiredBond;
use oxbond_config::report::LineReport;
use oxbond_config::span::Sources;
use oxbond_core::option::{OptionId, OptionValue};

use crate::bench::{Bench, Root};
use crate::{fixtures, is_told, line_of, samples, written};

/// One run for each set of files. When it says that all links are known, it has asked for all devices.
const RUN: &str = r#"
one() {
    case=$1
    mount -t tmpfs tmpfs /run
    mount -t tmpfs tmpfs /etc/systemd
    mount -t tmpfs tmpfs /usr/lib/systemd/network
    mkdir -p /run/systemd/netif/links /etc/systemd/network
    for home in etc run usr/lib usr/local/lib; do
        if [ -d "$case/$home/systemd/network" ]; then
            mkdir -p "/$home/systemd/network"
            cp -r "$case/$home/systemd/network/." "/$home/systemd/network"
        fi
    done
    chmod -R a+rX /etc/systemd /run /usr/lib/systemd/network
    export SYSTEMD_LOG_LEVEL=info SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_COLOR=0
    strace -D -f -qq -xx -s 65536 -e trace=sendto -o "$case/sent" \
        /usr/lib/systemd/systemd-networkd >"$case/said" 2>&1 &
    tries=0
    until grep -q '^Enumeration completed' "$case/said"; do
        tries=$((tries + 1))
        [ $tries -lt 3000 ]
        sleep 0.02
    done
    kill $!
    wait $! || true
}
export -f one
printf '%s\n' /work/* | xargs -P 2 -I CASE unshare --mount --net --propagation unchanged bash -eu -c 'one CASE'
"#;

struct Run {
    /// Its complaints, with their places.
    complaints: Vec<(String, usize, String)>,
    /// The attributes of each bond it asks for, by number.
    bonds: BTreeMap<String, BTreeMap<u16, Vec<u8>>>,
}

/// Keys that came after the version that judges (252), which are left out.
const NEWER: [&str; 2] = ["\nARPMissedMax=", "\nPeerNotifyDelaySec="];

/// What it says of a network whatever words it is written in: a router that no address is a neighbour of.
const ADVICE: &str = "Gateway= without static address configured";

fn older(files: &Sources) -> Sources {
    let mut older = Sources::default();
    for (_, source) in files.iter() {
        let mut text = source.text.clone();
        for key in NEWER {
            text = text.replace(key, "\n#");
        }
        older.add(source.name.as_str(), text);
    }
    older
}

fn run(cases: &[Sources]) -> Vec<Run> {
    let bench = Bench::new();
    bench.put_cases(cases, "etc/systemd/network");
    bench.run(Root::Tools, RUN);
    (0..cases.len())
        .map(|number| Run {
            complaints: complaints(&bench.get(&format!("{number}/said")).unwrap()),
            bonds: bonds(&bench.get(&format!("{number}/sent")).unwrap()),
        })
        .collect()
}

/// Lines `PATH:LINE: WHAT`, and `PATH: WHAT` as line 0.
fn complaints(said: &str) -> Vec<(String, usize, String)> {
    said.lines()
        .filter(|line| line.starts_with('/') && !line.contains(ADVICE))
        .map(|line| {
            let (path, rest) = line.split_once(':').unwrap();
            match rest.split_once(": ") {
                Some((number, what)) if number.parse::<usize>().is_ok() => {
                    (path.to_owned(), number.parse().unwrap(), what.to_owned())
                }
                _ => (path.to_owned(), 0, rest.trim().to_owned()),
            }
        })
        .collect()
}

/// The bonds among what strace saw: `..., nla_type=IFLA_IFNAME}, "\x62..."], ... IFLA_INFO_DATA}, "..."`.
fn bonds(sent: &str) -> BTreeMap<String, BTreeMap<u16, Vec<u8>>> {
    let bytes_after = |line: &str, word: &str| -> Option<Vec<u8>> {
        let (_, rest) = line.split_once(word)?;
        let text = rest.strip_prefix("}, \"")?.split('"').next()?;
        let bytes = text.split("\\x").skip(1);
        bytes.map(|hex| u8::from_str_radix(hex, 16).ok()).collect()
    };
    let mut found = BTreeMap::new();
    for line in sent.lines().filter(|line| line.contains("RTM_NEWLINK")) {
        if bytes_after(line, "IFLA_INFO_KIND").as_deref() == Some(b"bond") {
            let mut name = bytes_after(line, "nla_type=IFLA_IFNAME").unwrap();
            name.pop_if(|last| *last == 0);
            let data = bytes_after(line, "IFLA_INFO_DATA").unwrap_or_default();
            found.insert(String::from_utf8(name).unwrap(), attributes(&data));
        }
    }
    found
}

fn attributes(mut data: &[u8]) -> BTreeMap<u16, Vec<u8>> {
    let mut found = BTreeMap::new();
    while let [a, b, c, d, ..] = data {
        let (length, kind) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
        let length = usize::from(length);
        found.insert(kind & 0x3fff, data[4..length].to_vec());
        data = data.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    found
}

/// An attribute as the option table would have it.
fn value(id: OptionId, bytes: &[u8]) -> String {
    let list = |bytes: &[u8]| -> Vec<core::net::Ipv4Addr> {
        let targets = attributes(bytes).into_values();
        targets
            .map(|ip| <[u8; 4]>::try_from(ip).unwrap().into())
            .collect()
    };
    let value = match id {
        OptionId::ArpIpTarget => OptionValue::Ipv4(list(bytes)),
        OptionId::AdActorSystem => {
            return bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<Vec<_>>()
                .join(":");
        }
        _ => OptionValue::Number(
            bytes
                .iter()
                .rev()
                .fold(0, |number, byte| number << 8 | i64::from(*byte)),
        ),
    };
    value.text(id.spec().kind)
}

/// Where what it sends for a bond is not what we read, and nothing was said of it.
fn differences(
    ours: &DesiredBond,
    theirs: &BTreeMap<u16, Vec<u8>>,
    told: impl Fn(OptionId) -> bool,
) -> String {
    let mut text = String::new();
    for id in OptionId::ALL.iter().copied() {
        // Ports are marked in their own files.
        if matches!(id, OptionId::Primary | OptionId::ActiveSlave) {
            continue;
        }
        let Some(number) = id.spec().netlink else {
            continue;
        };
        let name = id.name();
        let read = ours.option(id).map(|option| option.value.text());
        let sent = theirs.get(&number).map(|bytes| value(id, bytes));
        let default = id.spec().default;
        let (read, sent) = match (read, sent) {
            (None, None) => continue,
            (Some(read), None) if read == default => continue,
            _ if told(id) => continue,
            (Some(read), sent) => (read, sent.unwrap_or_else(|| "nothing".to_owned())),
            (None, Some(sent)) => (default.to_owned(), sent),
        };
        if read != sent {
            writeln!(text, "  {name}: we read {read}, it sends {sent}").unwrap();
        }
    }
    text
}

/// What we have to say against what it sends.
fn judged(case: &Sources, run: &Run) -> String {
    let reading = networkd::read(case);
    let lines = Dialect::Networkd.lines(&reading.report, case);
    let mut text = String::new();
    let names = |bonds: Vec<&String>| format!("{bonds:?}");
    let mut ours: Vec<&String> = reading
        .network
        .bonds
        .iter()
        .map(|bond| &bond.name.value)
        .collect();
    ours.sort();
    let theirs = names(run.bonds.keys().collect());
    if names(ours.clone()) != theirs {
        writeln!(text, "  we read the bonds {ours:?}, it makes {theirs}").unwrap();
    }
    for bond in &reading.network.bonds {
        let told = |id: OptionId| {
            let keys = id.spec().spellings.networkd;
            let of = |line: &LineReport| {
                keys.iter()
                    .any(|key| line.text.trim_start().starts_with(key))
            };
            lines.iter().any(|line| of(line) && is_told(line))
        };
        if let Some(theirs) = run.bonds.get(&bond.name.value) {
            text.push_str(&differences(bond, theirs, told));
        }
    }
    text
}

/// It takes what we write without a word, and sends what we wanted.
#[test]
fn root_networkd_takes_what_is_written() {
    let cases: Vec<Sources> = samples(12)
        .iter()
        .map(|network| older(&written(&networkd::write(network).files)))
        .collect();
    for (case, run) in cases.iter().zip(run(&cases)) {
        assert_eq!(run.complaints, [], "{case:?}");
        let differences = judged(case, &run);
        assert!(differences.is_empty(), "{differences}\n{case:?}");
    }
}

/// What it complains of in the fixtures, we complain of at the same line; and what it sends, we read.
#[test]
fn root_networkd_reads_the_fixtures_as_we_do() {
    let (paths, cases): (Vec<String>, Vec<Sources>) = fixtures(Dialect::Networkd)
        .into_iter()
        .map(|(path, files)| (path, older(&files)))
        .unzip();
    let mut wrong = Vec::new();
    for ((path, case), run) in paths.iter().zip(&cases).zip(run(&cases)) {
        let reading = networkd::read(case);
        let lines = Dialect::Networkd.lines(&reading.report, case);
        for (file, number, what) in &run.complaints {
            let told = match line_of(&lines, file, *number) {
                Some(line) => is_told(line),
                None => of_file(&lines, file).any(is_told),
            };
            if !told {
                wrong.push(format!(
                    "{path}: {file}:{number}: {what}, and we say nothing of it"
                ));
            }
        }
        let differences = judged(case, &run);
        if !differences.is_empty() {
            wrong.push(format!("{path}:\n{differences}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn of_file<'l>(lines: &'l [LineReport], path: &'l str) -> impl Iterator<Item = &'l LineReport> {
    lines
        .iter()
        .filter(move |line| line.file.ends_with(path) || path.ends_with(&line.file))
}

/// Its time spans, as `systemd-analyze` reads them, are those a `.netdev` file gets from us.
#[test]
fn root_time_spans_are_read_as_systemd_reads_them() {
    let spans = [
        "100",
        "0.1",
        ".1",
        "100ms",
        "1min 30s",
        "1s200ms",
        "2m",
        "500us",
        "1 h",
        "1.5s",
        "90 sec",
        "3msec",
        "1d",
        "1w",
        "",
        "fast",
        "100 apples",
        "1..2",
        "-1",
        "infinity",
        "0",
        "5 s 5",
        "1e3",
        "1M",
        "1month",
        "1y",
        "1 year",
        "0.0005",
        "+5",
        "1 2",
        "1s1s",
        "100nsec",
        "1usec",
        "10 minutes",
        "1hr",
        "1hours",
        "12345678901234567890",
        " 7 ",
        "1,5",
        "1.",
        "1.s",
        "3 ms 2 us",
        "1S",
        "5MS",
        "µs",
        "5µs",
    ];
    let bench = Bench::new();
    for (number, span) in spans.iter().enumerate() {
        bench.put(&format!("{number}.in"), span);
    }
    bench.run(
        Root::Tools,
        r#"for span in /work/*.in; do
            systemd-analyze timespan -- "$(cat "$span")" >"${span%.in}.out" 2>&1 || echo wrong >"${span%.in}.out"
        done"#,
    );
    let mut wrong = Vec::new();
    for (number, span) in spans.iter().enumerate() {
        let said = bench.get(&format!("{number}.out")).unwrap();
        let theirs = said
            .lines()
            .find_map(|line| line.trim().strip_prefix("μs: "))
            .map(|us| (us.trim().parse::<u64>().unwrap() / 1000).to_string());
        let text = format!("[NetDev]\nName=bond0\nKind=bond\n[Bond]\nMIIMonitorSec={span}\n");
        let reading = networkd::read(&crate::sources([("30-bond0.netdev", text.as_str())]));
        let ours = reading.network.bonds[0]
            .option(OptionId::Miimon)
            .map(|option| option.value.text());
        // The driver takes no more than 31 bits.
        let theirs = theirs.filter(|ms| ms.parse::<i32>().is_ok());
        if ours != theirs {
            wrong.push(format!("{span:?}: {ours:?} against {theirs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
