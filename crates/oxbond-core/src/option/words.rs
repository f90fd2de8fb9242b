//! Options whose values are words: each word, its number and its meaning stand here once.

/// One value of an option that takes words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// As written in sysfs, netlink tools and our own files.
    pub name: &'static str,
    /// The number that means the same wherever numbers are accepted.
    pub code: u8,
    /// What it does, in one line.
    pub help: &'static str,
    /// Oldest kernel whose driver knows it, where it came later than the option.
    pub since: Option<(u8, u8)>,
}

/// Declares an enum together with its table of words, so that neither can be changed without the other.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $( $variant:ident = $code:literal, $word:literal, $help:literal $(, since $major:literal $minor:literal)? ; )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[repr(u8)]
        pub enum $name {
            $(
                #[doc = concat!("`", $word, "` (", $code, "): ", $help, ".")]
                #[serde(rename = $word)]
                $variant = $code,
            )+
        }

        impl $name {
            /// Every value, in order of the numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The words, in order of the numbers.
            pub const WORDS: &'static [Word] = &[
                $(Word {
                    name: $word,
                    code: $code,
                    help: $help,
                    since: words!(@since $($major $minor)?),
                }),+
            ];

            /// The number that stands for this value in netlink, sysfs and module parameters.
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The word.
            pub const fn word(self) -> &'static str {
                Self::WORDS[self as usize].name
            }

            /// The value a number stands for.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.word())
            }
        }
    };
    (@since) => { None };
    (@since $major:literal $minor:literal) => { Some(($major, $minor)) };
}

words! {
    /// How a bond uses its ports.
    pub enum Mode {
        BalanceRr = 0, "balance-rr", "each packet on the next port";
        ActiveBackup = 1, "active-backup", "one port carries everything, the others wait";
        BalanceXor = 2, "balance-xor", "each flow on one port, chosen by hash";
        Broadcast = 3, "broadcast", "every packet on every port";
        Ieee8023ad = 4, "802.3ad", "link aggregation negotiated with LACP, flows chosen by hash";
        BalanceTlb = 5, "balance-tlb", "transmit load balanced, all received on one port";
        BalanceAlb = 6, "balance-alb", "transmit and receive load balanced without help of the switch";
    }
}

impl Mode {
    /// One port has the active role: active-backup, balance-tlb, balance-alb.
    pub const fn has_active_port(self) -> bool {
        matches!(
            self,
            Self::ActiveBackup | Self::BalanceTlb | Self::BalanceAlb
        )
    }
}

words! {
    /// Which header fields decide the port of a frame. Formulas: [`crate::hash`].
    pub enum HashPolicy {
        Layer2 = 0, "layer2", "link-layer addresses and EtherType";
        Layer34 = 1, "layer3+4", "IP addresses and ports";
        Layer23 = 2, "layer2+3", "link-layer and IP addresses";
        Encap23 = 3, "encap2+3", "like layer2+3, of the innermost headers of a tunnel";
        Encap34 = 4, "encap3+4", "like layer3+4, of the innermost headers of a tunnel";
        VlanSrcMac = 5, "vlan+srcmac", "VLAN tag and source link-layer address", since 5 12;
    }
}

words! {
    /// Which address the bond and its ports have in mode active-backup.
    pub enum FailOverMac {
        None = 0, "none", "every port takes the bond's address";
        Active = 1, "active", "the bond takes the active port's address";
        Follow = 2, "follow", "the active port has the bond's address, the others keep their own";
    }
}

words! {
    /// When the primary port (or a port of higher priority) takes over from a working active port.
    pub enum PrimaryReselect {
        Always = 0, "always", "as soon as it is up";
        Better = 1, "better", "only if it is faster (or equally fast with better duplex)";
        Failure = 2, "failure", "only when the active port fails";
    }
}

words! {
    /// Which ports' ARP and NS answers are checked.
    pub enum ArpValidate {
        None = 0, "none", "any traffic keeps a port alive";
        Active = 1, "active", "check on the active port";
        Backup = 2, "backup", "check on the backup ports";
        All = 3, "all", "check on every port";
        Filter = 4, "filter", "only ARP and NS traffic counts, unchecked";
        FilterActive = 5, "filter_active", "only ARP and NS traffic counts, checked on the active port";
        FilterBackup = 6, "filter_backup", "only ARP and NS traffic counts, checked on the backup ports";
    }
}

impl ArpValidate {
    /// Whether answers are checked on the active port, or on the others.
    pub const fn checks(self, active: bool) -> bool {
        let role = if active {
            Self::Active.code()
        } else {
            Self::Backup.code()
        };
        self.code() & role != 0
    }
}

words! {
    /// How many of the ARP targets must answer.
    pub enum ArpAllTargets {
        Any = 0, "any", "one target that answers is enough";
        All = 1, "all", "every target must answer";
    }
}

words! {
    /// How often the LACP partner is asked to send.
    pub enum LacpRate {
        Slow = 0, "slow", "every 30 seconds";
        Fast = 1, "fast", "every second";
    }
}

words! {
    /// Which aggregator of an 802.3ad bond is used.
    pub enum AdSelect {
        Stable = 0, "stable", "keep the one in use while it works, else the most bandwidth";
        Bandwidth = 1, "bandwidth", "always the most bandwidth";
        Count = 2, "count", "always the most ports";
        ActorPortPrio = 3, "actor_port_prio", "always the highest sum of port priorities", since 6 18;
    }
}

words! {
    /// What carries traffic while no port of an 802.3ad bond has a partner. The first LACPDU on any port ends it on all of
    /// them.
    pub enum Fallback {
        Strict = 0, "strict", "nothing, as the standard says";
        ActiveBackup = 1, "active-backup", "one port, the one of the lowest actor_port_prio, and another one when its link goes";
        Individual = 2, "individual", "every port by itself: for peers that boot from whichever port, never into one network";
    }
}

words! {
    /// Value of options written `off` and `on`.
    pub enum Switch {
        Off = 0, "off", "not in use";
        On = 1, "on", "in use";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `word()` indexes the table by number, which needs the table gapless and in order.
    #[test]
    fn tables_are_gapless() {
        for words in [
            Mode::WORDS,
            HashPolicy::WORDS,
            FailOverMac::WORDS,
            PrimaryReselect::WORDS,
            ArpValidate::WORDS,
            ArpAllTargets::WORDS,
            LacpRate::WORDS,
            AdSelect::WORDS,
            Fallback::WORDS,
            Switch::WORDS,
        ] {
            for (index, word) in words.iter().enumerate() {
                assert_eq!(usize::from(word.code), index, "{}", word.name);
            }
        }
    }
}
