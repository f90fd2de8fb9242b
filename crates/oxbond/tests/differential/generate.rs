//! Scripts made from seeds: events in an order nobody thought of.
//!
//! Only what both sides are to do alike is drawn; what they do differently on purpose has scripts of its own. No delays:
//! a look at the moment at which a delay ends would be decided by chance.

use crate::script::{PORTS, Port, Script, Step};

/// Events of one script.
const EVENTS: usize = 9;

/// Milliseconds after each event: several monitor intervals.
const PAUSE: u64 = 250;

/// Modes drawn from, with what can be set in each while the bond works.
const MODES: [(&str, &[&str]); 4] = [
    (
        "active-backup",
        &[
            "primary p0",
            "primary p1",
            "primary p2",
            "primary_reselect always",
            "primary_reselect better",
            "primary_reselect failure",
            "active_slave p0",
            "active_slave p1",
            "active_slave p2",
            "active_slave -",
            "num_grat_arp 3",
            "updelay 70",
            "lacp_rate fast",
            "fail_over_mac active",
        ],
    ),
    (
        "balance-rr",
        &[
            "packets_per_slave 1",
            "packets_per_slave 2",
            "resend_igmp 2",
            "active_slave p1",
            "tlb_dynamic_lb 0",
        ],
    ),
    (
        "balance-xor",
        &[
            "xmit_hash_policy layer2",
            "xmit_hash_policy layer2+3",
            "xmit_hash_policy layer3+4",
            "primary p0",
            "min_links 2",
            "packets_per_slave 3",
        ],
    ),
    (
        "broadcast",
        &[
            "all_slaves_active 1",
            "min_links 1",
            "lp_interval 3",
            "mode balance-xor",
        ],
    ),
];

/// The scripts of the seeds 0 to `count`.
pub(crate) fn scripts(count: u64) -> Vec<Script> {
    (0..count).map(script).collect()
}

fn script(seed: u64) -> Script {
    let mut dice = Dice(seed);
    let (mode, options) = MODES[dice.below(MODES.len())];
    let fail_over_mac = ["", " fail_over_mac active", " fail_over_mac follow"][dice.below(3)];
    let extra = if mode == "active-backup" {
        fail_over_mac
    } else {
        ""
    };
    let mut lines = vec![format!("bond mode {mode} miimon 50{extra}")];
    let mut world = World::default();
    let first = 2 + dice.below(2);
    for port in &PORTS[..first] {
        lines.push(format!("add {port}"));
        world.joined.push(*port);
    }
    lines.push("up".to_owned());
    lines.push("wait 300".to_owned());
    for _ in 0..EVENTS {
        lines.push(event(&mut dice, &mut world, mode, options));
        lines.extend([format!("wait {PAUSE}"), "look".to_owned()]);
    }
    // Shares with a link lost differ on purpose; with all of them there they must not.
    for port in std::mem::take(&mut world.cut) {
        lines.push(format!("restore {port}"));
    }
    // A multiple of every number of ports and of packets in a row.
    lines.extend(["wait 300", "look", "send udp 48"].map(str::to_owned));
    let parse = |line: &String| {
        line.parse::<Step>()
            .unwrap_or_else(|e| panic!("{line}: {e}"))
    };
    Script {
        name: format!("seed-{seed}-{mode}"),
        steps: lines.iter().map(parse).collect(),
    }
}

#[derive(Default)]
struct World {
    joined: Vec<Port>,
    cut: Vec<Port>,
}

fn event(dice: &mut Dice, world: &mut World, mode: &str, options: &[&str]) -> String {
    loop {
        match dice.below(10) {
            0..=3 => {
                let port = PORTS[dice.below(PORTS.len())];
                if let Some(at) = world.cut.iter().position(|cut| *cut == port) {
                    world.cut.remove(at);
                    return format!("restore {port}");
                }
                world.cut.push(port);
                return format!("cut {port}");
            }
            4 if world.joined.len() > 1 => {
                let at = dice.below(world.joined.len());
                return format!("remove {}", world.joined.remove(at));
            }
            5 if mode != "active-backup" => {
                // A port that joins an active-backup bond moves the driver's active role elsewhere, see `differences`.
                if let Some(port) = PORTS.into_iter().find(|port| !world.joined.contains(port)) {
                    world.joined.push(port);
                    return format!("add {port}");
                }
            }
            6 if mode == "active-backup" => {
                let port = world.joined[dice.below(world.joined.len())];
                return format!("port {port} prio {}", [-1, 0, 5, 9][dice.below(4)]);
            }
            7..=9 => return format!("set {}", options[dice.below(options.len())]),
            _ => {}
        }
    }
}

/// A stream of numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % limit as u64) as usize
    }
}
