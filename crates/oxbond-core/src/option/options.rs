//! The options of a bond and of a port, typed.

use core::net::{Ipv4Addr, Ipv6Addr};

use oxbond_wire::MacAddr;
use serde::{Deserialize, Serialize};

use super::table::{OptionId, PortOptionId};
use super::value::{OptionChange, OptionValue, PortOptionChange};
use super::words::{
    AdSelect, ArpAllTargets, ArpValidate, FailOverMac, Fallback, HashPolicy, LacpRate, Mode,
    PrimaryReselect, Switch,
};

use crate::port::MAX_PORTS;

/// Every option of a bond. Fields have the driver's names; meanings, ranges and defaults are those of the entry of the
/// same name in [`super::OPTIONS`]. `active_slave` is a command, not a lasting wish, so it has no field.
///
/// The default is the driver's; that of our own engine is [`BondOptions::own`]. Change it with [`BondOptions::apply`], which keeps a set of options consistent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "each field is described by the entry of its name in the option table"
)]
pub struct BondOptions {
    pub mode: Mode,
    /// Milliseconds.
    pub miimon: u32,
    /// Milliseconds, a multiple of `miimon`.
    pub updelay: u32,
    /// Milliseconds, a multiple of `miimon`.
    pub downdelay: u32,
    /// Milliseconds, a multiple of `miimon`.
    pub peer_notif_delay: u32,
    pub use_carrier: bool,
    /// Milliseconds.
    pub arp_interval: u32,
    pub arp_ip_target: Vec<Ipv4Addr>,
    pub ns_ip6_target: Vec<Ipv6Addr>,
    pub arp_validate: ArpValidate,
    pub arp_all_targets: ArpAllTargets,
    pub arp_missed_max: u8,
    /// Name of the preferred port, in the bond or not; `None` for none.
    pub primary: Option<String>,
    pub primary_reselect: PrimaryReselect,
    pub fail_over_mac: FailOverMac,
    pub xmit_hash_policy: HashPolicy,
    pub resend_igmp: u8,
    pub num_grat_arp: u8,
    pub all_slaves_active: bool,
    pub min_links: u32,
    /// Seconds.
    pub lp_interval: u32,
    pub packets_per_slave: u16,
    pub tlb_dynamic_lb: bool,
    pub lacp_active: Switch,
    pub lacp_rate: LacpRate,
    pub lacp_strict: Switch,
    pub ad_select: AdSelect,
    pub ad_actor_sys_prio: u16,
    /// All zero: the bond's own address.
    pub ad_actor_system: MacAddr,
    pub ad_user_port_key: u16,
    pub coupled_control: Switch,
    pub broadcast_neighbor: Switch,
    pub max_ports: u8,
    pub lacp_fallback: Fallback,
    /// Milliseconds.
    pub lacp_fallback_delay: u32,
}

impl Default for BondOptions {
    fn default() -> Self {
        Self {
            mode: Mode::BalanceRr,
            miimon: 0,
            updelay: 0,
            downdelay: 0,
            peer_notif_delay: 0,
            use_carrier: true,
            arp_interval: 0,
            arp_ip_target: Vec::new(),
            ns_ip6_target: Vec::new(),
            arp_validate: ArpValidate::None,
            arp_all_targets: ArpAllTargets::Any,
            arp_missed_max: 2,
            primary: None,
            primary_reselect: PrimaryReselect::Always,
            fail_over_mac: FailOverMac::None,
            xmit_hash_policy: HashPolicy::Layer2,
            resend_igmp: 1,
            num_grat_arp: 1,
            all_slaves_active: false,
            min_links: 0,
            lp_interval: 1,
            packets_per_slave: 1,
            tlb_dynamic_lb: true,
            lacp_active: Switch::On,
            lacp_rate: LacpRate::Slow,
            lacp_strict: Switch::Off,
            ad_select: AdSelect::Stable,
            ad_actor_sys_prio: 65_535,
            ad_actor_system: MacAddr::ZERO,
            ad_user_port_key: 0,
            coupled_control: Switch::On,
            broadcast_neighbor: Switch::Off,
            max_ports: MAX_PORTS as u8,
            lacp_fallback: Fallback::Strict,
            lacp_fallback_delay: 5000,
        }
    }
}

impl BondOptions {
    /// The defaults of our own engine: [`OptionSpec::own_default`](super::OptionSpec::own_default).
    pub fn own() -> Self {
        Self {
            lacp_strict: Switch::On,
            coupled_control: Switch::Off,
            ..Self::default()
        }
    }

