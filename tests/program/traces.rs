//! Spans on their way to a collector.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, routing::post};
use rustix::process::Signal;
use tokio::net::TcpListener;

use crate::process::{Server, http};

/// What an OpenTelemetry collector was sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<u8>>>);

impl Collector {
    /// Starts one; gives its address too.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let take = async |State(Self(sent)): State<Self>, body: Bytes| {
            sent.lock().unwrap().extend_from_slice(&body);
        };
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, address)
    }

    /// Whether these bytes were a part of it. Protobuf has texts and ids as they are.
    fn has(&self, bytes: impl AsRef<[u8]>) -> bool {
        let bytes = bytes.as_ref();
        self.0.lock().unwrap().windows(bytes.len()).any(|window| window == bytes)
    }
}

const TRACE: [u8; 16] = [
    0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c,
];
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Starts a server, asks it something as a part of a trace, and stops it; the id of the request.
async fn ask(settings: &[(&str, &str)]) -> (String, String) {
    let mut server = Server::start(settings).await;
    let versions = http().get(format!("{}/_matrix/client/versions", server.client));
    let answer = versions.header("traceparent", TRACEPARENT).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code().await, Some(0));
    (id, server.log())
}

#[tokio::test]
async fn the_span_of_a_request_arrives_with_its_id_and_in_the_trace_of_a_trusted_proxy() {
    let (collector, address) = Collector::start().await;
    let settings = [
        ("STARLING__TELEMETRY__OTLP_ENDPOINT", &*address),
        ("STARLING__TELEMETRY__SERVICE_NAME", "matrix-of-this-test"),
        ("STARLING__CLIENT__TRUSTED_PROXIES", "127.0.0.0/8"),
        ("STARLING__LOG__LEVEL", "warn"),
    ];
    let (id, log) = ask(&settings).await;
    assert!(collector.has(&id), "{log}");
    assert!(collector.has("GET /_matrix/client/versions"));
    assert!(collector.has("matrix-of-this-test"));
    assert!(collector.has(TRACE));
    assert!(!log.contains(&id), "the level of the log has nothing to do with it");
}

#[tokio::test]
async fn who_is_no_trusted_proxy_chooses_no_trace() {
    let (collector, address) = Collector::start().await;
    let (id, log) = ask(&[("STARLING__TELEMETRY__OTLP_ENDPOINT", &*address)]).await;
    assert!(collector.has(&id), "{log}");
    assert!(!collector.has(TRACE));
}

#[tokio::test]
async fn what_is_not_sampled_is_not_sent() {
    let (collector, address) = Collector::start().await;
    let settings = [
        ("STARLING__TELEMETRY__OTLP_ENDPOINT", &*address),
        ("STARLING__TELEMETRY__SAMPLE_PERCENT", "0"),
    ];
    let (id, log) = ask(&settings).await;
    assert!(!collector.has(&id) && log.contains(&id), "{log}");
}

#[tokio::test]
async fn a_collector_that_is_dead_harms_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
    let (silent_address, gone_address) = (address(&silent), address(&gone));
    drop(gone);
    let (_, log) = ask(&[("STARLING__TELEMETRY__OTLP_ENDPOINT", &*silent_address)]).await;
    assert!(log.contains("did not take the last spans in time"), "{log}");
    let (_, log) = ask(&[("STARLING__TELEMETRY__OTLP_ENDPOINT", &*gone_address)]).await;
    assert!(log.contains("the collector of traces does not take spans"), "{log}");
}
