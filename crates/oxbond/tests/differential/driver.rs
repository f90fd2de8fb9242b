//! The kernel's driver playing scripts, inside a guest whose clock counts instructions, so that its monitors have their turn
//! however busy this machine is; and the host's side of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use oxbond_core::option::{OptionId, OptionKey, find};
use oxbond_lab::guest::{Accelerator, Guest, Kernel};
use oxbond_wire::MacAddr;

use crate::frames::Kind;
use crate::observation::{OK, Observation, Played, neutral};
use crate::rtnl::Rtnl;
use crate::script::{PORTS, Pair, Port, Script, Step};
use crate::wires::{QUIET, Wires};

/// Marks the lines of the guest's output that are results.
const PLAYED: &str = "PLAYED ";

/// The test that plays, in the guest.
const INSIDE: &str = "inside_driver_plays";

/// Scripts played at once: most of the time they wait.
const AT_ONCE: usize = 8;

/// A step that takes so much longer than planned may have kept the driver's monitor, too, from its turn. Where that counts
/// out a delay, by its own rounds, less is allowed.
const LATE: Duration = Duration::from_millis(1000);
const LATE_WITH_DELAYS: Duration = Duration::from_millis(500);

/// The driver of this series plays; some later options were ported back to it.
pub(crate) const SERIES: (u8, u8) = (6, 1);

/// For all of them: emulated, most of it is the processor's work.
const PATIENCE: Duration = Duration::from_secs(900);

/// Boots the guest, which plays all scripts, and brings back what was seen.
pub(crate) fn play_in_guest() -> Result<Vec<Played>> {
    let guest = Guest::new(Kernel::V6_1).accelerator(Accelerator::Icount);
    let said = guest.timeout(PATIENCE).run_test(INSIDE)?;
    said.lines()
        .filter_map(|line| line.split_once(PLAYED))
        .map(|(_, json)| serde_json::from_str(json).with_context(|| json.to_owned()))
        .collect()
}

/// Plays all scripts on the kernel that runs this, and writes what was seen to standard output.
pub(crate) fn play_here(scripts: &[Script]) {
    assert!(
        Path::new("/run/oxbond-guest").exists(),
        "this test runs in a guest; the test that boots one starts it"
    );
    // Before the first namespace is made: its settings of IPv6 must be there.
    let modules = std::process::Command::new("modprobe")
        .args(["-a", "ipv6", "bonding", "veth"])
        .status();
    assert!(modules.is_ok_and(|status| status.success()));
    let (next, said) = (AtomicUsize::new(0), Mutex::new(()));
    // Namespaces stay to the end: to clear one away holds the kernel's lock for as long as several monitor intervals.
    let used = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let driver = Driver::new(script).unwrap_or_else(|e| panic!("{e:#}"));
                    let played = driver
                        .play(script)
                        .unwrap_or_else(|e| panic!("{}: {e:#}", script.name));
                    used.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(driver);
                    let json = serde_json::to_string(&played).unwrap_or_default();
                    let _one_at_a_time = said.lock();
                    println!("\n{PLAYED}{json}");
                }
            });
        }
    });
}

/// Whether it is determined which frame leaves where: not in round robin, which goes on counting from where it was.
pub(crate) fn sends_map(script: &Script) -> bool {
    let mode = |pairs: &[Pair]| {
        pairs
            .iter()
            .any(|(name, value)| name == "mode" && value != "balance-rr")
    };
    script
        .steps
        .iter()
        .any(|step| matches!(step, Step::Bond(pairs) | Step::Set(pairs) if mode(pairs)))
}

struct Driver {
    wires: Wires,
    rtnl: Rtnl,
    /// Of the ports.
    indices: BTreeMap<String, u32>,
    sends_map: bool,
}

impl Driver {
    fn new(script: &Script) -> Result<Self> {
        let wires = Wires::new()?;
        let rtnl = wires.host.run(Rtnl::open)?;
        let links = rtnl.links()?.into_iter();
        Ok(Self {
            indices: links.map(|(name, link)| (name, link.index)).collect(),
            wires,
            rtnl,
            sends_map: sends_map(script),
        })
    }

    fn play(&self, script: &Script) -> Result<Played> {
        let start = Instant::now();
        let mut steps = Vec::new();
        let mut up = false;
        let delay = |name: &str| name == "updelay" || name == "downdelay";
        let delays = |step: &Step| matches!(step, Step::Bond(pairs) if pairs.iter().any(|(name, _)| delay(name)));
        let tolerance = if script.steps.iter().any(delays) {
            LATE_WITH_DELAYS
        } else {
            LATE
        };
        for step in &script.steps {
            let begun = start.elapsed();
            let seen = self.step(step).with_context(|| step.to_string())?;
            steps.push((u64::try_from(begun.as_millis())?, seen));
            let planned = match step {
                Step::Wait(millis) => Duration::from_millis(*millis),
                Step::Send(..) => QUIET,
                _ => Duration::ZERO,
            };
            // Before the bond is up there is no monitor.
            up |= *step == Step::Up;
            let taken = start.elapsed() - begun;
            ensure!(
                !up || taken <= planned + tolerance,
                "{step}: took {taken:?}"
            );
        }
        let script = script.name.clone();
        Ok(Played { script, steps })
    }

