//! Ports that were asked for and are away: they join when they are there again.

use std::collections::BTreeMap;
use std::time::Duration;

use oxbond_core::engine::Engine;
use oxbond_core::time::Instant;
use oxbond_linux::inspect;
use oxbond_linux::netlink::Netlink;
use tracing::warn;

use super::EbpfBond;
use crate::daemon::step::awake;
use crate::exit::Failure;
use crate::refusal::refused_as_port;

/// Why an expected port could not join, and when it is tried again.
pub(super) struct Hindrance {
    why: String,
    pub(super) again: Instant,
}

/// Time between two attempts of an expected port to join. An attempt that fails halfway causes link events of its own.
const REJOIN_INTERVAL: Duration = Duration::from_secs(5);

impl EbpfBond {
    /// Whether this interface is expected and not attached.
    pub(super) fn is_missing(&self, name: &str) -> bool {
        self.wanted.ports.iter().any(|port| port.name == name) && self.port_named(name).is_none()
    }

    /// Expected ports that are there and could not join, with the reason.
    pub(super) fn hindrances(&self) -> BTreeMap<String, String> {
        let hindered = self.hindered.iter();
        hindered
            .map(|(name, hindrance)| (name.clone(), hindrance.why.clone()))
            .collect()
    }

    pub(super) fn rejoin_missing(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        taken: &BTreeMap<u32, String>,
    ) {
        self.hindered.retain(|name, _| {
            let wanted = &self.wanted.ports;
            wanted.iter().any(|port| port.name == *name)
        });
        for name in self.expected() {
            if !self.is_missing(&name) || matches!(netlink.link(&name), Ok(None)) {
                self.hindered.remove(&name);
            } else {
                self.rejoin(netlink, now, &name, taken);
            }
        }
    }

    /// An expected port is there.
    pub(super) fn rejoin(
        &mut self,
        netlink: &mut Netlink,
        now: Instant,
        name: &str,
        taken: &BTreeMap<u32, String>,
    ) {
        let earlier = self.hindered.get(name);
        if earlier.is_some_and(|hindrance| now < hindrance.again) {
            return;
        }
        let Some(request) = self.wanted.ports.iter().find(|port| port.name == name) else {
            return;
        };
        let mut request = request.clone();
        let mode = self.core.options().mode;
        request.options = awake(Engine::Ebpf, mode, &request.options);
        let joined = inspect::inspect_port(netlink, &self.wanted.name, name, taken)
            .map_err(refused_as_port)
            .and_then(|candidate| self.join(netlink, now, &request, &candidate));
        match joined {
            Ok(()) => {
                self.hindered.remove(name);
            }
            Err(Failure { message: why, .. }) => {
                if self
                    .hindered
                    .get(name)
                    .is_none_or(|earlier| earlier.why != why)
                {
                    warn!("{}: {name} is back but cannot join: {why}", self.name());
                }
                let again = now + REJOIN_INTERVAL;
                self.hindered
                    .insert(name.to_owned(), Hindrance { why, again });
            }
        }
    }
}
