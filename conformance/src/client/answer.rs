//! What a server answered: status, headers and JSON, with the request's name for error messages.

use anyhow::{Context as _, Result, bail};
use http::HeaderMap;
use serde_json::Value;

use crate::operations::asserted;

/// One answer of a server, good or bad.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The request in words, such as `GET /_matrix/client/versions`.
    pub request: String,
    /// The HTTP status.
    pub status: u16,
    /// The HTTP headers.
    pub headers: HeaderMap,
    /// The body; `null` when it is not JSON.
    pub body: Value,
    /// The body as it came.
    pub bytes: bytes::Bytes,
}

impl Answer {
    /// Sends a request that was completed by hand; `request` is its method and path.
    pub async fn read(request: String, builder: reqwest::RequestBuilder) -> Result<Self> {
        let answer = builder.send().await.with_context(|| request.clone())?;
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let bytes = answer.bytes().await.with_context(|| request.clone())?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Self { request, status, headers, body, bytes })
    }

    /// The body of an answer that must be a success.
    pub fn ok(self) -> Result<Value> {
        if !(200..300).contains(&self.status) {
            bail!("{} was answered {} {}", self.request, self.status, self.shown());
        }
        self.note()?;
        Ok(self.body)
    }

    /// This answer, which must have this status.
    pub fn expect_status(self, status: u16) -> Result<Self> {
        if self.status != status {
            bail!("{} was answered {} {}, not {status}", self.request, self.status, self.shown());
        }
        self.note()?;
        Ok(self)
    }

    /// Fails unless this is an error with this status and this errcode.
    pub fn expect_error(self, status: u16, errcode: &str) -> Result<Value> {
        if self.status != status || self.errcode() != errcode {
            let wanted = format!("{status} {errcode}");
            bail!("{} was answered {} {}, not {wanted}", self.request, self.status, self.shown());
        }
        self.note()?;
        Ok(self.body)
    }

    /// The errcode, or an empty string.
    pub fn errcode(&self) -> &str {
        self.body.get("errcode").and_then(Value::as_str).unwrap_or_default()
    }

    /// Counts this answer as asserted.
    fn note(&self) -> Result<()> {
        asserted::note(&self.request, self.status, self.errcode())
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.bytes).chars().take(600).collect()
    }
}

/// The string at a JSON pointer such as `/content/body`; fails when there is none.
pub fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.with_context(|| format!("no string at {pointer} in {value}"))
}
