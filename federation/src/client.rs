//! The HTTPS client for servers whose addresses others choose.
//!
//! It connects to addresses that were filtered before ([`crate::addresses`]), accepts only a
//! certificate for the name in the route, sends exactly the `Host` in the route, never follows a
//! redirect, and reads no more than it is told to. Connections are kept per route.

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header, uri::Authority};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use moka::sync::Cache;
use rustls::{ClientConfig, pki_types::ServerName};
use starling_engine::remote::Limits;
use tokio::time::{Instant, timeout_at};

use crate::{
    body::{self, BodyError, ByteStream, LargeBodies},
    connector::RouteConnector,
};

/// Bytes of a response's head.
const MAX_HEAD: usize = 32 * 1024;
/// How many servers' connections are kept.
const MAX_POOLS: u64 = 4096;
/// How long an unused connection is kept: shorter than servers do, which close at 60 seconds or
/// later, so that a request rarely meets the end of its connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often an HTTP/2 connection in use is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How many mebibytes of memory all large answers together may take.
const MAX_LARGE: usize = 640;

/// How one server is reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Where to connect, in the order of trial.
    pub addresses: Vec<SocketAddr>,
    /// The `Host` header (in HTTP/2 `:authority`).
    pub host: Authority,
    /// The name or IP address that the server's certificate must hold.
    pub tls_name: ServerName<'static>,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No address of the route took the connection; nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection failed after it was open.
    #[error("{0}")]
    Network(String),
    /// The time limit passed.
    #[error("no whole response in time")]
    Timeout,
    /// The body is larger than this many bytes.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
}

type Pool = Client<RouteConnector, Full<Bytes>>;

/// Sends requests along routes.
#[derive(Clone)]
pub struct HttpClient {
    tls: Arc<ClientConfig>,
    connect_timeout: Duration,
    large: LargeBodies,
    // Not by address: a connection stays good when its server's name resolves elsewhere.
    pools: Cache<(Authority, ServerName<'static>), (RouteConnector, Pool)>,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").field("pools", &self.pools.entry_count()).finish()
    }
}

impl HttpClient {
    /// A client that gives each address `connect_timeout` for the connection with its handshake.
    #[must_use]
    pub fn new(tls: Arc<ClientConfig>, connect_timeout: Duration) -> Self {
        let pools = Cache::builder().max_capacity(MAX_POOLS).time_to_idle(2 * IDLE_TIMEOUT).build();
        Self { tls, connect_timeout, large: LargeBodies::new(MAX_LARGE), pools }
    }

    /// Sends `request`, whose URI is a path with query, and returns the response with its body.
    ///
    /// # Errors
    ///
    /// [`FetchError`], each of its variants.
    pub async fn send(
        &self,
        route: &Route,
        request: Request<Bytes>,
        limits: Limits,
    ) -> Result<Response<Bytes>, FetchError> {
        let request = addressed(route, request)?;
        let exchange = async {
            let response = self.exchange(route, request).await?;
            let body = body::collect(response, limits.max_body, &self.large).await;
            body.map_err(|error| match error {
                BodyError::TooLarge(limit) => FetchError::TooLarge(limit),
                BodyError::TooMany => FetchError::Network(error.to_string()),
                BodyError::Broken(reason) => FetchError::Network(reason),
            })
        };
        tokio::time::timeout(limits.timeout, exchange).await.unwrap_or(Err(FetchError::Timeout))
    }

    /// As [`HttpClient::send`], but returns when the head is there; the body comes uncompressed.
    ///
    /// # Errors
    ///
    /// [`FetchError::Connect`], [`FetchError::Network`], [`FetchError::Timeout`].
    pub async fn open(
        &self,
        route: &Route,
        request: Request<Bytes>,
        limits: Limits,
    ) -> Result<Response<ByteStream>, FetchError> {
        let until = Instant::now() + limits.timeout;
        let mut request = addressed(route, request)?;
        request.headers_mut().remove(header::ACCEPT_ENCODING);
        let response = timeout_at(until, self.exchange(route, request)).await;
        let response = response.unwrap_or(Err(FetchError::Timeout))?;
        Ok(response.map(|incoming| body::stream(incoming, limits.max_body, until)))
    }

