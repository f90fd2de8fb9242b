//! Namespaces and interfaces inside the guest.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oxbond_core::option::{OptionChange, PortOptionChange};
use oxbond_lab::machine::PATIENCE;
use oxbond_linux::inspect::{self, Candidate};
use oxbond_linux::netlink::{Netlink, OperState};

/// Runs a play on a thread with a network namespace of its own, which vanishes with it.
pub(crate) fn in_own_namespace(play: fn()) {
    let thread = std::thread::spawn(move || {
        // SAFETY: the descriptor table stays shared; only this thread, which ends with the play, moves.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        play();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Carries out lines of `ip`, none of which may fail.
pub(crate) fn ip(lines: &str) {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines.as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success(), "{lines}");
}

/// Index of an interface that there is.
pub(crate) fn index(nl: &mut Netlink, name: &str) -> u32 {
    let link = nl.link(name).unwrap();
    link.unwrap_or_else(|| panic!("no {name}")).index
}

/// Options from words: `mode=1 miimon=100`.
pub(crate) fn options(words: &str) -> Vec<OptionChange> {
    let pair = |word: &str| {
        let (name, value) = word.split_once('=').unwrap();
        OptionChange::parse(name, value).unwrap_or_else(|e| panic!("{e}"))
    };
    words.split_whitespace().map(pair).collect()
}

/// Options of a port from words.
pub(crate) fn port_options(words: &str) -> Vec<PortOptionChange> {
    let pair = |word: &str| {
        let (name, value) = word.split_once('=').unwrap();
        PortOptionChange::parse(name, value).unwrap_or_else(|e| panic!("{e}"))
    };
    words.split_whitespace().map(pair).collect()
}

/// An interface that is to become a port.
pub(crate) fn candidate(nl: &mut Netlink, name: &str) -> Candidate {
    let taken = std::collections::BTreeMap::new();
    inspect::inspect_port(nl, "bond0", name, &taken).unwrap()
}

/// Pairs `p0`/`q0` and so on, the far ends up.
pub(crate) fn wires(count: usize) {
    let wire =
        |n| format!("link add p{n} type veth peer name q{n}\nlink set q{n} addrgenmode none up\n");
    ip(&(0..count).map(wire).collect::<String>());
}

/// Every interface but for what counts, every address and every route, as words.
pub(crate) fn surroundings(nl: &mut Netlink) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for mut link in nl.links().unwrap() {
        link.carrier_changes = 0;
        if link.oper == OperState::Unknown {
            link.oper = OperState::Up; // As of a VLAN that was just made.
        }
        if link.port_kind.is_some() {
            link.mac = None; // In balance-tlb and balance-alb the driver changes it all the time.
        }
        words.insert(format!("{link:?}"));
    }
    for record in nl.all_addresses().unwrap() {
        let temporary = record.temporary && record.address.address.is_ipv4();
        words.insert(format!("{:?} {temporary}", record.address));
    }
    for record in nl.routes().unwrap() {
        words.insert(format!("{:?} {:?}", record.ifindexes, record.route));
    }
    for record in nl.neighbours_set_by_hand().unwrap() {
        words.insert(format!("{record:?}"));
    }
    words
}

/// Waits until something is so, as long as that may take.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "not so in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until nothing moves any more, as far as a quarter of a second tells: IPv6 finds links and makes addresses.
pub(crate) fn settled(nl: &mut Netlink) -> BTreeSet<String> {
    eventually("all stands still", || {
        let one = surroundings(nl);
        std::thread::sleep(Duration::from_millis(250));
        (one == surroundings(nl)).then_some(one)
    })
}

/// Waits until the surroundings are these.
pub(crate) fn eventually_as(what: &str, nl: &mut Netlink, wanted: &BTreeSet<String>) {
    let end = Instant::now() + PATIENCE;
    loop {
        let now = surroundings(nl);
        if now == *wanted {
            return;
        }
        assert!(
            Instant::now() < end,
            "{what}: not as before\nmissing {:#?}\nnew {:#?}",
            wanted.difference(&now).collect::<Vec<_>>(),
            now.difference(wanted).collect::<Vec<_>>()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
