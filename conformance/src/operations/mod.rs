//! Which operations of the specification have tests for everything that the specification says they
//! answer.
//!
//! `conformance/endpoints.tsv` lists the operations with the statuses and errcodes that the
//! specification documents, and says of those that cannot come up here why they cannot. While
//! [`asserted::DIRECTORY`] is set, each answer that a black-box test asserts is noted there. The table
//! of both is a part of `docs/conformance.md`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::report::say;

pub mod asserted;
mod listed;
mod table;

use asserted::Asserted;
use table::Row;

/// The command line of `operations`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The directory that STARLING_TEST_OUTCOMES named while the black-box tests ran.
    #[arg(value_name = "DIRECTORY")]
    pub outcomes: PathBuf,

    /// The page with the table. A row that it calls closed must still be so.
    #[arg(long, value_name = "FILE", default_value_os_t = committed())]
    pub page: PathBuf,

    /// Write the table into the page.
    #[arg(long)]
    pub write: bool,
}

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md")
}

/// The operations of an API (`client-server`, `server-server`) that the specification limits in rate:
/// method and path.
///
/// # Errors
///
/// When the list of operations is not what it should be.
pub fn limited(api: &str) -> Result<Vec<(String, String)>> {
    let operations = listed::parse(include_str!("../../endpoints.tsv"))?;
    let limited = operations
        .into_iter()
        .filter(|one| one.api == api)
        .filter(|one| one.outcomes.iter().any(|outcome| outcome.status == Some(429)));
    Ok(limited.map(|one| (one.method, one.path)).collect())
}

/// Compares what the tests asserted with what the specification documents, and tells whether every
/// row that was closed still is.
///
/// # Errors
///
/// When a file cannot be read or is not what it should be.
pub fn report(options: &Options) -> Result<bool> {
    let operations = listed::parse(include_str!("../../endpoints.tsv"))?;
    let asserted = Asserted::read(&options.outcomes)?;
    let rows: Vec<Row<'_>> = table::rows(&operations, &asserted);
    let page = std::fs::read_to_string(&options.page)
        .with_context(|| format!("cannot read {}", options.page.display()))?;
    if options.write {
        std::fs::write(&options.page, table::replaced(&page, &rows)?)?;
    }
    for row in rows.iter().filter(|row| !row.is_closed()) {
        say(&format!("open: {row}"));
    }
    let contradictions = contradictions(&rows);
    let (passed, failed) = compare(&page, &rows, options.write);
    let failed = failed + contradictions;
    say(&format!("{passed} passed, {failed} failed"));
    Ok(failed == 0 && passed > 0)
}

/// How many outcomes came up although the list says that they cannot.
fn contradictions(rows: &[Row<'_>]) -> usize {
    let of_row = |row: &Row<'_>| {
        row.contradictions().map(|outcome| format!("{outcome} of {row}")).collect::<Vec<_>>()
    };
    let found: Vec<String> = rows.iter().flat_map(of_row).collect();
    for contradiction in &found {
        say(&format!("not applicable, and yet asserted: {contradiction}"));
    }
    found.len()
}

/// How many rows are closed, and how many were and are not any more.
fn compare(page: &str, rows: &[Row<'_>], rewritten: bool) -> (usize, usize) {
    let closed = rows.iter().filter(|row| row.is_closed()).count();
    if rewritten {
        return (closed, 0);
    }
    let reopened = rows.iter().filter(|row| !row.is_closed() && table::calls_closed(page, row));
    let reopened = reopened.inspect(|row| say(&format!("reopened: {row}"))).count();
    (closed, reopened)
}
