//! Counts the cases of a suite, prints them as they end, and closes with 'N passed, N failed'.

use std::{future::Future, path::Path, time::Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Map, Value};

/// The outcome of one case.
#[derive(Debug, Serialize)]
pub struct Case {
    /// What the case shows, in words.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The outcome of a whole run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    cases: Vec<Case>,
    /// Measured values beside the cases, such as times and counts.
    #[serde(skip_serializing_if = "Map::is_empty")]
    figures: Map<String, Value>,
}

impl Report {
    /// Runs one case to its end and records how it went. A failure does not end the run.
    pub async fn case(&mut self, name: &str, work: impl Future<Output = Result<()>>) {
        let begun = Instant::now();
        let outcome = work.await;
        self.record(Case {
            name: name.to_owned(),
            passed: outcome.is_ok(),
            seconds: begun.elapsed().as_secs_f64(),
            error: outcome.err().map(|error| format!("{error:#}")),
        });
    }

    /// Records a case that was run elsewhere.
    pub fn record(&mut self, case: Case) {
        let word = if case.passed { "ok" } else { "not ok" };
        say(&format!("{word} - {} ({:.2} s)", case.name, case.seconds));
        if let Some(error) = &case.error {
            say(&format!("    {}", error.replace('\n', "\n    ")));
        }
        self.cases.push(case);
    }

    /// Records and prints a measured value.
    pub fn figure(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        say(&format!("{name}: {value}"));
        self.figures.insert(name.to_owned(), value);
    }

    /// Records a measured value that was printed in a form of its own.
    pub fn keep(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.to_owned(), value.into());
    }

    /// How many cases failed.
    pub fn failed(&self) -> usize {
        self.cases.iter().filter(|case| !case.passed).count()
    }

    /// Prints the closing line, writes the JSON form to `json` when asked to, and tells whether the
    /// run is good: at least one case, and none failed.
    pub fn finish(&self, json: Option<&Path>) -> Result<bool> {
        if let Some(path) = json {
            let text = serde_json::to_string_pretty(self)?;
            std::fs::write(path, text)
                .with_context(|| format!("cannot write the report to {}", path.display()))?;
        }
        let failed = self.failed();
        say(&format!("{} passed, {failed} failed", self.cases.len() - failed));
        Ok(failed == 0 && !self.cases.is_empty())
    }
}

/// Prints one line at once, so that a long run can be watched.
#[expect(clippy::print_stdout, reason = "the report of a command is its output")]
pub fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[tokio::test]
    async fn a_failed_case_is_counted_and_spoils_the_run() {
        let mut report = Report::default();
        report.case("good", async { Ok(()) }).await;
        report.case("bad", async { bail!("no") }).await;
        assert_eq!(report.failed(), 1);
        assert!(!report.finish(None).unwrap());
    }

    #[tokio::test]
    async fn a_run_without_cases_is_not_good() {
        assert!(!Report::default().finish(None).unwrap());
    }

    #[tokio::test]
    async fn the_json_form_holds_cases_and_figures() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        let mut report = Report::default();
        report.case("good", async { Ok(()) }).await;
        report.figure("rounds", 3);
        assert!(report.finish(Some(&path)).unwrap());
        let value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(value["cases"][0]["passed"], true);
        assert_eq!(value["figures"]["rounds"], 3);
    }
}
