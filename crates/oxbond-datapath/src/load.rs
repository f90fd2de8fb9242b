//! From the compiled object to loaded programs and maps.
//!
//! aya reads the ELF file, finds the kernel's field offsets in its BTF and creates maps and programs. It parses the
//! whole of `/sys/kernel/btf/vmlinux` for that (some 20 MB for some 40 ms); everything is freed again before
//! [`Loaded::open`] returns, and the pages are given back to the system. Who makes many bonds keeps what was parsed meanwhile:
//! [`KernelTypes`].

use std::error::Error as _;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aya::programs::{ProgramError, SchedClassifier};
use aya::{Btf, Ebpf, EbpfError, EbpfLoader};

use crate::error::DatapathError;

/// The programs and maps of one bond.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Map descriptors in the order of the names asked for.
    pub(crate) maps: Vec<OwnedFd>,
    /// Program descriptors in the order of the names asked for.
    pub(crate) programs: Vec<OwnedFd>,
}

/// The object, aligned as ELF wants it.
#[repr(C, align(8))]
struct Aligned<Bytes: ?Sized>(Bytes);

static OBJECT: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/oxbond.bpf.o")));

const BTF: &str = "/sys/kernel/btf/vmlinux";

/// How often a program is loaded at most.
const ATTEMPTS: usize = 5;

/// The compiled object, an ELF file.
pub(crate) const fn object() -> &'static [u8] {
    &OBJECT.0
}

/// What was parsed of the kernel's type information, and how many want it kept.
static TYPES: Mutex<(Option<Arc<Btf>>, usize)> = Mutex::new((None, 0));

/// Keeps the kernel's type information, which the first bond made while this lives has parsed, for the next ones.
#[derive(Debug)]
pub struct KernelTypes(());

impl KernelTypes {
    /// From here on.
    pub fn keep() -> Self {
        let mut kept = TYPES.lock().unwrap_or_else(PoisonError::into_inner);
        kept.1 += 1;
        Self(())
    }
}

impl Drop for KernelTypes {
    fn drop(&mut self) {
        let mut kept = TYPES.lock().unwrap_or_else(PoisonError::into_inner);
        kept.1 -= 1;
        if kept.1 == 0 && kept.0.take().is_some() {
            give_back();
        }
    }
}

fn types() -> Result<Arc<Btf>, DatapathError> {
    if !Path::new(BTF).exists() {
        return Err(DatapathError::NoBtf);
    }
    let mut kept = TYPES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(types) = &kept.0 {
        return Ok(Arc::clone(types));
    }
    let types = Btf::from_sys_fs().map_err(|error| load_error(&EbpfError::BtfError(error)))?;
    let types = Arc::new(types);
    if kept.1 > 0 {
        kept.0 = Some(Arc::clone(&types));
    }
    Ok(types)
}

/// Gives free pages of the heap back to the system.
fn give_back() {
    // SAFETY: has no precondition.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

impl Loaded {
    /// Creates every map of the object anew and loads the programs named. Needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.
    pub(crate) fn open(
        inner_ifindex: u32,
        maps: &[&str],
        programs: &[&'static str],
    ) -> Result<Self, DatapathError> {
        let types = types()?;
        let loaded = Self::open_with_aya(&types, inner_ifindex, maps, programs);
        if Arc::strong_count(&types) == 1 {
            drop(types);
            give_back();
        }
        loaded
    }

    fn open_with_aya(
        types: &Btf,
        inner_ifindex: u32,
        maps: &[&str],
        programs: &[&'static str],
    ) -> Result<Self, DatapathError> {
        let mut ebpf = EbpfLoader::new()
            .btf(Some(types))
            .override_global("inner_ifindex", &inner_ifindex, true)
            .load(object())
            .map_err(|error| load_error(&error))?;
        Ok(Self {
            programs: programs
                .iter()
                .map(|name| load_program(&mut ebpf, name))
                .collect::<Result<_, _>>()?,
            maps: maps
                .iter()
                .map(|name| map_fd(&ebpf, name))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Whether the kernel gave up verifying a program for the sake of something else that waits for the thread, such as a signal.
fn was_interrupted(error: &ProgramError) -> bool {
    matches!(error, ProgramError::LoadError { io_error, .. } if io_error.raw_os_error() == Some(libc::EAGAIN))
}

/// Does something that may be interrupted until it was not, for a few times.
fn insist<E>(
    mut work: impl FnMut() -> Result<(), E>,
    interrupted: impl Fn(&E) -> bool,
) -> Result<(), E> {
    for _ in 1..ATTEMPTS {
        match work() {
            Err(error) if interrupted(&error) => {}
            done => return done,
        }
    }
    work()
}

fn load_program(ebpf: &mut Ebpf, name: &'static str) -> Result<OwnedFd, DatapathError> {
    let missing = || DatapathError::Contract(format!("the object has no classifier {name}"));
    let program: &mut SchedClassifier = ebpf
        .program_mut(name)
        .ok_or_else(missing)?
        .try_into()
        .map_err(|_other_type: ProgramError| missing())?;
    match insist(|| program.load(), was_interrupted) {
        Ok(()) => {}
        Err(ProgramError::LoadError {
            io_error,
            verifier_log,
        }) => {
            let log = verifier_log.to_string();
            // An empty log means that the verifier never looked at it.
            return Err(
                if log.is_empty() || io_error.raw_os_error() == Some(libc::EPERM) {
                    DatapathError::kernel(format!("load program {name}"), io_error)
                } else {
                    DatapathError::Verifier {
                        program: name,
                        source: io_error,
                        log: last_lines(&log),
                    }
                },
            );
        }
        Err(other) => return Err(DatapathError::Load(other.to_string())),
    }
    let fd = program
        .fd()
        .and_then(|fd| Ok(fd.as_fd().try_clone_to_owned()?));
    fd.map_err(|error: ProgramError| DatapathError::Load(error.to_string()))
}

fn map_fd(ebpf: &Ebpf, name: &str) -> Result<OwnedFd, DatapathError> {
    use aya::maps::Map;
    match ebpf.map(name) {
        Some(Map::Array(data) | Map::PerCpuArray(data) | Map::RingBuf(data)) => data
            .fd()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| DatapathError::kernel("duplicate a descriptor", error)),
        _ => Err(DatapathError::Contract(format!(
            "the object has no map {name}"
        ))),
    }
}

/// Finds the system's error under aya's, which decides what the user can do.
fn load_error(error: &EbpfError) -> DatapathError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(errno) = inner
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            let source = io::Error::from_raw_os_error(errno);
            return DatapathError::kernel(format!("load the eBPF object ({error})"), source);
        }
        cause = inner.source();
    }
    DatapathError::Load(error.to_string())
}

/// The end of a verifier log, where the reason stands; whole logs run to megabytes.
fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_load_is_tried_again() {
        let after = |interruptions: usize, end: Result<(), &'static str>| {
            let mut tries = 0;
            let done = insist(
                || {
                    tries += 1;
                    if tries > interruptions {
                        end
                    } else {
                        Err("interrupted")
                    }
                },
                |error| *error == "interrupted",
            );
            (done, tries)
        };
        assert_eq!(after(0, Ok(())), (Ok(()), 1));
        assert_eq!(after(ATTEMPTS - 1, Ok(())), (Ok(()), ATTEMPTS));
        assert_eq!(after(ATTEMPTS, Ok(())), (Err("interrupted"), ATTEMPTS));
        assert_eq!(after(2, Err("refused")), (Err("refused"), 3));
    }
}
