//! Programs of the object that no bond uses: instruments for tests and benches.

use std::os::fd::{AsFd as _, OwnedFd};

use oxbond_core::option::HashPolicy;

use crate::abi::policy_code;
use crate::error::DatapathError;
use crate::load::Loaded;
use crate::sys::{self, TestInput, TestRun};

/// Kernels refuse to run a program on a frame that breaks off within its Ethernet, IPv4 or IPv6 header.
const RUNNABLE: usize = 14 + 40;

/// The programs' hash by itself, and a program that does nothing. Loading needs what [`crate::DataPath::install`]
/// needs; nothing is attached.
#[derive(Debug)]
pub struct Probe {
    hash_only: OwnedFd,
    empty: OwnedFd,
}

impl Probe {
    /// Loads them.
    pub fn load() -> Result<Self, DatapathError> {
        let mut programs = Loaded::open(0, &[], &["hash_only", "empty"])?
            .programs
            .into_iter();
        match (programs.next(), programs.next()) {
            (Some(hash_only), Some(empty)) => Ok(Self { hash_only, empty }),
            _ => Err(DatapathError::Contract(
                "fewer programs than asked for".to_owned(),
            )),
        }
    }

    /// The hash of a frame of at least 14 bytes, with this VLAN tag in its metadata (0 for none), as the transmit
    /// program computes it.
    pub fn hash(&self, policy: HashPolicy, frame: &[u8], tag: u16) -> Result<u32, DatapathError> {
        let mut padded = frame.to_vec();
        padded.resize(frame.len().max(RUNNABLE), 0);
        let input = TestInput {
            repeat: 1,
            ifindex: 0,
            cb: [policy_code(policy), frame.len() as u32, tag.into(), 0, 0],
        };
        let run = sys::test_run(self.hash_only.as_fd(), &padded, input)
            .map_err(|error| DatapathError::kernel("test-run hash_only", error))?;
        if run.cb[1] != 0 {
            return Err(DatapathError::Contract(format!(
                "the kernel cannot make a frame of {} bytes",
                frame.len()
            )));
        }
        Ok(run.returned)
    }

    /// Runs the program that does nothing, as a measure of what running any program costs.
    pub fn run_empty(&self, frame: &[u8], repeat: u32) -> Result<TestRun, DatapathError> {
        let input = TestInput {
            repeat,
            ifindex: 0,
            cb: [0; 5],
        };
        sys::test_run(self.empty.as_fd(), frame, input)
            .map_err(|error| DatapathError::kernel("test-run empty", error))
    }
}
