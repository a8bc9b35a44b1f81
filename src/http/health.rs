//! `GET /health/live` and `GET /health/ready`, for whoever restarts or balances the server.

use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use starling_engine::Engine;

use crate::database;

/// The two routes. `live` says that the process runs, `ready` that it should get requests.
pub(crate) fn health(engine: Engine) -> Router {
    Router::new()
        .route("/health/live", get(async || "live"))
        .route("/health/ready", get(ready))
        .with_state(engine)
}

async fn ready(State(engine): State<Engine>) -> (StatusCode, &'static str) {
    if engine.shutdown.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping")
    } else if database::answers(&engine.storage).await {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer")
    }
}
