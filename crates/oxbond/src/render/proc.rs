//! The text that the kernel's driver shows in `/proc/net/bonding/<bond>`, byte for byte, so that what reads that file
//! (monitoring plugins, support scripts, people) reads ours. Its words are the driver's: slave, not port.

use core::fmt::Display;

use oxbond_core::lacp::{self, ChurnState};
use oxbond_core::option::{BondOptions, FailOverMac, Mode, PrimaryReselect};
use oxbond_core::port::Duplex;
use oxbond_core::status::{BondStatus, MiiStatus, PortStatus};

/// The whole text for one bond. `kernel_release` is what `uname -r` prints; the driver shows it as its version.
///
/// Source: `spec/kernel-bonding.md` section 12 and the driver's own output on 6.1 (`tests/data`).
pub(crate) fn proc(bond: &BondStatus, kernel_release: &str) -> String {
    let mut text = Text::default();
    text.raw(&format!(
        "Ethernet Channel Bonding Driver: v{kernel_release}\n\n"
    ));
    head(bond, &mut text);
    for port in &bond.ports {
        member(port, &mut text);
    }
    text.0
}

fn head(bond: &BondStatus, text: &mut Text) {
    let options = &bond.options;
    match (options.mode, options.fail_over_mac) {
        (Mode::ActiveBackup, FailOverMac::Active | FailOverMac::Follow) => {
            let mode = mode_text(options.mode);
            text.line(
                "Bonding Mode",
                format_args!("{mode} (fail_over_mac {})", options.fail_over_mac),
            );
        }
        _ => text.line("Bonding Mode", mode_text(options.mode)),
    }
    if shows_hash_policy(options) {
        let policy = options.xmit_hash_policy;
        text.line(
            "Transmit Hash Policy",
            format_args!("{policy} ({})", policy.code()),
        );
    }
    if matches!(
        options.mode,
        Mode::ActiveBackup | Mode::BalanceTlb | Mode::BalanceAlb
    ) {
        match &bond.primary {
            Some(name) => {
                let reselect: PrimaryReselect = options.primary_reselect;
                text.line(
                    "Primary Slave",
                    format_args!("{name} (primary_reselect {reselect})"),
                );
            }
            None => text.line("Primary Slave", "None"),
        }
        text.line(
            "Currently Active Slave",
            bond.active_port.as_deref().unwrap_or("None"),
        );
    }
    text.line("MII Status", if bond.carrier { "up" } else { "down" });
    text.line("MII Polling Interval (ms)", options.miimon);
    text.line("Up Delay (ms)", options.updelay);
    text.line("Down Delay (ms)", options.downdelay);
    text.line("Peer Notification Delay (ms)", options.peer_notif_delay);
    if options.arp_interval > 0 {
        text.line("ARP Polling Interval (ms)", options.arp_interval);
        text.line("ARP Missed Max", options.arp_missed_max);
        text.list("ARP IP target/s (n.n.n.n form)", &options.arp_ip_target);
        text.list("NS IPv6 target/s (xx::xx form)", &options.ns_ip6_target);
    }
    if let Some(lacp) = &bond.lacp {
        aggregation(bond, lacp, text);
    }
}

/// With what the driver shows to an administrator alone, where it is known.
fn aggregation(bond: &BondStatus, lacp: &lacp::Status, text: &mut Text) {
    let options = &bond.options;
    text.raw("\n802.3ad info\n");
    text.line("LACP active", options.lacp_active);
    text.line("LACP rate", options.lacp_rate);
    text.line("Min links", options.min_links);
    text.line("Aggregator selection policy (ad_select)", options.ad_select);
    let (Some(priority), Some(system)) = (lacp.system_priority, lacp.system) else {
        return;
    };
    text.line("System priority", priority);
    text.line("System MAC address", system);
    match lacp.active() {
        Some(active) => {
            text.raw("Active Aggregator Info:\n");
            text.line("\tAggregator ID", active.id);
            text.line("\tNumber of ports", active.linked);
            text.known("\tActor Key", active.actor_key);
            text.known("\tPartner Key", active.partner_key);
            text.known("\tPartner Mac Address", active.partner_system);
        }
        None => text.raw(&format!("bond {} has no active aggregator\n", bond.name)),
    }
}

