//! What must hold at every step, and what must hold some time after the last fault.

use core::fmt;

use oxbond_core::option::{FailOverMac, Mode, PrimaryReselect};
use oxbond_core::port::{PortId, PortIndex};
use oxbond_core::status::{BondStatus, MiiStatus, PortRole, PortStatus};
use oxbond_core::table::{Buckets, Spread};
use oxbond_core::time::Instant;

use crate::host::{Daemon, Host, Port};

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What should have held.
    pub rule: &'static str,
    /// What was seen instead.
    pub detail: String,
}

impl Violation {
    /// A broken rule and how.
    pub fn new(rule: &'static str, detail: impl Into<String>) -> Self {
        Self {
            rule,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken: {}: {}", self.rule, self.detail)
    }
}

type Check = Result<(), Violation>;

fn demand(holds: bool, rule: &'static str, detail: impl FnOnce() -> String) -> Check {
    if holds {
        Ok(())
    } else {
        Err(Violation::new(rule, detail()))
    }
}

/// A frame went to `port` (or nowhere).
pub fn frame(host: &Host, port: Option<PortId>) -> Check {
    let live = host.standing().carrier;
    match port {
        Some(port) => demand(
            live == 0 || live & port.bit() != 0,
            "no frame goes to a dead port while another lives",
            || format!("sent to {port:?}, alive {live:#b}"),
        ),
        None => demand(live == 0, "no frame is dropped while a port lives", || {
            format!("alive {live:#b}")
        }),
    }
}

/// After every step of a daemon that runs.
pub fn step(host: &Host, now: Instant) -> Check {
    if host.daemon != Daemon::Running {
        return Ok(());
    }
    let status = host.bond.status(now, &[]);
    active_port(host, &status)?;
    stations(host, &status)?;
    carrier(host, &status)?;
    addresses(host, &status)?;
    demand(
        host.bond.next_timeout().is_none_or(|at| at >= now),
        "no timeout is left behind",
        || format!("still due at {:?}", host.bond.next_timeout()),
    )
}

/// In active-backup one port carries the traffic, and it is the one the table has first.
fn active_port(host: &Host, status: &BondStatus) -> Check {
    if status.options.mode != Mode::ActiveBackup {
        return Ok(());
    }
    let active: Vec<&str> = status
        .ports
        .iter()
        .filter(|port| port.role == PortRole::Active)
        .map(|port| port.name.as_str())
        .collect();
    demand(active.len() <= 1, "at most one port is active", || {
        format!("{active:?}")
    })?;
    demand(
        active.first().copied() == status.active_port.as_deref(),
        "roles agree with the active port",
        || format!("{active:?} and {:?}", status.active_port),
    )?;
    let Some(active) = status
        .ports
        .iter()
        .find(|port| port.role == PortRole::Active)
    else {
        return Ok(());
    };
    let first = host
        .data_path
        .table
        .as_ref()
        .and_then(|table| table.order.first());
    demand(
        first.is_some_and(|first| active.id == *first),
        "the data path prefers the active port",
        || format!("active {}, table begins with {first:?}", active.name),
    )
}

/// Where ports have addresses of their own, the data path knows them; and no client is told of a port that the bond
/// knows to be dead while another is alive.
fn stations(host: &Host, status: &BondStatus) -> Check {
    let Some(table) = &host.data_path.table else {
        return Ok(());
    };
    let wanted = matches!(status.options.mode, Mode::BalanceTlb | Mode::BalanceAlb);
    demand(
        table.stations.is_some() == wanted,
        "the data path knows the ports' addresses where they matter",
        || format!("{}: {:?}", status.options.mode, table.stations),
    )?;
    let Some(stations) = &table.stations else {
        return Ok(());
    };
    let mac = |id: &PortId| {
        let port = host.attached().find(|(attached, _)| attached == id);
        port.map(|(_, port)| port.mac)
    };
    let truth: Vec<_> = table.order.iter().filter_map(mac).collect();
    demand(
        stations.bond == status.mac && stations.ports == truth,
        "the data path has the true addresses",
        || format!("{stations:?}, in truth {truth:?}"),
    )?;
    let is_up = |port: &PortStatus| port.mii_status == MiiStatus::Up;
    let up = |id: PortId| {
        let port = status.ports.iter().find(|port| port.id == id);
        port.is_some_and(is_up)
    };
    let any_up = status.ports.iter().any(is_up);
    demand(
        !any_up || stations.clients.iter().all(|port| up(*port)),
        "clients are told of ports that are up",
        || format!("{:?}", stations.clients),
    )
}

/// The bond has carrier exactly when its monitor says that a port is up.
fn carrier(host: &Host, status: &BondStatus) -> Check {
    let up = status
        .ports
        .iter()
        .any(|port| matches!(port.mii_status, MiiStatus::Up | MiiStatus::GoingDown));
    demand(
        status.carrier == up,
        "carrier is there exactly when a port is up",
        || {
            let ports: Vec<_> = status
                .ports
                .iter()
                .map(|port| (&port.name, port.mii_status))
                .collect();
            format!("carrier {}, ports {ports:?}", status.carrier)
        },
    )?;
    demand(
        host.data_path.carrier == Some(status.carrier),
        "the front device has the carrier the bond says",
        || {
            format!(
                "device {:?}, bond {}",
                host.data_path.carrier, status.carrier
            )
        },
    )
}

/// Bond and ports have the addresses that `fail_over_mac` asks for, in truth and as the bond reports them.
fn addresses(host: &Host, status: &BondStatus) -> Check {
    const RULE: &str = "addresses are as fail_over_mac asks for";
    let rule = match status.options.mode {
        Mode::ActiveBackup => status.options.fail_over_mac,
        Mode::BalanceTlb | Mode::BalanceAlb => FailOverMac::Follow,
        _ => FailOverMac::None,
    };
    demand(
        status.mac == host.bond_mac || status.ports.is_empty(),
        RULE,
        || format!("the bond has {}, says {}", host.bond_mac, status.mac),
    )?;
    for seen in &status.ports {
        let Some((_, port)) = host.attached().find(|(id, _)| seen.id == *id) else {
            continue;
        };
        let active = status.active_port.as_ref() == Some(&seen.name);
        let right = match rule {
            FailOverMac::None => port.mac == host.bond_mac,
            FailOverMac::Active => {
                port.mac == port.permanent_mac && (!active || port.mac == host.bond_mac)
            }
            FailOverMac::Follow => !active || port.mac == host.bond_mac,
        };
        demand(right && port.mac == seen.mac, RULE, || {
            format!(
                "{rule}: {} has {}, says {}; the bond {}",
                seen.name, port.mac, seen.mac, host.bond_mac
            )
        })?;
        let twin = status
            .ports
            .iter()
            .find(|other| other.id != seen.id && other.mac == seen.mac);
        demand(rule == FailOverMac::None || twin.is_none(), RULE, || {
            format!("two ports have {}", seen.mac)
        })?;
    }
    Ok(())
}

/// When nothing has gone wrong for long enough.
pub fn converged(host: &Host, now: Instant) -> Check {
    let status = host.bond.status(now, &[]);
    let attached: Vec<(PortId, &Port)> = host.attached().collect();
    let alive: Vec<&Port> = attached
        .iter()
        .map(|(_, port)| *port)
        .filter(|port| port.carrier)
        .collect();
    data_path(host, &status, &alive)?;
    if host.poll_interval().is_none() {
        // Without a monitor the data path alone sees links.
        return Ok(());
    }
    for port in &status.ports {
        let truth = attached
            .iter()
            .find(|(id, _)| port.id == *id)
            .is_some_and(|(_, port)| port.carrier);
        let seen = if truth {
            MiiStatus::Up
        } else {
            MiiStatus::Down
        };
        demand(
            port.mii_status == seen,
            "the monitor comes to see the truth",
            || format!("{}: carrier {truth}, seen {:?}", port.name, port.mii_status),
        )?;
    }
    demand(
        status.carrier != alive.is_empty(),
        "carrier comes to be the truth",
        || format!("carrier {}, {} ports alive", status.carrier, alive.len()),
    )?;
    if status.options.mode == Mode::ActiveBackup {
        right_port(&status, &alive)?;
    }
    Ok(())
}

/// The data path does what the bond says: no port is avoided for a loss that is over.
fn data_path(host: &Host, status: &BondStatus, alive: &[&Port]) -> Check {
    const RULE: &str = "frames come to go where the bond says";
    if alive.is_empty() {
        return Ok(());
    }
    let Some(table) = &host.data_path.table else {
        return Err(Violation::new(RULE, "there is no table"));
    };
    let lives = |id: PortIndex| {
        let mut ids = alive.iter().filter_map(|port| port.id);
        ids.any(|alive| id == alive)
    };
    match &table.spread {
        Spread::Failover => {
            let active = status
                .ports
                .iter()
                .find(|port| port.role == PortRole::Active)
                .map(|port| port.id);
            let chosen = table.decide(0, host.standing()).map(PortIndex::from);
            let right = chosen == active || !active.is_some_and(lives);
            demand(right, RULE, || {
                format!(
                    "active {active:?}, sent to {chosen:?}, left {:#b}",
                    host.data_path.left
                )
            })
        }
        Spread::Broadcast => Ok(()),
        Spread::Buckets(Buckets { home, now, .. }) => {
            for (hash, (home, now)) in (0..).zip(home.iter().zip(now)) {
                let chosen = table.decide(hash, host.standing());
                let right = if lives((*home).into()) {
                    now == home
                } else {
                    lives((*now).into())
                };
                demand(right && chosen == Some(*now), RULE, || {
                    format!("bucket {hash}: home {home:?}, now {now:?}, sent to {chosen:?}")
                })?;
            }
            Ok(())
        }
    }
}

/// The port that primary, primary_reselect and prio ask for, worked out anew from the truth.
fn right_port(status: &BondStatus, alive: &[&Port]) -> Check {
    const RULE: &str = "the right port becomes active";
    let active = status.active_port.as_deref();
    let Some(active) = alive
        .iter()
        .find(|port| Some(port.setup.name.as_str()) == active)
    else {
        return demand(alive.is_empty() && active.is_none(), RULE, || {
            format!("{active:?} is active")
        });
    };
    // A port that joined in another mode has none of its own.
    let prio = |port: &Port| {
        let known = status
            .ports
            .iter()
            .find(|seen| port.id.is_some_and(|id| seen.id == id));
        known.map(|seen| seen.prio)
    };
    let primary = alive
        .iter()
        .find(|port| status.options.primary.as_ref() == Some(&port.setup.name));
    let right = match (status.options.primary_reselect, primary) {
        (PrimaryReselect::Always, Some(primary)) => active.setup.name == primary.setup.name,
        (PrimaryReselect::Always, None) => alive.iter().all(|port| prio(port) <= prio(active)),
        // A faster primary takes over; what else is active depends on who came first.
        (PrimaryReselect::Better, Some(primary)) => {
            active.setup.name == primary.setup.name
                || primary.setup.speed_mbps <= active.setup.speed_mbps
        }
        (PrimaryReselect::Better, None) | (PrimaryReselect::Failure, _) => true,
    };
    demand(right, RULE, || {
        format!(
            "{} is active, primary {:?}",
            active.setup.name, status.options.primary
        )
    })
}
