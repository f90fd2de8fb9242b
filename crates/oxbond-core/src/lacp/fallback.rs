//! Carrying traffic without a partner, where the user wants it.
//!
//! | from | when | to |
//! |---|---|---|
//! | idle | no port has a partner, a link is up | waiting |
//! | waiting | the delay is over | carrying |
//! | waiting, carrying | a LACPDU came on any port, or no link is up that is no loop | idle |
//!
//! "On any port" is what keeps a bridge above the bond from a loop: no port stands alone while another one is on its way
//! into an aggregate. Nor does a port on which our own LACPDUs come back: its data would, too.

use serde::{Deserialize, Serialize};

use super::drain::Drain;
use super::port::Port;
use super::receive;
use super::{Config, Context};
use crate::option::Fallback;
use crate::port::PortId;
use crate::time::Instant;

/// The machine of a bond.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alone {
    /// When it begins to carry; `None` while idle.
    pub(super) at: Option<Instant>,
    /// Ports that carry.
    pub(super) ports: Vec<PortId>,
}

/// Advances by what is known of partners, and by time.
pub(super) fn advance(alone: &mut Alone, ports: &[Port], context: &Context<'_>) {
    let (policy, delay) = context.config.effective_fallback();
    let up = |port: &&Port| port.link.is_usable();
    let partner = ports
        .iter()
        .filter(up)
        .any(|port| port.is_current() || port.has_partner());
    let mut candidates: Vec<&Port> = candidates(ports, context.config).collect();
    if partner || candidates.is_empty() || policy == Fallback::Strict {
        *alone = Alone::default();
        return;
    }
    let at = *alone.at.get_or_insert(context.now + delay);
    if at > context.now {
        alone.ports.clear();
        return;
    }
    candidates.sort_by_key(|port| (!alone.ports.contains(&port.id), port.priority));
    if policy == Fallback::ActiveBackup {
        candidates.truncate(1);
    }
    alone.ports = candidates.iter().map(|port| port.id).collect();
    alone.ports.sort();
}

/// Ports that could carry while there is no partner. After a LACPDU was lost sight of, EXPIRED looks for 3 s more; a fresh
/// link is looked at as long, but for the driver's way, which waits for nothing.
pub(super) fn candidates<'a>(ports: &'a [Port], config: &Config) -> impl Iterator<Item = &'a Port> {
    let waits = config.lacp_strict;
    let looked = move |port: &&Port| !waits || port.receive.state != receive::State::Expired;
    ports
        .iter()
        .filter(|port| port.link.is_usable() && port.drain == Drain::No)
        .filter(|port| port.looped.is_none())
        .filter(looked)
}
