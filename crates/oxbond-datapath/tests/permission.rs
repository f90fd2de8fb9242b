//! Without permission. In a process of its own, because aya looks only once in a process what the kernel can do, and
//! without capabilities it sees nothing.
#![allow(clippy::unwrap_used, reason = "tests state their expectations so")]

mod common;

use anyhow::Result;
use common::Stand;
use oxbond_datapath::{DataPath, DatapathError};

#[test]
fn root_without_capabilities_the_message_names_them() -> Result<()> {
    let stand = Stand::new(&["p0", "p1"])?;
    let dir = stand.bpffs.dir();
    stand.host().run(|| -> Result<()> {
        let none = rustix::thread::CapabilitySets {
            effective: rustix::thread::CapabilitySet::empty(),
            ..rustix::thread::capabilities(None)?
        };
        rustix::thread::set_capabilities(None, none)?;
        let error = DataPath::install(&dir, stand.front).unwrap_err();
        assert!(
            matches!(error, DatapathError::Permission { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("CAP_PERFMON"), "{error}");
        Ok(())
    })?;
    assert!(!dir.exists());
    Ok(())
}
