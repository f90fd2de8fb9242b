//! The whole program playing scripts in real time: the daemon in a namespace, steered by `oxbond ip` in place of `ip`.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use oxbond_core::option::{OptionKey, find};
use oxbond_lab::proc::Process;
use serde_json::Value;

use crate::driver::sends_map;
use crate::observation::{OK, Observation, Played, neutral};
use crate::script::{PORTS, Pair, Script, Step};
use crate::wires::Wires;

/// Longest time for the daemon to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Plays a script.
pub(crate) fn play(script: &Script) -> Result<Played> {
    let program = Program::new()?;
    let start = Instant::now();
    let mut steps = Vec::new();
    for step in &script.steps {
        let at = u64::try_from(start.elapsed().as_millis())?;
        let seen = program.step(step, sends_map(script));
        steps.push((at, seen.with_context(|| step.to_string())?));
    }
    Ok(Played {
        script: script.name.clone(),
        steps,
    })
}

struct Program {
    // Dropped before the directory it writes to.
    _daemon: Process,
    wires: Wires,
    directory: Directory,
}

impl Drop for Program {
    fn drop(&mut self) {
        // Whatever happened, no pin may stay. A bond that was never made needs no removing.
        let _ = self.ip("link del bond0");
    }
}

/// The daemon's directory, which goes with this value, the daemon's own bpffs in it first.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        // Nothing depends on its absence.
        let _ = umount
            .args(["--lazy", "--quiet"])
            .arg(self.0.join("bpf"))
            .output();
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn oxbond(wires: &Wires, directory: &Directory) -> Command {
    let mut command = wires.host.command(env!("CARGO_BIN_EXE_oxbond"));
    command.env("OXBOND_RUN_DIR", &directory.0);
    command
}

impl Program {
    fn new() -> Result<Self> {
        let wires = Wires::new()?;
        let directory =
            Directory(std::env::temp_dir().join(format!("oxbond-{}", wires.host.label())));
        let mut daemon = oxbond(&wires, &directory);
        daemon.arg("daemon");
        let mut daemon = Process::start("oxbond daemon", daemon)?;
        daemon.wait_ready(PATIENCE, "it answers", |_| {
            let mut wait = oxbond(&wires, &directory);
            let waited = wait.args(["wait", "--timeout", "0"]).output();
            waited.is_ok_and(|output| output.status.success())
        })?;
        Ok(Self {
            _daemon: daemon,
            wires,
            directory,
        })
    }

    fn step(&self, step: &Step, sends_map: bool) -> Result<Observation> {
        let result = match step {
            Step::Bond(pairs) => self.ip(&format!("link add bond0 type bond {}", words(pairs)))?,
            Step::Add(port) => self.ip(&format!("link set {port} master bond0"))?,
            Step::Remove(port) => self.ip(&format!("link set {port} nomaster"))?,
            Step::Up => self.ip("link set bond0 up")?,
            Step::Down => self.ip("link set bond0 down")?,
            Step::Shut(port) => self.ip(&format!("link set {port} down"))?,
            Step::Open(port) => self.ip(&format!("link set {port} up"))?,
            Step::Cut(port) => self.wires.plug(*port, false).map(|()| OK.to_owned())?,
            Step::Restore(port) => self.wires.plug(*port, true).map(|()| OK.to_owned())?,
            Step::Station => self.wires.station().map(|()| OK.to_owned())?,
            Step::Silence(port) => self.wires.answer(*port, false).map(|()| OK.to_owned())?,
            Step::Answer(port) => self.wires.answer(*port, true).map(|()| OK.to_owned())?,
            Step::Set(pairs) => self.ip(&format!("link set bond0 type bond {}", words(pairs)))?,
            Step::Write(_) => bail!("the program has no files in sysfs"),
            Step::Port(port, pairs) => {
                self.ip(&format!("link set {port} type bond_slave {}", words(pairs)))?
            }
            Step::Address(port) => self.ip(&format!("link set bond0 address {}", port.mac()))?,
            Step::Mtu(mtu) => self.ip(&format!("link set bond0 mtu {mtu}"))?,
            Step::Wait(millis) => {
                std::thread::sleep(Duration::from_millis(*millis));
                OK.to_owned()
            }
            Step::Send(kind, count) => {
                let tally = self.wires.send(*kind, *count)?;
                return Ok(tally.observation(sends_map));
            }
            Step::Look => return self.look(),
        };
        Ok(Observation::result(result))
    }

    /// Runs `oxbond ip`; the driver's words if it is refused.
    fn ip(&self, arguments: &str) -> Result<String> {
        let mut command = oxbond(&self.wires, &self.directory);
        let output = command
            .arg("ip")
            .args(arguments.split_whitespace())
            .output()?;
        if output.status.success() {
            return Ok(OK.to_owned());
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        let line = errors.lines().next().unwrap_or_default();
        let said = ["Error: ", "RTNETLINK answers: "]
            .iter()
            .find_map(|before| line.strip_prefix(before));
        Ok(said.unwrap_or(line).trim_end_matches('.').to_owned())
    }

    fn said(&self, arguments: &str) -> Result<String> {
        let mut command = oxbond(&self.wires, &self.directory);
        let output = command.args(arguments.split_whitespace()).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "oxbond {arguments}: {errors}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn look(&self) -> Result<Observation> {
        let mut seen = Observation::result(OK);
        seen.put_proc(&self.said("status bond0 --proc")?);
        let links: Vec<Value> = serde_json::from_str(&self.said("ip -d -j link show")?)?;
        for link in links {
            let name = link["ifname"].as_str().context("a link without a name")?;
            let mac = neutral(&text_of(&link["address"]));
            let info = &link["linkinfo"];
            if name == "bond0" {
                seen.put("mac", mac);
                seen.put("mtu", text_of(&link["mtu"]));
                put_options(&info["info_data"], &mut seen)?;
            } else if PORTS.iter().any(|port| port.to_string() == name) {
                seen.put(format!("{name}/mac"), mac);
                seen.put(format!("{name}/mtu"), text_of(&link["mtu"]));
                let data = &info["info_slave_data"];
                if !data.is_null() {
                    seen.put(
                        format!("{name}/role"),
                        text_of(&data["state"]).to_lowercase(),
                    );
                    seen.put(format!("{name}/prio"), text_of(&data["prio"]));
                }
            }
        }
        Ok(seen)
    }
}

fn words(pairs: &[Pair]) -> String {
    let word = |(name, value): &Pair| match (name.as_str(), value.as_str()) {
        ("active_slave", "-") => "clear_active_slave".to_owned(),
        _ => format!("{name} {value}"),
    };
    pairs.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Options as `ip -d -j` prints them, under their names.
fn put_options(data: &Value, seen: &mut Observation) -> Result<()> {
    for (key, value) in data.as_object().context("a bond without options")? {
        let name = match key.as_str() {
            "num_peer_notif" => "num_grat_arp",
            "ad_lacp_active" => "lacp_active",
            "ad_lacp_rate" => "lacp_rate",
            // Compared by the text in /proc.
            "active_slave" | "primary" | "ad_info" => continue,
            other => other,
        };
        let spec = find(name).ok_or_else(|| anyhow!("there is no option {name}"))?;
        ensure!(matches!(spec.key, OptionKey::Bond(_)), "{name}");
        seen.put(format!("option/{}", spec.name), text_of(value));
    }
    Ok(())
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text_of).collect::<Vec<_>>().join(","),
        // So `ip` prints arp_validate.
        Value::Null => "none".to_owned(),
        Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
        other => other.to_string(),
    }
}
