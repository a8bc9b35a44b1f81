//! The engine's way to other servers, over HTTPS.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::{HeaderValue, Request, Response, header};
use moka::sync::Cache;
use ruma::{OwnedServerName, ServerName};
use starling_engine::{
    clock::Clock,
    keys::SigningKeys,
    remote::{ByteStream, Limits, Transport, TransportError},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    client::{FetchError, HttpClient, Route},
    config::FederationConfig,
    discovery::Discovery,
    dns::{DnsError, SystemDns},
    lookup::{Lookup, unbracketed},
    request_auth,
    tls::{TlsError, client_config},
    well_known::WellKnown,
    well_known_fetch::HttpsWellKnown,
};

/// What others see in their logs.
const USER_AGENT: &str = concat!("Starling/", env!("CARGO_PKG_VERSION"));
/// How many servers' queues are kept apart.
const MAX_DESTINATIONS: u64 = 16 * 1024;
/// How long an unused one is kept; longer than any request takes.
const DESTINATION_IDLE: Duration = Duration::from_secs(60 * 60);

/// Why the way to other servers cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file with certificate authorities is unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The resolver cannot be built.
    #[error(transparent)]
    Dns(#[from] DnsError),
}

/// A place in the lines; it is free again when this is dropped.
struct Place {
    _of_destination: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// Discovers, signs and sends.
pub struct HttpTransport {
    server_name: OwnedServerName,
    keys: Arc<SigningKeys>,
    discovery: Discovery,
    lookup: Arc<Lookup>,
    client: HttpClient,
    all: Arc<Semaphore>,
    per_destination: usize,
    destinations: Cache<OwnedServerName, Arc<Semaphore>>,
}

impl HttpTransport {
    /// The way to other servers as this server, whose `keys` sign every request.
    ///
    /// rustls' crypto provider must have been installed.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when the configuration or the system is unusable.
    pub fn new(
        config: &FederationConfig,
        keys: Arc<SigningKeys>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let tls = client_config(&config.trusted_ca_files)?;
        let lookup = Arc::new(Lookup::new(Arc::new(SystemDns::new()?), config));
        let well_known = HttpsWellKnown {
            client: HttpClient::new(tls.clone(), config.well_known_connect_timeout),
            lookup: lookup.clone(),
            clock: clock.clone(),
            timeout: config.well_known_timeout,
        };
        let well_known = WellKnown::new(Arc::new(well_known), clock.clone());
        Ok(Self {
            server_name: config.server_name.clone(),
            keys,
            discovery: Discovery::new(lookup.clone(), well_known, clock),
            lookup,
            client: HttpClient::new(tls, config.connect_timeout),
            all: Arc::new(Semaphore::new(config.max_requests)),
            per_destination: config.max_requests_per_destination,
            destinations: Cache::builder()
                .max_capacity(MAX_DESTINATIONS)
                .time_to_idle(DESTINATION_IDLE)
                .build(),
        })
    }

    async fn send_in_time(
        &self,
        destination: &ServerName,
        request: Request<Bytes>,
        limits: Limits,
    ) -> Result<Response<Bytes>, TransportError> {
        let request = self.prepared(destination, request)?;
        let _place = self.place(destination).await?;
        let route = self.route(destination).await?;
        let outcome = self.client.send(&route, request, limits).await;
        self.look_at(destination, outcome).await
    }

    /// Waits for a place: first at the destination, because a server that is slow must not use up the
    /// others'.
    async fn place(&self, destination: &ServerName) -> Result<Place, TransportError> {
        let closed = |_| network(destination, "shutting down");
        let queue = self.queue(destination).acquire_owned().await.map_err(closed)?;
        let all = self.all.clone().acquire_owned().await.map_err(closed)?;
        Ok(Place { _of_destination: queue, _of_all: all })
    }

    async fn route(&self, destination: &ServerName) -> Result<Arc<Route>, TransportError> {
        self.discovery.route(destination).await.map_err(|error| TransportError::Discovery {
            server: destination.into(),
            reason: error.to_string(),
        })
    }

