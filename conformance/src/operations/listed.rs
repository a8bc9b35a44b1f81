//! The operations that the specification lists, and what it documents for each.

use std::fmt;

use anyhow::{Context as _, Result, ensure};

/// One operation of the specification.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    /// `client-server` or `server-server`.
    pub(super) api: String,
    /// The HTTP method.
    pub(super) method: String,
    /// The path, with parameters in braces.
    pub(super) path: String,
    /// What it may answer.
    pub(super) outcomes: Vec<Outcome>,
    /// Which of these cannot come up in this server, and why.
    pub(super) exceptions: Vec<Exception>,
}

/// Outcomes that cannot come up.
#[derive(Clone, Debug)]
pub(super) struct Exception {
    /// Which.
    pub(super) outcomes: Vec<Outcome>,
    /// Why.
    pub(super) reason: String,
}

/// One way to answer: a status, an errcode, or both.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Outcome {
    /// The status; none where only an errcode is named.
    pub(super) status: Option<u16>,
    /// The errcode, where one is named.
    pub(super) errcode: Option<String>,
}

impl Operation {
    /// Whether this is the path of a request to this operation, query and encoding included.
    pub(super) fn has_path(&self, requested: &str) -> bool {
        let requested = requested.split('?').next().unwrap_or_default();
        let mut parts = requested.split('/');
        let same = self.path.split('/').all(|wanted| match parts.next() {
            // The key of a state event may be empty, and then the slash before it may be left out.
            Some("") | None if wanted == "{stateKey}" => true,
            Some(part) => wanted == part || (is_parameter(wanted) && !part.is_empty()),
            None => false,
        });
        same && parts.next().is_none()
    }

    /// Whether an outcome is one of those that cannot come up.
    pub(super) fn excepts(&self, outcome: &Outcome) -> bool {
        self.exceptions.iter().any(|exception| exception.outcomes.contains(outcome))
    }

    /// How many parts of the path are fixed: of two operations with a path, the one with more is
    /// meant.
    pub(super) fn fixed_parts(&self) -> usize {
        self.path.split('/').filter(|part| !is_parameter(part)).count()
    }
}

fn is_parameter(part: &str) -> bool {
    part.starts_with('{')
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.method, self.path)
    }
}

impl Outcome {
    /// Whether an answer with this status and errcode is this outcome.
    pub(super) fn is(&self, status: u16, errcode: &str) -> bool {
        self.status.is_none_or(|wanted| wanted == status)
            && self.errcode.as_deref().is_none_or(|wanted| wanted == errcode)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, &self.errcode) {
            (Some(status), Some(errcode)) => write!(formatter, "{status} {errcode}"),
            (Some(status), None) => write!(formatter, "{status}"),
            (None, errcode) => formatter.write_str(errcode.as_deref().unwrap_or_default()),
        }
    }
}

/// Reads the list.
pub(super) fn parse(text: &str) -> Result<Vec<Operation>> {
    text.lines().filter(|line| !line.starts_with('#')).map(operation).collect()
}

fn operation(line: &str) -> Result<Operation> {
    let mut fields = line.split('\t').map(str::to_owned);
    let mut field = || fields.next().with_context(|| format!("too short: {line:?}"));
    let (api, method, path, outcomes) = (field()?, field()?, field()?, field()?);
    let outcomes: Vec<Outcome> = outcomes.split(' ').map(outcome).collect::<Result<_>>()?;
    ensure!(!outcomes.is_empty(), "nothing is answered: {line:?}");
    let exceptions: Vec<Exception> =
        fields.map(|field| exception(&field)).collect::<Result<_>>()?;
    let mut excepted = exceptions.iter().flat_map(|exception| &exception.outcomes);
    ensure!(excepted.all(|one| outcomes.contains(one)), "excepts what is not there: {line:?}");
    Ok(Operation { api, method, path, outcomes, exceptions })
}

/// Reads `404:M_NOT_FOUND 410: why they cannot come up`.
fn exception(field: &str) -> Result<Exception> {
    let (outcomes, reason) =
        field.split_once(": ").with_context(|| format!("no reason: {field:?}"))?;
    let outcomes = outcomes.split(' ').map(outcome).collect::<Result<_>>()?;
    Ok(Exception { outcomes, reason: reason.to_owned() })
}

/// Reads `200`, `404:M_NOT_FOUND` or `M_NOT_FOUND`.
fn outcome(text: &str) -> Result<Outcome> {
    if text.starts_with("M_") {
        return Ok(Outcome { status: None, errcode: Some(text.to_owned()) });
    }
    let (status, errcode) = match text.split_once(':') {
        Some((status, errcode)) => (status, Some(errcode.to_owned())),
        None => (text, None),
    };
    let status = status.parse().with_context(|| format!("no status: {text:?}"))?;
    Ok(Outcome { status: Some(status), errcode })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(path: &str) -> Operation {
        let outcomes = vec![Outcome { status: Some(200), errcode: None }];
        Operation {
            api: "client-server".into(),
            method: "GET".into(),
            path: path.into(),
            outcomes,
            exceptions: Vec::new(),
        }
    }

    #[test]
    fn every_line_of_the_list_can_be_read() {
        let operations = parse(include_str!("../../endpoints.tsv")).unwrap();
        assert_eq!(operations.iter().filter(|one| one.api == "client-server").count(), 164);
        assert_eq!(operations.iter().filter(|one| one.api == "server-server").count(), 36);
    }

    #[test]
    fn parameters_are_any_part_of_a_path() {
        let operation = one("/rooms/{roomId}/state/{eventType}/{stateKey}");
        for path in ["/rooms/%21a%3Ab/state/b/c?d", "/rooms/a/state/b/", "/rooms/a/state/b"] {
            assert!(operation.has_path(path), "{path}");
        }
        for path in
            ["/rooms/a/state", "/rooms/a/state/b/c/d", "/rooms//state/b/c", "/x/a/state/b/c"]
        {
            assert!(!operation.has_path(path), "{path}");
        }
    }

    #[test]
    fn an_exception_names_outcomes_that_are_there_and_a_reason() {
        let line = "client-server\tGET\t/a\t200 404:M_NOT_FOUND M_GONE";
        let read = |exception: &str| parse(&format!("{line}\t{exception}"));
        let operation = read("404:M_NOT_FOUND M_GONE: there is always one").unwrap().remove(0);
        let excepted = operation.outcomes.iter().map(|outcome| operation.excepts(outcome));
        assert_eq!(excepted.collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(operation.exceptions[0].reason, "there is always one");
        for wrong in ["410: never", "200", "why"] {
            read(wrong).unwrap_err();
        }
    }

    #[test]
    fn an_outcome_asks_for_what_it_names() {
        let missing = outcome("404:M_NOT_FOUND").unwrap();
        assert!(missing.is(404, "M_NOT_FOUND"));
        assert!(!missing.is(404, "M_UNRECOGNIZED"));
        assert!(outcome("404").unwrap().is(404, "M_UNRECOGNIZED"));
        assert!(outcome("M_NOT_FOUND").unwrap().is(410, "M_NOT_FOUND"));
        outcome("4xx").unwrap_err();
    }
}
