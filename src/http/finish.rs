//! What a request began is brought to its end, also when whoever asked goes away.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use tokio_util::task::TaskTracker;

/// The requests that change something, each in a task of its own.
///
/// A connection that closes takes its requests with it, at whatever point they wait. Between two
/// commits of one request, or between another server's answer and our commit, that would leave half
/// of what was asked for: a join that only the other server knows of.
#[derive(Clone, Default)]
pub(crate) struct Changes(TaskTracker);

impl Changes {
    /// Waits until all of them have ended, for `limit` at most.
    pub(crate) async fn end(self, limit: Duration) {
        self.0.close();
        if tokio::time::timeout(limit, self.0.wait()).await.is_err() {
            tracing::warn!(requests = self.0.len(), "requests did not end in time");
        }
    }
}

/// Runs the request to its end. One that only reads ends with its connection: nobody wants the
/// answer of a long poll whose client is gone.
pub(super) async fn finish(
    State(changes): State<Changes>,
    request: Request,
    next: Next,
) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    // The doors catch the panics of their routes, so a task breaks only when the runtime ends.
    let answer = changes.0.spawn(next.run(request)).await;
    answer.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}