    /// Sends a request, once more if that is harmless and the connection broke before the response:
    /// the server may have closed a connection that was kept just when it was used again.
    async fn exchange(
        &self,
        route: &Route,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, FetchError> {
        let pool = self.pool(route);
        let again = request.method().is_idempotent().then(|| request.clone());
        match (pool.request(request).await, again) {
            (Err(error), Some(again)) if !error.is_connect() => {
                tracing::debug!(host = %route.host, error = chain(&error), "Sending again");
                pool.request(again).await
            }
            (outcome, _) => outcome,
        }
        .map_err(|error| {
            let reason = chain(&error);
            if error.is_connect() {
                FetchError::Connect(reason)
            } else {
                FetchError::Network(reason)
            }
        })
    }

    fn pool(&self, route: &Route) -> Pool {
        let key = (route.host.clone(), route.tls_name.clone());
        let (connector, pool) = self.pools.get_with(key, || {
            let connector =
                RouteConnector::new(route.tls_name.clone(), self.tls.clone(), self.connect_timeout);
            (connector.clone(), build_pool(connector))
        });
        connector.set_addresses(&route.addresses);
        pool
    }
}

fn build_pool(connector: RouteConnector) -> Pool {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(4)
        .http1_max_buf_size(MAX_HEAD)
        .http2_max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .http2_keep_alive_interval(KEEP_ALIVE)
        .build(connector)
}

/// Gives the request the route's host; the path is left as it is, for it may be signed.
fn addressed(route: &Route, request: Request<Bytes>) -> Result<Request<Full<Bytes>>, FetchError> {
    let invalid = |error: http::Error| FetchError::Network(error.to_string());
    let (mut parts, body) = request.into_parts();
    let mut uri = Uri::builder().scheme("https").authority(route.host.clone());
    if let Some(path_and_query) = parts.uri.path_and_query() {
        uri = uri.path_and_query(path_and_query.clone());
    }
    parts.uri = uri.build().map_err(invalid)?;
    let host = HeaderValue::from_str(route.host.as_str()).map_err(|error| invalid(error.into()))?;
    parts.headers.insert(header::HOST, host);
    parts.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    Ok(Request::from_parts(parts, Full::new(body)))
}

/// An error with its causes, for the log.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::{
        Router,
        body::Body,
        extract::{ConnectInfo, Request as Received},
        response::Redirect,
        routing::{any, get},
    };
    use flate2::{Compression, write::GzEncoder};
    use futures_util::{StreamExt as _, stream};
    use http::StatusCode;

    use super::*;
    use crate::{test_server::Authority as Ca, tls::client_config};

    const LIMITS: Limits = Limits { timeout: Duration::from_secs(20), max_body: 64 * 1024 };

    fn client(ca: &Ca) -> HttpClient {
        let dir = tempfile::tempdir().unwrap();
        HttpClient::new(client_config(&[ca.file(&dir)]).unwrap(), Duration::from_secs(10))
    }

    fn route(address: SocketAddr, host: &'static str, tls_name: &'static str) -> Route {
        Route {
            addresses: vec![address],
            host: Authority::from_static(host),
            tls_name: ServerName::try_from(tls_name).unwrap(),
        }
    }

    fn get_request(path: &str) -> Request<Bytes> {
        Request::get(path).body(Bytes::new()).unwrap()
    }

    /// Answers with the host and the request target that arrived.
    async fn echo(request: Received) -> String {
        let host = request.headers().get(header::HOST).map(|value| value.to_str().unwrap());
        let target = request.uri().path_and_query().unwrap();
        format!("{} {target}", host.unwrap_or_default())
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    async fn fetch(router: Router, limits: Limits) -> Result<Response<Bytes>, FetchError> {
        let ca = Ca::new();
        let address = ca.serve(&["a.example"], router);
        let route = route(address, "a.example", "a.example");
        client(&ca).send(&route, get_request("/"), limits).await
    }

    #[tokio::test]
    async fn host_and_target_arrive_as_given_in_both_http_versions() {
        let ca = Ca::new();
        for protocol in ["h2", "http/1.1"] {
            let router = Router::new().fallback(any(echo));
            let address = ca.serve_protocols(&["a.example"], router, &[protocol]);
            for host in ["b.example", "b.example:443", "b.example:8448"] {
                let route = route(address, host, "a.example");
                let request = get_request("/x/%21a%2f%7Eb?c=%3A&d");
                let response = client(&ca).send(&route, request, LIMITS).await.unwrap();
                assert_eq!(response.body(), &format!("{host} /x/%21a%2f%7Eb?c=%3A&d"));
            }
        }
    }

    #[tokio::test]
    async fn a_certificate_for_another_name_is_refused() {
        let ca = Ca::new();
        let address = ca.serve(&["evil.example"], Router::new().fallback(any(echo)));
        let refused = client(&ca)
            .send(&route(address, "a.example", "a.example"), get_request("/"), LIMITS)
            .await;
        assert!(matches!(refused, Err(FetchError::Connect(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn an_unknown_authority_is_refused() {
        let address = Ca::new().serve(&["a.example"], Router::new().fallback(any(echo)));
        let refused = client(&Ca::new())
            .send(&route(address, "a.example", "a.example"), get_request("/"), LIMITS)
            .await;
        assert!(matches!(refused, Err(FetchError::Connect(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_certificate_can_hold_an_ip_address() {
        let ca = Ca::new();
        let address = ca.serve(&["127.0.0.1"], Router::new().fallback(any(echo)));
        let client = client(&ca);
        let accepted =
            client.send(&route(address, "127.0.0.1", "127.0.0.1"), get_request("/"), LIMITS).await;
        assert_eq!(accepted.unwrap().status(), StatusCode::OK);
        let other =
            client.send(&route(address, "127.0.0.2", "127.0.0.2"), get_request("/"), LIMITS).await;
        assert!(matches!(other, Err(FetchError::Connect(_))), "{other:?}");
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_does_not_answer() {
        let ca = Ca::new();
        let open = ca.serve(&["a.example"], Router::new().fallback(any(echo)));
        let other_name = ca.serve(&["b.example"], Router::new().fallback(any(echo)));
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut route = route(closed, "a.example", "a.example");
        route.addresses.extend([other_name, open]);
        let response = client(&ca).send(&route, get_request("/"), LIMITS).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_connection_is_used_again() {
        let ca = Ca::new();
        let peer = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
        let address = ca.serve(&["a.example"], Router::new().route("/", get(peer)));
        let (client, route) = (client(&ca), route(address, "a.example", "a.example"));
        let first = client.send(&route, get_request("/"), LIMITS).await.unwrap();
        let second = client.send(&route, get_request("/"), LIMITS).await.unwrap();
        assert_eq!(first.body(), second.body());
    }

    /// A server that closes its first connection instead of answering.
    async fn fetch_from_breaking_server(
        protocol: &str,
        method: http::Method,
    ) -> Result<Response<Bytes>, FetchError> {
        let ca = Ca::new();
        let requests = Arc::<AtomicUsize>::default();
        let handler = move || async move {
            assert_ne!(requests.fetch_add(1, Ordering::SeqCst), 0, "this test ends a connection");
        };
        let router = Router::new().fallback(handler);
        let address = ca.serve_protocols(&["a.example"], router, &[protocol]);
        let request = Request::builder().method(method).uri("/").body(Bytes::new()).unwrap();
        client(&ca).send(&route(address, "a.example", "a.example"), request, LIMITS).await
    }

    #[tokio::test]
    async fn a_request_that_may_be_repeated_survives_the_end_of_its_connection() {
        for protocol in ["h2", "http/1.1"] {
            let response = fetch_from_breaking_server(protocol, http::Method::PUT).await;
            assert_eq!(response.unwrap().status(), StatusCode::OK, "{protocol}");
            let failed = fetch_from_breaking_server(protocol, http::Method::POST).await;
            assert!(matches!(failed, Err(FetchError::Network(_))), "{protocol}: {failed:?}");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_like_any_other() {
        let redirect = || async { Redirect::temporary("https://b.example/") };
        let response = fetch(Router::new().route("/", get(redirect)), LIMITS).await.unwrap();
        assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    }

    #[tokio::test]
    async fn an_endless_body_is_cut_at_the_limit() {
        let endless = || async {
            Body::from_stream(stream::repeat_with(|| {
                Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b'x'; 1024]))
            }))
        };
        let cut = fetch(Router::new().route("/", get(endless)), LIMITS).await;
        assert!(matches!(cut, Err(FetchError::TooLarge(65536))), "{cut:?}");
    }

    #[tokio::test]
    async fn a_body_that_announces_too_much_is_refused() {
        let large = || async { vec![b'x'; 64 * 1024 + 1] };
        let refused = fetch(Router::new().route("/", get(large)), LIMITS).await;
        assert!(matches!(refused, Err(FetchError::TooLarge(65536))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_body_of_exactly_the_limit_passes_compressed_or_not() {
        let body = vec![b'x'; 64 * 1024];
        let (plain, packed) = (body.clone(), gzip(&body));
        let router = Router::new()
            .route("/", get(move || async move { ([("content-encoding", "gzip")], packed) }));
        assert_eq!(fetch(router, LIMITS).await.unwrap().into_body(), body);
        let router = Router::new().route("/", get(move || async move { plain }));
        assert_eq!(fetch(router, LIMITS).await.unwrap().into_body(), body);
    }

    #[tokio::test]
    async fn a_bomb_is_measured_unpacked() {
        let bomb = gzip(&vec![0; 50 * 1024 * 1024]);
        assert!(bomb.len() < LIMITS.max_body);
        let router = Router::new()
            .route("/", get(move || async move { ([("content-encoding", "gzip")], bomb) }));
        let refused = fetch(router, LIMITS).await;
        assert!(matches!(refused, Err(FetchError::TooLarge(65536))), "{refused:?}");
    }

    #[tokio::test]
    async fn large_bodies_share_what_there_is_as_long_as_they_are_held() {
        const MIB: usize = 1024 * 1024;
        let body = |mib: usize| move || async move { vec![b'x'; mib * MIB] };
        let router = Router::new().route("/large", get(body(10))).route("/small", get(body(4)));
        let ca = Ca::new();
        let address = ca.serve(&["a.example"], router);
        let route = route(address, "a.example", "a.example");
        let client = HttpClient { large: LargeBodies::new(8), ..client(&ca) };
        let limits = Limits { max_body: 20 * MIB, ..LIMITS };
        let fetch = async |path: &str| client.send(&route, get_request(path), limits).await;
        let first = fetch("/large").await.unwrap();
        assert_eq!(first.body().len(), 10 * MIB);
        assert!(matches!(fetch("/large").await, Err(FetchError::Network(_))));
        fetch("/small").await.unwrap();
        drop(first);
        fetch("/large").await.unwrap();
    }

    #[tokio::test]
    async fn a_body_that_stops_half_way_times_out() {
        let stuck = || async {
            let first = stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from_static(b"x"))]);
            Body::from_stream(first.chain(stream::pending()))
        };
        let limits = Limits { timeout: Duration::from_millis(300), ..LIMITS };
        let timed_out = fetch(Router::new().route("/", get(stuck)), limits).await;
        assert!(matches!(timed_out, Err(FetchError::Timeout)), "{timed_out:?}");
    }
}
