//! One netlink request at a time: numbering, acknowledgement, multi-part answers, and the kernel's explanation of a
//! refusal. Knows nothing of any protocol above the netlink header; rtnetlink and generic netlink both sit on it.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
    NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NetlinkBuffer, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr};

/// A dump that was interrupted by a change is asked for again this often before giving up. Each try sees a whole new
/// dump, so it takes constant churn for as long as ten dumps to get here.
const DUMP_TRIES: usize = 10;

/// `NLMSGERR_ATTR_MSG`: the explanation, a string.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// One message of an answer: its type and what follows its header.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Message type.
    pub(crate) kind: u16,
    /// Body, without the netlink header.
    pub(crate) body: Vec<u8>,
}

/// Why a request failed, before anyone said what it was for.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Positive error number.
    pub(crate) errno: i32,
    /// The kernel's words.
    pub(crate) ext_ack: Option<String>,
}

impl Failure {
    /// An answer that makes no sense.
    pub(crate) fn garbled(what: impl ToString) -> Self {
        Self {
            errno: libc::EBADMSG,
            ext_ack: Some(format!(
                "the kernel's answer is garbled: {}",
                what.to_string()
            )),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self {
                errno,
                ext_ack: None,
            },
            None => Self::garbled(error),
        }
    }
}

/// A socket for requests. Blocking: the kernel answers rtnetlink and generic netlink within the send call, so there is
/// always something to read.
#[derive(Debug)]
pub(crate) struct Transport {
    socket: Socket,
    sequence: u32,
    /// The datagram that was received last.
    datagram: Vec<u8>,
}

/// The kernel fills datagrams of a dump up to the largest room it was offered, and never beyond this. In smaller ones a
/// dump of many interfaces takes several times as long.
const ROOM: usize = 32 * 1024;

impl Transport {
    /// Opens a socket of a netlink protocol (`NETLINK_ROUTE`, `NETLINK_GENERIC`) in the calling thread's namespace.
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // The explanation is worth having; the echo of our own request behind an error is not.
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        Ok(Self {
            socket,
            sequence: 0,
            datagram: Vec::new(),
        })
    }

    /// Receives a datagram whole, however long it is; its sender.
    fn receive(&mut self) -> io::Result<SocketAddr> {
        self.datagram.clear();
        self.datagram.reserve(ROOM);
        let look = libc::MSG_PEEK | libc::MSG_TRUNC;
        let (length, sender) = self.socket.recv_from(&mut self.datagram, look)?;
        if length > self.datagram.len() {
            self.datagram.clear();
            self.datagram.reserve(length);
            self.socket.recv_from(&mut self.datagram, 0)?;
        } else {
            // It is read already, and goes.
            self.socket.recv_from(&mut Vec::new(), libc::MSG_TRUNC)?;
        }
        Ok(sender)
    }

    /// Asks for one thing and returns what came before the acknowledgement.
    pub(crate) fn request(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
    ) -> Result<Vec<Answer>, Failure> {
        let mut answers = Vec::new();
        self.exchange(kind, flags | NLM_F_ACK, body, &mut |kind, body| {
            answers.push(Answer {
                kind,
                body: body.to_vec(),
            });
        })?;
        Ok(answers)
    }

    /// Asks for a whole table, again when it changed underneath. Returns what `read` makes of each message, by its type and
    /// its body.
    pub(crate) fn dump<T>(
        &mut self,
        kind: u16,
        body: &[u8],
        read: impl Fn(u16, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Failure> {
        let mut found = Vec::new();
        for _ in 0..DUMP_TRIES {
            found.clear();
            let interrupted = self.exchange(kind, NLM_F_DUMP, body, &mut |kind, body| {
                found.extend(read(kind, body));
            })?;
            if !interrupted {
                return Ok(found);
            }
        }
        Err(Failure {
            errno: libc::EINTR,
            ext_ack: Some("the table changes faster than it can be read".into()),
        })
    }

    /// Hands each message of the answer to `take`. Answers whether a dump was interrupted by a change.
    fn exchange(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        take: &mut dyn FnMut(u16, &[u8]),
    ) -> Result<bool, Failure> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = NETLINK_HEADER_LEN + body.len();
        let mut message = vec![0; length];
        let mut header = NetlinkBuffer::new(&mut message);
        header.set_length(u32::try_from(length).map_err(Failure::garbled)?);
        header.set_message_type(kind);
        header.set_flags(flags | NLM_F_REQUEST);
        header.set_sequence_number(self.sequence);
        message[NETLINK_HEADER_LEN..].copy_from_slice(body);
        retry_interrupted(|| self.socket.send(&message, 0))?;

        let mut interrupted = false;
        loop {
            let sender = retry_interrupted(|| self.receive())?;
            if sender.port_number() != 0 {
                continue; // Any process may write to our socket; only the kernel is port 0.
            }
            for message in Messages::new(&self.datagram) {
                let message = message?;
                if message.sequence_number() != self.sequence {
                    continue; // Left over from an exchange that ended early.
                }
                interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
                match message.message_type() {
                    NLMSG_NOOP => {}
                    NLMSG_ERROR => {
                        return match failure(message.flags(), message.payload(), true) {
                            Some(failure) => Err(failure),
                            None => Ok(interrupted),
                        };
                    }
                    NLMSG_DONE => {
                        return match failure(message.flags(), message.payload(), false) {
                            Some(failure) => Err(failure),
                            None => Ok(interrupted),
                        };
                    }
                    kind => take(kind, message.payload()),
                }
            }
        }
    }
}

