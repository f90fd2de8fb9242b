//! What whoever set a bond of the driver up has asked for: the configuration that makes it what it is.

use super::picture::Picture;
use crate::option::{
    BondContext, BondOptions, NEED_MIIMON, OptionChange, OptionId, OptionValue, PortOptionChange,
    PortOptions,
};

/// The configuration of a bond: what differs from the driver's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Options of the bond. [`BondOptions::apply`] on the driver's defaults makes of them what the bond has, in whatever
    /// order.
    pub options: Vec<OptionChange>,
    /// Options of the ports, by their names, in list order.
    pub ports: Vec<(String, Vec<PortOptionChange>)>,
    /// Names and values of what cannot be asked for beside the rest: remains of another mode or monitor, which the driver
    /// keeps and which do nothing; transmit queues beyond those that bonds usually have.
    pub left_out: Vec<(String, String)>,
}

impl Picture {
    /// The configuration that makes the bond what it is. Options that are not shown (see [`Picture::known`]) are taken for
    /// the driver's defaults.
    pub fn configuration(&self) -> Configuration {
        let (options, left_out) = of_bond(&self.options);
        let mut configuration = Configuration {
            options,
            left_out,
            ..Configuration::default()
        };
        let mut queues: Vec<(&str, u16)> = Vec::new();
        for port in &self.ports {
            let mut changes = Vec::new();
            for change in port.options.changes_from(&PortOptions::default()) {
                let one = core::slice::from_ref(&change);
                match PortOptions::default().apply(one, self.options.mode, &queues) {
                    Ok(_) => changes.push(change),
                    Err(_) => {
                        let name = format!("{} of {}", change.id, port.name);
                        configuration.left_out.push((name, change.text()));
                    }
                }
            }
            queues.push((&port.name, port.options.queue_id));
            configuration.ports.push((port.name.clone(), changes));
        }
        configuration
    }
}

