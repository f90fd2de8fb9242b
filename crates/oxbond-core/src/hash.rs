//! The transmit hash (filled in a later commit).
