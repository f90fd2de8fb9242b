//! Which interfaces are the ports of which bond, where ports are wanted by what they are and not by name.
//!
//! Pure: the caller gives the facts about the interfaces there are. What comes out depends on neither their order nor
//! anything that was before, so it can be asked again whenever an interface appears.

use std::collections::{BTreeMap, HashMap, HashSet};

use oxbond_wire::MacAddr;

use crate::diagnostic::{Code, Diagnostic};
use crate::model::{DesiredNetwork, DesiredPort, DesiredSelector};
use crate::span::Located;

/// What is known of an interface that could be a port: of hardware, not of devices made by configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceFacts {
    /// Its name now.
    pub name: String,
    /// The address it was made with (`IFLA_PERM_ADDRESS`, since Linux 5.6), which stays while it is in a bond.
    pub permanent_mac: Option<MacAddr>,
    /// Where it is plugged in, as udev's `ID_PATH` says it: `pci-0000:03:00.0`.
    pub path: Option<String>,
    /// Name of its driver.
    pub driver: Option<String>,
}

/// The ports of all bonds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// One for each bond of the network, in the same order.
    pub bonds: Vec<SelectedPorts>,
    /// What is wrong with the configuration: interfaces that selectors of two bonds fit. They are in neither.
    pub diagnostics: Vec<Diagnostic>,
}

/// The ports of one bond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelectedPorts {
    /// Those that are named, present or not; then what each selector finds, in order of name.
    pub ports: Vec<DesiredPort>,
    /// How many there should be: those that are named, and what each selector expects (what it finds, but at least
    /// one, unless it says). That fewer are there is no error: they join when they appear.
    pub expected: usize,
}

impl DesiredSelector {
    /// Whether an interface fits all that is asked for.
    pub fn fits(&self, interface: &InterfaceFacts) -> bool {
        let pattern = |wanted: &Option<Located<String>>, known: Option<&str>| {
            wanted
                .as_ref()
                .is_none_or(|wanted| known.is_some_and(|known| glob(&wanted.value, known)))
        };
        let mac = self
            .mac
            .as_ref()
            .is_none_or(|wanted| interface.permanent_mac == Some(wanted.value));
        mac && pattern(&self.name, Some(&interface.name))
            && pattern(&self.path, interface.path.as_deref())
            && pattern(&self.driver, interface.driver.as_deref())
    }
}

/// Finds the ports of every bond. A name goes before a selector: no selector takes an interface that is named as a port
/// of any bond or bridge, or that the network itself makes. Of several selectors of one bond the first takes it.
pub fn select(network: &DesiredNetwork, interfaces: &[InterfaceFacts]) -> Selection {
    let bonds = network.bonds.iter();
    let named = bonds
        .clone()
        .flat_map(|bond| bond.ports.iter().map(|port| &port.name))
        .chain(bonds.map(|bond| &bond.name))
        .chain(network.vlans.iter().map(|vlan| &vlan.name))
        .chain(network.bridges.iter().flat_map(|bridge| {
            let ports = bridge.ports.iter().map(|port| &port.name);
            ports.chain([&bridge.name])
        }));
    let named: HashSet<&str> = named.map(|name| name.value.as_str()).collect();
    let free: BTreeMap<&str, &InterfaceFacts> = interfaces
        .iter()
        .filter(|interface| !named.contains(interface.name.as_str()))
        .map(|interface| (interface.name.as_str(), interface))
        .collect();

    let mut diagnostics = Vec::new();
    // By interface, the bond and the selector in it.
    let mut taken: HashMap<&str, Option<(usize, usize)>> = HashMap::new();
    for (name, interface) in &free {
        let mut fitting = network.bonds.iter().enumerate().filter_map(|(at, bond)| {
            let selector = bond
                .selectors
                .iter()
                .position(|selector| selector.fits(interface));
            Some((at, selector?))
        });
        let Some(first) = fitting.next() else {
            continue;
        };
        let mut owner = Some(first);
        if let Some(second) = fitting.next() {
            let place = |(bond, selector): (usize, usize)| {
                let bond = &network.bonds[bond];
                (bond.name.value.as_str(), bond.selectors[selector].span)
            };
            let ((first, first_span), (second, second_span)) = (place(first), place(second));
            let message = format!("{name} fits selectors of {first} and of {second}");
            diagnostics.push(
                Diagnostic::error(Code::PortInTwoBonds, second_span, message)
                    .with_related(first_span, format!("a selector of {first} here"))
                    .with_help(
                        "ask for more in one of them, or name the port; until then it is in neither",
                    ),
            );
            owner = None;
        }
        taken.insert(name, owner);
    }

    let mut found: HashMap<(usize, usize), Vec<&str>> = HashMap::new();
    for name in free.keys() {
        if let Some(Some(owner)) = taken.get(name) {
            found.entry(*owner).or_default().push(name);
        }
    }
    let bonds = network.bonds.iter().enumerate().map(|(at, bond)| {
        let mut ports = bond.ports.clone();
        let mut expected = ports.len();
        for (index, selector) in bond.selectors.iter().enumerate() {
            let names = found.remove(&(at, index)).unwrap_or_default();
            expected += match &selector.expect {
                Some(expect) => usize::try_from(expect.value).unwrap_or(usize::MAX),
                None => names.len().max(1),
            };
            ports.extend(names.into_iter().map(|name| DesiredPort {
                name: Located::new(name.to_owned(), selector.span),
                options: selector.options.clone(),
            }));
        }
        SelectedPorts { ports, expected }
    });
    Selection {
        bonds: bonds.collect(),
        diagnostics,
    }
}

