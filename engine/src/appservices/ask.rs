//! Asking an application service something.
//!
//! <https://spec.matrix.org/v1.19/application-service-api/#homeserver---application-service-api>

use bytes::Bytes;
use http::{Method, Request, Response, header};
use serde_json::Value;
use url::Url;

use super::ApplicationService;
use crate::{Engine, outside::ServiceError, remote::Limits};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskServiceError {
    /// It listens nowhere.
    #[error("the application service has no address")]
    NoUrl,
    /// It took too long.
    #[error("the application service did not answer in time")]
    TimedOut,
    /// It could not be reached, or answered nothing sensible.
    #[error("the application service could not be asked: {0}")]
    Failed(String),
}

impl From<ServiceError> for AskServiceError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::TimedOut => Self::TimedOut,
            ServiceError::Failed(reason) => Self::Failed(reason),
        }
    }
}

/// A question.
pub(crate) struct Question<'a> {
    pub(crate) method: Method,
    /// What stands after `/_matrix/app/v1/`, each part still to be encoded.
    pub(crate) path: &'a [&'a str],
    pub(crate) query: &'a [(String, String)],
    pub(crate) body: Option<Bytes>,
}

/// Asks, with the token by which this server proves who it is.
///
/// # Errors
///
/// [`AskServiceError`]. An answer of whatever status is none.
pub(crate) async fn ask(
    engine: &Engine,
    service: &ApplicationService,
    question: Question<'_>,
    limits: Limits,
) -> Result<Response<Bytes>, AskServiceError> {
    let url = service.url.as_ref().ok_or(AskServiceError::NoUrl)?;
    let request = Request::builder()
        .method(question.method)
        .uri(address(url, question.path, question.query).as_str())
        .header(header::AUTHORIZATION, format!("Bearer {}", service.hs_token))
        .header(header::CONTENT_TYPE, "application/json")
        .body(question.body.unwrap_or_default())
        .map_err(|error| AskServiceError::Failed(error.to_string()))?;
    Ok(engine.outside.ask_service(request, limits).await?)
}

/// Asks for something by its path. `None` when the application service does not know of it.
///
/// # Errors
///
/// [`AskServiceError`], also when the answer is not JSON.
pub(crate) async fn look_up(
    engine: &Engine,
    service: &ApplicationService,
    path: &[&str],
    query: &[(String, String)],
    limits: Limits,
) -> Result<Option<Value>, AskServiceError> {
    let question = Question { method: Method::GET, path, query, body: None };
    let answer = ask(engine, service, question, limits).await?;
    if !answer.status().is_success() {
        return Ok(None);
    }
    let json = serde_json::from_slice(answer.body());
    json.map(Some).map_err(|error| AskServiceError::Failed(error.to_string()))
}

fn address(url: &Url, path: &[&str], query: &[(String, String)]) -> Url {
    let mut url = url.clone();
    // Only an address that cannot have a path has no segments, and a registration has none such.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(["_matrix", "app", "v1"]).extend(path);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_stands_below_the_address() {
        let url = Url::parse("http://127.0.0.1:9000/bridge/").unwrap();
        let query = [("q".to_owned(), "a b&c".to_owned())];
        let asked = address(&url, &["rooms", "#a/b:x.org"], &query);
        let expected = "http://127.0.0.1:9000/bridge/_matrix/app/v1/rooms/%23a%2Fb:x.org?q=a+b%26c";
        assert_eq!(asked.as_str(), expected);
        let root = Url::parse("http://127.0.0.1:9000").unwrap();
        let ping = address(&root, &["ping"], &[]);
        assert_eq!(ping.as_str(), "http://127.0.0.1:9000/_matrix/app/v1/ping");
    }
}
