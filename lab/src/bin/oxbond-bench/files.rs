//! Files: how long `oxbond lint` takes for those of a normal host, start of the process included, and for a netplan file of
//! ten thousand bonds.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::median;

/// Bonds of the large file.
const BONDS: usize = 10_000;

/// Runs of the small one in a round: they take milliseconds.
const RUNS: usize = 20;

/// Measures both.
pub(super) fn measure(program: &Path, rounds: usize) -> Result<()> {
    let place = Place::new()?;
    let host = place.0.join("host");
    write_host(&host)?;
    let (mut times, mut processor) = (Vec::new(), Vec::new());
    let mut peak = 0;
    for _ in 0..rounds * RUNS {
        let ran = lint(program, &[Path::new("--root"), &host])?;
        times.push(ran.wall.as_secs_f64() * 1e3);
        processor.push(ran.processor.as_secs_f64() * 1e3);
        peak = peak.max(ran.peak_kib);
    }
    let worst = times.iter().copied().fold(0.0, f64::max);
    println!(
        "lint: a normal host, start included: median {:.1} ms, worst {worst:.1} ms, processor {:.1} ms, {:.1} MB",
        median(&mut times),
        median(&mut processor),
        peak as f64 / 1024.0
    );

    let large = place.0.join("large.yaml");
    fs::write(&large, large_file())?;
    for format in ["json", "text"] {
        let (mut times, mut processor, mut peak) = (Vec::new(), Vec::new(), 0);
        for _ in 0..rounds {
            let ran = lint(program, &[Path::new("--format"), Path::new(format), &large])?;
            times.push(ran.wall.as_secs_f64());
            processor.push(ran.processor.as_secs_f64());
            peak = peak.max(ran.peak_kib);
        }
        println!(
            "lint: {BONDS} bonds in one netplan file, as {format}: median {:.2} s, processor {:.2} s, {:.0} MB",
            median(&mut times),
            median(&mut processor),
            peak as f64 / 1024.0
        );
    }
    Ok(())
}

/// A directory of ours, which goes with this guard.
struct Place(PathBuf);

impl Place {
    fn new() -> Result<Self> {
        let place = std::env::temp_dir().join(format!("oxbond-bench-{}", std::process::id()));
        fs::create_dir_all(&place)?;
        Ok(Self(place))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

struct Ran {
    wall: Duration,
    /// Time on the processor, which tells more than the wall's on a busy machine.
    processor: Duration,
    peak_kib: i64,
}

/// One run, which must end with findings or without, and not otherwise.
fn lint(program: &Path, words: &[&Path]) -> Result<Ran> {
    let begun = Instant::now();
    let child = Command::new(program)
        .arg("lint")
        .args(words)
        .stdout(Stdio::null())
        .spawn()?;
    let id = libc::pid_t::try_from(child.id()).context("process ids are positive")?;
    let mut status = 0;
    // SAFETY: rusage is plain data, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right types, and the child is ours and not yet waited for.
    let ended = unsafe { libc::wait4(id, &raw mut status, 0, &raw mut usage) };
    let wall = begun.elapsed();
    ensure!(
        ended == id,
        "the process is gone: {}",
        std::io::Error::last_os_error()
    );
    ensure!(
        libc::WIFEXITED(status) && matches!(libc::WEXITSTATUS(status), 0 | 2),
        "oxbond lint ended with status {status}"
    );
    let spent = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs())
            + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    Ok(Ran {
        wall,
        processor: spent(usage.ru_utime) + spent(usage.ru_stime),
        peak_kib: usage.ru_maxrss,
    })
}

/// What a host with a bond, VLANs and a bridge has.
fn write_host(root: &Path) -> Result<()> {
    let files: [(&str, &str); 7] = [
        (
            "etc/netplan/50-host.yaml",
            "network:\n  version: 2\n  ethernets:\n    enp3s0: {}\n    enp4s0: {}\n  bonds:\n    bond0:\n      \
             interfaces: [enp3s0, enp4s0]\n      parameters:\n        mode: 802.3ad\n        mii-monitor-interval: 100\n        \
             lacp-rate: fast\n        transmit-hash-policy: layer3+4\n  vlans:\n    bond0.10: {id: 10, link: bond0, \
             addresses: [10.0.10.2/24]}\n    bond0.20: {id: 20, link: bond0}\n  bridges:\n    br0:\n      interfaces: \
             [bond0]\n      addresses: [192.168.1.10/24]\n      routes:\n        - to: default\n          via: 192.168.1.1\n",
        ),
        (
            "etc/systemd/network/20-mgmt.network",
            "[Match]\nName=eno1\n\n[Network]\nDHCP=yes\n",
        ),
        (
            "etc/systemd/network/30-bond1.netdev",
            "[NetDev]\nName=bond1\nKind=bond\nMACAddress=none\n\n[Bond]\nMode=active-backup\nMIIMonitorSec=100\n",
        ),
        (
            "etc/systemd/network/30-bond1-port.network",
            "[Match]\nName=enp5s0 enp6s0\n\n[Network]\nBond=bond1\n",
        ),
        (
            "etc/network/interfaces",
            "source /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n",
        ),
        (
            "etc/modprobe.d/bonding.conf",
            "options bonding max_bonds=0\n",
        ),
        ("etc/modprobe.d/blacklist.conf", "blacklist floppy\n"),
    ];
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().context("every path has a directory")?)?;
        fs::write(path, text)?;
    }
    Ok(())
}

fn large_file() -> String {
    let mut text = "network:\n  version: 2\n  ethernets:\n".to_owned();
    for port in 0..2 * BONDS {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    p{port}: {{}}");
    }
    text.push_str("  bonds:\n");
    for bond in 0..BONDS {
        let (first, second) = (2 * bond, 2 * bond + 1);
        let (high, low) = (bond / 250 + 1, bond % 250);
        let _ = write!(
            text,
            "    bond{bond}:\n      interfaces: [p{first}, p{second}]\n      addresses: [10.{high}.{low}.2/24]\n      \
             parameters:\n        mode: active-backup\n        mii-monitor-interval: 100\n        up-delay: 200\n        \
             primary: p{first}\n"
        );
    }
    text
}
