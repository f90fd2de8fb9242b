//! Changes of interfaces and addresses as the kernel reports them.
//!
//! A [`Monitor`] is a non-blocking descriptor: wait until it is readable, then call [`Monitor::next`] until it returns
//! `None`. Linkwatch in the kernel may hold a link event back for up to a second when a port flaps, so events do not
//! replace the MII poll.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::error::KernelError;
use crate::netlink::{
    Address, DEL_LINK, Failure, Link, Messages, NEW_LINK, named, parse, retry_interrupted,
};

/// `RTNLGRP_LINK`, `RTNLGRP_IPV4_IFADDR`, `RTNLGRP_IPV6_IFADDR`.
const GROUPS: [u32; 3] = [1, 5, 9];

/// Room for events nobody has read yet. A link message is about 1.5 kB and costs the queue twice that; 8 MiB hold the
/// changes of some thousand interfaces at once (a large host starting its containers).
const QUEUE_BYTES: usize = 8 << 20;

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An interface appeared or any of its properties changed. The whole new state.
    Link(Box<Link>),
    /// An interface is gone from this namespace (deleted, unplugged or moved away).
    LinkGone {
        /// The index it had.
        index: u32,
        /// The name it had.
        name: String,
    },
    /// An address came, changed or went.
    Address(AddressChange),
    /// Events were lost because nobody read them in time: read everything anew.
    Overrun,
}

/// An address came, changed or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressChange {
    /// The address.
    pub address: Address,
    /// It went.
    pub gone: bool,
}

/// A subscription to the changes of one network namespace.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    pending: VecDeque<Notice>,
}

impl Monitor {
    /// Subscribes in the calling thread's network namespace. Changes from now on are seen; read the state after this.
    ///
    /// # Errors
    /// When the system has no more sockets to give.
    pub fn open() -> Result<Self, KernelError> {
        Self::open_with_queue(QUEUE_BYTES)
    }

    fn open_with_queue(bytes: usize) -> Result<Self, KernelError> {
        let failed = |e: io::Error| KernelError::from_io("subscribe to", "link events", &e);
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
        let fd = socket_fd(&socket);
        // Beyond the system's limit only with CAP_NET_ADMIN; without it the limit has to do.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(fd, bytes).is_err() {
            rustix::net::sockopt::set_socket_recv_buffer_size(fd, bytes)
                .map_err(|e| failed(e.into()))?;
        }
        socket.bind(&SocketAddr::new(0, 0)).map_err(failed)?;
        for group in GROUPS {
            socket.add_membership(group).map_err(failed)?;
        }
        socket.set_non_blocking(true).map_err(failed)?;
        Ok(Self {
            socket,
            pending: VecDeque::new(),
        })
    }

    /// The next change; `None` when there is none to read now.
    ///
    /// # Errors
    /// When the kernel sends what cannot be understood; the message is then skipped.
    #[expect(
        clippy::should_implement_trait,
        reason = "None is not the end: the next event may come later"
    )]
    pub fn next(&mut self) -> Result<Option<Notice>, KernelError> {
        loop {
            if let Some(notice) = self.pending.pop_front() {
                return Ok(Some(notice));
            }
            let (datagram, sender) = match retry_interrupted(|| self.socket.recv_from_full()) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Some(Notice::Overrun));
                }
                Err(error) => return Err(KernelError::from_io("receive", "link events", &error)),
            };
            if sender.port_number() != 0 {
                continue; // Only the kernel is port 0.
            }
            for message in Messages::new(&datagram) {
                let notice = message
                    .and_then(|message| notice_of(message.message_type(), message.payload()));
                self.pending
                    .extend(notice.map_err(|failure| named(failure, "read", "a link event"))?);
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        socket_fd(&self.socket)
    }
}

fn socket_fd(socket: &Socket) -> BorrowedFd<'_> {
    // SAFETY: the descriptor stays open as long as the socket, which the returned value borrows.
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}

fn notice_of(kind: u16, body: &[u8]) -> Result<Option<Notice>, Failure> {
    // Bridges report their ports with the same message types under their own family; a port leaving its bridge
    // would look like an interface that is gone.
    let is_link = matches!(kind, NEW_LINK | DEL_LINK);
    if is_link && body.first() != Some(&u8::from(AddressFamily::Unspec)) {
        return Ok(None);
    }
    if is_link {
        let link = Link::read(body)?;
        return Ok(Some(match kind {
            NEW_LINK => Notice::Link(Box::new(link)),
            _ => Notice::LinkGone {
                index: link.index,
                name: link.name,
            },
        }));
    }
    Ok(match parse(kind, body)? {
        RouteNetlinkMessage::NewAddress(message) => address_notice(&message, false),
        RouteNetlinkMessage::DelAddress(message) => address_notice(&message, true),
        _ => None,
    })
}

