//! Runs one command under one of Debian's kernels in QEMU or as user-mode Linux, on this machine's own files: see `lab/guest/README.md`.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use oxbond_lab::guest::{Accelerator, Guest, Kernel};
use oxbond_lab::uml::Uml;

/// Runs one command under one of Debian's kernels, on this machine's own files.
///
/// The guest sees the whole file system of this machine, writes only to its own memory, and has no network. The exit code is
/// the command's, or 124 if the guest could not run it.
#[derive(Debug, Parser)]
#[command(name = "oxbond-guest")]
struct Words {
    /// Kernel series, 6.1 or 6.12, in QEMU; or uml: 6.1 as user-mode Linux.
    #[arg(long)]
    kernel: System,
    /// What executes the guest in QEMU; without it KVM where it works, else tcg.
    #[arg(long)]
    accel: Option<Accel>,
    /// Memory, MiB; files that the guest writes live in it too.
    #[arg(long, default_value_t = 1024)]
    mem: u32,
    /// Longest time for boot and command together, seconds.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// Environment variable for the command, which inherits none.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The command with its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy)]
enum System {
    Qemu(Kernel),
    Uml,
}

impl FromStr for System {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "uml" => Ok(Self::Uml),
            series => series.parse().map(Self::Qemu),
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Accel {
    /// The processor's virtualisation.
    Kvm,
    /// Emulation, two processors.
    Tcg,
    /// Emulation of one processor whose clock counts instructions.
    Icount,
}

/// The guest could not run the command.
const FAILED: u8 = 124;

fn main() -> ExitCode {
    let words = Words::parse();
    let ran = match words.kernel {
        System::Qemu(kernel) => in_qemu(kernel, words),
        System::Uml => as_process(words),
    };
    match ran {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(FAILED)),
        Err(error) => {
            eprintln!("oxbond-guest: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn in_qemu(kernel: Kernel, words: Words) -> Result<i32> {
    let mut guest = Guest::new(kernel)
        .memory_mib(words.mem)
        .timeout(Duration::from_secs(words.timeout));
    if let Some(accel) = words.accel {
        guest = guest.accelerator(match accel {
            Accel::Kvm => Accelerator::Kvm,
            Accel::Tcg => Accelerator::Tcg,
            Accel::Icount => Accelerator::Icount,
        });
    }
    for (name, value) in pairs(&words.env) {
        guest = guest.env(name, value);
    }
    guest.run_to(words.command, std::io::stdout(), std::io::stderr())
}

fn as_process(words: Words) -> Result<i32> {
    let mut guest = Uml::new()
        .memory_mib(words.mem)
        .timeout(Duration::from_secs(words.timeout));
    for (name, value) in pairs(&words.env) {
        guest = guest.env(name, value);
    }
    let outcome = guest.run(words.command)?;
    std::io::stdout().write_all(&outcome.stdout)?;
    std::io::stderr().write_all(&outcome.stderr)?;
    Ok(outcome.code)
}

fn pairs(words: &[String]) -> impl Iterator<Item = (&str, &str)> {
    words
        .iter()
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}
