//! The control API: what clients and daemon say to each other, and each one's end of the socket.

pub(crate) mod client;
pub(crate) mod protocol;
pub(crate) mod server;
