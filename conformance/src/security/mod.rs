//! Which attacks on homeservers have tests here.
//!
//! `conformance/hostile/index.tsv` lists them in words, each with the tests that play it or with the
//! reason for which it cannot be played. What `cargo test` printed says which of these passed. The
//! tables of both are a part of `docs/security.md`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::report::say;

mod index;
mod outcomes;
mod sources;
mod table;

use index::{Answer, Attack};
use outcomes::Outcomes;

const INDEX: &str = include_str!("../../hostile/index.tsv");

/// The command line of `security`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What `cargo test` printed. Each test that the index names must have passed in it.
    #[arg(value_name = "FILE")]
    pub outputs: Vec<PathBuf>,

    /// The page with the tables.
    #[arg(long, value_name = "FILE", default_value_os_t = root().join("docs/security.md"))]
    pub page: PathBuf,

    /// Write the tables into the page.
    #[arg(long)]
    pub write: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Tells whether each attack has a test or a reason, each test is there and passed, and the page says
/// so.
///
/// # Errors
///
/// When a file cannot be read or is not what it should be.
pub fn report(options: &Options) -> Result<bool> {
    let attacks = index::parse(INDEX)?;
    let outcomes = Outcomes::read(&options.outputs)?;
    let mut failed = 0;
    for attack in &attacks {
        let complaints = complaints(attack, &outcomes);
        for complaint in &complaints {
            say(&format!("{}: {complaint}", attack.number));
        }
        failed += usize::from(!complaints.is_empty());
    }
    let page = fs::read_to_string(&options.page)
        .with_context(|| format!("cannot read {}", options.page.display()))?;
    let written = table::replaced(&page, &attacks)?;
    if options.write && failed == 0 {
        fs::write(&options.page, &written)?;
    } else if page != written {
        say("the page is not what `starling-conformance security --write` makes of the index");
        failed += 1;
    }
    say(&format!("{} passed, {failed} failed", attacks.len().saturating_sub(failed)));
    Ok(failed == 0)
}

/// What is wrong with the tests of an attack.
fn complaints(attack: &Attack, outcomes: &Outcomes) -> BTreeSet<String> {
    let Answer::Tests(tests) = &attack.answer else { return BTreeSet::new() };
    let missing = tests.iter().filter(|test| !sources::has(&root(), test));
    let missing = missing.map(|test| format!("there is no {test}"));
    let failed = tests.iter().filter(|test| !outcomes.passed(test));
    missing.chain(failed.map(|test| format!("did not pass: {test}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the output of other tests: they run at the same time.
    #[test]
    fn every_attack_has_tests_that_are_there_and_the_page_says_so() {
        let attacks = index::parse(INDEX).unwrap();
        let complaints: Vec<String> =
            attacks.iter().flat_map(|attack| complaints(attack, &Outcomes::default())).collect();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        let page = fs::read_to_string(root().join("docs/security.md")).unwrap();
        let help = "run `starling-conformance security --write`";
        assert!(page == table::replaced(&page, &attacks).unwrap(), "{help}");
    }
}
