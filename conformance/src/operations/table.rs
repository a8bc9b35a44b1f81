//! The table of operations in the page about conformance.

use std::fmt;

use anyhow::{Context as _, Result};

use super::{
    asserted::{Asserted, Seen},
    listed::{Operation, Outcome},
};

const BEGIN: &str = "<!-- operations: written by `starling-conformance operations --write` -->\n";
const END: &str = "<!-- end of operations -->\n";

/// One operation with what tests assert of it.
#[derive(Debug)]
pub(super) struct Row<'a> {
    operation: &'a Operation,
    seen: Seen,
}

impl Row<'_> {
    /// Whether tests assert everything that is documented and can come up.
    pub(super) fn is_closed(&self) -> bool {
        self.missing().next().is_none()
    }

    /// What a test asserts although the list says that it cannot come up.
    pub(super) fn contradictions(&self) -> impl Iterator<Item = &Outcome> {
        self.seen.outcomes.iter().filter(|outcome| self.operation.excepts(outcome))
    }

    fn missing(&self) -> impl Iterator<Item = &Outcome> {
        let Self { operation, seen } = self;
        let outcomes = operation.outcomes.iter();
        outcomes.filter(|one| !seen.outcomes.contains(*one) && !operation.excepts(one))
    }

    fn state(&self) -> &'static str {
        match (self.is_closed(), self.seen.tests.is_empty()) {
            (true, _) => "closed",
            (false, false) => "open",
            (false, true) => "no tests",
        }
    }

    fn line(&self) -> String {
        let Self { operation, seen } = self;
        let missing = listed(self.missing());
        let exceptions = self.exceptions();
        let tests = seen.tests.len();
        format!("| `{operation}` | {} | {missing} | {exceptions} | {tests} |\n", self.state())
    }

    fn exceptions(&self) -> String {
        let exceptions = self.operation.exceptions.iter();
        let texts = exceptions.map(|it| format!("{}: {}", listed(it.outcomes.iter()), it.reason));
        texts.collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.operation, listed(self.missing()))
    }
}

fn listed<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> String {
    outcomes.map(Outcome::to_string).collect::<Vec<_>>().join(", ")
}

/// A row for each operation.
pub(super) fn rows<'a>(operations: &'a [Operation], asserted: &Asserted) -> Vec<Row<'a>> {
    let row = |operation| Row { operation, seen: asserted.of(operation, operations) };
    operations.iter().map(row).collect()
}

/// The page with these rows in place of those that it had.
pub(super) fn replaced(page: &str, rows: &[Row<'_>]) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).context("the page has no place for the table")?;
    let (_, after) = rest.split_once(END).context("the table of the page has no end")?;
    let apis = ["client-server", "server-server"].map(|api| of_api(api, rows));
    Ok(format!("{before}{BEGIN}{}{END}{after}", apis.concat()))
}

fn of_api(api: &str, rows: &[Row<'_>]) -> String {
    let rows: Vec<&Row<'_>> = rows.iter().filter(|row| row.operation.api == api).collect();
    let closed = rows.iter().filter(|row| row.is_closed()).count();
    let lines: String = rows.iter().map(|row| row.line()).collect();
    let count = rows.len();
    format!(
        "\n### The {api} API: {closed} of {count} closed\n\n\
         | Operation | State | Missing | Not applicable | Tests |\n\
         | --- | --- | --- | --- | --: |\n{lines}\n"
    )
}

/// Whether the page says of this row that it is closed.
pub(super) fn calls_closed(page: &str, row: &Row<'_>) -> bool {
    page.contains(&format!("| `{}` | closed |", row.operation))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation() -> Operation {
        super::super::listed::parse("client-server\tGET\t/a\t200 404:M_NOT_FOUND")
            .unwrap()
            .remove(0)
    }

    fn row(operation: &Operation, outcomes: usize) -> Row<'_> {
        let outcomes = operation.outcomes.iter().take(outcomes).cloned().collect();
        Row { operation, seen: Seen { outcomes, tests: ["t".to_owned()].into() } }
    }

    #[test]
    fn a_row_is_closed_when_nothing_is_missing() {
        let operation = operation();
        assert!(row(&operation, 2).is_closed());
        assert_eq!(row(&operation, 1).line(), "| `GET /a` | open | 404 M_NOT_FOUND |  | 1 |\n");
    }

    #[test]
    fn what_cannot_come_up_is_not_missing_and_must_not_be_seen() {
        let line = "client-server\tGET\t/a\t200 404:M_NOT_FOUND\t404:M_NOT_FOUND: one is there";
        let operation = super::super::listed::parse(line).unwrap().remove(0);
        let closed = row(&operation, 1);
        assert!(closed.is_closed() && closed.contradictions().next().is_none());
        let shown = "| `GET /a` | closed |  | 404 M_NOT_FOUND: one is there | 1 |\n";
        assert_eq!(closed.line(), shown);
        assert_eq!(row(&operation, 2).contradictions().count(), 1);
    }

    #[test]
    fn the_page_takes_the_table_and_is_asked_what_was_closed() {
        let operation = operation();
        let page = format!("before\n{BEGIN}old\n{END}after\n");
        let page = replaced(&page, &[row(&operation, 2)]).unwrap();
        assert!(page.starts_with("before\n") && page.ends_with("after\n") && !page.contains("old"));
        assert!(calls_closed(&page, &row(&operation, 1)));
        let page = replaced(&page, &[row(&operation, 1)]).unwrap();
        assert!(!calls_closed(&page, &row(&operation, 2)));
        replaced("nothing", &[]).unwrap_err();
    }
}
