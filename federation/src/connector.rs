//! Opening a TLS connection to one of several addresses of a server.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tower::{BoxError, Service, service_fn};

/// A connection with TLS on it.
pub(crate) type Connection = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Connects to the addresses it was given, whatever the URI says, and accepts only a certificate
/// for the name it was given.
#[derive(Clone)]
pub(crate) struct RouteConnector {
    /// Shared with the pool that owns the connector, which replaces them when they change.
    addresses: Arc<RwLock<Vec<SocketAddr>>>,
    tls_name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    timeout: Duration,
}

impl RouteConnector {
    /// A connector without addresses; `timeout` is for one address with its handshake.
    pub(crate) fn new(
        tls_name: ServerName<'static>,
        tls: Arc<ClientConfig>,
        timeout: Duration,
    ) -> Self {
        Self { addresses: Arc::default(), tls_name, tls, timeout }
    }

    /// Replaces the addresses for connections to come.
    pub(crate) fn set_addresses(&self, addresses: &[SocketAddr]) {
        let mut current = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        if *current != addresses {
            addresses.clone_into(&mut current);
        }
    }

    /// Tries one address after the other and tells how the last one failed.
    async fn connect(self, uri: Uri) -> Result<Connection, BoxError> {
        let addresses = self.addresses.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut failure: BoxError = "there is no address".into();
        for address in addresses {
            match timeout(self.timeout, self.connect_to(address, uri.clone())).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => failure = format!("{address}: {error}").into(),
                Err(_) => failure = format!("{address}: no answer in time").into(),
            }
            tracing::debug!(address.remote = %address, error = %failure, "Cannot connect");
        }
        Err(failure)
    }

    async fn connect_to(&self, address: SocketAddr, uri: Uri) -> Result<Connection, BoxError> {
        let tcp = service_fn(move |_: Uri| async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        });
        let name = Arc::new(FixedServerNameResolver::new(self.tls_name.clone()));
        HttpsConnector::new(tcp, self.tls.clone(), true, name).call(uri).await
    }
}

impl Service<Uri> for RouteConnector {
    type Response = Connection;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Connection, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}
