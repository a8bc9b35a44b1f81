//! What a run of Complement says: a table, and a comparison with what is expected.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::report::say;

mod expected;
mod results;
mod table;

use expected::Expected;
use results::{Outcome, Results};

/// The command line of `report`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What `go test -json` wrote. Of a test that is in several files the last one counts.
    #[arg(required = true, value_name = "RESULT.jsonl")]
    pub results: Vec<PathBuf>,

    /// The outcomes to compare with.
    #[arg(long, value_name = "FILE", default_value_os_t = committed())]
    pub expected: PathBuf,

    /// Only some tests of a package were run: one that is missing is no regression.
    #[arg(long)]
    pub partial: bool,

    /// Write what happened to the file of expected outcomes, for the packages that were run.
    #[arg(long)]
    pub write: bool,
}

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("complement/expected.tsv")
}

/// Prints the table and the differences, and tells whether there is no regression.
///
/// # Errors
///
/// When a file cannot be read or is not what it should be.
pub fn report(options: &Options) -> Result<bool> {
    let mut results = Results::default();
    for path in &options.results {
        let text = read(path)?;
        results.add(&text).with_context(|| format!("in {}", path.display()))?;
    }
    for line in table::lines(&results) {
        say(&line);
    }
    let mut expected = match options.expected.exists() {
        true => Expected::parse(&read(&options.expected)?)?,
        false => Expected::default(),
    };
    let regressions = compare(&expected, &results, options.partial);
    if options.write {
        expected.update(&results);
        std::fs::write(&options.expected, expected.to_string())
            .with_context(|| format!("cannot write {}", options.expected.display()))?;
    }
    let tests = results.iter().filter(|(key, _)| !key.is_part());
    let (failed, other): (Vec<_>, Vec<_>) =
        tests.partition(|(_, outcome)| *outcome == Outcome::Failed);
    let passed = other.iter().filter(|(_, outcome)| *outcome == Outcome::Passed).count();
    say(&format!("{passed} passed, {} failed", failed.len()));
    Ok(regressions == 0 && passed > 0)
}

/// Names every difference and returns how many are for the worse.
fn compare(expected: &Expected, results: &Results, partial: bool) -> usize {
    let differences = expected.compare(results, partial);
    for difference in &differences {
        say(&difference.to_string());
    }
    differences.iter().filter(|difference| difference.is_regression()).count()
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