    /// The value of one option. `active_slave` is always empty here (see [`BondOptions`]).
    pub fn value(&self, id: OptionId) -> OptionValue {
        use OptionValue::{Ipv4, Ipv6, Mac, Name, Number};
        match id {
            OptionId::Mode => Number(self.mode.code().into()),
            OptionId::Miimon => Number(self.miimon.into()),
            OptionId::Updelay => Number(self.updelay.into()),
            OptionId::Downdelay => Number(self.downdelay.into()),
            OptionId::PeerNotifDelay => Number(self.peer_notif_delay.into()),
            OptionId::UseCarrier => Number(self.use_carrier.into()),
            OptionId::ArpInterval => Number(self.arp_interval.into()),
            OptionId::ArpIpTarget => Ipv4(self.arp_ip_target.clone()),
            OptionId::NsIp6Target => Ipv6(self.ns_ip6_target.clone()),
            OptionId::ArpValidate => Number(self.arp_validate.code().into()),
            OptionId::ArpAllTargets => Number(self.arp_all_targets.code().into()),
            OptionId::ArpMissedMax => Number(self.arp_missed_max.into()),
            OptionId::Primary => Name(self.primary.clone().unwrap_or_default()),
            OptionId::PrimaryReselect => Number(self.primary_reselect.code().into()),
            OptionId::ActiveSlave => Name(String::new()),
            OptionId::FailOverMac => Number(self.fail_over_mac.code().into()),
            OptionId::XmitHashPolicy => Number(self.xmit_hash_policy.code().into()),
            OptionId::ResendIgmp => Number(self.resend_igmp.into()),
            OptionId::NumGratArp => Number(self.num_grat_arp.into()),
            OptionId::AllSlavesActive => Number(self.all_slaves_active.into()),
            OptionId::MinLinks => Number(self.min_links.into()),
            OptionId::LpInterval => Number(self.lp_interval.into()),
            OptionId::PacketsPerSlave => Number(self.packets_per_slave.into()),
            OptionId::TlbDynamicLb => Number(self.tlb_dynamic_lb.into()),
            OptionId::LacpActive => Number(self.lacp_active.code().into()),
            OptionId::LacpRate => Number(self.lacp_rate.code().into()),
            OptionId::LacpStrict => Number(self.lacp_strict.code().into()),
            OptionId::AdSelect => Number(self.ad_select.code().into()),
            OptionId::AdActorSysPrio => Number(self.ad_actor_sys_prio.into()),
            OptionId::AdActorSystem => Mac(self.ad_actor_system),
            OptionId::AdUserPortKey => Number(self.ad_user_port_key.into()),
            OptionId::CoupledControl => Number(self.coupled_control.code().into()),
            OptionId::BroadcastNeighbor => Number(self.broadcast_neighbor.code().into()),
            OptionId::MaxPorts => Number(self.max_ports.into()),
            OptionId::LacpFallback => Number(self.lacp_fallback.code().into()),
            OptionId::LacpFallbackDelay => Number(self.lacp_fallback_delay.into()),
        }
    }

    /// The value of one option as text: words as words, lists with commas, nothing as empty.
    pub fn text(&self, id: OptionId) -> String {
        self.value(id).text(id.spec().kind)
    }

    /// The changes that make `from` into these options, in the order of the table.
    pub fn changes_from(&self, from: &Self) -> Vec<OptionChange> {
        OptionId::ALL
            .iter()
            .filter(|id| self.value(**id) != from.value(**id))
            .map(|id| OptionChange {
                id: *id,
                value: self.value(*id),
            })
            .collect()
    }

