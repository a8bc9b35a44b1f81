//! Whether an application service can be reached, which it asks itself.
//!
//! <https://spec.matrix.org/v1.19/application-service-api/#pinging>

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;

use super::{
    ApplicationService,
    ask::{self, AskServiceError, Question},
};
use crate::{Engine, remote::Limits};

/// What a ping may cost.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(10), max_body: 64 * 1024 };

/// How much of an answer that is none is passed on, in characters.
const SHOWN: usize = 1_000;

/// Why a ping did not come through.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// There was no answer.
    #[error(transparent)]
    NoAnswer(#[from] AskServiceError),
    /// The answer was another than that all is well.
    #[error("the application service answered with status {status}")]
    BadStatus {
        /// Its HTTP status.
        status: u16,
        /// The beginning of its text.
        body: String,
    },
}

/// Pings, and measures how long that takes.
///
/// # Errors
///
/// [`PingError`].
pub async fn ping(
    engine: &Engine,
    service: &ApplicationService,
    transaction_id: Option<&str>,
) -> Result<Duration, PingError> {
    let body = match transaction_id {
        Some(id) => json!({ "transaction_id": id }),
        None => json!({}),
    };
    let body = Some(Bytes::from(body.to_string()));
    let question = Question { method: Method::POST, path: &["ping"], query: &[], body };
    let begun = engine.clock.now_ms();
    let answer = ask::ask(engine, service, question, LIMITS).await?;
    let took = u64::try_from(engine.clock.now_ms() - begun).unwrap_or(0);
    if answer.status().is_success() {
        return Ok(Duration::from_millis(took));
    }
    let text = String::from_utf8_lossy(answer.body());
    let body = text.chars().take(SHOWN).collect();
    Err(PingError::BadStatus { status: answer.status().as_u16(), body })
}
