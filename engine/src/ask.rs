//! Questions to other servers: a path, perhaps a body, and a JSON answer.

use bytes::Bytes;
use http::{Method, StatusCode};
use ruma::ServerName;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Engine, remote::Limits};

/// Why there is no answer. What the other server said about it is for the log only: its words and
/// errcodes never reach a client.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It could not be reached, or did not answer in time or within the limits.
    #[error("{0}")]
    Unreachable(String),
    /// It refused.
    #[error("status {status}: {errcode}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What it gave as the reason.
        errcode: String,
        /// The whole answer, for fields that go with some errcodes.
        body: Bytes,
    },
    /// Its answer is not what the specification says.
    #[error("malformed answer: {0}")]
    Malformed(String),
}

/// Builds a path under `/_matrix/federation/`: `path("v1/event", &[event_id])`.
#[must_use]
pub fn path(endpoint: &str, segments: &[&str]) -> String {
    let mut path = format!("/_matrix/federation/{endpoint}");
    for segment in segments {
        path.push('/');
        encode(segment, &mut path);
    }
    path
}

/// Adds a query to a path.
#[must_use]
pub fn query(mut path: String, parameters: &[(&str, &str)]) -> String {
    for (index, (name, value)) in parameters.iter().enumerate() {
        path.push(if index == 0 { '?' } else { '&' });
        path.push_str(name);
        path.push('=');
        encode(value, &mut path);
    }
    path
}

/// Percent-encodes all but the characters that mean nothing in any part of a URI.
fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// `GET`s an answer.
///
/// # Errors
///
/// See [`AskError`].
pub async fn get<T: DeserializeOwned>(
    engine: &Engine,
    server: &ServerName,
    path: String,
    limits: Limits,
) -> Result<T, AskError> {
    ask(engine, server, Method::GET, path, Bytes::new(), limits).await
}

/// `PUT`s or `POST`s a body and gets an answer.
///
/// # Errors
///
/// See [`AskError`].
pub async fn send<T: DeserializeOwned>(
    engine: &Engine,
    server: &ServerName,
    method: Method,
    path: String,
    body: &impl Serialize,
    limits: Limits,
) -> Result<T, AskError> {
    let body =
        serde_json::to_vec(body).map_err(|error| AskError::Unreachable(error.to_string()))?;
    ask(engine, server, method, path, body.into(), limits).await
}

/// `GET`s an answer that is large, unread.
///
/// # Errors
///
/// See [`AskError`].
pub async fn get_body(
    engine: &Engine,
    server: &ServerName,
    path: String,
    limits: Limits,
) -> Result<Bytes, AskError> {
    ask_body(engine, server, Method::GET, path, Bytes::new(), limits).await
}

/// `PUT`s a body and gets an answer that is large, unread.
///
/// # Errors
///
/// See [`AskError`].
pub async fn put_body(
    engine: &Engine,
    server: &ServerName,
    path: String,
    body: &impl Serialize,
    limits: Limits,
) -> Result<Bytes, AskError> {
    let body =
        serde_json::to_vec(body).map_err(|error| AskError::Unreachable(error.to_string()))?;
    ask_body(engine, server, Method::PUT, path, body.into(), limits).await
}

async fn ask<T: DeserializeOwned>(
    engine: &Engine,
    server: &ServerName,
    method: Method,
    path: String,
    body: Bytes,
    limits: Limits,
) -> Result<T, AskError> {
    let body = ask_body(engine, server, method, path, body, limits).await?;
    serde_json::from_slice(&body).map_err(|error| AskError::Malformed(error.to_string()))
}

async fn ask_body(
    engine: &Engine,
    server: &ServerName,
    method: Method,
    path: String,
    body: Bytes,
    limits: Limits,
) -> Result<Bytes, AskError> {
    let unreachable = |error: &dyn std::fmt::Display| AskError::Unreachable(error.to_string());
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .body(body)
        .map_err(|error| unreachable(&error))?;
    let response = engine
        .transport
        .send(server, request, limits)
        .await
        .map_err(|error| unreachable(&error))?;
    let status = response.status();
    if !status.is_success() {
        let body = response.into_body();
        return Err(AskError::Refused { status, errcode: errcode(&body), body });
    }
    engine.outbound.spoke(server);
    Ok(response.into_body())
}

fn errcode(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        errcode: String,
    }
    serde_json::from_slice::<Refusal>(body).map_or_else(|_| String::new(), |it| it.errcode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_means_something_is_encoded() {
        assert_eq!(
            path("v1/make_join", &["!a/b:c.org", "@ü:c.org"]),
            "/_matrix/federation/v1/make_join/%21a%2Fb%3Ac.org/%40%C3%BC%3Ac.org"
        );
        assert_eq!(query("/p".to_owned(), &[("v", "a&b"), ("w", "1")]), "/p?v=a%26b&w=1");
    }
}