    /// Forgets how a server was to be reached that could not be, and says what failed.
    async fn look_at<T>(
        &self,
        destination: &ServerName,
        outcome: Result<T, FetchError>,
    ) -> Result<T, TransportError> {
        if matches!(outcome, Err(FetchError::Connect(_))) {
            self.discovery.forget(destination).await;
        }
        outcome.map_err(|error| failure(destination, error))
    }

    async fn fetch_in_time(
        &self,
        server: &str,
        request: Request<Bytes>,
        limits: Limits,
    ) -> Result<Response<Bytes>, TransportError> {
        let failed = |reason: String| TransportError::Network { server: server.into(), reason };
        // Whoever has no name that a homeserver could have is not contacted either.
        let name = <&ServerName>::try_from(server).map_err(|error| failed(error.to_string()))?;
        let _place = self.place(name).await?;
        let (route, request) = self.to_the_web(request).await.map_err(failed)?;
        self.client.send(&route, request, limits).await.map_err(|error| failed(error.to_string()))
    }

    /// Where a whole URI leads, and the request as it is sent there.
    async fn to_the_web(&self, request: Request<Bytes>) -> Result<(Route, Request<Bytes>), String> {
        let (mut head, body) = request.into_parts();
        let uri = head.uri;
        let authority = uri.authority().cloned().ok_or("no host")?;
        if uri.scheme_str() != Some("https") || authority.as_str().contains('@') {
            return Err("not a URI for the web".to_owned());
        }
        let (host, port) = (authority.host(), authority.port_u16().unwrap_or(443));
        let route = Route {
            addresses: self.lookup.addresses(host, port).await.map_err(|e| e.to_string())?,
            tls_name: rustls::pki_types::ServerName::try_from(unbracketed(host).to_owned())
                .map_err(|error| error.to_string())?,
            host: authority.clone(),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = path.parse().map_err(|_| "not a path".to_owned())?;
        head.headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if !body.is_empty() {
            let json = HeaderValue::from_static("application/json");
            head.headers.entry(header::CONTENT_TYPE).or_insert(json);
        }
        Ok((route, Request::from_parts(head, body)))
    }

    fn prepared(
        &self,
        destination: &ServerName,
        mut request: Request<Bytes>,
    ) -> Result<Request<Bytes>, TransportError> {
        if destination == self.server_name {
            return Err(TransportError::Discovery {
                server: destination.into(),
                reason: "it is this server".to_owned(),
            });
        }
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if !request.body().is_empty() {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().entry(header::CONTENT_TYPE).or_insert(json);
        }
        request_auth::sign(&mut request, &self.server_name, destination, self.keys.current())
            .map_err(|error| network(destination, error))?;
        Ok(request)
    }

    fn queue(&self, destination: &ServerName) -> Arc<Semaphore> {
        self.destinations
            .get_with_by_ref(destination, || Arc::new(Semaphore::new(self.per_destination)))
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(
        &self,
        destination: &ServerName,
        request: Request<Bytes>,
        limits: Limits,
    ) -> Result<Response<Bytes>, TransportError> {
        // The query may hold a token; method and path tell enough.
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let outcome = timeout(limits.timeout, self.send_in_time(destination, request, limits))
            .await
            .unwrap_or_else(|_| Err(TransportError::Timeout { server: destination.into() }));
        match &outcome {
            Ok(response) => tracing::debug!(
                server.name = %destination, http.method = %method, http.path = path,
                http.status = response.status().as_u16(), "Sent a request"
            ),
            Err(error) => tracing::debug!(
                server.name = %destination, http.method = %method, http.path = path,
                %error, "A request failed"
            ),
        }
        outcome
    }

    async fn open(
        &self,
        destination: &ServerName,
        request: Request<Bytes>,
        limits: Limits,
    ) -> Result<Response<ByteStream>, TransportError> {
        let request = self.prepared(destination, request)?;
        let place = self.place(destination).await?;
        let route = self.route(destination).await?;
        let outcome = self.client.open(&route, request, limits).await;
        let response = self.look_at(destination, outcome).await?;
        let server = destination.to_owned();
        Ok(response.map(|body| {
            // The place is held as long as the body is.
            let body = body.map_err(move |error| {
                let _place = &place;
                failure(&server, error)
            });
            body.boxed()
        }))
    }

    async fn fetch(
        &self,
        request: Request<Bytes>,
        limits: Limits,
    ) -> Result<Response<Bytes>, TransportError> {
        let server = request.uri().authority().map_or("", |it| it.as_str()).to_owned();
        let in_time = timeout(limits.timeout, self.fetch_in_time(&server, request, limits));
        in_time.await.unwrap_or(Err(TransportError::Timeout { server }))
    }
}

fn failure(server: &ServerName, error: FetchError) -> TransportError {
    match error {
        FetchError::Connect(_) | FetchError::Network(_) => network(server, error),
        FetchError::Timeout => TransportError::Timeout { server: server.into() },
        FetchError::TooLarge(limit) => TransportError::TooLarge { server: server.into(), limit },
    }
}

fn network(server: &ServerName, reason: impl ToString) -> TransportError {
    TransportError::Network { server: server.into(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        sync::{
            OnceLock,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use axum::{
        Router,
        body::Body,
        extract::{Request as Incoming, State},
        routing::{any, get},
    };
    use futures_util::{future::join_all, stream};
    use http::StatusCode;
    use ruma::server_name;
    use starling_engine::{
        Engine,
        keys::publish::key_document,
        testing::{TestClock, TestEngine},
    };

    use super::*;
    use crate::{test_peer::peer, test_server::Authority as Ca};

    /// A server's engine, which comes to be after its address.
    type Door = Arc<OnceLock<Engine>>;

    /// Servers with certificates of one authority.
    struct World {
        ca: Ca,
        dir: tempfile::TempDir,
        clock: Arc<TestClock>,
        servers: Vec<(&'static str, SocketAddr)>,
    }

    impl World {
        fn new() -> Self {
            let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
            Self { ca, dir, clock: Arc::default(), servers: Vec::new() }
        }

        /// Adds a server that answers by `router`.
        fn serve(&mut self, name: &'static str, router: Router) {
            let host = <&ServerName>::try_from(name).unwrap().host();
            self.servers.push((name, self.ca.serve(&[host], router)));
        }

        /// Adds a server that publishes its keys and otherwise says who asks.
        fn serve_engine(&mut self, name: &'static str) -> Door {
            let door = Door::default();
            let router = Router::new()
                .route("/_matrix/key/v2/server", get(keys))
                .fallback(any(who))
                .with_state(door.clone());
            self.serve(name, router);
            door
        }

        fn config(&self, name: &str) -> FederationConfig {
            let mut config = FederationConfig::new(name.try_into().unwrap());
            config.trusted_ca_files = vec![self.ca.file(&self.dir)];
            config.resolve_overrides = self
                .servers
                .iter()
                .map(|(name, address)| ((*name).try_into().unwrap(), *address))
                .collect();
            config
        }

        /// A homeserver that reaches all the servers added before.
        async fn homeserver(&self, config: FederationConfig) -> TestEngine {
            peer(config.server_name.as_str(), &self.clock, |keys| {
                let clock = self.clock.clone();
                Arc::new(HttpTransport::new(&config, keys.clone(), clock).unwrap())
            })
            .await
        }

        /// What `us.example` gets from `a.example`, which answers by `router`.
        async fn ask(router: Router, limits: Limits) -> Result<Response<Bytes>, TransportError> {
            let mut world = Self::new();
            world.serve("a.example", router);
            let us = world.homeserver(world.config("us.example")).await;
            us.engine.transport.send(server_name!("a.example"), get_request("/"), limits).await
        }
    }

    async fn keys(State(door): State<Door>) -> Vec<u8> {
        serde_json::to_vec(&key_document(door.get().unwrap()).unwrap()).unwrap()
    }

    async fn who(State(door): State<Door>, request: Incoming) -> (StatusCode, String) {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 4096).await.unwrap();
        match request_auth::authenticate(door.get().unwrap(), &parts, &body).await {
            Ok(origin) => (StatusCode::OK, origin.to_string()),
            Err(error) => (StatusCode::UNAUTHORIZED, error.to_string()),
        }
    }

    fn get_request(path: &str) -> Request<Bytes> {
        Request::get(path).body(Bytes::new()).unwrap()
    }

    #[tokio::test]
    async fn two_servers_know_each_other_by_their_signatures() {
        let mut world = World::new();
        let doors = [world.serve_engine("a.example"), world.serve_engine("b.example:8448")];
        let mut servers = Vec::new();
        for (name, door) in ["a.example", "b.example:8448"].into_iter().zip(doors) {
            let server = world.homeserver(world.config(name)).await;
            assert!(door.set(server.engine.clone()).is_ok());
            servers.push(server);
        }
        for (from, to) in [(0, 1), (1, 0)] {
            let request = Request::put("/_matrix/federation/v1/send/%21x?y=%2f")
                .body(Bytes::from_static(br#"{ "b": 1.5, "a": 1 }"#))
                .unwrap();
            let (from, to) = (&servers[from].engine, &servers[to].engine.config.server_name);
            for request in [request, get_request("/_matrix/federation/v1/x?y")] {
                let response = from.transport.send(to, request, Limits::default()).await.unwrap();
                assert_eq!(response.body(), from.config.server_name.as_str());
                assert_eq!(response.status(), StatusCode::OK);
            }
        }
    }

    #[tokio::test]
    async fn failures_are_told_apart() {
        let limits = Limits { timeout: Duration::from_millis(500), max_body: 1024 };
        let large = Router::new().fallback(|| async { vec![b'x'; 2000] });
        let sent = World::ask(large, limits).await;
        assert!(matches!(sent, Err(TransportError::TooLarge { limit: 1024, .. })), "{sent:?}");

        let stuck = || async {
            Body::from_stream(stream::pending::<Result<Bytes, std::convert::Infallible>>())
        };
        let sent = World::ask(Router::new().fallback(stuck), limits).await;
        assert!(matches!(sent, Err(TransportError::Timeout { .. })), "{sent:?}");

        let failing = Router::new().fallback(|| async { StatusCode::INTERNAL_SERVER_ERROR });
        let sent = World::ask(failing, limits).await.unwrap();
        assert_eq!(sent.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[tokio::test]
    async fn unreachable_servers_are_refused_before_anything_is_sent() {
        let mut world = World::new();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        world.servers.push(("closed.example", closed));
        let us = world.homeserver(world.config("us.example")).await;
        let send = async |name: &str| {
            let server = ServerName::parse(name).unwrap();
            us.engine.transport.send(&server, get_request("/"), Limits::default()).await
        };
        for name in ["us.example", "127.0.0.1:8008", "localhost", "localhost:8008", "[::1]"] {
            let sent = send(name).await;
            assert!(matches!(sent, Err(TransportError::Discovery { .. })), "{name}: {sent:?}");
        }
        let sent = send("closed.example").await;
        assert!(matches!(sent, Err(TransportError::Network { .. })), "{sent:?}");
    }

    #[tokio::test]
    async fn one_destination_takes_only_so_many_requests_at_once() {
        #[derive(Default)]
        struct Load {
            now: AtomicUsize,
            most: AtomicUsize,
        }

        let (load, gate) = (Arc::<Load>::default(), Arc::new(Semaphore::new(0)));
        let handler = {
            let (load, gate) = (load.clone(), gate.clone());
            move || async move {
                let now = load.now.fetch_add(1, Ordering::SeqCst) + 1;
                load.most.fetch_max(now, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                load.now.fetch_sub(1, Ordering::SeqCst);
            }
        };
        let mut world = World::new();
        world.serve("a.example", Router::new().fallback(handler));
        let config =
            FederationConfig { max_requests_per_destination: 3, ..world.config("us.example") };
        let us = world.homeserver(config).await;
        let sends = (0..12).map(|_| {
            us.engine.transport.send(server_name!("a.example"), get_request("/"), Limits::default())
        });
        let open = async {
            while load.now.load(Ordering::SeqCst) < 3 {
                tokio::task::yield_now().await;
            }
            gate.add_permits(12);
        };
        let (sent, ()) = tokio::join!(join_all(sends), open);
        assert!(sent.iter().all(Result::is_ok));
        assert_eq!(load.most.load(Ordering::SeqCst), 3);
    }
}
