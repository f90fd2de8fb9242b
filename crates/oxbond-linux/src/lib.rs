//! Linux: netlink, packet sockets, namespaces, and the engines that carry a bond.
//!
//! Everything here blocks, briefly; only the descriptor of [`events::Monitor`] is meant to be waited for. Nothing reads
//! `/sys/class/net`, which shows the network namespace it was mounted in and not the one we work in: netlink, ethtool,
//! nl80211, `/proc/thread-self/net` and `/proc/sys` do not have that trap.

pub mod bpffs;
pub mod dhcp;
pub mod engine;
pub mod error;
pub mod ethtool;
pub mod events;
pub mod files;
mod genl;
pub mod guests;
pub mod hardware;
pub mod igmp;
pub mod inspect;
pub mod ipv6;
pub mod netlink;
pub mod netns;
pub mod packet;
pub mod resolver;
pub mod stack;
mod sysctl;
#[cfg(test)]
mod test_support;
pub mod wireless;
