//! What the user decides about LACP: the options of mode 802.3ad, resolved for the machines.

use core::time::Duration;

use oxbond_wire::MacAddr;
use oxbond_wire::lacp::{Information, State};
use serde::{Deserialize, Serialize};

use super::key::Numbering;
use crate::option::{AdSelect, BondOptions, Fallback, LacpRate, Switch};
use crate::port::MAX_PORTS;

/// What we take for a partner while none has spoken (the Partner_Admin variables of 802.1AX-2014, 6.4.7). The values are
/// the driver's but for the timeout, which is short: so a port without a partner looks for one every second.
pub const NO_PARTNER: Information = Information {
    system_priority: 0xffff,
    system: MacAddr::ZERO,
    key: 1,
    port_priority: 0xff,
    port: 1,
    state: State::TIMEOUT,
};

/// Options of a bond in mode 802.3ad. Names are those of the option table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Speak first; else only to a partner who does.
    pub lacp_active: bool,
    /// How often the partner is asked to send, and with it how soon a silent one is given up (3 s or 90 s).
    pub lacp_rate: LacpRate,
    /// On: a bond without a partner carries nothing unless `fallback` says so. Off: as the driver does, one port is used
    /// from the first moment.
    pub lacp_strict: bool,
    /// Which aggregator is active.
    pub ad_select: AdSelect,
    /// Priority of our system; the lower number decides about standby ports.
    pub ad_actor_sys_prio: u16,
    /// Identity of our system; zero takes `bond_mac`.
    pub ad_actor_system: MacAddr,
    /// The bond's address.
    pub bond_mac: MacAddr,
    /// Upper ten bits of the ports' keys.
    pub ad_user_port_key: u16,
    /// Collect and distribute together; else one after the other, each when the partner is ready for it.
    pub coupled_control: bool,
    /// Most ports that may carry traffic; the others stand by. At least 1.
    pub max_ports: usize,
    /// What carries while there is no partner.
    pub fallback: Fallback,
    /// How long a bond must have been without a partner before `fallback` begins.
    pub fallback_delay: Duration,
    /// Sent as our collector's longest delay, in tens of microseconds.
    pub collector_max_delay: u16,
    /// Which numbers stand for speeds in keys.
    pub key_numbering: Numbering,
}

impl Default for Config {
    /// Our engine's defaults: independent control and strict, unlike the driver.
    fn default() -> Self {
        Self {
            lacp_active: true,
            lacp_rate: LacpRate::Slow,
            lacp_strict: true,
            ad_select: AdSelect::Stable,
            ad_actor_sys_prio: 65_535,
            ad_actor_system: MacAddr::ZERO,
            bond_mac: MacAddr::ZERO,
            ad_user_port_key: 0,
            coupled_control: false,
            max_ports: MAX_PORTS,
            fallback: Fallback::Strict,
            fallback_delay: Duration::from_secs(5),
            collector_max_delay: 0,
            key_numbering: Numbering::Current,
        }
    }
}

impl Config {
    /// What the options of a bond with this address say; for what the option table does not have, the defaults.
    pub fn of(options: &BondOptions, bond_mac: MacAddr) -> Self {
        Self {
            lacp_active: options.lacp_active == Switch::On,
            lacp_rate: options.lacp_rate,
            lacp_strict: options.lacp_strict == Switch::On,
            ad_select: options.ad_select,
            ad_actor_sys_prio: options.ad_actor_sys_prio,
            ad_actor_system: options.ad_actor_system,
            bond_mac,
            ad_user_port_key: options.ad_user_port_key,
            coupled_control: options.coupled_control == Switch::On,
            max_ports: options.max_ports.into(),
            fallback: options.lacp_fallback,
            fallback_delay: Duration::from_millis(options.lacp_fallback_delay.into()),
            ..Self::default()
        }
    }

    /// Identity of our system.
    pub fn system(&self) -> MacAddr {
        if self.ad_actor_system.is_zero() {
            self.bond_mac
        } else {
            self.ad_actor_system
        }
    }

    /// What carries without a partner, and after how long.
    pub(super) fn effective_fallback(&self) -> (Fallback, Duration) {
        if !self.lacp_strict && self.fallback == Fallback::Strict {
            (Fallback::ActiveBackup, Duration::ZERO)
        } else {
            (self.fallback, self.fallback_delay)
        }
    }
}
