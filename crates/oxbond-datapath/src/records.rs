//! What the programs tell the daemon unasked: ports they left, frames it wanted to see.
//!
//! Each kind has a ring buffer of its own, so that a storm of tapped frames cannot push out a port that was left.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use aya::maps::{Map, MapData, RingBuf};
use oxbond_core::port::PortId;
use oxbond_core::time::Instant;

use crate::abi::{
    FROM_HOST, LEFT_DOWN, LEFT_GONE, LEFT_NO_CARRIER, RawLeftRecord, RawTapped, from_bytes,
};
use crate::error::DatapathError;
use crate::sys;

/// Bytes of the ring buffer of left ports; one page, the least the kernel gives.
pub(crate) const LEFT_BYTES: u32 = 4096;

/// Bytes of the ring buffer of tapped frames: room for 300 of them, some 20 ms of a storm that one CPU can receive.
pub(crate) const TAPPED_BYTES: u32 = 65536;

/// Most frames of one call, so that a storm cannot keep its caller from everything else.
const FRAMES_AT_ONCE: usize = 256;

/// Why a program left a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftReason {
    /// The link went down.
    NoCarrier,
    /// The interface was set down.
    Down,
    /// The interface no longer exists, or not at the address known
    /// ([`DataPath::refresh_port`](crate::DataPath::refresh_port)).
    Gone,
}

/// A program left a port by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftRecord {
    /// When, by `CLOCK_MONOTONIC`.
    pub time: Instant,
    /// Which.
    pub port: PortId,
    /// Why.
    pub reason: LeftReason,
}

/// A frame that the table's [`Tap`](oxbond_core::table::Tap) asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TappedFrame {
    /// When, by `CLOCK_MONOTONIC`.
    pub time: Instant,
    /// Where it arrived; `None` for a frame that the host sent through the bond.
    pub port: Option<PortId>,
    /// The frame from destination address on, VLAN tags in their place, cut off behind
    /// [`TAPPED_LEN`](oxbond_core::input::TAPPED_LEN) bytes.
    pub frame: Vec<u8>,
}

/// One thing the programs told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A port was left.
    Left(LeftRecord),
    /// A frame was tapped.
    Frame(TappedFrame),
}

/// The ring buffers, and one descriptor that is readable when either is.
pub(crate) struct Rings {
    left: RingBuf<MapData>,
    tapped: RingBuf<MapData>,
    either: OwnedFd,
}

impl Rings {
    pub(crate) fn new(left: OwnedFd, tapped: OwnedFd) -> Result<Self, DatapathError> {
        let (left, tapped) = (ring(left)?, ring(tapped)?);
        let either = sys::epoll_of(&[left.as_fd(), tapped.as_fd()])
            .map_err(|error| DatapathError::kernel("watch the ring buffers", error))?;
        Ok(Self {
            left,
            tapped,
            either,
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.either.as_fd()
    }

    /// Left ports first, then frames, each oldest first.
    pub(crate) fn drain(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        while let Some(item) = self.left.next() {
            records.extend(LeftRecord::parse(&item).map(Record::Left));
        }
        for _ in 0..FRAMES_AT_ONCE {
            let Some(item) = self.tapped.next() else {
                break;
            };
            records.extend(TappedFrame::parse(&item).map(Record::Frame));
        }
        records
    }
}

fn ring(fd: OwnedFd) -> Result<RingBuf<MapData>, DatapathError> {
    MapData::from_fd(fd)
        .and_then(|data| RingBuf::try_from(Map::RingBuf(data)))
        .map_err(|error| DatapathError::Load(format!("ring buffer: {error}")))
}

fn port_of(number: u32) -> Option<PortId> {
    u8::try_from(number).ok().and_then(PortId::new)
}

impl LeftRecord {
    /// Reads a record of the ring buffer of left ports; bytes behind it are not looked at. `None` for what the programs
    /// never write.
    pub fn parse(record: &[u8]) -> Option<Self> {
        let raw: RawLeftRecord = from_bytes(record)?;
        Some(Self {
            time: Instant::from_nanos(raw.time_ns),
            port: port_of(raw.port)?,
            reason: match raw.reason {
                LEFT_NO_CARRIER => LeftReason::NoCarrier,
                LEFT_DOWN => LeftReason::Down,
                LEFT_GONE => LeftReason::Gone,
                _ => return None,
            },
        })
    }
}

impl TappedFrame {
    /// Reads a record of the ring buffer of tapped frames; bytes behind it are not looked at. `None` for what the programs
    /// never write.
    pub fn parse(record: &[u8]) -> Option<Self> {
        let raw: RawTapped = from_bytes(record)?;
        Some(Self {
            time: Instant::from_nanos(raw.time_ns),
            port: match raw.port {
                FROM_HOST => None,
                number => Some(port_of(number)?),
            },
            frame: raw.frame.get(..raw.len as usize)?.to_vec(),
        })
    }
}
