//! The outcomes that are expected, as a committed file, and how a run differs from them.
//!
//! A line is package, test and outcome with tabs between; lines that begin with `#` say which
//! version of Complement was run, and when.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result};

use super::results::{Key, Outcome, Results};

/// The expected outcomes.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    comments: Vec<String>,
    outcomes: BTreeMap<Key, Outcome>,
}

/// A test that did not end as expected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Difference {
    key: Key,
    expected: Option<Outcome>,
    outcome: Option<Outcome>,
}

impl Difference {
    /// Whether it is one for the worse: a test fails that did not, or passed and does not.
    pub(super) fn is_regression(&self) -> bool {
        match (self.expected, self.outcome) {
            (Some(Outcome::Passed), _) => true,
            (Some(Outcome::Skipped), outcome) => outcome == Some(Outcome::Failed),
            (Some(Outcome::Failed) | None, _) => false,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_regression() { "regression" } else { "change" };
        let name = |outcome: Option<Outcome>| {
            outcome.map_or_else(|| "absent".to_owned(), |outcome| outcome.to_string())
        };
        let (before, now) = (name(self.expected), name(self.outcome));
        write!(formatter, "{kind}: {} {now}, was {before}", self.key)
    }
}

impl Expected {
    /// Reads the file.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut expected = Self::default();
        for line in text.lines() {
            if line.starts_with('#') {
                expected.comments.push(line.to_owned());
                continue;
            }
            let mut fields = line.split('\t').map(str::to_owned);
            let mut field = || fields.next().with_context(|| format!("too short: {line:?}"));
            let key = Key { package: field()?, test: field()? };
            expected.outcomes.insert(key, Outcome::parse(&field()?)?);
        }
        Ok(expected)
    }

    /// What differs, in the packages that were run.
    pub(super) fn compare(&self, results: &Results, partial: bool) -> Vec<Difference> {
        let known = self.outcomes.iter().filter(|(key, _)| results.has_package(&key.package));
        let known = known.filter_map(|(key, expected)| {
            let outcome = results.get(key);
            let differs = outcome != Some(*expected) && !(partial && outcome.is_none());
            differs.then(|| Difference { key: key.clone(), expected: Some(*expected), outcome })
        });
        let new = results.iter().filter(|(key, _)| !self.outcomes.contains_key(*key));
        let new = new.map(|(key, outcome)| Difference {
            key: key.clone(),
            expected: None,
            outcome: Some(outcome),
        });
        known.chain(new).collect()
    }

    /// Takes over what happened in the packages that were run.
    pub(super) fn update(&mut self, results: &Results) {
        self.outcomes.retain(|key, _| !results.has_package(&key.package));
        self.outcomes.extend(results.iter().map(|(key, outcome)| (key.clone(), outcome)));
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for comment in &self.comments {
            writeln!(formatter, "{comment}")?;
        }
        for (key, outcome) in &self.outcomes {
            writeln!(formatter, "{}\t{}\t{outcome}", key.package, key.test)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::results::tests::results, *};

    const FILE: &str = "# Complement abc\n\
        tests/csapi\tTestA\tpassed\n\
        tests/csapi\tTestA/part\tskipped\n\
        tests/csapi\tTestB\tfailed\n\
        tests/other\tTestC\tpassed\n";

    fn regressions(outcomes: &[(&str, &str)], partial: bool) -> Vec<String> {
        let differences = Expected::parse(FILE).unwrap().compare(&results(outcomes), partial);
        let regressions = differences.iter().filter(|difference| difference.is_regression());
        regressions.map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_as_expected_or_better_is_no_regression() {
        let same = [("TestA", "pass"), ("TestA/part", "skip"), ("TestB", "fail")];
        assert_eq!(Expected::parse(FILE).unwrap().compare(&results(&same), false), []);
        let better =
            [("TestA", "pass"), ("TestA/part", "pass"), ("TestB", "pass"), ("TestN", "fail")];
        assert!(regressions(&better, false).is_empty());
    }

    #[test]
    fn what_fails_or_is_skipped_now_is_a_regression() {
        let worse = [("TestA", "skip"), ("TestA/part", "fail"), ("TestB", "fail")];
        assert_eq!(
            regressions(&worse, false),
            [
                "regression: tests/csapi TestA skipped, was passed",
                "regression: tests/csapi TestA/part failed, was skipped",
            ]
        );
    }

    #[test]
    fn what_is_missing_is_a_regression_unless_only_some_were_run() {
        let some = [("TestB", "fail")];
        assert_eq!(regressions(&some, false), ["regression: tests/csapi TestA absent, was passed"]);
        assert!(regressions(&some, true).is_empty());
    }

    #[test]
    fn an_update_replaces_the_packages_that_were_run() {
        let mut expected = Expected::parse(FILE).unwrap();
        expected.update(&results(&[("TestB", "pass")]));
        let text = "# Complement abc\ntests/csapi\tTestB\tpassed\ntests/other\tTestC\tpassed\n";
        assert_eq!(expected.to_string(), text);
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error() {
        assert!(Expected::parse("tests/csapi\tTestA\n").is_err());
        assert!(Expected::parse("tests/csapi\tTestA\tgood\n").is_err());
    }
}