fn member(port: &PortStatus, text: &mut Text) {
    text.raw("\n");
    text.line("Slave Interface", &port.name);
    text.line("MII Status", mii_text(port.mii_status));
    match port.speed_mbps {
        Some(speed) => text.line("Speed", format_args!("{speed} Mbps")),
        None => text.line("Speed", "Unknown"),
    }
    text.line("Duplex", duplex_text(port.duplex));
    text.line("Link Failure Count", port.link_failure_count);
    text.line("Permanent HW addr", port.permanent_mac);
    text.line("Slave queue ID", port.queue_id);
    if let Some(lacp) = &port.lacp {
        aggregated(lacp, text);
    }
}

fn aggregated(port: &lacp::PortStatus, text: &mut Text) {
    let Some(aggregator) = port.aggregator else {
        text.line("Aggregator ID", "N/A");
        return;
    };
    text.line("Aggregator ID", aggregator);
    text.known("Actor Churn State", port.actor_churn.map(churn_text));
    text.known("Partner Churn State", port.partner_churn.map(churn_text));
    text.line("Actor Churned Count", port.actor_churned);
    text.line("Partner Churned Count", port.partner_churned);
    for (end, key, participant) in [
        ("actor", "port key", &port.actor),
        ("partner", "oper key", &port.partner),
    ] {
        let Some(information) = participant.information() else {
            continue;
        };
        text.raw(&format!("details {end} lacp pdu:\n"));
        text.line("    system priority", information.system_priority);
        text.line("    system mac address", information.system);
        text.line(&format!("    {key}"), information.key);
        text.line("    port priority", information.port_priority);
        text.line("    port number", information.port);
        text.line("    port state", information.state.0);
    }
}

/// In modes 5 and 6 flows are hashed only when they are not balanced by load.
const fn shows_hash_policy(options: &BondOptions) -> bool {
    match options.mode {
        Mode::BalanceXor | Mode::Ieee8023ad => true,
        Mode::BalanceTlb | Mode::BalanceAlb => !options.tlb_dynamic_lb,
        Mode::BalanceRr | Mode::ActiveBackup | Mode::Broadcast => false,
    }
}

const fn mode_text(mode: Mode) -> &'static str {
    match mode {
        Mode::BalanceRr => "load balancing (round-robin)",
        Mode::ActiveBackup => "fault-tolerance (active-backup)",
        Mode::BalanceXor => "load balancing (xor)",
        Mode::Broadcast => "fault-tolerance (broadcast)",
        Mode::Ieee8023ad => "IEEE 802.3ad Dynamic link aggregation",
        Mode::BalanceTlb => "transmit load balancing",
        Mode::BalanceAlb => "adaptive load balancing",
    }
}

const fn mii_text(status: MiiStatus) -> &'static str {
    match status {
        MiiStatus::Up => "up",
        MiiStatus::GoingDown => "going down",
        MiiStatus::Down => "down",
        MiiStatus::GoingBack => "going back",
    }
}

const fn churn_text(state: ChurnState) -> &'static str {
    match state {
        ChurnState::Monitoring => "monitoring",
        ChurnState::Churned => "churned",
        ChurnState::None => "none",
    }
}

const fn duplex_text(duplex: Duplex) -> &'static str {
    match duplex {
        Duplex::Full => "full",
        Duplex::Half => "half",
        Duplex::Unknown => "Unknown",
    }
}

/// The text as it grows.
#[derive(Default)]
struct Text(String);

impl Text {
    fn raw(&mut self, text: &str) {
        self.0.push_str(text);
    }

    fn line(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!("{name}: {value}\n"));
    }

    /// A line only where there is a value.
    fn known(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.line(name, value);
        }
    }

    /// No space behind the colon of an empty list.
    fn list(&mut self, name: &str, values: &[impl Display]) {
        let values: Vec<String> = values.iter().map(|value| format!(" {value}")).collect();
        self.0.push_str(&format!("{name}:{}\n", values.join(",")));
    }
}
