//! What the tests over many seeds share.

use oxbond_core::bond::Bond;

/// The number in an environment variable, if it is set.
pub(crate) fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

/// A bond as the daemon's state file holds it.
pub(crate) fn through_json(bond: &Bond) -> Bond {
    let text = serde_json::to_string(bond).expect("a bond can be written");
    let back: Bond = serde_json::from_str(&text).expect("what was written can be read");
    assert_eq!(
        serde_json::to_string(&back).expect("a bond can be written"),
        text,
        "nothing is lost"
    );
    back
}
