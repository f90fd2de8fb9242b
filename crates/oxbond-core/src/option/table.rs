//! The option table itself.

use super::MAX_TARGETS;
use super::spec::{Changeable, Kind, ModeSet, OptionKey, OptionSpec, Spellings, Unit};
use super::words::{
    AdSelect, ArpAllTargets, ArpValidate, FailOverMac, Fallback, HashPolicy, LacpRate, Mode,
    PrimaryReselect, Switch,
};
use crate::port::MAX_PORTS;

/// Declares the identities of options and how they serialise (by their name).
macro_rules! ids {
    ($(#[$meta:meta])* pub enum $id:ident in $scope:ident { $( $variant:ident = $name:literal; )+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $id {
            $(
                #[doc = concat!("`", $name, "`.")]
                #[serde(rename = $name)]
                $variant,
            )+
        }

        impl $id {
            /// Every option of this scope, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The driver's name, which is ours too.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Everything about it.
            pub fn spec(self) -> &'static OptionSpec {
                let spec = OPTIONS.iter().find(|spec| spec.key == OptionKey::$scope(self));
                // A test proves that the table has exactly one entry for each id.
                spec.expect("every option id has its entry in the table")
            }
        }

        impl core::fmt::Display for $id {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

ids! {
    /// An option of a bond.
    pub enum OptionId in Bond {
        Mode = "mode";
        Miimon = "miimon";
        Updelay = "updelay";
        Downdelay = "downdelay";
        PeerNotifDelay = "peer_notif_delay";
        UseCarrier = "use_carrier";
        ArpInterval = "arp_interval";
        ArpIpTarget = "arp_ip_target";
        NsIp6Target = "ns_ip6_target";
        ArpValidate = "arp_validate";
        ArpAllTargets = "arp_all_targets";
        ArpMissedMax = "arp_missed_max";
        Primary = "primary";
        PrimaryReselect = "primary_reselect";
        ActiveSlave = "active_slave";
        FailOverMac = "fail_over_mac";
        XmitHashPolicy = "xmit_hash_policy";
        ResendIgmp = "resend_igmp";
        NumGratArp = "num_grat_arp";
        AllSlavesActive = "all_slaves_active";
        MinLinks = "min_links";
        LpInterval = "lp_interval";
        PacketsPerSlave = "packets_per_slave";
        TlbDynamicLb = "tlb_dynamic_lb";
        LacpActive = "lacp_active";
        LacpRate = "lacp_rate";
        LacpStrict = "lacp_strict";
        AdSelect = "ad_select";
        AdActorSysPrio = "ad_actor_sys_prio";
        AdActorSystem = "ad_actor_system";
        AdUserPortKey = "ad_user_port_key";
        CoupledControl = "coupled_control";
        BroadcastNeighbor = "broadcast_neighbor";
        MaxPorts = "max_ports";
        LacpFallback = "lacp_fallback";
        LacpFallbackDelay = "lacp_fallback_delay";
    }
}

ids! {
    /// An option of one port of a bond.
    pub enum PortOptionId in Port {
        QueueId = "queue_id";
        Prio = "prio";
        ActorPortPrio = "actor_port_prio";
        Weight = "weight";
    }
}

const INT_MAX: i64 = i32::MAX as i64;

/// Modes that have one active port and know a primary.
const USES_PRIMARY: ModeSet =
    ModeSet::of(&[Mode::ActiveBackup, Mode::BalanceTlb, Mode::BalanceAlb]);
/// Modes in which the driver can monitor by ARP.
const USES_ARP: ModeSet = ModeSet::except(LACKS_ARP_MODES);
/// The others, in which our own engine can.
const LACKS_ARP: ModeSet = ModeSet::of(LACKS_ARP_MODES);
const LACKS_ARP_MODES: &[Mode] = &[Mode::Ieee8023ad, Mode::BalanceTlb, Mode::BalanceAlb];
const LB: ModeSet = ModeSet::of(&[Mode::BalanceTlb, Mode::BalanceAlb]);
const LACP: ModeSet = ModeSet::of(&[Mode::Ieee8023ad]);
const ACTIVE_BACKUP: ModeSet = ModeSet::of(&[Mode::ActiveBackup]);
const ROUND_ROBIN: ModeSet = ModeSet::of(&[Mode::BalanceRr]);

/// No dialect can say it.
const UNSPELT: Spellings = Spellings {
    networkd: &[],
    netplan: &[],
    network_manager: &[],
    ifenslave: &[],
    ifupdown2: &[],
    ifcfg: &[],
    nmstate: &[],
    cloud_init: &[],
    module: &[],
};

/// What most options have in common; every entry below overrides what is its own.
const BASE: OptionSpec = OptionSpec {
    key: OptionKey::Bond(OptionId::Mode),
    name: "",
    iproute2: "",
    aliases: &[],
    kind: Kind::Flag,
    unit: Unit::None,
    default: "0",
    own_default: None,
    modes: ModeSet::ALL,
    extended_to: ModeSet::NONE,
    acts_in: ModeSet::ALL,
    changeable: Changeable::Always,
    netlink: None,
    since: None,
    depends: "",
    help: "",
    spellings: UNSPELT,
};

/// Every option of bonds and ports, in the order in which the driver applies them from one netlink message.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: OptionKey::Bond(OptionId::Mode),
        name: "mode",
        iproute2: "mode",
        kind: Kind::Words(Mode::WORDS),
        default: "balance-rr",
        changeable: Changeable::BondDownNoPorts,
        netlink: Some(1),
        depends: "802.3ad, balance-tlb and balance-alb set miimon to 100 if there is no other monitor (the driver \
                  switches ARP monitoring off in them); \
                  any change of mode resets arp_validate and broadcast_neighbor",
        help: "how the bond uses its ports",
        spellings: Spellings {
            networkd: &["Mode"],
            netplan: &["mode"],
            network_manager: &["mode"],
            ifenslave: &["bond-mode"],
            ifupdown2: &["bond-mode"],
            ifcfg: &["mode"],
            nmstate: &["mode"],
            cloud_init: &["bond-mode", "bond_mode"],
            module: &["mode"],
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::ActiveSlave),
        name: "active_slave",
        iproute2: "active_slave",
        aliases: &["active_port", "active_member"],
        kind: Kind::PortName,
        default: "",
        modes: USES_PRIMARY,
        acts_in: USES_PRIMARY,
        netlink: Some(2),
        depends: "the port must be in the bond and up, and there must be an active port already",
        help: "make this port the active one now; nothing lets the bond choose anew",
        spellings: Spellings {
            networkd: &["Network.ActiveSlave"],
            network_manager: &["active_slave"],
            ifenslave: &["bond-active-slave"],
            ifcfg: &["active_slave"],
            cloud_init: &[
                "bond-active_slave",
                "bond-active-slave",
                "bond_active_slave",
            ],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::Miimon),
        name: "miimon",
        iproute2: "miimon",
        kind: Kind::Number {
            min: 0,
            max: INT_MAX,
        },
        unit: Unit::Milliseconds,
        netlink: Some(3),
        depends: "a value other than 0 switches ARP monitoring off",
        help: "how often the links of the ports are checked; 0 switches the check off",
        spellings: Spellings {
            networkd: &["MIIMonitorSec"],
            netplan: &["mii-monitor-interval"],
            network_manager: &["miimon"],
            ifenslave: &["bond-miimon"],
            ifupdown2: &["bond-miimon"],
            ifcfg: &["miimon"],
            nmstate: &["miimon"],
            cloud_init: &["bond-miimon", "bond_miimon"],
            module: &["miimon"],
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::Updelay),
        name: "updelay",
        iproute2: "updelay",
        kind: Kind::Number {
            min: 0,
            max: INT_MAX,
        },
        unit: Unit::Milliseconds,
        netlink: Some(4),
        depends: "needs miimon; rounded down to a multiple of it",
        help: "how long a link that came back must stay before the port is used",
        spellings: Spellings {
            networkd: &["UpDelaySec"],
            netplan: &["up-delay"],
            network_manager: &["updelay"],
            ifenslave: &["bond-updelay"],
            ifupdown2: &["bond-updelay"],
            ifcfg: &["updelay"],
            nmstate: &["updelay"],
            cloud_init: &["bond-updelay", "bond_updelay"],
            module: &["updelay"],
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::Downdelay),
        name: "downdelay",
        iproute2: "downdelay",
        kind: Kind::Number {
            min: 0,
            max: INT_MAX,
        },
        unit: Unit::Milliseconds,
        netlink: Some(5),
        depends: "needs miimon; rounded down to a multiple of it",
        help: "how long a link must be away before the port is given up",
        spellings: Spellings {
            networkd: &["DownDelaySec"],
            netplan: &["down-delay"],
            network_manager: &["downdelay"],
            ifenslave: &["bond-downdelay"],
            ifupdown2: &["bond-downdelay"],
            ifcfg: &["downdelay"],
            nmstate: &["downdelay"],
            cloud_init: &["bond-downdelay", "bond_downdelay"],
            module: &["downdelay"],
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::PeerNotifDelay),
        name: "peer_notif_delay",
        iproute2: "peer_notify_delay",
        kind: Kind::Number {
            min: 0,
            max: 300_000,
        },
        unit: Unit::Milliseconds,
        netlink: Some(28),
        since: Some((5, 3)),
        depends: "needs miimon; rounded down to a multiple of it; 0 means one monitor interval",
        help: "time between the repetitions of the notice to peers after a failover",
        spellings: Spellings {
            networkd: &["PeerNotifyDelaySec"],
            network_manager: &["peer_notif_delay"],
            ifcfg: &["peer_notif_delay"],
            cloud_init: &["bond-peer_notif_delay"],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::UseCarrier),
        name: "use_carrier",
        iproute2: "use_carrier",
        kind: Kind::Number { min: 1, max: 1 },
        default: "1",
        netlink: Some(6),
        depends: "obsolete: the driver takes only 1 since 6.18",
        help: "links are judged by the carrier their drivers report; nothing else is left to choose",
        spellings: Spellings {
            network_manager: &["use_carrier"],
            ifenslave: &["bond-use-carrier"],
            ifupdown2: &["bond-use-carrier"],
            ifcfg: &["use_carrier"],
            nmstate: &["use_carrier"],
            cloud_init: &["bond-use_carrier", "bond-use-carrier", "bond_use_carrier"],
            module: &["use_carrier"],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::ArpInterval),
        name: "arp_interval",
        iproute2: "arp_interval",
        kind: Kind::Number {
            min: 0,
            max: INT_MAX,
        },
        unit: Unit::Milliseconds,
        modes: USES_ARP,
        extended_to: LACKS_ARP,
        acts_in: USES_ARP,
        netlink: Some(7),
        depends: "a value other than 0 switches miimon off; needs arp_ip_target or ns_ip6_target to be of use",
        help: "how often the ARP and NS targets are asked; 0 switches the check off",
        spellings: Spellings {
            networkd: &["ARPIntervalSec"],
            netplan: &["arp-interval"],
            network_manager: &["arp_interval"],
            ifenslave: &["bond-arp-interval"],
            ifupdown2: &["bond-arp-interval"],
            ifcfg: &["arp_interval"],
            nmstate: &["arp_interval"],
            cloud_init: &[
                "bond-arp_interval",
                "bond-arp-interval",
                "bond_arp_interval",
            ],
            module: &["arp_interval"],
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::ArpIpTarget),
        name: "arp_ip_target",
        iproute2: "arp_ip_target",
        aliases: &["arp_ip_targets"],
        kind: Kind::Ipv4List(MAX_TARGETS),
        default: "",
        acts_in: USES_ARP,
        netlink: Some(8),
        depends: "acts with arp_interval; 0.0.0.0 and 255.255.255.255 are refused",
        help: "IPv4 addresses whose answers prove that a port works",
        spellings: Spellings {
            networkd: &["ARPIPTargets"],
            netplan: &["arp-ip-targets"],
            network_manager: &["arp_ip_target"],
            ifenslave: &["bond-arp-ip-target"],
            ifupdown2: &["bond-arp-ip-target"],
            ifcfg: &["arp_ip_target"],
            nmstate: &["arp_ip_target"],
            cloud_init: &[
                "bond-arp_ip_target",
                "bond-arp-ip-target",
                "bond_arp_ip_target",
            ],
            module: &["arp_ip_target"],
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::NsIp6Target),
        name: "ns_ip6_target",
        iproute2: "ns_ip6_target",
        aliases: &["ns_ip6_targets"],
        kind: Kind::Ipv6List(MAX_TARGETS),
        default: "",
        acts_in: USES_ARP,
        netlink: Some(31),
        since: Some((5, 18)),
        depends: "acts with arp_interval; the unspecified, loopback and multicast addresses are refused",
        help: "IPv6 addresses whose answers prove that a port works",
        spellings: Spellings {
            network_manager: &["ns_ip6_target"],
            ifcfg: &["ns_ip6_target"],
            nmstate: &["ns_ip6_target"],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::ArpValidate),
        name: "arp_validate",
        iproute2: "arp_validate",
        kind: Kind::Words(ArpValidate::WORDS),
        default: "none",
        modes: USES_ARP,
        extended_to: LACKS_ARP,
        acts_in: USES_ARP,
        netlink: Some(9),
        depends: "acts with arp_interval; cannot be set together with miimon",
        help: "which traffic counts as an answer of the ARP and NS targets",
        spellings: Spellings {
            networkd: &["ARPValidate"],
            netplan: &["arp-validate"],
            network_manager: &["arp_validate"],
            ifenslave: &["bond-arp-validate"],
            ifcfg: &["arp_validate"],
            nmstate: &["arp_validate"],
            cloud_init: &[
                "bond-arp_validate",
                "bond-arp-validate",
                "bond_arp_validate",
            ],
            module: &["arp_validate"],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::ArpAllTargets),
        name: "arp_all_targets",
        iproute2: "arp_all_targets",
        kind: Kind::Words(ArpAllTargets::WORDS),
        default: "any",
        acts_in: ACTIVE_BACKUP,
        netlink: Some(10),
        depends: "acts with arp_validate",
        help: "whether one answering target keeps a port alive or all must answer",
        spellings: Spellings {
            networkd: &["ARPAllTargets"],
            netplan: &["arp-all-targets"],
            network_manager: &["arp_all_targets"],
            ifcfg: &["arp_all_targets"],
            nmstate: &["arp_all_targets"],
            cloud_init: &[
                "bond-arp_all_targets",
                "bond-arp-all-targets",
                "bond_arp_all_targets",
            ],
            module: &["arp_all_targets"],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::Primary),
        name: "primary",
        iproute2: "primary",
        kind: Kind::PortName,
        default: "",
        modes: USES_PRIMARY,
        acts_in: USES_PRIMARY,
        netlink: Some(11),
        depends: "may name a port that joins later; setting it to a port that is up makes that port active at once",
        help: "the port that is preferred as the active one",
        spellings: Spellings {
            networkd: &["Network.PrimarySlave"],
            netplan: &["primary"],
            network_manager: &["primary"],
            ifenslave: &["bond-primary"],
            ifupdown2: &["bond-primary"],
            ifcfg: &["primary"],
            nmstate: &["primary"],
            cloud_init: &["bond-primary", "bond_primary"],
            module: &["primary"],
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::PrimaryReselect),
        name: "primary_reselect",
        iproute2: "primary_reselect",
        kind: Kind::Words(PrimaryReselect::WORDS),
        default: "always",
        modes: USES_PRIMARY,
        acts_in: USES_PRIMARY,
        netlink: Some(12),
        depends: "setting it runs the selection at once",
        help: "when the preferred port takes over from a working one",
        spellings: Spellings {
            networkd: &["PrimaryReselectPolicy"],
            netplan: &["primary-reselect-policy"],
            network_manager: &["primary_reselect"],
            ifenslave: &["bond-primary-reselect"],
            ifupdown2: &["bond-primary-reselect"],
            ifcfg: &["primary_reselect"],
            nmstate: &["primary_reselect"],
            cloud_init: &[
                "bond-primary_reselect",
                "bond-primary-reselect",
                "bond_primary_reselect",
            ],
            module: &["primary_reselect"],
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::FailOverMac),
        name: "fail_over_mac",
        iproute2: "fail_over_mac",
        kind: Kind::Words(FailOverMac::WORDS),
        default: "none",
        acts_in: ACTIVE_BACKUP,
        changeable: Changeable::NoPorts,
        netlink: Some(13),
        help: "whether the address stays with the bond or goes with the active port",
        spellings: Spellings {
            networkd: &["FailOverMACPolicy"],
            netplan: &["fail-over-mac-policy"],
            network_manager: &["fail_over_mac"],
            ifenslave: &["bond-fail-over-mac"],
            ifcfg: &["fail_over_mac"],
            nmstate: &["fail_over_mac"],
            cloud_init: &[
                "bond-fail_over_mac",
                "bond-fail-over-mac",
                "bond_fail_over_mac",
            ],
            module: &["fail_over_mac"],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::XmitHashPolicy),
        name: "xmit_hash_policy",
        iproute2: "xmit_hash_policy",
        kind: Kind::Words(HashPolicy::WORDS),
        default: "layer2",
        acts_in: ModeSet::of(&[
            Mode::BalanceXor,
            Mode::Ieee8023ad,
            Mode::BalanceTlb,
            Mode::BalanceAlb,
        ]),
        netlink: Some(14),
        depends: "in balance-tlb and balance-alb it acts with tlb_dynamic_lb=0",
        help: "which header fields decide the port of a flow",
        spellings: Spellings {
            networkd: &["TransmitHashPolicy"],
            netplan: &["transmit-hash-policy"],
            network_manager: &["xmit_hash_policy"],
            ifenslave: &["bond-xmit-hash-policy"],
            ifupdown2: &["bond-xmit-hash-policy"],
            ifcfg: &["xmit_hash_policy"],
            nmstate: &["xmit_hash_policy"],
            cloud_init: &[
                "bond-xmit_hash_policy",
                "bond-xmit-hash-policy",
                "bond_xmit_hash_policy",
            ],
            module: &["xmit_hash_policy"],
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::ResendIgmp),
        name: "resend_igmp",
        iproute2: "resend_igmp",
        kind: Kind::Number { min: 0, max: 255 },
        default: "1",
        acts_in: ModeSet::of(&[
            Mode::BalanceRr,
            Mode::ActiveBackup,
            Mode::BalanceTlb,
            Mode::BalanceAlb,
        ]),
        netlink: Some(15),
        help: "how many times multicast groups are joined anew after a failover, every 200 ms",
        spellings: Spellings {
            networkd: &["ResendIGMP"],
            netplan: &["resend-igmp"],
            network_manager: &["resend_igmp"],
            ifcfg: &["resend_igmp"],
            nmstate: &["resend_igmp"],
            cloud_init: &["bond-resend_igmp", "bond-resend-igmp", "bond_resend_igmp"],
            module: &["resend_igmp"],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::NumGratArp),
        name: "num_grat_arp",
        iproute2: "num_grat_arp",
        aliases: &["num_unsol_na", "num_peer_notif"],
        kind: Kind::Number { min: 0, max: 255 },
        default: "1",
        acts_in: ModeSet::of(&[Mode::ActiveBackup, Mode::Ieee8023ad]),
        extended_to: ModeSet::of(&[Mode::BalanceXor, Mode::BalanceTlb, Mode::BalanceAlb]),
        netlink: Some(16),
        depends: "num_grat_arp and num_unsol_na are one value; in 802.3ad it acts with broadcast_neighbor, and \
                  while no port has a partner; in balance-xor, balance-tlb and balance-alb for guests on a bridge",
        help: "how many times peers are told of a failover (gratuitous ARP, unsolicited NA)",
        spellings: Spellings {
            networkd: &["GratuitousARP"],
            netplan: &["gratuitous-arp", "gratuitious-arp"],
            network_manager: &["num_grat_arp", "num_unsol_na"],
            ifenslave: &["bond-num-grat-arp", "bond-num-unsol-na"],
            ifupdown2: &["bond-num-grat-arp", "bond-num-unsol-na"],
            ifcfg: &["num_grat_arp", "num_unsol_na"],
            nmstate: &["num_grat_arp", "num_unsol_na"],
            cloud_init: &[
                "bond-num_grat_arp",
                "bond-num-grat-arp",
                "bond_num_grat_arp",
                "bond-num_unsol_na",
            ],
            module: &["num_grat_arp", "num_unsol_na"],
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::AllSlavesActive),
        name: "all_slaves_active",
        iproute2: "all_slaves_active",
        aliases: &["all_ports_active", "all_members_active"],
        kind: Kind::Flag,
        netlink: Some(17),
        help: "deliver what arrives on ports that are not active (duplicates included)",
        spellings: Spellings {
            networkd: &["AllSlavesActive"],
            netplan: &["all-members-active", "all-slaves-active"],
            network_manager: &["all_slaves_active"],
            ifcfg: &["all_slaves_active"],
            nmstate: &["all_slaves_active"],
            cloud_init: &[
                "bond-all_slaves_active",
                "bond-all-slaves-active",
                "bond_all_slaves_active",
            ],
            module: &["all_slaves_active"],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::MinLinks),
        name: "min_links",
        iproute2: "min_links",
        kind: Kind::Number {
            min: 0,
            max: INT_MAX,
        },
        acts_in: LACP,
        netlink: Some(18),
        help: "ports that must work for the bond to have carrier",
        spellings: Spellings {
            networkd: &["MinLinks"],
            netplan: &["min-links"],
            network_manager: &["min_links"],
            ifupdown2: &["bond-min-links"],
            ifcfg: &["min_links"],
            nmstate: &["min_links"],
            cloud_init: &["bond-min_links", "bond-min-links", "bond_min_links"],
            module: &["min_links"],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::LpInterval),
        name: "lp_interval",
        iproute2: "lp_interval",
        kind: Kind::Number {
            min: 1,
            max: INT_MAX,
        },
        unit: Unit::Seconds,
        default: "1",
        acts_in: LB,
        netlink: Some(19),
        help: "how often switches are taught which address is behind which port",
        spellings: Spellings {
            networkd: &["LearnPacketIntervalSec"],
            netplan: &["learn-packet-interval"],
            network_manager: &["lp_interval"],
            ifcfg: &["lp_interval"],
            nmstate: &["lp_interval"],
            cloud_init: &["bond-lp_interval", "bond-lp-interval", "bond_lp_interval"],
            module: &["lp_interval"],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::PacketsPerSlave),
        name: "packets_per_slave",
        iproute2: "packets_per_slave",
        aliases: &["packets_per_port", "packets_per_member"],
        kind: Kind::Number {
            min: 0,
            max: 65_535,
        },
        default: "1",
        modes: ROUND_ROBIN,
        acts_in: ROUND_ROBIN,
        netlink: Some(20),
        help: "packets sent on one port before the next is used; 0 takes a random port for each",
        spellings: Spellings {
            networkd: &["PacketsPerSlave"],
            netplan: &["packets-per-member", "packets-per-slave"],
            network_manager: &["packets_per_slave"],
            ifenslave: &["bond-packets-per-slave"],
            ifcfg: &["packets_per_slave"],
            nmstate: &["packets_per_slave"],
            cloud_init: &[
                "bond-packets_per_slave",
                "bond-packets-per-slave",
                "bond_packets_per_slave",
            ],
            module: &["packets_per_slave"],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::LacpActive),
        name: "lacp_active",
        iproute2: "lacp_active",
        aliases: &["ad_lacp_active"],
        kind: Kind::Words(Switch::WORDS),
        default: "on",
        modes: LACP,
        acts_in: LACP,
        changeable: Changeable::BondDown,
        netlink: Some(29),
        since: Some((5, 15)),
        help: "whether LACP is spoken first or only answered",
        spellings: Spellings {
            network_manager: &["lacp_active"],
            ifcfg: &["lacp_active"],
            nmstate: &["lacp_active"],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::LacpRate),
        name: "lacp_rate",
        iproute2: "lacp_rate",
        aliases: &["ad_lacp_rate"],
        kind: Kind::Words(LacpRate::WORDS),
        default: "slow",
        modes: LACP,
        acts_in: LACP,
        changeable: Changeable::BondDown,
        netlink: Some(21),
        help: "how often the partner is asked to send LACP frames",
        spellings: Spellings {
            networkd: &["LACPTransmitRate"],
            netplan: &["lacp-rate"],
            network_manager: &["lacp_rate"],
            ifenslave: &["bond-lacp-rate"],
            ifupdown2: &["bond-lacp-rate"],
            ifcfg: &["lacp_rate"],
            nmstate: &["lacp_rate"],
            cloud_init: &["bond-lacp_rate", "bond-lacp-rate", "bond_lacp_rate"],
            module: &["lacp_rate"],
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::AdSelect),
        name: "ad_select",
        iproute2: "ad_select",
        kind: Kind::Words(AdSelect::WORDS),
        default: "stable",
        acts_in: LACP,
        changeable: Changeable::BondDown,
        netlink: Some(22),
        help: "which aggregator is used when there are several",
        spellings: Spellings {
            networkd: &["AdSelect"],
            netplan: &["ad-select"],
            network_manager: &["ad_select"],
            ifenslave: &["bond-ad-select"],
            ifcfg: &["ad_select"],
            nmstate: &["ad_select"],
            cloud_init: &["bond-ad_select", "bond-ad-select", "bond_ad_select"],
            module: &["ad_select"],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::AdActorSysPrio),
        name: "ad_actor_sys_prio",
        iproute2: "ad_actor_sys_prio",
        kind: Kind::Number {
            min: 1,
            max: 65_535,
        },
        default: "65535",
        modes: LACP,
        acts_in: LACP,
        netlink: Some(24),
        since: Some((4, 2)),
        help: "LACP priority of this system; the lower one decides",
        spellings: Spellings {
            networkd: &["AdActorSystemPriority"],
            network_manager: &["ad_actor_sys_prio"],
            ifupdown2: &["bond-ad-actor-sys-prio", "bond-ad-sys-priority"],
            ifcfg: &["ad_actor_sys_prio"],
            nmstate: &["ad_actor_sys_prio"],
            cloud_init: &[
                "bond-ad_actor_sys_prio",
                "bond-ad-actor-sys-prio",
                "bond_ad_actor_sys_prio",
            ],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::AdUserPortKey),
        name: "ad_user_port_key",
        iproute2: "ad_user_port_key",
        kind: Kind::Number { min: 0, max: 1023 },
        modes: LACP,
        acts_in: LACP,
        changeable: Changeable::BondDown,
        netlink: Some(25),
        since: Some((4, 2)),
        depends: "the driver reads it when a port joins: set it before",
        help: "upper ten bits of the LACP key of the ports",
        spellings: Spellings {
            networkd: &["AdUserPortKey"],
            network_manager: &["ad_user_port_key"],
            ifcfg: &["ad_user_port_key"],
            nmstate: &["ad_user_port_key"],
            cloud_init: &[
                "bond-ad_user_port_key",
                "bond-ad-user-port-key",
                "bond_ad_user_port_key",
            ],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::AdActorSystem),
        name: "ad_actor_system",
        iproute2: "ad_actor_system",
        kind: Kind::Mac,
        default: "00:00:00:00:00:00",
        modes: LACP,
        acts_in: LACP,
        netlink: Some(26),
        since: Some((4, 2)),
        help: "LACP identity of this system; all zero takes the bond's address",
        spellings: Spellings {
            networkd: &["AdActorSystem"],
            network_manager: &["ad_actor_system"],
            ifupdown2: &["bond-ad-actor-system", "bond-ad-sys-mac-addr", "es-sys-mac"],
            ifcfg: &["ad_actor_system"],
            nmstate: &["ad_actor_system"],
            cloud_init: &[
                "bond-ad_actor_system",
                "bond-ad-actor-system",
                "bond_ad_actor_system",
            ],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::TlbDynamicLb),
        name: "tlb_dynamic_lb",
        iproute2: "tlb_dynamic_lb",
        kind: Kind::Flag,
        default: "1",
        modes: LB,
        acts_in: LB,
        changeable: Changeable::BondDown,
        netlink: Some(27),
        depends: "choosing mode balance-alb sets it to 1",
        help: "move flows by the load of the ports (1) or keep them where the hash puts them (0)",
        spellings: Spellings {
            networkd: &["DynamicTransmitLoadBalancing"],
            network_manager: &["tlb_dynamic_lb"],
            ifenslave: &["bond-tlb-dynamic-lb"],
            ifcfg: &["tlb_dynamic_lb"],
            nmstate: &["tlb_dynamic_lb"],
            cloud_init: &[
                "bond-tlb_dynamic_lb",
                "bond-tlb-dynamic-lb",
                "bond_tlb_dynamic_lb",
            ],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::ArpMissedMax),
        name: "arp_missed_max",
        iproute2: "arp_missed_max",
        aliases: &["missed_max"],
        kind: Kind::Number { min: 1, max: 255 },
        default: "2",
        modes: USES_ARP,
        extended_to: LACKS_ARP,
        acts_in: USES_ARP,
        netlink: Some(30),
        since: Some((5, 17)),
        depends: "acts with arp_interval",
        help: "ARP intervals without an answer after which a port is given up",
        spellings: Spellings {
            networkd: &["ARPMissedMax"],
            network_manager: &["arp_missed_max"],
            ifcfg: &["arp_missed_max"],
            nmstate: &["arp_missed_max"],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::CoupledControl),
        name: "coupled_control",
        iproute2: "coupled_control",
        kind: Kind::Words(Switch::WORDS),
        default: "on",
        own_default: Some("off"),
        modes: LACP,
        acts_in: LACP,
        changeable: Changeable::BondDown,
        netlink: Some(32),
        since: Some((6, 9)),
        help: "whether LACP starts to receive and to send in one step; else it sends when the partner receives",
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::BroadcastNeighbor),
        name: "broadcast_neighbor",
        iproute2: "broadcast_neighbor",
        kind: Kind::Words(Switch::WORDS),
        default: "off",
        modes: LACP,
        acts_in: LACP,
        netlink: Some(33),
        since: Some((6, 17)),
        depends: "any change of mode resets it",
        help: "send ARP and neighbour discovery on every port",
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::LacpStrict),
        name: "lacp_strict",
        iproute2: "lacp_strict",
        kind: Kind::Words(Switch::WORDS),
        default: "off",
        own_default: Some("on"),
        modes: LACP,
        acts_in: LACP,
        netlink: Some(34),
        since: Some((7, 2)),
        depends: "in the driver it acts with min_links of at least 1; here it also decides, with lacp_fallback, what is sent \
                  without a partner",
        help: "count only ports that LACP has brought to work as working for the carrier; off: send without a partner too",
        ..BASE
    },
    // Ours, as the two after it; the driver knows neither standby ports nor a policy for lack of a partner.
    OptionSpec {
        key: OptionKey::Bond(OptionId::MaxPorts),
        name: "max_ports",
        iproute2: "max_ports",
        aliases: &["max_links"],
        kind: Kind::Number {
            min: 1,
            max: MAX_PORTS as i64,
        },
        default: "32",
        modes: LACP,
        acts_in: LACP,
        depends: "of the two systems the one with the lower ad_actor_sys_prio says which; lower actor_port_prio first",
        help: "ports of an aggregate that carry traffic at most; the others stand by",
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::LacpFallback),
        name: "lacp_fallback",
        iproute2: "lacp_fallback",
        kind: Kind::Words(Fallback::WORDS),
        default: "strict",
        modes: LACP,
        acts_in: LACP,
        depends: "with lacp_strict=off, strict stands for active-backup at once, as the driver does",
        help: "what carries traffic while no port has a partner; the first LACP frame ends it",
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Bond(OptionId::LacpFallbackDelay),
        name: "lacp_fallback_delay",
        iproute2: "lacp_fallback_delay",
        kind: Kind::Number {
            min: 0,
            max: INT_MAX,
        },
        unit: Unit::Milliseconds,
        default: "5000",
        modes: LACP,
        acts_in: LACP,
        depends: "it begins when the last port has looked for a partner in vain, 3 s after its link came up",
        help: "how long no port must have a partner before lacp_fallback begins",
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Port(PortOptionId::QueueId),
        name: "queue_id",
        iproute2: "queue_id",
        kind: Kind::Number {
            min: 0,
            max: 65_535,
        },
        acts_in: ModeSet::of(&[Mode::BalanceRr, Mode::ActiveBackup]),
        netlink: Some(5),
        depends: "no two ports may have the same one, 0 aside",
        help: "transmit queue whose packets go out on this port",
        spellings: Spellings {
            network_manager: &["bond-port.queue-id"],
            ifenslave: &["bond-queue-id"],
            ifcfg: &["BOND_PORT_QUEUE_ID"],
            nmstate: &["queue-id"],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Port(PortOptionId::Prio),
        name: "prio",
        iproute2: "prio",
        aliases: &["priority"],
        kind: Kind::Number {
            min: i32::MIN as i64,
            max: i32::MAX as i64,
        },
        modes: USES_PRIMARY,
        acts_in: USES_PRIMARY,
        netlink: Some(9),
        since: Some((6, 0)),
        depends: "acts while no primary is set (or the primary is not up)",
        help: "of the ports that are up, the highest is preferred as the active one",
        spellings: Spellings {
            network_manager: &["bond-port.prio"],
            ifcfg: &["BOND_PORT_PRIO"],
            nmstate: &["priority"],
            ..UNSPELT
        },
        ..BASE
    },
    OptionSpec {
        key: OptionKey::Port(PortOptionId::ActorPortPrio),
        name: "actor_port_prio",
        iproute2: "actor_port_prio",
        kind: Kind::Number {
            min: 0,
            max: 65_535,
        },
        default: "255",
        modes: LACP,
        acts_in: LACP,
        netlink: Some(10),
        since: Some((6, 18)),
        help: "LACP priority of this port; with ad_select=actor_port_prio the highest sum wins",
        ..BASE
    },
    // Ours; the driver's ports all weigh the same.
    OptionSpec {
        key: OptionKey::Port(PortOptionId::Weight),
        name: "weight",
        iproute2: "weight",
        kind: Kind::NumberOrWord {
            min: 1,
            max: 256,
            word: "auto",
        },
        default: "1",
        acts_in: ModeSet::of(&[
            Mode::BalanceRr,
            Mode::BalanceXor,
            Mode::Ieee8023ad,
            Mode::BalanceTlb,
        ]),
        depends: "in balance-tlb only with tlb_dynamic_lb=0; auto: the slowest link weighs 1",
        help: "what this port carries in proportion to the others; auto follows the speed of its link",
        ..BASE
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::spec::{Dialect, find, find_in_dialect};
    use super::*;

    #[test]
    fn every_option_has_exactly_one_entry() {
        for id in OptionId::ALL {
            assert_eq!(
                OPTIONS
                    .iter()
                    .filter(|s| s.key == OptionKey::Bond(*id))
                    .count(),
                1,
                "{id}"
            );
            assert_eq!(id.spec().name, id.name());
        }
        for id in PortOptionId::ALL {
            assert_eq!(
                OPTIONS
                    .iter()
                    .filter(|s| s.key == OptionKey::Port(*id))
                    .count(),
                1,
                "{id}"
            );
            assert_eq!(id.spec().name, id.name());
        }
        assert_eq!(OPTIONS.len(), OptionId::ALL.len() + PortOptionId::ALL.len());
    }

    #[test]
    fn no_name_and_no_number_is_used_twice() {
        let mut names = BTreeSet::new();
        let mut numbers = BTreeSet::new();
        for spec in OPTIONS {
            for name in spec.names().collect::<BTreeSet<_>>() {
                assert!(names.insert(name), "{name}");
                assert_eq!(find(name).map(|s| s.key), Some(spec.key));
                assert_eq!(find(&name.replace('_', "-")).map(|s| s.key), Some(spec.key));
            }
            if let Some(number) = spec.netlink {
                let is_new = numbers.insert((matches!(spec.key, OptionKey::Bond(_)), number));
                assert!(is_new, "{}", spec.name);
            }
        }
        // 1 to 34 without AD_INFO (23), which is read only.
        assert_eq!(numbers.iter().filter(|(bond, _)| *bond).count(), 33);
    }

    #[test]
    fn a_key_means_one_option_in_each_dialect() {
        use Dialect::*;
        for dialect in [
            Networkd,
            Netplan,
            NetworkManager,
            Ifenslave,
            Ifupdown2,
            Ifcfg,
            Nmstate,
            CloudInit,
            Module,
            Iproute2,
        ] {
            let mut keys = BTreeSet::new();
            for spec in OPTIONS {
                for key in spec.spelled(dialect) {
                    assert!(keys.insert(*key), "{dialect:?}: {key}");
                    assert_eq!(find_in_dialect(dialect, key).map(|s| s.key), Some(spec.key));
                }
            }
            assert!(keys.len() > 12, "{dialect:?}");
        }
        assert_eq!(
            find_in_dialect(Networkd, "MIIMonitorSec").map(|s| s.name),
            Some("miimon")
        );
        assert_eq!(
            find_in_dialect(Networkd, "miimonitorsec"),
            None,
            "networkd is case-sensitive"
        );
        assert_eq!(find_in_dialect(Netplan, "use_carrier"), None);
    }

    #[test]
    fn every_entry_is_complete_prose() {
        for spec in OPTIONS {
            assert!(
                !spec.help.is_empty() && !spec.help.ends_with('.'),
                "{}",
                spec.name
            );
            assert!(
                spec.acts_in.iter().all(|mode| spec.modes.contains(mode)),
                "{}",
                spec.name
            );
        }
    }
}
