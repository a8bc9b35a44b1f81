//! What the peer answers instead of the truth.

use std::{fmt, sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;
use tokio::sync::Notify;

use super::json::render;

/// One request that the peer received.
#[derive(Clone, Debug)]
pub struct Received {
    /// The host that it was sent to, as the request names it.
    pub host: String,
    /// The HTTP method.
    pub method: String,
    /// The path as it came, still percent-encoded, without the query.
    pub path: String,
    /// The path's pieces, percent-decoded: `["_matrix", "federation", "v1", "event", "$id"]`.
    pub pieces: Vec<String>,
    /// The query string.
    pub query: String,
    /// The body; `null` when it is not JSON.
    pub body: Value,
}

impl Received {
    /// The values of a query parameter.
    pub fn parameters(&self, name: &str) -> Vec<String> {
        let pairs = url::form_urlencoded::parse(self.query.as_bytes());
        pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    }

    /// The PDUs of a transaction.
    pub fn pdus(&self) -> impl Iterator<Item = &Value> {
        self.list("pdus")
    }

    /// The EDUs of a transaction.
    pub fn edus(&self) -> impl Iterator<Item = &Value> {
        self.list("edus")
    }

    fn list(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.body.get(name).and_then(Value::as_array).into_iter().flatten()
    }
}

/// An answer to a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// JSON with this status.
    Json(u16, Value),
    /// Any bytes with this status and content type.
    Bytes(u16, &'static str, Bytes),
    /// A redirection to this URL.
    Redirect(String),
    /// The headers of a success, then JSON that never ends.
    Endless,
    /// The headers of a success, then one byte of JSON per second, without end.
    Trickle,
    /// Nothing: the request is held for ever.
    Silence,
    /// Another answer after this time.
    Late(Duration, Box<Reply>),
    /// Another answer once the test gives the sign.
    OnSign(Arc<Notify>, Box<Reply>),
}

impl Reply {
    /// JSON with status 200.
    pub fn ok(body: Value) -> Self {
        Self::Json(200, body)
    }

    /// A Matrix error.
    pub fn error(status: u16, errcode: &str) -> Self {
        Self::Json(status, serde_json::json!({ "errcode": errcode, "error": "says the peer" }))
    }

    pub(super) async fn send(self) -> Response<Body> {
        match self {
            Self::Json(status, value) => {
                let text = render(&value).unwrap_or_default();
                response(status, "application/json", text.into())
            }
            Self::Bytes(status, content_type, bytes) => {
                response(status, content_type, bytes.into())
            }
            Self::Redirect(url) => {
                let mut answer = response(307, "text/plain", Body::empty());
                if let Ok(url) = HeaderValue::from_str(&url) {
                    answer.headers_mut().insert(header::LOCATION, url);
                }
                answer
            }
            Self::Endless => response(200, "application/json", endless()),
            Self::Trickle => response(200, "application/json", trickle()),
            Self::Silence => std::future::pending().await,
            Self::Late(time, reply) => {
                tokio::time::sleep(time).await;
                Box::pin(reply.send()).await
            }
            Self::OnSign(sign, reply) => {
                sign.notified().await;
                Box::pin(reply.send()).await
            }
        }
    }
}

/// Decides what a request is answered; `None` leaves it to the next script, and at last to the truth.
pub(super) type Script = Box<dyn Fn(&Received) -> Option<Reply> + Send + Sync>;

/// The scripts of a peer, the latest first.
#[derive(Default)]
pub(super) struct Scripts(Vec<Script>);

impl Scripts {
    pub(super) fn add(&mut self, script: Script) {
        self.0.push(script);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn reply(&self, request: &Received) -> Option<Reply> {
        self.0.iter().rev().find_map(|script| script(request))
    }
}

impl fmt::Debug for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} scripts", self.0.len())
    }
}

fn response(status: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

fn endless() -> Body {
    let begin = stream::iter([Bytes::from_static(b"{\"endless\":[0")]);
    let more = stream::repeat_with(|| Bytes::from(",0".repeat(32 * 1024)));
    let chunks = futures_util::StreamExt::chain(begin, more);
    Body::from_stream(futures_util::StreamExt::map(chunks, Ok::<_, std::io::Error>))
}

fn trickle() -> Body {
    Body::from_stream(stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
    }))
}
