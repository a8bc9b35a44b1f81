//! One id, one span and one log line for each request.

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use starling_engine::rng;
use tokio::time::Instant;
use tracing::{Instrument as _, Level, Span};

use crate::metrics::{Api, Traffic};

/// The response header that carries the request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the log calls requests, so that `log.level` can leave them out.
const TARGET: &str = "starling::http";

/// The route of addresses that nothing answers.
const NO_ROUTE: &str = "(no route)";

/// Runs the request in a span that names it in every log line of its handling.
///
/// The span has the route and not the address: addresses and queries hold tokens and names. Ids
/// are made here; one that a client sends is not used, or it could forge another request's lines.
pub(super) async fn observe(
    State((traffic, api)): State<(Traffic, Api)>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let _in_flight = traffic.enter(api);
    let (method, route) = (request.method().clone(), request.extensions().get().cloned());
    let id = rng::token::<9>();
    let quiet = request.uri().path().starts_with("/health/");
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let span = span(&method, route, &id);
    span.in_scope(|| tracing::event!(target: TARGET, Level::DEBUG, "began"));
    let mut response = next.run(request).instrument(span.clone()).await;
    traffic.count((api, &method, route), response.status(), started.elapsed());
    span.in_scope(|| log_outcome(response.status(), started, quiet));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn span(method: &Method, path: &str, id: &str) -> Span {
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
