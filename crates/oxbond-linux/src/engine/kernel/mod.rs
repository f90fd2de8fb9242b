//! The kernel engine: bonds of the kernel's own driver, read and steered over rtnetlink.
//!
//! ```text
//!   rtnetlink: one dump of links ─┐
//!   ethtool: speed and duplex ────┤
//!   /proc/net/bonding/NAME ───────┼──► read ──► Picture ──► oxbond_core::driver
//!   rtnetlink: LACP counters ─────┘
//! ```

mod belongings;
mod change;
mod difference;
mod engine;
mod presence;
mod proc_text;
mod random_mac;
mod read;

pub use change::{Keep, Scene};
pub use engine::{KernelEngine, KernelPort, KernelRecord};
pub use presence::{Presence, presence, release};
pub use read::{picture, pictures, pictures_of};
