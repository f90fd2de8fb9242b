//! What is set of an interface under `/proc/sys/net`, for another interface.

use std::fs;
use std::path::Path;

use crate::error::KernelError;
use crate::netlink::Netlink;

const ROOMS: [&str; 4] = ["ipv4/conf", "ipv4/neigh", "ipv6/conf", "ipv6/neigh"];

/// Settings that are no mere values: a secret that can be read by nobody, the MTU, which is set otherwise, and two that make
/// and remove addresses, which whoever moves addresses sets in their turn.
const NOT_COPIED: [&str; 4] = ["stable_secret", "mtu", "disable_ipv6", "addr_gen_mode"];

/// Sets for the interface `to` what is set for `from`. Writes only what differs. Each counts as a write of `nl`.
///
/// # Errors
/// When a setting cannot be written.
pub(crate) fn copy(nl: &mut Netlink, from: &str, to: &str) -> Result<(), KernelError> {
    for room in ROOMS {
        let room = Path::new("/proc/sys/net").join(room);
        // IPv6 may be missing in the kernel, or on an interface.
        let Ok(settings) = fs::read_dir(room.join(from)) else {
            continue;
        };
        for setting in settings.flatten() {
            let target = room.join(to).join(setting.file_name());
            if NOT_COPIED.iter().any(|name| setting.file_name() == *name) {
                continue;
            }
            if let (Ok(wanted), Ok(have)) = (
                fs::read_to_string(setting.path()),
                fs::read_to_string(&target),
            ) && wanted != have
            {
                nl.count_write();
                fs::write(&target, wanted.trim())
                    .map_err(|e| KernelError::from_io("write", target.display().to_string(), &e))?;
            }
        }
    }
    Ok(())
}

/// How an interface makes its IPv6 addresses (`addr_gen_mode`); `None` where it has no IPv6.
pub(crate) fn address_generation(name: &str) -> Option<String> {
    let mode = fs::read_to_string(generation_path(name)).ok()?;
    Some(mode.trim().to_owned())
}

/// Sets [`address_generation`]. Counts as a write of `nl`.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn set_address_generation(
    nl: &mut Netlink,
    name: &str,
    mode: &str,
) -> Result<(), KernelError> {
    nl.count_write();
    let path = generation_path(name);
    fs::write(&path, mode).map_err(|e| KernelError::from_io("write", path, &e))
}

/// No address is made by itself.
pub(crate) const GENERATES_NONE: &str = "1";

fn generation_path(name: &str) -> String {
    format!("/proc/sys/net/ipv6/conf/{name}/addr_gen_mode")
}
