//! All targets in one libFuzzer program; the variable `OXBOND_FUZZ_TARGET` says which one runs.
#![no_main]

use std::sync::LazyLock;

use oxbond_fuzz::Target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("OXBOND_FUZZ_TARGET").unwrap_or_default();
    let known = oxbond_fuzz::targets();
    let names: Vec<String> = known.iter().map(|target| target.name.clone()).collect();
    let found = known.into_iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("OXBOND_FUZZ_TARGET is none of {}", names.join(", ")))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET.run(data));
