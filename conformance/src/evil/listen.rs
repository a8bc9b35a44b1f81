//! The peer's listener: TLS on loopback, one handler for all requests.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use http::Response;
use percent_encoding::percent_decode_str;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::Value;

use super::{Peer, script::Received, serve};

/// Larger than any transaction.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// Answers on this listener from now on, until the value is dropped.
#[derive(Debug)]
pub(super) struct Listening(Handle<SocketAddr>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

/// Begins to listen with this certificate and key (PEM).
pub(super) fn listen(
    peer: Peer,
    listener: TcpListener,
    (certificate, key): (String, String),
) -> Result<Listening> {
    listener.set_nonblocking(true)?;
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let handle = Handle::new();
    let server =
        axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(Arc::new(config)))?
            .handle(handle.clone());
    let router = Router::new().fallback(answer).with_state(peer);
    tokio::spawn(server.serve(router.into_make_service()));
    Ok(Listening(handle))
}

async fn answer(State(peer): State<Peer>, request: Request) -> Response<Body> {
    let received = match read(request).await {
        Ok(received) => received,
        Err(_) => return Response::new(Body::empty()),
    };
    peer.note(&received);
    let reply = peer.scripted(&received).unwrap_or_else(|| serve::answer(&peer, &received));
    reply.send().await
}

async fn read(request: Request) -> Result<Received> {
    let (head, body) = request.into_parts();
    let body: Bytes = to_bytes(body, BODY_LIMIT).await.context("the body breaks off")?;
    let path = head.uri.path().to_owned();
    let decode = |piece: &str| percent_decode_str(piece).decode_utf8_lossy().into_owned();
    let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    Ok(Received {
        host: host.unwrap_or_default().to_owned(),
        method: head.method.to_string(),
        pieces: path.split('/').skip(1).map(decode).collect(),
        path,
        query: head.uri.query().unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    })
}
