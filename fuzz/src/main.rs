//! libFuzzer on one of the targets: `STARLING_FUZZ_TARGET` says on which. `starling-conformance fuzz`
//! builds and runs this.

#![no_main]

use std::{env, sync::OnceLock};

use libfuzzer_sys::fuzz_target;

mod targets;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = env::var("STARLING_FUZZ_TARGET").unwrap_or_default();
        let found = targets::ALL.iter().find(|(known, _)| **known == name);
        found.unwrap_or_else(|| panic!("there is no target '{name}'")).1
    });
    target(data);
});