/// Whether a text fits a pattern: `*` is any text, `?` any character, `[a-c]` one of these, `[!a-c]` none of these. A
/// bracket that is not closed stands for itself.
pub fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and up to where it reaches.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
            continue;
        }
        if let Some(length) = fits_one(&pattern[p..], text[t]) {
            p += length;
            t += 1;
            continue;
        }
        // The last star takes one more; those before it need not.
        let Some((at, reach)) = star else {
            return false;
        };
        star = Some((at, reach + 1));
        p = at + 1;
        t = reach + 1;
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How much of a pattern one character fits.
fn fits_one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => {
            let negated = matches!(pattern.get(1), Some('!' | '^'));
            let start = 1 + usize::from(negated);
            // A bracket right at the start is one of the set.
            let close = pattern
                .get(start + 1..)
                .and_then(|rest| rest.iter().position(|c| *c == ']'));
            let Some(close) = close else {
                return (c == '[').then_some(1);
            };
            let end = start + 1 + close;
            let mut set = &pattern[start..end];
            let mut inside = false;
            while let [first, rest @ ..] = set {
                match rest {
                    ['-', last, rest @ ..] => {
                        inside |= (*first..=*last).contains(&c);
                        set = rest;
                    }
                    rest => {
                        inside |= *first == c;
                        set = rest;
                    }
                }
            }
            (inside != negated).then_some(end + 1)
        }
        literal => (*literal == c).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::load_text;

    fn facts(name: &str, mac: &str, path: &str, driver: &str) -> InterfaceFacts {
        InterfaceFacts {
            name: name.to_owned(),
            permanent_mac: mac.parse().ok(),
            path: Some(path.to_owned()),
            driver: Some(driver.to_owned()),
        }
    }

    /// A machine with two cards of two ports, and one on the board.
    fn machine() -> Vec<InterfaceFacts> {
        vec![
            facts("enp4s0f1", "02:00:00:00:04:01", "pci-0000:04:00.1", "ice"),
            facts("eno1", "02:00:00:00:00:01", "pci-0000:00:1f.6", "e1000e"),
            facts("enp3s0f0", "02:00:00:00:03:00", "pci-0000:03:00.0", "ixgbe"),
            facts("enp3s0f1", "02:00:00:00:03:01", "pci-0000:03:00.1", "ixgbe"),
            facts("enp4s0f0", "02:00:00:00:04:00", "pci-0000:04:00.0", "ice"),
        ]
    }

    /// The ports of each bond as `name/expected: ports`, and what is wrong.
    fn ports(text: &str, machine: &[InterfaceFacts]) -> (Vec<String>, Vec<String>) {
        let loaded = load_text("x.toml", text);
        assert_eq!(loaded.errors(), 0, "{:?}", loaded.diagnostics);
        let selection = select(&loaded.network, machine);
        let bonds = loaded.network.bonds.iter().zip(&selection.bonds);
        let bonds = bonds.map(|(bond, selected)| {
            let names: Vec<&str> = selected
                .ports
                .iter()
                .map(|port| port.name.value.as_str())
                .collect();
            format!(
                "{}/{}: {}",
                bond.name.value,
                selected.expected,
                names.join(" ")
            )
        });
        let wrong = selection.diagnostics.iter().map(|d| d.message.clone());
        (bonds.collect(), wrong.collect())
    }

    #[test]
    fn ports_are_found_by_each_criterion() {
        for (criterion, found) in [
            ("mac = \"02:00:00:00:03:01\"", "1: enp3s0f1"),
            ("path = \"pci-0000:04:*\"", "2: enp4s0f0 enp4s0f1"),
            ("driver = \"ixgbe\"", "2: enp3s0f0 enp3s0f1"),
            (
                "name = \"enp*\"\nexpect = 6",
                "6: enp3s0f0 enp3s0f1 enp4s0f0 enp4s0f1",
            ),
            ("name = \"*f1\"\ndriver = \"ice\"", "1: enp4s0f1"),
            ("driver = \"mlx5_core\"", "1: "),
        ] {
            let text = format!("[[bond.b.select]]\n{criterion}\n");
            let (bonds, wrong) = ports(&text, &machine());
            assert_eq!(
                (bonds, wrong),
                (vec![format!("b/{found}")], vec![]),
                "{criterion}"
            );
        }
    }

    #[test]
    fn names_go_first_and_order_does_not_depend_on_the_machine() {
        let text = "[bond.a]\nports = [\"enp4s0f1\", \"eno9\"]\n[[bond.a.select]]\ndriver = \"ixgbe\"\nprio = 7\n\
                    [[bond.b.select]]\nname = \"en*f?\"\ndriver = \"ice\"\n[bridge.br]\nports = [\"eno1\"]\n";
        let mut machine = machine();
        let expected = (
            vec![
                "a/4: enp4s0f1 eno9 enp3s0f0 enp3s0f1".to_owned(),
                "b/1: enp4s0f0".to_owned(),
            ],
            vec![],
        );
        for _ in 0..machine.len() {
            assert_eq!(ports(text, &machine), expected);
            machine.rotate_left(1);
        }
        let selection = select(&load_text("x", text).network, &machine);
        assert_eq!(
            selection.bonds[0].ports[2].options[0].value.to_string(),
            "prio=7"
        );
    }

    #[test]
    fn what_two_bonds_want_is_told_and_in_neither() {
        let text = "[[bond.a.select]]\ndriver = \"i*\"\n[[bond.b.select]]\npath = \"*:03:*\"\n";
        let (bonds, wrong) = ports(text, &machine());
        assert_eq!(bonds, ["a/2: enp4s0f0 enp4s0f1", "b/1: "]);
        assert_eq!(
            wrong,
            [
                "enp3s0f0 fits selectors of a and of b",
                "enp3s0f1 fits selectors of a and of b"
            ]
        );
    }

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("eth*", "eth0", true),
            ("eth*", "eth", true),
            ("*", "", true),
            ("eth?", "eth", false),
            ("eth?", "ethä", true),
            ("e*0", "enp3s0f0", true),
            ("e*s?f*", "enp3s0f0", true),
            ("eth[0-2]", "eth2", true),
            ("eth[0-2]", "eth3", false),
            ("eth[!0-2]", "eth3", true),
            ("eth[]]", "eth]", true),
            ("eth[", "eth[", true),
            ("eth[a", "etha", false),
            ("eth[a-]", "eth-", true),
            ("eth0", "eth01", false),
            ("", "", true),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
        // No pattern takes long.
        let (pattern, text) = ("*a".repeat(200) + "b", "a".repeat(2000));
        assert!(!glob(&pattern, &text));
    }
}
