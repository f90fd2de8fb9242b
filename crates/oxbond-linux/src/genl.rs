//! Generic netlink: finding a family by name, and one question to it.

use std::collections::HashMap;

use netlink_packet_core::{DefaultNla, Emitable, Nla};
use netlink_sys::protocols::NETLINK_GENERIC;

use crate::error::KernelError;
use crate::netlink::{Failure, Transport, attribute, named};

/// The family that knows the others has a fixed number (`include/uapi/linux/genetlink.h`).
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// Command, version, two reserved bytes.
const GENL_HEADER_LEN: usize = 4;

/// A socket for questions to generic netlink families.
#[derive(Debug)]
pub(crate) struct Generic {
    transport: Transport,
    families: HashMap<&'static str, Option<u16>>,
}

impl Generic {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, KernelError> {
        let transport = Transport::open(NETLINK_GENERIC)
            .map_err(|e| KernelError::from_io("open", "a generic netlink socket", &e))?;
        Ok(Self {
            transport,
            families: HashMap::new(),
        })
    }

    /// Asks a family and returns the attributes of its answer ([`attributes`](crate::netlink::attributes)); `None` when this
    /// kernel has no such family.
    pub(crate) fn ask(
        &mut self,
        family: &'static str,
        command: u8,
        attributes: &[DefaultNla],
    ) -> Result<Option<Vec<u8>>, Failure> {
        let Some(id) = self.family(family)? else {
            return Ok(None);
        };
        self.request(id, command, attributes).map(Some)
    }

    fn family(&mut self, name: &'static str) -> Result<Option<u16>, Failure> {
        if let Some(known) = self.families.get(name) {
            return Ok(*known);
        }
        let mut text = name.as_bytes().to_vec();
        text.push(0);
        let found = match self.request(
            GENL_ID_CTRL,
            CTRL_CMD_GETFAMILY,
            &[DefaultNla::new(CTRL_ATTR_FAMILY_NAME, text)],
        ) {
            Ok(answer) => attribute(&answer, CTRL_ATTR_FAMILY_ID)
                .and_then(|id| id.try_into().ok())
                .map(u16::from_ne_bytes),
            Err(failure) if failure.errno == libc::ENOENT => None,
            Err(failure) => return Err(failure),
        };
        self.families.insert(name, found);
        Ok(found)
    }

    /// Asks a family for a whole table and returns what `read` makes of the attributes of each answer; nothing when this
    /// kernel has no such family.
    pub(crate) fn ask_all<T>(
        &mut self,
        family: &'static str,
        command: u8,
        attributes: &[DefaultNla],
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Failure> {
        let Some(id) = self.family(family)? else {
            return Ok(Vec::new());
        };
        let found = |kind, body: &[u8]| read(body.get(GENL_HEADER_LEN..).filter(|_| kind == id)?);
        self.transport.dump(id, &body(command, attributes), found)
    }

    fn request(
        &mut self,
        family: u16,
        command: u8,
        attributes: &[DefaultNla],
    ) -> Result<Vec<u8>, Failure> {
        let body = body(command, attributes);
        let answers = self.transport.request(family, 0, &body)?;
        answers
            .iter()
            .find(|answer| answer.kind == family)
            .map_or_else(|| Ok(Vec::new()), |answer| behind_header(&answer.body))
    }
}

/// Header and attributes of a question.
fn body(command: u8, attributes: &[DefaultNla]) -> Vec<u8> {
    let mut body = vec![0; GENL_HEADER_LEN + attributes.buffer_len()];
    body[..GENL_HEADER_LEN].copy_from_slice(&[command, 1, 0, 0]);
    attributes.emit(&mut body[GENL_HEADER_LEN..]);
    body
}

/// Opens a socket, asks one question, names what failed.
pub(crate) fn ask_once(
    family: &'static str,
    command: u8,
    attributes: &[DefaultNla],
    op: &str,
    object: &str,
) -> Result<Option<Vec<u8>>, KernelError> {
    Generic::open()?
        .ask(family, command, attributes)
        .map_err(|failure| named(failure, op, object))
}

/// The attributes behind the generic netlink header of an answer.
pub(crate) fn behind_header(body: &[u8]) -> Result<Vec<u8>, Failure> {
    let attributes = body.get(GENL_HEADER_LEN..);
    attributes
        .map(<[u8]>::to_vec)
        .ok_or_else(|| Failure::garbled("no generic netlink header"))
}

/// An attribute that holds a 32-bit number.
pub(crate) fn number(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_ne_bytes().to_vec())
}

/// An attribute that holds attributes.
pub(crate) fn nest(kind: u16, inner: &[DefaultNla]) -> DefaultNla {
    let mut value = vec![0; inner.buffer_len()];
    inner.emit(&mut value);
    debug_assert_eq!(
        inner
            .iter()
            .map(|nla| nla.value_len().next_multiple_of(4) + 4)
            .sum::<usize>(),
        value.len()
    );
    DefaultNla::new(kind | netlink_packet_core::NLA_F_NESTED, value)
}
