//! A small Matrix client for black-box tests: any request, plus the verbs that every suite needs.
//!
//! [`Api`] sends one request and gives back status and JSON, whatever they are. [`User`] is a
//! registered account with the everyday verbs. [`Sync`] follows an account with `/sync`.

mod answer;
mod sync;
mod user;

use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::Value;

pub use answer::{Answer, text};
pub use sync::Sync;
pub use user::{PASSWORD, User};

use crate::servers::Server;

/// Longer than any long poll that the suites make.
const REQUEST_LIMIT: Duration = Duration::from_secs(90);

/// Less than `limits.header_seconds`, after which the server closes a connection.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// One way to a server's client API, with an access token or without.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// What speaks HTTP. A connection that is idle is given up before the server does so, which may be at the moment
/// of the next request.
fn builder() -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder().no_proxy().timeout(REQUEST_LIMIT);
    builder.pool_idle_timeout(IDLE_LIMIT)
}

impl Api {
    /// Requests without an access token to this server.
    pub fn new(server: &Server) -> Result<Self> {
        Self::at(&server.client_url())
    }

    /// Requests without an access token to a base URL such as `http://127.0.0.1:8008`.
    pub fn at(base: &str) -> Result<Self> {
        let http = builder().build()?;
        Ok(Self { http, base: base.to_owned(), token: None })
    }

    /// The same way, but with redirects for answers instead of what they lead to.
    pub fn staying(&self) -> Result<Self> {
        let stay = reqwest::redirect::Policy::none();
        let http = builder().redirect(stay).build()?;
        Ok(Self { http, ..self.clone() })
    }

    /// The same way with this access token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// `GET` a path such as `/_matrix/client/v3/sync`; see [`path`] for paths with ids in them.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.request(Method::GET, path, None).await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Result<Answer> {
        self.request(Method::POST, path, Some(&body)).await
    }

    /// `PUT` with a JSON body.
    pub async fn put(&self, path: &str, body: Value) -> Result<Answer> {
        self.request(Method::PUT, path, Some(&body)).await
    }

    /// `DELETE` without a body.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.request(Method::DELETE, path, None).await
    }

    /// Any method, with a JSON body or without one.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let mut request = self.builder(method.clone(), path);
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::read(format!("{method} {path}"), request).await
    }

    /// A body of raw bytes with this content type, for what is not JSON.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<Answer> {
        let request = self.builder(method.clone(), path).header("Content-Type", content_type);
        Answer::read(format!("{method} {path}"), request.body(body)).await
    }

    /// A request with the access token, to be completed by hand.
    pub fn builder(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Registers an account, passing the stages of user-interactive authentication that need no
    /// person (`m.login.dummy`, `m.login.terms`), and gives back the final answer.
    pub async fn register(&self, body: Value) -> Result<Answer> {
        self.interactive(Method::POST, "/_matrix/client/v3/register", body).await
    }

    /// Sends a request that wants user-interactive authentication and passes the stages that need
    /// no person. For other stages use [`Api::request`].
    pub async fn interactive(&self, method: Method, path: &str, body: Value) -> Result<Answer> {
        let mut answer = self.request(method.clone(), path, Some(&body)).await?;
        while answer.status == 401 {
            let Some(stage) = next_stage(&answer.body) else { break };
            let mut body = body.clone();
            let session = answer.body.get("session").context("a 401 without a session")?;
            let auth = serde_json::json!({ "type": stage, "session": session });
            body.as_object_mut().context("the body is no object")?.insert("auth".into(), auth);
            answer = self.request(method.clone(), path, Some(&body)).await?;
        }
        Ok(answer)
    }
}

/// The next stage that the harness can pass, of the first flow that has only such stages left.
fn next_stage(body: &Value) -> Option<String> {
    let completed: Vec<&str> = strings(body.get("completed"));
    let flows = body.get("flows")?.as_array()?;
    flows.iter().find_map(|flow| {
        let mut left = strings(flow.get("stages"));
        left.retain(|stage| !completed.contains(stage));
        let passable = left.iter().all(|stage| matches!(*stage, "m.login.dummy" | "m.login.terms"));
        passable.then(|| left.first().map(|&stage| stage.to_owned()))?
    })
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    let items = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).collect()
}

/// Fills each `{}` of a path with a percent-encoded value:
/// `path("/_matrix/client/v3/rooms/{}/leave", &[room])`.
pub fn path(template: &str, values: &[&str]) -> String {
    let mut values = values.iter();
    let mut filled = String::with_capacity(template.len());
    let mut parts = template.split("{}");
    filled.push_str(parts.next().unwrap_or_default());
    for part in parts {
        filled.push_str(&encode(values.next().copied().unwrap_or_default()));
        filled.push_str(part);
    }
    filled
}

/// Percent-encodes everything but the unreserved characters.
pub fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_encoded_into_paths() {
        let filled = path("/rooms/{}/state/{}/", &["!a:b", "m.room.name"]);
        assert_eq!(filled, "/rooms/%21a%3Ab/state/m.room.name/");
    }

    #[test]
    fn stages_for_persons_are_not_passed() {
        let body = json!({ "flows": [{ "stages": ["m.login.email.identity"] }] });
        assert_eq!(next_stage(&body), None);
    }

    #[test]
    fn completed_stages_are_not_passed_again() {
        let body = json!({
            "flows": [{ "stages": ["m.login.terms", "m.login.dummy"] }],
            "completed": ["m.login.terms"],
        });
        assert_eq!(next_stage(&body).as_deref(), Some("m.login.dummy"));
    }
}
