//! The words of `ip` and `ip link`, split into what concerns bonds and what does not.
//!
//! ```text
//!   ip [OPTION]... OBJECT COMMAND WORD...
//!      └ Globals ┘        └ Verb ┘└ Change (add, set, change, replace, delete) or Filter (show)
//! ```
//!
//! Which words may be cut short, and which keyword a short one means, is as iproute2 6.1 was observed to take them.

/// The options before the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Globals {
    /// Words for the system's `ip` when we print its answer: all but those below.
    pub kept: Vec<String>,
    /// `-n NETNS`.
    pub netns: Option<String>,
    /// `-batch FILE`.
    pub batch: Option<String>,
    /// `-force`.
    pub force: bool,
    /// `-json`.
    pub json: bool,
    /// `-pretty`.
    pub pretty: bool,
    /// `-oneline`.
    pub oneline: bool,
    /// `-brief`.
    pub brief: bool,
}

impl Globals {
    /// Splits them off; `None` when there is one that only the system's `ip` may know.
    pub fn split(words: &[String]) -> Option<(Self, &[String])> {
        let mut globals = Self::default();
        let mut words = words;
        while let Some((word, rest)) = words.split_first() {
            if !word.starts_with('-') {
                break;
            }
            words = rest;
            let name = if word.starts_with("--") {
                &word[1..]
            } else {
                word
            };
            let name = name.split_once('=').map_or(name, |(name, _)| name);
            // In the order in which `ip` compares them.
            const KNOWN: [&str; 24] = [
                "-loops",
                "-family",
                "-4",
                "-6",
                "-0",
                "-M",
                "-B",
                "-human-readable",
                "-iec",
                "-stats",
                "-statistics",
                "-details",
                "-resolve",
                "-oneline",
                "-timestamp",
                "-tshort",
                "-force",
                "-batch",
                "-brief",
                "-json",
                "-pretty",
                "-rcvbuf",
                "-netns",
                "-Numeric",
            ];
            let known = KNOWN
                .iter()
                .find(|known| name.len() > 1 && known.starts_with(name));
            let mut value = || {
                let (value, rest) = words.split_first()?;
                words = rest;
                Some(value.clone())
            };
            match known.copied() {
                Some("-netns") => globals.netns = Some(value()?),
                Some("-batch") => globals.batch = Some(value()?),
                Some("-force") => globals.force = true,
                Some("-oneline") => globals.oneline = true,
                Some(flag @ ("-loops" | "-family" | "-rcvbuf")) => {
                    globals.kept.extend([flag.to_owned(), value()?]);
                }
                Some(flag) => {
                    globals.json |= flag == "-json";
                    globals.pretty |= flag == "-pretty";
                    globals.brief |= flag == "-brief";
                    globals.kept.push(flag.to_owned());
                }
                // Colours would stand in the way of what we put in; without them the text is the same.
                None if name.len() > 1 && "-color".starts_with(name) => {}
                None => return None,
            }
        }
        Some((globals, words))
    }
}

/// What `ip link` is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `add`: make a device.
    Add,
    /// `set`, `change`: change one.
    Set,
    /// `replace`: either.
    Replace,
    /// `delete`.
    Delete,
    /// `show`, and nothing at all.
    Show,
}

/// Whether this word means the object `link`.
pub fn is_link(word: &str) -> bool {
    is_short_for(word, "link")
}

/// The command of `ip link`; `None` for those that have nothing to do with bonds, and unknown ones.
pub fn verb(word: Option<&str>) -> Option<Verb> {
    const VERBS: [(&str, Verb); 9] = [
        ("add", Verb::Add),
        ("set", Verb::Set),
        ("change", Verb::Set),
        ("replace", Verb::Replace),
        ("delete", Verb::Delete),
        ("show", Verb::Show),
        ("list", Verb::Show),
        ("lst", Verb::Show),
        ("ls", Verb::Show),
    ];
    let Some(word) = word else {
        return Some(Verb::Show);
    };
    let found = VERBS.iter().find(|(verb, _)| is_short_for(word, verb));
    found.map(|(_, verb)| *verb)
}

/// What is to happen to the port's membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Master {
    /// `master DEV` (or `vrf NAME`).
    Join(String),
    /// `nomaster`.
    Leave,
}

