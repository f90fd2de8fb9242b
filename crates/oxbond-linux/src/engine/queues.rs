//! Transmit packet steering (XPS): which transmit queue frames take that nobody has steered.
//!
//! A device with several transmit queues spreads flows over them by hash. Here queues are names that users give to frames
//! (`skbedit queue_mapping`), so what is not named belongs on the first. Only sysfs can say so. Minimum kernel version:
//! 2.6.38.

use std::fs;
use std::path::PathBuf;

use oxbond_wire::MacAddr;

use crate::netlink::Link;

/// Makes every processor send through the first transmit queue. `false` where that cannot be: no sysfs that may be
/// written, one of another network namespace, a kernel without it.
pub(super) fn keep_to_first(link: &Link) -> bool {
    let device = PathBuf::from("/sys/class/net").join(&link.name);
    let read = |file: &str| fs::read_to_string(device.join(file)).unwrap_or_default();
    // The sysfs that is mounted shows the namespace of who mounted it, where another device may have the same name.
    let same = read("ifindex").trim().parse() == Ok(link.index)
        && read("address").trim().parse::<MacAddr>().ok() == link.mac;
    let possible = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    same && mask(&possible)
        .is_some_and(|mask| fs::write(device.join("queues/tx-0/xps_cpus"), mask).is_ok())
}

/// The set of all processors in the kernel's way of writing, from a list such as `0-3`.
fn mask(possible: &str) -> Option<String> {
    let last: usize = possible.trim().rsplit([',', '-']).next()?.parse().ok()?;
    let (whole, rest) = ((last + 1) / 32, (last + 1) % 32);
    let mut words = Vec::new();
    if rest > 0 {
        words.push(format!("{:x}", (1_u32 << rest) - 1));
    }
    words.extend(std::iter::repeat_n("ffffffff".to_owned(), whole));
    Some(words.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_processors() {
        assert_eq!(mask("0\n").unwrap(), "1");
        assert_eq!(mask("0-7\n").unwrap(), "ff");
        assert_eq!(mask("0-31").unwrap(), "ffffffff");
        assert_eq!(mask("0-1,4-35").unwrap(), "f,ffffffff");
        assert_eq!(mask(""), None);
    }
}
