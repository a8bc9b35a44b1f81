//! Requests to other servers, counted and timed, each in a span of its own.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ruma::ServerName;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use super::{ByteStream, Limits, Transport, TransportError};
use crate::measures::{Measures, Requests};

/// What the spans belong to, so that `log.level` can name them.
const TARGET: &str = "starling::federation";

/// A transport whose requests are counted.
pub(super) struct Measured {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) measures: Arc<Measures>,
}

#[async_trait]
impl Transport for Measured {
    async fn send(
        &self,
        destination: &ServerName,
        request: http::Request<Bytes>,
        limits: Limits,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let span = span(destination, &request);
        self.measure(self.transport.send(destination, request, limits), span).await
    }

    async fn open(
        &self,
        destination: &ServerName,
        request: http::Request<Bytes>,
        limits: Limits,
    ) -> Result<http::Response<ByteStream>, TransportError> {
        let span = span(destination, &request);
        self.measure(self.transport.open(destination, request, limits), span).await
    }

    async fn fetch(
        &self,
        request: http::Request<Bytes>,
        limits: Limits,
    ) -> Result<http::Response<Bytes>, TransportError> {
        self.transport.fetch(request, limits).await
    }
}

impl Measured {
    async fn measure<T>(
        &self,
        sending: impl Future<Output = Result<http::Response<T>, TransportError>>,
        span: Span,
    ) -> Result<http::Response<T>, TransportError> {
        let requests = &self.measures.requests;
        let _open = requests.open.enter();
        let begun = Instant::now();
        let outcome = sending.instrument(span.clone()).await;
        requests.time.took(begun.elapsed());
        count(requests, &outcome);
        if let Ok(response) = &outcome {
            span.record("http.response.status_code", response.status().as_u16());
        }
        outcome
    }
}

fn count<T>(requests: &Requests, outcome: &Result<http::Response<T>, TransportError>) {
    let counter = match outcome {
        Ok(response) if response.status().is_success() => &requests.answered,
        Ok(_) => &requests.refused,
        Err(TransportError::Discovery { .. }) => &requests.not_found,
        Err(TransportError::Network { .. }) => &requests.unreachable,
        Err(TransportError::Timeout { .. }) => &requests.timed_out,
        Err(TransportError::TooLarge { .. }) => &requests.too_large,
    };
    counter.count();
}

/// No id of a room, an event or a user stands in it, and nothing of it is sent along.
fn span(destination: &ServerName, request: &http::Request<Bytes>) -> Span {
    tracing::info_span!(
        target: TARGET, "federation request", otel.kind = "client", server.name = %destination,
        http.request.method = %request.method(), url.template = endpoint(request.uri().path()),
        http.response.status_code = tracing::field::Empty,
    )
}

/// The part of a path that names the endpoint: `/_matrix/federation/v1/send`.
fn endpoint(path: &str) -> &str {
    let end = path.match_indices('/').nth(4).map_or(path.len(), |(end, _)| end);
    path.get(..end).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_no_ids() {
        for (path, name) in [
            ("/_matrix/federation/v1/send/abc", "/_matrix/federation/v1/send"),
            ("/_matrix/federation/v1/make_join/!a/@b", "/_matrix/federation/v1/make_join"),
            ("/_matrix/key/v2/server", "/_matrix/key/v2/server"),
            ("/", "/"),
        ] {
            assert_eq!(endpoint(path), name);
        }
    }
}