/// The words of `ip link add`, `set`, `change`, `replace` and `delete`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// `dev NAME`, or the name alone.
    pub device: Option<String>,
    /// Membership.
    pub master: Option<Master>,
    /// `type KIND`.
    pub kind: Option<String>,
    /// What follows the kind.
    pub kind_words: Vec<String>,
    /// Everything else: the keyword in full, and its values.
    pub others: Vec<(&'static str, Vec<String>)>,
}

/// Why words are not a [`Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// A value is missing.
    Incomplete,
    /// `help`, or a keyword with a grammar of its own (`vf`, `xdp`): no business of ours.
    Foreign,
    /// A second device, or no word of `ip`.
    Garbage(String),
}

/// Keyword, whether it must be written in full, number of its values; in the order in which `ip` compares them.
const KEYWORDS: [(&str, bool, usize); 37] = [
    ("up", true, 0),
    ("down", true, 0),
    ("name", true, 1),
    ("index", true, 1),
    ("link", false, 1),
    ("address", false, 1),
    ("broadcast", false, 1),
    ("brd", false, 1),
    ("txqueuelen", false, 1),
    ("qlen", true, 1),
    ("txqlen", false, 1),
    ("mtu", true, 1),
    ("netns", true, 1),
    ("multicast", true, 1),
    ("allmulticast", true, 1),
    ("promisc", true, 1),
    ("trailers", true, 1),
    ("arp", true, 1),
    ("carrier", true, 1),
    ("master", false, 1),
    ("vrf", true, 1),
    ("nomaster", false, 0),
    ("dynamic", false, 1),
    ("type", false, 1),
    ("alias", false, 1),
    ("group", true, 1),
    ("mode", true, 1),
    ("state", true, 1),
    ("numtxqueues", false, 1),
    ("numrxqueues", false, 1),
    ("addrgenmode", false, 1),
    ("link-netns", false, 1),
    ("link-netnsid", false, 1),
    ("protodown", true, 1),
    ("protodown_reason", true, 2),
    ("parentdev", true, 1),
    ("dev", true, 1),
];

/// Keywords with one value whose names all end alike.
const SIZES: [&str; 5] = [
    "gso_max_size",
    "gso_max_segs",
    "gro_max_size",
    "gso_ipv4_max_size",
    "gro_ipv4_max_size",
];

/// Keywords whose values have a grammar of their own, of no interest to bonds.
const FOREIGN: [&str; 5] = ["vf", "xdp", "xdpgeneric", "xdpdrv", "xdpoffload"];

impl Change {
    /// Reads the words behind the command.
    ///
    /// # Errors
    ///
    /// Says why they are no change of a link.
    pub fn parse(words: &[String]) -> Result<Self, Oddity> {
        let mut change = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if FOREIGN.contains(&word.as_str()) || is_short_for(word, "help") {
                return Err(Oddity::Foreign);
            }
            let sizes = SIZES.iter().map(|name| (*name, true, 1));
            let keyword = KEYWORDS
                .iter()
                .copied()
                .chain(sizes)
                .find(|(name, whole, _)| word == name || (!whole && is_short_for(word, name)));
            let Some((keyword, _, values)) = keyword else {
                change.name_device(word)?;
                continue;
            };
            let values = (0..values)
                .map(|_| words.next().cloned().ok_or(Oddity::Incomplete))
                .collect::<Result<Vec<_>, _>>()?;
            match (keyword, values.first()) {
                ("dev", Some(name)) => change.name_device(name)?,
                ("master" | "vrf", Some(name)) => change.master = Some(Master::Join(name.clone())),
                ("nomaster", _) => change.master = Some(Master::Leave),
                ("type", Some(kind)) => {
                    change.kind = Some(kind.clone());
                    change.kind_words = words.cloned().collect();
                    break;
                }
                _ => change.others.push((keyword, values)),
            }
        }
        Ok(change)
    }

    fn name_device(&mut self, name: &str) -> Result<(), Oddity> {
        if self.device.is_some() {
            return Err(Oddity::Garbage(name.to_owned()));
        }
        self.device = Some(name.to_owned());
        Ok(())
    }

    /// Takes the values of a keyword out of the others; the last one counts.
    pub fn take(&mut self, keyword: &str) -> Option<String> {
        let mut taken = None;
        self.others.retain(|(name, values)| {
            let found = *name == keyword;
            if found {
                taken = values.first().cloned();
            }
            !found
        });
        taken
    }

    /// The others as words again.
    pub fn other_words(&self) -> Vec<String> {
        let words = |(name, values): &(&'static str, Vec<String>)| {
            std::iter::once((*name).to_owned())
                .chain(values.iter().cloned())
                .collect::<Vec<_>>()
        };
        self.others.iter().flat_map(words).collect()
    }
}

