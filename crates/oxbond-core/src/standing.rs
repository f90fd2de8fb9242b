//! The standing answer: the LACPDU that the data path sends in the daemon's place while the daemon is stopped or dead.
//!
//! A partner that hears nothing for three of its intervals takes the port out of its aggregate. The daemon sends a PDU an
//! interval; with each it leaves a copy with the data path. When the next one is overdue, the data path sends that copy
//! whenever a PDU of the partner arrives, so the partner's own rhythm keeps the link alive. It does so only while
//!
//! - the partner's PDU comes from the same port of the same system with the same key as before, names us as before, is in
//!   Sync and as well able to aggregate: whoever else speaks, or wants to leave, gets no answer and times out as ever;
//! - [`LONGEST`] has not passed: nobody is to rely for ever on a bond that nobody looks after.
//!
//! In the copy, the flags that we say the partner has are replaced by those that it just told, so that it finds itself
//! understood. It answers at most once in [`SPACING`].
//!
//! What it cannot do is speak first: a partner that wants PDUs every second, but sends its own every 30 s because we asked
//! for no more (`lacp_rate=slow` here, `fast` there), does give us up.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Instant;

/// How late a PDU of the daemon may be before the data path answers. The partner hears us at the latest this long after it
/// should, or with its next PDU, a second later: within the three that it waits.
pub const GRACE: Duration = Duration::from_millis(200);

/// How long after its last PDU the daemon is stood in for.
pub const LONGEST: Duration = Duration::from_secs(300);

/// Least time between two answers on a port: no storm of PDUs makes us send more than the three a second that the standard
/// allows.
pub const SPACING: Duration = Duration::from_millis(400);

/// The standing answer of one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingAnswer {
    /// A whole LACPDU from destination address on, without FCS: 124 bytes.
    pub frame: Vec<u8>,
    /// Not before; [`GRACE`] after the daemon's next PDU is due.
    pub from: Instant,
    /// Not after; [`LONGEST`] after the daemon's last PDU.
    pub until: Instant,
}
