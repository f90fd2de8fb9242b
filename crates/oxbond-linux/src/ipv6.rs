//! Settings of IPv6 on an interface: on or off, and whether routers' advertisements are heard.

use std::fs;
use std::io;

use crate::error::KernelError;
use crate::netlink::Netlink;

/// Whether IPv6 is off on an interface; `None` where it has none to switch (the kernel has no IPv6, the interface is
/// gone or its MTU is below 1280 bytes).
///
/// # Errors
/// When `/proc/sys` cannot be read.
pub fn is_disabled(name: &str) -> Result<Option<bool>, KernelError> {
    read(&path_of(name))
}

fn read(path: &str) -> Result<Option<bool>, KernelError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim() != "0")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(KernelError::from_io("read", path, &error)),
    }
}

/// Whether the system forwards IPv6 for its neighbours on an interface, which is what makes it a router to them (RFC
/// 4861, section 6.2). An interface without IPv6 is none.
///
/// # Errors
/// When `/proc/sys` cannot be read.
pub fn is_router(name: &str) -> Result<bool, KernelError> {
    read(&format!("/proc/sys/net/ipv6/conf/{name}/forwarding")).map(|on| on.unwrap_or(false))
}

/// Switches IPv6 on an interface off (its addresses and routes go) or on (it gets its link-local address anew). Counts
/// as a write of `nl`. An interface without IPv6 is left alone.
///
/// # Errors
/// When `/proc/sys` cannot be written: containers often mount it read-only.
pub fn set_disabled(nl: &mut Netlink, name: &str, disabled: bool) -> Result<(), KernelError> {
    if is_disabled(name)?.is_none_or(|now| now == disabled) {
        return Ok(());
    }
    nl.count_write();
    let path = path_of(name);
    fs::write(&path, if disabled { "1" } else { "0" })
        .map_err(|e| KernelError::from_io("write", path, &e))
}

/// Whether and when an interface hears routers' advertisements (`accept_ra`): 0 never, 1 unless it forwards, 2 always.
/// `None` where it has no IPv6.
///
/// # Errors
/// When `/proc/sys` cannot be read.
pub fn accept_ra(name: &str) -> Result<Option<u8>, KernelError> {
    let path = accept_ra_path(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(KernelError::from_io("read", path, &error)),
    }
}

/// Sets [`accept_ra`]. Counts as a write of `nl`.
///
/// # Errors
/// When `/proc/sys` cannot be written, or the interface has no IPv6.
pub fn set_accept_ra(nl: &mut Netlink, name: &str, value: u8) -> Result<(), KernelError> {
    nl.count_write();
    let path = accept_ra_path(name);
    fs::write(&path, value.to_string()).map_err(|e| KernelError::from_io("write", path, &e))
}

fn accept_ra_path(name: &str) -> String {
    format!("/proc/sys/net/ipv6/conf/{name}/accept_ra")
}

/// `/proc/sys/net` shows the network namespace of whoever opens it, unlike `/sys/class/net`.
fn path_of(name: &str) -> String {
    format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
}