    fn step(&self, step: &Step) -> Result<Observation> {
        let rtnl = &self.rtnl;
        let index = |name: &str| self.indices.get(name).copied().unwrap_or(0);
        let port = |port: &Port| index(&port.to_string());
        let done = match step {
            Step::Bond(pairs) => rtnl.create(pairs, &index)?,
            Step::Add(name) => rtnl.master(port(name), self.bond()?)?,
            Step::Remove(name) => rtnl.master(port(name), 0)?,
            Step::Up => rtnl.admin(self.bond()?, true)?,
            Step::Down => rtnl.admin(self.bond()?, false)?,
            Step::Shut(name) => rtnl.admin(port(name), false)?,
            Step::Open(name) => rtnl.admin(port(name), true)?,
            Step::Cut(name) => Ok(self.wires.plug(*name, false)?),
            Step::Restore(name) => Ok(self.wires.plug(*name, true)?),
            Step::Station => Ok(self.wires.station()?),
            Step::Silence(name) => Ok(self.wires.answer(*name, false)?),
            Step::Answer(name) => Ok(self.wires.answer(*name, true)?),
            Step::Set(pairs) => rtnl.set(self.bond()?, pairs, &index)?,
            Step::Write(pair) => return self.write(pair).map(Observation::result),
            Step::Port(name, pairs) => rtnl.set_port(port(name), pairs)?,
            Step::Address(name) => rtnl.address(self.bond()?, name.mac().0)?,
            Step::Mtu(mtu) => rtnl.mtu(self.bond()?, *mtu)?,
            Step::Wait(millis) => {
                std::thread::sleep(Duration::from_millis(*millis));
                Ok(())
            }
            Step::Send(kind, count) => return self.send(*kind, *count),
            Step::Look => return self.look(),
        };
        Ok(Observation::result(match done {
            Ok(()) => OK.to_owned(),
            Err(refusal) => refused(refusal.errno, refusal.words.as_deref()),
        }))
    }

    /// The bond's index; 0 while there is none, at which the kernel finds no interface.
    fn bond(&self) -> Result<u32> {
        Ok(self.rtnl.links()?.get("bond0").map_or(0, |link| link.index))
    }

    fn write(&self, (name, value): &Pair) -> Result<String> {
        // The files show the namespace they were mounted in, so each script has its own mount.
        let mounted = PathBuf::from(format!("/run/sys-{}", self.wires.host.label()));
        if !mounted.exists() {
            std::fs::create_dir(&mounted)?;
            let here = mounted.to_str().context("a path in UTF-8")?;
            self.wires
                .host
                .execute("mount", &format!("-t sysfs sysfs {here}"))?;
        }
        let file = mounted.join("class/net/bond0/bonding").join(name);
        Ok(match std::fs::write(&file, format!("{value}\n")) {
            Ok(()) => OK.to_owned(),
            Err(error) => refused(error.raw_os_error().unwrap_or_default(), None),
        })
    }

    fn send(&self, kind: Kind, count: usize) -> Result<Observation> {
        let tally = self.wires.send(kind, count)?;
        Ok(tally.observation(self.sends_map))
    }

    fn look(&self) -> Result<Observation> {
        let host = &self.wires.host;
        let mut seen = Observation::result(OK);
        let text = host.run(|| std::fs::read_to_string("/proc/thread-self/net/bonding/bond0"));
        let Ok(text) = text else {
            return Ok(Observation::result("no bond"));
        };
        seen.put_proc(&text);
        for (name, link) in self.rtnl.links()? {
            let mac = MacAddr(link.mac[..].try_into().unwrap_or_default());
            let mac = neutral(&mac.to_string());
            if name == "bond0" {
                seen.put("mac", mac);
                seen.put("mtu", link.mtu.to_string());
                for (option, value) in &link.options {
                    match find(option).map(|spec| spec.key) {
                        // An interface's number here; by name in /proc, and by the ports' roles.
                        Some(OptionKey::Bond(OptionId::ActiveSlave | OptionId::Primary)) => {}
                        _ if value.is_empty() => {}
                        _ => seen.put(format!("option/{option}"), value),
                    }
                }
            } else if PORTS.iter().any(|port| port.to_string() == name) {
                seen.put(format!("{name}/mtu"), link.mtu.to_string());
                seen.put(format!("{name}/mac"), mac);
                if let Some(state) = link.state {
                    let role = if state == 0 { "active" } else { "backup" };
                    seen.put(format!("{name}/role"), role);
                    seen.put(format!("{name}/prio"), link.prio.unwrap_or(0).to_string());
                }
            }
        }
        Ok(seen)
    }
}

/// A refusal: the words that came with it, else the system's for its number, and the number.
pub(crate) fn refused(errno: i32, words: Option<&str>) -> String {
    match words {
        Some(words) => format!("{words} ({errno})"),
        None => format!("{} ({errno})", words_of(errno)),
    }
}

/// The system's words for an error number.
fn words_of(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    words.to_owned()
}
