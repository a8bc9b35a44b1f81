//! A control group for a server that may have little memory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{random, report::say};

/// Bounds the memory of what is started in it, and goes away with this value if nothing is in it any more.
#[derive(Debug)]
pub struct ControlGroup(PathBuf);

impl ControlGroup {
    /// Makes one of so much memory, in MiB, by the first or the second version of control groups; `None` where that
    /// is not allowed, as it is not to anybody but root.
    pub fn make(memory_mib: u64) -> Result<Option<Self>> {
        let name = format!("starling-test-{}", random::suffix()?);
        let bytes = (memory_mib << 20).to_string();
        for (tree, limit) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let group = Self(Path::new(tree).join(&name));
            let made =
                fs::create_dir(&group.0).and_then(|()| fs::write(group.0.join(limit), &bytes));
            if made.is_ok() {
                return Ok(Some(group));
            }
        }
        say("no control group can be made here: memory is not bounded");
        Ok(None)
    }

    /// Its directory, for [`Spec::group`](super::Spec::group).
    pub fn directory(&self) -> &Path {
        &self.0
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // It may not have come into being.
        let _ = fs::remove_dir(&self.0);
    }
}
