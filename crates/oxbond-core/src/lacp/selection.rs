//! Selection logic (802.1AX-2014, 6.4.14): which ports belong together, which of the aggregators carries the bond's
//! traffic, and which ports of it do.
//!
//! 1. *Which aggregator.* A port that is not selected and detached joins the aggregator of its own LAG id (6.3.6.1), or
//!    gets a new one. An individual port's LAG id names the port, so it is alone.
//! 2. *Which one is active.* A bond is one aggregator client, so one aggregator carries its traffic; ports of the others
//!    stand by. `choose_active` says which. There is no timer: the choice is made anew whenever something changes.
//! 3. *Which of its ports.* At most `max_ports`, those with a current partner that has not given us up first, then by port
//!    priority and number as the system with the better (lower) id has them (6.7.1). The choice is made anew whenever
//!    something changes, so a better port that returns takes its place again.
//! 4. *When they attach.* `ready` says when WAITING ends.

use std::cmp::Reverse;

use oxbond_wire::MacAddr;
use oxbond_wire::lacp::State as Flags;
use serde::{Deserialize, Serialize};

use super::Context;
use super::churn;
use super::drain::Drain;
use super::mux;
use super::port::{Port, Selected};
use super::receive;
use crate::option::AdSelect;
use crate::port::PortId;

/// What ports must have in common to aggregate (6.3.6.1), our own system left out: it is the same for all of a bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LagId {
    pub(super) key: u16,
    pub(super) partner_system_priority: u16,
    pub(super) partner_system: MacAddr,
    pub(super) partner_key: u16,
    /// The port itself, where it is individual.
    pub(super) individual: Option<PortId>,
}

impl LagId {
    pub(super) fn of(port: &Port) -> Self {
        Self {
            key: port.key,
            partner_system_priority: port.partner.system_priority,
            partner_system: port.partner.system,
            partner_key: port.partner.key,
            individual: port.is_individual().then_some(port.id),
        }
    }
}

/// Does all of it. Whether anything changed.
pub(super) fn advance(ports: &mut [Port], active: &mut Option<u16>, context: &Context<'_>) -> bool {
    let mut changed = assign(ports);
    let choice = choose_active(ports, *active, context);
    changed |= choice != *active;
    *active = choice;
    changed | place(ports, choice, context)
}

/// Gives ports without aggregator one.
fn assign(ports: &mut [Port]) -> bool {
    let mut changed = false;
    for at in 0..ports.len() {
        let port = &ports[at];
        if port.selected != Selected::Unselected || port.mux.state != mux::State::Detached {
            continue;
        }
        let lag = LagId::of(port);
        // A port that is about to leave keeps its aggregator's number taken, but nobody joins it there.
        let taken = |id: u16| {
            let mut others = ports.iter().enumerate().filter(|(other, _)| *other != at);
            others.any(|(_, other)| other.aggregator.is_some_and(|(theirs, _)| theirs == id))
        };
        let same = ports.iter().enumerate().find_map(|(other, port)| {
            let stays = other != at && port.selected != Selected::Unselected;
            let (id, theirs) = port.aggregator.filter(|_| stays)?;
            (theirs == lag).then_some(id)
        });
        let Some(id) = same.or_else(|| (1..=u16::MAX).find(|id| !taken(*id))) else {
            continue;
        };
        ports[at].aggregator = Some((id, lag));
        // `place` takes it back where it is not to carry traffic.
        ports[at].selected = Selected::Selected;
        changed = true;
    }
    changed
}

/// What an aggregator is worth.
#[derive(Clone, Copy, Debug, Default)]
struct Worth {
    id: u16,
    /// Ports that are up and not drained.
    usable: u64,
    /// Their speeds together.
    bandwidth: u64,
    /// Their priorities together; as in the driver the higher sum is better.
    priority: u64,
    individual: bool,
    partner: bool,
    /// Not every port of it has been out of sync for a minute.
    sane: bool,
    /// A partner has attached a port of it.
    agreed: bool,
    /// We have attached a port to it.
    attached: bool,
}

