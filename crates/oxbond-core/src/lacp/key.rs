//! Actor keys: which of our ports could aggregate.
//!
//! `key = user key << 6 | speed code << 1 | full duplex`, as the driver makes them, so that a partner configured against
//! the driver's keys sees the same ones.

use serde::{Deserialize, Serialize};

use crate::port::{Duplex, LinkState};

/// Which code a speed has. The driver inserted 80 Gb/s before 100 Gb/s and so moved the codes behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Numbering {
    /// 80 Gb/s is 14, 100 Gb/s is 15.
    #[default]
    Current,
    /// 100 Gb/s is 14.
    Before80G,
}

/// Speeds in Mb/s by their code, which is the index and one more; code 0 is "unknown".
const SPEEDS: [u32; 19] = [
    1, 10, 100, 1_000, 2_500, 5_000, 10_000, 14_000, 20_000, 25_000, 40_000, 50_000, 56_000,
    80_000, 100_000, 200_000, 400_000, 800_000, 1_600_000,
];

/// Place of 80 Gb/s in [`SPEEDS`].
const G80: usize = 13;

fn speed_code(speed_mbps: Option<u32>, numbering: Numbering) -> u16 {
    let index = speed_mbps.and_then(|speed| SPEEDS.iter().position(|known| *known == speed));
    let code = match (index, numbering) {
        (None, _) | (Some(G80), Numbering::Before80G) => 0,
        (Some(index), Numbering::Before80G) if index > G80 => index,
        (Some(index), _) => index + 1,
    };
    code as u16
}

/// The key of a port with this link. A link whose driver does not tell the duplex counts as full: it is a virtual one
/// (the driver would refuse it).
pub fn actor_key(user_key: u16, link: &LinkState, numbering: Numbering) -> u16 {
    let full = u16::from(link.duplex != Duplex::Half);
    (user_key & 0x3ff) << 6 | speed_code(link.speed_mbps, numbering) << 1 | full
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: u16, speed: u32, duplex: Duplex, numbering: Numbering) -> u16 {
        let link = LinkState {
            speed_mbps: Some(speed),
            duplex,
            ..LinkState::default()
        };
        actor_key(user, &link, numbering)
    }

    /// Measured on the driver: 15 for 10 Gb/s and 9 for 1 Gb/s; 100 Gb/s by reading, before and after.
    #[test]
    fn as_the_driver_makes_them() {
        use Numbering::{Before80G, Current};
        for (speed, current, before) in [
            (10, 5, 5),
            (1_000, 9, 9),
            (10_000, 15, 15),
            (56_000, 27, 27),
            (80_000, 29, 1),
            (100_000, 31, 29),
            (1_600_000, 39, 37),
            (12_345, 1, 1),
        ] {
            assert_eq!(key(0, speed, Duplex::Full, Current), current, "{speed}");
            assert_eq!(key(0, speed, Duplex::Full, Before80G), before, "{speed}");
        }
        assert_eq!(key(0, 1_000, Duplex::Half, Current), 8);
        assert_eq!(key(1, 1_000, Duplex::Full, Current), 64 + 9);
        assert_eq!(key(1023, 10_000, Duplex::Full, Current), 0xffc0 + 15);
        assert_eq!(key(0, 10_000, Duplex::Unknown, Current), 15);
    }
}
