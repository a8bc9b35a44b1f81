//! Query parameters, which may come several times, and the filters among them.

use std::{collections::BTreeMap, convert::Infallible};

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::Deserialize;

use super::error::ApiError;

/// The parameters of a request.
#[derive(Clone, Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let text = parts.uri.query().unwrap_or_default();
        Ok(Self(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()))
    }
}

impl Query {
    /// The first value of a parameter; an empty one is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).find(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == "1" || value == "true")
    }

    /// The labels that are asked for: `name`, or `name=value`.
    pub(super) fn labels(&self) -> Result<Labels, ApiError> {
        let Some(filters) = self.get("filters") else { return Ok(Labels::default()) };
        let filters: Filters = serde_json::from_str(filters)
            .map_err(|error| ApiError::Bad(format!("filters: {error}")))?;
        Ok(Labels(
            filters.label.into_iter().filter_map(|(label, on)| on.then_some(label)).collect(),
        ))
    }
}

/// Other filters would change the answer: better an error than a wrong one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filters {
    #[serde(default)]
    label: BTreeMap<String, bool>,
}

/// Labels that something must have, all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels(Vec<String>);

impl Labels {
    /// Whether these labels are all there.
    pub(super) fn fit(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|wanted| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|label| label == value),
            None => labels.contains_key(wanted),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    #[test]
    fn all_labels_must_fit() {
        let labels =
            query(r#"filters={"label":{"pkg=fed":true,"context":true}}"#).labels().unwrap();
        let with = |pairs: &[(&str, &str)]| {
            let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
            pairs.iter().map(own).collect::<BTreeMap<_, _>>()
        };
        assert!(labels.fit(&with(&[("pkg", "fed"), ("context", "x"), ("more", "")])));
        assert!(!labels.fit(&with(&[("pkg", "csapi"), ("context", "x")])));
        assert!(!labels.fit(&with(&[("pkg", "fed")])));
        assert!(query("").labels().unwrap().fit(&BTreeMap::new()));
    }

    #[test]
    fn a_filter_that_is_not_understood_is_refused() {
        assert!(query(r#"filters={"name":{"x":true}}"#).labels().is_err());
        assert!(query("filters=none").labels().is_err());
    }

    #[test]
    fn parameters_may_come_several_times() {
        let query = query("changes=a&changes=b&stdout=1&stderr=0&empty=");
        assert_eq!(query.all("changes").collect::<Vec<_>>(), ["a", "b"]);
        assert!(query.is_on("stdout") && !query.is_on("stderr"));
        assert_eq!(query.get("empty"), None);
    }
}
