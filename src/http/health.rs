//! `GET /health/live` and `GET /health/ready`, for whoever restarts or balances the server.

use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use starling_storage::Storage;
use tokio_util::sync::CancellationToken;

use crate::database;

/// What `/health/ready` looks at.
#[derive(Clone)]
pub(crate) struct Readiness {
    /// Cancelled when the server begins to stop.
    pub(crate) shutdown: CancellationToken,
    /// Without an answer of the database, no request can be served.
    pub(crate) storage: Storage,
}

/// The two routes. `live` says that the process runs, `ready` that it should get requests.
pub(crate) fn health(readiness: Readiness) -> Router {
    Router::new()
        .route("/health/live", get(|| async { "live" }))
        .route("/health/ready", get(ready))
        .with_state(readiness)
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, &'static str) {
    if readiness.shutdown.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping")
    } else if database::answers(&readiness.storage).await {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer")
    }
}