    /// Stores a value as it is in force somewhere, without asking whether it fits the others, or is in the table's range.
    /// Answers whether it is a value that this field can hold.
    #[must_use]
    pub fn store(&mut self, id: OptionId, value: &OptionValue) -> bool {
        fn put<T>(field: &mut T, value: Option<T>) -> bool {
            value.map(|value| *field = value).is_some()
        }
        let number = match value {
            OptionValue::Number(number) => *number,
            _ => -1,
        };
        let small = u8::try_from(number).ok();
        let short = u16::try_from(number).ok();
        let long = u32::try_from(number).ok();
        let flag = small.map(|number| number != 0);
        match (id, value) {
            (OptionId::Mode, _) => put(&mut self.mode, small.and_then(Mode::from_code)),
            (OptionId::Miimon, _) => put(&mut self.miimon, long),
            (OptionId::Updelay, _) => put(&mut self.updelay, long),
            (OptionId::Downdelay, _) => put(&mut self.downdelay, long),
            (OptionId::PeerNotifDelay, _) => put(&mut self.peer_notif_delay, long),
            (OptionId::UseCarrier, _) => put(&mut self.use_carrier, flag),
            (OptionId::ArpInterval, _) => put(&mut self.arp_interval, long),
            (OptionId::ArpIpTarget, OptionValue::Ipv4(list)) => {
                put(&mut self.arp_ip_target, Some(list.clone()))
            }
            (OptionId::NsIp6Target, OptionValue::Ipv6(list)) => {
                put(&mut self.ns_ip6_target, Some(list.clone()))
            }
            (OptionId::ArpValidate, _) => put(
                &mut self.arp_validate,
                small.and_then(ArpValidate::from_code),
            ),
            (OptionId::ArpAllTargets, _) => put(
                &mut self.arp_all_targets,
                small.and_then(ArpAllTargets::from_code),
            ),
            (OptionId::ArpMissedMax, _) => put(&mut self.arp_missed_max, small),
            (OptionId::Primary, OptionValue::Name(name)) => put(
                &mut self.primary,
                Some(Some(name.clone()).filter(|name| !name.is_empty())),
            ),
            (OptionId::PrimaryReselect, _) => put(
                &mut self.primary_reselect,
                small.and_then(PrimaryReselect::from_code),
            ),
            (OptionId::ActiveSlave, OptionValue::Name(_)) => true,
            (OptionId::FailOverMac, _) => put(
                &mut self.fail_over_mac,
                small.and_then(FailOverMac::from_code),
            ),
            (OptionId::XmitHashPolicy, _) => put(
                &mut self.xmit_hash_policy,
                small.and_then(HashPolicy::from_code),
            ),
            (OptionId::ResendIgmp, _) => put(&mut self.resend_igmp, small),
            (OptionId::NumGratArp, _) => put(&mut self.num_grat_arp, small),
            (OptionId::AllSlavesActive, _) => put(&mut self.all_slaves_active, flag),
            (OptionId::MinLinks, _) => put(&mut self.min_links, long),
            (OptionId::LpInterval, _) => put(&mut self.lp_interval, long),
            (OptionId::PacketsPerSlave, _) => put(&mut self.packets_per_slave, short),
            (OptionId::TlbDynamicLb, _) => put(&mut self.tlb_dynamic_lb, flag),
            (OptionId::LacpActive, _) => {
                put(&mut self.lacp_active, small.and_then(Switch::from_code))
            }
            (OptionId::LacpRate, _) => {
                put(&mut self.lacp_rate, small.and_then(LacpRate::from_code))
            }
            (OptionId::LacpStrict, _) => {
                put(&mut self.lacp_strict, small.and_then(Switch::from_code))
            }
            (OptionId::AdSelect, _) => {
                put(&mut self.ad_select, small.and_then(AdSelect::from_code))
            }
            (OptionId::AdActorSysPrio, _) => put(&mut self.ad_actor_sys_prio, short),
            (OptionId::AdActorSystem, OptionValue::Mac(mac)) => {
                put(&mut self.ad_actor_system, Some(*mac))
            }
            (OptionId::AdUserPortKey, _) => put(&mut self.ad_user_port_key, short),
            (OptionId::CoupledControl, _) => {
                put(&mut self.coupled_control, small.and_then(Switch::from_code))
            }
            (OptionId::BroadcastNeighbor, _) => put(
                &mut self.broadcast_neighbor,
                small.and_then(Switch::from_code),
            ),
            (OptionId::MaxPorts, _) => put(&mut self.max_ports, small),
            (OptionId::LacpFallback, _) => {
                put(&mut self.lacp_fallback, small.and_then(Fallback::from_code))
            }
            (OptionId::LacpFallbackDelay, _) => put(&mut self.lacp_fallback_delay, long),
            _ => false,
        }
    }
}

/// Value of the port option `weight`. Serialised as the number or the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// In proportion to the link's speed.
    Auto,
    /// This, in proportion to the other ports' weights: 1 to 256.
    #[serde(untagged)]
    Fixed(u16),
}

/// Every option of a port. Fields have the driver's names and are described by the option table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "each field is described by the entry of its name in the option table"
)]
pub struct PortOptions {
    pub queue_id: u16,
    pub prio: i32,
    pub actor_port_prio: u16,
    pub weight: Weight,
}

