//! One id, one span and one log line for each request.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;
use starling_engine::rng;
use tokio::time::Instant;
use tracing::{Instrument as _, Level, Span};

use super::{client_ip::is_trusted_proxy, connection::Connection};
use crate::metrics::{Api, Traffic};

/// The header that carries the request's id: of each answer, and of what a trusted proxy passes on.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the log calls requests, so that `log.level` can leave them out.
const TARGET: &str = "starling::http";

/// The route of addresses that nothing answers.
const NO_ROUTE: &str = "(no route)";

/// How long an id may be that a proxy gives.
const LONGEST_ID: usize = 64;

/// What all requests of an API have in common.
#[derive(Clone)]
pub(super) struct Observer {
    pub(super) traffic: Traffic,
    pub(super) api: Api,
    /// The proxies that are believed.
    pub(super) trusted: Arc<[IpNet]>,
}

/// Runs the request in a span that names it in every log line of its handling.
///
/// The span has the route and not the address: addresses and queries hold tokens and names.
pub(super) async fn observe(
    State(observer): State<Observer>,
    request: Request,
    next: Next,
) -> Response {
    let Observer { traffic, api, trusted } = observer;
    let started = Instant::now();
    let _in_flight = traffic.enter(api);
    let (method, route) = (request.method().clone(), request.extensions().get().cloned());
    let id = id(&request, &trusted);
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

/// The id of a request: that of a proxy that is believed, or a new one. One that anybody else sends is not
/// used, or it could forge another request's lines.
fn id(request: &Request, trusted: &[IpNet]) -> String {
    let connection = request.extensions().get::<Connection>();
    let is_trusted = connection.is_some_and(|it| is_trusted_proxy(it.peer, trusted));
    let given = request.headers().get(REQUEST_ID).filter(|_| is_trusted);
    let given = given.and_then(|value| value.to_str().ok()).filter(|id| is_id(id));
    given.map_or_else(rng::token::<9>, ToOwned::to_owned)
}

/// Ids are short and plain: they stand in log lines.
fn is_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(is_plain)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_and_plain() {
        for id in ["a", "4f1c-9_A.b", "0af7651916cd43dd8448eb211c80319c", &"x".repeat(64)] {
            assert!(is_id(id), "{id}");
        }
        for text in ["", "a b", "a\"", "a=b", "é", &"x".repeat(65)] {
            assert!(!is_id(text), "{text}");
        }
    }
}
