//! Generated networks through every ordered pair of dialects: what a dialect can say comes back the same, and what it
//! cannot say is told.
#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

#[path = "common/networks.rs"]
mod networks;

use networks::network;
use oxbond_config::dialect::Dialect;
use oxbond_config::model::{DesiredNetwork, DeviceSettings};
use oxbond_config::span::Sources;
use oxbond_core::option::OptionId;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What every dialect can say survives any chain of two.
    #[test]
    fn common_networks_survive_every_pair(wanted in network(true)) {
        let text = wanted.to_string();
        for first in whole() {
            let once = through(first, &wanted);
            prop_assert_eq!(&once.lost, "", "{} loses", first.name());
            prop_assert_eq!(once.network.to_string(), text.as_str(), "through {}", first.name());
            for second in whole() {
                let twice = through(second, &once.network);
                prop_assert_eq!(twice.network.to_string(), text.as_str(), "{} to {}", first.name(), second.name());
            }
        }
    }

    /// nmstate's name servers are those of the machine; all else that every dialect can say survives it, before and
    /// behind any other.
    #[test]
    fn common_networks_survive_nmstate(mut wanted in network(true)) {
        let bonds = wanted.bonds.iter_mut().map(|bond| &mut bond.device);
        let vlans = wanted.vlans.iter_mut().map(|vlan| &mut vlan.device);
        let bridges = wanted.bridges.iter_mut().map(|bridge| &mut bridge.device);
        for device in bonds.chain(vlans).chain(bridges) {
            device.dns.clear();
            device.search.clear();
        }
        let text = wanted.to_string();
        let once = through(Dialect::Nmstate, &wanted);
        prop_assert_eq!(&once.lost, "");
        prop_assert_eq!(once.network.to_string(), text.as_str());
        for second in whole() {
            let twice = through(second, &once.network);
            prop_assert_eq!(twice.network.to_string(), text.as_str(), "nmstate to {}", second.name());
            let thrice = through(Dialect::Nmstate, &twice.network);
            prop_assert_eq!(thrice.network.to_string(), text.as_str(), "{} to nmstate", second.name());
        }
    }

    /// Our own dialect says everything.
    #[test]
    fn toml_loses_nothing(wanted in network(false)) {
        let once = through(Dialect::Toml, &wanted);
        prop_assert_eq!(&once.lost, "");
        prop_assert_eq!(once.network.to_string(), wanted.to_string());
    }

    /// What parameters of a module can say survives them, and any other dialect behind them.
    #[test]
    fn options_of_bonds_survive_modprobe(mut wanted in network(true)) {
        wanted.vlans.clear();
        wanted.bridges.clear();
        for bond in &mut wanted.bonds {
            // Not every dialect can name a port that is not there.
            bond.ports.clear();
            bond.selectors.clear();
            bond.options.retain(|option| option.value.id != OptionId::Primary);
            bond.device = DeviceSettings::default();
        }
        let text = wanted.to_string();
        let once = through(Dialect::Modprobe, &wanted);
        prop_assert_eq!(&once.lost, "");
        prop_assert_eq!(once.network.to_string(), text.as_str());
        for second in whole() {
            let twice = through(second, &once.network);
            prop_assert_eq!(twice.network.to_string(), text.as_str(), "modprobe to {}", second.name());
            let thrice = through(Dialect::Modprobe, &twice.network);
            prop_assert_eq!(thrice.network.to_string(), text.as_str(), "{} to modprobe", second.name());
        }
    }

    /// Of whatever is wanted, all that a dialect does not tell as lost comes back; and what came back once, comes back
    /// again without a loss.
    #[test]
    fn losses_are_told(wanted in network(false)) {
        for dialect in Dialect::ALL {
            let once = through(*dialect, &wanted);
            if once.lost.is_empty() {
                let mut expected = wanted.clone();
                if !dialect.is_own() {
                    // It has no word for what all its bonds are: the driver's.
                    expected.bonds.iter_mut().for_each(|bond| bond.engine = None);
                }
                prop_assert_eq!(once.network.to_string(), expected.to_string(), "through {}", dialect.name());
            }
            let twice = through(*dialect, &once.network);
            prop_assert_eq!(twice.network.to_string(), once.network.to_string(), "again through {}", dialect.name());
        }
    }
}

/// The dialects that speak of more than options of bonds, and of each device by itself.
fn whole() -> impl Iterator<Item = Dialect> {
    let dialects = Dialect::ALL.iter().copied();
    dialects.filter(|dialect| !matches!(dialect, Dialect::Modprobe | Dialect::Nmstate))
}

struct Passed {
    network: DesiredNetwork,
    /// What the writer or the reader had to say; nothing if all is as before.
    lost: String,
}

/// Writes in a dialect and reads it again.
fn through(dialect: Dialect, wanted: &DesiredNetwork) -> Passed {
    let written = dialect.write(wanted);
    let mut sources = Sources::default();
    for file in &written.files {
        sources.add(file.path.as_str(), file.text.as_str());
    }
    let reading = dialect.read(&sources);
    assert!(
        reading.diagnostics.is_empty(),
        "{:?}\n{sources:?}",
        reading.diagnostics
    );
    let notes = |report: &oxbond_config::report::Report| -> Vec<String> {
        let mut notes = report
            .notes()
            .iter()
            .map(|note| note.fate.to_string())
            .collect::<Vec<_>>();
        // A change of what a tool does with a text is told, but the text comes back.
        notes.retain(|note| !note.starts_with("mapped"));
        notes
    };
    let mut lost = notes(&written.report);
    lost.extend(notes(&reading.report));
    Passed {
        network: reading.network,
        lost: lost.join("\n"),
    }
}
