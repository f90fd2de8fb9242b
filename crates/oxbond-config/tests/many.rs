//! Ten thousand bonds are read in a moment: what is looked up by name is not looked for one by one.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use oxbond_config::dialect::Dialect;
use oxbond_config::span::Sources;

const BONDS: usize = 10_000;

/// The figure is one second for reading, linting and planning with optimisation; here it is without.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn metered_ten_thousand_bonds_of_netplan_are_read_in_a_moment() {
    let mut text = "network:\n  version: 2\n  ethernets:\n".to_owned();
    // Writing to a string cannot fail.
    for bond in 0..BONDS {
        let _ = writeln!(text, "    eth{bond}a: {{}}\n    eth{bond}b: {{}}");
    }
    text.push_str("  bonds:\n");
    for bond in 0..BONDS {
        let _ = write!(
            text,
            "    bond{bond}:\n      interfaces: [eth{bond}a, eth{bond}b]\n      parameters:\n        mode: active-backup\n        \
             primary: eth{bond}a\n        mii-monitor-interval: 100\n      addresses: [10.{}.{}.1/24]\n",
            bond / 256,
            bond % 256
        );
    }
    let mut sources = Sources::default();
    sources.add("/etc/netplan/50.yaml", text);
    let start = Instant::now();
    let reading = Dialect::Netplan.read(&sources);
    let lines = Dialect::Netplan.lines(&reading.report, &sources);
    let took = start.elapsed();
    println!("{BONDS} bonds read in {took:?}");
    assert_eq!(reading.network.bonds.len(), BONDS);
    assert!(
        reading
            .network
            .bonds
            .iter()
            .all(|bond| bond.ports.len() == 2)
    );
    assert!(lines.len() > BONDS);
    assert!(took < LIMIT, "{took:?}");
}
