//! What can go wrong in the data path, by who can do something about it.

use std::io;
use std::path::PathBuf;

/// Why the data path could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatapathError {
    /// The process lacks a capability. Loading needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (the programs read the
    /// ports' carrier from kernel memory); later attaching needs CAP_BPF and CAP_NET_ADMIN; reading needs CAP_BPF.
    #[error("no permission to {operation}: needs {capabilities}; run as root or grant them")]
    Permission {
        /// What was refused.
        operation: String,
        /// The capabilities that allow it.
        capabilities: &'static str,
    },
    /// The kernel was built without BPF.
    #[error("this kernel has no BPF, so the ebpf engine cannot run here; use the kernel engine")]
    NoBpf,
    /// The kernel does not describe its own types, so a port's carrier cannot be found.
    #[error(
        "/sys/kernel/btf/vmlinux is missing: the ebpf engine needs a kernel built with CONFIG_DEBUG_INFO_BTF (and /sys mounted)"
    )]
    NoBtf,
    /// The kernel's verifier refused a program. A bug of ours, or a kernel we have not met.
    #[error(
        "the kernel refused program {program}: {source}; please report this with the log:\n{log}"
    )]
    Verifier {
        /// Which program.
        program: &'static str,
        /// What the system call answered.
        source: io::Error,
        /// The verifier's words.
        log: String,
    },
    /// The object does not fit the kernel in another way (map creation, relocation).
    #[error("the programs could not be loaded: {0}")]
    Load(String),
    /// The directory for pins is not on a BPF file system.
    #[error("{} is not on a BPF file system: mount -t bpf bpf /sys/fs/bpf", .0.display())]
    NotBpffs(PathBuf),
    /// Something is pinned there already.
    #[error("{} already holds a data path: adopt it or remove it first", .0.display())]
    AlreadyInstalled(PathBuf),
    /// Nothing is pinned there.
    #[error("there is no data path in {}", .0.display())]
    NotInstalled(PathBuf),
    /// What is pinned there was not made by this version.
    #[error("the data path pinned in {} cannot be adopted: {mismatch}; remove it and install anew", .path.display())]
    AbiMismatch {
        /// Pin or directory.
        path: PathBuf,
        /// What differs.
        mismatch: String,
    },
    /// There is no such interface in the namespace of the caller.
    #[error("there is no interface with index {0} in this network namespace")]
    NoInterface(u32),
    /// The caller broke the contract: a port attached twice, or asked for without being attached, or a table that
    /// the programs cannot obey.
    #[error("our bug: {0}")]
    Contract(String),
    /// A system call failed for another reason.
    #[error("{operation}: {source}")]
    Kernel {
        /// What was tried, on what.
        operation: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl DatapathError {
    /// Sorts a failed system call by its error number.
    pub(crate) fn kernel(operation: impl Into<String>, source: io::Error) -> Self {
        let operation = operation.into();
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Permission {
                operation,
                capabilities: "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON",
            },
            Some(libc::ENOSYS) => Self::NoBpf,
            _ => Self::Kernel { operation, source },
        }
    }

    /// The error number, where a system call is at fault.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { source, .. } | Self::Verifier { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}
