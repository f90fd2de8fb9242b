//! What a thousand bonds cost the core: each with two ports at the fast rate, facing another, for two minutes of virtual
//! time, with every invariant of the simulator checked on the way (no LACPDU late among them).
//!
//! The figure in bench/README.md; the time is the processor's, of one end.

use core::time::Duration;

use oxbond_core::bond::Bond;
use oxbond_core::option::OptionChange;
use oxbond_core::time::Instant;
use oxbond_sim::lacp::{End, HostSetup, Lasting, Scenario, Way, Wire, run};

const BONDS: u64 = 1000;
const VIRTUAL: Duration = Duration::from_secs(120);

fn main() {
    let host = || HostSetup {
        options: ["mode=802.3ad", "miimon=100", "lacp_rate=fast"]
            .iter()
            .filter_map(|word| word.split_once('='))
            .map(|(name, value)| OptionChange::parse(name, value).expect("options of the table"))
            .collect(),
        ports: 2,
        frame_interval: Duration::from_secs(1),
    };
    let wire = |port| Wire {
        way: Way::Cable,
        ends: vec![End { host: 0, port }, End { host: 1, port }],
        speed_mbps: 10_000,
    };
    let pair = Scenario {
        hosts: vec![host(), host()],
        wires: vec![wire(0), wire(1)],
        faults: Vec::new(),
        heal_at: Instant::from_millis(2_000),
        after: vec![Lasting::Healthy, Lasting::Healthy],
        quiet: VIRTUAL,
    };
    let begun = std::time::Instant::now();
    for bond in 0..BONDS {
        if let Err(broken) = run(bond, &pair, Bond::clone) {
            eprintln!("bond {bond}: {broken}");
            std::process::exit(1);
        }
    }
    let each = begun.elapsed() / 2;
    println!(
        "{BONDS} bonds of 2 ports: {:.2} s of processor time for {} s, {:.1} % of one core",
        each.as_secs_f64(),
        VIRTUAL.as_secs(),
        100.0 * each.as_secs_f64() / VIRTUAL.as_secs_f64()
    );
}
