//! What the program reads that another process wrote: lines of the control protocol, state files.

use oxbond::decoders;
use oxbond_core::time::Instant;

/// A line of the control protocol, read by the daemon and by a client. What is understood is written again as the same.
pub(crate) fn control(line: &[u8]) {
    // Both ends read lines of UTF-8 and hang up on anything else.
    let line = String::from_utf8_lossy(line);
    for read in [decoders::call, decoders::reply] {
        if let Ok(once) = read(&line) {
            assert_eq!(read(&once).as_ref(), Ok(&once));
        }
    }
}

/// Most actions that a bond may want at once.
const ACTIONS: usize = 10_000;

/// A state file. A bond read from it can be asked and told of the time without harm to the daemon, whatever it is.
pub(crate) fn state(text: &[u8]) {
    let Ok(Some(mut bond)) = decoders::saved_bond(&String::from_utf8_lossy(text)) else {
        return;
    };
    for now in [Instant::ZERO, Instant::from_millis(86_400_000)] {
        let status = bond.status(now, &[]);
        assert_eq!(status.name, bond.name());
        bond.handle_timeout(now);
        for actions in 0.. {
            assert!(actions < ACTIONS);
            if bond.poll_action().is_none() {
                break;
            }
        }
    }
}
