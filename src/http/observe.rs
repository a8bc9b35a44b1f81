//! One id, one span and one log line for each request.

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use http::{HeaderName, HeaderValue, StatusCode};
use starling_engine::rng;
use tokio::time::Instant;
use tracing::{Instrument as _, Level, Span};

/// The response header that carries the request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the log calls requests, so that `log.level` can leave them out.
const TARGET: &str = "starling::http";

/// Runs the request in a span that names it in every log line of its handling.
///
/// The span has the route and not the address: addresses and queries hold tokens and names. Ids
/// are made here; one that a client sends is not used, or it could forge another request's lines.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = rng::token::<9>();
    let quiet = request.uri().path().starts_with("/health/");
    let span = span(&request, &id);
    span.in_scope(|| tracing::event!(target: TARGET, Level::DEBUG, "began"));
    let mut response = next.run(request).instrument(span.clone()).await;
    span.in_scope(|| log_outcome(response.status(), started, quiet));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn span(request: &Request, id: &str) -> Span {
    let path = request.extensions().get::<MatchedPath>().map_or("(no route)", MatchedPath::as_str);
    let method = request.method();
    tracing::info_span!(target: TARGET, "request", id, %method, path)
}

fn log_outcome(status: StatusCode, started: Instant, quiet: bool) {
    let ms = started.elapsed().as_millis();
    let status = status.as_u16();
    if status >= 500 {
        tracing::event!(target: TARGET, Level::WARN, status, ms, "failed");
    } else if quiet {
        tracing::event!(target: TARGET, Level::DEBUG, status, ms, "answered");
    } else {
        tracing::event!(target: TARGET, Level::INFO, status, ms, "answered");
    }
}