impl Default for PortOptions {
    fn default() -> Self {
        Self {
            queue_id: 0,
            prio: 0,
            actor_port_prio: 255,
            weight: Weight::Fixed(1),
        }
    }
}

impl PortOptions {
    /// The value of one option.
    pub fn value(&self, id: PortOptionId) -> OptionValue {
        OptionValue::Number(match id {
            PortOptionId::QueueId => self.queue_id.into(),
            PortOptionId::Prio => self.prio.into(),
            PortOptionId::ActorPortPrio => self.actor_port_prio.into(),
            PortOptionId::Weight => match self.weight {
                Weight::Auto => 0,
                Weight::Fixed(weight) => weight.into(),
            },
        })
    }

    /// The value of one option as text.
    pub fn text(&self, id: PortOptionId) -> String {
        self.value(id).text(id.spec().kind)
    }

    /// The changes that make `from` into these options, in the order of the table.
    pub fn changes_from(&self, from: &Self) -> Vec<PortOptionChange> {
        PortOptionId::ALL
            .iter()
            .filter(|id| self.value(**id) != from.value(**id))
            .map(|id| PortOptionChange {
                id: *id,
                value: self.value(*id),
            })
            .collect()
    }

    /// Stores a value as it is in force somewhere, without asking whether it fits the others, or is in the table's range.
    /// Answers whether it is a value that this field can hold.
    #[must_use]
    pub fn store(&mut self, id: PortOptionId, value: &OptionValue) -> bool {
        let OptionValue::Number(number) = *value else {
            return false;
        };
        match id {
            PortOptionId::QueueId => u16::try_from(number).map(|n| self.queue_id = n).is_ok(),
            PortOptionId::Prio => i32::try_from(number).map(|n| self.prio = n).is_ok(),
            PortOptionId::ActorPortPrio => u16::try_from(number)
                .map(|n| self.actor_port_prio = n)
                .is_ok(),
            PortOptionId::Weight => u16::try_from(number)
                .map(|n| {
                    self.weight = match n {
                        0 => Weight::Auto,
                        weight => Weight::Fixed(weight),
                    };
                })
                .is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_table() {
        let options = BondOptions::default();
        for id in OptionId::ALL {
            assert_eq!(options.text(*id), id.spec().default, "{id}");
        }
        let options = BondOptions::own();
        for id in OptionId::ALL {
            assert_eq!(options.text(*id), id.spec().default_of(true), "{id}");
        }
        let options = PortOptions::default();
        for id in PortOptionId::ALL {
            assert_eq!(options.text(*id), id.spec().default, "{id}");
        }
    }

    /// Every option but the two that hold no other value here can be stored and read back.
    #[test]
    fn every_option_stores_what_it_reads() {
        for id in OptionId::ALL {
            let text = match id {
                OptionId::UseCarrier | OptionId::ActiveSlave => continue,
                OptionId::ArpIpTarget => "10.0.0.1,10.0.0.2",
                OptionId::NsIp6Target => "2001:db8::1",
                OptionId::Primary => "eth1",
                OptionId::AdActorSystem => "02:00:00:00:00:01",
                OptionId::TlbDynamicLb | OptionId::LacpActive | OptionId::CoupledControl => "0",
                OptionId::AdActorSysPrio | OptionId::LpInterval | OptionId::ArpMissedMax => "7",
                OptionId::PacketsPerSlave => "0",
                OptionId::ResendIgmp | OptionId::NumGratArp => "9",
                _ => "1",
            };
            let change = OptionChange::parse(id.name(), text).unwrap();
            let mut options = BondOptions::default();
            assert!(options.store(*id, &change.value), "{id}");
            assert_eq!(
                options.changes_from(&BondOptions::default()),
                [change],
                "{id}"
            );
        }
    }

    #[test]
    fn serialised_with_the_drivers_names_and_words() {
        let json = serde_json::to_value(BondOptions::default()).unwrap();
        assert_eq!(json["mode"], "balance-rr");
        assert_eq!(json["ad_actor_system"], "00:00:00:00:00:00");
        for id in OptionId::ALL
            .iter()
            .filter(|id| **id != OptionId::ActiveSlave)
        {
            assert!(json.get(id.name()).is_some(), "{id}");
        }
        let read: BondOptions =
            serde_json::from_str(r#"{"mode": "active-backup", "miimon": 100}"#).unwrap();
        assert_eq!((read.mode, read.miimon), (Mode::ActiveBackup, 100));
    }
}