/// Length of the netlink header: length, type, flags, sequence number, port (RFC 3549, section 2.2).
pub(crate) const NETLINK_HEADER_LEN: usize = 16;

/// The messages of one datagram.
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Over a whole datagram as received.
    pub(crate) fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<NetlinkBuffer<&'a [u8]>, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match NetlinkBuffer::new_checked(self.rest) {
            Ok(message) => {
                let length = message.length() as usize;
                let (own, _) = self.rest.split_at(length);
                self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
                Some(Ok(NetlinkBuffer::new(own)))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(Failure::garbled(error)))
            }
        }
    }
}

/// Reads the error number and explanation of an `NLMSG_ERROR` (`echo`: the request's header follows the number) or
/// `NLMSG_DONE` body. `None` is success.
fn failure(flags: u16, body: &[u8], echo: bool) -> Option<Failure> {
    let Some((code, rest)) = body.split_first_chunk::<4>() else {
        // Linux allows an NLMSG_DONE without a body.
        return if echo {
            Some(Failure::garbled("an error without a number"))
        } else {
            None
        };
    };
    let code = i32::from_ne_bytes(*code);
    if code == 0 {
        return None;
    }
    let skip = match (echo, flags & NLM_F_CAPPED != 0) {
        (false, _) => 0,
        (true, true) => NETLINK_HEADER_LEN,
        (true, false) => rest.first_chunk::<4>().map_or(rest.len(), |length| {
            (u32::from_ne_bytes(*length) as usize).next_multiple_of(4)
        }),
    };
    let ext_ack = (flags & NLM_F_ACK_TLVS != 0)
        .then(|| rest.get(skip..))
        .flatten()
        .and_then(|tlvs| {
            NlasIterator::new(tlvs)
                .filter_map(Result::ok)
                .find(|tlv| tlv.kind() == NLMSGERR_ATTR_MSG)
                .map(|tlv| {
                    String::from_utf8_lossy(tlv.value())
                        .trim_end_matches('\0')
                        .to_owned()
                })
        });
    Some(Failure {
        errno: code.saturating_neg(),
        ext_ack,
    })
}

/// Repeats a system call that a signal interrupted.
pub(crate) fn retry_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// errno, the echoed header of a 20-byte request, and an explanation.
    fn refusal(echo_body: &[u8]) -> Vec<u8> {
        let mut body = (-22_i32).to_ne_bytes().to_vec();
        body.extend(u32::try_from(16 + echo_body.len()).unwrap().to_ne_bytes());
        body.extend([0; 12]);
        body.extend(echo_body);
        body.extend([8, 0, 1, 0]);
        body.extend(b"no.\0");
        body
    }

    #[test]
    fn finds_the_explanation_behind_a_capped_and_a_whole_echo() {
        let capped = failure(NLM_F_CAPPED | NLM_F_ACK_TLVS, &refusal(&[]), true).unwrap();
        assert_eq!((capped.errno, capped.ext_ack.as_deref()), (22, Some("no.")));
        let whole = failure(NLM_F_ACK_TLVS, &refusal(&[1, 2, 3, 4]), true).unwrap();
        assert_eq!((whole.errno, whole.ext_ack.as_deref()), (22, Some("no.")));
    }

    #[test]
    fn short_bodies_do_not_panic() {
        let whole = refusal(&[1, 2, 3, 4]);
        for length in 0..whole.len() {
            for flags in [0, NLM_F_ACK_TLVS, NLM_F_CAPPED | NLM_F_ACK_TLVS] {
                failure(flags, &whole[..length], true);
                failure(flags, &whole[..length], false);
            }
        }
        assert!(failure(0, &[], false).is_none());
        assert!(failure(0, &0_i32.to_ne_bytes(), true).is_none());
    }

    #[test]
    fn a_datagram_that_lies_about_its_length_ends() {
        let mut datagram = vec![0; 40];
        datagram[0] = 20; // One message of 20 bytes, padded, then one that claims more than there is.
        datagram[20] = 200;
        let messages: Vec<_> = Messages::new(&datagram).collect();
        assert_eq!(messages.len(), 2);
        assert!(messages[0].is_ok() && messages[1].is_err());
    }
}
