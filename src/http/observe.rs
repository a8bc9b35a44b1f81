//! One id, one span and one log line for each request.

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request},
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;
use opentelemetry::trace::Status;
use starling_engine::rng;
use tokio::time::Instant;
use tracing::{Instrument as _, Level, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::{client_ip::is_trusted_proxy, connection::Connection};
use crate::{
    metrics::{Api, METHODS, Traffic},
    traces::parent,
};

/// The header that carries the request's id: of each answer, and of what a trusted proxy passes on.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the log calls requests, so that `log.level` can leave them out.
const TARGET: &str = "starling::http";

/// The route of addresses that nothing answers.
const NO_ROUTE: &str = "(no route)";

/// How long an id may be that a proxy gives.
const LONGEST_ID: usize = 64;

/// What all requests of an API have in common.
pub(super) struct Observer {
    pub(super) traffic: Traffic,
    pub(super) api: Api,
    /// The proxies that are believed.
    pub(super) trusted: Arc<[IpNet]>,
    /// Whether spans are exported.
    pub(super) is_traced: bool,
}

impl Observer {
    /// Runs the request in a span that names it in every log line of its handling.
    ///
    /// The span has the route and not the address: addresses and queries hold tokens and names.
    pub(super) async fn observe(
        &self,
        request: Request,
        answer: impl AsyncFnOnce(Request) -> Response,
    ) -> Response {
        let started = Instant::now();
        let _in_flight = self.traffic.enter(self.api);
        let (method, route) = (request.method().clone(), request.extensions().get().cloned());
        let connection = request.extensions().get::<Connection>();
        let is_believed = connection.is_some_and(|it| is_trusted_proxy(it.peer, &self.trusted));
        let headers = is_believed.then(|| request.headers());
        let id = headers.and_then(given_id).unwrap_or_else(rng::token::<9>);
        let quiet = request.uri().path().starts_with("/health/");
        let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
        let span = match self.is_traced {
            true => traced_span((&method, route, &id), headers),
            false => span(&method, route, &id),
        };
        span.in_scope(|| tracing::event!(target: TARGET, Level::DEBUG, "began"));
        let mut response = answer(request).instrument(span.clone()).await;
        self.traffic.count((self.api, &method, route), response.status(), started.elapsed());
        span.in_scope(|| log_outcome(response.status(), started, quiet));
        if self.is_traced {
            note_status(&span, response.status());
        }
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        response
    }
}

/// The id that a proxy gave a request. Only of one that is believed: whoever chooses an id could forge another
/// request's lines.
fn given_id(headers: &HeaderMap) -> Option<String> {
    let given = headers.get(REQUEST_ID)?.to_str().ok()?;
    is_id(given).then(|| given.to_owned())
}

/// Ids are short and plain: they stand in log lines.
fn is_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(is_plain)
}

fn span(method: &Method, path: &str, id: &str) -> Span {
    tracing::info_span!(target: TARGET, "request", id, %method, path)
}

/// The same span as it is exported, as a part of the trace that a proxy began.
fn traced_span((method, path, id): (&Method, &str, &str), of_proxy: Option<&HeaderMap>) -> Span {
    let known = if METHODS.contains(method) { method.as_str() } else { "_OTHER" };
    let name = format!("{known} {path}");
    let span = tracing::info_span!(
        target: TARGET, "request", otel.kind = "server", otel.name = name, id, %method, path
    );
    if let Some(parent) = of_proxy.and_then(parent) {
        // Fails only where the span is not exported.
        let _ = span.set_parent(parent);
    }
    span.set_attribute("http.request.method", known.to_owned());
    span.set_attribute("http.route", path.to_owned());
    span
}

fn note_status(span: &Span, status: StatusCode) {
    span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.set_status(Status::error(""));
    }
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