/// What was asked for to make these options, and what of them cannot be asked for.
fn of_bond(options: &BondOptions) -> (Vec<OptionChange>, Vec<(String, String)>) {
    let defaults = BondOptions::default();
    let mut changes = options.changes_from(&defaults);
    if NEED_MIIMON.contains(options.mode) && options.miimon == 0 {
        // These modes come with a monitor, which somebody has switched off.
        changes.push(OptionChange {
            id: OptionId::Miimon,
            value: OptionValue::Number(0),
        });
    }
    let mut left_out = Vec::new();
    loop {
        // A bond being made: down, empty and the driver's.
        match defaults.apply(&changes, &BondContext::default()) {
            Ok(_) => return (changes, left_out),
            Err(refused) => {
                let blamed = |change: &OptionChange| change.id.name() == refused.option;
                let Some(at) = changes.iter().position(blamed) else {
                    // Only changes are refused.
                    return (changes, left_out);
                };
                let change = changes.remove(at);
                left_out.push((change.id.to_string(), change.text()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::bond;
    use super::*;
    use crate::option::{Kind, Mode, PortOptionId};

    fn made(changes: &[OptionChange]) -> BondOptions {
        let applied = BondOptions::default().apply(changes, &BondContext::default());
        applied.unwrap().options
    }

    fn words(configuration: &Configuration) -> String {
        let each: Vec<String> = configuration
            .options
            .iter()
            .map(|change| format!("{}={}", change.id, change.text()))
            .collect();
        each.join(" ")
    }

    #[test]
    fn what_differs_and_no_more() {
        for (asked, told) in [
            ("", ""),
            (
                "mode active-backup miimon 100 primary v0",
                "mode=active-backup miimon=100 primary=v0",
            ),
            // The monitor that the mode brings along, and its absence.
            (
                "mode 802.3ad lacp_rate fast",
                "mode=802.3ad miimon=100 lacp_rate=fast",
            ),
            ("mode 802.3ad miimon 0", "mode=802.3ad miimon=0"),
            (
                "mode balance-alb tlb_dynamic_lb 0",
                "mode=balance-alb miimon=100 tlb_dynamic_lb=0",
            ),
        ] {
            let picture = bond(asked);
            let configuration = picture.configuration();
            assert_eq!(words(&configuration), told);
            assert_eq!(made(&configuration.options), picture.options);
            assert_eq!(configuration.left_out, []);
        }
    }

    /// The driver keeps values of the mode that it had before.
    #[test]
    fn remains_are_named_and_not_asked_for() {
        let mut picture = bond("mode 802.3ad lacp_rate fast");
        picture.options.mode = Mode::ActiveBackup;
        picture.options.arp_validate = crate::option::ArpValidate::All;
        picture.ports[0].options.actor_port_prio = 7;
        picture.ports[1].options.prio = -3;
        let configuration = picture.configuration();
        assert_eq!(words(&configuration), "mode=active-backup miimon=100");
        let left_out: Vec<String> = configuration
            .left_out
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            left_out,
            [
                "lacp_rate=fast",
                "arp_validate=all",
                "actor_port_prio of v0=7"
            ]
        );
        let [(first, none), (second, prio)] = &configuration.ports[..] else {
            panic!("{configuration:?}");
        };
        assert_eq!(
            (first.as_str(), none.len(), second.as_str()),
            ("v0", 0, "v1")
        );
        assert_eq!((prio.len(), prio[0].id), (1, PortOptionId::Prio));
    }

    /// A value of an option that the driver has.
    fn value(id: OptionId) -> BoxedStrategy<OptionValue> {
        let number = |number: i64| OptionValue::Number(number);
        match id.spec().kind {
            Kind::Words(words) => proptest::sample::select(words)
                .prop_map(move |word| number(word.code.into()))
                .boxed(),
            Kind::Number { min, max } | Kind::NumberOrWord { min, max, .. } => prop_oneof![
                min..=max,
                min..=max.min(min + 500),
                Just(max.min(100).max(min))
            ]
            .prop_map(number)
            .boxed(),
            Kind::Flag => (0..=1i64).prop_map(number).boxed(),
            Kind::PortName => "v[0-9]|".prop_map(OptionValue::Name).boxed(),
            Kind::Ipv4List(_) => proptest::collection::btree_set(1..=9u8, 0..3)
                .prop_map(|ends| {
                    let address = |end| core::net::Ipv4Addr::new(10, 9, 0, end);
                    OptionValue::Ipv4(ends.into_iter().map(address).collect())
                })
                .boxed(),
            Kind::Ipv6List(_) => proptest::collection::btree_set(1..=9u16, 0..3)
                .prop_map(|ends| {
                    let address = |end| core::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, end);
                    OptionValue::Ipv6(ends.into_iter().map(address).collect())
                })
                .boxed(),
            Kind::Mac => (0..=255u8)
                .prop_map(|end| OptionValue::Mac(oxbond_wire::MacAddr([2, 0, 0, 0, 0, end])))
                .boxed(),
        }
    }

    fn change() -> impl Strategy<Value = OptionChange> {
        let has = |id: &&OptionId| {
            let command = **id == OptionId::ActiveSlave;
            id.spec().netlink.is_some() && !command
        };
        let ids: Vec<OptionId> = OptionId::ALL.iter().filter(has).copied().collect();
        proptest::sample::select(ids)
            .prop_flat_map(|id| value(id).prop_map(move |value| OptionChange { id, value }))
    }

    proptest! {
        /// Whatever was set one after the other, as far as the driver took it: its configuration makes the same again, but
        /// for what does nothing.
        #[test]
        fn the_configuration_makes_the_bond(
            first in proptest::sample::select(Mode::ALL),
            steps in proptest::collection::vec(change(), 0..25),
            turn in any::<prop::sample::Index>(),
        ) {
            let mut options = made(&[OptionChange {
                id: OptionId::Mode,
                value: OptionValue::Number(first.code().into()),
            }]);
            for step in &steps {
                let set = core::slice::from_ref(step);
                if let Ok(applied) = options.apply(set, &BondContext::default()) {
                    options = applied.options;
                }
            }
            let mut picture = bond("");
            picture.options = options;
            let mut configuration = picture.configuration();
            // In any order.
            let length = configuration.options.len();
            if length > 0 {
                configuration.options.rotate_left(turn.index(length));
            }
            let again = made(&configuration.options);
            let left_out: Vec<&str> = configuration.left_out.iter().map(|(name, _)| name.as_str()).collect();
            for change in again.changes_from(&picture.options) {
                let name = change.id.name();
                prop_assert!(left_out.contains(&name), "{name} {left_out:?}");
            }
            for name in left_out {
                let id = crate::option::find(name).unwrap();
                let acts = id.acts_in.contains(picture.options.mode);
                let validates = name == "arp_validate" && picture.options.miimon > 0;
                prop_assert!(!acts || validates, "{name}");
            }
        }
    }
}
