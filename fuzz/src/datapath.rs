//! The records of the data path's ring buffers.

use oxbond_core::input::TAPPED_LEN;
use oxbond_datapath::{LeftRecord, TappedFrame};

/// A record, read as each kind.
pub(crate) fn records(record: &[u8]) {
    if let Some(left) = LeftRecord::parse(record) {
        assert_eq!(record[..8], left.time.as_nanos().to_ne_bytes());
    }
    if let Some(tapped) = TappedFrame::parse(record) {
        assert!(tapped.frame.len() <= TAPPED_LEN);
        // Time, port and length come first.
        assert!(record[16..].starts_with(&tapped.frame));
    }
}
