//! What the kernel refused, said so that a person can act on it.

use std::fmt;
use std::io;

/// A request the kernel did not carry out.
///
/// Prints as `cannot <op> <object>: <reason>`, where the reason is the kernel's own extended acknowledgement if it sent
/// one and the text of the error number otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelError {
    /// What was asked, as the rest of a sentence that starts with "cannot": `set MTU 9000 of`.
    pub op: String,
    /// What it was asked of: an interface, a path, an address.
    pub object: String,
    /// The error number (positive). `EBADMSG` when the kernel's answer could not be understood.
    pub errno: i32,
    /// The kernel's explanation (`NETLINK_EXT_ACK`, Linux 4.12), when it gave one.
    pub ext_ack: Option<String>,
}

impl KernelError {
    /// An error number without further words.
    pub fn new(op: impl Into<String>, object: impl Into<String>, errno: i32) -> Self {
        Self {
            op: op.into(),
            object: object.into(),
            errno,
            ext_ack: None,
        }
    }

    /// From an I/O error; one without an error number counts as `EBADMSG` and keeps its text.
    pub fn from_io(op: impl Into<String>, object: impl Into<String>, error: &io::Error) -> Self {
        let mut own = Self::new(op, object, error.raw_os_error().unwrap_or(libc::EBADMSG));
        if error.raw_os_error().is_none() {
            own.ext_ack = Some(error.to_string());
        }
        own
    }

    /// The thing asked about does not exist (any more).
    pub fn is_gone(&self) -> bool {
        matches!(self.errno, libc::ENODEV | libc::ENXIO | libc::ENOENT)
    }

    /// The caller lacks the privilege.
    pub fn is_permission(&self) -> bool {
        matches!(self.errno, libc::EPERM | libc::EACCES)
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: ", self.op, self.object)?;
        match &self.ext_ack {
            Some(text) => write!(
                f,
                "{} ({})",
                text.trim_end_matches('.'),
                text_of(self.errno)
            )?,
            None => f.write_str(&text_of(self.errno))?,
        }
        if self.errno == libc::EPERM {
            f.write_str("; run it as root or with CAP_NET_ADMIN")?;
        }
        Ok(())
    }
}

impl std::error::Error for KernelError {}

/// The error number in words, without the "(os error n)" that [`io::Error`] adds.
fn text_of(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_failed_why_and_the_way_out() {
        let mut error = KernelError::new("set MTU 9000 of", "p0", libc::EINVAL);
        assert_eq!(
            error.to_string(),
            "cannot set MTU 9000 of p0: Invalid argument"
        );
        error.ext_ack = Some("mtu greater than device maximum".into());
        assert_eq!(
            error.to_string(),
            "cannot set MTU 9000 of p0: mtu greater than device maximum (Invalid argument)"
        );
        let error = KernelError::new("delete", "p0", libc::EPERM);
        assert!(
            error
                .to_string()
                .ends_with("run it as root or with CAP_NET_ADMIN"),
            "{error}"
        );
    }
}
