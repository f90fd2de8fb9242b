//! What may be lost when a link is cut, and what may not.

use std::time::{Duration, Instant};

use crate::common::Subject;
use oxbond_lab::traffic::{Meter, Report};

/// How long traffic runs before and after a fault.
pub(crate) const CALM: Duration = Duration::from_millis(500);

/// Time for what is still under way when the meter stops.
pub(crate) const DRAIN: Duration = Duration::from_secs(2);

pub(crate) fn packets(rate: u32, length: Duration) -> u64 {
    u64::from(rate) * length.as_millis() as u64 / 1000
}

/// Not one packet is missing, and none came twice.
pub(crate) fn assert_nothing_lost(report: &Report, what: &str) {
    assert_eq!(
        report.refused(),
        0,
        "{what}: the sender was refused\n{report}"
    );
    assert_eq!(report.lost(), 0, "{what}\n{report}");
    for stream in report.streams() {
        assert_eq!(stream.duplicates, 0, "{what}\n{report}");
    }
}

/// When a link was cut or mended, on the meter's clock: from just before the switch's port was set down until it was down.
///
/// While it goes down the switch itself loses what it has for that port: the kernel takes the port's queue away and waits
/// for a grace period before our side loses carrier. That is what being in flight means in this rig.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

pub(crate) fn cut(subject: &Subject, meter: &Meter, index: usize) -> Cut {
    let before = subject.rig.cut(index).unwrap();
    until_now(meter, before)
}

/// Mends a link. While that lasts, one end of a cable is already up and the other is not.
pub(crate) fn mend(subject: &Subject, meter: &Meter, index: usize) -> Cut {
    let before = subject.rig.restore(index).unwrap();
    until_now(meter, before)
}

fn until_now(meter: &Meter, before: Instant) -> Cut {
    Cut {
        from: meter
            .time_of(before)
            .saturating_sub(Duration::from_millis(1)),
        to: meter.time_of(Instant::now()),
    }
}

/// What was sent before the link was cut or after it was gone has arrived, once.
pub(crate) fn assert_only_in_flight_lost(report: &Report, cuts: &[Cut], what: &str) {
    assert_eq!(
        report.refused(),
        0,
        "{what}: the sender was refused\n{report}"
    );
    for stream in report.streams() {
        assert_eq!(stream.duplicates, 0, "{what}\n{report}");
        for lost in stream.flows.iter().flat_map(|flow| &flow.lost_ranges) {
            assert!(
                cuts.iter()
                    .any(|cut| lost.from >= cut.from && lost.to <= cut.to),
                "{what}: lost outside {cuts:?}\n{report}"
            );
        }
    }
}
