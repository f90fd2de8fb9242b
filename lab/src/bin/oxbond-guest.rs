//! Runs one command under one of Debian's kernels in QEMU, on this machine's own files: see `lab/guest/README.md`.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use oxbond_lab::guest::{Accelerator, Guest, Kernel};

/// Runs one command under one of Debian's kernels in QEMU, on this machine's own files.
///
/// The guest sees the whole file system of this machine, writes only to its own memory, and has no network. The exit code is
/// the command's, or 124 if the guest could not run it.
#[derive(Debug, Parser)]
#[command(name = "oxbond-guest")]
struct Words {
    /// Kernel series: 6.1 or 6.12.
    #[arg(long)]
    kernel: Kernel,
    /// What executes the guest; without it KVM where it works, else tcg.
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
    let mut guest = Guest::new(words.kernel)
        .memory_mib(words.mem)
        .timeout(Duration::from_secs(words.timeout));
    if let Some(accel) = words.accel {
        guest = guest.accelerator(match accel {
            Accel::Kvm => Accelerator::Kvm,
            Accel::Tcg => Accelerator::Tcg,
            Accel::Icount => Accelerator::Icount,
        });
    }
    for pair in &words.env {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        guest = guest.env(name, value);
    }
    match guest.run_to(words.command, std::io::stdout(), std::io::stderr()) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(FAILED)),
        Err(error) => {
            eprintln!("oxbond-guest: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}
