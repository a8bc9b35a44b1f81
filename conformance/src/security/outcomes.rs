//! What became of tests, as `cargo test` printed it.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::{index::Test, sources};

/// Which tests passed. Without any output all are taken to have.
#[derive(Debug, Default)]
pub(super) struct Outcomes(Option<BTreeMap<String, bool>>);

impl Outcomes {
    /// Reads what `cargo test` printed.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self> {
        if files.is_empty() {
            return Ok(Self::default());
        }
        let mut outcomes = BTreeMap::new();
        for file in files {
            let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            add(&mut outcomes, &String::from_utf8_lossy(&text));
        }
        Ok(Self(Some(outcomes)))
    }

    /// Whether a test passed as often as it ran.
    pub(super) fn passed(&self, test: &Test) -> bool {
        let Some(outcomes) = &self.0 else { return true };
        let mut found = sources::names(test).into_iter().filter_map(|name| outcomes.get(&name));
        found.next().is_some_and(|passed| *passed) && found.all(|passed| *passed)
    }
}

/// Adds the lines `test NAME ... ok`. One failure outweighs everything.
fn add(outcomes: &mut BTreeMap<String, bool>, text: &str) {
    for line in text.lines() {
        let Some((name, result)) =
            line.strip_prefix("test ").and_then(|line| line.split_once(" ... "))
        else {
            continue;
        };
        let passed = result == "ok";
        let name = name.trim_end_matches(" - should panic");
        let before = outcomes.entry(name.to_owned()).or_insert(true);
        *before &= passed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(text: &str) -> Outcomes {
        let mut outcomes = BTreeMap::new();
        add(&mut outcomes, text);
        Outcomes(Some(outcomes))
    }

    #[test]
    fn what_failed_once_did_not_pass() {
        let test = Test { path: "engine/src/a.rs".to_owned(), name: "b".to_owned() };
        assert!(outcomes("running 2 tests\ntest a::tests::b ... ok\n").passed(&test));
        for text in [
            "",
            "test a::tests::bc ... ok\n",
            "test a::tests::b ... FAILED\n",
            "test a::tests::b ... ok\ntest a::tests::b ... FAILED\n",
            "test a::tests::b ... ignored\n",
        ] {
            assert!(!outcomes(text).passed(&test), "{text}");
        }
        assert!(Outcomes::default().passed(&test));
    }
}
