//! Compiles the eBPF programs in `bpf/` with clang. `BPF_CLANG` names another clang.

use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::{env, fs};

/// Oldest clang that is tried by us: Debian 12's. Older ones lack CO-RE features that the programs use.
const CLANG_AT_LEAST: u32 = 14;

fn main() {
    let source_dir = PathBuf::from("bpf");
    println!("cargo:rerun-if-env-changed=BPF_CLANG");
    println!("cargo:rerun-if-changed={}", source_dir.display());
    for entry in fs::read_dir(&source_dir).into_iter().flatten().flatten() {
        println!("cargo:rerun-if-changed={}", entry.path().display());
    }

    let clang = env::var("BPF_CLANG").unwrap_or_else(|_| "clang".to_owned());
    check_clang(&clang);

    let Some(out_dir) = env::var_os("OUT_DIR") else {
        fail("OUT_DIR is not set: run this through cargo")
    };
    let object = Path::new(&out_dir).join("oxbond.bpf.o");
    let target = match env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
        Ok("big") => "bpfeb",
        _ => "bpfel",
    };
    let mut command = Command::new(&clang);
    command.args([
        "-target",
        target,
        "-mcpu=v3",
        "-O2",
        "-g",
        "-std=gnu11",
        "-Wall",
        "-Wextra",
        "-c",
    ]);
    // Debian keeps asm/types.h in a directory of the architecture, which clang leaves out for this target.
    if let Ok(arch) = env::var("CARGO_CFG_TARGET_ARCH") {
        command
            .arg("-idirafter")
            .arg(format!("/usr/include/{arch}-linux-gnu"));
    }
    command
        .arg(source_dir.join("oxbond.bpf.c"))
        .arg("-o")
        .arg(&object);
    match command.output() {
        Ok(output) => {
            for line in String::from_utf8_lossy(&output.stderr).lines() {
                println!("cargo:warning={line}");
            }
            if !output.status.success() {
                fail(
                    "clang could not compile bpf/oxbond.bpf.c; its words are above. Missing kernel headers come with: \
                      apt-get install linux-libc-dev",
                );
            }
        }
        Err(error) => fail(&format!("cannot run {clang}: {error}")),
    }
}

fn check_clang(clang: &str) {
    let version = Command::new(clang).arg("--version").output();
    let Some(text) = version
        .ok()
        .filter(|o| o.status.success())
        .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
    else {
        fail(&format!(
            "cannot run `{clang}`, which compiles the eBPF programs: apt-get install clang linux-libc-dev (or set BPF_CLANG)"
        ));
    };
    let major = text
        .split("version ")
        .nth(1)
        .and_then(|rest| rest.split('.').next())
        .and_then(|n| n.parse::<u32>().ok());
    if let Some(major) = major.filter(|major| *major < CLANG_AT_LEAST) {
        fail(&format!(
            "clang {major} is too old for the eBPF programs, {CLANG_AT_LEAST} is needed (BPF_CLANG names another)"
        ));
    }
}

fn fail(message: &str) -> ! {
    println!("cargo:warning={message}");
    eprintln!("{message}");
    exit(1)
}
