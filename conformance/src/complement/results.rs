//! The outcomes of tests, read from the events of `go test -json`.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// In front of the names of all of Complement's packages.
const MODULE: &str = "github.com/matrix-org/complement/";
/// Stands for a package that failed as a whole: it was not built, or ended before its tests did.
const WHOLE_PACKAGE: &str = "(package)";

/// How a test ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// All that it checks is right.
    Passed,
    /// Something is wrong, or the test never ended.
    Failed,
    /// It does not apply.
    Skipped,
}

impl Outcome {
    /// Reads the word that [`fmt::Display`] writes.
    pub(super) fn parse(word: &str) -> Result<Self> {
        match word {
            "passed" => Ok(Self::Passed),
            "failed" => Ok(Self::Failed),
            "skipped" => Ok(Self::Skipped),
            _ => bail!("{word:?} is no outcome"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        })
    }
}

/// A test. Its name alone does not say which: several packages have a `TestSync`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Key {
    /// Without the module in front.
    pub(super) package: String,
    /// With the parts that led to it, `/` between them.
    pub(super) test: String,
}

impl Key {
    /// Whether it is part of another test.
    pub(super) fn is_part(&self) -> bool {
        self.test.contains('/')
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.package, self.test)
    }
}

/// The outcomes of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Results(BTreeMap<Key, Outcome>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    action: String,
    package: Option<String>,
    test: Option<String>,
}

impl Results {
    /// Adds the events of a run. Lines that are no events come from the build.
    pub(super) fn add(&mut self, text: &str) -> Result<()> {
        for (number, line) in text.lines().enumerate() {
            if line.starts_with('{') {
                let event = serde_json::from_str(line);
                self.take(event.with_context(|| format!("line {}", number + 1))?);
            }
        }
        Ok(())
    }

    /// All outcomes, by package and test.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, Outcome)> {
        self.0.iter().map(|(key, outcome)| (key, *outcome))
    }

    /// How a test ended, if it was run.
    pub(super) fn get(&self, key: &Key) -> Option<Outcome> {
        self.0.get(key).copied()
    }

    /// Whether any test of the package was run.
    pub(super) fn has_package(&self, package: &str) -> bool {
        self.0.keys().any(|key| key.package == package)
    }

    fn take(&mut self, event: Event) {
        let Some(package) = event.package else { return };
        let package = package.strip_prefix(MODULE).unwrap_or(&package).to_owned();
        let outcome = match event.action.as_str() {
            "pass" => Outcome::Passed,
            "skip" => Outcome::Skipped,
            // A test that begins and does not end has failed.
            "fail" | "run" => Outcome::Failed,
            _ => return,
        };
        match event.test {
            Some(test) => drop(self.0.insert(Key { package, test }, outcome)),
            None => self.take_package(package, outcome),
        }
    }

    /// A package fails with its tests; only what no test tells is of interest.
    fn take_package(&mut self, package: String, outcome: Outcome) {
        let told =
            |(key, failed): (&Key, &Outcome)| key.package == package && *failed == Outcome::Failed;
        if outcome == Outcome::Failed && !self.0.iter().any(told) {
            self.0.insert(Key { package, test: WHOLE_PACKAGE.to_owned() }, outcome);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Results of tests in `tests/csapi`.
    pub(in super::super) fn results(outcomes: &[(&str, &str)]) -> Results {
        let mut results = Results::default();
        for (test, action) in outcomes {
            results.add(&event("csapi", Some(test), action)).unwrap();
        }
        results
    }

    fn event(package: &str, test: Option<&str>, action: &str) -> String {
        let package = format!("{MODULE}tests/{package}");
        serde_json::json!({ "Action": action, "Package": package, "Test": test }).to_string()
    }

    fn key(package: &str, test: &str) -> Key {
        Key { package: format!("tests/{package}"), test: test.to_owned() }
    }

    #[test]
    fn the_last_event_counts_and_packages_are_told_apart() {
        let lines = [
            "# a line of the build".to_owned(),
            event("csapi", Some("TestSync"), "run"),
            event("csapi", Some("TestSync"), "output"),
            event("csapi", Some("TestSync"), "pass"),
            event("msc4222", Some("TestSync"), "skip"),
        ];
        let mut results = Results::default();
        results.add(&lines.join("\n")).unwrap();
        assert_eq!(results.get(&key("csapi", "TestSync")), Some(Outcome::Passed));
        assert_eq!(results.get(&key("msc4222", "TestSync")), Some(Outcome::Skipped));
    }

    #[test]
    fn a_test_that_never_ends_has_failed_and_tells_why_the_package_did() {
        let mut results = results(&[("TestA", "run")]);
        results.add(&event("csapi", None, "fail")).unwrap();
        assert_eq!(results.get(&key("csapi", "TestA")), Some(Outcome::Failed));
        assert_eq!(results.get(&key("csapi", WHOLE_PACKAGE)), None);
    }

    #[test]
    fn a_package_that_was_not_built_has_failed() {
        let mut results = Results::default();
        results.add(&event("csapi", None, "fail")).unwrap();
        assert_eq!(results.get(&key("csapi", WHOLE_PACKAGE)), Some(Outcome::Failed));
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        assert!(Results::default().add(r#"{"Action":"pass","Pack"#).is_err());
    }
}