/// Which aggregator is to be active.
///
/// In this order: one with a usable port; with a partner; not churned on all ports; agreed with the partner; not
/// individual; more by `ad_select`; the one that is active; the lowest number. `stable` keeps the active one while none
/// is better in the first four, from the moment on that a port was attached to it: not whoever answers first is kept.
///
/// *Agreed* (ours): data can flow, because the partner shows Sync. So links that a rebooting switch brings up with a default
/// identity do not take over from good ones. Two systems that stand by on each other's choice must not wait, nor swap,
/// for ever: the one with the better id leads, and takes an agreement of the same partner for granted while data flows; the
/// other one follows. But nobody follows who does not hear us: while that is so on every link of the active aggregator (a
/// one-way fault, a silent partner), the leading one, too, goes where it is agreed.
fn choose_active(ports: &[Port], active: Option<u16>, context: &Context<'_>) -> Option<u16> {
    let lag_of = |id| {
        let mut known = ports.iter().filter_map(|port| port.aggregator);
        known
            .find(|(other, _)| Some(*other) == id)
            .map(|(_, lag)| lag)
    };
    let usable = |port: &Port| port.link.is_usable() && port.drain == Drain::No;
    // Who has not heard us in time keeps showing Sync for 3 s, and collects nothing.
    let expired = |port: &Port| port.partner.state.has(Flags::EXPIRED);
    let in_sync = |port: &Port| port.partner.state.has(Flags::SYNC) && !expired(port);
    let flows = ports
        .iter()
        .any(|port| usable(port) && in_sync(port) && port.aggregator.map(|(id, _)| id) == active);
    let leads_to = lag_of(active).map(|lag| lag.partner_system);
    let hears = |port: &Port| port.is_current() && port.is_seen(context.config) && !expired(port);
    let heard = ports
        .iter()
        .any(|port| usable(port) && hears(port) && port.aggregator.map(|(id, _)| id) == active);
    let mut worths: Vec<Worth> = Vec::new();
    for port in ports {
        let Some((id, lag)) = port.aggregator else {
            continue;
        };
        let at = worths.iter().position(|worth| worth.id == id);
        let at = at.unwrap_or_else(|| {
            worths.push(Worth {
                id,
                ..Worth::default()
            });
            worths.len() - 1
        });
        let worth = &mut worths[at];
        worth.individual = lag.individual.is_some();
        worth.attached |= port.mux.state.is_attached();
        if !usable(port) {
            continue;
        }
        worth.usable += 1;
        worth.bandwidth += u64::from(port.link.speed_mbps.unwrap_or(0));
        worth.priority += u64::from(port.priority);
        worth.partner |= port.has_partner();
        worth.sane |= port.partner_churn.state != churn::State::Churned;
        worth.agreed |= if active == Some(id) || !we_decide(port, context) || !heard {
            in_sync(port)
        } else {
            flows && (in_sync(port) || hears(port) && leads_to == Some(port.partner.system))
        };
    }
    let works = |worth: &Worth| (worth.usable > 0, worth.partner, worth.sane, worth.agreed);
    let more = |worth: &Worth| match context.config.ad_select {
        AdSelect::Stable | AdSelect::Bandwidth => (worth.bandwidth, worth.usable),
        AdSelect::Count => (worth.usable, worth.bandwidth),
        AdSelect::ActorPortPrio => (worth.priority, worth.usable),
    };
    let value = |worth: &Worth| {
        let is_active = active == Some(worth.id);
        let kept = is_active && worth.attached && context.config.ad_select == AdSelect::Stable;
        let choice = (kept, !worth.individual, more(worth), is_active);
        (works(worth), choice, Reverse(worth.id))
    };
    worths
        .iter()
        .max_by_key(|worth| value(worth))
        .map(|worth| worth.id)
}

/// Our system has the better id, so that our port priorities count.
fn we_decide(port: &Port, context: &Context<'_>) -> bool {
    let us = (context.config.ad_actor_sys_prio, context.config.system());
    us < (port.partner.system_priority, port.partner.system)
}

/// The partner speaks and has waited for us in vain: the link works in one direction only.
fn given_up(port: &Port) -> bool {
    let partner = port.partner.state;
    partner.has(Flags::DEFAULTED) && !partner.has(Flags::EXPIRED)
}

/// Decides who of the active aggregator carries traffic. All others stand by.
fn place(ports: &mut [Port], active: Option<u16>, context: &Context<'_>) -> bool {
    let mut members: Vec<&Port> = ports
        .iter()
        .filter(|port| port.aggregator.is_some_and(|(id, _)| Some(id) == active))
        .filter(|port| port.drain != Drain::Out)
        .collect();
    members.sort_by_key(|port| {
        let (priority, number) = if port.has_partner() && !we_decide(port, context) {
            (port.partner.port_priority, port.partner.port)
        } else {
            (port.priority, port.number())
        };
        let works = port.is_current() && !given_up(port);
        (!works, port.is_leaving(), priority, number)
    });
    let most = context.config.max_ports.max(1);
    let carry: Vec<PortId> = members.iter().take(most).map(|port| port.id).collect();
    let mut changed = false;
    for port in ports {
        let selected = match port.selected {
            Selected::Unselected => continue,
            // One that leaves does so in its own time, besides the port that takes its place.
            _ if carry.contains(&port.id) || port.is_leaving() => Selected::Selected,
            _ => Selected::Standby,
        };
        changed |= selected != port.selected;
        port.selected = selected;
    }
    changed
}

/// Ready (6.4.8) for the port at `at`, which is WAITING.
///
/// By the standard: every port that is selected for the aggregator and WAITING has waited for 2 s. The wait is there so
/// that ports that come up together attach together, and ends early when there is nothing to wait for:
///
/// - A port is *prompt* when its partner is current, and knows who we are if that has changed.
/// - If a port of the aggregator is attached already, a prompt port attaches at once, alone.
/// - Else all attach as soon as each has waited or is prompt, and no port of the bond is still looking for its partner
///   (link up, EXPIRED, or not prompt).
pub(super) fn ready(ports: &[Port], at: usize) -> bool {
    let aggregator = |port: &Port| port.aggregator.map(|(id, _)| id);
    let ours = aggregator(&ports[at]);
    let waited = |port: &Port| port.mux.ready_n;
    let prompt = |port: &Port| port.is_current() && !port.reidentified;
    let members = || {
        ports
            .iter()
            .filter(|port| aggregator(port) == ours && port.selected == Selected::Selected)
    };
    if members().any(|port| port.mux.state.is_attached()) {
        return waited(&ports[at]) || prompt(&ports[at]);
    }
    let mut waiting = members().filter(|port| port.mux.state == mux::State::Waiting);
    let looks = |port: &Port| {
        port.receive.state == receive::State::Expired || port.is_current() && port.reidentified
    };
    let nobody_looks = !ports.iter().any(looks);
    waiting.all(|port| waited(port) || prompt(port) && nobody_looks)
}
