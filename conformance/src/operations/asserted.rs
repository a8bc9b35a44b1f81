//! What the black-box tests asserted: noted while they run, read afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    process, thread,
};

use anyhow::{Context as _, Result};

use super::listed::{Operation, Outcome};

/// Names the directory in which tests note what they assert.
pub const DIRECTORY: &str = "STARLING_TEST_OUTCOMES";

/// Notes that the running test asserted this answer to `request`, which is a method and a path.
/// Without [`DIRECTORY`] nothing is noted.
///
/// # Errors
///
/// When the note cannot be written.
pub fn note(request: &str, status: u16, errcode: &str) -> Result<()> {
    let Some(directory) = env::var_os(DIRECTORY) else { return Ok(()) };
    let path = Path::new(&directory).join(format!("{}.tsv", process::id()));
    let test = thread::current().name().unwrap_or_default().to_owned();
    let line = format!("{request}\t{status}\t{errcode}\t{test}\n");
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    // In one piece: other tests write to the same file.
    file.write_all(line.as_bytes())?;
    Ok(())
}

/// The answers that were asserted, each with the tests that did.
#[derive(Debug, Default)]
pub(super) struct Asserted(BTreeMap<Answer, BTreeSet<String>>);

#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Answer {
    method: String,
    path: String,
    status: u16,
    errcode: String,
}

impl Asserted {
    /// Reads the notes in a directory.
    pub(super) fn read(directory: &Path) -> Result<Self> {
        let mut asserted = Self::default();
        let entries = fs::read_dir(directory)
            .with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            asserted.add(&fs::read_to_string(entry?.path())?)?;
        }
        Ok(asserted)
    }

    fn add(&mut self, text: &str) -> Result<()> {
        for line in text.lines() {
            let (answer, test) = answer(line).with_context(|| format!("no note: {line:?}"))?;
            self.0.entry(answer).or_default().insert(test);
        }
        Ok(())
    }

    /// What was asserted of one of the operations: its outcomes and the tests.
    pub(super) fn of(&self, operation: &Operation, all: &[Operation]) -> Seen {
        let mut seen = Seen::default();
        for (answer, tests) in &self.0 {
            if !answer.is_of(operation, all) {
                continue;
            }
            let outcomes = operation.outcomes.iter();
            let asserted = outcomes.filter(|outcome| outcome.is(answer.status, &answer.errcode));
            seen.outcomes.extend(asserted.cloned());
            seen.tests.extend(tests.iter().cloned());
        }
        seen
    }
}

/// What tests asserted of one operation.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The documented outcomes that a test asserts.
    pub(super) outcomes: BTreeSet<Outcome>,
    /// The tests that assert anything of it.
    pub(super) tests: BTreeSet<String>,
}

impl Answer {
    fn is_of(&self, operation: &Operation, all: &[Operation]) -> bool {
        let fits = |other: &&Operation| other.method == self.method && other.has_path(&self.path);
        fits(&operation)
            && all.iter().filter(fits).all(|other| other.fixed_parts() <= operation.fixed_parts())
    }
}

fn answer(line: &str) -> Option<(Answer, String)> {
    let mut fields = line.split('\t');
    let (method, path) = fields.next()?.split_once(' ')?;
    let status = fields.next()?.parse().ok()?;
    let errcode = fields.next()?.to_owned();
    let test = fields.next()?.to_owned();
    Some((Answer { method: method.to_owned(), path: path.to_owned(), status, errcode }, test))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "client-server\tGET\t/events\t200 400\n\
                        client-server\tGET\t/events/{eventId}\t200 404:M_NOT_FOUND\n\
                        client-server\tGET\t/events/all\t200\n";

    fn seen(notes: &str, index: usize) -> Seen {
        let all = super::super::listed::parse(LIST).unwrap();
        let mut asserted = Asserted::default();
        asserted.add(notes).unwrap();
        asserted.of(&all[index], &all)
    }

    #[test]
    fn an_answer_counts_for_the_operation_that_gave_it() {
        let notes = "GET /events/$a?x=y\t404\tM_NOT_FOUND\ta::b\n\
                     GET /events/all\t200\t\tc::d\n\
                     PUT /events/$a\t200\t\te::f\n";
        let found = seen(notes, 1);
        assert_eq!(found.outcomes.len(), 1);
        assert_eq!(found.tests.into_iter().collect::<Vec<_>>(), ["a::b"]);
        assert_eq!(seen(notes, 2).outcomes.len(), 1);
        assert!(seen(notes, 0).outcomes.is_empty());
    }

    #[test]
    fn what_is_no_note_is_an_error() {
        Asserted::default().add("GET /events\tfine\t\ta").unwrap_err();
    }
}
