//! Every rule there is, described once: its code, how bad it is, what it says and why it matters. Messages, `oxbond lint
//! --rules` and `--explain`, SARIF and `docs/lint.md` read this list; nothing else lists rules.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Severity;

/// A rule, with all that is to be told about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its code.
    pub code: Code,
    /// How bad a breach of it is, unless the dialect's own tool makes it milder or worse.
    pub severity: Severity,
    /// What is wrong, in a line.
    pub title: &'static str,
    /// Why it bites, and what to do. One paragraph.
    pub why: &'static str,
}

macro_rules! rules {
    ($( $variant:ident = $word:literal, $severity:ident, $title:literal, $why:literal; )+) => {
        /// The code of a rule: a stable word to search for, to filter by and to allow.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $(
                #[doc = concat!($title, ".")]
                #[serde(rename = $word)]
                $variant,
            )+
        }

        impl Code {
            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The rule.
            pub const fn rule(self) -> &'static Rule {
                // The list is in the order of the enum.
                &RULES[self as usize]
            }

            /// The rule with this word.
            pub fn find(word: &str) -> Option<Self> {
                RULES.iter().map(|rule| rule.code).find(|code| code.as_str() == word)
            }
        }

        /// Every rule.
        pub const RULES: &[Rule] = &[$(
            Rule { code: Code::$variant, severity: Severity::$severity, title: $title, why: $why },
        )+];
    };
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