fn address_notice(message: &AddressMessage, gone: bool) -> Option<Notice> {
    Address::from_message(message).map(|address| Notice::Address(AddressChange { address, gone }))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::netlink::Netlink;
    use crate::test_support::{PATIENCE, in_fresh_namespaces, veth_pair};

    /// Reads until `wanted` says yes; panics when that takes too long.
    fn wait_for(monitor: &mut Monitor, wanted: impl Fn(&Notice) -> bool) -> Duration {
        let start = Instant::now();
        loop {
            match monitor.next().unwrap() {
                Some(notice) if wanted(&notice) => return start.elapsed(),
                Some(_) => {}
                None => {
                    let left = PATIENCE
                        .checked_sub(start.elapsed())
                        .expect("no such event in time");
                    let timeout = rustix::event::Timespec::try_from(left).unwrap();
                    let mut fds = [rustix::event::PollFd::new(
                        &*monitor,
                        rustix::event::PollFlags::IN,
                    )];
                    rustix::event::poll(&mut fds, Some(&timeout)).unwrap();
                }
            }
        }
    }

    #[test]
    fn metered_root_sees_carrier_loss_at_once_and_addresses() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            let (p0, q0) = veth_pair(&mut nl);
            nl.set_up(p0).unwrap();
            nl.set_up(q0).unwrap();
            let mut monitor = Monitor::open().unwrap();
            assert!(nl.link("p0").unwrap().unwrap().carrier);

            nl.set_down(q0).unwrap();
            let took = wait_for(
                &mut monitor,
                |notice| matches!(notice, Notice::Link(link) if link.index == p0 && link.up && !link.carrier),
            );
            assert!(
                took < Duration::from_millis(100),
                "carrier loss took {took:?}"
            );

            nl.add_address(p0, "10.1.0.1".parse().unwrap(), 24).unwrap();
            wait_for(
                &mut monitor,
                |notice| matches!(notice, Notice::Address(change) if change.address.ifindex == p0 && change.address.global && !change.gone),
            );
            nl.del_address(p0, "10.1.0.1".parse().unwrap(), 24).unwrap();
            wait_for(
                &mut monitor,
                |notice| matches!(notice, Notice::Address(change) if change.address.ifindex == p0 && change.gone),
            );
            nl.delete_link(p0).unwrap();
            wait_for(
                &mut monitor,
                |notice| matches!(notice, Notice::LinkGone { index, name } if *index == p0 && name == "p0"),
            );
        });
    }

    #[test]
    fn root_a_port_that_leaves_its_bridge_is_not_gone() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("p0", "q0").unwrap();
            nl.create_bridge("br0").unwrap();
            let (p0, br0) = (
                nl.link("p0").unwrap().unwrap().index,
                nl.link("br0").unwrap().unwrap().index,
            );
            nl.set_master(p0, Some(br0)).unwrap();
            let mut monitor = Monitor::open().unwrap();
            nl.set_master(p0, None).unwrap();
            // The last word about p0 comes after whatever the bridge says.
            nl.set_alias(p0, "end").unwrap();
            let mut gone = false;
            while let Some(notice) = monitor.next().unwrap() {
                gone |= matches!(notice, Notice::LinkGone { .. });
            }
            assert!(!gone);
        });
    }

    #[test]
    fn root_lost_events_are_told() {
        in_fresh_namespaces(|| {
            let mut nl = Netlink::open().unwrap();
            nl.create_veth("p0", "q0").unwrap();
            let p0 = nl.link("p0").unwrap().unwrap().index;
            let mut monitor = Monitor::open_with_queue(4096).unwrap();
            for n in 0..64 {
                nl.set_mtu(p0, 1400 + n).unwrap();
            }
            let mut seen = Vec::new();
            while let Some(notice) = monitor.next().unwrap() {
                seen.push(notice);
            }
            assert!(
                seen.contains(&Notice::Overrun),
                "{} notices, no overrun",
                seen.len()
            );
            // And it goes on afterwards.
            nl.set_mtu(p0, 1500).unwrap();
            wait_for(
                &mut monitor,
                |notice| matches!(notice, Notice::Link(link) if link.index == p0 && link.mtu == 1500),
            );
        });
    }
}
