//! Listeners: TCP and Unix sockets, plain or TLS, each with limits on what a peer may hold.

use std::{
    future::{Ready, ready},
    io,
    net::SocketAddr,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::{SocketAddr as UnixAddr, UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use axum::{Extension, Router, middleware};
use axum_server::{
    Address, Control, Handle, Server as AxumServer,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use rustix::net::listen;
use tower::{Layer as _, Service, service_fn};

use super::{
    admission::Admission,
    connection::{Connection, NoPlace, Peer, Places},
    taking::TakingAcceptor,
};
use crate::{
    config::{Limits, ListenAddress},
    metrics::Line,
    overload::Overload,
};

/// How many connections may wait to be accepted, if the system allows it (`net.core.somaxconn`). The standard
/// library lets 128 wait: in a crowd, whoever comes then asks again a second later, then two, then four.
const WAITING: i32 = 4096;

/// A bound address that does not answer yet.
pub(crate) enum Listener {
    /// A TCP port.
    Tcp(std::net::TcpListener),
    /// A socket in the file system.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    ///
    /// The operating system's reason, with the address.
    pub(crate) fn bind(address: &ListenAddress) -> anyhow::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => bind_tcp(*address),
            ListenAddress::Unix(path) => bind_unix(path),
        }
        .with_context(|| format!("cannot listen on {address}"))
    }

    /// The address as a person would enter it, with the port that a port 0 became.
    pub(crate) fn url(&self, tls: bool) -> String {
        match self {
            Self::Tcp(listener) => {
                let scheme = if tls { "https" } else { "http" };
                let address = listener.local_addr().map(|address| address.to_string());
                format!("{scheme}://{}", address.unwrap_or_default())
            }
            Self::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }
}

fn bind_tcp(address: SocketAddr) -> anyhow::Result<Listener> {
    let listener = std::net::TcpListener::bind(address)?;
    listen(&listener, WAITING)?;
    Ok(Listener::Tcp(listener))
}

/// A socket that a crash left behind is replaced; one that still answers is not.
fn bind_unix(path: &Path) -> anyhow::Result<Listener> {
    if path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket()) {
        if UnixStream::connect(path).is_ok() {
            bail!("another process answers there");
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    listen(&listener, WAITING)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(Listener::Unix(listener, path.to_owned()))
}

/// The answering half of all listeners, to be stopped as one.
pub(crate) struct Server {
    control: Control,
    limits: Limits,
    running: tokio::task::JoinSet<io::Result<()>>,
    sockets: Vec<PathBuf>,
}

impl Server {
    /// A server without listeners.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            control: Control::new(),
            limits: limits.clone(),
            running: tokio::task::JoinSet::new(),
            sockets: Vec::new(),
        }
    }

    /// Answers the listener's requests with `router`, from now on, as far as `overload` lets them in, and counts
    /// its connections in `line`. Unix sockets never use TLS.
    ///
    /// # Errors
    ///
    /// When the listener cannot be handed to the runtime.
    pub(crate) fn answer(
        &mut self,
        listener: Listener,
        (tls, line): (Option<&RustlsConfig>, Line),
        (router, overload): (Router, Overload),
    ) -> anyhow::Result<()> {
        let answers = Admission::new(router, overload);
        let places = Places::new(self.limits.connections, line);
        let taking = TakingAcceptor(Duration::from_secs(self.limits.body_seconds));
        match (listener, tls) {
            (Listener::Tcp(listener), None) => {
                let server = self.prepare(axum_server::from_tcp(listener)?);
                let server = server.acceptor(taking);
                self.running.spawn(server.serve(connections(answers, tcp_peer, places)));
            }
            (Listener::Tcp(listener), Some(tls)) => {
                let acceptor = RustlsAcceptor::new(tls.clone())
                    .handshake_timeout(self.header_time())
                    .acceptor(taking);
                let server = self.prepare(axum_server::from_tcp(listener)?).acceptor(acceptor);
                self.running.spawn(server.serve(connections(answers, tcp_peer, places)));
            }
            (Listener::Unix(listener, path), _) => {
                let server = self.prepare(axum_server::from_unix(listener)?).acceptor(taking);
                self.running.spawn(server.serve(connections(answers, unix_peer, places)));
                self.sockets.push(path);
            }
        }
        Ok(())
    }

    /// Stops accepting, and returns when all requests are answered or `limit` has passed.
    pub(crate) async fn drain(mut self, limit: Duration) {
        self.control.graceful_shutdown(Some(limit));
        while self.running.join_next().await.is_some() {}
        for path in &self.sockets {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove the socket");
            }
        }
    }

    fn prepare<A: Address>(&self, server: AxumServer<A>) -> AxumServer<A> {
        let mut server = server
            .handle(Handle::with_control(self.control.clone()))
            .first_request_timeout(self.header_time())
            .accept_error_handler(
                |_, error| tracing::debug!(%error, "a connection was not accepted"),
            );
        server.http_builder().http1().header_read_timeout(self.header_time());
        server
            .http_builder()
            .http2()
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        server
    }

    fn header_time(&self) -> Duration {
        Duration::from_secs(self.limits.header_seconds)
    }
}

/// Makes a connection's service: what answers, with the connection in each request's extensions.
/// When the listener has no place left, none is made, which closes the connection.
fn connections<A>(
    answers: Admission,
    peer: fn(A) -> Peer,
    places: Places,
) -> impl Service<
    A,
    Response = ConnectionService,
    Error = NoPlace,
    Future = Ready<Result<ConnectionService, NoPlace>>,
> {
    service_fn(move |address: A| {
        ready(
            Connection::open(peer(address), &places)
                .map(|connection| Extension(connection).layer(answers.clone())),
        )
    })
}

type ConnectionService = middleware::AddExtension<Admission, Connection>;

fn tcp_peer(address: SocketAddr) -> Peer {
    Peer::Network(address.ip())
}

fn unix_peer(_: UnixAddr) -> Peer {
    Peer::Socket
}
