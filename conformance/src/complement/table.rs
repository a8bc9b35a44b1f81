//! The table of a run: for each package, tests and their parts.

use std::collections::BTreeMap;

use super::results::{Outcome, Results};

/// How many passed, failed, were skipped.
#[derive(Clone, Copy, Debug, Default)]
struct Count([usize; 3]);

impl Count {
    fn add(&mut self, outcome: Outcome) {
        let [passed, failed, skipped] = &mut self.0;
        *match outcome {
            Outcome::Passed => passed,
            Outcome::Failed => failed,
            Outcome::Skipped => skipped,
        } += 1;
    }

    fn cells(self) -> String {
        let [passed, failed, skipped] = self.0;
        format!("{passed:>6} {failed:>6} {skipped:>7}")
    }
}

/// A line for each package and one for all, below two lines of headings.
pub(super) fn lines(results: &Results) -> Vec<String> {
    let mut packages: BTreeMap<&str, [Count; 2]> = BTreeMap::new();
    let mut all = [Count::default(); 2];
    for (key, outcome) in results.iter() {
        for [tests, parts] in [packages.entry(&key.package).or_default(), &mut all] {
            if key.is_part() { parts } else { tests }.add(outcome);
        }
    }
    let heading = format!("{:>6} {:>6} {:>7}", "passed", "failed", "skipped");
    let mut lines = vec![
        format!("{:<14} {:<21}   {}", "", "tests", "their parts"),
        format!("{:<14} {heading}   {heading}", "package"),
    ];
    let rows = packages.into_iter().chain([("all", all)]);
    lines.extend(rows.map(|(package, [tests, parts])| {
        format!("{package:<14} {}   {}", tests.cells(), parts.cells())
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::{super::results::tests::results, *};

    #[test]
    fn tests_and_their_parts_are_counted_apart() {
        let lines = lines(&results(&[
            ("TestA", "fail"),
            ("TestA/one", "pass"),
            ("TestA/two", "fail"),
            ("TestB", "pass"),
            ("TestC", "skip"),
        ]));
        assert_eq!(
            lines,
            [
                "               tests                   their parts",
                "package        passed failed skipped   passed failed skipped",
                "tests/csapi         1      1       1        1      1       0",
                "all                 1      1       1        1      1       0",
            ]
        );
    }
}