/// The words of `ip link show`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// `dev NAME`, or the name alone.
    pub device: Option<String>,
    /// `type KIND`.
    pub kind: Option<String>,
    /// `master DEV` (or `vrf NAME`), `nomaster`.
    pub master: Option<Master>,
    /// `up`, `group GROUP`.
    pub others: Vec<String>,
}

impl Filter {
    /// Reads the words behind the command, none of which may be cut short; `None` when the system's `ip` is to say what
    /// is wrong with them.
    pub fn parse(words: &[String]) -> Option<Self> {
        let mut filter = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "up" => filter.others.push(word.clone()),
                "group" => filter.others.extend([word.clone(), words.next()?.clone()]),
                "type" => filter.kind = Some(words.next()?.clone()),
                "master" | "vrf" => filter.master = Some(Master::Join(words.next()?.clone())),
                "nomaster" => filter.master = Some(Master::Leave),
                word => {
                    let name = if word == "dev" { words.next()? } else { word };
                    if filter.device.replace(name.to_owned()).is_some() {
                        return None;
                    }
                }
            }
        }
        Some(filter)
    }
}

/// Whether a word is this keyword, or its beginning.
pub fn is_short_for(word: &str, keyword: &str) -> bool {
    !word.is_empty() && keyword.starts_with(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    /// `DEVICE | MASTER | KIND: WORDS | OTHERS`.
    fn change(words: &str) -> String {
        let change = Change::parse(&split(words)).unwrap_or_else(|e| panic!("{words}: {e:?}"));
        let master = match &change.master {
            Some(Master::Join(name)) => name,
            Some(Master::Leave) => "none",
            None => "-",
        };
        format!(
            "{} | {master} | {}: {} | {}",
            change.device.as_deref().unwrap_or("-"),
            change.kind.as_deref().unwrap_or("-"),
            change.kind_words.join(" "),
            change.other_words().join(" ")
        )
    }

    #[test]
    fn words_of_link_changes_are_sorted() {
        let cases = [
            ("bond0 type bond", "bond0 | - | bond:  | "),
            ("dev bond0 type bond mode 1", "bond0 | - | bond: mode 1 | "),
            ("name bond0 type bond", "- | - | bond:  | name bond0"),
            ("type bond miimon 1", "- | - | bond: miimon 1 | "),
            (
                "bond0 address 02:00:00:00:00:01 mtu 9000 type bond",
                "bond0 | - | bond:  | address 02:00:00:00:00:01 mtu 9000",
            ),
            (
                "mtu 9000 bond0 addr 02:00:00:00:00:01 ty bond",
                "bond0 | - | bond:  | mtu 9000 address 02:00:00:00:00:01",
            ),
            ("enp3s0 master bond0", "enp3s0 | bond0 | -:  | "),
            ("master bond0 dev enp3s0", "enp3s0 | bond0 | -:  | "),
            ("enp3s0 m bond0 up", "enp3s0 | bond0 | -:  | up"),
            ("enp3s0 vrf blue", "enp3s0 | blue | -:  | "),
            ("enp3s0 nomaster", "enp3s0 | none | -:  | "),
            ("enp3s0 nom", "enp3s0 | none | -:  | "),
            ("n enp3s0", "enp3s0 | none | -:  | "),
            ("up dev bond0", "bond0 | - | -:  | up"),
            (
                "bond0 txq 500 alias x",
                "bond0 | - | -:  | txqueuelen 500 alias x",
            ),
            ("bond0 qlen 500", "bond0 | - | -:  | qlen 500"),
            (
                "bond0 nu 16 numr 4 type bond",
                "bond0 | - | bond:  | numtxqueues 16 numrxqueues 4",
            ),
            (
                "bond0 d on b ff:ff:ff:ff:ff:ff",
                "bond0 | - | -:  | dynamic on broadcast ff:ff:ff:ff:ff:ff",
            ),
            (
                "enp3s0 type bond_slave prio 10",
                "enp3s0 | - | bond_slave: prio 10 | ",
            ),
            (
                "enp3s0 down master bond0 type bond_slave queue_id 2",
                "enp3s0 | bond0 | bond_slave: queue_id 2 | down",
            ),
            (
                "bond0 gso_max_size 1000 protodown_reason 1 on",
                "bond0 | - | -:  | gso_max_size 1000 protodown_reason 1 on",
            ),
        ];
        for (words, expected) in cases {
            assert_eq!(change(words), expected, "{words}");
        }
    }

    #[test]
    fn what_is_no_link_change_is_recognised() {
        let garbage = |word: &str| Oddity::Garbage(word.to_owned());
        let cases = [
            ("x y type bond", garbage("y")),
            ("bond0 dev bond0 down", garbage("bond0")),
            ("br0 mt 1500", garbage("mt")),
            ("br0 mtu", Oddity::Incomplete),
            ("br0 type", Oddity::Incomplete),
            ("protodown_reason 1", Oddity::Incomplete),
            ("enp3s0 vf 0 mac 02:00:00:00:00:01", Oddity::Foreign),
            ("enp3s0 xdp off", Oddity::Foreign),
            ("help", Oddity::Foreign),
        ];
        for (words, expected) in cases {
            assert_eq!(Change::parse(&split(words)), Err(expected), "{words}");
        }
    }

    #[test]
    fn commands_and_objects_may_be_cut_short() {
        let verbs = [
            (None, Some(Verb::Show)),
            (Some("a"), Some(Verb::Add)),
            (Some("s"), Some(Verb::Set)),
            (Some("c"), Some(Verb::Set)),
            (Some("change"), Some(Verb::Set)),
            (Some("r"), Some(Verb::Replace)),
            (Some("del"), Some(Verb::Delete)),
            (Some("d"), Some(Verb::Delete)),
            (Some("sh"), Some(Verb::Show)),
            (Some("l"), Some(Verb::Show)),
            (Some("ls"), Some(Verb::Show)),
            (Some("lst"), Some(Verb::Show)),
            (Some("xstats"), None),
            (Some("help"), None),
            (Some("bond0"), None),
        ];
        for (word, expected) in verbs {
            assert_eq!(verb(word), expected, "{word:?}");
        }
        for word in ["l", "li", "link"] {
            assert!(is_link(word));
        }
        for word in ["l2tp", "a", "addr", "", "links"] {
            assert!(!is_link(word));
        }
    }

    #[test]
    fn filters_are_read() {
        let filter = Filter::parse(&split("up type bond master br0 dev bond0 group 7")).unwrap();
        assert_eq!(filter.device.as_deref(), Some("bond0"));
        assert_eq!(filter.kind.as_deref(), Some("bond"));
        assert_eq!(filter.master, Some(Master::Join("br0".into())));
        assert_eq!(filter.others, ["up", "group", "7"]);
        // None may be cut short, so this is two devices.
        assert_eq!(Filter::parse(&split("typ bond")), None);
        assert_eq!(Filter::parse(&split("type")), None);
    }

    #[test]
    fn options_before_the_object_are_split_off() {
        let words = split("-d --json -p -s -s -n blue -o -br -c=always -4 link show");
        let (globals, rest) = Globals::split(&words).unwrap();
        assert_eq!(rest, ["link", "show"]);
        assert_eq!(globals.netns.as_deref(), Some("blue"));
        assert!(globals.json && globals.pretty && globals.oneline && globals.brief);
        let kept = [
            "-details", "-json", "-pretty", "-stats", "-stats", "-brief", "-4",
        ];
        assert_eq!(globals.kept, kept);
        let words = split("-netns blue -force -b file -rc 1000");
        let (globals, rest) = Globals::split(&words).unwrap();
        assert_eq!(
            (globals.batch.as_deref(), globals.force),
            (Some("file"), true)
        );
        assert_eq!(globals.kept, ["-rcvbuf", "1000"]);
        assert!(rest.is_empty());
        // Unknown to us, so for the system's ip to judge.
        assert_eq!(Globals::split(&split("-V")), None);
        assert_eq!(Globals::split(&split("-n")), None);
    }
}