rules! {
    Unreadable = "unreadable", Error, "a file or directory cannot be read",
        "What is not read is not checked, and its own tool may be unable to read it too. Correct the path, run as a user \
         who may read the file, or save it as UTF-8.";
    Syntax = "syntax", Error, "the text does not follow the grammar",
        "Most tools give up the whole file over one broken line, and the machine starts without the network that the file \
         describes. Correct the place that is marked.";
    UnknownKey = "unknown-key", Error, "nobody knows this key here",
        "A misspelt option is not an option: netplan refuses the file, systemd-networkd warns in the journal, ifupdown says \
         nothing at all, and the bond runs with the default. Correct the spelling, or remove the line.";
    MisplacedKey = "misplaced-key", Warning, "the key stands where it means nothing",
        "The key exists, but not in this section or at this device, so its tool ignores it or refuses the file. Move it to \
         where it belongs.";
    MissingKey = "missing-key", Error, "something is missing without which there is no device",
        "A VLAN without a number, a bond without a name: the tool makes nothing of it, mostly with a line in a log that nobody \
         reads. Add the key that the message names.";
    DuplicateKey = "duplicate-key", Error, "the same is given twice",
        "Of two values one is lost, and which one depends on the tool: systemd and NetworkManager keep the last, ifupdown the \
         first, our own dialect refuses the file. Keep one of them.";
    WrongType = "wrong-type", Error, "a value of the wrong kind",
        "A table where a number belongs, or a number where a text does, cannot be taken over. Write the kind of value that \
         the message names.";
    WrongValue = "wrong-value", Error, "a value that is not allowed",
        "Tools that meet such a value mostly ignore the line and run on the default, so the option silently is not set. \
         Write one of the values that the message names.";
    NumberForWord = "number-for-word", Error, "a number where only words are known",
        "The kernel, ifenslave and NetworkManager take the number of a mode or policy for its name; systemd-networkd and \
         netplan do not: networkd ignores the line, so that the bond becomes balance-rr, and netplan refuses the file. Write \
         the word.";
    InvalidName = "invalid-name", Error, "no network interface can have this name",
        "The kernel takes at most 15 bytes, without blanks, slashes, colons and percent signs. The device is not made at all. \
         Choose a shorter or plainer name; long VLAN names such as enp129s0f0np0.1234 are the usual case.";
    InlineComment = "inline-comment", Error, "a comment behind a value becomes part of the value",
        "In these files a comment is a line of its own. Behind a value '#' is part of the value: NetworkManager drops the \
         option, systemd-networkd ignores the line, ifupdown2 leaves the bond in balance-rr; only ifenslave happens to work, \
         as the kernel reads the first word alone. Put the comment on the line above.";
    HiddenFile = "hidden-file", Warning, "another file hides this one",
        "A file of the same name (or a profile of the same UUID) in a directory of higher rank replaces this one as a whole, \
         so nothing in it counts. Remove it, or rename it if it is meant to add to the other.";
    ToolIgnores = "tool-ignores", Warning, "the dialect's own tool ignores this",
        "The option is real and the line looks right, but the tool that reads this file has no code for it and says nothing: \
         ifenslave for instance has no bond-min-links. The bond runs on the default. Set it by other means, or let Oxbond \
         run the bond, which acts on it where it can be converted.";
    DeprecatedKey = "deprecated-key", Warning, "the key is outdated",
        "It works for now and will be gone with a later release of the tool. Write the key that the message names.";
    NotInMode = "not-in-mode", Error, "the mode does not have this option",
        "The kernel refuses the option in this mode. Some tools then make no bond at all, others leave the option out without \
         a word. Remove the option, or choose the mode it belongs to.";
    BeyondDriver = "beyond-driver", Error, "the kernel's driver does not have this option",
        "With engine = \"kernel\" a bond is the kernel driver's, which lacks some options that our own engine has: weights of \
         ports, lacp_fallback, ARP monitoring in 802.3ad among them. Leave the engine out and Oxbond takes one that has all \
         that is asked for, or remove the option.";
    NoEffect = "no-effect", Warning, "the option has no effect in this mode",
        "The kernel stores it and never looks at it, for example a transmit hash in active-backup. Whoever reads the file \
         believes in something that does not happen. Remove it, or choose a mode in which it acts.";
    Conflict = "conflict", Error, "options that exclude or need each other",
        "The set cannot be in force as a whole; tools apply a part of it, in an order of their own. Resolve it as the message \
         says.";
    ModeMissing = "mode-missing", Warning, "no mode is given, which means balance-rr",
        "The default of the kernel and of every tool is balance-rr, which needs a static link aggregation on the switch and \
         reorders packets; hardly anybody wants it. Write the mode, even if it is balance-rr: active-backup needs nothing of \
         the switch, 802.3ad needs LACP there.";
    SwitchConfig = "switch-config", Info, "the mode works only with a matching switch configuration",
        "balance-rr, balance-xor and broadcast need all ports in one static aggregation (Cisco: channel-group mode on) on one \
         switch or an MLAG pair; without it the same address is seen on several switch ports, and traffic is lost or \
         duplicated. 802.3ad needs LACP (channel-group mode active); without it one link carries everything. Configure the \
         switch so, or take active-backup, which needs nothing.";
    Reordering = "reordering", Info, "balance-rr delivers packets out of order",
        "Packets of one connection take turns on links that are never equally fast, so TCP sees them out of order, takes that \
         for loss and slows down; one connection over two links often gets less than over one. Use 802.3ad or balance-xor \
         unless the application is known to cope.";
    NoMonitor = "no-monitor", Warning, "nothing watches the links",
        "Without miimon and arp_interval the kernel never notices that a link died in balance-rr, active-backup, balance-xor \
         and broadcast, so the bond never fails over: that is the default of the kernel, systemd-networkd, netplan and \
         ifupdown. Set miimon to 100.";
    TwoMonitors = "two-monitors", Error, "both monitors are on, and only one can be",
        "The kernel has either MII or ARP monitoring. With both given NetworkManager and ifenslave drop ARP, nmstate and \
         wicked refuse, ifupdown2 drops both, and by sysfs the last one written wins. Keep the one that is meant.";
    SecondsForMilliseconds = "seconds-for-milliseconds", Error, "a bare number counts seconds here",
        "systemd takes a bare number for seconds: MIIMonitorSec=100 looks at the links every 100 seconds, so a failover takes \
         up to 100 seconds instead of a tenth. Write the unit: 100ms.";
    SlowMonitor = "slow-monitor", Warning, "the links are looked at too seldom",
        "A dead link goes unnoticed for as long as the interval, and connections time out meanwhile. 100 ms is usual, above a \
         second is rarely meant. Lower it.";
    FastMonitor = "fast-monitor", Warning, "the links are looked at too often",
        "Below 10 ms the poll costs processor time and a link that settles is taken for one that flaps; mostly a number of \
         seconds was written where milliseconds count. 100 is usual.";
    DelayWithoutMiimon = "delay-without-miimon", Error, "a delay without the monitor it counts in",
        "updelay, downdelay and peer_notif_delay count monitor intervals. Without miimon the kernel refuses them. Set miimon, \
         or remove the delay.";
    Adapted = "adapted", Warning, "the value in use is another than the one written",
        "Delays are rounded down to whole monitor intervals: an updelay of 150 with a miimon of 100 is 100, and one of 20 is \
         none at all. Write a multiple of miimon.";
    ArpWithoutTarget = "arp-without-target", Error, "ARP monitoring without an address to ask",
        "Without a target nobody is asked, no answer comes, and every port counts as down (the bond loses its carrier) or \
         NetworkManager refuses the profile. Name the gateway and one more host that always answers, or use miimon.";
    ArpOff = "arp-off", Warning, "options of ARP monitoring, which is off",
        "Targets and validation act only while arp_interval is above 0; NetworkManager refuses such a profile. Set \
         arp_interval, or remove the options.";
    ArpOneTarget = "arp-one-target", Info, "a single target judges every link",
        "When that one host is down or rebooted, all ports seem dead at once and the bond has no carrier. Name a second \
         target that does not share its fate.";
    ArpTargetOwn = "arp-target-own", Error, "an ARP target is an address of this host",
        "Nobody on the wire answers for an address that is our own, so every port counts as down. Name the gateway instead.";
    ArpTargetOffLink = "arp-target-off-link", Warning, "an ARP target is in none of the bond's networks",
        "ARP does not cross a router: without a route by way of the bond (or a VLAN on it) to the target the question is not \
         even sent. Name a host of the bond's own network.";
    HashOneLink = "hash-one-link", Warning, "the hash puts all routed traffic on one link",
        "layer2, the default, chooses the link by the MAC addresses. All traffic to a gateway has the same two, so it takes \
         one link and the others idle. Set xmit_hash_policy to layer2+3 or layer3+4.";
    HashNotStrict = "hash-not-strict", Info, "the hash is not strictly conforming to 802.3ad",
        "layer3+4 and encap3+4 send fragments of a packet (which have no ports) by another link than the rest, so they may \
         arrive out of order, which the standard forbids. Mostly harmless and faster; layer2+3 is strict.";
    HashVlanSrcmac = "hash-vlan-srcmac", Warning, "vlan+srcmac gives each guest one link, and a host without guests one in all",
        "The hash looks at VLAN and source address only. For a host that speaks with one address all is on one link per VLAN; \
         it is meant for a bridge with many guests, in balance-xor. Take layer2+3 or layer3+4 otherwise.";
    LacpMinLinks = "lacp-min-links", Info, "the bond stays up without any link that LACP agreed on",
        "With min_links 0 the driver keeps the carrier as long as an aggregator has a port, even one without a partner: a \
         black hole for what stands on the bond. Set min_links to 1, or to as many links as the traffic needs.";
    LacpSlow = "lacp-slow", Info, "a silent link is noticed after 90 seconds",
        "With lacp_rate slow, the default, the partner sends every 30 s and is given up after 90 s. A link that is up and \
         carries nothing loses its share of the traffic for so long. Set lacp_rate to fast (3 s), if the switch can.";
    MinLinksUnreachable = "min-links-unreachable", Error, "min_links is more than there are ports",
        "The bond never gets a carrier. Lower min_links, or add ports.";
    NoPorts = "no-ports", Warning, "the bond has no ports",
        "Nothing is sent or received. Usually the ports are named in a file that was not given, by a pattern, or under a key \
         that the tool does not know. Name them.";
    OnePort = "one-port", Info, "the bond has one port only",
        "One cable, one failure: nothing is gained yet. Add a second port, or take it for the preparation that it may be.";
    NotAPort = "not-a-port", Error, "a port that is not in the bond",
        "primary names an interface that is not among the ports, so the kernel refuses it or it never acts. Correct the name, \
         or add the port.";
    ReselectWithoutPrimary = "reselect-without-primary", Warning, "primary_reselect without a primary",
        "It says when the primary port is taken again; without a primary it never acts. Name the primary, or remove it.";
    FailbackAtOnce = "failback-at-once", Info, "the primary is used again the moment its link is up",
        "A switch port often blocks for seconds after its link came up (spanning tree, boot), so switching back at once costs \
         a second outage. Set updelay to what the switch needs (a few seconds to 30), or primary_reselect to failure.";
    DuplicatePort = "duplicate-port", Error, "a port is named twice",
        "It can be in the bond once only. Remove one of the two, and look whether another port was meant.";
    PortInTwoBonds = "port-in-two-bonds", Error, "an interface is a port of two bonds",
        "Whichever bond takes it first has it; the other lacks it, and after the next start it may be the other way round. \
         Remove it from one of them.";
    PortInBondAndBridge = "port-in-bond-and-bridge", Error, "an interface is a port of a bond and of a bridge",
        "An interface has one master. Put the bond into the bridge, not its ports.";
    BridgePortTwice = "bridge-port-twice", Error, "an interface is a port of two bridges",
        "An interface has one master. Use VLANs on it, one in each bridge, or one VLAN-aware bridge.";
    StackingLoop = "stacking-loop", Error, "a device stands on itself",
        "A bond that is its own port, a bond in a bond, or a VLAN in the bond that it stands on: the kernel refuses them. Name \
         the interface that is meant.";
    DuplicateDevice = "duplicate-device", Error, "two devices have the same name",
        "Only one of them is made; which one depends on the order of the files. Rename one, or put both into one.";
    UndefinedReference = "undefined-reference", Error, "a device is named that nothing defines",
        "The tool cannot connect the two: the port stays outside of the bond, or the whole file is refused. Correct the name, \
         or give the file that defines it.";
    TwoManagers = "two-managers", Error, "two tools manage one interface",
        "Both set it up at the start: one enslaves it, the other asks for an address on it or takes it out of the bond again, \
         and which wins is a race. Leave it in the files of one tool, and tell the other to keep off (unmanaged).";
    MissingInterface = "missing-interface", Warning, "this machine has no such interface",
        "The bond comes up without the port, and nobody notices until the other link dies. Correct the name (ip link shows \
         them), or plug it in.";
    MixedSpeeds = "mixed-speeds", Warning, "the ports are not equally fast",
        "802.3ad takes the ports of one speed only and leaves the others idle; the balancing modes overload the slow one; \
         active-backup may run on the slow one unless a primary is set. Use equal links, or name the fastest as primary.";
    UnknownSpeed = "unknown-speed", Warning, "a port does not tell its speed",
        "Virtual interfaces (virtio, veth) report none. LACP puts ports of unknown speed or half duplex into no aggregation, \
         so they stay alone. Set a speed with ethtool -s, or use active-backup.";
    PortAddressed = "port-addressed", Warning, "a port of a bond has addresses of its own",
        "What arrives on a port belongs to the bond, so an address or a DHCP client on the port gets no answers, and its \
         routes point into nowhere; NetworkManager and nmstate refuse it, systemd-networkd ignores the lines. Move them to \
         the bond.";
    PortMtu = "port-mtu", Warning, "a port has another MTU than its bond",
        "The ports take the bond's MTU when they join, so what is written for the port is lost; larger frames then vanish \
         without an error. Write the MTU for the bond.";
    MtuAboveLower = "mtu-above-lower", Error, "a device has a larger MTU than what it stands on",
        "Frames that fit the VLAN do not fit the bond below: the kernel cuts the value or refuses it. Raise the MTU below.";
    VlanOnPort = "vlan-on-port", Error, "a VLAN stands on a port of a bond",
        "What arrives on the port is given to the bond first, so the VLAN gets nothing. Put the VLAN on the bond.";
    VlanTwice = "vlan-twice", Error, "one VLAN of a device is made twice",
        "The kernel allows one device for each VLAN number of a device; the second fails. Correct the number.";
    FailOverMacWithMac = "fail-over-mac-with-mac", Warning, "a fixed address under fail_over_mac=active",
        "With fail_over_mac=active the bond takes the address of its active port at each failover, so a fixed one does not \
         last; nmstate refuses the pair. Remove the address, or take fail_over_mac=follow or none.";
    BalancingUnderBridge = "balancing-under-bridge", Warning, "the mode rewrites addresses of what is behind the bridge",
        "balance-tlb and balance-alb send with the addresses of their ports. Guests behind a bridge have addresses of their \
         own, which switches then see move from port to port; guests lose connections. Use active-backup, 802.3ad or \
         balance-xor under a bridge.";
    DuplicatesDelivered = "duplicates-delivered", Warning, "frames of inactive ports are delivered too",
        "With all_slaves_active each broadcast arrives once for every port, which doubles packets and upsets DHCP and \
         duplicate address detection. Leave it 0 unless a protocol needs it.";
    NoAnnouncement = "no-announcement", Warning, "nobody is told of a failover",
        "With num_grat_arp 0 switches and neighbours go on sending to the dead port until their tables age out, which takes \
         minutes. Leave it at 1 or more.";
    ObsoleteOption = "obsolete-option", Warning, "the kernel no longer listens to this option",
        "use_carrier has had no other value than 1 since kernel 6.18, and drivers without carrier are long gone. Remove it.";
    GatewayOffLink = "gateway-off-link", Warning, "no address reaches the gateway",
        "The kernel refuses a gateway that is in no network of the device, so there is no default route. Correct the gateway, \
         or the length of the prefix.";
    TwoGateways = "two-gateways", Warning, "two devices have a default gateway",
        "Without metrics the kernel keeps the one that came first or both with equal rights, and answers leave by the other \
         way than the questions came. Keep one, or give metrics or tables.";
    DuplicateAddress = "duplicate-address", Error, "two devices have the same address",
        "Both answer for it, with different addresses of their hardware. Correct one of them.";
    SameNetworkTwice = "same-network-twice", Warning, "two devices are in the same network",
        "Linux answers ARP for either on both and sends all by the first, so the second carries nothing, and a dead link is \
         not routed around. Put the ports into one bond, or give the devices different networks.";
    AddressNotHost = "address-not-host", Error, "an address that no host of its network has",
        "The first address of a network names the network and the last is its broadcast address; other hosts drop what comes \
         from them. Correct the last number.";
    BridgePortAddressed = "bridge-port-addressed", Warning, "a port of a bridge has addresses of its own",
        "What arrives on the bond belongs to the bridge, so the bond's own addresses get no answers. Move them to the bridge.";
    BridgeDelay = "bridge-delay", Info, "the bridge forwards nothing for some time after the start",
        "With STP a port listens and learns before it forwards, each for the forward delay: 30 seconds in all by default, in \
         which DHCP and guests get no answer. With a single way out set STP off; then a port forwards at once.";
    BridgeDelayRefused = "bridge-delay-refused", Warning, "STP does not work with this forward delay",
        "With STP the kernel takes a delay of 2 to 30 seconds only, and 0 is meant for bridges without it. Turn STP off, or \
         write a delay in that range.";
    VidsWithoutFiltering = "vids-without-filtering", Warning, "VLANs of a bridge that does not look at tags",
        "VIDs and the PVID count only in a VLAN-aware bridge; without it every port carries all. Make the bridge VLAN-aware.";
    BondMasterUnknown = "bond-master-unknown", Error, "ifupdown2 does not know bond-master",
        "In ifenslave a port may name its bond; ifupdown2 ignores the line, and the bond comes up empty. List the ports in \
         bond-slaves of the bond.";
    BareIface = "bare-iface", Error, "ifupdown refuses an iface without family and method",
        "ifupdown2 takes 'iface bond0' alone; the classic ifupdown then refuses the whole file, and the machine starts \
         without any network. Write 'iface bond0 inet manual'.";
    NotStarted = "not-started", Warning, "nothing brings the device up at the start",
        "Without 'auto' (or 'allow-hotplug') the stanza is only a recipe for ifup by hand. Write 'auto NAME'.";
    SuffixUnderNm = "suffix-under-nm", Error, "netplan hands the unit to NetworkManager, which knows none",
        "With the renderer networkd a unit is understood; with NetworkManager netplan copies the text, NetworkManager drops \
         '1s' as invalid, and its default of 100 ms is used. Write bare milliseconds.";
    ZeroLost = "zero-lost", Warning, "netplan does not pass a zero on",
        "For this option netplan writes nothing when it is 0, so the default of the kernel stays. Zero cannot be had by way \
         of netplan; leave it out, or use a file of systemd-networkd.";
    LpIntervalUnsent = "lp-interval-unsent", Warning, "systemd-networkd does not send this without ARP monitoring",
        "It sends the learning interval only beside ARPIntervalSec=, which the modes that use the interval do not have. The \
         default of 1 s stays. Remove it, or set it by other means.";
    MadeUpMac = "made-up-mac", Info, "systemd-networkd makes up a hardware address for the bond",
        "Without MACAddress= the bond gets a generated address instead of its first port's, so DHCP reservations and port \
         security of the switch do not match. Write MACAddress=none to have a port's, or the address that is wanted.";
    MatchByMac = "match-by-mac", Warning, "a port is found by an address that the bond changes",
        "Once enslaved a port has the bond's address, so MACAddress= no longer fits it after a restart of the daemon. Write \
         PermanentMACAddress=.";
    PortPattern = "port-pattern", Info, "ports are chosen by a pattern",
        "A pattern takes every interface that fits, also the one that is plugged in next year, a VLAN on the bond or the bond \
         itself. Name the ports one by one.";
    WorldReadable = "world-readable", Warning, "everyone may read the file",
        "These files may hold secrets (Wi-Fi, 802.1X): netplan warns about it at each start, and NetworkManager refuses the \
         profile, so the bond does not come up. chmod 600, owner root.";
    StrayBond0 = "stray-bond0", Warning, "loading the module makes a bond0 that nobody asked for",
        "Unless max_bonds is 0 the module makes bond0 in balance-rr when it is loaded, which then has the name that your own \
         bond wants. Write options bonding max_bonds=0.";
    ModuleParameter = "module-parameter", Error, "the kernel module has no such parameter",
        "modprobe hands it over, and the module ignores it with a line in the kernel's log or does not load. Set the option \
         for the bond, in the files of the tool that makes it.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_and_well_formed() {
        for (index, rule) in RULES.iter().enumerate() {
            let word = rule.code.as_str();
            assert_eq!((rule.code as usize, rule.code.rule()), (index, rule));
            assert_eq!(Code::find(word), Some(rule.code));
            assert!(
                word.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{word}"
            );
            assert!(
                !rule.title.ends_with('.') && rule.why.ends_with('.') && rule.why.len() > 60,
                "{word}"
            );
            assert_eq!(serde_json::to_value(rule.code).unwrap(), word);
        }
    }
}
