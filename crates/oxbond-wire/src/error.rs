//! Why bytes were refused.

/// Why bytes are not the frame a parser expected. The peer (or the wire) is to blame, never the caller: count it by
/// variant and go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the field does.
    #[error("{what} is cut short: {need} bytes needed, {have} there")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes it needs.
        need: usize,
        /// Bytes there are.
        have: usize,
    },
    /// A field holds a value this frame cannot have.
    #[error("{field} is {found:#x}, expected {expected:#x}")]
    Unexpected {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: u32,
        /// What it is.
        found: u32,
    },
    /// A length inside the frame points outside it or is zero where it cannot be.
    #[error("{field} is {value}, which does not fit the frame")]
    Length {
        /// The field.
        field: &'static str,
        /// Its value.
        value: usize,
    },
    /// The checksum over the message is wrong.
    #[error("wrong checksum of {what}")]
    Checksum {
        /// Message it belongs to.
        what: &'static str,
    },
    /// An address of the wrong kind (a group where one station is meant).
    #[error("{field} is not the address of one station")]
    Address {
        /// The field.
        field: &'static str,
    },
}
