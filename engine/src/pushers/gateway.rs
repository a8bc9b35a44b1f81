//! One request to a push gateway, and what became of it.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::{Engine, remote::Limits};

/// Where every gateway listens, after whatever leads to it.
pub(super) const PATH: &str = "/_matrix/push/v1/notify";

/// What telling may cost.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(15), max_body: 64 * 1024 };

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The gateway took it.
    Taken,
    /// The gateway does not know the pushkey, or knows that it is good for nothing.
    Rejected,
    /// It did not take it.
    Failed(String),
}

/// Tells a gateway something about one pushkey.
pub(super) async fn tell(engine: &Engine, url: &str, pushkey: &str, body: &Value) -> Answer {
    let Ok(url) = Url::parse(url) else { return Answer::Failed("its address is none".to_owned()) };
    let gateway = url.origin().ascii_serialization();
    let _place = engine.pushers.ask(&gateway).await;
    let body = Bytes::from(body.to_string());
    let answer = match engine.outside.notify_gateway(&url, body, LIMITS).await {
        Err(error) => Answer::Failed(error.to_string()),
        Ok(answer) if !answer.status().is_success() => {
            Answer::Failed(format!("it answered with status {}", answer.status().as_u16()))
        }
        Ok(answer) if rejects(answer.body(), pushkey) => Answer::Rejected,
        Ok(_) => Answer::Taken,
    };
    let measures = &engine.measures.push;
    match &answer {
        Answer::Taken => measures.taken.count(),
        Answer::Rejected => measures.rejected.count(),
        Answer::Failed(_) => measures.failed.count(),
    }
    answer
}

/// Whether an answer names the pushkey as one that is not valid. Some gateways answer with nothing.
fn rejects(body: &[u8], pushkey: &str) -> bool {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        rejected: Vec<String>,
    }
    let body = serde_json::from_slice::<Body>(body);
    body.is_ok_and(|body| body.rejected.iter().any(|rejected| rejected == pushkey))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pushkey_itself_is_rejected() {
        for (body, is_rejected) in [
            (r#"{"rejected":["a","key"]}"#, true),
            (r#"{"rejected":["a"]}"#, false),
            (r#"{"rejected":[]}"#, false),
            (r#"{"rejected":"key"}"#, false),
            ("{}", false),
            ("", false),
            ("<html>", false),
        ] {
            assert_eq!(rejects(body.as_bytes(), "key"), is_rejected, "{body}");
        }
    }
}
