//! Finds what was probably meant.

use oxbond_core::option::{Dialect, OptionKey, OptionSpec, find_in_dialect};

/// More characters than anything has that could be meant. The comparison takes time and memory by the product of both
/// lengths, and files hold words of any length.
const LONGEST: usize = 64;

/// The candidate closest to `word`, if one is close enough to be meant. Upper and lower case and `-` and `_` count as
/// the same.
pub(crate) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let fold = |text: &str| text.to_lowercase().replace('-', "_");
    let long = |text: &str| text.chars().nth(LONGEST).is_some();
    if long(word) {
        return None;
    }
    let word = fold(word);
    // A third of the letters may be wrong, and two of a short word.
    let tolerated = (word.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .filter(|candidate| !long(candidate))
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&word, &fold(candidate)),
                candidate,
            )
        })
        .filter(|(distance, candidate)| {
            *distance <= tolerated && *distance < candidate.chars().count()
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The option that another tool's files call `key`, and that tool's name.
pub(crate) fn known_elsewhere(key: &str) -> Option<(&'static OptionSpec, &'static str)> {
    const TOOLS: [(Dialect, &str); 8] = [
        (Dialect::Netplan, "netplan"),
        (Dialect::Networkd, "systemd-networkd"),
        (Dialect::NetworkManager, "NetworkManager"),
        (Dialect::Ifupdown2, "ifupdown2"),
        (Dialect::Ifenslave, "ifenslave"),
        (Dialect::CloudInit, "cloud-init"),
        (Dialect::Nmstate, "nmstate"),
        (Dialect::Module, "the kernel module"),
    ];
    TOOLS
        .into_iter()
        .find_map(|(dialect, tool)| find_in_dialect(dialect, key).map(|spec| (spec, tool)))
}

/// Whether an option belongs to ports.
pub(crate) const fn is_port_option(spec: &OptionSpec) -> bool {
    matches!(spec.key, OptionKey::Port(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_of_the_finger_and_nothing_far_fetched() {
        let words = [
            "active-backup",
            "balance-xor",
            "miimon",
            "mtu",
            "mac",
            "prio",
        ];
        for (word, meant) in [
            ("active-bakcup", Some("active-backup")),
            ("Active_Backup", Some("active-backup")),
            ("mimon", Some("miimon")),
            ("mii-mon", Some("miimon")),
            ("mtuu", Some("mtu")),
            ("priority", None),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(closest(word, words), meant, "{word}");
        }
        // Compared, two such words would take more memory than there is.
        let long = "x".repeat(1 << 20);
        assert_eq!(closest(&long, ["mtu", &long]), None);
    }

    #[test]
    fn other_tools_keys_are_recognised() {
        let (spec, tool) = known_elsewhere("mii-monitor-interval").unwrap();
        assert_eq!((spec.name, tool), ("miimon", "netplan"));
        let (spec, tool) = known_elsewhere("MIIMonitorSec").unwrap();
        assert_eq!((spec.name, tool), ("miimon", "systemd-networkd"));
        assert!(known_elsewhere("colour").is_none());
    }
}
