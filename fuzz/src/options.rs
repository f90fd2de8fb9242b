//! Names and values of options, as words.

use oxbond_core::option::{BondContext, BondOptions, OptionChange, PortOptionChange, PortOptions};

/// Lines `NAME VALUE`. Each that is understood is written again as the same; what all together make of a bond's options
/// is consistent.
pub(crate) fn options(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let (mut bond, mut port) = (Vec::new(), Vec::new());
    for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        if let Ok(change) = OptionChange::parse(name, value) {
            let again = OptionChange::parse(change.id.name(), &change.text());
            assert_eq!(again.as_ref(), Ok(&change));
            bond.push(change);
        } else if let Ok(change) = PortOptionChange::parse(name, value) {
            let again = PortOptionChange::parse(change.id.name(), &change.text());
            assert_eq!(again.as_ref(), Ok(&change));
            port.push(change);
        }
    }
    let context = BondContext {
        own_engine: true,
        ports: &["enp3s0", "enp4s0"],
        ..BondContext::default()
    };
    if let Ok(applied) = BondOptions::own().apply(&bond, &context) {
        let again = applied.options.apply(&bond, &context);
        let again = again.map(|again| again.options);
        assert_eq!(again.as_ref(), Ok(&applied.options), "{bond:?}");
        // Those of a port are judged by the bond's mode.
        let mode = applied.options.mode;
        let _ = PortOptions::default().apply(&port, mode, &[("enp4s0", 1)]);
    }
}
